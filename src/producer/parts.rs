//! The records of one call, gathered by partition: encoded and checked before any partition is touched.

use crate::{
    codec::{
        batch::HEADER_LEN,
        builder::{BatchBuilder, NUMBER_OVERHEAD, SealedBatch},
    },
    error::Result,
    partition::{
        log::Log,
        state::log_config::LogConfig,
        write::encode::{append_numbered, seal, which_is_too_large},
    },
    producer::{
        ProducerRecord,
        accumulator::{Accumulator, bound_of, limit_of},
    },
    types::{Compression, Timestamp},
};
use std::{collections::HashMap, sync::Arc};

/// The records of one call, gathered by partition.
#[derive(Default)]
pub(crate) struct Parts {
    pub(super) parts: Vec<Part>,
    by_accumulator: HashMap<*const Accumulator, usize>,
}

/// One partition's part.
pub(crate) struct Part {
    pub(super) accumulator: Arc<Accumulator>,
    config: Arc<LogConfig>,
    compression: Compression,
    now: Timestamp,
    /// Where a batch ends and the next begins.
    limit: usize,
    open: BatchBuilder,
    pub(super) batches: Vec<SealedBatch>,
    /// Bytes of the records without a key for which the partitioner chose this partition.
    pub(super) unkeyed: usize,
}

/// Where a record of the call is: its part, its index in that part, and its timestamp.
pub(crate) type Slot = (usize, u32, Timestamp);

impl Parts {
    /// The part of each partition, sealed.
    pub(crate) fn into_sealed(mut self) -> Result<Vec<Part>> {
        self.parts.iter_mut().try_for_each(Part::seal)?;
        Ok(self.parts)
    }

    /// How many bytes the records take, not compressed.
    pub(crate) fn len(&self) -> u64 {
        self.parts
            .iter()
            .map(|part| part.open.len() as u64 + part.batches.iter().map(SealedBatch::size).sum::<u64>())
            .sum()
    }

    /// Seals each part's batch. An error names the record that is too large; `places` says which part each went to.
    pub(super) fn seal(&mut self, records: &[ProducerRecord<'_>], places: &[Slot]) -> Result<()> {
        for (number, part) in self.parts.iter_mut().enumerate() {
            part.seal().map_err(|error| {
                let of_all = records.iter().map(|record| &record.data).enumerate().zip(places);
                let own = of_all.filter(|(_, place)| place.0 == number).map(|(record, _)| record);
                match records.len() {
                    1 => error,
                    _ => which_is_too_large(error, own, &part.config, part.compression),
                }
            })?;
        }
        Ok(())
    }

    /// A partition's part, and its number.
    pub(super) fn of(&mut self, accumulator: Arc<Accumulator>, batch_size: usize) -> (usize, &mut Part) {
        let next = self.parts.len();
        let number = *self.by_accumulator.entry(Arc::as_ptr(&accumulator)).or_insert(next);
        if number == next {
            self.parts.push(Part::new(accumulator, batch_size));
        }
        (number, &mut self.parts[number])
    }
}

impl Part {
    /// The log of its partition.
    pub(crate) fn log(&self) -> &Arc<Log> {
        self.accumulator.log()
    }

    /// Its batches.
    pub(crate) fn batches(&mut self) -> &mut [SealedBatch] {
        &mut self.batches
    }

    /// Whether it is a single batch.
    pub(crate) fn is_one_batch(&self) -> bool {
        self.batches.len() == 1
    }

    /// Writes what was enqueued before for its partition.
    pub(crate) fn write_queued(&self) -> Result<()> {
        self.accumulator.write_before()
    }

    fn new(accumulator: Arc<Accumulator>, batch_size: usize) -> Self {
        let config = accumulator.log().config();
        let context = accumulator.context();
        let compression = context.settings.compression;
        let limit = match batch_size {
            usize::MAX => usize::MAX,
            size => limit_of(&config, compression, size),
        };
        Part {
            now: context.env().now(),
            accumulator,
            config,
            compression,
            limit,
            open: BatchBuilder::new(),
            batches: Vec::new(),
            unkeyed: 0,
        }
    }

    /// Adds a record, with its number where its producer has a name; returns its index in the open batch, its timestamp and its bytes. A record that needs a batch of
    /// its own is refused immediately if that is too large.
    pub(super) fn add(
        &mut self,
        record: &ProducerRecord<'_>,
        number: Option<u64>,
    ) -> Result<(u32, Timestamp, usize)> {
        let bound = bound_of(&record.data) + number.map_or(0, |_| NUMBER_OVERHEAD);
        if self.open.len().saturating_add(bound) > self.limit {
            self.seal()?;
        }
        let (index, before) = (self.open.count(), self.open.len());
        append_numbered(&mut self.open, &record.data, number, &self.config, self.now)?;
        let bytes = self.open.len() - before;
        if HEADER_LEN.saturating_add(bound) > self.limit {
            self.seal()?;
        }
        Ok((index, record.data.timestamp.unwrap_or(self.now), bytes))
    }

    /// Seals the open batch.
    pub(super) fn seal(&mut self) -> Result<()> {
        if !self.open.is_empty() {
            let batch = std::mem::take(&mut self.open);
            self.batches.push(seal(batch, &self.config, self.compression)?);
        }
        Ok(())
    }
}
