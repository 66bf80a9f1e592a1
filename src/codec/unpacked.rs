//! How much is decompressed of what nobody has asked for.

use super::{
    DecodeError,
    batch::RecordBatch,
    compress::MAX_DECOMPRESSED,
    record::{Records, ValidRecords},
};
use crate::types::Compression;

/// What a walk over batches may still decompress: a few kilobytes can become a gigabyte, and a walk takes no longer than
/// what is there is large. Batches beyond that are checked by those who read them.
#[derive(Debug)]
pub struct Unpacked {
    left: u64,
}

impl Unpacked {
    /// What may be decompressed in any walk.
    const LEAST: u64 = 32 << 20;
    /// What each byte of a batch adds to that.
    const PER_BYTE: u64 = 8;
    /// How much a byte of a batch became before its content was found to be bad, at most in most codecs.
    const LIKELY_AT_MOST: u64 = 255;

    /// The records of `batch`, decompressed and checked, or why they cannot be read; `None` where they are not looked
    /// at.
    pub fn records(&mut self, batch: &RecordBatch) -> Option<Result<ValidRecords, DecodeError>> {
        let within = |max| batch.records(max).and_then(Records::validate);
        if batch.header().compression() == Compression::None {
            return Some(within(0));
        }
        self.left = self.left.saturating_add(batch.header().size() * Self::PER_BYTE);
        let max = usize::try_from(self.left).unwrap_or(usize::MAX).min(MAX_DECOMPRESSED);
        let records = within(max);
        match &records {
            Ok(records) => self.left -= records.byte_len() as u64,
            Err(DecodeError::TooLarge(max)) if *max < MAX_DECOMPRESSED => {
                self.left = 0;
                return None;
            }
            // It may have come to this at its end.
            Err(_) => {
                self.left = self.left.saturating_sub(batch.header().size() * Self::LIKELY_AT_MOST);
            }
        }
        Some(records)
    }
}

impl Default for Unpacked {
    fn default() -> Self {
        Unpacked { left: Self::LEAST }
    }
}
