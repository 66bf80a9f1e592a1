//! A turn that one at a time has, over calls and threads, for as long as the work takes.

use crate::env::sync::{Condvar, Mutex};

/// Taken by one at a time.
#[derive(Debug, Default)]
pub struct Turn {
    is_taken: Mutex<bool>,
    freed: Condvar,
}

impl Turn {
    /// Takes it if it is free.
    pub fn take(&self) -> bool {
        !std::mem::replace(&mut *self.is_taken.lock(), true)
    }

    /// It is free again.
    pub fn give_back(&self) {
        *self.is_taken.lock() = false;
        self.freed.notify_all();
    }

    /// Returns when it is free, which it may not be any more by then.
    pub fn wait_until_free(&self) {
        let mut is_taken = self.is_taken.lock();
        while *is_taken {
            self.freed.wait(&mut is_taken);
        }
    }
}
