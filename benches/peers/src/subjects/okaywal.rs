//! okaywal: entries that are committed with a flush, shared by those who wait.
//!
//! It is a log to recover from, not to read: it is only asked to flush.

use crate::{
    records::Records,
    subject::{Appending, Flushing, Place, Result, Subject},
};
use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};
use std::{io, ops::Range};

pub const SUBJECT: Subject = Subject {
    name: "okaywal",
    append: Some(|place| Ok(Box::new(Wal(open(place)?)))),
    flush: Some(|place| Ok(Box::new(Wal(open(place)?)))),
    open: Some(|place| Ok(Box::new(open(place)?))),
    ..Subject::NONE
};

/// Keeps its segments as large as others' files are, so that no checkpoint interrupts.
fn open(place: &Place) -> Result<WriteAheadLog> {
    let bytes = (place.room * 2).clamp(16 << 20, 1 << 30);
    let log = Configuration::default_for(place.dir)
        .preallocate_bytes(bytes as u32)
        .checkpoint_after_bytes(bytes)
        .buffer_bytes(64 << 10)
        .open(Reader)?;
    Ok(log)
}

struct Wal(WriteAheadLog);

/// All that it can do is commit with a flush, so a batch is an entry and the figure carries a flush each.
impl Appending for Wal {
    fn singly(&mut self, _: &Records, _: Range<usize>) -> Result<()> {
        Err("every commit flushes".into())
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        for start in numbers.clone().step_by(batch) {
            let mut entry = self.0.begin_entry()?;
            for record in records.range(start..numbers.end.min(start + batch)) {
                entry.write_chunk(record)?;
            }
            entry.commit()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Flushing for Wal {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        let mut entry = self.0.begin_entry()?;
        entry.write_chunk(record)?;
        entry.commit()?;
        Ok(())
    }
}

/// Reads what is there, as a recovery must.
#[derive(Debug)]
struct Reader;

impl LogManager for Reader {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        if let Some(chunks) = entry.read_all_chunks()? {
            std::hint::black_box(chunks);
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}
