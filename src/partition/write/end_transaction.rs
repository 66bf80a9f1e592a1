//! The end of a transaction in one log: its outcome counts at once, its marker is written now or with the next batch.
//!
//! The coordinator decides; its decision is durable before anybody calls here, or it is an abort, which is what holds where no
//! decision is found. So nothing waits for the marker: read-committed readers go on immediately, a marker that cannot be
//! written is *pending* (`state/pending_markers.rs`), and one that a power cut takes is found again from the decision.
//! Until a marker is durable, its transaction bounds cleaning and retention.
//!
//! Kafka's markers carry the epoch of the transaction's batches, or the next one (KIP-890): here always what the
//! coordinator says.

use crate::{
    codec::{checkpoint::LeaderEpochs, control::marker_batch, snapshot::ProducerEntry},
    error::{Error, Result},
    partition::{
        log::Log,
        state::{
            append_state::{Active, AppendState},
            pending_markers::PendingMarker,
            producers::OpenTransaction,
            replay::Replay,
        },
        write::{
            load::ready,
            reserve::reserve,
            roll::{self, RollFor, roll},
        },
    },
    types::{Durability, Offset},
};
use std::time::Duration;

/// How long a marker may wait for a flush that nobody asks for: readers in other processes wait for it.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// The epoch of the coordinator in markers: it is the only one that there ever was.
const COORDINATOR_EPOCH: i32 = 0;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionEnd {
    /// Whose it was.
    pub producer_id: i64,
    /// The epoch of its batches.
    pub epoch: i16,
    /// The epoch of its marker.
    pub marker_epoch: i16,
    /// Whether it was committed.
    pub commit: bool,
}

/// A transaction ended, as its coordinator has decided for good. Returns whether it was open here; what was ended before, or
/// belongs to a later epoch, is left alone.
///
/// When it returns, read-committed readers of this handle know the outcome. The marker has been appended, or is pending: a
/// failure to write it is none of the transaction's.
pub fn end_transaction(log: &Log, end: &TransactionEnd) -> Result<bool> {
    let mut writer = log.writer.lock();
    writer.check()?;
    let active = ready(log, &mut writer)?;
    if !resolve(log, active, end) {
        return Ok(false);
    }
    // Tried again before the next batch, at a checkpoint, and when the log is closed.
    let _ = write_pending_markers(log, &mut writer);
    Ok(true)
}

/// As [`end_transaction`], for an opening: nothing is written, and nothing happens where the log
/// has not been read.
pub fn resolve_transaction(log: &Log, end: &TransactionEnd) -> bool {
    let mut writer = log.writer.lock();
    writer.loaded().is_some_and(|active| resolve(log, active, end))
}

/// Whether a marker is pending here.
pub fn owes_markers(log: &Log) -> bool {
    log.pending_markers.any()
}

/// Writes the markers that are pending and makes all of them durable, where some are not.
pub fn make_markers_durable(log: &Log) -> Result<()> {
    let mut writer = log.writer.lock();
    if owes_markers(log) {
        writer.check()?;
        ready(log, &mut writer)?;
        write_pending_markers(log, &mut writer)?;
    }
    let is_durable = writer.loaded().is_none_or(|active| active.producers.first_unflushed().is_none());
    drop(writer);
    if is_durable { Ok(()) } else { log.flush() }
}

/// The transactions that are open here, as far as the log has been read; all of them after a recovery.
pub fn open_transactions(log: &Log) -> Vec<OpenTransaction> {
    let mut writer = log.writer.lock();
    let open = writer.loaded().map(|active| active.producers.open_transactions().collect());
    open.unwrap_or_default()
}

/// The outcomes that no durable marker of this log tells: the transaction's producer and epoch, and whether it was committed.
pub fn known_outcomes(log: &Log) -> Vec<TransactionEnd> {
    let end = |marker: PendingMarker| TransactionEnd {
        producer_id: marker.producer_id,
        epoch: marker.of_epoch,
        marker_epoch: marker.epoch,
        commit: marker.commit,
    };
    log.pending_markers.outcomes().into_iter().map(end).collect()
}

/// Whether the log came to offset `end` in this incarnation, and so has all that was written below it then.
///
/// # Errors
///
/// Nobody knows: the log cannot be used, or has forgotten that incarnation.
pub fn has_reached(log: &Log, incarnation: u32, end: Offset) -> Result<bool> {
    if let Some(error) = log.unusable() {
        return Err(error);
    }
    let log_end = log.offsets.log_end();
    let state = log.data_dir.manifest.state();
    let known = state.of(log.identity.id()).and_then(|state| state.has_reached(incarnation, end, log_end));
    match (known, log.refusal()) {
        // What is damaged may have come further than it can be read.
        (Some(false), Some(error @ Error::Corrupt { .. })) => Err(error),
        (Some(is_reached), _) => Ok(is_reached),
        (None, _) => {
            let reason =
                format!("{} has forgotten how far it came in its life {incarnation}", log.identity.name);
            Err(Error::corrupt(&log.identity.dir, 0, reason))
        }
    }
}

/// The producers of a log, as its snapshots have them. Nothing is written.
///
/// # Errors
///
/// What the log knows cannot be read.
pub fn producers_of(log: &Log) -> Result<Vec<ProducerEntry>> {
    if let Some(error) = log.unusable() {
        return Err(error);
    }
    let mut writer = log.writer.lock();
    if let Some(active) = writer.loaded() {
        return Ok(active.producers.to_snapshot().0);
    }
    drop(writer);
    let (segments, at_start) = (log.segments.snapshot(), log.producers_at_start());
    let Some(last) = segments.len().checked_sub(1) else { return Ok(Vec::new()) };
    let env = &*log.data_dir.env;
    let begun =
        Replay::begin_segment(env, &log.identity, &segments, last, at_start, LeaderEpochs::default())?;
    let Some(mut replay) = begun else { return Ok(Vec::new()) };
    replay.read_through(&segments, last, "what producers did after this batch cannot be determined")?;
    Ok(replay.producers.to_snapshot().0)
}

/// The first offset of the transactions whose markers are missing or not durable, below which alone segments are
/// cleaned or removed.
pub(in crate::partition) fn first_to_keep(log: &Log) -> Option<Offset> {
    log.writer.lock().loaded()?.producers.first_to_keep()
}

/// The outcome counts from here on.
fn resolve(log: &Log, active: &mut Active, end: &TransactionEnd) -> bool {
    let Some(first_offset) = active.producers.resolve(end.producer_id, end.epoch) else { return false };
    let marker = PendingMarker {
        producer_id: end.producer_id,
        epoch: end.marker_epoch,
        of_epoch: end.epoch,
        commit: end.commit,
        first_offset,
        end: log.offsets.log_end(),
    };
    log.pending_markers.owe(marker);
    let (before, last_stable) =
        (log.offsets.last_stable(), active.stable_below(log.offsets.high_watermark()));
    let set = log.offsets.change(|set| set.last_stable = last_stable);
    log.waiters.notify(false, set.last_stable > before);
    true
}

/// Writes what the log owes, oldest first, until one cannot be written.
pub(in crate::partition) fn write_pending_markers(log: &Log, writer: &mut AppendState) -> Result<()> {
    while let Some(marker) = log.pending_markers.first() {
        let at = write_marker(log, writer, &marker)?;
        log.pending_markers.paid(at);
    }
    Ok(())
}

/// Returns its offset.
fn write_marker(log: &Log, writer: &mut AppendState, marker: &PendingMarker) -> Result<Offset> {
    let PendingMarker { producer_id, epoch, commit, .. } = *marker;
    let now = log.data_dir.env.now();
    let mut batch = marker_batch(producer_id, epoch, commit, COORDINATOR_EPOCH, now);
    let active = ready(log, writer)?;
    log.stamp(active, &mut batch)?;
    let header = *batch.header();
    if roll::is_due(log, active, &header) {
        roll(log, active, header.base_offset, RollFor::Append)?;
    }
    reserve(log, active, &header)?;
    let written = log.write(active, &header, batch.bytes());
    let waits = active.config.durability == Durability::Flushed;
    if let Err(error) = written {
        return Err(log.undo(writer, error));
    }
    if waits {
        log.due.flush_by(log.data_dir.env.monotonic().saturating_add(FLUSH_WITHIN));
    }
    Ok(header.base_offset)
}
