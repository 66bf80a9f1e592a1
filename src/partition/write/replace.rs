//! How rewritten segments take the place of others.
//!
//! The manifest decides, in one durable append, once everything that it will vouch for is durable; the files get their names
//! afterwards (`storage/swap.rs`). A crash before leaves files that the next opening removes, one after leaves names that it
//! gives. In between nobody waits: readers have segments that can be read whatever their files are called, and keep those
//! that were replaced for as long as they hold them.
//!
//! Nothing of a checkpoint's lies in a segment that is replaced: recovery begins after them, and their seals are finished.

use crate::{
    codec::manifest::{Entry, Seal},
    env::{sync::Ordering, trace::event},
    error::Result,
    partition::{
        log::Log,
        write::{checkpoint::take_checkpoint, load::ready},
    },
    storage::{
        budget::Charge,
        foreign_files::sync_dir,
        manifest::Flush,
        segment::{Segment, open_rewritten},
        swap::Swap,
    },
    types::Offset,
};
use std::{iter, ops::Range, sync::Arc};

/// Sealed segments, and what takes their place.
#[derive(Debug)]
pub struct Replacement {
    /// Those that give way: neighbours, ascending.
    pub sources: Vec<Arc<Segment>>,
    /// What was written for them, whole and flushed, under names that end in `.cleaned`: the first begins where they do.
    pub outputs: Vec<(Offset, Seal)>,
    /// What they take of the disk budget until they are segments, which count themselves.
    pub counted: Vec<Charge>,
    /// What the manifest is to know with it.
    pub also: Vec<Entry>,
}

impl Replacement {
    /// Puts the outputs in the place of the sources. `false` where these are not part of the log any more, or not behind
    /// its last checkpoint: the outputs are not needed then.
    ///
    /// # Errors
    ///
    /// Before the manifest has decided, the log is as it was. After that the outputs are part of the log: files that could
    /// not be renamed are read where they are, and get their names by a later call, or the next opening.
    pub fn commit(&self, log: &Log) -> Result<bool> {
        let _no_checkpoint = log.checkpointing.lock();
        finish_swaps(log)?;
        make_ready(log)?;
        take_checkpoint(log)?;
        let segments = log.segments.snapshot();
        let Some((range, to)) = self.place_in(&segments) else { return Ok(false) };
        if log.flusher.mark().recovery_offset < to {
            return Ok(false);
        }
        let written = self.open_outputs(log)?;
        self.counted.iter().for_each(|charge| charge.release());
        self.decide(log, to)?;
        event!(INFO, partition = %log.identity.name, segments = range.len(), "segments were rewritten");
        log.segments.change(|list| drop(list.splice(range, written.iter().cloned())));
        self.recount(log);
        self.sources.iter().for_each(|segment| segment.retire());
        log.swaps.lock().push(self.swap(log, &written));
        finish_swaps(log)?;
        written.iter().for_each(|segment| segment.forget_index());
        Ok(true)
    }

    /// Where the sources stand in the log's list, and what follows them.
    fn place_in(&self, segments: &[Arc<Segment>]) -> Option<(Range<usize>, Offset)> {
        let first = self.sources.first()?;
        let at = segments.iter().position(|segment| Arc::ptr_eq(segment, first))?;
        let range = at..at + self.sources.len();
        let same = segments.get(range.clone())?.iter().zip(&self.sources).all(|(a, b)| Arc::ptr_eq(a, b));
        let next = segments.get(range.end)?.base();
        same.then_some((range, next))
    }

    /// The outputs as segments of the log, whose names are durable.
    fn open_outputs(&self, log: &Log) -> Result<Vec<Arc<Segment>>> {
        let (dir, interval) = (&log.identity.dir, log.config().index_interval_bytes);
        unless_planted!(swap_names_that_are_not_durable => sync_dir(&*log.data_dir.env, dir)?);
        let open =
            |(base, seal): &(Offset, Seal)| open_rewritten(&log.data_dir.pool, dir, (*base, seal), interval);
        self.outputs.iter().map(open).collect()
    }

    /// From here on the log consists of the outputs.
    fn decide(&self, log: &Log, to: Offset) -> Result<()> {
        let from = self.sources.first().map_or(to, |first| first.base());
        let replaced = log.identity.id().segments_replaced(from..to, self.outputs.clone());
        let entries: Vec<_> = iter::once(replaced).chain(self.also.iter().cloned()).collect();
        let mut flush = Flush::Now;
        planted!(swap_before_it_is_decided => flush = Flush::Later);
        log.data_dir.manifest.append(&entries, flush)
    }

    fn recount(&self, log: &Log) {
        let before: u64 = self.sources.iter().map(|segment| segment.readable()).sum();
        let after: u64 = self.outputs.iter().map(|(_, seal)| seal.bytes).sum();
        // What is appended in between counts too, so the sum is not taken anew.
        let _ = log.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |size| {
            Some(size.saturating_sub(before).saturating_add(after))
        });
    }

    fn swap(&self, log: &Log, written: &[Arc<Segment>]) -> Swap {
        let has_name = |base: Offset| written.iter().any(|segment| segment.base() == base);
        Swap {
            dir: log.identity.dir.clone(),
            outputs: written.iter().map(|segment| (segment.base(), segment.shared_file())).collect(),
            superseded: self.sources.iter().map(|s| s.base()).filter(|base| !has_name(*base)).collect(),
            checkpointed: log.flusher.mark().recovery_offset,
        }
    }
}

/// What a recovery has learned is written down before anything else is.
fn make_ready(log: &Log) -> Result<()> {
    let mut writer = log.writer.lock();
    writer.check()?;
    log.data_dir.begin_writing()?;
    if writer.is_recovered() {
        ready(log, &mut writer)?;
    }
    Ok(())
}

/// Gives the files of decided swaps their names. The caller keeps checkpoints and removals away.
pub(in crate::partition) fn finish_swaps(log: &Log) -> Result<()> {
    let mut swaps = log.swaps.lock();
    while let Some(swap) = swaps.first() {
        swap.finish(&*log.data_dir.env)?;
        swaps.remove(0);
    }
    Ok(())
}
