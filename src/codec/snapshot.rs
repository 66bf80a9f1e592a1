//! Producer snapshots.
