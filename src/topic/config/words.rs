//! Kafka's words for the choices of a topic: what properties, `Display` and `FromStr` have in common.

use super::parse;
use crate::partition::state::topic_values::{CleanupPolicy, TopicCompression};
use crate::types::{Compression, ParseError};
use std::{fmt, str::FromStr};

/// `compression.type`.
pub(super) const COMPRESSIONS: [(&str, TopicCompression); 6] = [
    ("producer", TopicCompression::Producer),
    ("uncompressed", TopicCompression::Codec(Compression::None)),
    ("gzip", TopicCompression::Codec(Compression::Gzip)),
    ("snappy", TopicCompression::Codec(Compression::Snappy)),
    ("lz4", TopicCompression::Codec(Compression::Lz4)),
    ("zstd", TopicCompression::Codec(Compression::Zstd)),
];

/// Kafka's value of `compression.type`: `producer`, `uncompressed`, or a codec's name.
impl fmt::Display for TopicCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TopicCompression::Producer => "producer",
            TopicCompression::Codec(Compression::None) => "uncompressed",
            TopicCompression::Codec(codec) => codec.name(),
        })
    }
}

impl FromStr for TopicCompression {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::one_of(text, &COMPRESSIONS).map_err(|_| {
            let expected = "producer, uncompressed, gzip, snappy, lz4 or zstd";
            ParseError::new("a topic's compression", text, expected)
        })
    }
}

/// Kafka's value of `cleanup.policy`: `delete`, `compact`, `compact,delete`, or nothing, which keeps everything.
impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CleanupPolicy::Delete => "delete",
            CleanupPolicy::Compact => "compact",
            CleanupPolicy::CompactDelete => "compact,delete",
            CleanupPolicy::Keep => "",
        })
    }
}

/// A list in any order, as Kafka takes it.
impl FromStr for CleanupPolicy {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::policy(text).map_err(|_| {
            ParseError::new("a cleanup policy", text, "delete, compact, compact,delete or nothing")
        })
    }
}

crate::types::serde_as_text!(TopicCompression, CleanupPolicy);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for (word, compression) in COMPRESSIONS {
            assert_eq!(compression.to_string(), word);
            assert_eq!(word.parse(), Ok(compression));
        }
        for policy in
            [CleanupPolicy::Delete, CleanupPolicy::Compact, CleanupPolicy::CompactDelete, CleanupPolicy::Keep]
        {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert_eq!("delete, compact".parse(), Ok(CleanupPolicy::CompactDelete));
        assert!("none".parse::<TopicCompression>().is_err(), "Kafka says uncompressed");
        assert!("keep".parse::<CleanupPolicy>().is_err(), "Kafka says nothing");
    }
}
