//! Files whose descriptors come and go.
//!
//! A [`PooledFile`] opens its descriptor when it is needed and gives it back when the pool has too many. Two rules hold:
//! a descriptor with unflushed writes is not closed before its flush succeeded (its error would be lost with it), and a
//! flush that failed is final: the file takes no more writes and says why.
//!
//! Where the system has no descriptor left, for this process or at all, the pool gives back what is idle, then what a
//! flush makes idle, and tries again.

use crate::{
    env::{
        Env, File, Open, Region, read_exact_at, read_full_at, read_full_past_cache_at,
        sync::{AtomicBool, Mutex, Ordering, RwLock},
        write_all_at,
    },
    error::{
        Error, Result, is_out_of_descriptors,
        memory::{has_memory_for, out_of_memory},
    },
    storage::{
        cap::{Cap, Evictable},
        reclaiming_env::Frugal,
    },
};
use bytes::Bytes;
use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
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

/// Opens files and bounds how many descriptors and mappings are held at once.
#[derive(Debug)]
pub struct FilePool {
    bare: Arc<dyn Env>,
    /// The same, for those who hold no lock of a file.
    env: Arc<dyn Env>,
    mode: ReadMode,
    descriptors: Cap,
    regions: Cap,
    /// Indexes of segments that were read from their files.
    indexes: Cap,
}

impl FilePool {
    /// A pool of at most `descriptors` descriptors and as many mappings.
    pub fn new(env: Arc<dyn Env>, mode: ReadMode, descriptors: usize) -> Arc<Self> {
        let mode = if cfg!(unix) { mode } else { ReadMode::Pread };
        Arc::new_cyclic(|pool| FilePool {
            env: Arc::new(Frugal::new(Arc::clone(&env), Weak::clone(pool))),
            bare: env,
            mode,
            descriptors: Cap::new(descriptors),
            regions: Cap::new(descriptors),
            // One may take a mebibyte and more, and is needed for seeks only.
            indexes: Cap::new(descriptors / 4),
        })
    }

    /// The environment the files live in, which makes room here where descriptors have run out.
    pub fn env(&self) -> &Arc<dyn Env> {
        &self.env
    }

    /// Gives some descriptors back, and mappings, which may hold one each; says whether there were `wanted` of them. The
    /// caller holds no lock of a file.
    pub fn make_room(&self, wanted: usize) -> bool {
        const AT_ONCE: usize = 8;
        let idle = |bound: &Cap| bound.make_room(AT_ONCE, |holder| holder.release());
        let given = idle(&self.descriptors) + idle(&self.regions);
        given >= wanted || given + self.descriptors.make_room(AT_ONCE, |holder| holder.evict()) >= wanted
    }

    /// How many descriptors and mappings are held now.
    pub fn held(&self) -> (usize, usize) {
        (self.descriptors.held(), self.regions.held())
    }

    /// Counts an index in, and makes others go where there are too many.
    pub fn admit_index(&self, holder: Weak<dyn Evictable>) {
        self.indexes.admit(holder);
    }

    /// Counts an index out.
    pub fn index_released(&self) {
        self.indexes.released();
    }

    /// How many indexes are held now.
    pub fn indexes_held(&self) -> usize {
        self.indexes.held()
    }

    /// Gives back every descriptor and mapping that is not in use this moment. What readers hold stays theirs.
    pub fn release(&self) {
        self.descriptors.retire_all();
        self.regions.retire_all();
        self.indexes.retire_all();
    }

    /// A file that exists, or is found missing at its first use.
    pub fn existing(self: &Arc<Self>, path: PathBuf, writable: bool) -> Arc<PooledFile> {
        self.file(path, if writable { Open::Write } else { Open::Read }, None)
    }

    /// Creates a file that must not exist.
    pub fn create(self: &Arc<Self>, path: PathBuf) -> Result<Arc<PooledFile>> {
        let handle = self.env.open(&path, Open::CreateNew).map_err(|e| Error::io("create", &path, e))?;
        let file = self.file(path, Open::Write, Some(handle));
        self.descriptors.admit(Arc::downgrade(&file.descriptor) as Weak<dyn Evictable>);
        Ok(file)
    }

    pub(super) fn file(
        self: &Arc<Self>,
        path: PathBuf,
        how: Open,
        handle: Option<Arc<dyn File>>,
    ) -> Arc<PooledFile> {
        let descriptor = Arc::new(Descriptor {
            pool: Arc::clone(self),
            path,
            how,
            used: AtomicBool::new(true),
            uncounted: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            own: AtomicBool::new(false),
            syncing: Mutex::new(()),
            gone: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            failed: Mutex::new(None),
            handle: RwLock::new(handle),
        });
        let mapping = Arc::new(Mapping {
            pool: Arc::clone(self),
            used: AtomicBool::new(false),
            unsupported: AtomicBool::new(false),
            region: Mutex::new(None),
        });
        Arc::new(PooledFile { descriptor, mapping })
    }
}

/// A file of a [`FilePool`].
pub struct PooledFile {
    descriptor: Arc<Descriptor>,
    mapping: Arc<Mapping>,
}

struct Descriptor {
    pool: Arc<FilePool>,
    path: PathBuf,
    how: Open,
    used: AtomicBool,
    /// Opened, but the pool has not been told yet: that is done when no lock is held.
    uncounted: AtomicBool,
    dirty: AtomicBool,
    /// Whether the open file is known to have no other name.
    own: AtomicBool,
    /// Held during a flush: who comes second must not believe the first before it is done.
    syncing: Mutex<()>,
    /// Its name was taken away, and may by now be that of another file.
    gone: AtomicBool,
    /// Whether `failed` is worth a look.
    has_failed: AtomicBool,
    failed: Mutex<Option<Error>>,
    handle: RwLock<Option<Arc<dyn File>>>,
}

struct Mapping {
    pool: Arc<FilePool>,
    used: AtomicBool,
    /// The file system maps no such file: it is not asked again.
    unsupported: AtomicBool,
    region: Mutex<Option<Arc<dyn Region>>>,
}

impl fmt::Debug for PooledFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledFile").field("path", &self.descriptor.path).finish_non_exhaustive()
    }
}

impl Descriptor {
    /// Runs `act` on the open file, which stays open meanwhile.
    fn with<T>(&self, operation: &'static str, act: impl FnOnce(&dyn File) -> io::Result<T>) -> Result<T> {
        // A load first: a store by every call would move the cache line between the threads that share the file.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let guard = self.handle.read();
        if let Some(file) = guard.as_ref() {
            return act(&**file).map_err(|e| Error::io(operation, &self.path, e));
        }
        drop(guard);
        act(&*self.reopen()?).map_err(|e| Error::io(operation, &self.path, e))
    }

    /// As `with`, for calls that leave something to flush.
    fn change<T>(&self, operation: &'static str, act: impl FnOnce(&dyn File) -> io::Result<T>) -> Result<T> {
        self.check()?;
        loop {
            let guard = self.handle.read();
            if let Some(file) = guard.as_ref() {
                self.used.store(true, Ordering::Relaxed);
                let result = act(&**file);
                // Not before: a flush that came in between would clear it, and know nothing of this change. A load
                // first: the flush that clears it after the load begins after the change.
                if !self.dirty.load(Ordering::SeqCst) {
                    self.dirty.store(true, Ordering::SeqCst);
                }
                return result.map_err(|e| Error::io(operation, &self.path, e));
            }
            drop(guard);
            self.reopen()?;
        }
    }

    /// A flush that failed is the last thing that happened to this file.
    fn check(&self) -> Result<()> {
        if !self.has_failed.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.failed.lock().clone().map_or(Ok(()), Err)
    }

    fn reopen(&self) -> Result<Arc<dyn File>> {
        loop {
            let mut guard = self.handle.write();
            if let Some(file) = guard.as_ref() {
                return Ok(Arc::clone(file));
            }
            if self.gone.load(Ordering::SeqCst) {
                return Err(Error::io("open", &self.path, io::ErrorKind::NotFound.into()));
            }
            match self.pool.bare.open(&self.path, self.how) {
                Ok(file) => {
                    *guard = Some(Arc::clone(&file));
                    self.uncounted.store(true, Ordering::SeqCst);
                    return Ok(file);
                }
                Err(e) if is_out_of_descriptors(&e) => {
                    drop(guard);
                    if !self.pool.make_room(1) {
                        return Err(Error::io("open", &self.path, e));
                    }
                }
                Err(e) => return Err(Error::io("open", &self.path, e)),
            }
        }
    }

    fn sync(&self) -> Result<()> {
        let _one_at_a_time = self.syncing.lock();
        self.check()?;
        let guard = self.handle.read();
        let Some(file) = guard.as_ref() else { return Ok(()) };
        // Cleared before the flush: a write that comes meanwhile sets it again.
        if !self.dirty.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        file.sync_data().map_err(|e| {
            let error = Error::io("flush", &self.path, e);
            if !planted!(retry_a_failed_flush) {
                *self.failed.lock() = Some(error.clone());
                self.has_failed.store(true, Ordering::SeqCst);
            }
            error
        })
    }
}

impl Evictable for Descriptor {
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    fn evict(&self) -> bool {
        if self.dirty.load(Ordering::SeqCst) && self.sync().is_err() {
            return true;
        }
        let Some(mut guard) = self.handle.try_write() else { return false };
        if self.dirty.load(Ordering::SeqCst) {
            return false;
        }
        self.own.store(false, Ordering::Relaxed);
        if guard.take().is_some() && !self.uncounted.load(Ordering::SeqCst) {
            self.pool.descriptors.released();
        }
        true
    }

    fn release(&self) -> bool {
        // What was not flushed is not to be flushed now: whoever closes has done so, or had a reason not to.
        !self.dirty.load(Ordering::SeqCst) && self.evict()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.handle.get_mut().is_some() && !*self.uncounted.get_mut() {
            self.pool.descriptors.released();
        }
    }
}

impl Evictable for Mapping {
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    fn evict(&self) -> bool {
        let Some(mut region) = self.region.try_lock() else { return false };
        if region.take().is_some() {
            self.pool.regions.released();
        }
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.region.get_mut().is_some() {
            self.pool.regions.released();
        }
    }
}

impl PooledFile {
    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.descriptor.path
    }

    /// The file's length in bytes.
    pub fn len(&self) -> Result<u64> {
        self.with("measure", |file| file.len())
    }

    /// Reads until `buf` is full or the file ends, and says how much was read.
    pub fn read_full(&self, buf: &mut [u8], position: u64) -> Result<usize> {
        self.with("read", |file| read_full_at(file, buf, position))
    }

    /// As [`PooledFile::read_full`], from the medium instead of the cache. `None` where that cannot be had.
    pub fn read_past_cache(&self, buf: &mut [u8], position: u64) -> Result<Option<usize>> {
        self.with_room("read", |file| match read_full_past_cache_at(file, buf, position) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(None),
            other => other.map(Some),
        })
    }

    /// Where, at `position` or behind it, nothing but zeros begins, if that is known.
    pub fn zeros_from(&self, position: u64) -> Result<Option<u64>> {
        self.with("look for data in", |file| Ok(file.zeros_from(position)))
    }

    /// Where, at `position` or behind it, something other than zeros may lie; `u64::MAX` where nothing does.
    pub fn data_from(&self, position: u64) -> Result<u64> {
        self.with("look for data in", |file| Ok(file.data_from(position).max(position)))
    }

    /// Whether all that lies in its file from `position` up to `len` is zeros.
    pub fn only_zeros_from(&self, position: u64, len: u64) -> Result<bool> {
        let mut at = position;
        let mut piece = vec![0; 64 << 10];
        while at < len {
            let read = self.read_full(&mut piece, at)?;
            if read == 0 || piece.iter().take(read).any(|byte| *byte != 0) {
                return Ok(read == 0);
            }
            // A long stretch of nothing is not read to its end.
            at = self.data_from(at + read as u64)?;
        }
        Ok(true)
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

    /// Makes the file at least `len` bytes long with space set aside.
    pub fn allocate(&self, len: u64) -> Result<()> {
        self.change("allocate", |file| file.allocate(len))
    }

    /// Writes zeros over bytes that are zeros, where that makes later flushes cheaper.
    pub fn write_zeros(&self, range: Range<u64>) -> Result<()> {
        self.change("write", |file| file.write_zeros(range))
    }

    /// Says that another file has taken this one's name: from now on that one is read and written.
    pub fn replaced(&self) {
        let descriptor = &self.descriptor;
        let mut handle = descriptor.handle.write();
        if handle.take().is_some() && !descriptor.uncounted.swap(false, Ordering::SeqCst) {
            descriptor.pool.descriptors.released();
        }
        descriptor.dirty.store(false, Ordering::SeqCst);
        descriptor.own.store(false, Ordering::Relaxed);
        *descriptor.failed.lock() = None;
        descriptor.has_failed.store(false, Ordering::SeqCst);
        drop(handle);
        if self.mapping.region.lock().take().is_some() {
            self.mapping.pool.regions.released();
        }
    }

    /// Says that the file has lost its name. Who has it open keeps reading it; nobody opens what has the name next.
    pub fn lost_its_name(&self) {
        self.descriptor.gone.store(true, Ordering::SeqCst);
    }

    /// Makes what was written durable. A failure is final for this file.
    pub fn sync(&self) -> Result<()> {
        self.descriptor.sync()
    }

    /// Makes durable whatever the operating system still holds of this file, whoever wrote it.
    pub fn sync_foreign(&self) -> Result<()> {
        self.descriptor.change("open", |_| Ok(()))?;
        self.admit_if_new();
        self.sync()
    }

    /// Whether there are writes that no flush has covered.
    #[cfg(test)]
    fn is_dirty(&self) -> bool {
        self.descriptor.dirty.load(Ordering::SeqCst)
    }

    /// The bytes of `range`, which lie below what was published. `capacity` is how far a mapping should reach.
    pub fn bytes(&self, range: Range<u64>, capacity: u64) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if self.descriptor.pool.mode == ReadMode::Mapped
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
        let in_file = |e| Error::io("read", self.path(), e);
        let capacity = capacity.max(range.end);
        let mapping = &self.mapping;
        if !mapping.used.load(Ordering::Relaxed) {
            mapping.used.store(true, Ordering::Relaxed);
        }
        let mut guard = mapping.region.lock();
        match guard.as_ref() {
            // Under the lock, which is one count less to go up and down.
            Some(region) if region.capacity() >= capacity => {
                return region.get(range).map(Some).map_err(in_file);
            }
            _ => {}
        }
        if mapping.unsupported.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut refused = false;
        let mapped = self.with_room("map", |file| {
            file.region(capacity).inspect_err(|error| {
                refused = true;
                mapping.unsupported.store(error.kind() == io::ErrorKind::Unsupported, Ordering::Relaxed);
            })
        });
        let region = match mapped {
            Err(_) if refused => return Ok(None),
            other => other?,
        };
        let fresh = guard.replace(Arc::clone(&region)).is_none();
        drop(guard);
        if fresh {
            mapping.pool.regions.admit(Arc::downgrade(mapping) as Weak<dyn Evictable>);
        }
        region.get(range).map(Some).map_err(in_file)
    }

    fn with<T>(&self, operation: &'static str, act: impl FnOnce(&dyn File) -> io::Result<T>) -> Result<T> {
        let result = self.descriptor.with(operation, act);
        self.admit_if_new();
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
            if !(ran_out && self.descriptor.pool.make_room(2)) {
                return result;
            }
        }
    }

    fn change<T>(&self, operation: &'static str, act: impl FnOnce(&dyn File) -> io::Result<T>) -> Result<T> {
        if !self.descriptor.own.load(Ordering::Relaxed) {
            self.make_own()?;
        }
        let result = self.descriptor.change(operation, act);
        self.admit_if_new();
        result
    }

    /// Counts a descriptor that was opened by the last call, now that no lock is held.
    fn admit_if_new(&self) {
        let descriptor = &self.descriptor;
        if !descriptor.uncounted.load(Ordering::Relaxed)
            || !descriptor.uncounted.swap(false, Ordering::SeqCst)
        {
            return;
        }
        descriptor.pool.descriptors.admit(Arc::downgrade(descriptor) as Weak<dyn Evictable>);
    }
}

mod own;
#[cfg(test)]
mod unmapped;

#[cfg(test)]
mod tests;
