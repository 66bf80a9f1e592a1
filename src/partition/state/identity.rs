//! Which log it is, and where it lies.

use crate::types::{TopicId, TopicPartition};
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
