//! A committed offset as questions are answered from it, and as it is written.

use super::record::key;
use crate::{
    codec::{
        DecodeError,
        coordinator::{
            OffsetKey, OffsetValue,
            committed::{CommittedEntry, Life},
        },
    },
    partition::log::Log,
    types::{
        Offset, Timestamp, TopicPartition,
        name::{TopicName, check_group},
    },
};
use std::collections::BTreeMap;

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

/// Something of groups for partitions.
pub(super) type Groups<T> = BTreeMap<String, BTreeMap<TopicPartition, T>>;

/// An entry, as it is written.
pub(super) fn written(group: &str, partition: &TopicPartition, entry: &Entry) -> CommittedEntry {
    CommittedEntry {
        key: key(group, partition),
        value: OffsetValue {
            offset: entry.offset.to_i64(),
            leader_epoch: entry.leader_epoch,
            metadata: entry.metadata.clone(),
            commit_timestamp: entry.timestamp,
        },
        life: entry.life,
    }
}

/// An entry as it was written, and whose it is.
pub(super) fn read(entry: CommittedEntry) -> Result<(String, TopicPartition, Entry), DecodeError> {
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
    Ok((key.group, partition, entry))
}

/// The partition that a key is about, if the API would have accepted a commit of that group for it.
pub(super) fn partition_of(key: &OffsetKey) -> Result<TopicPartition, DecodeError> {
    let number = u32::try_from(key.partition)
        .map_err(|_| DecodeError::malformed(0u64, format!("partition {} is negative", key.partition)))?;
    let refused = |rule| DecodeError::malformed(0u64, rule);
    check_group(&key.group).map_err(refused)?;
    let topic = TopicName::new(key.topic.as_str());
    let topic = topic.map_err(|rule| refused(format!("{:?} is not a topic's name: {rule}", key.topic)))?;
    Ok(TopicPartition::new(topic.as_str(), number))
}
