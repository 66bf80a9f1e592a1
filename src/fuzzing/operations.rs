//! Calls in any order, beside a model that is a list.
//!
//! Opening, closing and dying are calls like others. After each of them the log shows what the model holds. Every other
//! input runs on a machine where things fail as well (`faults`).

use super::directory::{builder, copy};
use crate::{
    env::memory::MemoryEnv,
    error::Error,
    partition::{handle::Partition, write::encode::RecordData},
    streamlog::Streamlog,
    topic::config::TopicConfig,
    types::{Compression, Durability, Timestamp},
};
use std::sync::Arc;

/// What was appended: the record at `n` has the offset `n`.
#[derive(Default)]
struct Model {
    records: Vec<(i64, Vec<u8>)>,
    log_start: u64,
}

struct Run {
    env: Arc<MemoryEnv>,
    log: Streamlog,
    partition: Partition,
    model: Model,
    /// Whether closing now must leave a clean directory: an opening that writes nothing leaves it as it was.
    closes_clean: bool,
}

/// Takes three bytes for each call; the first byte of all says what the topic is like.
pub fn operations(data: &[u8]) {
    let Some((choice, calls)) = data.split_first() else { return };
    #[cfg(feature = "sim")]
    if *choice >= 128 {
        return super::faults::operations_with_faults(*choice, calls);
    }
    let Some(mut run) = Run::begin(*choice) else { return };
    for [call, a, b] in calls.as_chunks::<3>().0.iter().take(40) {
        run.call(*call, *a, *b);
    }
    run.check_all();
    run.reopen(true);
    run.check_all();
}

impl Run {
    fn begin(choice: u8) -> Option<Run> {
        const CODECS: [Compression; 5] =
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        let env = MemoryEnv::new();
        let log = builder(&env).open().ok()?;
        let mut config = TopicConfig::default()
            .segment_bytes(512 << (choice % 4))
            .index_interval_bytes(64)
            .durability(if choice & 4 == 0 { Durability::Flushed } else { Durability::Written });
        let codec = CODECS[usize::from(choice / 8) % 5];
        if crate::codec::compress::is_available(codec) {
            config = config.compression(codec);
        }
        let partition = log.create_topic("t", config).and_then(|topic| topic.partition(0)).ok()?;
        Some(Run { env, log, partition, model: Model::default(), closes_clean: true })
    }

    fn call(&mut self, call: u8, a: u8, b: u8) {
        match call % 12 {
            0..=4 => self.append(a, b),
            5 => self.check_from(u64::from(a)),
            6 => self.check_last(usize::from(a) % 20),
            7 => assert!(self.partition.flush().is_ok()),
            8 => self.reopen(b.is_multiple_of(2)),
            9 => self.delete_records(u64::from(a)),
            10 => self.check_time(i64::from(a)),
            _ => assert!(self.log.maintain().is_ok()),
        }
    }

    fn append(&mut self, a: u8, b: u8) {
        let next = self.model.records.len() as u64;
        let new: Vec<(i64, Vec<u8>)> =
            (0..a % 5 + 1).map(|i| (i64::from(a ^ i), vec![b.wrapping_add(i); b.into()])).collect();
        let records: Vec<_> = new
            .iter()
            .map(|(time, value)| RecordData::new(value).key("k").timestamp(Timestamp::from_millis(*time)))
            .collect();
        match self.partition.append(&records) {
            Ok(offsets) => {
                assert_eq!((offsets.start.value(), offsets.end.value()), (next, next + records.len() as u64));
                self.model.records.extend(new);
                self.closes_clean = true;
            }
            // A batch that is larger than a segment.
            Err(Error::RecordTooLarge { .. }) => {}
            Err(error) => unexpected(&error),
        }
        assert_eq!(self.partition.log_end_offset(), self.model.records.len() as u64);
        assert_eq!(self.partition.high_watermark(), self.model.records.len() as u64);
    }

    fn check_all(&self) {
        assert_eq!(self.partition.log_start_offset(), self.model.log_start);
        self.check_from(self.model.log_start);
    }

    fn check_from(&self, from: u64) {
        let end = self.model.records.len() as u64;
        let mut next = from;
        for batch in self.partition.read(from) {
            match batch {
                Ok(batch) => {
                    for record in &batch {
                        assert_eq!(record.offset, next);
                        self.check_record(next, record.timestamp, record.value);
                        next += 1;
                    }
                }
                Err(Error::OffsetOutOfRange { requested, earliest, latest, .. }) => {
                    assert!(from < self.model.log_start || from > end);
                    assert_eq!(
                        (requested.value(), earliest.value(), latest.value()),
                        (from, self.model.log_start, end)
                    );
                    return;
                }
                Err(error) => unexpected(&error),
            }
        }
        assert!(from >= self.model.log_start);
        assert_eq!(next, end);
    }

    fn check_record(&self, offset: u64, time: Timestamp, value: Option<&[u8]>) {
        let expected = self.model.records.get(offset as usize);
        assert_eq!(Some((time.as_millis(), value)), expected.map(|(time, value)| (*time, Some(&value[..]))));
    }

    fn check_last(&self, count: usize) {
        let newest = self.partition.last(count);
        let Ok(newest) = newest else { return assert!(newest.is_ok(), "{newest:?}") };
        let held = self.model.records.len() - self.model.log_start as usize;
        assert_eq!(newest.len(), count.min(held));
        let first = self.model.records.len() - newest.len();
        for (record, offset) in newest.iter().zip(first as u64..) {
            assert_eq!(record.offset, offset);
            self.check_record(offset, record.timestamp, record.value.as_deref());
        }
    }

    fn check_time(&self, time: i64) {
        let skipped = self.model.log_start as usize;
        let later = |(_, (found, _)): &(usize, &(i64, Vec<u8>))| *found >= time;
        let expected = self.model.records.iter().enumerate().skip(skipped).find(later);
        let expected = expected.map(|(offset, (time, _))| (offset as u64, *time));
        let found = self.partition.offset_for_timestamp(Timestamp::from_millis(time));
        let found = found.map(|found| found.map(|found| (found.offset.value(), found.timestamp.as_millis())));
        assert!(found.as_ref().is_ok_and(|found| *found == expected), "{found:?} for {expected:?}");
    }

    fn delete_records(&mut self, before: u64) {
        match self.log.delete_records("t", 0, before) {
            Ok(start) => {
                self.model.log_start = self.model.log_start.max(before);
                assert_eq!(start, self.model.log_start);
            }
            Err(Error::OffsetOutOfRange { .. }) => {
                assert!(before > self.model.records.len() as u64 || before < self.model.log_start);
            }
            Err(error) => unexpected(&error),
        }
    }

    /// Closes the log, or lets its process die, and opens it again.
    fn reopen(&mut self, clean: bool) {
        if clean {
            assert!(self.log.clone().close().is_ok());
            assert!(matches!(self.partition.append(&[RecordData::new("late")]), Err(Error::Closed { .. })));
        } else {
            self.env = copy(&*self.env);
        }
        match builder(&self.env).open() {
            Ok(log) => self.log = log,
            Err(error) => unexpected(&error),
        }
        let was_clean = self.log.recovery_report().was_clean;
        assert!(was_clean || !clean || !self.closes_clean);
        self.closes_clean = was_clean;
        match self.log.topic("t").and_then(|topic| topic.partition(0)) {
            Ok(partition) => self.partition = partition,
            Err(error) => unexpected(&error),
        }
        self.check_all();
    }
}

#[cold]
#[expect(clippy::panic, reason = "that is what a fuzz target is for")]
fn unexpected(error: &Error) -> ! {
    panic!("unexpected: {error}")
}
