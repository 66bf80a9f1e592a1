//! The environment in memory, with an eye on flushes: how long each file was when its last one began, and, when asked
//! to, errors instead of more of them. And a clock that moves when it is told to: a background task that sleeps until then
//! wakes.

use crate::{
    env::{
        Env, File, Next, Open, Running, Task, forward_to_env, forward_to_file,
        memory::MemoryEnv,
        sync::{AtomicBool, Mutex, Ordering, Signal},
    },
    types::Timestamp,
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Disk {
    memory: Arc<MemoryEnv>,
    flushes: Arc<Flushes>,
    drawn: std::sync::atomic::AtomicU64,
    clock: Arc<Clock>,
}

/// The time, and the signals that wait for one.
#[derive(Debug)]
struct Clock {
    state: Mutex<(Duration, Vec<(Duration, Arc<Signal>)>)>,
}

impl Clock {
    /// Whether `at` is still to come: then the signal is notified when it has.
    fn is_to_come(&self, at: Duration, signal: &Arc<Signal>) -> bool {
        let mut state = self.state.lock();
        let to_come = state.0 < at;
        if to_come {
            state.1.push((at, Arc::clone(signal)));
        }
        to_come
    }
}

#[derive(Debug, Default)]
struct Flushes {
    fail: AtomicBool,
    lengths: Mutex<BTreeMap<PathBuf, u64>>,
}

#[derive(Debug)]
struct DiskFile {
    file: Arc<dyn File>,
    path: PathBuf,
    flushes: Arc<Flushes>,
    /// How far it was written.
    written: Mutex<u64>,
}

impl Disk {
    pub(super) fn new() -> Arc<Disk> {
        let clock = Arc::new(Clock { state: Mutex::new((Duration::from_secs(1), Vec::new())) });
        Arc::new(Disk { memory: MemoryEnv::new(), flushes: Arc::default(), drawn: 4.into(), clock })
    }

    /// Moves the clock.
    pub(super) fn advance(&self, by: Duration) {
        let mut state = self.clock.state.lock();
        state.0 += by;
        let now = state.0;
        let (due, later) = state.1.drain(..).partition(|(at, _)| *at <= now);
        state.1 = later;
        drop(state);
        let due: Vec<(Duration, Arc<Signal>)> = due;
        due.iter().for_each(|(_, signal)| signal.notify());
    }

    /// How far the file was written when its last successful flush began.
    pub(super) fn flushed_len(&self, path: &str) -> u64 {
        self.flushes.lengths.lock().get(Path::new(path)).copied().unwrap_or(0)
    }

    /// From now on no flush of a segment succeeds.
    pub(super) fn fail_flushes(&self) {
        self.flushes.fail.store(true, Ordering::SeqCst);
    }
}

impl File for DiskFile {
    forward_to_file!(read_at, len, set_len, allocate, read_past_cache, region);

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        let done = self.file.write_at(buf, position)?;
        let mut written = self.written.lock();
        *written = (*written).max(position + done as u64);
        Ok(done)
    }
    fn sync_data(&self) -> io::Result<()> {
        let len = *self.written.lock();
        self.file.sync_data()?;
        if self.path.extension().is_some_and(|e| e == "log") && self.flushes.fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("the medium is gone"));
        }
        self.flushes.lengths.lock().insert(self.path.clone(), len);
        Ok(())
    }
}

impl Env for Disk {
    forward_to_env!(memory: create_dir, list, metadata, rename, remove_file, remove_dir, sync_dir, lock);
    forward_to_env!(memory: identity, wait, run_all);

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let file = self.memory.open(path, how)?;
        let (path, flushes) = (path.to_path_buf(), Arc::clone(&self.flushes));
        Ok(Arc::new(DiskFile { file, path, flushes, written: Mutex::new(0) }))
    }
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000)
    }
    fn monotonic(&self) -> Duration {
        self.clock.state.lock().0
    }
    fn random(&self) -> u64 {
        // Not the same twice: a file that takes another's place needs another epoch.
        self.drawn.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
    fn spawn(&self, name: &str, signal: Arc<Signal>, task: Box<dyn Task>) -> io::Result<Box<dyn Running>> {
        let timed = Timed { task, signal: Arc::clone(&signal), clock: Arc::clone(&self.clock) };
        self.memory.spawn(name, signal, Box::new(timed))
    }
}

/// A task that sleeps until a time of the disk's clock.
struct Timed {
    task: Box<dyn Task>,
    signal: Arc<Signal>,
    clock: Arc<Clock>,
}

impl Task for Timed {
    fn run(&mut self) -> Next {
        match self.task.run() {
            Next::Wait(Some(at)) if self.clock.is_to_come(at, &self.signal) => Next::Wait(None),
            Next::Wait(Some(_)) => Next::Again,
            next => next,
        }
    }
}
