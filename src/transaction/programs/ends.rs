//! How transactions end where something fails: a flush, the disk, the table of decisions.

use super::*;
use crate::{
    Outcome,
    planted::hold,
    sim::{Crash, Fault, FaultKind},
};

fn fail(env: &SimEnv, kind: FaultKind, operation: Operation, path: &str) {
    env.inject(Fault::new(kind).on(operation).path(path).forever());
}

/// Two transactions before, so that everything that is made once has been made.
fn begun(env: &SimEnv) -> (Streamlog, Producer) {
    let log = open(env);
    let producer = log.producer().unwrap();
    write_both(&producer, "1").unwrap();
    write_both(&producer, "2").unwrap();
    (log, producer)
}

#[test]
fn a_flush_that_fails_aborts_it_everywhere() {
    hold(a_failed_flush, &["no_abort_after_a_failed_flush"]);
}

fn a_failed_flush() {
    let env = SimEnv::new(1);
    let (log, producer) = begun(&env);
    fail(&env, FaultKind::Io, Operation::Sync, "/data/b-0/");
    let error = write_both(&producer, "3").unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Aborted, Outcome::NotAppended), "{error}");
    env.clear_faults();
    assert_eq!(committed(&log, "a"), ["1", "2"], "the healthy partition knows");
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("a", "4")).unwrap();
    transaction.commit().unwrap();
    for crash in [Crash::Nothing, Crash::Everything, Crash::Kill, Crash::Subset] {
        let log = open(&env.crash(crash, 3));
        assert_eq!(committed(&log, "a"), ["1", "2", "4"], "{crash:?}");
        assert_eq!(committed(&log, "b"), ["1", "2"], "{crash:?}");
    }
}

#[test]
fn where_the_decision_cannot_be_flushed_nobody_knows_until_the_next_opening() {
    let env = SimEnv::new(1);
    let (log, producer) = begun(&env);
    log.create_topic("c", TopicConfig::default()).unwrap();
    fail(&env, FaultKind::Io, Operation::Sync, "/data/__transaction_state-0/");
    let error = write_both(&producer, "3").unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(
        (committed(&log, "a"), committed(&log, "b")),
        (vec!["1".into(), "2".into()], vec!["1".into(), "2".into()])
    );
    assert!(producer.begin_transaction().and_then(|t| t.commit()).is_ok(), "an empty one needs nothing");
    // The next one, in one of the two, fails too, and takes nothing of it back.
    env.clear_faults();
    let mut next = producer.begin_transaction().unwrap();
    next.send(ProducerRecord::new("a", "4")).unwrap();
    next.send(ProducerRecord::new("c", "4")).unwrap();
    assert!(next.commit().is_err());
    partition(&log, "a").flush().unwrap();
    for (crash, seed) in Crash::ALL.into_iter().zip(0..) {
        let log = open(&env.crash(crash, seed));
        let seen = committed(&log, "a");
        assert_eq!(seen, committed(&log, "b"), "{crash:?}");
        assert!(seen == ["1", "2"] || seen == ["1", "2", "3"], "{crash:?}: {seen:?}");
    }
}

#[test]
fn on_a_full_disk_it_is_not_committed_or_committed_and_never_half() {
    for room in (0..40_000u64).step_by(512) {
        let env = SimEnv::new(1);
        let (log, producer) = begun(&env);
        env.set_capacity(Some(env.used() + room));
        let mut done = Vec::new();
        for number in 3..9 {
            let value = format!("{number}{}", "-".repeat(900));
            if write_both(&producer, &value).is_ok() {
                done.push(value[..1].to_string());
            }
        }
        env.set_capacity(None);
        let expect = |log: &Streamlog, when: &str| {
            for topic in ["a", "b"] {
                let seen: Vec<String> =
                    committed(log, topic).iter().map(|value| value[..1].to_string()).collect();
                let expected: Vec<_> = ["1", "2"].into_iter().map(String::from).chain(done.clone()).collect();
                assert_eq!(seen, expected, "{room} bytes, {when}");
            }
        };
        expect(&log, "at once");
        expect(&open(&env.crash(Crash::Nothing, 1)), "after a power cut");
        expect(&open(&env.crash(Crash::Kill, 1)), "after a kill");
        log.close().unwrap();
        expect(&open(&env), "after a close");
    }
}

#[test]
fn a_marker_that_finds_no_space_comes_later_and_nobody_waits_for_it() {
    hold(no_space_for_a_marker, &["a_pending_marker_waits_for_ever"]);
}

fn no_space_for_a_marker() {
    let env = SimEnv::new(1);
    let (log, producer) = begun(&env);
    // A marker is the first write to `b` after the flush.
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("a", "3")).unwrap();
    transaction.send(ProducerRecord::new("b", "3")).unwrap();
    env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path("/data/b-0/").skip(1).forever());
    transaction.commit().unwrap();
    assert_eq!(committed(&log, "b"), ["1", "2", "3"]);
    assert!(producer.send(ProducerRecord::new("b", "refused")).is_err());
    env.clear_faults();
    let end = partition(&log, "b").log_end_offset();
    let sent = producer.send(ProducerRecord::new("b", "4")).unwrap();
    assert_eq!(sent.offset, end + 1, "its marker lies before");
    assert_eq!(committed(&log, "b"), ["1", "2", "3", "4"]);
    log.close().unwrap();
    assert_eq!(committed(&open(&env), "b"), ["1", "2", "3", "4"]);
}

#[test]
fn a_topic_that_is_deleted_takes_nothing_else_with_it() {
    let env = SimEnv::new(1);
    let (log, producer) = begun(&env);
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("a", "3")).unwrap();
    transaction.send(ProducerRecord::new("b", "3")).unwrap();
    log.delete_topic("b").unwrap();
    assert!(transaction.commit().is_err());
    assert_eq!(committed(&log, "a"), ["1", "2"]);
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("a", "4")).unwrap();
    transaction.commit().unwrap();
    let log = open(&env.crash(Crash::Nothing, 1));
    assert_eq!(committed(&log, "a"), ["1", "2", "4"]);
}

#[test]
fn a_close_aborts_what_is_open_and_is_clean() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let producer = log.producer_builder().transaction_buffer(100).build().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("a", "-".repeat(300))).unwrap();
    assert_eq!(partition(&log, "a").log_end_offset(), 1);
    log.close().unwrap();
    assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::Closed);
    let log = open(&env);
    assert!(log.recovery_report().partitions.is_empty(), "it was closed cleanly");
    assert!(committed(&log, "a").is_empty());
    assert_eq!(partition(&log, "a").log_end_offset(), 2, "its end stands there");
}

#[test]
fn a_decision_outlasts_the_rewriting_of_its_table() {
    hold(a_rewriting, &["decisions_go_before_their_markers_are_durable"]);
}

fn a_rewriting() {
    let env = SimEnv::new(1);
    let builder = Builder::env(&env, "/data").background_thread(false);
    let log = builder.offsets_upkeep(8 << 20, u64::MAX, 2000).open().unwrap();
    for topic in ["a", "b", "c"] {
        log.create_topic(topic, TopicConfig::default()).unwrap();
    }
    let producer = log.producer().unwrap();
    write_both(&producer, "1").unwrap();
    // The marker in `b` is not flushed: all that follows goes to the others.
    for number in 0..40 {
        let mut transaction = producer.begin_transaction().unwrap();
        transaction.send(ProducerRecord::new("a", number.to_string())).unwrap();
        transaction.send(ProducerRecord::new("c", number.to_string())).unwrap();
        transaction.commit().unwrap();
    }
    for (crash, seed) in Crash::ALL.into_iter().zip(0..) {
        let log = open(&env.crash(crash, seed));
        assert_eq!(committed(&log, "b"), ["1"], "{crash:?}");
    }
}
