//! Waiting and waking, topics that are created and deleted, seeking, pausing and committing.

use super::*;
use crate::error::ErrorKind;
use std::{thread, time::Instant};

#[test]
fn a_poll_sleeps_until_there_is_data() {
    let world = World::new(2);
    let mut consumer = world.consumer(|b| b);
    thread::scope(|scope| {
        let waiting = scope.spawn(move || values(&consumer.poll(Duration::from_secs(60)).unwrap()));
        thread::sleep(Duration::from_millis(30));
        world.append(1, &["a"]);
        assert_eq!(waiting.join().unwrap(), ["a"]);
    });
}

#[test]
fn a_poll_returns_nothing_when_time_is_up() {
    let world = World::new(1);
    let mut consumer = world.consumer(|b| b);
    let begun = Instant::now();
    assert!(consumer.poll(Duration::from_millis(30)).unwrap().is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_poll_of_nothing_is_refused_immediately_whatever_its_timeout() {
    let world = World::new(1);
    let mut consumer = world.builder().build().unwrap();
    let refused = |consumer: &mut Consumer| {
        assert_eq!(consumer.poll(Duration::MAX).unwrap_err().kind(), ErrorKind::InvalidArgument);
    };
    refused(&mut consumer);
    consumer.subscribe(["t"]).unwrap();
    assert!(poll(&mut consumer).is_empty());
    consumer.unsubscribe().unwrap();
    refused(&mut consumer);
    consumer.assign([]).unwrap();
    refused(&mut consumer);
    consumer.subscribe([""; 0]).unwrap();
    refused(&mut consumer);
    // Its topic may be created again: that is worth waiting for.
    consumer.subscribe(["t"]).unwrap();
    world.catalog.delete("t").unwrap();
    assert!(poll(&mut consumer).is_empty());
}

#[test]
fn a_wakeup_reaches_the_poll_that_waits_or_the_next_one_and_once() {
    let world = World::new(1);
    let mut consumer = world.consumer(|b| b);
    let handle = consumer.wakeup_handle();
    let mut consumer = thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            assert_eq!(consumer.poll(Duration::MAX).unwrap_err().kind(), ErrorKind::Wakeup);
            consumer
        });
        thread::sleep(Duration::from_millis(30));
        handle.wakeup();
        waiting.join().unwrap()
    });
    assert!(poll(&mut consumer).is_empty());
    handle.wakeup();
    handle.wakeup();
    world.append(0, &["a"]);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::Wakeup);
    assert_eq!(poll(&mut consumer), ["a"]);
}

#[test]
fn the_end_of_the_handle_wakes_a_poll() {
    let world = World::new(1);
    let mut consumer = world.consumer(|b| b);
    thread::scope(|scope| {
        let waiting = scope.spawn(move || consumer.poll(Duration::MAX).unwrap_err().kind());
        thread::sleep(Duration::from_millis(30));
        world.catalog.data_dir().close();
        world.catalog.changes.wake_all();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Closed);
    });
}

#[test]
fn added_partitions_are_read_and_wake_a_poll() {
    let world = World::new(1);
    let mut consumer = world.consumer(|b| b);
    poll(&mut consumer);
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let found = values(&consumer.poll(Duration::from_secs(60)).unwrap());
            (found, consumer.assignment().len())
        });
        thread::sleep(Duration::from_millis(30));
        let _ = world.catalog.add_partitions("t", 2).unwrap();
        world.append(1, &["b"]);
        assert_eq!(waiting.join().unwrap(), (vec!["b".to_string()], 2));
    });
}

#[test]
fn a_subscribed_topic_may_be_deleted_and_created_again() {
    let world = World::new(1);
    world.append(0, &["a"]);
    let mut consumer = world.consumer(|b| b);
    assert_eq!(poll(&mut consumer), ["a"]);
    world.catalog.delete("t").unwrap();
    assert!(poll(&mut consumer).is_empty());
    assert!(consumer.assignment().is_empty());
    consumer.commit_sync().unwrap();
    world.catalog.create("t", TopicConfig::default().partitions(2)).unwrap();
    world.append(0, &["b"]);
    assert_eq!(poll(&mut consumer), ["b"]);
    assert_eq!(consumer.assignment().len(), 2);
}

#[test]
fn an_assigned_partition_of_a_deleted_topic_is_closed() {
    let world = World::new(1);
    world.catalog.create("u", TopicConfig::default()).unwrap();
    let mut consumer = world.builder().build().unwrap();
    consumer.assign([partition("t", 0), partition("u", 0)]).unwrap();
    poll(&mut consumer);
    world.catalog.delete("t").unwrap();
    for _ in 0..2 {
        assert_eq!(consumer.poll(Duration::from_secs(60)).unwrap_err().kind(), ErrorKind::Closed);
    }
    append(&world.catalog, "u", 0, &["x"]);
    let mut found = Vec::new();
    for _ in 0..2 {
        found.extend(consumer.poll(Duration::ZERO).map(|r| values(&r)).unwrap_or_default());
    }
    assert_eq!(found, ["x"]);
    consumer.commit_sync().unwrap();
    consumer.assign([partition("u", 0)]).unwrap();
    assert!(poll(&mut consumer).is_empty());
}

#[test]
fn subscribing_and_assigning_exclude_each_other_and_names_must_exist() {
    let world = World::new(1);
    let mut consumer = world.builder().build().unwrap();
    assert_eq!(consumer.subscribe(["nope"]).unwrap_err().kind(), ErrorKind::UnknownTopic);
    assert_eq!(consumer.assign([partition("t", 1)]).unwrap_err().kind(), ErrorKind::UnknownPartition);
    consumer.subscribe(["t"]).unwrap();
    assert_eq!(consumer.subscription(), ["t"]);
    assert_eq!(consumer.assign([partition("t", 0)]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    consumer.unsubscribe().unwrap();
    consumer.assign([partition("t", 0)]).unwrap();
    assert_eq!(consumer.subscribe(["t"]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let elsewhere = partition("u", 0);
    assert_eq!(consumer.seek(&elsewhere, 0).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(consumer.position(&elsewhere).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_position_is_kept_while_its_partition_stays_assigned() {
    let world = World::new(2);
    world.append(0, &["a", "b"]);
    let mut consumer = world.builder().max_poll_records(1).build().unwrap();
    consumer.assign([partition("t", 0)]).unwrap();
    assert_eq!(poll(&mut consumer), ["a"]);
    consumer.assign([partition("t", 1), partition("t", 0)]).unwrap();
    assert_eq!(poll(&mut consumer), ["b"]);
}

#[test]
fn a_dropped_consumer_is_no_longer_woken() {
    let world = World::new(1);
    let consumer = world.consumer(|b| b);
    let signal = Arc::clone(&consumer.signal);
    drop(consumer);
    assert_eq!(Arc::strong_count(&signal), 1, "no list holds it");
    let mut consumer = world.consumer(|b| b);
    consumer.pause(&[partition("t", 0)]).unwrap();
    consumer.pause(&[partition("t", 0)]).unwrap();
    let before = consumer.signal.epoch();
    world.append(0, &["a"]);
    assert_eq!(consumer.signal.epoch(), before, "nor is one that has paused");
}

#[test]
fn a_paused_partition_returns_nothing_until_it_is_resumed() {
    let world = World::new(2);
    let mut consumer = world.consumer(|b| b);
    consumer.pause(&[partition("t", 0)]).unwrap();
    assert_eq!(consumer.paused(), [partition("t", 0)]);
    world.append(0, &["a"]);
    world.append(1, &["b"]);
    assert_eq!(poll(&mut consumer), ["b"]);
    assert!(poll(&mut consumer).is_empty());
    consumer.resume(&[partition("t", 0)]).unwrap();
    assert_eq!(poll(&mut consumer), ["a"]);
    assert!(consumer.pause(&[partition("t", 0), partition("x", 0)]).is_err());
    assert!(consumer.paused().is_empty(), "none of them");
}

#[test]
fn a_seek_moves_to_the_offset_that_it_names() {
    let world = World::new(2);
    let log = world.partition();
    let at = |value: &'static str, millis| RecordData::new(value).timestamp(Timestamp::from_millis(millis));
    log.append(&[at("a", 100), at("b", 200), at("c", 300)]).unwrap();
    let zero = partition("t", 0);
    let only = std::slice::from_ref(&zero);
    let mut consumer = world.consumer(|b| b);
    consumer.seek_to_end(&[]).unwrap();
    assert!(poll(&mut consumer).is_empty());
    assert_eq!(consumer.current_lag(&zero).unwrap(), 0);
    assert_eq!(consumer.current_lag_time(&zero).unwrap(), None);
    consumer.seek_to_beginning(only).unwrap();
    assert_eq!(consumer.current_lag(&zero).unwrap(), 3);
    assert_eq!(poll(&mut consumer), ["a", "b", "c"]);
    consumer.seek_to_timestamp(&[], Timestamp::from_millis(150)).unwrap();
    let lag = consumer.current_lag_time(&zero).unwrap().unwrap();
    assert!(lag > Duration::from_secs(1_000_000_000), "{lag:?} since 1970");
    assert_eq!(poll(&mut consumer), ["b", "c"]);
    consumer.seek_to_timestamp(&[], Timestamp::from_millis(301)).unwrap();
    assert!(poll(&mut consumer).is_empty());
    let times = [(zero.clone(), Timestamp::from_millis(201)), (partition("t", 1), Timestamp::from_millis(0))];
    let found = consumer.offsets_for_times(times).unwrap();
    assert_eq!(found[&zero].unwrap().offset, 2);
    assert_eq!(found[&partition("t", 1)], None);
    assert_eq!(consumer.beginning_offsets(only).unwrap()[&zero], 0);
    assert_eq!(consumer.end_offsets(only).unwrap()[&zero], 3);
}

#[test]
fn a_commit_covers_what_was_returned_and_writes_only_what_changed() {
    let world = World::new(2);
    world.append(0, &["a", "b", "c"]);
    let mut consumer = world.consumer(|b| b.max_poll_records(2));
    poll(&mut consumer);
    consumer.commit_sync().unwrap();
    assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(2));
    assert_eq!(world.coordinator.offset(&partition("t", 1)), Some(0), "where it began");
    consumer.commit_sync().unwrap();
    assert_eq!(*world.coordinator.commits.lock(), 1);
    consumer.commit_offsets([(partition("t", 0), Offset::new(1))]).unwrap();
    assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(1));
    let records = consumer.poll(Duration::ZERO).unwrap();
    consumer.commit_record(&records.iter().next().unwrap()).unwrap();
    assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(3));
}

#[test]
fn a_position_beyond_the_end_is_refused_by_a_commit_and_not_left_out() {
    let world = World::new(2);
    world.append(0, &["a", "b"]);
    let (zero, one) = (partition("t", 0), partition("t", 1));
    let mut consumer = world.consumer(|b| b);
    poll(&mut consumer);
    consumer.seek(&one, 5).unwrap();
    for _ in 0..2 {
        let refused = consumer.commit_sync().unwrap_err();
        assert!(
            matches!(&refused, Error::OffsetOutOfRange { partition, requested, latest, .. }
                if *partition == one && *requested == 5 && *latest == 0),
            "{refused:?}"
        );
        assert_eq!(world.coordinator.offset(&zero), None, "nothing of it was committed");
    }
    let reset = consumer.poll(Duration::ZERO).unwrap().resets()[0].clone();
    assert_eq!((reset.from, reset.reason), (Offset::new(5), ResetReason::OutOfRange));
    consumer.commit_sync().unwrap();
    assert_eq!((world.coordinator.offset(&zero), world.coordinator.offset(&one)), (Some(2), Some(0)));
}

#[test]
fn an_automatic_commit_leaves_a_position_beyond_the_end_to_the_poll_and_a_close_reports_it() {
    let world = World::new(2);
    world.append(0, &["a"]);
    let mut consumer = world.consumer(|b| b.auto_commit(Duration::from_nanos(1)));
    poll(&mut consumer);
    consumer.seek(&partition("t", 1), 5).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.resets()[0].reason, ResetReason::OutOfRange);
    world.append(0, &["b"]);
    poll(&mut consumer);
    consumer.seek(&partition("t", 1), 5).unwrap();
    assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
    assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(2), "the others were committed");
}

#[test]
fn nothing_is_committed_unless_the_program_or_auto_commit_does_it() {
    let world = World::new(1);
    world.append(0, &["a"]);
    let mut consumer = world.consumer(|b| b);
    poll(&mut consumer);
    consumer.close().unwrap();
    assert_eq!(world.coordinator.offset(&partition("t", 0)), None);
    let mut consumer = world.consumer(|b| b.auto_commit(Duration::from_millis(20)));
    poll(&mut consumer);
    assert_eq!(world.coordinator.offset(&partition("t", 0)), None, "not before the next poll");
    consumer.poll(Duration::from_millis(60)).unwrap();
    assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(1), "a poll that waits does it too");
    world.append(0, &["b"]);
    poll(&mut consumer);
    consumer.close().unwrap();
    assert_eq!(world.coordinator.offset(&partition("t", 0)), Some(2));
}

#[test]
fn a_read_only_handle_follows_the_writer_and_commits_nothing() {
    let world = World::new(1);
    world.append(0, &["a"]);
    let coordinator = Arc::clone(&world.coordinator) as Arc<dyn Coordinator>;
    let observing = open_as(&world.env, true);
    let mut consumer = ConsumerBuilder::new(observing, coordinator, Some("g".into())).build().unwrap();
    consumer.subscribe(["t"]).unwrap();
    assert_eq!(poll(&mut consumer), ["a"]);
    assert_eq!(consumer.commit_sync().unwrap_err().kind(), ErrorKind::ReadOnly);
    thread::scope(|scope| {
        let waiting = scope.spawn(move || values(&consumer.poll(Duration::from_secs(60)).unwrap()));
        thread::sleep(Duration::from_millis(30));
        world.append(0, &["b"]);
        assert_eq!(waiting.join().unwrap(), ["b"]);
    });
}
