//! The `Date` field (IMF-fixdate, RFC 9110 section 5.6.7).

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub type ImfDate = [u8; 29];

const SECONDS_PER_DAY: u64 = 86_400;

/// The last second of the year 9999, beyond which the format ends.
const LAST_SECOND: u64 = 253_402_300_799;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];

/// From March, because the leap day then ends the year.
const MONTHS: [&[u8; 3]; 12] = [
    b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec", b"Jan", b"Feb",
];

thread_local! {
    /// The second last formatted on this thread, and its text.
    static LAST: Cell<(u64, ImfDate)> = const { Cell::new((0, *b"Thu, 01 Jan 1970 00:00:00 GMT")) };
}

/// Formats `time`, once per second and thread: while the second stays the same the text is reused.
#[must_use]
pub fn cached(time: SystemTime) -> ImfDate {
    let second = unix_second(time);
    LAST.with(|last| {
        let (known, text) = last.get();
        if known == second {
            return text;
        }
        let text = format_second(second);
        last.set((second, text));
        text
    })
}

/// Formats `time`. Times before 1970 or after 9999 become the nearest second that can be written.
#[must_use]
pub fn format(time: SystemTime) -> ImfDate {
    format_second(unix_second(time))
}

fn unix_second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().min(LAST_SECOND))
}

fn format_second(second: u64) -> ImfDate {
    let day = second / SECONDS_PER_DAY;
    let in_day = second % SECONDS_PER_DAY;
    let (year, month, day_of_month) = civil(day);

    let mut text = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    text[..3].copy_from_slice(WEEKDAYS[(day % 7) as usize]);
    two_digits(&mut text[5..7], day_of_month);
    text[8..11].copy_from_slice(MONTHS[month]);
    two_digits(&mut text[12..14], year / 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], in_day / 3600);
    two_digits(&mut text[20..22], in_day / 60 % 60);
    two_digits(&mut text[23..25], in_day % 60);
    text
}

/// Year, month counted from March, and day of month of a day counted from 1970.
fn civil(day: u64) -> (u64, usize, u64) {
    const DAYS_PER_YEAR: u64 = 365;
    const DAYS_PER_4_YEARS: u64 = 4 * DAYS_PER_YEAR + 1;
    const DAYS_PER_100_YEARS: u64 = 25 * DAYS_PER_4_YEARS - 1;
    const DAYS_PER_400_YEARS: u64 = 4 * DAYS_PER_100_YEARS + 1;
    // 1600-03-01 starts a 400-year cycle.
    const EPOCH_IN_CYCLE: u64 = 135_080;

    let mut rest = day + EPOCH_IN_CYCLE;
    let mut year = 1600 + 400 * (rest / DAYS_PER_400_YEARS);
    rest %= DAYS_PER_400_YEARS;
    // The last century of a cycle, and the last year of four, are a day longer than the others.
    let centuries = (rest / DAYS_PER_100_YEARS).min(3);
    rest -= centuries * DAYS_PER_100_YEARS;
    year += 100 * centuries + 4 * (rest / DAYS_PER_4_YEARS);
    rest %= DAYS_PER_4_YEARS;
    let years = (rest / DAYS_PER_YEAR).min(3);
    rest -= years * DAYS_PER_YEAR;
    year += years;
    // From March on, each five months have 153 days.
    let month = (5 * rest + 2) / 153;
    let day_of_month = rest - (153 * month + 2) / 5 + 1;
    if month >= 10 {
        year += 1;
    }
    (year, month as usize, day_of_month)
}

fn two_digits(out: &mut [u8], number: u64) {
    out[0] = b'0' + (number / 10) as u8;
    out[1] = b'0' + (number % 10) as u8;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(second: u64) -> String {
        String::from_utf8(format(UNIX_EPOCH + Duration::from_secs(second)).to_vec()).unwrap()
    }

    #[test]
    fn known_dates_are_formatted() {
        for (second, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::from(u32::MAX) * 1000, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(text(second), expected, "{second}");
        }
    }

    #[test]
    fn days_follow_each_other_for_400_years() {
        let mut before = civil(0);
        for day in 1..146_097 {
            let now = civil(day);
            let next_day = (before.0, before.1, before.2 + 1);
            // January is month 10: the year changes there.
            let next_month = (before.0 + u64::from(before.1 == 9), (before.1 + 1) % 12, 1);
            assert!(now == next_day || now == next_month, "{before:?} {now:?}");
            if now == next_month {
                assert!(before.2 >= 28);
            }
            assert!(now.2 <= 31);
            before = now;
        }
        assert_eq!(civil(146_097), (2370, 10, 1));
    }

    #[test]
    fn the_cache_follows_the_clock() {
        let start = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for millis in [0, 999, 1000, 1001, 500, 86_400_000] {
            let time = start + Duration::from_millis(millis);
            assert_eq!(cached(time), format(time));
        }
    }

    #[test]
    fn times_before_the_epoch_are_the_epoch() {
        let time = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(&format(time), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
