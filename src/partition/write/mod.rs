//! Everything that changes a log: appending, flushing, rolling, checkpoints, retention, closing.

pub mod append;
pub mod checkpoint;
pub mod close;
pub mod commit;
pub mod encode;
pub mod flush;
pub mod gate;
pub mod load;
pub mod payload;
pub mod quarantine;
pub mod reserve;
pub mod retention;
pub mod roll;
pub mod upkeep;
