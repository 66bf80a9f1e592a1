//! A simulated machine with a log on it, and the few words that most claims are made of.

#![allow(dead_code, reason = "every file of claims takes its own part")]

use std::time::Duration;
use streamlog::{
    Consumer, ConsumerRecords, Partition, ProducerRecord, RecordData, Streamlog, Timestamp, TopicConfig,
    TopicPartition, clients::ConsumerBuilder, config::Builder, sim::SimEnv,
};

/// Without waiting.
pub const NOW: Duration = Duration::ZERO;

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Everything happens on the thread of the test, for which mistakes are planted.
pub struct World {
    pub env: SimEnv,
    pub log: Streamlog,
}

impl World {
    /// A log with topic `t` of so many partitions.
    pub fn new(partitions: u32) -> World {
        World::with(TopicConfig::default().partitions(partitions))
    }

    /// A log with topic `t`.
    pub fn with(config: TopicConfig) -> World {
        World::of(config, false)
    }

    /// A log with topic `t` and a background task, which runs inside waits.
    pub fn with_tasks() -> World {
        World::of(TopicConfig::default(), true)
    }

    fn of(config: TopicConfig, tasks: bool) -> World {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/log").background_thread(tasks).open().unwrap();
        log.create_topic("t", config).unwrap();
        World { env, log }
    }

    /// Partition 0 of topic `t`.
    pub fn partition(&self) -> Partition {
        self.log.topic("t").unwrap().partition(0).unwrap()
    }

    /// Appends a record to partition 0 of topic `t`.
    pub fn send(&self, value: &str) {
        self.send_to(0, value);
    }

    pub fn send_to(&self, partition: u32, value: &str) {
        let record = ProducerRecord::new("t", value).partition(partition);
        self.log.producer().unwrap().send(record).unwrap();
    }

    /// Appends these values to partition 0 of topic `t` as one batch.
    pub fn append(&self, values: &[&str]) {
        let records: Vec<_> = values.iter().map(|value| RecordData::new(*value)).collect();
        self.partition().append(&records).unwrap();
    }

    /// A consumer of group `g` that reads topic `t`.
    pub fn consumer(&self) -> Consumer {
        self.consumer_with(|builder| builder)
    }

    pub fn consumer_with(&self, set: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder) -> Consumer {
        let mut consumer = set(self.log.consumer_builder("g")).build().unwrap();
        consumer.subscribe(["t"]).unwrap();
        consumer
    }

    /// What group `g` has committed for partition 0 of topic `t`.
    pub fn committed(&self) -> Option<u64> {
        let group = self.log.describe_group("g").unwrap();
        group.committed.iter().find(|(partition, _)| *partition == t(0)).map(|(_, c)| c.offset.value())
    }

    /// The time on the machine's clock.
    pub fn now(&self) -> Timestamp {
        let clock = self.log.topic_or_create("clock", TopicConfig::default()).unwrap();
        let ticked = clock.partition(0).unwrap();
        ticked.append(&[RecordData::null()]).unwrap();
        ticked.last(1).unwrap()[0].timestamp
    }

    /// Another handle beside this one, which reads only.
    pub fn observer(&self) -> Streamlog {
        observer(&self.env)
    }
}

/// Opens the log of a machine.
pub fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/log").background_thread(false).open().unwrap()
}

/// Opens the log of a machine for reading only.
pub fn observer(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/log").background_thread(false).read_only(true).open().unwrap()
}

/// A partition of topic `t`.
pub fn t(partition: u32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// The values of a poll.
pub fn values(records: &ConsumerRecords) -> Vec<String> {
    records.iter().map(|record| record.value_text().into_owned()).collect()
}

/// The values of the next poll, which does not wait.
pub fn poll(consumer: &mut Consumer) -> Vec<String> {
    values(&consumer.poll(NOW).unwrap())
}
