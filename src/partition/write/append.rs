//! Appending: conditions, offsets, one write, publish.
//!
//! Everything that does not need the order of the log was done before the lock is taken: records are encoded, compressed
//! and checksummed. Under it remain the producer's rules, the header, one positional write, the index entry and the
//! stores that let readers see it. A write that fails leaves the file as it was, or the log poisoned; never half a
//! batch under a good one.

use crate::{
    codec::{
        batch::BatchHeader,
        builder::{SealedBatch, Stamp},
        control::ControlRecord,
        manifest::{Entry, SealedSegment, Tier},
    },
    env::{sync::Ordering, trace::event},
    error::{Error, Result},
    partition::{
        log::{Active, AppendState, Log, PendingSeal},
        state::producers::{BatchFacts, Verdict},
    },
    storage::{
        layout::SegmentFile,
        manifest::Flush,
        segment::{Segment, sidecars::UNKNOWN},
        sidecar::remove_segment_files,
    },
    types::{Durability, Offset, Timestamp, TimestampType},
};
use std::{io, sync::Arc, time::Duration};

/// The first step in which a file grows, and the largest.
const GROWTH_MIN: u64 = 64 << 10;
const GROWTH_MAX: u64 = 64 << 20;

/// A batch of a `Flushed` topic that is no larger has its file grow by zeros that are written, in steps of this at most:
/// each flush of a block that was only set aside would cost the device one more.
const SMALL_BATCH: u64 = 32 << 10;
const ZEROS_MAX: u64 = 1 << 20;

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset behind its last record.
    pub next_offset: Offset,
    /// The time of the append, where the log gives the timestamps.
    pub append_time: Option<Timestamp>,
    /// Whether the batch was here already, and this is where it lies.
    pub duplicate: bool,
    /// Whether its topic has it durable before it is acknowledged.
    pub must_flush: bool,
}

/// What a segment is rolled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) enum RollFor {
    /// A batch that does not belong into it.
    Append,
    /// Its removal, which must not need space.
    Removal,
}

impl Log {
    /// Appends a batch. When it returns, the batch is in the operating system and visible as far as the topic's
    /// durability allows; [`Log::acknowledge`] makes the rest of the promise.
    pub fn append(&self, batch: &mut SealedBatch) -> Result<Appended> {
        let mut writer = self.writer.lock();
        if self.closing.load(Ordering::SeqCst) && !planted!(append_to_a_log_that_closes) {
            return Err(Error::closed("the log"));
        }
        let base_offset = self.offsets.log_end() + u64::from(planted!(offsets_with_gaps));
        let active = self.ready(&mut writer)?;
        let (size, (max, limit)) = (batch.size(), active.config.max_batch());
        if size > max {
            return Err(Error::too_large(size, max, limit));
        }
        let stamp = match active.config.timestamp_type {
            TimestampType::CreateTime => Stamp::CreateTime,
            TimestampType::LogAppendTime => Stamp::LogAppendTime(self.data_dir.env.now()),
        };
        let epoch = active.epoch;
        batch.finish(base_offset, epoch, stamp);
        let (header, bytes) = (*batch.header(), batch.bytes());
        if header.next_offset() == Offset::MAX {
            return Err(Error::InvalidArgument { reason: format!("no offset is left behind {base_offset}") });
        }
        if header.has_producer_id()
            && !header.is_control()
            && let Verdict::Duplicate { base_offset, last_offset, timestamp } =
                active.producers.check(&BatchFacts::from(&header), &self.identity.name)?
        {
            let append_time = matches!(stamp, Stamp::LogAppendTime(_)).then_some(timestamp);
            return Ok(Appended {
                base_offset,
                next_offset: last_offset + 1,
                append_time,
                duplicate: true,
                must_flush: must_flush(active),
            });
        }
        if self.must_roll(active, &header) {
            self.roll(active, base_offset, RollFor::Append)?;
            if self.exceeds_with(&active.config, size) {
                // What the new segment needs is freed before anything is in it; then the batch begins anew.
                drop(writer);
                self.shrink(size);
                return self.append(batch);
            }
        }
        self.begin_incarnation(active, base_offset)?;
        match self.grow(active, size) {
            // Files may not become as large as a segment: the next one begins earlier.
            Err(Error::FileTooLarge { .. }) if active.position > 0 => {
                self.roll(active, base_offset, RollFor::Append)?;
                self.grow(active, size)?;
            }
            other => other?,
        }
        if active.config.durability == Durability::Flushed {
            self.announce(header.next_offset())?;
        }
        if planted!(show_the_end_before_the_bytes) {
            self.publish(active, &header);
            active.position -= size;
        }
        if let Err(error) = active.segment.data().write_all(bytes, active.position) {
            return Err(self.undo(&mut writer, error));
        }
        let aborted = self.remember(active, &header, bytes);
        if let Some(transaction) = aborted {
            active.segment.add_aborted(transaction);
        }
        if planted!(show_the_end_before_the_bytes) {
            active.position += size;
        } else {
            self.publish(active, &header);
        }
        let append_time = match stamp {
            Stamp::LogAppendTime(time) => Some(time),
            Stamp::CreateTime => None,
        };
        let must_flush = must_flush(active);
        let excess = self.exceeds(&active.config);
        drop(writer);
        if excess {
            self.shrink(0);
        }
        let next_offset = header.next_offset();
        Ok(Appended { base_offset, next_offset, append_time, duplicate: false, must_flush })
    }

    /// Keeps the promise made for what was appended below `end`: where it must be flushed, returns when it is durable.
    pub fn acknowledge(&self, end: Offset, must_flush: bool) -> Result<()> {
        if must_flush && !planted!(acknowledge_before_flush) { self.flush_to(end) } else { Ok(()) }
    }

    /// The state of appending, loaded where nothing was appended yet.
    pub(in crate::partition) fn ready<'a>(&self, writer: &'a mut AppendState) -> Result<&'a mut Active> {
        if let AppendState::Unloaded { size, new_incarnation } = *writer {
            self.data_dir.begin_writing()?;
            match self.record_damage(self.load_for_appending(size, new_incarnation), Offset::ZERO) {
                Ok(active) => *writer = AppendState::Open(Box::new(active)),
                Err(error) => {
                    if matches!(error, Error::Corrupt { .. }) {
                        // As an opening that had looked would have found it.
                        *writer = AppendState::Refused(error.clone());
                    }
                    return Err(error);
                }
            }
            self.cut_to_data(writer)?;
        }
        if let AppendState::Recovered(_) = writer {
            self.data_dir.begin_writing()?;
            self.tidy(&self.segments.snapshot())?;
            if let AppendState::Recovered(active) =
                std::mem::replace(writer, AppendState::Refused(Error::closed("")))
            {
                *writer = AppendState::Open(active);
            }
        }
        match writer {
            AppendState::Open(active) => Ok(active),
            AppendState::Refused(error) => Err(error.clone()),
            AppendState::Unloaded { .. } | AppendState::Recovered(_) => Err(Error::closed("the partition")),
        }
    }

    /// What lies behind the data of a file that an earlier life left is not known to be zeros: it goes before the file
    /// grows again. An opening that appends nothing leaves it.
    fn cut_to_data(&self, writer: &mut AppendState) -> Result<()> {
        let AppendState::Open(active) = &mut *writer else { return Ok(()) };
        if active.allocated == active.position {
            return Ok(());
        }
        if let Err(error) = active.segment.data().set_len(active.position) {
            return Err(self.poison_locked(writer, &error));
        }
        active.allocated = active.position;
        Ok(())
    }

    /// Kafka's conditions for a new segment (`LogSegment.shouldRoll`).
    fn must_roll(&self, active: &Active, header: &BatchHeader) -> bool {
        let config = &*active.config;
        if active.position == 0 {
            return false;
        }
        let age = || match active.first_timestamp {
            Some(first) if first.as_millis() >= 0 => {
                header.max_timestamp.as_millis().saturating_sub(first.as_millis())
            }
            _ => self.data_dir.env.now().as_millis().saturating_sub(active.created.as_millis()),
        };
        let is_old = || {
            let limit = config.segment_time.saturating_sub(active.jitter).as_millis();
            limit < u128::from(u64::MAX) && i128::from(age()) > limit as i128
        };
        // What retention may remove by then must not stay because something new lies behind it.
        let is_over_age = || {
            let Some(limit) = config.retention_time else { return false };
            let newest = active.segment.largest_timestamp().unwrap_or(Timestamp::NONE);
            newest > Timestamp::NONE && newest < header.max_timestamp.minus(limit)
        };
        active.position + header.size() > config.roll_bytes
            || header.last_offset().distance_from(active.segment.base()) > i32::MAX as u64
            || active.index_is_full
            || is_old()
            || is_over_age()
    }

    /// Seals the active segment and begins a new one at `base`. What is slow about it (flushing, sidecars) is left to
    /// the next flush; a `Written` topic's callers never wait for it.
    pub(in crate::partition) fn roll(&self, active: &mut Active, base: Offset, why: RollFor) -> Result<()> {
        let config = Arc::clone(&active.config);
        let old = Arc::clone(&active.segment);
        event!(DEBUG, partition = %self.identity.name, base = base.value(), "rolling a segment");
        if active.allocated != active.position && !planted!(roll_leaves_preallocated_space) {
            old.data().set_len(active.position)?;
            active.allocated = active.position;
        }
        let sealed_generation = 0;
        let sealed = SealedSegment {
            next_offset: base,
            bytes: active.position - u64::from(planted!(seal_with_the_wrong_size)),
            largest_timestamp: old.largest_timestamp()?,
            generation: sealed_generation,
            place: Tier::Local,
            index_checksum: old.indexes_to_write().map_or(UNKNOWN, |(_, _, checksum)| checksum),
        };
        let (id, partition) = (self.identity.topic_id, self.identity.name.partition);
        let create = || self.create_segment(base, config.index_interval_bytes);
        let segment = match why {
            RollFor::Append => create()?,
            RollFor::Removal => self.data_dir.making_room(create)?,
        };
        // The file exists before the manifest speaks of it: after a crash between the two it is a stray and put aside.
        let entries = [self.sealed_entry(old.base(), sealed), Entry::SegmentCreated { id, partition, base }];
        let manifest = &self.data_dir.manifest;
        let said = match why {
            RollFor::Append => manifest.append(&entries, Flush::Later),
            RollFor::Removal => manifest.append_to_make_room(&entries, Flush::Later),
        };
        if let Err(error) = said {
            // Where that fails too, the next attempt finds it empty.
            let _ = segment.remove_files();
            return Err(error);
        }
        old.seal_index();
        old.set_sealed(sealed_generation, active.position, sealed.largest_timestamp);
        old.know_place(active.position, base);
        old.expect_index(sealed.index_checksum);
        if let Some(index) = old.closed_index() {
            // Only for Kafka's tools, and without a flush: the next checkpoint writes it again, whatever came of this.
            let _ = old.write_index_unflushed(&index);
        }
        let snapshot = active.producers.to_snapshot();
        active.pending.push(PendingSeal { segment: old, next_base: base, snapshot });
        active.names_dirty = true;
        if planted!(roll_in_two_steps) {
            let sealed = self.segments.snapshot();
            self.segments.change(|list| *list = vec![Arc::clone(&segment)]);
            self.segments.change(|list| *list = sealed.to_vec());
        }
        self.segments.change(|list| list.push(Arc::clone(&segment)));
        active.segment = segment;
        active.index_is_full = false;
        active.position = 0;
        active.allocated = 0;
        active.first_timestamp = None;
        active.created = self.data_dir.env.now();
        active.jitter =
            draw_jitter(config.segment_jitter.min(config.segment_time), self.data_dir.env.random());
        self.due.checkpoint_now(&self.data_dir);
        Ok(())
    }

    /// Creates the file of a segment. An empty one of its name is what an attempt that failed has left; whatever else has
    /// that name goes aside, for no manifest names it.
    fn create_segment(&self, base: Offset, index_interval: u64) -> Result<Arc<Segment>> {
        let (env, dir) = (&*self.data_dir.env, &self.identity.dir);
        let epoch = self.leader_epoch.load(Ordering::Relaxed);
        let create = || {
            let created = Segment::create(&self.data_dir.pool, dir, base, index_interval)?;
            created.expect_no_gaps(Some(epoch));
            created.expect_no_other_version();
            Ok(created)
        };
        match create() {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                let path = SegmentFile::Log.path(dir, base);
                if env.metadata(&path).is_ok_and(|found| !found.is_dir && found.len == 0) {
                    remove_segment_files(env, dir, base)?;
                } else {
                    self.put_stray_aside(base)?;
                }
                create()
            }
            done => done,
        }
    }

    /// After an unclean opening a new life begins with the first append, and is durable before it.
    pub(in crate::partition) fn begin_incarnation(
        &self,
        active: &mut Active,
        first_offset: Offset,
    ) -> Result<()> {
        let Some(entry) = self.new_incarnation(active, first_offset) else { return Ok(()) };
        self.data_dir.manifest.append(&[entry], Flush::Now)?;
        active.new_incarnation = false;
        Ok(())
    }

    /// What the manifest is to say of a life that has not been noted yet.
    pub(in crate::partition) fn new_incarnation(
        &self,
        active: &Active,
        first_offset: Offset,
    ) -> Option<Entry> {
        if !active.new_incarnation || planted!(no_incarnation) {
            return None;
        }
        let (number, _) = self.incarnation_of(Offset::MAX);
        let (id, partition) = (self.identity.topic_id, self.identity.name.partition);
        Some(Entry::Incarnation { id, partition, number: number.saturating_add(1), first_offset })
    }

    /// Sets space aside for `size` more bytes, so that a full disk is met before anything is written.
    fn grow(&self, active: &mut Active, size: u64) -> Result<()> {
        let (roll_bytes, preallocate) = (active.config.roll_bytes, active.config.preallocate);
        let needed = active.position + size;
        if needed <= active.allocated {
            return Ok(());
        }
        let by_zeros = active.config.durability == Durability::Flushed && size <= SMALL_BATCH && !preallocate;
        let step_max = if by_zeros { ZEROS_MAX } else { GROWTH_MAX };
        let step = active.allocated.clamp(GROWTH_MIN, step_max);
        let grown = if preallocate { roll_bytes } else { active.allocated + step };
        let target = grown.min(roll_bytes).max(needed);
        let data = active.segment.data();
        match data.allocate(target) {
            // What little space is left, or a file may have, may still hold the batch itself.
            Err(Error::DiskFull { .. } | Error::FileTooLarge { .. }) if target > needed => {
                data.allocate(needed)?;
                active.allocated = needed;
            }
            other => {
                other?;
                active.allocated = target;
                if by_zeros && target > needed {
                    // Zeros are there already, so that nothing is lost where this fails but its gain.
                    let _ = data.write_zeros(needed..target);
                }
            }
        }
        self.data_dir.space_found.again();
        Ok(())
    }

    /// Takes a failed write back, so that the file ends where it did; poisons the log where even that fails.
    fn undo(&self, writer: &mut AppendState, error: Error) -> Error {
        let AppendState::Open(active) = writer else { return error };
        match active.segment.data().set_len(active.position) {
            Ok(()) => {
                active.allocated = active.position;
                error
            }
            Err(_) => self.poison_locked(writer, &error),
        }
    }

    fn remember(
        &self,
        active: &mut Active,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Option<crate::codec::index::AbortedTransaction> {
        if !header.has_producer_id() {
            return None;
        }
        let facts = BatchFacts::from(header);
        if !header.is_control() {
            active.producers.applied(&facts);
            return None;
        }
        match ControlRecord::of_batch(bytes)? {
            ControlRecord::Marker { commit, coordinator_epoch } => {
                active.producers.marker(&facts, coordinator_epoch, commit)
            }
            ControlRecord::Other(_) => None,
        }
    }

    /// Lets readers see the batch that was written.
    fn publish(&self, active: &mut Active, header: &BatchHeader) {
        let size = header.size();
        let max_index = active.config.segment_index_bytes;
        if let Some(is_full) = active.segment.add_to_index(header, active.position, max_index) {
            active.index_is_full = is_full;
        }
        if active.position == 0 {
            active.first_timestamp = Some(header.max_timestamp);
        }
        active.position += size;
        active.since_checkpoint += size;
        self.size.fetch_add(size, Ordering::Relaxed);
        active.segment.publish(active.position);
        let end = header.next_offset();
        active.since_flush += u64::from(header.record_count);
        if planted!(look_at_the_clock_before_the_end_is_known) {
            self.due.after_append(&self.data_dir, &active.config, active.since_checkpoint);
            return self.publish_end(active, end);
        }
        // Once the end is known: a flush that is due now does not see what is not there yet.
        self.publish_end(active, end);
        self.due.after_append(&self.data_dir, &active.config, active.since_checkpoint);
    }

    fn publish_end(&self, active: &mut Active, end: Offset) {
        if active.config.durability == Durability::Flushed && !planted!(publish_before_flush) {
            self.offsets.change(|set| set.log_end = end);
            return;
        }
        let last_stable = self.stable_below(active, end);
        let before = self.offsets.last_stable();
        self.offsets.change(|set| {
            set.log_end = end;
            set.high_watermark = end;
            set.last_stable = last_stable;
        });
        self.waiters.notify(true, last_stable > before);
    }

    /// Where read-committed readers stop when the high watermark is `high_watermark`.
    pub(in crate::partition) fn stable_below(&self, active: &mut Active, high_watermark: Offset) -> Offset {
        if active.producers.is_empty() {
            return high_watermark;
        }
        active.producers.on_high_watermark(high_watermark);
        active.producers.first_unstable_offset().map_or(high_watermark, |first| first.min(high_watermark))
    }
}

/// Whether what was appended must be durable before it is acknowledged: by the topic's durability, or because enough
/// records have come together (flush.messages).
fn must_flush(active: &Active) -> bool {
    active.config.durability == Durability::Flushed
        || active.config.flush_messages.is_some_and(|limit| active.since_flush >= limit)
}

/// A random duration below `limit`.
pub(in crate::partition) fn draw_jitter(limit: Duration, random: u64) -> Duration {
    match u64::try_from(limit.as_millis()) {
        Ok(0) | Err(_) => Duration::ZERO,
        Ok(millis) => Duration::from_millis(random % millis),
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Builder, ErrorKind, RecordData, Streamlog, TopicConfig,
        sim::{Fault, FaultKind, Operation, SimEnv},
    };

    fn log(env: &SimEnv) -> Streamlog {
        let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
        log.create_topic("t", TopicConfig::default()).unwrap();
        log
    }

    /// The next files that are to grow may not, so many times.
    fn limit_files(env: &SimEnv, times: usize) {
        for _ in 0..times {
            env.inject(Fault::new(FaultKind::FileTooLarge).on(Operation::Allocate).path(".log"));
        }
    }

    #[test]
    fn a_file_that_may_not_grow_ahead_grows_by_what_it_needs() {
        let env = SimEnv::new(1);
        let log = log(&env);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        limit_files(&env, 1);
        partition.append(&[RecordData::new("fits")]).unwrap();
        assert_eq!(partition.segment_count(), 1);
    }

    #[cfg(not(miri))]
    #[test]
    fn a_topic_of_small_flushes_grows_by_zeros_that_are_written() {
        use crate::env::{Env, Open, real::RealEnv};
        let dir = tempfile::tempdir().unwrap();
        let log = Streamlog::open(dir.path()).unwrap();
        let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("small")]).unwrap();
        let path = dir.path().join("t-0/00000000000000000000.log");
        let file = RealEnv::new().open(&path, Open::Read).unwrap();
        let len = file.len().unwrap();
        assert!(len >= 64 << 10, "{len}");
        // A file system tells space that was only set aside as it tells holes, if it tells any.
        assert!(file.zeros_from(0).is_none_or(|from| from >= len), "{:?} of {len}", file.zeros_from(0));
    }

    #[test]
    fn where_a_file_may_not_grow_at_all_the_next_segment_begins() {
        let env = SimEnv::new(1);
        let log = log(&env);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let large = [7; 60_000];
        partition.append(&[RecordData::new(&large)]).unwrap();
        limit_files(&env, 2);
        partition.append(&[RecordData::new(&large)]).unwrap();
        assert_eq!((partition.segment_count(), partition.log_end_offset().value()), (2, 2));
        // A batch that no file may hold is refused, and nothing else with it.
        limit_files(&env, 4);
        let refused = partition.append(&[RecordData::new(&[7; 80_000])]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
        assert!(refused.to_string().contains("ulimit -f") && !refused.is_retriable(), "{refused}");
        env.clear_faults();
        partition.append(&[RecordData::new("small")]).unwrap();
        assert_eq!(partition.read(0).map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 3);
    }
}
