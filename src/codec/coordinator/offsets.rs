//! Committed offsets as Kafka writes them, and what travels beside one in record headers because Kafka's format has no room
//! for it: the incarnation of the partition ([`INCARNATION_HEADER`]) and the id of its topic ([`TOPIC_ID_HEADER`]).

use super::versioned;
use crate::{
    codec::{DecodeError, cursor::Cursor, message::put_string},
    types::Timestamp,
};

/// The record header that holds an incarnation, as 8 bytes.
pub const INCARNATION_HEADER: &str = "streamlog.incarnation";

/// The record header that holds the topic's id, as its 16 bytes.
pub const TOPIC_ID_HEADER: &str = "streamlog.topic.id";

const OFFSET_VALUE: i16 = 3;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// What the committer noted beside it.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
}

/// The value of a committed offset, in version 3.
pub fn encode_offset_value(value: &OffsetValue) -> Vec<u8> {
    let mut bytes = OFFSET_VALUE.to_be_bytes().to_vec();
    bytes.extend_from_slice(&value.offset.to_be_bytes());
    bytes.extend_from_slice(&value.leader_epoch.to_be_bytes());
    put_string(&mut bytes, Some(&value.metadata));
    bytes.extend_from_slice(&value.commit_timestamp.as_millis().to_be_bytes());
    bytes
}

/// A committed offset. The expiry of version 1 and the topic's id of version 4 are read over.
pub fn decode_offset_value(bytes: &[u8]) -> Result<OffsetValue, DecodeError> {
    let (version, mut fields) = versioned(bytes, "an offset commit")?;
    let offset = fields.cursor.i64()?;
    let leader_epoch = if version >= 3 { fields.cursor.i32()? } else { -1 };
    let metadata = fields.string()?;
    let commit_timestamp = Timestamp::from_millis(fields.cursor.i64()?);
    if version == 1 {
        fields.cursor.i64()?;
    }
    fields.end_of_struct()?;
    fields.cursor.end()?;
    Ok(OffsetValue { offset, leader_epoch, metadata, commit_timestamp })
}

/// The value of the header [`INCARNATION_HEADER`].
pub fn encode_incarnation(incarnation: u64) -> [u8; 8] {
    incarnation.to_be_bytes()
}

/// The incarnation in the value of the header [`INCARNATION_HEADER`].
pub fn decode_incarnation(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let incarnation = cursor.u64()?;
    cursor.end()?;
    Ok(incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fixtures::hex;
    use proptest::prelude::*;

    fn committed() -> OffsetValue {
        OffsetValue {
            offset: 42,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    #[test]
    fn a_committed_offset_is_kafkas_bytes() {
        let bytes = hex("0003 000000000000002a ffffffff 0000 0000018bcfe56800");
        assert_eq!(encode_offset_value(&committed()), bytes);
        assert_eq!(decode_offset_value(&bytes), Ok(committed()));
    }

    #[test]
    fn every_version_of_a_committed_offset_is_read() {
        for text in [
            "0000 000000000000002a 0000 0000018bcfe56800",
            "0001 000000000000002a 0000 0000018bcfe56800 ffffffffffffffff",
            "0002 000000000000002a 0000 0000018bcfe56800",
            "0004 000000000000002a ffffffff 01 0000018bcfe56800 00",
            "0004 000000000000002a ffffffff 01 0000018bcfe56800 01 00 10 000102030405060708090a0b0c0d0e0f",
            "0004 000000000000002a ffffffff 01 0000018bcfe56800 02 00 00 8101 01 ff",
        ] {
            assert_eq!(decode_offset_value(&hex(text)), Ok(committed()), "{text}");
        }
        assert!(matches!(decode_offset_value(&hex("0005")), Err(DecodeError::Unsupported { .. })));
        assert!(matches!(decode_offset_value(&hex("ffff")), Err(DecodeError::Unsupported { .. })));
    }

    #[test]
    fn metadata_whose_length_takes_two_bytes_is_read() {
        // The length is 201, one more than there are, in groups of 7 bits.
        let text = format!("0004 000000000000002a ffffffff c901 {} 0000018bcfe56800 00", "6d".repeat(200));
        assert_eq!(decode_offset_value(&hex(&text)).unwrap().metadata, "m".repeat(200));
    }

    #[test]
    fn lengths_that_lie_and_bytes_left_over_are_refused() {
        for text in [
            "0003 000000000000002a ffffffff ffff 0000018bcfe56800",
            "0003 000000000000002a ffffffff 0000 0000018bcfe56800 00",
            "0004 000000000000002a ffffffff 00 0000018bcfe56800 00",
            "0004 000000000000002a ffffffff ffffffff0f",
            "0004 000000000000002a ffffffff ffffffff7f",
            "0004 000000000000002a ffffffff 808080808000",
            "0004 000000000000002a ffffffff 01 0000018bcfe56800 ffffffff0f",
        ] {
            assert!(matches!(decode_offset_value(&hex(text)), Err(DecodeError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn an_incarnation_is_eight_bytes() {
        assert_eq!(encode_incarnation(258), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(decode_incarnation(&encode_incarnation(u64::MAX)), Ok(u64::MAX));
        assert!(decode_incarnation(&[0; 7]).is_err() && decode_incarnation(&[0; 9]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 2..80), version in 0u8..5) {
            let _ = decode_offset_value(&bytes);
            bytes[..2].copy_from_slice(&[0, version]);
            let _ = decode_offset_value(&bytes);
        }

        #[test]
        fn what_was_encoded_is_decoded(
            metadata in "\\PC{0,20}", (offset, millis, leader_epoch) in any::<(i64, i64, i32)>(),
        ) {
            let commit_timestamp = Timestamp::from_millis(millis);
            let value = OffsetValue { offset, leader_epoch, metadata, commit_timestamp };
            prop_assert_eq!(decode_offset_value(&encode_offset_value(&value)), Ok(value));
        }
    }
}
