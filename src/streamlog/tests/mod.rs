//! Claims about a whole log that need to see into it.

#[cfg(streamlog_shuttle)]
mod disk;
#[cfg(streamlog_shuttle)]
mod interleavings;
#[cfg(feature = "sim")]
mod wakeups;
