//! From the text of a property to its value, in the forms that Kafka accepts.
//!
//! Pure. An error is the reason, without the key: a sentence that quotes what was found (shortened when it is long) and
//! says what is accepted.

use super::settings::{MEANT, REFUSED, SETTINGS};
use super::values::CleanupPolicy;
use crate::types::Durability;
use std::time::Duration;

/// A whole number, as Kafka's int and long are written.
pub(super) fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("'{}' is not a whole number of 64 bits", shown(text)))
}

/// `true` or `false`, in any case.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    one_of(&text.to_ascii_lowercase(), &[("true", true), ("false", false)])
}

/// A share from 0 to 1.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // What is not a number lies in no range.
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("'{}' is not a number from 0 to 1", shown(text))),
    }
}

/// `flushed`, `written`, or `interval:` and a time: milliseconds, or a number with its unit.
pub(super) fn durability(text: &str) -> Result<Durability, String> {
    let trimmed = text.strip_prefix("interval:").map(|every| format!("interval:{}", every.trim()));
    match trimmed.as_deref().unwrap_or(text).parse() {
        Ok(Durability::Interval(Duration::ZERO)) => {
            Err("an interval has at least one millisecond; without one, say flushed".to_string())
        }
        Ok(Durability::Interval(every)) => {
            // Whole milliseconds, as all times of a topic; what is longer than Kafka's 64 bits is no shorter for it.
            Ok(Durability::Interval(Duration::from_millis(super::settings::millis(every).unsigned_abs())))
        }
        Ok(durability) => Ok(durability),
        Err(error) => Err(error.to_string()),
    }
}

/// A list of `compact` and `delete`, in any order.
pub(super) fn policy(text: &str) -> Result<CleanupPolicy, String> {
    let (mut compact, mut delete) = (0, 0);
    for word in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        match word {
            "compact" => compact += 1,
            "delete" => delete += 1,
            _ => return Err(format!("'{}' is none of delete, compact", shown(word))),
        }
    }
    match (compact, delete) {
        (0, 1) => Ok(CleanupPolicy::Delete),
        (1, 0) => Ok(CleanupPolicy::Compact),
        (1, 1) => Ok(CleanupPolicy::CompactDelete),
        (0, 0) => {
            Err("it is empty: to keep everything, leave retention.ms and retention.bytes at -1".to_string())
        }
        _ => Err(format!("'{}' names a policy twice", shown(text))),
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("'{}' is none of {}", shown(text), words.join(", "))
    })
}

/// Why a key that no setting has was refused.
pub(super) fn unknown_key(key: &str) -> String {
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
        return (*reason).to_string();
    }
    let key = shown(key);
    let mut words = key.split(['.', '-', '_', ' ']).map(|word| word.strip_suffix('s').unwrap_or(word));
    if let Some((_, reason)) = words.find_map(|word| MEANT.iter().find(|(meant, _)| *meant == word)) {
        return (*reason).to_string();
    }
    let nearest = SETTINGS.iter().map(|setting| setting.key).min_by_key(|known| unlikeness(key, known));
    // One that has little in common with it would only mislead.
    match nearest.filter(|known| unlikeness(key, known) * 3 <= key.len()) {
        Some(nearest) => format!("no topic has such a setting; the nearest is {nearest}"),
        None => {
            "no topic has such a setting; streamlog::manual::configuration lists those that it has".into()
        }
    }
}

/// The beginning of a text, long enough to be recognized.
pub(super) fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(64).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

/// How far a key is from a known one. A prefix too many (a broker's `log.`) or too few is the likeliest slip.
fn unlikeness(key: &str, known: &str) -> usize {
    if !key.is_empty() && (key.ends_with(known) || known.ends_with(key)) { 0 } else { distance(key, known) }
}

/// How many bytes must be put in, taken out or changed to get from one text to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_one_of_three_words() {
        assert_eq!(durability("flushed"), Ok(Durability::Flushed));
        assert_eq!(durability("written"), Ok(Durability::Written));
        for text in ["interval:250", "interval: 250", "interval:250ms", "interval:249001us"] {
            assert_eq!(durability(text), Ok(Durability::Interval(Duration::from_millis(250))), "{text}");
        }
        for text in [
            "",
            "Flushed",
            "interval",
            "interval:",
            "interval:0",
            "interval:-5",
            "interval:1.5",
            "interval:0ns",
            "fsync",
        ] {
            assert!(durability(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cleanup_policy_is_a_list_in_any_order_without_repetition() {
        assert_eq!(policy("delete"), Ok(CleanupPolicy::Delete));
        assert_eq!(policy("compact"), Ok(CleanupPolicy::Compact));
        assert_eq!(policy("delete, compact"), Ok(CleanupPolicy::CompactDelete));
        assert_eq!(policy("compact,delete"), Ok(CleanupPolicy::CompactDelete));
        for text in ["", "delete,delete", "compact,", "keep", "compact,delete,compact"] {
            assert!(policy(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        assert_eq!(ratio("0.25"), Ok(0.25));
        for text in ["NaN", "inf", "-0.1", "1.01", "half", ""] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_nearly_right_is_told_the_right_one() {
        for (wrong, right) in [
            ("retention.mss", "retention.ms"),
            ("log.retention.bytes", "retention.bytes"),
            ("segment.byte", "segment.bytes"),
            ("cleanup-policy", "cleanup.policy"),
            ("durability", "streamlog.durability"),
        ] {
            let reason = unknown_key(wrong);
            assert!(reason.ends_with(&format!(" {right}")), "{wrong}: {reason}");
        }
        for key in ["num.partitions", "partitions", "partition.count", "partitions-count"] {
            assert!(unknown_key(key).contains("TopicConfig::partitions"), "{key}");
        }
        for key in ["replication.factor", "default.replication.factor", "replicas"] {
            assert!(unknown_key(key).contains("one copy"), "{key}");
        }
        for key in ["", "owner", "team.name", "max.poll.records", "acks", "name", "é"] {
            let reason = unknown_key(key);
            assert!(reason.contains("manual::configuration"), "{key}: {reason}");
        }
    }

    #[test]
    fn the_distance_counts_single_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn a_strangers_long_text_is_shortened_at_a_character() {
        assert_eq!(shown(&"ä".repeat(1000)), "ä".repeat(64));
        assert_eq!(shown("short"), "short");
    }
}
