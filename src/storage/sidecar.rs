//! Small files beside the data, read and written as a whole.

use super::layout::SegmentFile;
use crate::{
    env::{Env, File, Open, read_exact_at, write_all_at},
    error::{Error, Result},
    types::Offset,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Sidecars larger than this are not read: an index of a segment below 2 GiB is far smaller.
const SIDECAR_MAX: u64 = 1 << 30;

/// Removes all files that belong to a base offset.
pub fn remove_segment_files(env: &dyn Env, dir: &Path, base: Offset) -> Result<()> {
    SegmentFile::ALL.iter().try_for_each(|kind| remove_if_there(env, &kind.path(dir, base)))
}

/// Removes a file unless there is none.
pub fn remove_if_there(env: &dyn Env, path: &Path) -> Result<()> {
    match env.remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// The whole of a sidecar; `None` when there is none.
pub fn read_file(env: &dyn Env, path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match env.open(path, Open::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| Error::io("open", path, e))?,
    };
    let len = file.len().map_err(|e| Error::io("measure", path, e))?;
    if len > SIDECAR_MAX {
        return Err(Error::corrupt(path, 0, format!("{len} bytes are more than such a file can have")));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    read_exact_at(&*file, &mut bytes, 0).map_err(|e| Error::io("read", path, e))?;
    Ok(Some(bytes))
}

/// Replaces the content of a sidecar in place and flushes it. What a crash leaves half written is found out by its
/// checksum or order, and built again.
pub fn write_file(env: &dyn Env, path: &Path, content: &[u8]) -> Result<()> {
    let file = write_unflushed(env, path, content)?;
    file.sync_data().map_err(|e| Error::io("flush", path, e))
}

/// Replaces the content of a sidecar in place. Whoever flushes it gets the file.
pub fn write_unflushed(env: &dyn Env, path: &Path, content: &[u8]) -> Result<Arc<dyn File>> {
    let file = env.open(path, Open::Create).map_err(|e| Error::io("create", path, e))?;
    write_all_at(&*file, content, 0).map_err(|e| Error::io("write", path, e))?;
    file.set_len(content.len() as u64).map_err(|e| Error::io("truncate", path, e))?;
    Ok(file)
}

/// Replaces a file as a whole: written beside it, flushed, renamed, the directory flushed.
pub fn replace_file(env: &dyn Env, path: &Path, content: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_os_string();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    write_file(env, &beside, content)?;
    env.rename(&beside, path).map_err(|e| Error::io("rename", path, e))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    env.sync_dir(dir).map_err(|e| Error::io("flush", dir, e))
}
