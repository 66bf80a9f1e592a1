//! Situations of Kafka's own tests of its cleaner: the same is left.
//!
//! A test names the one of Kafka's whose situation it is. Those of Kafka that have none here:
//!
//! | Kafka's test | why |
//! |---|---|
//! | `LogCleanerTest`: those of duplicates, sequences, transactions and their markers, `testCleaningWithKeysConflictingWithTxnMarkerKeys`; `LogCleanerManagerTest.testUndecidedTransactionalDataNotCleanable` | batches of producers are appended below the public calls: `src/compaction/kafka_cases.rs` |
//! | `LogCleanerTest`: `testPartialSegmentClean`, `testBuildOffsetMap`, `testBuildPartialOffsetMap`, `testBuildOffsetMapFakeLarge`; `OffsetMapTest` | there is no map of offsets: what lives is decided by files of keys in bounded memory, held against a map in `src/compaction/decide.rs`, and far offsets in `live.rs` beside it |
//! | `testSegmentGroupingWithSparseOffsets`, `testSegmentGroupingFollowingLoadOfZeroIndex` | nobody can append two billion offsets: `src/compaction/round.rs` |
//! | `testRecoveryAfterCrash` | every death of a swap: `src/partition/tests/swapped.rs`; by Kafka's own loader: `compacted_as_kafka_reads_it.rs` |
//! | `testCleanableOffsetsForNone` | what readers may see is what is durable, and so what may be compacted |
//! | `testDirtyOffsetResetIfLargerThanEndOffset` | only what is durable is compacted, so the log never ends before that |
//! | `testGrabFilthiestCompactedLog...`, `LogCleanerIntegrationTest.testMaxLogCompactionLag`, `testMarksPartitionsAsOfflineAndPopulatesUncleanableMetrics` | `src/compaction/cleaner_tests.rs` |
//! | `testConcurrentLogCleanupAndLogTruncation` and others that pause and resume | one cleaner has a log's turn, and gives it back: `src/compaction/cleaner_tests.rs` |
//! | `testMaxCleanTimeSecs`, `testReconfigureLogCleanerIoMaxBytesPerSecond`, `testMaxOverCleanerThreads` | there is one cleaner, paced by `Builder::compaction_rate` |

mod support;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use streamlog::{
    admin::Compact,
    config::{Builder, CleanupPolicy, Compression, ConfigChange, TimestampType},
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

    /// Seals the active segment and compacts nothing.
    fn seal(&self) {
        self.log.compact_now("t", Compact::new().on_progress(|_| false)).map(drop).unwrap_or_default();
    }

    fn alter(&self, key: &str, value: impl ToString) {
        self.log.alter_topic("t", &[ConfigChange::set(key, value.to_string())]).unwrap();
    }

    /// The batches that there are, emptied ones among them, as they lie in the files.
    fn batches(&self) -> Vec<Vec<u8>> {
        let mut batches = Vec::new();
        for log in self.files(".log").values() {
            let mut rest = &log[..];
            while rest.len() > 12 && rest[8..12] != [0; 4] {
                let (batch, more) = rest.split_at(12 + int(rest, 8, 4) as usize);
                batches.push(batch.to_vec());
                rest = more;
            }
        }
        batches
    }

    /// Closes the log, changes a file, and opens it, without what would notice that at the first look.
    fn damage(&mut self, log: &str, change: impl Fn(&mut Vec<u8>)) {
        self.log.clone().close().unwrap();
        let path = format!("/log/t-0/{log}.log");
        let mut bytes = self.env.files()[&path].to_vec();
        change(&mut bytes);
        self.env.overwrite(&path, &bytes).unwrap();
        for sidecar in ["keys", "pages"] {
            self.env.overwrite(format!("/log/t-0/{log}.{sidecar}"), b"").unwrap();
        }
        self.log = open(&self.env);
    }

    /// The files of the log, by name.
    fn files(&self, end: &str) -> BTreeMap<String, Vec<u8>> {
        let files =
            self.env.files().into_iter().filter(|(path, _)| path.contains("/t-0/") && path.ends_with(end));
        files.map(|(path, content)| (path, content.to_vec())).collect()
    }
}

/// A number in a batch.
fn int(batch: &[u8], at: usize, len: usize) -> i64 {
    let start = if batch[at] > 0x7f { -1 } else { 0 };
    batch[at..at + len].iter().fold(start, |sum, byte| sum << 8 | i64::from(*byte))
}

/// `LogCleanerTest.testCleanSegments`.
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

/// `LogCleanerTest.testCleaningWithUnkeyedMessages`.
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

/// `LogCleanerTest.testCleanTombstone`.
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

/// `LogCleanerTest.testCleaningWithDeletes`.
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

/// `LogCleanerTest.testCleanSegmentsRetainingLastEmptyBatch`, `testCleaningBeyondMissingOffsets`.
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

/// `LogCleanerTest.testCleaningWithUncleanableSection`, `LogCleanerManagerTest.testCleanableOffsetsForTime`,
/// `testCleanableOffsetsForShortTime`, `testCleanableOffsetsActiveSegment`.
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
    tested.env.advance(Duration::from_secs(61));
    tested.log.maintain().unwrap();
    let active = tested.files(".log").into_values().next_back().unwrap().len() / 181;
    assert_eq!(tested.keys().len(), 2 + active, "each key's newest, and the active segment");
}

/// `LogCleanerTest.testCleanSegmentsWithAbort`.
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

/// `LogCleanerTest.testSizeTrimmedForPreallocatedAndCompactedTopic`.
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

/// `LogCleanerParameterizedIntegrationTest.testCleansCombinedCompactAndDeleteTopic`.
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

/// `MemoryRecordsTest.testFilterTo`.
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

/// `FetcherTest.testUpdatePositionOnEmptyBatch`, `testReadCommittedWithCompactedTopic`.
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
    // A batch of which the header alone is left.
    ["k", "last"].iter().for_each(|key| tested.delete(key));
    tested.alter("delete.retention.ms", 0);
    for _ in 0..2 {
        tested.compact();
    }
    assert_eq!(tested.left(), []);
    consumer.seek(&place, 2u64).unwrap();
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
    assert_eq!(consumer.position(&place).unwrap(), 12);
}

/// `LogCleanerParameterizedIntegrationTest.cleanerTest`.
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

/// `LogCleanerTest.testCleanSegmentsRetainingLastEmptyBatch`, `MemoryRecordsTest.testFilterToEmptyBatchRetention`.
#[test]
fn the_batch_that_ends_the_log_stays_as_a_header_until_another_ends_it() {
    for codec in [Compression::None, Compression::Lz4] {
        let tested = Tested::new(compacted().delete_retention(Duration::ZERO).compression(codec));
        (0..4).for_each(|key| tested.put(key));
        (0..4).for_each(|key| tested.delete(key));
        tested.seal();
        let last = tested.batches().pop().unwrap();
        for _ in 0..3 {
            tested.compact();
        }
        let [left] = &tested.batches()[..] else { panic!("{:?}", tested.batches()) };
        assert_eq!((left.len(), int(left, 57, 4)), (61, 0), "no record");
        assert_eq!((int(left, 0, 8), int(left, 23, 4)), (int(&last, 0, 8), int(&last, 23, 4)), "its offsets");
        assert_eq!((int(left, 21, 2), int(left, 27, 8)), (0, -1), "no codec, no horizon, no base timestamp");
        assert_eq!(int(left, 35, 8), int(&last, 35, 8), "the largest timestamp stays");
        // Nor do such segments become many.
        for _ in 0..5 {
            tested.put("next");
            tested.delete("next");
            for _ in 0..3 {
                tested.compact();
            }
        }
        assert_eq!((tested.left(), tested.batches().len(), tested.files(".log").len()), (vec![], 1, 2));
    }
}

/// `MemoryRecordsTest.testFilterTo`, `testFilterToPreservesLogAppendTime`, `testFilterToPreservesProducerInfo`,
/// `testFilterToPreservesPartitionLeaderEpoch`, `testFilterToAlreadyCompactedLog`.
#[test]
fn a_batch_that_loses_records_keeps_the_rest_of_its_header_and_one_that_loses_none_every_byte() {
    for kind in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
        let tested = Tested::new(compacted().segment_bytes(4096).message_timestamp_type(kind));
        let at = |key: &'static str, time| {
            RecordData::new("value").key(key).timestamp(Timestamp::from_millis(time))
        };
        let start = 1_767_225_500_000;
        tested.partition().append(&[at("a", start + 30), at("b", start + 10), at("c", start + 20)]).unwrap();
        tested.partition().append(&[at("a", start), at("d", start)]).unwrap();
        tested.seal();
        let times =
            || tested.partition().records(1).map(|r| r.unwrap().timestamp.as_millis()).collect::<Vec<_>>();
        let (before, times_before) = (tested.batches(), times());
        for _ in 0..2 {
            tested.compact();
            assert_eq!(tested.keys(), ["b", "c", "a", "d"]);
            assert_eq!(times(), times_before);
            let after = tested.batches();
            assert!(after.len() == 2 && after[1] == before[1], "nothing of it is dead");
            let (old, new) = (&before[0], &after[0]);
            // Base offset, leader epoch and version; attributes and the last offset; producer and sequence.
            for range in [0..8, 12..17, 21..27, 43..57] {
                assert_eq!(old[range.clone()], new[range.clone()], "{kind:?}, {range:?}");
            }
            assert_eq!(int(new, 57, 4), 2);
            assert_eq!(int(new, 27, 8), times_before[0], "that of the first record that is left");
            let largest = if kind == TimestampType::CreateTime { start + 20 } else { int(old, 35, 8) };
            assert_eq!(int(new, 35, 8), largest);
        }
    }
}

/// `LogCleanerTest.testSegmentGrouping`.
#[test]
fn neighbours_are_joined_as_far_as_they_make_one_segment_and_one_index() {
    // A segment has two batches of 181 bytes that are dead, and one that stays.
    for (limit, expected) in [(1 << 20, 1), (3 * 543, 2), (2 * 543, 3), (543, 6)] {
        let tested = of_six_segments();
        tested.alter("segment.bytes", limit);
        tested.compact();
        assert_eq!(
            tested.files(".log").len(),
            expected + 2,
            "{limit}: the last had nothing dead, and one is active"
        );
        let offsets: Vec<u64> = tested.left().iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [2, 5, 8, 11, 14, 17, 18]);
    }
    let tested = of_six_segments();
    tested.alter("segment.bytes", 1 << 20);
    tested.alter("segment.index.bytes", 24);
    tested.compact();
    let indexes = tested.files(".index");
    assert!(indexes.len() > 3 && indexes.values().all(|index| index.len() <= 24), "{indexes:?}");
}

fn of_six_segments() -> Tested {
    let tested = Tested::new(compacted().segment_bytes(543).index_interval_bytes(0));
    for i in 0..6 {
        tested.put("dead");
        tested.put("dead");
        tested.put(i);
    }
    tested.put("dead");
    tested
}

/// `LogCleanerTest.testSegmentWithOffsetOverflow`: there the offsets outgrow a segment.
#[test]
fn what_outgrows_a_segment_becomes_two_and_nothing_is_lost() {
    let tested = Tested::new(compacted().segment_bytes(1000).delete_retention(365 * DAY));
    for first in (0..48).step_by(8) {
        let record = |key: u32| match key % 8 {
            0 => RecordData::tombstone(key.to_string()),
            _ => RecordData::new("value").key(key.to_string()),
        };
        tested.partition().append(&(first..first + 8).map(record).collect::<Vec<_>>()).unwrap();
    }
    tested.seal();
    let (before, segments) = (tested.left(), tested.files(".log").len());
    // Each record takes more room where its batch begins with a horizon.
    tested.compact();
    assert_eq!(tested.left(), before);
    assert!(tested.files(".log").len() > segments);
    assert!(tested.files(".log").values().all(|log| log.len() <= 1000));
}

/// `LogCleanerTest.testLargeMessage`, `testMessageLargerThanMaxMessageSize`.
#[test]
fn a_record_that_is_larger_than_a_step_or_than_records_may_be_now_is_compacted_like_others() {
    let tested = Tested::new(compacted().segment_bytes(16 << 20).max_message_bytes(8 << 20));
    let large = vec![7; 5 << 20];
    for key in ["k", "k", "other"] {
        tested.partition().append(&[RecordData::new(&large).key(key)]).unwrap();
    }
    tested.alter("max.message.bytes", 1000);
    tested.compact();
    assert_eq!(tested.left(), [(1, "k".to_string()), (2, "other".to_string())]);
    assert!(tested.partition().records(0).all(|record| record.unwrap().value.unwrap() == large));
}

/// `LogCleanerTest.testMessageLargerThanMaxMessageSizeWithCorruptHeader`, `testCorruptMessageSizeLargerThanBytesAvailable`,
/// `testCleanCorruptMessageSet`.
#[test]
fn damage_of_any_kind_ends_the_compaction_of_its_log_and_of_no_other() {
    let length = |len: i32| move |bytes: &mut Vec<u8>| bytes[8..12].copy_from_slice(&len.to_be_bytes());
    let within = |bytes: &mut Vec<u8>| {
        let size = 12 + int(bytes, 8, 4) as usize;
        bytes[70..size - 4].fill(0xa5);
        let crc = support::crc32c(&bytes[21..size]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    };
    type Change<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;
    let changes: [Change<'_>; 4] =
        [Box::new(length(10)), Box::new(length(i32::MAX)), Box::new(length(400)), Box::new(within)];
    for change in changes {
        let config = compacted().segment_bytes(2048);
        let mut tested = Tested::new(config.clone().compression(Compression::Lz4));
        let batch = |partition: Partition, key: &str| {
            let value = *b"abcdefghijklmnopqrstuvwxyz";
            let records: Vec<_> = (0..20).map(|_| RecordData::new(&value).key(key)).collect();
            partition.append(&records).unwrap();
        };
        tested.log.create_topic("other", config).unwrap();
        (0..20).for_each(|_| batch(tested.partition(), "k"));
        let other = |tested: &Tested| tested.log.topic("other").unwrap().partition(0).unwrap();
        (0..20).for_each(|_| batch(other(&tested), "k"));
        tested.damage("00000000000000000000", change);
        let before = tested.files(".log");
        assert_eq!(tested.log.maintain().unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(tested.files(".log"), before);
        assert!(tested.files(".cleaned").is_empty());
        let health = tested.log.health();
        let [(place, error)] = &health.not_compacted[..] else { panic!("{health}") };
        assert_eq!((&*place.topic, error.kind()), ("t", ErrorKind::Corrupt));
        assert!(other(&tested).records(0).count() < 200, "the other was compacted");
    }
}

/// `LogCleanerTest.testCleanSegmentsWithConcurrentSegmentDeletion`.
#[test]
fn what_is_removed_while_it_is_compacted_stays_removed() {
    let tested = Tested::new(compacted());
    (0..9).for_each(|_| tested.put("k"));
    tested.seal();
    let end = tested.partition().log_end_offset();
    let is_removed = RefCell::new(false);
    let on_progress = |_| {
        if !is_removed.replace(true) {
            assert!(!tested.files(".cleaned").is_empty());
            tested.log.delete_records("t", 0, end).unwrap();
        }
        true
    };
    let error = tested.log.compact_now("t", Compact::new().on_progress(on_progress)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!((tested.partition().log_start_offset(), tested.left()), (end, vec![]));
    assert!(tested.files(".cleaned").is_empty() && tested.files(".log").len() == 1);
    assert!(tested.log.health().is_good());
}

/// `LogCleanerManagerTest.testLogsUnderCleanupIneligibleForCompaction`.
#[test]
fn a_topic_that_is_not_to_be_compacted_any_more_keeps_what_it_has() {
    let tested = Tested::new(compacted());
    (0..9).for_each(|_| tested.put("k"));
    tested.seal();
    let before = tested.left();
    let on_progress = |_| {
        tested.alter("cleanup.policy", "delete");
        true
    };
    let error = tested.log.compact_now("t", Compact::new().on_progress(on_progress)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(tested.left(), before);
    assert!(tested.files(".cleaned").is_empty());
    tested.alter("cleanup.policy", "compact");
    tested.compact();
    assert_eq!(tested.keys(), ["k"]);
}

/// `LogCleanerTest.testLogToClean`, `testLogToCleanWithUncleanableSection`.
#[test]
fn the_dirty_ratio_counts_neither_what_is_too_young_nor_the_active_segment() {
    let half = compacted().min_compaction_lag(Duration::from_secs(60)).min_cleanable_dirty_ratio(0.5);
    let tested = Tested::new(half);
    // Two clean segments, two dirty ones, two that are too young.
    let put = |keys: [&str; 2]| keys.iter().for_each(|key| (tested.put(key), tested.seal()).1);
    put(["a", "b"]);
    tested.compact();
    put(["a", "b"]);
    tested.env.advance(Duration::from_secs(61));
    put(["c", "c"]);
    tested.log.maintain().unwrap();
    assert_eq!(tested.left().len(), 6, "a half is not more than a half");
    tested.alter("min.cleanable.dirty.ratio", 0.49);
    tested.log.maintain().unwrap();
    assert_eq!(tested.keys(), ["a", "b", "c", "c"]);
}

/// `LogCleanerManagerTest.testDirtyOffsetResetIfSmallerThanStartOffset`,
/// `testLogStartOffsetLargerThanActiveSegmentBaseOffset`, `testDirtyOffsetLargerThanActiveSegmentBaseOffset`.
#[test]
fn a_log_start_beyond_what_is_clean_is_where_the_next_compaction_begins() {
    let tested = Tested::new(compacted());
    (0..6).for_each(|key| tested.put(key));
    tested.compact();
    (0..6).for_each(|_| tested.put("k"));
    tested.log.delete_records("t", 0, 8).unwrap();
    tested.compact();
    assert_eq!(tested.left(), [(11, "k".to_string())]);
    tested.put("k");
    // Into the active segment.
    tested.log.delete_records("t", 0, 13).unwrap();
    tested.log.maintain().unwrap();
    tested.compact();
    assert_eq!((tested.left(), tested.partition().log_start_offset().value()), (vec![], 13));
    tested.put("k");
    assert_eq!(tested.left(), [(13, "k".to_string())]);
}

/// `LogCleanerTest.testCleaningWithDeletes`: here what the tombstone deletes cannot be compacted.
#[test]
fn a_tombstone_outlives_its_horizon_where_what_it_deletes_cannot_be_compacted() {
    let mut tested = Tested::new(compacted().delete_retention(Duration::ZERO));
    (0..3).for_each(|_| tested.put("gone"));
    tested.delete("gone");
    tested.put("other");
    tested.seal();
    let within = |bytes: &mut Vec<u8>| bytes[200] ^= 1;
    tested.damage("00000000000000000000", within);
    for _ in 0..3 {
        tested.log.compact_now("t", Compact::new()).unwrap_err();
        let is_tombstone = |record: &records::OwnedRecord| record.value.is_none();
        let left = tested.partition().records(3).map(|record| record.unwrap());
        assert_eq!(left.filter(is_tombstone).count(), 1);
    }
}

/// `LogCleanerManagerTest`: a partition is cleaned by one thread at a time.
#[test]
fn a_second_compaction_of_a_topic_waits_for_the_first() {
    let log = Streamlog::in_memory().unwrap();
    let partition = log.create_topic("t", compacted()).unwrap().partition(0).unwrap();
    for _ in 0..30 {
        partition.append(&[RecordData::new(&[7; 100]).key("k")]).unwrap();
    }
    let is_second_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut second = None;
        let first = Compact::new().on_progress(|_| {
            if second.is_none() {
                second = Some(scope.spawn(|| {
                    log.compact_now("t", Compact::new()).unwrap();
                    is_second_over.store(true, Ordering::SeqCst);
                }));
                // Long enough for a compaction that does not wait.
                thread::sleep(Duration::from_millis(100));
                assert!(!is_second_over.load(Ordering::SeqCst), "it waits for the turn");
                assert_eq!(partition.records(0).count(), 30, "the first has removed nothing yet");
            }
            true
        });
        log.compact_now("t", first).unwrap();
    });
    assert!(is_second_over.load(Ordering::SeqCst));
    assert_eq!(partition.records(0).count(), 1);
}
