//! Transactions as programs use them, on a simulated machine.

mod crashes;
mod ends;
mod names;
mod offsets;

use crate::{
    Durability, Error, ErrorKind, Partition, Producer, ProducerRecord, Streamlog, TopicConfig,
    clients::{AutoOffsetReset, IsolationLevel},
    config::Builder,
    planted::hold,
    sim::{Operation, SimEnv},
};
use std::time::Duration;

/// A log with the topics `a` and `b` of one partition each, or as it was left.
fn open(env: &SimEnv) -> Streamlog {
    let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
    for topic in ["a", "b"] {
        log.topic_or_create(topic, TopicConfig::default()).unwrap();
    }
    log
}

fn partition(log: &Streamlog, topic: &str) -> Partition {
    log.topic(topic).unwrap().partition(0).unwrap()
}

/// The values that readers of `isolation` see.
fn seen_by(log: &Streamlog, topic: &str, isolation: IsolationLevel) -> Vec<String> {
    let records = partition(log, topic).records_with(0, isolation);
    records.map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap()).collect()
}

fn committed(log: &Streamlog, topic: &str) -> Vec<String> {
    seen_by(log, topic, IsolationLevel::ReadCommitted)
}

/// A transaction that writes `value` to both topics.
fn write_both(producer: &Producer, value: &str) -> Result<super::Committed, Error> {
    let mut transaction = producer.begin_transaction()?;
    transaction.send(ProducerRecord::new("a", value))?;
    transaction.send(ProducerRecord::new("b", value))?;
    transaction.commit()
}

#[test]
fn what_is_committed_is_seen_everywhere_and_says_where_it_is() {
    let log = open(&SimEnv::new(1));
    let producer = log.producer().unwrap();
    let written = write_both(&producer, "one").unwrap();
    let ranges: Vec<_> =
        written.ranges().map(|(p, r)| (p.to_string(), r.start.value(), r.end.value())).collect();
    assert_eq!(ranges, [("a-0".to_string(), 0, 1), ("b-0".to_string(), 0, 1)]);
    write_both(&producer, "two").unwrap();
    for topic in ["a", "b"] {
        assert_eq!(committed(&log, topic), ["one", "two"]);
        assert_eq!(seen_by(&log, topic, IsolationLevel::ReadUncommitted), ["one", "two"]);
    }
}

#[test]
fn what_is_aborted_or_dropped_leaves_nothing_at_all() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let producer = log.producer().unwrap();
    for drops in [true, false] {
        let before = env.operations();
        let mut transaction = producer.begin_transaction().unwrap();
        transaction.send(ProducerRecord::new("a", "never")).unwrap();
        match drops {
            true => drop(transaction),
            false => transaction.abort().unwrap(),
        }
        assert_eq!(env.operations(), before, "no file was touched");
    }
    assert_eq!(partition(&log, "a").log_end_offset(), 0);
    write_both(&producer, "after").unwrap();
    assert_eq!((committed(&log, "a"), committed(&log, "b")), (vec!["after".into()], vec!["after".into()]));
}

#[test]
fn a_send_touches_no_file_and_a_commit_flushes_each_log_and_the_decision_once() {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    log.create_topic("t", TopicConfig::default().partitions(4)).unwrap();
    let producer = log.producer().unwrap();
    let round = || {
        let before = env.operations();
        let mut transaction = producer.begin_transaction().unwrap();
        for number in 0..100 {
            transaction.send(ProducerRecord::new("t", "x").partition(number % 4)).unwrap();
        }
        assert_eq!(env.operations(), before);
        env.record();
        transaction.commit().unwrap();
        let recording = env.recording();
        let syncs = recording.operations().filter(|(_, operation, _)| *operation == Operation::Sync);
        syncs.map(|(_, _, path)| path.to_string()).collect::<Vec<_>>()
    };
    round();
    let mut synced = round();
    synced.sort();
    let logs = ["/data/__transaction_state-0/", "/data/t-0/", "/data/t-1/", "/data/t-2/", "/data/t-3/"];
    assert_eq!(synced.len(), logs.len(), "{synced:?}");
    assert!(synced.iter().zip(logs).all(|(path, dir)| path.starts_with(dir) && path.ends_with(".log")));
}

#[test]
fn one_batch_is_a_transaction_by_itself() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let producer = log.producer().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    for value in ["x", "y"] {
        transaction.send(ProducerRecord::new("a", value)).unwrap();
    }
    env.record();
    transaction.commit().unwrap();
    let recording = env.recording();
    let syncs = recording.operations().filter(|(_, operation, _)| *operation == Operation::Sync).count();
    assert_eq!((syncs, partition(&log, "a").log_end_offset().value()), (1, 2), "no marker, no decision");
    assert_eq!(committed(&log, "a"), ["x", "y"]);
    assert!(!env.files().keys().any(|path| path.contains("__transaction_state")));
}

#[test]
fn one_at_a_time_and_nothing_beside_it() {
    let log = open(&SimEnv::new(1));
    let producer = log.producer().unwrap();
    let transaction = producer.begin_transaction().unwrap();
    let refused = |error: Error| assert_eq!(error.kind(), ErrorKind::InvalidTransactionState, "{error}");
    refused(producer.clone().begin_transaction().unwrap_err());
    let record = || ProducerRecord::new("a", "beside");
    refused(producer.send(record()).unwrap_err());
    refused(producer.enqueue(record()).unwrap_err());
    refused(producer.try_enqueue(record()).unwrap_err().into());
    refused(producer.send_batch(&[record()]).unwrap_err());
    refused(producer.send_all([record()]).unwrap_err().error);
    drop(transaction);
    producer.send(record()).unwrap();
    // Another producer is not concerned.
    let _open = producer.begin_transaction().unwrap();
    log.producer().unwrap().send(record()).unwrap();
}

#[test]
fn records_enqueued_before_lie_before() {
    let log = open(&SimEnv::new(1));
    let producer = log.producer_builder().linger(Duration::from_secs(60)).build().unwrap();
    producer.enqueue(ProducerRecord::new("a", "before")).unwrap();
    write_both(&producer, "in it").unwrap();
    assert_eq!(committed(&log, "a"), ["before", "in it"]);
}

#[test]
fn a_record_that_is_refused_is_not_part_of_the_transaction_which_goes_on() {
    let log = open(&SimEnv::new(1));
    log.topic_or_create("small", TopicConfig::default().max_message_bytes(300)).unwrap();
    let producer = log.producer().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("small", "fits")).unwrap();
    let refused = transaction.send(ProducerRecord::new("small", &[7; 1000])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RecordTooLarge);
    let refused = transaction.send(ProducerRecord::new("nowhere", "x")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::UnknownTopic);
    transaction.send(ProducerRecord::new("b", "fits too")).unwrap();
    transaction.commit().unwrap();
    assert_eq!(
        (committed(&log, "small"), committed(&log, "b")),
        (vec!["fits".into()], vec!["fits too".into()])
    );
}

#[test]
fn an_empty_transaction_writes_nothing() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let producer = log.producer().unwrap();
    let before = env.operations();
    let committed = producer.begin_transaction().unwrap().commit().unwrap();
    assert_eq!((committed.ranges().count(), env.operations()), (0, before));
}

#[test]
fn what_does_not_fit_the_buffer_is_written_as_it_comes_and_seen_at_the_commit() {
    for commits in [true, false] {
        let log = open(&SimEnv::new(1));
        let producer = log.producer_builder().transaction_buffer(10_000).build().unwrap();
        let mut transaction = producer.begin_transaction().unwrap();
        for number in 0..30 {
            let value = format!("{number}{}", "-".repeat(1000));
            transaction.send(ProducerRecord::new("a", &value)).unwrap();
        }
        let end = partition(&log, "a").log_end_offset().value();
        assert!((10..=30).contains(&end), "{end}");
        partition(&log, "a").flush().unwrap();
        assert_eq!(seen_by(&log, "a", IsolationLevel::ReadUncommitted).len() as u64, end);
        assert_eq!((committed(&log, "a").len(), partition(&log, "a").last_stable_offset().value()), (0, 0));
        // Others write between, and wait to be seen.
        log.producer().unwrap().send(ProducerRecord::new("a", "beside")).unwrap();
        assert!(committed(&log, "a").is_empty());
        match commits {
            true => drop(transaction.commit().unwrap()),
            false => drop(transaction),
        }
        let values = committed(&log, "a");
        assert_eq!(values.len(), if commits { 31 } else { 1 });
        assert!(values.contains(&"beside".to_string()));
        write_both(&producer, "later").unwrap();
        assert_eq!(committed(&log, "a").last().unwrap(), "later");
    }
}

#[test]
fn a_transaction_beyond_its_time_is_aborted_and_says_so() {
    hold(beyond_its_time, &["written_after_its_end"]);
}

fn beyond_its_time() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let time = Duration::from_secs(5);
    let producer = log.producer_builder().transaction_timeout(time).transaction_buffer(100).build().unwrap();
    for spills in [false, true] {
        let mut transaction = producer.begin_transaction().unwrap();
        let value = "x".repeat(if spills { 200 } else { 10 });
        transaction.send(ProducerRecord::new("a", &value)).unwrap();
        env.advance(time);
        let late = match spills {
            true => transaction.commit().unwrap_err(),
            false => transaction.send(ProducerRecord::new("a", "late")).unwrap_err(),
        };
        assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
    }
    write_both(&producer, "in time").unwrap();
    assert_eq!(committed(&log, "a"), ["in time"]);
}

#[test]
fn an_abort_is_hidden_from_who_reads_what_is_committed() {
    hold(an_abort_is_hidden, &["an_abort_is_not_indexed"]);
}

fn an_abort_is_hidden() {
    let log = open(&SimEnv::new(1));
    let producer = log.producer_builder().transaction_buffer(100).build().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("a", "x".repeat(300))).unwrap();
    transaction.abort().unwrap();
    log.producer().unwrap().send(ProducerRecord::new("a", "after")).unwrap();
    assert_eq!(committed(&log, "a"), ["after"]);
    assert_eq!(seen_by(&log, "a", IsolationLevel::ReadUncommitted).len(), 2);
}

#[test]
fn what_was_required_of_a_partition_holds_or_nothing_counts() {
    let log = open(&SimEnv::new(1));
    let producer = log.producer().unwrap();
    let (a, b) = (partition(&log, "a"), partition(&log, "b"));
    let attempt = |expected: u64, writes_there: bool| {
        let mut transaction = producer.begin_transaction()?;
        transaction.expect_end(a.topic_partition(), expected)?;
        if writes_there {
            transaction.send(ProducerRecord::new("a", "x"))?;
        }
        transaction.send(ProducerRecord::new("b", "y"))?;
        transaction.commit()
    };
    for writes_there in [true, false] {
        let before = (committed(&log, "a"), committed(&log, "b"));
        let conflict = attempt(7, writes_there).unwrap_err();
        assert_eq!(conflict.kind(), ErrorKind::Conflict, "{conflict}");
        assert_eq!((committed(&log, "a"), committed(&log, "b")), before);
        attempt(a.log_end_offset().value(), writes_there).unwrap();
    }
    assert_eq!((committed(&log, "a").len(), committed(&log, "b").len()), (1, 2));
    // What readers see ends before the markers, which are not flushed yet.
    write_both(&producer, "z").unwrap();
    for _ in 0..3 {
        let (seen, end) = (a.last_stable_offset(), a.log_end_offset());
        assert!(seen < end);
        attempt(seen.value(), true).unwrap();
        let mut transaction = producer.begin_transaction().unwrap();
        transaction.expect_end(b.topic_partition(), b.last_stable_offset()).unwrap();
        transaction.send(ProducerRecord::new("a", "q")).unwrap();
        transaction.commit().unwrap();
        write_both(&producer, "z").unwrap();
    }
}

#[test]
fn a_handle_that_only_reads_begins_none_and_a_closed_one_neither() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let producer = log.producer().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("a", "x")).unwrap();
    log.close().unwrap();
    assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(producer.begin_transaction().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn durability_of_the_topics_does_not_matter() {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let written = || TopicConfig::default().durability(Durability::Written);
    log.create_topic("a", written()).unwrap();
    log.create_topic("b", written()).unwrap();
    write_both(&log.producer().unwrap(), "kept").unwrap();
    let log = open(&env.crash(crate::sim::Crash::Nothing, 1));
    assert_eq!((committed(&log, "a"), committed(&log, "b")), (vec!["kept".into()], vec!["kept".into()]));
}
