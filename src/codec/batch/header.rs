//! The header of a record batch (magic 2).
//!
#![doc = include_str!("../layout/batch.md")]
//!
//! All big-endian. The first 21 bytes are outside the CRC. A header that was parsed has a base offset, deltas and a
//! count that agree, so that no offset in it overflows; whether its bytes are those that were written only the batch's
//! checksum says.

use crate::{
    codec::{DecodeError, crc::crc32c},
    types::{Compression, Offset, Timestamp, TimestampType},
};

/// Bytes before the records.
pub const HEADER_LEN: usize = 61;
/// Bytes that a batch's length field does not count: the base offset and itself.
pub const LENGTH_OVERHEAD: usize = 12;
/// The smallest value of the length field: a header and no records.
pub const MIN_BATCH_LENGTH: i32 = (HEADER_LEN - LENGTH_OVERHEAD) as i32;
/// Where the bytes that the CRC covers begin.
pub const CRC_START: usize = 21;

/// What is read instead of the older formats, and how to get there.
pub const LEGACY_SUPPORT: &str = "magic 2, as every broker since Kafka 0.11 writes it: let a broker that reads the old format serve the topic, and copy it with a consumer and a producer";

/// The smallest value of the length field of the older formats, magic 0 and 1.
const MIN_LEGACY_LENGTH: i32 = 14;

pub(in crate::codec) const LOG_APPEND_TIME: i16 = 1 << 3;
pub(in crate::codec) const TRANSACTIONAL: i16 = 1 << 4;
pub(in crate::codec) const CONTROL: i16 = 1 << 5;
pub(in crate::codec) const DELETE_HORIZON: i16 = 1 << 6;

/// The header of a record batch.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// CRC-32C of everything from byte 21 on, as stored.
    pub crc: u32,
    /// The offset of the first record that was ever in the batch; compaction keeps it.
    pub base_offset: Offset,
    /// The length field: bytes after it.
    pub batch_length: i32,
    /// The partition leader epoch; -1 when unknown.
    pub leader_epoch: i32,
    /// Codec, timestamp type and flags.
    pub attributes: i16,
    /// From the base offset to the offset of the last record that was ever in the batch.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from.
    pub base_timestamp: i64,
    /// The largest timestamp of the records, or the time of the append.
    pub max_timestamp: Timestamp,
    /// The producer's id; -1 when there is none.
    pub producer_id: i64,
    /// The producer's epoch; -1 when there is none.
    pub producer_epoch: i16,
    /// The sequence number of the first record that was ever in the batch; -1 when there is none.
    pub base_sequence: i32,
    /// How many records are in the batch; fewer than its offsets after compaction, perhaps none.
    pub record_count: u32,
}

impl BatchHeader {
    /// The size of a whole batch by its first 12 bytes, believed as they are: it may be negative, or anything. `None`
    /// when there are fewer bytes.
    pub fn size_of_prefix(bytes: &[u8]) -> Option<i64> {
        let length = i32::from_be_bytes(*bytes.get(8..LENGTH_OVERHEAD)?.first_chunk()?);
        Some(i64::from(length) + LENGTH_OVERHEAD as i64)
    }

    /// Reads the header at the front of `bytes`, and nothing after it.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, DecodeError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(legacy(bytes).unwrap_or_else(|| {
                DecodeError::malformed(
                    bytes.len(),
                    format!("the header of a record batch has {HEADER_LEN} bytes, here are {}", bytes.len()),
                )
            }));
        };
        let header = BatchHeader {
            crc: u32::from_be_bytes(field(bytes, 17)),
            base_offset: Offset::from_i64(i64::from_be_bytes(field(bytes, 0))).unwrap_or(Offset::MAX),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: Timestamp::from_millis(i64::from_be_bytes(field(bytes, 35))),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: u32::from_be_bytes(field(bytes, 57)),
        };
        // Negative offsets became the largest one above, and that one has no next.
        let sound = bytes[16] == 2
            && header.batch_length >= MIN_BATCH_LENGTH
            && header.last_offset_delta >= 0
            && header.base_offset.value() + (header.last_offset_delta as u64) < Offset::MAX.value()
            && u64::from(header.record_count) <= header.last_offset_delta as u64 + 1
            && header.attributes & 7 <= 4;
        if sound { Ok(header) } else { Err(header.fault(bytes)) }
    }

    /// Which rule the header breaks.
    #[cold]
    fn fault(&self, bytes: &[u8; HEADER_LEN]) -> DecodeError {
        let (length, magic, delta) = (self.batch_length, bytes[16] as i8, self.last_offset_delta);
        let base_offset = i64::from_be_bytes(field(bytes, 0));
        if length < MIN_LEGACY_LENGTH || (magic == 2 && length < MIN_BATCH_LENGTH) {
            DecodeError::malformed(8u64, format!("batch length {length} is below {MIN_BATCH_LENGTH}"))
        } else if let Some(error) = legacy(bytes) {
            error
        } else if magic != 2 {
            DecodeError::Unsupported {
                found: format!("a record batch of magic {magic}"),
                supported: "magic 2",
            }
        } else if base_offset < 0 {
            DecodeError::malformed(0u64, format!("base offset {base_offset} is negative"))
        } else if self.attributes & 7 > 4 {
            DecodeError::malformed(21u64, format!("there is no codec {}", self.attributes & 7))
        } else if delta < 0 {
            DecodeError::malformed(23u64, format!("last offset delta {delta} is negative"))
        } else if (self.record_count as i32) < 0 {
            DecodeError::malformed(57u64, format!("record count {} is negative", self.record_count as i32))
        } else if u64::from(self.record_count) > delta as u64 + 1 {
            DecodeError::malformed(57u64, format!("{} records in {delta} + 1 offsets", self.record_count))
        } else {
            DecodeError::malformed(0u64, format!("offsets {base_offset} + {delta} go beyond the largest"))
        }
    }

    /// The 61 bytes of this header.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        self.write(&mut bytes);
        bytes
    }

    /// Writes this header, with the CRC it holds.
    pub(in crate::codec) fn write(&self, bytes: &mut [u8; HEADER_LEN]) {
        put(bytes, 0, self.base_offset.to_i64().to_be_bytes());
        put(bytes, 8, self.batch_length.to_be_bytes());
        put(bytes, 12, self.leader_epoch.to_be_bytes());
        put(bytes, 16, [2]);
        put(bytes, 17, self.crc.to_be_bytes());
        put(bytes, 21, self.attributes.to_be_bytes());
        put(bytes, 23, self.last_offset_delta.to_be_bytes());
        put(bytes, 27, self.base_timestamp.to_be_bytes());
        put(bytes, 35, self.max_timestamp.as_millis().to_be_bytes());
        put(bytes, 43, self.producer_id.to_be_bytes());
        put(bytes, 51, self.producer_epoch.to_be_bytes());
        put(bytes, 53, self.base_sequence.to_be_bytes());
        put(bytes, 57, self.record_count.to_be_bytes());
    }

    /// The header, and with it the whole batch, of what compaction leaves when no record of this one survives but its
    /// offsets or its producer's sequence must.
    pub fn emptied(&self) -> BatchHeader {
        let mut header = BatchHeader {
            batch_length: MIN_BATCH_LENGTH,
            attributes: self.attributes & (LOG_APPEND_TIME | TRANSACTIONAL | CONTROL),
            base_timestamp: -1,
            record_count: 0,
            ..*self
        };
        header.crc = crc32c(&header.to_bytes()[CRC_START..]);
        header
    }

    /// The whole batch in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        LENGTH_OVERHEAD as u64 + self.batch_length.max(0) as u64
    }

    /// The offset of the last record that was ever in the batch.
    #[inline]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(self.last_offset_delta.max(0) as u64)
    }

    /// The first offset after the batch.
    #[inline]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// The sequence number of the last record that was ever in the batch, which follows the largest one with 0; -1
    /// when the batch has none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == -1 {
            return -1;
        }
        // Modulo 2^31.
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// Whether the batch holds control records, which no application sees.
    #[inline]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the batch belongs to a transaction.
    #[inline]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch is one of an idempotent producer.
    #[inline]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// Whose clock the timestamps are of.
    #[inline]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// The codec of the records.
    #[inline]
    pub fn compression(&self) -> Compression {
        match self.attributes & 7 {
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            // 5 to 7 do not pass `parse`.
            _ => Compression::None,
        }
    }

    /// When compaction may remove the tombstones, or the marker, of this batch; `None` before it has met them.
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        (self.attributes & DELETE_HORIZON != 0).then(|| Timestamp::from_millis(self.base_timestamp))
    }
}

/// That `bytes` begin with a message of a format before Kafka 0.11, where their length and magic say so. Such a message
/// may be shorter than the header of a batch.
fn legacy(bytes: &[u8]) -> Option<DecodeError> {
    let length = i32::from_be_bytes(*bytes.get(8..LENGTH_OVERHEAD)?.first_chunk()?);
    let magic = bytes.get(16).filter(|magic| **magic <= 1 && length >= MIN_LEGACY_LENGTH)?;
    Some(DecodeError::Unsupported { found: format!("a message of magic {magic}"), supported: LEGACY_SUPPORT })
}

/// The number of a codec in the attributes.
pub(in crate::codec) const fn codec_bits(compression: Compression) -> i16 {
    match compression {
        Compression::None => 0,
        Compression::Gzip => 1,
        Compression::Snappy => 2,
        Compression::Lz4 => 3,
        Compression::Zstd => 4,
    }
}

/// `N` bytes from the constant `at` on.
#[inline(always)]
fn field<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[inline(always)]
fn put<const N: usize>(bytes: &mut [u8; HEADER_LEN], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}
