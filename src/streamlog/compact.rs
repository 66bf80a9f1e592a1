//! Compaction now, instead of when it is due.

use super::Inner;
use crate::{
    compaction::{Order, compact},
    error::{Error, Result},
    topic::Topic,
};
use std::fmt;

/// How [`Streamlog::compact_now`](crate::Streamlog::compact_now) works.
#[derive(Default)]
pub struct Compact<'a> {
    is_rehearsal: bool,
    on_progress: Option<Box<dyn FnMut(CompactProgress) -> bool + 'a>>,
}

impl fmt::Debug for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compact").field("is_rehearsal", &self.is_rehearsal).finish_non_exhaustive()
    }
}

impl<'a> Compact<'a> {
    /// Compacts, and tells nobody on the way.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is changed: the result says what would be done with what is sealed. Default: `false`.
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        Compact { is_rehearsal: dry_run, ..self }
    }

    /// Calls this after about each mebibyte that was read; `false` ends the work with [`Error::Cancelled`]. What was
    /// compacted by then stays so. It must not close the log, which waits for the work to end.
    #[must_use]
    pub fn on_progress(self, on_progress: impl FnMut(CompactProgress) -> bool + 'a) -> Self {
        Compact { on_progress: Some(Box::new(on_progress)), ..self }
    }
}

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactProgress {
    /// The partition that is worked on.
    pub partition: u32,
    /// The bytes that were read of all partitions so far. Segments in which nothing is dead are not read.
    pub bytes_read: u64,
}

/// What a compaction did, or would do, to all partitions of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Compacted {
    /// How many segments were rewritten.
    pub segments_rewritten: u64,
    /// How many segments had nothing to be removed, and keep their files.
    pub segments_untouched: u64,
    /// The records of the segments that were rewritten, before.
    pub records_before: u64,
    /// The records that are left of them.
    pub records_after: u64,
    /// The bytes of their batches, before.
    pub bytes_before: u64,
    /// The bytes that are left of them.
    pub bytes_after: u64,
    /// How many of the removed records had no key.
    pub null_keys: u64,
    /// How many of the removed records were tombstones whose time was over.
    pub tombstones: u64,
}

impl Inner {
    /// See [`Streamlog::compact_now`](super::Streamlog::compact_now).
    pub(super) fn compact_now(&self, topic: &Topic, mut options: Compact<'_>) -> Result<Compacted> {
        if !topic.config().values().cleanup_policy.compacts() {
            let reason = format!("the cleanup.policy of topic '{}' does not compact", topic.name());
            return Err(Error::InvalidArgument { reason });
        }
        let (mut sum, mut result, mut bytes_read) = (Compacted::default(), Ok(()), 0);
        for (partition, log) in (0..).zip(topic.logs().iter()) {
            let mut goes_on = |bytes: u64| {
                bytes_read += bytes;
                let progress = CompactProgress { partition, bytes_read };
                match options.on_progress.as_mut().is_none_or(|goes_on| goes_on(progress)) {
                    true => Ok(()),
                    false => Err(Error::Cancelled { during: "compacting" }),
                }
            };
            let is_rehearsal = options.is_rehearsal;
            let turn = self.cleaner.give_way(log);
            match compact(turn, Order { is_rehearsal, goes_on: &mut goes_on }) {
                Ok(done) => {
                    sum.add(done);
                    self.cleaner.was_cleaned(log);
                }
                Err(error @ Error::Cancelled { .. }) => return Err(error),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.map(|()| sum)
    }
}

impl Compacted {
    fn add(&mut self, done: crate::compaction::Cleaned) {
        self.segments_rewritten += done.rewritten;
        self.segments_untouched += done.untouched;
        self.records_before += done.counts.records_before;
        self.records_after += done.counts.records_after;
        self.bytes_before += done.bytes_before;
        self.bytes_after += done.bytes_after;
        self.null_keys += done.counts.null_keys;
        self.tombstones += done.counts.tombstones;
    }
}
