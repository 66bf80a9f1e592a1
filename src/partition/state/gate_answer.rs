//! What the gate answers of a batch that it does not refuse. The conditions themselves stand in `write/gate.rs`.

use crate::types::{Offset, Timestamp};

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateAnswer {
    /// It is new, and nothing is against it: append it.
    Append,
    /// It is in the log already.
    Duplicate {
        /// Where it begins.
        base_offset: Offset,
        /// Where it ends.
        last_offset: Offset,
        /// The timestamp it was given.
        timestamp: Timestamp,
    },
}
