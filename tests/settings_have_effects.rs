//! Every setting of a topic that is accepted does something that can be seen, and what would do nothing is refused.
//!
//! One workload shows most of what settings change: how records are divided and laid out, which are refused, what is
//! left after time, and after a power cut. A setting has an effect when the workload ends otherwise with it.

use std::{collections::BTreeSet, time::Duration};
use streamlog::sim::{Crash, SimEnv};
use streamlog::{admin::TopicUsage, config::Builder, *};

/// What the workload showed.
#[derive(Debug, PartialEq)]
struct Seen {
    segments: usize,
    /// Bytes of batches, and of everything else, halfway.
    usage: TopicUsage,
    /// The kinds of refusal of a large record, an old one and one from the future.
    refused: [Option<ErrorKind>; 3],
    timestamp: Timestamp,
    /// The log start and the segments that are left two days later.
    later: (Offset, usize),
    /// The log end after a power cut in the middle.
    survived: Offset,
    /// Records that can be read in the end.
    left: usize,
}

fn opened(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/log").background_thread(false).open().unwrap()
}

fn appended(partition: &Partition, size: usize, timestamp: Option<Timestamp>) -> Result<()> {
    let value: String = (0..size).map(|i| char::from(b'a' + (i * i % 19) as u8)).collect();
    let record = RecordData::new(&value).key("k");
    partition.append(&[timestamp.map_or(record.clone(), |timestamp| record.timestamp(timestamp))])?;
    Ok(())
}

fn seen(settings: &[(&str, &str)]) -> Seen {
    const HOUR: Duration = Duration::from_secs(3600);
    let env = SimEnv::new(7);
    let begin = Timestamp::from_millis(1_767_225_600_000);
    env.set_wall_clock(begin);
    let log = opened(&env);
    let topic =
        log.create_topic("t", TopicConfig::from_kafka_properties(settings.iter().copied()).unwrap()).unwrap();
    let partition = topic.partition(0).unwrap();
    for i in 0..60 {
        // Some time passed before it was appended.
        let timestamp = begin.plus(Duration::from_millis(100 * i)).minus(Duration::from_millis(5));
        appended(&partition, 500, Some(timestamp)).unwrap();
        env.advance(Duration::from_millis(100));
    }
    let timestamp = partition.last(1).unwrap()[0].timestamp;
    partition.append(&[RecordData::tombstone("gone")]).unwrap();
    let usage = log.disk_usage().unwrap().topics["t"];
    log.maintain().unwrap();
    let survived =
        opened(&env.crash(Crash::Nothing, 1)).topic("t").unwrap().partition(0).unwrap().log_end_offset();
    let now = begin.plus(Duration::from_secs(6));
    let refused = |size, timestamp| appended(&partition, size, timestamp).err().map(|error| error.kind());
    let refused = [refused(5000, None), refused(9, Some(now.minus(HOUR))), refused(9, Some(now.plus(HOUR)))];
    let segments = partition.segment_count();
    env.advance(48 * HOUR);
    log.maintain().unwrap();
    let later = (partition.log_start_offset(), partition.segment_count());
    // As much again, and again, so that what was compacted is compacted once more.
    for _ in 0..2 {
        env.advance(48 * HOUR);
        for _ in 0..60 {
            appended(&partition, 500, None).unwrap();
        }
        log.maintain().unwrap();
    }
    let left = partition.records(partition.log_start_offset()).count();
    Seen { segments, usage, refused, timestamp, later, survived, left }
}

/// A key and its value.
type Property = (&'static str, &'static str);

/// A property that is not the default, and what else must be set for it to matter.
const SETTINGS: &[(Property, &[Property])] = &[
    (("streamlog.durability", "written"), &[]),
    (("segment.bytes", "8192"), &[]),
    (("segment.ms", "1000"), &[]),
    (("segment.jitter.ms", "900"), &[("segment.ms", "1000")]),
    (("segment.index.bytes", "48"), &[("index.interval.bytes", "0")]),
    (("index.interval.bytes", "0"), &[("segment.bytes", "8192")]),
    (("max.message.bytes", "4000"), &[]),
    (("retention.ms", "1000"), &[]),
    (("retention.bytes", "10000"), &[("segment.bytes", "8192")]),
    (("streamlog.retention.hold.groups", "g"), &[("retention.ms", "1000")]),
    (("cleanup.policy", ""), &[("retention.ms", "1000")]),
    (("message.timestamp.type", "LogAppendTime"), &[]),
    (("message.timestamp.before.max.ms", "1000"), &[]),
    (("message.timestamp.after.max.ms", "1000"), &[]),
    (("compression.type", "gzip"), &[]),
    (("compression.gzip.level", "1"), &[("compression.type", "gzip")]),
    #[cfg(feature = "zstd")]
    (("compression.zstd.level", "-100000"), &[("compression.type", "zstd")]),
    (("flush.messages", "1"), &[("streamlog.durability", "written")]),
    (("flush.ms", "1"), &[("streamlog.durability", "written")]),
    (("preallocate", "true"), &[]),
    (("min.cleanable.dirty.ratio", "1"), COMPACTED),
    (("min.compaction.lag.ms", "86400000"), COMPACTED),
    (("max.compaction.lag.ms", "1000"), &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1")]),
    (("delete.retention.ms", "604800000"), COMPACTED),
    (("streamlog.compaction.versions", "3"), COMPACTED),
];

const COMPACTED: &[Property] = &[("cleanup.policy", "compact"), ("segment.bytes", "8192")];

/// Keys of which another value than the default is accepted and changes nothing, because both mean the same.
const SAME: [&str; 1] = ["file.delete.delay.ms"];

#[test]
fn every_setting_that_is_accepted_does_something() {
    for ((key, value), others) in SETTINGS {
        let mut with = others.to_vec();
        with.push((key, value));
        let (without, with) = (seen(others), seen(&with));
        assert_ne!(without, with, "{key}={value} has no effect");
    }
}

#[test]
fn every_other_key_accepts_its_default_alone() {
    let shown: BTreeSet<&str> = SETTINGS.iter().map(|((key, _), _)| *key).chain(SAME).collect();
    for entry in TopicConfig::default().entries() {
        let accepts = |value: &str| TopicConfig::from_kafka_properties([(entry.key, value)]);
        accepts(&entry.value).unwrap();
        if shown.contains(entry.key) || entry.key == "compression.zstd.level" {
            continue;
        }
        for value in ["0", "1", "7", "0.25", "true", "compact", "compact,delete", "*", "60001"] {
            let Err(error) = accepts(value) else {
                assert_eq!(value, entry.value, "{} accepts it without effect", entry.key);
                continue;
            };
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().contains(entry.key), "{error}");
        }
    }
}

#[test]
fn a_level_of_lz4_is_refused_with_the_reason() {
    let error = TopicConfig::default().compression_lz4_level(1).validate().unwrap_err();
    assert!(error.to_string().contains("has no levels"), "{error}");
    TopicConfig::default().compression_lz4_level(9).validate().unwrap();
}
