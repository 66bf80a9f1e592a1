//! One segment: record batches from a source, their indexes, and how far a reader may go in them.
//!
//! A [`Segment`] is what every reader shares, whether it still grows or not. Two types stand over it: the appender holds the
//! [`ActiveSegment`], the only one that writes; sealing turns that into a [`SealedSegment`], which is never taken back. What
//! is always true: the bytes below [`Segment::readable`] are whole batches that never change; the index says nothing beyond
//! them; once a segment is removed its files lose their names, and a reader that has them open keeps them.
//!
//! Base and generation identify a segment: a rewritten one has the base, and the file names, of its predecessor.

mod active;
pub mod checked_pages;
pub mod damage;
mod held;
mod indexes;
mod locate;
mod order;
pub mod output;
mod rewritten;
mod sealed;
pub mod sidecars;
pub mod source;
#[cfg(test)]
mod tests;

pub use active::ActiveSegment;
pub use checked_pages::PagesVerdict;
pub use held::Held;
pub use indexes::indexed;
pub use locate::Located;
pub use rewritten::open_rewritten;
pub use sealed::SealedSegment;

use super::{
    budget::Charge,
    files::{FilePool, PooledFile},
    layout::SegmentFile,
    scan::{KnownPositions, ScanItem, Scanner, out_of_place},
    sidecar::{read_hint, remove_segment_files},
};
use crate::{
    codec::{
        batch::{BatchHeader, HEADER_LEN},
        index::{AbortedTransaction, OffsetEntry, TimeEntry},
        manifest::Seal,
        pages::PageSums,
    },
    env::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, OnceLock, Ordering, RwLock},
    error::{Error, Result},
    types::{Offset, Timestamp},
};
use bytes::Bytes;
use checked_pages::{CheckedPages, KnownPages};
use damage::{Damage, DamageList};
use indexes::Indexes;
use order::Order;
use source::{SegmentSource, only_zeros};
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How far a mapping of an active segment reaches beyond its data, so that it is not made anew at every growth.
const MAP_AHEAD: u64 = 4 << 20;

/// What is said of a segment that has no file.
pub const MISSING: &str = "the file of a segment is missing";

/// How much of what follows a sealed segment's data is looked at.
const SURPLUS_LOOKED_AT: u64 = 1 << 20;

/// Which segment one is among all that a partition ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    /// The base offset, which names its files.
    pub base: Offset,
    /// How often it was rewritten.
    pub generation: u32,
}

/// What a segment was sealed with.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    generation: u32,
    size: u64,
    at: Option<Timestamp>,
}

/// One segment of a log.
#[derive(Debug)]
pub struct Segment {
    base: Offset,
    dir: PathBuf,
    pool: Arc<FilePool>,
    source: Arc<dyn SegmentSource>,
    /// Whether other files have the names of its own, or are about to.
    retired: AtomicBool,
    /// The source, where it is a file in the partition's directory.
    file: Option<Arc<PooledFile>>,
    readable: AtomicU64,
    /// The checksum of the index files as they should be; 0 where nobody knows.
    index_checksum: AtomicU32,
    /// The largest timestamp, known without an index once the segment is sealed.
    largest: OnceLock<Timestamp>,
    /// Whether the indexes were built again, and their files do not have that yet.
    rebuilt: AtomicBool,
    order: Order,
    index: RwLock<Indexes>,
    /// The aborted transactions whose markers lie here; loaded at the first question.
    aborted: Mutex<Option<Arc<Vec<AbortedTransaction>>>>,
    index_interval: u64,
    /// Damage that a scan has found.
    damage: DamageList,
    /// What it was sealed with.
    sealed: OnceLock<Sealed>,
    /// How long its file was found to be, where that is more than the size that it was sealed with.
    longer: OnceLock<(u64, u64)>,
    pages: KnownPages,
    /// What its files take of the disk budget, but for its file of keys.
    charge: Charge,
    keys_charge: Charge,
}

impl Segment {
    /// A segment whose file exists, with `readable` bytes of whole batches.
    pub fn existing(
        pool: &Arc<FilePool>,
        dir: &Path,
        base: Offset,
        readable: u64,
        index_interval: u64,
        writable: bool,
    ) -> Arc<Self> {
        let file = pool.existing(SegmentFile::Log.path(dir, base), writable);
        Arc::new(Self::over_file(pool, dir, base, file, readable, index_interval, Indexes::OnDisk))
    }

    /// A segment whose batches lie, to be read, in a file of another name, with nothing known of it yet.
    pub fn existing_at(
        pool: &Arc<FilePool>,
        path: PathBuf,
        dir: &Path,
        base: Offset,
        interval: u64,
    ) -> Arc<Self> {
        let file = pool.existing(path, false);
        Arc::new(Self::over_file(pool, dir, base, file, 0, interval, Indexes::OnDisk))
    }

    fn over_file(
        pool: &Arc<FilePool>,
        dir: &Path,
        base: Offset,
        file: Arc<PooledFile>,
        readable: u64,
        index_interval: u64,
        index: Indexes,
    ) -> Self {
        let source = Arc::clone(&file) as Arc<dyn SegmentSource>;
        Segment { file: Some(file), ..Self::over(pool, dir, base, source, readable, index_interval, index) }
    }

    /// A segment whose batches come from `source`, and whose sidecars lie in `dir`.
    fn over(
        pool: &Arc<FilePool>,
        dir: &Path,
        base: Offset,
        source: Arc<dyn SegmentSource>,
        readable: u64,
        index_interval: u64,
        index: Indexes,
    ) -> Self {
        Segment {
            base,
            dir: dir.to_path_buf(),
            pool: Arc::clone(pool),
            source,
            retired: AtomicBool::new(false),
            file: None,
            readable: AtomicU64::new(readable),
            index_checksum: AtomicU32::new(0),
            rebuilt: AtomicBool::new(false),
            largest: OnceLock::new(),
            order: Order::default(),
            index: RwLock::new(index),
            aborted: Mutex::new(None),
            index_interval,
            damage: DamageList::default(),
            sealed: OnceLock::new(),
            longer: OnceLock::new(),
            pages: KnownPages::default(),
            charge: Charge::new(pool.budget(), footprint(readable, index_interval)),
            keys_charge: Charge::of_files(pool.budget()),
        }
    }

    /// From now on the segment is known not to grow, and its page checksums may speak.
    pub fn set_sealed(&self, seal: &Seal) {
        let _ = self.sealed.set(Sealed { generation: seal.generation, size: seal.bytes, at: seal.sealed_at });
        let _ = self.largest.set(seal.largest_timestamp);
        self.know_place(seal.bytes, seal.next_offset);
        self.expect_index(seal.index_checksum);
        self.takes(seal.bytes);
        self.charge.seal();
    }

    /// What its files take of the disk budget.
    pub fn charge(&self) -> &Charge {
        &self.charge
    }

    /// How many bytes go with it.
    pub fn taken(&self) -> u64 {
        self.charge.bytes().saturating_add(self.keys_charge.bytes())
    }

    /// The bytes of its files, where `len` are those of its batches and of what is preallocated.
    pub fn footprint(&self, len: u64) -> u64 {
        footprint(len, self.index_interval)
    }

    /// Its file of keys lies at `path`: how long that is, nobody knew before.
    fn measure_keys(&self, path: &Path) {
        let found = self.pool.env().metadata(path);
        unless_planted!(files_of_keys_are_not_counted => self.keys_charge.set(found.map_or(0, |found| found.len)));
    }

    fn take_nothing(&self) {
        self.charge.release();
        self.keys_charge.release();
    }

    /// Its file of batches has at least `len` bytes, as an opening finds out bit by bit.
    pub fn takes_at_least(&self, len: u64) {
        if self.charge.bytes() < self.footprint(len) {
            self.takes(len);
        }
    }

    /// Its file of batches has `len` bytes.
    pub fn takes(&self, len: u64) {
        self.charge.set(self.footprint(len));
    }

    /// How many bytes it was sealed with.
    pub fn sealed_size(&self) -> Option<u64> {
        self.sealed.get().map(|sealed| sealed.size)
    }

    /// When it was sealed, where that is known.
    pub fn sealed_at(&self) -> Option<Timestamp> {
        self.sealed.get()?.at
    }

    /// Which segment it is: one that was not sealed was never rewritten.
    pub fn id(&self) -> SegmentId {
        let generation = self.sealed.get().map_or(0, |sealed| sealed.generation);
        SegmentId { base: self.base, generation }
    }

    /// The base offset, which names it.
    pub fn base(&self) -> Offset {
        self.base
    }

    /// Where its batches come from.
    pub fn source(&self) -> &dyn SegmentSource {
        &*self.source
    }

    /// What errors call the place of its batches.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// The file of its batches, for a recovery that changes it.
    ///
    /// # Errors
    /// `ReadOnly` where its batches lie elsewhere.
    pub fn file(&self) -> Result<&Arc<PooledFile>> {
        let elsewhere = || Error::ReadOnly { reason: format!("{} is no local file", self.path().display()) };
        self.file.as_ref().ok_or_else(elsewhere)
    }

    /// Says that another file has taken the name of its file and is the same segment.
    pub fn replaced(&self) {
        if let Some(file) = &self.file {
            file.replaced();
        }
    }

    /// Another segment is about to take the names of its files. What a reader has open or in memory stays its own; nothing
    /// is read by name any more, for that would be the other segment's.
    pub fn retire(&self) {
        // Under the locks of readers by name: a read that has begun ends first.
        let _indexes = self.index.write();
        let _aborted = self.aborted.lock();
        unless_planted!(a_retired_segment_reads_by_name => self.retired.store(true, Ordering::SeqCst));
        self.source.lost_its_name();
        self.take_nothing();
    }

    /// # Errors
    /// `Corrupt` where the names of its files are another segment's.
    fn check_names(&self) -> Result<()> {
        match self.retired.load(Ordering::SeqCst) {
            true => Err(self.another_has_its_name()),
            false => Ok(()),
        }
    }

    fn another_has_its_name(&self) -> Error {
        Error::corrupt(self.path(), 0, "another generation of the segment has taken its place")
    }

    /// The file of its batches lies there until the process that writes has given it its name.
    pub fn lies_at(&self, path: PathBuf) {
        if let Some(file) = &self.file {
            file.lies_at(path);
        }
    }

    /// The file of its batches, where it is one.
    pub fn shared_file(&self) -> Option<Arc<PooledFile>> {
        self.file.clone()
    }

    /// Makes what was written durable. A failure is final.
    pub fn sync(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.sync())
    }

    /// How many bytes readers may see.
    pub fn readable(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    /// Lets readers see the bytes below `end`, which are whole batches.
    pub fn publish(&self, end: u64) {
        self.readable.store(end, Ordering::Release);
    }

    /// Remembers damage, which lies after all that is remembered so far.
    pub fn add_damage(&self, damage: Damage) {
        self.damage.push(damage);
    }

    /// Forgets all damage: the data is gone through once more from its beginning.
    pub fn forget_damage(&self) {
        self.damage.clear();
    }

    /// The damage that begins at `position`.
    pub fn damage_at(&self, position: u64) -> Option<Damage> {
        self.damage.at(position)
    }

    /// The error of a reader at `position` if that is damaged; `Ok` if it is not.
    pub fn check_damage(&self, position: u64) -> Result<()> {
        match self.damage_at(position) {
            Some(damage) => {
                let error = Error::corrupt(self.path(), position, damage.reason);
                Err(error.going_on_at(damage.offsets.end))
            }
            None => Ok(()),
        }
    }

    /// Where the first damage after `position` begins. Its bytes need not be there.
    pub fn next_damage(&self, position: u64) -> Option<u64> {
        self.damage.next_after(position)
    }

    /// The damage at `position` that ends before `offset`: a reader of that one continues after it.
    pub fn damage_before(&self, position: u64, offset: Offset) -> Option<Damage> {
        self.damage_at(position).filter(|damage| damage.offsets.end <= offset)
    }

    /// Says that nobody rewrote it: no offsets are missing between the batches, which have this one leader epoch, so that
    /// a batch which is out of place is noticed. `None` where another writer appended to it, whose epochs may be any.
    pub fn expect_no_gaps(&self, epoch: Option<i32>) {
        self.order.expect_no_gaps(epoch);
    }

    /// States that a manifest covers this segment, so that every batch is of a version that it allows.
    pub fn expect_no_other_version(&self) {
        self.order.expect_no_other_version();
    }

    /// The one leader epoch of its batches, where it is known to be one.
    pub fn leader_epoch(&self) -> Option<i32> {
        self.order.leader_epoch()
    }

    /// Whether offsets may be missing between the batches.
    pub fn may_have_gaps(&self) -> bool {
        // In one that has less than was written, no gap is known to be a cleaner's.
        self.order.may_have_gaps() && self.sealed_size().is_none_or(|size| self.readable() >= size)
    }

    /// What is wrong with the place of a batch in the order of offsets, or with its leader epoch.
    #[inline]
    pub fn out_of_place(&self, header: &BatchHeader, expected: Offset) -> Option<String> {
        out_of_place(header, expected, self.may_have_gaps(), self.leader_epoch())
    }

    /// Remembers that the batches up to `position` end before `offset`: the manifest or a mark says so, or they were
    /// appended here.
    pub fn know_place(&self, position: u64, offset: Offset) {
        self.order.know_place(position, offset);
    }

    /// A walk over its batches below `limit`, by what is known of their order, their epochs and their version.
    pub fn scanner(&self, limit: u64, position: u64, expected: Offset) -> Scanner<'_> {
        self.scanner_by(self.known_positions(), limit, position, expected)
    }

    /// The same, for a caller that holds the lock of the index.
    fn scanner_without_index(&self, limit: u64, position: u64, expected: Offset) -> Scanner<'_> {
        self.scanner_by(self.order.positions(), limit, position, expected)
    }

    fn scanner_by(
        &self,
        positions: KnownPositions,
        limit: u64,
        position: u64,
        expected: Offset,
    ) -> Scanner<'_> {
        Scanner::new(&*self.source, limit, position, expected, self.may_have_gaps())
            .of_epoch(self.leader_epoch())
            .believing_versions(self.order.may_be_of_another_version())
            .with_known_positions(positions)
    }

    fn known_positions(&self) -> KnownPositions {
        let mut positions = self.order.positions();
        if let Indexes::Active(index) = &*self.index.read()
            && let Some((position, offset)) = index.end()
        {
            positions.add(position, offset);
        }
        positions
    }

    /// The bytes of `range`, which lies below [`Segment::readable`].
    pub fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        let readable = self.readable();
        if range.end > readable {
            return Err(Error::corrupt(
                self.path(),
                readable,
                format!("bytes {range:?} asked of {readable}"),
            ));
        }
        // In steps, so that a growing segment is mapped anew once per step and not at every read.
        let capacity = (readable / MAP_AHEAD + 1).saturating_mul(MAP_AHEAD);
        match self.source.bytes(range, capacity) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.found_short(readable)?)
            }
            other => self.or_missing(other),
        }
    }

    /// How many bytes its source has; `None` where its file is not there.
    pub fn len_if_there(&self) -> Result<Option<u64>> {
        match self.source.len() {
            Err(error) if error.says_no_such_file() => Ok(None),
            len => len.map(Some),
        }
    }

    /// A segment's file that is not there is damage, and not just something that could not be opened.
    pub fn or_missing<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if error.says_no_such_file() => Err(Error::corrupt(self.path(), 0, MISSING)),
            other => other,
        }
    }

    /// Whether there is a whole batch in its first `len` bytes, wherever it lies.
    pub fn has_a_batch(&self, len: u64) -> Result<bool> {
        let mut scanner = Scanner::new(self.source(), len, 0, self.base, true);
        Ok(matches!(scanner.next()?, ScanItem::Batch(..)) || scanner.resync()?.is_some())
    }

    /// Whether batches that end at `position`, before `offset`, are all that belongs before the segment that begins at
    /// `next`: no offset is missing, or a cleaner left out the last ones.
    pub fn ends_before(&self, next: Offset, position: u64, offset: Offset) -> bool {
        let is_cleaned = self.may_have_gaps() && self.sealed_size() == Some(position);
        offset == next || (offset < next && is_cleaned)
    }

    /// The error of a reader that finds the data to end at `position`, and wants what should follow from `offset` on.
    pub fn ends_early(&self, position: u64, offset: Offset) -> Error {
        Error::corrupt(self.path(), position, format!("the records from offset {offset} on are missing"))
    }

    /// The file has less than was written. What it has stays readable.
    fn found_short(&self, readable: u64) -> Result<Error> {
        let len = self.source.len()?;
        self.readable.fetch_min(len, Ordering::AcqRel);
        let reason = format!("the file ends here, and had {readable} bytes");
        Ok(Error::corrupt(self.path(), len, reason))
    }

    /// Whether all that its source has from `position` up to `len` is zeros.
    pub fn only_zeros_from(&self, position: u64, len: u64) -> Result<bool> {
        only_zeros(&*self.source, position, len)
    }

    /// What the page checksums say about `range`.
    pub fn check_pages(&self, range: Range<u64>) -> Result<PagesVerdict> {
        match self.known_pages()? {
            Some(pages) => pages.check(range, |page| self.bytes(page)),
            None => Ok(PagesVerdict::Unknown),
        }
    }

    /// The page checksums of a sealed segment of which everything is readable, where there are any.
    pub fn known_pages(&self) -> Result<Option<Arc<CheckedPages>>> {
        let Some(Sealed { generation, size, .. }) = self.sealed.get().copied() else { return Ok(None) };
        let load = || {
            // Done once, when it is first read.
            let sums = self.page_sums(generation, size)?;
            if let Ok(len) = self.source.len() {
                self.without_surplus(len, size);
            }
            Ok(sums)
        };
        Ok(self.pages.get_or_load(load)?.filter(|_| self.readable() == size))
    }

    /// The page checksums in the file beside it, where they are about this generation and size.
    ///
    /// # Errors
    /// `Corrupt` where they are about a later generation: the data beside them is, too, or is about to be.
    fn page_sums(&self, generation: u32, size: u64) -> Result<Option<PageSums>> {
        self.check_names()?;
        let path = SegmentFile::Pages.path(&self.dir, self.base);
        let bytes = read_hint(&**self.pool.env(), &path, PageSums::encoded_len(size)).ok().flatten();
        let sums = bytes.and_then(|bytes| PageSums::decode(&bytes).ok());
        if sums.as_ref().is_some_and(|sums| sums.generation > generation) {
            return Err(self.another_has_its_name());
        }
        Ok(sums.filter(|sums| sums.generation == generation && sums.size == size))
    }

    /// How much of a file of `len` bytes belongs to it, which was sealed with `size`. Other bytes after that are remembered;
    /// zeros are preallocated space, which a crash may leave.
    pub fn without_surplus(&self, len: u64, size: u64) -> u64 {
        if len > size {
            planted!(a_longer_file_is_none => return size);
            let looked_at = len.min(size.saturating_add(SURPLUS_LOOKED_AT));
            if !self.only_zeros_from(size, looked_at).unwrap_or(true) {
                let _ = self.longer.set((len, size));
            }
        }
        len.min(size)
    }

    /// The report on a file that was found to be longer than the segment.
    pub fn surplus(&self) -> Option<Error> {
        let (len, size) = self.longer.get()?;
        let reason = format!(
            "the file has {len} bytes, and had {size} when the segment was sealed: what follows is not part of the log, \
             is shown to nobody, and is left alone"
        );
        Some(Error::corrupt(self.path(), *size, reason))
    }

    /// Takes the names of all its files away. A reader that has one open keeps reading it.
    pub fn remove_files(&self) -> Result<()> {
        self.source.lost_its_name();
        remove_segment_files(&**self.pool.env(), &self.dir, self.base)?;
        self.take_nothing();
        Ok(())
    }
}

/// The bytes of a segment's files, of which `.log` has `len`: indexes at their largest, one entry in each after
/// `index_interval` bytes, and page checksums. What else lies beside a segment is small, or its size is not known.
fn footprint(len: u64, index_interval: u64) -> u64 {
    let entries = len / index_interval.max(HEADER_LEN as u64);
    let indexes = entries.saturating_mul((OffsetEntry::ENCODED_LEN + TimeEntry::ENCODED_LEN) as u64);
    len.saturating_add(indexes).saturating_add(PageSums::encoded_len(len))
}
