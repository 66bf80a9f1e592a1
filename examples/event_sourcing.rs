//! Embedded event sourcing: the log is the truth, and replaying it gives the state. A shop keeps its stock as events, and
//! rebuilds the state after a restart and as of any earlier offset.

mod support;

use std::collections::BTreeMap;
use streamlog::{Offset, Partition, ProducerRecord, Result, Streamlog, TopicConfig};
use support::{Scratch, no_arguments, say};

const ABOUT: &str = "Embedded event sourcing: the log is the truth, and replaying it gives the state. A shop keeps its stock as events, and rebuilds the state after a restart and as of any earlier offset.";

type Stock = BTreeMap<String, i64>;

fn apply(stock: &mut Stock, item: &str, change: i64) {
    let count = stock.entry(item.to_string()).or_default();
    *count += change;
    if *count == 0 {
        stock.remove(item);
    }
}

/// The state as of `until`: every event below it, in order.
fn replay(events: &Partition, until: Offset) -> Result<Stock> {
    let mut stock = Stock::new();
    for batch in events.read(Offset::ZERO) {
        for event in &batch? {
            if event.offset >= until {
                return Ok(stock);
            }
            let item = String::from_utf8_lossy(event.key.unwrap_or_default());
            let change = event.value.and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| v.parse().ok());
            apply(&mut stock, &item, change.unwrap_or(0));
        }
    }
    Ok(stock)
}

fn main() -> Result<()> {
    no_arguments(ABOUT);
    let dir = Scratch::new("events");
    let mut live = Stock::new();
    let mut after_five = Stock::new();
    {
        let log = Streamlog::open(dir.path())?;
        log.create_topic("stock", TopicConfig::default())?;
        let producer = log.producer()?;
        let events = [
            ("bolt", 100),
            ("nut", 80),
            ("bolt", -30),
            ("washer", 12),
            ("nut", -80),
            ("bolt", 5),
            ("washer", -2),
        ];
        for (i, (item, change)) in events.into_iter().enumerate() {
            // First the event, durably; then the state. A crash in between loses nothing.
            producer.send(ProducerRecord::new("stock", change.to_string()).key(item))?;
            apply(&mut live, item, change);
            if i == 4 {
                after_five = live.clone();
            }
        }
        log.close()?;
    }
    let log = Streamlog::open(dir.path())?;
    let events = log.topic("stock")?.partition(0)?;
    let rebuilt = replay(&events, events.high_watermark())?;
    say!("rebuilt after a restart: {rebuilt:?}");
    assert_eq!(rebuilt, live);
    let earlier = replay(&events, Offset::new(5))?;
    say!("as of offset 5:          {earlier:?}");
    assert_eq!(earlier, after_five);
    log.close()?;
    Ok(())
}
