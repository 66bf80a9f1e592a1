//! Appending: check (see `gate`), roll if due, reserve, write, publish.
//!
//! Everything that does not depend on the order of the log is done before the lock is taken: records are encoded,
//! compressed and checksummed. Under the lock remain the producer's rules, the header, one positional write, the index
//! entry and the stores that let readers see the batch. A failed write leaves the file as it was or the log poisoned,
//! never half a batch with a whole one after it.

use crate::{
    codec::{
        batch::BatchHeader,
        builder::{SealedBatch, Stamp},
    },
    env::sync::Ordering,
    error::{Error, Outcome, Result},
    partition::{
        log::Log,
        state::{
            append_as::AppendAs,
            append_state::{Active, AppendState},
            gate_answer::GateAnswer,
            observer::Observer,
        },
        write::{
            append_as::begin,
            encode::{RecordData, encode},
            end_transaction::write_pending_markers,
            gate::{Candidate, Origin, admit},
            load::ready,
            reserve::reserve,
            retention,
            roll::{self, RollFor, roll},
        },
    },
    types::{Compression, Durability, Offset, Timestamp, TimestampType},
};
use std::{ops::Range, sync::Arc};

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// The time of the append, where the log assigns timestamps.
    pub append_time: Option<Timestamp>,
    /// Whether the batch was in the log already; the offsets then are where it lies.
    pub duplicate: bool,
    /// Whether it must be durable before it is acknowledged.
    pub must_flush: bool,
}

impl Appended {
    /// Where its records lie.
    pub fn offsets(&self) -> Range<Offset> {
        self.base_offset..self.next_offset
    }

    /// A batch that is in the log already.
    fn already(active: &Active, base_offset: Offset, last_offset: Offset, timestamp: Timestamp) -> Self {
        let gives_time = active.config.message_timestamp_type == TimestampType::LogAppendTime;
        Appended {
            base_offset,
            next_offset: last_offset + 1,
            append_time: gives_time.then_some(timestamp),
            duplicate: true,
            must_flush: active.must_flush(),
        }
    }
}

impl Log {
    /// Encodes records into one batch by the settings in force, which do not change before it is done.
    pub fn encode(
        &self,
        records: &[RecordData<'_>],
        preferred: Compression,
        now: Timestamp,
    ) -> Result<SealedBatch> {
        encode(records, &self.config.read(), preferred, now)
    }

    /// Appends a batch of records. When it returns, the batch is in the operating system and visible as far as the topic's
    /// durability allows; [`Log::acknowledge`] makes the rest of the promise.
    pub fn append(&self, batch: &mut SealedBatch) -> Result<Appended> {
        self.append_from(batch, Origin::Producer)
    }

    /// As [`Log::append`], for a batch of a producer of this process, which gets its id, its epoch and its sequence here. A
    /// refused batch uses no sequence.
    pub fn append_as(&self, batch: &mut SealedBatch, by: AppendAs) -> Result<Appended> {
        self.append_from(batch, Origin::Owned(by))
    }

    /// As [`Log::append`], for a batch of any origin. Where the disk budget is in the way, room is made without any lock of
    /// the log, and the append starts over.
    pub fn append_from(&self, batch: &mut SealedBatch, origin: Origin) -> Result<Appended> {
        self.append_at(batch, origin, None)
    }

    /// As [`Log::append_from`], but only where the log ends at `expected`, if that is given; markers do not count.
    ///
    /// # Errors
    ///
    /// `Conflict` where the log ends elsewhere: nothing is appended.
    pub fn append_at(
        &self,
        batch: &mut SealedBatch,
        origin: Origin,
        expected: Option<Offset>,
    ) -> Result<Appended> {
        loop {
            match self.try_append(batch, origin, expected) {
                Err(error) if self.data_dir.space.makes_room_for(&error) => {}
                done => return done,
            }
        }
    }

    fn try_append(
        &self,
        batch: &mut SealedBatch,
        origin: Origin,
        expected: Option<Offset>,
    ) -> Result<Appended> {
        let mut writer = self.writer.lock();
        let mut is_closing = self.closing.load(Ordering::SeqCst);
        planted!(append_to_a_log_that_closes => is_closing = false);
        if is_closing {
            return Err(Error::closed("the log"));
        }
        let mut active = ready(self, &mut writer)?;
        let mut owes = self.pending_markers.any();
        planted!(a_pending_marker_waits_for_ever => owes = false);
        if owes {
            write_pending_markers(self, &mut writer)?;
            active = ready(self, &mut writer)?;
        }
        if let Origin::Owned(by) = origin {
            begin(self, active, batch, by)?;
        }
        let candidate = Candidate { header: batch.header(), origin, partition: &self.identity.name };
        if let GateAnswer::Duplicate { base_offset, last_offset, timestamp } = admit(active, &candidate)? {
            return Ok(Appended::already(active, base_offset, last_offset, timestamp));
        }
        let append_time = self.stamp(active, batch)?;
        let (header, size) = (*batch.header(), batch.size());
        if let Some(expected) = expected.filter(|expected| !active.ends_at(*expected, header.base_offset)) {
            return Err(conflict(self, expected, header.base_offset));
        }
        if roll::is_due(self, active, &header) {
            roll(self, active, header.base_offset, RollFor::Append)?;
            if retention::exceeds_with(self, &active.config, size) {
                // The space for the new segment is freed before anything is in it; then the append starts over.
                drop(writer);
                retention::shrink(self, size);
                return self.try_append(batch, origin, expected);
            }
        }
        reserve(self, active, &header)?;
        if let Err(error) = self.write(active, &header, batch.bytes()) {
            return Err(self.undo(&mut writer, error));
        }
        if let Some(sequences) = batch.sequences() {
            active.producers.wrote(header.producer_id, sequences);
        }
        let must_flush = active.must_flush();
        let excess = retention::asks_for_size(active, size) && retention::exceeds(self, &active.config);
        drop(writer);
        if excess {
            retention::shrink(self, 0);
        }
        let (base_offset, next_offset) = (header.base_offset, header.next_offset());
        Ok(Appended { base_offset, next_offset, append_time, duplicate: false, must_flush })
    }

    /// Keeps the promise for everything appended below `end`: where it must be flushed, returns once it is durable.
    pub fn acknowledge(&self, end: Offset, must_flush: bool) -> Result<()> {
        planted!(acknowledge_before_flush => return Ok(()));
        if must_flush { self.flush_to(end) } else { Ok(()) }
    }

    /// The error of a caller whose records were appended at these offsets and could not be acknowledged because of `error`:
    /// it says what became of them.
    #[cold]
    pub fn unacknowledged(&self, offsets: Range<Offset>, error: Error) -> Error {
        planted!(what_was_written_counts_as_refused => return error);
        let error = match self.flusher.failure_below(offsets.end) {
            Some(failure) => failure.with_outcome(Outcome::Unknown),
            // With its topic a record is gone, as if it had never been appended.
            None if self.is_deleted() => error,
            None => {
                let outcome = Outcome::Appended(vec![(self.identity.name.clone(), offsets)]);
                Error::Unacknowledged { outcome, cause: Arc::new(error) }
            }
        };
        planted!(nothing_is_ever_unknown => return error.with_outcome(Outcome::NotAppended));
        error
    }

    /// Gives the batch the next offsets, and its timestamps where the log assigns them. They count once the batch is
    /// written.
    pub(super) fn stamp(&self, active: &Active, batch: &mut SealedBatch) -> Result<Option<Timestamp>> {
        let (stamp, append_time) = match active.config.message_timestamp_type {
            TimestampType::CreateTime => (Stamp::CreateTime, None),
            TimestampType::LogAppendTime => {
                let now = self.data_dir.env.now();
                (Stamp::LogAppendTime(now), Some(now))
            }
        };
        let mut base_offset = self.offsets.log_end();
        planted!(offsets_with_gaps => base_offset += 1);
        batch.finish(base_offset, active.epoch, stamp);
        if batch.header().next_offset() == Offset::MAX {
            return Err(Error::InvalidArgument { reason: format!("no offset is left after {base_offset}") });
        }
        Ok(append_time)
    }

    /// Writes the batch at the segment's end, and lets readers see it.
    #[inline]
    pub(super) fn write(&self, active: &mut Active, header: &BatchHeader, bytes: &[u8]) -> Result<()> {
        let position = active.position;
        planted!(show_the_end_before_the_bytes => self.publish(active, header));
        active.segment.write(bytes, position)?;
        if let Some(transaction) = active.producers.appended(header, bytes) {
            unless_planted!(an_abort_is_not_indexed => active.segment.add_aborted(transaction));
        }
        planted!(show_the_end_before_the_bytes => return Ok(()));
        self.publish(active, header);
        Ok(())
    }

    /// Undoes a failed write, so that the file ends where it did before; poisons the log where even that fails.
    pub(super) fn undo(&self, writer: &mut AppendState, error: Error) -> Error {
        let Some(active) = writer.opened() else { return error };
        match active.cut_to_data() {
            Ok(()) => error,
            Err(_) => writer.poison(&self.identity.dir, &error),
        }
    }

    /// Lets readers see the batch that was written.
    #[inline]
    fn publish(&self, active: &mut Active, header: &BatchHeader) {
        let max_index = active.config.segment_index_bytes;
        if let Some(is_full) = active.segment.add_to_index(header, active.position, max_index) {
            active.index_is_full = is_full;
        }
        active.appended(header);
        self.size.fetch_add(header.size(), Ordering::Relaxed);
        active.segment.publish(active.position);
        let end = header.next_offset();
        let since_checkpoint = active.since_checkpoint;
        planted!(look_at_the_clock_before_the_end_is_known => self.due.after_append(&self.data_dir, &active.config, since_checkpoint));
        self.publish_end(active, end);
        planted!(look_at_the_clock_before_the_end_is_known => return);
        // Only after the end is published: a flush that is due now must see the batch.
        self.due.after_append(&self.data_dir, &active.config, since_checkpoint);
    }

    fn publish_end(&self, active: &mut Active, end: Offset) {
        let mut waits = active.config.durability == Durability::Flushed;
        planted!(publish_before_flush => waits = false);
        if waits {
            self.offsets.change(|set| set.log_end = end);
            return;
        }
        let last_stable = active.stable_below(end);
        let before = self.offsets.last_stable();
        self.offsets.change(|set| {
            set.log_end = end;
            set.high_watermark = end;
            set.last_stable = last_stable;
        });
        self.waiters.notify(true, last_stable > before);
    }
}

/// Returns where `log` does not end at `expected`; markers do not count.
pub fn check_end(log: &Log, expected: Offset) -> Result<()> {
    let mut writer = log.writer.lock();
    let log_end = log.offsets.log_end();
    let ends_there = writer.loaded().map_or(expected == log_end, |active| active.ends_at(expected, log_end));
    if ends_there { Ok(()) } else { Err(conflict(log, expected, log_end)) }
}

#[cold]
fn conflict(log: &Log, expected: Offset, found: Offset) -> Error {
    Error::Conflict { partition: log.identity.name.clone(), expected, found }
}
