//! The segment that takes appends.
//!
//! There is one [`ActiveSegment`] for a segment, and the appender holds it, under its log's lock. Readers share the
//! [`Segment`] beneath and see what was published. Bytes are written beyond that only: first written, then indexed, then
//! published. After an error of [`ActiveSegment::write`] nobody knows what lies beyond the published end, and
//! [`ActiveSegment::cut`] takes it back.

use super::{Indexes, SealedSegment, Segment};
use crate::{
    codec::{batch::BatchHeader, index::AbortedTransaction, manifest::Seal},
    error::{Error, Result},
    storage::{
        files::{FilePool, PooledFile},
        index::SegmentIndex,
        layout::SegmentFile,
    },
    types::Offset,
};
use std::{
    ops::{Deref, Range},
    path::Path,
    sync::Arc,
};

/// A segment, and the right to append to it.
#[derive(Debug)]
pub struct ActiveSegment {
    segment: Arc<Segment>,
    file: Arc<PooledFile>,
}

impl Deref for ActiveSegment {
    type Target = Arc<Segment>;

    fn deref(&self) -> &Arc<Segment> {
        &self.segment
    }
}

impl ActiveSegment {
    /// Creates the file of a new segment. Its name is durable once the directory is flushed.
    pub fn create(pool: &Arc<FilePool>, dir: &Path, base: Offset, index_interval: u64) -> Result<Self> {
        let file = pool.create(SegmentFile::Log.path(dir, base))?;
        let index = Indexes::Active(SegmentIndex::new(base, index_interval));
        let segment = Segment::over_file(pool, dir, base, Arc::clone(&file), 0, index_interval, index);
        segment.set_aborted(Vec::new());
        Ok(ActiveSegment { segment: Arc::new(segment), file })
    }

    /// The last segment of a log that is opened, whose data ends at [`Segment::readable`] and has this index, in a file of
    /// `len` bytes.
    ///
    /// # Errors
    /// `Corrupt` for one that is sealed, which never takes appends again.
    pub fn resume(segment: &Arc<Segment>, index: SegmentIndex, len: u64) -> Result<Self> {
        if segment.sealed_size().is_some() {
            return Err(Error::corrupt(segment.path(), 0, "the last segment of the log is sealed"));
        }
        let file = Arc::clone(segment.file()?);
        segment.activate(index);
        segment.takes(len);
        Ok(ActiveSegment { segment: Arc::clone(segment), file })
    }

    /// Writes a batch at `position`, where what was published ends.
    pub fn write(&self, batch: &[u8], position: u64) -> Result<()> {
        self.file.write_all(batch, position)
    }

    /// Makes the file at least `len` bytes long with preallocated space.
    pub fn allocate(&self, len: u64) -> Result<()> {
        self.file.allocate(len)
    }

    /// Writes zeros over bytes that are zeros, where that makes later flushes cheaper.
    pub fn write_zeros(&self, range: Range<u64>) -> Result<()> {
        self.file.write_zeros(range)
    }

    /// Cuts the file to `len` bytes.
    pub fn cut(&self, len: u64) -> Result<()> {
        self.file.set_len(len)?;
        self.segment.takes(len);
        Ok(())
    }

    /// Adds a batch to the index, which may have `max_bytes`. Says whether it is full, where it got an entry.
    pub fn add_to_index(&self, header: &BatchHeader, position: u64, max_bytes: u64) -> Option<bool> {
        self.segment.add_to_index(header, position, max_bytes)
    }

    /// Whether the index has no room for one more entry.
    pub fn index_is_full(&self, max_bytes: u64) -> bool {
        self.segment.index_is_full(max_bytes)
    }

    /// Adds an aborted transaction whose marker was appended here.
    pub fn add_aborted(&self, transaction: AbortedTransaction) {
        self.segment.add_aborted(transaction);
    }

    /// Ends appending, for good: the index is closed, size and bytes are final.
    pub fn seal(self, seal: &Seal) -> SealedSegment {
        self.segment.seal_index();
        self.segment.set_sealed(seal);
        SealedSegment::new(self.segment)
    }
}
