//! The identity of a topic, and its text: unpadded base64url, as Kafka writes it.

use super::ParseError;
use std::{fmt, str::FromStr};

/// The identity of a topic: 16 bytes that never return, even when a deleted topic's name does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// An identity out of its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        TopicId(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for TopicId {
    /// Kafka's form: 22 characters of unpadded base64url.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(22);
        for chunk in self.0.chunks(3) {
            let word =
                chunk.iter().enumerate().fold(0u32, |word, (i, b)| word | u32::from(*b) << (16 - 8 * i));
            for i in 0..=chunk.len() {
                text.push(char::from(BASE64_URL[(word >> (18 - 6 * i) & 63) as usize]));
            }
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl FromStr for TopicId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refused = || ParseError::new("a topic's id", text, "22 characters of unpadded base64url");
        if text.len() != 22 {
            return Err(refused());
        }
        let mut bits = 0u128;
        let mut last = 0u128;
        for (i, c) in text.bytes().enumerate() {
            let digit = BASE64_URL.iter().position(|b| *b == c).ok_or_else(refused)? as u128;
            if i < 21 {
                bits = bits << 6 | digit;
            } else {
                last = digit;
            }
        }
        // 22 digits hold 132 bits: the last four must be zero.
        if last & 15 != 0 {
            return Err(refused());
        }
        Ok(TopicId((bits << 2 | last >> 4).to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_reads_back_from_kafkas_text_form() {
        let id = TopicId::from_bytes(std::array::from_fn(|i| i as u8));
        assert_eq!(id.to_string(), "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!("AAECAwQFBgcICQoLDA0ODw".parse(), Ok(id));
        let id = TopicId::from_bytes([0xff; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("AAECAwQFBgcICQoLDA0ODx".parse::<TopicId>().is_err());
        assert!("short".parse::<TopicId>().is_err());
    }
}
