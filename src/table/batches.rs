//! Writing the records of a table as batches of its log.

use super::TableRecord;
use crate::{
    codec::builder::BatchBuilder,
    error::Result,
    partition::{log::Log, state::append_as::AppendAs, write::append::Appended},
    types::{Compression, Offset, Timestamp},
};
use std::ops::Range;

/// Appends `records` in batches that end beyond `piece` bytes, and returns where they lie.
pub(super) fn append(
    log: &Log,
    records: &[TableRecord],
    piece: usize,
    now: Timestamp,
    by: Option<AppendAs>,
) -> Result<Range<Offset>> {
    let mut offsets: Option<Range<Offset>> = None;
    let mut builder = BatchBuilder::new();
    let mut seal = |builder| -> Result<()> {
        let Appended { base_offset, next_offset, .. } = seal(log, builder, by)?;
        offsets = Some(offsets.as_ref().map_or(base_offset, |offsets| offsets.start)..next_offset);
        Ok(())
    };
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        builder.append(now, Some(&record.key), record.value.as_deref(), &headers)?;
        if builder.len() >= piece {
            seal(std::mem::take(&mut builder))?;
        }
    }
    if !builder.is_empty() {
        seal(builder)?;
    }
    let end = log.offsets().log_end();
    Ok(offsets.unwrap_or(end..end))
}

fn seal(log: &Log, builder: BatchBuilder, by: Option<AppendAs>) -> Result<Appended> {
    let mut batch = builder.seal(Compression::None, None)?;
    let Some(mut by) = by else {
        // As Kafka's coordinator writes them: no producer, but a base sequence of 0.
        batch.set_producer(-1, -1, 0);
        return log.append(&mut batch);
    };
    planted!(offsets_outside_the_transaction => by.transactional = false);
    log.append_as(&mut batch, by)
}
