//! A log that another process writes.
//!
//! A read-only opening follows: in a `Flushed` topic up to what the mark says is durable, in the others up to the last
//! whole, chained, valid batch in the file. It changes nothing on disk, and shows the same without a live writer.
//!
//! The manifest and the mark are read before the files, so whatever they promise was in the files then. Where it is not
//! there a moment later, the writer may have removed it by retention, or put another file in its place. A follower
//! therefore looks a second time, at files that it opens anew, before it reports that something is missing: that is
//! damage only where the manifest says of the partition what it said before. `follow` describes how it reads the files,
//! and what becomes of damage.

use crate::{
    codec::{manifest::PartitionClosed, mark::Mark},
    error::{Error, Result},
    partition::{
        log::Log,
        open::{
            assemble::LogParts,
            changed::{is_as_closed, names_in, with_what_is_there},
            damaged_range::Contents,
            follow::{Followed, Trail},
            report::{PartitionRecovery, RecoveryVerdict},
            segments::listed,
        },
        state::{
            append_state::AppendState,
            identity::Identity,
            log_config::LogConfig,
            offsets::OffsetSet,
            owner::check_owner,
            replay::{KnownEnd, Replay},
        },
    },
    storage::{
        data_dir::DataDir,
        foreign_files::entries_of,
        layout::SegmentFile,
        manifest::{PartitionState, SegmentEntry},
        segment::{MISSING, Segment},
        swap::SwapFiles,
    },
    types::Offset,
};
use std::{borrow::Cow, sync::Arc};

/// How often a follower looks again where the manifest changes from look to look. Then it leaves the question to the
/// next refresh.
const LOOKS: usize = 8;

/// How far a follower has followed a log.
#[derive(Debug)]
pub struct Follower {
    trail: Trail,
    /// The directory of a closed log, where it has changed since.
    seen: Option<Seen>,
    /// What the opening found.
    found: Option<PartitionRecovery>,
    /// What the manifest said when the files were found to end early.
    doubt: Option<PartitionState>,
    /// The last incarnation of the log that the manifest knows.
    life: Option<(u32, Offset)>,
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

impl Follower {
    /// Opens a log for reading only.
    pub fn open(
        data_dir: &Arc<DataDir>,
        identity: Identity,
        config: Arc<LogConfig>,
        state: &PartitionState,
    ) -> Result<Follower> {
        // Nothing of a closed log is read here: its first reader checks the owner.
        if state.closed.is_none() {
            check_owner(data_dir, &identity)?;
        }
        let reason = "the log was opened with Streamlog::open_read_only".into();
        let writer = AppendState::Refused(Error::ReadOnly { reason });
        let offsets = OffsetSet { log_start: state.log_start, ..OffsetSet::default() };
        let parts = LogParts::new(identity, config, writer);
        let log = LogParts { offsets, ..parts }.assemble(data_dir);
        let mut follower =
            Follower { trail: Trail::new(log), seen: None, found: None, doubt: None, life: None };
        let state = follower.see_what_changed(state)?;
        follower.refresh(&state)?;
        if let Some(closed) = follower.seen.as_ref().map(|seen| seen.closed) {
            follower.drop_what_does_not_follow();
            follower.found = Some(follower.what_changed(&state, &closed)?);
        } else if let Some(missing) = &follower.trail.missing {
            let log = &follower.trail.log;
            let whole = PartitionRecovery::whole(&log.identity.name, log.offsets.log_end());
            let bytes_read = follower.trail.replay.as_ref().map_or(0, |replay| replay.bytes_read);
            follower.found = Some(PartitionRecovery { verdict: missing.verdict(), bytes_read, ..whole });
        }
        follower.report_contents();
        Ok(follower)
    }

    /// The opening has read what it reads: batches among that whose content cannot be read belong to its report.
    fn report_contents(&mut self) {
        let Contents { unreadable, damage, .. } = self.trail.contents.take().unwrap_or_default();
        let log = &self.trail.log;
        if let Some(damage) = damage {
            log.damage.lock().get_or_insert(damage);
        }
        if !unreadable.is_empty() {
            let whole = || PartitionRecovery::whole(&log.identity.name, log.offsets.log_end());
            self.found.get_or_insert_with(whole).unreadable = unreadable;
        }
    }

    /// Checks whether a closed log is as it was closed, and returns the state by which it is followed. A difference is
    /// another writer's work only where the log was still closed when the difference was seen.
    fn see_what_changed<'a>(&mut self, state: &'a PartitionState) -> Result<Cow<'a, PartitionState>> {
        let (data_dir, identity) = (&self.trail.log.data_dir, &self.trail.log.identity);
        let mut state = Cow::Borrowed(state);
        for _ in 0..LOOKS {
            let Some(closed) = state.closed else { break };
            if is_as_closed(data_dir, identity, &state, &closed)? {
                break;
            }
            match self.manifest_says()? {
                Some(now) if now != *state => state = Cow::Owned(now),
                _ => {
                    let seen = with_what_is_there(data_dir, identity, &state, &closed)?;
                    let last_named = state.segments.last().map_or(Offset::ZERO, |last| last.base);
                    self.seen = Some(Seen { closed, last_named, state: seen });
                    break;
                }
            }
        }
        Ok(state)
    }

    /// What the manifest says of the partition now; `None` where it was deleted.
    fn manifest_says(&self) -> Result<Option<PartitionState>> {
        let (manifest, identity) = (&self.trail.log.data_dir.manifest, &self.trail.log.identity);
        manifest.observe()?;
        Ok(manifest.state().of(identity.id()).cloned())
    }

    /// What the opening found: how a closed log differs from what it was then, and what is missing. `None` where there
    /// is nothing to report.
    pub fn found(&self) -> Option<&PartitionRecovery> {
        self.found.as_ref()
    }

    /// Gives readers this error until the log can be followed again.
    pub fn fail(&self, error: Error) {
        self.trail.log.unusable.set(Some(error));
        self.trail.log.waiters.notify_all();
    }

    /// Drops the segments that were not reached, which belong to no log.
    fn drop_what_does_not_follow(&mut self) {
        let at = self.trail.replay.as_ref().map_or(0, |replay| replay.segment);
        let reached =
            self.trail.log.segments.snapshot().get(at).map_or(Offset::ZERO, |segment| segment.base());
        if let Some(seen) = &mut self.seen {
            let last = reached.max(seen.last_named);
            seen.state.segments.retain(|segment| segment.base <= last);
            let state = seen.state.clone();
            self.take_in_segments(&state, true);
        }
    }

    fn what_changed(&self, state: &PartitionState, closed: &PartitionClosed) -> Result<PartitionRecovery> {
        let log = &self.trail.log;
        let replay = self.trail.replay.as_ref();
        let (next, at, position) = replay
            .map_or((Offset::ZERO, 0, 0), |replay| (replay.next_offset, replay.segment, replay.position));
        let segments = log.segments.snapshot();
        let mut changed = PartitionRecovery::whole(&log.identity.name, log.offsets.log_end());
        changed.bytes_read = replay.map_or(0, |replay| replay.bytes_read);
        changed.adopted = (next > closed.next_offset).then_some(closed.next_offset..next);
        let began = closed.log_start.max(state.log_start);
        let begins = log.offsets.log_start();
        changed.removed = (begins > began).then_some(began..begins);
        changed.left_in_place = names_in(&*log.data_dir.env, &log.identity.dir)?
            .iter()
            .filter(|name| state.segments.at(name.base).is_none())
            .filter(|name| segments.iter().take(at + 1).all(|segment| segment.base() != name.base))
            .map(|name| SegmentFile::Log.path(&log.identity.dir, name.base))
            .collect();
        if let Some(missing) = &self.trail.missing {
            changed.verdict = missing.verdict();
        } else if let Some(segment) = segments.get(at) {
            let len = segment.source().len().unwrap_or(0);
            if !segment.only_zeros_from(position, len)? {
                changed.verdict = RecoveryVerdict::TornTail {
                    path: segment.path().to_path_buf(),
                    position,
                    dropped_bytes: len - position,
                    reason: "what follows does not continue the log, and is not shown".into(),
                    whole_batches_beyond: 0,
                };
            }
        }
        Ok(changed)
    }

    /// The log as seen so far.
    pub fn log(&self) -> &Arc<Log> {
        &self.trail.log
    }

    /// Catches up with what the writer did since the last time.
    pub fn refresh(&mut self, state: &PartitionState) -> Result<()> {
        let mut state = Cow::Borrowed(state);
        for _ in 0..LOOKS {
            // Once the log has been opened for writing, the manifest knows.
            drop(self.seen.take_if(|seen| state.closed != Some(seen.closed)));
            let mut is_sure = self.doubt.as_ref() == Some(&*state);
            planted!(call_it_damage_at_the_first_look => is_sure = true);
            let looked = match self.look(&state, is_sure) {
                // A new file may have been put under a name that this handle has read before.
                Err(Error::Corrupt { .. }) if !is_sure => Followed::MayEndEarly,
                looked => looked?,
            };
            match looked {
                Followed::ToTheEnd => {
                    self.doubt = None;
                    break;
                }
                // Another look could not tell it from damage: the next refresh begins with that.
                Followed::EndsEarly => break,
                Followed::MayEndEarly => {}
            }
            self.open_files_anew();
            let now = self.manifest_says()?;
            self.doubt = Some(state.into_owned());
            let Some(now) = now else { break };
            state = Cow::Owned(now);
        }
        self.trail.log.unusable.set(None);
        Ok(())
    }

    /// A file that lacks what it should have may have lost its name to another: a recovery that could not believe the
    /// cache writes the file anew.
    fn open_files_anew(&self) {
        let segments = self.trail.log.segments.snapshot();
        let last = segments.iter().filter(|segment| segment.base() >= self.trail.at);
        last.for_each(|segment| segment.replaced());
        self.trail.log.owner.forget();
        // Readers look at them again, too.
        self.trail.log.segments.change(|_| {});
    }

    /// Follows the log as far as the manifest's `state` goes, extended by what was found where a closed log has
    /// changed.
    fn look(&mut self, state: &PartitionState, is_sure: bool) -> Result<Followed> {
        match self.seen.take() {
            None => self.look_by(state, None, is_sure),
            Some(seen) => {
                let followed = self.look_by(&seen.state, Some(seen.last_named), is_sure);
                self.seen = Some(seen);
                followed
            }
        }
    }

    /// In a log that has changed, others may follow the segment `last_named`.
    fn look_by(
        &mut self,
        state: &PartitionState,
        last_named: Option<Offset>,
        is_sure: bool,
    ) -> Result<Followed> {
        if self.begins_a_life_below(state) {
            // What was followed past its beginning is not what it wrote there.
            self.trail.replay = None;
        }
        let (data_dir, identity) = (Arc::clone(&self.trail.log.data_dir), &self.trail.log.identity);
        let mark = data_dir.marks.read(identity.slot, &identity.topic_id, identity.name.partition)?;
        if state.segments.is_empty() {
            return Err(Error::corrupt(&identity.dir, 0, "the manifest names no segment of this partition"));
        }
        let goes_on = self.finds_its_segment(state);
        self.take_in_segments(state, goes_on);
        let segments = self.trail.log.segments.snapshot();
        if !goes_on {
            let known = known_end(state, mark.as_ref());
            // The state is that of the log as the manifest knows it, even where another segment begins at its end.
            let named = match last_named {
                Some(last) => segments.iter().take_while(|segment| segment.base() <= last).count(),
                None => segments.len(),
            };
            let named = segments.get(..named.max(1)).unwrap_or_default();
            self.trail.replay = Replay::begin(
                &*data_dir.env,
                &self.trail.log.identity,
                named,
                state.producers_at_start,
                known,
            )?;
            if let Some(replay) = &mut self.trail.replay {
                replay.is_cleaned_below(state.cleaned);
            }
            let is_as_closed = state.closed.is_some() && last_named.is_none();
            if !is_as_closed && !self.looks_for_earlier_files(&segments, is_sure)? {
                self.trail.replay = None;
                return Ok(Followed::MayEndEarly);
            }
            self.trail.at = self.trail.segment_of(&segments);
        }
        self.trail.follow(state, mark.as_ref(), last_named, is_sure)
    }

    /// Whether an incarnation of the log has begun, since the last look, below what was followed of the one before:
    /// what that one had there is lost.
    fn begins_a_life_below(&mut self, state: &PartitionState) -> bool {
        let life = state.incarnations.back().copied();
        let before = std::mem::replace(&mut self.life, life);
        let followed = self.trail.replay.as_ref().map_or(Offset::ZERO, |replay| replay.next_offset);
        life != before && life.is_some_and(|(_, first)| first < followed)
    }

    /// Whether the files of the segments before the replay's are there, or are known to be missing; `false` where the
    /// manifest must be read again.
    fn looks_for_earlier_files(&mut self, segments: &[Arc<Segment>], is_sure: bool) -> Result<bool> {
        let before = self.trail.replay.as_ref().map_or(0, |replay| replay.segment);
        let before = segments.get(..before).unwrap_or_default();
        if before.is_empty() {
            return Ok(true);
        }
        let names = names_in(&*self.trail.log.data_dir.env, &self.trail.log.identity.dir)?;
        // A directory that changes while it is listed may lack a name.
        let is_missing = |segment: &&Arc<Segment>| {
            names.binary_search_by_key(&segment.base(), |name| name.base).is_err()
                && matches!(segment.len_if_there(), Ok(None))
        };
        match before.iter().find(is_missing) {
            None => Ok(true),
            Some(segment) if is_sure => {
                self.trail.miss(segment, 0, MISSING.into());
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }

    /// Whether the segment that the replay stands in still exists; its number may have changed.
    fn finds_its_segment(&mut self, state: &PartitionState) -> bool {
        let Some(replay) = self.trail.replay.as_mut() else { return false };
        // One that was removed may have ended where the first one begins now.
        let segments = &state.segments;
        let known = self.trail.log.segments.snapshot();
        let is_rewritten =
            |now: SegmentEntry| known.iter().any(|known| known.base() == now.base && known.id() != now.id());
        if segments.at(self.trail.at).is_some_and(is_rewritten) {
            return false;
        }
        match segments.number_of(self.trail.at).or_else(|| segments.number_of(replay.next_offset)) {
            Some(i) => {
                replay.segment = i;
                true
            }
            None => false,
        }
    }

    /// Gives the log the segments of `state`; those that are known stay the same where the replay continues in them.
    fn take_in_segments(&self, state: &PartitionState, goes_on: bool) {
        let log = &self.trail.log;
        // The start first, so that readers of what is removed find that it was.
        if let Some(first) = state.segments.first() {
            let start = state.log_start.max(first.base);
            unless_planted!(an_observer_keeps_its_log_start => log.offsets.change(|set| set.log_start = set.log_start.max(start)));
        }
        let known = log.segments.snapshot();
        let same = known.len() == state.segments.len()
            && known.iter().zip(state.segments.iter()).all(|(a, b)| a.id() == b.id());
        if same && goes_on {
            return;
        }
        let config = log.config();
        let swaps = self.swaps_under_way(state);
        let fresh = state.segments.iter().map(|entry| {
            let at = known.binary_search_by_key(&entry.base, |segment| segment.base());
            let held = at.ok().and_then(|at| known.get(at));
            let held = held.filter(|held| goes_on && held.id() == entry.id()).cloned();
            held.unwrap_or_else(|| {
                let segment = listed(&log.data_dir, &log.identity, &config, state, &entry, 0);
                let place = swaps.place_of(&*log.data_dir.env, &log.identity.dir, entry.base);
                place.into_iter().for_each(|place| segment.lies_at(place));
                segment
            })
        });
        let fresh: Vec<_> = fresh.collect();
        log.segments.change(|list| *list = fresh);
    }

    /// The swaps that the writer has decided, and whose files it has not given their names, as far as the directory shows.
    fn swaps_under_way(&self, state: &PartitionState) -> SwapFiles {
        let (env, dir) = (&*self.trail.log.data_dir.env, &self.trail.log.identity.dir);
        let mut seals = state.segments.iter().filter_map(|segment| segment.sealed);
        // A log is closed only when every file has its name.
        if state.closed.is_some() || !seals.any(|seal| seal.generation > 0) {
            return SwapFiles::default();
        }
        let entries = entries_of(env, dir).unwrap_or_default();
        SwapFiles::among(env, dir, &entries, state).unwrap_or_default()
    }
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

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
