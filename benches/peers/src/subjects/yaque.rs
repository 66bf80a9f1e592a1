//! yaque: a queue of segments, written through at every call. No checksums, and never a flush.

use crate::{
    records::Records,
    subject::{Appending, Hopping, Mark, Place, Receiving, Result, Scanning, Seen, Sending, Subject, stamp},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};
use yaque::{Receiver, Sender, SenderBuilder, TryRecvError};

pub const SUBJECT: Subject = Subject {
    name: "yaque",
    marks: &[Mark::NoChecksum, Mark::UnflushedAcknowledged],
    append: Some(|place| Ok(Box::new(Queue::open(place)?))),
    send: Some(|place| Ok(Box::new(Queue::open(place)?))),
    scan: Some(|place| Ok(Box::new(Files(place.dir.to_path_buf())))),
    hop: Some(|place| Ok(Box::new(Files(place.dir.to_path_buf())))),
    open: Some(|place| {
        // Its own recovery removes the lock of a process that is gone.
        let lock = place.dir.join("send.lock");
        if lock.exists() {
            std::fs::remove_file(lock)?;
        }
        Ok(Box::new(Queue::open(place)?))
    }),
    ..Subject::NONE
};

struct Queue {
    sender: Sender,
    dir: PathBuf,
}

impl Queue {
    fn open(place: &Place) -> Result<Self> {
        let sender = SenderBuilder::new().segment_size(place.segment).open(place.dir)?;
        Ok(Queue { sender, dir: place.dir.to_path_buf() })
    }
}

impl Appending for Queue {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        for record in records.range(numbers) {
            self.sender.try_send(record).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        for start in numbers.clone().step_by(batch) {
            let values = records.range(start..numbers.end.min(start + batch));
            self.sender.try_send_batch(values).map_err(|_| "could not send")?;
        }
        Ok(())
    }

    /// There is no call for it: this flushes the files from outside.
    fn flush(&mut self) -> Result<()> {
        for file in std::fs::read_dir(&self.dir)? {
            std::fs::File::open(file?.path())?.sync_data()?;
        }
        Ok(())
    }
}

impl Sending for Queue {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.sender.try_send(record).map_err(|e| e.to_string())?;
        Ok(())
    }

    fn files(&self) -> Option<usize> {
        let names = std::fs::read_dir(&self.dir).ok()?.flatten();
        Some(names.filter(|file| file.path().extension().is_some_and(|e| e == "q")).count())
    }
}

struct Files(PathBuf);

impl Scanning for Files {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        for record in yaque::QueueIter::open(&self.0)?.take(most as usize) {
            seen.see(&record?);
        }
        Ok(seen)
    }
}

impl Hopping for Files {
    fn sender(&self) -> Result<Box<dyn Sending + Send>> {
        Ok(Box::new(Queue { sender: SenderBuilder::new().open(&self.0)?, dir: self.0.clone() }))
    }

    fn receiver(&self) -> Result<Box<dyn Receiving + Send>> {
        receiver(&self.0)
    }

    fn can_sleep(&self) -> bool {
        true
    }
}

fn receiver(dir: &Path) -> Result<Box<dyn Receiving + Send>> {
    Ok(Box::new(Receiver::open(dir)?))
}

impl Receiving for Receiver {
    fn look(&mut self) -> Result<Option<u64>> {
        match self.try_recv() {
            Ok(record) => {
                let stamp = stamp(&record)?;
                record.commit()?;
                Ok(Some(stamp))
            }
            Err(TryRecvError::QueueEmpty) => Ok(None),
            Err(error) => Err(format!("{error:?}").into()),
        }
    }

    fn wait(&mut self) -> Result<u64> {
        let record = super::runtime::block_on(self.recv())?;
        let stamp = stamp(&record)?;
        record.commit()?;
        Ok(stamp)
    }
}
