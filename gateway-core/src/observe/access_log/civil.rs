//! Dates as log lines spell them, UTC.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment in the proleptic Gregorian calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    millisecond: u32,
}

impl Civil {
    /// Times before 1970 count as 1970.
    pub(super) fn new(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Counted from 1 March of year 0, so that a leap day ends its year and a run of 400 years is
        // always 146,097 days long.
        let days = days + 719_468;
        let (cycle, in_cycle) = (days / 146_097, days % 146_097);
        let year_in_cycle =
            (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
        let day_of_year =
            in_cycle - (365 * year_in_cycle + year_in_cycle / 4 - year_in_cycle / 100);
        // Months from March on have 31, 30, 31, 30, 31 days, again and again: 153 days in five.
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = cycle * 400 + year_in_cycle + u64::from(month <= 2);
        Self {
            year,
            month,
            day,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            millisecond: since.subsec_millis(),
        }
    }

    /// `2026-01-02T03:04:05.678Z` (RFC 3339).
    pub(super) fn write_rfc3339(self, into: &mut Vec<u8>) {
        let _ = write!(
            into,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            self.year, self.month, self.day, self.hour, self.minute, self.second, self.millisecond
        );
    }

    /// `02/Jan/2026:03:04:05 +0000`, as the common log format has it.
    pub(super) fn write_common(self, into: &mut Vec<u8>) {
        let month = usize::try_from(self.month - 1)
            .ok()
            .and_then(|month| MONTHS.get(month))
            .unwrap_or(&"Jan");
        let _ = write!(
            into,
            "{:02}/{month}/{:04}:{:02}:{:02}:{:02} +0000",
            self.day, self.year, self.hour, self.minute, self.second
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn both(seconds: u64) -> (String, String) {
        let civil = Civil::new(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7));
        let (mut rfc, mut common) = (Vec::new(), Vec::new());
        civil.write_rfc3339(&mut rfc);
        civil.write_common(&mut common);
        (
            String::from_utf8(rfc).unwrap(),
            String::from_utf8(common).unwrap(),
        )
    }

    #[test]
    fn spells_known_moments() {
        for (seconds, rfc, common) in [
            (0, "1970-01-01T00:00:00.007Z", "01/Jan/1970:00:00:00 +0000"),
            (
                951_782_399,
                "2000-02-28T23:59:59.007Z",
                "28/Feb/2000:23:59:59 +0000",
            ),
            (
                951_782_400,
                "2000-02-29T00:00:00.007Z",
                "29/Feb/2000:00:00:00 +0000",
            ),
            (
                951_868_800,
                "2000-03-01T00:00:00.007Z",
                "01/Mar/2000:00:00:00 +0000",
            ),
            (
                1_735_689_599,
                "2024-12-31T23:59:59.007Z",
                "31/Dec/2024:23:59:59 +0000",
            ),
            (
                1_767_323_045,
                "2026-01-02T03:04:05.007Z",
                "02/Jan/2026:03:04:05 +0000",
            ),
            (
                4_107_542_400,
                "2100-03-01T00:00:00.007Z",
                "01/Mar/2100:00:00:00 +0000",
            ),
        ] {
            assert_eq!(both(seconds), (rfc.into(), common.into()));
        }
    }

    #[test]
    fn a_time_before_the_epoch_is_the_epoch() {
        let before = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(Civil::new(before), Civil::new(UNIX_EPOCH));
    }
}
