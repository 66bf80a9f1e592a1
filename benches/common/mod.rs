//! What the benches share: logs in fresh directories, records, and how long to measure.
#![allow(dead_code, unreachable_pub, reason = "each bench takes what it needs")]

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use std::{fs, path::Path, time::Duration};
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

/// Incompressible bytes, the same each time.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Appends so many records in batches of a thousand or of 512 KiB, whichever is less.
pub fn fill(partition: &Partition, count: usize, value: &[u8]) {
    let batch = 1000.min((512 << 10) / value.len()).max(1);
    let records = vec![RecordData::new(value); batch];
    for start in (0..count).step_by(batch) {
        partition.append(&records[..batch.min(count - start)]).expect("an append");
    }
}

/// A group of few samples: what is measured here takes microseconds at least, and there are many.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group
}

/// Copies a directory, as a crash of its process would leave it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}
