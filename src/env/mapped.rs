//! Files as memory, and memory that a child does not inherit: the one file with unsafe code.
//!
//! [`map`] makes a read-only, shared mapping of the first bytes of a file; [`Region::get`] hands out parts of it as
//! [`Bytes`], without a copy.
//!
//! # Why this is sound
//!
//! A `&[u8]` promises three things for as long as it lives: that its memory is there, that it was initialized, and that
//! nobody changes it. Each has its own argument.
//!
//! * **It is there.** A slice is made only in [`Slice::as_ref`], whose `Slice` holds the mapping alive; [`Bytes`] keeps
//!   its owner until the last clone and sub-slice is gone. The mapping has a fixed place until it is dropped, and it is
//!   private to this file. `start` and `len` were checked against its length.
//! * **It is initialized.** Pages of a file are, always.
//! * **Nobody changes it.** No reference to memory outside a range that was asked for ever exists: the mapping itself
//!   is held as a raw pointer ([`MmapRaw`]), and a slice covers exactly the range. The mapping is read-only, so nobody
//!   writes through it. Files are written with positional writes, by one process that holds the directory's lock; it
//!   writes, and cuts, only behind the published end, and callers ask only for published bytes, so the two never meet: bytes,
//!   once published, are never written again. That the ones published are seen in full is the business of whoever
//!   publishes (a release store of the end after the write; an acquire load before `get`), and of the operating
//!   system, whose page cache is one for `write` and `mmap`.
//!
//! What is assumed and cannot be checked: that no foreign program writes into, or shortens, the files of a directory
//! that is open. A foreign write would be seen as changed bytes; touching a page behind a shortened end, or one that
//! the medium cannot deliver, ends the process with SIGBUS. To catch the honest mistakes, the file's length is asked for
//! before the first touch beyond the largest length seen so far, and a range that the file does not have is
//! `UnexpectedEof`. Who cannot assume this reads positionally instead.
//!
//! The word of [`cleared_in_children`] lies at the beginning of an anonymous mapping, which is never unmapped and is
//! private to this file: it is there for as long as the process, zero at first and in every child, aligned to a page, and
//! reached through atomic operations alone.
#![expect(unsafe_code, reason = "the one file that argues for it, see above")]

use super::Region;
use super::sync::{AtomicU64, Mutex, Ordering};
use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};
use std::{fmt, fs, io, ops::Range, slice, sync::Arc, sync::atomic};

/// A word that is zero at first, and in every child that is forked after it was asked for, whatever it was in the parent;
/// `None` where the system has no such memory.
#[inline]
pub(super) fn cleared_in_children() -> Option<&'static atomic::AtomicU64> {
    let word = WORD.load(atomic::Ordering::Acquire);
    match word.is_null() {
        true => map_word(),
        // SAFETY: what was stored there is one of the two below: an initialized word that is never freed, and that is
        // only ever reached as an atomic.
        false if !std::ptr::eq(word, &NO_WORD) => Some(unsafe { &*word }),
        false => None,
    }
}

/// Where the word lies: nowhere before it was first asked for, at [`NO_WORD`] where there can be none. Not a `OnceLock`,
/// which a child would find locked if it was forked meanwhile.
static WORD: atomic::AtomicPtr<atomic::AtomicU64> = atomic::AtomicPtr::new(std::ptr::null_mut());
static NO_WORD: atomic::AtomicU64 = atomic::AtomicU64::new(0);

#[cold]
fn map_word() -> Option<&'static atomic::AtomicU64> {
    let mapping = map_cleared().ok();
    let word = mapping.as_ref().map_or((&raw const NO_WORD).cast_mut(), |m| m.as_mut_ptr().cast());
    let order = atomic::Ordering::SeqCst;
    if WORD.compare_exchange(std::ptr::null_mut(), word, order, order).is_ok() {
        // It stays.
        std::mem::forget(mapping);
    }
    cleared_in_children()
}

#[cfg(target_os = "linux")]
fn map_cleared() -> io::Result<MmapRaw> {
    use rustix::mm::{Advice, madvise};
    let mapping = MmapRaw::from(MmapOptions::new().len(size_of::<atomic::AtomicU64>()).map_anon()?);
    // SAFETY: the whole mapping is ours and nobody has a reference into it; what the call changes is what children see.
    unsafe { madvise(mapping.as_mut_ptr().cast(), mapping.len(), Advice::LinuxWipeOnFork) }?;
    Ok(mapping)
}

#[cfg(not(target_os = "linux"))]
fn map_cleared() -> io::Result<MmapRaw> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Maps the first `capacity` bytes of `file`, which may still be shorter where the system allows it (Unix does).
///
/// The region outlives the file's name and the descriptor. While the file is shorter than `capacity` it keeps a
/// duplicate of the descriptor, to ask for the length; a full one needs none.
pub fn map(file: &fs::File, capacity: u64) -> io::Result<Arc<dyn Region>> {
    let len = usize::try_from(capacity).ok().filter(|len| isize::try_from(*len).is_ok());
    let len = len.ok_or_else(|| invalid(format!("{capacity} bytes are more than this machine can map")))?;
    let seen = file.metadata()?.len();
    let growing = if seen < capacity { Some(file.try_clone()?) } else { None };
    // A mapping of nothing is refused by some systems; nothing of this one byte is ever shown.
    let mapping = MmapOptions::new().len(len.max(1)).map_raw_read_only(file)?;
    Ok(Arc::new(Mapped {
        mapping: Arc::new(mapping),
        capacity,
        seen: AtomicU64::new(seen),
        growing: Mutex::new(growing),
    }))
}

struct Mapped {
    mapping: Arc<MmapRaw>,
    capacity: u64,
    /// The largest length that the file was seen to have.
    seen: AtomicU64,
    /// The file, until it was seen to have `capacity` bytes.
    growing: Mutex<Option<fs::File>>,
}

impl Mapped {
    /// Makes sure that the file has `end` bytes, as far as that can be told.
    fn reach(&self, end: u64) -> io::Result<()> {
        if end <= self.seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut growing = self.growing.lock();
        // None: another thread just saw it full.
        let Some(file) = growing.as_ref() else { return Ok(()) };
        let len = file.metadata()?.len();
        self.seen.fetch_max(len, Ordering::Relaxed);
        if len >= self.capacity {
            *growing = None;
        }
        if end > len {
            let text = format!("the file ends at {len}, before the {end} that were to be read");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(())
    }
}

impl Region for Mapped {
    fn get(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.start > range.end || range.end > self.capacity {
            return Err(invalid(format!("{range:?} is not within the {} bytes mapped", self.capacity)));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.reach(range.end)?;
        // Both fit: they are not beyond the capacity, which was made of a usize.
        let start = range.start as usize;
        let len = (range.end - range.start) as usize;
        Ok(Bytes::from_owner(Slice { mapping: self.mapping.clone(), start, len }))
    }

    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.mapping) > 1
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("capacity", &self.capacity)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// A published part of a mapping, and what keeps it there.
struct Slice {
    mapping: Arc<MmapRaw>,
    start: usize,
    len: usize,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        debug_assert!(self.start + self.len <= self.mapping.len());
        // SAFETY: `start + len` is within the mapping (checked by `get`, the only place that makes a `Slice`), which is
        // one allocation of at most `isize::MAX` bytes that lives as long as `self`. The bytes are initialized and,
        // being published, never written again; see the head of this file.
        unsafe { slice::from_raw_parts(self.mapping.as_ptr().add(self.start), self.len) }
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// What miri can look at: it maps no files, but memory, which is handed out and written behind its end in the same way.
#[cfg(test)]
mod memory_tests {
    use super::*;

    /// A mapping of zeros.
    fn region(len: usize) -> Mapped {
        let mapping = MmapOptions::new().len(len).map_anon().unwrap();
        let (seen, growing) = (AtomicU64::new(len as u64), Mutex::new(None));
        Mapped { mapping: Arc::new(mapping.into()), capacity: len as u64, seen, growing }
    }

    /// As the operating system does it for a positional write.
    fn write(region: &Mapped, bytes: &[u8], position: usize) {
        assert!(position + bytes.len() <= region.mapping.len());
        // SAFETY: within the mapping, which was made writable, and no slice of these bytes was handed out yet.
        unsafe {
            let place = region.mapping.as_mut_ptr().add(position);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
    }

    #[test]
    fn published_bytes_stay_while_others_are_written_behind_them() {
        let region = region(64);
        write(&region, b"first", 0);
        let first = region.get(0..5).unwrap();
        let shown: &[u8] = &first;
        write(&region, b"second", 5);
        let second = region.get(5..11).unwrap();
        assert_eq!((shown, &second[..]), (&b"first"[..], &b"second"[..]));
        assert_eq!(&region.get(3..8).unwrap()[..], b"stsec");
        assert!(region.get(60..65).is_err());
    }

    #[test]
    fn a_reader_sees_what_was_published_by_another_thread() {
        let region = region(256);
        let published = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..16_u8 {
                    write(&region, &[i; 16], usize::from(i) * 16);
                    published.store((u64::from(i) + 1) * 16, Ordering::Release);
                }
            });
            let mut end = 0;
            while end < 256 {
                end = published.load(Ordering::Acquire);
                let bytes = region.get(0..end).unwrap();
                assert!(bytes.chunks(16).zip(0..).all(|(chunk, i)| chunk == [i; 16]));
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn parts_of_bytes_hold_the_mapping_after_the_region_is_gone() {
        let region = region(32);
        write(&region, b"0123456789", 0);
        let part = region.get(2..8).unwrap().slice(1..4);
        drop(region);
        let clone = part.clone();
        drop(part);
        std::thread::spawn(move || assert_eq!(&clone[..], b"345")).join().unwrap();
    }
}

#[cfg(test)]
#[cfg(all(unix, not(miri)))]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn mapped(content: &[u8], capacity: u64) -> (fs::File, Arc<dyn Region>) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        let region = map(&file, capacity).unwrap();
        (file, region)
    }

    #[test]
    fn a_range_outside_the_mapping_is_refused() {
        let (_file, region) = mapped(b"0123456789", 20);
        let kind = |range| region.get(range).unwrap_err().kind();
        assert_eq!(kind(0..21), io::ErrorKind::InvalidInput);
        assert_eq!(kind(u64::MAX - 1..u64::MAX), io::ErrorKind::InvalidInput);
        #[expect(clippy::reversed_empty_ranges, reason = "what is asked for is wrong on purpose")]
        let backwards = 5..4;
        assert_eq!(kind(backwards), io::ErrorKind::InvalidInput);
        assert!(map(&tempfile::tempfile().unwrap(), u64::MAX).is_err());
    }

    #[test]
    fn a_range_that_the_file_does_not_have_yet_is_the_end_of_the_file() {
        let (file, region) = mapped(b"0123456789", 1 << 20);
        assert_eq!(region.get(0..11).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(&region.get(2..10).unwrap()[..], b"23456789");
        file.write_all_at(b"x", 500_000).unwrap();
        assert_eq!(&region.get(500_000..500_001).unwrap()[..], b"x");
        file.set_len(1 << 20).unwrap();
        assert_eq!(&region.get((1 << 20) - 1..1 << 20).unwrap()[..], b"\0");
    }

    #[test]
    fn bytes_outlive_the_region_and_the_file() {
        let (file, region) = mapped(b"0123456789", 10);
        let bytes = region.get(3..6).unwrap();
        drop((file, region));
        assert_eq!(&bytes[..], b"345");
        assert_eq!(&bytes.slice(1..)[..], b"45");
    }

    #[test]
    fn an_empty_file_maps_to_nothing() {
        let (_file, region) = mapped(b"", 0);
        assert!(region.get(0..0).unwrap().is_empty());
        assert!(region.get(0..1).is_err());
    }
}
