//! A checkpoint of a log: one act after which recovery reads nothing below it.
//!
//! In this order: the data is flushed up to P; the indexes, the transaction index and the producers' state as of P are
//! written and flushed; then the mark says that recovery begins at P. A crash in between leaves the older recovery
//! point, and sidecars that are checked before they are used.

use crate::{
    codec::{checkpoint::encode_epochs, index::AbortedTransaction, manifest::Seal},
    env::trace::event,
    error::Result,
    partition::{
        log::Log,
        read::aborted::aborted_in,
        state::{
            append_state::{PendingSeal, ProducerSnapshot},
            segment_list::has_base,
            troubles::Chore,
        },
        write::{end_transaction::write_pending_markers, remove::forget_removed, snapshot::write_snapshot},
    },
    storage::{
        foreign_files::sync_dir,
        index::IndexBytes,
        layout::{LEADER_EPOCHS, SegmentFile},
        manifest::Flush,
        segment::{SealedSegment, Segment, sidecars::UNKNOWN},
        sidecar::{remove_if_there, replace_file},
    },
    types::Offset,
};
use std::sync::Arc;

/// A log at one moment, as a checkpoint writes it.
struct Capture {
    end: Offset,
    position: u64,
    snapshot: ProducerSnapshot,
    epochs: Vec<(i32, Offset)>,
    pending: Vec<PendingSeal>,
    segment: Arc<Segment>,
    indexes: Option<(IndexBytes, Arc<Vec<AbortedTransaction>>, u32)>,
}

/// Takes a checkpoint of everything appended so far. Does nothing where the last one still holds.
pub fn checkpoint(log: &Log) -> Result<()> {
    let _one_at_a_time = log.checkpointing.lock();
    take_checkpoint(log)
}

/// As [`checkpoint`], for a caller that holds its lock.
pub(in crate::partition) fn take_checkpoint(log: &Log) -> Result<()> {
    if let Some(capture) = capture(log)? {
        write_checkpoint(log, &capture)?;
        log.data_dir.space.found_again();
    }
    log.troubles.end(Chore::Checkpoint);
    Ok(())
}

fn write_checkpoint(log: &Log, capture: &Capture) -> Result<()> {
    planted!(checkpoint_without_flush => log.write_mark(|mark| mark.flushed_offset = capture.end)?);
    unless_planted!(checkpoint_without_flush => log.flush_to(capture.end)?);
    for seal in &capture.pending {
        finish_seal(log, seal)?;
    }
    write_rebuilt(log, &capture.segment)?;
    if let Some((index, aborted, _)) = &capture.indexes {
        capture.segment.write_index(index)?;
        capture.segment.write_aborted(aborted)?;
    }
    let written = write_snapshot(log, capture.end, &capture.snapshot);
    let done = written.and_then(|()| lead_here(log, capture));
    if done.is_err() {
        // The next checkpoint will have another offset, and would leave this snapshot where it is.
        let _ = remove_stale_snapshot(log, capture.end);
        if let Some(active) = log.writer.lock().opened() {
            active.sidecars_dirty = true;
        }
    }
    done
}

/// Makes recovery begin where `capture` was taken, whose indexes and producers are written.
fn lead_here(log: &Log, capture: &Capture) -> Result<()> {
    let dir = &log.identity.dir;
    let env = &*log.data_dir.env;
    let before = log.flusher.mark().recovery_offset;
    if !capture.epochs.is_empty() {
        replace_file(env, &dir.join(LEADER_EPOCHS), encode_epochs(&capture.epochs).as_bytes())?;
    }
    sync_dir(env, dir)?;
    let mut has_new_names = has_new_names(log);
    planted!(recover_where_no_segment_is => has_new_names = false);
    if has_new_names {
        // A roll followed the last flush, and no append: the mark must lead to a segment that the manifest names
        // durably.
        log.data_dir.manifest.flush()?;
        log.names_flushed(&capture.segment);
    }
    let index_checksum = capture.indexes.as_ref().map_or(UNKNOWN, |(_, _, checksum)| *checksum);
    log.write_mark(|mark| *mark = mark.recovering_at(capture.end, capture.position, index_checksum))?;
    unless_planted!(checkpoint_leaves_its_mark_in_the_cache => log.data_dir.marks.flush()?);
    event!(TRACE, partition = %log.identity.name, offset = capture.end.value(), "took a checkpoint");
    remove_stale_snapshot(log, before)?;
    forget_pending(log, &capture.pending);
    Ok(())
}

/// Whether there are segments that the manifest may not name durably.
fn has_new_names(log: &Log) -> bool {
    log.writer.lock().opened().is_some_and(|active| active.names_dirty)
}

/// Everything a checkpoint writes, as of one moment.
fn capture(log: &Log) -> Result<Option<Capture>> {
    let mut writer = log.writer.lock();
    writer.check()?;
    if log.pending_markers.any() && writer.opened().is_some() {
        // A marker that cannot be written yet is none of the checkpoint's.
        let _ = write_pending_markers(log, &mut writer);
    }
    let Some(active) = writer.opened() else { return Ok(None) };
    forget_removed(log, active);
    let end = log.offsets.log_end();
    let mark = log.flusher.mark();
    let nothing_new = active.pending.is_empty() && active.since_checkpoint == 0 && !active.sidecars_dirty;
    if mark.recovery_offset == end && nothing_new && !log.flusher.is_behind() {
        return Ok(None);
    }
    active.since_checkpoint = 0;
    active.sidecars_dirty = false;
    active.producers.expire(log.data_dir.env.now());
    Ok(Some(Capture {
        segment: Arc::clone(&active.segment),
        indexes: active.segment.indexes_to_write(),
        end,
        position: active.position,
        snapshot: active.producers.to_snapshot(),
        epochs: active.epochs.entries().to_vec(),
        pending: active.pending.clone(),
    }))
}

/// Writes the sidecars of a sealed segment, which its roll left for later.
fn finish_seal(log: &Log, seal: &PendingSeal) -> Result<()> {
    write_indexes(log, &seal.segment)?;
    write_snapshot(log, seal.next_base, &seal.snapshot)?;
    if let Some(sealed) = SealedSegment::of(&seal.segment) {
        sealed.write_sidecars(seal.next_base, log.seed_to_write())?;
    }
    seal.segment.forget_index();
    Ok(())
}

/// Writes the indexes of a sealed segment as they are in memory, and records their checksum in the manifest.
fn write_indexes(log: &Log, segment: &Segment) -> Result<()> {
    let Some((index, aborted, index_checksum)) = segment.indexes_to_write() else { return Ok(()) };
    segment.write_index(&index)?;
    segment.write_aborted(&aborted)?;
    segment.expect_index(index_checksum);
    let state = log.data_dir.manifest.state();
    let id = log.identity.id();
    match state.of(id).and_then(|partition| partition.sealed_at(segment.base())) {
        Some(sealed) if sealed.index_checksum != index_checksum => {
            let sealed = id.segment_sealed(segment.base(), Seal { index_checksum, ..sealed });
            log.data_dir.manifest.append(&[sealed], Flush::Later)
        }
        _ => Ok(()),
    }
}

/// Writes the indexes that were rebuilt because their files were wrong.
fn write_rebuilt(log: &Log, active: &Arc<Segment>) -> Result<()> {
    planted!(what_was_rebuilt_is_not_written => return Ok(()));
    let segments = log.segments.snapshot();
    for (i, segment) in segments.iter().enumerate().filter(|(_, segment)| !Arc::ptr_eq(segment, active)) {
        if segment.take_rebuilt() {
            aborted_in(log, &segments, i)?;
            write_indexes(log, segment)?;
        }
    }
    Ok(())
}

/// Removes the snapshot of an earlier checkpoint, unless a segment begins there.
fn remove_stale_snapshot(log: &Log, at: Offset) -> Result<()> {
    if has_base(&log.segments.snapshot(), at) || at == log.flusher.mark().recovery_offset {
        return Ok(());
    }
    let dir = &log.identity.dir;
    remove_if_there(&*log.data_dir.env, &SegmentFile::Snapshot.path(dir, at))?;
    remove_if_there(&*log.data_dir.env, &SegmentFile::Producers.path(dir, at))
}

fn forget_pending(log: &Log, done: &[PendingSeal]) {
    if let Some(active) = log.writer.lock().opened() {
        active.finished(done);
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Durability, Partition, RecordData, Streamlog, TopicConfig,
        config::Builder,
        partition::write::{
            checkpoint::*,
            load::ready,
            roll::{RollFor, roll},
        },
        sim::{Crash, Operation, SimEnv},
    };

    /// A partition whose last flush is followed by a roll, with nothing after it.
    fn rolled(env: &SimEnv) -> (Streamlog, Partition) {
        let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
        let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("before")]).unwrap();
        roll_now(partition.log());
        (log, partition)
    }

    fn roll_now(log: &Log) {
        let mut writer = log.writer.lock();
        let active = ready(log, &mut writer).unwrap();
        roll(log, active, log.offsets.log_end(), RollFor::Append).unwrap();
    }

    #[test]
    fn what_a_checkpoint_covers_is_durable_and_not_read_again() {
        let env = SimEnv::new(1);
        let open = |env: &SimEnv| Builder::env(env, "/data").background_thread(false).open().unwrap();
        let log = open(&env);
        let config = TopicConfig::default().durability(Durability::Written);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        let covered = vec![7; 400_000];
        partition.append(&[RecordData::new(&covered)]).unwrap();
        checkpoint(partition.log()).unwrap();
        partition.append(&[RecordData::new("not covered")]).unwrap();
        let log = open(&env.crash(Crash::Nothing, 1));
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(partition.log_end_offset(), 1);
        assert!(partition.log().damage().is_none());
        let read: Vec<_> = log.recovery_report().partitions.iter().map(|p| p.bytes_read).collect();
        assert!(read.len() == 1 && read[0] < 400_000, "{read:?}");
    }

    #[test]
    fn names_that_a_checkpoint_flushed_are_not_flushed_again() {
        let env = SimEnv::new(1);
        let (_log, partition) = rolled(&env);
        partition.flush().unwrap();
        env.record();
        partition.append(&[RecordData::new("behind")]).unwrap();
        let recording = env.recording();
        let flushes = recording
            .operations()
            .filter(|(_, operation, _)| matches!(operation, Operation::Sync | Operation::SyncDir));
        let flushed: Vec<&str> = flushes.map(|(_, _, path)| path).collect();
        assert_eq!(flushed, ["/data/t-0/00000000000000000001.log"]);
    }

    #[test]
    fn a_roll_beside_the_flush_of_names_leaves_its_own_to_the_next_one() {
        let (_log, partition) = rolled(&SimEnv::new(1));
        let log = partition.log();
        let newest = capture(log).unwrap().unwrap().segment;
        partition.append(&[RecordData::new("behind")]).unwrap();
        assert!(!has_new_names(log));
        roll_now(log);
        log.names_flushed(&newest);
        assert!(has_new_names(log));
    }
}
