//! A little state per topic behind one mutex, for partitioners.
//!
//! The topic of the last call is tried first, so that a run of records of one topic costs one comparison of names and no
//! hash. The state is bounded: beyond [`MAX_TOPICS`] names everything is forgotten, which its users allow.

use crate::env::sync::Mutex;
use std::collections::HashMap;

/// How many topics are remembered at most: names that come and go forever must not fill the memory.
const MAX_TOPICS: usize = 4096;

/// A state per topic's name.
pub(super) struct PerTopic<S>(Mutex<Inner<S>>);

struct Inner<S> {
    states: Vec<(Box<str>, S)>,
    by_name: HashMap<Box<str>, usize>,
    last: usize,
}

impl<S> PerTopic<S> {
    pub(super) fn new() -> Self {
        PerTopic(Mutex::new(Inner { states: Vec::new(), by_name: HashMap::new(), last: 0 }))
    }

    /// Works on the topic's state, which begins as `start` says.
    pub(super) fn with<R>(
        &self,
        topic: &str,
        start: impl FnOnce() -> S,
        work: impl FnOnce(&mut S) -> R,
    ) -> R {
        let mut inner = self.0.lock();
        if let Some(state) = inner.find(topic) {
            return work(state);
        }
        let mut state = start();
        let result = work(&mut state);
        inner.insert(topic, state);
        result
    }

    /// Works on the topic's state if there is one.
    pub(super) fn with_known(&self, topic: &str, work: impl FnOnce(&mut S)) {
        if let Some(state) = self.0.lock().find(topic) {
            work(state);
        }
    }
}

impl<S> Default for PerTopic<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Inner<S> {
    fn find(&mut self, topic: &str) -> Option<&mut S> {
        let is_last = self.states.get(self.last).is_some_and(|(name, _)| &**name == topic);
        if !is_last {
            self.last = *self.by_name.get(topic)?;
        }
        self.states.get_mut(self.last).map(|(_, state)| state)
    }

    fn insert(&mut self, topic: &str, state: S) {
        if self.states.len() >= MAX_TOPICS {
            self.states.clear();
            self.by_name.clear();
        }
        self.last = self.states.len();
        self.by_name.insert(topic.into(), self.last);
        self.states.push((topic.into(), state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(counts: &PerTopic<u32>, topic: &str) -> u32 {
        counts.with(
            topic,
            || 0,
            |count| {
                *count += 1;
                *count
            },
        )
    }

    #[test]
    fn every_topic_has_its_own_state() {
        let counts = PerTopic::new();
        let seen: Vec<u32> = ["a", "b", "a", "a", "c", "b", "c"].map(|topic| count(&counts, topic)).into();
        assert_eq!(seen, [1, 1, 2, 3, 1, 2, 2]);
        counts.with_known("d", |_| panic!("nobody began d"));
        assert_eq!(count(&counts, "d"), 1);
    }

    #[test]
    fn names_that_come_and_go_do_not_fill_the_memory() {
        let counts = PerTopic::new();
        for i in 0..3 * MAX_TOPICS {
            count(&counts, &format!("topic {i}"));
        }
        let inner = counts.0.lock();
        assert!(inner.states.len() <= MAX_TOPICS && inner.by_name.len() == inner.states.len());
    }
}
