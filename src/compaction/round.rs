//! One round of cleaning: as many dirty segments as their bits have room for, and everything before them.
//!
//! The keys of the dirty part decide over the clean part, which holds each key once, in windows whose bits have room too.
//! Segments are rewritten from the oldest on, in groups of neighbours, and each group is swapped before the next is
//! begun: a round that ends early has changed only what came before, and has removed no tombstone before what it deletes.

use super::{
    decide::{Lives, decide},
    rewrite::{Counts, Rewriting, Rules, Source},
};
use crate::{
    codec::{keys::KeysFlags, manifest::Seal},
    error::{Error, Result},
    partition::{
        log::Log,
        write::cleanable::{Cleanable, dirty_from},
    },
    storage::{apart::remove_if_there, keys::KeyFile, segment::Segment},
    types::Offset,
};
use std::{ops::Range, sync::Arc};

/// The most that the bits of one decision take.
const BITS_BYTES: u64 = 16 << 20;
/// What is said of a round whose segments were removed before it was done.
const GONE: &str = "compacting segments that were removed meanwhile";

/// Puts written segments in the place of others.
pub struct Swap {
    /// The segments that give way, neighbours, oldest first.
    pub sources: Vec<Arc<Segment>>,
    /// What takes their place, under names that end in `.cleaned`.
    pub outputs: Vec<(Offset, Seal)>,
    /// The log is clean below this offset once that is done.
    pub cleaned: Option<Offset>,
}

/// How a round goes.
pub struct Pace<'a> {
    /// Whether nothing is to be written.
    pub is_rehearsal: bool,
    /// Whether the lag does not count.
    pub any_age: bool,
    /// Asked after about each mebibyte, with how many bytes were read since it was asked last.
    pub goes_on: &'a mut dyn FnMut(u64) -> Result<()>,
    /// Puts a group that was written in its place. `false` where its sources are not part of the log any more: what was
    /// written is not needed then. After an error nobody knows, and what was written stays.
    pub swap: &'a mut dyn FnMut(Swap) -> Result<bool>,
}

/// What cleaning did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Records of the segments that were rewritten, before and after.
    pub counts: Counts,
    /// The bytes of those segments' batches, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// How many segments were rewritten, and how many had nothing to be removed.
    pub rewritten: u64,
    pub untouched: u64,
    /// The log is clean below this offset.
    pub below: Offset,
}

/// Cleans a log that is clean below `cleaned`, up to the end of what may be.
pub fn clean(log: &Log, cleaned: Offset, pace: &mut Pace<'_>) -> Result<Cleaned> {
    let mut sum = Cleaned { below: cleaned, ..Cleaned::default() };
    let mut again = true;
    loop {
        match round(log, &mut sum, pace) {
            Ok(true) => {}
            Ok(false) => return Ok(sum),
            // Damaged keys are built again, once.
            Err(Error::Corrupt { path, .. })
                if again && path.extension().is_some_and(|ext| ext == "keys") =>
            {
                remove_if_there(&**log.env(), &path)?;
                again = false;
            }
            Err(error) => return Err(error),
        }
    }
}

/// One round; `false` where there was nothing dirty.
fn round(log: &Log, sum: &mut Cleaned, pace: &mut Pace<'_>) -> Result<bool> {
    let segments = log.cleanable(pace.any_age);
    let first_dirty = dirty_from(&segments, sum.below);
    let keys = keys_of(log, &segments)?;
    let end = first_dirty + fitting(&keys, first_dirty);
    let Some(last) = end.checked_sub(1).filter(|last| *last >= first_dirty).and_then(|i| segments.get(i))
    else {
        return Ok(false);
    };
    let below = last.seal.next_offset;
    let (rules, versions) = (rules(log, pace), log.config().compaction_versions);
    if !pace.is_rehearsal {
        log.begin_cleaning()?;
    }
    let mut at = 0;
    while at < end {
        // The dirty part is decided at one time, and what fits beside it.
        let window = if fits(&keys, at..end) {
            at..end
        } else {
            at..(at + fitting(&keys, at)).min(first_dirty).max(at + 1)
        };
        // Of what is clean each key is there once; of more versions each segment may have one.
        let newer = if versions == 1 { first_dirty.max(window.end)..end } else { window.end..end };
        let decided = decide(slice(&keys, window.clone()), slice(&keys, newer), versions)?;
        let sources = sources(slice(&segments, window.clone()), slice(&keys, window.clone()), decided);
        let ends = (window.end == end).then_some(below);
        rewrite(log, sources, &rules, ends, sum, pace)?;
        at = window.end;
    }
    sum.below = below;
    Ok(true)
}

fn slice<T>(list: &[T], range: Range<usize>) -> &[T] {
    list.get(range).unwrap_or_default()
}

/// The keys of these segments.
fn keys_of(log: &Log, segments: &[Cleanable]) -> Result<Vec<Arc<KeyFile>>> {
    let seed = log.hash_seed();
    let keys = segments.iter().map(|one| {
        let keys = one.segment.keys(one.seal.next_offset, seed)?;
        if keys.flags().say(KeysFlags::PRODUCERS) {
            return Err(log.not_cleaned("batches of producers with an id"));
        }
        if keys.flags().say(KeysFlags::OUT_OF_ORDER) {
            return Err(log.not_cleaned("records out of the order of their offsets"));
        }
        Ok(Arc::new(keys))
    });
    keys.collect()
}

fn bytes_of(keys: &[Arc<KeyFile>]) -> u64 {
    keys.iter().map(|keys| Lives::most_bytes(keys)).sum()
}

fn fits(keys: &[Arc<KeyFile>], range: Range<usize>) -> bool {
    bytes_of(slice(keys, range)) <= BITS_BYTES
}

/// How many segments from `first` on have bits that fit: one at least, where there is one.
fn fitting(keys: &[Arc<KeyFile>], first: usize) -> usize {
    let keys = keys.get(first..).unwrap_or_default();
    let mut sum = 0;
    let fit = keys.iter().take_while(|keys| {
        sum += Lives::most_bytes(keys);
        sum <= BITS_BYTES
    });
    fit.count().max(keys.len().min(1))
}

fn rules(log: &Log, pace: &Pace<'_>) -> Rules {
    let (config, now) = (log.config(), log.env().now());
    Rules {
        now,
        horizon: now.plus(config.delete_retention),
        high_watermark: log.offsets().high_watermark(),
        segment_bytes: config.roll_bytes,
        index_bytes: config.segment_index_bytes,
        index_interval: config.index_interval_bytes,
        is_rehearsal: pace.is_rehearsal,
    }
}

fn sources(segments: &[Cleanable], keys: &[Arc<KeyFile>], lives: Vec<Lives>) -> Vec<Source> {
    let parts = segments.iter().zip(keys).zip(lives);
    let source = |((one, keys), lives): ((&Cleanable, &Arc<KeyFile>), Lives)| Source {
        segment: Arc::clone(&one.segment),
        seal: one.seal,
        keys: Arc::clone(keys),
        lives,
    };
    parts.map(source).collect()
}

/// Rewrites what has work, in groups. With the last group, or without one, the log is clean below `ends`.
fn rewrite(
    log: &Log,
    sources: Vec<Source>,
    rules: &Rules,
    ends: Option<Offset>,
    sum: &mut Cleaned,
    pace: &mut Pace<'_>,
) -> Result<()> {
    let mut groups = groups(sources, rules, sum)?;
    let last = groups.pop();
    for group in groups {
        rewrite_group(log, group, rules, None, sum, pace)?;
    }
    match last {
        Some(group) => rewrite_group(log, group, rules, ends, sum, pace),
        None if ends.is_some() && !pace.is_rehearsal => {
            (pace.swap)(Swap { sources: Vec::new(), outputs: Vec::new(), cleaned: ends }).map(drop)
        }
        None => Ok(()),
    }
}

/// Neighbours that have work, as many as make one segment.
fn groups(sources: Vec<Source>, rules: &Rules, sum: &mut Cleaned) -> Result<Vec<Vec<Source>>> {
    let mut groups: Vec<Vec<Source>> = Vec::new();
    let mut is_open = false;
    for source in sources {
        if !source.has_work(rules)? {
            sum.untouched += 1;
            is_open = false;
            continue;
        }
        match groups.last_mut().filter(|group| is_open && belongs(group, &source, rules)) {
            Some(group) => group.push(source),
            None => groups.push(vec![source]),
        }
        is_open = true;
    }
    Ok(groups)
}

/// Whether a segment may go into one with those before.
fn belongs(group: &[Source], source: &Source, rules: &Rules) -> bool {
    let Some(first) = group.first() else { return false };
    let bytes: u64 = group.iter().map(|source| source.seal.bytes).sum();
    let reaches = source.seal.next_offset.distance_from(first.keys.base()) <= i32::MAX as u64;
    bytes + source.seal.bytes <= rules.segment_bytes && reaches
}

fn rewrite_group(
    log: &Log,
    mut group: Vec<Source>,
    rules: &Rules,
    cleaned: Option<Offset>,
    sum: &mut Cleaned,
    pace: &mut Pace<'_>,
) -> Result<()> {
    let Some(next) = group.last().map(|source| source.seal.next_offset) else { return Ok(()) };
    let generation = group.iter().map(|source| source.seal.generation).max().unwrap_or(0).saturating_add(1);
    let mut rewriting = Rewriting::new(&**log.env(), log.dir(), *rules, generation);
    let mut write = || {
        group.iter_mut().try_for_each(|source| rewriting.add(source, pace.goes_on))?;
        rewriting.finish(&group, next)
    };
    let written = write();
    let outputs = match written {
        Ok(outputs) => outputs,
        Err(error) => {
            rewriting.discard();
            return Err(error);
        }
    };
    let after: u64 = outputs.iter().map(|(_, seal)| seal.bytes).sum();
    if !rules.is_rehearsal {
        let sources = group.iter().map(|source| Arc::clone(&source.segment)).collect();
        if !(pace.swap)(Swap { sources, outputs, cleaned })? {
            rewriting.discard();
            return Err(Error::Cancelled { during: GONE });
        }
    }
    sum.counts.add(rewriting.counts);
    sum.bytes_before += group.iter().map(|source| source.seal.bytes).sum::<u64>();
    sum.bytes_after += after;
    sum.rewritten += group.len() as u64;
    Ok(())
}
