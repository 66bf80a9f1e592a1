//! Keys: what a record of `__consumer_offsets` is about, and the partition that a group's records lie in.
//!
//! Kinds 0 and 1 are a committed offset, 2 is a group; others belong to Kafka's newer protocols and are skipped.

use crate::codec::{
    DecodeError,
    cursor::Cursor,
    message::{Fields, put_string},
};

const OFFSET_KEYS: std::ops::RangeInclusive<i16> = 0..=1;
const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;

/// Whose committed offset a record holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetKey {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorKey {
    /// A committed offset.
    OffsetCommit(OffsetKey),
    /// A classic group.
    GroupMetadata(String),
    /// Something of a newer protocol, by the number of its kind.
    Unknown(i16),
}

/// The key of a committed offset.
pub fn encode_offset_key(key: &OffsetKey) -> Vec<u8> {
    let mut bytes = OFFSET_KEY.to_be_bytes().to_vec();
    put_string(&mut bytes, Some(&key.group));
    put_string(&mut bytes, Some(&key.topic));
    bytes.extend_from_slice(&key.partition.to_be_bytes());
    bytes
}

/// The key of a classic group.
pub fn encode_group_metadata_key(group: &str) -> Vec<u8> {
    let mut bytes = GROUP_KEY.to_be_bytes().to_vec();
    put_string(&mut bytes, Some(group));
    bytes
}

/// What the record with this key is about.
pub fn decode_key(bytes: &[u8]) -> Result<CoordinatorKey, DecodeError> {
    let mut fields = Fields::new(Cursor::new(bytes), false);
    let kind = fields.cursor.i16()?;
    let key = if OFFSET_KEYS.contains(&kind) {
        let (group, topic) = (fields.string()?, fields.string()?);
        CoordinatorKey::OffsetCommit(OffsetKey { group, topic, partition: fields.cursor.i32()? })
    } else if kind == GROUP_KEY {
        CoordinatorKey::GroupMetadata(fields.string()?)
    } else {
        return Ok(CoordinatorKey::Unknown(kind));
    };
    fields.cursor.end()?;
    Ok(key)
}

/// The group that a key names, also where the rest of the key cannot be read.
pub fn group_of_key(bytes: &[u8]) -> Option<String> {
    let mut fields = Fields::new(Cursor::new(bytes), false);
    fields.cursor.i16().ok()?;
    fields.string().ok()
}

/// The hash of Java's `String.hashCode`.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// The partition of `__consumer_offsets` that keeps a group, out of `partitions`.
#[allow(dead_code, reason = "offsets of groups have one partition here: tests hold it against Kafka's own")]
pub fn partition_for_group(group: &str, partitions: u32) -> u32 {
    // Kafka's abs: the one number without a positive counterpart becomes 0.
    let hash = java_string_hash(group).checked_abs().unwrap_or(0).unsigned_abs();
    hash.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fixtures::hex;
    use proptest::prelude::*;

    #[test]
    fn a_key_of_a_committed_offset_is_kafkas_bytes() {
        let key = OffsetKey { group: "g".into(), topic: "t".into(), partition: 0 };
        let bytes = hex("0001 0001 67 0001 74 00000000");
        assert_eq!(encode_offset_key(&key), bytes);
        assert_eq!(decode_key(&bytes), Ok(CoordinatorKey::OffsetCommit(key.clone())));
        let old = hex("0000 0001 67 0001 74 00000000");
        assert_eq!(decode_key(&old), Ok(CoordinatorKey::OffsetCommit(key)));
    }

    #[test]
    fn a_key_of_a_group_is_kafkas_bytes() {
        assert_eq!(encode_group_metadata_key("g"), hex("0002 0001 67"));
        assert_eq!(decode_key(&hex("0002 0001 67")), Ok(CoordinatorKey::GroupMetadata("g".into())));
    }

    #[test]
    fn kinds_of_newer_protocols_are_passed_by() {
        assert_eq!(decode_key(&hex("0003 0001 67")), Ok(CoordinatorKey::Unknown(3)));
        assert_eq!(decode_key(&hex("ffff")), Ok(CoordinatorKey::Unknown(-1)));
    }

    #[test]
    fn lengths_that_lie_and_bytes_left_over_are_refused() {
        for text in [
            "",
            "00",
            "0001",
            "0001 ffff 0001 74 00000000",
            "0001 fffe",
            "0001 7fff 67",
            "0002 0001 ff",
            "0001 0001 67 0001 74 00000000 00",
        ] {
            assert!(matches!(decode_key(&hex(text)), Err(DecodeError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn a_group_lies_where_kafka_puts_it() {
        assert_eq!(java_string_hash("my-group"), -1_906_497_762);
        assert_eq!(java_string_hash("console-consumer"), -648_006_740);
        assert_eq!(java_string_hash("txn-1"), 110_810_510);
        assert_eq!(java_string_hash("\u{1f600}"), 0xd83d * 31 + 0xde00, "two units of UTF-16");
        let partition = |group| partition_for_group(group, 50);
        assert_eq!(["my-group", "console-consumer", "txn-1", ""].map(partition), [12, 40, 10, 0]);
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition("polygenelubricants"), 0);
        assert_eq!(partition_for_group("my-group", 0), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 2..80), kind in 0u8..5) {
            let _ = decode_key(&bytes);
            bytes[..2].copy_from_slice(&[0, kind]);
            let _ = decode_key(&bytes);
        }

        #[test]
        fn what_was_encoded_is_decoded((group, topic) in ("\\PC{0,20}", "\\PC{0,20}"), partition in any::<i32>()) {
            let key = OffsetKey { group: group.clone(), topic, partition };
            prop_assert_eq!(decode_key(&encode_offset_key(&key)), Ok(CoordinatorKey::OffsetCommit(key)));
            prop_assert_eq!(decode_key(&encode_group_metadata_key(&group)), Ok(CoordinatorKey::GroupMetadata(group)));
        }
    }
}
