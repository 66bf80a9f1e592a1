//! Time as Kafka keeps it, and as people write it.
//!
//! The calendar is the proleptic Gregorian one, without leap seconds, as POSIX has it. Days and dates are converted as in
//! Howard Hinnant's "chrono-compatible low-level date algorithms".

use super::ParseError;
use super::parse::nanos;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, str::FromStr};

/// Milliseconds since 1970-01-01T00:00:00Z, as Kafka keeps time.
///
/// [`Timestamp::NONE`] (-1 in the files) means that a record carries no timestamp.
///
/// As text a timestamp is a date and time of RFC 3339 in UTC, with milliseconds; [`as_millis`](Self::as_millis) is
/// Kafka's number.
///
/// ```
/// use std::time::Duration;
/// use streamlog::Timestamp;
///
/// let new_year = Timestamp::from_millis(1_767_225_600_000);
/// assert_eq!(new_year.to_string(), "2026-01-01T00:00:00.000Z");
/// assert_eq!("2026-01-01T01:00:00+01:00".parse(), Ok(new_year));
/// assert_eq!(new_year.minus(Duration::from_millis(1)).to_string(), "2025-12-31T23:59:59.999Z");
/// assert_eq!(Timestamp::NONE.to_string(), "none");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// No timestamp: -1 in Kafka's files, and before every other one.
    pub const NONE: Timestamp = Timestamp(-1);

    /// The present, by the system's clock. A log in a simulated machine has a clock of its own.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// A time in milliseconds since 1970. Negative values other than -1 are refused when a record is produced.
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis)
    }

    /// The milliseconds since 1970; -1 for [`Timestamp::NONE`].
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whether this is [`Timestamp::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == -1
    }

    /// The time `by` later, in whole milliseconds; held at the last one that there is.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Timestamp(self.0.saturating_add(millis(by)))
    }

    /// The time `by` earlier, in whole milliseconds; held at the first one that there is.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Timestamp(self.0.saturating_sub(millis(by)))
    }

    /// How long after `earlier` this is; `None` when it is not later, or when one of the two is
    /// [`NONE`](Self::NONE).
    pub fn duration_since(self, earlier: Timestamp) -> Option<Duration> {
        if self.is_none() || earlier.is_none() || self < earlier {
            return None;
        }
        Some(Duration::from_millis(self.0.abs_diff(earlier.0)))
    }

    /// The same time for the standard library; `None` for [`NONE`](Self::NONE), and where the platform has no such time.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let distance = Duration::from_millis(self.0.unsigned_abs());
        match self.0 {
            -1 => None,
            0.. => UNIX_EPOCH.checked_add(distance),
            _ => UNIX_EPOCH.checked_sub(distance),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// In whole milliseconds, rounded down. A time before 1970 is held there.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Timestamp(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

/// As [`Timestamp::to_system_time`].
impl From<Timestamp> for Option<SystemTime> {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_system_time()
    }
}

const DAY: i64 = 86_400_000;

/// RFC 3339 in UTC: `2026-01-01T00:00:00.000Z`; `none` for [`Timestamp::NONE`]. A year outside of 0 to 9999 has a sign,
/// as in ISO 8601.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.pad("none");
        }
        let (year, month, day) = date(self.0.div_euclid(DAY));
        let time = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (time / 3_600_000, time / 60_000 % 60, time / 1000 % 60);
        let year = match year {
            0..=9999 => format!("{year:04}"),
            _ => format!("{year:+05}"),
        };
        let rest = format!("{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", time % 1000);
        f.pad(&format!("{year}-{rest}"))
    }
}

/// A date and time of RFC 3339 with any offset from UTC, `none`, or Kafka's number of milliseconds since 1970. What is
/// finer than a millisecond is cut off.
impl FromStr for Timestamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let number = || text.parse().ok().filter(|_| !text.starts_with('+'));
        let millis = if text == "none" { Some(-1) } else { number().or_else(|| read(text)) };
        millis.map(Timestamp).ok_or_else(|| {
            let expected = "a time like 2026-01-01T00:00:00Z, or milliseconds since 1970";
            ParseError::new("a timestamp", text, expected)
        })
    }
}

/// The milliseconds since 1970 of a date and time.
fn read(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(at);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    let ahead = match zone.split_at(1) {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), zone) => {
            let [hours, minutes] = fields(zone, ':', [2, 2])?;
            let ahead = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
            if sign == "-" { -ahead } else { ahead }
        }
        _ => return None,
    };
    let fraction = i128::from(nanos(fraction)? / 1_000_000);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i128::from(read_date(date)?) * 86_400 + i128::from(hour * 3600 + minute * 60 + second)
        - i128::from(ahead * 60);
    i64::try_from(seconds * 1000 + fraction).ok()
}

/// The days since 1970 of a date: `2026-01-01`, `+12026-01-01`, `-0001-12-31`.
fn read_date(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => (0, text),
    };
    let (year, rest) = digits.split_once('-')?;
    let whole = (4..=9).contains(&year.len()) && (sign != 0 || year.len() == 4);
    let year: i64 = year.parse().ok().filter(|_| whole && year.bytes().all(|b| b.is_ascii_digit()))?;
    let year = if sign < 0 { -year } else { year };
    let [month, day] = fields(rest, '-', [2, 2])?;
    if !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    let days = days(year, month, day);
    // The 30th of February is another day.
    (date(days) == (year, month, day)).then_some(days)
}

/// Numbers with these counts of digits, separated by `by`.
fn fields<const N: usize>(text: &str, by: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(by);
    let mut values = [0; N];
    for (value, len) in values.iter_mut().zip(digits) {
        let part =
            parts.next().filter(|part| part.len() == len && part.bytes().all(|b| b.is_ascii_digit()))?;
        *value = part.parse().ok()?;
    }
    parts.next().is_none().then_some(values)
}

/// The date, this many days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that a leap day is the last day of its year; eras have 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// How many days after 1970-01-01 the date is.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates_are_written_and_read() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-2, "1969-12-31T23:59:59.998Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-0001-12-31T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+10000-01-01T00:00:00.000Z"),
            // As Java's Instant writes them.
            (i64::MAX, "+292278994-08-17T07:12:55.807Z"),
            (i64::MIN, "-292275055-05-16T16:47:04.192Z"),
        ] {
            assert_eq!(Timestamp(millis).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(millis)), "{text}");
        }
    }

    #[test]
    fn what_people_write_is_read() {
        let new_year = Timestamp(1_767_225_600_000);
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01 00:00:00z",
            "2026-01-01T00:00:00.000999Z",
            "2025-12-31T19:00:00-05:00",
            "2026-01-01T05:45:00.0+05:45",
            "1767225600000",
        ] {
            assert_eq!(text.parse(), Ok(new_year), "{text}");
        }
        assert_eq!("none".parse(), Ok(Timestamp::NONE));
        assert_eq!("-5".parse(), Ok(Timestamp(-5)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-1-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zulu",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+1:00",
            "12026-01-01T00:00:00Z",
            "+292278995-01-01T00:00:00Z",
            "2026-01-01T00:00:00.1234567890Z",
            "+5",
            "2026-01-01T+0:00:00Z",
            "9223372036854775808",
            "\u{661}970-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_holds_at_both_ends_and_nothing_is_measured_from_no_time() {
        let second = Duration::from_secs(1);
        assert_eq!(Timestamp(5).plus(second), Timestamp(1005));
        assert_eq!(Timestamp(i64::MAX - 1).plus(second), Timestamp(i64::MAX));
        assert_eq!(Timestamp(0).plus(Duration::MAX), Timestamp(i64::MAX));
        assert_eq!(Timestamp(i64::MIN).minus(Duration::MAX), Timestamp(i64::MIN));
        assert_eq!(Timestamp(1500).duration_since(Timestamp(500)), Some(second));
        assert_eq!(Timestamp(500).duration_since(Timestamp(1500)), None);
        assert_eq!(Timestamp(500).duration_since(Timestamp::NONE), None);
        assert_eq!(
            Timestamp(i64::MAX).duration_since(Timestamp(i64::MIN)),
            Some(Duration::from_millis(u64::MAX))
        );
    }

    #[test]
    fn system_times_come_back_as_they_were_and_no_time_is_none() {
        for millis in [0, 1, 1_767_225_600_123] {
            let time = Timestamp(millis).to_system_time().unwrap();
            assert_eq!(Timestamp::from(time), Timestamp(millis));
        }
        assert_eq!(Option::<SystemTime>::from(Timestamp::NONE), None);
        let before = UNIX_EPOCH - Duration::from_millis(5);
        assert_eq!(Timestamp(-5).to_system_time(), Some(before));
        assert_eq!(Timestamp::from(before), Timestamp(0), "Kafka has no such time");
        let now = Timestamp::now();
        assert!(now > Timestamp(1_700_000_000_000) && !now.is_none());
    }

    proptest! {
        #[test]
        fn every_timestamp_reads_back_from_its_text(millis: i64) {
            prop_assert_eq!(Timestamp(millis).to_string().parse(), Ok(Timestamp(millis)));
        }

        #[test]
        fn no_text_panics(text in "[-+]?[0-9]{0,6}-?[0-9]{0,3}-[0-9]{1,2}[T ][0-9:]{0,9}[.]?[0-9]{0,3}(Z|[-+][0-9:]{0,6})?") {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }
    }
}
