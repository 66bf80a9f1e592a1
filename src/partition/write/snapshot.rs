//! Writing down the producers of a log as of an offset: Kafka's snapshot, and our longer one.

use crate::{
    codec::snapshot::{encode_producers, encode_snapshot},
    error::Result,
    partition::{log::Log, state::append_state::ProducerSnapshot},
    storage::{layout::SegmentFile, sidecar::write_file},
    types::Offset,
};

/// Writes the producers as of `at`; nothing where the log begins and no producer is known.
pub(in crate::partition) fn write_snapshot(log: &Log, at: Offset, snapshot: &ProducerSnapshot) -> Result<()> {
    if at == Offset::ZERO || at <= log.offsets.log_start() && snapshot.0.is_empty() {
        return Ok(());
    }
    let env = &*log.data_dir.env;
    let dir = &log.identity.dir;
    write_file(env, &SegmentFile::Snapshot.path(dir, at), &encode_snapshot(&snapshot.0))?;
    if snapshot.1.is_empty() {
        return Ok(());
    }
    write_file(env, &SegmentFile::Producers.path(dir, at), &encode_producers(&snapshot.1))
}
