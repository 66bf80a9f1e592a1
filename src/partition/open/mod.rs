//! How a log comes to be open: after a clean close, after a crash, beside its writer, or from a directory alone.

pub mod above;
pub mod assemble;
pub mod changed;
pub mod clean;
pub mod create;
pub mod damaged_range;
pub mod dir_report;
pub mod dir_segments;
pub mod follow;
pub mod follower;
pub mod full_scan;
pub mod page_cache;
pub mod partition_dir;
pub mod recover;
pub mod recovery;
pub mod report;
pub mod segments;
