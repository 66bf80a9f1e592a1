//! The real machine.
//!
//! A thin layer over the operating system: no cache, no retry, no policy. Where a system cannot do what a caller asks,
//! the answer is an error, never a silence; the exceptions (a directory cannot be flushed, space cannot be set aside but
//! by writing zeros) are said where they are.

mod direct;
mod names;
pub mod temporary;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod whole;

use super::{
    DirEntry, Env, File, Flushed, Job, Lock, Metadata, Open, Region, Running, Task, machine, mapped,
    sync::{AtomicBool, Ordering, Signal},
};
use crate::{env::worker_pool, types::Timestamp};
use std::{
    fs,
    io::{self, ErrorKind},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The real machine: [`std::fs`], threads, and the system's clocks.
#[derive(Debug)]
pub struct RealEnv {
    names: names::Names,
    workers: worker_pool::WorkerPool,
}

impl RealEnv {
    /// The machine this runs on.
    pub fn new() -> Arc<RealEnv> {
        Arc::new(RealEnv { names: names::Names::default(), workers: worker_pool::WorkerPool::new() })
    }
}

/// Whether a file system says of a directory that was just opened that none can be flushed. An I/O error says nothing
/// of the kind.
#[cfg(unix)]
fn is_no_call_for_directories(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // EBADF by those that flush only what is open for writing, which no directory can be.
    let no_call = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS, Errno::BADF];
    no_call.map(Some).contains(&Errno::from_io_error(error))
}

/// What a refused mapping means, as an error: `Unsupported` where its file system maps no file.
fn unsupported_if_never(error: io::Error) -> io::Error {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let never = [Errno::NODEV, Errno::INVAL, Errno::ACCESS, Errno::PERM, Errno::NOTSUP, Errno::OPNOTSUPP];
        if never.map(Some).contains(&Errno::from_io_error(&error)) {
            return io::Error::new(ErrorKind::Unsupported, error);
        }
    }
    error
}

impl Env for RealEnv {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let names::Opened { file, has_other_names, inode } = self.names.open(path, how)?;
        Ok(Arc::new(RealFile {
            file,
            has_other_names,
            inode,
            direct: direct::Direct::default(),
            grown_by_zeros: AtomicBool::new(false),
            #[cfg(not(unix))]
            position: super::sync::Mutex::new(()),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.names.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = loop {
            match self.names.list(dir) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        entries.sort();
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.names.metadata(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.names.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.names.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.names.remove_dir(path)
    }

    fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        std::path::absolute(path)
    }

    fn hold(&self, dir: &Path) -> io::Result<Option<Arc<dyn Env>>> {
        Ok(Some(Arc::new(RealEnv {
            names: names::Names::below(dir)?,
            workers: worker_pool::WorkerPool::new(),
        })))
    }

    /// Some file systems have no such call and say so (CIFS before Linux 4.17, 9p, several FUSE, the top of an
    /// automounter): they keep their names by themselves.
    #[cfg(unix)]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.names.open_dir(dir)?.sync_all() {
            Err(e) if is_no_call_for_directories(&e) => Ok(()),
            other => other,
        }
    }

    /// Elsewhere there is no such call; the file system keeps its names by itself.
    #[cfg(not(unix))]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::metadata(dir)?.is_dir() {
            true => Ok(()),
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn whole_file_system(&self, dir: &Path) -> io::Result<Option<Arc<dyn Flushed>>> {
        whole::open(self.names.open_dir(dir)?)
    }

    #[cfg(unix)]
    fn space(&self, dir: &Path) -> io::Result<Option<u64>> {
        let found = rustix::fs::fstatvfs(self.names.open_dir(dir)?)?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        loop {
            let names::Opened { file, has_other_names, .. } = self.names.open(path, Open::Create)?;
            try_lock(&file)?;
            // Its former holder may have put another file in its place, which is now the one that counts.
            #[cfg(unix)]
            if !self.names.is_at(&file, path)? {
                continue;
            }
            let holder = std::process::id();
            if !has_other_names {
                return Ok(Box::new(RealLock { file, holder }));
            }
            // What is noted in it would be seen under the other name. Nobody else gets past the one that is held.
            self.names.remove_file(path)?;
            let own = match self.names.open(path, Open::CreateNew) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                own => own?.file,
            };
            try_lock(&own)?;
            return Ok(Box::new(RealLock { file: own, holder }));
        }
    }

    fn now(&self) -> Timestamp {
        machine::now()
    }

    #[cfg(unix)]
    fn descriptors(&self) -> Option<u64> {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).current
    }

    fn monotonic(&self) -> Duration {
        machine::monotonic()
    }

    fn random(&self) -> u64 {
        machine::random()
    }

    fn identity(&self) -> (u32, String) {
        machine::identity()
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Duration>) {
        machine::wait(signal, seen, deadline);
    }

    fn spawn(&self, name: &str, signal: Arc<Signal>, task: Box<dyn Task>) -> io::Result<Box<dyn Running>> {
        machine::spawn(name, signal, task)
    }

    fn run_all(&self, jobs: Vec<Job>) {
        self.workers.run_all(jobs);
    }

    fn job_threads(&self) -> usize {
        self.workers.len()
    }

    fn end_job_threads(&self) {
        self.workers.dismiss();
    }
}

/// Locks a file, unless somebody has: `WouldBlock`.
fn try_lock(file: &fs::File) -> io::Result<()> {
    loop {
        match file.try_lock() {
            Err(fs::TryLockError::Error(e)) if e.kind() == ErrorKind::Interrupted => {}
            done => return Ok(done?),
        }
    }
}

/// A file whose lock lasts as long as this value.
///
/// The system's lock lasts as long as any copy of the descriptor. A thread that starts a program makes one, which the
/// child holds until the program begins: the lock is therefore let go by name, not by closing the file.
#[derive(Debug)]
struct RealLock {
    file: fs::File,
    /// The process that took it. A forked child that runs no other program shares the lock and must not release it.
    holder: u32,
}

impl Drop for RealLock {
    fn drop(&mut self) {
        if self.holder == std::process::id() {
            // Where this fails, closing the file is what is left.
            let _ = self.file.unlock();
        }
    }
}

impl Lock for RealLock {
    fn write(&self, content: &[u8]) -> io::Result<()> {
        use std::io::{Seek, Write};
        self.file.set_len(0)?;
        let mut file = &self.file;
        file.rewind()?;
        file.write_all(content)
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    has_other_names: bool,
    inode: Option<(u64, u64)>,
    /// The way past the cache.
    direct: direct::Direct,
    /// Whether space was reserved by writing zeros, for want of another way.
    grown_by_zeros: AtomicBool,
    /// Held while the file's one position is in use: reads and writes cannot carry their own.
    #[cfg(not(unix))]
    position: super::sync::Mutex<()>,
}

impl File for RealFile {
    // Neither this nor a write goes through the C library, where the call can be cancelled and pays for it.
    #[cfg(unix)]
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.file, buf, position)?)
    }

    #[cfg(not(unix))]
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        use std::io::{Read, Seek, SeekFrom};
        let _held = self.position.lock();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(position))?;
        file.read(buf)
    }

    #[cfg(unix)]
    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwrite(&self.file, buf, position)?)
    }

    #[cfg(not(unix))]
    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        use std::io::{Seek, SeekFrom, Write};
        let _held = self.position.lock();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(position))?;
        file.write(buf)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn has_other_names(&self) -> bool {
        self.has_other_names
    }

    fn inode(&self) -> Option<(u64, u64)> {
        self.inode
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len > largest_file() {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let before = self.len()?;
        let done = match self.fallocate(len) {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.grown_by_zeros.store(true, Ordering::Relaxed);
                self.grow_by_zeros(before, len)
            }
            done => done,
        };
        if done.is_err() && self.len().is_ok_and(|now| now > before) {
            // The first error is reported.
            let _ = self.file.set_len(before);
        }
        done
    }

    /// Space that was only reserved has to be marked as written by the flush that covers its first bytes, which on ext4
    /// takes a second write to the journal and a second flush of the device.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        if self.grown_by_zeros.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.fill_with_zeros(range.start, range.end)
    }

    fn read_past_cache(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.direct.read_at(&self.file, buf, position)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn zeros_from(&self, position: u64) -> Option<u64> {
        use rustix::{
            fs::{SeekFrom, seek},
            io::Errno,
        };
        // The descriptor's own position, which this moves, is used by nobody.
        let mut end = position;
        // A log's file has one hole, at its end. Of one with many this is not asked further.
        for _ in 0..8 {
            match seek(&self.file, SeekFrom::Data(end)) {
                Ok(data) => end = seek(&self.file, SeekFrom::Hole(data)).ok()?,
                Err(Errno::NXIO) => return Some(end),
                Err(_) => return None,
            }
        }
        None
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn data_from(&self, position: u64) -> u64 {
        use rustix::{
            fs::{SeekFrom, seek},
            io::Errno,
        };
        match seek(&self.file, SeekFrom::Data(position)) {
            Ok(data) => data,
            Err(Errno::NXIO) => u64::MAX,
            Err(_) => position,
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn data_behind(&self, position: u64) -> io::Result<u64> {
        use rustix::fs::{SeekFrom, seek};
        const STRETCHES: usize = 4096;
        let (mut at, mut found) = (position, 0);
        for _ in 0..STRETCHES {
            let data = self.data_from(at);
            // Where holes are not known, or there is nothing more, this fails.
            let Ok(hole) = seek(&self.file, SeekFrom::Hole(data)) else { break };
            found += hole.saturating_sub(data);
            at = hole;
        }
        Ok(if at == position && self.data_from(at) == at { self.len()?.saturating_sub(at) } else { found })
    }

    fn region(&self, capacity: u64) -> io::Result<Arc<dyn Region>> {
        mapped::map(&self.file, capacity).map_err(unsupported_if_never)
    }
}

/// How large the files of this process may become. To go beyond is more than an error: unless SIGXFSZ is ignored, the
/// system ends the process.
#[cfg(unix)]
fn largest_file() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn largest_file() -> u64 {
    u64::MAX
}

impl RealFile {
    /// Asks the file system to reserve `len` bytes from the start on; `Unsupported` where it cannot.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn fallocate(&self, len: u64) -> io::Result<()> {
        use rustix::{fs::FallocateFlags, io::Errno};
        if len == 0 {
            return Ok(());
        }
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(ErrorKind::Unsupported.into()),
                Err(e) => {
                    planted!(take_space_for_granted => return Ok(()));
                    return Err(e.into());
                }
            }
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn fallocate(&self, _len: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Reserves space in the way that every file system knows.
    fn grow_by_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        if to > from {
            // Refuses what no file can be, before any of it is written.
            self.file.set_len(to)?;
        }
        self.fill_with_zeros(from, to)
    }

    fn fill_with_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut position = from;
        while position < to {
            let step = (to - position).min(ZEROS.len() as u64) as usize;
            super::write_all_at(self, ZEROS.get(..step).unwrap_or(&ZEROS), position)?;
            position += step as u64;
        }
        Ok(())
    }
}
