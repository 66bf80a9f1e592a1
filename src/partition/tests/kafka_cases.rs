//! Situations from Kafka's own tests of producers and transactions in a log (`UnifiedLogTest`, `ProducerStateManagerTest`),
//! by their names there. Others are in `state/producers/kafka_cases.rs` and `consumer/tests/committed.rs`. Those of Kafka
//! that have none here:
//!
//! | Kafka's test | why |
//! |---|---|
//! | `testOldEpochForControlRecord`, `testCoordinatorFencing`, `testCoordinatorFencedAfterReload`, `testZombieCoordinatorFenced` | a log has one coordinator, in the process that holds its lock: nobody else brings a marker |
//! | `testMultipleProducersPerMemoryRecord` | an append brings one batch, which has one producer |
//! | `TransactionIndexTest.testCannotAddOutOfOrderOffset` | entries that do not ascend are refused when they are read: `codec/index.rs` |
//! | `testCollectAbortedTransactions` | `read/aborted.rs` |
//! | `testAppendToTransactionIndexFailure` | an append writes no index: it goes with the seal or a checkpoint, and is built again where it is not what was written |

use super::{append, batch, end, transactional};
use crate::{
    Durability, Partition, RecordData, Streamlog, TopicConfig,
    clients::IsolationLevel,
    config::Builder,
    partition::{
        read::aborted::aborted_between,
        write::{checkpoint::checkpoint, gate::Origin, log_start::advance_log_start, retention},
    },
    sim::{Crash, SimEnv},
    types::Offset,
};

fn open_as(env: &SimEnv, durability: Durability) -> (Streamlog, Partition) {
    let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
    let topic = log.topic_or_create("t", TopicConfig::default().segment_bytes(600).durability(durability));
    let partition = topic.unwrap().partition(0).unwrap();
    (log, partition)
}

fn open(env: &SimEnv) -> (Streamlog, Partition) {
    open_as(env, Durability::Flushed)
}

fn plain(partition: &Partition) {
    partition.append(&[RecordData::new(&[7; 300])]).unwrap();
}

/// The offsets in the names of the snapshots.
fn snapshots(env: &SimEnv) -> Vec<u64> {
    let files = env.files();
    let stems = files.keys().filter_map(|path| path.rsplit('/').next()?.strip_suffix(".snapshot"));
    stems.map(|stem| stem.parse().unwrap()).collect()
}

#[test]
fn aborted_transaction_spanning_multiple_segments() {
    let env = SimEnv::new(1);
    let (log, partition) = open(&env);
    transactional(partition.log(), 1, 0, "in the first segment");
    for sequence in 1..4 {
        (0..2).for_each(|_| plain(&partition));
        transactional(partition.log(), 1, sequence, "in a later one");
    }
    end(partition.log(), 1, false);
    plain(&partition);
    let check = |partition: &Partition| {
        let segments = partition.log().segments.snapshot();
        assert!(segments.len() > 3);
        let listed = segments.iter().filter_map(|segment| {
            let aborted = segment.aborted().unwrap().unwrap();
            (!aborted.is_empty()).then(|| (segment.base(), aborted.len()))
        });
        let of_marker = segments.iter().rev().find(|segment| segment.base() <= Offset::new(10)).unwrap();
        assert_eq!(listed.collect::<Vec<_>>(), [(of_marker.base(), 1)], "in the segment of the marker");
        let found = aborted_between(partition.log(), Offset::ZERO, Offset::new(1)).unwrap();
        assert_eq!(
            found.iter().map(|t| (t.first_offset.value(), t.last_offset.value())).collect::<Vec<_>>(),
            [(0, 10)]
        );
        let read = partition.records_with(0, IsolationLevel::ReadCommitted);
        assert_eq!(read.map(|r| r.unwrap().offset.value()).collect::<Vec<_>>(), [1, 2, 4, 5, 7, 8, 11]);
    };
    check(&partition);
    drop(partition);
    log.close().unwrap();
    check(&open(&env).1);
    check(&open(&env.crash(Crash::Everything, 1)).1);
}

/// What a power cut took is as if it had never been, in the index as in the state.
#[test]
fn first_unstable_offset_after_truncation() {
    // The marker may be lost alone, or with the transaction.
    for flushed in [1, 2, 3] {
        let env = SimEnv::new(1);
        let (log, partition) = open_as(&env, Durability::Written);
        plain(&partition);
        let flush = |count| {
            if count == flushed {
                checkpoint(partition.log()).unwrap()
            }
        };
        flush(1);
        partition.log().append(&mut super::batch_in_transaction(1, 0, "aborted")).unwrap();
        flush(2);
        partition.log().append_from(&mut super::marker(1, false), Origin::Coordinator).unwrap();
        flush(3);
        let crashed = env.crash(Crash::Nothing, 1);
        drop((log, partition));
        let (_log, partition) = open_as(&crashed, Durability::Written);
        assert_eq!(partition.log_end_offset(), flushed);
        let stable = if flushed == 2 { 1 } else { flushed };
        assert_eq!(partition.last_stable_offset(), stable, "{flushed} batches are left");
        let aborted = aborted_between(partition.log(), Offset::ZERO, Offset::MAX).unwrap();
        assert_eq!(aborted.len(), usize::from(flushed == 3));
        let read = partition.records_with(0, IsolationLevel::ReadCommitted);
        assert_eq!(read.map(|r| r.unwrap().offset.value()).collect::<Vec<_>>(), [0]);
        // The producer goes on from what is left.
        let next = i32::from(flushed > 1);
        transactional(partition.log(), 1, next, "after it");
    }
}

#[test]
fn delete_snapshots_before() {
    let env = SimEnv::new(1);
    let (_log, partition) = open(&env);
    for sequence in 0..12 {
        append(partition.log(), batch(9, sequence, &"x".repeat(90)), Origin::Producer);
    }
    checkpoint(partition.log()).unwrap();
    let before = snapshots(&env);
    assert!(before.len() > 2, "{before:?}");
    advance_log_start(partition.log(), Offset::new(8)).unwrap();
    retention::apply(partition.log()).unwrap();
    let first = partition.log().first_base().unwrap().value();
    assert!(0 < first && first <= 8);
    let left = snapshots(&env);
    assert!(left.iter().all(|at| *at >= first) && left.contains(&12), "{left:?} from {first}");
}

#[test]
fn skip_snapshot_if_offset_unchanged() {
    let env = SimEnv::new(1);
    let (_log, partition) = open(&env);
    append(partition.log(), batch(9, 0, "x"), Origin::Producer);
    checkpoint(partition.log()).unwrap();
    let (names, files) = (snapshots(&env), env.files());
    assert_eq!(names.last(), Some(&1));
    checkpoint(partition.log()).unwrap();
    assert_eq!(snapshots(&env), names);
    let snapshots_of = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
        let of = files.iter().filter(|(path, _)| path.ends_with(".snapshot"));
        of.map(|(path, bytes)| (path.clone(), bytes.clone())).collect::<Vec<_>>()
    };
    assert_eq!(snapshots_of(&env.files()), snapshots_of(&files));
}
