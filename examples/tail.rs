//! Tailing: a thread sleeps in `poll` until records arrive, and is woken to stop. It never spins.

mod support;

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};
use streamlog::{Durability, Error, ProducerRecord, Result, Streamlog, TopicConfig};
use support::{no_arguments, say};

const ABOUT: &str =
    "Tailing: a thread sleeps in poll until records arrive, and is woken to stop. It never spins.";

const RECORDS: u32 = 200;

fn main() -> Result<()> {
    no_arguments(ABOUT);
    let log = Streamlog::in_memory()?;
    log.create_topic("ticks", TopicConfig::default().durability(Durability::Written))?;
    let mut consumer = log.consumer("tail")?;
    consumer.subscribe(["ticks"])?;
    let wakeup = consumer.wakeup_handle();
    let (arrived, arrivals) = mpsc::channel();

    let tail = std::thread::spawn(move || -> Result<u32> {
        let mut count = 0;
        loop {
            match consumer.poll(Duration::from_secs(3600)) {
                Ok(records) => {
                    for record in &records {
                        count += 1;
                        arrived.send((record.offset.value(), Instant::now())).ok();
                    }
                }
                Err(Error::Wakeup) => return Ok(count),
                Err(error) => return Err(error),
            }
        }
    });

    let producer = log.producer()?;
    let mut hops = Vec::new();
    for i in 0..RECORDS {
        let sent = Instant::now();
        producer.send(ProducerRecord::new("ticks", &i.to_be_bytes()))?;
        match arrivals.recv_timeout(Duration::from_secs(60)) {
            Ok((offset, when)) => {
                assert_eq!(offset, u64::from(i));
                hops.push(when.duration_since(sent));
            }
            Err(_) => panic!("record {i} did not reach the sleeping consumer"),
        }
    }
    wakeup.wakeup();
    let seen = tail.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    assert_eq!(seen, RECORDS);
    hops.sort();
    say!("{seen} records reached a consumer that slept between them");
    say!(
        "from the call of `send` to the return of `poll`: median {:?}, slowest {:?}",
        hops[hops.len() / 2],
        hops[hops.len() - 1]
    );
    say!("then its wake-up handle woke it, and it ended");
    Ok(())
}
