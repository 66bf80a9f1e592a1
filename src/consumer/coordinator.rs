//! What a consumer needs from the store of its group's committed offsets.
//!
//! The consumer owns this trait; the room above implements it. A committed offset is the next one to read. It belongs
//! to a topic's id and to an incarnation of its partition, so that it is never applied to other data.

use crate::{
    error::Result,
    partition::log::Log,
    types::{Offset, Timestamp, TopicId, TopicPartition},
};
use std::{fmt, sync::Arc};

/// An offset to be committed, and any text that the committer stores with it.
///
/// ```
/// use streamlog::{clients::OffsetAndMetadata, Offset};
///
/// let noted = OffsetAndMetadata::new(42, "batch 7");
/// assert_eq!(OffsetAndMetadata::from(Offset::new(42)).metadata, "");
/// # let _ = noted;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(default))]
#[non_exhaustive]
pub struct OffsetAndMetadata {
    /// The next offset to read.
    pub offset: Offset,
    /// Any text of up to 4096 bytes.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// The next offset to read, and any text of up to 4096 bytes.
    pub fn new(offset: impl Into<Offset>, metadata: impl Into<String>) -> Self {
        OffsetAndMetadata { offset: offset.into(), metadata: metadata.into() }
    }
}

impl From<Offset> for OffsetAndMetadata {
    fn from(offset: Offset) -> Self {
        OffsetAndMetadata::new(offset, "")
    }
}

/// An offset that a group committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The text that the committer stored with it.
    pub metadata: String,
    /// When it was committed.
    pub timestamp: Timestamp,
    /// How many offsets lie between it and the high watermark; `None` when its topic or partition is gone.
    pub lag: Option<u64>,
}

/// A committed offset, and the topic and incarnation that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) value: CommittedOffset,
    /// The topic it was committed for; `None` where the record does not say, as a broker's does not.
    pub(crate) topic_id: Option<TopicId>,
    /// The partition's incarnation at the time; `None` where the record does not say.
    pub(crate) incarnation: Option<u32>,
}

/// One offset of a commit.
#[derive(Clone, Debug)]
pub(crate) struct OffsetCommit {
    /// The log that the offset is a place in.
    pub(crate) log: Arc<Log>,
    pub(crate) offset: Offset,
    pub(crate) metadata: String,
}

/// Keeps the offsets that groups commit.
pub(crate) trait Coordinator: Send + Sync + fmt::Debug {
    /// What `group` committed for each of `partitions`, in their order.
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>>;

    /// For each of `partitions`, in their order, whether the end of a transaction is to come that may change what `group`
    /// has committed for it: a consumer that resumes there now may read again what that transaction has read.
    fn unstable(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<bool>> {
        let _ = group;
        Ok(vec![false; partitions.len()])
    }

    /// Commits all of `offsets` or none; of several for one partition the last holds. When this returns, they survive a
    /// power cut, and so does all data below them. Offsets that the group has already, no matter who committed them,
    /// are not written again.
    fn commit(&self, group: &str, offsets: &[OffsetCommit]) -> Result<()>;
}
