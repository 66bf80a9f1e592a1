//! One segment: a file of record batches, its indexes, and how far a reader may go in it.
//!
//! A segment is shared between the one who appends and any number of readers. What is always true: the bytes below
//! [`Segment::readable`] are whole batches that never change; the index says nothing beyond them; once a segment is
//! removed its files lose their names, and who still reads keeps what it has open.

mod aborted;
mod indexes;
pub mod sidecars;

pub use indexes::indexed;

use super::{
    files::{FilePool, PooledFile},
    holes::{Hole, Holes},
    index::SegmentIndex,
    layout::SegmentFile,
    pages::{CheckedPages, PagesVerdict},
    scan::{
        KnownPlaces, LEADER_EPOCH, ScanItem, Scanner, VERSION_CHECK_MAX, is_of_another_version, out_of_place,
    },
    sidecar::{read_hint, remove_segment_files, write_file},
};
use crate::{
    codec::{
        DecodeError,
        batch::{BatchHeader, HEADER_LEN},
        index::AbortedTransaction,
        pages::{PageSummer, PageSums},
    },
    env::sync::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Mutex, OnceLock, Ordering, RwLock},
    error::{Error, Result},
    types::{Offset, Timestamp},
};
use bytes::Bytes;
use indexes::Indexes;
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How far a mapping of an active segment reaches beyond its data, so that it is not made anew at every growth.
const MAP_AHEAD: u64 = 4 << 20;

/// So much of what lies behind a sealed segment's data is looked at.
const SURPLUS_LOOKED_AT: u64 = 1 << 20;

/// Stands for a leader epoch that may be any.
const ANY_EPOCH: i32 = i32::MIN;

/// One segment of a log.
#[derive(Debug)]
pub struct Segment {
    base: Offset,
    dir: PathBuf,
    pool: Arc<FilePool>,
    data: Arc<PooledFile>,
    readable: AtomicU64,
    /// The checksum of the index files as they should be; 0 where nobody knows.
    index_checksum: AtomicU32,
    /// The largest timestamp, known without an index once the segment is sealed.
    largest: OnceLock<Timestamp>,
    /// Whether the indexes were built again, and their files do not have that yet.
    rebuilt: AtomicBool,
    /// Whether every batch begins where the one before ends, as it does in a log of our own that was not compacted.
    dense: AtomicBool,
    /// The one leader epoch of the batches of a dense segment; [`ANY_EPOCH`] where another writer appended to it.
    epoch: AtomicI32,
    /// Whether batches of another version may be here: not where the manifest speaks for what was written.
    versions: AtomicBool,
    index: RwLock<Indexes>,
    /// The aborted transactions whose markers lie here; loaded at the first question.
    aborted: Mutex<Option<Arc<Vec<AbortedTransaction>>>>,
    index_interval: u64,
    /// Damage that a scan has found.
    holes: Holes,
    /// What is known of offsets in it otherwise than from its batches.
    places: Mutex<KnownPlaces>,
    /// The generation and size it was sealed with.
    sealed: OnceLock<(u32, u64)>,
    /// How long its file was found to be, where that is more than the size that it was sealed with.
    longer: OnceLock<(u64, u64)>,
    pages: RwLock<Pages>,
}

/// What is known of a sealed segment's page checksums.
#[derive(Debug)]
enum Pages {
    /// Nobody asked yet.
    Unasked,
    /// There are none that are about this segment.
    None,
    Held(Arc<CheckedPages>),
}

/// Where a batch lies in its segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Located {
    /// Its first byte.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
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
        let data = pool.existing(SegmentFile::Log.path(dir, base), writable);
        Self::with(pool, dir, base, data, readable, index_interval, Indexes::OnDisk)
    }

    /// A segment whose batches lie, to be read, in a file of another name, with nothing known of it yet.
    pub fn existing_at(
        pool: &Arc<FilePool>,
        path: PathBuf,
        dir: &Path,
        base: Offset,
        interval: u64,
    ) -> Arc<Self> {
        let data = pool.existing(path, false);
        Self::with(pool, dir, base, data, 0, interval, Indexes::OnDisk)
    }

    /// Creates the file of a new segment. Its name is durable once the directory is flushed.
    pub fn create(pool: &Arc<FilePool>, dir: &Path, base: Offset, index_interval: u64) -> Result<Arc<Self>> {
        let data = pool.create(SegmentFile::Log.path(dir, base))?;
        let index = Indexes::Active(SegmentIndex::new(base, index_interval));
        let segment = Self::with(pool, dir, base, data, 0, index_interval, index);
        segment.set_aborted(Vec::new());
        Ok(segment)
    }

    fn with(
        pool: &Arc<FilePool>,
        dir: &Path,
        base: Offset,
        data: Arc<PooledFile>,
        readable: u64,
        index_interval: u64,
        index: Indexes,
    ) -> Arc<Self> {
        Arc::new(Segment {
            base,
            dir: dir.to_path_buf(),
            pool: Arc::clone(pool),
            data,
            readable: AtomicU64::new(readable),
            index_checksum: AtomicU32::new(0),
            rebuilt: AtomicBool::new(false),
            largest: OnceLock::new(),
            dense: AtomicBool::new(false),
            epoch: AtomicI32::new(LEADER_EPOCH),
            versions: AtomicBool::new(true),
            index: RwLock::new(index),
            aborted: Mutex::new(None),
            index_interval,
            holes: Holes::default(),
            places: Mutex::default(),
            sealed: OnceLock::new(),
            longer: OnceLock::new(),
            pages: RwLock::new(Pages::Unasked),
        })
    }

    /// From now on the segment is known not to grow, and its page checksums may speak.
    pub fn set_sealed(&self, generation: u32, size: u64, largest_timestamp: Timestamp) {
        let _ = self.sealed.set((generation, size));
        let _ = self.largest.set(largest_timestamp);
    }

    /// How many bytes it was sealed with.
    pub fn sealed_size(&self) -> Option<u64> {
        self.sealed.get().map(|(_, size)| *size)
    }

    /// The base offset, which names it.
    pub fn base(&self) -> Offset {
        self.base
    }

    /// The file of the batches.
    pub fn data(&self) -> &Arc<PooledFile> {
        &self.data
    }

    /// How many bytes readers may see.
    pub fn readable(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    /// Lets readers see the bytes below `end`, which are whole batches.
    pub fn publish(&self, end: u64) {
        self.readable.store(end, Ordering::Release);
    }

    /// Remembers damage, which lies behind all that is remembered so far.
    pub fn add_hole(&self, hole: Hole) {
        self.holes.push(hole);
    }

    /// Forgets all damage: the data is gone through once more from its beginning.
    pub fn forget_damage(&self) {
        self.holes.clear();
    }

    /// The error of a reader who has come to damage at `position`; fine where there is none.
    pub fn check_hole(&self, position: u64) -> Result<()> {
        match self.holes.at(position) {
            Some(hole) => {
                let error = Error::corrupt(self.data.path(), position, hole.reason);
                Err(error.going_on_at(hole.offsets.end))
            }
            None => Ok(()),
        }
    }

    /// Where the first damage behind `position` begins. Its bytes need not be there.
    pub fn next_hole(&self, position: u64) -> Option<u64> {
        self.holes.next_behind(position)
    }

    /// The damage at `position` that ends before `offset`: who wants that one goes on behind it.
    pub fn hole_before(&self, position: u64, offset: Offset) -> Option<Hole> {
        self.holes.at(position).filter(|hole| hole.offsets.end <= offset)
    }

    /// Says that nobody rewrote it: no offsets are missing between the batches, which have this one leader epoch, so that
    /// a batch which is out of place is noticed. `None` where another writer appended to it, whose epochs may be any.
    pub fn expect_no_gaps(&self, epoch: Option<i32>) {
        self.dense.store(true, Ordering::Relaxed);
        self.epoch.store(epoch.unwrap_or(ANY_EPOCH), Ordering::Relaxed);
    }

    /// Says that a manifest speaks for what is here, so that no batch is of a version that it does not speak of.
    pub fn expect_no_other_version(&self) {
        self.versions.store(false, Ordering::Relaxed);
    }

    /// The one leader epoch of its batches, where it is known to be one.
    pub fn leader_epoch(&self) -> Option<i32> {
        Some(self.epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch != ANY_EPOCH)
    }

    /// A walk over its batches below `limit`, by what is known of their order, their epochs and their version.
    pub fn scanner(&self, limit: u64, position: u64, expected: Offset) -> Scanner<'_> {
        self.scanner_without_index(limit, position, expected).with_places(self.known_places())
    }

    /// The same, for one who holds the lock of the index.
    fn scanner_without_index(&self, limit: u64, position: u64, expected: Offset) -> Scanner<'_> {
        Scanner::new(&self.data, limit, position, expected, self.may_have_gaps())
            .of_epoch(self.leader_epoch())
            .believing_versions(self.versions.load(Ordering::Relaxed))
            .with_places(self.places.lock().clone())
    }

    /// Remembers that the batches up to `position` end before `offset`: the manifest or a mark says so, or they were
    /// appended here.
    pub fn know_place(&self, position: u64, offset: Offset) {
        self.places.lock().add(position, offset);
    }

    fn known_places(&self) -> KnownPlaces {
        let mut places = self.places.lock().clone();
        if let Indexes::Active(index) = &*self.index.read()
            && let Some((position, offset)) = index.end()
        {
            places.add(position, offset);
        }
        places
    }

    /// What is wrong with the batch at `position`, which begins at `expected`, in the light of what lies around it.
    #[cold]
    pub fn fault_of(&self, position: u64, expected: Offset) -> Result<Option<String>> {
        match self.scanner(self.readable(), position, expected).next()? {
            ScanItem::Bad(reason) => Ok(Some(reason)),
            ScanItem::Batch(..) | ScanItem::End | ScanItem::Unsupported(_) => Ok(None),
        }
    }

    /// Whether offsets may be missing between the batches.
    pub fn may_have_gaps(&self) -> bool {
        !self.dense.load(Ordering::Relaxed)
    }

    /// The bytes of `range`, which lies below [`Segment::readable`].
    pub fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        let readable = self.readable();
        if range.end > readable {
            return Err(Error::corrupt(
                self.data.path(),
                readable,
                format!("bytes {range:?} asked of {readable}"),
            ));
        }
        // In steps, so that a growing segment is mapped anew once per step and not at every read.
        let capacity = (readable / MAP_AHEAD + 1).saturating_mul(MAP_AHEAD);
        match self.data.bytes(range, capacity) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.found_short(readable)?)
            }
            other => self.or_missing(other),
        }
    }

    /// A segment's file that is not there is damage, and not just something that could not be opened.
    pub fn or_missing<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(Error::corrupt(self.data.path(), 0, "the file of a segment is missing"))
            }
            other => other,
        }
    }

    /// The error of a reader who finds the data to end at `position`, and wants what should follow from `offset` on.
    pub fn ends_early(&self, position: u64, offset: Offset) -> Error {
        Error::corrupt(self.data.path(), position, format!("the records from offset {offset} on are missing"))
    }

    /// The file has less than was written. What it has stays readable.
    fn found_short(&self, readable: u64) -> Result<Error> {
        let len = self.data.len()?;
        self.readable.fetch_min(len, Ordering::AcqRel);
        let reason = format!("the file ends here, and had {readable} bytes");
        Ok(Error::corrupt(self.data.path(), len, reason))
    }

    /// What the page checksums say about `range`.
    pub fn check_pages(&self, range: Range<u64>) -> Result<PagesVerdict> {
        let Some((generation, size)) = self.sealed.get().copied() else { return Ok(PagesVerdict::Unknown) };
        let held = match &*self.pages.read() {
            Pages::Held(pages) => Some(Arc::clone(pages)),
            Pages::None => return Ok(PagesVerdict::Unknown),
            Pages::Unasked => None,
        };
        match held.or_else(|| self.load_pages(generation, size)) {
            Some(pages) if self.readable() == size => pages.check(range, |page| self.bytes(page)),
            _ => Ok(PagesVerdict::Unknown),
        }
    }

    /// How much of a file of `len` bytes belongs to it, which was sealed with `size`. What somebody has written behind that
    /// is remembered; zeros are space set aside, which a crash may leave.
    pub fn without_surplus(&self, len: u64, size: u64) -> u64 {
        if len > size {
            let looked_at = len.min(size.saturating_add(SURPLUS_LOOKED_AT));
            if !planted!(a_longer_file_is_none) && !self.data.only_zeros_from(size, looked_at).unwrap_or(true)
            {
                let _ = self.longer.set((len, size));
            }
        }
        len.min(size)
    }

    /// What is to be said of its file, where that was found to be longer than the segment.
    pub fn surplus(&self) -> Option<Error> {
        let (len, size) = self.longer.get()?;
        let reason = format!(
            "the file has {len} bytes, and had {size} when the segment was sealed: what follows is not part of the log, \
             is shown to nobody, and is left alone"
        );
        Some(Error::corrupt(self.data.path(), *size, reason))
    }

    fn load_pages(&self, generation: u32, size: u64) -> Option<Arc<CheckedPages>> {
        // Done once, when it is first read.
        if let Ok(len) = self.data.len() {
            self.without_surplus(len, size);
        }
        let path = SegmentFile::Pages.path(&self.dir, self.base);
        let bytes = read_hint(&**self.pool.env(), &path, PageSums::encoded_len(size)).ok().flatten();
        let sums = bytes.and_then(|bytes| PageSums::decode(&bytes).ok());
        let sums = sums.filter(|sums| sums.generation == generation && sums.size == size);
        let pages = sums.map(|sums| Arc::new(CheckedPages::new(sums)));
        *self.pages.write() = pages.clone().map_or(Pages::None, Pages::Held);
        pages
    }

    /// Sums up the pages of a sealed segment, each of whose batches is checked on the way, and writes and flushes them.
    /// Where a batch is not valid there is nothing to vouch for, and nothing is written.
    pub fn write_pages(&self) -> Result<()> {
        let Some((generation, size)) = self.sealed.get().copied() else { return Ok(()) };
        let mut scanner = Scanner::new(&self.data, size, 0, self.base, true);
        let mut summer = PageSummer::new();
        while let ScanItem::Batch(batch, _) = scanner.next()? {
            summer.update(batch.bytes());
        }
        if planted!(vouch_for_what_was_not_checked) {
            summer = PageSummer::new();
            summer.update(&self.bytes(0..size)?);
        }
        if summer.size() != size {
            return Ok(());
        }
        let sums = summer.finish(generation);
        write_file(&**self.pool.env(), &SegmentFile::Pages.path(&self.dir, self.base), &sums.encode())?;
        *self.pages.write() = Pages::Held(Arc::new(CheckedPages::new(sums)));
        Ok(())
    }

    /// The header of the batch that starts at `position`; `None` at the end.
    pub fn header_at(&self, position: u64) -> Result<Option<BatchHeader>> {
        let readable = self.readable();
        if position >= readable {
            return Ok(None);
        }
        self.check_hole(position)?;
        let head = self.bytes(position..(position + HEADER_LEN as u64).min(readable))?;
        let header = match BatchHeader::parse(&head) {
            Ok(header) => header,
            Err(error) => {
                // Where the page did not pass, an unknown version is damage like any other.
                self.check_good(position..position + head.len() as u64)?;
                return Err(self.fault(error, position, &head));
            }
        };
        if position + header.size() > readable {
            let reason = format!("a batch of {} bytes where {} are left", header.size(), readable - position);
            return Err(Error::corrupt(self.data.path(), position, reason));
        }
        Ok(Some(header))
    }

    /// As [`Segment::header_at`], for a batch that must begin at `expected`, or not before it where there may be gaps.
    pub fn header_in_place(&self, position: u64, expected: Offset) -> Result<Option<BatchHeader>> {
        let header = match self.header_at(position) {
            // What is not even in its place says nothing of versions.
            Err(Error::UnsupportedFormat { found, .. }) if !self.is_in_place(position, expected) => {
                let reason = format!("{found}, out of its place");
                return Err(Error::corrupt(self.data.path(), position, reason));
            }
            other => other?,
        };
        match header.and_then(|header| self.out_of_place(&header, expected)) {
            None => Ok(header),
            Some(reason) => Err(Error::corrupt(self.data.path(), position, reason)),
        }
    }

    /// Whether the first field at `position`, which is the base offset in every version, fits.
    fn is_in_place(&self, position: u64, expected: Offset) -> bool {
        let field = self.bytes(position..position + 8).ok();
        let base = field.and_then(|b| b.first_chunk().copied()).map(i64::from_be_bytes);
        let base = base.and_then(Offset::from_i64);
        base.is_some_and(|base| if self.may_have_gaps() { base >= expected } else { base == expected })
    }

    /// What is wrong with the place of a batch in the order of offsets, or with its leader epoch.
    pub fn out_of_place(&self, header: &BatchHeader, expected: Offset) -> Option<String> {
        out_of_place(header, expected, self.may_have_gaps(), self.leader_epoch())
    }

    /// What a header at `position`, with the bytes of `head`, that could not be read means.
    pub fn fault(&self, error: DecodeError, position: u64, head: &[u8]) -> Error {
        if matches!(error, DecodeError::Unsupported { .. }) {
            let size = BatchHeader::size_of_prefix(head).and_then(|size| u64::try_from(size).ok());
            let end = position.saturating_add(size.unwrap_or(0)).min(self.readable());
            let is_foreign = || {
                end.saturating_sub(position) > VERSION_CHECK_MAX as u64
                    || self.bytes(position..end.max(position)).is_ok_and(|b| is_of_another_version(&b))
            };
            if !self.versions.load(Ordering::Relaxed) {
                return Error::corrupt(self.data.path(), position, error.to_string());
            }
            if !is_foreign() {
                let reason = format!("{error}, but its checksum is of no other version");
                return Error::corrupt(self.data.path(), position, reason);
            }
        }
        error.in_file(self.data.path(), position)
    }

    /// Where a batch starts that ends at or before `offset`, as near as the index knows; 0 where it knows none.
    pub fn floor_position(&self, offset: Offset) -> Result<u64> {
        self.search(|i| self.checked_floor(i, offset))
    }

    /// Where a walk to `offset` begins: a position, and the offset expected there.
    pub fn walk_from(&self, offset: Offset) -> Result<(u64, Offset)> {
        let position = self.floor_position(offset)?;
        // What the index points at was checked.
        let header = if position == 0 { None } else { self.header_at(position)? };
        Ok((position, header.map_or(self.base, |h| h.base_offset)))
    }

    /// The first batch that ends at or behind `offset`; `None` when all end before it. Only headers are looked at.
    pub fn locate(&self, offset: Offset) -> Result<Option<Located>> {
        let (start, mut expected) = self.walk_from(offset)?;
        let mut position = start;
        loop {
            if let Some(hole) = self.hole_before(position, offset) {
                (position, expected) = (hole.bytes.end, hole.offsets.end);
            }
            let Some(header) = self.header_in_place(position, expected)? else { return Ok(None) };
            if header.last_offset() >= offset {
                self.check_end(position, &header)?;
                if header.base_offset > offset {
                    // Either the offset is really not there, or a header on the way says what it did not.
                    self.check_good(start..position + HEADER_LEN as u64)?;
                }
                return Ok(Some(Located { position, header }));
            }
            position += header.size();
            expected = header.next_offset();
        }
    }

    /// An error where what follows the batch at `position` does not begin where that ends. The headers that led to it
    /// may have been damaged, for nothing but their order was checked.
    fn check_end(&self, position: u64, header: &BatchHeader) -> Result<()> {
        let behind = position + header.size();
        let follows = match self.header_at(behind) {
            Ok(Some(next)) => Some(next.base_offset),
            Ok(None) => self.known_places().at(behind),
            Err(_) => None,
        };
        let (end, gaps) = (header.next_offset(), self.may_have_gaps());
        match follows.filter(|base| *base < end || (*base > end && !gaps)) {
            Some(base) => {
                let reason = format!("the batch before offset {end} is followed by offset {base}");
                Err(Error::corrupt(self.data.path(), position, reason))
            }
            None => Ok(()),
        }
    }

    /// As [`Segment::locate`], past damage: every batch on the way is checked, and what is damaged is an error only if
    /// it may be where `offset` was.
    pub fn locate_past_damage(&self, offset: Offset) -> Result<Option<Located>> {
        if let Some(hole) = self.holes.over(offset) {
            let error = Error::corrupt(self.data.path(), hole.bytes.start, hole.reason);
            return Err(error.going_on_at(hole.offsets.end));
        }
        let (start, expected) = self.walk_from(offset)?;
        let limit = self.readable();
        let mut scanner = self.scanner(limit, start, expected);
        let mut damage: Option<Error> = None;
        let path = self.data.path();
        loop {
            let reason = match self.or_missing(scanner.next())? {
                ScanItem::Batch(batch, position) if batch.header().last_offset() >= offset => {
                    let header = *batch.header();
                    if header.base_offset > offset {
                        damage.map_or(Ok(()), Err)?;
                        self.check_good(start..position + HEADER_LEN as u64)?;
                    }
                    return Ok(Some(Located { position, header }));
                }
                ScanItem::Batch(..) => continue,
                ScanItem::End if scanner.position() >= limit => return damage.map_or(Ok(None), Err),
                ScanItem::End => "no batch, though data follows".to_string(),
                ScanItem::Bad(reason) => reason,
                ScanItem::Unsupported(error) => return Err(error.in_file(path, scanner.position())),
            };
            let damage = damage.insert(Error::corrupt(path, scanner.position(), reason));
            if scanner.resync()?.is_none() {
                return Err(damage.clone());
            }
        }
    }

    /// Where the whole batch with this header lies, by a look at each.
    #[cold]
    pub fn position_of(&self, header: &BatchHeader) -> Option<u64> {
        let mut scanner = self.scanner(self.readable(), 0, self.base);
        loop {
            match scanner.next().ok()? {
                ScanItem::Batch(batch, position) if batch.header() == header => return Some(position),
                ScanItem::Batch(..) => {}
                _ => drop(scanner.resync().ok()??),
            }
        }
    }

    /// An error where the page checksums say that `range` is not what was written.
    fn check_good(&self, range: Range<u64>) -> Result<()> {
        match self.check_pages(range)? {
            PagesVerdict::Bad(page) => {
                let reason = "a page is not what was written when the segment was sealed";
                Err(Error::corrupt(self.data.path(), page.start, reason))
            }
            PagesVerdict::Good | PagesVerdict::Unknown => Ok(()),
        }
    }

    /// Takes the names of all its files away. Who has one open keeps reading it.
    pub fn remove_files(&self) -> Result<()> {
        self.data.lost_its_name();
        remove_segment_files(&**self.pool.env(), &self.dir, self.base)
    }
}
