//! A cell that is set once, as ThreadSanitizer sees it where std is not instrumented.
//!
//! Then the release that ends an initialization goes unseen, and each look at the value would count as a race. So a flag
//! and a lock that are compiled here say the same once more.

use super::{AtomicBool, Mutex, Ordering};
use std::sync;

/// [`std::sync::OnceLock`], as far as it is used.
#[derive(Debug)]
pub struct OnceLock<T> {
    cell: sync::OnceLock<T>,
    is_set: AtomicBool,
    setting: Mutex<()>,
}

impl<T> OnceLock<T> {
    /// An empty cell.
    pub const fn new() -> Self {
        OnceLock {
            cell: sync::OnceLock::new(),
            is_set: AtomicBool::new(false),
            setting: parking_lot::const_mutex(()),
        }
    }

    /// What it was set to.
    pub fn get(&self) -> Option<&T> {
        self.is_set.load(Ordering::Acquire).then(|| self.cell.get()).flatten()
    }

    /// Sets it, or gives the value back where it is set already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let _guard = self.setting.lock();
        let done = self.cell.set(value);
        self.is_set.store(true, Ordering::Release);
        done
    }

    /// What it was set to; what `init` gives where it was not.
    pub fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _guard = self.setting.lock();
        let value = self.cell.get_or_init(init);
        self.is_set.store(true, Ordering::Release);
        value
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}
