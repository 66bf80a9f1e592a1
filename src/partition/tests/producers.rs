//! What a log remembers of producers, through removals, openings and losses.

use crate::{
    Partition, Streamlog, TopicConfig,
    config::Builder,
    partition::{
        tests::{append, batch, transactional},
        write::{checkpoint::checkpoint, gate::Origin},
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
