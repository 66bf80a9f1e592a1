//! The words: small types that every room above speaks, and that keep one quantity from being taken for another.
//!
//! An [`Offset`] is not a byte position and not a sequence number, a [`Timestamp`] is not a duration. Nothing here does
//! I/O or knows about files.

use std::{fmt, ops};

/// The place of a record in its partition: 0, 1, 2, ... in the order of appending.
///
/// An offset is never reused within one life of a partition, and never reaches [`Offset::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of a new partition.
    pub const ZERO: Offset = Offset(0);
    /// The largest offset that Kafka's signed 64-bit field can hold.
    pub const MAX: Offset = Offset(i64::MAX as u64);

    /// An offset. Values beyond [`Offset::MAX`] are held there.
    pub const fn new(value: u64) -> Self {
        if value > i64::MAX as u64 { Self::MAX } else { Offset(value) }
    }

    /// The number itself.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The number as Kafka writes it.
    pub(crate) const fn to_i64(self) -> i64 {
        self.0 as i64
    }

    /// An offset out of Kafka's signed field; `None` when it is negative.
    pub(crate) const fn from_i64(value: i64) -> Option<Self> {
        if value < 0 { None } else { Some(Offset(value as u64)) }
    }

    /// The offset `count` records later, held at [`Offset::MAX`].
    #[must_use]
    pub const fn saturating_add(self, count: u64) -> Self {
        Self::new(self.0.saturating_add(count))
    }

    /// The offset `count` records earlier, held at zero.
    #[must_use]
    pub const fn saturating_sub(self, count: u64) -> Self {
        Offset(self.0.saturating_sub(count))
    }

    /// How many offsets lie between `earlier` and this one; 0 when `earlier` is not earlier.
    pub const fn distance_from(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<u64> for Offset {
    fn from(value: u64) -> Self {
        Self::new(value)
    }
}

impl From<Offset> for u64 {
    fn from(offset: Offset) -> Self {
        offset.0
    }
}

impl PartialEq<u64> for Offset {
    fn eq(&self, other: &u64) -> bool {
        self.0 == *other
    }
}

impl PartialOrd<u64> for Offset {
    fn partial_cmp(&self, other: &u64) -> Option<std::cmp::Ordering> {
        self.0.partial_cmp(other)
    }
}

impl ops::Add<u64> for Offset {
    type Output = Offset;
    fn add(self, count: u64) -> Offset {
        self.saturating_add(count)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, as Kafka keeps time.
///
/// [`Timestamp::NONE`] (-1 in the files) means that a record carries no timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// No timestamp: -1 in Kafka's files, and before every other one.
    pub const NONE: Timestamp = Timestamp(-1);

    /// A time in milliseconds since 1970. Negative values other than -1 are refused when a record is produced.
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis)
    }

    /// The milliseconds since 1970; -1 for [`Timestamp::NONE`].
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whether this is [`Timestamp::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == -1
    }

    /// The time `by` earlier.
    #[must_use]
    pub fn minus(self, by: std::time::Duration) -> Self {
        Timestamp(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a record's timestamp was given by the producer or by the log when it was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's time (Kafka's `CreateTime`).
    #[default]
    CreateTime,
    /// The time of the append (Kafka's `LogAppendTime`).
    LogAppendTime,
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        })
    }
}

/// A compression codec of record batches, with Kafka's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// gzip; needs the feature `gzip`.
    Gzip,
    /// Snappy in the framing of xerial; needs the feature `snappy`.
    Snappy,
    /// LZ4 frames; needs the feature `lz4`.
    Lz4,
    /// Zstandard; needs the feature `zstd`.
    Zstd,
}

impl Compression {
    /// Kafka's name of the codec, which is also the name of the feature it needs.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which records a reader sees (KIP-98).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IsolationLevel {
    /// Every record below the high watermark.
    #[default]
    ReadUncommitted,
    /// Records outside transactions and those of committed ones, below the last stable offset.
    ReadCommitted,
}

/// What must survive before an append counts as acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The record is with the operating system: it survives the process, not a power cut or a crash of the kernel.
    Written,
    /// As [`Durability::Written`] at the time of the acknowledgement, and on the medium within this interval.
    Interval(std::time::Duration),
    /// The record is on the medium: it survives a power cut. The default.
    #[default]
    Flushed,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Durability::Written => f.write_str("written"),
            Durability::Interval(every) => write!(f, "interval of {every:?}"),
            Durability::Flushed => f.write_str("flushed"),
        }
    }
}

/// A partition of a topic by name and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: std::sync::Arc<str>,
    /// The partition's number, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Names a partition. Nothing is looked up.
    pub fn new(topic: impl Into<std::sync::Arc<str>>, partition: u32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

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

impl std::str::FromStr for TopicId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 22 {
            return Err(());
        }
        let mut bits = 0u128;
        let mut last = 0u128;
        for (i, c) in text.bytes().enumerate() {
            let digit = BASE64_URL.iter().position(|b| *b == c).ok_or(())? as u128;
            if i < 21 {
                bits = bits << 6 | digit;
            } else {
                last = digit;
            }
        }
        // 22 digits hold 132 bits: the last four must be zero.
        if last & 15 != 0 {
            return Err(());
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
        assert_eq!("AAECAwQFBgcICQoLDA0ODx".parse::<TopicId>(), Err(()));
        assert_eq!("short".parse::<TopicId>(), Err(()));
    }

    #[test]
    fn an_offset_stays_inside_kafkas_signed_field() {
        assert_eq!(Offset::new(u64::MAX), Offset::MAX);
        assert_eq!(Offset::MAX + 1, Offset::MAX);
        assert_eq!(Offset::ZERO.saturating_sub(1), 0);
        assert_eq!(Offset::from_i64(-1), None);
    }
}
