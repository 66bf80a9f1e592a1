//! Floor: memory alone. Copying records, and waking a thread that waits for one.

use crate::{
    records::Records,
    subject::{Appending, Hopping, Mark, Receiving, Result, Sending, Subject, stamp},
};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

pub const SUBJECT: Subject = Subject {
    name: "memory",
    marks: &[Mark::Floor, Mark::AllInMemory, Mark::NoChecksum],
    append: Some(|_| Ok(Box::new(Ring { bytes: vec![1; RING], at: 0 }))),
    hop: Some(|_| Ok(Box::new(Channel::default()))),
    ..Subject::NONE
};

/// Far more than the caches hold.
const RING: usize = 64 << 20;

struct Ring {
    bytes: Vec<u8>,
    at: usize,
}

impl Appending for Ring {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        for record in records.range(numbers) {
            if self.at + record.len() > RING {
                self.at = 0;
            }
            self.bytes[self.at..self.at + record.len()].copy_from_slice(record);
            self.at += record.len();
        }
        std::hint::black_box(&mut self.bytes);
        Ok(())
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, _: usize) -> Result<()> {
        self.singly(records, numbers)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn bytes_used(&self) -> Option<u64> {
        Some(0)
    }
}

/// The stamps under way, and how many were ever sent.
#[derive(Default)]
struct Queue {
    stamps: Mutex<VecDeque<u64>>,
    filled: Condvar,
    sent: AtomicU64,
}

#[derive(Clone, Default)]
struct Channel(Arc<Queue>);

impl Hopping for Channel {
    fn sender(&self) -> Result<Box<dyn Sending + Send>> {
        Ok(Box::new(self.clone()))
    }

    fn receiver(&self) -> Result<Box<dyn Receiving + Send>> {
        Ok(Box::new(Receiver { queue: self.clone(), received: 0 }))
    }

    fn can_sleep(&self) -> bool {
        true
    }
}

impl Sending for Channel {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.0.stamps.lock().map_err(|e| e.to_string())?.push_back(stamp(record)?);
        self.0.sent.fetch_add(1, Ordering::Release);
        self.0.filled.notify_one();
        Ok(())
    }
}

struct Receiver {
    queue: Channel,
    received: u64,
}

impl Receiving for Receiver {
    fn look(&mut self) -> Result<Option<u64>> {
        if self.queue.0.sent.load(Ordering::Acquire) == self.received {
            return Ok(None);
        }
        self.received += 1;
        Ok(self.queue.0.stamps.lock().map_err(|e| e.to_string())?.pop_front())
    }

    fn wait(&mut self) -> Result<u64> {
        let mut stamps = self.queue.0.stamps.lock().map_err(|e| e.to_string())?;
        loop {
            if let Some(stamp) = stamps.pop_front() {
                self.received += 1;
                return Ok(stamp);
            }
            stamps = self.queue.0.filled.wait(stamps).map_err(|e| e.to_string())?;
        }
    }
}
