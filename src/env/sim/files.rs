//! Files, directories, mappings and locks of a simulated machine.

use super::{
    FaultKind, Operation, SimEnv, World,
    content::MAX_LEN,
    disk::{Body, Change, Held, Ino, names},
};
use crate::{
    env::{
        DirEntry, Env, File, FileKind, Flushed, Job, Lock, Metadata, Open, Region, Running, Task, WrongKind,
        sync::{MutexGuard, Signal},
    },
    types::Timestamp,
};
use bytes::Bytes;
use std::{
    io::{self, ErrorKind},
    ops::Range,
    path::Path,
    sync::Arc,
    time::Duration,
};

/// The process id on a simulated machine.
const PID: u32 = 4711;

const SECTOR: u64 = 512;

impl SimEnv {
    /// Counts an operation on a path, and returns the fault that strikes it, if any, as an error.
    fn begin(&self, operation: Operation, path: &Path) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.world.lock();
        let text = path.to_str().unwrap_or_default();
        match world.step(operation, text, usize::MAX) {
            None | Some(FaultKind::Short) => Ok(world),
            Some(kind) => Err(kind.error()),
        }
    }

    fn open_ino(&self, path: &Path, how: Open, operation: Operation) -> io::Result<Ino> {
        let mut world = self.begin(operation, path)?;
        let Some((dir, name)) = world.disk.parent(self.held.as_ref(), path)? else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let found = world.disk.entries(dir)?.get(name).copied();
        match (found, how) {
            (Some(_), Open::CreateNew) => Err(ErrorKind::AlreadyExists.into()),
            (Some(ino), _) if world.disk.kind(ino) == FileKind::File => Ok(ino),
            (Some(ino), _) => Err(world.disk.is_no(ino, FileKind::File, 0)),
            (None, Open::Read | Open::Write) => Err(ErrorKind::NotFound.into()),
            (None, Open::Create | Open::CreateNew) => world.make(dir, name, false),
        }
    }
}

/// The machine's one file system, which is flushed as a whole.
#[derive(Debug)]
struct Whole(SimEnv);

impl Flushed for Whole {
    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.0.begin(Operation::Sync, Path::new("/"))?;
        for ino in 0..world.disk.nodes.len() {
            world.change(Change::Sync { ino });
        }
        Ok(())
    }
}

impl World {
    fn make(&mut self, dir: Ino, name: &str, is_dir: bool) -> io::Result<Ino> {
        if self.room() == 0 {
            return Err(FaultKind::DiskFull.error());
        }
        let ino = self.disk.nodes.len();
        self.change(Change::Make { dir, name: name.into(), ino, body: Body::new(is_dir) });
        Ok(ino)
    }
}

impl Env for SimEnv {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let operation = match how {
            Open::Read | Open::Write => Operation::Open,
            Open::Create | Open::CreateNew => Operation::Create,
        };
        let ino = self.open_ino(path, how, operation)?;
        let path = Arc::from(path.to_str().unwrap_or_default());
        Ok(Arc::new(SimFile { env: self.clone(), ino, path, writable: how != Open::Read }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.begin(Operation::Create, path)?;
        match world.disk.parent(self.held.as_ref(), path)? {
            Some((dir, name)) if !world.disk.entries(dir)?.contains_key(name) => {
                world.make(dir, name, true).map(drop)
            }
            _ => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let world = self.begin(Operation::List, dir)?;
        let entries = world.disk.entries(world.disk.find(self.held.as_ref(), dir)?)?.iter();
        let listed =
            entries.map(|(name, ino)| DirEntry { name: name.to_string(), kind: world.disk.kind(*ino) });
        Ok(listed.collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let world = self.begin(Operation::Metadata, path)?;
        let ino = world.disk.find(self.held.as_ref(), path)?;
        let node = world.disk.nodes.get(ino).ok_or(ErrorKind::NotFound)?;
        Ok(match &node.live {
            Body::Dir(_) => Metadata { len: 0, is_dir: true, modified: node.modified },
            Body::File(content) => Metadata { len: content.len(), is_dir: false, modified: node.modified },
            Body::Link(_) => {
                return Err(WrongKind { found: FileKind::Link, expected: None, above: 0 }.into_io());
            }
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.begin(Operation::Rename, from)?;
        let (old, new) = (names(from), names(to));
        let invalid = || io::Error::from(ErrorKind::InvalidInput);
        let disk = &world.disk;
        let (from_dir, from_name) = disk.parent(self.held.as_ref(), from)?.ok_or_else(invalid)?;
        let ino = *disk.entries(from_dir)?.get(from_name).ok_or(ErrorKind::NotFound)?;
        let (to_dir, to_name) = disk.parent(self.held.as_ref(), to)?.ok_or_else(invalid)?;
        if old == new {
            return Ok(());
        }
        if new.starts_with(&old) {
            return Err(invalid());
        }
        match disk.entries(to_dir)?.get(to_name) {
            Some(target)
                if disk.is_dir(*target) && disk.is_dir(ino) && !disk.entries(*target)?.is_empty() =>
            {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            Some(target) if disk.is_dir(*target) && !disk.is_dir(ino) => {
                return Err(ErrorKind::IsADirectory.into());
            }
            Some(target) if !disk.is_dir(*target) && disk.is_dir(ino) => {
                return Err(ErrorKind::NotADirectory.into());
            }
            _ => {}
        }
        world.change(Change::Rename {
            from: (from_dir, from_name.into()),
            to: (to_dir, to_name.into()),
            ino,
        });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.begin(Operation::Remove, path)?;
        let Some((dir, name)) = world.disk.parent(self.held.as_ref(), path)? else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let ino = *world.disk.entries(dir)?.get(name).ok_or(ErrorKind::NotFound)?;
        if world.disk.is_dir(ino) {
            return Err(world.disk.is_no(ino, FileKind::File, 0));
        }
        world.change(Change::Unlink { dir, name: name.into(), ino });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.begin(Operation::Remove, path)?;
        let Some((dir, name)) = world.disk.parent(self.held.as_ref(), path)? else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let ino = *world.disk.entries(dir)?.get(name).ok_or(ErrorKind::NotFound)?;
        if !world.disk.entries(ino)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        world.change(Change::Unlink { dir, name: name.into(), ino });
        Ok(())
    }

    fn hold(&self, dir: &Path) -> io::Result<Option<Arc<dyn Env>>> {
        let found = {
            let world = self.world.lock();
            let found = world.disk.find(None, dir)?;
            world.disk.entries(found)?;
            found
        };
        let held = Some(Held { path: dir.into(), dir: found });
        Ok(Some(Arc::new(SimEnv { world: Arc::clone(&self.world), held })))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.begin(Operation::SyncDir, dir)?;
        let ino = world.disk.find(self.held.as_ref(), dir)?;
        world.disk.entries(ino)?;
        world.change(Change::Sync { ino });
        Ok(())
    }

    fn whole_file_system(&self, _dir: &Path) -> io::Result<Option<Arc<dyn Flushed>>> {
        Ok(Some(Arc::new(Whole(self.clone()))))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let ino = self.open_ino(path, Open::Create, Operation::Lock)?;
        if !self.world.lock().locks.insert(ino) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let path = Arc::from(path.to_str().unwrap_or_default());
        let file = SimFile { env: self.clone(), ino, path, writable: true };
        Ok(Box::new(SimLock { file }))
    }

    fn now(&self) -> Timestamp {
        self.world.lock().now()
    }

    fn monotonic(&self) -> Duration {
        self.world.lock().monotonic
    }

    fn space(&self, _dir: &Path) -> io::Result<Option<u64>> {
        Ok(Some(self.world.lock().room()))
    }

    fn random(&self) -> u64 {
        self.world.lock().rng.next()
    }

    fn identity(&self) -> (u32, String) {
        (PID, "sim".into())
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Duration>) {
        self.wait_for(signal, seen, deadline);
    }

    fn spawn(&self, name: &str, signal: Arc<Signal>, task: Box<dyn Task>) -> io::Result<Box<dyn Running>> {
        Ok(self.spawn_task(name, signal, task))
    }

    fn run_all(&self, jobs: Vec<Job>) {
        self.run_jobs(jobs);
    }
}

#[derive(Debug)]
struct SimFile {
    env: SimEnv,
    ino: Ino,
    path: Arc<str>,
    writable: bool,
}

impl SimFile {
    fn begin(&self, operation: Operation) -> (MutexGuard<'_, World>, Option<FaultKind>) {
        let mut world = self.env.world.lock();
        let fault = world.step(operation, &self.path, self.ino);
        (world, fault)
    }

    /// An operation that has no byte count to cut short.
    fn plain(&self, operation: Operation) -> io::Result<MutexGuard<'_, World>> {
        match self.begin(operation) {
            (world, None | Some(FaultKind::Short)) => Ok(world),
            (_, Some(kind)) => Err(kind.error()),
        }
    }

    fn check_writable(&self, end: Option<u64>) -> io::Result<()> {
        if !self.writable {
            return Err(ErrorKind::PermissionDenied.into());
        }
        if end.is_none_or(|end| end > MAX_LEN) {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(())
    }

    fn lengthen(&self, len: u64, operation: Operation, shrink: bool) -> io::Result<()> {
        self.check_writable(Some(len))?;
        let mut world = self.plain(operation)?;
        let now = world.disk.content(self.ino)?.len();
        if len > now && len - now > world.room() {
            return Err(FaultKind::DiskFull.error());
        }
        if len > now || (shrink && len < now) {
            world.change(Change::SetLen { ino: self.ino, len });
        }
        Ok(())
    }
}

impl File for SimFile {
    fn inode(&self) -> Option<(u64, u64)> {
        Some((0, self.ino as u64))
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let (world, fault) = self.begin(Operation::Read);
        let wanted = match fault {
            None => buf.len(),
            Some(FaultKind::Short | FaultKind::ShortThenFull) => buf.len().div_ceil(2),
            Some(kind) => return Err(kind.error()),
        };
        Ok(world.disk.content(self.ino)?.read(&mut buf[..wanted], position))
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.check_writable(position.checked_add(buf.len() as u64))?;
        let (mut world, fault) = self.begin(Operation::Write);
        let mut wanted = match fault {
            None => buf.len(),
            Some(FaultKind::Short) => buf.len().div_ceil(2),
            // A medium fills up between its sectors, not within one.
            Some(FaultKind::ShortThenFull) => {
                let end = (position + buf.len() as u64 / 2) / SECTOR * SECTOR;
                match end.saturating_sub(position) {
                    0 => return Err(FaultKind::DiskFull.error()),
                    fit => fit as usize,
                }
            }
            Some(kind) => return Err(kind.error()),
        };
        let growth = (position + wanted as u64).saturating_sub(world.disk.content(self.ino)?.len());
        let room = world.room();
        if growth > room {
            wanted = wanted.saturating_sub((growth - room) as usize);
            if wanted == 0 {
                return Err(FaultKind::DiskFull.error());
            }
        }
        if wanted > 0 {
            world.change(Change::Write { ino: self.ino, at: position, data: buf[..wanted].into() });
        }
        Ok(wanted)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut world, fault) = self.begin(Operation::Sync);
        match fault {
            None | Some(FaultKind::Short) => world.change(Change::Sync { ino: self.ino }),
            Some(FaultKind::LosePages) => {
                world.change(Change::LoseSync { ino: self.ino });
                return Err(FaultKind::Io.error());
            }
            Some(FaultKind::Late) => world.change(Change::LoseSync { ino: self.ino }),
            Some(kind) => return Err(kind.error()),
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.plain(Operation::Metadata)?.disk.content(self.ino)?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lengthen(len, Operation::SetLen, true)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.lengthen(len, Operation::Allocate, false)
    }

    fn read_past_cache(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let world = self.plain(Operation::Read)?;
        if world.cached_only {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(world.disk.medium(self.ino)?.read(buf, position))
    }

    fn zeros_from(&self, position: u64) -> Option<u64> {
        let world = self.env.world.lock();
        Some(world.disk.content(self.ino).ok()?.data_end().max(position))
    }

    fn data_from(&self, position: u64) -> u64 {
        match self.zeros_from(position) {
            Some(zeros_from) if zeros_from <= position => u64::MAX,
            _ => position,
        }
    }

    fn region(&self, capacity: u64) -> io::Result<Arc<dyn Region>> {
        drop(self.plain(Operation::Map)?);
        let path = Arc::clone(&self.path);
        Ok(Arc::new(SimRegion { env: self.env.clone(), ino: self.ino, path, capacity }))
    }
}

#[derive(Debug)]
struct SimRegion {
    env: SimEnv,
    ino: Ino,
    path: Arc<str>,
    capacity: u64,
}

impl Region for SimRegion {
    fn get(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.start > range.end || range.end > self.capacity {
            return Err(ErrorKind::InvalidInput.into());
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let mut world = self.env.world.lock();
        let content = world.disk.content(self.ino)?;
        let (len, written) = (content.len(), world.disk.nodes[self.ino].written);
        if range.end > written {
            let path = &self.path;
            let what =
                format!("{path}: bytes {range:?} of a mapping were read, {written} of {len} were written");
            world.violations.push(what);
        }
        if range.end > len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        world.disk.content(self.ino)?.read(&mut bytes, range.start);
        Ok(bytes.into())
    }

    fn capacity(&self) -> u64 {
        self.capacity
    }
}

#[derive(Debug)]
struct SimLock {
    file: SimFile,
}

impl Lock for SimLock {
    fn write(&self, content: &[u8]) -> io::Result<()> {
        let mut world = self.file.plain(Operation::Lock)?;
        world.change(Change::SetLen { ino: self.file.ino, len: 0 });
        world.change(Change::Write { ino: self.file.ino, at: 0, data: content.into() });
        Ok(())
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.file.env.world.lock().locks.remove(&self.file.ino);
    }
}
