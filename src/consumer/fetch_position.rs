//! A consumer's place in one partition.
//!
//! A place has no position until it is begun: at a committed offset, by a seek or by a reset. From then on it moves
//! from batch to batch. Its position is the next offset to return. Records are passed when they are taken; a batch
//! without records for the program (control, aborted, emptied by compaction) is passed when it is met.

use super::{
    records::Chunk,
    reset::{OffsetReset, Policy, ResetReason, Since},
};
use crate::{
    codec::record::{Cursor, ValidRecords},
    env::sync::Signal,
    error::{Error, Result},
    partition::{
        log::Log,
        read::visible::{VisibleBatch, VisibleBatches},
    },
    types::{IsolationLevel, Offset, Timestamp, TopicPartition},
};
use std::{ops::Range, sync::Arc};

/// How much a poll may still take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Room {
    pub(super) fn is_left(&self) -> bool {
        self.records > 0 && self.bytes > 0
    }
}

/// A place in one partition.
#[derive(Debug)]
pub(super) struct FetchPosition {
    batches: VisibleBatches,
    isolation: IsolationLevel,
    signal: Arc<Signal>,
    /// When its consumer chose this partition; `None` if the partition was added later.
    pub(super) since: Option<Since>,
    begun: bool,
    position: Offset,
    /// What this consumer last committed, or began from. The group may have another offset by now.
    pub(super) committed: Option<Offset>,
    /// The batch that is being returned, and how much of it was.
    current: Option<Current>,
    paused: bool,
    deleted: bool,
    /// What the next poll reports before anything else.
    pub(super) failure: Option<Error>,
    /// The offsets from the position at which damage was met to the end of that damage.
    damaged: Option<Range<Offset>>,
}

#[derive(Debug)]
struct Current {
    records: ValidRecords,
    cursor: Cursor,
    next_offset: Offset,
}

impl Current {
    /// The records of `batch` that are still to be returned.
    #[inline(always)]
    fn of(batch: VisibleBatch) -> Self {
        let VisibleBatch { header, records, from, .. } = batch;
        let mut cursor = Cursor::default();
        if header.base_offset < from {
            let mut iter = records.iter();
            let mut target = from;
            planted!(a_seek_lands_past_its_record => target += 1);
            while iter.next().is_some_and(|record| record.offset < target) {
                cursor = iter.cursor();
            }
        }
        Current { records, cursor, next_offset: header.next_offset() }
    }

    /// How many records are left.
    fn left(&self) -> usize {
        self.records.len().saturating_sub(self.cursor.index as usize)
    }
}

impl FetchPosition {
    /// A place without a position. From now on `signal` is notified when there is more to read.
    pub(super) fn new(
        log: Arc<Log>,
        isolation: IsolationLevel,
        signal: &Arc<Signal>,
        since: Option<Since>,
    ) -> Self {
        log.waiters.register(signal, isolation);
        FetchPosition {
            batches: VisibleBatches::new(log, isolation, Offset::ZERO),
            isolation,
            signal: Arc::clone(signal),
            since,
            begun: false,
            position: Offset::ZERO,
            committed: None,
            current: None,
            paused: false,
            deleted: false,
            failure: None,
            damaged: None,
        }
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        self.batches.log()
    }

    pub(super) fn name(&self) -> &TopicPartition {
        &self.log().identity.name
    }

    /// The next offset to return; `None` before the place is begun.
    pub(super) fn position(&self) -> Option<Offset> {
        self.begun.then_some(self.position)
    }

    /// Moves to `offset`.
    pub(super) fn seek(&mut self, offset: Offset) {
        self.batches.seek(offset);
        unless_planted!(a_seek_keeps_what_was_fetched => self.current = None);
        self.failure = None;
        self.position = offset;
        self.begun = true;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Pauses or resumes. A paused place returns no records and does not wake its consumer.
    pub(super) fn pause(&mut self, paused: bool) {
        if paused == self.paused {
            return;
        }
        self.paused = paused;
        planted!(a_pause_drops_what_was_fetched => self.current = None);
        let waiters = &self.log().waiters;
        if paused {
            waiters.remove(&self.signal);
        } else {
            unless_planted!(what_is_resumed_wakes_nobody => waiters.register(&self.signal, self.isolation));
        }
    }

    /// Whether there is a position, and it can be committed.
    pub(super) fn is_committable(&self) -> bool {
        self.begun && !self.deleted && self.beyond_end().is_none()
    }

    /// Whether there is a position to commit that this consumer has not committed last.
    pub(super) fn is_uncommitted(&self) -> bool {
        self.committed != Some(self.position) && self.is_committable()
    }

    /// Why the position cannot be committed: a seek went beyond the end, from where no consumer could resume. The next
    /// poll resets it.
    pub(super) fn beyond_end(&self) -> Option<Error> {
        let offsets = self.log().offsets();
        let beyond = self.begun && !self.deleted && self.position > offsets.log_end();
        beyond.then(|| Error::OffsetOutOfRange {
            partition: self.name().clone(),
            requested: self.position,
            earliest: offsets.log_start(),
            latest: offsets.log_end(),
        })
    }

    /// Moves past the damage that ends at `next`, if this place stands before it, and returns the offsets that are
    /// skipped.
    pub(super) fn skip_damage(&mut self, next: Offset) -> Option<Range<Offset>> {
        let damaged = self.damaged.clone().filter(|damaged| damaged.end == next)?;
        let mut is_here = damaged.start == self.position;
        planted!(any_damage_is_skipped => is_here = true);
        if !is_here {
            return None;
        }
        self.seek(next);
        Some(damaged)
    }

    /// The topic was deleted: every poll reports it.
    pub(super) fn delete(&mut self) {
        self.deleted = true;
    }

    /// Whether a poll has nothing to do here. A few loads.
    pub(super) fn is_idle(&self) -> bool {
        if self.paused {
            planted!(what_is_paused_is_read => return false);
            return true;
        }
        let at_end = || {
            let offsets = self.log().offsets();
            let bound = offsets.bound(self.isolation);
            self.position >= bound && (self.position == bound || self.position <= offsets.log_end())
        };
        self.begun && !self.deleted && self.current.is_none() && self.batches.holds_none() && at_end()
    }

    /// Takes records while there is room. After an error, `chunks` has the records before it, and the next call comes
    /// to the same batch.
    pub(super) fn take(
        &mut self,
        room: &mut Room,
        policy: &Policy,
        chunks: &mut Vec<Chunk>,
        resets: &mut Vec<OffsetReset>,
    ) -> Result<()> {
        if self.deleted {
            return Err(Error::deleted(&self.name().topic));
        }
        while room.is_left() {
            let reached = self.reach(policy, resets).inspect_err(|error| {
                self.damaged = error.next_offset().map(|next| self.position..next);
            });
            if !reached? {
                return Ok(());
            }
            if let Some(chunk) = self.take_from_current(room) {
                chunks.push(chunk);
            }
        }
        Ok(())
    }

    /// Makes the next batch with records current; `false` at the end.
    fn reach(&mut self, policy: &Policy, resets: &mut Vec<OffsetReset>) -> Result<bool> {
        while self.current.is_none() {
            let next = self.batches.next();
            // The batches that were passed on the way have nothing for this reader.
            self.position = self.batches.position();
            match next {
                Ok(Some(batch)) => {
                    let from = batch.from;
                    let current = Current::of(batch);
                    if current.left() > 0 {
                        self.current = Some(current);
                        self.position = from;
                    }
                }
                Ok(None) => return Ok(false),
                Err(Error::OffsetOutOfRange { .. }) => {
                    if !self.reset(policy, resets)? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Moves to where the policy says, because the position is not in the log. Returns whether there is something to
    /// read.
    fn reset(&mut self, policy: &Policy, resets: &mut Vec<OffsetReset>) -> Result<bool> {
        let (to, mut reset) = policy.reset(self.log(), self.position, ResetReason::OutOfRange)?;
        planted!(a_later_reset_is_not_reported => reset = None);
        resets.extend(reset);
        self.seek(to);
        Ok(to < self.log().offsets().bound(self.isolation))
    }

    fn take_from_current(&mut self, room: &mut Room) -> Option<Chunk> {
        let mut current = self.current.take()?;
        let (start, left, next_offset) = (current.cursor, current.left(), current.next_offset);
        let bytes = current.records.byte_len().saturating_sub(start.position);
        let log = Arc::clone(self.batches.log());
        let (mut count_fits, mut size_fits) = (left <= room.records, bytes <= room.bytes);
        planted!(a_poll_takes_whole_batches => count_fits = true);
        planted!(a_poll_counts_no_bytes => size_fits = true);
        if count_fits && size_fits {
            room.records = room.records.saturating_sub(left);
            room.bytes = room.bytes.saturating_sub(bytes);
            self.position = next_offset;
            return Some(Chunk { log, records: current.records, start, count: left, next_offset });
        }
        let records = current.records.clone();
        let mut iter = records.iter_from(start);
        let mut taken = 0;
        let mut position = next_offset;
        while taken < room.records && iter.cursor().position - start.position < room.bytes {
            let Some(record) = iter.next() else { break };
            // Where offsets do not rise, a consumer that resumes gets the whole batch again.
            let mut next = record.offset.saturating_add(1);
            planted!(a_position_is_the_last_record => next = record.offset);
            position = if records.in_order() { next } else { self.position };
            taken += 1;
        }
        current.cursor = iter.cursor();
        room.records -= taken;
        room.bytes = room.bytes.saturating_sub(current.cursor.position - start.position);
        let mut is_used_up = taken == 0 || taken == left;
        planted!(the_rest_of_a_batch_is_skipped => is_used_up = true);
        if is_used_up {
            position = next_offset;
        } else {
            self.current = Some(current);
        }
        self.position = position;
        Some(Chunk { log, records, start, count: taken, next_offset: position })
    }

    /// The timestamp of the next record to return; `None` at the end.
    pub(super) fn next_timestamp(&self) -> Result<Option<Timestamp>> {
        let of_current = |current: &Current| {
            current.records.iter_from(current.cursor).next().map(|record| record.timestamp)
        };
        if let Some(timestamp) = self.current.as_ref().and_then(of_current) {
            return Ok(Some(timestamp));
        }
        // One batch at a time.
        let batches = VisibleBatches::new(Arc::clone(self.log()), self.isolation, self.position);
        let mut batches = batches.in_steps_of(1);
        while let Some(batch) = batches.next()? {
            if let Some(timestamp) = of_current(&Current::of(batch)) {
                return Ok(Some(timestamp));
            }
        }
        Ok(None)
    }
}

impl Drop for FetchPosition {
    fn drop(&mut self) {
        if !self.paused && self.log().is_of_this_process() {
            self.log().waiters.remove(&self.signal);
        }
    }
}
