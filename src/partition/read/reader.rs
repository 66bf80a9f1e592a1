//! Reading: whole record batches, without a copy and without waiting for the writer.
//!
//! A [`LogReader`] stands at an offset. Each fetch takes the segments as they are, finds its place (it remembers where
//! the last fetch ended), and takes whole batches out of one stretch of published bytes (`stretch`).
//!
//! A fetch that fails while segments are replaced takes the new list and looks again: a file that lost its name is not damage.

use crate::{
    codec::batch::RecordBatch,
    error::{Error, Result},
    partition::{
        log::Log,
        read::{
            aborted::aborted_between,
            damage,
            retry::{LOOKS, was_left_behind},
            stretch::{Bounds, Fetched, Stretch},
        },
        state::segment_list::floor,
    },
    storage::segment::{Located, Segment},
    types::{IsolationLevel, Offset},
};
use std::{collections::VecDeque, ops::Range, path::Path, sync::Arc};

/// Capacity that a reader keeps between two fetches, in batches.
const KEPT: usize = 64;

/// How much the fetches of one reader ask for, in bytes: little at first, for a reader that wants one record, and twice as
/// much each time, for one that wants them all.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    bytes: u64,
    first: u64,
    largest: u64,
}

impl Step {
    /// The first step: a few batches.
    pub const FIRST: u64 = 16 << 10;
    /// The largest one (Kafka's `max.partition.fetch.bytes`).
    pub const LARGEST: u64 = 1 << 20;

    /// The same step each time.
    pub fn always(bytes: u64) -> Self {
        Step { bytes, first: bytes, largest: bytes }
    }

    /// The same steps, from the first on.
    #[must_use]
    pub fn again(self) -> Self {
        Step { bytes: self.first, ..self }
    }

    /// This step; the next one will be larger.
    pub fn take(&mut self) -> u64 {
        let bytes = self.bytes;
        self.bytes = bytes.saturating_mul(2).min(self.largest);
        bytes
    }
}

impl Default for Step {
    fn default() -> Self {
        Step { bytes: Self::FIRST, first: Self::FIRST, largest: Self::LARGEST }
    }
}

/// What a fetch asks for.
struct FetchRequest<'a> {
    segments: &'a [Arc<Segment>],
    /// The version of the list; the list may be a later one.
    version: u64,
    bound: Offset,
    max_bytes: u64,
}

/// A place in a log.
#[derive(Clone, Debug)]
pub struct LogReader {
    log: Arc<Log>,
    isolation: IsolationLevel,
    next_offset: Offset,
    /// Where `next_offset` lies, as the last fetch left it.
    place: Option<ResumePoint>,
    /// The queue for the next batches: empty, with the capacity of one that was given back.
    queue: VecDeque<RecordBatch>,
}

/// Where a fetch ended.
#[derive(Clone, Debug)]
struct ResumePoint {
    segment: Arc<Segment>,
    position: u64,
    /// The version of the list in which that segment is the last one.
    last_in: Option<u64>,
}

impl LogReader {
    /// A reader that begins at `offset`. The first fetch finds out whether that can be read.
    pub fn new(log: Arc<Log>, isolation: IsolationLevel, offset: Offset) -> Self {
        LogReader { log, isolation, next_offset: offset, place: None, queue: VecDeque::new() }
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The file of the batches of the last fetch.
    pub fn path(&self) -> &Path {
        self.place.as_ref().map_or(&self.log.identity.dir, |place| place.segment.path())
    }

    /// Moves to `offset`.
    pub fn seek(&mut self, offset: Offset) {
        self.next_offset = offset;
        self.place = None;
    }

    /// About `max_bytes` of whole batches from the reader's place on, at least one where there is one; nothing at the
    /// end. The reader then stands after them.
    ///
    /// # Errors
    ///
    /// `OffsetOutOfRange` when the place is not in the log (any more), `Corrupt` when the bytes there are not what was
    /// written; the reader stays where it is.
    pub fn fetch(&mut self, max_bytes: u64) -> Result<Fetched> {
        let version = self.log.segments.version();
        let fetched = self.fetch_now(max_bytes).or_else(|error| self.fetch_again(max_bytes, version, error));
        damage::record(&self.log, fetched, self.next_offset)
    }

    /// Repeats a fetch that failed: the list of segments that it read by, of that version or a later one, may not be true any
    /// more, or this log follows a writer and may have fallen behind it.
    #[cold]
    fn fetch_again(&mut self, max_bytes: u64, version: u64, error: Error) -> Result<Fetched> {
        let (from, mut version, mut error) = (self.next_offset, version, error);
        for look in 0..LOOKS {
            let may_pass = matches!(error, Error::Corrupt { .. } | Error::Io { .. });
            let before = std::mem::replace(&mut version, self.log.segments.version());
            let mut was_replaced = version != before;
            planted!(a_swap_is_taken_for_damage => was_replaced = false);
            if !may_pass || !(was_replaced || was_left_behind(&self.log, look == 0)) {
                break;
            }
            self.seek(from);
            error = match self.fetch_now(max_bytes) {
                Err(error) => error,
                fetched => return fetched,
            };
        }
        Err(error)
    }

    /// Takes back the queue of a fetch whose batches are done with, if it is small: a reader at the end of the log
    /// needs it again for every batch.
    #[inline]
    pub fn reuse(&mut self, mut queue: VecDeque<RecordBatch>) {
        if queue.capacity() > self.queue.capacity() && queue.capacity() <= KEPT {
            queue.clear();
            self.queue = queue;
        }
    }

    fn fetch_now(&mut self, max_bytes: u64) -> Result<Fetched> {
        self.log.check_open()?;
        let offsets = self.log.offsets();
        let mut bound = offsets.bound(self.isolation);
        planted!(read_what_is_not_durable => bound = offsets.log_end());
        let log_start = offsets.log_start();
        if self.next_offset < log_start || self.next_offset > offsets.log_end() {
            return Err(Error::OffsetOutOfRange {
                partition: self.log.identity.name.clone(),
                requested: self.next_offset,
                earliest: log_start,
                latest: bound,
            });
        }
        if self.next_offset >= bound {
            return Ok(Fetched { next_offset: self.next_offset, ..Fetched::default() });
        }
        let from = self.next_offset;
        let fetched = match self.fetch_below(bound, max_bytes) {
            Err(error @ (Error::Io { .. } | Error::Corrupt { .. })) => {
                let mut was_removed = from < self.log.offsets().log_start();
                planted!(removed_files_are_missed => was_removed = false);
                // It was removed while it was read.
                if was_removed {
                    return self.fetch_now(max_bytes);
                }
                return Err(self.log.check_open().err().unwrap_or(error));
            }
            other => other?,
        };
        if self.isolation == IsolationLevel::ReadCommitted && !fetched.batches.is_empty() {
            return self.with_aborted(fetched, from, max_bytes);
        }
        Ok(fetched)
    }

    /// A fetch from `from` on, with the transactions that were aborted in it.
    fn with_aborted(&mut self, mut fetched: Fetched, from: Offset, max_bytes: u64) -> Result<Fetched> {
        let aborted = aborted_between(&self.log, from, fetched.next_offset);
        if from < self.log.offsets().log_start() {
            // The segments that list the aborted transactions were removed in between, and the batches must not be
            // shown without them.
            self.seek(from);
            return self.fetch_now(max_bytes);
        }
        fetched.aborted = aborted.inspect_err(|_| self.seek(from))?;
        Ok(fetched)
    }

    fn fetch_below(&mut self, bound: Offset, max_bytes: u64) -> Result<Fetched> {
        let version = self.log.segments.version();
        let begun = match self.place.take() {
            // A reader at the end of the log needs no list.
            Some(ResumePoint { segment, position, last_in })
                if last_in == Some(version) && position < segment.readable() =>
            {
                let limit = self.log.offsets().log_end();
                let bounds = Bounds { expected: self.next_offset, bound, limit };
                self.read_from(ResumePoint { segment, position, last_in }, bounds, max_bytes)
            }
            place => {
                let segments = self.log.segments.snapshot();
                let goal = FetchRequest { segments: &segments, version, bound, max_bytes };
                match remembered(place, &segments) {
                    Some((at, position)) => self.fetch_at(&goal, at, position, self.next_offset),
                    None => self.fetch_found(&goal, Segment::locate),
                }
            }
        };
        match begun {
            // Damage on the way may merely have hidden the batch that is asked for.
            Err(Error::Corrupt { .. } | Error::UnsupportedFormat { .. }) => {
                let segments = self.log.segments.snapshot();
                let goal = FetchRequest { segments: &segments, version, bound, max_bytes };
                self.fetch_found(&goal, Segment::locate_past_damage)
            }
            other => other,
        }
    }

    fn fetch_found(
        &mut self,
        goal: &FetchRequest<'_>,
        locate: impl Fn(&Segment, Offset) -> Result<Option<Located>>,
    ) -> Result<Fetched> {
        self.log.check_owner()?;
        let first = floor(goal.segments, self.next_offset).unwrap_or(0);
        for (i, segment) in goal.segments.iter().enumerate().skip(first) {
            if let Some(found) = locate(segment, self.next_offset)? {
                let base = found.header.base_offset;
                let may_be_missing = segment.may_have_gaps() || may_end_early(goal.segments, first..i);
                if base > self.next_offset && !may_be_missing {
                    return Err(self.missing(goal));
                }
                return self.fetch_at(goal, i, found.position, base);
            }
        }
        self.nothing_follows(goal)
    }

    /// Fetches from `position` of segment `at` on, or from the start of the next segment with data. The batch there
    /// begins at `expected`, or after it where offsets may be missing.
    fn fetch_at(
        &mut self,
        goal: &FetchRequest<'_>,
        at: usize,
        position: u64,
        expected: Offset,
    ) -> Result<Fetched> {
        let (mut position, mut expected) = (position, expected);
        for (i, segment) in goal.segments.iter().enumerate().skip(at) {
            let next_base = goal.segments.get(i + 1).map(|next| next.base());
            if position < segment.readable() {
                let limit = next_base.unwrap_or_else(|| self.log.offsets().log_end());
                let bounds = Bounds { expected, bound: goal.bound.min(limit), limit };
                let last_in = next_base.is_none().then_some(goal.version);
                let place = ResumePoint { segment: Arc::clone(segment), position, last_in };
                return self.read_from(place, bounds, goal.max_bytes);
            }
            position = 0;
            if let Some(base) = next_base.filter(|_| segment.may_have_gaps()) {
                expected = expected.max(base);
            }
        }
        self.nothing_follows(goal)
    }

    /// No batch follows below the bound: a cleaner left none before the empty segment that the log ends with, or they are
    /// missing.
    #[cold]
    fn nothing_follows(&mut self, goal: &FetchRequest<'_>) -> Result<Fetched> {
        let first = floor(goal.segments, self.next_offset).unwrap_or(0);
        let last = goal.segments.len().saturating_sub(1);
        let is_empty = |last: &Arc<Segment>| last.readable() == 0 && goal.bound <= last.base();
        if goal.segments.get(last).is_some_and(is_empty) && may_end_early(goal.segments, first..last) {
            self.next_offset = goal.bound;
            return Ok(Fetched { next_offset: goal.bound, ..Fetched::default() });
        }
        Err(self.missing(goal))
    }

    /// The error about records below the bound that are not there.
    fn missing(&self, goal: &FetchRequest<'_>) -> Error {
        let last = floor(goal.segments, self.next_offset).and_then(|i| goal.segments.get(i));
        match last {
            Some(segment) => segment.ends_early(segment.readable(), self.next_offset),
            None => {
                let reason = format!("the records from offset {} on are missing", self.next_offset);
                Error::corrupt(&self.log.identity.dir, 0, reason)
            }
        }
    }

    /// Fetches the batches of one stretch, which begins at `place`.
    fn read_from(&mut self, place: ResumePoint, bounds: Bounds, max_bytes: u64) -> Result<Fetched> {
        let ResumePoint { segment, position, last_in } = place;
        #[cfg(test)]
        tests::before_reading();
        let mut stretch = Stretch::read(&self.log, &segment, position, bounds, max_bytes)?;
        let batches = std::mem::take(&mut self.queue);
        let mut fetched = Fetched { batches, next_offset: self.next_offset, position, ..Fetched::default() };
        while let Some(batch) = stretch.next(&fetched)? {
            fetched.next_offset = batch.header().next_offset();
            fetched.bytes += batch.header().size();
            fetched.batches.push_back(batch);
        }
        let end = position + fetched.bytes;
        if stretch.base_after(&fetched).is_some_and(|base| base < fetched.next_offset) {
            take_back(&mut fetched, &segment, end)?;
        }
        self.next_offset = fetched.next_offset;
        self.place = Some(ResumePoint { segment, position: position + fetched.bytes, last_in });
        Ok(fetched)
    }
}

/// Takes back the last batch of a fetch, which ends at `end`, where that batch, and not the one after it, is wrong
/// about the offsets that both claim.
#[cold]
fn take_back(fetched: &mut Fetched, segment: &Segment, end: u64) -> Result<()> {
    let Some(header) = fetched.batches.back().map(|batch| *batch.header()) else { return Ok(()) };
    let position = end - header.size();
    let Some(reason) = segment.fault_of(position, header.base_offset)? else { return Ok(()) };
    fetched.batches.pop_back();
    fetched.bytes -= header.size();
    match fetched.batches.back() {
        Some(last) => fetched.next_offset = last.header().next_offset(),
        None => return Err(Error::corrupt(segment.path(), position, reason)),
    }
    Ok(())
}

/// Whether each of these segments, and there are some, may end before the next one begins: a cleaner rewrote it.
fn may_end_early(segments: &[Arc<Segment>], range: Range<usize>) -> bool {
    segments.get(range).is_some_and(|some| !some.is_empty() && some.iter().all(|s| s.may_have_gaps()))
}

/// Where a fetch ended, if that segment is still one of these.
fn remembered(place: Option<ResumePoint>, segments: &[Arc<Segment>]) -> Option<(usize, u64)> {
    let ResumePoint { segment, position, .. } = place?;
    let i = floor(segments, segment.base())?;
    segments.get(i).filter(|s| Arc::ptr_eq(s, &segment)).map(|_| (i, position))
}

#[cfg(test)]
pub(in crate::partition) mod tests;
