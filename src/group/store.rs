//! The keeper of committed offsets: commits, look-ups, and the upkeep of their log.
//!
//! Appends to the log come one at a time, so that when all values are appended again none of them replaces a newer one.
//! Flushing needs no such order, and commits that come together share one flush.

use super::{
    OFFSETS_TOPIC,
    state::{Entry, State, entries, key},
};
use crate::{
    codec::{
        builder::BatchBuilder,
        committed::{CommittedEntry, Life},
        coordinator::{
            INCARNATION_HEADER, OffsetKey, OffsetValue, TOPIC_ID_HEADER, encode_group_metadata_key,
            encode_incarnation, encode_offset_key, encode_offset_value,
        },
    },
    consumer::{
        CommittedOffset,
        coordinator::{Committed, Coordinator, OffsetCommit},
    },
    env::sync::{AtomicU64, Mutex, Ordering},
    error::{Error, Result},
    partition::{log::Log, write::commit},
    topic::{catalog::Catalog, config::TopicConfig},
    types::{Compression, Durability, Offset, Timestamp, TopicPartition, name::check_group},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The most metadata beside an offset, in bytes (Kafka's `offset.metadata.max.bytes`).
const METADATA_MAX: usize = 4096;

/// A batch of values that are appended again, or of tombstones, ends beyond this size.
const CHUNK_BYTES: usize = 256 << 10;

/// When the log's upkeep is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactionThresholds {
    /// The sidecar is renewed after this much log.
    pub(crate) snapshot_every: u64,
    /// All values are appended again when the log is larger than this, and than three times what they take.
    pub(crate) rewrite_above: u64,
    /// The size of the log's segments, and so of its largest batch.
    pub(crate) segment_bytes: u64,
    /// All values are appended again in batches of about this size.
    pub(crate) chunk_bytes: usize,
}

impl Default for CompactionThresholds {
    fn default() -> Self {
        CompactionThresholds {
            snapshot_every: 16 << 20,
            rewrite_above: 32 << 20,
            segment_bytes: 8 << 20,
            chunk_bytes: CHUNK_BYTES,
        }
    }
}

/// Keeps the offsets that groups commit. There is one per open log.
pub struct OffsetStore {
    pub(super) catalog: Arc<Catalog>,
    upkeep: CompactionThresholds,
    /// Held by the one who appends.
    appending: Mutex<()>,
    /// What the log said when it was last looked at; `None` before the first time.
    state: Mutex<Option<State>>,
    /// The size of the log above which all values are appended again.
    rewrite_above: AtomicU64,
}

impl fmt::Debug for OffsetStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffsetStore").finish_non_exhaustive()
    }
}

/// What is appended to the log of `__consumer_offsets`.
pub(super) enum OffsetRecord {
    Value(CommittedEntry),
    Tombstone(OffsetKey),
    GroupTombstone(String),
}

impl OffsetStore {
    #[cfg(test)]
    pub(crate) fn new(catalog: Arc<Catalog>) -> Arc<Self> {
        Self::with_upkeep(catalog, CompactionThresholds::default())
    }

    /// The keeper of what groups commit in the topics of `catalog`. Nothing is read before it is asked for.
    pub(crate) fn with_upkeep(catalog: Arc<Catalog>, upkeep: CompactionThresholds) -> Arc<Self> {
        Arc::new(OffsetStore {
            catalog,
            upkeep,
            appending: Mutex::new(()),
            state: Mutex::new(None),
            rewrite_above: AtomicU64::new(upkeep.rewrite_above),
        })
    }

    /// Shows what groups have committed by now; `None` when nobody ever has.
    pub(super) fn with_state<T>(&self, look: impl FnOnce(Option<&mut State>) -> T) -> Result<T> {
        let data_dir = self.catalog.data_dir();
        data_dir.check_open()?;
        if data_dir.read_only && !planted!(an_observer_keeps_old_commits) {
            self.catalog.refresh()?;
        }
        let mut state = self.state.lock();
        let Some(topic) = self.catalog.find(OFFSETS_TOPIC) else {
            *state = None;
            return Ok(look(None));
        };
        let log = topic.log(0)?;
        let mut current = match state.take() {
            Some(current) if Arc::ptr_eq(current.log(), &log) => current,
            _ => State::open(&*data_dir.env, &log),
        };
        // After an error what was known is gone with `current`: the next look begins again.
        current.follow()?;
        if data_dir.read_only {
            // What was committed covers data that this handle may not have seen yet.
            self.catalog.refresh()?;
        } else if current.since_snapshot >= self.upkeep.snapshot_every && current.doubts.are_none() {
            // A sidecar has no place for doubts.
            // The sidecar only saves time: whoever asks for offsets shall not fail for it.
            let _ = current.write_snapshot(&*data_dir.env);
        }
        Ok(look(Some(state.insert(current))))
    }

    /// Appends what `group` does not have yet of `commits`, as one batch, and makes it durable.
    fn write(&self, group: &str, commits: &[&OffsetCommit]) -> Result<()> {
        let (log, end) = {
            let _one_at_a_time = self.appending.lock();
            let log = self.log_for_writing()?;
            let now = self.catalog.data_dir().env.now();
            let news = self.with_state(|state| match state {
                // Nobody appends now: what the state has not read is a commit on its way that no one sees yet, and which
                // the values written here have to come after.
                Some(state) if state.next_offset() == log.offsets().log_end() => news(state, group, commits),
                _ => commits.to_vec(),
            })?;
            let lines: Vec<OffsetRecord> =
                news.iter().map(|commit| OffsetRecord::Value(entry_of(group, commit, now))).collect();
            if lines.is_empty() {
                return Ok(());
            }
            let end = append(&log, &lines, now)?.end;
            (log, end)
        };
        if !planted!(commit_acknowledged_before_flush) {
            log.acknowledge(end, true)?;
        }
        self.with_state(|_| ())?;
        if self.rewrite_when_due().is_err() {
            // The commit stands. What is wrong with the log meets the next one; the upkeep waits for as much log again.
            self.rewrite_above.store(log.size() + self.upkeep.rewrite_above, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Appends `lines` in batches of moderate size, and makes them durable.
    pub(super) fn write_many(&self, lines: Vec<OffsetRecord>) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let (log, end) = {
            let _one_at_a_time = self.appending.lock();
            let log = self.log_for_writing()?;
            let end = append_in_chunks(&log, &lines, CHUNK_BYTES, self.catalog.data_dir().env.now())?.end;
            (log, end)
        };
        log.acknowledge(end, true)?;
        self.with_state(|_| ())
    }

    fn log_for_writing(&self) -> Result<Arc<Log>> {
        let config = TopicConfig::default()
            .durability(Durability::Flushed)
            .segment_bytes(self.upkeep.segment_bytes)
            .max_message_bytes(self.upkeep.segment_bytes);
        self.catalog.internal(OFFSETS_TOPIC, config)?.log(0)
    }

    /// Appends all values again and removes what lies before them, where the log has grown enough.
    fn rewrite_when_due(&self) -> Result<()> {
        let Some(topic) = self.catalog.find(OFFSETS_TOPIC) else { return Ok(()) };
        let log = topic.log(0)?;
        if log.size() <= self.rewrite_above.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _one_at_a_time = self.appending.lock();
        if log.size() <= self.rewrite_above.load(Ordering::Relaxed) {
            return Ok(());
        }
        // What lies before an unreadable commit is not replaced, for nobody would know any more that it was one.
        if self.with_state(|state| state.is_some_and(|state| !state.doubts.are_none()))? {
            self.rewrite_above.store(log.size() + self.upkeep.rewrite_above, Ordering::Relaxed);
            return Ok(());
        }
        // Everything that was appended counts, acknowledged or not; but nothing that a transaction has not decided.
        log.flush()?;
        if log.offsets().last_stable() < log.offsets().log_end() {
            return Ok(());
        }
        let lines: Vec<OffsetRecord> = self.with_state(|state| {
            let groups = state.map(|state| &state.groups);
            groups.into_iter().flat_map(entries).map(OffsetRecord::Value).collect()
        })?;
        let size_before = log.size();
        if planted!(forget_before_the_values_are_there_again) {
            log.advance_log_start(log.offsets().log_end())?;
        }
        let range =
            append_in_chunks(&log, &lines, self.upkeep.chunk_bytes, self.catalog.data_dir().env.now())?;
        if !planted!(forget_before_the_values_are_durable_again) {
            log.acknowledge(range.end, true)?;
        }
        let live = log.size().saturating_sub(size_before);
        self.rewrite_above.store(self.upkeep.rewrite_above.max(live.saturating_mul(3)), Ordering::Relaxed);
        log.advance_log_start(range.start)?;
        let env = &*self.catalog.data_dir().env;
        self.with_state(|state| state.map_or(Ok(()), |state| state.write_snapshot(env)))?.or(Ok(()))
    }

    fn check(&self, group: &str, commit: &OffsetCommit) -> Result<()> {
        let name = &commit.log.identity.name;
        let refuse = |reason: String| Err(Error::InvalidArgument { reason });
        if let Err(rule) = check_group(group) {
            return refuse(rule);
        }
        if !Arc::ptr_eq(&self.catalog.log(name)?, &commit.log) {
            return Err(Error::deleted(&name.topic));
        }
        let (earliest, latest) = (commit.log.offsets().log_start(), commit.log.offsets().log_end());
        if commit.offset > latest && !planted!(commit_beyond_the_end) {
            let (partition, requested) = (name.clone(), commit.offset);
            return Err(Error::OffsetOutOfRange { partition, requested, earliest, latest });
        }
        if commit.metadata.len() > METADATA_MAX {
            return refuse(format!(
                "{} bytes of metadata for {name}, at most {METADATA_MAX} are kept",
                commit.metadata.len()
            ));
        }
        Ok(())
    }
}

impl Coordinator for OffsetStore {
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>> {
        let found: Result<Vec<Option<Entry>>> = self.with_state(|state| {
            let Some(state) = state else { return Ok(vec![None; partitions.len()]) };
            partitions.iter().map(|p| state.committed(group, p).map(Option::<&Entry>::cloned)).collect()
        })?;
        let committed = found?.into_iter().zip(partitions).map(|(entry, partition)| {
            let entry = entry?;
            Some(Committed {
                topic_id: entry.life.topic_id,
                incarnation: entry.life.incarnation,
                value: self.describe(partition, entry),
            })
        });
        Ok(committed.collect())
    }

    fn commit(&self, group: &str, offsets: &[OffsetCommit]) -> Result<()> {
        self.catalog.data_dir().check_writable()?;
        offsets.iter().try_for_each(|commit| self.check(group, commit))?;
        if offsets.is_empty() {
            return Ok(());
        }
        let by_partition: BTreeMap<&TopicPartition, &OffsetCommit> =
            offsets.iter().map(|commit| (&commit.log.identity.name, commit)).collect();
        let commits: Vec<&OffsetCommit> = by_partition.into_values().collect();
        let commits = self.with_state(|state| match state {
            Some(state) => news(state, group, &commits),
            None => commits,
        })?;
        if commits.is_empty() {
            return Ok(());
        }
        let covered: Vec<_> = commits.iter().map(|c| (Arc::clone(&c.log), c.offset)).collect();
        if !planted!(commit_without_its_data) {
            commit::commit(&covered)?;
        }
        if planted!(commit_in_pieces) {
            return commits.chunks(1).try_for_each(|piece| self.write(group, piece));
        }
        self.write(group, &commits)
    }
}

/// Those of `commits` that `group` does not have as they are.
fn news<'a>(state: &State, group: &str, commits: &[&'a OffsetCommit]) -> Vec<&'a OffsetCommit> {
    let offsets = state.groups.get(group).filter(|_| !planted!(everything_is_news));
    let is_news = |commit: &&&OffsetCommit| {
        let partition = &commit.log.identity.name;
        let had = offsets.and_then(|offsets| offsets.get(partition));
        let had = had.filter(|_| state.doubts.about(group, Some(partition)).is_none());
        had.is_none_or(|had| {
            let is_noted_anew = had.metadata != commit.metadata && !planted!(metadata_is_no_news);
            had.offset != commit.offset || is_noted_anew || had.life != life_of(&commit.log)
        })
    };
    commits.iter().filter(is_news).copied().collect()
}

impl OffsetStore {
    /// What was committed for `partition`, with the lag as it is now.
    pub(super) fn describe(&self, partition: &TopicPartition, entry: Entry) -> CommittedOffset {
        let log = self.catalog.log(partition).ok();
        let same = log.filter(|log| entry.life.topic_id.is_none_or(|id| id == log.identity.topic_id));
        let is_read = entry.offset + u64::from(planted!(a_lag_leaves_out_a_record));
        let lag = same.map(|log| log.offsets().high_watermark().distance_from(is_read));
        CommittedOffset { offset: entry.offset, metadata: entry.metadata, timestamp: entry.timestamp, lag }
    }
}

fn entry_of(group: &str, commit: &OffsetCommit, now: Timestamp) -> CommittedEntry {
    let log = &commit.log;
    CommittedEntry {
        key: key(group, &log.identity.name),
        value: OffsetValue {
            offset: commit.offset.to_i64(),
            leader_epoch: -1,
            metadata: commit.metadata.clone(),
            commit_timestamp: now,
        },
        life: life_of(log),
    }
}

fn life_of(log: &Log) -> Life {
    Life {
        topic_id: Some(log.identity.topic_id),
        // That of now, not of the offset: everything below the end belongs to the log as it is in this life.
        incarnation: Some(log.incarnation_of(Offset::MAX).0),
    }
}

/// Appends `lines` as one batch and says which offsets they got.
fn append(log: &Arc<Log>, lines: &[OffsetRecord], now: Timestamp) -> Result<std::ops::Range<Offset>> {
    let mut builder = BatchBuilder::new();
    for line in lines {
        line.append_to(&mut builder, now)?;
    }
    seal(log, builder)
}

fn append_in_chunks(
    log: &Arc<Log>,
    lines: &[OffsetRecord],
    chunk_bytes: usize,
    now: Timestamp,
) -> Result<std::ops::Range<Offset>> {
    let begin = log.offsets().log_end();
    let mut end = begin;
    let mut builder = BatchBuilder::new();
    for line in lines {
        line.append_to(&mut builder, now)?;
        if builder.len() >= chunk_bytes {
            end = seal(log, std::mem::take(&mut builder))?.end;
        }
    }
    if !builder.is_empty() {
        end = seal(log, builder)?.end;
    }
    Ok(begin..end)
}

fn seal(log: &Arc<Log>, builder: BatchBuilder) -> Result<std::ops::Range<Offset>> {
    let mut batch = builder.seal(Compression::None, None)?;
    // As Kafka's coordinator writes them: no producer, and a base sequence of 0 all the same.
    batch.set_producer(-1, -1, 0);
    let appended = log.append(&mut batch)?;
    Ok(appended.base_offset..appended.next_offset)
}

impl OffsetRecord {
    fn append_to(&self, builder: &mut BatchBuilder, now: Timestamp) -> Result<()> {
        match self {
            OffsetRecord::Value(CommittedEntry { key, value, life }) => {
                let incarnation = life.incarnation.map(|number| encode_incarnation(number.into()));
                let id = life.topic_id.as_ref().map(|id| &id.as_bytes()[..]);
                let headers = [
                    incarnation.as_ref().map(|bytes| (INCARNATION_HEADER, Some(&bytes[..]))),
                    id.map(|bytes| (TOPIC_ID_HEADER, Some(bytes))),
                ];
                let headers: Vec<_> = headers.into_iter().flatten().collect();
                let value = encode_offset_value(value);
                builder.append(now, Some(&encode_offset_key(key)), Some(&value), &headers)
            }
            OffsetRecord::Tombstone(key) => builder.append(now, Some(&encode_offset_key(key)), None, &[]),
            OffsetRecord::GroupTombstone(group) => {
                builder.append(now, Some(&encode_group_metadata_key(group)), None, &[])
            }
        }
    }
}
