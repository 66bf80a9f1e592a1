//! The manifest: which topics, partitions and segments exist, in a file that only grows until another takes its place.
//!
//! What is always true:
//!
//! * An append is in the file wholly or not at all, and in the state of this handle after it is in the file; after it
//!   is durable, where that was asked for.
//! * The first append of a handle goes into a new file (`manifest.tmp`, flushed, renamed, directory flushed) together
//!   with the state so far. So nobody builds on what a process before left unflushed, or torn, or in a cache that lies
//!   after a failed flush; and opening alone writes nothing. The one exception is a full medium, where the old file is
//!   used: freeing space must not need space.
//! * Behind the appends the file has a reserve: allocated space, all zeros. Appends that make room may use it up; all
//!   others leave it whole, and are refused where the medium is too full for that.
//! * A file that is mostly history gives way to a new one in the same manner. Each file has its own epoch, which is how
//!   an observer notices.
//! * The marks say how much of which file is durable, so that a file that was cut short, or put back from an earlier day,
//!   is none to go on from.
//! * After a failed flush, or a failed write that could not be taken back, nothing is written any more.

mod end;
mod partition;
mod reading;
mod segments;
mod state;

pub use partition::{PartitionId, PartitionState};
pub use segments::SegmentEntry;
pub use state::{ManifestState, OwnMark, TopicState};

use crate::codec::manifest::{self as codec, Entry, HEADER_BYTES, MARK_BYTES, PAYLOAD_MAX};
use crate::env::sync::Mutex;
use crate::env::{Env, File, Open, write_all_at};
use crate::error::{Error, Result};
use crate::storage::access::Access;
use crate::storage::apart::{remove_if_there, sync_dir};
use crate::storage::marks::Marks;
use crate::types::TopicId;
use std::path::{Path, PathBuf};
use std::{collections::HashSet, io, sync::Arc};

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

/// The least reserve that an append leaves unless it makes room: enough for more than a hundred of those that do.
const RESERVE_LEAST: u64 = 24 << 10;
/// The reserve where it is allocated anew.
const RESERVE: u64 = 32 << 10;
/// What a mark takes that says, at most, what the marks are known to have said.
const MARK_ALONE_BYTES: u64 = MARK_BYTES as u64 + 20;
/// A file smaller than this is left alone, however much of it is history.
const REWRITE_BYTES: u64 = 64 << 10;
/// How many entries of a new file's state go into one append.
const ENTRIES_PER_APPEND: usize = 64;

/// The manifest of a log.
#[derive(Debug)]
pub struct Manifest {
    env: Arc<dyn Env>,
    dir: PathBuf,
    path: PathBuf,
    access: Access,
    /// What is told how much of the file is durable.
    marks: Option<Arc<Marks>>,
    /// Taken before `state`, and held while files are read and written.
    inner: Mutex<Inner>,
    /// Held for a moment only, so that whoever asks never waits for a file.
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
    pub fn open(env: Arc<dyn Env>, dir: &Path, access: Access) -> Result<Manifest> {
        let manifest = Self::unread(env, dir, access);
        manifest.refresh(&mut manifest.inner.lock())?;
        Ok(manifest)
    }

    /// The empty state, to be read, whatever file there is: for what is opened without a manifest.
    pub fn none(env: Arc<dyn Env>, dir: &Path) -> Manifest {
        Self::unread(env, dir, Access::ReadOnly)
    }

    fn unread(env: Arc<dyn Env>, dir: &Path, access: Access) -> Manifest {
        Manifest {
            env,
            dir: dir.to_path_buf(),
            path: dir.join("manifest"),
            access,
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

    /// The topics of whose deletion the file spoke when it was opened: the first append makes a new file, which knows of
    /// them no more. What is left of them can go.
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
        // The append stands, whatever becomes of this; a final failure is told to the next caller.
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
        let lends = self.access == Access::ReadWrite && !inner.torn && inner.allocated > kept;
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

    /// Makes durable what the process before had written: who opens after it acts upon it.
    pub fn flush_found(&self) -> Result<()> {
        let inner = self.inner.lock();
        let Some(file) = inner.file.as_ref().filter(|_| self.access == Access::ReadWrite) else {
            return Ok(());
        };
        file.sync_data().map_err(|e| Error::io("flush", &self.path, e))?;
        sync_dir(&*self.env, &self.dir)
    }

    /// Follows the handle that writes: reads what it added, or the new file that it made. Says whether there was any.
    pub fn observe(&self) -> Result<bool> {
        match self.access {
            Access::ReadWrite => Ok(false),
            Access::ReadOnly => self.refresh(&mut self.inner.lock()),
        }
    }

    fn may_write(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::ReadOnly { reason: "the log was opened to be read".into() }),
        }
    }

    fn not_poisoned(&self, inner: &Inner) -> Result<()> {
        match &inner.poisoned {
            Some(cause) => Err(Error::Poisoned { path: self.dir.clone(), cause: cause.clone() }),
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

/// Writing.
impl Manifest {
    fn write(&self, inner: &mut Inner, room: Room, entries: &[Entry], flush: Flush) -> Result<(), Failure> {
        if !inner.mine {
            match self.rewrite(inner) {
                Err(Failure::Undone(Error::DiskFull { .. })) if inner.may_be_changed() => {}
                other => return other,
            }
        }
        self.write_in_place(inner, room, entries)?;
        if flush == Flush::Now { self.sync(inner) } else { Ok(()) }
    }

    fn sync(&self, inner: &mut Inner) -> Result<(), Failure> {
        if !inner.dirty {
            return Ok(());
        }
        inner.sync(&self.path)?;
        self.note_end(inner);
        self.write_mark_alone(inner);
        Ok(())
    }

    /// A mark alone, which nobody flushes: what was just flushed can from now on be damaged, but not be taken for a torn
    /// tail. Without it nothing else is lost, so it does not use up the reserve; a file that could not be cut again is
    /// the next caller's trouble.
    fn write_mark_alone(&self, inner: &mut Inner) {
        if inner.allocated >= inner.len + MARK_ALONE_BYTES + RESERVE_LEAST
            && let Err(failure @ Failure::Final(_)) = self.write_in_place(inner, Room::Free, &[])
        {
            self.settle(inner, failure);
        }
        inner.dirty = false;
    }

    fn write_in_place(&self, inner: &mut Inner, room: Room, entries: &[Entry]) -> Result<(), Failure> {
        let Some(file) = inner.file.clone() else { return self.rewrite(inner) };
        if inner.torn {
            let blanked = inner.blank_torn(&*file);
            blanked.map_err(|e| Failure::Final(Error::io("truncate", &self.path, e)))?;
        }
        let said = self.newly_said(inner);
        let all: Vec<_> = said.iter().map(|said| Entry::MarksDurable { said: *said }).collect();
        let all = [all.as_slice(), entries].concat();
        let mut bytes = Vec::new();
        codec::encode_append(inner.epoch, inner.durable, &all, &mut bytes);
        inner.allocate(&*file, bytes.len() as u64, room).map_err(|e| {
            // The length is as it was.
            Failure::Undone(Error::io("allocate", &self.path, e))
        })?;
        if let Err(error) = write_all_at(&*file, &bytes, inner.len) {
            let error = Error::io("write", &self.path, error);
            return Err(match file.set_len(inner.len) {
                Ok(()) => {
                    inner.allocated = inner.len;
                    Failure::Undone(error)
                }
                Err(_) => Failure::Final(error),
            });
        }
        inner.len += bytes.len() as u64;
        inner.dirty = true;
        if let Some(said) = said {
            inner.ahead.know_said(said);
        }
        Ok(())
    }

    /// Makes a new file of the current state when most of this one is history.
    fn rewrite_history(&self, inner: &mut Inner) -> Result<(), Failure> {
        planted!(history_is_kept_for_ever => return Ok(()));
        if inner.len <= REWRITE_BYTES || inner.len < inner.look_again || !inner.mine {
            return Ok(());
        }
        // To look costs as much as the state is large, so a fraction of that must have been written since.
        inner.look_again = inner.len + inner.len / 8;
        let live = encode_file(inner.epoch, &inner.ahead, inner.ahead.own()).len() as u64;
        if live.saturating_mul(4) < inner.len { self.rewrite(inner) } else { Ok(()) }
    }

    /// Puts a new file with the state ahead in the place of the present one.
    fn rewrite(&self, inner: &mut Inner) -> Result<(), Failure> {
        let epoch = loop {
            match self.env.random() {
                same if same == inner.epoch => {}
                other => break other,
            }
        };
        let own = self.marks.as_ref().and_then(|_| inner.ahead.next_own());
        let bytes = encode_file(epoch, &inner.ahead, own);
        let tmp = self.dir.join("manifest.tmp");
        let (file, allocated) = self.write_tmp(&tmp, &bytes).inspect_err(|_| {
            // What stays behind is removed by the next attempt.
            let _ = self.env.remove_file(&tmp);
        })?;
        if let Err(error) = self.env.rename(&tmp, &self.path) {
            let known = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied);
            let error = Error::io("rename", &tmp, error);
            return Err(if known { Failure::Undone(error) } else { Failure::Final(error) });
        }
        // From here on either name may come back after a power cut, so appending to one file is not enough.
        unless_planted!(manifest_renamed_without_flush => sync_dir(&*self.env, &self.dir).map_err(Failure::Final)?);
        *inner = Inner {
            file: Some(file),
            epoch,
            len: bytes.len() as u64,
            allocated,
            durable: bytes.len() as u64,
            mine: true,
            ahead: std::mem::take(&mut inner.ahead),
            ..Inner::default()
        };
        inner.ahead.set_own(own);
        self.note_end_durably(inner);
        Ok(())
    }

    /// The file, and how long it is.
    fn write_tmp(&self, tmp: &Path, bytes: &[u8]) -> Result<(Arc<dyn File>, u64), Failure> {
        let undone = |operation| move |e| Failure::Undone(Error::io(operation, tmp, e));
        remove_if_there(&*self.env, tmp).map_err(Failure::Undone)?;
        let file = self.env.open(tmp, Open::CreateNew).map_err(undone("create"))?;
        write_all_at(&*file, bytes, 0).map_err(undone("write"))?;
        // Without a reserve it is no better than the file it is to follow.
        let with_reserve = bytes.len() as u64 + RESERVE;
        let allocated = match file.allocate(with_reserve) {
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => bytes.len() as u64,
            done => done.map_err(undone("allocate")).map(|()| with_reserve)?,
        };
        match file.sync_data().map_err(|e| Error::io("flush", tmp, e)) {
            Ok(()) => Ok((file, allocated)),
            Err(full @ Error::DiskFull { .. }) => Err(Failure::Undone(full)),
            Err(error) => Err(Failure::Final(error)),
        }
    }
}

impl Inner {
    /// Whether the file may be written in place: that of a backup by hard links is not.
    fn may_be_changed(&self) -> bool {
        self.file.as_ref().is_some_and(|file| !file.has_other_names())
    }

    /// Sees to it that `more` bytes can be appended, and that the reserve is whole behind them; where only the latter
    /// cannot be had, `room` decides.
    fn allocate(&mut self, file: &dyn File, more: u64, room: Room) -> io::Result<()> {
        let end = self.len + more;
        if end + RESERVE_LEAST <= self.allocated {
            return Ok(());
        }
        // Less than that where there is no more: what was just freed is to be of use.
        let longest = [RESERVE, RESERVE_LEAST].map(|reserve| end + reserve);
        let mut allocated = Ok(());
        for longer in longest {
            allocated = file.allocate(longer);
            if allocated.is_ok() {
                self.allocated = longer;
            }
            if !matches!(&allocated, Err(e) if e.kind() == io::ErrorKind::StorageFull) {
                break;
            }
        }
        match allocated {
            Ok(()) => {}
            // A limit on the sizes of files is no lack of space, which is what the reserve is for.
            Err(e) if room == Room::Free && e.kind() != io::ErrorKind::FileTooLarge => return Err(e),
            Err(_) if end <= self.allocated => {}
            Err(_) => {
                file.allocate(end)?;
                self.allocated = end;
            }
        }
        Ok(())
    }

    /// Makes zeros of what was found beyond the appends, durably: a power cut must not bring back what lies behind that
    /// which is about to be written. Space that the file has, it keeps.
    fn blank_torn(&mut self, file: &dyn File) -> io::Result<()> {
        let reserve = (self.allocated - self.len).min(RESERVE);
        file.set_len(self.len + reserve)?;
        self.allocated = self.len + reserve;
        let zeros = vec![0; usize::try_from(reserve).unwrap_or(0)];
        if write_all_at(file, &zeros, self.len).is_err() {
            file.set_len(self.len)?;
            self.allocated = self.len;
        }
        unless_planted!(torn_end_cut_without_flush => file.sync_data()?);
        self.torn = false;
        Ok(())
    }

    fn sync(&mut self, path: &Path) -> Result<(), Failure> {
        if let Some(file) = self.file.as_ref().filter(|_| self.dirty) {
            file.sync_data().map_err(|e| Failure::Final(Error::io("flush", path, e)))?;
            self.durable = self.len;
            self.dirty = false;
        }
        Ok(())
    }
}

/// A whole file whose entries make this state.
fn encode_file(epoch: u64, state: &ManifestState, own: Option<OwnMark>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_header(epoch, &mut bytes);
    let mut entries = state.entries();
    if let Some(own) = own {
        // A release that passes over the number gives the slot to nobody, either.
        let next = own.slot.saturating_add(1).max(state.next_slot());
        entries.extend([Entry::Numbered { number: own.number, slot: own.slot }, Entry::SlotsUsed { next }]);
    }
    for entries in entries.chunks(ENTRIES_PER_APPEND) {
        codec::encode_append(epoch, 0, entries, &mut bytes);
    }
    // The file gets its name when it is durable: nothing before this mark can ever be taken for a torn tail.
    let durable = bytes.len() as u64;
    codec::encode_append(epoch, durable, &[], &mut bytes);
    bytes
}

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
