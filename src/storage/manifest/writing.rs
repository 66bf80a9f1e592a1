//! Writing the manifest: an append in place, or a new file in the place of the present one.
//!
//! A failure is either undone, which leaves the file as it was, or final, which poisons the handle.

use super::{
    Failure, Flush, Inner, Manifest, Room,
    state::{ManifestState, OwnMark},
};
use crate::{
    codec::manifest::{self as codec, Entry, MARK_BYTES},
    env::{File, Open, write_all_at},
    error::{Error, Result},
    storage::foreign_files::{remove_if_there, sync_dir},
};
use std::{io, path::Path, sync::Arc};

/// The least reserve that an append leaves unless it makes room: enough for more than a hundred of those that do.
pub(super) const RESERVE_LEAST: u64 = 24 << 10;
/// The reserve where it is allocated anew.
pub(super) const RESERVE: u64 = 32 << 10;
/// What a mark takes that says, at most, what the marks are known to have said.
const MARK_ALONE_BYTES: u64 = MARK_BYTES as u64 + 20;
/// A file smaller than this is left alone, however much of it is history.
const REWRITE_BYTES: u64 = 64 << 10;
/// How many entries of a new file's state go into one append.
const ENTRIES_PER_APPEND: usize = 64;

impl Manifest {
    pub(super) fn write(
        &self,
        inner: &mut Inner,
        room: Room,
        entries: &[Entry],
        flush: Flush,
    ) -> Result<(), Failure> {
        if !inner.mine {
            match self.rewrite(inner) {
                Err(Failure::Undone(Error::DiskFull { .. })) if inner.may_be_changed() => {}
                other => return other,
            }
        }
        self.write_in_place(inner, room, entries)?;
        if flush == Flush::Now { self.sync(inner) } else { Ok(()) }
    }

    pub(super) fn sync(&self, inner: &mut Inner) -> Result<(), Failure> {
        if !inner.dirty {
            return Ok(());
        }
        inner.sync(&self.path)?;
        self.note_end(inner);
        self.write_mark_alone(inner);
        Ok(())
    }

    /// Writes a mark alone, without a flush: what was just flushed can from now on be damage, but not a torn tail. Nothing
    /// else depends on it, so it leaves the reserve whole; the next caller gets the error of a file that could not be cut
    /// back.
    pub(super) fn write_mark_alone(&self, inner: &mut Inner) {
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
    pub(super) fn rewrite_history(&self, inner: &mut Inner) -> Result<(), Failure> {
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
            // If this fails too, the next attempt removes it.
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
    pub(super) fn may_be_changed(&self) -> bool {
        self.file.as_ref().is_some_and(|file| !file.has_other_names())
    }

    /// Allocates `more` bytes for an append, and a whole reserve after them. If only the reserve cannot be had, `room`
    /// decides.
    fn allocate(&mut self, file: &dyn File, more: u64, room: Room) -> io::Result<()> {
        let end = self.len + more;
        if end + RESERVE_LEAST <= self.allocated {
            return Ok(());
        }
        // The least where there is no more, so that space that was just freed is of use.
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

    /// Makes zeros of what was found beyond the appends, durably: a power cut must not bring it back after the next
    /// append. The file keeps its space.
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
pub(super) fn encode_file(epoch: u64, state: &ManifestState, own: Option<OwnMark>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_header(epoch, &mut bytes);
    let mut entries = state.entries();
    if let Some(own) = own {
        // A release that skips the number does not give the slot away, either.
        let next = own.slot.saturating_add(1).max(state.next_slot());
        entries.extend([Entry::Numbered { number: own.number, slot: own.slot }, Entry::SlotsUsed { next }]);
    }
    for entries in entries.chunks(ENTRIES_PER_APPEND) {
        codec::encode_append(epoch, 0, entries, &mut bytes);
    }
    // The file gets its name once it is durable: nothing before this mark can be taken for a torn tail.
    let durable = bytes.len() as u64;
    codec::encode_append(epoch, durable, &[], &mut bytes);
    bytes
}
