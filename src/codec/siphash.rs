//! SipHash-2-4 with 128 bits of output: a hash that nobody who does not know its seed can make two keys meet in.
//!
//! By Aumasson and Bernstein (<https://www.aumasson.jp/siphash/siphash.pdf>); the longer output is that of their reference
//! code. Two rounds for each eight bytes, four for each half of the output.

/// What a hash is seeded with. Hashes of different seeds say nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashSeed {
    /// The first eight bytes, little-endian.
    pub first: u64,
    /// The last eight bytes, little-endian.
    pub last: u64,
}

/// The hash of `bytes`, with the eight bytes that the reference code writes first in the upper half.
#[inline]
pub fn siphash128(seed: HashSeed, bytes: &[u8]) -> u128 {
    let [hash] = side_by_side(seed, bytes.len(), [bytes]);
    hash
}

/// The hashes of two keys. Where they are of one length the two are computed side by side, for each alone mostly waits for
/// its own last step.
#[inline]
pub fn siphash128_of_two(seed: HashSeed, one: &[u8], other: &[u8]) -> (u128, u128) {
    if one.len() != other.len() {
        return (siphash128(seed, one), siphash128(seed, other));
    }
    let [one, other] = side_by_side(seed, one.len(), [one, other]);
    (one, other)
}

/// The hashes of keys that all have this length, each step of all of them before the next.
#[inline(always)]
fn side_by_side<const N: usize>(seed: HashSeed, len: usize, keys: [&[u8]; N]) -> [u128; N] {
    let mut states = [State::new(seed); N];
    let parts = keys.map(|key| key.as_chunks::<8>());
    for at in 0..len / 8 {
        compress(
            &mut states,
            parts.map(|(words, _)| words.get(at).map_or(0, |word| u64::from_le_bytes(*word))),
        );
    }
    compress(&mut states, parts.map(|(_, rest)| last_word(rest, len)));
    states.iter_mut().for_each(|state| state.v2 ^= 0xee);
    let first = finish(&mut states);
    states.iter_mut().for_each(|state| state.v1 ^= 0xdd);
    let second = finish(&mut states);
    let mut hashes = [0; N];
    for ((hash, first), second) in hashes.iter_mut().zip(first).zip(second) {
        *hash = u128::from(first.swap_bytes()) << 64 | u128::from(second.swap_bytes());
    }
    hashes
}

/// The bytes after the last whole word, and the length.
#[inline(always)]
fn last_word(rest: &[u8], len: usize) -> u64 {
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(last) | (len as u64) << 56
}

#[inline(always)]
fn compress<const N: usize>(states: &mut [State; N], words: [u64; N]) {
    states.iter_mut().zip(words).for_each(|(state, word)| state.v3 ^= word);
    rounds::<N, 2>(states);
    states.iter_mut().zip(words).for_each(|(state, word)| state.v0 ^= word);
}

#[inline(always)]
fn finish<const N: usize>(states: &mut [State; N]) -> [u64; N] {
    rounds::<N, 4>(states);
    let mut halves = [0; N];
    for (half, State { v0, v1, v2, v3 }) in halves.iter_mut().zip(states) {
        *half = *v0 ^ *v1 ^ *v2 ^ *v3;
    }
    halves
}

#[inline(always)]
fn rounds<const N: usize, const TIMES: usize>(states: &mut [State; N]) {
    for _ in 0..TIMES {
        states.iter_mut().for_each(State::round);
    }
}

#[derive(Clone, Copy)]
struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    fn new(seed: HashSeed) -> Self {
        State {
            v0: seed.first ^ 0x736f_6d65_7073_6575,
            v1: seed.last ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            v2: seed.first ^ 0x6c79_6765_6e65_7261,
            v3: seed.last ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_reference_code() {
        // The key is 00 01 .. 0f, and the input 00 01 .. of the length that the row is at.
        let seed = HashSeed { first: 0x0706_0504_0302_0100, last: 0x0f0e_0d0c_0b0a_0908 };
        let input: Vec<u8> = (0..64).collect();
        let expected = [
            0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293,
            0xda87_c1d8_6b99_af44_3476_5911_9b22_fc45,
            0x8177_228d_a4a4_5dc7_fca3_8bde_f60a_ffe4,
        ];
        for (len, expected) in expected.into_iter().enumerate() {
            assert_eq!(siphash128(seed, &input[..len]), expected, "{len}");
        }
    }

    #[test]
    fn two_side_by_side_are_each_what_they_are_alone() {
        let seed = HashSeed { first: 0x0706_0504_0302_0100, last: 0x0f0e_0d0c_0b0a_0908 };
        let input: Vec<u8> = (0..64).map(|byte| byte * 3).collect();
        for len in 0..40 {
            for other in [0, 7, 8, len] {
                let (a, b) = (&input[..len], &input[64 - other..]);
                assert_eq!(siphash128_of_two(seed, a, b), (siphash128(seed, a), siphash128(seed, b)));
            }
        }
    }

    #[test]
    fn each_byte_the_length_and_the_seed_count() {
        let seed = HashSeed { first: 1, last: 2 };
        let bytes = [7u8; 19];
        let whole = siphash128(seed, &bytes);
        for at in 0..bytes.len() {
            let mut other = bytes;
            other[at] ^= 1;
            assert_ne!(siphash128(seed, &other), whole);
        }
        assert_ne!(siphash128(seed, &[0; 7]), siphash128(seed, &[0; 6]));
        assert_ne!(siphash128(HashSeed { first: 1, last: 3 }, &bytes), whole);
        assert_ne!(siphash128(HashSeed { first: 3, last: 2 }, &bytes), whole);
    }
}
