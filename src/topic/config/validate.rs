//! What a configuration must satisfy as a whole.

use super::key_table::SETTINGS;
use super::{MAX_PARTITIONS, TopicConfig, invalid};
use crate::error::{Error, Result};
use crate::partition::state::topic_values::{FILE_DELETE_DELAY, TopicValues};
use crate::types::Compression;
use std::time::Duration;

impl TopicConfig {
    /// Checks every value against its bounds, and against the values that it depends on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the key and the reason.
    pub fn validate(&self) -> Result<()> {
        if !(1..=MAX_PARTITIONS).contains(&self.partition_count()) {
            let reason =
                format!("a topic has from 1 to {MAX_PARTITIONS} of them, not {}", self.partition_count());
            return Err(invalid("partitions", reason));
        }
        for setting in &SETTINGS {
            setting.check(&self.values).map_err(|reason| invalid(setting.key, reason))?;
        }
        check_single(&self.values)?;
        check_together(&self.values)
    }
    /// Checks that this build contains the codec in which the topic is to be stored. For topics that are created or
    /// altered, not for those that exist: they can be read up to their first compressed batch.
    ///
    /// # Errors
    ///
    /// [`Error::CodecUnavailable`].
    pub(crate) fn check_codec(&self) -> Result<()> {
        let super::TopicCompression::Codec(codec) = self.values.compression else { return Ok(()) };
        let available = match codec {
            Compression::None => true,
            Compression::Gzip => cfg!(feature = "gzip"),
            Compression::Snappy => cfg!(feature = "snappy"),
            Compression::Lz4 => cfg!(feature = "lz4"),
            Compression::Zstd => cfg!(feature = "zstd"),
        };
        if available { Ok(()) } else { Err(Error::no_codec(codec)) }
    }
}

/// Bounds of a single setting that are not a range.
fn check_single(values: &TopicValues) -> Result<()> {
    if values.compression_gzip_level == 0 {
        return Err(invalid("compression.gzip.level", "0 is out of range: it must be from 1 to 9, or -1"));
    }
    let defaults = TopicValues::default();
    if values.compression_lz4_level != defaults.compression_lz4_level {
        let reason = format!(
            "{} would have no effect: the LZ4 of this library has no levels; leave it at {}, or use zstd or gzip, which have levels",
            values.compression_lz4_level, defaults.compression_lz4_level
        );
        return Err(invalid("compression.lz4.level", reason));
    }
    if ![Duration::ZERO, FILE_DELETE_DELAY].contains(&values.file_delete_delay) {
        return Err(invalid(
            "file.delete.delay.ms",
            "a removed file is deleted when its last reader drops it, and no delay is kept; leave it out",
        ));
    }
    Ok(())
}

fn check_together(values: &TopicValues) -> Result<()> {
    if values.max_message_bytes > values.segment_bytes {
        return Err(invalid(
            "max.message.bytes",
            format!(
                "{} is more than segment.bytes, {}: a batch lies in one segment",
                values.max_message_bytes, values.segment_bytes
            ),
        ));
    }
    if values.max_compaction_lag.is_some_and(|most| values.min_compaction_lag > most) {
        return Err(invalid("min.compaction.lag.ms", "it is more than max.compaction.lag.ms"));
    }
    Ok(())
}
