//! A log that another process writes.
//!
//! A read-only opening follows: in a `Flushed` topic up to what the mark says is durable, in the others up to the last
//! whole, chained, valid batch in the file. It changes nothing on disk, and shows the same when no writer lives.

use super::{
    config::LogConfig,
    due::Due,
    flush::Flusher,
    log::{Identity, Log, SegmentList, Writer},
    offsets::{OffsetSet, Offsets},
    replay::{Bounds, KnownEnd, Replay, Stop, Why},
    shared::Shared,
    waiters::Waiters,
};
use crate::{
    codec::mark::Mark,
    env::sync::{AtomicBool, AtomicU64, Mutex, RwLock},
    error::{Error, Result},
    storage::{holes::Hole, manifest::PartitionState, scan::Source, segment::Segment},
    types::{Durability, Offset},
};
use std::{io, sync::Arc};

/// How far an observer has followed a log.
#[derive(Debug)]
pub struct Observer {
    log: Arc<Log>,
    replay: Option<Replay>,
}

impl Observer {
    /// Opens a log for reading only.
    pub fn open(
        shared: &Arc<Shared>,
        identity: Identity,
        config: LogConfig,
        state: &PartitionState,
    ) -> Result<Observer> {
        let mark = Mark::blank(&identity.topic_id, identity.name.partition);
        let log = Arc::new(Log {
            shared: Arc::clone(shared),
            config: RwLock::new(Arc::new(config)),
            offsets: Offsets::new(OffsetSet { log_start: state.log_start, ..OffsetSet::default() }),
            segments: SegmentList::new(Vec::new()),
            writer: Mutex::new(Writer::Refusing(Error::ReadOnly {
                reason: "the log was opened with Streamlog::open_read_only".into(),
            })),
            flusher: Flusher::new(mark),
            checkpointing: Mutex::new(()),
            due: Due::default(),
            waiters: Waiters::default(),
            shut: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            size: AtomicU64::new(0),
            damage: Mutex::new(None),
            identity,
        });
        let mut observer = Observer { log, replay: None };
        observer.refresh(state)?;
        Ok(observer)
    }

    /// The log as seen so far.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Takes in what the writer did since the last time.
    pub fn refresh(&mut self, state: &PartitionState) -> Result<()> {
        let log = &self.log;
        let identity = &log.identity;
        let mark = log.shared.marks.read(identity.slot, &identity.topic_id, identity.name.partition)?;
        self.take_in_segments(state);
        let segments = log.segments.snapshot();
        let Some(first) = segments.first() else { return Ok(()) };
        if self.replay.as_ref().is_none_or(|r| r.next_offset < first.base()) {
            let known = known_end(state, mark.as_ref());
            let env = &*log.shared.env;
            let start = state.log_start;
            self.replay = Replay::begin(env, identity, &segments, start, known)?;
        }
        self.follow(mark.as_ref().map(|m| m.flushed_offset), state)
    }

    fn take_in_segments(&self, state: &PartitionState) {
        let log = &self.log;
        let known = log.segments.snapshot();
        let same = known.len() == state.segments.len()
            && known.iter().zip(&state.segments).all(|(a, b)| a.base() == b.base);
        if same {
            return;
        }
        let config = log.config();
        let fresh = state.segments.iter().map(|entry| {
            known
                .iter()
                .find(|s| s.base() == entry.base)
                .cloned()
                .unwrap_or_else(|| Log::listed(&log.shared, &log.identity, &config, entry, 0))
        });
        let fresh: Vec<_> = fresh.collect();
        log.segments.change(|list| *list = fresh);
    }

    fn follow(&mut self, flushed: Option<Offset>, state: &PartitionState) -> Result<()> {
        let log = Arc::clone(&self.log);
        let segments = log.segments.snapshot();
        let Some(replay) = self.replay.as_mut() else { return Ok(()) };
        let mut damaged = false;
        // The list may have lost its front since.
        replay.segment = super::log::floor(&segments, replay.next_offset).unwrap_or(0).min(
            segments
                .iter()
                .position(|s| s.base() > replay.next_offset)
                .unwrap_or(segments.len())
                .saturating_sub(1),
        );
        loop {
            let Some(segment) = segments.get(replay.segment).cloned() else { break };
            if segment.base() == replay.next_offset {
                replay.position = 0;
                replay.index = segment.empty_index();
            }
            let len = match segment.data().len() {
                Ok(len) => len,
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let stop = replay.scan(&segment, len, segment.may_have_gaps(), Source::Cache, &mut |_| true)?;
            if let Why::Unsupported(error) = stop.why {
                return Err(error.in_file(segment.data().path(), stop.position));
            }
            learn(&segment, replay);
            let next = segments.get(replay.segment + 1).cloned();
            if let (Why::Bad(reason), Some(flushed)) = (&stop.why, flushed)
                && stop.next_offset < flushed
            {
                // The mark was read before the bytes: what it speaks of was whole then. Readers come to the error.
                damaged = true;
                match &next {
                    Some(next) => pass_damage(replay, &segment, len, next.base(), reason)?,
                    None => note_damage(&segment, &stop, flushed, reason),
                }
            }
            match next {
                Some(next) if next.base() == replay.next_offset => replay.enter(replay.segment + 1, &next),
                _ => break,
            }
        }
        // Where the log ended when it was closed; what is missing below, readers come to as an error.
        let closed_at = state.closed.as_ref().map_or(Offset::ZERO, |closed| closed.next_offset);
        let known = if damaged { flushed.unwrap_or(closed_at) } else { closed_at };
        let end = replay.next_offset.max(known);
        let bound = match log.config().durability {
            // Without a mark, what the next writer will find: every partition has had one, so it was damaged.
            Durability::Flushed if state.closed.is_none() => flushed.map_or(end, |flushed| flushed.min(end)),
            _ => end,
        };
        replay.producers.on_high_watermark(bound);
        let stable = replay.producers.first_unstable_offset().unwrap_or(bound).min(bound);
        let before = (log.offsets.high_watermark(), log.offsets.last_stable());
        let set = log.offsets.change(|set| {
            set.log_start = state.log_start.max(segments.first().map_or(Offset::ZERO, |s| s.base()));
            set.log_end = end;
            set.high_watermark = bound;
            set.last_stable = stable;
        });
        log.recount();
        log.waiters.notify(set.high_watermark > before.0, set.last_stable > before.1);
        Ok(())
    }
}

/// Leaves with the segment what was learned of it.
fn learn(segment: &Segment, replay: &Replay) {
    // Closed, so that it knows the largest timestamp so far.
    let mut index = replay.index.clone();
    index.close();
    segment.set_index(index);
    segment.set_aborted(replay.aborted.clone());
    segment.publish(replay.position);
}

/// Goes on behind damage in a segment that another one, which begins at `end`, follows.
fn pass_damage(replay: &mut Replay, segment: &Segment, len: u64, end: Offset, reason: &str) -> Result<()> {
    replay.scan_past_damage(segment, len, Bounds::below(end), Source::Cache, &mut |_, _| {})?;
    learn(segment, replay);
    if replay.next_offset < end {
        replay.note_missing_end(segment, len, end, reason.to_string());
        replay.next_offset = end;
    }
    Ok(())
}

/// Leaves with the segment that nothing can be read from `stop` up to `flushed`.
fn note_damage(segment: &Segment, stop: &Stop, flushed: Offset, reason: &str) {
    if segment.check_hole(stop.position).is_ok() {
        let reason = format!("{reason}; everything below offset {flushed} was durable");
        let (bytes, offsets) = (stop.position..stop.position + 1, stop.next_offset..flushed);
        segment.add_hole(Hole { bytes, offsets, reason });
    }
    segment.publish(stop.position + 1);
}

/// The last point of the log whose state the sidecars know.
fn known_end(state: &PartitionState, mark: Option<&Mark>) -> KnownEnd {
    let (offset, position, index_checksum) = match (&state.closed, mark) {
        (Some(closed), _) => (closed.next_offset, closed.size, closed.index_checksum),
        (None, Some(mark)) => (mark.recovery_offset, u64::from(mark.recovery_position), mark.index_checksum),
        (None, None) => (Offset::ZERO, 0, 0),
    };
    KnownEnd { offset, position, index_checksum }
}
