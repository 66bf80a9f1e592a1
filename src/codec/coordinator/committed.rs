//! Committed offsets with the life they belong to: as records of `__consumer_offsets`, and as a sidecar that holds all of
//! them.
//!
//! The sidecar, big-endian:
//!
#![doc = include_str!("../layout/consumer-offsets.md")]
//!
//! An entry is a key, a value (both as Kafka writes them), a topic id and an incarnation, each after the four bytes of its
//! length; an id or incarnation of length 0 is not known.

use super::{
    CoordinatorKey, INCARNATION_HEADER, OffsetKey, OffsetValue, TOPIC_ID_HEADER, decode_incarnation,
    decode_key, decode_offset_value, encode_offset_key, encode_offset_value, group_of_key,
};
use crate::{
    codec::{DecodeError, cursor::Cursor, record::Record},
    types::{Offset, TopicId},
};

const MAGIC: [u8; 4] = *b"SLCO";
const VERSION: u16 = 1;

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
    /// Something else, which nobody here needs.
    Other,
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

/// All committed offsets, as of an offset of the log they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedSnapshot {
    /// The id of `__consumer_offsets`.
    pub topic_id: TopicId,
    /// The incarnation of its partition.
    pub incarnation: u32,
    /// All records below are in it.
    pub next_offset: Offset,
    /// What they say.
    pub entries: Vec<CommittedEntry>,
}

/// What `record` says. Keys of kinds that are not known here are passed over, as Kafka does.
pub fn decode_commit_record(record: &Record<'_>) -> Result<CommitRecord, UnreadableCommit> {
    let Some(key) = record.key else { return Ok(CommitRecord::Other) };
    let key = match decode_key(key) {
        Ok(CoordinatorKey::OffsetCommit(key)) => key,
        Ok(CoordinatorKey::GroupMetadata(group)) if record.value.is_none() => {
            return Ok(CommitRecord::GroupForgotten(group));
        }
        Ok(CoordinatorKey::GroupMetadata(_) | CoordinatorKey::Unknown(_)) => return Ok(CommitRecord::Other),
        Err(error) => {
            let about = group_of_key(key).map_or(About::Anything, About::Group);
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

fn topic_id(bytes: &[u8]) -> Result<TopicId, DecodeError> {
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| malformed("a topic id has 16 bytes"))?;
    Ok(TopicId::from_bytes(bytes))
}

fn malformed(reason: &'static str) -> DecodeError {
    DecodeError::malformed(0u64, reason)
}

/// The sidecar's bytes.
pub fn encode_committed_snapshot(snapshot: &CommittedSnapshot) -> Vec<u8> {
    let mut body = snapshot.topic_id.as_bytes().to_vec();
    body.extend_from_slice(&snapshot.incarnation.to_be_bytes());
    body.extend_from_slice(&snapshot.next_offset.to_i64().to_be_bytes());
    body.extend_from_slice(&(snapshot.entries.len() as u32).to_be_bytes());
    let mut put = |part: &[u8]| {
        body.extend_from_slice(&(part.len() as u32).to_be_bytes());
        body.extend_from_slice(part);
    };
    for CommittedEntry { key, value, life } in &snapshot.entries {
        put(&encode_offset_key(key));
        put(&encode_offset_value(value));
        put(life.topic_id.as_ref().map_or(&[][..], |id| id.as_bytes()));
        put(life.incarnation.map(u32::to_be_bytes).as_ref().map_or(&[][..], |bytes| bytes));
    }
    let crc = crate::codec::crc::crc32(&body);
    [MAGIC.as_slice(), &VERSION.to_be_bytes(), &crc.to_be_bytes(), &body].concat()
}

/// The sidecar in `bytes`.
pub fn decode_committed_snapshot(bytes: &[u8]) -> Result<CommittedSnapshot, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array()? != MAGIC {
        return Err(malformed("a sidecar of committed offsets begins with \"SLCO\""));
    }
    let version = cursor.u16()?;
    if version != VERSION {
        let found = format!("committed offsets of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "version 1" });
    }
    let crc = cursor.u32()?;
    if crc != crate::codec::crc::crc32(cursor.rest()) {
        return Err(cursor.malformed("the checksum does not match"));
    }
    let topic_id = TopicId::from_bytes(cursor.array()?);
    let incarnation = cursor.u32()?;
    let next_offset = Offset::from_i64(cursor.i64()?).ok_or_else(|| cursor.malformed("a negative offset"))?;
    let count = cursor.u32()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        // A count that lies runs out of bytes here: nothing was allocated for it.
        entries.push(decode_entry(&mut cursor)?);
    }
    cursor.end()?;
    Ok(CommittedSnapshot { topic_id, incarnation, next_offset, entries })
}

fn decode_entry(cursor: &mut Cursor<'_>) -> Result<CommittedEntry, DecodeError> {
    let begin = cursor.position() as u64;
    let at = |error: DecodeError| error.shifted(begin);
    let CoordinatorKey::OffsetCommit(key) = decode_key(part(cursor)?).map_err(at)? else {
        return Err(cursor.malformed("a key that is not of a committed offset"));
    };
    let value = decode_offset_value(part(cursor)?).map_err(at)?;
    let id = part(cursor)?;
    let id = if id.is_empty() { None } else { Some(topic_id(id).map_err(at)?) };
    let incarnation = match part(cursor)? {
        [] => None,
        bytes => {
            let bytes = <[u8; 4]>::try_from(bytes);
            Some(u32::from_be_bytes(bytes.map_err(|_| cursor.malformed("an incarnation has 4 bytes"))?))
        }
    };
    Ok(CommittedEntry { key, value, life: Life { topic_id: id, incarnation } })
}

fn part<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
    let length = cursor.u32()?;
    cursor.slice(usize::try_from(length).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;
    use proptest::prelude::*;

    fn snapshot() -> CommittedSnapshot {
        let entry = |group: &str, life| CommittedEntry {
            key: OffsetKey { group: group.into(), topic: "t".into(), partition: 3 },
            value: OffsetValue {
                offset: 42,
                leader_epoch: -1,
                metadata: "m".into(),
                commit_timestamp: Timestamp::from_millis(7),
            },
            life,
        };
        let id = TopicId::from_bytes([9; 16]);
        CommittedSnapshot {
            topic_id: TopicId::from_bytes([1; 16]),
            incarnation: 2,
            next_offset: Offset::new(77),
            entries: vec![
                entry("a", Life::default()),
                entry("b", Life { topic_id: Some(id), incarnation: Some(5) }),
            ],
        }
    }

    #[test]
    fn the_sidecar_reads_back() {
        let bytes = encode_committed_snapshot(&snapshot());
        assert_eq!(decode_committed_snapshot(&bytes), Ok(snapshot()));
    }

    #[test]
    fn a_changed_byte_or_a_cut_is_noticed_anywhere() {
        let bytes = encode_committed_snapshot(&snapshot());
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 0x40;
            assert!(decode_committed_snapshot(&bad).is_err(), "byte {i}");
            assert!(decode_committed_snapshot(&bytes[..i]).is_err(), "cut at {i}");
        }
        assert!(decode_committed_snapshot(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn nothing_comes_after_the_last_entry() {
        let mut bytes = encode_committed_snapshot(&snapshot());
        assert_eq!(decode_committed_snapshot(&bytes), Ok(snapshot()));
        bytes.push(0);
        let crc = crate::codec::crc::crc32(&bytes[10..]);
        bytes[6..10].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(decode_committed_snapshot(&bytes), Err(DecodeError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn any_body_is_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let head = [MAGIC.as_slice(), &VERSION.to_be_bytes(), &crate::codec::crc::crc32(&body).to_be_bytes()].concat();
            let _ = decode_committed_snapshot(&[head, body].concat());
        }
    }
}
