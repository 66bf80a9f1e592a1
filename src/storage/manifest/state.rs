//! What the manifest's entries add up to: the topics, partitions and segments that exist now.
//!
//! [`ManifestState::apply`] is the only way to change it, and accepts only entries that make sense after the earlier ones:
//! the topic or partition exists, the name and the slots are free, the segment is there. A reader of a file finds damage
//! that way, a writer a mistake. [`ManifestState::entries`] writes the same state in as few entries as it takes.

use super::partition::{LIST_MAX, PartitionId, PartitionState, ProducersAtStart};
use crate::codec::manifest::{Entry, PartitionClosed};
use crate::types::{
    TopicId,
    name::{TopicName, folded},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The most partitions that all topics together may have: a short entry must not ask for all memory.
pub(super) const PARTITIONS_MAX: usize = 1 << 20;

/// The topics, partitions and segments that exist.
#[derive(Clone, Debug, Default)]
pub struct ManifestState {
    /// The epoch of the last `Opened` entry, 0 before the first.
    pub opened: u64,
    life: Life,
    next_slot: u32,
    partitions: usize,
    /// How many partitions the entries made, and how many they may make.
    made: u64,
    made_max: Option<u64>,
    /// The partitions that were closed.
    closed: Vec<(TopicId, u32)>,
    /// Topics by their turn of creation. Copies of the state share those that are the same in both.
    topics: BTreeMap<u64, Arc<TopicState>>,
    next_turn: u64,
    by_id: HashMap<TopicId, u64>,
    /// By folded name: two topics whose names fold to the same must not exist side by side.
    by_name: HashMap<String, u64>,
    own: Option<OwnMark>,
}

/// What a manifest file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnMark {
    /// Its number among the manifest files of the log; each file has the next number.
    pub number: u64,
    /// Its slot in the marks file, which says how much of it is durable.
    pub slot: u32,
    /// How many of its bytes a durable mark is known to cover, at least.
    pub said: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Life {
    /// No entry was ever written.
    #[default]
    New,
    /// Written to since the last close.
    Open,
    /// Closed cleanly, and not opened since.
    Closed,
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicState {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Whether it is streamlog's own.
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionState>,
    /// Its configuration, as it was given.
    pub config: Vec<(String, String)>,
}

/// Two states are equal if the same topics, partitions and segments exist in them; their histories may differ.
impl PartialEq for ManifestState {
    fn eq(&self, other: &Self) -> bool {
        (self.opened, self.life, self.next_slot) == (other.opened, other.life, other.next_slot)
            && self.topics().eq(other.topics())
    }
}

impl ManifestState {
    /// Whether no entry was ever written.
    pub fn is_new(&self) -> bool {
        self.life == Life::New
    }

    /// Whether there is nothing to recover: the log is new, or was closed and not opened for writing since.
    pub fn is_clean(&self) -> bool {
        self.life != Life::Open
    }

    /// The topics, in the order of their creation.
    pub fn topics(&self) -> impl Iterator<Item = &TopicState> {
        self.shared_topics().map(|topic| &**topic)
    }

    /// The same, to be kept.
    pub fn shared_topics(&self) -> impl Iterator<Item = &Arc<TopicState>> {
        self.topics.values()
    }

    /// The topic with this identity.
    pub fn topic(&self, id: &TopicId) -> Option<&TopicState> {
        self.topics.get(self.by_id.get(id)?).map(|topic| &**topic)
    }

    /// The topic with this name.
    pub fn topic_named(&self, name: &str) -> Option<&TopicState> {
        self.topic_like(name).filter(|topic| &*topic.name == name)
    }

    /// The topic of this name, or of one that is too similar for both to exist.
    pub fn topic_like(&self, name: &str) -> Option<&TopicState> {
        let name = TopicName::new(name).ok()?;
        self.topics.get(self.by_name.get(&folded(&name))?).map(|topic| &**topic)
    }

    /// A partition, by the id of its topic and its number.
    pub fn partition(&self, id: &TopicId, partition: u32) -> Option<&PartitionState> {
        self.topic(id)?.partitions.get(partition as usize)
    }

    /// The state of a partition; `None` if it does not exist.
    pub fn of(&self, partition: PartitionId) -> Option<&PartitionState> {
        self.partition(&partition.topic, partition.number)
    }

    /// The lowest slot that was never used. Slots of deleted topics do not return.
    pub fn next_slot(&self) -> u32 {
        self.next_slot
    }

    /// The lowest slot that a new partition may have. One slot is left free for a manifest file that is numbered before
    /// the partition is named.
    pub fn free_slot(&self) -> u32 {
        self.next_slot.saturating_add(u32::from(self.own.is_none()))
    }

    /// What the file says about itself; files of the first release say nothing.
    pub(super) fn own(&self) -> Option<OwnMark> {
        self.own
    }

    /// What a new file with this state must say about itself; `None` if no slot is left for it.
    pub(super) fn next_own(&self) -> Option<OwnMark> {
        let (before, slot) = match self.own {
            Some(own) => (own.number, own.slot),
            None => (0, self.next_slot),
        };
        // A slot ends where the next one begins, so the last number is none.
        let number = before.checked_add(1).filter(|_| slot != u32::MAX)?;
        Some(OwnMark { number, slot, said: 0 })
    }

    pub(super) fn set_own(&mut self, own: Option<OwnMark>) {
        self.own = own;
        self.next_slot = self.next_slot.max(own.map_or(0, |own| own.slot.saturating_add(1)));
    }

    /// Limits how many partitions the entries to come may make in all, deleted topics included: a partition takes few bytes
    /// in the file, and many in memory.
    pub(super) fn limit_made(&mut self, max: Option<u64>) {
        self.made_max = max;
    }

    /// How many partitions the entries have made, deleted ones included.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// The file says that a durable mark covers its first `said` bytes.
    pub(super) fn know_said(&mut self, said: u64) {
        if let Some(own) = &mut self.own {
            own.said = own.said.max(said);
        }
    }

    fn number(&mut self, number: u64, slot: u32) -> Result<(), String> {
        if self.own.is_some() {
            return Err("the file is numbered a second time".into());
        }
        let is_taken = self.topics().flat_map(|topic| &topic.partitions).any(|p| p.slot == slot);
        if is_taken || slot == u32::MAX {
            return Err(format!("slot {slot} is not the manifest's"));
        }
        self.set_own(Some(OwnMark { number, slot, said: 0 }));
        Ok(())
    }

    /// Applies an entry, or says why it makes no sense here and changes nothing.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::TopicCreated { id, name, internal, partitions, first_slot, config } => {
                self.create_topic(id, name, *internal, *partitions, *first_slot, config)?;
            }
            Entry::TopicConfigured { id, config } => self.topic_mut(id)?.config = config.clone(),
            Entry::PartitionsAdded { id, count, first_slot } => {
                self.add_partitions(id, *count, *first_slot)?
            }
            Entry::TopicDeleted { id } => self.delete_topic(id)?,
            Entry::LogStart { id, partition, offset } => {
                let partition = self.partition_mut(id, *partition)?;
                partition.log_start = *offset;
                partition.forget_lives();
            }
            Entry::ProducersAtStart { id, partition, base, checksum } => {
                let (base, checksum) = (*base, *checksum);
                self.partition_mut(id, *partition)?.producers_at_start =
                    Some(ProducersAtStart { base, checksum });
            }
            Entry::Cleaned { id, partition, offset } => {
                self.partition_mut(id, *partition)?.cleaned = *offset;
            }
            Entry::SegmentCreated { id, partition, base } => {
                self.partition_mut(id, *partition)?.create_segment(*base)?;
            }
            Entry::SegmentSealed { id, partition, base, sealed } => {
                self.partition_mut(id, *partition)?.seal_segment(*base, *sealed)?;
            }
            Entry::SegmentsRemoved { id, partition, below } => {
                self.partition_mut(id, *partition)?.remove_segments(*below);
            }
            Entry::SegmentsReplaced { id, partition, from, to, with } => {
                self.partition_mut(id, *partition)?.replace_segments(*from, *to, with)?;
            }
            Entry::Truncated { id, partition, next_offset } => {
                self.partition_mut(id, *partition)?.truncate(*next_offset);
            }
            Entry::Incarnation { id, partition, number, first_offset } => {
                self.partition_mut(id, *partition)?.begin_incarnation(*number, *first_offset)?;
            }
            Entry::Opened { epoch } => self.open(*epoch),
            Entry::Closed { partitions } => self.close(partitions)?,
            Entry::Adopted { id, partition, adopted } => {
                self.partition_mut(id, *partition)?.adopt(*adopted)?;
            }
            Entry::SlotsUsed { next } => self.next_slot = self.next_slot.max(*next),
            Entry::Numbered { number, slot } => self.number(*number, *slot)?,
            Entry::MarksDurable { .. } if self.own.is_none() => {
                return Err("the file has no number, and the marks know nothing of it".into());
            }
            Entry::MarksDurable { said } => self.know_said(*said),
        }
        if self.life == Life::New {
            self.life = Life::Open;
        }
        Ok(())
    }

    fn create_topic(
        &mut self,
        id: &TopicId,
        name: &TopicName,
        internal: bool,
        partitions: u32,
        first_slot: u32,
        config: &[(String, String)],
    ) -> Result<(), String> {
        if self.by_id.contains_key(id) {
            return Err(format!("topic {id} is created a second time"));
        }
        if let Some(other) = self.by_name.get(&folded(name)).and_then(|turn| self.topics.get(turn)) {
            return Err(format!("a second topic is named '{name}', beside '{}'", other.name));
        }
        if partitions == 0 {
            return Err(format!("topic '{name}' has no partitions"));
        }
        let partitions = self.take_slots(first_slot, partitions)?;
        let (name, config) = (name.clone(), config.to_vec());
        self.by_id.insert(*id, self.next_turn);
        self.by_name.insert(folded(&name), self.next_turn);
        let topic = TopicState { id: *id, name, internal, partitions, config };
        self.topics.insert(self.next_turn, Arc::new(topic));
        self.next_turn += 1;
        Ok(())
    }

    fn add_partitions(&mut self, id: &TopicId, count: u32, first_slot: u32) -> Result<(), String> {
        let present = self.topic_mut(id)?.partitions.len();
        let added = (count as usize).checked_sub(present).and_then(|added| u32::try_from(added).ok());
        let added = added
            .filter(|added| *added > 0)
            .ok_or_else(|| format!("topic {id} goes from {present} partitions to {count}"))?;
        let added = self.take_slots(first_slot, added)?;
        self.topic_mut(id)?.partitions.extend(added);
        Ok(())
    }

    /// New partitions with the slots from `first_slot` on.
    fn take_slots(&mut self, first_slot: u32, count: u32) -> Result<Vec<PartitionState>, String> {
        if first_slot < self.next_slot {
            return Err(format!("slot {first_slot} was used before, {} is free", self.next_slot));
        }
        let total = self.partitions.saturating_add(count as usize);
        if total > PARTITIONS_MAX {
            return Err(format!("{total} partitions are more than the {PARTITIONS_MAX} that a log may have"));
        }
        let end =
            first_slot.checked_add(count).ok_or_else(|| format!("{count} slots from {first_slot} on"))?;
        let made = self.made.saturating_add(u64::from(count));
        if let Some(max) = self.made_max.filter(|max| made > *max) {
            return Err(format!(
                "{made} partitions, of which the file has no room to say more than of {max}"
            ));
        }
        self.made = made;
        self.next_slot = end;
        self.partitions = total;
        Ok((first_slot..end).map(|slot| PartitionState { slot, ..PartitionState::default() }).collect())
    }

    fn delete_topic(&mut self, id: &TopicId) -> Result<(), String> {
        let turn = self.by_id.remove(id).ok_or_else(|| format!("there is no topic {id}"))?;
        if let Some(topic) = self.topics.remove(&turn) {
            self.by_name.remove(&folded(&topic.name));
            self.partitions -= topic.partitions.len();
        }
        Ok(())
    }

    fn open(&mut self, epoch: u64) {
        self.opened = epoch;
        self.life = Life::Open;
        for (id, partition) in std::mem::take(&mut self.closed) {
            if let Ok(partition) = self.partition_mut(&id, partition) {
                partition.closed = None;
            }
        }
    }

    fn close(&mut self, partitions: &[(TopicId, u32, PartitionClosed)]) -> Result<(), String> {
        for (id, partition, _) in partitions {
            self.partition_mut(id, *partition)?;
        }
        for (id, partition, closed) in partitions {
            self.partition_mut(id, *partition)?.closed = Some(*closed);
            self.closed.push((*id, *partition));
        }
        self.life = Life::Closed;
        Ok(())
    }

    fn topic_mut(&mut self, id: &TopicId) -> Result<&mut TopicState, String> {
        let topic = self.by_id.get(id).and_then(|turn| self.topics.get_mut(turn));
        topic.map(Arc::make_mut).ok_or_else(|| format!("there is no topic {id}"))
    }

    fn partition_mut(&mut self, id: &TopicId, partition: u32) -> Result<&mut PartitionState, String> {
        let partitions = &mut self.topic_mut(id)?.partitions;
        let count = partitions.len();
        let unknown = || format!("topic {id} has {count} partitions, and none numbered {partition}");
        partitions.get_mut(partition as usize).ok_or_else(unknown)
    }

    /// Entries from which an empty state becomes this one. What the file says about itself is not among them.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.opened != 0 {
            entries.push(Entry::Opened { epoch: self.opened });
        }
        // Slots were taken in ascending order, so their order is the order in which things were created.
        let mut runs: Vec<_> = self.topics().flat_map(TopicState::slot_runs).collect();
        runs.sort_by_key(|(slot, _)| *slot);
        entries.extend(runs.into_iter().map(|(_, entry)| entry));
        entries.push(Entry::SlotsUsed { next: self.next_slot });
        for topic in self.topics() {
            for (number, partition) in (0..).zip(&topic.partitions) {
                partition.entries(PartitionId { topic: topic.id, number }, &mut entries);
            }
        }
        if self.life == Life::Closed {
            let closed: Vec<_> = self
                .topics()
                .flat_map(|topic| {
                    let numbered = (0..).zip(&topic.partitions);
                    numbered.filter_map(|(number, p)| Some((topic.id, number, p.closed?)))
                })
                .collect();
            let lists = closed.chunks(LIST_MAX).map(<[_]>::to_vec);
            entries.extend(lists.map(|partitions| Entry::Closed { partitions }));
            if closed.is_empty() {
                entries.push(Entry::Closed { partitions: closed });
            }
        }
        entries
    }
}

impl TopicState {
    /// The entries that create the topic's partitions: one for each run of consecutive slots, with its first slot.
    fn slot_runs(&self) -> Vec<(u32, Entry)> {
        let mut runs = Vec::new();
        let mut start = 0;
        for run in self.partitions.chunk_by(|a, b| a.slot.checked_add(1) == Some(b.slot)) {
            let first_slot = run.first().map_or(0, |partition| partition.slot);
            let count = start + run.len() as u32;
            runs.push((
                first_slot,
                match start {
                    0 => Entry::TopicCreated {
                        id: self.id,
                        name: self.name.clone(),
                        internal: self.internal,
                        partitions: count,
                        first_slot,
                        config: self.config.clone(),
                    },
                    _ => Entry::PartitionsAdded { id: self.id, count, first_slot },
                },
            ));
            start = count;
        }
        runs
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(super) mod tests;
