//! Files that hold a log: segments with their indexes, the manifest that says which exist, the marks that say how far
//! they are durable.
//!
//! Nothing here knows about topics' settings, producers or waiting readers; it knows bytes, positions and offsets.

pub mod budget;
pub mod data_dir;
pub mod files;
pub mod foreign_files;
pub mod handle_role;
pub mod index;
pub mod keys;
pub mod layout;
pub mod manifest;
pub mod marks;
pub mod scan;
pub mod segment;
pub mod sidecar;
pub mod space;
pub mod swap;
