//! The marks: where each partition's durable data ends, one slot each in one file.
//!
//! Marks are hints that err on one side only: a slot that was never written, is torn, or belongs to another partition reads
//! as none. Writing one is a single `pwrite` without a flush, so a mark survives the process immediately and a power cut
//! once it was flushed. The file is made when the first mark is written.

use super::{
    foreign_files::{copy_anew, sync_dir},
    handle_role::HandleRole,
};
use crate::codec::mark::{MARK_BYTES, ManifestMark, Mark};
use crate::env::sync::{AtomicBool, Mutex, Ordering};
use crate::env::{Env, File, Open, read_full_at, write_all_at};
use crate::error::{Error, Result};
use crate::types::{Offset, TopicId};
use std::path::{Path, PathBuf};
use std::{io, sync::Arc};

/// The marks of a log.
#[derive(Debug)]
pub struct Marks {
    env: Arc<dyn Env>,
    dir: PathBuf,
    path: PathBuf,
    role: HandleRole,
    /// Kept open by the writing handle; a reader opens the file each time.
    file: Mutex<Option<Arc<dyn File>>>,
    /// Whether a mark was written that no flush covers.
    dirty: AtomicBool,
    /// What was said of the manifest last, and what of it is durable.
    said: Mutex<(Option<ManifestMark>, Option<ManifestMark>)>,
    /// Held during a flush, which must not keep marks from being written; what made one fail.
    poisoned: Mutex<Option<Arc<Error>>>,
}

impl Marks {
    /// Opens the marks of `dir`, which may have none yet.
    pub fn open(env: Arc<dyn Env>, dir: &Path, role: HandleRole) -> Result<Marks> {
        let (dir, path) = (dir.to_path_buf(), dir.join("marks"));
        let (file, dirty, poisoned) = (Mutex::default(), AtomicBool::new(false), Mutex::default());
        let marks = Marks { env, dir, path, role, file, dirty, said: Mutex::default(), poisoned };
        if role == HandleRole::ReadWrite {
            *marks.file.lock() = marks.open_file(Open::Write)?;
        }
        Ok(marks)
    }

    /// Writes the mark of a partition into its slot, without a flush.
    pub fn write(&self, slot: u32, mark: &Mark) -> Result<()> {
        self.write_slot(slot, &mark.encode())?;
        self.dirty.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// What writes marks into this slot.
    pub fn writer(&self, slot: u32) -> impl Fn(&Mark) -> Result<()> + '_ {
        move |mark| self.write(slot, mark)
    }

    /// Writes the manifest's own mark into its slot, without a flush.
    pub fn write_manifest(&self, slot: u32, mark: &ManifestMark) -> Result<()> {
        self.write_slot(slot, &mark.encode())?;
        self.said.lock().0 = Some(*mark);
        self.dirty.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// What is durably said of the manifest, as far as this handle said it.
    pub fn said_durably(&self) -> Option<ManifestMark> {
        self.said.lock().1
    }

    /// Writes a slot. The caller says that there is something to flush after that: a flush that begins in between covers
    /// it, and the next one does so once more.
    fn write_slot(&self, slot: u32, bytes: &[u8; MARK_BYTES]) -> Result<()> {
        if self.role == HandleRole::ReadOnly {
            return Err(Error::ReadOnly { reason: "the log was opened to be read".into() });
        }
        let file = self.file_to_write()?;
        write_all_at(&*file, bytes, position(slot)).map_err(|e| Error::io("write", &self.path, e))
    }

    /// The mark in a slot, if it is whole and of this partition.
    pub fn read(&self, slot: u32, topic: &TopicId, partition: u32) -> Result<Option<Mark>> {
        let mark = self.read_slot(slot, Mark::decode)?;
        planted!(believe_a_mark_of_another => return Ok(mark));
        Ok(mark.filter(|mark| mark.topic == *topic && mark.partition == partition))
    }

    /// The manifest's own mark in a slot, if it is whole.
    pub fn read_manifest(&self, slot: u32) -> Result<Option<ManifestMark>> {
        self.read_slot(slot, ManifestMark::decode)
    }

    fn read_slot<T>(&self, slot: u32, decode: impl Fn(&[u8; MARK_BYTES]) -> Option<T>) -> Result<Option<T>> {
        let Some(file) = self.file_to_read()? else { return Ok(None) };
        let mut before = None;
        for _ in 0..LOOKS {
            let mut bytes = [0; MARK_BYTES];
            let read = read_full_at(&*file, &mut bytes, position(slot))
                .map_err(|e| Error::io("read", &self.path, e))?;
            let mark = decode(&bytes).filter(|_| read == MARK_BYTES);
            // Half of an old and half of a new one is read while another process writes: the next look shows another.
            if mark.is_some() || before.replace(bytes) == Some(bytes) {
                return Ok(mark);
            }
        }
        Ok(None)
    }

    /// The first slot from `from` on that says something which only a manifest that knows of it can have let it say: the
    /// manifest's own mark, or that records of a partition are durable. No more than [`SLOTS_SEEN`] are looked at.
    pub fn find_in_use(&self, from: u32) -> Result<Option<(u32, InUse)>> {
        let Some(file) = self.file_to_read()? else { return Ok(None) };
        let mut piece = vec![0; 1024 * MARK_BYTES];
        let mut slot = from;
        while slot - from < SLOTS_SEEN {
            let read = read_full_at(&*file, &mut piece, position(slot));
            let read = read.map_err(|e| Error::io("read", &self.path, e))?;
            let (slots, _) = piece.get(..read).unwrap_or_default().as_chunks::<MARK_BYTES>();
            let found =
                (slot..=u32::MAX).zip(slots).find_map(|(slot, bytes)| Some((slot, InUse::of(bytes)?)));
            let next = slot.checked_add(1024).filter(|_| found.is_none() && read == piece.len());
            let Some(next) = next else { return Ok(found) };
            slot = next;
        }
        Ok(None)
    }

    fn file_to_read(&self) -> Result<Option<Arc<dyn File>>> {
        match self.role {
            HandleRole::ReadWrite => Ok(self.file.lock().clone()),
            HandleRole::ReadOnly => self.open_file(Open::Read),
        }
    }

    /// Where a slot lies in the file, and the file.
    pub fn place_of(&self, slot: u32) -> (&Path, u64) {
        (&self.path, position(slot))
    }

    /// Makes every mark written so far durable.
    ///
    /// # Errors
    /// After a failed flush every later one answers `Poisoned`; marks can still be written, to note the failure.
    pub fn flush(&self) -> Result<()> {
        let mut poisoned = self.poisoned.lock();
        if let Some(cause) = &*poisoned {
            return Err(Error::poisoned(&self.dir, cause.clone()));
        }
        let file = self.file.lock().clone();
        let Some(file) = file.filter(|_| self.dirty.swap(false, Ordering::SeqCst)) else { return Ok(()) };
        let said = self.said.lock().0;
        file.sync_data().map_err(|error| {
            let error = Error::io("flush", &self.path, error);
            *poisoned = Some(Arc::new(error.clone()));
            error
        })?;
        self.said.lock().1 = said;
        Ok(())
    }

    fn file_to_write(&self) -> Result<Arc<dyn File>> {
        let mut file = self.file.lock();
        if let Some(known) = file.clone() {
            if !known.has_other_names() {
                return Ok(known);
            }
            copy_anew(&*self.env, &self.path)?;
            *file = self.open_file(Open::Write)?;
            if let Some(own) = &*file {
                return Ok(own.clone());
            }
        }
        let made = self.env.open(&self.path, Open::Create).map_err(|e| Error::io("create", &self.path, e))?;
        sync_dir(&*self.env, &self.dir)?;
        *file = Some(made.clone());
        Ok(made)
    }

    /// The file, if there is one.
    fn open_file(&self, how: Open) -> Result<Option<Arc<dyn File>>> {
        match self.env.open(&self.path, how) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("open", &self.path, e)),
        }
    }
}

/// How many slots are looked at that no manifest names: as many as all partitions of a log may have.
const SLOTS_SEEN: u32 = 1 << 20;

/// How often a slot is read that is another each time.
const LOOKS: usize = 100;

/// What a slot says that nobody named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// How much of the manifest is durable.
    Manifest(ManifestMark),
    /// That records of a partition are.
    Partition(Mark),
}

impl InUse {
    /// A partition's slot is written before the manifest names it; flushed records it has only afterwards.
    fn of(bytes: &[u8; MARK_BYTES]) -> Option<InUse> {
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let partition = || Mark::decode(bytes).filter(|mark| mark.flushed_offset > Offset::ZERO);
        ManifestMark::decode(bytes).map(InUse::Manifest).or_else(|| partition().map(InUse::Partition))
    }
}

fn position(slot: u32) -> u64 {
    u64::from(slot) * MARK_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::memory::MemoryEnv;

    fn topic(n: u8) -> TopicId {
        TopicId::from_bytes([n; 16])
    }

    #[test]
    fn a_mark_reads_back_from_its_slot_and_for_its_partition_only() {
        let env = MemoryEnv::new();
        let dir = Path::new("/");
        let marks = Marks::open(env.clone(), dir, HandleRole::ReadWrite).unwrap();
        let observer = Marks::open(env.clone(), dir, HandleRole::ReadOnly).unwrap();
        assert_eq!(marks.read(0, &topic(1), 0).unwrap(), None);
        assert_eq!(observer.read(0, &topic(1), 0).unwrap(), None);
        marks.flush().unwrap();
        assert!(env.list(dir).unwrap().is_empty(), "nothing was written yet");

        let mut mark = Mark { flushed_offset: Offset::new(7), ..Mark::blank(&topic(1), 0) };
        marks.write(3, &mark).unwrap();
        for reader in [&marks, &observer] {
            assert_eq!(reader.read(3, &topic(1), 0).unwrap(), Some(mark));
            assert_eq!(reader.read(3, &topic(1), 1).unwrap(), None);
            assert_eq!(reader.read(3, &topic(2), 0).unwrap(), None);
            assert_eq!(reader.read(2, &topic(1), 0).unwrap(), None);
            assert_eq!(reader.read(u32::MAX, &topic(1), 0).unwrap(), None);
        }
        mark.failed = true;
        marks.write(3, &mark).unwrap();
        marks.flush().unwrap();
        assert_eq!(observer.read(3, &topic(1), 0).unwrap(), Some(mark));
        assert!(matches!(observer.write(3, &mark), Err(Error::ReadOnly { .. })));

        let marks = Marks::open(env, dir, HandleRole::ReadWrite).unwrap();
        assert_eq!(marks.read(3, &topic(1), 0).unwrap(), Some(mark));
    }

    #[test]
    fn a_slot_in_use_is_found_from_where_the_search_begins_and_says_what_it_is() {
        let env = MemoryEnv::new();
        let marks = Marks::open(env, Path::new("/"), HandleRole::ReadWrite).unwrap();
        assert_eq!(marks.find_in_use(0).unwrap(), None, "there is no file");
        let blank = Mark::blank(&topic(1), 0);
        let flushed = Mark { flushed_offset: Offset::new(1), ..blank };
        let manifest = ManifestMark { epoch: 1, number: 2, durable: 3 };
        marks.write(0, &blank).unwrap();
        assert_eq!(marks.find_in_use(0).unwrap(), None, "of a partition that nothing was flushed of");
        marks.write(2, &flushed).unwrap();
        marks.write_manifest(5, &manifest).unwrap();
        marks.write(1023, &flushed).unwrap();
        marks.write(1024, &flushed).unwrap();
        marks.write(3072, &flushed).unwrap();
        let of_partition = |slot| Some((slot, InUse::Partition(flushed)));
        for (from, found) in [
            (0, of_partition(2)),
            (2, of_partition(2)),
            (3, Some((5, InUse::Manifest(manifest)))),
            (6, of_partition(1023)),
            (1023, of_partition(1023)),
            (1024, of_partition(1024)),
            // Whole pieces of what nobody wrote lie between.
            (1025, of_partition(3072)),
            (3072, of_partition(3072)),
            (3073, None),
            (u32::MAX, None),
        ] {
            assert_eq!(marks.find_in_use(from).unwrap(), found, "from {from}");
        }
    }

    #[cfg(feature = "sim")]
    #[test]
    fn a_flush_makes_the_marks_durable_and_the_name_of_their_file() {
        use crate::sim::{Crash, Operation, SimEnv};
        let env = SimEnv::new(1);
        let machine = |env: &SimEnv| Arc::new(env.clone()) as Arc<dyn Env>;
        let dir = Path::new("/data");
        machine(&env).create_dir(dir).unwrap();
        machine(&env).sync_dir(Path::new("/")).unwrap();
        let marks = Marks::open(machine(&env), dir, HandleRole::ReadWrite).unwrap();
        let mark = Mark { flushed_offset: Offset::new(7), ..Mark::blank(&topic(1), 0) };
        marks.write(3, &mark).unwrap();
        marks.flush().unwrap();
        env.record();
        marks.flush().unwrap();
        assert!(
            env.recording().operations().all(|(_, operation, _)| operation != Operation::Sync),
            "nothing is new"
        );
        let after = env.crash(Crash::Nothing, 1);
        let read = Marks::open(machine(&after), dir, HandleRole::ReadOnly).unwrap();
        assert_eq!(read.read(3, &topic(1), 0).unwrap(), Some(mark));
    }

    /// A file whose bytes are others at each look.
    #[derive(Debug)]
    struct Restless {
        file: Arc<dyn File>,
        looks: std::sync::atomic::AtomicUsize,
    }

    impl File for Restless {
        crate::env::forward_to_file!(write_at, sync_data, len, set_len, allocate, read_past_cache, region);

        fn read_at(&self, buf: &mut [u8], _position: u64) -> io::Result<usize> {
            let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(looks < 10_000, "this goes on for ever");
            buf.fill(looks as u8);
            Ok(buf.len())
        }
    }

    #[test]
    fn a_slot_that_is_another_at_each_look_says_nothing() {
        let env = MemoryEnv::new();
        let marks = Marks::open(env.clone(), Path::new("/"), HandleRole::ReadWrite).unwrap();
        let file = env.open(Path::new("/marks"), Open::Create).unwrap();
        *marks.file.lock() = Some(Arc::new(Restless { file, looks: 0.into() }));
        assert_eq!(marks.read_manifest(0).unwrap(), None);
        assert_eq!(marks.read(0, &topic(1), 0).unwrap(), None);
    }
}
