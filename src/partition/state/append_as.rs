//! Whose batch is appended, where the log itself gives the batch its sequence.
//!
//! A producer of this process has an id and an epoch, and no count of its own: each log knows the last sequence of every
//! producer, and gives the next one under its lock, to a batch that is about to get its offsets. A refused batch so uses none,
//! and threads of one producer cannot overtake each other.

/// A producer's id, and the epoch in which it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claimed {
    /// The producer id.
    pub id: i64,
    /// The producer epoch.
    pub epoch: i16,
}

/// Whose batch it is, and whether it belongs to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendAs {
    /// The producer.
    pub producer: Claimed,
    /// Whether the batch belongs to the producer's transaction.
    pub transactional: bool,
    /// Whether the producer has a name, by which it is known beyond the life of its process. The id of one without is drawn
    /// anew: no batch of it can be in the log already.
    pub named: bool,
}
