//! Which leader epoch wrote which offsets: Kafka's leader epoch cache, as rules over a list.
//!
//! Epochs and start offsets both strictly increase from entry to entry, whatever was assigned.

use crate::types::Offset;

/// The leader epochs of one log, each with the first offset it wrote.
///
/// An epoch that wrote nothing may stand last, at the log's end: the list cannot be rebuilt from batches alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(i32, Offset)>,
}

impl LeaderEpochs {
    /// The epochs of a checkpoint file, assigned one after the other as Kafka does when it reads one.
    pub fn from_entries(entries: &[(i32, Offset)]) -> Self {
        let mut epochs = Self::default();
        for (epoch, start_offset) in entries {
            epochs.assign(*epoch, *start_offset);
        }
        epochs
    }

    /// Epochs and their start offsets, ascending.
    pub fn entries(&self) -> &[(i32, Offset)] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Says that `epoch` begins at `start_offset`; entries that contradict it go. Whether anything changed.
    ///
    /// A negative epoch is none and changes nothing; neither does the newest epoch with a later start.
    pub fn assign(&mut self, epoch: i32, start_offset: Offset) -> bool {
        let needed = self.entries.last().is_none_or(|(last, start)| epoch != *last || start_offset < *start);
        if epoch < 0 || !needed {
            return false;
        }
        while self.entries.pop_if(|(last, start)| *last >= epoch || *start >= start_offset).is_some() {}
        self.entries.push((epoch, start_offset));
        true
    }

    /// Forgets what begins at `end` or later, as when the log is cut there. Whether anything changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        while self.entries.pop_if(|(_, start)| *start >= end).is_some() {}
        self.entries.len() != before
    }

    /// Forgets what ended before `start`, as when the log's beginning is removed: the epoch in force at `start` begins
    /// there from now on. Whether anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let gone = self.entries.partition_point(|(_, begin)| *begin <= start);
        let Some(in_force) = gone.checked_sub(1) else { return false };
        self.entries.drain(..in_force);
        let moved = match self.entries.first_mut() {
            Some((_, begin)) => std::mem::replace(begin, start) != start,
            None => false,
        };
        moved || in_force > 0
    }

    /// The epoch that wrote `offset`; `None` before the first entry.
    pub fn epoch_for(&self, offset: Offset) -> Option<i32> {
        let above = self.entries.partition_point(|(_, start)| *start <= offset);
        self.entries.get(above.checked_sub(1)?).map(|(epoch, _)| *epoch)
    }

    /// Where the largest known epoch not above `epoch` ends, with that epoch; `log_end` for the newest one. `None` where
    /// Kafka answers (-1, -1): for an epoch that is negative or newer than all. An epoch older than all is taken to end
    /// where the first one begins.
    #[allow(
        dead_code,
        reason = "what a follower asks its leader, and nobody here: tests hold it against Kafka's own"
    )]
    pub fn end_offset_for(&self, epoch: i32, log_end: Offset) -> Option<(i32, Offset)> {
        if epoch < 0 {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let above = self.entries.partition_point(|(known, _)| *known <= epoch);
        let (_, end) = self.entries.get(above)?;
        let floor = above.checked_sub(1).and_then(|floor| self.entries.get(floor));
        Some((floor.map_or(epoch, |(known, _)| *known), *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epochs(entries: &[(i32, u64)]) -> LeaderEpochs {
        LeaderEpochs::from_entries(&list(entries))
    }

    fn list(entries: &[(i32, u64)]) -> Vec<(i32, Offset)> {
        entries.iter().map(|(epoch, start)| (*epoch, Offset::new(*start))).collect()
    }

    #[test]
    fn assigning_drops_what_contradicts_it() {
        let mut cache = epochs(&[(0, 0), (2, 4), (4, 8)]);
        assert!(!cache.assign(4, 9.into()), "the newest epoch with a later start");
        assert!(!cache.assign(4, 8.into()));
        assert!(!cache.assign(-1, 0.into()));
        assert!(cache.assign(4, 6.into()));
        assert_eq!(cache.entries(), list(&[(0, 0), (2, 4), (4, 6)]));
        assert!(cache.assign(5, 6.into()), "an epoch that wrote nothing is replaced by the next");
        assert_eq!(cache.entries(), list(&[(0, 0), (2, 4), (5, 6)]));
        assert!(cache.assign(1, 5.into()), "an older epoch takes the newer ones with it");
        assert_eq!(cache.entries(), list(&[(0, 0), (1, 5)]));
        assert!(cache.assign(7, 0.into()));
        assert_eq!(cache.entries(), list(&[(7, 0)]));
    }

    #[test]
    fn truncating_the_end_drops_epochs_that_begin_there() {
        let mut cache = epochs(&[(0, 0), (2, 4), (4, 8)]);
        assert!(!cache.truncate_from_end(9.into()));
        assert!(cache.truncate_from_end(8.into()));
        assert_eq!(cache.entries(), list(&[(0, 0), (2, 4)]));
        assert!(!cache.entries().is_empty());
        assert!(cache.truncate_from_end(Offset::ZERO));
        assert!(cache.entries().is_empty());
        assert!(!cache.truncate_from_end(Offset::ZERO));
    }

    #[test]
    fn truncating_the_start_moves_the_epoch_in_force() {
        let mut cache = epochs(&[(0, 3), (2, 4), (4, 8)]);
        assert!(!cache.truncate_from_start(2.into()));
        assert!(!cache.truncate_from_start(3.into()));
        assert!(cache.truncate_from_start(6.into()));
        assert_eq!(cache.entries(), list(&[(2, 6), (4, 8)]));
        assert!(cache.truncate_from_start(7.into()));
        assert!(cache.truncate_from_start(8.into()), "an epoch went, though the next one begins there");
        assert_eq!(cache.entries(), list(&[(4, 8)]));
        assert!(cache.truncate_from_start(100.into()));
        assert_eq!(cache.entries(), list(&[(4, 100)]));
        assert!(!LeaderEpochs::default().truncate_from_start(1.into()));
    }

    #[test]
    fn end_offsets_are_answered_as_kafka_answers_them() {
        let cache = epochs(&[(2, 4), (4, 8), (7, 20)]);
        let end = |epoch| cache.end_offset_for(epoch, 30.into()).map(|(epoch, end)| (epoch, end.value()));
        assert_eq!(end(-1), None);
        assert_eq!(end(1), Some((1, 4)), "older than all");
        assert_eq!(end(2), Some((2, 8)));
        assert_eq!(end(3), Some((2, 8)), "unknown: the one below it");
        assert_eq!(end(6), Some((4, 20)));
        assert_eq!(end(7), Some((7, 30)));
        assert_eq!(end(8), None, "newer than all");
        assert_eq!(LeaderEpochs::default().end_offset_for(0, 30.into()), None);
    }

    #[test]
    fn an_offset_belongs_to_the_epoch_that_began_last() {
        let cache = epochs(&[(2, 4), (4, 8)]);
        assert_eq!(
            [3u64, 4, 7, 8, 99].map(|o| cache.epoch_for(o.into())),
            [None, Some(2), Some(2), Some(4), Some(4)]
        );
        assert_eq!(cache.latest(), Some(4));
    }

    proptest! {
        #[test]
        fn both_columns_always_ascend(steps in prop::collection::vec((0u8..4, -1i32..6, 0u64..12), 0..40)) {
            let mut cache = LeaderEpochs::default();
            for (step, epoch, offset) in steps {
                let before = cache.clone();
                let changed = match step {
                    0 => cache.truncate_from_start(offset.into()),
                    1 => cache.truncate_from_end(offset.into()),
                    _ => cache.assign(epoch, offset.into()),
                };
                prop_assert_eq!(changed, cache != before);
                prop_assert!(cache.entries().is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{cache:?}");
                prop_assert_eq!(&LeaderEpochs::from_entries(cache.entries()), &cache);
            }
        }
    }
}
