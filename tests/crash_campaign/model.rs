//! What a log must be, said as plainly as can be: lists of records, and how much of them was promised.
//!
//! The model knows nothing of files. A call either returned, and then its effect is certain, or was under way when the
//! machine died, and then the state lies between the model before and the model after it.

use crate::workload::{Change, Op, TABLE};
use std::{collections::BTreeMap, sync::Arc};
use streamlog::{Durability, admin::TopicId};

#[derive(Clone, Debug, PartialEq)]
pub struct Rec {
    pub key: Option<Vec<u8>>,
    /// None in a tombstone.
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub base: u64,
    pub records: Arc<Vec<Rec>>,
    /// The life of the partition that it was appended in.
    pub life: u32,
}

impl Batch {
    pub fn end(&self) -> u64 {
        self.base + self.records.len() as u64
    }
}

#[derive(Clone, Debug, Default)]
pub struct Part {
    pub batches: Vec<Batch>,
    /// The first offset that can be read.
    pub start: u64,
    /// Everything below survives a power cut.
    pub power: u64,
    /// Everything below survives the process.
    pub kill: u64,
    /// What the group has committed. The data below is durable.
    pub committed: Option<u64>,
    /// Where the group's consumer is; it does not survive.
    pub position: Option<u64>,
    /// What was purged, or was about to be.
    pub purges: Vec<Purge>,
}

/// A key that is removed below an offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Purge {
    pub key: Vec<u8>,
    pub below: u64,
    /// Whether the call has returned.
    pub is_done: bool,
}

impl Part {
    pub fn end(&self) -> u64 {
        self.batches.last().map_or(0, Batch::end)
    }

    fn commit(&mut self, offset: u64) {
        self.committed = Some(offset);
        self.power = self.power.max(offset);
    }

    pub fn batch_at(&self, offset: u64) -> Option<&Batch> {
        let i = self.batches.partition_point(|b| b.end() <= offset);
        self.batches.get(i).filter(|b| b.base <= offset)
    }

    pub fn record(&self, offset: u64) -> Option<&Rec> {
        let batch = self.batch_at(offset)?;
        batch.records.get((offset - batch.base) as usize)
    }

    /// Whether compaction may have removed a record of a table that ends at `end`: a newer one has its key, or it is a
    /// tombstone, or its key was purged.
    pub fn may_be_gone(&self, offset: u64, end: u64) -> bool {
        let Some(record) = self.record(offset) else { return false };
        let mut newer = (offset + 1..end).filter_map(|offset| self.record(offset));
        record.value.is_none()
            || newer.any(|newer| newer.key == record.key)
            || self.purges_of(offset).next().is_some()
    }

    /// Whether a purge of its key has returned.
    pub fn was_purged(&self, offset: u64) -> bool {
        self.purges_of(offset).any(|purge| purge.is_done)
    }

    fn purges_of(&self, offset: u64) -> impl Iterator<Item = &Purge> {
        let key = self.record(offset).and_then(|record| record.key.as_deref());
        self.purges.iter().filter(move |purge| offset < purge.below && Some(&*purge.key) == key)
    }

    /// What is certain of purges where this one may have been under way.
    pub fn purges_after(&self, before: Option<&Part>) -> Vec<Purge> {
        let mut purges = self.purges.clone();
        for purge in &mut purges {
            purge.is_done &= before.is_some_and(|before| before.purges.contains(purge));
        }
        purges
    }

    /// Whether the newest record of a key that came after this one deleted it.
    pub fn is_a_deleted_key(&self, offset: u64, end: u64) -> bool {
        let Some(record) = self.record(offset) else { return false };
        let mut newer = (offset + 1..end).filter_map(|offset| self.record(offset));
        newer.rfind(|newer| newer.key == record.key).is_some_and(|newest| newest.value.is_none())
    }

    pub fn is_boundary(&self, offset: u64) -> bool {
        offset == 0 || self.batches.iter().any(|b| b.end() == offset)
    }
}

#[derive(Clone, Debug)]
pub struct TopicModel {
    /// Not known while its creation is under way.
    pub id: Option<TopicId>,
    pub durability: Durability,
    /// What is set, by Kafka's keys.
    pub settings: BTreeMap<String, String>,
    /// Whether segments may go by themselves.
    pub retention: bool,
    pub parts: Vec<Part>,
}

impl TopicModel {
    /// The same after retention, where there is one, has gone up to the end.
    pub fn retaining_less(&self) -> TopicModel {
        let mut topic = self.clone();
        topic.parts.iter_mut().filter(|_| self.retention).for_each(|part| part.start = part.end());
        topic
    }
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub topics: BTreeMap<&'static str, TopicModel>,
    /// Makes every record another one.
    pub serial: u64,
}

impl TopicModel {
    fn set(&mut self, op: &Op) {
        for (key, value) in op.settings() {
            match value {
                Some(value) => self.settings.insert(key.into(), value),
                None => self.settings.remove(key),
            };
        }
    }
}

/// Milliseconds at which simulated time begins.
const EPOCH: i64 = 1_700_000_000_000;

impl Model {
    /// The records that an append will write.
    pub fn records(&self, topic: &str, count: u32, size: u32) -> Vec<Rec> {
        let make = |i: u64| {
            let serial = self.serial + i;
            let mut value = format!("{topic}/{serial:06}/").into_bytes();
            value.resize(value.len() + size as usize, b'a' + (serial % 26) as u8);
            let is_table = topic == TABLE;
            let key =
                (is_table || !serial.is_multiple_of(3)).then(|| format!("k{}", serial % 5).into_bytes());
            let value = (!is_table || !serial.is_multiple_of(4)).then_some(value);
            Rec { key, value, timestamp: EPOCH + serial as i64 * 10 }
        };
        (0..u64::from(count)).map(make).collect()
    }

    pub fn part(&self, topic: &str, partition: u32) -> Option<&Part> {
        self.topics.get(topic)?.parts.get(partition as usize)
    }

    pub fn part_mut(&mut self, topic: &str, partition: u32) -> Option<&mut Part> {
        self.topics.get_mut(topic)?.parts.get_mut(partition as usize)
    }

    /// Where a call was to end retention and did not come to its end, retention goes on.
    pub fn retain_as_before(&mut self, before: &Model) {
        for (name, topic) in &before.topics {
            if let Some(after) = self.topics.get_mut(name) {
                after.retention |= topic.retention;
            }
        }
    }

    /// Retention, where there is one, may go up to the end.
    pub fn may_retain_less(&mut self) {
        self.topics.values_mut().for_each(|topic| *topic = topic.retaining_less());
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.topics.values_mut().flat_map(|t| &mut t.parts)
    }

    /// Appends a batch. One that is not acknowledged is there, and promises nothing.
    pub fn append(&mut self, topic: &str, partition: u32, count: u32, size: u32, acknowledged: bool) {
        let records = Arc::new(self.records(topic, count, size));
        self.serial += u64::from(count);
        let Some(found) = self.topics.get_mut(topic) else { return };
        let durability = found.durability;
        let Some(part) = found.parts.get_mut(partition as usize) else { return };
        part.batches.push(Batch { base: part.end(), records, life: 0 });
        if acknowledged {
            part.kill = part.end();
            if durability == Durability::Flushed {
                part.power = part.end();
            }
        }
    }

    /// The model after `op` has succeeded. Where only the log knows (the start after retention, ids, lives), the one
    /// who ran it fills it in; until then the start may be anything up to the end.
    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::Create { topic, durability, partitions, retention, .. } => {
                let parts = vec![Part::default(); partitions as usize];
                let settings = BTreeMap::new();
                let made = TopicModel { id: None, durability, settings, retention, parts };
                self.topics.entry(topic).or_insert(made).set(op);
            }
            Op::Append { .. } | Op::SendAcross { .. } | Op::Follow { .. } => {
                for (topic, partition, count, size) in op.appends() {
                    self.append(topic, partition, count, size, true);
                }
            }
            Op::Flush { topic, partition } => {
                if let Some(part) = self.part_mut(topic, partition) {
                    part.power = part.end();
                }
            }
            Op::AdvanceStart { topic, partition, .. } => {
                let target = op.start_target(self);
                if let Some(part) = self.part_mut(topic, partition) {
                    part.start = part.start.max(target);
                    part.power = part.power.max(target);
                }
            }
            // Where a poll gets to is seen when it is made.
            Op::Maintain { .. } | Op::Poll | Op::Compact => {}
            Op::Purge { key } => {
                for part in self.topics.get_mut(TABLE).iter_mut().flat_map(|topic| &mut topic.parts) {
                    // It seals what is there, durably.
                    part.power = part.end();
                    let key = format!("k{key}").into_bytes();
                    part.purges.push(Purge { key, below: part.end(), is_done: true });
                }
            }
            Op::Commit => {
                for part in self.parts_mut() {
                    if let Some(position) = part.position {
                        part.commit(position);
                    }
                }
            }
            Op::CommitAt { topic, partition, .. } | Op::Reset { topic, partition, .. } => {
                let target = op.commit_target(self);
                if let Some(part) = self.part_mut(topic, partition) {
                    part.commit(target);
                }
            }
            Op::Resume { .. } => self.parts_mut().for_each(|p| p.position = None),
            Op::Delete { topic } => drop(self.topics.remove(topic)),
            Op::Reopen => {
                for part in self.parts_mut() {
                    part.power = part.end();
                    part.position = None;
                }
            }
            Op::Forget => self.parts_mut().for_each(|p| (p.committed, p.position) = (None, None)),
            Op::Alter { topic, ref change } => {
                if let Some(topic) = self.topics.get_mut(topic) {
                    topic.set(op);
                    match *change {
                        Change::Durability(durability) => topic.durability = durability,
                        Change::Retention(on) => topic.retention = on,
                        _ => {}
                    }
                    topic.parts.iter_mut().for_each(|p| p.power = p.end());
                }
            }
            Op::AddPartitions { topic, count } => {
                if let Some(topic) = self.topics.get_mut(topic) {
                    let more = topic.parts.len().max(count as usize);
                    topic.parts.resize(more, Part::default());
                }
            }
        }
    }
}
