//! What a topic's configuration promises, checked from outside its files.

use super::*;
use crate::types::{Compression, Durability, TimestampType};
use proptest::prelude::*;
use std::time::Duration;

fn read(properties: &[(&str, &str)]) -> Result<TopicConfig> {
    TopicConfig::from_kafka_properties(properties.iter().copied())
}

/// The reason for which properties are refused, with the key they are refused for.
fn refusal(properties: &[(&str, &str)]) -> (String, String) {
    match read(properties).unwrap_err() {
        Error::InvalidConfig { key, reason } => (key, reason),
        other => panic!("{other}"),
    }
}

fn value_of(config: &TopicConfig, key: &str) -> String {
    config.entries().into_iter().find(|entry| entry.key == key).unwrap().value
}

/// A configuration in which every typed setter was used, none with its default.
fn everything() -> TopicConfig {
    TopicConfig::default()
        .durability(Durability::Interval(Duration::from_millis(20)))
        .segment_bytes(1 << 20)
        .segment_time(Duration::from_secs(1))
        .segment_jitter(Duration::from_millis(10))
        .segment_index_bytes(4096)
        .index_interval_bytes(0)
        .max_message_bytes(1 << 19)
        .retention_time(Duration::from_secs(3600))
        .retention_bytes(1 << 30)
        .message_timestamp_type(TimestampType::LogAppendTime)
        .message_timestamp_before_max(Duration::from_secs(5))
        .message_timestamp_after_max(Duration::ZERO)
        .compression(Compression::Zstd)
        .compression_gzip_level(9)
        .compression_zstd_level(-131_072)
        .flush_messages(100)
        .flush_time(Duration::from_millis(500))
        .cleanup_policy(CleanupPolicy::CompactDelete)
        .preallocate(true)
        .min_cleanable_dirty_ratio(0.1)
        .min_compaction_lag(Duration::from_millis(1))
        .max_compaction_lag(Duration::from_millis(2))
        .delete_retention(Duration::ZERO)
}

#[test]
fn the_default_is_valid_and_says_nothing() {
    let config = TopicConfig::default();
    config.validate().unwrap();
    assert_eq!(config.to_properties(), []);
    assert_eq!(config.partition_count(), 1);
    assert!(config.entries().iter().all(|entry| entry.source == ConfigSource::Default));
    assert_eq!(read(&[]).unwrap(), config);
}

#[test]
fn every_setter_sets_its_own_key() {
    let config = everything();
    let expected = [
        ("streamlog.durability", "interval:20"),
        ("segment.bytes", "1048576"),
        ("segment.ms", "1000"),
        ("segment.jitter.ms", "10"),
        ("segment.index.bytes", "4096"),
        ("index.interval.bytes", "0"),
        ("max.message.bytes", "524288"),
        ("retention.ms", "3600000"),
        ("retention.bytes", "1073741824"),
        ("message.timestamp.type", "LogAppendTime"),
        ("message.timestamp.before.max.ms", "5000"),
        ("message.timestamp.after.max.ms", "0"),
        ("compression.type", "zstd"),
        ("compression.gzip.level", "9"),
        ("compression.zstd.level", "-131072"),
        ("flush.messages", "100"),
        ("flush.ms", "500"),
        ("cleanup.policy", "compact,delete"),
        ("preallocate", "true"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("min.compaction.lag.ms", "1"),
        ("max.compaction.lag.ms", "2"),
        ("delete.retention.ms", "0"),
    ];
    let properties = config.to_properties();
    let properties: Vec<(&str, &str)> = properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(properties, expected);
}

#[test]
fn the_table_of_the_manual_names_every_key_with_its_default() {
    let manual = include_str!("../../manual/configuration.rs");
    for entry in TopicConfig::default().entries() {
        let row = format!("//! | {} | {}", entry.key, entry.value);
        assert!(manual.contains(row.trim_end()), "{row}");
    }
}

#[test]
fn only_the_keys_given_change() {
    let config = read(&[("retention.ms", "1000"), ("compression.type", "lz4")]).unwrap();
    let expected =
        TopicConfig::default().retention_time(Duration::from_secs(1)).compression(Compression::Lz4);
    assert_eq!(config, expected);
    assert_eq!(config.to_properties().len(), 2);
    let set = config.entries().into_iter().filter(|entry| entry.source == ConfigSource::Set).count();
    assert_eq!(set, 2);
    assert_eq!(value_of(&config, "segment.bytes"), "268435456");
}

#[test]
fn a_default_that_was_set_is_remembered_as_set() {
    let config = read(&[("retention.ms", "-1")]).unwrap();
    assert_ne!(config, TopicConfig::default());
    assert_eq!(config.to_properties(), [("retention.ms".to_string(), "-1".to_string())]);
}

#[test]
fn values_are_read_as_kafka_reads_them() {
    let config = read(&[
        ("preallocate", " TRUE "),
        ("segment.bytes", " 2000000 "),
        ("message.timestamp.after.max.ms", "9223372036854775807"),
        ("retention.bytes", "-1"),
        ("segment.bytes", "3000000"),
    ])
    .unwrap();
    assert!(config.values().preallocate);
    assert_eq!(config.values().segment_bytes, 3_000_000, "the last one holds");
    assert_eq!(config.values().message_timestamp_after_max, None);
    assert_eq!(config.values().retention_bytes, None);
}

#[test]
fn values_outside_their_range_are_refused_with_the_range() {
    for (key, bad) in [
        ("segment.bytes", "511"),
        ("segment.bytes", "2147483648"),
        ("segment.ms", "0"),
        ("segment.jitter.ms", "-1"),
        ("segment.index.bytes", "23"),
        ("index.interval.bytes", "-1"),
        ("max.message.bytes", "-1"),
        ("max.message.bytes", "lots"),
        ("retention.ms", "-2"),
        ("retention.bytes", "-2"),
        ("message.timestamp.type", "createtime"),
        ("message.timestamp.before.max.ms", "-1"),
        ("compression.type", "none"),
        ("compression.gzip.level", "0"),
        ("compression.gzip.level", "10"),
        ("compression.lz4.level", "0"),
        ("compression.lz4.level", "8"),
        ("compression.lz4.level", "18"),
        ("compression.zstd.level", "23"),
        ("compression.zstd.level", "-131073"),
        ("flush.messages", "0"),
        ("flush.ms", "-1"),
        ("preallocate", "yes"),
        ("file.delete.delay.ms", "1000"),
        ("min.cleanable.dirty.ratio", "2"),
        ("retention.ms", "9223372036854775808"),
        ("streamlog.durability", "maybe"),
    ] {
        let (named, reason) = refusal(&[(key, bad)]);
        assert_eq!(named, key, "{bad}: {reason}");
    }
    let (_, reason) = refusal(&[("segment.bytes", "511")]);
    assert_eq!(reason, "511 is out of range: it must be from 512 to 2147483647");
}

#[test]
fn a_record_may_not_be_too_young_and_too_old_to_be_cleaned() {
    everything().validate().unwrap();
    let crossed = everything().min_compaction_lag(Duration::from_secs(9));
    assert!(
        matches!(crossed.validate(), Err(Error::InvalidConfig { key, .. }) if key == "min.compaction.lag.ms")
    );
}

#[test]
fn what_needs_replicas_or_tiering_has_one_value() {
    for (key, only, other) in [
        ("min.insync.replicas", "1", "2"),
        ("unclean.leader.election.enable", "FALSE", "true"),
        ("leader.replication.throttled.replicas", "", "*"),
        ("follower.replication.throttled.replicas", "", "0:1"),
        ("remote.storage.enable", "false", "true"),
        ("remote.log.copy.disable", "false", "true"),
        ("remote.log.delete.on.disable", "false", "true"),
        ("remote.copy.lag.ms", "0", "-1"),
        ("remote.copy.lag.bytes", "0", "1"),
        ("local.retention.ms", "-2", "1000"),
        ("local.retention.bytes", "-2", "-1"),
        ("message.downconversion.enable", "false", "true"),
    ] {
        assert_eq!(read(&[(key, only)]).unwrap().to_properties(), [(key.to_string(), only.to_lowercase())]);
        assert_eq!(refusal(&[(key, other)]).0, key);
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let (key, reason) = refusal(&[("retention.minutes", "5")]);
    assert_eq!(key, "retention.minutes");
    assert!(reason.contains("retention.bytes") || reason.contains("retention.ms"), "{reason}");
    assert!(refusal(&[("message.format.version", "3.0")]).1.contains("Kafka 4"));
    assert!(refusal(&[("num.partitions", "3")]).1.contains("TopicConfig::partitions"));
    assert!(refusal(&[(&"x".repeat(100_000), "")]).0.len() < 100, "a stranger's key is shortened");
}

#[test]
fn a_batch_must_fit_into_a_segment() {
    let small = TopicConfig::default().segment_bytes(512);
    small.validate().unwrap();
    assert_eq!(small.values().max_message_bytes, 512, "unset, it follows the segment");
    assert_eq!(small.clone().segment_bytes(1 << 30).values().max_message_bytes, (1 << 20) + 12);
    let text = small.max_message_bytes(513).validate().unwrap_err().to_string();
    assert!(text.contains("max.message.bytes") && text.contains("513") && text.contains("512"), "{text}");
}

#[test]
fn partitions_are_bounded() {
    for (count, valid) in [(0, false), (1, true), (MAX_PARTITIONS, true), (MAX_PARTITIONS + 1, false)] {
        assert_eq!(TopicConfig::default().partitions(count).validate().is_ok(), valid, "{count}");
    }
}

#[test]
fn setters_keep_what_kafkas_keys_can_say() {
    let config = TopicConfig::default()
        .segment_time(Duration::from_nanos(1))
        .flush_time(Duration::MAX)
        .retention_bytes(u64::MAX)
        .durability(Durability::Interval(Duration::from_micros(1500)));
    assert_eq!(config.values().segment_time, Duration::from_millis(1));
    assert_eq!(config.values().flush_time, None);
    assert_eq!(config.values().retention_bytes, Some(i64::MAX as u64));
    assert_eq!(config.values().durability, Durability::Interval(Duration::from_millis(2)));
    config.validate().unwrap();
}

#[test]
fn typed_values_are_checked_like_text() {
    let default = TopicConfig::default;
    for (config, key) in [
        (default().segment_bytes(u64::MAX), "segment.bytes"),
        (default().durability(Durability::Interval(Duration::ZERO)), "streamlog.durability"),
        (default().min_cleanable_dirty_ratio(f64::NAN), "min.cleanable.dirty.ratio"),
        (default().compression_zstd_level(i32::MAX), "compression.zstd.level"),
        (default().flush_messages(0), "flush.messages"),
        (default().segment_time(Duration::ZERO), "segment.ms"),
        (default().compaction_versions(0), "streamlog.compaction.versions"),
    ] {
        match config.validate() {
            Err(Error::InvalidConfig { key: named, .. }) => assert_eq!(named, key),
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn changes_are_made_together_or_not_at_all() {
    let config = TopicConfig::default().partitions(3).retention_bytes(5).segment_bytes(4096);
    let changed = config
        .altered(&[ConfigChange::set("retention.ms", "7"), ConfigChange::unset("retention.bytes")])
        .unwrap();
    let expected =
        TopicConfig::default().partitions(3).segment_bytes(4096).retention_time(Duration::from_millis(7));
    assert_eq!(changed, expected);
    assert_eq!(changed.values().max_message_bytes, 4096);

    for bad in [
        vec![ConfigChange::set("retention.ms", "7"), ConfigChange::unset("retention.ms")],
        vec![ConfigChange::unset("retention.mss")],
        vec![ConfigChange::set("segment.bytes", "1")],
        vec![ConfigChange::set("max.message.bytes", "4097")],
    ] {
        assert!(config.altered(&bad).is_err(), "{bad:?}");
    }
    // Each of the two would be refused alone.
    let both = [ConfigChange::set("max.message.bytes", "10000"), ConfigChange::set("segment.bytes", "10000")];
    config.altered(&both).unwrap();
}

#[test]
fn everything_can_be_unset() {
    let changes: Vec<ConfigChange> =
        everything().to_properties().into_iter().map(|(key, _)| ConfigChange::Unset(key)).collect();
    assert_eq!(everything().altered(&changes).unwrap(), TopicConfig::default());
}

#[test]
fn a_codec_outside_this_build_is_named_before_it_is_needed() {
    TopicConfig::default().check_codec().unwrap();
    TopicConfig::default().compression(Compression::None).check_codec().unwrap();
    let zstd = TopicConfig::default().compression(Compression::Zstd);
    zstd.validate().unwrap();
    assert_eq!(zstd.check_codec().is_ok(), cfg!(feature = "zstd"));
}

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0u64..5000).prop_map(Duration::from_millis),
        any::<u64>().prop_map(Duration::from_nanos),
        any::<u64>().prop_map(Duration::from_millis),
        any::<u64>().prop_map(Duration::from_secs),
    ]
}

prop_compose! {
    fn any_config()(
        segment in proptest::option::of(512u64..1 << 31),
        message in proptest::option::of(0u64..512),
        retention in proptest::option::of(proptest::option::of(any_time())),
        bytes in proptest::option::of(proptest::option::of(any::<u64>())),
        after in proptest::option::of(proptest::option::of(any_time())),
        flush in proptest::option::of(any_time()),
        every in proptest::option::of(1u64..),
        codec in proptest::option::of(0usize..5),
        zstd in proptest::option::of(-131_072i32..=22),
        preallocate in proptest::option::of(any::<bool>()),
    ) -> TopicConfig {
        let codecs =
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        let mut config = TopicConfig::default();
        if let Some(value) = segment { config = config.segment_bytes(value); }
        if let Some(value) = message { config = config.max_message_bytes(value); }
        if let Some(value) = retention { config = config.retention_time(value); }
        if let Some(value) = bytes { config = config.retention_bytes(value); }
        if let Some(value) = after { config = config.message_timestamp_after_max(value); }
        if let Some(value) = flush { config = config.flush_time(value); }
        if let Some(value) = every { config = config.durability(Durability::Interval(Duration::from_nanos(value))); }
        if let Some(value) = codec { config = config.compression(codecs[value]); }
        if let Some(value) = zstd { config = config.compression_zstd_level(value); }
        if let Some(value) = preallocate { config = config.preallocate(value); }
        config
    }
}

proptest! {
    #[test]
    fn what_was_set_reads_back_from_its_properties(config in any_config()) {
        config.validate().unwrap();
        let back = TopicConfig::from_kafka_properties(config.to_properties()).unwrap();
        prop_assert_eq!(&back, &config);
        prop_assert_eq!(back.entries(), config.entries());
    }

    #[test]
    fn all_that_is_in_effect_can_be_set(config in any_config()) {
        let entries = config.entries().into_iter().map(|entry| (entry.key, entry.value));
        let back = TopicConfig::from_kafka_properties(entries).unwrap();
        prop_assert_eq!(back.values(), config.values());
    }

    #[test]
    fn no_text_is_a_panic(setting in 0..SETTINGS.len(), text in "\\PC{0,12}|-?[0-9]{1,25}|interval:[0-9]{1,25}") {
        let key = SETTINGS[setting].key;
        if let Ok(config) = read(&[(key, &text)]) {
            let back = TopicConfig::from_kafka_properties(config.to_properties()).unwrap();
            prop_assert_eq!(back, config);
        }
        let _ = read(&[(&text, key)]);
    }
}
