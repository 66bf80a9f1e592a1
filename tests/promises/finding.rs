//! Looking for records by their time and from the end, and reading from the middle.

use crate::{promises, world::*};
use streamlog::{
    Error, Offset, Partition, RecordData, Timestamp, TopicConfig,
    admin::{GroupReset, OffsetSpec, ResetTo},
    clients::IsolationLevel,
    sim::{Fault, FaultKind, Operation, SimEnv},
};

promises! {
    the_first_of_equal_times_is_found: "src/manual/how_to.rs",
        "finds the first record whose timestamp is at or after a moment"
        => [a_time_is_earlier_than_itself, the_latest_of_a_segment_is_missed, search_behind_the_equal_entry];
    the_time_index_is_kafkas: "src/manual/coming_from_kafka.rs",
        "Segments of record batches v2, offset and time indexes"
        => [index_the_last_of_equal_times, equal_times_get_an_entry_each];
    what_is_removed_hides_nothing: "src/partition/handle.rs",
        "The first record whose timestamp is timestamp or later; None when all are earlier"
        => [what_was_removed_hides_what_follows];
    what_is_not_durable_is_not_read: "src/manual/coming_from_kafka.rs", "nobody reads what may be lost"
        => [read_what_is_not_durable];
    of_the_largest_times_the_first_is_found: "src/partition/handle.rs",
        "The first record that carries the largest timestamp of the partition" => [the_last_of_the_largest_times];
    a_time_that_is_not_there_is_the_end: "src/consumer/positions.rs",
        "Moves to the first record of each of these partitions whose timestamp is timestamp or later, or to the end where there is none"
        => [no_such_time_is_the_beginning];
    the_last_ones_are_the_newest: "src/partition/handle.rs", "The newest count records, oldest of them first"
        => [last_takes_the_oldest_of_a_batch];
    a_read_begins_where_it_was_asked_to: "src/partition/read/batch.rs",
        "The records of one batch that a reader may see" => [a_read_begins_with_its_batch];
    a_time_in_damage_is_not_passed_over: "src/partition/handle.rs",
        "a later one is never taken for the first" => [keep_an_index_that_passed_damage];
    older_records_are_not_the_newest: "src/partition/handle.rs",
        "Older ones are never taken for them" => [take_an_early_end_for_the_end];
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A batch of records of these times.
fn append(partition: &Partition, times: &[i64]) {
    let records: Vec<_> = times.iter().map(|time| RecordData::new("x").timestamp(at(*time))).collect();
    partition.append(&records).unwrap();
}

fn found(partition: &Partition, millis: i64) -> Option<u64> {
    partition.offset_for_timestamp(at(millis)).unwrap().map(|found| found.offset.value())
}

/// A topic whose every batch has an entry in the index, and which rolls after a few of them.
fn indexed() -> TopicConfig {
    TopicConfig::default().index_interval_bytes(1).segment_bytes(512)
}

fn the_first_of_equal_times_is_found() {
    let world = World::with(indexed());
    let partition = world.partition();
    // Equal times within a batch, of batches beside each other, and across a roll.
    let times =
        [[10, 10, 20], [20, 20, 20], [20, 30, 30], [30, 30, 30], [30, 40, 40], [35, 40, 50], [50, 50, 50]];
    let mut all: Vec<i64> = Vec::new();
    for batch in &times {
        append(&partition, batch);
        all.extend(batch);
        for time in (5..60).step_by(5) {
            let expected = all.iter().position(|t| *t >= time).map(|offset| offset as u64);
            assert_eq!(found(&partition, time), expected, "{time} in {all:?}");
        }
    }
    assert!(partition.segment_count() > 1);
    // And to the next opening, out of the files.
    let expected = |time| all.iter().position(|t| *t >= time).map(|offset| offset as u64);
    let (copy, env) = (observer(&world.env), world.env.clone());
    drop(partition);
    world.log.close().unwrap();
    for log in [copy, open(&env)] {
        log.refresh().unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert!((5..60).all(|time| found(&partition, time) == expected(time)));
    }
}

fn the_time_index_is_kafkas() {
    let world = World::with(indexed().segment_bytes(4096));
    for _ in 0..5 {
        append(&world.partition(), &[1000]);
    }
    world.log.close().unwrap();
    let index = &world.env.files()["/log/t-0/00000000000000000000.timeindex"];
    // The largest timestamp, and the last offset of the first batch that has it.
    assert_eq!(index, &[&1000_i64.to_be_bytes()[..], &0_u32.to_be_bytes()].concat());
}

fn what_is_removed_hides_nothing() {
    let world = World::with(indexed());
    let partition = world.partition();
    for millis in [100, 1, 100] {
        partition.append(&[RecordData::new(&[7; 150]).timestamp(at(millis))]).unwrap();
    }
    assert_eq!(partition.segment_count(), 2);
    world.log.delete_records("t", 0, 1).unwrap();
    assert_eq!(found(&partition, 50), Some(2));
}

fn what_is_not_durable_is_not_read() {
    let world = World::new(1);
    let partition = world.partition();
    append(&partition, &[10]);
    world.env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path(".log").forever());
    partition.append(&[RecordData::new("not durable").timestamp(at(20))]).unwrap_err();
    assert_eq!(partition.records(0).count(), 1);
}

fn of_the_largest_times_the_first_is_found() {
    let world = World::with(indexed());
    let partition = world.partition();
    (0..20).for_each(|_| append(&partition, &[10, 50, 50]));
    assert!(partition.segment_count() > 1);
    let found = world.log.list_offsets("t", 0, OffsetSpec::MaxTimestamp).unwrap().unwrap();
    assert_eq!((found.offset.value(), found.timestamp), (1, Some(at(50))));
}

fn a_time_that_is_not_there_is_the_end() {
    let world = World::new(1);
    append(&world.partition(), &[10, 20]);
    let mut consumer = world.consumer();
    consumer.seek_to_timestamp(&[], at(15)).unwrap();
    assert_eq!(consumer.position(&t(0)).unwrap(), 1);
    consumer.seek_to_timestamp(&[], at(21)).unwrap();
    assert_eq!(consumer.position(&t(0)).unwrap(), 2);
    let reset = GroupReset::to(ResetTo::Timestamp(at(21))).topic("t");
    assert_eq!(world.log.reset_group_offsets("g", &reset).unwrap()[&t(0)], 2);
}

fn the_last_ones_are_the_newest() {
    let world = World::new(1);
    world.append(&["a", "b"]);
    world.append(&["c", "d", "e"]);
    for (count, expected) in [(0, &[][..]), (2, &["d", "e"]), (4, &["b", "c", "d", "e"])] {
        let last = world.partition().last(count).unwrap();
        let values: Vec<_> = last.iter().map(|record| record.value_text()).collect();
        assert_eq!(values, expected);
    }
}

fn a_read_begins_where_it_was_asked_to() {
    let world = World::new(1);
    world.append(&["a", "b", "c"]);
    for from in 0..4 {
        let seen: Vec<_> =
            world.partition().records(from).map(|record| record.unwrap().offset.value()).collect();
        assert_eq!(seen, (from..3).collect::<Vec<_>>());
    }
}

/// A closed log of sixteen batches of one record, several in each segment; where the batches of the first segment begin.
fn of_several_segments(time_of: impl Fn(i64) -> i64) -> (SimEnv, Vec<usize>) {
    let world = World::with(TopicConfig::default().index_interval_bytes(1).segment_bytes(600));
    for i in 0..16 {
        let record = RecordData::new(&[7; 50]).timestamp(at(time_of(i)));
        world.partition().append(&[record]).unwrap();
    }
    assert!(world.partition().segment_count() > 2);
    world.log.close().unwrap();
    let bytes = &world.env.files()[FIRST_SEGMENT];
    let mut begin = vec![0];
    while let Some(length) = bytes.get(begin[begin.len() - 1] + 8..).and_then(|rest| rest.first_chunk()) {
        begin.push(begin[begin.len() - 1] + 12 + u32::from_be_bytes(*length) as usize);
    }
    (world.env, begin)
}

const FIRST_SEGMENT: &str = "/log/t-0/00000000000000000000.log";
const SECOND_SEGMENT: &str = "/log/t-0/00000000000000000005.log";

fn a_time_in_damage_is_not_passed_over() {
    // The second batch of the second segment is later than some that follow it.
    let (env, begin) = of_several_segments(|i| if i == 6 { 8500 } else { 1000 * i });
    assert_eq!(begin.len(), 6);
    let mut bytes = env.files()[SECOND_SEGMENT].clone();
    bytes[begin[1] + 70] ^= 1;
    env.overwrite(SECOND_SEGMENT, &bytes).unwrap();
    for opening in 0..3 {
        let log = open(&env);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        if opening == 0 {
            // What was aborted is known, and no index was read, when the time index is lost and built again.
            let read = partition.read_with(0, IsolationLevel::ReadCommitted).take(6);
            read.for_each(|batch| drop(batch.unwrap()));
            env.overwrite(SECOND_SEGMENT.replace(".log", ".timeindex"), &[]).unwrap();
        }
        assert_eq!(found(&partition, 5000), Some(5));
        match partition.offset_for_timestamp(at(7500)) {
            Err(error) => assert_eq!(error.next_offset(), Some(Offset::new(7)), "opening {opening}: {error}"),
            Ok(later) => panic!("opening {opening}: {later:?} is taken for the record in the damage"),
        }
        assert_eq!(found(&partition, 15_000), Some(15));
        partition.append(&[RecordData::new("later")]).unwrap();
        drop(partition);
        log.close().unwrap();
    }
}

fn older_records_are_not_the_newest() {
    let (env, begin) = of_several_segments(|i| 1000 + i);
    let last = begin[begin.len() - 2];
    let cut = env.files()[FIRST_SEGMENT][..last].to_vec();
    env.overwrite(FIRST_SEGMENT, &cut).unwrap();
    let partition = open(&env).topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.last(2).unwrap().len(), 2);
    match partition.last(16) {
        Err(Error::Corrupt { path, position, next_offset, .. }) => {
            assert_eq!((path.to_str().unwrap(), position), (FIRST_SEGMENT, last as u64));
            assert_eq!(next_offset, Some(Offset::new(begin.len() as u64 - 1)));
        }
        other => panic!("{other:?}"),
    }
}
