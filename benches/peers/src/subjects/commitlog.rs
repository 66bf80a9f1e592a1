//! commitlog: batches with a CRC-32C each record, written at once, read positionally.
//!
//! Its `flush` flushes the index and calls `File::flush` on the records, which does nothing: it is not asked to.

use crate::{
    records::Records,
    subject::{Appending, Hopping, Mark, Place, Receiving, Result, Scanning, Seen, Sending, Subject, stamp},
};
use commitlog::{
    CommitLog, LogOptions, ReadLimit,
    message::{MessageBuf, MessageSet},
};
use std::{
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex},
};

pub const SUBJECT: Subject = Subject {
    name: "commitlog",
    marks: &[Mark::ChecksumUnread, Mark::UnflushedAcknowledged],
    append: Some(|place| Ok(Box::new(open(place)?))),
    send: Some(|place| Ok(Box::new(Files(open(place)?, place.dir.to_path_buf())))),
    scan: Some(|place| Ok(Box::new(open(place)?))),
    hop: Some(|place| Ok(Box::new(Shared(Arc::new(Mutex::new(open(place)?)))))),
    open: Some(|place| Ok(Box::new(open(place)?))),
    ..Subject::NONE
};

fn open(place: &Place) -> Result<CommitLog> {
    let mut options = LogOptions::new(place.dir);
    // Its positions in a file are 32 bits wide.
    options.segment_max_bytes(place.segment.min(1 << 30) as usize);
    options.message_max_bytes(8 << 20);
    Ok(CommitLog::new(options)?)
}

impl Appending for CommitLog {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        for record in records.range(numbers) {
            self.append_msg(record).map_err(to_text)?;
        }
        Ok(())
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        let mut messages = MessageBuf::default();
        for start in numbers.clone().step_by(batch) {
            messages.clear();
            for record in records.range(start..numbers.end.min(start + batch)) {
                messages.push(record).map_err(|e| format!("{e:?}"))?;
            }
            self.append(&mut messages).map_err(to_text)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(CommitLog::flush(self)?)
    }
}

/// The log and its directory, to count the files in.
struct Files(CommitLog, PathBuf);

impl Sending for Files {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.0.append_msg(record).map_err(to_text)?;
        Ok(())
    }

    fn files(&self) -> Option<usize> {
        Some(std::fs::read_dir(&self.1).ok()?.count())
    }
}

impl Scanning for CommitLog {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut next = 0;
        loop {
            let messages = self.read(next, ReadLimit::max_bytes(64 << 10)).map_err(|e| format!("{e:?}"))?;
            if messages.is_empty() || seen.records >= most {
                return Ok(seen);
            }
            for message in messages.iter() {
                if !message.verify_hash() {
                    return Err(format!("offset {}: its checksum does not fit", message.offset()).into());
                }
                seen.see(message.payload());
                next = message.offset() + 1;
            }
        }
    }
}

/// A log for two threads. Its own types leave no way but a lock.
#[derive(Clone)]
struct Shared(Arc<Mutex<CommitLog>>);

impl Hopping for Shared {
    fn sender(&self) -> Result<Box<dyn Sending + Send>> {
        Ok(Box::new(self.clone()))
    }

    fn receiver(&self) -> Result<Box<dyn Receiving + Send>> {
        Ok(Box::new(Receiver { log: self.clone(), next: 0 }))
    }

    fn can_sleep(&self) -> bool {
        false
    }
}

impl Sending for Shared {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.0.lock().map_err(to_text)?.append_msg(record).map_err(to_text)?;
        Ok(())
    }
}

struct Receiver {
    log: Shared,
    next: u64,
}

impl Receiving for Receiver {
    fn look(&mut self) -> Result<Option<u64>> {
        let log = self.log.0.lock().map_err(to_text)?;
        if log.next_offset() <= self.next {
            return Ok(None);
        }
        let messages = log.read(self.next, ReadLimit::max_bytes(256)).map_err(|e| format!("{e:?}"))?;
        let Some(message) = messages.iter().next() else { return Ok(None) };
        self.next = message.offset() + 1;
        stamp(message.payload()).map(Some)
    }

    fn wait(&mut self) -> Result<u64> {
        Err("its readers cannot sleep".into())
    }
}

fn to_text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
