//! Producers, transactions, consumers, and the groups' offsets.

use super::Streamlog;
use crate::{
    consumer::{Consumer, ConsumerBuilder, Coordinator},
    error::{Error, Result},
    group::{GroupDescription, GroupReset},
    producer::{Producer, ProducerBuilder, identity::Names},
    transaction::{Transaction, TransactionCoordinator},
    types::{Offset, TopicPartition},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long a transaction is run again that somebody else keeps from being committed.
const PATIENCE: Duration = Duration::from_secs(60);

impl Streamlog {
    /// A producer with default settings. Clones share its buffer; threads share it freely.
    ///
    /// ```
    /// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
    /// let log = Streamlog::in_memory()?;
    /// log.create_topic("orders", TopicConfig::default())?;
    /// let producer = log.producer()?;
    /// let placed = producer.send(ProducerRecord::new("orders", "a loom").key("ada"))?;
    /// assert_eq!(placed.offset, 0);
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `ReadOnly`, `Closed`.
    pub fn producer(&self) -> Result<Producer> {
        self.producer_builder().build()
    }

    /// The settings of a producer; [`ProducerBuilder::build`] returns it.
    pub fn producer_builder(&self) -> ProducerBuilder {
        self.producers().keeping_open(self.keep_open())
    }

    /// A producer for the handle itself, which keeps nothing open.
    pub(super) fn unnamed_producer(&self) -> Result<Producer> {
        self.producers().build()
    }

    fn producers(&self) -> ProducerBuilder {
        let names: Arc<dyn Names> = Arc::<TransactionCoordinator>::clone(&self.inner.transactions);
        ProducerBuilder::new(Arc::clone(&self.inner.sender)).with_names(names)
    }

    /// Runs `work` in a transaction and commits it; where `work` returns an error, it is aborted. Where the commit, or
    /// `work`, fails with [`Conflict`](Error::Conflict), both are run again, for a minute at most: `work` then sees what others
    /// have appended.
    ///
    /// ```
    /// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// let seats = log.create_topic("seats", TopicConfig::default())?.partition(0)?;
    /// let number = log.transaction(|transaction| {
    ///     let taken = seats.log_end_offset();
    ///     transaction.expect_end(seats.topic_partition(), taken)?;
    ///     transaction.send(ProducerRecord::new("seats", "ada").partition(0))?;
    ///     Ok(taken.value() + 1)
    /// })?;
    /// assert_eq!(number, 1);
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `work`, of [`begin_transaction`](crate::Producer::begin_transaction) and of
    /// [`commit`](Transaction::commit).
    pub fn transaction<T>(&self, mut work: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        self.inner.check_open()?;
        let env = &self.inner.catalog.data_dir().env;
        let deadline = env.monotonic().saturating_add(PATIENCE);
        let idle = self.inner.idle_producers.lock().pop();
        let producer = idle.map_or_else(|| self.unnamed_producer(), Ok)?;
        let done = loop {
            let once = producer.begin_transaction().and_then(|mut transaction| {
                let answer = work(&mut transaction)?;
                transaction.commit().map(|_| answer)
            });
            match once {
                Err(Error::Conflict { .. }) if env.monotonic() < deadline => {}
                done => break done,
            }
        };
        self.inner.idle_producers.lock().push(producer);
        done
    }

    /// A consumer of a group, with default settings. It reads nothing until it is given topics, with
    /// [`Consumer::subscribe`], or partitions, with [`Consumer::assign`].
    ///
    /// ```
    /// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
    /// # use std::time::Duration;
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("orders", TopicConfig::default())?;
    /// # log.producer()?.send(ProducerRecord::new("orders", "a loom").key("ada"))?;
    /// let mut consumer = log.consumer("billing")?;
    /// consumer.subscribe(["orders"])?;
    /// for record in &consumer.poll(Duration::from_secs(1))? {
    ///     assert_eq!(record.value, Some(b"a loom".as_slice()));
    /// }
    /// consumer.commit_sync()?;
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidConfig` for an empty name, `Closed`.
    pub fn consumer(&self, group: impl Into<String>) -> Result<Consumer> {
        self.consumer_builder(group).build()
    }

    /// The settings of a consumer of a group; [`ConsumerBuilder::build`] returns it.
    pub fn consumer_builder(&self, group: impl Into<String>) -> ConsumerBuilder {
        self.consumers(Some(group.into()))
    }

    /// The settings of a consumer without a group: it begins where its reset policy says, and commits nothing.
    pub fn consumer_builder_without_group(&self) -> ConsumerBuilder {
        self.consumers(None)
    }

    /// The former name of [`Streamlog::consumer_builder_without_group`], gone with the first release.
    #[doc(hidden)]
    #[deprecated(note = "it returns a builder, and is named so: `consumer_builder_without_group`")]
    pub fn consumer_without_group(&self) -> ConsumerBuilder {
        self.consumer_builder_without_group()
    }

    fn consumers(&self, group: Option<String>) -> ConsumerBuilder {
        let coordinator: Arc<dyn Coordinator> = Arc::clone(&self.inner.offsets) as Arc<dyn Coordinator>;
        ConsumerBuilder::new(Arc::clone(&self.inner.catalog), coordinator, group)
            .keeping_open(self.keep_open())
    }

    /// The names of all groups that have committed offsets, sorted. A group of which no commit can be read is missing;
    /// [`health`](Self::health) then reports damage in `__consumer_offsets`.
    ///
    /// # Errors
    ///
    /// `Io` when what was committed cannot be read, `Closed`.
    pub fn groups(&self) -> Result<Vec<String>> {
        self.inner.check_open()?;
        self.inner.offsets.groups()
    }

    /// What a group has committed, and its lag there. The description of a group that has committed nothing is empty,
    /// and no error: a group is no more than its committed offsets, and [`groups`](Self::groups) lists those that have
    /// some.
    ///
    /// # Errors
    ///
    /// As for [`Streamlog::groups`]. `Corrupt` or `CodecUnavailable`, with file and position, where a commit that
    /// cannot be read may be the latest of this group: an older commit is never returned in its place.
    pub fn describe_group(&self, name: &str) -> Result<GroupDescription> {
        self.inner.check_open()?;
        self.inner.offsets.describe_group(name)
    }

    /// As [`describe_group`](Self::describe_group), with every partition of these topics: where the group has committed
    /// nothing, its lag is everything that is there.
    ///
    /// ```
    /// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("orders", TopicConfig::default())?;
    /// log.producer()?.send(ProducerRecord::new("orders", "a loom"))?;
    /// assert_eq!(log.describe_group_on("billing", ["orders"])?.lag(), 1);
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`describe_group`](Self::describe_group); `UnknownTopic`.
    pub fn describe_group_on<T: AsRef<str>>(
        &self,
        name: &str,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<GroupDescription> {
        self.inner.check_open()?;
        let topics: Vec<T> = topics.into_iter().collect();
        let topics: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
        self.inner.offsets.describe_group_on(name, &topics)
    }

    /// Moves a group's committed offsets, and returns where they are now. When this returns, the move survives a power
    /// cut.
    ///
    /// A running consumer of the group keeps its positions, and its next commit undoes the move: stop it first.
    ///
    /// # Errors
    ///
    /// `UnknownGroup` when the group has committed nothing and `reset` names no topic or partition; `UnknownTopic`,
    /// `UnknownPartition`, `ReadOnly`; `InvalidArgument` for a negative time. Nothing is moved then.
    pub fn reset_group_offsets(
        &self,
        group: &str,
        reset: &GroupReset,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.inner.check_open()?;
        self.inner.offsets.reset_group_offsets(group, reset)
    }

    /// Deletes a group's committed offsets. When this returns, they stay deleted after a power cut.
    ///
    /// # Errors
    ///
    /// `UnknownGroup`, `ReadOnly`.
    pub fn delete_group(&self, name: &str) -> Result<()> {
        self.inner.check_open()?;
        self.inner.offsets.delete_group(name)
    }
}
