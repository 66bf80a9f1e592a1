//! Advancing the log start (Kafka's DeleteRecords).

use crate::{
    error::{Error, Result},
    partition::{
        log::Log,
        write::{end_transaction::write_pending_markers, load::ready, retention},
    },
    storage::manifest::Flush,
    types::Offset,
};
use std::sync::Arc;

/// Makes `offset` the first that can be read (Kafka's DeleteRecords). Segments wholly below it are removed.
///
/// # Errors
///
/// `OffsetOutOfRange` beyond the high watermark. At or below the log start nothing happens.
pub fn advance_log_start(log: &Arc<Log>, offset: Offset) -> Result<Offset> {
    let high_watermark = log.offsets.high_watermark();
    let log_start = log.offsets.log_start();
    let mut is_visible = offset <= high_watermark;
    planted!(delete_what_nobody_sees_yet => is_visible = true);
    if !is_visible {
        return Err(Error::OffsetOutOfRange {
            partition: log.identity.name.clone(),
            requested: offset,
            earliest: log_start,
            latest: high_watermark,
        });
    }
    if offset <= log_start {
        // Segments that an earlier attempt could not remove go now.
        retention::apply(log)?;
        return Ok(log_start);
    }
    // The start becomes durable, so everything below it must be durable first, and the ends of transactions that begin there.
    let durable = write_what_is_owed(log)?.map_or(offset, |end| end.max(offset));
    unless_planted!(start_without_what_it_stands_on => log.flush_to(durable)?);
    write_start(log, offset)?;
    retention::apply(log)?;
    Ok(offset)
}

/// Makes the log ready for its first change, and writes the markers that it owes. Returns the log's end where markers are not
/// durable.
fn write_what_is_owed(log: &Log) -> Result<Option<Offset>> {
    let mut writer = log.writer.lock();
    ready(log, &mut writer)?;
    write_pending_markers(log, &mut writer)?;
    let active = ready(log, &mut writer)?;
    Ok(active.producers.first_to_keep().map(|_| log.offsets.log_end()))
}

/// Records in the manifest that the log begins at `offset`, unless it begins there or later by now: a later opening
/// believes the last entry.
fn write_start(log: &Log, offset: Offset) -> Result<()> {
    let _no_removal = log.checkpointing.lock();
    if let Some(error) = log.refusal() {
        // Poisoned, or closed in between: nothing more is written.
        return Err(error);
    }
    if offset <= log.offsets.log_start() {
        return Ok(());
    }
    let mut flush = Flush::Now;
    planted!(start_that_is_not_durable => flush = Flush::Later);
    log.data_dir.manifest.append_to_make_room(&[log.identity.id().log_start(offset)], flush)?;
    log.offsets.change(|set| set.log_start = set.log_start.max(offset));
    Ok(())
}
