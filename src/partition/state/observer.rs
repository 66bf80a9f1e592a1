//! Observers: what learns of every batch of a log, as the log grows and when an opening reads it again.
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
//! * It reads no file, takes no lock that is held while somebody appends, and does work that is bounded by the batch: the
//!   next append waits for it.
//! * What it remembers follows from the batches alone. A clock, a random number, the origin of a batch are not there in a
//!   replay.
//!
//! A new observer is called beside the first one, in the two places that have one: `write/append.rs` and
//! `state/replay.rs`.

use crate::codec::{batch::BatchHeader, index::AbortedTransaction};

/// What learns of every batch.
pub(in crate::partition) trait Observer {
    /// The batch with this header and these bytes is in the log. Returns what the segment's transaction index has to name
    /// because of it.
    fn appended(&mut self, header: &BatchHeader, bytes: &[u8]) -> Option<AbortedTransaction>;
}
