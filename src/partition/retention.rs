//! Removing a prefix: by the log start, by size, by time; and nothing else ever.
//!
//! In Kafka's order and by its rules (`UnifiedLog.deleteOldSegments`). The new start is durable in the manifest before
//! the first file goes, so that a crash leaves at most files that nobody names.

use super::log::Log;
use crate::{
    codec::manifest::Entry,
    env::trace::event,
    error::{Error, Result},
    storage::{manifest::Flush, segment::Segment},
    types::{Offset, Timestamp},
};
use std::sync::Arc;

impl Log {
    /// Removes the segments that retention allows to go, and says how many went.
    pub fn apply_retention(&self) -> Result<usize> {
        let config = self.config();
        let log_start = self.offsets.log_start();
        let segments = self.segments.snapshot();
        let mut count = prefix(&segments, self.offsets.log_end(), |_, upper| upper <= log_start);
        if let Some(limit) = config.retention_bytes {
            let mut excess = i128::from(self.size()) - i128::from(limit);
            let removed: u64 = segments.iter().take(count).map(|s| s.readable()).sum();
            excess -= i128::from(removed);
            for segment in segments.iter().skip(count) {
                excess -= i128::from(segment.readable());
                if excess < 0 {
                    break;
                }
                count += 1;
            }
        }
        if let Some(limit) = config.retention_time {
            let oldest = self.shared.env.now().minus(limit);
            while let Some(segment) = segments.get(count) {
                if self.age_of(segment)? >= oldest {
                    break;
                }
                count += 1;
            }
        }
        self.remove_prefix(&segments, count)
    }

    /// Makes `offset` the first that can be read (Kafka's DeleteRecords). Segments wholly below it are removed.
    ///
    /// # Errors
    ///
    /// `OffsetOutOfRange` beyond the high watermark. At or below the log start nothing happens.
    pub fn advance_log_start(&self, offset: Offset) -> Result<Offset> {
        let high_watermark = self.offsets.high_watermark();
        let log_start = self.offsets.log_start();
        if offset > high_watermark {
            return Err(Error::OffsetOutOfRange {
                partition: self.identity.name.clone(),
                requested: offset,
                earliest: log_start,
                latest: high_watermark,
            });
        }
        if offset <= log_start {
            return Ok(log_start);
        }
        // The start becomes durable, so what it stands on must be.
        self.flush_to(offset)?;
        self.shared.begin_writing()?;
        let (id, partition) = (self.identity.topic_id, self.identity.name.partition);
        self.append_to_manifest(Entry::LogStart { id, partition, offset })?;
        self.offsets.change(|set| set.log_start = set.log_start.max(offset));
        self.ready(&mut self.writer.lock())?;
        self.trim_epochs(offset);
        self.apply_retention()?;
        Ok(offset)
    }

    /// Removes the first `count` of `segments`; the active one is replaced by an empty one first.
    fn remove_prefix(&self, segments: &[Arc<Segment>], count: usize) -> Result<usize> {
        let (high_watermark, end) = (self.offsets.high_watermark(), self.offsets.log_end());
        let durable = self.flusher.flushed();
        let removable = |i: usize| {
            let upper = segments.get(i + 1).map_or(end, |next| next.base());
            let empty_active = i + 1 == segments.len() && segments.get(i).is_some_and(|s| s.readable() == 0);
            upper <= high_watermark && upper <= durable && !empty_active
        };
        let count = (0..count.min(segments.len())).take_while(|i| removable(*i)).count();
        if count == 0 {
            return Ok(0);
        }
        self.shared.begin_writing()?;
        if count == segments.len() && !self.roll_empty()? {
            return Ok(0);
        }
        event!(INFO, partition = %self.identity.name, segments = count, "removing the oldest segments");
        let segments = self.segments.snapshot();
        let Some(first_left) = segments.get(count) else { return Ok(0) };
        let below = first_left.base();
        let (id, partition) = (self.identity.topic_id, self.identity.name.partition);
        let offset = below.max(self.offsets.log_start());
        let entries =
            [Entry::LogStart { id, partition, offset }, Entry::SegmentsRemoved { id, partition, below }];
        self.shared.manifest.append(&entries, Flush::Now)?;
        self.offsets.change(|set| set.log_start = set.log_start.max(offset));
        self.trim_epochs(offset);
        self.segments.change(|list| list.retain(|s| s.base() >= below));
        self.forget_removed(below);
        self.recount();
        segments.iter().take(count).try_for_each(|segment| segment.remove_files())?;
        Ok(count)
    }

    /// Seals the active segment although nothing is to be appended; `false` when it changed meanwhile.
    fn roll_empty(&self) -> Result<bool> {
        let mut writer = self.writer.lock();
        let base = self.offsets.log_end();
        let active = self.ready(&mut writer)?;
        if active.position == 0 {
            return Ok(false);
        }
        self.roll(active, base)?;
        Ok(true)
    }

    fn forget_removed(&self, below: Offset) {
        let mut writer = self.writer.lock();
        if let super::log::Writer::Ready(active) | super::log::Writer::Loaded(active) = &mut *writer {
            active.pending.retain(|p| p.segment.base() >= below);
        }
    }

    fn trim_epochs(&self, start: Offset) {
        let mut writer = self.writer.lock();
        if let super::log::Writer::Ready(active) | super::log::Writer::Loaded(active) = &mut *writer {
            active.sidecars_dirty |= active.epochs.truncate_from_start(start);
        }
    }

    /// What time retention goes by: the largest timestamp, or the file's own where no record has one.
    fn age_of(&self, segment: &Segment) -> Result<Timestamp> {
        let largest = segment.largest_timestamp()?;
        if largest > Timestamp::NONE {
            return Ok(largest);
        }
        let path = segment.data().path();
        let metadata = self.shared.env.metadata(path).map_err(|e| Error::io("measure", path, e))?;
        Ok(metadata.modified)
    }
}

/// How many segments from the front satisfy `goes`, which is told the offset behind each.
fn prefix(segments: &[Arc<Segment>], end: Offset, goes: impl Fn(&Segment, Offset) -> bool) -> usize {
    let upper = |i: usize| segments.get(i + 1).map_or(end, |next| next.base());
    segments.iter().enumerate().take_while(|(i, segment)| goes(segment, upper(*i))).count()
}
