//! Opening: after a clean close whatever the size, after a crash by the size of what was not flushed.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, bytes, copy, fill, group, topic};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use std::path::Path;
use streamlog::{Durability, Streamlog};
use tempfile::TempDir;

fn open(dir: &Path) -> Streamlog {
    Streamlog::open(dir).expect("a log")
}

/// Ten times the bytes, segments and partitions: an opening after a clean close must not notice the first two.
fn clean(criterion: &mut Criterion) {
    let mut group = group(criterion, "open/clean");
    let value = bytes(1000);
    for (mebibytes, segment) in [(1, 64), (10, 64), (100, 64), (10, 1), (100, 1)] {
        let log = Log::new(topic(Durability::Written).segment_bytes(segment << 20));
        fill(&log.partition(), mebibytes * 1000, &value);
        let dir = log.close();
        let name = format!("in segments of {segment} MiB");
        group.bench_function(BenchmarkId::new(name, format!("{mebibytes} MiB")), |bencher| {
            bencher.iter_batched(|| (), |()| open(dir.path()), BatchSize::PerIteration);
        });
    }
    for partitions in [1, 10, 100, 1000] {
        let dir = Log::new(topic(Durability::Written).with_partitions(partitions)).close();
        group.bench_function(BenchmarkId::new("idle partitions", partitions), |bencher| {
            bencher.iter_batched(|| (), |()| open(dir.path()), BatchSize::PerIteration);
        });
    }
}

/// A crash, as a copy of the files of a living log: so much was flushed, so much was not.
fn unclean(criterion: &mut Criterion) {
    let mut group = group(criterion, "open/unclean");
    let value = bytes(1000);
    for (flushed, unflushed) in [(0, 1), (0, 10), (0, 100), (100, 1)] {
        let log = Log::new(topic(Durability::Written));
        let partition = log.partition();
        fill(&partition, flushed * 1000, &value);
        partition.flush().expect("a flush");
        fill(&partition, unflushed * 1000, &value);
        let name = format!("{flushed} MiB flushed");
        group.bench_function(BenchmarkId::new(name, format!("{unflushed} MiB not")), |bencher| {
            let crash = || {
                let image = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
                copy(log.dir.path(), image.path());
                image
            };
            // Closing afterwards is not measured: what is returned is dropped outside.
            bencher.iter_batched(crash, |image| (open(image.path()), image), BatchSize::PerIteration);
        });
    }
}

criterion_group!(benches, clean, unclean);
criterion_main!(benches);
