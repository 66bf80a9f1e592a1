//! Order per key: a key always goes to the same partition, and a partition keeps its order. Eight threads move a thousand
//! accounts through their states; each account's history comes back in order, with no order between accounts.

mod support;

use std::{collections::HashMap, time::Duration};
use streamlog::{ProducerRecord, Result, Streamlog, TopicConfig, clients::partition_for_key};
use support::{no_arguments, say};

const ABOUT: &str = "Order per key: a key always goes to the same partition, and a partition keeps its order. Eight threads move a thousand accounts through their states; each account's history comes back in order, with no order between accounts.";

const THREADS: u64 = 8;
const ACCOUNTS: u64 = 1_000;
const STEPS: u64 = 50;

fn main() -> Result<()> {
    no_arguments(ABOUT);
    let log = Streamlog::in_memory()?;
    log.create_topic("accounts", TopicConfig::default().partitions(6))?;
    let producer = log.producer()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let producer = producer.clone();
                scope.spawn(move || -> Result<()> {
                    for step in 0..STEPS {
                        for account in (0..ACCOUNTS).filter(|account| account % THREADS == thread) {
                            let key = format!("account-{account}");
                            let value = step.to_be_bytes();
                            producer.enqueue(ProducerRecord::new("accounts", &value).key(&key))?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    producer.flush()?;

    let mut consumer = log.consumer("audit")?;
    consumer.subscribe(["accounts"])?;
    let mut next_step: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut per_partition = [0u64; 6];
    let mut count = 0;
    while count < ACCOUNTS * STEPS {
        for record in &consumer.poll(Duration::from_secs(1))? {
            let (Some(key), Some(value)) = (record.key, record.value) else { continue };
            assert_eq!(record.partition(), partition_for_key(key, 6), "a key has one partition");
            let expected = next_step.entry(key.to_vec()).or_default();
            assert_eq!(value, expected.to_be_bytes(), "an account's steps come in order");
            *expected += 1;
            per_partition[record.partition() as usize] += 1;
            count += 1;
        }
    }
    say!("{count} records of {ACCOUNTS} keys, written by {THREADS} threads:");
    for (partition, records) in per_partition.iter().enumerate() {
        say!("  partition {partition}: {records:6} records");
    }
    say!("every key stayed in one partition, in order");
    Ok(())
}
