//! Where the bytes of a segment come from.
//!
//! A [`Segment`](super::Segment) knows offsets, order and damage; its source knows bytes at positions. A local file
//! ([`PooledFile`]) is one. What a source must hold:
//!
//! * **Bytes.** What it answers is what was written at that position of this segment, of this base and generation. A
//!   source whose bytes are gone answers `NotFound`, and one whose name another generation has taken `Corrupt`; it never
//!   answers with the bytes of another segment.
//! * **Size.** [`SegmentSource::len`] grows while the segment is active. Once that is sealed, which is never taken back,
//!   neither size nor bytes change.
//! * **Parallel calls.** All calls take `&self` and may come from several threads at the same time, also while the appender
//!   writes beyond what was published. They hold no lock when they return. What they return stays readable whatever becomes
//!   of the source.
//! * **Errors.** A failed read changes nothing and may be tried again. An error names [`SegmentSource::path`].
//! * **Deletion.** A source removes nothing. The log does, after the manifest has said so durably, and calls
//!   [`SegmentSource::lost_its_name`] before: readers that have the bytes open keep them.
//!
//! Only a local file is written, by the [`ActiveSegment`](super::ActiveSegment) alone.

use crate::{error::Result, storage::files::PooledFile};
use bytes::Bytes;
use std::{fmt, ops::Range, path::Path};

/// The bytes of one segment. See the head of this file for what holds of every source.
pub trait SegmentSource: Send + Sync + fmt::Debug {
    /// What errors call it.
    fn path(&self) -> &Path;
    /// How many bytes there are.
    fn len(&self) -> Result<u64>;
    /// The bytes of `range`, which lie below what was published, without a copy where that is possible. Asked for bytes
    /// up to `ahead` next, most likely.
    ///
    /// # Errors
    /// `UnexpectedEof` where there are fewer.
    fn bytes(&self, range: Range<u64>, ahead: u64) -> Result<Bytes>;
    /// Copies bytes from `position` on until `buf` is full or there are no more, and returns how many.
    fn read_full(&self, buf: &mut [u8], position: u64) -> Result<usize>;
    /// As [`SegmentSource::read_full`], from the medium instead of a cache. `None` where that is not available.
    fn read_past_cache(&self, _buf: &mut [u8], _position: u64) -> Result<Option<usize>> {
        Ok(None)
    }
    /// Where, at `position` or after it, nothing but zeros begins, if that is known.
    fn zeros_from(&self, _position: u64) -> Result<Option<u64>> {
        Ok(None)
    }
    /// Where, at `position` or after it, something other than zeros may lie; `u64::MAX` where nothing does.
    fn data_from(&self, position: u64) -> Result<u64> {
        Ok(position)
    }
    /// About how many bytes from `position` on may be something other than zeros.
    fn data_behind(&self, position: u64) -> Result<u64> {
        Ok(self.len()?.saturating_sub(position))
    }
    /// The log takes the name away.
    fn lost_its_name(&self);
}

impl SegmentSource for PooledFile {
    fn path(&self) -> &Path {
        self.path()
    }
    fn len(&self) -> Result<u64> {
        self.len()
    }
    fn bytes(&self, range: Range<u64>, ahead: u64) -> Result<Bytes> {
        self.bytes(range, ahead)
    }
    fn read_full(&self, buf: &mut [u8], position: u64) -> Result<usize> {
        self.read_full(buf, position)
    }
    fn read_past_cache(&self, buf: &mut [u8], position: u64) -> Result<Option<usize>> {
        self.read_past_cache(buf, position)
    }
    fn zeros_from(&self, position: u64) -> Result<Option<u64>> {
        self.zeros_from(position)
    }
    fn data_from(&self, position: u64) -> Result<u64> {
        self.data_from(position)
    }
    fn data_behind(&self, position: u64) -> Result<u64> {
        self.data_behind(position)
    }
    fn lost_its_name(&self) {
        self.lost_its_name();
    }
}

/// Whether all that a source has from `position` up to `len` is zeros.
pub fn only_zeros(source: &dyn SegmentSource, position: u64, len: u64) -> Result<bool> {
    let mut at = position;
    let mut piece = vec![0; 64 << 10];
    while at < len {
        let read = source.read_full(&mut piece, at)?;
        if read == 0 || piece.iter().take(read).any(|byte| *byte != 0) {
            return Ok(read == 0);
        }
        // A long stretch of nothing is not read to its end.
        at = source.data_from(at + read as u64)?;
    }
    Ok(true)
}
