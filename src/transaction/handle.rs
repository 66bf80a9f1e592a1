//! The handle of a transaction: what is sent is buffered, and written when it is committed.

use super::{Committed, coordinator::TransactionCoordinator, open::Open};
use crate::{
    consumer::{Consumer, coordinator::OffsetCommit},
    error::{Error, Result},
    partition::log::Log,
    producer::{Producer, ProducerRecord, parts::Parts},
    types::{Offset, TopicPartition},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Where a batch of a transaction ends and the next begins, in bytes before compression.
const BATCH_BYTES: usize = 1 << 20;

/// A transaction: records for any topics and the offsets of a consumer, all of which count or none.
///
/// From [`Producer::begin_transaction`]. What is sent is kept in memory until [`commit`](Transaction::commit), and written
/// then. Beyond the producer's [`transaction_buffer`](crate::clients::ProducerBuilder::transaction_buffer) it is written as it
/// comes; readers of `read_committed` see none of it before the commit, others do. Dropping a transaction aborts it.
///
/// ```
/// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
/// # let log = Streamlog::in_memory()?;
/// # log.create_topic("debits", TopicConfig::default())?;
/// # log.create_topic("credits", TopicConfig::default())?;
/// let producer = log.producer()?;
/// let mut transfer = producer.begin_transaction()?;
/// transfer.send(ProducerRecord::new("debits", "30").key("ada"))?;
/// transfer.send(ProducerRecord::new("credits", "30").key("charles"))?;
/// transfer.commit()?;
/// # Ok::<(), streamlog::Error>(())
/// ```
pub struct Transaction {
    producer: Producer,
    coordinator: Arc<TransactionCoordinator>,
    open: Arc<Open>,
    buffered: Parts,
    /// By group.
    offsets: BTreeMap<Arc<str>, Vec<OffsetCommit>>,
    expected: BTreeMap<TopicPartition, (Arc<Log>, Offset)>,
    is_over: bool,
}

/// What a commit gets of its handle.
pub(super) struct Contents {
    pub producer: Producer,
    pub open: Arc<Open>,
    pub buffered: Parts,
    pub offsets: BTreeMap<Arc<str>, Vec<OffsetCommit>>,
    pub expected: BTreeMap<TopicPartition, (Arc<Log>, Offset)>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Transaction");
        shown.field("producer", &self.open.name).field("buffered", &self.buffered.len());
        shown.finish_non_exhaustive()
    }
}

impl Transaction {
    pub(super) fn new(producer: Producer, coordinator: Arc<TransactionCoordinator>, open: Arc<Open>) -> Self {
        Transaction {
            producer,
            coordinator,
            open,
            buffered: Parts::default(),
            offsets: BTreeMap::new(),
            expected: BTreeMap::new(),
            is_over: false,
        }
    }

    /// Adds a record. It gets its partition now and its offset when it is written: with the commit, or when more is buffered
    /// than [`transaction_buffer`](crate::clients::ProducerBuilder::transaction_buffer).
    ///
    /// # Errors
    ///
    /// Those of [`Producer::send`] about the record, such as `RecordTooLarge` and `UnknownTopic`: the record is not part of
    /// the transaction, which goes on. `Timeout` when its time is over, `Fenced` when another producer took the name: the
    /// transaction is aborted. Errors of the operating system when what is buffered cannot be written: likewise.
    pub fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        self.check()?;
        if record.has_sequence() {
            let reason =
                "a record of a transaction has no sequence: the transaction itself counts once".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        self.producer.add(&mut self.buffered, &record, BATCH_BYTES)?;
        if self.buffered.len() > self.producer.transaction_buffer() {
            self.spill()?;
        }
        Ok(())
    }

    /// Adds the positions of `consumer`: with the commit, and only with it, everything that its polls have returned so far
    /// counts as done for its group, as after [`Consumer::commit_sync`]. Called again, the later positions count.
    ///
    /// The consumer must not commit by itself meanwhile: build it without
    /// [`auto_commit`](crate::clients::ConsumerBuilder::auto_commit).
    ///
    /// # Errors
    ///
    /// As for [`Consumer::commit_sync`]; nothing is added then.
    pub fn send_offsets(&mut self, consumer: &Consumer) -> Result<()> {
        self.check()?;
        let (group, positions) = consumer.positions_to_commit()?;
        if !self.coordinator.is_of(consumer) {
            let reason =
                "the consumer belongs to another log, whose offsets cannot be part of this transaction";
            return Err(Error::InvalidArgument { reason: reason.to_string() });
        }
        self.offsets.insert(group, positions);
        Ok(())
    }

    /// Requires that nothing is appended to `partition` at or beyond `offset` but by this transaction: the commit succeeds only if
    /// the partition ends there, where the transaction writes its first record there, or, where it has none there, at the commit.
    /// The markers of transactions, which nobody reads, do not count: the offset after the last record that was read will do.
    ///
    /// With it a program that has read up to `offset` decides on what it has read, and on nothing else (optimistic
    /// concurrency).
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`. The commit fails with `Conflict` where it does not hold.
    pub fn expect_end(&mut self, partition: &TopicPartition, offset: impl Into<Offset>) -> Result<()> {
        self.check()?;
        let log = self.coordinator.catalog.log(partition)?;
        self.expected.insert(partition.clone(), (log, offset.into()));
        Ok(())
    }

    /// Makes all of it count at once. When this returns, it survives a power cut, whatever the durability of the topics, and
    /// readers of every isolation see it.
    ///
    /// # Errors
    ///
    /// Nothing of it counts then, now or later, unless [`Error::outcome`] says
    /// [`Unknown`](crate::Outcome::Unknown): the decision could not be flushed, and the next opening finds out.
    ///
    /// `Timeout`, `Fenced`, `Conflict`; `DiskFull`, `Poisoned` and others of the operating system.
    pub fn commit(mut self) -> Result<Committed> {
        self.check()?;
        let contents = self.take();
        self.coordinator.commit(contents)
    }

    /// Takes all of it back. What was buffered was never written; of the rest, readers of `read_committed` see nothing.
    ///
    /// # Errors
    ///
    /// `Forked`. An abort needs nothing of the disk: what has no decision is aborted.
    pub fn abort(mut self) -> Result<()> {
        self.producer.check_process()?;
        self.end();
        Ok(())
    }

    /// An error where it is not open any more; one whose time is over is aborted.
    fn check(&mut self) -> Result<()> {
        self.producer.check_usable()?;
        if self.open.is_late(self.coordinator.monotonic()) {
            self.coordinator.abort(&self.open, self.open.too_late());
        }
        self.open.progress().check()
    }

    /// Writes what is buffered. If that fails, the transaction is aborted: nobody could say which of it was written.
    fn spill(&mut self) -> Result<()> {
        let buffered = std::mem::take(&mut self.buffered);
        let written = self.coordinator.write(&self.producer, &self.open, buffered, &self.expected);
        if let Err(error) = &written {
            self.coordinator.abort(&self.open, error.clone());
        }
        written
    }

    fn take(&mut self) -> Contents {
        self.is_over = true;
        Contents {
            producer: self.producer.clone(),
            open: Arc::clone(&self.open),
            buffered: std::mem::take(&mut self.buffered),
            offsets: std::mem::take(&mut self.offsets),
            expected: std::mem::take(&mut self.expected),
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.coordinator.end(&self.producer, &self.open);
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.producer.check_process().is_ok() {
            self.end();
        }
    }
}
