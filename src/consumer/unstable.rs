//! Waiting for the end of a transaction that may change where a group resumes (Kafka's `UnstableOffsetCommit`).
//!
//! A transaction of this library has offsets in the log for one flush, so a consumer hardly ever meets one. Where it does, it
//! leaves the partition alone and looks again soon; other partitions are read meanwhile. What waits too long is an error
//! of that partition, once with each look, and goes on waiting.

use super::coordinator::{Committed, Coordinator};
use crate::{
    error::{Error, Result},
    types::TopicPartition,
};
use std::time::Duration;

/// How long a consumer waits before it says so (Kafka's `default.api.timeout.ms`).
const PATIENCE: Duration = Duration::from_secs(60);

/// Since when a consumer waits, by the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnstableWait {
    since: Option<Duration>,
}

impl UnstableWait {
    /// Whether it waits at all.
    pub(super) fn is_on(self) -> bool {
        self.since.is_some()
    }

    /// It waits for something at `now`, or for nothing. Returns for how long it has.
    pub(super) fn at(&mut self, now: Duration, waits: bool) -> Duration {
        self.since = waits.then_some(self.since.unwrap_or(now));
        self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

/// What a consumer that has waited for so long says.
pub(super) fn complaint(waited: Duration) -> Option<Error> {
    (waited >= PATIENCE).then(|| still_waits(waited))
}

/// That a consumer waits.
pub(super) fn still_waits(waited: Duration) -> Error {
    Error::Timeout { what: "the end of a transaction that commits where the group resumes", after: waited }
}

/// What a group has committed for each of these partitions, or an inner `None` for nothing; an outer one where that may
/// change with the end of a transaction.
pub(super) fn committed_and_stable(
    coordinator: &dyn Coordinator,
    group: Option<&str>,
    partitions: &[TopicPartition],
) -> Result<Vec<Option<Option<Committed>>>> {
    let Some(group) = group else { return Ok(vec![Some(None); partitions.len()]) };
    let mut unstable = coordinator.unstable(group, partitions)?;
    planted!(a_consumer_resumes_in_an_open_transaction => unstable = vec![false; partitions.len()]);
    let committed = coordinator.committed(group, partitions)?;
    Ok(committed.into_iter().zip(unstable).map(|(found, waits)| (!waits).then_some(found)).collect())
}
