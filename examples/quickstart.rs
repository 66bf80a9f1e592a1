//! The main job, from scratch: open a directory, create a topic, produce keyed records, consume them in order, commit,
//! close, reopen and continue.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```

mod support;

use std::time::Duration;
use streamlog::{ProducerRecord, Result, Streamlog, TopicConfig};
use support::{Scratch, no_arguments, say};

const ABOUT: &str = "The main job, from scratch: open a directory, create a topic, produce keyed records, consume them in order, commit, close, reopen and continue.";

fn main() -> Result<()> {
    no_arguments(ABOUT);
    let dir = Scratch::new("quickstart");
    say!("opening a log in {}", dir.path().display());
    let log = Streamlog::open(dir.path())?;
    log.create_topic("orders", TopicConfig::default().partitions(3))?;
    say!(
        "created the topic 'orders' with 3 partitions; acknowledged records survive a power cut by default\n"
    );

    let producer = log.producer()?;
    for (customer, what) in
        [("ada", "a loom"), ("grace", "a compiler"), ("ada", "punched cards"), ("grace", "a moth")]
    {
        let placed = producer.send(ProducerRecord::new("orders", what).key(customer))?;
        say!("{customer} ordered {what}: partition {}, offset {}", placed.partition(), placed.offset);
    }

    say!("\na consumer of the group 'billing' reads them; each customer's orders come in order:");
    let mut consumer = log.consumer("billing")?;
    consumer.subscribe(["orders"])?;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        for record in &consumer.poll(Duration::from_secs(1))? {
            let (key, value) = (text(record.key), text(record.value));
            say!("  partition {} offset {}: {key} -> {value}", record.partition(), record.offset);
            seen.push((key, value));
        }
    }
    consumer.commit_sync()?;
    let of = |who: &str| seen.iter().filter(|(k, _)| k == who).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(of("ada"), ["a loom", "punched cards"]);
    assert_eq!(of("grace"), ["a compiler", "a moth"]);

    producer.close()?;
    consumer.close()?;
    log.close()?;
    say!("\ncommitted and closed; reopening");

    let log = Streamlog::open(dir.path())?;
    log.producer()?.send(ProducerRecord::new("orders", "a difference engine").key("ada"))?;
    let mut consumer = log.consumer("billing")?;
    consumer.subscribe(["orders"])?;
    let records = consumer.poll(Duration::from_secs(1))?;
    for record in &records {
        say!("  the group continues where it was: {} -> {}", text(record.key), text(record.value));
        assert_eq!(text(record.value), "a difference engine");
    }
    assert_eq!(records.len(), 1);
    consumer.close()?;
    log.close()?;
    say!("\ndone: 5 records in, 5 records out, none twice");
    Ok(())
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
