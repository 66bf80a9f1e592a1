//! The two background threads of a handle, each a loop over its duties in the
//! [`Schedule`](crate::topic::schedule::Schedule): `streamlog-work` writes lingering batches and does the flushes that
//! have a deadline, `streamlog-care` takes checkpoints, applies retention and compacts, a step at a time. Long work never delays what is promised
//! within milliseconds.
//!
//! Each is started by the first thing that needs it, and both are joined by closing. Of the handle they hold only what
//! they work on, so that dropping the last clone of the handle ends them. Work that panics ends alone: the handle's
//! health reports it, the other work is done, and a second later it is tried again. If the system cannot start a
//! thread, health reports that too, and later calls that append or poll try again; until one succeeds, the producers'
//! calls write lingering batches, and the rest waits.

use crate::{
    env::{
        Next, Running, Task,
        sync::{AtomicBool, Mutex, Ordering, Signal},
    },
    error::Error,
    partition::{state::troubles::Chore, write::retention},
    topic::{
        caretaker::{Attended, Caretaker},
        catalog::Catalog,
        duty::{Duty, TaskName},
    },
};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::Duration,
};

/// How long after a thread could not be started a call tries again.
const START_AGAIN: Duration = Duration::from_secs(1);

/// The background work of a handle, running or not.
pub(super) struct Background {
    me: Weak<Background>,
    catalog: Weak<Catalog>,
    /// Whether threads may be started.
    allowed: bool,
    work: Thread,
    care: Thread,
    stopping: AtomicBool,
    /// The error of work that panicked, until it is reported.
    panicked: Mutex<Option<Error>>,
    retention_check: Duration,
    /// Whether retention was applied since the opening.
    retained: AtomicBool,
}

/// The thread of one task, started or not.
#[derive(Default)]
struct Thread {
    signal: Arc<Signal>,
    started: AtomicBool,
    /// Whether the system could not start it when it was needed.
    refused: AtomicBool,
    running: Mutex<Option<Box<dyn Running>>>,
    /// Why it could not be started, until it is started or this is reported.
    unstarted: Mutex<Option<Error>>,
}

struct Work {
    name: TaskName,
    catalog: Arc<Catalog>,
    state: Arc<Background>,
}

impl Background {
    /// Lets the rooms below ask for background work.
    pub(super) fn attach(
        catalog: &Arc<Catalog>,
        allowed: bool,
        retention_check: Duration,
    ) -> Arc<Background> {
        let state = Arc::new_cyclic(|me| Background {
            me: Weak::clone(me),
            catalog: Arc::downgrade(catalog),
            allowed,
            work: Thread::default(),
            care: Thread::default(),
            stopping: AtomicBool::new(false),
            panicked: Mutex::new(None),
            retention_check,
            retained: AtomicBool::new(false),
        });
        let waker = Arc::clone(&state);
        catalog.schedule().on_wake(Box::new(move |task| waker.wake(task)));
        let inline = Arc::clone(&state);
        catalog.data_dir().on_inline_work(Box::new(move || match inline.allowed {
            true => inline.start_refused(),
            false => inline.retain_inline(),
        }));
        state
    }

    /// A topic has retention: from now on it is checked regularly, for the first time soon.
    pub(super) fn watch_retention(self: &Arc<Self>) {
        let Some(catalog) = self.catalog.upgrade() else {
            return;
        };
        let data_dir = catalog.data_dir();
        match self.allowed {
            _ if data_dir.read_only => {}
            true => self.wake(TaskName::Care),
            false => data_dir.inline_work_due(data_dir.env.monotonic()),
        }
    }

    /// Applies the retention of all topics. Failures are reported by `health` and by closing.
    fn retain(&self, catalog: &Catalog) {
        self.retained.store(true, Ordering::SeqCst);
        for log in catalog.logs() {
            if let Some(Err(error)) = self.attempt(|| retention::apply(&log)) {
                log.note_trouble(Chore::Retention, error);
            }
        }
        self.attempt(|| catalog.data_dir().space.shrink_to_budget());
    }

    /// Applies retention as part of a call, without a thread.
    fn retain_inline(&self) {
        let Some(catalog) = self.catalog.upgrade().filter(|catalog| catalog.has_retention()) else {
            return;
        };
        self.retain(&catalog);
        let data_dir = catalog.data_dir();
        data_dir.inline_work_due(data_dir.env.monotonic().saturating_add(self.retention_check));
    }

    /// Applies retention at the end of an opening that was too short to come to it before.
    pub(super) fn retain_at_last(&self, catalog: &Catalog) {
        if !self.retained.load(Ordering::SeqCst) && !catalog.data_dir().read_only && catalog.has_retention() {
            // The next opening tries again.
            catalog.logs().iter().for_each(|log| drop(retention::apply(log)));
        }
    }

    /// How many of the two threads run.
    pub(super) fn running(&self) -> usize {
        TaskName::ALL.iter().filter(|name| self.thread(**name).running.lock().is_some()).count()
    }

    /// The first failure since the last look that no later success has ended.
    pub(super) fn take_error(&self) -> Option<Error> {
        let of_logs = self.catalog.upgrade().map(|catalog| catalog.logs()).unwrap_or_default();
        let troubles: Vec<Error> = of_logs.iter().filter_map(|log| log.take_trouble()).collect();
        let unstarted = TaskName::ALL.map(|name| self.thread(name).unstarted.lock().take());
        let unstarted = unstarted.into_iter().flatten();
        self.panicked.lock().take().into_iter().chain(unstarted).chain(troubles).next()
    }

    /// Ends the threads. Each finishes the step that it is in.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.work.signal.notify();
        unless_planted!(a_close_wakes_one_task => self.care.signal.notify());
        for name in TaskName::ALL {
            let running = self.thread(name).running.lock().take();
            if let Some(running) = running {
                running.join();
            }
        }
    }

    fn thread(&self, name: TaskName) -> &Thread {
        match name {
            TaskName::Work => &self.work,
            TaskName::Care => &self.care,
        }
    }

    /// Called by a room that has work for a task, maybe under a lock of its own.
    fn wake(self: &Arc<Self>, name: TaskName) {
        let thread = self.thread(name);
        if !thread.started.load(Ordering::Acquire) && self.allowed {
            self.start(name);
        }
        planted!(a_wake_up_reaches_the_other_task => return self.care.signal.notify());
        thread.signal.notify();
    }

    fn start(self: &Arc<Self>, name: TaskName) {
        let thread = self.thread(name);
        let mut running = thread.running.lock();
        if running.is_some() || self.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Some(catalog) = self.catalog.upgrade() else {
            return;
        };
        let (data_dir, schedule) = (Arc::clone(catalog.data_dir()), Arc::clone(catalog.schedule()));
        let env = &data_dir.env;
        let work = Work { name, catalog, state: Arc::clone(self) };
        let started = env.spawn(name.as_str(), Arc::clone(&thread.signal), Box::new(work));
        if name == TaskName::Work {
            schedule.set_by_calls(started.is_err());
        }
        match started {
            Ok(started) => {
                *running = Some(started);
                thread.started.store(true, Ordering::Release);
                *thread.unstarted.lock() = None;
                drop(running);
                if name == TaskName::Care {
                    // What is too old when the log is opened is removed soon, not after an interval that may be longer
                    // than the program runs.
                    self.list_again(Duty::Retention, env.monotonic());
                }
            }
            Err(error) => {
                let what = format!("background work (streamlog-{})", name.as_str());
                *thread.unstarted.lock() = Some(Error::io("start a thread for", what, error));
                thread.refused.store(true, Ordering::SeqCst);
                data_dir.inline_work_due(env.monotonic().saturating_add(START_AGAIN));
            }
        }
    }

    /// As part of a call: starts the threads that the system could not start before.
    fn start_refused(self: &Arc<Self>) {
        for name in TaskName::ALL {
            if self.thread(name).refused.swap(false, Ordering::SeqCst) {
                self.start(name);
            }
        }
    }

    /// Runs a piece of work. A panic is noted and goes no further.
    fn attempt<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            let reason = io::Error::other("it panicked; it will be tried again, and its work may be late");
            self.panicked.lock().get_or_insert(Error::io("finish", "background work", reason));
        }
        done
    }
}

/// The duties of the handle itself. Retention checks all logs, as often as the handle's settings say.
impl Caretaker for Background {
    fn attend(self: Arc<Self>, duty: Duty, now: Duration) -> Attended {
        let Some(catalog) = self.catalog.upgrade() else { return Attended::default() };
        match duty {
            Duty::Retention => self.retain(&catalog),
            // Others serve these.
            Duty::Batches | Duty::Flushes | Duty::Transactions | Duty::Checkpoints | Duty::Compaction => {
                return Attended::default();
            }
        }
        Attended { next: Some(now.saturating_add(self.retention_check)), wrote: false }
    }

    fn list_again(&self, duty: Duty, at: Duration) {
        if let Some(catalog) = self.catalog.upgrade() {
            drop(catalog.schedule().put(duty, at, Weak::clone(&self.me) as Weak<dyn Caretaker>));
        }
    }
}

impl Task for Work {
    fn run(&mut self) -> Next {
        let schedule = self.catalog.schedule();
        for duty in self.name.duties().iter().copied() {
            if self.state.stopping.load(Ordering::SeqCst) {
                return Next::Done;
            }
            let mut round = schedule.take_due(duty);
            while self.state.attempt(|| round.attend_next()).unwrap_or(true) {}
            self.state.attempt(|| round.commit());
        }
        let now = self.catalog.data_dir().env.monotonic();
        match self.name.duties().iter().filter_map(|duty| schedule.next(*duty)).min() {
            Some(due) if due <= now => Next::Again,
            next => Next::Wait(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Streamlog;

    #[test]
    fn the_handle_attends_to_no_other_duty_than_its_own() {
        let log = Streamlog::in_memory().unwrap();
        let background = &log.inner.background;
        for task in TaskName::ALL {
            for duty in task.duties() {
                background.retained.store(false, Ordering::SeqCst);
                let attended = Arc::clone(background).attend(*duty, Duration::ZERO);
                let is_own = *duty == Duty::Retention;
                let retained = background.retained.load(Ordering::SeqCst);
                assert_eq!((attended.next.is_some(), retained), (is_own, is_own), "{duty:?}");
            }
        }
    }

    #[test]
    fn work_that_panics_shows_in_the_health_of_the_handle_and_ends_alone() {
        let log = Streamlog::in_memory().unwrap();
        let background = &log.inner.background;
        assert_eq!(background.attempt(|| 7), Some(7));
        assert!(log.health().is_good());
        assert_eq!(background.attempt(|| -> u32 { panic!("a mistake of ours") }), None);
        let error = log.health().background.unwrap().to_string();
        assert!(error.contains("background work") && error.contains("panicked"), "{error}");
        assert!(log.health().is_good(), "it is reported once");
    }
}
