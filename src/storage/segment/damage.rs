//! Damage in a segment, remembered so that readers come to it as an error and continue after it when asked.

use crate::{
    env::sync::{AtomicBool, Mutex, Ordering},
    types::Offset,
};
use std::ops::Range;

/// A stretch of a segment that is not what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The bytes, from the end of the last whole batch to the beginning of the next.
    pub bytes: Range<u64>,
    /// The offsets that may have been there.
    pub offsets: Range<Offset>,
    /// What was expected and what was found.
    pub reason: String,
}

/// The damage of one segment, in the order of positions.
#[derive(Debug, Default)]
pub struct DamageList {
    /// Spares readers of sound segments the lock.
    any: AtomicBool,
    list: Mutex<Vec<Damage>>,
}

impl DamageList {
    /// Adds one that lies after all others.
    pub fn push(&self, damage: Damage) {
        self.list.lock().push(damage);
        self.any.store(true, Ordering::Release);
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        self.list.lock().clear();
    }

    /// The one that `offset` may have been in.
    pub fn over(&self, offset: Offset) -> Option<Damage> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let list = self.list.lock();
        // They are in the order of offsets, too.
        let i = list.partition_point(|damage| damage.offsets.end <= offset);
        list.get(i).filter(|damage| damage.offsets.contains(&offset)).cloned()
    }

    /// From which offset on there is damage.
    pub fn begin(&self) -> Option<Offset> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.list.lock().first().map(|damage| damage.offsets.start)
    }

    /// Where the first one after `position` begins.
    pub fn next_after(&self, position: u64) -> Option<u64> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let list = self.list.lock();
        let at = list.partition_point(|damage| damage.bytes.start <= position);
        list.get(at).map(|damage| damage.bytes.start)
    }

    /// The one that begins at `position`.
    pub fn at(&self, position: u64) -> Option<Damage> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let list = self.list.lock();
        let i = list.binary_search_by_key(&position, |damage| damage.bytes.start).ok()?;
        list.get(i).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_found_by_its_first_byte_and_by_each_offset_in_it() {
        let list = DamageList::default();
        assert_eq!(
            (list.at(0), list.over(Offset::ZERO), list.begin(), list.next_after(0)),
            (None, None, None, None)
        );
        let damage = |bytes: Range<u64>, offsets: Range<u64>| Damage {
            bytes,
            offsets: Offset::new(offsets.start)..Offset::new(offsets.end),
            reason: String::new(),
        };
        let all = [damage(100..200, 3..5), damage(300..310, 7..8), damage(400..500, 8..8)];
        all.iter().for_each(|damage| list.push(damage.clone()));
        for position in 0..600 {
            let expected = all.iter().find(|damage| damage.bytes.start == position);
            assert_eq!(list.at(position).as_ref(), expected, "{position}");
            let next = all.iter().map(|damage| damage.bytes.start).find(|start| *start > position);
            assert_eq!(list.next_after(position), next, "{position}");
        }
        for offset in (0..10).map(Offset::new) {
            let expected = all.iter().find(|damage| damage.offsets.contains(&offset));
            assert_eq!(list.over(offset).as_ref(), expected, "{offset}");
        }
        assert_eq!(list.begin(), Some(Offset::new(3)));
        list.clear();
        assert_eq!((list.at(100), list.begin(), list.next_after(0)), (None, None, None));
    }
}
