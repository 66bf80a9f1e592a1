//! A recovery under way: what is known so far of a log whose files must be read.
//!
//! `recover` conducts it. Its steps lie beside it: what a closed log's directory holds in `changed`, what the page cache
//! may hide after a failed flush in `distrusted_page_cache`; which files are leftovers in `write/leftovers.rs`.

use crate::{
    codec::{manifest::PartitionClosed, mark::Mark},
    env::DirEntry,
    error::Result,
    partition::{
        open::{
            damaged_range::Contents,
            report::{PartitionRecovery, RecoveryVerdict},
            segments::{all_listed, know_what_a_mark_says},
        },
        state::{identity::Identity, log_config::LogConfig, replay::Replay, segment_list::has_base},
        write::{
            leftovers::{remove_leftover, was_removed},
            quarantine::put_segment_aside,
        },
    },
    storage::{
        data_dir::DataDir,
        foreign_files::{entries_of, remove_if_there},
        layout::SegmentFile,
        manifest::{PartitionState, ProducersAtStart},
        scan::ReadPath,
        segment::Segment,
        swap::SwapFiles,
    },
    types::Offset,
};
use std::{ops::Range, path::PathBuf, sync::Arc};

/// Gets how many bytes were read since its last call; returns whether to continue.
pub type GoOn<'a> = dyn FnMut(u64) -> bool + 'a;

/// A recovery under way.
pub(in crate::partition) struct Recovery<'a> {
    pub data_dir: &'a Arc<DataDir>,
    pub identity: &'a Identity,
    pub mark: Mark,
    pub segments: Vec<Arc<Segment>>,
    pub config: &'a Arc<LogConfig>,
    pub source: ReadPath,
    /// Everything below was durable.
    pub durable: Offset,
    pub log_start: Offset,
    pub producers_at_start: Option<ProducersAtStart>,
    /// A cleaner has gone through everything below.
    pub cleaned: Offset,
    /// Whether the log was closed, and its files changed afterwards.
    pub was_closed: bool,
    /// How many of the segments the manifest names; others may follow them in a log that was closed.
    pub named: usize,
    /// What another writer appended to a log that was closed.
    pub adopted: Option<Foreign>,
    /// The offsets that another writer removed.
    pub removed: Option<Range<Offset>>,
    /// Whether the mark is lost, so that nobody knows what else was durable. Every partition has had a durable mark
    /// since before it had records.
    pub mark_is_lost: bool,
    /// Why nothing may be changed, where that is so.
    pub hands_off: Option<HandsOff>,
    pub verdict: RecoveryVerdict,
    pub quarantined: Vec<PathBuf>,
    /// The contents of the batches that were read.
    pub contents: Contents,
}

/// Why a partition whose end was found can only be read.
pub(in crate::partition) struct HandsOff {
    pub reason: String,
    /// Whether what lies above the durable end may not be on the medium.
    pub unproven: bool,
}

/// Offsets that another writer assigned, and the leader epoch of the last.
pub(in crate::partition) type Foreign = (Range<Offset>, i32);

impl<'a> Recovery<'a> {
    /// Begins with what the manifest and the mark say, or with the closing record of a log that has changed since.
    pub fn of(
        data_dir: &'a Arc<DataDir>,
        identity: &'a Identity,
        config: &'a Arc<LogConfig>,
        state: &PartitionState,
    ) -> Result<Self> {
        let partition = identity.name.partition;
        let closed = state.closed.as_ref();
        let known = match closed {
            Some(closed) => Some(mark_of_closing(identity, closed)),
            None => data_dir.marks.read(identity.slot, &identity.topic_id, partition)?,
        };
        let mut mark_is_lost = known.is_none();
        planted!(a_lost_mark_is_a_blank_one => mark_is_lost = false);
        let mark = known.unwrap_or_else(|| Mark::blank(&identity.topic_id, partition));
        let segments = all_listed(data_dir, identity, config, state, 0);
        know_what_a_mark_says(&segments, &mark);
        Ok(Recovery {
            data_dir,
            identity,
            mark,
            segments,
            config,
            source: if data_dir.read_only { ReadPath::Cache } else { ReadPath::Flushed },
            durable: mark.flushed_offset.max(state.log_start),
            log_start: closed.map_or(state.log_start, |closed| closed.log_start.max(state.log_start)),
            producers_at_start: state.producers_at_start,
            cleaned: state.cleaned,
            was_closed: closed.is_some(),
            named: state.segments.len(),
            adopted: None,
            removed: None,
            mark_is_lost,
            hands_off: None,
            verdict: RecoveryVerdict::Whole,
            quarantined: Vec::new(),
            contents: Contents::default(),
        })
    }

    /// Whether files may be changed.
    pub fn may_change(&self) -> bool {
        !self.data_dir.read_only && self.hands_off.is_none()
    }

    /// Swaps that were decided come to their end, so that every segment has its name; what was being written for others goes.
    /// Gets the entries of the directory, and returns those that there are afterwards.
    fn finish_swaps(&self, entries: Vec<DirEntry>) -> Result<Vec<DirEntry>> {
        let (env, dir) = (&*self.data_dir.env, &self.identity.dir);
        let state = self.data_dir.manifest.state();
        let Some(known) = state.of(self.identity.id()).filter(|_| !self.data_dir.read_only) else {
            return Ok(entries);
        };
        let found = SwapFiles::among(env, dir, &entries, known)?;
        let unfinished = found.unfinished(dir, &entries, known, self.mark.recovery_offset);
        if unfinished.is_none() && found.abandoned.is_empty() {
            return Ok(entries);
        }
        if let Some(swap) = unfinished {
            swap.finish(env)?;
        }
        found.abandoned.iter().try_for_each(|path| remove_if_there(env, path))?;
        entries_of(env, dir)
    }

    /// Puts aside segment files that the manifest does not name, so that nothing dropped ever comes back.
    pub(in crate::partition) fn put_strays_aside(&mut self) -> Result<()> {
        let dir = &self.identity.dir;
        let mut entries = entries_of(&*self.data_dir.env, dir)?;
        unless_planted!(a_decided_swap_is_forgotten => entries = self.finish_swaps(entries)?);
        let state = self.data_dir.manifest.state();
        let log_start = state.of(self.identity.id()).map_or(Offset::ZERO, |p| p.log_start);
        let first = self.segments.first().map_or(Offset::ZERO, |first| first.base());
        for entry in entries {
            let may_remove = !self.data_dir.read_only && entry.is_file();
            if may_remove && was_removed(&self.data_dir.pool, dir, &entry.name, first.min(log_start))? {
                remove_leftover(&*self.data_dir.env, dir, &entry.name)?;
                continue;
            }
            let Some(base) = SegmentFile::Log.parse(&entry.name) else { continue };
            if !has_base(&self.segments, base) {
                unless_planted!(leave_strays => self.put_segment_aside(base)?);
            }
        }
        Ok(())
    }

    pub(in crate::partition) fn put_segment_aside(&mut self, base: Offset) -> Result<()> {
        if self.data_dir.read_only {
            return Ok(());
        }
        // The snapshot of the last checkpoint may have the same offset in its name, and stays.
        let aside = put_segment_aside(self.data_dir, self.identity, base, self.mark.recovery_offset)?;
        self.quarantined.extend(aside);
        Ok(())
    }

    /// The report, once the replay has reached the log's end.
    pub fn report(&self, replay: &Replay) -> PartitionRecovery {
        PartitionRecovery {
            bytes_read: replay.bytes_read,
            verdict: self.verdict.clone(),
            quarantined: self.quarantined.clone(),
            adopted: self.adopted.as_ref().map(|(range, _)| range.clone()),
            removed: self.removed.clone(),
            unreadable: self.contents.unreadable.clone(),
            ..PartitionRecovery::whole(&self.identity.name, replay.next_offset)
        }
    }
}

/// The mark of a log that was closed like this: all of it is durable, and checkpointed.
pub(in crate::partition) fn mark_of_closing(identity: &Identity, closed: &PartitionClosed) -> Mark {
    let (topic, partition) = (&identity.topic_id, identity.name.partition);
    Mark::at(topic, partition, closed.next_offset, closed.size, closed.index_checksum)
}
