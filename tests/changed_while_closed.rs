//! A log that was closed cleanly, and whose files somebody else changed since: a broker that ran on the directory, a
//! restore that mixed two copies. What continues the log is part of it, whatever does not is neither lost nor shown, and
//! nothing is written over either. (I1, I2, I13)

mod support;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};
use streamlog::{
    Durability, ErrorKind, Partition, RecordData, Streamlog, TopicConfig,
    admin::{PartitionRecovery, RecoveryVerdict},
    dir::PartitionDir,
};
use support::*;

const LOG: &str = "t-0/00000000000000000000.log";
/// Where a batch says its leader epoch, which its checksum does not cover.
const EPOCH: Range<usize> = 12..16;

fn config(durability: Durability, segment_bytes: u64) -> TopicConfig {
    TopicConfig::default().durability(durability).segment_bytes(segment_bytes).index_interval_bytes(300)
}

fn partition(log: &Streamlog) -> Partition {
    log.topic("t").unwrap().partition(0).unwrap()
}

/// Appends offsets one to a batch and closes.
fn append(dir: &Path, config: TopicConfig, offsets: Range<u64>) {
    let log = Streamlog::open(dir).unwrap();
    let partition = log.topic_or_create("t", config).unwrap().partition(0).unwrap();
    log.topic_or_create("other", TopicConfig::default()).unwrap();
    for offset in offsets {
        append_batch(&partition, offset..offset + 1).unwrap();
    }
    log.close().unwrap();
}

/// Has every batch from `from` on say that it is of this leader epoch.
fn relabel(dir: &Path, from: u64, epoch: i32) {
    for log in files(&dir.join("t-0"), "log") {
        let mut bytes = fs::read(&log).unwrap();
        for place in places(&log).iter().filter(|place| place.base >= from) {
            let start = place.start as usize;
            bytes[start + EPOCH.start..start + EPOCH.end].copy_from_slice(&epoch.to_be_bytes());
        }
        fs::write(&log, bytes).unwrap();
    }
}

/// A directory that was closed with `ours` records and to which another writer appended up to `all`: in its own leader
/// epoch, and with nothing of its own but the `.log` files.
fn continued(root: &Path, config: TopicConfig, ours: u64, all: u64, epoch: i32) -> PathBuf {
    let (dir, theirs) = (root.join("continued"), root.join("theirs"));
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    append(&dir, config.clone(), 0..ours);
    image(&dir, &theirs);
    append(&theirs, config, ours..all);
    relabel(&theirs, ours, epoch);
    for file in files(&theirs.join("t-0"), "log") {
        fs::copy(&file, dir.join("t-0").join(file.file_name().unwrap())).unwrap();
    }
    dir
}

fn found(log: &Streamlog) -> &PartitionRecovery {
    let report = log.recovery_report();
    assert!(!report.was_clean);
    report.partitions.iter().find(|found| &*found.partition.topic == "t").expect("a report on the partition")
}

fn assert_reads(partition: &Partition, end: u64) {
    let (next, error) = read_from(partition, partition.log_start_offset().value());
    assert!(error.is_none(), "{error:?}");
    assert_eq!((next, partition.log_end_offset().value()), (end, end));
}

/// Every file but the lock, with its bytes.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = all_files(dir).into_iter().filter(|path| path.file_name().unwrap() != "LOCK");
    all.map(|path| (path.clone(), fs::read(dir.join(&path)).unwrap())).collect()
}

fn last_epoch(dir: &Path) -> i32 {
    let log = files(&dir.join("t-0"), "log").into_iter().rfind(|log| !places(log).is_empty()).unwrap();
    let bytes = fs::read(&log).unwrap();
    let start = places(&log).last().unwrap().start as usize;
    i32::from_be_bytes(bytes[start + EPOCH.start..start + EPOCH.end].try_into().unwrap())
}

#[test]
fn what_a_broker_appended_is_taken_in_and_continued_in_its_leader_epoch() {
    let root = quick_dir();
    for durability in [Durability::Flushed, Durability::Written] {
        // In the same segment; in segments of its own; in both.
        for (segment_bytes, ours, all) in [(1 << 20, 3, 8), (600, 4, 30), (2_000, 7, 60)] {
            for epoch in [0, 7] {
                let config = config(durability, segment_bytes);
                let dir = continued(root.path(), config.clone(), ours, all, epoch);
                let before = content(&dir);
                let reading = Streamlog::open_read_only(&dir).unwrap();
                assert_reads(&partition(&reading), all);
                let adopted = found(&reading).adopted.clone().unwrap();
                assert_eq!((adopted.start.value(), adopted.end.value()), (ours, all));
                drop(reading);
                let alone = PartitionDir::open_read_only(dir.join("t-0")).unwrap();
                assert_reads(&alone, all);
                assert_eq!((&alone.report().torn_end, alone.report().damage.len()), (&None, 0));
                assert_eq!(content(&dir), before, "read-only");

                let log = Streamlog::open(&dir).unwrap();
                assert_reads(&partition(&log), all);
                assert_eq!(found(&log).verdict, RecoveryVerdict::Whole);
                assert_eq!(found(&log).adopted, Some(adopted));
                assert!(log.health().is_good());
                assert_eq!(content(&dir), before, "an opening alone");
                let reading = Streamlog::open_read_only(&dir).unwrap();
                for offset in all..all + 30 {
                    append_batch(&partition(&log), offset..offset + 1).unwrap();
                }
                reading.refresh().unwrap();
                assert_reads(&partition(&reading), all + 30);
                let killed = root.path().join("killed");
                image(&dir, &killed);
                log.close().unwrap();
                for dir in [&dir, &killed] {
                    assert_eq!(last_epoch(dir), epoch);
                    let log = Streamlog::open(dir).unwrap();
                    assert_eq!(log.recovery_report().was_clean, dir != &killed);
                    assert_reads(&partition(&log), all + 30);
                    append_batch(&partition(&log), all + 30..all + 31).unwrap();
                    log.close().unwrap();
                    let log = Streamlog::open(dir).unwrap();
                    assert!(log.recovery_report().was_clean);
                    assert_reads(&partition(&log), all + 31);
                }
            }
        }
    }
}

#[test]
fn what_was_taken_in_survives_a_death_before_anything_was_appended_to_its_partition() {
    let root = quick_dir();
    for segment_bytes in [1 << 20, 600] {
        let dir = continued(root.path(), config(Durability::Flushed, segment_bytes), 4, 30, 7);
        let log = Streamlog::open(&dir).unwrap();
        let other = log.topic("other").unwrap().partition(0).unwrap();
        other.append(&[RecordData::new("something else")]).unwrap();
        let killed = root.path().join("killed");
        image(&dir, &killed);
        let log = Streamlog::open(&killed).unwrap();
        assert_reads(&partition(&log), 30);
        assert_eq!(found(&log).verdict, RecoveryVerdict::Whole);
        append_batch(&partition(&log), 30..31).unwrap();
    }
}

#[test]
fn a_close_alone_writes_down_what_the_opening_found() {
    let root = quick_dir();
    for segment_bytes in [1 << 20, 600] {
        let dir = continued(root.path(), config(Durability::Flushed, segment_bytes), 4, 30, 7);
        let log = Streamlog::open(&dir).unwrap();
        assert!(found(&log).adopted.is_some());
        log.close().unwrap();
        let log = Streamlog::open(&dir).unwrap();
        assert!(log.recovery_report().was_clean, "{:?}", log.recovery_report());
        assert_reads(&partition(&log), 30);
    }
}

#[test]
fn a_log_that_is_as_it_was_closed_is_closed_again_without_a_write() {
    let root = quick_dir();
    let dir = root.path().join("a");
    append(&dir, config(Durability::Flushed, 600), 0..20);
    let before = content(&dir);
    let log = Streamlog::open(&dir).unwrap();
    assert_reads(&partition(&log), 20);
    log.close().unwrap();
    assert!(content(&dir) == before);
}

#[test]
fn what_does_not_continue_a_closed_log_goes_aside_whole() {
    let root = quick_dir();
    let dir = root.path().join("a");
    append(&dir, config(Durability::Flushed, 600), 0..20);
    let segments = files(&dir.join("t-0"), "log");
    let active = segments.last().unwrap().clone();
    let stray = fs::read(&segments[0]).unwrap();
    for base in [1, 20, 29] {
        let context = format!("a stray at {base}");
        let dir = root.path().join("b");
        image(&root.path().join("a"), &dir);
        let active = dir.join("t-0").join(active.file_name().unwrap());
        let end = fs::metadata(&active).unwrap().len();
        let mut bytes = fs::read(&active).unwrap();
        bytes.extend(
            b"what somebody else has left here, and is no batch at all; longer than a header is, to be sure",
        );
        fs::write(&active, &bytes).unwrap();
        fs::write(dir.join(format!("t-0/{base:020}.log")), &stray).unwrap();

        let before = content(&dir);
        let reading = Streamlog::open_read_only(&dir).unwrap();
        assert_reads(&partition(&reading), 20);
        assert_eq!(found(&reading).left_in_place, [dir.join(format!("t-0/{base:020}.log"))], "{context}");
        assert!(matches!(found(&reading).verdict, RecoveryVerdict::TornTail { .. }), "{context}");
        drop(reading);
        assert_eq!(content(&dir), before, "{context}");

        let log = Streamlog::open(&dir).unwrap();
        assert_reads(&partition(&log), 20);
        let quarantined = &found(&log).quarantined;
        assert_eq!(quarantined.len(), 2, "{context}: {quarantined:?}");
        let mut kept: Vec<_> = quarantined.iter().map(|path| fs::read(path).unwrap()).collect();
        kept.sort();
        let mut expected = vec![bytes[end as usize..].to_vec(), stray.clone()];
        expected.sort();
        assert!(kept == expected, "{context}: everything is kept");
        assert_eq!(log.health().quarantined.len(), 2);
        for offset in 20..40 {
            append_batch(&partition(&log), offset..offset + 1).unwrap();
        }
        log.close().unwrap();
        let log = Streamlog::open(&dir).unwrap();
        assert!(log.recovery_report().was_clean, "{context}");
        assert_reads(&partition(&log), 40);
    }
}

#[test]
fn what_does_not_follow_an_intact_end_goes_aside_and_the_log_is_whole() {
    let root = quick_dir();
    append(&root.path().join("a"), config(Durability::Flushed, 600), 0..20);
    let segments = files(&root.path().join("a/t-0"), "log");
    let last = places(segments.last().unwrap())[0].base;
    assert!(last < 19, "the last segment has more than one batch");
    let stray = fs::read(&segments[0]).unwrap();
    // Inside the last segment, behind a gap, and what has only the name of a segment that would continue the log.
    for (base, is_file) in [(19, true), (29, true), (20, false), (29, false)] {
        let context = format!("a stray at {base}, a file: {is_file}");
        let dir = root.path().join("b");
        image(&root.path().join("a"), &dir);
        let path = dir.join(format!("t-0/{base:020}.log"));
        match is_file {
            true => fs::write(&path, &stray).unwrap(),
            false => fs::create_dir(&path).unwrap(),
        }
        let reading = Streamlog::open_read_only(&dir).unwrap();
        assert_reads(&partition(&reading), 20);
        assert_eq!(partition(&reading).segment_count(), segments.len(), "{context}");
        assert_eq!(found(&reading).verdict, RecoveryVerdict::Whole, "{context}");
        assert_eq!(found(&reading).left_in_place, [path], "{context}");
        assert_eq!((&found(&reading).removed, &found(&reading).adopted), (&None, &None), "{context}");
        assert!(reading.health().is_good(), "{context}");

        let log = Streamlog::open(&dir).unwrap();
        assert_reads(&partition(&log), 20);
        assert_eq!(partition(&log).segment_count(), segments.len(), "{context}");
        assert_eq!(found(&log).verdict, RecoveryVerdict::Whole, "{context}");
        assert_eq!((found(&log).quarantined.len(), &found(&log).adopted), (1, &None), "{context}");
        append_batch(&partition(&log), 20..21).unwrap();
        log.close().unwrap();
        let log = Streamlog::open(&dir).unwrap();
        assert!(log.recovery_report().was_clean, "{context}");
        assert_reads(&partition(&log), 21);
    }
}

#[test]
fn a_batch_that_leaves_a_gap_is_not_taken_in() {
    let root = quick_dir();
    let dir = continued(root.path(), config(Durability::Flushed, 1 << 20), 3, 8, 7);
    let places = places(&dir.join(LOG));
    let mut bytes = fs::read(dir.join(LOG)).unwrap();
    let behind = bytes.split_off(places[5].end as usize);
    bytes.truncate(places[5].start as usize);
    bytes.extend(&behind);
    fs::write(dir.join(LOG), &bytes).unwrap();
    let log = Streamlog::open(&dir).unwrap();
    assert_eq!(found(&log).adopted.clone().unwrap().end, 5);
    assert_reads(&partition(&log), 5);
    append_batch(&partition(&log), 5..6).unwrap();
    assert_eq!(fs::read(&found(&log).quarantined[0]).unwrap(), behind);
}

#[test]
fn a_closed_log_that_is_shorter_is_damaged_and_nothing_grows_over_it() {
    let root = quick_dir();
    let dir = root.path().join("a");
    append(&dir, config(Durability::Flushed, 1 << 20), 0..9);
    let places = places(&dir.join(LOG));
    for length in [0, places[4].start, places[4].end - 1, places[8].end - 1] {
        let dir = root.path().join("b");
        image(&root.path().join("a"), &dir);
        let file = fs::OpenOptions::new().write(true).open(dir.join(LOG)).unwrap();
        file.set_len(length).unwrap();
        // Nor is anything moved while it is not known where the log ends.
        fs::copy(dir.join(LOG), dir.join("t-0/00000000000000000029.log")).unwrap();
        let before = content(&dir);
        let log = Streamlog::open_read_only(&dir).unwrap();
        assert!(matches!(found(&log).verdict, RecoveryVerdict::Damage { .. }));
        assert!(!log.health().is_good());
        let log = Streamlog::open(&dir).unwrap();
        assert!(matches!(found(&log).verdict, RecoveryVerdict::Damage { .. }));
        assert_eq!(partition(&log).log_end_offset(), 9);
        assert_eq!(append_batch(&partition(&log), 9..10).unwrap_err().kind(), ErrorKind::Corrupt);
        let whole = places.iter().take_while(|place| place.end <= length).count() as u64;
        let (next, error) = read_from(&partition(&log), 0);
        assert_eq!((next, error.unwrap().kind()), (whole, ErrorKind::Corrupt));
        assert!(!log.health().is_good());
        log.close().unwrap();
        assert_eq!(content(&dir), before);
    }
}

#[test]
fn other_bytes_in_a_file_as_long_as_before_are_noticed_before_the_first_append() {
    let root = quick_dir();
    let dir = root.path().join("a");
    append(&dir, config(Durability::Flushed, 1 << 20), 0..9);
    let last = *places(&dir.join(LOG)).last().unwrap();
    let mut bytes = fs::read(dir.join(LOG)).unwrap();
    bytes[last.end as usize - 3] ^= 1;
    fs::write(dir.join(LOG), &bytes).unwrap();
    let log = Streamlog::open(&dir).unwrap();
    assert_eq!(append_batch(&partition(&log), 9..10).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(!log.health().is_good());
    assert!(fs::read(dir.join(LOG)).unwrap() == bytes);
}

#[test]
fn what_a_broker_removed_from_the_front_is_removed_and_what_is_just_missing_is_damage() {
    let root = quick_dir();
    let dir = root.path().join("a");
    append(&dir, config(Durability::Flushed, 600), 0..20);
    let segments = files(&dir.join("t-0"), "log");
    let start = places(&segments[2])[0].base;
    segments[..2].iter().for_each(|segment| fs::remove_file(segment).unwrap());
    for log in [Streamlog::open_read_only(&dir).unwrap(), Streamlog::open(&dir).unwrap()] {
        assert!(matches!(found(&log).verdict, RecoveryVerdict::Damage { .. }), "{:?}", found(&log));
        assert!(!log.health().is_good());
    }
    // As its retention leaves it.
    fs::write(dir.join("t-0/leader-epoch-checkpoint"), format!("0\n1\n3 {start}\n")).unwrap();
    let reading = Streamlog::open_read_only(&dir).unwrap();
    let log = Streamlog::open(&dir).unwrap();
    for log in [&reading, &log] {
        let removed = found(log).removed.clone().unwrap();
        assert_eq!((removed.start.value(), removed.end.value()), (0, start));
        assert_eq!(partition(log).log_start_offset(), start);
        assert_reads(&partition(log), 20);
    }
    append_batch(&partition(&log), 20..21).unwrap();
    let killed = root.path().join("killed");
    image(&dir, &killed);
    log.close().unwrap();
    for dir in [&dir, &killed] {
        let log = Streamlog::open(dir).unwrap();
        assert_eq!(log.recovery_report().was_clean, dir != &killed);
        assert_eq!(partition(&log).log_start_offset(), start);
        assert_reads(&partition(&log), 21);
        assert!(log.health().is_good());
    }
}

#[test]
fn records_that_a_broker_was_asked_to_delete_are_deleted() {
    let root = quick_dir();
    let opened = |start: u64| {
        let dir = continued(root.path(), config(Durability::Flushed, 600), 20, 30, 7);
        fs::write(dir.join("log-start-offset-checkpoint"), format!("0\n1\nt 0 {start}\n")).unwrap();
        let log = Streamlog::open(&dir).unwrap();
        assert_eq!(found(&log).verdict, RecoveryVerdict::Whole);
        assert_eq!(
            found(&log).removed.as_ref().map(|removed| removed.end.value()),
            Some(start).filter(|start| (1..=20).contains(start))
        );
        assert_reads(&partition(&log), 30);
        let start = partition(&log).log_start_offset().value();
        append_batch(&partition(&log), 30..31).unwrap();
        let killed = root.path().join("killed");
        image(&dir, &killed);
        log.close().unwrap();
        for dir in [&dir, &killed] {
            let log = Streamlog::open(dir).unwrap();
            assert_eq!(partition(&log).log_start_offset(), start);
            assert_reads(&partition(&log), 31);
        }
        start
    };
    assert_eq!((opened(7), opened(20)), (7, 20));
    assert_eq!(opened(21), 0, "one beyond what we have closed may be of anything");
}

#[test]
fn a_log_of_which_a_broker_kept_only_its_own_begins_there() {
    let root = quick_dir();
    let dir = continued(root.path(), config(Durability::Flushed, 600), 20, 60, 7);
    let of_a_broker = |log: &PathBuf| places(log)[0].base >= 20;
    let (kept, gone): (Vec<_>, Vec<_>) = files(&dir.join("t-0"), "log").into_iter().partition(of_a_broker);
    gone.iter().for_each(|log| fs::remove_file(log).unwrap());
    let start = places(&kept[0])[0].base;
    assert!(start >= 20 && !gone.is_empty());
    fs::write(dir.join("t-0/leader-epoch-checkpoint"), format!("0\n1\n7 {start}\n")).unwrap();
    let reading = Streamlog::open_read_only(&dir).unwrap();
    let log = Streamlog::open(&dir).unwrap();
    for log in [&reading, &log] {
        assert_eq!(found(log).verdict, RecoveryVerdict::Whole);
        assert_eq!(partition(log).log_start_offset(), start);
        assert_reads(&partition(log), 60);
    }
    append_batch(&partition(&log), 60..61).unwrap();
    log.close().unwrap();
    let log = Streamlog::open(&dir).unwrap();
    assert!(log.recovery_report().was_clean);
    assert_eq!(partition(&log).log_start_offset(), start);
    assert_reads(&partition(&log), 61);
}

#[test]
fn a_closed_log_whose_last_file_is_gone_is_damaged_and_not_a_failure() {
    let root = quick_dir();
    append(&root.path().join("a"), config(Durability::Flushed, 1 << 20), 0..9);
    let dir = root.path().join("a");
    fs::remove_file(dir.join(LOG)).unwrap();
    for log in [Streamlog::open_read_only(&dir).unwrap(), Streamlog::open(&dir).unwrap()] {
        assert!(matches!(found(&log).verdict, RecoveryVerdict::Damage { .. }));
        assert_eq!(read_from(&partition(&log), 0).1.unwrap().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_file_in_the_way_of_a_new_segment_goes_aside_and_appends_go_on() {
    let root = quick_dir();
    let dir = root.path().join("a");
    append(&dir, config(Durability::Flushed, 600), 0..20);
    let log = Streamlog::open(&dir).unwrap();
    append_batch(&partition(&log), 20..21).unwrap();
    // At every offset at which a segment could begin; one is a directory.
    for base in 21..40 {
        let path = dir.join(format!("t-0/{base:020}.log"));
        match base % 2 {
            0 => fs::create_dir(&path).unwrap(),
            _ => fs::write(&path, "a stranger's").unwrap(),
        }
    }
    for offset in 21..40 {
        append_batch(&partition(&log), offset..offset + 1).unwrap();
    }
    assert_reads(&partition(&log), 40);
    let quarantined = log.health().quarantined;
    assert!(quarantined.len() > 2 && log.health().is_good(), "{quarantined:?}");
    assert!(quarantined.iter().all(|(_, path)| path.exists()));
    log.close().unwrap();
    let log = Streamlog::open(&dir).unwrap();
    assert_reads(&partition(&log), 40);
    append_batch(&partition(&log), 40..41).unwrap();
    let left: Vec<_> = files(&dir.join("t-0"), "log").into_iter().filter(|path| path.is_dir()).collect();
    assert!(left.is_empty(), "those further on are noticed by the opening: {left:?}");
}

#[test]
fn an_empty_file_that_belongs_to_no_log_is_no_change() {
    let root = tempfile::tempdir().unwrap();
    append(root.path(), config(Durability::Flushed, 1 << 20), 0..4);
    let stray = root.path().join("t-0/00000000000000000004.log");
    fs::write(&stray, []).unwrap();
    let log = Streamlog::open(root.path()).unwrap();
    assert!(log.recovery_report().was_clean, "{:?}", log.recovery_report());
    assert_reads(&partition(&log), 4);
    append_batch(&partition(&log), 4..5).unwrap();
    assert!(!stray.exists());
    log.close().unwrap();
    let log = Streamlog::open(root.path()).unwrap();
    assert!(log.recovery_report().was_clean);
    assert_reads(&partition(&log), 5);
    // One that has something is looked at.
    log.close().unwrap();
    fs::write(&stray, [7]).unwrap();
    let log = Streamlog::open(root.path()).unwrap();
    assert_eq!(found(&log).quarantined.len(), 1);
    assert_reads(&partition(&log), 5);
}
