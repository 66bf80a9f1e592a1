//! walrus: topics in files of 1000 MiB, blocks of 10 MiB, FNV checksums, io_uring for batches.
//!
//! It finds its directory by an environment variable and a key.

use crate::{
    records::Records,
    subject::{
        Appending, Flushing, Hopping, Place, Receiving, Result, Scanning, Seen, Sending, Subject, stamp,
    },
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

pub const SUBJECT: Subject = Subject {
    name: "walrus-rust",
    crawls: true,
    append: Some(|place| Ok(Box::new(open(place, FsyncSchedule::Milliseconds(200))?))),
    send: Some(|place| Ok(Box::new(Shared(Arc::new(open(place, FsyncSchedule::Milliseconds(200))?))))),
    flush: Some(|place| Ok(Box::new(open(place, FsyncSchedule::SyncEach)?))),
    scan: Some(|place| Ok(Box::new(Reader(place.dir.to_path_buf())))),
    hop: Some(|place| Ok(Box::new(Shared(Arc::new(open(place, FsyncSchedule::Milliseconds(200))?))))),
    open: Some(|place| Ok(Box::new(open(place, FsyncSchedule::Milliseconds(200))?))),
    ..Subject::NONE
};

const TOPIC: &str = "t";

fn open(place: &Place, flushes: FsyncSchedule) -> Result<Walrus> {
    open_dir(place.dir, flushes)
}

#[allow(unsafe_code, reason = "there is no other way to tell it where")]
fn open_dir(dir: &Path, flushes: FsyncSchedule) -> Result<Walrus> {
    let parent = dir.parent().ok_or("a directory without a parent")?;
    let key = dir.file_name().and_then(|name| name.to_str()).ok_or("a directory without a name")?;
    // SAFETY: one subject works at a time, and no other code here reads the environment through C.
    unsafe {
        std::env::set_var("WALRUS_DATA_DIR", parent);
        std::env::set_var("WALRUS_QUIET", "1");
    }
    let reads = ReadConsistency::AtLeastOnce { persist_every: u32::MAX };
    Ok(Walrus::with_consistency_and_schedule_for_key(key, reads, flushes)?)
}

impl Appending for Walrus {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        for record in records.range(numbers) {
            self.append_for_topic(TOPIC, record)?;
        }
        Ok(())
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        let mut values: Vec<&[u8]> = Vec::with_capacity(batch);
        for start in numbers.clone().step_by(batch) {
            values.clear();
            values.extend(records.range(start..numbers.end.min(start + batch)));
            self.batch_append_for_topic(TOPIC, &values)?;
        }
        Ok(())
    }

    /// It flushes every 200 ms, and has no call for it.
    fn flush(&mut self) -> Result<()> {
        std::thread::sleep(std::time::Duration::from_millis(450));
        Ok(())
    }
}

impl Flushing for Walrus {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        Ok(self.append_for_topic(TOPIC, record)?)
    }
}

/// Reads forget nothing within one opening, so each scan opens anew; that is part of what it costs.
struct Reader(PathBuf);

impl Scanning for Reader {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let log = open_dir(&self.0, FsyncSchedule::NoFsync)?;
        let mut seen = Seen::default();
        loop {
            // Looking without moving would show the first records for ever, so the position moves, in memory.
            let entries = log.batch_read_for_topic(TOPIC, 1 << 20, true)?;
            if entries.is_empty() || seen.records >= most {
                return Ok(seen);
            }
            entries.iter().for_each(|entry| seen.see(&entry.data));
        }
    }
}

#[derive(Clone)]
struct Shared(Arc<Walrus>);

impl Sending for Shared {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        Ok(self.0.append_for_topic(TOPIC, record)?)
    }
}

impl Hopping for Shared {
    fn sender(&self) -> Result<Box<dyn Sending + Send>> {
        Ok(Box::new(self.clone()))
    }

    fn receiver(&self) -> Result<Box<dyn Receiving + Send>> {
        Ok(Box::new(self.clone()))
    }

    fn can_sleep(&self) -> bool {
        false
    }
}

impl Receiving for Shared {
    fn look(&mut self) -> Result<Option<u64>> {
        self.0.read_next(TOPIC, true)?.map(|entry| stamp(&entry.data)).transpose()
    }

    fn wait(&mut self) -> Result<u64> {
        Err("its readers cannot sleep".into())
    }
}
