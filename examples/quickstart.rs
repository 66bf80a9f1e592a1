//! The main job, from nothing: open a directory, create a topic, produce keyed records, consume them in order, commit,
//! close, open again and go on.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```

use std::time::Duration;
use streamlog::{ProducerRecord, Result, Streamlog, TopicConfig};

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("streamlog-quickstart-{}", std::process::id()));
    println!("opening a log in {}", dir.display());
    let log = Streamlog::open(&dir)?;
    log.create_topic("orders", TopicConfig::default().partitions(3))?;
    println!(
        "created the topic 'orders' with 3 partitions; by default what is acknowledged survives a power cut\n"
    );

    let producer = log.producer()?;
    for (customer, what) in
        [("ada", "a loom"), ("grace", "a compiler"), ("ada", "punched cards"), ("grace", "a moth")]
    {
        let placed = producer.send(ProducerRecord::new("orders", what).key(customer))?;
        println!("{customer} ordered {what}: partition {}, offset {}", placed.partition(), placed.offset);
    }

    println!("\na consumer of the group 'billing' reads them; each customer's orders come in order:");
    let mut consumer = log.consumer("billing")?;
    consumer.subscribe(["orders"])?;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        for record in &consumer.poll(Duration::from_secs(1))? {
            let (key, value) = (text(record.key), text(record.value));
            println!("  partition {} offset {}: {key} -> {value}", record.partition(), record.offset);
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
    println!("\ncommitted and closed; opening again");

    let log = Streamlog::open(&dir)?;
    log.producer()?.send(ProducerRecord::new("orders", "a difference engine").key("ada"))?;
    let mut consumer = log.consumer("billing")?;
    consumer.subscribe(["orders"])?;
    let records = consumer.poll(Duration::from_secs(1))?;
    for record in &records {
        println!("  the group goes on where it was: {} -> {}", text(record.key), text(record.value));
        assert_eq!(text(record.value), "a difference engine");
    }
    assert_eq!(records.len(), 1);
    consumer.close()?;
    log.close()?;
    std::fs::remove_dir_all(&dir).ok();
    println!("\ndone: 5 records in, 5 records out, none twice");
    Ok(())
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
