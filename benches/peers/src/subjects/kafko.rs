//! kafko: Kafka's words on an asynchronous runtime; one task writes each partition.

use super::runtime::block_on;
use crate::{
    records::Records,
    subject::{
        Appending, Flushing, Hopping, Place, Receiving, Result, Scanning, Seen, Sending, Subject, stamp,
    },
};
use bytes::Bytes;
use kafko::{Consumer, Kafko, LogConfig, Producer, Topic};
use std::{any::Any, ops::Range, sync::Arc, time::Duration};

pub const SUBJECT: Subject = Subject {
    name: "kafko",
    crawls: true,
    append: Some(|place| Ok(Box::new(Broker::open(place, 1)?))),
    send: Some(|place| Ok(Box::new(Broker::open(place, 1)?))),
    flush: Some(|place| Ok(Box::new(Broker::open(place, 1)?))),
    scan: Some(|place| Ok(Box::new(Broker::open(place, 1)?))),
    hop: Some(|place| Ok(Box::new(Broker::open(place, 1)?))),
    open: Some(|place| Ok(Box::new(Broker::open(place, 1)?))),
    idle: Some(|place, count| Broker::open(place, count as u32).map(drop)),
    open_idle: Some(|place| Ok(Box::new(block_on(Kafko::open(place.dir))?) as Box<dyn Any>)),
    ..Subject::NONE
};

const TOPIC: &str = "t";

struct Broker {
    broker: Option<Kafko>,
    topic: Option<Arc<Topic>>,
    producer: Option<Producer>,
}

impl Broker {
    fn open(place: &Place, partitions: u32) -> Result<Self> {
        let config = LogConfig { segment_size_threshold: place.segment, ..LogConfig::default() };
        block_on(async {
            let broker = Kafko::open_with_config(place.dir, config).await?;
            if !broker.has_topic(TOPIC).await {
                broker.create_topic_with_partitions(TOPIC, partitions).await?;
            }
            let topic = broker.topic(TOPIC).await.ok_or("its topic is gone")?;
            let producer = broker.producer_for(TOPIC).await?;
            Ok(Broker { broker: Some(broker), topic: Some(topic), producer: Some(producer) })
        })
    }

    fn producer(&self) -> Result<&Producer> {
        Ok(self.producer.as_ref().ok_or("closed")?)
    }

    fn broker(&self) -> Result<&Kafko> {
        Ok(self.broker.as_ref().ok_or("closed")?)
    }

    fn topic(&self) -> Result<&Topic> {
        Ok(self.topic.as_ref().ok_or("closed")?)
    }
}

impl Drop for Broker {
    /// Its files are free once its tasks are done.
    fn drop(&mut self) {
        (self.topic, self.producer) = (None, None);
        if let Some(broker) = self.broker.take() {
            let _ =
                block_on(async { tokio::time::timeout(Duration::from_secs(20), broker.shutdown()).await });
        }
    }
}

impl Appending for Broker {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        let producer = self.producer()?;
        block_on(async {
            for record in records.range(numbers) {
                producer.send(None, Bytes::copy_from_slice(record)).await?;
            }
            Ok(())
        })
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        let producer = self.producer()?;
        block_on(async {
            for start in numbers.clone().step_by(batch) {
                let values = records.range(start..numbers.end.min(start + batch));
                producer.send_batch(values.map(|v| (None, Bytes::copy_from_slice(v))).collect()).await?;
            }
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<()> {
        let partition = self.topic()?.partition(0).ok_or("its partition is gone")?;
        Ok(block_on(partition.sync())?)
    }
}

impl Sending for Broker {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        block_on(self.producer()?.send(None, Bytes::copy_from_slice(record)))?;
        Ok(())
    }
}

impl Flushing for Broker {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        let partition = self.topic()?.partition(0).ok_or("its partition is gone")?;
        block_on(async {
            self.producer()?.send(None, Bytes::copy_from_slice(record)).await?;
            Ok(partition.sync().await?)
        })
    }
}

impl Scanning for Broker {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let end = self.topic()?.partition(0).ok_or("its partition is gone")?.high_water_mark();
        block_on(async {
            let mut seen = Seen::default();
            let mut consumer = self.broker()?.consumer_for(TOPIC).await?;
            while consumer.position(0) < end.min(most) {
                seen.see(consumer.next_record().await?.value());
            }
            Ok(seen)
        })
    }
}

impl Hopping for Broker {
    fn sender(&self) -> Result<Box<dyn Sending + Send>> {
        Ok(Box::new(Sender(block_on(self.broker()?.producer_for(TOPIC))?)))
    }

    fn receiver(&self) -> Result<Box<dyn Receiving + Send>> {
        Ok(Box::new(Receiver(block_on(self.broker()?.consumer_for(TOPIC))?)))
    }

    fn can_look(&self) -> bool {
        false
    }

    fn can_sleep(&self) -> bool {
        true
    }
}

struct Sender(Producer);

impl Sending for Sender {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        block_on(self.0.send(None, Bytes::copy_from_slice(record)))?;
        Ok(())
    }
}

struct Receiver(Consumer);

impl Receiving for Receiver {
    fn look(&mut self) -> Result<Option<u64>> {
        Err("it has no call that does not wait".into())
    }

    fn wait(&mut self) -> Result<u64> {
        stamp(block_on(self.0.next_record())?.value())
    }
}
