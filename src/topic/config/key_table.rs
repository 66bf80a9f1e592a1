//! The table of topic settings: each of Kafka's keys with how its value is read, written and bounded.
//!
//! Every key of Kafka's topics is in one of two tables: [`SETTINGS`] holds those that can be set (some of them to one
//! value only), [`REFUSED`] those that cannot, with the reason. What a setting writes, it reads back unchanged. Bounds
//! that need more than one setting are in `validate`.

use super::parse::{self, millis};
use super::words::COMPRESSIONS;
use crate::partition::state::topic_values::TopicValues;
use crate::types::{Durability, TimestampType};
use std::time::Duration;

/// One setting: a key and its kind.
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) kind: Kind,
}

/// How a setting is read, written and bounded.
pub(super) enum Kind {
    /// A whole number in an inclusive range.
    Number { range: (i64, i64), get: fn(&TopicValues) -> i64, set: fn(&mut TopicValues, i64) },
    /// `true` or `false`.
    Switch { get: fn(&TopicValues) -> bool, set: fn(&mut TopicValues, bool) },
    /// Everything else.
    Word { get: fn(&TopicValues) -> String, set: fn(&mut TopicValues, &str) -> Result<(), String> },
    /// A setting that has one possible value here, for the reason given.
    Fixed { value: &'static str, reason: &'static str },
}

impl Setting {
    /// The setting with this key.
    pub(super) fn named(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Reads the value from its text, or returns why it cannot.
    pub(super) fn read(&self, values: &mut TopicValues, text: &str) -> Result<(), String> {
        // Kafka trims values, and takes `TRUE` for `true`.
        let text = text.trim();
        match &self.kind {
            Kind::Number { range, set, .. } => {
                let number = parse::number(text)?;
                in_range(number, *range)?;
                set(values, number);
                Ok(())
            }
            Kind::Switch { set, .. } => {
                set(values, parse::switch(text)?);
                Ok(())
            }
            Kind::Word { set, .. } => set(values, text),
            Kind::Fixed { value, .. } if text.eq_ignore_ascii_case(value) => Ok(()),
            Kind::Fixed { value, reason } => Err(format!(
                "'{}' is not available: {reason}; only '{value}' is accepted",
                parse::shown(text)
            )),
        }
    }

    /// The value as text that [`read`](Self::read) takes.
    pub(super) fn write(&self, values: &TopicValues) -> String {
        match &self.kind {
            Kind::Number { get, .. } => get(values).to_string(),
            Kind::Switch { get, .. } => get(values).to_string(),
            Kind::Word { get, .. } => get(values),
            Kind::Fixed { value, .. } => (*value).to_string(),
        }
    }

    /// Whether the value is one that `read` would have accepted: values also come from typed setters.
    pub(super) fn check(&self, values: &TopicValues) -> Result<(), String> {
        match &self.kind {
            Kind::Number { range, get, .. } => in_range(get(values), *range),
            _ => self.read(&mut values.clone(), &self.write(values)),
        }
    }

    /// Brings a value that came from a typed setter into the form it has when read from text.
    pub(super) fn settle(&self, values: &mut TopicValues) {
        match &self.kind {
            Kind::Number { get, set, .. } => set(values, get(values)),
            Kind::Word { get, set } => {
                // A value that does not read back is found by `check`.
                let _ = set(values, &get(values));
            }
            Kind::Switch { .. } | Kind::Fixed { .. } => {}
        }
    }
}

fn in_range(number: i64, (least, most): (i64, i64)) -> Result<(), String> {
    if (least..=most).contains(&number) {
        return Ok(());
    }
    let bounds = if most == NO_END { format!("at least {least}") } else { format!("from {least} to {most}") };
    Err(format!("{number} is out of range: it must be {bounds}"))
}

/// Kafka's "never" and "no limit" where its keys have no -1.
const NO_END: i64 = i64::MAX;
/// The largest value of Kafka's keys of type int.
const INT_MAX: i64 = i32::MAX as i64;

const fn number(
    key: &'static str,
    range: (i64, i64),
    get: fn(&TopicValues) -> i64,
    set: fn(&mut TopicValues, i64),
) -> Setting {
    Setting { key, kind: Kind::Number { range, get, set } }
}

const fn fixed(key: &'static str, value: &'static str, reason: &'static str) -> Setting {
    Setting { key, kind: Kind::Fixed { value, reason } }
}

const NO_REPLICAS: &str = "there is one copy of a partition, and no replica to elect or to throttle";
const NO_TIERING: &str = "this release does not tier segments to remote storage";

/// The settings, in the order in which they are listed.
pub(super) static SETTINGS: [Setting; 39] = [
    Setting {
        key: "streamlog.durability",
        kind: Kind::Word {
            get: |v| durability_text(v.durability),
            set: |v, text| parse::durability(text).map(|durability| v.durability = durability),
        },
    },
    number(
        "segment.bytes",
        (512, INT_MAX),
        |v| signed(v.segment_bytes),
        |v, n| v.segment_bytes = unsigned(n),
    ),
    number("segment.ms", (1, NO_END), |v| millis(v.segment_time), |v, n| v.segment_time = time(n)),
    number("segment.jitter.ms", (0, NO_END), |v| millis(v.segment_jitter), |v, n| v.segment_jitter = time(n)),
    // Kafka allows 4. Two entries of the time index are the least with which a segment is not full from birth, because
    // one of them is reserved for its end.
    number(
        "segment.index.bytes",
        (24, INT_MAX),
        |v| signed(v.segment_index_bytes),
        |v, n| v.segment_index_bytes = unsigned(n),
    ),
    number(
        "index.interval.bytes",
        (0, INT_MAX),
        |v| signed(v.index_interval_bytes),
        |v, n| v.index_interval_bytes = unsigned(n),
    ),
    number(
        "max.message.bytes",
        (0, INT_MAX),
        |v| signed(v.max_message_bytes),
        |v, n| v.max_message_bytes = unsigned(n),
    ),
    number(
        "retention.ms",
        (-1, NO_END),
        |v| v.retention_time.map_or(-1, millis),
        |v, n| v.retention_time = u64::try_from(n).ok().map(Duration::from_millis),
    ),
    number(
        "retention.bytes",
        (-1, NO_END),
        |v| v.retention_bytes.map_or(-1, signed),
        |v, n| v.retention_bytes = u64::try_from(n).ok(),
    ),
    Setting {
        key: "streamlog.retention.hold.groups",
        kind: Kind::Word {
            get: |v| groups_text(&v.retention_hold_groups),
            set: |v, text| parse::groups(text).map(|groups| v.retention_hold_groups = groups),
        },
    },
    Setting {
        key: "message.timestamp.type",
        kind: Kind::Word {
            get: |v| v.message_timestamp_type.to_string(),
            set: |v, text| {
                v.message_timestamp_type = parse::one_of(
                    text,
                    &[
                        ("CreateTime", TimestampType::CreateTime),
                        ("LogAppendTime", TimestampType::LogAppendTime),
                    ],
                )?;
                Ok(())
            },
        },
    },
    number(
        "message.timestamp.before.max.ms",
        (0, NO_END),
        |v| v.message_timestamp_before_max.map_or(NO_END, millis),
        |v, n| v.message_timestamp_before_max = limit(n).map(time),
    ),
    number(
        "message.timestamp.after.max.ms",
        (0, NO_END),
        |v| v.message_timestamp_after_max.map_or(NO_END, millis),
        |v, n| v.message_timestamp_after_max = limit(n).map(time),
    ),
    Setting {
        key: "compression.type",
        kind: Kind::Word {
            get: |v| v.compression.to_string(),
            set: |v, text| parse::one_of(text, &COMPRESSIONS).map(|compression| v.compression = compression),
        },
    },
    // Not a range in Kafka either: -1 and 1 to 9. Zero is refused by `validate`.
    number(
        "compression.gzip.level",
        (-1, 9),
        |v| i64::from(v.compression_gzip_level),
        |v, n| v.compression_gzip_level = level(n),
    ),
    number(
        "compression.lz4.level",
        (1, 17),
        |v| i64::from(v.compression_lz4_level),
        |v, n| v.compression_lz4_level = level(n),
    ),
    number(
        "compression.zstd.level",
        (-131_072, 22),
        |v| i64::from(v.compression_zstd_level),
        |v, n| v.compression_zstd_level = level(n),
    ),
    number(
        "flush.messages",
        (1, NO_END),
        |v| v.flush_messages.map_or(NO_END, signed),
        |v, n| v.flush_messages = limit(n).map(unsigned),
    ),
    number(
        "flush.ms",
        (0, NO_END),
        |v| v.flush_time.map_or(NO_END, millis),
        |v, n| v.flush_time = limit(n).map(time),
    ),
    Setting {
        key: "cleanup.policy",
        kind: Kind::Word {
            get: |v| v.cleanup_policy.to_string(),
            set: |v, text| parse::policy(text).map(|policy| v.cleanup_policy = policy),
        },
    },
    number(
        "file.delete.delay.ms",
        (0, NO_END),
        |v| millis(v.file_delete_delay),
        |v, n| v.file_delete_delay = time(n),
    ),
    Setting {
        key: "preallocate",
        kind: Kind::Switch { get: |v| v.preallocate, set: |v, on| v.preallocate = on },
    },
    Setting {
        key: "min.cleanable.dirty.ratio",
        kind: Kind::Word {
            get: |v| v.min_cleanable_dirty_ratio.to_string(),
            set: |v, text| parse::ratio(text).map(|ratio| v.min_cleanable_dirty_ratio = ratio),
        },
    },
    number(
        "min.compaction.lag.ms",
        (0, NO_END),
        |v| millis(v.min_compaction_lag),
        |v, n| v.min_compaction_lag = time(n),
    ),
    number(
        "max.compaction.lag.ms",
        (1, NO_END),
        |v| v.max_compaction_lag.map_or(NO_END, millis),
        |v, n| v.max_compaction_lag = limit(n).map(time),
    ),
    number(
        "delete.retention.ms",
        (0, NO_END),
        |v| millis(v.delete_retention),
        |v, n| v.delete_retention = time(n),
    ),
    number(
        "streamlog.compaction.versions",
        (1, u32::MAX as i64),
        |v| v.compaction_versions.into(),
        |v, n| v.compaction_versions = u32::try_from(n).unwrap_or(u32::MAX),
    ),
    fixed("min.insync.replicas", "1", NO_REPLICAS),
    fixed("unclean.leader.election.enable", "false", NO_REPLICAS),
    fixed("leader.replication.throttled.replicas", "", NO_REPLICAS),
    fixed("follower.replication.throttled.replicas", "", NO_REPLICAS),
    fixed("remote.storage.enable", "false", NO_TIERING),
    fixed("remote.log.copy.disable", "false", NO_TIERING),
    fixed("remote.log.delete.on.disable", "false", NO_TIERING),
    fixed("remote.copy.lag.ms", "0", NO_TIERING),
    fixed("remote.copy.lag.bytes", "0", NO_TIERING),
    fixed("local.retention.ms", "-2", NO_TIERING),
    fixed("local.retention.bytes", "-2", NO_TIERING),
    fixed("message.downconversion.enable", "false", "batches are stored and read in format v2 alone"),
];

/// Keys that are Kafka's and cannot be set, with the reason.
pub(super) const REFUSED: [(&str, &str); 3] = [
    ("message.format.version", "Kafka 4 removed it: batches are written in format v2 alone; leave it out"),
    (
        "message.timestamp.difference.max.ms",
        "Kafka 4 removed it: set message.timestamp.before.max.ms and message.timestamp.after.max.ms",
    ),
    ("internal.segment.bytes", "it is for Kafka's own tests: segment.bytes may be as small as 512 here"),
];

/// What an unknown key with one of these words, in the singular or the plural, probably means.
pub(super) const MEANT: [(&str, &str); 3] = [
    ("partition", "the number of partitions is not a property of a topic: use TopicConfig::partitions"),
    ("replica", "there is one copy of a partition; leave it out"),
    ("replication", "there is one copy of a partition; leave it out"),
];

/// In milliseconds without a unit, as it stands in every manifest.
fn durability_text(durability: Durability) -> String {
    match durability {
        Durability::Written => "written".to_string(),
        Durability::Interval(every) => format!("interval:{}", millis(every)),
        Durability::Flushed => "flushed".to_string(),
    }
}

/// A name that the list cannot hold makes a list that does not read back.
fn groups_text(groups: &[String]) -> String {
    match groups.iter().all(|group| parse::fits_a_list(group)) {
        true => groups.join(","),
        false => ",".to_string(),
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn level(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn time(millis: i64) -> Duration {
    Duration::from_millis(unsigned(millis))
}

fn limit(number: i64) -> Option<i64> {
    (number != NO_END).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_key_is_in_the_tables_twice() {
        let keys: Vec<&str> =
            SETTINGS.iter().map(|s| s.key).chain(REFUSED.iter().map(|(key, _)| *key)).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn every_default_is_valid_and_reads_back() {
        let defaults = TopicValues::default();
        for setting in &SETTINGS {
            setting.check(&defaults).unwrap();
            let mut values = defaults.clone();
            setting.settle(&mut values);
            setting.read(&mut values, &setting.write(&defaults)).unwrap();
            assert_eq!(values, defaults, "{}", setting.key);
        }
    }

    #[test]
    fn every_key_of_kafkas_topics_is_in_a_table() {
        let kafka = "cleanup.policy compression.gzip.level compression.lz4.level compression.type \
            compression.zstd.level delete.retention.ms file.delete.delay.ms flush.messages flush.ms \
            follower.replication.throttled.replicas index.interval.bytes internal.segment.bytes \
            leader.replication.throttled.replicas local.retention.bytes local.retention.ms max.compaction.lag.ms \
            max.message.bytes message.downconversion.enable message.format.version \
            message.timestamp.after.max.ms message.timestamp.before.max.ms message.timestamp.difference.max.ms \
            message.timestamp.type min.cleanable.dirty.ratio min.compaction.lag.ms min.insync.replicas preallocate \
            remote.copy.lag.bytes remote.copy.lag.ms remote.log.copy.disable remote.log.delete.on.disable \
            remote.storage.enable retention.bytes retention.ms segment.bytes segment.index.bytes \
            segment.jitter.ms segment.ms unclean.leader.election.enable";
        for key in kafka.split_whitespace() {
            let known = Setting::named(key).is_some() || REFUSED.iter().any(|(refused, _)| *refused == key);
            assert!(known, "{key}");
        }
    }

    #[test]
    fn time_is_rounded_up_to_milliseconds() {
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(7)), 7);
        assert_eq!(millis(Duration::ZERO), 0);
        assert_eq!(millis(Duration::MAX), i64::MAX);
    }
}
