//! What readers still have of a segment that is no longer part of its log.
//!
//! A removed file takes its space until the last descriptor is closed and the last mapping given back. Known are the readers
//! of this process that stand in the segment, and bytes that were handed out of the mapping it had last.

use super::Segment;
use crate::env::Region;
use std::{
    fmt,
    sync::{Arc, Weak},
};

/// Looks after a segment without keeping it.
pub struct Held {
    segment: Weak<Segment>,
    region: Option<Arc<dyn Region>>,
    size: u64,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Held {
    /// Looks after this one.
    pub fn of(segment: &Arc<Segment>) -> Self {
        let region = segment.shared_file().and_then(|file| file.region());
        Held { segment: Arc::downgrade(segment), region, size: segment.readable() }
    }

    /// How many bytes somebody still has.
    pub fn bytes(&self) -> u64 {
        let is_mapped = self.region.as_ref().is_some_and(|region| region.is_held());
        if is_mapped || self.segment.strong_count() > 0 { self.size } else { 0 }
    }
}
