//! Many records in one call: all are encoded and checked before any partition is touched, then written, then flushed
//! together.

use crate::{
    error::{Error, Outcome, Result},
    partition::{
        log::Log,
        write::{append::Appended, commit::commit, encode::in_batch},
    },
    producer::{
        Producer, ProducerRecord, RecordMetadata,
        accumulator::{Accumulator, bound_of},
        named::{AGAIN, Numbers},
        numbering::Number,
        parts::{Parts, Slot},
    },
    topic::caretaker::Caretaker,
    types::{Offset, Timestamp},
};
use std::{fmt, sync::Arc};

/// `send_all` flushes after this many bytes or records.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_RECORDS: u64 = 1 << 16;

/// Where [`Producer::send_all`] stopped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SendAllError {
    /// How many records were acknowledged, counted from the first. Some of the records after them may have been
    /// written, but none after the first refused one.
    pub acknowledged: u64,
    /// What stopped it.
    pub error: Error,
}

impl fmt::Display for SendAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} acknowledged records: {}", self.acknowledged, self.error)
    }
}

impl std::error::Error for SendAllError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<SendAllError> for Error {
    fn from(error: SendAllError) -> Self {
        error.error
    }
}

impl Producer {
    /// Writes records, returns when all are acknowledged, and says where each went. The part of each partition is one
    /// record batch, which is in the log wholly or not at all, also after a crash. All parts are flushed together.
    ///
    /// # Errors
    ///
    /// As for [`Producer::send`]; `RecordTooLarge` when a partition's part exceeds its topic's `max.message.bytes`. An
    /// error about one record has its `index`: `RecordTooLarge`, and `InvalidRecord` for every rule of its topic. A
    /// record or part that is refused leaves every partition untouched. When writing fails, the parts of other
    /// partitions may be in the log, which is an `Unacknowledged`: its [`outcome`](Error::outcome) says which. (This
    /// release has no transactions, which would write all or none.)
    pub fn send_batch(&self, records: &[ProducerRecord<'_>]) -> Result<Vec<RecordMetadata>> {
        self.inner.accumulators.check_usable()?;
        self.inner.context.identity.check_outside()?;
        let mut parts = Parts::default();
        let mut places = Vec::with_capacity(records.len());
        let mut limit = usize::MAX;
        planted!(a_part_is_several_batches => limit = 1);
        let of_one = |error, index| indexed(error, index, records.len());
        let found = self.accumulators_of(records).map_err(|(index, error)| of_one(error, index))?;
        let mut numbers = self.numbers()?;
        for (index, record) in records.iter().enumerate() {
            let place = self.add_found(&mut parts, record, limit, found.get(index), &mut numbers);
            places.push(place.map_err(|error| of_one(error, index))?);
        }
        unless_planted!(a_part_is_refused_while_it_is_written => parts.seal(records, &places)?);
        let mut again = numbers.as_mut().map(Numbers::take_again).unwrap_or_default();
        let appended = self.write(parts, numbers)?;
        let metadata = places.into_iter().filter_map(|(part, index, timestamp)| {
            if part == AGAIN {
                return again.pop_front().map(|known| known.place(timestamp));
            }
            let (accumulator, batches) = appended.get(part)?;
            let partition = &accumulator.log().identity.name;
            Some(Ok(RecordMetadata::of(batches.first()?, index, timestamp, partition)))
        });
        metadata.collect()
    }

    /// Writes any number of records, as many to a batch as fit. Returns their number when all are acknowledged.
    ///
    /// # Errors
    ///
    /// As for [`Producer::send`], with how many records were acknowledged. An error about one record has its `index`,
    /// counted from the first record of the call: `RecordTooLarge`, and `InvalidRecord` for every rule of its topic.
    pub fn send_all<'a>(
        &self,
        records: impl IntoIterator<Item = ProducerRecord<'a>>,
    ) -> Result<u64, SendAllError> {
        let mut records = records.into_iter();
        let mut acknowledged = 0;
        loop {
            let chunk = self.send_chunk(&mut records);
            let (count, refused) = chunk.map_err(|error| SendAllError { acknowledged, error })?;
            acknowledged += count;
            match refused {
                Some(error) => {
                    let index = usize::try_from(acknowledged).unwrap_or(usize::MAX);
                    return Err(SendAllError { acknowledged, error: indexed(error, index, usize::MAX) });
                }
                None if count == 0 => return Ok(acknowledged),
                None => {}
            }
        }
    }

    /// Sends some of the records, up to the first that is refused. Returns how many, and why that one was.
    fn send_chunk<'a>(
        &self,
        records: &mut impl Iterator<Item = ProducerRecord<'a>>,
    ) -> Result<(u64, Option<Error>)> {
        self.inner.accumulators.check_usable()?;
        self.inner.context.identity.check_outside()?;
        if self.inner.context.identity.name().is_some() {
            return self.send_numbered_chunk(records);
        }
        let mut parts = Parts::default();
        let (mut bytes, mut count, mut refused) = (0usize, 0, None);
        while bytes < CHUNK_BYTES && count < CHUNK_RECORDS {
            let Some(record) = records.next() else { break };
            bytes = bytes.saturating_add(bound_of(&record.data));
            match self.add(&mut parts, &record, CHUNK_BYTES) {
                Ok(_) => count += 1,
                Err(error) => {
                    planted!(a_refused_record_is_acknowledged => count += 1);
                    refused = Some(error);
                    break;
                }
            }
        }
        self.write(parts, None)?;
        Ok((count, refused))
    }

    /// As `send_chunk`, for a producer with a name.
    fn send_numbered_chunk<'a>(
        &self,
        records: &mut impl Iterator<Item = ProducerRecord<'a>>,
    ) -> Result<(u64, Option<Error>)> {
        let mut bytes = 0usize;
        let mut chunk = Vec::new();
        while bytes < CHUNK_BYTES && (chunk.len() as u64) < CHUNK_RECORDS {
            let Some(record) = records.next() else { break };
            bytes = bytes.saturating_add(bound_of(&record.data));
            chunk.push(record);
        }
        let (found, mut refused) = match self.accumulators_of(&chunk) {
            Ok(found) => (found, None),
            Err((index, error)) => {
                chunk.truncate(index);
                (self.accumulators_of(&chunk).map_err(|(_, error)| error)?, Some(error))
            }
        };
        let (mut parts, mut numbers, mut count) = (Parts::default(), self.numbers()?, 0);
        for (record, accumulator) in chunk.iter().zip(&found) {
            match self.add_found(&mut parts, record, CHUNK_BYTES, Some(accumulator), &mut numbers) {
                Ok(_) => count += 1,
                Err(error) => {
                    numbers.iter_mut().for_each(Numbers::refused);
                    refused = Some(error);
                    break;
                }
            }
        }
        let again = numbers.as_mut().map(Numbers::take_again).unwrap_or_default();
        self.write(parts, numbers)?;
        // What was sent before is acknowledged, too.
        again.iter().try_for_each(|known| known.place(Timestamp::NONE).map(drop))?;
        Ok((count, refused))
    }

    /// Adds a record to its partition's part.
    pub(crate) fn add(
        &self,
        parts: &mut Parts,
        record: &ProducerRecord<'_>,
        batch_size: usize,
    ) -> Result<Slot> {
        self.add_found(parts, record, batch_size, None, &mut None)
    }

    /// As [`add`](Self::add), where the record's partition was found before, and its number is looked at.
    fn add_found(
        &self,
        parts: &mut Parts,
        record: &ProducerRecord<'_>,
        batch_size: usize,
        found: Option<&Arc<Accumulator>>,
        numbers: &mut Option<Numbers<'_>>,
    ) -> Result<Slot> {
        let accumulator = match found {
            Some(found) => Arc::clone(found),
            None => self.with_accumulator(record, Arc::clone)?,
        };
        let sequence = match numbers {
            None => self.without_number(record)?,
            Some(numbers) => match numbers.of(&accumulator, record.sequence)? {
                Number::New(number) => Some(number),
                Number::Again(_) => return Ok((AGAIN, 0, record.data.timestamp.unwrap_or(numbers.now()))),
            },
        };
        let (number, part) = parts.of(accumulator, batch_size);
        let (index, timestamp, bytes) = part.add(record, sequence)?;
        if record.is_placed_freely() {
            part.unkeyed += bytes;
        }
        Ok((number, index, timestamp))
    }

    /// Writes all parts, unless one is known to be refused, and flushes them together.
    fn write(
        &self,
        mut parts: Parts,
        numbers: Option<Numbers<'_>>,
    ) -> Result<Vec<(Arc<Accumulator>, Vec<Appended>)>> {
        for part in &mut parts.parts {
            planted!(a_part_is_refused_while_it_is_written => break);
            part.seal()?;
            part.accumulator.check()?;
        }
        let mut done = Vec::with_capacity(parts.parts.len());
        let mut failure = None;
        for mut part in parts.parts {
            planted!(a_part_is_refused_while_it_is_written => part.seal()?);
            let mut appended = Vec::with_capacity(part.batches.len());
            for mut batch in part.batches {
                match part.accumulator.send(&mut batch) {
                    Ok(one) => appended.push(one),
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            if part.unkeyed > 0 {
                self.inner.appended(&part.accumulator, part.unkeyed as u64);
            }
            done.push((part.accumulator, appended));
            if failure.is_some() {
                break;
            }
        }
        match numbers {
            Some(numbers) if failure.is_none() => numbers.keep(),
            numbers => drop(numbers),
        }
        // Also after a failure: batches that were appended must not stay invisible.
        let committed = acknowledge(&done);
        self.inner.context.sender.run_inline();
        match (failure, committed) {
            (None, Ok(())) => Ok(done),
            (Some(error), Ok(())) | (_, Err(error)) => Err(unacknowledged(&done, error)),
        }
    }
}

/// Makes the appended batches as durable as their topics say.
fn acknowledge(done: &[(Arc<Accumulator>, Vec<Appended>)]) -> Result<()> {
    let ends = done.iter().filter(|(_, batches)| batches.iter().any(|batch| batch.must_flush));
    let ends = ends.filter_map(|(accumulator, batches)| {
        Some((accumulator, batches.iter().map(|batch| batch.next_offset).max()?))
    });
    let ends: Vec<(&Arc<Accumulator>, Offset)> = ends.collect();
    let targets: Vec<(Arc<Log>, Offset)> =
        ends.iter().map(|(accumulator, end)| (Arc::clone(accumulator.log()), *end)).collect();
    let result = commit(&targets);
    if result.is_ok() {
        // The records enqueued before lie below.
        ends.iter().for_each(|(accumulator, end)| accumulator.settle(*end, &result));
    }
    result
}

/// The error of a call of which these batches were appended: it says what became of all of them.
#[cold]
fn unacknowledged(done: &[(Arc<Accumulator>, Vec<Appended>)], error: Error) -> Error {
    let (mut failure, mut outcome) = (None, Outcome::NotAppended);
    for (accumulator, batches) in done {
        for batch in batches.iter().filter(|batch| !batch.duplicate) {
            let of_one = accumulator.log().unacknowledged(batch.offsets(), error.clone());
            outcome = outcome.and(of_one.outcome());
            if of_one.outcome() == Outcome::Unknown {
                failure = Some(of_one);
            }
        }
    }
    match outcome {
        Outcome::Appended(_) => Error::Unacknowledged { outcome, cause: Arc::new(error) },
        _ => failure.unwrap_or(error),
    }
}
/// Adds the record's index to the error, unless the error is about its topic.
fn indexed(error: Error, index: usize, count: usize) -> Error {
    match error {
        Error::InvalidTimestamp { .. } | Error::InvalidRecord { .. } | Error::RecordTooLarge { .. } => {
            in_batch(error, index, count)
        }
        Error::InvalidArgument { reason } if count > 1 => {
            Error::InvalidArgument { reason: format!("the record at index {index}: {reason}") }
        }
        other => other,
    }
}
