//! The manifest: which topics, partitions and segments exist.
