//! A partition as its users see it: append, read, find.

use crate::{
    error::{Error, Result},
    partition::{
        keep_open::KeepOpen,
        log::Log,
        read::{
            batches::{BackwardBatches, Batches, Records},
            by_time::{self, OffsetAndTimestamp, check_time},
            owned::OwnedRecord,
            visible::VisibleBatches,
        },
        write::{
            checkpoint::checkpoint,
            encode::{RecordData, recycle},
        },
    },
    types::{Compression, IsolationLevel, Offset, Timestamp, TopicPartition},
};
use std::{fmt, ops::Range, sync::Arc};

/// Why users do not write to `__consumer_offsets`: its reader trusts it.
pub(crate) const WRITTEN_BY_NOBODY_ELSE: &str = "internal topics are written by the library alone";

/// One ordered log of a topic. A cheap handle; its clones are the same partition. The [`Streamlog`](crate::Streamlog)
/// that it comes from stays open as long as the handle or one of its iterators is held.
///
/// Producers and consumers are the usual way in and out. A `Partition` is the floor they stand on: it appends batches,
/// reads them from any offset in both directions, and finds offsets by time.
#[derive(Clone)]
pub struct Partition {
    log: Arc<Log>,
    keep_open: KeepOpen,
}

/// Handles are equal when they belong to the same partition of the same opened log.
impl PartialEq for Partition {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.log, &other.log)
    }
}

impl Eq for Partition {}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("name", &format_args!("{}", self.log.identity.name))
            .field("offsets", &format_args!("{}..{}", self.log_start_offset(), self.log_end_offset()))
            .field("high_watermark", &format_args!("{}", self.high_watermark()))
            .finish_non_exhaustive()
    }
}

impl Partition {
    pub(crate) fn new(log: Arc<Log>, keep_open: KeepOpen) -> Self {
        Partition { log, keep_open }
    }

    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The topic's name and this partition's number.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.log.identity.name
    }

    /// Its number, from 0.
    pub fn index(&self) -> u32 {
        self.log.identity.name.partition
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log.offsets().log_start()
    }

    /// Where every reader stops: in a `Flushed` topic everything below is durable.
    pub fn high_watermark(&self) -> Offset {
        self.log.offsets().high_watermark()
    }

    /// Where read-committed readers stop: before the first transaction that is not decided.
    pub fn last_stable_offset(&self) -> Offset {
        self.log.offsets().last_stable()
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        self.log.offsets().log_end()
    }

    /// The incarnation of the partition that the record at `offset` belongs to. A new one begins with the first append
    /// after a crash, so that an offset whose record was lost differs from the same offset with another record.
    ///
    /// 0 in a forked child, which cannot ask.
    pub fn incarnation_of(&self, offset: impl Into<Offset>) -> u32 {
        if self.log.is_of_this_process() { self.log.incarnation_of(offset.into()) } else { 0 }
    }

    /// The bytes of all its record batches.
    pub fn size(&self) -> u64 {
        self.log.size()
    }

    /// How many segments it has; 0 in a forked child, which cannot ask.
    pub fn segment_count(&self) -> usize {
        if self.log.is_of_this_process() { self.log.segment_count() } else { 0 }
    }

    /// Appends records as one batch: all of them are in the log, at consecutive offsets, or none. An empty slice
    /// appends nothing, and only asks whether the partition accepts appends.
    ///
    /// Returns their offsets once they are as durable as the topic's configuration says: in a `Flushed` topic they
    /// survive a power cut.
    ///
    /// # Errors
    ///
    /// `InvalidTopic` for internal topics, `RecordTooLarge` when the batch exceeds `max.message.bytes`,
    /// `InvalidTimestamp` for one record and `InvalidRecord`, with the index, for one of several,
    /// `InvalidRecord` for a null key where the topic's policy compacts, `DiskFull`, `Io`,
    /// `Corrupt`, `ReadOnly`, `Closed`: nothing was appended. `Poisoned` when a flush failed, now or earlier: the
    /// partition accepts no more appends, and no reader sees the batch. If it was the flush of this batch, whether it is
    /// there after the next opening is unknown. `Unacknowledged` when the flush could not begin: the batch is in the log.
    /// [`Error::outcome`](crate::Error::outcome) distinguishes these.
    ///
    /// Where `flush.messages` asks a `Written` topic for a flush, readers see a batch whose flush failed or could not begin,
    /// but it is not known to be durable.
    pub fn append(&self, records: &[RecordData<'_>]) -> Result<Range<Offset>> {
        if self.log.identity.internal {
            let name = self.log.identity.name.topic.to_string();
            return Err(Error::InvalidTopic { name, reason: WRITTEN_BY_NOBODY_ELSE.to_string() });
        }
        self.append_to_any(records)
    }

    /// As [`Partition::append`], for internal topics too.
    pub(crate) fn append_to_any(&self, records: &[RecordData<'_>]) -> Result<Range<Offset>> {
        self.log.check_process()?;
        if records.is_empty() {
            self.log.check_open()?;
            let end = self.log_end_offset();
            return self.log.refusal().map_or(Ok(end..end), Err);
        }
        self.log.data_dir.do_inline_work();
        let now = self.log.data_dir.env.now();
        let mut batch = self.log.encode(records, Compression::None, now)?;
        let appended = self.log.append(&mut batch)?;
        recycle(batch);
        match self.log.acknowledge(appended.next_offset, appended.must_flush) {
            Ok(()) => Ok(appended.offsets()),
            Err(error) => Err(self.log.unacknowledged(appended.offsets(), error)),
        }
    }

    /// Makes everything appended so far durable, and shortens what an opening after a crash would have to read.
    ///
    /// # Errors
    ///
    /// The error of the operating system; the partition is then poisoned.
    pub fn flush(&self) -> Result<()> {
        self.log.check_process()?;
        checkpoint(&self.log)
    }

    /// The batches from `from` on, up to where readers stop at the time of each step. The iteration ends there; a later
    /// one can continue. For single records there is [`records`](Self::records).
    pub fn read(&self, from: impl Into<Offset>) -> Batches {
        self.read_with(from, IsolationLevel::ReadUncommitted)
    }

    /// As [`Partition::read`], with records of aborted and undecided transactions left out for
    /// [`IsolationLevel::ReadCommitted`].
    pub fn read_with(&self, from: impl Into<Offset>, isolation: IsolationLevel) -> Batches {
        let batches = VisibleBatches::new(Arc::clone(&self.log), isolation, from.into());
        Batches::new(batches, self.keep_open.clone())
    }

    /// The records from `from` on, one after the other, up to where readers stop at the time of each step. The
    /// iteration ends there; a later one can continue.
    ///
    /// ```
    /// # use streamlog::{RecordData, Streamlog, TopicConfig};
    /// let log = Streamlog::in_memory()?;
    /// let orders = log.create_topic("orders", TopicConfig::default())?.partition(0)?;
    /// orders.append(&[RecordData::new("a loom"), RecordData::new("a compiler")])?;
    /// for record in orders.records(0) {
    ///     let record = record?;
    ///     println!("{} {}", record.offset, record.value_text());
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// Each record owns its bytes: they are not copied, and keep their batch in memory, or their segment's file on disk,
    /// until they are dropped. Where every nanosecond counts, iterate over the batches of [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), as the last item.
    pub fn records(&self, from: impl Into<Offset>) -> Records {
        self.records_with(from, IsolationLevel::ReadUncommitted)
    }

    /// As [`Partition::records`], with records of aborted and undecided transactions left out for
    /// [`IsolationLevel::ReadCommitted`].
    pub fn records_with(&self, from: impl Into<Offset>, isolation: IsolationLevel) -> Records {
        Records::new(self.read_with(from, isolation))
    }

    /// The batches before `before`, newest first. Within a batch the records are in the order of offsets:
    /// [`Batch::into_reversed`](crate::records::Batch::into_reversed) reverses them. Damage on the way is an error, and
    /// so is a file that ends too early.
    pub fn read_backwards(&self, before: impl Into<Offset>) -> BackwardBatches {
        self.read_backwards_with(before, IsolationLevel::ReadUncommitted)
    }

    /// As [`Partition::read_backwards`], with records of aborted and undecided transactions left out for
    /// [`IsolationLevel::ReadCommitted`]: the walk begins before the last stable offset at the latest.
    ///
    /// ```
    /// # use streamlog::{RecordData, Streamlog, TopicConfig, clients::IsolationLevel};
    /// # let log = Streamlog::in_memory()?;
    /// # let orders = log.create_topic("orders", TopicConfig::default())?.partition(0)?;
    /// # orders.append(&[RecordData::new("a loom")])?;
    /// for batch in orders.read_backwards_with(orders.log_end_offset(), IsolationLevel::ReadCommitted) {
    ///     for record in batch?.into_reversed() {
    ///         println!("{} {}", record.offset, record.value_text());
    ///     }
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`read_backwards`](Self::read_backwards), as the last item.
    pub fn read_backwards_with(
        &self,
        before: impl Into<Offset>,
        isolation: IsolationLevel,
    ) -> BackwardBatches {
        BackwardBatches::new(Arc::clone(&self.log), isolation, before.into(), self.keep_open.clone())
    }

    /// The newest `count` records, oldest of them first; fewer where the partition has no more.
    ///
    /// # Errors
    ///
    /// `Corrupt` where one of them is damaged, or its file ends before it. Older ones are never taken for them: for the
    /// records before the damage, [read backwards](Self::read_backwards) past it.
    pub fn last(&self, count: usize) -> Result<Vec<OwnedRecord>> {
        self.last_with(count, IsolationLevel::ReadUncommitted)
    }

    /// As [`Partition::last`], of the records that a reader of `isolation` sees: for
    /// [`IsolationLevel::ReadCommitted`] without those of aborted and undecided transactions.
    ///
    /// # Errors
    ///
    /// Those of [`last`](Self::last).
    pub fn last_with(&self, count: usize, isolation: IsolationLevel) -> Result<Vec<OwnedRecord>> {
        let mut newest_first = Vec::new();
        for batch in self.read_backwards_with(Offset::MAX, isolation) {
            let mut records = batch?.into_reversed();
            planted!(last_takes_the_oldest_of_a_batch => records.reverse());
            newest_first.extend(records);
            if newest_first.len() >= count {
                break;
            }
        }
        newest_first.truncate(count);
        newest_first.reverse();
        Ok(newest_first)
    }

    /// The first record whose timestamp is `timestamp` or later; `None` when all are earlier.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a negative time. `Corrupt` where the record may lie in damage: a later one is never taken for
    /// the first. What lies after it can be searched by reading from the error's
    /// [`next_offset`](Error::next_offset).
    pub fn offset_for_timestamp(&self, timestamp: Timestamp) -> Result<Option<OffsetAndTimestamp>> {
        check_time(timestamp)?;
        by_time::offset_for_timestamp(&self.log, timestamp, IsolationLevel::ReadUncommitted)
    }

    /// The first record that carries the largest timestamp of the partition.
    ///
    /// # Errors
    ///
    /// `Corrupt` where a record with a larger one may lie in damage.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<OffsetAndTimestamp>> {
        by_time::offset_of_max_timestamp(&self.log)
    }
}

impl<'a> From<&'a OwnedRecord> for RecordData<'a> {
    /// The same key, value, headers and timestamp, null where they are null.
    fn from(record: &'a OwnedRecord) -> Self {
        let headers = record.headers.iter().map(|(name, value)| (&**name, value.as_deref()));
        RecordData::borrowed(record.key.as_deref(), record.value.as_deref(), headers, record.timestamp)
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Durability, Partition, RecordData, Streamlog, TopicConfig,
        config::Builder,
        sim::{Crash, SimEnv},
    };

    fn open(env: &SimEnv) -> (Streamlog, Partition) {
        let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
        let config = TopicConfig::default().partitions(2).durability(Durability::Written);
        let partition = log.topic_or_create("t", config).unwrap().partition(0).unwrap();
        (log, partition)
    }

    #[test]
    fn handles_are_equal_where_they_speak_of_one_partition_of_one_opening() {
        let env = SimEnv::new(1);
        let (log, partition) = open(&env);
        let topic = log.topic("t").unwrap();
        assert!(partition == partition.clone() && partition == topic.partition(0).unwrap());
        assert!(partition != topic.partition(1).unwrap());
        assert!(partition != open(&SimEnv::new(1)).1);
    }

    #[test]
    fn a_life_begins_with_the_first_append_after_a_death_and_with_nothing_else() {
        let env = SimEnv::new(1);
        let (log, partition) = open(&env);
        partition.append(&[RecordData::new("first")]).unwrap();
        assert_eq!(partition.incarnation_of(0), 0);
        log.close().unwrap();
        let (_log, partition) = open(&env);
        partition.append(&[RecordData::new("after a clean close")]).unwrap();
        partition.flush().unwrap();
        assert_eq!(partition.incarnation_of(1), 0);
        partition.append(&[RecordData::new("lost")]).unwrap();
        let (_log, partition) = open(&env.crash(Crash::Nothing, 1));
        assert_eq!((partition.log_end_offset().value(), partition.incarnation_of(1)), (2, 0));
        partition.append(&[RecordData::new("in its place")]).unwrap();
        assert_eq!((partition.incarnation_of(1), partition.incarnation_of(2)), (0, 1));
    }
}
