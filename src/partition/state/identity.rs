//! Which log it is, and where it lies.

use crate::{
    storage::manifest::PartitionId,
    types::{TopicId, TopicPartition},
};
use std::path::PathBuf;

/// Which log it is, and where it lies.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The topic's id.
    pub topic_id: TopicId,
    /// The topic's name and the partition's number.
    pub name: TopicPartition,
    /// The partition's directory.
    pub dir: PathBuf,
    /// Its place among the marks.
    pub slot: u32,
    /// Whether the topic is one that the library keeps for itself.
    pub internal: bool,
}

impl Identity {
    /// Its name in the manifest.
    pub fn id(&self) -> PartitionId {
        PartitionId { topic: self.topic_id, number: self.name.partition }
    }
}
