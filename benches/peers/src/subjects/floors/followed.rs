//! Floor: a file that one thread writes at its end and another reads there, record by record. The end is told through a
//! number in memory; the reader looks at it in a loop, or sleeps until it has grown.

use super::file::Grown;
use crate::subject::{Hopping, Receiving, Result, Sending, stamp};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// How far the file was written, and who sleeps until it is written on.
#[derive(Default)]
struct End {
    position: AtomicU64,
    asleep: Mutex<()>,
    grown: Condvar,
}

/// A file and its end.
pub struct Followed {
    path: PathBuf,
    end: Arc<End>,
}

impl Followed {
    pub fn at(path: PathBuf) -> Self {
        Followed { path, end: Arc::default() }
    }
}

impl Hopping for Followed {
    fn sender(&self) -> Result<Box<dyn Sending + Send>> {
        Ok(Box::new(Writer { file: Grown::at(&self.path)?, end: Arc::clone(&self.end) }))
    }

    fn receiver(&self) -> Result<Box<dyn Receiving + Send>> {
        let file = Grown::at(&self.path)?.file;
        Ok(Box::new(Reader { file, end: Arc::clone(&self.end), position: 0, record: Vec::new() }))
    }

    fn can_sleep(&self) -> bool {
        true
    }
}

struct Writer {
    file: Grown,
    end: Arc<End>,
}

impl Sending for Writer {
    fn send(&mut self, record: &[u8]) -> Result<()> {
        self.file.append(record)?;
        self.end.position.store(self.file.end, Ordering::SeqCst);
        // Whoever saw the end before holds the lock until it sleeps.
        drop(self.end.asleep.lock().map_err(|e| e.to_string())?);
        self.end.grown.notify_one();
        Ok(())
    }
}

/// All records of a hop are of this size.
const RECORD: usize = 100;

struct Reader {
    file: File,
    end: Arc<End>,
    position: u64,
    record: Vec<u8>,
}

impl Reader {
    fn has_more(&self) -> bool {
        self.end.position.load(Ordering::SeqCst) > self.position
    }

    fn read(&mut self) -> Result<u64> {
        self.record.resize(RECORD, 0);
        self.file.read_exact_at(&mut self.record, self.position)?;
        self.position += RECORD as u64;
        stamp(&self.record)
    }
}

impl Receiving for Reader {
    fn look(&mut self) -> Result<Option<u64>> {
        if self.has_more() { self.read().map(Some) } else { Ok(None) }
    }

    fn wait(&mut self) -> Result<u64> {
        let end = Arc::clone(&self.end);
        let mut guard = end.asleep.lock().map_err(|e| e.to_string())?;
        while !self.has_more() {
            guard = end.grown.wait(guard).map_err(|e| e.to_string())?;
        }
        drop(guard);
        self.read()
    }
}
