//! Transactions as others read them: a strict reader of Kafka's files accepts what a clean close leaves and what deaths leave,
//! and sees the same records and offsets committed.
//!
//! The reader is `shared/tools/kafkafiles.py` beside the repository; where it is missing, the tests say so and pass.

mod support;

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use streamlog::{
    ProducerRecord, Streamlog, TopicConfig,
    clients::IsolationLevel,
    config::Builder,
    sim::{Crash, SimEnv},
};
use support::quick_dir;

const PARTITIONS: u32 = 3;

/// Where the strict reader lies.
fn strict_reader() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = above.map(|dir| dir.join("shared/tools/kafkafiles.py")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no shared/tools/kafkafiles.py beside the repository");
        return None;
    }
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no python3, which kafkafiles.py needs");
        return None;
    }
    found
}

/// What the reader says; it fails where the files are not as Kafka's must be.
fn ask(reader: &Path, command: &str, dir: &Path, flags: &[&str]) -> String {
    let done = Command::new("python3").arg(reader).arg(command).arg(dir).args(flags).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{command}: {said}\n{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// The same, a value for each line.
fn values(reader: &Path, command: &str, dir: &Path, flags: &[&str]) -> Vec<Value> {
    ask(reader, command, dir, flags).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes the files of a simulated machine into `to`.
fn put_files(env: &SimEnv, to: &Path) {
    for (path, content) in env.files() {
        let Some(path) = path.strip_prefix("/data/") else { continue };
        let path = to.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

/// Transactions of every kind: of one batch, of several partitions, with offsets, larger than the buffer; committed, aborted
/// and dropped.
fn write(log: &Streamlog, rounds: u64, segment_bytes: u64) {
    log.topic_or_create("lines", TopicConfig::default()).unwrap();
    let words = TopicConfig::default().partitions(PARTITIONS).segment_bytes(segment_bytes);
    log.topic_or_create("words", words).unwrap();
    let buffered = log.producer().unwrap();
    let spilling = log.producer_builder().transaction_buffer(100).build().unwrap();
    let mut consumer = log.consumer("counter").unwrap();
    consumer.subscribe(["lines"]).unwrap();
    for round in 0..rounds {
        for line in 0..3 {
            buffered.send(ProducerRecord::new("lines", format!("line {line} of {round}"))).unwrap();
        }
        let producer = if round % 2 == 0 { &buffered } else { &spilling };
        let mut transaction = producer.begin_transaction().unwrap();
        let partitions = if round % 6 == 0 { 1 } else { PARTITIONS };
        for number in 0..12 {
            let value = format!("word {number} of {round}");
            transaction
                .send(ProducerRecord::new("words", &value).key("key").partition(number % partitions))
                .unwrap();
        }
        match round % 6 {
            3 => transaction.abort().unwrap(),
            5 => drop(transaction),
            kind => {
                if kind > 0 {
                    consumer.poll(Duration::ZERO).unwrap();
                    transaction.send_offsets(&consumer).unwrap();
                }
                transaction.commit().unwrap();
            }
        }
    }
}

/// The offsets of what readers of `read_committed` see in each partition of `words`.
fn committed(log: &Streamlog) -> Vec<Vec<u64>> {
    let of = |partition: streamlog::Partition| {
        let records = partition.records_with(0, IsolationLevel::ReadCommitted);
        records.map(|record| record.unwrap().offset.value()).collect()
    };
    log.topic("words").unwrap().partitions().into_iter().map(of).collect()
}

/// The same as the reader sees it.
fn committed_there(reader: &Path, dir: &Path) -> Vec<Vec<u64>> {
    let of = |partition: u32| {
        let records = values(reader, "dump", &dir.join(format!("words-{partition}")), &["--committed"]);
        records.iter().map(|record| record["offset"].as_u64().unwrap()).collect()
    };
    (0..PARTITIONS).map(of).collect()
}

#[test]
fn after_a_clean_close_kafkas_files_say_what_is_committed() {
    let Some(reader) = strict_reader() else { return };
    let (env, dir) = (SimEnv::new(1), quick_dir());
    let log = open(&env);
    write(&log, 30, 3000);
    let (expected, written) = (committed(&log), log.topic("words").unwrap());
    let ends: Vec<u64> = written.partitions().iter().map(|p| p.log_end_offset().value()).collect();
    log.close().unwrap();
    put_files(&env, dir.path());

    let said = ask(&reader, "check", dir.path(), &["--clean"]);
    assert!(!said.contains(" 0 aborted transactions"), "{said}");
    assert_eq!(committed_there(&reader, dir.path()), expected);
    assert_eq!(expected.iter().map(Vec::len).sum::<usize>(), 30 / 6 * 4 * 12);
    for (partition, end) in (0..).zip(ends) {
        let info = &values(&reader, "info", &dir.path().join(format!("words-{partition}")), &[])[0];
        assert_eq!(info["last_stable_offset"].as_u64(), Some(end), "{info}");
    }
    let offsets = values(&reader, "committed", dir.path(), &[]);
    assert_eq!(offsets.len(), 1, "{offsets:?}");
    // The last round but one committed them.
    assert_eq!(offsets[0]["offset"].as_u64(), Some(29 * 3), "{offsets:?}");
    let transactions = values(&reader, "transactions", dir.path(), &[]);
    assert!(!transactions.is_empty());
}

#[test]
fn a_death_anywhere_leaves_files_that_are_kafkas_and_the_next_opening_ends_what_was_open() {
    let Some(reader) = strict_reader() else { return };
    let env = SimEnv::new(2);
    let log = open(&env);
    write(&log, 6, 1 << 20);
    env.record();
    write(&log, 6, 1 << 20);
    let recording = env.recording();
    let (mut cursor, mut left) = (recording.cursor(), Vec::new());
    while cursor.advance().is_some() {
        left.push(cursor.crash(Crash::Kill, 1));
    }
    assert!(left.len() > 60, "{}", left.len());
    for killed in left.iter().step_by(left.len() / 8) {
        let (dead, closed) = (quick_dir(), quick_dir());
        put_files(killed, dead.path());
        ask(&reader, "check", dead.path(), &["--unclean"]);
        let log = open(killed);
        let expected = committed(&log);
        log.close().unwrap();
        put_files(killed, closed.path());
        ask(&reader, "check", closed.path(), &[]);
        assert_eq!(committed_there(&reader, closed.path()), expected);
    }
}
