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
//! [`Claims`](claims::Claims) is what is asked and done; [`state`] is the map that the records make, kept by a
//! [`table`](crate::table); [`entry`] is what becomes of a value of it, and knows no table.

mod admin;
pub(crate) mod claims;
mod doubts;
mod entry;
mod in_flight;
mod name;
mod record;
mod state;
#[cfg(test)]
mod tests;

pub use admin::{TransactionDescription, TransactionListing};
pub use entry::TransactionStatus;

/// The internal topic that holds what is known of transactions.
pub const TRANSACTION_TOPIC: &str = "__transaction_state";
