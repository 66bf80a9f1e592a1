//! What a log's producers share: whose batches are due, and one commit for all that are.
//!
//! The handle's background task calls [`Sender::run_due`] and sleeps until the time it returns, or until it is woken
//! because an earlier one has come up. Where threads are forbidden the same work is done inside the producers' calls.
//! Others may help at any time ([`Sender::help`]): whoever takes an accumulator from the list writes it or puts it back, and
//! wakes the task for what it put back.
//!
//! An accumulator with a record in it is listed here under the time of its open batch, or an earlier one.

use crate::{
    env::{
        Env,
        sync::{AtomicBool, AtomicU64, Mutex, Ordering},
    },
    error::{Error, Result},
    partition::{log::Log, write::commit::commit},
    producer::{accumulator::Accumulator, context::Context, drain::Attempt},
    topic::catalog::Catalog,
    types::Offset,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

/// See the head of the file.
pub(crate) struct Sender {
    catalog: Arc<Catalog>,
    members: Mutex<Members>,
    /// By time, and in the order of coming.
    due: Mutex<BTreeMap<(Duration, u64), Weak<Accumulator>>>,
    tickets: AtomicU64,
    inline: AtomicBool,
}

#[derive(Default)]
struct Members {
    producers: Vec<Weak<Context>>,
    closed: bool,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("due", &self.due.lock().len()).finish_non_exhaustive()
    }
}

impl Sender {
    /// The sender of a log's handle.
    pub(crate) fn new(catalog: Arc<Catalog>) -> Arc<Sender> {
        Arc::new(Sender {
            catalog,
            members: Mutex::default(),
            due: Mutex::default(),
            tickets: AtomicU64::new(0),
            inline: AtomicBool::new(false),
        })
    }

    /// Whether nobody calls [`Sender::run_due`], so that producers' calls do the work.
    pub(crate) fn set_inline(&self, inline: bool) {
        self.inline.store(inline, Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn is_inline(&self) -> bool {
        self.inline.load(Ordering::Relaxed)
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(super) fn env(&self) -> &dyn Env {
        &*self.catalog.data_dir().env
    }

    /// Writes every batch whose time is over, makes all of them durable with one commit, and says when the next one is
    /// due on the monotonic clock: the caller sees to it that somebody comes back then.
    pub(crate) fn run_due(&self) -> Option<Duration> {
        let now = self.env().monotonic();
        let mut taken = Taken::default();
        let mut due = self.due.lock();
        while let Some(entry) = due.first_entry().filter(|entry| entry.key().0 <= now) {
            taken.accumulators.extend(entry.remove().upgrade());
        }
        drop(due);
        let written: Vec<_> =
            taken.accumulators.iter().filter(|accumulator| accumulator.write_due(now)).cloned().collect();
        self.commit(&written);
        taken.accumulators.clear();
        self.next_due()
    }

    /// As [`Sender::run_due`], beside the task: what is left is the task's again.
    pub(crate) fn help(&self) {
        if self.run_due().is_some() && !planted!(a_helper_wakes_nobody) {
            self.wake();
        }
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.lock().first_key_value().map(|((at, _), _)| *at)
    }

    /// Without a background task: does what is due, as part of a call.
    #[inline]
    pub(super) fn run_inline(&self) {
        self.catalog.data_dir().do_chores();
        let is_due = || self.next_due().is_some_and(|at| at <= self.env().monotonic());
        if self.is_inline() && is_due() && self.catalog.data_dir().process.is_this() {
            self.run_due();
        }
    }

    /// Writes everything that these have, and makes it durable, as far as that is possible now.
    pub(super) fn serve(&self, accumulators: &[Arc<Accumulator>]) {
        accumulators.iter().for_each(|accumulator| accumulator.write_all(Attempt::Now));
        self.commit(accumulators);
    }

    /// Returns when everything that these have is acknowledged or given up, or at the deadline.
    pub(super) fn finish(&self, accumulators: &[Arc<Accumulator>], deadline: Duration) {
        self.serve(accumulators);
        for accumulator in accumulators {
            let Some(last) = accumulator.last_promise() else { continue };
            while !last.is_settled() && self.env().monotonic() < deadline {
                // Whoever else is at it settles it or says when it is tried again.
                let until = accumulator.next_attempt().unwrap_or(Duration::ZERO).min(deadline);
                last.sleep(until);
                self.serve(std::slice::from_ref(accumulator));
            }
        }
    }

    /// Makes durable and acknowledges what these have written.
    fn commit(&self, accumulators: &[Arc<Accumulator>]) {
        let written = accumulators.iter().filter_map(|a| Some((a, a.written_end()?)));
        let written: Vec<(&Arc<Accumulator>, Offset)> = written.collect();
        let targets: Vec<(Arc<Log>, Offset)> =
            written.iter().map(|(a, end)| (Arc::clone(a.log()), *end)).collect();
        let all = commit(&targets);
        for (accumulator, end) in written {
            // The first failure is one partition's; what became of each, its log knows without another attempt.
            let result = all.clone().or_else(|_| accumulator.log().flush_to(end));
            accumulator.settle(end, &result);
        }
    }

    /// Notes when to look at an accumulator; says whether that is now the first time of all.
    pub(super) fn schedule(&self, at: Duration, accumulator: &Arc<Accumulator>) -> bool {
        let key = (at, self.tickets.fetch_add(1, Ordering::Relaxed));
        let mut due = self.due.lock();
        due.insert(key, Arc::downgrade(accumulator));
        due.first_key_value().is_some_and(|(first, _)| *first == key)
    }

    pub(super) fn wake(&self) {
        self.catalog.data_dir().wake_background();
    }

    /// Takes a new producer in.
    pub(super) fn join(&self, context: &Arc<Context>) -> Result<()> {
        let mut members = self.members.lock();
        if members.closed {
            return Err(Error::closed("the log"));
        }
        members.producers.retain(|producer| producer.strong_count() > 0);
        members.producers.push(Arc::downgrade(context));
        Ok(())
    }

    /// Returns when everything that these have is acknowledged, or has failed.
    ///
    /// # Errors
    ///
    /// The first failure that a record of these producers had since the last look.
    pub(super) fn flush(&self, cores: &[Arc<Context>], accumulators: &[Arc<Accumulator>]) -> Result<()> {
        self.finish(accumulators, Duration::MAX);
        self.outcome(cores, accumulators)
    }

    fn outcome(&self, cores: &[Arc<Context>], accumulators: &[Arc<Accumulator>]) -> Result<()> {
        // Every error is taken, so that none turns up in a later call.
        let told = accumulators.iter().filter_map(|accumulator| accumulator.take_error());
        let told: Vec<Error> = told.collect();
        let failures = cores.iter().filter_map(|context| context.undelivered.take_failure());
        let failures: Vec<Error> = failures.filter(|_| !planted!(what_was_told_is_no_failure)).collect();
        failures.into_iter().chain(told).next().map_or(Ok(()), Err)
    }

    /// Everything out, or given up when `patience` is over; afterwards every call of every producer gets `Closed`.
    ///
    /// # Errors
    ///
    /// As for [`Sender::flush`].
    pub(crate) fn close(&self, patience: Duration) -> Result<()> {
        let mut members = self.members.lock();
        members.closed = true;
        let producers = std::mem::take(&mut members.producers);
        drop(members);
        let cores: Vec<_> = producers.iter().filter_map(Weak::upgrade).collect();
        let mut accumulators: Vec<_> =
            cores.iter().filter_map(|context| context.close("the log")).flatten().collect();
        // Those of producers that were dropped and are not done yet.
        let listed = std::mem::take(&mut *self.due.lock());
        accumulators.extend(listed.into_values().filter_map(|accumulator| accumulator.upgrade()));
        self.finish(&accumulators, self.env().monotonic().saturating_add(patience));
        accumulators.iter().for_each(Accumulator::abandon);
        self.outcome(&cores, &accumulators)
    }
}

/// Accumulators that were taken from the list. Those that are still here when the work ends, which it does in its middle
/// only by a panic, are listed again.
#[derive(Default)]
struct Taken {
    accumulators: Vec<Arc<Accumulator>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.accumulators.iter().for_each(Accumulator::list_again);
    }
}
