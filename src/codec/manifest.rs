//! The manifest's file: a header, then appends; each append is a mark and the records of its entries.
//!
#![doc = include_str!("layout/manifest-header.md")]
//!
#![doc = include_str!("layout/manifest-record.md")]
//!
//! Numbers are big-endian. The mark of an append (type 1) carries the file's epoch, how many bytes of the file were
//! durable when it was written, and how many bytes of records belong to it. Two things follow:
//!
//! * An append is there wholly or not at all.
//! * Bytes that are no whole append are **damage** exactly when a later mark says that they were durable. Otherwise
//!   they are a torn tail, whatever survived after them: a power cut may keep any of the sectors that no flush
//!   covered.
//!
//! Zeros may follow the last append, up to the end of the file: space for appends to come. They are no torn tail.

mod entry;
mod input;
mod output;
mod payload;
mod seal;
mod tier;

pub use entry::{Adopted, Entry, PartitionClosed};
pub use seal::Seal;

use super::DecodeError;
use payload::COMPATIBLE;
use std::ops::Range;

/// The size of the header.
pub const HEADER_BYTES: usize = 28;
/// The most bytes that a payload, or the records of one append, may have.
pub const PAYLOAD_MAX: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"SLMANIF1";
const RECORD_HEADER_BYTES: usize = 12;
const MARK: u16 = 1;
const MARK_PAYLOAD_BYTES: usize = 20;
/// Type, zero and length of every mark.
const MARK_BEGINS: [u8; 8] = [0, MARK as u8, 0, 0, 0, 0, 0, MARK_PAYLOAD_BYTES as u8];
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
        // The writer refuses more than fit.
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

/// Reads appends from bytes of a manifest, from the start of one of them on. The bytes may be a piece of the file.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begin in the file.
    base: u64,
    epoch: u64,
    position: usize,
    durable: u64,
}

/// What comes next in a piece of a manifest.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// An append, whose records are at these bytes, with right checksums.
    Append(Range<usize>),
    /// No more than this many bytes from here on tell what comes next; the piece has fewer.
    Short(u64),
    /// No append: from this byte on there is no whole record. The bytes after it tell what that means, see [`Tail`].
    End(usize),
}

/// A record whose checksum matches.
struct Record<'a> {
    code: u16,
    payload: &'a [u8],
    end: usize,
}

/// What was found in the place of a record.
enum Found<'a> {
    Record(Record<'a>),
    /// One of so many bytes, which are not all there.
    Short(u64),
    Nothing,
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
    #[allow(dead_code, reason = "tests and fuzzing read a file that they hold whole")]
    pub fn is_torn(&self) -> bool {
        self.bytes.get(self.position..).unwrap_or_default().iter().any(|byte| *byte != 0)
    }

    /// How many bytes of the file were durable, as far as the appends read say.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// What comes next. Each byte is looked at a few times at most, whatever the lengths say.
    pub fn step(&mut self) -> Result<Step, DecodeError> {
        loop {
            let record = match find(self.bytes, self.position) {
                Found::Record(record) => record,
                Found::Short(needed) => return Ok(Step::Short(needed)),
                Found::Nothing => return Ok(Step::End(self.position)),
            };
            let Some((epoch, durable, len)) = mark(&record) else {
                if entry(self.position, &record)?.is_some() {
                    return Err(DecodeError::malformed(self.position, "an entry outside an append"));
                }
                self.position = record.end;
                continue;
            };
            if epoch != self.epoch || len > PAYLOAD_MAX {
                return Ok(Step::End(self.position));
            }
            let records = record.end..record.end.saturating_add(len);
            if self.bytes.get(records.clone()).is_none() {
                return Ok(Step::Short((records.end - self.position) as u64));
            }
            if let Some(bad) = first_bad(self.bytes, records.clone()) {
                return Ok(Step::End(bad));
            }
            self.position = records.end;
            self.durable = self.durable.max(durable);
            return Ok(Step::Append(records));
        }
    }

    /// Each entry of an append with its position.
    pub fn entries(
        &self,
        records: Range<usize>,
    ) -> impl Iterator<Item = Result<(usize, Entry), DecodeError>> {
        let bytes = self.bytes.get(..records.end).unwrap_or_default();
        let mut position = records.start;
        std::iter::from_fn(move || {
            while let Found::Record(record) = find(bytes, position) {
                let at = std::mem::replace(&mut position, record.end);
                match entry(at, &record) {
                    Ok(None) => {}
                    other => return other.map(|entry| Some((at, entry?))).transpose(),
                }
            }
            None
        })
    }

    /// The next append of bytes that reach to the end of the file; `None` at the end or before a torn tail.
    #[allow(dead_code, reason = "tests and fuzzing read a file that they hold whole")]
    pub fn next(&mut self) -> Result<Option<Append>, DecodeError> {
        let before = self.position;
        let bad = match self.step()? {
            Step::Append(records) => {
                let entries = self.entries(records).collect::<Result<_, _>>();
                // What cannot be read is not passed over.
                entries.is_err().then(|| self.position = before);
                return entries.map(|entries| Some(Append { entries }));
            }
            Step::Short(_) => self.position,
            Step::End(bad) => bad,
        };
        let at = self.base.saturating_add(self.position as u64);
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        Tail::new(self.epoch, at, bad as u64).look_at(at, rest).map(|()| None)
    }
}

/// The entry of a record; `None` where it is of a type that may be skipped.
fn entry(position: usize, record: &Record<'_>) -> Result<Option<Entry>, DecodeError> {
    let payload_at = (position + RECORD_HEADER_BYTES) as u64;
    match Entry::decode(record.code, record.payload).map_err(|e| e.shifted(payload_at))? {
        None if record.code & COMPATIBLE == 0 => {
            Err(unsupported(format!("a record of type {}", record.code)))
        }
        entry => Ok(entry),
    }
}

/// What follows the last whole append of a file: zeros, a torn tail, or damage.
#[derive(Debug)]
pub struct Tail {
    epoch: u64,
    append: u64,
    bad: u64,
    is_torn: bool,
}

impl Tail {
    /// How many bytes at the end of a piece the next one begins with.
    pub const OVERLAP: usize = MARK_BYTES - 1;

    /// Behind the append that ends at byte `append` of the file `epoch`; `bad` is where an error says that no whole record
    /// is.
    pub fn new(epoch: u64, append: u64, bad: u64) -> Self {
        Tail { epoch, append, bad, is_torn: false }
    }

    /// Whether there was anything but zeros.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Looks at a piece that lies at `position` in the file.
    ///
    /// # Errors
    /// Where it is damage.
    pub fn look_at(&mut self, position: u64, piece: &[u8]) -> Result<(), DecodeError> {
        if piece.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.is_torn = true;
        let marks = piece.len().saturating_sub(MARK_BYTES - 1);
        for at in usize::from(position == self.append)..marks {
            // Cheap look first: this runs over every byte behind the bad one. Nothing but a mark's own length is
            // believed.
            if piece.get(at..at + 8) != Some(&MARK_BEGINS) {
                continue;
            }
            if let Found::Record(record) = find(piece, at)
                && let Some((epoch, durable, _)) = mark(&record)
                && epoch == self.epoch
                && durable > self.append
            {
                let at = position.saturating_add(at as u64);
                return Err(DecodeError::Malformed {
                    position: self.bad,
                    reason: format!(
                        "no whole record, though byte {at} after it shows that one was flushed here"
                    )
                    .into(),
                });
            }
        }
        Ok(())
    }
}

/// Where a record in `records` is not whole.
fn first_bad(bytes: &[u8], records: Range<usize>) -> Option<usize> {
    let bytes = bytes.get(..records.end)?;
    let mut position = records.start;
    while position < records.end {
        let Found::Record(record) = find(bytes, position) else { return Some(position) };
        position = record.end;
    }
    None
}

/// The record at `position`, if all of it is there and its checksum matches.
fn find(bytes: &[u8], position: usize) -> Found<'_> {
    let rest = bytes.get(position..).unwrap_or_default();
    let Some((header, rest)) = rest.split_first_chunk::<RECORD_HEADER_BYTES>() else {
        return Found::Short(RECORD_HEADER_BYTES as u64);
    };
    let len = be32(header, 4) as usize;
    if len > PAYLOAD_MAX || header[2..4] != [0, 0] {
        return Found::Nothing;
    }
    let Some(payload) = rest.get(..len) else {
        return Found::Short(RECORD_HEADER_BYTES as u64 + len as u64);
    };
    if record_crc(&header[..8], payload) != be32(header, 8) {
        return Found::Nothing;
    }
    let code = u16::from_be_bytes([header[0], header[1]]);
    Found::Record(Record { code, payload, end: position + RECORD_HEADER_BYTES + len })
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
