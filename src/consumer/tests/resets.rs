//! Where a consumer begins, and that it reports when that is not the committed offset.

use super::*;
use crate::{
    codec::manifest::Entry, error::ErrorKind, partition::write::log_start::advance_log_start,
    storage::manifest::Flush,
};

fn resets(consumer: &mut Consumer) -> Vec<(u64, u64, ResetReason)> {
    let records = consumer.poll(Duration::ZERO).unwrap();
    records.resets().iter().map(|r| (r.from.value(), r.to.value(), r.reason)).collect()
}

#[test]
fn a_group_without_offsets_begins_by_the_policy_which_is_no_reset() {
    let begin = |policy| {
        let world = World::new(1);
        world.append(0, &["a", "b"]);
        let mut consumer = world.consumer(|b| b.auto_offset_reset(policy));
        let records = consumer.poll(Duration::ZERO).unwrap();
        assert_eq!(records.resets(), [], "{policy:?}");
        consumer.commit_sync().unwrap();
        assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(2), "where it began, too");
        records.len()
    };
    assert_eq!(begin(AutoOffsetReset::Earliest), 2);
    assert_eq!(begin(AutoOffsetReset::Latest), 0);
    assert_eq!(begin(AutoOffsetReset::ByDuration(Duration::from_secs(60))), 2);
    assert_eq!(begin(AutoOffsetReset::ByDuration(Duration::MAX)), 2);
}

#[test]
fn by_duration_begins_at_the_first_record_that_is_young_enough() {
    let world = World::new(1);
    let now = world.env.now();
    let old = RecordData::new("old").timestamp(now.minus(Duration::from_secs(3600)));
    let log = world.partition();
    log.append(&[old, RecordData::new("new").timestamp(now)]).unwrap();
    let policy = AutoOffsetReset::ByDuration(Duration::from_secs(60));
    let mut consumer = world.consumer(|b| b.auto_offset_reset(policy));
    assert_eq!(poll(&mut consumer), ["new"]);
    let log = world.log(0);
    advance_log_start(&log, Offset::new(2)).unwrap();
    consumer.seek(&partition("t", 0), 0).unwrap();
    assert_eq!(resets(&mut consumer), [(0, 2, ResetReason::OutOfRange)], "the end when there is none");
}

#[test]
fn without_a_policy_the_program_chooses_the_position() {
    let world = World::new(2);
    world.append(0, &["a", "b"]);
    world.append(1, &["x"]);
    world.coordinator.set(&partition("t", 1), 0, &world.log(1));
    let mut consumer = world.consumer(|b| b.auto_offset_reset(AutoOffsetReset::None));
    assert_eq!(poll(&mut consumer), ["x"], "other partitions go on");
    for _ in 0..2 {
        assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::NoOffset);
    }
    assert_eq!(consumer.position(&partition("t", 0)).unwrap_err().kind(), ErrorKind::NoOffset);
    consumer.seek(&partition("t", 0), 1).unwrap();
    assert_eq!(poll(&mut consumer), ["b"]);
    consumer.seek(&partition("t", 0), 9).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
}

#[test]
fn a_consumer_resumes_at_the_committed_offset() {
    let world = World::new(1);
    world.append(0, &["a", "b", "c"]);
    world.coordinator.set(&partition("t", 0), 2, &world.log(0));
    let mut consumer = world.consumer(|b| b);
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert!(records.resets().is_empty());
    assert_eq!(values(&records), ["c"]);
}

#[test]
fn a_position_that_retention_removed_is_reset_and_reported() {
    let world = World::new(1);
    world.append(0, &["a", "b", "c"]);
    let mut consumer = world.consumer(|b| b.max_poll_records(1));
    assert_eq!(poll(&mut consumer), ["a"]);
    let mut late = world.consumer(|b| b);
    world.coordinator.set(&partition("t", 0), 1, &world.log(0));
    advance_log_start(&world.log(0), Offset::new(2)).unwrap();
    assert_eq!(resets(&mut late), [(1, 2, ResetReason::OutOfRange)]);
    // A running consumer notices when it reads again.
    consumer.seek(&partition("t", 0), 1).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.resets()[0].reason, ResetReason::OutOfRange);
    assert_eq!(values(&records), ["c"]);
}

#[test]
fn a_position_beyond_the_end_is_reset_and_reported() {
    let world = World::new(1);
    world.append(0, &["a"]);
    let mut consumer = world.consumer(|b| b);
    poll(&mut consumer);
    consumer.seek(&partition("t", 0), 7).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.resets()[0].from, 7);
    assert_eq!(values(&records), ["a"]);
}

/// A crash took the records from offset 2 on, and others were appended there.
fn crashed() -> World {
    let world = World::new(1);
    world.append(0, &["a", "b"]);
    let log = world.log(0);
    let id = log.identity.topic_id;
    let entry = Entry::Incarnation { id, partition: 0, number: 1, first_offset: Offset::new(2) };
    world.catalog.data_dir().manifest.append(&[entry], Flush::Now).unwrap();
    world.append(0, &["new", "newer", "newest"]);
    world
}

fn commit_in_incarnation(world: &World, offset: u64, number: u32) {
    world.coordinator.set(&partition("t", 0), offset, &world.log(0));
    world.coordinator.committed.lock().get_mut(&partition("t", 0)).unwrap().incarnation = Some(number);
}

#[test]
fn an_offset_beyond_its_incarnations_end_is_reset_to_that_end_and_reported() {
    for policy in [AutoOffsetReset::Earliest, AutoOffsetReset::Latest] {
        let world = crashed();
        commit_in_incarnation(&world, 4, 0);
        let mut consumer = world.consumer(|b| b.auto_offset_reset(policy));
        let records = consumer.poll(Duration::ZERO).unwrap();
        let reset = &records.resets()[0];
        assert_eq!((reset.from, reset.to), (Offset::new(4), Offset::new(2)));
        assert_eq!(reset.reason, ResetReason::IncarnationEnded);
        assert_eq!(values(&records), ["new", "newer", "newest"]);
    }
    let world = crashed();
    commit_in_incarnation(&world, 4, 0);
    let mut consumer = world.consumer(|b| b.auto_offset_reset(AutoOffsetReset::None));
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
}

#[test]
fn an_offset_that_the_crash_did_not_reach_or_that_came_after_it_holds() {
    for (offset, number, expected) in [(2, 0, 3), (1, 0, 4), (4, 1, 1)] {
        let world = crashed();
        commit_in_incarnation(&world, offset, number);
        let mut consumer = world.consumer(|b| b);
        let records = consumer.poll(Duration::ZERO).unwrap();
        assert_eq!((records.resets().len(), records.len()), (0, expected), "{offset} of {number}");
    }
}

#[test]
fn a_later_incarnation_that_begins_lower_ends_the_earlier_ones_there() {
    let world = crashed();
    let id = world.log(0).identity.topic_id;
    let entry = Entry::Incarnation { id, partition: 0, number: 2, first_offset: Offset::new(1) };
    world.catalog.data_dir().manifest.append(&[entry], Flush::Now).unwrap();
    commit_in_incarnation(&world, 2, 0);
    let mut consumer = world.consumer(|b| b);
    assert_eq!(resets(&mut consumer), [(2, 1, ResetReason::IncarnationEnded)]);
}

#[test]
fn an_offset_beyond_the_end_of_a_log_without_later_appends_is_reported() {
    let world = World::new(1);
    world.append(0, &["a", "b"]);
    world.coordinator.set(&partition("t", 0), 9, &world.log(0));
    let mut consumer = world.consumer(|b| b);
    assert_eq!(resets(&mut consumer), [(9, 2, ResetReason::IncarnationEnded)]);
}

#[test]
fn offsets_of_a_deleted_topic_do_not_hold_in_its_successor() {
    let world = World::new(1);
    world.append(0, &["a", "b"]);
    world.coordinator.set(&partition("t", 0), 1, &world.log(0));
    world.catalog.delete("t").unwrap();
    world.catalog.create("t", TopicConfig::default()).unwrap();
    world.append(0, &["new", "newer"]);
    let mut consumer = world.consumer(|b| b);
    assert_eq!(consumer.committed(&[partition("t", 0)]).unwrap()[&partition("t", 0)], None);
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.resets()[0].reason, ResetReason::TopicRecreated);
    assert_eq!(values(&records), ["new", "newer"]);
}

#[test]
fn a_reset_is_not_lost_with_a_poll_that_fails() {
    let world = World::new(1);
    world.coordinator.set(&partition("t", 0), 9, &world.log(0));
    let mut consumer = world.consumer(|b| b);
    consumer.position(&partition("t", 0)).unwrap();
    consumer.wakeup_handle().wakeup();
    assert!(consumer.poll(Duration::ZERO).is_err());
    assert_eq!(resets(&mut consumer).len(), 1);
}

#[test]
fn a_policy_reads_back_from_kafkas_words() {
    let hour = AutoOffsetReset::ByDuration(Duration::from_secs(3600));
    for (text, policy) in [
        ("earliest", AutoOffsetReset::Earliest),
        ("latest", AutoOffsetReset::Latest),
        ("none", AutoOffsetReset::None),
        ("by_duration:PT1H", hour),
        ("by_duration:PT0.000000001S", AutoOffsetReset::ByDuration(Duration::from_nanos(1))),
    ] {
        assert_eq!(policy.to_string(), text);
        assert_eq!(text.parse(), Ok(policy));
    }
    assert_eq!(
        AutoOffsetReset::ByDuration(Duration::MAX).to_string().parse(),
        Ok(AutoOffsetReset::ByDuration(Duration::MAX))
    );
    for text in ["", "Earliest", "by_duration", "by_duration:", "by_duration:1h", "by_duration:-PT1H"] {
        assert!(text.parse::<AutoOffsetReset>().is_err(), "{text}");
    }
}
