//! The end of a transaction in a log: what readers see at once, what is written when, what a crash leaves to decide.

use super::{batch_in_transaction, transactional};
use crate::{
    Durability, Error, Partition, RecordData, Streamlog, TopicConfig,
    clients::IsolationLevel,
    config::Builder,
    partition::{
        log::Log,
        state::producers::OWN_IDS_FROM,
        write::{
            checkpoint::checkpoint,
            end_transaction::{
                TransactionEnd, end_transaction, has_reached, known_outcomes, open_transactions,
                resolve_transaction,
            },
            gate::Origin,
        },
    },
    planted::hold,
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    storage::{
        data_dir::{DataDir, SharedOptions},
        files::ReadMode,
    },
    topic::catalog::Catalog,
};
use std::{path::Path, sync::Arc};

const OURS: i64 = OWN_IDS_FROM + 7;

fn open(env: &SimEnv) -> (Streamlog, Partition) {
    let streamlog = Builder::env(env, "/data").background_thread(false).open().unwrap();
    let config = TopicConfig::default().durability(Durability::Flushed);
    let topic = streamlog.topic("t").or_else(|_| streamlog.create_topic("t", config)).unwrap();
    let partition = topic.partition(0).unwrap();
    (streamlog, partition)
}

/// The partition as a recovery leaves it, before anybody has asked what was decided.
fn recovered(env: &SimEnv) -> (Catalog, Partition) {
    let options = SharedOptions { read_only: false, read_mode: ReadMode::default(), max_open_files: 64 };
    let data_dir = DataDir::open(Arc::new(env.clone()), Path::new("/data"), options).unwrap();
    let (catalog, _) = Catalog::open(data_dir, &mut |_| true).unwrap();
    let partition = catalog.topic("t").unwrap().partition(0).unwrap();
    (catalog, partition)
}

fn ended(commit: bool) -> TransactionEnd {
    TransactionEnd { producer_id: OURS, epoch: 0, marker_epoch: 1, commit }
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// The values that read-committed readers see.
fn committed(partition: &Partition) -> Vec<String> {
    let records = partition.records_with(0, IsolationLevel::ReadCommitted);
    records.map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap()).collect()
}

fn stable(log: &Log) -> u64 {
    log.offsets().last_stable().value()
}

/// Nothing but the writing of batches fails, as on a full disk.
fn full(env: &SimEnv) {
    env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path("t-0/").forever());
}

#[test]
fn an_outcome_counts_at_once_though_its_marker_is_not_flushed() {
    for (commit, seen) in [(true, vec!["a", "b"]), (false, vec![])] {
        let (_streamlog, partition) = open(&SimEnv::new(1));
        let log = partition.log();
        transactional(log, OURS, 0, "a");
        transactional(log, OURS, 1, "b");
        assert_eq!((stable(log), committed(&partition).len()), (0, 0));
        assert!(end_transaction(log, &ended(commit)).unwrap());
        assert_eq!(
            (stable(log), log.offsets().high_watermark().value(), log.offsets().log_end().value()),
            (2, 2, 3)
        );
        assert_eq!(committed(&partition), seen);
        assert!(!end_transaction(log, &ended(!commit)).unwrap(), "it has ended");
        log.flush().unwrap();
        assert_eq!((stable(log), committed(&partition)), (3, strings(&seen)));
    }
}

#[test]
fn a_late_end_touches_no_later_transaction_and_nobody_elses() {
    let (_streamlog, partition) = open(&SimEnv::new(1));
    let log = partition.log();
    transactional(log, OURS, 0, "a");
    end_transaction(log, &ended(true)).unwrap();
    let mut later = batch_in_transaction(OURS, 0, "b");
    later.set_producer(OURS, 1, 0);
    super::append(log, later, Origin::Producer);
    assert!(!end_transaction(log, &ended(false)).unwrap());
    let other = TransactionEnd { producer_id: OURS + 1, ..ended(false) };
    assert!(!end_transaction(log, &other).unwrap());
    let open = open_transactions(log);
    assert_eq!(open.iter().map(|t| (t.producer_epoch, t.first_offset.value())).collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!((stable(log), committed(&partition)), (2, vec!["a".to_string()]));
}

#[test]
fn a_marker_that_cannot_be_written_goes_out_before_the_next_batch() {
    for (commit, seen) in [(true, vec!["a", "next"]), (false, vec!["next"])] {
        let env = SimEnv::new(1);
        let (_streamlog, partition) = open(&env);
        let log = partition.log();
        transactional(log, OURS, 0, "a");
        full(&env);
        assert!(end_transaction(log, &ended(commit)).unwrap());
        let before: Vec<_> = seen.iter().copied().filter(|value| *value != "next").collect();
        assert_eq!((stable(log), log.offsets().log_end().value()), (1, 1));
        assert_eq!(committed(&partition), before);
        assert!(partition.append(&[RecordData::new("refused")]).is_err());
        env.clear_faults();
        let at = partition.append(&[RecordData::new("next")]).unwrap();
        assert_eq!(at.start, 2, "the marker is at 1");
        assert_eq!(committed(&partition), seen);
    }
}

#[test]
fn what_a_crash_left_open_is_resolved_without_a_write_and_marked_by_the_next_append() {
    for (commit, seen) in [(true, vec!["a", "next"]), (false, vec!["next"])] {
        let env = SimEnv::new(1);
        let (streamlog, partition) = open(&env);
        transactional(partition.log(), OURS, 0, "a");
        end_transaction(partition.log(), &ended(commit)).unwrap();
        let env = env.crash(Crash::Nothing, 1);
        drop((streamlog, partition));
        let (_catalog, partition) = recovered(&env);
        let log = partition.log();
        assert_eq!((stable(log), log.offsets().log_end().value()), (0, 1), "the power cut took the marker");
        env.record();
        assert!(resolve_transaction(log, &ended(commit)) && !resolve_transaction(log, &ended(!commit)));
        let before: Vec<_> = seen.iter().copied().filter(|value| *value != "next").collect();
        assert_eq!(stable(log), 1);
        assert_eq!(committed(&partition), before);
        let wrote =
            env.recording().operations().filter(|(_, operation, _)| *operation == Operation::Write).count();
        assert_eq!(wrote, 0);
        partition.append(&[RecordData::new("next")]).unwrap();
        assert_eq!((log.offsets().log_end().value(), committed(&partition)), (3, strings(&seen)));
        // The next opening finds the marker.
        let env = env.crash(Crash::Nothing, 2);
        let (_streamlog, partition) = open(&env);
        assert!(open_transactions(partition.log()).is_empty());
        assert_eq!(committed(&partition), seen);
    }
}

#[test]
fn a_close_writes_what_is_owed_and_is_none_while_a_transaction_is_open() {
    hold(claim_of_close_owing_a_marker, &["close_owing_a_marker"]);
}

fn claim_of_close_owing_a_marker() {
    let env = SimEnv::new(1);
    let (streamlog, partition) = open(&env);
    transactional(partition.log(), OURS, 0, "a");
    full(&env);
    end_transaction(partition.log(), &ended(false)).unwrap();
    env.clear_faults();
    streamlog.close().unwrap();
    let (streamlog, partition) = open(&env);
    assert!(!partition.log().was_recovered() && partition.log_end_offset() == 2);
    assert_eq!((stable(partition.log()), committed(&partition).len()), (2, 0));

    let mut open_one = batch_in_transaction(OURS, 0, "b");
    open_one.set_producer(OURS, 1, 0);
    super::append(partition.log(), open_one, Origin::Producer);
    streamlog.close().unwrap();
    let (_streamlog, partition) = open(&env);
    assert!(partition.log().was_recovered(), "somebody must find out what was decided");
    assert_eq!((open_transactions(partition.log()).len(), stable(partition.log())), (0, 3), "nothing was");
}

#[test]
fn a_checkpoint_forgets_no_transaction_and_writes_what_is_owed() {
    let env = SimEnv::new(1);
    let (_streamlog, partition) = open(&env);
    transactional(partition.log(), OURS, 0, "a");
    checkpoint(partition.log()).unwrap();
    let (_later, again) = recovered(&env.crash(Crash::Nothing, 1));
    assert_eq!(open_transactions(again.log()).len(), 1);
    full(&env);
    end_transaction(partition.log(), &ended(false)).unwrap();
    env.clear_faults();
    checkpoint(partition.log()).unwrap();
    let (_later, again) = open(&env.crash(Crash::Nothing, 1));
    assert_eq!((open_transactions(again.log()).len(), again.log_end_offset()), (0, 2.into()));
}

#[test]
fn retention_stops_at_a_transaction_until_its_end_is_durable() {
    hold(claim_of_retention_passes_a_marker, &["retention_passes_a_marker"]);
}

fn claim_of_retention_passes_a_marker() {
    let env = SimEnv::new(1);
    let streamlog = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let config =
        TopicConfig::default().segment_bytes(512).retention_bytes(100).durability(Durability::Written);
    let partition = streamlog.create_topic("t", config).unwrap().partition(0).unwrap();
    let log = partition.log();
    let mut first = batch_in_transaction(OURS, 0, "a");
    log.append(&mut first).unwrap();
    let fill = || {
        for _ in 0..8 {
            partition.append(&[RecordData::new(&[7; 100])]).unwrap();
        }
    };
    fill();
    streamlog.maintain().unwrap();
    assert_eq!(log.offsets().log_start(), 0, "it is open");
    let because = format!("{:?}", streamlog.explain_retention("t").unwrap());
    assert!(because.contains("Transaction { first_offset: Offset(0) }"), "{because}");
    end_transaction(log, &ended(true)).unwrap();
    fill();
    assert_eq!(log.offsets().log_start(), 0, "its marker is not durable");
    checkpoint(log).unwrap();
    fill();
    assert!(log.offsets().log_start() > 0);
}

#[test]
fn records_are_deleted_beyond_a_transaction_only_with_its_end() {
    let env = SimEnv::new(1);
    let (streamlog, partition) = open(&env);
    let log = partition.log();
    transactional(log, OURS, 0, "a");
    full(&env);
    end_transaction(log, &ended(false)).unwrap();
    env.clear_faults();
    streamlog.delete_records("t", 0, 1).unwrap();
    let (_later, again) = open(&env.crash(Crash::Nothing, 1));
    assert_eq!((open_transactions(again.log()).len(), again.log_end_offset()), (0, 2.into()));
}

#[test]
fn an_append_that_requires_its_offset_is_refused_elsewhere_and_leaves_no_trace() {
    let (_streamlog, partition) = open(&SimEnv::new(1));
    let log = partition.log();
    let append = |expected: u64| {
        let mut one = super::batch(-1, -1, "one");
        log.append_at(&mut one, Origin::Producer, Some(expected.into()))
            .map(|appended| appended.base_offset.value())
    };
    assert_eq!(append(0).unwrap(), 0);
    match append(0).unwrap_err() {
        Error::Conflict { partition, expected, found, .. } => {
            assert_eq!((partition.to_string().as_str(), expected.value(), found.value()), ("t-0", 0, 1));
        }
        other => panic!("{other}"),
    }
    assert_eq!((log.offsets().log_end().value(), append(1).unwrap()), (1, 1));
}

#[test]
fn an_outcome_is_known_until_its_marker_is_durable() {
    let env = SimEnv::new(1);
    let (_streamlog, partition) = open(&env);
    let log = partition.log();
    transactional(log, OURS, 0, "a");
    full(&env);
    end_transaction(log, &ended(true)).unwrap();
    assert_eq!(known_outcomes(log), [ended(true)]);
    env.clear_faults();
    checkpoint(log).unwrap();
    assert_eq!(known_outcomes(log), []);
    let mut later = batch_in_transaction(OURS, 0, "b");
    later.set_producer(OURS, 1, 0);
    super::append(log, later, Origin::Producer);
    let second = TransactionEnd { epoch: 1, marker_epoch: 2, ..ended(false) };
    end_transaction(log, &second).unwrap();
    assert_eq!(known_outcomes(log), [second], "written, and not flushed");
    log.flush().unwrap();
    assert_eq!(known_outcomes(log), []);
}

#[test]
fn a_log_that_lost_its_end_has_not_reached_it_for_ever() {
    let env = SimEnv::new(1);
    let streamlog = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let config = TopicConfig::default().durability(Durability::Written);
    let partition = streamlog.create_topic("t", config).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("flushed")]).unwrap();
    partition.flush().unwrap();
    partition.append(&[RecordData::new("lost")]).unwrap();
    let life = partition.log().incarnation_of(crate::Offset::MAX);
    let reached = |partition: &Partition, end: u64| has_reached(partition.log(), life, end.into()).unwrap();
    assert!(reached(&partition, 2) && !reached(&partition, 3));
    let (_later, again) = open(&env.crash(Crash::Nothing, 1));
    assert!(reached(&again, 1) && !reached(&again, 2));
    again.append(&[RecordData::new("in its place")]).unwrap();
    again.append(&[RecordData::new("and more")]).unwrap();
    assert!(reached(&again, 1) && !reached(&again, 2), "that is another life");
    assert!(has_reached(again.log(), life + 5, 1.into()).is_err());
}
