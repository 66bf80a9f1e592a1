//! The readers that wait for a log to grow.
//!
//! A reader registers its signal once per log it reads; an append that raised the bound the reader waits for notifies
//! it. With nobody registered an append pays one load.

use crate::{
    env::sync::{AtomicUsize, Mutex, Ordering, Signal},
    types::IsolationLevel,
};
use std::sync::Arc;

/// The waiting readers of one log.
#[derive(Debug, Default)]
pub struct Waiters {
    count: AtomicUsize,
    list: Mutex<Vec<(Arc<Signal>, IsolationLevel)>>,
}

impl Waiters {
    /// From now on `signal` is notified when the bound of `isolation` rises. A signal registered twice is notified as
    /// often, and must be removed as often.
    pub fn register(&self, signal: &Arc<Signal>, isolation: IsolationLevel) {
        let mut list = self.list.lock();
        list.push((Arc::clone(signal), isolation));
        self.count.store(list.len(), Ordering::SeqCst);
    }

    /// Takes one registration of `signal` back.
    pub fn remove(&self, signal: &Arc<Signal>) {
        let mut list = self.list.lock();
        if let Some(i) = list.iter().position(|(other, _)| Arc::ptr_eq(other, signal)) {
            list.swap_remove(i);
        }
        self.count.store(list.len(), Ordering::SeqCst);
    }

    /// Notifies those whose bound has risen.
    pub fn notify(&self, high_watermark: bool, last_stable: bool) {
        // The bound was stored before this load, and a reader loads the bound after it registered: one of the two sees
        // the other.
        if (!high_watermark && !last_stable) || self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        planted!(append_wakes_no_consumer => return);
        for (signal, isolation) in self.list.lock().iter() {
            let risen = match isolation {
                IsolationLevel::ReadUncommitted => high_watermark,
                IsolationLevel::ReadCommitted => last_stable,
            };
            if risen {
                signal.notify();
            }
        }
    }

    /// Notifies everyone: the log was closed, deleted or poisoned.
    pub fn notify_all(&self) {
        self.notify(true, true);
    }
}
