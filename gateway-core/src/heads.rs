//! Header maps and extensions between two messages.
//!
//! Both are tables of their own on the heap, needed for the length of a message and of nearly the same size each
//! time. Each thread keeps a few emptied ones, so that a message does not go to the allocator for them.

use http::header::MaxSizeReached;
use http::{Extensions, HeaderMap};

use crate::kept::Kept;

/// Every map has room for so many fields, so that one serves for the next message as well.
const SMALLEST: usize = 24;
/// A map with room for more fields is not kept: it takes 100 bytes for each.
const LARGEST_KEPT: usize = 64;

thread_local! {
    static HEADERS: Kept<HeaderMap> = const { Kept::new() };
    static EXTENSIONS: Kept<Extensions> = const { Kept::new() };
}

/// An empty map with room for so many fields.
///
/// # Errors
/// When there are more than a map can hold.
pub(crate) fn header_map(fields: usize) -> Result<HeaderMap, MaxSizeReached> {
    match HEADERS.try_with(Kept::take) {
        Ok(Some(map)) if map.capacity() >= fields => Ok(map),
        _ => HeaderMap::try_with_capacity(fields.max(SMALLEST)),
    }
}

/// Gives back a map that nobody reads any more.
pub(crate) fn keep_header_map(mut map: HeaderMap) {
    if (1..=LARGEST_KEPT).contains(&map.capacity()) {
        map.clear();
        // A thread that ends keeps nothing.
        let _ = HEADERS.try_with(|kept| kept.keep(map));
    }
}

/// Empty extensions.
pub(crate) fn extensions() -> Extensions {
    EXTENSIONS
        .try_with(Kept::take)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// Gives back extensions that nobody reads any more.
pub(crate) fn keep_extensions(mut extensions: Extensions) {
    if (1..=LARGEST_KEPT).contains(&extensions.len()) {
        extensions.clear();
        let _ = EXTENSIONS.try_with(|kept| kept.keep(extensions));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HOST;

    use super::*;

    #[test]
    fn a_map_comes_back_empty() {
        let mut map = header_map(8).unwrap();
        map.insert(HOST, HeaderValue::from_static("a"));
        map.append(HOST, HeaderValue::from_static("b"));
        let room = map.capacity();
        keep_header_map(map);
        let map = header_map(room).unwrap();
        assert!(map.is_empty() && map.capacity() == room);
        assert!(map.get(HOST).is_none());
    }

    #[test]
    fn a_map_that_is_too_small_or_too_large_is_not_used_again() {
        keep_header_map(header_map(8).unwrap());
        assert!(header_map(40).unwrap().capacity() >= 40);
        keep_header_map(HeaderMap::with_capacity(1000));
        assert!(header_map(8).unwrap().capacity() < 1000);
    }

    #[test]
    fn extensions_come_back_empty() {
        let mut values = extensions();
        values.insert(7u8);
        keep_extensions(values);
        assert!(extensions().get::<u8>().is_none());
    }
}
