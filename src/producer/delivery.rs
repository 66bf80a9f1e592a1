//! What became of an enqueued record.
//!
//! All records of a batch share one [`BatchResult`], which is settled once, when the batch is acknowledged or has failed.
//! A [`Delivery`] is a reference to it and the record's place in the batch.

use super::{accumulator::Accumulator, record::RecordMetadata};
use crate::{
    env::sync::{OnceLock, Signal},
    error::{Error, Result},
    partition::write::append::Appended,
    types::Timestamp,
};
use std::{fmt, sync::Arc, time::Duration};

/// What a batch's records wait for.
pub(super) struct BatchResult {
    accumulator: Arc<Accumulator>,
    outcome: OnceLock<Result<Appended>>,
    settled: Signal,
}

impl BatchResult {
    pub(super) fn new(accumulator: Arc<Accumulator>) -> Arc<Self> {
        Arc::new(BatchResult { accumulator, outcome: OnceLock::new(), settled: Signal::new() })
    }

    /// Says how it ended. Only the first word counts.
    pub(super) fn settle(&self, outcome: Result<Appended>) {
        if self.outcome.set(outcome).is_ok() && !planted!(what_is_settled_wakes_nobody) {
            self.settled.notify();
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Waits until it is settled, or the deadline has come. Where nobody else does it, the caller does the work.
    pub(super) fn wait(&self, deadline: Option<Duration>) {
        let context = self.accumulator.context();
        if !context.sender.is_inline() {
            return self.sleep_until(deadline);
        }
        let deadline = deadline.unwrap_or(Duration::MAX);
        context.sender.serve(std::slice::from_ref(&self.accumulator));
        while !self.is_settled() && context.env().monotonic() < deadline {
            let next = self.accumulator.next_attempt().unwrap_or(Duration::MAX);
            self.sleep(next.min(context.next_look()).min(deadline));
            context.sender.run_due();
        }
    }

    /// Sleeps until it is settled, or the deadline has come.
    pub(super) fn sleep(&self, deadline: Duration) {
        self.sleep_until((deadline != Duration::MAX).then_some(deadline));
    }

    fn sleep_until(&self, deadline: Option<Duration>) {
        let env = self.accumulator.context().env();
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
/// good, [`Producer::flush`](super::Producer::flush) says so. It keeps no log open; where producer and log are gone, it reports
/// how their end left the record.
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
    /// is not known to be durable. A failure that can pass, as a full disk, does not count yet: the record stays on its way for the
    /// time of [`max_block`](super::ProducerBuilder::max_block).
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
        let now = self.promise.accumulator.context().env().monotonic();
        self.promise.wait(now.checked_add(timeout));
        self.try_result()
            .unwrap_or(Err(Error::Timeout { what: "a record to be acknowledged", after: timeout }))
    }

    /// Whether it was acknowledged, or has failed.
    pub fn is_done(&self) -> bool {
        self.promise.is_settled() || !self.promise.accumulator.context().process.is_this()
    }

    /// How it ended; `None` while it is on its way.
    pub fn try_result(&self) -> Option<Result<RecordMetadata>> {
        let Some(outcome) = self.promise.outcome.get() else {
            // Nobody in a child settles it.
            return self.promise.accumulator.context().check_process().err().map(Err);
        };
        Some(
            outcome
                .as_ref()
                .map_err(Error::clone)
                .map(|appended| self.promise.accumulator.metadata(appended, self.index, self.timestamp)),
        )
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("result", &self.try_result()).finish_non_exhaustive()
    }
}
