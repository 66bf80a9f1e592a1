//! Errors about batches that cannot be read: file, position, and the offset where reading continues.
//!
//! Every reader takes them from here, and the log remembers the first one for its health. [`record`] completes the
//! error of damage that a reader meets; [`decode`] decodes a batch, and reports one that is whole and cannot be read.

use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, HEADER_LEN, RecordBatch},
        compress::MAX_DECOMPRESSED,
        record::{Records, ValidRecords},
    },
    error::{Error, Result},
    partition::log::Log,
    storage::{scan::ScanItem, segment::Segment},
    types::Offset,
};
use std::{io, path::Path, sync::Arc};

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
    remember(log, error.going_on_at(next_offset), header.base_offset)
}

/// Remembers damage that a reader at offset `from` has met, and completes its error.
pub fn record<T>(log: &Log, result: Result<T>, from: Offset) -> Result<T> {
    match result {
        Err(error @ Error::Corrupt { .. }) => Err(remember(log, error, from)),
        other => other,
    }
}

#[cold]
fn remember(log: &Log, error: Error, from: Offset) -> Error {
    let error = with_a_way_past(log, error, from);
    if matches!(error, Error::Corrupt { .. }) {
        log.damage.lock().get_or_insert_with(|| error.clone());
    }
    error
}

/// The same error, with the offset beyond `from` where reading continues.
fn with_a_way_past(log: &Log, error: Error, from: Offset) -> Error {
    let Error::Corrupt { path, position, next_offset: None, .. } = &error else { return error };
    let segments = log.segments.snapshot();
    let Some(i) = segments.iter().position(|segment| segment.path() == path) else {
        return error;
    };
    match next_whole_batch(log, &segments, i, *position, from) {
        Some(next) => error.going_on_at(next),
        None => error,
    }
}

/// The offset of the first whole batch after `position` of segment `i` that begins beyond `from`; where there is none,
/// the beginning of the next segment, or the end of the log.
fn next_whole_batch(
    log: &Log,
    segments: &[Arc<Segment>],
    i: usize,
    position: u64,
    from: Offset,
) -> Option<Offset> {
    let segment = segments.get(i)?;
    // Segments after the end of the log may be known, where the data that leads to them is torn.
    let log_end = log.offsets.log_end();
    let mut ends = segments.iter().skip(i + 1).map(|next| next.base().min(log_end)).chain([log_end]);
    let ceiling = ends.find(|end| *end > from)?;
    let expected = from.max(segment.base());
    let mut scanner = segment.scanner(segment.readable(), position, expected).below(ceiling);
    // A part that cannot be read has no batch to continue at.
    while let Ok(Some(_)) = scanner.resync() {
        if scanner.expected() > from {
            return Some(scanner.expected());
        }
    }
    Some(ceiling)
}

/// The offset up to which everything before the damage that `error` names is whole.
#[cold]
pub(super) fn whole_up_to(log: &Log, error: &Error) -> Option<Offset> {
    let Error::Corrupt { path, position, .. } = error else { return None };
    let segments = log.segments.snapshot();
    let segment = segments.iter().find(|segment| segment.path() == path)?;
    if *position == 0 {
        return Some(segment.base());
    }
    let mut scanner = segment.scanner(*position, 0, segment.base());
    loop {
        match scanner.next().ok()? {
            ScanItem::Batch(..) => {}
            _ if scanner.position() >= *position => return Some(scanner.expected()),
            // Damage before that damage, after which batches are whole.
            _ => match scanner.resync().ok()? {
                Some(_) => {}
                None => return Some(scanner.expected()),
            },
        }
    }
}
