//! How dirty a log is, and whether that is reason enough to clean it: Kafka's rules.
//!
//! The dirty ratio is the share of bytes that no cleaner has gone through, of all that may be cleaned. A log is cleaned where
//! that exceeds the topic's `min.cleanable.dirty.ratio`, or something dirty is older than `max.compaction.lag.ms`, which
//! comes first.

use crate::{
    error::Result,
    partition::{
        log::Log,
        write::cleanable::{Cleanable, cleanable, dirty_from},
    },
};
use std::cmp::Ordering;

/// How dirty a log is that is to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirt {
    /// Whether something dirty is older than it may become.
    pub is_late: bool,
    /// Dirty bytes by all that may be cleaned.
    pub ratio: f64,
}

impl Dirt {
    /// That of a log, if it is to be cleaned.
    pub fn of(log: &Log) -> Result<Option<Dirt>> {
        let segments = cleanable(log, false);
        let (clean, dirty) = segments.split_at(dirty_from(&segments, log.clean_below()));
        let bytes = |segments: &[Cleanable]| segments.iter().map(|one| one.seal.bytes).sum::<u64>();
        let (clean_bytes, dirty_bytes) = (bytes(clean), bytes(dirty));
        if dirty_bytes == 0 {
            return Ok(None);
        }
        let ratio = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
        let is_late = is_late(log, dirty)?;
        Ok((is_late || ratio > log.config().min_cleanable_dirty_ratio).then_some(Dirt { is_late, ratio }))
    }

    /// The one that is cleaned first is greater.
    pub fn compare(&self, other: &Dirt) -> Ordering {
        self.is_late.cmp(&other.is_late).then(self.ratio.total_cmp(&other.ratio))
    }
}

/// Whether a segment began before the time that something may stay dirty: by the timestamp of its first batch, as in Kafka.
fn is_late(log: &Log, dirty: &[Cleanable]) -> Result<bool> {
    let Some(most) = log.config().max_compaction_lag else { return Ok(false) };
    let now = log.now();
    for one in dirty {
        let began = one.segment.header_at(0)?.map(|header| header.max_timestamp);
        if began.is_some_and(|began| !began.is_none() && began < now.minus(most)) {
            return Ok(true);
        }
    }
    Ok(false)
}
