//! The consumer of the group, and what its polls must return: the model's records in order, from where the group has
//! committed, and a word about every place that was left. (I9)

use crate::model::{Model, Part};
use crate::workload::TABLE;
use std::{collections::BTreeMap, time::Duration};
use streamlog::{
    Consumer, ConsumerRecords, Error, Offset, Streamlog, TopicPartition,
    admin::CommittedOffset,
    clients::{OffsetReset, ResetReason},
    sim::SimEnv,
};

pub const GROUP: &str = "g";

/// So many records at once, so that a poll ends within batches, too.
const MAX_POLL_RECORDS: usize = 5;

pub struct Reader {
    pub consumer: Consumer,
    topics: Vec<&'static str>,
}

impl Reader {
    pub fn new(log: &Streamlog) -> Result<Reader, Error> {
        let consumer = log.consumer_builder(GROUP).max_poll_records(MAX_POLL_RECORDS).build()?;
        Ok(Reader { consumer, topics: Vec::new() })
    }

    /// Polls once; the model's positions follow. Where an operation was made to fail, a poll may keep the failure of
    /// one partition for the next.
    pub fn poll(&mut self, model: &mut Model, env: Option<&SimEnv>) -> Result<Result<(), String>, Error> {
        // What is gone of a table is looked at where all of it is read.
        let topics: Vec<&'static str> =
            model.topics.keys().copied().filter(|topic| *topic != TABLE).collect();
        if topics != self.topics {
            self.consumer.subscribe(&topics)?;
            self.topics = topics;
        }
        let records = self.consumer.poll(Duration::ZERO)?;
        self.see_what_was_removed(model)?;
        let whole = env.is_none_or(|env| env.struck() == 0);
        Ok(follow(model, &records, whole))
    }

    /// A poll of a log without threads looks at the clock first, and may have moved starts.
    fn see_what_was_removed(&self, model: &mut Model) -> Result<(), Error> {
        for (name, topic) in model.topics.iter_mut().filter(|(_, topic)| topic.retention) {
            for (number, part) in (0u32..).zip(&mut topic.parts) {
                let start = self.consumer.beginning_offsets(&[TopicPartition::new(*name, number)])?;
                let start = start.values().next().map_or(0, |start| start.value());
                if start > part.start {
                    part.power = part.power.max(start);
                    part.start = start;
                }
            }
        }
        Ok(())
    }

    pub fn commit(&mut self, topic: &str, partition: u32, offset: u64) -> Result<(), Error> {
        self.consumer.commit_offsets([(TopicPartition::new(topic, partition), Offset::new(offset))])
    }
}

/// Where a partition is read next, and the resets that were reported and not yet come to.
struct Following<'a> {
    at: u64,
    resets: Vec<&'a OffsetReset>,
}

impl Following<'_> {
    /// Goes where a reset says, when it says so about this place.
    fn reset(&mut self, part: &Part) -> Result<bool, String> {
        let Some(i) = self.resets.iter().position(|r| r.from == Offset::new(self.at)) else {
            return Ok(false);
        };
        let reset = self.resets.remove(i);
        if reset.reason != ResetReason::OutOfRange || self.at >= part.start || reset.to.value() != part.start
        {
            return Err(format!("{reset:?}, and it starts at {} (I9, I11)", part.start));
        }
        self.at = part.start;
        Ok(true)
    }
}

/// Whether a poll returned what it had to, from the model's positions, which follow.
fn follow(model: &mut Model, records: &ConsumerRecords, whole: bool) -> Result<(), String> {
    let mut places = BTreeMap::new();
    for (name, topic) in model.topics.iter().filter(|(name, _)| **name != TABLE) {
        for (number, part) in (0u32..).zip(&topic.parts) {
            let tp = TopicPartition::new(*name, number);
            let about = records.resets().iter().filter(|r| r.partition == tp);
            // What was committed for a topic that is gone says nothing, and may be there until it is forgotten.
            let resets =
                about.filter(|r| r.reason != ResetReason::TopicRecreated || part.committed.is_some());
            let at = part.position.or(part.committed).unwrap_or(part.start);
            places.insert((*name, number), Following { at, resets: resets.collect() });
        }
    }
    for record in records {
        let found = places.iter_mut().find(|((t, p), _)| *t == record.topic() && *p == record.partition());
        let Some(((name, number), place)) = found else {
            return Err(format!("a record of {}-{}", record.topic(), record.partition()));
        };
        let part = model.part(name, *number).ok_or("no part")?;
        if record.offset.value() != place.at && !place.reset(part)? || record.offset.value() != place.at {
            return Err(format!("{name}-{number}: {} was polled, {} due (I9)", record.offset, place.at));
        }
        let expected = part.record(place.at).ok_or_else(|| format!("{name}-{number}: {} (I3)", place.at))?;
        if record.key != expected.key.as_deref() || record.value != expected.value.as_deref() {
            return Err(format!("{name}-{number}: {} was polled with other bytes (I1)", record.offset));
        }
        if record.next_offset.value() != place.at + 1 {
            return Err(format!("{name}-{number}: behind {} comes {}", place.at, record.next_offset));
        }
        place.at += 1;
    }
    for ((name, number), mut place) in places {
        let part = model.part_mut(name, number).ok_or("no part")?;
        place.reset(part)?;
        if let Some(reset) = place.resets.first() {
            return Err(format!("{reset:?}, and the consumer was at {} (I9)", place.at));
        }
        if whole && records.len() < MAX_POLL_RECORDS && place.at != part.end() {
            return Err(format!("{name}-{number}: polled to {} of {}", place.at, part.end()));
        }
        part.position = Some(place.at);
    }
    Ok(())
}

/// What the group has committed, where it may be known.
pub fn committed(log: &Streamlog, model: &Model) -> Result<BTreeMap<(&'static str, u32), u64>, Error> {
    let places = model.topics.iter().flat_map(|(t, m)| (0..m.parts.len() as u32).map(move |p| (*t, p)));
    let places: Vec<(&'static str, u32)> = places.collect();
    let names: Vec<TopicPartition> = places.iter().map(|(t, p)| TopicPartition::new(*t, *p)).collect();
    let found = log.consumer(GROUP)?.committed(&names)?;
    let value = |c: &Option<CommittedOffset>| c.as_ref().map(|c| c.offset.value());
    Ok(places.iter().zip(&names).filter_map(|(p, n)| Some((*p, value(found.get(n)?)?))).collect())
}

/// A consumer that begins now reads everything from where the group has committed.
pub fn read_on(log: &Streamlog, found: &Model) -> Result<(), String> {
    if found.topics.keys().all(|topic| *topic == TABLE) {
        return Ok(());
    }
    let mut model = found.clone();
    let mut reader = Reader::new(log).map_err(|e| format!("a consumer: {e}"))?;
    loop {
        let before: Vec<_> = parts(&model).map(|p| p.position).collect();
        reader.poll(&mut model, None).map_err(|e| format!("polling: {e}"))??;
        if parts(&model).map(|p| p.position).eq(before) {
            break;
        }
    }
    match parts(&model).find(|p| p.position != Some(p.end())) {
        Some(part) => Err(format!("polling ended at {:?} of {} (I1)", part.position, part.end())),
        None => Ok(()),
    }
}

fn parts(model: &Model) -> impl Iterator<Item = &Part> {
    model.topics.iter().filter(|(name, _)| **name != TABLE).flat_map(|(_, t)| &t.parts)
}
