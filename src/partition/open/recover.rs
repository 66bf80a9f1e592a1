//! Opening a log that was not closed: finding its end without guessing.
//!
//! Everything below the recovery point was checkpointed and is not read. From there on each batch is checked. Where the
//! chain of whole batches ends, the mark decides what that means:
//!
//! * nothing follows it: the log is **whole**;
//! * it ends above what the mark says was durable: a **torn tail**, never acknowledged as durable. It is cut at the last
//!   whole batch, and the cut is durable before anybody reads;
//! * it ends below: **damage**. Nothing is removed; what is intact can be read, the rest answers with the error, and
//!   the log accepts no appends.
//!
//! Where the mark itself is lost, a bad batch with whole ones after it counts as damage: nothing is cut on a guess.
//! Bytes that claim another version are no exception: the manifest would say so if there were one.
//!
//! A log that was closed and has changed since comes here too, with its closing facts in the mark's place: see
//! `changed`.

use crate::{
    codec::{batch::RecordBatch, checkpoint::LeaderEpochs, manifest::Entry},
    error::{Error, Result},
    partition::{
        log::Log,
        open::{
            assemble::LogParts,
            recovery_state::{GoOn, HandsOff, Recovery},
            report::{PartitionRecovery, RecoveryVerdict},
            segments::existing,
        },
        state::{
            append_state::AppendState,
            identity::Identity,
            log_config::LogConfig,
            offsets::OffsetSet,
            owner::check_owner,
            replay::{Bounds, EndReason, KnownEnd, Met, Replay, ScanEnd, whole_batches_beyond},
        },
        write::load::Beginning,
    },
    storage::{
        data_dir::DataDir,
        layout::SegmentFile,
        manifest::{Flush, PartitionState},
        scan::{ReadPath, ScanItem},
        segment::{MISSING, Segment},
        sidecar::remove_if_there,
    },
    types::Offset,
};
use std::sync::Arc;

/// Opens a log that was not closed, or whose files have changed since.
pub fn recover(
    data_dir: &Arc<DataDir>,
    identity: Identity,
    config: Arc<LogConfig>,
    state: &PartitionState,
    go_on: &mut GoOn<'_>,
) -> Result<(Arc<Log>, PartitionRecovery)> {
    let owner = check_owner(data_dir, &identity)?;
    let closed = state.closed.as_ref();
    let mut recovery = Recovery::of(data_dir, &identity, &config, state)?;
    match closed {
        Some(closed) => recovery.look_around(state, closed)?,
        None => recovery.put_strays_aside()?,
    }
    recovery.distrust_the_cache_where_needed()?;
    let mut replay = recovery.run(go_on)?;
    if let Some(closed) = closed {
        data_dir.found(recovery.learn_what_was_found(&replay, state, closed)?);
    }
    replay.next_offset = replay.next_offset.max(recovery.log_start);
    let report = recovery.report(&replay);
    let damage = recovery.contents.damage.take();
    let log = recovery.into_parts(replay, state)?.assemble(data_dir);
    log.owner.was_checked(owner);
    *log.damage.lock() = damage;
    log.quarantined.lock().extend(report.quarantined.iter().cloned());
    Ok((log, report))
}

impl Recovery<'_> {
    /// The log as it was found, of which everything up to its end is durable now.
    fn into_parts(self, mut replay: Replay, state: &PartitionState) -> Result<LogParts> {
        let end = replay.next_offset;
        let log_start = self.log_start.max(self.segments.first().map_or(Offset::ZERO, |s| s.base()));
        let mut offsets = OffsetSet {
            log_start,
            last_stable: replay.producers.stable_below(end),
            high_watermark: end,
            log_end: end.max(log_start),
        };
        let mark = self.mark.flushed_at(end, replay.position);
        let config = Arc::clone(self.config);
        let leader_epoch = self.adopted.as_ref().map_or(state.leader_epoch(), |(_, epoch)| *epoch);
        let beginning = Beginning {
            env: &*self.data_dir.env,
            config: Arc::clone(&config),
            log_start,
            log_end: offsets.log_end,
            epoch: leader_epoch,
            new_incarnation: state.closed.is_none(),
        };
        let mut writer = self.writer(replay, beginning)?;
        if let Some(HandsOff { reason, unproven }) = self.hands_off {
            if writer.refusal().is_none() {
                writer.refuse(Error::ReadOnly { reason });
            }
            if unproven {
                offsets.high_watermark = offsets.high_watermark.min(self.durable);
            }
        }
        let (identity, segments) = (self.identity.clone(), self.segments);
        Ok(LogParts { identity, config, offsets, segments, writer, mark, leader_epoch })
    }

    /// The append state: whether the log can be appended to, and with what.
    fn writer(&self, mut replay: Replay, beginning: Beginning<'_>) -> Result<AppendState> {
        let last = self.segments.last();
        if let RecoveryVerdict::Damage { path, position, reason } = &self.verdict {
            if let Some(last) = last {
                // Nothing is appended: it knows the largest timestamp from its closing entry.
                replay.index.close();
                last.set_index(replay.index);
            }
            return Ok(AppendState::Refused(Error::corrupt(path, *position, reason.clone())));
        }
        match last {
            None => {
                let error = Error::corrupt(&self.identity.dir, 0, "the manifest names no segment");
                Ok(AppendState::Refused(error))
            }
            Some(_) if self.data_dir.read_only => {
                Ok(AppendState::Refused(Error::ReadOnly { reason: "the log was opened for reading".into() }))
            }
            Some(last) => {
                let allocated = last.source().len()?;
                Ok(AppendState::recovered(beginning.after(replay, last, allocated)?))
            }
        }
    }

    /// The segments as the manifest knows them, even where others begin at their end.
    fn named(&self) -> &[Arc<Segment>] {
        let named = self.segments.get(..self.named.min(self.segments.len())).filter(|n| !n.is_empty());
        named.unwrap_or(&self.segments)
    }

    /// The state as of the recovery point.
    fn begin(&self) -> Result<Replay> {
        let known = KnownEnd {
            offset: self.mark.recovery_offset,
            position: u64::from(self.mark.recovery_position),
            index_checksum: self.mark.index_checksum,
        };
        let begun =
            Replay::begin(&*self.data_dir.env, self.identity, self.named(), self.producers_at_start, known)?;
        let mut begun = begun.ok_or_else(|| no_segment(self.identity))?;
        begun.is_cleaned_below(self.cleaned);
        Ok(begun)
    }

    /// The state as of the beginning of segment `i`, or of an earlier one.
    fn begin_again(&self, i: usize, epochs: LeaderEpochs) -> Result<Replay> {
        let (env, at_start) = (&*self.data_dir.env, self.producers_at_start);
        let begun = Replay::begin_segment(env, self.identity, &self.segments, i, at_start, epochs)?;
        let mut begun = begun.ok_or_else(|| no_segment(self.identity))?;
        begun.is_cleaned_below(self.cleaned);
        planted!(a_short_file_forgets_producers => begun.producers = Default::default());
        Ok(begun)
    }

    fn run(&mut self, go_on: &mut GoOn<'_>) -> Result<Replay> {
        let mut replay = self.begin()?;
        for i in 0..=replay.segment {
            if self.len_of(i)?.is_some() {
                continue;
            }
            if i == 0 || self.was_durable(i)? {
                self.missing_below(&mut replay, i)?;
                return Ok(replay);
            }
            // Of the segment where the recovery begins nothing was durable, so the log ends before it.
            self.missing_above(i)?;
            planted!(begin_at_a_lost_segment => return Ok(replay));
            let last = self.segments.last().map_or(Offset::ZERO, |last| last.base());
            (self.mark.recovery_offset, self.mark.recovery_position) = (last, 0);
            return self.run(go_on);
        }
        self.read_on(replay, go_on)
    }

    /// Reads from where `replay` stands to the end of the log, and judges that end.
    fn read_on(&mut self, mut replay: Replay, go_on: &mut GoOn<'_>) -> Result<Replay> {
        loop {
            let i = replay.segment;
            let Some(segment) = self.segments.get(i).cloned() else { break };
            let Some(len) = self.len_of(i)? else { break };
            if len < replay.position {
                // The file is shorter than what was checkpointed of it: start over, to find what is left.
                replay = self.begin_again(i, replay.epochs)?;
                continue;
            }
            let stop = self.scan(&mut replay, &segment, len, go_on)?;
            segment.publish(stop.position);
            if self.was_closed {
                self.drop_what_does_not_follow(i, stop.next_offset)?;
            }
            if !self.ends_well(&stop, i, &segment, len)? {
                self.judge(&mut replay, stop, i, &segment, len)?;
                break;
            }
            let Some(next) = self.segments.get(i + 1).cloned() else { break };
            if self.len_of(i + 1)?.is_none() {
                match self.was_durable(i + 1)? {
                    true => self.missing_below(&mut replay, i + 1)?,
                    false => self.missing_above(i + 1)?,
                }
                break;
            }
            replay.leave(&segment, next.base());
            replay.enter(i + 1, &next);
        }
        Ok(replay)
    }

    /// Whether the missing file of segment `i` held durable data, as far as can be determined.
    fn was_durable(&self, i: usize) -> Result<bool> {
        planted!(never_durable_is_missing => return Ok(true));
        let below = self.segments.get(i).is_some_and(|segment| segment.base() < self.durable);
        Ok(below || (self.mark_is_lost && self.any_batch_from(i + 1)?))
    }

    /// The length of a segment's file, as far as it belongs to it; `None` when there is none.
    fn len_of(&self, i: usize) -> Result<Option<u64>> {
        let Some(segment) = self.segments.get(i) else { return Ok(None) };
        // Bytes that another writer appended to a segment with a successor do not belong to it.
        let sealed = segment.sealed_size().filter(|_| i + 1 < self.segments.len());
        let len = segment.len_if_there()?;
        Ok(len.map(|len| sealed.map_or(len, |size| segment.without_surplus(len, size))))
    }

    /// The flushed position lies in one segment; later ones are suspect as a whole, including one that begins just
    /// there: the position is in the one before it.
    fn source_of(&self, segment: &Segment) -> ReadPath {
        let mut suspect_from = self.mark.flushed_offset;
        planted!(trust_the_cache_at_a_segments_beginning => suspect_from += 1);
        match self.source {
            ReadPath::MediumFrom(_) if segment.base() >= suspect_from => ReadPath::MediumFrom(0),
            other => other,
        }
    }

    fn scan(
        &mut self,
        replay: &mut Replay,
        segment: &Arc<Segment>,
        len: u64,
        go_on: &mut GoOn<'_>,
    ) -> Result<ScanEnd> {
        let (source, contents) = (self.source_of(segment), &mut self.contents);
        let on_batch = &mut |batch: &RecordBatch, position| contents.look_at(segment, batch, position);
        replay.scan(segment, len, source, on_batch, go_on)
    }

    /// Whether the data of segment `i` ends where it should: at the end of the log, or where the next one begins.
    fn ends_well(&self, stop: &ScanEnd, i: usize, segment: &Segment, len: u64) -> Result<bool> {
        match &stop.why {
            EndReason::Cancelled => return Err(Error::Cancelled { during: "recovering" }),
            EndReason::Unsupported(error) => {
                return Err(error.clone().in_file(segment.path(), stop.position));
            }
            EndReason::Bad(_) => return Ok(false),
            EndReason::End => {}
        }
        match self.segments.get(i + 1) {
            Some(next) => {
                planted!(keep_what_lies_behind_a_hole => return Ok(true));
                Ok(segment.ends_before(next.base(), stop.position, stop.next_offset))
            }
            None => {
                let whole =
                    stop.next_offset >= self.durable && self.whole_batches_beyond(segment, len, stop)? == 0;
                Ok(whole && (!self.was_closed || segment.only_zeros_from(stop.position, len)?))
            }
        }
    }

    /// How many whole batches follow the point where a scan stopped, as far as the cache shows: batches that only the
    /// cache has must not stay there either.
    fn whole_batches_beyond(&self, segment: &Segment, len: u64, stop: &ScanEnd) -> Result<u64> {
        let source = match self.source {
            ReadPath::Flushed => ReadPath::Flushed,
            ReadPath::Cache | ReadPath::MediumFrom(_) => ReadPath::Cache,
        };
        whole_batches_beyond(segment, len, stop, source)
    }

    /// What the manifest says of the segment before the one that begins at `base`.
    fn seal_before(&self, base: Offset) -> Option<Entry> {
        let (id, state) = (self.identity.id(), self.data_dir.manifest.state());
        let (before, sealed) = state.of(id)?.sealed_before(base)?;
        Some(id.segment_sealed(before, sealed))
    }

    /// The chain of whole batches is broken in segment `i`.
    fn judge(
        &mut self,
        replay: &mut Replay,
        stop: ScanEnd,
        i: usize,
        segment: &Arc<Segment>,
        len: u64,
    ) -> Result<()> {
        let (path, position) = (segment.path().to_path_buf(), stop.position);
        let reason = match &stop.why {
            EndReason::Bad(reason) => reason.clone(),
            _ => format!("the data ends at offset {}", stop.next_offset),
        };
        if stop.next_offset < self.durable {
            let reason = format!("{reason}; everything below offset {} was durable", self.durable);
            self.verdict = RecoveryVerdict::Damage { path, position, reason };
            // Segments that might have continued the log do not.
            self.segments.truncate(self.named.max(i + 1));
            return self.keep_what_follows(replay, i);
        }
        let mut beyond = self.whole_batches_beyond(segment, len, &stop)?;
        if self.mark_is_lost && (beyond > 0 || self.any_batch_from(i + 1)?) {
            let reason = format!(
                "{reason}; whole batches follow, and the mark that would show whether this was durable is lost"
            );
            self.verdict = RecoveryVerdict::Damage { path, position, reason };
            return self.keep_what_follows(replay, i);
        }
        planted!(count_nothing_behind_a_cut => beyond = 0);
        self.verdict = RecoveryVerdict::TornTail {
            path,
            position,
            dropped_bytes: len - position + self.bytes_from(i + 1),
            reason,
            whole_batches_beyond: beyond,
        };
        self.cut(i, segment, &stop, len)
    }

    /// Cuts the log where segment `i` has stopped, as far as that may be changed.
    fn cut(&mut self, i: usize, segment: &Arc<Segment>, stop: &ScanEnd, len: u64) -> Result<()> {
        let is_kept = self.was_closed || is_of_another_writer(segment, stop, len)?;
        if !self.may_change() || (is_kept && !self.put_tail_aside(segment, stop.position)?) {
            self.segments.truncate(i + 1);
            return Ok(());
        }
        segment.file()?.set_len(stop.position)?;
        unless_planted!(truncate_without_flush => segment.sync()?);
        self.end_with(i, stop.position, stop.next_offset)
    }

    /// The bytes of the segments from number `from` on.
    fn bytes_from(&self, from: usize) -> u64 {
        (from..self.segments.len()).filter_map(|i| self.len_of(i).ok().flatten()).sum()
    }

    /// Whether a whole batch is in the segments from number `from` on.
    fn any_batch_from(&self, from: usize) -> Result<bool> {
        for (i, segment) in self.segments.iter().enumerate().skip(from) {
            let Some(len) = self.len_of(i)? else { continue };
            if segment.has_a_batch(len)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes segment `i`, with `position` bytes of data up to `end`, the last: it takes appends again, and later ones
    /// are put aside.
    fn end_with(&mut self, i: usize, position: u64, end: Offset) -> Result<()> {
        let later = self.segments.split_off(self.segments.len().min(i + 1));
        let Some(last) = self.segments.last_mut() else { return Ok(()) };
        // Sealed or not before, it is not any more; its page checksums would accuse what is appended.
        let fresh = existing(self.data_dir, self.identity, self.config, last.base(), position);
        if !last.may_have_gaps() {
            fresh.expect_no_gaps(last.leader_epoch());
        }
        let base = last.base();
        *last = fresh;
        let (env, dir) = (&*self.data_dir.env, &self.identity.dir);
        remove_if_there(env, &SegmentFile::Pages.path(dir, base))?;
        if i + 1 >= self.named {
            // The manifest knows of none of these.
            return later.iter().try_for_each(|segment| self.put_segment_aside(segment.base()));
        }
        // The manifest first: a file it does not name is a stray, a name without a file would be damage.
        let id = self.identity.id();
        let mut entries = vec![id.truncated(end)];
        let mut is_empty = end == base && i > 0;
        planted!(cut_to_nothing_of_a_segment => is_empty = false);
        if is_empty {
            // A truncation removes a segment that begins at its end. This one stays, after one that is as full as it
            // was.
            entries.extend(self.seal_before(base));
            entries.push(id.segment_created(base));
        }
        match self.data_dir.manifest.append_to_make_room(&entries, Flush::Now) {
            Ok(()) => later.iter().try_for_each(|segment| self.put_segment_aside(segment.base())),
            // Opening needs no space; only appending does.
            Err(error @ Error::DiskFull { .. }) => {
                let reason = format!(
                    "the cut at the log's end could not be recorded: {error}; then open the log again"
                );
                self.hands_off = Some(HandsOff { reason, unproven: false });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps the whole batches after damage readable. The replay stands before the damage, in segment `from`.
    fn keep_what_follows(&mut self, replay: &mut Replay, from: usize) -> Result<()> {
        for i in from..self.segments.len() {
            let Some(segment) = self.segments.get(i).cloned() else { break };
            if i > from {
                if self.was_never_durable(i) {
                    self.segments.truncate(i);
                    break;
                }
                if let Some(before) = self.segments.get(i - 1) {
                    replay.leave(before, segment.base());
                }
                replay.enter(i, &segment);
                replay.next_offset = segment.base();
            }
            let next = self.segments.get(i + 1).map(|next| next.base());
            let (len, why) = match self.len_of(i) {
                Ok(Some(len)) => (len, self.scan_past_damage(replay, &segment, len, next)?),
                Ok(None) => (0, EndReason::Bad(MISSING.into())),
                Err(error) => (0, EndReason::Bad(error.to_string())),
            };
            segment.publish(replay.position);
            let ends = replay.next_offset;
            let end = next.unwrap_or(self.durable).max(ends);
            if !segment.ends_before(end, replay.position, ends) {
                let reason = match why {
                    EndReason::Bad(reason) => reason,
                    _ => format!("the data ends at offset {ends}, and offset {end} follows"),
                };
                replay.note_missing_end(&segment, len, end, reason);
            }
        }
        replay.next_offset = replay.next_offset.max(self.durable);
        Ok(())
    }

    /// Reads the whole batches of a segment, which lie below `next`, whatever damage lies between them. Returns why that
    /// ended.
    fn scan_past_damage(
        &mut self,
        replay: &mut Replay,
        segment: &Segment,
        len: u64,
        next: Option<Offset>,
    ) -> Result<EndReason> {
        let bounds = Bounds::below(next.unwrap_or(Offset::MAX));
        let source = self.source_of(segment);
        let on_met = &mut |_: &mut Replay, met: Met<'_>| {
            if let Met::Batch(batch, position) = met {
                self.contents.look_at(segment, batch, position);
            }
        };
        Ok(replay.scan_past_damage(segment, len, bounds, source, on_met)?.why)
    }

    /// Whether segment `i`, whose file is not there, began where nothing was durable: the log has ended before it.
    fn was_never_durable(&self, i: usize) -> bool {
        matches!(self.was_durable(i), Ok(false)) && matches!(self.len_of(i), Ok(None))
    }

    /// The file of segment `i` is not there, and held durable data.
    fn missing_below(&mut self, replay: &mut Replay, i: usize) -> Result<()> {
        let Some(segment) = self.segments.get(i).cloned() else { return Ok(()) };
        let path = segment.path().to_path_buf();
        self.verdict = RecoveryVerdict::Damage { path, position: 0, reason: MISSING.into() };
        if replay.segment < i {
            return self.keep_what_follows(replay, replay.segment);
        }
        let epochs = std::mem::take(&mut replay.epochs);
        *replay = self.begin_again(i, epochs)?;
        self.keep_what_follows(replay, replay.segment)
    }

    /// The file of segment `i`, which is not the first, is not there, and nothing of it was durable: the log ends with
    /// the one before.
    fn missing_above(&mut self, i: usize) -> Result<()> {
        let (Some(last), Some(segment)) =
            (i.checked_sub(1).and_then(|i| self.segments.get(i)), self.segments.get(i))
        else {
            return Ok(());
        };
        let (position, end) = (last.readable(), segment.base());
        self.verdict = RecoveryVerdict::TornTail {
            path: segment.path().to_path_buf(),
            position: 0,
            dropped_bytes: self.bytes_from(i),
            reason: format!("{MISSING}; it was never flushed"),
            whole_batches_beyond: 0,
        };
        if self.may_change() {
            return self.end_with(i - 1, position, end);
        }
        self.segments.truncate(i);
        Ok(())
    }
}

fn no_segment(identity: &Identity) -> Error {
    Error::corrupt(&identity.dir, 0, "the manifest names no segment of this partition")
}

/// Whether a batch that is whole and in its place was refused only because of its leader epoch, which no batch of ours
/// carries: what begins there is a broker's, and more than a torn write.
fn is_of_another_writer(segment: &Segment, stop: &ScanEnd, len: u64) -> Result<bool> {
    let mut scanner = segment.scanner(len, stop.position, stop.next_offset).of_epoch(None);
    Ok(matches!(scanner.next()?, ScanItem::Batch(..)))
}
