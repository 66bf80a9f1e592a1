//! A partition as its users see it: append, read, find.

use crate::{
    codec::{
        batch::{BatchHeader, RecordBatch},
        index::AbortedTransaction,
        record::{Record, ValidIter, ValidRecords},
    },
    error::{Error, Result},
    partition::{
        keeper::Keeper,
        log::Log,
        read::{
            by_time::{OffsetAndTimestamp, check_time},
            reader::{LogReader, Step},
        },
        write::{
            checkpoint::checkpoint,
            encode::{RecordData, recycle},
        },
    },
    types::{Compression, IsolationLevel, Offset, Timestamp, TopicPartition},
};
use bytes::Bytes;
use std::{collections::VecDeque, fmt, ops::Range, sync::Arc};

/// Why users do not write `__consumer_offsets`: what reads it trusts it.
pub(crate) const WRITTEN_BY_NOBODY_ELSE: &str = "internal topics are written by the library alone";

/// One ordered log of a topic. A cheap handle; clones speak of the same partition. The [`Streamlog`](crate::Streamlog) that
/// it comes from stays open as long as it is held, and so do those that its iterators read.
///
/// Producers and consumers are the usual way in and out. A `Partition` is the floor they stand on: it appends batches,
/// reads them from any offset in both directions, and finds offsets by time.
#[derive(Clone)]
pub struct Partition {
    log: Arc<Log>,
    keeper: Keeper,
}

/// Handles are equal when they speak of the same partition of the same opened log.
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
    pub(crate) fn new(log: Arc<Log>, keeper: Keeper) -> Self {
        Partition { log, keeper }
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

    /// Which life of the partition the record at `offset` belongs to. A new one begins with the first append after a
    /// crash, so that an offset whose record was lost is told from the same offset with another record.
    ///
    /// 0 in a forked child, which cannot ask.
    pub fn incarnation_of(&self, offset: impl Into<Offset>) -> u32 {
        if self.log.is_of_this_process() { self.log.incarnation_of(offset.into()).0 } else { 0 }
    }

    /// The bytes of all its record batches.
    pub fn size(&self) -> u64 {
        self.log.size()
    }

    /// How many segments it has; 0 in a forked child, which cannot ask.
    pub fn segment_count(&self) -> usize {
        if self.log.is_of_this_process() { self.log.segment_count() } else { 0 }
    }

    /// Appends records as one batch: all of them are in the log, at consecutive offsets, or none. No records are no
    /// batch: they only ask whether the partition takes any.
    ///
    /// Returns their offsets once they are as durable as the topic's configuration says: in a `Flushed` topic they
    /// survive a power cut.
    ///
    /// # Errors
    ///
    /// `InvalidTopic` for internal topics, `RecordTooLarge` when the batch exceeds `max.message.bytes`, `InvalidTimestamp`
    /// for one record and `InvalidRecord`, with the index, for one of several, `DiskFull`, `Io`, `Corrupt`, `ReadOnly`,
    /// `Closed`: nothing was appended. `Poisoned` when a flush failed, now or earlier: the
    /// partition takes no more appends, nobody reads the batch, and whether it is there after the next opening is
    /// unknown.
    ///
    /// Where `flush.messages` asks a `Written` topic for a flush, any error may come from it: the batch is then in the log
    /// and readers see it, but it is not known to be durable.
    pub fn append(&self, records: &[RecordData<'_>]) -> Result<Range<Offset>> {
        if self.log.identity.internal {
            let name = self.log.identity.name.topic.to_string();
            return Err(Error::InvalidTopic { name, reason: WRITTEN_BY_NOBODY_ELSE.to_string() });
        }
        self.append_to_any(records)
    }

    /// As [`Partition::append`], whoever the topic belongs to.
    pub(crate) fn append_to_any(&self, records: &[RecordData<'_>]) -> Result<Range<Offset>> {
        self.log.check_process()?;
        if records.is_empty() {
            self.log.check_open()?;
            let end = self.log_end_offset();
            return self.log.refusal().map_or(Ok(end..end), Err);
        }
        self.log.data_dir.do_chores();
        let env = &self.log.data_dir.env;
        let mut batch = self.log.encode(records, Compression::None, || env.now())?;
        let appended = self.log.append(&mut batch)?;
        recycle(batch);
        self.log.acknowledge(appended.next_offset, appended.must_flush)?;
        Ok(appended.base_offset..appended.next_offset)
    }

    /// Makes everything appended so far durable, and shortens what an opening after a crash would have to read.
    ///
    /// # Errors
    ///
    /// What the operating system said; the partition is then poisoned.
    pub fn flush(&self) -> Result<()> {
        self.log.check_process()?;
        checkpoint(&self.log)
    }

    /// The batches from `from` on, up to where readers stop at the time of each step. The iteration ends there; a later
    /// one can go on. For records one by one there is [`records`](Self::records).
    pub fn read(&self, from: impl Into<Offset>) -> Batches {
        self.read_with(from, IsolationLevel::ReadUncommitted)
    }

    /// As [`Partition::read`], with records of aborted and undecided transactions left out for
    /// [`IsolationLevel::ReadCommitted`].
    pub fn read_with(&self, from: impl Into<Offset>, isolation: IsolationLevel) -> Batches {
        let reader = LogReader::new(Arc::clone(&self.log), isolation, from.into());
        let _keeper = self.keeper.clone();
        let step = Step::default();
        Batches { reader, step, fetched: VecDeque::new(), aborted: Vec::new(), failed: false, _keeper }
    }

    /// The batches before `before`, newest first. Within a batch the records are in the order of offsets:
    /// [`Batch::into_reversed`] turns them. Damage on the way, and a file that ends too early, is an error.
    pub fn read_backwards(&self, before: impl Into<Offset>) -> BackwardBatches {
        BackwardBatches {
            log: Arc::clone(&self.log),
            before: before.into(),
            held: Vec::new(),
            failed: false,
            _keeper: self.keeper.clone(),
        }
    }

    /// The newest `count` records, oldest of them first; fewer where the partition has no more.
    ///
    /// # Errors
    ///
    /// `Corrupt` where one of them is damaged, or its file ends before it. Older ones are never taken for them: to have
    /// what lies before the damage, [read backwards](Self::read_backwards) past it.
    pub fn last(&self, count: usize) -> Result<Vec<OwnedRecord>> {
        let mut newest_first = Vec::new();
        for batch in self.read_backwards(Offset::MAX) {
            let mut records = batch?.into_reversed();
            if planted!(last_takes_the_oldest_of_a_batch) {
                records.reverse();
            }
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
        self.log.offset_for_timestamp(timestamp, IsolationLevel::ReadUncommitted)
    }

    /// The first record that carries the largest timestamp of the partition.
    ///
    /// # Errors
    ///
    /// `Corrupt` where a record with a larger one may lie in damage.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<OffsetAndTimestamp>> {
        self.log.offset_of_max_timestamp()
    }
}

/// A record that owns its bytes (they are shared with its batch, not copied).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key; `None` for null.
    pub key: Option<Bytes>,
    /// Its value; `None` for null.
    pub value: Option<Bytes>,
    /// Its headers in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// The records of one batch that a reader may see. Over `&batch` nothing is allocated per record; over `batch` itself
/// the records own their bytes.
#[derive(Clone)]
pub struct Batch {
    header: BatchHeader,
    pub(super) records: ValidRecords,
    pub(super) from: Offset,
    pub(super) to: Offset,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("offsets", &format_args!("{}..{}", self.base_offset(), self.next_offset()))
            .field("records", &self.iter().count())
            .field("compression", &self.compression())
            .finish_non_exhaustive()
    }
}

impl Batch {
    /// Decodes a batch; of its records those in `from..to` are shown.
    pub(crate) fn decode(batch: &RecordBatch, log: &Log, from: Offset, to: Offset) -> Result<Self> {
        let from = if planted!(a_read_begins_with_its_batch) { Offset::ZERO } else { from };
        Ok(Batch { header: *batch.header(), records: log.decode(batch)?, from, to })
    }

    /// The offset of the batch's first record when it was appended.
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// The offset behind its last record.
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// The leader epoch it carries, as Kafka wrote it; 0 in logs of our own.
    pub fn leader_epoch(&self) -> i32 {
        self.header.leader_epoch
    }

    /// How its records are compressed.
    pub fn compression(&self) -> Compression {
        self.header.compression()
    }

    /// Its records.
    pub fn iter(&self) -> RecordsOf<'_> {
        RecordsOf { records: self.records.iter(), from: self.from, to: self.to }
    }

    /// A part of one of its records as bytes that outlive the batch; nothing is copied.
    pub fn slice_of(&self, part: &[u8]) -> Bytes {
        self.records.slice_of(part)
    }

    /// Its records with bytes of their own, newest first.
    pub fn into_reversed(self) -> Vec<OwnedRecord> {
        let mut records: Vec<OwnedRecord> = self.iter().map(|record| self.own(record)).collect();
        records.reverse();
        records
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = Record<'a>;
    type IntoIter = RecordsOf<'a>;
    fn into_iter(self) -> RecordsOf<'a> {
        self.iter()
    }
}

/// An iterator over the records of a [`Batch`].
#[derive(Clone)]
pub struct RecordsOf<'a> {
    records: ValidIter<'a>,
    from: Offset,
    to: Offset,
}

impl fmt::Debug for RecordsOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordsOf").field("left", &self.clone().count()).finish()
    }
}

impl<'a> Iterator for RecordsOf<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        // Offsets may not rise in what others wrote: one that is beyond the end says nothing of those behind it.
        loop {
            let record = self.records.next()?;
            if record.offset >= self.from && record.offset < self.to {
                return Some(record);
            }
        }
    }
}

/// An iterator over the batches of a partition, from [`Partition::read`].
///
/// After an error it ends. What lies after damage is reached by reading from the error's
/// [`next_offset`](Error::next_offset).
#[derive(Clone)]
pub struct Batches {
    reader: LogReader,
    step: Step,
    fetched: VecDeque<(RecordBatch, Offset)>,
    aborted: Vec<AbortedTransaction>,
    failed: bool,
    _keeper: Keeper,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.fetched.front().map(|(batch, _)| batch.header().base_offset);
        f.debug_struct("Batches")
            .field("partition", &format_args!("{}", self.reader.log().identity.name))
            .field("next_offset", &held.unwrap_or_else(|| self.reader.next_offset()))
            .finish_non_exhaustive()
    }
}

impl Batches {
    fn advance(&mut self) -> Result<Option<Batch>> {
        loop {
            while let Some((batch, from)) = self.fetched.pop_front() {
                if !shows_records(batch.header(), &self.aborted) {
                    continue;
                }
                return Batch::decode(&batch, self.reader.log(), from, Offset::MAX).map(Some);
            }
            let from = self.reader.next_offset();
            let fetched = self.reader.fetch(self.step.take())?;
            if fetched.batches.is_empty() {
                return Ok(None);
            }
            self.aborted = fetched.aborted;
            self.fetched.extend(fetched.batches.into_iter().map(|batch| (batch, from)));
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.advance();
        self.failed = batch.is_err();
        batch.transpose()
    }
}

/// An iterator over the batches of a partition, newest first, from [`Partition::read_backwards`].
///
/// After an error it ends. What lies before damage is reached by reading backwards from
/// [`before`](BackwardBatches::before).
pub struct BackwardBatches {
    log: Arc<Log>,
    before: Offset,
    held: Vec<RecordBatch>,
    failed: bool,
    _keeper: Keeper,
}

impl fmt::Debug for BackwardBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackwardBatches")
            .field("partition", &format_args!("{}", self.log.identity.name))
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}

impl BackwardBatches {
    /// The offset before which the next batch lies; after damage, the offset where that begins.
    pub fn before(&self) -> Offset {
        self.before
    }

    fn step(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.held.pop() {
                let to = self.before;
                self.before = batch.header().base_offset;
                if !shows_records(batch.header(), &[]) {
                    continue;
                }
                return Batch::decode(&batch, &self.log, self.log.offsets().log_start(), to).map(Some);
            }
            let found = self.log.batches_before(self.before, IsolationLevel::ReadUncommitted);
            self.held = found.inspect_err(|error| {
                self.before = self.log.whole_up_to(error).map_or(self.before, |whole| whole.min(self.before));
            })?;
            if self.held.is_empty() {
                return Ok(None);
            }
        }
    }
}

impl Iterator for BackwardBatches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

/// Whether a batch has records for a reader who must not see those of `aborted` transactions (KIP-98). Control batches
/// are shown to nobody.
pub(crate) fn shows_records(header: &BatchHeader, aborted: &[AbortedTransaction]) -> bool {
    let is_aborted = || {
        header.is_transactional()
            && aborted.iter().any(|t| {
                t.producer_id == header.producer_id
                    && t.first_offset <= header.last_offset()
                    && header.last_offset() < t.last_offset
                    && !planted!(show_what_was_aborted)
            })
    };
    let is_control = header.is_control() && !planted!(show_what_controls);
    !is_control && header.record_count > 0 && !is_aborted()
}

#[cfg(test)]
mod tests {
    use crate::{Streamlog, TopicConfig, partition::handle::*};

    #[test]
    fn one_record_costs_a_small_step_and_all_of_them_large_ones() {
        let log = Streamlog::in_memory().unwrap();
        let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        let (large, small) = (RecordData::new(&[7; 40_000]), RecordData::new(&[7; 1000]));
        // Each takes a little more than its value: 4 MiB of them.
        for _ in 0..4000 {
            partition.append(std::slice::from_ref(&small)).unwrap();
        }
        partition.append(std::slice::from_ref(&large)).unwrap();
        let held = |batches: &Batches| -> u64 {
            batches.fetched.iter().map(|(batch, _)| batch.header().size()).sum()
        };
        for from in [0, 1, 2500] {
            let mut batches = partition.read(from);
            assert_eq!(batches.next().unwrap().unwrap().base_offset(), from);
            assert!(held(&batches) < Step::FIRST, "{} bytes ahead of the first batch", held(&batches));
        }
        let mut batches = partition.read(0);
        let (mut steps, mut largest) = (0, 0);
        while let Some(batch) = batches.next() {
            let ended = batches.fetched.is_empty();
            steps += usize::from(ended);
            largest = largest.max(held(&batches) + batch.unwrap().header.size());
        }
        assert!(steps < 12 && largest > Step::LARGEST / 2, "{steps} steps, the largest of {largest} bytes");
        // One that is larger than its step comes alone.
        let mut last = partition.read(4000);
        assert_eq!(last.next().unwrap().unwrap().iter().count(), 1);
        assert!(last.next().is_none());
    }
}
