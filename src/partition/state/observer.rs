//! Observers: they learn of every batch of a log, as the log grows and when an opening reads it again.
//!
//! # What an observer may rely on
//!
//! * It is called once for each batch, in the order of offsets, by one thread at a time: under the log's writer lock when
//!   a batch is appended, by the opening's thread in a replay. Both call the same method, so what an observer remembers
//!   after a replay is what it remembered before the crash.
//! * The batch is whole and in its file, at its final offsets. Readers do not see its end yet: the last stable offset that
//!   they are about to see depends on what the first observer learns here.
//! * A batch that was refused, or was here already, or whose write failed, is never shown to it.
//!
//! # What an observer owes
//!
//! * It cannot refuse and does not fail: the batch is in the log. Refusing is the gate's part (`write/gate.rs`).
//! * It reads no file, takes no lock that is held during an append, and does work that is bounded by the batch: the
//!   next append waits for it.
//! * What it remembers follows from the batches alone. A replay has no clock, no random number and no origin of a
//!   batch. The one exception is how long a producer has been silent: a replay counts from its own beginning.
//!
//! A new observer is called beside the first one, in the two places that have one: `write/append.rs` and
//! `state/replay.rs`.

use crate::codec::{batch::BatchHeader, index::AbortedTransaction};

/// An observer of the batches of a log.
pub(in crate::partition) trait Observer {
    /// The batch with this header and these bytes is in the log. Returns the entry that the segment's transaction index
    /// gets because of it.
    fn appended(&mut self, header: &BatchHeader, bytes: &[u8]) -> Option<AbortedTransaction>;
}
