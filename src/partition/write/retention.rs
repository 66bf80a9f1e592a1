//! Removing a prefix: by the log start, by size, by time; and nothing else ever.
//!
//! In Kafka's order and by its rules (`UnifiedLog.deleteOldSegments`). The new start is durable in the manifest before
//! the first file goes, so that a crash leaves at most files that nobody names; and so is the name of the segment that
//! it begins with, so that a crash leaves no name without a file. One removal runs at a time, beside no checkpoint.

use crate::{
    env::{sync::Ordering, trace::event},
    error::{Error, Result},
    partition::{
        log::Log,
        state::{settings::LogConfig, troubles::Chore},
        write::{
            load::ready,
            roll::{RollFor, roll},
        },
    },
    storage::{manifest::Flush, segment::Segment},
    types::{Offset, Timestamp},
};
use std::sync::Arc;

impl Log {
    /// Removes the segments that retention allows to go, and says how many went.
    pub fn apply_retention(self: &Arc<Self>) -> Result<usize> {
        let removed = self.try_retention()?;
        self.troubles.end(Chore::Retention);
        Ok(removed)
    }

    fn try_retention(self: &Arc<Self>) -> Result<usize> {
        let _no_checkpoint = self.checkpointing.lock();
        if self.refusal().is_some() {
            // Of what is damaged nothing is removed, and what is poisoned or closed is not written any more.
            return Ok(0);
        }
        let config = self.config();
        let before = std::mem::take(&mut *self.unremoved.lock());
        let remains = self.remove_files(&before);
        // Before all else: what is appended from here on was not looked at.
        let end = self.offsets.log_end();
        let log_start = self.offsets.log_start();
        let segments = self.segments.snapshot();
        let mut count = prefix(&segments, end, |_, upper| upper <= log_start);
        count = self.count_by_size(&segments, &config, count, 0);
        count = self.count_by_age(&segments, &config, count, end)?;
        let removed = self.remove_prefix(&segments, count, end)?;
        remains.map(|()| removed)
    }

    /// How many segments from the front must go, of which `count` do anyway, because of their age. One whose age damage
    /// hides stays, and the damage is part of the log's health.
    fn count_by_age(
        self: &Arc<Self>,
        segments: &[Arc<Segment>],
        config: &LogConfig,
        count: usize,
        end: Offset,
    ) -> Result<usize> {
        let Some(limit) = config.retention_time else { return Ok(count) };
        let oldest = self.data_dir.env.now().minus(limit);
        for (i, segment) in segments.iter().enumerate().skip(count) {
            let end = segments.get(i + 1).map_or(end, |next| next.base());
            match self.time_of(segment, end) {
                Ok(time) if time < oldest => {}
                Ok(_) | Err(Error::Corrupt { .. }) => return Ok(i),
                Err(error) => return Err(error),
            }
        }
        Ok(segments.len().max(count))
    }

    /// How many segments from the front must go, of which `count` do anyway, because of the log's size; `next` bytes are
    /// about to be appended to the active one.
    fn count_by_size(&self, segments: &[Arc<Segment>], config: &LogConfig, count: usize, next: u64) -> usize {
        let Some(limit) = config.retention_bytes else { return count };
        let removed: u64 = segments.iter().take(count).map(|s| s.readable()).sum();
        let mut left = self.size().saturating_sub(removed);
        let active = segments.last().map_or(0, |s| s.readable());
        let full = active.max(config.roll_bytes).max(next);
        let mut count = count;
        for (i, segment) in segments.iter().enumerate().skip(count) {
            let without = left.checked_sub(segment.readable());
            let by_kafka = without.is_some_and(|without| without >= limit)
                || planted!(retention_keeps_too_little) && left >= limit && i + 1 < segments.len();
            let is_sealed = i + 1 < segments.len();
            let by_bound =
                is_sealed && config.bytes_max.is_some_and(|most| left - active.min(left) + full > most);
            if !by_kafka && !by_bound {
                break;
            }
            left = without.unwrap_or(0);
            count += 1;
        }
        count
    }

    /// Whether the log, whose active segment was just rolled for `next` bytes, would hold too much with the next segment.
    pub(in crate::partition) fn exceeds_with(&self, config: &LogConfig, next: u64) -> bool {
        let sealed = || self.segment_count() > 1;
        config.bytes_max.is_some_and(|most| self.size().saturating_add(config.roll_bytes.max(next)) > most)
            && sealed()
    }

    /// Whether the log holds, without its oldest segment, as much as it is to keep.
    pub(in crate::partition) fn exceeds(&self, config: &LogConfig) -> bool {
        let Some(limit) =
            config.retention_bytes.filter(|limit| config.bytes_max.is_none() && self.size() >= *limit)
        else {
            return false;
        };
        let segments = self.segments.snapshot();
        let oldest = segments.first().filter(|_| segments.len() > 1);
        oldest.is_some_and(|oldest| self.size().saturating_sub(oldest.readable()) >= limit)
    }

    /// Removes the sealed segments that the log is too large with, and flushes them first where that was not done. It is
    /// part of an append, which does not fail because of this: what is left is tried again with the next checkpoint.
    pub(in crate::partition) fn shrink(&self, next: u64) {
        if self.try_to_shrink(next).is_err() {
            self.due.checkpoint_now();
        }
    }

    fn try_to_shrink(&self, next: u64) -> Result<()> {
        let _no_checkpoint = self.checkpointing.lock();
        if self.refusal().is_some() {
            return Ok(());
        }
        let end = self.offsets.log_end();
        let segments = self.segments.snapshot();
        let count =
            self.count_by_size(&segments, &self.config(), 0, next).min(segments.len().saturating_sub(1));
        if let Some(kept) = segments.get(count).filter(|_| count > 0) {
            self.flush_to(kept.base())?;
        }
        self.remove_prefix(&segments, count, end).map(drop)
    }

    /// Makes `offset` the first that can be read (Kafka's DeleteRecords). Segments wholly below it are removed.
    ///
    /// # Errors
    ///
    /// `OffsetOutOfRange` beyond the high watermark. At or below the log start nothing happens.
    pub fn advance_log_start(self: &Arc<Self>, offset: Offset) -> Result<Offset> {
        let high_watermark = self.offsets.high_watermark();
        let log_start = self.offsets.log_start();
        if offset > high_watermark && !planted!(delete_what_nobody_sees_yet) {
            return Err(Error::OffsetOutOfRange {
                partition: self.identity.name.clone(),
                requested: offset,
                earliest: log_start,
                latest: high_watermark,
            });
        }
        if offset <= log_start {
            // What an attempt before could not remove goes now.
            self.apply_retention()?;
            return Ok(log_start);
        }
        ready(self, &mut self.writer.lock())?;
        // The start becomes durable, so what it stands on must be.
        if !planted!(start_without_what_it_stands_on) {
            self.flush_to(offset)?;
        }
        self.write_start(offset)?;
        self.apply_retention()?;
        Ok(offset)
    }

    /// Has the manifest say that the log begins at `offset`, unless it begins there or later by now: the last word in the
    /// manifest is the one that a later opening believes.
    fn write_start(&self, offset: Offset) -> Result<()> {
        let _no_removal = self.checkpointing.lock();
        if let Some(error) = self.refusal() {
            // Poisoned, or closed meanwhile: nothing is written any more.
            return Err(error);
        }
        if offset <= self.offsets.log_start() {
            return Ok(());
        }
        self.append_to_manifest(self.identity.id().log_start(offset))?;
        self.offsets.change(|set| set.log_start = set.log_start.max(offset));
        self.trim_epochs(offset);
        Ok(())
    }

    /// Removes the first `count` of `segments`, which end at `end`; the active one is replaced by an empty one first,
    /// unless something was appended to it meanwhile.
    fn remove_prefix(&self, segments: &[Arc<Segment>], count: usize, end: Offset) -> Result<usize> {
        let high_watermark = self.offsets.high_watermark();
        let durable = self.flusher.flushed();
        let removable = |i: usize| {
            let upper = segments.get(i + 1).map_or(end, |next| next.base());
            let empty_active = i + 1 == segments.len() && segments.get(i).is_some_and(|s| s.readable() == 0);
            upper <= high_watermark && upper <= durable && !empty_active
        };
        let count = (0..count.min(segments.len())).take_while(|i| removable(*i)).count();
        if count == 0 || planted!(retention_removes_nothing) {
            return Ok(0);
        }
        self.data_dir.begin_writing()?;
        self.tidy_first()?;
        let below = match segments.get(count) {
            Some(first_left) => first_left.base(),
            None if self.roll_empty(end)? => end,
            None => return Ok(0),
        };
        self.keep_producers(below)?;
        // The manifest is about to name the segment that begins there as the first one, durably.
        let dir = &self.identity.dir;
        if !planted!(retention_leaves_a_nameless_segment) {
            self.data_dir.env.sync_dir(dir).map_err(|e| Error::io("flush", dir, e))?;
        }
        event!(INFO, partition = %self.identity.name, segments = count, "removing the oldest segments");
        let offset = below.max(self.offsets.log_start());
        let entries = self.identity.id().trimmed(offset, below);
        let flush = if planted!(files_go_before_the_manifest_says_so) { Flush::Later } else { Flush::Now };
        self.data_dir.manifest.append_to_make_room(&entries, flush)?;
        self.offsets.change(|set| set.log_start = set.log_start.max(offset));
        self.trim_epochs(offset);
        self.segments.change(|list| list.retain(|s| s.base() >= below));
        self.forget_removed(below);
        let removed = segments.get(..count).unwrap_or_default();
        let bytes: u64 = removed.iter().map(|segment| segment.readable()).sum();
        // What is appended meanwhile counts too, so the sum is not taken anew.
        let _ = self
            .size
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |size| Some(size.saturating_sub(bytes)));
        self.remove_files(removed).map(|()| count)
    }

    /// Has the first change of this life look for leftovers before anything is written: a first append meanwhile would take
    /// what is being written for one.
    fn tidy_first(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        if writer.is_recovered() {
            ready(self, &mut writer)?;
        }
        Ok(())
    }

    /// Removes the files of segments that no list has any more. All of them go, even if one cannot: that one is tried again
    /// with the next retention.
    fn remove_files(&self, removed: &[Arc<Segment>]) -> Result<()> {
        let mut first_error = Ok(());
        for segment in removed {
            if let Err(error) = segment.remove_files() {
                first_error = first_error.and(Err(error));
                if !planted!(a_file_is_removed_once) {
                    self.unremoved.lock().push(Arc::clone(segment));
                }
            }
        }
        first_error
    }

    /// Writes down what producers did below `below`, which only the segments say that are about to go.
    fn keep_producers(&self, below: Offset) -> Result<()> {
        let snapshot = self.writer.lock().loaded().and_then(|active| {
            active.pending.iter().find(|seal| seal.next_base == below).map(|seal| seal.snapshot.clone())
        });
        let forgets = planted!(forget_producers_of_what_goes);
        let Some(snapshot) = snapshot.filter(|snapshot| !snapshot.0.is_empty() && !forgets) else {
            return Ok(());
        };
        self.data_dir.making_room(|| self.write_snapshot(below, &snapshot))
    }

    /// Seals the active segment although nothing is to be appended; `false` when the log does not end at `end` any more.
    fn roll_empty(&self, end: Offset) -> Result<bool> {
        let mut writer = self.writer.lock();
        let active = ready(self, &mut writer)?;
        if active.position == 0 || self.offsets.log_end() != end {
            return Ok(false);
        }
        roll(self, active, end, RollFor::Removal)?;
        Ok(true)
    }

    fn forget_removed(&self, below: Offset) {
        if let Some(active) = self.writer.lock().loaded() {
            active.pending.retain(|p| p.segment.base() >= below);
        }
    }

    fn trim_epochs(&self, start: Offset) {
        if let Some(active) = self.writer.lock().loaded() {
            active.sidecars_dirty |= active.epochs.truncate_from_start(start);
        }
    }

    /// What time retention goes by: the largest timestamp of the records below `end`, or the file's own where no record has
    /// one.
    fn time_of(self: &Arc<Self>, segment: &Segment, end: Offset) -> Result<Timestamp> {
        let largest = match planted!(age_by_the_first_record) {
            true => segment.header_at(0)?.map_or(Timestamp::NONE, |header| header.max_timestamp),
            false => self.largest_timestamp_of(segment, end)?,
        };
        if largest > Timestamp::NONE {
            return Ok(largest);
        }
        let path = segment.data().path();
        let metadata = self.data_dir.env.metadata(path).map_err(|e| Error::io("measure", path, e))?;
        Ok(metadata.modified)
    }
}

/// How many segments from the front satisfy `goes`, which is told the offset behind each.
fn prefix(segments: &[Arc<Segment>], end: Offset, goes: impl Fn(&Segment, Offset) -> bool) -> usize {
    let upper = |i: usize| segments.get(i + 1).map_or(end, |next| next.base());
    segments.iter().enumerate().take_while(|(i, segment)| goes(segment, upper(*i))).count()
}

#[cfg(test)]
mod tests {
    use crate::{RecordData, Streamlog, TopicConfig, partition::write::retention::*};

    fn log_of_four_segments() -> (Streamlog, Arc<Log>) {
        let log = Streamlog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap();
        let partition = topic.partition(0).unwrap();
        for _ in 0..4 {
            partition.append(&[RecordData::new(&[7; 400])]).unwrap();
        }
        (log, Arc::clone(partition.log()))
    }

    #[test]
    fn what_was_appended_after_the_look_stays() {
        let (streamlog, log) = log_of_four_segments();
        let (segments, end) = (log.segments.snapshot(), log.offsets.log_end());
        let partition = streamlog.topic("t").unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("acknowledged")]).unwrap();
        assert_eq!(log.remove_prefix(&segments, 4, end).unwrap(), 0);
        assert_eq!(partition.read(4).next().unwrap().unwrap().iter().count(), 1);
    }

    #[test]
    fn a_look_that_has_become_old_removes_no_more_than_it_saw() {
        let (_streamlog, log) = log_of_four_segments();
        let (segments, end) = (log.segments.snapshot(), log.offsets.log_end());
        assert_eq!(log.remove_prefix(&segments, 2, end).unwrap(), 2);
        log.remove_prefix(&segments, 2, end).unwrap();
        assert_eq!(log.first_base(), Some(Offset::new(2)));
        assert_eq!(log.offsets.log_start(), 2);
    }

    #[cfg(all(feature = "sim", feature = "__planted"))]
    fn producers_outlive_the_removal_of_everything() {
        use crate::{
            codec::builder::BatchBuilder,
            config::Builder,
            partition::write::append::Appended,
            sim::{Crash, SimEnv},
            types::Compression,
        };
        fn append(log: &Log, sequence: i32) -> Appended {
            let mut builder = BatchBuilder::new();
            builder.append(Timestamp::from_millis(1), None, Some(b"x"), &[]).unwrap();
            let mut batch = builder.seal(Compression::None, None).unwrap();
            batch.set_producer(9, 0, sequence);
            let appended = log.append(&mut batch).unwrap();
            log.acknowledge(appended.next_offset, true).unwrap();
            appended
        }
        let open = |env: &SimEnv| Builder::env(env, "/data").background_thread(false).open().unwrap();
        let env = SimEnv::new(1);
        let streamlog = open(&env);
        let partition = streamlog.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        for sequence in 0..7 {
            append(partition.log(), sequence);
        }
        env.record();
        partition.log().advance_log_start(Offset::new(7)).unwrap();
        let recording = env.recording();
        let mut cursor = recording.cursor();
        let mut removed = 0;
        while cursor.advance().is_some() {
            for (seed, crash) in (0..).zip(Crash::ALL) {
                let streamlog = open(&cursor.crash(crash, seed));
                let partition = streamlog.topic("t").unwrap().partition(0).unwrap();
                removed += u32::from(partition.log_start_offset() == 7);
                let retry = append(partition.log(), 4);
                assert_eq!((retry.duplicate, retry.base_offset), (true, Offset::new(4)), "{crash:?}");
                let next = append(partition.log(), 7);
                assert_eq!((next.duplicate, next.base_offset), (false, Offset::new(7)), "{crash:?}");
            }
        }
        assert!(removed > 10);
    }

    #[cfg(all(feature = "sim", feature = "__planted"))]
    #[test]
    fn what_producers_did_is_durable_before_the_removal_of_everything_moves_the_start() {
        use crate::planted;
        producers_outlive_the_removal_of_everything();
        planted::plant(Some("forget_producers_of_what_goes"));
        let unnoticed = std::panic::catch_unwind(producers_outlive_the_removal_of_everything).is_ok();
        planted::plant(None);
        assert!(!unnoticed);
    }
}
