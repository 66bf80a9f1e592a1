//! What a wake-up of the background thread costs: it follows what is due, and not how many logs there are.

use crate::{Durability, Partition, ProducerRecord, RecordData, TopicConfig, config::Builder, sim::SimEnv};
use std::time::Duration;

const LOGS: u32 = 1000;
const SECOND: Duration = Duration::from_secs(1);

/// How often background work has looked at these.
fn looks(partitions: &[Partition]) -> Vec<usize> {
    partitions.iter().map(|partition| partition.log().looks()).collect()
}

#[test]
fn a_wake_up_touches_the_log_whose_time_has_come_and_none_of_a_thousand_others() {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/data").open().unwrap();
    let config = TopicConfig::default().durability(Durability::Interval(3600 * SECOND));
    let many = log.create_topic("many", config.clone().partitions(LOGS)).unwrap().partitions();
    let soon =
        log.create_topic("soon", config.durability(Durability::Interval(SECOND))).unwrap().partitions();
    // Each has a flush and a checkpoint before it.
    for partition in &many {
        partition.append(&[RecordData::new("x")]).unwrap();
    }
    let _ = env.pump(100);
    let before = looks(&many);
    let producer = log.producer_builder().linger(SECOND).build().unwrap();
    producer.enqueue(ProducerRecord::new("many", "y").partition(7)).unwrap();
    env.advance(SECOND);
    let _ = env.pump(100);
    assert_eq!(many[7].high_watermark(), 2, "the batch has left");
    assert_eq!(looks(&many), before, "for a batch, no log is looked at for a flush");
    soon[0].append(&[RecordData::new("x")]).unwrap();
    env.advance(SECOND);
    let _ = env.pump(100);
    assert!(!soon[0].log().is_dirty());
    assert_eq!((looks(&soon), looks(&many)), (vec![1], before), "one flush, one log");
    log.close().unwrap();
}
