//! What a cleaner may rewrite of a log: sealed segments that are durable in their own files, visible to every reader of
//! every isolation, and old enough.
//!
//! Nothing here decides what lives. A cleaner takes a look, writes beside the segments that it saw, and has the log put the
//! result in their place; whatever happened in between, the log knows by then.

use crate::{
    codec::{keys::HashSeed, manifest::Seal},
    env::{Env, sync::Ordering},
    error::{Error, Result},
    partition::{
        log::Log,
        state::log_config::LogConfig,
        write::{
            checkpoint::checkpoint,
            load::ready,
            replace::finish_swaps,
            roll::{RollFor, roll},
        },
    },
    storage::{manifest::Flush, segment::SealedSegment},
    types::{Offset, Timestamp},
};
use std::{path::Path, sync::Arc};

/// A segment that may be rewritten, as the manifest knows it.
#[derive(Clone, Debug)]
pub struct Cleanable {
    /// The segment.
    pub segment: SealedSegment,
    /// Its facts.
    pub seal: Seal,
}

impl Log {
    /// The door outside, for a cleaner's files.
    pub fn env(&self) -> &Arc<dyn Env> {
        &self.data_dir.env
    }

    /// Where its files lie.
    pub fn dir(&self) -> &Path {
        &self.identity.dir
    }

    /// Seals what was appended so far, where there is anything, so that it can be cleaned.
    pub fn roll_for_cleaning(&self) -> Result<()> {
        self.check_open()?;
        {
            let mut writer = self.writer.lock();
            writer.check()?;
            let active = ready(self, &mut writer)?;
            if active.position > 0 {
                roll(self, active, self.offsets.log_end(), RollFor::Append)?;
            }
        }
        checkpoint(self)
    }

    /// The first change of this life looks for leftovers: it comes before a cleaner writes, for it would take what that
    /// writes for one.
    pub fn begin_cleaning(&self) -> Result<()> {
        self.check_open()?;
        {
            let mut writer = self.writer.lock();
            writer.check()?;
            ready(self, &mut writer)?;
        }
        // Files of segments that are in use have the names that a cleaner is about to give.
        let _no_checkpoint = self.checkpointing.lock();
        finish_swaps(self)
    }

    /// The error of a cleaner that is to stop.
    pub fn check_cleaning(&self) -> Result<()> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(Error::Cancelled { during: "compacting" });
        }
        self.check_open()
    }

    /// The offset below which a cleaner has gone through everything.
    pub fn cleaned(&self) -> Offset {
        let state = self.data_dir.manifest.state();
        state.of(self.identity.id()).map_or(Offset::ZERO, |partition| partition.cleaned)
    }

    /// A cleaner has gone through everything below `offset`. That is lost with a crash, and done again.
    pub fn note_cleaned(&self, offset: Offset) -> Result<()> {
        self.data_dir.manifest.append(&[self.identity.id().cleaned(offset)], Flush::Later)
    }

    /// The segments that may be rewritten, oldest first and without a gap; those that are younger than the lag are not
    /// among them, unless `any_age`.
    pub fn cleanable(&self, any_age: bool) -> Vec<Cleanable> {
        let (segments, state) = (self.segments.snapshot(), self.data_dir.manifest.state());
        let Some(partition) = state.of(self.identity.id()) else { return Vec::new() };
        let (config, now) = (self.config(), self.data_dir.env.now());
        let below = self.offsets.last_stable().min(self.flusher.flushed());
        let may_be = |segment: &Arc<_>| {
            let segment = SealedSegment::of(segment)?;
            let seal = partition.sealed_at(segment.base())?;
            let is_old = any_age || is_old_enough(&seal, &config, now);
            (is_old && seal.next_offset <= below && segment.sealed_size() == Some(seal.bytes))
                .then_some(Cleanable { segment, seal })
        };
        segments.iter().map_while(may_be).collect()
    }

    /// What keys are hashed under: as in the newest file of keys, so that all of them speak of the same hashes.
    pub fn hash_seed(&self) -> HashSeed {
        *self.hash_seed.get_or_init(|| {
            let segments = self.segments.snapshot();
            let known =
                segments.iter().rev().filter_map(SealedSegment::of).find_map(|segment| segment.seed());
            let env = &self.data_dir.env;
            known.unwrap_or_else(|| HashSeed { first: env.random(), last: env.random() })
        })
    }

    /// The same, where the topic is compacted.
    pub(in crate::partition) fn seed_to_write(&self) -> Option<HashSeed> {
        self.config().cleanup_policy.compacts().then(|| self.hash_seed())
    }

    /// The error of a log that is not to be cleaned, for this reason.
    pub fn not_cleaned(&self, found: &str) -> Error {
        Error::UnsupportedFormat {
            path: self.identity.dir.clone(),
            found: found.to_string(),
            supported: "compaction of plain records: the partition is left as it is".to_string(),
        }
    }
}

/// Whether a segment's records are older than the lag: by their largest timestamp, or the time of the sealing where they
/// claim a later one.
fn is_old_enough(seal: &Seal, config: &LogConfig, now: Timestamp) -> bool {
    let newest = seal.sealed_at.map_or(seal.largest_timestamp, |at| at.min(seal.largest_timestamp));
    config.min_compaction_lag.is_zero() || newest < now.minus(config.min_compaction_lag)
}

/// Whether an offset is the first that is dirty in one of these.
pub fn dirty_from(segments: &[Cleanable], cleaned: Offset) -> usize {
    segments.partition_point(|segment| segment.seal.next_offset <= cleaned)
}
