//! The state of appending: what a log's writer holds, and how it changes.
//!
//! ```text
//! Unloaded  --open_with-->  Open       a clean opening loads nothing; its first append does
//! Recovered -----open---->  Open       a recovery has loaded all, and nothing was written since
//! any       ----refuse--->  Refused    closed, deleted, damaged, poisoned: for good
//! ```
//!
//! The log keeps it under its writer's lock. Everything in here is arithmetic on values: files are written by the
//! holder of the lock, before or after it changes the state.

use crate::{
    codec::{
        batch::BatchHeader,
        checkpoint::LeaderEpochs,
        manifest::Seal,
        snapshot::{ProducerBatches, ProducerEntry},
    },
    error::{Error, Result},
    partition::state::{log_config::LogConfig, producers::ProducerState},
    storage::segment::{ActiveSegment, SealedSegment, Segment},
    types::{Durability, Offset, Timestamp},
};
use std::{path::Path, sync::Arc, time::Duration};

/// What the writer of a log holds.
#[derive(Debug)]
pub(in crate::partition) enum AppendState {
    /// Nothing was appended since the opening; this is how the log was closed.
    Unloaded {
        /// The active segment's bytes.
        size: u64,
        /// Whether a new incarnation begins with the next append.
        new_incarnation: bool,
    },
    /// What appending needs is in memory.
    Loaded { active: Box<Active>, stage: Stage },
    /// Nothing can be appended, for this reason.
    Refused(Error),
}

/// How far a loaded log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) enum Stage {
    /// The opening had to read the tail, and nothing was written since.
    Recovered,
    /// Appending.
    Open,
}

impl AppendState {
    /// A log whose opening has read its tail.
    pub fn recovered(active: Active) -> Self {
        AppendState::Loaded { active: Box::new(active), stage: Stage::Recovered }
    }

    /// What an append needs was loaded.
    pub fn open_with(&mut self, active: Active) {
        *self = AppendState::Loaded { active: Box::new(active), stage: Stage::Open };
    }

    /// The first change after the opening begins.
    pub fn open(&mut self) {
        if let AppendState::Loaded { stage, .. } = self {
            *stage = Stage::Open;
        }
    }

    /// Nothing is appended from now on.
    pub fn refuse(&mut self, error: Error) {
        *self = AppendState::Refused(error);
    }

    /// Refuses with `Poisoned`, unless it refuses already. Returns the error that callers get from now on.
    pub fn poison(&mut self, dir: &Path, cause: &Error) -> Error {
        if let AppendState::Refused(error) = self {
            return error.clone();
        }
        let error = Error::poisoned(dir, cause.clone());
        self.refuse(error.clone());
        error
    }

    /// Why nothing can be appended, where that is so.
    pub fn refusal(&self) -> Option<&Error> {
        match self {
            AppendState::Refused(error) => Some(error),
            _ => None,
        }
    }

    /// The refusal, as an error.
    pub fn check(&self) -> Result<()> {
        self.refusal().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Whether the opening has read the tail, and nothing was written since.
    pub fn is_recovered(&self) -> bool {
        matches!(self, AppendState::Loaded { stage: Stage::Recovered, .. })
    }

    /// The active segment, where something was written since the opening.
    pub fn opened(&mut self) -> Option<&mut Active> {
        match self {
            AppendState::Loaded { active, stage: Stage::Open } => Some(active),
            _ => None,
        }
    }

    /// The active segment, where it is in memory.
    pub fn loaded(&mut self) -> Option<&mut Active> {
        match self {
            AppendState::Loaded { active, .. } => Some(active),
            _ => None,
        }
    }
}

/// The active segment, and what an append must know beside it.
#[derive(Debug)]
pub(in crate::partition) struct Active {
    /// The settings in force, repeated here so that an append takes no lock for them.
    pub config: Arc<LogConfig>,
    pub segment: ActiveSegment,
    /// Whether its index has no room for one more entry.
    pub index_is_full: bool,
    /// Where the next batch goes.
    pub position: u64,
    /// How long the file is.
    pub allocated: u64,
    pub producers: ProducerState,
    pub epochs: LeaderEpochs,
    /// The leader epoch that appended batches carry.
    pub epoch: i32,
    /// The largest timestamp of the segment's first batch, and when the segment was created.
    pub first_timestamp: Option<Timestamp>,
    pub created: Timestamp,
    /// How much is taken off the segment's time, drawn when it was created.
    pub jitter: Duration,
    /// Sealed segments whose flush or sidecars are outstanding, oldest first.
    pub pending: Vec<PendingSeal>,
    /// Whether names in the directory, or the manifest, are ahead of the medium.
    pub names_dirty: bool,
    /// Whether a new incarnation begins with the next append.
    pub new_incarnation: bool,
    /// Whether a checkpoint has something to write although nothing was appended.
    pub sidecars_dirty: bool,
    /// Bytes appended since the last checkpoint.
    pub since_checkpoint: u64,
    /// Records appended since the last flush that flush.messages asked for.
    pub since_flush: u64,
    /// The end of the last batch of records: only markers lie between it and the log's end.
    pub records_end: Offset,
}

/// A segment that was sealed, and what is still to be done for it.
#[derive(Clone, Debug)]
pub(in crate::partition) struct PendingSeal {
    pub segment: Arc<Segment>,
    /// The base of the segment after it, whose snapshot this is.
    pub next_base: Offset,
    pub snapshot: Arc<ProducerSnapshot>,
}

/// The producers at one offset: as Kafka's snapshot has them, and as our longer one.
pub(in crate::partition) type ProducerSnapshot = (Vec<ProducerEntry>, Vec<ProducerBatches>);

impl Active {
    /// A batch with this header was written at the segment's end, and is in its index.
    pub fn appended(&mut self, header: &BatchHeader) {
        if self.position == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if !header.is_control() {
            self.records_end = header.next_offset();
        }
        self.position += header.size();
        self.since_checkpoint += header.size();
        self.since_flush += u64::from(header.record_count);
    }

    /// The active segment is sealed, as the manifest says, and `segment` takes its place.
    pub fn roll_to(
        &mut self,
        segment: ActiveSegment,
        seal: &Seal,
        created: Timestamp,
        random: u64,
    ) -> SealedSegment {
        let snapshot = Arc::new(self.producers.to_snapshot());
        let next_base = segment.base();
        let sealed =
            std::mem::replace(&mut self.segment, segment).seal(&Seal { bytes: self.position, ..*seal });
        self.pending.push(PendingSeal { segment: Arc::clone(&sealed), next_base, snapshot });
        self.names_dirty = true;
        self.index_is_full = false;
        self.position = 0;
        self.allocated = 0;
        self.first_timestamp = None;
        self.created = created;
        self.jitter = draw_jitter(&self.config, random);
        sealed
    }

    /// Cuts what the file has after its data.
    pub fn cut_to_data(&mut self) -> Result<()> {
        self.segment.cut(self.position)?;
        self.allocated = self.position;
        Ok(())
    }

    /// Whether an append must be durable before it is acknowledged: because of the topic's durability, or because
    /// enough records have come together (flush.messages).
    pub fn must_flush(&self) -> bool {
        self.config.durability == Durability::Flushed
            || self.config.flush_messages.is_some_and(|limit| self.since_flush >= limit)
    }

    /// Whether the log, whose end is `log_end`, ends at `expected`: markers that nobody reads do not count.
    pub fn ends_at(&self, expected: Offset, log_end: Offset) -> bool {
        (self.records_end..=log_end).contains(&expected)
    }

    /// Where read-committed readers stop when the high watermark is `high_watermark`.
    pub fn stable_below(&mut self, high_watermark: Offset) -> Offset {
        self.producers.stable_below(high_watermark)
    }

    /// The names that there were when `newest` was the active segment are durable; those of a roll in between are not.
    pub fn names_flushed(&mut self, newest: &Arc<Segment>) {
        if Arc::ptr_eq(&self.segment, newest) {
            self.names_dirty = false;
        }
    }

    /// The log begins at `log_start` now, in the segment at `first`: what came before is forgotten.
    pub fn trim(&mut self, log_start: Offset, first: Offset) {
        self.pending.retain(|seal| seal.segment.base() >= first);
        self.sidecars_dirty |= self.epochs.truncate_from_start(log_start);
    }

    /// Nothing is outstanding for these any more.
    pub fn finished(&mut self, done: &[PendingSeal]) {
        self.pending.retain(|p| !done.iter().any(|d| Arc::ptr_eq(&d.segment, &p.segment)));
    }
}

/// How much earlier than `segment.ms` a segment is rolled, drawn at random.
pub(in crate::partition) fn draw_jitter(config: &LogConfig, random: u64) -> Duration {
    let limit = config.segment_jitter.min(config.segment_time);
    match u64::try_from(limit.as_millis()) {
        Ok(0) | Err(_) => Duration::ZERO,
        Ok(millis) => Duration::from_millis(random % millis),
    }
}
