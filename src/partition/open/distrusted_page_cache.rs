//! What an opening does where the page cache cannot be trusted: after a flush that failed, or that was under way when
//! the process died.
//!
//! Such a cache may show what the medium does not have. So everything above the durable end is read from the medium;
//! where that is refused, it is copied; and where there is no space for a copy, the partition can only be read, as far
//! as it was durable. No opening fails here for want of space.

use crate::{
    error::{Error, Result},
    partition::{
        open::recovery_state::{HandsOff, Recovery},
        state::segment_list::floor,
    },
    storage::{foreign_files::copy_anew, scan::ReadPath},
    types::Offset,
};
use std::io;

impl Recovery<'_> {
    /// The cache may show what a failed flush lost: when one was in flight or had failed, or when flushing fails now.
    pub(in crate::partition) fn distrust_the_cache_where_needed(&mut self) -> Result<()> {
        if self.data_dir.read_only {
            return Ok(());
        }
        self.flush_names_that_were_found()?;
        let mut suspect = self.mark.failed || self.mark.flushing_offset != self.mark.flushed_offset;
        let from = floor(&self.segments, self.mark.flushed_offset).unwrap_or(0);
        let mut unflushed = Vec::new();
        for segment in self.segments.iter().skip(from) {
            match segment.file()?.sync_foreign() {
                Ok(()) => {}
                Err(error) if error.says_no_such_file() => {}
                Err(Error::Io { .. } | Error::DiskFull { .. }) => unflushed.push(segment.base()),
                Err(error) => return Err(error),
            }
        }
        suspect |= !unflushed.is_empty();
        planted!(trust_the_cache_after_a_failed_flush => suspect = false);
        if suspect { self.look_past_the_cache(from, &unflushed) } else { Ok(()) }
    }

    /// Flushes the names that were found. The process before may not have flushed them, and this one relies on them, so
    /// they must not disappear any more.
    fn flush_names_that_were_found(&self) -> Result<()> {
        planted!(forget_to_flush_names_that_were_found => return Ok(()));
        let recovered_from = self.mark.recovery_offset.max(Offset::new(1));
        if self.segments.last().is_none_or(|last| last.base() < recovered_from) {
            return Ok(());
        }
        let dir = &self.identity.dir;
        match self.data_dir.env.sync_dir(dir) {
            // A directory that is missing is damage, which is judged when its segments are looked at.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| Error::io("flush", dir, e)),
        }
    }

    /// Reads the segments from number `from` on from the medium, above the durable end. Where that is refused, they are
    /// copied, so that what is read is on the medium; and where there is no space for the copy, the partition shows no
    /// more than what was durable.
    ///
    /// Segments whose flush failed just now are copied in any case: for a read past the cache the system writes back
    /// what it has not lost, and the bytes that it then returns may still go with the power.
    fn look_past_the_cache(&mut self, from: usize, unflushed: &[Offset]) -> Result<()> {
        self.source = ReadPath::MediumFrom(u64::from(self.mark.flushed_position));
        for segment in self.segments.iter().skip(from) {
            let mut is_flushed = !unflushed.contains(&segment.base());
            planted!(believe_what_was_not_flushed => is_flushed = true);
            match segment.source().read_past_cache(&mut [0], 0) {
                Ok(Some(_)) if is_flushed => continue,
                Ok(Some(_)) => {}
                Ok(None) => self.source = ReadPath::Cache,
                Err(error) if error.says_no_such_file() => continue,
                Err(error) => return Err(error),
            }
            match copy_anew(&*self.data_dir.env, segment.path()) {
                Ok(()) => segment.replaced(),
                Err(error @ Error::DiskFull { .. }) => {
                    let reason = format!(
                        "a flush had failed, and only a copy can show what the medium has: {error}; then open the log again"
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
