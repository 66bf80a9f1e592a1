//! What all groups have committed: a map that is the sum of the records of `__consumer_offsets`.
//!
//! Records of unknown kinds are skipped, as in Kafka. A record or batch that cannot be read puts in [doubt](Doubts)
//! only the commits that it may replace.

use super::{
    OFFSETS_TOPIC,
    doubts::{Doubts, Scope},
    record::{OffsetRecord, key},
};
use crate::{
    codec::{
        DecodeError,
        coordinator::{
            OffsetKey, OffsetValue,
            committed::{
                About, CommitRecord, CommittedEntry, CommittedSnapshot, Life, decode_commit_record,
                decode_committed_snapshot, encode_committed_snapshot,
            },
        },
        record::Record,
    },
    error::{self, Error},
    partition::log::Log,
    table::{SidecarPoint, State, TableRecord},
    types::{
        Offset, ProducerEpoch, Timestamp, TopicPartition,
        name::{TopicName, check_group},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// What a group committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: Offset,
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
    pub(super) timestamp: Timestamp,
    pub(super) life: Life,
}

impl Entry {
    /// Whether it belongs to this log: its topic may have been deleted and created again since. A record without a
    /// topic id, such as a broker's, counts as belonging to it.
    pub(super) fn is_of(&self, log: &Log) -> bool {
        self.life.topic_id.is_none_or(|id| id == log.identity.topic_id)
    }
}

/// What groups committed, by their names.
pub(super) type Groups = BTreeMap<String, BTreeMap<TopicPartition, Entry>>;

/// What all groups committed.
#[derive(Debug, Default)]
pub(crate) struct GroupOffsets {
    pub(super) groups: Groups,
    /// Which of these may be out of date.
    pub(super) doubts: Doubts,
}

impl State for GroupOffsets {
    const TOPIC: &'static str = OFFSETS_TOPIC;
    const SIDECAR: &'static str = "consumer-offsets.snapshot";

    fn apply(
        &mut self,
        record: &Record<'_>,
        _by: Option<ProducerEpoch>,
        unreadable: &dyn Fn(DecodeError) -> Error,
    ) {
        if let Err((scope, error)) = self.apply_record(record) {
            let error = unreadable(error);
            if let Some(scope) = scope {
                self.doubts.raise(scope, record.offset + 1, error);
            }
        }
    }

    fn pass_over(&mut self, until: Offset, error: Error) {
        self.doubts.raise(Scope::Anything, until, error);
    }

    fn is_whole(&self) -> bool {
        self.doubts.are_none()
    }

    fn snapshot(&self) -> Vec<TableRecord> {
        self.entries().map(|entry| OffsetRecord::Value(entry).encode()).collect()
    }

    fn encode_sidecar(&self, at: SidecarPoint) -> Vec<u8> {
        let SidecarPoint { topic_id, incarnation, next_offset } = at;
        let entries = self.entries().collect();
        encode_committed_snapshot(&CommittedSnapshot { topic_id, incarnation, next_offset, entries })
    }

    fn decode_sidecar(bytes: &[u8]) -> Result<(SidecarPoint, Self), DecodeError> {
        let CommittedSnapshot { topic_id, incarnation, next_offset, entries } =
            decode_committed_snapshot(bytes)?;
        let mut state = GroupOffsets::default();
        entries.into_iter().try_for_each(|entry| state.insert(entry))?;
        Ok((SidecarPoint { topic_id, incarnation, next_offset }, state))
    }
}

impl GroupOffsets {
    /// Applies the record. If it cannot, it returns what the record may have been about; `None` where no group could
    /// ask for that.
    fn apply_record(&mut self, record: &Record<'_>) -> Result<(), (Option<Scope>, DecodeError)> {
        let names = |key: &OffsetKey| partition_of(key).map_err(|error| (None, error));
        match decode_commit_record(record) {
            Ok(CommitRecord::Committed(entry)) => {
                let (group, partition) = (entry.key.group.clone(), names(&entry.key)?);
                let scope = || Scope::Partition(group, partition);
                if let Err(error) = self.insert(entry) {
                    return Err((Some(scope()), error));
                }
                self.doubts.settle(scope, record.offset);
            }
            Ok(CommitRecord::Forgotten(key)) => {
                let partition = names(&key)?;
                self.forget(&key.group, &partition);
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

    fn insert(&mut self, entry: CommittedEntry) -> Result<(), DecodeError> {
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
        self.groups.entry(key.group).or_default().insert(partition, entry);
        Ok(())
    }

    fn forget(&mut self, group: &str, partition: &TopicPartition) {
        if let Some(offsets) = self.groups.get_mut(group) {
            offsets.remove(partition);
            let mut is_empty = offsets.is_empty();
            planted!(a_tombstone_forgets_the_group => is_empty = true);
            if is_empty {
                self.groups.remove(group);
            }
        }
    }

    /// What `group` has committed for `partition`.
    ///
    /// # Errors
    ///
    /// The error of a commit that cannot be read and may be a later one.
    pub(super) fn committed(&self, group: &str, partition: &TopicPartition) -> error::Result<Option<&Entry>> {
        if let Some(error) = self.doubts.about(group, Some(partition)) {
            unless_planted!(believe_older_commits => return Err(error));
        }
        Ok(self.groups.get(group).and_then(|offsets| offsets.get(partition)))
    }

    /// All partitions for which `group` is known to have committed, whether that can be read or not.
    pub(super) fn partitions(&self, group: &str) -> BTreeSet<TopicPartition> {
        let known = self.groups.get(group).into_iter().flat_map(|offsets| offsets.keys());
        known.chain(self.doubts.partitions(group)).cloned().collect()
    }

    /// All entries, as they are written.
    fn entries(&self) -> impl Iterator<Item = CommittedEntry> {
        self.groups.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(|(partition, entry)| CommittedEntry {
                key: key(group, partition),
                value: OffsetValue {
                    offset: entry.offset.to_i64(),
                    leader_epoch: entry.leader_epoch,
                    metadata: entry.metadata.clone(),
                    commit_timestamp: entry.timestamp,
                },
                life: entry.life,
            })
        })
    }
}

/// The partition that a key is about, if the API would have accepted a commit of that group for it.
fn partition_of(key: &OffsetKey) -> Result<TopicPartition, DecodeError> {
    let number = u32::try_from(key.partition)
        .map_err(|_| DecodeError::malformed(0u64, format!("partition {} is negative", key.partition)))?;
    let refused = |rule| DecodeError::malformed(0u64, rule);
    check_group(&key.group).map_err(refused)?;
    let topic = TopicName::new(key.topic.as_str());
    let topic = topic.map_err(|rule| refused(format!("{:?} is not a topic's name: {rule}", key.topic)))?;
    Ok(TopicPartition::new(topic.as_str(), number))
}
