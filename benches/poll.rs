//! Polling: what is there already, across partitions; and a poll that finds nothing.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, TOPIC, bytes, fill, group, topic, verify};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use streamlog::{Consumer, Durability};

fn consumer(log: &Log) -> Consumer {
    let mut consumer = log.log.consumer("bench").expect("a consumer");
    consumer.subscribe([TOPIC]).expect("a subscription");
    consumer
}

/// Everything that is there, from the beginning: ten times the records, the partitions, the segments.
fn all(criterion: &mut Criterion) {
    let mut group = group(criterion, "poll/all");
    let value = bytes(100);
    for (partitions, each, segment) in [
        (1, 10_000, 64),
        (1, 100_000, 64),
        (1, 1_000_000, 64),
        (1, 100_000, 1),
        (1, 1_000_000, 1),
        (10, 10_000, 64),
        (100, 1_000, 64),
    ] {
        let log = Log::spread(segment, partitions);
        for partition in log.topic.partitions() {
            fill(&partition, each, &value);
            verify(&partition, each, &value);
        }
        let total = each * partitions as usize;
        let mut consumer = consumer(&log);
        group.throughput(Throughput::Elements(total as u64));
        let id = BenchmarkId::new(format!("{partitions} partitions in segments of {segment} MiB"), total);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                consumer.seek_to_beginning(&consumer.assignment()).expect("a seek");
                let (mut count, mut sum) = (0, 0);
                while count < total {
                    let records = consumer.poll(Duration::from_secs(5)).expect("a poll");
                    count += records.len();
                    sum += records.iter().map(|r| r.value.map_or(0, <[u8]>::len)).sum::<usize>();
                }
                assert_eq!((count, sum), (total, total * value.len()));
            });
        });
    }
}

/// Nothing new, by partitions.
fn nothing(criterion: &mut Criterion) {
    let mut group = group(criterion, "poll/nothing");
    for partitions in [1, 10, 100] {
        let log = Log::new(topic(Durability::Written).partitions(partitions));
        let mut consumer = consumer(&log);
        group.bench_function(BenchmarkId::from_parameter(partitions), |bencher| {
            bencher.iter(|| assert!(consumer.poll(Duration::ZERO).expect("a poll").is_empty()));
        });
    }
}

criterion_group!(benches, all, nothing);
criterion_main!(benches);
