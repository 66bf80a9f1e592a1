//! Calls in any order on a machine whose operations fail and whose power goes, beside a model that is a list.
//!
//! A call that fails must have met a fault in this life of the log, and leaves the log as the model knows it. What was
//! acknowledged is there in the next life; what was not may be there, in whole batches.

use crate::{
    env::sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    error::{Error, Result},
    partition::{handle::Partition, write::encode::RecordData},
    streamlog::{Builder, Streamlog},
    topic::config::TopicConfig,
    types::{Durability, Timestamp},
};

const OPERATIONS: [Operation; 14] = [
    Operation::Open,
    Operation::Create,
    Operation::Read,
    Operation::Write,
    Operation::SetLen,
    Operation::Allocate,
    Operation::Sync,
    Operation::SyncDir,
    Operation::Rename,
    Operation::Remove,
    Operation::List,
    Operation::Metadata,
    Operation::Map,
    Operation::Lock,
];

/// What was appended: the record at `n` has the offset `n`.
#[derive(Default)]
struct Model {
    records: Vec<Vec<u8>>,
    /// Where batches end.
    ends: Vec<u64>,
    log_start: u64,
    /// A start that was asked for, by a call that failed.
    asked_start: Option<u64>,
    /// Below it nothing is lost with the power.
    durable: u64,
    /// Below it nothing is lost with the process.
    acknowledged: u64,
}

impl Model {
    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn extend(&mut self, values: Vec<Vec<u8>>) {
        self.records.extend(values);
        self.ends.push(self.end());
    }
}

struct Run {
    env: SimEnv,
    log: Streamlog,
    partition: Partition,
    model: Model,
    durability: Durability,
    /// How many faults had struck when this life began.
    struck: u64,
}

/// Takes three bytes for each call; `choice` says what the topic is like.
pub(super) fn operations_with_faults(choice: u8, calls: &[u8]) {
    let durability = if choice & 4 == 0 { Durability::Flushed } else { Durability::Written };
    let Some(mut run) = Run::begin(u64::from(choice), durability) else { return };
    for [call, a, b] in calls.as_chunks::<3>().0.iter().take(40) {
        run.call(*call, *a, *b);
    }
    run.die(Crash::Kill, 0);
    assert!(run.env.violations().is_empty(), "{:?}", run.env.violations());
}

fn open(env: &SimEnv) -> Result<(Streamlog, Partition)> {
    let log = Builder::env(env, "/log").background_thread(false).max_open_files(3).open()?;
    let partition = log.topic("t")?.partition(0)?;
    Ok((log, partition))
}

impl Run {
    fn begin(choice: u64, durability: Durability) -> Option<Run> {
        let env = SimEnv::new(choice);
        let log = Builder::env(&env, "/log").background_thread(false).open().ok()?;
        let config = TopicConfig::default().segment_bytes(512 << (choice % 4)).durability(durability);
        log.create_topic("t", config.index_interval_bytes(64)).ok()?;
        log.close().ok()?;
        let (log, partition) = open(&env).ok()?;
        Some(Run { env, log, partition, model: Model::default(), durability, struck: 0 })
    }

    fn call(&mut self, call: u8, a: u8, b: u8) {
        match call % 16 {
            0..=4 => self.append(a, b),
            5 | 6 => self.read(),
            7 => self.last(usize::from(a) % 20),
            8 => self.flush(),
            9 => self.delete_records(u64::from(a) % (self.model.end() + 2)),
            10..=12 => self.inject(a, b),
            13 => self.env.clear_faults(),
            14 => self.reopen(),
            _ => self.die(Crash::ALL[usize::from(a) % Crash::ALL.len()], u64::from(b)),
        }
    }

    fn inject(&self, a: u8, b: u8) {
        let kind = FaultKind::HONEST[usize::from(a) % FaultKind::HONEST.len()];
        let mut fault = Fault::new(kind).skip(u64::from(b) / 8 % 8);
        if b & 1 == 0 {
            fault = fault.on(OPERATIONS[usize::from(a / 8) % OPERATIONS.len()]);
        }
        // What is interrupted, or cut short, for ever ends never.
        if b & 6 == 0 && matches!(kind, FaultKind::Io | FaultKind::DiskFull | FaultKind::TooManyFiles) {
            fault = fault.forever();
        }
        self.env.inject(fault);
    }

    /// Whether something has gone wrong in this life.
    fn is_hurt(&self) -> bool {
        self.env.struck() != self.struck
    }

    fn must_be_hurt(&self, error: &Error) {
        let typed = matches!(error, Error::Io { .. } | Error::DiskFull { .. } | Error::Poisoned { .. });
        assert!(self.is_hurt() && typed, "{error:?}");
    }

    fn append(&mut self, a: u8, b: u8) {
        let before = self.model.end();
        let values: Vec<Vec<u8>> =
            (0..a % 4 + 1).map(|i| vec![b.wrapping_add(i); usize::from(b) % 150]).collect();
        let time = Timestamp::from_millis(1);
        let records: Vec<_> = values.iter().map(|value| RecordData::new(value).timestamp(time)).collect();
        let appended = self.partition.append(&records);
        let end = before + values.len() as u64;
        if self.partition.log_end_offset() != before {
            self.model.extend(values);
        }
        match appended {
            Ok(offsets) => {
                assert_eq!((offsets.start.value(), offsets.end.value()), (before, end));
                assert_eq!(self.model.end(), end);
                self.model.acknowledged = end;
                if self.durability == Durability::Flushed {
                    self.model.durable = end;
                }
            }
            Err(Error::RecordTooLarge { .. }) => {}
            Err(error) => self.must_be_hurt(&error),
        }
        assert_eq!(self.partition.log_end_offset(), self.model.end());
        let visible = self.partition.high_watermark().value();
        assert!(self.model.acknowledged <= visible && visible <= self.model.end());
    }

    /// Everything that is visible, or as much of it as can be read.
    fn read(&self) {
        let mut next = self.model.log_start;
        for batch in self.partition.read(next) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return self.must_be_hurt(&error),
            };
            for record in &batch {
                let expected = self.model.records.get(next as usize).map(|value| &value[..]);
                assert_eq!((record.offset.value(), record.value), (next, expected));
                next += 1;
            }
        }
        assert_eq!(next, self.partition.high_watermark().value());
    }

    fn last(&self, count: usize) {
        match self.partition.last(count) {
            Ok(found) => {
                let visible = self.partition.high_watermark().value();
                let first = visible - (count as u64).min(visible - self.model.log_start);
                assert!(found.iter().map(|record| record.offset.value()).eq(first..visible));
            }
            Err(error) => self.must_be_hurt(&error),
        }
    }

    fn flush(&mut self) {
        match self.partition.flush() {
            Ok(()) => self.model.durable = self.model.end(),
            Err(error) => self.must_be_hurt(&error),
        }
    }

    fn delete_records(&mut self, before: u64) {
        let result = self.log.delete_records("t", 0, before);
        let start = self.partition.log_start_offset().value();
        if start != self.model.log_start {
            assert_eq!(start, before);
            self.model.log_start = start;
            self.model.asked_start = None;
            self.model.durable = self.model.durable.max(start);
            self.model.acknowledged = self.model.acknowledged.max(start);
        }
        match result {
            Ok(told) => assert_eq!(told, start),
            Err(Error::OffsetOutOfRange { .. }) => assert!(before > self.partition.high_watermark().value()),
            Err(error) => {
                self.must_be_hurt(&error);
                if before > start {
                    self.model.asked_start = self.model.asked_start.max(Some(before));
                }
            }
        }
    }

    /// Closes the log and opens it again. What is broken then stays so for the first attempt only.
    fn reopen(&mut self) {
        match self.log.clone().close() {
            Ok(()) if !self.is_hurt() => self.model.durable = self.model.end(),
            Ok(()) => {}
            Err(error) => self.must_be_hurt(&error),
        }
        let promised = if self.is_hurt() { self.model.durable } else { self.model.acknowledged };
        self.struck = self.env.struck();
        let opened = open(&self.env).or_else(|error| {
            self.must_be_hurt(&error);
            self.env.clear_faults();
            self.struck = self.env.struck();
            open(&self.env)
        });
        self.begin_life(promised, opened);
    }

    fn die(&mut self, crash: Crash, seed: u64) {
        let survives = crash == Crash::Kill && !self.is_hurt();
        let promised = if survives { self.model.acknowledged } else { self.model.durable };
        self.env = self.env.crash(crash, seed);
        self.struck = 0;
        let opened = open(&self.env);
        self.begin_life(promised, opened);
    }

    #[expect(clippy::panic, reason = "that is what a fuzz target is for")]
    fn begin_life(&mut self, promised: u64, opened: Result<(Streamlog, Partition)>) {
        match opened {
            Ok((log, partition)) => (self.log, self.partition) = (log, partition),
            Err(error) => panic!("it cannot be opened: {error:?}"),
        }
        let (start, end) =
            (self.partition.log_start_offset().value(), self.partition.log_end_offset().value());
        let model = &mut self.model;
        assert!(promised <= end && end <= model.end(), "{promised} <= {end} <= {}", model.end());
        assert!(end == model.log_start || end == 0 || model.ends.contains(&end), "half a batch: {end}");
        let asked = model.asked_start.take();
        assert!(start == model.log_start || asked.is_some_and(|asked| start <= asked), "{start}, {asked:?}");
        model.log_start = start;
        model.records.truncate(end as usize);
        model.ends.retain(|known| *known <= end);
        // What an opening finds it flushes, unless it met with faults itself.
        let certain = if self.env.struck() == self.struck { end } else { promised };
        (model.durable, model.acknowledged) = (certain, certain);
        self.read();
    }
}
