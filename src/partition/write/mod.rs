//! Everything that changes a log: appending, flushing, rolling, checkpoints, retention, closing.

pub mod append;
pub mod append_as;
pub mod checkpoint;
pub mod cleanable;
pub mod close;
pub mod commit;
pub mod drop_oldest;
pub mod encode;
pub mod end_transaction;
pub mod flush;
pub mod gate;
pub mod leftovers;
pub mod load;
pub mod log_start;
pub mod payload;
pub mod quarantine;
pub mod remove;
pub mod replace;
pub mod reserve;
pub mod retention;
pub mod retention_plan;
pub mod roll;
pub mod snapshot;
pub mod upkeep;
