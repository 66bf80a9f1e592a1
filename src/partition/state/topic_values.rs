//! The values of a topic's settings, typed: what the rest of the crate reads.
//!
//! Everything is in the form in which Kafka's keys can say it: durations are whole milliseconds, "no limit" is `None`.
//! What each setting means, and why its default is what it is, is documented on the builder methods of
//! [`TopicConfig`](crate::TopicConfig).

use crate::types::{Compression, Durability, TimestampType};
use std::time::Duration;

/// The effective values of a topic's settings.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TopicValues {
    /// What survives once an append is acknowledged (`streamlog.durability`).
    pub durability: Durability,
    /// The largest size of a segment's `.log`, in bytes (`segment.bytes`).
    pub segment_bytes: u64,
    /// The time after which a segment is rolled although it is not full (`segment.ms`).
    pub segment_time: Duration,
    /// Up to how much earlier, at random, a segment is rolled (`segment.jitter.ms`).
    pub segment_jitter: Duration,
    /// The largest size of an index file, in bytes (`segment.index.bytes`).
    pub segment_index_bytes: u64,
    /// Bytes of log between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: u64,
    /// The largest record batch, in bytes after compression (`max.message.bytes`).
    pub max_message_bytes: u64,
    /// How old records may become before their segments go (`retention.ms`); `None` keeps them.
    pub retention_time: Option<Duration>,
    /// How large a partition may become before its oldest segments go (`retention.bytes`); `None` keeps them.
    pub retention_bytes: Option<u64>,
    /// The groups whose committed offsets hold segments that a limit would remove (`streamlog.retention.hold.groups`).
    pub retention_hold_groups: Vec<String>,
    /// Whose clock the timestamps come from (`message.timestamp.type`).
    pub message_timestamp_type: TimestampType,
    /// How far a record's timestamp may lie in the past (`message.timestamp.before.max.ms`); `None`: without limit.
    pub message_timestamp_before_max: Option<Duration>,
    /// How far a record's timestamp may lie in the future (`message.timestamp.after.max.ms`); `None`: without limit.
    pub message_timestamp_after_max: Option<Duration>,
    /// The codec of stored batches (`compression.type`).
    pub compression: TopicCompression,
    /// gzip's level (`compression.gzip.level`): 1 to 9, or -1 for the codec's own default.
    pub compression_gzip_level: i32,
    /// LZ4's level (`compression.lz4.level`): 1 to 17.
    pub compression_lz4_level: i32,
    /// Zstandard's level (`compression.zstd.level`): -131072 to 22.
    pub compression_zstd_level: i32,
    /// Records after which a flush is forced (`flush.messages`); `None`: no count forces one.
    pub flush_messages: Option<u64>,
    /// Time after which a flush is forced (`flush.ms`); `None`: no time forces one.
    pub flush_time: Option<Duration>,
    /// What becomes of old segments (`cleanup.policy`).
    pub cleanup_policy: CleanupPolicy,
    /// Kafka's delay before a removed file goes (`file.delete.delay.ms`). Nothing waits for it here: a file stays until
    /// its last reader lets go, which is what the delay is for.
    pub file_delete_delay: Duration,
    /// Whether a new segment's file gets its full size immediately (`preallocate`).
    pub preallocate: bool,
    /// The share of a log that must be dirty before it is cleaned (`min.cleanable.dirty.ratio`): 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// How long a record stays uncompacted at least (`min.compaction.lag.ms`).
    pub min_compaction_lag: Duration,
    /// How long a record stays uncompacted at most (`max.compaction.lag.ms`); `None`: as long as it takes.
    pub max_compaction_lag: Option<Duration>,
    /// How long a tombstone outlives the cleaning that first met it (`delete.retention.ms`).
    pub delete_retention: Duration,
    /// How many of the newest records of a key compaction keeps (`streamlog.compaction.versions`): 1 or more.
    pub compaction_versions: u32,
}

/// Kafka's default of `file.delete.delay.ms`.
pub const FILE_DELETE_DELAY: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Kafka's default of `max.message.bytes`: a mebibyte, and the 12 bytes that once framed a message set.
pub const DEFAULT_MAX_MESSAGE_BYTES: u64 = (1 << 20) + 12;

impl Default for TopicValues {
    fn default() -> Self {
        TopicValues {
            durability: Durability::Flushed,
            segment_bytes: 256 << 20,
            segment_time: 7 * DAY,
            segment_jitter: Duration::ZERO,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            retention_time: None,
            retention_bytes: None,
            retention_hold_groups: Vec::new(),
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max: None,
            message_timestamp_after_max: None,
            compression: TopicCompression::Producer,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            flush_messages: None,
            flush_time: None,
            cleanup_policy: CleanupPolicy::Delete,
            file_delete_delay: FILE_DELETE_DELAY,
            preallocate: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag: Duration::ZERO,
            max_compaction_lag: None,
            delete_retention: DAY,
            compaction_versions: 1,
        }
    }
}

/// How a topic's batches are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicCompression {
    /// As the producer compressed them. The default.
    #[default]
    Producer,
    /// With this codec, whatever the producer chose; [`Compression::None`] is Kafka's `uncompressed`.
    Codec(Compression),
}

impl From<Compression> for TopicCompression {
    fn from(codec: Compression) -> Self {
        TopicCompression::Codec(codec)
    }
}

/// What becomes of old segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CleanupPolicy {
    /// They are removed once they exceed the topic's retention. The default.
    #[default]
    Delete,
    /// They are rewritten to hold the newest record of every key.
    Compact,
    /// Both.
    CompactDelete,
    /// They stay as they are: Kafka's empty list.
    Keep,
}

impl CleanupPolicy {
    /// Whether records are compacted.
    pub const fn compacts(self) -> bool {
        matches!(self, CleanupPolicy::Compact | CleanupPolicy::CompactDelete)
    }

    /// Whether the retention removes segments.
    pub const fn deletes(self) -> bool {
        matches!(self, CleanupPolicy::Delete | CleanupPolicy::CompactDelete)
    }
}
