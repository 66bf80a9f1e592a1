//! The sequences of a named producer's records, in one partition.
//!
//! A record is compared with the partition's log and with what is queued for it before it joins a batch, record by record:
//! after a restart batches fall differently. The number counts once the record is queued or written; where a batch fails, its
//! numbers are given back, and the next record asks the log again.
//!
//! Always true: between the look at a record's number and its place in the queue or the log, the producer's `order` is held,
//! so that no other record of this producer comes between.

use super::{
    accumulator::{Accumulator, LastNumber, Pushed, State},
    delivery::{BatchResult, Delivery},
    record::{NOWHERE, RecordMetadata},
    sender::Drain,
};
use crate::{
    error::{Error, Result},
    partition::{
        state::append_as::Claimed,
        write::{
            append::Appended,
            append_as::{last_sequence, offset_of_sequence},
            encode::RecordData,
        },
    },
    types::{Durability, Timestamp},
};
use std::sync::Arc;

/// The number of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// It comes after all others of its partition.
    New(u64),
    /// It was sent before.
    Again(u64),
}

impl Accumulator {
    /// The number of the next record, whose source gave it `wanted`. The producer's `order` is held.
    pub(super) fn number(&self, claimed: Claimed, wanted: Option<u64>) -> Result<Number> {
        self.lock().check()?;
        let mut last = self.last_number(claimed)?;
        planted!(no_number_is_too_low => last = None);
        match (wanted, last) {
            (Some(number), Some(last)) if number <= last => Ok(Number::Again(number)),
            (Some(number), _) => Ok(Number::New(number)),
            (None, None) => Ok(Number::New(0)),
            (None, Some(last)) => last.checked_add(1).map(Number::New).ok_or_else(|| {
                Error::InvalidArgument { reason: format!("no sequence is left after {last}") }
            }),
        }
    }

    /// The last number of a record that is queued or in the log.
    pub(super) fn last_number(&self, claimed: Claimed) -> Result<Option<u64>> {
        if let LastNumber::Is(last) = self.lock().last_number {
            return Ok(last);
        }
        // While it is held, no batch is between the queue and the log.
        let out = self.out.lock();
        let in_log = last_sequence(self.log(), claimed)?;
        let mut state = self.lock();
        let last = in_log.max(state.last_queued());
        state.last_number = LastNumber::Is(last);
        drop(state);
        drop(out);
        Ok(last)
    }

    /// The record with this number is queued, or in the log.
    pub(super) fn has_number(&self, number: u64) {
        self.lock().last_number = LastNumber::Is(Some(number));
    }

    /// Records failed whose numbers counted.
    pub(super) fn give_numbers_back(&self) {
        self.lock().last_number = LastNumber::Unknown;
    }

    /// Where a record lies that was sent before; everything that was queued before it is in the log then, and as durable as
    /// the topic says.
    pub(super) fn sent_before(
        &self,
        claimed: Claimed,
        number: u64,
        timestamp: Timestamp,
    ) -> Result<RecordMetadata> {
        self.write_before()?;
        let log = self.log();
        let offset = offset_of_sequence(log, claimed, number)?;
        let end = offset.map_or(log.offsets().log_end(), |offset| offset + 1);
        log.acknowledge(end, log.config().durability == Durability::Flushed)?;
        Ok(RecordMetadata::sent_before(offset, timestamp, &log.identity.name))
    }
}

impl Accumulator {
    /// The delivery of a record that was sent before.
    pub(super) fn push_again(
        self: &Arc<Self>,
        claimed: Claimed,
        number: u64,
        data: &RecordData<'_>,
    ) -> Result<Pushed> {
        let timestamp = data.timestamp.unwrap_or_else(|| self.context().env().now());
        if let Some(last) = self.open_promise().or_else(|| self.last_promise()) {
            return Ok(Pushed::Queued((Delivery::again(last, timestamp), 0)));
        }
        let known = self.sent_before(claimed, number, timestamp)?;
        let promise = BatchResult::new(Arc::clone(self) as Arc<dyn Drain>);
        let next_offset = if known.has_offset() { known.offset + 1 } else { NOWHERE };
        promise.settle(Ok(Appended {
            base_offset: known.offset,
            next_offset,
            append_time: None,
            duplicate: true,
            must_flush: false,
        }));
        Ok(Pushed::Queued((Delivery::new(promise, 0, timestamp), 0)))
    }
}

impl State {
    /// The last number of the records that are not in the log.
    fn last_queued(&self) -> Option<u64> {
        let open = self.open.as_ref().and_then(|open| open.sequences());
        let queued = || self.queue.iter().rev().find_map(|batch| batch.body.sequences());
        open.or_else(queued).map(|sequences| sequences.last)
    }
}
