//! Records that were enqueued and then given up, kept until the program takes them back.
//!
//! Always true: the records of one partition lie here in the order in which they were enqueued; their batches take at
//! most as many bytes as the producer's buffer, in addition to it. If there are more, the oldest are forgotten, since
//! their failure has been reported and they were not taken. They are counted, and every later failure says how many.

use super::{
    body::Body,
    record::{ProducerRecord, TopicRef},
};
use crate::{
    codec::{
        batch::RecordBatch,
        builder::{SealedBatch, Stamp},
        compress::MAX_DECOMPRESSED,
        named::{NamedSequences, SEQUENCE},
        record::ValidRecords,
    },
    env::{
        sync::{Mutex, MutexGuard},
        trace::event,
    },
    error::Error,
    partition::write::encode::RecordData,
    types::{Offset, Timestamp, TopicPartition},
};
use bytes::Bytes;
use std::collections::VecDeque;

/// A record that was enqueued and could not be delivered, from
/// [`Producer::take_undelivered`](super::Producer::take_undelivered).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UndeliveredRecord {
    /// The partition that it was enqueued for.
    pub topic_partition: TopicPartition,
    /// Its timestamp: the one it was given, or the time at which it was enqueued.
    pub timestamp: Timestamp,
    /// Its key; `None` for null.
    pub key: Option<Bytes>,
    /// Its value; `None` for null.
    pub value: Option<Bytes>,
    /// Its headers, in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// The number that it has at its source, where its producer has a name.
    pub sequence: Option<u64>,
    /// Whether it may be in the log all the same: it was written and could not be flushed. Readers may see it after a
    /// later flush, or after the next opening.
    pub may_be_in_log: bool,
}

/// See the head of the file.
pub(super) struct Undelivered {
    kept: Mutex<Kept>,
    /// In bytes.
    limit: usize,
}

#[derive(Default)]
struct Kept {
    batches: VecDeque<Lost>,
    bytes: usize,
    /// How many records were given up and are not kept.
    forgotten: u64,
    /// The first failure since the last flush.
    failure: Option<Error>,
}

/// A batch that was given up.
struct Lost {
    topic_partition: TopicPartition,
    body: Body,
    may_be_in_log: bool,
}

impl UndeliveredRecord {
    /// The record, to be produced again: to the same partition, with the same timestamp.
    pub fn to_record(&self) -> ProducerRecord<'_> {
        let TopicPartition { topic, partition } = &self.topic_partition;
        let headers = self.headers.iter().filter(|(name, _)| self.sequence.is_none() || name != SEQUENCE);
        let headers = headers.map(|(name, value)| (&**name, value.as_deref()));
        let (key, value) = (self.key.as_deref(), self.value.as_deref());
        let data = RecordData::borrowed(key, value, headers, self.timestamp);
        let mut partition = Some(*partition);
        planted!(what_came_back_goes_anywhere => partition = None);
        ProducerRecord { topic: TopicRef::Name(topic), partition, sequence: self.sequence, data }
    }
}

impl Undelivered {
    pub(super) fn new(limit: usize) -> Self {
        Undelivered { kept: Mutex::default(), limit }
    }

    /// Begins to add batches.
    pub(super) fn open(&self) -> Taking<'_> {
        Taking { kept: self.kept.lock(), limit: self.limit }
    }

    /// The first failure since the last look.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.kept.lock().failure.take()
    }

    /// How many records were given up and are not kept.
    pub(super) fn forgotten(&self) -> u64 {
        self.kept.lock().forgotten
    }

    /// Everything that is kept, in the order in which it was given up.
    pub(super) fn take(&self) -> Vec<UndeliveredRecord> {
        let mut kept = self.kept.lock();
        kept.bytes = 0;
        let mut batches = std::mem::take(&mut kept.batches);
        drop(kept);
        planted!(the_last_one_is_not_given_back => batches.truncate(batches.len().saturating_sub(1)));
        batches.into_iter().flat_map(Lost::into_records).collect()
    }
}

/// The batches that one failure gives up.
pub(super) struct Taking<'a> {
    kept: MutexGuard<'a, Kept>,
    limit: usize,
}

impl Taking<'_> {
    /// Keeps a batch of a partition.
    pub(super) fn keep(&mut self, partition: &TopicPartition, body: Body, may_be_in_log: bool) {
        let topic_partition = partition.clone();
        self.kept.bytes += body.len();
        self.kept.batches.push_back(Lost { topic_partition, body, may_be_in_log });
        planted!(the_last_failure_comes_back_first => self.kept.batches.rotate_right(1));
        while self.kept.bytes > self.limit {
            let Some(oldest) = self.kept.batches.pop_front() else {
                break;
            };
            self.kept.bytes -= oldest.body.len();
            self.kept.forgotten += u64::from(oldest.body.count());
            event!(WARN, partition = %oldest.topic_partition, records = oldest.body.count(), "forgot undelivered records that were not taken back");
        }
    }

    /// Counts `more` records that cannot be kept; returns how many there are in all.
    pub(super) fn forgotten(&mut self, more: u64) -> u64 {
        self.kept.forgotten += more;
        self.kept.forgotten
    }

    /// Notes the failure that is reported: the first one since the last flush, which also counts later failures of its
    /// partition.
    pub(super) fn note(mut self, error: &Error) {
        match &mut self.kept.failure {
            None => self.kept.failure = Some(error.clone()),
            Some(first) => first.counts_also(error),
        }
    }
}

impl Lost {
    fn into_records(self) -> Vec<UndeliveredRecord> {
        let Lost { topic_partition, body, may_be_in_log } = self;
        let sequences = body.sequences();
        let records = body.into_plain().and_then(decode);
        // A batch that was encoded here can be decoded.
        debug_assert!(records.is_some());
        let own = |records: &ValidRecords, part: Option<&[u8]>| part.map(|part| records.slice_of(part));
        let records = records.iter().flat_map(|records| {
            records.iter().map(|record| UndeliveredRecord {
                topic_partition: topic_partition.clone(),
                timestamp: record.timestamp,
                key: own(records, record.key),
                value: own(records, record.value),
                headers: record.headers.map(|(name, value)| (name.to_owned(), own(records, value))).collect(),
                sequence: None,
                may_be_in_log,
            })
        });
        let mut records: Vec<_> = records.collect();
        if let Some(sequences) = sequences {
            number(&mut records, sequences);
        }
        records
    }
}

/// Gives the records of a batch the numbers that they have: those that end a run say it, the others are counted back.
fn number(records: &mut [UndeliveredRecord], sequences: NamedSequences) {
    let mut next = sequences.last;
    for record in records.iter_mut().rev() {
        let own = record.headers.iter().rev().find(|(name, _)| name == SEQUENCE);
        let own = own.and_then(|(_, value)| value.as_deref()?.try_into().ok().map(u64::from_be_bytes));
        let number = own.unwrap_or(next);
        record.sequence = Some(number);
        next = number.saturating_sub(1);
    }
}

fn decode(mut sealed: SealedBatch) -> Option<ValidRecords> {
    sealed.finish(Offset::ZERO, 0, Stamp::CreateTime);
    let batch = RecordBatch::parse(Bytes::from(sealed.into_buffer())).ok()?;
    batch.records(MAX_DECOMPRESSED).ok()?.validate().ok()
}
