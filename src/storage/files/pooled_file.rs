//! A file as the rooms above see it: a descriptor and a mapping that come and go.

use super::{
    caps::Caps,
    descriptor::Descriptor,
    mapping::{Mapped, Mapping},
};
use crate::{
    env::{Env, File, Region, read_exact_at, read_full_at, read_full_past_cache_at, write_all_at},
    error::{
        Error, Result, is_out_of_descriptors,
        memory::{has_memory_for, out_of_memory},
    },
    storage::foreign_files::copy_anew,
};
use bytes::Bytes;
use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How bytes of files reach a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadMode {
    /// Through read-only mappings: no copy. It assumes that nobody else shortens the files and that the medium
    /// answers: where it does not, the operating system ends the process (SIGBUS). The default.
    ///
    /// On Unix alone: elsewhere a file that is mapped can neither be cut nor mapped beyond its end, so files are read
    /// as with [`ReadMode::Pread`] there. So are files that the file system does not map (9p, vboxsf and some FUSE refuse
    /// it), and any file at a time when no mapping is to be had.
    #[default]
    Mapped,
    /// By positional reads into fresh memory: for network file systems and hostile neighbours.
    Pread,
}

/// A file of a [`FilePool`](super::FilePool).
pub struct PooledFile {
    caps: Arc<Caps>,
    /// The environment that makes room, for calls that hold no lock of a file.
    env: Arc<dyn Env>,
    mode: ReadMode,
    pub(super) descriptor: Arc<Descriptor>,
    mapping: Arc<Mapping>,
}

impl fmt::Debug for PooledFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledFile").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl PooledFile {
    pub(super) fn new(caps: &Arc<Caps>, env: &Arc<dyn Env>, mode: ReadMode, descriptor: Descriptor) -> Self {
        PooledFile {
            caps: Arc::clone(caps),
            env: Arc::clone(env),
            mode,
            descriptor: Arc::new(descriptor),
            mapping: Arc::new(Mapping::new(Arc::clone(caps))),
        }
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        self.descriptor.path()
    }

    /// The file's length in bytes.
    pub fn len(&self) -> Result<u64> {
        self.with("measure", |file| file.len())
    }

    /// Reads until `buf` is full or the file ends, and says how much was read.
    pub fn read_full(&self, buf: &mut [u8], position: u64) -> Result<usize> {
        self.with("read", |file| read_full_at(file, buf, position))
    }

    /// As [`PooledFile::read_full`], from the medium instead of the cache. `None` where that is not possible.
    pub fn read_past_cache(&self, buf: &mut [u8], position: u64) -> Result<Option<usize>> {
        self.with_room("read", |file| match read_full_past_cache_at(file, buf, position) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(None),
            other => other.map(Some),
        })
    }

    /// Where, at `position` or after it, the zeros begin that end the file, if that is known.
    pub fn zeros_from(&self, position: u64) -> Result<Option<u64>> {
        self.with("look for data in", |file| Ok(file.zeros_from(position)))
    }

    /// Where, at `position` or after it, something other than zeros may lie; `u64::MAX` where nothing does.
    pub fn data_from(&self, position: u64) -> Result<u64> {
        self.with("look for data in", |file| Ok(file.data_from(position).max(position)))
    }

    /// About how many bytes from `position` on may be something other than zeros.
    pub fn data_behind(&self, position: u64) -> Result<u64> {
        self.with("look for data in", |file| file.data_behind(position))
    }

    /// Writes all of `buf` at `position`.
    pub fn write_all(&self, buf: &[u8], position: u64) -> Result<()> {
        self.change("write", |file| write_all_at(file, buf, position))
    }

    /// Cuts or lengthens the file.
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.change("truncate", |file| file.set_len(len))
    }

    /// Makes the file at least `len` bytes long and reserves the space.
    pub fn allocate(&self, len: u64) -> Result<()> {
        self.change("allocate", |file| file.allocate(len))
    }

    /// Writes zeros over bytes that are zeros, where that makes later flushes cheaper.
    pub fn write_zeros(&self, range: Range<u64>) -> Result<()> {
        self.change("write", |file| file.write_zeros(range))
    }

    /// Says that another file has taken this one's name: from now on that one is read and written.
    pub fn replaced(&self) {
        self.descriptor.replaced();
        self.mapping.replaced();
    }

    /// Says that the file lies there, and will get its name later.
    pub fn lies_at(&self, path: PathBuf) {
        self.descriptor.lies_at(path);
    }

    /// Renames the file, which lies at `from`, to its own name or to another that it has for a while.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.descriptor.rename(from, to)
    }

    /// Says that the file has lost its name. A reader that has it open keeps reading it; nobody opens what has the name next.
    pub fn lost_its_name(&self) {
        self.descriptor.lost_its_name();
    }

    /// Makes what was written durable. A failure is final for this file.
    pub fn sync(&self) -> Result<()> {
        self.descriptor.sync()
    }

    /// Makes durable everything that the operating system still holds of this file, by any writer.
    pub fn sync_foreign(&self) -> Result<()> {
        self.descriptor.change("open", |_| Ok(()))?;
        self.descriptor.admit_if_new();
        self.sync()
    }

    /// Whether there are writes that no flush has covered.
    #[cfg(test)]
    pub(super) fn is_dirty(&self) -> bool {
        self.descriptor.is_dirty()
    }

    /// The bytes of `range`, which lie below what was published. `capacity` is how far a mapping should reach.
    pub fn bytes(&self, range: Range<u64>, capacity: u64) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if self.mode == ReadMode::Mapped
            && let Some(bytes) = self.mapped(range.clone(), capacity)?
        {
            return Ok(bytes);
        }
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        if !has_memory_for(len) {
            return Err(Error::io(
                "read",
                self.path(),
                out_of_memory(format_args!("{len} bytes from byte {} on", range.start)),
            ));
        }
        let mut buf = vec![0; len];
        self.with("read", |file| read_exact_at(file, &mut buf, range.start))?;
        Ok(buf.into())
    }

    /// The bytes of `range` in the mapping, which is made anew where it is too short. `None` where the system maps no
    /// such file, or nothing more now: every file can be read without.
    fn mapped(&self, range: Range<u64>, capacity: u64) -> Result<Option<Bytes>> {
        let map = |capacity| {
            let mut refused = None;
            let mapped = self.with_room("map", |file| {
                file.region(capacity).inspect_err(|error| {
                    refused = Some(error.kind() == io::ErrorKind::Unsupported);
                })
            });
            match (mapped, refused) {
                (Err(_), Some(forever)) => Ok(Mapped::Refused { forever }),
                (mapped, _) => mapped.map(Mapped::Region),
            }
        };
        let in_file = |e| Error::io("read", self.path(), e);
        let capacity = capacity.max(range.end);
        self.mapping.bytes(range, capacity, map, in_file)
    }

    /// What is mapped of it now.
    pub fn region(&self) -> Option<Arc<dyn Region>> {
        self.mapping.region()
    }

    fn with<T>(&self, operation: &'static str, act: impl FnOnce(&dyn File) -> io::Result<T>) -> Result<T> {
        let result = self.descriptor.with(operation, act);
        self.descriptor.admit_if_new();
        result
    }

    /// As `with`, for calls that need one more descriptor. This file's own may be the first that is given back, and is
    /// opened again: one alone is no gain.
    fn with_room<T>(
        &self,
        operation: &'static str,
        mut act: impl FnMut(&dyn File) -> io::Result<T>,
    ) -> Result<T> {
        loop {
            let mut ran_out = false;
            let result = self.with(operation, |file| {
                act(file).inspect_err(|error| ran_out = is_out_of_descriptors(error))
            });
            if !(ran_out && self.caps.make_room(2)) {
                return result;
            }
        }
    }

    fn change<T>(&self, operation: &'static str, act: impl FnOnce(&dyn File) -> io::Result<T>) -> Result<T> {
        if !self.descriptor.is_known_own() {
            self.make_own()?;
        }
        let result = self.descriptor.change(operation, act);
        self.descriptor.admit_if_new();
        result
    }

    /// Gives the name to a copy, where the file has other names as well: before a file is changed in place, it is ours
    /// alone.
    fn make_own(&self) -> Result<()> {
        if !self.descriptor.is_own()? {
            copy_anew(&*self.env, self.path())?;
            self.replaced();
        }
        Ok(())
    }
}
