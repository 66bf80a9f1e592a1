//! raft-engine: TiKV's log of many Raft groups, with group commit and an index in memory.
//!
//! Its entries are protobuf messages. The message used here is the one at hand that has a number and bytes. Compression
//! is off: the records do not compress.

use crate::{
    records::Records,
    subject::{Appending, Flushing, Place, Result, Scanning, Seen, Sending, Subject},
};
use protobuf::descriptor::UninterpretedOption as Message;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

pub const SUBJECT: Subject = Subject {
    name: "raft-engine",
    append: Some(|place| Ok(Box::new(Group::open(place)?))),
    send: Some(|place| Ok(Box::new(Group::open(place)?))),
    flush: Some(|place| Ok(Box::new(Group::open(place)?))),
    scan: Some(|place| Ok(Box::new(Group::open(place)?))),
    open: Some(|place| Ok(Box::new(Group::open(place)?))),
    ..Subject::NONE
};

#[derive(Clone)]
struct Numbered;

impl MessageExt for Numbered {
    type Entry = Message;

    fn index(entry: &Message) -> u64 {
        entry.get_positive_int_value()
    }
}

struct Group {
    engine: Engine,
    /// The region whose turn it is: threads write to regions of their own, as Raft groups do.
    threads: AtomicU64,
    next: u64,
}

impl Group {
    fn open(place: &Place) -> Result<Self> {
        let dir = place.dir.to_str().ok_or("a directory that is no text")?.to_string();
        let config = Config {
            dir,
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(place.segment.max(64 << 20)),
            ..Config::default()
        };
        let engine = Engine::open(config)?;
        let next = engine.last_index(0).map_or(1, |last| last + 1);
        Ok(Group { engine, threads: AtomicU64::new(1), next })
    }

    fn write<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let entries: Vec<_> =
            records.zip(self.next..).map(|(record, number)| entry(number, record)).collect();
        let mut batch = LogBatch::with_capacity(entries.len());
        batch.add_entries::<Numbered>(0, &entries)?;
        self.next += entries.len() as u64;
        self.engine.write(&mut batch, false)?;
        Ok(())
    }
}

fn entry(number: u64, record: &[u8]) -> Message {
    let mut entry = Message::new();
    entry.set_positive_int_value(number);
    entry.set_string_value(record.to_vec());
    entry
}

impl Appending for Group {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        records.range(numbers).try_for_each(|record| self.write(std::iter::once(record)))
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        let end = numbers.end;
        numbers.step_by(batch).try_for_each(|at| self.write(records.range(at..end.min(at + batch))))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.engine.sync()?)
    }
}

impl Sending for Group {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.write(std::iter::once(record))
    }
}

thread_local! {
    /// This thread's region and its next number.
    static REGION: std::cell::Cell<Option<(u64, u64)>> = const { std::cell::Cell::new(None) };
}

impl Flushing for Group {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        let (region, number) =
            REGION.get().unwrap_or_else(|| (self.threads.fetch_add(1, Ordering::Relaxed), 1));
        let number = self.engine.last_index(region).map_or(1, |last| (last + 1).max(number));
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Numbered>(region, &[entry(number, record)])?;
        self.engine.write(&mut batch, true)?;
        REGION.set(Some((region, number + 1)));
        Ok(())
    }
}

impl Scanning for Group {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut entries = Vec::new();
        let first = self.engine.first_index(0).unwrap_or(0);
        let end = self.engine.last_index(0).map_or(0, |last| last.min(first.saturating_add(most - 1)) + 1);
        for at in (first..end).step_by(1000) {
            entries.clear();
            self.engine.fetch_entries_to::<Numbered>(0, at, end.min(at + 1000), None, &mut entries)?;
            entries.iter().for_each(|entry| seen.see(entry.get_string_value()));
        }
        Ok(seen)
    }
}
