//! How a log is doing: figures, disk usage, health.

use super::Streamlog;
use crate::{
    error::{Error, Result},
    partition::{log::Log, state::producers::OpenTransaction, write::end_transaction::open_transactions},
    producer::LONGEST_TRANSACTION,
    storage::layout::put_aside_from,
    topic::name,
    types::{Offset, Timestamp, TopicPartition},
};
use std::{collections::BTreeMap, fmt, io, path::PathBuf};

/// Figures of a handle at one moment, from [`Streamlog::stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(default))]
#[non_exhaustive]
pub struct Stats {
    /// Topics, those of the library itself included.
    pub topics: usize,
    /// Partitions of all topics.
    pub partitions: usize,
    /// Segments of all partitions.
    pub segments: usize,
    /// Bytes of record batches of all partitions.
    pub bytes: u64,
    /// File descriptors that are held open.
    pub open_files: usize,
    /// Files that are mapped.
    pub mapped_files: usize,
    /// Indexes of sealed segments that are held in memory: at most a quarter of
    /// [`max_open_files`](crate::config::Builder::max_open_files).
    pub loaded_indexes: usize,
    /// Whether a background thread runs: `streamlog-work` or `streamlog-care`.
    pub background_thread: bool,
    /// How many of the two run.
    pub background_threads: usize,
    /// How many bytes of the medium stay free: [`Builder::min_free_space`](crate::config::Builder::min_free_space).
    pub min_free_space: u64,
    /// The free bytes of the medium as appends last heard of them. `None` without `min_free_space`, before a segment grew,
    /// and where the medium has no end.
    pub free_space: Option<u64>,
    /// How many bytes the files may take: [`Builder::disk_budget`](crate::config::Builder::disk_budget).
    pub disk_budget: Option<u64>,
    /// How many bytes they take, as the budget counts them.
    pub disk_used: u64,
    /// Threads named `streamlog-flush`, at most seven: see
    /// [`Builder::background_thread`](crate::config::Builder::background_thread).
    pub flush_threads: usize,
    /// The partitions in which readers of `read_committed` wait for the end of a transaction, and how many offsets lie between
    /// the last stable offset and the high watermark.
    pub unstable: Vec<(TopicPartition, u64)>,
}

/// One line of `name=value` pairs, for log lines.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "topics={} partitions={} segments={} bytes={} open_files={} mapped_files={} loaded_indexes={} background_threads={} flush_threads={}",
            self.topics,
            self.partitions,
            self.segments,
            self.bytes,
            self.open_files,
            self.mapped_files,
            self.loaded_indexes,
            self.background_threads,
            self.flush_threads
        )
    }
}

/// What is on disk, from [`Streamlog::disk_usage`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(default))]
#[non_exhaustive]
pub struct DiskUsage {
    /// Bytes of all files in the directory, by their lengths.
    pub total: u64,
    /// Bytes of it that are quarantined: segments and directories with records that belong to no log. They are removed
    /// by hand, once they are no longer of interest; [`Health::quarantined`] lists those of this opening.
    pub quarantined: u64,
    /// Per topic.
    pub topics: BTreeMap<String, TopicUsage>,
}

/// What a topic has on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(default))]
#[non_exhaustive]
pub struct TopicUsage {
    /// Bytes of record batches.
    pub records: u64,
    /// Bytes of indexes, snapshots and preallocated space.
    pub overhead: u64,
    /// Bytes of quarantined segments, which count for neither.
    pub quarantined: u64,
}

/// What is wrong, from [`Streamlog::health`].
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// Partitions that accept no appends, and why: damage that was found, a flush that failed, files that could not be
    /// opened or followed.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::errors"))]
    pub refusing: Vec<(TopicPartition, Error)>,
    /// Partitions in which the opening, an append or a reader met damage: the first damage of each, by file and
    /// position. Data that was not read since the opening is not known to be intact; records around the damage can
    /// still be read. A sealed segment whose file is longer than it was is among them once it was read, although all
    /// its records are there. A partition whose state of producers was lost is among them, by the path of that file,
    /// once an append or a recovery has missed it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::errors"))]
    pub damaged: Vec<(TopicPartition, Error)>,
    /// Quarantined segment files, which were in a partition's way and belong to no log: where they are now. They do no
    /// harm, and can be inspected and removed.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::placed_paths"))]
    pub quarantined: Vec<(TopicPartition, PathBuf)>,
    /// A failure of background work since the last call: forgotten as soon as the same work succeeds, no matter which
    /// thread does it, and a full disk as soon as anything finds space.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::error"))]
    pub background: Option<Error>,
    /// Partitions that could not be compacted, and why: damage, a full disk, records that this release does not compact. They
    /// are left as they are and tried again, after longer and longer pauses, an hour at most.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::errors"))]
    pub not_compacted: Vec<(TopicPartition, Error)>,
    /// Transactions that have been open for more than 15 minutes, longer than any may be, in partitions that were appended to or
    /// recovered since the opening: readers of `read_committed` wait there. A Kafka broker left them, or nobody knows their outcome;
    /// [`abort_transaction`](crate::Streamlog::abort_transaction) ends one.
    pub hanging: Vec<HangingTransaction>,
    /// The last [`DiskFull`](crate::Error::DiskFull) of an append that a setting refused, as long as the setting is in the
    /// way.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::types::shown::error"))]
    pub out_of_space: Option<Error>,
}

/// A transaction that has been open for too long, in [`Health::hanging`] (KIP-664).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HangingTransaction {
    /// Where readers wait for it.
    pub partition: TopicPartition,
    /// Whose it is.
    pub producer_id: i64,
    /// The offset of its first record there, beyond which readers of `read_committed` see nothing.
    pub first_offset: Offset,
    /// When its producer was last seen there.
    pub since: Timestamp,
}

impl fmt::Display for HangingTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HangingTransaction { partition, producer_id, first_offset, since } = self;
        write!(
            f,
            "{partition} has a transaction of producer {producer_id} open from offset {first_offset} on, silent since {since}"
        )
    }
}

/// "good", or what is wrong, one clause for each.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusing = self.refusing.iter().map(|(at, error)| format!("{at} accepts no appends: {error}"));
        let damaged = self.damaged.iter().map(|(at, error)| format!("{at} is damaged: {error}"));
        let background = self.background.iter().map(|error| format!("background work failed: {error}"));
        let dirty = self.not_compacted.iter().map(|(at, error)| format!("{at} is not compacted: {error}"));
        let space = self.out_of_space.iter().map(|error| format!("appends are refused: {error}"));
        let hanging = self.hanging.iter().map(|transaction| transaction.to_string());
        let all = refusing.chain(damaged).chain(background).chain(dirty).chain(hanging).chain(space);
        let all: Vec<String> = all.collect();
        f.write_str(if all.is_empty() { "good" } else { "" })?;
        f.write_str(&all.join("; "))
    }
}

impl Health {
    /// Whether everything works.
    pub fn is_good(&self) -> bool {
        self.refusing.is_empty()
            && self.damaged.is_empty()
            && self.background.is_none()
            && self.not_compacted.is_empty()
            && self.hanging.is_empty()
            && self.out_of_space.is_none()
    }
}

/// How many offsets of a log wait for the end of a transaction.
fn unstable(log: &Log) -> Option<(TopicPartition, u64)> {
    let offsets = log.offsets();
    let waiting = offsets.high_watermark().distance_from(offsets.last_stable());
    (waiting > 0).then(|| (log.identity.name.clone(), waiting))
}

/// The transactions of a log that have been open for longer than any may be.
fn hanging(log: &Log) -> Vec<HangingTransaction> {
    let now = log.now();
    let is_old = |open: &OpenTransaction| {
        now.duration_since(open.last_active).is_some_and(|open_for| open_for > LONGEST_TRANSACTION)
    };
    let hanging = |open: OpenTransaction| HangingTransaction {
        partition: log.identity.name.clone(),
        producer_id: open.producer_id,
        first_offset: open.first_offset,
        since: open.last_active,
    };
    open_transactions(log).into_iter().filter(is_old).map(hanging).collect()
}

impl Streamlog {
    /// Figures of this handle; all zero in a forked child.
    pub fn stats(&self) -> Stats {
        if !self.inner.catalog.data_dir().process.is_this() {
            return Stats::default();
        }
        let logs = self.inner.catalog.logs();
        let pool = &self.inner.catalog.data_dir().pool;
        let (open_files, mapped_files) = pool.held();
        let background_threads = self.inner.background.running();
        let space = &self.inner.catalog.data_dir().space;
        Stats {
            topics: self.inner.catalog.topics(true).len(),
            partitions: logs.len(),
            segments: logs.iter().map(|log| log.segment_count()).sum(),
            bytes: logs.iter().map(|log| log.size()).sum(),
            open_files,
            mapped_files,
            loaded_indexes: pool.indexes_held(),
            background_thread: background_threads > 0,
            background_threads,
            min_free_space: space.floor(),
            free_space: space.free_as_known(),
            disk_budget: space.budget.limit(),
            disk_used: space.budget.used(),
            flush_threads: self.inner.catalog.data_dir().env.job_threads(),
            unstable: logs.iter().filter_map(|log| unstable(log)).collect(),
        }
    }

    /// What the directory takes on disk. Looks at every file's length. A directory in it that is not the log's and
    /// cannot be listed, such as a volume's `lost+found`, counts as nothing, and so does a file that is removed during
    /// the call.
    ///
    /// # Errors
    ///
    /// `Io` when the log's directory, or a partition's, cannot be listed.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        self.inner.check_open()?;
        let env = &*self.inner.catalog.data_dir().env;
        let mut usage = DiskUsage::default();
        let dir = &self.inner.dir;
        for entry in env.list(dir).map_err(|e| Error::io("list", dir, e))? {
            let path = self.inner.dir.join(&entry.name);
            if !entry.is_dir() {
                usage.total += env.metadata(&path).map_or(0, |m| m.len);
                continue;
            }
            let name = name::parse_dir_name(&entry.name);
            let log = name.and_then(|(topic, partition)| self.inner.catalog.find(topic)?.log(partition).ok());
            let files = match env.list(&path) {
                Ok(files) => files,
                Err(e) if log.is_some() && e.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("list", &path, e));
                }
                Err(_) => continue,
            };
            let (mut bytes, mut quarantined) = (0, 0);
            for file in &files {
                let len = env.metadata(&path.join(&file.name)).map_or(0, |m| m.len);
                let is_aside = name::is_stray_dir(&entry.name) || put_aside_from(&file.name).is_some();
                *if is_aside { &mut quarantined } else { &mut bytes } += len;
            }
            usage.total += bytes + quarantined;
            usage.quarantined += quarantined;
            let Some((topic, _)) = name else { continue };
            let records = log.map_or(0, |log| log.size());
            let entry = usage.topics.entry(topic.to_string()).or_default();
            entry.records += records;
            entry.overhead += bytes.saturating_sub(records);
            entry.quarantined += quarantined;
        }
        Ok(usage)
    }

    /// What is wrong, if anything.
    pub fn health(&self) -> Health {
        if let Err(error) = self.inner.catalog.data_dir().check_process() {
            return Health { background: Some(error), ..Health::default() };
        }
        let refusing = self.inner.catalog.logs().into_iter().filter_map(|log| {
            let refusal =
                log.refusal().filter(|e| !matches!(e, Error::Closed { .. } | Error::ReadOnly { .. }));
            let error = refusal.or_else(|| log.unusable())?;
            Some((log.identity.name.clone(), error))
        });
        let logs = self.inner.catalog.logs();
        let damaged = logs.iter().filter_map(|log| Some((log.identity.name.clone(), log.damage()?)));
        Health {
            refusing: refusing.collect(),
            damaged: damaged.collect(),
            quarantined: logs.iter().flat_map(|log| log.named_quarantined()).collect(),
            background: self.inner.background.take_error(),
            not_compacted: self.inner.cleaner.parked(),
            hanging: self.inner.catalog.logs().iter().flat_map(|log| hanging(log)).collect(),
            out_of_space: self.inner.catalog.data_dir().space.refusal(),
        }
    }
}
