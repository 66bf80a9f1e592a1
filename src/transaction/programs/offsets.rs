//! The offsets of groups inside transactions.

use super::*;
use crate::{Consumer, sim::Crash};

/// A consumer of group `g` that has read everything in `a`.
fn consumer_at_the_end(log: &Streamlog) -> Consumer {
    let mut consumer =
        log.consumer_builder("g").auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    consumer.subscribe(["a"]).unwrap();
    while !consumer.poll(Duration::ZERO).unwrap().is_empty() {}
    consumer
}

/// What group `g` has committed for `a`.
fn committed_offset(log: &Streamlog) -> Option<u64> {
    let description = log.describe_group("g").unwrap();
    description.committed.first().map(|(_, committed)| committed.offset.value())
}

#[test]
fn offsets_count_with_the_transaction_and_only_with_it() {
    let env = SimEnv::new(1);
    let log = open(&env);
    log.producer().unwrap().send(ProducerRecord::new("a", "in")).unwrap();
    let producer = log.producer().unwrap();
    let consumer = consumer_at_the_end(&log);
    for commits in [false, true] {
        let mut transaction = producer.begin_transaction().unwrap();
        transaction.send(ProducerRecord::new("b", "out")).unwrap();
        transaction.send_offsets(&consumer).unwrap();
        assert_eq!(committed_offset(&log), None);
        match commits {
            true => drop(transaction.commit().unwrap()),
            false => transaction.abort().unwrap(),
        }
    }
    assert_eq!((committed_offset(&log), committed(&log, "b")), (Some(1), vec!["out".to_string()]));
    for crash in [Crash::Nothing, Crash::Kill] {
        let later = open(&env.crash(crash, 1));
        assert_eq!((committed_offset(&later), committed(&later, "b").len()), (Some(1), 1), "{crash:?}");
    }
    log.close().unwrap();
    assert_eq!(committed_offset(&open(&env)), Some(1));
}

#[test]
fn offsets_alone_are_a_transaction_too() {
    let env = SimEnv::new(1);
    let log = open(&env);
    log.producer().unwrap().send(ProducerRecord::new("a", "in")).unwrap();
    let producer = log.producer().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send_offsets(&consumer_at_the_end(&log)).unwrap();
    transaction.commit().unwrap();
    let later = open(&env.crash(Crash::Nothing, 1));
    assert_eq!(committed_offset(&later), Some(1));
}

#[test]
fn another_groups_commit_is_not_hidden_by_an_open_transaction() {
    let log = open(&SimEnv::new(1));
    log.producer().unwrap().send(ProducerRecord::new("a", "in")).unwrap();
    let producer = log.producer_builder().transaction_buffer(100).build().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    transaction.send(ProducerRecord::new("b", "-".repeat(300))).unwrap();
    transaction.send_offsets(&consumer_at_the_end(&log)).unwrap();
    let mut other = log.consumer_builder("h").auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    other.subscribe(["a"]).unwrap();
    assert_eq!(other.poll(Duration::ZERO).unwrap().len(), 1);
    other.commit_sync().unwrap();
    assert_eq!(log.describe_group("h").unwrap().committed.len(), 1);
    transaction.commit().unwrap();
    assert_eq!(log.describe_group("h").unwrap().committed.len(), 1);
    assert_eq!(committed_offset(&log), Some(1));
}

#[test]
fn a_consumer_without_a_group_or_of_another_log_has_no_offsets_to_give() {
    let log = open(&SimEnv::new(1));
    let producer = log.producer().unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    let without = log.consumer_builder_without_group().build().unwrap();
    assert_eq!(transaction.send_offsets(&without).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let other = open(&SimEnv::new(2));
    let foreign = other.consumer("g").unwrap();
    assert_eq!(transaction.send_offsets(&foreign).unwrap_err().kind(), ErrorKind::InvalidArgument);
    transaction.send(ProducerRecord::new("a", "x")).unwrap();
    transaction.commit().unwrap();
}
