//! The settings of an opening, and the opening itself.

use super::{Inner, Streamlog, background, lock, maintain};
use crate::{
    compaction::cleaner::Cleaner,
    env::{
        Env, Lock,
        memory::MemoryEnv,
        real::{RealEnv, temporary::TemporaryDir},
        sync::{AtomicBool, Mutex},
        trace::event,
    },
    error::{Error, Result},
    group::OffsetStore,
    partition::state::hold::Hold,
    producer::Sender,
    storage::{
        budget::WhenFull,
        data_dir::{DataDir, SharedOptions},
        files::ReadMode,
    },
    table::CompactionThresholds,
    topic::catalog::{Catalog, RecoveryProgress, RecoveryReport},
    transaction::TransactionCoordinator,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

type Progress = Box<dyn FnMut(&RecoveryProgress) -> bool + Send>;

/// Retention is checked no more often than this, so that an idle log costs next to nothing.
const SHORTEST_RETENTION_CHECK: Duration = Duration::from_millis(100);

/// Settings of an opening, from [`Streamlog::builder`].
pub struct Builder {
    dir: PathBuf,
    env: Arc<dyn Env>,
    read_only: bool,
    create: bool,
    threads: bool,
    read_mode: ReadMode,
    max_open_files: Option<usize>,
    min_free_space: u64,
    disk_budget: Option<(u64, WhenFull)>,
    retention_check: Duration,
    compaction_rate: Option<u64>,
    wait_for_lock: Duration,
    on_progress: Option<Progress>,
    upkeep: CompactionThresholds,
    temporary: Option<TemporaryDir>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("dir", &self.dir)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new(dir: &Path) -> Self {
        Self::with_env(RealEnv::new(), dir)
    }

    /// A log in a directory of its own, which is removed with it.
    pub(super) fn temporary() -> Result<Self> {
        let env = RealEnv::new();
        let made = TemporaryDir::new(|| env.random());
        let dir = made.map_err(|e| Error::io("create a directory in", std::env::temp_dir(), e))?;
        Ok(Builder { temporary: Some(dir), ..Self::with_env(env, Path::new("")) })
    }

    pub(super) fn in_memory() -> Self {
        Self::with_env(MemoryEnv::new(), Path::new("/memory"))
    }

    /// An opening on a simulated machine.
    #[cfg(feature = "sim")]
    pub fn env(env: &crate::env::sim::SimEnv, dir: impl AsRef<Path>) -> Self {
        Self::with_env(Arc::new(env.clone()), dir.as_ref())
    }

    pub(crate) fn with_env(env: Arc<dyn Env>, dir: &Path) -> Self {
        Builder {
            dir: dir.to_path_buf(),
            env,
            read_only: false,
            create: true,
            threads: true,
            read_mode: ReadMode::Mapped,
            max_open_files: None,
            min_free_space: 0,
            disk_budget: None,
            retention_check: Duration::from_secs(300),
            compaction_rate: None,
            wait_for_lock: Duration::ZERO,
            on_progress: None,
            temporary: None,
            upkeep: CompactionThresholds::default(),
        }
    }

    /// Whether nothing may be written: see [`Streamlog::open_read_only`]. Default: no.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether the directory is created if it does not exist. Default: yes.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether the handle may start threads. Default: yes. They are started by the first thing that needs them,
    /// [`stats`](Streamlog::stats) counts them, and [`close`](Streamlog::close) returns when they have ended:
    ///
    /// * `streamlog-work`, one: writes lingering records, takes flushes that may wait no longer;
    /// * `streamlog-care`, one: takes checkpoints, finishes rolled segments, applies retention, compacts. A long step of it delays no
    ///   lingering record;
    /// * `streamlog-flush`, at most seven: a call that makes several partitions durable flushes them at the same time.
    ///   They end by themselves after five idle seconds.
    ///
    /// With `false` there are none. Work that is due at a time is then done inside later calls and in
    /// [`Streamlog::maintain`] and [`Streamlog::maintain_for`], and several flushes run one after the other in the calling
    /// thread.
    #[must_use]
    pub fn background_thread(mut self, allowed: bool) -> Self {
        self.threads = allowed;
        self
    }

    /// How the bytes of files reach readers. Default: mapped.
    #[must_use]
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.read_mode = mode;
        self
    }

    /// How many files may be open, and how many mapped, at the same time; a mapping may hold a descriptor too. More
    /// partitions than that can be written: the ones used least are closed, after a flush where they have unflushed data.
    /// At least 1.
    ///
    /// Default: a quarter of the descriptors that the process may have when it opens the log (`ulimit -n`, the soft limit),
    /// 240 at most. So files, mappings and the few files of the log itself leave the program about half of a small limit
    /// (macOS begins with 256), and stay below 512 under a large one. A program with several logs open divides its limit
    /// among them with this.
    #[must_use]
    pub fn max_open_files(mut self, count: usize) -> Self {
        self.max_open_files = Some(count);
        self
    }

    /// How many bytes of the medium stay free. Default: 0, which is as much as the system lets it fill. An append that would
    /// leave less is refused with [`DiskFull`](crate::Error::DiskFull), which names this setting; appends resume within a
    /// second after space is back. Committed offsets may use half of it, so a consumer can still say how far it has come.
    /// Reading asks for nothing.
    ///
    /// The medium is asked when a segment grows, which it does in steps, at most once a second, and takes into account what
    /// this handle's segments grew by since. Space that a segment has already been given is filled. Sidecars, the manifest
    /// and what frees space (retention, [`delete_records`](Streamlog::delete_records)) are small and do not ask.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # use streamlog::Streamlog;
    /// let log = Streamlog::builder(dir.path().join("log")).min_free_space(64 << 20).open()?;
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    #[must_use]
    pub fn min_free_space(mut self, bytes: u64) -> Self {
        self.min_free_space = bytes;
        self
    }

    /// How many bytes the files of the log may take, over all topics, and what is done with an append for which there is no
    /// room. Default: no budget. At least 1; `u64::MAX` is no budget either.
    ///
    /// With [`WhenFull::Refuse`], and where nothing may be dropped, the append fails with
    /// [`DiskFull`](crate::Error::DiskFull), which names this setting. Nothing of it is kept, and nothing else is lost;
    /// `enqueue` tries again until `max_block` is over. With [`WhenFull::DropOldest`] the append removes sealed segments, the
    /// oldest over all topics first, until it fits; and none where that would not be enough. Segments stay that a
    /// `cleanup.policy` without `delete` or [`retention_hold_groups`](crate::TopicConfig::retention_hold_groups) keeps, that
    /// cannot be read yet, and that take appends. So that there are others, a segment then ends at a quarter of the budget,
    /// divided by the number of partitions, and at a sixteenth of it at the latest.
    ///
    /// Committed offsets are counted and never refused: a group does not stand still because data has filled the budget.
    /// So is what compaction writes, which counts while it is written and frees more. Reading asks for nothing. A budget below what is used opens as any other: the next append, or
    /// [`Streamlog::maintain`], refuses or drops.
    ///
    /// What counts: record files, with the space that is preallocated in them, their page checksums, and their indexes at the
    /// largest size that they can have, which is about half a percent of the records; and the files of keys that compaction
    /// needs, once this handle has written or read them. An opening takes the sizes from the manifest and measures no file. The manifest, the marks, snapshots of producers and quarantined files do not count.
    /// [`Stats::disk_used`](crate::admin::Stats::disk_used) has the sum. A handle that only reads has no budget.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// use streamlog::{Streamlog, config::WhenFull};
    ///
    /// let log = Streamlog::builder(dir.path().join("log")).disk_budget(10 << 30, WhenFull::DropOldest).open()?;
    /// assert_eq!(log.stats().disk_budget, Some(10 << 30));
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    #[must_use]
    pub fn disk_budget(mut self, bytes: u64, when_full: WhenFull) -> Self {
        self.disk_budget = Some((bytes, when_full));
        self
    }

    /// Committed offsets are kept in segments of this size, a sidecar of theirs is renewed after `snapshot_every`
    /// bytes, and all of them are written again, one to a batch, above `rewrite_above` bytes: small sizes, so that few
    /// commits reach them.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    #[must_use]
    pub fn offsets_upkeep(mut self, segment_bytes: u64, snapshot_every: u64, rewrite_above: u64) -> Self {
        self.upkeep = CompactionThresholds { snapshot_every, rewrite_above, segment_bytes, chunk_bytes: 1 };
        self
    }

    /// How often retention by time is applied. Default: five minutes, as in Kafka. A shorter interval counts as a tenth
    /// of a second; with `Duration::MAX` it is applied on other occasions only, such as [`Streamlog::maintain`].
    #[must_use]
    pub fn retention_check_interval(mut self, every: Duration) -> Self {
        self.retention_check = every.max(SHORTEST_RETENTION_CHECK);
        self
    }

    /// How many bytes per second compaction in the background reads at most. Default: no limit of its own; after each step
    /// of a few mebibytes it rests for as long as the step took, unless nearly all of a log is dirty.
    /// [`Streamlog::compact_now`] and [`Streamlog::maintain`] do not rest.
    #[must_use]
    pub fn compaction_rate(mut self, bytes_per_second: u64) -> Self {
        self.compaction_rate = Some(bytes_per_second);
        self
    }

    /// How long an opening for writing waits for another handle to close the directory before it fails with `AlreadyOpen`.
    /// Default: not at all.
    ///
    /// For a program that is restarted while its previous process is still ending: that lock is released when the
    /// system has ended the process. `Duration::MAX` waits forever.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # use std::time::Duration;
    /// # use streamlog::Streamlog;
    /// let log = Streamlog::builder(dir.path().join("log")).wait_for_lock(Duration::from_secs(5)).open()?;
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    #[must_use]
    pub fn wait_for_lock(mut self, time: Duration) -> Self {
        self.wait_for_lock = time;
        self
    }

    /// Called while an opening after a crash checks the tails of partitions, about once per mebibyte. Returning `false`
    /// cancels the opening, which then fails with `Cancelled` and can be tried again.
    #[must_use]
    pub fn on_recovery_progress(
        mut self,
        callback: impl FnMut(&RecoveryProgress) -> bool + Send + 'static,
    ) -> Self {
        self.on_progress = Some(Box::new(callback));
        self
    }

    /// Opens the directory that the path names now; a relative path starts at the working directory. An open log is not
    /// affected when the directory is moved, a link in its path is changed, or the working directory changes.
    ///
    /// # Errors
    ///
    /// See [`Streamlog::open`].
    pub fn open(mut self) -> Result<Streamlog> {
        self.check()?;
        self.enter_dir()?;
        if !self.threads {
            self.env.end_job_threads();
        }
        let lock = match self.read_only {
            true => None,
            false => Some(lock::wait_for(&*self.env, &self.dir, self.wait_for_lock)?),
        };
        let data_dir = self.open_data_dir()?;
        let mut go_on: Progress = self.on_progress.take().unwrap_or_else(|| Box::new(|_| true));
        let (catalog, report) = Catalog::open(data_dir, &mut *go_on)?;
        event!(INFO, dir = %self.dir.display(), clean = report.was_clean, elapsed = ?report.elapsed, "opened");
        Ok(self.wire(Arc::new(catalog), report, lock))
    }

    /// Refuses settings with which nothing could work.
    fn check(&self) -> Result<()> {
        if self.max_open_files == Some(0) {
            let reason = "0 files cannot be read or written; it is at least 1".to_string();
            return Err(Error::InvalidConfig { key: "max_open_files".into(), reason });
        }
        if matches!(self.disk_budget, Some((0, _))) {
            let reason = "0 bytes hold no record; it is at least 1".to_string();
            return Err(Error::InvalidConfig { key: "disk_budget".into(), reason });
        }
        Ok(())
    }

    /// Finds the directory, or creates it. Names are looked up in it from here on.
    fn enter_dir(&mut self) -> Result<()> {
        if let Some(temporary) = &self.temporary {
            self.dir = temporary.path().to_path_buf();
        }
        self.dir = absolute(&*self.env, &self.dir)?;
        let creates = self.create && !self.read_only;
        let was_there = creates && !create_dirs(&*self.env, &self.dir)?;
        let metadata = self.env.metadata(&self.dir).map_err(|e| not_opened(&self.dir, e))?;
        if !metadata.is_dir {
            let reason = format!("{} is a file; a log is a directory", self.dir.display());
            return Err(Error::InvalidArgument { reason });
        }
        if let Some(env) = self.env.hold(&self.dir).map_err(|e| not_opened(&self.dir, e))? {
            self.env = env;
        }
        if was_there {
            flush_found_name(&*self.env, &self.dir)?;
        }
        Ok(())
    }

    fn open_data_dir(&self) -> Result<Arc<DataDir>> {
        let options = SharedOptions {
            read_only: self.read_only,
            read_mode: self.read_mode,
            max_open_files: self.max_open_files.unwrap_or_else(|| share_of(self.env.descriptors())),
        };
        let data_dir = DataDir::open(Arc::clone(&self.env), &self.dir, options)?;
        data_dir.space.keep_free(self.min_free_space);
        if let Some((bytes, when_full)) = self.disk_budget.filter(|_| !self.read_only) {
            data_dir.space.budget.limit_to(bytes, when_full);
        }
        Ok(data_dir)
    }

    /// Connects the rooms over a catalog that is open.
    fn wire(self, catalog: Arc<Catalog>, report: RecoveryReport, lock: Option<Box<dyn Lock>>) -> Streamlog {
        catalog.make_room_on_request();
        if self.read_only {
            catalog.follow_on_request();
        }
        let threads = self.threads && !self.read_only;
        let sender = Sender::new(Arc::clone(&catalog));
        catalog.schedule().set_by_calls(!threads);
        let offsets = OffsetStore::with_upkeep(Arc::clone(&catalog), self.upkeep);
        let hold: Arc<dyn Hold> = Arc::<OffsetStore>::clone(&offsets);
        catalog.ask_before_removals(Arc::downgrade(&hold));
        let transactions =
            TransactionCoordinator::new(Arc::clone(&catalog), self.upkeep, Arc::clone(&offsets));
        if !self.read_only {
            unless_planted!(what_a_crash_left_open_stays_open => transactions.resolve());
        }
        let inner = Arc::new(Inner {
            dir: self.dir,
            background: background::Background::attach(&catalog, threads, self.retention_check),
            cleaner: Cleaner::new(&catalog, self.compaction_rate),
            offsets,
            transactions,
            idle_producers: Mutex::default(),
            sender,
            catalog,
            report,
            lock: Mutex::new(lock),
            round: maintain::Round::default(),
            closed: AtomicBool::new(false),
            temporary: Mutex::new(self.temporary),
        });
        if inner.catalog.has_retention() {
            inner.background.watch_retention();
        }
        inner.cleaner.watch();
        Streamlog { inner }
    }
}

/// Why a directory cannot be opened. One that is created on demand exists by now.
fn not_opened(dir: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: dir.to_path_buf() },
        _ => Error::io("open", dir, error),
    }
}

/// The path from the root, as the working directory is now.
fn absolute(env: &dyn Env, dir: &Path) -> Result<PathBuf> {
    if dir.as_os_str().is_empty() {
        let reason =
            "an empty path names no directory; \".\" is the one that the program runs in".to_string();
        return Err(Error::InvalidArgument { reason });
    }
    env.absolute(dir).map_err(|e| Error::io("find", dir, e))
}

/// How many files are open by default where the process may have this many descriptors.
fn share_of(descriptors: Option<u64>) -> usize {
    const MOST: u64 = 240;
    const LEAST: u64 = 4;
    descriptors.map_or(MOST, |limit| (limit / 4).clamp(LEAST, MOST)) as usize
}

/// Creates a directory and its missing parents, each name durable; returns whether the directory was created.
fn create_dirs(env: &dyn Env, dir: &Path) -> Result<bool> {
    match env.create_dir(dir) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
            let parent = parent.ok_or_else(|| Error::io("create", dir, e))?;
            if !create_dirs(env, parent)? {
                flush_found_name(env, parent)?;
            }
            env.create_dir(dir).map_err(|e| Error::io("create", dir, e))?;
        }
        Err(e) => return Err(Error::io("create", dir, e)),
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match env.sync_dir(parent) {
        // A directory that may be entered and written, and not listed, cannot be flushed. A file system with a journal
        // writes the name of a new directory with the directory.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => env.sync_dir(dir),
        other => other,
    }
    .map_err(|e| Error::io("flush", parent, e))?;
    Ok(true)
}

/// A directory without a manifest may have just been created by a process that died before its name was durable.
fn flush_found_name(env: &dyn Env, dir: &Path) -> Result<()> {
    if env.metadata(&dir.join("manifest")).is_ok() {
        return Ok(());
    }
    for parent in dir.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
        match env.sync_dir(parent) {
            // A process that may not read a directory has not created anything in it either.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            other => other.map_err(|e| Error::io("flush", parent, e))?,
        }
    }
    Ok(())
}
