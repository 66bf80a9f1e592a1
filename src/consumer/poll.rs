//! Polling: visiting the partitions in turn, and sleeping when there is nothing to read.
//!
//! A poll that finds nothing costs a few loads per partition and allocates nothing. A poll that waits takes the
//! signal's epoch before it looks, so that it misses nothing that happens between the look and the sleep: more records,
//! a wake-up, a topic that is created or deleted, the end of the handle.

use super::{Consumer, Interest, records::ConsumerRecords};
use crate::{
    env::{
        process::Process,
        sync::{AtomicBool, Ordering, Signal},
    },
    error::{Error, Result},
    topic::duty::Duty,
    types::IsolationLevel,
};
use std::{sync::Arc, time::Duration};

/// How long a consumer waits before it looks again at what another did: on a read-only handle the writer, and a
/// transaction that is about to commit where it begins.
const FOLLOW_EVERY: Duration = Duration::from_millis(10);

/// Wakes a consumer from another thread.
#[derive(Clone, Debug)]
pub struct WakeupHandle {
    woken: Arc<AtomicBool>,
    signal: Arc<Signal>,
    process: Process,
}

impl WakeupHandle {
    /// Makes one poll of the consumer fail with `Wakeup`: the one that is running, or else the next one. Calls before
    /// that poll count as one. In a forked child this does nothing: the consumer is the parent's.
    pub fn wakeup(&self) {
        if !self.process.is_this() {
            return;
        }
        planted!(a_wakeup_notifies_before_it_is_noted => self.signal.notify());
        unless_planted!(a_wakeup_between_polls_is_lost => self.woken.store(true, Ordering::SeqCst));
        unless_planted!(a_wakeup_notifies_before_it_is_noted => self.signal.notify());
    }
}

impl Consumer {
    /// Returns the records that follow those of earlier polls: from all partitions that have any, in turn, up to
    /// [`max_poll_records`](super::ConsumerBuilder::max_poll_records). When there are none, it waits for some, and
    /// returns none when `timeout` is over.
    ///
    /// The [resets](ConsumerRecords::resets) that were made come with the records.
    ///
    /// # Errors
    ///
    /// * `InvalidArgument` when nothing was [`subscribe`](Self::subscribe)d to or [`assign`](Self::assign)ed, as in
    ///   Kafka.
    /// * `Wakeup` when a [`WakeupHandle`] asked for it.
    /// * `Closed` when the log is closed, which also ends a sleep, or when the topic of an assigned partition is
    ///   deleted.
    /// * `NoOffset`, `OffsetOutOfRange` where [`AutoOffsetReset::None`](super::AutoOffsetReset::None) forbids a reset.
    /// * `Corrupt`, with file and position, when the next batch of a partition is damaged. The records before the
    ///   damage have been returned. The partition stays there until the program moves past it, with
    ///   [`skip_damage`](Self::skip_damage) or a [`seek`](Self::seek); the next poll continues with the other
    ///   partitions.
    /// * `Timeout` when the group's offset of a partition has been in an open transaction for a minute. The partition is
    ///   read when that has ended, the others meanwhile.
    /// * The failure of an [automatic commit](super::ConsumerBuilder::auto_commit).
    pub fn poll(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        self.check_process()?;
        self.catalog.data_dir().do_inline_work();
        let mut deadline = None;
        let mut passed = Vec::new();
        loop {
            let mut seen = self.signal.epoch();
            if self.woken.load(Ordering::SeqCst) && self.woken.swap(false, Ordering::SeqCst) {
                planted!(a_wakeup_stays => self.woken.store(true, Ordering::SeqCst));
                return Err(Error::Wakeup);
            }
            self.catalog.data_dir().check_not_closed()?;
            if self.interest == Interest::Nothing {
                return Err(reads_nothing());
            }
            if self.catalog.data_dir().read_only {
                self.follow_writer()?;
            }
            self.follow_catalog();
            unless_planted!(commit_one_poll_early => self.commit_when_due()?);
            let mut records = self.collect()?;
            planted!(commit_one_poll_early => self.commit_when_due()?);
            passed.append(&mut records.passed);
            if records.is_empty() && self.end_late_transactions() {
                continue;
            }
            let mut waits = records.is_empty() && !timeout.is_zero();
            planted!(a_poll_does_not_wait => waits = false);
            if waits {
                let now = self.policy.env.monotonic();
                let deadline = *deadline.get_or_insert_with(|| now.checked_add(timeout));
                if deadline.is_none_or(|deadline| now < deadline) {
                    let until = [deadline, self.look_again(now)].into_iter().flatten().min();
                    planted!(a_poll_looks_before_the_epoch => seen = self.signal.epoch());
                    self.policy.env.wait(&self.signal, seen, until);
                    continue;
                }
            }
            records.resets = std::mem::take(&mut self.resets);
            records.passed = passed;
            return Ok(records);
        }
    }

    /// A handle with which other threads wake this consumer.
    pub fn wakeup_handle(&self) -> WakeupHandle {
        WakeupHandle {
            woken: Arc::clone(&self.woken),
            signal: Arc::clone(&self.signal),
            process: self.catalog.data_dir().process,
        }
    }

    /// When a waiting poll must look again although nothing has notified it.
    fn look_again(&self, now: Duration) -> Option<Duration> {
        let looks_often = self.catalog.data_dir().read_only || self.unstable.is_on();
        let mut follow = looks_often.then_some(now.saturating_add(FOLLOW_EVERY));
        planted!(a_follower_sleeps_on => follow = None);
        let mut commit = self.auto_commit.map(|auto| match self.has_uncommitted() {
            true => auto.next,
            // Other consumers may have committed since; finding out is not worth spinning.
            false => auto.next.max(now.saturating_add(FOLLOW_EVERY)),
        });
        planted!(a_waiting_poll_commits_nothing => commit = None);
        let schedule = self.catalog.schedule();
        let late = self.waits_for_transactions().then(|| schedule.next(Duty::Transactions)).flatten();
        [follow, commit, late].into_iter().flatten().min()
    }

    /// Transactions whose time is over keep nobody waiting: where no task has ended them, the reader that waits does. Returns
    /// whether there were any.
    fn end_late_transactions(&self) -> bool {
        let schedule = self.catalog.schedule();
        let is_late = |at: Duration| at <= self.policy.env.monotonic();
        let any = self.waits_for_transactions() && schedule.next(Duty::Transactions).is_some_and(is_late);
        if any {
            schedule.run_due(Duty::Transactions);
        }
        any
    }

    fn waits_for_transactions(&self) -> bool {
        self.policy.isolation == IsolationLevel::ReadCommitted && !self.catalog.data_dir().read_only
    }

    /// Looks at what the writer did, but not too often.
    fn follow_writer(&mut self) -> Result<()> {
        let now = self.policy.env.monotonic();
        if self.followed.is_none_or(|last| now.saturating_sub(last) >= FOLLOW_EVERY) {
            self.followed = Some(now);
            self.catalog.refresh()?;
        }
        Ok(())
    }

    /// The records that are available now.
    fn collect(&mut self) -> Result<ConsumerRecords> {
        self.report_failure()?;
        if self.unbegun {
            self.begin()?;
        }
        let mut records = ConsumerRecords::default();
        let mut room = self.room;
        let count = self.places.len();
        let turn = self.turn;
        for i in 0..count {
            let at = (turn + i) % count;
            let Some(place) = self.places.get_mut(at).filter(|p| !p.is_idle() && p.position().is_some())
            else {
                continue;
            };
            let (before, position) = (records.chunks.len(), place.position());
            if let Err(error) = place.take(&mut room, &self.policy, &mut records.chunks, &mut self.resets) {
                place.failure = Some(error);
                self.failing = true;
            }
            let moved = place.position().filter(|now| Some(*now) != position);
            if records.chunks.len() > before {
                if let (Some(last), Some(now)) = (records.chunks.last_mut(), moved) {
                    last.next_offset = now;
                }
                // The partition that was served last comes last in the next poll.
                self.turn = (at + 1) % count;
                planted!(the_first_partition_comes_first => self.turn = 0);
            } else if let Some(now) = moved {
                records.passed.push((place.name().clone(), now));
            }
            if !room.is_left() {
                break;
            }
        }
        records.count = records.chunks.iter().map(|chunk| chunk.count).sum();
        if records.is_empty() {
            self.report_failure()?;
        }
        Ok(records)
    }

    /// Returns the failure of a place that has one to report.
    fn report_failure(&mut self) -> Result<()> {
        if !self.failing {
            return Ok(());
        }
        let mut failed = self.places.iter_mut().filter(|place| !place.is_paused());
        match failed.find_map(|place| place.failure.take()) {
            Some(error) => Err(error),
            None => {
                self.failing = false;
                Ok(())
            }
        }
    }
}

fn reads_nothing() -> Error {
    let reason = "the consumer has nothing to read: subscribe to topics or assign partitions before polling";
    Error::InvalidArgument { reason: reason.to_string() }
}
