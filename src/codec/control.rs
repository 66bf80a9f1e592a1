//! Control records: transaction markers and their like.
//!
//! A batch with the control bit holds no data. The key of its record says what it is: a version and a type, 16 bits
//! each. A transaction marker (type 0 aborts, 1 commits) has the producer id and epoch in its batch's header and, as
//! value, a version (16 bits) and the epoch of the coordinator that wrote it (32 bits). Newer versions only add bytes
//! at the end; types that we do not know are to be skipped.

use super::{
    batch::header::{BatchHeader, CONTROL, HEADER_LEN, TRANSACTIONAL},
    builder::{SealedBatch, UNSEALED},
    record::{Record, first_record},
};
use crate::types::{Compression, Timestamp};

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// What a control batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// The end of a transaction of the batch's producer.
    Marker {
        /// Whether it was committed.
        commit: bool,
        /// The epoch of the coordinator that decided.
        coordinator_epoch: i32,
    },
    /// A type that concerns others, by its number.
    Other(i16),
}

impl ControlRecord {
    /// What the control batch at the front of `batch` says. `None` when it is no control batch, is malformed, or was
    /// emptied by compaction.
    pub fn of_batch(batch: &[u8]) -> Option<ControlRecord> {
        let header = BatchHeader::parse(batch).ok()?;
        if !header.is_control() || header.compression() != Compression::None {
            return None;
        }
        let section = batch.get(HEADER_LEN..usize::try_from(header.size()).ok()?)?;
        ControlRecord::of_record(&header, &first_record(&header, section)?)
    }

    /// What `record`, the first of a control batch with this header, says; `None` where it is malformed.
    pub fn of_record(header: &BatchHeader, record: &Record<'_>) -> Option<ControlRecord> {
        let (version, key) = record.key?.split_first_chunk()?;
        let kind = i16::from_be_bytes(*key.first_chunk()?);
        if i16::from_be_bytes(*version) < 0 {
            return None;
        }
        if kind != ABORT && kind != COMMIT {
            return Some(ControlRecord::Other(kind));
        }
        let (version, value) = record.value?.split_first_chunk()?;
        let coordinator_epoch = i32::from_be_bytes(*value.first_chunk()?);
        let sound = i16::from_be_bytes(*version) >= 0 && header.record_count == 1;
        sound.then_some(ControlRecord::Marker { commit: kind == COMMIT, coordinator_epoch })
    }
}

/// The batch that ends a transaction.
#[allow(dead_code, reason = "part of the format: the tests write what only a transaction's coordinator does")]
pub fn marker_batch(
    producer_id: i64,
    producer_epoch: i16,
    commit: bool,
    coordinator_epoch: i32,
    timestamp: Timestamp,
) -> SealedBatch {
    let header = BatchHeader {
        attributes: TRANSACTIONAL | CONTROL,
        base_timestamp: timestamp.as_millis(),
        max_timestamp: timestamp,
        producer_id,
        producer_epoch,
        record_count: 1,
        ..UNSEALED
    };
    let kind = if commit { COMMIT } else { ABORT };
    let mut buffer = vec![0; HEADER_LEN];
    // In zigzag form: 16 bytes follow; attributes and both deltas are 0; the key has 4 bytes.
    buffer.extend([32, 0, 0, 0, 8]);
    buffer.extend(0i16.to_be_bytes());
    buffer.extend(kind.to_be_bytes());
    // The value has 6 bytes.
    buffer.push(12);
    buffer.extend(0i16.to_be_bytes());
    buffer.extend(coordinator_epoch.to_be_bytes());
    // No headers.
    buffer.push(0);
    SealedBatch::new(header, buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::{builder::Stamp, crc::crc32c, vectors::*},
        types::Offset,
    };

    #[test]
    fn markers_are_kafkas_byte_for_byte() {
        for (commit, text) in [(true, COMMIT_MARKER), (false, ABORT_MARKER)] {
            let mut marker = marker_batch(9, 0, commit, 5, Timestamp::from_millis(1000));
            assert_eq!(marker.finish(Offset::new(3), 0, Stamp::CreateTime), unhex(text));
            let found = ControlRecord::of_batch(&unhex(text));
            assert_eq!(found, Some(ControlRecord::Marker { commit, coordinator_epoch: 5 }));
        }
    }

    #[test]
    fn a_marker_that_a_cleaner_has_met_still_says_the_same() {
        let found = ControlRecord::of_batch(&unhex(CLEANED_MARKER));
        assert_eq!(found, Some(ControlRecord::Marker { commit: true, coordinator_epoch: 5 }));
    }

    #[test]
    fn an_unknown_type_is_told_and_what_is_no_control_batch_is_none() {
        let mut bytes = unhex(COMMIT_MARKER);
        bytes[69] = 9;
        assert_eq!(ControlRecord::of_batch(&bytes), Some(ControlRecord::Other(9)));
        bytes[66] = 0x80;
        assert_eq!(ControlRecord::of_batch(&bytes), None, "a negative version");
        let mut bytes = unhex(COMMIT_MARKER);
        (bytes[26], bytes[60]) = (1, 2);
        assert!(BatchHeader::parse(&bytes).is_ok());
        assert_eq!(ControlRecord::of_batch(&bytes), None, "a marker stands alone");
        let mut bytes = unhex(COMMIT_MARKER);
        bytes[22] = 0x10;
        assert_eq!(ControlRecord::of_batch(&bytes), None, "no control bit");
        let bytes = unhex(COMMIT_MARKER);
        for end in 0..bytes.len() {
            assert_eq!(ControlRecord::of_batch(&bytes[..end]), None);
        }
    }

    #[test]
    fn an_emptied_control_batch_says_nothing() {
        let header = BatchHeader::parse(&unhex(COMMIT_MARKER)).unwrap().emptied();
        assert_eq!(ControlRecord::of_batch(&header.to_bytes()), None);
        assert_eq!(crc32c(&header.to_bytes()[21..]), header.crc);
    }
}
