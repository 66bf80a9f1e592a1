//! The beginning of a log's life in this process.
//!
//! A clean opening reads nothing: the manifest says where the log ended, and lengths and names say whether that is still
//! so. What appending needs to know (the tail of the index, the producers) is loaded with the first append.

use crate::{
    codec::{
        checkpoint::{encode_epochs, encode_partition_metadata},
        manifest::PartitionClosed,
        mark::Mark,
    },
    env::sync::{AtomicBool, AtomicI32, AtomicU64, Mutex, Ordering, RwLock},
    error::{Error, Result},
    partition::{
        log::Log,
        open::{changed::is_as_closed, recover::GoOn, report::PartitionRecovery},
        state::{
            append_state::AppendState,
            deadlines::Deadlines,
            flush_state::Flusher,
            identity::Identity,
            offsets::{OffsetSet, Offsets},
            owner::Owner,
            segment_list::SegmentList,
            settings::LogConfig,
            troubles::Troubles,
            unusable::Unusable,
            waiters::Waiters,
        },
    },
    storage::{
        apart::is_no_file,
        data_dir::DataDir,
        layout::{LEADER_EPOCHS, PARTITION_METADATA, SegmentFile},
        manifest::{PartitionState, SegmentEntry},
        scan::LEADER_EPOCH,
        segment::Segment,
        sidecar::{remove_segment_files, write_unflushed},
    },
    types::{Offset, Timestamp},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

impl Log {
    /// Makes the directory, the first segment and the identity of a new log. Nothing of it counts before the manifest
    /// names it. What is in the directory is durable when this returns, unless the caller does that for many at a time:
    /// its descriptor, opened before, hears of what failed.
    pub fn prepare(data_dir: &DataDir, identity: &Identity, durably: bool) -> Result<()> {
        let env = &*data_dir.env;
        let dir = &identity.dir;
        match env.create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => clear_leftovers(data_dir, identity)?,
            other => other.map_err(|e| Error::io("create", dir, e))?,
        }
        drop(Segment::create(&data_dir.pool, dir, Offset::ZERO, 0)?);
        let metadata = encode_partition_metadata(&identity.topic_id);
        let epochs = encode_epochs(&[(LEADER_EPOCH, Offset::ZERO)]);
        for (name, content) in [(PARTITION_METADATA, metadata), (LEADER_EPOCHS, epochs)] {
            let path = dir.join(name);
            let file = write_unflushed(env, &path, content.as_bytes())?;
            if durably {
                file.sync_data().map_err(|e| Error::io("flush", &path, e))?;
            }
        }
        if durably {
            env.sync_dir(dir).map_err(|e| Error::io("flush", dir, e))?;
        }
        data_dir.marks.write(identity.slot, &Mark::blank(&identity.topic_id, identity.name.partition))
    }

    /// A log that was just prepared, and that the manifest names now.
    pub fn created(data_dir: &Arc<DataDir>, identity: Identity, config: LogConfig) -> Arc<Log> {
        let mark = Mark::blank(&identity.topic_id, identity.name.partition);
        let segment = Self::segment(data_dir, &identity, &config, Offset::ZERO, 0);
        segment.expect_no_gaps(Some(LEADER_EPOCH));
        let writer = AppendState::Unloaded { size: 0, new_incarnation: false };
        Self::assemble(data_dir, identity, config, OffsetSet::default(), vec![segment], writer, mark)
    }

    /// Opens a log that was closed. Where its files are not as they were then, what changed is told.
    pub fn open_closed(
        data_dir: &Arc<DataDir>,
        identity: Identity,
        config: LogConfig,
        state: &PartitionState,
        closed: &PartitionClosed,
        go_on: &mut GoOn<'_>,
    ) -> Result<(Arc<Log>, Option<PartitionRecovery>)> {
        if is_as_closed(data_dir, &identity, state, closed)? {
            return Ok((Self::open_clean(data_dir, identity, config, state, closed), None));
        }
        let (log, recovery) = Self::recover(data_dir, identity, config, state, go_on)?;
        Ok((log, Some(recovery)))
    }

    /// A log that could not be opened: it answers everybody with this error.
    pub fn unopened(
        data_dir: &Arc<DataDir>,
        identity: Identity,
        config: LogConfig,
        state: &PartitionState,
        error: Error,
    ) -> Arc<Log> {
        let end = state.closed.as_ref().map_or(state.log_start, |closed| closed.next_offset);
        let set =
            OffsetSet { log_start: state.log_start, last_stable: end, high_watermark: end, log_end: end };
        let segments =
            state.segments.iter().map(|entry| Self::listed(data_dir, &identity, &config, state, &entry, 0));
        let segments = segments.collect();
        let mark = Mark::blank(&identity.topic_id, identity.name.partition);
        let writer = AppendState::Refused(error.clone());
        let log = Self::assemble(data_dir, identity, config, set, segments, writer, mark);
        log.unusable.set(Some(error));
        log
    }

    /// A log that was closed, as the manifest says it ended.
    fn open_clean(
        data_dir: &Arc<DataDir>,
        identity: Identity,
        config: LogConfig,
        state: &PartitionState,
        closed: &PartitionClosed,
    ) -> Arc<Log> {
        let segments: Vec<_> = state
            .segments
            .iter()
            .map(|entry| Self::listed(data_dir, &identity, &config, state, &entry, closed.size))
            .collect();
        if let (Some(active), Some(SegmentEntry { sealed: None, .. })) =
            (segments.last(), state.segments.last())
        {
            active.expect_index(closed.index_checksum);
        }
        let set = OffsetSet {
            log_start: closed.log_start.max(state.log_start),
            last_stable: closed.last_stable_offset,
            high_watermark: closed.next_offset,
            log_end: closed.next_offset,
        };
        let writer = AppendState::Unloaded { size: closed.size, new_incarnation: false };
        let mark = mark_of_closing(&identity, closed);
        let log = Self::assemble(data_dir, identity, config, set, segments, writer, mark);
        log.leader_epoch.store(state.leader_epoch(), Ordering::Relaxed);
        log
    }

    /// A segment as the manifest lists it; `unsealed_bytes` of it are readable where it was not sealed. Only what was
    /// rewritten may have gaps.
    pub(in crate::partition) fn listed(
        data_dir: &DataDir,
        identity: &Identity,
        config: &LogConfig,
        state: &PartitionState,
        entry: &SegmentEntry,
        unsealed_bytes: u64,
    ) -> Arc<Segment> {
        let bytes = entry.sealed.as_ref().map_or(unsealed_bytes, |sealed| sealed.bytes);
        let segment = Self::segment(data_dir, identity, config, entry.base, bytes);
        if let Some(sealed) = &entry.sealed {
            let latest =
                if planted!(forget_the_latest_time) { Timestamp::NONE } else { sealed.largest_timestamp };
            segment.set_sealed(sealed.generation, sealed.bytes, latest);
            segment.know_place(sealed.bytes, sealed.next_offset);
            segment.expect_index(sealed.index_checksum);
        } else if let Some(closed) = state.closed.as_ref().filter(|closed| entry.base < closed.next_offset) {
            // Those that another writer began lie behind that.
            segment.know_place(closed.size, closed.next_offset);
        }
        if entry.sealed.as_ref().is_none_or(|sealed| sealed.generation == 0) {
            segment.expect_no_gaps(state.leader_epoch_in(entry.base));
        }
        segment
    }

    pub(in crate::partition) fn segment(
        data_dir: &DataDir,
        identity: &Identity,
        config: &LogConfig,
        base: Offset,
        readable: u64,
    ) -> Arc<Segment> {
        let writable = !data_dir.read_only;
        let interval = config.index_interval_bytes;
        let segment = Segment::existing(&data_dir.pool, &identity.dir, base, readable, interval, writable);
        segment.expect_no_other_version();
        segment
    }

    pub(in crate::partition) fn assemble(
        data_dir: &Arc<DataDir>,
        identity: Identity,
        config: LogConfig,
        set: OffsetSet,
        segments: Vec<Arc<Segment>>,
        writer: AppendState,
        mark: Mark,
    ) -> Arc<Log> {
        let log = Log {
            identity,
            data_dir: Arc::clone(data_dir),
            config: RwLock::new(Arc::new(config)),
            offsets: Offsets::new(set),
            segments: SegmentList::new(segments),
            writer: Mutex::new(writer),
            flusher: Flusher::new(mark),
            checkpointing: Mutex::new(()),
            due: Deadlines::default(),
            waiters: Waiters::default(),
            shut: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            size: AtomicU64::new(0),
            damage: Mutex::new(None),
            leader_epoch: AtomicI32::new(LEADER_EPOCH),
            put_aside: Mutex::default(),
            unusable: Unusable::default(),
            unreadable: Default::default(),
            unremoved: Mutex::default(),
            troubles: Troubles::default(),
            owner: Owner::default(),
        };
        log.recount();
        Arc::new(log)
    }
}

/// The mark of a log that was closed like this: all of it is durable, and checkpointed.
pub(in crate::partition) fn mark_of_closing(identity: &Identity, closed: &PartitionClosed) -> Mark {
    let position = u32::try_from(closed.size).unwrap_or(u32::MAX);
    Mark {
        flushing_offset: closed.next_offset,
        flushed_offset: closed.next_offset,
        flushed_position: position,
        recovery_offset: closed.next_offset,
        recovery_position: position,
        index_checksum: closed.index_checksum,
        ..Mark::blank(&identity.topic_id, identity.name.partition)
    }
}

/// Kafka's name for a partition's directory that is none any more: `<topic>-<partition>.<32 digits>-<why>`, of which the
/// beginning is shortened, so that the name stays below 255 bytes.
pub fn aside_name(data_dir: &DataDir, dir: &Path, why: &str) -> PathBuf {
    let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let kept: String = name.chars().take(200).collect();
    data_dir.dir.join(format!("{kept}.{:016x}{:016x}-{why}", data_dir.env.random(), data_dir.env.random()))
}

/// A directory without an entry in the manifest: what a creation or a deletion left that a crash cut short, or
/// something foreign. Empty segments go; records are never removed here, but put aside under Kafka's name for a
/// replica that is not assigned any more.
fn clear_leftovers(data_dir: &DataDir, identity: &Identity) -> Result<()> {
    let dir = &identity.dir;
    let env = &*data_dir.env;
    let entries = env.list(dir).map_err(|e| Error::io("list", dir, e))?;
    let mut has_data = false;
    for entry in entries.iter().filter(|e| SegmentFile::Log.parse(&e.name).is_some()) {
        let path = dir.join(&entry.name);
        has_data |= match env.metadata(&path) {
            Err(e) if is_no_file(&e) => true,
            found => found.map_err(|e| Error::io("measure", &path, e))?.len > 0,
        };
    }
    if !has_data {
        return remove_segment_files(env, dir, Offset::ZERO);
    }
    let aside = aside_name(data_dir, dir, "stray");
    env.rename(dir, &aside).map_err(|e| Error::io("put aside", dir, e))?;
    env.create_dir(dir).map_err(|e| Error::io("create", dir, e))
}
