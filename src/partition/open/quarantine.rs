//! Segment files that a recovery finds and the manifest does not name: they are put aside, so that nothing dropped comes
//! back. What becomes of a file of each kind is told in `write/leftovers.rs`.

use crate::{
    error::Result,
    partition::{
        open::recover::Recovery,
        write::leftovers::{entries_of, has_base, put_segment_aside, remove_leftover, was_removed},
    },
    storage::layout::SegmentFile,
    types::Offset,
};

impl Recovery<'_> {
    /// Segment files that the manifest does not name go aside, so that nothing dropped ever comes back.
    pub(in crate::partition) fn put_strays_aside(&mut self) -> Result<()> {
        let dir = &self.identity.dir;
        let (id, partition) = (self.identity.topic_id, self.identity.name.partition);
        let state = self.data_dir.manifest.state();
        let log_start = state.partition(&id, partition).map_or(Offset::ZERO, |p| p.log_start);
        let first = self.segments.first().map_or(Offset::ZERO, |first| first.base());
        for entry in entries_of(&*self.data_dir.env, dir)? {
            let may_remove = !self.data_dir.read_only && entry.is_file();
            if may_remove && was_removed(&self.data_dir.pool, dir, &entry.name, first.min(log_start))? {
                remove_leftover(&*self.data_dir.env, dir, &entry.name)?;
                continue;
            }
            let Some(base) = SegmentFile::Log.parse(&entry.name) else { continue };
            if !has_base(&self.segments, base) && !planted!(leave_strays) {
                self.put_segment_aside(base)?;
            }
        }
        Ok(())
    }

    pub(in crate::partition) fn put_segment_aside(&mut self, base: Offset) -> Result<()> {
        if self.data_dir.read_only {
            return Ok(());
        }
        // The snapshot of the last checkpoint may have the same offset in its name, and stays.
        let checkpointed = self.mark.recovery_offset;
        let aside = put_segment_aside(&*self.data_dir.env, &self.identity.dir, base, checkpointed)?;
        self.put_aside.extend(aside);
        Ok(())
    }
}
