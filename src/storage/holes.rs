//! Damage in a segment, remembered so that readers come to it as an error and go on behind it when asked.

use crate::{
    env::sync::{AtomicBool, Mutex, Ordering},
    types::Offset,
};
use std::ops::Range;

/// A stretch of a segment that is not what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The bytes, from the end of the last whole batch to the beginning of the next.
    pub bytes: Range<u64>,
    /// The offsets that may have been there.
    pub offsets: Range<Offset>,
    /// What was expected and what was found.
    pub reason: String,
}

/// The damage of one segment, in the order of positions.
#[derive(Debug, Default)]
pub struct Holes {
    /// Spares readers of sound segments the lock.
    any: AtomicBool,
    list: Mutex<Vec<Hole>>,
}

impl Holes {
    /// Adds one that lies behind all others.
    pub fn push(&self, hole: Hole) {
        self.list.lock().push(hole);
        self.any.store(true, Ordering::Release);
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        self.list.lock().clear();
    }

    /// The one that `offset` may have been in.
    pub fn over(&self, offset: Offset) -> Option<Hole> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let list = self.list.lock();
        // They are in the order of offsets, too.
        let i = list.partition_point(|hole| hole.offsets.end <= offset);
        list.get(i).filter(|hole| hole.offsets.contains(&offset)).cloned()
    }

    /// From which offset on there is damage.
    pub fn begin(&self) -> Option<Offset> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.list.lock().first().map(|hole| hole.offsets.start)
    }

    /// Where the first one behind `position` begins.
    pub fn next_behind(&self, position: u64) -> Option<u64> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let list = self.list.lock();
        let at = list.partition_point(|hole| hole.bytes.start <= position);
        list.get(at).map(|hole| hole.bytes.start)
    }

    /// The one that begins at `position`.
    pub fn at(&self, position: u64) -> Option<Hole> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let list = self.list.lock();
        let i = list.binary_search_by_key(&position, |hole| hole.bytes.start).ok()?;
        list.get(i).cloned()
    }
}
