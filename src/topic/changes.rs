//! Topics and partitions that come, and topics that go: a count of that, and who wants to know.

use crate::{
    env::sync::{AtomicU64, Ordering, Signal},
    partition::state::waiters::Waiters,
    types::IsolationLevel,
};
use std::sync::Arc;

/// The changes of a catalog.
#[derive(Debug, Default)]
pub struct Changes {
    version: AtomicU64,
    watchers: Waiters,
}

impl Changes {
    /// Differs after every change. One load.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// From now on `signal` is notified of every change.
    pub fn watch(&self, signal: &Arc<Signal>) {
        self.watchers.register(signal, IsolationLevel::ReadUncommitted);
    }

    /// Takes one registration of `signal` back.
    pub fn unwatch(&self, signal: &Arc<Signal>) {
        self.watchers.remove(signal);
    }

    /// Says that something changed, which whoever looks now finds.
    pub(super) fn happened(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        unless_planted!(a_topic_that_goes_wakes_nobody => self.wake_all());
    }

    /// Wakes all who watch although no topic changed: the handle was closed.
    pub fn wake_all(&self) {
        self.watchers.notify_all();
    }
}
