//! What an error or a crash between two steps leaves: nothing half done, nothing lost, nothing of somebody else's.

use std::{path::Path, time::Duration};
use streamlog::{
    Durability, ErrorKind, Partition, ProducerRecord, RecordData, Result, Streamlog, TopicConfig,
    admin::RecoveryVerdict,
    config::{Builder, ConfigChange},
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
};

mod support;

fn open(env: &SimEnv) -> Result<Streamlog> {
    Builder::env(env, "/data").background_thread(false).open()
}

fn topic(log: &Streamlog, name: &str, config: TopicConfig) -> Partition {
    log.create_topic(name, config).unwrap().partition(0).unwrap()
}

fn small_segments() -> TopicConfig {
    TopicConfig::default().segment_bytes(1000)
}

fn fill(partition: &Partition, count: usize) {
    for i in 0..count {
        partition.append(&[RecordData::new(format!("{i:0200}"))]).unwrap();
    }
}

fn values(partition: &Partition, from: u64) -> Vec<String> {
    let mut found = Vec::new();
    for batch in partition.read(from) {
        for record in &batch.unwrap() {
            found.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    found
}

fn has(env: &SimEnv, prefix: &str) -> bool {
    env.files().keys().any(|path| path.starts_with(prefix))
}

#[test]
fn the_segment_that_retention_leaves_is_there_after_a_power_cut() {
    for crash in Crash::ALL {
        let env = SimEnv::new(1);
        let log = open(&env).unwrap();
        let partition = topic(&log, "t", small_segments());
        fill(&partition, 12);
        log.delete_records("t", 0, 12).unwrap();
        let env = env.crash(crash, 5);
        let log = open(&env).unwrap();
        assert!(log.health().is_good(), "{crash:?}: {:?}", log.health());
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(partition.log_start_offset(), 12, "{crash:?}");
        assert_eq!(partition.append(&[RecordData::new("next")]).unwrap().start, 12, "{crash:?}");
    }
}

#[test]
fn a_handle_on_a_deleted_topic_never_shows_another_one_of_its_name() {
    let env = SimEnv::new(2);
    let log = open(&env).unwrap();
    fill(&topic(&log, "t", TopicConfig::default()), 3);
    log.close().unwrap();
    let log = open(&env).unwrap();
    let old = log.topic("t").unwrap().partition(0).unwrap();
    log.delete_topic("t").unwrap();
    let new = topic(&log, "t", TopicConfig::default());
    for _ in 0..3 {
        new.append(&[RecordData::new("x".repeat(200))]).unwrap();
    }
    assert_eq!(old.read(0).next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(old.read_backwards(3).next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(old.offset_of_max_timestamp().unwrap_err().kind(), ErrorKind::Closed);
    let refused = old.append(&[RecordData::new("x")]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert!(refused.to_string().contains("'t'"), "{refused}: it names the topic");
}

#[test]
fn closing_with_a_poisoned_partition_closes_the_others_and_says_why() {
    for pending in [false, true] {
        let env = SimEnv::new(3);
        let log = open(&env).unwrap();
        let good = topic(&log, "good", TopicConfig::default().durability(Durability::Written));
        let bad = topic(&log, "bad", TopicConfig::default());
        bad.append(&[RecordData::new("durable")]).unwrap();
        good.append(&[RecordData::new("written")]).unwrap();
        env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path("bad-0/"));
        if pending {
            log.producer().unwrap().enqueue(ProducerRecord::new("bad", "lost")).unwrap();
        } else {
            assert_eq!(bad.append(&[RecordData::new("lost")]).unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(bad.append(&[RecordData::new("more")]).unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(values(&bad, 0), ["durable"]);
        }
        assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Poisoned, "{pending}");
        // The lock is given up, so nothing may be written any more.
        for partition in [&good, &bad] {
            let refused = partition.append(&[RecordData::new("late")]).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Closed, "{pending}");
        }
        let env = env.crash(Crash::Nothing, 1);
        let log = open(&env).unwrap();
        assert!(!log.recovery_report().was_clean);
        assert_eq!(values(&log.topic("good").unwrap().partition(0).unwrap(), 0), ["written"]);
        let bad = log.topic("bad").unwrap().partition(0).unwrap();
        assert_eq!(values(&bad, 0)[0], "durable");
        bad.append(&[RecordData::new("again")]).unwrap();
        log.close().unwrap();
    }
}

#[test]
fn a_close_that_fails_for_want_of_space_ends_appending_too() {
    let env = SimEnv::new(4);
    let log = open(&env).unwrap();
    let partition = topic(&log, "t", TopicConfig::default());
    partition.append(&[RecordData::new("kept")]).unwrap();
    env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Create).path("t-0/").forever());
    let second = log.clone();
    assert_eq!(log.close().unwrap_err().kind(), ErrorKind::DiskFull);
    assert_eq!(partition.append(&[RecordData::new("late")]).unwrap_err().kind(), ErrorKind::Closed);
    drop(second);
    env.clear_faults();
    let log = open(&env).unwrap();
    assert_eq!(values(&log.topic("t").unwrap().partition(0).unwrap(), 0), ["kept"]);
}

#[test]
fn a_topic_that_could_not_be_created_can_be_created_again() {
    let mut struck = 0;
    for kind in [FaultKind::DiskFull, FaultKind::Io] {
        for skip in 0.. {
            let env = SimEnv::new(5);
            let log = open(&env).unwrap();
            topic(&log, "other", TopicConfig::default());
            env.inject(Fault::new(kind).skip(skip));
            let first = log.create_topic("t", TopicConfig::default());
            let hit = env.struck() > 0;
            env.clear_faults();
            if !hit {
                first.unwrap();
                break;
            }
            struck += 1;
            let again = if first.is_err() { log.create_topic("t", TopicConfig::default()) } else { first };
            // After a failed flush, also one for want of space, nobody knows: then, and only then, the log refuses.
            let usable = match again {
                Ok(topic) => topic.partition(0).unwrap().append(&[RecordData::new("x")]).map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = usable {
                assert_eq!(error.kind(), ErrorKind::Poisoned, "{kind:?} at {skip}: {error}");
            }
            drop(log);
            let log = open(&env).unwrap();
            let again = log.topic_or_create("t", TopicConfig::default()).unwrap().partition(0).unwrap();
            again.append(&[RecordData::new("y")]).unwrap();
            log.close().unwrap();
        }
    }
    assert!(struck > 20, "{struck}");
}

#[test]
fn a_deleted_topics_directory_goes_with_the_first_write_of_a_later_opening() {
    let env = SimEnv::new(6);
    let log = open(&env).unwrap();
    fill(&topic(&log, "gone", TopicConfig::default()), 3);
    fill(&topic(&log, "stays", TopicConfig::default()), 3);
    env.inject(Fault::new(FaultKind::Io).on(Operation::Rename).path("gone-0").forever());
    log.delete_topic("gone").unwrap();
    assert_eq!(log.topic("gone").unwrap_err().kind(), ErrorKind::UnknownTopic);
    let env = env.crash(Crash::Everything, 1);
    assert!(has(&env, "/data/gone-0/"));

    // What looks alike and is not the library's stays.
    let foreign = env.files()["/data/gone-0/partition.metadata"].clone();
    let foreign = String::from_utf8(foreign).unwrap();
    let (head, id) = foreign.split_once("topic_id: ").unwrap();
    let other = format!("{head}topic_id: {}{}", if id.starts_with('A') { "B" } else { "A" }, &id[1..]);

    let log = open(&env).unwrap();
    assert!(has(&env, "/data/gone-0/"), "opening alone changes nothing");
    let (foreign_env, env) = (env.crash(Crash::Everything, 1), env.crash(Crash::Everything, 2));
    drop(log);
    foreign_env.overwrite("/data/gone-0/partition.metadata", other.as_bytes()).unwrap();
    let log = open(&foreign_env).unwrap();
    fill(&log.topic("stays").unwrap().partition(0).unwrap(), 1);
    log.maintain().unwrap();
    assert!(has(&foreign_env, "/data/gone-0/"), "a directory that no deletion speaks of");

    let log = open(&env).unwrap();
    let stays = log.topic("stays").unwrap().partition(0).unwrap();
    fill(&stays, 1);
    assert!(!env.files().keys().any(|path| path.contains("gone")), "{:?}", env.files().keys());
    assert_eq!(stays.log_end_offset(), 4);
}

#[test]
fn what_a_deletion_has_renamed_goes_with_the_first_write_of_a_later_opening() {
    let dir = support::quick_dir();
    let write = |path: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "data").unwrap();
    };
    let leftover = "t-0.0123456789abcdef0123456789abcdef-delete";
    write(&format!("{leftover}/00000000000000000000.log"));
    write("a-folder-whose-long-name-only-happens-to-end-in-delete/file");
    write("t-1.0123456789abcdef0123456789abcdef-delete/a directory in it/file");
    let log = Streamlog::open(dir.path()).unwrap();
    assert!(dir.path().join(leftover).exists());
    log.create_topic("x", TopicConfig::default()).unwrap();
    assert!(!dir.path().join(leftover).exists());
    assert!(dir.path().join("a-folder-whose-long-name-only-happens-to-end-in-delete/file").exists());
    let foreign = "t-1.0123456789abcdef0123456789abcdef-delete/a directory in it/file";
    assert!(dir.path().join(foreign).exists());
    log.close().unwrap();
}

#[test]
fn a_directory_with_data_in_the_way_of_the_longest_name_is_put_aside() {
    let dir = support::quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    let name = "n".repeat(249);
    let way = dir.path().join(format!("{name}-0"));
    std::fs::create_dir(&way).unwrap();
    std::fs::write(way.join("00000000000000000000.log"), "somebody's").unwrap();
    log.create_topic(&name, TopicConfig::default()).unwrap();
    let aside = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
    let aside: Vec<_> = aside.filter(|p| p.to_string_lossy().ends_with("-stray")).collect();
    assert_eq!(std::fs::read(aside[0].join("00000000000000000000.log")).unwrap(), b"somebody's");
    log.delete_topic(&name).unwrap();
    log.close().unwrap();
}

/// A log with two topics of a dozen records in several segments, as a killed process leaves it.
fn killed(then: impl Fn(&Path)) -> (tempfile::TempDir, Streamlog) {
    let dir = support::quick_dir();
    let from = dir.path().join("from");
    let log = Streamlog::open(&from).unwrap();
    for name in ["t", "other"] {
        fill(&topic(&log, name, small_segments()), 12);
    }
    let to = dir.path().join("to");
    support::image(&from, &to);
    then(&to);
    (dir, Streamlog::open(&to).unwrap())
}

#[test]
fn behind_a_segment_file_that_is_missing_the_rest_stays_readable() {
    for gone in [0u64, 3, 6, 9] {
        let (_dir, log) = killed(|dir| {
            std::fs::remove_file(dir.join(format!("t-0/{gone:020}.log"))).unwrap();
        });
        let report = &log.recovery_report().partitions;
        let verdict = report.iter().find(|p| p.partition.topic.as_ref() == "t").unwrap();
        match &verdict.verdict {
            RecoveryVerdict::Damage { path, .. } => {
                assert!(path.ends_with(format!("{gone:020}.log")), "{}", path.display());
            }
            other => panic!("{gone}: {other:?}"),
        }
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!((partition.log_start_offset().value(), partition.log_end_offset().value()), (0, 12));
        for from in 0..12u64 {
            let behind = gone + 3;
            let found = partition.read(from).map_while(Result::ok).map(|b| b.iter().count()).sum::<usize>();
            let expected = if from < gone {
                gone - from
            } else if from < behind {
                0
            } else {
                12 - from
            };
            assert_eq!(found as u64, expected, "{gone} is missing, read from {from}");
            if from < behind {
                let error = partition.read(from).find_map(Result::err).unwrap();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{gone}, from {from}: {error}");
            }
        }
        assert_eq!(partition.append(&[RecordData::new("x")]).unwrap_err().kind(), ErrorKind::Corrupt);
        fill(&log.topic("other").unwrap().partition(0).unwrap(), 1);
        log.close().unwrap();
    }
}

#[test]
fn a_directory_that_is_missing_is_the_damage_of_one_partition() {
    let (_dir, log) = killed(|dir| std::fs::remove_dir_all(dir.join("t-0")).unwrap());
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.read(0).next().unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(partition.append(&[RecordData::new("x")]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(log.health().refusing.len(), 1);
    fill(&log.topic("other").unwrap().partition(0).unwrap(), 1);
    assert_eq!(log.topic("other").unwrap().partition(0).unwrap().log_end_offset(), 13);
}

#[test]
fn a_suspect_cache_and_no_space_for_a_copy_make_one_partition_read_only() {
    for kind in [FaultKind::DiskFull, FaultKind::Quota] {
        let env = SimEnv::new(7);
        let log = open(&env).unwrap();
        let partition = topic(&log, "t", TopicConfig::default());
        fill(&partition, 3);
        env.inject(Fault::new(FaultKind::LosePages).on(Operation::Sync).path("t-0/"));
        partition.append(&[RecordData::new("lost")]).unwrap_err();
        let env = env.crash(Crash::Kill, 1);
        env.refuse_reads_past_the_cache();
        env.inject(Fault::new(kind).on(Operation::Create).path(".log").forever());
        let log = open(&env).unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(values(&partition, 0).len(), 3, "what was durable, and nothing of what may not be");
        let refused = partition.append(&[RecordData::new("x")]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ReadOnly, "{refused}");
        log.close().unwrap();

        // With space again the copy is made, and what it shows is what the medium has.
        env.clear_faults();
        let log = open(&env).unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert!(partition.log_end_offset() >= 3);
        let end = partition.append(&[RecordData::new("more")]).unwrap().end;
        let env = env.crash(Crash::Nothing, 1);
        let log = open(&env).unwrap();
        assert_eq!(log.topic("t").unwrap().partition(0).unwrap().log_end_offset(), end);
    }
}

#[test]
fn a_segment_is_preallocated_where_the_topic_says_so() {
    let env = SimEnv::new(8);
    let log = open(&env).unwrap();
    let size = |base: u64| env.files()[&format!("/data/t-0/{base:020}.log")].len();
    let partition = topic(&log, "t", TopicConfig::default().segment_bytes(100_000).preallocate(true));
    fill(&partition, 1);
    assert_eq!(size(0), 100_000);
    let big = "x".repeat(60_000);
    partition.append(&[RecordData::new(&big)]).unwrap();
    partition.append(&[RecordData::new(&big)]).unwrap();
    assert!(size(0) < 61_000, "a sealed one has its own size");
    assert_eq!(size(2), 100_000);
    log.close().unwrap();
    assert!(size(2) < 61_000);
}

#[test]
fn a_failed_roll_leaves_nothing_in_the_way_of_the_next_one() {
    for skip in 0..40 {
        for kind in [FaultKind::DiskFull, FaultKind::Io] {
            let env = SimEnv::new(9);
            let log = open(&env).unwrap();
            let partition = topic(&log, "t", small_segments().durability(Durability::Written));
            fill(&partition, 3);
            env.inject(Fault::new(kind).skip(skip));
            env.inject(Fault::new(kind).on(Operation::Remove));
            let first = partition.append(&[RecordData::new("y".repeat(200))]);
            env.clear_faults();
            if first.is_ok() {
                continue;
            }
            match partition.append(&[RecordData::new("z".repeat(200))]) {
                Ok(range) => assert_eq!(range.start, 3),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Poisoned, "{kind:?} at {skip}: {error}"),
            }
        }
    }
}

#[test]
fn every_record_becomes_visible_when_a_topic_stops_being_flushed() {
    let env = SimEnv::new(10);
    let log = open(&env).unwrap();
    let partition = topic(&log, "t", TopicConfig::default());
    fill(&partition, 1);
    log.alter_topic("t", &[ConfigChange::set("streamlog.durability", "written")]).unwrap();
    fill(&partition, 1);
    assert_eq!(partition.high_watermark(), 2);
    log.alter_topic("t", &[ConfigChange::set("streamlog.durability", "flushed")]).unwrap();
    fill(&partition, 1);
    assert_eq!(partition.high_watermark(), 3);
}

#[test]
fn who_only_reads_is_told_of_damage_below_what_was_durable() {
    for durability in [Durability::Flushed, Durability::Written] {
        let dir = support::quick_dir();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let log = Streamlog::builder(&from).background_thread(false).open().unwrap();
        let partition = topic(&log, "t", TopicConfig::default().durability(durability));
        fill(&partition, 4);
        for log in log.topic("t").unwrap().partitions() {
            if durability == Durability::Flushed {
                assert_eq!(log.high_watermark(), 4);
            }
        }
        support::image(&from, &to);
        let path = to.join("t-0/00000000000000000000.log");
        let mut bytes = std::fs::read(&path).unwrap();
        let second = bytes.windows(3).position(|w| w == b"001").unwrap();
        bytes[second] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let reader = Streamlog::open_read_only(&to).unwrap();
        for _ in 0..2 {
            let partition = reader.topic("t").unwrap().partition(0).unwrap();
            let found: Vec<_> = partition.read(0).collect();
            let ends_with_error =
                found.last().unwrap().as_ref().is_err_and(|e| e.kind() == ErrorKind::Corrupt);
            // Of what was never flushed nobody knows that it should be there.
            assert_eq!(ends_with_error, durability == Durability::Flushed, "{found:?}");
            assert_eq!(found.iter().filter(|batch| batch.is_ok()).count(), 1);
        }
    }
}

#[test]
fn a_mark_that_cannot_be_written_refuses_the_append_before_it_or_does_not_count_after_it() {
    for kind in [FaultKind::Io, FaultKind::DiskFull, FaultKind::ShortThenFull] {
        let env = SimEnv::new(15);
        let log = open(&env).unwrap();
        let partition = topic(&log, "t", TopicConfig::default());
        partition.append(&[RecordData::new("one")]).unwrap();
        let mark = || Fault::new(kind).on(Operation::Write).path("marks");
        // Before the batch is written: nothing is.
        env.inject(mark().forever());
        for _ in 0..2 {
            assert_ne!(partition.append(&[RecordData::new("no")]).unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(partition.log_end_offset(), 1, "{kind:?}");
        }
        env.clear_faults();
        // After it was flushed: it is durable, whatever the mark says.
        env.inject(mark().skip(1).forever());
        assert_eq!(partition.append(&[RecordData::new("two")]).unwrap(), 1.into()..2.into(), "{kind:?}");
        assert_eq!(values(&partition, 0), ["one", "two"]);
        assert!(partition.append(&[RecordData::new("no")]).is_err(), "{kind:?}");
        assert!(log.health().is_good());
        let crashed = env.crash(Crash::Nothing, 1);
        assert_eq!(
            values(&open(&crashed).unwrap().topic("t").unwrap().partition(0).unwrap(), 0),
            ["one", "two"]
        );
        env.clear_faults();
        partition.append(&[RecordData::new("three")]).unwrap();
        assert_eq!(values(&partition, 0), ["one", "two", "three"]);
        log.close().unwrap();
    }
}

#[test]
fn a_topic_whose_deletion_may_have_happened_takes_no_more_records() {
    for crash in Crash::ALL {
        let env = SimEnv::new(21);
        let log = open(&env).unwrap();
        let [partition, other] = ["t", "other"].map(|name| topic(&log, name, TopicConfig::default()));
        env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path("manifest"));
        log.delete_topic("t").unwrap_err();
        let acknowledged = partition.append(&[RecordData::new("x")]).is_ok();
        // The second time nothing was tried, so nothing may have happened.
        log.delete_topic("other").unwrap_err();
        other.append(&[RecordData::new("x")]).unwrap();
        let log = open(&env.crash(crash, 1)).unwrap();
        let found = |name| log.topic(name).and_then(|t| t.partition(0)).map(|p| values(&p, 0));
        let is_there = found("t").is_ok_and(|values| values == ["x"]);
        assert!(is_there || !acknowledged, "{crash:?}: it is gone, and what was acknowledged with it");
        assert_eq!(found("other").unwrap(), ["x"], "{crash:?}");
    }
}

#[test]
fn a_flush_that_was_due_and_could_not_begin_is_due_again() {
    for late in [0, 11] {
        let env = SimEnv::new(22);
        let log = open(&env).unwrap();
        let every = Duration::from_millis(100);
        let partition = topic(&log, "t", TopicConfig::default().durability(Durability::Interval(every)));
        partition.append(&[RecordData::new("x")]).unwrap();
        env.inject(Fault::new(FaultKind::Io).on(Operation::Write).path("marks"));
        env.advance(every + Duration::from_secs(late));
        log.maintain().unwrap_err();
        env.advance(every);
        log.maintain().unwrap();
        let log = open(&env.crash(Crash::Nothing, 1)).unwrap();
        assert_eq!(values(&log.topic("t").unwrap().partition(0).unwrap(), 0), ["x"], "{late}");
    }
}
