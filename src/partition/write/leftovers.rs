//! What crashes and failures leave in a partition's directory, found in its list of names.
//!
//! The first change after each opening looks there, so that leftovers do not pile up; a recovery looks first of all. Strays
//! with records go into quarantine. Removed is only what nothing can need: a file of a segment that was removed according
//! to the manifest (the process died between the entry and the removal), a file that was about to replace another, the
//! indexes of a segment that is gone, the snapshot of a failed checkpoint.

use crate::{
    env::{DirEntry, Env},
    error::Result,
    partition::{log::Log, state::segment_list::has_base, write::quarantine::put_stray_aside},
    storage::{
        files::FilePool,
        foreign_files::entries_of,
        layout::{
            CLEANED, DELETED, LEADER_EPOCHS, PARTITION_IDENTITY, PARTITION_METADATA, SegmentFile, TMP,
            put_aside_from,
        },
        scan::{ScanItem, Scanner},
        segment::{Segment, source::only_zeros},
        sidecar::{remove_if_there, remove_segment_files},
    },
    types::Offset,
};
use std::{collections::BTreeSet, path::Path, sync::Arc};

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

/// Whether a file was about to replace another one.
fn is_unfinished(name: &str) -> bool {
    let own = name.strip_suffix(TMP).and_then(|name| name.strip_suffix('.'));
    own.is_some_and(|own| {
        [LEADER_EPOCHS, PARTITION_IDENTITY, PARTITION_METADATA].contains(&own)
            || SegmentFile::of_name(without_suffix(own)).is_some()
            || put_aside_from(own).is_some()
    })
}

/// The name that what a cleaner writes, or a broker was about to delete, has without that.
fn without_suffix(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((own, CLEANED | DELETED)) => own,
        _ => name,
    }
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
