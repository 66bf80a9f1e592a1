//! The manifest's file: a header, then appends; each append is a mark and the records of its entries.
//!
//! | bytes of the header | |
//! |---|---|
//! | 8 | `SLMANIF1` |
//! | 4, 4 | features: incompatible, compatible |
//! | 8 | epoch: no two files share one, so an observer sees that the file is another |
//! | 4 | CRC-32 of the bytes before |
//!
//! | bytes of a record | |
//! |---|---|
//! | 2 | type; unknown ones are skipped when the top bit is set, refused when it is clear |
//! | 2 | zero |
//! | 4 | length of the payload, at most 64 MiB |
//! | 4 | CRC-32 of type, zero, length and payload |
//! | | payload |
//!
//! Numbers are big-endian. The mark of an append (type 1) carries the file's epoch, how many bytes of the file were
//! durable when it was written, and how many bytes of records belong to it. Two things follow:
//!
//! * An append is there wholly or not at all.
//! * Bytes that are no whole append are **damage** exactly when a later mark says that they were durable. Otherwise
//!   they are a torn tail, whatever survived behind them: a power cut may keep any of the sectors that no flush
//!   covered.
//!
//! Zeros may follow the last append, up to the end of the file: space for appends to come. They are no torn tail.

mod entry;

#[allow(unused_imports, reason = "words of the rooms above")]
pub use entry::{Entry, PartitionClosed, Place, SealedSegment, TakenIn};

use super::DecodeError;
use entry::COMPATIBLE;

/// The size of the header.
pub const HEADER_BYTES: usize = 28;
/// The most bytes that a payload, or the records of one append, may have.
pub const PAYLOAD_MAX: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"SLMANIF1";
const RECORD_HEADER_BYTES: usize = 12;
const MARK: u16 = 1;
const MARK_PAYLOAD_BYTES: usize = 20;
/// The size of a mark without records.
pub const MARK_BYTES: usize = RECORD_HEADER_BYTES + MARK_PAYLOAD_BYTES;

/// Appends the header of a new file to `out`.
pub fn encode_header(epoch: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(MAGIC);
    out.extend([0; 8]);
    out.extend(epoch.to_be_bytes());
    out.extend(crate::codec::crc::crc32(&out[start..]).to_be_bytes());
}

/// The epoch of a file that begins with `bytes`.
pub fn decode_header(bytes: &[u8]) -> Result<u64, DecodeError> {
    let short = || DecodeError::malformed(bytes.len(), "the header of a manifest has 28 bytes");
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or_else(short)?;
    if !header.starts_with(MAGIC) {
        return Err(DecodeError::malformed(0, "a manifest begins with SLMANIF1"));
    }
    if crate::codec::crc::crc32(&header[..24]) != be32(header, 24) {
        return Err(DecodeError::malformed(24, "the checksum of the header does not match"));
    }
    match be32(header, 8) {
        0 => Ok(u64::from(be32(header, 16)) << 32 | u64::from(be32(header, 20))),
        unknown => Err(unsupported(format!("incompatible features {unknown:#x}"))),
    }
}

/// Appends the record of `entry` to `out`.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) {
    encode_record(entry.code(), out, |out| entry.encode_payload(out));
}

/// Appends `entries` as one append to `out`, to be written to the file `epoch` whose first `durable` bytes are on the
/// medium.
pub fn encode_append(epoch: u64, durable: u64, entries: &[Entry], out: &mut Vec<u8>) {
    let mut records = Vec::new();
    entries.iter().for_each(|entry| encode(entry, &mut records));
    encode_record(MARK, out, |out| {
        out.extend(epoch.to_be_bytes());
        out.extend(durable.to_be_bytes());
        // More than fit are refused by whoever writes.
        out.extend(u32::try_from(records.len()).unwrap_or(u32::MAX).to_be_bytes());
    });
    out.append(&mut records);
}

fn encode_record(code: u16, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(code.to_be_bytes());
    out.extend([0; RECORD_HEADER_BYTES - 2]);
    payload(out);
    let len = out.len() - start - RECORD_HEADER_BYTES;
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    out[start + 4..start + 8].copy_from_slice(&len.to_be_bytes());
    let crc = record_crc(&out[start..start + 8], &out[start + RECORD_HEADER_BYTES..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_be_bytes());
}

fn record_crc(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crate::codec::crc::Crc32::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// Entries that were written together.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// Each entry with the position of its record, in bytes from the start of what is read.
    pub entries: Vec<(usize, Entry)>,
}

/// Reads appends from bytes of a manifest, from the start of one of them on.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begin in the file.
    base: u64,
    epoch: u64,
    position: usize,
    durable: u64,
}

/// A record whose checksum matches.
struct Record<'a> {
    code: u16,
    payload: &'a [u8],
    end: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which lie at `base` in the file `epoch`.
    pub fn new(epoch: u64, base: u64, bytes: &'a [u8]) -> Self {
        Reader { bytes, base, epoch, position: 0, durable: 0 }
    }

    /// The end of the last whole append read, from the start of the bytes.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether bytes remain that are neither a whole append nor zeros, once [`next`](Self::next) has said that there is
    /// none.
    pub fn is_torn(&self) -> bool {
        self.bytes.get(self.position..).unwrap_or_default().iter().any(|byte| *byte != 0)
    }

    /// How many bytes of the file were durable, as far as the appends read say.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The next append; `None` at the end or before a torn tail.
    pub fn next(&mut self) -> Result<Option<Append>, DecodeError> {
        while self.position < self.bytes.len() {
            let Some(record) = record(self.bytes, self.position) else {
                return self.torn_or_damaged(self.position);
            };
            let Some((epoch, durable, len)) = mark(&record) else {
                let payload_at = (self.position + RECORD_HEADER_BYTES) as u64;
                let entry = Entry::decode(record.code, record.payload).map_err(|e| e.shifted(payload_at))?;
                if entry.is_some() {
                    return Err(DecodeError::malformed(self.position, "an entry outside an append"));
                }
                self.skip_unknown(&record)?;
                self.position = record.end;
                continue;
            };
            let records = record.end..record.end.saturating_add(len);
            if epoch != self.epoch || self.bytes.get(records.clone()).is_none() {
                return self.torn_or_damaged(self.position);
            }
            return match self.entries(records.clone())? {
                Ok(entries) => {
                    self.position = records.end;
                    self.durable = self.durable.max(durable);
                    Ok(Some(Append { entries }))
                }
                Err(bad) => self.torn_or_damaged(bad),
            };
        }
        Ok(None)
    }

    /// The entries in `records`, or the position where there is no whole record.
    fn entries(
        &self,
        records: std::ops::Range<usize>,
    ) -> Result<Result<Vec<(usize, Entry)>, usize>, DecodeError> {
        let bytes = self.bytes.get(..records.end).unwrap_or_default();
        let mut position = records.start;
        let mut entries = Vec::new();
        while position < records.end {
            let Some(record) = record(bytes, position) else { return Ok(Err(position)) };
            let payload_at = (position + RECORD_HEADER_BYTES) as u64;
            match Entry::decode(record.code, record.payload).map_err(|e| e.shifted(payload_at))? {
                Some(entry) => entries.push((position, entry)),
                None => self.skip_unknown(&record)?,
            }
            position = record.end;
        }
        Ok(Ok(entries))
    }

    fn skip_unknown(&self, record: &Record<'_>) -> Result<(), DecodeError> {
        match record.code & COMPATIBLE {
            0 => Err(unsupported(format!("a record of type {}", record.code))),
            _ => Ok(()),
        }
    }

    /// The verdict on an append that is not whole, in which `bad` is the first byte without a whole record.
    fn torn_or_damaged(&self, bad: usize) -> Result<Option<Append>, DecodeError> {
        if !self.is_torn() {
            return Ok(None);
        }
        let append = self.base.saturating_add(self.position as u64);
        for at in self.position + 1..self.bytes.len().saturating_sub(MARK_BYTES - 1) {
            // Cheap look first: this runs over every byte behind the bad one.
            if self.bytes.get(at..at + 4) != Some(&[0, 1, 0, 0]) {
                continue;
            }
            let later = record(self.bytes, at).as_ref().and_then(mark);
            if let Some((epoch, durable, _)) = later
                && epoch == self.epoch
                && durable > append
            {
                return Err(DecodeError::malformed(
                    bad,
                    format!("no whole record, though byte {at} behind it shows that one was flushed here"),
                ));
            }
        }
        Ok(None)
    }
}

/// The record at `position`, if all of it is there and its checksum matches.
fn record(bytes: &[u8], position: usize) -> Option<Record<'_>> {
    let rest = bytes.get(position..)?;
    let (header, rest) = rest.split_first_chunk::<RECORD_HEADER_BYTES>()?;
    let len = be32(header, 4) as usize;
    if len > PAYLOAD_MAX || header[2..4] != [0, 0] {
        return None;
    }
    let payload = rest.get(..len)?;
    if record_crc(&header[..8], payload) != be32(header, 8) {
        return None;
    }
    let code = u16::from_be_bytes([header[0], header[1]]);
    Some(Record { code, payload, end: position + RECORD_HEADER_BYTES + len })
}

/// Epoch, durable bytes and length of the records, if this is the mark of an append.
fn mark(record: &Record<'_>) -> Option<(u64, u64, usize)> {
    let payload: &[u8; MARK_PAYLOAD_BYTES] = record.payload.try_into().ok()?;
    let u64_at = |at| u64::from(be32(payload, at)) << 32 | u64::from(be32(payload, at + 4));
    (record.code == MARK).then(|| (u64_at(0), u64_at(8), be32(payload, 16) as usize))
}

fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn unsupported(found: String) -> DecodeError {
    DecodeError::Unsupported { found, supported: "manifests without incompatible features" }
}

#[cfg(test)]
mod tests;
