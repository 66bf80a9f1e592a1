//! Holes, tails of zeros and pieces of batches in a file, in memory and on the disk, through the cache and past it.

use super::*;
use crate::{
    codec::builder::{BatchBuilder, Stamp},
    env::{Env, Open, memory::MemoryEnv, real::RealEnv, write_all_at},
    storage::files::{FilePool, ReadMode},
    types::{Compression, Timestamp},
};
use std::{path::Path, sync::Arc};

/// A batch of one record of so many bytes.
fn batch(offset: u64, len: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + offset) as u8).collect();
    let mut builder = BatchBuilder::new();
    builder.append(Timestamp::from_millis(7), None, Some(&value), &[]).unwrap();
    builder.seal(Compression::None, None).unwrap().finish(Offset::new(offset), 0, Stamp::CreateTime).to_vec()
}

/// Checks a file of these pieces, each at its position, with `room` set aside, in memory and on the disk.
fn with_file(room: u64, pieces: &[(u64, &[u8])], check: impl Fn(&PooledFile)) {
    let dir = tempfile::tempdir().unwrap();
    let envs: [(Arc<dyn Env>, &Path); 2] = [(MemoryEnv::new(), Path::new("/")), (RealEnv::new(), dir.path())];
    for (env, dir) in envs.into_iter().take(if cfg!(miri) { 1 } else { 2 }) {
        let path = dir.join("file");
        let file = env.open(&path, Open::CreateNew).unwrap();
        file.allocate(room).unwrap();
        for (position, bytes) in pieces {
            write_all_at(&*file, bytes, *position).unwrap();
        }
        file.sync_data().unwrap();
        check(&FilePool::new(env, ReadMode::Mapped, 4).existing(path, false));
    }
}

#[test]
fn what_follows_a_long_hole_is_found() {
    let (first, last) = (batch(0, 100), batch(1, 100));
    let start = (6 << 20) - 5;
    for source in [Source::Cache, Source::Flushed] {
        with_file(9 << 20, &[(0, &first), (start, &last)], |file| {
            let mut scanner = Scanner::new(file, 9 << 20, 0, Offset::ZERO, false).reading(source);
            assert!(matches!(scanner.next().unwrap(), Found::Batch(_, 0)));
            assert!(matches!(scanner.next().unwrap(), Found::End));
            assert_eq!(scanner.resync().unwrap(), Some(start));
            assert!(matches!(scanner.next().unwrap(), Found::Batch(_, at) if at == start));
            assert_eq!(scanner.resync().unwrap(), None);
        });
    }
}

#[test]
fn a_batch_may_end_in_zeros_that_were_never_written() {
    let value = [&[7; 100][..], &[0; 300_000]].concat();
    let mut builder = BatchBuilder::new();
    builder.append(Timestamp::from_millis(7), None, Some(&value), &[]).unwrap();
    let mut sealed = builder.seal(Compression::None, None).unwrap();
    let bytes = sealed.finish(Offset::ZERO, 0, Stamp::CreateTime);
    with_file(1 << 20, &[(0, &bytes[..500])], |file| {
        let mut scanner = Scanner::new(file, 1 << 20, 0, Offset::ZERO, false).reading(Source::Flushed);
        let Found::Batch(batch, 0) = scanner.next().unwrap() else { panic!("no batch") };
        assert!(batch.bytes() == bytes);
        assert!(matches!(scanner.next().unwrap(), Found::End));
    });
}

#[test]
fn space_that_was_set_aside_is_not_read() {
    with_file(40 << 20, &[(0, &batch(0, 100))], |file| {
        let mut scanner = Scanner::new(file, 40 << 20, 0, Offset::ZERO, false).reading(Source::Flushed);
        assert!(matches!(scanner.next().unwrap(), Found::Batch(_, 0)));
        assert_eq!(scanner.resync().unwrap(), None);
        // Every file system that can set space aside knows where it did; who cannot wrote zeros.
        match file.zeros_from(0).unwrap() {
            Some(zeros) if zeros <= 65_536 => {
                assert!(scanner.bytes_read <= 2 << 20, "{}", scanner.bytes_read)
            }
            told => println!("SKIPPED: this file system says {told:?}"),
        }
    });
}

#[test]
fn a_batch_keeps_its_bytes_when_the_scan_goes_on() {
    let batches: Vec<Vec<u8>> = (0..40)
        .map(|i| batch(i, 1000 + 77_777 * (i as usize % 5) + if i == 17 { 3 << 20 } else { 0 }))
        .collect();
    let all = batches.concat();
    with_file(0, &[(0, &all)], |file| {
        for source in [Source::Cache, Source::Flushed, Source::MediumFrom(0), Source::MediumFrom(1_234_567)] {
            if file.read_past_cache(&mut [0], 0).unwrap().is_none() {
                continue;
            }
            for kept in [0, 1, 3, 40] {
                let mut scanner =
                    Scanner::new(file, all.len() as u64, 0, Offset::ZERO, false).reading(source);
                let mut held = std::collections::VecDeque::new();
                let check =
                    |(batch, bytes): (RecordBatch, &Vec<u8>)| assert!(batch.bytes() == bytes.as_slice());
                for bytes in &batches {
                    let Found::Batch(batch, _) = scanner.next().unwrap() else {
                        panic!("a batch is missing")
                    };
                    held.push_back((batch, bytes));
                    if held.len() > kept {
                        check(held.pop_front().unwrap());
                    }
                }
                held.into_iter().for_each(check);
                assert!(matches!(scanner.next().unwrap(), Found::End));
                // The large one is read twice: to be checked before memory is set aside for it.
                assert!(
                    scanner.bytes_read < all.len() as u64 + (8 << 20),
                    "{} bytes read",
                    scanner.bytes_read
                );
            }
        }
    });
}
