//! A log that is worked on, and the model beside it: how each call is made.

use crate::consume::{GROUP, Reader};
use crate::model::{Model, Rec};
use crate::workload::{Change, DIR, How, Op, Rng, TABLE};
use std::{sync::Arc, sync::Mutex, time::Duration};
use streamlog::{
    Durability, Error, ErrorKind, Offset, Partition, Producer, ProducerRecord, RecordData, Streamlog,
    Timestamp, TopicConfig, TopicPartition,
    admin::{Compact, GroupReset, RecoveryVerdict, ResetTo},
    clients::AutoOffsetReset,
    config::{Builder, Compression, ConfigChange},
    sim::SimEnv,
};

/// What a watcher saw of a partition: at this operation, readers could go so far.
pub type Seen = Arc<Mutex<Vec<(u64, &'static str, u32, u64)>>>;

type Watched = (&'static str, u32, Partition);

/// A log that is worked on, and the model beside it.
pub struct Session {
    pub env: SimEnv,
    pub log: Option<Streamlog>,
    pub model: Model,
    pub background: bool,
    watched: Arc<Mutex<Vec<Watched>>>,
    producer: Option<Producer>,
    /// The group's only consumer, when there is one.
    reader: Option<Reader>,
}

/// A record as `Partition::append` takes it.
pub fn data_of(r: &Rec) -> RecordData<'_> {
    let data = match (&r.key, &r.value) {
        (Some(key), None) => RecordData::tombstone(key),
        (Some(key), Some(value)) => RecordData::new(value).key(key),
        (None, value) => RecordData::new(value.as_deref().unwrap_or_default()),
    };
    data.timestamp(Timestamp::from_millis(r.timestamp))
}

fn record_of<'a>(topic: &'a str, partition: u32, r: &'a Rec) -> ProducerRecord<'a> {
    let record = match (&r.key, &r.value) {
        (Some(key), None) => ProducerRecord::tombstone(topic, key),
        (_, value) => ProducerRecord::new(topic, value.as_deref().unwrap_or_default()),
    };
    let record = record.partition(partition);
    let record = record.timestamp(Timestamp::from_millis(r.timestamp));
    match &r.key {
        Some(key) => record.key(key),
        None => record,
    }
}

pub fn open(env: &SimEnv, background: bool) -> Result<Streamlog, Error> {
    // A few commits get their sidecar renewed, and their log written again.
    let log = Builder::env(env, DIR).background_thread(background).offsets_upkeep(640, 300, 500).open()?;
    // What the others go on with is claimed elsewhere; here an opening that lacks a partition is one that failed.
    let found = log.recovery_report().partitions.iter();
    let mut lacks = found.filter(|found| matches!(found.verdict, RecoveryVerdict::NotOpened { .. }));
    let Some(lacks) = lacks.next() else { return Ok(log) };
    let why = log.health().refusing.into_iter().find(|(partition, _)| *partition == lacks.partition);
    Err(why.expect("what was not opened refuses").1)
}

impl Session {
    pub fn start(env: SimEnv, model: Model, background: bool) -> Result<Session, Error> {
        let log = Some(open(&env, background)?);
        let watched = Arc::default();
        Ok(Session { env, log, model, background, watched, producer: None, reader: None })
    }

    /// Goes on with a log that was opened again and holds what `model` says.
    pub fn start_with(env: SimEnv, log: Streamlog, mut model: Model, serial: u64) -> Session {
        model.serial = serial;
        let (log, watched) = (Some(log), Arc::default());
        let mut session =
            Session { env, log, model, background: false, watched, producer: None, reader: None };
        // What looked at it may have polled, and a poll removes what is over age. All else that is wrong shows later.
        session.learn(&Op::Maintain { after_secs: 0 }).ok();
        session
    }

    /// Notes from now on how far readers could go at each operation, in topics where that is a promise.
    pub fn watch(&self) -> Seen {
        let seen = Seen::default();
        let (into, watched) = (Arc::clone(&seen), Arc::clone(&self.watched));
        self.env.watch(move |operation| {
            for (topic, number, partition) in watched.lock().unwrap().iter() {
                let end = partition.high_watermark().value();
                into.lock().unwrap().push((operation, topic, *number, end));
            }
        });
        seen
    }

    fn rewatch(&self) {
        let mut watched = self.watched.lock().unwrap();
        watched.clear();
        let Some(log) = &self.log else { return };
        for (name, topic) in &self.model.topics {
            if topic.durability == Durability::Flushed
                && let Ok(found) = log.topic(name)
            {
                watched.extend((0u32..).zip(found.partitions()).map(|(n, p)| (*name, n, p)));
            }
        }
    }

    /// `Wakeup`, which nothing here gives otherwise, where no log is open.
    fn log(&self) -> Result<&Streamlog, Error> {
        self.log.as_ref().ok_or(Error::Wakeup)
    }

    pub fn partition(&self, topic: &str, partition: u32) -> Result<Partition, Error> {
        self.log()?.topic(topic)?.partition(partition)
    }

    /// Makes a call. On success the model follows; a refusal that breaks a promise is the inner error.
    pub fn run(&mut self, op: &Op) -> Result<Result<(), String>, Error> {
        if let Op::Alter { change: Change::Durability(durability), .. } = op
            && *durability != Durability::Flushed
        {
            self.watched.lock().unwrap().clear();
        }
        let checked = self.call(op)?;
        if checked.is_err() {
            return Ok(checked);
        }
        self.model.apply(op);
        let learned = self.learn(op);
        self.rewatch();
        Ok(learned)
    }

    fn call(&mut self, op: &Op) -> Result<Result<(), String>, Error> {
        match *op {
            Op::Create { topic, partitions, .. } => {
                let set = op.settings().into_iter().filter_map(|(key, value)| Some((key, value?)));
                let config = TopicConfig::from_kafka_properties(set)?.partitions(partitions);
                self.log()?.create_topic(topic, config)?;
            }
            Op::Append { topic, partition, .. } => {
                let expected = self.model.part(topic, partition).map_or(0, |p| p.end());
                let (start, end, count) = self.append(op)?;
                if start.value() != expected || end.value() != expected + count {
                    return Ok(Err(format!("appended at {start}..{end}, expected {expected} (I2)")));
                }
            }
            Op::Poll => {
                let log = self.log.as_ref().ok_or(Error::Wakeup)?;
                let reader = match &mut self.reader {
                    Some(reader) => reader,
                    None => self.reader.insert(Reader::new(log)?),
                };
                return reader.poll(&mut self.model, Some(&self.env));
            }
            Op::Commit => {
                if let Some(reader) = &mut self.reader {
                    reader.consumer.commit_sync()?;
                }
            }
            Op::CommitAt { topic, partition, .. } => {
                let target = op.commit_target(&self.model);
                let end = self.model.part(topic, partition).map_or(0, |p| p.end());
                let log = self.log.as_ref().ok_or(Error::Wakeup)?;
                let reader = match &mut self.reader {
                    Some(reader) => reader,
                    None => self.reader.insert(Reader::new(log)?),
                };
                reader.commit(topic, partition, target)?;
                match reader.commit(topic, partition, end + 1) {
                    Err(e) if e.kind() == ErrorKind::OffsetOutOfRange => {}
                    other => return Ok(Err(format!("a commit beyond the end: {other:?} (I9)"))),
                }
            }
            Op::Resume { close } => {
                if let Some(reader) = self.reader.take()
                    && close
                {
                    reader.consumer.close()?;
                }
            }
            Op::Flush { topic, partition } => self.partition(topic, partition)?.flush()?,
            Op::AdvanceStart { topic, partition, .. } => {
                let target = op.start_target(&self.model);
                self.log()?.delete_records(topic, partition, target)?;
            }
            Op::Maintain { after_secs } => {
                self.env.advance(Duration::from_secs(after_secs));
                self.log()?.maintain()?;
            }
            Op::Delete { topic } => self.log()?.delete_topic(topic)?,
            Op::Reopen => {
                self.watched.lock().unwrap().clear();
                self.reader = None;
                if let Some(log) = self.log.take() {
                    log.close()?;
                }
                self.producer = None;
                self.log = Some(open(&self.env, self.background)?);
                // A full medium may have kept what a recovery found from being written down.
                let without_a_fault = self.env.struck() == 0;
                // What an interrupted roll left without a name goes aside when it is seen, which is told, and is all.
                let report = self.log()?.recovery_report();
                let nothing_else = report.partitions.iter().all(|p| {
                    p.verdict == RecoveryVerdict::Whole && p.bytes_read == 0 && !p.quarantined.is_empty()
                });
                if without_a_fault && !report.was_clean && !nothing_else {
                    return Ok(Err(format!("a closed log was recovered: {report:?}")));
                }
            }
            Op::Forget => {
                self.reader = None;
                let mut parts = self.model.topics.values().flat_map(|t| &t.parts);
                match self.log()?.delete_group(GROUP) {
                    Err(e) if e.kind() == ErrorKind::UnknownGroup => {
                        if parts.any(|p| p.committed.is_some()) {
                            return Ok(Err(format!("{e} (I9)")));
                        }
                    }
                    other => other?,
                }
            }
            Op::Reset { topic, partition, .. } => {
                let target = op.commit_target(&self.model);
                let to = ResetTo::Offset(Offset::new(target));
                let reset = GroupReset::to(to).partition(TopicPartition::new(topic, partition));
                let now = self.log()?.reset_group_offsets(GROUP, &reset)?;
                if now.values().map(|offset| offset.value()).ne([target]) {
                    return Ok(Err(format!("reset to {target}, and the group is at {now:?} (I9)")));
                }
            }
            Op::Compact => drop(self.log()?.compact_now(TABLE, Compact::new())?),
            Op::Purge { key } => match self.log()?.purge_key(TABLE, format!("k{key}")) {
                // The log itself is purged.
                Err(Error::NotPurged { path, .. }) if path.to_string_lossy().contains(".aside") => {}
                purged => drop(purged?),
            },
            Op::Follow { topic, partition, size } => return self.follow(topic, partition, size),
            Op::SendAcross { ref parts } => return self.send_across(parts),
            Op::Alter { topic, ref change } => {
                let change_of = |(key, value)| match value {
                    Some(value) => ConfigChange::set(key, value),
                    None => ConfigChange::unset(key),
                };
                let changes: Vec<_> = change.settings().into_iter().map(change_of).collect();
                self.log()?.alter_topic(topic, &changes)?;
                if let Change::MaxMessageBytes(Some(max)) = change {
                    return self.too_large(topic, *max);
                }
            }
            Op::AddPartitions { topic, count } => {
                let added = self.log()?.add_partitions(topic, count)?;
                if added.now != count {
                    return Ok(Err(format!("added {added:?}")));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Appends a batch, one way or another. Returns the offsets it got, and how many there should be.
    fn append(&mut self, op: &Op) -> Result<(Offset, Offset, u64), Error> {
        let Op::Append { topic, partition, count, size, how } = *op else { return Ok(Default::default()) };
        let records = self.model.records(topic, count, size);
        if how == How::Partition {
            let data: Vec<RecordData<'_>> = records.iter().map(data_of).collect();
            let offsets = self.partition(topic, partition)?.append(&data)?;
            return Ok((offsets.start, offsets.end, count.into()));
        }
        let producer = self.producer()?;
        let mut records = records.iter().map(|r| record_of(topic, partition, r));
        let sent = match how {
            How::Enqueue => {
                let deliveries = records.map(|r| producer.enqueue(r)).collect::<Result<Vec<_>, _>>()?;
                producer.flush()?;
                deliveries.iter().map(|d| d.wait()).collect::<Result<Vec<_>, _>>()?
            }
            How::Send => vec![records.next_back().map_or(Err(Error::Wakeup), |r| producer.send(r))?],
            _ => producer.send_batch(&records.collect::<Vec<_>>())?,
        };
        let in_order = sent.windows(2).all(|two| two[0].offset + 1 == two[1].offset);
        let start = sent.first().map_or(Offset::ZERO, |m| m.offset);
        let end = sent.last().map_or(Offset::ZERO, |m| m.offset + 1);
        Ok((start, end, if in_order { count.into() } else { u64::MAX / 2 }))
    }

    /// What comes after a subscription from the latest offset on is read, and nothing else.
    fn follow(
        &mut self,
        topic: &'static str,
        partition: u32,
        size: u32,
    ) -> Result<Result<(), String>, Error> {
        let expected = self.model.part(topic, partition).map_or(0, |p| p.end());
        let latest = self.log()?.consumer_builder_without_group().auto_offset_reset(AutoOffsetReset::Latest);
        let mut tail = latest.build()?;
        tail.subscribe(self.model.topics.keys())?;
        let (start, ..) =
            self.append(&Op::Append { topic, partition, count: 1, size, how: How::Partition })?;
        if start.value() != expected {
            return Ok(Err(format!("appended at {start}, expected {expected} (I2)")));
        }
        let mut seen = Vec::new();
        // A poll may keep to one partition.
        for _ in 0..4 * self.model.topics.len().max(1) {
            let records = tail.poll(Duration::ZERO)?;
            seen.extend(records.iter().map(|r| (r.topic().to_string(), r.partition(), r.offset.value())));
        }
        if seen != [(topic.to_string(), partition, expected)] {
            return Ok(Err(format!("latest, and then offset {expected} came: {seen:?} was polled (I9)")));
        }
        Ok(Ok(()))
    }

    /// What is larger than it may be is refused; nothing makes it smaller.
    fn too_large(&self, topic: &str, max: u64) -> Result<Result<(), String>, Error> {
        let mut rng = Rng(max);
        let noise: Vec<u8> = (0..max).map(|_| rng.next() as u8).collect();
        match self.partition(topic, 0)?.append(&[RecordData::new(&noise).key("k")]) {
            Err(e) if e.kind() == ErrorKind::RecordTooLarge => Ok(Ok(())),
            other => other.map(|offsets| Err(format!("{max} bytes are at {offsets:?}"))),
        }
    }

    fn send_across(&mut self, parts: &[(&'static str, u32, u32, u32)]) -> Result<Result<(), String>, Error> {
        let mut model = self.model.clone();
        let mut records = Vec::new();
        for (i, (topic, partition, count, size)) in parts.iter().enumerate() {
            let base = model.part(topic, *partition).map_or(0, |p| p.end());
            let made = model.records(topic, *count, *size).into_iter();
            records.extend((base..).zip(made).map(|(at, r)| (at - base, i, *topic, *partition, at, r)));
            model.append(topic, *partition, *count, *size, true);
        }
        // In turns.
        records.sort_by_key(|(turn, i, ..)| (*turn, *i));
        let sent = self.producer()?.send_batch(
            &records
                .iter()
                .map(|(_, _, topic, partition, _, r)| record_of(topic, *partition, r))
                .collect::<Vec<_>>(),
        )?;
        let places = sent.iter().map(|m| (m.topic(), m.partition(), m.offset.value()));
        if places.clone().eq(records.iter().map(|(_, _, topic, partition, at, _)| (*topic, *partition, *at)))
        {
            return Ok(Ok(()));
        }
        Ok(Err(format!("sent to {:?} (I2)", places.collect::<Vec<_>>())))
    }

    /// After a call that failed in its middle: the batches that are there all the same, whole and in their places.
    pub fn take_in_parts(&mut self, op: &Op) {
        let Op::SendAcross { parts } = op else { return };
        for (topic, partition, count, size) in parts {
            let expected = self.model.part(topic, *partition).map_or(0, |p| p.end()) + u64::from(*count);
            let end = self.partition(topic, *partition).map(|p| p.log_end_offset().value());
            if end.is_ok_and(|end| end == expected) {
                self.model.append(topic, *partition, *count, *size, false);
            } else {
                self.model.serial += u64::from(*count);
            }
        }
    }

    fn producer(&mut self) -> Result<&Producer, Error> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let builder = self.log()?.producer_builder().linger(Duration::from_secs(3600));
                // A full disk is waited for, and not for long.
                let builder = builder.max_block(Duration::from_secs(1));
                builder.compression(Compression::Lz4).build()?
            }
        };
        Ok(self.producer.insert(producer))
    }

    /// What only the log knows: ids, lives, and the start after retention.
    pub fn learn(&mut self, op: &Op) -> Result<(), String> {
        let Some(log) = &self.log else { return Ok(()) };
        for (name, topic) in &mut self.model.topics {
            let found = log.topic(name).map_err(|e| format!("topic {name} is gone: {e}"))?;
            if topic.id.is_some_and(|id| id != found.id()) {
                return Err(format!("topic {name} has another id (I17)"));
            }
            topic.id = Some(found.id());
            if found.partition_count() as usize != topic.parts.len() {
                return Err(format!("topic {name} has {} partitions", found.partition_count()));
            }
            for (part, partition) in topic.parts.iter_mut().zip(found.partitions()) {
                let (start, end) = (partition.log_start_offset().value(), partition.log_end_offset().value());
                let may_move = topic.retention || matches!(op, Op::AdvanceStart { .. });
                if start < part.start || (start > part.start && !may_move) {
                    return Err(format!("{name}: start {start}, expected {} (I11)", part.start));
                }
                if end != part.end() {
                    return Err(format!("{name}: ends at {end}, expected {} (I14)", part.end()));
                }
                // The start is durable before the first file goes, and with it what lies below.
                if start > part.start {
                    part.power = part.power.max(start);
                }
                part.start = start;
                if let Some(batch) = part.batches.last_mut() {
                    batch.life = partition.incarnation_of(batch.base);
                }
            }
        }
        Ok(())
    }
}
