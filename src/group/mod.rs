//! Groups: how far each of them has read.
//!
//! Committed offsets are records of the internal topic `__consumer_offsets`, in Kafka's format: one partition, made by
//! the first commit, always flushed. What Kafka has no field for travels in record headers: the id of the topic, and the
//! incarnation of the partition, that the offset is a place in. So an offset of a deleted topic is not taken for a place
//! in its successor, and one beyond what a crash left is noticed.
//!
//! What is always true:
//!
//! * A commit makes the data it covers durable, then is appended as one batch, then is made durable itself; only then is
//!   it acknowledged, and only then does anybody see it.
//! * What is known of the groups is what the log says: a [`table`](crate::table) reads it, shortens it and keeps its
//!   sidecar (`consumer-offsets.snapshot`). This room knows what the records mean, and no file.
//! * A commit that cannot be read is never replaced by an older one: the group's answer is an error, until it commits
//!   anew or is reset. Other groups go on.
//!
//! Committed offsets never expire, unlike Kafka's, which go after seven days without a member: they are few bytes, and a
//! program that runs once a month finds its place. [`OffsetStore::delete_group`] removes them. In this release a group
//! has no members: two consumers of one group both read everything, and the last commit holds.

mod admin;
mod doubts;
mod record;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use crate::consumer::CommittedOffset;
pub use admin::{GroupDescription, GroupReset, ResetTo};
pub use store::OffsetStore;

/// The internal topic that holds what groups committed.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
