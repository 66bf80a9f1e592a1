//! Files in a partition's directory that belong to no log.
//!
//! A file with records is renamed and not removed, so that nothing that was dropped comes back under its name. The
//! exception is a file of a segment that was removed according to the manifest: the process died between the entry and
//! the removal. Other files are removed once nothing can need them: a file that was about to replace another, the
//! indexes of a segment that is gone, the snapshot of a failed checkpoint. The first change after each opening looks
//! for them, so that neither crashes nor failures make them pile up.

use crate::{
    env::{DirEntry, Env, trace::event},
    error::{Error, Result},
    partition::{
        log::Log,
        state::{identity::Identity, segment_list::has_base},
    },
    storage::{
        data_dir::DataDir,
        files::FilePool,
        foreign_files::{free_aside_name, is_no_file, sync_dir},
        layout::{LEADER_EPOCHS, PARTITION_IDENTITY, PARTITION_METADATA, SegmentFile, TMP, put_aside_from},
        manifest::PartitionState,
        scan::{ScanItem, Scanner},
        segment::{Segment, source::only_zeros},
        sidecar::{remove_if_there, remove_segment_files, remove_segment_files_but},
    },
    types::Offset,
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Puts aside the segment files that are not among `segments`, before the first append: this log may later begin a
/// segment of that name. The opening has looked for them, unless it had no reason to. Leftovers of removals and
/// failures are removed.
pub(in crate::partition) fn tidy(log: &Log, segments: &[Arc<Segment>]) -> Result<()> {
    if log.offsets.log_end() == Offset::ZERO {
        // The directory of a new log was searched when it was created.
        return Ok(());
    }
    let entries = entries_of(&*log.data_dir.env, &log.identity.dir)?;
    unless_planted!(leftovers_stay => remove_leftovers(log, segments, &entries));
    // No new segment begins below the first one, where a removal may have left a file.
    let first = segments.first().map_or(Offset::ZERO, |first| first.base());
    for base in entries.iter().filter_map(|entry| SegmentFile::Log.parse(&entry.name)) {
        if base >= first && !has_base(segments, base) {
            put_stray_aside(log, base)?;
        }
    }
    Ok(())
}

/// Nothing depends on it: a file that cannot be removed is left to the next opening.
fn remove_leftovers(log: &Log, segments: &[Arc<Segment>], entries: &[DirEntry]) {
    let (env, dir) = (&*log.data_dir.env, &log.identity.dir);
    let log_start = log.data_dir.manifest.state().of(log.identity.id()).map(|p| p.log_start);
    let first = segments.first().map_or(Offset::ZERO, |first| first.base());
    let below = first.min(log_start.unwrap_or_default());
    let logs: BTreeSet<Offset> =
        entries.iter().filter_map(|entry| SegmentFile::Log.parse(&entry.name)).collect();
    let mut checkpointed = log.flusher.mark().recovery_offset;
    planted!(the_checkpoints_snapshot_is_a_leftover => checkpointed = Offset::MAX);
    for name in entries.iter().filter(|entry| entry.is_file()).map(|entry| &*entry.name) {
        let is_left = match SegmentFile::of_name(name) {
            None | Some((SegmentFile::Log, _)) => {
                is_unfinished(name) || was_removed(&log.data_dir.pool, dir, name, below).unwrap_or(false)
            }
            Some((SegmentFile::Snapshot | SegmentFile::Producers, at)) => {
                !has_base(segments, at) && at != checkpointed
            }
            Some((_, base)) => !has_base(segments, base) && !logs.contains(&base),
        };
        if is_left {
            let _ = remove_leftover(env, dir, name);
        }
    }
}

/// Puts aside the file with the name of a segment that would begin at `base`.
pub(in crate::partition) fn put_stray_aside(log: &Log, base: Offset) -> Result<()> {
    let aside = put_segment_aside(&log.data_dir, &log.identity, base, log.flusher.mark().recovery_offset)?;
    if let Some(_path) = &aside {
        event!(WARN, partition = %log.identity.name, path = %_path.display(), "put a stray segment aside");
    }
    log.put_aside.lock().extend(aside);
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

/// The entries of a directory; none where it does not exist. All its files are missing then, which is reported where
/// they are looked for.
pub(in crate::partition) fn entries_of(env: &dyn Env, dir: &Path) -> Result<Vec<DirEntry>> {
    match env.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|e| Error::io("list", dir, e)),
    }
}

/// Whether a file was about to replace another one.
fn is_unfinished(name: &str) -> bool {
    let own = name.strip_suffix(TMP).and_then(|name| name.strip_suffix('.'));
    own.is_some_and(|own| {
        [LEADER_EPOCHS, PARTITION_IDENTITY, PARTITION_METADATA].contains(&own)
            || SegmentFile::of_name(own).is_some()
    })
}

/// Whether a file is a segment's, or was put aside as one, and all its records lie below `below`, where the log has
/// nothing left according to the manifest.
pub(in crate::partition) fn was_removed(
    pool: &Arc<FilePool>,
    dir: &Path,
    name: &str,
    below: Offset,
) -> Result<bool> {
    let own = put_aside_from(name).unwrap_or(name);
    let Some(base) = SegmentFile::Log.parse(own).filter(|base| *base < below) else { return Ok(false) };
    let file = pool.existing(dir.join(name), false);
    let len = file.len()?;
    let mut scanner = Scanner::new(&*file, len, 0, base, true);
    loop {
        match scanner.next()? {
            ScanItem::Batch(..) if scanner.expected() <= below => {}
            // Where a power cut took a sector, batches may follow the zeros.
            ScanItem::End => return only_zeros(&*file, scanner.position(), len),
            _ => return Ok(false),
        }
    }
}

/// Removes a file, and with a segment's file its sidecars.
pub(in crate::partition) fn remove_leftover(env: &dyn Env, dir: &Path, name: &str) -> Result<()> {
    remove_if_there(env, &dir.join(name))?;
    SegmentFile::Log.parse(name).map_or(Ok(()), |base| remove_segment_files(env, dir, base))
}
