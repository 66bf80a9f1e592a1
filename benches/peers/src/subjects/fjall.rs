//! fjall: a tree of sorted tables with a journal; the offset, big-endian, is the key.

use crate::{
    records::Records,
    subject::{
        Appending, Flushing, Hopping, Mark, Place, Receiving, Result, Scanning, Seen, Sending, Spreading,
        Subject, stamp,
    },
};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub const SUBJECT: Subject = Subject {
    name: "fjall",
    marks: &[Mark::Tree],
    append: Some(|place| Ok(Box::new(Tree::open(place)?))),
    send: Some(|place| Ok(Box::new(Tree::open(place)?))),
    flush: Some(|place| Ok(Box::new(Tree::open(place)?))),
    spread: Some(|place| Ok(Box::new(Tree::open(place)?))),
    scan: Some(|place| Ok(Box::new(Tree::open(place)?))),
    hop: Some(|place| Ok(Box::new(Tree::open(place)?))),
    open: Some(|place| Ok(Box::new(Tree::open(place)?))),
    ..Subject::NONE
};

#[derive(Clone)]
struct Tree {
    database: Database,
    tree: Keyspace,
    others: Vec<Keyspace>,
    next: Arc<AtomicU64>,
}

impl Tree {
    fn open(place: &Place) -> Result<Self> {
        let database = Database::builder(place.dir).open()?;
        let tree = database.keyspace("log", KeyspaceCreateOptions::default)?;
        let last = tree.last_key_value().map(|last| last.key()).transpose()?;
        let next = match last {
            Some(key) => u64::from_be_bytes((*key).try_into()?) + 1,
            None => 0,
        };
        Ok(Tree { database, tree, others: Vec::new(), next: Arc::new(AtomicU64::new(next)) })
    }

    #[inline]
    fn append(&self, record: &[u8]) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(self.tree.insert(number.to_be_bytes(), record)?)
    }
}

impl Appending for Tree {
    fn singly(&mut self, records: &Records, numbers: Range<usize>) -> Result<()> {
        records.range(numbers).try_for_each(|record| self.append(record))
    }

    fn batched(&mut self, records: &Records, numbers: Range<usize>, batch: usize) -> Result<()> {
        for start in numbers.clone().step_by(batch) {
            let mut writes = self.database.batch();
            for record in records.range(start..numbers.end.min(start + batch)) {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                writes.insert(&self.tree, number.to_be_bytes(), record);
            }
            writes.commit()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

impl Sending for Tree {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.append(record)
    }
}

impl Flushing for Tree {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        self.append(record)?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }
}

impl Spreading for Tree {
    fn spread(&mut self, record: &[u8], partitions: usize) -> Result<()> {
        while self.others.len() < partitions {
            let name = format!("log-{}", self.others.len());
            self.others.push(self.database.keyspace(&name, KeyspaceCreateOptions::default)?);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for tree in &self.others[..partitions] {
            writes.insert(tree, number.to_be_bytes(), record);
        }
        Ok(writes.commit()?)
    }
}

impl Scanning for Tree {
    fn scan(&mut self, most: u64) -> Result<Seen> {
        let mut seen = Seen::default();
        for entry in self.tree.iter().take(most as usize) {
            seen.see(&entry.into_inner()?.1);
        }
        Ok(seen)
    }
}

impl Hopping for Tree {
    fn sender(&self) -> Result<Box<dyn Sending + Send>> {
        Ok(Box::new(self.clone()))
    }

    fn receiver(&self) -> Result<Box<dyn Receiving + Send>> {
        Ok(Box::new(Receiver { tree: self.tree.clone(), next: 0 }))
    }

    fn can_sleep(&self) -> bool {
        false
    }
}

struct Receiver {
    tree: Keyspace,
    next: u64,
}

impl Receiving for Receiver {
    fn look(&mut self) -> Result<Option<u64>> {
        let Some(record) = self.tree.get(self.next.to_be_bytes())? else { return Ok(None) };
        self.next += 1;
        stamp(&record).map(Some)
    }

    fn wait(&mut self) -> Result<u64> {
        Err("its readers cannot sleep".into())
    }
}
