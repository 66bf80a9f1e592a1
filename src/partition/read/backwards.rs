//! Reading towards the beginning.

use crate::{
    codec::batch::RecordBatch,
    error::{Error, Result},
    partition::{
        log::Log,
        read::{aborted::aborted_between, hidden::Hidden, retry::retry_after_trim},
        state::segment_list::{end_of, floor},
    },
    storage::segment::Segment,
    types::{IsolationLevel, Offset},
};
use std::sync::Arc;

/// Batches of one segment, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct SegmentBatches {
    pub segment: Option<Arc<Segment>>,
    /// Each with the position that it begins at.
    pub batches: Vec<(u64, RecordBatch)>,
}

/// Some batches before `before` that a reader of `isolation` sees, in the order of offsets, the last of which ends nearest
/// to it. Empty when there are none.
pub(super) fn batches_before(log: &Log, before: Offset, isolation: IsolationLevel) -> Result<SegmentBatches> {
    retry_after_trim(log, || look_before(log, before, isolation))
}

fn look_before(log: &Log, asked: Offset, isolation: IsolationLevel) -> Result<SegmentBatches> {
    let mut before = asked.min(log.offsets.bound(isolation));
    let log_start = log.offsets.log_start();
    if before <= log_start {
        return Ok(SegmentBatches::default());
    }
    let segments = log.segments.snapshot();
    let mut i = floor(&segments, before.saturating_sub(1));
    while let Some((at, segment)) = i.and_then(|i| Some((i, segments.get(i)?))).filter(|_| before > log_start)
    {
        let limit = end_of(&segments, at, log.offsets.log_end());
        let mut batches = Walk::new(segment, limit, before, log_start)?.batches()?;
        before = batches.first().map_or(segment.base(), |(_, first)| first.header().base_offset);
        leave_out_hidden(log, &mut batches, isolation)?;
        if log.offsets.log_start() != log_start {
            // The segments that list the aborted transactions may have been removed in between.
            return look_before(log, asked, isolation);
        }
        if !batches.is_empty() {
            return Ok(SegmentBatches { segment: Some(Arc::clone(segment)), batches });
        }
        if before <= segment.base() {
            i = at.checked_sub(1);
        }
    }
    Ok(SegmentBatches::default())
}

/// Takes out of `batches`, which are in the order of offsets, those that a reader of `isolation` does not see.
fn leave_out_hidden(
    log: &Log,
    batches: &mut Vec<(u64, RecordBatch)>,
    isolation: IsolationLevel,
) -> Result<()> {
    let (Some((_, first)), Some((_, last))) = (batches.first(), batches.last()) else { return Ok(()) };
    let mut hidden = match isolation {
        IsolationLevel::ReadUncommitted => Hidden::default(),
        IsolationLevel::ReadCommitted => {
            Hidden::new(aborted_between(log, first.header().base_offset, last.header().next_offset())?)
        }
    };
    planted!(backwards_shows_what_was_aborted => hidden = Hidden::default());
    batches.retain(|(_, batch)| !hidden.hides(batch.header()));
    Ok(())
}

/// A walk towards `before` in a segment that ends at `limit`.
struct Walk<'a> {
    segment: &'a Segment,
    limit: Offset,
    before: Offset,
    log_start: Offset,
    /// Where it stands, and the offset that is expected there.
    position: u64,
    expected: Offset,
    /// Where the batch before lies, and its base offset.
    previous: Option<(u64, Offset)>,
    /// The batches since the last damage.
    batches: Vec<(u64, RecordBatch)>,
}

impl<'a> Walk<'a> {
    /// It begins at the last place before `before` that the index knows.
    fn new(segment: &'a Segment, limit: Offset, before: Offset, log_start: Offset) -> Result<Self> {
        let (position, expected) = segment.walk_from(before.saturating_sub(1))?;
        let (previous, batches) = (None, Vec::new());
        Ok(Walk { segment, limit, before, log_start, position, expected, previous, batches })
    }

    /// The batches of the last part of the walk that has no damage, without those that end before `log_start`. The last
    /// of them ends nearest to `before`.
    ///
    /// # Errors
    ///
    /// `Corrupt` where the batch that ends at `before` is damaged, or where the file ends earlier: what lies before that
    /// is for a later step.
    fn batches(mut self) -> Result<Vec<(u64, RecordBatch)>> {
        // Not a step past the last batch that is wanted: damage there is of no concern to this reader.
        while self.expected < self.before {
            let last = self.before.saturating_sub(1);
            if let Some(hole) = self.segment.damage_before(self.position, last) {
                self.begin_again(hole.bytes.end, hole.offsets.end);
            }
            let error = match self.batch_at(self.position, self.expected) {
                Ok(Some(batch)) => {
                    self.take(batch);
                    if self.expected < self.before || !self.is_contradicted() {
                        continue;
                    }
                    None
                }
                Ok(None) if self.segment.may_have_gaps() => break,
                Ok(None) => {
                    planted!(take_an_early_end_for_the_end => break);
                    // Where no offset is missing, there is one more batch.
                    return Err(self.segment.ends_early(self.position, self.expected));
                }
                Err(error) => Some(error),
            };
            let Some(error) = self.error_of_previous().or(error) else { break };
            self.pass(error)?;
        }
        Ok(self.batches)
    }

    /// Goes past a batch, and keeps it where it counts.
    fn take(&mut self, batch: RecordBatch) {
        let header = *batch.header();
        self.previous = Some((self.position, header.base_offset));
        if header.last_offset() >= self.log_start {
            self.batches.push((self.position, batch));
        }
        self.position += header.size();
        self.expected = header.next_offset();
    }

    /// Goes on after damage: what was found before it is for a later step.
    fn begin_again(&mut self, position: u64, expected: Offset) {
        self.batches.clear();
        (self.position, self.expected) = (position, expected);
        self.previous = None;
    }

    /// The error of the batch before, where that one is wrong about the offsets that it and the next one claim. The walk
    /// then stands at it.
    fn error_of_previous(&mut self) -> Option<Error> {
        let (position, base) = self.previous?;
        let wrong = self.check_around(position, base).err()?;
        (self.position, self.expected) = (position, base);
        Some(wrong)
    }

    /// Goes past the damage that `error` is about, to the next whole batch; the error where none is wanted.
    fn pass(&mut self, error: Error) -> Result<()> {
        match whole_after(self.segment, self.position, self.expected, self.before)? {
            Some((position, expected)) => self.begin_again(position, expected),
            None => return Err(error.not_before(self.position)),
        }
        Ok(())
    }

    /// The batch that starts at `position`; `None` where there is none, or none below `before`.
    fn batch_at(&self, position: u64, expected: Offset) -> Result<Option<RecordBatch>> {
        let segment = self.segment;
        let header = segment.header_in_place(position, expected)?;
        let Some(header) = header.filter(|header| header.base_offset < self.before) else { return Ok(None) };
        let next = header.next_offset();
        if next > self.limit {
            let reason = format!("a batch up to offset {next} in a segment below {}", self.limit);
            return Err(Error::corrupt(segment.path(), position, reason));
        }
        let batch = RecordBatch::with_header(header, segment.bytes(position..position + header.size())?);
        batch.verify_crc().map_err(|error| error.in_file(segment.path(), position))?;
        Ok(Some(batch))
    }

    /// Whether the batch here begins before the offset at which the one before it says that it ends.
    fn is_contradicted(&self) -> bool {
        let next = self.segment.header_at(self.position).ok().flatten();
        next.is_some_and(|next| next.base_offset < self.expected)
    }

    /// An error where the batches around the one at `position`, which begins at `base`, contradict it.
    #[cold]
    fn check_around(&self, position: u64, base: Offset) -> Result<()> {
        match self.segment.fault_of(position, base)? {
            Some(reason) => Err(Error::corrupt(self.segment.path(), position, reason)),
            None => Ok(()),
        }
    }
}

/// The position of the next whole batch after damage at `position`, and its base offset, if that is below `before`.
fn whole_after(
    segment: &Segment,
    position: u64,
    expected: Offset,
    before: Offset,
) -> Result<Option<(u64, Offset)>> {
    let mut scanner = segment.scanner(segment.readable(), position, expected);
    let start = segment.or_missing(scanner.resync())?;
    Ok(start.map(|start| (start, scanner.expected())).filter(|(_, base)| *base < before))
}
