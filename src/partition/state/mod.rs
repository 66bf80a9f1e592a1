//! What a log knows of itself: offsets, settings, producers, deadlines, waiting readers, and what went wrong.

pub mod append_as;
pub mod append_state;
pub mod deadlines;
pub mod flush_state;
pub mod gate_answer;
pub mod hold;
pub mod identity;
pub mod kept_producers;
pub mod log_config;
pub mod observer;
pub mod offsets;
pub mod owner;
pub mod pending_markers;
pub mod producers;
pub mod remembered;
pub mod replay;
pub mod retention_verdict;
pub mod segment_list;
pub mod topic_values;
pub mod troubles;
pub mod turn;
pub mod unreadable;
pub mod unstable;
pub mod unusable;
pub mod waiters;
