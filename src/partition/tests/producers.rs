//! What a log remembers of producers, through removals, openings and losses.

use crate::{
    ErrorKind, Partition, RecordData, Streamlog, TopicConfig,
    config::Builder,
    env::Env,
    partition::{
        tests::{append, batch, transactional},
        write::{checkpoint::checkpoint, gate::Origin, log_start::advance_log_start, retention},
    },
    planted,
    sim::{Crash, SimEnv},
    types::Timestamp,
};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A log whose partition rolls a segment every few batches.
fn create(env: &SimEnv) -> (Streamlog, Partition) {
    let log = open(env);
    let partition = log.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap().partition(0);
    (log, partition.unwrap())
}

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

fn reopen(env: &SimEnv) -> (Streamlog, Partition) {
    let log = open(env);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    (log, partition)
}

/// Appends a batch of producer 9. Returns its offset, and whether it was there already.
fn send(partition: &Partition, sequence: i32) -> (u64, bool) {
    let appended = append(partition.log(), batch(9, sequence, &"x".repeat(90)), Origin::Producer);
    (appended.base_offset.value(), appended.duplicate)
}

fn fill(partition: &Partition, count: i32) {
    for sequence in 0..count {
        send(partition, sequence);
    }
}

/// Appends batches of nobody.
fn plain(partition: &Partition, count: usize) {
    for _ in 0..count {
        partition.append(&[RecordData::new(&[7; 300])]).unwrap();
    }
}

/// The paths of the files with this ending, ascending.
fn files(env: &SimEnv, ending: &str) -> Vec<String> {
    let files = env.files();
    files.into_keys().filter(|path| path.ends_with(ending)).collect()
}

fn a_short_file_hides_no_transaction() {
    let env = SimEnv::new(1);
    let (log, partition) = create(&env);
    transactional(partition.log(), 7, 0, "undecided");
    fill(&partition, 20);
    checkpoint(partition.log()).unwrap();
    drop((log, partition));
    let env = env.crash(Crash::Nothing, 1);
    let last = files(&env, ".log").pop().unwrap();
    env.overwrite(&last, &env.files()[&last][..10]).unwrap();
    let (_log, partition) = reopen(&env);
    assert!(partition.log().damage().is_some(), "durable batches are gone");
    assert_eq!((partition.last_stable_offset().value(), partition.high_watermark().value()), (0, 21));
}

#[test]
fn a_transaction_from_before_a_file_that_was_cut_short_still_holds_readers_back() {
    planted::hold(a_short_file_hides_no_transaction, &["a_short_file_forgets_producers"]);
}

fn a_producer_is_forgotten_in_time() {
    let env = SimEnv::new(1);
    env.set_wall_clock(Timestamp::from_millis(1 << 40));
    let (log, partition) = create(&env);
    fill(&partition, 3);
    log.close().unwrap();
    env.advance(DAY - Duration::from_secs(1));
    let (log, partition) = reopen(&env);
    assert_eq!(send(&partition, 1), (1, true), "its records are of 1970, and it was there a day ago");
    log.close().unwrap();
    env.advance(Duration::from_secs(2));
    let (_log, partition) = reopen(&env);
    let batch = &mut batch(9, 5, "x");
    assert!(partition.log().append(batch).is_ok_and(|appended| !appended.duplicate), "it is a stranger now");
}

#[test]
fn a_producer_is_known_through_openings_until_it_was_silent_for_a_day() {
    planted::hold(a_producer_is_forgotten_in_time, &["a_producer_is_known_forever"]);
}

/// Everything of the first segments up to offset `end` goes, in one of the two ways.
fn remove_below(partition: &Partition, end: u64) {
    advance_log_start(partition.log(), end.into()).unwrap();
    retention::apply(partition.log()).unwrap();
}

/// How a log's life ends: cleanly, by a kill, by a power cut.
const ENDS: [Option<Crash>; 3] = [None, Some(Crash::Everything), Some(Crash::Nothing)];

fn end(env: &SimEnv, log: Streamlog, how: Option<Crash>) -> SimEnv {
    match how {
        None => {
            log.close().unwrap();
            env.clone()
        }
        Some(crash) => env.crash(crash, 1),
    }
}

fn retries_are_duplicates_after_every_removal() {
    // Up to an offset in the middle of a segment, up to the beginning of one, and everything.
    for removed in [1, 2, 5, 7, 20] {
        for how in ENDS {
            for checkpoints in [false, true] {
                let env = SimEnv::new(1);
                let (log, partition) = create(&env);
                append(partition.log(), batch(8, 0, "gone"), Origin::Producer);
                fill(&partition, 19);
                if checkpoints {
                    checkpoint(partition.log()).unwrap();
                }
                remove_below(&partition, removed);
                let env = end(&env, log, how);
                let what = format!("{removed} removed, {how:?}, checkpoint {checkpoints}");
                let (log, partition) = reopen(&env);
                assert_eq!(partition.log_start_offset(), removed, "{what}");
                for sequence in 14..19 {
                    assert_eq!(send(&partition, sequence), (sequence as u64 + 1, true), "{what}");
                }
                let gone = append(partition.log(), batch(8, 0, "gone"), Origin::Producer);
                assert_eq!((gone.base_offset.value(), gone.duplicate), (0, true), "{what}");
                assert_eq!(send(&partition, 19), (20, false), "{what}");
                // A second opening starts from what the first has written down.
                let env = end(&env, log, how);
                let (_log, partition) = reopen(&env);
                assert_eq!(send(&partition, 16), (17, true), "{what}");
            }
        }
    }
}

#[test]
fn a_retry_is_a_duplicate_whatever_was_removed_and_however_the_log_was_opened() {
    planted::hold(retries_are_duplicates_after_every_removal, &["forget_producers_of_what_goes"]);
}

/// A log with nothing but the state at its start to tell what producer 8 did, closed.
fn removed_and_closed() -> SimEnv {
    let env = SimEnv::new(1);
    let (log, partition) = create(&env);
    append(partition.log(), batch(8, 0, "gone"), Origin::Producer);
    fill(&partition, 19);
    remove_below(&partition, 20);
    assert_eq!(partition.segment_count(), 1);
    log.close().unwrap();
    env
}

/// Ways to lose a file.
const LOSSES: [fn(&SimEnv, &str); 3] = [
    |env, path| env.remove_file(path.as_ref()).unwrap(),
    |env, path| env.overwrite(path, b"").unwrap(),
    |env, path| {
        let mut content = env.files()[path].clone();
        *content.last_mut().unwrap() ^= 1;
        env.overwrite(path, &content).unwrap();
    },
];

fn lost_state_refuses_what_depends_on_it() {
    for ending in [".snapshot", ".producers"] {
        for lose in LOSSES {
            let env = removed_and_closed();
            let lost = files(&env, ending).pop().unwrap();
            lose(&env, &lost);
            let (log, partition) = reopen(&env);
            for sequence in [0, 1] {
                let refused = partition.log().append(&mut batch(8, sequence, "gone")).map(|_| ());
                assert!(refused.is_err(), "{lost} is gone, and a batch was taken that may be there already");
                let error = refused.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.to_string().contains("00000020.snapshot"), "{error}");
            }
            let damaged = log.health().damaged;
            assert_eq!(damaged.len(), 1, "{lost} is not reported");
            assert!(damaged[0].0 == *partition.topic_partition(), "{damaged:?}");
            assert!(damaged[0].1.to_string().contains("00000020.snapshot"), "{damaged:?}");
            // Appends without an id go on, and so does reading.
            assert_eq!(partition.append(&[RecordData::new("plain")]).unwrap().start, 20);
            assert_eq!(partition.records(20).count(), 1);
            // It is not forgotten that something was lost: not by a checkpoint, nor a roll, nor a removal.
            plain(&partition, 9);
            checkpoint(partition.log()).unwrap();
            remove_below(&partition, 25);
            log.close().unwrap();
            let (log, partition) = reopen(&env);
            assert!(partition.log().append(&mut batch(8, 0, "gone")).is_err(), "{lost}");
            // After a day nothing would be known of it anyway.
            checkpoint(partition.log()).unwrap();
            log.close().unwrap();
            env.advance(DAY);
            let (_log, partition) = reopen(&env);
            assert!(partition.log().append(&mut batch(8, 0, "new")).is_ok(), "{lost}");
            assert!(partition.log().damage().is_none(), "{lost}");
        }
    }
}

#[test]
fn producer_state_that_was_lost_refuses_what_depends_on_it_and_nothing_else() {
    let mistakes =
        ["lost_producers_are_nobody", "a_start_says_nothing_of_producers", "lost_producers_are_not_reported"];
    planted::hold(lost_state_refuses_what_depends_on_it, &mistakes);
}

#[test]
fn a_producer_with_a_batch_after_what_was_lost_goes_on() {
    let env = SimEnv::new(1);
    let (log, partition) = create(&env);
    fill(&partition, 19);
    remove_below(&partition, 7);
    let first = partition.log().first_base().unwrap().value();
    assert!(0 < first && first <= 7);
    checkpoint(partition.log()).unwrap();
    log.close().unwrap();
    // All snapshots: the batches are read again, and without the first one it is known that something is not.
    for path in files(&env, ".snapshot") {
        env.remove_file(path.as_ref()).unwrap();
    }
    let (_log, partition) = reopen(&env);
    assert_eq!(send(&partition, 18), (18, true));
    assert_eq!(send(&partition, 19), (19, false));
    let other = partition.log().append(&mut batch(8, 0, "new")).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Corrupt, "{other}");
}

#[test]
fn a_snapshot_that_is_missing_where_the_log_is_to_begin_is_made_from_the_batches() {
    let env = SimEnv::new(1);
    let (log, partition) = create(&env);
    append(partition.log(), batch(8, 0, "gone"), Origin::Producer);
    fill(&partition, 19);
    checkpoint(partition.log()).unwrap();
    log.close().unwrap();
    let (log, partition) = reopen(&env);
    for path in files(&env, ".producers") {
        env.remove_file(path.as_ref()).unwrap();
    }
    remove_below(&partition, 9);
    drop(log);
    let (_log, partition) = reopen(&env.crash(Crash::Nothing, 1));
    let gone = append(partition.log(), batch(8, 0, "gone"), Origin::Producer);
    assert!(gone.duplicate && partition.log_start_offset() == 9);
}

#[test]
fn a_log_without_producers_needs_no_snapshot_where_it_begins() {
    let env = SimEnv::new(1);
    let (log, partition) = create(&env);
    plain(&partition, 9);
    remove_below(&partition, 9);
    log.close().unwrap();
    for path in files(&env, ".snapshot") {
        env.remove_file(path.as_ref()).unwrap();
    }
    let (_log, partition) = reopen(&env);
    assert_eq!(send(&partition, 0), (9, false));
}
