//! What the manifest knows of a sealed segment: a [`Seal`], and its bytes in the forms of today and of the first release.
//!
//! The form of today ends with a length and as many bytes that nobody has given a meaning yet. A release that does not know
//! them passes over them, and drops them when it rewrites the manifest, so only hints may come there. What must not be
//! dropped takes a flag: a flag that is not known is refused.
//!
//! Each seal names the tier of its segment: see `tier`.

use super::{input::Input, output::Output, tier::Tier};
use crate::{
    codec::DecodeError,
    types::{Offset, Timestamp},
};

/// What is known of a segment that takes no more appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The offset after its last record.
    pub next_offset: Offset,
    /// The exact size of its `.log`.
    pub bytes: u64,
    /// The largest timestamp of its records.
    pub largest_timestamp: Timestamp,
    /// How often the segment was rewritten.
    pub generation: u32,
    /// The checksum of what its indexes were when it was sealed, or built again since; 0 when it is not known.
    pub index_checksum: u32,
    /// When it was sealed: 1970 or later; `None` when that is not known.
    pub sealed_at: Option<Timestamp>,
}

/// The least bytes that a sealed segment takes, as the first release wrote it.
pub(super) const FIRST_FORM_BYTES: usize = 41;
/// The least bytes that a sealed segment takes, as it is written.
pub(super) const LEAST_BYTES: usize = FIRST_FORM_BYTES + 12;

impl Seal {
    /// A time on the clock, as one at which a segment was sealed. A clock before 1970 says nothing.
    pub fn time(now: Timestamp) -> Option<Timestamp> {
        (now.as_millis() >= 0).then_some(now)
    }

    /// Appends it to `out`, for the segment at `base`.
    pub(super) fn put<'o, 'v>(&self, base: Offset, out: &'o mut Output<'v>) -> &'o mut Output<'v> {
        let sealed_at = self.sealed_at.and_then(Seal::time).unwrap_or(Timestamp::NONE);
        let (no_flags, nothing_later) = (0, 0);
        out.offset(base)
            .offset(self.next_offset)
            .u64(self.bytes)
            .timestamp(self.largest_timestamp)
            .u32(self.generation)
            .u8(Tier::Local.number())
            .u32(self.index_checksum)
            .timestamp(sealed_at)
            .u16(no_flags)
            .u16(nothing_later)
    }

    /// A segment's base and its seal.
    pub(super) fn read(input: &mut Input<'_>) -> Result<(Offset, Seal), DecodeError> {
        let (base, seal) = Self::read_first_form(input)?;
        let sealed_at = match input.timestamp()? {
            Timestamp::NONE => None,
            at if at.as_millis() >= 0 => Some(at),
            at => return Err(input.malformed(8, format!("no segment was sealed at {}", at.as_millis()))),
        };
        let flags = input.u16()?;
        if flags != 0 {
            return Err(super::unsupported(format!("a sealed segment with the flags {flags:#06x}")));
        }
        let later = input.u16()?;
        input.take(later.into())?;
        Ok((base, Seal { sealed_at, ..seal }))
    }

    /// As [`read`](Self::read), in the form that the first release wrote.
    pub(super) fn read_first_form(input: &mut Input<'_>) -> Result<(Offset, Seal), DecodeError> {
        let (base, next_offset, bytes) = (input.offset()?, input.offset()?, input.size()?);
        let (largest_timestamp, generation) = (input.timestamp()?, input.u32()?);
        let Tier::Local = Tier::read(input)?;
        let index_checksum = input.u32()?;
        let seal =
            Seal { next_offset, bytes, largest_timestamp, generation, index_checksum, sealed_at: None };
        Ok((base, seal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::manifest::Entry, types::TopicId};

    const PARTITION: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 00000007";
    const FIRST_FORM: &str =
        "0000000000000003 0000000000000009 0000000000001000 00000000000003e8 00000002 00 0badcafe";

    fn bytes(hex: &[&str]) -> Vec<u8> {
        let digits: Vec<u8> = hex.concat().bytes().filter(|digit| *digit != b' ').collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn entry(sealed_at: Option<i64>) -> Entry {
        let sealed = Seal {
            next_offset: Offset::new(9),
            bytes: 4096,
            largest_timestamp: Timestamp::from_millis(1000),
            generation: 2,
            index_checksum: 0x0bad_cafe,
            sealed_at: sealed_at.map(Timestamp::from_millis),
        };
        let id = TopicId::from_bytes([0xaa; 16]);
        Entry::SegmentSealed { id, partition: 7, base: Offset::new(3), sealed }
    }

    #[test]
    fn a_sealed_segment_has_these_bytes() {
        let mut payload = Vec::new();
        entry(Some(2000)).encode_payload(&mut payload);
        let expected = bytes(&[PARTITION, FIRST_FORM, "00000000000007d0 0000 0000"]);
        assert_eq!((entry(None).code(), payload), (16, expected.clone()));
        assert_eq!(Entry::decode(16, &expected), Ok(Some(entry(Some(2000)))));
    }

    #[test]
    fn the_form_of_the_first_release_reads_without_a_sealing_time() {
        assert_eq!(Entry::decode(7, &bytes(&[PARTITION, FIRST_FORM])), Ok(Some(entry(None))));
        let range = "0000000000000003 0000000000000009 00000001";
        let Ok(Some(Entry::SegmentsReplaced { with, .. })) =
            Entry::decode(9, &bytes(&[PARTITION, range, FIRST_FORM]))
        else {
            panic!("no list of segments");
        };
        assert_eq!(with.len(), 1);
        assert_eq!(with[0].1.sealed_at, None);
    }

    #[test]
    fn what_comes_later_is_passed_over_and_what_must_not_be_is_refused() {
        let read = |end: &str| Entry::decode(16, &bytes(&[PARTITION, FIRST_FORM, end]));
        assert_eq!(read("00000000000007d0 0000 0003 abcdef"), Ok(Some(entry(Some(2000)))));
        assert_eq!(read("ffffffffffffffff 0000 0000"), Ok(Some(entry(None))));
        assert!(matches!(read("00000000000007d0 0001 0000"), Err(DecodeError::Unsupported { .. })));
        for wrong in [
            "00000000000007d0 0000 0003 abcd",
            "00000000000007d0 0000 0001 abcd",
            "fffffffffffffffe 0000 0000",
            "8000000000000000 0000 0000",
        ] {
            assert!(matches!(read(wrong), Err(DecodeError::Malformed { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_segment_of_another_tier_than_the_local_one_is_refused_in_both_forms() {
        for tier in ["01", "02", "ff"] {
            let seal = FIRST_FORM.replace(" 00 ", &format!(" {tier} "));
            assert_ne!(seal, FIRST_FORM);
            let range = "0000000000000003 0000000000000009 00000001";
            for (code, payload) in [
                (7, [PARTITION, &seal, "", ""]),
                (9, [PARTITION, range, &seal, ""]),
                (16, [PARTITION, &seal, "00000000000007d0", "0000 0000"]),
                (17, [PARTITION, range, &seal, "00000000000007d0 0000 0000"]),
            ] {
                let refused = Entry::decode(code, &bytes(&payload)).unwrap_err();
                assert!(matches!(refused, DecodeError::Unsupported { .. }), "{code}: {refused}");
            }
        }
    }

    #[test]
    fn a_clock_before_1970_seals_at_no_known_time() {
        assert_eq!(Seal::time(Timestamp::from_millis(-5)), None);
        assert_eq!(Seal::time(Timestamp::from_millis(0)), Some(Timestamp::from_millis(0)));
        let mut payload = Vec::new();
        entry(Some(-5)).encode_payload(&mut payload);
        assert_eq!(Entry::decode(16, &payload), Ok(Some(entry(None))));
    }
}
