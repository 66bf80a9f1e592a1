//! Reading a log: forwards, backwards, by time, and which records a reader may see.
//!
//! From the ground up: errors and retries (`damage`, `retry`), decoding, aborted transactions, whole batches (`stretch`,
//! `reader`, `backwards`), which of them are `hidden`, the batches that a reader may see (`visible`), and what users get of them.

pub mod aborted;
pub mod backwards;
pub mod batch;
pub mod batches;
pub mod by_time;
pub mod damage;
pub mod decode;
pub mod hidden;
pub mod owned;
pub mod reader;
mod retry;
mod stretch;
pub mod visible;
