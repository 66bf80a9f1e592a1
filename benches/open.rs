//! Opening: after a clean close whatever the size, after a crash by the size of what was not flushed.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, TOPIC, bytes, fill, flush, group, topic, update, verify};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use std::path::Path;
use streamlog::{Durability, Partition, Streamlog};
use tempfile::TempDir;

fn open(dir: &Path) -> Streamlog {
    Streamlog::open(dir).expect("a log")
}

fn first_partition(log: &Streamlog) -> Partition {
    log.topic(TOPIC).and_then(|topic| topic.partition(0)).expect("a partition")
}

/// Ten times the bytes, segments and partitions: an opening after a clean close must not notice the first two.
fn clean(criterion: &mut Criterion) {
    let mut group = group(criterion, "open/clean");
    let value = bytes(1000);
    for (mebibytes, segment) in [(1, 64), (10, 64), (100, 64), (1000, 64), (10, 1), (100, 1)] {
        let log = Log::spread(segment, 1);
        fill(&log.partition(), mebibytes * 1000, &value);
        let dir = log.close();
        verify(&first_partition(&open(dir.path())), mebibytes * 1000, &value);
        let name = format!("in segments of {segment} MiB");
        group.bench_function(BenchmarkId::new(name, format!("{mebibytes} MiB")), |bencher| {
            bencher.iter_batched(|| (), |()| open(dir.path()), BatchSize::PerIteration);
        });
    }
    for partitions in [1, 10, 100, 1000] {
        let dir = Log::new(topic(Durability::Written).partitions(partitions)).close();
        group.bench_function(BenchmarkId::new("idle partitions", partitions), |bencher| {
            bencher.iter_batched(|| (), |()| open(dir.path()), BatchSize::PerIteration);
        });
    }
}

/// A crash, as a copy of the files of a living log: so much was flushed, so much was not. Of what is rolled the background
/// thread flushes most.
fn unclean(criterion: &mut Criterion) {
    let mut group = group(criterion, "open/unclean");
    let value = bytes(1000);
    for (flushed, unflushed, segment, partitions) in [
        (0, 1, 64, 1),
        (0, 10, 64, 1),
        (0, 100, 64, 1),
        (10, 1, 64, 1),
        (100, 1, 64, 1),
        (0, 10, 1, 1),
        (0, 100, 1, 1),
        (0, 10, 64, 10),
        (0, 10, 64, 100),
    ] {
        let log = Log::spread(segment, partitions);
        let all = log.topic.partitions();
        for partition in &all {
            fill(partition, flushed * 1000 / all.len(), &value);
            partition.flush().expect("a flush");
        }
        let directory = || TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let before = directory();
        update(log.dir.path(), before.path());
        all.iter().for_each(|partition| fill(partition, unflushed * 1000 / all.len(), &value));
        let crash = || {
            let image = directory();
            update(before.path(), image.path());
            flush(image.path());
            update(log.dir.path(), image.path());
            image
        };
        let image = crash();
        verify(&first_partition(&open(image.path())), (flushed + unflushed) * 1000 / all.len(), &value);
        let name = format!("{partitions} partitions in segments of {segment} MiB");
        let id = BenchmarkId::new(name, format!("{flushed} MiB flushed, {unflushed} not"));
        group.bench_function(id, |bencher| {
            // Closing afterwards is not measured: what is returned is dropped outside.
            bencher.iter_batched(crash, |image| (open(image.path()), image), BatchSize::PerIteration);
        });
    }
}

criterion_group!(benches, clean, unclean);
criterion_main!(benches);
