//! Errors about damage that a reader meets: file, position, and the offset where reading continues.
//!
//! Every reader takes them from here, and the log remembers the first one for its health.

use crate::{
    error::{Error, Result},
    partition::log::Log,
    storage::{scan::ScanItem, segment::Segment},
    types::Offset,
};
use std::sync::Arc;

/// Remembers damage that a reader at offset `from` has met, and completes its error.
pub fn record<T>(log: &Log, result: Result<T>, from: Offset) -> Result<T> {
    match result {
        Err(error @ Error::Corrupt { .. }) => Err(remember(log, error, from)),
        other => other,
    }
}

/// Remembers an error for the log's health, and completes it.
#[cold]
pub(super) fn remember(log: &Log, error: Error, from: Offset) -> Error {
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
