//! The gate: what must hold of a batch before it gets offsets.
//!
//! # The order
//!
//! Under the log's writer lock, before the gate (`append.rs`): the log is open, and what an append needs is in memory. At
//! the gate ([`admit`]), a line for each condition: the **origin** may bring such a batch; its **size** is allowed; its
//! **producer** has the epoch and the sequence, or has sent it before. After the gate (`append.rs`, `reserve.rs`): the
//! batch gets its offsets, the segment is rolled if that is due, a new incarnation is written down, space is reserved.
//!
//! A batch that one condition answers does not reach the later ones: a retry of a batch in the log is answered with its
//! original offsets, whatever a later condition would say of it now.
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
//! * It says [`GateAnswer::Append`] of a batch that it has nothing against.
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
        append_as::AppendAs,
        append_state::Active,
        gate_answer::GateAnswer,
        producers::{BatchFacts, ProducerState},
    },
    storage::layout::SegmentFile,
    types::{Offset, TopicPartition},
};
use std::path::Path;

/// Where a batch comes from. That decides what the batch may be; its own header does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer, or the library on its own behalf: records. Where they carry a producer's id, they carry its sequence too.
    Producer,
    /// A producer of this process: records, which get their sequence from the log.
    Owned(AppendAs),
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
    /// Whether `batch` is to be appended to the log, of which `active` holds the settings and the state of appending, or is
    /// in it already; an error where it must not be appended.
    fn check(&self, batch: &Candidate<'_>, active: &Active) -> Result<GateAnswer>;
}

/// Whether the batch may be appended now: asks all conditions in their order. A new one is a line here.
#[inline]
pub(in crate::partition) fn admit(active: &Active, batch: &Candidate<'_>) -> Result<GateAnswer> {
    Gate::of(active, batch).ask(&AllowedOrigin).ask(&AllowedSize).ask(&active.producers).answer
}

/// A batch at the gate, and the answer of the conditions asked so far.
struct Gate<'a> {
    active: &'a Active,
    batch: &'a Candidate<'a>,
    answer: Result<GateAnswer>,
}

impl<'a> Gate<'a> {
    #[inline]
    fn of(active: &'a Active, batch: &'a Candidate<'a>) -> Self {
        Gate { active, batch, answer: Ok(GateAnswer::Append) }
    }

    /// Asks one more condition, unless an earlier one has refused the batch or knows it.
    #[inline]
    fn ask(mut self, condition: &impl Condition) -> Self {
        if matches!(self.answer, Ok(GateAnswer::Append)) {
            self.answer = condition.check(self.batch, self.active);
        }
        self
    }
}

/// Only the coordinator writes control records, as in Kafka.
struct AllowedOrigin;

impl Condition for AllowedOrigin {
    #[inline]
    fn check(&self, batch: &Candidate<'_>, _: &Active) -> Result<GateAnswer> {
        if batch.origin != Origin::Coordinator && batch.header.is_control() {
            let reason =
                format!("control records of {} are written by the coordinator alone", batch.partition);
            return Err(Error::InvalidArgument { reason });
        }
        Ok(GateAnswer::Append)
    }
}

/// The topic's settings say how large a batch may be.
struct AllowedSize;

impl Condition for AllowedSize {
    #[inline]
    fn check(&self, batch: &Candidate<'_>, active: &Active) -> Result<GateAnswer> {
        let (size, (max, limit)) = (batch.header.size(), active.config.max_batch());
        if size > max { Err(Error::too_large(size, max, limit)) } else { Ok(GateAnswer::Append) }
    }
}

/// The producer's epoch and sequence, as Kafka checks them. A marker has no sequence.
impl Condition for ProducerState {
    #[inline]
    fn check(&self, batch: &Candidate<'_>, active: &Active) -> Result<GateAnswer> {
        if batch.origin == Origin::Coordinator || !batch.header.has_producer_id() {
            return Ok(GateAnswer::Append);
        }
        let facts = BatchFacts::from(batch.header);
        // What one with a name has written was asked before; nothing of one without was here before its process.
        let lost_below = if let Origin::Owned(_) = batch.origin { None } else { self.lost_for(&facts) };
        match lost_below {
            Some(below) => Err(lost(batch, active, below)),
            None => self.check_sequence(&facts, batch.partition),
        }
    }
}

/// What the producer did below `below` is not known any more: its batch may be there already.
#[cold]
fn lost(batch: &Candidate<'_>, active: &Active, below: Offset) -> Error {
    let dir = active.segment.path().parent().unwrap_or(Path::new(""));
    let reason = format!(
        "it said what producers did in {} below offset {below}, and is missing or damaged: whether this batch of producer {} \
         was appended before cannot be determined. Restore the file and open the log again; batches without a producer id \
         are taken, and all of them a day after the loss was noticed",
        batch.partition, batch.header.producer_id
    );
    Error::corrupt(SegmentFile::Snapshot.path(dir, below), 0, reason)
}

#[cfg(test)]
mod tests {
    use crate::{
        ErrorKind, Streamlog, TopicConfig,
        clients::IsolationLevel,
        codec::builder::SealedBatch,
        partition::{log::Log, tests, write::gate::*},
    };
    use std::{cell::Cell, sync::Arc};

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

    /// Answers `says` when it is asked, and counts how often it was.
    struct Counting {
        says: Result<GateAnswer>,
        asked: Cell<u32>,
    }

    impl Condition for Counting {
        fn check(&self, _: &Candidate<'_>, _: &Active) -> Result<GateAnswer> {
            self.asked.set(self.asked.get() + 1);
            self.says.clone()
        }
    }

    #[test]
    fn the_first_condition_that_refuses_a_batch_or_knows_it_is_the_last_one_asked() {
        let (_streamlog, log) = log();
        log.append(&mut batch(0)).unwrap();
        let mut writer = log.writer.lock();
        let active = writer.opened().unwrap();
        let (batch, partition) = (batch(1), &log.identity.name);
        let candidate = Candidate { header: batch.header(), origin: Origin::Producer, partition };
        let known = GateAnswer::Duplicate {
            base_offset: 0.into(),
            last_offset: 0.into(),
            timestamp: crate::Timestamp::NONE,
        };
        for says in [Ok(known), Err(Error::closed("the log"))] {
            let of = |says: Result<GateAnswer>| Counting { says, asked: Cell::new(0) };
            let conditions = [of(Ok(GateAnswer::Append)), of(says.clone()), of(Ok(GateAnswer::Append))];
            let gate = conditions.iter().fold(Gate::of(active, &candidate), |gate, each| gate.ask(each));
            assert_eq!(gate.answer.ok(), says.ok());
            assert_eq!(conditions.map(|each| each.asked.get()), [1, 1, 0]);
        }
    }
}
