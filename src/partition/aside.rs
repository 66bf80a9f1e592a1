//! Segment files that no log has any more: renamed, never removed, for nothing dropped may come back under its name.

use super::recover::Recovery;
use crate::{
    env::Env,
    error::{Error, Result},
    storage::{
        layout::{ASIDE, SegmentFile},
        sidecar::remove_if_there,
    },
    types::Offset,
};
use std::{
    io,
    path::{Path, PathBuf},
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
            let Some(base) = SegmentFile::Log.parse(&entry.name) else { continue };
            if self.segments.iter().all(|s| s.base() != base) && !planted!(leave_strays) {
                self.put_segment_aside(base)?;
            }
        }
        Ok(())
    }

    pub(super) fn put_segment_aside(&mut self, base: Offset) -> Result<()> {
        if self.shared.read_only {
            return Ok(());
        }
        let env = &*self.shared.env;
        let path = SegmentFile::Log.path(&self.identity.dir, base);
        let aside = free_aside_name(env, &path);
        match env.rename(&path, &aside) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| Error::io("put aside", &path, e))?,
        }
        for kind in SegmentFile::ALL {
            remove_if_there(env, &kind.path(&self.identity.dir, base))?;
        }
        // Durable at once: a later segment may begin at the same offset, and must not find these bytes under its name.
        let dir = &self.identity.dir;
        env.sync_dir(dir).map_err(|e| Error::io("flush", dir, e))?;
        self.put_aside.push(aside);
        Ok(())
    }
}

/// A name beside `path` that is free.
fn free_aside_name(env: &dyn Env, path: &Path) -> PathBuf {
    let mut n = 0;
    loop {
        let mut name = path.as_os_str().to_os_string();
        name.push(if n == 0 { format!(".{ASIDE}") } else { format!(".{ASIDE}{n}") });
        let candidate = PathBuf::from(name);
        if env.metadata(&candidate).is_err() {
            return candidate;
        }
        n += 1;
    }
}
