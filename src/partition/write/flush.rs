//! Becoming durable: one flush serves every append before it.
//!
//! A caller that needs a flush while one runs waits for the next one (leader and followers). The mark says, before and
//! after each flush, how far it goes, so that an opening after a crash knows what was promised and whether a flush was
//! in flight. A failed flush is final: it poisons the log, every waiting caller gets the same error, and nothing is
//! tried again. A flush that ends in a panic counts as failed.
//!
//! In a `Flushed` topic the mark announces a batch before it is written: where the announcement fails, nothing is
//! appended. Where it must be repeated before the flush, and fails, the flush does not begin: its callers get the
//! error, the log is not poisoned, and what they appended becomes durable and visible with the next flush. What the
//! mark says after a flush is a hint for others; where it cannot be written, the flush counts all the same, and the
//! next mark makes up for it.

use crate::{
    codec::mark::Mark,
    env::trace::event,
    error::{Error, Result},
    partition::{
        log::Log,
        state::{append_state::PendingSeal, flush_state::Request},
        write::remove::forget_removed,
    },
    storage::{foreign_files::sync_dir, segment::Segment},
    types::{Durability, Offset},
};
use std::{io, sync::Arc};

/// What a log has to flush.
enum Unflushed {
    Work(Work),
    /// Nothing was appended since the opening, and this is the end of the log.
    NothingBelow(Offset),
}

/// What one flush has to do.
struct Work {
    end: Offset,
    position: u64,
    segment: Arc<Segment>,
    sealed: Vec<PendingSeal>,
    names: bool,
    /// How many records it takes off the count of flush.messages.
    records: u64,
}

/// The turn of the caller that flushes for all. If it ends in a panic, nobody knows what is on the medium: the log is
/// poisoned, and every waiting caller gets the error.
struct Turn<'a>(&'a Log);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        planted!(a_flush_that_panics_goes_on => return);
        let Turn(log) = self;
        let reason = io::Error::other("the flush ended in a panic");
        let error = log.poison(&Error::io("flush", &log.identity.dir, reason));
        log.end_turn(&Err(error));
    }
}

impl Log {
    /// Returns when everything below `end` is durable, or with the error that keeps it from becoming so.
    pub fn flush_to(&self, end: Offset) -> Result<()> {
        let end = end.min(self.offsets.log_end());
        loop {
            let mut seen = self.flusher.done.epoch();
            match self.flusher.request(end)? {
                Request::Durable => return Ok(()),
                Request::Running => {
                    planted!(believe_a_flush_that_runs => return Ok(()));
                    planted!(take_the_epoch_too_late => seen = self.flusher.done.epoch());
                    self.data_dir.env.wait(&self.flusher.done, seen, None);
                }
                Request::Lead => self.lead()?,
            }
        }
    }

    /// Flushes everything appended so far, for all waiting callers. An error before anything was flushed is the
    /// leader's alone; the caller that leads next meets it too.
    fn lead(&self) -> Result<()> {
        let turn = Turn(self);
        let result = self.flush_once();
        std::mem::forget(turn);
        self.end_turn(&result);
        result.map(drop)
    }

    /// Reports the outcome of a flush, and lets the next one begin.
    fn end_turn(&self, result: &Result<Offset>) {
        self.flusher.ended(result);
        planted!(a_flush_wakes_nobody => if result.is_ok() { return });
        planted!(a_failed_flush_wakes_nobody => if result.is_err() { return });
        self.flusher.done.notify();
    }

    fn flush_once(&self) -> Result<Offset> {
        let work = match self.take_work()? {
            Unflushed::Work(work) => work,
            Unflushed::NothingBelow(end) => return Ok(end),
        };
        if let Err(error) = self.announce(work.end) {
            self.give_back(&work);
            return Err(error);
        }
        planted!(mark_ahead_of_the_flush => self.write_mark(|mark| mark.flushed_offset = work.end)?);
        planted!(mark_ahead_of_the_flush => self.data_dir.marks.flush()?);
        match self.make_durable(&work) {
            Ok(()) => {
                self.note_flushed(&work);
                self.publish_durable(work.end);
                Ok(work.end)
            }
            Err(error) => {
                planted!(retry_a_failed_flush => work.segment.sync()?);
                planted!(retry_a_failed_flush => self.publish_durable(work.end));
                planted!(retry_a_failed_flush => return Ok(work.end));
                event!(ERROR, partition = %self.identity.name, %error, "a flush failed; the partition accepts no more appends");
                let poisoned = self.poison(&error);
                // Best effort: without it the mark's two ends still differ, which says the same.
                let _ = self.write_mark(|mark| mark.failed = true);
                Err(poisoned)
            }
        }
    }

    /// What there is to flush.
    fn take_work(&self) -> Result<Unflushed> {
        let mut writer = self.writer.lock();
        writer.check()?;
        let Some(active) = writer.opened() else {
            return Ok(Unflushed::NothingBelow(self.offsets.log_end()));
        };
        forget_removed(self, active);
        let records = std::mem::take(&mut active.since_flush);
        let end = self.offsets.log_end();
        // An announced write that failed is no longer in flight.
        self.flusher.nothing_beyond(end);
        Ok(Unflushed::Work(Work {
            end,
            position: active.position,
            segment: Arc::clone(&active.segment),
            sealed: active.pending.clone(),
            names: active.names_dirty,
            records,
        }))
    }

    /// None of this work was done; the next flush must do it.
    fn give_back(&self, work: &Work) {
        if let Some(active) = self.writer.lock().opened() {
            active.since_flush += work.records;
        }
    }

    /// In this order: the sealed segments, the names that lead to the tail, the tail.
    fn make_durable(&self, work: &Work) -> Result<()> {
        for seal in &work.sealed {
            unless_planted!(no_flush_on_roll => seal.segment.sync()?);
        }
        if work.names {
            unless_planted!(no_directory_flush => sync_dir(&*self.data_dir.env, &self.identity.dir)?);
            unless_planted!(no_manifest_flush => self.data_dir.manifest.flush()?);
            self.names_flushed(&work.segment);
        }
        work.segment.sync()
    }

    /// The names that existed when `newest` was the active segment are durable. Until then they count as new for every
    /// flush, and those of a roll in between still do.
    pub(in crate::partition) fn names_flushed(&self, newest: &Arc<Segment>) {
        if let Some(active) = self.writer.lock().opened() {
            active.names_flushed(newest);
        }
    }

    /// Raises the high watermark of a `Flushed` topic to what has become durable.
    fn publish_durable(&self, end: Offset) {
        let mut writer = self.writer.lock();
        let high_watermark = match self.config().durability {
            Durability::Flushed => end.max(self.offsets.high_watermark()),
            _ => self.offsets.high_watermark(),
        };
        let last_stable = match writer.opened() {
            Some(active) => {
                active.producers.durable_below(end);
                active.stable_below(high_watermark)
            }
            None => self.offsets.last_stable(),
        };
        let (high_before, stable_before) = (self.offsets.high_watermark(), self.offsets.last_stable());
        let set = self.offsets.change(|set| {
            set.high_watermark = high_watermark;
            set.last_stable = last_stable;
        });
        // Only now: who reads up to the high watermark learns from the list what the markers above it say.
        self.pending_markers.durable_below(end);
        drop(writer);
        self.waiters.notify(set.high_watermark > high_before, set.last_stable > stable_before);
    }

    /// Records in the mark that data below `end` may be on its way to the medium, before it is written or flushed. The
    /// slot is written where it announces nothing yet.
    pub(in crate::partition) fn announce(&self, end: Offset) -> Result<()> {
        planted!(flush_unannounced => return Ok(()));
        self.flusher.announce(end, self.slot())
    }

    /// Records in the mark what a flush made durable. Where the slot cannot be written, it claims less than is durable,
    /// which is harmless; the next mark, or the checkpoint that is due now, makes up for it.
    fn note_flushed(&self, work: &Work) {
        if self.flusher.made_durable(work.end, work.position, self.slot()).is_err() {
            self.due.checkpoint_now();
        }
    }

    /// Changes the mark and writes its slot. The slot itself is flushed with a checkpoint.
    pub(in crate::partition) fn write_mark(&self, change: impl FnOnce(&mut Mark)) -> Result<()> {
        self.flusher.change_mark(change, self.slot())
    }

    /// What writes this log's slot among the marks.
    fn slot(&self) -> impl Fn(&Mark) -> Result<()> + '_ {
        self.data_dir.marks.writer(self.identity.slot)
    }

    /// Returns when no flush is under way.
    pub(in crate::partition) fn wait_for_flush(&self) {
        loop {
            let seen = self.flusher.done.epoch();
            if !self.flusher.is_running() {
                return;
            }
            self.data_dir.env.wait(&self.flusher.done, seen, None);
        }
    }

    /// Makes everything appended so far durable.
    pub fn flush(&self) -> Result<()> {
        self.flush_to(self.offsets.log_end())
    }

    /// Whether something appended is not durable yet.
    #[cfg(test)]
    pub fn is_dirty(&self) -> bool {
        self.flusher.flushed() < self.offsets.log_end()
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Durability, RecordData, TopicConfig,
        config::Builder,
        sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    };

    #[test]
    fn records_of_a_flush_that_could_not_begin_count_for_the_next_one() {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
        let config = TopicConfig::default().durability(Durability::Written).flush_messages(2);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("one")]).unwrap();
        env.inject(Fault::new(FaultKind::Io).on(Operation::Write).path("marks"));
        partition.append(&[RecordData::new("two")]).unwrap_err();
        partition.append(&[RecordData::new("three")]).unwrap();
        let log = Builder::env(&env.crash(Crash::Nothing, 1), "/data").open().unwrap();
        assert_eq!(log.topic("t").unwrap().partition(0).unwrap().log_end_offset(), 3);
    }
}
