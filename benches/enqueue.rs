//! Enqueueing: one record per call into the batch of its partition; by threads, keys, partitions and size.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, TOPIC, bytes, group, topic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::{Duration, Instant};
use streamlog::{Durability, ProducerRecord};

/// So many records an iteration, so that what waits for the writing thread is spread over many.
const CALLS: u64 = 10_000;

fn sizes(criterion: &mut Criterion) {
    for (durability, name) in [(Durability::Written, "written"), (Durability::Flushed, "flushed")] {
        let mut group = group(criterion, &format!("enqueue/{name}"));
        group.throughput(Throughput::Elements(CALLS));
        for size in [100, 1024] {
            let log = Log::new(topic(durability));
            let (producer, value) = (log.log.producer().expect("a producer"), bytes(size));
            group.bench_function(BenchmarkId::new("resolved topic", format!("{size} B")), |bencher| {
                bencher.iter(|| {
                    for _ in 0..CALLS {
                        producer.enqueue(ProducerRecord::new(&log.topic, &value)).expect("room");
                    }
                    producer.flush().expect("a flush");
                });
            });
        }
    }
}

/// By name, by key, to ten times the partitions.
fn ways(criterion: &mut Criterion) {
    let mut group = group(criterion, "enqueue/ways");
    group.throughput(Throughput::Elements(CALLS));
    for partitions in [1, 10, 100] {
        let log = Log::new(topic(Durability::Written).with_partitions(partitions));
        let (producer, value) = (log.log.producer().expect("a producer"), bytes(100));
        group.bench_function(BenchmarkId::new("by name", partitions), |bencher| {
            bencher.iter(|| {
                for _ in 0..CALLS {
                    producer.enqueue(ProducerRecord::new(TOPIC, &value)).expect("room");
                }
                producer.flush().expect("a flush");
            });
        });
        group.bench_function(BenchmarkId::new("by key", partitions), |bencher| {
            bencher.iter(|| {
                for number in 0..CALLS {
                    let key = number.to_le_bytes();
                    producer.enqueue(ProducerRecord::new(&log.topic, &value).key(&key)).expect("room");
                }
                producer.flush().expect("a flush");
            });
        });
    }
}

/// Several threads with one producer.
fn threads(criterion: &mut Criterion) {
    let mut group = group(criterion, "enqueue/threads");
    for threads in [1, 2, 4] {
        let log = Log::new(topic(Durability::Written));
        let (producer, value) = (log.log.producer().expect("a producer"), bytes(100));
        group.throughput(Throughput::Elements(CALLS * threads));
        group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut time = Duration::ZERO;
                for _ in 0..rounds {
                    let start = Instant::now();
                    std::thread::scope(|scope| {
                        for _ in 0..threads {
                            scope.spawn(|| {
                                for _ in 0..CALLS {
                                    producer.enqueue(ProducerRecord::new(&log.topic, &value)).expect("room");
                                }
                            });
                        }
                    });
                    producer.flush().expect("a flush");
                    time += start.elapsed();
                }
                time
            });
        });
    }
}

criterion_group!(benches, sizes, ways, threads);
criterion_main!(benches);
