//! From a record's topic to the accumulators of its partitions, without a lock.
//!
//! A producer remembers its topics in a table that only grows, up to a limit, so that a look into it is one load; each
//! clone has a hint at the topic that it used last. Other topics, and those beyond the limit, are found in a map.

use super::{accumulator::Accumulator, record::TopicRef};
use crate::{
    env::sync::{AtomicUsize, OnceLock, Ordering, RwLock},
    error::{Error, Result},
    partition::handle::WRITTEN_BY_NOBODY_ELSE,
    producer::accumulators::Accumulators,
    topic::Topic,
};
use std::{collections::HashMap, sync::Arc};

/// How many topics have a place in the table. Each costs a few words for as long as the producer lives.
const PLACES: usize = 256;

/// The topics that a producer has used.
pub(super) struct Topics {
    table: Box<[OnceLock<Arc<TopicState>>]>,
    map: RwLock<Map>,
}

#[derive(Default)]
struct Map {
    by_name: HashMap<Arc<str>, Arc<TopicState>>,
    places_taken: usize,
    /// At this many names, those of deleted topics are removed.
    purge_at: usize,
}

/// A topic and the accumulators of its partitions.
pub(super) struct TopicState {
    pub(super) topic: Topic,
    place: usize,
    accumulators: Slots<Arc<Accumulator>>,
}

impl Topics {
    pub(super) fn new() -> Self {
        Topics { table: (0..PLACES).map(|_| OnceLock::new()).collect(), map: RwLock::default() }
    }

    /// The topic at the place that `hint` names, if it is the one meant.
    #[inline]
    pub(super) fn at_hint(&self, hint: &AtomicUsize, topic: &TopicRef<'_>) -> Option<&TopicState> {
        let state = self.table.get(hint.load(Ordering::Relaxed))?.get()?;
        state.is(topic).then_some(&**state)
    }

    /// The topic meant, which is added if it was not used before.
    #[cold]
    pub(super) fn find(
        &self,
        hint: &AtomicUsize,
        topic: TopicRef<'_>,
        own: &Accumulators,
    ) -> Result<Arc<TopicState>> {
        let known = self.map.read().by_name.get(topic.name()).filter(|state| state.is(&topic)).cloned();
        let state = match known {
            Some(state) => state,
            None => self.add(resolve(topic, own)?),
        };
        hint.store(state.place, Ordering::Relaxed);
        Ok(state)
    }

    fn add(&self, topic: Topic) -> Arc<TopicState> {
        let mut map = self.map.write();
        if let Some(state) = map.by_name.get(topic.name()).filter(|state| state.topic.id() == topic.id()) {
            return Arc::clone(state);
        }
        if map.by_name.len() >= map.purge_at {
            map.by_name.retain(|_, state| !state.topic.is_deleted());
            map.purge_at = map.by_name.len().saturating_mul(2).max(64);
        }
        let place = map.places_taken;
        let state = Arc::new(TopicState { topic, place, accumulators: Slots::new() });
        if let Some(slot) = self.table.get(place) {
            let _ = slot.set(Arc::clone(&state));
            map.places_taken += 1;
        }
        map.by_name.insert(Arc::clone(state.topic.shared_name()), Arc::clone(&state));
        state
    }
}

/// The topic meant, as the catalog has it. Internal topics are refused.
fn resolve(topic: TopicRef<'_>, own: &Accumulators) -> Result<Topic> {
    own.check_open()?;
    let found = own.context().sender.catalog().topic(topic.name());
    let found = match topic {
        TopicRef::Name(_) => found?,
        TopicRef::Topic(handle) if handle.is_deleted() => {
            return Err(Error::deleted(handle.name()));
        }
        TopicRef::Topic(handle) => found.ok().filter(|topic| topic.id() == handle.id()).ok_or_else(|| {
            let reason = format!("the handle of topic '{}' belongs to another log", handle.name());
            Error::InvalidArgument { reason }
        })?,
    };
    if found.is_internal() {
        let reason = WRITTEN_BY_NOBODY_ELSE.to_string();
        return Err(Error::InvalidTopic { name: found.name().to_string(), reason });
    }
    Ok(found)
}

impl TopicState {
    #[inline]
    fn is(&self, topic: &TopicRef<'_>) -> bool {
        let mut is_same = match topic {
            TopicRef::Name(name) => self.topic.name() == *name,
            TopicRef::Topic(topic) => self.topic.is_same(topic),
        };
        planted!(a_handle_is_a_name => is_same = self.topic.name() == topic.name());
        planted!(a_deleted_topic_is_still_at_hand => return is_same);
        is_same && !self.topic.is_deleted()
    }

    /// The accumulator of a partition.
    #[inline]
    pub(super) fn accumulator(&self, partition: u32, own: &Accumulators) -> Result<&Arc<Accumulator>> {
        if partition < self.topic.partition_count()
            && let Some(accumulator) = self.accumulators.slot(partition).and_then(OnceLock::get)
        {
            return Ok(accumulator);
        }
        self.begin(partition, own)
    }

    #[cold]
    fn begin(&self, partition: u32, own: &Accumulators) -> Result<&Arc<Accumulator>> {
        let log = self.topic.log(partition)?;
        let missing =
            || Error::UnknownPartition { topic: self.topic.name().to_string(), partition, count: 0 };
        let slot = self.accumulators.slot(partition).ok_or_else(missing)?;
        own.register(|add| {
            let make = || {
                let accumulator = Accumulator::new(self.topic.clone(), log, Arc::clone(own.context()));
                add(&accumulator);
                accumulator
            };
            Arc::clone(slot.get_or_init(make))
        })?;
        slot.get().ok_or_else(missing)
    }
}

/// Slots that are filled once, allocated as they are asked for: chunk `k` holds 2^k of them.
struct Slots<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; 33],
}

impl<T> Slots<T> {
    fn new() -> Self {
        Slots { chunks: [const { OnceLock::new() }; 33] }
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&OnceLock<T>> {
        let number = u64::from(index) + 1;
        let chunk = number.ilog2();
        let slots = self
            .chunks
            .get(chunk as usize)?
            .get_or_init(|| (0..1u64 << chunk).map(|_| OnceLock::new()).collect());
        slots.get(usize::try_from(number - (1 << chunk)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let slots = Slots::new();
        for i in 0..1000u32 {
            assert!(slots.slot(i).unwrap().set(i).is_ok());
        }
        assert!((0..1000u32).all(|i| slots.slot(i).unwrap().get() == Some(&i)));
    }
}
