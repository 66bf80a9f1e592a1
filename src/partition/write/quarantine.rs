//! Quarantine: segment files that belong to no log are renamed, and not removed.
//!
//! So nothing that was dropped comes back under its name, and a person can look at it. What is always true: the new name is
//! durable before a segment of the old name can begin. A file without records is removed instead, and so is one whose
//! records a rewritten segment holds.

use crate::{
    env::{Env, trace::event},
    error::{Error, Result},
    partition::{
        log::Log,
        state::{identity::Identity, segment_list::has_base},
    },
    storage::{
        data_dir::DataDir,
        foreign_files::{entries_of, free_aside_name, is_no_file, sync_dir},
        layout::SegmentFile,
        manifest::PartitionState,
        sidecar::{remove_if_there, remove_segment_files_but},
    },
    types::Offset,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Puts aside the file with the name of a segment that would begin at `base`.
pub(in crate::partition) fn put_stray_aside(log: &Log, base: Offset) -> Result<()> {
    let aside = put_segment_aside(&log.data_dir, &log.identity, base, log.flusher.mark().recovery_offset)?;
    if let Some(_path) = &aside {
        event!(WARN, partition = %log.identity.name, path = %_path.display(), "put a stray segment aside");
    }
    log.quarantined.lock().extend(aside);
    Ok(())
}

/// Renames the segment file that begins at `base`, durably, and removes its sidecars except a snapshot of the log at
/// `checkpointed`. Returns the new name; an empty file is removed instead, and so is one that a rewritten segment has
/// superseded.
pub(in crate::partition) fn put_segment_aside(
    data_dir: &DataDir,
    identity: &Identity,
    base: Offset,
    checkpointed: Offset,
) -> Result<Option<PathBuf>> {
    let (env, dir) = (&*data_dir.env, &identity.dir);
    let state = data_dir.manifest.state();
    if state.of(identity.id()).is_some_and(|state| is_superseded(env, dir, state, base)) {
        remove_segment_durably(env, dir, base, checkpointed)?;
        return Ok(None);
    }
    let path = SegmentFile::Log.path(dir, base);
    let aside = free_aside_name(env, &path);
    let is_empty = match env.metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if is_no_file(&e) => false,
        found => {
            let found = found.map_err(|e| Error::io("measure", &path, e))?;
            !found.is_dir && found.len == 0
        }
    };
    if is_empty {
        // It has no records that anyone could want back.
        remove_if_there(env, &path)?;
    } else {
        env.rename(&path, &aside).map_err(|e| Error::io("put aside", &path, e))?;
    }
    // Durable immediately: a later segment may begin at the same offset, and must not find these bytes under its name.
    remove_segment_durably(env, dir, base, checkpointed)?;
    Ok((!is_empty).then_some(aside))
}

/// Removes the files of the segment that begins at `base`, durably, but for a snapshot of the log at `checkpointed`.
fn remove_segment_durably(env: &dyn Env, dir: &Path, base: Offset, checkpointed: Offset) -> Result<()> {
    remove_segment_files_but(env, dir, base, checkpointed)?;
    sync_dir(env, dir)
}

/// Whether a segment file that begins at `base` is what a rewritten segment has superseded: that one is there, with all its
/// bytes, and holds what was kept.
fn is_superseded(env: &dyn Env, dir: &Path, state: &PartitionState, base: Offset) -> bool {
    let Some((from, sealed)) = state.superseding(base) else { return false };
    let found = env.metadata(&SegmentFile::Log.path(dir, from));
    found.is_ok_and(|found| !found.is_dir && found.len == sealed.bytes)
}

/// Files in a log's directory that may hold batches, and are none of its segments: what was quarantined, and what no removal
/// came to. The caller keeps checkpoints and removals away.
pub(in crate::partition) fn batches_beside(log: &Log) -> Result<Vec<PathBuf>> {
    // Held, so that no segment has a file and is not in the list yet.
    let _no_roll = log.writer.lock();
    let dir = &log.identity.dir;
    let entries = entries_of(&*log.data_dir.env, dir)?;
    let segments = log.segments.snapshot();
    let is_segment = |name: &str| SegmentFile::Log.parse(name).is_some_and(|base| has_base(&segments, base));
    let is_beside = |name: &str| may_have_batches(name) && !is_segment(name);
    let beside = entries.iter().filter(|entry| entry.is_file() && is_beside(&entry.name));
    Ok(beside.map(|entry| dir.join(&entry.name)).collect())
}

/// Whether a file has the name of a segment's batches, or that and something after it: quarantined, abandoned, or what a
/// broker was about to delete.
pub fn may_have_batches(name: &str) -> bool {
    let own = name.split_once(".log.").map(|(digits, _)| format!("{digits}.log"));
    SegmentFile::Log.parse(own.as_deref().unwrap_or(name)).is_some()
}
