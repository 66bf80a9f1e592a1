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
        keys::{ENTRY_LEN, HashSeed, KeyEntry, KeysFlags, KeysHeader, siphash128, siphash128_of_two},
    },
    env::{Env, File, Open, read_full_at, write_all_at},
    error::{Error, Result},
    storage::{
        foreign_files::{beside, remove_if_there},
        keys::output::{ORDERED, Output},
    },
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
        let (base, seed) = (self.base, self.seed);
        let mut added = Ok(());
        let read = batch.records(MAX_DECOMPRESSED).and_then(|records| {
            // A record whose key is hashed together with the next one's.
            let mut waits: Option<(&[u8], u32, bool)> = None;
            let in_order = records.each_checked(|record| match record.key {
                None => self.flags.add(KeysFlags::NULL_KEYS),
                Some(_) if added.is_err() => {}
                Some(key) => {
                    // No segment reaches further, for none is rolled later.
                    let relative = record.offset.distance_from(base).min(i32::MAX as u64) as u32;
                    let this = (key, relative, record.value.is_none());
                    match waits.take() {
                        None => waits = Some(this),
                        Some(before) => added = self.add_two(before, this),
                    }
                }
            })?;
            if let Some((key, relative, is_tombstone)) = waits.filter(|_| added.is_ok()) {
                let hash = siphash128(seed, key);
                added = self.add_entry(KeyEntry { hash, relative, is_tombstone });
            }
            Ok(in_order)
        });
        match read {
            Ok(true) => {}
            Ok(false) => self.flags.add(KeysFlags::OUT_OF_ORDER),
            Err(error) => return Ok(Err(error)),
        }
        added.map(Ok)
    }

    /// Adds two records, each a key, a place and whether it is a tombstone, the older one first.
    #[inline]
    fn add_two(&mut self, one: (&[u8], u32, bool), other: (&[u8], u32, bool)) -> Result<()> {
        let hashes = siphash128_of_two(self.seed, one.0, other.0);
        self.add_entry(KeyEntry { hash: hashes.0, relative: one.1, is_tombstone: one.2 })?;
        self.add_entry(KeyEntry { hash: hashes.1, relative: other.1, is_tombstone: other.2 })
    }

    /// Adds a record. Those of one bucket come in the order of their offsets.
    #[inline]
    pub fn add_entry(&mut self, entry: KeyEntry) -> Result<()> {
        self.count += 1;
        let number = (entry.hash >> (128 - PART_BITS)) as usize;
        let Some(part) = self.parts.get_mut(number) else { return Ok(()) };
        part.rest.extend_from_slice(&entry.encode());
        if part.rest.len() < BLOCK { Ok(()) } else { self.write_block(number) }
    }

    #[cold]
    fn write_block(&mut self, number: usize) -> Result<()> {
        let Some(part) = self.parts.get_mut(number) else { return Ok(()) };
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

    /// Writes the file beside its name, flushed; the caller gives it the name. The segment has these facts. Where records
    /// are out of order nothing can be decided by their keys, and the file has none.
    pub fn finish(mut self, generation: u32, size: u64, next: Offset) -> Result<PathBuf> {
        if self.flags.say(KeysFlags::OUT_OF_ORDER) {
            self.parts.clear();
            self.count = 0;
        }
        let bits = KeysHeader::bits_for(self.count);
        let header = KeysHeader {
            flags: self.flags,
            seed: self.seed,
            generation,
            size,
            base: self.base,
            next,
            count: self.count,
            bucket_bits: if self.count <= ORDERED { bits } else { bits.max(PART_BITS) },
        };
        Output::write(self.env, &self.path, header, |output| self.write(output))
    }

    fn write(&self, output: &mut Output<'_>) -> Result<()> {
        let header = output.header();
        if self.count <= ORDERED {
            return self.write_group(0..PARTS, 0..header.buckets(), self.count, output);
        }
        let each = header.buckets() / PARTS as u32;
        for part in 0..PARTS {
            let first = part as u32 * each;
            let count = self.parts.get(part).map_or(0, Part::count);
            if count <= ORDERED {
                self.write_group(part..part + 1, first..first + each, count, output)?;
                continue;
            }
            let mut counts = vec![0u32; each as usize];
            self.each(part, |entries| {
                for entry in entries {
                    if let Some(count) = counts.get_mut((header.bucket_of(entry) - first) as usize) {
                        *count += 1;
                    }
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
        let header = output.header();
        let inside = |entry: &&[u8; ENTRY_LEN]| buckets.contains(&header.bucket_of(entry));
        if count > ORDERED {
            for part in parts {
                self.each(part, |entries| {
                    entries.iter().filter(inside).try_for_each(|entry| output.push(&[*entry]))
                })?;
            }
            return Ok(());
        }
        let mut group = Vec::with_capacity(count as usize);
        for part in parts {
            self.each(part, |entries| {
                group.extend(entries.iter().filter(inside));
                Ok(())
            })?;
        }
        output.push_in_order(buckets.clone(), &mut group)
    }

    /// Goes through a part in the order in which it came.
    fn each(&self, part: usize, mut visit: impl FnMut(&[[u8; ENTRY_LEN]]) -> Result<()>) -> Result<()> {
        let Some(part) = self.parts.get(part) else { return Ok(()) };
        let mut block = vec![0; if part.blocks.is_empty() { 0 } else { BLOCK }];
        for number in &part.blocks {
            let Some(scratch) = &self.scratch else { break };
            let read = read_full_at(&**scratch, &mut block, u64::from(*number) * BLOCK as u64)
                .map_err(|e| Error::io("read", &self.path, e))?;
            if read < BLOCK {
                return Err(Error::corrupt(&self.path, read as u64, "the scratch file ends early"));
            }
            visit(block.as_chunks().0)?;
        }
        visit(part.rest.as_chunks().0)
    }
}

impl Part {
    /// How many entries it has.
    fn count(&self) -> u32 {
        ((self.blocks.len() * BLOCK + self.rest.len()) / ENTRY_LEN) as u32
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
