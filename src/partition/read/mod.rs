//! Reading a log: forwards, backwards, by time, and which records a reader may see.

pub mod backwards;
pub mod by_time;
pub mod reader;
pub mod visible;
