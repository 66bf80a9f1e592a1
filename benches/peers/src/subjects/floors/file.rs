//! A file that is grown in large steps, as a log's active segment is.

use crate::subject::{Place, Result};
use rustix::fs::{FallocateFlags, fallocate};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// How far it is grown at once.
const STEP: u64 = 64 << 20;

/// A file, written at its end.
pub struct Grown {
    pub file: File,
    pub end: u64,
    allocated: u64,
}

impl Grown {
    /// The first file of a place: as long as what it holds.
    pub fn open(place: &Place) -> Result<Self> {
        Self::at(&path(place.dir))
    }

    /// The file of this name.
    pub fn at(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let end = file.metadata()?.len();
        Ok(Grown { file, end, allocated: end })
    }

    /// Writes at the end.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.end + bytes.len() as u64 > self.allocated {
            fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.allocated, STEP)?;
            self.allocated += STEP;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes zeros ahead and flushes them, so that later flushes have no metadata to write.
    pub fn with_blocks_written(mut self, bytes: u64) -> Result<Self> {
        let zeros = vec![0; 1 << 20];
        for position in (0..bytes).step_by(zeros.len()) {
            self.file.write_all_at(&zeros, position)?;
        }
        self.file.sync_all()?;
        self.allocated = bytes;
        Ok(self)
    }
}

/// Where the file of a place is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("file")
}
