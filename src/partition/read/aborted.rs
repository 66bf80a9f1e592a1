//! Which transactions were aborted, as read-committed readers must know (KIP-98).

use crate::{
    codec::{checkpoint::LeaderEpochs, index::AbortedTransaction},
    error::Result,
    partition::{
        log::Log,
        state::{replay::Replay, segment_list::floor},
    },
    storage::segment::Segment,
    types::Offset,
};
use std::sync::Arc;

/// The aborted transactions that a read-committed reader of `from..to` must know (`collectAbortedTxns`).
pub fn aborted_between(log: &Log, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>> {
    // Before the indexes: what is pending now stands there once it is not any more.
    let mut found = log.pending_markers.aborted_between(from, to);
    let segments = log.segments.snapshot();
    for i in floor(&segments, from).unwrap_or(0)..segments.len() {
        let known = aborted_in(log, &segments, i)?;
        // They are in the order of their markers.
        let ended_before = known.partition_point(|transaction| transaction.last_offset < from);
        for transaction in known.iter().skip(ended_before) {
            if transaction.first_offset < to {
                found.push(*transaction);
            }
            if transaction.last_stable_offset >= to {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// The aborted transactions whose markers lie in segment `i`. Where its transaction index is not what was written, the
/// data is read again, from the nearest snapshot of the producers on.
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
    let at_start = log.producers_at_start();
    let begun = Replay::begin_segment(env, &log.identity, segments, i, at_start, LeaderEpochs::default())?;
    let Some(mut replay) = begun else { return Ok(Arc::default()) };
    replay.read_through(segments, i, "the transactions aborted after this batch cannot be determined")?;
    segment.set_aborted(replay.aborted);
    Ok(segment.known_aborted().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use crate::{
        Streamlog, TopicConfig,
        partition::{
            read::aborted::*,
            tests::{end, transactional},
        },
    };

    #[test]
    fn a_reader_learns_of_the_transactions_that_reach_into_its_range() {
        let streamlog = Streamlog::in_memory().unwrap();
        let partition = streamlog.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        let log = partition.log();
        // Records at 0, 1 and 4 of producer 1, which aborts at 2 and 5; at 3 of producer 2, which aborts at 6.
        transactional(log, 1, 0, "a");
        transactional(log, 1, 1, "b");
        end(log, 1, false);
        transactional(log, 2, 0, "c");
        transactional(log, 1, 2, "d");
        end(log, 1, false);
        end(log, 2, false);
        let between = |from, to| {
            let found = aborted_between(log, Offset::new(from), Offset::new(to)).unwrap();
            found.iter().map(|t| (t.producer_id, t.first_offset.value())).collect::<Vec<_>>()
        };
        assert_eq!(between(0, 7), [(1, 0), (1, 4), (2, 3)]);
        assert_eq!(between(0, 3), [(1, 0)]);
        assert_eq!(between(2, 4), [(1, 0), (2, 3)], "its last offset is that of its marker");
        assert_eq!(between(3, 4), [(2, 3)]);
        assert_eq!(between(6, 7), [(2, 3)]);
        assert_eq!(between(7, 9), []);
    }
}
