//! Holes, tails of zeros and pieces of batches in a file, in memory and on the disk, through the cache and past it.

use super::{
    search::{SEARCHED_LEAST, SEARCHED_TIMES},
    *,
};
use crate::{
    codec::{
        builder::{BatchBuilder, Stamp},
        compress::is_available,
    },
    env::{Env, File, Open, memory::MemoryEnv, real::RealEnv, write_all_at},
    error::Error,
    storage::files::{FilePool, PooledFile, ReadMode},
    types::{Compression, Timestamp},
};
use std::{io, path::Path, sync::Arc};

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
    for source in [ReadPath::Cache, ReadPath::Flushed] {
        with_file(9 << 20, &[(0, &first), (start, &last)], |file| {
            let scanner = || Scanner::new(file, 9 << 20, 0, Offset::ZERO, false).reading(source);
            let mut unproven = scanner();
            assert!(matches!(unproven.next().unwrap(), ScanItem::Batch(_, 0)));
            assert_eq!(unproven.resync().unwrap(), None, "nothing says that it is in its place");
            let mut positions = KnownPositions::default();
            positions.add(start, Offset::new(1));
            let mut scanner = scanner().with_known_positions(positions);
            assert!(matches!(scanner.next().unwrap(), ScanItem::Batch(_, 0)));
            assert!(matches!(scanner.next().unwrap(), ScanItem::End));
            assert_eq!(scanner.resync().unwrap(), Some(start));
            assert!(matches!(scanner.next().unwrap(), ScanItem::Batch(_, at) if at == start));
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
        let mut scanner = Scanner::new(file, 1 << 20, 0, Offset::ZERO, false).reading(ReadPath::Flushed);
        let ScanItem::Batch(batch, 0) = scanner.next().unwrap() else { panic!("no batch") };
        assert!(batch.bytes() == bytes);
        assert!(matches!(scanner.next().unwrap(), ScanItem::End));
    });
}

#[test]
fn space_that_was_set_aside_is_not_read() {
    with_file(40 << 20, &[(0, &batch(0, 100))], |file| {
        let mut scanner = Scanner::new(file, 40 << 20, 0, Offset::ZERO, false).reading(ReadPath::Flushed);
        assert!(matches!(scanner.next().unwrap(), ScanItem::Batch(_, 0)));
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
        for source in
            [ReadPath::Cache, ReadPath::Flushed, ReadPath::MediumFrom(0), ReadPath::MediumFrom(1_234_567)]
        {
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
                    let ScanItem::Batch(batch, _) = scanner.next().unwrap() else {
                        panic!("a batch is missing")
                    };
                    held.push_back((batch, bytes));
                    if held.len() > kept {
                        check(held.pop_front().unwrap());
                    }
                }
                held.into_iter().for_each(check);
                assert!(matches!(scanner.next().unwrap(), ScanItem::End));
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

/// A file that tells something else of zeros, and that breaks.
#[derive(Debug)]
struct Other {
    file: Arc<dyn File>,
    /// What it says of zeros.
    zeros_from: Option<u64>,
    /// What comes of reading past the cache, the last one first; it succeeds when there is none left.
    fails: std::sync::Mutex<Vec<Option<io::ErrorKind>>>,
}

impl File for Other {
    crate::env::forward_to_file!(read_at, write_at, sync_data, len, set_len, allocate, region);

    fn read_past_cache(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        match self.fails.lock().unwrap().pop().flatten() {
            Some(kind) => Err(kind.into()),
            // As a medium does that cannot give all at once.
            None => {
                let len = buf.len().min(100_000);
                self.file.read_past_cache(&mut buf[..len], position)
            }
        }
    }
    fn zeros_from(&self, position: u64) -> Option<u64> {
        self.zeros_from.map(|zeros_from| zeros_from.max(position))
    }
}

/// Checks a file that holds `bytes` and says that zeros begin at `zeros_from`, and whose reads past the cache fail first.
fn with_other(
    bytes: &[u8],
    zeros_from: Option<u64>,
    fails: &[Option<io::ErrorKind>],
    check: impl Fn(&PooledFile),
) {
    let env = MemoryEnv::new();
    let path = Path::new("/file");
    let file = env.open(path, Open::CreateNew).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    let other = Other { file, zeros_from, fails: std::sync::Mutex::new(fails.to_vec()) };
    let pool = FilePool::new(env, ReadMode::Pread, 4);
    check(&pool.file(path.into(), Open::Write, Some(Arc::new(other))));
}

#[test]
fn a_file_system_that_takes_data_for_a_hole_loses_nothing() {
    let mut batches: Vec<Vec<u8>> = (0..20).map(|i| batch(i, 1000 + 77_777 * (i as usize % 5))).collect();
    let data = batches.concat().len();
    let boundaries =
        batches.iter().scan(0, |at, bytes| Some(std::mem::replace(at, *at + bytes.len()) as u64));
    let lies: Vec<u64> = boundaries.chain((0..data as u64).step_by(1 << 19)).collect();
    batches.push(vec![0; 3 << 20]);
    let all = batches.concat();
    for lie in lies {
        with_other(&all, Some(lie), &[], |file| {
            let mut scanner =
                Scanner::new(file, all.len() as u64, 0, Offset::ZERO, false).reading(ReadPath::Flushed);
            for bytes in &batches[..20] {
                let ScanItem::Batch(batch, _) = scanner.next().unwrap() else {
                    panic!("a batch is missing where zeros are told from {lie} on")
                };
                assert!(batch.bytes() == bytes.as_slice());
            }
            assert!(matches!(scanner.next().unwrap(), ScanItem::End));
            assert_eq!(scanner.resync().unwrap(), None);
        });
        // What is sought behind damage, too.
        with_other(&all, Some(lie), &[], |file| {
            let mut scanner =
                Scanner::new(file, all.len() as u64, 0, Offset::ZERO, true).reading(ReadPath::Flushed);
            let mut found = 0;
            while scanner.resync().unwrap().is_some() {
                assert!(matches!(scanner.next().unwrap(), ScanItem::Batch(..)));
                found += 1;
            }
            assert!(found >= 9, "{found} where zeros are told from {lie} on");
        });
    }
}

#[test]
fn a_scan_goes_on_after_an_error_as_if_there_had_been_none() {
    let batches: Vec<Vec<u8>> = (0..12).map(|i| batch(i, 1000 + 77_777 * (i as usize % 5))).collect();
    let all = batches.concat();
    for fails in 1..8 {
        // A signal, which nobody hears of, then some pieces of the chunk, and the error.
        let mut errors = vec![Some(io::ErrorKind::Other)];
        errors.extend(vec![None; fails]);
        errors.push(Some(io::ErrorKind::Interrupted));
        let errors = errors.repeat(fails);
        with_other(&all, None, &errors, |file| {
            let mut scanner = Scanner::new(file, all.len() as u64, 0, Offset::ZERO, false)
                .reading(ReadPath::MediumFrom(4097));
            let (mut next, mut failed) = (0, 0);
            while next < batches.len() {
                match scanner.next() {
                    Ok(ScanItem::Batch(batch, _)) => {
                        assert!(batch.bytes() == batches[next].as_slice());
                        next += 1;
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(error) => {
                        let Error::Io { source, .. } = &error else { panic!("{error}") };
                        assert_eq!(source.kind(), io::ErrorKind::Other);
                        failed += 1;
                    }
                }
            }
            assert_eq!(failed, fails);
            assert!(matches!(scanner.next().unwrap(), ScanItem::End));
        });
    }
}

/// Checks a file of a tebibyte that has these bytes at its beginning, and nothing else.
fn with_a_tebibyte(bytes: &[u8], check: impl Fn(&PooledFile)) {
    let env = MemoryEnv::new();
    let path = Path::new("/file");
    let file = env.open(path, Open::CreateNew).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file.set_len(TEBIBYTE).unwrap();
    check(&FilePool::new(env, ReadMode::Pread, 4).file(path.into(), Open::Write, Some(file)));
}

const TEBIBYTE: u64 = 1 << 40;

#[test]
fn what_was_never_written_is_not_read_to_its_end() {
    // The second one bears out the place of the first.
    let last = [&[0; 100][..], &batch(1, 100), &batch(2, 100)].concat();
    with_a_tebibyte(&[batch(0, 100), last].concat(), |file| {
        for source in [ReadPath::Cache, ReadPath::Flushed] {
            let mut scanner =
                Scanner::new(file, TEBIBYTE, 0, Offset::ZERO, false).reading(source).below(Offset::new(9));
            assert!(matches!(scanner.next().unwrap(), ScanItem::Batch(_, 0)));
            assert!(matches!(scanner.next().unwrap(), ScanItem::End));
            assert!(scanner.resync().unwrap().is_some(), "behind a hundred zeros");
            assert!(matches!(scanner.next().unwrap(), ScanItem::Batch(..)));
            assert!(matches!(scanner.next().unwrap(), ScanItem::Batch(..)));
            assert!(matches!(scanner.next().unwrap(), ScanItem::End));
            assert_eq!(scanner.resync().unwrap(), None);
            assert!(scanner.bytes_read < 8 << 20, "{source:?}: {}", scanner.bytes_read);
        }
    });
}

#[test]
fn the_sum_of_a_batch_is_told_without_reading_the_zeros_at_its_end() {
    let value = [&[7; 100][..], &vec![0; 5 << 20]].concat();
    let mut builder = BatchBuilder::new();
    builder.append(Timestamp::from_millis(7), None, Some(&value), &[]).unwrap();
    let mut sealed = builder.seal(Compression::None, None).unwrap();
    let bytes = sealed.finish(Offset::ZERO, 0, Stamp::CreateTime).to_vec();
    with_a_tebibyte(&bytes[..500], |file| {
        let mut scanner = Scanner::new(file, TEBIBYTE, 0, Offset::ZERO, false);
        let ScanItem::Batch(batch, 0) = scanner.next().unwrap() else { panic!("no batch") };
        assert!(batch.bytes() == bytes.as_slice());
    });
    // One of two gibibytes, whose sum is another.
    let mut large = bytes[..500].to_vec();
    large[8..12].copy_from_slice(&(i32::MAX - 12).to_be_bytes());
    with_a_tebibyte(&large, |file| {
        let mut scanner = Scanner::new(file, TEBIBYTE, 0, Offset::ZERO, false);
        let ScanItem::Bad(reason) = scanner.next().unwrap() else { panic!("no batch of ours") };
        assert!(reason.contains("checksum"), "{reason}");
        assert!(scanner.bytes_read < 8 << 20, "{}", scanner.bytes_read);
    });
}

#[test]
fn batches_that_are_none_cost_a_multiple_of_what_is_there_and_no_more() {
    // Each says it reaches to the end.
    const CLAIMS: usize = 4000;
    let mut bytes = vec![0xaa; 100];
    for i in 0..CLAIMS {
        let mut claim = batch(1 + i as u64, 10)[..61].to_vec();
        claim[8..12].copy_from_slice(&((61 * (CLAIMS - i) - 12) as u32).to_be_bytes());
        bytes.extend(claim);
    }
    with_file(0, &[(0, &bytes)], |file| {
        let mut scanner = Scanner::new(file, bytes.len() as u64, 0, Offset::ZERO, true);
        assert!(matches!(scanner.next().unwrap(), ScanItem::Bad(_)));
        let begun = scanner.search;
        assert_eq!(scanner.resync().unwrap(), None);
        let most = SEARCHED_LEAST + SEARCHED_TIMES * bytes.len() as u64;
        assert!(begun.is_none() && scanner.search.is_some_and(|left| left < most));
        // All of them together would be more than that.
        assert!((CLAIMS * bytes.len() / 2) as u64 > most && scanner.search == Some(0));
    });
}

#[test]
fn batches_that_become_large_are_looked_into_only_for_so_long() {
    let codecs = [Compression::Gzip, Compression::Zstd, Compression::Lz4, Compression::Snappy];
    let Some(codec) = codecs.into_iter().find(|codec| is_available(*codec)) else { return };
    let mut builder = BatchBuilder::new();
    builder.append(Timestamp::from_millis(7), None, Some(&vec![0; 3 << 20]), &[]).unwrap();
    let sealed = builder.seal(codec, None).unwrap().finish(Offset::ZERO, 0, Stamp::CreateTime).to_vec();
    // Ten offsets, of which the next batch has the sixth.
    let claims = |base: u64| {
        let mut bytes = sealed.clone();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes[23..27].copy_from_slice(&9u32.to_be_bytes());
        let crc = crc32c(&bytes[CRC_START..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let all: Vec<u8> = (0..14).flat_map(|i| [claims(6 * i), batch(6 * i + 5, 10)].concat()).collect();
    with_file(0, &[(0, &all)], |file| {
        let mut scanner = Scanner::new(file, all.len() as u64, 0, Offset::ZERO, true);
        let mut looked_into = 0;
        while let ScanItem::Bad(reason) = scanner.next().unwrap() {
            assert!(reason.contains("claims the offsets"), "{reason}");
            looked_into += 1;
            scanner.resync().unwrap().unwrap();
            assert!(matches!(scanner.next().unwrap(), ScanItem::Batch(..)));
        }
        // 32 MiB of them, and what their own bytes add.
        assert!((10..13).contains(&looked_into), "{looked_into}");
    });
}

#[test]
fn looking_for_what_bears_out_a_batch_costs_a_multiple_of_what_is_there_and_no_more() {
    const PAIRS: u64 = 150;
    // A whole batch, and a header that has the next one far ahead. Each look there reads a chunk, and the way back another.
    let mut ahead = batch(0, 10)[..61].to_vec();
    ahead[8..12].copy_from_slice(&(2u32 << 20).to_be_bytes());
    let pairs = (0..PAIRS).flat_map(|i| [&batch(20 + 2 * i, 10)[..], &ahead].concat());
    let bytes: Vec<u8> =
        std::iter::repeat_n(0xaa, 100).chain(pairs).chain(std::iter::repeat_n(0xaa, 4 << 20)).collect();
    with_file(0, &[(0, &bytes)], |file| {
        let mut scanner = Scanner::new(file, bytes.len() as u64, 0, Offset::new(10), false);
        assert!(matches!(scanner.next().unwrap(), ScanItem::Bad(_)));
        assert_eq!(scanner.resync().unwrap(), None);
        let most = SEARCHED_LEAST + SEARCHED_TIMES * bytes.len() as u64;
        assert!(scanner.bytes_read < most + (4 << 20), "{} bytes read", scanner.bytes_read);
        assert_eq!(scanner.search, Some(0));
    });
}
