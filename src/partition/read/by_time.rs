//! Finding records by time (Kafka's ListOffsets).
//!
//! What is always true: an answer stands on every record before it. What a segment holds is known from its seal, or from
//! indexes that were built when all of it was there, so that damage hides nothing that they rule out. Where neither
//! says enough, the records themselves are gone through, and damage on the way is the answer.

use crate::{
    codec::batch::RecordBatch,
    error::{Error, Result},
    partition::{
        log::Log,
        read::reader::{LogReader, Step},
    },
    storage::segment::Segment,
    types::{IsolationLevel, Offset, Timestamp},
};
use std::{ops::Range, sync::Arc};

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OffsetAndTimestamp {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The leader epoch of its batch; -1 for none.
    pub leader_epoch: i32,
}

/// Refuses a time before 1970, as Kafka does: no record has one, and a sign is mostly a slip.
pub fn check_time(time: Timestamp) -> Result<()> {
    if time.as_millis() >= 0 {
        return Ok(());
    }
    let reason = format!(
        "records are found by times in milliseconds since 1970, and {time} is none; to begin with the first record, read from the log start"
    );
    Err(Error::InvalidArgument { reason })
}

impl Log {
    /// The first record at or behind the log start whose timestamp is `timestamp` or later, below the bound of
    /// `isolation`. It is looked for in the first segment whose largest timestamp is late enough and, unlike in Kafka, in
    /// the next such one where the record with that timestamp lies before the log start.
    ///
    /// # Errors
    ///
    /// Those of reading. Where the record that is asked for may lie in damage it is `Corrupt`, also if others that are
    /// late enough follow: a later one is never taken for the first.
    pub fn offset_for_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
        isolation: IsolationLevel,
    ) -> Result<Option<OffsetAndTimestamp>> {
        self.finding(|| self.look_for_timestamp(timestamp, isolation))
    }

    /// As [`Log::retry_after_trim`]; that nothing was found counts only where nothing was removed meanwhile.
    fn finding(
        &self,
        look: impl Fn() -> Result<Option<OffsetAndTimestamp>>,
    ) -> Result<Option<OffsetAndTimestamp>> {
        loop {
            let log_start = self.offsets.log_start();
            let found = self.retry_after_trim(&look)?;
            if found.is_some() || self.offsets.log_start() == log_start {
                return Ok(found);
            }
        }
    }

    fn look_for_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
        isolation: IsolationLevel,
    ) -> Result<Option<OffsetAndTimestamp>> {
        let segments = self.segments.snapshot();
        let (log_start, log_end) = (self.offsets.log_start(), self.offsets.log_end());
        for (i, segment) in segments.iter().enumerate() {
            // Of a log that somebody else writes, segments may be known beyond its end.
            let end = segments.get(i + 1).map_or(log_end, |next| next.base().min(log_end));
            if end <= segment.base().max(log_start) {
                continue;
            }
            let Some(from) = segment.floor_of_time(timestamp, end)? else { continue };
            let found = self.first_record(
                from.max(log_start),
                end,
                |batch| batch.header().max_timestamp >= timestamp,
                |t| t > timestamp || t == timestamp && !planted!(a_time_is_earlier_than_itself),
            )?;
            if found.is_some() || planted!(what_was_removed_hides_what_follows) {
                return Ok(found.filter(|f| f.offset < self.offsets.bound(isolation)));
            }
        }
        Ok(None)
    }

    /// The largest timestamp of `segment`, which ends at `end`.
    ///
    /// # Errors
    ///
    /// `Corrupt` where damage hides it.
    pub(in crate::partition) fn largest_timestamp_of(
        self: &Arc<Self>,
        segment: &Segment,
        end: Offset,
    ) -> Result<Timestamp> {
        match segment.largest_timestamp_below(end)? {
            Some(largest) => Ok(largest),
            None => self.largest_between(segment.base().max(self.offsets.log_start()), end),
        }
    }

    /// The first record that has the largest timestamp of the log (KIP-734).
    pub fn offset_of_max_timestamp(self: &Arc<Self>) -> Result<Option<OffsetAndTimestamp>> {
        self.finding(|| self.look_for_max_timestamp())
    }

    fn look_for_max_timestamp(self: &Arc<Self>) -> Result<Option<OffsetAndTimestamp>> {
        let segments = self.segments.snapshot();
        let (start, bound) = (self.offsets.log_start(), self.offsets.high_watermark());
        let log_end = self.offsets.log_end();
        let mut best: Option<(Timestamp, Range<Offset>)> = None;
        for (i, segment) in segments.iter().enumerate() {
            let end = segments.get(i + 1).map_or(log_end, |next| next.base());
            if end.min(bound) <= segment.base().max(start) {
                continue;
            }
            // The index also knows of records that cannot be read any more, or not yet.
            let largest = if segment.base() >= start && end <= bound {
                self.largest_timestamp_of(segment, end)?
            } else {
                self.largest_between(segment.base().max(start), end.min(bound))?
            };
            let is_larger = |t| largest > t || planted!(the_last_of_the_largest_times) && largest == t;
            if !largest.is_none() && best.as_ref().is_none_or(|(t, _)| is_larger(*t)) {
                best = Some((largest, segment.base()..end));
            }
        }
        let Some((largest, offsets)) = best else { return Ok(None) };
        self.first_record(
            offsets.start,
            offsets.end,
            |batch| batch.header().max_timestamp >= largest,
            |t| t == largest,
        )
    }

    /// The largest timestamp of the records in `from..end`, by looking at them.
    fn largest_between(self: &Arc<Self>, from: Offset, end: Offset) -> Result<Timestamp> {
        let mut largest = Timestamp::NONE;
        let mut reader = LogReader::new(Arc::clone(self), IsolationLevel::ReadUncommitted, from);
        while reader.next_offset() < end {
            let fetched = reader.fetch(Step::LARGEST)?;
            if fetched.batches.is_empty() {
                break;
            }
            for batch in fetched.batches {
                let header = batch.header();
                if header.base_offset >= end || header.max_timestamp <= largest {
                    continue;
                }
                if header.base_offset >= from {
                    largest = header.max_timestamp;
                    continue;
                }
                // Of the batch that the log start cuts, only what lies behind it counts.
                for record in &self.decode(&batch)? {
                    if record.offset >= from {
                        largest = largest.max(record.timestamp);
                    }
                }
            }
        }
        Ok(largest)
    }

    /// The first record in `from..end` of a batch that `batch_fits`, whose time `fits`.
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
        let mut step = Step::default();
        while reader.next_offset() < end {
            let fetched = reader.fetch(step.take())?;
            if fetched.batches.is_empty() {
                break;
            }
            for batch in fetched.batches {
                if batch.header().base_offset >= end {
                    return Ok(None);
                }
                if !batch_fits(&batch) {
                    continue;
                }
                for record in &self.decode(&batch)? {
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
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        RecordData, Streamlog, TopicConfig,
        config::Compression,
        partition::{read::by_time::*, write::encode::encode},
    };

    fn at(millis: i64) -> RecordData<'static> {
        RecordData::new("x").timestamp(Timestamp::from_millis(millis))
    }

    #[test]
    fn a_time_before_the_log_start_does_not_hide_a_later_segment() {
        let log = Streamlog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicConfig::default().segment_bytes(512)).unwrap();
        let partition = topic.partition(0).unwrap();
        let large = |millis| RecordData::new(&[7; 150]).timestamp(Timestamp::from_millis(millis));
        for millis in [100, 1, 100] {
            partition.append(&[large(millis)]).unwrap();
        }
        assert_eq!(partition.segment_count(), 2);
        log.delete_records("t", 0, 1).unwrap();
        let found = partition.offset_for_timestamp(Timestamp::from_millis(50)).unwrap();
        assert_eq!(found.map(|found| found.offset.value()), Some(2));
    }

    #[test]
    fn the_largest_timestamp_is_that_of_a_record_that_can_be_read() {
        let streamlog = Streamlog::in_memory().unwrap();
        let topic = streamlog.create_topic("t", TopicConfig::default()).unwrap();
        let partition = topic.partition(0).unwrap();
        for millis in [50, 20, 30, 30] {
            partition.append(&[at(millis)]).unwrap();
        }
        let largest = || {
            partition.offset_of_max_timestamp().unwrap().map(|f| (f.offset.value(), f.timestamp.as_millis()))
        };
        assert_eq!(largest(), Some((0, 50)));
        // Appended, and not durable yet.
        let log = partition.log();
        let mut batch = encode(&[at(90)], &log.config(), Compression::None, || Timestamp::NONE).unwrap();
        log.append(&mut batch).unwrap();
        assert_eq!(largest(), Some((0, 50)));
        log.flush().unwrap();
        assert_eq!(largest(), Some((4, 90)));
        partition.append(&[at(10)]).unwrap();
        streamlog.delete_records("t", 0, 5).unwrap();
        assert_eq!(largest(), Some((5, 10)));
        streamlog.delete_records("t", 0, 6).unwrap();
        assert_eq!(largest(), None);
    }
}
