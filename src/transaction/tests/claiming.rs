//! Who may write under a name.

use super::*;
use crate::env::Env;

/// T40.
#[test]
fn a_claim_raises_the_epoch_once_and_is_there_after_a_reopening() {
    planted::hold(claimed_and_reopened, &["epoch_not_raised", "epoch_raised_twice"]);
}

fn claimed_and_reopened() {
    let env = MemoryEnv::new();
    let first = claims(&env);
    let claimed = first.claim("a", MINUTE).unwrap();
    assert_eq!((claimed.producer.epoch, claimed.previous_id), (0, None));
    assert!(claimed.producer.id >= 1 << 40);
    assert_eq!(claim(&first, "a"), Claimed { epoch: 1, ..claimed.producer });
    assert_ne!(claim(&first, "b").id, claimed.producer.id);
    assert_eq!(status(&first, "a"), TransactionStatus::Empty);
    // Without a close, as after a crash.
    let second = claims(&env);
    assert_eq!(claim(&second, "a"), Claimed { epoch: 2, ..claimed.producer });
    commit(&second, Claimed { epoch: 2, ..claimed.producer });
    assert_eq!(status(&second, "a"), TransactionStatus::CompleteCommit, "as it stands, durable or not");
    assert_eq!(claim(&second, "a"), Claimed { epoch: 4, ..claimed.producer });
}

/// T41 to T43, KAFKA-19367: neither a transaction that is open nor one that is decided costs a second epoch.
#[test]
fn a_claim_that_meets_a_transaction_raises_the_epoch_once() {
    planted::hold(claimed_over_a_transaction, &["epoch_not_raised", "epoch_raised_twice"]);
}

fn claimed_over_a_transaction() {
    for found in
        [TransactionStatus::Ongoing, TransactionStatus::PrepareAbort, TransactionStatus::CompleteAbort]
    {
        let env = MemoryEnv::new();
        let claims = claims(&env);
        write(&claims, vec![record::entry("a", Some(&value(9, 5, found)))]);
        assert_eq!(claim(&claims, "a"), Claimed { id: 9, epoch: 6 }, "{found}");
        assert_eq!(claim(&claims, "a"), Claimed { id: 9, epoch: 7 }, "{found}");
    }
}

/// T43.
#[cfg(feature = "sim")]
#[test]
fn a_claim_that_could_not_be_written_raises_no_epoch() {
    use crate::{env::sim::SimEnv, storage, topic::catalog::Catalog};
    let env = SimEnv::new(1);
    env.create_dir("/log".as_ref()).unwrap();
    let read_mode = storage::files::ReadMode::default();
    let options = storage::data_dir::SharedOptions { read_only: false, read_mode, max_open_files: 64 };
    let data_dir = storage::data_dir::DataDir::open(Arc::new(env.clone()), "/log".as_ref(), options).unwrap();
    let catalog = Arc::new(Catalog::open(data_dir, &mut |_| true).unwrap().0);
    let claims = Claims::new(catalog, CompactionThresholds::default(), || Ok(()));
    let held = claim(&claims, "a");
    env.set_capacity(Some(env.used()));
    let refused = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::DiskFull);
    for _ in 0..1000 {
        // What was reserved for the log is used up first.
        if claims.claim("b", MINUTE).is_err() {
            break;
        }
    }
    refused(claims.claim("a", MINUTE).map(|_| ()));
    refused(claims.claim("a", MINUTE).map(|_| ()));
    refused(decide(&claims, held, true).map(|_| ()));
    assert_eq!(claims.describe("a").unwrap().unwrap().producer_epoch, 0);
    env.set_capacity(None);
    let next = decide(&claims, held, true).unwrap().next;
    assert_eq!(claim(&claims, "a"), Claimed { epoch: next.epoch + 1, ..next });
}

/// T53, T72.
#[test]
fn a_decision_of_a_fenced_holder_is_refused_and_names_the_winner() {
    planted::hold(fenced, &["epoch_not_raised"]);
}

fn fenced() {
    let env = MemoryEnv::new();
    let claims = claims(&env);
    let zombie = claim(&claims, "sensor-7");
    let winner = claim(&claims, "sensor-7");
    let at = env.now().to_string();
    let id = winner.id.to_string();
    let refused = decide(&claims, zombie, true);
    assert_fenced(refused, &["'sensor-7'", "at epoch 1 of", &id, &at[..10], "this one writes at epoch 0"]);
    assert_eq!(outcome(&claims, zombie), None);
    decide(&claims, winner, true).unwrap();
    assert_eq!(outcome(&claims, winner), Some(true));
    assert_eq!(outcome(&claims, zombie), None);
}

#[test]
fn a_fence_needs_no_name_of_ones_own_and_makes_none() {
    let env = MemoryEnv::new();
    let claims = claims(&env);
    assert_eq!(claims.fence("a").unwrap(), None);
    assert!(claims.list().unwrap().is_empty());
    let held = claims.claim("a", Duration::from_secs(7)).unwrap().producer;
    assert_eq!(claims.fence("a").unwrap(), Some(Claimed { epoch: 1, ..held }));
    assert_fenced(decide(&claims, held, true), &["'a'", "epoch 1"]);
    assert_eq!(claims.describe("a").unwrap().unwrap().timeout, Duration::from_secs(7));
    assert_eq!(claim(&claims, "a"), Claimed { epoch: 2, ..held });
}

/// T58, in so far as names go when somebody says so, and by no clock.
#[test]
fn a_forgotten_name_fences_its_holder_and_begins_anew() {
    let env = MemoryEnv::new();
    let claims_ = claims(&env);
    assert!(!claims_.forget("a").unwrap());
    let held = claim(&claims_, "a");
    decide(&claims_, held, true).unwrap();
    assert!(claims_.forget("a").unwrap() && !claims_.forget("a").unwrap());
    assert_eq!(claims_.describe("a").unwrap(), None);
    assert_fenced(decide(&claims_, Claimed { epoch: 1, ..held }, true), &["'a' was forgotten"]);
    for claims in [claims_, claims(&env)] {
        assert_eq!(outcome(&claims, held), Some(true), "its decision stands");
        assert_eq!(claims.describe("a").unwrap(), None);
    }
    let again = claims(&env).claim("a", MINUTE).unwrap();
    assert_eq!((again.producer.epoch, again.previous_id), (0, None));
    assert_ne!(again.producer.id, held.id);
}

/// T44 to T46, T48, KAFKA-18660.
#[test]
fn used_up_epochs_make_way_for_a_new_producer_id_at_epoch_0() {
    planted::hold(used_up, &["epoch_not_raised"]);
}

fn used_up() {
    for found in [TransactionStatus::Empty, TransactionStatus::Ongoing, TransactionStatus::CompleteCommit] {
        for epoch in [32766, 32767] {
            let env = MemoryEnv::new();
            let claims = claims(&env);
            write(&claims, vec![record::entry("a", Some(&value(9, epoch, found)))]);
            let claimed = claims.claim("a", MINUTE).unwrap();
            assert_eq!((claimed.producer.epoch, claimed.previous_id), (0, Some(9)), "{found} at {epoch}");
            assert!(claimed.producer.id >= 1 << 40);
            assert_eq!(claim(&claims, "a"), Claimed { epoch: 1, ..claimed.producer });
        }
    }
    let env = MemoryEnv::new();
    let claims = claims(&env);
    write(&claims, vec![record::entry("a", Some(&value(9, 32765, TransactionStatus::Empty)))]);
    let last = claim(&claims, "a");
    assert_eq!(last, Claimed { id: 9, epoch: 32766 });
    let id = claim(&claims, "a").id;
    assert_fenced(decide(&claims, last, true), &["another holder, at epoch 0", &id.to_string()]);
}

#[test]
fn of_claims_that_race_one_wins_and_every_other_holder_is_fenced() {
    let env = MemoryEnv::new();
    let claims = claims(&env);
    let race = || {
        let mut held = claim(&claims, "a");
        for _ in 0..20 {
            match decide(&claims, held, true) {
                Ok(decided) => held = decided.next,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
                    held = claim(&claims, "a");
                }
            }
        }
        held
    };
    let held: Vec<Claimed> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners = held.iter().filter(|held| decide(&claims, **held, true).is_ok()).count();
    assert_eq!(winners, 1, "{held:?}");
}

#[test]
fn bad_names_and_times_and_a_handle_that_only_reads_are_refused() {
    let env = MemoryEnv::new();
    let writer = claims(&env);
    for name in ["", &"n".repeat(32768), "streamlog.anonymous.9"] {
        assert_eq!(writer.claim(name, MINUTE).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(writer.forget(name).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    for time in [Duration::ZERO, Duration::from_secs(901)] {
        assert_eq!(writer.claim("a", time).unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
    assert!(writer.list().unwrap().is_empty() && writer.describe("a").unwrap().is_none());
    let longest = "n".repeat(32767);
    let held = claim(&writer, &longest);
    let observer = Claims::new(open_as(&env, true), CompactionThresholds::default(), || Ok(()));
    assert_eq!(observer.list().unwrap()[0].name, longest);
    for refused in [
        observer.claim("a", MINUTE).map(|_| ()),
        observer.fence(&longest).map(|_| ()),
        observer.forget(&longest).map(|_| ()),
        observer.append_decision(held, &verdict(true), &[]).map(|_| ()),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly);
    }
    // It follows what the writer does.
    decide(&writer, held, true).unwrap();
    assert_eq!((outcome(&observer, held), claim(&writer, &longest).epoch), (Some(true), 2));
    assert_eq!(observer.describe(&longest).unwrap().unwrap().producer_epoch, 2);
}
