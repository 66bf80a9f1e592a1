//! The result of an enqueued record.
//!
//! All records of a batch share one [`BatchResult`], which is settled once, when the batch is acknowledged or has
//! failed. A [`Delivery`] is a reference to it and the record's index in the batch. The result keeps its queue alive,
//! so that an accepted record is written even if the producer is gone.

use super::{record::RecordMetadata, sender::Drain};
use crate::{
    env::sync::{OnceLock, Signal},
    error::{Error, Outcome, Result, outcome::ACKNOWLEDGEMENT},
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

    /// Settles the result. Only the first call counts.
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

    /// Waits until it is settled, or until the deadline. Without a background task the caller does the work.
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

    /// Sleeps until it is settled, or until the deadline.
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

/// The index of a record that lies in none of the records of its batch, which has fewer.
const AGAIN: u32 = u32::MAX;

/// The result of an enqueued record, which may still be pending. Dropping a `Delivery` changes nothing: the record is
/// written all the same, and if that fails for good, [`Producer::flush`](super::Producer::flush) reports it. It does
/// not keep the log open; after the producer and the log are closed, it reports what became of the record.
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

    /// Of a record that was sent before: it is acknowledged when the batch of `promise` is.
    pub(super) fn again(promise: Arc<BatchResult>, timestamp: Timestamp) -> Self {
        Delivery { promise, index: AGAIN, timestamp }
    }

    /// Waits until the record is acknowledged, and says where it went. By default the record then survives a power cut.
    ///
    /// # Errors
    ///
    /// `Undelivered` when its batch, or an earlier one of the same partition, failed for good: the record was not
    /// written, or is not known to be durable. A failure that can pass, such as a full disk, is not reported until the
    /// record has been tried again for [`max_block`](super::ProducerBuilder::max_block).
    pub fn wait(&self) -> Result<RecordMetadata> {
        loop {
            if let Some(result) = self.try_result() {
                return result;
            }
            self.promise.wait(None);
        }
    }

    /// As [`Delivery::wait`], for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`Delivery::wait`]; `Timeout` while the record is still pending: it may be waited for again.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<RecordMetadata> {
        if let Some(result) = self.try_result() {
            return result;
        }
        let now = self.promise.drain.sender().env().monotonic();
        self.promise.wait(now.checked_add(timeout));
        self.try_result().unwrap_or(Err(Error::Timeout { what: ACKNOWLEDGEMENT, after: timeout }))
    }

    /// Whether the record was acknowledged or has failed.
    pub fn is_done(&self) -> bool {
        self.promise.is_settled() || self.promise.drain.log().check_process().is_err()
    }

    /// The result; `None` while it is pending.
    pub fn try_result(&self) -> Option<Result<RecordMetadata>> {
        let Some(outcome) = self.promise.outcome.get() else {
            // No thread of a forked child settles it.
            return self.promise.drain.log().check_process().err().map(Err);
        };
        Some(outcome.as_ref().map_err(|error| self.own(error)).map(|appended| {
            let partition = &self.promise.drain.log().identity.name;
            if self.index == AGAIN {
                return RecordMetadata::sent_before(None, self.timestamp, partition);
            }
            RecordMetadata::of(appended, self.index, self.timestamp, partition)
        }))
    }
}

impl Delivery {
    /// The error of its batch, as that of this one record.
    #[cold]
    fn own(&self, error: &Error) -> Error {
        let Outcome::Appended(mut places) = error.outcome() else { return error.clone() };
        for (_, offsets) in &mut places {
            let offset = offsets.start + u64::from(self.index);
            *offsets = offset..offset + 1;
        }
        error.clone().with_outcome(Outcome::Appended(places))
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("result", &self.try_result()).finish_non_exhaustive()
    }
}
