//! What is known of the order of a segment's batches, otherwise than from the batches.
//!
//! The manifest, the marks and the appender say it; a batch that contradicts it is damaged. Nothing here is durable: an
//! opening says it anew.

use crate::{
    env::sync::{AtomicBool, AtomicI32, Mutex, Ordering},
    storage::scan::{KnownPositions, LEADER_EPOCH},
    types::Offset,
};

/// Stands for a leader epoch that may be any.
const ANY_EPOCH: i32 = i32::MIN;

/// What is known of the order of batches in a segment.
#[derive(Debug)]
pub(super) struct Order {
    /// Whether every batch begins where the one before ends, as it does in a log of our own that was not compacted.
    dense: AtomicBool,
    /// The one leader epoch of the batches of a dense segment; [`ANY_EPOCH`] where another writer appended to it.
    epoch: AtomicI32,
    /// Whether batches of another version may be here: not where the manifest speaks for what was written.
    versions: AtomicBool,
    /// Which offset comes at which position.
    positions: Mutex<KnownPositions>,
}

impl Default for Order {
    fn default() -> Self {
        Order {
            dense: AtomicBool::new(false),
            epoch: AtomicI32::new(LEADER_EPOCH),
            versions: AtomicBool::new(true),
            positions: Mutex::default(),
        }
    }
}

impl Order {
    pub(super) fn expect_no_gaps(&self, epoch: Option<i32>) {
        self.dense.store(true, Ordering::Relaxed);
        self.epoch.store(epoch.unwrap_or(ANY_EPOCH), Ordering::Relaxed);
    }

    pub(super) fn expect_no_other_version(&self) {
        self.versions.store(false, Ordering::Relaxed);
    }

    pub(super) fn may_be_of_another_version(&self) -> bool {
        self.versions.load(Ordering::Relaxed)
    }

    pub(super) fn may_have_gaps(&self) -> bool {
        !self.dense.load(Ordering::Relaxed)
    }

    pub(super) fn leader_epoch(&self) -> Option<i32> {
        Some(self.epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch != ANY_EPOCH)
    }

    pub(super) fn know_place(&self, position: u64, offset: Offset) {
        self.positions.lock().add(position, offset);
    }

    pub(super) fn positions(&self) -> KnownPositions {
        self.positions.lock().clone()
    }
}
