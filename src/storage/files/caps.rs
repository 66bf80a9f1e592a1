//! How many descriptors, mappings and loaded indexes one pool may hold, and how room for more is made.

use super::cap::Cap;
use std::sync::Arc;

/// The caps of a pool, which its files and its environment share.
#[derive(Debug)]
pub(super) struct Caps {
    pub(super) descriptors: Cap,
    pub(super) regions: Cap,
    /// Indexes of segments that were read from their files.
    pub(super) indexes: Cap,
}

impl Caps {
    /// At most `descriptors` descriptors and as many mappings.
    pub(super) fn new(descriptors: usize) -> Arc<Self> {
        Arc::new(Caps {
            descriptors: Cap::new(descriptors),
            regions: Cap::new(descriptors),
            // One may take a mebibyte and more, and is needed for seeks only.
            indexes: Cap::new(descriptors / 4),
        })
    }

    /// Gives back some descriptors, and mappings, which may hold one each; reports whether there were `wanted` of them.
    /// The caller holds no lock of a file.
    pub(super) fn make_room(&self, wanted: usize) -> bool {
        const AT_A_TIME: usize = 8;
        let idle = |cap: &Cap| cap.make_room(AT_A_TIME, |holder| holder.release());
        let given = idle(&self.descriptors) + idle(&self.regions);
        given >= wanted || given + self.descriptors.make_room(AT_A_TIME, |holder| holder.evict()) >= wanted
    }
}
