//! The settings of one log: its topic's values, and what follows from which of them were set.
//!
//! A setting is stored once, in [`TopicValues`]; this file says what the values mean together.

use super::topic_values::{TopicCompression, TopicValues};
use crate::{
    error::{Error, Result},
    types::{Compression, Timestamp, TimestampType},
};
use std::{ops::Deref, time::Duration};

/// The settings of one log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// The topic's values.
    pub values: TopicValues,
    /// A segment is rolled before it would grow beyond this many bytes, if there is anything in it. `segment_bytes` is the
    /// most that one may have.
    pub roll_bytes: u64,
    /// The most bytes of all segments together, with the active one counted as full; `None`: `retention_bytes` says how
    /// many are kept at least, as in Kafka, or nothing is removed for its size.
    pub bytes_max: Option<u64>,
}

impl Deref for LogConfig {
    type Target = TopicValues;
    fn deref(&self) -> &TopicValues {
        &self.values
    }
}

impl LogConfig {
    /// How old records may become, where the policy deletes what is older.
    pub fn age_limit(&self) -> Option<Duration> {
        self.retention_time.filter(|_| self.cleanup_policy.deletes())
    }

    /// How many bytes are to be kept, where the policy deletes what is beyond.
    pub fn size_limit(&self) -> Option<u64> {
        self.retention_bytes.filter(|_| self.cleanup_policy.deletes())
    }

    /// The time after which a segment is rolled: what may be compacted after some time must not lie in the active one then.
    pub fn roll_time(&self) -> Duration {
        let compacts = self.cleanup_policy.compacts();
        self.max_compaction_lag
            .filter(|_| compacts)
            .map_or(self.segment_time, |lag| lag.min(self.segment_time))
    }

    /// The size of the largest batch in bytes, and the setting that says so.
    pub fn max_batch(&self) -> (u64, &'static str) {
        if self.segment_bytes < self.max_message_bytes {
            return (self.segment_bytes, "the topic's segment.bytes");
        }
        (self.max_message_bytes, "the topic's max.message.bytes")
    }

    /// Whether a record may have this key: what is compacted by key must have one (Kafka's `LogValidator`).
    #[inline]
    pub fn check_key(&self, key: Option<&[u8]>) -> Result<()> {
        if key.is_some() || !self.cleanup_policy.compacts() { Ok(()) } else { Err(without_key()) }
    }

    /// Whether a record may carry `timestamp` (Kafka's `LogValidator`).
    pub fn check_timestamp(&self, timestamp: Timestamp, now: impl FnOnce() -> Timestamp) -> Result<()> {
        if timestamp.as_millis() < -1 {
            let reason = "milliseconds since 1970 cannot be negative".to_string();
            return Err(Error::InvalidTimestamp { timestamp, reason });
        }
        let limited =
            self.message_timestamp_before_max.is_some() || self.message_timestamp_after_max.is_some();
        if !limited || timestamp.is_none() || self.message_timestamp_type == TimestampType::LogAppendTime {
            return Ok(());
        }
        let now = now();
        let age = i128::from(now.as_millis()) - i128::from(timestamp.as_millis());
        let beyond = |limit: Option<Duration>, distance: i128| {
            limit.is_some_and(|limit| distance > i128::try_from(limit.as_millis()).unwrap_or(i128::MAX))
        };
        let key = if beyond(self.message_timestamp_before_max, age) {
            "message.timestamp.before.max.ms"
        } else if beyond(self.message_timestamp_after_max, -age) {
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
            TopicCompression::Producer => (preferred, None),
            TopicCompression::Codec(Compression::Gzip) => {
                (Compression::Gzip, Some(self.compression_gzip_level))
            }
            TopicCompression::Codec(Compression::Zstd) => {
                (Compression::Zstd, Some(self.compression_zstd_level))
            }
            TopicCompression::Codec(codec) => (codec, None),
        }
    }
}

#[cold]
fn without_key() -> Error {
    let reason =
        "its key is null, and the topic's cleanup.policy compacts, which keeps the newest record of each key";
    Error::InvalidRecord { index: 0, reason: reason.to_string() }
}

impl Default for LogConfig {
    fn default() -> Self {
        let values = TopicValues::default();
        LogConfig { roll_bytes: values.segment_bytes, bytes_max: None, values }
    }
}
