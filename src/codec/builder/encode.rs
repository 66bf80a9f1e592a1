//! One record's bytes, appended to a batch.
//!
//! Nearly all records have only numbers of two bytes at most: those are gathered in registers and written without a
//! branch. Every other record takes the general path, whose sizes are checked before.

use crate::codec::varint::size_unsigned;

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

/// Bytes of a record after its length. Numbers come in zigzag form.
#[inline(always)]
pub(super) fn size_of_body<H: HeaderParts>(
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
pub(super) const HEAD: usize = 40;

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
pub(super) struct Fields<'a> {
    pub(super) timestamp: u64,
    pub(super) offset: u64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

/// Numbers below take two bytes at most.
const SHORT: u64 = 1 << 14;

/// More than a record takes all of whose numbers are short, with room for writing whole words.
pub(super) const SHORT_RECORD: usize = SHORT as usize;

impl Fields<'_> {
    /// Whether every number of the record, its length too, takes two bytes at most.
    #[inline(always)]
    pub(super) fn are_short(&self) -> bool {
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
pub(super) fn write_short(out: &mut Vec<u8>, Fields { timestamp, offset, key, value }: Fields<'_>) {
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
pub(super) fn write_record<H: HeaderParts>(
    out: &mut Vec<u8>,
    body: usize,
    fields: Fields<'_>,
    headers: &[H],
) {
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
