//! What a cleaner may rewrite of a log: sealed segments that are durable in their own files, visible to every reader of
//! every isolation, and old enough.
//!
//! Nothing here decides what lives. A cleaner takes its turn and a look, writes beside the segments that it saw, and has the
//! log put the result in their place; whatever happened in between, the log knows by then.

use crate::{
    codec::{index::AbortedTransaction, keys::HashSeed, manifest::Seal},
    env::{Env, sync::Ordering},
    error::{Error, Result},
    partition::{
        log::Log,
        read::aborted::{aborted_between, aborted_in},
        state::{kept_producers::producers_at, log_config::LogConfig, remembered::Remembered},
        write::{
            checkpoint::checkpoint,
            end_transaction::first_to_keep,
            load::ready,
            quarantine::batches_beside,
            remove::remove_files,
            replace::{Replacement, finish_swaps},
            roll::{RollFor, roll},
        },
    },
    storage::{
        budget::{Budget, Charge},
        files::PooledFile,
        manifest::Flush,
        segment::{SealedSegment, Segment},
    },
    types::{Offset, Timestamp},
};
use std::{
    path::{Path, PathBuf},
    ptr,
    sync::Arc,
};

/// A segment that may be rewritten, as the manifest knows it.
#[derive(Clone, Debug)]
pub struct Cleanable {
    /// The segment.
    pub segment: SealedSegment,
    /// Its facts.
    pub seal: Seal,
}

/// The right to clean a log, which one cleaner at a time has until it drops this.
#[derive(Debug)]
pub struct CleaningTurn {
    log: Arc<Log>,
}

impl Drop for CleaningTurn {
    fn drop(&mut self) {
        self.log.cleaning.give_back();
    }
}

impl CleaningTurn {
    /// The turn, unless another cleaner has it.
    pub fn take(log: &Arc<Log>) -> Option<Self> {
        log.cleaning.take().then(|| CleaningTurn { log: Arc::clone(log) })
    }

    /// Returns when no cleaner has the turn.
    pub fn wait_for(log: &Log) {
        log.cleaning.wait_until_free();
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The door outside, for a cleaner's files.
    pub fn env(&self) -> &Arc<dyn Env> {
        &self.log.data_dir.env
    }

    /// What files may take.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.log.data_dir.space.budget
    }

    /// Where its files lie.
    pub fn dir(&self) -> &Path {
        &self.log.identity.dir
    }

    /// Whether the directory is still this log's, so that a cleaner may remove what it wrote there.
    pub fn is_of_the_log(&self) -> bool {
        self.log.is_of_this_process() && self.log.check_open().is_ok()
    }

    /// Seals what was appended so far, where there is anything, so that it can be cleaned.
    pub fn roll(&self) -> Result<()> {
        self.seal_all().map(drop)
    }

    /// The same. Returns the offset after what was sealed.
    pub fn seal_all(&self) -> Result<Offset> {
        let log = &*self.log;
        log.check_open()?;
        let mut writer = log.writer.lock();
        writer.check()?;
        let active = ready(log, &mut writer)?;
        let end = log.offsets.log_end();
        let sealed = (active.position > 0).then(|| Arc::clone(&active.segment));
        if sealed.is_some() {
            roll(log, active, end, RollFor::Append)?;
        }
        drop(writer);
        checkpoint(log)?;
        // No append follows whose flush makes its length durable: a broker takes zeros after its data for the end of the log.
        sealed.map_or(Ok(()), |sealed| sealed.sync()).map(|()| end)
    }

    /// The first change of this life looks for leftovers: it comes before a cleaner writes, for it would take what that
    /// writes for one.
    pub fn begin(&self) -> Result<()> {
        let log = &*self.log;
        log.check_open()?;
        {
            let mut writer = log.writer.lock();
            writer.check()?;
            ready(log, &mut writer)?;
        }
        // Files of segments that are in use have the names that a cleaner is about to give.
        let _no_checkpoint = log.checkpointing.lock();
        finish_swaps(log)
    }

    /// The error of a cleaner that is to stop.
    pub fn check(&self) -> Result<()> {
        if self.log.closing.load(Ordering::SeqCst) {
            return Err(Error::Cancelled { during: "compacting" });
        }
        self.log.check_open()
    }

    /// Puts what was written, and `counted`, in the place of `sources`; with it the log is clean below `cleaned`, if that is given. `false`
    /// where the sources are not part of the log any more: see [`Replacement::commit`].
    pub fn swap(
        &self,
        sources: Vec<Arc<Segment>>,
        outputs: Vec<(Offset, Seal)>,
        counted: Vec<Charge>,
        cleaned: Option<Offset>,
    ) -> Result<bool> {
        let also = cleaned.map(|offset| self.log.identity.id().cleaned(offset)).into_iter().collect();
        Replacement { sources, outputs, counted, also }.commit(&self.log)
    }

    /// A cleaner has gone through everything below `offset`. That is lost with a crash, and done again.
    pub fn note_cleaned(&self, offset: Offset) -> Result<()> {
        self.log.data_dir.manifest.append(&[self.log.identity.id().cleaned(offset)], Flush::Later)
    }

    /// What the keys of a new segment are to be hashed under, where it needs a file of keys.
    pub fn seed_to_write(&self) -> Option<HashSeed> {
        self.log.seed_to_write()
    }

    /// The segment that begins at this offset now.
    pub fn segment_at(&self, base: Offset) -> Option<Arc<Segment>> {
        self.log.segments.snapshot().iter().find(|segment| segment.base() == base).cloned()
    }

    /// The aborted transactions whose markers lie in this segment.
    pub fn aborted_in(&self, segment: &Segment) -> Result<Arc<Vec<AbortedTransaction>>> {
        let segments = self.log.segments.snapshot();
        let at = segments.iter().position(|one| ptr::eq(&**one, segment));
        at.map_or_else(|| Ok(Arc::default()), |at| aborted_in(&self.log, &segments, at))
    }

    /// The aborted transactions that reach into these offsets.
    pub fn aborted_between(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>> {
        aborted_between(&self.log, from, to)
    }

    /// Whose headers are to stay. A log that was closed and not written to since has them in its last snapshot.
    pub fn remembered(&self) -> Result<Remembered> {
        if let Some(active) = self.log.writer.lock().loaded() {
            return Ok(active.producers.remembered());
        }
        let known = producers_at(&**self.env(), self.dir(), self.log.offsets.log_end())?;
        let known = known.map(|mut producers| {
            producers.expire(self.env().now());
            producers.remembered()
        });
        Ok(known.unwrap_or_default())
    }

    /// Removes the files of segments that were removed and could not be.
    pub fn end_removals(&self) -> Result<()> {
        let _no_checkpoint = self.log.checkpointing.lock();
        let before = std::mem::take(&mut *self.log.unremoved.lock());
        remove_files(&self.log, &before)
    }

    /// Files in its directory that may hold batches, and are none of its segments.
    pub fn batches_beside(&self) -> Result<Vec<PathBuf>> {
        let _no_checkpoint = self.log.checkpointing.lock();
        batches_beside(&self.log)
    }

    /// A file of that directory, to be read.
    pub fn file(&self, path: &Path) -> Arc<PooledFile> {
        self.log.data_dir.pool.existing(path.to_path_buf(), false)
    }

    /// A file that was quarantined is not there any more.
    pub fn forget_quarantined(&self, gone: &Path) {
        self.log.quarantined.lock().retain(|path| path != gone);
    }

    /// The error of a log that is not to be cleaned, for this reason.
    pub fn not_cleaned(&self, found: &str) -> Error {
        Error::UnsupportedFormat {
            path: self.log.identity.dir.clone(),
            found: found.to_string(),
            supported: "compaction of plain records: the partition is left as it is".to_string(),
        }
    }
}

/// The segments that may be rewritten, oldest first and without a gap; those that are younger than the lag are not among
/// them, unless `any_age`.
pub fn cleanable(log: &Log, any_age: bool) -> Vec<Cleanable> {
    let (segments, state) = (log.segments.snapshot(), log.data_dir.manifest.state());
    let Some(partition) = state.of(log.identity.id()) else { return Vec::new() };
    let (config, now) = (log.config(), log.data_dir.env.now());
    let stable = log.offsets.last_stable().min(log.flusher.flushed());
    let below = first_to_keep(log).map_or(stable, |first| first.min(stable));
    let may_be = |segment: &Arc<_>| {
        let segment = SealedSegment::of(segment)?;
        let seal = partition.sealed_at(segment.base())?;
        let mut is_old = any_age || is_old_enough(&seal, &config, now);
        planted!(the_lag_is_forgotten => is_old = true);
        (is_old && seal.next_offset <= below && segment.sealed_size() == Some(seal.bytes))
            .then_some(Cleanable { segment, seal })
    };
    segments.iter().map_while(may_be).collect()
}

/// Whether a segment's records are older than the lag: by their largest timestamp, or the time of the sealing where they
/// claim a later one.
fn is_old_enough(seal: &Seal, config: &LogConfig, now: Timestamp) -> bool {
    let newest = seal.sealed_at.map_or(seal.largest_timestamp, |at| at.min(seal.largest_timestamp));
    config.min_compaction_lag.is_zero() || newest < now.minus(config.min_compaction_lag)
}

/// How many of these have nothing dirty, where the log is clean below `cleaned`.
pub fn dirty_from(segments: &[Cleanable], cleaned: Offset) -> usize {
    segments.partition_point(|segment| segment.seal.next_offset <= cleaned)
}
