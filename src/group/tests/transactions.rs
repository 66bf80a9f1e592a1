//! Offsets in transactions: they are committed when the transaction is, by nothing else, and hold nobody else back.

use super::*;
use crate::{
    codec::coordinator::encode_group_metadata_key,
    partition::{
        log::Log,
        state::{
            append_as::{AppendAs, Claimed},
            producers::OWN_IDS_FROM,
        },
        tests::end as end_in,
        write::{
            encode::RecordData,
            end_transaction::{TransactionEnd, end_transaction, resolve_transaction},
        },
    },
    planted,
};

/// Two producers of this library, and one of a broker's.
const P: i64 = OWN_IDS_FROM + 7;
const Q: i64 = OWN_IDS_FROM + 9;
const BROKERS: i64 = 7;

fn store_of(env: &Arc<MemoryEnv>) -> Arc<OffsetStore> {
    OffsetStore::new(open(env))
}

fn offsets_log(store: &OffsetStore) -> Arc<Log> {
    store.catalog.topic(OFFSETS_TOPIC).unwrap().log(0).unwrap()
}

/// Sends offsets in the transaction of a producer, and makes them durable.
fn send(store: &OffsetStore, producer: i64, group: &str, offsets: &[(&str, u32, u64)]) {
    let commits = offsets.iter().map(|(topic, number, offset)| OffsetCommit {
        log: store.catalog.log(&partition(topic, *number)).unwrap(),
        offset: Offset::new(*offset),
        metadata: String::new(),
    });
    let commits: Vec<_> = commits.collect();
    let by = AppendAs { producer: Claimed { id: producer, epoch: 0 }, transactional: true, named: false };
    let (log, lies) = store.append_in_transaction(group, &commits, by).unwrap().unwrap();
    assert_eq!(lies.end - lies.start, offsets.len() as u64);
    log.flush_to(lies.end).unwrap();
}

fn end(store: &OffsetStore, producer: i64, commit: bool) {
    end_in(&offsets_log(store), producer, commit);
}

fn unstable(store: &OffsetStore, group: &str) -> Vec<String> {
    let all = [partition("t", 0), partition("t", 1), partition("u", 0)];
    let found = store.unstable(group, &all).unwrap();
    all.iter().zip(found).filter(|(_, is_unstable)| *is_unstable).map(|(p, _)| p.to_string()).collect()
}

/// The answers of this store, and of one that reads the log from its beginning.
fn with_a_new_one(store: &Arc<OffsetStore>, check: impl Fn(&OffsetStore)) {
    check(store);
    check(&OffsetStore::new(Arc::clone(&store.catalog)));
}

// T64
fn nothing_is_committed_before_its_transaction() {
    let store = store_of(&filled());
    commit(&store, "g", "t", 0, 1).unwrap();
    send(&store, P, "g", &[("t", 0, 2), ("t", 1, 3)]);
    with_a_new_one(&store, |store| {
        assert_eq!((committed(store, "g", "t", 0), committed(store, "g", "t", 1)), (Some(1), None));
        assert_eq!(unstable(store, "g"), ["t-0", "t-1"], "committed before or not");
        assert_eq!((unstable(store, "h"), committed(store, "g", "u", 0)), (vec![], None));
        let described = store.describe_group("g").unwrap();
        assert_eq!(described.committed.len(), 1);
    });
    // Another group goes on, and so do other partitions.
    commit(&store, "h", "t", 0, 3).unwrap();
    commit(&store, "g", "u", 0, 1).unwrap();
    with_a_new_one(&store, |store| {
        assert_eq!((committed(store, "h", "t", 0), committed(store, "g", "u", 0)), (Some(3), Some(1)));
    });
    end(&store, P, true);
    with_a_new_one(&store, |store| {
        assert_eq!((committed(store, "g", "t", 0), committed(store, "g", "t", 1)), (Some(2), Some(3)));
        assert_eq!(unstable(store, "g"), [""; 0]);
        assert_eq!(store.groups().unwrap(), ["g", "h"]);
    });
}

#[test]
fn offsets_of_a_transaction_are_committed_when_it_is_and_hold_no_one_back() {
    planted::hold(
        nothing_is_committed_before_its_transaction,
        &["offsets_are_applied_at_append", "offsets_outside_the_transaction"],
    );
}

// T65
fn the_later_record_holds() {
    let store = store_of(&filled());
    commit(&store, "g", "t", 0, 1).unwrap();
    commit(&store, "g", "u", 0, 1).unwrap();
    send(&store, P, "g", &[("t", 0, 2), ("t", 1, 2), ("u", 0, 2)]);
    // Another offset, the one that is committed already, and a first one.
    commit(&store, "g", "t", 0, 3).unwrap();
    commit(&store, "g", "u", 0, 1).unwrap();
    commit(&store, "g", "t", 1, 1).unwrap();
    assert_eq!(unstable(&store, "g"), [""; 0], "whatever becomes of the transaction");
    end(&store, P, true);
    with_a_new_one(&store, |store| {
        let all = [("t", 0), ("t", 1), ("u", 0)].map(|(topic, number)| committed(store, "g", topic, number));
        assert_eq!(all, [Some(3), Some(1), Some(1)]);
    });
}

#[test]
fn a_commit_after_the_record_of_a_transaction_holds_though_the_marker_comes_later() {
    planted::hold(
        the_later_record_holds,
        &["what_waits_is_never_too_old", "what_is_committed_stays_whatever_waits"],
    );
}

// T66
fn an_abort_leaves_everything() {
    let store = store_of(&filled());
    commit(&store, "g", "t", 0, 1).unwrap();
    send(&store, P, "g", &[("t", 0, 2), ("t", 1, 3)]);
    end(&store, P, false);
    with_a_new_one(&store, |store| {
        assert_eq!((committed(store, "g", "t", 0), committed(store, "g", "t", 1)), (Some(1), None));
        assert_eq!(unstable(store, "g"), [""; 0]);
    });
    // What was committed is there already: nothing is written.
    let before = offsets_log(&store).offsets().log_end();
    commit(&store, "g", "t", 0, 1).unwrap();
    assert_eq!(offsets_log(&store).offsets().log_end(), before);
}

#[test]
fn offsets_of_an_aborted_transaction_never_count() {
    planted::hold(an_abort_leaves_everything, &["offsets_of_an_abort_are_committed"]);
}

// T68
fn a_deletion_is_for_good() {
    let store = store_of(&filled());
    commit(&store, "g", "t", 0, 1).unwrap();
    send(&store, P, "g", &[("t", 0, 2), ("t", 1, 3)]);
    send(&store, Q, "new", &[("u", 0, 3)]);
    store.delete_group("g").unwrap();
    end(&store, P, true);
    with_a_new_one(&store, |store| assert_eq!(store.groups().unwrap(), [""; 0]));
    // A group that has committed nothing yet.
    store.delete_group("new").unwrap();
    assert_eq!(unstable(&store, "new"), [""; 0]);
    end(&store, Q, true);
    with_a_new_one(&store, |store| assert_eq!(store.groups().unwrap(), [""; 0]));
}

#[test]
fn a_deleted_group_does_not_come_back_with_a_marker() {
    planted::hold(a_deletion_is_for_good, &["a_deletion_spares_what_waits"]);
}

#[test]
fn a_deleted_topic_is_forgotten_in_open_transactions_too() {
    let store = store_of(&filled());
    send(&store, P, "g", &[("t", 0, 2), ("u", 0, 3)]);
    store.catalog.delete("t").unwrap();
    store.forget_topic("t").unwrap();
    end(&store, P, true);
    with_a_new_one(&store, |store| {
        assert_eq!(store.describe_group("g").unwrap().committed.len(), 1);
        assert_eq!(committed(store, "g", "u", 0), Some(3));
    });
}

fn an_outcome_counts_before_its_marker() {
    let env = filled();
    let store = store_of(&env);
    let outcome = |producer_id, commit| TransactionEnd { producer_id, epoch: 0, marker_epoch: 1, commit };
    send(&store, P, "g", &[("t", 0, 1)]);
    send(&store, Q, "g", &[("t", 1, 1)]);
    let log = offsets_log(&store);
    let (durable, start) = (log.offsets().high_watermark(), log.offsets().log_end());
    // As after a decision: the markers are appended, and nobody has flushed them.
    assert!(
        end_transaction(&log, &outcome(P, true)).unwrap()
            && end_transaction(&log, &outcome(Q, false)).unwrap()
    );
    assert_eq!((log.offsets().high_watermark(), log.offsets().log_end()), (durable, start + 2));
    with_a_new_one(&store, |store| {
        assert_eq!((committed(store, "g", "t", 0), committed(store, "g", "t", 1)), (Some(1), None));
        assert_eq!(unstable(store, "g"), [""; 0]);
    });
    // As at an opening, which writes nothing.
    let second = AppendAs { producer: Claimed { id: P, epoch: 1 }, transactional: true, named: false };
    let of_u = OffsetCommit {
        log: store.catalog.log(&partition("u", 0)).unwrap(),
        offset: 3.into(),
        metadata: String::new(),
    };
    let (log, lies) = store.append_in_transaction("g", &[of_u], second).unwrap().unwrap();
    log.flush_to(lies.end).unwrap();
    let decided = TransactionEnd { epoch: 1, marker_epoch: 2, ..outcome(P, true) };
    assert!(resolve_transaction(&log, &decided));
    assert_eq!(log.offsets().log_end(), lies.end);
    with_a_new_one(&store, |store| assert_eq!(committed(store, "g", "u", 0), Some(3)));
    // The markers say the same again, and the next transaction of the producer is none of theirs.
    commit(&store, "h", "u", 0, 1).unwrap();
    with_a_new_one(&store, |store| assert_eq!(committed(store, "g", "u", 0), Some(3)));
}

#[test]
fn the_outcome_of_a_transaction_counts_before_its_marker_is_durable() {
    planted::hold(an_outcome_counts_before_its_marker, &["an_outcome_is_only_its_marker"]);
}

fn a_consumer_waits() {
    let env = filled();
    let store = store_of(&env);
    send(&store, P, "g", &[("t", 0, 2)]);
    let mut consumer = super::consumer(&store.catalog, &store, "g");
    consumer.subscribe(["t", "u"]).unwrap();
    assert_eq!(poll(&mut consumer).len(), 6, "the other two partitions");
    let refused = consumer.position(&partition("t", 0)).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::Timeout));
    assert_eq!(consumer.position(&partition("t", 1)).unwrap(), 3);
    std::thread::scope(|scope| {
        let polls = scope.spawn(|| consumer.poll(Duration::from_secs(20)).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        end(&store, P, true);
        assert_eq!(crate::consumer::tests::values(&polls.join().unwrap()), ["c"]);
    });
}

#[test]
fn a_consumer_begins_where_a_transaction_is_about_to_commit_when_that_has_ended() {
    planted::hold(a_consumer_waits, &["a_consumer_resumes_in_an_open_transaction"]);
}

#[test]
fn of_two_transactions_the_later_record_holds_whichever_ends_last() {
    for (p_first, p_commits, q_commits) in [true, false]
        .into_iter()
        .flat_map(|first| [(first, true, true), (first, true, false), (first, false, true)])
    {
        let store = store_of(&filled());
        send(&store, P, "g", &[("t", 0, 1), ("t", 1, 1)]);
        send(&store, Q, "g", &[("t", 0, 2), ("t", 1, 2)]);
        send(&store, P, "g", &[("t", 1, 3)]);
        let ends = [(P, p_commits), (Q, q_commits)];
        let in_order = if p_first { ends } else { [ends[1], ends[0]] };
        in_order.into_iter().for_each(|(producer, commits)| end(&store, producer, commits));
        let expected = match (p_commits, q_commits) {
            (true, true) => (Some(2), Some(3)),
            (true, false) => (Some(1), Some(3)),
            _ => (Some(2), Some(2)),
        };
        with_a_new_one(&store, |store| {
            assert_eq!(
                (committed(store, "g", "t", 0), committed(store, "g", "t", 1)),
                expected,
                "{in_order:?}"
            );
        });
    }
}

#[test]
fn nothing_of_a_refused_batch_stays() {
    let store = store_of(&filled());
    let by = AppendAs { producer: Claimed { id: P, epoch: 1 }, transactional: true, named: false };
    let try_to = |by: AppendAs, group: &str, offset: u64| {
        let log = store.catalog.log(&partition("u", 0)).unwrap();
        let commit = OffsetCommit { log, offset: Offset::new(offset), metadata: String::new() };
        store.append_in_transaction(group, &[commit], by)
    };
    assert_eq!(try_to(by, "g", 4).unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
    assert_eq!(try_to(by, "", 1).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(store.append_in_transaction("g", &[], by).unwrap().is_none());
    assert!(store.catalog.find(OFFSETS_TOPIC).is_none(), "not even the topic");
    try_to(by, "g", 2).unwrap();
    let late = AppendAs { producer: Claimed { id: P, epoch: 0 }, ..by };
    assert_eq!(try_to(late, "g", 1).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(offsets_log(&store).offsets().log_end(), 1);
    let observer = OffsetStore::new(Arc::clone(&store.catalog));
    assert_eq!(committed(&observer, "g", "u", 0), None, "not flushed, and not committed");
}

const SIDECARS: CompactionThresholds = CompactionThresholds {
    snapshot_every: 1,
    rewrite_above: u64::MAX,
    segment_bytes: 8 << 20,
    chunk_bytes: 256 << 10,
};
const REWRITES: CompactionThresholds =
    CompactionThresholds { snapshot_every: u64::MAX, rewrite_above: 10_000, ..SIDECARS };

// G29: committed offsets do not expire here, and those of an open transaction do not either.
#[test]
fn a_sidecar_has_what_waits_and_in_which_order() {
    let env = filled();
    let store = OffsetStore::with_upkeep(open(&env), SIDECARS);
    commit(&store, "g", "t", 0, 1).unwrap();
    send(&store, P, "g", &[("t", 0, 2), ("u", 0, 2)]);
    send(&store, Q, "g", &[("t", 0, 3)]);
    store.groups().unwrap();
    // From here on there are no more sidecars.
    let store = OffsetStore::new(open(&env));
    assert_eq!(unstable(&store, "g"), ["t-0", "u-0"]);
    end(&store, Q, true);
    end(&store, P, true);
    for store in [store, store_of(&env)] {
        assert_eq!((committed(&store, "g", "t", 0), committed(&store, "g", "u", 0)), (Some(3), Some(2)));
    }
}

/// Commits until the log would have been rewritten several times.
fn many_commits(store: &OffsetStore) {
    (0..400).for_each(|i| commit(store, "busy", "u", 0, i % 4).unwrap());
}

#[test]
fn a_rewriting_waits_for_the_end_of_a_transaction_of_ours() {
    for commits in [true, false] {
        let env = filled();
        let store = OffsetStore::with_upkeep(open(&env), REWRITES);
        commit(&store, "g", "t", 0, 1).unwrap();
        send(&store, P, "g", &[("t", 0, 2)]);
        many_commits(&store);
        assert_eq!(offsets_log(&store).offsets().log_start(), 0);
        end(&store, P, commits);
        many_commits(&store);
        assert!(offsets_log(&store).offsets().log_start() > 0);
        with_a_new_one(&store, |store| {
            assert_eq!(committed(store, "g", "t", 0), Some(if commits { 2 } else { 1 }));
        });
    }
}

#[test]
fn a_rewriting_gives_a_transaction_that_is_ending_a_moment() {
    let env = filled();
    let catalog = open(&env);
    many_commits(&OffsetStore::new(Arc::clone(&catalog)));
    let store = OffsetStore::with_upkeep(catalog, REWRITES);
    send(&store, P, "g", &[("t", 0, 2)]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            end(&store, P, true);
        });
        commit(&store, "h", "u", 0, 1).unwrap();
    });
    assert!(offsets_log(&store).offsets().log_start() > 0);
    with_a_new_one(&store, |store| assert_eq!(committed(store, "g", "t", 0), Some(2)));
}

#[test]
fn a_rewriting_takes_place_where_some_transaction_is_always_under_way() {
    let env = filled();
    let store =
        OffsetStore::with_upkeep(open(&env), CompactionThresholds { rewrite_above: 4_000, ..SIDECARS });
    std::thread::scope(|scope| {
        for producer in [P, Q, P + 100] {
            let store = &store;
            scope.spawn(move || {
                for i in 0..60 {
                    send(store, producer, &format!("g{producer}"), &[("u", 0, i % 4)]);
                    // As long as a decision takes to become durable.
                    std::thread::sleep(Duration::from_millis(1));
                    let outcome = TransactionEnd {
                        producer_id: producer,
                        epoch: 0,
                        marker_epoch: 0,
                        commit: i % 3 > 0,
                    };
                    assert!(end_transaction(&offsets_log(store), &outcome).unwrap());
                    store.table.settle().unwrap();
                }
            });
        }
    });
    let offsets = offsets_log(&store).offsets().log_start();
    assert!(offsets > 100, "{offsets}");
    for store in [store, store_of(&env)] {
        for producer in [P, Q, P + 100] {
            assert_eq!(committed(&store, &format!("g{producer}"), "u", 0), Some(59 % 4));
        }
    }
}

#[test]
fn a_transaction_that_a_broker_left_open_holds_nothing_back_and_is_given_up_by_a_rewriting() {
    let env = filled();
    let store = OffsetStore::with_upkeep(open(&env), REWRITES);
    commit(&store, "g", "t", 0, 1).unwrap();
    send(&store, BROKERS, "g", &[("t", 0, 2), ("u", 0, 2)]);
    assert_eq!(unstable(&store, "g"), [""; 0], "nobody would ever end it");
    commit(&store, "h", "t", 0, 3).unwrap();
    assert_eq!((committed(&store, "g", "t", 0), committed(&store, "h", "t", 0)), (Some(1), Some(3)));
    many_commits(&store);
    assert!(offsets_log(&store).offsets().log_start() > 0, "the log does not grow forever");
    end(&store, BROKERS, true);
    with_a_new_one(&store, |store| {
        assert_eq!((committed(store, "g", "t", 0), committed(store, "g", "u", 0)), (Some(1), None));
    });
}

// What a broker keeps beside offsets.
fn other_records_stay() {
    let env = filled();
    let store = OffsetStore::with_upkeep(open(&env), REWRITES);
    commit(&store, "g", "t", 0, 1).unwrap();
    let (group, gone) = (encode_group_metadata_key("g"), encode_group_metadata_key("gone"));
    let member = b"\x00\x05\x00\x01gm".to_vec();
    let records = [
        RecordData::new("a group").key(&group).header("kept", "too"),
        RecordData::new("a group that goes").key(&gone),
        RecordData::new("a member").key(&member),
        RecordData::new("of nothing"),
    ];
    let log = offsets_log(&store);
    store.catalog.topic(OFFSETS_TOPIC).unwrap().partition(0).unwrap().append_to_any(&records).unwrap();
    store.write_many(vec![OffsetRecord::GroupTombstone("gone".into())]).unwrap();
    many_commits(&store);
    let start = log.offsets().log_start();
    assert!(start > 0);
    // Twice: what a sidecar says is carried over like what the log says.
    let store = OffsetStore::with_upkeep(open(&env), REWRITES);
    many_commits(&store);
    let log = offsets_log(&store);
    assert!(log.offsets().log_start() > start);
    let mut found = Vec::new();
    for batch in
        store.catalog.topic(OFFSETS_TOPIC).unwrap().partition(0).unwrap().read(log.offsets().log_start())
    {
        for record in batch.unwrap().iter().filter(|record| record.key.is_some_and(|key| key[1] > 1)) {
            let headers =
                record.headers.into_iter().map(|(name, value)| (name.to_string(), value.map(<[u8]>::to_vec)));
            found.push((
                record.key.unwrap().to_vec(),
                record.value_text().into_owned(),
                headers.collect::<Vec<_>>(),
            ));
        }
    }
    let headers = vec![("kept".to_string(), Some(b"too".to_vec()))];
    assert_eq!(found, [(group, "a group".into(), headers), (member, "a member".into(), vec![])]);
    assert_eq!(committed(&store, "g", "t", 0), Some(1));
}

#[test]
fn records_that_are_no_offsets_outlast_rewritings_and_sidecars() {
    planted::hold(other_records_stay, &["only_offsets_are_carried_over"]);
}

/// A record about group `g` and partition `t-0` that cannot be read.
fn cannot_be_read(store: &OffsetStore) {
    let bad = RecordData::new("no value of an offset").key(b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00");
    let topic = store.catalog.topic(OFFSETS_TOPIC).unwrap();
    topic.partition(0).unwrap().append_to_any(std::slice::from_ref(&bad)).unwrap();
}

fn is_in_doubt(store: &OffsetStore) -> bool {
    store.committed("g", &[partition("t", 0)]).is_err()
}

fn a_doubt_is_about_the_record() {
    // The unreadable record is newer than the transaction's.
    let store = store_of(&filled());
    send(&store, P, "g", &[("t", 0, 2)]);
    cannot_be_read(&store);
    end(&store, P, true);
    with_a_new_one(&store, |store| assert!(is_in_doubt(store)));
    // And older.
    let store = store_of(&filled());
    commit(&store, "g", "t", 0, 1).unwrap();
    cannot_be_read(&store);
    send(&store, P, "g", &[("t", 0, 2)]);
    with_a_new_one(&store, |store| assert!(is_in_doubt(store), "it is not decided"));
    end(&store, P, true);
    with_a_new_one(&store, |store| assert_eq!(committed(store, "g", "t", 0), Some(2)));
}

#[test]
fn a_committed_transaction_ends_a_doubt_only_if_its_record_is_newer() {
    planted::hold(a_doubt_is_about_the_record, &["a_commit_is_as_new_as_its_marker"]);
}

/// The same on a simulated machine.
#[cfg(feature = "sim")]
mod on_a_machine {
    use super::*;
    use crate::{
        env::{
            Env,
            sim::{Crash, SimEnv},
        },
        storage::{
            data_dir::{DataDir, SharedOptions},
            files::ReadMode,
        },
    };

    fn open_on(env: &SimEnv) -> Arc<Catalog> {
        let env: Arc<dyn Env> = Arc::new(env.clone());
        if env.create_dir("/log".as_ref()).is_ok() {
            env.sync_dir("/".as_ref()).unwrap();
        }
        let options = SharedOptions { read_only: false, read_mode: ReadMode::default(), max_open_files: 64 };
        let data_dir = DataDir::open(env, "/log".as_ref(), options).unwrap();
        Arc::new(Catalog::open(data_dir, &mut |_| true).unwrap().0)
    }

    fn machine() -> (SimEnv, Arc<Catalog>) {
        let env = SimEnv::new(1);
        let catalog = open_on(&env);
        catalog.create("t", TopicConfig::default().partitions(2)).unwrap();
        (0..2).for_each(|number| append(&catalog, "t", number, &["a", "b", "c"]));
        (env, catalog)
    }

    #[test]
    fn a_consumer_that_waits_for_a_minute_says_so() {
        let (env, catalog) = machine();
        let store = OffsetStore::new(Arc::clone(&catalog));
        send(&store, P, "g", &[("t", 0, 2)]);
        let mut consumer = consumer(&catalog, &store, "g");
        consumer.subscribe(["t"]).unwrap();
        assert_eq!(poll(&mut consumer).len(), 3, "of the other partition");
        assert!(consumer.poll(Duration::from_secs(30)).unwrap().is_empty());
        env.advance(Duration::from_secs(31));
        for _ in 0..2 {
            assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::Timeout);
        }
        end(&store, P, false);
        assert_eq!(poll(&mut consumer).len(), 3, "from the beginning: nothing was committed");
    }

    #[test]
    fn a_crash_anywhere_leaves_the_offsets_of_a_transaction_together() {
        for upkeep in
            [CompactionThresholds::default(), CompactionThresholds { rewrite_above: 500, ..SIDECARS }]
        {
            let (env, catalog) = machine();
            let store = OffsetStore::with_upkeep(catalog, upkeep);
            env.record();
            let mut acknowledged = Vec::new();
            for (round, commits) in [(1, true), (2, false), (3, true)] {
                let (p, offset) = (P + round as i64, round);
                send(&store, p, "g", &[("t", 0, offset), ("t", 1, offset)]);
                commit(&store, "h", "t", 0, offset).unwrap();
                end(&store, p, commits);
                store.groups().unwrap();
                acknowledged.push((env.operations(), offset, commits));
            }
            let recording = env.recording();
            let mut cursor = recording.cursor();
            while let Some(operation) = cursor.advance() {
                for (seed, crash) in (0..).zip(Crash::ALL).filter(|(seed, _)| (operation + seed) % 4 == 0) {
                    let rebooted = cursor.crash(crash, seed);
                    let store = OffsetStore::new(open_on(&rebooted));
                    let found = committed(&store, "g", "t", 0);
                    let place = format!("{crash:?} at operation {operation}");
                    assert_eq!(committed(&store, "g", "t", 1), found, "{place}");
                    let done = acknowledged.iter().filter(|(at, ..)| *at <= operation);
                    let promised =
                        done.filter(|(_, _, commits)| *commits).map(|(_, offset, _)| *offset).max();
                    assert!(found >= promised && found != Some(2), "{found:?}, {promised:?}: {place}");
                }
            }
        }
    }
}
