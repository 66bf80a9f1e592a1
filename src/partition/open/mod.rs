//! How a log comes to be open: after a clean close, after a crash, beside its writer, or from a directory alone.

pub mod assemble;
pub mod changed;
pub mod clean;
pub mod create;
pub mod damaged_range;
pub mod distrusted_page_cache;
pub mod follow;
pub mod follower;
pub mod partition_dir;
pub mod recover;
pub mod recovery_state;
pub mod report;
pub mod segments;
