//! The `.keys` file of a sealed segment: built in one pass over its batches, read by ranges of the hash.
//!
//! It can always be built again, so nothing here guesses: a file that is not about this segment, or whose checksums do not
//! hold, is none. Memory is bounded whatever the segment holds: entries are parted by their hash into pieces of 16 KiB,
//! which go to the disk when they are full, and are put in order a 256th at a time. The file of a segment that was put
//! together of others is made of theirs, which are in order.

mod builder;
mod merge;
mod output;
mod reader;
#[cfg(test)]
mod tests;

pub use builder::KeyBuilder;
pub use merge::{Merge, merge};
pub use reader::{HashRange, KeyFile, KeysOf};
