//! A cap on things that are cheap to get again: descriptors, mappings, loaded indexes.
//!
//! Holders queue up; when there are too many, the one that has not been used since the hand last passed it is evicted
//! (the clock algorithm). A holder that cannot let go now (it is in use, or its flush failed) is passed over, so the
//! cap may be exceeded while everything is in use, never otherwise.

use crate::env::sync::{AtomicUsize, Mutex, Ordering};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Weak},
};

/// Something that holds a resource and can give it back.
pub trait Evictable: Send + Sync {
    /// Whether it was used since this was last asked.
    fn was_used(&self) -> bool;
    /// Gives the resource back; `false` when that is not possible now. True as well when there is nothing to give.
    fn evict(&self) -> bool;
    /// Gives the resource back where nothing is left to be done for it; `false` as for [`Evictable::evict`].
    fn release(&self) -> bool {
        self.evict()
    }
}

/// Keeps the number of resources held at or below a cap.
pub struct Cap {
    cap: usize,
    queue: Mutex<VecDeque<Weak<dyn Evictable>>>,
    held: AtomicUsize,
}

impl fmt::Debug for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cap").field("cap", &self.cap).field("held", &self.held()).finish()
    }
}

impl Cap {
    /// At most `cap` resources, but at least one.
    pub fn new(cap: usize) -> Self {
        Cap { cap: cap.max(1), queue: Mutex::default(), held: AtomicUsize::new(0) }
    }

    /// How many are held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts a resource that `holder` has just got, and makes others let go where there are too many. The caller
    /// holds no lock that a holder needs for letting go.
    pub fn admit(&self, holder: Weak<dyn Evictable>) {
        let mut queue = self.queue.lock();
        self.held.fetch_add(1, Ordering::Relaxed);
        let mut candidates = queue.len() * 2;
        while queue.len() >= self.cap && candidates > 0 {
            candidates -= 1;
            let Some(oldest) = queue.pop_front() else { break };
            match oldest.upgrade() {
                // Its holder is gone, and `released` was called by its drop.
                None => {}
                Some(other) if !other.was_used() && other.evict() => {}
                Some(other) => queue.push_back(Arc::downgrade(&other)),
            }
        }
        queue.push_back(holder);
    }

    /// Evicts everything that can be evicted, for good.
    pub fn retire_all(&self) {
        let all = std::mem::take(&mut *self.queue.lock());
        all.iter().filter_map(Weak::upgrade).for_each(|holder| {
            holder.release();
        });
    }

    /// Makes up to `count` holders `give` back what they hold, used or not, those first that got it first. Says how many
    /// did. The caller holds no lock that a holder needs for it.
    pub fn make_room(&self, count: usize, give: impl Fn(&dyn Evictable) -> bool) -> usize {
        let mut given = 0;
        self.queue.lock().retain(|holder| match holder.upgrade() {
            None => false,
            Some(holder) if given < count && give(&*holder) => {
                given += 1;
                false
            }
            Some(_) => true,
        });
        given
    }

    /// Counts a resource out. Called by holders whenever one is given back.
    pub fn released(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::{env::sync::AtomicBool, storage::files::cap::*};

    #[derive(Default)]
    struct Fake {
        used: AtomicBool,
        busy: AtomicBool,
        gone: AtomicBool,
    }

    impl Evictable for Fake {
        fn was_used(&self) -> bool {
            self.used.swap(false, Ordering::SeqCst)
        }
        fn evict(&self) -> bool {
            if self.busy.load(Ordering::SeqCst) {
                return false;
            }
            self.gone.store(true, Ordering::SeqCst);
            true
        }
    }

    fn admit(bound: &Cap, fake: &Arc<Fake>) {
        let weak: Weak<Fake> = Arc::downgrade(fake);
        bound.admit(weak);
    }

    #[test]
    fn the_one_not_used_lets_go_and_the_busy_one_is_passed_over() {
        let bound = Cap::new(2);
        let all: Vec<Arc<Fake>> = (0..4).map(|_| Arc::default()).collect();
        admit(&bound, &all[0]);
        admit(&bound, &all[1]);
        all[0].used.store(true, Ordering::SeqCst);
        admit(&bound, &all[2]);
        assert!(!all[0].gone.load(Ordering::SeqCst));
        assert!(all[1].gone.load(Ordering::SeqCst));
        all[2].busy.store(true, Ordering::SeqCst);
        all[0].busy.store(true, Ordering::SeqCst);
        admit(&bound, &all[3]);
        assert!(!all[0].gone.load(Ordering::SeqCst) && !all[2].gone.load(Ordering::SeqCst));
    }
}
