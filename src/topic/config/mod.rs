//! A topic's configuration.

pub const MAX_PARTITIONS: u32 = 100_000;
