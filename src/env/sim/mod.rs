//! A simulated machine: a disk that behaves as badly as real ones do, a clock that jumps, background work without
//! threads. Everything it does follows from its seed.
//!
//! Test your own application with it: run it on a [`SimEnv`], let the machine die, open the log again on what is left. It is
//! behind the feature `sim`, which tests alone need:
//!
//! ```toml
//! [dev-dependencies]
//! streamlog = { path = "../streamlog", features = ["sim"] }
//! ```
//!
//! ```
//! use streamlog::{RecordData, TopicConfig, config::Builder, sim::{Crash, SimEnv}};
//!
//! let env = SimEnv::new(42);
//! let log = Builder::env(&env, "/data").background_thread(false).open()?;
//! let partition = log.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! partition.append(&[RecordData::new("paid")])?;
//!
//! let after = env.crash(Crash::Nothing, 7);
//! let log = Builder::env(&after, "/data").background_thread(false).open()?;
//! assert_eq!(log.topic("orders")?.partition(0)?.high_watermark(), 1);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! # To die after every operation
//!
//! Each [`Operation`] has a number. The first one on a machine is 1, and every later one, reads and those that fail
//! included, has the next; a machine that comes up after a crash counts from 1 again. [`SimEnv::operations`] is the number
//! of the last one: after a call it shows which operations came before that call returned. The same program
//! with the same seed has the same operations under the same numbers, on every computer, as long as one thread uses the
//! machine; another release of this library may have others.
//!
//! [`SimEnv::record`] begins a [`Recording`], and a [`Cursor`] goes through it from change to change: it stands after the
//! operation whose number [`Cursor::advance`] returns, and operations that changed nothing are passed over. A machine can
//! [die](Cursor::crash) wherever it stands, without the program running again:
//!
//! ```
//! use streamlog::{ProducerRecord, TopicConfig, config::Builder, sim::{Crash, SimEnv}};
//!
//! let machine = SimEnv::new(42);
//! let log = Builder::env(&machine, "/data").background_thread(false).open()?;
//! log.create_topic("payments", TopicConfig::default())?;
//! let producer = log.producer()?;
//!
//! machine.record();
//! let mut acknowledged_at = Vec::new();
//! for payment in ["ten pounds to ada", "five to grace"] {
//!     producer.send(ProducerRecord::new("payments", payment))?;
//!     acknowledged_at.push(machine.operations());
//! }
//! let recording = machine.recording();
//!
//! let mut places = 0;
//! let mut cursor = recording.cursor();
//! while let Some(operation) = cursor.advance() {
//!     let promised = acknowledged_at.iter().filter(|at| **at <= operation).count() as u64;
//!     for crash in Crash::ALL {
//!         // The seed decides what of the unflushed changes is left.
//!         let rebooted = cursor.crash(crash, operation);
//!         let log = Builder::env(&rebooted, "/data").background_thread(false).open()?;
//!         let end = log.topic("payments")?.partition(0)?.log_end_offset();
//!         assert!(end >= promised, "after {crash:?} at operation {operation}: {end} of {promised}");
//!         places += 1;
//!     }
//! }
//! assert!(places > 50);
//! # Ok::<(), streamlog::Error>(())
//! ```
//!
//! Effects outside the machine are on no disk: a payment that was made, a message that a relay delivered. Note
//! [`SimEnv::operations`] beside each, as with an acknowledgement. After a crash at a later operation the program must not
//! lose the effect; it may repeat those since its last commit.
//!
//! # What is always true
//!
//! * Flushed changes survive every [`Crash`]; of the others any part may. Lengths, bytes and names survive separately.
//! * A [`Recording`] of a run has the disk after each of its operations; the program need not run again.
//! * A task that was spawned runs inside waits, joins and [`SimEnv::pump`], on the calling thread. A wait that nothing
//!   can end panics: it would hang on a real machine. One thread at a time is meant to use a simulated machine.
//! * A reader of a mapping that touches what was never written, or lies past the end of its file, is noted in
//!   [`SimEnv::violations`]: a real one would have read zeros or been killed.

#![expect(clippy::panic, reason = "a simulated machine stops a test that would hang")]

mod content;
mod crash;
mod disk;
mod fault;
mod files;
mod record;
mod rng;
mod run;
#[cfg(test)]
mod tests;

pub use crash::Crash;
pub use fault::{Fault, FaultKind, Operation};
pub use record::{Cursor, Recording};

use super::sync::Mutex;
use crate::types::Timestamp;
use disk::{Change, Disk, Ino};
use record::Entry;
use rng::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::Path,
    sync::Arc,
    time::Duration,
};

/// When simulated time begins, in milliseconds since 1970.
const EPOCH: i64 = 1_700_000_000_000;

/// How far each operation moves the clock.
const TICK: Duration = Duration::from_micros(1);

/// A simulated machine. Clones are the same machine.
#[derive(Clone)]
pub struct SimEnv {
    world: Arc<Mutex<World>>,
    /// The directory in which names below it are looked up.
    held: Option<disk::Held>,
}

struct World {
    disk: Disk,
    locks: BTreeSet<Ino>,
    faults: Vec<Fault>,
    /// How often faults of each kind have struck.
    struck: u64,
    rng: Rng,
    monotonic: Duration,
    /// The wall clock when the monotonic clock began.
    epoch: i64,
    operations: u64,
    journal: Option<(Disk, Vec<Entry>)>,
    capacity: Option<u64>,
    /// Whether reads past the cache are unsupported.
    cached_only: bool,
    violations: Vec<String>,
    tasks: Vec<run::Slot>,
    watcher: Option<Watcher>,
}

/// Called with the number of each operation, before it is done.
type Watcher = Arc<dyn Fn(u64) + Send + Sync>;

impl fmt::Debug for SimEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimEnv").finish_non_exhaustive()
    }
}

impl SimEnv {
    /// A machine with an empty disk, whose randomness comes from `seed`.
    pub fn new(seed: u64) -> SimEnv {
        let monotonic = Duration::ZERO;
        Self::with(Disk::new(Timestamp::from_millis(EPOCH)), Rng::new(seed), monotonic, EPOCH)
    }

    fn with(disk: Disk, rng: Rng, monotonic: Duration, epoch: i64) -> SimEnv {
        let world = World {
            disk,
            locks: BTreeSet::new(),
            faults: Vec::new(),
            struck: 0,
            rng,
            monotonic,
            epoch,
            operations: 0,
            journal: None,
            capacity: None,
            cached_only: false,
            violations: Vec::new(),
            tasks: Vec::new(),
            watcher: None,
        };
        SimEnv { world: Arc::new(Mutex::new(world)), held: None }
    }

    /// The machine as it comes up after a crash now. This one keeps running unharmed.
    pub fn crash(&self, crash: Crash, seed: u64) -> SimEnv {
        let world = self.world.lock();
        let mut rng = Rng::new(seed);
        let disk = crash::image(&world.disk, crash, &mut rng);
        Self::with(disk, rng, world.monotonic, world.epoch)
    }

    /// Flips one bit in each of up to `count` places of files: bit rot. Returns their paths and positions.
    pub fn rot(&self, seed: u64, count: usize) -> Vec<(String, u64)> {
        let mut world = self.world.lock();
        let flipped = world.disk.rot(&mut Rng::new(seed), count);
        let paths = flipped.into_iter().map(|(ino, at)| (world.path_of(ino), at));
        paths.collect()
    }

    /// From now on, operations that match fail. Several faults may be set at the same time.
    pub fn inject(&self, fault: Fault) {
        self.world.lock().faults.push(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.world.lock().faults.clear();
    }

    /// How often faults have struck.
    pub fn struck(&self) -> u64 {
        self.world.lock().struck
    }

    /// Limits the bytes of all files together. Preallocated space counts.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world.lock().capacity = bytes;
    }

    /// From now on nothing can be read past the cache, as on a file system without direct I/O.
    pub fn refuse_reads_past_the_cache(&self) {
        self.world.lock().cached_only = true;
    }

    /// The bytes of all files together.
    pub fn used(&self) -> u64 {
        self.world.lock().disk.used()
    }

    /// How many operations there have been: the number of the last one, 0 before the first.
    pub fn operations(&self) -> u64 {
        self.world.lock().operations
    }

    /// Bytes that readers of mappings must not touch, and did.
    pub fn violations(&self) -> Vec<String> {
        self.world.lock().violations.clone()
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut world = self.world.lock();
        world.monotonic = world.monotonic.saturating_add(by);
    }

    /// Sets the wall clock alone, forward or back, as an administrator would.
    pub fn set_wall_clock(&self, now: Timestamp) {
        let mut world = self.world.lock();
        world.epoch = now.as_millis().saturating_sub(millis(world.monotonic));
    }

    /// Every file by its path.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.world.lock().disk.files()
    }

    /// Writes a file past everything that is simulated: no operation, no fault, flushed. A missing file is created in a
    /// directory that exists.
    ///
    /// # Errors
    ///
    /// `NotFound` without the directory.
    pub fn overwrite(&self, path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
        use super::{Env, Open};
        let file = self.open(path.as_ref(), Open::Create)?;
        file.set_len(0)?;
        super::write_all_at(&*file, content, 0)?;
        file.sync_data()?;
        self.sync_dir(path.as_ref().parent().unwrap_or(Path::new("/")))
    }

    /// Makes a symbolic link in the same way: the name `at` leads to `target`, which need not exist. A relative `target`
    /// begins in the link's directory.
    ///
    /// A log's directory may be reached through links. Links below it are not followed.
    ///
    /// # Errors
    ///
    /// `NotFound` without the directory, `AlreadyExists` where the name is taken.
    pub fn symlink(&self, target: impl AsRef<Path>, at: impl AsRef<Path>) -> io::Result<()> {
        let at = at.as_ref();
        let target = at.parent().unwrap_or(Path::new("/")).join(target);
        let mut world = self.world.lock();
        match world.disk.parent(None, at)? {
            Some((dir, name)) if !world.disk.entries(dir)?.contains_key(name) => {
                let ino = world.disk.nodes.len();
                let body = disk::Body::Link(target.to_string_lossy().into());
                world.change(Change::Make { dir, name: name.into(), ino, body });
                world.change(Change::Sync { ino: dir });
                Ok(())
            }
            _ => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Calls `watcher` before each operation, with the number of that operation: in the middle of calls. It must not use
    /// the machine itself; it may read the offsets of partitions.
    pub fn watch(&self, watcher: impl Fn(u64) + Send + Sync + 'static) {
        self.world.lock().watcher = Some(Arc::new(watcher));
    }

    /// From now on nothing works, as in a dead process: values that are dropped later change nothing.
    pub fn die(&self) {
        let mut world = self.world.lock();
        world.watcher = None;
        world.faults = vec![Fault::new(FaultKind::Io).forever()];
    }

    /// Records operations from now on.
    pub fn record(&self) {
        let mut world = self.world.lock();
        world.journal = Some((world.disk.clone(), Vec::new()));
    }

    /// Ends the recording that [`SimEnv::record`] began, and returns it.
    pub fn recording(&self) -> Recording {
        let mut world = self.world.lock();
        let (start, entries) = world.journal.take().unwrap_or_else(|| (world.disk.clone(), Vec::new()));
        Recording::new(start, entries, world.monotonic, world.epoch)
    }
}

impl World {
    /// Counts an operation, and applies the fault that matches it.
    fn step(&mut self, operation: Operation, path: &str, ino: Ino) -> Option<FaultKind> {
        self.operations += 1;
        self.monotonic = self.monotonic.saturating_add(TICK);
        if let Some(watcher) = &self.watcher {
            watcher(self.operations);
        }
        if self.journal.is_some() {
            self.note(operation, path, None);
        }
        let fault = self.faults.iter_mut().find_map(|fault| fault.strikes(operation, path, ino));
        self.struck += u64::from(fault.is_some());
        fault
    }

    fn note(&mut self, operation: Operation, path: &str, change: Option<Change>) {
        let number = self.operations;
        if let Some((_, entries)) = &mut self.journal {
            entries.push(Entry { number, operation, path: path.to_string(), change });
        }
    }

    /// Changes the disk, and records the change while a recording runs.
    fn change(&mut self, change: Change) {
        let now = self.now();
        self.disk.apply(&change, now);
        if let Some((_, entries)) = &mut self.journal {
            match entries.last_mut() {
                Some(entry) if entry.change.is_none() => entry.change = Some(change),
                _ => {
                    let (operation, path) = (Operation::Write, String::new());
                    entries.push(Entry { number: self.operations, operation, path, change: Some(change) });
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.epoch.saturating_add(millis(self.monotonic)))
    }

    /// How many bytes are free.
    fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.disk.used()))
    }

    fn path_of(&self, ino: Ino) -> String {
        let mut dirs = vec![(disk::ROOT, String::new())];
        while let Some((dir, path)) = dirs.pop() {
            for (name, found) in self.disk.entries(dir).into_iter().flatten() {
                let path = format!("{path}/{name}");
                if *found == ino {
                    return path;
                }
                if self.disk.is_dir(*found) {
                    dirs.push((*found, path));
                }
            }
        }
        String::from("(no name)")
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
