//! Reading batches that were not read since they were written, to learn what a log must remember of them.
//!
//! A [`Replay`] begins at a point whose state is known (the last checkpoint, a snapshot, or the very start) and applies
//! batch after batch: to the producers, the leader epochs, the indexes of each segment, the aborted transactions. It
//! changes nothing on disk; the caller judges what its [`ScanEnd`] means.

use crate::{
    codec::{
        DecodeError,
        batch::RecordBatch,
        checkpoint::{LeaderEpochs, decode_epochs},
        index::AbortedTransaction,
        snapshot::ProducerEntry,
    },
    env::Env,
    error::{Error, Result},
    partition::state::{
        append_state::PendingSeal,
        identity::Identity,
        kept_producers::{producers_at, producers_at_start},
        observer::Observer,
        producers::ProducerState,
        segment_list::floor,
    },
    storage::{
        index::SegmentIndex,
        layout::LEADER_EPOCHS,
        manifest::ProducersAtStart,
        scan::{EpochsAround, ReadPath, ScanItem, Scanner},
        segment::{Segment, damage::Damage, indexed},
        sidecar::{EPOCHS_MAX, read_hint},
    },
    types::Offset,
};
use std::{path::Path, sync::Arc};

/// Where and why a scan of a segment ended.
#[derive(Debug)]
pub(in crate::partition) struct ScanEnd {
    /// The end of the last whole batch.
    pub position: u64,
    /// The offset after it.
    pub next_offset: Offset,
    pub why: EndReason,
}

impl ScanEnd {
    /// Whether anything but the end of the data follows.
    pub fn is_bad(&self) -> bool {
        matches!(self.why, EndReason::Bad(_))
    }
}

#[derive(Debug)]
pub(in crate::partition) enum EndReason {
    /// The data ends here; preallocated space may follow.
    End,
    /// What follows is not the batch that belongs here.
    Bad(String),
    /// What follows is of a version unknown to this release.
    Unsupported(DecodeError),
    /// The caller asked to stop.
    Cancelled,
}

/// What a log remembers as of the point that a replay has reached.
#[derive(Debug)]
pub(in crate::partition) struct Replay {
    /// The segment in the list.
    pub segment: usize,
    pub position: u64,
    pub next_offset: Offset,
    pub producers: ProducerState,
    pub epochs: LeaderEpochs,
    pub index: SegmentIndex,
    pub aborted: Vec<AbortedTransaction>,
    /// Segments that were read to their end; a checkpoint will write down what was learned of them.
    pub sealed: Vec<PendingSeal>,
    pub bytes_read: u64,
    /// The leader epoch of the last batch.
    pub last_epoch: Option<i32>,
    /// What is known of producers whose batches are not applied.
    pub earlier: Earlier,
    /// A cleaner has gone through everything below.
    pub cleaned: Offset,
    /// Whether it began before the end of a checkpoint, because the checkpoint's files could not be believed.
    pub went_back: bool,
}

/// What a scan past damage comes to.
pub(in crate::partition) enum Met<'a> {
    /// A whole batch, and where it lies.
    Batch(&'a RecordBatch, u64),
    Damage(&'a Damage),
}

/// What is known of the batches of a segment before they are read.
#[derive(Clone, Debug)]
pub(in crate::partition) struct Bounds {
    /// All their offsets lie below.
    pub ceiling: Offset,
    /// The leader epochs around them.
    pub epochs: EpochsAround,
}

impl Bounds {
    /// Nothing is known but this.
    pub fn below(ceiling: Offset) -> Self {
        Bounds { ceiling, epochs: EpochsAround::default() }
    }
}

/// The end of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(in crate::partition) struct KnownEnd {
    pub offset: Offset,
    /// Where that lies in its segment.
    pub position: u64,
    /// The checksum of that segment's indexes.
    pub index_checksum: u32,
}

/// What happened below the log start. Batches that end there are not applied to the producers, as in Kafka; the first
/// snapshot after the log start says which of their transactions were still open.
#[derive(Debug, Default)]
pub(in crate::partition) struct Earlier {
    pub log_start: Offset,
    pub snapshot: Option<(Offset, Vec<ProducerEntry>)>,
}

impl Replay {
    /// Begins at the end of a checkpoint, or earlier where its sidecars are missing or damaged. `None` for a log without
    /// segments.
    pub(in crate::partition) fn begin(
        env: &dyn Env,
        identity: &Identity,
        segments: &[Arc<Segment>],
        at_start: Option<ProducersAtStart>,
        known: KnownEnd,
    ) -> Result<Option<Replay>> {
        let Some(first) = segments.first() else { return Ok(None) };
        let offset = known.offset.max(first.base());
        let at = floor(segments, offset).unwrap_or(0);
        let epochs = read_epochs(env, &identity.dir, offset);
        // Position 0 belongs to a segment that begins there; without such a segment nothing is known.
        let is_known = |segment: &Segment| {
            planted!(recover_where_no_segment_is => return true);
            known.position > 0 || segment.base() == offset
        };
        if let Some(segment) = segments.get(at).filter(|segment| is_known(segment))
            && let Some(producers) = match offset == first.base() {
                true => Some(producers_at_start(env, &identity.dir, offset, at_start)?),
                false => producers_at(env, &identity.dir, offset)?,
            }
        {
            let position = if segment.base() == offset { 0 } else { known.position };
            let indexes = match position {
                0 => Some((segment.empty_index(), Vec::new())),
                _ => segment.index_in_files(offset, known.index_checksum)?,
            };
            if let Some((index, aborted)) = indexes {
                let replay = Replay::new(at, offset, producers, epochs, index);
                return Ok(Some(Replay { position, aborted, ..replay }));
            }
        }
        Self::begin_segment(env, identity, segments, at, at_start, epochs)
    }

    /// Begins at the start of segment `at`, or earlier where no snapshot has the producers as of there.
    pub(in crate::partition) fn begin_segment(
        env: &dyn Env,
        identity: &Identity,
        segments: &[Arc<Segment>],
        at: usize,
        at_start: Option<ProducersAtStart>,
        epochs: LeaderEpochs,
    ) -> Result<Option<Replay>> {
        let Some(first) = segments.first() else { return Ok(None) };
        for (i, segment) in segments.iter().enumerate().take(at + 1).skip(1).rev() {
            if let Some(producers) = producers_at(env, &identity.dir, segment.base())? {
                return Ok(Some(Replay::at_base(i, segment, producers, epochs)));
            }
        }
        let producers = producers_at_start(env, &identity.dir, first.base(), at_start)?;
        Ok(Some(Replay::at_base(0, first, producers, epochs)))
    }

    /// Begins at the start of a segment.
    pub(in crate::partition) fn at_base(
        i: usize,
        segment: &Segment,
        producers: ProducerState,
        mut epochs: LeaderEpochs,
    ) -> Replay {
        epochs.truncate_from_end(segment.base() + 1);
        let replay = Replay::new(i, segment.base(), producers, epochs, segment.empty_index());
        Replay { went_back: true, ..replay }
    }

    /// At the beginning of segment `i`, unless the caller sets another position, before any batch is applied.
    fn new(
        i: usize,
        next_offset: Offset,
        producers: ProducerState,
        epochs: LeaderEpochs,
        index: SegmentIndex,
    ) -> Replay {
        Replay {
            segment: i,
            position: 0,
            next_offset,
            producers,
            epochs,
            index,
            aborted: Vec::new(),
            sealed: Vec::new(),
            bytes_read: 0,
            last_epoch: None,
            earlier: Earlier::default(),
            cleaned: Offset::ZERO,
            went_back: false,
        }
    }

    /// A cleaner has gone through everything below `offset`, where a segment begins, and may have removed markers there.
    pub(in crate::partition) fn is_cleaned_below(&mut self, offset: Offset) {
        self.cleaned = offset;
    }

    /// A snapshot may list transactions as open whose markers were removed after it was written. One that goes on from here
    /// begins here: nothing that was aborted is left before. A replay that begins later has read a snapshot that is right.
    fn pass_cleaned(&mut self) {
        let mut is_passed = self.next_offset == self.cleaned;
        planted!(a_transaction_that_goes_on_is_forgotten => is_passed = self.next_offset >= self.cleaned);
        if is_passed {
            unless_planted!(a_removed_marker_leaves_its_transaction_open => self.producers.ended_below(self.cleaned));
        }
    }

    /// Keeps what was learned of `segment`, which ends here, and `next` begins at that offset: in memory, until a checkpoint
    /// has written it down.
    pub(in crate::partition) fn leave(&mut self, segment: &Arc<Segment>, next: Offset) {
        // A cleaner may have left out the last offsets.
        self.next_offset = self.next_offset.max(next);
        self.pass_cleaned();
        let mut index = std::mem::replace(&mut self.index, segment.empty_index());
        index.close();
        segment.set_index(index);
        segment.set_aborted(std::mem::take(&mut self.aborted));
        let snapshot = Arc::new(self.producers.to_snapshot());
        self.sealed.push(PendingSeal { segment: Arc::clone(segment), next_base: self.next_offset, snapshot });
    }

    /// Continues at the beginning of the next segment of the list.
    pub(in crate::partition) fn enter(&mut self, i: usize, segment: &Segment) {
        self.segment = i;
        self.position = 0;
        self.next_offset = self.next_offset.max(segment.base());
        self.pass_cleaned();
        self.index = segment.empty_index();
        self.aborted = Vec::new();
    }

    /// Reads on to the end of segment `last`; `unknown` is what cannot be determined where a batch is damaged.
    pub(in crate::partition) fn read_through(
        &mut self,
        segments: &[Arc<Segment>],
        last: usize,
        unknown: &str,
    ) -> Result<()> {
        for (at, segment) in segments.iter().enumerate().take(last + 1).skip(self.segment) {
            self.enter(at, segment);
            let limit = segment.readable();
            let stop = self.scan(segment, limit, ReadPath::Cache, &mut |_, _| {}, &mut |_| true)?;
            if stop.position < limit {
                return Err(Error::corrupt(segment.path(), stop.position, unknown));
            }
        }
        Ok(())
    }

    /// Applies the batches of `segment` up to `limit` bytes. `on_batch` gets each batch and its position; `go_on` gets
    /// how many bytes were read since its last call, and says whether to continue.
    pub(in crate::partition) fn scan(
        &mut self,
        segment: &Segment,
        limit: u64,
        source: ReadPath,
        on_batch: &mut dyn FnMut(&RecordBatch, u64),
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<ScanEnd> {
        let mut scanner = segment.scanner(limit, self.position, self.next_offset).reading(source);
        let mut told = self.position;
        let why = loop {
            match scanner.next()? {
                ScanItem::Batch(batch, position) => {
                    on_batch(&batch, position);
                    self.take_in(&batch, position);
                }
                ScanItem::End => break EndReason::End,
                ScanItem::Bad(reason) => break EndReason::Bad(reason),
                ScanItem::Unsupported(error) => break EndReason::Unsupported(error),
            }
            if scanner.position() - told >= 1 << 20 {
                let more = scanner.position() - told;
                told = scanner.position();
                if !go_on(more) {
                    break EndReason::Cancelled;
                }
            }
        };
        Ok(self.stop(&scanner, why))
    }

    /// Applies every whole batch of `segment` up to `limit` bytes that lies where `bounds` allow, whatever surrounds
    /// it. Damage between them is recorded with the segment; `on_met` gets batches and damage first. No whole batch
    /// follows the end that is returned.
    pub(in crate::partition) fn scan_past_damage(
        &mut self,
        segment: &Segment,
        limit: u64,
        bounds: Bounds,
        source: ReadPath,
        on_met: &mut dyn FnMut(&mut Replay, Met<'_>),
    ) -> Result<ScanEnd> {
        let mut scanner = segment
            .scanner(limit, self.position, self.next_offset)
            .reading(source)
            .below(bounds.ceiling)
            .with_epochs(EpochsAround { before: self.last_epoch, ..bounds.epochs });
        let why = loop {
            let (why, reason) = match scanner.next()? {
                ScanItem::Batch(batch, position) => {
                    on_met(self, Met::Batch(&batch, position));
                    self.take_in(&batch, position);
                    continue;
                }
                ScanItem::Unsupported(error) => break EndReason::Unsupported(error),
                ScanItem::End => (EndReason::End, "zeros where a batch was expected".to_string()),
                ScanItem::Bad(reason) => (EndReason::Bad(reason.clone()), reason),
            };
            let (position, offset) = (scanner.position(), scanner.expected());
            let Some(found) = scanner.resync()? else { break why };
            let hole = Damage { bytes: position..found, offsets: offset..scanner.expected(), reason };
            on_met(self, Met::Damage(&hole));
            segment.add_damage(hole);
            self.index.pass_damage(offset);
        };
        Ok(self.stop(&scanner, why))
    }

    /// Moves the replay to where `scanner` stands.
    fn stop(&mut self, scanner: &Scanner<'_>, why: EndReason) -> ScanEnd {
        self.bytes_read += scanner.bytes_read;
        self.position = scanner.position();
        self.next_offset = scanner.expected();
        ScanEnd { position: self.position, next_offset: self.next_offset, why }
    }

    /// Records the rest of `segment`'s file after the data as damage, because offsets up to `end` or whole segments
    /// follow: readers meet an error there, and do not continue in the next segment.
    pub(in crate::partition) fn note_missing_end(
        &mut self,
        segment: &Segment,
        limit: u64,
        end: Offset,
        reason: String,
    ) -> Damage {
        // A file that simply ends early has no byte to stand for what is missing, so one is claimed.
        let limit = limit.max(self.position + 1);
        let hole = Damage {
            bytes: self.position..limit,
            offsets: self.next_offset..end.max(self.next_offset),
            reason,
        };
        segment.add_damage(hole.clone());
        segment.publish(limit);
        hole
    }

    fn take_in(&mut self, batch: &RecordBatch, position: u64) {
        let header = batch.header();
        self.last_epoch = Some(header.leader_epoch);
        self.index.add(indexed(header, position));
        if header.leader_epoch >= 0 && self.epochs.latest().is_none_or(|latest| header.leader_epoch > latest)
        {
            self.epochs.assign(header.leader_epoch, header.base_offset);
        }
        if header.last_offset() < self.earlier.log_start {
            return;
        }
        self.take_in_earlier(header.base_offset);
        if let Some(aborted) = self.producers.appended(header, batch.bytes()) {
            self.aborted.push(aborted);
        }
        self.producers.read_sequences(batch);
    }

    /// Applies the aborts that damage hides, as far as `aborts`, a segment's transaction index, lists them.
    pub(in crate::partition) fn take_in_unseen(&mut self, hole: &Damage, aborts: &[AbortedTransaction]) {
        for transaction in aborts.iter().filter(|t| hole.offsets.contains(&t.last_offset)) {
            self.producers.aborted_unseen(transaction);
            self.aborted.push(*transaction);
        }
    }

    /// Once the replay has reached the snapshot's offset, the transactions from below the log start that the snapshot
    /// lists are open.
    pub(in crate::partition) fn take_in_earlier(&mut self, reached: Offset) {
        let Some((_, entries)) = self.earlier.snapshot.take_if(|(offset, _)| *offset <= reached) else {
            return;
        };
        for entry in entries {
            if let Some(first) = entry.current_txn_first_offset.filter(|o| *o < self.earlier.log_start) {
                self.producers.opened_earlier(entry.producer_id, entry.producer_epoch, first);
            }
        }
    }
}

/// How many whole batches follow the point where a scan of a segment stopped.
pub(in crate::partition) fn whole_batches_beyond(
    segment: &Segment,
    limit: u64,
    stop: &ScanEnd,
    source: ReadPath,
) -> Result<u64> {
    let mut scanner =
        Scanner::new(segment.source(), limit, stop.position, stop.next_offset, true).reading(source);
    let mut found = 0;
    while scanner.resync()?.is_some() {
        while let ScanItem::Batch(..) = scanner.next()? {
            found += 1;
        }
    }
    Ok(found)
}

/// The leader epochs of a partition by their checkpoint, as far as they begin at or before `end`.
pub(in crate::partition) fn read_epochs(env: &dyn Env, dir: &Path, end: Offset) -> LeaderEpochs {
    let text = read_hint(env, &dir.join(LEADER_EPOCHS), EPOCHS_MAX)
        .ok()
        .flatten()
        .and_then(|b| String::from_utf8(b).ok());
    let entries = text.and_then(|text| decode_epochs(&text).ok()).unwrap_or_default();
    let mut epochs = LeaderEpochs::from_entries(&entries);
    epochs.truncate_from_end(end + 1);
    epochs
}
