//! The four offsets of a log, kept in their order by one type.
//!
//! Always: log start <= last stable <= high watermark <= log end. Whoever changes one goes through here; a change that
//! would break the order is held at its bound.

use crate::{
    env::sync::{AtomicU64, Mutex, Ordering},
    types::{IsolationLevel, Offset},
};

/// The offsets of a log at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffsetSet {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// Where read-committed readers stop.
    pub last_stable: Offset,
    /// Where every reader stops.
    pub high_watermark: Offset,
    /// The offset that the next record gets.
    pub log_end: Offset,
}

/// The offsets of a log, to be read without a lock.
#[derive(Debug)]
pub struct Offsets {
    changing: Mutex<OffsetSet>,
    log_start: AtomicU64,
    last_stable: AtomicU64,
    high_watermark: AtomicU64,
    log_end: AtomicU64,
}

impl Offsets {
    /// Starts with `set`, put into order.
    pub fn new(set: OffsetSet) -> Self {
        let offsets = Offsets {
            changing: Mutex::new(set),
            log_start: AtomicU64::new(0),
            last_stable: AtomicU64::new(0),
            high_watermark: AtomicU64::new(0),
            log_end: AtomicU64::new(0),
        };
        offsets.change(|_| {});
        offsets
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> Offset {
        Offset::new(self.log_start.load(Ordering::Acquire))
    }

    /// Where read-committed readers stop.
    pub fn last_stable(&self) -> Offset {
        Offset::new(self.last_stable.load(Ordering::Acquire))
    }

    /// Where every reader stops.
    pub fn high_watermark(&self) -> Offset {
        Offset::new(self.high_watermark.load(Ordering::Acquire))
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> Offset {
        Offset::new(self.log_end.load(Ordering::Acquire))
    }

    /// Where a reader of `isolation` stops.
    pub fn bound(&self, isolation: IsolationLevel) -> Offset {
        match isolation {
            IsolationLevel::ReadUncommitted => self.high_watermark(),
            IsolationLevel::ReadCommitted => self.last_stable(),
        }
    }

    /// Changes the offsets, keeps their order, and shows the result to readers: the end first and the bounds after, so
    /// that a reader never sees a bound beyond the end.
    pub fn change(&self, change: impl FnOnce(&mut OffsetSet)) -> OffsetSet {
        let mut set = self.changing.lock();
        change(&mut set);
        set.log_end = set.log_end.max(set.log_start);
        set.high_watermark = set.high_watermark.clamp(set.log_start, set.log_end);
        set.last_stable = set.last_stable.clamp(set.log_start, set.high_watermark);
        self.log_end.store(set.log_end.value(), Ordering::Release);
        self.high_watermark.store(set.high_watermark.value(), Ordering::Release);
        self.last_stable.store(set.last_stable.value(), Ordering::Release);
        self.log_start.store(set.log_start.value(), Ordering::Release);
        *set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_holds_whatever_is_asked() {
        let offsets = Offsets::new(OffsetSet { log_end: Offset::new(10), ..OffsetSet::default() });
        let set = offsets.change(|set| {
            set.high_watermark = Offset::new(99);
            set.last_stable = Offset::new(7);
        });
        assert_eq!((set.last_stable, set.high_watermark), (Offset::new(7), Offset::new(10)));
        let set = offsets.change(|set| set.log_start = Offset::new(8));
        assert_eq!(set.last_stable, Offset::new(8));
        assert_eq!(offsets.bound(IsolationLevel::ReadCommitted), 8);
    }
}
