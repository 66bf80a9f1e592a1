//! Transactions: who may write under which name, and what was decided.
//!
//! A producer with a name (Kafka's transactional id), or one that begins a transaction, has a producer id and an epoch.
//! What is known of each name, and every decision, are records of the internal topic `__transaction_state`, in Kafka's
//! format: one partition, made by the first record. Record headers carry what Kafka has no field for.
//!
//! What is always true:
//!
//! * A name has one holder. Claiming it is durable before it returns, and raises the epoch once: whoever held the name
//!   before gets [`Fenced`](crate::Error::Fenced), which names the winner, and decides nothing any more.
//! * Each transaction has an epoch of its own (KIP-890): a decision raises it. So a late decision never touches a later
//!   transaction. Epochs end at 32767, which only markers have; then the next transaction has a new producer id.
//! * A decision is found by the producer id and the epoch of its batches as long as some log may lack its marker: not only
//!   the last one of each name, because the markers of an earlier one may be gone. A later abort of the same transaction
//!   holds.
//! * A record that cannot be read is never taken for none: questions about what it may say get its error.
//!
//! * A transaction counts in all its logs or in none. Its data and its decision become durable in one round; the decision says
//!   how far each log must have come, and counts only if all have.
//! * Openings write nothing: what they find out about open transactions is kept in memory, and markers follow.
//!
//! From a program's call down: [`Transaction`] is the handle (`producer` begins it), the [`TransactionCoordinator`] knows all that are open,
//! `commit` is the round that decides, `resolve` is what an opening does with those that were left.
//!
//! [`Claims`](claims::Claims) is what is asked and done; [`state`] is the map that the records make, kept by a
//! [`table`](crate::table); [`entry`] is what becomes of a value of it, and knows no table.

mod admin;
pub(crate) mod claims;
mod commit;
mod coordinator;
mod doubts;
mod entry;
mod handle;
mod in_flight;
mod name;
mod open;
mod producer;
#[cfg(test)]
#[cfg(feature = "sim")]
mod programs;
mod record;
mod resolve;
mod state;
#[cfg(test)]
mod tests;

pub use admin::{TransactionDescription, TransactionListing};
pub(crate) use coordinator::TransactionCoordinator;
pub use entry::TransactionStatus;
pub use handle::Transaction;

use crate::types::{Offset, TopicPartition};
use std::{collections::BTreeMap, ops::Range};

/// The internal topic that holds what is known of transactions.
pub const TRANSACTION_TOPIC: &str = "__transaction_state";

/// Where a transaction was written, from [`Transaction::commit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    ranges: BTreeMap<TopicPartition, Range<Offset>>,
}

impl Committed {
    /// The partitions with records of it: from the offset of its first to after its last one. Records of others may lie between
    /// those of a transaction that was written before its commit.
    pub fn ranges(&self) -> impl Iterator<Item = (&TopicPartition, Range<Offset>)> {
        self.ranges.iter().map(|(partition, range)| (partition, range.clone()))
    }
}
