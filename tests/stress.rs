//! Many threads doing everything at once on one small log: appending, sending, rolling, reading both ways, removing,
//! consuming, committing, flushing. For the sanitizers, and for plain runs.
//!
//! Each record says who wrote it and its number there; a number is held against the ones before it wherever it is read.
//! What was acknowledged and not removed is there in the end, and after reopening.
//! `STREAMLOG_STRESS_SECONDS` says how long each takes (2).
//!
//! The lock is none of std's: ThreadSanitizer does not see what std does where it was compiled without.

mod support;

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::Scope,
    time::{Duration, Instant},
};
use streamlog::{
    Consumer, Durability, Error, Partition, Producer, ProducerRecord, RecordData, Streamlog, TopicConfig,
    config::{Compression, ConfigChange, ReadMode},
    records::OwnedRecord,
};

const PARTITIONS: u32 = 2;

fn duration() -> Duration {
    let seconds = std::env::var("STREAMLOG_STRESS_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(2.0))
}

/// What the threads share.
struct Stress {
    log: Streamlog,
    until: Instant,
    stop: AtomicBool,
    /// By partition and offset: what was acknowledged.
    acknowledged: Mutex<BTreeMap<(u32, u64), String>>,
    read: AtomicU64,
    consumed: AtomicU64,
    removed: AtomicU64,
}

impl Stress {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && Instant::now() < self.until
    }

    fn partition(&self, index: u32) -> Partition {
        self.log.topic("t").unwrap().partition(index).unwrap()
    }

    fn acknowledge(&self, partition: u32, offset: u64, value: String) {
        let before = self.acknowledged.lock().insert((partition, offset), value);
        assert_eq!(before, None, "two records got offset {offset}");
    }

    /// Batches, straight to a partition.
    fn append(&self, thread: &str) {
        let mut number = 0;
        while self.goes_on() {
            let index = number as u32 % PARTITIONS;
            let values: Vec<String> =
                (0..1 + number % 3).map(|i| format!("{thread}:{}", number + i)).collect();
            let records: Vec<_> = values.iter().map(RecordData::new).collect();
            let offsets = self.partition(index).append(&records).unwrap();
            number += values.len() as u64;
            for (offset, value) in (offsets.start.value()..offsets.end.value()).zip(values) {
                self.acknowledge(index, offset, value);
            }
        }
    }

    fn send(&self, producer: &Producer, thread: &str) {
        let mut number = 0;
        while self.goes_on() {
            let mut deliveries = Vec::new();
            for _ in 0..20 {
                let value = format!("{thread}:{number}");
                let record = ProducerRecord::new("t", &value).partition(number as u32 % PARTITIONS);
                deliveries.push((value.clone(), producer.enqueue(record).unwrap()));
                number += 1;
            }
            let value = format!("{thread}:{number}");
            let sent = producer.send(ProducerRecord::new("t", &value).partition(number as u32 % PARTITIONS));
            let sent = sent.unwrap();
            self.acknowledge(sent.partition(), sent.offset.value(), value);
            number += 1;
            for (value, delivery) in deliveries {
                let metadata = delivery.wait().unwrap();
                self.acknowledge(metadata.partition(), metadata.offset.value(), value);
            }
        }
    }

    fn read(&self, index: u32) {
        let partition = self.partition(index);
        while self.goes_on() {
            let mut order = Order::default();
            let mut next = partition.log_start_offset().value();
            for batch in partition.read(next) {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(Error::OffsetOutOfRange { earliest, .. }) if earliest > next => break,
                    Err(error) => panic!("{error}"),
                };
                for record in &batch {
                    assert_eq!(record.offset, next);
                    order.take(record.value.unwrap());
                    next += 1;
                }
                self.read.fetch_add(1, Ordering::Relaxed);
            }
            let last = partition.last(20).unwrap();
            let mut order = Order::default();
            last.iter().for_each(|record: &OwnedRecord| order.take(record.value.as_deref().unwrap()));
            assert!(last.is_sorted_by_key(|record| record.offset));
            if let Some(found) = partition.offset_of_max_timestamp().unwrap() {
                partition.offset_for_timestamp(found.timestamp).unwrap();
            }
        }
    }

    fn consume(&self, consumer: &mut Consumer) {
        let mut orders = [(); PARTITIONS as usize].map(|()| Order::default());
        while self.goes_on() {
            let records = consumer.poll(Duration::from_millis(20)).unwrap();
            for record in &records {
                orders[record.partition() as usize].take(record.value.unwrap());
                self.consumed.fetch_add(1, Ordering::Relaxed);
            }
            match consumer.commit_sync() {
                Ok(()) | Err(Error::OffsetOutOfRange { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes away what is old, changes settings, looks at everything.
    fn keep(&self) {
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            std::thread::sleep(Duration::from_millis(5));
            let index = round % PARTITIONS;
            let partition = self.partition(index);
            let before = partition.high_watermark().value().saturating_sub(200);
            match self.log.delete_records("t", index, before) {
                Ok(_) | Err(Error::OffsetOutOfRange { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            match round % 4 {
                0 => self.log.maintain().unwrap(),
                1 => partition.flush().unwrap(),
                2 => drop(self.log.stats()),
                _ => {
                    let size = ["4096", "9000"][round as usize / 4 % 2];
                    self.log.alter_topic("t", &[ConfigChange::set("segment.bytes", size)]).unwrap();
                }
            }
            self.removed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that was acknowledged and not removed is there, under its offset.
    fn check(&self, log: &Streamlog) {
        let acknowledged = self.acknowledged.lock();
        for index in 0..PARTITIONS {
            let partition = log.topic("t").unwrap().partition(index).unwrap();
            let start = partition.log_start_offset().value();
            let mut next = start;
            for batch in partition.read(start) {
                for record in &batch.unwrap() {
                    let expected = acknowledged.get(&(index, next)).map(String::as_bytes);
                    assert_eq!((record.offset.value(), record.value), (next, expected));
                    next += 1;
                }
            }
            let count = acknowledged.range((index, 0)..(index + 1, 0)).count() as u64;
            assert_eq!(next, count, "the offsets follow each other, and none is missing");
        }
    }
}

/// The last number seen of each thread.
#[derive(Default)]
struct Order(BTreeMap<String, u64>);

impl Order {
    fn take(&mut self, value: &[u8]) {
        let (thread, number) = std::str::from_utf8(value).unwrap().split_once(':').unwrap();
        let number: u64 = number.parse().unwrap();
        let before = self.0.insert(thread.to_string(), number);
        assert!(before.is_none_or(|before| before < number), "{thread}: {number} behind {before:?}");
    }
}

/// Stops everybody when one has failed.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn run<'scope>(
    scope: &'scope Scope<'scope, '_>,
    stop: &'scope AtomicBool,
    work: impl FnOnce() + Send + 'scope,
) {
    scope.spawn(move || {
        let _stop = StopOnPanic(stop);
        work();
    });
}

fn open(dir: &Path, mode: ReadMode) -> Streamlog {
    Streamlog::builder(dir).max_open_files(6).read_mode(mode).open().unwrap()
}

fn stress(durability: Durability, mode: ReadMode) {
    let dir = support::quick_dir();
    let log = open(dir.path(), mode);
    let config = TopicConfig::default().partitions(PARTITIONS).durability(durability);
    log.create_topic("t", config.segment_bytes(4096).index_interval_bytes(256)).unwrap();
    let shared = Stress {
        log: log.clone(),
        until: Instant::now() + duration(),
        stop: AtomicBool::new(false),
        acknowledged: Mutex::default(),
        read: AtomicU64::new(0),
        consumed: AtomicU64::new(0),
        removed: AtomicU64::new(0),
    };
    let linger = Duration::from_micros(300);
    let producer = log.producer_builder().linger(linger).compression(Compression::Lz4).build().unwrap();
    std::thread::scope(|scope| {
        let stop = &shared.stop;
        run(scope, stop, || shared.append("a"));
        run(scope, stop, || shared.append("b"));
        run(scope, stop, || shared.send(&producer, "c"));
        run(scope, stop, || shared.send(&producer, "d"));
        run(scope, stop, || shared.read(0));
        run(scope, stop, || shared.read(1));
        run(scope, stop, || shared.keep());
        run(scope, stop, || {
            let mut consumer = log.consumer("g").unwrap();
            consumer.subscribe(["t"]).unwrap();
            shared.consume(&mut consumer);
        });
    });
    shared.check(&log);
    drop(producer);
    log.close().unwrap();
    let again = open(dir.path(), mode);
    assert!(again.recovery_report().was_clean);
    shared.check(&again);
    println!(
        "{durability:?}, {mode:?}: {} acknowledged, {} batches read, {} consumed, {} rounds of removal",
        shared.acknowledged.lock().len(),
        shared.read.into_inner(),
        shared.consumed.into_inner(),
        shared.removed.into_inner()
    );
}

#[test]
fn everything_at_once_with_flushes_waited_for() {
    stress(Durability::Flushed, ReadMode::Mapped);
}

#[test]
fn everything_at_once_without_waiting_for_flushes() {
    stress(Durability::Written, ReadMode::Pread);
}
