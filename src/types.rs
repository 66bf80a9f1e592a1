//! The words: small types that the rest of the crate is written in, and that keep one quantity from being taken for another.
//!
//! An [`Offset`] is not a byte position and not a sequence number, a [`Timestamp`] is not a duration. Nothing here does
//! I/O or knows about files. What `Display` writes, `FromStr` reads back as the same value.

pub(crate) mod name;
mod parse;
mod producer_epoch;
mod serialized;
mod timestamp;
mod topic_id;

pub use parse::ParseError;
pub(crate) use parse::{canonical, read_iso_duration, write_iso_duration};
pub(crate) use producer_epoch::ProducerEpoch;
pub(crate) use serialized::serde_as_text;
#[cfg(feature = "serde")]
pub(crate) use serialized::shown;
pub use timestamp::Timestamp;
pub use topic_id::TopicId;

use std::{fmt, ops, str::FromStr};

/// The place of a record in its partition: 0, 1, 2, ... in the order of appending.
///
/// An offset is never reused within one life of a partition, and never reaches [`Offset::MAX`].
///
/// Offsets and counts of records can be added and subtracted. The results are held at zero and at [`Offset::MAX`], as by
/// the methods that say `saturating`; [`checked_add`](Self::checked_add) and [`checked_sub`](Self::checked_sub) tell.
///
/// ```
/// use streamlog::Offset;
///
/// let (start, end) = (Offset::new(40), Offset::new(42));
/// assert_eq!(end - start, 2);
/// assert_eq!(start - end, 0);
/// assert_eq!(start.checked_sub(end), None);
/// assert_eq!(start + 2, end);
/// assert_eq!("42".parse(), Ok(end));
/// ```
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

    /// How many offsets lie between `earlier` and this one; 0 when `earlier` is not earlier. Also written
    /// `later - earlier`.
    pub const fn distance_from(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The offset `count` records later; `None` past [`Offset::MAX`].
    pub const fn checked_add(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(value) if value <= Self::MAX.0 => Some(Offset(value)),
            _ => None,
        }
    }

    /// How many offsets lie between `earlier` and this one; `None` when `earlier` is later.
    pub const fn checked_sub(self, earlier: Offset) -> Option<u64> {
        self.0.checked_sub(earlier.0)
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

impl ops::AddAssign<u64> for Offset {
    fn add_assign(&mut self, count: u64) {
        *self = *self + count;
    }
}

impl ops::Sub<u64> for Offset {
    type Output = Offset;
    fn sub(self, count: u64) -> Offset {
        self.saturating_sub(count)
    }
}

impl ops::SubAssign<u64> for Offset {
    fn sub_assign(&mut self, count: u64) {
        *self = *self - count;
    }
}

/// [`Offset::distance_from`].
impl ops::Sub for Offset {
    type Output = u64;
    fn sub(self, earlier: Offset) -> u64 {
        self.distance_from(earlier)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Offset {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let value = text.parse().ok().filter(|value| digits && *value <= Self::MAX.0);
        value
            .map(Offset)
            .ok_or_else(|| ParseError::new("an offset", text, "a whole number from 0 to 9223372036854775807"))
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

impl FromStr for TimestampType {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "CreateTime" => Ok(TimestampType::CreateTime),
            "LogAppendTime" => Ok(TimestampType::LogAppendTime),
            _ => Err(ParseError::new("a timestamp type", text, "CreateTime or LogAppendTime")),
        }
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

/// [`Compression::name`].
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// By Kafka's name, whether this build contains the codec or not.
impl FromStr for Compression {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        use Compression::*;
        let codec = [None, Gzip, Snappy, Lz4, Zstd].into_iter().find(|codec| codec.name() == text);
        codec.ok_or_else(|| ParseError::new("a codec", text, "none, gzip, snappy, lz4 or zstd"))
    }
}

/// Which records a reader sees
/// ([KIP-98](https://cwiki.apache.org/confluence/display/KAFKA/KIP-98+-+Exactly+Once+Delivery+and+Transactional+Messaging)).
///
/// As text Kafka's words: `read_uncommitted`, `read_committed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IsolationLevel {
    /// Every record below the high watermark.
    #[default]
    ReadUncommitted,
    /// Records outside transactions and those of committed ones, below the
    /// [last stable offset](crate::Partition::last_stable_offset).
    ReadCommitted,
}

impl fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            IsolationLevel::ReadUncommitted => "read_uncommitted",
            IsolationLevel::ReadCommitted => "read_committed",
        })
    }
}

impl FromStr for IsolationLevel {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "read_uncommitted" => Ok(IsolationLevel::ReadUncommitted),
            "read_committed" => Ok(IsolationLevel::ReadCommitted),
            _ => Err(ParseError::new("an isolation level", text, "read_uncommitted or read_committed")),
        }
    }
}

/// What must survive before an append counts as acknowledged.
///
/// As text: `flushed`, `written`, or `interval:` and a duration in whole `s`, `ms`, `us` or `ns`. A number without a unit
/// is read as milliseconds, as in the topic's setting `streamlog.durability`.
///
/// ```
/// use std::time::Duration;
/// use streamlog::Durability;
///
/// let every = Durability::Interval(Duration::from_millis(100));
/// assert_eq!(every.to_string(), "interval:100ms");
/// assert_eq!("interval:100ms".parse(), Ok(every));
/// assert_eq!("interval:100".parse(), Ok(every));
/// ```
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
            Durability::Written => f.pad("written"),
            Durability::Interval(every) => {
                f.write_str("interval:")?;
                parse::write_duration(f, *every)
            }
            Durability::Flushed => f.pad("flushed"),
        }
    }
}

impl FromStr for Durability {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let interval = || text.strip_prefix("interval:").and_then(parse::read_duration);
        match text {
            "written" => Ok(Durability::Written),
            "flushed" => Ok(Durability::Flushed),
            _ => interval().map(Durability::Interval).ok_or_else(|| {
                ParseError::new(
                    "a durability",
                    text,
                    "flushed, written or interval:<time>, like interval:100ms",
                )
            }),
        }
    }
}

/// A partition of a topic by name and number.
///
/// As text it is the name of the partition's directory: `orders-3`. A topic's name may have dashes; the last one separates.
/// The fields are all there will ever be, so that the type can be taken apart by a pattern.
///
/// ```
/// use streamlog::TopicPartition;
///
/// let partition: TopicPartition = "eu-orders-3".parse()?;
/// assert_eq!(partition, TopicPartition::new("eu-orders", 3));
/// assert_eq!(partition.to_string(), "eu-orders-3");
/// # Ok::<(), streamlog::Error>(())
/// ```
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

/// Nothing is looked up, and the topic's name is not judged; it only cannot be empty.
impl FromStr for TopicPartition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts = text.rsplit_once('-').filter(|(topic, _)| !topic.is_empty());
        let named = parts.and_then(|(topic, number)| Some(TopicPartition::new(topic, canonical(number)?)));
        named.ok_or_else(|| ParseError::new("a partition", text, "<topic>-<number>, like orders-3"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn an_offset_stays_inside_kafkas_signed_field() {
        assert_eq!(Offset::new(u64::MAX), Offset::MAX);
        assert_eq!(Offset::MAX + 1, Offset::MAX);
        assert_eq!(Offset::ZERO.saturating_sub(1), 0);
        assert_eq!(Offset::from_i64(-1), None);
        assert_eq!(Offset::MAX - Offset::ZERO, i64::MAX as u64);
        assert_eq!(Offset::ZERO - Offset::MAX, 0);
        assert_eq!(Offset::ZERO.checked_sub(Offset::MAX), None);
        assert_eq!(Offset::MAX.checked_add(1), None);
        assert_eq!(Offset::new(1).checked_add(u64::MAX), None);
        let mut offset = Offset::ZERO;
        offset -= 1;
        offset += 2;
        assert_eq!(offset - 1, 1);
    }

    #[test]
    fn texts_that_are_nearly_right_are_refused_with_what_is_expected() {
        for text in ["", "-1", "+1", " 1", "1.0", "9223372036854775808", "18446744073709551616"] {
            assert!(text.parse::<Offset>().is_err(), "{text}");
        }
        for text in ["", "-", "t", "t-", "-0", "t-01", "t-+1", "t--1x", "t-4294967296", "t-1-"] {
            assert!(text.parse::<TopicPartition>().is_err(), "{text}");
        }
        assert_eq!("a--1".parse(), Ok(TopicPartition::new("a-", 1)));
        for text in
            ["Flushed", "fsync", "interval", "interval:", "interval:5m", "interval:-1ms", "interval:1.5s"]
        {
            assert!(text.parse::<Durability>().is_err(), "{text}");
        }
        let text = "interval:soon".parse::<Durability>().unwrap_err().to_string();
        assert!(text.contains("'interval:soon'") && text.contains("interval:100ms"), "{text}");
        let error = crate::Error::from("x".repeat(1000).parse::<Offset>().unwrap_err());
        assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
        assert!(error.to_string().len() < 200);
    }

    /// What is written is read back as the same value.
    fn reads_back<T: fmt::Display + FromStr<Err = ParseError> + PartialEq + fmt::Debug>(value: T) {
        assert_eq!(value.to_string().parse(), Ok(value));
    }

    #[test]
    fn words_read_back() {
        use Compression::*;
        [None, Gzip, Snappy, Lz4, Zstd].into_iter().for_each(reads_back);
        [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted].into_iter().for_each(reads_back);
        [TimestampType::CreateTime, TimestampType::LogAppendTime].into_iter().for_each(reads_back);
        [Durability::Flushed, Durability::Written].into_iter().for_each(reads_back);
    }

    proptest! {
        #[test]
        fn numbers_and_names_read_back(offset: u64, topic in ".+", partition: u32, id: [u8; 16], every: Duration) {
            reads_back(Offset::new(offset));
            reads_back(TopicPartition::new(topic, partition));
            reads_back(TopicId::from_bytes(id));
            reads_back(Durability::Interval(every));
        }
    }
}
