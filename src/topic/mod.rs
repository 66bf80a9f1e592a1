//! Named partitions, their configuration, and the way from a key to a partition.
//!
//! A [`Topic`] is a handle: cheap to clone, valid until its topic is deleted. The [`catalog`] holds all topics of a
//! directory.

mod as_configured;
pub mod caretaker;
pub mod catalog;
pub mod change_signals;
pub mod config;
mod deleted_dirs;
pub mod duty;
mod making;
mod missing_dirs;
mod missing_manifest;
pub mod name;
pub mod partitioner;
pub mod schedule;

use crate::{
    env::sync::{AtomicBool, AtomicU32, Ordering, RwLock},
    error::{Error, Result},
    partition::{handle::Partition, keep_open::KeepOpen, log::Log, state::log_config::LogConfig},
    storage::data_dir::DataDir,
    types::TopicId,
};
use config::TopicConfig;
use std::{fmt, ops::Deref, sync::Arc};

/// A topic: a handle that is cheap to clone. Once the topic is deleted, its calls fail with `Closed`, even if a topic
/// of the same name is created again. It keeps its [`Streamlog`](crate::Streamlog) open.
#[derive(Clone)]
pub struct Topic {
    inner: Arc<Inner>,
    keep_open: KeepOpen,
}

struct Inner {
    data_dir: Arc<DataDir>,
    id: TopicId,
    name: Arc<str>,
    internal: bool,
    config: RwLock<Arc<TopicConfig>>,
    logs: RwLock<Arc<[Arc<Log>]>>,
    /// The number of logs, for callers that ask once per record.
    count: AtomicU32,
    deleted: AtomicBool,
}

/// Handles are equal when they refer to the same topic of the same opened log.
impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Topic {}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.inner.name)
            .field("id", &self.inner.id)
            .field("partitions", &self.partition_count())
            .finish_non_exhaustive()
    }
}

impl Topic {
    pub(crate) fn new(
        data_dir: &Arc<DataDir>,
        id: TopicId,
        name: Arc<str>,
        internal: bool,
        config: TopicConfig,
        logs: Vec<Arc<Log>>,
    ) -> Self {
        Topic {
            inner: Arc::new(Inner {
                data_dir: Arc::clone(data_dir),
                id,
                name,
                internal,
                config: RwLock::new(Arc::new(config)),
                count: AtomicU32::new(count_of(&logs)),
                logs: RwLock::new(logs.into()),
                deleted: AtomicBool::new(false),
            }),
            keep_open: KeepOpen::default(),
        }
    }

    /// The handle for a user, which keeps the log open.
    pub(crate) fn kept_open(self, keep_open: KeepOpen) -> Self {
        Topic { keep_open, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its name, shared.
    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// Its id, which no other topic ever has, not even one of the same name.
    pub fn id(&self) -> TopicId {
        self.inner.id
    }

    /// Whether both are handles of one topic. Handles share what they point to, so one comparison nearly always
    /// suffices.
    #[inline]
    pub(crate) fn is_same(&self, other: &Topic) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner.id == other.inner.id
    }

    /// Whether it is an internal topic, which the library keeps for itself.
    pub fn is_internal(&self) -> bool {
        self.inner.internal
    }

    /// Its configuration as it is now.
    pub fn config(&self) -> Arc<TopicConfig> {
        self.reading(&self.inner.config).map_or_else(Arc::default, |config| Arc::clone(&config))
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> u32 {
        self.inner.count.load(Ordering::Acquire)
    }

    /// One of its partitions.
    ///
    /// # Errors
    ///
    /// `UnknownPartition` when the topic has no partition of this number, `Closed` when the topic was deleted or the
    /// log closed.
    pub fn partition(&self, partition: u32) -> Result<Partition> {
        self.inner.data_dir.check_open()?;
        self.log(partition).map(|log| Partition::new(log, self.keep_open.clone()))
    }

    /// All its partitions, in order.
    pub fn partitions(&self) -> Vec<Partition> {
        let partition = |log: &Arc<Log>| Partition::new(Arc::clone(log), self.keep_open.clone());
        self.logs().iter().map(partition).collect()
    }

    /// The log of one of its partitions.
    pub(crate) fn log(&self, partition: u32) -> Result<Arc<Log>> {
        if self.is_deleted() {
            return Err(Error::deleted(self.name()));
        }
        let logs = self.inner.logs.read();
        usize::try_from(partition).ok().and_then(|i| logs.get(i)).cloned().ok_or_else(|| {
            Error::UnknownPartition {
                topic: self.name().to_string(),
                partition,
                count: u32::try_from(logs.len()).unwrap_or(u32::MAX),
            }
        })
    }

    /// The logs of all its partitions, as they are now.
    pub(crate) fn logs(&self) -> Arc<[Arc<Log>]> {
        self.reading(&self.inner.logs).map_or_else(Arc::default, |logs| Arc::clone(&logs))
    }

    /// What the lock guards; `None` in a forked child that finds it locked by a thread of the parent.
    fn reading<'a, T>(&self, lock: &'a RwLock<T>) -> Option<impl Deref<Target = T> + 'a> {
        if self.inner.data_dir.process.is_this() { Some(lock.read()) } else { lock.try_read() }
    }

    /// Whether it was deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.inner.deleted.load(Ordering::SeqCst)
    }

    fn set_config(&self, config: TopicConfig) {
        let shared = log_config(&config);
        for log in self.logs().iter() {
            log.set_config(Arc::clone(&shared));
        }
        *self.inner.config.write() = Arc::new(config);
    }

    fn add_logs(&self, more: impl IntoIterator<Item = Arc<Log>>) {
        let mut logs = self.inner.logs.write();
        *logs = logs.iter().cloned().chain(more).collect();
        self.inner.count.store(count_of(&logs), Ordering::Release);
    }

    /// Marks the topic as deleted: waiting readers and producers get `Closed`.
    fn mark_deleted(&self) {
        self.inner.deleted.store(true, Ordering::SeqCst);
        self.logs().iter().for_each(|log| log.mark_deleted());
    }
}

fn count_of(logs: &[Arc<Log>]) -> u32 {
    u32::try_from(logs.len()).unwrap_or(u32::MAX)
}

/// What a log needs to know of its topic's configuration; all logs of the topic share it.
fn log_config(config: &TopicConfig) -> Arc<LogConfig> {
    let (roll_bytes, bytes_max) = (config.roll_bytes(), config.bytes_max());
    Arc::new(LogConfig { values: config.values().clone(), roll_bytes, bytes_max })
}
