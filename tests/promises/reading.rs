//! Consumers and what they commit, groups, resets, read-only handles, looking for times, producers, wake-ups.

use crate::{Promise, promises, world::*};
use streamlog::{
    Error, Offset, RecordData, Timestamp, TopicConfig,
    sim::{Crash, SimEnv},
};

promises! {
    a_record_counts_as_done_when_the_next_poll_is_called: "src/consumer/builder.rs",
        "With it a record counts as done when the next poll is called" => [commit_one_poll_early];
    who_only_reads_sees_what_a_power_cut_leaves: "src/manual/durability.rs",
        "In a Flushed topic it shows what the mark says is flushed" => [show_what_is_being_flushed];
    the_time_index_is_kafkas: "src/manual/coming_from_kafka.rs",
        "Segments of record batches v2, offset and time indexes" => [index_the_last_of_equal_times];
    a_time_in_damage_is_not_passed_over: "src/partition/view.rs",
        "a later one is never taken for the first" => [keep_an_index_that_passed_damage];
    older_records_are_not_the_newest: "src/partition/view.rs",
        "Older ones are never taken for them" => [take_an_early_end_for_the_end];
}

pub const ELSEWHERE: &[Promise] = &[Promise {
    test: "what_is_acknowledged_is_flushed_whoever_flushes@src/streamlog/tests/interleavings.rs",
    file: "src/manual/durability.rs",
    says: "waiters always wake",
    mistakes: &["a_flush_wakes_nobody", "a_failed_flush_wakes_nobody", "append_wakes_no_consumer"],
}];

fn a_record_counts_as_done_when_the_next_poll_is_called() {
    let world = World::new(1);
    world.send("a");
    let mut consumer = world.log.consumer_builder("g").auto_commit(secs(1)).build().unwrap();
    consumer.subscribe(["t"]).unwrap();
    world.env.advance(secs(2));
    assert_eq!(poll(&mut consumer), ["a"]);
    assert_eq!(world.committed().unwrap_or(0), 0, "the program has not even seen it");
    world.env.advance(secs(2));
    assert!(poll(&mut consumer).is_empty());
    assert_eq!(world.committed(), Some(1));
}

fn who_only_reads_sees_what_a_power_cut_leaves() {
    let world = World::new(1);
    world.send("a");
    world.env.record();
    world.send("b");
    let recording = world.env.recording();
    let mut cursor = recording.cursor();
    while let Some(operation) = cursor.advance() {
        let end = |log: &streamlog::Streamlog| {
            log.topic("t").unwrap().partition(0).unwrap().high_watermark().value()
        };
        let seen = end(&observer(&cursor.crash(Crash::Kill, 1)));
        let kept = end(&open(&cursor.crash(Crash::Nothing, 1)));
        assert!(seen <= kept, "operation {operation}: {seen} are shown, a power cut leaves {kept}");
    }
}

fn the_time_index_is_kafkas() {
    let world = World::with(TopicConfig::default().index_interval_bytes(1).segment_bytes(4096));
    for _ in 0..5 {
        let record = RecordData::new("x").timestamp(Timestamp::from_millis(1000));
        world.partition().append(&[record]).unwrap();
    }
    world.log.close().unwrap();
    let index = &world.env.files()["/log/t-0/00000000000000000000.timeindex"];
    // The largest timestamp, and the last offset of the first batch that has it.
    assert_eq!(index, &[&1000_i64.to_be_bytes()[..], &0_u32.to_be_bytes()].concat());
}

/// A closed log of sixteen batches of one record, several in each segment; where the batches of the first segment begin.
fn of_several_segments() -> (SimEnv, Vec<usize>) {
    let world = World::with(TopicConfig::default().index_interval_bytes(1).segment_bytes(600));
    for millis in 1000..1016 {
        let record = RecordData::new(&[7; 50]).timestamp(Timestamp::from_millis(millis));
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

fn a_time_in_damage_is_not_passed_over() {
    let (env, begin) = of_several_segments();
    let mut bytes = env.files()[FIRST_SEGMENT].clone();
    bytes[begin[1] + 70] ^= 1;
    env.overwrite(FIRST_SEGMENT, &bytes).unwrap();
    // The time index is built again, from what is left.
    env.overwrite(FIRST_SEGMENT.replace(".log", ".timeindex"), &[]).unwrap();
    for opening in 0..3 {
        let log = open(&env);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let at = |millis| partition.offset_for_timestamp(Timestamp::from_millis(millis));
        assert_eq!(at(1000).unwrap().unwrap().offset, 0);
        let error = at(1001).unwrap_err();
        assert_eq!(error.next_offset(), Some(Offset::new(2)), "opening {opening}: {error}");
        assert_eq!(at(1015).unwrap().unwrap().offset, 15);
        partition.append(&[RecordData::new("later")]).unwrap();
        drop(partition);
        log.close().unwrap();
    }
}

fn older_records_are_not_the_newest() {
    let (env, begin) = of_several_segments();
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
