//! The records that all subjects are given: incompressible bytes, the same for each.
//!
//! They lie in one small ring that stays in the processor's cache, so that fetching them costs every subject the same
//! and next to nothing.

use std::ops::Range;

/// So many bytes of records are kept; later ones are the first ones again.
const RING_BYTES: usize = 256 << 10;

/// Records of one size, without end.
#[derive(Clone)]
pub struct Records {
    bytes: Vec<u8>,
    len: usize,
    count: usize,
}

impl Records {
    /// Records of `len` bytes each.
    pub fn of(len: usize) -> Self {
        let count = (RING_BYTES / len).max(4);
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        Records { bytes: (0..count * len).map(|_| next()).collect(), len, count }
    }

    /// The bytes of each record.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The record of this number.
    #[inline]
    pub fn get(&self, number: usize) -> &[u8] {
        let start = number % self.count * self.len;
        &self.bytes[start..start + self.len]
    }

    /// The records of these numbers.
    #[inline]
    pub fn range(&self, numbers: Range<usize>) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let mut next = numbers.start % self.count;
        numbers.map(move |_| {
            let start = next * self.len;
            next = if next + 1 == self.count { 0 } else { next + 1 };
            &self.bytes[start..start + self.len]
        })
    }
}

/// Looks at every byte, as a reader who needs them would: the sum of its words.
#[inline]
pub fn touch(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}
