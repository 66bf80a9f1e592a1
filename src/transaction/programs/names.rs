//! Producers with a name, by the coordinator that gives names, and what administrators see and do.

use super::*;
use crate::{
    TopicPartition,
    admin::TransactionStatus,
    partition::tests::{batch_in_transaction, transactional},
    sim::Crash,
};

fn named(log: &Streamlog, name: &str) -> Producer {
    log.producer_builder().named(name).transaction_buffer(200).build().unwrap()
}

fn numbered(number: u64) -> ProducerRecord<'static> {
    ProducerRecord::new("a", number.to_string()).partition(0).sequence(number)
}

fn a0() -> TopicPartition {
    TopicPartition::new("a", 0)
}

#[test]
fn a_source_goes_on_after_its_last_number_in_this_life_and_in_the_next() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let producer = named(&log, "sensor-7");
    assert_eq!(producer.last_sequence(&a0()).unwrap(), None);
    for number in [1, 2, 5] {
        assert!(!producer.send(numbered(number)).unwrap().duplicate);
    }
    for (env, how) in [(env.crash(Crash::Nothing, 1), "cut"), (env.crash(Crash::Kill, 1), "killed")] {
        let log = open(&env);
        let producer = named(&log, "sensor-7");
        assert_eq!(producer.last_sequence(&a0()).unwrap(), Some(5), "{how}");
        assert!(producer.send(numbered(2)).unwrap().duplicate, "{how}");
        assert!(!producer.send(numbered(6)).unwrap().duplicate, "{how}");
        assert_eq!(committed(&log, "a"), ["1", "2", "5", "6"], "{how}");
    }
}

#[test]
fn numbers_go_on_across_the_transactions_of_their_producer() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let producer = named(&log, "sensor-7");
    producer.send(numbered(1)).unwrap();
    write_both(&producer, "both").unwrap();
    assert!(producer.send(numbered(1)).unwrap().duplicate);
    assert!(!producer.send(numbered(2)).unwrap().duplicate);
    let mut transaction = producer.begin_transaction().unwrap();
    assert_eq!(transaction.send(numbered(3)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    transaction.abort().unwrap();
    let log = open(&env.crash(Crash::Nothing, 1));
    assert_eq!(named(&log, "sensor-7").last_sequence(&a0()).unwrap(), Some(2));
    assert_eq!(committed(&log, "a"), ["1", "both", "2"]);
}

#[test]
fn who_gets_the_name_ends_what_its_holder_has_open() {
    let log = open(&SimEnv::new(1));
    let first = named(&log, "sensor-7");
    let mut spilled = first.begin_transaction().unwrap();
    spilled.send(ProducerRecord::new("a", "x".repeat(500))).unwrap();
    let second = named(&log, "sensor-7");
    assert_eq!(partition(&log, "a").last_stable_offset(), partition(&log, "a").high_watermark());
    let fenced = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("sensor-7"), "{error}");
    };
    fenced(spilled.send(ProducerRecord::new("a", "late")).unwrap_err());
    fenced(spilled.commit().unwrap_err());
    fenced(first.begin_transaction().unwrap_err());
    fenced(first.send(ProducerRecord::new("a", "late")).unwrap_err());
    write_both(&second, "mine").unwrap();
    assert_eq!((committed(&log, "a"), committed(&log, "b")), (vec!["mine".into()], vec!["mine".into()]));
}

#[test]
fn what_another_life_left_open_under_a_name_is_aborted_and_its_epoch_is_not_used_again() {
    let env = SimEnv::new(1);
    let log = open(&env);
    let producer = named(&log, "sensor-7");
    write_both(&producer, "1").unwrap();
    let mut spilled = producer.begin_transaction().unwrap();
    spilled.send(ProducerRecord::new("a", "x".repeat(500))).unwrap();
    partition(&log, "a").flush().unwrap();
    for (crash, seed) in Crash::ALL.into_iter().zip(0..) {
        let log = open(&env.crash(crash, seed));
        let producer = named(&log, "sensor-7");
        write_both(&producer, "2").unwrap();
        assert_eq!(
            (committed(&log, "a"), committed(&log, "b")),
            (strings(&["1", "2"]), strings(&["1", "2"])),
            "{crash:?}"
        );
    }
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn a_name_can_be_taken_away_and_forgotten() {
    let log = open(&SimEnv::new(1));
    let producer = named(&log, "sensor-7");
    producer.send(numbered(1)).unwrap();
    assert!(log.fence("sensor-7").unwrap() && !log.fence("nobody").unwrap());
    assert_eq!(producer.send(numbered(2)).unwrap_err().kind(), ErrorKind::Fenced);
    let producer = named(&log, "sensor-7");
    assert_eq!(producer.last_sequence(&a0()).unwrap(), Some(1));
    assert!(log.forget_producer("sensor-7").unwrap() && !log.forget_producer("sensor-7").unwrap());
    assert_eq!(producer.send(numbered(2)).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(named(&log, "sensor-7").last_sequence(&a0()).unwrap(), None);
    for bad in [String::new(), "n".repeat(40_000)] {
        let refused = log.producer_builder().named(bad).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    }
    for time in [Duration::ZERO, Duration::from_secs(901), Duration::MAX] {
        let refused = log.producer_builder().transaction_timeout(time).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    }
}

#[test]
fn administrators_see_names_and_producers() {
    let log = open(&SimEnv::new(1));
    assert!(
        log.transactions().unwrap().is_empty() && log.describe_transaction("sensor-7").unwrap().is_none()
    );
    let producer = named(&log, "sensor-7");
    write_both(&producer, "1").unwrap();
    let listed = log.transactions().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].status), ("sensor-7", TransactionStatus::CompleteCommit));
    let described = log.describe_transaction("sensor-7").unwrap().unwrap();
    assert_eq!((described.producer_id, described.timeout), (listed[0].producer_id, Duration::from_secs(60)));
    let mut spilled = producer.begin_transaction().unwrap();
    spilled.send(ProducerRecord::new("a", "x".repeat(500))).unwrap();
    let known = log.describe_producers(&a0()).unwrap();
    let open: Vec<_> = known.iter().filter_map(|entry| entry.current_txn_first_offset).collect();
    assert_eq!((known.len(), open), (1, vec![2.into()]));
    partition(&log, "a").flush().unwrap();
    assert_eq!(log.stats().unstable, [(a0(), 1)]);
    assert!(log.abort_transaction(&a0(), known[0].producer_id).unwrap());
    assert!(!log.abort_transaction(&a0(), known[0].producer_id).unwrap());
    assert_eq!(spilled.commit().unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!((log.stats().unstable, committed(&log, "a")), (vec![], vec!["1".to_string()]));
}

#[test]
fn a_transaction_that_a_broker_left_open_stays_until_somebody_ends_it() {
    let env = SimEnv::new(1);
    let log = open(&env);
    transactional(partition(&log, "a").log(), 7, 0, "a broker's");
    log.producer().unwrap().send(ProducerRecord::new("a", "behind")).unwrap();
    log.close().unwrap();
    let log = open(&env);
    assert!(committed(&log, "a").is_empty() && log.health().is_good());
    let more = batch_in_transaction(7, 1, "and more");
    crate::partition::tests::append(
        partition(&log, "a").log(),
        more,
        crate::partition::write::gate::Origin::Producer,
    );
    env.advance(Duration::from_secs(1000));
    let health = log.health();
    assert_eq!((health.hanging.len(), health.is_good()), (1, false));
    assert!(
        health.to_string().contains("a-0 has a transaction of producer 7 open from offset 0 on"),
        "{health}"
    );
    assert!(log.abort_transaction(&a0(), 7).unwrap());
    assert_eq!(committed(&log, "a"), ["behind"]);
    assert!(log.health().is_good());
}
