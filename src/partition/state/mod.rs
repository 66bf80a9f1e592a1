//! What a log keeps of itself: offsets, settings, producers, deadlines, who waits, and what went wrong.

pub mod deadlines;
pub mod offsets;
pub mod producers;
pub mod replay;
pub mod settings;
pub mod troubles;
pub mod waiters;
