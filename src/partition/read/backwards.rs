//! Reading towards the beginning.

use crate::{
    codec::batch::RecordBatch,
    error::{Error, Result},
    partition::{
        log::Log,
        read::retry::retry_after_trim,
        state::segment_list::{end_of, floor},
    },
    storage::segment::Segment,
    types::{IsolationLevel, Offset},
};
use std::sync::Arc;

/// Batches of one segment, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    pub segment: Option<Arc<Segment>>,
    /// Each with the position that it begins at.
    pub batches: Vec<(u64, RecordBatch)>,
}

/// Some batches before `before`, in the order of offsets, the last of them being the one that ends nearest to it. Empty
/// when nothing lies before.
pub(super) fn batches_before(log: &Log, before: Offset, isolation: IsolationLevel) -> Result<Stretch> {
    retry_after_trim(log, || look_before(log, before, isolation))
}

fn look_before(log: &Log, before: Offset, isolation: IsolationLevel) -> Result<Stretch> {
    let mut before = before.min(log.offsets.bound(isolation));
    let log_start = log.offsets.log_start();
    if before <= log_start {
        return Ok(Stretch::default());
    }
    let segments = log.segments.snapshot();
    let mut i = floor(&segments, before.saturating_sub(1));
    while let Some((at, segment)) = i.and_then(|i| Some((i, segments.get(i)?))).filter(|_| before > log_start)
    {
        let limit = end_of(&segments, at, log.offsets.log_end());
        let batches = Walk { segment, limit, before, log_start }.batches()?;
        if !batches.is_empty() {
            return Ok(Stretch { segment: Some(Arc::clone(segment)), batches });
        }
        before = segment.base();
        i = at.checked_sub(1);
    }
    Ok(Stretch::default())
}

/// A walk towards `before` in a segment, none of whose batches reaches `limit`.
struct Walk<'a> {
    segment: &'a Segment,
    limit: Offset,
    before: Offset,
    log_start: Offset,
}

impl Walk<'_> {
    /// The batches of the last part of the walk that has no damage, the last of them being the one that ends nearest to
    /// `before`, without those that end before `log_start`.
    ///
    /// # Errors
    ///
    /// `Corrupt` where the batch that ends at `before` is damaged, or where the file ends earlier: what lies before that
    /// is for a later step.
    fn batches(&self) -> Result<Vec<(u64, RecordBatch)>> {
        let last = self.before.saturating_sub(1);
        let (mut position, mut expected) = self.segment.walk_from(last)?;
        let mut batches: Vec<(u64, RecordBatch)> = Vec::new();
        let mut previous = None;
        // Not a step behind the last one that is wanted: damage there is no concern of this reader.
        while expected < self.before {
            if let Some(hole) = self.segment.damage_before(position, last) {
                // Damage, and what lies before it, is for a later step.
                batches.clear();
                (position, expected) = (hole.bytes.end, hole.offsets.end);
                previous = None;
            }
            let error = match self.batch_at(position, expected) {
                Ok(Some(batch)) => {
                    let header = *batch.header();
                    previous = Some((position, header.base_offset));
                    if header.last_offset() >= self.log_start {
                        batches.push((position, batch));
                    }
                    position += header.size();
                    expected = header.next_offset();
                    if expected < self.before || !self.is_contradicted(position, expected) {
                        continue;
                    }
                    None
                }
                Ok(None) if self.segment.may_have_gaps() => break,
                Ok(None) => {
                    planted!(take_an_early_end_for_the_end => break);
                    // Where no offset is missing, there is one more batch.
                    return Err(self.segment.ends_early(position, expected));
                }
                Err(error) => Some(error),
            };
            // Where the batch before is wrong about the offsets that both claim, that one is the damage.
            let error = match previous.map(|(at, base)| self.check_around(at, base)) {
                Some(Err(wrong)) => {
                    (position, expected) = previous.unwrap_or((position, expected));
                    wrong
                }
                _ => match error {
                    Some(error) => error,
                    None => break,
                },
            };
            let Some(behind) = whole_behind(self.segment, position, expected, self.before)? else {
                return Err(error.not_before(position));
            };
            batches.clear();
            (position, expected) = behind;
            previous = None;
        }
        Ok(batches)
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

    /// Whether the batch at `position` begins before `expected`, where the one before it says that it ends.
    fn is_contradicted(&self, position: u64, expected: Offset) -> bool {
        let next = self.segment.header_at(position).ok().flatten();
        next.is_some_and(|next| next.base_offset < expected)
    }

    /// An error where the batch at `position`, which begins at `base`, is not borne out by those around it.
    #[cold]
    fn check_around(&self, position: u64, base: Offset) -> Result<()> {
        match self.segment.fault_of(position, base)? {
            Some(reason) => Err(Error::corrupt(self.segment.path(), position, reason)),
            None => Ok(()),
        }
    }
}

/// Where, behind damage at `position`, a whole batch starts, and its base offset, if that is below `before`.
fn whole_behind(
    segment: &Segment,
    position: u64,
    expected: Offset,
    before: Offset,
) -> Result<Option<(u64, Offset)>> {
    let mut scanner = segment.scanner(segment.readable(), position, expected);
    let start = segment.or_missing(scanner.resync())?;
    Ok(start.map(|start| (start, scanner.expected())).filter(|(_, base)| *base < before))
}
