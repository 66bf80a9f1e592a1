//! Finding records by time (Kafka's ListOffsets).

use super::{
    log::{Log, floor},
    read::LogReader,
};
use crate::{
    codec::batch::RecordBatch,
    error::Result,
    storage::segment::Segment,
    types::{IsolationLevel, Offset, Timestamp},
};
use std::sync::Arc;

pub use crate::codec::compress::MAX_DECOMPRESSED;

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAndTimestamp {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The leader epoch of its batch; -1 for none.
    pub leader_epoch: i32,
}

impl Log {
    /// The first record at or behind the log start whose timestamp is `timestamp` or later, below the bound of
    /// `isolation`. As in Kafka one segment is searched: the first whose largest timestamp is late enough.
    pub fn offset_for_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
        isolation: IsolationLevel,
    ) -> Result<Option<OffsetAndTimestamp>> {
        self.looking(|| self.look_for_timestamp(timestamp, isolation))
    }

    fn look_for_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
        isolation: IsolationLevel,
    ) -> Result<Option<OffsetAndTimestamp>> {
        let segments = self.segments.snapshot();
        let log_start = self.offsets.log_start();
        for (i, segment) in segments.iter().enumerate() {
            if segment.largest_timestamp()? < timestamp || segment.readable() == 0 {
                continue;
            }
            let end = segments.get(i + 1).map_or(self.offsets.log_end(), |next| next.base());
            let from = segment.floor_of_time(timestamp)?.max(log_start);
            let found = self.first_record(
                from,
                end,
                |batch| batch.header().max_timestamp >= timestamp,
                |t| t >= timestamp,
            )?;
            return Ok(found.filter(|f| f.offset < self.offsets.bound(isolation)));
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of the log (KIP-734).
    pub fn offset_of_max_timestamp(self: &Arc<Self>) -> Result<Option<OffsetAndTimestamp>> {
        self.looking(|| self.look_for_max_timestamp())
    }

    fn look_for_max_timestamp(self: &Arc<Self>) -> Result<Option<OffsetAndTimestamp>> {
        let segments = self.segments.snapshot();
        let mut best: Option<(Timestamp, &Arc<Segment>)> = None;
        for segment in segments.iter() {
            let largest = segment.largest_timestamp()?;
            if !largest.is_none() && best.as_ref().is_none_or(|(t, _)| largest > *t) {
                best = Some((largest, segment));
            }
        }
        let Some((largest, segment)) = best else { return Ok(None) };
        let next = floor(&segments, segment.base()).and_then(|i| segments.get(i + 1));
        let end = next.map_or(self.offsets.log_end(), |next| next.base());
        self.first_record(
            segment.base(),
            end,
            |batch| batch.header().max_timestamp == largest,
            |t| t == largest,
        )
    }

    /// The first record in `from..end` of a batch that `batch_fits`, whose time `fits`. Only the first such batch that
    /// has any record at or behind the log start decides.
    fn first_record(
        self: &Arc<Self>,
        from: Offset,
        end: Offset,
        batch_fits: impl Fn(&RecordBatch) -> bool,
        fits: impl Fn(Timestamp) -> bool,
    ) -> Result<Option<OffsetAndTimestamp>> {
        let log_start = self.offsets.log_start();
        let mut reader =
            LogReader::new(Arc::clone(self), IsolationLevel::ReadUncommitted, from.max(log_start));
        loop {
            let fetched = reader.fetch(64 << 10)?;
            if fetched.batches.is_empty() {
                return Ok(None);
            }
            for batch in fetched.batches {
                if batch.header().base_offset >= end {
                    return Ok(None);
                }
                if !batch_fits(&batch) {
                    continue;
                }
                let records =
                    batch.records(MAX_DECOMPRESSED).map_err(|e| e.in_file(&self.identity.dir, 0))?;
                for record in records.iter() {
                    let record = record.map_err(|e| e.in_file(&self.identity.dir, 0))?;
                    if record.offset >= from.max(log_start) && fits(record.timestamp) {
                        return Ok(Some(OffsetAndTimestamp {
                            offset: record.offset,
                            timestamp: record.timestamp,
                            leader_epoch: batch.header().leader_epoch,
                        }));
                    }
                }
            }
        }
    }
}
