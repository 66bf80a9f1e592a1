//! A simulated machine with a log on it, and the few words that most claims are made of.

#![allow(dead_code, reason = "every file of claims takes its own part")]

use std::time::Duration;
use streamlog::{
    Builder, Consumer, ConsumerRecords, Partition, ProducerRecord, Streamlog, TopicConfig, TopicPartition,
    sim::SimEnv,
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
        let env = SimEnv::new(1);
        let log = open(&env);
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

    /// A consumer of group `g` that reads topic `t`.
    pub fn consumer(&self) -> Consumer {
        let mut consumer = self.log.consumer("g").unwrap();
        consumer.subscribe(["t"]).unwrap();
        consumer
    }

    /// What group `g` has committed for partition 0 of topic `t`.
    pub fn committed(&self) -> Option<u64> {
        let group = self.log.describe_group("g").unwrap();
        group.committed.iter().find(|(partition, _)| *partition == t(0)).map(|(_, c)| c.offset.value())
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
