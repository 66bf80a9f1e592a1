//! The two sparse indexes of one segment, by Kafka's rules.
//!
//! An entry is tested for before a batch is added, when more than the index interval has been appended since the last
//! one; the offset entry speaks of the batch about to be added, the time entry of the largest timestamp so far, that
//! batch included. What is always true: relative offsets grow strictly in both, positions and timestamps never shrink.
//!
//! Entries are kept encoded, as they lie in the files, so that the same search serves an index in memory and one on disk.

use crate::{
    codec::index::{OffsetEntry, OffsetIndexView, TimeEntry, TimeIndexView},
    types::{Offset, Timestamp},
};
use bytes::Bytes;

/// What the index of a segment needs to know of a batch.
#[derive(Clone, Copy, Debug)]
pub struct IndexedBatch {
    /// Its last offset.
    pub last_offset: Offset,
    /// Where it starts in the file.
    pub position: u32,
    /// Its bytes.
    pub size: u64,
    /// Its largest timestamp.
    pub max_timestamp: Timestamp,
}

/// The indexes of a segment that is being written, or rebuilt.
#[derive(Clone, Debug)]
pub struct SegmentIndex {
    base: Offset,
    interval: u64,
    since_entry: u64,
    offsets: Vec<u8>,
    times: Vec<u8>,
    /// The largest timestamp so far and the last offset of the first batch that has it.
    largest: Option<(Timestamp, u32)>,
    last_time: Timestamp,
    /// Where the last batch that was added ends, and the offset behind it.
    end: Option<(u64, Offset)>,
    seen: Seen,
}

/// What an index was built from: it says nothing of batches that were not seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The offset after the last batch.
    next: Offset,
    /// Where the first damage begins that was passed over.
    damage: Option<Offset>,
}

impl SegmentIndex {
    /// The indexes of an empty segment.
    pub fn new(base: Offset, interval: u64) -> Self {
        SegmentIndex {
            base,
            interval,
            since_entry: 0,
            offsets: Vec::new(),
            times: Vec::new(),
            largest: None,
            last_time: Timestamp::NONE,
            end: None,
            seen: Seen { next: base, damage: None },
        }
    }

    /// The indexes as they lie in the files, cut at the first entry that cannot be: they are hints. The entries for
    /// offsets at or beyond `end` are left out.
    pub fn from_files(base: Offset, interval: u64, offsets: &[u8], times: &[u8], end: Offset) -> Self {
        let mut index = SegmentIndex::new(base, interval);
        let (view, _) = OffsetIndexView::new_checked(offsets);
        for entry in view.iter().take_while(|e| base + u64::from(e.relative_offset) < end) {
            entry.encode(&mut index.offsets);
        }
        let (view, _) = TimeIndexView::new_checked(times);
        for entry in view.iter().take_while(|e| base + u64::from(e.relative_offset) < end) {
            entry.encode(&mut index.times);
            index.last_time = entry.timestamp;
            index.largest = Some((entry.timestamp, entry.relative_offset));
        }
        index.seen.next = end;
        index
    }

    /// Adds a batch that is about to be, or was, appended. Says whether it got an entry.
    pub fn add(&mut self, batch: IndexedBatch) -> bool {
        let relative_offset = relative(self.base, batch.last_offset);
        self.seen.next = self.seen.next.max(batch.last_offset + 1);
        let largest = self.largest_timestamp();
        let mut is_later = batch.max_timestamp > largest;
        planted!(index_the_last_of_equal_times => is_later = batch.max_timestamp >= largest);
        if is_later {
            self.largest = Some((batch.max_timestamp, relative_offset));
        }
        let is_due = self.since_entry > self.interval;
        if is_due {
            // One that its field cannot hold would be found wrong: a search walks on from the last one instead.
            if relative_offset <= i32::MAX as u32 {
                OffsetEntry { relative_offset, position: batch.position }.encode(&mut self.offsets);
            }
            self.close();
            self.since_entry = 0;
        }
        self.since_entry += batch.size;
        self.end = Some((u64::from(batch.position) + batch.size, batch.last_offset + 1));
        is_due
    }

    /// From `offset` on something is damaged: it is not in the index, and the next batch gets an entry, so that it can be
    /// found without reading what lies before it.
    pub fn pass_damage(&mut self, offset: Offset) {
        self.since_entry = u64::MAX / 2;
        self.seen.damage.get_or_insert(offset);
    }

    /// Whether damage was passed over: such an index is not to be kept, for what it says of times is not all.
    pub fn has_passed_damage(&self) -> bool {
        self.seen.damage.is_some()
    }

    /// What it says of times.
    pub fn known_times(&self) -> KnownTimes<'_> {
        KnownTimes { entries: &self.times, largest: self.largest_timestamp(), seen: Some(self.seen) }
    }

    /// Adds the entry that closes the time index: the largest timestamp of all, where it has none yet.
    pub fn close(&mut self) {
        planted!(equal_times_get_an_entry_each => self.last_time = Timestamp::NONE);
        if let Some((timestamp, relative_offset)) = self.largest
            && timestamp > self.last_time
        {
            TimeEntry { timestamp, relative_offset }.encode(&mut self.times);
            self.last_time = timestamp;
        }
    }

    /// Whether one more entry might not fit into `max_bytes` (Kafka's segment.index.bytes), one slot being kept for
    /// the closing time entry.
    pub fn is_full(&self, max_bytes: u64) -> bool {
        let full = |len: usize, entry: usize, reserve: u64| {
            (len / entry) as u64 >= (max_bytes / entry as u64).saturating_sub(reserve)
        };
        full(self.offsets.len(), OffsetEntry::ENCODED_LEN, 0)
            || full(self.times.len(), TimeEntry::ENCODED_LEN, 1)
    }

    /// The largest timestamp so far; [`Timestamp::NONE`] when there is none.
    pub fn largest_timestamp(&self) -> Timestamp {
        self.largest.map_or(Timestamp::NONE, |(t, _)| t)
    }

    /// Where the last batch that was added ends, and the offset behind it.
    pub fn end(&self) -> Option<(u64, Offset)> {
        self.end
    }

    /// The encoded offset index.
    pub fn offsets(&self) -> &[u8] {
        &self.offsets
    }

    /// The encoded time index.
    pub fn times(&self) -> &[u8] {
        &self.times
    }

    /// The index as it stands, for searching.
    pub fn freeze(self) -> IndexBytes {
        IndexBytes { offsets: self.offsets.into(), times: self.times.into(), seen: Some(self.seen) }
    }
}

/// The encoded indexes of a segment, for searching.
#[derive(Clone, Debug, Default)]
pub struct IndexBytes {
    /// The offset index, checked for its order.
    pub offsets: Bytes,
    /// The time index, checked for its order.
    pub times: Bytes,
    /// `None` for files whose checksum says that they are what was written.
    seen: Option<Seen>,
}

impl IndexBytes {
    /// Indexes as they were written when all batches were there.
    pub fn as_written(offsets: Bytes, times: Bytes) -> Self {
        IndexBytes { offsets, times, seen: None }
    }

    /// What it says of times.
    pub fn known_times(&self) -> KnownTimes<'_> {
        let view = TimeIndexView::new(&self.times);
        let last = view.len().checked_sub(1).and_then(|i| view.get(i));
        let largest = last.map_or(Timestamp::NONE, |e| e.timestamp);
        KnownTimes { entries: &self.times, largest, seen: self.seen }
    }
}

/// What the indexes of a segment say of times, and of how much of it.
#[derive(Clone, Copy, Debug)]
pub struct KnownTimes<'a> {
    entries: &'a [u8],
    /// The largest timestamp; [`Timestamp::NONE`] when there is none.
    pub largest: Timestamp,
    seen: Option<Seen>,
}

impl KnownTimes<'_> {
    /// The last entry at or below `timestamp`.
    pub fn floor(&self, timestamp: Timestamp) -> Option<TimeEntry> {
        TimeIndexView::new(self.entries).floor(timestamp)
    }

    /// From which offset on the index does not know every batch of a segment that ends at `end`, in which offsets may be
    /// missing where there are `gaps`; `None` where it knows all.
    pub fn unseen_from(&self, end: Offset, gaps: bool) -> Option<Offset> {
        let seen = self.seen?;
        seen.damage.or_else(|| (seen.next < end && !gaps).then_some(seen.next))
    }
}

/// The last offset entry at or below `offset`.
pub fn floor_offset(offsets: &[u8], base: Offset, offset: Offset) -> Option<OffsetEntry> {
    OffsetIndexView::new(offsets).floor(relative(base, offset))
}

/// An offset relative to its segment's base. That is below 2^31 in what this library writes; brokers before Kafka 1.1 let a
/// compacted segment reach further, and the index has no entries there.
pub fn relative(base: Offset, offset: Offset) -> u32 {
    u32::try_from(offset.distance_from(base)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(last: u64, position: u32, size: u64, time: i64) -> IndexedBatch {
        IndexedBatch {
            last_offset: Offset::new(last),
            position,
            size,
            max_timestamp: Timestamp::from_millis(time),
        }
    }

    type Pairs<A> = Vec<(A, u32)>;

    fn entries(index: &SegmentIndex) -> (Pairs<u32>, Pairs<i64>) {
        let offsets = OffsetIndexView::new(index.offsets());
        let times = TimeIndexView::new(index.times());
        (
            offsets.iter().map(|e| (e.relative_offset, e.position)).collect(),
            times.iter().map(|e| (e.timestamp.as_millis(), e.relative_offset)).collect(),
        )
    }

    #[test]
    fn an_entry_needs_more_than_the_interval_and_speaks_of_the_next_batch() {
        let mut index = SegmentIndex::new(Offset::new(100), 200);
        index.add(batch(100, 0, 200, 5));
        index.add(batch(101, 200, 100, 4));
        assert_eq!(entries(&index), (vec![], vec![]), "200 bytes are not more than 200");
        index.add(batch(102, 300, 100, 3));
        assert_eq!(entries(&index), (vec![(2, 300)], vec![(5, 0)]));
        index.add(batch(103, 400, 300, 5));
        index.add(batch(104, 700, 300, 5));
        assert_eq!(entries(&index), (vec![(2, 300), (4, 700)], vec![(5, 0)]), "no larger time, no entry");
        index.add(batch(105, 1000, 10, 9));
        index.close();
        index.close();
        assert_eq!(entries(&index).1, [(5, 0), (9, 5)]);
    }

    #[test]
    fn an_index_knows_where_what_it_saw_ends() {
        let mut index = SegmentIndex::new(Offset::new(100), 200);
        assert_eq!(index.end(), None);
        index.add(batch(104, 0, 300, 5));
        index.add(batch(109, 300, 50, 5));
        assert_eq!(index.end(), Some((350, Offset::new(110))));
        let unseen = |index: &SegmentIndex, end| index.known_times().unseen_from(Offset::new(end), false);
        assert_eq!((unseen(&index, 110), unseen(&index, 111)), (None, Some(Offset::new(110))));
        assert_eq!(index.known_times().unseen_from(Offset::new(111), true), None, "offsets may be missing");
        index.pass_damage(Offset::new(110));
        assert!(index.add(batch(120, 900, 10, 5)), "what comes after damage is found without it");
        assert_eq!(unseen(&index, 121), Some(Offset::new(110)));
        assert_eq!(entries(&index).0, [(9, 300), (20, 900)]);
    }

    #[test]
    fn the_largest_relative_offset_gets_an_entry_and_a_larger_one_none() {
        let largest = i32::MAX as u64;
        let mut index = SegmentIndex::new(Offset::ZERO, 0);
        for (i, last) in [0, largest, largest + 1].into_iter().enumerate() {
            index.add(batch(last, i as u32 * 10, 10, 5));
        }
        assert_eq!(entries(&index).0, [(i32::MAX as u32, 10)]);
    }

    #[test]
    fn an_index_is_full_as_kafkas_is() {
        // Three entries of 8 bytes, or three of 12 of which one is kept for the closing one.
        for (max_bytes, time_grows, full_after) in
            [(24, false, 3), (31, false, 3), (36, true, 2), (47, true, 2)]
        {
            let mut index = SegmentIndex::new(Offset::ZERO, 0);
            let mut got = 0;
            index.add(batch(0, 0, 10, -1));
            for i in 1..10 {
                assert_eq!(index.is_full(max_bytes), got >= full_after, "{max_bytes} bytes, {got} entries");
                let time = if time_grows { i as i64 } else { -1 };
                got += usize::from(index.add(batch(i, i as u32 * 10, 10, time)));
            }
        }
    }

    #[test]
    fn an_index_from_files_stops_at_the_first_entry_out_of_order_and_at_the_end() {
        let mut index = SegmentIndex::new(Offset::ZERO, 0);
        for i in 0..5 {
            index.add(batch(i, i as u32 * 10, 10, i as i64));
        }
        let mut zeros = index.offsets().to_vec();
        zeros.extend([0; 64]);
        let read = SegmentIndex::from_files(Offset::ZERO, 0, &zeros, index.times(), Offset::new(100));
        assert_eq!(entries(&read), entries(&index));
        let read = SegmentIndex::from_files(Offset::ZERO, 0, &zeros, index.times(), Offset::new(3));
        assert_eq!(entries(&read).0, [(1, 10), (2, 20)]);
        assert_eq!(read.largest_timestamp(), Timestamp::from_millis(2));
    }
}
