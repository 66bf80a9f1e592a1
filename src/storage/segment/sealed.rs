//! A segment that takes no more appends.
//!
//! Its bytes are final, so every page of it can have a checksum, and a file that takes its name is another segment. What a
//! seal leaves for later (flushing, sidecars, page checksums) is done through this type.

use super::{Sealed, Segment, checked_pages::CheckedPages};
use crate::{
    codec::pages::PageSummer,
    error::Result,
    storage::{
        layout::SegmentFile,
        scan::{ScanItem, Scanner},
        sidecar::write_file,
    },
};
use std::{ops::Deref, sync::Arc};

/// A sealed segment. There is no way back to one that takes appends.
#[derive(Clone, Debug)]
pub struct SealedSegment(Arc<Segment>);

impl Deref for SealedSegment {
    type Target = Arc<Segment>;

    fn deref(&self) -> &Arc<Segment> {
        &self.0
    }
}

impl SealedSegment {
    /// The segment, where it is sealed.
    pub fn of(segment: &Arc<Segment>) -> Option<Self> {
        segment.sealed_size().map(|_| SealedSegment(Arc::clone(segment)))
    }

    /// The caller has just sealed it.
    pub(super) fn new(segment: Arc<Segment>) -> Self {
        debug_assert!(segment.sealed_size().is_some());
        SealedSegment(segment)
    }

    /// Sums up the pages of a sealed segment, each of whose batches is checked on the way, and writes and flushes them.
    /// Where a batch is not valid there is nothing to vouch for, and nothing is written.
    pub fn write_pages(&self) -> Result<()> {
        let Some(Sealed { generation, size, .. }) = self.0.sealed.get().copied() else { return Ok(()) };
        let mut scanner = Scanner::new(self.source(), size, 0, self.base(), true);
        let mut summer = PageSummer::new();
        while let ScanItem::Batch(batch, _) = scanner.next()? {
            summer.update(batch.bytes());
        }
        planted!(vouch_for_what_was_not_checked => summer.update(&self.bytes(summer.size()..size)?));
        if summer.size() != size {
            return Ok(());
        }
        let sums = summer.finish(generation);
        write_file(&**self.pool.env(), &SegmentFile::Pages.path(&self.dir, self.base), &sums.encode())?;
        self.pages.hold(CheckedPages::new(sums));
        Ok(())
    }
}
