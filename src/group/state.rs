//! What all groups have committed, as the log of `__consumer_offsets` says.
//!
//! It begins with the sidecar where that is of use and follows the log from there. Records of unknown kinds are passed
//! over, as Kafka does. A record or batch that cannot be read is damage of the log, and puts in [doubt](Doubts) only the
//! commits that it may replace. After any other error nothing is kept: the next use begins again, and meets the error
//! again.

use super::doubts::{Doubts, Scope};
use crate::{
    codec::{
        DecodeError,
        batch::RecordBatch,
        committed::{
            About, CommitRecord, CommittedEntry, CommittedSnapshot, Life, decode_commit_record,
            decode_committed_snapshot, encode_committed_snapshot,
        },
        coordinator::OffsetKey,
        record::Record,
    },
    env::Env,
    error::{Error, Result},
    partition::{handle::shows_records, log::Log, read::reader::LogReader},
    storage::sidecar::{SIDECAR_MAX, TEXT_MAX, read_hint, replace_file},
    types::{
        IsolationLevel, Offset, Timestamp, TopicPartition,
        name::{TopicName, check_group},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

/// The sidecar's name, in the partition's directory.
pub(super) const SNAPSHOT: &str = "consumer-offsets.snapshot";

/// How much is read at once.
const FETCH: u64 = 1 << 20;

/// What a group committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: Offset,
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
    pub(super) timestamp: Timestamp,
    pub(super) life: Life,
}

/// What groups committed, by their names.
pub(super) type Groups = BTreeMap<String, BTreeMap<TopicPartition, Entry>>;

/// What the log says up to where it was read.
#[derive(Debug)]
pub(super) struct State {
    reader: LogReader,
    pub(super) groups: Groups,
    /// Which of that may be out of date.
    pub(super) doubts: Doubts,
    /// Bytes of the log that the sidecar does not cover.
    pub(super) since_snapshot: u64,
}

impl State {
    /// What the sidecar of `log` says, or nothing yet where it is of no use.
    pub(super) fn open(env: &dyn Env, log: &Arc<Log>) -> State {
        let usable = read_snapshot(env, log).and_then(|snapshot| {
            let mut groups = Groups::new();
            snapshot.entries.into_iter().try_for_each(|entry| insert(&mut groups, entry)).ok()?;
            Some((snapshot.next_offset, groups))
        });
        let (from, groups) = usable.unwrap_or_else(|| (log.offsets().log_start(), Groups::new()));
        let reader = LogReader::new(Arc::clone(log), IsolationLevel::ReadCommitted, from);
        State { reader, groups, doubts: Doubts::default(), since_snapshot: 0 }
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        self.reader.log()
    }

    /// The first offset of the log that was not read yet.
    pub(super) fn next_offset(&self) -> Offset {
        self.reader.next_offset()
    }

    /// Reads on to the end.
    pub(super) fn follow(&mut self) -> Result<()> {
        loop {
            let from = self.reader.next_offset();
            let fetched = match self.reader.fetch(FETCH) {
                Err(Error::OffsetOutOfRange { .. }) => {
                    // All values were appended again and what was before is removed, by the writer in another process or
                    // since the sidecar was written. What is removed may say that something was forgotten.
                    if !planted!(remember_what_was_forgotten) {
                        self.groups.clear();
                        self.doubts = Doubts::default();
                    }
                    self.reader.seek(self.log().offsets().log_start());
                    continue;
                }
                Err(error) => {
                    self.pass(error)?;
                    continue;
                }
                Ok(fetched) => fetched,
            };
            if fetched.batches.is_empty() {
                return Ok(());
            }
            self.since_snapshot += fetched.bytes;
            for batch in &fetched.batches {
                if shows_records(batch.header(), &fetched.aborted) {
                    self.apply(batch, from)?;
                }
            }
        }
    }

    /// Goes past bytes that are not what was written, which may have been any commit.
    fn pass(&mut self, error: Error) -> Result<()> {
        let Some(next) = error.next_offset().filter(|next| *next > self.reader.next_offset()) else {
            return Err(error);
        };
        self.doubts.raise(Scope::Anything, next, error);
        self.reader.seek(next);
        Ok(())
    }

    fn apply(&mut self, batch: &RecordBatch, from: Offset) -> Result<()> {
        let log = Arc::clone(self.reader.log());
        let records = match log.decode(batch) {
            // There was no memory for it, or it could not be read: that may pass.
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                self.doubts.raise(Scope::Anything, batch.header().next_offset(), error);
                return Ok(());
            }
            Ok(records) => records,
        };
        for record in records.iter().filter(|record| record.offset >= from) {
            if let Err((scope, error)) = self.apply_record(&record) {
                let error = log.unreadable(batch.header(), in_record(record.offset, error));
                if let Some(scope) = scope {
                    self.doubts.raise(scope, record.offset + 1, error);
                }
            }
        }
        Ok(())
    }

    /// Does what the record says, or says what it may have been about; nothing, where nobody can ask for that.
    fn apply_record(&mut self, record: &Record<'_>) -> Result<(), (Option<Scope>, DecodeError)> {
        let names = |key: &OffsetKey| partition_of(key).map_err(|error| (None, error));
        match decode_commit_record(record) {
            Ok(CommitRecord::Committed(entry)) => {
                let (group, partition) = (entry.key.group.clone(), names(&entry.key)?);
                let scope = || Scope::Partition(group, partition);
                if let Err(error) = insert(&mut self.groups, entry) {
                    return Err((Some(scope()), error));
                }
                self.doubts.settle(scope, record.offset);
            }
            Ok(CommitRecord::Forgotten(key)) => {
                let partition = names(&key)?;
                if let Some(offsets) = self.groups.get_mut(&key.group) {
                    offsets.remove(&partition);
                    if offsets.is_empty() || planted!(a_tombstone_forgets_the_group) {
                        self.groups.remove(&key.group);
                    }
                }
                self.doubts.settle(|| Scope::Partition(key.group, partition), record.offset);
            }
            Ok(CommitRecord::GroupForgotten(group)) => {
                self.doubts.settle(|| Scope::Group(group), record.offset);
            }
            Ok(CommitRecord::Other) => {}
            Err(unreadable) => {
                let scope = match unreadable.about {
                    About::Anything => Scope::Anything,
                    About::Group(group) => Scope::Group(group),
                    About::Offset(key) => Scope::Partition(key.group.clone(), names(&key)?),
                };
                return Err((Some(scope), unreadable.error));
            }
        }
        Ok(())
    }

    /// What `group` has committed for `partition`.
    ///
    /// # Errors
    ///
    /// That of a commit that cannot be read, and may be a later one.
    pub(super) fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<&Entry>> {
        match self.doubts.about(group, Some(partition)) {
            Some(error) if !planted!(believe_older_commits) => Err(error),
            _ => Ok(self.groups.get(group).and_then(|offsets| offsets.get(partition))),
        }
    }

    /// All partitions for which `group` is known to have committed, whether that can be read or not.
    pub(super) fn partitions(&self, group: &str) -> BTreeSet<TopicPartition> {
        let known = self.groups.get(group).into_iter().flat_map(|offsets| offsets.keys());
        known.chain(self.doubts.partitions(group)).cloned().collect()
    }

    /// Writes the sidecar anew.
    pub(super) fn write_snapshot(&mut self, env: &dyn Env) -> Result<()> {
        // Whatever becomes of it, the next try is due after as much log again.
        self.since_snapshot = 0;
        let log = self.log();
        let snapshot = CommittedSnapshot {
            topic_id: log.identity.topic_id,
            incarnation: log.incarnation_of(Offset::MAX).0,
            next_offset: self.reader.next_offset() + u64::from(planted!(a_sidecar_says_more_than_it_has)),
            entries: entries(&self.groups).collect(),
        };
        replace_file(env, &snapshot_path(log), &encode_committed_snapshot(&snapshot))
    }
}

/// The error about the content of the record at `offset`, which may lie anywhere in its batch.
fn in_record(offset: Offset, error: DecodeError) -> DecodeError {
    DecodeError::malformed(0u64, format!("the record at offset {offset}: {error}"))
}

fn snapshot_path(log: &Log) -> PathBuf {
    log.identity.dir.join(SNAPSHOT)
}

/// The sidecar of `log`, when it is whole, of this log, and of a stretch that the log still continues.
fn read_snapshot(env: &dyn Env, log: &Arc<Log>) -> Option<CommittedSnapshot> {
    // It has nothing that the log does not have, at more bytes.
    let most = log.size().saturating_add(TEXT_MAX).min(SIDECAR_MAX);
    let bytes = read_hint(env, &snapshot_path(log), most).ok().flatten()?;
    let snapshot = decode_committed_snapshot(&bytes).ok()?;
    let end = log.incarnation_end(snapshot.incarnation).unwrap_or(Offset::MAX).min(log.offsets().log_end());
    // One that is older than the log start is found out by following the log from where it ends.
    let is_its_own = snapshot.topic_id == log.identity.topic_id || planted!(believe_anothers_sidecar);
    let fits = is_its_own && snapshot.next_offset <= end;
    fits.then_some(snapshot)
}

/// All entries, as they are written.
pub(super) fn entries(groups: &Groups) -> impl Iterator<Item = CommittedEntry> {
    groups.iter().flat_map(|(group, offsets)| {
        offsets.iter().map(|(partition, entry)| CommittedEntry {
            key: key(group, partition),
            value: crate::codec::coordinator::OffsetValue {
                offset: entry.offset.to_i64(),
                leader_epoch: entry.leader_epoch,
                metadata: entry.metadata.clone(),
                commit_timestamp: entry.timestamp,
            },
            life: entry.life,
        })
    })
}

/// The key of what `group` committed for `partition`.
pub(super) fn key(group: &str, partition: &TopicPartition) -> OffsetKey {
    OffsetKey {
        group: group.to_string(),
        topic: partition.topic.to_string(),
        partition: i32::try_from(partition.partition).unwrap_or(i32::MAX),
    }
}

/// The partition that a key is about, where the API would have let that group commit for it.
fn partition_of(key: &OffsetKey) -> Result<TopicPartition, DecodeError> {
    let number = u32::try_from(key.partition)
        .map_err(|_| DecodeError::malformed(0u64, format!("partition {} is negative", key.partition)))?;
    let refused = |rule| DecodeError::malformed(0u64, rule);
    check_group(&key.group).map_err(refused)?;
    let topic = TopicName::new(key.topic.as_str());
    let topic = topic.map_err(|rule| refused(format!("{:?} is no topic's name: {rule}", key.topic)))?;
    Ok(TopicPartition::new(topic.as_str(), number))
}

fn insert(groups: &mut Groups, entry: CommittedEntry) -> Result<(), DecodeError> {
    let CommittedEntry { key, value, life } = entry;
    let partition = partition_of(&key)?;
    let offset = Offset::from_i64(value.offset)
        .ok_or_else(|| DecodeError::malformed(0u64, format!("offset {} is negative", value.offset)))?;
    let entry = Entry {
        offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata,
        timestamp: value.commit_timestamp,
        life,
    };
    groups.entry(key.group).or_default().insert(partition, entry);
    Ok(())
}
