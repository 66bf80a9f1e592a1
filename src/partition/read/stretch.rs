//! A stretch of a segment's published bytes, and the batches in it.
//!
//! Every batch is checked before it is handed out: its shape, its place in the order of offsets, its checksum; where the page
//! checksums of its segment have passed, these vouch for it. A stretch hands out what comes before a bad batch; the next one,
//! which begins there, reports it.

use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, HEADER_LEN, RecordBatch},
        index::AbortedTransaction,
    },
    error::{Error, Result},
    partition::{log::Log, state::replay::read_epochs},
    storage::segment::{PagesVerdict, Segment},
    types::Offset,
};
use bytes::Bytes;
use std::{cmp, collections::VecDeque};

/// Batches out of one fetch.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The batches, in order. The first may begin before the offset that was asked for.
    pub batches: VecDeque<RecordBatch>,
    /// The transactions aborted in this stretch, for read-committed readers.
    pub aborted: Vec<AbortedTransaction>,
    /// The offset after the last batch.
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
    /// It begins in a page that did not pass; the page begins here.
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

/// The offsets of one stretch of a segment.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Where its first batch begins, or not before where offsets may be missing.
    pub expected: Offset,
    /// Where readers stop.
    pub bound: Offset,
    /// No batch of the segment ends beyond it.
    pub limit: Offset,
}

/// Published bytes of one segment, out of which a fetch takes its batches.
pub(super) struct Stretch<'a> {
    log: &'a Log,
    segment: &'a Segment,
    /// Where in the file it begins.
    position: u64,
    /// How much of the file is published.
    readable: u64,
    bytes: Bytes,
    trust: Trust,
    bounds: Bounds,
}

impl<'a> Stretch<'a> {
    /// About `max_bytes` of a segment from `position` on.
    #[inline]
    pub fn read(
        log: &'a Log,
        segment: &'a Segment,
        position: u64,
        bounds: Bounds,
        max_bytes: u64,
    ) -> Result<Self> {
        segment.check_damage(position)?;
        let readable = segment.readable();
        let (bytes, trust) = stretch_from(segment, position, readable, max_bytes)?;
        Ok(Stretch { log, segment, position, readable, bytes, trust, bounds })
    }

    /// The batch that follows those of `fetched`, which came from here; `None` where the fetch ends.
    #[inline]
    pub fn next(&mut self, fetched: &Fetched) -> Result<Option<RecordBatch>> {
        let at = offset_in(fetched);
        let Some(head) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
        let position = self.position + fetched.bytes;
        if self.segment.check_damage(position).is_err() {
            // Not the first place, which was checked before: this one is for the next fetch to report.
            return Ok(None);
        }
        let header = match BatchHeader::parse(head) {
            Ok(header) => header,
            Err(_) if !fetched.batches.is_empty() => return Ok(None),
            Err(error) => return Err(self.fault(error, position, head)),
        };
        let Bounds { expected, bound, limit } = self.bounds;
        let candidate = BatchCandidate { log: self.log, segment: self.segment, position, expected, limit };
        if header.base_offset >= bound && candidate.problem_of(&header).is_none() {
            return Ok(None);
        }
        let Some((bytes, trust)) = self.cut(at, header.size(), fetched)? else { return Ok(None) };
        self.bounds.expected = header.next_offset();
        candidate.checked(header, bytes, fetched, trust)
    }

    /// The `size` bytes of the batch that starts at `at`, and what vouches for them; `None` where the stretch ends before,
    /// and has batches.
    #[inline]
    fn cut(&mut self, at: usize, size: u64, fetched: &Fetched) -> Result<Option<(Bytes, Trust)>> {
        let end = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(at);
        Ok(match end.cmp(&self.bytes.len()) {
            cmp::Ordering::Less => Some((self.bytes.slice(at..end), self.trust)),
            // The last one, often the only one, takes the stretch over: no count goes up and down again.
            cmp::Ordering::Equal => Some((self.bytes.split_off(at), self.trust)),
            cmp::Ordering::Greater if !fetched.batches.is_empty() => None,
            // The first batch is larger than what was asked for: it comes alone.
            cmp::Ordering::Greater => {
                let bytes = whole(self.segment, self.position, size, self.readable)?;
                Some((bytes, self.trust.beyond_the_stretch()))
            }
        })
    }

    /// The error of the first batch of a fetch, which has no header.
    #[cold]
    fn fault(&self, error: DecodeError, position: u64, head: &[u8]) -> Error {
        match self.trust {
            // In a page that did not pass, an unknown version is damage like any other.
            Trust::Nothing(_) => Error::corrupt(self.segment.path(), position, error.to_string()),
            Trust::Pages | Trust::Checksum => self.segment.fault(error, position, head),
        }
    }

    /// The base offset of the batch after those of `fetched`, where there is one.
    #[inline]
    pub fn base_after(&self, fetched: &Fetched) -> Option<Offset> {
        let position = self.position + fetched.bytes;
        if position >= self.readable {
            return None;
        }
        let next = match BatchHeader::parse(self.bytes.get(offset_in(fetched)..).unwrap_or_default()) {
            Ok(next) => Some(next),
            Err(_) => self.segment.header_at(position).ok().flatten(),
        };
        next.map(|next| next.base_offset)
    }
}

/// Where in its stretch the batches of a fetch end.
#[inline]
fn offset_in(fetched: &Fetched) -> usize {
    usize::try_from(fetched.bytes).unwrap_or(usize::MAX)
}

/// A batch that was found in a segment, and is not checked yet.
struct BatchCandidate<'a> {
    log: &'a Log,
    segment: &'a Segment,
    position: u64,
    /// The offset that it begins at, or after it where offsets may be missing.
    expected: Offset,
    /// No batch of the segment ends beyond this offset.
    limit: Offset,
}

impl BatchCandidate<'_> {
    /// The batch, checked; `None` ends a fetch that has batches before the bad one, which the next fetch will report.
    #[inline]
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
    #[inline]
    fn problem_of(&self, header: &BatchHeader) -> Option<String> {
        self.segment.out_of_place(header, self.expected).or_else(|| {
            let next = header.next_offset();
            (next > self.limit)
                .then(|| format!("a batch up to offset {next} in a segment below {}", self.limit))
        })
    }

    /// Whether the fields that the batch's checksum does not cover can have no other values.
    fn is_certain(&self, header: &BatchHeader, next_offset: Offset) -> bool {
        !self.segment.may_have_gaps()
            || (header.base_offset == next_offset
                && epoch_on_disk(self.log, header.base_offset) == Some(header.leader_epoch))
    }
}

/// About `max_bytes` from `position` on, and what vouches for them. A stretch ends before the first page that is not
/// what was written; one that begins in such a page ends with it. It also ends before known damage, where the file may
/// have no bytes.
#[inline]
fn stretch_from(segment: &Segment, position: u64, readable: u64, max_bytes: u64) -> Result<(Bytes, Trust)> {
    let readable = segment.next_damage(position).map_or(readable, |hole| hole.min(readable));
    let end = readable.min(position.saturating_add(max_bytes.max(HEADER_LEN as u64)));
    let (end, trust) = match segment.check_pages(position..end)? {
        PagesVerdict::Unknown => (end, Trust::Checksum),
        PagesVerdict::Good => (end, Trust::Pages),
        PagesVerdict::Bad(page) if page.start >= position + HEADER_LEN as u64 => (page.start, Trust::Pages),
        PagesVerdict::Bad(page) => (end.min(page.end), Trust::Nothing(page.start)),
    };
    // A header that straddles a bad page's end is read whole; the batch's own checksum then decides.
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

/// The leader epoch of `offset` by its checkpoint. Needed only where damage was found.
fn epoch_on_disk(log: &Log, offset: Offset) -> Option<i32> {
    read_epochs(&*log.data_dir.env, &log.identity.dir, Offset::MAX).epoch_for(offset)
}
