//! Choosing partitions by your own rule: a large customer gets a partition of its own, all others share the rest by key.

mod support;

use std::{collections::BTreeMap, time::Duration};
use streamlog::{
    ProducerRecord, Result, Streamlog, TopicConfig,
    clients::{PartitionContext, Partitioner, partition_for_key},
};
use support::{no_arguments, say};

const ABOUT: &str = "Choosing partitions by your own rule: a large customer gets a partition of its own, all others share the rest by key.";

struct LargeCustomersFirst;

impl Partitioner for LargeCustomersFirst {
    fn partition(&self, context: &PartitionContext<'_>) -> u32 {
        match context.key {
            Some(b"acme") => 0,
            Some(key) => 1 + partition_for_key(key, context.partitions - 1),
            None => 1,
        }
    }
}

fn main() -> Result<()> {
    no_arguments(ABOUT);
    let log = Streamlog::in_memory()?;
    log.create_topic("invoices", TopicConfig::default().partitions(4))?;
    let producer = log.producer_builder().partitioner(LargeCustomersFirst).build()?;
    for i in 0..1000 {
        let customer = if i % 2 == 0 { "acme".to_string() } else { format!("customer-{}", i % 37) };
        producer.enqueue(ProducerRecord::new("invoices", format!("invoice {i}")).key(&customer))?;
    }
    // A record can always name its own partition.
    let placed = producer.send(ProducerRecord::new("invoices", "by hand").key("acme").partition(3))?;
    assert_eq!(placed.partition(), 3);
    producer.flush()?;

    let mut consumer = log.consumer("accounting")?;
    consumer.subscribe(["invoices"])?;
    let mut seen: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut count = 0;
    while count < 1001 {
        for record in &consumer.poll(Duration::from_secs(1))? {
            let key = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
            seen.entry(record.partition()).or_default().push(key);
            count += 1;
        }
    }
    for (partition, keys) in &seen {
        let acme = keys.iter().filter(|k| *k == "acme").count();
        say!("partition {partition}: {:4} records, {acme} of them acme's", keys.len());
    }
    assert!(seen[&0].iter().all(|key| key == "acme") && seen[&0].len() == 500);
    assert_eq!(
        seen.iter().filter(|(p, _)| **p != 0).flat_map(|(_, k)| k).filter(|k| *k == "acme").count(),
        1
    );
    say!("acme has partition 0 to itself; only the record that named its partition is elsewhere");
    Ok(())
}
