//! The sidecar and the rewriting change no answer that is still needed.

use super::*;
use crate::{
    env::{Env, Open, read_full_at},
    storage::sidecar::write_file,
};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Instant,
};

const EAGER: CompactionThresholds = CompactionThresholds {
    snapshot_every: 1,
    rewrite_above: u64::MAX,
    segment_bytes: 8 << 20,
    chunk_bytes: 256 << 10,
};
/// Rewritten at each chance.
const SHORT: CompactionThresholds =
    CompactionThresholds { rewrite_above: 1, snapshot_every: u64::MAX, ..EAGER };

/// A name with one complete and two open decisions, one of them overruled; one that was forgotten with an open decision;
/// an anonymous producer that is complete, and one that is not. Returned are the transactions and their outcomes.
fn filled(claims: &Claims) -> Vec<(Claimed, bool)> {
    let a = claim(claims, "a");
    let b = commit(claims, a);
    let decided = decide(claims, b, true).unwrap();
    let c = decided.next;
    decide(claims, c, true).unwrap();
    claims.decide_over(b, &decided).unwrap();
    let gone = claim(claims, "gone");
    decide(claims, gone, true).unwrap();
    claims.forget("gone").unwrap();
    let (over, open) = (claims.draw(), claims.draw());
    commit(claims, over);
    decide(claims, open, false).unwrap();
    vec![(a, true), (b, false), (c, true), (gone, true), (over, true), (open, false)]
}

fn check(claims: &Claims, decided: &[(Claimed, bool)], rewritten: bool) {
    for (i, (of, commit)) in decided.iter().enumerate() {
        // Those that are complete may go: their markers are durable.
        let is_gone = rewritten && [0, 4].contains(&i);
        assert_eq!(outcome(claims, *of), (!is_gone).then_some(*commit), "transaction {i}");
    }
    let names: Vec<String> = claims.list().unwrap().into_iter().map(|listing| listing.name).collect();
    assert_eq!(names.len(), if rewritten { 2 } else { 3 }, "{names:?}");
    assert_eq!(names[0], "a");
    assert_eq!(status(claims, "a"), TransactionStatus::PrepareCommit);
    let open = claims.open_decisions().unwrap();
    assert_eq!(open.len(), 4);
    assert!(open.iter().filter(|(_, found)| found.commit).all(|(_, found)| found.ends.len() == 2));
}

#[test]
fn a_sidecar_says_what_the_log_says_and_a_damaged_one_is_ignored() {
    let env = MemoryEnv::new();
    let first = with_upkeep(&env, EAGER);
    let decided = filled(&first);
    claim(&first, "a");
    claim(&first, "a");
    let path = PathBuf::from("/log/__transaction_state-0").join(TransactionState::SIDECAR);
    let file = env.open(&path, Open::Read).unwrap();
    let mut good = vec![0; file.len().unwrap() as usize];
    read_full_at(&*file, &mut good, 0).unwrap();
    let (at, state) = TransactionState::decode_sidecar(&good).unwrap();
    assert_eq!(state.encode_sidecar(at), good);
    for i in [0, 5, 12, good.len() / 2, good.len() - 1, good.len()] {
        let mut bytes = good.clone();
        if let Some(byte) = bytes.get_mut(i) {
            *byte ^= 1;
        }
        write_file(&*env, &path, &bytes).unwrap();
        let claims = claims(&env);
        for (of, commit) in &decided {
            assert_eq!(outcome(&claims, *of), Some(*commit), "byte {i}");
        }
        assert_eq!(claims.describe("a").unwrap().unwrap().producer_epoch, 5, "byte {i}");
    }
}

#[test]
fn a_rewriting_keeps_names_and_the_decisions_whose_markers_may_be_missing() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let decided = filled(&first);
    check(&first, &decided, false);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let second = Claims::new(open(&env), SHORT, move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    check(&second, &decided, false);
    second.settle().unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the markers are durable first");
    check(&second, &decided, true);
    check(&claims(&env), &decided, true);
    // And once more, from what the rewriting wrote.
    let third = with_upkeep(&env, SHORT);
    third.settle().unwrap();
    third.settle().unwrap();
    check(&third, &decided, true);
    // The name's holder goes on as before.
    let held = Claimed { epoch: 3, ..decided[0].0 };
    assert_eq!(claim(&claims(&env), "a"), Claimed { epoch: 4, ..held });
}

#[test]
fn while_markers_cannot_be_made_durable_every_decision_stays() {
    let env = MemoryEnv::new();
    let decided = filled(&claims(&env));
    let fails = Arc::new(AtomicBool::new(true));
    let is_failing = Arc::clone(&fails);
    let claims_ = Claims::new(open(&env), SHORT, move || match is_failing.load(Ordering::Relaxed) {
        true => Err(Error::closed("a log")),
        false => Ok(()),
    });
    claims_.settle().unwrap();
    check(&claims_, &decided, false);
    check(&claims(&env), &decided, false);
}

#[test]
fn an_anonymous_producer_goes_on_after_its_entry_has_gone() {
    let env = MemoryEnv::new();
    let claims = with_upkeep(&env, SHORT);
    let next = commit(&claims, claims.draw());
    claim(&claims, "a");
    claims.settle().unwrap();
    assert_eq!(claims.list().unwrap().len(), 1, "its entry has gone");
    let after = decide(&claims, next, true).unwrap().next;
    assert_eq!((after.epoch, outcome(&claims, next)), (2, Some(true)));
    assert_fenced(decide(&claims, next, true), &["anonymous"]);
}

#[test]
fn ten_thousand_decisions_are_loaded_and_found() {
    let env = MemoryEnv::new();
    let claims_ = claims(&env);
    let held = claim(&claims_, "a");
    let mut value = value(held.id, 0, TransactionStatus::PrepareCommit);
    let mut records = Vec::new();
    for epoch in 1..=10_000 {
        value.producer_epoch = epoch;
        records.push(record::decision("a", &value, Some(&[end(0, 4, 8), end(1, 0, 2)])));
    }
    claims_.table.update(|_| Ok(Update::in_pieces(records, ()))).unwrap();
    let again = claims(&env);
    let begin = Instant::now();
    assert_eq!(again.open_decisions().unwrap().len(), 10_000);
    println!("10,000 decisions were loaded in {:?}", begin.elapsed());
    for epoch in [0, 1, 5000, 9999] {
        assert_eq!(outcome(&again, Claimed { epoch, ..held }), Some(true));
    }
    assert_eq!(outcome(&again, Claimed { epoch: 10_000, ..held }), None);
}
