//! Administration: topics and their settings, offsets, removal.

use super::Streamlog;
use crate::{
    error::{Error, Result},
    partition::{
        read::by_time::{check_time, offset_for_timestamp, offset_of_max_timestamp},
        write::{log_start::advance_log_start, retention},
    },
    topic::{
        Topic,
        catalog::AddedPartitions,
        config::{ConfigChange, TopicConfig},
        name,
        schedule::Duty,
    },
    types::{IsolationLevel, Offset, Timestamp},
};

/// Which offset of a partition is asked for (Kafka's `OffsetSpec`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first that can be read.
    Earliest,
    /// The one behind the last that can be read, by readers of this isolation.
    Latest(IsolationLevel),
    /// That of the first record whose timestamp is this or later.
    ForTimestamp(Timestamp),
    /// That of the first record with the largest timestamp.
    MaxTimestamp,
}

/// An answer of [`Streamlog::list_offsets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp, where a record was found by time.
    pub timestamp: Option<Timestamp>,
}

impl Streamlog {
    /// Creates a topic. When this returns, the topic survives a power cut.
    ///
    /// ```
    /// # use streamlog::{Streamlog, TopicConfig};
    /// let log = Streamlog::in_memory()?;
    /// log.create_topic("orders", TopicConfig::default().partitions(4))?;
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `TopicExists`, `InvalidTopic` for a name that Kafka would refuse, `InvalidConfig`, `ReadOnly`.
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        self.inner.check_open()?;
        let topic = self.inner.catalog.create(name, config)?;
        self.wake_for_retention(&topic);
        Ok(topic.kept_open(self.keeper()))
    }

    /// The topic of this name.
    ///
    /// # Errors
    ///
    /// `UnknownTopic` when there is none.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.inner.check_open()?;
        self.follow()?;
        self.inner.catalog.topic(name).map(|topic| topic.kept_open(self.keeper()))
    }

    /// The topic of this name as `config` has it: created where there is none, brought up to date where there is.
    ///
    /// The settings that `config` sets hold from then on, as after [`Streamlog::alter_topic`], and survive a power cut
    /// when this returns; those that it does not set stay as they are. A number of partitions counts where it was set.
    /// When nothing differs, nothing is written. A read-only handle only compares.
    ///
    /// ```
    /// # use streamlog::{Streamlog, TopicConfig};
    /// # use std::time::Duration;
    /// # let log = Streamlog::in_memory()?;
    /// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    /// let orders = log.topic_or_create("orders", TopicConfig::default().partitions(4).retention_time(7 * DAY))?;
    /// // The next release of the program keeps them longer.
    /// log.topic_or_create("orders", TopicConfig::default().retention_time(30 * DAY))?;
    /// assert_eq!(orders.config().values().retention_time, Some(30 * DAY));
    /// assert_eq!(orders.partition_count(), 4);
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Streamlog::create_topic`], without `TopicExists`. `PartitionsDiffer` when another number of partitions was
    /// set than there are: [`Streamlog::add_partitions`] adds some. `ReadOnly` names the settings that differ, or the
    /// topic that is missing.
    pub fn topic_or_create(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        self.inner.check_open()?;
        check_users_own(name)?;
        self.follow()?;
        let topic = self.inner.catalog.topic_or_create(name, &config)?;
        self.wake_for_retention(&topic);
        Ok(topic.kept_open(self.keeper()))
    }

    /// All topics by name, without those that the library keeps for itself.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn topics(&self) -> Result<Vec<Topic>> {
        self.inner.check_open()?;
        self.follow()?;
        let topics = self.inner.catalog.topics(false);
        Ok(topics.into_iter().map(|topic| topic.kept_open(self.keeper())).collect())
    }

    /// Deletes a topic with its records and committed offsets. When this returns it stays deleted after a power cut;
    /// handles on it answer `Closed`. A topic created again under its name is another one.
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `ReadOnly`.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        self.inner.check_open()?;
        check_users_own(name)?;
        self.inner.catalog.delete(name)?;
        match self.inner.offsets.forget_topic(name) {
            // The topic is deleted, and commits are of its id: they hold for no topic to come.
            Err(Error::DiskFull { .. }) => Ok(()),
            forgotten => forgotten,
        }
    }

    /// Changes settings of a topic, in Kafka's keys and units. They hold from the next call on and survive a power cut
    /// when this returns. Whatever the durability was and becomes, what was appended before, or meanwhile, is flushed when
    /// this returns.
    ///
    /// ```
    /// # use streamlog::{config::ConfigChange, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("orders", TopicConfig::default())?;
    /// log.alter_topic("orders", &[ConfigChange::set("retention.ms", "86400000")])?;
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidConfig` names the key and the reason; nothing was changed then.
    pub fn alter_topic(&self, name: &str, changes: &[ConfigChange]) -> Result<()> {
        self.inner.check_open()?;
        check_users_own(name)?;
        self.inner.catalog.alter(name, changes)?;
        self.wake_for_retention(&self.inner.catalog.topic(name)?);
        Ok(())
    }

    /// Adds partitions to a topic, so that it has `count`. Keys that had records may go to other partitions from now on:
    /// look at [`AddedPartitions::keys_move`].
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when `count` is not more than there are.
    pub fn add_partitions(&self, name: &str, count: u32) -> Result<AddedPartitions> {
        self.inner.check_open()?;
        check_users_own(name)?;
        self.inner.catalog.add_partitions(name, count)
    }

    /// Removes the records of a partition below `before` (Kafka's DeleteRecords): `before` becomes the first offset that
    /// can be read, which survives a power cut. Returns the log start offset.
    ///
    /// # Errors
    ///
    /// `OffsetOutOfRange` beyond the high watermark. Files that could not be removed are tried again with the next call,
    /// and with retention.
    pub fn delete_records(&self, topic: &str, partition: u32, before: impl Into<Offset>) -> Result<Offset> {
        self.inner.check_open()?;
        self.inner.catalog.data_dir().check_writable()?;
        check_users_own(topic)?;
        advance_log_start(&self.inner.catalog.topic(topic)?.log(partition)?, before.into())
    }

    /// An offset of a partition; `None` when no record is that late.
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`, `InvalidArgument` for a negative time, or `Corrupt` where records had to be read.
    pub fn list_offsets(
        &self,
        topic: &str,
        partition: u32,
        spec: OffsetSpec,
    ) -> Result<Option<ListedOffset>> {
        self.inner.check_open()?;
        self.follow()?;
        let log = self.inner.catalog.topic(topic)?.log(partition)?;
        let plain = |offset| Ok(Some(ListedOffset { offset, timestamp: None }));
        let found = match spec {
            OffsetSpec::Earliest => return plain(log.offsets().log_start()),
            OffsetSpec::Latest(isolation) => return plain(log.offsets().bound(isolation)),
            OffsetSpec::ForTimestamp(time) => {
                check_time(time)?;
                offset_for_timestamp(&log, time, IsolationLevel::ReadUncommitted)?
            }
            OffsetSpec::MaxTimestamp => offset_of_max_timestamp(&log)?,
        };
        Ok(found.map(|f| ListedOffset { offset: f.offset, timestamp: Some(f.timestamp) }))
    }

    /// For a read-only handle: takes in what the writer did since. Does nothing on others.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `UnsupportedFormat` for a manifest that cannot be read. What is wrong with one partition keeps no
    /// other from being followed: its readers get the error until it passes.
    pub fn refresh(&self) -> Result<()> {
        self.inner.check_open()?;
        self.follow()
    }

    /// Does the background work now: what lingers, flushes and [checkpoints](crate::manual#words) that are due, retention,
    /// leftovers of deletions. For handles without a background thread; harmless on others.
    ///
    /// # Errors
    ///
    /// The first failure; the rest is done all the same.
    pub fn maintain(&self) -> Result<()> {
        self.inner.check_open()?;
        let catalog = &self.inner.catalog;
        catalog.data_dir().check_writable()?;
        catalog.schedule().run_due(Duty::Batches);
        let mut result = catalog.remove_leftovers();
        for log in catalog.logs() {
            let now = catalog.data_dir().env.monotonic();
            result = result.and(log.run_due(now)).and(retention::apply(&log).map(drop));
        }
        result
    }

    fn follow(&self) -> Result<()> {
        if self.is_read_only() { self.inner.catalog.refresh().map(drop) } else { Ok(()) }
    }

    /// Retention needs somebody to look at the clock.
    fn wake_for_retention(&self, topic: &Topic) {
        if topic.config().has_retention() {
            self.inner.background.watch_retention();
        }
    }
}

/// Topics that the library keeps for itself are not administered from outside.
fn check_users_own(topic: &str) -> Result<()> {
    if !name::is_internal(topic) {
        return Ok(());
    }
    let reason = "the library keeps this topic for itself".to_string();
    Err(Error::InvalidTopic { name: topic.to_string(), reason })
}
