//! The sidecar of `__consumer_offsets`: what its records say together, up to an offset. Big-endian:
//!
#![doc = include_str!("../layout/consumer-offsets.md")]
//!
//! A key, a value, a topic id, an incarnation, a name stand after the four bytes of their length. An id or incarnation of
//! length 0 is not known; a length of four bytes `ff` is a null.

use super::{
    CoordinatorKey,
    committed::{CommittedEntry, Life, OtherRecord, malformed, topic_id},
    decode_key, decode_offset_value, encode_offset_key, encode_offset_value,
};
use crate::{
    codec::{DecodeError, crc::crc32, cursor::Cursor},
    types::{Offset, ProducerEpoch, TopicId},
};

const MAGIC: [u8; 4] = *b"SLCO";
const VERSION: u16 = 2;
/// The length of a null.
const NULL: u32 = u32::MAX;

/// What the records of `__consumer_offsets` say together, as of an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedSnapshot {
    /// The id of `__consumer_offsets`.
    pub topic_id: TopicId,
    /// The incarnation of its partition.
    pub incarnation: u32,
    /// All records below are in it.
    pub next_offset: Offset,
    /// What is committed.
    pub entries: Vec<CommittedEntry>,
    /// What is committed when a transaction is.
    pub pending: Vec<PendingEntry>,
    /// What stands beside that.
    pub others: Vec<OtherRecord>,
}

/// An offset that is committed when its transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEntry {
    /// Whose transaction that is.
    pub by: ProducerEpoch,
    /// The offset of the record.
    pub at: Offset,
    /// What it says.
    pub entry: CommittedEntry,
}

/// The sidecar's bytes.
pub fn encode_committed_snapshot(snapshot: &CommittedSnapshot) -> Vec<u8> {
    let mut body = snapshot.topic_id.as_bytes().to_vec();
    body.extend(snapshot.incarnation.to_be_bytes());
    body.extend(snapshot.next_offset.to_i64().to_be_bytes());
    put_count(&mut body, snapshot.entries.len());
    for entry in &snapshot.entries {
        put_entry(&mut body, entry);
    }
    put_count(&mut body, snapshot.pending.len());
    for PendingEntry { by, at, entry } in &snapshot.pending {
        body.extend(by.id.to_be_bytes());
        body.extend(by.epoch.to_be_bytes());
        body.extend(at.to_i64().to_be_bytes());
        put_entry(&mut body, entry);
    }
    put_count(&mut body, snapshot.others.len());
    for OtherRecord { key, value, headers } in &snapshot.others {
        put(&mut body, Some(key));
        put(&mut body, value.as_deref());
        put_count(&mut body, headers.len());
        for (name, value) in headers {
            put(&mut body, Some(name.as_bytes()));
            put(&mut body, value.as_deref());
        }
    }
    [MAGIC.as_slice(), &VERSION.to_be_bytes(), &crc32(&body).to_be_bytes(), &body].concat()
}

fn put_entry(body: &mut Vec<u8>, CommittedEntry { key, value, life }: &CommittedEntry) {
    put(body, Some(&encode_offset_key(key)));
    put(body, Some(&encode_offset_value(value)));
    put(body, Some(life.topic_id.as_ref().map_or(&[][..], |id| id.as_bytes())));
    put(body, Some(life.incarnation.map(u32::to_be_bytes).as_ref().map_or(&[][..], |bytes| bytes)));
}

fn put_count(body: &mut Vec<u8>, count: usize) {
    body.extend((count as u32).to_be_bytes());
}

fn put(body: &mut Vec<u8>, part: Option<&[u8]>) {
    body.extend(part.map_or(NULL, |part| part.len() as u32).to_be_bytes());
    body.extend(part.unwrap_or_default());
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
        return Err(DecodeError::Unsupported { found, supported: "version 2" });
    }
    if cursor.u32()? != crc32(cursor.rest()) {
        return Err(cursor.malformed("the checksum does not match"));
    }
    let snapshot = CommittedSnapshot {
        topic_id: TopicId::from_bytes(cursor.array()?),
        incarnation: cursor.u32()?,
        next_offset: offset(&mut cursor)?,
        entries: list(&mut cursor, entry)?,
        pending: list(&mut cursor, pending)?,
        others: list(&mut cursor, other)?,
    };
    cursor.end()?;
    Ok(snapshot)
}

fn list<'a, T>(
    cursor: &mut Cursor<'a>,
    one: impl Fn(&mut Cursor<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut list = Vec::new();
    for _ in 0..cursor.u32()? {
        // A count that lies runs out of bytes here: nothing was allocated for it.
        list.push(one(cursor)?);
    }
    Ok(list)
}

fn entry(cursor: &mut Cursor<'_>) -> Result<CommittedEntry, DecodeError> {
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

fn pending(cursor: &mut Cursor<'_>) -> Result<PendingEntry, DecodeError> {
    let by = ProducerEpoch { id: cursor.i64()?, epoch: cursor.i16()? };
    Ok(PendingEntry { by, at: offset(cursor)?, entry: entry(cursor)? })
}

fn other(cursor: &mut Cursor<'_>) -> Result<OtherRecord, DecodeError> {
    Ok(OtherRecord {
        key: part(cursor)?.to_vec(),
        value: nullable(cursor)?.map(<[u8]>::to_vec),
        headers: list(cursor, header)?,
    })
}

fn header(cursor: &mut Cursor<'_>) -> Result<(String, Option<Vec<u8>>), DecodeError> {
    let name = String::from_utf8(part(cursor)?.to_vec());
    let name = name.map_err(|_| cursor.malformed("the name of a header is not UTF-8"))?;
    Ok((name, nullable(cursor)?.map(<[u8]>::to_vec)))
}

fn offset(cursor: &mut Cursor<'_>) -> Result<Offset, DecodeError> {
    Offset::from_i64(cursor.i64()?).ok_or_else(|| cursor.malformed("a negative offset"))
}

fn part<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
    nullable(cursor)?.ok_or_else(|| cursor.malformed("a null where something must stand"))
}

fn nullable<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    match cursor.u32()? {
        NULL => Ok(None),
        length => cursor.slice(usize::try_from(length).unwrap_or(usize::MAX)).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::coordinator::{OffsetKey, OffsetValue},
        types::Timestamp,
    };
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
            pending: vec![PendingEntry {
                by: ProducerEpoch { id: 1 << 50, epoch: 3 },
                at: Offset::new(76),
                entry: entry("c", Life::default()),
            }],
            others: vec![OtherRecord {
                key: vec![0, 2],
                value: Some(vec![]),
                headers: vec![("h".into(), Some(vec![1])), (String::new(), None)],
            }],
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
    fn nothing_comes_after_the_last_record() {
        let mut bytes = encode_committed_snapshot(&snapshot());
        assert_eq!(decode_committed_snapshot(&bytes), Ok(snapshot()));
        bytes.push(0);
        let crc = crc32(&bytes[10..]);
        bytes[6..10].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(decode_committed_snapshot(&bytes), Err(DecodeError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn any_body_is_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let head = [MAGIC.as_slice(), &VERSION.to_be_bytes(), &crc32(&body).to_be_bytes()].concat();
            let _ = decode_committed_snapshot(&[head, body].concat());
        }
    }
}
