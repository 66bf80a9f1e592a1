//! The records that groups write, in Kafka's format; headers carry the topic id and the incarnation that an offset
//! belongs to.

use crate::{
    codec::coordinator::{
        INCARNATION_HEADER, OffsetKey, TOPIC_ID_HEADER,
        committed::{CommittedEntry, OtherRecord},
        encode_group_metadata_key, encode_incarnation, encode_offset_key, encode_offset_value,
    },
    table::TableRecord,
    types::TopicPartition,
};

/// What is appended to `__consumer_offsets`.
pub(super) enum OffsetRecord {
    Value(CommittedEntry),
    Tombstone(OffsetKey),
    GroupTombstone(String),
    Other(OtherRecord),
}

impl OffsetRecord {
    pub(super) fn encode(&self) -> TableRecord {
        match self {
            OffsetRecord::Value(CommittedEntry { key, value, life }) => {
                let incarnation = life.incarnation.map(|number| encode_incarnation(number.into()));
                let headers = [
                    incarnation.map(|bytes| (INCARNATION_HEADER.into(), Some(bytes.to_vec()))),
                    life.topic_id.map(|id| (TOPIC_ID_HEADER.into(), Some(id.as_bytes().to_vec()))),
                ];
                TableRecord {
                    key: encode_offset_key(key),
                    value: Some(encode_offset_value(value)),
                    headers: headers.into_iter().flatten().collect(),
                }
            }
            OffsetRecord::Tombstone(key) => TableRecord::tombstone(encode_offset_key(key)),
            OffsetRecord::GroupTombstone(group) => TableRecord::tombstone(encode_group_metadata_key(group)),
            OffsetRecord::Other(OtherRecord { key, value, headers }) => TableRecord {
                key: key.clone(),
                value: value.clone(),
                headers: headers.iter().map(|(name, value)| (name.clone().into(), value.clone())).collect(),
            },
        }
    }
}

/// The key of what `group` committed for `partition`.
pub(super) fn key(group: &str, partition: &TopicPartition) -> OffsetKey {
    OffsetKey {
        group: group.to_string(),
        topic: partition.topic.to_string(),
        partition: i32::try_from(partition.partition).unwrap_or(i32::MAX),
    }
}
