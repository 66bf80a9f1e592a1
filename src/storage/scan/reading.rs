//! How a scan gets its bytes: in chunks, through the cache or past it, and no more of zeros than it must.

use super::{CHUNK, ReadPath, Scanner, is_zeros};
use crate::{
    codec::pages::PAGE_SIZE,
    error::{
        Error, Result,
        memory::{has_memory_for, out_of_memory},
    },
};
use bytes::{Buf, Bytes, BytesMut};
use std::io;

/// A chunk begins at a multiple of this, in its file and in memory, so that reading past the cache copies nothing.
const ALIGNMENT: usize = 4096;

/// So much of what the file system says is zeros is read all the same. OpenZFS before 2.1.14 and 2.2.2 now and then takes
/// for a hole what was flushed a moment ago.
const LOOKED_AT: u64 = 64 << 10;

impl Scanner<'_> {
    /// Up to `len` bytes from the scan's position on; fewer at the end.
    pub(super) fn peek(&mut self, len: usize) -> Result<Bytes> {
        let skip = self.have(self.position, len)?;
        let end = skip.saturating_add(len).min(self.chunk.len());
        Ok(self.chunk.slice(skip..end))
    }

    /// The chunk from `position` on, with at least `len` bytes; fewer at the end.
    pub(super) fn view(&mut self, position: u64, len: usize) -> Result<&[u8]> {
        let skip = self.have(position, len)?;
        Ok(self.chunk.get(skip..).unwrap_or_default())
    }

    /// As [`Scanner::view`], for a caller that reads on before it is done with them.
    pub(super) fn window(&mut self, position: u64, len: usize) -> Result<Bytes> {
        let skip = self.have(position, len)?;
        Ok(self.chunk.slice(skip..))
    }

    /// Makes the chunk reach `len` bytes beyond `position`, where the file does, and returns where that position lies in
    /// it.
    fn have(&mut self, position: u64, len: usize) -> Result<usize> {
        let available = usize::try_from(self.limit.saturating_sub(position)).unwrap_or(usize::MAX);
        let wanted = len.min(available);
        // A file of which nothing may be read need not be there.
        if wanted == 0 {
            return Ok(self.chunk.len());
        }
        if let Some(skip) = self.skip_to(position)
            && skip.checked_add(wanted).is_some_and(|end| end <= self.chunk.len())
        {
            return Ok(skip);
        }
        self.read_chunk(position - position % self.alignment(), position, wanted)?;
        Ok(self.skip_to(position).unwrap_or(usize::MAX).min(self.chunk.len()))
    }

    /// A chunk begins at a multiple of this in its file.
    fn alignment(&self) -> u64 {
        if self.pages.is_some() { PAGE_SIZE } else { ALIGNMENT as u64 }
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
        self.looked_up = None;
        let held = self.skip_to(start).and_then(|skip| self.chunk.get(skip..)).map_or(0, <[u8]>::len);
        let mut len = least.max(CHUNK).min(left);
        if self.pages.is_some() {
            // Pages are checked whole.
            len = len.next_multiple_of(PAGE_SIZE as usize).min(left);
        }
        if !has_memory_for(len) {
            let source = out_of_memory(format_args!("a batch of {len} bytes at byte {position}"));
            return Err(Error::io("read", self.file.path(), source));
        }
        let mut buf = self.room(held, len);
        let kept = held.min(buf.len());
        let read = self.read(buf.get_mut(kept..).unwrap_or_default(), start + kept as u64)?;
        buf.truncate(kept + read);
        self.check_pages(start + kept as u64, buf.get(kept..).unwrap_or_default())?;
        self.chunk = buf.freeze();
        self.chunk_start = start;
        Ok(())
    }

    /// Whether these bytes, read from `position` on, are what was written, as far as there are checksums that say so.
    fn check_pages(&self, position: u64, bytes: &[u8]) -> Result<()> {
        let Some(page) = self.pages.as_ref().and_then(|pages| pages.first_bad(position, bytes)) else {
            return Ok(());
        };
        let reason = format!("the page of bytes {page:?} is not what was written");
        Err(Error::corrupt(self.file.path(), page.start, reason))
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

    /// Whether these bytes contradict the file system's report of zeros, which is then no longer believed.
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

/// The end of what is read when the file system reports only zeros from `zeros` on.
pub(super) fn unread_from(zeros: u64) -> u64 {
    zeros.saturating_add(LOOKED_AT)
}

/// How far `to` lies beyond `from`.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}
