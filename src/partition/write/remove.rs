//! How a prefix of the log is removed.
//!
//! The new log start is durable in the manifest before the first file is removed, so that a crash leaves at most files
//! that no entry names. So is the name of the segment that the log then begins with, so that a crash leaves no name
//! without a file.
//!
//! The writer's lock is taken once, for the look. An append waits for nothing else of a removal, unless the removal is
//! the first change after the opening or takes the active segment too. The next flush or checkpoint, which take their
//! work from the append state, make it forget the removed segments.

use crate::{
    codec::checkpoint::LeaderEpochs,
    env::{sync::Ordering, trace::event},
    error::{Error, Result},
    partition::{
        log::Log,
        state::{
            append_state::{Active, AppendState, PendingSeal, ProducerSnapshot},
            kept_producers::KeptProducers,
            producers::ProducerState,
            replay::Replay,
            retention_verdict::StaysBecause,
            segment_list::end_of,
        },
        write::{
            load::ready,
            roll::{RollFor, roll},
            snapshot::write_files,
        },
    },
    storage::{foreign_files::sync_dir, manifest::Flush, segment::Segment},
    types::Offset,
};
use std::sync::Arc;

/// The log as a removal saw it: later appends are not part of it.
pub(in crate::partition) struct Look {
    pub segments: Arc<Vec<Arc<Segment>>>,
    pub end: Offset,
    /// Sealed segments whose sidecars are outstanding, with the producers as of their ends.
    seals: Vec<PendingSeal>,
    /// Whether nothing was written since the opening, which had to read the tail.
    is_recovered: bool,
    /// The first offset of a transaction of this library whose marker is missing or not durable.
    transaction: Option<Offset>,
}

impl Look {
    /// `None` where nothing may be removed: the log is damaged, poisoned or closed. The caller keeps checkpoints and
    /// other removals out.
    pub fn at(log: &Log) -> Option<Look> {
        let mut writer = log.writer.lock();
        if writer.refusal().is_some() {
            return None;
        }
        Some(Look {
            is_recovered: writer.is_recovered(),
            seals: writer.loaded().map(|active| active.pending.clone()).unwrap_or_default(),
            ..Look::beside(log, &mut writer)
        })
    }

    /// The log as somebody looks at it who removes nothing.
    pub fn only(log: &Log) -> Look {
        Look::beside(log, &mut log.writer.lock())
    }

    fn beside(log: &Log, writer: &mut AppendState) -> Look {
        let (segments, end) = (log.segments.snapshot(), log.offsets.log_end());
        let transaction = writer.loaded().and_then(|active| active.producers.first_to_hold());
        Look { segments, end, seals: Vec::new(), is_recovered: false, transaction }
    }

    /// Removes the first `count` segments, as far as they are durable and visible; the active one is replaced by an empty
    /// one first, unless something was appended to it in between.
    pub fn remove(&self, log: &Log, count: usize) -> Result<usize> {
        let mut count = self.removable(log, count);
        planted!(retention_removes_nothing => count = 0);
        if count == 0 {
            return Ok(0);
        }
        log.data_dir.begin_writing()?;
        self.tidy_first(log)?;
        let (below, producers) = match self.segments.get(count) {
            Some(first_left) => (first_left.base(), self.producers_at(first_left.base())),
            None => match roll_empty(log, self.end)? {
                Some(producers) => (self.end, Some(producers)),
                None => return Ok(0),
            },
        };
        let checksum = keep_producers(log, &self.segments, count, below, producers)?;
        // The manifest is about to name the segment that begins there as the first one, durably.
        unless_planted!(retention_leaves_a_nameless_segment => sync_dir(&*log.data_dir.env, &log.identity.dir)?);
        event!(INFO, partition = %log.identity.name, segments = count, "removing the oldest segments");
        record(log, below, checksum)?;
        log.segments.change(|list| list.retain(|s| s.base() >= below));
        let removed = self.segments.get(..count).unwrap_or_default();
        let bytes: u64 = removed.iter().map(|segment| segment.readable()).sum();
        // Appends in between count too, so the sum is not computed anew.
        let _ = log
            .size
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |size| Some(size.saturating_sub(bytes)));
        remove_files(log, removed).map(|()| count)
    }

    /// How many of the first `count` segments may go.
    fn removable(&self, log: &Log, count: usize) -> usize {
        let most = count.min(self.segments.len());
        (0..most).take_while(|i| self.keeps(log, *i, false).is_none()).count()
    }

    /// What keeps segment `i`, whichever rule would remove it. Where it is flushed before it goes, that does not.
    pub fn keeps(&self, log: &Log, i: usize, flushed_first: bool) -> Option<StaysBecause> {
        if self.is_empty_active(i) {
            return Some(StaysBecause::Active);
        }
        let end = end_of(&self.segments, i, self.end);
        if let Some(first_offset) = self.transaction.filter(|first| *first < end) {
            unless_planted!(retention_passes_a_marker => return Some(StaysBecause::Transaction { first_offset }));
        }
        // A log that is only read shows nothing that is not durable, where its topic waits for that.
        let flushes = !flushed_first && !log.data_dir.read_only;
        if flushes && end > log.flusher.flushed() {
            return Some(StaysBecause::NotDurable);
        }
        (!flushed_first && end > log.offsets.high_watermark()).then_some(StaysBecause::AboveHighWatermark)
    }

    /// Whether segment `i` is the active one, and holds nothing that could go.
    pub fn is_empty_active(&self, i: usize) -> bool {
        i + 1 == self.segments.len() && self.segments.get(i).is_some_and(|segment| segment.readable() == 0)
    }

    /// Looks for leftovers before anything is written, if this is the first change after the opening: a first append in
    /// between would take the file being written for one.
    fn tidy_first(&self, log: &Log) -> Result<()> {
        if !self.is_recovered {
            return Ok(());
        }
        let mut writer = log.writer.lock();
        if writer.is_recovered() {
            ready(log, &mut writer)?;
        }
        Ok(())
    }

    /// The producers as of `base`, where no checkpoint has written them yet.
    fn producers_at(&self, base: Offset) -> Option<Arc<ProducerSnapshot>> {
        self.seals.iter().find(|seal| seal.next_base == base).map(|seal| Arc::clone(&seal.snapshot))
    }
}

/// Records in the manifest, durably, that the log begins at `below` or later, and has no segment before; the snapshot of the
/// producers there has this checksum.
fn record(log: &Log, below: Offset, checksum: u32) -> Result<()> {
    let offset = below.max(log.offsets.log_start());
    let id = log.identity.id();
    let mut entries = id.trimmed(offset, below).to_vec();
    unless_planted!(a_start_says_nothing_of_producers => entries.push(id.producers_at_start(below, checksum)));
    let mut flush = Flush::Now;
    planted!(files_go_before_the_manifest_says_so => flush = Flush::Later);
    log.data_dir.manifest.append_to_make_room(&entries, flush)?;
    log.offsets.change(|set| set.log_start = set.log_start.max(offset));
    Ok(())
}

/// Sees to it that the producers as of `below` are written down: only the first `count` segments, about to be removed, know
/// them. `known` are those that no checkpoint has written yet. Returns the checksum of what lies there then.
fn keep_producers(
    log: &Log,
    segments: &[Arc<Segment>],
    count: usize,
    below: Offset,
    known: Option<Arc<ProducerSnapshot>>,
) -> Result<u32> {
    planted!(forget_producers_of_what_goes => return Ok(0));
    let (env, dir) = (&*log.data_dir.env, &log.identity.dir);
    let snapshot = match known {
        Some(known) => known,
        None => match KeptProducers::read(env, dir, below)?.filter(KeptProducers::is_complete) {
            Some(kept) => return Ok(kept.checksum()),
            None => Arc::new(producers_through(log, segments, count, below)?.to_snapshot()),
        },
    };
    if snapshot.1.is_empty() {
        return Ok(0);
    }
    log.data_dir.making_room(|| write_files(log, below, &snapshot))
}

/// The producers as of `below`, from the first `count` segments: no snapshot of them is there. What cannot be read of those
/// is lost with them.
fn producers_through(
    log: &Log,
    segments: &[Arc<Segment>],
    count: usize,
    below: Offset,
) -> Result<ProducerState> {
    let (env, last) = (&*log.data_dir.env, count.saturating_sub(1));
    let (at_start, epochs) = (log.producers_at_start(), LeaderEpochs::default());
    let begun = Replay::begin_segment(env, &log.identity, segments, last, at_start, epochs)?;
    let Some(mut replay) = begun else { return Ok(ProducerState::as_of(env.now())) };
    replay.is_cleaned_below(log.clean_below());
    match replay.read_through(segments, last, "what producers did after this batch cannot be determined") {
        Err(Error::Corrupt { .. }) => Ok(ProducerState::as_of(env.now()).without_those_below(below)),
        read => read.map(|()| replay.producers),
    }
}

/// Seals the active segment without an append, and returns the producers as of its end; `None` when the log no longer
/// ends at `end`.
fn roll_empty(log: &Log, end: Offset) -> Result<Option<Arc<ProducerSnapshot>>> {
    let mut writer = log.writer.lock();
    let active = ready(log, &mut writer)?;
    if active.position == 0 || log.offsets.log_end() != end {
        return Ok(None);
    }
    roll(log, active, end, RollFor::Removal)?;
    Ok(active.pending.last().map(|seal| Arc::clone(&seal.snapshot)))
}

/// Makes the append state forget the segments that were removed since it last handed out work.
pub(in crate::partition) fn forget_removed(log: &Log, active: &mut Active) {
    let first = log.first_base().unwrap_or_default();
    active.trim(log.offsets.log_start(), first);
}

/// Removes the files of segments that are in no list any more. One that cannot be removed keeps no other from going: it
/// is tried again with the next retention pass.
pub(in crate::partition) fn remove_files(log: &Log, removed: &[Arc<Segment>]) -> Result<()> {
    let mut first_error = Ok(());
    for segment in removed {
        if let Err(error) = segment.remove_files() {
            first_error = first_error.and(Err(error));
            unless_planted!(a_file_is_removed_once => log.unremoved.lock().push(Arc::clone(segment)));
        }
    }
    first_error
}

#[cfg(test)]
mod tests {
    use crate::{RecordData, Streamlog, TopicConfig, partition::write::remove::*};

    fn log_of_four_segments() -> (Streamlog, Arc<Log>) {
        let log = Streamlog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap();
        let partition = topic.partition(0).unwrap();
        for _ in 0..4 {
            partition.append(&[RecordData::new(&[7; 400])]).unwrap();
        }
        (log, Arc::clone(partition.log()))
    }

    #[test]
    fn what_was_appended_after_the_look_stays() {
        let (streamlog, log) = log_of_four_segments();
        let look = Look::at(&log).unwrap();
        let partition = streamlog.topic("t").unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("acknowledged")]).unwrap();
        assert_eq!(look.remove(&log, 4).unwrap(), 0);
        assert_eq!(partition.read(4).next().unwrap().unwrap().iter().count(), 1);
    }

    #[test]
    fn a_look_that_has_become_old_removes_no_more_than_it_saw() {
        let (_streamlog, log) = log_of_four_segments();
        let look = || Look::at(&log).unwrap();
        let (first, second) = (look(), look());
        assert_eq!(first.remove(&log, 2).unwrap(), 2);
        second.remove(&log, 2).unwrap();
        assert_eq!(log.first_base(), Some(Offset::new(2)));
        assert_eq!(log.offsets.log_start(), 2);
    }

    #[cfg(all(feature = "sim", feature = "__planted"))]
    fn producers_outlive_the_removal_of_everything() {
        use crate::{
            config::Builder,
            partition::{
                tests::{self, batch},
                write::{gate::Origin, log_start::advance_log_start},
            },
            sim::{Crash, SimEnv},
        };
        let append = |log: &Log, sequence| tests::append(log, batch(9, sequence, "x"), Origin::Producer);
        let open = |env: &SimEnv| Builder::env(env, "/data").background_thread(false).open().unwrap();
        let env = SimEnv::new(1);
        let streamlog = open(&env);
        let partition = streamlog.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        for sequence in 0..7 {
            append(partition.log(), sequence);
        }
        env.record();
        advance_log_start(partition.log(), Offset::new(7)).unwrap();
        let recording = env.recording();
        let mut cursor = recording.cursor();
        let mut removed = 0;
        while cursor.advance().is_some() {
            for (seed, crash) in (0..).zip(Crash::ALL) {
                let streamlog = open(&cursor.crash(crash, seed));
                let partition = streamlog.topic("t").unwrap().partition(0).unwrap();
                removed += u32::from(partition.log_start_offset() == 7);
                let retry = append(partition.log(), 4);
                assert_eq!((retry.duplicate, retry.base_offset), (true, Offset::new(4)), "{crash:?}");
                let next = append(partition.log(), 7);
                assert_eq!((next.duplicate, next.base_offset), (false, Offset::new(7)), "{crash:?}");
            }
        }
        assert!(removed > 10);
    }

    #[cfg(all(feature = "sim", feature = "__planted"))]
    #[test]
    fn what_producers_did_is_durable_before_the_removal_of_everything_moves_the_start() {
        use crate::planted;
        producers_outlive_the_removal_of_everything();
        planted::plant(Some("forget_producers_of_what_goes"));
        let unnoticed = std::panic::catch_unwind(producers_outlive_the_removal_of_everything).is_ok();
        planted::plant(None);
        assert!(!unnoticed);
    }
}
