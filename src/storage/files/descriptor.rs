//! A descriptor that is opened when it is needed and closed when it is wanted elsewhere.
//!
//! What is always true: a descriptor with unflushed writes is not closed before its flush succeeded (its error would be
//! lost with it), and a flush that failed is final.

use super::{cap::Evictable, caps::Caps};
use crate::{
    env::{
        Env, File, Open,
        sync::{AtomicBool, Mutex, Ordering, RwLock},
    },
    error::{Error, Result, is_out_of_descriptors},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

/// An open file, or one that can be opened again.
pub(super) struct Descriptor {
    caps: Arc<Caps>,
    /// The environment that makes no room: `reopen` does, when it holds no lock.
    env: Arc<dyn Env>,
    path: PathBuf,
    /// Where it lies until it gets its name.
    elsewhere: Mutex<Option<PathBuf>>,
    how: Open,
    used: AtomicBool,
    /// Opened, but the pool has not been told yet: that is done when no lock is held.
    uncounted: AtomicBool,
    dirty: AtomicBool,
    /// Whether the open file is known to have no other name.
    own: AtomicBool,
    /// Held during a flush: the second caller must not believe the first before it is done.
    syncing: Mutex<()>,
    /// Its name was taken away, and may by now be that of another file.
    gone: AtomicBool,
    /// Whether `failed` is worth a look.
    has_failed: AtomicBool,
    /// Which file it was when it was first opened: what has the name later must be that one.
    inode: Mutex<Option<(u64, u64)>>,
    failed: Mutex<Option<Error>>,
    handle: RwLock<Option<Arc<dyn File>>>,
}

impl Descriptor {
    pub(super) fn new(
        caps: Arc<Caps>,
        env: Arc<dyn Env>,
        path: PathBuf,
        how: Open,
        handle: Option<Arc<dyn File>>,
    ) -> Self {
        Descriptor {
            caps,
            env,
            path,
            elsewhere: Mutex::new(None),
            how,
            used: AtomicBool::new(true),
            uncounted: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            own: AtomicBool::new(false),
            syncing: Mutex::new(()),
            gone: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            inode: Mutex::new(handle.as_ref().and_then(|file| file.inode())),
            failed: Mutex::new(None),
            handle: RwLock::new(handle),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `act` on the open file, which stays open until `act` returns.
    pub(super) fn with<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&dyn File) -> io::Result<T>,
    ) -> Result<T> {
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
    #[inline]
    pub(super) fn change<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&dyn File) -> io::Result<T>,
    ) -> Result<T> {
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
    #[inline]
    fn check(&self) -> Result<()> {
        if self.has_failed.load(Ordering::SeqCst) { self.failure() } else { Ok(()) }
    }

    #[cold]
    fn failure(&self) -> Result<()> {
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
            let elsewhere = self.elsewhere.lock().clone();
            match self.env.open(elsewhere.as_ref().unwrap_or(&self.path), self.how) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && elsewhere.is_some() => {
                    // Whoever put it there has given it its name.
                    *self.elsewhere.lock() = None;
                }
                Ok(file) => {
                    self.check_inode(&*file)?;
                    *guard = Some(Arc::clone(&file));
                    self.uncounted.store(true, Ordering::SeqCst);
                    return Ok(file);
                }
                Err(e) if is_out_of_descriptors(&e) => {
                    drop(guard);
                    if !self.caps.make_room(1) {
                        return Err(Error::io("open", &self.path, e));
                    }
                }
                Err(e) => return Err(Error::io("open", &self.path, e)),
            }
        }
    }

    /// An error where the name is that of another file now: its bytes would be taken for those of the one that was read.
    fn check_inode(&self, file: &dyn File) -> Result<()> {
        planted!(open_what_has_the_name_now => return Ok(()));
        let mut known = self.inode.lock();
        match (*known, file.inode()) {
            (Some(before), Some(now)) if before != now => {
                Err(Error::corrupt(&self.path, 0, "another file has taken its place while it was in use"))
            }
            (_, now) => {
                *known = now;
                Ok(())
            }
        }
    }

    pub(super) fn sync(&self) -> Result<()> {
        let _one_at_a_time = self.syncing.lock();
        self.check()?;
        let guard = self.handle.read();
        let Some(file) = guard.as_ref() else { return Ok(()) };
        // Cleared before the flush: a write that comes in between sets it again.
        if !self.dirty.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        file.sync_data().map_err(|e| {
            let error = Error::io("flush", &self.path, e);
            planted!(retry_a_failed_flush => return error);
            *self.failed.lock() = Some(error.clone());
            self.has_failed.store(true, Ordering::SeqCst);
            error
        })
    }

    /// Whether the file is known to have no other name.
    pub(super) fn is_known_own(&self) -> bool {
        self.own.load(Ordering::Relaxed)
    }

    /// Whether the file, which is opened for that, has no other name.
    pub(super) fn is_own(&self) -> Result<bool> {
        self.check()?;
        let guard = self.handle.read();
        let mut own = match guard.as_ref() {
            Some(file) => !file.has_other_names(),
            None => {
                drop(guard);
                !self.reopen()?.has_other_names()
            }
        };
        planted!(write_through_other_names => own = true);
        self.own.store(own, Ordering::Relaxed);
        Ok(own)
    }

    /// Forgets the file that was opened: another one has taken its name.
    pub(super) fn replaced(&self) {
        let mut handle = self.handle.write();
        if handle.take().is_some() && !self.uncounted.swap(false, Ordering::SeqCst) {
            self.caps.descriptors.released();
        }
        self.dirty.store(false, Ordering::SeqCst);
        self.own.store(false, Ordering::Relaxed);
        *self.inode.lock() = None;
        *self.failed.lock() = None;
        self.has_failed.store(false, Ordering::SeqCst);
    }

    /// It lies there until it gets its name.
    pub(super) fn lies_at(&self, path: PathBuf) {
        *self.elsewhere.lock() = Some(path);
    }

    /// Renames the file, which lies at `from`. Nobody opens it in between.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _closed_to_others = self.handle.write();
        self.env.rename(from, to)?;
        *self.elsewhere.lock() = (to != self.path).then(|| to.to_path_buf());
        Ok(())
    }

    /// Nobody opens what has the name next.
    pub(super) fn lost_its_name(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Whether there are writes that no flush has covered.
    #[cfg(test)]
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::SeqCst)
    }

    /// Counts a descriptor that was opened by the last call, now that no lock is held.
    pub(super) fn admit_if_new(self: &Arc<Self>) {
        if !self.uncounted.load(Ordering::Relaxed) || !self.uncounted.swap(false, Ordering::SeqCst) {
            return;
        }
        self.admit();
    }

    /// Counts the descriptor, which is open. The caller holds no lock of a file.
    pub(super) fn admit(self: &Arc<Self>) {
        self.caps.descriptors.admit(Arc::downgrade(self) as Weak<dyn Evictable>);
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
            self.caps.descriptors.released();
        }
        true
    }

    fn release(&self) -> bool {
        // What was not flushed is not to be flushed now: the closing caller has done so, or had a reason not to.
        !self.dirty.load(Ordering::SeqCst) && self.evict()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.handle.get_mut().is_some() && !*self.uncounted.get_mut() {
            self.caps.descriptors.released();
        }
    }
}
