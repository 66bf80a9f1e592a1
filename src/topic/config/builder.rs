//! The typed setters of [`TopicConfig`], and what each setting means.
//!
//! A setter never fails: its value is checked by [`TopicConfig::validate`], which every use of a configuration calls.
//! Times are kept in whole milliseconds, rounded up; a time too long for Kafka's 64 bits is no limit at all.

use super::key_table::Setting;
use super::{CleanupPolicy, TopicCompression, TopicConfig, TopicValues};
use crate::types::{Durability, TimestampType};
use std::time::Duration;

impl TopicConfig {
    /// How many partitions the topic begins with: 1 to 100 000. Default: 1, as Kafka's `num.partitions`.
    ///
    /// Order is kept within a partition, and each is a directory of its own. Partitions can be added later, but then
    /// keys move, and the order of a key's records across the change is lost.
    #[must_use]
    pub fn partitions(mut self, count: u32) -> Self {
        self.partitions = Some(count);
        self
    }

    /// The former name of [`partitions`](Self::partitions).
    #[doc(hidden)]
    #[must_use]
    #[deprecated(since = "0.1.0", note = "renamed to `partitions`")]
    pub fn with_partitions(self, count: u32) -> Self {
        self.partitions(count)
    }

    /// What an acknowledged append survives. Default: [`Durability::Flushed`], a power cut.
    ///
    /// Our own key, `streamlog.durability`: `flushed`, `written` or `interval:<milliseconds>`. Kafka acknowledges what
    /// its replicas hold in memory; there is one copy here, so the default is the disk.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        self.with("streamlog.durability", |v| v.durability = durability)
    }

    /// The size in bytes at which a segment is full: 512 to 2 147 483 647. Default: 256 MiB, or, where
    /// [`retention_bytes`](Self::retention_bytes) is set, an eighth of that where it is smaller (but at least
    /// [`max_message_bytes`](Self::max_message_bytes)).
    ///
    /// Kafka's `segment.bytes`, there 1 GiB (and, since 4.0, at least 1 MiB). Retention removes whole segments, so the
    /// smaller default follows its limits more closely.
    #[must_use]
    pub fn segment_bytes(self, bytes: u64) -> Self {
        self.with("segment.bytes", |v| v.segment_bytes = bytes)
    }

    /// The time after which a segment that holds records is rolled although it is not full: at least 1 ms.
    /// Default: seven days, as Kafka's `segment.ms`.
    ///
    /// It goes by the records' timestamps: a record that is this much later than the first of its segment begins a new
    /// one. Where that first record has no timestamp, the time since the segment was created counts.
    #[must_use]
    pub fn segment_time(self, time: Duration) -> Self {
        self.with("segment.ms", |v| v.segment_time = time)
    }

    /// Up to how much earlier than [`segment_time`](Self::segment_time) a segment is rolled, at random, so that
    /// partitions do not all roll at the same time. Default: zero, as Kafka's `segment.jitter.ms`.
    #[must_use]
    pub fn segment_jitter(self, time: Duration) -> Self {
        self.with("segment.jitter.ms", |v| v.segment_jitter = time)
    }

    /// The largest size in bytes of an index file; a segment whose index is full is rolled: 24 to 2 147 483 647.
    /// Default: 10 MiB, as Kafka's `segment.index.bytes`.
    #[must_use]
    pub fn segment_index_bytes(self, bytes: u64) -> Self {
        self.with("segment.index.bytes", |v| v.segment_index_bytes = bytes)
    }

    /// About how many bytes of log lie between two entries of its indexes: 0 (an entry per batch) to 2 147 483 647.
    /// Default: 4096, as Kafka's `index.interval.bytes`.
    #[must_use]
    pub fn index_interval_bytes(self, bytes: u64) -> Self {
        self.with("index.interval.bytes", |v| v.index_interval_bytes = bytes)
    }

    /// The largest record batch in bytes, header included, after compression: at most
    /// [`segment_bytes`](Self::segment_bytes). Default: 1 MiB + 12, as Kafka's `max.message.bytes`, or the size of a
    /// segment where that is smaller.
    #[must_use]
    pub fn max_message_bytes(self, bytes: u64) -> Self {
        self.with("max.message.bytes", |v| v.max_message_bytes = bytes)
    }

    /// How old the newest record of a segment may become before the segment is removed; `None` keeps everything.
    /// Default: `None`.
    ///
    /// Kafka's `retention.ms`, there seven days: nobody must lose data here by not reading this. The age goes by the
    /// latest timestamp of a segment, or by the time at which the segment was sealed where that is earlier or its
    /// records have none. So a record from the future, which in Kafka holds its segment until then, expires with those
    /// of its day. A record from the distant past expires immediately, as in Kafka;
    /// [`message_timestamp_before_max`](Self::message_timestamp_before_max) refuses such. The active segment, and one
    /// of which no time of sealing is known, goes by its records alone, or by its file where those have no timestamp.
    #[must_use]
    pub fn retention_time(self, time: impl Into<Option<Duration>>) -> Self {
        let time = time.into();
        self.with("retention.ms", |v| v.retention_time = time)
    }

    /// The most bytes of records that a partition holds; beyond, its oldest segments are removed. `None` keeps everything.
    /// Default: `None`, as Kafka's `retention.bytes`.
    ///
    /// Where [`segment_bytes`](Self::segment_bytes) is not set, segments are rolled at an eighth of this (at 16 KiB at
    /// least), and a new one begins only once there is room for all of it: between three quarters and all of the limit
    /// is kept, and never more, no matter which thread appends and how fast. The append that rolls waits for the
    /// removal, and for a flush if the removed data was never flushed. On disk a partition takes `bytes`, preallocated
    /// space included, and its indexes: about 20 bytes for each [`index_interval_bytes`](Self::index_interval_bytes),
    /// half a percent by default, and a few blocks per segment. A partition may exceed the limit only if that is below
    /// 128 KiB, or through a batch that is larger than an eighth of it: a batch of any permitted size is accepted.
    ///
    /// Where `segment_bytes` is set, Kafka's rule holds: the oldest segment goes as soon as the others hold `bytes`. So at
    /// least that much is kept, and at most `bytes` and one segment.
    ///
    /// Removed data that a reader still holds takes space on disk until the reader drops it.
    #[must_use]
    pub fn retention_bytes(self, bytes: impl Into<Option<u64>>) -> Self {
        let bytes = bytes.into();
        self.with("retention.bytes", |v| v.retention_bytes = bytes)
    }

    /// Groups that must have read a record before retention by size or by age removes it. Default: none.
    ///
    /// Our own key, `streamlog.retention.hold.groups`: names separated by commas. No segment goes that one of these groups
    /// has not read to its end, by the offsets that it committed; a group that never committed holds everything, and so
    /// does one whose commits cannot be read. The disk fills up while a group stands still:
    /// [`Streamlog::explain_retention`](crate::Streamlog::explain_retention) names the group and its offset.
    /// [`Streamlog::delete_records`](crate::Streamlog::delete_records) asks nobody. A name with a comma, or with spaces at its
    /// ends, cannot be in the list, which has at most 10 000.
    #[must_use]
    pub fn retention_hold_groups<S: Into<String>>(self, groups: impl IntoIterator<Item = S>) -> Self {
        let groups = groups.into_iter().map(Into::into).collect();
        self.with("streamlog.retention.hold.groups", |v| v.retention_hold_groups = groups)
    }

    /// Whether records keep their producer's timestamps or get that of the append.
    /// Default: [`TimestampType::CreateTime`], as Kafka's `message.timestamp.type`.
    #[must_use]
    pub fn message_timestamp_type(self, kind: TimestampType) -> Self {
        self.with("message.timestamp.type", |v| v.message_timestamp_type = kind)
    }

    /// How far in the past a producer's timestamp may lie; a record beyond is refused. Default: `None`, no limit, as
    /// Kafka's `message.timestamp.before.max.ms`.
    #[must_use]
    pub fn message_timestamp_before_max(self, time: impl Into<Option<Duration>>) -> Self {
        let time = time.into();
        self.with("message.timestamp.before.max.ms", |v| v.message_timestamp_before_max = time)
    }

    /// How far in the future a producer's timestamp may lie; a record beyond is refused. Default: `None`, no limit.
    ///
    /// Kafka's `message.timestamp.after.max.ms`, there an hour since 4.0: a clock that was set back must not stop the
    /// program that this log lives in.
    #[must_use]
    pub fn message_timestamp_after_max(self, time: impl Into<Option<Duration>>) -> Self {
        let time = time.into();
        self.with("message.timestamp.after.max.ms", |v| v.message_timestamp_after_max = time)
    }

    /// The codec in which batches are stored. Default: [`TopicCompression::Producer`], as the producer sent them, as
    /// Kafka's `compression.type`. Codecs are cargo features.
    #[must_use]
    pub fn compression(self, compression: impl Into<TopicCompression>) -> Self {
        let compression = compression.into();
        self.with("compression.type", |v| v.compression = compression)
    }

    /// gzip's level: 1 (fast) to 9 (small), or -1 for the codec's own default, as Kafka's `compression.gzip.level`.
    /// Default: -1. It is used where the topic compresses.
    #[must_use]
    pub fn compression_gzip_level(self, level: i32) -> Self {
        self.with("compression.gzip.level", |v| v.compression_gzip_level = level)
    }

    /// LZ4's level. Default: 9, as Kafka's `compression.lz4.level`. No other is accepted: the LZ4 of this library has one
    /// speed, which is that of Kafka's lowest levels.
    #[must_use]
    pub fn compression_lz4_level(self, level: i32) -> Self {
        self.with("compression.lz4.level", |v| v.compression_lz4_level = level)
    }

    /// Zstandard's level: -131 072 (fast) to 22 (small). Default: 3, as Kafka's `compression.zstd.level`. It is used
    /// where the topic compresses.
    #[must_use]
    pub fn compression_zstd_level(self, level: i32) -> Self {
        self.with("compression.zstd.level", |v| v.compression_zstd_level = level)
    }

    /// After how many records a flush is forced, at least 1; `None`: the [`durability`](Self::durability) alone decides.
    /// Default: `None`, as Kafka's `flush.messages`.
    #[must_use]
    pub fn flush_messages(self, count: impl Into<Option<u64>>) -> Self {
        let count = count.into();
        self.with("flush.messages", |v| v.flush_messages = count)
    }

    /// After which time a flush is forced; `None`: the [`durability`](Self::durability) alone decides.
    /// Default: `None`, as Kafka's `flush.ms`.
    #[must_use]
    pub fn flush_time(self, time: impl Into<Option<Duration>>) -> Self {
        let time = time.into();
        self.with("flush.ms", |v| v.flush_time = time)
    }

    /// What becomes of old segments. Default: [`CleanupPolicy::Delete`], as Kafka's `cleanup.policy`: they are removed
    /// beyond the retention, of which there is none by default. [`CleanupPolicy::Keep`] removes nothing, whatever the
    /// retention is. [`CleanupPolicy::Compact`] keeps the newest record of each key, and refuses records without one;
    /// [`CleanupPolicy::CompactDelete`] removes what is beyond the retention as well.
    #[must_use]
    pub fn cleanup_policy(self, policy: CleanupPolicy) -> Self {
        self.with("cleanup.policy", |v| v.cleanup_policy = policy)
    }

    /// Whether the file of a new segment gets its full size immediately. Default: `false`, as Kafka's `preallocate`: it
    /// grows in steps.
    #[must_use]
    pub fn preallocate(self, preallocate: bool) -> Self {
        self.with("preallocate", |v| v.preallocate = preallocate)
    }

    /// The share of a compacted log that must be dirty before it is cleaned: 0 to 1. Default: 0.5, as Kafka's
    /// `min.cleanable.dirty.ratio`. What is dirty is what no cleaning has gone through yet.
    #[must_use]
    pub fn min_cleanable_dirty_ratio(self, ratio: f64) -> Self {
        self.with("min.cleanable.dirty.ratio", |v| v.min_cleanable_dirty_ratio = ratio)
    }

    /// How long a record of a compacted log stays at least, whatever came after it. Default: zero, as Kafka's
    /// `min.compaction.lag.ms`.
    #[must_use]
    pub fn min_compaction_lag(self, time: Duration) -> Self {
        self.with("min.compaction.lag.ms", |v| v.min_compaction_lag = time)
    }

    /// How long a record of a compacted log stays dirty at most, at least 1 ms. Default: `None`, as long as it takes, as
    /// Kafka's `max.compaction.lag.ms`. Segments are rolled after that time too, by the append that finds them older.
    #[must_use]
    pub fn max_compaction_lag(self, time: impl Into<Option<Duration>>) -> Self {
        let time = time.into();
        self.with("max.compaction.lag.ms", |v| v.max_compaction_lag = time)
    }

    /// How long a tombstone outlives the cleaning that first met it. Default: a day, as Kafka's `delete.retention.ms`:
    /// a reader that starts from the beginning within that time learns of every deletion.
    #[must_use]
    pub fn delete_retention(self, time: Duration) -> Self {
        self.with("delete.retention.ms", |v| v.delete_retention = time)
    }

    /// How many of the newest records of a key compaction keeps, at least 1. A tombstone ends the versions of its key: what is
    /// older goes. Default: 1, as in Kafka. Our own key, `streamlog.compaction.versions`.
    #[must_use]
    pub fn compaction_versions(self, versions: u32) -> Self {
        self.with("streamlog.compaction.versions", |v| v.compaction_versions = versions)
    }

    fn with(mut self, key: &'static str, change: impl FnOnce(&mut TopicValues)) -> Self {
        change(&mut self.values);
        if let Some(setting) = Setting::named(key) {
            setting.settle(&mut self.values);
            self.set.insert(setting.key);
        }
        self.derive();
        self
    }
}
