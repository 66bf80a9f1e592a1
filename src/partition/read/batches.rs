//! The iterators over a partition: its batches in both directions, and its records one by one.
//!
//! An iterator ends after an error, and keeps the log open as long as it is held.

use crate::{
    error::Result,
    partition::{
        keep_open::KeepOpen,
        log::Log,
        read::{
            backwards::{SegmentBatches, batches_before},
            batch::{Batch, OwnedRecordsOf},
            damage, decode,
            owned::OwnedRecord,
            visible::{VisibleBatch, VisibleBatches},
        },
    },
    types::{IsolationLevel, Offset},
};
use std::{fmt, sync::Arc};

/// An iterator over the batches of a partition, from [`Partition::read`](crate::Partition::read).
///
/// After an error it ends. What lies after damage is reached by reading from the error's
/// [`next_offset`](crate::Error::next_offset).
#[derive(Clone)]
pub struct Batches {
    batches: VisibleBatches,
    failed: bool,
    _keep_open: KeepOpen,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("partition", &format_args!("{}", self.batches.log().identity.name))
            .field("next_offset", &self.batches.position())
            .finish_non_exhaustive()
    }
}

impl Batches {
    /// Those that `batches` gives.
    pub(in crate::partition) fn new(batches: VisibleBatches, keep_open: KeepOpen) -> Self {
        Batches { batches, failed: false, _keep_open: keep_open }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.batches.next();
        self.failed = batch.is_err();
        let shown = |batch: VisibleBatch| Batch::new(batch.header, batch.records, batch.from, Offset::MAX);
        batch.map(|batch| batch.map(shown)).transpose()
    }
}

/// An iterator over the batches of a partition, newest first, from
/// [`Partition::read_backwards`](crate::Partition::read_backwards) and
/// [`read_backwards_with`](crate::Partition::read_backwards_with).
///
/// After an error it ends. What lies before damage is reached by reading backwards from
/// [`before`](BackwardBatches::before).
pub struct BackwardBatches {
    log: Arc<Log>,
    isolation: IsolationLevel,
    before: Offset,
    held: SegmentBatches,
    failed: bool,
    _keep_open: KeepOpen,
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
    /// The batches of `log` before `before` that a reader of `isolation` sees.
    pub(in crate::partition) fn new(
        log: Arc<Log>,
        isolation: IsolationLevel,
        before: Offset,
        keep_open: KeepOpen,
    ) -> Self {
        let held = SegmentBatches::default();
        BackwardBatches { log, isolation, before, held, failed: false, _keep_open: keep_open }
    }

    /// The offset before which the next batch lies; after damage, the offset where the damage begins.
    pub fn before(&self) -> Offset {
        self.before
    }

    fn step(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some((position, batch)) = self.held.batches.pop() {
                let to = self.before;
                self.before = batch.header().base_offset;
                let segment = self.held.segment.as_ref().map(|segment| segment.path());
                let path = segment.unwrap_or(&self.log.identity.dir);
                let records = decode::decode(&self.log, &batch, || path, position)?;
                let from = self.log.offsets().log_start();
                return Ok(Some(Batch::new(*batch.header(), records, from, to)));
            }
            let found = batches_before(&self.log, self.before, self.isolation);
            self.held = found.inspect_err(|error| {
                let whole = damage::whole_up_to(&self.log, error);
                self.before = whole.map_or(self.before, |whole| whole.min(self.before));
            })?;
            if self.held.batches.is_empty() {
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

/// An iterator over the records of a partition, from
/// [`Partition::records`](crate::Partition::records). After an error it ends.
#[derive(Clone)]
pub struct Records {
    batches: Batches,
    current: Option<OwnedRecordsOf>,
}

impl Records {
    /// The records of these batches.
    pub(in crate::partition) fn new(batches: Batches) -> Self {
        Records { batches, current: None }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("batches", &self.batches).finish_non_exhaustive()
    }
}

impl Iterator for Records {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.current.as_mut().and_then(Iterator::next) {
                return Some(Ok(record));
            }
            match self.batches.next()? {
                Ok(batch) => self.current = Some(batch.into_iter()),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        RecordData, Streamlog, TopicConfig,
        partition::read::{batches::*, reader::Step},
    };

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
        let held = |batches: &Batches| batches.batches.held();
        for from in [0, 1, 2500] {
            let mut batches = partition.read(from);
            assert_eq!(batches.next().unwrap().unwrap().base_offset(), from);
            assert!(held(&batches) < Step::FIRST, "{} bytes ahead of the first batch", held(&batches));
        }
        let mut batches = partition.read(0);
        let (mut steps, mut largest) = (0, 0);
        while let Some(batch) = batches.next() {
            let ended = batches.batches.holds_none();
            steps += usize::from(ended);
            largest = largest.max(held(&batches) + batch.unwrap().size());
        }
        assert!(steps < 12 && largest > Step::LARGEST / 2, "{steps} steps, the largest of {largest} bytes");
        // One that is larger than its step comes alone.
        let mut last = partition.read(4000);
        assert_eq!(last.next().unwrap().unwrap().iter().count(), 1);
        assert!(last.next().is_none());
    }
}
