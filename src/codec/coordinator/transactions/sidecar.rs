//! Everything that the records of `__transaction_state` say, as a sidecar, so that loading reads only what came later.
//!
//! Big-endian:
//!
#![doc = include_str!("../../layout/transaction-state.md")]

use super::{
    TransactionKey, TransactionValue, decode_transaction_key, decode_transaction_value,
    encode_transaction_key, encode_transaction_value,
    ends::{End, decode_ends, encode_ends},
};
use crate::{
    codec::{DecodeError, crc::crc32, cursor::Cursor},
    types::{Offset, TopicId},
};

const MAGIC: [u8; 4] = *b"SLTX";
const VERSION: u16 = 1;
const COMMITTED: u8 = 1;
const COMPLETE: u8 = 2;
const HAS_ENDS: u8 = 4;

/// What all transactional ids did, as of an offset of the log that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSnapshot {
    /// The id of `__transaction_state`.
    pub topic_id: TopicId,
    /// The incarnation of its partition.
    pub incarnation: u32,
    /// All records below are in it.
    pub next_offset: Offset,
    /// The last value of each transactional id.
    pub entries: Vec<(String, TransactionValue)>,
    /// The decisions since the log was rewritten.
    pub decisions: Vec<DecisionEntry>,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionEntry {
    /// Of which transactional id.
    pub transactional_id: String,
    /// The producer.
    pub producer_id: i64,
    /// The epoch of the transaction's batches.
    pub epoch: i16,
    /// The epoch of its markers.
    pub marker_epoch: i16,
    /// Whether it is committed.
    pub committed: bool,
    /// How far the logs must reach for it to count; `None` in a broker's, which counts by itself.
    pub ends: Option<Vec<End>>,
    /// The value of its Prepare record, until its markers are written.
    pub open: Option<TransactionValue>,
}

/// The sidecar's bytes.
pub fn encode_transaction_snapshot(snapshot: &TransactionSnapshot) -> Vec<u8> {
    let mut body = snapshot.topic_id.as_bytes().to_vec();
    body.extend_from_slice(&snapshot.incarnation.to_be_bytes());
    body.extend_from_slice(&snapshot.next_offset.to_i64().to_be_bytes());
    body.extend_from_slice(&(snapshot.entries.len() as u32).to_be_bytes());
    for (id, value) in &snapshot.entries {
        put(&mut body, &encode_transaction_key(id));
        put(&mut body, &encode_transaction_value(value));
    }
    body.extend_from_slice(&(snapshot.decisions.len() as u32).to_be_bytes());
    snapshot.decisions.iter().for_each(|decision| put_decision(&mut body, decision));
    [MAGIC.as_slice(), &VERSION.to_be_bytes(), &crc32(&body).to_be_bytes(), &body].concat()
}

fn put_decision(body: &mut Vec<u8>, decision: &DecisionEntry) {
    let committed = u8::from(decision.committed) * COMMITTED;
    let complete = u8::from(decision.open.is_none()) * COMPLETE;
    put(body, &encode_transaction_key(&decision.transactional_id));
    body.extend_from_slice(&decision.producer_id.to_be_bytes());
    body.extend_from_slice(&decision.epoch.to_be_bytes());
    body.extend_from_slice(&decision.marker_epoch.to_be_bytes());
    let has_ends = u8::from(decision.ends.is_some()) * HAS_ENDS;
    body.push(committed | complete | has_ends);
    if let Some(value) = &decision.open {
        put(body, &encode_transaction_value(value));
    }
    if let Some(ends) = &decision.ends {
        put(body, &encode_ends(ends));
    }
}

fn put(body: &mut Vec<u8>, part: &[u8]) {
    body.extend_from_slice(&(part.len() as u32).to_be_bytes());
    body.extend_from_slice(part);
}

/// The sidecar in `bytes`.
pub fn decode_transaction_snapshot(bytes: &[u8]) -> Result<TransactionSnapshot, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array()? != MAGIC {
        return Err(DecodeError::malformed(0u64, "a sidecar of transactions begins with \"SLTX\""));
    }
    let version = cursor.u16()?;
    if version != VERSION {
        let found = format!("transactions of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "version 1" });
    }
    if cursor.u32()? != crc32(cursor.rest()) {
        return Err(cursor.malformed("the checksum does not match"));
    }
    let topic_id = TopicId::from_bytes(cursor.array()?);
    let incarnation = cursor.u32()?;
    let next_offset = Offset::from_i64(cursor.i64()?).ok_or_else(|| cursor.malformed("a negative offset"))?;
    // A count that lies runs out of bytes: collecting results allocates nothing beforehand.
    let count = cursor.u32()?;
    let entries = (0..count).map(|_| decode_entry(&mut cursor)).collect::<Result<_, _>>()?;
    let count = cursor.u32()?;
    let decisions = (0..count).map(|_| decode_decision(&mut cursor)).collect::<Result<_, _>>()?;
    cursor.end()?;
    Ok(TransactionSnapshot { topic_id, incarnation, next_offset, entries, decisions })
}

fn decode_entry(cursor: &mut Cursor<'_>) -> Result<(String, TransactionValue), DecodeError> {
    Ok((part(cursor, transactional_id)?, part(cursor, decode_transaction_value)?))
}

fn decode_decision(cursor: &mut Cursor<'_>) -> Result<DecisionEntry, DecodeError> {
    let transactional_id = part(cursor, transactional_id)?;
    let producer_id = cursor.i64()?;
    let (epoch, marker_epoch, flags) = (cursor.i16()?, cursor.i16()?, cursor.u8()?);
    let has = |flag| flags & flag != 0;
    if flags > COMMITTED | COMPLETE | HAS_ENDS {
        return Err(cursor.malformed(format!("flags {flags:#04x} of a decision")));
    }
    let open = if has(COMPLETE) { None } else { Some(part(cursor, decode_transaction_value)?) };
    let ends = if has(HAS_ENDS) { Some(part(cursor, decode_ends)?) } else { None };
    let committed = has(COMMITTED);
    Ok(DecisionEntry { transactional_id, producer_id, epoch, marker_epoch, committed, ends, open })
}

fn transactional_id(key: &[u8]) -> Result<String, DecodeError> {
    match decode_transaction_key(key)? {
        TransactionKey::TransactionalId(id) => Ok(id),
        TransactionKey::Unknown(kind) => Err(DecodeError::malformed(0u64, format!("a key of kind {kind}"))),
    }
}

/// What `decode` makes of the next part.
fn part<T>(
    cursor: &mut Cursor<'_>,
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let length = usize::try_from(cursor.u32()?).unwrap_or(usize::MAX);
    let begin = cursor.position() as u64;
    decode(cursor.slice(length)?).map_err(|error| error.shifted(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::coordinator::transactions::TransactionStatus, types::Timestamp};
    use proptest::prelude::*;

    fn snapshot() -> TransactionSnapshot {
        let value = |producer_id| TransactionValue {
            producer_id,
            previous_producer_id: -1,
            next_producer_id: -1,
            producer_epoch: 1,
            next_producer_epoch: -1,
            timeout_ms: 60_000,
            status: TransactionStatus::PrepareCommit,
            partitions: Some(vec![]),
            last_update: Timestamp::from_millis(7),
            started: Timestamp::from_millis(5),
            client_version: 2,
        };
        let topic_id = TopicId::from_bytes([9; 16]);
        let offsets = Offset::new(4)..Offset::new(8);
        let end = End { topic_id, partition: 1, incarnation: 2, offsets };
        let decision = |epoch, ends, open| DecisionEntry {
            transactional_id: "a".into(),
            producer_id: 9,
            epoch,
            marker_epoch: epoch + 1,
            committed: epoch != 1,
            ends,
            open,
        };
        TransactionSnapshot {
            topic_id: TopicId::from_bytes([1; 16]),
            incarnation: 2,
            next_offset: Offset::new(77),
            entries: vec![("a".into(), value(9)), ("b".into(), value(10))],
            decisions: vec![
                decision(0, None, None),
                decision(1, None, Some(value(9))),
                decision(2, Some(vec![end.clone()]), None),
                decision(3, Some(vec![end]), Some(value(9))),
            ],
        }
    }

    #[test]
    fn the_sidecar_reads_back() {
        let bytes = encode_transaction_snapshot(&snapshot());
        assert_eq!(bytes[..6], *b"SLTX\0\x01");
        assert_eq!(decode_transaction_snapshot(&bytes), Ok(snapshot()));
    }

    #[test]
    fn a_changed_byte_or_a_cut_is_noticed_anywhere() {
        let bytes = encode_transaction_snapshot(&snapshot());
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 0x40;
            assert!(decode_transaction_snapshot(&bad).is_err(), "byte {i}");
            assert!(decode_transaction_snapshot(&bytes[..i]).is_err(), "cut at {i}");
        }
    }

    fn with_checksum(body: &[u8]) -> Vec<u8> {
        [MAGIC.as_slice(), &VERSION.to_be_bytes(), &crc32(body).to_be_bytes(), body].concat()
    }

    #[test]
    fn counts_that_lie_and_bytes_left_over_are_refused_under_a_right_checksum() {
        let body = encode_transaction_snapshot(&snapshot())[10..].to_vec();
        assert_eq!(decode_transaction_snapshot(&with_checksum(&body)), Ok(snapshot()));
        assert!(decode_transaction_snapshot(&with_checksum(&[&body[..], &[0]].concat())).is_err());
        let mut many = body;
        many[28..32].fill(0xff);
        assert!(decode_transaction_snapshot(&with_checksum(&many)).is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_transaction_snapshot(&with_checksum(&body));
        }

        #[test]
        fn a_flipped_bit_under_a_right_checksum_never_panics(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut body = encode_transaction_snapshot(&snapshot())[10..].to_vec();
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
            let _ = decode_transaction_snapshot(&with_checksum(&body));
        }
    }
}
