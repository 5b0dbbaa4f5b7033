//! Buffers between two uses.
//!
//! A connection that waits owns no buffer: it takes one when there is something to read or to write, and
//! gives it back when it waits again. Each thread keeps a few, so that a busy connection does not go to
//! the allocator with every request.

use bytes::BytesMut;

use crate::kept::Kept;

/// How much one read of a head asks for, and how large a buffer for one is.
pub(super) const HEAD_READ: usize = 8 * 1024;
/// A buffer that grew beyond this is not kept.
const LARGEST_KEPT: usize = 16 * 1024;

thread_local! {
    static READ: Kept<BytesMut> = const { Kept::new() };
    static WRITE: Kept<Vec<u8>> = const { Kept::new() };
}

/// An empty buffer with room for a head.
pub(super) fn read_buffer() -> BytesMut {
    // A buffer cannot be used again while a message that was cut from it is. The last one is the warmest; where many
    // messages are under way at once, as over HTTP/2, the oldest one is the likeliest to be free.
    let kept = |take: fn(&Kept<BytesMut>) -> Option<BytesMut>| {
        let mut buffer = READ.try_with(take).ok().flatten()?;
        if buffer.try_reclaim(HEAD_READ) {
            return Some(buffer);
        }
        let _ = READ.try_with(|kept| kept.keep(buffer));
        None
    };
    kept(Kept::take)
        .or_else(|| kept(Kept::take_oldest))
        .unwrap_or_else(|| BytesMut::with_capacity(HEAD_READ))
}

/// Gives a read buffer back. What was cut from it may still be in use.
pub(super) fn keep_read_buffer(buffer: BytesMut) {
    if buffer.is_empty() && (1..=LARGEST_KEPT).contains(&buffer.capacity()) {
        // A thread that ends keeps nothing.
        let _ = READ.try_with(|kept| kept.keep(buffer));
    }
}

/// An empty buffer with room for a head and a small body.
pub(super) fn write_buffer() -> Vec<u8> {
    WRITE
        .try_with(Kept::take)
        .ok()
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(HEAD_READ))
}

/// Gives a write buffer back.
pub(super) fn keep_write_buffer(mut buffer: Vec<u8>) {
    if (1..=LARGEST_KEPT).contains(&buffer.capacity()) {
        buffer.clear();
        let _ = WRITE.try_with(|kept| kept.keep(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_nothing_refers_to_it() {
        let mut buffer = read_buffer();
        let place = buffer.as_ptr();
        buffer.extend_from_slice(b"head");
        let head = buffer.split_to(4).freeze();
        keep_read_buffer(buffer);
        let other = read_buffer();
        assert_ne!(other.as_ptr(), place, "the head is still in use");
        assert_eq!(head, "head");

        let mut buffer = other;
        let place = buffer.as_ptr();
        buffer.extend_from_slice(b"head");
        drop(buffer.split_to(4).freeze());
        keep_read_buffer(buffer);
        assert_eq!(read_buffer().as_ptr(), place);
    }

    #[test]
    fn buffers_that_grew_large_are_not_kept() {
        keep_write_buffer(Vec::with_capacity(LARGEST_KEPT + 1));
        assert!(write_buffer().capacity() <= LARGEST_KEPT);
        let mut buffer = write_buffer();
        buffer.extend_from_slice(b"old");
        keep_write_buffer(buffer);
        assert!(write_buffer().is_empty());
    }
}
