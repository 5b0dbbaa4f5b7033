//! Descriptions of the schema without what only Rust's documentation shows.

/// Takes links and examples of Rust's documentation out of descriptions, which are for writers of configurations.
pub(super) fn descriptions(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                match value {
                    serde_json::Value::String(text) if key == "description" => {
                        // Examples are Rust too.
                        *text = without_links(text.split("\n\n```").next().unwrap_or_default());
                    }
                    value => descriptions(value),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(descriptions),
        _ => {}
    }
}

/// Leaves the label of ``[`Name`]``, ``[`Name`](target)`` and `[label](target)`; other brackets stay.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        let Some((label, behind)) = after.split_once(']') else {
            plain.push('[');
            rest = after;
            break;
        };
        let target = behind
            .strip_prefix('(')
            .and_then(|target| target.split_once(')'));
        let code = label.len() > 1 && label.starts_with('`') && label.ends_with('`');
        match target {
            Some((target, behind)) if !target.contains("://") => {
                plain.push_str(label);
                rest = behind;
            }
            None if code => {
                plain.push_str(label);
                rest = behind;
            }
            _ => {
                plain.push('[');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    #[test]
    fn descriptions_lose_their_links() {
        for (text, plain) in [
            ("Settings of [`BodyLimit`].", "Settings of `BodyLimit`."),
            (
                "See [`a`](Self::a) and [that](crate::b).",
                "See `a` and that.",
            ),
            ("[`A`], [`B`](C::d)", "`A`, `B`"),
            (
                "`listeners[0]` and [1, 2], [x",
                "`listeners[0]` and [1, 2], [x",
            ),
            (
                "[site](https://example.com/)",
                "[site](https://example.com/)",
            ),
        ] {
            assert_eq!(without_links(text), plain);
        }
    }

    #[test]
    fn the_schema_has_neither_links_nor_examples_in_rust() {
        let schema = Registry::builder().build().unwrap().schema().to_string();
        assert!(
            !schema.contains("[`") && !schema.contains("```\\n"),
            "{schema}"
        );
    }
}
