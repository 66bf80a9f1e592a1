//! One partition in the manifest: the entries about it, and the state that they add up to.
//!
//! The rooms above name a partition once, as a [`PartitionId`], which makes entries about it. The state is a
//! [`PartitionState`]; it accepts an entry only if that makes sense after the earlier ones.

use super::segments::{SegmentEntry, Segments};
use crate::{
    codec::manifest::{Adopted, Entry, PartitionClosed, Seal},
    storage::scan::LEADER_EPOCH,
    types::{Offset, TopicId},
};
use std::{collections::VecDeque, iter::Peekable, ops::Range};

/// The most segments, or partitions, that one entry lists.
pub(super) const LIST_MAX: usize = 10_000;

/// How many incarnations are remembered whose records are gone.
pub(super) const LIVES_KEPT: usize = 64;

/// A partition: the id of its topic, which is never used again, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionId {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number.
    pub number: u32,
}

/// Facts about the partition, for [`Manifest::append`](super::Manifest::append).
impl PartitionId {
    /// A segment begins at `base` and takes appends.
    pub fn segment_created(self, base: Offset) -> Entry {
        Entry::SegmentCreated { id: self.topic, partition: self.number, base }
    }

    /// The segment at `base` is sealed, or the facts of its seal have changed.
    pub fn segment_sealed(self, base: Offset, sealed: Seal) -> Entry {
        Entry::SegmentSealed { id: self.topic, partition: self.number, base, sealed }
    }

    /// A roll, in one append: the segment at `old` is sealed, and a new active one begins at `new`.
    pub fn rolled(self, old: Offset, sealed: Seal, new: Offset) -> [Entry; 2] {
        [self.segment_sealed(old, sealed), self.segment_created(new)]
    }

    /// These segments replace those whose bases are in `range`.
    pub fn segments_replaced(self, range: Range<Offset>, with: Vec<(Offset, Seal)>) -> Entry {
        let Range { start: from, end: to } = range;
        Entry::SegmentsReplaced { id: self.topic, partition: self.number, from, to, with }
    }

    /// The log start is `offset`.
    pub fn log_start(self, offset: Offset) -> Entry {
        Entry::LogStart { id: self.topic, partition: self.number, offset }
    }

    /// The snapshot at `base`, where the first segment begins, has this checksum.
    pub fn producers_at_start(self, base: Offset, checksum: u32) -> Entry {
        Entry::ProducersAtStart { id: self.topic, partition: self.number, base, checksum }
    }

    /// A cleaner has gone through everything below `offset`.
    pub fn cleaned(self, offset: Offset) -> Entry {
        Entry::Cleaned { id: self.topic, partition: self.number, offset }
    }

    /// The log start is `log_start`, and all segments with a base below `below` are removed.
    pub fn trimmed(self, log_start: Offset, below: Offset) -> [Entry; 2] {
        let removed = Entry::SegmentsRemoved { id: self.topic, partition: self.number, below };
        [self.log_start(log_start), removed]
    }

    /// The log ends at `next_offset`; the segment that contains it is active again.
    pub fn truncated(self, next_offset: Offset) -> Entry {
        Entry::Truncated { id: self.topic, partition: self.number, next_offset }
    }

    /// Offsets from `first_offset` on belong to this incarnation.
    pub fn incarnation(self, number: u32, first_offset: Offset) -> Entry {
        Entry::Incarnation { id: self.topic, partition: self.number, number, first_offset }
    }

    /// Another writer appended these batches while the log was closed.
    pub fn adopted(self, adopted: Adopted) -> Entry {
        Entry::Adopted { id: self.topic, partition: self.number, adopted }
    }
}

/// The snapshot of the producers where the first segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducersAtStart {
    /// Where that is.
    pub base: Offset,
    /// The checksum of its files; 0 where nobody is known.
    pub checksum: u32,
}

/// A partition that exists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionState {
    /// Its slot in the marks file.
    pub slot: u32,
    /// Its segments, by base offset.
    pub segments: Segments,
    /// The first offset that can be read.
    pub log_start: Offset,
    /// What the producers did that are known only from before the first segment; `None` where that is not known either: for a
    /// log that has lost nothing yet, or to another writer.
    pub producers_at_start: Option<ProducersAtStart>,
    /// A cleaner has gone through everything below.
    pub cleaned: Offset,
    /// Its incarnations: number and first offset of each, ascending.
    pub incarnations: VecDeque<(u32, Offset)>,
    /// Batches that another writer appended while the log was closed, ascending.
    pub adopted: VecDeque<Adopted>,
    /// The facts of the clean close; `None` once the log was opened for writing again.
    pub closed: Option<PartitionClosed>,
}

impl PartitionState {
    /// A segment begins there.
    pub fn create_segment(&mut self, base: Offset) -> Result<(), String> {
        if base == Offset::MAX {
            return Err(format!("no segment begins at offset {base}"));
        }
        if self.segments.insert(base) {
            Ok(())
        } else {
            Err(format!("segment {base} is created a second time"))
        }
    }

    pub(super) fn seal_segment(&mut self, base: Offset, sealed: Seal) -> Result<(), String> {
        if self.segments.at(base).is_none() {
            return Err(format!("there is no segment {base} to seal"));
        }
        if sealed.next_offset < base {
            return Err(format!("segment {base} ends before it, at {}", sealed.next_offset));
        }
        self.segments.seal(base, sealed);
        Ok(())
    }

    pub(super) fn replace_segments(
        &mut self,
        from: Offset,
        to: Offset,
        with: &[(Offset, Seal)],
    ) -> Result<(), String> {
        let inside =
            with.iter().all(|(base, sealed)| (from..to).contains(base) && sealed.next_offset >= *base);
        if from > to || !inside || !with.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(format!("what replaces the segments from {from} to {to} is not in order there"));
        }
        let replaced = self.segments.between(from, to).peekable();
        self.check_rewritten(from, to, with, replaced)?;
        self.segments.replace(from, to, with);
        Ok(())
    }

    /// Whether these segments may replace those that exist. Where none exist, the list is the first entry about its segments:
    /// a rewritten manifest lists them so.
    fn check_rewritten(
        &self,
        from: Offset,
        to: Offset,
        with: &[(Offset, Seal)],
        mut replaced: Peekable<impl Iterator<Item = SegmentEntry>>,
    ) -> Result<(), String> {
        let Some(first) = replaced.peek().copied() else { return Ok(()) };
        let ends_within = self.segments.at(to).is_none() && self.segments.after(to).is_some();
        if first.base != from || ends_within {
            return Err(format!("no segments begin at {from} and {to}, between which some are replaced"));
        }
        let mut generation = 0;
        for segment in replaced {
            let Some(sealed) = segment.sealed else {
                return Err(format!("segment {} is replaced while it takes appends", segment.base));
            };
            generation = generation.max(sealed.generation);
        }
        if with.first().is_none_or(|(base, _)| *base != from) {
            return Err(format!("nothing that replaces the segments from {from} to {to} begins there"));
        }
        let ends = with.iter().skip(1).map(|(base, _)| *base).chain([to]);
        for ((base, sealed), end) in with.iter().zip(ends) {
            if sealed.next_offset > end {
                return Err(format!("segment {base} reaches {}, and {end} follows", sealed.next_offset));
            }
            if sealed.generation <= generation {
                let now = sealed.generation;
                return Err(format!("segment {base} is of generation {now}, and replaces {generation}"));
            }
        }
        Ok(())
    }

    /// Another writer's batches lie at the end of the log. Earlier ones from the same offset on were cut off.
    pub fn adopt(&mut self, more: Adopted) -> Result<(), String> {
        if more.next <= more.from {
            return Err(format!("no offsets from {} to {} can be adopted", more.from, more.next));
        }
        // The ranges stay ascending, and none reaches into the next.
        while self.adopted.back().is_some_and(|last| last.from >= more.from) {
            self.adopted.pop_back();
        }
        if let Some(last) = self.adopted.back_mut() {
            last.next = last.next.min(more.from);
        }
        self.adopted.push_back(more);
        Ok(())
    }

    /// The leader epoch of appended batches.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch_at(Offset::MAX)
    }

    fn leader_epoch_at(&self, offset: Offset) -> i32 {
        let before = self.adopted.partition_point(|range| range.next <= offset).checked_sub(1);
        before.and_then(|at| self.adopted.get(at)).map_or(LEADER_EPOCH, |range| range.leader_epoch)
    }

    /// The one leader epoch of all batches of the segment that begins at `base`; `None` where another writer's are
    /// among them.
    pub fn leader_epoch_in(&self, base: Offset) -> Option<i32> {
        let end = self.segments.after(base).map_or(Offset::MAX, |next| next.base);
        let of_another = self.adopted.get(self.adopted.partition_point(|range| range.next <= base));
        of_another.is_none_or(|range| range.from >= end).then(|| self.leader_epoch_at(base))
    }

    pub(super) fn remove_segments(&mut self, below: Offset) {
        self.segments.remove_below(below);
        self.producers_at_start = self.producers_at_start.filter(|known| known.base >= below);
        // The last one has the epoch of what follows it.
        while self.adopted.get(1).is_some_and(|second| second.next <= below) {
            self.adopted.pop_front();
        }
    }

    pub(super) fn truncate(&mut self, next_offset: Offset) {
        self.cleaned = self.cleaned.min(next_offset);
        self.segments.truncate(next_offset);
    }

    pub(super) fn begin_incarnation(&mut self, number: u32, first_offset: Offset) -> Result<(), String> {
        match self.incarnations.back() {
            Some((last, _)) if *last >= number => Err(format!("incarnation {number} comes after {last}")),
            _ => {
                // Everything from there on was lost, and with it all that the later incarnations wrote.
                while self.incarnations.back().is_some_and(|(_, first)| *first >= first_offset) {
                    self.incarnations.pop_back();
                }
                self.incarnations.push_back((number, first_offset));
                self.forget_lives();
                Ok(())
            }
        }
    }

    /// Forgets the oldest incarnations that ended below the log start, beyond [`LIVES_KEPT`]. No readable offset belongs to
    /// them, and a reader that remembers one of them still finds that a later one began below its position. But a transaction may
    /// ask whether this log had come to its end in one of them, as long as another log has no marker of it.
    pub(super) fn forget_lives(&mut self) {
        while self.incarnations.len() > LIVES_KEPT
            && self.incarnations.get(1).is_some_and(|(_, first)| *first < self.log_start)
        {
            self.incarnations.pop_front();
        }
    }

    /// The number of the incarnation that `offset` belongs to.
    pub fn incarnation_of(&self, offset: Offset) -> u32 {
        let begun = self.incarnations.iter().rev().find(|(_, first)| *first <= offset);
        begun.map_or(0, |(number, _)| *number)
    }

    /// Where incarnation `number` ended: the lowest first offset of the later ones, for a later one may begin below an
    /// earlier one. `None` when it is the last.
    pub fn incarnation_end(&self, number: u32) -> Option<Offset> {
        self.incarnations.iter().filter(|(n, _)| *n > number).map(|(_, first)| *first).min()
    }

    /// Whether incarnation `number` came to offset `end`, where the log ends at `log_end` now; `None` where nobody knows any
    /// more, or it is not known here.
    pub fn has_reached(&self, number: u32, end: Offset, log_end: Offset) -> Option<bool> {
        let newest = self.incarnations.back().map_or(0, |(newest, _)| *newest);
        let oldest = self.incarnations.front().map_or(0, |(oldest, _)| *oldest);
        match self.incarnation_end(number) {
            None => (number == newest).then_some(end <= log_end),
            Some(ended) if end > ended => Some(false),
            // Of one before the oldest only a bound is known, if any was forgotten.
            Some(_) => (number >= oldest || self.incarnations.len() < LIVES_KEPT).then_some(true),
        }
    }

    /// The sealed segment before the one that begins at `base`.
    pub fn sealed_before(&self, base: Offset) -> Option<(Offset, Seal)> {
        let before = self.segments.before(base)?;
        Some((before.base, before.sealed?))
    }

    /// The rewritten segment that holds the records of a former segment, the one that began at `base`.
    pub fn superseding(&self, base: Offset) -> Option<(Offset, Seal)> {
        let (from, sealed) = self.sealed_before(base)?;
        let is_gone = self.segments.at(base).is_none();
        (is_gone && sealed.generation > 0 && base < sealed.next_offset).then_some((from, sealed))
    }

    /// Below which offset a cleaner has gone through the log, or has left gaps; `None` where none has.
    pub fn clean_below(&self) -> Option<Offset> {
        let sealed = self.segments.iter().rev().filter_map(|segment| segment.sealed);
        let rewritten = sealed.into_iter().find(|sealed| sealed.generation > 0);
        let cleaned = (self.cleaned != Offset::ZERO).then_some(self.cleaned);
        rewritten.map(|sealed| sealed.next_offset).max(cleaned)
    }

    /// The seal of the segment that begins at `base`, if it has one.
    pub fn sealed_at(&self, base: Offset) -> Option<Seal> {
        self.segments.at(base)?.sealed
    }

    /// Entries from which a new partition gets this state, except for `closed`.
    pub(super) fn entries(&self, of: PartitionId, entries: &mut Vec<Entry>) {
        let PartitionId { topic: id, number: partition } = of;
        let sealed: Vec<_> =
            self.segments.iter().filter_map(|segment| Some((segment.base, segment.sealed?))).collect();
        let mut lists = sealed.chunks(LIST_MAX).peekable();
        while let Some(list) = lists.next() {
            let from = list.first().map_or(Offset::ZERO, |first| first.0);
            let to = lists.peek().and_then(|next| next.first()).map_or(Offset::MAX, |next| next.0);
            entries.push(Entry::SegmentsReplaced { id, partition, from, to, with: list.to_vec() });
        }
        for segment in self.segments.iter().filter(|segment| segment.sealed.is_none()) {
            entries.push(of.segment_created(segment.base));
        }
        if self.log_start != Offset::ZERO {
            entries.push(of.log_start(self.log_start));
        }
        if let Some(ProducersAtStart { base, checksum }) = self.producers_at_start {
            entries.push(of.producers_at_start(base, checksum));
        }
        if self.cleaned != Offset::ZERO {
            entries.push(of.cleaned(self.cleaned));
        }
        for (number, first_offset) in &self.incarnations {
            entries.push(of.incarnation(*number, *first_offset));
        }
        entries.extend(self.adopted.iter().map(|range| of.adopted(*range)));
    }
}
