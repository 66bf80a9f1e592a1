//! Names and decisions over a log in memory. The cases of Kafka's tests that concern the coordinator's table, by their
//! numbers in `kafka-tests-to-come.md`; those that no test names:
//!
//! | case | why not here |
//! |---|---|
//! | T37, T50-T52 | a transaction is ended by the call that consumes it: it cannot be ended twice, or in another way |
//! | T38 | there is no call that names both a transactional id and a producer id |
//! | T47 | no answer is lost between a caller and a library in its process: a claim expects no epoch |
//! | T54, T55 | partitions join a transaction when it writes to them: nobody announces them |
//! | T56, T57 | times are kept by the open transactions, which are not in this table |
//! | T60 | what is prepared is resolved by the logs, when they are opened |
//! | T63 | the producer id changes with a decision, or with a claim, which ends what is open |

mod claiming;
mod damaged;
mod deciding;
mod upkeep;

use super::{
    claims::{Claim, Claims, Decided, End},
    entry::Verdict,
    record,
    state::TransactionState,
};
use crate::{
    codec::coordinator::transactions::{TransactionStatus, TransactionValue},
    consumer::tests::{open, open_as},
    env::memory::MemoryEnv,
    error::{Error, ErrorKind, Result},
    partition::state::append_as::Claimed,
    planted,
    table::{CompactionThresholds, State, TableRecord, Update},
    types::{Offset, Timestamp, TopicId, TopicPartition},
};
use std::{sync::Arc, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

fn with_upkeep(env: &Arc<MemoryEnv>, upkeep: CompactionThresholds) -> Claims {
    Claims::new(open(env), upkeep, || Ok(()))
}

fn claims(env: &Arc<MemoryEnv>) -> Claims {
    with_upkeep(env, CompactionThresholds::default())
}

fn claim(claims: &Claims, name: &str) -> Claimed {
    claims.claim(name, MINUTE).unwrap().producer
}

fn verdict(commit: bool) -> Verdict {
    let partitions =
        vec![TopicPartition::new("t", 1), TopicPartition::new("t", 0), TopicPartition::new("s", 0)];
    Verdict { commit, started: Timestamp::from_millis(5), partitions }
}

fn end(partition: u32, start: u64, end: u64) -> End {
    let topic_id = TopicId::from_bytes([7; 16]);
    End { topic_id, partition, incarnation: 3, offsets: Offset::new(start)..Offset::new(end) }
}

/// Decides, durably.
fn decide(claims: &Claims, claimed: Claimed, commit: bool) -> Result<Decided> {
    let decided = claims.append_decision(claimed, &verdict(commit), &[end(0, 4, 8), end(1, 0, 2)])?;
    decided.log.flush_to(decided.end)?;
    claims.settle()?;
    Ok(decided)
}

/// Commits, to the end.
fn commit(claims: &Claims, claimed: Claimed) -> Claimed {
    let decided = decide(claims, claimed, true).unwrap();
    claims.append_complete(claimed, true).unwrap();
    decided.next
}

fn flush(decided: &Decided) {
    decided.log.flush().unwrap();
}

/// Writes records as they are.
fn write(claims: &Claims, records: Vec<TableRecord>) {
    claims.table.update(|_| Ok(Update::atomic(records, ()))).unwrap();
}

fn value(producer_id: i64, producer_epoch: i16, status: TransactionStatus) -> TransactionValue {
    TransactionValue {
        producer_id,
        previous_producer_id: -1,
        next_producer_id: -1,
        producer_epoch,
        next_producer_epoch: -1,
        timeout_ms: 60_000,
        status,
        partitions: None,
        last_update: Timestamp::from_millis(1_700_000_000_000),
        started: Timestamp::NONE,
        client_version: 2,
    }
}

fn status(claims: &Claims, name: &str) -> TransactionStatus {
    claims.describe(name).unwrap().unwrap().status
}

/// Whether the transaction is decided to commit.
fn outcome(claims: &Claims, of: Claimed) -> Option<bool> {
    claims.decision(of).unwrap().map(|decision| decision.commit)
}

fn assert_fenced<T: std::fmt::Debug>(result: Result<T>, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text} has not all of {words:?}");
}
