//! Situations of Kafka's own tests of its cleaner, as far as they need no producer ids: the same is left.

use std::{collections::BTreeMap, time::Duration};
use streamlog::{
    admin::Compact,
    config::{Builder, CleanupPolicy, Compression, ConfigChange},
    sim::SimEnv,
    *,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Tested {
    env: SimEnv,
    log: Streamlog,
}

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/log").background_thread(false).open().unwrap()
}

fn compacted() -> TopicConfig {
    TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(512)
}

impl Tested {
    fn new(config: TopicConfig) -> Tested {
        let env = SimEnv::new(1);
        env.set_wall_clock(Timestamp::from_millis(1_767_225_600_000));
        let log = open(&env);
        log.create_topic("t", config).unwrap();
        Tested { env, log }
    }

    fn partition(&self) -> Partition {
        self.log.topic("t").unwrap().partition(0).unwrap()
    }

    /// Appends a batch of one record, of which three make a segment.
    fn put(&self, key: impl ToString) {
        let key = key.to_string();
        self.partition().append(&[RecordData::new(&[7; 100]).key(&key)]).unwrap();
    }

    fn delete(&self, key: impl ToString) {
        let key = key.to_string();
        self.partition().append(&[RecordData::tombstone(&key)]).unwrap();
    }

    fn compact(&self) -> streamlog::admin::Compacted {
        self.log.compact_now("t", Compact::new()).unwrap()
    }

    /// Offsets and keys of what is left.
    fn left(&self) -> Vec<(u64, String)> {
        let partition = self.partition();
        let records = partition.records(partition.log_start_offset()).map(|record| record.unwrap());
        records.map(|r| (r.offset.value(), r.key_str().unwrap_or("none").to_string())).collect()
    }

    fn keys(&self) -> Vec<String> {
        self.left().into_iter().map(|(_, key)| key).collect()
    }

    /// The files of the log, by name.
    fn files(&self, end: &str) -> BTreeMap<String, Vec<u8>> {
        let files =
            self.env.files().into_iter().filter(|(path, _)| path.contains("/t-0/") && path.ends_with(end));
        files.map(|(path, content)| (path, content.to_vec())).collect()
    }
}

#[test]
fn every_superseded_record_goes_and_every_other_keeps_its_offset() {
    let tested = Tested::new(compacted());
    (0..10).for_each(|key| tested.put(key));
    (1..10).step_by(2).for_each(|key| tested.put(key));
    tested.compact();
    let expected: Vec<(u64, String)> = [0, 2, 4, 6, 8]
        .map(|offset| (offset, offset.to_string()))
        .into_iter()
        .chain((0..5).map(|i| (10 + i, (2 * i + 1).to_string())))
        .collect();
    assert_eq!(tested.left(), expected);
}

#[test]
fn records_without_a_key_from_before_are_counted_and_go() {
    let tested = Tested::new(compacted().cleanup_policy(CleanupPolicy::Delete));
    for i in 0..6 {
        tested.put(i);
        tested.partition().append(&[RecordData::new(&[7; 100])]).unwrap();
    }
    tested.log.alter_topic("t", &[ConfigChange::set("cleanup.policy", "compact")]).unwrap();
    let refused =
        tested.partition().append(&[RecordData::new("x").key("k"), RecordData::new("y")]).unwrap_err();
    assert!(matches!(refused, Error::InvalidRecord { index: 1, .. }), "{refused}");
    // The active segment is no part of a dry run.
    tested.put(6);
    tested.put(7);
    let rehearsed = tested.log.compact_now("t", Compact::new().dry_run(true)).unwrap();
    assert!((4..=6).contains(&rehearsed.null_keys), "{rehearsed:?}");
    assert_eq!(tested.left().len(), 14, "nothing was changed");
    assert_eq!(tested.compact().null_keys, 6);
    assert_eq!(tested.keys(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn the_life_of_a_tombstone_is_told_by_its_horizon_and_not_by_timestamps() {
    let tested = Tested::new(compacted());
    let at = |data: RecordData<'_>, millis| {
        tested.partition().append(&[data.timestamp(Timestamp::from_millis(millis))]).unwrap();
    };
    at(RecordData::new("far in the future").key("k"), 1 << 50);
    tested.compact();
    at(RecordData::tombstone("k"), 1);
    tested.compact();
    assert_eq!(tested.left(), [(1, "k".to_string())]);
    tested.put("other");
    tested.compact();
    assert_eq!(tested.keys(), ["k", "other"]);
    tested.env.advance(DAY + Duration::from_secs(1));
    tested.put("third");
    tested.compact();
    assert_eq!(tested.keys(), ["other", "third"]);
}

#[test]
fn deleted_keys_are_gone_at_once_and_their_tombstones_after_the_horizon() {
    let tested = Tested::new(compacted());
    (0..20).for_each(|key| tested.put(key));
    (0..20).step_by(2).for_each(|key| tested.delete(key));
    tested.compact();
    let odd: Vec<String> = (1..20).step_by(2).map(|key| key.to_string()).collect();
    let values = |tested: &Tested| {
        let records = tested
            .partition()
            .records(0)
            .map(|r| r.unwrap())
            .filter(|r| r.value.is_some())
            .collect::<Vec<_>>();
        records.iter().map(|r| r.key_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(values(&tested), odd);
    assert_eq!(tested.left().len(), 20);
    tested.env.advance(DAY);
    tested.compact();
    assert_eq!(tested.keys(), odd, "at the horizon itself they go");
}

#[test]
fn the_end_of_a_log_does_not_move_where_all_of_it_is_dead() {
    let tested = Tested::new(compacted().delete_retention(Duration::ZERO));
    (0..4).for_each(|key| tested.put(key));
    (0..4).for_each(|key| tested.delete(key));
    let end = tested.partition().log_end_offset();
    for _ in 0..3 {
        tested.compact();
        assert_eq!(tested.partition().log_end_offset(), end);
    }
    assert_eq!(tested.left(), []);
    tested.log.clone().close().unwrap();
    let again = Tested { log: open(&tested.env), env: tested.env.clone() };
    assert_eq!(again.partition().log_end_offset(), end);
    again.put("next");
    assert_eq!(again.left(), [(end.value(), "next".to_string())]);
}

#[test]
fn what_is_younger_than_the_lag_keeps_every_byte() {
    let tested = Tested::new(compacted().min_compaction_lag(Duration::from_secs(60)));
    (0..7).for_each(|_| tested.put("old"));
    tested.env.advance(Duration::from_secs(61));
    (0..9).for_each(|_| tested.put("young"));
    let before = tested.files(".log");
    tested.log.maintain().unwrap();
    let after = tested.files(".log");
    let changed: Vec<&String> = before.keys().filter(|path| after.get(*path) != before.get(*path)).collect();
    let first: Vec<&String> = before.keys().take(changed.len()).collect();
    assert!(!changed.is_empty() && changed == first, "{changed:?}");
    let young = tested.keys().iter().filter(|key| *key == "young").count();
    assert_eq!(young, 9);
    assert!(tested.keys().len() < 16);
}

#[test]
fn a_compaction_that_is_cancelled_leaves_every_file_as_it_was() {
    let tested = Tested::new(compacted());
    (0..9).for_each(|_| tested.put("k"));
    // What rolls is rolled.
    tested.log.compact_now("t", Compact::new().on_progress(|_| false)).unwrap_err();
    let before = tested.files("");
    let error = tested.log.compact_now("t", Compact::new().on_progress(|_| false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(tested.files("").keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(tested.files(".log"), before.into_iter().filter(|(path, _)| path.ends_with(".log")).collect());
    assert!(tested.files(".cleaned").is_empty());
    tested.compact();
    assert_eq!(tested.keys(), ["k"]);
}

#[test]
fn a_compacted_segment_of_a_preallocated_log_is_as_long_as_its_batches() {
    let tested = Tested::new(compacted().preallocate(true));
    (0..9).for_each(|i| tested.put(i % 2));
    tested.compact();
    let logs = tested.files(".log");
    let active = logs.keys().next_back().unwrap().clone();
    let sealed: usize = logs.iter().filter(|(path, _)| **path != active).map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(sealed as u64, tested.log.disk_usage().unwrap().topics["t"].records);
}

#[test]
fn what_is_too_old_goes_where_the_policy_says_both_and_stays_where_it_compacts() {
    for (policy, goes) in [(CleanupPolicy::CompactDelete, true), (CleanupPolicy::Compact, false)] {
        let tested = Tested::new(compacted().cleanup_policy(policy).retention_time(DAY));
        (0..9).for_each(|key| tested.put(key));
        tested.env.advance(2 * DAY);
        tested.log.maintain().unwrap();
        assert_eq!(tested.partition().log_start_offset() > 0, goes, "{policy:?}");
        tested.log.delete_records("t", 0, 2).unwrap();
        assert!(tested.partition().log_start_offset() >= 2, "the start is moved by a call all the same");
        (0..9).for_each(|key| tested.put(key));
        tested.compact();
        assert_eq!(
            tested.left().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
            (9..18).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_batch_that_loses_records_is_compressed_in_its_own_codec() {
    for codec in [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Snappy] {
        let tested = Tested::new(compacted().segment_bytes(4096).compression(codec));
        let batch = |keys: [&str; 3]| {
            let value = [7; 100];
            tested.partition().append(&keys.map(|key| RecordData::new(&value).key(key))).unwrap();
        };
        batch(["a", "b", "c"]);
        batch(["a", "d", "e"]);
        tested.compact();
        assert_eq!(tested.keys(), ["b", "c", "a", "d", "e"]);
        let batches: Vec<_> = tested.partition().read(0).map(|batch| batch.unwrap()).collect();
        assert_eq!(batches.iter().map(|batch| batch.iter().count()).collect::<Vec<_>>(), [2, 3]);
        assert!(batches.iter().all(|batch| batch.compression() == codec), "{codec:?}");
    }
}

#[test]
fn a_reader_in_a_gap_gets_the_next_record_that_there_is() {
    let tested = Tested::new(compacted());
    (0..9).for_each(|_| tested.put("k"));
    tested.put("last");
    tested.compact();
    assert_eq!(tested.left().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [8, 9]);
    for from in 0..=8u64 {
        let first = tested.partition().records(from).next().unwrap().unwrap();
        assert_eq!(first.offset, 8, "from {from}");
    }
    let mut consumer = tested.log.consumer_builder_without_group().build().unwrap();
    let place = TopicPartition::new("t", 0);
    consumer.assign([place.clone()]).unwrap();
    consumer.seek(&place, 2u64).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.iter().map(|r| r.offset.value()).collect::<Vec<_>>(), [8, 9]);
    assert_eq!(consumer.position(&place).unwrap(), 10);
}

#[test]
fn the_log_takes_appends_and_is_compacted_again_after_every_opening() {
    let mut tested = Tested::new(compacted());
    for round in 0..4 {
        (0..5).for_each(|key| tested.put(key % 3));
        tested.compact();
        assert_eq!(tested.keys(), ["2", "0", "1"], "{round}");
        match round % 2 {
            0 => tested.log.clone().close().unwrap(),
            _ => tested.env = tested.env.crash(streamlog::sim::Crash::Nothing, 1),
        }
        tested.log = open(&tested.env);
    }
}
