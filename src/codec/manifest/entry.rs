//! What a manifest can say: one [`Entry`] per fact.

use super::seal::Seal;
use crate::types::{Offset, Timestamp, TopicId, name::TopicName};

/// A fact about topics, partitions and segments. Facts are in the order in which they became true.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A topic exists; its partitions have the marks slots from `first_slot` on.
    TopicCreated {
        id: TopicId,
        name: TopicName,
        internal: bool,
        partitions: u32,
        first_slot: u32,
        config: Vec<(String, String)>,
    },
    /// The topic's configuration is now this one, whole.
    TopicConfigured { id: TopicId, config: Vec<(String, String)> },
    /// The topic now has `count` partitions; the slots of the added ones begin at `first_slot`.
    PartitionsAdded { id: TopicId, count: u32, first_slot: u32 },
    /// The topic is gone, and its id and slots never return.
    TopicDeleted { id: TopicId },
    /// A segment exists and takes appends.
    SegmentCreated { id: TopicId, partition: u32, base: Offset },
    /// A segment is sealed, or the facts of its seal have changed.
    SegmentSealed { id: TopicId, partition: u32, base: Offset, sealed: Seal },
    /// Every segment whose base is less than `below` is gone.
    SegmentsRemoved { id: TopicId, partition: u32, below: Offset },
    /// Other segments in the same range replace those with `from <= base < to`.
    SegmentsReplaced { id: TopicId, partition: u32, from: Offset, to: Offset, with: Vec<(Offset, Seal)> },
    /// The partition begins at this offset.
    LogStart { id: TopicId, partition: u32, offset: Offset },
    /// What producers did below `base`, where the first segment begins, is in the snapshot there, whose files have this
    /// checksum; 0 where nobody is known and there need not be any.
    ProducersAtStart { id: TopicId, partition: u32, base: Offset, checksum: u32 },
    /// A cleaner has gone through everything below `offset`.
    Cleaned { id: TopicId, partition: u32, offset: Offset },
    /// The partition ends at `next_offset`: segments after it are gone, the one that contains it is active again.
    /// A segment that begins there stays only if it is the first.
    Truncated { id: TopicId, partition: u32, next_offset: Offset },
    /// Offsets from `first_offset` on belong to this incarnation of the partition.
    Incarnation { id: TopicId, partition: u32, number: u32, first_offset: Offset },
    /// A handle writes to the log, and has not closed it.
    Opened { epoch: u64 },
    /// The log was closed cleanly, and its partitions were like this.
    Closed { partitions: Vec<(TopicId, u32, PartitionClosed)> },
    /// Slots below `next` were used, by topics that may be gone. Written when history is dropped.
    SlotsUsed { next: u32 },
    /// Another writer, for example a broker, appended these batches while the log was closed.
    Adopted { id: TopicId, partition: u32, adopted: Adopted },
    /// The file is the `number`-th manifest of the log, and the marks say in `slot` how much of it is durable.
    Numbered { number: u64, slot: u32 },
    /// A durable mark covers the first `said` bytes of this file.
    MarksDurable { said: u64 },
}

/// Batches that another writer appended to a log. Their leader epochs are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The offset of the first.
    pub from: Offset,
    /// The offset after the last.
    pub next: Offset,
    /// The leader epoch of the last, which later appends carry.
    pub leader_epoch: i32,
}

/// A partition at a clean close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionClosed {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset that the next record gets.
    pub next_offset: Offset,
    /// The first offset of the earliest open transaction, or `next_offset`.
    pub last_stable_offset: Offset,
    /// The size of the active segment's `.log`.
    pub size: u64,
    /// The largest timestamp of the partition.
    pub largest_timestamp: Timestamp,
    /// The checksum of what the active segment's indexes were; 0 when it is not known.
    pub index_checksum: u32,
}
