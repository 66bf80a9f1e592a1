//! One partition's directory, opened for reading on its own: one of ours, or a Kafka broker's.
//!
//! What is always true: nothing on disk changes, and nothing is believed but the batches themselves, which are all
//! checked at the opening. It shows the directory as it was then; a process that continues to write there is not
//! followed. Bytes are read positionally, because nobody promises that the files keep their length.

use crate::{
    codec::{index::AbortedTransaction, snapshot::decode_snapshot},
    env::{DirEntry, Env, real::RealEnv},
    error::{Error, Result},
    partition::{
        handle::Partition,
        keep_open::KeepOpen,
        log::Log,
        open::{
            assemble::LogParts,
            partition_dir::{
                dir_report::{PartitionDirReport, ProducerSnapshot, TransactionIndex},
                dir_segments::{choose_segments, offsets_of, segments_of_ours},
                full_scan::{FullScan, Missed},
                parent_dir::{ParentDir, name_of},
            },
        },
        read::aborted::aborted_between,
        state::{
            append_state::AppendState, identity::Identity, log_config::LogConfig, offsets::OffsetSet,
            owner::read_topic_id, replay::Replay,
        },
    },
    storage::{
        data_dir::{DataDir, SharedOptions},
        files::ReadMode,
        layout::{LEADER_EPOCHS, PARTITION_METADATA, RECOVERY_POINTS, SegmentFile},
        segment::Segment,
        sidecar::{SNAPSHOT_MAX, read_file},
    },
    types::{Offset, TopicId, TopicPartition},
};
use std::{
    fmt, io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How often an opening is tried when a file goes away in between, as a live broker's retention does it.
const ATTEMPTS: usize = 16;

/// How many descriptors are held at the same time.
const OPEN_FILES: usize = 64;

/// One partition's directory, opened for reading on its own, without the log it belongs to.
///
/// It may be a partition of a [`Streamlog`](crate::Streamlog) or of a Kafka broker: closed cleanly, killed, compacted,
/// with transactions, with any codec that this build contains. Every batch is read and checked once when it is opened.
/// The log begins where the `log-start-offset-checkpoint` beside the directory says, if it names this partition, and
/// ends after the last whole batch. Nothing is written; the directory may be on a read-only medium.
///
/// Little vouches for such a directory. Changed bytes are reported all the same ([`report`](Self::report), and
/// `Corrupt` where they are read), except for what Kafka's format leaves out of its checksums:
///
/// * A batch's base offset and leader epoch are checked against the batches around it. Nothing contradicts those of the
///   *last* batch, a base offset within a gap that compaction left, and a leader epoch that fits between two others.
///   Where the manifest of a [`Streamlog`](crate::Streamlog) lies beside the directory, a durable batch that is gone or
///   has another base offset is damage, unless compaction removed it.
/// * `leader-epoch-checkpoint`, `partition.metadata` and the checkpoints above the directory are texts without a
///   checksum. The first two are read by [`leader_epochs`](Self::leader_epochs) and [`topic_id`](Self::topic_id) only.
///
/// Opening the log itself knows more: how long each segment is, and the checksums of its pages.
///
/// It is a [`Partition`] to read from:
///
/// ```no_run
/// use streamlog::dir::PartitionDir;
///
/// let orders = PartitionDir::open_read_only("/var/lib/kafka/data/orders-0")?;
/// for batch in orders.read(orders.log_start_offset()) {
///     for record in &batch? {
///         println!("{} {:?}", record.offset, record.value);
///     }
/// }
/// # Ok::<(), streamlog::Error>(())
/// ```
pub struct PartitionDir {
    partition: Partition,
    report: PartitionDirReport,
    epochs: Vec<(i32, Offset)>,
}

impl fmt::Debug for PartitionDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionDir")
            .field("dir", &self.partition.log().identity.dir)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

impl PartitionDir {
    /// Opens a partition's directory: the one that `path` names now, wherever it is moved later.
    ///
    /// A log that does not end with a whole batch, or is damaged in between, is opened as well:
    /// [`report`](Self::report) says so.
    ///
    /// # Errors
    ///
    /// `Io` when something cannot be read, `InvalidArgument` when this is no partition's directory,
    /// `UnsupportedFormat` when it holds batches older than Kafka 0.11 (magic 0 and 1) or of an unknown version, and
    /// `Corrupt` when the checkpoint of log starts cannot be read, or when the directory is that of another partition of
    /// the log it lies in.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<PartitionDir> {
        let (path, env) = (path.as_ref(), RealEnv::new());
        // The parent and the name count, which a relative path may not show.
        let dir = env.absolute(path).map_err(|e| Error::io("open", path, e))?;
        let held = env.hold(&dir).map_err(|e| Error::io("open", &dir, e))?;
        Self::open(held.unwrap_or(env), &dir)
    }

    pub(crate) fn open(env: Arc<dyn Env>, dir: &Path) -> Result<PartitionDir> {
        let mut above = ParentDir::of(&env, dir)?;
        for _ in 1..ATTEMPTS {
            let opened = Self::try_open(&env, dir, &above);
            let is_gone =
                |path: &Path, source: &io::Error| path != dir && source.kind() == io::ErrorKind::NotFound;
            match &opened {
                Ok((_, Missed::Something)) => {}
                Err(Error::Io { path, source, .. }) if is_gone(path, source) => {}
                _ => return opened.map(|(opened, _)| opened),
            }
            #[cfg(test)]
            crate::partition::open::partition_dir::tests::between_looks();
            // It may have been removed since the directory above was read.
            let now = ParentDir::of(&env, dir)?;
            if opened.is_ok() && !now.excuses(&above) {
                return opened.map(|(opened, _)| opened);
            }
            above = now;
        }
        // The writer removes as fast as this looks: what it promised may be gone.
        Self::try_open(&env, dir, &above.without_promises()).map(|(opened, _)| opened)
    }

    fn try_open(env: &Arc<dyn Env>, dir: &Path, above: &ParentDir) -> Result<(PartitionDir, Missed)> {
        let entries = env.list(dir).map_err(|e| Error::io("list", dir, e))?;
        check_is_partition(dir, &entries)?;
        let options =
            SharedOptions { read_only: true, read_mode: ReadMode::Pread, max_open_files: OPEN_FILES };
        let data_dir = DataDir::detached(Arc::clone(env), dir, options)?;
        let topic_id = read_topic_id(&**env, dir).ok().flatten().unwrap_or(TopicId::from_bytes([0; 16]));
        let lossy = || dir.file_name().map_or("partition".into(), |n| n.to_string_lossy().into_owned());
        let name = name_of(dir).unwrap_or_else(|| TopicPartition::new(lossy(), 0));
        let identity = Identity { topic_id, name, dir: dir.to_path_buf(), slot: 0, internal: false };
        let config = LogConfig::default();
        let (pool, interval) = (&data_dir.pool, config.index_interval_bytes);
        let segments = match &above.state {
            Some(state) => segments_of_ours(pool, &identity, &entries, state, interval)?,
            None => choose_segments(pool, &identity, &entries, interval)?,
        };
        unless_planted!(a_directory_alone_may_lack_anything => above.vouch_for(&segments)?);
        let (log_start, durable) = (above.log_start, above.durable);
        let mut scan = FullScan::new(&**env, &identity, segments, durable, above.state.as_ref());
        if let Some(first) = above.state.as_ref().and_then(|state| state.segments.first()) {
            scan.miss_beginning(log_start, first.base);
        }
        let replay = scan.run(log_start, &offsets_of(SegmentFile::Snapshot, &entries))?;
        match durable >= above.flushed {
            true => scan.miss(replay.as_ref(), durable, "the log's manifest or mark")?,
            false => scan.miss(replay.as_ref(), above.flushed, RECOVERY_POINTS)?,
        }
        let (segments, missed, report) = (scan.segments, scan.missed, scan.report);
        let epochs = replay.as_ref().map(|r| r.epochs.entries().to_vec()).unwrap_or_default();
        let log = assemble(&data_dir, identity, config, log_start, segments, replay);
        Ok((PartitionDir { partition: Partition::new(log, KeepOpen::default()), report, epochs }, missed))
    }

    /// The partition, to read from.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// What the opening found besides whole batches: a torn end, damage.
    pub fn report(&self) -> &PartitionDirReport {
        &self.report
    }

    /// The topic's id, from `partition.metadata`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `UnsupportedFormat` when the file cannot be understood.
    pub fn topic_id(&self) -> Result<Option<TopicId>> {
        read_topic_id(&**self.env(), self.dir())
    }

    /// The leader epochs and the first offset of each, ascending: those of `leader-epoch-checkpoint` within the log,
    /// and newer ones that batches carry.
    pub fn leader_epochs(&self) -> &[(i32, Offset)] {
        &self.epochs
    }

    /// Kafka's producer snapshots, ascending, as they are in the directory now.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `UnsupportedFormat` when one cannot be understood. Nothing else depends on it.
    pub fn producer_snapshots(&self) -> Result<Vec<ProducerSnapshot>> {
        self.sidecars(SegmentFile::Snapshot, |path, offset, bytes| {
            let producers = decode_snapshot(bytes).map_err(|e| e.in_file(path, 0))?;
            Ok(ProducerSnapshot { offset, producers })
        })
    }

    /// Kafka's transaction indexes, ascending, as they are in the directory now. Segments without an aborted
    /// transaction have none.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `UnsupportedFormat` when one cannot be understood. Nothing else depends on it.
    pub fn transaction_indexes(&self) -> Result<Vec<TransactionIndex>> {
        self.sidecars(SegmentFile::TransactionIndex, |path, base_offset, bytes| {
            let aborted = AbortedTransaction::decode_all(bytes).map_err(|e| e.in_file(path, 0))?;
            Ok(TransactionIndex { base_offset, aborted })
        })
    }

    /// The aborted transactions of the log in the order of their markers, according to the batches.
    ///
    /// # Errors
    ///
    /// None that is known: everything was read when the directory was opened.
    pub fn aborted_transactions(&self) -> Result<Vec<AbortedTransaction>> {
        self.partition.log().check_process()?;
        aborted_between(self.partition.log(), Offset::ZERO, Offset::MAX)
    }

    fn sidecars<T>(
        &self,
        kind: SegmentFile,
        decode: impl Fn(&Path, Offset, &[u8]) -> Result<T>,
    ) -> Result<Vec<T>> {
        let (env, dir) = (self.env(), self.dir());
        let entries = env.list(dir).map_err(|e| Error::io("list", dir, e))?;
        let mut found = Vec::new();
        for offset in offsets_of(kind, &entries) {
            let path = kind.path(dir, offset);
            // A full disk, or a crash before the first byte, leaves an empty file of this name: it says nothing.
            if let Some(bytes) = read_file(&**env, &path, SNAPSHOT_MAX)?.filter(|bytes| !bytes.is_empty()) {
                found.push(decode(&path, offset, &bytes)?);
            }
        }
        Ok(found)
    }

    fn env(&self) -> &Arc<dyn Env> {
        &self.partition.log().data_dir.env
    }

    fn dir(&self) -> &PathBuf {
        &self.partition.log().identity.dir
    }
}

impl Deref for PartitionDir {
    type Target = Partition;
    fn deref(&self) -> &Partition {
        &self.partition
    }
}

fn assemble(
    data_dir: &Arc<DataDir>,
    identity: Identity,
    config: LogConfig,
    log_start: Offset,
    segments: Vec<Arc<Segment>>,
    replay: Option<Replay>,
) -> Arc<Log> {
    let log_start = log_start.max(segments.first().map_or(Offset::ZERO, |s| s.base()));
    let mut set =
        OffsetSet { log_start, last_stable: log_start, high_watermark: log_start, log_end: log_start };
    if let Some(mut replay) = replay {
        // A log that ends below its start is an empty one, as a broker would open it.
        let end = replay.next_offset.max(log_start);
        set.last_stable = replay.producers.stable_below(end);
        set.high_watermark = end;
        set.log_end = end;
    }
    let reason = "the directory was opened with PartitionDir::open_read_only".to_string();
    let writer = AppendState::Refused(Error::ReadOnly { reason });
    LogParts { offsets: set, segments, ..LogParts::new(identity, Arc::new(config), writer) }
        .assemble(data_dir)
}

fn check_is_partition(dir: &Path, entries: &[DirEntry]) -> Result<()> {
    let of_a_partition = |e: &DirEntry| {
        let name = e.name.strip_suffix(".swap").unwrap_or(&e.name);
        SegmentFile::Log.parse(name).is_some() || [PARTITION_METADATA, LEADER_EPOCHS].contains(&name)
    };
    if entries.iter().any(of_a_partition) {
        return Ok(());
    }
    let reason = format!(
        "{} is not a partition's directory: it has neither segments (00000000000000000000.log) nor {PARTITION_METADATA}",
        dir.display()
    );
    Err(Error::InvalidArgument { reason })
}

pub mod dir_report;
pub mod dir_segments;
pub mod full_scan;
pub mod parent_dir;
#[cfg(test)]
mod tests;
