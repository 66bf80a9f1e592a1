//! What the records of `__consumer_offsets` say: committed offsets, with the life they belong to, and records that are
//! somebody else's and are kept as they are.

use super::{
    CoordinatorKey, INCARNATION_HEADER, OffsetKey, OffsetValue, TOPIC_ID_HEADER, decode_incarnation,
    decode_key, decode_offset_value, group_of_key,
};
use crate::{
    codec::{DecodeError, record::Record},
    types::TopicId,
};

/// Whose offset a committed one is, beyond the topic's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// The topic's id.
    pub topic_id: Option<TopicId>,
    /// The partition's incarnation when it was committed.
    pub incarnation: Option<u32>,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedEntry {
    /// Of which group, for which partition.
    pub key: OffsetKey,
    /// What was committed.
    pub value: OffsetValue,
    /// What it belongs to.
    pub life: Life,
}

/// What a record of `__consumer_offsets` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitRecord {
    /// A group committed this.
    Committed(CommittedEntry),
    /// What was committed for this is forgotten.
    Forgotten(OffsetKey),
    /// The group is forgotten.
    GroupForgotten(String),
    /// Something else, which is not looked into and stays what its key stands for.
    Other(OtherRecord),
    /// Nothing: a record without a key stands for nothing.
    Keyless,
}

/// A record that is not a committed offset, such as a broker's groups and their members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherRecord {
    /// What it is about.
    pub key: Vec<u8>,
    /// What it says; `None` deletes what was said before.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl OtherRecord {
    fn of(key: &[u8], record: &Record<'_>) -> Self {
        let headers = record.headers.into_iter();
        OtherRecord {
            key: key.to_vec(),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.map(|(name, value)| (name.to_string(), value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

/// A record of `__consumer_offsets` that cannot be read, and what it may be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableCommit {
    /// Why it cannot be read.
    pub error: DecodeError,
    /// What its key says, as far as that can be read.
    pub about: About,
}

/// As much as can be read of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Nothing.
    Anything,
    /// A group's name.
    Group(String),
    /// All of it.
    Offset(OffsetKey),
}

/// What `record` says.
pub fn decode_commit_record(record: &Record<'_>) -> Result<CommitRecord, UnreadableCommit> {
    let Some(bytes) = record.key else { return Ok(CommitRecord::Keyless) };
    let key = match decode_key(bytes) {
        Ok(CoordinatorKey::OffsetCommit(key)) => key,
        Ok(CoordinatorKey::GroupMetadata(group)) if record.value.is_none() => {
            return Ok(CommitRecord::GroupForgotten(group));
        }
        Ok(CoordinatorKey::GroupMetadata(_) | CoordinatorKey::Unknown(_)) => {
            return Ok(CommitRecord::Other(OtherRecord::of(bytes, record)));
        }
        Err(error) => {
            let about = group_of_key(bytes).map_or(About::Anything, About::Group);
            return Err(UnreadableCommit { error, about });
        }
    };
    let Some(value) = record.value else { return Ok(CommitRecord::Forgotten(key)) };
    match decode_value(value, record) {
        Ok((value, life)) => Ok(CommitRecord::Committed(CommittedEntry { key, value, life })),
        Err(error) => Err(UnreadableCommit { error, about: About::Offset(key) }),
    }
}

fn decode_value(value: &[u8], record: &Record<'_>) -> Result<(OffsetValue, Life), DecodeError> {
    let value = decode_offset_value(value)?;
    let mut life = Life::default();
    for (name, value) in record.headers {
        match (name, value) {
            (INCARNATION_HEADER, Some(bytes)) => {
                let number = decode_incarnation(bytes)?;
                let number = u32::try_from(number);
                life.incarnation = Some(number.map_err(|_| malformed("an incarnation beyond 32 bits"))?);
            }
            (TOPIC_ID_HEADER, Some(bytes)) => life.topic_id = Some(topic_id(bytes)?),
            _ => {}
        }
    }
    Ok((value, life))
}

pub(super) fn topic_id(bytes: &[u8]) -> Result<TopicId, DecodeError> {
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| malformed("a topic id has 16 bytes"))?;
    Ok(TopicId::from_bytes(bytes))
}

pub(super) fn malformed(reason: &'static str) -> DecodeError {
    DecodeError::malformed(0u64, reason)
}
