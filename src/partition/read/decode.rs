//! Decoding a batch that a reader has come to: its records, or the error with file, position and the offset after it.
//!
//! Every reader decodes here, each batch once; a batch that no build can read is remembered, and not decompressed again.

use super::damage;
use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, HEADER_LEN, RecordBatch},
        compress::MAX_DECOMPRESSED,
        record::{Records, ValidRecords},
    },
    error::{Error, Result},
    partition::log::Log,
};
use std::{io, path::Path};

/// The records of a batch of `log`, decompressed and checked. It lies at `position` of `path`.
///
/// # Errors
///
/// `Corrupt`, and `CodecUnavailable`; `Io` where there is no memory for what it decompresses to.
#[inline]
pub(super) fn decode<'a>(
    log: &Log,
    batch: &RecordBatch,
    path: impl FnOnce() -> &'a Path,
    position: u64,
) -> Result<ValidRecords> {
    let header = batch.header();
    let decoded = match log.unreadable.why(header) {
        None => decode_anew(batch).inspect_err(|error| log.unreadable.note(header, error)),
        Some(known) => Err(known),
    };
    decoded.map_err(|error| unreadable(log, header, error, path(), position))
}

fn decode_anew(batch: &RecordBatch) -> Result<ValidRecords, DecodeError> {
    #[cfg(test)]
    DECODED.set(DECODED.get() + 1);
    batch.records(MAX_DECOMPRESSED).and_then(Records::validate)
}

#[cfg(test)]
thread_local! {
    /// How many batches this thread has decoded.
    pub(in crate::partition) static DECODED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// The error about the content of the batch with `header`, which lies at `position` of `path`. The positions of `error`
/// count from the first byte of the batch.
#[cold]
pub(super) fn unreadable(
    log: &Log,
    header: &BatchHeader,
    error: DecodeError,
    path: &Path,
    position: u64,
) -> Error {
    let error = match error {
        DecodeError::Malformed { position, reason } => {
            let reason = format!("the batch at offset {}: {reason}", header.base_offset);
            DecodeError::malformed(position, reason)
        }
        too_large @ DecodeError::TooLarge(_) => {
            let reason = format!("the batch at offset {}: {too_large}", header.base_offset);
            DecodeError::malformed(HEADER_LEN, reason)
        }
        other => other,
    };
    let next_offset = header.next_offset();
    let error = error.in_file(path, position);
    if let Error::Io { operation, path, source } = &error {
        // Too little memory is not damage, and another reader may have enough.
        let text = format!("{source}; reading can continue at offset {next_offset}");
        return Error::io(operation, path, io::Error::new(source.kind(), text));
    }
    damage::remember(log, error.going_on_at(next_offset), header.base_offset)
}
