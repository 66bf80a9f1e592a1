//! Records inside a batch, borrowed.
//!
//! A record is: length (varint), attributes (one byte, unused), timestamp delta (varlong), offset delta (varint), key
//! and value (each a varint of its length, -1 for null, and its bytes), the number of headers (varint) and the headers
//! (each a varint and its name, then a value as above).
//!
//! [`Records`] are not yet believed: every step over them can fail. [`Records::validate`] takes all the steps once and
//! gives [`ValidRecords`], over which iterating cannot fail. Nothing is allocated for a record, and nothing copied:
//! keys, values and headers borrow from the batch, and [`ValidRecords::slice_of`] makes one of them shared.
//!
//! Always true of what is handed out: a record is exactly as long as it says; after the last record of the batch
//! nothing is left. Offsets rise within the batch and stay inside it in everything that this library writes. Kafka
//! does not check that of what its producers send, and reads it; so is it read here, in the order in which it was
//! written, and [`ValidRecords::in_order`] says so to those who count on it.

mod headers;
pub mod survivors;
pub mod text;

use headers::ReplacedNames;
pub use headers::{Headers, RawHeaders};

use super::{
    DecodeError,
    batch::header::{BatchHeader, HEADER_LEN},
    varint::{read_varint, read_varlong},
};
use crate::types::{Offset, Timestamp, TimestampType};
use bytes::Bytes;
use std::{borrow::Cow, sync::Arc};

/// The fewest bytes of a record: five varints, the attributes and its own length, of one byte each.
pub(super) const MIN_RECORD: u64 = 7;

/// A record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time, by the clock that `timestamp_type` names.
    pub timestamp: Timestamp,
    /// Whether the producer or the log gave it its time.
    pub timestamp_type: TimestampType,
    /// The key; `None` when it is null, which is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// The value; `None` in a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in the order they were written.
    pub headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// The key as text; `None` when it is null or not UTF-8.
    pub fn key_str(&self) -> Option<&'a str> {
        text::str_of(self.key)
    }

    /// The value as text; `None` when it is null or not UTF-8.
    pub fn value_str(&self) -> Option<&'a str> {
        text::str_of(self.value)
    }

    /// The key as text for people: what is not UTF-8 is replaced, and null is empty.
    pub fn key_text(&self) -> Cow<'a, str> {
        text::text_of(self.key)
    }

    /// The value as text for people: what is not UTF-8 is replaced, and null is empty.
    pub fn value_text(&self) -> Cow<'a, str> {
        text::text_of(self.value)
    }
}

/// The records of a batch, not yet believed.
#[derive(Clone, Debug)]
pub struct Records {
    section: Bytes,
    facts: Facts,
}

/// The records of a batch after a pass that found no fault.
#[derive(Clone, Debug)]
pub struct ValidRecords {
    records: Records,
    /// Whether offsets rise and stay inside the batch.
    in_order: bool,
    /// The names of headers that are not UTF-8, where there are any.
    replaced: Option<Arc<ReplacedNames>>,
}

/// A place between two records of a batch, to continue from. One that belongs to other records leads to an early end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Bytes of the record section before the next record.
    pub position: usize,
    /// Records before the next one.
    pub index: u32,
}

/// What a header says about its records.
#[derive(Clone, Copy, Debug)]
struct Facts {
    base_offset: u64,
    last_offset_delta: i32,
    count: u32,
    /// What a record's timestamp is counted from.
    base_timestamp: i64,
    /// All ones, or zero where every record has the time of the append and its delta does not count.
    delta_mask: i64,
    timestamp_type: TimestampType,
    /// Whether the section lies in the batch as it is.
    stored: bool,
}

/// A broken rule, small enough to be returned on the fast path.
struct Fault {
    /// The address of the byte it was noticed at.
    at: usize,
    reason: &'static str,
}

impl Fault {
    /// The error, for records that lie in `section`: stored in the batch as they are, or decompressed.
    #[cold]
    fn error(self, section: &[u8], stored: bool) -> DecodeError {
        let at = self.at.wrapping_sub(section.as_ptr().addr()) as u64;
        if stored {
            DecodeError::malformed(HEADER_LEN as u64 + at, self.reason)
        } else {
            let reason = format!("{}, at byte {at} of the decompressed records", self.reason);
            DecodeError::malformed(HEADER_LEN, reason)
        }
    }
}

impl Facts {
    fn new(header: &BatchHeader, stored: bool) -> Facts {
        let (base_timestamp, delta_mask) = match header.timestamp_type() {
            TimestampType::CreateTime => (header.base_timestamp, -1),
            TimestampType::LogAppendTime => (header.max_timestamp.as_millis(), 0),
        };
        Facts {
            base_offset: header.base_offset.value(),
            last_offset_delta: header.last_offset_delta,
            count: header.record_count,
            base_timestamp,
            delta_mask,
            timestamp_type: header.timestamp_type(),
            stored,
        }
    }
}

impl Records {
    /// The records of the batch with `header` in `section`, which is stored as it is or was decompressed.
    pub(super) fn new(header: &BatchHeader, section: Bytes, stored: bool) -> Result<Records, DecodeError> {
        check_count(header, section.len())?;
        Ok(Records { section, facts: Facts::new(header, stored) })
    }

    /// How many records there should be.
    pub fn len(&self) -> usize {
        self.facts.count as usize
    }

    /// Whether there should be none.
    pub fn is_empty(&self) -> bool {
        self.facts.count == 0
    }

    /// The records one after the other, up to the first fault.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { records: self, walk: Walk::new(&self.section, self.facts), ended: false }
    }

    /// Goes over all records once and returns them as believed, or the first fault.
    pub fn validate(self) -> Result<ValidRecords, DecodeError> {
        let mut walk = Walk::new(&self.section, self.facts);
        match walk.go_through() {
            Ok(()) => {
                let Seen { out_of_order, other_names, .. } = walk.seen;
                let replaced = other_names.then(|| Arc::new(self.replaced_names()));
                Ok(ValidRecords { in_order: !out_of_order, replaced, records: self })
            }
            Err(fault) => Err(fault.error(&self.section, self.facts.stored)),
        }
    }

    /// Shows each record on the way, while all are checked; what was shown before a fault is not to be believed. Returns
    /// whether they are in order: see [`ValidRecords::in_order`].
    pub fn each_checked<'s>(&'s self, mut show: impl FnMut(&Record<'s>)) -> Result<bool, DecodeError> {
        let mut walk = Walk::new(&self.section, self.facts);
        while let Some(record) =
            walk.step::<true>().map_err(|fault| fault.error(&self.section, self.facts.stored))?
        {
            show(&record);
        }
        walk.finish().map_err(|fault| fault.error(&self.section, self.facts.stored))?;
        Ok(!walk.seen.out_of_order)
    }

    /// The names of headers that are not UTF-8, of records that have passed.
    #[cold]
    fn replaced_names(&self) -> ReplacedNames {
        let names = self.iter().flatten().flat_map(|record| record.headers.raw().map(|(name, _)| name));
        ReplacedNames::new(&self.section, names.filter(|name| str::from_utf8(name).is_err()))
    }

    /// A part of these records (a key, a value, a header's value) as shared bytes, without a copy.
    pub fn slice_of(&self, part: &[u8]) -> Bytes {
        let start = part.as_ptr().addr().wrapping_sub(self.section.as_ptr().addr());
        match start.checked_add(part.len()) {
            Some(end) if end <= self.section.len() => self.section.slice(start..end),
            // Not a part of these records.
            _ => Bytes::copy_from_slice(part),
        }
    }
}

impl ValidRecords {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether compaction left none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes of all records, decompressed.
    pub fn byte_len(&self) -> usize {
        self.records.section.len()
    }

    /// Whether the offsets rise from one record to the next, and are offsets of the batch. If they do not, continuing after
    /// a record's offset may skip others: readers continue after the batch, or at its beginning.
    #[inline]
    pub fn in_order(&self) -> bool {
        self.in_order
    }

    /// The records from the first on.
    pub fn iter(&self) -> ValidIter<'_> {
        let Records { section, facts } = &self.records;
        let replaced = self.replaced.as_deref();
        ValidIter { section, walk: Walk { replaced, ..Walk::new(section, *facts) } }
    }

    /// The records from `cursor` on, which [`ValidIter::cursor`] of these records gave.
    pub fn iter_from(&self, cursor: Cursor) -> ValidIter<'_> {
        let mut iter = self.iter();
        iter.walk.rest = self.records.section.get(cursor.position..).unwrap_or_default();
        iter.walk.left = self.records.facts.count.saturating_sub(cursor.index);
        iter
    }

    /// A part of these records (a key, a value, a header's value) as shared bytes, without a copy.
    pub fn slice_of(&self, part: &[u8]) -> Bytes {
        self.records.slice_of(part)
    }
}

impl<'a> IntoIterator for &'a ValidRecords {
    type Item = Record<'a>;
    type IntoIter = ValidIter<'a>;

    fn into_iter(self) -> ValidIter<'a> {
        self.iter()
    }
}

/// Records one after the other; a fault is the last thing it gives.
#[derive(Debug)]
pub struct RecordIter<'a> {
    records: &'a Records,
    walk: Walk<'a>,
    ended: bool,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = match self.walk.step::<true>() {
            Ok(None) => self.walk.finish().map(|()| None),
            step => step,
        };
        self.ended = !matches!(step, Ok(Some(_)));
        let Records { section, facts } = self.records;
        step.map_err(|fault| fault.error(section, facts.stored)).transpose()
    }
}

/// Records that were validated, one after the other.
#[derive(Clone, Debug)]
pub struct ValidIter<'a> {
    section: &'a [u8],
    walk: Walk<'a>,
}

impl ValidIter<'_> {
    /// The offset to continue at after `record`, the last one returned, so that none after it is skipped.
    #[inline]
    pub fn next_offset(&self, record: &Record<'_>, in_order: bool) -> Offset {
        let facts = &self.walk.facts;
        if in_order {
            record.offset.saturating_add(1)
        } else if self.walk.left > 0 {
            Offset::new(facts.base_offset)
        } else {
            Offset::new(facts.base_offset + facts.last_offset_delta as u64 + 1)
        }
    }

    /// The place before the next record.
    #[inline]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            position: self.section.len() - self.walk.rest.len(),
            index: self.walk.facts.count - self.walk.left,
        }
    }
}

impl<'a> Iterator for ValidIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        // There is no fault after validation; were there one, this would end.
        self.walk.step::<false>().ok().flatten()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.walk.left as usize))
    }
}

/// Goes over the records that a batch stores as they are, and returns the first fault, as [`Records::validate`] does, for
/// a caller that wants none of them.
pub(super) fn check_stored(header: &BatchHeader, section: &[u8]) -> Result<(), DecodeError> {
    check_count(header, section.len())?;
    let walked = Walk::new(section, Facts::new(header, true)).go_through();
    walked.map_err(|fault| fault.error(section, true))
}

/// So that nobody makes room for records that cannot be there.
fn check_count(header: &BatchHeader, len: usize) -> Result<(), DecodeError> {
    if u64::from(header.record_count) * MIN_RECORD <= len as u64 {
        return Ok(());
    }
    let reason = format!("{} records do not fit in {len} bytes", header.record_count);
    Err(DecodeError::malformed(57u64, reason))
}

/// The first record of a batch that is not compressed.
pub(super) fn first_record<'a>(header: &BatchHeader, section: &'a [u8]) -> Option<Record<'a>> {
    Walk::new(section, Facts::new(header, true)).step::<true>().ok().flatten()
}

/// The steps over a record section.
#[derive(Clone, Debug)]
struct Walk<'a> {
    rest: &'a [u8],
    left: u32,
    seen: Seen,
    facts: Facts,
    replaced: Option<&'a ReplacedNames>,
}

/// What a strict walk has seen so far.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The offset delta of the record before, -1 at the first.
    delta: i32,
    /// An offset that does not rise, or is not one of the batch.
    out_of_order: bool,
    /// The name of a header that is not UTF-8.
    other_names: bool,
}

impl<'a> Walk<'a> {
    fn new(section: &'a [u8], facts: Facts) -> Self {
        let seen = Seen { delta: -1, out_of_order: false, other_names: false };
        Walk { rest: section, left: facts.count, seen, facts, replaced: None }
    }

    /// The next record, `None` after the last. With `STRICT` every rule is checked; without it, for records that have
    /// passed, only what keeps this inside its bytes.
    #[inline(always)]
    fn step<const STRICT: bool>(&mut self) -> Result<Option<Record<'a>>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        let (body, rest) = split_record(self.rest)?;
        let body = &mut { body };
        let timestamp_delta = read_varlong(body).ok_or_else(|| fault(body, "no timestamp delta"))?;
        let offset_delta = read_varint(body).ok_or_else(|| fault(body, "no offset delta"))?;
        if STRICT {
            // -1 before the first, so that a negative one is noticed here too.
            if offset_delta <= self.seen.delta || offset_delta > self.facts.last_offset_delta {
                self.out_of_order(offset_delta, body)?;
            }
            self.seen.delta = offset_delta;
        }
        // From no timestamp (-1) to the largest one is a step too far for a delta: writers let it wrap, so must readers.
        let (timestamp, wrapped) =
            self.facts.base_timestamp.overflowing_add(timestamp_delta & self.facts.delta_mask);
        if wrapped && timestamp < 0 {
            return Err(fault(body, "the timestamp is beyond 64 bits"));
        }
        let key = nullable(body).ok_or_else(|| fault(body, "the key does not fit in its record"))?;
        let value = nullable(body).ok_or_else(|| fault(body, "the value does not fit in its record"))?;
        let count = read_varint(body).ok_or_else(|| fault(body, "no header count"))?;
        let headers = Headers::new(body, count.max(0) as u32, self.replaced);
        if STRICT && (count != 0 || !body.is_empty()) {
            self.seen.other_names |= !check_headers(headers.raw(), count, body)?;
        }
        self.rest = rest;
        self.left -= 1;
        Ok(Some(Record {
            offset: Offset::new(self.facts.base_offset.wrapping_add_signed(offset_delta.into())),
            timestamp: Timestamp::from_millis(timestamp),
            timestamp_type: self.facts.timestamp_type,
            key,
            value,
            headers,
        }))
    }

    /// Takes all steps, strictly.
    #[inline(always)]
    fn go_through(&mut self) -> Result<(), Fault> {
        loop {
            match self.step::<true>() {
                Ok(Some(_)) => {}
                Ok(None) => return self.finish(),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Notes an offset outside the batch, or not after the one before it; one that does not exist is a fault.
    #[cold]
    fn out_of_order(&mut self, offset_delta: i32, at: &[u8]) -> Result<(), Fault> {
        self.seen.out_of_order = true;
        let offset = self.facts.base_offset.checked_add_signed(offset_delta.into());
        if offset.is_some_and(|offset| offset < Offset::MAX.value()) {
            return Ok(());
        }
        Err(fault(at, "the offset is beyond those there are"))
    }

    /// Whether nothing is left after the last record.
    fn finish(&self) -> Result<(), Fault> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(fault(self.rest, "bytes are left after the last record"))
        }
    }
}

/// The next record after its length and attributes, and the bytes after it. Kafka has never used the attributes, and
/// ignores them too.
#[inline(always)]
fn split_record(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let mut rest = bytes;
    let length = read_varint(&mut rest).ok_or_else(|| fault(bytes, "no record length"))?;
    let (body, rest) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(|| fault(bytes, "the record does not fit in its batch"))?;
    let (_attributes, body) = body.split_first().ok_or_else(|| fault(bytes, "the record is empty"))?;
    Ok((body, rest))
}

/// Bytes after their length. Any negative length is null, as Kafka reads it; `None` when they do not fit.
#[inline(always)]
fn nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_varint(bytes)?;
    if length < 0 {
        return Some(None);
    }
    let (part, rest) = bytes.split_at_checked(length as usize)?;
    *bytes = rest;
    Some(Some(part))
}

/// The headers of a record must be there and be the record's end. Says whether all names are UTF-8.
#[inline(never)]
fn check_headers(mut headers: RawHeaders<'_>, count: i32, start: &[u8]) -> Result<bool, Fault> {
    // A header has at least two bytes; the loop below would stop in time as well, this says what is wrong.
    if count < 0 || count as usize > start.len() / 2 {
        return Err(fault(start, "the header count does not fit in its record"));
    }
    let mut all_text = true;
    for _ in 0..count {
        let Some((name, _)) = headers.next() else {
            return Err(fault(headers.rest(), "a header does not fit in its record"));
        };
        all_text &= str::from_utf8(name).is_ok();
    }
    if headers.rest().is_empty() {
        Ok(all_text)
    } else {
        Err(fault(headers.rest(), "bytes are left in the record"))
    }
}

#[cold]
fn fault(at: &[u8], reason: &'static str) -> Fault {
    Fault { at: at.as_ptr().addr(), reason }
}

#[cfg(test)]
mod tests;
