//! Walking the batches of a segment's file, believing nothing.
//!
//! A scan reads positionally, checks each batch's shape, checksum and place in the order of offsets, and stops at the
//! end of the data: the end of the file, or a length field of zero, which is what space set aside looks like. Whether a
//! bad batch is a torn tail or damage is for the caller to say, who knows what was durable.

mod epochs;
mod places;
#[cfg(test)]
mod tests;

pub use epochs::EpochsAround;
pub use places::KnownPlaces;

use super::segment::source::SegmentSource;
use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, CRC_START, HEADER_LEN, LENGTH_OVERHEAD, RecordBatch},
        crc::{crc32c, crc32c_append, crc32c_over_zeros},
        unpacked::Unpacked,
    },
    error::{
        Error, Result,
        memory::{has_memory_for, out_of_memory},
    },
    types::Offset,
};
use bytes::{Buf, Bytes, BytesMut};
use places::Claim;
use std::io;

/// How much is read at once, at least.
const CHUNK: usize = 1 << 20;

/// A chunk begins at a multiple of this, in its file and in memory, so that reading past the cache copies nothing.
const ALIGNMENT: usize = 4096;

/// So much of what the file system says is zeros is read all the same. OpenZFS before 2.1.14 and 2.2.2 now and then takes
/// for a hole what was flushed a moment ago.
const LOOKED_AT: u64 = 64 << 10;

/// The leader epoch of the batches of a new log. Nobody here raises it: there is no leader.
pub const LEADER_EPOCH: i32 = 0;

/// So much of a file is looked at for whole batches behind damage, and [`SEARCHED_TIMES`] what is stored of it.
const SEARCHED_LEAST: u64 = 64 << 20;
const SEARCHED_TIMES: u64 = 4;

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
    places: KnownPlaces,
    /// From where on all is told to be zeros, once that was asked; nowhere, once that was seen to be wrong.
    zeros_from: Option<u64>,
    /// How many bytes may still be looked at for what may be a batch and is none, once that has begun.
    search: Option<u64>,
    unpacked: Unpacked,
    chunk: Bytes,
    chunk_start: u64,
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
            places: KnownPlaces::default(),
            zeros_from: None,
            search: None,
            unpacked: Unpacked::default(),
            chunk: Bytes::new(),
            chunk_start: 0,
            bytes_read: 0,
        }
    }

    /// Reads from another source.
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

    /// Knows this of leader epochs, which tells of a wrong one.
    #[must_use]
    pub fn with_epochs(mut self, epochs: EpochsAround) -> Self {
        self.epochs = epochs;
        self
    }

    /// Knows these places, which tell whether a batch behind damage is in its own.
    #[must_use]
    pub fn with_places(mut self, places: KnownPlaces) -> Self {
        self.places = places;
        self
    }

    /// Where the next batch is expected.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The offset expected next.
    pub fn expected(&self) -> Offset {
        self.expected
    }

    /// The next batch, or why there is none. After anything but a batch the scan stays where it is.
    pub fn next(&mut self) -> Result<ScanItem> {
        let head = self.peek(HEADER_LEN)?;
        if head.len() < LENGTH_OVERHEAD || length_field(&head) == 0 {
            return Ok(self.judge_end(&head));
        }
        let header = match BatchHeader::parse(&head) {
            Ok(header) => header,
            Err(error @ DecodeError::Unsupported { .. }) => return self.judge_version(error, &head),
            Err(_) if head.len() < HEADER_LEN => {
                return Ok(ScanItem::Bad(format!("{} bytes are less than a batch header", head.len())));
            }
            Err(error) => return Ok(ScanItem::Bad(error.to_string())),
        };
        // Whoever holds a piece of the chunk keeps its memory from being read into again.
        drop(head);
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

    /// The batch at the scan's position, or why it is none.
    fn whole(&mut self, header: BatchHeader) -> Result<std::result::Result<RecordBatch, String>> {
        let left = self.limit.saturating_sub(self.position);
        if header.size() > left {
            return Ok(Err(format!("a batch of {} bytes, of which the file has {left}", header.size())));
        }
        // A large one is checked piece by piece before memory is set aside for what it says of itself.
        if header.size() > CHUNK as u64 && !self.checksum_holds(self.position, &header)?.0 {
            return Ok(Err("the checksum of the batch does not match".into()));
        }
        // Together with the header behind it, so that neither is read twice.
        if header.size() <= CHUNK as u64 {
            self.view(self.position, header.size() as usize + HEADER_LEN)?;
        }
        let size = usize::try_from(header.size()).unwrap_or(usize::MAX);
        let bytes = self.peek(size)?;
        if bytes.len() < size {
            return Ok(Err(format!("a batch of {size} bytes, of which the file has {}", bytes.len())));
        }
        let batch = RecordBatch::with_header(header, bytes);
        if let Err(error) = batch.verify_crc()
            && !planted!(believe_without_checksums)
        {
            return Ok(Err(error.to_string()));
        }
        Ok(Ok(batch))
    }

    /// Goes on at the next whole, valid batch behind the scan's position, and says where that is. In a log without gaps
    /// only one whose place something else bears out. Used to tell what lies behind damage; nothing found this way is
    /// believed to follow without a gap.
    ///
    /// Hostile bytes may claim one huge batch after the other, and lie in a file of a tebibyte that has nothing else. So
    /// holes are passed over, the work of one scan is bounded by a multiple of what is there, and nothing more is found
    /// after that.
    pub fn resync(&mut self) -> Result<Option<u64>> {
        let mut at = self.position + 1;
        if at.saturating_add(HEADER_LEN as u64) > self.limit {
            return Ok(None);
        }
        let mut claim = Some(Claim::new(self.position, self.expected));
        if self.search.is_none() {
            let there = self.file.data_behind(at)?.min(self.limit.saturating_sub(at));
            self.search = Some(there.saturating_mul(SEARCHED_TIMES).saturating_add(SEARCHED_LEAST));
        }
        while at + HEADER_LEN as u64 <= self.limit {
            let window = self.view(at, CHUNK)?;
            let Some(last_start) = window.len().checked_sub(HEADER_LEN) else { break };
            let behind = at + last_start as u64 + 1;
            // The magic byte first: nearly every place ends here; and nothing is in space that was only set aside.
            let is_empty = is_zeros(&window);
            let places = if is_empty { None } else { window.get(16..=last_start + 16) };
            let magics = places.unwrap_or_default().iter();
            for (i, _) in magics.enumerate().filter(|(_, byte)| **byte == 2) {
                let Some(head) = window.get(i..i + HEADER_LEN) else { break };
                let Ok(header) = BatchHeader::parse(head) else { continue };
                if self.search == Some(0) {
                    return Ok(None);
                }
                let start = at + i as u64;
                if self.is_whole_and_in_place(start, &header, &mut claim)? {
                    self.position = start;
                    self.expected = header.base_offset;
                    return Ok(Some(start));
                }
            }
            let is_unread = self.zeros_from.is_some_and(|zeros| unread_from(zeros) <= behind);
            at = match is_empty {
                _ if is_unread => self.limit,
                // A header may begin with zeros.
                true => behind.max(self.data_from(behind)?.saturating_sub(HEADER_LEN as u64)),
                false => behind,
            };
        }
        Ok(None)
    }

    /// Whether what lies behind damage at `start` is a batch to go on at. Takes what that costs from what may still be
    /// looked at: all that was read, for its checksum and for what bears it out.
    fn is_whole_and_in_place(
        &mut self,
        start: u64,
        header: &BatchHeader,
        claim: &mut Option<Claim>,
    ) -> Result<bool> {
        let fits = header.base_offset >= self.expected && header.last_offset() < self.ceiling;
        if !fits || start + header.size() > self.limit {
            return Ok(false);
        }
        let before = self.bytes_read;
        let (holds, looked_at) = self.checksum_holds(start, header)?;
        let mut is_good = false;
        if holds {
            *claim = self.follow_claim(*claim, start)?;
            is_good = !self.is_out_of_its_place(start, header, *claim)?;
        }
        let cost = looked_at.max(self.bytes_read - before);
        self.search = self.search.map(|left| left.saturating_sub(cost));
        Ok(is_good)
    }

    /// Where something may lie again behind a stretch of zeros that was read up to `position`.
    fn data_from(&self, position: u64) -> Result<u64> {
        match self.source {
            // What is told of holes is not told of the medium.
            ReadPath::MediumFrom(_) => Ok(position),
            ReadPath::Cache | ReadPath::Flushed => Ok(self.file.data_from(position)?.min(self.limit)),
        }
    }

    /// Whether the checksum of the batch at `start` is that of its bytes, which are looked at piece by piece, and at how
    /// many of them.
    fn checksum_holds(&mut self, start: u64, header: &BatchHeader) -> Result<(bool, u64)> {
        let (mut at, end) = (start + CRC_START as u64, start + header.size());
        let (mut crc, mut looked_at) = (0, 0);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
            let bytes = self.view(at, wanted)?;
            let piece = bytes.get(..wanted.min(bytes.len())).unwrap_or_default();
            if piece.is_empty() {
                return Ok((false, looked_at));
            }
            crc = crc32c_append(crc, piece);
            at += piece.len() as u64;
            looked_at += piece.len() as u64;
            if piece.len() == CHUNK && is_zeros(piece) {
                let data = self.data_from(at)?.clamp(at, end);
                crc = crc32c_over_zeros(crc, data - at);
                at = data;
            }
        }
        Ok((crc == header.crc, looked_at))
    }

    fn out_of_place(&self, header: &BatchHeader) -> Option<String> {
        if let Some(reason) = out_of_place(header, self.expected, self.gaps, self.epoch) {
            return Some(reason);
        }
        let last = header.last_offset();
        (last >= self.ceiling)
            .then(|| format!("a batch up to offset {last} in a segment below {}", self.ceiling))
    }

    /// Whether a batch of a log in which offsets may be missing lies about its place or its leader epoch, which its
    /// checksum does not cover, as far as its neighbours tell.
    fn contradicted(&mut self, header: &BatchHeader) -> Result<Option<String>> {
        if !self.gaps {
            return Ok(None);
        }
        // Together with the batch where it is not large, so that neither is read twice.
        if header.size() <= CHUNK as u64 {
            self.view(self.position, header.size() as usize + HEADER_LEN)?;
        }
        let behind = self.position.saturating_add(header.size());
        let next = self.header_at(behind)?;
        // The one behind it follows without a gap once this one is put where it was expected.
        let (base, expected) = (header.base_offset, self.expected);
        let would_fit = expected + header.next_offset().distance_from(base);
        if base != expected && next.as_ref().is_some_and(|next| next.base_offset == would_fit) {
            let reason =
                format!("a batch with base offset {base} where {expected} was expected and would fit");
            return Ok(Some(reason));
        }
        Ok(self.epochs.contradict(header, next.map(|next| next.leader_epoch)))
    }

    fn header_at(&mut self, position: u64) -> Result<Option<BatchHeader>> {
        Ok(BatchHeader::parse(&self.view(position, HEADER_LEN)?).ok())
    }

    fn is_in_place(&self, base: Offset) -> bool {
        if self.gaps { base >= self.expected } else { base == self.expected }
    }

    /// What says that it is of another version is that only if it is in its place, whole, and not a batch of ours whose
    /// magic byte was changed.
    fn judge_version(&mut self, error: DecodeError, head: &Bytes) -> Result<ScanItem> {
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

    fn judge_end(&self, head: &Bytes) -> ScanItem {
        if head.iter().all(|b| *b == 0) {
            ScanItem::End
        } else {
            ScanItem::Bad(format!("{} bytes that are no batch", head.len()))
        }
    }

    /// Up to `len` bytes from the scan's position on; fewer at the end.
    fn peek(&mut self, len: usize) -> Result<Bytes> {
        let bytes = self.view(self.position, len)?;
        Ok(bytes.slice(..len.min(bytes.len())))
    }

    fn view(&mut self, position: u64, len: usize) -> Result<Bytes> {
        let available = usize::try_from(self.limit.saturating_sub(position)).unwrap_or(usize::MAX);
        let wanted = len.min(available);
        // A file of which nothing may be read need not be there.
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        if let Some(skip) = self.skip_to(position)
            && skip.checked_add(wanted).is_some_and(|end| end <= self.chunk.len())
        {
            return Ok(self.chunk.slice(skip..));
        }
        self.read_chunk(position - position % ALIGNMENT as u64, position, wanted)?;
        let skip = self.skip_to(position).unwrap_or(usize::MAX).min(self.chunk.len());
        Ok(self.chunk.slice(skip..))
    }

    /// Where a position of the file lies in the chunk, or would.
    fn skip_to(&self, position: u64) -> Option<usize> {
        position.checked_sub(self.chunk_start).and_then(|skip| usize::try_from(skip).ok())
    }

    /// Reads a chunk that begins at `start` and reaches at least `wanted` bytes beyond `position`, where the file does.
    fn read_chunk(&mut self, start: u64, position: u64, wanted: usize) -> Result<()> {
        let least = (position - start) as usize + wanted;
        // Never more than the file has, whatever a length field says; what is at hand is not read again.
        let left = usize::try_from(self.limit.saturating_sub(start)).unwrap_or(usize::MAX);
        let held = self.skip_to(start).and_then(|skip| self.chunk.get(skip..)).map_or(0, <[u8]>::len);
        let len = least.max(CHUNK).min(left);
        if !has_memory_for(len) {
            let source = out_of_memory(format_args!("a batch of {len} bytes at byte {position}"));
            return Err(Error::io("read", self.file.path(), source));
        }
        let mut buf = self.room(held, len);
        let kept = held.min(buf.len());
        let read = self.read(buf.get_mut(kept..).unwrap_or_default(), start + kept as u64)?;
        buf.truncate(kept + read);
        self.chunk = buf.freeze();
        self.chunk_start = start;
        Ok(())
    }

    /// Room for the next chunk of `len` bytes, which begins with the last `kept` of this one: where this one lies, once
    /// nobody holds a piece of it. New memory costs more than what is read into it.
    fn room(&mut self, kept: usize, len: usize) -> BytesMut {
        let skip = self.chunk.len() - kept;
        match std::mem::take(&mut self.chunk).try_into_mut() {
            Ok(mut buf) => {
                buf.copy_within(skip.., 0);
                buf.resize(len, 0);
                buf
            }
            Err(held) => {
                let mut buf = BytesMut::zeroed(len + ALIGNMENT);
                buf.advance(buf.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT));
                buf.truncate(len);
                let front = held.get(skip..).unwrap_or_default();
                if let Some(room) = buf.get_mut(..front.len()) {
                    room.copy_from_slice(front);
                }
                buf
            }
        }
    }

    fn read(&mut self, buf: &mut [u8], position: u64) -> Result<usize> {
        let through_cache = match self.source {
            ReadPath::Cache => buf.len(),
            ReadPath::Flushed => distance(position, unread_from(self.zeros_from(position)?)),
            ReadPath::MediumFrom(from) => distance(position, from),
        };
        let (front, back) = buf.split_at_mut(through_cache.min(buf.len()));
        let read = self.file.read_full(front, position)?;
        self.bytes_read += read as u64;
        let is_belied = self.is_not_zeros(front.get(..read).unwrap_or_default(), position);
        if read < front.len() || back.is_empty() {
            return Ok(read);
        }
        let behind = position + read as u64;
        let more = match self.source {
            ReadPath::MediumFrom(_) => self.read_past_cache(back, behind)?,
            _ if is_belied => self.file.read_full(back, behind)?,
            _ => {
                back.fill(0);
                return Ok(read + back.len());
            }
        };
        self.bytes_read += more as u64;
        Ok(read + more)
    }

    /// Whether these bytes belie what was told of zeros. It is not believed any more then.
    fn is_not_zeros(&mut self, bytes: &[u8], position: u64) -> bool {
        let Some(zeros_from) = self.zeros_from else { return false };
        let told = bytes.get(distance(position, zeros_from)..).unwrap_or_default();
        let is_belied = !is_zeros(told);
        if is_belied {
            self.zeros_from = Some(u64::MAX);
        }
        is_belied
    }

    /// Where zeros begin, which is asked before anything is read: what reading brings into the cache counts as data.
    fn zeros_from(&mut self, position: u64) -> Result<u64> {
        let zeros_from = match self.zeros_from {
            Some(known) => known,
            None => self.file.zeros_from(position)?.unwrap_or(u64::MAX),
        };
        self.zeros_from = Some(zeros_from);
        Ok(zeros_from)
    }

    fn read_past_cache(&self, buf: &mut [u8], position: u64) -> Result<usize> {
        self.file.read_past_cache(buf, position)?.ok_or_else(|| {
            Error::io("read past the cache", self.file.path(), io::ErrorKind::Unsupported.into())
        })
    }
}

/// Where that ends which is read of a file that is told to be zeros from `zeros` on.
fn unread_from(zeros: u64) -> u64 {
    zeros.saturating_add(LOOKED_AT)
}

/// How far `to` lies beyond `from`.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
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
