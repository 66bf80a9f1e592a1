//! Consumers: what a poll returns, positions, subscriptions, resets, wake-ups.

use crate::{Promise, promises, world::*};
use std::time::Duration;
use streamlog::{
    Consumer, ErrorKind, Offset, ProducerRecord, RecordData, Timestamp, TopicConfig,
    clients::{AutoOffsetReset, ConsumerBuilder, ResetReason},
    sim::{Fault, FaultKind, Operation},
};

promises! {
    a_seek_goes_to_its_record: "src/consumer/positions.rs",
        "Moves to offset: the next poll returns records from there on"
        => [a_seek_keeps_what_was_fetched, a_seek_lands_past_its_record];
    every_record_comes_once: "src/consumer/poll.rs", "Returns the records that follow those of earlier polls"
        => [the_rest_of_a_batch_is_skipped];
    a_position_is_that_of_the_next_record: "src/consumer/positions.rs",
        "The offset of the next record that a poll returns" => [a_position_is_the_last_record];
    a_poll_takes_no_more_than_it_may: "src/consumer/builder.rs", "The most records that a poll returns"
        => [a_poll_takes_whole_batches];
    a_poll_takes_no_more_bytes_than_it_may: "src/consumer/builder.rs",
        "The size of the records of one poll, in bytes after decompression, at which it takes no more" => [a_poll_counts_no_bytes];
    every_partition_has_its_turn: "src/consumer/poll.rs", "from all partitions that have any, in turn"
        => [the_first_partition_comes_first];
    nothing_is_read_where_it_is_paused: "src/consumer/positions.rs",
        "Stops returning records of these partitions. Their positions and the assignment stay"
        => [what_is_paused_is_read, a_pause_drops_what_was_fetched];
    resuming_wakes_the_consumer: "src/consumer/positions.rs", "Returns records of these partitions again"
        => [what_is_resumed_wakes_nobody];
    a_wakeup_comes_once_and_never_too_early: "src/manual/patterns.rs",
        "A wake-up ends the running poll or the next one, so none comes too early"
        => [a_wakeup_between_polls_is_lost, a_wakeup_stays by Wakeup];
    places_stay_where_the_assignment_does: "src/consumer/mod.rs", "Partitions that stay assigned keep their positions"
        => [assigning_again_begins_again];
    partitions_that_come_are_read: "src/consumer/mod.rs", "Partitions that are added later are read as well"
        => [partitions_that_come_are_missed];
    the_latest_is_that_of_the_subscription: "src/consumer/reset.rs",
        "\"Now\" is when the consumer subscribes or is assigned the partition, not its first poll"
        => [the_latest_is_decided_by_the_first_poll];
    what_is_added_is_read_from_its_beginning: "src/manual/coming_from_kafka.rs",
        "a partition added later is read from its beginning" => [what_is_added_begins_at_its_end];
    a_duration_has_an_edge: "src/consumer/reset.rs",
        "At the first record whose timestamp is at most this long before that same moment"
        => [a_duration_without_its_edge];
    what_came_since_is_not_passed_over: "src/manual/coming_from_kafka.rs", "no record in between is skipped"
        => [what_came_since_is_passed_over];
    none_goes_nowhere: "src/consumer/reset.rs",
        "Nowhere: the poll fails with NoOffset or OffsetOutOfRange until the program seeks" => [none_is_the_earliest];
    a_later_reset_is_reported: "src/manual/coming_from_kafka.rs", "resets come with the records of the poll"
        => [a_later_reset_is_not_reported];
    a_commit_for_another_topic_is_not_used: "src/consumer/reset.rs",
        "The offset was committed for a topic of this name that has been deleted since" => [a_topic_is_its_name];
    a_poll_waits_as_long_as_it_may: "src/consumer/poll.rs",
        "When there are none, it waits for some, and returns none when timeout is over" => [a_poll_does_not_wait];
    the_lag_of_a_consumer_is_what_it_has_not_read: "src/consumer/positions.rs",
        "How many offsets lie between the position and the end" => [the_last_record_is_no_lag];
    the_end_is_that_of_readers: "src/consumer/positions.rs",
        "The offset after the last record of each of these partitions, assigned or not, that a consumer of this isolation level can read"
        => [an_end_is_what_is_written];
    damage_is_skipped_by_the_one_who_stands_there: "src/consumer/positions.rs",
        "because it was moved or unassigned since" => [any_damage_is_skipped];
    an_owned_record_is_the_record: "src/consumer/records.rs", "The record with bytes that outlive the poll"
        => [an_owned_record_has_no_headers];
    the_last_header_of_a_name_counts: "src/codec/record/headers.rs", "The value of the last header of this name"
        => [the_first_header_is_found];
}

pub const ELSEWHERE: &[Promise] = &[
    Promise {
        test: "producers_consumers_and_the_background_thread_wake_each_other@src/streamlog/tests/interleavings.rs",
        file: "src/manual/durability.rs",
        says: "waiters always wake",
        mistakes: &["append_wakes_no_consumer"],
    },
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/manual/durability.rs",
        says: "never silently reset",
        mistakes: &["a_reset_is_not_reported"],
    },
    Promise {
        test: "read_committed_waits_for_the_decision_and_drops_what_was_aborted@src/consumer/tests/reading.rs",
        file: "src/manual/coming_from_kafka.rs",
        says: "read-committed readers skip aborted records",
        mistakes: &["show_what_was_aborted", "show_what_controls"],
    },
    Promise {
        test: "read_committed_waits_for_the_decision_and_drops_what_was_aborted@src/consumer/tests/reading.rs",
        file: "src/partition/handle.rs",
        says: "Where read-committed readers stop: before the first transaction that is not decided",
        mistakes: &["read_what_is_undecided"],
    },
    Promise {
        test: "a_transaction_that_is_over_hides_nothing_of_the_next_one@src/partition/read/hidden/tests.rs",
        file: "src/partition/handle.rs",
        says: "with records of aborted and undecided transactions left out",
        mistakes: &["an_abort_hides_what_follows", "backwards_shows_what_was_aborted"],
    },
];

/// A world with one batch of these values, and a consumer that takes one record with each poll.
fn one_by_one(values: &[&str]) -> (World, Consumer) {
    let world = World::new(1);
    world.append(values);
    let consumer = world.consumer_with(|builder| builder.max_poll_records(1));
    (world, consumer)
}

fn a_seek_goes_to_its_record() {
    let (_world, mut consumer) = one_by_one(&["a", "b", "c"]);
    assert_eq!(poll(&mut consumer), ["a"]);
    for (offset, value) in [(0, "a"), (2, "c"), (1, "b")] {
        consumer.seek(&t(0), offset).unwrap();
        assert_eq!(poll(&mut consumer), [value], "after a seek to {offset}");
    }
}

fn every_record_comes_once() {
    let (world, mut consumer) = one_by_one(&["a", "b", "c"]);
    world.append(&["d"]);
    let seen: Vec<_> = (0..6).flat_map(|_| poll(&mut consumer)).collect();
    assert_eq!(seen, ["a", "b", "c", "d"]);
}

fn a_position_is_that_of_the_next_record() {
    let (_world, mut consumer) = one_by_one(&["a", "b", "c"]);
    for next in 0..3 {
        assert_eq!(consumer.position(&t(0)).unwrap(), next);
        let records = consumer.poll(NOW).unwrap();
        assert_eq!(records.iter().next().unwrap().offset, next);
        assert_eq!(records.next_offsets()[&t(0)], next + 1);
    }
    assert_eq!(consumer.position(&t(0)).unwrap(), 3);
}

fn a_poll_takes_no_more_than_it_may() {
    let world = World::new(2);
    world.append(&["a", "b", "c"]);
    world.send_to(1, "d");
    for most in 1..6 {
        let mut consumer = world.consumer_with(|builder| builder.max_poll_records(most));
        assert_eq!(poll(&mut consumer).len(), most.min(4));
    }
}

fn a_poll_takes_no_more_bytes_than_it_may() {
    let large = "x".repeat(1000);
    let world = World::new(1);
    world.append(&[&large, &large, &large]);
    for (most, count) in [(1, 1), (1500, 2), (5000, 3)] {
        let mut consumer = world.consumer_with(|builder| builder.max_poll_bytes(most));
        assert_eq!(poll(&mut consumer).len(), count, "of at most {most} bytes");
    }
}

fn every_partition_has_its_turn() {
    let world = World::new(3);
    let mut consumer = world.consumer_with(|builder| builder.max_poll_records(1));
    let mut seen = Vec::new();
    for round in 0..3 {
        // The first one always has something.
        (0..3).for_each(|_| world.send_to(0, "0"));
        world.send_to(1, "1");
        world.send_to(2, "2");
        let three: Vec<_> = (0..3).flat_map(|_| poll(&mut consumer)).collect();
        seen.push(three);
        assert!(seen[round].iter().any(|value| value == "2"), "{seen:?}");
    }
}

fn nothing_is_read_where_it_is_paused() {
    let (_world, mut consumer) = one_by_one(&["a", "b", "c"]);
    assert_eq!(poll(&mut consumer), ["a"]);
    consumer.pause(&[t(0)]).unwrap();
    assert!(poll(&mut consumer).is_empty());
    assert_eq!((consumer.assignment(), consumer.paused()), (vec![t(0)], vec![t(0)]));
    consumer.resume(&[t(0)]).unwrap();
    assert_eq!((poll(&mut consumer), poll(&mut consumer)), (vec!["b".into()], vec!["c".into()]));
}

fn resuming_wakes_the_consumer() {
    let world = World::with_tasks();
    let mut consumer = world.consumer();
    consumer.pause(&[t(0)]).unwrap();
    consumer.resume(&[t(0)]).unwrap();
    let producer = world.log.producer_builder().linger(secs(1)).build().unwrap();
    producer.enqueue(ProducerRecord::new("t", "a")).unwrap();
    // Nothing but the record, which the background task writes meanwhile, ends this poll.
    assert_eq!(values(&consumer.poll(Duration::MAX).unwrap()), ["a"]);
}

fn a_wakeup_comes_once_and_never_too_early() {
    let world = World::new(1);
    let mut consumer = world.consumer();
    let wakeup = consumer.wakeup_handle();
    wakeup.wakeup();
    wakeup.wakeup();
    assert_eq!(consumer.poll(Duration::MAX).unwrap_err().kind(), ErrorKind::Wakeup);
    assert!(poll(&mut consumer).is_empty());
}

fn places_stay_where_the_assignment_does() {
    let world = World::new(2);
    world.send_to(0, "a");
    let mut consumer = world.log.consumer_builder_without_group().build().unwrap();
    consumer.assign([t(0)]).unwrap();
    assert_eq!(poll(&mut consumer), ["a"]);
    consumer.assign([t(0), t(1)]).unwrap();
    world.send_to(0, "b");
    world.send_to(1, "c");
    assert_eq!(poll(&mut consumer), ["b", "c"]);
}

fn partitions_that_come_are_read() {
    let world = World::new(1);
    let mut consumer = world.consumer();
    let _ = world.log.add_partitions("t", 2).unwrap();
    world.send_to(1, "a");
    assert_eq!(poll(&mut consumer), ["a"]);
}

fn beginning(world: &World, reset: AutoOffsetReset) -> Consumer {
    let set = |builder: ConsumerBuilder| builder.auto_offset_reset(reset);
    world.consumer_with(set)
}

fn the_latest_is_that_of_the_subscription() {
    let world = World::new(1);
    world.send("old");
    let mut consumer = beginning(&world, AutoOffsetReset::Latest);
    world.send("new");
    assert_eq!(poll(&mut consumer), ["new"]);
}

fn what_is_added_is_read_from_its_beginning() {
    let world = World::new(1);
    let mut consumer = beginning(&world, AutoOffsetReset::Latest);
    let _ = world.log.add_partitions("t", 2).unwrap();
    world.send_to(1, "a");
    assert_eq!(poll(&mut consumer), ["a"]);
    world.log.delete_topic("t").unwrap();
    world.log.create_topic("t", TopicConfig::default()).unwrap();
    world.send("b");
    assert_eq!(poll(&mut consumer), ["b"]);
}

fn a_duration_has_an_edge() {
    let world = World::new(1);
    let now = Timestamp::from_millis(1_800_000_000_000);
    for (age, value) in [(61, "too old"), (60, "at the edge"), (59, "young")] {
        let record = ProducerRecord::new("t", value).timestamp(now.minus(secs(age)));
        world.log.producer().unwrap().send(record).unwrap();
    }
    world.env.set_wall_clock(now);
    let mut consumer = beginning(&world, AutoOffsetReset::ByDuration(secs(60)));
    assert_eq!(poll(&mut consumer), ["at the edge", "young"]);
}

fn what_came_since_is_not_passed_over() {
    let world = World::new(1);
    let mut consumer = beginning(&world, AutoOffsetReset::ByDuration(secs(60)));
    for (value, timestamp) in
        [("ancient", Timestamp::from_millis(1)), ("new", Timestamp::from_millis(1 << 50))]
    {
        let record = ProducerRecord::new("t", value).timestamp(timestamp);
        world.log.producer().unwrap().send(record).unwrap();
    }
    assert_eq!(poll(&mut consumer), ["ancient", "new"]);
}

fn none_goes_nowhere() {
    let world = World::new(1);
    world.append(&["a", "b"]);
    let mut consumer = beginning(&world, AutoOffsetReset::None);
    for _ in 0..2 {
        assert_eq!(consumer.poll(NOW).unwrap_err().kind(), ErrorKind::NoOffset);
    }
    consumer.seek(&t(0), 5).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
    consumer.seek(&t(0), 1).unwrap();
    assert_eq!(poll(&mut consumer), ["b"]);
}

fn a_later_reset_is_reported() {
    let (world, mut consumer) = one_by_one(&["a"]);
    assert_eq!(poll(&mut consumer), ["a"]);
    world.append(&["b"]);
    world.append(&["c"]);
    world.log.delete_records("t", 0, 2).unwrap();
    let records = consumer.poll(NOW).unwrap();
    assert_eq!(values(&records), ["c"]);
    let [reset] = records.resets() else { panic!("resets: {:?}", records.resets()) };
    assert_eq!((reset.from.value(), reset.to.value(), reset.reason), (1, 2, ResetReason::OutOfRange));
}

fn a_commit_for_another_topic_is_not_used() {
    let world = World::new(1);
    world.append(&["a", "b"]);
    world.consumer().commit_offsets([(t(0), Offset::new(1))]).unwrap();
    // Without space what was committed cannot be forgotten.
    world
        .env
        .inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path("__consumer_offsets").forever());
    world.log.delete_topic("t").unwrap();
    world.env.clear_faults();
    world.log.create_topic("t", TopicConfig::default()).unwrap();
    world.append(&["c", "d"]);
    let records = world.consumer().poll(NOW).unwrap();
    assert_eq!(values(&records), ["c", "d"]);
    let reasons: Vec<_> = records.resets().iter().map(|reset| reset.reason).collect();
    assert_eq!(reasons, [ResetReason::TopicRecreated]);
}

fn an_owned_record_is_the_record() {
    let world = World::new(1);
    let record = RecordData::tombstone("k").header("h", "1").null_header("h");
    world.partition().append(&[record]).unwrap();
    let records = world.consumer().poll(NOW).unwrap();
    let borrowed = records.iter().next().unwrap();
    let owned = borrowed.to_owned();
    let headers: Vec<_> = borrowed.headers.map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(headers, [("h".to_owned(), Some(&b"1"[..])), ("h".to_owned(), None)]);
    let owned_headers: Vec<_> = owned.headers.iter().map(|(n, v)| (n.clone(), v.as_deref())).collect();
    assert_eq!(
        (owned_headers, owned.key.as_deref(), owned.value.as_deref()),
        (headers, borrowed.key, borrowed.value)
    );
    assert_eq!((owned.offset, owned.next_offset), (borrowed.offset, borrowed.next_offset));
}

fn the_last_header_of_a_name_counts() {
    let world = World::new(1);
    let record =
        RecordData::new("v").header("h", "1").header("h", "2").header("gone", "1").null_header("gone");
    world.partition().append(&[record]).unwrap();
    let records = world.consumer().poll(NOW).unwrap();
    let headers = records.iter().next().unwrap().headers;
    assert_eq!(["h", "gone", "none"].map(|name| headers.get(name)), [Some(&b"2"[..]), None, None]);
}

fn a_poll_waits_as_long_as_it_may() {
    let world = World::new(1);
    let mut consumer = world.consumer();
    let begun = world.now();
    assert!(consumer.poll(secs(60)).unwrap().is_empty());
    let waited = world.now().as_millis() - begun.as_millis();
    assert!((60_000..61_000).contains(&waited), "{waited} ms");
}

fn the_lag_of_a_consumer_is_what_it_has_not_read() {
    let (_world, mut consumer) = one_by_one(&["a", "b", "c"]);
    for lag in [3, 2, 1, 0] {
        assert_eq!(consumer.current_lag(&t(0)).unwrap(), lag);
        poll(&mut consumer);
    }
}

fn the_end_is_that_of_readers() {
    let world = World::new(1);
    world.send("a");
    world.env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path(".log").forever());
    world.partition().append(&[RecordData::new("not durable")]).unwrap_err();
    let consumer = world.consumer();
    assert_eq!(consumer.end_offsets(&[t(0)]).unwrap()[&t(0)], 1);
}

fn damage_is_skipped_by_the_one_who_stands_there() {
    let world = World::new(1);
    world.append(&["a"]);
    let first = world.partition().size() as usize;
    world.append(&["b"]);
    world.append(&["c"]);
    let mut bytes = world.env.files()["/log/t-0/00000000000000000000.log"].clone();
    bytes[first + 65] ^= 1;
    world.env.overwrite("/log/t-0/00000000000000000000.log", &bytes).unwrap();
    let mut consumer = world.consumer();
    assert_eq!(poll(&mut consumer), ["a"]);
    let damage = consumer.poll(NOW).unwrap_err();
    consumer.seek(&t(0), 0).unwrap();
    assert_eq!(consumer.skip_damage(&damage).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(poll(&mut consumer), ["a"]);
    let damage = consumer.poll(NOW).unwrap_err();
    assert_eq!(consumer.skip_damage(&damage).unwrap(), (t(0), Offset::new(1)..Offset::new(2)));
    assert_eq!(poll(&mut consumer), ["c"]);
}
