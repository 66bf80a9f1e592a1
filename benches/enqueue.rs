//! Enqueueing: one record per call into the batch of its partition; by threads, keys, size; and how it grows.
//!
//! An iteration is ten thousand records and a flush, so that what waits for the writing thread is spread over many.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, TOPIC, bytes, calls_in_room, fill, group, measure, short_group, topic, verify};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use streamlog::{Durability, Producer, ProducerRecord, TopicConfig};

const CALLS: usize = 10_000;

fn on(config: TopicConfig) -> (Log, Producer) {
    let log = Log::new(config);
    let producer = log.log.producer().expect("a producer");
    (log, producer)
}

/// The records of an iteration to a topic that was looked up before.
fn enqueue(log: &Log, producer: &Producer, value: &[u8]) {
    for _ in 0..CALLS {
        producer.enqueue(ProducerRecord::new(&log.topic, value)).expect("room");
    }
}

fn enqueue_and_flush(log: &Log, producer: &Producer, value: &[u8]) {
    enqueue(log, producer, value);
    producer.flush().expect("a flush");
}

fn sizes(criterion: &mut Criterion) {
    for (durability, name) in [(Durability::Written, "written"), (Durability::Flushed, "flushed")] {
        let mut group = group(criterion, &format!("enqueue/{name}"));
        group.throughput(Throughput::Elements(CALLS as u64));
        for size in [100, 1024] {
            let value = bytes(size);
            let (log, producer) = on(topic(durability));
            enqueue_and_flush(&log, &producer, &value);
            verify(&log.partition(), CALLS, &value);
            group.bench_function(BenchmarkId::new("resolved topic", format!("{size} B")), |bencher| {
                let setup = || on(topic(durability));
                measure(bencher, calls_in_room(CALLS * size), setup, |(log, producer)| {
                    enqueue_and_flush(log, producer, &value);
                });
            });
        }
    }
}

/// By name and by key, to ten times the partitions.
fn ways(criterion: &mut Criterion) {
    let mut group = group(criterion, "enqueue/ways");
    group.throughput(Throughput::Elements(CALLS as u64));
    let value = bytes(100);
    for partitions in [1, 10, 100] {
        let setup = || on(topic(Durability::Written).partitions(partitions));
        group.bench_function(BenchmarkId::new("by name", partitions), |bencher| {
            measure(bencher, calls_in_room(CALLS * 100), setup, |(_, producer)| {
                for _ in 0..CALLS {
                    producer.enqueue(ProducerRecord::new(TOPIC, &value)).expect("room");
                }
                producer.flush().expect("a flush");
            });
        });
        group.bench_function(BenchmarkId::new("by key", partitions), |bencher| {
            measure(bencher, calls_in_room(CALLS * 100), setup, |(log, producer)| {
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
    let value = bytes(100);
    for threads in [1, 2, 4] {
        group.throughput(Throughput::Elements((CALLS * threads) as u64));
        group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
            let (room, setup) = (calls_in_room(CALLS * threads * 100), || on(topic(Durability::Written)));
            measure(bencher, room, setup, |(log, producer)| {
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| enqueue(log, producer, &value));
                    }
                });
                producer.flush().expect("a flush");
            });
        });
    }
}

/// Ten times the records and the segments before.
fn growth(criterion: &mut Criterion) {
    let mut group = short_group(criterion, "enqueue/growth");
    group.throughput(Throughput::Elements(CALLS as u64));
    let value = bytes(100);
    for (before, segment) in [(100_000, 64), (1_000_000, 64), (100_000, 1), (1_000_000, 1)] {
        let setup = || {
            let on = on(topic(Durability::Written).segment_bytes(segment << 20));
            fill(&on.0.partition(), before, &value);
            on
        };
        let id = BenchmarkId::new(format!("before in segments of {segment} MiB"), before);
        group.bench_function(id, |bencher| {
            measure(bencher, (before / CALLS) as u64, setup, |(log, producer)| {
                enqueue_and_flush(log, producer, &value);
            });
        });
    }
}

criterion_group!(benches, sizes, ways, threads, growth);
criterion_main!(benches);
