//! The journal of a run's changes to its disk, to be replayed change by change.

use super::{
    SimEnv,
    crash::{self, Crash},
    disk::{Change, Disk},
    fault::Operation,
    rng::Rng,
};
use crate::types::Timestamp;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub number: u64,
    pub operation: Operation,
    pub path: String,
    pub change: Option<Change>,
}

/// Every operation of a run, from [`SimEnv::recording`].
#[derive(Clone, Debug)]
pub struct Recording {
    start: Disk,
    entries: Vec<Entry>,
    monotonic: Duration,
    epoch: i64,
}

impl Recording {
    pub(super) fn new(start: Disk, entries: Vec<Entry>, monotonic: Duration, epoch: i64) -> Recording {
        Recording { start, entries, monotonic, epoch }
    }

    /// How many operations changed the disk.
    pub fn changes(&self) -> usize {
        self.entries.iter().filter(|e| e.change.is_some()).count()
    }

    /// Every operation since [`SimEnv::record`]: its number on the machine, its kind and its path. An operation that changed
    /// the disk in several steps is listed once for each.
    pub fn operations(&self) -> impl Iterator<Item = (u64, Operation, &str)> {
        self.entries.iter().map(|e| (e.number, e.operation, e.path.as_str()))
    }

    /// A cursor at the beginning of the run.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { recording: self, disk: self.start.clone(), next: 0 }
    }
}

/// A place in a [`Recording`]: the disk after one of its operations.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    recording: &'a Recording,
    disk: Disk,
    next: usize,
}

impl Cursor<'_> {
    /// Moves past the next change of the disk, and returns the number of the operation that made it; `None` at the end.
    pub fn advance(&mut self) -> Option<u64> {
        loop {
            let entry = self.recording.entries.get(self.next)?;
            self.next += 1;
            if let Some(change) = &entry.change {
                self.disk.apply(change, Timestamp::from_millis(self.recording.epoch));
                return Some(entry.number);
            }
        }
    }

    /// How many changes are pending here: no flush covers them.
    pub fn pending(&self) -> usize {
        self.disk.pending.len()
    }

    /// The machine as it comes up after a crash here.
    pub fn crash(&self, crash: Crash, seed: u64) -> SimEnv {
        let mut rng = Rng::new(seed);
        let disk = crash::image(&self.disk, crash, &mut rng);
        SimEnv::with(disk, rng, self.recording.monotonic, self.recording.epoch)
    }
}
