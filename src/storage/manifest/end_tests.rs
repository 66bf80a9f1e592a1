//! Where the manifest ends: beside a writer that never rests, and after a release that knows nothing of it.

use super::super::{faults::FaultyEnv, state::tests::id, writing::encode_file};
use super::*;
use crate::{
    codec::manifest::{self as codec, Entry, HEADER_BYTES, Reader},
    env::{Env, Open, memory::MemoryEnv, read_full_at, write_all_at},
    storage::manifest::{Flush, ManifestState},
    types::{Offset, name::TopicName},
};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// A handle, and the marks that it goes by.
fn open(env: Arc<dyn Env>, role: HandleRole) -> (Manifest, Arc<Marks>) {
    let marks = Arc::new(Marks::open(Arc::clone(&env), Path::new("/"), role).unwrap());
    (Manifest::open(env, Path::new("/"), role).unwrap().marked_in(Arc::clone(&marks)), marks)
}

fn created(n: u8, first_slot: u32) -> Entry {
    let name = TopicName::new(format!("topic-{n}")).unwrap();
    Entry::TopicCreated { id: id(n), name, internal: false, partitions: 1, first_slot, config: vec![] }
}

/// What a busy writer does in no time: the manifest grows, the marks say so durably, and the manifest knows that.
fn write_on((manifest, marks): &(Manifest, Arc<Marks>), base: u64) {
    for (base, flush) in [(base, Flush::Now), (base + 1, Flush::Later)] {
        manifest
            .append(&[Entry::SegmentCreated { id: id(1), partition: 0, base: Offset::new(base) }], flush)
            .unwrap();
        marks.flush().unwrap();
    }
}

#[test]
fn a_writer_that_never_rests_is_no_damage() {
    for renews in [false, true] {
        let memory = MemoryEnv::new();
        let env = FaultyEnv::new(Arc::clone(&memory));
        let writer = open(memory.clone(), HandleRole::ReadWrite);
        writer.0.append(&[created(1, 0)], Flush::Now).unwrap();
        write_on(&writer, 0);
        let (watching, _) = open(env.clone(), HandleRole::ReadOnly);
        let next = AtomicU64::new(2);
        env.meanwhile(move |_| {
            let base = next.fetch_add(2, Ordering::Relaxed);
            match renews {
                false => write_on(&writer, base),
                true => write_on(&open(memory.clone(), HandleRole::ReadWrite), base),
            }
        });
        for _ in 0..3 {
            watching.check_end().unwrap_or_else(|error| panic!("renews {renews}: {error}"));
        }
    }
}

fn manifest_of(env: &MemoryEnv) -> Vec<u8> {
    let file = env.open(Path::new("/manifest"), Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_full_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

fn put(env: &MemoryEnv, bytes: &[u8]) {
    let file = env.open(Path::new("/manifest"), Open::Write).unwrap();
    file.set_len(0).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
}

/// What the first release makes of a manifest: it passes over what the file says of itself.
fn as_the_first_release_reads(bytes: &[u8]) -> ManifestState {
    let epoch = codec::decode_header(bytes).unwrap();
    let mut reader = Reader::new(epoch, HEADER_BYTES as u64, &bytes[HEADER_BYTES..]);
    let mut state = ManifestState::default();
    while let Some(append) = reader.next().unwrap() {
        for (_, entry) in append.entries {
            if !matches!(entry, Entry::Numbered { .. } | Entry::MarksDurable { .. }) {
                state.apply(&entry).unwrap();
            }
        }
    }
    state
}

#[test]
fn the_first_release_may_have_the_log_in_between() {
    let env = MemoryEnv::new();
    let mut slot = 0;
    let mut left_before: Option<Vec<u8>> = None;
    for round in 0..4 {
        let (manifest, marks) = open(env.clone(), HandleRole::ReadWrite);
        manifest.check_end().unwrap_or_else(|error| panic!("round {round}: {error}"));
        manifest.append(&[created(2 * round, slot)], Flush::Now).unwrap();
        marks.flush().unwrap();
        let numbered = manifest_of(&env);
        // What the first release left is known for an earlier day's.
        if let Some(earlier) = &left_before {
            put(&env, earlier);
            let earlier = open(env.clone(), HandleRole::ReadWrite).0.check_end();
            assert!(matches!(earlier, Err(Error::Corrupt { .. })), "round {round}: {earlier:?}");
        }
        let mut state = as_the_first_release_reads(&numbered);
        // It gives the next slot to a partition, or none.
        if round % 2 == 1 {
            state.apply(&created(2 * round + 1, state.next_slot())).unwrap();
        }
        slot = state.next_slot();
        let left = encode_file(100 + u64::from(round), &state, None);
        put(&env, &left);
        left_before = Some(left);
    }
}

/// As on a full medium, where a file of the first release is written on in its place until there is space.
#[test]
fn a_manifest_that_gets_its_number_late_takes_no_slot_that_was_promised() {
    let env = MemoryEnv::new();
    let mut state = ManifestState::default();
    state.apply(&created(1, 0)).unwrap();
    write_all_at(&*env.open(Path::new("/manifest"), Open::Create).unwrap(), &encode_file(1, &state, None), 0)
        .unwrap();
    let (manifest, _) = open(env, HandleRole::ReadWrite);
    let promised = manifest.state().free_slot();
    manifest.append(&[Entry::Opened { epoch: 1 }], Flush::Now).unwrap();
    assert!(manifest.state().own().is_some());
    manifest.append(&[created(2, promised)], Flush::Now).unwrap();
    assert_eq!(manifest.state().free_slot(), promised + 1);
}
