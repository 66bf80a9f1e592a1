//! Removing all records of one key.

use super::Inner;
use crate::{compaction::Purge, error::Result, topic::Topic};

/// What [`Streamlog::purge_key`](crate::Streamlog::purge_key) did in all partitions of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Purged {
    /// The records of the key that were removed, tombstones among them.
    pub records_removed: u64,
    /// How many bytes the files of batches became smaller by. What compression hides of a record is not counted apart.
    pub bytes_removed: u64,
    /// How many segments were rewritten.
    pub segments_rewritten: u64,
    /// How many quarantined files were rewritten, or removed because nothing else was in them.
    pub quarantined_rewritten: u64,
    /// The bytes of replaced segments that readers of this process still hold, as far as that is known: their space is
    /// free, and their content gone, once the readers have moved on and dropped the batches they got.
    pub bytes_held: u64,
}

impl Inner {
    /// See [`Streamlog::purge_key`](super::Streamlog::purge_key).
    pub(super) fn purge_key(&self, topic: &Topic, key: &[u8]) -> Result<Purged> {
        // A topic that had the name before may be on its way out.
        let mut result = self.catalog.remove_leftovers();
        let mut purge = Purge::of(key);
        for log in topic.logs().iter() {
            let turn = self.cleaner.give_way(log);
            result = result.and(purge.log(&turn));
        }
        result.map(|()| Purged {
            records_removed: purge.records,
            bytes_removed: purge.bytes,
            segments_rewritten: purge.segments,
            quarantined_rewritten: purge.strays,
            bytes_held: purge.held_bytes(),
        })
    }
}
