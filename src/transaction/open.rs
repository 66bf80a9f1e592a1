//! A transaction that is open: what its handle shares with whoever may have to end it.
//!
//! A handle writes under the lock of [`Open::progress`], and so does everybody who ends a transaction: an end waits for the
//! appends in flight, and finds all that they wrote (Kafka's verification guard has that purpose). After the end nothing is
//! written.

use super::entry::Verdict;
use crate::{
    env::sync::{Mutex, MutexGuard},
    error::{Error, Result},
    partition::{log::Log, state::append_as::Claimed},
    types::{Offset, Timestamp, TopicPartition},
};
use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Open {
    /// The name of its producer, if that has one.
    pub name: Option<Arc<str>>,
    pub timeout: Duration,
    /// When it is over, on the monotonic clock.
    pub deadline: Duration,
    progress: Mutex<Progress>,
}

/// How far it has come.
#[derive(Debug)]
pub(super) struct Progress {
    /// Who writes it, once something was written.
    pub claimed: Option<Claimed>,
    /// What was written, by partition.
    pub written: BTreeMap<TopicPartition, Written>,
    /// When it began.
    pub started: Timestamp,
    /// Why it is not open any more.
    pub ended: Option<Ended>,
}

/// Its batches in one log.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub log: Arc<Log>,
    /// The incarnation of the log that they belong to.
    pub incarnation: u32,
    /// From its first batch to the end of its last; batches of others may lie between.
    pub offsets: Range<Offset>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// By its own handle.
    ByItself,
    /// By somebody else, who left this error for the handle.
    ByOther(Error),
}

impl Open {
    /// A transaction that begins now.
    pub fn new(name: Option<Arc<str>>, timeout: Duration, now: Duration, started: Timestamp) -> Self {
        let deadline = now.saturating_add(timeout);
        let (claimed, written, ended) = (None, BTreeMap::new(), None);
        let progress = Mutex::new(Progress { claimed, written, started, ended });
        Open { name, timeout, deadline, progress }
    }

    /// How far it has come. Nothing is written in it as long as this is held.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock()
    }

    /// Whether its time is over.
    pub fn is_late(&self, now: Duration) -> bool {
        now >= self.deadline
    }

    /// The error of a transaction whose time is over.
    pub fn too_late(&self) -> Error {
        Error::Timeout { what: "a transaction to be committed, which was aborted", after: self.timeout }
    }
}

impl Progress {
    /// An error where it has ended.
    pub fn check(&self) -> Result<()> {
        match &self.ended {
            None => Ok(()),
            Some(Ended::ByOther(error)) => Err(error.clone()),
            Some(Ended::ByItself) => {
                Err(Error::InvalidTransactionState { reason: "the transaction has ended".to_string() })
            }
        }
    }

    /// What is decided about it.
    pub fn verdict(&self, commit: bool) -> Verdict {
        let partitions = self.written.keys().cloned().collect();
        Verdict { commit, started: self.started, partitions }
    }

    /// A batch of it was written to `log`.
    pub fn wrote(&mut self, log: &Arc<Log>, offsets: Range<Offset>) {
        let entry = self.written.entry(log.identity.name.clone());
        let written = entry.or_insert_with(|| Written {
            log: Arc::clone(log),
            incarnation: log.incarnation_of(Offset::MAX),
            offsets: offsets.clone(),
        });
        written.offsets.end = written.offsets.end.max(offsets.end);
    }
}
