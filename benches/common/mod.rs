//! What the benches share: logs in fresh directories, records, and how long to measure.
//!
//! Directories lie in the target directory, on a real file system. What appends does so to a log that is made anew before
//! it has grown much, so that files stay bounded and "a million records before" are one to two million.
//!
//! All benches together take some five minutes on two cores; `cargo bench -- --test` runs each once.
#![allow(dead_code, unreachable_pub, reason = "each bench takes what it needs")]

pub mod transactions;

use criterion::{Bencher, BenchmarkGroup, Criterion, measurement::WallTime};
use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};
use streamlog::{Durability, Partition, RecordData, Streamlog, Topic, TopicConfig};
use tempfile::TempDir;

/// The name of the topic in all benches.
pub const TOPIC: &str = "bench";

/// A log in a directory that is gone when it is dropped.
pub struct Log {
    pub log: Streamlog,
    pub topic: Topic,
    pub dir: TempDir,
}

impl Log {
    /// A new one with one topic.
    pub fn new(config: TopicConfig) -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let log = Streamlog::open(dir.path()).expect("a log");
        let topic = log.create_topic(TOPIC, config).expect("a topic");
        Log { log, topic, dir }
    }

    /// A new one whose topic is `Written`, with so many partitions in segments of so many MiB.
    pub fn spread(segment: u64, partitions: u32) -> Self {
        Log::new(topic(Durability::Written).segment_bytes(segment << 20).partitions(partitions))
    }

    /// Its first partition.
    pub fn partition(&self) -> Partition {
        self.topic.partition(0).expect("a partition")
    }

    /// Closes the log cleanly and keeps the directory.
    pub fn close(self) -> TempDir {
        let Log { log, topic, dir } = self;
        drop(topic);
        log.close().expect("a clean close");
        dir
    }
}

/// A topic of this durability, whose partitions roll at 64 MiB.
pub fn topic(durability: Durability) -> TopicConfig {
    TopicConfig::default().durability(durability).segment_bytes(64 << 20)
}

/// How records lie in a log of [`Log::spread`], for the names of measurements.
pub fn shape(records: usize, segment: u64, partitions: u32) -> String {
    let of = if partitions == 1 { String::new() } else { format!(" of {partitions} partitions") };
    format!("{records} in segments of {segment} MiB{of}")
}

/// Numbers in an order that looks like none, the same each time for the same seed, which is not 0.
pub fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Incompressible bytes, the same each time.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut next = numbers(0x9e37_79b9_7f4a_7c15);
    (0..len).map(|_| (next() >> 32) as u8).collect()
}

/// Appends so many records in batches of a thousand or of 512 KiB, whichever is less.
pub fn fill(partition: &Partition, count: usize, value: &[u8]) {
    let batch = 1000.min((512 << 10) / value.len()).max(1);
    let records = vec![RecordData::new(value); batch];
    for start in (0..count).step_by(batch) {
        partition.append(&records[..batch.min(count - start)]).expect("an append");
    }
}

/// How much is appended before a log is made anew.
pub const ROOM: u64 = 256 << 20;

/// How many calls that append so many bytes each have room in a log.
pub fn calls_in_room(bytes: usize) -> u64 {
    (ROOM / bytes as u64).max(1)
}

/// Measures `call` on what `setup` makes, which is made anew after `room` calls. Only the calls are measured; `call` is
/// told how many it is to make.
pub fn measure_calls<S>(
    bencher: &mut Bencher<'_>,
    room: u64,
    mut setup: impl FnMut() -> S,
    mut call: impl FnMut(&mut S, u64),
) {
    let mut state = None;
    bencher.iter_custom(|calls| {
        let (mut time, mut left) = (Duration::ZERO, calls);
        while left > 0 {
            let (mut on, free) = match state.take() {
                Some((on, free)) if free > 0 => (on, free),
                // The one before is gone first.
                used => {
                    drop(used);
                    (setup(), room)
                }
            };
            let now = left.min(free);
            let start = Instant::now();
            call(&mut on, now);
            time += start.elapsed();
            state = Some((on, free - now));
            left -= now;
        }
        time
    });
}

/// Measures single calls: see [`measure_calls`].
pub fn measure<S>(
    bencher: &mut Bencher<'_>,
    room: u64,
    setup: impl FnMut() -> S,
    mut call: impl FnMut(&mut S),
) {
    measure_calls(bencher, room, setup, |on, calls| (0..calls).for_each(|_| call(on)));
}

/// Looks whether a partition has so many records, each of this value.
pub fn verify(partition: &Partition, count: usize, value: &[u8]) {
    let mut left = count;
    for batch in partition.read(partition.log_start_offset()) {
        for record in &batch.expect("a batch") {
            assert!(record.value == Some(value), "another value at offset {}", record.offset);
            left = left.checked_sub(1).expect("no more records than that");
        }
    }
    assert_eq!(left, 0, "records that are missing");
}

/// A group of few samples: what is measured here takes microseconds at least, and there are many.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group
}

/// As [`group`], for what is made anew often, which takes much longer than what is measured.
pub fn short_group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = group(criterion, name);
    group.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(200));
    group
}

/// Brings a directory up to date with another one, and writes nothing but the pages that differ: what the process of the
/// other one leaves when it dies now, as dirty in the cache as it was.
pub fn update(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            update(&path, &target);
            continue;
        }
        let (new, old) = (fs::read(&path).expect("a file"), fs::read(&target).unwrap_or_default());
        let open = File::options().create(true).truncate(false).write(true).open(&target);
        let mut file = open.expect("a file");
        for (i, page) in new.chunks(PAGE).enumerate() {
            let start = i * PAGE;
            if old.get(start..start + page.len()) != Some(page) {
                file.seek(SeekFrom::Start(start as u64)).expect("a place");
                file.write_all(page).expect("space");
            }
        }
        file.set_len(new.len() as u64).expect("a length");
    }
}

const PAGE: usize = 4096;

/// Flushes every file of a directory.
pub fn flush(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            flush(&path);
        } else {
            File::open(&path).and_then(|file| file.sync_all()).expect("a flush");
        }
    }
}
