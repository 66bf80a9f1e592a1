//! Unknown keys: why one is refused, and which key was probably meant.

use super::key_table::{MEANT, REFUSED, SETTINGS};
use super::parse::shown;

/// Why an unknown key is refused.
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
    // A key that has little in common with it would only mislead.
    match nearest.filter(|known| unlikeness(key, known) * 3 <= key.len()) {
        Some(nearest) => format!("no topic has such a setting; the nearest is {nearest}"),
        None => {
            "no topic has such a setting; streamlog::manual::configuration lists those that it has".into()
        }
    }
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
    fn a_key_that_is_nearly_right_is_refused_with_the_right_one() {
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
}
