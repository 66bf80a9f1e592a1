//! Where the manifest ends: beside a writer that never rests.

use super::super::{faults::FaultyEnv, state::tests::id};
use super::*;
use crate::{
    codec::manifest::Entry,
    env::{Env, memory::MemoryEnv},
    storage::manifest::Flush,
    types::{Offset, name::TopicName},
};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// A handle, and the marks that it goes by.
fn open(env: Arc<dyn Env>, access: Access) -> (Manifest, Arc<Marks>) {
    let marks = Arc::new(Marks::open(Arc::clone(&env), Path::new("/"), access).unwrap());
    (Manifest::open(env, Path::new("/"), access).unwrap().marked_in(Arc::clone(&marks)), marks)
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
        let writer = open(memory.clone(), Access::ReadWrite);
        writer.0.append(&[created(1, 0)], Flush::Now).unwrap();
        write_on(&writer, 0);
        let (watching, _) = open(env.clone(), Access::ReadOnly);
        let next = AtomicU64::new(2);
        env.meanwhile(move |_| {
            let base = next.fetch_add(2, Ordering::Relaxed);
            match renews {
                false => write_on(&writer, base),
                true => write_on(&open(memory.clone(), Access::ReadWrite), base),
            }
        });
        for _ in 0..3 {
            watching.check_end().unwrap_or_else(|error| panic!("renews {renews}: {error}"));
        }
    }
}
