//! The two sparse indexes of one segment: growing with it, loaded from their files, or built again from the data.
//!
//! They are hints. Files whose checksum is known are believed when it matches; of others, what an entry points at is
//! checked, and an index that points wrong is built again.

use super::{
    Segment,
    sidecars::{UNKNOWN, checksum},
};
use crate::{
    codec::{batch::BatchHeader, index::AbortedTransaction},
    env::{
        Env,
        sync::{AtomicBool, Mutex, Ordering, RwLockWriteGuard},
    },
    error::{Error, Result},
    storage::{
        files::{FilePool, cap::Evictable},
        index,
        index::{IndexBytes, IndexedBatch, KnownTimes, SegmentIndex},
        layout::SegmentFile,
        scan::ScanItem,
        sidecar::{Entries, write_file, write_unflushed},
    },
    types::{Offset, Timestamp},
};
use std::{
    path::Path,
    sync::{Arc, Weak},
};

/// How many entries of an index may point at damage before the index itself is held to be wrong.
const ENTRIES_TRIED: usize = 8;

/// Where the indexes of a segment are.
#[derive(Debug)]
pub(super) enum Indexes {
    /// Grows with the segment.
    Active(SegmentIndex),
    /// Will lie in files once the segment's seal is finished.
    Loaded(IndexBytes),
    /// Was read from files.
    Cached(Arc<Cached>),
    /// Lies in files that nobody has asked yet.
    OnDisk,
}

/// An index that was read from its files and can be read again, so that memory for many of them is bounded.
#[derive(Debug)]
pub(super) struct Cached {
    pool: Arc<FilePool>,
    used: AtomicBool,
    index: Mutex<Option<IndexBytes>>,
}

impl Cached {
    fn new(pool: &Arc<FilePool>, index: IndexBytes) -> Arc<Self> {
        Arc::new(Cached {
            pool: Arc::clone(pool),
            used: AtomicBool::new(true),
            index: Mutex::new(Some(index)),
        })
    }

    fn held(&self) -> Option<IndexBytes> {
        self.used.store(true, Ordering::Relaxed);
        self.index.lock().clone()
    }
}

impl Evictable for Cached {
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    fn evict(&self) -> bool {
        if self.index.lock().take().is_some() {
            self.pool.index_released();
        }
        true
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        if self.index.get_mut().take().is_some() {
            self.pool.index_released();
        }
    }
}

impl Segment {
    /// The largest timestamp of the segment, as it was when sealed or from the closing time entry; [`Timestamp::NONE`]
    /// when it has none. Of a segment that is not whole it is that of what is left.
    pub fn largest_timestamp(&self) -> Result<Timestamp> {
        if let Some(known) = self.largest.get() {
            return Ok(*known);
        }
        self.with_times(|times| times.largest)
    }

    /// The largest timestamp of the records below `end`, where the segment ends; `None` where damage hides it.
    pub fn largest_timestamp_below(&self, end: Offset) -> Result<Option<Timestamp>> {
        match self.largest.get() {
            Some(known) => Ok(Some(*known)),
            None if self.unseen_from(end)?.is_some() => Ok(None),
            None => self.largest_timestamp().map(Some),
        }
    }

    /// From which offset on a record as late as `timestamp` can be in the segment, which ends at `end`: not behind the
    /// place from which on its batches are not known. `None` where all its records are known to be earlier.
    pub fn floor_of_time(&self, timestamp: Timestamp, end: Offset) -> Result<Option<Offset>> {
        let is_earlier = |largest: Timestamp| {
            planted!(the_latest_of_a_segment_is_missed => return largest <= timestamp);
            largest < timestamp
        };
        if self.largest.get().is_some_and(|largest| is_earlier(*largest)) {
            return Ok(None);
        }
        let unseen = self.unseen_from(end)?;
        // The entry's own offset may carry its timestamp, so a search for an equal one begins before it.
        let mut before = Timestamp::from_millis(timestamp.as_millis().saturating_sub(1));
        planted!(search_behind_the_equal_entry => before = timestamp);
        let (largest, entry) = self.with_times(|times| (times.largest, times.floor(before)))?;
        if unseen.is_none() && is_earlier(largest) {
            return Ok(None);
        }
        let floor = entry.map_or(self.base, |e| self.base + u64::from(e.relative_offset));
        Ok(Some(unseen.map_or(floor, |unseen| unseen.min(floor))))
    }

    /// From which offset on damage, or an early end of the file, may hide what the segment held below `end`.
    fn unseen_from(&self, end: Offset) -> Result<Option<Offset>> {
        let by_index = self.with_times(|times| times.unseen_from(end, self.may_have_gaps()))?;
        Ok(by_index.into_iter().chain(self.damage.begin()).min())
    }

    /// Asks the indexes about times. Those that nobody vouches for are built from the data: what they say of times cannot
    /// be checked otherwise.
    fn with_times<T>(&self, ask: impl Fn(KnownTimes<'_>) -> T) -> Result<T> {
        let mut is_vouched_for = self.index_checksum() != UNKNOWN;
        planted!(trust_an_index => is_vouched_for = true);
        planted!(an_unknown_index_checksum_is_believed => is_vouched_for = true);
        let known = match &*self.index.read() {
            Indexes::Active(index) => Some(ask(index.known_times())),
            Indexes::Loaded(index) => Some(ask(index.known_times())),
            Indexes::Cached(cached) if is_vouched_for => cached.held().map(|index| ask(index.known_times())),
            Indexes::Cached(_) | Indexes::OnDisk => None,
        };
        match known {
            Some(known) => Ok(known),
            None if is_vouched_for => Ok(ask(self.load_index()?.known_times())),
            None => Ok(ask(self.rebuild_index()?.known_times())),
        }
    }

    /// Where to begin looking, by an index that is believed only as far as it was checked.
    pub(super) fn search(&self, find: impl Fn(&[u8]) -> Result<Option<u64>>) -> Result<u64> {
        let known = match &*self.index.read() {
            Indexes::Active(index) => Some(find(index.offsets())?),
            Indexes::Loaded(index) => Some(find(&index.offsets)?),
            Indexes::Cached(cached) => cached.held().map(|index| find(&index.offsets)).transpose()?,
            Indexes::OnDisk => None,
        };
        let found = match known {
            Some(found) => found,
            None => find(&self.load_index()?.offsets)?,
        };
        match found {
            Some(position) => Ok(position),
            None => find(&self.rebuild_index()?.offsets)?.map_or(Ok(0), Ok),
        }
    }

    /// The position that the index gives for `offset`, 0 when it has none; `None` when the index is wrong. An entry
    /// whose batch was damaged is passed over for the one before it.
    pub(super) fn checked_floor(&self, offsets: &[u8], offset: Offset) -> Result<Option<u64>> {
        let mut offset = offset;
        for _ in 0..ENTRIES_TRIED {
            let Some(entry) = index::floor_offset(offsets, self.base, offset) else { return Ok(Some(0)) };
            let position = u64::from(entry.position);
            let last_offset = self.base + u64::from(entry.relative_offset);
            planted!(trust_an_index => return Ok(Some(position)));
            match self.header_at(position) {
                Ok(Some(header)) if header.last_offset() == last_offset => return Ok(Some(position)),
                Ok(_) | Err(Error::Corrupt { .. } | Error::UnsupportedFormat { .. }) => {}
                Err(error) => return Err(error),
            }
            if last_offset == self.base {
                return Ok(Some(0));
            }
            offset = last_offset.saturating_sub(1);
        }
        Ok(None)
    }

    /// The indexes out of their files; built from the data where a file is missing or cannot be.
    fn load_index(&self) -> Result<IndexBytes> {
        let mut guard = self.index.write();
        match &*guard {
            Indexes::Loaded(index) => return Ok(index.clone()),
            Indexes::Active(index) => return Ok(index.clone().freeze()),
            Indexes::Cached(cached) => {
                if let Some(index) = cached.held() {
                    return Ok(index);
                }
            }
            Indexes::OnDisk => {}
        }
        self.check_names()?;
        let files = self.read_sidecars()?;
        let expected = self.index_checksum();
        let mut as_written = expected != UNKNOWN && files.checksum() == Some(expected);
        planted!(trust_an_index => as_written = true);
        let (Some(offsets), Some(times)) = (files.offsets, files.times) else {
            return self.build_into(guard);
        };
        if !as_written && (expected != UNKNOWN || !self.plausible(&offsets, &times)) {
            return self.build_into(guard);
        }
        let index = IndexBytes::as_written(offsets.bytes.into(), times.bytes.into());
        let cached = Cached::new(&self.pool, index.clone());
        *guard = Indexes::Cached(Arc::clone(&cached));
        drop(guard);
        self.pool.admit_index(Arc::downgrade(&cached) as Weak<dyn Evictable>);
        Ok(index)
    }

    fn build_into(&self, mut guard: RwLockWriteGuard<'_, Indexes>) -> Result<IndexBytes> {
        let index = self.scan_index()?;
        // An index that does not cover all of the segment is not written: it would be believed to.
        let mut is_whole = !index.has_passed_damage();
        planted!(keep_an_index_that_passed_damage => is_whole = true);
        self.rebuilt.store(is_whole, Ordering::Relaxed);
        let index = index.freeze();
        *guard = Indexes::Loaded(index.clone());
        Ok(index)
    }

    fn plausible(&self, offsets: &Entries, times: &Entries) -> bool {
        let in_order = offsets.are_all && times.are_all;
        // A segment with data has at least its closing time entry, unless no record has a timestamp: rare enough to
        // be looked at again each time.
        in_order && (!times.bytes.is_empty() || self.readable() == 0)
    }

    fn rebuild_index(&self) -> Result<IndexBytes> {
        let index = self.scan_index()?.freeze();
        let mut guard = self.index.write();
        // The growing one belongs to the appender.
        if !matches!(&*guard, Indexes::Active(_)) {
            *guard = Indexes::Loaded(index.clone());
        }
        Ok(index)
    }

    /// The indexes as the data gives them. What cannot be read any more ends them.
    fn scan_index(&self) -> Result<SegmentIndex> {
        let mut index = SegmentIndex::new(self.base, self.index_interval);
        let limit = self.readable();
        let mut scanner = self.scanner_without_index(limit, 0, self.base);
        let whole = self.sealed_size().unwrap_or(limit);
        loop {
            match self.or_missing(scanner.next())? {
                ScanItem::Batch(batch, position) => {
                    index.add(indexed(batch.header(), position));
                    continue;
                }
                ScanItem::End if scanner.position() >= whole => break,
                ScanItem::Unsupported(_) | ScanItem::Bad(_) | ScanItem::End => {
                    index.pass_damage(scanner.expected())
                }
            }
            if scanner.resync()?.is_none() {
                break;
            }
        }
        index.close();
        Ok(index)
    }

    /// Gives up a loaded index that lies in files as well.
    pub fn forget_index(&self) {
        let mut guard = self.index.write();
        if matches!(&*guard, Indexes::Loaded(_)) {
            *guard = Indexes::OnDisk;
        }
    }

    /// Makes `index` the one that grows with the segment.
    pub(super) fn activate(&self, index: SegmentIndex) {
        *self.index.write() = Indexes::Active(index);
    }

    /// Adds a batch to the index of an active segment, which may have `max_bytes`. Says whether it is full, where it
    /// got an entry.
    pub(super) fn add_to_index(&self, header: &BatchHeader, position: u64, max_bytes: u64) -> Option<bool> {
        match &mut *self.index.write() {
            Indexes::Active(index) => index.add(indexed(header, position)).then(|| index.is_full(max_bytes)),
            _ => None,
        }
    }

    /// Whether the index of an active segment has no room for one more entry.
    pub(super) fn index_is_full(&self, max_bytes: u64) -> bool {
        matches!(&*self.index.read(), Indexes::Active(index) if index.is_full(max_bytes))
    }

    /// Closes the index of an active segment: its last time entry, and no more after.
    pub(super) fn seal_index(&self) {
        let mut guard = self.index.write();
        if let Indexes::Active(index) = &mut *guard {
            index.close();
            *guard = Indexes::Loaded(index.clone().freeze());
        }
    }

    /// The indexes as they stand, the time index closed; `None` where only the files have them.
    pub fn closed_index(&self) -> Option<IndexBytes> {
        match &mut *self.index.write() {
            Indexes::Active(index) => {
                index.close();
                Some(index.clone().freeze())
            }
            Indexes::Loaded(index) => Some(index.clone()),
            Indexes::Cached(cached) => cached.held(),
            Indexes::OnDisk => None,
        }
    }

    /// Writes the indexes into their files and flushes them.
    pub fn write_index(&self, index: &IndexBytes) -> Result<()> {
        self.write_index_with(index, write_file)
    }

    /// Writes the indexes into their files, for Kafka's tools; a later checkpoint flushes them.
    pub fn write_index_unflushed(&self, index: &IndexBytes) -> Result<()> {
        self.write_index_with(index, |env, path, content| write_unflushed(env, path, content).map(drop))
    }

    fn write_index_with(
        &self,
        index: &IndexBytes,
        write: impl Fn(&dyn Env, &Path, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let env = &**self.pool.env();
        write(env, &SegmentFile::OffsetIndex.path(&self.dir, self.base), &index.offsets)?;
        write(env, &SegmentFile::TimeIndex.path(&self.dir, self.base), &index.times)
    }

    /// The indexes in the files for offsets below `end`, which had this checksum when they ended there; `None` where
    /// they are something else, or something is missing.
    pub fn index_in_files(
        &self,
        end: Offset,
        expected: u32,
    ) -> Result<Option<(SegmentIndex, Vec<AbortedTransaction>)>> {
        let files = self.read_sidecars()?;
        let (Some(offsets), Some(times), Some(mut aborted)) = (files.offsets, files.times, files.aborted)
        else {
            return Ok(None);
        };
        let (offsets, times) = (&offsets.bytes, &times.bytes);
        let index = SegmentIndex::from_files(self.base, self.index_interval, offsets, times, end);
        aborted.retain(|t| t.last_offset < end);
        let believed = match expected {
            UNKNOWN => !index.times().is_empty(),
            expected => checksum(index.offsets(), index.times(), &aborted) == expected,
        };
        Ok(believed.then_some((index, aborted)))
    }

    /// An empty index of this segment, to be filled by a scan.
    pub fn empty_index(&self) -> SegmentIndex {
        SegmentIndex::new(self.base, self.index_interval)
    }

    /// Keeps `index`, which has no file of its name yet.
    pub(super) fn hold_index(&self, index: IndexBytes) {
        *self.index.write() = Indexes::Loaded(index);
    }

    /// Makes `index` what is known, for a segment that does not grow.
    pub fn set_index(&self, index: SegmentIndex) {
        *self.index.write() = Indexes::Loaded(index.freeze());
    }
}

/// What the index wants to know of a batch.
pub fn indexed(header: &BatchHeader, position: u64) -> IndexedBatch {
    IndexedBatch {
        last_offset: header.last_offset(),
        position: u32::try_from(position).unwrap_or(u32::MAX),
        size: header.size(),
        max_timestamp: header.max_timestamp,
    }
}
