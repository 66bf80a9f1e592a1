//! A crash at every change that transactions make, in every way: all of a transaction counts or none of it, in every partition,
//! and what one opening showed every later one shows.

use super::*;
use crate::{
    planted::hold,
    sim::{Crash, Recording},
};
use std::collections::BTreeMap;

/// The values of the committed transactions, the same in both topics, and the number of the operation after which each commit
/// had returned.
struct Run {
    recording: Recording,
    acknowledged: BTreeMap<u64, String>,
    aborted: Vec<String>,
}

/// Three transactions that are committed, one that spills and is aborted, one that spills and is committed.
fn run() -> Run {
    let env = SimEnv::new(7);
    let log = open(&env);
    let producer = log.producer_builder().transaction_buffer(600).build().unwrap();
    let mut acknowledged = BTreeMap::new();
    env.record();
    for number in 0..5 {
        let value = match number {
            3 | 4 => format!("{number}{}", "-".repeat(700)),
            _ => number.to_string(),
        };
        let mut transaction = producer.begin_transaction().unwrap();
        for topic in ["a", "b"] {
            transaction.send(ProducerRecord::new(topic, &value)).unwrap();
        }
        if number == 3 {
            transaction.abort().unwrap();
        } else {
            transaction.commit().unwrap();
            acknowledged.insert(env.operations(), value);
        }
    }
    let recording = env.recording();
    Run { recording, acknowledged, aborted: vec!["3".into()] }
}

/// What a reader sees of the transactions: their first characters.
fn view(log: &Streamlog, topic: &str) -> Vec<String> {
    committed(log, topic).into_iter().map(|value| value.chars().take(1).collect()).collect()
}

/// Returns what was seen, and the handle, which has not been closed.
fn check(run: &Run, number: u64, env: &SimEnv, how: &str) -> (Vec<String>, Streamlog) {
    let log = open(env);
    let seen = view(&log, "a");
    assert_eq!(seen, view(&log, "b"), "{how}: a transaction counts in one topic and not in the other");
    let acknowledged = run.acknowledged.range(..=number).map(|(_, value)| value[..1].to_string());
    for value in acknowledged {
        assert!(seen.contains(&value), "{how}: {value} was acknowledged, and {seen:?} are there");
    }
    assert!(seen.iter().all(|value| !run.aborted.contains(value)), "{how}: {seen:?}");
    assert!(seen.is_sorted(), "{how}: {seen:?}");
    for topic in ["a", "b"] {
        let partition = partition(&log, topic);
        let (stable, end) = (partition.last_stable_offset(), partition.log_end_offset());
        assert_eq!(stable, end, "{how}: a reader of {topic} waits for nothing");
    }
    // The next life appends, to one log and so only to that one's new incarnation, and dies too.
    let next = log.producer().unwrap();
    next.send(ProducerRecord::new(if number.is_multiple_of(2) { "a" } else { "b" }, "z")).unwrap();
    (seen, log)
}

fn every_crash() {
    let run = run();
    let mut cursor = run.recording.cursor();
    let mut states = 0;
    while let Some(number) = cursor.advance() {
        for (kind, crash) in Crash::ALL.into_iter().enumerate() {
            // All of them where that is fast; the campaign tries more.
            if cfg!(debug_assertions) && !(number + kind as u64 * 5).is_multiple_of(4) {
                continue;
            }
            let how = format!("after operation {number}, {crash:?}");
            let env = cursor.crash(crash, number * 31 + kind as u64);
            let (seen, _alive) = check(&run, number, &env, &how);
            for later in [Crash::Nothing, Crash::Kill, Crash::Subset] {
                let how = format!("{how}, then {later:?}");
                let log = open(&env.crash(later, number));
                for topic in ["a", "b"] {
                    let again: Vec<_> = view(&log, topic).into_iter().filter(|value| value != "z").collect();
                    assert_eq!(again, seen, "{how}: what one opening showed every later one shows");
                }
                states += 1;
            }
        }
    }
    assert!(states > 300, "{states}");
}

#[test]
fn after_a_crash_all_of_a_transaction_counts_or_none_and_so_it_stays() {
    hold(
        every_crash,
        &[
            "a_decision_is_believed_without_its_ends",
            "ends_of_no_incarnation",
            "a_marker_before_the_decision",
            "what_a_crash_left_open_stays_open",
        ],
    );
}
