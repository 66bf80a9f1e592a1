//! What became of an enqueued record.
//!
//! All records of a batch share one [`BatchResult`], which is settled once, when the batch is acknowledged or has failed.
//! A [`Delivery`] is a reference to it and the record's place in the batch. The result keeps its queue alive, so that what
//! was accepted is written also when the producer is gone.

use super::{record::RecordMetadata, sender::Drain};
use crate::{
    env::sync::{OnceLock, Signal},
    error::{Error, Result},
    partition::write::append::Appended,
    types::Timestamp,
};
use std::{fmt, sync::Arc, time::Duration};

/// What a batch's records wait for.
pub(super) struct BatchResult {
    drain: Arc<dyn Drain>,
    outcome: OnceLock<Result<Appended>>,
    settled: Signal,
}

impl BatchResult {
    pub(super) fn new(drain: Arc<dyn Drain>) -> Arc<Self> {
        Arc::new(BatchResult { drain, outcome: OnceLock::new(), settled: Signal::new() })
    }

    /// Says how it ended. Only the first word counts.
    pub(super) fn settle(&self, outcome: Result<Appended>) {
        if self.outcome.set(outcome).is_ok() {
            unless_planted!(what_is_settled_wakes_nobody => self.settled.notify());
        }
    }

    /// The queue that it is in.
    pub(super) fn drain(&self) -> Arc<dyn Drain> {
        Arc::clone(&self.drain)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Waits until it is settled, or the deadline has come. Where nobody else does it, the caller does the work.
    pub(super) fn wait(&self, deadline: Option<Duration>) {
        let sender = self.drain.sender();
        if !sender.is_inline() {
            return self.sleep_until(deadline);
        }
        let deadline = deadline.unwrap_or(Duration::MAX);
        sender.serve(std::slice::from_ref(&self.drain));
        while !self.is_settled() && sender.env().monotonic() < deadline {
            let next = self.drain.next_attempt().unwrap_or(Duration::MAX);
            self.sleep(next.min(sender.next_look()).min(deadline));
            sender.run_due();
        }
    }

    /// Sleeps until it is settled, or the deadline has come.
    pub(super) fn sleep(&self, deadline: Duration) {
        self.sleep_until((deadline != Duration::MAX).then_some(deadline));
    }

    fn sleep_until(&self, deadline: Option<Duration>) {
        let env = self.drain.sender().env();
        loop {
            let seen = self.settled.epoch();
            if self.is_settled() || deadline.is_some_and(|at| env.monotonic() >= at) {
                return;
            }
            env.wait(&self.settled, seen, deadline);
        }
    }
}

/// An enqueued record on its way. Dropping it changes nothing: the record is written all the same, and where that fails for
/// good, [`Producer::flush`](super::Producer::flush) says so. It keeps no log open; where producer and log are gone, it
/// reports how their end left the record.
#[derive(Clone)]
pub struct Delivery {
    promise: Arc<BatchResult>,
    index: u32,
    timestamp: Timestamp,
}

impl Delivery {
    pub(super) fn new(promise: Arc<BatchResult>, index: u32, timestamp: Timestamp) -> Self {
        Delivery { promise, index, timestamp }
    }

    /// Waits until the record is acknowledged, and says where it went.
    ///
    /// # Errors
    ///
    /// `Undelivered` when its batch, or one of the same partition before it, failed for good: the record was not written, or
    /// is not known to be durable. A failure that can pass, as a full disk, does not count yet: the record stays on its
    /// way for the time of [`max_block`](super::ProducerBuilder::max_block).
    pub fn wait(&self) -> Result<RecordMetadata> {
        loop {
            if let Some(result) = self.try_result() {
                return result;
            }
            self.promise.wait(None);
        }
    }

    /// As [`Delivery::wait`], for at most so long.
    ///
    /// # Errors
    ///
    /// Also `Timeout`: the record is still on its way then, and may be waited for again.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<RecordMetadata> {
        if let Some(result) = self.try_result() {
            return result;
        }
        let now = self.promise.drain.sender().env().monotonic();
        self.promise.wait(now.checked_add(timeout));
        self.try_result()
            .unwrap_or(Err(Error::Timeout { what: "a record to be acknowledged", after: timeout }))
    }

    /// Whether it was acknowledged, or has failed.
    pub fn is_done(&self) -> bool {
        self.promise.is_settled() || self.promise.drain.log().check_process().is_err()
    }

    /// How it ended; `None` while it is on its way.
    pub fn try_result(&self) -> Option<Result<RecordMetadata>> {
        let Some(outcome) = self.promise.outcome.get() else {
            // Nobody in a child settles it.
            return self.promise.drain.log().check_process().err().map(Err);
        };
        Some(outcome.as_ref().map_err(Error::clone).map(|appended| {
            let partition = &self.promise.drain.log().identity.name;
            RecordMetadata::of(appended, self.index, self.timestamp, partition)
        }))
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("result", &self.try_result()).finish_non_exhaustive()
    }
}
