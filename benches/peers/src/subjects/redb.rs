//! redb: a copy-on-write B-tree; the offset is the key, a transaction a batch.

use crate::{
    records::Records,
    subject::{Appending, Flushing, Mark, Place, Result, Scanning, Seen, Sending, Subject},
};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::{ops::Range, sync::Mutex};

pub const SUBJECT: Subject = Subject {
    name: "redb",
    marks: &[Mark::Tree, Mark::Buffers],
    append: Some(|place| Ok(Box::new(Tree::open(place)?))),
    send: Some(|place| Ok(Box::new(Tree::open(place)?))),
    flush: Some(|place| Ok(Box::new(Mutex::new(Tree::open(place)?)))),
    scan: Some(|place| Ok(Box::new(Tree::open(place)?))),
    open: Some(|place| Ok(Box::new(Tree::open(place)?))),
    ..Subject::NONE
};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

struct Tree {
    database: Database,
    next: u64,
}

impl Tree {
    fn open(place: &Place) -> Result<Self> {
        let database = Database::builder().create(place.dir.join("log.redb"))?;
        let write = database.begin_write()?;
        let next = match write.open_table(TABLE)?.last()? {
            Some((last, _)) => last.value() + 1,
            None => 0,
        };
        write.commit()?;
        Ok(Tree { database, next })
    }

    fn write<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>, durability: Durability) -> Result<()> {
        let mut write = self.database.begin_write()?;
        write.set_durability(durability)?;
        {
            let mut table = write.open_table(TABLE)?;
            for record in records {
                table.insert(self.next, record)?;
                self.next += 1;
            }
        }
        Ok(write.commit()?)
    }
}

impl Appending for Tree {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        records.range(numbers).try_for_each(|record| self.write(std::iter::once(record), Durability::None))
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        let end = numbers.end;
        numbers
            .step_by(batch)
            .try_for_each(|at| self.write(records.range(at..end.min(at + batch)), Durability::None))
    }

    fn flush(&mut self) -> Result<()> {
        self.write(std::iter::empty(), Durability::Immediate)
    }
}

impl Sending for Tree {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.write(std::iter::once(record), Durability::None)
    }
}

impl Flushing for Mutex<Tree> {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        let mut tree = self.lock().map_err(|e| e.to_string())?;
        tree.write(std::iter::once(record), Durability::Immediate)
    }
}

impl Scanning for Tree {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        let read = self.database.begin_read()?;
        for entry in read.open_table(TABLE)?.iter()?.take(most as usize) {
            seen.see(entry?.1.value());
        }
        Ok(seen)
    }
}
