//! The markers that a log is owed: of transactions whose outcome is durable elsewhere.
//!
//! A marker is pending where it could not be written (a full disk), and where an opening has learned an outcome: openings
//! write nothing. It goes out before the log's next batch. Until then readers know from here which records were aborted.
//!
//! A marker that was written stays in a second list until it is durable: who follows the log as far as it is durable, such as a
//! table, learns its outcome from here as well.
//!
//! The lists change under the log's writer lock. Readers look without it, and before they look at the segments' indexes: a
//! marker is taken from the list only when it stands there.

use crate::{
    codec::index::AbortedTransaction,
    env::sync::{AtomicBool, Mutex, Ordering},
    types::Offset,
};
use std::collections::VecDeque;

/// A marker that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) struct PendingMarker {
    pub producer_id: i64,
    /// The epoch that the marker carries.
    pub epoch: i16,
    /// The epoch of the transaction's batches.
    pub of_epoch: i16,
    pub commit: bool,
    /// Where the transaction begins.
    pub first_offset: Offset,
    /// All its batches lie below.
    pub end: Offset,
}

/// The markers that a log is owed, oldest first.
#[derive(Debug, Default)]
pub(in crate::partition) struct PendingMarkers {
    any: AtomicBool,
    list: Mutex<VecDeque<PendingMarker>>,
    /// Where each lies that was written and is not durable.
    written: Mutex<VecDeque<(Offset, PendingMarker)>>,
}

impl PendingMarkers {
    /// Whether there are any: asked before each append.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// One more.
    pub fn owe(&self, marker: PendingMarker) {
        self.list.lock().push_back(marker);
        self.any.store(true, Ordering::Release);
    }

    /// The one that is to be written first.
    pub fn first(&self) -> Option<PendingMarker> {
        self.list.lock().front().copied()
    }

    /// The first was written, at this offset.
    pub fn paid(&self, at: Offset) {
        let mut list = self.list.lock();
        if let Some(marker) = list.pop_front() {
            self.written.lock().push_back((at, marker));
        }
        self.any.store(!list.is_empty(), Ordering::Release);
    }

    /// Everything below `flushed` is durable.
    pub fn durable_below(&self, flushed: Offset) {
        let mut written = self.written.lock();
        while written.front().is_some_and(|(at, _)| *at < flushed) {
            written.pop_front();
        }
    }

    /// The outcomes of transactions that no durable marker tells, oldest first.
    pub fn outcomes(&self) -> Vec<PendingMarker> {
        let list = self.list.lock();
        let written = self.written.lock();
        written.iter().map(|(_, marker)| *marker).chain(list.iter().copied()).collect()
    }

    /// The aborted transactions among them that reach into `from..to`.
    pub fn aborted_between(&self, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        if !self.any() {
            return Vec::new();
        }
        let list = self.list.lock();
        let reaches =
            |marker: &&PendingMarker| !marker.commit && marker.first_offset < to && marker.end > from;
        let transaction = |marker: &PendingMarker| AbortedTransaction {
            producer_id: marker.producer_id,
            first_offset: marker.first_offset,
            last_offset: marker.end,
            last_stable_offset: marker.end,
        };
        list.iter().filter(reaches).map(transaction).collect()
    }
}
