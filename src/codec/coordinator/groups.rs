//! Classic groups as Kafka writes them. Members of groups are not kept here; the format is held against Kafka's own.

use super::versioned;
use crate::{
    codec::{
        DecodeError,
        message::{Fields, put_bytes, put_string},
    },
    types::Timestamp,
};

const GROUP_VALUE: i16 = 3;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fixtures::hex;
    use proptest::prelude::*;

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
    fn a_group_is_kafkas_bytes() {
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
    fn lengths_that_lie_and_bytes_left_over_are_refused() {
        let head = "0003 0000 00000000 ffff ffff 0000000000000007";
        assert!(decode_group_metadata_value(&hex(&format!("{head} 00000000"))).is_ok());
        assert!(decode_group_metadata_value(&hex(&format!("{head} 00000000 00"))).is_err());
        for count in ["7fffffff", "ffffffff", "80000000"] {
            assert!(decode_group_metadata_value(&hex(&format!("{head} {count}"))).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 2..80), version in 0u8..5) {
            let _ = decode_group_metadata_value(&bytes);
            bytes[..2].copy_from_slice(&[0, version]);
            let _ = decode_group_metadata_value(&bytes);
        }

        #[test]
        fn what_was_encoded_is_decoded(
            (a, b, c) in ("\\PC{0,20}", "\\PC{0,20}", any::<Option<String>>()),
            (number, millis, count) in (any::<i32>(), any::<i64>(), 0usize..4),
            blob in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let member = MemberMetadata {
                member_id: a.clone(), group_instance_id: c.clone(), client_id: b, rebalance_timeout_ms: number,
                assignment: blob.clone(), subscription: blob, ..member()
            };
            let value = GroupMetadataValue { protocol_type: a, generation: number, protocol: c.clone(), leader: c,
                current_state_timestamp: Timestamp::from_millis(millis), members: vec![member; count] };
            prop_assert_eq!(decode_group_metadata_value(&encode_group_metadata_value(&value)), Ok(value));
        }
    }
}
