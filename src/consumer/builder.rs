//! The settings of a consumer.

use super::{
    Consumer,
    coordinator::Coordinator,
    reset::{AutoOffsetReset, Policy},
};
use crate::{
    error::{Error, Result},
    partition::keep_open::KeepOpen,
    topic::catalog::Catalog,
    types::{IsolationLevel, name::check_group},
};
use std::{sync::Arc, time::Duration};

/// Builds a [`Consumer`]: its settings, with Kafka's keys and defaults.
///
/// | Kafka's key | Kafka's default | ours | why |
/// |---|---|---|---|
/// | auto.offset.reset | latest | earliest | nobody misses records by not reading this table |
/// | isolation.level | read_uncommitted | read_uncommitted | |
/// | max.poll.records | 500 | 500 | |
/// | fetch.max.bytes | 50 MiB | 50 MiB | |
/// | enable.auto.commit | true | off | a commit says that records were processed, which only the program knows |
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    catalog: Arc<Catalog>,
    coordinator: Arc<dyn Coordinator>,
    group: Option<String>,
    pub(super) auto_offset_reset: AutoOffsetReset,
    pub(super) isolation_level: IsolationLevel,
    pub(super) max_poll_records: usize,
    pub(super) max_poll_bytes: usize,
    pub(super) auto_commit: Option<Duration>,
    pub(super) keep_open: KeepOpen,
}

impl ConsumerBuilder {
    /// A consumer of `group`, or of none: it then begins where its reset policy says and commits nothing.
    pub(crate) fn new(
        catalog: Arc<Catalog>,
        coordinator: Arc<dyn Coordinator>,
        group: Option<String>,
    ) -> Self {
        ConsumerBuilder {
            catalog,
            coordinator,
            group,
            auto_offset_reset: AutoOffsetReset::default(),
            isolation_level: IsolationLevel::default(),
            max_poll_records: 500,
            max_poll_bytes: 50 << 20,
            auto_commit: None,
            keep_open: KeepOpen::default(),
        }
    }

    /// The consumer keeps its log open.
    pub(crate) fn keeping_open(mut self, keep_open: KeepOpen) -> Self {
        self.keep_open = keep_open;
        self
    }

    /// Where to begin in a partition without a committed offset, and where to continue when the position is no longer
    /// in the log. Default: [`AutoOffsetReset::Earliest`].
    #[must_use]
    pub fn auto_offset_reset(mut self, reset: AutoOffsetReset) -> Self {
        self.auto_offset_reset = reset;
        self
    }

    /// Which records polls return. Default: [`IsolationLevel::ReadUncommitted`].
    #[must_use]
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.isolation_level = level;
        self
    }

    /// The most records that a poll returns, at least 1. Default: 500.
    #[must_use]
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.max_poll_records = records;
        self
    }

    /// The size of the records of one poll, in bytes after decompression, at which it takes no more: at least 1. A
    /// larger record comes alone. Default: 50 MiB.
    #[must_use]
    pub fn max_poll_bytes(mut self, bytes: usize) -> Self {
        self.max_poll_bytes = bytes;
        self
    }

    /// How often a poll commits the positions of what earlier polls returned; closing does it once more. Default:
    /// `None`, never: the program commits.
    ///
    /// With it a record counts as done when the next poll is called, and a failing commit fails that poll.
    #[must_use]
    pub fn auto_commit(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.auto_commit = interval.into();
        self
    }

    /// Builds the consumer. It reads nothing until it is given topics, with [`subscribe`](Consumer::subscribe), or
    /// partitions, with [`assign`](Consumer::assign).
    ///
    /// # Errors
    ///
    /// `InvalidConfig` names the setting and what it must be; `ReadOnly` for automatic commits through a read-only
    /// handle; `Closed`.
    pub fn build(self) -> Result<Consumer> {
        self.catalog.data_dir().check_open()?;
        let refuse = |key: &str, reason: &str| {
            Err(Error::InvalidConfig { key: key.to_string(), reason: reason.to_string() })
        };
        if self.max_poll_records == 0 {
            return refuse("max_poll_records", "a poll returns at least one record");
        }
        if self.max_poll_bytes == 0 {
            return refuse("max_poll_bytes", "a poll returns at least one byte");
        }
        if self.auto_commit.is_some() {
            self.catalog.data_dir().check_writable()?;
        }
        match &self.group {
            None if self.auto_commit.is_some() => {
                return refuse("auto_commit", "a consumer without a group commits nothing");
            }
            Some(group) => {
                if let Err(rule) = check_group(group) {
                    return refuse("group", &rule);
                }
            }
            None => {}
        }
        let policy = Policy {
            env: Arc::clone(&self.catalog.data_dir().env),
            auto: self.auto_offset_reset,
            isolation: self.isolation_level,
            group: self.group.as_deref().map(Arc::from),
        };
        let (catalog, coordinator) = (Arc::clone(&self.catalog), Arc::clone(&self.coordinator));
        Ok(Consumer::new(catalog, coordinator, policy, &self))
    }
}
