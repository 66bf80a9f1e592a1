//! The alphabet of calls, how a workload is drawn from a seed, and how a call is made.
//!
//! To add a call: a variant here, its effect in `Model::apply`, how it is made in `Session::call`, and its place in
//! `draw`.

use crate::model::Model;
use std::{sync::Arc, sync::Mutex, time::Duration};
use streamlog::{
    Builder, ConfigChange, Durability, Error, Offset, Partition, RecordData, Streamlog, Timestamp,
    TopicConfig, sim::SimEnv,
};

pub const DIR: &str = "/d";
pub const NAMES: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Create {
        topic: &'static str,
        durability: Durability,
        partitions: u32,
        segment_bytes: u64,
        retention: bool,
    },
    Append {
        topic: &'static str,
        partition: u32,
        count: u32,
        size: u32,
    },
    Flush {
        topic: &'static str,
        partition: u32,
    },
    /// The start goes to so many quarters of what there is.
    AdvanceStart {
        topic: &'static str,
        partition: u32,
        quarters: u64,
    },
    /// Time goes on, and what is due is done.
    Maintain {
        after_secs: u64,
    },
    Delete {
        topic: &'static str,
    },
    /// A clean close, and an opening.
    Reopen,
    Alter {
        topic: &'static str,
        durability: Durability,
    },
    AddPartitions {
        topic: &'static str,
        count: u32,
    },
}

impl Op {
    pub fn start_target(&self, model: &Model) -> u64 {
        match *self {
            Op::AdvanceStart { topic, partition, quarters } => {
                model.part(topic, partition).map_or(0, |p| p.start + (p.end() - p.start) * quarters / 4)
            }
            _ => 0,
        }
    }

    /// Whether the call can succeed on this model; workloads hold only such.
    pub fn fits(&self, model: &Model) -> bool {
        match *self {
            Op::Create { topic, .. } => !model.topics.contains_key(topic),
            Op::Append { topic, partition, .. }
            | Op::Flush { topic, partition }
            | Op::AdvanceStart { topic, partition, .. } => model.part(topic, partition).is_some(),
            Op::Delete { topic } | Op::Alter { topic, .. } => model.topics.contains_key(topic),
            Op::AddPartitions { topic, count } => {
                model.topics.get(topic).is_some_and(|t| t.parts.len() < count as usize)
            }
            Op::Maintain { .. } | Op::Reopen => true,
        }
    }
}

/// SplitMix64.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug)]
pub struct Workload {
    pub name: String,
    pub seed: u64,
    /// Whether there is background work, pumped between calls.
    pub background: bool,
    pub ops: Vec<Op>,
}

fn draw_durability(rng: &mut Rng) -> Durability {
    match rng.below(5) {
        0 | 1 => Durability::Written,
        2 => Durability::Interval(Duration::from_secs(1)),
        _ => Durability::Flushed,
    }
}

fn draw_create(rng: &mut Rng, topic: &'static str) -> Op {
    Op::Create {
        topic,
        durability: draw_durability(rng),
        partitions: 1 + u32::from(rng.one_in(4)),
        segment_bytes: 640 + rng.below(3) * 150,
        retention: rng.one_in(3),
    }
}

/// A workload out of a seed.
pub fn draw(seed: u64) -> Workload {
    let mut rng = Rng(seed);
    let mut model = Model::default();
    let mut ops = Vec::new();
    let count = 3 + rng.below(10) as usize;
    let first = draw_create(&mut rng, "a");
    model.apply(&first);
    ops.push(first);
    while ops.len() < count {
        let topic = if rng.one_in(4) { "b" } else { "a" };
        let partition = u32::from(rng.one_in(5));
        let op = match rng.below(22) {
            0..=9 => {
                let count = if rng.one_in(3) { 1 + rng.below(4) as u32 } else { 1 };
                // Often of one size, so that a batch fits exactly where a lost one was.
                let size =
                    if rng.one_in(2) { 20 } else { rng.below(if count == 1 { 300 } else { 120 }) as u32 };
                Op::Append { topic, partition, count, size }
            }
            10 | 11 => Op::Flush { topic, partition },
            12 | 13 => Op::AdvanceStart { topic, partition, quarters: 1 + rng.below(4) },
            14 | 15 => Op::Maintain { after_secs: [0, 2, 20, 8000][rng.below(4) as usize] },
            16 => Op::Delete { topic },
            17 | 18 => Op::Reopen,
            19 => Op::Alter { topic, durability: draw_durability(&mut rng) },
            20 => Op::AddPartitions { topic, count: 2 },
            _ => draw_create(&mut rng, topic),
        };
        if op.fits(&model) {
            model.apply(&op);
            ops.push(op);
        }
    }
    Workload { name: format!("w{seed}"), seed, background: rng.one_in(4), ops }
}

/// All workloads of at most two calls, on an empty disk and on one with some records.
pub fn exhaustive() -> Vec<Workload> {
    let create = |topic, durability| Op::Create {
        topic,
        durability,
        partitions: 1,
        segment_bytes: 512,
        retention: false,
    };
    let append = |count, size| Op::Append { topic: "a", partition: 0, count, size };
    let bases = [
        vec![],
        vec![create("a", Durability::Flushed), append(2, 60), append(1, 100), append(1, 200)],
        vec![create("a", Durability::Written), append(2, 60), append(1, 100), append(1, 200), append(1, 250)],
        vec![create("a", Durability::Written), append(1, 20), append(1, 20), append(1, 20)],
    ];
    let alphabet = [
        create("a", Durability::Flushed),
        create("b", Durability::Written),
        append(1, 10),
        append(3, 50),
        append(1, 250),
        Op::Flush { topic: "a", partition: 0 },
        Op::AdvanceStart { topic: "a", partition: 0, quarters: 2 },
        Op::AdvanceStart { topic: "a", partition: 0, quarters: 4 },
        Op::Maintain { after_secs: 20 },
        Op::Delete { topic: "a" },
        Op::Reopen,
        Op::Alter { topic: "a", durability: Durability::Flushed },
        Op::Alter { topic: "a", durability: Durability::Written },
        Op::AddPartitions { topic: "a", count: 2 },
    ];
    let mut found = Vec::new();
    for base in &bases {
        for first in &alphabet {
            for second in std::iter::once(None).chain(alphabet.iter().map(Some)) {
                let mut ops = base.clone();
                let mut model = Model::default();
                ops.iter().for_each(|op| model.apply(op));
                let mut all_fit = true;
                for op in [Some(first), second].into_iter().flatten() {
                    all_fit &= op.fits(&model);
                    model.apply(op);
                    ops.push(op.clone());
                }
                if all_fit {
                    let seed = found.len() as u64;
                    found.push(Workload { name: format!("x{seed}"), seed, background: false, ops });
                }
            }
        }
    }
    found
}

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
}

pub fn open(env: &SimEnv, background: bool) -> Result<Streamlog, Error> {
    Builder::env(env, DIR).background_thread(background).open()
}

impl Session {
    pub fn start(env: SimEnv, model: Model, background: bool) -> Result<Session, Error> {
        let log = Some(open(&env, background)?);
        Ok(Session { env, log, model, background, watched: Arc::default() })
    }

    /// Goes on with a log that was opened again and holds what `model` says.
    pub fn start_with(env: SimEnv, log: Streamlog, mut model: Model, serial: u64) -> Session {
        model.serial = serial;
        Session { env, log: Some(log), model, background: false, watched: Arc::default() }
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

    fn log(&self) -> Result<&Streamlog, Error> {
        self.log.as_ref().ok_or(Error::Closed { what: "the log".into() })
    }

    pub fn partition(&self, topic: &str, partition: u32) -> Result<Partition, Error> {
        self.log()?.topic(topic)?.partition(partition)
    }

    /// Makes a call. On success the model follows; a refusal that breaks a promise is the inner error.
    pub fn run(&mut self, op: &Op) -> Result<Result<(), String>, Error> {
        if let Op::Alter { durability, .. } = op
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
            Op::Create { topic, durability, partitions, segment_bytes, retention } => {
                let mut config = TopicConfig::default()
                    .with_partitions(partitions)
                    .durability(durability)
                    .segment_bytes(segment_bytes)
                    .index_interval_bytes(100);
                if retention {
                    config = config.retention_bytes(1000).retention_time(Duration::from_secs(3600));
                }
                self.log()?.create_topic(topic, config)?;
            }
            Op::Append { topic, partition, count, size } => {
                let records = self.model.records(topic, count, size);
                let data: Vec<RecordData<'_>> = records
                    .iter()
                    .map(|r| {
                        let data = RecordData::new(&r.value).timestamp(Timestamp::from_millis(r.timestamp));
                        match &r.key {
                            Some(key) => data.key(key),
                            None => data,
                        }
                    })
                    .collect();
                let expected = self.model.part(topic, partition).map_or(0, |p| p.end());
                let offsets = self.partition(topic, partition)?.append(&data)?;
                if offsets.start != Offset::new(expected)
                    || offsets.end != Offset::new(expected + u64::from(count))
                {
                    return Ok(Err(format!("appended at {offsets:?}, expected {expected} (I2)")));
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
                if let Some(log) = self.log.take() {
                    log.close()?;
                }
                self.log = Some(open(&self.env, self.background)?);
                if !self.log()?.recovery_report().was_clean {
                    return Ok(Err("a closed log was recovered".into()));
                }
            }
            Op::Alter { topic, durability } => {
                let text = match durability {
                    Durability::Flushed => "flushed".to_string(),
                    Durability::Written => "written".to_string(),
                    Durability::Interval(every) => format!("interval:{}", every.as_millis()),
                    other => other.to_string(),
                };
                self.log()?.alter_topic(topic, &[ConfigChange::set("streamlog.durability", text)])?;
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
