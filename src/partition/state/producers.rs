//! What a log remembers of each producer: its epoch, its last five batches, its open transaction.
//!
//! The rules are Kafka's (KIP-98, `ProducerStateManager`, `ProducerAppendInfo`): a batch whose first and last sequence
//! equal one of the last five is a duplicate and is answered with its first offsets; otherwise the sequence must follow.
//! A transaction stays unstable until the high watermark has passed its marker. A producer that has been silent for
//! `producer.id.expiration.ms` is forgotten, unless a transaction of it is open, or it has a name.
//!
//! Kafka counts that silence from the timestamps of the records alone, so that a producer of old records is forgotten
//! immediately. Here it counts from the time when a batch was seen, as well as the clock is known at an append: it is
//! looked at when a log is loaded and at each checkpoint. Snapshots say the later of the two.

use crate::{
    codec::{
        batch::BatchHeader,
        control::ControlRecord,
        index::AbortedTransaction,
        snapshot::{BatchMeta, LastNamed, ProducerBatches, ProducerEntry},
    },
    error::{Error, Result},
    partition::state::{
        append_as::Claimed,
        gate_answer::GateAnswer,
        observer::Observer,
        remembered::{Last, Remembered},
        unstable::UnstableTransactions,
    },
    types::{Offset, Timestamp, TopicPartition},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// How many batches of a producer are remembered.
const BATCHES: usize = 5;

/// How long a producer may be silent before it is forgotten: Kafka's default of `producer.id.expiration.ms`.
pub const EXPIRATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The ids of this library's producers begin here, and are drawn at random. A broker counts its own from 0.
pub const OWN_IDS_FROM: i64 = 1 << 40;

/// Whether a producer's id was drawn by this library.
pub fn is_ours(producer_id: i64) -> bool {
    producer_id >= OWN_IDS_FROM
}

/// Whose batches a snapshot lists to say that others were lost: a batch without a producer has this id.
const LOST: i64 = -1;

/// The facts of a batch that the rules look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFacts {
    /// Its producer.
    pub producer_id: i64,
    /// The producer's epoch.
    pub epoch: i16,
    /// Its first sequence.
    pub first_sequence: i32,
    /// Its last sequence.
    pub last_sequence: i32,
    /// Its first offset.
    pub base_offset: Offset,
    /// Its last offset.
    pub last_offset: Offset,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
}

impl From<&BatchHeader> for BatchFacts {
    fn from(header: &BatchHeader) -> Self {
        BatchFacts {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
            transactional: header.is_transactional(),
        }
    }
}

/// A transaction that is open in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// The epoch of its batches.
    pub producer_epoch: i16,
    /// The offset of its first batch.
    pub first_offset: Offset,
    /// The time of its producer's last batch here.
    pub last_active: Timestamp,
}

#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<BatchMeta>,
    coordinator_epoch: i32,
    /// The largest timestamp of its last batch or marker, or the time when that was seen where that is later.
    last_active: Timestamp,
    open_transaction: Option<Offset>,
    /// The last sequence that its source gave: beside the batches, which a new epoch clears.
    last_named: LastNamed,
}

impl Producer {
    fn new(epoch: i16) -> Self {
        Producer {
            epoch,
            batches: VecDeque::new(),
            coordinator_epoch: -1,
            last_active: Timestamp::NONE,
            open_transaction: None,
            last_named: LastNamed::NoName,
        }
    }

    /// The same batch among those that are remembered.
    fn known(&self, batch: &BatchFacts) -> Option<&BatchMeta> {
        let is_same = |known: &&BatchMeta| {
            known.last_sequence == batch.last_sequence && known.first_sequence() == batch.first_sequence
        };
        self.batches.iter().find(is_same).filter(|_| batch.epoch == self.epoch)
    }

    fn last_sequence(&self) -> Option<i32> {
        self.batches.back().map(|b| b.last_sequence)
    }
}

/// The producers of a log.
#[derive(Clone, Debug)]
pub struct ProducerState {
    producers: BTreeMap<i64, Producer>,
    /// The open transactions of all of them, and those decided since readers last looked.
    unstable: UnstableTransactions,
    /// What producers did below this offset was lost, which was noticed at this time.
    lost: Option<(Offset, Timestamp)>,
    /// The epoch of the last handle of each named producer of this process.
    claims: BTreeMap<i64, i16>,
    /// The time when somebody last looked at the clock: no batch that comes is older than that.
    clock: Timestamp,
}

impl Default for ProducerState {
    fn default() -> Self {
        ProducerState::as_of(Timestamp::NONE)
    }
}

impl ProducerState {
    /// Nobody is known, and it is `now`.
    pub fn as_of(now: Timestamp) -> Self {
        ProducerState {
            producers: BTreeMap::new(),
            unstable: UnstableTransactions::default(),
            lost: None,
            claims: BTreeMap::new(),
            clock: now,
        }
    }

    /// The same, but that what producers did below `base` is lost.
    pub fn without_those_below(self, base: Offset) -> Self {
        ProducerState { lost: Some((base, self.clock)), ..self }
    }

    /// What producers did below this offset was lost, and those without a name would still be known.
    pub fn lost_below(&self) -> Option<Offset> {
        let (below, noticed) = self.lost?;
        (!is_over(noticed, self.clock)).then_some(below)
    }

    /// Where that which would say whether this batch is new was lost. One batch of its producer after that is enough.
    pub fn lost_for(&self, batch: &BatchFacts) -> Option<Offset> {
        let below = self.lost_below()?;
        let producer = self.producers.get(&batch.producer_id);
        producer.is_none_or(|producer| producer.batches.is_empty()).then_some(below)
    }

    /// What to do with a batch that a client wants appended.
    pub fn check_sequence(&self, batch: &BatchFacts, partition: &TopicPartition) -> Result<GateAnswer> {
        let Some(producer) = self.producers.get(&batch.producer_id) else {
            return first_batch(batch, partition);
        };
        if let Some(known) = producer.known(batch) {
            return Ok(GateAnswer::Duplicate {
                base_offset: known.base_offset(),
                last_offset: known.last_offset,
                timestamp: known.timestamp,
            });
        }
        if batch.epoch < producer.epoch {
            return Err(Error::Fenced {
                reason: format!(
                    "producer {} came to {partition} with epoch {}, which has seen epoch {}",
                    batch.producer_id, batch.epoch, producer.epoch
                ),
            });
        }
        let expected = match producer.last_sequence() {
            _ if batch.epoch > producer.epoch => 0,
            None => 0,
            Some(last) => next_sequence(last),
        };
        if batch.first_sequence != expected {
            return Err(out_of_order(batch, partition, expected));
        }
        if producer.open_transaction.is_some() && !batch.transactional {
            return Err(Error::InvalidTransactionState {
                reason: format!("producer {} has a transaction open in {partition}", batch.producer_id),
            });
        }
        Ok(GateAnswer::Append)
    }

    /// The sequence that the next batch of a producer begins with.
    pub fn sequence_after(&self, claimed: Claimed) -> i32 {
        let producer = self.producers.get(&claimed.id).filter(|producer| producer.epoch == claimed.epoch);
        producer.and_then(Producer::last_sequence).map_or(0, next_sequence)
    }

    /// Remembers a batch that was appended, or found in the log.
    pub fn applied(&mut self, batch: &BatchFacts) {
        let producer = self.producers.entry(batch.producer_id).or_insert_with(|| Producer::new(batch.epoch));
        if batch.epoch != producer.epoch {
            producer.epoch = batch.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(BatchMeta {
            last_sequence: batch.last_sequence,
            last_offset: batch.last_offset,
            offset_delta: u32::try_from(batch.last_offset.distance_from(batch.base_offset))
                .unwrap_or(u32::MAX),
            timestamp: batch.timestamp,
            named: None,
        });
        producer.last_active = batch.timestamp.max(self.clock);
        if batch.transactional && producer.open_transaction.is_none() {
            producer.open_transaction = Some(batch.base_offset);
            self.unstable.opened(batch.producer_id, batch.base_offset);
        }
    }

    /// Remembers a transaction marker that was appended, or found in the log. An aborted transaction is returned, for
    /// the transaction index.
    pub fn marker(
        &mut self,
        batch: &BatchFacts,
        coordinator_epoch: i32,
        commit: bool,
    ) -> Option<AbortedTransaction> {
        let producer = self.producers.entry(batch.producer_id).or_insert_with(|| Producer::new(batch.epoch));
        if batch.epoch > producer.epoch {
            producer.epoch = batch.epoch;
            producer.batches.clear();
            planted!(an_epoch_resets_named_sequences => producer.last_named = LastNamed::NoName);
        }
        producer.coordinator_epoch = coordinator_epoch;
        producer.last_active = batch.timestamp.max(self.clock);
        let first_offset = producer.open_transaction.take()?;
        self.unstable.decided(batch.producer_id, first_offset, batch.last_offset);
        if commit {
            return None;
        }
        Some(AbortedTransaction {
            producer_id: batch.producer_id,
            first_offset,
            last_offset: batch.last_offset,
            last_stable_offset: self.unstable.first_without_marker().unwrap_or(batch.last_offset + 1),
        })
    }

    /// Learns of a transaction that was opened before the replay began.
    pub fn opened_earlier(&mut self, producer_id: i64, epoch: i16, first_offset: Offset) {
        let producer = self.producers.entry(producer_id).or_insert_with(|| Producer::new(epoch));
        if let Some(known) = producer.open_transaction.filter(|known| *known > first_offset) {
            self.unstable.closed(producer_id, known);
            producer.open_transaction = None;
        }
        if producer.open_transaction.is_none() {
            producer.open_transaction = Some(first_offset);
            self.unstable.opened(producer_id, first_offset);
        }
    }

    /// Learns of a transaction that was aborted by a marker which cannot be read any more.
    pub fn aborted_unseen(&mut self, transaction: &AbortedTransaction) {
        let producer = self.producers.get_mut(&transaction.producer_id);
        if let Some(first) = producer.and_then(|producer| producer.open_transaction.take()) {
            self.unstable.closed(transaction.producer_id, first);
        }
    }

    /// The transactions without a marker whose outcome nobody has told.
    pub fn open_transactions(&self) -> impl Iterator<Item = OpenTransaction> {
        self.producers.iter().filter_map(|(id, producer)| {
            let first_offset = producer.open_transaction?;
            let (producer_id, producer_epoch, last_active) = (*id, producer.epoch, producer.last_active);
            let is_open = !self.unstable.is_resolved(producer_id, first_offset);
            is_open.then_some(OpenTransaction { producer_id, producer_epoch, first_offset, last_active })
        })
    }

    /// The outcome of this producer's transaction of this epoch is known and durable, so that readers need not wait for its
    /// marker. Returns where it begins; `None` where no such transaction is open.
    pub fn resolve(&mut self, producer_id: i64, epoch: i16) -> Option<Offset> {
        let producer = self.producers.get(&producer_id).filter(|producer| producer.epoch == epoch)?;
        let first =
            producer.open_transaction.filter(|first| !self.unstable.is_resolved(producer_id, *first))?;
        self.unstable.resolved(producer_id, first);
        Some(first)
    }

    /// Everything below `flushed` is durable, so that what its markers say needs no other witness.
    #[inline]
    pub fn durable_below(&mut self, flushed: Offset) {
        self.unstable.durable_below(flushed);
    }

    /// The first offset of the transactions whose marker is missing or not durable: what follows is neither cleaned nor
    /// removed.
    pub fn first_to_keep(&self) -> Option<Offset> {
        self.unstable.first_to_keep()
    }

    /// The same, without what other writers have left open: nothing here would ever end it.
    pub fn first_to_hold(&self) -> Option<Offset> {
        self.unstable.first_to_hold(is_ours)
    }

    /// The first offset of the transactions whose marker was written and is not durable.
    pub fn first_unflushed(&self) -> Option<Offset> {
        self.unstable.first_unflushed()
    }

    /// Where read-committed readers stop when the high watermark is `high_watermark`.
    pub fn stable_below(&mut self, high_watermark: Offset) -> Offset {
        if self.unstable.is_empty() {
            return high_watermark;
        }
        self.on_high_watermark(high_watermark);
        self.first_unstable_offset().map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Forgets decided transactions whose marker lies below the high watermark.
    fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.unstable.seen_below(high_watermark);
    }

    /// The first offset that is not stable: of an open transaction, or of a decided one that is not yet visible.
    fn first_unstable_offset(&self) -> Option<Offset> {
        self.unstable.first()
    }

    /// It is `now`: batches that come from now on were not appended earlier, whatever their timestamps are.
    pub fn at_time(&mut self, now: Timestamp) {
        self.clock = self.clock.max(now);
    }

    /// Forgets the producers that have been silent for [`EXPIRATION`], but for those with a transaction open and those with a
    /// name.
    pub fn expire(&mut self, now: Timestamp) {
        self.at_time(now);
        self.producers.retain(|_, producer| {
            planted!(a_producer_is_known_forever => return true);
            let is_kept = producer.open_transaction.is_some() || producer.has_a_name();
            is_kept || !is_over(producer.last_active, now)
        });
    }

    /// Whose headers a cleaner keeps.
    pub fn remembered(&self) -> Remembered {
        let mut most = BATCHES;
        planted!(four_headers_of_a_producer_stay => most = 4);
        let last = |producer: &Producer| Last {
            epoch: producer.epoch,
            batches: producer.batches.iter().rev().take(most).map(|batch| batch.last_offset).collect(),
        };
        self.producers.iter().map(|(id, producer)| (*id, last(producer))).collect()
    }

    /// A cleaner has gone through everything below `offset`: a transaction that began there has ended, though its marker may
    /// be gone.
    pub fn ended_below(&mut self, offset: Offset) {
        while let Some((first, id)) = self.unstable.open_below(offset) {
            self.unstable.closed(id, first);
            if let Some(producer) = self.producers.get_mut(&id) {
                producer.open_transaction = None;
            }
        }
    }

    /// As Kafka's snapshot, and as our longer one.
    pub fn to_snapshot(&self) -> (Vec<ProducerEntry>, Vec<ProducerBatches>) {
        let entry = |(id, p): (&i64, &Producer)| {
            let last = p.batches.back();
            ProducerEntry {
                producer_id: *id,
                producer_epoch: p.epoch,
                last_sequence: last.map_or(-1, |b| b.last_sequence),
                last_offset: last.map_or(-1, |b| b.last_offset.to_i64()),
                offset_delta: last.map_or(0, |b| i32::try_from(b.offset_delta).unwrap_or(i32::MAX)),
                timestamp: p.last_active,
                coordinator_epoch: p.coordinator_epoch,
                current_txn_first_offset: p.open_transaction,
            }
        };
        let batches = |(id, p): (&i64, &Producer)| ProducerBatches {
            producer_id: *id,
            producer_epoch: p.epoch,
            batches: p.batches.iter().cloned().collect(),
            last_named: p.last_named,
        };
        let lost = self.lost.map(|(below, noticed)| loss(below, noticed));
        let batches = lost.into_iter().chain(self.producers.iter().map(batches));
        (self.producers.iter().map(entry).collect(), batches.collect())
    }

    /// The state from Kafka's snapshot, and from our longer one, which is in the order of ids, where the two agree.
    pub fn from_snapshot(entries: &[ProducerEntry], longer: &[ProducerBatches]) -> Self {
        let lost =
            longer.first().filter(|first| first.producer_id == LOST).and_then(|lost| lost.batches.first());
        let lost = lost.map(|batch| (batch.last_offset, batch.timestamp));
        let mut state = ProducerState { lost, ..ProducerState::default() };
        for entry in entries {
            let mut producer = Producer::new(entry.producer_epoch);
            producer.coordinator_epoch = entry.coordinator_epoch;
            producer.last_active = entry.timestamp;
            producer.open_transaction = entry.current_txn_first_offset;
            let kept = batches_of(entry.producer_id, longer);
            // Of a name Kafka's says nothing, so there is nothing to agree with.
            producer.last_named = kept.map_or(LastNamed::NoName, |kept| kept.last_named);
            if let Some(last_offset) = Offset::from_i64(entry.last_offset) {
                let last = BatchMeta {
                    last_sequence: entry.last_sequence,
                    last_offset,
                    offset_delta: u32::try_from(entry.offset_delta).unwrap_or(0),
                    timestamp: entry.timestamp,
                    named: None,
                };
                let known = kept.filter(|longer| {
                    longer.producer_epoch == entry.producer_epoch
                        && longer.batches.last().is_some_and(|b| {
                            b.last_offset == last.last_offset && b.last_sequence == last.last_sequence
                        })
                });
                match known {
                    Some(longer) => {
                        producer.batches.extend(longer.batches.iter().rev().take(BATCHES).rev().cloned())
                    }
                    None => producer.batches.push_back(last),
                }
            }
            state.producers.insert(entry.producer_id, producer);
        }
        for (id, producer) in &state.producers {
            if let Some(first) = producer.open_transaction {
                state.unstable.opened(*id, first);
            }
        }
        state
    }
}

/// The first observer: what producers did is what their batches say.
impl Observer for ProducerState {
    #[inline]
    fn appended(&mut self, header: &BatchHeader, bytes: &[u8]) -> Option<AbortedTransaction> {
        if header.has_producer_id() { self.remember(header, bytes) } else { None }
    }
}

impl ProducerState {
    /// What a producer did with this batch.
    fn remember(&mut self, header: &BatchHeader, bytes: &[u8]) -> Option<AbortedTransaction> {
        let facts = BatchFacts::from(header);
        if !header.is_control() {
            self.applied(&facts);
            return None;
        }
        if header.record_count == 0 {
            // Compaction has left its epoch; nothing is left of its transaction.
            let known = self.producers.get(&facts.producer_id);
            let coordinator_epoch = known.map_or(-1, |producer| producer.coordinator_epoch);
            unless_planted!(an_emptied_marker_says_nothing => self.marker(&facts, coordinator_epoch, true));
            return None;
        }
        match ControlRecord::of_batch(bytes)? {
            ControlRecord::Marker { commit, coordinator_epoch } => {
                self.marker(&facts, coordinator_epoch, commit)
            }
            ControlRecord::Other(_) => None,
        }
    }
}

/// What to do with a batch of a producer that nobody knows. One that was forgotten continues where it was, but no transaction
/// goes on that began before: one that does was ended here, and its state forgotten.
fn first_batch(batch: &BatchFacts, partition: &TopicPartition) -> Result<GateAnswer> {
    planted!(a_transaction_of_a_stranger_begins_anywhere => return Ok(GateAnswer::Append));
    if batch.transactional && batch.first_sequence != 0 {
        return Err(out_of_order(batch, partition, 0));
    }
    Ok(GateAnswer::Append)
}

fn out_of_order(batch: &BatchFacts, partition: &TopicPartition, expected: i32) -> Error {
    Error::OutOfOrderSequence {
        partition: partition.clone(),
        producer_id: batch.producer_id,
        expected,
        found: batch.first_sequence,
    }
}

/// In a snapshot, that what producers did below an offset was lost: the batches of nobody.
fn loss(below: Offset, noticed: Timestamp) -> ProducerBatches {
    let batch =
        BatchMeta { last_sequence: -1, last_offset: below, offset_delta: 0, timestamp: noticed, named: None };
    let last_named = LastNamed::NoName;
    ProducerBatches { producer_id: LOST, producer_epoch: -1, batches: vec![batch], last_named }
}

/// Whether a producer that was last seen then is forgotten by `now`.
fn is_over(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since).is_some_and(|silent| silent >= EXPIRATION)
}

/// The batches of a producer, in a list that is in the order of ids: many have tens of thousands.
fn batches_of(producer_id: i64, longer: &[ProducerBatches]) -> Option<&ProducerBatches> {
    let found = longer.binary_search_by(|batches| {
        #[cfg(test)]
        tests::COMPARED.set(tests::COMPARED.get() + 1);
        batches.producer_id.cmp(&producer_id)
    });
    found.ok().and_then(|at| longer.get(at))
}

/// The sequence after `last`; it begins again at 0 after the largest.
pub fn next_sequence(last: i32) -> i32 {
    if last == i32::MAX { 0 } else { last + 1 }
}

#[cfg(test)]
mod kafka_cases;
pub mod named;
#[cfg(test)]
mod tests;
