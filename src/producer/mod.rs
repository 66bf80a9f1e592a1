//! Producing: records to topics, one at a time, in batches, or pipelined.
//!
//! A [`Producer`] finds each record's partition and gathers enqueued records there, in an `accumulator`. `drain` is how
//! its batches leave, and `sender` is what all producers of a log share. The only lock on a record's way is that of its
//! partition's accumulator; no code of the user's runs while one is held.
//!
//! Always true: the records that one thread gives to one partition are in the log in that order; a refused record
//! leaves no trace. A batch that fails for a reason that can pass is tried again, before all batches queued after it. A
//! batch that fails for good fails those after it: the partition's next call reports it, once, and so does the next
//! flush, and `undelivered` has their records.

mod accumulator;
mod accumulators;
mod body;
mod buffer_pool;
mod builder;
mod context;
mod delivery;
mod drain;
pub(crate) mod identity;
mod named;
mod numbering;
pub(crate) mod parts;
mod record;
mod send_batch;
mod sender;
mod stuck;
#[cfg(test)]
mod tests;
mod topics;
mod undelivered;

pub use crate::producer::send_batch::SendAllError;
pub(crate) use crate::producer::sender::Sender;
pub(crate) use builder::LONGEST_TRANSACTION;
pub use builder::ProducerBuilder;
pub use delivery::Delivery;
pub use record::{ProducerRecord, RecordMetadata, TopicRef};
pub use undelivered::UndeliveredRecord;

use self::{
    accumulator::Accumulator,
    accumulators::Accumulators,
    builder::Choice,
    identity::ProducerIdentity,
    parts::Part,
    topics::{TopicState, Topics},
};
use crate::{
    codec::batch::HEADER_LEN,
    env::sync::{AtomicUsize, Ordering},
    error::{Error, Result},
    partition::{keep_open::KeepOpen, state::append_as::Claimed, write::encode::recycle},
    producer::context::Context,
    topic::{
        caretaker::Caretaker,
        partitioner::{PartitionContext, Partitioner},
    },
    types::{Durability, TopicPartition},
};
use std::{fmt, sync::Arc, time::Duration};

/// How long dropping the last clone waits for what was enqueued.
const DROP_TIME: Duration = Duration::from_secs(5);

/// Writes records. A cheap handle that threads share freely: clones are the same producer. It keeps its
/// [`Streamlog`](crate::Streamlog) open.
///
/// | call | returns | for |
/// |---|---|---|
/// | [`send`](Producer::send) | once the record is acknowledged | one record that matters now |
/// | [`send_batch`](Producer::send_batch) | once all are acknowledged | a few that belong together |
/// | [`send_all`](Producer::send_all) | once all are acknowledged | any number |
/// | [`enqueue`](Producer::enqueue) | immediately, with a [`Delivery`] | throughput |
///
/// Once `enqueue` has returned, the record is written, flushed and visible within the linger time plus one flush,
/// without another call (where [threads are forbidden](crate::config::Builder::background_thread), inside some later
/// call). Dropping the last clone waits up to five seconds for enqueued records and swallows errors;
/// [`close`](Producer::close) and [`flush`](Producer::flush) report them.
///
/// **An accepted record is not dropped over a failure that can pass**, such as a full disk: its batch stays where it is
/// and is tried again until [`max_block`](ProducerBuilder::max_block) is over, and later records of that partition
/// wait. A failure for good is an [`Error::Undelivered`], which says how many records failed. It is reported
///
/// * by the [`Delivery`] of each of these records,
/// * by the next `enqueue` or `send` to their partition, once, and the record of that call is not written,
/// * by the next [`flush`](Producer::flush) or [`close`](Producer::close), even if another call has reported it.
///
/// [`take_undelivered`](Producer::take_undelivered) hands the records back.
///
/// ```
/// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
/// # let log = Streamlog::in_memory()?;
/// # log.create_topic("readings", TopicConfig::default())?;
/// let producer = log.producer()?;
/// let sent = producer.send(ProducerRecord::new("readings", "21.5").key("sensor-7"))?;
/// println!("partition {} offset {}", sent.partition(), sent.offset);
/// # Ok::<(), streamlog::Error>(())
/// ```
pub struct Producer {
    inner: Arc<Inner>,
    /// Where this clone's last topic is in the table.
    hint: AtomicUsize,
}

struct Inner {
    context: Arc<Context>,
    accumulators: Arc<Accumulators>,
    topics: Topics,
    partitioner: Choice,
    /// Dropped last: by then the enqueued records are written.
    _keep_open: KeepOpen,
}

/// A record that [`Producer::try_enqueue`] did not take, and why.
pub struct TryEnqueueError<'a>(Box<(ProducerRecord<'a>, Error)>);

impl Clone for Producer {
    fn clone(&self) -> Self {
        let hint = AtomicUsize::new(self.hint.load(Ordering::Relaxed));
        Producer { inner: Arc::clone(&self.inner), hint }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = &self.inner.context;
        f.debug_struct("Producer")
            .field("settings", &context.settings)
            .field("buffered", &context.memory.used())
            .finish_non_exhaustive()
    }
}

impl Producer {
    fn new(accumulators: Arc<Accumulators>, partitioner: Choice, _keep_open: KeepOpen) -> Self {
        let context = Arc::clone(accumulators.context());
        let inner = Arc::new(Inner { context, accumulators, topics: Topics::new(), partitioner, _keep_open });
        Producer { inner, hint: AtomicUsize::new(0) }
    }

    /// Writes a record and returns when it is acknowledged: as durable as its topic says. By default the record then
    /// survives a power cut. Records enqueued before for its partition are written before it.
    ///
    /// # Errors
    ///
    /// `UnknownTopic`, `UnknownPartition`, `InvalidTopic` for internal topics, `RecordTooLarge`, `InvalidTimestamp`,
    /// `InvalidRecord` for a null key where the topic's policy compacts, `DiskFull`, `Io`, `Corrupt`, `ReadOnly`, `Closed`: the record left no trace. `DiskFull` also when records
    /// enqueued before it find no space: those stay queued.
    ///
    /// `Poisoned` when a flush failed, now or earlier: the partition takes no more records, and no reader sees this one. If
    /// it was this record's flush, whether it is there after the next opening is unknown. `Unacknowledged` when the flush
    /// could not begin: the record is in the log. [`Error::outcome`] distinguishes these.
    ///
    /// `Undelivered`, once, when records enqueued before for its partition failed for good: this record was not written
    /// then.
    pub fn send(&self, record: ProducerRecord<'_>) -> Result<RecordMetadata> {
        self.send_with(record, Durability::Written)
    }

    /// As [`Producer::send`], but at least as durable as `durability` says, even if the topic asks for less.
    ///
    /// # Errors
    ///
    /// As for [`Producer::send`]. If the flush was asked for by `durability` or by `flush.messages`, and not by the
    /// topic's own durability, readers see a record whose flush failed or could not begin, but it is not known to be
    /// durable: [`Error::outcome`] is `Unknown` or `Appended`.
    pub fn send_with(&self, record: ProducerRecord<'_>, durability: Durability) -> Result<RecordMetadata> {
        self.inner.context.check_process()?;
        let result = self.send_now(&record, durability);
        self.inner.context.sender.run_inline();
        result
    }

    /// Without closures, as [`Producer::enqueue_now`]: each would copy the result that is handed through it.
    #[inline(always)]
    fn send_now(&self, record: &ProducerRecord<'_>, durability: Durability) -> Result<RecordMetadata> {
        self.inner.context.identity.check_outside()?;
        if let Some(claimed) = self.claimed_for(record)? {
            return self.send_numbered(record, claimed, durability);
        }
        let mut found = None;
        let accumulator = self.accumulator_of(record, &mut found)?;
        let (context, log) = (accumulator.context(), accumulator.log());
        let now = context.env().now();
        let data = std::slice::from_ref(&record.data);
        let mut batch = log.encode(data, context.settings.compression, now)?;
        let appended = accumulator.send(&mut batch)?;
        let bytes = (batch.size() as usize).saturating_sub(HEADER_LEN);
        recycle(batch);
        if appended.must_flush || durability == Durability::Flushed {
            let acknowledged = log.acknowledge(appended.next_offset, true);
            // The records enqueued before lie below.
            accumulator.settle(appended.next_offset, &acknowledged);
            if let Err(error) = acknowledged {
                return Err(log.unacknowledged(appended.offsets(), error));
            }
        }
        self.inner.placed(record, accumulator, bytes);
        let timestamp = record.data.timestamp.unwrap_or(now);
        Ok(RecordMetadata::of(&appended, 0, timestamp, &log.identity.name))
    }

    /// Puts a record into its partition's batch and returns immediately: nothing is durable yet. The batch is written
    /// when it is full or its linger time is over; the [`Delivery`] reports when the record is acknowledged. With the
    /// buffer full, the call waits for room, for at most [`max_block`](ProducerBuilder::max_block), a minute by
    /// default.
    ///
    /// # Errors
    ///
    /// As for [`Producer::send`], as far as an error shows immediately; the [`Delivery`] reports the rest. `Timeout`
    /// when the buffer stayed full for `max_block`, `QueueFull` when `max_block` is zero.
    ///
    /// `Undelivered` is about other records: some that were accepted before for this partition failed for good. It is
    /// reported once, this record is not taken, and the next call works again. Calling again does not write the failed
    /// records: [`take_undelivered`](Producer::take_undelivered) returns them.
    #[inline]
    pub fn enqueue(&self, record: ProducerRecord<'_>) -> Result<Delivery> {
        self.enqueue_with(&record, true)
    }

    /// As [`Producer::enqueue`], but without waiting: when the buffer is full, it hands the record back.
    ///
    /// # Errors
    ///
    /// `QueueFull` when the buffer is full, else as for [`Producer::enqueue`].
    pub fn try_enqueue<'a>(&self, record: ProducerRecord<'a>) -> Result<Delivery, TryEnqueueError<'a>> {
        self.enqueue_with(&record, false).map_err(|error| TryEnqueueError(Box::new((record, error))))
    }

    #[inline]
    fn enqueue_with(&self, record: &ProducerRecord<'_>, may_wait: bool) -> Result<Delivery> {
        self.inner.context.glance_at_process()?;
        let result = self.enqueue_now(record, may_wait);
        self.inner.context.sender.run_inline();
        result
    }

    /// Without a closure and with few nested results: each of those copies the delivery, and copying what was just
    /// written is most of what an enqueued record costs.
    #[inline(always)]
    fn enqueue_now(&self, record: &ProducerRecord<'_>, may_wait: bool) -> Result<Delivery> {
        self.inner.context.identity.check_outside()?;
        let mut found = None;
        let accumulator = self.accumulator_of(record, &mut found)?;
        if let Some(claimed) = self.claimed_for(record)? {
            let own = &self.inner.accumulators;
            let (delivery, bytes) = own.enqueue_numbered(accumulator, record, claimed, may_wait)?;
            self.inner.placed(record, accumulator, bytes);
            return Ok(delivery);
        }
        if let Some((delivery, bytes)) = accumulator.enqueue_quickly(&record.data) {
            self.inner.placed(record, accumulator, bytes);
            return Ok(delivery);
        }
        let (delivery, bytes) = self.inner.accumulators.enqueue(accumulator, &record.data, may_wait)?;
        self.inner.placed(record, accumulator, bytes);
        Ok(delivery)
    }

    /// Returns when every record enqueued before the call is acknowledged, or has failed for good.
    ///
    /// `Ok` says that every record accepted since the last flush is acknowledged.
    ///
    /// # Errors
    ///
    /// `Undelivered` when a record that was accepted since the last flush was not acknowledged: the first such failure,
    /// also where another call reported that already. [`take_undelivered`](Producer::take_undelivered) has the records
    /// of all such failures. While a disk stays full, the call takes up to `max_block` to return.
    pub fn flush(&self) -> Result<()> {
        self.inner.accumulators.check_usable()?;
        self.inner.accumulators.flush()
    }

    /// Closes the producer for all clones, and returns when the enqueued records are acknowledged. Their later calls
    /// get `Closed`. Closing again does nothing, nor does closing in a forked child.
    ///
    /// # Errors
    ///
    /// As for [`Producer::flush`]. The producer is closed all the same.
    pub fn close(&self) -> Result<()> {
        if !self.inner.context.process.is_this() || !self.inner.accumulators.end("the producer") {
            return Ok(());
        }
        self.inner.accumulators.flush()
    }

    /// The records that were accepted and failed for good, each partition's in its order, since the last call of this
    /// method.
    ///
    /// An [`Error::Undelivered`] says that there are some; a closed producer has them too. They are kept in memory
    /// until they are taken: as many bytes as [`buffer_memory`](ProducerBuilder::buffer_memory) allows, in addition to
    /// the buffer itself. If more fail before they are taken, the oldest failures are forgotten;
    /// [`forgotten_undelivered`](Self::forgotten_undelivered) and every later `Undelivered` count them. A batch whose
    /// writing ended in a panic cannot be handed back either, and is counted too.
    ///
    /// ```
    /// # use streamlog::{Error, ProducerRecord, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("readings", TopicConfig::default())?;
    /// let producer = log.producer()?;
    /// producer.enqueue(ProducerRecord::new("readings", "21.5"))?;
    /// if let Err(error @ Error::Undelivered { .. }) = producer.flush() {
    ///     eprintln!("{error}");
    ///     for record in producer.take_undelivered() {
    ///         // Somewhere else, or again once there is space.
    ///         producer.send(record.to_record())?;
    ///     }
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn take_undelivered(&self) -> Vec<UndeliveredRecord> {
        let context = &self.inner.context;
        if context.process.is_this() { context.undelivered.take() } else { Vec::new() }
    }

    /// How many records, since the producer was built, were accepted, failed for good and were not kept for
    /// [`take_undelivered`](Self::take_undelivered): the oldest failures, where more came than `buffer_memory` holds
    /// before they were taken. A program that takes them after every failure keeps this at 0.
    pub fn forgotten_undelivered(&self) -> u64 {
        let context = &self.inner.context;
        if context.process.is_this() { context.undelivered.forgotten() } else { 0 }
    }

    /// Who it is in the logs.
    pub(crate) fn identity(&self) -> &ProducerIdentity {
        &self.inner.context.identity
    }

    /// An error where it was closed, or its log, or this is another process.
    pub(crate) fn check_usable(&self) -> Result<()> {
        self.inner.accumulators.check_usable()
    }

    /// An error in another process than that of its log.
    pub(crate) fn check_process(&self) -> Result<()> {
        self.inner.context.check_process()
    }

    /// How long its transactions may be open.
    pub(crate) fn transaction_timeout(&self) -> Duration {
        self.inner.context.settings.transaction_timeout
    }

    /// How many bytes its transactions keep in memory.
    pub(crate) fn transaction_buffer(&self) -> u64 {
        self.inner.context.settings.transaction_buffer
    }

    /// Reports to the partitioner what it has placed freely of a part.
    pub(crate) fn note_placed(&self, part: &Part) {
        if part.unkeyed > 0 {
            self.inner.appended(&part.accumulator, part.unkeyed as u64);
        }
    }

    /// The id and epoch in which a producer with a name sends this record; `None` for one without.
    #[inline]
    fn claimed_for(&self, record: &ProducerRecord<'_>) -> Result<Option<Claimed>> {
        let identity = &self.inner.context.identity;
        match (identity.name(), record.sequence) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(sequence_without_a_name()),
            (Some(_), _) => identity.checked_claim(),
        }
    }

    /// Runs `work` on the accumulator of the record's partition.
    #[inline]
    fn with_accumulator<T>(
        &self,
        record: &ProducerRecord<'_>,
        work: impl FnOnce(&Arc<Accumulator>) -> T,
    ) -> Result<T> {
        self.accumulator_of(record, &mut None).map(work)
    }

    /// The accumulator of the record's partition. A topic that the hint did not lead to is kept in `found`.
    #[inline(always)]
    fn accumulator_of<'a>(
        &'a self,
        record: &ProducerRecord<'_>,
        found: &'a mut Option<Arc<TopicState>>,
    ) -> Result<&'a Arc<Accumulator>> {
        let inner = &*self.inner;
        let state = match inner.topics.at_hint(&self.hint, &record.topic) {
            Some(state) => state,
            None => &**found.insert(inner.topics.find(&self.hint, record.topic, &inner.accumulators)?),
        };
        let partition = inner.partition_of(state, record)?;
        state.accumulator(partition, &inner.accumulators)
    }
}

#[cold]
fn sequence_without_a_name() -> Error {
    let reason = "a record has a sequence, and its producer has no name: give it one with named".to_string();
    Error::InvalidArgument { reason }
}

impl Inner {
    #[inline]
    fn partition_of(&self, state: &TopicState, record: &ProducerRecord<'_>) -> Result<u32> {
        let mut chosen = record.partition;
        planted!(a_key_beats_the_partition_that_is_named => chosen = None);
        if let Some(partition) = chosen {
            return Ok(partition);
        }
        let count = state.topic.partition_count();
        let (key, value) = (record.data.key_bytes(), record.data.value_bytes());
        let context = || PartitionContext::new(state.topic.name(), key, value, count);
        match &self.partitioner {
            Choice::Default(_) if count == 1 => Ok(0),
            Choice::Default(partitioner) => Ok(partitioner.partition(&context())),
            Choice::Custom(partitioner) => match partitioner.partition(&context()) {
                partition if partition < count => Ok(partition),
                partition => {
                    planted!(a_wrong_choice_is_bent => return Ok(partition % count));
                    let topic = state.topic.name();
                    let reason = format!(
                        "the partitioner chose partition {partition} of topic '{topic}', which has {count}"
                    );
                    Err(Error::InvalidArgument { reason })
                }
            },
        }
    }

    /// Reports to the partitioner how many bytes a record took, if the partition was its free choice.
    #[inline]
    fn placed(&self, record: &ProducerRecord<'_>, accumulator: &Accumulator, bytes: usize) {
        if record.is_placed_freely() {
            self.appended(accumulator, bytes as u64);
        }
    }

    #[inline]
    fn appended(&self, accumulator: &Accumulator, bytes: u64) {
        let TopicPartition { topic, partition } = &accumulator.log().identity.name;
        match &self.partitioner {
            Choice::Default(_) if accumulator.topic().partition_count() == 1 => {}
            Choice::Default(partitioner) => partitioner.appended(topic, *partition, bytes),
            Choice::Custom(partitioner) => partitioner.appended(topic, *partition, bytes),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let context = &self.context;
        // In a forked child the records are the parent's, and so are the locks.
        if !context.process.is_this() {
            return;
        }
        if !self.accumulators.end("the producer") {
            return;
        }
        let mut patience = DROP_TIME;
        planted!(a_dropped_producer_drops_its_records => patience = Duration::ZERO);
        self.accumulators.leave(context.env().monotonic().saturating_add(patience));
    }
}

impl<'a> TryEnqueueError<'a> {
    /// Why the record was not taken: `QueueFull` when there was no room for it.
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// The record, to try again.
    pub fn into_record(self) -> ProducerRecord<'a> {
        self.0.0
    }

    /// The reason and the record.
    pub fn into_parts(self) -> (Error, ProducerRecord<'a>) {
        let (record, error) = *self.0;
        (error, record)
    }
}

impl fmt::Debug for TryEnqueueError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryEnqueueError").field(self.error()).finish()
    }
}

impl fmt::Display for TryEnqueueError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl std::error::Error for TryEnqueueError<'_> {}

impl From<TryEnqueueError<'_>> for Error {
    fn from(error: TryEnqueueError<'_>) -> Self {
        error.into_parts().0
    }
}
