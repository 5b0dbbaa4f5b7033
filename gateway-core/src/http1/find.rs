//! Finds a byte in a short text.
//!
//! Lines, names and methods are a few dozen bytes long: a word at a time costs less there than a call of a search made
//! for long texts.

use std::ops::ControlFlow;

/// Where `BYTE` stands first in `text`.
#[inline]
pub(super) fn find<const BYTE: u8>(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let marks = marks::<BYTE>(*word);
        if marks != 0 {
            return Some(at + (marks.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let offset = rest.iter().position(|&byte| byte == BYTE)?;
    Some(at + offset)
}

/// Passes the place of each `BYTE` in `text` to `found`, in order, until that breaks.
#[inline]
pub(super) fn each<const BYTE: u8, B>(
    text: &[u8],
    mut found: impl FnMut(usize) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let (blocks, rest) = text.as_chunks::<16>();
    let mut at = 0;
    for block in blocks {
        // Without a branch between them the bytes are compared all at once.
        if block.iter().fold(false, |any, &byte| any | (byte == BYTE)) {
            for word in block.as_chunks::<8>().0 {
                let mut marks = marks::<BYTE>(*word);
                while marks != 0 {
                    found(at + (marks.trailing_zeros() / 8) as usize)?;
                    marks &= marks - 1;
                }
                at += 8;
            }
        } else {
            at += 16;
        }
    }
    for &byte in rest {
        if byte == BYTE {
            found(at)?;
        }
        at += 1;
    }
    ControlFlow::Continue(())
}

/// The highest bit of each byte of `word` that is `BYTE`.
#[inline]
fn marks<const BYTE: u8>(word: [u8; 8]) -> u64 {
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    // Bytes that are equal become 0; to all others a carry or their own highest bit comes.
    let differing = u64::from_le_bytes(word) ^ u64::from_le_bytes([BYTE; 8]);
    !(((differing & !HIGHS) + !HIGHS) | differing) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_bytes_is_found_wherever_it_stands() {
        for length in 0..40 {
            for first in 0..=length {
                // Neighbours that differ from it in one bit only.
                let mut text = [b'\n' ^ 1, b'\n' | 0x80, 0, 0xff, b'\n' + 1].repeat(8);
                text.truncate(length);
                for place in text.iter_mut().skip(first).step_by(3) {
                    *place = b'\n';
                }
                let mut expected = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                assert_eq!(
                    find::<b'\n'>(&text),
                    expected.clone().next().map(|(at, _)| at)
                );
                let all = each::<b'\n', ()>(&text, |at| {
                    assert_eq!(expected.next().map(|(at, _)| at), Some(at), "{text:?}");
                    ControlFlow::Continue(())
                });
                assert!(all.is_continue() && expected.next().is_none(), "{text:?}");
            }
        }
    }
}
