//! A checkpoint of a log: one act after which recovery reads nothing below it.
//!
//! In this order: the data is flushed up to P; the indexes, the transaction index and the producers' state as of P are
//! written and flushed; then the mark says that recovery begins at P. A crash in between leaves the older recovery
//! point, and sidecars that are checked before they are used.

use crate::{
    codec::{
        checkpoint::encode_epochs,
        index::AbortedTransaction,
        manifest::SealedSegment,
        snapshot::{encode_producers, encode_snapshot},
    },
    env::trace::event,
    error::Result,
    partition::{
        log::Log,
        state::{
            append_state::{PendingSeal, ProducerSnapshot},
            troubles::Chore,
        },
    },
    storage::{
        index::IndexBytes,
        layout::{LEADER_EPOCHS, SegmentFile},
        manifest::Flush,
        segment::{Segment, sidecars::UNKNOWN},
        sidecar::{remove_if_there, replace_file, write_file},
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

impl Log {
    /// Takes a checkpoint of everything appended so far. Nothing is done where the last one is still true.
    pub fn checkpoint(&self) -> Result<()> {
        let _one_at_a_time = self.checkpointing.lock();
        self.take_checkpoint()
    }

    /// As [`Log::checkpoint`], for who holds its lock.
    pub(in crate::partition) fn take_checkpoint(&self) -> Result<()> {
        if let Some(capture) = self.capture()? {
            self.write_checkpoint(&capture)?;
            self.data_dir.space_found.again();
        }
        self.troubles.end(Chore::Checkpoint);
        Ok(())
    }

    fn write_checkpoint(&self, capture: &Capture) -> Result<()> {
        if planted!(checkpoint_without_flush) {
            self.write_mark(|mark| mark.flushed_offset = capture.end)?;
        } else {
            self.flush_to(capture.end)?;
        }
        for seal in &capture.pending {
            self.finish_seal(seal)?;
        }
        self.write_rebuilt(&capture.segment)?;
        if let Some((index, aborted, _)) = &capture.indexes {
            capture.segment.write_index(index)?;
            capture.segment.write_aborted(aborted)?;
        }
        let written = self.write_snapshot(capture.end, &capture.snapshot);
        let done = written.and_then(|()| self.lead_here(capture));
        if done.is_err() {
            // The next checkpoint is of another offset, and would leave the snapshot of this one.
            let _ = self.remove_stale_snapshot(capture.end);
            if let Some(active) = self.writer.lock().opened() {
                active.sidecars_dirty = true;
            }
        }
        done
    }

    /// Has recovery begin where `capture` was taken, whose indexes and producers are written.
    fn lead_here(&self, capture: &Capture) -> Result<()> {
        let dir = &self.identity.dir;
        let env = &*self.data_dir.env;
        let before = self.flusher.mark().recovery_offset;
        if !capture.epochs.is_empty() {
            replace_file(env, &dir.join(LEADER_EPOCHS), encode_epochs(&capture.epochs).as_bytes())?;
        }
        env.sync_dir(dir).map_err(|e| crate::error::Error::io("flush", dir, e))?;
        if self.has_new_names() && !planted!(recover_where_no_segment_is) {
            // A roll after the last flush, and nothing behind it: the mark is to lead to a segment that is known.
            self.data_dir.manifest.flush()?;
            self.names_flushed(&capture.segment);
        }
        self.write_mark(|mark| {
            mark.recovery_offset = capture.end;
            mark.recovery_position = u32::try_from(capture.position).unwrap_or(u32::MAX);
            mark.index_checksum = capture.indexes.as_ref().map_or(UNKNOWN, |(_, _, checksum)| *checksum);
        })?;
        if !planted!(checkpoint_leaves_its_mark_in_the_cache) {
            self.data_dir.marks.flush()?;
        }
        event!(TRACE, partition = %self.identity.name, offset = capture.end.value(), "took a checkpoint");
        self.remove_stale_snapshot(before)?;
        self.forget_pending(&capture.pending);
        Ok(())
    }

    /// Whether there are segments that the manifest may not name durably.
    fn has_new_names(&self) -> bool {
        self.writer.lock().opened().is_some_and(|active| active.names_dirty)
    }

    /// Everything a checkpoint writes, as of one moment.
    fn capture(&self) -> Result<Option<Capture>> {
        let mut writer = self.writer.lock();
        writer.check()?;
        let Some(active) = writer.opened() else { return Ok(None) };
        let end = self.offsets.log_end();
        let mark = self.flusher.mark();
        let nothing_new = active.pending.is_empty() && active.since_checkpoint == 0 && !active.sidecars_dirty;
        if mark.recovery_offset == end && nothing_new && !self.flusher.is_behind() {
            return Ok(None);
        }
        active.since_checkpoint = 0;
        active.sidecars_dirty = false;
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

    /// Writes what belongs to a sealed segment and was left for later.
    fn finish_seal(&self, seal: &PendingSeal) -> Result<()> {
        self.write_indexes(&seal.segment)?;
        self.write_snapshot(seal.next_base, &seal.snapshot)?;
        seal.segment.write_pages()?;
        seal.segment.forget_index();
        Ok(())
    }

    /// Writes the indexes of a sealed segment as they are known, and has the manifest know their checksum.
    fn write_indexes(&self, segment: &Segment) -> Result<()> {
        let Some((index, aborted, index_checksum)) = segment.indexes_to_write() else { return Ok(()) };
        segment.write_index(&index)?;
        segment.write_aborted(&aborted)?;
        segment.expect_index(index_checksum);
        let state = self.data_dir.manifest.state();
        let id = self.identity.id();
        match state.of(id).and_then(|partition| partition.sealed_at(segment.base())) {
            Some(sealed) if sealed.index_checksum != index_checksum => {
                let sealed = id.segment_sealed(segment.base(), SealedSegment { index_checksum, ..sealed });
                self.data_dir.manifest.append(&[sealed], Flush::Later)
            }
            _ => Ok(()),
        }
    }

    /// Writes the indexes that were built again because their files were wrong.
    fn write_rebuilt(&self, active: &Arc<Segment>) -> Result<()> {
        if planted!(what_was_rebuilt_is_not_written) {
            return Ok(());
        }
        let segments = self.segments.snapshot();
        for (i, segment) in segments.iter().enumerate().filter(|(_, segment)| !Arc::ptr_eq(segment, active)) {
            if segment.take_rebuilt() {
                self.aborted_in(&segments, i)?;
                self.write_indexes(segment)?;
            }
        }
        Ok(())
    }

    /// Writes what is known of the producers at `at`; nothing where the log begins and nobody is known.
    pub(in crate::partition) fn write_snapshot(&self, at: Offset, snapshot: &ProducerSnapshot) -> Result<()> {
        if at == Offset::ZERO || at <= self.offsets.log_start() && snapshot.0.is_empty() {
            return Ok(());
        }
        let env = &*self.data_dir.env;
        let dir = &self.identity.dir;
        write_file(env, &SegmentFile::Snapshot.path(dir, at), &encode_snapshot(&snapshot.0))?;
        if snapshot.1.is_empty() {
            return Ok(());
        }
        write_file(env, &SegmentFile::Producers.path(dir, at), &encode_producers(&snapshot.1))
    }

    /// The snapshot of an earlier checkpoint goes, unless a segment begins there.
    fn remove_stale_snapshot(&self, at: Offset) -> Result<()> {
        let is_base = self.segments.snapshot().iter().any(|s| s.base() == at);
        if is_base || at == self.flusher.mark().recovery_offset {
            return Ok(());
        }
        let dir = &self.identity.dir;
        remove_if_there(&*self.data_dir.env, &SegmentFile::Snapshot.path(dir, at))?;
        remove_if_there(&*self.data_dir.env, &SegmentFile::Producers.path(dir, at))
    }

    fn forget_pending(&self, done: &[PendingSeal]) {
        if let Some(active) = self.writer.lock().opened() {
            active.finished(done);
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Partition, RecordData, Streamlog, TopicConfig,
        config::Builder,
        partition::write::{
            checkpoint::*,
            load::ready,
            roll::{RollFor, roll},
        },
        sim::{Operation, SimEnv},
    };

    /// A partition whose last flush is followed by a roll, with nothing behind it.
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
        let newest = log.capture().unwrap().unwrap().segment;
        partition.append(&[RecordData::new("behind")]).unwrap();
        assert!(!log.has_new_names());
        roll_now(log);
        log.names_flushed(&newest);
        assert!(log.has_new_names());
    }
}
