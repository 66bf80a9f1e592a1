//! Reading a file of keys by ranges of the hash, each page checked against its checksum.

use crate::{
    codec::{
        DecodeError,
        keys::{ENTRY_LEN, HEADER_LEN, HashSeed, KeyEntry, KeySums, KeysFlags, KeysHeader, hash_prefix},
    },
    error::{
        Error, Result,
        memory::{has_memory_for, out_of_memory},
    },
    storage::files::{FilePool, PooledFile},
    types::Offset,
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How many entries are read at a time.
const PIECE: u32 = (64 << 10) / ENTRY_LEN as u32;
/// The starts of so many buckets are read together, and not each by itself.
const NEIGHBOURS: u32 = 1024;

/// Which segment a file of keys must be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysOf {
    /// Which rewriting of the segment.
    pub generation: u32,
    /// The size of its `.log`.
    pub size: u64,
    /// Its base offset.
    pub base: Offset,
    /// The offset after its last one.
    pub next: Offset,
}

/// One of 2^`bits` equal ranges of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRange {
    /// How many upper bits say which range a hash is in.
    pub bits: u8,
    /// Which of the ranges.
    pub number: u32,
}

impl HashRange {
    /// Every hash.
    pub const ALL: HashRange = HashRange { bits: 0, number: 0 };

    /// Whether a hash lies in it.
    pub fn contains(self, hash: u128) -> bool {
        hash.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) as u32 == self.number
    }

    /// Whether a hash with these upper bits lies in it.
    fn contains_prefix(self, prefix: u32) -> bool {
        prefix.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == self.number
    }

    /// Its two halves; `None` where it is as small as one gets.
    pub fn halves(self) -> Option<[HashRange; 2]> {
        let bits = self.bits + 1;
        (bits < 32).then(|| [0, 1].map(|half| HashRange { bits, number: self.number << 1 | half }))
    }

    /// The buckets that its hashes are in, of 2^`bits`.
    pub(super) fn buckets(self, bits: u8) -> Range<u32> {
        match bits.checked_sub(self.bits) {
            Some(more) => self.number << more..(self.number + 1) << more,
            None => {
                let bucket = self.number >> (self.bits - bits);
                bucket..bucket + 1
            }
        }
    }
}

/// The keys of one segment.
#[derive(Debug)]
pub struct KeyFile {
    file: Arc<PooledFile>,
    header: KeysHeader,
    sums: KeySums,
}

impl KeyFile {
    /// The file at `path`; `None` where it is not there, or not what was written about this segment.
    pub fn open(pool: &Arc<FilePool>, path: PathBuf, of: KeysOf) -> Result<Option<Self>> {
        let file = pool.existing(path, false);
        let read = Self::header_of(&file).and_then(|header| {
            let found = KeysOf {
                generation: header.generation,
                size: header.size,
                base: header.base,
                next: header.next,
            };
            if found != of || file.len()? != header.file_len() {
                return Ok(None);
            }
            let sums = read(&file, header.sums_at())?;
            let Ok(sums) = KeySums::decode(&header, &sums) else { return Ok(None) };
            let keys = KeyFile { file: Arc::clone(&file), header, sums };
            Ok(if keys.starts_ascend()? { Some(keys) } else { None })
        });
        match read {
            Ok(read) => Ok(read),
            Err(Error::Corrupt { .. } | Error::UnsupportedFormat { .. }) => Ok(None),
            Err(error) if error.says_no_such_file() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The seed of the file at `path`, where there is a file of keys.
    pub fn seed_at(pool: &Arc<FilePool>, path: PathBuf) -> Option<HashSeed> {
        Self::header_of(&pool.existing(path, false)).ok().map(|header| header.seed)
    }

    fn header_of(file: &PooledFile) -> Result<KeysHeader> {
        let bytes = read(file, 0..HEADER_LEN as u64)?;
        KeysHeader::decode(&bytes).map_err(|error| error.in_file(file.path(), 0))
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// What its keys are hashed under.
    pub fn seed(&self) -> HashSeed {
        self.header.seed
    }

    /// What the segment holds.
    pub fn flags(&self) -> KeysFlags {
        self.header.flags
    }

    /// How many records have a key.
    pub fn count(&self) -> u32 {
        self.header.count
    }

    /// How many bits say the bucket of a hash.
    pub fn bucket_bits(&self) -> u8 {
        self.header.bucket_bits
    }

    /// The base offset of the segment.
    pub fn base(&self) -> Offset {
        self.header.base
    }

    /// How many offsets the segment spans.
    pub fn span(&self) -> u64 {
        self.header.next.distance_from(self.header.base)
    }

    /// The entries of a range: by bucket, and those of a bucket from the newest to the oldest.
    #[inline]
    pub fn newest_first(
        &self,
        range: HashRange,
        mut visit: impl FnMut(KeyEntry) -> Result<()>,
    ) -> Result<()> {
        let are_all = self.has_buckets_of(range);
        self.pieces(range, true, |entries| {
            for entry in entries.iter().rev().map(KeyEntry::decode) {
                if are_all || range.contains(entry.hash) {
                    visit(entry)?;
                }
            }
            Ok(())
        })
    }

    /// Whether a record has a key with this hash.
    pub fn has(&self, hash: u128) -> Result<bool> {
        let bits = self.bucket_bits();
        let number = hash.checked_shr(128 - u32::from(bits)).unwrap_or(0) as u32;
        let mut is_there = false;
        self.newest_first(HashRange { bits, number }, |entry| {
            is_there |= entry.hash == hash;
            Ok(())
        })?;
        Ok(is_there)
    }

    /// The entries of a range in their bytes: by bucket, and those of a bucket from the oldest to the newest.
    #[inline]
    pub fn oldest_first(
        &self,
        range: HashRange,
        mut visit: impl FnMut(&[u8; ENTRY_LEN]) -> Result<()>,
    ) -> Result<()> {
        let are_all = self.has_buckets_of(range);
        self.pieces(range, false, |entries| {
            for entry in entries {
                if are_all || range.contains_prefix(hash_prefix(entry)) {
                    visit(entry)?;
                }
            }
            Ok(())
        })
    }

    /// Whether the buckets in which hashes of `range` lie hold no others.
    fn has_buckets_of(&self, range: HashRange) -> bool {
        range.bits <= self.header.bucket_bits
    }

    #[inline]
    fn pieces(
        &self,
        range: HashRange,
        backwards: bool,
        mut visit: impl FnMut(&[[u8; ENTRY_LEN]]) -> Result<()>,
    ) -> Result<()> {
        let Range { start: mut begin, mut end } = self.entries_of(range.buckets(self.header.bucket_bits))?;
        while begin < end {
            let piece = if backwards {
                end.saturating_sub(PIECE).max(begin)..end
            } else {
                begin..begin.saturating_add(PIECE).min(end)
            };
            if backwards {
                end = piece.start
            } else {
                begin = piece.end
            }
            let (bytes, within) = self.checked(self.header.entries_at(piece))?;
            visit(bytes.get(within).unwrap_or_default().as_chunks().0)?;
        }
        Ok(())
    }

    /// The numbers of the entries in these buckets.
    fn entries_of(&self, buckets: Range<u32>) -> Result<Range<u32>> {
        if buckets.end - buckets.start > NEIGHBOURS {
            let starts = |bucket: u32| self.starts(bucket..bucket.saturating_add(1)).map(|(first, _)| first);
            return Ok(starts(buckets.start)?..starts(buckets.end)?);
        }
        let (first, last) = self.starts(buckets.start..buckets.end.saturating_add(1))?;
        Ok(first..last)
    }

    /// Whether the buckets follow one another from the first entry on, so that to go through all of them takes each entry
    /// once.
    fn starts_ascend(&self) -> Result<bool> {
        let buckets = self.header.buckets();
        let mut last = 0;
        for first in (0..buckets).step_by(PIECE as usize) {
            let range = self.header.starts_at(first..first.saturating_add(PIECE).min(buckets));
            let (bytes, within) = self.checked(range)?;
            for start in
                bytes.get(within).unwrap_or_default().as_chunks().0.iter().copied().map(u32::from_be_bytes)
            {
                if start < last || start > self.header.count {
                    return Ok(false);
                }
                last = start;
            }
        }
        Ok(self.starts(0..1)?.0 == 0)
    }

    /// How many entries lie before the first and before the last of these buckets, read together; there may be no such
    /// bucket, after all others.
    fn starts(&self, buckets: Range<u32>) -> Result<(u32, u32)> {
        let (bytes, within) = self.checked(self.header.starts_at(buckets.clone()))?;
        let starts = bytes.get(within).unwrap_or_default().as_chunks::<4>().0;
        let of = |bucket: u32| {
            let start =
                starts.get((bucket - buckets.start) as usize).filter(|_| bucket < self.header.buckets());
            start.map_or(self.header.count, |start| u32::from_be_bytes(*start).min(self.header.count))
        };
        Ok((of(buckets.start), of(buckets.end.saturating_sub(1))))
    }

    /// The bytes of whole pages that are what was written, and where among them `range` lies.
    fn checked(&self, range: Range<u64>) -> Result<(Vec<u8>, Range<usize>)> {
        let (pages, at) = self.header.pages_of(range.clone());
        let bytes = read(&self.file, at.clone())?;
        self.sums.check(pages.start, &bytes).map_err(|error| error.in_file(self.file.path(), 0))?;
        Ok((bytes, (range.start - at.start) as usize..(range.end - at.start) as usize))
    }
}

/// The bytes of a range.
fn read(file: &PooledFile, range: Range<u64>) -> Result<Vec<u8>> {
    let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    if !has_memory_for(len) {
        let source = out_of_memory(format_args!("{len} bytes at byte {}", range.start));
        return Err(Error::io("read", file.path(), source));
    }
    let mut bytes = vec![0; len];
    if file.read_full(&mut bytes, range.start)? == len {
        return Ok(bytes);
    }
    let reason = DecodeError::malformed(range.start, "the file of keys ends early");
    Err(reason.in_file(file.path(), 0))
}
