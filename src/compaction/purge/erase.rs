//! Erasing: batches without the records of one key.
//!
//! What is compared is the bytes of keys, and never a hash. A batch in which nothing has the key keeps its bytes.

use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, RecordBatch},
        compress::MAX_DECOMPRESSED,
        record::Record,
    },
    error::Result,
};
use std::path::Path;

/// What is left of a batch.
#[derive(Debug)]
pub enum Left {
    /// All of it: nothing has the key.
    All,
    /// This one, with so many records fewer.
    Fewer(RecordBatch, u64),
    /// No record. So many were there.
    Nothing(u64),
}

/// A batch without the records of a key. Tombstones of the key are records of it. Errors name `path`, where the batch lies
/// at `position`.
pub fn without(batch: &RecordBatch, key: &[u8], (path, position): (&Path, u64)) -> Result<Left> {
    let in_file = |error: DecodeError| error.in_file(path, position);
    let header = batch.header();
    if header.is_control() || header.record_count == 0 {
        return Ok(Left::All);
    }
    let count = count_in(batch, key).map_err(in_file)?;
    planted!(a_purge_misses_a_record => return Ok(Left::All));
    if count == 0 {
        return Ok(Left::All);
    }
    if count == u64::from(header.record_count) {
        return Ok(Left::Nothing(count));
    }
    let records = batch.records(MAX_DECOMPRESSED).map_err(in_file)?;
    let others = |record: &Record<'_>| record.key != Some(key);
    let left = records.survivors(header, header.delete_horizon(), others).map_err(in_file)?.encode()?;
    Ok(Left::Fewer(RecordBatch::parse(left.into()).map_err(in_file)?, count))
}

/// How many records of a batch have a key, all of which are checked.
pub fn count_in(batch: &RecordBatch, key: &[u8]) -> Result<u64, DecodeError> {
    let header = batch.header();
    if header.is_control() || header.record_count == 0 {
        return Ok(0);
    }
    let records = batch.records(MAX_DECOMPRESSED)?.validate()?;
    Ok(records.iter().filter(|record| record.key == Some(key)).count() as u64)
}

/// What takes the place of a batch that has no record left, where something is to be there.
pub fn emptied(header: &BatchHeader) -> Result<RecordBatch, DecodeError> {
    RecordBatch::parse(header.emptied().to_bytes().to_vec().into())
}
