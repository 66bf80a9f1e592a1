//! The handle on a directory: opens it, wires the rooms, owns the background threads.
//!
//! A [`Streamlog`] is cheap to clone, and all clones are handles of one opening. Producers, consumers, topics and
//! partitions keep it open as the clones do. Closing it closes it for all of them; dropping the last one does the same
//! and swallows errors.

mod admin;
mod background;
mod builder;
mod clients;
mod close;
mod compact;
mod explain_retention;
mod lock;
mod maintain;
mod purge;
mod stats;
#[cfg(test)]
mod tests;

pub use admin::{ListedOffset, OffsetSpec};
pub use builder::Builder;
pub use compact::{Compact, CompactProgress, Compacted};
pub use explain_retention::{
    BudgetRetention, NextDropped, PartitionRetention, SegmentRetention, TopicRetention,
};
pub use purge::Purged;
pub use stats::{DiskUsage, HangingTransaction, Health, Stats, TopicUsage};

use crate::{
    compaction::cleaner::Cleaner,
    env::{
        Lock,
        real::temporary::TemporaryDir,
        sync::{AtomicBool, Mutex},
    },
    error::Result,
    group::OffsetStore,
    partition::keep_open::KeepOpen,
    producer::{Producer, Sender},
    topic::catalog::{Catalog, RecoveryReport},
    transaction::TransactionCoordinator,
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An open log directory: Kafka's log inside your process.
///
/// Clones are cheap. The log stays open as long as one of them exists, or anything made with it: a builder, a producer,
/// a consumer, a topic, a partition, an iterator over its batches. So a function may open a log and return only a
/// producer. Dropping the last of them closes the log as [`Streamlog::close`] does, but without reporting errors.
///
/// It belongs to the process that opened it. In a child made by `fork`, each call of it, and of everything made with it,
/// fails with [`Forked`](crate::Error::Forked); closing and dropping it there does nothing. See
/// [the manual](crate::manual::operating#daemons-pre-forking-servers-bindings).
///
/// ```no_run
/// use streamlog::{Streamlog, TopicConfig};
///
/// let log = Streamlog::open("./data")?;
/// let topic = log.create_topic("orders", TopicConfig::default().partitions(4))?;
/// println!("{} has {} partitions", topic.name(), topic.partition_count());
/// log.close()?;
/// # Ok::<(), streamlog::Error>(())
/// ```
#[derive(Clone)]
pub struct Streamlog {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    catalog: Arc<Catalog>,
    report: RecoveryReport,
    /// Held while the handle is open for writing.
    lock: Mutex<Option<Box<dyn Lock>>>,
    sender: Arc<Sender>,
    offsets: Arc<OffsetStore>,
    transactions: Arc<TransactionCoordinator>,
    /// Of closures that run in transactions. They keep nothing open.
    idle_producers: Mutex<Vec<Producer>>,
    background: Arc<background::Background>,
    cleaner: Arc<Cleaner>,
    /// The rest of a maintenance round, if a call had no time for it.
    round: maintain::Round,
    closed: AtomicBool,
    /// The directory, if it is removed with the log.
    temporary: Mutex<Option<TemporaryDir>>,
}

impl fmt::Debug for Streamlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Streamlog");
        shown.field("dir", &self.inner.dir).field("read_only", &self.is_read_only());
        match self.inner.catalog.data_dir().check_process() {
            Ok(()) => shown.field("topics", &self.inner.catalog.topics(false).len()),
            Err(_) => shown.field("forked", &true),
        };
        shown.finish_non_exhaustive()
    }
}

impl Streamlog {
    /// Opens a directory for reading and writing, and creates it if it does not exist.
    ///
    /// After a clean close this takes milliseconds, whatever the size. After a crash, the tails that were not
    /// checkpointed are checked: [`Streamlog::recovery_report`] says what was found, and
    /// [`Builder::on_recovery_progress`] reports the progress. Batches that a Kafka broker appended to a closed
    /// directory become part of the log.
    ///
    /// A partition whose files cannot be opened does not keep the others from being opened. Its calls fail with the
    /// error, the report and [`Streamlog::health`] name it, and the next opening tries again.
    ///
    /// # Errors
    ///
    /// `AlreadyOpen` when another handle, in this process or another, has it open for writing; `Corrupt` or
    /// `UnsupportedFormat` for a manifest that cannot be read; `Io` and `DiskFull` from the operating system, unless
    /// they concern one partition alone.
    pub fn open(dir: impl AsRef<Path>) -> Result<Streamlog> {
        Self::builder(dir).open()
    }

    /// The settings of an opening; [`Builder::open`] opens.
    pub fn builder(dir: impl AsRef<Path>) -> Builder {
        Builder::new(dir.as_ref())
    }

    /// Opens a log in memory, which behaves like one on disk: for tests, and for data that may vanish. It is gone when
    /// its last handle is dropped.
    pub fn in_memory() -> Result<Streamlog> {
        Builder::in_memory().open()
    }

    /// Opens a log on disk, in a new directory that is removed with it: for tests that need real files, and for data
    /// that a program spills to disk. [`Streamlog::dir`] says where it is, below [`std::env::temp_dir`].
    ///
    /// The directory is removed by [`Streamlog::close`] and when the last handle is dropped. A process that is killed
    /// leaves its directory there.
    ///
    /// ```
    /// # use streamlog::{Streamlog, TopicConfig};
    /// let log = Streamlog::temporary()?;
    /// let dir = log.dir().to_path_buf();
    /// log.create_topic("orders", TopicConfig::default())?;
    /// assert!(dir.join("orders-0").is_dir());
    /// log.close()?;
    /// assert!(!dir.exists());
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Streamlog::open`].
    pub fn temporary() -> Result<Streamlog> {
        Builder::temporary()?.open()
    }

    /// Opens a directory for reading only, even while another process writes to it. Nothing in it is changed.
    ///
    /// It shows the durable records of a `Flushed` topic, and the written ones of other topics. Consumers follow the
    /// writer by themselves; [`Streamlog::refresh`] makes everything else follow.
    ///
    /// # Errors
    ///
    /// `NotFound` when the directory does not exist; else as for [`Streamlog::open`], except `AlreadyOpen`.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Streamlog> {
        Self::builder(dir).read_only(true).open()
    }

    /// What keeps the log open.
    fn keep_open(&self) -> KeepOpen {
        let inner: Arc<Inner> = Arc::clone(&self.inner);
        KeepOpen::new(inner)
    }

    /// The directory, as an absolute path.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// What the opening found and did.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.inner.report
    }

    /// Whether nothing can be written through this handle.
    pub fn is_read_only(&self) -> bool {
        self.inner.catalog.data_dir().read_only
    }
}
