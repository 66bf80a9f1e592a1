//! The segments of a partition, by base offset.

use crate::codec::manifest::Seal;
use crate::storage::segment::SegmentId;
use crate::types::Offset;
use std::collections::BTreeMap;

/// A segment that exists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentEntry {
    /// The offset of its first record.
    pub base: Offset,
    /// Its seal, once it takes no more appends.
    pub sealed: Option<Seal>,
}

impl SegmentEntry {
    /// Its identity. A segment that is not sealed was never rewritten.
    pub fn id(&self) -> SegmentId {
        SegmentId { base: self.base, generation: self.sealed.map_or(0, |seal| seal.generation) }
    }
}

/// The segments that exist, ascending. The cost of a change is that of what it changes, in any order of changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segments {
    by_base: BTreeMap<Offset, Option<Seal>>,
}

fn entry((base, sealed): (&Offset, &Option<Seal>)) -> SegmentEntry {
    SegmentEntry { base: *base, sealed: *sealed }
}

impl Segments {
    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SegmentEntry> + DoubleEndedIterator + Clone {
        self.by_base.iter().map(entry)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_base.len()
    }

    /// Whether the partition has no segment.
    pub fn is_empty(&self) -> bool {
        self.by_base.is_empty()
    }

    /// The first one.
    pub fn first(&self) -> Option<SegmentEntry> {
        self.by_base.first_key_value().map(entry)
    }

    /// The last one, which takes appends.
    pub fn last(&self) -> Option<SegmentEntry> {
        self.by_base.last_key_value().map(entry)
    }

    /// The segment that begins at `base`.
    pub fn at(&self, base: Offset) -> Option<SegmentEntry> {
        self.by_base.get_key_value(&base).map(entry)
    }

    /// The segments with a base from `from` on and below `to`.
    pub fn between(&self, from: Offset, to: Offset) -> impl Iterator<Item = SegmentEntry> {
        self.by_base.range(from..to).map(entry)
    }

    /// The last one that begins before `offset`.
    pub fn before(&self, offset: Offset) -> Option<SegmentEntry> {
        self.by_base.range(..offset).next_back().map(entry)
    }

    /// How many segments precede the one that begins at `base`.
    pub fn number_of(&self, base: Offset) -> Option<usize> {
        self.at(base).map(|_| self.by_base.range(..base).count())
    }

    /// The first one that begins after `offset`.
    pub fn after(&self, offset: Offset) -> Option<SegmentEntry> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_base.range((Excluded(offset), Unbounded)).next().map(entry)
    }

    /// Keeps the segments for which `keeps` is true.
    pub fn retain(&mut self, keeps: impl Fn(SegmentEntry) -> bool) {
        self.by_base.retain(|base, sealed| keeps(SegmentEntry { base: *base, sealed: *sealed }));
    }

    /// Adds a segment; `false` if one begins at `base` already.
    pub(super) fn insert(&mut self, base: Offset) -> bool {
        let is_new = !self.by_base.contains_key(&base);
        if is_new {
            self.by_base.insert(base, None);
        }
        is_new
    }

    /// Seals the segment that begins at `base`; `false` if there is no such segment.
    pub(super) fn seal(&mut self, base: Offset, sealed: Seal) -> bool {
        self.by_base.get_mut(&base).map(|of| *of = Some(sealed)).is_some()
    }

    /// Replaces the segments from `from` up to `to` by sealed ones, which are in order.
    pub(super) fn replace(&mut self, from: Offset, to: Offset, with: &[(Offset, Seal)]) {
        let gone: Vec<Offset> = self.by_base.range(from..to).map(|(base, _)| *base).collect();
        for base in gone {
            self.by_base.remove(&base);
        }
        self.by_base.extend(with.iter().map(|(base, sealed)| (*base, Some(*sealed))));
    }

    /// Removes the segments that begin below `below`.
    pub(super) fn remove_below(&mut self, below: Offset) {
        while self.first().is_some_and(|first| first.base < below) {
            self.by_base.pop_first();
        }
    }

    /// Removes the segments that begin after `end`; one that begins at `end` stays only if it is the first. The last one is
    /// active again.
    pub(super) fn truncate(&mut self, end: Offset) {
        while self.last().is_some_and(|last| last.base > end || (last.base == end && self.len() > 1)) {
            self.by_base.pop_last();
        }
        if let Some(mut last) = self.by_base.last_entry() {
            *last.get_mut() = None;
        }
    }
}

#[cfg(test)]
impl FromIterator<SegmentEntry> for Segments {
    fn from_iter<I: IntoIterator<Item = SegmentEntry>>(entries: I) -> Self {
        Segments { by_base: entries.into_iter().map(|entry| (entry.base, entry.sealed)).collect() }
    }
}
