//! A topic's configuration: typed settings, Kafka's keys for them, and which of them were set.
//!
//! Every key of Kafka's topics is either honoured or refused with a reason; none is ignored. The value of a key that
//! asks for nothing is always accepted, so that the output of `kafka-configs --describe --all` for an ordinary topic
//! can be used as it is. Values are checked by [`TopicConfig::validate`] and by the functions that read text, never by
//! a setter.
//!
//! The table of all keys, with Kafka's default, ours and the reason, is in the manual: `src/manual/configuration.rs`.

mod builder;
mod key_table;
mod parse;
mod unknown_key;
mod validate;
mod words;

pub use crate::partition::state::topic_values::{CleanupPolicy, TopicCompression, TopicValues};

use crate::{
    error::{Error, Result},
    partition::state::topic_values::DEFAULT_MAX_MESSAGE_BYTES,
};
use key_table::{SETTINGS, Setting};
use std::{collections::BTreeSet, fmt};

/// The most partitions a topic can have: the number of the last one still has five digits, with which the longest
/// topic name makes a directory's name of 255 bytes.
pub const MAX_PARTITIONS: u32 = crate::types::name::TOPIC_PARTITIONS_MAX;

/// How many segments a partition has at its limit, if their size follows the retention by size.
const RETAINED_SEGMENTS: u64 = 8;

/// The smallest size at which such a segment is rolled, in bytes.
const ROLL_BYTES_MIN: u64 = 16 << 10;

/// How a topic is kept: its number of partitions and its settings.
///
/// ```
/// use std::time::Duration;
/// use streamlog::TopicConfig;
///
/// let config = TopicConfig::default()
///     .partitions(8)
///     .retention_time(Duration::from_secs(30 * 24 * 60 * 60))
///     .segment_bytes(64 << 20);
/// # let _ = config;
/// ```
///
/// A setting that was set, if only to its default, is remembered as set: it stays what it is when a later release has
/// another default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TopicConfig {
    /// The number of partitions, if it was set.
    partitions: Option<u32>,
    values: TopicValues,
    /// The keys that were set; every other value is the default.
    set: BTreeSet<&'static str>,
}

/// One partition, and every setting at its default.
impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig { partitions: None, values: TopicValues::default(), set: BTreeSet::new() }
    }
}

/// A number of partitions that was not set equals one that was set to 1.
impl PartialEq for TopicConfig {
    fn eq(&self, other: &Self) -> bool {
        (self.partition_count(), &self.values, &self.set)
            == (other.partition_count(), &other.values, &other.set)
    }
}

/// Where the value of a [`ConfigEntry`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigSource {
    /// It was not set.
    Default,
    /// It was set for this topic.
    Set,
}

/// A setting in Kafka's words, as it is in effect. As text: `retention.ms=-1`, and whether it is the default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Kafka's key, or ours where Kafka has none.
    pub key: &'static str,
    /// The value, as Kafka writes it.
    pub value: String,
    /// Whether it was set.
    pub source: ConfigSource,
}

/// A change of one setting, as in Kafka's `incrementalAlterConfigs`. As text: `retention.ms=5`, or `-retention.ms`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigChange {
    /// Sets this key to this value.
    Set(String, String),
    /// Takes this key back to its default.
    Unset(String),
}

impl ConfigChange {
    /// Sets `key` to `value`.
    pub fn set(key: impl Into<String>, value: impl Into<String>) -> Self {
        ConfigChange::Set(key.into(), value.into())
    }

    /// Takes `key` back to its default.
    pub fn unset(key: impl Into<String>) -> Self {
        ConfigChange::Unset(key.into())
    }

    /// The key that changes.
    pub fn key(&self) -> &str {
        match self {
            ConfigChange::Set(key, _) | ConfigChange::Unset(key) => key,
        }
    }
}

impl fmt::Display for ConfigEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)?;
        match self.source {
            ConfigSource::Default => f.write_str(" (default)"),
            ConfigSource::Set => Ok(()),
        }
    }
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigChange::Set(key, value) => write!(f, "{key}={value}"),
            ConfigChange::Unset(key) => write!(f, "-{key}"),
        }
    }
}

impl TopicConfig {
    /// One partition, and every setting at its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// A configuration from Kafka's own keys and values. All other settings stay at their defaults; of a key that is
    /// given twice, the last value holds. The number of partitions has no key.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for an unknown key (naming the nearest known one), for a value that the key cannot
    /// have, and for what [`validate`](Self::validate) refuses.
    pub fn from_kafka_properties<I, K, V>(properties: I) -> Result<TopicConfig>
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut config = TopicConfig::default();
        for (key, value) in properties {
            config.apply(key.as_ref(), value.as_ref())?;
        }
        config.validate()?;
        Ok(config)
    }

    /// The settings that were set, as Kafka's keys and values; [`from_kafka_properties`](Self::from_kafka_properties)
    /// makes the same settings from them.
    pub fn to_properties(&self) -> Vec<(String, String)> {
        let set = SETTINGS.iter().filter(|setting| self.set.contains(setting.key));
        set.map(|setting| (setting.key.to_string(), setting.write(&self.values))).collect()
    }

    /// All settings as they are in effect, set or not.
    pub fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |setting: &Setting| ConfigEntry {
            key: setting.key,
            value: setting.write(&self.values),
            source: if self.set.contains(setting.key) { ConfigSource::Set } else { ConfigSource::Default },
        };
        SETTINGS.iter().map(entry).collect()
    }

    /// This configuration with all of the changes, or an error and no change at all.
    ///
    /// # Errors
    ///
    /// Those of [`from_kafka_properties`](Self::from_kafka_properties), and [`Error::InvalidConfig`] when two changes
    /// have the same key.
    pub fn altered(&self, changes: &[ConfigChange]) -> Result<TopicConfig> {
        let mut config = self.clone();
        let mut seen = BTreeSet::new();
        for change in changes {
            if !seen.insert(change.key()) {
                return Err(invalid(change.key(), "two changes of one call have this key"));
            }
            match change {
                ConfigChange::Set(key, value) => config.apply(key, value)?,
                ConfigChange::Unset(key) => config.reset(key)?,
            }
        }
        config.validate()?;
        Ok(config)
    }

    /// How many partitions the topic begins with.
    pub fn partition_count(&self) -> u32 {
        self.partitions.unwrap_or(1)
    }

    /// Whether the number of partitions was set.
    pub(crate) fn sets_partitions(&self) -> bool {
        self.partitions.is_some()
    }

    /// What must be changed in `other` for it to have every setting that was set here.
    pub(crate) fn changes_to(&self, other: &TopicConfig) -> Vec<ConfigChange> {
        let has = |key: &str, value: &str| {
            let theirs = Setting::named(key).map(|setting| setting.write(&other.values));
            other.set.contains(key) && theirs.as_deref() == Some(value)
        };
        let missing = self.to_properties().into_iter().filter(|(key, value)| !has(key, value));
        missing.map(|(key, value)| ConfigChange::Set(key, value)).collect()
    }

    /// The values in effect.
    pub fn values(&self) -> &TopicValues {
        &self.values
    }

    /// The most bytes that a partition may hold: `retention.bytes`, if `segment.bytes` follows it. If both were set,
    /// Kafka's rule holds.
    pub(crate) fn bytes_max(&self) -> Option<u64> {
        let deletes = self.values.cleanup_policy.deletes();
        self.values.retention_bytes.filter(|_| deletes && !self.set.contains("segment.bytes"))
    }

    /// At which size a segment is rolled. A batch that is larger gets a segment of its own.
    pub(crate) fn roll_bytes(&self) -> u64 {
        let share = self.bytes_max().map(|bytes| (bytes / RETAINED_SEGMENTS).max(ROLL_BYTES_MIN));
        share.map_or(self.values.segment_bytes, |share| share.min(self.values.segment_bytes))
    }

    /// Whether segments are removed by age or by size.
    pub(crate) fn has_retention(&self) -> bool {
        let has_limit = self.values.retention_time.is_some() || self.values.retention_bytes.is_some();
        has_limit && self.values.cleanup_policy.deletes()
    }

    /// Whether of each key the newest record stays.
    pub(crate) fn compacts(&self) -> bool {
        self.values.cleanup_policy.compacts()
    }

    fn apply(&mut self, key: &str, value: &str) -> Result<()> {
        let setting = Setting::named(key).ok_or_else(|| unknown(key))?;
        setting.read(&mut self.values, value).map_err(|reason| invalid(key, reason))?;
        self.set.insert(setting.key);
        self.derive();
        Ok(())
    }

    fn reset(&mut self, key: &str) -> Result<()> {
        let setting = Setting::named(key).ok_or_else(|| unknown(key))?;
        let default = setting.write(&TopicValues::default());
        setting.read(&mut self.values, &default).map_err(|reason| invalid(key, reason))?;
        self.set.remove(setting.key);
        self.derive();
        Ok(())
    }

    /// Brings the defaults that depend on other settings up to date.
    fn derive(&mut self) {
        if !self.set.contains("segment.bytes") {
            let least = match self.set.contains("max.message.bytes") {
                true => self.values.max_message_bytes,
                false => DEFAULT_MAX_MESSAGE_BYTES,
            };
            let share = self.values.retention_bytes.map_or(u64::MAX, |bytes| bytes / RETAINED_SEGMENTS);
            self.values.segment_bytes = share.max(least).min(TopicValues::default().segment_bytes);
        }
        if !self.set.contains("max.message.bytes") {
            self.values.max_message_bytes = DEFAULT_MAX_MESSAGE_BYTES.min(self.values.segment_bytes);
        }
    }
}

fn unknown(key: &str) -> Error {
    invalid(parse::shown(key), unknown_key::unknown_key(key))
}

fn invalid(key: &str, reason: impl Into<String>) -> Error {
    Error::InvalidConfig { key: key.to_string(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
