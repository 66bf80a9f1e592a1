//! The four offsets of a log, kept in their order by one type.
//!
//! Always: log start <= last stable <= high watermark <= log end. Every change goes through here, and one that would
//! break the order is held at its bound.

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
///
/// A busy reader loads its bound all the time. Each bound has a cache line of its own, and an unchanged value is not
/// stored again: the writer takes the line of a reader only when the bound has moved.
#[derive(Debug)]
pub struct Offsets {
    changing: Line<Mutex<OffsetSet>>,
    ends: Line<Ends>,
    last_stable: Line<AtomicU64>,
    high_watermark: Line<AtomicU64>,
}

#[derive(Debug)]
struct Ends {
    log_start: AtomicU64,
    log_end: AtomicU64,
}

/// Something with a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Line<T>(T);

/// Stores what has changed. Only the holder of the lock calls it.
fn show(place: &AtomicU64, offset: Offset) {
    if place.load(Ordering::Relaxed) != offset.value() {
        place.store(offset.value(), Ordering::Release);
    }
}

impl Offsets {
    /// Starts with `set`, put into order.
    pub fn new(set: OffsetSet) -> Self {
        let offsets = Offsets {
            changing: Line(Mutex::new(set)),
            ends: Line(Ends { log_start: AtomicU64::new(0), log_end: AtomicU64::new(0) }),
            last_stable: Line(AtomicU64::new(0)),
            high_watermark: Line(AtomicU64::new(0)),
        };
        offsets.change(|_| {});
        offsets
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> Offset {
        Offset::new(self.ends.0.log_start.load(Ordering::Acquire))
    }

    /// Where read-committed readers stop.
    pub fn last_stable(&self) -> Offset {
        Offset::new(self.last_stable.0.load(Ordering::Acquire))
    }

    /// Where every reader stops.
    pub fn high_watermark(&self) -> Offset {
        Offset::new(self.high_watermark.0.load(Ordering::Acquire))
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> Offset {
        Offset::new(self.ends.0.log_end.load(Ordering::Acquire))
    }

    /// Where a reader of `isolation` stops.
    pub fn bound(&self, isolation: IsolationLevel) -> Offset {
        match isolation {
            IsolationLevel::ReadUncommitted => self.high_watermark(),
            IsolationLevel::ReadCommitted => {
                planted!(read_what_is_undecided => return self.high_watermark());
                self.last_stable()
            }
        }
    }

    /// Changes the offsets, keeps their order, and shows the result to readers: the end first and the bounds after, so
    /// that a reader never sees a bound beyond the end.
    pub fn change(&self, change: impl FnOnce(&mut OffsetSet)) -> OffsetSet {
        let mut set = self.changing.0.lock();
        change(&mut set);
        set.log_end = set.log_end.max(set.log_start);
        set.high_watermark = set.high_watermark.clamp(set.log_start, set.log_end);
        set.last_stable = set.last_stable.clamp(set.log_start, set.high_watermark);
        show(&self.ends.0.log_end, set.log_end);
        show(&self.high_watermark.0, set.high_watermark);
        show(&self.last_stable.0, set.last_stable);
        show(&self.ends.0.log_start, set.log_start);
        *set
    }
}

#[cfg(test)]
mod tests {
    use crate::partition::state::offsets::*;

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
