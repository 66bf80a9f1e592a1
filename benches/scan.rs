//! Scanning a partition from its start, checksums verified and every byte touched; and how it grows.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, bytes, fill, group, topic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use streamlog::{Durability, Partition};

fn scan(partition: &Partition) -> (u64, u64) {
    let (mut count, mut sum) = (0, 0u64);
    for batch in partition.read(0) {
        for record in &batch.expect("a batch") {
            count += 1;
            let value = record.value.expect("a value");
            sum = value.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        }
    }
    (count, sum)
}

/// By size of record, ten times the records, and the same records in ten times the segments.
fn scans(criterion: &mut Criterion) {
    let mut group = group(criterion, "scan");
    for (size, count, segment) in [
        (100, 10_000, 64 << 20),
        (100, 100_000, 64 << 20),
        (100, 1_000_000, 64 << 20),
        (100, 100_000, 1 << 20),
        (100, 1_000_000, 1 << 20),
        (1024, 10_000, 64 << 20),
        (1024, 100_000, 64 << 20),
        (64 << 10, 1_000, 64 << 20),
    ] {
        let log = Log::new(topic(Durability::Written).segment_bytes(segment));
        let partition = log.partition();
        fill(&partition, count, &bytes(size));
        assert_eq!(scan(&partition).0, count as u64);
        group.throughput(Throughput::Elements(count as u64));
        let id =
            BenchmarkId::new(format!("{size} B"), format!("{count} in segments of {} MiB", segment >> 20));
        group.bench_function(id, |bencher| bencher.iter(|| scan(black_box(&partition))));
    }
}

criterion_group!(benches, scans);
criterion_main!(benches);
