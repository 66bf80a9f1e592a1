//! Administration: topics and their settings, offsets, removal, transactions.

use super::{
    Streamlog,
    compact::{Compact, Compacted},
    purge::Purged,
};
use crate::{
    codec::snapshot::ProducerEntry,
    error::{Error, Result},
    partition::{
        read::by_time::{check_time, offset_for_timestamp, offset_of_max_timestamp},
        write::{
            append_as::forget_producer,
            end_transaction::{TransactionEnd, end_transaction, producers_of},
            log_start::advance_log_start,
        },
    },
    producer::identity::Names,
    topic::{
        Topic,
        catalog::AddedPartitions,
        config::{ConfigChange, TopicConfig},
        name,
    },
    transaction::{TransactionDescription, TransactionListing},
    types::{IsolationLevel, Offset, Timestamp, TopicPartition},
};
use std::time::Duration;

/// Which offset of a partition [`Streamlog::list_offsets`] returns (Kafka's `OffsetSpec`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first offset that can be read: the log start.
    Earliest,
    /// The offset after the last record that readers of this isolation level can read.
    Latest(IsolationLevel),
    /// The offset of the first record whose timestamp is this or later.
    ForTimestamp(Timestamp),
    /// The offset of the first record with the largest timestamp.
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
        self.wake_caretakers(&topic);
        Ok(topic.kept_open(self.keep_open()))
    }

    /// The topic of this name.
    ///
    /// # Errors
    ///
    /// `UnknownTopic` when there is none.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.inner.check_open()?;
        self.follow()?;
        self.inner.catalog.topic(name).map(|topic| topic.kept_open(self.keep_open()))
    }

    /// The topic of this name with the settings of `config`: created if it does not exist, brought up to date if it
    /// does.
    ///
    /// The settings that `config` sets hold from then on, as after [`Streamlog::alter_topic`], and survive a power cut
    /// when this returns; those that it does not set stay as they are. The number of partitions is compared if `config`
    /// sets it. When nothing differs, nothing is written. A read-only handle only compares.
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
    /// As for [`Streamlog::create_topic`], without `TopicExists`. `PartitionsDiffer` when `config` sets another number
    /// of partitions than the topic has: [`Streamlog::add_partitions`] adds some. `ReadOnly` names the settings that
    /// differ, or the topic that is missing.
    pub fn topic_or_create(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        self.inner.check_open()?;
        check_users_own(name)?;
        self.follow()?;
        let topic = self.inner.catalog.topic_or_create(name, &config)?;
        self.wake_caretakers(&topic);
        Ok(topic.kept_open(self.keep_open()))
    }

    /// All topics, sorted by name, without internal ones.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn topics(&self) -> Result<Vec<Topic>> {
        self.inner.check_open()?;
        self.follow()?;
        let topics = self.inner.catalog.topics(false);
        Ok(topics.into_iter().map(|topic| topic.kept_open(self.keep_open())).collect())
    }

    /// Deletes a topic with its records and committed offsets. When this returns, it stays deleted after a power cut,
    /// and calls of its handles fail with `Closed`. A topic created again under its name is another one.
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
    /// when this returns. Whatever the durability was and becomes, all records appended before or during the call are
    /// flushed when this returns.
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
    /// `InvalidConfig` names the key and the reason, and nothing is changed; `UnknownTopic`, `ReadOnly`.
    pub fn alter_topic(&self, name: &str, changes: &[ConfigChange]) -> Result<()> {
        self.inner.check_open()?;
        check_users_own(name)?;
        self.inner.catalog.alter(name, changes)?;
        self.wake_caretakers(&self.inner.catalog.topic(name)?);
        Ok(())
    }

    /// Adds partitions to a topic, so that it has `count`. When this returns, they survive a power cut. Keys that had
    /// records may go to other partitions from now on: see [`AddedPartitions::keys_move`].
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the topic has `count` partitions or more; `UnknownTopic`, `ReadOnly`.
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
    /// `OffsetOutOfRange` beyond the high watermark; `UnknownTopic`, `UnknownPartition`, `ReadOnly`. Files that could
    /// not be removed are tried again with the next call, and with retention.
    pub fn delete_records(&self, topic: &str, partition: u32, before: impl Into<Offset>) -> Result<Offset> {
        self.inner.check_open()?;
        self.inner.catalog.data_dir().check_writable()?;
        check_users_own(topic)?;
        advance_log_start(&self.inner.catalog.topic(topic)?.log(partition)?, before.into())
    }

    /// The offset of a partition that `spec` asks for; `None` when no record is that late.
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

    /// Compacts a topic now, whatever of it is dirty and however young it is: of each key the newest records stay, at their
    /// offsets. The active segments are rolled first, so that everything appended before is compacted; a dry run leaves them
    /// out. A second call for the same topic waits for the first.
    ///
    /// A tombstone stays at first, so that readers learn of it, and goes with a compaction after
    /// [`delete_retention`](crate::TopicConfig::delete_retention), even where nothing else is to be done.
    ///
    /// ```
    /// # use streamlog::{Streamlog, TopicConfig, RecordData, admin::Compact, config::CleanupPolicy};
    /// let log = Streamlog::in_memory()?;
    /// let prices = log.create_topic("prices", TopicConfig::default().cleanup_policy(CleanupPolicy::Compact))?;
    /// for price in ["3", "4", "5"] {
    ///     prices.partition(0)?.append(&[RecordData::new(price).key("tea")])?;
    /// }
    /// let done = log.compact_now("prices", Compact::new())?;
    /// assert_eq!((done.records_before, done.records_after), (3, 1));
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `UnknownTopic`; `InvalidArgument` for a topic whose policy does not compact; `Cancelled` when the progress callback
    /// asks for it, or meanwhile the log is closed, the policy is changed to one that does not compact, or what is compacted
    /// is removed; `Corrupt` for a partition with damage, of which nothing is changed;
    /// `UnsupportedFormat` for one with batches of producers that have an id, which this release leaves alone. The other
    /// partitions are compacted all the same.
    pub fn compact_now(&self, topic: &str, options: Compact<'_>) -> Result<Compacted> {
        self.inner.check_open()?;
        self.inner.catalog.data_dir().check_writable()?;
        check_users_own(topic)?;
        self.inner.compact_now(&self.inner.catalog.topic(topic)?, options)
    }

    /// Removes all records of one key from a topic, whatever its cleanup policy: from the sealed segments of every partition,
    /// the newest record and tombstones included, and from quarantined files. The active segments are sealed first, so that
    /// nothing appended before the call stays.
    ///
    /// What was rewritten is read again, and the call fails if the key is there. All other records stay at their offsets.
    /// After a failure, a crash or a close in between, purge again: it continues. [The
    /// manual](crate::manual::compaction#deleting-a-persons-data) says what a purge does not reach.
    ///
    /// ```
    /// # use streamlog::{RecordData, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// let visits = log.create_topic("visits", TopicConfig::default())?.partition(0)?;
    /// for name in ["ada", "max", "ada"] {
    ///     visits.append(&[RecordData::new("was here").key(name)])?;
    /// }
    /// assert_eq!(log.purge_key("visits", "ada")?.records_removed, 2);
    /// assert_eq!(visits.records(0).count(), 1);
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first failure; the other partitions are purged all the same. Of a partition that fails, the oldest segments may be
    /// purged already, so a deleted or older value does not return. `UnknownTopic`; `InvalidTopic` for an internal topic;
    /// `ReadOnly`; `Corrupt` for a damaged segment that may have the key, which is left as it is; `NotPurged` for a
    /// quarantined file that cannot be read, and if the key is still there; `UnsupportedFormat` for segments with
    /// transactions, which this release leaves alone; `DiskFull`, for a segment is written anew before the old one goes;
    /// `Cancelled` when the log is closed meanwhile.
    pub fn purge_key(&self, topic: &str, key: impl AsRef<[u8]>) -> Result<Purged> {
        self.inner.check_open()?;
        self.inner.catalog.data_dir().check_writable()?;
        check_users_own(topic)?;
        self.inner.purge_key(&self.inner.catalog.topic(topic)?, key.as_ref())
    }

    /// For a read-only handle: makes it show what the writer has done since. Does nothing on others.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `UnsupportedFormat` for a manifest that cannot be read. An error of one partition does not keep the
    /// others from being followed: its own readers get it until it passes.
    pub fn refresh(&self) -> Result<()> {
        self.inner.check_open()?;
        self.follow()
    }

    /// Does the background work now: writes lingering batches, takes the flushes and [checkpoints](crate::manual#words)
    /// that are due, applies retention, compacts and removes what deletions left. For handles without background threads; harmless
    /// on others.
    ///
    /// # Errors
    ///
    /// The first failure; the rest of the work is done all the same.
    pub fn maintain(&self) -> Result<()> {
        self.inner.maintain()
    }

    /// As [`maintain`](Self::maintain), for about `time`: stops after the step that exceeds it, and returns whether
    /// work is left, with which the next call continues. A step is the flush and the checkpoint of one partition,
    /// its retention, or a few mebibytes of compaction. Each call takes at least one step, so that calls with no time at all get through a round as well.
    ///
    /// For a program that has no thread to spare, and does this work between other things.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamlog::{Streamlog, TopicConfig};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Streamlog::builder(dir.path().join("log")).background_thread(false).open()?;
    /// # log.create_topic("orders", TopicConfig::default().partitions(4))?;
    /// while log.maintain_for(Duration::from_millis(2))? {
    ///     // Something else has its turn.
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first failure. The step that failed is over; the next call continues after the last step of this one.
    pub fn maintain_for(&self, time: Duration) -> Result<bool> {
        self.inner.maintain_for(time)
    }

    pub(super) fn follow(&self) -> Result<()> {
        if self.is_read_only() { self.inner.catalog.refresh().map(drop) } else { Ok(()) }
    }

    /// A topic with retention, or one that is compacted, needs regular checks.
    fn wake_caretakers(&self, topic: &Topic) {
        if topic.config().has_retention() {
            self.inner.background.watch_retention();
        }
        if topic.config().compacts() {
            self.inner.cleaner.watch();
        }
    }

    /// The names of producers, with where the last transaction of each stands, sorted. A transaction of a producer without a name
    /// is among them, by the name that its decision is recorded under, until it is complete.
    ///
    /// # Errors
    ///
    /// `Io`, `Closed`.
    pub fn transactions(&self) -> Result<Vec<TransactionListing>> {
        self.inner.check_open()?;
        self.inner.transactions.claims().list()
    }

    /// What is known of a producer's name; `None` if that is nothing.
    ///
    /// # Errors
    ///
    /// As for [`transactions`](Self::transactions); `Corrupt` where a record that cannot be read may be the last one about it.
    pub fn describe_transaction(&self, name: &str) -> Result<Option<TransactionDescription>> {
        self.inner.check_open()?;
        self.inner.transactions.claims().describe(name)
    }

    /// Takes a producer's name from whoever holds it: a transaction that is open under it is aborted, and the holder's next call
    /// fails with [`Fenced`](Error::Fenced). Durable when it returns. Returns whether the name was known.
    ///
    /// # Errors
    ///
    /// `ReadOnly`, `Closed`, and those of the operating system.
    pub fn fence(&self, name: &str) -> Result<bool> {
        self.inner.check_open()?;
        let fenced = self.inner.transactions.fence(name)?;
        self.inner.sender.fence_name(name);
        Ok(fenced)
    }

    /// Forgets a producer's name: its holder is fenced, and the next one of the name begins without a past, so that what was sent
    /// before may be sent again. It also ends the refusal of a name whose sequences were lost. Durable when it returns. Returns
    /// whether the name was known.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, `ReadOnly`, `Closed`, and those of the operating system.
    pub fn forget_producer(&self, name: &str) -> Result<bool> {
        self.inner.check_open()?;
        self.inner.catalog.data_dir().check_writable()?;
        let names: &dyn Names = &*self.inner.transactions;
        let Some(id) = self.inner.sender.forget_name(names, name)? else { return Ok(false) };
        for log in self.inner.catalog.logs() {
            forget_producer(&log, id)?;
        }
        Ok(true)
    }

    /// The producers that a partition knows, with their last sequences and the transactions that are open there (Kafka's
    /// `describeProducers`).
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`, `Corrupt` where what is known cannot be read.
    pub fn describe_producers(&self, partition: &TopicPartition) -> Result<Vec<ProducerEntry>> {
        self.inner.check_open()?;
        self.follow()?;
        producers_of(&*self.inner.catalog.log(partition)?)
    }

    /// Aborts the transaction of `producer_id` that is open in `partition`: one that another writer left open for ever (KIP-664's
    /// hanging transactions), which [`describe_producers`](Self::describe_producers) shows. One of this handle is aborted
    /// everywhere. Returns whether there was one.
    ///
    /// Readers of `read_committed` go on when it returns. The marker is durable within a second.
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`, `ReadOnly`, `DiskFull` and others of the operating system.
    pub fn abort_transaction(&self, partition: &TopicPartition, producer_id: i64) -> Result<bool> {
        self.inner.check_open()?;
        self.inner.catalog.data_dir().check_writable()?;
        let log = self.inner.catalog.log(partition)?;
        if self.inner.transactions.abort_of(producer_id) {
            return Ok(true);
        }
        let known = producers_of(&log)?;
        let open = known
            .iter()
            .find(|entry| entry.producer_id == producer_id && entry.current_txn_first_offset.is_some());
        let Some(open) = open else { return Ok(false) };
        let (epoch, marker_epoch) = (open.producer_epoch, open.producer_epoch);
        end_transaction(&log, &TransactionEnd { producer_id, epoch, marker_epoch, commit: false })
    }
}

/// Refuses internal topics: users do not administer them.
pub(super) fn check_users_own(topic: &str) -> Result<()> {
    if !name::is_internal(topic) {
        return Ok(());
    }
    let reason = "it is an internal topic, which only the library changes".to_string();
    Err(Error::InvalidTopic { name: topic.to_string(), reason })
}
