//! Records that outlive their poll, and where to continue after a poll.

use super::*;
use crate::{
    codec::builder::BatchBuilder,
    error::ErrorKind,
    partition::tests::{end, transactional},
    types::{Compression, IsolationLevel},
};

/// The programs that people write first.
#[test]
fn a_poll_gives_the_same_records_owned_and_borrowed() {
    let world = World::new(2);
    let all = RecordData::new("21.5").key("sensor").header("unit", "celsius").null_header("checked");
    for number in 0..2 {
        let log = world.catalog.topic("t").unwrap().partition(number).unwrap();
        log.append(&[all.clone(), RecordData::null(), RecordData::tombstone("gone"), all.clone()]).unwrap();
        log.append(&[RecordData::new("last")]).unwrap();
    }
    // In one poll, and in many whose ends lie inside a batch.
    for at_once in [500, 3, 2, 1] {
        let mut consumer = world.consumer(|b| b.max_poll_records(at_once));
        let mut seen = 0;
        while seen < 10 {
            let records = consumer.poll(Duration::ZERO).unwrap();
            let borrowed: Vec<OwnedConsumerRecord> = records.iter().map(|record| record.to_owned()).collect();
            let left = records.len();
            let iter = records.into_iter();
            assert_eq!(iter.len(), left);
            assert_eq!(iter.collect::<Vec<_>>(), borrowed);
            seen += left;
        }
    }
    let mut consumer = world.consumer(|b| b);
    let mut kept = Vec::new();
    for record in consumer.poll(Duration::ZERO).unwrap() {
        kept.push((record.topic().to_string(), record.partition(), record.offset.value(), record.value));
    }
    drop(consumer);
    assert_eq!((kept.len(), kept[9].clone()), (10, ("t".into(), 1, 4, Some("last".into()))));
}

#[test]
fn an_owned_record_shares_the_bytes_of_its_batch() {
    let world = World::new(1);
    world.append(0, &["shared"]);
    let records = world.consumer(|b| b).poll(Duration::ZERO).unwrap();
    let borrowed = records.iter().next().unwrap().value.unwrap().as_ptr();
    let owned = records.clone().into_iter().next().unwrap();
    assert_eq!(owned.value.unwrap().as_ptr(), borrowed);
}

#[test]
fn keys_and_values_are_text_where_they_are() {
    let world = World::new(1);
    let log = world.partition();
    log.append(&[
        RecordData::new("süß").key("k"),
        RecordData::new(b"\xff!").key(b"\xfe"),
        RecordData::null(),
    ])
    .unwrap();
    let records = world.consumer(|b| b).poll(Duration::ZERO).unwrap();
    let expected = [
        (Some("k"), Some("süß"), "k".into(), "süß".into()),
        (None, None, "\u{fffd}".into(), "\u{fffd}!".into()),
        (None, None, "".into(), "".into()),
    ];
    // Borrowed for as long as the poll, not as the record.
    let found: Vec<_> =
        records.iter().map(|r| (r.key_str(), r.value_str(), r.key_text(), r.value_text())).collect();
    assert_eq!(found, expected);
    for (record, expected) in records.clone().into_iter().zip(&expected) {
        let found = (record.key_str(), record.value_str(), record.key_text(), record.value_text());
        assert_eq!(&found, expected);
    }
    for (record, expected) in log.records(0).map(Result::unwrap).zip(&expected) {
        let found = (record.key_str(), record.value_str(), record.key_text(), record.value_text());
        assert_eq!(&found, expected);
    }
    for (record, expected) in log.read(0).next().unwrap().unwrap().iter().zip(&expected) {
        let found = (record.key_str(), record.value_str(), record.key_text(), record.value_text());
        assert_eq!(&found, expected);
    }
}

#[test]
fn an_owned_record_can_be_committed_but_not_for_the_successor_of_its_topic() {
    let world = World::new(1);
    world.append(0, &["a", "b"]);
    let mut consumer = world.consumer(|b| b);
    let mut last = None;
    for record in consumer.poll(Duration::ZERO).unwrap() {
        consumer.commit_record(&record).unwrap();
        assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(record.next_offset.value()));
        last = Some(record);
    }
    world.catalog.delete("t").unwrap();
    assert_eq!(consumer.commit_record(&last.clone().unwrap()).unwrap_err().kind(), ErrorKind::Closed);
    world.catalog.create("t", TopicConfig::default()).unwrap();
    world.append(0, &["new", "newer"]);
    assert_eq!(consumer.commit_record(&last.unwrap()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn next_offsets_are_where_a_consumer_continues() {
    let world = World::new(3);
    world.append(0, &["a", "b", "c"]);
    world.append(1, &["x"]);
    let mut consumer = world.consumer(|b| b.max_poll_records(2));
    let mut stored = BTreeMap::new();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let records = consumer.poll(Duration::ZERO).unwrap();
        let next = records.next_offsets();
        assert!(records.partitions().eq(next.keys()), "those that have records");
        for (partition, offset) in &next {
            assert_eq!(consumer.position(partition).unwrap(), *offset);
        }
        seen.extend(values(&records));
        stored.extend(next);
        // A program that is started again seeks to what it stored.
        consumer = world.consumer(|b| b.max_poll_records(2));
        stored.iter().for_each(|(partition, offset)| consumer.seek(partition, *offset).unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "c", "x"]);
    assert!(consumer.poll(Duration::ZERO).unwrap().next_offsets().is_empty());
    consumer.commit_offsets(stored).unwrap();
    assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(3));
}

#[test]
fn next_offsets_lie_past_records_that_are_hidden() {
    let world = World::new(2);
    let read_committed = |b: ConsumerBuilder| b.isolation_level(IsolationLevel::ReadCommitted);
    let mut consumer = world.consumer(read_committed);
    let log = world.log(0);
    transactional(&log, 1, 0, "committed");
    end(&log, 1, true);
    transactional(&log, 1, 1, "aborted");
    end(&log, 1, false);
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(values(&records), ["committed"]);
    assert_eq!(records.next_offsets(), [(partition("t", 0), Offset::new(4))].into());
    // A poll without a record may move the position, too.
    transactional(&world.log(1), 1, 0, "aborted");
    end(&world.log(1), 1, false);
    let records = consumer.poll(Duration::from_millis(20)).unwrap();
    assert!(records.is_empty());
    assert_eq!(records.next_offsets(), [(partition("t", 1), Offset::new(2))].into());
}

#[test]
fn a_time_before_1970_is_refused_wherever_records_are_looked_for_by_time() {
    let world = World::new(1);
    world.append(0, &["a"]);
    let mut consumer = world.consumer(|b| b);
    let log = world.partition();
    for time in [Timestamp::NONE, Timestamp::from_millis(-2), Timestamp::from_millis(i64::MIN)] {
        let refused = |kind: ErrorKind| assert_eq!(kind, ErrorKind::InvalidArgument, "{time:?}");
        refused(consumer.offsets_for_times([(partition("t", 0), time)]).unwrap_err().kind());
        refused(consumer.seek_to_timestamp(&[], time).unwrap_err().kind());
        refused(log.offset_for_timestamp(time).unwrap_err().kind());
    }
    assert!(log.offset_for_timestamp(Timestamp::from_millis(0)).unwrap().is_some());
    assert_eq!(poll(&mut consumer), ["a"], "nothing was moved");
}

#[test]
fn a_flat_iteration_gives_every_record_once_and_ends_with_an_error() {
    let world = World::new(1);
    let log = world.partition();
    for i in 0..5 {
        let values: Vec<String> = (0..=i).map(|j| format!("{i}.{j}")).collect();
        log.append(&values.iter().map(RecordData::new).collect::<Vec<_>>()).unwrap();
    }
    let flat = |from: u64| log.records(from).map(|record| record.unwrap().offset.value()).collect::<Vec<_>>();
    for from in 0..=15 {
        assert_eq!(flat(from), (from..15).collect::<Vec<_>>());
    }
    assert_eq!(log.records(0).last().unwrap().unwrap().value_str(), Some("4.4"));
    let mut beyond = log.records(16);
    assert_eq!(beyond.next().unwrap().unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
    assert!(beyond.next().is_none());
    // A batch by value, as `for record in batch?`.
    let batches = log.read(2).map(Result::unwrap);
    assert_eq!(batches.flatten().map(|record| record.offset.value()).collect::<Vec<_>>(), flat(2));
    let backwards = log.read_backwards(4).flat_map(Result::unwrap);
    assert_eq!(backwards.map(|record| record.offset.value()).collect::<Vec<_>>(), [3, 1, 2, 0]);
}

#[test]
fn a_flat_iteration_leaves_out_what_was_aborted_where_that_is_asked() {
    let (world, log) = World::of_one();
    transactional(&log, 1, 0, "aborted");
    end(&log, 1, false);
    world.append(0, &["plain"]);
    let partition = world.partition();
    let read = |isolation| partition.records_with(0, isolation).map(|r| r.unwrap().value_text().into_owned());
    assert_eq!(read(IsolationLevel::ReadCommitted).collect::<Vec<_>>(), ["plain"]);
    assert_eq!(read(IsolationLevel::ReadUncommitted).collect::<Vec<_>>(), ["aborted", "plain"]);
}

#[test]
fn a_copied_record_is_the_same_with_all_its_nulls() {
    let world = World::new(1);
    let log = world.partition();
    world.catalog.create("copy", TopicConfig::default().partitions(2)).unwrap();
    let full =
        RecordData::new("v").key("k").header("h", "1").null_header("h").timestamp(Timestamp::from_millis(7));
    let emptied = RecordData::new("").key("").header("", "");
    log.append(&[
        full,
        emptied,
        RecordData::null(),
        RecordData::null().header("h", "x"),
        RecordData::tombstone("k"),
    ])
    .unwrap();
    // A record without a time, as a broker may have it.
    let mut builder = BatchBuilder::new();
    builder.append(Timestamp::NONE, None, Some(b"timeless"), &[]).unwrap();
    let appended = world.log(0).append(&mut builder.seal(Compression::None, None).unwrap()).unwrap();
    world.log(0).acknowledge(appended.next_offset, true).unwrap();
    let originals: Vec<crate::records::OwnedRecord> = log.records(0).map(Result::unwrap).collect();
    assert_eq!((originals.len(), originals[2].key.clone(), originals[2].value.clone()), (6, None, None));
    let copy = world.catalog.topic("copy").unwrap();
    for batch in log.read(0).map(Result::unwrap) {
        let records: Vec<RecordData<'_>> = batch.iter().map(RecordData::from).collect();
        copy.partition(0).unwrap().append(&records).unwrap();
    }
    copy.partition(1).unwrap().append(&originals.iter().map(RecordData::from).collect::<Vec<_>>()).unwrap();
    for number in 0..2 {
        let copied: Vec<_> = copy.partition(number).unwrap().records(0).map(Result::unwrap).collect();
        assert_eq!(copied, originals);
    }
}
