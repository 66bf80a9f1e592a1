//! Scanning a partition from its start, checksums verified and every byte touched; how it grows, and what it takes to leave
//! out what was aborted.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, bytes, fill, group, shape, transactions::Transactions, verify};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use streamlog::{Partition, clients::IsolationLevel, records::Batches};

/// How many records it has; the sum of their bytes is looked at and forgotten.
fn scan(partition: &Partition) -> usize {
    scan_all(partition.read(0))
}

fn scan_all(batches: Batches) -> usize {
    let (mut count, mut sum) = (0, 0u64);
    for batch in batches {
        for record in &batch.expect("a batch") {
            count += 1;
            let value = record.value.expect("a value");
            sum = value.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        }
    }
    black_box(sum);
    count
}

/// By size of record, ten times the records, and the same records in ten times the segments and partitions.
fn scans(criterion: &mut Criterion) {
    let mut group = group(criterion, "scan");
    for (size, count, segment, partitions) in [
        (100, 10_000, 64, 1),
        (100, 100_000, 64, 1),
        (100, 1_000_000, 64, 1),
        (100, 100_000, 1, 1),
        (100, 1_000_000, 1, 1),
        (100, 100_000, 64, 10),
        (100, 100_000, 64, 100),
        (1024, 10_000, 64, 1),
        (1024, 100_000, 64, 1),
        (64 << 10, 1_000, 64, 1),
    ] {
        let log = Log::spread(segment, partitions);
        let (all, value) = (log.topic.partitions(), bytes(size));
        for partition in &all {
            fill(partition, count / all.len(), &value);
            verify(partition, count / all.len(), &value);
        }
        group.throughput(Throughput::Elements(count as u64));
        let id = BenchmarkId::new(format!("{size} B"), shape(count, segment, partitions));
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let scanned = all.iter().map(|partition| scan(black_box(partition))).sum::<usize>();
                assert_eq!(scanned, count);
            });
        });
    }
}

/// One-record transactions: none of them aborted, one of ten, one of two; by readers that see what was aborted, and by
/// those that do not.
fn transactions(criterion: &mut Criterion) {
    let mut group = group(criterion, "scan transactions");
    let count = 100_000;
    for (aborted, name) in [(0, "none"), (10, "one of 10"), (2, "one of 2")] {
        let log = Transactions::new(count, aborted);
        for isolation in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
            let hidden = count.checked_div(aborted).filter(|_| isolation == IsolationLevel::ReadCommitted);
            let shown = count - hidden.unwrap_or(0);
            group.throughput(Throughput::Elements(shown));
            let id = BenchmarkId::new(format!("{name} aborted"), isolation);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let scanned = scan_all(black_box(&log.partition).read_with(0, isolation));
                    assert_eq!(scanned as u64, shown);
                });
            });
        }
    }
}

criterion_group!(benches, scans, transactions);
criterion_main!(benches);
