//! What a log remembers of producers with a name: the sequences that their sources gave to their records.
//!
//! They rise within a partition, whatever the epoch: a source that begins again after a crash numbers its records as before.
//! So the last one is kept beside the batches, which a new epoch clears, for as long as the producer has its name. A producer
//! of this process whose batches say no sequences has no name; nothing is kept of it here.

use super::{Producer, ProducerState, is_ours};
use crate::{
    codec::{
        batch::RecordBatch,
        named::{NamedSequences, Said, sequences_of},
        snapshot::{BatchMeta, LastNamed},
    },
    error::{Error, Result},
    partition::state::append_as::Claimed,
    types::{Offset, TopicPartition},
};

/// What a log knows of a named producer's last sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has written nothing here.
    Nothing,
    /// Its last sequence is this.
    Last(u64),
    /// What it has written below this offset was lost.
    LostBelow(Offset),
}

impl ProducerState {
    /// The last batch of this producer has these sequences.
    pub fn wrote(&mut self, producer_id: i64, sequences: NamedSequences) {
        let Some(producer) = self.producers.get_mut(&producer_id) else { return };
        if let Some(batch) = producer.batches.back_mut() {
            batch.named = Some(sequences);
        }
        producer.last_named = match producer.last_named {
            LastNamed::Is(before) => LastNamed::Is(before.max(sequences.last)),
            // A later one makes up for what was lost: they rise.
            LastNamed::NoName | LastNamed::Lost => LastNamed::Is(sequences.last),
        };
    }

    /// Learns of the sequences of a batch that was found in the log, and applied.
    pub fn read_sequences(&mut self, batch: &RecordBatch) {
        planted!(named_sequences_are_not_read => return);
        planted!(named_sequences_are_not_read => return);
        let header = batch.header();
        if !is_ours(header.producer_id) || header.is_control() {
            return;
        }
        match sequences_of(batch) {
            Said::Nothing => {}
            Said::Sequences(sequences) => self.wrote(header.producer_id, sequences),
            Said::Unreadable => {
                if let Some(producer) = self.producers.get_mut(&header.producer_id) {
                    producer.last_named = LastNamed::Lost;
                }
            }
        }
    }

    /// The last sequence of a named producer. The id of one in its first epoch was just drawn: nothing of it was lost.
    pub fn known_of(&self, claimed: Claimed, log_end: Offset) -> Known {
        let below = self.lost.map(|(below, _)| below).filter(|_| claimed.epoch > 0);
        planted!(lost_sequences_are_none => return self.last_named(claimed.id).map_or(Known::Nothing, Known::Last));
        match self.producers.get(&claimed.id).map(|producer| producer.last_named) {
            Some(LastNamed::Is(last)) => Known::Last(last),
            Some(LastNamed::Lost) => Known::LostBelow(log_end),
            Some(LastNamed::NoName) | None => below.map_or(Known::Nothing, Known::LostBelow),
        }
    }

    #[cfg_attr(not(feature = "__planted"), allow(dead_code, reason = "a planted mistake believes it"))]
    fn last_named(&self, producer_id: i64) -> Option<u64> {
        match self.producers.get(&producer_id)?.last_named {
            LastNamed::Is(last) => Some(last),
            LastNamed::NoName | LastNamed::Lost => None,
        }
    }

    /// Where the record with this sequence lies, if its batch is among the last ones and its place follows from its ends.
    pub fn offset_of(&self, producer_id: i64, sequence: u64) -> Option<Offset> {
        let batches = &self.producers.get(&producer_id)?.batches;
        batches.iter().find_map(|batch| place_in(batch, sequence))
    }

    /// A handle of this epoch has come: the log refuses those before it from now on.
    pub fn claim(&mut self, claimed: Claimed) {
        let epoch = self.claims.entry(claimed.id).or_insert(claimed.epoch);
        *epoch = claimed.epoch.max(*epoch);
    }

    /// That no later handle of the producer has come.
    pub fn check_claim(&self, claimed: Claimed, partition: &TopicPartition) -> Result<()> {
        match self.claims.get(&claimed.id) {
            Some(epoch) if claimed.epoch < *epoch => Err(Error::Fenced {
                reason: format!(
                    "producer {} came to {partition} with epoch {}, and epoch {epoch} has taken over",
                    claimed.id, claimed.epoch
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Forgets a producer whose name was forgotten. One whose transaction is open stays until that ends. Returns whether it
    /// was known.
    pub fn forget(&mut self, producer_id: i64) -> bool {
        let Some(producer) = self.producers.get_mut(&producer_id) else { return false };
        producer.last_named = LastNamed::NoName;
        producer.batches.iter_mut().for_each(|batch| batch.named = None);
        if producer.open_transaction.is_none() {
            self.producers.remove(&producer_id);
        }
        true
    }
}

/// Where the record with this sequence lies in a batch. Between the ends of one with gaps nobody knows.
fn place_in(batch: &BatchMeta, sequence: u64) -> Option<Offset> {
    let NamedSequences { first, last } = batch.named?;
    if sequence == last {
        return Some(batch.last_offset);
    }
    let is_inside = (first..last).contains(&sequence);
    let has_no_gaps = last - first == u64::from(batch.offset_delta);
    (is_inside && (has_no_gaps || sequence == first)).then(|| batch.base_offset() + (sequence - first))
}

impl Producer {
    /// Whether it is remembered however long it is silent.
    pub(super) fn has_a_name(&self) -> bool {
        planted!(a_name_is_forgotten_in_time => return false);
        self.last_named != LastNamed::NoName
    }
}
