//! The work whose instructions are counted: `instructions WORK COUNT` does a work on so many records and ends.
//!
//! `.ci/instructions.py` runs it twice under callgrind, with one count and a larger one: the difference belongs to the
//! records alone. Under `cargo bench` it does nothing.

mod common;

use common::{Log, TOPIC, bytes, fill, topic, transactions::Transactions};
use std::{hint::black_box, time::Duration};
use streamlog::{Durability, ProducerRecord, RecordData, clients::IsolationLevel, records::Batches};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, count] = &arguments[..] else { return };
    let Ok(count) = count.parse::<usize>() else { return };
    let log = Log::new(topic(Durability::Written));
    let (partition, value) = (log.partition(), bytes(100));
    match work.as_str() {
        "append" => {
            let records = vec![RecordData::new(&value); 1000];
            for _ in 0..count / 1000 {
                partition.append(&records).expect("an append");
            }
        }
        "append_one" => {
            for _ in 0..count {
                partition.append(&[RecordData::new(&value)]).expect("an append");
            }
        }
        "enqueue" => {
            let producer = log.log.producer().expect("a producer");
            for _ in 0..count {
                producer.enqueue(ProducerRecord::new(&log.topic, &value)).expect("room");
            }
            producer.flush().expect("a flush");
        }
        "send" => {
            let producer = log.log.producer().expect("a producer");
            for _ in 0..count {
                producer.send(ProducerRecord::new(&log.topic, &value)).expect("a send");
            }
        }
        // A producer with a name, alone and where the partition knows ten thousand others.
        "send_named" | "send_named_among_many" => {
            if work == "send_named_among_many" {
                known_producers(&log, 10_000);
            }
            let producer = log.log.producer_builder().named("counted").build().expect("a producer");
            for _ in 0..count {
                producer.send(ProducerRecord::new(&log.topic, &value)).expect("a send");
            }
        }
        // Transactions of a hundred records over four partitions.
        "transaction" => {
            let config = topic(Durability::Flushed).partitions(4);
            let topic = log.log.create_topic("four", config).expect("a topic");
            let producer = log.log.producer().expect("a producer");
            for _ in 0..count / 100 {
                let mut transaction = producer.begin_transaction().expect("a transaction");
                for number in 0..100 {
                    let record = ProducerRecord::new(&topic, &value).partition(number % 4);
                    transaction.send(record).expect("a send");
                }
                transaction.commit().expect("a commit");
            }
        }
        "scan" => {
            // Always the same log, read more or less of: what fills it falls out of the difference.
            fill(&partition, 100_000, &value);
            read(partition.read(0), count);
        }
        // One-record transactions, of which one of ten was aborted, and the reader that leaves it out.
        "scan_transactions" | "scan_committed" => {
            let log = Transactions::new(10_000, 10);
            let committed = work == "scan_committed";
            let isolation =
                if committed { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
            read(log.partition.read_with(0, isolation), count);
        }
        "poll" => {
            fill(&partition, 100_000, &value);
            let mut consumer = log.log.consumer("counted").expect("a consumer");
            consumer.subscribe([TOPIC]).expect("a subscription");
            let (mut seen, mut sum) = (0, 0u64);
            while seen < count {
                let records = consumer.poll(Duration::from_secs(5)).expect("a poll");
                seen += records.len();
                sum += records.iter().map(|r| u64::from(r.value.expect("a value")[0])).sum::<u64>();
            }
            black_box(sum);
        }
        "hop" => {
            let producer = log.log.producer().expect("a producer");
            let mut consumer = log.log.consumer("counted").expect("a consumer");
            consumer.subscribe([TOPIC]).expect("a subscription");
            let mut seen = 0;
            for _ in 0..count {
                producer.send(ProducerRecord::new(&log.topic, &value)).expect("a send");
                seen += consumer.poll(Duration::ZERO).expect("a poll").len();
            }
            assert_eq!(seen, count);
        }
        other => panic!("no such work: {other}"),
    }
}

/// Makes so many producers known to the partition: each has written there, in a transaction that was aborted.
fn known_producers(log: &Log, count: usize) {
    for _ in 0..count {
        let producer = log.log.producer_builder().transaction_buffer(0).build().expect("a producer");
        let mut transaction = producer.begin_transaction().expect("a transaction");
        transaction.send(ProducerRecord::new(&log.topic, "x")).expect("a send");
        transaction.abort().expect("an abort");
    }
}

/// Reads so many records, and looks at each.
fn read(batches: Batches, count: usize) {
    let (mut left, mut sum) = (count, 0u64);
    for batch in batches {
        for record in &batch.expect("a batch") {
            sum += u64::from(record.value.expect("a value")[0]);
            left = left.saturating_sub(1);
        }
        if left == 0 {
            break;
        }
    }
    black_box(sum);
}
