//! Reading towards the beginning.

use super::log::{Log, floor};
use crate::{
    codec::batch::RecordBatch,
    error::Result,
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
        while let Some(segment) = i.and_then(|i| segments.get(i)) {
            let last = before.saturating_sub(1);
            let (mut position, mut expected) = segment.walk_from(last)?;
            let mut batches: Vec<RecordBatch> = Vec::new();
            // Not a step behind the last one that is wanted: damage there is no concern of this reader.
            while batches.last().is_none_or(|batch| batch.header().next_offset() < before) {
                if let Some(hole) = segment.hole_before(position, last) {
                    // What lies before the damage is for the next step, which will come to it.
                    batches.clear();
                    (position, expected) = (hole.bytes.end, hole.offsets.end);
                }
                let Some(header) = segment.header_in_place(position, expected)? else { break };
                if header.base_offset >= before {
                    break;
                }
                let path = segment.data().path();
                let bytes = segment.bytes(position..position + header.size())?;
                let batch = RecordBatch::with_header(header, bytes);
                batch.verify_crc().map_err(|e| e.in_file(path, position))?;
                position += header.size();
                expected = header.next_offset();
                if header.last_offset() >= log_start {
                    batches.push(batch);
                }
            }
            if !batches.is_empty() {
                return Ok(batches);
            }
            before = segment.base();
            i = i.and_then(|i| i.checked_sub(1));
        }
        Ok(Vec::new())
    }
}
