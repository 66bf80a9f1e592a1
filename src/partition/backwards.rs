//! Reading towards the beginning.

use super::log::{Log, floor};
use crate::{
    codec::batch::RecordBatch,
    error::{Error, Result},
    storage::{
        scan::{Found, Scanner},
        segment::Segment,
    },
    types::{IsolationLevel, Offset},
};

impl Log {
    /// Some batches before `before`, in the order of offsets, the last of them being the one that ends nearest to it.
    /// Empty when nothing lies before.
    pub fn batches_before(&self, before: Offset, isolation: IsolationLevel) -> Result<Vec<RecordBatch>> {
        self.looking(|| self.look_before(before, isolation))
    }

    fn look_before(&self, before: Offset, isolation: IsolationLevel) -> Result<Vec<RecordBatch>> {
        let before = before.min(self.offsets.bound(isolation));
        let log_start = self.offsets.log_start();
        if before <= log_start {
            return Ok(Vec::new());
        }
        let segments = self.segments.snapshot();
        let mut before = before;
        let mut i = floor(&segments, before.saturating_sub(1));
        while let Some(segment) = i.and_then(|i| segments.get(i)).filter(|_| before > log_start) {
            let batches = last_before(segment, before, log_start)?;
            if !batches.is_empty() {
                return Ok(batches);
            }
            before = segment.base();
            i = i.and_then(|i| i.checked_sub(1));
        }
        Ok(Vec::new())
    }
}

/// The last batches of `segment` before `before`, which lies in it or at its end, without those that end before
/// `log_start`.
///
/// # Errors
///
/// `Corrupt` where the batch that ends at `before` is damaged, or where the file ends earlier: what lies before that is
/// for a later step.
fn last_before(segment: &Segment, before: Offset, log_start: Offset) -> Result<Vec<RecordBatch>> {
    let last = before.saturating_sub(1);
    let (mut position, mut expected) = segment.walk_from(last)?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    // Not a step behind the last one that is wanted: damage there is no concern of this reader.
    while expected < before {
        if let Some(hole) = segment.hole_before(position, last) {
            // Damage, and what lies before it, is for a later step.
            batches.clear();
            (position, expected) = (hole.bytes.end, hole.offsets.end);
        }
        let batch = match batch_at(segment, position, expected, before) {
            Ok(Some(batch)) => batch,
            Ok(None) if segment.may_have_gaps() || planted!(take_an_early_end_for_the_end) => break,
            // Where no offset is missing, there is one more batch.
            Ok(None) => return Err(segment.ends_early(position, expected)),
            Err(error) => {
                let Some(behind) = whole_behind(segment, position, expected, before)? else {
                    return Err(error.not_before(position));
                };
                batches.clear();
                (position, expected) = behind;
                continue;
            }
        };
        let header = *batch.header();
        position += header.size();
        expected = header.next_offset();
        if header.last_offset() >= log_start {
            batches.push(batch);
        }
    }
    Ok(batches)
}

/// The batch that starts at `position`; `None` where there is none, or none below `before`.
fn batch_at(
    segment: &Segment,
    position: u64,
    expected: Offset,
    before: Offset,
) -> Result<Option<RecordBatch>> {
    let header = segment.header_in_place(position, expected)?.filter(|header| header.base_offset < before);
    let Some(header) = header else { return Ok(None) };
    let batch = RecordBatch::with_header(header, segment.bytes(position..position + header.size())?);
    batch.verify_crc().map_err(|error| error.in_file(segment.data().path(), position))?;
    Ok(Some(batch))
}

/// Where, behind damage at `position`, a whole batch starts, and its base offset, if that is below `before`.
fn whole_behind(
    segment: &Segment,
    position: u64,
    expected: Offset,
    before: Offset,
) -> Result<Option<(u64, Offset)>> {
    let gaps = segment.may_have_gaps();
    let mut scanner = Scanner::new(segment.data(), segment.readable(), position, expected, gaps);
    let start = segment.or_missing(scanner.resync())?;
    Ok(start.map(|start| (start, scanner.expected())).filter(|(_, base)| *base < before))
}

impl Log {
    /// Up to which offset everything before the damage that `error` names is whole.
    #[cold]
    pub(super) fn whole_up_to(&self, error: &Error) -> Option<Offset> {
        let Error::Corrupt { path, position, .. } = error else { return None };
        let segments = self.segments.snapshot();
        let segment = segments.iter().find(|segment| segment.data().path() == path)?;
        if *position == 0 {
            return Some(segment.base());
        }
        let mut scanner = Scanner::new(segment.data(), *position, 0, segment.base(), segment.may_have_gaps());
        loop {
            match scanner.next().ok()? {
                Found::Batch(..) => {}
                _ if scanner.position() >= *position => return Some(scanner.expected()),
                // Damage before that damage, behind which batches are whole.
                _ => match scanner.resync().ok()? {
                    Some(_) => {}
                    None => return Some(scanner.expected()),
                },
            }
        }
    }
}
