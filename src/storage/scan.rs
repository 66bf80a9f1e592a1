//! Walking the batches of a segment's file, believing nothing.
//!
//! A scan reads positionally, checks each batch's shape, checksum and place in the order of offsets, and stops at the end of
//! the data: the end of the file, or a length field of zero, which is how preallocated space looks. Whether a bad batch is a
//! torn tail or damage is decided by the caller, which knows what was durable.

mod epochs;
mod known_positions;
mod reading;
mod search;
#[cfg(test)]
mod tests;

pub use epochs::EpochsAround;
pub use known_positions::KnownPositions;

use super::segment::checked_pages::CheckedPages;
use super::segment::source::SegmentSource;
use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, CRC_START, HEADER_LEN, LENGTH_OVERHEAD, RecordBatch},
        crc::crc32c,
        unpacked::Unpacked,
    },
    error::{Error, Result},
    types::Offset,
};
use bytes::Bytes;
use std::sync::Arc;

/// The least that is read in one piece.
const CHUNK: usize = 1 << 20;

/// The leader epoch of the batches of a new log. Nobody here raises it: there is no leader.
pub const LEADER_EPOCH: i32 = 0;

/// A batch of another version that is larger than this is believed without a look at its checksum.
pub const VERSION_CHECK_MAX: usize = 64 << 20;

/// What a scan found at its position.
#[derive(Debug)]
pub enum ScanItem {
    /// A whole, valid batch in its place.
    Batch(RecordBatch, u64),
    /// The end of the data.
    End,
    /// Something that is not the batch expected here.
    Bad(String),
    /// A batch of a version that this release does not know.
    Unsupported(DecodeError),
}

/// How bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPath {
    /// Through the operating system's cache.
    Cache,
    /// Through that cache, by the one who writes the file and has flushed it. The space set aside at its end, which may
    /// be long, is not read: that would fill the cache with zeros.
    Flushed,
    /// From this position on past the cache, which may show what a failed flush lost.
    MediumFrom(u64),
}

/// Bytes that a scan has read.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    bytes: Bytes,
    start: u64,
}

/// A walk over the batches of one file.
#[derive(Debug)]
pub struct Scanner<'a> {
    file: &'a dyn SegmentSource,
    source: ReadPath,
    /// Where the file, or what may be read of it, ends.
    limit: u64,
    position: u64,
    expected: Offset,
    /// Whether offsets may be missing between batches (a compacted or foreign segment).
    gaps: bool,
    /// The one leader epoch of a log without gaps; `None` where another writer's batches are among them.
    epoch: Option<i32>,
    /// Whether a batch can be of another version at all.
    versions: bool,
    /// The offset that every batch lies below: the base of the next segment.
    ceiling: Offset,
    epochs: EpochsAround,
    positions: KnownPositions,
    /// Where the reported zeros begin, once that was asked; nowhere, once the report was found wrong.
    zeros_from: Option<u64>,
    /// How many bytes may still be read for candidates that are not batches, once the search has begun.
    search: Option<u64>,
    unpacked: Unpacked,
    /// Checksums of the file's pages, which what is read must have.
    pages: Option<Arc<CheckedPages>>,
    chunk: Bytes,
    chunk_start: u64,
    /// The last header that was looked up, and its position: the next batch's, as a rule. Its bytes lie in the chunk.
    looked_up: Option<(u64, BatchHeader)>,
    /// How many bytes were read.
    pub bytes_read: u64,
}

impl<'a> Scanner<'a> {
    /// A scan from `position`, where a batch starts whose base offset is `expected`, or not below it when `gaps`.
    pub fn new(file: &'a dyn SegmentSource, limit: u64, position: u64, expected: Offset, gaps: bool) -> Self {
        Scanner {
            file,
            source: ReadPath::Cache,
            limit,
            position,
            expected,
            gaps,
            epoch: Some(LEADER_EPOCH),
            versions: true,
            ceiling: Offset::MAX,
            epochs: EpochsAround::default(),
            positions: KnownPositions::default(),
            zeros_from: None,
            search: None,
            unpacked: Unpacked::default(),
            pages: None,
            chunk: Bytes::new(),
            chunk_start: 0,
            looked_up: None,
            bytes_read: 0,
        }
    }

    /// Reads bytes in another way.
    #[must_use]
    pub fn reading(mut self, source: ReadPath) -> Self {
        self.source = source;
        self
    }

    /// Takes batches that do not lie below `ceiling` for bad.
    #[must_use]
    pub fn below(mut self, ceiling: Offset) -> Self {
        self.ceiling = ceiling;
        self
    }

    /// Expects this leader epoch of each batch where there are no gaps; `None` accepts any.
    #[must_use]
    pub fn of_epoch(mut self, epoch: Option<i32>) -> Self {
        self.epoch = epoch;
        self
    }

    /// Whether bytes that say they are a batch of another version can be one. Where only this library writes, they are
    /// not: its manifest would say so.
    #[must_use]
    pub fn believing_versions(mut self, versions: bool) -> Self {
        self.versions = versions;
        self
    }

    /// Knows this of leader epochs, which reveals a wrong one.
    #[must_use]
    pub fn with_epochs(mut self, epochs: EpochsAround) -> Self {
        self.epochs = epochs;
        self
    }

    /// Knows the offsets at these positions, which show whether a batch after damage is in its place.
    #[must_use]
    pub fn with_known_positions(mut self, positions: KnownPositions) -> Self {
        self.positions = positions;
        self
    }

    /// Checks each page that is read; one that is not what was written ends the scan with `Corrupt`. The pages are all that
    /// the scan may read.
    #[must_use]
    pub fn checking(mut self, pages: Option<Arc<CheckedPages>>) -> Self {
        self.pages = pages;
        self
    }

    /// Begins with what an earlier scan of the same bytes has read, and checked.
    #[must_use]
    pub fn with_chunk(mut self, chunk: Chunk) -> Self {
        (self.chunk, self.chunk_start) = (chunk.bytes, chunk.start);
        self
    }

    /// What was read and is perhaps not used yet, for a scan that continues.
    pub fn into_chunk(self) -> Chunk {
        Chunk { bytes: self.chunk, start: self.chunk_start }
    }

    /// Where the next batch is expected.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The offset expected next.
    pub fn expected(&self) -> Offset {
        self.expected
    }

    /// The next batch, or why there is none. After anything else than a batch the scan stays where it is.
    pub fn next(&mut self) -> Result<ScanItem> {
        let header = match self.header_at(self.position)? {
            Ok(header) => header,
            Err(error) => return self.judge_head(error),
        };
        if let Some(reason) = self.out_of_place(&header) {
            return Ok(ScanItem::Bad(reason));
        }
        if let Some(reason) = self.contradicted(&header)? {
            return Ok(ScanItem::Bad(reason));
        }
        let batch = match self.whole(header)? {
            Ok(batch) => batch,
            Err(reason) => return Ok(ScanItem::Bad(reason)),
        };
        if let Some(reason) = self.reaches_too_far(&batch)? {
            return Ok(ScanItem::Bad(reason));
        }
        let (header, position) = (batch.header(), self.position);
        self.position += header.size();
        self.expected = header.next_offset();
        self.epochs.before = Some(header.leader_epoch);
        Ok(ScanItem::Batch(batch, position))
    }

    /// The next batch of a segment that is sealed, of which all up to the limit is batches; `None` at its end.
    ///
    /// # Errors
    ///
    /// `Corrupt`, or `UnsupportedFormat` for a batch of another version, where something else than a batch is there.
    pub fn next_sealed(&mut self) -> Result<Option<(RecordBatch, u64)>> {
        if self.position >= self.limit {
            return Ok(None);
        }
        let reason = match self.next()? {
            ScanItem::Batch(batch, position) => return Ok(Some((batch, position))),
            ScanItem::Unsupported(error) => return Err(error.in_file(self.file.path(), self.position)),
            ScanItem::End => "no batch where one was sealed".to_string(),
            ScanItem::Bad(reason) => reason,
        };
        Err(Error::corrupt(self.file.path(), self.position, reason))
    }

    /// The batch at the scan's position, or why it is not one.
    fn whole(&mut self, header: BatchHeader) -> Result<std::result::Result<RecordBatch, String>> {
        let left = self.limit.saturating_sub(self.position);
        if header.size() > left {
            return Ok(Err(format!("a batch of {} bytes, of which the file has {left}", header.size())));
        }
        // A large one is checked piece by piece before memory is reserved for its claimed size.
        if header.size() > CHUNK as u64 && !self.checksum_holds(self.position, &header)?.0 {
            return Ok(Err("the checksum of the batch does not match".into()));
        }
        // Together with the next header, so that neither is read twice.
        if header.size() <= CHUNK as u64 {
            self.view(self.position, header.size() as usize + HEADER_LEN)?;
        }
        let size = usize::try_from(header.size()).unwrap_or(usize::MAX);
        let bytes = self.peek(size)?;
        if bytes.len() < size {
            return Ok(Err(format!("a batch of {size} bytes, of which the file has {}", bytes.len())));
        }
        let batch = RecordBatch::with_header(header, bytes);
        if let Err(error) = batch.verify_crc() {
            planted!(believe_without_checksums => return Ok(Ok(batch)));
            return Ok(Err(error.to_string()));
        }
        Ok(Ok(batch))
    }

    fn out_of_place(&self, header: &BatchHeader) -> Option<String> {
        if let Some(reason) = out_of_place(header, self.expected, self.gaps, self.epoch) {
            return Some(reason);
        }
        let last = header.last_offset();
        // Where offsets may be missing, only the end of the segment shows a base offset that is too high.
        let end = if self.gaps { self.positions.at(self.limit).unwrap_or(Offset::MAX) } else { Offset::MAX };
        let ceiling = self.ceiling.min(end);
        (last >= ceiling).then(|| format!("a batch up to offset {last} in a segment below {ceiling}"))
    }

    /// Whether a batch of a log in which offsets may be missing, or leader epochs may be any, lies about its place or its
    /// epoch, which its checksum does not cover, as far as its neighbours tell.
    fn contradicted(&mut self, header: &BatchHeader) -> Result<Option<String>> {
        if !self.gaps && self.epoch.is_some() {
            return Ok(None);
        }
        // Together with the batch where it is not large, so that neither is read twice.
        if header.size() <= CHUNK as u64 {
            self.view(self.position, header.size() as usize + HEADER_LEN)?;
        }
        let behind = self.position.saturating_add(header.size());
        let next = self.header_at(behind)?.ok();
        // The next one follows without a gap once this one is put where it was expected.
        let (base, expected) = (header.base_offset, self.expected);
        let would_fit = expected + header.next_offset().distance_from(base);
        if base != expected && next.as_ref().is_some_and(|next| next.base_offset == would_fit) {
            let reason =
                format!("a batch with base offset {base} where {expected} was expected and would fit");
            return Ok(Some(reason));
        }
        Ok(self.epochs.contradict(header, next.map(|next| next.leader_epoch)))
    }

    /// The header at `position`, or why there is none.
    fn header_at(&mut self, position: u64) -> Result<std::result::Result<BatchHeader, DecodeError>> {
        if let Some((at, header)) = self.looked_up
            && at == position
        {
            return Ok(Ok(header));
        }
        let header = BatchHeader::parse(self.view(position, HEADER_LEN)?);
        self.looked_up = header.as_ref().ok().map(|header| (position, *header));
        Ok(header)
    }

    /// What the bytes at the scan's position are, which this keeps from being a header.
    fn judge_head(&mut self, error: DecodeError) -> Result<ScanItem> {
        let head = self.peek(HEADER_LEN)?;
        if head.len() < LENGTH_OVERHEAD || length_field(&head) == 0 {
            return Ok(judge_end(&head));
        }
        match error {
            DecodeError::Unsupported { .. } => self.judge_version(error, &head),
            _ if head.len() < HEADER_LEN => {
                Ok(ScanItem::Bad(format!("{} bytes are less than a batch header", head.len())))
            }
            error => Ok(ScanItem::Bad(error.to_string())),
        }
    }

    fn is_in_place(&self, base: Offset) -> bool {
        if self.gaps { base >= self.expected } else { base == self.expected }
    }

    /// What says that it is of another version is that only if it is in its place, whole, and not a batch of ours whose
    /// magic byte was changed.
    fn judge_version(&mut self, error: DecodeError, head: &[u8]) -> Result<ScanItem> {
        if !self.versions {
            return Ok(ScanItem::Bad(error.to_string()));
        }
        let base = head.first_chunk().map_or(-1, |b| i64::from_be_bytes(*b));
        if Offset::from_i64(base).is_none_or(|base| !self.is_in_place(base)) {
            return Ok(ScanItem::Bad(format!(
                "{error}, at offset {base} where {} was expected",
                self.expected
            )));
        }
        let size = LENGTH_OVERHEAD as u64 + u64::from(length_field(head));
        if size > self.limit.saturating_sub(self.position) {
            return Ok(ScanItem::Bad(format!("{error}, and of {size} bytes, which the file does not have")));
        }
        let bytes = self.peek(usize::try_from(size).unwrap_or(usize::MAX).min(VERSION_CHECK_MAX))?;
        Ok(if bytes.len() == VERSION_CHECK_MAX || is_of_another_version(&bytes) {
            ScanItem::Unsupported(error)
        } else {
            ScanItem::Bad(format!("{error}, but its checksum is of no other version"))
        })
    }
}

fn judge_end(head: &[u8]) -> ScanItem {
    if head.iter().all(|b| *b == 0) {
        ScanItem::End
    } else {
        ScanItem::Bad(format!("{} bytes that are no batch", head.len()))
    }
}

/// What is wrong with the fields of a batch that its checksum does not cover. Where offsets may be missing, or the log is
/// another's, little can be said of them; in what this library wrote each of them can have one value only: `known` is
/// that of the leader epoch, `None` where another writer appended between.
pub fn out_of_place(
    header: &BatchHeader,
    expected: Offset,
    gaps: bool,
    known: Option<i32>,
) -> Option<String> {
    let (base, epoch) = (header.base_offset, header.leader_epoch);
    if base < expected || (base > expected && !gaps) {
        return Some(format!("a batch with base offset {base} where {expected} was expected"));
    }
    let known = known.filter(|known| *known != epoch && !gaps)?;
    Some(format!("a batch of leader epoch {epoch} in a log whose epoch is {known}"))
}

/// Whether the bytes of a batch whose magic is not 2 are really those of another version. The magic byte lies outside
/// the checksum of ours, so a batch whose checksum is right but for it is one of ours, damaged; the versions before had
/// a checksum of their own, which tells; of later ones nothing is known, and they get the benefit of the doubt.
pub fn is_of_another_version(batch: &[u8]) -> bool {
    let stored = |at: usize| batch.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let Some(magic) = batch.get(16) else { return false };
    match magic {
        0 | 1 => batch.get(16..).map(crate::codec::crc::crc32) == stored(12),
        _ => batch.get(CRC_START..).map(crc32c) != stored(17),
    }
}

fn is_zeros(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.starts_with(chunk))
}

fn length_field(head: &[u8]) -> u32 {
    head.get(8..12).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}
