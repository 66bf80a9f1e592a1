//! streamlog, through its public API: producers and partitions in, partitions and consumers out.

use crate::{
    records::Records,
    subject::{
        Appending, Flushing, Hopping, Place, Receiving, Result, Scanning, Seen, Sending, Spreading, Subject,
        stamp,
    },
};
use std::{any::Any, ops::Range, time::Duration};
use streamlog::{
    Consumer, Durability, Partition, Producer, ProducerRecord, RecordData, Streamlog, Topic, TopicConfig,
};

pub const SUBJECT: Subject = Subject {
    name: "streamlog",
    append: Some(|place| Ok(Box::new(Log::open(place, Durability::Written)?))),
    send: Some(|place| Ok(Box::new(Log::open(place, Durability::Written)?))),
    flush: Some(|place| Ok(Box::new(Log::open(place, Durability::Flushed)?))),
    spread: Some(|place| Ok(Box::new(Spread::open(place)?))),
    scan: Some(|place| Ok(Box::new(Log::open(place, Durability::Written)?))),
    hop: Some(|place| Ok(Box::new(Log::open(place, Durability::Written)?))),
    open: Some(open),
    // It knows by itself.
    open_past_cache: Some(open),
    idle: Some(|place, count| {
        let log = Streamlog::open(place.dir)?;
        log.create_topic(TOPIC, TopicConfig::default().partitions(count as u32))?;
        Ok(log.close()?)
    }),
    open_idle: Some(open),
    ..Subject::NONE
};

const TOPIC: &str = "t";

fn open(place: &Place) -> Result<Box<dyn Any>> {
    Ok(Box::new(Streamlog::open(place.dir)?))
}

struct Log {
    log: Streamlog,
    topic: Topic,
    partition: Partition,
    producer: Producer,
}

impl Log {
    fn open(place: &Place, durability: Durability) -> Result<Self> {
        let log = Streamlog::open(place.dir)?;
        let config = TopicConfig::default().durability(durability).segment_bytes(place.segment);
        let topic = log.topic_or_create(TOPIC, config)?;
        let partition = topic.partition(0)?;
        let producer = log.producer()?;
        Ok(Log { log, topic, partition, producer })
    }
}

impl Appending for Log {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        for record in records.range(numbers) {
            self.producer.enqueue(ProducerRecord::new(&self.topic, record))?;
        }
        Ok(self.producer.flush()?)
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        let mut values = Vec::with_capacity(batch);
        for start in numbers.clone().step_by(batch) {
            values.clear();
            values.extend(records.range(start..numbers.end.min(start + batch)).map(RecordData::new));
            self.partition.append(&values)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.producer.flush()?;
        Ok(self.partition.flush()?)
    }
}

impl Sending for Log {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.producer.send(ProducerRecord::new(&self.topic, record))?;
        Ok(())
    }

    fn files(&self) -> Option<usize> {
        Some(self.partition.segment_count())
    }
}

impl Flushing for Log {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        self.producer.send(ProducerRecord::new(&self.topic, record))?;
        Ok(())
    }
}

/// One topic for each number of partitions asked for.
struct Spread {
    log: Streamlog,
    producer: Producer,
}

impl Spread {
    fn open(place: &Place) -> Result<Self> {
        let log = Streamlog::open(place.dir)?;
        let producer = log.producer()?;
        Ok(Spread { log, producer })
    }
}

impl Spreading for Spread {
    fn spread(&mut self, record: &[u8], partitions: usize) -> Result<()> {
        let name = format!("{TOPIC}-{partitions}");
        let config = TopicConfig::default().partitions(partitions as u32);
        let topic = self.log.topic_or_create(&name, config)?;
        let records = (0..partitions as u32).map(|p| ProducerRecord::new(&topic, record).partition(p));
        let records: Vec<_> = records.collect();
        self.producer.send_batch(&records)?;
        Ok(())
    }
}

impl Scanning for Log {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        for batch in self.partition.read(0) {
            for record in &batch? {
                seen.see(record.value.unwrap_or_default());
            }
            if seen.records >= most {
                break;
            }
        }
        Ok(seen)
    }
}

impl Hopping for Log {
    fn sender(&self) -> Result<Box<dyn Sending + Send>> {
        Ok(Box::new(Sender { topic: self.topic.clone(), producer: self.producer.clone() }))
    }

    fn receiver(&self) -> Result<Box<dyn Receiving + Send>> {
        let mut consumer = self.log.consumer("hop")?;
        consumer.subscribe([TOPIC])?;
        Ok(Box::new(Receiver { consumer, ready: Vec::new() }))
    }

    fn can_sleep(&self) -> bool {
        true
    }
}

struct Sender {
    topic: Topic,
    producer: Producer,
}

impl Sending for Sender {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.producer.send(ProducerRecord::new(&self.topic, record))?;
        Ok(())
    }
}

struct Receiver {
    consumer: Consumer,
    /// Stamps that came in the same poll, the last one first.
    ready: Vec<u64>,
}

impl Receiver {
    fn poll(&mut self, timeout: Duration) -> Result<Option<u64>> {
        if self.ready.is_empty() {
            for record in &self.consumer.poll(timeout)? {
                self.ready.push(stamp(record.value.unwrap_or_default())?);
            }
            self.ready.reverse();
        }
        Ok(self.ready.pop())
    }
}

impl Receiving for Receiver {
    fn look(&mut self) -> Result<Option<u64>> {
        self.poll(Duration::ZERO)
    }

    fn wait(&mut self) -> Result<u64> {
        loop {
            if let Some(stamp) = self.poll(Duration::from_secs(60))? {
                return Ok(stamp);
            }
        }
    }
}
