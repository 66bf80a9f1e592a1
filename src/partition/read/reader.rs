//! Reading: whole record batches, without a copy and without waiting for the writer.
//!
//! A [`LogReader`] stands at an offset. Each fetch takes the segments as they are, finds its place (it remembers where the
//! last fetch ended), asks for a stretch of published bytes at once and hands out its batches as slices of it. Every
//! batch is checked before it is handed out: its shape, its place in the order, its checksum.

use crate::{
    codec::{
        batch::{BatchHeader, HEADER_LEN, RecordBatch},
        index::AbortedTransaction,
    },
    error::{Error, Result},
    partition::{
        log::Log,
        read::{
            aborted::aborted_between,
            damage,
            retry::{LOOKS, was_left_behind},
        },
        state::{replay::read_epochs, segment_list::floor},
    },
    storage::segment::{Located, PagesVerdict, Segment},
    types::{IsolationLevel, Offset},
};
use bytes::Bytes;
use std::{cmp, collections::VecDeque, path::Path, sync::Arc};

/// For so many batches a reader keeps room between two fetches.
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

    /// From the first step on.
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

/// Batches out of one fetch.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The batches, in order. The first may begin before the offset that was asked for.
    pub batches: VecDeque<RecordBatch>,
    /// The transactions aborted in this stretch, for read-committed readers.
    pub aborted: Vec<AbortedTransaction>,
    /// The offset behind the last batch.
    pub next_offset: Offset,
    /// The bytes of the batches.
    pub bytes: u64,
    /// Where in their file the first one begins; the others follow it.
    pub position: u64,
}

/// What vouches for the bytes of a batch.
#[derive(Clone, Copy, Debug)]
enum Trust {
    /// The page checksums of its segment passed.
    Pages,
    /// Nothing yet: its own checksum must.
    Checksum,
    /// It begins in a page, which begins here, that did not pass.
    Nothing(u64),
}

impl Trust {
    /// For a batch of which only the beginning was looked at.
    fn beyond_the_stretch(self) -> Trust {
        planted!(trust_pages_that_were_not_looked_at => return self);
        match self {
            Trust::Nothing(page) => Trust::Nothing(page),
            Trust::Pages | Trust::Checksum => Trust::Checksum,
        }
    }
}

/// What a fetch is to bring.
struct FetchRequest<'a> {
    segments: &'a [Arc<Segment>],
    /// The version of the list: it is that one, or a later one.
    version: u64,
    bound: Offset,
    max_bytes: u64,
}

/// The offsets of one stretch of a segment.
#[derive(Clone, Copy)]
struct Bounds {
    /// Where its first batch begins, or does not begin before.
    expected: Offset,
    /// Where readers stop.
    bound: Offset,
    /// What no batch of the segment reaches.
    limit: Offset,
}

/// A place in a log.
#[derive(Clone, Debug)]
pub struct LogReader {
    log: Arc<Log>,
    isolation: IsolationLevel,
    next_offset: Offset,
    /// Where `next_offset` lies, as the last fetch left it.
    place: Option<ResumePoint>,
    /// What the next batches go into: empty, and with the room of one that was given back.
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
    /// A reader that begins at `offset`. Whether that can be read is found out by the first fetch.
    pub fn new(log: Arc<Log>, isolation: IsolationLevel, offset: Offset) -> Self {
        LogReader { log, isolation, next_offset: offset, place: None, queue: VecDeque::new() }
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The file of the batches that the last fetch has brought.
    pub fn path(&self) -> &Path {
        self.place.as_ref().map_or(&self.log.identity.dir, |place| place.segment.path())
    }

    /// Goes elsewhere.
    pub fn seek(&mut self, offset: Offset) {
        self.next_offset = offset;
        self.place = None;
    }

    /// About `max_bytes` of whole batches from the reader's place on, at least one where there is one; nothing at the
    /// end. The reader then stands behind them.
    ///
    /// # Errors
    ///
    /// `OffsetOutOfRange` when the place is not in the log (any more), `Corrupt` when the bytes there are not what was
    /// written; the reader stays where it is.
    pub fn fetch(&mut self, max_bytes: u64) -> Result<Fetched> {
        let fetched = self.fetch_now(max_bytes).or_else(|error| self.fetch_again(max_bytes, error));
        damage::record(&self.log, fetched, self.next_offset)
    }

    /// What has failed may be behind a writer that this log only follows.
    #[cold]
    fn fetch_again(&mut self, max_bytes: u64, error: Error) -> Result<Fetched> {
        let (from, mut error) = (self.next_offset, error);
        for look in 0..LOOKS {
            let may_pass = matches!(error, Error::Corrupt { .. } | Error::Io { .. });
            if !may_pass || !was_left_behind(&self.log, look == 0) {
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

    /// Takes back the queue of a fetch whose batches are done with, if it is small: who follows a log's end needs it again
    /// for every batch.
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
        let mut fetched = match self.fetch_below(bound, max_bytes) {
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
            let aborted = aborted_between(&self.log, from, fetched.next_offset);
            if from < self.log.offsets().log_start() {
                // What knew the aborted transactions was removed meanwhile, and the batches must not be shown without.
                self.seek(from);
                return self.fetch_now(max_bytes);
            }
            match aborted {
                Ok(aborted) => fetched.aborted = aborted,
                Err(error) => {
                    self.seek(from);
                    return Err(error);
                }
            }
        }
        Ok(fetched)
    }

    fn fetch_below(&mut self, bound: Offset, max_bytes: u64) -> Result<Fetched> {
        let version = self.log.segments.version();
        let begun = match self.place.take() {
            // Who follows a log's end needs no list.
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
            // Damage on the way may only have hidden what is asked for.
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
                if base > self.next_offset && !segment.may_have_gaps() {
                    return Err(self.missing(goal));
                }
                return self.fetch_at(goal, i, found.position, base);
            }
        }
        Err(self.missing(goal))
    }

    /// Fetches from `position` of segment `at` on, or from the start of the next segment with data. The batch there
    /// begins at `expected`, or behind it where offsets may be missing.
    fn fetch_at(
        &mut self,
        goal: &FetchRequest<'_>,
        at: usize,
        position: u64,
        expected: Offset,
    ) -> Result<Fetched> {
        let mut position = position;
        for (i, segment) in goal.segments.iter().enumerate().skip(at) {
            if position < segment.readable() {
                let next_base = goal.segments.get(i + 1).map(|next| next.base());
                let limit = next_base.unwrap_or_else(|| self.log.offsets().log_end());
                let bounds = Bounds { expected, bound: goal.bound.min(limit), limit };
                let last_in = next_base.is_none().then_some(goal.version);
                let place = ResumePoint { segment: Arc::clone(segment), position, last_in };
                return self.read_from(place, bounds, goal.max_bytes);
            }
            position = 0;
        }
        Err(self.missing(goal))
    }

    /// Records below the bound are not there.
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

    fn read_from(&mut self, place: ResumePoint, bounds: Bounds, max_bytes: u64) -> Result<Fetched> {
        let ResumePoint { segment, position, last_in } = place;
        segment.check_damage(position)?;
        let readable = segment.readable();
        let (mut stretch, trust) = stretch_from(&segment, position, readable, max_bytes)?;
        let batches = std::mem::take(&mut self.queue);
        let mut fetched = Fetched { batches, next_offset: self.next_offset, ..Fetched::default() };
        let Bounds { mut expected, bound, limit } = bounds;
        let mut at = 0;
        while let Some(head) = stretch.get(at..).filter(|rest| !rest.is_empty()) {
            let place = position + at as u64;
            if segment.check_damage(place).is_err() {
                // The first place was checked above: this one is for the next fetch to report.
                break;
            }
            let header = match BatchHeader::parse(head) {
                Ok(header) => header,
                Err(_) if !fetched.batches.is_empty() => break,
                // In a page that did not pass, an unknown version is damage like any other.
                Err(error) if matches!(trust, Trust::Nothing(_)) => {
                    return Err(Error::corrupt(segment.path(), place, error.to_string()));
                }
                Err(error) => return Err(segment.fault(error, place, head)),
            };
            let place =
                BatchCandidate { log: &self.log, segment: &segment, position: place, expected, limit };
            if header.base_offset >= bound && place.problem_of(&header).is_none() {
                break;
            }
            let end = usize::try_from(header.size()).unwrap_or(usize::MAX).saturating_add(at);
            let (bytes, trust) = match end.cmp(&stretch.len()) {
                cmp::Ordering::Less => (stretch.slice(at..end), trust),
                // The last one, often the only one, takes the stretch over: no count goes up and down again.
                cmp::Ordering::Equal => (stretch.split_off(at), trust),
                cmp::Ordering::Greater if !fetched.batches.is_empty() => break,
                // The first batch is larger than what was asked for: it comes alone.
                cmp::Ordering::Greater => {
                    (whole(&segment, place.position, header.size(), readable)?, trust.beyond_the_stretch())
                }
            };
            let Some(batch) = place.checked(header, bytes, &fetched, trust)? else { break };
            at = end;
            expected = header.next_offset();
            fetched.next_offset = expected;
            fetched.bytes += header.size();
            fetched.batches.push_back(batch);
        }
        let behind = position + fetched.bytes;
        if behind < readable {
            let next = match BatchHeader::parse(stretch.get(at..).unwrap_or_default()) {
                Ok(next) => Some(next),
                Err(_) => segment.header_at(behind).ok().flatten(),
            };
            if next.is_some_and(|next| next.base_offset < fetched.next_offset) {
                take_back(&mut fetched, &segment, behind)?;
            }
        }
        self.next_offset = fetched.next_offset;
        fetched.position = position;
        self.place = Some(ResumePoint { segment, position: position + fetched.bytes, last_in });
        Ok(fetched)
    }
}

/// Takes back the last batch of a fetch, which ends at `behind`, where that one, and not the one that follows, is wrong
/// about the offsets that both claim.
#[cold]
fn take_back(fetched: &mut Fetched, segment: &Segment, behind: u64) -> Result<()> {
    let Some(header) = fetched.batches.back().map(|batch| *batch.header()) else { return Ok(()) };
    let position = behind - header.size();
    let Some(reason) = segment.fault_of(position, header.base_offset)? else { return Ok(()) };
    fetched.batches.pop_back();
    fetched.bytes -= header.size();
    match fetched.batches.back() {
        Some(last) => fetched.next_offset = last.header().next_offset(),
        None => return Err(Error::corrupt(segment.path(), position, reason)),
    }
    Ok(())
}

/// Where a fetch ended, if that segment is still one of these.
fn remembered(place: Option<ResumePoint>, segments: &[Arc<Segment>]) -> Option<(usize, u64)> {
    let ResumePoint { segment, position, .. } = place?;
    let i = floor(segments, segment.base())?;
    segments.get(i).filter(|s| Arc::ptr_eq(s, &segment)).map(|_| (i, position))
}

/// Where a batch was found.
struct BatchCandidate<'a> {
    log: &'a Log,
    segment: &'a Segment,
    position: u64,
    /// The offset that it begins at, or behind where offsets may be missing.
    expected: Offset,
    /// The offset that no batch of the segment reaches.
    limit: Offset,
}

impl BatchCandidate<'_> {
    /// The batch, checked; `None` ends a fetch that has batches before the bad one, which the next fetch will report.
    fn checked(
        &self,
        header: BatchHeader,
        bytes: Bytes,
        fetched: &Fetched,
        trust: Trust,
    ) -> Result<Option<RecordBatch>> {
        let batch = RecordBatch::with_header(header, bytes);
        let path = self.segment.path();
        let problem = match (self.problem_of(&header), trust) {
            (Some(reason), _) => Some(Error::corrupt(path, self.position, reason)),
            (None, Trust::Pages) => None,
            // The batch's own checksum leaves offset and epoch open, so these must be exactly the ones expected.
            (None, Trust::Nothing(page)) if !self.is_certain(&header, fetched.next_offset) => {
                let reason = "a page is not what was written when the segment was sealed";
                Some(Error::corrupt(path, page, reason))
            }
            (None, Trust::Nothing(_) | Trust::Checksum) => {
                batch.verify_crc().err().map(|e| e.in_file(path, self.position))
            }
        };
        match problem {
            None => Ok(Some(batch)),
            Some(_) if !fetched.batches.is_empty() => Ok(None),
            Some(error) => Err(error),
        }
    }

    /// What is wrong with the place of a batch in the order of offsets.
    fn problem_of(&self, header: &BatchHeader) -> Option<String> {
        self.segment.out_of_place(header, self.expected).or_else(|| {
            let next = header.next_offset();
            (next > self.limit)
                .then(|| format!("a batch up to offset {next} in a segment below {}", self.limit))
        })
    }

    /// Whether the fields that a batch's checksum does not cover, and that are in their place, can be nothing else.
    fn is_certain(&self, header: &BatchHeader, next_offset: Offset) -> bool {
        !self.segment.may_have_gaps()
            || (header.base_offset == next_offset
                && epoch_on_disk(self.log, header.base_offset) == Some(header.leader_epoch))
    }
}

/// About `max_bytes` from `position` on, and what vouches for them. A stretch ends before the first page that is not
/// what was written; one that begins in such a page ends with it. It ends before known damage, which may be that the file
/// has no bytes there.
fn stretch_from(segment: &Segment, position: u64, readable: u64, max_bytes: u64) -> Result<(Bytes, Trust)> {
    let readable = segment.next_damage(position).map_or(readable, |hole| hole.min(readable));
    let end = readable.min(position.saturating_add(max_bytes.max(HEADER_LEN as u64)));
    let (end, trust) = match segment.check_pages(position..end)? {
        PagesVerdict::Unknown => (end, Trust::Checksum),
        PagesVerdict::Good => (end, Trust::Pages),
        PagesVerdict::Bad(page) if page.start >= position + HEADER_LEN as u64 => (page.start, Trust::Pages),
        PagesVerdict::Bad(page) => (end.min(page.end), Trust::Nothing(page.start)),
    };
    // A header that straddles a bad page's end is wanted whole; its batch then answers for itself.
    let end = end.max(position + HEADER_LEN as u64).min(readable);
    Ok((segment.bytes(position..end)?, trust))
}

fn whole(segment: &Segment, place: u64, size: u64, readable: u64) -> Result<Bytes> {
    if place + size > readable {
        let reason = format!("a batch of {size} bytes where {} are left", readable - place);
        return Err(Error::corrupt(segment.path(), place, reason));
    }
    segment.bytes(place..place + size)
}

/// The leader epoch of `offset` by its checkpoint. Asked only where damage was found.
fn epoch_on_disk(log: &Log, offset: Offset) -> Option<i32> {
    read_epochs(&*log.data_dir.env, &log.identity.dir, Offset::MAX).epoch_for(offset)
}

#[cfg(test)]
mod tests;
