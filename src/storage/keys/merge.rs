//! A file of keys out of those of the segments that a rewriting put together, without a look at a record.
//!
//! Entries come by bucket out of each file, so the new one is written in one go: a range of hashes at a time, as many as fit
//! in memory. Its buckets are no larger than those of the others, unless all of it fits: one that is too large for memory
//! then comes in order, out of one file after the other, and is written as it comes.

use super::{
    output::{ORDERED, Output},
    reader::{HashRange, KeyFile, KeysOf},
};
use crate::{
    codec::keys::{ENTRY_LEN, HashSeed, KeysFlags, KeysHeader, moved_to, place_of},
    env::Env,
    error::Result,
};
use std::path::{Path, PathBuf};

/// The entries of the sources that are read at a time, or so many of each.
const READ: u64 = 1 << 14;
const READ_OF_EACH: usize = 1 << 10;

/// A file of keys, and which of its entries go over.
pub trait Merge {
    /// The file.
    fn file(&self) -> &KeyFile;
    /// What becomes of an entry that is at this place in its segment; `None` where it does not go over.
    fn place(&self, relative: u32) -> Option<u32>;
}

/// Writes a file of keys beside the name `path`, flushed, about the segment `of`, which holds what `flags` say: `count` entries of the sources go over,
/// which are in the order of their offsets. Returns where it lies.
pub fn merge(
    env: &dyn Env,
    path: &Path,
    of: KeysOf,
    (seed, flags): (HashSeed, KeysFlags),
    sources: &[impl Merge],
    count: u32,
) -> Result<PathBuf> {
    let most_bits = sources.iter().map(|source| source.file().bucket_bits()).max().unwrap_or(0);
    let bits = KeysHeader::bits_for(count).max(if count <= ORDERED { 0 } else { most_bits });
    let KeysOf { generation, size, base, next } = of;
    let header = KeysHeader { flags, seed, generation, size, base, next, count, bucket_bits: bits };
    let entries: u64 = sources.iter().map(|source| u64::from(source.file().count())).sum();
    let read_of_each = sources.len().saturating_mul(READ_OF_EACH) as u64;
    let most = read_of_each.clamp(READ, u64::from(ORDERED));
    Output::write(env, path, header, |output| {
        let (mut ranges, mut kept) = (vec![HashRange::ALL], Vec::new());
        while let Some(range) = ranges.pop() {
            let halves = range.halves().filter(|_| range.bits < bits);
            let is_large = count > ORDERED && entries >> range.bits > most;
            if (halves.is_none() || !is_large) && collect(sources, range, &mut kept)? {
                output.push_in_order(range.buckets(bits), &mut kept)?;
            } else if let Some([low, high]) = halves {
                ranges.extend([high, low]);
            } else {
                stream(sources, range, output)?;
            }
        }
        Ok(())
    })
}

/// The entries of a range that go over; `false` where they are too many.
fn collect(sources: &[impl Merge], range: HashRange, kept: &mut Vec<[u8; ENTRY_LEN]>) -> Result<bool> {
    kept.clear();
    let mut is_full = false;
    for source in sources {
        source.file().oldest_first(range, |entry| {
            if let Some(relative) = source.place(place_of(entry).0) {
                is_full |= kept.len() >= ORDERED as usize;
                if !is_full {
                    kept.push(moved_to(entry, relative));
                }
            }
            Ok(())
        })?;
    }
    Ok(!is_full)
}

/// Writes the entries of a bucket as they come.
fn stream(sources: &[impl Merge], range: HashRange, output: &mut Output<'_>) -> Result<()> {
    sources.iter().try_for_each(|source| {
        source.file().oldest_first(range, |entry| match source.place(place_of(entry).0) {
            Some(relative) => output.push(&[moved_to(entry, relative)]),
            None => Ok(()),
        })
    })
}
