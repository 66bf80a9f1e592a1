//! A producer's memory: the bytes of its records that are not acknowledged yet, and buffers that are free.
//!
//! A growing batch reserves bytes in steps; they are released when the batch is acknowledged or has failed. The sum
//! never exceeds the limit.

use crate::env::sync::{AtomicUsize, Mutex, Ordering, Signal};

/// How many free buffers are kept for the next batches.
const SPARES: usize = 8;

/// A producer's buffer memory.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    used: AtomicUsize,
    freed: Signal,
    spares: Mutex<Vec<Vec<u8>>>,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Memory { limit, used: AtomicUsize::new(0), freed: Signal::new(), spares: Mutex::default() }
    }

    /// A buffer of an earlier batch, or an empty one.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.spares.lock().pop().unwrap_or_default()
    }

    /// Keeps the buffer of a batch for a later one.
    pub(super) fn recycle(&self, buffer: Vec<u8>) {
        let mut spares = self.spares.lock();
        if spares.len() < SPARES {
            spares.push(buffer);
        }
    }

    /// Reserves `bytes`, if that many are left.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let fits = |sum: &usize| {
            planted!(a_buffer_is_never_full => return true);
            *sum <= self.limit
        };
        let sum = |used: usize| used.checked_add(bytes).filter(fits);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, sum).is_ok()
    }

    /// Reserves `wanted` bytes, or `needed` if fewer are left; returns how many.
    pub(super) fn reserve_up_to(&self, wanted: usize, needed: usize) -> Option<usize> {
        let wanted = wanted.max(needed);
        [wanted, needed].into_iter().find(|bytes| self.reserve(*bytes))
    }

    /// Releases `bytes`.
    pub(super) fn release(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(before >= bytes);
        unless_planted!(what_is_freed_wakes_nobody => self.freed.notify());
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Notified when bytes are released.
    pub(super) fn freed(&self) -> &Signal {
        &self.freed
    }
}

#[cfg(test)]
mod tests {
    use crate::producer::buffer_pool::*;

    #[test]
    fn what_is_taken_never_exceeds_the_limit() {
        let memory = Memory::new(100);
        assert!(memory.reserve(60));
        assert!(!memory.reserve(41));
        assert!(!memory.reserve(usize::MAX));
        assert_eq!(memory.reserve_up_to(80, 10), Some(10));
        assert_eq!(memory.reserve_up_to(20, 10), Some(20));
        assert_eq!(memory.used(), 90);
        memory.release(90);
        assert_eq!((memory.used(), memory.freed().epoch()), (0, 1));
    }
}
