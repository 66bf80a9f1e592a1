//! Offsets that were sent in transactions which have not ended.
//!
//! Kafka's rule: when a transaction is committed, the record with the larger offset holds, the transaction's or another,
//! wherever the marker lies. Records come in the order of their offsets. So a value that waits is given up as soon as a
//! newer record about the same partition counts, be it a commit or a deletion; and whatever still waits is newer than all
//! that counts. No offset of what counts needs to be known, after a rewriting neither.
//!
//! A log has one open transaction of a producer at a time. Its outcome may be known before its marker is, and is told for
//! its epoch; it ends what waits for that epoch or an earlier one.

use super::entry::{Entry, Groups};
use crate::{
    partition::state::producers::is_ours,
    types::{Offset, ProducerEpoch, TopicPartition},
};
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
    by_producer: BTreeMap<ProducerEpoch, Groups<Waiting>>,
}

impl Pending {
    /// The transaction of `by` commits this for `partition`, when it is committed itself.
    pub(super) fn wait(
        &mut self,
        by: ProducerEpoch,
        group: String,
        partition: TopicPartition,
        waiting: Waiting,
    ) {
        self.by_producer.entry(by).or_default().entry(group).or_default().insert(partition, waiting);
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

    /// The transaction of `by` has ended: nothing waits for it any more. What did is returned, the oldest first.
    pub(super) fn end(&mut self, by: ProducerEpoch) -> Vec<(String, TopicPartition, Waiting)> {
        let earlier = ProducerEpoch { epoch: i16::MIN, ..by };
        let ended: Vec<_> = self.by_producer.range(earlier..=by).map(|(by, _)| *by).collect();
        let ended = ended.into_iter().filter_map(|by| self.by_producer.remove(&by)).flatten();
        let each = |(group, partitions): (String, BTreeMap<_, _>)| {
            let one = move |(partition, waiting)| (group.clone(), partition, waiting);
            partitions.into_iter().map(one)
        };
        ended.flat_map(each).collect()
    }

    /// Nothing waits any more: nobody knows what became of it.
    pub(super) fn give_up(&mut self) {
        self.by_producer.clear();
    }

    /// Whether anything waits for `partition`.
    pub(super) fn is_any(&self, group: &str, partition: &TopicPartition) -> bool {
        self.of(group, partition).next().is_some()
    }

    /// Whether something waits for `partition` that will not wait forever: nothing here ends what another writer, such as
    /// a broker, has left open.
    pub(super) fn will_end(&self, group: &str, partition: &TopicPartition) -> bool {
        self.of(group, partition).any(|by| is_ours(by.id))
    }

    /// Whether there is anything that will not wait forever.
    pub(super) fn any_will_end(&self) -> bool {
        self.by_producer.keys().any(|by| is_ours(by.id))
    }

    /// The producers whose transactions something for `partition` waits for.
    fn of(&self, group: &str, partition: &TopicPartition) -> impl Iterator<Item = ProducerEpoch> {
        let has = |groups: &Groups<Waiting>| groups.get(group).is_some_and(|of| of.contains_key(partition));
        self.by_producer.iter().filter(move |(_, groups)| has(groups)).map(|(by, _)| *by)
    }

    /// Everything, with its producer, group and partition.
    pub(super) fn all(&self) -> impl Iterator<Item = (ProducerEpoch, &str, &TopicPartition, &Waiting)> {
        self.by_producer.iter().flat_map(|(by, groups)| {
            groups.iter().flat_map(|(group, partitions)| {
                let one = |(partition, waiting)| (*by, group.as_str(), partition, waiting);
                partitions.iter().map(one)
            })
        })
    }
}
