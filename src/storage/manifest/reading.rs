//! Reading the manifest, in pieces.
//!
//! The cost of an opening is bounded by the size of the file, whatever its content claims: each byte is read a few times,
//! memory holds one append and the state, and zeros take no memory. A short record makes no more partitions than the file
//! has room to describe.

use super::{Inner, Manifest, state::PARTITIONS_MAX};
use crate::{
    codec::manifest::{self as codec, Entry, HEADER_BYTES, Reader, Step, Tail},
    env::{File, Open, read_full_at},
    error::{Error, Result},
    storage::{handle_role::HandleRole, manifest::ManifestState},
};
use std::{io, sync::Arc};

/// More than any manifest has: a file with so much in it is not one.
const FILE_MAX: u64 = 1 << 30;
/// How often a file is read that seems to be damaged in another place each time.
const ATTEMPTS: usize = 100;
/// How much is read in one piece, unless one append is longer.
const PIECE: usize = 64 << 10;
/// Up to this many zeros after the last append are space for more; this library never wrote anything past them.
const ZEROS_MAX: u64 = 64 << 20;
/// A partition takes more bytes of a manifest than this: it has a segment.
const PARTITION_BYTES: u64 = 32;

/// A piece of the file, from the end of the last append that was read on.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    /// Where it begins in the file.
    start: u64,
}

/// What was read of a file.
struct Contents {
    /// The end of the last append.
    end: u64,
    /// How much of the file was durable, as far as it says.
    durable: u64,
    /// The first byte without a whole record, if there is anything at all.
    bad: u64,
}

impl Manifest {
    /// Reads what is new, and says whether there was any.
    pub(super) fn refresh(&self, inner: &mut Inner) -> Result<bool> {
        // Someone may be writing. What is read in two pieces can look like damage, and does not the next time: damage is
        // what stays in its place.
        let mut last = None;
        for _ in 1..if self.role == HandleRole::ReadOnly { ATTEMPTS } else { 1 } {
            match self.read(inner) {
                Err(Error::Corrupt { position, .. }) if last != Some(position) => last = Some(position),
                result => return result,
            }
        }
        self.read(inner)
    }

    fn read(&self, inner: &mut Inner) -> Result<bool> {
        let how = if self.role == HandleRole::ReadOnly { Open::Read } else { Open::Write };
        let file = match self.env.open(&self.path, how) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound && inner.file.is_none() => return Ok(false),
            Err(e) => return Err(Error::io("open", &self.path, e)),
        };
        let mut header = [0; HEADER_BYTES];
        let read = self.read_at(&*file, &mut header, 0)?;
        let header = header.get(..read).unwrap_or_default();
        let epoch = codec::decode_header(header).map_err(|e| e.in_file(&self.path, 0))?;
        let len = file.len().map_err(|e| Error::io("read", &self.path, e))?;
        let more = inner.file.is_some() && inner.epoch == epoch && inner.len <= len;
        if more && self.role == HandleRole::ReadOnly && self.ends_at(&*file, inner.len)? {
            return Ok(false);
        }

        // Entries are added to a copy, so that damage among them leaves the state as it was.
        let start = if more { inner.len } else { HEADER_BYTES as u64 };
        let mut state = if more { None } else { Some(ManifestState::default()) };
        let found = self.read_appends(&*file, epoch, start, len, &mut state)?;
        if !more && found.durable == 0 {
            // The mark that ends what the file was made with is missing.
            let reason = "the file ends before the state that it was made with";
            return Err(Error::corrupt(&self.path, found.end, reason));
        }
        if let Some(state) = &mut state {
            self.check_made(state, found.end)?;
            state.limit_made(None);
        }
        inner.torn = self.is_torn(&*file, epoch, &found)?;
        (inner.epoch, inner.len, inner.allocated) = (epoch, found.end, len.max(found.end));
        inner.file = Some(file);
        let Some(state) = state else { return Ok(false) };
        if self.role == HandleRole::ReadWrite {
            inner.ahead = state.clone();
        }
        *self.state.lock() = Arc::new(state);
        Ok(true)
    }

    /// Adds the entries of all appends from `start` on to the state, which is a copy of the present one where none is
    /// given and there are any.
    fn read_appends(
        &self,
        file: &dyn File,
        epoch: u64,
        start: u64,
        len: u64,
        state: &mut Option<ManifestState>,
    ) -> Result<Contents> {
        let mut piece = Piece { start, ..Piece::default() };
        let mut durable = 0;
        self.lengthen(file, &mut piece, PIECE)?;
        loop {
            let mut reader = Reader::new(epoch, piece.start, &piece.bytes);
            let step = loop {
                match reader.step().map_err(|e| e.in_file(&self.path, piece.start))? {
                    Step::Append(records) => {
                        let end = piece.start.saturating_add(reader.position() as u64);
                        for entry in reader.entries(records) {
                            let (at, entry) = entry.map_err(|e| e.in_file(&self.path, piece.start))?;
                            let at = piece.start.saturating_add(at as u64);
                            let state = state.get_or_insert_with(|| ManifestState::clone(&self.state()));
                            state.limit_made(Some(made_max(end, len)));
                            state.apply(&entry).map_err(|reason| Error::corrupt(&self.path, at, reason))?;
                            self.note_deleted(&entry);
                        }
                    }
                    other => break other,
                }
            };
            durable = durable.max(reader.durable());
            let read = reader.position();
            let end = piece.start.saturating_add(read as u64);
            let contents = |bad| Contents { end, durable, bad };
            let needed = match step {
                Step::Short(needed) => usize::try_from(needed).unwrap_or(usize::MAX),
                Step::End(bad) => return Ok(contents(piece.start.saturating_add(bad as u64))),
                Step::Append(_) => 0,
            };
            piece.bytes.drain(..read);
            piece.start = end;
            if !self.lengthen(file, &mut piece, needed.max(PIECE))? {
                return Ok(contents(end));
            }
        }
    }

    /// Reads on until the piece has `most` bytes or the file ends; `false` where not one more was read.
    fn lengthen(&self, file: &dyn File, piece: &mut Piece, most: usize) -> Result<bool> {
        let before = piece.bytes.len();
        while piece.bytes.len() < most {
            let len = piece.bytes.len();
            // Memory at most doubles, whatever a length claims.
            let step = (most - len).min(len.max(PIECE));
            piece.bytes.resize(len + step, 0);
            let position = piece.start.saturating_add(len as u64);
            let read = self.read_at(file, piece.bytes.get_mut(len..).unwrap_or_default(), position)?;
            piece.bytes.truncate(len + read);
            if read < step {
                break;
            }
            if position > FILE_MAX {
                return Err(self.too_long(position));
            }
        }
        Ok(piece.bytes.len() > before)
    }

    /// Whether anything but zeros follows the appends.
    fn is_torn(&self, file: &dyn File, epoch: u64, found: &Contents) -> Result<bool> {
        let mut tail = Tail::new(epoch, found.end, found.bad);
        let mut bytes = vec![0; PIECE];
        let (mut position, mut zeros) = (found.end, 0);
        loop {
            let read = self.read_at(file, &mut bytes, position)?;
            let piece = bytes.get(..read).unwrap_or_default();
            tail.look_at(position, piece).map_err(|e| e.in_file(&self.path, 0))?;
            if read < bytes.len() {
                return Ok(tail.is_torn());
            }
            zeros = if piece.iter().all(|byte| *byte == 0) { zeros + read as u64 } else { 0 };
            if zeros >= ZEROS_MAX {
                return Ok(true);
            }
            if position > FILE_MAX {
                return Err(self.too_long(position));
            }
            position += (read - Tail::OVERLAP) as u64;
        }
    }

    fn note_deleted(&self, entry: &Entry) {
        if let (Entry::TopicDeleted { id }, HandleRole::ReadWrite) = (entry, self.role) {
            self.deleted.lock().insert(*id);
        }
    }

    fn check_made(&self, state: &ManifestState, end: u64) -> Result<()> {
        let room = end / PARTITION_BYTES;
        if state.made() <= room {
            return Ok(());
        }
        let reason = format!(
            "the manifest ends here, after it made {} partitions: it can name segments of {room} at most",
            state.made()
        );
        Err(Error::corrupt(&self.path, end, reason))
    }

    fn too_long(&self, position: u64) -> Error {
        Error::corrupt(&self.path, position, format!("more than {FILE_MAX} bytes are no manifest"))
    }

    /// Whether no append begins at `position`, where others ended: the file ends there, or its zeros begin.
    fn ends_at(&self, file: &dyn File, position: u64) -> Result<bool> {
        let mut next = [0; 4];
        self.read_at(file, &mut next, position)?;
        Ok(next == [0; 4])
    }

    fn read_at(&self, file: &dyn File, bytes: &mut [u8], position: u64) -> Result<usize> {
        read_full_at(file, bytes, position).map_err(|e| Error::io("read", &self.path, e))
    }
}

/// How many partitions may have been made up to byte `end` of a file of `len` bytes: what comes behind can speak of some
/// of them, but the length may be a lie.
fn made_max(end: u64, len: u64) -> u64 {
    (len / PARTITION_BYTES).min(end / PARTITION_BYTES + PARTITIONS_MAX as u64)
}
