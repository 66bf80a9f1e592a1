//! Kafka's `flush.messages`: a topic counts the records that are not durable yet, and every way of appending keeps to it.

use super::*;
use crate::{
    RecordData, Streamlog,
    config::Builder,
    sim::{Crash, SimEnv},
};

const PARTITIONS: u32 = 2;
/// Each partition gets this many records, each in a batch of its own.
const RECORDS: u64 = 6;

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

fn log_with(env: &SimEnv, limit: u64) -> Streamlog {
    let log = open(env);
    let config = TopicConfig::default().partitions(PARTITIONS).durability(Durability::Written);
    log.create_topic("t", config.flush_messages(limit)).unwrap();
    log
}

/// How many records of each partition are left by a power cut that takes everything that was not flushed.
fn durable(env: &SimEnv) -> Vec<u64> {
    let log = open(&env.crash(Crash::Nothing, 1));
    log.topic("t").unwrap().partitions().iter().map(|partition| partition.log_end_offset().value()).collect()
}

fn record(partition: u32) -> ProducerRecord<'static> {
    ProducerRecord::new("t", "x").partition(partition)
}

type Way = (&'static str, fn(&Streamlog, &Producer));

/// Each of them appends one record to each partition, and returns when all are acknowledged.
const WAYS: [Way; 6] = [
    ("append", |log, _| {
        for partition in log.topic("t").unwrap().partitions() {
            partition.append(&[RecordData::new("x")]).unwrap();
        }
    }),
    ("send", |_, producer| (0..PARTITIONS).for_each(|p| drop(producer.send(record(p)).unwrap()))),
    ("send_batch", |_, producer| {
        let records: Vec<_> = (0..PARTITIONS).map(record).collect();
        producer.send_batch(&records).unwrap();
    }),
    ("send_all", |_, producer| assert_eq!(producer.send_all((0..PARTITIONS).map(record)).unwrap(), 2)),
    ("enqueue and wait", |_, producer| {
        (0..PARTITIONS).for_each(|p| drop(producer.enqueue(record(p)).unwrap().wait().unwrap()));
    }),
    ("enqueue and flush", |_, producer| {
        (0..PARTITIONS).for_each(|p| drop(producer.enqueue(record(p)).unwrap()));
        producer.flush().unwrap();
    }),
];

#[test]
fn every_way_of_appending_flushes_once_enough_records_are_not_durable() {
    for (name, append) in WAYS {
        for (limit, expected) in [(1, 6), (3, 6), (4, 4), (7, 0)] {
            let env = SimEnv::new(1);
            let log = log_with(&env, limit);
            let producer = log.producer().unwrap();
            for round in 1..=RECORDS {
                append(&log, &producer);
                let least = round / limit * limit;
                assert!(durable(&env).iter().all(|kept| *kept >= least), "{name}, {limit}, round {round}");
            }
            assert_eq!(durable(&env), [expected; 2], "{name}, flush.messages={limit}");
        }
    }
}

#[test]
fn the_records_of_one_batch_count_each() {
    for (limit, expected) in [(5, 6), (6, 6), (7, 0)] {
        let env = SimEnv::new(1);
        let log = log_with(&env, limit);
        let records: Vec<_> = (0..RECORDS).flat_map(|_| (0..PARTITIONS).map(record)).collect();
        log.producer().unwrap().send_batch(&records).unwrap();
        assert_eq!(durable(&env), [expected; 2], "flush.messages={limit}");
    }
}

#[test]
fn a_commit_is_durable_with_the_records_it_covers_whatever_their_topic_counts() {
    let env = SimEnv::new(1);
    let log = log_with(&env, 3);
    let producer = log.producer().unwrap();
    producer.send_batch(&[record(0), record(1), record(1)]).unwrap();
    let mut consumer = log.consumer("g").unwrap();
    consumer.subscribe(["t"]).unwrap();
    let mut read = 0;
    while read < 3 {
        read += consumer.poll(Duration::from_secs(1)).unwrap().len();
    }
    consumer.commit_sync().unwrap();
    let log = open(&env.crash(Crash::Nothing, 1));
    let group = log.describe_group("g").unwrap();
    assert_eq!(group.lag(), 0);
    let ends = log.topic("t").unwrap().partitions().iter().map(|p| p.log_end_offset().value()).sum::<u64>();
    assert_eq!(ends, 3);
}
