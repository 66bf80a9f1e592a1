//! Time travel: a consumer goes back to a moment by timestamp, a reader walks backwards from the end.

mod support;

use std::time::Duration;
use streamlog::{ProducerRecord, Result, Streamlog, Timestamp, TopicConfig, TopicPartition};
use support::{no_arguments, say};

const ABOUT: &str =
    "Time travel: a consumer goes back to a moment by timestamp, a reader walks backwards from the end.";

const START: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z
const MINUTE: i64 = 60_000;

fn main() -> Result<()> {
    no_arguments(ABOUT);
    let log = Streamlog::in_memory()?;
    log.create_topic("temperature", TopicConfig::default())?;
    let producer = log.producer()?;
    for minute in 0..24 * 60 {
        let value = format!("{:.1}", 12.0 + 8.0 * (f64::from(minute) / 1440.0 * std::f64::consts::TAU).sin());
        let at = Timestamp::from_millis(START + i64::from(minute) * MINUTE);
        producer.enqueue(ProducerRecord::new("temperature", &value).timestamp(at))?;
    }
    producer.flush()?;
    say!("one reading a minute for a day: {} records", 24 * 60);

    let noon = Timestamp::from_millis(START + 12 * 60 * MINUTE);
    let place = TopicPartition::new("temperature", 0);
    let mut consumer = log.consumer("replay")?;
    consumer.assign([place.clone()])?;
    consumer.seek_to_timestamp(std::slice::from_ref(&place), noon)?;
    assert_eq!(consumer.position(&place)?, 720);
    let records = consumer.poll(Duration::from_secs(1))?;
    let first = records.iter().next().expect("there are records from noon on");
    assert_eq!((first.offset.value(), first.timestamp), (720, noon));
    say!(
        "at noon (offset {}) it was {} degrees",
        first.offset,
        String::from_utf8_lossy(first.value.unwrap_or(b"?"))
    );

    // A moment between two readings finds the next one; a moment after all of them finds none.
    let partition = log.topic("temperature")?.partition(0)?;
    let between = Timestamp::from_millis(noon.as_millis() + MINUTE / 2);
    assert_eq!(partition.offset_for_timestamp(between)?.map(|f| f.offset.value()), Some(721));
    assert_eq!(partition.offset_for_timestamp(Timestamp::from_millis(START + 24 * 60 * MINUTE))?, None);

    let newest = partition.last(3)?;
    let offsets: Vec<u64> = newest.iter().map(|r| r.offset.value()).collect();
    assert_eq!(offsets, [1437, 1438, 1439]);
    say!("the newest three are at offsets {offsets:?}");

    let mut backwards = partition.read_backwards(720);
    let before_noon = backwards.next().transpose()?.map(|batch| batch.into_reversed()).unwrap_or_default();
    assert_eq!(before_noon.first().map(|r| r.offset.value()), Some(719));
    say!("walking backwards from noon, the first record met is at offset 719");
    Ok(())
}
