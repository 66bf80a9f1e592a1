//! A producer with a full buffer: `try_enqueue` hands the record back, `enqueue` waits, and every delivery says where its
//! record went.

mod support;

use std::time::Duration;
use streamlog::{Durability, ProducerRecord, Result, Streamlog, TopicConfig};
use support::{Scratch, no_arguments, say};

const ABOUT: &str = "A producer with a full buffer: try_enqueue hands the record back, enqueue waits, and every delivery says where its record went.";

fn main() -> Result<()> {
    no_arguments(ABOUT);
    let dir = Scratch::new("backpressure");
    let log = Streamlog::open(dir.path())?;
    log.create_topic("frames", TopicConfig::default().durability(Durability::Flushed))?;
    let producer = log
        .producer_builder()
        .batch_size(16 << 10)
        .buffer_memory(64 << 10)
        .linger(Duration::from_millis(20))
        .build()?;

    let frame = vec![42u8; 1024];
    let mut deliveries = Vec::new();
    let mut handed_back = 0;
    for _ in 0..2_000 {
        match producer.try_enqueue(ProducerRecord::new("frames", &frame)) {
            Ok(delivery) => deliveries.push(delivery),
            Err(refused) => {
                // The record is ours again: drop it, keep it elsewhere, or wait for room, as here.
                handed_back += 1;
                deliveries.push(producer.enqueue(refused.into_record())?);
            }
        }
    }
    let mut expected = 0;
    for delivery in deliveries {
        let placed = delivery.wait()?;
        assert_eq!(placed.offset, expected, "deliveries complete in the order of enqueueing");
        expected += 1;
    }
    say!("{expected} frames of 1 KiB went through a buffer of 64 KiB");
    say!("the buffer was full {handed_back} times; each time the record came back and then waited for room");
    assert_eq!(log.topic("frames")?.partition(0)?.high_watermark(), 2_000);
    log.close()?;
    Ok(())
}
