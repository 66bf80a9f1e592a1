//! A commit is the group's state, no matter what changed that in between; if the group has it already, nothing is
//! written.

use super::*;
use crate::consumer::ConsumerRecords;
use std::thread;

/// How many values and tombstones were ever written.
fn written(catalog: &Catalog) -> u64 {
    let topic = catalog.topic(OFFSETS_TOPIC).unwrap();
    topic.log(0).unwrap().offsets().log_end().value()
}

/// A store, and a consumer of group `g` that has polled and committed all of topic `u`.
fn at_the_end(set: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder) -> (Arc<OffsetStore>, Consumer) {
    let catalog = open(&filled());
    let store = OffsetStore::new(Arc::clone(&catalog));
    let coordinator = Arc::clone(&store) as Arc<dyn Coordinator>;
    let builder = ConsumerBuilder::new(catalog, coordinator, Some("g".into()));
    let mut consumer = set(builder).build().unwrap();
    consumer.subscribe(["u"]).unwrap();
    assert_eq!(poll(&mut consumer), ["a", "b", "c"]);
    consumer.commit_sync().unwrap();
    (store, consumer)
}

/// What others do to the offsets of group `g` while a consumer of it runs.
fn meddle(store: &OffsetStore, how: usize) {
    match how {
        0 => commit(store, "g", "u", 0, 1).unwrap(),
        1 => drop(store.reset_group_offsets("g", &GroupReset::to(ResetTo::Earliest)).unwrap()),
        2 => store.delete_group("g").unwrap(),
        3 => store.forget_topic("u").unwrap(),
        _ => {
            let log = store.catalog.log(&partition("u", 0)).unwrap();
            let noted = OffsetCommit { log, offset: Offset::new(3), metadata: "another's".into() };
            store.commit("g", &[noted]).unwrap();
        }
    }
}

const WAYS: usize = 5;

fn group_has(store: &OffsetStore) -> (u64, String) {
    let found = store.committed("g", &[partition("u", 0)]).unwrap().remove(0).unwrap().value;
    (found.offset.value(), found.metadata)
}

#[test]
fn commit_sync_holds_whatever_others_committed_before() {
    for how in 0..WAYS {
        let (store, mut consumer) = at_the_end(|b| b);
        meddle(&store, how);
        consumer.commit_sync().unwrap();
        assert_eq!(group_has(&store), (3, String::new()), "way {how}");
        assert_eq!(poll(&mut consumer), [""; 0], "its place is its own");
    }
}

#[test]
fn automatic_commits_hold_whatever_others_committed_before() {
    for how in 0..WAYS {
        let (store, mut consumer) = at_the_end(|b| b.auto_commit(Duration::from_nanos(1)));
        meddle(&store, how);
        assert_eq!(poll(&mut consumer), [""; 0]);
        assert_eq!(group_has(&store), (3, String::new()), "by a poll, way {how}");
        meddle(&store, how);
        consumer.close().unwrap();
        assert_eq!(group_has(&store), (3, String::new()), "by a close, way {how}");
    }
}

#[test]
fn an_automatic_commit_of_a_poll_that_sleeps_holds_too() {
    let (store, mut consumer) = at_the_end(|b| b.auto_commit(Duration::from_millis(1)));
    let waker = consumer.wakeup_handle();
    thread::scope(|scope| {
        scope.spawn(move || consumer.poll(Duration::MAX).unwrap_err());
        for how in 0..WAYS {
            meddle(&store, how);
            while store.committed("g", &[partition("u", 0)]).unwrap()[0].is_none()
                || group_has(&store) != (3, String::new())
            {
                thread::sleep(Duration::from_millis(1));
            }
        }
        waker.wakeup();
    });
}

#[test]
fn a_commit_of_a_record_or_of_offsets_holds_whatever_others_committed_before() {
    for how in 0..WAYS {
        let (store, mut consumer) = at_the_end(|b| b);
        consumer.seek_to_beginning(&[]).unwrap();
        let records: ConsumerRecords = consumer.poll(Duration::ZERO).unwrap();
        meddle(&store, how);
        consumer.commit_record(&records.iter().last().unwrap()).unwrap();
        assert_eq!(group_has(&store), (3, String::new()), "way {how}");
        meddle(&store, how);
        consumer.commit_offsets([(partition("u", 0), Offset::new(3))]).unwrap();
        assert_eq!(group_has(&store), (3, String::new()), "way {how}");
    }
}

/// A consumer of group `g` that commits by itself, and has polled all of topics `t` and `u`, subscribed or assigned.
fn of_both(is_subscribed: bool) -> (Arc<OffsetStore>, Consumer) {
    let catalog = open(&filled());
    let store = OffsetStore::new(Arc::clone(&catalog));
    let coordinator = Arc::clone(&store) as Arc<dyn Coordinator>;
    let builder = ConsumerBuilder::new(catalog, coordinator, Some("g".into()));
    let mut consumer = builder.auto_commit(Duration::from_secs(3600)).build().unwrap();
    match is_subscribed {
        true => consumer.subscribe(["t", "u"]).unwrap(),
        false => consumer.assign([partition("t", 0), partition("t", 1), partition("u", 0)]).unwrap(),
    }
    assert_eq!(poll(&mut consumer).len(), 9);
    (store, consumer)
}

#[test]
fn a_deleted_topic_does_not_keep_others_from_being_committed() {
    for is_subscribed in [true, false] {
        for closes in [true, false] {
            let (store, mut consumer) = of_both(is_subscribed);
            store.catalog.delete("u").unwrap();
            match closes {
                true => consumer.close().unwrap(),
                false => consumer.commit_sync().unwrap(),
            }
            assert_eq!((committed(&store, "g", "t", 0), committed(&store, "g", "t", 1)), (Some(3), Some(3)));
        }
    }
}

#[test]
fn a_seek_beyond_an_end_is_an_error_of_the_close_that_commits_the_rest() {
    let (store, mut consumer) = of_both(true);
    consumer.seek(&partition("u", 0), Offset::new(4)).unwrap();
    assert_eq!(consumer.commit_sync().unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
    assert_eq!(committed(&store, "g", "t", 0), None, "nothing of it");
    assert_eq!(consumer.close().unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
    assert_eq!((committed(&store, "g", "t", 0), committed(&store, "g", "u", 0)), (Some(3), None));
    // The end itself is a place to resume from.
    let (store, mut consumer) = of_both(true);
    consumer.seek(&partition("u", 0), Offset::new(3)).unwrap();
    consumer.commit_sync().unwrap();
    assert_eq!(committed(&store, "g", "u", 0), Some(3));
}

#[test]
fn what_the_group_has_already_is_not_written_again() {
    let (store, mut consumer) = at_the_end(|b| b.auto_commit(Duration::from_nanos(1)));
    let catalog = &store.catalog;
    let before = written(catalog);
    consumer.commit_sync().unwrap();
    poll(&mut consumer);
    consumer.commit_offsets([(partition("u", 0), Offset::new(3))]).unwrap();
    commit(&store, "g", "u", 0, 3).unwrap();
    consumer.close().unwrap();
    assert_eq!(written(catalog), before);
    // Of several partitions only those are written that changed.
    let three = [("t", 0, 1), ("t", 1, 1), ("u", 0, 3)];
    let mut other = super::consumer(catalog, &store, "g");
    other
        .commit_offsets(three.map(|(topic, number, at)| (partition(topic, number), Offset::new(at))))
        .unwrap();
    assert_eq!(written(catalog), before + 2);
    // And after a reopening there is nothing to write either.
    let again = OffsetStore::new(Arc::clone(catalog));
    commit(&again, "g", "u", 0, 3).unwrap();
    assert_eq!(written(catalog), before + 2);
}

#[test]
fn of_several_offsets_for_one_partition_the_last_holds_even_if_the_group_has_it() {
    let (store, mut consumer) = at_the_end(|b| b);
    for (first, last) in [(1, 3), (3, 1), (2, 2)] {
        let both = [(partition("u", 0), Offset::new(first)), (partition("u", 0), Offset::new(last))];
        consumer.commit_offsets(both).unwrap();
        assert_eq!(group_has(&store).0, last);
    }
}

#[test]
fn an_offset_in_a_topic_created_again_is_committed_even_if_the_number_was_before() {
    let (store, mut consumer) = at_the_end(|b| b);
    // As a crash between the two steps of a deletion leaves it: what was committed is not forgotten yet.
    store.catalog.delete("u").unwrap();
    store.catalog.create("u", TopicConfig::default()).unwrap();
    append(&store.catalog, "u", 0, &["new", "newer", "newest"]);
    assert_eq!(poll(&mut consumer), ["new", "newer", "newest"]);
    consumer.commit_sync().unwrap();
    let described = store.describe_group("g").unwrap();
    assert_eq!(described.committed[0].1.lag, Some(0), "of the topic that is there");
    let mut next = super::consumer(&store.catalog, &store, "g");
    next.subscribe(["u"]).unwrap();
    assert_eq!(poll(&mut next), [""; 0]);
}

#[test]
fn two_consumers_that_commit_in_turn_each_have_the_last_word() {
    let (store, mut first) = at_the_end(|b| b);
    let mut second = super::consumer(&store.catalog, &store, "g");
    second.subscribe(["u"]).unwrap();
    second.seek(&partition("u", 0), 2).unwrap();
    for _ in 0..3 {
        second.commit_sync().unwrap();
        assert_eq!(group_has(&store).0, 2);
        first.commit_sync().unwrap();
        assert_eq!(group_has(&store).0, 3);
    }
}
