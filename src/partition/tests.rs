//! What tests of several rooms do to a log: batches of producers, and the markers that end their transactions.

#[cfg(feature = "sim")]
mod cleaned;
#[cfg(feature = "sim")]
pub(crate) mod cleaner;
#[cfg(feature = "sim")]
mod kafka_cases;
#[cfg(feature = "sim")]
mod named;
#[cfg(feature = "sim")]
mod producers;
#[cfg(feature = "sim")]
mod retries;
mod sequences;
#[cfg(feature = "sim")]
mod swapped;
#[cfg(feature = "sim")]
mod transactions;

use crate::{
    codec::{
        builder::{BatchBuilder, SealedBatch},
        control::marker_batch,
        snapshot::{ProducerBatches, ProducerEntry},
    },
    partition::{
        log::Log,
        write::{append::Appended, gate::Origin, load::ready},
    },
    storage::segment::Segment,
    types::{Compression, Timestamp},
};
use std::sync::Arc;

/// A batch of one record, of `producer`.
pub(crate) fn batch(producer: i64, sequence: i32, value: &str) -> SealedBatch {
    let mut builder = BatchBuilder::new();
    builder.append(Timestamp::from_millis(1), None, Some(value.as_bytes()), &[]).unwrap();
    let mut batch = builder.seal(Compression::None, None).unwrap();
    batch.set_producer(producer, 0, sequence);
    batch
}

/// The same, in a transaction.
pub(crate) fn batch_in_transaction(producer: i64, sequence: i32, value: &str) -> SealedBatch {
    let mut batch = batch(producer, sequence, value);
    batch.set_transactional(true);
    batch
}

/// What ends a transaction of `producer`.
pub(crate) fn marker(producer: i64, commit: bool) -> SealedBatch {
    marker_of_epoch(producer, 0, commit)
}

/// The same, in the epoch after the transaction's.
pub(crate) fn marker_of_epoch(producer: i64, epoch: i16, commit: bool) -> SealedBatch {
    marker_batch(producer, epoch, commit, 0, Timestamp::from_millis(2))
}

/// Appends a batch, and returns when it is durable.
pub(crate) fn append(log: &Log, mut batch: SealedBatch, origin: Origin) -> Appended {
    let appended = log.append_from(&mut batch, origin).unwrap();
    log.acknowledge(appended.next_offset, true).unwrap();
    appended
}

/// Appends a record in a transaction.
pub(crate) fn transactional(log: &Log, producer: i64, sequence: i32, value: &str) {
    append(log, batch_in_transaction(producer, sequence, value), Origin::Producer);
}

/// Ends a transaction.
pub(crate) fn end(log: &Log, producer: i64, commit: bool) {
    append(log, marker(producer, commit), Origin::Coordinator);
}

/// What a log knows of its producers, as its snapshot would say it.
pub(crate) fn producers_of(log: &Log) -> (Vec<ProducerEntry>, Vec<ProducerBatches>) {
    let mut writer = log.writer.lock();
    ready(log, &mut writer).unwrap().producers.to_snapshot()
}

/// The segments of a log, the active one too.
pub(crate) fn segments_of(log: &Log) -> Arc<Vec<Arc<Segment>>> {
    log.segments.snapshot()
}
