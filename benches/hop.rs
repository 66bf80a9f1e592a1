//! Hops: from a send to a consumer that polls in a loop or sleeps in its poll; and what sleepers cost a producer.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, TOPIC, group, topic};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use streamlog::{Durability, Producer, ProducerRecord, Topic, TopicConfig};

/// The time from before a send until another thread has the record, for so many records in turn.
fn hops(log: &Log, producer: &Producer, timeout: Duration, pause: Duration, count: u64) -> Duration {
    let mut consumer = log.log.consumer("hop").expect("a consumer");
    consumer.subscribe([TOPIC]).expect("a subscription");
    let end = log.partition().log_end_offset().value();
    let (answer, answers) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut left = count;
            while left > 0 {
                let records = consumer.poll(timeout).expect("a poll");
                let now = Instant::now();
                let new = records.iter().filter(|record| record.offset.value() >= end).count() as u64;
                for _ in 0..new {
                    answer.send(now).expect("someone who measures");
                }
                left -= new;
            }
        });
        let mut time = Duration::ZERO;
        for _ in 0..count {
            // So long that the consumer is in its poll again.
            thread::sleep(pause);
            let start = Instant::now();
            producer.send(ProducerRecord::new(&log.topic, b"hop")).expect("a send");
            time += answers.recv().expect("an answer").saturating_duration_since(start);
        }
        time
    })
}

fn latency(criterion: &mut Criterion) {
    let mut group = group(criterion, "hop");
    for (durability, name) in [(Durability::Written, "written"), (Durability::Flushed, "flushed")] {
        for (timeout, reader) in [(Duration::ZERO, "awake"), (Duration::from_secs(5), "asleep")] {
            let log = Log::new(topic(durability));
            let producer = log.log.producer().expect("a producer");
            group.bench_function(BenchmarkId::new(name, reader), |bencher| {
                bencher
                    .iter_custom(|count| hops(&log, &producer, timeout, Duration::from_micros(200), count));
            });
        }
    }
    // What waking a thread takes by itself.
    group.bench_function("bare wake-up", |bencher| {
        bencher.iter_custom(|count| {
            let (to, from) = mpsc::channel::<Instant>();
            let (answer, answers) = mpsc::channel();
            let other = thread::spawn(move || {
                for sent in from {
                    answer.send(sent.elapsed()).expect("someone who measures");
                }
            });
            let mut time = Duration::ZERO;
            for _ in 0..count {
                thread::sleep(Duration::from_micros(200));
                to.send(Instant::now()).expect("the other thread");
                time += answers.recv().expect("an answer");
            }
            drop(to);
            other.join().expect("no panic");
            time
        });
    });
}

fn send(producer: &Producer, topic: &Topic) {
    producer.send(ProducerRecord::new(topic, b"a record")).expect("a send");
}

/// Consumers that sleep on another topic must cost a producer nothing.
fn sleepers(criterion: &mut Criterion) {
    let mut group = group(criterion, "hop/send beside sleepers elsewhere");
    for sleepers in [0, 10, 100] {
        let log = Log::new(topic(Durability::Written));
        log.log.create_topic("elsewhere", TopicConfig::default()).expect("a topic");
        let producer = log.log.producer().expect("a producer");
        let sleep = |_| {
            let mut consumer = log.log.consumer("sleepers").expect("a consumer");
            consumer.subscribe(["elsewhere"]).expect("a subscription");
            let wakeup = consumer.wakeup_handle();
            (wakeup, thread::spawn(move || drop(consumer.poll(Duration::from_secs(600)))))
        };
        let asleep: Vec<_> = (0..sleepers).map(sleep).collect();
        thread::sleep(Duration::from_millis(50));
        group.bench_function(BenchmarkId::from_parameter(sleepers), |bencher| {
            bencher.iter(|| send(&producer, &log.topic));
        });
        for (wakeup, sleeper) in asleep {
            wakeup.wakeup();
            sleeper.join().expect("no panic");
        }
    }
}

criterion_group!(benches, latency, sleepers);
criterion_main!(benches);
