//! Changes of a catalog, that is new topics and partitions and deleted topics: how many there were, and which signals
//! hear of them.

use crate::{
    env::sync::{AtomicU64, Ordering, Signal},
    partition::state::waiters::Waiters,
    types::IsolationLevel,
};
use std::sync::Arc;

/// The changes of a catalog.
#[derive(Debug, Default)]
pub struct ChangeSignals {
    version: AtomicU64,
    watchers: Waiters,
}

impl ChangeSignals {
    /// A number that differs after every change. Costs one load.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// From now on `signal` is notified of every change.
    pub fn watch(&self, signal: &Arc<Signal>) {
        self.watchers.register(signal, IsolationLevel::ReadUncommitted);
    }

    /// Removes one registration of `signal`.
    pub fn unwatch(&self, signal: &Arc<Signal>) {
        self.watchers.remove(signal);
    }

    /// Announces a change, which the catalog shows by now.
    pub(super) fn happened(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        unless_planted!(a_topic_that_goes_wakes_nobody => self.wake_all());
    }

    /// Notifies all signals although no topic changed: the handle was closed.
    pub fn wake_all(&self) {
        self.watchers.notify_all();
    }
}
