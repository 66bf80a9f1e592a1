//! The one background thread of a handle: lingering batches, flushes and checkpoints that are due, retention.
//!
//! It is started by the first thing that needs it and joined by closing. It holds nothing of the handle but what it
//! works on, so that dropping the last clone of the handle ends it.

use crate::{
    env::{
        Next, Running, Task,
        sync::{AtomicBool, Mutex, Ordering, Signal},
    },
    error::Error,
    producer::Hub,
    topic::catalog::Catalog,
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// The background work of a handle, running or not.
pub(super) struct Background {
    catalog: Weak<Catalog>,
    hub: Weak<Hub>,
    /// Whether a thread may be started.
    allowed: bool,
    signal: Arc<Signal>,
    started: AtomicBool,
    stopping: AtomicBool,
    running: Mutex<Option<Box<dyn Running>>>,
    /// The first failure that nobody was told of yet.
    error: Mutex<Option<Error>>,
    retention_check: Duration,
}

struct Work {
    catalog: Arc<Catalog>,
    hub: Arc<Hub>,
    state: Arc<Background>,
    next_retention: Duration,
}

impl Background {
    /// Lets the rooms below ask for background work.
    pub(super) fn attach(
        catalog: &Arc<Catalog>,
        hub: &Arc<Hub>,
        allowed: bool,
        retention_check: Duration,
    ) -> Arc<Background> {
        let state = Arc::new(Background {
            catalog: Arc::downgrade(catalog),
            hub: Arc::downgrade(hub),
            allowed,
            signal: Arc::new(Signal::new()),
            started: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            running: Mutex::new(None),
            error: Mutex::new(None),
            retention_check,
        });
        let waker = Arc::clone(&state);
        catalog.shared().on_background_work(Box::new(move || waker.wake()));
        state
    }

    /// Whether the thread runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.lock().is_some()
    }

    /// The first failure since the last look.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.error.lock().take()
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

    /// Called by whoever has work, maybe under a lock of its own.
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
        let (Some(catalog), Some(hub)) = (self.catalog.upgrade(), self.hub.upgrade()) else { return };
        let env = Arc::clone(&catalog.shared().env);
        let next_retention = env.monotonic().saturating_add(self.retention_check);
        let work = Work { catalog, hub, state: Arc::clone(self), next_retention };
        match env.spawn("work", Arc::clone(&self.signal), Box::new(work)) {
            Ok(thread) => {
                *running = Some(thread);
                self.started.store(true, Ordering::Release);
            }
            // Without a thread the work is done by other calls and by `maintain`.
            Err(error) => self.note(Err(Error::io("start a thread for", "background work", error))),
        }
    }

    fn note(&self, result: Result<(), Error>) {
        if let Err(error) = result
            && !matches!(error, Error::Closed { .. })
        {
            self.error.lock().get_or_insert(error);
        }
    }
}

impl Task for Work {
    fn run(&mut self) -> Next {
        if self.state.stopping.load(Ordering::SeqCst) {
            return Next::Done;
        }
        let lingering = self.hub.run_due().unwrap_or(Duration::MAX);
        let next = self.run_logs();
        self.run_retention();
        match next.min(lingering).min(self.next_retention) {
            Duration::MAX => Next::Wait(None),
            due if due <= self.catalog.shared().env.monotonic() => Next::Again,
            due => Next::Wait(Some(due)),
        }
    }
}

impl Work {
    fn run_logs(&self) -> Duration {
        let mut next = Duration::MAX;
        for log in self.catalog.logs() {
            let now = self.catalog.shared().env.monotonic();
            match log.run_due(now) {
                Ok(due) => next = next.min(due.unwrap_or(Duration::MAX)),
                // A topic that was deleted meanwhile took its files with it.
                Err(_) if matches!(log.refusal(), Some(Error::Closed { .. })) => {}
                Err(error) => self.state.note(Err(error)),
            }
        }
        next
    }

    fn run_retention(&mut self) {
        let now = self.catalog.shared().env.monotonic();
        if now < self.next_retention {
            return;
        }
        self.next_retention = now.saturating_add(self.state.retention_check);
        for log in self.catalog.logs() {
            self.state.note(log.apply_retention().map(drop));
        }
    }
}
