//! What is built is read back, whatever keys there are, and what is not what was written is not read.

use super::*;
use crate::{
    codec::keys::{HashSeed, KeyEntry, KeysFlags, siphash128},
    env::{Env, Open, memory::MemoryEnv, write_all_at},
    storage::files::{FilePool, ReadMode},
    types::Offset,
};
use std::{path::Path, sync::Arc};

const SEED: HashSeed = HashSeed { first: 3, last: 4 };
const PATH: &str = "/00000000000000000040.keys";

fn of(count: u32) -> KeysOf {
    let base = Offset::new(40);
    KeysOf { generation: 2, size: 99, base, next: base + u64::from(count) }
}

/// A file of these keys in the order of their offsets; every tenth is deleted.
fn build(env: &dyn Env, keys: impl Iterator<Item = u32>, least_bits: u8) -> Vec<KeyEntry> {
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
    let beside = builder.finish(2, 99, of(count).next, least_bits).unwrap();
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
    file.oldest_first(|entry| {
        all.push(entry);
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
        holds(&env, build(&*env, 0..count, 0));
    }
}

#[test]
fn more_keys_than_fit_in_memory_are_read_back() {
    let env = MemoryEnv::new();
    holds(&env, build(&*env, 0..250_000, 0));
    holds(&env, build(&*env, 0..120_000, 15));
    let names: Vec<String> = env.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [PATH.trim_start_matches('/')], "nothing else stays");
}

#[test]
fn a_key_that_is_written_over_and_over_is_read_back_in_its_order() {
    let env = MemoryEnv::new();
    holds(&env, build(&*env, (0..240_000).map(|i| if i % 16 == 0 { i } else { 7 }), 0));
}

#[test]
fn what_is_not_about_this_segment_or_not_what_was_written_is_no_file() {
    let env = MemoryEnv::new();
    build(&*env, 0..1000, 0);
    let whole = opened(&env, of(1000)).unwrap();
    assert!(whole.flags().say(KeysFlags::TOMBSTONES) && !whole.flags().say(KeysFlags::NULL_KEYS));
    assert!(opened(&env, KeysOf { generation: 1, ..of(1000) }).is_none());
    assert!(opened(&env, KeysOf { size: 98, ..of(1000) }).is_none());
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
    build(&*env, 0..1000, 0);
    env.open(Path::new(PATH), Open::Write).unwrap().set_len(len - 1).unwrap();
    assert!(opened(&env, of(1000)).is_none());
    env.remove_file(Path::new(PATH)).unwrap();
    assert!(opened(&env, of(1000)).is_none());
}
