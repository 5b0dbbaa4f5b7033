//! Lower-case hexadecimal, the only spelling the trace headers allow.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends two digits for each byte.
pub(in crate::observe) fn write_hex(into: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        into.extend_from_slice(&digits(*byte));
    }
}

/// Fills `into`, twice as long as `bytes`, with their digits.
pub(super) fn fill(into: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in into.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&digits(*byte));
    }
}

/// `N` bytes from exactly `2 * N` lower-case digits.
pub(super) fn parse<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

/// Like [`parse`], and not all zero: the form of an identifier.
pub(super) fn parse_id<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    parse(text).filter(|id| *id != [0; N])
}

fn digits(byte: u8) -> [u8; 2] {
    [
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
