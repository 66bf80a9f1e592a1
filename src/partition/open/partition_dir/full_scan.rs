//! Reading all segments of a directory that nothing vouches for.
//!
//! For [`PartitionDir`](crate::dir::PartitionDir) alone: a log that was not closed is recovered by `recover`.
//!
//! Without a manifest and without a mark the bytes of the `.log` files are the only truth: every batch is checked once,
//! its records included (compressed ones as far as [`Contents`] goes), gaps between offsets are allowed (a compacted
//! log has them) unless a manifest rules them out, and the indexes are built anew. Bad data that whole batches follow is damage, about which readers get
//! an error; where none follow, the log ends there. Nothing is changed on disk.

use crate::{
    codec::{
        batch::{BatchHeader, HEADER_LEN},
        index::AbortedTransaction,
        snapshot::{ProducerEntry, decode_snapshot},
    },
    env::Env,
    error::Result,
    partition::{
        open::{
            damaged_range::{Contents, DamagedRange},
            partition_dir::dir_report::{PartitionDirReport, TornEnd},
        },
        state::{
            identity::Identity,
            replay::{Bounds, Earlier, EndReason, Met, Replay, ScanEnd, read_epochs},
        },
    },
    storage::{
        layout::SegmentFile,
        manifest::PartitionState,
        scan::{EpochsAround, ReadPath},
        segment::{MISSING, Segment},
        sidecar::{SNAPSHOT_MAX, read_hint},
    },
    types::Offset,
};
use std::sync::Arc;

/// Whether something is missing that others recorded as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) enum Missed {
    Nothing,
    Something,
}

/// A walk over all segments of a directory.
pub(in crate::partition) struct FullScan<'a> {
    env: &'a dyn Env,
    identity: &'a Identity,
    pub segments: Vec<Arc<Segment>>,
    /// Everything below was durable, without gaps but where a cleaner was, according to the log of ours that it belongs to.
    durable: Offset,
    /// What its manifest says.
    state: Option<&'a PartitionState>,
    pub missed: Missed,
    pub report: PartitionDirReport,
    contents: Contents,
}

impl<'a> FullScan<'a> {
    /// Nothing is looked at yet.
    pub fn new(
        env: &'a dyn Env,
        identity: &'a Identity,
        segments: Vec<Arc<Segment>>,
        durable: Offset,
        state: Option<&'a PartitionState>,
    ) -> Self {
        let (missed, report, contents) = (Missed::Nothing, Default::default(), Contents::default());
        FullScan { env, identity, segments, durable, state, missed, report, contents }
    }

    /// Reads and checks everything. What readers need is stored with the segments; `None` when there are none.
    pub fn run(&mut self, log_start: Offset, snapshots: &[Offset]) -> Result<Option<Replay>> {
        let Some(first) = self.segments.first().cloned() else { return Ok(None) };
        let lens = self.segments.iter().map(|s| s.source().len()).collect::<Result<Vec<_>>>()?;
        // Later segments hold nothing: a broker died while it rolled, or had just begun the next one.
        let last = lens.iter().rposition(|len| *len > 0).unwrap_or(0);
        let mut replay = Replay::at_base(0, &first, Default::default(), Default::default());
        let checkpoint = read_epochs(self.env, &self.identity.dir, Offset::MAX);
        replay.epochs = checkpoint.clone();
        let log_start = log_start.max(first.base());
        replay.earlier = Earlier { log_start, snapshot: self.first_snapshot(log_start, snapshots)? };
        let cleaned = self.state.map_or(Offset::ZERO, |state| state.cleaned);
        replay.is_cleaned_below(cleaned);
        for (i, (segment, len)) in self.segments.clone().into_iter().zip(lens).enumerate() {
            if i > 0 {
                replay.enter(i, &segment);
            }
            let next = self.segments.get(i + 1).cloned();
            let after = next.as_deref().map(first_epoch).transpose()?.flatten();
            let epochs = EpochsAround { before: None, behind: after, checkpoint: checkpoint.clone() };
            let base = next.as_ref().map_or(Offset::MAX, |next| next.base());
            let bounds = Bounds { ceiling: base, epochs };
            let stop = self.scan(&mut replay, &segment, len, bounds)?;
            let next = next.map(|next| next.base()).filter(|_| i < last);
            if self.close(&mut replay, &segment, len, stop, next) {
                self.segments.truncate(i + 1);
                break;
            }
        }
        let end = replay.next_offset.max(log_start);
        replay.take_in_earlier(end);
        replay.epochs.truncate_from_end(end + 1);
        replay.epochs.truncate_from_start(log_start);
        self.report.bytes_read += replay.bytes_read;
        Ok(Some(replay))
    }

    fn scan(
        &mut self,
        replay: &mut Replay,
        segment: &Arc<Segment>,
        len: u64,
        bounds: Bounds,
    ) -> Result<ScanEnd> {
        let mut aborts = None;
        let (damage, contents) = (&mut self.report.damage, &mut self.contents);
        let (missed, durable) = (&mut self.missed, self.durable);
        let stop = replay.scan_past_damage(segment, len, bounds, ReadPath::Cache, &mut |replay, met| {
            let hole = match met {
                Met::Damage(hole) => hole,
                Met::Batch(batch, position) => {
                    contents.look_at(segment, batch, position);
                    damage.append(&mut contents.unreadable);
                    return;
                }
            };
            if hole.offsets.start < durable {
                *missed = Missed::Something;
            }
            damage.push(DamagedRange::of_damage(segment, hole.clone()));
            replay.take_in_unseen(hole, aborts.get_or_insert_with(|| aborts_of(segment)));
        })?;
        if let EndReason::Unsupported(error) = stop.why {
            return Err(error.in_file(segment.path(), stop.position));
        }
        Ok(stop)
    }

    /// Stores with the segment what was learned of it, and returns whether the log ends here. `next` is where the next
    /// segment with data begins.
    fn close(
        &mut self,
        replay: &mut Replay,
        segment: &Arc<Segment>,
        len: u64,
        stop: ScanEnd,
        next: Option<Offset>,
    ) -> bool {
        segment.publish(stop.position);
        let mut index = std::mem::replace(&mut replay.index, segment.empty_index());
        index.close();
        segment.set_index(index);
        let mut ends = false;
        match (next, stop.why) {
            (Some(next), EndReason::Bad(reason)) => self.note_missing_end(replay, segment, len, next, reason),
            (Some(next), _) if stop.position < len && stop.next_offset < next => {
                let reason = format!("zeros after offset {}, and offset {next} follows", stop.next_offset);
                self.note_missing_end(replay, segment, len, next, reason);
            }
            (Some(next), _) if stop.next_offset < next.min(self.durable) && !self.is_cleaned(segment) => {
                let reason = format!(
                    "the data ends at offset {}, and offset {next} follows; everything below offset {} was durable",
                    stop.next_offset, self.durable
                );
                self.note_missing_end(replay, segment, len, next, reason);
            }
            (None, EndReason::Bad(reason)) => {
                let (path, bytes) = (segment.path().to_path_buf(), len - stop.position);
                self.report.torn_end = Some(TornEnd { path, position: stop.position, bytes, reason });
                ends = true;
            }
            _ => {}
        }
        segment.set_aborted(std::mem::take(&mut replay.aborted));
        ends
    }

    /// Whether the last offsets of a segment may be missing, all of which was found: a cleaner rewrote it.
    fn is_cleaned(&self, segment: &Segment) -> bool {
        let sealed = self.state.and_then(|state| state.sealed_at(segment.base()));
        sealed.is_some_and(|sealed| sealed.generation > 0 && sealed.bytes == segment.readable())
    }

    /// Reports a log of ours that begins after `log_start`, which lies in the segment at `base`, unless another writer
    /// is known to have removed what lies between.
    pub fn miss_beginning(&mut self, log_start: Offset, base: Offset) {
        let begins = self.segments.first().map_or(self.durable, |first| first.base());
        if log_start >= begins.min(self.durable) {
            return;
        }
        let epochs = read_epochs(self.env, &self.identity.dir, Offset::MAX);
        if epochs.entries().first().is_some_and(|(_, first)| *first >= begins) {
            return;
        }
        self.missed = Missed::Something;
        let path = SegmentFile::Log.path(&self.identity.dir, base);
        let reason = format!("{MISSING}; everything below offset {} was durable", self.durable);
        let offsets = log_start..begins;
        self.report.damage.push(DamagedRange { path, bytes: 0..0, offsets, reason });
    }

    /// Reports a log that ends before `flushed`, up to which it was durable according to `source`.
    pub fn miss(&mut self, replay: Option<&Replay>, flushed: Offset, source: &str) -> Result<()> {
        let (Some(replay), Some(last)) = (replay, self.segments.last()) else { return Ok(()) };
        let end = replay.next_offset;
        if end >= flushed {
            return Ok(());
        }
        self.missed = Missed::Something;
        let known = format!("{source} says that everything below offset {flushed} was durable");
        let torn = match self.report.torn_end.take() {
            Some(torn) => TornEnd { reason: format!("{}; {known}", torn.reason), ..torn },
            None => TornEnd {
                path: last.path().to_path_buf(),
                position: last.readable(),
                bytes: last.source().len()?.saturating_sub(last.readable()),
                reason: format!("the data ends at offset {end}; {known}"),
            },
        };
        self.report.torn_end = Some(torn);
        Ok(())
    }

    fn note_missing_end(
        &mut self,
        replay: &mut Replay,
        segment: &Arc<Segment>,
        len: u64,
        next: Offset,
        reason: String,
    ) {
        let hole = replay.note_missing_end(segment, len, next, reason);
        if hole.offsets.start < self.durable {
            self.missed = Missed::Something;
        }
        replay.take_in_unseen(&hole, &aborts_of(segment));
        self.report.damage.push(DamagedRange::of_damage(segment, hole));
    }

    /// The first valid snapshot after the log start.
    fn first_snapshot(
        &self,
        log_start: Offset,
        snapshots: &[Offset],
    ) -> Result<Option<(Offset, Vec<ProducerEntry>)>> {
        for offset in snapshots.iter().filter(|offset| **offset > log_start) {
            let path = SegmentFile::Snapshot.path(&self.identity.dir, *offset);
            let bytes = read_hint(self.env, &path, SNAPSHOT_MAX)?;
            if let Some(entries) = bytes.and_then(|bytes| decode_snapshot(&bytes).ok()) {
                return Ok(Some((*offset, entries)));
            }
        }
        Ok(None)
    }
}

/// The aborted transactions of a segment according to its transaction index, where that can be read: nothing else knows
/// those whose markers lie in damage.
fn aborts_of(segment: &Segment) -> Arc<Vec<AbortedTransaction>> {
    segment.aborted().ok().flatten().unwrap_or_default()
}

/// The leader epoch of a segment's first batch.
fn first_epoch(segment: &Segment) -> Result<Option<i32>> {
    let mut head = [0; HEADER_LEN];
    let len = segment.source().read_full(&mut head, 0)?;
    Ok(head.get(..len).and_then(|head| BatchHeader::parse(head).ok()).map(|header| header.leader_epoch))
}
