//! What a poll returns: records of several partitions, in the order of offsets within each.
//!
//! A poll holds batches, each decoded and checked once, and which of their records it covers. Iterating allocates
//! nothing and cannot fail; a record borrows from its batch, and bytes that must outlive the poll are shared, not
//! copied.

use super::reset::OffsetReset;
use crate::{
    codec::record::{
        Cursor, Headers, Record, ValidIter, ValidRecords,
        text::{str_of, text_of},
    },
    partition::{log::Log, write::encode::RecordData},
    types::{Offset, Timestamp, TimestampType, TopicId, TopicPartition},
};
use bytes::Bytes;
use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

/// Records of one batch, or of a part of it.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) log: Arc<Log>,
    pub(super) records: ValidRecords,
    /// Before the first of them.
    pub(super) start: Cursor,
    pub(super) count: usize,
    /// The position after them.
    pub(super) next_offset: Offset,
}

impl Chunk {
    fn name(&self) -> &TopicPartition {
        &self.log.identity.name
    }
}

/// The records of one poll, and the resets that it made.
///
/// Iterating over `&records` allocates nothing: each record borrows from its batch. Iterating over `records` itself
/// returns records that own their bytes, which they share with the batch.
///
/// A reset lies between records of its partition: those before its `from` were read before it, those at its `to` and
/// after it were read after it.
///
/// ```
/// # use std::time::Duration;
/// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
/// # let log = Streamlog::in_memory()?;
/// # log.create_topic("readings", TopicConfig::default())?;
/// # log.producer()?.send(ProducerRecord::new("readings", "21.5"))?;
/// # let mut consumer = log.consumer("display")?;
/// # consumer.subscribe(["readings"])?;
/// for record in &consumer.poll(Duration::from_millis(100))? {
///     println!("{}-{} @{}: {}", record.topic(), record.partition(), record.offset, record.value_text());
/// }
/// # Ok::<(), streamlog::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ConsumerRecords {
    pub(super) chunks: Vec<Chunk>,
    pub(super) count: usize,
    pub(super) resets: Vec<OffsetReset>,
    /// The new positions of partitions that moved without returning a record.
    pub(super) passed: Vec<(TopicPartition, Offset)>,
}

impl fmt::Debug for ConsumerRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions: Vec<String> = self.partitions().map(|partition| partition.to_string()).collect();
        f.debug_struct("ConsumerRecords")
            .field("count", &self.count)
            .field("partitions", &partitions)
            .field("resets", &self.resets)
            .finish()
    }
}

impl ConsumerRecords {
    /// Whether there are no records. There may still be [`resets`](Self::resets).
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The partitions that have records here.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        // A poll visits a partition once, so its chunks lie together.
        let changes = move |i: usize| {
            let before = i.checked_sub(1).and_then(|i| self.chunks.get(i));
            before.map(Chunk::name) != self.chunks.get(i).map(Chunk::name)
        };
        self.chunks.iter().enumerate().filter(move |(i, _)| changes(*i)).map(|(_, chunk)| chunk.name())
    }

    /// The records of one partition, in the order of offsets.
    pub fn records<'a>(
        &'a self,
        partition: &'a TopicPartition,
    ) -> impl Iterator<Item = ConsumerRecord<'a>> + 'a {
        self.chunks
            .iter()
            .filter(move |chunk| chunk.name() == partition)
            .flat_map(|chunk| RecordIter { chunks: std::slice::from_ref(chunk), current: None })
    }

    /// All records: partition by partition, in the order of offsets within each.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { chunks: &self.chunks, current: None }
    }

    /// The offset at which reading continues after these records, for each partition whose position this poll moved. A
    /// program that keeps its positions with its results stores these, and [`seek`](super::Consumer::seek)s to them
    /// after a restart. [`commit_offsets`](super::Consumer::commit_offsets) accepts the map as it is.
    ///
    /// It may lie beyond the last record, past records that this consumer does not see (Kafka's `nextOffsets`, KIP-1094).
    pub fn next_offsets(&self) -> BTreeMap<TopicPartition, Offset> {
        let after = self.chunks.iter().map(|chunk| (chunk.name().clone(), chunk.next_offset));
        self.passed.iter().cloned().chain(after).collect()
    }

    /// The resets since the last poll that returned, in order: where this consumer did not continue at the committed
    /// offset, or at the offset that it was moved to. Almost always empty; worth a line in a log file when it is not.
    pub fn resets(&self) -> &[OffsetReset] {
        &self.resets
    }
}

impl<'a> IntoIterator for &'a ConsumerRecords {
    type Item = ConsumerRecord<'a>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

impl IntoIterator for ConsumerRecords {
    type Item = OwnedConsumerRecord;
    type IntoIter = OwnedRecordIter;

    /// The records, in the same order as over `&records`. Look at the [`resets`](Self::resets) first: they go with the
    /// poll.
    fn into_iter(self) -> OwnedRecordIter {
        OwnedRecordIter { chunks: self.chunks.into_iter(), current: None, left: self.count }
    }
}

/// An iterator over the records of a poll that owns them.
#[derive(Clone)]
pub struct OwnedRecordIter {
    chunks: std::vec::IntoIter<Chunk>,
    current: Option<Chunk>,
    left: usize,
}

impl fmt::Debug for OwnedRecordIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRecordIter").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Iterator for OwnedRecordIter {
    type Item = OwnedConsumerRecord;

    fn next(&mut self) -> Option<OwnedConsumerRecord> {
        loop {
            if let Some(chunk) = self.current.as_mut().filter(|chunk| chunk.count > 0) {
                let mut iter = chunk.records.iter_from(chunk.start);
                if let Some(record) = iter.next() {
                    let next_offset = iter.next_offset(&record, chunk.records.in_order());
                    let start = iter.cursor();
                    let owned = ConsumerRecord::new(chunk, record, next_offset).to_owned();
                    chunk.start = start;
                    chunk.count -= 1;
                    self.left = self.left.saturating_sub(1);
                    return Some(owned);
                }
            }
            self.current = Some(self.chunks.next()?);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for OwnedRecordIter {}

/// An iterator over the records of a poll.
#[derive(Clone)]
pub struct RecordIter<'a> {
    chunks: &'a [Chunk],
    current: Option<(&'a Chunk, ValidIter<'a>, usize)>,
}

impl fmt::Debug for RecordIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordIter").field("chunks", &self.chunks.len()).finish_non_exhaustive()
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = ConsumerRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<ConsumerRecord<'a>> {
        loop {
            if let Some((chunk, iter, left)) = &mut self.current
                && *left > 0
                && let Some(record) = iter.next()
            {
                *left -= 1;
                let next_offset = iter.next_offset(&record, chunk.records.in_order());
                return Some(ConsumerRecord::new(chunk, record, next_offset));
            }
            let (chunk, rest) = self.chunks.split_first()?;
            self.chunks = rest;
            self.current = Some((chunk, chunk.records.iter_from(chunk.start), chunk.count));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let current = self.current.as_ref().map_or(0, |(_, _, left)| *left);
        let count = current + self.chunks.iter().map(|chunk| chunk.count).sum::<usize>();
        (count, Some(count))
    }
}

impl ExactSizeIterator for RecordIter<'_> {}

/// A record, borrowed from the poll that returned it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ConsumerRecord<'a> {
    chunk: &'a Chunk,
    /// Its offset in its partition.
    pub offset: Offset,
    /// The offset after it: the one to commit once the record is done. In a batch of another library whose offsets do
    /// not rise, this is the batch's first offset until its last record, so that no record is skipped.
    pub next_offset: Offset,
    /// Its timestamp, by the clock that `timestamp_type` names.
    pub timestamp: Timestamp,
    /// Whether the producer or the log gave it its timestamp.
    pub timestamp_type: TimestampType,
    /// The key; `None` when it is null, which is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// The value; `None` in a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in the order they were written.
    pub headers: Headers<'a>,
}

impl<'a> ConsumerRecord<'a> {
    #[inline]
    fn new(chunk: &'a Chunk, record: Record<'a>, next_offset: Offset) -> Self {
        ConsumerRecord {
            chunk,
            offset: record.offset,
            next_offset,
            timestamp: record.timestamp,
            timestamp_type: record.timestamp_type,
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }

    /// The topic's name.
    pub fn topic(&self) -> &'a str {
        &self.chunk.name().topic
    }

    /// The partition's number.
    pub fn partition(&self) -> u32 {
        self.chunk.name().partition
    }

    /// The topic's name and the partition's number.
    pub fn topic_partition(&self) -> &'a TopicPartition {
        self.chunk.name()
    }

    /// The key as text; `None` when it is null or not UTF-8.
    pub fn key_str(&self) -> Option<&'a str> {
        str_of(self.key)
    }

    /// The value as text; `None` when it is null or not UTF-8.
    pub fn value_str(&self) -> Option<&'a str> {
        str_of(self.value)
    }

    /// The key as text for people: bytes that are not UTF-8 are replaced, and null is empty.
    pub fn key_text(&self) -> Cow<'a, str> {
        text_of(self.key)
    }

    /// The value as text for people: bytes that are not UTF-8 are replaced, and null is empty.
    pub fn value_text(&self) -> Cow<'a, str> {
        text_of(self.value)
    }

    /// The key as bytes that outlive the poll. They are not copied: they keep their batch in memory, or their segment's
    /// file on disk, until they are dropped.
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.key.map(|key| self.chunk.records.slice_of(key))
    }

    /// The value as bytes that outlive the poll. They are not copied: they keep their batch in memory, or their
    /// segment's file on disk, until they are dropped.
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.value.map(|value| self.chunk.records.slice_of(value))
    }

    /// The record with bytes that outlive the poll, shared as by [`value_bytes`](Self::value_bytes).
    pub fn to_owned(&self) -> OwnedConsumerRecord {
        let share = |bytes: &[u8]| self.chunk.records.slice_of(bytes);
        let headers = self.headers.into_iter().map(|(name, value)| (name.to_string(), value.map(share)));
        let mut headers: Vec<_> = headers.collect();
        planted!(an_owned_record_has_no_headers => headers.clear());
        OwnedConsumerRecord {
            topic_partition: self.chunk.name().clone(),
            topic_id: self.chunk.log.identity.topic_id,
            offset: self.offset,
            next_offset: self.next_offset,
            timestamp: self.timestamp,
            timestamp_type: self.timestamp_type,
            key: self.key_bytes(),
            value: self.value_bytes(),
            headers,
        }
    }

    pub(super) fn topic_id(&self) -> TopicId {
        self.chunk.log.identity.topic_id
    }
}

impl<'a> From<ConsumerRecord<'a>> for RecordData<'a> {
    /// The same key, value, headers and timestamp; null stays null.
    fn from(record: ConsumerRecord<'a>) -> Self {
        RecordData::borrowed(record.key, record.value, record.headers, record.timestamp)
    }
}

impl<'a> From<&ConsumerRecord<'a>> for RecordData<'a> {
    /// The same key, value, headers and timestamp; null stays null.
    fn from(record: &ConsumerRecord<'a>) -> Self {
        RecordData::from(*record)
    }
}

/// Records are equal when they have the same topic, partition, offset and content.
impl PartialEq for ConsumerRecord<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.topic_id(), self.topic_partition()) == (other.topic_id(), other.topic_partition())
            && (self.offset, self.next_offset) == (other.offset, other.next_offset)
            && (self.timestamp, self.timestamp_type) == (other.timestamp, other.timestamp_type)
            && (self.key, self.value) == (other.key, other.value)
            && self.headers == other.headers
    }
}

impl Eq for ConsumerRecord<'_> {}

impl fmt::Debug for ConsumerRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerRecord")
            .field("topic_partition", &format_args!("{}", self.chunk.name()))
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("timestamp_type", &self.timestamp_type)
            .field("key", &self.key)
            .field("value", &self.value)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// A record that outlives the poll which returned it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OwnedConsumerRecord {
    /// The topic's name and the partition's number.
    pub topic_partition: TopicPartition,
    pub(super) topic_id: TopicId,
    /// Its offset in its partition.
    pub offset: Offset,
    /// The offset after it: the one to commit once the record is done.
    pub next_offset: Offset,
    /// Its timestamp, by the clock that `timestamp_type` names.
    pub timestamp: Timestamp,
    /// Whether the producer or the log gave it its timestamp.
    pub timestamp_type: TimestampType,
    /// The key; `None` for null.
    pub key: Option<Bytes>,
    /// The value; `None` for null.
    pub value: Option<Bytes>,
    /// The headers, in the order they were written.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl OwnedConsumerRecord {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic_partition.topic
    }

    /// The partition's number.
    pub fn partition(&self) -> u32 {
        self.topic_partition.partition
    }

    /// The key as text; `None` when it is null or not UTF-8.
    pub fn key_str(&self) -> Option<&str> {
        str_of(self.key.as_deref())
    }

    /// The value as text; `None` when it is null or not UTF-8.
    pub fn value_str(&self) -> Option<&str> {
        str_of(self.value.as_deref())
    }

    /// The key as text for people: bytes that are not UTF-8 are replaced, and null is empty.
    pub fn key_text(&self) -> Cow<'_, str> {
        text_of(self.key.as_deref())
    }

    /// The value as text for people: bytes that are not UTF-8 are replaced, and null is empty.
    pub fn value_text(&self) -> Cow<'_, str> {
        text_of(self.value.as_deref())
    }
}

impl<'a> From<&'a OwnedConsumerRecord> for RecordData<'a> {
    /// The same key, value, headers and timestamp; null stays null.
    fn from(record: &'a OwnedConsumerRecord) -> Self {
        let headers = record.headers.iter().map(|(name, value)| (&**name, value.as_deref()));
        RecordData::borrowed(record.key.as_deref(), record.value.as_deref(), headers, record.timestamp)
    }
}
