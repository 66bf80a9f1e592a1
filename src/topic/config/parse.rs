//! Reading a property's value from its text, in the forms that Kafka accepts.
//!
//! Pure. An error is the reason, without the key: a sentence that quotes what was found (shortened when it is long) and
//! says what is accepted.

use crate::partition::state::topic_values::CleanupPolicy;
use crate::types::{Durability, name::check_group};
use std::{collections::HashSet, time::Duration};

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
        // NaN lies in no range.
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("'{}' is not a number from 0 to 1", shown(text))),
    }
}

/// `flushed`, `written`, or `interval:` and a time: milliseconds, or a number with its unit.
pub(super) fn durability(text: &str) -> Result<Durability, String> {
    let trimmed = text.strip_prefix("interval:").map(|every| format!("interval:{}", every.trim()));
    match trimmed.as_deref().unwrap_or(text).parse() {
        Ok(Durability::Interval(Duration::ZERO)) => {
            Err("an interval is at least one millisecond; to flush before every acknowledgement, use flushed"
                .to_string())
        }
        Ok(Durability::Interval(every)) => {
            // Whole milliseconds, as all times of a topic; a time beyond Kafka's 64 bits becomes the longest one.
            Ok(Durability::Interval(Duration::from_millis(millis(every).unsigned_abs())))
        }
        Ok(durability) => Ok(durability),
        Err(error) => Err(error.to_string()),
    }
}

/// A list of `compact` and `delete`, in any order; an empty one keeps everything.
pub(super) fn policy(text: &str) -> Result<CleanupPolicy, String> {
    let (mut compact, mut delete) = (0, 0);
    for word in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        match word {
            "compact" => compact += 1,
            "delete" => delete += 1,
            _ => return Err(format!("'{}' is neither delete nor compact", shown(word))),
        }
    }
    match (compact, delete) {
        (0, 1) => Ok(CleanupPolicy::Delete),
        (1, 0) => Ok(CleanupPolicy::Compact),
        (1, 1) => Ok(CleanupPolicy::CompactDelete),
        (0, 0) => Ok(CleanupPolicy::Keep),
        _ => Err(format!("'{}' names a policy twice", shown(text))),
    }
}

/// How many groups a list may name: a stranger's has millions.
const MAX_GROUPS: usize = 10_000;

/// A list of groups' names.
pub(super) fn groups(text: &str) -> Result<Vec<String>, String> {
    let mut groups: Vec<String> = Vec::new();
    if text.split(',').nth(MAX_GROUPS).is_some() {
        return Err(format!("it names more than {MAX_GROUPS} groups"));
    }
    let mut seen = HashSet::new();
    for name in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        check_group(name).map_err(|rule| format!("{rule}; names are separated by commas and have none"))?;
        if !seen.insert(name) {
            return Err(format!("'{}' is named twice", shown(name)));
        }
        groups.push(name.to_string());
    }
    Ok(groups)
}

/// Whether a name reads back as what it is from a list.
pub(super) fn fits_a_list(name: &str) -> bool {
    !name.is_empty() && !name.contains(',') && name.trim() == name
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("'{}' is not one of {}", shown(text), words.join(", "))
    })
}

/// The beginning of a text, long enough to be recognized.
pub(super) fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(64).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

/// Whole milliseconds, rounded up: a time that is not zero stays so.
pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
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
        assert_eq!(policy(""), Ok(CleanupPolicy::Keep));
        for text in [",", "delete,delete", "compact,", "keep", "compact,delete,compact"] {
            assert!(policy(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_of_groups_has_each_once_and_no_empty_one() {
        assert_eq!(groups(""), Ok(Vec::new()));
        assert_eq!(groups("billing, search"), Ok(vec!["billing".to_string(), "search".to_string()]));
        for text in [",", "billing,", "billing,,search", "billing, billing"] {
            assert!(groups(text).is_err(), "{text}");
        }
        let list = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(groups(&list(MAX_GROUPS)).map(|found| found.len()), Ok(MAX_GROUPS));
        assert!(groups(&list(MAX_GROUPS + 1)).is_err());
    }

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        assert_eq!(ratio("0.25"), Ok(0.25));
        for text in ["NaN", "inf", "-0.1", "1.01", "half", ""] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_strangers_long_text_is_shortened_at_a_character() {
        assert_eq!(shown(&"ä".repeat(1000)), "ä".repeat(64));
        assert_eq!(shown("short"), "short");
    }
}
