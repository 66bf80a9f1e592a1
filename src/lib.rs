//! Kafka's log as a library.
#![allow(dead_code, unreachable_pub, reason = "the rooms are built one after the other")]

mod codec;
mod env;
pub mod error;
mod partition;
mod storage;
mod topic;
pub mod types;
