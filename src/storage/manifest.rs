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
//! * A file that is mostly history gives way to a new one in the same manner. Each file has its own epoch, which is how
//!   an observer notices.
//! * After a failed flush, or a failed write that could not be taken back, nothing is written any more.

mod state;

#[allow(unused_imports, reason = "words of the rooms above")]
pub use state::{ManifestState, PartitionState, SegmentEntry, TopicState};

use crate::codec::manifest::{self as codec, Entry, HEADER_BYTES, PAYLOAD_MAX, Reader};
use crate::env::sync::Mutex;
use crate::env::{Env, File, Open, read_full_at, write_all_at};
use crate::error::{Error, Result};
use crate::types::TopicId;
use std::path::{Path, PathBuf};
use std::{io, sync::Arc};

/// Whether a handle may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is the one that writes.
    ReadWrite,
    /// It only reads, while another may write.
    ReadOnly,
}

/// When an append must be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Before the call returns.
    Now,
    /// With the next flush.
    Later,
}

/// A file smaller than this is left alone, however much of it is history.
const REWRITE_BYTES: u64 = 64 << 10;
/// More than any manifest has: a file of this size is not one.
const FILE_MAX: usize = 1 << 30;
/// How many entries of a new file's state go into one append.
const ENTRIES_PER_APPEND: usize = 64;

/// The manifest of a log.
#[derive(Debug)]
pub struct Manifest {
    env: Arc<dyn Env>,
    dir: PathBuf,
    path: PathBuf,
    access: Access,
    /// Taken before `state`, and held while files are read and written.
    inner: Mutex<Inner>,
    /// Held for a moment only, so that whoever asks never waits for a file.
    state: Mutex<Arc<ManifestState>>,
    /// The topics that were deleted according to the file as it was found.
    deleted: Mutex<Vec<TopicId>>,
}

/// What a handle knows of the file.
#[derive(Debug, Default)]
struct Inner {
    file: Option<Arc<dyn File>>,
    epoch: u64,
    /// Where the whole appends end.
    len: u64,
    /// How much of the file a flush of this handle covered.
    durable: u64,
    /// Whether bytes beyond `len` were found.
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
    pub fn deleted_before(&self) -> Vec<TopicId> {
        let state = self.state();
        self.deleted.lock().iter().filter(|id| state.topic(id).is_none()).copied().collect()
    }

    /// Adds entries, all of them or none.
    ///
    /// # Errors
    /// `InvalidArgument` when an entry does not fit what exists, `DiskFull` and `Io` when nothing was written; a failed
    /// flush, after which every call answers `Poisoned`.
    pub fn append(&self, entries: &[Entry], flush: Flush) -> Result<()> {
        self.may_write()?;
        let mut inner = self.inner.lock();
        self.not_poisoned(&inner)?;
        if entries.is_empty() {
            return if flush == Flush::Now { self.flush_file(&mut inner) } else { Ok(()) };
        }
        let done = match self.check(&mut inner, entries) {
            Ok(()) => self.write(&mut inner, entries, flush),
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
        Ok(())
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
        self.env.sync_dir(&self.dir).map_err(|e| Error::io("flush", &self.dir, e))
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
    fn write(&self, inner: &mut Inner, entries: &[Entry], flush: Flush) -> Result<(), Failure> {
        if !inner.mine {
            match self.rewrite(inner) {
                Err(Failure::Undone(Error::DiskFull { .. })) if inner.file.is_some() => {}
                other => return other,
            }
        }
        self.write_in_place(inner, entries)?;
        if flush == Flush::Now { self.sync(inner) } else { Ok(()) }
    }

    fn sync(&self, inner: &mut Inner) -> Result<(), Failure> {
        if !inner.dirty {
            return Ok(());
        }
        inner.sync(&self.path)?;
        // A mark alone, which nobody flushes: what was just flushed can from now on be damaged, but not be taken for a
        // torn tail. Without it nothing else is lost; a file that could not be cut again is the next caller's trouble.
        if let Err(failure @ Failure::Final(_)) = self.write_in_place(inner, &[]) {
            self.settle(inner, failure);
        }
        inner.dirty = false;
        Ok(())
    }

    fn write_in_place(&self, inner: &mut Inner, entries: &[Entry]) -> Result<(), Failure> {
        let Some(file) = inner.file.clone() else { return self.rewrite(inner) };
        if inner.torn {
            // Durable before anything is written there: a power cut must not bring back what lies behind it.
            let cut = file.set_len(inner.len).and_then(|()| file.sync_data());
            cut.map_err(|e| Failure::Final(Error::io("truncate", &self.path, e)))?;
            inner.torn = false;
        }
        let mut bytes = Vec::new();
        codec::encode_append(inner.epoch, inner.durable, entries, &mut bytes);
        if let Err(error) = write_all_at(&*file, &bytes, inner.len) {
            let error = Error::io("write", &self.path, error);
            return Err(match file.set_len(inner.len) {
                Ok(()) => Failure::Undone(error),
                Err(_) => Failure::Final(error),
            });
        }
        inner.len += bytes.len() as u64;
        inner.dirty = true;
        Ok(())
    }

    /// Makes a new file of the current state when most of this one is history.
    fn rewrite_history(&self, inner: &mut Inner) -> Result<(), Failure> {
        if inner.len <= REWRITE_BYTES || inner.len < inner.look_again || !inner.mine {
            return Ok(());
        }
        // To look costs as much as the state is large, so a fraction of that must have been written since.
        inner.look_again = inner.len + inner.len / 8;
        let live = encode_file(inner.epoch, &inner.ahead).len() as u64;
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
        let bytes = encode_file(epoch, &inner.ahead);
        let tmp = self.dir.join("manifest.tmp");
        let file = self.write_tmp(&tmp, &bytes).inspect_err(|_| {
            // What stays behind is removed by the next attempt.
            let _ = self.env.remove_file(&tmp);
        })?;
        if let Err(error) = self.env.rename(&tmp, &self.path) {
            let known = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied);
            let error = Error::io("rename", &tmp, error);
            return Err(if known { Failure::Undone(error) } else { Failure::Final(error) });
        }
        // From here on either name may come back after a power cut, so appending to one file is not enough.
        if !planted!(manifest_renamed_without_flush) {
            self.env.sync_dir(&self.dir).map_err(|e| Failure::Final(Error::io("flush", &self.dir, e)))?;
        }
        *inner = Inner {
            file: Some(file),
            epoch,
            len: bytes.len() as u64,
            durable: bytes.len() as u64,
            mine: true,
            ahead: std::mem::take(&mut inner.ahead),
            ..Inner::default()
        };
        Ok(())
    }

    fn write_tmp(&self, tmp: &Path, bytes: &[u8]) -> Result<Arc<dyn File>, Failure> {
        let undone = |operation| move |e| Failure::Undone(Error::io(operation, tmp, e));
        match self.env.remove_file(tmp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(undone("remove")(e)),
            _ => {}
        }
        let file = self.env.open(tmp, Open::CreateNew).map_err(undone("create"))?;
        write_all_at(&*file, bytes, 0).map_err(undone("write"))?;
        match file.sync_data().map_err(|e| Error::io("flush", tmp, e)) {
            Ok(()) => Ok(file),
            Err(full @ Error::DiskFull { .. }) => Err(Failure::Undone(full)),
            Err(error) => Err(Failure::Final(error)),
        }
    }
}

impl Inner {
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
fn encode_file(epoch: u64, state: &ManifestState) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_header(epoch, &mut bytes);
    for entries in state.entries().chunks(ENTRIES_PER_APPEND) {
        codec::encode_append(epoch, 0, entries, &mut bytes);
    }
    // The file gets its name when it is durable: nothing before this mark can ever be taken for a torn tail.
    let durable = bytes.len() as u64;
    codec::encode_append(epoch, durable, &[], &mut bytes);
    bytes
}

/// Reading.
impl Manifest {
    /// Reads what is new, and says whether there was any.
    fn refresh(&self, inner: &mut Inner) -> Result<bool> {
        // Someone may be writing. What is read in two pieces can look like damage, and does not the next time.
        let mut attempts = if self.access == Access::ReadOnly { 3 } else { 1 };
        loop {
            attempts -= 1;
            match self.read(inner) {
                Err(Error::Corrupt { .. }) if attempts > 0 => {}
                result => return result,
            }
        }
    }

    fn read(&self, inner: &mut Inner) -> Result<bool> {
        let how = if self.access == Access::ReadOnly { Open::Read } else { Open::Write };
        let file = match self.env.open(&self.path, how) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound && inner.file.is_none() => return Ok(false),
            Err(e) => return Err(Error::io("open", &self.path, e)),
        };
        let header = self.read_from(&*file, 0, HEADER_BYTES)?;
        let epoch = codec::decode_header(&header).map_err(|e| e.in_file(&self.path, 0))?;
        let len = file.len().map_err(|e| Error::io("read", &self.path, e))?;
        let more = inner.file.is_some() && inner.epoch == epoch && inner.len <= len;

        // Entries are added to a copy, so that damage among them leaves the state as it was.
        let base = if more { inner.len } else { HEADER_BYTES as u64 };
        let bytes = self.read_from(&*file, base, FILE_MAX)?;
        let mut state = if more { None } else { Some(ManifestState::default()) };
        let mut reader = Reader::new(epoch, base, &bytes);
        while let Some(append) = reader.next().map_err(|e| e.in_file(&self.path, base))? {
            if append.entries.is_empty() {
                continue;
            }
            let state = state.get_or_insert_with(|| ManifestState::clone(&self.state()));
            for (at, entry) in &append.entries {
                let at = base.saturating_add(*at as u64);
                state.apply(entry).map_err(|reason| Error::corrupt(&self.path, at, reason))?;
                if let (Entry::TopicDeleted { id }, Access::ReadWrite) = (entry, self.access) {
                    self.deleted.lock().push(*id);
                }
            }
        }
        if !more && reader.durable() == 0 {
            // The mark that ends what the file was made with is missing.
            let at = base + reader.position() as u64;
            return Err(Error::corrupt(
                &self.path,
                at,
                "the file ends before the state that it was made with",
            ));
        }
        (inner.epoch, inner.len, inner.torn) = (epoch, base + reader.position() as u64, reader.is_torn());
        inner.file = Some(file);
        let Some(state) = state else { return Ok(false) };
        if self.access == Access::ReadWrite {
            inner.ahead = state.clone();
        }
        *self.state.lock() = Arc::new(state);
        Ok(true)
    }

    /// Up to `most` bytes from `position` on, fewer where the file ends.
    fn read_from(&self, file: &dyn File, position: u64, most: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut step = most.min(64 << 10);
        loop {
            let start = bytes.len();
            bytes.resize(start + step, 0);
            let read = read_full_at(file, &mut bytes[start..], position + start as u64)
                .map_err(|e| Error::io("read", &self.path, e))?;
            bytes.truncate(start + read);
            if read < step || most == HEADER_BYTES {
                return Ok(bytes);
            }
            if bytes.len() >= most {
                return Err(Error::corrupt(&self.path, position, format!("more than {most} bytes")));
            }
            step = bytes.len().min(8 << 20);
        }
    }
}

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod tests;
