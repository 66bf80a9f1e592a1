//! The settings of a consumer.

use super::{
    Consumer,
    coordinator::Coordinator,
    reset::{AutoOffsetReset, Policy},
};
use crate::{
    error::{Error, Result},
    partition::keeper::Keeper,
    topic::catalog::Catalog,
    types::{IsolationLevel, name::check_group},
};
use std::{sync::Arc, time::Duration};

/// Settings of a [`Consumer`] to be.
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
    pub(super) keeper: Keeper,
}

impl ConsumerBuilder {
    /// A consumer of `group`, or of none: then it begins by its reset policy and commits nothing.
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
            keeper: Keeper::default(),
        }
    }

    /// The consumer keeps its log open.
    pub(crate) fn keeping_open(mut self, keeper: Keeper) -> Self {
        self.keeper = keeper;
        self
    }

    /// Where to begin in a partition without a committed offset, and where to go when the place is not in the log any
    /// more. Default: [`AutoOffsetReset::Earliest`].
    #[must_use]
    pub fn auto_offset_reset(mut self, reset: AutoOffsetReset) -> Self {
        self.auto_offset_reset = reset;
        self
    }

    /// Which records are seen. Default: [`IsolationLevel::ReadUncommitted`].
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

    /// The bytes of records, decompressed, beyond which a poll takes no more: at least 1. A record that is larger comes
    /// alone. Default: 50 MiB.
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

    /// The consumer. It reads nothing before it has [`subscribe`](Consumer::subscribe)d or
    /// [`assign`](Consumer::assign)ed.
    ///
    /// # Errors
    ///
    /// `InvalidConfig` for a setting that cannot be, `Closed`.
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
