//! Manifests that nobody wrote: what they cost is bounded by what they have, whatever they say.

use super::faults::FaultyEnv;
use super::state::tests::id;
use super::*;
use crate::codec::manifest::Adopted;
use crate::env::memory::MemoryEnv;
use crate::env::{Open, write_all_at};
use crate::types::Offset;
use std::time::{Duration, Instant};

const EPOCH: u64 = 5;
const BYTES: usize = 4 << 20;
/// What is linear takes less than a tenth of this on a slow machine, what is quadratic many times as much.
const AT_MOST: Duration = Duration::from_secs(40);

fn created(partitions: u32, first_slot: u32) -> Entry {
    let name = crate::types::name::TopicName::new("t").unwrap();
    Entry::TopicCreated { id: id(1), name, internal: false, partitions, first_slot, config: vec![] }
}

/// A file with these entries, in appends of some thousand.
fn with_entries(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_header(EPOCH, &mut bytes);
    let all: Vec<Entry> = entries.into_iter().collect();
    for some in all.chunks(4000) {
        codec::encode_append(EPOCH, 0, some, &mut bytes);
    }
    let durable = bytes.len() as u64;
    codec::encode_append(EPOCH, durable, &[], &mut bytes);
    bytes
}

fn open(bytes: &[u8]) -> Result<Manifest> {
    let env = FaultyEnv::new(MemoryEnv::new());
    write_all_at(&*env.memory.open(Path::new("/manifest"), Open::Create).unwrap(), bytes, 0).unwrap();
    let begun = Instant::now();
    let opened = Manifest::open(env, Path::new("/"), HandleRole::ReadWrite);
    assert!(begun.elapsed() < AT_MOST, "{:?} for {} bytes", begun.elapsed(), bytes.len());
    opened
}

#[test]
fn lengths_that_lie_are_believed_by_nobody() {
    for head in [&[0, 1, 0, 0, 0, 63, 0, 0][..], &[0, 1, 0, 0, 0, 0, 0, 20], &[0, 6, 0, 0, 0, 0, 3, 0]] {
        let mut bytes = with_entries([Entry::Opened { epoch: 1 }]);
        let end = bytes.len();
        bytes.extend(head.iter().cycle().take(BYTES));
        let manifest = open(&bytes).unwrap();
        assert_eq!((manifest.state().opened, manifest.inner.lock().len), (1, end as u64));
    }
}

#[test]
fn no_order_of_entries_costs_more_than_another() {
    let n = (BYTES / 40) as u64;
    let (id, partition) = (id(1), 0);
    let segment = |base| Entry::SegmentCreated { id, partition, base: Offset::new(base) };
    let removed = |below| Entry::SegmentsRemoved { id, partition, below: Offset::new(below) };
    let start = |offset| Entry::LogStart { id, partition, offset: Offset::new(offset) };
    let life = |n: u64| Entry::Incarnation { id, partition, number: n as u32, first_offset: Offset::new(n) };
    let adopted = |n: u64| {
        let adopted = Adopted { from: Offset::new(n), next: Offset::new(n + 1), leader_epoch: 0 };
        Entry::Adopted { id, partition, adopted }
    };
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("descending segments", (0..n).rev().map(segment).collect()),
        ("a removal for each segment", (0..n / 2).map(segment).chain((0..n / 2).map(removed)).collect()),
        ("nothing to be removed", (0..n / 2).map(segment).chain((0..n / 2).map(|_| removed(0))).collect()),
        ("lives that end one by one", (1..n / 2).map(life).chain((1..n / 2).map(start)).collect()),
        ("taken in, one by one", (0..n / 2).map(adopted).chain((0..n / 2).map(removed)).collect()),
    ];
    for (what, entries) in cases {
        println!("{what}");
        let made = [created(1, 0)].into_iter().chain(entries);
        let manifest = open(&with_entries(made)).unwrap();
        assert_eq!(manifest.state().topics().count(), 1, "{what}");
        // What readers ask of it is no dearer.
        let state = manifest.state();
        let partition = state.partition(&id, 0).unwrap();
        assert!(partition.segments.iter().all(|s| partition.leader_epoch_in(s.base).is_none_or(|e| e == 0)));
    }
    let opened = (0..n).map(|epoch| Entry::Opened { epoch });
    let many = [created(50_000, 0)].into_iter().chain((0..50_000).map(|partition| Entry::SegmentCreated {
        id,
        partition,
        base: Offset::ZERO,
    }));
    open(&with_entries(many.chain(opened))).unwrap();
}

#[test]
fn a_file_makes_no_more_partitions_than_it_can_speak_of() {
    let refused = |bytes: &[u8]| match open(bytes) {
        Err(Error::Corrupt { path, position, .. }) => {
            assert_eq!(path, Path::new("/manifest"));
            assert!(position <= bytes.len() as u64);
        }
        other => panic!("{:?}", other.map(|m| m.state().topics().count())),
    };
    refused(&with_entries([created(100_000, 0)]));
    // Zeros do not speak.
    let mut long = with_entries([created(100_000, 0)]);
    long.resize(BYTES, 0);
    refused(&long);
    // Nor does it help that the topic goes again.
    let turns = 0..10_000;
    let again = turns.flat_map(|n| [created(100_000, n * 100_000), Entry::TopicDeleted { id: id(1) }]);
    refused(&with_entries(again));
}

#[test]
fn what_is_read_at_once_is_little_though_the_file_is_long() {
    let mut bytes = with_entries([Entry::Opened { epoch: 7 }]);
    let end = bytes.len() as u64;
    bytes.resize(80 << 20, 0);
    let manifest = open(&bytes).unwrap();
    assert_eq!((manifest.state().opened, manifest.inner.lock().len), (7, end));
    manifest.append(&[Entry::Opened { epoch: 8 }], Flush::Now).unwrap();
    assert!(manifest.inner.lock().allocated < 100 << 10);
}

#[test]
fn an_append_longer_than_a_piece_is_read_whole_and_damage_far_behind_is_found() {
    let n = 20_000;
    let id = id(1);
    let segments = (0..n).map(|n| Entry::SegmentCreated { id, partition: 0, base: Offset::new(n) });
    let all: Vec<Entry> = [created(1, 0)].into_iter().chain(segments).collect();
    let mut bytes = Vec::new();
    codec::encode_header(EPOCH, &mut bytes);
    codec::encode_append(EPOCH, 0, &all, &mut bytes);
    let made = bytes.len() as u64;
    codec::encode_append(EPOCH, made, &[], &mut bytes);
    let state = open(&bytes).unwrap().state();
    assert_eq!(state.partition(&id, 0).unwrap().segments.len(), n as usize);
    // What a mark says was durable is no longer there, and the mark is some pieces away.
    for gap in [0, 65_000, 65_536 - 31, 65_536 - 32, 300_000] {
        let mut bytes = bytes.clone();
        let bad = bytes.len() as u64;
        bytes.extend(vec![1; 40]);
        bytes.extend(vec![0; gap]);
        let durable = bytes.len() as u64;
        codec::encode_append(EPOCH, durable, &[], &mut bytes);
        match open(&bytes) {
            Err(Error::Corrupt { position, .. }) => assert_eq!(position, bad, "{gap}"),
            other => panic!("{gap}: {other:?}"),
        }
    }
}
