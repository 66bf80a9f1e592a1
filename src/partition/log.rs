//! One log: an ordered sequence of record batches over segments.
//!
//! [`Log`] is what writers, readers and caretakers share. What it keeps of itself lies in `state`; what is done with it in
//! `read`, `write` (appending, becoming durable, removing, closing) and `open`.
//!
//! What is always true: one writer at a time, the holder of [`Log::writer`]; readers take the segment list and the
//! offsets without that lock; bytes are published only when they are whole batches in the file.

use crate::{
    codec::keys::HashSeed,
    env::sync::{AtomicBool, AtomicI32, AtomicU64, Mutex, OnceLock, Ordering, RwLock},
    error::{Error, Result},
    partition::state::{
        append_state::AppendState, deadlines::Deadlines, flush_state::Flusher, hold::Hold,
        identity::Identity, log_config::LogConfig, offsets::Offsets, owner::Owner,
        pending_markers::PendingMarkers, segment_list::SegmentList, troubles::Troubles, turn::Turn,
        unreadable::Unreadable, unusable::Unusable, waiters::Waiters,
    },
    storage::{
        data_dir::DataDir,
        layout::SegmentFile,
        manifest::ProducersAtStart,
        segment::{SealedSegment, Segment},
        swap::Swap,
    },
    types::{Durability, Offset, Timestamp, TopicPartition},
};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Weak},
};

/// A log.
pub struct Log {
    /// Which it is.
    pub identity: Identity,
    pub(super) data_dir: Arc<DataDir>,
    pub(super) config: RwLock<Arc<LogConfig>>,
    pub(super) offsets: Offsets,
    pub(super) segments: SegmentList,
    pub(super) writer: Mutex<AppendState>,
    pub(super) flusher: Flusher,
    /// Held while a checkpoint is taken, or retention is applied.
    pub(super) checkpointing: Mutex<()>,
    /// When background work is due.
    pub(super) due: Deadlines,
    /// The readers that wait for records.
    pub waiters: Waiters,
    /// Whether the topic was deleted.
    pub(super) shut: AtomicBool,
    /// Whether closing has begun: nothing is appended from then on.
    pub(super) closing: AtomicBool,
    /// Bytes of all segments.
    pub(super) size: AtomicU64,
    /// The first damage that was met.
    pub(super) damage: Mutex<Option<Error>>,
    /// Whether its directory is its own.
    pub(super) owner: Owner,
    /// Batches that need not be tried again.
    pub(super) unreadable: Unreadable,
    /// The leader epoch that appended batches carry: the last one found.
    pub(super) leader_epoch: AtomicI32,
    /// Files that were in the way, and where they are now.
    pub(super) quarantined: Mutex<Vec<PathBuf>>,
    /// Why it cannot be used, where it could not be opened or followed.
    pub(super) unusable: Unusable,
    /// Segments that are in no list any more, and whose files could not be removed.
    pub(super) unremoved: Mutex<Vec<Arc<Segment>>>,
    /// What background work has failed in.
    pub(super) troubles: Troubles,
    /// Swaps that were decided, and whose files do not all have their names.
    pub(super) swaps: Mutex<Vec<Swap>>,
    /// The markers of transactions whose outcome is known.
    pub(super) pending_markers: PendingMarkers,
    /// What holds segments against retention, once the handle is whole.
    pub(super) hold: OnceLock<Weak<dyn Hold>>,
    /// Taken by the cleaner that is at work on it.
    pub(super) cleaning: Turn,
    /// What its keys are hashed under, once that was asked.
    pub(super) hash_seed: OnceLock<HashSeed>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &format_args!("{}", self.identity.name)).finish_non_exhaustive()
    }
}

impl Log {
    /// The settings in force.
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read())
    }

    /// Changes the settings from the next append on. Where readers no longer wait for flushes, what was appended and
    /// not flushed yet becomes visible, because no flush may follow.
    pub fn set_config(&self, config: impl Into<Arc<LogConfig>>) {
        let mut writer = self.writer.lock();
        let config = config.into();
        let flushed = config.durability == Durability::Flushed;
        *self.config.write() = Arc::clone(&config);
        if let Some(active) = writer.loaded() {
            active.config = config;
        }
        let Some(active) = writer.opened() else { return };
        // The time at which a flush is due may be that of the settings before.
        self.due.flush_soon(&active.config, self.data_dir.env.monotonic());
        let (before, end) = (self.offsets.high_watermark(), self.offsets.log_end());
        if flushed || before == end {
            return;
        }
        let last_stable = active.stable_below(end);
        self.offsets.change(|set| {
            set.high_watermark = end;
            set.last_stable = last_stable;
        });
        drop(writer);
        self.waiters.notify(true, true);
    }

    /// From now on retention asks `hold` what groups have not read.
    pub fn ask_before_removals(&self, hold: Weak<dyn Hold>) {
        let _ = self.hold.set(hold);
    }

    /// What the clock of its environment says.
    pub fn now(&self) -> Timestamp {
        self.data_dir.env.now()
    }

    /// The offsets, to be read without a lock.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Everything below is durable.
    pub fn flushed(&self) -> Offset {
        self.flusher.flushed()
    }

    /// The bytes of all its segments' batches.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// What the manifest says of the producers where its first segment begins.
    pub(in crate::partition) fn producers_at_start(&self) -> Option<ProducersAtStart> {
        self.data_dir.manifest.state().of(self.identity.id())?.producers_at_start
    }

    /// The offset below which a cleaner has gone through everything.
    pub fn clean_below(&self) -> Offset {
        let state = self.data_dir.manifest.state();
        state.of(self.identity.id()).map_or(Offset::ZERO, |partition| partition.cleaned)
    }

    /// The base offset of its first segment.
    pub fn first_base(&self) -> Option<Offset> {
        self.segments.snapshot().first().map(|s| s.base())
    }

    /// How many segments it has.
    pub fn segment_count(&self) -> usize {
        self.segments.snapshot().len()
    }

    /// Why nothing can be appended; `None` when it can.
    pub fn refusal(&self) -> Option<Error> {
        self.writer.lock().refusal().cloned()
    }

    /// The first damage that was met: by the opening, an append, a reader. `None` once retention has removed it.
    pub fn damage(&self) -> Option<Error> {
        let refusal = self.refusal().filter(|error| matches!(error, Error::Corrupt { .. }));
        let met = || {
            let met = self.damage.lock().clone();
            met.filter(|error| !self.is_about_what_was_removed(error))
        };
        let surplus = || self.segments.snapshot().iter().find_map(|segment| segment.surplus());
        refusal.or_else(met).or_else(surplus).or_else(|| self.lost_producers())
    }

    /// That what producers did is not known any more, once an append or a recovery has looked.
    fn lost_producers(&self) -> Option<Error> {
        planted!(lost_producers_are_not_reported => return None);
        let below = self.writer.lock().loaded()?.producers.lost_below()?;
        let path = SegmentFile::Snapshot.path(&self.identity.dir, below);
        let reason = format!(
            "it said what producers did below offset {below}, and is missing or damaged: batches of producers that have sent \
             none since are refused until a day after the loss was noticed"
        );
        Some(Error::corrupt(path, 0, reason))
    }

    fn is_about_what_was_removed(&self, error: &Error) -> bool {
        let Error::Corrupt { path, .. } = error else { return false };
        let base = path.file_name().and_then(|n| n.to_str()).and_then(|n| SegmentFile::Log.parse(n));
        base.is_some_and(|base| self.first_base().is_some_and(|first| base < first))
    }

    /// Whether the opening read its tail, and nothing was written since.
    pub fn was_recovered(&self) -> bool {
        self.writer.lock().is_recovered()
    }

    /// Stops appending for good, for this reason. Waiting readers look again.
    pub fn poison(&self, cause: &Error) -> Error {
        let error = self.writer.lock().poison(&self.identity.dir, cause);
        self.waiters.notify_all();
        error
    }

    /// Stops appending and reading: the topic was deleted. Bytes that were handed out stay valid.
    pub fn mark_deleted(&self) {
        let mut writer = self.writer.lock();
        writer.refuse(Error::deleted(&self.identity.name.topic));
        self.shut.store(true, Ordering::SeqCst);
        drop(writer);
        // A topic that is created under the same name has files of the same names.
        self.segments.snapshot().iter().for_each(|segment| segment.retire());
        self.waiters.notify_all();
    }

    /// Whether its topic was deleted.
    pub fn is_deleted(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    /// `Forked` in a child of the process that opened the log.
    pub fn check_process(&self) -> Result<()> {
        self.data_dir.check_process()
    }

    /// Whether it was opened here, and not in a process that forked this one.
    pub fn is_of_this_process(&self) -> bool {
        self.data_dir.process.is_this()
    }

    /// `Closed` once the handle was closed, or the topic deleted.
    pub(super) fn check_open(&self) -> Result<()> {
        self.data_dir.check_open()?;
        if self.shut.load(Ordering::SeqCst) {
            return Err(Error::deleted(&self.identity.name.topic));
        }
        self.unusable.why().map_or(Ok(()), Err)
    }

    /// Checks once that the directory is the log's own.
    pub(super) fn check_owner(&self) -> Result<()> {
        self.owner.check(&self.data_dir, &self.identity)
    }

    /// Why it cannot be used at all, where that is so.
    pub fn unusable(&self) -> Option<Error> {
        self.unusable.why()
    }

    /// Files that were in the way since the opening, and where they are now.
    pub fn named_quarantined(&self) -> Vec<(TopicPartition, PathBuf)> {
        let name = |path: &PathBuf| (self.identity.name.clone(), path.clone());
        self.quarantined.lock().iter().map(name).collect()
    }

    /// What its keys are hashed under: as in the newest file of keys, so that all of them speak of the same hashes.
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

    /// Returns when no checkpoint and no retention is under way.
    pub fn settle(&self) {
        drop(self.checkpointing.lock());
    }

    /// The number of the incarnation that `offset` belongs to.
    pub fn incarnation_of(&self, offset: Offset) -> u32 {
        let state = self.data_dir.manifest.state();
        state.of(self.identity.id()).map_or(0, |partition| partition.incarnation_of(offset))
    }

    /// Where incarnation `number` ended: the lowest first offset of the later ones, for a later one may begin below an
    /// earlier one. `None` while it continues.
    pub fn incarnation_end(&self, number: u32) -> Option<Offset> {
        let state = self.data_dir.manifest.state();
        state.of(self.identity.id())?.incarnation_end(number)
    }

    /// The sum of the segments' bytes, counted anew.
    pub(super) fn recount(&self) {
        let sum = self.segments.snapshot().iter().map(|s| s.readable()).sum();
        self.size.store(sum, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
