//! Reading what is committed: situations from Kafka's own tests (`FetcherTest`, `UnifiedLogTest`), by their names there, and
//! where a consumer stands at and behind markers and open transactions.
//!
//! Those of Kafka that have none here: `testReadCommittedWithCompactedTopic` is held by `partition/read/hidden/tests.rs`,
//! beside any other order of batches and markers.

use super::*;
use crate::{
    codec::control::marker_batch,
    partition::{
        tests::{append as append_batch, batch_in_transaction, end, transactional},
        write::{gate::Origin, log_start::advance_log_start},
    },
};

fn zero() -> TopicPartition {
    partition("t", 0)
}

/// Where the consumer stands, how far it is from the end, and where that end is.
fn place(consumer: &mut Consumer) -> (u64, u64, u64) {
    let position = consumer.position(&zero()).unwrap().value();
    let end = consumer.end_offsets(&[zero()]).unwrap()[&zero()].value();
    (position, consumer.current_lag(&zero()).unwrap(), end)
}

#[test]
fn return_committed_transactions() {
    let world = World::new(1);
    transactional(&world.log(0), 1, 0, "a");
    transactional(&world.log(0), 1, 1, "b");
    end(&world.log(0), 1, true);
    let mut consumer = world.committed_consumer();
    assert_eq!(poll(&mut consumer), ["a", "b"]);
    assert_eq!(place(&mut consumer), (3, 0, 3), "behind the marker");
}

#[test]
fn read_committed_with_committed_and_aborted_transactions() {
    let (world, log) = World::of_one();
    transactional(&log, 1, 0, "commit 1-1");
    transactional(&log, 2, 0, "abort 2-1");
    transactional(&log, 1, 1, "commit 1-2");
    transactional(&log, 2, 1, "abort 2-2");
    end(&log, 2, false);
    transactional(&log, 1, 2, "commit 1-3");
    end(&log, 1, true);
    transactional(&log, 2, 2, "commit 2-3");
    transactional(&log, 1, 3, "abort 1-4");
    end(&log, 2, true);
    end(&log, 1, false);
    let mut consumer = world.committed_consumer();
    assert_eq!(poll(&mut consumer), ["commit 1-1", "commit 1-2", "commit 1-3", "commit 2-3"]);
    assert_eq!(place(&mut consumer), (11, 0, 11));
}

#[test]
fn multiple_abort_markers() {
    let (world, log) = World::of_one();
    transactional(&log, 1, 0, "abort 1");
    end(&log, 1, false);
    // The second ends nothing: a coordinator may have written it again.
    end(&log, 1, false);
    transactional(&log, 1, 1, "commit");
    end(&log, 1, true);
    transactional(&log, 1, 2, "abort 2");
    end(&log, 1, false);
    assert_eq!(poll(&mut world.committed_consumer()), ["commit"]);
}

#[test]
fn read_committed_abort_marker_with_no_data() {
    let (world, log) = World::of_one();
    // Of a producer that nobody knows here: it becomes known, and the last stable offset moves over it.
    append_batch(&log, marker_batch(1, 3, false, 0, Timestamp::from_millis(2)), Origin::Coordinator);
    assert_eq!(log.offsets().last_stable(), 1);
    world.append(0, &["plain"]);
    transactional(&log, 2, 0, "committed");
    end(&log, 2, true);
    let mut consumer = world.committed_consumer();
    assert_eq!(poll(&mut consumer), ["plain", "committed"]);
    assert!(log.append(&mut batch_in_transaction(1, 0, "of the epoch before")).is_err());
    assert_eq!(place(&mut consumer), (4, 0, 4));
}

#[test]
fn consumer_position_updated_when_skipping_aborted_transactions() {
    let (world, log) = World::of_one();
    transactional(&log, 1, 0, "a");
    transactional(&log, 1, 1, "b");
    end(&log, 1, false);
    let mut consumer = world.committed_consumer();
    assert_eq!(place(&mut consumer), (0, 3, 3), "hidden records count, as in Kafka");
    assert_eq!(consumer.current_lag_time(&zero()).unwrap(), None, "and none of them is the next one");
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
    assert_eq!(place(&mut consumer), (3, 0, 3));
    consumer.commit_sync().unwrap();
    assert_eq!(world.coordinator.offset(&zero()), Some(3));
}

#[test]
fn return_aborted_transactions_in_uncommitted_mode() {
    let (world, log) = World::of_one();
    transactional(&log, 1, 0, "aborted");
    end(&log, 1, false);
    transactional(&log, 1, 1, "open");
    let mut consumer = world.consumer(|builder| builder);
    assert_eq!(poll(&mut consumer), ["aborted", "open"]);
    assert_eq!(place(&mut consumer), (3, 0, 3));
}

#[test]
fn read_committed_lag_metric() {
    let (world, log) = World::of_one();
    world.append(0, &["a", "b"]);
    transactional(&log, 1, 0, "open");
    world.append(0, &["c"]);
    let mut consumer = world.committed_consumer();
    assert_eq!(place(&mut consumer), (0, 2, 2), "up to the last stable offset, not to the high watermark");
    assert_eq!(poll(&mut consumer), ["a", "b"]);
    assert_eq!(place(&mut consumer), (2, 0, 2));
    assert_eq!(consumer.current_lag_time(&zero()).unwrap(), None);
    // A consumer that stands beyond what it may read waits there.
    consumer.seek(&zero(), 3).unwrap();
    assert_eq!(poll(&mut consumer), [""; 0]);
    assert_eq!(place(&mut consumer), (3, 0, 2));
    consumer.seek_to_end(&[]).unwrap();
    assert_eq!(place(&mut consumer), (2, 0, 2));
    end(&log, 1, true);
    assert_eq!(place(&mut consumer), (2, 3, 5));
    assert_eq!(poll(&mut consumer), ["open", "c"]);
    assert_eq!(place(&mut consumer), (5, 0, 5));
}

#[test]
fn a_seek_into_a_transaction_reads_it_from_there_as_it_was_decided() {
    let (world, log) = World::of_one();
    for (sequence, value) in ["a", "b", "c"].into_iter().enumerate() {
        transactional(&log, 1, sequence as i32, value);
        transactional(&log, 2, sequence as i32, &value.to_uppercase());
    }
    end(&log, 1, false);
    end(&log, 2, true);
    let mut consumer = world.committed_consumer();
    for (from, expected) in [(1, &["A", "B", "C"][..]), (2, &["B", "C"]), (4, &["C"]), (6, &[]), (7, &[])] {
        consumer.seek(&zero(), from).unwrap();
        assert_eq!(poll(&mut consumer), expected, "from {from}");
        assert_eq!(place(&mut consumer), (8, 0, 8));
    }
}

#[test]
fn last_stable_offset_does_not_exceed_log_start_offset_mid_segment() {
    let (world, log) = World::of_one();
    transactional(&log, 1, 0, "removed");
    transactional(&log, 1, 1, "open");
    world.append(0, &["c"]);
    assert_eq!(log.offsets().last_stable(), 0);
    advance_log_start(&log, Offset::new(1)).unwrap();
    assert_eq!(log.offsets().last_stable(), 1, "the log start, and not below it");
    let mut consumer = world.committed_consumer();
    assert_eq!(poll(&mut consumer), [""; 0]);
    assert_eq!(place(&mut consumer), (1, 0, 1));
    end(&log, 1, true);
    assert_eq!(poll(&mut consumer), ["open", "c"]);
}

#[test]
fn last_stable_offset_with_mixed_producer_data() {
    let (world, log) = World::of_one();
    let stable = || log.offsets().last_stable().value();
    transactional(&log, 1, 0, "a");
    transactional(&log, 2, 0, "b");
    world.append(0, &["plain"]);
    assert_eq!(stable(), 0);
    end(&log, 2, true);
    assert_eq!(stable(), 0);
    end(&log, 1, false);
    assert_eq!(stable(), 5);
    assert_eq!(poll(&mut world.committed_consumer()), ["b", "plain"]);
}

/// As `ListOffsets` does: aborted records and markers are found, and nothing from the last stable offset on.
#[test]
fn a_time_is_looked_for_below_the_last_stable_offset() {
    let (world, log) = World::of_one();
    // Records of time 1, a marker of time 2.
    transactional(&log, 1, 0, "aborted");
    end(&log, 1, false);
    transactional(&log, 2, 0, "open");
    let topic = world.catalog.topic("t").unwrap();
    let later = RecordData::new("later").timestamp(Timestamp::from_millis(3));
    topic.partition(0).unwrap().append(&[later]).unwrap();
    let consumer = world.committed_consumer();
    let found = |consumer: &Consumer, millis| {
        let times = [(zero(), Timestamp::from_millis(millis))];
        consumer.offsets_for_times(times).unwrap()[&zero()].map(|found| found.offset.value())
    };
    assert_eq!([1, 2, 3].map(|millis| found(&consumer, millis)), [Some(0), Some(1), None]);
    let all = world.consumer(|builder| builder);
    assert_eq!([1, 2, 3].map(|millis| found(&all, millis)), [Some(0), Some(1), Some(3)]);
    end(&log, 2, true);
    assert_eq!(found(&consumer, 3), Some(3));
}
