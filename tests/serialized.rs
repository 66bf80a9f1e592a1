//! The feature `serde`: numbers for offsets and times, text for names and words, and every value comes back.
#![cfg(feature = "serde")]

use serde_json::{Value, from_value, json, to_value};
use std::{collections::BTreeMap, fmt::Debug, time::Duration};
use streamlog::{
    admin::{DiskUsage, RecoveryVerdict, Stats, TopicId},
    clients::{AutoOffsetReset, IsolationLevel, OffsetAndMetadata},
    config::{CleanupPolicy, Compression, TimestampType, TopicCompression},
    *,
};

/// `value` is serialized as `form`, and `form` deserialized as `value`.
fn is<T>(value: T, form: Value)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    assert_eq!(to_value(&value).unwrap(), form);
    assert_eq!(from_value::<T>(form).unwrap(), value);
}

#[test]
fn values_have_the_documented_forms_and_come_back() {
    is(Offset::new(42), json!(42));
    is(Offset::MAX, json!(i64::MAX));
    is(Timestamp::from_millis(1_767_225_600_000), json!(1_767_225_600_000_i64));
    is(Timestamp::NONE, json!(-1));
    is(TopicId::from_bytes([255; 16]), json!("_____________________w"));
    is(TopicPartition::new("eu-orders", 3), json!("eu-orders-3"));
    is(Durability::Interval(Duration::from_millis(100)), json!("interval:100ms"));
    is(Durability::Flushed, json!("flushed"));
    is(Compression::Zstd, json!("zstd"));
    is(IsolationLevel::ReadCommitted, json!("read_committed"));
    is(TimestampType::LogAppendTime, json!("LogAppendTime"));
    is(AutoOffsetReset::ByDuration(Duration::from_secs(5400)), json!("by_duration:PT1H30M"));
    is(CleanupPolicy::CompactDelete, json!("compact,delete"));
    is(TopicCompression::Codec(Compression::None), json!("uncompressed"));
    is(OffsetAndMetadata::new(7, "note"), json!({"offset": 7, "metadata": "note"}));
}

#[test]
fn a_checkpoint_of_positions_is_a_map_with_partitions_as_keys() {
    let positions = BTreeMap::from([
        (TopicPartition::new("a", 0), Offset::new(5)),
        (TopicPartition::new("a", 1), Offset::ZERO),
    ]);
    let text = serde_json::to_string(&positions).unwrap();
    assert_eq!(text, r#"{"a-0":5,"a-1":0}"#);
    assert_eq!(serde_json::from_str::<BTreeMap<TopicPartition, Offset>>(&text).unwrap(), positions);
}

#[test]
fn what_is_no_value_is_refused() {
    assert!(from_value::<Offset>(json!(-1)).is_err());
    assert!(from_value::<Offset>(json!(9_223_372_036_854_775_808_u64)).is_err());
    assert!(from_value::<Offset>(json!("42")).is_err());
    let error = from_value::<TopicPartition>(json!("orders")).unwrap_err().to_string();
    assert!(error.contains("'orders' is not a partition"), "{error}");
    assert!(from_value::<Durability>(json!("fsync")).is_err());
    assert!(from_value::<TopicId>(json!("short")).is_err());
}

#[test]
fn figures_come_back_and_those_of_an_older_release_have_zeros_for_what_it_lacks() -> Result<()> {
    let log = Streamlog::in_memory()?;
    log.create_topic("t", TopicConfig::default().partitions(2))?;
    log.producer()?.send(ProducerRecord::new("t", "value"))?;
    let stats = log.stats();
    assert_eq!(to_value(&stats).unwrap()["partitions"], json!(2));
    assert_eq!(from_value::<Stats>(to_value(&stats).unwrap()).unwrap(), stats);
    assert_eq!(from_value::<Stats>(json!({"topics": 1})).unwrap().partitions, 0);
    let usage = log.disk_usage()?;
    assert_eq!(from_value::<DiskUsage>(to_value(&usage).unwrap()).unwrap(), usage);
    Ok(())
}

#[test]
fn reports_are_what_metrics_and_logs_need() -> Result<()> {
    let log = Streamlog::in_memory()?;
    log.create_topic("t", TopicConfig::default())?;
    let sent =
        log.producer()?.send(ProducerRecord::new("t", "value").timestamp(Timestamp::from_millis(5)))?;
    let form = json!({"offset": 0, "timestamp": 5, "duplicate": false, "topic_partition": "t-0"});
    assert_eq!(to_value(&sent).unwrap(), form);

    let mut consumer = log.consumer("g")?;
    consumer.subscribe(["t"])?;
    consumer.poll(Duration::ZERO)?;
    consumer.commit_sync()?;
    let group = to_value(log.describe_group("g")?).unwrap();
    assert_eq!(group["committed"][0][0], json!("t-0"));
    assert_eq!(group["committed"][0][1]["offset"], json!(1));
    consumer.seek(&TopicPartition::new("t", 0), 9)?;
    let resets = to_value(consumer.poll(Duration::ZERO)?.resets()).unwrap();
    assert_eq!(resets, json!([{"partition": "t-0", "from": 9, "to": 0, "reason": "out_of_range"}]));

    assert_eq!(
        to_value(log.health()).unwrap(),
        json!({
            "refusing": [], "damaged": [], "quarantined": [], "background": null, "not_compacted": [],
            "hanging": [],
            "out_of_space": null,
        })
    );
    assert_eq!(to_value(log.recovery_report()).unwrap()["was_clean"], json!(true));
    assert_eq!(to_value(RecoveryVerdict::Whole).unwrap(), json!({"verdict": "whole"}));
    Ok(())
}
