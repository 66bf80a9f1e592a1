//! A log stays where it was opened: whatever becomes of the working directory, of the links on the way, or of the
//! directory's name, and whatever takes its place. (I1, I3, I11)
#![cfg(unix)]

mod support;

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};
use streamlog::sim::{Operation, SimEnv};
use streamlog::{
    Durability, Error, Offset, ProducerRecord, RecordData, Streamlog, TopicConfig, TopicPartition,
    config::{Builder, ReadMode},
    dir::PartitionDir,
};
use support::*;

/// Small segments: the log makes and removes files all the time.
fn config() -> TopicConfig {
    TopicConfig::default().segment_bytes(4096)
}

/// Another log, with five records, that has the same topic.
fn other(dir: &Path) {
    let log = Streamlog::open(dir).unwrap();
    let partition = log.create_topic("t", config()).unwrap().partition(0).unwrap();
    for _ in 0..5 {
        partition.append(&[RecordData::new("other's")]).unwrap();
    }
    log.close().unwrap();
}

fn begin(log: &Streamlog) {
    log.create_topic("t", config()).unwrap();
    log.create_topic("short-lived", config()).unwrap();
}

/// Everything that makes, reads, renames or removes a file.
fn work(log: Streamlog) {
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    for i in 0..100 {
        assert_eq!(partition.append(&[RecordData::new(&[7; 100])]).unwrap().start, i);
    }
    assert_eq!(partition.read(0).count(), 100);
    log.delete_records("t", 0, 40).unwrap();
    log.create_topic("new", config()).unwrap();
    log.producer().unwrap().send(ProducerRecord::new("new", "x")).unwrap();
    let _ = log.add_partitions("new", 2).unwrap();
    log.delete_topic("short-lived").unwrap();
    let mut consumer = log.consumer("g").unwrap();
    consumer.subscribe(["t"]).unwrap();
    assert!(!consumer.poll(Duration::ZERO).unwrap().is_empty());
    consumer.commit_sync().unwrap();
    log.maintain().unwrap();
    assert!(log.disk_usage().unwrap().topics.contains_key("new"));
    drop(consumer);
    log.close().unwrap();
}

/// The log that did all that, and the other one, have what they should.
fn check(mine: &Path, others: &Path) {
    let log = Streamlog::open(mine).unwrap();
    assert!(log.recovery_report().was_clean);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(
        (partition.log_start_offset(), partition.log_end_offset()),
        (Offset::new(40), Offset::new(100))
    );
    assert_eq!(partition.read(40).map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 60);
    assert!(log.topic("new").is_ok() && !mine.join("short-lived-0").exists());
    let at = log.consumer("g").unwrap().committed(&[TopicPartition::new("t", 0)]).unwrap();
    assert_eq!(at.values().flatten().map(|committed| committed.offset).next(), Some(Offset::new(100)));

    let other = Streamlog::open(others).unwrap();
    assert!(other.recovery_report().was_clean);
    assert_eq!(other.topic("t").unwrap().partition(0).unwrap().last(100).unwrap().len(), 5);
    assert_eq!(other.topics().unwrap().len(), 1);
}

/// The one test of this program that changes its working directory; the others name theirs from the root.
#[test]
fn a_relative_path_counts_from_where_the_program_was_when_it_opened() {
    let root = quick_dir();
    let root = root.path().canonicalize().unwrap();
    let [a, b] = ["a", "b"].map(|name| root.join(name));
    fs::create_dir(&a).unwrap();
    fs::create_dir(&b).unwrap();
    other(&b.join("data"));

    env::set_current_dir(&b).unwrap();
    let settings = Streamlog::builder("data");
    env::set_current_dir(&a).unwrap();
    let log = settings.open().unwrap();
    begin(&log);
    let follower = Streamlog::open_read_only("data").unwrap();
    let alone = PartitionDir::open_read_only("data/t-0").unwrap();
    env::set_current_dir(&b).unwrap();
    assert_eq!((log.dir(), follower.dir()), (&*a.join("data"), &*a.join("data")));
    work(log);
    follower.refresh().unwrap();
    let partition = follower.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.read(40).count(), 60);
    assert!(!alone.producer_snapshots().unwrap().is_empty());
    env::set_current_dir("/").unwrap();
    check(&a.join("data"), &b.join("data"));
}

#[test]
fn a_log_whose_directory_is_moved_goes_with_it_and_spares_what_takes_its_place() {
    let root = quick_dir();
    let [data, old] = ["data", "old"].map(|name| root.path().join(name));
    let log = Streamlog::open(&data).unwrap();
    begin(&log);
    fs::rename(&data, &old).unwrap();
    other(&data);
    assert!(matches!(Streamlog::open(&old), Err(Error::AlreadyOpen { .. })));
    work(log);
    check(&old, &data);
}

#[test]
fn a_link_that_leads_elsewhere_later_changes_nothing() {
    let root = quick_dir();
    let [mine, others, link] = ["mine", "others", "link"].map(|name| root.path().join(name));
    fs::create_dir(&mine).unwrap();
    other(&others);
    symlink(&mine, &link).unwrap();
    let log = Streamlog::open(&link).unwrap();
    begin(&log);
    fs::remove_file(&link).unwrap();
    symlink(&others, &link).unwrap();
    work(log);
    check(&mine, &others);
}

#[test]
fn a_log_whose_directory_is_removed_says_so_and_does_not_come_back_elsewhere() {
    let root = quick_dir();
    let data = root.path().join("data");
    let log = Streamlog::open(&data).unwrap();
    begin(&log);
    fs::remove_dir_all(&data).unwrap();
    assert!(matches!(log.create_topic("new", config()), Err(Error::Io { .. })));
    drop(log);
    assert!(!data.exists());
}

#[test]
fn an_empty_path_is_refused_with_the_name_of_the_working_directory() {
    for result in [Streamlog::open(""), Streamlog::open_read_only("")] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }));
        assert!(error.to_string().contains("\".\""), "{error}");
    }
}

#[test]
fn the_usage_of_a_disk_is_known_while_topics_come_and_go() {
    let root = quick_dir();
    let log = Streamlog::open(root.path()).unwrap();
    log.create_topic("stays", config()).unwrap();
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for _ in 0..200 {
                log.create_topic("goes", config().partitions(3)).unwrap();
                log.delete_topic("goes").unwrap();
            }
        });
        while !changes.is_finished() {
            assert!(log.disk_usage().unwrap().topics.contains_key("stays"));
        }
    });
}

/// Gives the directories of two partitions each other's name.
fn swap(dir: &Path) {
    swap_both(dir, "a-0", "b-0");
}

fn swap_both(dir: &Path, one: &str, two: &str) {
    for (from, to) in [(one, "aside"), (two, one), ("aside", two)] {
        fs::rename(dir.join(from), dir.join(to)).unwrap();
    }
}

#[test]
fn partition_directories_that_changed_places_are_noticed_before_anything_is_read_or_appended() {
    for is_closed in [true, false] {
        let root = quick_dir();
        let (living, dir) = (root.path().join("living"), root.path().join("log"));
        let log = Streamlog::open(&living).unwrap();
        for name in ["a", "b"] {
            let partition = log.create_topic(name, config()).unwrap().partition(0).unwrap();
            let value = name.repeat(100);
            for _ in 0..100 {
                partition.append(&[RecordData::new(&value)]).unwrap();
            }
        }
        leave(log, &living, &dir, is_closed);
        swap(&dir);
        let before = fs::read(dir.join("a-0/00000000000000000000.log")).unwrap();
        for read_only in [true, false] {
            let log = Streamlog::builder(&dir).read_only(read_only).open().unwrap();
            for name in ["a", "b"] {
                let partition = log.topic(name).unwrap().partition(0).unwrap();
                let is_told = |error: Error| {
                    let Error::Corrupt { path, .. } = &error else { panic!("{error}") };
                    assert_eq!(*path, dir.join(format!("{name}-0/partition.metadata")), "{error}");
                };
                is_told(partition.read(0).next().unwrap().unwrap_err());
                is_told(partition.last(1).unwrap_err());
                if !read_only {
                    is_told(partition.append(&[RecordData::new("x")]).unwrap_err());
                }
            }
            assert!(!log.health().is_good());
            let _ = log.close();
        }
        assert!(fs::read(dir.join("a-0/00000000000000000000.log")).unwrap() == before);
        swap(&dir);
        let log = Streamlog::open(&dir).unwrap();
        for name in ["a", "b"] {
            let partition = log.topic(name).unwrap().partition(0).unwrap();
            let values =
                partition.read(0).flat_map(|batch| batch.unwrap()).map(|record| record.value.unwrap());
            assert!(values.map(|value| assert_eq!(value, name.repeat(100))).count() == 100);
        }
        assert!(log.health().is_good(), "{}", log.health());
    }
}

/// Nothing but what is in the records tells these two apart: their times, lengths and offsets are the same.
fn twins(root: &Path, durability: Durability, is_closed: bool) -> PathBuf {
    let (living, dir) = (root.join("living"), root.join("log"));
    let log = Streamlog::builder(&living).background_thread(false).open().unwrap();
    let topic = log.create_topic("t", config().partitions(2).durability(durability)).unwrap();
    for i in 0..100 {
        for partition in topic.partitions() {
            let value = partition.index().to_string().repeat(100);
            partition.append(&[RecordData::new(&value).timestamp(time(i))]).unwrap();
        }
    }
    topic.partitions().iter().for_each(|partition| partition.flush().unwrap());
    assert!(topic.partition(1).unwrap().segment_count() > 1);
    drop(topic);
    leave(log, &living, &dir, is_closed);
    dir
}

fn opened_by(dir: &Path, how: &str) -> Streamlog {
    let builder = Streamlog::builder(dir).background_thread(false);
    let builder = match how {
        "mapped" => builder.read_only(true),
        "pread" => builder.read_only(true).read_mode(ReadMode::Pread),
        _ => builder,
    };
    builder.open().unwrap()
}

#[test]
fn partitions_of_a_topic_whose_directories_changed_places_are_told_apart_though_all_lengths_are_the_same() {
    for (durability, is_closed) in [Durability::Flushed, Durability::Written]
        .into_iter()
        .flat_map(|durability| [true, false].map(|is_closed| (durability, is_closed)))
    {
        let root = quick_dir();
        let dir = twins(root.path(), durability, is_closed);
        swap_both(&dir, "t-0", "t-1");
        let told = |error: Error, index: u32| {
            let Error::Corrupt { path, reason, .. } = &error else { panic!("{error}") };
            assert_eq!(*path, dir.join(format!("t-{index}/partition.identity")));
            assert!(reason.contains(&format!("t-{} in the place of t-{index}", 1 - index)), "{reason}");
        };
        for how in ["mapped", "pread", "writing"] {
            let log = opened_by(&dir, how);
            for index in [0, 1] {
                let partition = log.topic("t").unwrap().partition(index).unwrap();
                told(partition.read(0).next().unwrap().unwrap_err(), index);
                told(partition.last(1).unwrap_err(), index);
                told(partition.offset_for_timestamp(time(7)).unwrap_err(), index);
                if how == "writing" {
                    told(partition.append(&[RecordData::new("x")]).unwrap_err(), index);
                }
                let name = format!("t-{index}");
                told(PartitionDir::open_read_only(dir.join(name)).unwrap_err(), index);
            }
            assert!(!log.health().is_good());
            let _ = log.close();
        }
        swap_both(&dir, "t-0", "t-1");
        for how in ["mapped", "pread", "writing"] {
            let log = opened_by(&dir, how);
            for partition in log.topic("t").unwrap().partitions() {
                let value = partition.index().to_string().repeat(100);
                let records = partition.records(0).map(|record| record.unwrap().value.unwrap());
                assert!(records.map(|found| assert_eq!(found, value)).count() == 100);
            }
            assert!(log.health().is_good(), "{how}: {}", log.health());
        }
    }
}

#[test]
fn a_directory_without_the_file_that_names_its_partition_is_read() {
    // As a broker makes it, and as the first release did.
    let root = quick_dir();
    let dir = twins(root.path(), Durability::Flushed, true);
    for index in [0, 1] {
        fs::remove_file(dir.join(format!("t-{index}/partition.identity"))).unwrap();
    }
    let log = Streamlog::open(&dir).unwrap();
    for partition in log.topic("t").unwrap().partitions() {
        assert_eq!(partition.read(0).count(), 100);
        partition.append(&[RecordData::new("x")]).unwrap();
    }
    assert!(log.health().is_good());
}

#[test]
fn an_opening_of_a_closed_log_asks_of_no_partition_whose_directory_it_is() {
    let machine = SimEnv::new(1);
    let open = |read_only| {
        Builder::env(&machine, "/log").background_thread(false).read_only(read_only).open().unwrap()
    };
    let log = open(false);
    log.create_topic("a", config().partitions(3)).unwrap();
    log.close().unwrap();
    for read_only in [true, false] {
        machine.record();
        let log = open(read_only);
        let recording = machine.recording();
        let asks = |(_, operation, path): (u64, Operation, &str)| {
            operation == Operation::Open
                && ["partition.metadata", "partition.identity"].iter().any(|name| path.ends_with(name))
        };
        assert!(recording.changes() > 0 || read_only);
        assert_eq!(recording.operations().filter(|operation| asks(*operation)).count(), 0);
        log.close().unwrap();
    }
}
