//! Writing down the producers of a log as of an offset: Kafka's snapshot, and our longer one.

use crate::{
    codec::snapshot::{encode_producers, encode_snapshot, snapshot_checksum},
    error::Result,
    partition::{log::Log, state::append_state::ProducerSnapshot},
    storage::{layout::SegmentFile, sidecar::write_file},
    types::Offset,
};

/// Writes the producers as of `at`; nothing where the log begins, where no producer is known or the manifest knows the
/// files that are there.
pub(in crate::partition) fn write_snapshot(log: &Log, at: Offset, snapshot: &ProducerSnapshot) -> Result<()> {
    let is_known = || log.producers_at_start().is_some_and(|known| known.base == at);
    let first = log.first_base().unwrap_or_default();
    if at == Offset::ZERO || at <= first && (snapshot.1.is_empty() || is_known()) {
        return Ok(());
    }
    write_files(log, at, snapshot).map(drop)
}

/// Writes the files of a snapshot, and returns their checksum as the manifest has it; 0 where nobody is known.
pub(in crate::partition) fn write_files(log: &Log, at: Offset, snapshot: &ProducerSnapshot) -> Result<u32> {
    let (env, dir) = (&*log.data_dir.env, &log.identity.dir);
    let entries = encode_snapshot(&snapshot.0);
    write_file(env, &SegmentFile::Snapshot.path(dir, at), &entries)?;
    if snapshot.1.is_empty() {
        return Ok(0);
    }
    let batches = encode_producers(&snapshot.1);
    write_file(env, &SegmentFile::Producers.path(dir, at), &batches)?;
    Ok(snapshot_checksum(&entries, &batches))
}
