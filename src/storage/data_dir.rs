//! What all logs of one directory share: the environment, the files, the manifest and the marks.
//!
//! Opening writes nothing. The first change by anybody goes through [`DataDir::begin_writing`], which makes it durable
//! that the directory is in use, so that a later opening knows whether it was closed.

use crate::{
    codec::{checkpoint::encode_meta_properties, manifest::Entry},
    env::{
        Env,
        process::Process,
        sync::{AtomicBool, AtomicU64, Mutex, OnceLock, Ordering},
    },
    error::{Error, Result},
    storage::{
        files::{FilePool, ReadMode},
        handle_role::HandleRole,
        layout::{CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_CONTENT, META_PROPERTIES},
        manifest::{Flush, Manifest},
        marks::Marks,
        sidecar::{TEXT_MAX, read_file, remove_if_there, replace_file},
        space::Space,
    },
    types::{Timestamp, TopicId},
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const NEVER: u64 = u64::MAX;

/// What the logs of one directory share.
pub struct DataDir {
    /// The door outside.
    pub env: Arc<dyn Env>,
    /// The log's directory.
    pub dir: PathBuf,
    /// Descriptors and mappings.
    pub pool: Arc<FilePool>,
    /// Which topics and segments exist.
    pub manifest: Manifest,
    /// How far each partition is durable.
    pub marks: Arc<Marks>,
    /// Whether nothing may be written.
    pub read_only: bool,
    /// The process that opened it: no other may use it, least of all a forked child.
    pub process: Process,
    opened_by: u32,
    writing: Mutex<bool>,
    closed: AtomicBool,
    /// What calls do where no thread may: see [`DataDir::do_inline_work`].
    inline_work: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// When it is due, on the monotonic clock in microseconds.
    inline_work_at: AtomicU64,
    before_writing: OnceLock<fn(&DataDir)>,
    /// For a read-only opening: applies what the writer did.
    follow: OnceLock<Box<dyn Fn() -> Result<()> + Send + Sync>>,
    /// What the opening found that the manifest does not say.
    found: Mutex<Vec<Entry>>,
    /// Room on the medium.
    pub space: Space,
    /// When a clean close was written down; `None` where somebody else has been here since.
    closed_at: OnceLock<Option<Timestamp>>,
}

impl fmt::Debug for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataDir").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// How a directory is opened.
#[derive(Clone, Copy, Debug)]
pub struct SharedOptions {
    /// Whether nothing may be written.
    pub read_only: bool,
    /// How bytes reach readers.
    pub read_mode: ReadMode,
    /// How many descriptors, and how many mappings, may be held.
    pub max_open_files: usize,
}

impl DataDir {
    /// Opens manifest and marks of a directory.
    pub fn open(env: Arc<dyn Env>, dir: &Path, options: SharedOptions) -> Result<Arc<Self>> {
        let role = if options.read_only { HandleRole::ReadOnly } else { HandleRole::ReadWrite };
        let pool = FilePool::new(env, options.read_mode, options.max_open_files);
        let manifest = Manifest::open(Arc::clone(pool.env()), dir, role)?;
        Self::with(pool, dir, options, manifest, role)
    }

    /// What a log shares with nobody: there is no manifest, and nothing may be written.
    pub fn detached(env: Arc<dyn Env>, dir: &Path, options: SharedOptions) -> Result<Arc<Self>> {
        let pool = FilePool::new(env, options.read_mode, options.max_open_files);
        let manifest = Manifest::none(Arc::clone(pool.env()), dir);
        Self::with(pool, dir, SharedOptions { read_only: true, ..options }, manifest, HandleRole::ReadOnly)
    }

    fn with(
        pool: Arc<FilePool>,
        dir: &Path,
        options: SharedOptions,
        manifest: Manifest,
        role: HandleRole,
    ) -> Result<Arc<Self>> {
        let (env, budget) = (Arc::clone(pool.env()), Arc::clone(pool.budget()));
        let marks = Arc::new(Marks::open(Arc::clone(&env), dir, role)?);
        Ok(Arc::new(DataDir {
            pool,
            manifest: manifest.marked_in(Arc::clone(&marks)),
            marks,
            dir: dir.to_path_buf(),
            read_only: options.read_only,
            process: Process::this(),
            opened_by: env.identity().0,
            writing: Mutex::new(false),
            closed: AtomicBool::new(false),
            inline_work: OnceLock::new(),
            inline_work_at: AtomicU64::new(NEVER),
            before_writing: OnceLock::new(),
            follow: OnceLock::new(),
            found: Mutex::default(),
            space: Space::new(Arc::clone(&env), dir, budget),
            closed_at: OnceLock::new(),
            env,
        }))
    }

    /// Makes it durable that the directory is being written, before the first change.
    pub fn begin_writing(&self) -> Result<()> {
        self.check_writable()?;
        let mut writing = self.writing.lock();
        if *writing {
            return Ok(());
        }
        if let Some(clean_up) = self.before_writing.get() {
            clean_up(self);
        }
        // In one append: without it, adopted batches would look like a torn tail from here on.
        let mut found = self.found.lock();
        let opened = [Entry::Opened { epoch: self.env.random() }];
        let entries: Vec<_> = opened.into_iter().chain(found.iter().cloned()).collect();
        // Whatever frees space comes this way first.
        self.manifest.append_to_make_room(&entries, Flush::Now)?;
        found.clear();
        drop(found);
        // A crash between the two leaves Kafka's mark of a clean stop, which only Kafka's tools would believe.
        unless_planted!(kafkas_clean_mark_stays => remove_if_there(&*self.env, &self.dir.join(CLEAN_SHUTDOWN))?);
        match self.write_meta_properties() {
            // The next opening that writes has another try; nothing here asks for it.
            Err(Error::DiskFull { .. }) => {}
            written => written?,
        }
        *writing = true;
        Ok(())
    }

    /// Runs `act`, which comes before space is freed: where the medium is full, once more with room that the manifest
    /// kept.
    pub fn making_room<T>(&self, act: impl Fn() -> Result<T>) -> Result<T> {
        match act() {
            Err(Error::DiskFull { .. }) if self.manifest.lend_room() => act(),
            done => done,
        }
    }

    /// Has the manifest say this, too, as soon as it says that the directory is in use.
    pub fn found(&self, entries: Vec<Entry>) {
        self.found.lock().extend(entries);
    }

    /// Whether names in a partition's directory may have come or gone since the log was closed: by the time of its last
    /// change, and everywhere where Kafka's mark of a clean stop is not the one that our close left.
    pub fn names_may_differ(&self, dir: &Path) -> Result<bool> {
        let closed_at = self.closed_at.get_or_init(|| {
            let mark = read_file(&*self.env, &self.dir.join(CLEAN_SHUTDOWN), TEXT_MAX).ok().flatten();
            mark.filter(|mark| mark == CLEAN_SHUTDOWN_CONTENT)?;
            self.env.metadata(&self.dir.join("manifest")).ok().map(|found| found.modified)
        });
        let Some(closed_at) = closed_at else { return Ok(true) };
        match self.env.metadata(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            found => Ok(found.map_err(|e| Error::io("measure", dir, e))?.modified >= *closed_at),
        }
    }

    /// Kafka's identity of the directory, which its tools ask for.
    fn write_meta_properties(&self) -> Result<()> {
        let path = self.dir.join(META_PROPERTIES);
        if self.env.metadata(&path).is_ok() {
            return Ok(());
        }
        let id = || {
            let bits = u128::from(self.env.random()) << 64 | u128::from(self.env.random());
            TopicId::from_bytes(bits.to_be_bytes())
        };
        replace_file(&*self.env, &path, encode_meta_properties(&id(), 1, &id()).as_bytes())
    }

    /// Whether anything was written since the opening.
    pub fn has_written(&self) -> bool {
        *self.writing.lock()
    }

    /// Whether writing is possible at all.
    pub fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        planted!(who_only_reads_may_write => return Ok(()));
        if self.read_only {
            return Err(Error::ReadOnly {
                reason: "the log was opened with Streamlog::open_read_only".into(),
            });
        }
        Ok(())
    }

    /// `Forked` in a child of the process that opened it. Asked before anything that locks, waits or writes.
    #[inline]
    pub fn check_process(&self) -> Result<()> {
        if self.process.is_this() { Ok(()) } else { Err(self.forked()) }
    }

    /// The error of a child.
    #[cold]
    pub fn forked(&self) -> Error {
        Error::Forked { dir: self.dir.clone(), opened_by: self.opened_by }
    }

    /// `Closed` once the handle was closed, `Forked` in another process.
    pub fn check_open(&self) -> Result<()> {
        self.check_process()?;
        self.check_not_closed()
    }

    /// `Closed` once the handle was closed, for a call that has asked for the process already: no other takes its place
    /// during a call.
    #[inline]
    pub fn check_not_closed(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(Error::closed("the log")) } else { Ok(()) }
    }

    /// Marks the handle as closed; `false` when it was.
    pub fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::SeqCst)
    }

    /// What is done once, before the first change.
    pub fn before_writing(&self, clean_up: fn(&DataDir)) {
        let _ = self.before_writing.set(clean_up);
    }

    /// What [`DataDir::do_inline_work`] does when it is due.
    pub fn on_inline_work(&self, work: Box<dyn Fn() + Send + Sync>) {
        let _ = self.inline_work.set(work);
    }

    /// What [`DataDir::follow_writer`] does.
    pub fn on_follow(&self, follow: Box<dyn Fn() -> Result<()> + Send + Sync>) {
        let _ = self.follow.set(follow);
    }

    /// Takes in what a writer did, where this opening only reads. Called without any lock.
    pub fn follow_writer(&self) -> Result<()> {
        self.follow.get().map_or(Ok(()), |follow| follow())
    }

    /// The inline work is due at `at` on the monotonic clock.
    pub fn inline_work_due(&self, at: Duration) {
        let micros = u64::try_from(at.as_micros()).unwrap_or(NEVER);
        self.inline_work_at.fetch_min(micros, Ordering::SeqCst);
    }

    /// Called at the beginning of calls that append, send or poll, without any lock: where no thread may do it, what is
    /// due is done here. One load where nothing ever is.
    #[inline]
    pub fn do_inline_work(&self) {
        if self.inline_work_at.load(Ordering::Relaxed) != NEVER {
            self.do_inline_work_if_due();
        }
    }

    fn do_inline_work_if_due(&self) {
        let at = self.inline_work_at.load(Ordering::SeqCst);
        let now = self.env.monotonic().as_micros();
        let mine =
            || self.inline_work_at.compare_exchange(at, NEVER, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if at != NEVER
            && now >= u128::from(at)
            && self.process.is_this()
            && mine()
            && let Some(work) = self.inline_work.get()
        {
            work();
        }
    }
}
