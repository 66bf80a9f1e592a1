//! Values as text: what cannot be read back, and the durations that settings are written with.
//!
//! What `Display` writes of a type in here, `FromStr` reads back as the same value.

use std::{fmt, time::Duration};

/// A text that is not what it was taken for.
///
/// As an [`Error`](crate::Error) it is an `InvalidArgument`, so that `?` works where this crate's errors are returned.
///
/// ```
/// use streamlog::{config::Compression, Offset};
///
/// let error = "zip".parse::<Compression>().unwrap_err();
/// assert_eq!(error.to_string(), "'zip' is not a codec: expected none, gzip, snappy, lz4 or zstd");
/// assert_eq!("42".parse(), Ok(Offset::new(42)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParseError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl ParseError {
    /// `text` is not `what`. Of a long text the beginning is kept.
    pub(crate) fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        ParseError { what, text: text.chars().take(64).collect(), expected }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not {}: expected {}", self.text, self.what, self.expected)
    }
}

impl std::error::Error for ParseError {}

/// A whole number in the one form that is written: digits, no sign, no zeros in front.
pub(crate) fn canonical<N: std::str::FromStr>(text: &str) -> Option<N> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical)
}

/// A duration in the largest unit of which it is a whole number: `90s`, `100ms`, `1500us`, `7ns`.
pub(super) fn write_duration(f: &mut fmt::Formatter<'_>, duration: Duration) -> fmt::Result {
    match duration.subsec_nanos() {
        0 => write!(f, "{}s", duration.as_secs()),
        n if n % 1_000_000 == 0 => write!(f, "{}ms", duration.as_millis()),
        n if n % 1_000 == 0 => write!(f, "{}us", duration.as_micros()),
        _ => write!(f, "{}ns", duration.as_nanos()),
    }
}

/// What [`write_duration`] writes, and a number without a unit: milliseconds, as in all of Kafka's settings.
pub(super) fn read_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let per_second: u128 = match unit {
        "s" => 1,
        "ms" | "" => 1_000,
        "us" => 1_000_000,
        "ns" => 1_000_000_000,
        _ => return None,
    };
    let number: u128 = number.parse().ok()?;
    let nanos = (number % per_second) * (1_000_000_000 / per_second);
    Some(Duration::new(u64::try_from(number / per_second).ok()?, u32::try_from(nanos).ok()?))
}

/// A duration as ISO 8601 writes it, in hours, minutes and seconds: `PT1H30M`, `PT0.25S`.
pub(crate) fn write_iso_duration(f: &mut fmt::Formatter<'_>, duration: Duration) -> fmt::Result {
    let (hours, minutes, seconds) =
        (duration.as_secs() / 3600, duration.as_secs() / 60 % 60, duration.as_secs() % 60);
    f.write_str("PT")?;
    if hours > 0 {
        write!(f, "{hours}H")?;
    }
    if minutes > 0 {
        write!(f, "{minutes}M")?;
    }
    match duration.subsec_nanos() {
        0 if seconds == 0 && duration.as_secs() > 0 => Ok(()),
        0 => write!(f, "{seconds}S"),
        nanos => write!(f, "{seconds}.{}S", format!("{nanos:09}").trim_end_matches('0')),
    }
}

/// A duration of ISO 8601 in days, hours, minutes and seconds, as Java's `Duration.parse` takes it, but not negative.
pub(crate) fn read_iso_duration(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix(['P', 'p'])?.split_once(['T', 't']) {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text.get(1..)?, ""),
    };
    let mut total = Duration::ZERO;
    let mut found = false;
    let mut rest = days;
    for (units, per, after) in [("Dd", 86_400, Some(time)), ("Hh", 3600, None), ("Mm", 60, None)] {
        if let Some((number, left)) = rest.split_once(|c| units.contains(c)) {
            let seconds = whole(number)?.checked_mul(per)?;
            total = total.checked_add(Duration::from_secs(seconds))?;
            (rest, found) = (left, true);
        }
        if let Some(time) = after {
            if !rest.is_empty() {
                return None;
            }
            rest = time;
        }
    }
    if let Some(number) = rest.strip_suffix(['S', 's']) {
        total = total.checked_add(seconds(number)?)?;
        (rest, found) = ("", true);
    }
    (found && rest.is_empty()).then_some(total)
}

fn whole(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn seconds(text: &str) -> Option<Duration> {
    let (whole_part, fraction) = text.split_once('.').unwrap_or((text, "0"));
    Some(Duration::new(whole(whole_part)?, nanos(fraction)?))
}

/// The nanoseconds of a decimal fraction of a second of one to nine digits.
pub(super) fn nanos(fraction: &str) -> Option<u32> {
    let digits = whole(fraction).filter(|_| (1..=9).contains(&fraction.len()))?;
    u32::try_from(digits).ok()?.checked_mul(10u32.pow(9 - fraction.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shown<F>(F);
    impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Shown<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (self.0)(f)
        }
    }

    #[test]
    fn iso_durations_are_javas() {
        for (text, millis) in [
            ("PT0S", 0),
            ("PT1H", 3_600_000),
            ("PT1H30M", 5_400_000),
            ("PT0.25S", 250),
            ("PT48H", 172_800_000),
            ("PT1M1.001S", 61_001),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(Shown(|f: &mut fmt::Formatter<'_>| write_iso_duration(f, duration)).to_string(), text);
            assert_eq!(read_iso_duration(text), Some(duration), "{text}");
        }
        assert_eq!(read_iso_duration("P2D"), Some(Duration::from_secs(172_800)));
        assert_eq!(read_iso_duration("p1dt2h"), Some(Duration::from_secs(93_600)));
        for text in [
            "", "P", "PT", "P1DT", "1H", "PT1", "PT1S1M", "P1H", "PT-1S", "PT+1S", "PT1.S", "PTS", "PT.5S",
            "PT1D",
        ] {
            assert_eq!(read_iso_duration(text), None, "{text}");
        }
        assert_eq!(read_iso_duration("PT18446744073709551615H"), None);
    }

    #[test]
    fn a_duration_is_written_in_the_largest_whole_unit_and_read_without_one_as_milliseconds() {
        for (text, duration) in [
            ("0s", Duration::ZERO),
            ("90s", Duration::from_secs(90)),
            ("100ms", Duration::from_millis(100)),
            ("1500us", Duration::from_micros(1500)),
            ("18446744073709551615999999999ns", Duration::MAX),
        ] {
            assert_eq!(Shown(|f: &mut fmt::Formatter<'_>| write_duration(f, duration)).to_string(), text);
            assert_eq!(read_duration(text), Some(duration), "{text}");
        }
        assert_eq!(read_duration("250"), Some(Duration::from_millis(250)));
        for text in ["", "ms", "1.5s", "-1s", "1 s", "1m", "18446744073709551616s"] {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }
}
