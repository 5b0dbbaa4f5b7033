//! Routes, rules and paths.

mod paths;
mod table;
mod tree;

/// A `~` in front says that the rest makes a rule of Traefik's language and requests; anything else is routes and
/// requests as text.
pub fn rules(data: &[u8]) {
    match data.split_first() {
        Some((b'~', rest)) => tree::check(rest),
        _ => {
            if let Ok(text) = std::str::from_utf8(data) {
                table::check(text);
            }
        }
    }
}
