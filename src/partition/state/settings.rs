//! What a log needs to know of its topic's configuration.

use crate::{
    error::{Error, Result},
    types::{Compression, Durability, Timestamp, TimestampType},
};
use std::time::Duration;

/// The settings of one log. The topic's configuration is their source; see there for what each means.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// What must survive before an append is acknowledged.
    pub durability: Durability,
    /// No segment is larger.
    pub segment_bytes: u64,
    /// A segment is rolled before it would grow beyond this many bytes, if there is anything in it.
    pub roll_bytes: u64,
    /// The most bytes of all segments together, the active one taken for full; `None`: `retention_bytes` says how many
    /// are kept at least, as in Kafka.
    pub bytes_max: Option<u64>,
    /// Whether a segment's file gets all of them at once.
    pub preallocate: bool,
    /// A segment is rolled when its first batch is older than this.
    pub segment_time: Duration,
    /// Up to this much is taken off `segment_time`, at random per segment.
    pub segment_jitter: Duration,
    /// The largest size of an index file in bytes.
    pub segment_index_bytes: u64,
    /// About one index entry per this many bytes.
    pub index_interval_bytes: u64,
    /// The largest record batch in bytes.
    pub max_message_bytes: u64,
    /// Who gives records their timestamps.
    pub timestamp_type: TimestampType,
    /// Segments whose largest timestamp is older than this are removed.
    pub retention_time: Option<Duration>,
    /// Oldest segments are removed while the log stays at least this large.
    pub retention_bytes: Option<u64>,
    /// Flush after this many records (Kafka's flush.messages).
    pub flush_messages: Option<u64>,
    /// Flush what is older than this (Kafka's flush.ms).
    pub flush_time: Option<Duration>,
    /// The codec of all batches; `None` leaves it to the producer.
    pub compression: Option<Compression>,
    /// The level of that codec, where it has any.
    pub compression_level: Option<i32>,
    /// How far a record's timestamp may lie in the past.
    pub timestamp_before_max: Option<Duration>,
    /// How far a record's timestamp may lie in the future.
    pub timestamp_after_max: Option<Duration>,
}

impl LogConfig {
    /// The size of the largest batch in bytes, and the setting that says so.
    pub fn max_batch(&self) -> (u64, &'static str) {
        if self.segment_bytes < self.max_message_bytes {
            return (self.segment_bytes, "the topic's segment.bytes");
        }
        (self.max_message_bytes, "the topic's max.message.bytes")
    }

    /// Whether a record may carry `timestamp` (Kafka's `LogValidator`).
    pub fn check_timestamp(&self, timestamp: Timestamp, now: impl FnOnce() -> Timestamp) -> Result<()> {
        if timestamp.as_millis() < -1 {
            let reason = "milliseconds since 1970 cannot be negative".to_string();
            return Err(Error::InvalidTimestamp { timestamp, reason });
        }
        let limited = self.timestamp_before_max.is_some() || self.timestamp_after_max.is_some();
        if !limited || timestamp.is_none() || self.timestamp_type == TimestampType::LogAppendTime {
            return Ok(());
        }
        let now = now();
        let age = i128::from(now.as_millis()) - i128::from(timestamp.as_millis());
        let beyond = |limit: Option<Duration>, distance: i128| {
            limit.is_some_and(|limit| distance > i128::try_from(limit.as_millis()).unwrap_or(i128::MAX))
        };
        let key = if beyond(self.timestamp_before_max, age) {
            "message.timestamp.before.max.ms"
        } else if beyond(self.timestamp_after_max, -age) {
            "message.timestamp.after.max.ms"
        } else {
            return Ok(());
        };
        Err(Error::InvalidTimestamp {
            timestamp,
            reason: format!("{age} ms before now, against the topic's {key}"),
        })
    }

    /// The codec and level of a batch whose producer prefers `preferred`.
    pub fn codec(&self, preferred: Compression) -> (Compression, Option<i32>) {
        match self.compression {
            Some(codec) => (codec, self.compression_level),
            None => (preferred, None),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            durability: Durability::Flushed,
            segment_bytes: 256 << 20,
            roll_bytes: 256 << 20,
            bytes_max: None,
            preallocate: false,
            segment_time: Duration::from_secs(7 * 24 * 3600),
            segment_jitter: Duration::ZERO,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: (1 << 20) + 12,
            timestamp_type: TimestampType::CreateTime,
            retention_time: None,
            retention_bytes: None,
            flush_messages: None,
            flush_time: None,
            compression: None,
            compression_level: None,
            timestamp_before_max: None,
            timestamp_after_max: None,
        }
    }
}
