//! A manifest that was cut short, emptied, blanked, lost or put back from an earlier day never opens as a log with less
//! in it, and neither do marks of an earlier day: what is there is shown whole, or the opening says which file is not the
//! last one, and changes nothing. (I3, I14)

mod support;

use std::{collections::BTreeMap, fs, path::Path};
use streamlog::{
    Consumer, Durability, Error, Offset, RecordData, Result, Streamlog, TopicConfig, TopicPartition,
    config::Builder,
    sim::{Crash, SimEnv},
};
use support::*;

type Files = BTreeMap<String, Vec<u8>>;

/// What somebody sees who opens a log: each topic with its records, and what a group has committed.
type Seen = (BTreeMap<String, Vec<String>>, Vec<Option<u64>>);

fn open(env: &SimEnv, read_only: bool) -> Result<Streamlog> {
    Builder::env(env, "/data").background_thread(false).read_only(read_only).open()
}

fn consumer(log: &Streamlog) -> Consumer {
    log.consumer("readers").unwrap()
}

fn seen(log: &Streamlog) -> Result<Seen> {
    let mut topics = BTreeMap::new();
    for topic in log.topics()? {
        for partition in topic.partitions() {
            let mut values = Vec::new();
            for batch in partition.read(partition.log_start_offset()) {
                for record in batch?.iter() {
                    values.push(String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap());
                }
            }
            topics.insert(format!("{}-{}", topic.name(), partition.index()), values);
        }
    }
    let names = ["a", "b", "c"].map(|name| TopicPartition::new(name, 0));
    let committed = consumer(log).committed(&names)?;
    let committed = names.iter().map(|name| committed.get(name)?.as_ref().map(|found| found.offset.value()));
    Ok((topics, committed.collect()))
}

fn append(log: &Streamlog, topic: &str, values: std::ops::Range<u64>) {
    let partition = log.topic(topic).unwrap().partition(0).unwrap();
    for value in values {
        partition
            .append(&[RecordData::new(format!("{topic} {value} {}", "x".repeat(100)).as_bytes())])
            .unwrap();
    }
}

fn commit(log: &Streamlog, topic: &str, offset: u64) {
    let mut consumer = consumer(log);
    let partition = TopicPartition::new(topic, 0);
    consumer.assign([partition.clone()]).unwrap();
    consumer.commit_offsets([(partition, Offset::new(offset))]).unwrap();
}

/// A log with topics, one of which was deleted, one that is empty, segments, and a group: closed once a day, and on the
/// last day closed or left by a process that was killed. Everything that it was told is durable.
struct Life {
    days: Vec<SimEnv>,
    last: Seen,
}

impl Life {
    fn new(killed: bool) -> Life {
        let env = SimEnv::new(7);
        let mut days = Vec::new();
        let config = || TopicConfig::default().segment_bytes(600).durability(Durability::Flushed);

        let log = open(&env, false).unwrap();
        log.create_topic("a", config()).unwrap();
        log.create_topic("gone", config().partitions(2)).unwrap();
        append(&log, "a", 0..9);
        append(&log, "gone", 0..3);
        commit(&log, "a", 4);
        log.close().unwrap();
        days.push(env.crash(Crash::Everything, 1));

        let log = open(&env, false).unwrap();
        log.delete_topic("gone").unwrap();
        log.create_topic("b", config().partitions(2)).unwrap();
        append(&log, "b", 0..9);
        append(&log, "a", 9..18);
        log.close().unwrap();
        days.push(env.crash(Crash::Everything, 1));

        let log = open(&env, false).unwrap();
        append(&log, "a", 18..27);
        log.create_topic("c", config()).unwrap();
        append(&log, "c", 0..9);
        log.delete_records("a", 0, 7).unwrap();
        commit(&log, "a", 8);
        commit(&log, "c", 1);
        log.create_topic("empty", config()).unwrap();
        let last = seen(&log).unwrap();
        if killed {
            days.push(env.crash(Crash::Everything, 1));
        } else {
            log.close().unwrap();
            days.push(env.crash(Crash::Everything, 1));
        }
        Life { days, last }
    }

    /// The last day, with another file in the place of one.
    fn with(&self, name: &str, bytes: &[u8]) -> SimEnv {
        let env = self.today().crash(Crash::Everything, 1);
        env.overwrite(format!("/data/{name}"), bytes).unwrap();
        env
    }

    fn today(&self) -> &SimEnv {
        self.days.last().unwrap()
    }

    fn file(&self, day: usize, name: &str) -> Vec<u8> {
        self.days[day].files()[&format!("/data/{name}")].clone()
    }

    /// Opens for reading and for writing: all is there, or the error names the file, where in it, and what to do, and no
    /// file is another than before (for which `looks` says whether to look). Says whether it opened.
    fn check_one(&self, env: &SimEnv, name: &str, looks: bool, context: &str) -> bool {
        let opened = [true, false].map(|read_only| {
            let context = format!("{context}, read-only {read_only}");
            let before = looks.then(|| files(env));
            match open(env, read_only) {
                Ok(log) => {
                    let seen = seen(&log).unwrap_or_else(|error| panic!("{context}: {error}"));
                    assert_eq!(seen, self.last, "{context}");
                    true
                }
                Err(Error::Corrupt { path, position, reason, .. }) => {
                    assert_eq!(path, Path::new("/data").join(name), "{context}: {reason}");
                    if let Some(before) = before {
                        assert_eq!(files(env), before, "{context}");
                        let len = before[&format!("/data/{name}")].len() as u64;
                        assert!(position <= len, "{context}: {position}, {reason}");
                    }
                    false
                }
                Err(other) => panic!("{context}: {other}"),
            }
        });
        assert_eq!(opened[0], opened[1], "{context}");
        opened[0]
    }
}

impl Life {
    fn check(&self, env: &SimEnv, name: &str, context: &str) -> bool {
        self.check_one(env, name, true, context)
    }

    /// Checks many files in the place of one; says how many opened. A machine serves as long as none did.
    fn check_all(&self, name: &str, all: impl Iterator<Item = (String, Vec<u8>)>) -> usize {
        let (mut opened, mut env) = (0, self.today().crash(Crash::Everything, 1));
        for (i, (context, bytes)) in all.enumerate() {
            env.overwrite(format!("/data/{name}"), &bytes).unwrap();
            if self.check_one(&env, name, i % 50 == 0, &context) {
                opened += 1;
                env = self.today().crash(Crash::Everything, 1);
            }
        }
        opened
    }
}

/// All files but the lock, which says who came last.
fn files(env: &SimEnv) -> Files {
    env.files().into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect()
}

/// Where the last byte is that is not zero.
fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_manifest_cut_anywhere_shows_everything_or_is_refused() {
    for killed in [false, true] {
        let life = Life::new(killed);
        let whole = life.file(2, "manifest");
        let end = end_of(&whole);
        let cuts =
            (0..end + 3).map(|cut| (format!("killed {killed}, {cut} of {end}"), whole[..cut].to_vec()));
        let opened = life.check_all("manifest", cuts);
        // The mark behind the last flush says nothing new.
        assert!((3..100).contains(&opened), "{opened} of {end}");
    }
}

#[test]
fn a_manifest_that_is_zeros_from_somewhere_on_shows_everything_or_is_refused() {
    for killed in [false, true] {
        let life = Life::new(killed);
        let whole = life.file(2, "manifest");
        let all = (0..end_of(&whole)).step_by(64).chain([512, 4096]).flat_map(|from| {
            let whole = &whole;
            [whole.len(), from, 4096, 1 << 20].map(|len| {
                let mut bytes = whole.clone();
                bytes[from.min(whole.len())..].fill(0);
                bytes.resize(len.max(from), 0);
                (format!("killed {killed}, zeros from {from} of {len}"), bytes)
            })
        });
        assert!(life.check_all("manifest", all) < 20);
    }
}

#[test]
fn a_manifest_of_an_earlier_day_is_refused() {
    for killed in [false, true] {
        let life = Life::new(killed);
        for day in 0..2 {
            let earlier = life.file(day, "manifest");
            let opened = life.check(&life.with("manifest", &earlier), "manifest", &format!("day {day}"));
            assert!(!opened, "killed {killed}, day {day}");
        }
        // Nor is one of another log the manifest of this.
        let other = Life::new(killed).file(1, "manifest");
        assert!(!life.check(&life.with("manifest", &other), "manifest", "another log's"));
    }
}

#[test]
fn marks_of_an_earlier_day_are_refused() {
    for killed in [false, true] {
        let life = Life::new(killed);
        for day in 0..2 {
            let opened = life.check(&life.with("marks", &life.file(day, "marks")), "marks", "marks");
            assert!(!opened, "killed {killed}, day {day}");
        }
    }
}

#[test]
fn a_manifest_that_is_lost_is_missed_though_no_segment_is_there() {
    let root = quick_dir();
    let dir = root.path().join("data");
    let log = Streamlog::open(&dir).unwrap();
    log.create_topic("t", TopicConfig::default()).unwrap();
    log.delete_topic("t").unwrap();
    log.close().unwrap();
    fs::remove_file(dir.join("manifest")).unwrap();
    for open in [Streamlog::open, Streamlog::open_read_only] {
        match open(&dir).unwrap_err() {
            Error::Corrupt { path, position: 0, .. } => assert_eq!(path, dir.join("manifest")),
            other => panic!("{other}"),
        }
    }
    assert!(!dir.join("manifest").exists());
}

/// As the files of the first release are, whose marks know nothing of the manifest.
#[test]
fn marks_in_use_tell_of_topics_that_a_manifest_has_lost() {
    let life = Life::new(false);
    let (early, marks) = (life.file(0, "manifest"), life.file(2, "marks"));
    // The manifest's own slot is the first.
    let mut silent = marks.clone();
    silent[..64].fill(0);
    let env = life.with("manifest", &early);
    env.overwrite("/data/marks", &silent).unwrap();
    assert!(!life.check(&env, "manifest", "without a slot of its own"));
}
