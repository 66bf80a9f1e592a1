//! Which records live, by the files of keys alone.
//!
//! The hashes are gone through in equal ranges. For each, the entries of all segments are walked from the newest to the
//! oldest: a hash that is not in the table yet is the newest of its key, and its record lives. A table has 4 MiB at most,
//! whatever the log holds; more records make more ranges. Of few files it is as small as a processor's cache: a range has
//! about a page's entries for each file. A range with more keys than the table has room for is halved and begun again,
//! which changes no answer: what lives in the whole lives in its half.
//!
//! Of more versions than one the table counts. A tombstone ends the versions of its key: were older ones kept, they would
//! come back with its removal.

use super::{aborted::Aborted, live::LiveSet};
use crate::{
    codec::keys::KeyEntry,
    error::{Error, Result},
    storage::keys::{HashRange, KeyFile},
};
use std::sync::Arc;

/// Most slots of the table: 4 MiB.
const SLOTS: usize = 1 << 18;
/// Slots for each file that a range is read of: half as many entries are read at a time, or a quarter.
const SLOTS_OF_FILE: usize = 2048;
/// So few slots are in the cache in any case.
const CACHED_SLOTS: usize = 1 << 14;

/// The records with a key of one segment.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Its file of keys.
    pub file: Arc<KeyFile>,
    /// The records that no reader of committed ones sees: they supersede nothing, and do not live.
    pub aborted: Aborted,
}

/// What lives of one segment.
#[derive(Clone, Debug)]
pub struct Lives {
    /// Its records.
    pub records: LiveSet,
    /// Those of them that are tombstones.
    pub tombstones: LiveSet,
}

impl Lives {
    fn none(file: &KeyFile) -> Self {
        Lives { records: LiveSet::new(file.span()), tombstones: LiveSet::new(file.span()) }
    }

    /// How many bytes it takes at most, with what says of these keys that they are aborted.
    pub fn most_bytes(Keys { file, aborted }: &Keys) -> u64 {
        LiveSet::most_bytes(file.count(), file.span()).saturating_mul(2).saturating_add(aborted.bytes())
    }
}

/// What lives of `segments`, of which the newest is last, where `newer` came after them.
pub fn decide(segments: &[Keys], newer: &[Keys], versions: u32) -> Result<Vec<Lives>> {
    let mut lives: Vec<Lives> = segments.iter().map(|keys| Lives::none(&keys.file)).collect();
    let entries: u64 = segments.iter().chain(newer).map(|keys| u64::from(keys.file.count())).sum();
    let mut table = Table::new(entries, segments.len() + newer.len(), versions);
    let mut ranges = vec![HashRange::ALL];
    while let Some(range) = ranges.pop() {
        let is_large = entries >> range.bits > table.room as u64;
        match range.halves() {
            Some(halves) if is_large => ranges.extend(halves),
            halves => {
                if !walk(segments, newer, range, &mut table, &mut lives)? {
                    ranges.extend(halves.ok_or_else(|| too_alike(segments))?);
                }
            }
        }
    }
    for segment in &mut lives {
        segment.records.settle();
        segment.tombstones.settle();
    }
    Ok(lives)
}

/// No hash of keys, whoever chose them, is like so many others.
fn too_alike(segments: &[Keys]) -> Error {
    let path = segments.last().map(|keys| keys.file.path().to_path_buf()).unwrap_or_default();
    Error::corrupt(path, 0, "more hashes begin alike than a table has room for")
}

/// Decides a range. `false` where the table has no room for all of it.
fn walk(
    segments: &[Keys],
    newer: &[Keys],
    range: HashRange,
    table: &mut Table,
    lives: &mut [Lives],
) -> Result<bool> {
    table.clear();
    for keys in newer.iter().rev() {
        keys.file.newest_first(range, |entry| {
            if !keys.aborted.contains(entry.relative) {
                table.is_among_newest(&entry);
            }
            Ok(())
        })?;
    }
    for (keys, lives) in segments.iter().zip(lives).rev() {
        keys.file.newest_first(range, |entry| {
            if !keys.aborted.contains(entry.relative) && table.is_among_newest(&entry) {
                lives.records.insert(entry.relative);
                if entry.is_tombstone {
                    lives.tombstones.insert(entry.relative);
                }
            }
            Ok(())
        })?;
    }
    Ok(!table.is_full)
}

/// The hashes that were met, in a table of open addresses.
struct Table {
    slots: Vec<u128>,
    /// How many versions were met, where more than one is kept; `u32::MAX` behind a tombstone.
    met: Vec<u32>,
    versions: u32,
    used: usize,
    room: usize,
    is_full: bool,
}

impl Table {
    fn new(entries: u64, files: usize, versions: u32) -> Self {
        let most = files.saturating_mul(SLOTS_OF_FILE).clamp(CACHED_SLOTS, SLOTS);
        let wanted = usize::try_from(entries.saturating_mul(2)).unwrap_or(SLOTS).clamp(16, most);
        Self::with_slots(wanted.next_power_of_two(), versions)
    }

    fn with_slots(slots: usize, versions: u32) -> Self {
        let met = if versions > 1 { vec![0; slots] } else { Vec::new() };
        let room = slots / 4 * 3;
        Table { slots: vec![0; slots], met, versions, used: 0, room, is_full: false }
    }

    fn clear(&mut self) {
        self.slots.fill(0);
        self.met.fill(0);
        self.used = 0;
        self.is_full = false;
    }

    /// Whether the record is one of the newest of its key, of those that were met.
    #[inline]
    fn is_among_newest(&mut self, entry: &KeyEntry) -> bool {
        planted!(older_records_of_a_key_stay => return true);
        planted!(the_newest_record_of_a_key_goes => return self.used > 0);
        // Zero is an empty slot.
        let hash = entry.hash.max(1);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == hash {
                return self.meet_again(at, entry.is_tombstone);
            }
            if *slot == 0 {
                if self.used == self.room {
                    self.is_full = true;
                    return false;
                }
                *slot = hash;
                self.used += 1;
                self.meet_again(at, entry.is_tombstone);
                return true;
            }
            at = (at + 1) & mask;
        }
        false
    }

    /// Counts one more version in this slot, and says whether it is one of those that are kept.
    fn meet_again(&mut self, at: usize, is_tombstone: bool) -> bool {
        let Some(met) = self.met.get_mut(at).filter(|met| **met < self.versions) else { return false };
        *met = if is_tombstone { u32::MAX } else { *met + 1 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::keys::{HashSeed, siphash128},
        env::{Env, memory::MemoryEnv},
        storage::{
            files::{FilePool, ReadMode},
            keys::{KeyBuilder, KeysOf},
        },
        types::Offset,
    };
    use proptest::prelude::*;
    use std::{collections::HashMap, path::PathBuf};

    const SEED: HashSeed = HashSeed { first: 5, last: 6 };

    /// A file of keys for each list of (key, is tombstone).
    fn files(segments: &[Vec<(u16, bool)>]) -> Vec<Keys> {
        let env = MemoryEnv::new();
        let pool = FilePool::new(Arc::clone(&env) as Arc<dyn Env>, ReadMode::Pread, 4);
        let file = |(i, records): (usize, &Vec<(u16, bool)>)| {
            let (path, base) = (PathBuf::from(format!("/{i}.keys")), Offset::new(i as u64 * 1000));
            let mut builder = KeyBuilder::new(&*env, path.clone(), base, SEED);
            for (relative, (key, is_tombstone)) in (0..).zip(records.iter().copied()) {
                let hash = siphash128(SEED, &key.to_be_bytes());
                builder.add_entry(KeyEntry { hash, relative, is_tombstone }).unwrap();
            }
            let next = base + records.len() as u64;
            env.rename(&builder.finish(0, 1 << 20, next).unwrap(), &path).unwrap();
            let of = KeysOf { generation: 0, size: 1 << 20, base, next };
            let file = Arc::new(KeyFile::open(&pool, path, of).unwrap().unwrap());
            Keys { file, aborted: Aborted::default() }
        };
        segments.iter().enumerate().map(file).collect()
    }

    /// Segment and place of what lives, by a map over all records.
    fn model(segments: &[Vec<(u16, bool)>], versions: u32) -> Vec<(usize, u32)> {
        let mut met: HashMap<u16, u32> = HashMap::new();
        let mut live = Vec::new();
        for (i, records) in segments.iter().enumerate().rev() {
            for (relative, (key, is_tombstone)) in records.iter().enumerate().rev() {
                let met = met.entry(*key).or_default();
                if *met < versions {
                    *met = if *is_tombstone { versions } else { *met + 1 };
                    live.push((i, relative as u32));
                }
            }
        }
        live.sort_unstable();
        live
    }

    fn found(segments: &[Vec<(u16, bool)>], lives: &[Lives]) -> Vec<(usize, u32)> {
        let mut found = Vec::new();
        for (i, (records, lives)) in segments.iter().zip(lives).enumerate() {
            for (relative, (_, is_tombstone)) in (0u32..).zip(records) {
                if lives.records.contains(relative) {
                    assert_eq!(lives.tombstones.contains(relative), *is_tombstone);
                    found.push((i, relative));
                }
            }
        }
        found
    }

    #[test]
    fn a_table_takes_four_mebibytes_and_its_counts_one_more_whatever_a_log_holds() {
        for (entries, files) in [(0, 0), (1000, 1), (u64::MAX, 1), (u64::MAX, usize::MAX)] {
            for versions in [1, 2] {
                let table = Table::new(entries, files, versions);
                let (slots, met) = (table.slots.capacity() * 16, table.met.capacity() * 4);
                assert!(slots <= 4 << 20 && met <= 1 << 20, "{slots} and {met} bytes for {entries} entries");
            }
        }
    }

    fn segments() -> impl Strategy<Value = Vec<Vec<(u16, bool)>>> {
        prop::collection::vec(prop::collection::vec((0u16..40, prop::bool::weighted(0.2)), 0..120), 1..6)
    }

    proptest! {
        #[test]
        fn what_lives_is_what_a_map_says(segments in segments(), versions in 1u32..4) {
            let lives = decide(&files(&segments), &[], versions).unwrap();
            prop_assert_eq!(found(&segments, &lives), model(&segments, versions));
        }

        #[test]
        fn newer_segments_count_though_they_are_not_decided(
            segments in segments(), cut in any::<prop::sample::Index>(), versions in 1u32..4
        ) {
            let cut = cut.index(segments.len() + 1);
            let files = files(&segments);
            let (older, newer) = files.split_at(cut);
            let lives = decide(older, newer, versions).unwrap();
            let expected: Vec<_> =
                model(&segments, versions).into_iter().filter(|(i, _)| *i < cut).collect();
            prop_assert_eq!(found(&segments[..cut], &lives), expected);
        }

        #[test]
        fn a_table_that_is_too_small_asks_for_smaller_ranges(segments in segments(), versions in 1u32..4) {
            let files = files(&segments);
            let mut table = Table::with_slots(16, versions);
            let mut lives: Vec<Lives> = files.iter().map(|keys| Lives::none(&keys.file)).collect();
            let mut ranges = vec![HashRange::ALL];
            while let Some(range) = ranges.pop() {
                if !walk(&files, &[], range, &mut table, &mut lives).unwrap() {
                    ranges.extend(range.halves().unwrap());
                }
            }
            lives.iter_mut().for_each(|lives| lives.records.settle());
            lives.iter_mut().for_each(|lives| lives.tombstones.settle());
            prop_assert_eq!(found(&segments, &lives), model(&segments, versions));
        }
    }
}
