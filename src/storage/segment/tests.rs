//! What holds of a segment whatever its source, and whatever takes the name of its file.

use super::*;
use crate::{
    codec::builder::{BatchBuilder, Stamp},
    env::{Env, Open, memory::MemoryEnv, real::RealEnv},
    planted,
    storage::{
        files::ReadMode,
        scan::{LEADER_EPOCH, ScanItem},
        sidecar::{replace_file, write_file},
    },
    types::Compression,
};

const DIR: &str = "/";

/// `count` batches from offset 0 on, each of one record with this value, one after the other.
fn batches(count: u64, value: &[u8]) -> Vec<u8> {
    batches_at(&vec![1; count as usize], value)
}

/// Batches from offset 0 on, each of one record of such a time.
fn batches_at(times: &[i64], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (offset, time) in (0..).zip(times) {
        let mut builder = BatchBuilder::new();
        builder.append(Timestamp::from_millis(*time), None, Some(value), &[]).unwrap();
        let mut sealed = builder.seal(Compression::None, None).unwrap();
        bytes.extend(sealed.finish(Offset::new(offset), LEADER_EPOCH, Stamp::CreateTime));
    }
    bytes
}

fn seal(bytes: &[u8], count: u64, generation: u32) -> Seal {
    Seal {
        next_offset: Offset::new(count),
        bytes: bytes.len() as u64,
        largest_timestamp: Timestamp::from_millis(1),
        generation,
        index_checksum: 0,
        sealed_at: None,
    }
}

/// A sealed segment of these bytes, as a roll leaves it.
fn rolled(pool: &Arc<FilePool>, dir: &Path, bytes: &[u8], count: u64) -> SealedSegment {
    let active = ActiveSegment::create(pool, dir, Offset::ZERO, 0).unwrap();
    active.write(bytes, 0).unwrap();
    active.sync().unwrap();
    active.publish(bytes.len() as u64);
    active.seal(&seal(bytes, count, 0))
}

/// The segment at offset 0 as the manifest lists it.
fn listed(pool: &Arc<FilePool>, dir: &Path, seal: &Seal) -> Arc<Segment> {
    let segment = Segment::existing(pool, dir, Offset::ZERO, seal.bytes, 0, false);
    segment.set_sealed(seal);
    segment
}

/// Readers of both openings and both modes hold a segment on a disk whose descriptor was given back.
fn each_evicted(check: impl Fn(&Arc<dyn Env>, &Path, &Arc<FilePool>, &Arc<Segment>, &[u8])) {
    let temporary = tempfile::tempdir().unwrap();
    let old = batches(3, b"old");
    for (n, mode) in [ReadMode::Mapped, ReadMode::Pread].into_iter().enumerate() {
        for is_rolled in [true, false] {
            let on_disk = temporary.path().join(format!("{n}-{is_rolled}"));
            std::fs::create_dir(&on_disk).unwrap();
            let (env, dir): (Arc<dyn Env>, &Path) = (RealEnv::new(), &on_disk);
            let pool = FilePool::new(Arc::clone(&env), mode, 4);
            let sealed = rolled(&pool, dir, &old, 3);
            let segment = if is_rolled { Arc::clone(&sealed) } else { listed(&pool, dir, &seal(&old, 3, 0)) };
            assert_eq!(segment.bytes(0..old.len() as u64).unwrap(), old);
            pool.release();
            assert_eq!(pool.held(), (0, 0), "everything was given back");
            check(&env, dir, &pool, &segment, &old);
        }
    }
}

#[test]
fn a_reader_whose_descriptor_was_evicted_never_reads_the_next_generation() {
    each_evicted(|env, dir, pool, segment, old| {
        let new = batches(3, b"new");
        assert_eq!(old.len(), new.len(), "nothing but the identity tells them apart");
        replace_file(&**env, &SegmentFile::Log.path(dir, Offset::ZERO), &new).unwrap();
        let error = segment.bytes(0..old.len() as u64).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("another file has taken its place"), "{error}");
        assert!(matches!(segment.locate(Offset::new(1)), Err(Error::Corrupt { .. })));
        assert!(segment.scanner(old.len() as u64, 0, Offset::ZERO).next().is_err());
        let successor = listed(pool, dir, &seal(&new, 3, 1));
        assert_ne!(successor.id(), segment.id());
        assert_eq!(successor.bytes(0..new.len() as u64).unwrap(), new);
    });
}

#[test]
fn a_reader_that_holds_bytes_keeps_them_when_the_name_is_taken() {
    each_evicted(|env, dir, _, segment, old| {
        let held = segment.bytes(0..old.len() as u64).unwrap();
        replace_file(&**env, &SegmentFile::Log.path(dir, Offset::ZERO), &batches(3, b"new")).unwrap();
        assert_eq!(held, old);
        assert_eq!(segment.bytes(0..old.len() as u64).unwrap(), old, "what is open stays open");
    });
}

#[test]
fn a_file_that_is_first_opened_after_a_swap_is_not_taken_for_the_one_before() {
    let (env, dir) = (MemoryEnv::new(), Path::new(DIR));
    let pool = FilePool::new(env.clone(), ReadMode::Pread, 4);
    let (old, new) = (batches(3, b"old"), batches(3, b"new"));
    write_file(&*env, &SegmentFile::Log.path(dir, Offset::ZERO), &new).unwrap();
    let successor = listed(&pool, dir, &seal(&new, 3, 1));
    SealedSegment::of(&successor).unwrap().write_sidecars(Offset::new(5), None).unwrap();
    let never_opened = listed(&pool, dir, &seal(&old, 3, 0));
    let error = never_opened.check_pages(0..old.len() as u64).unwrap_err();
    assert!(error.to_string().contains("another generation of the segment"), "{error}");
    assert_eq!(successor.check_pages(0..new.len() as u64).unwrap(), PagesVerdict::Good);
}

#[test]
fn a_retired_segment_reads_no_file_that_bears_its_name() {
    let read = || {
        let pool = FilePool::new(MemoryEnv::new(), ReadMode::Pread, 4);
        let bytes = batches(4, b"old");
        let old = rolled(&pool, Path::new(DIR), &bytes, 4);
        old.set_index(old.empty_index());
        old.forget_index();
        old.retire();
        let is_refused = |error: Option<Error>| {
            error.is_some_and(|error| error.to_string().contains("another generation of the segment"))
        };
        assert!(is_refused(old.locate(Offset::new(3)).err()), "an index is read");
        assert!(is_refused(old.check_pages(0..10).err()), "page checksums are read");
        assert_eq!(old.bytes(0..bytes.len() as u64).unwrap(), bytes, "what is open stays open");
    };
    planted::hold(read, &["a_retired_segment_reads_by_name"]);
}

#[test]
fn an_index_of_another_generation_hides_no_record_where_its_checksum_is_unknown() {
    let ask = || {
        let (env, dir) = (MemoryEnv::new(), Path::new(DIR));
        let pool = FilePool::new(env.clone(), ReadMode::Pread, 4);
        let bytes = batches_at(&[10, 40, 11, 12], b"old");
        write_file(&*env, &SegmentFile::Log.path(dir, Offset::ZERO), &bytes).unwrap();
        let listed = listed(&pool, dir, &seal(&bytes, 4, 0));
        // Of its successor the last batch is left.
        let mut index = listed.empty_index();
        let header = BatchHeader::parse(&bytes[bytes.len() / 4 * 3..]).unwrap();
        index.add(indexed(&header, 0));
        index.close();
        listed.write_index(&index.freeze()).unwrap();
        let unvouched = Segment::existing(&pool, dir, Offset::ZERO, bytes.len() as u64, 0, false);
        assert_eq!(unvouched.index_checksum(), sidecars::UNKNOWN);
        let floor = unvouched.floor_of_time(Timestamp::from_millis(30), Offset::new(4)).unwrap();
        assert!(floor.is_some_and(|floor| floor <= 1), "{floor:?}: the record of that time is the second");
        assert_eq!(unvouched.largest_timestamp().unwrap().as_millis(), 40);
    };
    planted::hold(ask, &["an_unknown_index_checksum_is_believed"]);
}

#[test]
fn sealing_cannot_be_undone() {
    let (env, dir) = (MemoryEnv::new(), Path::new(DIR));
    let pool = FilePool::new(env, ReadMode::Pread, 4);
    let bytes = batches(2, b"x");
    let sealed = rolled(&pool, dir, &bytes, 2);
    let index = sealed.empty_index();
    assert!(matches!(ActiveSegment::resume(&sealed, index, 0), Err(Error::Corrupt { .. })));
    let listed = Segment::existing(&pool, dir, Offset::ZERO, bytes.len() as u64, 0, true);
    assert!(SealedSegment::of(&listed).is_none());
    ActiveSegment::resume(&listed, listed.empty_index(), 0).unwrap();
}

/// Bytes that lie in no file.
#[derive(Debug)]
struct Elsewhere(Bytes);

impl SegmentSource for Elsewhere {
    fn path(&self) -> &Path {
        Path::new("bucket/object")
    }
    fn len(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn bytes(&self, range: Range<u64>, _ahead: u64) -> Result<Bytes> {
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
    fn read_full(&self, buf: &mut [u8], position: u64) -> Result<usize> {
        let rest = self.0.get(position as usize..).unwrap_or_default();
        let read = rest.len().min(buf.len());
        buf[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
    fn lost_its_name(&self) {}
}

#[test]
fn a_segment_reads_from_a_source_that_is_no_file() {
    let (env, dir) = (MemoryEnv::new(), Path::new(DIR));
    let pool = FilePool::new(env.clone(), ReadMode::Mapped, 4);
    let bytes = batches(5, b"far away");
    let source = Arc::new(Elsewhere(bytes.clone().into()));
    let segment = Segment::over(&pool, dir, Offset::ZERO, source, bytes.len() as u64, 0, Indexes::OnDisk);
    let segment = Arc::new(segment);
    segment.set_sealed(&seal(&bytes, 5, 0));
    segment.expect_no_gaps(Some(LEADER_EPOCH));
    let located = segment.locate(Offset::new(3)).unwrap().unwrap();
    assert_eq!(located.header.base_offset, Offset::new(3));
    let mut scanner = segment.scanner(bytes.len() as u64, 0, Offset::ZERO);
    while let ScanItem::Batch(..) = scanner.next().unwrap() {}
    assert_eq!(scanner.expected(), Offset::new(5));
    SealedSegment::of(&segment).unwrap().write_sidecars(Offset::new(1), None).unwrap();
    assert_eq!(segment.check_pages(0..bytes.len() as u64).unwrap(), PagesVerdict::Good);
    assert!(ActiveSegment::resume(&segment, segment.empty_index(), 0).is_err(), "only files are written");
    let named = SegmentFile::Log.path(dir, Offset::ZERO);
    write_file(&*env, &named, b"not it").unwrap();
    assert_eq!(segment.bytes(0..bytes.len() as u64).unwrap(), bytes);
}

/// A sealed segment of three batches with page checksums, in whose file `bytes` were written over what lies at `position`
/// afterwards; as an opening finds it.
fn written_over(position: usize, bytes: &[u8], keeps_sums: bool) -> Arc<Segment> {
    let (env, dir) = (MemoryEnv::new(), Path::new(DIR));
    let pool = FilePool::new(env.clone(), ReadMode::Pread, 4);
    let whole = batches(3, b"value");
    // Offsets may be missing, also after the last batch.
    let next = 9;
    rolled(&pool, dir, &whole, next).write_sidecars(Offset::new(next), None).unwrap();
    let log = env.open(&SegmentFile::Log.path(dir, Offset::ZERO), Open::Write).unwrap();
    log.write_at(bytes, position as u64).unwrap();
    if !keeps_sums {
        env.remove_file(&SegmentFile::Pages.path(dir, Offset::ZERO)).unwrap();
    }
    listed(&pool, dir, &seal(&whole, next, 0))
}

fn assert_bad_page<T: std::fmt::Debug>(answer: Result<T>) {
    let error = answer.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { position: 0, .. }), "{error}");
    assert!(error.to_string().contains("a page is not what was written"), "{error}");
}

#[test]
fn a_gap_is_believed_only_where_the_pages_are_what_was_written() {
    let third = batches(3, b"value").len() / 3 * 2;
    let base = 7_u64.to_be_bytes();
    let (asked, other) = (Offset::new(2), Offset::new(7));
    // Without sums nothing tells this from what compaction leaves.
    let segment = written_over(third, &base, false);
    assert_eq!(segment.locate(asked).unwrap().unwrap().header.base_offset, other);
    let segment = written_over(third, &base, true);
    assert_bad_page(segment.locate(asked));
    let segment = written_over(third, &base, true);
    assert_bad_page(segment.locate_past_damage(asked));
    // What is there all the same is found.
    assert_eq!(segment.locate(Offset::new(1)).unwrap().unwrap().header.base_offset, 1);
}

#[test]
fn a_base_offset_above_the_end_of_the_segment_is_damage_where_offsets_may_be_missing() {
    let third = batches(3, b"value").len() / 3 * 2;
    for (base, is_inside) in [(2, true), (8, true), (9, false), (1 << 54, false)] {
        let segment = written_over(third, &u64::to_be_bytes(base), false);
        let mut scanner = segment.scanner(segment.readable(), 0, Offset::ZERO);
        let mut found = Vec::new();
        while let ScanItem::Batch(batch, _) = scanner.next().unwrap() {
            found.push(batch.header().base_offset.value());
        }
        assert_eq!(found.get(2), is_inside.then_some(&base), "{found:?}");
        assert_eq!(matches!(scanner.next().unwrap(), ScanItem::Bad(_)), !is_inside);
    }
}

#[test]
fn an_unknown_version_in_a_bad_page_is_damage() {
    let second = batches(3, b"value").len() / 3;
    let segment = written_over(second + 16, &[9], true);
    assert_bad_page(segment.header_at(second as u64));
    let without = written_over(second + 16, &[9], false).header_at(second as u64).unwrap_err();
    assert!(!without.to_string().contains("a page is not"), "{without}");
}
