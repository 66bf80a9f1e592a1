//! Appending to a partition: by size of record and batch, by threads, by durability; and how it grows.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, bytes, fill, group, topic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use streamlog::{Durability, Partition, RecordData};

/// Records of three sizes, one a call and in batches.
fn sizes(criterion: &mut Criterion) {
    for (durability, name) in [(Durability::Written, "written"), (Durability::Flushed, "flushed")] {
        let mut group = group(criterion, &format!("append/{name}"));
        for (size, batch) in [(100, 1), (100, 1000), (1024, 1), (1024, 256), (64 << 10, 1), (64 << 10, 8)] {
            let log = Log::new(topic(durability));
            let (partition, value) = (log.partition(), bytes(size));
            let records = vec![RecordData::new(&value); batch];
            group.throughput(Throughput::Bytes((size * batch) as u64));
            group.bench_function(
                BenchmarkId::new(format!("{size} B"), format!("batches of {batch}")),
                |bencher| {
                    bencher.iter(|| partition.append(black_box(&records)).expect("an append"));
                },
            );
        }
    }
}

/// Several threads on one partition: an iteration is a call by each.
fn threads(criterion: &mut Criterion) {
    for (durability, name) in [(Durability::Written, "written"), (Durability::Flushed, "flushed")] {
        let mut group = group(criterion, &format!("append/threads/{name}"));
        for threads in [1, 2, 4, 16] {
            let log = Log::new(topic(durability));
            let (partition, value) = (log.partition(), bytes(100));
            group.throughput(Throughput::Elements(threads));
            group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
                bencher.iter_custom(|calls| at_once(&partition, &value, threads, calls));
            });
        }
    }
}

fn at_once(partition: &Partition, value: &[u8], threads: u64, calls: u64) -> std::time::Duration {
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..calls {
                    partition.append(&[RecordData::new(value)]).expect("an append");
                }
            });
        }
    });
    start.elapsed()
}

/// Ten times the records, segments and partitions before it: an append must not notice.
fn growth(criterion: &mut Criterion) {
    let mut group = group(criterion, "append/growth");
    let value = bytes(100);
    let records = vec![RecordData::new(&value); 1000];
    for before in [10_000, 100_000, 1_000_000] {
        let log = Log::new(topic(Durability::Written));
        let partition = log.partition();
        fill(&partition, before, &value);
        group.bench_function(BenchmarkId::new("records before", before), |bencher| {
            bencher.iter(|| partition.append(black_box(&records)).expect("an append"));
        });
    }
    for segments in [1, 10, 100] {
        let log = Log::new(topic(Durability::Written).segment_bytes(1 << 20));
        let partition = log.partition();
        fill(&partition, segments * 10_000, &value);
        group.bench_function(BenchmarkId::new("segments before", segments), |bencher| {
            bencher.iter(|| partition.append(black_box(&records)).expect("an append"));
        });
    }
    for partitions in [1, 10, 100] {
        let log = Log::new(topic(Durability::Written).with_partitions(partitions));
        let all = log.topic.partitions();
        let mut turn = all.iter().cycle();
        group.bench_function(BenchmarkId::new("partitions in turn", partitions), |bencher| {
            bencher.iter(|| {
                let partition = turn.next().expect("a partition");
                partition.append(black_box(&records)).expect("an append")
            });
        });
    }
}

criterion_group!(benches, sizes, threads, growth);
criterion_main!(benches);
