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

    /// Why the records of `batch` cannot be read; `None` where they can, and where they are not looked at.
    pub fn fault(&mut self, batch: &RecordBatch) -> Option<DecodeError> {
        match batch.header().compression() {
            Compression::None => batch.check_stored().err(),
            _ => self.records(batch)?.err(),
        }
    }

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

#[cfg(test)]
#[cfg(feature = "gzip")]
mod tests {
    use super::*;
    use crate::{
        codec::builder::{BatchBuilder, Stamp},
        types::{Offset, Timestamp},
    };

    /// A batch of one record of so many zeros.
    fn batch(len: usize, compression: Compression) -> RecordBatch {
        let mut builder = BatchBuilder::new();
        builder.append(Timestamp::from_millis(1), None, Some(&vec![0; len]), &[]).unwrap();
        let mut sealed = builder.seal(compression, None).unwrap();
        let bytes = sealed.finish(Offset::ZERO, 0, Stamp::CreateTime).to_vec();
        RecordBatch::parse(bytes.into()).unwrap()
    }

    #[test]
    fn a_walk_decompresses_what_it_may_and_leaves_the_rest_to_readers() {
        let large = batch(100_000, Compression::Gzip);
        let size = large.header().size();
        let mut unpacked = Unpacked { left: 150_000 };
        let records = unpacked.records(&large).unwrap().unwrap();
        assert_eq!((records.len(), unpacked.left), (1, 150_000 + 8 * size - records.byte_len() as u64));
        assert!(unpacked.left < 100_000);
        assert!(unpacked.records(&large).is_none());
        assert_eq!(unpacked.left, 0, "what was spent to find that out counts");
        // One that becomes no larger than its size allows is looked at whatever came before.
        let small = batch(100, Compression::Gzip);
        assert!(unpacked.records(&small).unwrap().is_ok());
        assert!(unpacked.records(&large).is_none());
        assert!(unpacked.records(&batch(100_000, Compression::None)).unwrap().is_ok());
        assert_eq!(Unpacked::default().left, Unpacked::LEAST);
    }

    #[test]
    fn what_is_no_records_is_an_error_and_counts_by_its_size() {
        let good = batch(1000, Compression::Gzip);
        let mut bytes = good.bytes().to_vec();
        let at = bytes.len() - 1;
        bytes[at] ^= 1;
        let bad = RecordBatch::with_header(*good.header(), bytes.into());
        let size = bad.header().size();
        let mut unpacked = Unpacked { left: 1 << 20 };
        assert!(matches!(unpacked.records(&bad), Some(Err(DecodeError::Malformed { .. }))));
        assert_eq!(unpacked.left, (1 << 20) + 8 * size - 255 * size);
    }
}
