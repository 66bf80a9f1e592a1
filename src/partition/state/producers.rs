//! What a log remembers of each producer: its epoch, its last five batches, its open transaction.
//!
//! The rules are Kafka's (KIP-98, `ProducerStateManager`, `ProducerAppendInfo`): a batch whose first and last sequence
//! equal one of the last five is a duplicate and is answered with its first offsets; otherwise the sequence must follow.
//! A transaction stays unstable until the high watermark has passed its marker.

use crate::{
    codec::{
        batch::BatchHeader,
        control::ControlRecord,
        index::AbortedTransaction,
        snapshot::{BatchMeta, ProducerBatches, ProducerEntry},
    },
    error::{Error, Result},
    partition::state::{admission::Admission, observer::Observer, unstable::UnstableTransactions},
    types::{Offset, Timestamp, TopicPartition},
};
use std::collections::{BTreeMap, VecDeque};

/// How many batches of a producer are remembered.
const BATCHES: usize = 5;

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

#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<BatchMeta>,
    coordinator_epoch: i32,
    timestamp: Timestamp,
    open_transaction: Option<Offset>,
}

impl Producer {
    fn new(epoch: i16) -> Self {
        Producer {
            epoch,
            batches: VecDeque::new(),
            coordinator_epoch: -1,
            timestamp: Timestamp::NONE,
            open_transaction: None,
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
#[derive(Clone, Debug, Default)]
pub struct ProducerState {
    producers: BTreeMap<i64, Producer>,
    /// The open transactions of all of them, and those decided since readers last looked.
    unstable: UnstableTransactions,
}

impl ProducerState {
    /// What to do with a batch that a client wants appended.
    pub fn check_sequence(&self, batch: &BatchFacts, partition: &TopicPartition) -> Result<Admission> {
        let Some(producer) = self.producers.get(&batch.producer_id) else { return Ok(Admission::Append) };
        if let Some(known) = producer.known(batch) {
            return Ok(Admission::Duplicate {
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
            return Err(Error::OutOfOrderSequence {
                partition: partition.clone(),
                producer_id: batch.producer_id,
                expected,
                found: batch.first_sequence,
            });
        }
        if producer.open_transaction.is_some() && !batch.transactional {
            return Err(Error::InvalidTransactionState {
                reason: format!("producer {} has a transaction open in {partition}", batch.producer_id),
            });
        }
        Ok(Admission::Append)
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
        });
        producer.timestamp = batch.timestamp;
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
        }
        producer.coordinator_epoch = coordinator_epoch;
        producer.timestamp = batch.timestamp;
        let first_offset = producer.open_transaction.take()?;
        self.unstable.closed(batch.producer_id, first_offset);
        self.unstable.decided(first_offset, batch.last_offset);
        if commit {
            return None;
        }
        Some(AbortedTransaction {
            producer_id: batch.producer_id,
            first_offset,
            last_offset: batch.last_offset,
            last_stable_offset: self.unstable.first_open().unwrap_or(batch.last_offset + 1),
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
                timestamp: p.timestamp,
                coordinator_epoch: p.coordinator_epoch,
                current_txn_first_offset: p.open_transaction,
            }
        };
        let batches = |(id, p): (&i64, &Producer)| ProducerBatches {
            producer_id: *id,
            producer_epoch: p.epoch,
            batches: p.batches.iter().cloned().collect(),
        };
        (self.producers.iter().map(entry).collect(), self.producers.iter().map(batches).collect())
    }

    /// The state from Kafka's snapshot, and from our longer one where the two agree.
    pub fn from_snapshot(entries: &[ProducerEntry], longer: &[ProducerBatches]) -> Self {
        let mut state = ProducerState::default();
        for entry in entries {
            let mut producer = Producer::new(entry.producer_epoch);
            producer.coordinator_epoch = entry.coordinator_epoch;
            producer.timestamp = entry.timestamp;
            producer.open_transaction = entry.current_txn_first_offset;
            if let Some(last_offset) = Offset::from_i64(entry.last_offset) {
                let last = BatchMeta {
                    last_sequence: entry.last_sequence,
                    last_offset,
                    offset_delta: u32::try_from(entry.offset_delta).unwrap_or(0),
                    timestamp: entry.timestamp,
                };
                let known = longer.iter().find(|l| {
                    l.producer_id == entry.producer_id
                        && l.producer_epoch == entry.producer_epoch
                        && l.batches.last().is_some_and(|b| {
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
        match ControlRecord::of_batch(bytes)? {
            ControlRecord::Marker { commit, coordinator_epoch } => {
                self.marker(&facts, coordinator_epoch, commit)
            }
            ControlRecord::Other(_) => None,
        }
    }
}

/// The sequence after `last`; it begins again at 0 after the largest.
pub fn next_sequence(last: i32) -> i32 {
    if last == i32::MAX { 0 } else { last + 1 }
}

#[cfg(test)]
mod tests {
    use crate::partition::state::producers::*;

    fn facts(first: i32, last: i32, base: u64) -> BatchFacts {
        BatchFacts {
            producer_id: 9,
            epoch: 0,
            first_sequence: first,
            last_sequence: last,
            base_offset: Offset::new(base),
            last_offset: Offset::new(base) + (last - first) as u64,
            timestamp: Timestamp::from_millis(1000),
            transactional: false,
        }
    }

    fn at() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    #[test]
    fn a_retry_among_the_last_five_gets_its_first_offsets_and_an_older_one_is_out_of_order() {
        let mut state = ProducerState::default();
        for i in 0..6 {
            let batch = facts(i * 2, i * 2 + 1, i as u64 * 2);
            assert_eq!(state.check_sequence(&batch, &at()).unwrap(), Admission::Append);
            state.applied(&batch);
        }
        let retry = state.check_sequence(&facts(2, 3, 99), &at()).unwrap();
        let Admission::Duplicate { base_offset, last_offset, .. } = retry else { panic!("{retry:?}") };
        assert_eq!((base_offset, last_offset), (Offset::new(2), Offset::new(3)));
        let old = state.check_sequence(&facts(0, 1, 99), &at()).unwrap_err();
        assert!(matches!(old, Error::OutOfOrderSequence { expected: 12, found: 0, .. }), "{old}");
        let (entries, batches) = state.to_snapshot();
        let back = ProducerState::from_snapshot(&entries, &batches);
        assert!(matches!(back.check_sequence(&facts(2, 3, 99), &at()).unwrap(), Admission::Duplicate { .. }));
        let short = ProducerState::from_snapshot(&entries, &[]);
        assert!(short.check_sequence(&facts(2, 3, 99), &at()).is_err());
    }

    #[test]
    fn sequences_wrap_and_a_new_epoch_begins_at_zero() {
        let mut state = ProducerState::default();
        state.applied(&facts(i32::MAX - 1, i32::MAX, 0));
        assert_eq!(state.check_sequence(&facts(0, 0, 2), &at()).unwrap(), Admission::Append);
        let newer = BatchFacts { epoch: 1, ..facts(1, 1, 2) };
        assert!(state.check_sequence(&newer, &at()).is_err());
        state.applied(&BatchFacts { epoch: 1, ..facts(0, 0, 2) });
        assert!(matches!(state.check_sequence(&facts(0, 0, 3), &at()), Err(Error::Fenced { .. })));
    }

    #[test]
    fn a_newer_epoch_begins_at_zero_whatever_came_before_and_knows_no_batch_of_an_older_one() {
        let mut state = ProducerState::default();
        state.applied(&facts(0, 4, 0));
        let newer = |first, last| BatchFacts { epoch: 1, ..facts(first, last, 5) };
        assert_eq!(state.check_sequence(&newer(0, 4), &at()).unwrap(), Admission::Append);
        let next = state.check_sequence(&newer(5, 5), &at()).unwrap_err();
        assert!(matches!(next, Error::OutOfOrderSequence { expected: 0, found: 5, .. }), "{next}");
        state.applied(&newer(0, 4));
        assert_eq!(state.check_sequence(&newer(5, 5), &at()).unwrap(), Admission::Append);
        let same = |base| Admission::Duplicate {
            base_offset: Offset::new(base),
            last_offset: Offset::new(base + 4),
            timestamp: Timestamp::from_millis(1000),
        };
        assert_eq!(state.check_sequence(&newer(0, 4), &at()).unwrap(), same(5));
        // A batch of the older epoch is no duplicate of one that has its sequences.
        assert!(matches!(state.check_sequence(&facts(0, 4, 9), &at()), Err(Error::Fenced { .. })));
    }

    #[test]
    fn a_retry_counts_as_one_only_where_both_its_sequences_are_those_of_a_batch() {
        let mut state = ProducerState::default();
        state.applied(&facts(0, 4, 0));
        state.applied(&facts(5, 9, 5));
        for (first, last) in [(1, 4), (0, 3), (5, 8), (6, 9), (4, 9)] {
            let part = state.check_sequence(&facts(first, last, 10), &at()).unwrap_err();
            assert!(
                matches!(part, Error::OutOfOrderSequence { expected: 10, .. }),
                "{first} to {last}: {part}"
            );
        }
    }

    #[test]
    fn a_marker_of_the_same_epoch_keeps_the_batches_and_one_of_a_newer_epoch_fences_them() {
        let mut state = ProducerState::default();
        state.applied(&BatchFacts { transactional: true, ..facts(0, 1, 0) });
        let outside = state.check_sequence(&facts(2, 2, 2), &at()).unwrap_err();
        assert!(matches!(outside, Error::InvalidTransactionState { .. }), "{outside}");
        let inside = BatchFacts { transactional: true, ..facts(2, 2, 2) };
        assert_eq!(state.check_sequence(&inside, &at()).unwrap(), Admission::Append);
        state.marker(&facts(0, 0, 2), 0, true);
        let retry = state.check_sequence(&facts(0, 1, 3), &at()).unwrap();
        assert!(matches!(retry, Admission::Duplicate { .. }), "{retry:?}");
        assert_eq!(state.check_sequence(&facts(2, 2, 3), &at()).unwrap(), Admission::Append);
        state.marker(&BatchFacts { epoch: 1, ..facts(0, 0, 3) }, 0, false);
        assert!(matches!(state.check_sequence(&facts(0, 1, 4), &at()), Err(Error::Fenced { .. })));
        let newer = |first| BatchFacts { epoch: 1, ..facts(first, first, 4) };
        assert_eq!(state.check_sequence(&newer(0), &at()).unwrap(), Admission::Append);
        assert!(state.check_sequence(&newer(2), &at()).is_err());
    }

    #[test]
    fn the_longer_snapshot_is_believed_only_about_what_kafkas_says_too() {
        let mut state = ProducerState::default();
        state.applied(&facts(0, 1, 0));
        state.applied(&facts(2, 3, 2));
        let (entries, longer) = state.to_snapshot();
        let knows_both = |entries: &[ProducerEntry], longer: &[ProducerBatches]| {
            let back = ProducerState::from_snapshot(entries, longer);
            // The last one is known by Kafka's alone.
            let last = facts(entries[0].last_sequence - 1, entries[0].last_sequence, 9);
            let last = BatchFacts { epoch: entries[0].producer_epoch, ..last };
            let last =
                back.check_sequence(&BatchFacts { producer_id: entries[0].producer_id, ..last }, &at());
            assert!(matches!(last.unwrap(), Admission::Duplicate { .. }));
            back.producers[&entries[0].producer_id].batches.len() == 2
        };
        assert!(knows_both(&entries, &longer));
        let wrong: [fn(&mut ProducerEntry); 4] = [
            |entry| entry.producer_id += 1,
            |entry| entry.producer_epoch += 1,
            |entry| entry.last_offset += 1,
            |entry| entry.last_sequence += 1,
        ];
        for change in wrong {
            let mut entries = entries.clone();
            change(&mut entries[0]);
            assert!(!knows_both(&entries, &longer), "{:?}", entries[0]);
        }
        // One that has sent nothing yet, or only markers, has no last batch.
        let silent = ProducerEntry { last_offset: -1, last_sequence: -1, ..entries[0] };
        let back = ProducerState::from_snapshot(&[silent], &[]);
        assert_eq!(back.check_sequence(&facts(0, 0, 0), &at()).unwrap(), Admission::Append);
        assert!(back.check_sequence(&facts(4, 4, 0), &at()).is_err());
    }

    /// What the order of the transactions must agree with: a walk over all producers.
    fn first_open_by_walking(state: &ProducerState) -> Option<Offset> {
        state.producers.values().filter_map(|producer| producer.open_transaction).min()
    }

    #[test]
    fn the_order_of_open_transactions_agrees_with_what_each_producer_has_open() {
        let mut state = ProducerState::default();
        let mut random = 7_u64;
        for step in 0..3000_u64 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let producer_id = (random >> 33) as i64 % 20;
            let batch = BatchFacts { producer_id, transactional: true, ..facts(0, 0, step * 2 + 100) };
            match (random >> 60) % 6 {
                0..3 => state.applied(&batch),
                3 => {
                    let aborted = state.marker(&batch, 0, false);
                    let open = first_open_by_walking(&state).unwrap_or(batch.last_offset + 1);
                    assert!(aborted.is_none_or(|aborted| aborted.last_stable_offset == open));
                }
                4 => state.opened_earlier(producer_id, 0, Offset::new(step % 100)),
                _ => {
                    let (first_offset, last_offset) = (batch.base_offset, batch.last_offset);
                    let last_stable_offset = last_offset;
                    let gone =
                        AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset };
                    state.aborted_unseen(&gone);
                }
            }
            assert_eq!(state.unstable.first_open(), first_open_by_walking(&state), "step {step}");
            if step % 17 == 0 {
                state.on_high_watermark(batch.last_offset + 1);
                assert_eq!(state.first_unstable_offset(), first_open_by_walking(&state), "step {step}");
                let (entries, batches) = state.to_snapshot();
                let back = ProducerState::from_snapshot(&entries, &batches);
                assert_eq!(back.first_unstable_offset(), state.first_unstable_offset());
            }
        }
        assert!(state.first_unstable_offset().is_some());
    }

    #[test]
    fn a_transaction_is_unstable_until_the_high_watermark_passed_its_marker() {
        let mut state = ProducerState::default();
        state.applied(&BatchFacts { transactional: true, ..facts(0, 1, 10) });
        assert_eq!(state.first_unstable_offset(), Some(Offset::new(10)));
        let aborted = state.marker(&facts(0, 0, 12), 5, false).unwrap();
        assert_eq!((aborted.first_offset, aborted.last_stable_offset), (Offset::new(10), Offset::new(13)));
        state.on_high_watermark(Offset::new(12));
        assert_eq!(state.first_unstable_offset(), Some(Offset::new(10)));
        state.on_high_watermark(Offset::new(13));
        assert_eq!(state.first_unstable_offset(), None);
    }
}
