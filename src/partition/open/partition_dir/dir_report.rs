//! What a partition's directory holds, as users see it: what its opening found, and what its sidecars say.

use crate::{
    codec::{index::AbortedTransaction, snapshot::ProducerEntry},
    partition::open::damaged_range::DamagedRange,
    types::Offset,
};
use std::path::PathBuf;

/// What opening a partition's directory found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDirReport {
    /// How many bytes were read and checked.
    pub bytes_read: u64,
    /// What follows the last whole batch: a write that a crash cut short. It is not shown. Set as well where
    /// `recovery-point-offset-checkpoint` says that more was durable.
    pub torn_end: Option<TornEnd>,
    /// Damage before whole batches, and batches that are whole but cannot be read, in the order of offsets. Reading one
    /// returns `Corrupt`; everything around it can be read. Batches of a codec that this build does not contain are not
    /// listed, nor those whose content was not checked: an opening decompresses 32 MiB and eight times the size of the
    /// compressed batches, and leaves the rest to readers.
    pub damage: Vec<DamagedRange>,
}

/// The end of a log that is not a whole batch, or comes too early.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornEnd {
    /// The file.
    pub path: PathBuf,
    /// Where the last whole batch ends, in bytes.
    pub position: u64,
    /// How many bytes follow it.
    pub bytes: u64,
    /// What was expected and what was found.
    pub reason: String,
}

/// What a producer snapshot says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerSnapshot {
    /// It is about all batches below this offset, which names its file.
    pub offset: Offset,
    /// The producers, in the file's order.
    pub producers: Vec<ProducerEntry>,
}

/// What the transaction index of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionIndex {
    /// The segment's base offset, which names the file.
    pub base_offset: Offset,
    /// The aborted transactions whose markers lie in the segment.
    pub aborted: Vec<AbortedTransaction>,
}
