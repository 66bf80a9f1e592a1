//! The one background thread of a handle, a loop over its [`Schedule`](crate::topic::schedule::Schedule): lingering batches,
//! flushes and checkpoints that are due, retention.
//!
//! It is started by the first thing that needs it and joined by closing. Of the handle it holds only what it works on,
//! so that dropping the last clone of the handle ends it. Work that panics ends alone: the handle's health reports it,
//! the other work is done, and a second later it is tried again. If the system cannot start the thread, the producers'
//! calls do its work until it can.

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
        schedule::Duty,
    },
};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::Duration,
};

/// The background work of a handle, running or not.
pub(super) struct Background {
    me: Weak<Background>,
    catalog: Weak<Catalog>,
    /// Whether a thread may be started.
    allowed: bool,
    signal: Arc<Signal>,
    started: AtomicBool,
    stopping: AtomicBool,
    running: Mutex<Option<Box<dyn Running>>>,
    /// The error of work that panicked, until it is reported.
    panicked: Mutex<Option<Error>>,
    /// Why the thread could not be started, until it is started or this is reported.
    unstarted: Mutex<Option<Error>>,
    retention_check: Duration,
    /// Whether retention was applied since the opening.
    retained: AtomicBool,
}

struct Work {
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
            signal: Arc::new(Signal::new()),
            started: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            running: Mutex::new(None),
            panicked: Mutex::new(None),
            unstarted: Mutex::new(None),
            retention_check,
            retained: AtomicBool::new(false),
        });
        let waker = Arc::clone(&state);
        catalog.data_dir().on_background_work(Box::new(move || waker.wake()));
        if !allowed {
            let inline = Arc::clone(&state);
            catalog.data_dir().on_chores(Box::new(move || inline.retain_inline()));
        }
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
            true => self.wake(),
            false => data_dir.chores_due(data_dir.env.monotonic()),
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
    }

    /// Applies retention as part of a call, without a thread.
    fn retain_inline(&self) {
        let Some(catalog) = self.catalog.upgrade().filter(|catalog| catalog.has_retention()) else {
            return;
        };
        self.retain(&catalog);
        let data_dir = catalog.data_dir();
        data_dir.chores_due(data_dir.env.monotonic().saturating_add(self.retention_check));
    }

    /// Applies retention at the end of an opening that was too short to come to it before.
    pub(super) fn retain_at_last(&self, catalog: &Catalog) {
        if !self.retained.load(Ordering::SeqCst) && !catalog.data_dir().read_only && catalog.has_retention() {
            // The next opening tries again.
            catalog.logs().iter().for_each(|log| drop(retention::apply(log)));
        }
    }

    /// Whether the thread runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.lock().is_some()
    }

    /// The first failure since the last look that no later success has ended.
    pub(super) fn take_error(&self) -> Option<Error> {
        let of_logs = self.catalog.upgrade().map(|catalog| catalog.logs()).unwrap_or_default();
        let troubles: Vec<Error> = of_logs.iter().filter_map(|log| log.take_trouble()).collect();
        let unstarted = self.unstarted.lock().take();
        self.panicked.lock().take().into_iter().chain(unstarted).chain(troubles).next()
    }

    /// Ends the thread, which finishes what it is doing.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.signal.notify();
        let running = self.running.lock().take();
        if let Some(running) = running {
            running.join();
        }
    }

    /// Called by a room that has work, maybe under a lock of its own.
    fn wake(self: &Arc<Self>) {
        if !self.started.load(Ordering::Acquire) && self.allowed {
            self.start();
        }
        self.signal.notify();
    }

    fn start(self: &Arc<Self>) {
        let mut running = self.running.lock();
        if running.is_some() || self.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Some(catalog) = self.catalog.upgrade() else {
            return;
        };
        let env = Arc::clone(&catalog.data_dir().env);
        let schedule = Arc::clone(catalog.schedule());
        let work = Work { catalog, state: Arc::clone(self) };
        match env.spawn("work", Arc::clone(&self.signal), Box::new(work)) {
            Ok(thread) => {
                schedule.set_by_calls(false);
                *running = Some(thread);
                self.started.store(true, Ordering::Release);
                *self.unstarted.lock() = None;
                drop(running);
                // What is too old when the log is opened is removed soon, not after an interval that may be longer than
                // the program runs.
                self.list_again(env.monotonic());
            }
            // Without a thread the work is done by other calls and by `maintain`.
            Err(error) => {
                schedule.set_by_calls(true);
                *self.unstarted.lock() = Some(Error::io("start a thread for", "background work", error));
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

/// Retention checks all logs, as often as the handle's settings say.
impl Caretaker for Background {
    fn attend(self: Arc<Self>, now: Duration) -> Attended {
        let Some(catalog) = self.catalog.upgrade() else { return Attended::default() };
        self.retain(&catalog);
        Attended { next: Some(now.saturating_add(self.retention_check)), wrote: false }
    }

    fn list_again(&self, at: Duration) {
        if let Some(catalog) = self.catalog.upgrade() {
            drop(catalog.schedule().put(Duty::Retention, at, Weak::clone(&self.me) as Weak<dyn Caretaker>));
        }
    }
}

impl Task for Work {
    fn run(&mut self) -> Next {
        let schedule = self.catalog.schedule();
        for duty in Duty::ALL {
            if self.state.stopping.load(Ordering::SeqCst) {
                return Next::Done;
            }
            let mut round = schedule.take_due(duty);
            while self.state.attempt(|| round.attend_next()).unwrap_or(true) {}
            self.state.attempt(|| round.commit());
        }
        let now = self.catalog.data_dir().env.monotonic();
        match Duty::ALL.iter().filter_map(|duty| schedule.next(*duty)).min() {
            Some(due) if due <= now => Next::Again,
            next => Next::Wait(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Streamlog;

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
