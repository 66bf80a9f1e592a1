//! The segments of a log, as an immutable list that readers share.
//!
//! A reader takes the list as it is and keeps it; a change replaces it. So no one waits, and a segment that retention
//! removed stays with the reader that holds it.

use crate::{
    env::sync::{AtomicU64, Ordering, RwLock},
    storage::segment::Segment,
    types::Offset,
};
use std::sync::Arc;

/// The segments of a log, ascending.
#[derive(Debug)]
pub(in crate::partition) struct SegmentList {
    list: RwLock<Arc<Vec<Arc<Segment>>>>,
    version: AtomicU64,
}

impl SegmentList {
    pub fn new(segments: Vec<Arc<Segment>>) -> Self {
        SegmentList { list: RwLock::new(Arc::new(segments)), version: AtomicU64::new(0) }
    }

    /// The list as it is now.
    pub fn snapshot(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.list.read())
    }

    /// Differs after every change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Replaces the list.
    pub fn change(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut guard = self.list.write();
        let mut list = Vec::clone(&guard);
        change(&mut list);
        *guard = Arc::new(list);
        self.version.fetch_add(1, Ordering::SeqCst);
    }
}

/// The last of `segments` whose base is at or below `offset`.
pub(in crate::partition) fn floor(segments: &[Arc<Segment>], offset: Offset) -> Option<usize> {
    segments.partition_point(|s| s.base() <= offset).checked_sub(1)
}

/// The offset after segment `i` of `segments`, the last of which ends at `end`.
pub(in crate::partition) fn end_of(segments: &[Arc<Segment>], i: usize, end: Offset) -> Offset {
    segments.get(i + 1).map_or(end, |next| next.base())
}

/// Whether one of `segments` begins at `base`.
pub(in crate::partition) fn has_base(segments: &[Arc<Segment>], base: Offset) -> bool {
    segments.binary_search_by_key(&base, |segment| segment.base()).is_ok()
}
