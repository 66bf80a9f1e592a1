//! Which markers of transactions are still needed, and which of the batches without a record.
//!
//! Kafka's rules (`CleanedTransactionMetadata`): a marker is needed as long as the log has a batch of its transaction,
//! emptied ones too, for without it that would be open. A marker that is not gets a delete horizon, and goes after that:
//! a reader that has met the records by then meets the marker too. The transaction index keeps the aborted transactions of
//! which a batch is left.
//!
//! It is a walk over the headers of the log, from its start and in order, whether or not a segment is rewritten. Segments
//! without a producer's batch are passed over.

use super::{decide::Keys, live::LiveSet};
use crate::{
    codec::{batch::BatchHeader, control::ControlRecord, index::AbortedTransaction, keys::KeysFlags},
    error::Result,
    partition::{state::remembered::Remembered, write::cleanable::Cleanable},
    types::{Offset, Timestamp},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Where the walk stands.
#[derive(Debug)]
pub struct Walk {
    remembered: Arc<Remembered>,
    /// The time that horizons are outlived by, and the end of the batch that stays in any case.
    now: Timestamp,
    high_watermark: Offset,
    /// The aborted transactions, the one that begins last first: the next one is the last.
    to_come: Vec<AbortedTransaction>,
    /// By producer, the aborted one that has begun, and whether a batch of it was met.
    aborted: HashMap<i64, (AbortedTransaction, bool)>,
    /// The producers of which a batch was met in another transaction that has not ended.
    others: HashSet<i64>,
}

/// What becomes of the markers and headers of one segment.
#[derive(Debug)]
pub struct Markers {
    remembered: Arc<Remembered>,
    base: Offset,
    /// The markers whose transaction has no batch any more.
    bare: LiveSet,
    /// The aborted transactions that end here and have one, in the order of their markers.
    pub aborted: Vec<AbortedTransaction>,
    /// Whether a marker changes or goes, or a header goes.
    pub has_work: bool,
}

impl Walk {
    /// From the start of a log with these `aborted` transactions, where something of these producers is to stay.
    pub fn new(
        mut aborted: Vec<AbortedTransaction>,
        remembered: Remembered,
        now: Timestamp,
        high_watermark: Offset,
    ) -> Self {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Walk {
            remembered: Arc::new(remembered),
            now,
            high_watermark,
            to_come: aborted,
            aborted: HashMap::new(),
            others: HashSet::new(),
        }
    }

    /// Goes on through the next segment.
    pub fn through(&mut self, one: &Cleanable, keys: &Keys) -> Result<Markers> {
        let mut found = Markers {
            remembered: Arc::clone(&self.remembered),
            base: one.segment.base(),
            bare: LiveSet::new(keys.file.span()),
            aborted: Vec::new(),
            has_work: false,
        };
        if !keys.file.flags().say(KeysFlags::PRODUCERS) {
            return Ok(found);
        }
        let mut position = 0;
        while let Some(header) = one.segment.header_at(position)? {
            let end = position + header.size();
            self.begin_below(header.next_offset());
            if header.record_count == 0 && header.has_producer_id() {
                found.has_work |= !found.keeps(&header) && header.next_offset() != self.high_watermark;
            }
            if !header.is_control() {
                self.meet(&header);
            } else if header.record_count > 0 {
                let bytes = one.segment.source().bytes(position..end, 0)?;
                if let Some(ControlRecord::Marker { commit, .. }) = ControlRecord::of_batch(&bytes) {
                    self.end(&header, commit, &mut found);
                }
            }
            position = end;
        }
        found.bare.settle();
        Ok(found)
    }

    /// Takes up the aborted transactions that begin below `offset`.
    fn begin_below(&mut self, offset: Offset) {
        while let Some(begun) = self.to_come.pop_if(|next| next.first_offset < offset) {
            self.aborted.insert(begun.producer_id, (begun, false));
        }
    }

    /// A batch of data.
    fn meet(&mut self, header: &BatchHeader) {
        if !header.is_transactional() {
            return;
        }
        let aborted = self.aborted.get_mut(&header.producer_id);
        match aborted.filter(|(transaction, _)| header.last_offset() < transaction.last_offset) {
            Some((_, is_met)) => *is_met = true,
            None => drop(self.others.insert(header.producer_id)),
        }
    }

    /// A marker.
    fn end(&mut self, header: &BatchHeader, commit: bool, found: &mut Markers) {
        let mut is_bare = !self.others.remove(&header.producer_id);
        let aborted = self.aborted.get(&header.producer_id).copied();
        if let Some((transaction, is_met)) =
            aborted.filter(|(one, _)| one.last_offset == header.last_offset())
        {
            self.aborted.remove(&header.producer_id);
            if is_met && !commit {
                found.aborted.push(transaction);
                is_bare = false;
            }
        }
        planted!(a_marker_goes_before_its_data => is_bare = true);
        if is_bare {
            found.bare.insert(header.last_offset().distance_from(found.base).min(u64::from(u32::MAX)) as u32);
            found.has_work |= header.delete_horizon().is_none_or(|horizon| self.now >= horizon);
        }
    }
}

impl Markers {
    /// Whether the header of a batch stays though no record of it lives.
    pub fn keeps(&self, header: &BatchHeader) -> bool {
        self.remembered.keeps(header)
    }

    /// Whether nothing is left of the transaction of the marker at this offset.
    pub fn is_bare(&self, relative: u32) -> bool {
        self.bare.contains(relative)
    }

    /// The aborted transaction that ends with the marker at this offset, where something of it is left.
    pub fn aborted_by(&self, marker: Offset) -> Option<AbortedTransaction> {
        let at = self.aborted.binary_search_by_key(&marker, |transaction| transaction.last_offset).ok()?;
        self.aborted.get(at).copied()
    }
}
