//! The transactions that hold the last stable offset back, ordered by their first offset.
//!
//! Each is open until its marker, and undecided for readers until the high watermark has passed that. The first of them
//! is asked for at each append: finding it costs a look at the front of two trees, however many producers there are
//! (Kafka's `ongoingTxns` and `unreplicatedTxns`).

use crate::types::Offset;
use std::collections::BTreeSet;

/// The transactions of a log that are not stable yet.
#[derive(Clone, Debug, Default)]
pub struct UnstableTransactions {
    /// The first offset and the producer of each that is open.
    open: BTreeSet<(Offset, i64)>,
    /// The first offset and the marker's of each whose marker the high watermark has not passed.
    decided: BTreeSet<(Offset, Offset)>,
    /// The same by marker: the high watermark passes them in this order.
    markers: BTreeSet<(Offset, Offset)>,
}

impl UnstableTransactions {
    /// A transaction of `producer` begins at `first`.
    pub fn opened(&mut self, producer: i64, first: Offset) {
        self.open.insert((first, producer));
    }

    /// It is not open any more.
    pub fn closed(&mut self, producer: i64, first: Offset) {
        self.open.remove(&(first, producer));
    }

    /// The one that began at `first` was decided by the marker at `marker`.
    pub fn decided(&mut self, first: Offset, marker: Offset) {
        self.decided.insert((first, marker));
        self.markers.insert((marker, first));
    }

    /// Readers see everything below `high_watermark`: what was decided there is stable.
    pub fn seen_below(&mut self, high_watermark: Offset) {
        while let Some(&(marker, first)) = self.markers.first()
            && marker < high_watermark
        {
            self.markers.remove(&(marker, first));
            self.decided.remove(&(first, marker));
        }
    }

    /// The first offset of the first that is open.
    pub fn first_open(&self) -> Option<Offset> {
        self.open.first().map(|(first, _)| *first)
    }

    /// The first offset of the first that is open, or decided and not seen yet.
    pub fn first(&self) -> Option<Offset> {
        let decided = self.decided.first().map(|(first, _)| *first);
        [self.first_open(), decided].into_iter().flatten().min()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.decided.is_empty()
    }
}
