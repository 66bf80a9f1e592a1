//! From a key to a partition.
