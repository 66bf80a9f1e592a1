//! Checksums of a sealed segment's pages: the `.pages` file.
//!
//! Kafka's batch checksum leaves the first 17 bytes of a batch open; here every byte of the `.log` is covered. Bytes,
//! big-endian:
//!
#![doc = include_str!("layout/pages.md")]
//!
//! Only a file whose own checksum, generation and size match may accuse a `.log`; any other is rebuilt.

use super::{DecodeError, cursor::Cursor};
use std::ops::Range;

/// Bytes of a page; only the last one of a file may have fewer.
pub const PAGE_SIZE: u64 = 64 * 1024;

const MAGIC: [u8; 4] = *b"SLPG";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 18;
const SUM_LEN: usize = 4;

/// The checksums of a file's pages. There is always one for each page of `size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSums {
    /// Which rewriting of the segment these sums are about.
    pub generation: u32,
    /// The size of the `.log` in bytes.
    pub size: u64,
    /// The CRC-32 of each page.
    pub sums: Vec<u32>,
}

impl PageSums {
    /// How many bytes the `.pages` file of a `.log` of `size` bytes has.
    pub fn encoded_len(size: u64) -> u64 {
        (HEADER_LEN + SUM_LEN) as u64 + page_count(size).saturating_mul(SUM_LEN as u64)
    }

    /// A `.pages` file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + (self.sums.len() + 1) * SUM_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        for sum in &self.sums {
            bytes.extend_from_slice(&sum.to_be_bytes());
        }
        let own = crate::codec::crc::crc32(&bytes);
        bytes.extend_from_slice(&own.to_be_bytes());
        bytes
    }

    /// The checksums in a `.pages` file.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != MAGIC {
            return Err(DecodeError::malformed(0u64, "a list of page checksums begins with \"SLPG\""));
        }
        let version = cursor.u16()?;
        if version != VERSION {
            let found = format!("a list of page checksums of version {version}");
            return Err(DecodeError::Unsupported { found, supported: "version 1" });
        }
        check_own_crc(bytes)?;
        let (generation, size) = (cursor.u32()?, cursor.u64()?);
        let (sums, rest) = cursor.rest().as_chunks::<SUM_LEN>();
        // The file's own checksum is the last of these.
        let Some((_, sums)) = sums.split_last().filter(|_| rest.is_empty()) else {
            return Err(cursor.malformed(format!("{} bytes of checksums", cursor.rest().len())));
        };
        if sums.len() as u64 != page_count(size) {
            return Err(cursor.malformed(format!("{} checksums for a file of {size} bytes", sums.len())));
        }
        Ok(PageSums { generation, size, sums: sums.iter().copied().map(u32::from_be_bytes).collect() })
    }

    /// How many pages there are.
    pub fn page_count(&self) -> usize {
        self.sums.len()
    }

    /// The bytes of the file that page `index` covers; empty, at the end, for a page that is not there.
    pub fn page_range(&self, index: usize) -> Range<u64> {
        let begin = (index as u64).saturating_mul(PAGE_SIZE).min(self.size);
        begin..begin.saturating_add(PAGE_SIZE).min(self.size)
    }

    /// Whether `bytes` are page `index`, whole and undamaged.
    pub fn verify_page(&self, index: usize, bytes: &[u8]) -> bool {
        let range = self.page_range(index);
        bytes.len() as u64 == range.end - range.start
            && self.sums.get(index).is_some_and(|sum| *sum == crate::codec::crc::crc32(bytes))
    }
}

fn page_count(size: u64) -> u64 {
    size.div_ceil(PAGE_SIZE)
}

fn check_own_crc(bytes: &[u8]) -> Result<(), DecodeError> {
    let Some((body, expected)) = bytes.split_last_chunk::<SUM_LEN>() else {
        return Err(DecodeError::malformed(bytes.len(), "a list of page checksums ends early"));
    };
    let (expected, found) = (u32::from_be_bytes(*expected), crate::codec::crc::crc32(body));
    if expected != found {
        let reason = format!("checksum {expected:08x} expected, {found:08x} found");
        return Err(DecodeError::malformed(body.len(), reason));
    }
    Ok(())
}

/// Makes the checksums of a file out of its bytes, given in order in pieces of any size.
///
/// A clone is a state to return to.
#[derive(Clone, Debug, Default)]
pub struct PageSummer {
    size: u64,
    sums: Vec<u32>,
    /// The page that is not full yet.
    page: crate::codec::crc::Crc32,
}

impl PageSummer {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where `sums` ended: the next byte is the one at their size.
    #[allow(dead_code, reason = "tests and fuzzing go on where others have ended")]
    pub fn resume(sums: &PageSums) -> Self {
        let mut resumed = PageSummer { size: sums.size, sums: sums.sums.clone(), page: Default::default() };
        if !sums.size.is_multiple_of(PAGE_SIZE) {
            let unfinished = resumed.sums.pop().unwrap_or_default();
            resumed.page = crate::codec::crc::Crc32::new_with_initial(unfinished);
        }
        resumed
    }

    /// How many bytes were given.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = PAGE_SIZE - self.size % PAGE_SIZE;
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.page.update(now);
            self.size += now.len() as u64;
            if self.size.is_multiple_of(PAGE_SIZE) {
                self.sums.push(std::mem::take(&mut self.page).finalize());
            }
            bytes = later;
        }
    }

    /// The checksums of everything given.
    pub fn finish(mut self, generation: u32) -> PageSums {
        if !self.size.is_multiple_of(PAGE_SIZE) {
            self.sums.push(self.page.finalize());
        }
        PageSums { generation, size: self.size, sums: self.sums }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::hex;
    use super::*;
    use proptest::prelude::*;

    const PAGE: usize = PAGE_SIZE as usize;

    fn file(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    fn sums(bytes: &[u8]) -> PageSums {
        let mut summer = PageSummer::new();
        summer.update(bytes);
        summer.finish(3)
    }

    #[test]
    fn a_list_has_a_fixed_layout() {
        let body = hex("534c5047 0001 00000003 0000000000000009 cbf43926");
        let bytes = sums(b"123456789").encode();
        assert_eq!(bytes, [body.as_slice(), &crate::codec::crc::crc32(&body).to_be_bytes()].concat());
        assert_eq!(sums(&[]).encode().len(), 22);
        for len in [0, 1, PAGE, PAGE + 1, 3 * PAGE] {
            assert_eq!(PageSums::encoded_len(len as u64), sums(&file(len)).encode().len() as u64);
        }
    }

    #[test]
    fn pages_cover_every_byte_once() {
        for len in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE] {
            let (bytes, sums) = (file(len), sums(&file(len)));
            let mut end = 0;
            for i in 0..sums.page_count() {
                let range = sums.page_range(i);
                assert_eq!(range.start, end);
                end = range.end;
                assert!(sums.verify_page(i, &bytes[range.start as usize..range.end as usize]));
            }
            assert_eq!((end, sums.size), (len as u64, len as u64));
            assert_eq!(sums.page_range(sums.page_count()), end..end);
            assert!(!sums.verify_page(sums.page_count(), &[]), "there is no such page");
            assert_eq!(PageSums::decode(&sums.encode()), Ok(sums));
        }
    }

    #[test]
    fn a_page_that_changed_shrank_or_moved_is_noticed() {
        let bytes = file(2 * PAGE + 10);
        let sums = sums(&bytes);
        assert!(sums.verify_page(2, &bytes[2 * PAGE..]));
        assert!(!sums.verify_page(2, &bytes[2 * PAGE..2 * PAGE + 9]));
        assert!(!sums.verify_page(1, &bytes[..PAGE]));
        let mut flipped = bytes[..PAGE].to_vec();
        flipped[5] ^= 1;
        assert!(!sums.verify_page(0, &flipped));
        assert!(!sums.verify_page(usize::MAX, &bytes[..PAGE]));
    }

    #[test]
    fn a_list_whose_length_does_not_match_its_size_is_refused_though_its_checksum_holds() {
        let resealed = |body: &str| {
            let body = hex(body);
            PageSums::decode(&[body.as_slice(), &crate::codec::crc::crc32(&body).to_be_bytes()].concat())
        };
        assert!(resealed("534c5047 0001 00000003 0000000000000009 cbf43926").is_ok());
        assert!(resealed("534c5047 0001 00000003 0000000000010001 cbf43926").is_err());
        assert!(resealed("534c5047 0001 00000003 ffffffffffffffff cbf43926").is_err());
        assert!(resealed("534c5047 0001 00000003 0000000000000009 cbf439").is_err());
        assert!(resealed("534c5047 0001 00000003 0000000000000009").is_err());
        assert!(resealed("534c5047 0001 00000003").is_err());
        assert!(matches!(resealed("534c5047 0002"), Err(DecodeError::Unsupported { .. })));
    }

    proptest! {
        #[test]
        fn pieces_and_pauses_do_not_change_the_sums(cuts in prop::collection::vec(0usize..150_000, 0..8)) {
            let bytes = file(150_000);
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut summer = PageSummer::new();
            let mut at = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                summer.update(&bytes[at..cut]);
                summer = PageSummer::resume(&summer.finish(0));
                at = cut;
            }
            prop_assert_eq!(summer.size(), 150_000);
            prop_assert_eq!(summer.finish(3), sums(&bytes));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..60), size in any::<u64>(), index in any::<usize>()
        ) {
            let _ = PageSums::decode(&bytes);
            let _ = PageSums { generation: 0, size, sums: vec![1] }.verify_page(index, &bytes);
            let body = [b"SLPG\x00\x01".as_slice(), &bytes].concat();
            let _ = PageSums::decode(&[body.as_slice(), &crate::codec::crc::crc32(&body).to_be_bytes()].concat());
        }

        #[test]
        fn a_flipped_bit_is_noticed(at in any::<prop::sample::Index>()) {
            let mut bytes = sums(&file(PAGE + 1)).encode();
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(PageSums::decode(&bytes).is_err());
        }
    }
}
