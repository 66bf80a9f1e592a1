//! The one way to assemble a log: for a clean opening, a recovery, a follower, and a directory alone.

use crate::{
    codec::mark::Mark,
    env::sync::{AtomicBool, AtomicI32, AtomicU64, Mutex, OnceLock, RwLock},
    partition::{
        log::Log,
        state::{
            append_state::AppendState,
            deadlines::Deadlines,
            flush_state::Flusher,
            identity::Identity,
            log_config::LogConfig,
            offsets::{OffsetSet, Offsets},
            owner::Owner,
            pending_markers::PendingMarkers,
            segment_list::SegmentList,
            troubles::Troubles,
            turn::Turn,
            unusable::Unusable,
            waiters::Waiters,
        },
    },
    storage::{data_dir::DataDir, scan::LEADER_EPOCH, segment::Segment},
};
use std::sync::Arc;

/// What an opening knows of a log; everything else starts the same for each.
pub(in crate::partition) struct LogParts {
    pub identity: Identity,
    pub config: Arc<LogConfig>,
    pub offsets: OffsetSet,
    pub segments: Vec<Arc<Segment>>,
    pub writer: AppendState,
    /// What is durable, and checkpointed.
    pub mark: Mark,
    /// The leader epoch that appended batches carry.
    pub leader_epoch: i32,
}

impl LogParts {
    /// An empty log, of which nothing is durable.
    pub fn new(identity: Identity, config: Arc<LogConfig>, writer: AppendState) -> Self {
        LogParts {
            offsets: OffsetSet::default(),
            segments: Vec::new(),
            mark: Mark::blank(&identity.topic_id, identity.name.partition),
            leader_epoch: LEADER_EPOCH,
            identity,
            config,
            writer,
        }
    }

    /// Assembles the log.
    pub fn assemble(self, data_dir: &Arc<DataDir>) -> Arc<Log> {
        let log = Log {
            identity: self.identity,
            data_dir: Arc::clone(data_dir),
            config: RwLock::new(self.config),
            offsets: Offsets::new(self.offsets),
            segments: SegmentList::new(self.segments),
            writer: Mutex::new(self.writer),
            flusher: Flusher::new(self.mark),
            checkpointing: Mutex::new(()),
            due: Deadlines::default(),
            waiters: Waiters::default(),
            shut: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            size: AtomicU64::new(0),
            damage: Mutex::new(None),
            leader_epoch: AtomicI32::new(self.leader_epoch),
            quarantined: Mutex::default(),
            unusable: Unusable::default(),
            unreadable: Default::default(),
            unremoved: Mutex::default(),
            troubles: Troubles::default(),
            swaps: Mutex::default(),
            pending_markers: PendingMarkers::default(),
            hold: OnceLock::new(),
            cleaning: Turn::default(),
            hash_seed: OnceLock::new(),
            owner: Owner::default(),
        };
        log.recount();
        if let Some(last) = log.segments.snapshot().last() {
            last.takes_at_least(last.readable());
        }
        Arc::new(log)
    }
}
