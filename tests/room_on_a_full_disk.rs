//! A full medium can be freed: deleting topics and records, retention and the settings that ask for it need no space,
//! wherever the files end when the last byte is taken, and whether the log was just opened or not. (I11, I14)

use std::time::Duration;
use streamlog::{
    Durability, ErrorKind, RecordData, Streamlog, TopicConfig,
    config::{Builder, ConfigChange},
    sim::{Crash, SimEnv},
};

const SEGMENTS: u64 = 6;

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

/// A log with two topics of a few segments, whose manifest has grown by `phase` entries since.
fn filled(env: &SimEnv, phase: u64, durability: Durability) -> Streamlog {
    let log = open(env);
    for name in ["a", "b"] {
        let config = TopicConfig::default().segment_bytes(600).durability(durability);
        let partition = log.create_topic(name, config).unwrap().partition(0).unwrap();
        for _ in 0..SEGMENTS {
            partition.append(&[RecordData::new(&[7; 400])]).unwrap();
        }
        partition.flush().unwrap();
    }
    for i in 0..phase {
        log.alter_topic("b", &[ConfigChange::set("segment.ms", (1000 + i).to_string())]).unwrap();
    }
    log
}

/// From now on there is as much space as is taken, and what is freed.
fn fill(env: &SimEnv) {
    env.set_capacity(Some(env.used()));
}

/// How the log comes to be full: while it is open, after a close, after a death.
fn ways(log: Streamlog, env: &SimEnv, way: u64) -> (Streamlog, SimEnv) {
    match way {
        0 => {
            fill(env);
            (log, env.clone())
        }
        1 => {
            log.close().unwrap();
            fill(env);
            (open(env), env.clone())
        }
        _ => {
            let env = env.crash(Crash::Everything, 1);
            fill(&env);
            (open(&env), env)
        }
    }
}

fn check_full(log: &Streamlog) {
    let error = log.create_topic("more", TopicConfig::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
}

#[test]
fn topics_and_records_are_deleted_from_a_full_medium_wherever_the_manifest_ends() {
    for phase in 0..40 {
        for way in 0..3 {
            for durability in [Durability::Flushed, Durability::Written] {
                let env = SimEnv::new(phase);
                let (log, env) = ways(filled(&env, phase, durability), &env, way);
                check_full(&log);
                let used = env.used();
                for before in 1..=SEGMENTS {
                    assert_eq!(
                        log.delete_records("a", 0, before).unwrap(),
                        before,
                        "phase {phase}, way {way}"
                    );
                    // Whatever was freed is taken by somebody else.
                    fill(&env);
                }
                assert!(env.used() < used, "phase {phase}, way {way}: {} of {used} bytes", env.used());
                check_full(&log);
                log.delete_topic("b").unwrap();
                log.delete_topic("a").unwrap();
                assert!(log.topics().unwrap().is_empty());
                drop(log);
                env.set_capacity(None);
                assert!(open(&env).topics().unwrap().is_empty());
            }
        }
    }
}

#[test]
fn retention_can_be_asked_for_and_runs_on_a_full_medium() {
    for phase in 0..40 {
        let env = SimEnv::new(phase);
        let (log, env) = ways(filled(&env, phase, Durability::Flushed), &env, phase % 3);
        check_full(&log);
        log.alter_topic("a", &[ConfigChange::set("retention.ms", "1000")]).unwrap();
        log.alter_topic("b", &[ConfigChange::set("retention.bytes", "900")]).unwrap();
        env.advance(Duration::from_secs(2));
        let used = env.used();
        log.maintain().unwrap();
        let start = |topic: &str| log.topic(topic).unwrap().partition(0).unwrap().log_start_offset().value();
        assert_eq!(start("a"), SEGMENTS, "phase {phase}");
        assert!(start("b") > 0, "phase {phase}");
        assert!(env.used() < used);
        log.topic("a").unwrap().partition(0).unwrap().append(&[RecordData::new("there is room")]).unwrap();
    }
}

#[test]
fn more_than_a_hundred_removals_find_room_though_all_that_they_free_is_taken() {
    let env = SimEnv::new(1);
    let log = filled(&env, 0, Durability::Flushed);
    let partition = log.topic("a").unwrap().partition(0).unwrap();
    for i in 0..120 {
        partition.append(&[RecordData::new(&[i; 400])]).unwrap();
    }
    // Nothing is ever free again.
    env.set_capacity(Some(0));
    for before in 1..=100 {
        log.delete_records("a", 0, before).unwrap();
    }
    log.delete_topic("b").unwrap();
    log.delete_topic("a").unwrap();
}

#[test]
fn records_whose_removal_failed_are_removed_by_the_next_call() {
    use streamlog::sim::{Fault, FaultKind, Operation};
    let env = SimEnv::new(1);
    let log = filled(&env, 0, Durability::Flushed);
    let first = "/data/a-0/00000000000000000000.log";
    // The start is said; that the segments are gone is not.
    env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path("manifest").skip(2).forever());
    let error = log.delete_records("a", 0, 4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    assert_eq!(log.topic("a").unwrap().partition(0).unwrap().log_start_offset(), 4);
    log.delete_records("a", 0, 4).unwrap_err();
    assert!(env.files().contains_key(first));
    env.clear_faults();
    assert_eq!(log.delete_records("a", 0, 4).unwrap(), 4);
    assert!(!env.files().contains_key(first));
}
