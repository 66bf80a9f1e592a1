//! The keys of a sealed segment: the `.keys` file.
//!
//! It says of each record with a key, by a hash of that key, at which offset it lies and whether it is a tombstone. With
//! it compaction decides which records live without reading them. Bytes, big-endian:
//!
#![doc = include_str!("layout/keys.md")]
//!
//! The hash is SipHash-2-4 of 128 bits under a seed that is random and the same in all files of a partition: nobody can
//! make two keys meet, and by chance they do not. A key that is written a million times fills one bucket, which is as
//! long as that takes.
//!
//! Everything here is arithmetic over a [`KeysHeader`] that was checked: where entries, bucket starts and checksums lie
//! follows from its count and bits alone, and so does the length of the file.

pub use super::siphash::{HashSeed, siphash128, siphash128_of_two};
use super::{
    DecodeError,
    crc::{Crc32, crc32},
    cursor::Cursor,
};
use crate::types::Offset;
use std::ops::Range;

/// Bytes before the entries.
pub const HEADER_LEN: usize = 64;
/// Bytes of an entry.
pub const ENTRY_LEN: usize = 20;
/// Bytes that have a checksum of their own.
pub const PAGE: u64 = 4096;

const MAGIC: [u8; 4] = *b"SLKY";
const VERSION: u16 = 1;
const WORD: u64 = 4;
/// About how many entries a bucket has at most, where keys differ: one page.
const BUCKET_ENTRIES: u32 = 128;
const BUCKET_BITS_MAX: u8 = 24;
const TOMBSTONE: u32 = 1 << 31;
/// More records than a byte of a `.log` can hold, however well they are compressed.
const RECORDS_PER_BYTE: u64 = 1024;

/// What a segment holds beside keyed records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeysFlags(u16);

impl KeysFlags {
    /// Batches of a producer that has an id, transactions among them.
    pub const PRODUCERS: KeysFlags = KeysFlags(1);
    /// Tombstones.
    pub const TOMBSTONES: KeysFlags = KeysFlags(2);
    /// Records without a key.
    pub const NULL_KEYS: KeysFlags = KeysFlags(4);
    /// Records whose offsets do not rise, or are none of their batch.
    pub const OUT_OF_ORDER: KeysFlags = KeysFlags(8);

    /// Adds what `others` say.
    pub fn add(&mut self, others: KeysFlags) {
        self.0 |= others.0;
    }

    /// Whether one of `others` is said.
    pub fn say(self, others: KeysFlags) -> bool {
        self.0 & others.0 != 0
    }
}

/// What the file says of itself and of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysHeader {
    /// What the segment holds.
    pub flags: KeysFlags,
    /// What keys are hashed under.
    pub seed: HashSeed,
    /// Which rewriting of the segment it is about.
    pub generation: u32,
    /// The size of the `.log`.
    pub size: u64,
    /// The base offset of the segment.
    pub base: Offset,
    /// The offset after its last one.
    pub next: Offset,
    /// How many entries there are.
    pub count: u32,
    /// How many upper bits of a hash say its bucket.
    pub bucket_bits: u8,
}

impl KeysHeader {
    /// The bits for so many entries.
    pub fn bits_for(count: u32) -> u8 {
        let buckets = count.div_ceil(BUCKET_ENTRIES).max(1).next_power_of_two();
        (buckets.trailing_zeros() as u8).min(BUCKET_BITS_MAX)
    }

    /// The beginning of the file.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(self.flags.0.to_be_bytes());
        bytes.extend(self.seed.first.to_le_bytes());
        bytes.extend(self.seed.last.to_le_bytes());
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend(self.size.to_be_bytes());
        bytes.extend(self.base.value().to_be_bytes());
        bytes.extend(self.next.value().to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        bytes.extend([self.bucket_bits, 0, 0, 0]);
        bytes.extend(crc32(&bytes).to_be_bytes());
        let mut header = [0; HEADER_LEN];
        header.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        header
    }

    /// What the file that `bytes` begin says of itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != MAGIC {
            return Err(DecodeError::malformed(0u64, "a file of keys begins with \"SLKY\""));
        }
        let version = cursor.u16()?;
        if version != VERSION {
            let found = format!("a file of keys of version {version}");
            return Err(DecodeError::Unsupported { found, supported: "version 1" });
        }
        let flags = KeysFlags(cursor.u16()?);
        let seed = HashSeed {
            first: cursor.array().map(u64::from_le_bytes)?,
            last: cursor.array().map(u64::from_le_bytes)?,
        };
        let (generation, size) = (cursor.u32()?, cursor.u64()?);
        let (base, next) = (offset(&mut cursor)?, offset(&mut cursor)?);
        let (count, [bucket_bits, reserved @ ..]) = (cursor.u32()?, cursor.array::<4>()?);
        let (end, expected) = (cursor.position(), cursor.u32()?);
        let found = crc32(bytes.get(..end).unwrap_or_default());
        if expected != found {
            return Err(cursor.malformed(format!("checksum {expected:08x} expected, {found:08x} found")));
        }
        let header = KeysHeader { flags, seed, generation, size, base, next, count, bucket_bits };
        let fits = next >= base
            && u64::from(count) <= next.distance_from(base)
            && u64::from(count) <= size.saturating_mul(RECORDS_PER_BYTE);
        // With fewer buckets each is gone through again and again.
        let bits = Self::bits_for(count)..=BUCKET_BITS_MAX;
        if !bits.contains(&bucket_bits) || !fits || reserved != [0; 3] {
            return Err(cursor.malformed(format!(
                "{count} keys in 2^{bucket_bits} buckets, of offsets from {base} to {next} in {size} bytes"
            )));
        }
        Ok(header)
    }

    /// How many buckets there are.
    pub fn buckets(&self) -> u32 {
        1 << self.bucket_bits
    }

    /// Which bucket an entry belongs to, in its bytes.
    #[inline]
    pub fn bucket_of(&self, entry: &[u8; ENTRY_LEN]) -> u32 {
        hash_prefix(entry).checked_shr(32 - u32::from(self.bucket_bits)).unwrap_or(0)
    }

    /// Where the entries of these numbers lie in the file.
    pub fn entries_at(&self, numbers: Range<u32>) -> Range<u64> {
        let at = |number: u32| HEADER_LEN as u64 + u64::from(number.min(self.count)) * ENTRY_LEN as u64;
        at(numbers.start)..at(numbers.end)
    }

    /// Where the starts of these buckets lie in the file.
    pub fn starts_at(&self, buckets: Range<u32>) -> Range<u64> {
        let begin = self.entries_at(0..self.count).end;
        let at = |bucket: u32| begin + u64::from(bucket.min(self.buckets())) * WORD;
        at(buckets.start)..at(buckets.end)
    }

    /// How many bytes have page checksums: the entries and the starts.
    fn covered(&self) -> u64 {
        self.starts_at(0..self.buckets()).end - HEADER_LEN as u64
    }

    /// Where the page checksums lie in the file, with their own at the end.
    pub fn sums_at(&self) -> Range<u64> {
        let begin = HEADER_LEN as u64 + self.covered();
        begin..begin + (self.covered().div_ceil(PAGE) + 1) * WORD
    }

    /// The length of the file.
    pub fn file_len(&self) -> u64 {
        self.sums_at().end
    }

    /// The pages that `range` of the file touches, and where they lie.
    pub fn pages_of(&self, range: Range<u64>) -> (Range<u64>, Range<u64>) {
        let end = HEADER_LEN as u64 + self.covered();
        let relative = |position: u64| position.clamp(HEADER_LEN as u64, end) - HEADER_LEN as u64;
        let pages = relative(range.start) / PAGE..relative(range.end).div_ceil(PAGE);
        let at = |page: u64| (HEADER_LEN as u64 + page * PAGE).min(end);
        (pages.clone(), at(pages.start)..at(pages.end))
    }
}

fn offset(cursor: &mut Cursor<'_>) -> Result<Offset, DecodeError> {
    let before = cursor.position();
    let value = cursor.i64()?;
    Offset::from_i64(value)
        .ok_or_else(|| DecodeError::malformed(before, format!("offset {value} is negative")))
}

/// One record that has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The hash of its key.
    pub hash: u128,
    /// Its offset, from the segment's base on: 31 bits.
    pub relative: u32,
    /// Whether it has no value.
    pub is_tombstone: bool,
}

impl KeyEntry {
    /// The entry in its bytes.
    #[inline]
    pub fn encode(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        let place = self.relative & !TOMBSTONE | if self.is_tombstone { TOMBSTONE } else { 0 };
        let (hash, rest) = bytes.split_at_mut(16);
        hash.copy_from_slice(&self.hash.to_be_bytes());
        rest.copy_from_slice(&place.to_be_bytes());
        bytes
    }

    /// The entry of these bytes.
    #[inline]
    pub fn decode(bytes: &[u8; ENTRY_LEN]) -> Self {
        let (mut hash, mut place) = ([0; 16], [0; 4]);
        hash.copy_from_slice(&bytes[..16]);
        place.copy_from_slice(&bytes[16..]);
        let place = u32::from_be_bytes(place);
        KeyEntry {
            hash: u128::from_be_bytes(hash),
            relative: place & !TOMBSTONE,
            is_tombstone: place & TOMBSTONE != 0,
        }
    }
}

/// The upper bits of the hash in an entry's bytes.
#[inline]
pub fn hash_prefix(entry: &[u8; ENTRY_LEN]) -> u32 {
    let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *entry;
    u32::from_be_bytes(first)
}

/// The offset in an entry's bytes, from the segment's base on, and whether that is a tombstone.
#[inline]
pub fn place_of(entry: &[u8; ENTRY_LEN]) -> (u32, bool) {
    let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, last @ ..] = *entry;
    let place = u32::from_be_bytes(last);
    (place & !TOMBSTONE, place & TOMBSTONE != 0)
}

/// An entry in its bytes, at another offset.
#[inline]
pub fn moved_to(entry: &[u8; ENTRY_LEN], relative: u32) -> [u8; ENTRY_LEN] {
    let (_, is_tombstone) = place_of(entry);
    let place = relative & !TOMBSTONE | if is_tombstone { TOMBSTONE } else { 0 };
    let mut moved = *entry;
    moved[16..].copy_from_slice(&place.to_be_bytes());
    moved
}

/// Makes the checksums of the pages out of the bytes that follow the header, given in order.
#[derive(Clone, Debug, Default)]
pub struct KeySummer {
    sums: Vec<u8>,
    page: Crc32,
    in_page: u64,
}

impl KeySummer {
    /// The next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min((PAGE - self.in_page) as usize));
            self.page.update(now);
            self.in_page += now.len() as u64;
            if self.in_page == PAGE {
                self.end_page();
            }
            bytes = later;
        }
    }

    fn end_page(&mut self) {
        self.sums.extend(std::mem::take(&mut self.page).finalize().to_be_bytes());
        self.in_page = 0;
    }

    /// The end of the file.
    pub fn finish(mut self) -> Vec<u8> {
        if self.in_page > 0 {
            self.end_page();
        }
        self.sums.extend(crc32(&self.sums).to_be_bytes());
        self.sums
    }
}

/// The checksums of the pages, as they were read.
#[derive(Clone, Debug)]
pub struct KeySums(Vec<u32>);

impl KeySums {
    /// The checksums that `bytes`, the end of a file with this header, are.
    pub fn decode(header: &KeysHeader, bytes: &[u8]) -> Result<Self, DecodeError> {
        let at = header.sums_at();
        let (words, rest) = bytes.as_chunks::<4>();
        let whole = bytes.len() as u64 == at.end - at.start && rest.is_empty();
        let Some((own, sums)) = words.split_last().filter(|_| whole) else {
            let reason = format!("{} bytes of checksums, of {} expected", bytes.len(), at.end - at.start);
            return Err(DecodeError::malformed(at.start, reason));
        };
        if u32::from_be_bytes(*own) != crc32(sums.as_flattened()) {
            return Err(DecodeError::malformed(at.start, "the page checksums are not what was written"));
        }
        Ok(KeySums(sums.iter().map(|sum| u32::from_be_bytes(*sum)).collect()))
    }

    /// Checks whole pages from `first` on, the last of which may be shorter.
    pub fn check(&self, first: u64, bytes: &[u8]) -> Result<(), DecodeError> {
        for (page, bytes) in (first..).zip(bytes.chunks(PAGE as usize)) {
            let sum = usize::try_from(page).ok().and_then(|page| self.0.get(page));
            if sum != Some(&crc32(bytes)) {
                let position = (HEADER_LEN as u64).saturating_add(page.saturating_mul(PAGE));
                return Err(DecodeError::malformed(position, "a page of keys is not what was written"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::hex, *};
    use proptest::prelude::*;

    const SEED: HashSeed = HashSeed { first: 1, last: 2 };

    fn header(count: u32) -> KeysHeader {
        KeysHeader {
            flags: KeysFlags::TOMBSTONES,
            seed: SEED,
            generation: 3,
            size: 4711,
            base: Offset::new(40),
            next: Offset::new(41 + u64::from(count)),
            count,
            bucket_bits: KeysHeader::bits_for(count),
        }
    }

    /// A whole file of these entries, which are in order.
    fn file(header: &KeysHeader, entries: &[KeyEntry]) -> Vec<u8> {
        let mut bytes = header.encode().to_vec();
        entries.iter().for_each(|entry| bytes.extend(entry.encode()));
        for bucket in 0..header.buckets() {
            let before = entries.iter().filter(|entry| header.bucket_of(&entry.encode()) < bucket).count();
            bytes.extend((before as u32).to_be_bytes());
        }
        let mut summer = KeySummer::default();
        summer.update(&bytes[HEADER_LEN..]);
        bytes.extend(summer.finish());
        bytes
    }

    #[test]
    fn a_file_has_a_fixed_layout() {
        let entry = KeyEntry { hash: 0x0102 << 112 | 0xff, relative: 1, is_tombstone: true };
        let mut expected =
            hex("534c4b59 0001 0002 0100000000000000 0200000000000000 00000003 0000000000001267 \
             0000000000000028 000000000000002a 00000001 00 000000");
        expected.extend(crc32(&expected).to_be_bytes());
        let body = hex("010200000000000000000000000000ff 80000001 00000000");
        expected.extend(&body);
        expected.extend(crc32(&body).to_be_bytes());
        expected.extend(crc32(&crc32(&body).to_be_bytes()).to_be_bytes());
        assert_eq!(file(&header(1), &[entry]), expected);
        assert_eq!(header(1).file_len(), expected.len() as u64);
        assert_eq!(KeysHeader::decode(&expected), Ok(header(1)));
    }

    #[test]
    fn an_entry_says_in_its_bytes_what_it_says_decoded() {
        let header = KeysHeader { bucket_bits: 13, ..header(1000) };
        for (hash, is_tombstone) in [(0x0123_4567 << 96 | 0xff, true), (u128::MAX, false), (0, true)] {
            let entry = KeyEntry { hash, relative: 0x7654_3210, is_tombstone };
            let bytes = entry.encode();
            assert_eq!(header.bucket_of(&bytes), (hash >> 115) as u32);
            assert_eq!(KeysHeader { bucket_bits: 0, ..header }.bucket_of(&bytes), 0);
            assert_eq!(
                (hash_prefix(&bytes), place_of(&bytes)),
                ((hash >> 96) as u32, (0x7654_3210, is_tombstone))
            );
            assert_eq!(moved_to(&bytes, 7), KeyEntry { relative: 7, ..entry }.encode());
        }
    }

    #[test]
    fn buckets_are_about_a_page_and_no_more_than_a_file_can_have() {
        assert_eq!([0, 1, 128, 129, 257, u32::MAX].map(KeysHeader::bits_for), [0, 0, 0, 1, 2, 24]);
        let header = KeysHeader { bucket_bits: 3, ..header(1000) };
        let of = |hash| header.bucket_of(&KeyEntry { hash, relative: 0, is_tombstone: false }.encode());
        assert_eq!([0, 1 << 125, 7 << 125, u128::MAX].map(of), [0, 1, 7, 7]);
    }

    #[test]
    fn a_header_that_cannot_be_is_refused_though_its_checksum_holds() {
        let refuses = |change: fn(&mut KeysHeader)| {
            let mut header = header(5);
            change(&mut header);
            KeysHeader::decode(&header.encode()).unwrap_err()
        };
        refuses(|header| header.bucket_bits = 25);
        refuses(|header| header.next = Offset::new(39));
        refuses(|header| header.count = 7);
        let mut other = header(5).encode();
        other[5] = 2;
        assert!(matches!(KeysHeader::decode(&other), Err(DecodeError::Unsupported { .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec(
            (any::<u128>(), 0u32..1 << 31, any::<bool>()), 0..400)
        ) {
            let count = entries.len() as u32;
            let header = KeysHeader { next: Offset::new(1 << 40), ..header(count) };
            let mut entries: Vec<KeyEntry> = entries.into_iter()
                .map(|(hash, relative, is_tombstone)| KeyEntry { hash, relative, is_tombstone }).collect();
            entries.sort_by_key(|entry| (header.bucket_of(&entry.encode()), entry.relative));
            let bytes = file(&header, &entries);
            prop_assert_eq!(KeysHeader::decode(&bytes), Ok(header));
            prop_assert_eq!(header.file_len(), bytes.len() as u64);
            let slice = |range: Range<u64>| &bytes[range.start as usize..range.end as usize];
            let sums = KeySums::decode(&header, slice(header.sums_at())).unwrap();
            let (pages, at) = header.pages_of(header.entries_at(0..count));
            prop_assert_eq!(sums.check(pages.start, slice(at)), Ok(()));
            let (read, rest) = slice(header.entries_at(0..count)).as_chunks();
            prop_assert_eq!(read.iter().map(KeyEntry::decode).collect::<Vec<_>>(), entries);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn a_flipped_bit_is_noticed(at in any::<prop::sample::Index>()) {
            let entries: Vec<KeyEntry> = (0..300u32)
                .map(|i| KeyEntry { hash: u128::from(i) << 100, relative: i, is_tombstone: false }).collect();
            let header = header(300);
            let mut bytes = file(&header, &entries);
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let slice = |range: Range<u64>| &bytes[range.start as usize..range.end as usize];
            let reads = KeysHeader::decode(&bytes).and_then(|header| {
                let sums = KeySums::decode(&header, slice(header.sums_at()))?;
                let (pages, at) = header.pages_of(HEADER_LEN as u64..header.sums_at().start);
                sums.check(pages.start, slice(at))
            });
            prop_assert!(reads.is_err());
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let mut bytes = [b"SLKY\x00\x01".as_slice(), &bytes].concat();
            let _ = KeysHeader::decode(&bytes);
            bytes.resize(HEADER_LEN, 0);
            let own = crc32(&bytes[..HEADER_LEN - 4]).to_be_bytes();
            bytes[HEADER_LEN - 4..].copy_from_slice(&own);
            if let Ok(header) = KeysHeader::decode(&bytes) {
                let again = header.encode();
                prop_assert_eq!(&again[..], &bytes[..]);
                let _ = KeySums::decode(&header, &own);
                let (pages, at) = header.pages_of(0..u64::MAX);
                prop_assert!(pages.start <= pages.end && at.end <= header.file_len());
            }
        }
    }
}
