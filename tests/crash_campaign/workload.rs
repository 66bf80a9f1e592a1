//! The alphabet of calls, and how a workload is drawn from a seed.
//!
//! To add a call: a variant here, its effect in `Model::apply`, how it is made in `Session::call`, and its place in
//! `draw_op`.

use crate::model::Model;
use std::{ops::Range, time::Duration};
use streamlog::{Durability, config::Compression};

pub const DIR: &str = "/d";
pub const NAMES: [&str; 2] = ["a", "b"];
/// A topic that is compacted: each of its records has a key, and some are tombstones.
pub const TABLE: &str = "t";

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Create {
        topic: &'static str,
        durability: Durability,
        partitions: u32,
        segment_bytes: u64,
        retention: bool,
        /// The topic's; without one batches are as the producer made them.
        codec: Option<Compression>,
    },
    /// One batch, by one of the ways in.
    Append {
        topic: &'static str,
        partition: u32,
        count: u32,
        size: u32,
        how: How,
    },
    /// One call with records for several partitions, in turns; the part of each is a batch: so many of this size.
    SendAcross {
        parts: Vec<(&'static str, u32, u32, u32)>,
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
        change: Change,
    },
    AddPartitions {
        topic: &'static str,
        count: u32,
    },
    /// The group's consumer, which reads all topics, polls once.
    Poll,
    /// It commits where it is.
    Commit,
    /// It commits so many quarters of a partition.
    CommitAt {
        topic: &'static str,
        partition: u32,
        quarters: u64,
    },
    /// It ends, and the next one goes on from what was committed.
    Resume {
        close: bool,
    },
    /// Its consumer ends, and what the group has committed is forgotten.
    Forget,
    /// An administrator moves what the group has committed to so many quarters of a partition; its consumer goes on.
    Reset {
        topic: &'static str,
        partition: u32,
        quarters: u64,
    },
    /// The table is compacted now.
    Compact,
    /// A key of the table is purged.
    Purge {
        key: u64,
    },
    /// A consumer of no group subscribes from the latest offset on; then one record is appended, and it must get that one.
    Follow {
        topic: &'static str,
        partition: u32,
        size: u32,
    },
}

/// What is altered of a topic, in one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Durability(Durability),
    SegmentBytes(u64),
    /// Two settings at once.
    Retention(bool),
    Codec(Option<Compression>),
    MaxMessageBytes(Option<u64>),
    SegmentTime(Duration),
    /// How many records of a key stay of a table, and whether retention removes from it too.
    Table {
        versions: u64,
        deletes: bool,
    },
}

impl Change {
    /// Kafka's keys and values; without one a key goes back to its default.
    pub fn settings(&self) -> Vec<(&'static str, Option<String>)> {
        match self {
            Change::Durability(durability) => vec![("streamlog.durability", Some(text_of(*durability)))],
            Change::SegmentBytes(bytes) => vec![("segment.bytes", Some(bytes.to_string()))],
            Change::Retention(on) => {
                let value = |text: &str| on.then(|| text.to_string());
                vec![("retention.bytes", value("1000")), ("retention.ms", value("3600000"))]
            }
            Change::Codec(codec) => vec![("compression.type", codec.map(name_of))],
            Change::MaxMessageBytes(bytes) => vec![("max.message.bytes", bytes.map(|b| b.to_string()))],
            Change::SegmentTime(time) => vec![("segment.ms", Some(time.as_millis().to_string()))],
            Change::Table { versions, deletes } => {
                let policy = if *deletes { "compact,delete" } else { "compact" };
                vec![
                    ("streamlog.compaction.versions", Some(versions.to_string())),
                    ("cleanup.policy", Some(policy.to_string())),
                ]
            }
        }
    }
}

fn text_of(durability: Durability) -> String {
    match durability {
        Durability::Flushed => "flushed".to_string(),
        Durability::Written => "written".to_string(),
        Durability::Interval(every) => format!("interval:{}", every.as_millis()),
        other => other.to_string(),
    }
}

fn name_of(codec: Compression) -> String {
    match codec {
        Compression::None => "uncompressed".to_string(),
        other => other.to_string(),
    }
}

/// A way into the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// `Partition::append`.
    Partition,
    /// `Producer::send`, which takes one record.
    Send,
    /// `Producer::send_batch`.
    SendBatch,
    /// `Producer::enqueue`, and a flush.
    Enqueue,
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

    pub fn commit_target(&self, model: &Model) -> u64 {
        match *self {
            Op::CommitAt { topic, partition, quarters } | Op::Reset { topic, partition, quarters } => {
                model.part(topic, partition).map_or(0, |p| p.start + (p.end() - p.start) * quarters / 4)
            }
            _ => 0,
        }
    }

    /// The batches that it appends: topic, partition, count and size.
    pub fn appends(&self) -> Vec<(&'static str, u32, u32, u32)> {
        match self {
            Op::Append { topic, partition, count, size, .. } => vec![(*topic, *partition, *count, *size)],
            Op::Follow { topic, partition, size } => vec![(*topic, *partition, 1, *size)],
            Op::SendAcross { parts } => parts.clone(),
            _ => Vec::new(),
        }
    }

    /// What a topic that it creates or alters has set.
    pub fn settings(&self) -> Vec<(&'static str, Option<String>)> {
        match self {
            Op::Alter { change, .. } => change.settings(),
            Op::Create { topic, durability, segment_bytes, retention, codec, .. } => {
                let mut all = vec![("index.interval.bytes", Some("100".to_string()))];
                all.extend(Change::Durability(*durability).settings());
                all.extend(Change::SegmentBytes(*segment_bytes).settings());
                all.extend(Change::Retention(*retention).settings());
                all.extend(Change::Codec(*codec).settings());
                if *topic == TABLE {
                    let table = [("cleanup.policy", "compact"), ("delete.retention.ms", "0")];
                    all.extend(table.map(|(key, value)| (key, Some(value.to_string()))));
                }
                all
            }
            _ => Vec::new(),
        }
    }

    /// Whether the call, failing for want of room, leaves everything as it was.
    pub fn needs_no_room(&self) -> bool {
        !matches!(
            self,
            Op::Create { .. }
                | Op::Delete { .. }
                | Op::Reopen
                | Op::Alter { .. }
                | Op::AddPartitions { .. }
                | Op::Purge { .. }
        )
    }

    /// Whether the call can succeed on this model; workloads hold only such.
    pub fn fits(&self, model: &Model) -> bool {
        match *self {
            Op::SendAcross { ref parts } => parts.iter().all(|(t, p, ..)| model.part(t, *p).is_some()),
            Op::Create { topic, .. } => !model.topics.contains_key(topic),
            Op::Append { topic, partition, .. }
            | Op::Flush { topic, partition }
            | Op::CommitAt { topic, partition, .. }
            | Op::Reset { topic, partition, .. }
            | Op::Follow { topic, partition, .. }
            | Op::AdvanceStart { topic, partition, .. } => model.part(topic, partition).is_some(),
            Op::Delete { topic } | Op::Alter { topic, .. } => model.topics.contains_key(topic),
            Op::AddPartitions { topic, count } => {
                model.topics.get(topic).is_some_and(|t| t.parts.len() < count as usize)
            }
            Op::Poll => model.topics.keys().any(|topic| *topic != TABLE),
            Op::Compact | Op::Purge { .. } => model.topics.contains_key(TABLE),
            Op::Maintain { .. } | Op::Reopen | Op::Commit | Op::Resume { .. } | Op::Forget => true,
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
    /// When there is little room on the medium.
    pub full: Option<Full>,
    pub ops: Vec<Op>,
}

/// From one call on to before another there is room for so many bytes more.
#[derive(Clone, Debug)]
pub struct Full {
    pub calls: Range<usize>,
    pub room: u64,
}

fn draw_durability(rng: &mut Rng) -> Durability {
    match rng.below(5) {
        0 | 1 => Durability::Written,
        2 => Durability::Interval(Duration::from_secs(1)),
        _ => Durability::Flushed,
    }
}

/// Zstandard, or another codec where it was not compiled, as it is not without being asked for: it takes a C compiler.
const ZSTD: Compression = if cfg!(feature = "zstd") { Compression::Zstd } else { Compression::Gzip };
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, ZSTD];

fn draw_codec(rng: &mut Rng) -> Option<Compression> {
    if rng.one_in(2) { None } else { Some(CODECS[rng.below(5) as usize]) }
}

fn draw_segment_bytes(rng: &mut Rng) -> u64 {
    512 + rng.below(4) * 142
}

fn draw_change(rng: &mut Rng, topic: &str) -> Change {
    if topic == TABLE && rng.one_in(2) {
        return Change::Table { versions: 1 + rng.below(3), deletes: rng.one_in(2) };
    }
    match rng.below(8) {
        0..=2 => Change::Durability(draw_durability(rng)),
        3 => Change::SegmentBytes(draw_segment_bytes(rng)),
        4 => Change::Retention(rng.one_in(2)),
        5 => Change::Codec(draw_codec(rng)),
        // All that is drawn fits; one that does not is tried with the change.
        6 => Change::MaxMessageBytes(if rng.one_in(3) { None } else { Some(500) }),
        _ => Change::SegmentTime(Duration::from_secs(1 + rng.below(2) * 3600)),
    }
}

/// Two to four of the partitions, each once.
fn draw_send_across(rng: &mut Rng) -> Op {
    let mut parts = Vec::new();
    for (topic, partition) in [("a", 0), ("a", 1), ("b", 0), ("b", 1)] {
        let (count, size) = (1 + rng.below(3) as u32, rng.below(80) as u32);
        if rng.below(3) > 0 {
            parts.insert(rng.below(parts.len() as u64 + 1) as usize, (topic, partition, count, size));
        }
    }
    Op::SendAcross { parts }
}

fn draw_create(rng: &mut Rng, topic: &'static str) -> Op {
    Op::Create {
        topic,
        durability: draw_durability(rng),
        partitions: 1 + u32::from(rng.one_in(4)),
        segment_bytes: draw_segment_bytes(rng),
        retention: rng.one_in(3),
        codec: draw_codec(rng),
    }
}

fn draw_append(rng: &mut Rng, topic: &'static str, partition: u32) -> Op {
    let how = match rng.below(8) {
        0 => How::Send,
        1 => How::SendBatch,
        2 | 3 => How::Enqueue,
        _ => How::Partition,
    };
    let count = if how != How::Send && rng.one_in(3) { 1 + rng.below(4) as u32 } else { 1 };
    let most = match how {
        _ if count == 1 => 300,
        // What is enqueued is one batch only where it surely fits.
        How::Enqueue => 30,
        _ => 80,
    };
    // Often of one size, so that a batch fits exactly where a lost one was.
    let size = if rng.one_in(2) { 20 } else { rng.below(most) as u32 };
    Op::Append { topic, partition, count, size, how }
}

fn draw_op(rng: &mut Rng) -> Op {
    let topic = match rng.below(8) {
        0 | 1 => "b",
        2 | 3 => TABLE,
        _ => "a",
    };
    let partition = u32::from(rng.one_in(5));
    match rng.below(45) {
        0..=10 => draw_append(rng, topic, partition),
        11 | 12 => Op::Flush { topic, partition },
        13 | 14 => Op::AdvanceStart { topic, partition, quarters: 1 + rng.below(4) },
        15 | 16 => Op::Maintain { after_secs: [0, 2, 20, 8000][rng.below(4) as usize] },
        17 => Op::Delete { topic },
        18 | 19 => Op::Reopen,
        20 => Op::Alter { topic, change: draw_change(rng, topic) },
        21 => Op::AddPartitions { topic, count: 2 },
        22..=24 => Op::Poll,
        25 | 26 => Op::Commit,
        27 => Op::CommitAt { topic, partition, quarters: rng.below(5) },
        28 => Op::Resume { close: rng.one_in(2) },
        29..=31 => draw_send_across(rng),
        32 | 33 => Op::Alter { topic, change: draw_change(rng, topic) },
        34 => Op::Forget,
        35 => Op::Reset { topic, partition, quarters: rng.below(5) },
        39..=42 => Op::Compact,
        43 | 44 => Op::Purge { key: rng.below(5) },
        36 | 37 => Op::Follow { topic, partition, size: rng.below(300) as u32 },
        _ => draw_create(rng, topic),
    }
}

/// A workload out of a seed.
pub fn draw(seed: u64) -> Workload {
    let mut rng = Rng(seed);
    let mut model = Model::default();
    let mut ops = Vec::new();
    let count = 3 + rng.below(12) as usize;
    let first = if rng.one_in(3) { TABLE } else { "a" };
    let first = draw_create(&mut rng, first);
    model.apply(&first);
    ops.push(first);
    // With many commits their log is written again.
    let commits = rng.one_in(4);
    while ops.len() < count {
        let op = match rng.below(5) {
            0 if commits => {
                let topic = NAMES[rng.below(2) as usize];
                Op::CommitAt { topic, partition: rng.below(2) as u32, quarters: rng.below(5) }
            }
            _ => draw_op(&mut rng),
        };
        if op.fits(&model) {
            // What was read is committed, more often than not.
            let polled = op == Op::Poll && rng.below(3) > 0;
            model.apply(&op);
            ops.push(op);
            ops.extend(polled.then_some(Op::Commit));
        }
    }
    let background = rng.one_in(4);
    let full = rng.one_in(3).then(|| draw_full(&mut rng, &ops)).flatten();
    Workload { name: format!("w{seed}"), seed, background, full, ops }
}

/// Some calls in a row, of those that are done or not done when the medium is full, and nothing between.
fn draw_full(rng: &mut Rng, ops: &[Op]) -> Option<Full> {
    let from = 1 + rng.below(ops.len() as u64 - 1) as usize;
    let until = from + 1 + rng.below(5) as usize;
    let calls = ops[from..ops.len().min(until)].iter().take_while(|op| op.needs_no_room()).count();
    // From nothing to a few batches; a file grows in steps, and what was set aside is there.
    let room = [0, 100, 600, 70_000, 200_000][rng.below(5) as usize];
    (calls > 0).then_some(Full { calls: from..from + calls, room })
}

/// All workloads of at most two calls, on an empty disk and on one with some records.
pub fn exhaustive() -> Vec<Workload> {
    let create = |topic, durability| Op::Create {
        topic,
        durability,
        partitions: 1,
        segment_bytes: 512,
        retention: false,
        codec: None,
    };
    let by = |how, count, size| Op::Append { topic: "a", partition: 0, count, size, how };
    let append = |count, size| by(How::Partition, count, size);
    let put = |count, size| Op::Append { topic: TABLE, partition: 0, count, size, how: How::Partition };
    let commit = |quarters| Op::CommitAt { topic: "a", partition: 0, quarters };
    let bases = [
        vec![],
        vec![create("a", Durability::Flushed), append(2, 60), append(1, 100), append(1, 200)],
        vec![create("a", Durability::Written), append(2, 60), append(1, 100), append(1, 200), append(1, 250)],
        vec![create("a", Durability::Written), append(1, 20), append(1, 20), append(1, 20)],
        vec![create("a", Durability::Written), append(2, 60), Op::Poll, Op::Commit, append(2, 60), Op::Poll],
        // The last commit has all values written again, and the sidecar is older than what was forgotten.
        vec![
            create("a", Durability::Written),
            create("b", Durability::Written),
            append(2, 60),
            commit(2),
            commit(4),
            Op::Forget,
            Op::CommitAt { topic: "b", partition: 0, quarters: 0 },
        ],
        // Segments of the table with dead records, one compacted and one not, and tombstones among both.
        vec![create(TABLE, Durability::Flushed), put(7, 40), put(7, 40), Op::Compact, put(7, 40), put(7, 40)],
        vec![create(TABLE, Durability::Written), put(1, 250), put(9, 40), put(9, 20), put(1, 10)],
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
        Op::Alter { topic: "a", change: Change::Durability(Durability::Flushed) },
        Op::Alter { topic: "a", change: Change::Durability(Durability::Written) },
        Op::Alter { topic: "a", change: Change::Retention(true) },
        Op::AddPartitions { topic: "a", count: 2 },
        by(How::Send, 1, 10),
        by(How::SendBatch, 2, 10),
        by(How::Enqueue, 2, 10),
        Op::Poll,
        Op::Commit,
        commit(4),
        Op::Forget,
        Op::Resume { close: false },
        Op::Reset { topic: "a", partition: 0, quarters: 1 },
        Op::Follow { topic: "a", partition: 0, size: 10 },
        Op::Compact,
        Op::Purge { key: 2 },
        put(5, 20),
        Op::AdvanceStart { topic: TABLE, partition: 0, quarters: 2 },
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
                    found.push(Workload {
                        name: format!("x{seed}"),
                        seed,
                        background: false,
                        full: None,
                        ops,
                    });
                }
            }
        }
    }
    found
}
