//! After a failed flush the next opening believes the medium, not the cache; after an ordinary kill it believes the cache
//! and loses no time. (I1, I2, I3, I4)
//!
//! The simulated cache lies: a flush fails, its pages are gone, later flushes say yes, and the cache goes on showing what
//! the medium does not have. What an opening shows then has to survive a power cut. With each claim goes the planted
//! mistake that breaks it, and what is read is read past the cache where that is possible, and of a copy where not.

use streamlog::{
    Durability, ErrorKind, Partition, RecordData, Streamlog, TopicConfig,
    config::Builder,
    planted::plant,
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
};

const MISTAKE: &str = "trust_the_cache_after_a_failed_flush";

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

fn partition(log: &Streamlog) -> Partition {
    log.topic("t").unwrap().partition(0).unwrap()
}

/// A log whose first record is durable.
fn begin(durability: Durability) -> (SimEnv, Streamlog, Partition) {
    let env = SimEnv::new(1);
    let log = open(&env);
    let config = TopicConfig::default().durability(durability);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("durable")]).unwrap();
    partition.flush().unwrap();
    (env, log, partition)
}

fn lose_pages() -> Fault {
    Fault::new(FaultKind::LosePages).on(Operation::Sync).path(".log")
}

/// The flush failed, and the process noted that before it died.
fn noted() -> SimEnv {
    let (env, _log, partition) = begin(Durability::Flushed);
    env.inject(lose_pages());
    partition.append(&[RecordData::new("lost")]).unwrap_err();
    env.crash(Crash::Kill, 1)
}

/// The process died while the flush was under way, and noted nothing.
fn in_flight() -> SimEnv {
    let (env, _log, partition) = begin(Durability::Flushed);
    env.record();
    env.inject(lose_pages());
    partition.append(&[RecordData::new("lost")]).unwrap_err();
    killed_behind(&env, Operation::Sync)
}

/// What a death leaves right behind the first such operation on data since the recording began.
fn killed_behind(env: &SimEnv, operation: Operation) -> SimEnv {
    let recording = env.recording();
    let is_it = |o: &(u64, Operation, &str)| o.1 == operation && o.2.ends_with(".log");
    let (at, ..) = recording.operations().find(is_it).unwrap();
    let mut cursor = recording.cursor();
    while cursor.advance().unwrap() < at {}
    cursor.crash(Crash::Kill, 1)
}

/// The process died before any flush; that of the opening fails.
fn at_opening() -> SimEnv {
    let (env, _log, partition) = begin(Durability::Written);
    partition.append(&[RecordData::new("lost")]).unwrap();
    let env = env.crash(Crash::Kill, 1);
    env.inject(lose_pages());
    env
}

/// Whether the next opening's word holds: what it shows is there after a power cut, and what is appended behind it.
fn is_true(env: &SimEnv) -> bool {
    let log = open(env);
    let shown = partition(&log).log_end_offset().value();
    env.clear_faults();
    let cut = env.crash(Crash::Nothing, 1);
    let after = open(&cut);
    let kept = partition(&after).log_end_offset().value();
    assert!(kept >= 1, "what was durable");
    if kept != shown {
        return false;
    }
    let given = partition(&log).append(&[RecordData::new("next")]).unwrap();
    partition(&log).flush().unwrap();
    let after = open(&env.crash(Crash::Nothing, 1));
    let found = partition(&after).read(given.start).next();
    let kept =
        found.is_some_and(|batch| batch.is_ok_and(|b| b.iter().next().unwrap().value == Some(b"next")));
    given.start == shown && kept
}

fn check(lying: fn() -> SimEnv) {
    for cached_only in [false, true] {
        for mistake in [None, Some(MISTAKE)] {
            let env = lying();
            if cached_only {
                env.refuse_reads_past_the_cache();
            }
            plant(mistake);
            let holds = is_true(&env);
            plant(None);
            assert_eq!(
                holds,
                mistake.is_none(),
                "only through the cache: {cached_only}, planted: {mistake:?}"
            );
        }
    }
}

#[test]
fn a_failure_that_was_noted_is_remembered() {
    check(noted);
}

#[test]
fn a_flush_that_was_under_way_at_death_counts_as_failed() {
    check(in_flight);
}

#[test]
fn a_flush_that_fails_at_opening_proves_nothing_when_it_is_made_again() {
    check(at_opening);
}

#[test]
fn what_could_not_be_flushed_and_is_still_there_is_shown_when_it_is_durable() {
    let claim = |mistake| {
        let (env, _log, partition) = begin(Durability::Flushed);
        env.record();
        partition.append(&[RecordData::new("written")]).unwrap();
        let env = killed_behind(&env, Operation::Write);
        // Nothing is lost: the pages are as dirty as before, and to read past the cache writes them back.
        env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path(".log"));
        plant(mistake);
        let log = open(&env);
        plant(None);
        let shown = partition_end(&log);
        partition_end(&open(&env.crash(Crash::Nothing, 1))) == shown
    };
    assert!(claim(None));
    assert!(!claim(Some("believe_what_was_not_flushed")));
}

fn partition_end(log: &Streamlog) -> u64 {
    partition(log).log_end_offset().value()
}

/// The files that an opening made, and how often it read data.
fn work_of_opening(env: &SimEnv) -> (usize, usize) {
    // What looks past the cache makes a copy then, which shows.
    env.refuse_reads_past_the_cache();
    env.record();
    let log = open(env);
    assert!(partition_end(&log) >= 1);
    let recording = env.recording();
    let of = |which: Operation, end: &str| {
        recording.operations().filter(|(_, o, path)| *o == which && path.ends_with(end)).count()
    };
    (of(Operation::Create, ".log.tmp"), of(Operation::Read, ".log"))
}

#[test]
fn an_ordinary_kill_takes_the_fast_way() {
    for durability in [Durability::Flushed, Durability::Written] {
        let (env, _log, partition) = begin(durability);
        partition.append(&[RecordData::new("kept")]).unwrap();
        let (copies, reads) = work_of_opening(&env.crash(Crash::Kill, 1));
        assert_eq!(copies, 0, "{durability:?}");
        assert!(reads < 10, "{durability:?}: {reads}");
    }
    assert_eq!(work_of_opening(&noted()).0, 1);
    assert_eq!(work_of_opening(&in_flight()).0, 1);
    assert_eq!(work_of_opening(&at_opening()).0, 1);
}

#[test]
fn an_error_that_comes_one_flush_late_ends_appending_when_it_comes() {
    let (env, log, partition) = begin(Durability::Flushed);
    env.inject(Fault::new(FaultKind::Late).on(Operation::Sync).path(".log"));
    partition.append(&[RecordData::new("the flush says yes")]).unwrap();
    for _ in 0..2 {
        let refused = partition.append(&[RecordData::new("the error of the flush before")]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Poisoned);
    }
    assert_eq!(partition.high_watermark(), 2);
    assert!(!log.health().is_good());
    let after = open(&env.crash(Crash::Kill, 1));
    assert!(!after.recovery_report().was_clean);
    assert_eq!(values(&after)[..2], ["durable", "the flush says yes"], "as long as the power stays");
}

fn values(log: &Streamlog) -> Vec<String> {
    let batches = partition(log).read(0).map(Result::unwrap);
    batches
        .flat_map(|b| {
            b.iter().map(|r| String::from_utf8_lossy(r.value.unwrap()).into_owned()).collect::<Vec<_>>()
        })
        .collect()
}
