//! Slots of the marks file: how far a partition's data is durable, in 64 bytes that no sector boundary divides.
//!
#![doc = include_str!("layout/mark.md")]
//!
//! One slot is the manifest's own:
//!
#![doc = include_str!("layout/manifest-mark.md")]
//!
//! Numbers are big-endian. A damaged slot counts as empty: its reader falls back to what is known without it.

use super::crc::crc32;
use crate::types::{Offset, TopicId};

/// The size of a slot.
pub const MARK_BYTES: usize = 64;

/// How far a partition's data is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number.
    pub partition: u32,
    /// Where the flush that began last ends. More than `flushed_offset` while it runs.
    pub flushing_offset: Offset,
    /// Everything before this offset is durable.
    pub flushed_offset: Offset,
    /// Where that offset lies in the `.log` of its segment.
    pub flushed_position: u32,
    /// Nothing before this offset needs to be looked at again: data, indexes and producer state are durable.
    pub recovery_offset: Offset,
    /// Where that offset lies in the `.log` of its segment.
    pub recovery_position: u32,
    /// Whether a flush failed.
    pub failed: bool,
    /// The checksum of the indexes of the segment that holds `recovery_offset`, up to there; 0 when it is not known.
    pub index_checksum: u32,
}

impl Mark {
    /// The mark of a partition of which nothing is durable.
    pub fn blank(topic: &TopicId, partition: u32) -> Self {
        Mark {
            topic: *topic,
            partition,
            flushing_offset: Offset::ZERO,
            flushed_offset: Offset::ZERO,
            flushed_position: 0,
            recovery_offset: Offset::ZERO,
            recovery_position: 0,
            failed: false,
            index_checksum: 0,
        }
    }

    /// The mark of a partition that ends at `end`, at `position` of its segment: all of it is durable, and nothing needs to
    /// be looked at again.
    pub fn at(topic: &TopicId, partition: u32, end: Offset, position: u64, index_checksum: u32) -> Self {
        Mark::blank(topic, partition).recovering_at(end, position, index_checksum).flushed_at(end, position)
    }

    /// This mark once nothing before `offset`, at `position` of its segment, needs to be looked at again.
    #[must_use]
    pub fn recovering_at(self, offset: Offset, position: u64, index_checksum: u32) -> Self {
        Mark { recovery_offset: offset, recovery_position: in_segment(position), index_checksum, ..self }
    }

    /// This mark once everything up to `end`, at `position` of its segment, is durable, whatever else is in flight.
    #[must_use]
    pub fn durable_to(self, end: Offset, position: u64) -> Self {
        Mark { flushed_offset: end, flushed_position: in_segment(position), ..self }
    }

    /// This mark once everything up to `end`, at `position` of its segment, is durable, and no flush is in flight or has
    /// failed.
    #[must_use]
    pub fn flushed_at(self, end: Offset, position: u64) -> Self {
        Mark { flushing_offset: end, failed: false, ..self.durable_to(end, position) }
    }

    /// The bytes of its slot.
    pub fn encode(&self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..16].copy_from_slice(self.topic.as_bytes());
        bytes[16..20].copy_from_slice(&self.partition.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.flushing_offset.value().to_be_bytes());
        bytes[28..36].copy_from_slice(&self.flushed_offset.value().to_be_bytes());
        bytes[36..40].copy_from_slice(&self.flushed_position.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.recovery_offset.value().to_be_bytes());
        bytes[48..52].copy_from_slice(&self.recovery_position.to_be_bytes());
        bytes[52] = u8::from(self.failed);
        bytes[53..57].copy_from_slice(&self.index_checksum.to_be_bytes());
        sealed(bytes)
    }

    /// What a slot says; `None` when it was never written, or is not whole.
    pub fn decode(bytes: &[u8; MARK_BYTES]) -> Option<Self> {
        let mut is_whole = is_whole(bytes);
        planted!(believe_a_torn_mark => is_whole = true);
        if !is_whole || bytes[57..60] != [0; 3] {
            return None;
        }
        let offset = |at| Offset::from_i64(i64::from_be_bytes(part(bytes, at)));
        Some(Mark {
            topic: TopicId::from_bytes(part(bytes, 0)),
            partition: u32::from_be_bytes(part(bytes, 16)),
            flushing_offset: offset(20)?,
            flushed_offset: offset(28)?,
            flushed_position: u32::from_be_bytes(part(bytes, 36)),
            recovery_offset: offset(40)?,
            recovery_position: u32::from_be_bytes(part(bytes, 48)),
            failed: match bytes[52] {
                0 => false,
                1 => true,
                _ => return None,
            },
            index_checksum: u32::from_be_bytes(part(bytes, 53)),
        })
    }
}

/// A position as a slot has room for it.
fn in_segment(position: u64) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// How far the manifest's file is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestMark {
    /// The file's epoch.
    pub epoch: u64,
    /// The file's number among the manifests of the log.
    pub number: u64,
    /// How many of its bytes are durable.
    pub durable: u64,
}

/// Where the id of a topic would be, and its partition.
const OF_THE_MANIFEST: [u8; 20] = *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0MANI";

impl ManifestMark {
    /// The bytes of its slot.
    pub fn encode(&self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..20].copy_from_slice(&OF_THE_MANIFEST);
        bytes[20..28].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[28..36].copy_from_slice(&self.number.to_be_bytes());
        bytes[36..44].copy_from_slice(&self.durable.to_be_bytes());
        sealed(bytes)
    }

    /// What a slot says; `None` when it is not whole, or a partition's.
    pub fn decode(bytes: &[u8; MARK_BYTES]) -> Option<Self> {
        let of_the_manifest = bytes[..20] == OF_THE_MANIFEST && bytes[44..60] == [0; 16];
        (of_the_manifest && is_whole(bytes)).then(|| ManifestMark {
            epoch: u64::from_be_bytes(part(bytes, 20)),
            number: u64::from_be_bytes(part(bytes, 28)),
            durable: u64::from_be_bytes(part(bytes, 36)),
        })
    }
}

/// A slot with the checksum of what it says.
fn sealed(mut bytes: [u8; MARK_BYTES]) -> [u8; MARK_BYTES] {
    let crc = crc32(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Whether a slot has the checksum of what it says. That of zeros is not zero, so one that was never written has not.
fn is_whole(bytes: &[u8; MARK_BYTES]) -> bool {
    crc32(&bytes[..60]) == u32::from_be_bytes(part(bytes, 60))
}

/// `N` bytes of a slot.
fn part<const N: usize>(bytes: &[u8; MARK_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Mark {
        Mark {
            topic: TopicId::from_bytes([0xaa; 16]),
            partition: 1,
            flushing_offset: Offset::new(0x0f),
            flushed_offset: Offset::new(0x0e),
            flushed_position: 0x0d,
            recovery_offset: Offset::new(0x0c),
            recovery_position: 0x0b,
            failed: true,
            index_checksum: 0x0a09_0807,
        }
    }

    #[test]
    fn a_slot_has_these_bytes() {
        // The checksum was computed with Python's zlib.crc32.
        let expected = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 00000001 000000000000000f 000000000000000e 0000000d \
                        000000000000000c 0000000b 01 0a090807 000000 12df5c2a";
        let hex: String = sample().encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""));
        assert_eq!(Mark::decode(&sample().encode()), Some(sample()));
        let blank = Mark::blank(&TopicId::from_bytes([0; 16]), 0);
        assert_eq!(Mark::decode(&blank.encode()), Some(blank));
    }

    #[test]
    fn the_slot_of_the_manifest_has_these_bytes_and_no_other_is_taken_for_it() {
        let mark = ManifestMark { epoch: 0x0a, number: 0x0b, durable: 0x0c };
        let bytes = mark.encode();
        let hex: String = bytes[..60].iter().map(|b| format!("{b:02x}")).collect();
        let expected = "00000000000000000000000000000000 4d414e49 000000000000000a 000000000000000b \
                        000000000000000c 00000000000000000000000000000000";
        assert_eq!(hex, expected.replace(' ', ""));
        assert_eq!(ManifestMark::decode(&bytes), Some(mark));
        assert_eq!(ManifestMark::decode(&sample().encode()), None, "a partition's");
        for bit in 0..MARK_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ManifestMark::decode(&bytes), None, "bit {bit}");
        }
        // With a checksum that matches, too.
        for at in [0, 19, 44, 59] {
            let mut bytes = bytes;
            bytes[at] ^= 1;
            let crc = crate::codec::crc::crc32(&bytes[..60]);
            bytes[60..].copy_from_slice(&crc.to_be_bytes());
            assert_eq!(ManifestMark::decode(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn a_slot_that_is_not_whole_says_nothing() {
        assert_eq!(Mark::decode(&[0; MARK_BYTES]), None);
        for bit in 0..MARK_BYTES * 8 {
            let mut bytes = sample().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&bytes), None, "bit {bit}");
        }
        // A checksum that matches makes a negative offset no better.
        let mut bytes = sample().encode();
        bytes[20] = 0x80;
        let crc = crate::codec::crc::crc32(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(Mark::decode(&bytes), None);
    }
}
