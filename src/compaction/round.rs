//! One round of cleaning: as many dirty segments as their bits have room for, and everything before them.
//!
//! The keys of the dirty part decide over the clean part, which holds each key once, in windows whose bits have room too.
//! Segments are rewritten from the oldest on, in groups of neighbours, and each group is swapped before the next is
//! begun: a round that ends early has changed only what came before, and has removed no tombstone before what it deletes.
//!
//! A round is a value, which does a step when it is asked to, and remembers how far it has come.

use super::{
    aborted::Aborted,
    decide::{Keys, Lives, decide},
    markers::{Markers, Walk},
    rewrite::{Cleaned, Place, Rewriting, Rules, Source},
};
use crate::{
    codec::{index::AbortedTransaction, keys::KeysFlags},
    error::{Error, Result},
    partition::write::cleanable::{Cleanable, CleaningTurn, cleanable, dirty_from},
    types::Offset,
};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// The most that the bits of one decision take.
const BITS_BYTES: u64 = 16 << 20;
/// What is said of a round whose segments were removed before it was done.
const GONE: &str = "compacting segments that were removed meanwhile";

/// See the head of the file.
pub struct Round {
    segments: Vec<Cleanable>,
    keys: Vec<Keys>,
    /// It has come as far as is decided.
    walk: Walk,
    rules: Rules,
    versions: u32,
    /// The first that is dirty, and the end of what this round goes through.
    first_dirty: usize,
    end: usize,
    /// Up to here it is decided what lives.
    at: usize,
    /// The log is clean below this offset after the round.
    below: Offset,
    groups: VecDeque<Group>,
    writing: Option<Writing>,
    /// Whether the manifest knows that the log is clean.
    is_noted: bool,
}

/// What a round goes through.
#[derive(Clone, Copy, Debug)]
pub struct RoundOrder {
    /// Whether the lag does not count.
    pub any_age: bool,
    /// Whether nothing is to be written.
    pub is_rehearsal: bool,
    /// Whether it goes through a clean log too, for tombstones whose time is over.
    pub must: bool,
}

/// Neighbours that become one segment, or few.
struct Group {
    sources: Vec<Source>,
    /// The log is clean below this offset once they are swapped.
    cleaned: Option<Offset>,
}

impl Group {
    /// Of these, in a log that is clean below `before`.
    fn of(sources: Vec<Source>, before: Offset) -> Self {
        let next = sources.last().map(|source| source.seal.next_offset);
        Group { sources, cleaned: next.filter(|next| *next > before) }
    }
}

/// A group that is being written.
struct Writing {
    group: Group,
    rewriting: Rewriting,
    /// Which source is read, and how far.
    source: usize,
    place: Place,
}

impl Round {
    /// A round through a log that is clean below `cleaned`; `None` where nothing is dirty and nothing `must` be looked at.
    pub fn begin(turn: &CleaningTurn, cleaned: Offset, order: RoundOrder) -> Result<Option<Round>> {
        let RoundOrder { any_age, is_rehearsal, must } = order;
        let segments = cleanable(turn.log(), any_age);
        let first_dirty = dirty_from(&segments, cleaned);
        if first_dirty == segments.len() && !must {
            return Ok(None);
        }
        let (keys, aborted) = keys_of(turn, &segments)?;
        let end = first_dirty + fitting(&keys, first_dirty);
        let Some(last) = end.checked_sub(1).and_then(|i| segments.get(i)) else { return Ok(None) };
        let below = last.seal.next_offset;
        if !is_rehearsal {
            turn.begin()?;
        }
        let rules = rules(turn, is_rehearsal);
        Ok(Some(Round {
            walk: Walk::new(aborted, turn.remembered()?, rules.now, rules.high_watermark),
            rules,
            versions: turn.log().config().compaction_versions,
            segments,
            keys,
            first_dirty,
            end,
            at: 0,
            below,
            groups: VecDeque::new(),
            writing: None,
            is_noted: is_rehearsal || first_dirty == end,
        }))
    }

    /// Does the next step; `false` where the round is over.
    pub fn step(
        &mut self,
        turn: &CleaningTurn,
        sum: &mut Cleaned,
        goes_on: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<bool> {
        if let Some(writing) = &mut self.writing {
            match writing.is_read() {
                false => writing.read_on(goes_on)?,
                true => self.end_group(turn, sum)?,
            }
            return Ok(true);
        }
        if let Some(group) = self.groups.pop_front() {
            self.writing = Writing::begin(turn, group, self.rules);
            return Ok(true);
        }
        if self.at < self.end {
            self.decide_window(sum)?;
            return Ok(true);
        }
        if !self.is_noted {
            turn.note_cleaned(self.below)?;
        }
        sum.below = self.below;
        Ok(false)
    }

    /// Decides what lives of the next segments, and which of them are rewritten together.
    fn decide_window(&mut self, sum: &mut Cleaned) -> Result<()> {
        let (at, end) = (self.at, self.end);
        // The dirty part is decided at one time, and what fits beside it.
        let window = if fits(&self.keys, at..end) {
            at..end
        } else {
            at..(at + fitting(&self.keys, at)).min(self.first_dirty).max(at + 1)
        };
        // Of what is clean each key is there once; of more versions each segment may have one.
        let newer = if self.versions == 1 { self.first_dirty.max(window.end) } else { window.end };
        let keys = slice(&self.keys, window.clone());
        let decided = decide(keys, slice(&self.keys, newer..end), self.versions)?;
        let segments = slice(&self.segments, window.clone());
        let markers = segments.iter().zip(keys).map(|(one, keys)| self.walk.through(one, keys));
        let markers = markers.collect::<Result<Vec<_>>>()?;
        let sources = sources(segments, keys, decided, markers);
        let groups = groups(sources, &self.rules, &mut sum.untouched)?;
        let before = sum.below;
        self.groups = groups.into_iter().map(|sources| Group::of(sources, before)).collect();
        planted!(a_tombstone_goes_before_its_elders => self.groups.make_contiguous().reverse());
        if window.end == end
            && let Some(last) = self.groups.back_mut()
        {
            last.cleaned = Some(self.below);
        }
        self.at = window.end;
        Ok(())
    }

    /// Swaps the group that was written.
    fn end_group(&mut self, turn: &CleaningTurn, sum: &mut Cleaned) -> Result<()> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let Writing { group, rewriting, .. } = writing;
        let Some(next) = group.sources.last().map(|source| source.seal.next_offset) else { return Ok(()) };
        let outputs = rewriting.finish(&group.sources, next)?;
        let after: u64 = outputs.iter().map(|(_, seal)| seal.bytes).sum();
        if !self.rules.is_rehearsal {
            let sources = group.sources.iter().map(|source| Arc::clone(&source.segment)).collect();
            let counted = std::mem::take(&mut rewriting.charges);
            match turn.swap(sources, outputs, counted, group.cleaned) {
                Ok(true) => {}
                Ok(false) => return Err(Error::Cancelled { during: GONE }),
                // Nobody knows whether it was decided: what was written stays.
                Err(error) => {
                    self.writing = None;
                    return Err(error);
                }
            }
        }
        sum.counts.add(rewriting.counts);
        sum.bytes_before += group.sources.iter().map(|source| source.seal.bytes).sum::<u64>();
        sum.bytes_after += after;
        sum.rewritten += group.sources.len() as u64;
        self.is_noted |= group.cleaned == Some(self.below);
        self.writing = None;
        Ok(())
    }

    /// Removes what was written and not swapped.
    pub fn discard(&mut self) {
        if let Some(mut writing) = self.writing.take() {
            writing.rewriting.discard();
        }
    }
}

impl Writing {
    fn begin(turn: &CleaningTurn, group: Group, rules: Rules) -> Option<Writing> {
        let generations = group.sources.iter().map(|source| source.seal.generation);
        let generation = generations.max().unwrap_or(0).saturating_add(1);
        let place = Place::start_of(group.sources.first()?);
        let rewriting = Rewriting::new(turn, rules, generation);
        Some(Writing { group, rewriting, source: 0, place })
    }

    fn is_read(&self) -> bool {
        self.source == self.group.sources.len()
    }

    fn read_on(&mut self, goes_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let Some(source) = self.group.sources.get_mut(self.source) else { return Ok(()) };
        if self.rewriting.add(source, &mut self.place, goes_on)? {
            return Ok(());
        }
        self.source += 1;
        if let Some(next) = self.group.sources.get(self.source) {
            self.place = Place::start_of(next);
        }
        Ok(())
    }
}

fn slice<T>(list: &[T], range: Range<usize>) -> &[T] {
    list.get(range).unwrap_or_default()
}

/// The keys of these segments, and the aborted transactions that reach into them.
fn keys_of(turn: &CleaningTurn, segments: &[Cleanable]) -> Result<(Vec<Keys>, Vec<AbortedTransaction>)> {
    let seed = turn.log().hash_seed();
    let files = segments.iter().map(|one| {
        let file = one.segment.keys(one.seal.next_offset, seed)?;
        if file.flags().say(KeysFlags::OUT_OF_ORDER) {
            return Err(turn.not_cleaned("records out of the order of their offsets"));
        }
        Ok(Arc::new(file))
    });
    let files = files.collect::<Result<Vec<_>>>()?;
    let mut aborted = Vec::new();
    if let (Some(first), Some(last)) = (segments.first(), segments.last())
        && files.iter().any(|file| file.flags().say(KeysFlags::PRODUCERS))
    {
        aborted = turn.aborted_between(first.segment.base(), last.seal.next_offset)?;
    }
    let keys = segments.iter().zip(files).map(|(one, file)| {
        let aborted = Aborted::of(turn, one, &aborted)?;
        Ok(Keys { file, aborted })
    });
    Ok((keys.collect::<Result<_>>()?, aborted))
}

fn bytes_of(keys: &[Keys]) -> u64 {
    keys.iter().map(Lives::most_bytes).sum()
}

fn fits(keys: &[Keys], range: Range<usize>) -> bool {
    bytes_of(slice(keys, range)) <= BITS_BYTES
}

/// How many segments from `first` on have bits that fit: one at least, where there is one.
fn fitting(keys: &[Keys], first: usize) -> usize {
    let keys = keys.get(first..).unwrap_or_default();
    let mut sum = 0;
    let fit = keys.iter().take_while(|keys| {
        sum += Lives::most_bytes(keys);
        sum <= BITS_BYTES
    });
    fit.count().max(keys.len().min(1))
}

fn rules(turn: &CleaningTurn, is_rehearsal: bool) -> Rules {
    let (config, now) = (turn.log().config(), turn.env().now());
    Rules {
        now,
        horizon: now.plus(config.delete_retention),
        high_watermark: turn.log().offsets().high_watermark(),
        segment_bytes: config.roll_bytes,
        index_bytes: config.segment_index_bytes,
        index_interval: config.index_interval_bytes,
        is_rehearsal,
    }
}

fn sources(segments: &[Cleanable], keys: &[Keys], lives: Vec<Lives>, markers: Vec<Markers>) -> Vec<Source> {
    let parts = segments.iter().zip(keys).zip(lives.into_iter().zip(markers));
    let source = |((one, keys), (lives, markers)): ((&Cleanable, &Keys), (Lives, Markers))| Source {
        segment: Arc::clone(&one.segment),
        seal: one.seal,
        keys: Arc::clone(&keys.file),
        lives,
        markers,
    };
    parts.map(source).collect()
}

/// Neighbours that have work, or no record, as many as make one segment.
fn groups(sources: Vec<Source>, rules: &Rules, untouched: &mut u64) -> Result<Vec<Vec<Source>>> {
    let mut groups: Vec<(Vec<Source>, bool)> = Vec::new();
    let mut is_open = false;
    for source in sources {
        let has_work = source.has_work(rules)?;
        if !has_work && source.keys.count() > 0 {
            *untouched += 1;
            is_open = false;
            continue;
        }
        match groups.last_mut().filter(|(group, _)| is_open && belongs(group, &source, rules)) {
            Some((group, has)) => {
                group.push(source);
                *has |= has_work;
            }
            None => groups.push((vec![source], has_work)),
        }
        is_open = true;
    }
    // A segment without a record is worth no rewriting. Two are: otherwise every round might leave one more.
    let is_worth = |(group, has_work): (Vec<Source>, bool)| match has_work || group.len() > 1 {
        true => Some(group),
        false => {
            *untouched += 1;
            None
        }
    };
    Ok(groups.into_iter().filter_map(is_worth).collect())
}

/// Whether a segment may go into one with those before.
fn belongs(group: &[Source], source: &Source, rules: &Rules) -> bool {
    let Some(first) = group.first() else { return false };
    let bytes: u64 = group.iter().map(|source| source.seal.bytes).sum();
    bytes + source.seal.bytes <= rules.segment_bytes && reaches(first.keys.base(), source.seal.next_offset)
}

/// Whether every offset below `next` can be told from `base` in a file of keys and an index, as in Kafka.
fn reaches(base: Offset, next: Offset) -> bool {
    next.distance_from(base) <= i32::MAX as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_spans_as_many_offsets_as_an_index_can_tell_apart() {
        let base = Offset::new(1000);
        assert!(reaches(base, base + (1 << 31)), "the last one is 2,147,483,647 away");
        assert!(!reaches(base, base + (1 << 31) + 1));
    }
}
