//! Sending with a name: records are numbered, and what was sent before is answered, not written again.

use super::{Producer, numbering::Number};
use crate::{
    codec::batch::HEADER_LEN,
    env::sync::MutexGuard,
    error::{Error, Result},
    partition::{
        state::append_as::Claimed,
        write::encode::{encode_numbered, recycle},
    },
    producer::{
        accumulator::{Accumulator, Enqueued},
        accumulators::Accumulators,
        context::Context,
        record::{ProducerRecord, RecordMetadata},
    },
    topic::caretaker::Caretaker,
    types::{Durability, Timestamp, TopicPartition},
};
use std::{collections::VecDeque, sync::Arc};

impl Producer {
    /// The last sequence that this producer's name has written to a partition, now or in an earlier life: a source goes on
    /// after it. `None` if there is none. It counts records that are queued, too.
    ///
    /// ```
    /// # use streamlog::{ProducerRecord, Streamlog, types::TopicPartition};
    /// # let log = Streamlog::in_memory()?;
    /// # log.create_topic("readings", streamlog::TopicConfig::default())?;
    /// let producer = log.producer_builder().named("sensor-7").build()?;
    /// let next = producer.last_sequence(&TopicPartition::new("readings", 0))?.map_or(0, |last| last + 1);
    /// for (number, line) in (0u64..).zip("some\nlines".lines()).skip(next as usize) {
    ///     producer.send(ProducerRecord::new("readings", line).partition(0).sequence(number))?;
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a producer without a name; `UnknownTopic`, `UnknownPartition`; `Fenced` once another producer
    /// has the name; `Corrupt` if what would say it was lost.
    pub fn last_sequence(&self, partition: &TopicPartition) -> Result<Option<u64>> {
        self.inner.accumulators.check_usable()?;
        let Some(claimed) = self.inner.context.identity.checked_claim()? else {
            let reason = "a producer without a name keeps no sequences: give it one with named".to_string();
            return Err(Error::InvalidArgument { reason });
        };
        let record = ProducerRecord::null(&*partition.topic).partition(partition.partition);
        let accumulator = self.with_accumulator(&record, Arc::clone)?;
        let _order = self.inner.context.order.lock();
        accumulator.last_number(claimed)
    }

    /// As [`Producer::send_with`], for a producer with a name.
    pub(super) fn send_numbered(
        &self,
        record: &ProducerRecord<'_>,
        claimed: Claimed,
        durability: Durability,
    ) -> Result<RecordMetadata> {
        let mut found = None;
        let accumulator = self.accumulator_of(record, &mut found)?;
        let (context, log) = (accumulator.context(), accumulator.log());
        let now = context.env().now();
        let timestamp = record.data.timestamp.unwrap_or(now);
        let order = context.order.lock();
        let number = match accumulator.number(claimed, record.sequence)? {
            Number::New(number) => number,
            Number::Again(number) => {
                drop(order);
                return accumulator.sent_before(claimed, number, timestamp);
            }
        };
        let settings = context.settings.compression;
        let mut batch = encode_numbered(&record.data, number, &log.config(), settings, now)?;
        let appended = accumulator.send(&mut batch).inspect_err(|_| accumulator.give_numbers_back())?;
        accumulator.has_number(number);
        drop(order);
        let bytes = (batch.size() as usize).saturating_sub(HEADER_LEN);
        recycle(batch);
        if appended.must_flush || durability == Durability::Flushed {
            let acknowledged = log.acknowledge(appended.next_offset, true);
            accumulator.settle(appended.next_offset, &acknowledged);
            if let Err(error) = acknowledged {
                return Err(log.unacknowledged(appended.offsets(), error));
            }
        }
        self.inner.placed(record, accumulator, bytes);
        Ok(RecordMetadata::of(&appended, 0, timestamp, &log.identity.name))
    }
}

/// The numbers of the records of one call, in all of its partitions. Unless they are kept, they are given back.
pub(super) struct Numbers<'a> {
    context: &'a Context,
    claimed: Claimed,
    given: Vec<Arc<Accumulator>>,
    again: VecDeque<SentBefore>,
    is_kept: bool,
    /// Whether a record was refused that had got its number.
    has_refused: bool,
    /// Dropped last.
    _order: MutexGuard<'a, ()>,
}

/// A record that was sent before.
pub(super) struct SentBefore {
    accumulator: Arc<Accumulator>,
    claimed: Claimed,
    number: u64,
}

impl SentBefore {
    /// Where it lies, once that is as durable as its topic says.
    pub(super) fn place(&self, timestamp: Timestamp) -> Result<RecordMetadata> {
        self.accumulator.sent_before(self.claimed, self.number, timestamp)
    }
}

impl Numbers<'_> {
    /// The number of the next record of a partition.
    pub(super) fn of(&mut self, accumulator: &Arc<Accumulator>, wanted: Option<u64>) -> Result<Number> {
        let number = accumulator.number(self.claimed, wanted)?;
        match number {
            Number::New(number) => {
                if !self.given.iter().any(|other| Arc::ptr_eq(other, accumulator)) {
                    self.given.push(Arc::clone(accumulator));
                }
                accumulator.has_number(number);
            }
            Number::Again(number) => {
                let (accumulator, claimed) = (Arc::clone(accumulator), self.claimed);
                self.again.push_back(SentBefore { accumulator, claimed, number });
            }
        }
        Ok(number)
    }

    /// The records that were sent before, in their order.
    pub(super) fn take_again(&mut self) -> VecDeque<SentBefore> {
        std::mem::take(&mut self.again)
    }

    /// The time, for a record without one.
    pub(super) fn now(&self) -> Timestamp {
        self.context.env().now()
    }

    /// A record that got its number was refused after that.
    pub(super) fn refused(&mut self) {
        self.has_refused = true;
    }

    /// The records are in the log.
    pub(super) fn keep(mut self) {
        self.is_kept = !self.has_refused;
    }
}

impl Drop for Numbers<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.given.iter().for_each(|accumulator| accumulator.give_numbers_back());
        }
    }
}

impl Producer {
    /// Begins to number the records of a call, where the producer has a name.
    pub(super) fn numbers(&self) -> Result<Option<Numbers<'_>>> {
        let context = &*self.inner.context;
        let claimed = context.identity.checked_claim()?;
        Ok(claimed.map(|claimed| Numbers {
            context,
            claimed,
            given: Vec::new(),
            again: VecDeque::new(),
            is_kept: false,
            has_refused: false,
            _order: context.order.lock(),
        }))
    }

    /// That a producer without a name has no number in its record.
    pub(super) fn without_number(&self, record: &ProducerRecord<'_>) -> Result<Option<u64>> {
        self.claimed_for(record).map(|_| None)
    }

    /// The partitions of the records of a producer with a name, which are found before they are numbered: the partitioner may be
    /// the user's, and runs while nothing is held. None for a producer without one. An error is about the record at an index.
    pub(super) fn accumulators_of(
        &self,
        records: &[ProducerRecord<'_>],
    ) -> Result<Vec<Arc<Accumulator>>, (usize, Error)> {
        if self.inner.context.identity.name().is_none() {
            return Ok(Vec::new());
        }
        let found = records.iter().enumerate();
        found
            .map(|(index, record)| self.with_accumulator(record, Arc::clone).map_err(|e| (index, e)))
            .collect()
    }
}

/// The part of a record of `send_batch` that was sent before: none.
pub(super) const AGAIN: usize = usize::MAX;

impl Accumulators {
    /// As [`Accumulators::enqueue`], for a producer with a name.
    pub(super) fn enqueue_numbered(
        &self,
        accumulator: &Arc<Accumulator>,
        record: &ProducerRecord<'_>,
        claimed: Claimed,
        may_wait: bool,
    ) -> Result<Enqueued> {
        self.wait_for_room(accumulator, may_wait, &mut || {
            let _order = accumulator.context().order.lock();
            let number = match accumulator.number(claimed, record.sequence)? {
                Number::New(number) => number,
                Number::Again(number) => return accumulator.push_again(claimed, number, &record.data),
            };
            let pushed = accumulator.push(&record.data, Some(number))?;
            if pushed.is_queued() {
                accumulator.has_number(number);
            }
            Ok(pushed)
        })
    }
}
