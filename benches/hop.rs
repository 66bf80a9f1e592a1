//! Hops: from a send to a consumer that polls in a loop or sleeps in its poll; and what sleepers cost a producer.
#![allow(missing_docs, reason = "criterion makes functions without")]

mod common;

use common::{Log, TOPIC, bytes, fill, group, topic};
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
    // From here on every record it sees is one that was sent here.
    consumer.seek_to_end(&consumer.assignment()).expect("a seek");
    assert!(consumer.poll(Duration::ZERO).expect("a poll").is_empty());
    let (answer, answers) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut left = count;
            while left > 0 {
                let records = consumer.poll(timeout).expect("a poll");
                let now = Instant::now();
                for record in &records {
                    assert_eq!(record.value, Some(b"hop".as_slice()));
                    answer.send(now).expect("someone who measures");
                }
                left -= records.len() as u64;
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

/// A waiting consumer behind ten times the records, the segments, and with ten times the partitions to wait for.
fn growth(criterion: &mut Criterion) {
    let mut group = group(criterion, "hop/growth");
    let mut hop = |log: &Log, name: &str, number: usize| {
        let producer = log.log.producer().expect("a producer");
        for (timeout, reader) in [(Duration::ZERO, "awake"), (Duration::from_secs(5), "asleep")] {
            group.bench_function(BenchmarkId::new(format!("{name}, {reader}"), number), |bencher| {
                bencher.iter_custom(|count| hops(log, &producer, timeout, Duration::from_micros(200), count));
            });
        }
    };
    for (before, segment, name) in [
        (100_000, 64, "records before"),
        (1_000_000, 64, "records before"),
        (100_000, 1, "records before in segments of 1 MiB"),
        (1_000_000, 1, "records before in segments of 1 MiB"),
    ] {
        let log = Log::new(topic(Durability::Written).segment_bytes(segment << 20));
        fill(&log.partition(), before, &bytes(100));
        hop(&log, name, before);
    }
    for partitions in [1, 10, 100] {
        let log = Log::new(topic(Durability::Written).partitions(partitions));
        hop(&log, "partitions", partitions as usize);
    }
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

criterion_group!(benches, latency, growth, sleepers);
criterion_main!(benches);
