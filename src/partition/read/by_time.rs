//! Finding records by time (Kafka's ListOffsets).
//!
//! What is always true: an answer takes every record before it into account. The times in a segment are known from its
//! seal, or from indexes that were built when all of it was there, so damage hides nothing that these rule out. Where
//! neither says enough, the records themselves are read, and damage on the way is the answer.

use crate::{
    codec::batch::BatchHeader,
    error::{Error, Result},
    partition::{
        log::Log,
        read::{reader::Step, retry::retry_after_trim, visible::VisibleBatches},
        state::segment_list::end_of,
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

/// Refuses a time before 1970, as Kafka does: no record has one, and a minus sign is mostly a slip.
pub fn check_time(time: Timestamp) -> Result<()> {
    if time.as_millis() >= 0 {
        return Ok(());
    }
    let reason = format!(
        "records are found by times in milliseconds since 1970, which {time} is not; to begin with the first record, read from the log start"
    );
    Err(Error::InvalidArgument { reason })
}

/// The first record at or after the log start whose timestamp is `timestamp` or later, below the bound of `isolation`.
/// The search looks in the first segment whose largest timestamp is late enough and, unlike Kafka's, in the next such
/// segment where the record with that timestamp lies before the log start.
///
/// # Errors
///
/// Those of reading. Where the record that is asked for may lie in damage it is `Corrupt`, also if others that are late
/// enough follow: a later one is never taken for the first.
pub fn offset_for_timestamp(
    log: &Arc<Log>,
    timestamp: Timestamp,
    isolation: IsolationLevel,
) -> Result<Option<OffsetAndTimestamp>> {
    finding(log, || look_for_timestamp(log, timestamp, isolation))
}

/// The first record that has the largest timestamp of the log (KIP-734).
pub fn offset_of_max_timestamp(log: &Arc<Log>) -> Result<Option<OffsetAndTimestamp>> {
    finding(log, || look_for_max_timestamp(log))
}

/// As [`retry_after_trim`], but an empty answer counts only where nothing was removed in between.
fn finding(
    log: &Log,
    look: impl Fn() -> Result<Option<OffsetAndTimestamp>>,
) -> Result<Option<OffsetAndTimestamp>> {
    loop {
        let log_start = log.offsets.log_start();
        let found = retry_after_trim(log, &look)?;
        if found.is_some() || log.offsets.log_start() == log_start {
            return Ok(found);
        }
    }
}

fn look_for_timestamp(
    log: &Arc<Log>,
    timestamp: Timestamp,
    isolation: IsolationLevel,
) -> Result<Option<OffsetAndTimestamp>> {
    let segments = log.segments.snapshot();
    let (log_start, log_end) = (log.offsets.log_start(), log.offsets.log_end());
    for (i, segment) in segments.iter().enumerate() {
        // In a log that another process writes, segments beyond its end may be known.
        let end = end_of(&segments, i, log_end).min(log_end);
        if end <= segment.base().max(log_start) {
            continue;
        }
        let Some(from) = segment.floor_of_time(timestamp, end)? else { continue };
        let is_late_enough = |t: Timestamp| {
            planted!(a_time_is_earlier_than_itself => return t > timestamp);
            t >= timestamp
        };
        let offsets = from.max(log_start)..end;
        let found = first_record(log, offsets, |batch| batch.max_timestamp >= timestamp, is_late_enough)?;
        if found.is_some() {
            return Ok(found.filter(|f| f.offset < log.offsets.bound(isolation)));
        }
        planted!(what_was_removed_hides_what_follows => return Ok(None));
    }
    Ok(None)
}

/// The largest timestamp of `segment`, which ends at `end`.
///
/// # Errors
///
/// `Corrupt` where damage hides it.
pub(in crate::partition) fn largest_timestamp_of(
    log: &Arc<Log>,
    segment: &Segment,
    end: Offset,
) -> Result<Timestamp> {
    match segment.largest_timestamp_below(end)? {
        Some(largest) => Ok(largest),
        None => largest_between(log, segment.base().max(log.offsets.log_start())..end),
    }
}

fn look_for_max_timestamp(log: &Arc<Log>) -> Result<Option<OffsetAndTimestamp>> {
    let segments = log.segments.snapshot();
    let (start, bound) = (log.offsets.log_start(), log.offsets.high_watermark());
    let log_end = log.offsets.log_end();
    let mut known: Vec<(Timestamp, Range<Offset>)> = Vec::new();
    for (i, segment) in segments.iter().enumerate() {
        let end = end_of(&segments, i, log_end);
        if end.min(bound) <= segment.base().max(start) {
            continue;
        }
        // The index also covers records that can no longer be read, or not yet.
        let largest = if segment.base() >= start && end <= bound {
            largest_timestamp_of(log, segment, end)?
        } else {
            largest_between(log, segment.base().max(start)..end.min(bound))?
        };
        if !largest.is_none() {
            known.push((largest, segment.base()..end));
        }
    }
    while let Some(best) = first_of_the_largest(&known) {
        let (largest, offsets) = known.remove(best);
        let found =
            first_record(log, offsets.clone(), |batch| batch.max_timestamp >= largest, |t| t == largest)?;
        if found.is_some() {
            return Ok(found);
        }
        // A cleaner leaves the time of a batch that it empties.
        let left = largest_between(log, offsets.start.max(start)..offsets.end.min(bound))?;
        if !left.is_none() && left < largest {
            known.insert(best, (left, offsets));
        }
    }
    Ok(None)
}

fn first_of_the_largest(known: &[(Timestamp, Range<Offset>)]) -> Option<usize> {
    let largest = known.iter().map(|(time, _)| *time).max()?;
    planted!(the_last_of_the_largest_times => return known.iter().rposition(|(time, _)| *time == largest));
    known.iter().position(|(time, _)| *time == largest)
}

/// All batches from `from` on. As in Kafka, the time of a control batch counts like any other.
fn all_from(log: &Arc<Log>, from: Offset) -> VisibleBatches {
    VisibleBatches::new(Arc::clone(log), IsolationLevel::ReadUncommitted, from).with_hidden_ones()
}

/// The largest timestamp of the records at these offsets, by reading them.
fn largest_between(log: &Arc<Log>, offsets: Range<Offset>) -> Result<Timestamp> {
    let mut largest = Timestamp::NONE;
    let mut batches = all_from(log, offsets.start).in_steps_of(Step::LARGEST);
    while batches.position() < offsets.end {
        let Some(header) = batches.peek()?.filter(|header| header.base_offset < offsets.end) else { break };
        if header.max_timestamp <= largest || header.record_count == 0 {
            batches.pass();
        } else if header.base_offset >= offsets.start {
            largest = header.max_timestamp;
            batches.pass();
        } else if let Some(batch) = batches.next()? {
            // Of the batch that the log start cuts, only the records after it count.
            let counted = batch.records.iter().filter(|record| record.offset >= offsets.start);
            largest = counted.map(|record| record.timestamp).fold(largest, Timestamp::max);
        }
    }
    Ok(largest)
}

/// The first record at these offsets of a batch that `batch_fits`, whose time `fits`.
fn first_record(
    log: &Arc<Log>,
    offsets: Range<Offset>,
    batch_fits: impl Fn(&BatchHeader) -> bool,
    fits: impl Fn(Timestamp) -> bool,
) -> Result<Option<OffsetAndTimestamp>> {
    let from = offsets.start.max(log.offsets.log_start());
    let mut batches = all_from(log, from);
    while batches.position() < offsets.end {
        let Some(header) = batches.peek()?.filter(|header| header.base_offset < offsets.end) else { break };
        if !batch_fits(header) {
            batches.pass();
            continue;
        }
        let Some(batch) = batches.next()? else { break };
        let mut records = batch.records.iter();
        if let Some(record) = records.find(|record| record.offset >= from && fits(record.timestamp)) {
            let leader_epoch = batch.header.leader_epoch;
            let (offset, timestamp) = (record.offset, record.timestamp);
            return Ok(Some(OffsetAndTimestamp { offset, timestamp, leader_epoch }));
        }
    }
    Ok(None)
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
        let mut batch = encode(&[at(90)], &log.config(), Compression::None, Timestamp::NONE).unwrap();
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
