//! What becomes of a name's entry: claimed, decided, complete. Pure, and by Kafka's rules for epochs.
//!
//! The epoch of an entry is that of the next transaction. A decision raises it, and its markers have the raised one. At
//! 32766 there is no epoch left for a further transaction: the decision's markers get 32767, and the next transaction a
//! new producer id at epoch 0.

use crate::{
    codec::coordinator::transactions::{TopicPartitions, TransactionValue},
    partition::state::append_as::Claimed,
    types::{Timestamp, TopicPartition},
};
use std::collections::BTreeMap;

pub use crate::codec::coordinator::transactions::TransactionStatus;

/// No producer id, no epoch.
const NONE: i64 = -1;

/// The version of the transaction protocol in which each transaction has its own epoch.
const EPOCH_PER_TRANSACTION: i16 = 2;

/// The last epoch that a transaction's batches can have.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// What a decision says, and of which transaction.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Commit or abort.
    pub commit: bool,
    /// When the transaction began.
    pub started: Timestamp,
    /// The partitions that it wrote to.
    pub partitions: Vec<TopicPartition>,
}

/// The entry of a name that was never claimed.
pub(super) fn first(producer_id: i64, timeout_ms: i32, now: Timestamp) -> TransactionValue {
    TransactionValue {
        producer_id,
        previous_producer_id: NONE,
        next_producer_id: NONE,
        producer_epoch: 0,
        next_producer_epoch: -1,
        timeout_ms,
        status: TransactionStatus::Empty,
        partitions: None,
        last_update: now,
        started: Timestamp::NONE,
        client_version: 0,
    }
}

/// Who may decide the next transaction of this name.
pub(super) fn holder(value: &TransactionValue) -> Claimed {
    match value.next_producer_id {
        NONE => Claimed { id: value.producer_id, epoch: value.producer_epoch },
        id => Claimed { id, epoch: value.next_producer_epoch.max(0) },
    }
}

/// The producer id that the holder had before this one.
pub(super) fn previous_id(value: &TransactionValue) -> Option<i64> {
    let before = if value.next_producer_id == NONE { value.previous_producer_id } else { value.producer_id };
    (before != NONE).then_some(before)
}

/// The epoch after this one; there is none after the last.
fn raised(epoch: i16) -> i16 {
    planted!(epoch_not_raised => return epoch);
    epoch.saturating_add(1)
}

/// The entry once somebody else has claimed the name. `fresh_id` is its id if the epochs of the old one are used up.
pub(super) fn claimed_again(
    last: &TransactionValue,
    timeout_ms: i32,
    fresh_id: i64,
    now: Timestamp,
) -> TransactionValue {
    let holder = holder(last);
    let empty = TransactionValue {
        previous_producer_id: previous_id(last).unwrap_or(NONE),
        client_version: last.client_version,
        ..first(holder.id, timeout_ms, now)
    };
    if holder.epoch >= LAST_EPOCH {
        return TransactionValue { producer_id: fresh_id, previous_producer_id: holder.id, ..empty };
    }
    let mut producer_epoch = raised(holder.epoch);
    // KAFKA-19367: once for the transaction that was met open, and once for the claim.
    planted!(epoch_raised_twice => producer_epoch = raised(producer_epoch));
    TransactionValue { producer_epoch, ..empty }
}

/// The Prepare entry of a transaction of `claimed`. Where its epochs are used up, and it has a name, the next transaction
/// has `fresh_id`.
pub(super) fn prepared(
    last: &TransactionValue,
    claimed: Claimed,
    verdict: &Verdict,
    fresh_id: Option<i64>,
    now: Timestamp,
) -> TransactionValue {
    let fresh_id = fresh_id.filter(|_| claimed.epoch >= LAST_EPOCH);
    TransactionValue {
        producer_id: claimed.id,
        previous_producer_id: previous_id(last).unwrap_or(NONE),
        next_producer_id: fresh_id.unwrap_or(NONE),
        producer_epoch: raised(claimed.epoch),
        next_producer_epoch: if fresh_id.is_some() { 0 } else { -1 },
        timeout_ms: last.timeout_ms,
        status: if verdict.commit {
            TransactionStatus::PrepareCommit
        } else {
            TransactionStatus::PrepareAbort
        },
        partitions: Some(by_topic(&verdict.partitions)),
        last_update: now,
        started: verdict.started,
        client_version: EPOCH_PER_TRANSACTION,
    }
}

/// The entry once the markers of a Prepare entry are written.
pub(super) fn completed(prepared: &TransactionValue, committed: bool, now: Timestamp) -> TransactionValue {
    let holder = holder(prepared);
    TransactionValue {
        producer_id: holder.id,
        previous_producer_id: previous_id(prepared).unwrap_or(NONE),
        next_producer_id: NONE,
        producer_epoch: holder.epoch,
        next_producer_epoch: -1,
        status: if committed { TransactionStatus::CompleteCommit } else { TransactionStatus::CompleteAbort },
        partitions: Some(Vec::new()),
        last_update: now,
        ..prepared.clone()
    }
}

/// What a Prepare or Complete entry says: whether it is complete, and committed; `None` for another one.
pub(super) fn outcome(status: TransactionStatus) -> Option<(bool, bool)> {
    match status {
        TransactionStatus::PrepareCommit => Some((false, true)),
        TransactionStatus::PrepareAbort => Some((false, false)),
        TransactionStatus::CompleteCommit => Some((true, true)),
        TransactionStatus::CompleteAbort => Some((true, false)),
        _ => None,
    }
}

/// The transaction that a Prepare or Complete entry is about, by the epoch of its batches.
pub(super) fn decided(value: &TransactionValue) -> Claimed {
    let Claimed { id, epoch } = Claimed { id: value.producer_id, epoch: value.producer_epoch };
    if value.client_version < EPOCH_PER_TRANSACTION {
        return Claimed { id, epoch };
    }
    match previous_id(value) {
        // Complete under the next id: the epochs of the one before were used up.
        Some(before) if epoch == 0 && value.next_producer_id == NONE => {
            Claimed { id: before, epoch: LAST_EPOCH }
        }
        _ => Claimed { id, epoch: epoch.saturating_sub(1) },
    }
}

fn by_topic(partitions: &[TopicPartition]) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let number = i32::try_from(partition.partition).unwrap_or(i32::MAX);
        topics.entry(&partition.topic).or_default().push(number);
    }
    let named = |(topic, partitions): (&str, _)| TopicPartitions { topic: topic.to_string(), partitions };
    topics.into_iter().map(named).collect()
}
