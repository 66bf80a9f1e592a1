//! Records for a topic, and where they went.
//!
//! A [`ProducerRecord`] borrows its key, value and headers, or owns them; the bytes are copied once, into the batch.

use crate::{
    partition::write::{append::Appended, encode::RecordData, payload::Payload},
    topic::Topic,
    types::{Offset, Timestamp, TopicPartition},
};
use std::borrow::Cow;

/// The topic of a record: its name, or a handle that was resolved before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By handle: once that topic is deleted the record is refused, even when another topic has its name.
    Topic(&'a Topic),
}

impl<'a> TopicRef<'a> {
    /// The topic's name.
    pub fn name(&self) -> &'a str {
        match self {
            TopicRef::Name(name) => name,
            TopicRef::Topic(topic) => topic.name(),
        }
    }
}

impl<'a> From<&'a str> for TopicRef<'a> {
    fn from(name: &'a str) -> Self {
        TopicRef::Name(name)
    }
}

impl<'a> From<&'a String> for TopicRef<'a> {
    fn from(name: &'a String) -> Self {
        TopicRef::Name(name)
    }
}

impl<'a> From<&'a Topic> for TopicRef<'a> {
    fn from(topic: &'a Topic) -> Self {
        TopicRef::Topic(topic)
    }
}

/// A record to be produced. Key, value and headers may be anything that becomes a [`Payload`]: borrowed, such as `&str`
/// and `&[u8]`, or owned, such as `String` and `Vec<u8>`.
///
/// ```
/// use streamlog::ProducerRecord;
/// let record = ProducerRecord::new("readings", "21.5").key("sensor-7").header("unit", "celsius");
/// let gone = ProducerRecord::tombstone("readings", "sensor-8");
/// let neither_key_nor_value = ProducerRecord::null("readings").header("beat", "17");
/// // Records that own their bytes, so that a closure can return them.
/// let many = (0..10).map(|i| ProducerRecord::new("readings", format!("{i}.5")).key(format!("sensor-{i}")));
/// # let _ = (record, gone, many.count(), neither_key_nor_value);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerRecord<'a> {
    pub(super) topic: TopicRef<'a>,
    pub(super) partition: Option<u32>,
    pub(super) sequence: Option<u64>,
    pub(super) data: RecordData<'a>,
}

impl<'a> ProducerRecord<'a> {
    /// A record with this value and no key.
    #[inline]
    pub fn new(topic: impl Into<TopicRef<'a>>, value: impl Into<Payload<'a>>) -> Self {
        ProducerRecord { topic: topic.into(), partition: None, sequence: None, data: RecordData::new(value) }
    }

    /// A record whose key and value are null.
    pub fn null(topic: impl Into<TopicRef<'a>>) -> Self {
        ProducerRecord { topic: topic.into(), partition: None, sequence: None, data: RecordData::null() }
    }

    /// A record that deletes `key`: its value is null.
    pub fn tombstone(topic: impl Into<TopicRef<'a>>, key: impl Into<Payload<'a>>) -> Self {
        ProducerRecord {
            topic: topic.into(),
            partition: None,
            sequence: None,
            data: RecordData::tombstone(key),
        }
    }

    /// A record with the key, value, headers and timestamp of another one, for this topic: to forward a record, or to
    /// keep it as a dead letter. Consumed records are accepted, and all others that become a [`RecordData`]. The
    /// partition is chosen anew.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamlog::{ProducerRecord, Streamlog, TopicConfig};
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("jobs", TopicConfig::default())?;
    /// # log.create_topic("jobs.dead", TopicConfig::default())?;
    /// # let producer = log.producer()?;
    /// # producer.send(ProducerRecord::new("jobs", "a job"))?;
    /// # let mut consumer = log.consumer("workers")?;
    /// # consumer.subscribe(["jobs"])?;
    /// for record in &consumer.poll(Duration::from_millis(100))? {
    ///     producer.send(ProducerRecord::copy_of("jobs.dead", &record).header("reason", "not a job"))?;
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    pub fn copy_of(topic: impl Into<TopicRef<'a>>, record: impl Into<RecordData<'a>>) -> Self {
        let mut data = record.into();
        planted!(a_copy_is_made_now => data.timestamp = None);
        ProducerRecord { topic: topic.into(), partition: None, sequence: None, data }
    }

    /// Sets the key, which also decides the partition. An empty key is a key.
    #[inline]
    #[must_use]
    pub fn key(mut self, key: impl Into<Payload<'a>>) -> Self {
        self.data = self.data.key(key);
        self
    }

    /// Adds a header. Names may repeat; their order is kept.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Payload<'a>>) -> Self {
        self.data = self.data.header(name, value);
        self
    }

    /// Adds a header whose value is null.
    #[must_use]
    pub fn null_header(mut self, name: impl Into<Cow<'a, str>>) -> Self {
        self.data = self.data.null_header(name);
        self
    }

    /// Sets the timestamp. A record without one gets the time of the call.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.data = self.data.timestamp(timestamp);
        self
    }

    /// Sets the partition; the partitioner is not asked then.
    #[inline]
    #[must_use]
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the number that the record has at its source, for a [named](crate::clients::ProducerBuilder::named) producer: a line's
    /// number, a message's id. Within a partition the numbers rise; there may be gaps. A record whose number is not above
    /// the last one of its partition was sent before: it is not written again, and its
    /// [`RecordMetadata`] says `duplicate`. A producer without a name refuses it.
    #[inline]
    #[must_use]
    pub fn sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// Whether it has a number of its source.
    pub(crate) fn has_sequence(&self) -> bool {
        self.sequence.is_some()
    }

    /// Whether the partitioner may choose any partition for it.
    #[inline]
    pub(super) fn is_placed_freely(&self) -> bool {
        planted!(a_key_moves_those_without => return self.partition.is_none());
        self.partition.is_none() && self.data.key.is_none()
    }

    /// The name of its topic.
    pub fn topic(&self) -> &'a str {
        self.topic.name()
    }
}

/// Where a record went. It exists only for records that were acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RecordMetadata {
    /// Its offset. Of a duplicate that a named producer sent long ago it is not known, and
    /// `Offset::MAX`, which no record has: [`has_offset`](Self::has_offset) tells.
    pub offset: Offset,
    /// Its timestamp as readers see it: the record's own, or the time of the append where the topic says so.
    pub timestamp: Timestamp,
    /// Whether the record was in the log already: it was not written again, and this is where it lies.
    pub duplicate: bool,
    pub(super) topic_partition: TopicPartition,
}

/// The offset of a duplicate whose place nobody remembers: no record has it.
pub(super) const NOWHERE: Offset = Offset::MAX;

impl RecordMetadata {
    /// Where the record at `index` of a batch went.
    pub(super) fn of(
        appended: &Appended,
        index: u32,
        timestamp: Timestamp,
        partition: &TopicPartition,
    ) -> RecordMetadata {
        let mut offset = appended.base_offset + u64::from(index);
        planted!(a_delivery_is_its_batch => offset = appended.base_offset);
        let mut as_read = appended.append_time.unwrap_or(timestamp);
        planted!(the_append_time_is_not_returned => as_read = timestamp);
        RecordMetadata {
            offset,
            timestamp: as_read,
            duplicate: appended.duplicate,
            topic_partition: partition.clone(),
        }
    }

    /// Of a record that was sent before, and lies at `offset` if that is still known.
    pub(super) fn sent_before(
        offset: Option<Offset>,
        timestamp: Timestamp,
        partition: &TopicPartition,
    ) -> Self {
        let (offset, topic_partition) = (offset.unwrap_or(NOWHERE), partition.clone());
        RecordMetadata { offset, timestamp, duplicate: true, topic_partition }
    }

    /// Whether its offset is known: always, but for a duplicate that is not among its producer's last five batches, or lies
    /// inside one whose numbers have gaps.
    pub fn has_offset(&self) -> bool {
        self.offset != NOWHERE
    }

    /// The topic's name and the partition's number.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic_partition.topic
    }

    /// The partition's number.
    pub fn partition(&self) -> u32 {
        self.topic_partition.partition
    }
}
