//! Records straight into the batch they will be written in.
//!
//! A [`BatchBuilder`] encodes each record once, after 61 bytes kept free for the header. [`BatchBuilder::seal`]
//! compresses the records and sums them, which needs no lock of a partition; what it gives, a [`SealedBatch`], waits for
//! its offsets.
//!
//! Always true: offset deltas rise; a batch never grows beyond what its 32-bit length can say; a refused record leaves
//! no trace.

mod encode;
mod numbered;
mod sealed;

pub use encode::HeaderParts;
pub use numbered::NUMBER_OVERHEAD;
pub(super) use sealed::UNSEALED;
pub use sealed::{SealedBatch, Stamp};

use super::{
    batch::header::{BatchHeader, DELETE_HORIZON, HEADER_LEN, codec_bits},
    compress::{MAX_DECOMPRESSED, compress},
    varint::{self, zigzag, zigzag_long},
};
use crate::{
    error::Error,
    types::{Compression, Timestamp},
};
use encode::{Fields, HEAD, SHORT_RECORD, size_of_body, write_record, write_short};
use numbered::Numbers;

/// The largest batch that a signed 32-bit length can say.
const MAX_BATCH: usize = i32::MAX as usize;

/// A batch that is being filled.
#[derive(Debug)]
pub struct BatchBuilder {
    /// The header's room, then the records.
    buffer: Vec<u8>,
    count: u32,
    /// The offset delta of the next record unless it brings a larger one.
    next_delta: i32,
    /// What timestamps are counted from: the first one, or a delete horizon that was given.
    base_timestamp: Option<i64>,
    first_timestamp: i64,
    max_timestamp: i64,
    delete_horizon: bool,
    /// Where the last record begins.
    last_record: usize,
    numbers: Numbers,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::with_buffer(Vec::new())
    }

    /// An empty batch in a buffer that served another; what is in it goes.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_LEN, 0);
        BatchBuilder {
            buffer,
            count: 0,
            next_delta: 0,
            base_timestamp: None,
            first_timestamp: -1,
            max_timestamp: -1,
            delete_horizon: false,
            last_record: HEADER_LEN,
            numbers: Numbers::default(),
        }
    }

    /// Makes this the batch of a cleaner that has met it: its base timestamp is this delete horizon. To be called
    /// before the first record.
    #[allow(dead_code, reason = "part of the format: a cleaner sets it, and it does so without this")]
    pub fn set_delete_horizon(&mut self, horizon: Timestamp) {
        debug_assert!(self.is_empty());
        self.base_timestamp = Some(horizon.as_millis());
        self.delete_horizon = true;
    }

    /// Appends a record at the offset after the last one.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<(), Error> {
        self.append_at_with(self.next_delta, timestamp, key, value, headers)
    }

    /// As [`append`](Self::append), with headers of any shape.
    #[inline]
    pub fn append_with<H: HeaderParts>(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[H],
    ) -> Result<(), Error> {
        self.append_at_with(self.next_delta, timestamp, key, value, headers)
    }

    /// Appends a record at `offset_delta` from the batch's base offset, beyond that of the last record.
    #[inline]
    #[allow(dead_code, reason = "offsets with gaps are a cleaner's: tests and fuzzing write what it leaves")]
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<(), Error> {
        self.append_at_with(offset_delta, timestamp, key, value, headers)
    }

    #[inline]
    fn append_at_with<H: HeaderParts>(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[H],
    ) -> Result<(), Error> {
        let millis = timestamp.as_millis();
        if millis < -1 {
            return Err(invalid_timestamp(timestamp));
        }
        if offset_delta < self.next_delta || offset_delta == i32::MAX {
            return Err(invalid_delta(offset_delta, self.next_delta));
        }
        let base = self.base_timestamp.unwrap_or(millis);
        // A horizon may be anything; without one both are at least -1.
        let delta = zigzag_long(millis.wrapping_sub(base));
        let begins = self.buffer.len();
        let fields = Fields { timestamp: delta, offset: u64::from(zigzag(offset_delta)), key, value };
        if headers.is_empty() && fields.are_short() && self.buffer.len() < MAX_BATCH - SHORT_RECORD {
            write_short(&mut self.buffer, fields);
        } else {
            self.write_long(fields, headers)?;
        }

        if self.count == 0 {
            self.first_timestamp = millis;
            self.base_timestamp = Some(base);
        }
        self.max_timestamp = self.max_timestamp.max(millis);
        self.last_record = begins;
        self.next_delta = offset_delta + 1;
        self.count += 1;
        Ok(())
    }

    /// Writes a record of any size, or refuses it.
    #[inline(never)]
    fn write_long<H: HeaderParts>(&mut self, fields: Fields<'_>, headers: &[H]) -> Result<(), Error> {
        let Fields { timestamp, offset, key, value } = fields;
        let body = size_of_body(timestamp, offset, key, value, headers);
        // The length's own bytes, and those of the header's last fields, are counted at their largest.
        if body > MAX_BATCH || self.buffer.len() + body + varint::MAX_VARINT > MAX_BATCH {
            return Err(too_large(self.buffer.len().saturating_add(body)));
        }
        self.buffer.reserve(body + varint::MAX_VARINT + HEAD);
        write_record(&mut self.buffer, body, fields, headers);
        Ok(())
    }

    /// The bytes of the batch so far, with its header, before compression.
    #[inline]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The records so far.
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is no record yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The buffer of a batch that is given up.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Compresses and sums the records. A batch has at least one; `level` is the codec's own.
    ///
    /// # Errors
    ///
    /// `RecordTooLarge` for more than readers decompress, however small it gets.
    pub fn seal(self, compression: Compression, level: Option<i32>) -> Result<SealedBatch, Error> {
        self.seal_or_keep(compression, level).map_err(|refused| refused.1)
    }

    /// As [`seal`](Self::seal); what cannot be sealed so comes back.
    pub fn seal_or_keep(
        self,
        compression: Compression,
        level: Option<i32>,
    ) -> Result<SealedBatch, Box<(Self, Error)>> {
        self.seal_within(compression, level, MAX_DECOMPRESSED)
    }

    fn seal_within(
        mut self,
        compression: Compression,
        level: Option<i32>,
        max: usize,
    ) -> Result<SealedBatch, Box<(Self, Error)>> {
        self.end_run();
        match self.packed(compression, level, max) {
            Ok(None) => {}
            Ok(Some(packed)) => self.buffer = packed,
            Err(error) => return Err(Box::new((self, error))),
        }
        let horizon = if self.delete_horizon { DELETE_HORIZON } else { 0 };
        let header = BatchHeader {
            attributes: codec_bits(compression) | horizon,
            last_offset_delta: self.next_delta - 1,
            base_timestamp: self.base_timestamp.unwrap_or(self.first_timestamp),
            max_timestamp: Timestamp::from_millis(self.max_timestamp),
            record_count: self.count,
            ..UNSEALED
        };
        let sequences = self.numbers.given();
        Ok(SealedBatch::new(header, self.buffer).with_sequences(sequences))
    }

    /// Room for a header and the compressed records; `None` where the records stay as they are.
    fn packed(&self, codec: Compression, level: Option<i32>, max: usize) -> Result<Option<Vec<u8>>, Error> {
        if self.is_empty() {
            return Err(Error::InvalidArgument { reason: "a batch has at least one record".to_string() });
        }
        if codec == Compression::None {
            return Ok(None);
        }
        let plain = self.buffer.len() - HEADER_LEN;
        if plain > max {
            return Err(Error::too_large(plain as u64, max as u64, DECOMPRESSED));
        }
        let mut packed = Vec::with_capacity(HEADER_LEN + self.buffer.len() / 2);
        packed.resize(HEADER_LEN, 0);
        compress(codec, level, &self.buffer[HEADER_LEN..], &mut packed)?;
        if packed.len() > MAX_BATCH {
            return Err(too_large(packed.len()));
        }
        Ok(Some(packed))
    }
}

#[cold]
fn invalid_timestamp(timestamp: Timestamp) -> Error {
    let reason = "it is negative and not -1, which means none".to_string();
    Error::InvalidTimestamp { timestamp, reason }
}

#[cold]
fn invalid_delta(delta: i32, next: i32) -> Error {
    let reason =
        format!("offset delta {delta} in a batch that continues at {next} and ends before {}", i32::MAX);
    Error::InvalidArgument { reason }
}

/// What bounds a batch before it is compressed.
const DECOMPRESSED: &str = "what readers decompress";

#[cold]
fn too_large(size: usize) -> Error {
    Error::too_large(size as u64, MAX_BATCH as u64, "a batch in Kafka's format")
}

#[cfg(test)]
mod tests;
