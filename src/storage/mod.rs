//! Segments, indexes, manifest, marks and checkpoints on files.

pub mod manifest;
pub mod marks;
