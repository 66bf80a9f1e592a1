//! A record batch (magic 2) as a whole: its header, its checksum and its records.
//!
//! The layout stands in [`header`]. Whether the bytes of a batch are those that were written is known after
//! [`RecordBatch::verify_crc`] only.

pub mod header;

pub use header::{BatchHeader, CRC_START, HEADER_LEN, LENGTH_OVERHEAD};

use super::{
    DecodeError,
    compress::decompress_records,
    crc::crc32c,
    record::{Records, check_stored},
};
use crate::types::Compression;
use bytes::Bytes;

#[cfg(test)]
mod broker_files;

/// A record batch: its header and all of its bytes.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// The batch that `bytes` begin with. Neither its CRC nor its records are looked at.
    pub fn parse(mut bytes: Bytes) -> Result<RecordBatch, DecodeError> {
        let header = BatchHeader::parse(&bytes)?;
        match usize::try_from(header.size()) {
            Ok(size) if size <= bytes.len() => bytes.truncate(size),
            _ => {
                let reason = format!("a batch of {} bytes ends after {}", header.size(), bytes.len());
                return Err(DecodeError::malformed(bytes.len(), reason));
            }
        }
        Ok(RecordBatch { header, bytes })
    }

    /// A batch whose header was parsed from these bytes, which are exactly the batch.
    pub fn with_header(header: BatchHeader, bytes: Bytes) -> RecordBatch {
        debug_assert_eq!(header.size(), bytes.len() as u64);
        RecordBatch { header, bytes }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the bytes from the attributes on are those that were written.
    pub fn verify_crc(&self) -> Result<(), DecodeError> {
        let found = crc32c(self.bytes.get(CRC_START..).unwrap_or_default());
        if found == self.header.crc {
            return Ok(());
        }
        let reason = format!("the batch says CRC-32C {:08x}, its bytes have {found:08x}", self.header.crc);
        Err(DecodeError::malformed(17u64, reason))
    }

    /// What is wrong with records that are not compressed: the first fault. Counts no reference to their bytes.
    pub fn check_stored(&self) -> Result<(), DecodeError> {
        match self.bytes.get(HEADER_LEN..) {
            Some(section) => check_stored(&self.header, section),
            None => Err(self.too_short()),
        }
    }

    fn too_short(&self) -> DecodeError {
        DecodeError::malformed(self.bytes.len(), "the batch ends inside its header")
    }

    /// The records, decompressed where they are compressed, into no more than `max_decompressed` bytes. Records that
    /// are not compressed stay where they are.
    pub fn records(&self, max_decompressed: usize) -> Result<Records, DecodeError> {
        if self.bytes.len() < HEADER_LEN {
            return Err(self.too_short());
        }
        let section = self.bytes.slice(HEADER_LEN..);
        match self.header.compression() {
            Compression::None => Records::new(&self.header, section, true),
            // An emptied batch may have kept its codec, but then has nothing that a codec could read.
            _ if section.is_empty() && self.header.record_count == 0 => {
                Records::new(&self.header, section, true)
            }
            codec => {
                let raw = decompress_records(codec, &section, self.header.record_count, max_decompressed)
                    .map_err(|error| error.shifted(HEADER_LEN as u64))?;
                Records::new(&self.header, raw.into(), false)
            }
        }
    }
}

#[cfg(test)]
mod tests;
