//! Which transactions were aborted, as read-committed readers must know it (KIP-98).

use crate::{
    codec::{checkpoint::LeaderEpochs, index::AbortedTransaction},
    error::{Error, Result},
    partition::{
        log::Log,
        state::{replay::Replay, segment_list::floor},
    },
    storage::{scan::ReadPath, segment::Segment},
    types::Offset,
};
use std::sync::Arc;

/// The aborted transactions that a read-committed reader of `from..to` must know (`collectAbortedTxns`).
pub fn aborted_between(log: &Log, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>> {
    let segments = log.segments.snapshot();
    let mut found = Vec::new();
    for i in floor(&segments, from).unwrap_or(0)..segments.len() {
        for transaction in aborted_in(log, &segments, i)?.iter() {
            if transaction.last_offset >= from && transaction.first_offset < to {
                found.push(*transaction);
            }
            if transaction.last_stable_offset >= to {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// The aborted transactions whose markers lie in segment `i`. Where its file is not what was written, the data is gone
/// through, from the nearest snapshot of the producers on.
pub(in crate::partition) fn aborted_in(
    log: &Log,
    segments: &[Arc<Segment>],
    i: usize,
) -> Result<Arc<Vec<AbortedTransaction>>> {
    let Some(segment) = segments.get(i) else { return Ok(Arc::default()) };
    if let Some(known) = segment.aborted()? {
        return Ok(known);
    }
    let env = &*log.data_dir.env;
    let begun = Replay::begin_segment(env, &log.identity, segments, i, LeaderEpochs::default())?;
    let Some(mut replay) = begun else { return Ok(Arc::default()) };
    for (at, segment) in segments.iter().enumerate().take(i + 1).skip(replay.segment) {
        replay.enter(at, segment);
        let limit = segment.readable();
        let stop = replay.scan(segment, limit, ReadPath::Cache, &mut |_, _| {}, &mut |_| true)?;
        if stop.position < limit {
            let reason = "what was aborted behind this batch cannot be told";
            return Err(Error::corrupt(segment.path(), stop.position, reason));
        }
    }
    segment.set_aborted(replay.aborted);
    Ok(segment.known_aborted().unwrap_or_default())
}
