//! What holds segments against retention although a limit would remove them: groups that have not read them yet.
//!
//! Retention by size and by age asks, once per pass and under the lock of checkpoints; the log start does not. An
//! implementation takes no lock that is held while somebody removes segments, checkpoints or closes a log. What it cannot
//! find out it returns as an error, and everything stays.

use crate::{error::Result, partition::state::identity::Identity, types::Offset};

/// The group that is the furthest behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub group: String,
    /// The first offset that it still needs; `None` where it never committed, and needs everything.
    pub from: Option<Offset>,
}

/// Knows how far groups have come.
pub trait Hold: Send + Sync {
    /// Which of `groups` is the furthest behind in this log, and where; `None` of no groups.
    fn held_from(&self, of: &Identity, groups: &[String]) -> Result<Option<Held>>;
}
