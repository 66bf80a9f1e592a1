//! When the cleaner of a handle cleans which log, what it leaves alone, and for whom it gives way.

use crate::{
    ErrorKind, Partition, RecordData, Streamlog, TopicConfig,
    admin::Compact,
    config::{Builder, CleanupPolicy},
    sim::{Fault, FaultKind, Operation, SimEnv},
};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(15);

fn compacted() -> TopicConfig {
    TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(512)
}

fn open(env: &SimEnv, threads: bool) -> Streamlog {
    Builder::env(env, "/data").background_thread(threads).open().unwrap()
}

/// A topic with so many updates of one key, in segments of two.
fn of_updates(log: &Streamlog, name: &str, config: TopicConfig, updates: usize) -> Partition {
    let partition = log.create_topic(name, config).unwrap().partition(0).unwrap();
    update(&partition, updates);
    partition
}

fn update(partition: &Partition, updates: usize) {
    for _ in 0..updates {
        partition.append(&[RecordData::new(&[7; 150]).key("k")]).unwrap();
    }
}

fn count(partition: &Partition) -> usize {
    partition.records(0).filter(|record| record.is_ok()).count()
}

fn pass(env: &SimEnv, time: Duration) {
    env.advance(time);
    env.pump(1000);
}

fn unfinished(env: &SimEnv) -> usize {
    env.files().keys().filter(|path| path.ends_with(".cleaned")).count()
}

#[test]
fn a_log_is_cleaned_in_the_background_once_enough_of_it_is_dirty() {
    let env = SimEnv::new(1);
    let log = open(&env, true);
    let partition = of_updates(&log, "t", compacted(), 8);
    assert_eq!(count(&partition), 8);
    pass(&env, LOOK_EVERY);
    let left = count(&partition);
    assert!(left <= 3, "{left}: the newest of what is sealed, and the active segment");
    // As much again is half of it, and half is not more than half.
    let strict = of_updates(&log, "u", compacted().min_cleanable_dirty_ratio(1.0), 8);
    pass(&env, LOOK_EVERY);
    assert_eq!(count(&strict), 8);
    log.close().unwrap();
}

#[test]
fn what_is_older_than_it_may_be_is_cleaned_however_clean_the_rest_is_and_what_is_young_is_not() {
    let env = SimEnv::new(1);
    let log = open(&env, true);
    let hour = Duration::from_secs(3600);
    let late = compacted().min_cleanable_dirty_ratio(1.0).max_compaction_lag(hour);
    let late = of_updates(&log, "late", late, 8);
    let young = of_updates(&log, "young", compacted().min_compaction_lag(DAY), 8);
    pass(&env, LOOK_EVERY);
    assert_eq!((count(&late), count(&young)), (8, 8));
    pass(&env, hour);
    assert!(count(&late) <= 3);
    assert_eq!(count(&young), 8);
    pass(&env, DAY);
    assert!(count(&young) <= 3);
}

#[test]
fn the_late_log_comes_before_the_dirtiest() {
    let env = SimEnv::new(1);
    let log = open(&env, false);
    let second = Duration::from_secs(1);
    let late = compacted().min_cleanable_dirty_ratio(1.0).max_compaction_lag(second);
    let [half, full, late] = [("half", compacted()), ("full", compacted()), ("late", late)]
        .map(|(name, config)| of_updates(&log, name, config, 8));
    log.compact_now("half", Compact::new()).unwrap();
    log.compact_now("late", Compact::new()).unwrap();
    update(&half, 8);
    update(&late, 8);
    env.advance(2 * second);
    let logs = [late, full, half];
    let mut order = Vec::new();
    while log.maintain_for(Duration::ZERO).unwrap() {
        let clean = logs.iter().map(|partition| count(partition) <= 3).collect::<Vec<_>>();
        if order.last() != Some(&clean) {
            order.push(clean);
        }
    }
    assert_eq!(
        order,
        [[false, false, false], [true, false, false], [true, true, false], [true, true, true]],
        "the late one, the one that is all dirty, the one that is dirty in part"
    );
}

#[test]
fn a_log_that_cannot_be_cleaned_is_parked_and_the_others_are_cleaned() {
    let env = SimEnv::new(1);
    let log = open(&env, true);
    let bad = of_updates(&log, "bad", compacted(), 8);
    env.inject(
        Fault::new(FaultKind::DiskFull)
            .on(Operation::Create)
            .path("bad-0/00000000000000000000.log.cleaned")
            .forever(),
    );
    let good = of_updates(&log, "good", compacted(), 8);
    pass(&env, LOOK_EVERY);
    // It rests after each failure too.
    pass(&env, Duration::from_secs(1));
    assert_eq!((count(&bad), count(&good) <= 3), (8, true));
    for _ in 0..2 {
        let health = log.health();
        let [(at, error)] = &health.not_compacted[..] else { panic!("{health}") };
        assert_eq!((&*at.topic, error.kind()), ("bad", ErrorKind::DiskFull));
        assert!(!health.is_good() && health.to_string().contains("bad-0 is not compacted: "), "{health}");
    }
    let struck = env.struck();
    for _ in 0..100 {
        pass(&env, LOOK_EVERY);
    }
    let tries = env.struck() - struck;
    assert!((4..=8).contains(&tries), "{tries}: each pause is twice as long as the last one");
    env.clear_faults();
    pass(&env, 2 * 100 * LOOK_EVERY);
    assert!(count(&bad) <= 3 && log.health().is_good());
    assert_eq!(unfinished(&env), 0);
    log.close().unwrap();
}

#[test]
fn a_call_takes_over_what_was_begun_between_other_things_and_so_does_a_close() {
    for closes in [false, true] {
        let env = SimEnv::new(1);
        let log = open(&env, false);
        let partition = of_updates(&log, "t", compacted(), 8);
        while unfinished(&env) == 0 {
            assert!(log.maintain_for(Duration::ZERO).unwrap(), "nothing was begun");
        }
        if closes {
            log.close().unwrap();
        } else {
            log.compact_now("t", Compact::new()).unwrap();
            assert_eq!(count(&partition), 1);
            log.maintain().unwrap();
        }
        assert_eq!(unfinished(&env), 0);
    }
}

#[test]
fn a_topic_that_is_deleted_while_it_is_cleaned_ends_that() {
    let env = SimEnv::new(1);
    let log = open(&env, false);
    of_updates(&log, "t", compacted(), 8);
    while unfinished(&env) == 0 {
        assert!(log.maintain_for(Duration::ZERO).unwrap());
    }
    log.delete_topic("t").unwrap();
    of_updates(&log, "t", compacted(), 8);
    log.maintain().unwrap();
    log.maintain().unwrap();
    assert!(count(&log.topic("t").unwrap().partition(0).unwrap()) <= 3);
    assert!(log.health().is_good());
    log.close().unwrap();
}
