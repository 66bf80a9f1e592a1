//! Claims about a whole log that need to see into it.

#[cfg(streamlog_shuttle)]
mod disk;
#[cfg(streamlog_shuttle)]
mod interleavings;
#[cfg(not(streamlog_shuttle))]
mod two_tasks;
#[cfg(feature = "sim")]
mod wakeups;
