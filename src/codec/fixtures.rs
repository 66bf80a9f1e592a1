//! Tests over files that a real Apache Kafka wrote, and what tests of this room share.
//!
//! The files lie beside the repository; where they are missing these tests say so and pass.

/// Bytes out of hexadecimal; spaces do not count.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
