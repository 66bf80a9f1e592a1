//! One ordered log: offsets, append, read, roll, recover, retention, producer state.
//!
//! A partition knows segments and batches, and what its topic's configuration asks of it. It does not know topics,
//! groups or how a key finds its partition.

pub mod append;
mod aside;
pub mod backwards;
mod changed;
pub mod checkpoint;
pub mod commit;
pub mod config;
pub mod due;
pub mod encode;
pub mod flush;
mod follow;
pub mod keeper;
pub mod log;
pub mod observe;
pub mod offsets;
pub mod open;
pub mod owned;
pub mod payload;
pub mod producer_state;
pub mod read;
pub mod recover;
pub mod replay;
pub mod retention;
pub mod shared;
pub mod stray;
pub mod survey;
mod suspect;
pub mod time;
pub mod trouble;
mod unreadable;
pub mod view;
mod visible;
pub mod waiters;
mod whose;
