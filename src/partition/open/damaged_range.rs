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
        match self.unpacked.fault(batch) {
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

#[cfg(test)]
mod tests {
    use crate::{
        RecordData, Streamlog, TopicConfig,
        codec::batch::{BatchHeader, HEADER_LEN},
        partition::{open::damaged_range::*, tests},
    };
    use std::sync::Arc;

    /// A batch at `offset`, with these attributes instead of its own, or with records that are none.
    fn batch(offset: u64, attributes: i16, is_sound: bool) -> RecordBatch {
        let batch = tests::batch(9, 0, "value");
        let base_offset = Offset::new(offset);
        let header = BatchHeader { base_offset, attributes, ..*batch.header() };
        let mut bytes = batch.bytes().to_vec();
        if !is_sound {
            bytes[HEADER_LEN] = 0x7e;
        }
        RecordBatch::with_header(header, bytes.into())
    }

    fn segments() -> Vec<Arc<Segment>> {
        let log = Streamlog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap();
        for _ in 0..2 {
            topic.partition(0).unwrap().append(&[RecordData::new(&[7; 400])]).unwrap();
        }
        topic.partition(0).unwrap().log().segments.snapshot().to_vec()
    }

    #[test]
    fn content_that_no_build_can_read_is_damage_from_its_first_byte_to_its_last() {
        let (segments, mut contents) = (segments(), Contents::default());
        let size = batch(3, 0, true).header().size();
        contents.look_at(&segments[0], &batch(3, 0, true), 100);
        assert!(contents.unreadable.is_empty() && contents.damage.is_none());
        contents.look_at(&segments[0], &batch(4, 0, false), 200);
        contents.look_at(&segments[1], &batch(7, 0, false), 300);
        let found: Vec<_> = contents
            .unreadable
            .iter()
            .map(|range| (range.bytes.clone(), range.offsets.start.value()))
            .collect();
        assert_eq!(found, [(200..200 + size, 4), (300..300 + size, 7)]);
        let first = contents.damage.unwrap();
        let Error::Corrupt { path, position: 200, next_offset, .. } = &first else { panic!("{first}") };
        assert_eq!((&**path, *next_offset), (segments[0].path(), Some(Offset::new(5))));
    }

    #[cfg(not(feature = "zstd"))]
    #[test]
    fn neighbours_of_a_codec_that_is_not_in_this_build_are_one_entry_and_no_damage() {
        let (segments, mut contents) = (segments(), Contents::default());
        let zstd = |offset| batch(offset, 4, true);
        let size = zstd(0).header().size();
        let looks = [
            (0, 0, zstd(0)),
            (0, size, zstd(1)),
            (0, 2 * size, zstd(2)),
            // After a batch that can be read, and in another file.
            (0, 4 * size, zstd(4)),
            (1, 5 * size, zstd(5)),
        ];
        looks.iter().for_each(|(at, position, batch)| contents.look_at(&segments[*at], batch, *position));
        let found: Vec<_> = contents
            .unreadable
            .iter()
            .map(|range| (range.bytes.clone(), range.offsets.start.value()..range.offsets.end.value()))
            .collect();
        assert_eq!(found, [(0..3 * size, 0..3), (4 * size..5 * size, 4..5), (5 * size..6 * size, 5..6)]);
        assert!(contents.damage.is_none());
    }
}
