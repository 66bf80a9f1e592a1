//! Where decompressed records go: as many bytes as they need, and no more than are allowed or than there is memory for.
//!
//! A few kilobytes can become a gigabyte. What comes out is therefore looked at while it comes: from [`LOOKED_AT`] bytes on,
//! the lengths of the records are followed, so that what is no record, or lies behind the last one, ends it there. What
//! is left are records that say themselves that they are so large.

use crate::{
    codec::{
        DecodeError,
        record::MIN_RECORD,
        varint::{MAX_VARINT, read_varint},
    },
    error::memory::grow,
};

/// What is smaller is looked at when all of it is there.
const LOOKED_AT: usize = 1 << 20;

/// How much of a stream is taken at a time, at most, and how much room is made for it at first, at least.
#[cfg(any(feature = "gzip", feature = "zstd"))]
const STEP: usize = 1 << 20;
#[cfg(any(feature = "gzip", feature = "zstd"))]
const FIRST_STEP: usize = 8 << 10;

/// Bytes on their way out of a codec. Always true: there are no more than `max`, and none after the last record but what is
/// to be refused.
pub(super) struct Output {
    bytes: Vec<u8>,
    max: usize,
    /// Records whose length was not come to yet, where it is records that come.
    left: Option<u32>,
    /// Where the next of them begins.
    next: usize,
}

impl Output {
    /// Nothing yet, of at most `max` bytes that are `records` where that is known.
    pub(super) fn new(max: usize, records: Option<u32>) -> Self {
        Output { bytes: Vec::new(), max, left: records, next: 0 }
    }

    #[cfg(any(feature = "lz4", feature = "snappy"))]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes may still come.
    pub(super) fn left(&self) -> usize {
        self.max - self.bytes.len()
    }

    /// Appends `len` zeros for a codec to write over.
    #[cfg(any(feature = "lz4", feature = "snappy"))]
    pub(super) fn room(&mut self, len: usize) -> Result<&mut [u8], DecodeError> {
        self.reserve(len)?;
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        Ok(self.bytes.get_mut(start..).unwrap_or_default())
    }

    /// Takes back what a codec did not write over.
    #[cfg(any(feature = "lz4", feature = "snappy"))]
    pub(super) fn keep(&mut self, len: usize) -> Result<(), DecodeError> {
        self.bytes.truncate(len);
        self.follow()
    }

    /// Appends bytes that were stored as they are.
    #[cfg(feature = "lz4")]
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        self.follow()
    }

    /// Appends all that a stream has.
    #[cfg(any(feature = "gzip", feature = "zstd"))]
    pub(super) fn take_all(&mut self, mut from: impl std::io::Read) -> Result<(), DecodeError> {
        use std::io::Read;
        loop {
            let before = self.bytes.len();
            // What there is room for; else twice as much. One byte more than may come tells of those that may not.
            let step = match self.bytes.capacity() - before {
                0 => before.clamp(FIRST_STEP, STEP),
                room => room.min(STEP),
            };
            let step = step.min(self.left().saturating_add(1));
            if !grow(&mut self.bytes, step) {
                return Err(DecodeError::OutOfMemory(before + step));
            }
            match from.by_ref().take(step as u64).read_to_end(&mut self.bytes) {
                Ok(_) if self.bytes.len() > self.max => return Err(DecodeError::TooLarge(self.max)),
                Ok(read) => self.follow().map(|()| read)?,
                Err(error) => {
                    return Err(DecodeError::malformed(0u64, format!("it does not decompress: {error}")));
                }
            };
            if self.bytes.len() - before < step {
                return Ok(());
            }
        }
    }

    /// Makes room in one step for the likely size.
    #[cfg(any(feature = "gzip", feature = "zstd"))]
    pub(super) fn expect(&mut self, len: usize) {
        // If there is no memory, the output will fail.
        grow(&mut self.bytes, len.clamp(FIRST_STEP, STEP).min(self.max.saturating_add(1)));
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    #[cfg(any(feature = "lz4", feature = "snappy"))]
    fn reserve(&mut self, more: usize) -> Result<(), DecodeError> {
        if more > self.left() {
            return Err(DecodeError::TooLarge(self.max));
        }
        match grow(&mut self.bytes, more) {
            true => Ok(()),
            false => Err(DecodeError::OutOfMemory(self.bytes.len().saturating_add(more))),
        }
    }

    /// Follows the lengths of the records that have come.
    fn follow(&mut self) -> Result<(), DecodeError> {
        planted!(decompress_without_a_look => return Ok(()));
        if self.bytes.len() < LOOKED_AT {
            return Ok(());
        }
        let Some(mut left) = self.left else { return Ok(()) };
        while left > 0
            && let Some(mut rest) = self.bytes.get(self.next..).filter(|rest| rest.len() >= MAX_VARINT)
        {
            let before = rest.len();
            let length = read_varint(&mut rest).and_then(|length| usize::try_from(length).ok());
            let Some(length) = length.filter(|length| *length as u64 + 1 >= MIN_RECORD) else {
                return Err(self.malformed("what is there is no record"));
            };
            self.next = self.next.saturating_add(before - rest.len()).saturating_add(length);
            left -= 1;
        }
        self.left = Some(left);
        let least = (self.next as u64).saturating_add(u64::from(left) * MIN_RECORD);
        if least > self.max as u64 {
            return Err(DecodeError::TooLarge(self.max));
        }
        if left == 0 && self.bytes.len() > self.next {
            return Err(self.malformed("bytes are left after the last record"));
        }
        Ok(())
    }

    #[cold]
    fn malformed(&self, reason: &str) -> DecodeError {
        DecodeError::malformed(0u64, format!("{reason}, at byte {} of the decompressed records", self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MAX_DECOMPRESSED, compress, decompress_records, is_available},
        *,
    };
    use crate::{codec::varint::write_varint, types::Compression};

    const CODECS: [Compression; 4] =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// A record, by its length alone, and `more` zeros.
    fn record(length: i32, more: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_varint(length, &mut bytes);
        bytes.resize(bytes.len() + more, 0);
        bytes
    }

    /// What becomes of `bytes`, packed by each codec, as so many records.
    fn unpacked(bytes: &[u8], records: u32) -> Vec<Result<Vec<u8>, DecodeError>> {
        unpacked_of(&CODECS, bytes, records)
    }

    fn unpacked_of(codecs: &[Compression], bytes: &[u8], records: u32) -> Vec<Result<Vec<u8>, DecodeError>> {
        let through = |codec| {
            let mut packed = Vec::new();
            compress(codec, None, bytes, &mut packed).unwrap();
            decompress_records(codec, &packed, records, MAX_DECOMPRESSED)
        };
        codecs.iter().copied().filter(|codec| is_available(*codec)).map(through).collect()
    }

    #[test]
    fn what_is_no_record_ends_within_the_first_mebibytes() {
        for found in unpacked(&vec![0; 8 << 20], 1) {
            assert!(found.unwrap_err().to_string().contains("no record, at byte 0 of"));
        }
        let mut out = Output::new(MAX_DECOMPRESSED, Some(1));
        out.room(LOOKED_AT).unwrap();
        assert!(out.keep(LOOKED_AT).is_err());
        // Of bytes that are something else nothing is known.
        let mut out = Output::new(MAX_DECOMPRESSED, None);
        out.room(LOOKED_AT).unwrap();
        assert!(out.keep(LOOKED_AT).is_ok());
    }

    #[test]
    fn a_bomb_that_goes_off_is_noticed() {
        let noticed = || unpacked(&vec![0; 2 << 20], 1).iter().all(Result::is_err);
        assert!(noticed());
        crate::planted::plant(Some("decompress_without_a_look"));
        let went_unnoticed = !noticed();
        crate::planted::plant(None);
        assert!(went_unnoticed);
    }

    #[test]
    fn records_are_as_large_as_they_say_and_nothing_follows_the_last() {
        let whole = [record(3 << 20, 3 << 20), record(10, 10)].concat();
        unpacked(&whole, 2).into_iter().for_each(|found| assert_eq!(found.unwrap(), whole));
        for found in unpacked(&[&whole[..], &[0; 3 << 20]].concat(), 2) {
            let error = found.unwrap_err().to_string();
            assert!(error.contains(&format!("the last record, at byte {} of", whole.len())), "{error}");
        }
    }

    #[cfg(any(feature = "gzip", feature = "zstd"))]
    #[test]
    fn a_small_batch_takes_no_more_room_than_it_needs_and_takes_it_once() {
        for len in [1, 100, 4 << 10, 20_000, 300_000] {
            let value: Vec<u8> =
                (0..len as u32 - 1).map(|i| (i.wrapping_mul(2_654_435_761) >> 27) as u8).collect();
            let bytes = [&record(value.len() as i32, 0)[..], &value].concat();
            for found in unpacked_of(&[Compression::Gzip, Compression::Zstd], &bytes, 1) {
                let found = found.unwrap();
                assert!(found.capacity() <= (4 * found.len()).max(8 << 10), "{} of {len}", found.capacity());
            }
        }
        // As much as was expected, and less.
        for (expected, len) in [(0, 5000), (40_000, 39_999), (40_000, 11)] {
            let mut out = Output::new(MAX_DECOMPRESSED, None);
            out.expect(expected);
            let (place, room) = (out.bytes.as_ptr(), out.bytes.capacity());
            out.take_all(&vec![7; len][..]).unwrap();
            assert_eq!(
                (out.bytes.as_ptr(), out.bytes.capacity()),
                (place, room),
                "{len} where {expected} were expected"
            );
        }
    }

    #[test]
    fn records_that_say_they_are_larger_than_any_batch_get_no_memory() {
        for found in unpacked(&record(MAX_DECOMPRESSED as i32, 2 << 20), 1) {
            assert_eq!(found, Err(DecodeError::TooLarge(MAX_DECOMPRESSED)));
        }
        for found in unpacked(&record(3 << 20, 2 << 20), u32::MAX) {
            assert_eq!(found, Err(DecodeError::TooLarge(MAX_DECOMPRESSED)));
        }
        // More than the machine has.
        let mut out = Output::new(usize::MAX, None);
        assert_eq!(out.room(isize::MAX as usize).unwrap_err(), DecodeError::OutOfMemory(isize::MAX as usize));
    }
}
