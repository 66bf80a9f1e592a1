//! Offsets that were sent in transactions which have not ended.
//!
//! Kafka's rule: when a transaction is committed, the record with the larger offset holds, the transaction's or another,
//! wherever the marker lies. Records come in the order of their offsets. So a value that waits is given up as soon as a
//! newer record about the same partition counts, be it a commit or a deletion; and whatever still waits is newer than all
//! that counts. No offset of what counts needs to be known, after a rewriting neither.
//!
//! A log has one open transaction of a producer at a time, and a marker ends that: the id says which, whatever the epoch.

use super::entry::{Entry, Groups};
use crate::types::{Offset, ProducerEpoch, TopicPartition};
use std::collections::BTreeMap;

/// An offset that is committed when its transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The offset of the record.
    pub(super) at: Offset,
    pub(super) entry: Entry,
}

/// All that waits, by the producer whose transaction it waits for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_producer: BTreeMap<i64, Groups<Waiting>>,
}

impl Pending {
    /// The transaction of `producer` commits this for `partition`, when it is committed itself.
    pub(super) fn wait(&mut self, producer: i64, group: String, partition: TopicPartition, waiting: Waiting) {
        self.by_producer.entry(producer).or_default().entry(group).or_default().insert(partition, waiting);
    }

    /// The record at `at` about `partition` counts: nothing older does any more.
    pub(super) fn give_up_older(&mut self, group: &str, partition: &TopicPartition, at: Offset) {
        planted!(what_waits_is_never_too_old => return);
        self.by_producer.retain(|_, groups| {
            let Some(partitions) = groups.get_mut(group) else { return true };
            if partitions.get(partition).is_some_and(|waiting| waiting.at < at) {
                partitions.remove(partition);
            }
            if partitions.is_empty() {
                groups.remove(group);
            }
            !groups.is_empty()
        });
    }

    /// The transaction of `producer` has ended: nothing waits for it any more. What did is returned.
    pub(super) fn end(&mut self, producer: i64) -> Groups<Waiting> {
        self.by_producer.remove(&producer).unwrap_or_default()
    }

    /// Nothing waits any more: nobody knows what became of it.
    pub(super) fn give_up(&mut self) {
        self.by_producer.clear();
    }

    /// Whether anything waits for `partition`.
    pub(super) fn is_any(&self, group: &str, partition: &TopicPartition) -> bool {
        self.of(group, partition).next().is_some()
    }

    /// Whether something waits for `partition` that will not wait forever.
    pub(super) fn will_end(&self, group: &str, partition: &TopicPartition) -> bool {
        self.of(group, partition).any(is_ours)
    }

    /// Whether there is anything that will not wait forever.
    pub(super) fn any_will_end(&self) -> bool {
        self.by_producer.keys().copied().any(is_ours)
    }

    /// The producers whose transactions something for `partition` waits for.
    fn of(&self, group: &str, partition: &TopicPartition) -> impl Iterator<Item = i64> {
        let has = |groups: &Groups<Waiting>| groups.get(group).is_some_and(|of| of.contains_key(partition));
        self.by_producer.iter().filter(move |(_, groups)| has(groups)).map(|(producer, _)| *producer)
    }

    /// Everything, with its producer, group and partition.
    pub(super) fn all(&self) -> impl Iterator<Item = (i64, &str, &TopicPartition, &Waiting)> {
        self.by_producer.iter().flat_map(|(producer, groups)| {
            groups.iter().flat_map(|(group, partitions)| {
                let one = |(partition, waiting)| (*producer, group.as_str(), partition, waiting);
                partitions.iter().map(one)
            })
        })
    }
}

/// Whether a producer's transactions end here: what another writer has left open, a broker for example, stays as it is.
fn is_ours(producer: i64) -> bool {
    ProducerEpoch { id: producer, epoch: 0 }.is_ours()
}
