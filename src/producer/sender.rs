//! What the producers of a log share: the list of them, and the commit that flushes several queues together.
//!
//! The sender knows a queue of batches by the trait [`Drain`], and a producer by [`Client`]; both are implemented above
//! it. A queue with a record in it has an entry in the log's [`Schedule`], at the deadline of its open batch or
//! earlier. The handle's background task serves it then; without a task the producers' calls do its work, and any call
//! may help.

use crate::{
    env::{Env, sync::Mutex},
    error::{Error, Result},
    partition::log::Log,
    producer::identity::{Holders, Names},
    topic::{
        caretaker::{Caretaker, commit_all},
        catalog::Catalog,
        duty::Duty,
        schedule::Schedule,
    },
};
use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

/// The batches of one producer for one partition. As a [`Caretaker`] it writes and acknowledges what is due.
///
/// Any of these may be called by several threads at the same time, and without a lock of the queue's.
pub(super) trait Drain: Caretaker {
    /// The sender that makes its batches durable.
    fn sender(&self) -> &Sender;

    /// The partition's log.
    fn log(&self) -> &Arc<Log>;

    /// Writes everything that was enqueued before the call, as far as that is possible now.
    fn write_now(&self);

    /// When the batch that could not be written or flushed is tried again.
    fn next_attempt(&self) -> Option<Duration>;

    /// Returns when everything that was enqueued before the call is acknowledged or given up, or at the deadline.
    fn finish(&self, deadline: Duration);

    /// Gives up everything that is not acknowledged: there is no later attempt.
    fn abandon(&self);
}

/// A producer.
pub(super) trait Client: Send + Sync {
    /// From now on its calls get `Closed`; returns its queues.
    fn close(&self, what: &'static str) -> Vec<Arc<dyn Drain>>;

    /// The first failure of a record since the last look.
    fn outcome(&self) -> Result<()>;

    /// Whether everything that it accepted is acknowledged or given up.
    fn is_done(&self) -> bool;
}

/// See the head of the file.
pub(crate) struct Sender {
    catalog: Arc<Catalog>,
    schedule: Arc<Schedule>,
    members: Mutex<Members>,
    holders: Holders,
}

#[derive(Default)]
struct Members {
    producers: Vec<Weak<dyn Client>>,
    /// Producers that were dropped before they were done.
    left: Vec<Arc<dyn Client>>,
    closed: bool,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Sender {
    /// The sender of a log's handle.
    pub(crate) fn new(catalog: Arc<Catalog>) -> Arc<Sender> {
        let schedule = Arc::clone(catalog.schedule());
        Arc::new(Sender { catalog, schedule, members: Mutex::default(), holders: Holders::default() })
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The producers that have a name.
    pub(super) fn holders(&self) -> &Holders {
        &self.holders
    }

    /// Forgets a producer's name. Returns the id that it had.
    pub(crate) fn forget_name(&self, names: &dyn Names, name: &str) -> Result<Option<i64>> {
        self.holders.forget(names, name)
    }

    /// A name was taken from its holder, who is told so.
    pub(crate) fn fence_name(&self, name: &str) {
        self.holders.fence(name);
    }

    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub(super) fn env(&self) -> &dyn Env {
        &*self.catalog.data_dir().env
    }

    /// Whether there is no task, so that producers' calls do its work.
    #[inline]
    pub(super) fn is_inline(&self) -> bool {
        self.schedule.is_by_calls()
    }

    /// Writes every batch whose time is over, and flushes all of them with one commit.
    pub(super) fn run_due(&self) {
        self.schedule.run_due(Duty::Batches);
    }

    /// Without a background task: does what is due, as part of a call.
    #[inline]
    pub(super) fn run_inline(&self) {
        self.catalog.data_dir().do_inline_work();
        if self.is_inline() {
            self.run_if_due();
        }
    }

    fn run_if_due(&self) {
        let is_due = self.schedule.next(Duty::Batches).is_some_and(|at| at <= self.env().monotonic());
        if is_due && self.catalog.data_dir().process.is_this() {
            self.run_due();
        }
    }

    /// When a waiting call must look again. Without a task nothing notifies it.
    pub(super) fn next_look(&self) -> Duration {
        let next = if self.is_inline() { self.schedule.next(Duty::Batches) } else { None };
        next.unwrap_or(Duration::MAX)
    }

    /// Writes and flushes everything that these have, as far as that is possible now.
    pub(super) fn serve(&self, drains: &[Arc<dyn Drain>]) {
        drains.iter().for_each(|drain| drain.write_now());
        commit_all(drains.iter().map(|drain| &**drain as &dyn Caretaker));
    }

    /// Returns when everything that these have is acknowledged or given up, or at the deadline.
    pub(super) fn finish(&self, drains: &[Arc<dyn Drain>], deadline: Duration) {
        self.serve(drains);
        drains.iter().for_each(|drain| drain.finish(deadline));
    }

    /// Adds a new producer.
    pub(super) fn join(&self, producer: Weak<dyn Client>) -> Result<()> {
        let mut members = self.members.lock();
        if members.closed {
            return Err(Error::closed("the log"));
        }
        members.producers.retain(|producer| producer.strong_count() > 0);
        members.producers.push(producer);
        Ok(())
    }

    /// Removes a producer. Records that it accepted and that are not acknowledged yet stay here until the log closes.
    pub(super) fn leave(&self, producer: Arc<dyn Client>) {
        let mut members = self.members.lock();
        members.left.retain(|producer| !producer.is_done());
        if !members.closed && !producer.is_done() {
            members.left.push(producer);
        }
    }

    /// Writes everything, or gives it up when `patience` is over; afterwards every call of every producer gets
    /// `Closed`.
    ///
    /// # Errors
    ///
    /// The first failure that a record of these producers had since the last look.
    pub(crate) fn close(&self, patience: Duration) -> Result<()> {
        let mut members = self.members.lock();
        members.closed = true;
        let left = std::mem::take(&mut members.left);
        let producers = std::mem::take(&mut members.producers);
        // A producer that is dropped from now on need not leave anything here.
        let producers: Vec<_> = producers.iter().filter_map(Weak::upgrade).chain(left).collect();
        drop(members);
        let drains: Vec<_> = producers.iter().flat_map(|producer| producer.close("the log")).collect();
        self.finish(&drains, self.env().monotonic().saturating_add(patience));
        drains.iter().for_each(|drain| drain.abandon());
        self.schedule.end(Duty::Batches);
        // Every error is taken, so that none turns up in a later call.
        producers.iter().map(|producer| producer.outcome()).fold(Ok(()), Result::and)
    }
}
