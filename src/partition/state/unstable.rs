//! The transactions that hold offsets back, ordered by their first offset.
//!
//! Each goes through these states:
//!
//! | state | since | read-committed readers stop at it | cleaning and retention stop at it |
//! |---|---|---|---|
//! | open | its first batch | yes | yes |
//! | resolved | its outcome is durable elsewhere, and its marker is to be written | no | yes |
//! | decided | a marker that nobody vouched for was appended | until the high watermark has passed that | until the marker is durable |
//! | marked | the marker of a resolved one was appended | no | until the marker is durable |
//!
//! The first of them is asked for at each append: finding it costs a look at the front of a few trees, however many
//! producers there are (Kafka's `ongoingTxns` and `unreplicatedTxns`).

use crate::types::Offset;
use std::collections::BTreeSet;

/// The transactions of a log that hold something back.
#[derive(Clone, Debug, Default)]
pub struct UnstableTransactions {
    /// The first offset and the producer of each that is open.
    open: BTreeSet<(Offset, i64)>,
    /// The same of each that is resolved.
    resolved: BTreeSet<(Offset, i64)>,
    /// The first offset and the marker's of each whose marker the high watermark has not passed.
    decided: BTreeSet<(Offset, Offset)>,
    /// The same by marker: the high watermark passes them in this order.
    markers: BTreeSet<(Offset, Offset)>,
    /// The first offset and the marker's of each whose marker is not durable.
    unflushed: BTreeSet<(Offset, Offset)>,
}

impl UnstableTransactions {
    /// A transaction of `producer` begins at `first`.
    pub fn opened(&mut self, producer: i64, first: Offset) {
        self.open.insert((first, producer));
    }

    /// It is neither open nor resolved any more.
    pub fn closed(&mut self, producer: i64, first: Offset) {
        self.open.remove(&(first, producer));
        self.resolved.remove(&(first, producer));
    }

    /// Its outcome is known and durable: readers need not wait for its marker.
    pub fn resolved(&mut self, producer: i64, first: Offset) {
        self.open.remove(&(first, producer));
        self.resolved.insert((first, producer));
    }

    /// Whether it waits for nothing but its marker.
    pub fn is_resolved(&self, producer: i64, first: Offset) -> bool {
        self.resolved.contains(&(first, producer))
    }

    /// The one of `producer` that began at `first` was decided by the marker at `marker`.
    pub fn decided(&mut self, producer: i64, first: Offset, marker: Offset) {
        self.unflushed.insert((first, marker));
        if !self.is_resolved(producer, first) {
            self.decided.insert((first, marker));
            self.markers.insert((marker, first));
        }
        self.closed(producer, first);
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

    /// An open one that began below `offset`.
    pub fn open_below(&self, offset: Offset) -> Option<(Offset, i64)> {
        self.open.first().filter(|(first, _)| *first < offset).copied()
    }

    /// Everything below `flushed` is durable, markers too.
    pub fn durable_below(&mut self, flushed: Offset) {
        if !self.unflushed.is_empty() {
            self.unflushed.retain(|(_, marker)| *marker >= flushed);
        }
    }

    /// The first offset of the first that has no marker.
    pub fn first_without_marker(&self) -> Option<Offset> {
        first_of([&self.open, &self.resolved])
    }

    /// Where read-committed readers stop: at the first that is open, or decided and not seen yet.
    pub fn first(&self) -> Option<Offset> {
        let decided = self.decided.first().map(|(first, _)| *first);
        first_of([&self.open]).into_iter().chain(decided).min()
    }

    /// Where cleaning and retention stop: at the first whose marker is missing or not durable.
    pub fn first_to_keep(&self) -> Option<Offset> {
        let unflushed = self.unflushed.first().map(|(first, _)| *first);
        self.first_without_marker().into_iter().chain(unflushed).min()
    }

    /// The same, of open ones for those of some producers alone.
    pub fn first_to_hold(&self, is_held: impl Fn(i64) -> bool) -> Option<Offset> {
        let open = self.open.iter().find(|(_, producer)| is_held(*producer)).map(|(first, _)| *first);
        let unflushed = self.unflushed.first().map(|(first, _)| *first);
        first_of([&self.resolved]).into_iter().chain(open).chain(unflushed).min()
    }

    /// The first offset of the first whose marker was written and is not durable.
    pub fn first_unflushed(&self) -> Option<Offset> {
        self.unflushed.first().map(|(first, _)| *first)
    }

    /// Whether readers wait for none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.decided.is_empty()
    }
}

fn first_of<const N: usize>(sets: [&BTreeSet<(Offset, i64)>; N]) -> Option<Offset> {
    sets.into_iter().filter_map(|set| set.first().map(|(first, _)| *first)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset)
    }

    #[test]
    fn a_resolved_one_holds_no_reader_back_and_keeps_its_records_until_its_marker_is_durable() {
        let mut unstable = UnstableTransactions::default();
        unstable.opened(1, at(5));
        unstable.opened(2, at(7));
        assert_eq!((unstable.first(), unstable.first_to_keep()), (Some(at(5)), Some(at(5))));
        unstable.resolved(1, at(5));
        assert_eq!((unstable.first(), unstable.first_to_keep()), (Some(at(7)), Some(at(5))));
        assert_eq!(unstable.first_without_marker(), Some(at(5)), "for the index of what is aborted");
        unstable.decided(1, at(5), at(9));
        assert_eq!((unstable.first(), unstable.first_to_keep()), (Some(at(7)), Some(at(5))));
        unstable.decided(2, at(7), at(10));
        assert_eq!(unstable.first(), Some(at(7)), "nobody vouched for it: its marker is to be seen first");
        unstable.seen_below(at(11));
        assert_eq!((unstable.first(), unstable.is_empty()), (None, true));
        assert_eq!(unstable.first_to_keep(), Some(at(5)));
        unstable.durable_below(at(10));
        assert_eq!(unstable.first_to_keep(), Some(at(7)), "the marker at 10 is not below 10");
        unstable.durable_below(at(11));
        assert_eq!(unstable.first_to_keep(), None);
    }
}
