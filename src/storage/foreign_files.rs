//! Keeping apart what is ours and what is not.
//!
//! A name of ours may stand for something that is no file, or for a file that has other names too. What is no file is
//! renamed where it is in the way, and neither opened nor removed. A file with other names is a backup's (hard links are how
//! many tools make one of a log, whose sealed segments never change), or a stranger's: before anything is written to it in
//! place, a copy takes its name here, and the other names keep what they have.

use crate::{
    env::{DirEntry, Env, FileKind, Open, WrongKind, read_full_at, trace::event, write_all_at},
    error::{Error, Result},
    storage::layout::{ASIDE, TMP},
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Whether an error says that what has the name itself is no regular file.
pub fn is_no_file(error: &io::Error) -> bool {
    WrongKind::of(error).is_some_and(|wrong| wrong.above == 0 && wrong.expected != Some(FileKind::Dir))
}

/// A name beside `path` that is free.
pub fn free_aside_name(env: &dyn Env, path: &Path) -> PathBuf {
    let mut n = 0;
    loop {
        let mut name = path.as_os_str().to_os_string();
        name.push(if n == 0 { format!(".{ASIDE}") } else { format!(".{ASIDE}{n}") });
        let candidate = PathBuf::from(name);
        match env.metadata(&candidate) {
            Err(e) if !is_no_file(&e) => return candidate,
            _ => n += 1,
        }
    }
}

/// Renames what is in the way of a file, being none.
pub fn make_way(env: &dyn Env, path: &Path) -> Result<PathBuf> {
    let aside = free_aside_name(env, path);
    env.rename(path, &aside).map_err(|e| Error::io("put aside", path, e))?;
    event!(WARN, path = %path.display(), aside = %aside.display(), "put aside what is no file");
    Ok(aside)
}

/// Removes a file if there is one. A directory, which cannot be removed as a file, makes way.
pub fn remove_if_there(env: &dyn Env, path: &Path) -> Result<()> {
    match env.remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if is_no_file(&e) => make_way(env, path).map(drop),
        removed => removed.map_err(|e| Error::io("remove", path, e)),
    }
}

/// The name of the file that is about to replace `path`.
pub fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_os_string();
    beside.push(format!(".{TMP}"));
    PathBuf::from(beside)
}

/// Writes a file anew under its own name, flushed: its reader sees what the medium has, and under other names that it may
/// have had nothing changes from here on.
pub fn copy_anew(env: &dyn Env, path: &Path) -> Result<()> {
    let beside = beside(path);
    remove_if_there(env, &beside)?;
    let copied = copy_range(env, path, 0, &beside);
    if copied.is_err() {
        // The first error is reported; the next attempt removes the leftovers.
        let _ = remove_if_there(env, &beside);
    }
    copied?;
    env.rename(&beside, path).map_err(|e| Error::io("rename", &beside, e))?;
    sync_parent(env, path)
}

/// Makes the name that a file has got durable.
pub fn sync_parent(env: &dyn Env, path: &Path) -> Result<()> {
    sync_dir(env, path.parent().unwrap_or(Path::new(".")))
}

/// Makes the names in a directory durable.
pub fn sync_dir(env: &dyn Env, dir: &Path) -> Result<()> {
    env.sync_dir(dir).map_err(|e| Error::io("flush", dir, e))
}

/// The entries of a directory; none where it does not exist. All its files are missing then, which is reported where
/// they are looked for.
pub fn entries_of(env: &dyn Env, dir: &Path) -> Result<Vec<DirEntry>> {
    match env.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|e| Error::io("list", dir, e)),
    }
}

/// Copies what a file has from `start` on into a new one, which is flushed. Where the one has nothing, the other gets
/// nothing: a file of a tebibyte may hold a few bytes.
pub fn copy_range(env: &dyn Env, from: &Path, start: u64, to: &Path) -> Result<()> {
    let source = env.open(from, Open::Read).map_err(|e| Error::io("open", from, e))?;
    let target = env.open(to, Open::CreateNew).map_err(|e| Error::io("create", to, e))?;
    let len = source.len().map_err(|e| Error::io("measure", from, e))?;
    let mut piece = vec![0; 1 << 20];
    let mut position = start;
    loop {
        position = source.data_from(position).max(position);
        if position >= len {
            break;
        }
        let read = read_full_at(&*source, &mut piece, position).map_err(|e| Error::io("read", from, e))?;
        let Some(content) = piece.get(..read).filter(|content| !content.is_empty()) else { break };
        write_all_at(&*target, content, position - start).map_err(|e| Error::io("write", to, e))?;
        position += read as u64;
    }
    target.set_len(len.saturating_sub(start)).map_err(|e| Error::io("truncate", to, e))?;
    target.sync_data().map_err(|e| Error::io("flush", to, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::memory::MemoryEnv;

    #[test]
    fn what_a_file_does_not_have_is_not_copied() {
        let env = MemoryEnv::new();
        let (from, to) = (Path::new("/from"), Path::new("/to"));
        let file = env.open(from, Open::CreateNew).unwrap();
        write_all_at(&*file, &[7; 3 << 20], 0).unwrap();
        file.set_len(1 << 40).unwrap();
        copy_range(&*env, from, 1000, to).unwrap();
        let copy = env.open(to, Open::Read).unwrap();
        assert_eq!(copy.len().unwrap(), (1 << 40) - 1000);
        let mut bytes = vec![0; 4 << 20];
        read_full_at(&*copy, &mut bytes, 0).unwrap();
        let (content, rest) = bytes.split_at((3 << 20) - 1000);
        assert!(content.iter().all(|byte| *byte == 7) && rest.iter().all(|byte| *byte == 0));
    }
}
