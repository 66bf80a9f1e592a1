//! What was decided, and what became of it.

use super::*;
use crate::codec::fixtures::transaction_records;

#[test]
fn a_decision_is_kafkas_record_and_says_how_far_the_logs_must_reach() {
    let env = MemoryEnv::new();
    let claims = claims(&env);
    let held = claim(&claims, "a");
    let decided = decide(&claims, held, true).unwrap();
    assert_eq!(decided.next, Claimed { epoch: 1, ..held });
    let found = claims.decision(held).unwrap().unwrap();
    assert_eq!((found.commit, found.marker_epoch, found.is_complete), (true, 1, false));
    assert_eq!(found.ends, [end(0, 4, 8), end(1, 0, 2)]);
    let described = claims.describe("a").unwrap().unwrap();
    assert_eq!((described.producer_id, described.producer_epoch), (held.id, 1));
    assert_eq!((described.status, described.timeout), (TransactionStatus::PrepareCommit, MINUTE));
    assert_eq!(described.started, Some(Timestamp::from_millis(5)));
    let partitions: Vec<String> = described.partitions.iter().map(ToString::to_string).collect();
    assert_eq!(partitions, ["s-0", "t-0", "t-1"]);
    claims.append_complete(held, true).unwrap();
    flush(&decided);
    let described = claims.describe("a").unwrap().unwrap();
    assert_eq!((described.status, described.producer_epoch), (TransactionStatus::CompleteCommit, 1));
    assert_eq!((described.partitions.len(), described.started), (0, Some(Timestamp::from_millis(5))));
    assert!(claims.decision(held).unwrap().unwrap().is_complete);
    assert_eq!(claims.list().unwrap()[0].status, TransactionStatus::CompleteCommit);
    assert_eq!(status(&claims, "a").to_string(), "CompleteCommit");
}

#[test]
fn every_decision_is_found_not_only_the_last_of_its_name() {
    planted::hold(all_found, &["last_decision_per_name", "epoch_not_raised"]);
}

fn all_found() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let mut held = claim(&first, "a");
    let mut decided = Vec::new();
    for i in 0..5 {
        decided.push((held, i % 2 == 0));
        held = decide(&first, held, i % 2 == 0).unwrap().next;
    }
    for claims in [first, claims(&env)] {
        for (of, commit) in &decided {
            assert_eq!(outcome(&claims, *of), Some(*commit), "{of:?}");
        }
        assert_eq!(outcome(&claims, held), None);
        assert_eq!(claims.open_decisions().unwrap().len(), 5);
    }
}

#[test]
fn a_late_decision_touches_no_later_transaction() {
    planted::hold(late, &["epoch_not_raised"]);
}

fn late() {
    let env = MemoryEnv::new();
    let claims = claims(&env);
    let held = claim(&claims, "a");
    let next = commit(&claims, held);
    assert_fenced(decide(&claims, held, false), &["'a'", "epoch 1"]);
    assert_eq!((outcome(&claims, held), outcome(&claims, next)), (Some(true), None));
    // Nor may one that is two epochs ahead.
    assert_fenced(decide(&claims, Claimed { epoch: 5, ..held }, true), &["'a'"]);
}

#[test]
fn what_is_appended_counts_before_it_is_durable() {
    let env = MemoryEnv::new();
    let claims = claims(&env);
    let held = claim(&claims, "a");
    let append = |claimed| claims.append_decision(claimed, &verdict(true), &[]);
    let decided = append(held).unwrap();
    assert_fenced(append(held), &["'a'"]);
    assert_eq!(claims.fence("a").unwrap(), Some(Claimed { epoch: 2, ..held }));
    assert_fenced(append(decided.next), &["'a'", "epoch 2"]);
    assert_eq!(outcome(&claims, held), Some(true), "the fence made it durable as well");
}

#[test]
fn an_abort_decided_over_a_commit_holds_also_after_a_later_transaction() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let held = claim(&first, "a");
    let over = |held, decided: &Decided| {
        let end = first.decide_over(held, decided).unwrap();
        assert!(end > decided.end);
        decided.log.flush_to(end).unwrap();
    };
    let failed = decide(&first, held, true).unwrap();
    over(held, &failed);
    assert_eq!(status(&first, "a"), TransactionStatus::PrepareAbort);
    let earlier = decide(&first, failed.next, true).unwrap();
    let later = decide(&first, earlier.next, true).unwrap();
    over(failed.next, &earlier);
    for claims in [first, claims(&env)] {
        let outcomes = [held, failed.next, earlier.next].map(|of| outcome(&claims, of));
        assert_eq!(outcomes, [Some(false), Some(false), Some(true)]);
        assert_eq!(status(&claims, "a"), TransactionStatus::PrepareCommit, "of the last one");
        assert_eq!(claims.describe("a").unwrap().unwrap().producer_epoch, later.next.epoch);
    }
}

#[test]
fn the_end_of_an_earlier_transaction_changes_nothing_of_a_later_one() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let held = claim(&first, "a");
    let next = decide(&first, held, true).unwrap().next;
    let last = decide(&first, next, true).unwrap();
    first.append_complete(held, false).unwrap();
    first.append_complete(Claimed { id: 9, epoch: 9 }, true).unwrap();
    flush(&last);
    for claims in [first, claims(&env)] {
        let decisions = [held, next].map(|of| claims.decision(of).unwrap().unwrap());
        assert_eq!(decisions.clone().map(|found| found.is_complete), [true, false]);
        assert_eq!(decisions.map(|found| found.commit), [false, true], "the first was void");
        assert_eq!(status(&claims, "a"), TransactionStatus::PrepareCommit);
        assert_eq!(claims.list().unwrap().len(), 1, "nobody decided what nobody knows");
    }
}

/// T49.
#[test]
fn the_last_epoch_is_that_of_markers_and_the_next_transaction_has_a_new_id() {
    planted::hold(last_epoch, &["epoch_not_raised"]);
}

fn last_epoch() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    write(&first, vec![record::entry("a", Some(&value(9, 32765, TransactionStatus::Empty)))]);
    let held = claim(&first, "a");
    let decided = decide(&first, held, true).unwrap();
    assert_eq!(decided.next.epoch, 0);
    assert!(decided.next.id >= 1 << 40);
    assert_eq!(first.decision(held).unwrap().unwrap().marker_epoch, 32767);
    assert_eq!(first.describe("a").unwrap().unwrap().producer_id, decided.next.id);
    // Claimed before the end is written, by another life.
    let second = claims(&env);
    let claimed = second.claim("a", MINUTE).unwrap();
    assert_eq!(claimed, Claim { producer: Claimed { epoch: 1, ..decided.next }, previous_id: Some(9) });
    second.append_complete(held, true).unwrap();
    let decided = decide(&second, claimed.producer, true).unwrap();
    assert!(second.decision(held).unwrap().unwrap().is_complete);
    assert_eq!(decided.next.epoch, 2);
    // And where the end is written first.
    let env = MemoryEnv::new();
    let claims = claims(&env);
    write(&claims, vec![record::entry("a", Some(&value(9, 32765, TransactionStatus::Empty)))]);
    let held = claim(&claims, "a");
    let next = commit(&claims, held);
    let after = commit(&claims, next);
    assert_eq!(after, Claimed { epoch: 1, ..next });
    let found = [held, next].map(|of| claims.decision(of).unwrap().unwrap());
    assert_eq!(found.map(|found| (found.commit, found.marker_epoch)), [(true, 32767), (true, 1)]);
    assert!(claims.decision(held).unwrap().unwrap().is_complete);
    assert_eq!(claims.claim("a", MINUTE).unwrap().previous_id, Some(9));
}

/// T39.
#[test]
fn a_producer_without_a_name_decides_under_its_id_and_is_fenced_by_its_own_end() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let drawn = first.draw();
    assert!((drawn.epoch, first.draw().id) != (0, drawn.id) && drawn.id >= 1 << 40);
    let next = commit(&first, drawn);
    assert_eq!(next, Claimed { epoch: 1, ..drawn });
    assert_fenced(decide(&first, drawn, false), &["streamlog.anonymous."]);
    let after = commit(&first, next);
    let used_up = Claimed { id: first.draw().id, epoch: 32766 };
    let renewed = decide(&first, used_up, true).unwrap().next;
    assert_eq!(renewed.epoch, 0);
    assert_ne!(renewed.id, used_up.id);
    assert_eq!(first.decision(used_up).unwrap().unwrap().marker_epoch, 32767);
    commit(&first, renewed);
    for claims in [first, claims(&env)] {
        assert_eq!([drawn, next, used_up, renewed].map(|of| outcome(&claims, of)), [Some(true); 4]);
        assert_eq!(outcome(&claims, after), None);
    }
}

/// T61 and T62, and decisions of Kafka's first protocol, whose markers have the epoch of the batches.
#[test]
fn records_of_brokers_are_read_by_their_own_protocol() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let old = TransactionValue { client_version: 0, ..value(7, 3, TransactionStatus::PrepareCommit) };
    let rotated =
        TransactionValue { previous_producer_id: 8, ..value(80, 0, TransactionStatus::CompleteAbort) };
    let back = TransactionValue {
        last_update: Timestamp::from_millis(1),
        ..value(9, 6, TransactionStatus::Ongoing)
    };
    let unknown = TableRecord { key: vec![0, 5, 1], value: Some(vec![9]), headers: vec![] };
    write(
        &first,
        vec![
            record::entry("old", Some(&old)),
            unknown,
            record::entry("new", Some(&value(9, 5, TransactionStatus::PrepareCommit))),
            record::entry("new", Some(&back)),
            record::entry("rotated", Some(&value(8, 32767, TransactionStatus::PrepareAbort))),
            record::entry("rotated", Some(&rotated)),
        ],
    );
    for claims in [first, claims(&env)] {
        let decision = |id, epoch| claims.decision(Claimed { id, epoch }).unwrap();
        let found = decision(7, 3).unwrap();
        assert_eq!((found.commit, found.marker_epoch, found.ends.len()), (true, 3, 0));
        let found = decision(9, 4).unwrap();
        assert_eq!((found.commit, found.marker_epoch, found.is_complete), (true, 5, false));
        assert!(decision(9, 5).is_none() && decision(9, 6).is_none());
        let found = decision(8, 32766).unwrap();
        assert_eq!((found.commit, found.is_complete), (false, true));
        assert_eq!(claims.list().unwrap().len(), 3);
    }
}

#[test]
fn what_a_broker_left_is_decided_as_its_records_say() {
    for left in ["clean", "killed"] {
        let records = transaction_records(left);
        let Some((last_key, _)) = records.last().cloned() else { return };
        let env = MemoryEnv::new();
        let claims = claims(&env);
        let record = |(key, value)| TableRecord { key, value: Some(value), headers: vec![] };
        write(&claims, records.into_iter().map(record).collect());
        assert!(claims.open_decisions().unwrap().is_empty(), "{left}: every decision has its end");
        let listed = claims.list().unwrap();
        let ongoing: Vec<&str> = listed
            .iter()
            .filter(|listing| listing.status == TransactionStatus::Ongoing)
            .map(|listing| &*listing.name)
            .collect();
        assert_eq!(ongoing, ["left-open"], "{left}");
        for listing in &listed {
            let described = claims.describe(&listing.name).unwrap().unwrap();
            let before = Claimed { id: described.producer_id, epoch: described.producer_epoch - 1 };
            let committed = match described.status {
                TransactionStatus::CompleteCommit => Some(true),
                TransactionStatus::CompleteAbort => Some(false),
                _ => continue,
            };
            assert_eq!(outcome(&claims, before), committed, "{left}: {described:?}");
            let raised = described.producer_epoch + 1;
            assert_eq!(claim(&claims, &listing.name), Claimed { epoch: raised, ..before });
        }
        assert!(listed.iter().any(|listing| last_key.ends_with(listing.name.as_bytes())));
    }
}
