//! The hash that decides which partition a key belongs to: Kafka's 32-bit murmur2.
//!
//! Its answers never change: a key that moved to another partition would lose its order. Clients in other languages that
//! follow Kafka's Java client agree with it; those that hash otherwise (librdkafka's default is CRC-32) do not.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// Kafka's murmur2 of a key's bytes.
pub fn murmur2(data: &[u8]) -> i32 {
    let (words, tail) = data.as_chunks::<4>();
    // Kafka's length is a Java int: a key never comes near its end.
    let mut h = SEED ^ data.len() as u32;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        // One to three bytes are joined as if they began a little-endian word.
        let rest = tail.iter().rev().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
        h = (h ^ rest).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    (h ^ h >> 15) as i32
}

/// The partition that Kafka's Java client chooses for a key: the hash without its sign, modulo all partitions.
///
/// An empty key is a key. With no partitions the answer is 0, which does not exist.
pub fn partition_for_key(key: &[u8], partitions: u32) -> u32 {
    // Masked, not abs: abs(i32::MIN) has no answer, and the two differ for every negative hash.
    let mut positive = murmur2(key) as u32 & 0x7fff_ffff;
    planted!(a_negative_hash_is_turned => positive = murmur2(key).unsigned_abs());
    positive.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Key, its murmur2, and its partition of ten. The first six rows are asserted by Kafka's own tests.
    const KAFKA: [(&[u8], i32, u32); 12] = [
        (b"21", -973_932_308, 0),
        (b"foobar", -790_332_482, 6),
        (b"a-little-bit-long-string", -985_981_536, 2),
        (b"a-little-bit-longer-string", -1_486_304_829, 9),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, 7),
        (b"abc", 479_470_107, 7),
        (b"", 275_646_681, 1),
        (b"a", -1_563_381_124, 4),
        (b"ab", 316_155_434, 4),
        (b"key", -1_079_937_367, 1),
        (b"test", 716_234_879, 9),
        (b"hello", 2_132_663_229, 9),
    ];

    #[test]
    fn keys_hash_and_land_where_kafka_puts_them() {
        for (key, hash, of_ten) in KAFKA {
            assert_eq!(murmur2(key), hash, "{}", key.escape_ascii());
            assert_eq!(partition_for_key(key, 10), of_ten, "{}", key.escape_ascii());
        }
        let every_byte: Vec<u8> = (0..=255).collect();
        assert_eq!(murmur2(&every_byte), -1_948_347_274);
    }

    #[test]
    fn zero_partitions_do_not_panic() {
        assert_eq!(partition_for_key(b"key", 0), 0);
        assert_eq!(partition_for_key(b"key", 1), 0);
    }

    proptest! {
        #[test]
        fn a_key_lands_inside_the_topic(key: Vec<u8>, partitions in 1u32..) {
            prop_assert!(partition_for_key(&key, partitions) < partitions);
        }
    }
}
