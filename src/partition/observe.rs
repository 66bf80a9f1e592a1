//! A log that another process writes.
//!
//! A read-only opening follows: in a `Flushed` topic up to what the mark says is durable, in the others up to the last
//! whole, chained, valid batch in the file. It changes nothing on disk, and shows the same when no writer lives.

use super::{
    changed::{is_as_closed, names_in, with_what_is_there},
    config::LogConfig,
    due::Due,
    flush::Flusher,
    log::{Identity, Log, SegmentList, Unusable, Writer},
    offsets::{OffsetSet, Offsets},
    recover::{PartitionRecovery, RecoveryVerdict},
    replay::{Bounds, KnownEnd, Replay, Stop, Why},
    shared::Shared,
    waiters::Waiters,
};
use crate::{
    codec::{manifest::PartitionClosed, mark::Mark},
    env::sync::{AtomicBool, AtomicI32, AtomicU64, Mutex, RwLock},
    error::{Error, Result},
    storage::{
        holes::Hole,
        layout::SegmentFile,
        manifest::PartitionState,
        scan::{LEADER_EPOCH, Source},
        segment::Segment,
    },
    types::{Durability, Offset},
};
use std::{io, sync::Arc};

/// How far an observer has followed a log.
#[derive(Debug)]
pub struct Observer {
    log: Arc<Log>,
    replay: Option<Replay>,
    /// What lies in the directory of a closed log that is not as it was then.
    seen: Option<Seen>,
    changed: Option<PartitionRecovery>,
}

/// A closed log that was changed.
#[derive(Debug)]
struct Seen {
    /// How it was closed.
    closed: PartitionClosed,
    /// The last segment that the manifest knows.
    last_named: Offset,
    /// The manifest's view, with what may have been added.
    state: PartitionState,
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
            leader_epoch: AtomicI32::new(LEADER_EPOCH),
            put_aside: Mutex::default(),
            unusable: Unusable::default(),
            unreadable: Default::default(),
            identity,
        });
        let mut observer = Observer { log, replay: None, seen: None, changed: None };
        if let Some(closed) = &state.closed {
            let (shared, identity) = (&observer.log.shared, &observer.log.identity);
            if !is_as_closed(shared, identity, state, closed)? {
                let seen = with_what_is_there(shared, identity, state, closed)?;
                let last_named = state.segments.last().map_or(Offset::ZERO, |last| last.base);
                observer.seen = Some(Seen { closed: *closed, last_named, state: seen });
            }
        }
        observer.refresh(state)?;
        if let Some(closed) = observer.seen.as_ref().map(|seen| seen.closed) {
            observer.drop_what_does_not_follow();
            let changed = observer.what_changed(state, &closed)?;
            if let RecoveryVerdict::Damage { path, position, reason } = &changed.verdict {
                let damage = Error::corrupt(path, *position, reason.clone());
                observer.log.damage.lock().get_or_insert(damage);
            }
            observer.changed = Some(changed);
        }
        Ok(observer)
    }

    /// What differs from the clean close that the manifest speaks of; `None` where nothing does.
    pub fn changed(&self) -> Option<&PartitionRecovery> {
        self.changed.as_ref()
    }

    /// Has readers meet this error until the log can be followed again.
    pub fn fail(&self, error: Error) {
        self.log.unusable.set(Some(error));
        self.log.waiters.notify_all();
    }

    /// Segments that were not come to belong to no log.
    fn drop_what_does_not_follow(&mut self) {
        let at = self.replay.as_ref().map_or(0, |replay| replay.segment);
        let reached = self.log.segments.snapshot().get(at).map_or(Offset::ZERO, |segment| segment.base());
        if let Some(seen) = &mut self.seen {
            let last = reached.max(seen.last_named);
            seen.state.segments.retain(|segment| segment.base <= last);
            let state = seen.state.clone();
            self.take_in_segments(&state);
        }
    }

    fn what_changed(
        &mut self,
        state: &PartitionState,
        closed: &PartitionClosed,
    ) -> Result<PartitionRecovery> {
        let log = &self.log;
        let (next, at) =
            self.replay.as_ref().map_or((Offset::ZERO, 0), |replay| (replay.next_offset, replay.segment));
        let segments = log.segments.snapshot();
        let (path, position, len) = match segments.get(at) {
            Some(segment) => {
                let path = segment.data().path().to_path_buf();
                (path, self.replay.as_ref().map_or(0, |r| r.position), segment.data().len().unwrap_or(0))
            }
            None => (log.identity.dir.clone(), 0, 0),
        };
        let mut changed = PartitionRecovery::whole(&log.identity.name, log.offsets.log_end());
        changed.bytes_read = self.replay.as_ref().map_or(0, |replay| replay.bytes_read);
        changed.taken_in = (next > closed.next_offset).then_some(closed.next_offset..next);
        let began = closed.log_start.max(state.log_start);
        let begins = log.offsets.log_start();
        changed.removed = (begins > began).then_some(began..begins);
        changed.left_in_place = names_in(&*log.shared.env, &log.identity.dir)?
            .iter()
            .filter(|name| state.segments.iter().all(|segment| segment.base != name.base))
            .filter(|name| segments.iter().take(at + 1).all(|segment| segment.base() != name.base))
            .map(|name| SegmentFile::Log.path(&log.identity.dir, name.base))
            .collect();
        if next < closed.next_offset {
            let reason = format!(
                "the data ends at offset {next}, and ended at {} when the log was closed",
                closed.next_offset
            );
            changed.verdict = RecoveryVerdict::Damage { path, position, reason };
        } else if let Some(segment) = segments.get(at)
            && !segment.only_zeros_from(position, len)?
        {
            changed.verdict = RecoveryVerdict::TornTail {
                path,
                position,
                dropped_bytes: len - position,
                reason: "what follows does not continue the log, and is not shown".into(),
                whole_batches_beyond: 0,
            };
        }
        Ok(changed)
    }

    /// The log as seen so far.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Takes in what the writer did since the last time.
    pub fn refresh(&mut self, state: &PartitionState) -> Result<()> {
        // Once somebody has opened it for writing, the manifest knows.
        drop(self.seen.take_if(|seen| state.closed != Some(seen.closed)));
        let state = self.seen.as_ref().map_or(state, |seen| &seen.state).clone();
        self.refresh_to(&state)?;
        self.log.unusable.set(None);
        Ok(())
    }

    fn refresh_to(&mut self, state: &PartitionState) -> Result<()> {
        let log = &self.log;
        let identity = &log.identity;
        let mark = log.shared.marks.read(identity.slot, &identity.topic_id, identity.name.partition)?;
        self.take_in_segments(state);
        let segments = log.segments.snapshot();
        let Some(first) = segments.first() else { return Ok(()) };
        let begins = self.replay.as_ref().is_none_or(|r| r.next_offset < first.base());
        if begins {
            let known = known_end(state, mark.as_ref());
            let env = &*log.shared.env;
            let start = state.log_start;
            // The state is that of the log that the manifest knows, also where another segment begins at its end.
            let known_segments = match &self.seen {
                Some(seen) => segments.iter().take_while(|s| s.base() <= seen.last_named).count(),
                None => segments.len(),
            };
            let known_segments = segments.get(..known_segments.max(1)).unwrap_or_default();
            self.replay = Replay::begin(env, identity, known_segments, start, known)?;
        }
        if begins && self.seen.is_some() {
            self.start_over_where_it_is_shorter(&segments)?;
        } else {
            self.find_its_segment(&segments);
        }
        let flushed = mark.as_ref().map(|mark| match planted!(show_what_is_being_flushed) {
            false => mark.flushed_offset,
            true => mark.flushing_offset,
        });
        self.follow(flushed, state)
    }

    /// Where a closed log's file is shorter than it was, all of it is gone through, to find what is left.
    fn start_over_where_it_is_shorter(&mut self, segments: &[Arc<Segment>]) -> Result<()> {
        let Some(replay) = self.replay.as_mut() else { return Ok(()) };
        let Some(segment) = segments.get(replay.segment) else { return Ok(()) };
        let len = segment.data().len();
        match len {
            Ok(len) if len >= replay.position => Ok(()),
            Err(Error::Io { ref source, .. }) if source.kind() != io::ErrorKind::NotFound => len.map(drop),
            _ => {
                let epochs = std::mem::take(&mut replay.epochs);
                *replay = Replay::at_base(replay.segment, segment, Default::default(), epochs);
                Ok(())
            }
        }
    }

    /// The list may have lost its front since.
    fn find_its_segment(&mut self, segments: &[Arc<Segment>]) {
        let Some(replay) = self.replay.as_mut() else { return };
        let behind = segments.iter().position(|s| s.base() > replay.next_offset).unwrap_or(segments.len());
        let floor = super::log::floor(segments, replay.next_offset).unwrap_or(0);
        replay.segment = floor.min(behind.saturating_sub(1));
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
                .unwrap_or_else(|| Log::listed(&log.shared, &log.identity, &config, state, entry, 0))
        });
        let fresh: Vec<_> = fresh.collect();
        log.segments.change(|list| *list = fresh);
    }

    fn follow(&mut self, flushed: Option<Offset>, state: &PartitionState) -> Result<()> {
        let log = Arc::clone(&self.log);
        let segments = log.segments.snapshot();
        let Some(replay) = self.replay.as_mut() else { return Ok(()) };
        let mut damaged = false;
        // Without a mark, a closed log was durable up to where it ended.
        let flushed = flushed.or_else(|| state.closed.as_ref().map(|closed| closed.next_offset));
        let is_changed = self.seen.is_some();
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
            let stop = replay.scan(&segment, len, Source::Cache, &mut |_| true)?;
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
                    None if pass_damage_of_the_last(replay, &segment, len, flushed, reason)? => continue,
                    None => {}
                }
            }
            match next {
                // Of a closed log, what does not end well is continued by nothing.
                Some(_) if is_changed && matches!(stop.why, Why::Bad(_)) => break,
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
            Durability::Flushed if state.closed.is_none() && !planted!(show_what_is_only_written) => {
                flushed.map_or(end, |flushed| flushed.min(end))
            }
            _ => end,
        };
        replay.producers.on_high_watermark(bound);
        let stable = replay.producers.first_unstable_offset().unwrap_or(bound).min(bound);
        let before = (log.offsets.high_watermark(), log.offsets.last_stable());
        let set = log.offsets.change(|set| {
            if !planted!(an_observer_keeps_its_log_start) {
                set.log_start = state.log_start.max(segments.first().map_or(Offset::ZERO, |s| s.base()));
            }
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

/// Goes on behind damage in the last segment, of which everything below `flushed` was durable. Says whether it came to
/// there: where the end is missing, that is left with the segment as an error.
fn pass_damage_of_the_last(
    replay: &mut Replay,
    segment: &Segment,
    len: u64,
    flushed: Offset,
    reason: &str,
) -> Result<bool> {
    let behind =
        replay.scan_past_damage(segment, len, Bounds::below(flushed), Source::Cache, &mut |_, _| {})?;
    learn(segment, replay);
    if behind.next_offset < flushed {
        let reason = if let Why::Bad(reason) = &behind.why { reason } else { reason };
        note_damage(segment, &behind, flushed, reason);
    }
    Ok(behind.next_offset >= flushed)
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
