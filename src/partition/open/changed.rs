//! A closed log whose files have changed since: a broker ran on the directory, or a restore mixed two copies of it.
//!
//! An opening looks at lengths and names, and at bytes only where those differ. What is always true: whole batches that
//! continue the log where it ended become part of it, whoever wrote them, also in segments of their own. Everything
//! else past its end is put aside before anything is written there. What is missing below the end is damage, and
//! nothing is appended over it. The manifest learns of the new batches with the first entry that is written, in the
//! same append: until then the next opening finds the same again.

use crate::{
    codec::{
        checkpoint::decode_offsets,
        manifest::{Adopted, Entry, PartitionClosed, Seal},
    },
    env::Env,
    error::{Error, Result},
    partition::{
        open::{
            recovery_state::{HandsOff, Recovery},
            report::RecoveryVerdict,
            segments::existing,
        },
        state::{
            identity::Identity,
            owner::text_of,
            replay::{Replay, read_epochs},
        },
    },
    storage::{
        data_dir::DataDir,
        foreign_files::{copy_range, entries_of, free_aside_name, sync_dir},
        layout::{LOG_STARTS, SegmentFile},
        manifest::PartitionState,
        segment::Segment,
        sidecar::{OFFSETS_MAX, read_file, remove_if_there},
    },
    types::{Offset, TopicPartition},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A `.log` file, or something else with such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::partition) struct Name {
    pub base: Offset,
    pub is_file: bool,
}

/// The names of segments in a directory, ascending; none where there is no directory.
pub(in crate::partition) fn names_in(env: &dyn Env, dir: &Path) -> Result<Vec<Name>> {
    let entries = entries_of(env, dir)?;
    let named = |entry: &crate::env::DirEntry| {
        Some(Name { base: SegmentFile::Log.parse(&entry.name)?, is_file: entry.is_file() })
    };
    let mut names: Vec<_> = entries.iter().filter_map(named).collect();
    names.sort();
    // A directory that changes while it is listed may show a name twice.
    names.dedup();
    Ok(names)
}

/// Whether lengths and names are those of the clean close. One look at the active segment, and one at the directory;
/// its names are listed only where one may have come or gone since.
pub(in crate::partition) fn is_as_closed(
    data_dir: &DataDir,
    identity: &Identity,
    state: &PartitionState,
    closed: &PartitionClosed,
) -> Result<bool> {
    let (env, dir) = (&*data_dir.env, &identity.dir);
    let Some(active) = state.segments.last() else { return Ok(true) };
    let path = SegmentFile::Log.path(dir, active.base);
    match env.metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => {
            let found = found.map_err(|e| Error::io("measure", &path, e))?;
            if found.is_dir || found.len != closed.size {
                return Ok(false);
            }
        }
    }
    if !data_dir.names_may_differ(dir)? {
        return Ok(true);
    }
    // Files before the first segment are what a removal of ours has left.
    let first = state.segments.first().map_or(Offset::ZERO, |first| first.base);
    let names = names_in(env, dir)?;
    // An interrupted roll leaves an empty file. It holds nothing, and the first append removes it.
    let is_empty = |name: &&Name| {
        name.is_file && env.metadata(&SegmentFile::Log.path(dir, name.base)).is_ok_and(|found| found.len == 0)
    };
    let is_part = |name: &&Name| state.segments.at(name.base).is_some() || !is_empty(name);
    let there = names.iter().filter(|name| name.base >= first).filter(is_part).map(|name| name.base);
    Ok(there.eq(state.segments.iter().map(|segment| segment.base)))
}

/// The manifest's view of a closed partition, with whatever else lies in its directory: segments that may continue it,
/// and offsets that another writer may have given from its end on.
pub(in crate::partition) fn with_what_is_there(
    data_dir: &DataDir,
    identity: &Identity,
    state: &PartitionState,
    closed: &PartitionClosed,
) -> Result<PartitionState> {
    let mut seen = state.clone();
    let names = names_in(&*data_dir.env, &identity.dir)?;
    if let Some(start) = later_start(data_dir, identity, state, closed, &names) {
        seen.segments.retain(|segment| segment.base >= start);
        seen.log_start = seen.log_start.max(start);
    }
    let last = seen.segments.last().map_or(Offset::ZERO, |last| last.base);
    for name in names.iter().filter(|name| name.base > last && continues(name, closed)) {
        let _ = seen.create_segment(name.base);
    }
    let adopted = Adopted { from: closed.next_offset, next: Offset::MAX, leader_epoch: state.leader_epoch() };
    let _ = seen.adopt(adopted);
    Ok(seen)
}

/// The offset of a partition in one of Kafka's checkpoints.
pub(in crate::partition) fn checkpointed(
    env: &dyn Env,
    path: PathBuf,
    name: &TopicPartition,
) -> Result<Option<Offset>> {
    let Some(bytes) = read_file(env, &path, OFFSETS_MAX)? else { return Ok(None) };
    let text = text_of(&path, &bytes)?;
    let offsets = decode_offsets(text).map_err(|e| e.in_file(&path, 0))?;
    Ok(offsets.into_iter().find(|(of, _)| of == name).map(|(_, offset)| offset))
}

/// Whether a segment of this name may hold what was appended after the end of a closed log.
fn continues(name: &Name, closed: &PartitionClosed) -> bool {
    name.is_file && name.base >= closed.next_offset
}

/// Where a log begins if another writer has removed its first segments, as a broker's retention does. Its checkpoint of
/// leader epochs says so; otherwise they are just missing.
fn later_start(
    data_dir: &DataDir,
    identity: &Identity,
    state: &PartitionState,
    closed: &PartitionClosed,
    names: &[Name],
) -> Option<Offset> {
    let is_named = |name: &&Name| state.segments.at(name.base).is_some();
    let of_another = |name: &&Name| continues(name, closed);
    let first = names.iter().find(is_named).or_else(|| names.iter().find(of_another))?;
    let began = state.segments.first()?.base;
    let epochs = read_epochs(&*data_dir.env, &identity.dir, Offset::MAX);
    let said = epochs.entries().first().map(|(_, first)| *first)?;
    (first.base > began && said >= first.base).then_some(first.base)
}

impl Recovery<'_> {
    /// Adds the segments that may continue the closed log after those that the manifest names; other strays are put
    /// aside.
    pub(in crate::partition) fn look_around(
        &mut self,
        state: &PartitionState,
        closed: &PartitionClosed,
    ) -> Result<()> {
        let names = names_in(&*self.data_dir.env, &self.identity.dir)?;
        let before = self.log_start;
        if let Some(start) = later_start(self.data_dir, self.identity, state, closed, &names) {
            self.segments.retain(|segment| segment.base() >= start);
            self.log_start = self.log_start.max(start);
        }
        self.named = self.segments.len();
        let deleted = self.start_by_checkpoint();
        self.log_start = self.log_start.max(deleted.filter(|o| *o <= closed.next_offset).unwrap_or_default());
        self.removed = (self.log_start > before).then_some(before..self.log_start);
        let last = self.segments.last().map_or(Offset::ZERO, |last| last.base());
        for name in names {
            if state.segments.at(name.base).is_some() {
                continue;
            }
            if continues(&name, closed) && (name.base > last || self.named == 0) {
                let segment = existing(self.data_dir, self.identity, self.config, name.base, 0);
                self.segments.push(segment);
            } else {
                self.put_segment_aside(name.base)?;
            }
        }
        for segment in self.segments.iter().skip(self.named.saturating_sub(1)) {
            // Another writer may have used any epochs.
            segment.expect_no_gaps(None);
        }
        Ok(())
    }

    /// The log start according to a broker that was asked to delete records.
    fn start_by_checkpoint(&self) -> Option<Offset> {
        let path = self.data_dir.dir.join(LOG_STARTS);
        checkpointed(&*self.data_dir.env, path, &self.identity.name).ok().flatten()
    }

    /// Puts aside segments that the manifest does not name, where they do not begin at `end`, the end of segment `i`.
    pub(in crate::partition) fn drop_what_does_not_follow(&mut self, i: usize, end: Offset) -> Result<()> {
        let next = self.segments.get(i + 1).map(|next| next.base());
        if i + 1 < self.named || next.is_none_or(|base| base == end) || end < self.durable {
            return Ok(());
        }
        let later = self.segments.split_off(i + 1);
        later.iter().try_for_each(|segment| self.put_segment_aside(segment.base()))
    }

    /// Copies the bytes of a segment's file from `position` on into a file of their own, durably, before they are cut
    /// off. `false` where there is no space for that: then the file stays as it is, and nothing is appended.
    pub(in crate::partition) fn put_tail_aside(&mut self, segment: &Segment, position: u64) -> Result<bool> {
        let (env, dir) = (&*self.data_dir.env, &self.identity.dir);
        let path = segment.path();
        let aside = free_aside_name(env, path);
        let copied = copy_range(env, path, position, &aside).and_then(|()| sync_dir(env, dir));
        match copied {
            Ok(()) => {
                self.quarantined.push(aside);
                Ok(true)
            }
            Err(error) => {
                let _ = remove_if_there(env, &aside);
                let Error::DiskFull { .. } = error else { return Err(error) };
                let reason = format!(
                    "bytes that do not continue the log lie at its end and cannot be put aside: {error}; nothing is written \
                     over them: make room and open the log again"
                );
                self.hands_off = Some(HandsOff { reason, unproven: false });
                Ok(false)
            }
        }
    }

    /// The manifest's entries about a closed log that has changed; its segments learn the same.
    pub(in crate::partition) fn learn_what_was_found(
        &mut self,
        replay: &Replay,
        state: &PartitionState,
        closed: &PartitionClosed,
    ) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        if matches!(self.verdict, RecoveryVerdict::Damage { .. }) {
            return Ok(entries);
        }
        let id = self.identity.id();
        if self.removed.is_some() {
            let below = self.segments.first().map_or(Offset::ZERO, |first| first.base());
            entries.extend(id.trimmed(self.log_start, below));
        }
        for (i, segment) in self.segments.iter().enumerate() {
            if i >= self.named {
                entries.push(id.segment_created(segment.base()));
            }
            if let Some(next) = self.segments.get(i + 1).filter(|_| i + 1 >= self.named) {
                let sealed = seal(segment, next.base())?;
                entries.push(id.segment_sealed(segment.base(), sealed));
            }
        }
        let first = self.segments.first().map_or(Offset::ZERO, |first| first.base());
        let range = closed.next_offset.max(first)..replay.next_offset;
        if range.is_empty() {
            if let Some(last) = self.segments.last() {
                last.expect_no_gaps(state.leader_epoch_in(last.base()));
            }
        } else {
            let leader_epoch = replay.last_epoch.filter(|epoch| *epoch >= 0);
            let leader_epoch = leader_epoch.unwrap_or_else(|| state.leader_epoch());
            let adopted = Adopted { from: range.start, next: range.end, leader_epoch };
            entries.push(id.adopted(adopted));
            self.adopted = Some((range, leader_epoch));
        }
        Ok(entries)
    }
}

/// The facts of a segment that another writer sealed; `next` follows it.
fn seal(segment: &Arc<Segment>, next: Offset) -> Result<Seal> {
    let sealed = Seal {
        next_offset: next,
        bytes: segment.readable(),
        largest_timestamp: segment.largest_timestamp()?,
        generation: 0,
        index_checksum: segment.checksum_to_write(),
        sealed_at: None,
    };
    segment.set_sealed(&sealed);
    Ok(sealed)
}
