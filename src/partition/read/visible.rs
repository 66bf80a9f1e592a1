//! Batches as readers see them: decoded, or named as damage.
//!
//! Every reader takes the records of a batch from here: iterators in both directions, consumers, look-ups by time, the
//! state of groups. What is always true: a batch that cannot be decoded, and damage that a reader comes to, leave as an
//! error that names the file, the position in it and the offset where reading goes on, and the log remembers the
//! first one.
//!
//! A batch that was fetched does not carry its place. The place is looked up when there is something to say about it, so
//! that readers of sound logs pay nothing for it.

use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, HEADER_LEN, RecordBatch},
        compress::MAX_DECOMPRESSED,
        record::{Records, ValidRecords},
    },
    error::{Error, Result},
    partition::{log::Log, state::segment_list::floor},
    storage::segment::{Located, Segment},
    types::Offset,
};
use std::{io, sync::Arc};

fn decode(batch: &RecordBatch) -> Result<ValidRecords, DecodeError> {
    #[cfg(test)]
    DECODED.set(DECODED.get() + 1);
    batch.records(MAX_DECOMPRESSED).and_then(Records::validate)
}

#[cfg(test)]
thread_local! {
    /// How many batches this thread has decoded.
    pub(in crate::partition) static DECODED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl Log {
    /// The records of a batch of this log, decompressed and checked.
    ///
    /// # Errors
    ///
    /// `Corrupt`, and `CodecUnavailable`; `Io` where there is no memory for what it decompresses to.
    pub fn decode(&self, batch: &RecordBatch) -> Result<ValidRecords> {
        let header = batch.header();
        let decoded = match self.unreadable.why(header) {
            None => decode(batch).inspect_err(|error| self.unreadable.note(header, error)),
            Some(known) => Err(known),
        };
        decoded.map_err(|error| self.unreadable(header, error))
    }

    /// The error about a batch whose checksum is right and whose content cannot be read. The positions of `error` count
    /// from the first byte of the batch.
    #[cold]
    pub fn unreadable(&self, header: &BatchHeader, error: DecodeError) -> Error {
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
        let segments = self.segments.snapshot();
        let error = match segment_of(&segments, header) {
            Some((segment, position)) => error.in_file(segment.path(), position),
            // It was removed since it was fetched.
            None => error.in_file(&self.identity.dir, 0),
        };
        if let Error::Io { operation, path, source } = &error {
            // There was no memory for it: that is no damage, and may be otherwise for somebody else.
            let text = format!("{source}; reading can go on at offset {next_offset}");
            return Error::io(operation, path, io::Error::new(source.kind(), text));
        }
        self.note_damage(error.going_on_at(next_offset), header.base_offset)
    }

    /// Remembers damage that somebody met who stood at offset `from`, and hands on what came of it.
    pub fn record_damage<T>(&self, result: Result<T>, from: Offset) -> Result<T> {
        match result {
            Err(error @ Error::Corrupt { .. }) => Err(self.note_damage(error, from)),
            other => other,
        }
    }

    #[cold]
    fn note_damage(&self, error: Error, from: Offset) -> Error {
        let error = self.with_a_way_past(error, from);
        if matches!(error, Error::Corrupt { .. }) {
            self.damage.lock().get_or_insert_with(|| error.clone());
        }
        error
    }

    /// The same error, and where beyond `from` reading goes on.
    fn with_a_way_past(&self, error: Error, from: Offset) -> Error {
        let Error::Corrupt { path, position, next_offset: None, .. } = &error else { return error };
        let segments = self.segments.snapshot();
        let Some(i) = segments.iter().position(|segment| segment.path() == path) else {
            return error;
        };
        match self.next_whole_batch(&segments, i, *position, from) {
            Some(next) => error.going_on_at(next),
            None => error,
        }
    }

    /// The offset of the first whole batch behind `position` of segment `i` that begins beyond `from`; where there is
    /// none, the beginning of the next segment, or the end of the log.
    fn next_whole_batch(
        &self,
        segments: &[Arc<Segment>],
        i: usize,
        position: u64,
        from: Offset,
    ) -> Option<Offset> {
        let segment = segments.get(i)?;
        // Segments may be known that lie behind the end of the log, where what leads to them is torn.
        let log_end = self.offsets.log_end();
        let mut ends = segments.iter().skip(i + 1).map(|next| next.base().min(log_end)).chain([log_end]);
        let ceiling = ends.find(|end| *end > from)?;
        let expected = from.max(segment.base());
        let mut scanner = segment.scanner(segment.readable(), position, expected).below(ceiling);
        // What cannot be read has nothing to go on at.
        while let Ok(Some(_)) = scanner.resync() {
            if scanner.expected() > from {
                return Some(scanner.expected());
            }
        }
        Some(ceiling)
    }
}

/// The segment that holds the batch with `header`, and where in it.
fn segment_of<'a>(segments: &'a [Arc<Segment>], header: &BatchHeader) -> Option<(&'a Segment, u64)> {
    let segment = floor(segments, header.base_offset).and_then(|i| segments.get(i))?;
    let offset = header.base_offset;
    let is_it = |found: &Located| found.header == *header;
    let by_index = segment.locate(offset).ok().flatten().filter(is_it);
    let found = by_index.or_else(|| segment.locate_past_damage(offset).ok().flatten().filter(is_it));
    // Where neither leads to it, because another batch has its offsets too, each batch is looked at.
    let position = found.map(|found| found.position).or_else(|| segment.position_of(header));
    position.map(|position| (&**segment, position))
}
