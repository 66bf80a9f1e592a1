//! Every bit of every file of a small store, flipped one at a time: the same answers as before, or a typed error or a
//! report that names file and position; never wrong bytes, a panic, a hang or memory without a bound. (I1, I3, I13, I18)
//!
//! The store has sealed and active segments, keys, two codecs, two durabilities, committed offsets, every sidecar, a
//! manifest and marks; once as a closed process leaves it, and once as a killed one does. It is opened by a reader and by
//! a writer, which now and then goes on to append and opens again.
//!
//! By default one bit of 50 is tried (of 4000 in a debug build), other ones with every seed; `STREAMLOG_SEED` says which,
//! and `STREAMLOG_EVERY_BIT=all` tries them all, `=n` every n-th. `STREAMLOG_FLIP=file:bit` tries one.
//! `STREAMLOG_PLANT` makes one of the planted mistakes, to see whether the test notices.

#[path = "support/flips.rs"]
mod flips;
mod support;

use flips::{PATIENCE, Sample};
use std::{collections::BTreeMap, fmt::Write, time::Instant};
use streamlog::{
    Durability, Error, Partition, ProducerRecord, Record, RecordData, Result, Streamlog, Timestamp,
    TopicConfig,
    admin::RecoveryVerdict,
    config::{Builder, Compression},
    records::{Batch, OffsetAndTimestamp},
    sim::{Crash, SimEnv},
};
use support::*;

const DIR: &str = "/data";
const GROUP: &str = "readers";
const TOPICS: [&str; 3] = ["plain", "packed", "written"];

fn config(topic: &str) -> TopicConfig {
    let config = TopicConfig::default().index_interval_bytes(200).max_message_bytes(1500);
    match topic {
        "plain" => config.segment_bytes(3000),
        "packed" => config.segment_bytes(2000),
        _ => config.segment_bytes(4000).durability(Durability::Written),
    }
}

fn open(env: &SimEnv, read_only: bool) -> Result<Streamlog> {
    // A few commits get their sidecar.
    let builder = Builder::env(env, DIR).background_thread(false).offsets_upkeep(4000, 300, 100_000);
    builder.read_only(read_only).open()
}

/// The store as it was just before it was closed, and closed; with what is known of it.
fn build() -> Golden {
    let env = SimEnv::new(1);
    let log = open(&env, false).unwrap();
    let partitions = TOPICS.map(|name| log.create_topic(name, config(name)).unwrap().partition(0).unwrap());
    let producers =
        [Compression::Lz4, ZSTD].map(|codec| log.producer_builder().compression(codec).build().unwrap());
    let mut flushed = 0;
    for i in 0..56u64 {
        for (which, partition) in partitions.iter().enumerate() {
            let end = partition.log_end_offset().value();
            let offsets = end..end + 1 + (i + which as u64) % 4;
            if TOPICS[which] != "packed" {
                append_batch(partition, offsets).unwrap();
                continue;
            }
            let texts: Vec<_> = offsets.clone().map(|i| (key(i), value(i).repeat(3))).collect();
            let records = texts.iter().zip(offsets).map(|((key, value), i)| {
                ProducerRecord::new("packed", value)
                    .key(key)
                    .timestamp(time(i))
                    .header("of", "the golden store")
            });
            let sent = producers[(i % 2) as usize].send_batch(&records.collect::<Vec<_>>());
            sent.unwrap();
        }
        if [12, 30, 50].contains(&i) {
            let mut consumer = log.consumer(GROUP).unwrap();
            let offsets = partitions.iter().map(|p| (p.topic_partition().clone(), p.log_end_offset()));
            consumer.commit_offsets(offsets.collect::<Vec<_>>()).unwrap();
            partitions[2].flush().unwrap();
            flushed = partitions[2].log_end_offset().value();
        }
    }
    let killed = env.crash(Crash::Kill, 1);
    let known = Known::of(&log);
    log.close().unwrap();
    Golden { closed: env, killed, known, flushed }
}

struct Golden {
    closed: SimEnv,
    killed: SimEnv,
    known: Known,
    /// Up to where the `Written` topic was flushed: of what lies behind, who only reads a killed store knows nothing.
    flushed: u64,
}

/// The right answers.
#[derive(Clone)]
struct Known {
    topics: BTreeMap<&'static str, KnownTopic>,
    group: Vec<String>,
}

#[derive(Clone)]
struct KnownTopic {
    config: String,
    /// The records in order, and the offset behind the batch of each.
    records: Vec<(String, u64)>,
    times: Vec<(Timestamp, Option<OffsetAndTimestamp>)>,
}

impl Known {
    fn of(log: &Streamlog) -> Known {
        let topics = TOPICS.map(|name| {
            let topic = log.topic(name).unwrap();
            let partition = topic.partition(0).unwrap();
            let mut records = Vec::new();
            for batch in partition.read(0) {
                let batch = batch.unwrap();
                let next = batch.next_offset().value();
                records.extend(batch.iter().map(|record| (shown(&batch, &record), next)));
            }
            let asked = [-5, 0, 1, 17, 30, 44, 58, 65].map(|i| Timestamp::from_millis(1_000_000 + i));
            let times = asked.map(|at| (at, partition.offset_for_timestamp(at).unwrap()));
            (name, KnownTopic { config: format!("{:?}", topic.config()), records, times: times.into() })
        });
        Known { topics: topics.into(), group: group_of(log).unwrap() }
    }
}

/// A record with everything that a reader is told of it.
fn shown(batch: &Batch, record: &Record<'_>) -> String {
    format!("{}, epoch {}, {}", record.offset, batch.leader_epoch(), flips::shown(batch, record))
}

fn group_of(log: &Streamlog) -> Result<Vec<String>> {
    let committed = log.describe_group(GROUP)?.committed;
    Ok(committed.iter().map(|(partition, c)| format!("{partition} {} {:?}", c.offset, c.metadata)).collect())
}

/// One flipped bit, and an opening.
struct Trial<'a> {
    golden: &'a Golden,
    path: &'a str,
    bit: u64,
    read_only: bool,
    killed: bool,
}

impl Trial<'_> {
    /// An error is an answer when it is about the flipped file, and says where in it.
    fn excuse(&self, error: &Error) {
        match error {
            Error::Corrupt { path, .. } | Error::UnsupportedFormat { path, .. } => {
                assert_eq!(path.to_str(), Some(self.path), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Opens the store and asks everything; `None` when it does not open. How far each topic goes is returned.
    fn ask(&self, env: &SimEnv, known: &Known) -> Option<(Streamlog, BTreeMap<&'static str, u64>)> {
        let log = match open(env, self.read_only) {
            Ok(log) => log,
            Err(error) => {
                self.excuse(&error);
                return None;
            }
        };
        let mut names: Vec<_> = log.topics().unwrap().iter().map(|t| t.name().to_owned()).collect();
        names.sort();
        let mut expected = TOPICS;
        expected.sort_unstable();
        assert_eq!(names, expected);
        let ends = known.topics.iter().map(|(name, topic)| (*name, self.ask_topic(&log, name, topic)));
        let ends = ends.collect();
        match group_of(&log) {
            Ok(group) => assert_eq!(group, known.group),
            Err(error) => self.excuse(&error),
        }
        Some((log, ends))
    }

    fn ask_topic(&self, log: &Streamlog, name: &str, known: &KnownTopic) -> u64 {
        let topic = log.topic(name).unwrap();
        assert_eq!(format!("{:?}", topic.config()), known.config);
        let partition = topic.partition(0).unwrap();
        assert_eq!(partition.log_start_offset(), 0);
        let damaged = self.read_all(&partition, known);
        let end = partition.log_end_offset().value();
        let all = known.records.len() as u64;
        assert!(end <= all, "{name}: {end} of {all}");
        if end < all {
            self.excuse_early_end(log, name, end);
        }
        for (at, expected) in &known.times {
            match partition.offset_for_timestamp(*at) {
                Ok(found) if end == all && !damaged => assert_eq!(found, *expected, "{name} at {at}"),
                // What would be the answer may be lost; what is given is right all the same.
                Ok(Some(found)) => {
                    let first = expected.as_ref().unwrap().offset;
                    assert!(found.offset >= first && found.timestamp >= *at, "{name} at {at}: {found:?}");
                }
                Ok(None) => {}
                Err(error) => self.excuse(&error),
            }
        }
        match partition.last(2) {
            Ok(last) => {
                let offsets: Vec<_> = last.iter().map(|record| record.offset.value()).collect();
                assert_eq!(offsets, [end - 2, end - 1]);
                assert!(last.iter().all(|r| r.timestamp == time(r.offset.value()) || r.timestamp == LATER));
            }
            Err(error) => self.excuse(&error),
        }
        end
    }

    /// Reads everything, and goes on behind each error. Whether there was one.
    fn read_all(&self, partition: &Partition, known: &KnownTopic) -> bool {
        let mut next = 0;
        let mut damaged = false;
        loop {
            let mut error = None;
            for batch in partition.read(next) {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(found) => {
                        error = Some(found);
                        break;
                    }
                };
                for record in &batch {
                    assert_eq!(record.offset, next);
                    assert_eq!(shown(&batch, &record), known.records[next as usize].0);
                    next += 1;
                }
            }
            let Some(error) = error else { break };
            self.excuse(&error);
            damaged = true;
            // The batch that could not be read; the one behind it is tried.
            next = known.records[next as usize].1;
            if next >= partition.log_end_offset().value() {
                return damaged;
            }
        }
        assert_eq!(next, partition.log_end_offset().value());
        damaged
    }

    /// A log that ends early was torn, and says so; or its end is one that a reader cannot know.
    fn excuse_early_end(&self, log: &Streamlog, name: &str, end: u64) {
        if self.read_only && self.killed && name == "written" && end >= self.golden.flushed {
            return;
        }
        let report = &log.recovery_report().partitions;
        let of_this = report.iter().find(|p| p.partition.topic.as_ref() == name);
        match of_this.map(|p| &p.verdict) {
            Some(RecoveryVerdict::TornTail { path, .. }) if name == "written" => {
                assert_eq!(path.to_str(), Some(self.path));
                assert!(end >= self.golden.flushed, "{end}");
            }
            other => panic!("{name} ends at {end}: {other:?}"),
        }
    }
}

/// When the records are made that are appended afterwards.
const LATER: Timestamp = Timestamp::from_millis(2_000_000);

/// Tells which bit it was, when the test fails there.
struct Told<'a>(&'a Trial<'a>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Trial { path, bit, read_only, killed, .. } = self.0;
            println!("killed {killed}, read-only {read_only}: STREAMLOG_FLIP={path}:{bit}");
        }
    }
}

/// What came of a flip.
fn flip(golden: &Golden, image: &SimEnv, path: &str, content: &[u8], bit: u64, go_on: bool) {
    let killed = std::ptr::eq(image, &golden.killed);
    let mut content = content.to_vec();
    content[(bit / 8) as usize] ^= 1 << (bit % 8);
    let env = image.crash(Crash::Kill, 0);
    env.overwrite(path, &content).unwrap();
    let began = Instant::now();
    for read_only in [true, false] {
        let trial = Trial { golden, path, bit, read_only, killed };
        let told = Told(&trial);
        let asked = trial.ask(&env, &golden.known);
        if let Some((log, ends)) = asked
            && !read_only
            && go_on
        {
            continue_from(&trial, &env, log, &ends);
        }
        drop(told);
    }
    assert_eq!(env.violations(), [""; 0], "STREAMLOG_FLIP={path}:{bit}");
    assert!(began.elapsed() < PATIENCE, "{:?}: STREAMLOG_FLIP={path}:{bit}", began.elapsed());
}

/// Without a flip every answer is the right one.
fn ask_the_unflipped(golden: &Golden, image: &SimEnv) {
    let env = image.crash(Crash::Kill, 0);
    for read_only in [true, false] {
        let trial = Trial { golden, path: "no file", bit: 0, read_only, killed: false };
        let (_log, ends) = trial.ask(&env, &golden.known).unwrap();
        assert!(ends.iter().all(|(name, end)| *end == golden.known.topics[name].records.len() as u64));
    }
}

/// Appends a record to each topic, closes, opens again and asks again: what was there is, and nothing else.
fn continue_from(trial: &Trial<'_>, env: &SimEnv, log: Streamlog, ends: &BTreeMap<&'static str, u64>) {
    let mut known = trial.golden.known.clone();
    for (name, topic) in &mut known.topics {
        let partition = log.topic(name).unwrap().partition(0).unwrap();
        let end = ends[name];
        topic.records.truncate(end as usize);
        topic.times.clear();
        match partition.append(&[RecordData::new("later").timestamp(LATER)]) {
            Ok(given) => {
                assert_eq!(given.start, end);
                let batch = partition.read(end).next().unwrap().unwrap();
                topic.records.push((shown(&batch, &batch.iter().next().unwrap()), end + 1));
            }
            Err(error) => trial.excuse(&error),
        }
    }
    drop(log.close());
    if let Some((log, _)) = trial.ask(env, &known) {
        drop(log.close());
    }
}

fn flip_bits_of(image_of: impl Fn(&Golden) -> &SimEnv) {
    let golden = build();
    if let Ok(plant) = std::env::var("STREAMLOG_PLANT") {
        let known = streamlog::planted::NAMES.iter().find(|name| **name == plant);
        streamlog::planted::plant(Some(known.unwrap()));
    }
    let image = image_of(&golden);
    ask_the_unflipped(&golden, image);
    let files = image.files();
    if let Ok(one) = std::env::var("STREAMLOG_FLIP") {
        let (path, bit) = one.rsplit_once(':').unwrap();
        return flip(&golden, image, path, &files[path], bit.parse().unwrap(), true);
    }
    let default = if cfg!(debug_assertions) { 3989 } else { 53 };
    let mut sample = Sample::one_of(default);
    let mut report = String::new();
    for (path, content) in &files {
        writeln!(report, "  {path}: {} bytes", content.len()).unwrap();
        for bit in 0..content.len() as u64 * 8 {
            if sample.takes_next() {
                flip(&golden, image, path, content, bit, sample.taken.is_multiple_of(8));
            }
        }
    }
    if std::env::var_os("STREAMLOG_VERBOSE").is_some() {
        println!("{report}");
    }
    sample.end(files.len(), files.values().map(|content| content.len() as u64).sum());
}

#[test]
fn a_flipped_bit_of_a_closed_store_changes_no_answer_or_is_told() {
    flip_bits_of(|golden| &golden.closed);
}

#[test]
fn a_flipped_bit_of_a_killed_store_changes_no_answer_or_is_told() {
    flip_bits_of(|golden| &golden.killed);
}
