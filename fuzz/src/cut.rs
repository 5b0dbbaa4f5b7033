//! Cutting an input into reads.

/// Numbers that depend on nothing but a text: the same input always does the same.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(data: &[u8]) -> Self {
        let mixed = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |mixed, byte| {
            (mixed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mixed)
    }

    /// Below `sides`, which is not 0.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }
}

/// Inputs up to this length are now and then cut into single bytes.
const SHORT: usize = 512;

/// The input in pieces: single bytes, two halves, or parts of any size.
pub(crate) fn cut<'d>(data: &'d [u8], dice: &mut Dice) -> Vec<&'d [u8]> {
    let longest = match dice.roll(4) {
        0 if data.len() <= SHORT => 1,
        1 => {
            let (front, back) = data.split_at(dice.roll(data.len() + 1));
            return vec![front, back];
        }
        2 => 8,
        _ => 1 + data.len() / 3,
    };
    let mut rest = data;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + dice.roll(longest)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
