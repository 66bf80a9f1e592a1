//! What an opening does where the cache cannot be trusted: after a flush that failed, or that was under way at death.
//!
//! Such a cache may show what the medium does not have. So what lies above the durable end is read from the medium;
//! where that is refused, it is copied; and where there is no space for a copy, the partition can only be read, as far
//! as it was durable. Nothing here fails an opening for want of space.

use super::{
    log::floor,
    recover::{HandsOff, Recovery},
};
use crate::{
    env::{Env, Open, read_full_at, write_all_at},
    error::{Error, Result},
    storage::{scan::Source, sidecar::remove_if_there},
    types::Offset,
};
use std::{
    io,
    path::{Path, PathBuf},
};

impl Recovery<'_> {
    /// The cache may show what a failed flush lost: when one was in flight or had failed, or when flushing fails now.
    pub(super) fn distrust_the_cache_where_needed(&mut self) -> Result<()> {
        if self.shared.read_only {
            return Ok(());
        }
        // What the process before had not flushed, its successor sees, so it must not go any more: names as well.
        let recovered_from = self.mark.recovery_offset.max(Offset::new(1));
        if self.segments.last().is_some_and(|last| last.base() >= recovered_from)
            && !planted!(forget_to_flush_names_that_were_found)
        {
            let dir = &self.identity.dir;
            match self.shared.env.sync_dir(dir) {
                // A directory that is missing is damage, which is judged when its segments are looked at.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|e| Error::io("flush", dir, e))?,
            }
        }
        let mut suspect = self.mark.failed || self.mark.flushing_offset != self.mark.flushed_offset;
        let from = floor(&self.segments, self.mark.flushed_offset).unwrap_or(0);
        let mut unflushed = Vec::new();
        for segment in self.segments.iter().skip(from) {
            match segment.data().sync_foreign() {
                Ok(()) => {}
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(Error::Io { .. } | Error::DiskFull { .. }) => unflushed.push(segment.base()),
                Err(error) => return Err(error),
            }
        }
        suspect |= !unflushed.is_empty();
        if suspect && !planted!(trust_the_cache_after_a_failed_flush) {
            self.look_past_the_cache(from, &unflushed)
        } else {
            Ok(())
        }
    }

    /// What the segments from number `from` on hold above the durable end is read from the medium; where that is
    /// refused, they are copied, so that what is read is on the medium; and where there is no space for the copy, the
    /// partition shows no more than what was durable.
    ///
    /// Those whose flush failed just now are copied in any case: to read past the cache, the system writes back what it
    /// has not lost, and what it says then may still go with the power.
    fn look_past_the_cache(&mut self, from: usize, unflushed: &[Offset]) -> Result<()> {
        self.source = Source::MediumFrom(u64::from(self.mark.flushed_position));
        for segment in self.segments.iter().skip(from) {
            let is_flushed = !unflushed.contains(&segment.base()) || planted!(believe_what_was_not_flushed);
            match segment.data().read_past_cache(&mut [0], 0) {
                Ok(Some(_)) if is_flushed => continue,
                Ok(Some(_)) => {}
                Ok(None) => self.source = Source::Cache,
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            match copy_anew(&*self.shared.env, segment.data().path()) {
                Ok(()) => segment.data().replaced(),
                Err(error @ Error::DiskFull { .. }) => {
                    let reason = format!(
                        "a flush had failed, what the medium has can only be told by a copy, and {error}; then open it again"
                    );
                    self.hands_off = Some(HandsOff { reason, unproven: true });
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes a file anew under its own name, so that what its reader sees is what the medium has.
fn copy_anew(env: &dyn Env, path: &Path) -> Result<()> {
    let mut beside = path.as_os_str().to_os_string();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    remove_if_there(env, &beside)?;
    let copied = copy(env, path, &beside);
    if copied.is_err() {
        // The error that is told is the first one; what stays behind is removed by the next attempt.
        let _ = remove_if_there(env, &beside);
    }
    copied?;
    env.rename(&beside, path).map_err(|e| Error::io("rename", &beside, e))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    env.sync_dir(dir).map_err(|e| Error::io("flush", dir, e))
}

fn copy(env: &dyn Env, from: &Path, to: &Path) -> Result<()> {
    copy_range(env, from, 0, to)
}

/// Copies what a file has from `start` on into a new one, which is flushed. Where the one has nothing, the other gets
/// nothing: a file of a tebibyte may hold a few bytes.
pub(super) fn copy_range(env: &dyn Env, from: &Path, start: u64, to: &Path) -> Result<()> {
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
