//! A segment that takes the place of others: written under names that end in `.cleaned`, whole before it has its own.
//!
//! Batches come in the order of their offsets. `.log`, indexes and page checksums grow together, and what is written is
//! flushed in slices, so that no other flush waits for all of it. Nothing here has a meaning until the manifest says so:
//! whatever ends a writing early leaves files that are removed.
//!
//! A rehearsal is the same writing without files.

use super::sidecars::{checksum, encode};
use crate::{
    codec::{batch::BatchHeader, index::AbortedTransaction, manifest::Seal, pages::PageSummer},
    env::{Env, File, Open, write_all_at},
    error::{Error, Result},
    storage::{
        budget::{Budget, Charge},
        foreign_files::remove_if_there,
        index::{IndexedBatch, SegmentIndex},
        layout::SegmentFile,
    },
    types::{Offset, Timestamp},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The bytes that are written at a time.
const PIECE: usize = 1 << 20;
/// The bytes between two flushes.
const SLICE: u64 = 8 << 20;

/// A segment while it is written.
#[derive(Debug)]
pub struct SegmentWriter {
    env: Arc<dyn Env>,
    dir: PathBuf,
    base: Offset,
    generation: u32,
    /// `None` in a rehearsal.
    file: Option<Arc<dyn File>>,
    buffer: Vec<u8>,
    written: u64,
    unflushed: u64,
    index: SegmentIndex,
    aborted: Vec<AbortedTransaction>,
    has_producers: bool,
    pages: PageSummer,
    largest: Timestamp,
    /// What it takes of the disk budget, which does not refuse it: cleaning frees more than that.
    charge: Charge,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The base offset of the segment.
    pub base: Offset,
    /// Which rewriting it is.
    pub generation: u32,
    /// The size of its `.log`.
    pub bytes: u64,
    /// The largest timestamp of its batches.
    pub largest_timestamp: Timestamp,
    /// The checksum of its index files.
    pub index_checksum: u32,
    /// Whether a batch is of a producer with an id.
    pub has_producers: bool,
}

impl Written {
    /// What the manifest is to know of it, which ends before `next_offset` and was sealed then.
    pub fn seal(&self, next_offset: Offset, sealed_at: Option<Timestamp>) -> Seal {
        let Written { generation, bytes, largest_timestamp, index_checksum, .. } = *self;
        Seal { next_offset, bytes, largest_timestamp, generation, index_checksum, sealed_at }
    }
}

impl SegmentWriter {
    /// A segment at `base` that is about to be written; only rehearsed where `is_rehearsal`.
    pub fn begin(
        env: &Arc<dyn Env>,
        budget: &Arc<Budget>,
        dir: &Path,
        base: Offset,
        generation: u32,
        index_interval: u64,
        is_rehearsal: bool,
    ) -> Result<Self> {
        let create = || {
            remove_cleaned(&**env, dir, base)?;
            let path = SegmentFile::Log.cleaned_path(dir, base);
            env.open(&path, Open::CreateNew).map_err(|e| Error::io("create", &path, e))
        };
        Ok(SegmentWriter {
            file: if is_rehearsal { None } else { Some(create()?) },
            env: Arc::clone(env),
            dir: dir.to_path_buf(),
            base,
            generation,
            buffer: Vec::new(),
            written: 0,
            unflushed: 0,
            index: SegmentIndex::new(base, index_interval),
            aborted: Vec::new(),
            has_producers: false,
            pages: PageSummer::new(),
            largest: Timestamp::NONE,
            charge: Charge::of_files(budget),
        })
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Whether a batch of so many bytes, of which the last offset is this one, still belongs into it, beside what a segment
    /// and an index may have.
    pub fn has_room_for(&self, size: u64, last_offset: Offset, segment_bytes: u64, index_bytes: u64) -> bool {
        let fits = self.len() + size <= segment_bytes.min(u64::from(u32::MAX));
        let reaches = last_offset.distance_from(self.base) <= i32::MAX as u64;
        self.len() == 0 || fits && reaches && !self.index.is_full(index_bytes)
    }

    /// Adds a batch.
    pub fn push(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<()> {
        let position = u32::try_from(self.len()).map_err(|_| Error::InvalidArgument {
            reason: format!("the segment at offset {} is larger than a segment can be", self.base),
        })?;
        self.index.add(IndexedBatch {
            last_offset: header.last_offset(),
            position,
            size: batch.len() as u64,
            max_timestamp: header.max_timestamp,
        });
        self.largest = self.largest.max(header.max_timestamp);
        self.has_producers |= header.has_producer_id();
        self.pages.update(batch);
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() < PIECE { Ok(()) } else { self.write() }
    }

    /// The marker that was added last aborts this transaction, of which something is left.
    pub fn add_aborted(&mut self, transaction: AbortedTransaction) {
        self.aborted.push(transaction);
    }

    fn write(&mut self) -> Result<()> {
        if let Some(file) = &self.file {
            let path = || SegmentFile::Log.cleaned_path(&self.dir, self.base);
            write_all_at(&**file, &self.buffer, self.written).map_err(|e| Error::io("write", path(), e))?;
            self.unflushed += self.buffer.len() as u64;
            if self.unflushed >= SLICE {
                file.sync_data().map_err(|e| Error::io("flush", path(), e))?;
                self.unflushed = 0;
            }
            unless_planted!(what_compaction_writes_is_not_counted => self.charge.set(self.written + self.buffer.len() as u64));
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and the sidecars, all of them flushed. Their names are durable once the directory is flushed. What
    /// they take is counted as long as the charge is held.
    pub fn finish(mut self) -> Result<(Written, Charge)> {
        self.write()?;
        self.index.close();
        let written = Written {
            base: self.base,
            generation: self.generation,
            bytes: self.written,
            largest_timestamp: self.largest,
            index_checksum: checksum(self.index.offsets(), self.index.times(), &self.aborted),
            has_producers: self.has_producers,
        };
        let Some(file) = &self.file else { return Ok((written, self.charge)) };
        let path = SegmentFile::Log.cleaned_path(&self.dir, self.base);
        file.sync_data().map_err(|e| Error::io("flush", &path, e))?;
        let pages = std::mem::take(&mut self.pages).finish(self.generation).encode();
        self.sidecar(SegmentFile::OffsetIndex, self.index.offsets())?;
        self.sidecar(SegmentFile::TimeIndex, self.index.times())?;
        if !self.aborted.is_empty() {
            self.sidecar(SegmentFile::TransactionIndex, &encode(&self.aborted))?;
        }
        self.sidecar(SegmentFile::Pages, &pages)?;
        Ok((written, self.charge))
    }

    fn sidecar(&self, kind: SegmentFile, content: &[u8]) -> Result<()> {
        let path = kind.cleaned_path(&self.dir, self.base);
        let file = self.env.open(&path, Open::CreateNew).map_err(|e| Error::io("create", &path, e))?;
        write_all_at(&*file, content, 0).map_err(|e| Error::io("write", &path, e))?;
        file.sync_data().map_err(|e| Error::io("flush", &path, e))
    }
}

/// Removes what a writing of the segment at `base` has left.
pub fn remove_cleaned(env: &dyn Env, dir: &Path, base: Offset) -> Result<()> {
    SegmentFile::ALL.iter().try_for_each(|kind| remove_if_there(env, &kind.cleaned_path(dir, base)))
}
