//! Which batches are hidden from a reader: the one decision, for walks in both directions.
//!
//! Control batches, and batches without records, are hidden from everybody. Read-committed readers do not see the batches
//! of aborted transactions either (KIP-98). [`Hidden`] decides it as Kafka's consumer does, in one walk in the order of
//! offsets: the aborted transactions of a fetch, in the order of their first offsets, and those of them that are under
//! way where the walk stands, by producer. A batch costs one comparison while no transaction is aborted.
//!
//! Unlike Kafka's, a transaction ends at the offset of its marker, whether or not that marker is still in the log: a
//! cleaner may have removed it.

use crate::{
    codec::{batch::BatchHeader, index::AbortedTransaction},
    types::Offset,
};
use std::collections::BTreeMap;

/// What is hidden from the reader of some batches.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    /// The transactions that were aborted, the one that begins last first: the next one is the last.
    to_come: Vec<AbortedTransaction>,
    /// By producer, where its aborted transaction ends.
    under_way: BTreeMap<i64, Offset>,
}

impl Hidden {
    /// What a read-committed reader does not see where these transactions were `aborted`.
    pub fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Hidden { to_come: aborted, under_way: BTreeMap::new() }
    }

    /// Whether a batch is hidden. Batches are asked about in the order of their offsets, each as often as its reader likes.
    #[inline]
    pub fn hides(&mut self, header: &BatchHeader) -> bool {
        let mut is_control = header.is_control();
        planted!(show_what_controls => is_control = false);
        is_control || header.record_count == 0 || self.is_aborted(header)
    }

    /// Whether a batch with records belongs to an aborted transaction. It is asked about as in [`hides`](Self::hides).
    #[inline]
    pub fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        if !header.is_transactional() {
            return false;
        }
        planted!(show_what_was_aborted => return false);
        if self.to_come.last().is_some_and(|next| next.first_offset <= header.last_offset()) {
            self.go_to(header.last_offset());
        }
        !self.under_way.is_empty() && self.is_under_way(header)
    }

    /// Takes up the transactions that begin at `offset` or before.
    fn go_to(&mut self, offset: Offset) {
        while let Some(begun) = self.to_come.pop_if(|next| next.first_offset <= offset) {
            // The index of another writer may name two of one producer at a time.
            let end = self.under_way.entry(begun.producer_id).or_insert(begun.last_offset);
            *end = begun.last_offset.max(*end);
        }
    }

    fn is_under_way(&mut self, header: &BatchHeader) -> bool {
        let Some(end) = self.under_way.get(&header.producer_id).copied() else { return false };
        let mut is_over = end <= header.last_offset();
        planted!(an_abort_hides_what_follows => is_over = false);
        if is_over {
            self.under_way.remove(&header.producer_id);
        }
        !is_over
    }
}

#[cfg(test)]
mod tests;
