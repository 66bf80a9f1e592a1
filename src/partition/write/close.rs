//! The end of a log's life in this process.

use crate::{
    codec::manifest::{Entry, PartitionClosed},
    env::sync::Ordering,
    error::{Error, Result},
    partition::{
        log::Log,
        state::{
            append_state::{Active, AppendState},
            producers::is_ours,
        },
        write::{
            checkpoint::take_checkpoint, end_transaction::write_pending_markers, load::ready,
            replace::finish_swaps, reserve::new_incarnation,
        },
    },
    storage::segment::sidecars::UNKNOWN,
    types::Timestamp,
};

/// What the manifest records of a log's clean close.
#[derive(Debug)]
pub struct Closing {
    /// How it ends.
    pub facts: PartitionClosed,
    /// The incarnation that began without being recorded, with the offset that comes next.
    pub incarnation: Option<Entry>,
}

/// Ends appending: takes a checkpoint and cuts the active file to its data. Returns what the manifest's closing record
/// says of this log; `None` when the log cannot be closed cleanly. Whatever the outcome, nothing is written to this log
/// afterwards: another process may be about to write to it.
pub fn close(log: &Log) -> Result<Option<Closing>> {
    // Under the lock, so that an append under way is part of the checkpoint.
    let writer = log.writer.lock();
    log.closing.store(true, Ordering::SeqCst);
    drop(writer);
    // A cleaner notices, and removes what it has written.
    log.cleaning.wait_until_free();
    // The closing record describes the segments that exist now: none is added or removed until the log refuses changes.
    let no_removal = log.checkpointing.lock();
    let result = finish(log);
    log.writer.lock().refuse(Error::closed("the log"));
    drop(no_removal);
    log.wait_for_flush();
    log.waiters.notify_all();
    result
}

fn finish(log: &Log) -> Result<Option<Closing>> {
    let mut incarnation = None;
    match log.refusal() {
        Some(error @ Error::Poisoned { .. }) => return Err(error),
        Some(_) => return Ok(None),
        None => {}
    }
    if finish_swaps(log).is_err() {
        // Names that are still to be given are for an opening to give that looks.
        return Ok(None);
    }
    if log.data_dir.has_written() {
        // The closing record will describe this log too, so what recovery learned of it is written down.
        let mut writer = log.writer.lock();
        if writer.is_recovered() || log.pending_markers.any() {
            ready(log, &mut writer)?;
        }
        if !owes_nothing(log, &mut writer) {
            return Ok(None);
        }
        // A clean opening begins no new incarnation, so this one, which may have lost records, must not end unrecorded.
        if let Some(active) = writer.opened() {
            let end = log.offsets.log_end();
            unless_planted!(close_ends_a_life_unnoted => incarnation = new_incarnation(log, active, end));
        }
    }
    unless_planted!(close_without_flush => take_checkpoint(log)?);
    let mut writer = log.writer.lock();
    if let Some(active) = writer.opened()
        && active.allocated != active.position
    {
        unless_planted!(close_leaves_preallocated_space => active.cut_to_data()?);
        active.segment.sync()?;
    }
    closing_facts(log, &writer).map(|facts| Some(Closing { facts, incarnation }))
}

/// Whether every transaction of this library that began here has ended here. Where one has not, or its marker cannot be
/// written, the next opening must look, and ask what was decided.
fn owes_nothing(log: &Log, writer: &mut AppendState) -> bool {
    planted!(close_owing_a_marker => return true);
    let written = !log.pending_markers.any() || write_pending_markers(log, writer).is_ok();
    let mut active = writer.opened();
    let is_open = |active: &mut &mut Active| {
        active.producers.open_transactions().any(|transaction| is_ours(transaction.producer_id))
    };
    written && !active.as_mut().is_some_and(is_open)
}

fn closing_facts(log: &Log, writer: &AppendState) -> Result<PartitionClosed> {
    let (size, largest_timestamp, index_checksum) = match writer {
        AppendState::Loaded { active, .. } => {
            (active.position, active.segment.largest_timestamp()?, active.segment.checksum_to_write())
        }
        // Nothing is read for a log that nobody appended to.
        AppendState::Unloaded { size, .. } => {
            let last = log.segments.snapshot().last().map_or(UNKNOWN, |last| last.index_checksum());
            (*size, Timestamp::NONE, last)
        }
        AppendState::Refused(error) => return Err(error.clone()),
    };
    Ok(PartitionClosed {
        log_start: log.offsets.log_start(),
        next_offset: log.offsets.log_end(),
        last_stable_offset: log.offsets.last_stable(),
        size,
        largest_timestamp,
        index_checksum,
    })
}
