//! An environment in memory whose next operations can be told to fail. For the tests of this room.
//!
//! Operations that change something are counted: writes, flushes, lengths, names. The chosen one fails as asked, a
//! write after its first half; when it is a crash, so do all behind it.

use crate::env::memory::MemoryEnv;
use crate::env::sync::Mutex;
use crate::env::{DirEntry, Env, File, Open, forward_to_env, forward_to_file};
use std::{io, path::Path, sync::Arc};

/// What fails, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The n-th operation from now on, and all after it.
    Crash(usize),
    /// Writes and new files, for want of space.
    Full,
    /// New files, while there is room in the old ones.
    NearlyFull,
    /// Space behind this byte of a file, for want of it.
    FullBeyond(u64),
    /// Flushes of files.
    Sync,
}

#[derive(Debug)]
pub(crate) struct FaultyEnv {
    pub(crate) memory: Arc<MemoryEnv>,
    plan: Arc<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    fault: Mutex<Option<Fault>>,
    operations: Mutex<usize>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

/// What somebody else does.
#[derive(Clone)]
struct Meanwhile(Arc<dyn Fn(&Path) + Send + Sync>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Create,
    Grow,
    Sync,
    Other,
}

impl Plan {
    fn step(&self, operation: Operation) -> io::Result<()> {
        let mut operations = self.operations.lock();
        *operations += 1;
        match *self.fault.lock() {
            Some(Fault::Crash(at)) if *operations > at => Err(io::Error::other("crashed")),
            Some(Fault::Full) if operation == Operation::Grow => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Full | Fault::NearlyFull) if operation == Operation::Create => {
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(Fault::Sync) if operation == Operation::Sync => Err(io::Error::other("flush failed")),
            _ => Ok(()),
        }
    }
}

impl FaultyEnv {
    pub(crate) fn new(memory: Arc<MemoryEnv>) -> Arc<Self> {
        Arc::new(FaultyEnv { memory, plan: Arc::default() })
    }

    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.plan.operations.lock() = 0;
        *self.plan.fault.lock() = fault;
    }

    /// Somebody else does this just before a file is opened to be read, or a directory listed.
    pub(crate) fn meanwhile(&self, act: impl Fn(&Path) + Send + Sync + 'static) {
        *self.plan.meanwhile.lock() = Some(Meanwhile(Arc::new(act)));
    }

    fn let_others_act(&self, path: &Path) {
        let meanwhile = self.plan.meanwhile.lock().clone();
        if let Some(Meanwhile(act)) = meanwhile {
            act(path);
        }
    }

    /// How many operations there were since the last `set`.
    pub(crate) fn operations(&self) -> usize {
        *self.plan.operations.lock()
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn File>,
    plan: Arc<Plan>,
}

impl File for FaultyFile {
    forward_to_file!(read_at, len, read_past_cache, region);

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        match self.plan.step(Operation::Grow) {
            Ok(()) => self.file.write_at(buf, position),
            Err(error) => {
                self.file.write_at(&buf[..buf.len() / 2], position)?;
                Err(error)
            }
        }
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.plan.step(Operation::Grow)?;
        if matches!(*self.plan.fault.lock(), Some(Fault::FullBeyond(limit)) if len > limit) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.allocate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.plan.step(Operation::Sync)?;
        self.file.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.plan.step(Operation::Other)?;
        self.file.set_len(len)
    }
}

impl Env for FaultyEnv {
    forward_to_env!(memory: create_dir, metadata, remove_dir, lock);
    forward_to_env!(memory: now, monotonic, random, identity, wait, spawn, run_all);

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if how == Open::CreateNew {
            self.plan.step(Operation::Create)?;
        }
        if how == Open::Read {
            self.let_others_act(path);
        }
        Ok(Arc::new(FaultyFile { file: self.memory.open(path, how)?, plan: self.plan.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.step(Operation::Other)?;
        self.memory.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.plan.step(Operation::Other)?;
        self.memory.remove_file(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.plan.step(Operation::Other)?;
        self.memory.sync_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.let_others_act(dir);
        self.memory.list(dir)
    }
}
