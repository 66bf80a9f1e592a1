//! The latest is the end at the time of the subscription. Records that come after it are read, wherever they come.

use super::*;
use crate::{
    partition::{
        tests::{end, transactional},
        write::log_start::advance_log_start,
    },
    types::IsolationLevel,
};

const MINUTE: AutoOffsetReset = AutoOffsetReset::ByDuration(Duration::from_secs(60));

/// The policies that leave out what was there already, in a world whose records are older than a minute.
const BOTH: [AutoOffsetReset; 2] = [AutoOffsetReset::Latest, MINUTE];

/// Topic `t` of two partitions, with an old record in the first of them.
fn aged() -> World {
    let world = World::new(2);
    let log = world.partition();
    log.append(&[old(&world, "old")]).unwrap();
    world
}

fn old<'a>(world: &World, value: &'a str) -> RecordData<'a> {
    RecordData::new(value).timestamp(world.env.now().minus(Duration::from_secs(3600)))
}

fn append_old(world: &World, topic: &str, number: u32, value: &str) {
    world.catalog.topic(topic).unwrap().partition(number).unwrap().append(&[old(world, value)]).unwrap();
}

fn consumer(world: &World, policy: AutoOffsetReset) -> Consumer {
    world.builder().auto_offset_reset(policy).build().unwrap()
}

#[test]
fn records_between_the_subscription_and_the_first_poll_are_read() {
    for policy in BOTH {
        let world = aged();
        let mut subscribed = consumer(&world, policy);
        subscribed.subscribe(["t"]).unwrap();
        let mut assigned = consumer(&world, policy);
        assigned.assign([partition("t", 0), partition("t", 1)]).unwrap();
        append_old(&world, "t", 0, "since");
        append_old(&world, "t", 1, "too");
        for mut consumer in [subscribed, assigned] {
            assert_eq!(consumer.current_lag(&partition("t", 0)).unwrap(), 1);
            let records = consumer.poll(Duration::ZERO).unwrap();
            assert_eq!((values(&records).len(), records.resets().len()), (2, 0), "{policy:?}");
            assert!(values(&records).iter().all(|value| value != "old"));
        }
    }
}

#[test]
fn a_consumer_without_a_group_reads_from_its_subscription_on() {
    let world = aged();
    let coordinator = Arc::clone(&world.coordinator) as Arc<dyn Coordinator>;
    let builder = ConsumerBuilder::new(Arc::clone(&world.catalog), coordinator, None);
    let mut consumer = builder.auto_offset_reset(AutoOffsetReset::Latest).build().unwrap();
    consumer.subscribe(["t"]).unwrap();
    world.append(0, &["since"]);
    assert_eq!(poll(&mut consumer), ["since"]);
}

#[test]
fn a_paused_partition_begins_at_the_subscription_and_not_where_it_is_resumed() {
    let world = aged();
    let mut consumer = consumer(&world, AutoOffsetReset::Latest);
    consumer.subscribe(["t"]).unwrap();
    consumer.pause(&[partition("t", 0)]).unwrap();
    world.append(0, &["since"]);
    assert_eq!(poll(&mut consumer), [""; 0]);
    consumer.resume(&[partition("t", 0)]).unwrap();
    assert_eq!(poll(&mut consumer), ["since"]);
}

#[test]
fn a_partition_that_is_added_is_read_from_its_beginning() {
    for policy in BOTH {
        for subscribes_again in [false, true] {
            let world = aged();
            let mut consumer = consumer(&world, policy);
            consumer.subscribe(["t"]).unwrap();
            let _ = world.catalog.add_partitions("t", 3).unwrap();
            append_old(&world, "t", 2, "of the third");
            if subscribes_again {
                consumer.subscribe(["t"]).unwrap();
            }
            assert_eq!(poll(&mut consumer), ["of the third"], "{policy:?}");
        }
    }
}

#[test]
fn a_topic_that_is_created_again_is_read_from_its_beginning() {
    for policy in BOTH {
        for subscribes_again in [false, true] {
            let world = aged();
            let mut consumer = consumer(&world, policy);
            consumer.subscribe(["t"]).unwrap();
            if subscribes_again {
                assert_eq!(poll(&mut consumer), [""; 0]);
            }
            world.catalog.delete("t").unwrap();
            world.catalog.create("t", TopicConfig::default()).unwrap();
            append_old(&world, "t", 0, "new");
            if subscribes_again {
                consumer.subscribe(["t"]).unwrap();
            }
            assert_eq!(poll(&mut consumer), ["new"], "{policy:?}");
        }
    }
}

#[test]
fn a_commit_for_the_deleted_topic_hides_nothing_of_the_new_one() {
    let world = aged();
    let mut consumer = consumer(&world, AutoOffsetReset::Latest);
    consumer.subscribe(["t"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    consumer.commit_sync().unwrap();
    world.catalog.delete("t").unwrap();
    world.catalog.create("t", TopicConfig::default()).unwrap();
    world.append(0, &["new", "newer"]);
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.resets()[0].reason, ResetReason::TopicRecreated);
    assert_eq!(values(&records), ["new", "newer"]);
}

#[test]
fn a_topic_created_again_and_assigned_again_is_read_from_its_beginning() {
    let world = aged();
    let mut consumer = consumer(&world, AutoOffsetReset::Latest);
    consumer.assign([partition("t", 0)]).unwrap();
    world.catalog.delete("t").unwrap();
    assert!(consumer.poll(Duration::ZERO).is_err());
    world.catalog.create("t", TopicConfig::default()).unwrap();
    world.append(0, &["new"]);
    consumer.assign([partition("t", 0)]).unwrap();
    assert_eq!(poll(&mut consumer), ["new"]);
}

#[test]
fn a_later_subscription_is_a_later_now_but_not_where_the_partition_stays() {
    let world = aged();
    world.catalog.create("u", TopicConfig::default()).unwrap();
    let mut consumer = consumer(&world, AutoOffsetReset::Latest);
    consumer.subscribe(["t"]).unwrap();
    world.append(0, &["since"]);
    append(&world.catalog, "u", 0, &["before"]);
    consumer.subscribe(["t", "u"]).unwrap();
    append(&world.catalog, "u", 0, &["after"]);
    assert_eq!(poll(&mut consumer), ["since", "after"]);
    consumer.unsubscribe().unwrap();
    world.append(0, &["unseen"]);
    consumer.subscribe(["t"]).unwrap();
    world.append(0, &["seen"]);
    assert_eq!(poll(&mut consumer), ["seen"]);
}

#[test]
fn a_committed_offset_holds_even_if_it_was_committed_after_the_subscription() {
    let world = aged();
    let mut consumer = consumer(&world, AutoOffsetReset::Latest);
    consumer.subscribe(["t"]).unwrap();
    world.append(0, &["since"]);
    world.coordinator.set(&partition("t", 0), 0, &world.log(0));
    assert_eq!(poll(&mut consumer), ["old", "since"]);
}

#[test]
fn records_not_durable_at_the_subscription_come_after_it() {
    let world = aged();
    let log = world.log(0);
    let mut batch =
        log.encode(&[RecordData::new("on its way")], Default::default(), Timestamp::NONE).unwrap();
    let appended = log.append(&mut batch).unwrap();
    let mut consumer = consumer(&world, AutoOffsetReset::Latest);
    consumer.subscribe(["t"]).unwrap();
    log.acknowledge(appended.next_offset, true).unwrap();
    assert_eq!(poll(&mut consumer), ["on its way"]);
}

#[test]
fn records_not_decided_at_the_subscription_come_after_it_to_read_committed() {
    let world = aged();
    let log = world.log(0);
    transactional(&log, 1, 0, "undecided");
    let builder = world.builder().auto_offset_reset(AutoOffsetReset::Latest);
    let mut consumer = builder.isolation_level(IsolationLevel::ReadCommitted).build().unwrap();
    consumer.subscribe(["t"]).unwrap();
    end(&log, 1, true);
    assert_eq!(poll(&mut consumer), ["undecided"]);
}

#[test]
fn records_that_were_removed_between_subscription_and_first_poll_are_reported() {
    for policy in BOTH {
        let world = aged();
        let mut consumer = consumer(&world, policy);
        consumer.subscribe(["t"]).unwrap();
        (0..3).for_each(|i| append_old(&world, "t", 0, ["lost", "lost too", "left"][i]));
        advance_log_start(&world.log(0), Offset::new(3)).unwrap();
        let records = consumer.poll(Duration::ZERO).unwrap();
        let reset = &records.resets()[0];
        assert_eq!((reset.from, reset.to), (Offset::new(1), Offset::new(3)), "{policy:?}");
        assert_eq!(reset.reason, ResetReason::OutOfRange);
        assert_eq!(values(&records), ["left"], "{policy:?}");
    }
}

#[test]
fn a_committed_offset_that_is_removed_goes_to_the_subscriptions_end_and_is_reported() {
    let world = aged();
    world.append(0, &["b", "c"]);
    world.coordinator.set(&partition("t", 0), 0, &world.log(0));
    advance_log_start(&world.log(0), Offset::new(2)).unwrap();
    let mut consumer = consumer(&world, AutoOffsetReset::Latest);
    consumer.subscribe(["t"]).unwrap();
    world.append(0, &["since"]);
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!((records.resets()[0].from, records.resets()[0].to), (Offset::ZERO, Offset::new(3)));
    assert_eq!(values(&records), ["since"]);
}

#[test]
fn a_position_that_is_removed_later_goes_to_the_end_of_then_and_is_reported() {
    let world = aged();
    let mut consumer = consumer(&world, AutoOffsetReset::Latest);
    consumer.subscribe(["t"]).unwrap();
    assert_eq!(poll(&mut consumer), [""; 0]);
    world.append(0, &["b", "c", "d"]);
    advance_log_start(&world.log(0), Offset::new(2)).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!((records.resets()[0].from, records.resets()[0].to), (Offset::new(1), Offset::new(4)));
    assert!(records.is_empty());
}

#[test]
fn a_read_only_handle_reads_what_its_writer_did_since_the_subscription() {
    let world = aged();
    let coordinator = Arc::clone(&world.coordinator) as Arc<dyn Coordinator>;
    let observing = open_as(&world.env, true);
    world.append(0, &["between the opening and the subscription"]);
    let builder = ConsumerBuilder::new(observing, coordinator, Some("g".into()));
    let mut consumer = builder.auto_offset_reset(AutoOffsetReset::Latest).build().unwrap();
    consumer.subscribe(["t"]).unwrap();
    world.append(0, &["since"]);
    let _ = world.catalog.add_partitions("t", 3).unwrap();
    world.append(2, &["of the third"]);
    let mut found = Vec::new();
    while found.len() < 2 {
        found.extend(values(&consumer.poll(Duration::from_secs(60)).unwrap()));
    }
    found.sort();
    assert_eq!(found, ["of the third", "since"]);
}
