//! Sequences that the log gives under its lock.

use super::marker_of_epoch;
use crate::{
    ErrorKind, Streamlog, TopicConfig,
    clients::IsolationLevel,
    codec::builder::{BatchBuilder, SealedBatch},
    partition::{
        log::Log,
        state::append_as::{AppendAs, Claimed},
        write::gate::Origin,
    },
    planted,
    types::{Compression, Timestamp},
};
use std::sync::Arc;

fn log() -> (Streamlog, Arc<Log>) {
    let streamlog = Streamlog::in_memory().unwrap();
    let config = TopicConfig::default().segment_bytes(600).max_message_bytes(500);
    let topic = streamlog.create_topic("t", config).unwrap();
    let log = Arc::clone(topic.partition(0).unwrap().log());
    (streamlog, log)
}

fn plain(value: &str, records: usize) -> SealedBatch {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.append(Timestamp::from_millis(1), None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.seal(Compression::None, None).unwrap()
}

fn by(epoch: i16, transactional: bool) -> AppendAs {
    AppendAs { producer: Claimed { id: 1 << 41, epoch }, transactional, named: false }
}

/// Appends the batch; returns the epoch, the sequence and the transactional bit that it was given.
fn append(log: &Log, batch: &mut SealedBatch, by: AppendAs) -> (i16, i32, bool) {
    let appended = log.append_as(batch, by).unwrap();
    assert!(!appended.duplicate, "what was not sent again is no duplicate");
    let header = batch.header();
    (header.producer_epoch, header.base_sequence, header.is_transactional())
}

fn sequences_follow_and_a_refused_batch_uses_none() {
    let (_streamlog, log) = log();
    let first = &mut plain("one", 3);
    assert_eq!(append(&log, first, by(0, false)), (0, 0, false));
    let too_large = log.append_as(&mut plain(&"x".repeat(600), 2), by(0, false)).unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::RecordTooLarge);
    assert_eq!(append(&log, &mut plain("two", 1), by(0, true)), (0, 3, true));
    let outside = log.append_as(&mut plain("three", 1), by(0, false)).unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::InvalidTransactionState);
    // An append that starts over brings the same batch.
    assert_eq!(append(&log, first, by(0, true)), (0, 4, true));
    assert_eq!(append(&log, &mut plain("of the next epoch", 2), by(1, true)), (1, 0, true));
    let fenced = log.append_as(&mut plain("late", 1), by(0, true)).unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced);
    assert_eq!(append(&log, &mut plain("last", 2), by(1, true)), (1, 2, true));
    assert_eq!(log.offsets().log_end(), 11);
}

#[test]
fn a_log_gives_sequences_that_follow_to_what_it_takes() {
    planted::hold(sequences_follow_and_a_refused_batch_uses_none, &["a_batch_keeps_its_first_sequence"]);
}

fn a_late_batch_opens_no_transaction() {
    let (_streamlog, log) = log();
    append(&log, &mut plain("one", 1), by(0, true));
    log.append_from(&mut marker_of_epoch(1 << 41, 1, true), Origin::Coordinator).unwrap();
    log.flush().unwrap();
    let late = log.append_as(&mut plain("late", 1), by(0, true)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced);
    // What is left of a transaction that another log of this id has forgotten.
    let mut foreign = plain("later still", 1);
    foreign.set_producer(7, 0, 4);
    foreign.set_transactional(true);
    assert_eq!(log.append(&mut foreign).unwrap_err().kind(), ErrorKind::OutOfOrderSequence);
    assert_eq!(log.offsets().bound(IsolationLevel::ReadCommitted), log.offsets().log_end());
    assert_eq!(append(&log, &mut plain("two", 1), by(1, true)), (1, 0, true));
}

/// Kafka's case T31.
#[test]
fn a_late_batch_of_an_ended_transaction_is_refused_and_opens_none() {
    planted::hold(a_late_batch_opens_no_transaction, &["a_transaction_of_a_stranger_begins_anywhere"]);
}
