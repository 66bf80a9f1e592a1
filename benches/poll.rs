//! Polling: what is there already, across partitions; and a poll that finds nothing.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, TOPIC, bytes, fill, group, topic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, time::Duration};
use streamlog::{Consumer, Durability};

fn consumer(log: &Log) -> Consumer {
    let mut consumer = log.log.consumer("bench").expect("a consumer");
    consumer.subscribe([TOPIC]).expect("a subscription");
    consumer
}

/// Everything that is there, from the beginning: ten times the records, ten times the partitions.
fn all(criterion: &mut Criterion) {
    let mut group = group(criterion, "poll/all");
    for (partitions, each) in [(1, 10_000), (1, 100_000), (10, 10_000), (100, 1_000)] {
        let log = Log::new(topic(Durability::Written).with_partitions(partitions));
        log.topic.partitions().iter().for_each(|partition| fill(partition, each, &bytes(100)));
        let total = each * partitions as usize;
        let mut consumer = consumer(&log);
        group.throughput(Throughput::Elements(total as u64));
        group.bench_function(BenchmarkId::new(format!("{partitions} partitions"), total), |bencher| {
            bencher.iter(|| {
                consumer.seek_to_beginning(&consumer.assignment()).expect("a seek");
                let (mut count, mut sum) = (0, 0);
                while count < total {
                    let records = consumer.poll(Duration::from_secs(5)).expect("a poll");
                    count += records.len();
                    sum += records.iter().map(|r| r.value.map_or(0, <[u8]>::len)).sum::<usize>();
                }
                black_box(sum)
            });
        });
    }
}

/// Nothing new, by partitions.
fn nothing(criterion: &mut Criterion) {
    let mut group = group(criterion, "poll/nothing");
    for partitions in [1, 10, 100] {
        let log = Log::new(topic(Durability::Written).with_partitions(partitions));
        let mut consumer = consumer(&log);
        group.bench_function(BenchmarkId::from_parameter(partitions), |bencher| {
            bencher.iter(|| assert!(consumer.poll(Duration::ZERO).expect("a poll").is_empty()));
        });
    }
}

criterion_group!(benches, all, nothing);
criterion_main!(benches);
