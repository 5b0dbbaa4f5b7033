//! Durations and sizes as they are written in configuration: a number with its unit.

use std::{fmt, str::FromStr, time::Duration};

use super::values::{ValueError, scalar};

const DURATION: &str = "a duration such as 5s";
const SIZE: &str = "a size such as 64KiB";

/// A length of time: `5s`, `250ms`, `1m30s`, `1.5h`.
///
/// Units are `ns`, `us`, `ms`, `s`, `m`, `h` and `d`, largest first when several are given. A number without a
/// unit is refused, because nobody can tell what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// From the standard type.
    #[must_use]
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// As the standard type.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for TimeSpan {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        span.0
    }
}

/// Names and nanoseconds, largest first.
const TIME_UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl FromStr for TimeSpan {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fail = |hint: String| ValueError::new(DURATION).hint(hint);
        let mut rest = text;
        let mut total: u128 = 0;
        let mut smallest = None;
        if rest.is_empty() {
            return Err(ValueError::new(DURATION));
        }
        while !rest.is_empty() {
            let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
            let (unit, after) = split_while(after, |c| !c.is_ascii_digit() && c != '.');
            rest = after;
            if number.is_empty() {
                return Err(ValueError::new(DURATION));
            }
            if unit.is_empty() {
                return Err(fail(format!("write the unit: {number}s")));
            }
            let Some(index) = TIME_UNITS.iter().position(|(name, _)| *name == unit) else {
                let unit = unit.trim();
                return Err(fail(format!(
                    "`{unit}` is no unit; there are ns, us, ms, s, m, h and d"
                )));
            };
            if smallest.is_some_and(|before| index <= before) {
                return Err(fail(
                    "write larger units before smaller ones, each at most once".to_owned(),
                ));
            }
            smallest = Some(index);
            let part =
                scaled(number, TIME_UNITS[index].1).ok_or_else(|| ValueError::new(DURATION))?;
            total = total
                .checked_add(part)
                .ok_or_else(|| ValueError::new(DURATION))?;
        }
        let seconds = u64::try_from(total / 1_000_000_000)
            .ok()
            .filter(|s| *s <= u64::from(u32::MAX));
        let seconds =
            seconds.ok_or_else(|| fail("that is more than a hundred years".to_owned()))?;
        // The remainder is below 10^9.
        Ok(Self(Duration::new(seconds, (total % 1_000_000_000) as u32)))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, nanos) in TIME_UNITS {
            if rest >= nanos {
                write!(f, "{}{unit}", rest / nanos)?;
                rest %= nanos;
            }
        }
        Ok(())
    }
}

scalar!(TimeSpan, DURATION, "1s", {
    "type": "string",
    "description": "A duration: a number with its unit, such as 250ms, 5s, 1m30s or 1h.",
    "pattern": r"^([0-9]+(\.[0-9]+)?(d|h|m|s|ms|us|ns))+$",
    "examples": ["250ms", "5s", "1m30s"],
}, |number| Err(ValueError::new(DURATION).hint(format!("write the unit: {number}s"))));

/// A number of bytes: `64KiB`, `10MB`, `1GiB`, or a plain whole number.
///
/// `KB`, `MB`, `GB` and `TB` count in thousands; `KiB`, `MiB`, `GiB` and `TiB` in 1024s. Case does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// From a number of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory, the largest there is when it does not fit.
    #[must_use]
    pub fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> Self {
        size.0
    }
}

/// Names and bytes; binary before decimal, largest first, as `Display` prefers them.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (number, unit) = split_while(text, |c| c.is_ascii_digit() || c == '.');
        let unit = unit.trim_start();
        let known = SIZE_UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let factor = match known {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => {
                let hint = format!(
                    "`{unit}` is no unit; there are B, KB, MB, GB, TB, KiB, MiB, GiB and TiB"
                );
                return Err(ValueError::new(SIZE).hint(hint));
            }
        };
        let bytes = scaled(number, u128::from(factor)).and_then(|bytes| u64::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| ValueError::new(SIZE))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match exact {
            Some((unit, factor)) if *factor > 1 => write!(f, "{}{unit}", self.0 / factor),
            _ => write!(f, "{}", self.0),
        }
    }
}

scalar!(ByteSize, SIZE, "64KiB", {
    "type": ["string", "integer"],
    "description": "A number of bytes: with a unit such as 64KiB, 10MB or 1GiB, or a plain whole number.",
    "pattern": r"^[0-9]+(\.[0-9]+)? ?([KMGTkmgt]?[Ii]?[Bb])?$",
    "minimum": 0,
    "examples": ["64KiB", "10MB", 65536],
}, |number: i128| u64::try_from(number).map(Self).map_err(|_| ValueError::new(SIZE)));

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

/// `number`, which may have decimals, times `factor`; `None` when it is no number, too large, or does not
/// come out whole.
fn scaled(number: &str, factor: u128) -> Option<u128> {
    /// More decimals than any unit here has.
    const DECIMALS: usize = 15;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty()
        || decimals.len() > DECIMALS
        || (decimals.is_empty() && number.contains('.'))
    {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?).checked_mul(factor)?;
    if decimals.is_empty() {
        return Some(whole);
    }
    let scale = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let part = u128::from(decimals.parse::<u64>().ok()?).checked_mul(factor)?;
    if part.is_multiple_of(scale) {
        whole.checked_add(part / scale)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        for (text, nanos) in [
            ("5s", 5_000_000_000),
            ("250ms", 250_000_000),
            ("1m30s", 90_000_000_000),
            ("1h", 3_600_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("0s", 0),
            ("2d", 172_800_000_000_000),
            ("7us5ns", 7_005),
        ] {
            assert_eq!(
                text.parse::<TimeSpan>().unwrap().get().as_nanos(),
                nanos,
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_other_durations() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "1s1m",
            "1s1s",
            "5sec",
            "0.1ns",
            "1.s",
            ".5s",
            "1..2s",
            "9999999999d",
            "99999999999999999999999s",
        ] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
        assert_eq!(
            "5".parse::<TimeSpan>().unwrap_err().to_string(),
            format!("expected {DURATION}\nhint: write the unit: 5s")
        );
    }

    #[test]
    fn reads_and_writes_sizes() {
        for (text, bytes, back) in [
            ("64KiB", 65_536, "64KiB"),
            ("10MB", 10_000_000, "10MB"),
            ("1GiB", 1 << 30, "1GiB"),
            ("1.5kib", 1536, "1536"),
            ("1024", 1024, "1KiB"),
            ("0", 0, "0"),
            ("12 B", 12, "12"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(
                (size.get(), size.to_string().as_str()),
                (bytes, back),
                "{text}"
            );
        }
        for text in ["", "KiB", "1PB", "-1", "0.5", "99999999TiB", "1 2"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos in 0_u64.., bytes: u64) {
            let span = TimeSpan::new(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse::<TimeSpan>().ok(), (span.get().as_secs() <= u64::from(u32::MAX)).then_some(span));
            let size = ByteSize::new(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = text.parse::<TimeSpan>();
            let _ = text.parse::<ByteSize>();
        }
    }
}
