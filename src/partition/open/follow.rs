//! Reading the files of a log that another process writes, as far as its manifest and its mark go.
//!
//! Data below the durable end that is not in the files is damage: what is whole around it can be read, and the rest
//! answers with the error. The log's health reports it for as long as this handle is open, even where the missing data
//! is put back: a follower does not read again what it has passed. Until a second look has confirmed it, it is a doubt,
//! for which the caller looks again: see `follower`.

use crate::{
    codec::{batch::RecordBatch, mark::Mark},
    error::{Error, Result},
    partition::{
        log::Log,
        open::{
            changed::names_in, damaged_range::Contents, report::RecoveryVerdict,
            segments::know_what_a_mark_says,
        },
        state::replay::{Bounds, EndReason, Replay, ScanEnd, whole_batches_beyond},
    },
    storage::{
        manifest::PartitionState,
        scan::ReadPath,
        segment::{MISSING, Segment},
    },
    types::{Durability, Offset},
};
use std::{path::PathBuf, sync::Arc};

/// How far a log could be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) enum Followed {
    /// To where its last segment ends.
    ToTheEnd,
    /// Not so far, and a second look has found the same.
    EndsEarly,
    /// Not so far, and the manifest has to be asked again.
    MayEndEarly,
}

/// What was durable and is not there.
#[derive(Clone, Debug)]
pub(in crate::partition) struct Missing {
    path: PathBuf,
    position: u64,
    reason: String,
}

impl Missing {
    pub fn verdict(&self) -> RecoveryVerdict {
        let Missing { path, position, reason } = self.clone();
        RecoveryVerdict::Damage { path, position, reason }
    }
}

/// What is known of a log before its files are looked at.
struct Known<'a> {
    state: &'a PartitionState,
    mark: Option<&'a Mark>,
    /// Everything below was durable.
    durable: Offset,
    /// Whether the mark is lost, so that nobody knows what else was durable. Every partition has had a durable mark
    /// since before it had records.
    mark_is_lost: bool,
    is_sure: bool,
}

/// How far a log was followed, and through which files.
#[derive(Debug)]
pub(in crate::partition) struct Trail {
    pub log: Arc<Log>,
    pub replay: Option<Replay>,
    /// The base offset of the segment that the replay stands in.
    pub at: Offset,
    /// The first thing that was found missing.
    pub missing: Option<Missing>,
    /// The contents of the batches that the opening reads; `None` once it has ended.
    pub contents: Option<Contents>,
}

impl Trail {
    /// The beginning of a log that was not followed yet.
    pub fn new(log: Arc<Log>) -> Self {
        Trail { log, replay: None, at: Offset::ZERO, missing: None, contents: Some(Contents::default()) }
    }

    /// Continues to the end of the log. Where a segment ends before the next one begins, or before the durable end, it
    /// stays there until that is sure.
    pub(in crate::partition) fn follow(
        &mut self,
        state: &PartitionState,
        mark: Option<&Mark>,
        last_named: Option<Offset>,
        is_sure: bool,
    ) -> Result<Followed> {
        let mut flushed = mark.map(|mark| mark.flushed_offset);
        planted!(show_what_is_being_flushed => flushed = mark.map(|mark| mark.flushing_offset));
        let durable = match &state.closed {
            Some(closed) => closed.next_offset,
            None => flushed.unwrap_or(Offset::ZERO),
        };
        let durable = durable.max(state.log_start);
        let mark_is_lost = mark.is_none() && state.closed.is_none();
        let known = Known { state, mark, durable, mark_is_lost, is_sure };
        let segments = self.log.segments.snapshot();
        let followed = self.go_on(&segments, &known, last_named)?;
        self.at = self.segment_of(&segments);
        let Some(replay) = self.replay.as_mut() else { return Ok(followed) };
        // Readers get an error about what is missing below the durable end.
        let end = match followed {
            Followed::ToTheEnd => replay.next_offset,
            Followed::EndsEarly if self.missing.is_some() => replay.next_offset.max(durable),
            Followed::EndsEarly => replay.next_offset,
            // What was shown before stays visible.
            Followed::MayEndEarly => replay.next_offset.max(self.log.offsets.log_end()),
        };
        // Without a mark, everything that the next writer will find is shown: every partition has had one, so it was
        // damaged.
        let mut shows_flushed = state.closed.is_none() && self.log.config().durability == Durability::Flushed;
        planted!(show_only_what_is_flushed => shows_flushed = true);
        planted!(show_what_is_only_written => shows_flushed = false);
        let bound = flushed.filter(|_| shows_flushed).map_or(end, |flushed| flushed.min(end));
        let bound = if followed == Followed::MayEndEarly { bound.min(replay.next_offset) } else { bound };
        self.show(end, bound);
        Ok(followed)
    }

    fn show(&mut self, end: Offset, bound: Offset) {
        let Some(replay) = self.replay.as_mut() else { return };
        let log = &self.log;
        let stable = replay.producers.stable_below(bound);
        let before = (log.offsets.high_watermark(), log.offsets.last_stable());
        let set = log.offsets.change(|set| {
            set.log_end = end;
            set.high_watermark = bound;
            set.last_stable = stable;
        });
        log.recount();
        log.waiters.notify(set.high_watermark > before.0, set.last_stable > before.1);
    }

    fn go_on(
        &mut self,
        segments: &[Arc<Segment>],
        known: &Known<'_>,
        last_named: Option<Offset>,
    ) -> Result<Followed> {
        let mut followed = Followed::ToTheEnd;
        while let Some(i) = self.replay.as_ref().map(|replay| replay.segment) {
            let Some(segment) = segments.get(i) else { break };
            let next = segments.get(i + 1);
            let len = self.len_of(segment, next.is_some(), known)?;
            let Some(stop) = self.scan(segment, len, known.is_sure)? else {
                return Ok(Followed::MayEndEarly);
            };
            let ends_well = match next {
                Some(next) => segment.ends_before(next.base(), stop.position, stop.next_offset),
                None => stop.next_offset >= known.durable,
            };
            if !ends_well || (known.mark_is_lost && stop.is_bad()) {
                if !known.is_sure {
                    return Ok(Followed::MayEndEarly);
                }
                followed = Followed::EndsEarly;
                if self.passes_what_is_missing(segments, i, len, &stop, known)? {
                    continue;
                }
            }
            let Some(replay) = self.replay.as_mut() else { break };
            match next {
                // In a closed log, bad data is not continued by a segment that the manifest does not name.
                Some(next) if last_named.is_some_and(|last| next.base() > last) && stop.is_bad() => break,
                Some(next) if ends_well || next.base() == replay.next_offset => replay.enter(i + 1, next),
                _ => break,
            }
        }
        Ok(followed)
    }

    /// How much of a segment's file belongs to it; `None` where there is no file. What another writer appended to a
    /// sealed segment does not.
    fn len_of(&self, segment: &Segment, is_followed: bool, known: &Known<'_>) -> Result<Option<u64>> {
        let Some(len) = segment.len_if_there()? else { return Ok(None) };
        let sealed = known.state.segments.at(segment.base()).and_then(|entry| entry.sealed);
        let sealed = sealed.filter(|_| is_followed);
        Ok(Some(sealed.map_or(len, |sealed| segment.without_surplus(len, sealed.bytes))))
    }

    /// Applies the batches of the segment that the replay stands in. `None` where its file is not there, or has lost
    /// what was followed before, and that is not sure yet.
    fn scan(&mut self, segment: &Segment, len: Option<u64>, is_sure: bool) -> Result<Option<ScanEnd>> {
        let Some(replay) = self.replay.as_mut() else { return Ok(None) };
        if segment.base() == replay.next_offset {
            replay.position = 0;
            replay.index = segment.empty_index();
        }
        if len.is_none_or(|len| len < replay.position) {
            if !is_sure {
                return Ok(None);
            }
            let epochs = std::mem::take(&mut replay.epochs);
            *replay = Replay::at_base(replay.segment, segment, Default::default(), epochs);
            segment.forget_damage();
        }
        let stop = match len {
            Some(len) => {
                let contents = &mut self.contents;
                let on_batch = &mut |batch: &RecordBatch, position| {
                    if let Some(contents) = contents {
                        contents.look_at(segment, batch, position);
                    }
                };
                replay.scan(segment, len, ReadPath::Cache, on_batch, &mut |_| true)?
            }
            None => ScanEnd { position: 0, next_offset: segment.base(), why: EndReason::Bad(MISSING.into()) },
        };
        if let EndReason::Unsupported(error) = stop.why {
            return Err(error.in_file(segment.path(), stop.position));
        }
        learn(segment, replay);
        Ok(Some(stop))
    }

    /// Where the data that segment `i` lacks was durable, as far as can be determined, leaves an error there for
    /// readers, and continues after it. Returns whether more of the segment may follow.
    fn passes_what_is_missing(
        &mut self,
        segments: &[Arc<Segment>],
        i: usize,
        len: Option<u64>,
        stop: &ScanEnd,
        known: &Known<'_>,
    ) -> Result<bool> {
        let Some(segment) = segments.get(i) else { return Ok(false) };
        let later = segments.get(i + 1..).unwrap_or_default();
        let Some(reason) = self.why_it_is_damage(segment, len, stop, later, known)? else { return Ok(false) };
        self.miss(segment, stop.position, reason.clone());
        if let Some(mark) = known.mark.filter(|_| self.knows_all(segments)) {
            know_what_a_mark_says(segments, mark);
        }
        let Some(replay) = self.replay.as_mut() else { return Ok(false) };
        let len = len.unwrap_or(0);
        match later.first() {
            Some(next) => pass_damage(replay, segment, len, next.base(), &reason).map(|()| false),
            None if stop.next_offset < known.durable => {
                pass_damage_of_the_last(replay, segment, len, known.durable, &reason)
            }
            None => {
                let before = replay.position;
                take_in_what_is_whole(replay, segment, len, Offset::MAX)?;
                Ok(replay.position > before)
            }
        }
    }

    /// Why the end of a segment is damage, as far as can be determined; `None` where nothing durable is missing.
    fn why_it_is_damage(
        &self,
        segment: &Segment,
        len: Option<u64>,
        stop: &ScanEnd,
        later: &[Arc<Segment>],
        known: &Known<'_>,
    ) -> Result<Option<String>> {
        let reason = match &stop.why {
            EndReason::Bad(reason) => reason.clone(),
            _ => format!("the data ends at offset {}", stop.next_offset),
        };
        let mut was_durable = stop.next_offset < known.durable;
        planted!(show_less_than_was_durable => was_durable = false);
        if was_durable {
            return Ok(Some(format!("{reason}; everything below offset {} was durable", known.durable)));
        }
        if known.mark_is_lost && self.has_batches_after(segment, len, stop, later)? {
            let lost = "whole batches follow, and the mark that would show whether this was durable is lost";
            return Ok(Some(format!("{reason}; {lost}")));
        }
        Ok(None)
    }

    /// Whether a whole batch lies after `stop`, in this segment or in later ones.
    fn has_batches_after(
        &self,
        segment: &Segment,
        len: Option<u64>,
        stop: &ScanEnd,
        later: &[Arc<Segment>],
    ) -> Result<bool> {
        if let Some(len) = len
            && whole_batches_beyond(segment, len, stop, ReadPath::Cache)? > 0
        {
            return Ok(true);
        }
        for segment in later {
            let Ok(len) = segment.source().len() else { continue };
            if segment.has_a_batch(len)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The base offset of the segment that the replay stands in.
    pub(in crate::partition) fn segment_of(&self, segments: &[Arc<Segment>]) -> Offset {
        let at = self.replay.as_ref().and_then(|replay| segments.get(replay.segment));
        at.map_or(self.at, |segment| segment.base())
    }

    /// Whether the log's directory has no segment after these: a mark may refer to one that the manifest did not name
    /// when it was read.
    fn knows_all(&self, segments: &[Arc<Segment>]) -> bool {
        let names = names_in(&*self.log.data_dir.env, &self.log.identity.dir).unwrap_or_default();
        names.last().map(|name| name.base) <= segments.last().map(|last| last.base())
    }

    /// Records that something durable is not there.
    pub(in crate::partition) fn miss(&mut self, segment: &Segment, position: u64, reason: String) {
        let path = segment.path();
        self.log.damage.lock().get_or_insert_with(|| Error::corrupt(path, position, reason.clone()));
        self.missing.get_or_insert_with(|| Missing { path: path.to_path_buf(), position, reason });
    }
}

/// Stores with a segment what was learned of it.
fn learn(segment: &Segment, replay: &Replay) {
    // Closed, so that it knows the largest timestamp so far.
    let mut index = replay.index.clone();
    index.close();
    segment.set_index(index);
    segment.set_aborted(replay.aborted.clone());
    segment.know_place(replay.position, replay.next_offset);
    segment.publish(replay.position);
}

/// Applies the whole batches of a segment that lie below `end`, whatever damage lies between them.
fn take_in_what_is_whole(replay: &mut Replay, segment: &Segment, len: u64, end: Offset) -> Result<()> {
    replay.scan_past_damage(segment, len, Bounds::below(end), ReadPath::Cache, &mut |_, _| {})?;
    learn(segment, replay);
    Ok(())
}

/// Continues after damage in a segment that is followed by one at `end`.
fn pass_damage(replay: &mut Replay, segment: &Segment, len: u64, end: Offset, reason: &str) -> Result<()> {
    take_in_what_is_whole(replay, segment, len, end)?;
    let end = replay.next_offset.max(end);
    if !segment.ends_before(end, replay.position, replay.next_offset) {
        replay.note_missing_end(segment, len, end, reason.to_string());
    }
    replay.next_offset = end;
    Ok(())
}

/// Continues after damage in the last segment, of which everything below `flushed` was durable. Returns whether it got
/// that far: a missing end is left with the segment as an error.
fn pass_damage_of_the_last(
    replay: &mut Replay,
    segment: &Segment,
    len: u64,
    flushed: Offset,
    reason: &str,
) -> Result<bool> {
    take_in_what_is_whole(replay, segment, len, flushed)?;
    if replay.next_offset >= flushed {
        return Ok(true);
    }
    // What was noted at an earlier look stays, and is to be met as before.
    match segment.damage_at(replay.position) {
        Some(noted) => segment.publish(noted.bytes.end),
        None => drop(replay.note_missing_end(segment, replay.position, flushed, reason.to_string())),
    }
    Ok(false)
}
