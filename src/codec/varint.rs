//! Zigzag varints of records.
//!
//! A signed number becomes an unsigned one whose lowest bit is the sign (zigzag), and that goes out in groups of seven
//! bits, lowest first, with the top bit of a byte set when another follows: at most 5 bytes for 32 bits (varint) and 10
//! for 64 (varlong). What is longer, or holds bits beyond the 32nd or 64th, is refused; a longer form of a number than
//! it needs is read, as Kafka reads it.

/// The most bytes of a varint.
pub const MAX_VARINT: usize = 5;
/// The most bytes of a varlong.
pub const MAX_VARLONG: usize = 10;

/// A signed 32-bit number as the unsigned one that is written.
#[inline(always)]
pub const fn zigzag(value: i32) -> u32 {
    (value << 1 ^ value >> 31) as u32
}

/// A signed 64-bit number as the unsigned one that is written.
#[inline(always)]
pub const fn zigzag_long(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// How many bytes an unsigned number takes, for numbers already in zigzag form.
#[inline(always)]
pub const fn size_unsigned(value: u64) -> usize {
    // Bits to groups of seven without a division: exact for every count of bits from 1 to 64.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

/// Appends `value` as a varint.
pub fn write_varint(value: i32, out: &mut Vec<u8>) {
    write_unsigned(u64::from(zigzag(value)), out);
}

/// Appends `value` as a varlong.
pub fn write_varlong(value: i64, out: &mut Vec<u8>) {
    write_unsigned(zigzag_long(value), out);
}

fn write_unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a varint off the front of `bytes`. `None`, and `bytes` as they were, when there is no whole one of at most
/// five bytes.
#[inline(always)]
pub fn read_varint(bytes: &mut &[u8]) -> Option<i32> {
    let (value, rest) = split_unsigned::<MAX_VARINT>(bytes)?;
    let value = u32::try_from(value).ok()?;
    *bytes = rest;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

/// Takes a varlong off the front of `bytes`. `None`, and `bytes` as they were, when there is no whole one of at most
/// ten bytes.
#[inline(always)]
pub fn read_varlong(bytes: &mut &[u8]) -> Option<i64> {
    let (value, rest) = split_unsigned::<MAX_VARLONG>(bytes)?;
    *bytes = rest;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// The number at the front, and the bytes after it. Slices go in and out by value: a caller whose place among the bytes
/// is lent to a function keeps it in memory and not in registers, where each field then waits for the one before.
#[inline(always)]
fn split_unsigned<const MAX: usize>(bytes: &[u8]) -> Option<(u64, &[u8])> {
    match *bytes {
        [first, ref rest @ ..] if first < 0x80 => Some((u64::from(first), rest)),
        // Two bytes reach to 8191: most lengths of records.
        [first, second, ref rest @ ..] if second < 0x80 => {
            Some((u64::from(first & 0x7f) | u64::from(second) << 7, rest))
        }
        _ => split_long::<MAX>(bytes),
    }
}

#[inline(never)]
fn split_long<const MAX: usize>(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(MAX).enumerate() {
        // The tenth byte has room for the 64th bit only.
        if i == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, bytes.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn varint(value: i32) -> Vec<u8> {
        let mut out = Vec::new();
        write_varint(value, &mut out);
        out
    }

    #[test]
    fn numbers_take_kafkas_bytes() {
        let samples: [(i32, &[u8]); 10] = [
            (0, &[0x00]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (-65, &[0x81, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (-8192, &[0xff, 0x7f]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ];
        for (value, bytes) in samples {
            assert_eq!(varint(value), bytes);
            assert_eq!(read_varint(&mut &*bytes), Some(value));
            assert_eq!(read_varlong(&mut &*bytes), Some(i64::from(value)));
        }
        assert_eq!(varint(i32::MIN), [0xff, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn a_number_of_too_many_bytes_or_bits_is_refused() {
        let mut bytes: &[u8] = &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(read_varint(&mut bytes), None);
        assert_eq!(bytes.len(), 6, "what was refused is not taken");
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x10];
        assert_eq!(read_varint(&mut bytes), None, "a 33rd bit");
        assert_eq!(bytes.len(), 5);
        assert_eq!(read_varlong(&mut &[0x80; 11][..]), None);
        let mut ten = [0xff; 10];
        ten[9] = 0x01;
        assert_eq!(read_varlong(&mut &ten[..]), Some(i64::MIN));
        ten[9] = 0x02;
        assert_eq!(read_varlong(&mut &ten[..]), None, "a 65th bit");
        assert_eq!(read_varint(&mut &[][..]), None);
        assert_eq!(read_varint(&mut &[0x80][..]), None);
        assert_eq!(read_varint(&mut &[0x80, 0x00][..]), Some(0), "longer than needed, as Kafka reads it");
    }

    proptest! {
        #[test]
        fn every_number_reads_back_and_knows_its_size(long in any::<i64>(), shift in 0u32..64, tail in any::<u8>()) {
            let long = long >> shift;
            let mut out = Vec::new();
            write_varlong(long, &mut out);
            prop_assert_eq!(out.len(), size_unsigned(zigzag_long(long)));
            out.push(tail);
            let mut rest = &out[..];
            prop_assert_eq!(read_varlong(&mut rest), Some(long));
            prop_assert_eq!(rest, &[tail]);

            let int = long as i32;
            let mut out = varint(int);
            prop_assert_eq!(out.len(), size_unsigned(zigzag(int).into()));
            out.push(tail);
            let mut rest = &out[..];
            prop_assert_eq!(read_varint(&mut rest), Some(int));
            prop_assert_eq!(rest, &[tail]);
        }
    }
}
