//! A process that only reads, beside one that writes, rolls, removes and dies, tells of no damage: there is none. (I11, I15)
//!
//! The test starts its own program once more as the writer and as two observers, each in a process of its own. Lives follow
//! each other on one directory: the writer recovers beside observers that opened what the one before had left. An observer
//! ends when it has looked often enough, and has seen the log begin elsewhere often enough; the writer is then killed, or
//! closes the log. `STREAMLOG_OBSERVED_LIVES` sets how many lives there are for each way to read; the default is 2.

mod support;

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use streamlog::{
    Durability, Error, ErrorKind, Partition, Streamlog, Timestamp, TopicConfig, admin::RecoveryVerdict,
    clients::AutoOffsetReset, config::ReadMode, dir::PartitionDir,
};
use support::*;

/// Says to a copy of this program that it is the writer, and where.
const WRITER: &str = "STREAMLOG_TEST_WRITER";
/// Says to a copy of this program that it is an observer, and where.
const OBSERVER: &str = "STREAMLOG_TEST_OBSERVER";
const MODE: &str = "STREAMLOG_TEST_READ_MODE";
const LIFE: &str = "STREAMLOG_TEST_LIFE";

const TOPICS: [(&str, Durability); 2] = [("flushed", Durability::Flushed), ("written", Durability::Written)];
/// A topic that comes and goes.
const BRIEF: &str = "brief";
/// How often an observer looks, and how often it wants to see that something was removed, before it ends.
const LOOKS: usize = 60;
const REMOVALS: usize = 6;

fn config(durability: Durability) -> TopicConfig {
    TopicConfig::default().segment_bytes(2 << 10).index_interval_bytes(256).durability(durability)
}

/// Not a test of its own: this is the writer, when the program was started as one. It ends when its input does.
#[test]
fn writer() {
    let Ok(dir) = std::env::var(WRITER) else { return };
    let mut random = Random(std::env::var(LIFE).unwrap().parse().unwrap());
    let log = Streamlog::open(dir).unwrap();
    let partitions: Vec<Partition> = TOPICS
        .iter()
        .map(|(name, durability)| {
            let config = config(*durability).retention_bytes(8 << 10);
            let topic = log.topic(name).or_else(|_| log.create_topic(name, config));
            topic.unwrap().partition(0).unwrap()
        })
        .collect();
    let is_over = std::sync::Arc::new(AtomicBool::new(false));
    let told = std::sync::Arc::clone(&is_over);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        told.store(true, Ordering::SeqCst);
    });
    while !is_over.load(Ordering::SeqCst) {
        let partition = &partitions[random.below(2) as usize];
        let end = partition.log_end_offset().value();
        append_batch(partition, end..end + 1 + random.below(8)).unwrap();
        match random.below(400) {
            0 => partition.flush().unwrap(),
            1 => log.maintain().unwrap(),
            2 => {
                let start = partition.log_start_offset().value();
                let name = &partition.topic_partition().topic;
                partition.flush().unwrap();
                log.delete_records(name, 0, start + random.below(end + 1 - start)).unwrap();
            }
            3 if log.topic(BRIEF).is_ok() => log.delete_topic(BRIEF).unwrap(),
            3 => {
                let brief = log.create_topic(BRIEF, config(Durability::Flushed)).unwrap();
                (0..20).for_each(|i| append_batch(&brief.partition(0).unwrap(), i..i + 1).unwrap());
            }
            _ => {}
        }
    }
    drop(partitions);
    log.close().unwrap();
}

/// Not a test of its own: this is an observer, when the program was started as one.
#[test]
fn observer() {
    let Ok(dir) = std::env::var(OBSERVER) else { return };
    let mode = match std::env::var(MODE).as_deref() {
        Ok("pread") => ReadMode::Pread,
        _ => ReadMode::Mapped,
    };
    let dir = Path::new(&dir);
    let log = opened(dir, mode);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The handle is shared: one thread has it follow the writer, others read at that time.
        let follows = || {
            while !is_over.load(Ordering::SeqCst) {
                log.refresh().unwrap();
                std::thread::yield_now();
            }
        };
        let polls = || {
            let builder = log.consumer_builder("observers").auto_offset_reset(AutoOffsetReset::Earliest);
            let mut consumer = builder.build().unwrap();
            consumer.subscribe(TOPICS.map(|(name, _)| name)).unwrap();
            while !is_over.load(Ordering::SeqCst) {
                for record in &consumer.poll(Duration::from_millis(5)).unwrap() {
                    assert_eq!(record.value, Some(value(record.offset.value()).as_bytes()));
                }
            }
        };
        let threads = [scope.spawn(follows), scope.spawn(polls)];
        let looked = scope.spawn(|| looks(dir, mode, &log)).join();
        is_over.store(true, Ordering::SeqCst);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        looked.unwrap();
    });
}

fn opened(dir: &Path, mode: ReadMode) -> Streamlog {
    let log = Streamlog::builder(dir).read_only(true).read_mode(mode).open().unwrap();
    for partition in &log.recovery_report().partitions {
        let RecoveryVerdict::Damage { .. } = partition.verdict else { continue };
        panic!("the opening tells of damage: {partition:?}");
    }
    assert!(log.health().is_good(), "{}", log.health());
    log
}

fn looks(dir: &Path, mode: ReadMode, log: &Streamlog) {
    let (mut looked, mut removals, mut begins) = (0, 0, [0; 2]);
    while looked < LOOKS || removals < REMOVALS {
        for (i, (name, _)) in TOPICS.iter().enumerate() {
            let partition = log.topic(name).unwrap().partition(0).unwrap();
            look_at(&partition);
            let begin = partition.log_start_offset().value();
            removals += usize::from(begin > std::mem::replace(&mut begins[i], begin));
        }
        // It may be deleted at any moment.
        if let Ok(partition) = log.topic(BRIEF).and_then(|topic| topic.partition(0)) {
            read(&partition, 0);
        }
        assert!(log.health().is_good(), "{}", log.health());
        if looked % 8 == 0 {
            let anew = opened(dir, mode);
            TOPICS.iter().for_each(|(name, _)| look_at(&anew.topic(name).unwrap().partition(0).unwrap()));
            let alone = PartitionDir::open_read_only(dir.join("flushed-0")).unwrap();
            assert_eq!(alone.report().damage, []);
        }
        looked += 1;
    }
}

/// Every way to read what is there now.
fn look_at(partition: &Partition) {
    read(partition, partition.log_start_offset().value());
    let middle = (partition.log_start_offset().value() + partition.log_end_offset().value()) / 2;
    read(partition, middle);
    for batch in partition.read_backwards(u64::MAX) {
        let _ = passes(batch);
    }
    let _ = passes(partition.last(20));
    let _ = passes(partition.offset_for_timestamp(time(middle)));
    let _ = passes(partition.offset_of_max_timestamp());
    let _ = passes(partition.offset_for_timestamp(Timestamp::from_millis(i64::MAX / 2)));
}

fn read(partition: &Partition, from: u64) {
    for batch in partition.read(from) {
        let Some(batch) = passes(batch) else { return };
        for record in &batch {
            assert_eq!(record.value, Some(value(record.offset.value()).as_bytes()));
        }
    }
}

/// What was removed, and a topic that was deleted, answer with errors of their own.
fn passes<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::OffsetOutOfRange | ErrorKind::Closed) => None,
        other => Some(other.unwrap_or_else(|error| panic!("told by a reader: {error}"))),
    }
}

fn start(role: &str, name: &str, dir: &Path, life: u64, mode: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(role, dir)
        .env(LIFE, life.to_string())
        .env(MODE, mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// One life of a writer beside two observers, which open what there is before it or beside it.
fn live(dir: &Path, life: u64, mode: &str) {
    let is_first = !dir.join("written-0").exists();
    let observers = || [0, 1].map(|_| start(OBSERVER, "observer", dir, life, mode));
    let mut early = (!is_first).then(observers);
    let mut writer = start(WRITER, "writer", dir, life, mode);
    while early.is_none() {
        assert!(writer.try_wait().unwrap().is_none(), "the writer of life {life} has ended");
        if dir.join("written-0").join("leader-epoch-checkpoint").exists() && has_topics(dir) {
            early = Some(observers());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut failed = None;
    for mut observer in early.into_iter().flatten() {
        let status = loop {
            match observer.try_wait().unwrap() {
                Some(status) => break status,
                None if failed.is_some() || writer.try_wait().unwrap().is_some() => {
                    observer.kill().unwrap();
                    break observer.wait().unwrap();
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        failed = failed.or((!status.success()).then_some(status));
    }
    let is_killed = !life.is_multiple_of(3);
    if is_killed {
        writer.kill().unwrap()
    } else {
        drop(writer.stdin.take())
    }
    let status = writer.wait().unwrap();
    assert!(failed.is_none(), "an observer of life {life}, {mode}, ended with {failed:?}");
    assert!(is_killed || status.success(), "the writer of life {life}, {mode}: {status}");
}

fn has_topics(dir: &Path) -> bool {
    let log = Streamlog::open_read_only(dir);
    log.is_ok_and(|log| TOPICS.iter().all(|(name, _)| log.topic(name).is_ok()))
}

fn live_often(mode: &str) {
    let lives = std::env::var("STREAMLOG_OBSERVED_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let root = quick_dir();
    for life in 0..lives {
        live(&root.path().join("log"), life, mode);
    }
}

#[test]
fn observers_with_mapped_files_tell_of_no_damage_beside_a_writer() {
    live_often("mapped");
}

#[test]
fn observers_with_positional_reads_tell_of_no_damage_beside_a_writer() {
    live_often("pread");
}
