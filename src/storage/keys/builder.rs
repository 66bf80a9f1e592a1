//! Building a file of keys in bounded memory.
//!
//! An entry goes to one of 256 parts by the upper eight bits of its hash. A part that has 16 KiB in memory writes them as a
//! block to a scratch file that has no name. At the end the parts are read back one after the other, each in the order in
//! which it came, and put in order by bucket. A part that is too large, for a key was written over and over, is gone
//! through once for each group of its buckets that fits.

use crate::{
    codec::{
        DecodeError,
        batch::RecordBatch,
        compress::MAX_DECOMPRESSED,
        keys::{ENTRY_LEN, HEADER_LEN, HashSeed, KeyEntry, KeySummer, KeysFlags, KeysHeader, siphash128},
    },
    env::{Env, File, Open, read_full_at, write_all_at},
    error::{Error, Result},
    storage::foreign_files::{beside, remove_if_there},
    types::Offset,
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

const PARTS: usize = 256;
const PART_BITS: u8 = 8;
/// The bytes of a part that are kept in memory: whole entries.
const BLOCK: usize = 16 * 1024 / ENTRY_LEN * ENTRY_LEN;
/// The entries that are put in order at a time.
const ORDERED: u32 = (2 << 20) / ENTRY_LEN as u32;
/// The bytes that are written at a time.
const PIECE: usize = 256 << 10;

/// Collects the keys of one segment.
#[derive(Debug)]
pub struct KeyBuilder<'a> {
    env: &'a dyn Env,
    path: PathBuf,
    base: Offset,
    seed: HashSeed,
    flags: KeysFlags,
    count: u32,
    parts: Vec<Part>,
    scratch: Option<Arc<dyn File>>,
    blocks: u32,
}

#[derive(Debug, Default)]
struct Part {
    /// The numbers of its blocks in the scratch file.
    blocks: Vec<u32>,
    rest: Vec<u8>,
}

impl<'a> KeyBuilder<'a> {
    /// A file of keys is to lie at `path`, of the segment at `base`.
    pub fn new(env: &'a dyn Env, path: PathBuf, base: Offset, seed: HashSeed) -> Self {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        let flags = KeysFlags::default();
        KeyBuilder { env, path, base, seed, flags, count: 0, parts, scratch: None, blocks: 0 }
    }

    /// Adds the records of a batch, whose checksum holds. `Ok(Err)` where they cannot be read.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<Result<(), DecodeError>> {
        let header = batch.header();
        if header.has_producer_id() {
            self.flags.add(KeysFlags::PRODUCERS);
        }
        if header.is_control() || header.record_count == 0 {
            return Ok(Ok(()));
        }
        let records = match batch.records(MAX_DECOMPRESSED).and_then(|records| records.validate()) {
            Ok(records) => records,
            Err(error) => return Ok(Err(error)),
        };
        if !records.in_order() {
            self.flags.add(KeysFlags::OUT_OF_ORDER);
            return Ok(Ok(()));
        }
        for record in &records {
            let Some(key) = record.key else {
                self.flags.add(KeysFlags::NULL_KEYS);
                continue;
            };
            // No segment reaches further, for none is rolled later.
            let relative = record.offset.distance_from(self.base).min(i32::MAX as u64) as u32;
            let hash = siphash128(self.seed, key);
            self.add_entry(KeyEntry { hash, relative, is_tombstone: record.value.is_none() })?;
        }
        Ok(Ok(()))
    }

    /// Adds a record. Those of one bucket come in the order of their offsets.
    pub fn add_entry(&mut self, entry: KeyEntry) -> Result<()> {
        if entry.is_tombstone {
            self.flags.add(KeysFlags::TOMBSTONES);
        }
        self.count += 1;
        let number = (entry.hash >> (128 - PART_BITS)) as usize;
        let Some(part) = self.parts.get_mut(number) else { return Ok(()) };
        part.rest.extend_from_slice(&entry.encode());
        if part.rest.len() < BLOCK {
            return Ok(());
        }
        let scratch = match &self.scratch {
            Some(scratch) => scratch,
            None => self.scratch.insert(scratch(self.env, &self.path)?),
        };
        write_all_at(&**scratch, &part.rest, u64::from(self.blocks) * BLOCK as u64)
            .map_err(|e| Error::io("write", &self.path, e))?;
        part.rest.clear();
        part.blocks.push(self.blocks);
        self.blocks += 1;
        Ok(())
    }

    /// Writes the file beside its name, flushed; the caller gives it the name. The segment has these facts, and its hashes
    /// at least so many bits for their bucket, unless they are few.
    pub fn finish(self, generation: u32, size: u64, next: Offset, least_bits: u8) -> Result<PathBuf> {
        let beside = beside(&self.path);
        remove_if_there(self.env, &beside)?;
        let file = self.env.open(&beside, Open::CreateNew).map_err(|e| Error::io("create", &beside, e))?;
        let is_small = self.count <= ORDERED;
        let bits = KeysHeader::bits_for(self.count).max(if is_small { 0 } else { least_bits.max(PART_BITS) });
        let header = KeysHeader {
            flags: self.flags,
            seed: self.seed,
            generation,
            size,
            base: self.base,
            next,
            count: self.count,
            bucket_bits: bits,
        };
        let mut output = Output::new(file, &beside, header);
        let written = self.write(&mut output).and_then(|()| output.finish());
        if written.is_err() {
            let _ = self.env.remove_file(&beside);
        }
        written.map(|()| beside)
    }

    fn write(&self, output: &mut Output<'_>) -> Result<()> {
        let header = output.header;
        if self.count <= ORDERED {
            return self.write_group(0..PARTS, 0..header.buckets(), self.count, output);
        }
        let each = header.buckets() / PARTS as u32;
        for part in 0..PARTS {
            let first = part as u32 * each;
            let mut counts = vec![0u32; each as usize];
            self.each(part, |entry| {
                if let Some(count) = counts.get_mut((header.bucket_of(entry.hash) - first) as usize) {
                    *count += 1;
                }
                Ok(())
            })?;
            for (buckets, count) in groups(first, &counts) {
                self.write_group(part..part + 1, buckets, count, output)?;
            }
        }
        Ok(())
    }

    /// Writes the entries of these buckets, `count` in number, which lie in these parts. One bucket alone may have more
    /// than fit, and is written as it comes.
    fn write_group(
        &self,
        parts: Range<usize>,
        buckets: Range<u32>,
        count: u32,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let header = output.header;
        if count > ORDERED {
            for part in parts {
                self.each(part, |entry| match buckets.contains(&header.bucket_of(entry.hash)) {
                    true => output.push(&entry),
                    false => Ok(()),
                })?;
            }
            return Ok(());
        }
        let mut entries = Vec::with_capacity(count as usize);
        for part in parts {
            self.each(part, |entry| {
                if buckets.contains(&header.bucket_of(entry.hash)) {
                    entries.push(entry);
                }
                Ok(())
            })?;
        }
        entries.sort_unstable_by_key(|entry| (header.bucket_of(entry.hash), entry.relative));
        entries.iter().try_for_each(|entry| output.push(entry))
    }

    /// Goes through a part in the order in which it came.
    fn each(&self, part: usize, mut visit: impl FnMut(KeyEntry) -> Result<()>) -> Result<()> {
        let Some(part) = self.parts.get(part) else { return Ok(()) };
        let mut block = vec![0; if part.blocks.is_empty() { 0 } else { BLOCK }];
        for number in &part.blocks {
            let Some(scratch) = &self.scratch else { break };
            let read = read_full_at(&**scratch, &mut block, u64::from(*number) * BLOCK as u64)
                .map_err(|e| Error::io("read", &self.path, e))?;
            if read < BLOCK {
                return Err(Error::corrupt(&self.path, read as u64, "the scratch file ends early"));
            }
            block.as_chunks().0.iter().try_for_each(|entry| visit(KeyEntry::decode(entry)))?;
        }
        part.rest.as_chunks().0.iter().try_for_each(|entry| visit(KeyEntry::decode(entry)))
    }
}

/// A file that has no name any more, and is gone with its last handle.
fn scratch(env: &dyn Env, path: &Path) -> Result<Arc<dyn File>> {
    let beside = beside(path);
    remove_if_there(env, &beside)?;
    let file = env.open(&beside, Open::CreateNew).map_err(|e| Error::io("create", &beside, e))?;
    remove_if_there(env, &beside)?;
    Ok(file)
}

/// Buckets from `first` on that have these counts, in groups that are put in order at a time.
fn groups(first: u32, counts: &[u32]) -> Vec<(Range<u32>, u32)> {
    let mut groups: Vec<(Range<u32>, u32)> = Vec::new();
    for (bucket, count) in (first..).zip(counts.iter().copied()) {
        match groups.last_mut() {
            Some((range, sum)) if sum.saturating_add(count) <= ORDERED => {
                range.end = bucket + 1;
                *sum += count;
            }
            _ => groups.push((bucket..bucket + 1, count)),
        }
    }
    groups
}

/// A file of keys while it is written, its entries in order.
struct Output<'a> {
    file: Arc<dyn File>,
    path: &'a Path,
    header: KeysHeader,
    summer: KeySummer,
    starts: Vec<u32>,
    pushed: u32,
    buffer: Vec<u8>,
    position: u64,
}

impl<'a> Output<'a> {
    fn new(file: Arc<dyn File>, path: &'a Path, header: KeysHeader) -> Self {
        let (summer, buffer) = (KeySummer::default(), Vec::with_capacity(PIECE));
        let position = HEADER_LEN as u64;
        Output { file, path, header, summer, starts: Vec::new(), pushed: 0, buffer, position }
    }

    fn push(&mut self, entry: &KeyEntry) -> Result<()> {
        let bucket = self.header.bucket_of(entry.hash) as usize;
        if self.starts.len() <= bucket {
            self.starts.resize(bucket + 1, self.pushed);
        }
        self.pushed += 1;
        self.write(&entry.encode())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.summer.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < PIECE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        write_all_at(&*self.file, &self.buffer, self.position)
            .map_err(|e| Error::io("write", self.path, e))?;
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        let mut starts = std::mem::take(&mut self.starts);
        starts.resize(self.header.buckets() as usize, self.pushed);
        starts.iter().try_for_each(|start| self.write(&start.to_be_bytes()))?;
        let sums = std::mem::take(&mut self.summer).finish();
        self.buffer.extend_from_slice(&sums);
        self.flush()?;
        write_all_at(&*self.file, &self.header.encode(), 0).map_err(|e| Error::io("write", self.path, e))?;
        self.file.sync_data().map_err(|e| Error::io("flush", self.path, e))
    }
}
