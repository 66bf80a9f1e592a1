//! Named partitions, their configuration, and the way from a key to a partition.

pub mod config;
pub mod name;
pub mod partitioner;
