//! Groups: how far each of them has read.
//!
//! Committed offsets are records of the internal topic `__consumer_offsets`, in Kafka's format: one partition, made by
//! the first commit, always flushed. Record headers carry what Kafka has no field for: the id of the topic and the
//! incarnation of the partition that the offset belongs to. So an offset of a deleted topic is not applied to its
//! successor, and one beyond what a crash left is noticed.
//!
//! What is always true:
//!
//! * A commit first makes the data durable that it covers, then is appended as one batch, then is flushed itself; only
//!   then is it acknowledged, and only then is it visible.
//! * The groups' state is what the log says: a [`table`](crate::table) reads it, shortens it and keeps its sidecar
//!   (`consumer-offsets.snapshot`). This room knows what the records mean, and knows no file.
//! * A commit that cannot be read is never replaced by an older one: questions about the group get an error until it
//!   commits again or is reset. Other groups are not affected.
//!
//! * Offsets that were sent in a transaction are committed when it is, and not before. Until then nothing of them is
//!   visible, and no other commit is held back.
//!
//! A transaction of this library ends at the latest when its time is over: until then its offsets stay, and the log is
//! not rewritten. Nobody here ends a transaction that a broker has left open in a directory: its offsets hold nothing
//! back, and are given up, as if it were aborted, when the group commits again or the log is rewritten.
//!
//! Records of other kinds, such as a broker's groups, are not looked into, and outlast sidecars and rewritings.
//!
//! Committed offsets never expire, unlike Kafka's, which expire after seven days without a member: they take few bytes,
//! and a program that runs once a month finds its offsets. [`OffsetStore::delete_group`] removes them. In this release
//! a group has no members: two consumers of one group both read everything, and the last commit holds.

mod admin;
mod doubts;
mod entry;
mod pending;
mod record;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod transactional;

pub use crate::consumer::CommittedOffset;
pub use admin::{GroupDescription, GroupReset, ResetTo};
pub use store::OffsetStore;

/// The internal topic that holds what groups committed.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
