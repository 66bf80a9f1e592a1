//! Entries of the offset, time and transaction index, and views that search them where they lie.
//!
#![doc = include_str!("layout/indexes.md")]
//!
//! Everything is big-endian. Entries are in strict order: by offset and position, by timestamp (offsets never falling), by
//! last offset. A killed Kafka leaves its active indexes preallocated, with zeros after the entries: `decode_all` calls that
//! an error, `new_checked` cuts it off. An index is a hint: nobody may trust what it points at unchecked.

use super::{DecodeError, cursor::Cursor};
use crate::types::{Offset, Timestamp};

/// Kafka keeps relative offsets and positions in signed fields.
const MAX: u32 = i32::MAX as u32;

/// An entry of the offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// The last offset of a batch, less the segment's base offset.
    pub relative_offset: u32,
    /// Where that batch begins in the `.log`.
    pub position: u32,
}

impl OffsetEntry {
    /// Bytes of an entry.
    pub const ENCODED_LEN: usize = 8;

    /// Appends the entry's bytes.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }

    /// The entry that `bytes` begin with.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        Ok(OffsetEntry {
            relative_offset: signed_positive(&mut cursor)?,
            position: signed_positive(&mut cursor)?,
        })
    }

    /// All entries of a trimmed index.
    #[allow(
        dead_code,
        reason = "the reading half of a format that is written here: tests and fuzzing read it back"
    )]
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        decode_all(bytes, Self::ENCODED_LEN, Self::decode, |last, next| next.follows(last))
    }

    /// Whether the entry may follow `last`. Position 0 is never indexed, so an entry of zeros follows nothing.
    fn follows(&self, last: Option<&Self>) -> bool {
        match last {
            None => self.position > 0,
            Some(last) => self.relative_offset > last.relative_offset && self.position > last.position,
        }
    }
}

/// An entry of the time index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// The largest timestamp so far in the segment.
    pub timestamp: Timestamp,
    /// The last offset of the batch that holds it, less the segment's base offset.
    pub relative_offset: u32,
}

impl TimeEntry {
    /// Bytes of an entry.
    pub const ENCODED_LEN: usize = 12;

    /// Appends the entry's bytes.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.as_millis().to_be_bytes());
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    /// The entry that `bytes` begin with.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let timestamp = Timestamp::from_millis(cursor.i64()?);
        Ok(TimeEntry { timestamp, relative_offset: signed_positive(&mut cursor)? })
    }

    /// All entries of a trimmed index.
    #[allow(
        dead_code,
        reason = "the reading half of a format that is written here: tests and fuzzing read it back"
    )]
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        decode_all(bytes, Self::ENCODED_LEN, Self::decode, |last, next| next.follows(last))
    }

    /// Whether the entry may follow `last`. Kafka skips an equal timestamp and refuses a smaller offset.
    fn follows(&self, last: Option<&Self>) -> bool {
        match last {
            None => self.timestamp > Timestamp::NONE,
            Some(last) => self.timestamp > last.timestamp && self.relative_offset >= last.relative_offset,
        }
    }

    fn is_zero(&self) -> bool {
        self.timestamp.as_millis() == 0 && self.relative_offset == 0
    }
}

/// An entry of the transaction index: a transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AbortedTransaction {
    /// The producer that aborted.
    pub producer_id: i64,
    /// The transaction's first offset.
    pub first_offset: Offset,
    /// The offset of its abort marker.
    pub last_offset: Offset,
    /// The partition's last stable offset once the marker was written.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    /// Bytes of an entry.
    pub const ENCODED_LEN: usize = 34;
    const VERSION: i16 = 0;

    /// Appends the entry's bytes.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&Self::VERSION.to_be_bytes());
        into.extend_from_slice(&self.producer_id.to_be_bytes());
        for offset in [self.first_offset, self.last_offset, self.last_stable_offset] {
            into.extend_from_slice(&offset.to_i64().to_be_bytes());
        }
    }

    /// The entry that `bytes` begin with.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let version = cursor.i16()?;
        if version != Self::VERSION {
            let found = format!("a transaction index entry of version {version}");
            return Err(DecodeError::Unsupported { found, supported: "version 0" });
        }
        let entry = AbortedTransaction {
            producer_id: cursor.i64()?,
            first_offset: offset(&mut cursor)?,
            last_offset: offset(&mut cursor)?,
            last_stable_offset: offset(&mut cursor)?,
        };
        if entry.first_offset > entry.last_offset {
            return Err(DecodeError::malformed(10u64, "a transaction begins after its own marker"));
        }
        Ok(entry)
    }

    /// All entries of a transaction index.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        decode_all(bytes, Self::ENCODED_LEN, Self::decode, |last, next| {
            last.is_none_or(|last| next.last_offset > last.last_offset)
        })
    }
}

fn signed_positive(cursor: &mut Cursor<'_>) -> Result<u32, DecodeError> {
    let before = cursor.position();
    match cursor.u32()? {
        value @ 0..=MAX => Ok(value),
        value => Err(DecodeError::malformed(before, format!("{} is negative", value as i32))),
    }
}

fn offset(cursor: &mut Cursor<'_>) -> Result<Offset, DecodeError> {
    let before = cursor.position();
    let value = cursor.i64()?;
    Offset::from_i64(value)
        .ok_or_else(|| DecodeError::malformed(before, format!("offset {value} is negative")))
}

fn decode_all<T>(
    bytes: &[u8],
    len: usize,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    follows: impl Fn(Option<&T>, &T) -> bool,
) -> Result<Vec<T>, DecodeError> {
    let whole = bytes.len() / len;
    let mut entries = Vec::with_capacity(whole);
    for (i, entry) in bytes.chunks_exact(len).enumerate() {
        let position = (i * len) as u64;
        let entry = decode(entry).map_err(|error| error.shifted(position))?;
        if !follows(entries.last(), &entry) {
            return Err(DecodeError::malformed(position, "an index entry does not follow the one before it"));
        }
        entries.push(entry);
    }
    if !bytes.len().is_multiple_of(len) {
        let reason = format!("{} bytes are no whole number of {len}-byte entries", bytes.len());
        return Err(DecodeError::malformed(whole * len, reason));
    }
    Ok(entries)
}

/// An offset index searched in its bytes. A partial entry at the end does not count.
///
/// Look-ups assume order; bytes nobody vouches for come through [`OffsetIndexView::new_checked`].
#[derive(Clone, Copy, Debug)]
pub struct OffsetIndexView<'a> {
    bytes: &'a [u8],
}

impl<'a> OffsetIndexView<'a> {
    /// A view of entries that are in order.
    pub fn new(bytes: &'a [u8]) -> Self {
        OffsetIndexView { bytes }
    }

    /// A view of the longest beginning that is in order, and its length in bytes.
    pub fn new_checked(bytes: &'a [u8]) -> (Self, usize) {
        let (mut last, mut valid) = (None, 0);
        while let Ok(entry) = OffsetEntry::decode(bytes.get(valid..).unwrap_or_default()) {
            if !entry.follows(last.as_ref()) {
                break;
            }
            valid += OffsetEntry::ENCODED_LEN;
            last = Some(entry);
        }
        (Self::new(bytes.get(..valid).unwrap_or_default()), valid)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / OffsetEntry::ENCODED_LEN
    }

    /// The entry at `i`.
    pub fn get(&self, i: usize) -> Option<OffsetEntry> {
        let entry = entry_at::<{ OffsetEntry::ENCODED_LEN }>(self.bytes, i)?;
        let word = u64::from_be_bytes(*entry);
        Some(OffsetEntry { relative_offset: (word >> 32) as u32, position: word as u32 })
    }

    /// The entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = OffsetEntry> + 'a {
        let view = *self;
        (0..view.len()).filter_map(move |i| view.get(i))
    }

    /// The last entry whose offset is not above `relative_offset`.
    pub fn floor(&self, relative_offset: u32) -> Option<OffsetEntry> {
        let above = partition_point(self.len(), |i| {
            self.get(i).is_some_and(|entry| entry.relative_offset <= relative_offset)
        });
        self.get(above.checked_sub(1)?)
    }
}

/// A time index searched in its bytes. A partial entry at the end does not count.
///
/// Look-ups assume order; bytes nobody vouches for come through [`TimeIndexView::new_checked`].
#[derive(Clone, Copy, Debug)]
pub struct TimeIndexView<'a> {
    bytes: &'a [u8],
}

impl<'a> TimeIndexView<'a> {
    /// A view of entries that are in order.
    pub fn new(bytes: &'a [u8]) -> Self {
        TimeIndexView { bytes }
    }

    /// A view of the longest beginning that is in order, and its length in bytes.
    ///
    /// A first entry of zeros can be real (one record at timestamp 0). With more zeros after it, it counts as preallocated
    /// space: without the entry a look-up begins at the segment's base, which is never wrong.
    pub fn new_checked(bytes: &'a [u8]) -> (Self, usize) {
        let mut last: Option<TimeEntry> = None;
        let mut valid = 0;
        while let Ok(entry) = TimeEntry::decode(bytes.get(valid..).unwrap_or_default()) {
            if !entry.follows(last.as_ref()) {
                if entry.is_zero() && last.is_some_and(|last| last.is_zero()) {
                    valid = 0;
                }
                break;
            }
            valid += TimeEntry::ENCODED_LEN;
            last = Some(entry);
        }
        (Self::new(bytes.get(..valid).unwrap_or_default()), valid)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / TimeEntry::ENCODED_LEN
    }

    /// The entry at `i`.
    pub fn get(&self, i: usize) -> Option<TimeEntry> {
        let entry = entry_at::<{ TimeEntry::ENCODED_LEN }>(self.bytes, i)?;
        let (timestamp, relative_offset) = (entry.first_chunk::<8>()?, entry.last_chunk::<4>()?);
        Some(TimeEntry {
            timestamp: Timestamp::from_millis(i64::from_be_bytes(*timestamp)),
            relative_offset: u32::from_be_bytes(*relative_offset),
        })
    }

    /// The entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = TimeEntry> + 'a {
        let view = *self;
        (0..view.len()).filter_map(move |i| view.get(i))
    }

    /// The last entry whose timestamp is not above `timestamp`.
    pub fn floor(&self, timestamp: Timestamp) -> Option<TimeEntry> {
        let above =
            partition_point(self.len(), |i| self.get(i).is_some_and(|entry| entry.timestamp <= timestamp));
        self.get(above.checked_sub(1)?)
    }
}

fn entry_at<const N: usize>(bytes: &[u8], i: usize) -> Option<&[u8; N]> {
    bytes.get(i.checked_mul(N)?..)?.first_chunk()
}

/// The first of `0..len` for which `holds` is false, if it holds for a beginning of them.
fn partition_point(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::hex;
    use super::*;
    use proptest::prelude::*;

    fn offsets(entries: &[(u32, u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (relative_offset, position) in entries.iter().copied() {
            OffsetEntry { relative_offset, position }.encode(&mut bytes);
        }
        bytes
    }

    fn times(entries: &[(i64, u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (millis, relative_offset) in entries.iter().copied() {
            TimeEntry { timestamp: Timestamp::from_millis(millis), relative_offset }.encode(&mut bytes);
        }
        bytes
    }

    #[test]
    fn entries_are_kafkas_bytes() {
        assert_eq!(offsets(&[(41, 4130)]), hex("0000002900001022"));
        assert_eq!(times(&[(1_700_000_000_000, 41)]), hex("0000018bcfe5680000000029"));
        let aborted = AbortedTransaction {
            producer_id: 9,
            first_offset: 100.into(),
            last_offset: 130.into(),
            last_stable_offset: 131.into(),
        };
        let mut bytes = Vec::new();
        aborted.encode(&mut bytes);
        assert_eq!(bytes, hex("00000000000000000009000000000000006400000000000000820000000000000083"));
        assert_eq!(AbortedTransaction::decode_all(&bytes), Ok(vec![aborted]));
    }

    #[test]
    fn entries_out_of_order_are_refused_where_they_stand() {
        fn refused_at<T: std::fmt::Debug>(result: Result<Vec<T>, DecodeError>) -> u64 {
            match result {
                Err(DecodeError::Malformed { position, .. }) => position,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(refused_at(OffsetEntry::decode_all(&offsets(&[(1, 70), (1, 80)]))), 8);
        assert_eq!(refused_at(OffsetEntry::decode_all(&offsets(&[(1, 70), (2, 70)]))), 8);
        assert_eq!(refused_at(OffsetEntry::decode_all(&offsets(&[(0, 0)]))), 0);
        assert_eq!(refused_at(TimeEntry::decode_all(&times(&[(-1, 3)]))), 0);
        assert_eq!(refused_at(TimeEntry::decode_all(&times(&[(5, 3), (5, 4)]))), 12);
        assert_eq!(refused_at(TimeEntry::decode_all(&times(&[(5, 3), (6, 2)]))), 12);
        let entry = hex("00000000000000000009000000000000006400000000000000820000000000000083");
        assert_eq!(refused_at(AbortedTransaction::decode_all(&[entry.clone(), entry].concat())), 34);
    }

    #[test]
    fn entries_that_only_just_follow_each_other_are_read() {
        let read = |entries| TimeEntry::decode_all(&times(entries)).map(|entries| entries.len());
        assert_eq!(read(&[(5, 3), (6, 3)]), Ok(2), "a later time at the same offset");
        assert_eq!(read(&[(0, 3)]), Ok(1));
        let one = AbortedTransaction {
            producer_id: 0,
            first_offset: 7.into(),
            last_offset: 7.into(),
            last_stable_offset: 8.into(),
        };
        let mut bytes = Vec::new();
        one.encode(&mut bytes);
        assert_eq!(AbortedTransaction::decode_all(&bytes), Ok(vec![one]), "nothing but its marker");
        // Where something is left over, the whole entries before it are counted.
        match OffsetEntry::decode_all(&offsets(&[(1, 70), (2, 80), (3, 90)])[..20]) {
            Err(DecodeError::Malformed { position, .. }) => assert_eq!(position, 16),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_zeros_are_preallocated_space() {
        for last in [(0, 7), (70, 0)] {
            let mut bytes = times(&[last]);
            bytes.resize(60, 0);
            assert_eq!(TimeIndexView::new_checked(&bytes).1, 12, "{last:?}");
        }
        assert_eq!((OffsetIndexView::new(&[]).len(), TimeIndexView::new(&[]).len()), (0, 0));
        assert_eq!(OffsetIndexView::new(&offsets(&[(1, 2)])).len(), 1);
        assert_eq!(TimeIndexView::new(&times(&[(1, 2)])).len(), 1);
    }

    #[test]
    fn a_partial_entry_a_negative_field_and_another_version_are_refused() {
        assert!(OffsetEntry::decode_all(&[0; 9]).is_err());
        assert!(OffsetEntry::decode_all(&offsets(&[(1, 1)])[..7]).is_err());
        assert!(OffsetEntry::decode(&offsets(&[(u32::MAX, 1)])).is_err());
        assert!(OffsetEntry::decode(&offsets(&[(1, 1 << 31)])).is_err());
        assert!(TimeEntry::decode(&times(&[(1, 1 << 31)])).is_err());
        let mut entry = hex("00010000000000000009000000000000006400000000000000820000000000000083");
        assert!(matches!(AbortedTransaction::decode(&entry), Err(DecodeError::Unsupported { .. })));
        entry[1] = 0;
        entry[10] = 0x80;
        assert!(matches!(
            AbortedTransaction::decode(&entry),
            Err(DecodeError::Malformed { position: 10, .. })
        ));
    }

    #[test]
    fn floor_is_the_last_entry_not_above() {
        let bytes = offsets(&[(3, 70), (7, 150), (9, 300)]);
        let view = OffsetIndexView::new(&bytes);
        let floor = |offset| view.floor(offset).map(|entry| entry.position);
        assert_eq!(
            [2, 3, 6, 7, 8, 9, u32::MAX].map(floor),
            [None, Some(70), Some(70), Some(150), Some(150), Some(300), Some(300)]
        );
        assert!(OffsetIndexView::new(&[]).floor(5).is_none());
        let bytes = times(&[(30, 3), (70, 7)]);
        let view = TimeIndexView::new(&bytes);
        let floor = |millis| view.floor(Timestamp::from_millis(millis)).map(|entry| entry.relative_offset);
        assert_eq!([29, 30, 69, 70, i64::MAX].map(floor), [None, Some(3), Some(3), Some(7), Some(7)]);
    }

    #[test]
    fn a_zero_tail_and_a_partial_entry_are_cut_off() {
        let mut bytes = offsets(&[(3, 70), (7, 150)]);
        bytes.resize(64, 0);
        assert_eq!(OffsetIndexView::new_checked(&bytes).1, 16);
        assert_eq!(OffsetIndexView::new_checked(&bytes[..15]).1, 8);
        assert_eq!(OffsetIndexView::new_checked(&[0; 64]).1, 0);
        let mut bytes = times(&[(0, 0), (70, 7)]);
        bytes.resize(70, 0);
        let (view, valid) = TimeIndexView::new_checked(&bytes);
        assert_eq!((view.len(), valid), (2, 24));
        assert_eq!(TimeIndexView::new_checked(&[0; 12]).1, 12, "one record at timestamp 0");
        assert_eq!(TimeIndexView::new_checked(&[0; 64]).1, 0, "preallocated space");
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), key in any::<u32>()) {
            let _ = OffsetEntry::decode_all(&bytes);
            let _ = TimeEntry::decode_all(&bytes);
            let _ = AbortedTransaction::decode_all(&bytes);
            let (offsets, valid) = OffsetIndexView::new_checked(&bytes);
            prop_assert_eq!(OffsetEntry::decode_all(&bytes[..valid]), Ok(offsets.iter().collect::<Vec<_>>()));
            let (times, valid) = TimeIndexView::new_checked(&bytes);
            prop_assert_eq!(TimeEntry::decode_all(&bytes[..valid]), Ok(times.iter().collect::<Vec<_>>()));
            let _ = OffsetIndexView::new(&bytes).floor(key);
            let _ = TimeIndexView::new(&bytes).floor(Timestamp::from_millis(key.into()));
        }

        #[test]
        fn what_is_in_order_reads_back_and_is_found(steps in prop::collection::vec((1u32..50, 1u32..5000), 0..100)) {
            let entries: Vec<(u32, u32)> = steps.iter().scan((0, 0), |at, step| {
                *at = (at.0 + step.0, at.1 + step.1);
                Some(*at)
            }).collect();
            let bytes = offsets(&entries);
            let decoded = OffsetEntry::decode_all(&bytes);
            let (view, valid) = OffsetIndexView::new_checked(&bytes);
            prop_assert_eq!(valid, bytes.len());
            prop_assert_eq!(decoded, Ok(view.iter().collect::<Vec<_>>()));
            for key in 0..entries.last().map_or(5, |last| last.0 + 5) {
                let expected = entries.iter().rev().find(|entry| entry.0 <= key).copied();
                prop_assert_eq!(view.floor(key).map(|entry| (entry.relative_offset, entry.position)), expected);
            }
        }
    }
}
