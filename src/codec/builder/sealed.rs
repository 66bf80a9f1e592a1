//! A batch that waits for its offsets.
//!
//! Its records are encoded, compressed and summed. [`SealedBatch::finish`] writes the header once offsets are known: the
//! batch's CRC is that of the header's own 40 bytes joined to the prepared one, whatever the batch's size, and `finish`
//! may be called again with other offsets.

use crate::{
    codec::{
        batch::header::{
            BatchHeader, CONTROL, CRC_START, HEADER_LEN, LENGTH_OVERHEAD, LOG_APPEND_TIME, MIN_BATCH_LENGTH,
            TRANSACTIONAL,
        },
        crc::{Shift, crc32c},
        named::NamedSequences,
    },
    types::{Offset, Timestamp},
};

/// Up to so many bytes of records are summed together with the header: making ready to join their checksum to another
/// takes about two thousand instructions, summing them a few hundred.
const SUMMED_LATE: usize = 4096;

/// What gives a batch its timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The producer: records keep theirs.
    CreateTime,
    /// The log: every record reads back with this one.
    LogAppendTime(Timestamp),
}

/// A header before anything is known.
pub(in crate::codec) const UNSEALED: BatchHeader = BatchHeader {
    crc: 0,
    base_offset: Offset::ZERO,
    batch_length: MIN_BATCH_LENGTH,
    leader_epoch: -1,
    attributes: 0,
    last_offset_delta: 0,
    base_timestamp: -1,
    max_timestamp: Timestamp::NONE,
    producer_id: -1,
    producer_epoch: -1,
    base_sequence: -1,
    record_count: 0,
};

/// A batch whose records are encoded, compressed and summed, and which waits for its offsets.
#[derive(Debug)]
pub struct SealedBatch {
    header: BatchHeader,
    /// The largest timestamp of the records, whatever the last stamp was.
    max_timestamp: Timestamp,
    /// The checksum of the records and what joins another before it; `None` for few bytes, which are summed at the end
    /// for less than the joining takes.
    prepared: Option<(u32, Shift)>,
    buffer: Vec<u8>,
    /// The sequences that the source of a named producer gave, as the records say them.
    sequences: Option<NamedSequences>,
}

impl SealedBatch {
    /// Seals `buffer`: room for a header, and records as `header` describes them.
    #[inline]
    pub(in crate::codec) fn new(header: BatchHeader, buffer: Vec<u8>) -> Self {
        let records = buffer.get(HEADER_LEN..).unwrap_or_default();
        SealedBatch {
            header: BatchHeader { batch_length: (buffer.len() - LENGTH_OVERHEAD) as i32, ..header },
            max_timestamp: header.max_timestamp,
            prepared: (records.len() > SUMMED_LATE)
                .then(|| (crc32c(records), Shift::over(records.len() as u64))),
            buffer,
            sequences: None,
        }
    }

    /// How many records there are.
    pub fn count(&self) -> u32 {
        self.header.record_count
    }

    /// The bytes of the batch.
    pub fn size(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// Makes this the batch of an idempotent producer.
    pub fn set_producer(&mut self, id: i64, epoch: i16, base_sequence: i32) {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
    }

    /// Says which sequences the source of a named producer gave to these records. Their headers say the same.
    #[must_use]
    pub(crate) fn with_sequences(mut self, sequences: Option<NamedSequences>) -> Self {
        self.sequences = sequences;
        self
    }

    /// The sequences that the source of a named producer gave.
    pub fn sequences(&self) -> Option<NamedSequences> {
        self.sequences
    }

    /// Whether the batch belongs to a transaction.
    pub fn set_transactional(&mut self, transactional: bool) {
        self.set_attribute(TRANSACTIONAL, transactional);
    }

    /// Makes the records control records.
    #[allow(
        dead_code,
        reason = "part of the format: the tests write what only a transaction's coordinator does"
    )]
    pub fn set_control(&mut self) {
        self.set_attribute(CONTROL, true);
    }

    /// Lets the batch end at a later offset than its last record's, as one does whose last records were cleaned away.
    #[allow(dead_code, reason = "part of the format: a cleaner writes it, and it does so without this")]
    pub fn set_last_offset_delta(&mut self, delta: i32) {
        debug_assert!(delta >= self.header.last_offset_delta);
        self.header.last_offset_delta = delta;
    }

    /// Writes the header and returns the batch as it is to be stored.
    pub fn finish(&mut self, base_offset: Offset, leader_epoch: i32, stamp: Stamp) -> &[u8] {
        self.header.base_offset = base_offset;
        self.header.leader_epoch = leader_epoch;
        let (append_time, max_timestamp) = match stamp {
            Stamp::CreateTime => (false, self.max_timestamp),
            Stamp::LogAppendTime(now) => (true, now),
        };
        self.header.max_timestamp = max_timestamp;
        self.set_attribute(LOG_APPEND_TIME, append_time);
        if let Some(room) = self.buffer.first_chunk_mut::<HEADER_LEN>() {
            self.header.write(room);
        }
        let covered = self.buffer.get(CRC_START..).unwrap_or_default();
        self.header.crc = match self.prepared {
            Some((records_crc, shift)) => shift.join(crc32c(&covered[..HEADER_LEN - CRC_START]), records_crc),
            None => crc32c(covered),
        };
        if let Some(room) = self.buffer.get_mut(CRC_START - 4..CRC_START) {
            room.copy_from_slice(&self.header.crc.to_be_bytes());
        }
        &self.buffer
    }

    /// The batch, as [`finish`](Self::finish) last wrote it.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The header as [`finish`](Self::finish) last wrote it.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch, as [`finish`](Self::finish) last wrote it.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    fn set_attribute(&mut self, bit: i16, on: bool) {
        self.header.attributes =
            if on { self.header.attributes | bit } else { self.header.attributes & !bit };
    }
}
