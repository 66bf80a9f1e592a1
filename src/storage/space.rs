//! Whether a medium that was full has space again.

use crate::env::sync::{AtomicU64, Ordering};

/// How often space was found on the medium of a directory.
#[derive(Debug, Default)]
pub struct SpaceFound(AtomicU64);

impl SpaceFound {
    /// A file grew, or new ones were written.
    pub fn again(&self) {
        unless_planted!(space_is_never_found => self.0.fetch_add(1, Ordering::Relaxed));
    }

    /// How often so far.
    pub fn times(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
