//! Locks, condition variables, atomics, threads and signals: the one module they come from, so that a model checker can
//! take their place.
//!
//! It does so in the unit tests under `--cfg streamlog_shuttle`, of which only those that are made for it run then. Under
//! `--cfg streamlog_std_unseen` nothing is left to std that ThreadSanitizer has to see.

use std::{
    sync::{LockResult, PoisonError},
    time::Instant,
};

#[cfg(all(test, streamlog_shuttle))]
mod explored;
#[cfg(all(test, streamlog_shuttle))]
pub use explored::*;
#[cfg(streamlog_std_unseen)]
mod seen;
#[cfg(not(all(test, streamlog_shuttle)))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockWriteGuard};
#[cfg(streamlog_std_unseen)]
pub use seen::OnceLock;
#[cfg(not(streamlog_std_unseen))]
pub use std::sync::OnceLock;
#[cfg(not(all(test, streamlog_shuttle)))]
pub use std::{
    sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    thread,
};

/// The model checker's.
#[cfg(all(test, streamlog_shuttle))]
use shuttle::sync as sleeping;
/// What a signal is made of: std's mutex and condition variable, for they wake a sleeper one microsecond in fourteen
/// sooner than parking_lot's (`benches/peers`, "hop, asleep").
#[cfg(not(all(test, streamlog_shuttle)))]
use std::sync as sleeping;

/// Under the model checker a wait ends with a notification only.
const TIME_PASSES: bool = !cfg!(all(test, streamlog_shuttle));

/// Something to wait for: a count of events that threads can sleep on.
///
/// A waiter takes [`epoch`](Signal::epoch), checks whether what it wants is already so, and passes the epoch to
/// [`Env::wait`](super::Env::wait): an event between the check and the wait is not missed. Notifying costs two atomic
/// operations when nobody sleeps.
#[derive(Debug, Default)]
pub struct Signal {
    epoch: AtomicU64,
    sleepers: AtomicUsize,
    mutex: sleeping::Mutex<()>,
    condvar: sleeping::Condvar,
}

impl Signal {
    /// A signal that nobody has notified yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often it was notified.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Wakes all sleepers, and all threads about to sleep with an older epoch.
    pub fn notify(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // A thread that counted itself in before `sleepers` was read holds the mutex until it sleeps.
            drop(unpoisoned(self.mutex.lock()));
            self.condvar.notify_all();
        }
    }

    /// Sleeps on the calling thread until the epoch differs from `seen` or `deadline` has come.
    pub(crate) fn sleep(&self, seen: u64, deadline: Option<Instant>) {
        let mut guard = unpoisoned(self.mutex.lock());
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.epoch.load(Ordering::SeqCst) == seen {
            guard = match deadline {
                None => unpoisoned(self.condvar.wait(guard)),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() && TIME_PASSES {
                        break;
                    }
                    unpoisoned(self.condvar.wait_timeout(guard, left)).0
                }
            };
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A panic leaves nothing half done under a signal's mutex, which guards nothing.
fn unpoisoned<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}
