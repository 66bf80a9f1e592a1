//! Ranges of a log that cannot be read, as openings report them.
//!
//! An opening checks the content of the batches that it reads anyway. What is always true: it reads no batch for that
//! alone, and decompresses no more than [`Unpacked`] allows.

use crate::{
    codec::{DecodeError, batch::RecordBatch, unpacked::Unpacked},
    error::Error,
    storage::{segment::Segment, segment::damage::Damage},
    types::Offset,
};
use std::{ops::Range, path::PathBuf};

/// Bytes that are not what was written, with whole batches after them; or a whole batch whose content cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DamagedRange {
    /// The file.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::path"))]
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub bytes: Range<u64>,
    /// The offsets that may have been there. Reading continues at their end.
    pub offsets: Range<Offset>,
    /// What was expected and what was found.
    pub reason: String,
}

impl DamagedRange {
    /// Damage in a segment.
    pub(in crate::partition) fn of_damage(segment: &Segment, damage: Damage) -> Self {
        let path = segment.path().to_path_buf();
        DamagedRange { path, bytes: damage.bytes, offsets: damage.offsets, reason: damage.reason }
    }

    fn of_batch(segment: &Segment, batch: &RecordBatch, position: u64, reason: String) -> Self {
        let header = batch.header();
        DamagedRange {
            path: segment.path().to_path_buf(),
            bytes: position..position + header.size(),
            offsets: header.base_offset..header.next_offset(),
            reason,
        }
    }

    /// The error of a reader that comes there.
    fn error(&self) -> Error {
        Error::corrupt(&self.path, self.bytes.start, self.reason.clone()).going_on_at(self.offsets.end)
    }
}

/// The content of the batches that an opening reads.
#[derive(Debug, Default)]
pub(in crate::partition) struct Contents {
    unpacked: Unpacked,
    /// Batches that cannot be read, in the order of offsets. Neighbouring batches of a codec that this build does not
    /// contain are one entry.
    pub unreadable: Vec<DamagedRange>,
    /// The error about the first of them that no build can read.
    pub damage: Option<Error>,
}

impl Contents {
    /// Looks at a batch whose checksum is right.
    pub fn look_at(&mut self, segment: &Segment, batch: &RecordBatch, position: u64) {
        match self.unpacked.records(batch).and_then(Result::err) {
            None | Some(DecodeError::OutOfMemory(_)) => {}
            Some(DecodeError::CodecUnavailable(codec)) => {
                let reason = Error::no_codec(codec).to_string();
                self.add(DamagedRange::of_batch(segment, batch, position, reason));
            }
            Some(error) => {
                let reason = format!("the checksum is right, but the content is not: {error}");
                let range = DamagedRange::of_batch(segment, batch, position, reason);
                self.damage.get_or_insert_with(|| range.error());
                self.add(range);
            }
        }
    }

    fn add(&mut self, range: DamagedRange) {
        match self.unreadable.last_mut() {
            Some(last)
                if last.reason == range.reason
                    && last.path == range.path
                    && last.bytes.end == range.bytes.start =>
            {
                last.bytes.end = range.bytes.end;
                last.offsets.end = range.offsets.end;
            }
            _ => self.unreadable.push(range),
        }
    }
}
