//! Groups over real logs in memory: what was committed is there after any reopening, and nothing else.

mod commits;
mod hidden;
mod transactions;
mod upkeep;

use super::{
    OFFSETS_TOPIC, OffsetStore,
    admin::{GroupReset, ResetTo},
    record::OffsetRecord,
    state::GroupOffsets,
};
use crate::{
    codec::batch::BatchHeader,
    codec::coordinator::committed::{CommittedEntry, Life},
    codec::coordinator::{CoordinatorKey, OffsetKey, OffsetValue, decode_key, decode_offset_value},
    consumer::{
        AutoOffsetReset, Consumer, ConsumerBuilder, OffsetAndMetadata,
        coordinator::{Coordinator, OffsetCommit},
        tests::{append, open, open_as, partition, poll},
    },
    env::memory::MemoryEnv,
    error::{Error, ErrorKind},
    partition::write::log_start::advance_log_start,
    table::{CompactionThresholds, State},
    topic::{catalog::Catalog, config::TopicConfig},
    types::{Durability, IsolationLevel, Offset, Timestamp},
};
use std::{sync::Arc, time::Duration};

/// Topics `t` (2 partitions) and `u`, with three records in each partition.
fn filled() -> Arc<MemoryEnv> {
    let env = MemoryEnv::new();
    let catalog = open(&env);
    catalog.create("t", TopicConfig::default().partitions(2)).unwrap();
    catalog.create("u", TopicConfig::default()).unwrap();
    for (topic, number) in [("t", 0), ("t", 1), ("u", 0)] {
        append(&catalog, topic, number, &["a", "b", "c"]);
    }
    env
}

fn consumer(catalog: &Arc<Catalog>, store: &Arc<OffsetStore>, group: &str) -> Consumer {
    let coordinator = Arc::clone(store) as Arc<dyn Coordinator>;
    ConsumerBuilder::new(Arc::clone(catalog), coordinator, Some(group.into())).build().unwrap()
}

fn commit(store: &OffsetStore, group: &str, topic: &str, number: u32, offset: u64) -> Result<(), Error> {
    let log = store.catalog.log(&partition(topic, number))?;
    store.commit(group, &[OffsetCommit { log, offset: Offset::new(offset), metadata: String::new() }])
}

fn committed(store: &OffsetStore, group: &str, topic: &str, number: u32) -> Option<u64> {
    let found = store.committed(group, &[partition(topic, number)]).unwrap().remove(0);
    found.map(|committed| committed.value.offset.value())
}

#[test]
fn a_group_continues_where_it_committed_after_a_reopening() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    let mut first = consumer(&catalog, &store, "g");
    first.subscribe(["u"]).unwrap();
    assert_eq!(poll(&mut first), ["a", "b", "c"]);
    first.commit_sync().unwrap();
    append(&catalog, "u", 0, &["d"]);
    // Opened again without a close, as after a crash.
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    let mut second = consumer(&catalog, &store, "g");
    second.subscribe(["u"]).unwrap();
    let records = second.poll(Duration::ZERO).unwrap();
    assert!(records.resets().is_empty());
    assert_eq!(crate::consumer::tests::values(&records), ["d"]);
    let mut other = consumer(&catalog, &store, "h");
    other.subscribe(["u"]).unwrap();
    assert_eq!(poll(&mut other).len(), 4, "another group has its own place");
}

#[test]
fn a_commit_is_kafkas_records_in_one_batch() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    let mut consumer = consumer(&catalog, &store, "g");
    let noted = OffsetAndMetadata { offset: Offset::new(2), metadata: "noted".into() };
    consumer
        .commit_offsets([(partition("t", 0), noted), (partition("t", 1), Offset::new(1).into())])
        .unwrap();
    let topic = catalog.topic(OFFSETS_TOPIC).unwrap();
    assert!(topic.is_internal());
    assert_eq!(topic.config().values().durability, Durability::Flushed);
    let log = topic.partition(0).unwrap();
    assert_eq!((log.high_watermark(), topic.partition_count()), (Offset::new(2), 1));
    let batches: Vec<_> = log.read(0).map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    let record = batches[0].iter().next().unwrap();
    let key = OffsetKey { group: "g".into(), topic: "t".into(), partition: 0 };
    assert_eq!(decode_key(record.key.unwrap()), Ok(CoordinatorKey::OffsetCommit(key)));
    assert_eq!(record.value.unwrap()[..2], [0, 3], "version 3");
    let value = decode_offset_value(record.value.unwrap()).unwrap();
    assert_eq!((value.offset, &*value.metadata), (2, "noted"));
    assert!(value.commit_timestamp > Timestamp::from_millis(0));
    let names: Vec<&str> = record.headers.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["streamlog.incarnation", "streamlog.topic.id"]);
    let raw = crate::storage::sidecar::read_file(
        &*catalog.data_dir().env,
        &log.log().identity.dir.join("00000000000000000000.log"),
        u64::MAX,
    );
    let header = BatchHeader::parse(&raw.unwrap().unwrap()).unwrap();
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (-1, -1, 0));
    let found = &consumer.committed(&[partition("t", 0)]).unwrap()[&partition("t", 0)];
    let found = found.as_ref().unwrap();
    assert_eq!((found.offset, &*found.metadata, found.lag), (Offset::new(2), "noted", Some(1)));
}

#[test]
fn a_name_that_no_commit_can_have_is_damage() {
    for (group, topic) in [("", "t"), ("g", ""), ("g", "../t"), ("g", "a/b"), ("g", "..")] {
        let env = filled();
        let catalog = open(&env);
        let store = OffsetStore::new(Arc::clone(&catalog));
        commit(&store, "before", "t", 0, 1).unwrap();
        let key = OffsetKey { group: group.into(), topic: topic.into(), partition: 0 };
        let metadata = String::new();
        let value = OffsetValue {
            offset: 1,
            leader_epoch: -1,
            metadata,
            commit_timestamp: Timestamp::from_millis(0),
        };
        let committed = CommittedEntry { key: key.clone(), value, life: Life::default() };
        for line in [OffsetRecord::Tombstone(key), OffsetRecord::Value(committed)] {
            store.write_many(vec![line]).unwrap();
            let error = catalog.topic(OFFSETS_TOPIC).unwrap().log(0).unwrap().damage().unwrap();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{group:?} {topic:?}: {error}");
            assert!(error.to_string().contains("at offset 1"), "{error}");
            assert_eq!(store.groups().unwrap(), ["before"]);
        }
    }
}

#[test]
fn a_commit_makes_the_data_it_covers_durable() {
    let env = filled();
    let catalog = open(&env);
    catalog.create("w", TopicConfig::default().durability(Durability::Written)).unwrap();
    append(&catalog, "w", 0, &["a", "b"]);
    let log = catalog.log(&partition("w", 0)).unwrap();
    assert!(log.is_dirty());
    let store = OffsetStore::new(Arc::clone(&catalog));
    commit(&store, "g", "w", 0, 2).unwrap();
    assert!(!log.is_dirty());
}

#[test]
fn an_invalid_commit_is_refused_and_nothing_of_it_stays() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    let mut consumer = consumer(&catalog, &store, "g");
    let kind = |result: Result<(), Error>| result.unwrap_err().kind();
    let both = [(partition("t", 0), Offset::new(1)), (partition("t", 1), Offset::new(4))];
    assert_eq!(kind(consumer.commit_offsets(both)), ErrorKind::OffsetOutOfRange);
    let note = |len| OffsetAndMetadata { offset: Offset::ZERO, metadata: "x".repeat(len) };
    assert_eq!(kind(consumer.commit_offsets([(partition("t", 0), note(4097))])), ErrorKind::InvalidArgument);
    assert_eq!(kind(consumer.commit_offsets([(partition("x", 0), Offset::ZERO)])), ErrorKind::UnknownTopic);
    assert_eq!(
        kind(consumer.commit_offsets([(partition("u", 7), Offset::ZERO)])),
        ErrorKind::UnknownPartition
    );
    assert_eq!(kind(commit(&store, "", "t", 0, 0)), ErrorKind::InvalidArgument);
    assert_eq!(kind(commit(&store, &"g".repeat(32768), "t", 0, 0)), ErrorKind::InvalidArgument);
    assert!(catalog.find(OFFSETS_TOPIC).is_none(), "not even the topic");
    assert_eq!(committed(&store, "g", "t", 0), None);
    consumer.commit_offsets([(partition("t", 0), note(4096))]).unwrap();
    assert_eq!(committed(&store, "g", "t", 0), Some(0));
}

#[test]
fn a_record_of_a_deleted_topic_cannot_be_committed_for_its_successor() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    let mut consumer = consumer(&catalog, &store, "g");
    consumer.subscribe(["u"]).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    consumer.commit_sync().unwrap();
    catalog.delete("u").unwrap();
    catalog.create("u", TopicConfig::default()).unwrap();
    append(&catalog, "u", 0, &["new", "newer", "newest"]);
    let last = records.iter().last().unwrap();
    assert_eq!(consumer.commit_record(&last).unwrap_err().kind(), ErrorKind::Closed);
    // The offset committed before does not hold in the new topic either.
    assert_eq!(poll(&mut consumer), ["new", "newer", "newest"]);
    assert_eq!(store.describe_group("g").unwrap().committed[0].1.lag, None);
}

#[test]
fn groups_are_described_moved_and_deleted() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    assert_eq!(store.groups().unwrap(), [""; 0]);
    assert_eq!(store.describe_group("g").unwrap().committed, []);
    assert_eq!(store.delete_group("g").unwrap_err().kind(), ErrorKind::UnknownGroup);
    commit(&store, "g", "t", 1, 1).unwrap();
    commit(&store, "g", "u", 0, 3).unwrap();
    commit(&store, "h", "u", 0, 2).unwrap();
    assert_eq!(store.groups().unwrap(), ["g", "h"]);
    let described = store.describe_group("g").unwrap();
    let offsets: Vec<_> =
        described.committed.iter().map(|(p, c)| (p.to_string(), c.offset.value(), c.lag)).collect();
    assert_eq!(offsets, [("t-1".into(), 1, Some(2)), ("u-0".into(), 3, Some(0))]);
    assert_eq!(described.lag(), 2);

    let moved = |what| {
        let moved = store.reset_group_offsets("g", &what).unwrap();
        moved.into_iter().map(|(p, o)| (p.to_string(), o.value())).collect::<Vec<_>>()
    };
    let pair = |a, b| vec![("t-1".to_string(), a), ("u-0".to_string(), b)];
    assert_eq!(moved(GroupReset::to(ResetTo::Earliest)), pair(0, 0));
    assert_eq!(moved(GroupReset::to(ResetTo::ShiftBy(2))), pair(2, 2));
    assert_eq!(moved(GroupReset::to(ResetTo::ShiftBy(-9))), pair(0, 0));
    assert_eq!(moved(GroupReset::to(ResetTo::Latest)), pair(3, 3));
    assert_eq!(moved(GroupReset::to(ResetTo::Offset(Offset::new(9)))), pair(3, 3));
    assert_eq!(moved(GroupReset::to(ResetTo::Timestamp(Timestamp::from_millis(0)))), pair(0, 0));
    let one = GroupReset::to(ResetTo::Offset(Offset::new(1))).topic("u").partition(partition("t", 0));
    assert_eq!(moved(one), [("t-0".to_string(), 1), ("u-0".to_string(), 1)]);
    assert_eq!(committed(&store, "g", "u", 0), Some(1));
    assert!(store.reset_group_offsets("new", &GroupReset::to(ResetTo::Latest)).is_err());
    store.reset_group_offsets("new", &GroupReset::to(ResetTo::Latest).topic("t")).unwrap();
    assert_eq!(committed(&store, "new", "t", 1), Some(3));

    store.delete_group("g").unwrap();
    assert_eq!(store.groups().unwrap(), ["h", "new"]);
    let again = OffsetStore::new(open(&env));
    assert_eq!(again.groups().unwrap(), ["h", "new"]);
    assert_eq!(committed(&again, "h", "u", 0), Some(2));
}

#[test]
fn a_group_is_described_before_its_first_commit_too() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    let lag = |name, topics: &[&str]| store.describe_group_on(name, topics).unwrap().lag();
    let described = store.describe_group_on("new", &["t", "u", "t"]).unwrap();
    assert_eq!((described.committed.len(), described.lag()), (0, 9), "all there is");
    let partitions: Vec<_> = described.uncommitted.iter().map(|(p, lag)| (p.to_string(), *lag)).collect();
    assert_eq!(partitions, [("t-0".into(), 3), ("t-1".into(), 3), ("u-0".into(), 3)]);
    assert_eq!((lag("new", &[]), store.describe_group("new").unwrap().lag()), (0, 0));
    assert_eq!(store.describe_group_on("new", &["x"]).unwrap_err().kind(), ErrorKind::UnknownTopic);
    // What it has committed counts from there, whether the topic is named or not.
    commit(&store, "g", "t", 1, 1).unwrap();
    assert_eq!((lag("g", &[]), lag("g", &["t"]), lag("g", &["u"])), (2, 5, 5));
    advance_log_start(&catalog.log(&partition("u", 0)).unwrap(), Offset::new(2)).unwrap();
    assert_eq!(lag("g", &["u"]), 3, "from the log start on");
    // An offset of a deleted topic does not hold in the topic that has its name now.
    catalog.delete("t").unwrap();
    catalog.create("t", TopicConfig::default()).unwrap();
    append(&catalog, "t", 0, &["new"]);
    assert_eq!(lag("g", &["t"]), 1);
    // A read-only handle gives the same answers.
    let observer = OffsetStore::new(open_as(&env, true));
    assert_eq!(observer.describe_group_on("new", &["u"]).unwrap().lag(), 1);
    let negative = GroupReset::to(ResetTo::Timestamp(Timestamp::NONE));
    assert_eq!(
        store.reset_group_offsets("g", &negative.topic("u")).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

#[test]
fn a_deleted_topic_is_forgotten_by_all_groups() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    store.forget_topic("t").unwrap();
    assert!(catalog.find(OFFSETS_TOPIC).is_none(), "nothing to forget");
    commit(&store, "g", "t", 0, 1).unwrap();
    commit(&store, "g", "u", 0, 1).unwrap();
    commit(&store, "h", "t", 1, 1).unwrap();
    catalog.delete("t").unwrap();
    store.forget_topic("t").unwrap();
    for store in [store, OffsetStore::new(open(&env))] {
        assert_eq!(store.groups().unwrap(), ["g"]);
        assert_eq!(committed(&store, "g", "t", 0), None);
        assert_eq!(committed(&store, "g", "u", 0), Some(1));
    }
}

#[test]
fn two_consumers_of_a_group_read_the_same_and_the_last_commit_holds() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    let (mut a, mut b) = (consumer(&catalog, &store, "g"), consumer(&catalog, &store, "g"));
    a.subscribe(["u"]).unwrap();
    b.subscribe(["u"]).unwrap();
    assert_eq!(poll(&mut a), poll(&mut b));
    a.commit_sync().unwrap();
    b.commit_offsets([(partition("u", 0), Offset::new(1))]).unwrap();
    assert_eq!(committed(&store, "g", "u", 0), Some(1));
}

#[test]
fn a_read_only_handle_sees_later_commits_and_commits_nothing() {
    let env = filled();
    let writer = OffsetStore::new(open(&env));
    let observing = open_as(&env, true);
    let observer = OffsetStore::new(Arc::clone(&observing));
    assert_eq!(committed(&observer, "g", "u", 0), None);
    for offset in 1..=3 {
        commit(&writer, "g", "u", 0, offset).unwrap();
        assert_eq!(committed(&observer, "g", "u", 0), Some(offset));
    }
    assert_eq!(commit(&observer, "g", "u", 0, 1).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(observer.delete_group("g").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(observer.forget_topic("u").unwrap_err().kind(), ErrorKind::ReadOnly);
    // What is committed covers only data that the observer sees as well.
    append(&writer.catalog, "u", 0, &["d"]);
    commit(&writer, "g", "u", 0, 4).unwrap();
    let coordinator = observer as Arc<dyn Coordinator>;
    let builder = ConsumerBuilder::new(observing, coordinator, Some("g".into()));
    let mut consumer = builder.auto_offset_reset(AutoOffsetReset::None).build().unwrap();
    consumer.assign([partition("u", 0)]).unwrap();
    assert_eq!(consumer.position(&partition("u", 0)).unwrap(), 4);
}

#[test]
fn commits_from_many_threads_all_hold() {
    let env = filled();
    let catalog = open(&env);
    let store = OffsetStore::new(Arc::clone(&catalog));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for offset in [1, 3, 2] {
                    commit(store, &format!("g{thread}"), "u", 0, offset).unwrap();
                    assert_eq!(committed(store, &format!("g{thread}"), "u", 0), Some(offset));
                }
            });
        }
    });
    let log = catalog.topic(OFFSETS_TOPIC).unwrap().log(0).unwrap();
    assert_eq!(log.offsets().bound(IsolationLevel::ReadUncommitted), 12);
}
