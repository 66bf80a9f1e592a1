//! The manifest: which topics, partitions and segments exist, in a file that only grows until another takes its place.
//!
//! What is always true:
//!
//! * An append is in the file wholly or not at all, and in the state of this handle after it is in the file; after it
//!   is durable, where that was asked for.
//! * The first append of a handle goes into a new file (`manifest.tmp`, flushed, renamed, directory flushed) together
//!   with the state so far. So nothing builds on what an earlier process left unflushed, or torn, or in a cache that lies
//!   after a failed flush; and opening alone writes nothing. The one exception is a full medium, where the old file is
//!   used: freeing space must not need space.
//! * After the appends the file has a reserve: allocated space, all zeros. Appends that make room may use it up; all
//!   others leave it whole, and are refused where the medium is too full for that.
//! * A file that is mostly history gives way to a new one in the same manner. Each file has its own epoch, which is how
//!   an observer notices.
//! * The marks say how much of which file is durable, so that a file that was cut short, or is out of date, is refused.
//! * After a failed flush, or a failed write that could not be taken back, nothing is written any more.

mod end;
mod partition;
mod reading;
mod segments;
mod state;
mod writing;

pub use partition::{PartitionId, PartitionState, ProducersAtStart};
pub use segments::SegmentEntry;
pub use state::{ManifestState, TopicState};

use crate::{
    codec::manifest::{self as codec, Entry, PAYLOAD_MAX},
    env::{Env, File, sync::Mutex},
    error::{Error, Result},
    storage::{foreign_files::sync_dir, handle_role::HandleRole, marks::Marks},
    types::TopicId,
};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};
use writing::RESERVE_LEAST;

/// When an append must be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Before the call returns.
    Now,
    /// With the next flush.
    Later,
}

/// What an append may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// Space that is free.
    Free,
    /// The reserve, too.
    Reserve,
}

/// The manifest of a log.
#[derive(Debug)]
pub struct Manifest {
    env: Arc<dyn Env>,
    dir: PathBuf,
    path: PathBuf,
    role: HandleRole,
    /// Which record how much of the file is durable.
    marks: Option<Arc<Marks>>,
    /// Taken before `state`, and held while files are read and written.
    inner: Mutex<Inner>,
    /// Held for a moment only, so that a caller that asks never waits for a file.
    state: Mutex<Arc<ManifestState>>,
    /// The topics that were deleted according to the file as it was found.
    deleted: Mutex<HashSet<TopicId>>,
}

/// What a handle knows of the file.
#[derive(Debug, Default)]
struct Inner {
    file: Option<Arc<dyn File>>,
    epoch: u64,
    /// Where the whole appends end.
    len: u64,
    /// Where the file ends: from `len` on it holds zeros, unless it is torn.
    allocated: u64,
    /// How much of the file a flush of this handle covered.
    durable: u64,
    /// Whether bytes beyond `len` were found that are not zero.
    torn: bool,
    /// Whether this handle made the file.
    mine: bool,
    /// Whether this handle wrote what no flush covered yet.
    dirty: bool,
    /// The state that the append under way leads to; between appends the same as the public one.
    ahead: ManifestState,
    /// The length at which to look again whether the file is mostly history.
    look_again: u64,
    poisoned: Option<Arc<Error>>,
}

/// How a write failed.
enum Failure {
    /// The file is as it was.
    Undone(Error),
    /// Nobody knows what is in the file.
    Final(Error),
}

impl Manifest {
    /// Reads the manifest of `dir`. Without one the state is empty; the file is made at the first append.
    pub fn open(env: Arc<dyn Env>, dir: &Path, role: HandleRole) -> Result<Manifest> {
        let manifest = Self::unread(env, dir, role);
        manifest.refresh(&mut manifest.inner.lock())?;
        Ok(manifest)
    }

    /// The empty state, to be read, whatever file there is: for what is opened without a manifest.
    pub fn none(env: Arc<dyn Env>, dir: &Path) -> Manifest {
        Self::unread(env, dir, HandleRole::ReadOnly)
    }

    fn unread(env: Arc<dyn Env>, dir: &Path, role: HandleRole) -> Manifest {
        Manifest {
            env,
            dir: dir.to_path_buf(),
            path: dir.join("manifest"),
            role,
            marks: None,
            inner: Mutex::default(),
            state: Mutex::default(),
            deleted: Mutex::default(),
        }
    }

    /// The state as it is now. It does not change; an append made while someone holds it copies it first.
    pub fn state(&self) -> Arc<ManifestState> {
        self.state.lock().clone()
    }

    /// The topics whose deletion the file recorded when it was opened; the first append makes a new file without them. Their
    /// leftovers can be removed.
    pub fn deleted_before(&self) -> HashSet<TopicId> {
        let state = self.state();
        self.deleted.lock().iter().filter(|id| state.topic(id).is_none()).copied().collect()
    }

    /// Adds entries, all of them or none.
    ///
    /// # Errors
    /// `InvalidArgument` when an entry does not fit what exists, `DiskFull` and `Io` when nothing was written; a failed
    /// flush, after which every call answers `Poisoned`.
    pub fn append(&self, entries: &[Entry], flush: Flush) -> Result<()> {
        self.append_within(Room::Free, entries, flush)
    }

    /// As [`Manifest::append`], for entries that come before space is freed, or on the way there: a full medium does not
    /// refuse them while the reserve lasts.
    pub fn append_to_make_room(&self, entries: &[Entry], flush: Flush) -> Result<()> {
        planted!(making_room_needs_room => return self.append(entries, flush));
        self.append_within(Room::Reserve, entries, flush)
    }

    fn append_within(&self, room: Room, entries: &[Entry], flush: Flush) -> Result<()> {
        self.may_write()?;
        let mut inner = self.inner.lock();
        self.not_poisoned(&inner)?;
        if entries.is_empty() {
            return if flush == Flush::Now { self.flush_file(&mut inner) } else { Ok(()) };
        }
        let done = match self.check(&mut inner, entries) {
            Ok(()) => self.write(&mut inner, room, entries, flush),
            Err(refused) => Err(Failure::Undone(refused)),
        };
        if let Err(failure) = done {
            inner.ahead = ManifestState::clone(&self.state());
            return Err(self.settle(&mut inner, failure));
        }
        let mut state = self.state.lock();
        let public = Arc::make_mut(&mut state);
        for entry in entries {
            // It was applied to the same state before.
            public.apply(entry).map_err(|reason| Error::InvalidArgument { reason })?;
        }
        drop(state);
        // A deletion stays in the file at least until its files had time to go.
        let deletes = entries.iter().any(|entry| matches!(entry, Entry::TopicDeleted { .. }));
        // The append stands, whatever the result of this; the next caller gets a final failure.
        if !deletes && let Err(failure) = self.rewrite_history(&mut inner) {
            self.settle(&mut inner, failure);
        }
        self.publish_own(&inner);
        Ok(())
    }

    /// Gives up half of the reserve, for a file that must be made before others can go. Says whether there was as much.
    pub fn lend_room(&self) -> bool {
        let mut inner = self.inner.lock();
        let kept = inner.len + RESERVE_LEAST / 2;
        let lends = self.role == HandleRole::ReadWrite && !inner.torn && inner.allocated > kept;
        let lent = lends
            && inner.may_be_changed()
            && inner.file.as_ref().is_some_and(|file| file.set_len(kept).is_ok());
        if lent {
            (inner.allocated, inner.dirty) = (kept, true);
        }
        lent
    }

    /// Makes every append durable.
    pub fn flush(&self) -> Result<()> {
        let mut inner = self.inner.lock();
        self.not_poisoned(&inner)?;
        self.flush_file(&mut inner)
    }

    /// Whether nothing is written any more, because nobody knows what the last append left.
    pub fn is_poisoned(&self) -> bool {
        self.inner.lock().poisoned.is_some()
    }

    /// Makes durable what an earlier process wrote, before an opening acts on it.
    pub fn flush_found(&self) -> Result<()> {
        let inner = self.inner.lock();
        let Some(file) = inner.file.as_ref().filter(|_| self.role == HandleRole::ReadWrite) else {
            return Ok(());
        };
        file.sync_data().map_err(|e| Error::io("flush", &self.path, e))?;
        sync_dir(&*self.env, &self.dir)
    }

    /// Follows the handle that writes: reads what it added, or the new file that it made. Says whether there was any.
    pub fn observe(&self) -> Result<bool> {
        match self.role {
            HandleRole::ReadWrite => Ok(false),
            HandleRole::ReadOnly => self.refresh(&mut self.inner.lock()),
        }
    }

    fn may_write(&self) -> Result<()> {
        match self.role {
            HandleRole::ReadWrite => Ok(()),
            HandleRole::ReadOnly => Err(Error::ReadOnly { reason: "the log was opened to be read".into() }),
        }
    }

    fn not_poisoned(&self, inner: &Inner) -> Result<()> {
        match &inner.poisoned {
            Some(cause) => Err(Error::poisoned(&self.dir, cause.clone())),
            None => Ok(()),
        }
    }

    fn settle(&self, inner: &mut Inner, failure: Failure) -> Error {
        match failure {
            Failure::Undone(error) => error,
            Failure::Final(error) => {
                inner.poisoned = Some(Arc::new(error.clone()));
                error
            }
        }
    }

    /// Leads `inner.ahead` to where the entries lead, if they fit.
    fn check(&self, inner: &mut Inner, entries: &[Entry]) -> Result<()> {
        let mut records = Vec::new();
        for entry in entries {
            inner.ahead.apply(entry).map_err(|reason| Error::InvalidArgument { reason })?;
            codec::encode(entry, &mut records);
        }
        if records.len() > PAYLOAD_MAX {
            let reason = format!("{} bytes of entries are more than {PAYLOAD_MAX}", records.len());
            return Err(Error::InvalidArgument { reason });
        }
        Ok(())
    }

    fn flush_file(&self, inner: &mut Inner) -> Result<()> {
        match self.sync(inner) {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.settle(inner, failure)),
        }
    }
}

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
