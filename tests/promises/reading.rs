//! Consumers and what they commit, groups, resets, read-only handles, looking for times, producers, wake-ups.

use crate::{Promise, promises, world::*};
use streamlog::{RecordData, Timestamp, TopicConfig, sim::Crash};

promises! {
    a_record_counts_as_done_when_the_next_poll_is_called: "src/consumer/builder.rs",
        "With it a record counts as done when the next poll is called" => [commit_one_poll_early];
    who_only_reads_sees_what_a_power_cut_leaves: "src/manual/durability.rs",
        "In a Flushed topic it shows what the mark says is flushed" => [show_what_is_being_flushed];
    the_time_index_is_kafkas: "src/manual/coming_from_kafka.rs",
        "Segments of record batches v2, offset and time indexes" => [index_the_last_of_equal_times];
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
