//! What a decision stands for: the header `streamlog.ends` of a Prepare record, for which Kafka's value has no field.
//!
//! A decision may become durable before the data that it decides. It therefore says how far each partition's log must
//! reach, and in which incarnation. Version 1 is the byte 1, then for each topic its id and its partitions, each with
//! incarnation, first offset, and number of offsets. Counts and numbers are varlongs:
//!
#![doc = include_str!("../../layout/transaction-ends.md")]

use crate::{
    codec::{
        DecodeError,
        cursor::Cursor,
        varint::{read_varlong, write_varlong},
    },
    types::{Offset, TopicId},
};
use std::ops::Range;

/// The record header that holds the ends.
pub const ENDS_HEADER: &str = "streamlog.ends";

const VERSION: u8 = 1;

/// How far the log of a partition must reach for a decision to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: u32,
    /// The incarnation of its log in which that is so.
    pub incarnation: u32,
    /// The transaction's first offset there, and the one after its last. Empty where it only read.
    pub offsets: Range<Offset>,
}

/// The header's value. Partitions of one topic that stand together take its id once.
pub fn encode_ends(ends: &[End]) -> Vec<u8> {
    let topics = || ends.chunk_by(|a, b| a.topic_id == b.topic_id);
    let mut bytes = vec![VERSION];
    put(&mut bytes, topics().count() as u64);
    for topic in topics() {
        bytes.extend(topic.iter().take(1).flat_map(|end| *end.topic_id.as_bytes()));
        put(&mut bytes, topic.len() as u64);
        for end in topic {
            let first = end.offsets.start.value();
            let length = end.offsets.end.value().saturating_sub(first);
            let numbers = [end.partition.into(), end.incarnation.into(), first, length];
            numbers.into_iter().for_each(|number| put(&mut bytes, number));
        }
    }
    bytes
}

/// What a header's value says.
pub fn decode_ends(bytes: &[u8]) -> Result<Vec<End>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.u8()?;
    if version != VERSION {
        let found = format!("ends of a transaction of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "version 1" });
    }
    let mut ends = Vec::new();
    for _ in 0..take(&mut cursor)? {
        let topic_id = TopicId::from_bytes(cursor.array()?);
        for _ in 0..take(&mut cursor)? {
            // A count that lies runs out of bytes here: nothing was allocated for it.
            ends.push(decode_end(topic_id, &mut cursor)?);
        }
    }
    cursor.end()?;
    Ok(ends)
}

fn decode_end(topic_id: TopicId, cursor: &mut Cursor<'_>) -> Result<End, DecodeError> {
    let begin = cursor.position();
    let [partition, incarnation] = [take(cursor)?, take(cursor)?].map(u32::try_from);
    let (first, length) = (take(cursor)?, take(cursor)?);
    let offset = |value: u64| i64::try_from(value).ok().and_then(Offset::from_i64);
    let ends = (offset(first), first.checked_add(length).and_then(offset));
    let (Ok(partition), Ok(incarnation), (Some(first), Some(end))) = (partition, incarnation, ends) else {
        return Err(DecodeError::malformed(begin, "a part of a transaction that no log can hold"));
    };
    Ok(End { topic_id, partition, incarnation, offsets: first..end })
}

fn put(bytes: &mut Vec<u8>, number: u64) {
    write_varlong(i64::try_from(number).unwrap_or(i64::MAX), bytes);
}

fn take(cursor: &mut Cursor<'_>) -> Result<u64, DecodeError> {
    let mut rest = cursor.rest();
    let number = read_varlong(&mut rest).and_then(|number| u64::try_from(number).ok());
    let number = number.ok_or_else(|| cursor.malformed("no whole number of at least 0"))?;
    let len = cursor.rest().len() - rest.len();
    cursor.slice(len)?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fixtures::hex;
    use proptest::prelude::*;

    fn end(topic: u8, partition: u32, first: u64, end: u64) -> End {
        let topic_id = TopicId::from_bytes([topic; 16]);
        End { topic_id, partition, incarnation: 3, offsets: Offset::new(first)..Offset::new(end) }
    }

    #[test]
    fn the_bytes_are_a_version_and_parts_by_topic() {
        let ends = [end(1, 0, 100, 101), end(1, 2, 0, 64), end(2, 5, 7, 9)];
        let (one, two) = ("01".repeat(16), "02".repeat(16));
        let text = format!("01 04 {one} 04 00 06 c801 02 04 06 00 8001 {two} 02 0a 06 0e 04");
        assert_eq!(encode_ends(&ends), hex(&text));
        assert_eq!(decode_ends(&hex(&text)), Ok(ends.to_vec()));
        assert_eq!(decode_ends(&encode_ends(&[])), Ok(vec![]));
    }

    #[test]
    fn what_no_log_can_hold_is_refused() {
        let id = "01".repeat(16);
        let last = "feffffffffffffffff01";
        let good = format!("01 02 {id} 02 00 00 {last} 00");
        assert_eq!(decode_ends(&hex(&good)).unwrap()[0].offsets.end.value(), i64::MAX as u64);
        let bad = [
            String::new(),
            "01".into(),
            "01 01".into(),
            format!("01 feffffff0f {id}"),
            format!("01 02 {id} {last} 00"),
            format!("01 02 {id} 02 00 00 {last} 02"),
            format!("01 02 {id} 02 8080808020 00 00 00"),
            format!("01 02 {id} 02 00 00 00 01"),
            format!("{good} 00"),
        ];
        for text in bad {
            assert!(matches!(decode_ends(&hex(&text)), Err(DecodeError::Malformed { .. })), "{text}");
        }
        assert!(matches!(decode_ends(&[2]), Err(DecodeError::Unsupported { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 1..120), topics in 0u8..4) {
            let _ = decode_ends(&bytes);
            bytes.splice(..1, [VERSION, topics * 2]);
            let _ = decode_ends(&bytes);
        }

        #[test]
        fn what_was_encoded_is_decoded(
            parts in prop::collection::vec((0u8..3, any::<[u32; 2]>(), 0..=i64::MAX as u64, any::<u32>()), 0..9),
            at in any::<prop::sample::Index>(),
        ) {
            let end = |(topic, [partition, incarnation], first, length): (u8, [u32; 2], u64, u32)| {
                let last = first.saturating_add(length.into()).min(i64::MAX as u64);
                End { partition, incarnation, ..end(topic, 0, first, last) }
            };
            let ends: Vec<_> = parts.into_iter().map(end).collect();
            let mut bytes = encode_ends(&ends);
            prop_assert_eq!(decode_ends(&bytes), Ok(ends));
            let at = at.index(bytes.len());
            bytes[at] ^= 0x11;
            let _ = decode_ends(&bytes);
        }
    }
}
