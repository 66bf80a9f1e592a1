//! Opening a log that was closed, or one that cannot be opened.
//!
//! A clean opening reads nothing: the manifest says where the log ended, and lengths and names say whether that is still
//! so. What appending needs to know (the tail of the index, the producers) is loaded with the first append.

use crate::{
    codec::manifest::PartitionClosed,
    error::{Error, Result},
    partition::{
        log::Log,
        open::{
            assemble::LogParts,
            changed::is_as_closed,
            recover::recover,
            recovery_state::{GoOn, mark_of_closing},
            report::PartitionRecovery,
            segments::all_listed,
        },
        state::{append_state::AppendState, identity::Identity, log_config::LogConfig, offsets::OffsetSet},
    },
    storage::{
        data_dir::DataDir,
        manifest::{PartitionState, SegmentEntry},
    },
};
use std::sync::Arc;

/// Opens a log that was closed. Where its files have changed since, the change is reported.
pub fn open_closed(
    data_dir: &Arc<DataDir>,
    identity: Identity,
    config: Arc<LogConfig>,
    state: &PartitionState,
    closed: &PartitionClosed,
    go_on: &mut GoOn<'_>,
) -> Result<(Arc<Log>, Option<PartitionRecovery>)> {
    if is_as_closed(data_dir, &identity, state, closed)? {
        return Ok((open_clean(data_dir, identity, config, state, closed), None));
    }
    let (log, recovery) = recover(data_dir, identity, config, state, go_on)?;
    Ok((log, Some(recovery)))
}

/// A log that could not be opened: every call on it returns this error.
pub fn unopened(
    data_dir: &Arc<DataDir>,
    identity: Identity,
    config: Arc<LogConfig>,
    state: &PartitionState,
    error: Error,
) -> Arc<Log> {
    let end = state.closed.as_ref().map_or(state.log_start, |closed| closed.next_offset);
    let segments = all_listed(data_dir, &identity, &config, state, 0);
    let parts = LogParts::new(identity, config, AppendState::Refused(error.clone()));
    let offsets =
        OffsetSet { log_start: state.log_start, last_stable: end, high_watermark: end, log_end: end };
    let log = LogParts { offsets, segments, ..parts }.assemble(data_dir);
    log.unusable.set(Some(error));
    log
}

/// A log that was closed, as the manifest says it ended.
fn open_clean(
    data_dir: &Arc<DataDir>,
    identity: Identity,
    config: Arc<LogConfig>,
    state: &PartitionState,
    closed: &PartitionClosed,
) -> Arc<Log> {
    let segments = all_listed(data_dir, &identity, &config, state, closed.size);
    if let (Some(active), Some(SegmentEntry { sealed: None, .. })) = (segments.last(), state.segments.last())
    {
        active.expect_index(closed.index_checksum);
    }
    let offsets = OffsetSet {
        log_start: closed.log_start.max(state.log_start),
        last_stable: closed.last_stable_offset,
        high_watermark: closed.next_offset,
        log_end: closed.next_offset,
    };
    let mark = mark_of_closing(&identity, closed);
    let writer = AppendState::Unloaded { size: closed.size, new_incarnation: false };
    let parts = LogParts::new(identity, config, writer);
    LogParts { offsets, segments, mark, leader_epoch: state.leader_epoch(), ..parts }.assemble(data_dir)
}
