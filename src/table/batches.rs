//! Writing the records of a table as batches of its log.

use super::TableRecord;
use crate::{
    codec::builder::BatchBuilder,
    error::Result,
    partition::log::Log,
    types::{Compression, Offset, Timestamp},
};
use std::ops::Range;

/// Appends `records` in batches that end beyond `piece` bytes, and returns their offsets.
pub(super) fn append(
    log: &Log,
    records: &[TableRecord],
    piece: usize,
    now: Timestamp,
) -> Result<Range<Offset>> {
    let begin = log.offsets().log_end();
    let mut end = begin;
    let mut builder = BatchBuilder::new();
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        builder.append(now, Some(&record.key), record.value.as_deref(), &headers)?;
        if builder.len() >= piece {
            end = seal(log, std::mem::take(&mut builder))?;
        }
    }
    if !builder.is_empty() {
        end = seal(log, builder)?;
    }
    Ok(begin..end)
}

fn seal(log: &Log, builder: BatchBuilder) -> Result<Offset> {
    let mut batch = builder.seal(Compression::None, None)?;
    // As Kafka's coordinator writes them: no producer, but a base sequence of 0.
    batch.set_producer(-1, -1, 0);
    Ok(log.append(&mut batch)?.next_offset)
}
