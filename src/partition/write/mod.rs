//! Everything that changes a log: appending, flushing, rolling, checkpoints, retention.

pub mod append;
pub mod checkpoint;
pub mod commit;
pub mod encode;
pub mod flush;
pub mod payload;
pub mod retention;
