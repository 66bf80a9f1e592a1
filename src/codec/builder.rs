//! Records straight into the batch they will be written in.
//!
//! A [`BatchBuilder`] encodes each record once, behind 61 bytes kept free for the header. [`BatchBuilder::seal`]
//! compresses them and sums them, which needs no lock of a partition. [`SealedBatch::finish`] writes the header, once
//! offsets are known: its CRC is that of its own 40 bytes joined to the prepared one, whatever the batch's size, and
//! it may be called again with other offsets.
//!
//! Always true: offset deltas rise; a batch never grows beyond what its 32-bit length can say; a record that was
//! refused left nothing behind.

use super::{
    batch::{self, BatchHeader, CRC_START, HEADER_LEN, LENGTH_OVERHEAD},
    compress::{MAX_DECOMPRESSED, compress},
    crc::{Shift, crc32c},
    varint::{self, size_unsigned, zigzag, zigzag_long},
};
use crate::{
    error::Error,
    types::{Compression, Offset, Timestamp},
};

/// The largest batch that a signed 32-bit length can say.
const MAX_BATCH: usize = i32::MAX as usize;

/// Up to so many bytes of records are summed together with the header: making ready to join their checksum to another
/// takes about two thousand instructions, summing them a few hundred.
const SUMMED_LATE: usize = 4096;

/// Who gives a batch its timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The producer: records keep theirs.
    CreateTime,
    /// The log: every record reads back with this one.
    LogAppendTime(Timestamp),
}

/// A header: its name, and its value, which may be null.
pub trait HeaderParts {
    /// Both.
    fn parts(&self) -> (&str, Option<&[u8]>);
}

impl HeaderParts for (&str, Option<&[u8]>) {
    #[inline]
    fn parts(&self) -> (&str, Option<&[u8]>) {
        *self
    }
}

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
        }
    }

    /// Makes this the batch of a cleaner that has met it: its base timestamp is this delete horizon. To be called
    /// before the first record.
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

    /// The most bytes that a record takes in a batch where no timestamp is further than `timestamp_delta` from the
    /// first.
    pub fn size_of_record(
        timestamp_delta: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> usize {
        let farthest = timestamp_delta.unsigned_abs().saturating_mul(2);
        let body = size_of_body(farthest, u64::from(zigzag(i32::MAX)), key, value, headers);
        body.saturating_add(size_unsigned((body as u64).saturating_mul(2)))
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
        match self.packed(compression, level, max) {
            Ok(None) => {}
            Ok(Some(packed)) => self.buffer = packed,
            Err(error) => return Err(Box::new((self, error))),
        }
        let horizon = if self.delete_horizon { batch::DELETE_HORIZON } else { 0 };
        let header = BatchHeader {
            attributes: batch::codec_bits(compression) | horizon,
            last_offset_delta: self.next_delta - 1,
            base_timestamp: self.base_timestamp.unwrap_or(self.first_timestamp),
            max_timestamp: Timestamp::from_millis(self.max_timestamp),
            record_count: self.count,
            ..UNSEALED
        };
        Ok(SealedBatch::new(header, Timestamp::from_millis(self.first_timestamp), self.buffer))
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

/// A header before anything is known.
pub(super) const UNSEALED: BatchHeader = BatchHeader {
    crc: 0,
    base_offset: Offset::ZERO,
    batch_length: batch::MIN_BATCH_LENGTH,
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
    first_timestamp: Timestamp,
    /// The largest timestamp of the records, whatever the last stamp was.
    max_timestamp: Timestamp,
    /// The checksum of the records and what joins another before it; `None` for few bytes, which are summed at the end
    /// for less than the joining takes.
    prepared: Option<(u32, Shift)>,
    buffer: Vec<u8>,
}

impl SealedBatch {
    /// Seals `buffer`: room for a header, and records as `header` describes them.
    pub(super) fn new(header: BatchHeader, first_timestamp: Timestamp, buffer: Vec<u8>) -> Self {
        let records = buffer.get(HEADER_LEN..).unwrap_or_default();
        SealedBatch {
            header: BatchHeader { batch_length: (buffer.len() - LENGTH_OVERHEAD) as i32, ..header },
            first_timestamp,
            max_timestamp: header.max_timestamp,
            prepared: (records.len() > SUMMED_LATE)
                .then(|| (crc32c(records), Shift::over(records.len() as u64))),
            buffer,
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

    /// From the batch's base offset to its last.
    pub fn last_offset_delta(&self) -> i32 {
        self.header.last_offset_delta
    }

    /// The largest timestamp that a producer gave.
    pub fn max_timestamp(&self) -> Timestamp {
        self.max_timestamp
    }

    /// The first record's timestamp.
    pub fn first_timestamp(&self) -> Timestamp {
        self.first_timestamp
    }

    /// Makes this the batch of an idempotent producer.
    pub fn set_producer(&mut self, id: i64, epoch: i16, base_sequence: i32) {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
    }

    /// Whether the batch belongs to a transaction.
    pub fn set_transactional(&mut self, transactional: bool) {
        self.set_attribute(batch::TRANSACTIONAL, transactional);
    }

    /// Makes the records control records.
    pub fn set_control(&mut self) {
        self.set_attribute(batch::CONTROL, true);
    }

    /// Lets the batch end at a later offset than its last record's, as one does whose last records were cleaned away.
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
        self.set_attribute(batch::LOG_APPEND_TIME, append_time);
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

/// Bytes of a record behind its length. Numbers come in zigzag form.
#[inline(always)]
fn size_of_body<H: HeaderParts>(
    timestamp_delta: u64,
    offset_delta: u64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[H],
) -> usize {
    let fixed = 1 + size_unsigned(timestamp_delta) + size_unsigned(offset_delta);
    let body = fixed.saturating_add(size_of_nullable(key)).saturating_add(size_of_nullable(value));
    if headers.is_empty() { body + 1 } else { body.saturating_add(size_of_headers(headers)) }
}

#[inline(always)]
fn size_of_nullable(part: Option<&[u8]>) -> usize {
    part.map_or(1, |part| size_unsigned((part.len() as u64) << 1) + part.len())
}

fn size_of_headers<H: HeaderParts>(headers: &[H]) -> usize {
    headers.iter().fold(size_unsigned((headers.len() as u64) << 1), |size, header| {
        let (name, value) = header.parts();
        size.saturating_add(size_of_nullable(Some(name.as_bytes()))).saturating_add(size_of_nullable(value))
    })
}

/// The fields before a key or value, gathered so that they go out as one copy of constant size.
struct Head {
    bytes: [u8; HEAD],
    len: usize,
}

/// More than the fields take, 31, by the 8 bytes that are written for each number.
const HEAD: usize = 40;

impl Head {
    #[inline(always)]
    fn number(&mut self, value: u64) {
        if value < 0x80 {
            self.bytes[self.len] = value as u8;
            self.len += 1;
        } else {
            self.long_number(value);
        }
    }

    #[inline(always)]
    fn long_number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes[self.len] = value as u8 | 0x80;
            self.len += 1;
            value >>= 7;
        }
        self.bytes[self.len] = value as u8;
        self.len += 1;
    }

    #[inline(always)]
    fn length(&mut self, part: Option<&[u8]>) {
        // -1 is 1 in zigzag form.
        self.number(part.map_or(1, |part| (part.len() as u64) << 1));
    }

    #[inline(always)]
    fn flush(&mut self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
        self.len = 0;
    }
}

/// What of a record is written before its headers, its numbers in zigzag form.
#[derive(Clone, Copy)]
struct Fields<'a> {
    timestamp: u64,
    offset: u64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

/// Numbers below take two bytes at most.
const SHORT: u64 = 1 << 14;

/// More than a record takes all of whose numbers are short, with room for writing whole words.
const SHORT_RECORD: usize = SHORT as usize;

impl Fields<'_> {
    /// Whether every number of the record, its length too, takes two bytes at most.
    #[inline(always)]
    fn are_short(&self) -> bool {
        let len = |part: Option<&[u8]>| part.map_or(0, |part| part.len() as u64);
        // What is in the body beside key and value has less than 16 bytes, and zigzag form doubles.
        let body = len(self.key).saturating_add(len(self.value)).saturating_add(16);
        (self.timestamp | self.offset) < SHORT && body < SHORT / 2
    }
}

/// The bytes of a short number as the low ones of a word, and how many they are.
#[inline(always)]
fn short(value: u64) -> (u64, usize) {
    let long = u64::from(value >= 0x80);
    ((value & 0x7f) | long << 7 | value >> 7 << 8, 1 + long as usize)
}

/// The length of a key or value as such a number; null is -1, in zigzag form 1.
#[inline(always)]
fn short_length(part: Option<&[u8]>) -> (u64, usize) {
    part.map_or((1, 1), |part| short((part.len() as u64) << 1))
}

/// Writes the low `len` bytes of a word.
#[inline(always)]
fn write_word(out: &mut Vec<u8>, word: u64, len: usize) {
    let end = out.len() + len;
    // A copy of constant size is one instruction.
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(end);
}

/// Writes a record all of whose numbers are short: they are gathered in registers, and no branch depends on them.
#[inline(always)]
fn write_short(out: &mut Vec<u8>, Fields { timestamp, offset, key, value }: Fields<'_>) {
    let ((timestamp, timestamp_size), (offset, offset_size)) = (short(timestamp), short(offset));
    let ((key_length, key_size), (value_length, value_size)) = (short_length(key), short_length(value));
    let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
    // With the attributes and the number of headers, both 0.
    let body = 1 + timestamp_size + offset_size + key_size + key.len() + value_size + value.len() + 1;
    let (word, mut len) = short((body as u64) << 1);
    out.reserve(body + 4 * size_of::<u64>());
    len += 1;
    let word = word | timestamp << (8 * len) | offset << (8 * (len + timestamp_size));
    write_word(out, word, len + timestamp_size + offset_size);
    if key.is_empty() {
        write_word(out, key_length | value_length << (8 * key_size), key_size + value_size);
    } else {
        write_word(out, key_length, key_size);
        out.extend_from_slice(key);
        write_word(out, value_length, value_size);
    }
    out.extend_from_slice(value);
    out.push(0);
}

/// Writes a record whose sizes are known to fit.
fn write_record<H: HeaderParts>(out: &mut Vec<u8>, body: usize, fields: Fields<'_>, headers: &[H]) {
    let mut head = Head { bytes: [0; HEAD], len: 0 };
    head.number((body as u64) << 1);
    // The attributes, which are always 0.
    head.number(0);
    head.number(fields.timestamp);
    head.number(fields.offset);
    head.length(fields.key);
    if let Some(key) = fields.key {
        head.flush(out);
        out.extend_from_slice(key);
    }
    head.length(fields.value);
    head.flush(out);
    if let Some(value) = fields.value {
        out.extend_from_slice(value);
    }
    if headers.is_empty() {
        out.push(0);
    } else {
        write_headers(out, headers);
    }
}

fn write_headers<H: HeaderParts>(out: &mut Vec<u8>, headers: &[H]) {
    let mut head = Head { bytes: [0; HEAD], len: 0 };
    head.number((headers.len() as u64) << 1);
    for header in headers {
        let (name, value) = header.parts();
        head.length(Some(name.as_bytes()));
        head.flush(out);
        out.extend_from_slice(name.as_bytes());
        head.length(value);
        head.flush(out);
        out.extend_from_slice(value.unwrap_or_default());
    }
    head.flush(out);
}

#[cold]
fn invalid_timestamp(timestamp: Timestamp) -> Error {
    let reason = "it is negative and not -1, which means none".to_string();
    Error::InvalidTimestamp { timestamp, reason }
}

#[cold]
fn invalid_delta(delta: i32, next: i32) -> Error {
    let reason =
        format!("offset delta {delta} in a batch that goes on at {next} and ends before {}", i32::MAX);
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
