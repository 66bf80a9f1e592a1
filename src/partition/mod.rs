//! One ordered log: offsets, append, read, roll, recover, retention, producer state.
//!
//! A partition knows segments and batches, and what its topic's configuration asks of it. It does not know topics,
//! groups or how a key finds its partition.

pub mod handle;
pub mod keep_open;
pub mod log;
pub mod open;
pub mod read;
pub mod state;
#[cfg(test)]
pub(crate) mod tests;
pub mod write;
