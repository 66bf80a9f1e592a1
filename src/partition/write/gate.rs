//! The gate: what must hold of a batch before it gets offsets.
//!
//! # The order
//!
//! Under the log's writer lock: the log is **open**; the **origin** may bring such a batch; its **size** is allowed;
//! its **producer** has the epoch and the sequence, or has sent it before; then the roll, the incarnation, the space;
//! then the offsets. A batch that an earlier check answers does not reach the later ones: a retry of a batch in the log
//! is answered with its original offsets, whatever has changed since.
//!
//! # What a condition may rely on
//!
//! * It sees the log as it is appended to, with everything up to the offset that this batch would get. Some of that may
//!   be neither durable nor visible yet: a batch that depends on it is never acknowledged before it, nor kept without
//!   it.
//! * Nothing is appended between its answer and the batch.
//! * A refused batch leaves no trace: no offset, no sequence, no segment, no byte.
//!
//! # What a condition owes
//!
//! * It changes nothing: a batch that passes may still fail to be written.
//! * It reads no file, never waits and takes no lock that is held during an append. What needs a look into the files is
//!   looked up before the append, as of an offset; the condition decides about what came after it.
//!
//! A batch that passed is shown to the observers once it is written (`state/observer.rs`). A replay does not pass the
//! gate: its batches did when they were appended, so their control bit is believed.

use crate::{
    codec::batch::BatchHeader,
    error::{Error, Result},
    partition::state::{
        append_state::Active,
        producers::{BatchFacts, ProducerState, Verdict},
    },
    types::TopicPartition,
};

/// Where a batch comes from. That decides what the batch may be; its own header does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer, or the library on its own behalf: records.
    Producer,
    /// The coordinator of transactions: markers that end them. They carry a producer's id, and no sequence.
    Coordinator,
}

/// A batch to be appended. The offsets in its header do not count yet.
pub(in crate::partition) struct Candidate<'a> {
    pub header: &'a BatchHeader,
    pub origin: Origin,
    /// For the text of a refusal.
    pub partition: &'a TopicPartition,
}

/// What must be true of a log for a batch to be appended to it.
pub(in crate::partition) trait Condition {
    /// Whether the batch is to be appended, or is in the log already; an error where it must not be appended.
    fn check(&self, batch: &Candidate<'_>) -> Result<Verdict>;
}

/// Whether the batch may be appended now. A new condition is checked here, after the producer's.
#[inline]
pub(in crate::partition) fn admit(active: &Active, batch: &Candidate<'_>) -> Result<Verdict> {
    check_origin(batch)?;
    let (size, (max, limit)) = (batch.header.size(), active.config.max_batch());
    if size > max {
        return Err(Error::too_large(size, max, limit));
    }
    active.producers.check(batch)
}

/// Only the coordinator writes control records, as in Kafka.
fn check_origin(batch: &Candidate<'_>) -> Result<()> {
    if batch.origin == Origin::Producer && batch.header.is_control() {
        let reason = format!("control records of {} are written by the coordinator alone", batch.partition);
        return Err(Error::InvalidArgument { reason });
    }
    Ok(())
}

/// The producer's epoch and sequence, as Kafka checks them. A marker has no sequence.
impl Condition for ProducerState {
    #[inline]
    fn check(&self, batch: &Candidate<'_>) -> Result<Verdict> {
        if batch.origin == Origin::Coordinator || !batch.header.has_producer_id() {
            return Ok(Verdict::Append);
        }
        self.check_sequence(&BatchFacts::from(batch.header), batch.partition)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        ErrorKind, Streamlog, TopicConfig,
        clients::IsolationLevel,
        codec::builder::SealedBatch,
        partition::{log::Log, tests, write::gate::*},
    };
    use std::sync::Arc;

    fn log() -> (Streamlog, Arc<Log>) {
        let streamlog = Streamlog::in_memory().unwrap();
        let topic = streamlog.create_topic("t", TopicConfig::default()).unwrap();
        let log = Arc::clone(topic.partition(0).unwrap().log());
        (streamlog, log)
    }

    fn batch(sequence: i32) -> SealedBatch {
        tests::batch_in_transaction(9, sequence, "x")
    }

    fn marker() -> SealedBatch {
        tests::marker(9, true)
    }

    #[test]
    fn a_marker_ends_a_transaction_only_where_the_coordinator_brings_it() {
        let (_streamlog, log) = log();
        log.append(&mut batch(0)).unwrap();
        let refused = log.append(&mut marker()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{refused}");
        log.flush().unwrap();
        let stable = || log.offsets().bound(IsolationLevel::ReadCommitted);
        assert_eq!((stable(), log.offsets().log_end()), (0.into(), 1.into()));
        log.append_from(&mut marker(), Origin::Coordinator).unwrap();
        log.flush().unwrap();
        assert_eq!(stable(), 2);
    }

    #[test]
    fn what_the_gate_refuses_or_knows_leaves_no_trace() {
        let (_streamlog, log) = log();
        let first = log.append(&mut batch(0)).unwrap();
        let before = (log.offsets().log_end(), log.size(), log.segment_count());
        log.append(&mut batch(5)).unwrap_err();
        log.append(&mut marker()).unwrap_err();
        let again = log.append(&mut batch(0)).unwrap();
        assert_eq!((again.base_offset, again.duplicate), (first.base_offset, true));
        assert_eq!((log.offsets().log_end(), log.size(), log.segment_count()), before);
        assert_eq!(log.append(&mut batch(1)).unwrap().base_offset, 1);
    }
}
