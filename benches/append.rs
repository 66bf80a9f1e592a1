//! Appending to a partition: by size of record and batch, by threads, by durability; and how it grows.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, bytes, calls_in_room, fill, group, measure, measure_calls, short_group, topic, verify};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use streamlog::{Durability, Partition, RecordData, TopicConfig};

const DURABILITIES: [(Durability, &str); 2] =
    [(Durability::Written, "written"), (Durability::Flushed, "flushed")];

/// A log, and its first partition.
type On = (Log, Partition);

fn on(config: TopicConfig) -> On {
    let log = Log::new(config);
    let partition = log.partition();
    (log, partition)
}

fn append(partition: &Partition, records: &[RecordData<'_>]) {
    partition.append(black_box(records)).expect("an append");
}

/// Records of three sizes, one a call and in batches.
fn sizes(criterion: &mut Criterion) {
    for (durability, name) in DURABILITIES {
        let mut group = group(criterion, &format!("append/{name}"));
        for (size, batch) in [(100, 1), (100, 1000), (1024, 1), (1024, 256), (64 << 10, 1), (64 << 10, 8)] {
            let value = bytes(size);
            let records = vec![RecordData::new(&value); batch];
            let (_log, partition) = on(topic(durability));
            (0..3).for_each(|_| append(&partition, &records));
            verify(&partition, 3 * batch, &value);
            group.throughput(Throughput::Bytes((size * batch) as u64));
            let id = BenchmarkId::new(format!("{size} B"), format!("batches of {batch}"));
            group.bench_function(id, |bencher| {
                let setup = || on(topic(durability));
                measure(bencher, calls_in_room(size * batch), setup, |(_, partition)| {
                    append(partition, &records);
                });
            });
        }
    }
}

/// Several threads on one partition, one record a call and in batches: an iteration is a call by each.
fn threads(criterion: &mut Criterion) {
    let value = bytes(100);
    for (durability, name) in DURABILITIES {
        let mut group = group(criterion, &format!("append/threads/{name}"));
        for (threads, batch) in [(1, 1), (2, 1), (4, 1), (16, 1), (1, 100), (4, 100), (16, 100)] {
            let records = vec![RecordData::new(&value); batch];
            group.throughput(Throughput::Elements((threads * batch) as u64));
            group.bench_function(BenchmarkId::new(format!("batches of {batch}"), threads), |bencher| {
                let (room, setup) = (calls_in_room(100 * batch * threads), || on(topic(durability)));
                measure_calls(bencher, room, setup, |(_, partition), calls| {
                    at_once(partition, &records, threads, calls);
                });
            });
        }
    }
}

fn at_once(partition: &Partition, records: &[RecordData<'_>], threads: usize, calls: u64) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..calls).for_each(|_| append(partition, records)));
        }
    });
}

/// Ten times the records, segments and partitions before it: an append must not notice.
fn growth(criterion: &mut Criterion) {
    let mut group = short_group(criterion, "append/growth");
    let value = bytes(100);
    let records = vec![RecordData::new(&value); 100];
    for before in [10_000, 100_000, 1_000_000] {
        let setup = || {
            let on = on(topic(Durability::Written));
            fill(&on.1, before, &value);
            on
        };
        group.bench_function(BenchmarkId::new("records before", before), |bencher| {
            measure(bencher, before as u64 / 100, setup, |(_, partition)| append(partition, &records));
        });
    }
    // Each of some six such batches: the appends that roll are among those that are measured.
    for segments in [10, 100] {
        let setup = || {
            let on = on(topic(Durability::Written).segment_bytes(64 << 10));
            while on.1.segment_count() < segments {
                append(&on.1, &records);
            }
            on
        };
        group.bench_function(BenchmarkId::new("segments before", segments), |bencher| {
            measure(bencher, segments as u64 * 5, setup, |(_, partition)| append(partition, &records));
        });
    }
    for partitions in [1, 10, 100] {
        let setup = || {
            let log = Log::new(topic(Durability::Written).partitions(partitions));
            let all = log.topic.partitions();
            (log, all, 0)
        };
        group.bench_function(BenchmarkId::new("partitions in turn", partitions), |bencher| {
            measure(bencher, calls_in_room(100 * 100), setup, |(_, all, turn)| {
                append(&all[*turn % all.len()], &records);
                *turn += 1;
            });
        });
    }
}

criterion_group!(benches, sizes, threads, growth);
criterion_main!(benches);
