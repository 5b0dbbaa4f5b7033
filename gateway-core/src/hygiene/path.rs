//! One spelling for each path (RFC 3986 6.2.2), decided before anything is matched.

use std::borrow::Cow;

/// How paths are brought into one spelling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathPolicy {
    /// Also make one slash of several.
    pub merge_slashes: bool,
}

/// A path that cannot be brought into one safe spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A percent sign without two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Escape,
    /// An encoded NUL or control byte, a backslash, or a byte that no path may hold.
    #[error("the path holds a byte that servers interpret differently")]
    Byte,
}

/// Normalises a path: unreserved characters decoded, other escapes in upper case, dot segments removed.
///
/// `%2F` and other escaped delimiters stay as they are: `/a%2Fb` is one segment and is forwarded as such.
/// Dot segments that would leave the root stop there. The result is what routes match and what upstreams see.
///
/// # Errors
/// [`PathError`] for malformed escapes and for bytes that servers read differently.
pub fn normalize(path: &str, policy: PathPolicy) -> Result<Cow<'_, str>, PathError> {
    if is_normal(path.as_bytes(), policy) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path.as_bytes())?;
    Ok(Cow::Owned(remove_dots(&decoded, policy)))
}

/// Whether nothing would change: true for nearly every request, and cheap to see.
fn is_normal(path: &[u8], policy: PathPolicy) -> bool {
    let mut previous = 0;
    for byte in path {
        match byte {
            b'%' | b'\\' => return false,
            b'.' if previous == b'/' => return false,
            b'/' if previous == b'/' && policy.merge_slashes => return false,
            0..=0x20 | 0x7f.. => return false,
            _ => {}
        }
        previous = *byte;
    }
    true
}

fn decode(path: &[u8]) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let (Some(high), Some(low)) = (hex(rest.next()), hex(rest.next())) else {
                    return Err(PathError::Escape);
                };
                let value = high << 4 | low;
                match value {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        out.push(char::from(value));
                    }
                    // `%00` ends a string for some servers and `%5C` is a slash for others.
                    0..=0x1f | 0x7f | b'\\' => return Err(PathError::Byte),
                    _ => {
                        out.push('%');
                        out.push(digit(high));
                        out.push(digit(low));
                    }
                }
            }
            b'\\' | 0..=0x20 | 0x7f.. => return Err(PathError::Byte),
            _ => out.push(char::from(*byte)),
        }
    }
    Ok(out)
}

fn remove_dots(path: &str, policy: PathPolicy) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    if path.starts_with('/') {
        segments.next();
    }
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            "" if policy.merge_slashes && !last => {}
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    match byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn digit(value: u8) -> char {
    char::from(if value < 10 {
        b'0' + value
    } else {
        b'A' + value - 10
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brings_paths_into_one_spelling() {
        let table = [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a/./b", Ok("/a/b")),
            ("/a/../b", Ok("/b")),
            ("/a/%2e%2E/b", Ok("/b")),
            ("/../../etc/passwd", Ok("/etc/passwd")),
            ("/a/..", Ok("/")),
            ("/a/b/..", Ok("/a/")),
            ("/a/.", Ok("/a/")),
            ("/.hidden", Ok("/.hidden")),
            ("/a/...", Ok("/a/...")),
            ("/%61%7e", Ok("/a~")),
            ("/a%2fb", Ok("/a%2Fb")),
            ("/a%2F..%2Fb", Ok("/a%2F..%2Fb")),
            ("/a%20b", Ok("/a%20b")),
            ("//a//b", Ok("//a//b")),
            ("/a%", Err(PathError::Escape)),
            ("/a%2", Err(PathError::Escape)),
            ("/a%zz", Err(PathError::Escape)),
            ("/a%00b", Err(PathError::Byte)),
            ("/a%5c..%5cb", Err(PathError::Byte)),
            ("/a\\b", Err(PathError::Byte)),
        ];
        for (input, expected) in table {
            let got = normalize(input, PathPolicy::default());
            assert_eq!(got.as_deref(), expected.as_deref(), "{input}");
        }
    }

    #[test]
    fn merges_slashes_when_told() {
        let policy = PathPolicy {
            merge_slashes: true,
        };
        for (input, expected) in [("//a///b/", "/a/b/"), ("/a//../b", "/b"), ("//", "/")] {
            assert_eq!(normalize(input, policy).as_deref(), Ok(expected), "{input}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_path_is_a_fixed_point(path in "(/[a-z.%0-9A-F/]{0,12}){1,4}", merge: bool) {
            let policy = PathPolicy { merge_slashes: merge };
            if let Ok(once) = normalize(&path, policy) {
                let twice = normalize(&once, policy);
                prop_assert_eq!(twice.as_deref(), Ok(&*once));
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.split('/').any(|segment| segment == ".." || segment == "."));
            }
        }
    }
}
