//! Segment files that no log has any more: renamed, never removed, for nothing dropped may come back under its name.

use super::{changed::names_in, log::Log, recover::Recovery};
use crate::{
    env::{Env, trace::event},
    error::{Error, Result},
    storage::{
        apart::free_aside_name,
        layout::{ASIDE, SegmentFile},
        scan::{Found, Scanner},
        segment::Segment,
        sidecar::{remove_if_there, remove_segment_files},
    },
    types::Offset,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

impl Recovery<'_> {
    /// Segment files that the manifest does not name go aside, so that nothing dropped ever comes back.
    pub(super) fn put_strays_aside(&mut self) -> Result<()> {
        let dir = &self.identity.dir;
        let entries = match self.shared.env.list(dir) {
            // Then all its files are missing, which will be said.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| Error::io("list", dir, e))?,
        };
        for entry in entries {
            if entry.is_file() && self.was_removed(&entry.name)? {
                remove_if_there(&*self.shared.env, &dir.join(&entry.name))?;
                if let Some(base) = SegmentFile::Log.parse(&entry.name) {
                    remove_segment_files(&*self.shared.env, dir, base)?;
                }
                continue;
            }
            let Some(base) = SegmentFile::Log.parse(&entry.name) else { continue };
            if self.segments.iter().all(|s| s.base() != base) && !planted!(leave_strays) {
                self.put_segment_aside(base)?;
            }
        }
        Ok(())
    }

    /// Whether a file is that of a segment, or was put aside as one, whose records all lie below the log start, and so were
    /// removed: a death came between the manifest's word and the file.
    fn was_removed(&self, name: &str) -> Result<bool> {
        let (id, partition) = (self.identity.topic_id, self.identity.name.partition);
        let state = self.shared.manifest.state();
        let log_start = state.partition(&id, partition).map_or(Offset::ZERO, |p| p.log_start);
        let own = name.split_once(&format!(".{ASIDE}")).map_or(name, |(own, _)| own);
        let first = self.segments.first().map_or(Offset::ZERO, |first| first.base());
        let Some(base) = SegmentFile::Log.parse(own).filter(|base| *base < first.min(log_start)) else {
            return Ok(false);
        };
        if self.shared.read_only {
            return Ok(false);
        }
        let file = self.shared.pool.existing(self.identity.dir.join(name), false);
        let mut scanner = Scanner::new(&file, file.len()?, 0, base, true);
        loop {
            match scanner.next()? {
                Found::Batch(..) if scanner.expected() <= log_start => {}
                Found::End => return Ok(true),
                _ => return Ok(false),
            }
        }
    }

    pub(super) fn put_segment_aside(&mut self, base: Offset) -> Result<()> {
        if self.shared.read_only {
            return Ok(());
        }
        // The snapshot of the last checkpoint may have the same offset in its name, and stays.
        let checkpointed = self.mark.recovery_offset;
        let aside = put_segment_aside(&*self.shared.env, &self.identity.dir, base, checkpointed)?;
        self.put_aside.extend(aside);
        Ok(())
    }
}

impl Log {
    /// Puts the segment files aside that none of `segments` is, before the first append: this log may come to begin one
    /// of that name. The opening looked, unless nothing told it to.
    pub(super) fn put_strays_aside(&self, segments: &[Arc<Segment>]) -> Result<()> {
        if self.offsets.log_end() == Offset::ZERO {
            // A new log's directory was looked through when it was made.
            return Ok(());
        }
        // No segment begins where a removal may have left one.
        let first = segments.first().map_or(Offset::ZERO, |first| first.base());
        let names = names_in(&*self.shared.env, &self.identity.dir)?;
        for name in names.iter().filter(|name| name.base >= first) {
            if segments.iter().all(|segment| segment.base() != name.base) {
                self.put_stray_aside(name.base)?;
            }
        }
        Ok(())
    }

    /// Puts aside what has the name of the segment that would begin at `base`.
    pub(super) fn put_stray_aside(&self, base: Offset) -> Result<()> {
        let checkpointed = self.flusher.mark().recovery_offset;
        let aside = put_segment_aside(&*self.shared.env, &self.identity.dir, base, checkpointed)?;
        if let Some(_path) = &aside {
            event!(WARN, partition = %self.identity.name, path = %_path.display(), "put a stray segment aside");
        }
        self.put_aside.lock().extend(aside);
        Ok(())
    }
}

/// Renames the segment file that begins at `base`, durably, and removes its sidecars but for a snapshot of the log at
/// `checkpointed`. Says what it is named now.
fn put_segment_aside(
    env: &dyn Env,
    dir: &Path,
    base: Offset,
    checkpointed: Offset,
) -> Result<Option<PathBuf>> {
    let path = SegmentFile::Log.path(dir, base);
    let aside = free_aside_name(env, &path);
    match env.rename(&path, &aside) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| Error::io("put aside", &path, e))?,
    }
    for kind in SegmentFile::ALL {
        let is_snapshot = matches!(kind, SegmentFile::Snapshot | SegmentFile::Producers);
        if !(is_snapshot && base == checkpointed) {
            remove_if_there(env, &kind.path(dir, base))?;
        }
    }
    // Durable at once: a later segment may begin at the same offset, and must not find these bytes under its name.
    env.sync_dir(dir).map_err(|e| Error::io("flush", dir, e))?;
    Ok(Some(aside))
}
