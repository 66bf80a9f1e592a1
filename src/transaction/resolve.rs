//! What an opening does with the transactions that it finds open: in memory, without a write.
//!
//! A transaction of this library is committed where a durable decision says so and still counts: every log that it names has come
//! to its end, in the incarnation in which that was written. Otherwise it is aborted, and stays so. Markers follow with each
//! log's next append.
//!
//! Where the decisions cannot be read, or a log of one cannot be looked at, nobody knows: read-committed readers keep waiting
//! there. Transactions of other writers are left alone.

use super::{
    claims::{Decision, End},
    coordinator::TransactionCoordinator,
};
use crate::{
    error::Result,
    partition::{
        log::Log,
        state::{
            append_as::Claimed,
            producers::{OpenTransaction, is_ours},
        },
        write::end_transaction::{TransactionEnd, has_reached, open_transactions, resolve_transaction},
    },
};
use std::{collections::BTreeMap, sync::Arc};

impl TransactionCoordinator {
    /// See the head of the file. Called once, before anybody reads.
    pub(crate) fn resolve(&self) {
        let mut verdicts: BTreeMap<(i64, i16), Result<Option<Decision>>> = BTreeMap::new();
        for log in self.catalog.logs() {
            for open in open_transactions(&log).into_iter().filter(|open| is_ours(open.producer_id)) {
                let key = (open.producer_id, open.producer_epoch);
                let verdict = verdicts.entry(key).or_insert_with(|| self.verdict(key));
                if let Ok(decision) = verdict {
                    resolve_transaction(&log, &outcome(&log, &open, decision.as_ref()));
                }
            }
        }
    }

    /// The decision about a transaction, if there is one that counts.
    fn verdict(&self, (id, epoch): (i64, i16)) -> Result<Option<Decision>> {
        let Some(decision) = self.claims.decision(Claimed { id, epoch })? else { return Ok(None) };
        planted!(a_decision_is_believed_without_its_ends => return Ok(Some(decision)));
        for end in &decision.ends {
            if !self.is_reached(end)? {
                return Ok(None);
            }
        }
        Ok(Some(decision))
    }

    /// Whether a log has come to where a decision needs it. A topic that was deleted needs nothing.
    fn is_reached(&self, end: &End) -> Result<bool> {
        let topic = self.catalog.topics(true).into_iter().find(|topic| topic.id() == end.topic_id);
        let Some(topic) = topic else { return Ok(true) };
        let log = topic.log(end.partition)?;
        planted!(ends_of_no_incarnation => return Ok(log.offsets().log_end() >= end.offsets.end));
        has_reached(&log, end.incarnation, end.offsets.end)
    }
}

/// How a transaction that is open in `log` has ended.
fn outcome(log: &Arc<Log>, open: &OpenTransaction, decision: Option<&Decision>) -> TransactionEnd {
    let identity = &log.identity;
    let is_this = |end: &End| {
        end.topic_id == identity.topic_id
            && end.partition == identity.name.partition
            && end.offsets.start == open.first_offset
    };
    let decision = decision.filter(|decision| decision.ends.iter().any(is_this));
    TransactionEnd {
        producer_id: open.producer_id,
        epoch: open.producer_epoch,
        marker_epoch: decision
            .map_or(open.producer_epoch.saturating_add(1), |decision| decision.marker_epoch),
        commit: decision.is_some_and(|decision| decision.commit),
    }
}
