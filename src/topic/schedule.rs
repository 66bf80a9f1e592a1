//! When something is due, and whose it is: one heap of deadlines for all that a log does in the background.
//!
//! An entry is a time on the monotonic clock, the duty that it belongs to, and a [`Caretaker`]. The task that serves a duty
//! sleeps until the first time; whoever puts in an earlier one wakes it. Where no task runs, calls serve some duties: see
//! [`Duty`]. The costs of a look follow what is due, not what there is.
//!
//! Always true: the schedule's lock is held over no call of a caretaker's. An entry that was taken is attended, or listed
//! again by its caretaker. A caretaker that is gone leaves an entry that does nothing.

use super::caretaker::{Attended, Caretaker, commit_all};
use crate::{
    env::sync::{AtomicBool, AtomicU64, Mutex, Ordering},
    storage::data_dir::DataDir,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

/// How long work that ended in a panic waits for its next attempt.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);

/// What an entry is about, and with it who serves it. One task serves all of them today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// Batches that linger. Without a task, producers' calls serve it.
    Batches,
}

type Key = (Duty, Duration, u64);

/// See the head of the file.
pub struct Schedule {
    data_dir: Arc<DataDir>,
    /// By duty, by time, and in the order of coming.
    entries: Mutex<BTreeMap<Key, Weak<dyn Caretaker>>>,
    tickets: AtomicU64,
    by_calls: AtomicBool,
}

/// Wakes the task when it is dropped: once the caller has let go of the lock under which it put something in.
#[must_use = "dropping it wakes the task, which soon asks for the caller's locks"]
pub struct Wake<'a>(&'a Schedule);

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        if planted!(what_is_enqueued_wakes_nobody) {
            return;
        }
        self.0.wake();
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("entries", &self.entries.lock().len()).finish_non_exhaustive()
    }
}

impl Schedule {
    /// An empty schedule.
    pub fn new(data_dir: Arc<DataDir>) -> Arc<Schedule> {
        Arc::new(Schedule {
            data_dir,
            entries: Mutex::default(),
            tickets: AtomicU64::new(0),
            by_calls: AtomicBool::new(false),
        })
    }

    /// Whether no task serves, so that calls do the work.
    pub fn set_by_calls(&self, by_calls: bool) {
        self.by_calls.store(by_calls, Ordering::SeqCst);
    }

    /// Whether calls do the work.
    #[inline]
    pub fn is_by_calls(&self) -> bool {
        self.by_calls.load(Ordering::Relaxed)
    }

    /// Lists a caretaker. The task is to be woken where this is the first time of the duty, and where there is no task yet.
    pub fn put(&self, duty: Duty, at: Duration, caretaker: Weak<dyn Caretaker>) -> Option<Wake<'_>> {
        let is_first = self.insert(duty, at, caretaker);
        (is_first || self.is_by_calls()).then_some(Wake(self))
    }

    fn insert(&self, duty: Duty, at: Duration, caretaker: Weak<dyn Caretaker>) -> bool {
        let key = (duty, at, self.tickets.fetch_add(1, Ordering::Relaxed));
        let mut entries = self.entries.lock();
        entries.insert(key, caretaker);
        entries.range(..key).next_back().is_none_or(|((other, ..), _)| *other != duty)
    }

    /// Wakes the task, or asks for one.
    pub fn wake(&self) {
        self.data_dir.wake_background();
    }

    /// The first time of a duty.
    pub fn next(&self, duty: Duty) -> Option<Duration> {
        first_of(&self.entries.lock(), duty).map(|(_, at, _)| at)
    }

    /// Drops all entries of a duty: the work has ended for good.
    pub fn end(&self, duty: Duty) {
        self.entries.lock().retain(|(other, ..), _| *other != duty);
    }

    /// Takes the entries of a duty that are due now.
    pub fn take_due(&self, duty: Duty) -> Round<'_> {
        let now = self.now();
        let mut waiting = VecDeque::new();
        let mut entries = self.entries.lock();
        while let Some(key) = first_of(&entries, duty).filter(|(_, at, _)| *at <= now) {
            waiting.extend(entries.remove(&key).and_then(|caretaker| caretaker.upgrade()));
        }
        drop(entries);
        Round { schedule: self, duty, waiting, wrote: Vec::new() }
    }

    /// Does everything of a duty that is due now.
    pub fn run_due(&self, duty: Duty) {
        let mut round = self.take_due(duty);
        while round.attend_next() {}
        round.commit();
    }

    /// As [`Schedule::run_due`], beside the task: what is left is the task's again, which may have looked meanwhile.
    pub fn help(&self, duty: Duty) {
        self.run_due(duty);
        if self.next(duty).is_some() && !planted!(a_helper_wakes_nobody) {
            self.wake();
        }
    }

    fn now(&self) -> Duration {
        self.data_dir.env.monotonic()
    }
}

fn first_of(entries: &BTreeMap<Key, Weak<dyn Caretaker>>, duty: Duty) -> Option<Key> {
    let (key, _) = entries.range((duty, Duration::ZERO, 0)..).next()?;
    (key.0 == duty).then_some(*key)
}

/// Entries that were taken. Those that are still here when the work ends, which it does in its middle only by a panic, are
/// listed again.
pub struct Round<'a> {
    schedule: &'a Schedule,
    duty: Duty,
    waiting: VecDeque<Arc<dyn Caretaker>>,
    wrote: Vec<Arc<dyn Caretaker>>,
}

impl Round<'_> {
    /// Attends the next caretaker; `false` when none is left.
    pub fn attend_next(&mut self) -> bool {
        let Some(caretaker) = self.waiting.pop_front() else {
            return false;
        };
        let attending = Attending { schedule: self.schedule, caretaker: &*caretaker };
        let Attended { next, wrote } = Arc::clone(&caretaker).attend(self.schedule.now());
        std::mem::forget(attending);
        if let Some(next) = next {
            self.schedule.insert(self.duty, next, Arc::downgrade(&caretaker));
        }
        if wrote {
            self.wrote.push(caretaker);
        }
        true
    }

    /// Makes durable, together, what was written.
    pub fn commit(mut self) {
        commit_all(self.wrote.iter().map(|caretaker| &**caretaker));
        self.wrote.clear();
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        let again = self.waiting.drain(..).chain(self.wrote.drain(..));
        again.for_each(|caretaker| caretaker.list_again(self.schedule.now().saturating_add(AFTER_A_PANIC)));
    }
}

/// The caretaker that is being attended, which only a panic drops.
struct Attending<'a> {
    schedule: &'a Schedule,
    caretaker: &'a dyn Caretaker,
}

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.caretaker.list_again(self.schedule.now().saturating_add(AFTER_A_PANIC));
    }
}
