//! What is built is read back, whatever keys there are, and what is not what was written is not read.

use super::*;
use crate::{
    codec::{
        batch::{HEADER_LEN, RecordBatch},
        builder::{BatchBuilder, Stamp},
        keys::{HashSeed, KeyEntry, KeySummer, KeysFlags, KeysHeader, siphash128},
    },
    env::{Env, Open, memory::MemoryEnv, write_all_at},
    storage::files::{FilePool, ReadMode},
    types::{Compression, Offset, Timestamp},
};
use std::{path::Path, sync::Arc};

const SEED: HashSeed = HashSeed { first: 3, last: 4 };
const SIZE: u64 = 4711;
const PATH: &str = "/00000000000000000040.keys";

fn of(count: u32) -> KeysOf {
    let base = Offset::new(40);
    KeysOf { generation: 2, size: SIZE, base, next: base + u64::from(count) }
}

/// A file of these keys in the order of their offsets; every tenth is deleted.
fn build(env: &dyn Env, keys: impl Iterator<Item = u32>) -> Vec<KeyEntry> {
    let mut builder = KeyBuilder::new(env, PATH.into(), Offset::new(40), SEED);
    let entries: Vec<KeyEntry> = (0u32..)
        .zip(keys)
        .map(|(relative, key)| {
            let hash = siphash128(SEED, &key.to_be_bytes());
            KeyEntry { hash, relative, is_tombstone: relative % 10 == 9 }
        })
        .collect();
    entries.iter().for_each(|entry| builder.add_entry(*entry).unwrap());
    let count = entries.len() as u32;
    let beside = builder.finish(2, SIZE, of(count).next).unwrap();
    env.rename(&beside, Path::new(PATH)).unwrap();
    entries
}

fn opened(env: &Arc<MemoryEnv>, of: KeysOf) -> Option<KeyFile> {
    let pool = FilePool::new(Arc::clone(env) as Arc<dyn Env>, ReadMode::Pread, 4);
    KeyFile::open(&pool, PATH.into(), of).unwrap()
}

/// The file holds exactly these, each key's in the order of offsets, in every range.
fn holds(env: &Arc<MemoryEnv>, mut entries: Vec<KeyEntry>) {
    let file = opened(env, of(entries.len() as u32)).expect("a file of keys");
    assert_eq!(file.count() as usize, entries.len());
    let in_order = |a: &KeyEntry, b: &KeyEntry| a.hash != b.hash || a.relative < b.relative;
    let mut all = Vec::new();
    file.oldest_first(HashRange::ALL, |entry| {
        all.push(KeyEntry::decode(entry));
        Ok(())
    })
    .unwrap();
    assert!(all.windows(2).all(|pair| in_order(&pair[0], &pair[1])));
    for bits in [0, 3, 9, 18] {
        let mut ranges = vec![HashRange::ALL];
        while ranges.last().unwrap().bits < bits.min(10) {
            ranges = ranges.into_iter().flat_map(|range| range.halves().unwrap()).collect();
        }
        let mut parts = Vec::new();
        for range in ranges {
            let from = parts.len();
            file.newest_first(range, |entry| {
                assert!(range.contains(entry.hash));
                parts.push(entry);
                Ok(())
            })
            .unwrap();
            assert!(parts[from..].windows(2).all(|pair| in_order(&pair[1], &pair[0])));
        }
        assert_eq!(parts.len(), all.len());
    }
    entries.sort_by_key(|entry| (entry.hash, entry.relative));
    all.sort_by_key(|entry| (entry.hash, entry.relative));
    assert!(all == entries);
}

#[test]
fn few_keys_are_read_back_in_every_range() {
    let env = MemoryEnv::new();
    for count in [0, 1, 127, 3000] {
        holds(&env, build(&*env, 0..count));
    }
}

#[test]
fn more_keys_than_fit_in_memory_are_read_back() {
    let env = MemoryEnv::new();
    holds(&env, build(&*env, 0..250_000));
    holds(&env, build(&*env, 0..120_000));
    let names: Vec<String> = env.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [PATH.trim_start_matches('/')], "nothing else stays");
}

#[test]
fn a_key_that_is_written_over_and_over_is_read_back_in_its_order() {
    let env = MemoryEnv::new();
    holds(&env, build(&*env, (0..240_000).map(|i| if i % 16 == 0 { i } else { 7 })));
}

#[test]
fn what_is_not_about_this_segment_or_not_what_was_written_is_no_file() {
    let env = MemoryEnv::new();
    build(&*env, 0..1000);
    let whole = opened(&env, of(1000)).unwrap();
    assert!(whole.flags().say(KeysFlags::TOMBSTONES) && !whole.flags().say(KeysFlags::NULL_KEYS));
    assert!(opened(&env, KeysOf { generation: 1, ..of(1000) }).is_none());
    assert!(opened(&env, KeysOf { size: SIZE - 1, ..of(1000) }).is_none());
    assert!(opened(&env, of(1001)).is_none());
    let file = env.open(Path::new(PATH), Open::Write).unwrap();
    let len = file.len().unwrap();
    // An entry: the file opens, and reading it says where.
    write_all_at(&*file, &[0xff; 4], 64 + 5000).unwrap();
    let damaged = opened(&env, of(1000)).unwrap();
    let error = damaged.newest_first(HashRange::ALL, |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains(PATH), "{error}");
    // The checksums, and the length.
    write_all_at(&*file, &[0xff; 4], len - 9).unwrap();
    assert!(opened(&env, of(1000)).is_none());
    build(&*env, 0..1000);
    env.open(Path::new(PATH), Open::Write).unwrap().set_len(len - 1).unwrap();
    assert!(opened(&env, of(1000)).is_none());
    env.remove_file(Path::new(PATH)).unwrap();
    assert!(opened(&env, of(1000)).is_none());
}

/// A file and the places of its entries that go over: those below `end` whose place is a multiple of `every`, moved by
/// `by`.
struct Kept {
    file: KeyFile,
    every: u32,
    by: u32,
}

impl Merge for Kept {
    fn file(&self) -> &KeyFile {
        &self.file
    }

    fn place(&self, relative: u32) -> Option<u32> {
        relative.is_multiple_of(self.every).then(|| self.by + relative)
    }
}

/// The key of each record of a segment, by its place.
type KeyAt = fn(u32) -> u32;

/// Builds a file for each of these lists of keys and merges what is kept of them: it holds just that.
fn merges(lists: &[(u32, KeyAt)], every: u32) {
    let env = MemoryEnv::new();
    let (mut expected, mut sources, mut by) = (Vec::new(), Vec::new(), 0);
    for (count, key) in lists {
        let entries = build(&*env, (0..*count).map(key));
        let kept = entries.iter().filter(|entry| entry.relative.is_multiple_of(every));
        expected.extend(kept.map(|entry| KeyEntry { relative: by + entry.relative, ..*entry }));
        let path = format!("/{by}.keys");
        env.rename(Path::new(PATH), Path::new(&path)).unwrap();
        let pool = FilePool::new(Arc::clone(&env) as Arc<dyn Env>, ReadMode::Pread, 4);
        let file = KeyFile::open(&pool, path.into(), of(*count)).unwrap().unwrap();
        sources.push(Kept { file, every, by });
        by += count;
    }
    let count = expected.len() as u32;
    let beside =
        merge(&*env, Path::new(PATH), of(count), (SEED, KeysFlags::default()), &sources, count).unwrap();
    env.rename(&beside, Path::new(PATH)).unwrap();
    assert_eq!(
        opened(&env, of(count)).unwrap().flags().say(KeysFlags::TOMBSTONES),
        expected.iter().any(|entry| entry.is_tombstone)
    );
    holds(&env, expected);
    let wrong =
        merge(&*env, Path::new(PATH), of(count + 1), (SEED, KeysFlags::default()), &sources, count + 1);
    assert!(wrong.is_err(), "a count that is not that of the entries");
}

#[test]
fn files_are_merged_into_one_of_what_is_kept() {
    merges(&[(3000, |i| i), (1, |i| i), (5000, |i| i / 2)], 3);
    merges(&[(300_000, |i| i)], 100);
    merges(&[(300_000, |i| i)], 1);
    merges(&[(150_000, |i| i), (200, |i| i), (150_000, |i| i)], 2);
}

#[test]
fn keys_that_are_written_over_and_over_are_merged_in_their_order() {
    let mostly_one = |i| if i % 64 == 0 { i } else { 7 };
    merges(&[(200_000, mostly_one), (20_000, |i| i), (150_000, mostly_one)], 1);
}

#[test]
fn a_segment_whose_records_are_out_of_order_has_no_keys() {
    let env = MemoryEnv::new();
    let mut builder = KeyBuilder::new(&*env, PATH.into(), Offset::new(40), SEED);
    let mut batch = BatchBuilder::new();
    for _ in 0..2 {
        batch.append(Timestamp::from_millis(1), Some(b"k"), None, &[]).unwrap();
    }
    let mut sealed = batch.seal(Compression::None, None).unwrap();
    let mut bytes = sealed.finish(Offset::new(40), 0, Stamp::CreateTime).to_vec();
    // Each record has eight bytes: length, attributes, time, offset delta, two for the key, null, no headers.
    (bytes[HEADER_LEN + 3], bytes[HEADER_LEN + 11]) = (2, 0);
    builder.add(&RecordBatch::parse(bytes.into()).unwrap()).unwrap().unwrap();
    let beside = builder.finish(2, SIZE, of(2).next).unwrap();
    env.rename(&beside, Path::new(PATH)).unwrap();
    let file = opened(&env, of(2)).unwrap();
    assert_eq!(file.count(), 0);
    assert!(file.flags().say(KeysFlags::OUT_OF_ORDER));
}

/// A file whose checksums are right, of so many entries that are zeros.
fn put(env: &MemoryEnv, count: u32, bucket_bits: u8, starts: &[u32]) {
    let KeysOf { generation, size, base, next } = of(count);
    let (flags, seed) = (KeysFlags::default(), SEED);
    let header = KeysHeader { flags, seed, generation, size, base, next, count, bucket_bits };
    let covered =
        [vec![0; count as usize * 20], starts.iter().flat_map(|start| start.to_be_bytes()).collect()]
            .concat();
    let mut summer = KeySummer::default();
    summer.update(&covered);
    let file = env.open(Path::new(PATH), Open::Create).unwrap();
    file.set_len(0).unwrap();
    write_all_at(&*file, &[&header.encode()[..], &covered, &summer.finish()].concat(), 0).unwrap();
}

#[test]
fn buckets_in_which_entries_would_be_met_again_and_again_are_no_file_of_keys() {
    let env = MemoryEnv::new();
    let is_read = |count, bits, starts: &[u32]| {
        put(&env, count, bits, starts);
        opened(&env, of(count)).is_some()
    };
    assert!(is_read(300, 2, &[0, 0, 100, 300]) && is_read(300, 3, &[0; 8]) && is_read(1, 0, &[0]));
    for starts in [[0, 300, 0, 300], [0, 200, 100, 300], [0, 0, 0, 301], [1, 1, 1, 1]] {
        assert!(!is_read(300, 2, &starts), "{starts:?}");
    }
    assert!(!is_read(300, 1, &[0, 150]), "too few buckets");
    let most = SIZE as u32 * 1024;
    assert!(KeysHeader::bits_for(most) <= 24);
    for (count, fits) in [(most, true), (most + 1, false)] {
        let KeysOf { generation, size, base, next } = of(count);
        let (flags, seed, bucket_bits) = (KeysFlags::default(), SEED, KeysHeader::bits_for(count));
        let header = KeysHeader { flags, seed, generation, size, base, next, count, bucket_bits };
        assert_eq!(KeysHeader::decode(&header.encode()).is_ok(), fits, "{count} records in {size} bytes");
    }
}
