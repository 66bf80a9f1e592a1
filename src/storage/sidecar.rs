//! Small files beside the data, read and written as a whole.
//!
//! How long one is says a stranger. What is longer than its content can need is not read, and counts as damaged;
//! entries of an index are read piece by piece, as far as they are in order.

pub use super::foreign_files::remove_if_there;

use super::{
    foreign_files::{beside, is_no_file, make_way, sync_parent},
    layout::SegmentFile,
};
use crate::{
    env::{Env, File, Open, read_full_at, write_all_at},
    error::{
        Error, Result,
        memory::{grow, out_of_memory},
    },
    types::Offset,
};
use std::{io, path::Path, sync::Arc};

/// The largest size of a text of a few lines: `LOCK`, `partition.metadata`, a broker's mark of a clean stop.
pub const TEXT_MAX: u64 = 64 << 10;
/// The most that a checkpoint of leader epochs has: some fifty thousand changes of a partition's leader.
pub const EPOCHS_MAX: u64 = 1 << 20;
/// The most that a checkpoint of offsets has, with a line for each partition of a broker.
pub const OFFSETS_MAX: u64 = 16 << 20;
/// The most that a snapshot of producers has: 46 bytes for each, which take several times that in memory.
pub const SNAPSHOT_MAX: u64 = 32 << 20;
/// The most that is read of any sidecar.
pub const SIDECAR_MAX: u64 = 64 << 20;

/// How much of an index is read at a time: whole entries of every kind.
const PIECE: usize = 8 * 12 * 34 * 20;

/// Removes all files that belong to a base offset.
pub fn remove_segment_files(env: &dyn Env, dir: &Path, base: Offset) -> Result<()> {
    SegmentFile::ALL.iter().try_for_each(|kind| remove_if_there(env, &kind.path(dir, base)))
}

/// The same, but for a snapshot of the log at `checkpointed`.
pub fn remove_segment_files_but(env: &dyn Env, dir: &Path, base: Offset, checkpointed: Offset) -> Result<()> {
    for kind in SegmentFile::ALL {
        let is_snapshot = matches!(kind, SegmentFile::Snapshot | SegmentFile::Producers);
        if !(is_snapshot && base == checkpointed) {
            remove_if_there(env, &kind.path(dir, base))?;
        }
    }
    Ok(())
}

/// A whole sidecar; `None` when there is none.
///
/// # Errors
///
/// `Corrupt` for one of more than `most` bytes.
pub fn read_file(env: &dyn Env, path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let Some((file, len)) = open_file(env, path)? else { return Ok(None) };
    if len > most {
        return Err(Error::corrupt(
            path,
            most,
            format!("{len} bytes, of which such a file has {most} at most"),
        ));
    }
    let mut bytes = Vec::new();
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    // It may have become shorter since: another process replaces it, and its checksum tells.
    append_piece(&*file, path, len, &mut bytes)?;
    Ok(Some(bytes))
}

/// Reads the next `len` bytes of a file, of which `bytes` has those before; fewer where it ends.
fn append_piece(file: &dyn File, path: &Path, len: usize, bytes: &mut Vec<u8>) -> Result<()> {
    let start = bytes.len();
    if !grow(bytes, len) {
        let wanted = start.saturating_add(len);
        return Err(Error::io("read", path, out_of_memory(format_args!("the first {wanted} of its"))));
    }
    bytes.resize(start + len, 0);
    let room = bytes.get_mut(start..).unwrap_or_default();
    let read = read_full_at(file, room, start as u64).map_err(|e| Error::io("read", path, e))?;
    bytes.truncate(start + read);
    Ok(())
}

/// As [`read_file`], of a file that nobody needs: `None` as well when it is too long to be what it
/// should, or is no file.
pub fn read_hint(env: &dyn Env, path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    match read_file(env, path, most) {
        Err(Error::Corrupt { .. }) => Ok(None),
        other => other,
    }
}

/// The entries at the beginning of an index that are in order.
#[derive(Debug)]
pub struct Entries {
    /// Their bytes.
    pub bytes: Vec<u8>,
    /// Whether the file has nothing else.
    pub are_all: bool,
}

/// As much of an index as is in order, and has at most `most` bytes; `None` when there is none. `in_order` says how many
/// of the bytes that it is given, which are whole entries, are.
pub fn read_entries(
    env: &dyn Env,
    path: &Path,
    entry: usize,
    most: u64,
    in_order: impl Fn(&[u8]) -> usize,
) -> Result<Option<Entries>> {
    let opened = match open_file(env, path) {
        // Of what is no file nothing is in order.
        Err(Error::Corrupt { .. }) => return Ok(Some(Entries { bytes: Vec::new(), are_all: false })),
        opened => opened?,
    };
    let Some((file, len)) = opened else { return Ok(None) };
    let end = usize::try_from(len.min(most)).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    while bytes.len() < end {
        let start = bytes.len();
        let piece = (end - start).min(PIECE);
        append_piece(&*file, path, piece, &mut bytes)?;
        // Together with the last one before, which they follow.
        let from = start.saturating_sub(entry);
        let valid = from + in_order(bytes.get(from..).unwrap_or_default());
        if valid < bytes.len() {
            bytes.truncate(valid);
            break;
        }
    }
    Ok(Some(Entries { are_all: bytes.len() as u64 == len, bytes }))
}

fn open_file(env: &dyn Env, path: &Path) -> Result<Option<(Arc<dyn File>, u64)>> {
    let file = match env.open(path, Open::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| Error::io("open", path, e))?,
    };
    let len = file.len().map_err(|e| Error::io("measure", path, e))?;
    Ok(Some((file, len)))
}

/// Writes a whole file and flushes it: beside its name, then under it. If that fails, the old file keeps the name and
/// nothing of the attempt stays. The caller flushes the directory, which makes the name durable.
pub fn write_file(env: &dyn Env, path: &Path, content: &[u8]) -> Result<()> {
    let beside = beside(path);
    let written = write_beside(env, &beside, content).and_then(|()| take_name(env, &beside, path));
    planted!(a_failed_file_stays => return written);
    if written.is_err() {
        // The first error is reported; if this fails too, a later opening removes the file.
        let _ = env.remove_file(&beside);
    }
    written
}

fn write_beside(env: &dyn Env, beside: &Path, content: &[u8]) -> Result<()> {
    let file = match env.open(beside, Open::CreateNew) {
        // A crash left it. Writing into it would write into every other name of that file.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            remove_if_there(env, beside)?;
            env.open(beside, Open::CreateNew)
        }
        opened => opened,
    };
    let file = file.map_err(|e| Error::io("create", beside, e))?;
    write_all_at(&*file, content, 0).map_err(|e| Error::io("write", beside, e))?;
    file.sync_data().map_err(|e| Error::io("flush", beside, e))
}

/// Gives a file its name. A directory that has it makes way.
pub fn take_name(env: &dyn Env, beside: &Path, path: &Path) -> Result<()> {
    let rename = || env.rename(beside, path).map_err(|e| Error::io("rename", path, e));
    match rename() {
        Err(_) if env.metadata(path).is_ok_and(|found| found.is_dir) => {
            make_way(env, path)?;
            rename()
        }
        renamed => renamed,
    }
}

/// Replaces the content of a sidecar in place, and returns the file for the flush. Something other than a file under its
/// name makes way, and a file with other names loses this one. If writing fails there is no file: half of one is worth less
/// than none.
pub fn write_unflushed(env: &dyn Env, path: &Path, content: &[u8]) -> Result<Arc<dyn File>> {
    let file = open_own(env, path)?;
    let written = write_all_at(&*file, content, 0)
        .map_err(|e| Error::io("write", path, e))
        .and_then(|()| file.set_len(content.len() as u64).map_err(|e| Error::io("truncate", path, e)));
    if written.is_err() {
        let _ = env.remove_file(path);
    }
    written.map(|()| file)
}

/// The file of this name, which has no other one.
fn open_own(env: &dyn Env, path: &Path) -> Result<Arc<dyn File>> {
    match env.open(path, Open::Create) {
        Err(e) if is_no_file(&e) => {
            make_way(env, path)?;
        }
        Ok(file) if file.has_other_names() => {
            planted!(rewrite_a_sidecar_through_other_names => return Ok(file));
            remove_if_there(env, path)?;
        }
        opened => return opened.map_err(|e| Error::io("create", path, e)),
    }
    env.open(path, Open::CreateNew).map_err(|e| Error::io("create", path, e))
}

/// Replaces a file as a whole, durably: written beside it, flushed, renamed, the directory flushed.
pub fn replace_file(env: &dyn Env, path: &Path, content: &[u8]) -> Result<()> {
    write_file(env, path, content)?;
    sync_parent(env, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::index::{OffsetEntry, OffsetIndexView},
        env::memory::MemoryEnv,
    };

    fn valid(bytes: &[u8]) -> usize {
        OffsetIndexView::new_checked(bytes).1
    }

    #[test]
    fn entries_are_read_as_far_as_they_are_in_order_and_no_piece_more() {
        let env = MemoryEnv::new();
        let path = Path::new("/x.index");
        let mut index = Vec::new();
        (1..=40_000).for_each(|i| OffsetEntry { relative_offset: i, position: i }.encode(&mut index));
        assert!(index.len() > 4 * PIECE);
        write_file(&*env, path, &index).unwrap();
        let read = |most| read_entries(&*env, path, OffsetEntry::ENCODED_LEN, most, valid).unwrap().unwrap();
        let all = read(u64::MAX);
        assert!(all.are_all && all.bytes == index);
        let some = read(80_000);
        assert!(!some.are_all && some.bytes == index[..80_000]);
        for at in [0, 8, PIECE - 8, PIECE, PIECE + 8, 3 * PIECE, index.len() - 8] {
            let mut broken = index.clone();
            // One that does not follow the one before it, also where that is in another piece.
            broken[at..at + 8].fill(0);
            write_file(&*env, path, &broken).unwrap();
            let beginning = read(u64::MAX);
            assert!(!beginning.are_all && beginning.bytes == index[..at], "{at}");
        }
        // A gibibyte of zeros, of which one piece is looked at.
        write_file(&*env, path, &[]).unwrap();
        env.open(path, Open::Write).unwrap().set_len(1 << 30).unwrap();
        let none = read(u64::MAX);
        assert!(!none.are_all && none.bytes.is_empty() && none.bytes.capacity() <= 2 * PIECE);
    }

    #[test]
    fn a_file_that_is_longer_than_it_can_be_is_not_read() {
        let env = MemoryEnv::new();
        let path = Path::new("/x.snapshot");
        assert!(read_file(&*env, path, 10).unwrap().is_none());
        write_file(&*env, path, &[7; 10]).unwrap();
        assert_eq!(read_file(&*env, path, 10).unwrap().unwrap(), [7; 10]);
        let error = read_file(&*env, path, 9).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains("/x.snapshot"));
        assert!(read_hint(&*env, path, 9).unwrap().is_none());
        env.open(path, Open::Write).unwrap().set_len(1 << 40).unwrap();
        assert!(read_file(&*env, path, SIDECAR_MAX).is_err());
    }
}
