//! The disk budget: how many bytes the files of a handle take, and how many they may take.
//!
//! Nothing is measured. Each segment has a [`Charge`] with the bytes of its files, which it sets where they grow and are
//! cut; what is used is the sum of the charges. An opening knows the sizes from the manifest. A charge ends with its
//! segment's names, or with the segment, so nothing is counted twice and nothing forever.
//!
//! Of a handle that only reads, the sum is what it has seen of sealed segments, and nothing asks for it.

use crate::env::sync::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

/// A disk budget without an end.
const NO_LIMIT: u64 = u64::MAX;

/// The part of the budget that active segments, which are never dropped, take together where others are.
const SHARE_OF_ACTIVE: u64 = 4;
/// As if there were this many of them at least, so that one of few is no large part of what is kept.
const ACTIVE_LEAST: u64 = 4;
/// No segment ends before it has so much.
const SEGMENT_LEAST: u64 = 64 << 10;

/// What is done with an append for which the [disk budget](crate::config::Builder::disk_budget) has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// It is refused with [`DiskFull`](crate::Error::DiskFull), and everything that is there stays.
    Refuse,
    /// The oldest sealed segment of all topics that delete (`cleanup.policy`) is removed, and as many more as the append
    /// needs. Where none may go, the append is refused.
    DropOldest,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Budget {
    used: AtomicU64,
    /// How many charges are of active segments.
    active: AtomicU64,
    limit: AtomicU64,
    drops: AtomicBool,
}

impl Default for Budget {
    fn default() -> Self {
        let (used, active) = (AtomicU64::new(0), AtomicU64::new(0));
        Budget { used, active, limit: AtomicU64::new(NO_LIMIT), drops: AtomicBool::new(false) }
    }
}

impl Budget {
    /// From now on files grow only as long as no more than `bytes` are used.
    pub fn limit_to(&self, bytes: u64, when_full: WhenFull) {
        self.limit.store(bytes, Ordering::Relaxed);
        self.drops.store(when_full == WhenFull::DropOldest, Ordering::Relaxed);
    }

    /// How many bytes may be used; `None` for no such setting.
    pub fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit < NO_LIMIT)
    }

    /// How many bytes are used.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// How many more may be used.
    pub fn left(&self) -> u64 {
        self.limit().map_or(NO_LIMIT, |limit| limit.saturating_sub(self.used()))
    }

    /// How many more are used than may be.
    pub fn excess(&self) -> u64 {
        self.limit().map_or(0, |limit| self.used().saturating_sub(limit))
    }

    /// Whether old segments make room for new ones.
    pub fn drops_oldest(&self) -> bool {
        self.drops.load(Ordering::Relaxed) && self.limit().is_some()
    }

    /// The size at which a segment ends. Only sealed ones can be dropped: where that is to make room, the active ones of
    /// all partitions together take a part of the budget alone.
    pub fn segment_max(&self) -> u64 {
        let Some(limit) = self.limit().filter(|_| self.drops_oldest()) else { return NO_LIMIT };
        planted!(active_segments_fill_the_budget => return NO_LIMIT);
        let active = self.active.load(Ordering::Relaxed).max(ACTIVE_LEAST);
        (limit / SHARE_OF_ACTIVE / active).max(SEGMENT_LEAST)
    }
}

/// What one segment, or files beside it, take of the budget.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: AtomicU64,
    is_active: AtomicBool,
}

impl Charge {
    /// Of a segment that may be active, whose files have so many bytes.
    pub fn new(budget: &Arc<Budget>, bytes: u64) -> Charge {
        budget.used.fetch_add(bytes, Ordering::SeqCst);
        budget.active.fetch_add(1, Ordering::Relaxed);
        let (bytes, is_active) = (AtomicU64::new(bytes), AtomicBool::new(true));
        Charge { budget: Arc::clone(budget), bytes, is_active }
    }

    /// Of files that never were a segment that takes appends; none so far.
    pub fn of_files(budget: &Arc<Budget>) -> Charge {
        let charge = Charge::new(budget, 0);
        charge.seal();
        charge
    }

    /// How many bytes its files have.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Its files have so many bytes now, whatever the budget says.
    pub fn set(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::SeqCst);
        self.budget.used.fetch_add(bytes.wrapping_sub(before), Ordering::SeqCst);
    }

    /// Its files are about to have so many bytes, where the budget has room.
    ///
    /// # Errors
    ///
    /// How many bytes are used, which leave no room.
    pub fn raise(&self, bytes: u64) -> Result<(), u64> {
        let more = bytes.saturating_sub(self.bytes());
        let limit = self.budget.limit.load(Ordering::Relaxed);
        let fits = |used: u64| Some(used.saturating_add(more)).filter(|after| *after <= limit);
        self.budget.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits)?;
        self.bytes.fetch_add(more, Ordering::SeqCst);
        Ok(())
    }

    /// The segment is not active any more.
    pub fn seal(&self) {
        if self.is_active.swap(false, Ordering::Relaxed) {
            self.budget.active.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Its files have lost their names, and their space with them.
    pub fn release(&self) {
        unless_planted!(what_was_dropped_stays_counted => self.set(0));
        self.seal();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
        self.seal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(limit: u64) -> Arc<Budget> {
        let budget = Arc::new(Budget::default());
        budget.limit_to(limit, WhenFull::DropOldest);
        budget
    }

    #[test]
    fn what_is_used_is_the_sum_of_the_charges_that_there_are() {
        let budget = of(100);
        let (a, b) = (Charge::new(&budget, 10), Charge::new(&budget, 20));
        assert_eq!((budget.used(), budget.left(), budget.excess()), (30, 70, 0));
        a.set(5);
        assert_eq!((b.raise(95), b.raise(96), b.bytes()), (Ok(()), Err(100), 95));
        a.set(15);
        assert_eq!((budget.used(), budget.left(), budget.excess()), (110, 0, 10));
        assert_eq!(b.raise(90), Err(110), "nothing grows, and too much is used");
        b.release();
        drop(a);
        assert_eq!(budget.used(), 0);
        drop(b);
        assert_eq!((budget.used(), budget.active.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_budget_that_is_not_set_or_the_most_there_is_refuses_nothing() {
        for budget in [Arc::default(), of(u64::MAX)] {
            let charge = Charge::new(&budget, u64::MAX - 1);
            assert!(
                budget.limit().is_none() && budget.left() == u64::MAX && budget.segment_max() == u64::MAX
            );
            assert_eq!(charge.raise(u64::MAX), Ok(()));
        }
    }

    #[test]
    fn active_segments_together_take_a_quarter_and_others_do_not_count() {
        let budget = of(64 << 20);
        let charge = || Charge::new(&budget, 0);
        let first = charge();
        assert_eq!(budget.segment_max(), 4 << 20);
        let more: Vec<Charge> = (0..7).map(|_| charge()).collect();
        assert_eq!(budget.segment_max(), 2 << 20);
        more.iter().for_each(|charge| charge.seal());
        first.release();
        assert_eq!(budget.segment_max(), 4 << 20);
        assert_eq!(of(1000).segment_max(), SEGMENT_LEAST);
    }
}
