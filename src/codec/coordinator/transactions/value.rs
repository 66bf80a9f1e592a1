//! Values: the state of one transactional id.

use crate::{
    codec::{
        DecodeError,
        cursor::Cursor,
        message::{Fields, put_compact_length, put_compact_string, put_uvarint},
    },
    types::Timestamp,
};

const TRANSACTION_VALUE: i16 = 1;

/// No producer id, and no epoch.
const NONE: i8 = -1;

/// Where a transaction stands, in Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionStatus {
    /// The id is claimed; no transaction was decided since.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It is decided: commit. Its markers may not be written yet.
    PrepareCommit,
    /// It is decided: abort. Its markers may not be written yet.
    PrepareAbort,
    /// It is committed, and its markers are written.
    CompleteCommit,
    /// It is aborted, and its markers are written.
    CompleteAbort,
    /// The id expired. Kafka's brokers do not write this.
    Dead,
    /// The producer was fenced, and its transaction will be aborted. Kafka's brokers do not write this.
    PrepareEpochFence,
}

impl TransactionStatus {
    const ALL: [Self; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
        Self::PrepareEpochFence,
    ];

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }
}

impl std::fmt::Display for TransactionStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The state of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionValue {
    /// The producer's id.
    pub producer_id: i64,
    /// Its id before the last change of ids, or -1.
    pub previous_producer_id: i64,
    /// Its id after the decided transaction, if that changes, or -1.
    pub next_producer_id: i64,
    /// The producer's epoch: that of the next transaction, and of the markers of a decided one.
    pub producer_epoch: i16,
    /// Its epoch under the next id, or -1.
    pub next_producer_epoch: i16,
    /// How long a transaction may stay open, in milliseconds.
    pub timeout_ms: i32,
    /// Where the last transaction stands.
    pub status: TransactionStatus,
    /// The partitions of the transaction by topic. Kafka writes null in `Empty`, and none once it is complete.
    pub partitions: Option<Vec<TopicPartitions>>,
    /// When this was written.
    pub last_update: Timestamp,
    /// When the transaction began; [`Timestamp::NONE`] before the first.
    pub started: Timestamp,
    /// The version of the transaction protocol. From 2 on, each transaction has an epoch of its own.
    pub client_version: i16,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    /// The topic.
    pub topic: String,
    /// The partitions' numbers.
    pub partitions: Vec<i32>,
}

/// The value, in version 1.
pub fn encode_transaction_value(value: &TransactionValue) -> Vec<u8> {
    let mut bytes = TRANSACTION_VALUE.to_be_bytes().to_vec();
    bytes.extend_from_slice(&value.producer_id.to_be_bytes());
    bytes.extend_from_slice(&value.producer_epoch.to_be_bytes());
    bytes.extend_from_slice(&value.timeout_ms.to_be_bytes());
    bytes.push(value.status as u8);
    match &value.partitions {
        None => put_uvarint(&mut bytes, 0),
        Some(topics) => {
            put_compact_length(&mut bytes, topics.len());
            topics.iter().for_each(|topic| put_topic(&mut bytes, topic));
        }
    }
    bytes.extend_from_slice(&value.last_update.as_millis().to_be_bytes());
    bytes.extend_from_slice(&value.started.as_millis().to_be_bytes());
    put_tags(&mut bytes, value);
    bytes
}

fn put_topic(bytes: &mut Vec<u8>, topic: &TopicPartitions) {
    put_compact_string(bytes, &topic.topic);
    put_compact_length(bytes, topic.partitions.len());
    topic.partitions.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
    put_uvarint(bytes, 0);
}

/// The tagged fields that differ from their defaults, by their tags.
fn put_tags(bytes: &mut Vec<u8>, value: &TransactionValue) {
    let (before, after) = (value.previous_producer_id.to_be_bytes(), value.next_producer_id.to_be_bytes());
    let (version, epoch) = (value.client_version.to_be_bytes(), value.next_producer_epoch.to_be_bytes());
    let tags: [(bool, &[u8]); 4] = [
        (value.previous_producer_id != NONE.into(), &before),
        (value.next_producer_id != NONE.into(), &after),
        (value.client_version != 0, &version),
        (value.next_producer_epoch != NONE.into(), &epoch),
    ];
    let tags = (0..).zip(tags).filter(|(_, (is_there, _))| *is_there);
    put_uvarint(bytes, tags.clone().count() as u32);
    for (tag, (_, field)) in tags {
        put_uvarint(bytes, tag);
        put_uvarint(bytes, field.len() as u32);
        bytes.extend_from_slice(field);
    }
}

/// The state of a transactional id.
pub fn decode_transaction_value(bytes: &[u8]) -> Result<TransactionValue, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.i16()?;
    if !(0..=TRANSACTION_VALUE).contains(&version) {
        let found = format!("the state of a transactional id of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "versions 0 and 1" });
    }
    let mut fields = Fields::new(cursor, version >= TRANSACTION_VALUE);
    let (producer_id, producer_epoch) = (fields.cursor.i64()?, fields.cursor.i16()?);
    let timeout_ms = fields.cursor.i32()?;
    let status = status(&mut fields.cursor)?;
    let partitions = match fields.length(4)? {
        None => None,
        // A count that lies runs out of bytes: collecting results allocates nothing beforehand.
        Some(count) => Some((0..count).map(|_| topic(&mut fields)).collect::<Result<_, _>>()?),
    };
    let mut value = TransactionValue {
        producer_id,
        previous_producer_id: NONE.into(),
        next_producer_id: NONE.into(),
        producer_epoch,
        next_producer_epoch: NONE.into(),
        timeout_ms,
        status,
        partitions,
        last_update: Timestamp::from_millis(fields.cursor.i64()?),
        started: Timestamp::from_millis(fields.cursor.i64()?),
        client_version: 0,
    };
    fields.tagged_fields(|tag, field| take_tag(&mut value, tag, field))?;
    fields.cursor.end()?;
    Ok(value)
}

fn status(cursor: &mut Cursor<'_>) -> Result<TransactionStatus, DecodeError> {
    let number = cursor.u8()?;
    let status = TransactionStatus::ALL.get(usize::from(number));
    status.copied().ok_or_else(|| cursor.malformed(format!("status {number} of a transaction")))
}

fn topic(fields: &mut Fields<'_>) -> Result<TopicPartitions, DecodeError> {
    let topic = fields.string()?;
    let count = fields.length(4)?.ok_or_else(|| fields.cursor.malformed("a topic's partitions are null"))?;
    let partitions = (0..count).map(|_| fields.cursor.i32()).collect::<Result<_, _>>()?;
    fields.end_of_struct()?;
    Ok(TopicPartitions { topic, partitions })
}

fn take_tag(value: &mut TransactionValue, tag: u32, field: &mut Cursor<'_>) -> Result<(), DecodeError> {
    match tag {
        0 => value.previous_producer_id = field.i64()?,
        1 => value.next_producer_id = field.i64()?,
        2 => value.client_version = field.i16()?,
        3 => value.next_producer_epoch = field.i16()?,
        _ => return Ok(()),
    }
    field.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fixtures::hex;
    use proptest::prelude::*;

    fn value(status: TransactionStatus) -> TransactionValue {
        let at = Timestamp::from_millis(1_700_000_000_000);
        TransactionValue {
            producer_id: 9,
            previous_producer_id: -1,
            next_producer_id: -1,
            producer_epoch: 0,
            next_producer_epoch: -1,
            timeout_ms: 60_000,
            status,
            partitions: Some(vec![TopicPartitions { topic: "t".into(), partitions: vec![0] }]),
            last_update: at,
            started: at,
            client_version: 2,
        }
    }

    fn empty() -> TransactionValue {
        let (partitions, started) = (None, Timestamp::NONE);
        TransactionValue { partitions, started, client_version: 0, ..value(TransactionStatus::Empty) }
    }

    #[test]
    fn the_states_of_a_transactional_id_are_kafkas_bytes() {
        let head = "0001 0000000000000009";
        let (at, never) = ("0000018bcfe56800", "ffffffffffffffff");
        let complete = TransactionValue {
            producer_epoch: 1,
            partitions: Some(vec![]),
            ..value(TransactionStatus::CompleteCommit)
        };
        let cases = [
            (empty(), format!("{head} 0000 0000ea60 00 00 {at} {never} 00")),
            (
                value(TransactionStatus::Ongoing),
                format!("{head} 0000 0000ea60 01 02 02 74 02 00000000 00 {at} {at} 01 02 02 0002"),
            ),
            (complete, format!("{head} 0001 0000ea60 04 01 {at} {at} 01 02 02 0002")),
        ];
        for (value, text) in cases {
            assert_eq!(encode_transaction_value(&value), hex(&text), "{value:?}");
            assert_eq!(decode_transaction_value(&hex(&text)), Ok(value));
        }
    }

    #[test]
    fn a_change_of_ids_stands_in_tagged_fields() {
        let changes = TransactionValue {
            previous_producer_id: 7,
            next_producer_id: 8,
            next_producer_epoch: 0,
            ..empty()
        };
        let tags = "03 00 08 0000000000000007 01 08 0000000000000008 03 02 0000";
        let head = "0001 0000000000000009 0000 0000ea60 00 00 0000018bcfe56800 ffffffffffffffff";
        assert_eq!(encode_transaction_value(&changes), hex(&format!("{head} {tags}")));
        assert_eq!(decode_transaction_value(&hex(&format!("{head} {tags}"))), Ok(changes));
        // One that is not known is skipped, one of another length than its own is damage.
        assert_eq!(decode_transaction_value(&hex(&format!("{head} 01 04 01 ff"))), Ok(empty()));
        for bad in ["01 03 01 00", "01 00 09 000000000000000700", "01 02 02 00", "ffffffff0f"] {
            assert!(decode_transaction_value(&hex(&format!("{head} {bad}"))).is_err(), "{bad}");
        }
    }

    #[test]
    fn version_0_is_read_and_others_are_refused() {
        let old = TransactionValue { client_version: 0, ..value(TransactionStatus::PrepareAbort) };
        let body = "0000000000000009 0000 0000ea60 03 00000001 0001 74 00000001 00000000";
        let text = format!("0000 {body} 0000018bcfe56800 0000018bcfe56800");
        assert_eq!(decode_transaction_value(&hex(&text)), Ok(old));
        let null = "0000 0000000000000009 0000 0000ea60 00 ffffffff 0000018bcfe56800 ffffffffffffffff";
        assert_eq!(decode_transaction_value(&hex(null)), Ok(empty()));
        for version in ["0002", "ffff"] {
            let refused = decode_transaction_value(&hex(version));
            assert!(matches!(refused, Err(DecodeError::Unsupported { .. })), "{version}");
        }
    }

    #[test]
    fn every_status_has_kafkas_number_and_no_other_has_one() {
        for (number, status) in (0u8..).zip(TransactionStatus::ALL) {
            assert_eq!(status as u8, number);
            let bytes = encode_transaction_value(&value(status));
            assert_eq!(bytes[16], number);
            assert_eq!(decode_transaction_value(&bytes), Ok(value(status)));
        }
        let mut bytes = encode_transaction_value(&empty());
        bytes[16] = 8;
        assert!(decode_transaction_value(&bytes).unwrap_err().to_string().contains("status 8"));
    }

    #[test]
    fn lengths_that_lie_and_bytes_left_over_are_refused() {
        let (head, times) =
            ("0001 0000000000000009 0000 0000ea60 01", "0000018bcfe56800 0000018bcfe56800 00");
        assert!(decode_transaction_value(&hex(&format!("{head} 01 {times}"))).is_ok());
        for partitions in
            ["ffffffff0f", "02 00", "02 02 74 00", "02 02 74 ffffffff0f", "02 ffffffff0f", "02 02 74 01 01"]
        {
            assert!(
                decode_transaction_value(&hex(&format!("{head} {partitions} {times}"))).is_err(),
                "{partitions}"
            );
        }
        assert!(decode_transaction_value(&hex(&format!("{head} 01 {times} 00"))).is_err());
    }

    fn any_value() -> impl Strategy<Value = TransactionValue> {
        let topics = prop::collection::vec(("\\PC{0,9}", prop::collection::vec(any::<i32>(), 0..4)), 0..4);
        let numbers = (any::<[i64; 5]>(), any::<[i16; 3]>(), any::<i32>(), 0usize..8);
        (prop::option::of(topics), numbers).prop_map(|(topics, (longs, shorts, timeout_ms, status))| {
            let [producer_id, previous_producer_id, next_producer_id, updated, started] = longs;
            let [producer_epoch, next_producer_epoch, client_version] = shorts;
            let named = |(topic, partitions)| TopicPartitions { topic, partitions };
            TransactionValue {
                producer_id,
                previous_producer_id,
                next_producer_id,
                producer_epoch,
                next_producer_epoch,
                timeout_ms,
                status: TransactionStatus::ALL[status],
                partitions: topics.map(|topics| topics.into_iter().map(named).collect()),
                last_update: Timestamp::from_millis(updated),
                started: Timestamp::from_millis(started),
                client_version,
            }
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 2..80), version in 0u8..2) {
            let _ = decode_transaction_value(&bytes);
            bytes[..2].copy_from_slice(&[0, version]);
            let _ = decode_transaction_value(&bytes);
        }

        #[test]
        fn what_was_encoded_is_decoded_and_a_flipped_bit_never_panics(
            value in any_value(), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let mut bytes = encode_transaction_value(&value);
            prop_assert_eq!(decode_transaction_value(&bytes), Ok(value));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = decode_transaction_value(&bytes);
        }
    }
}
