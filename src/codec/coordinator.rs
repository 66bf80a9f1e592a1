//! Records of `__consumer_offsets`: what groups committed, and the groups themselves.
//!
//! A key begins with an i16 that is a kind of record rather than a version: 0 and 1 a committed offset, 2 a group; others
//! belong to Kafka's newer protocols and are skipped. A value begins with its version. Offsets are written in version 3
//! and read in 0 to 4, groups written in 3 and read in 0 to 4; of the flexible version 4 unknown tagged fields are
//! skipped by their size. A null value (a tombstone) never comes here. Strings have at most
//! [`MAX_STRING_LEN`](super::message::MAX_STRING_LEN) bytes.
//!
//! What Kafka's formats have no room for travels in record headers: the incarnation of the partition whose offset was
//! committed ([`INCARNATION_HEADER`]) and the id of its topic ([`TOPIC_ID_HEADER`]).

use super::{
    DecodeError,
    cursor::Cursor,
    message::{Fields, put_bytes, put_string},
};
use crate::types::Timestamp;

/// The record header that holds an incarnation, as 8 bytes.
pub const INCARNATION_HEADER: &str = "streamlog.incarnation";

/// The record header that holds the topic's id, as its 16 bytes.
pub const TOPIC_ID_HEADER: &str = "streamlog.topic.id";

const OFFSET_KEYS: std::ops::RangeInclusive<i16> = 0..=1;
const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
const GROUP_VALUE: i16 = 3;
/// The first version of either value in the flexible encoding, and the last that is read.
const FLEXIBLE_VALUE: i16 = 4;

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

/// A classic group at one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadataValue {
    /// "consumer" for consumers; empty before the first generation.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// The assignor all members agreed on.
    pub protocol: Option<String>,
    /// The member that makes the assignment.
    pub leader: Option<String>,
    /// When the group came into its state; [`Timestamp::NONE`] where that is not known.
    pub current_state_timestamp: Timestamp,
    /// The members; none in an empty group.
    pub members: Vec<MemberMetadata>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// The member's id.
    pub member_id: String,
    /// Its static identity.
    pub group_instance_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// Where it called from.
    pub client_host: String,
    /// How long a rebalance waits for it, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// What it subscribed to, in the consumer protocol's bytes.
    pub subscription: Vec<u8>,
    /// What it was given, in the consumer protocol's bytes.
    pub assignment: Vec<u8>,
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

/// The value of a committed offset, in version 3.
pub fn encode_offset_value(value: &OffsetValue) -> Vec<u8> {
    let mut bytes = OFFSET_VALUE.to_be_bytes().to_vec();
    bytes.extend_from_slice(&value.offset.to_be_bytes());
    bytes.extend_from_slice(&value.leader_epoch.to_be_bytes());
    put_string(&mut bytes, Some(&value.metadata));
    bytes.extend_from_slice(&value.commit_timestamp.as_millis().to_be_bytes());
    bytes
}

/// The key of a classic group.
pub fn encode_group_metadata_key(group: &str) -> Vec<u8> {
    let mut bytes = GROUP_KEY.to_be_bytes().to_vec();
    put_string(&mut bytes, Some(group));
    bytes
}

/// The value of a classic group, in version 3.
#[allow(
    dead_code,
    reason = "members of groups are not kept here: tests and fuzzing hold the format against Kafka's own"
)]
pub fn encode_group_metadata_value(value: &GroupMetadataValue) -> Vec<u8> {
    let mut bytes = GROUP_VALUE.to_be_bytes().to_vec();
    put_string(&mut bytes, Some(&value.protocol_type));
    bytes.extend_from_slice(&value.generation.to_be_bytes());
    put_string(&mut bytes, value.protocol.as_deref());
    put_string(&mut bytes, value.leader.as_deref());
    bytes.extend_from_slice(&value.current_state_timestamp.as_millis().to_be_bytes());
    bytes.extend_from_slice(&(value.members.len() as i32).to_be_bytes());
    for member in &value.members {
        put_string(&mut bytes, Some(&member.member_id));
        put_string(&mut bytes, member.group_instance_id.as_deref());
        put_string(&mut bytes, Some(&member.client_id));
        put_string(&mut bytes, Some(&member.client_host));
        bytes.extend_from_slice(&member.rebalance_timeout_ms.to_be_bytes());
        bytes.extend_from_slice(&member.session_timeout_ms.to_be_bytes());
        for blob in [&member.subscription, &member.assignment] {
            put_bytes(&mut bytes, blob);
        }
    }
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

/// A classic group.
#[allow(
    dead_code,
    reason = "members of groups are not kept here: tests and fuzzing hold the format against Kafka's own"
)]
pub fn decode_group_metadata_value(bytes: &[u8]) -> Result<GroupMetadataValue, DecodeError> {
    let (version, mut fields) = versioned(bytes, "a group")?;
    let protocol_type = fields.string()?;
    let generation = fields.cursor.i32()?;
    let (protocol, leader) = (fields.nullable_string()?, fields.nullable_string()?);
    let current_state_timestamp = match version {
        0..=1 => Timestamp::NONE,
        _ => Timestamp::from_millis(fields.cursor.i64()?),
    };
    let count = fields.length(4)?.ok_or_else(|| fields.cursor.malformed("a group's members are null"))?;
    let mut members = Vec::new();
    for _ in 0..count {
        // A count that lies runs out of bytes here: nothing was allocated for it.
        members.push(decode_member(version, &mut fields)?);
    }
    fields.end_of_struct()?;
    fields.cursor.end()?;
    Ok(GroupMetadataValue { protocol_type, generation, protocol, leader, current_state_timestamp, members })
}

fn decode_member(version: i16, fields: &mut Fields<'_>) -> Result<MemberMetadata, DecodeError> {
    let member_id = fields.string()?;
    let group_instance_id = if version >= 3 { fields.nullable_string()? } else { None };
    let (client_id, client_host) = (fields.string()?, fields.string()?);
    // Version 0 had one timeout for both.
    let rebalance = if version >= 1 { Some(fields.cursor.i32()?) } else { None };
    let session_timeout_ms = fields.cursor.i32()?;
    let member = MemberMetadata {
        member_id,
        group_instance_id,
        client_id,
        client_host,
        rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription: fields.bytes()?,
        assignment: fields.bytes()?,
    };
    fields.end_of_struct()?;
    Ok(member)
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

/// A value's version, and its fields in the encoding that goes with it.
fn versioned<'a>(bytes: &'a [u8], what: &str) -> Result<(i16, Fields<'a>), DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.i16()?;
    if !(0..=FLEXIBLE_VALUE).contains(&version) {
        let found = format!("{what} of version {version}");
        return Err(DecodeError::Unsupported { found, supported: "versions 0 to 4" });
    }
    Ok((version, Fields::new(cursor, version >= FLEXIBLE_VALUE)))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::hex;
    use super::*;
    use proptest::prelude::*;

    fn committed() -> OffsetValue {
        OffsetValue {
            offset: 42,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    fn group(members: Vec<MemberMetadata>) -> GroupMetadataValue {
        GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 1,
            protocol: Some("range".into()),
            leader: None,
            current_state_timestamp: Timestamp::from_millis(7),
            members,
        }
    }

    fn member() -> MemberMetadata {
        MemberMetadata {
            member_id: "m".into(),
            group_instance_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 5,
            session_timeout_ms: 6,
            subscription: vec![1],
            assignment: vec![],
        }
    }

    #[test]
    fn a_committed_offset_is_kafkas_bytes() {
        let key = OffsetKey { group: "g".into(), topic: "t".into(), partition: 0 };
        let bytes = hex("0001 0001 67 0001 74 00000000");
        assert_eq!(encode_offset_key(&key), bytes);
        assert_eq!(decode_key(&bytes), Ok(CoordinatorKey::OffsetCommit(key.clone())));
        let old = hex("0000 0001 67 0001 74 00000000");
        assert_eq!(decode_key(&old), Ok(CoordinatorKey::OffsetCommit(key)));
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
    fn a_group_is_kafkas_bytes() {
        assert_eq!(encode_group_metadata_key("g"), hex("0002 0001 67"));
        assert_eq!(decode_key(&hex("0002 0001 67")), Ok(CoordinatorKey::GroupMetadata("g".into())));
        let head = "0008 636f6e73756d6572 00000001 0005 72616e6765 ffff 0000000000000007";
        let body = "0001 6d ffff 0001 63 0002 2f68 00000005 00000006 00000001 01 00000000";
        let bytes = hex(&format!("0003 {head} 00000001 {body}"));
        assert_eq!(encode_group_metadata_value(&group(vec![member()])), bytes);
        assert_eq!(decode_group_metadata_value(&bytes), Ok(group(vec![member()])));
        let first_join = GroupMetadataValue {
            protocol_type: String::new(),
            generation: 0,
            protocol: None,
            ..group(vec![])
        };
        let bytes = hex("0003 0000 00000000 ffff ffff 0000000000000007 00000000");
        assert_eq!(encode_group_metadata_value(&first_join), bytes);
    }

    #[test]
    fn every_version_of_a_group_is_read() {
        let unknown_since =
            |members| GroupMetadataValue { current_state_timestamp: Timestamp::NONE, ..group(members) };
        let one_timeout = MemberMetadata { rebalance_timeout_ms: 6, ..member() };
        let head = "0008 636f6e73756d6572 00000001 0005 72616e6765 ffff";
        let tail = "00000006 00000001 01 00000000";
        let decode = |text: &str| decode_group_metadata_value(&hex(text));
        let name = "0001 6d 0001 63 0002 2f68";
        assert_eq!(
            decode(&format!("0000 {head} 00000001 {name} {tail}")),
            Ok(unknown_since(vec![one_timeout]))
        );
        let v1 = format!("0001 {head} 00000001 {name} 00000005 {tail}");
        assert_eq!(decode(&v1), Ok(unknown_since(vec![member()])));
        let v2 = format!("0002 {head} 0000000000000007 00000001 {name} 00000005 {tail}");
        assert_eq!(decode(&v2), Ok(group(vec![member()])));
        let v4 = "0004 09 636f6e73756d6572 00000001 06 72616e6765 00 0000000000000007 02 \
                  02 6d 00 02 63 03 2f68 00000005 00000006 02 01 01 00 00";
        assert_eq!(decode(v4), Ok(group(vec![member()])));
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
        let head = "0003 0000 00000000 ffff ffff 0000000000000007";
        assert!(decode_group_metadata_value(&hex(&format!("{head} 00000000"))).is_ok());
        assert!(decode_group_metadata_value(&hex(&format!("{head} 00000000 00"))).is_err());
        for count in ["7fffffff", "ffffffff", "80000000"] {
            assert!(decode_group_metadata_value(&hex(&format!("{head} {count}"))).is_err());
        }
    }

    #[test]
    fn an_incarnation_is_eight_bytes() {
        assert_eq!(encode_incarnation(258), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(decode_incarnation(&encode_incarnation(u64::MAX)), Ok(u64::MAX));
        assert!(decode_incarnation(&[0; 7]).is_err() && decode_incarnation(&[0; 9]).is_err());
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
        fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 2..80), version in 0u8..5) {
            let _ = (decode_key(&bytes), decode_offset_value(&bytes), decode_group_metadata_value(&bytes));
            bytes[..2].copy_from_slice(&[0, version]);
            let _ = (decode_key(&bytes), decode_offset_value(&bytes), decode_group_metadata_value(&bytes));
        }

        #[test]
        fn what_was_encoded_is_decoded(
            (a, b, c) in ("\\PC{0,20}", "\\PC{0,20}", any::<Option<String>>()),
            (number, millis, count) in (any::<i32>(), any::<i64>(), 0usize..4),
            blob in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let timestamp = Timestamp::from_millis(millis);
            let key = OffsetKey { group: a.clone(), topic: b.clone(), partition: number };
            prop_assert_eq!(decode_key(&encode_offset_key(&key)), Ok(CoordinatorKey::OffsetCommit(key)));
            prop_assert_eq!(decode_key(&encode_group_metadata_key(&a)), Ok(CoordinatorKey::GroupMetadata(a.clone())));
            let value =
                OffsetValue { offset: millis, leader_epoch: number, metadata: b.clone(), commit_timestamp: timestamp };
            prop_assert_eq!(decode_offset_value(&encode_offset_value(&value)), Ok(value));
            let member = MemberMetadata {
                member_id: a.clone(), group_instance_id: c.clone(), client_id: b, rebalance_timeout_ms: number,
                assignment: blob.clone(), subscription: blob, ..member()
            };
            let value = GroupMetadataValue { protocol_type: a, generation: number, protocol: c.clone(), leader: c,
                current_state_timestamp: timestamp, members: vec![member; count] };
            prop_assert_eq!(decode_group_metadata_value(&encode_group_metadata_value(&value)), Ok(value));
        }
    }
}
