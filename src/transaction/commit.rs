//! The commit of a transaction: everything is written, then made durable in one round together with the decision.
//!
//! 1. The data is appended, a batch or more for each partition, and the offsets of groups.
//! 2. The decision is appended to `__transaction_state`. It says how far each log must have come, and in which incarnation.
//! 3. All these logs are flushed, at the same time: one round, whatever their number.
//! 4. It is decided. The markers are appended, and nothing waits for them.
//!
//! The decision may be durable before the data. So it counts only if every log has come to its end in its incarnation: if a
//! power cut takes the end of one, the decision is void, and stays so, because the next append to that log begins a new
//! incarnation (`resolve.rs`). Where a flush fails, an abort is decided over it, durably, before anybody hears of the failure.
//!
//! One batch in one partition needs none of that: a batch is there wholly or not at all.

use super::{
    Committed,
    claims::{Decided, End},
    coordinator::TransactionCoordinator,
    handle::Contents,
    open::{Ended, Open, Progress},
};
use crate::{
    consumer::coordinator::OffsetCommit,
    error::{Error, Outcome, Result},
    partition::{
        log::Log,
        state::append_as::{AppendAs, Claimed},
        write::{append::check_end, commit::commit, gate::Origin},
    },
    producer::{
        Producer,
        parts::{Part, Parts},
    },
    types::{Offset, TopicPartition},
};
use std::{collections::BTreeMap, sync::Arc};

/// The ends that were required of partitions.
pub(super) type Expected = BTreeMap<TopicPartition, (Arc<Log>, Offset)>;

impl TransactionCoordinator {
    /// Commits, or aborts and says why.
    pub(super) fn commit(&self, contents: Contents) -> Result<Committed> {
        let Contents { producer, open, buffered, offsets, expected } = contents;
        let mut progress = open.progress();
        let committed = progress.check().and_then(|()| {
            let parts = buffered.into_sealed()?;
            match parts.as_slice() {
                [part] if offsets.is_empty() && progress.written.is_empty() && part.is_one_batch() => {
                    self.commit_alone(&producer, &mut progress, parts, &expected)
                }
                _ => {
                    self.write_in(&mut progress, &producer, parts, &expected)?;
                    let sources = self.write_offsets(&mut progress, &producer, &offsets)?;
                    check_expected(&progress, &expected)?;
                    self.decide(&mut progress, &producer, sources)
                }
            }
        });
        if progress.ended.is_none() {
            if committed.is_err() {
                self.abort_in(&mut progress);
            }
            progress.ended = Some(Ended::ByItself);
        }
        drop(progress);
        self.end(&producer, &open);
        committed
    }

    /// One batch: appending it is the decision.
    fn commit_alone(
        &self,
        producer: &Producer,
        progress: &mut Progress,
        mut parts: Vec<Part>,
        expected: &Expected,
    ) -> Result<Committed> {
        let Some(part) = parts.first_mut() else { return Ok(Committed::default()) };
        check_expected(progress, &without(expected, part.log()))?;
        part.write_queued()?;
        let log = Arc::clone(part.log());
        let end = expected.get(&log.identity.name).map(|(_, offset)| *offset);
        let origin = match producer.identity().name().and(producer.identity().claimed()) {
            Some(producer) => Origin::Owned(AppendAs { producer, transactional: false, named: true }),
            None => Origin::Producer,
        };
        let mut ranges = BTreeMap::new();
        for batch in part.batches() {
            let appended = log.append_at(batch, origin, end)?;
            ranges.insert(log.identity.name.clone(), appended.base_offset..appended.next_offset);
            // From here on nobody can take it back: the handle learns what the flush says.
            progress.ended = Some(Ended::ByItself);
            let range = appended.base_offset..appended.next_offset;
            log.flush_to(range.end).map_err(|error| log.unacknowledged(range, error))?;
        }
        producer.note_placed(part);
        Ok(Committed { ranges })
    }

    /// Writes what was buffered, as part of the transaction.
    pub(super) fn write(
        &self,
        producer: &Producer,
        open: &Open,
        buffered: Parts,
        expected: &Expected,
    ) -> Result<()> {
        let mut progress = open.progress();
        progress.check()?;
        self.watch(open);
        self.write_in(&mut progress, producer, buffered.into_sealed()?, expected)
    }

    fn write_in(
        &self,
        progress: &mut Progress,
        producer: &Producer,
        parts: Vec<Part>,
        expected: &Expected,
    ) -> Result<()> {
        for mut part in parts {
            part.write_queued()?;
            let by = self.writer(progress, producer)?;
            let log = Arc::clone(part.log());
            for batch in part.batches() {
                let is_first = !progress.written.contains_key(&log.identity.name);
                let end = expected.get(&log.identity.name).filter(|_| is_first).map(|(_, offset)| *offset);
                let appended = log.append_at(batch, Origin::Owned(by), end)?;
                progress.wrote(&log, appended.base_offset..appended.next_offset);
            }
            producer.note_placed(&part);
        }
        Ok(())
    }

    /// Writes the offsets of groups. Returns how far their partitions must be durable for them to count.
    fn write_offsets(
        &self,
        progress: &mut Progress,
        producer: &Producer,
        offsets: &BTreeMap<Arc<str>, Vec<OffsetCommit>>,
    ) -> Result<Vec<(Arc<Log>, Offset)>> {
        let mut sources = Vec::new();
        for (group, commits) in offsets.iter().filter(|(_, commits)| !commits.is_empty()) {
            let by = self.writer(progress, producer)?;
            if let Some((log, range)) = self.offsets.append_in_transaction(group, commits, by)? {
                progress.wrote(&log, range);
            }
            sources.extend(commits.iter().map(|commit| (Arc::clone(&commit.log), commit.offset)));
        }
        sources.retain(|(log, offset)| log.flushed() < *offset);
        Ok(sources)
    }

    /// As whom the producer writes: an unnamed one gets an id with its first transaction that writes.
    fn writer(&self, progress: &mut Progress, producer: &Producer) -> Result<AppendAs> {
        let identity = producer.identity();
        let known = progress.claimed.or_else(|| identity.claimed());
        let claimed = known.unwrap_or_else(|| self.claims.draw());
        progress.claimed = Some(claimed);
        Ok(AppendAs { producer: claimed, transactional: true, named: identity.name().is_some() })
    }

    /// Makes everything durable together with the decision, and tells the logs.
    fn decide(
        &self,
        progress: &mut Progress,
        producer: &Producer,
        sources: Vec<(Arc<Log>, Offset)>,
    ) -> Result<Committed> {
        let Some(claimed) = progress.claimed.filter(|_| !progress.written.is_empty()) else {
            return Ok(Committed::default());
        };
        let decided =
            self.claims.append_decision(claimed, &progress.verdict(true), &ends(progress, &sources))?;
        let written =
            progress.written.values().map(|written| (Arc::clone(&written.log), written.offsets.end));
        let table = (Arc::clone(&decided.log), decided.end);
        let targets: Vec<(Arc<Log>, Offset)> = written.chain(sources).chain([table]).collect();
        planted!(a_marker_before_the_decision => self.mark(progress, claimed, decided.next, true));
        if let Err(error) = commit(&targets) {
            return Err(self.take_back(progress, producer, claimed, &decided, error));
        }
        // Whatever these meet, the transaction is decided.
        if self.mark(progress, claimed, decided.next, true) {
            let _ = self.claims.append_complete(claimed, true);
        }
        let _ = self.claims.settle();
        let _ = self.offsets.settle();
        let ranges = progress.written.iter().filter(|(_, written)| !written.log.identity.internal);
        let ranges = ranges.map(|(name, written)| (name.clone(), written.offsets.clone())).collect();
        (progress.claimed, progress.ended) = (Some(decided.next), Some(Ended::ByItself));
        Ok(Committed { ranges })
    }

    /// A flush failed, and the decision may be durable: an abort is decided over it. Where not even that can be made durable,
    /// nobody knows, and the logs wait for the next opening.
    fn take_back(
        &self,
        progress: &mut Progress,
        producer: &Producer,
        claimed: Claimed,
        decided: &Decided,
        cause: Error,
    ) -> Error {
        let decide = || {
            planted!(no_abort_after_a_failed_flush => return Ok(()));
            let end = self.claims.decide_over(claimed, decided)?;
            decided.log.flush_to(end)
        };
        if decide().is_err() {
            // What the producer writes from now on must not become part of what nobody knows about.
            (progress.claimed, progress.ended) = (Some(self.claims.draw()), Some(Ended::ByItself));
            producer
                .identity()
                .give_up_name("nobody knows whether its last transaction counts: open the log again");
            return Error::Unacknowledged { outcome: Outcome::Unknown, cause: Arc::new(cause) };
        }
        self.mark(progress, claimed, decided.next, false);
        (progress.claimed, progress.ended) = (Some(decided.next), Some(Ended::ByItself));
        Error::Aborted { cause: Arc::new(cause) }
    }
}

/// How far each log must have come for a decision to count.
fn ends(progress: &Progress, sources: &[(Arc<Log>, Offset)]) -> Vec<End> {
    let written = progress.written.values().map(|written| {
        let identity = &written.log.identity;
        End {
            topic_id: identity.topic_id,
            partition: identity.name.partition,
            incarnation: written.incarnation,
            offsets: written.offsets.clone(),
        }
    });
    let sources = sources.iter().map(|(log, offset)| End {
        topic_id: log.identity.topic_id,
        partition: log.identity.name.partition,
        incarnation: log.incarnation_of(Offset::MAX),
        offsets: *offset..*offset,
    });
    written.chain(sources).collect()
}

/// What was required of partitions that this transaction does not write to.
fn check_expected(progress: &Progress, expected: &Expected) -> Result<()> {
    let elsewhere = expected.iter().filter(|(partition, _)| !progress.written.contains_key(*partition));
    for (_, (log, offset)) in elsewhere {
        check_end(log, *offset)?;
    }
    Ok(())
}

/// The same without what is required of `log`.
fn without(expected: &Expected, log: &Arc<Log>) -> Expected {
    let others = expected.iter().filter(|(partition, _)| **partition != log.identity.name);
    others.map(|(partition, required)| (partition.clone(), required.clone())).collect()
}
