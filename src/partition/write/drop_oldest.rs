//! Room in the disk budget: the oldest sealed segment over all logs makes way.
//!
//! `retention_plan` decides what may go; here it is put in order, by the time that retention goes by. What another rule
//! removes anyway goes first, for that costs nobody a record. The caller holds no lock of a log.

use crate::{
    error::Result,
    partition::{
        log::Log,
        state::troubles::Chore,
        write::{
            remove::Look,
            retention,
            retention_plan::{RetentionPlan, Scope, Turn},
        },
    },
    storage::{budget::Budget, segment::Segment},
    types::{Offset, Timestamp},
};
use std::sync::Arc;

/// Removes what retention would remove anyway from these logs, or else the oldest segments of them that may go, as many as
/// together have `bytes`; none where all that may go have less, for the append would be refused all the same. Returns whether
/// anything went. What fails is a trouble of its log.
pub fn drop_oldest(logs: &[Arc<Log>], bytes: u64) -> bool {
    let due = logs.iter().filter(|log| has_due(log));
    let due = due.filter_map(|log| or_trouble(log, retention::apply(log))).sum::<usize>();
    // A file that cannot be removed frees nothing, and the next one would not either.
    let mut is_stuck = logs.iter().any(|log| !log.unremoved.lock().is_empty());
    planted!(drop_what_frees_nothing => is_stuck = false);
    if due > 0 || is_stuck {
        return due > 0;
    }
    let enough = oldest_of(logs, bytes).unwrap_or_default();
    enough.into_iter().map_while(|(log, base)| or_trouble(log, drop_first(log, base))).sum::<usize>() > 0
}

/// Whether retention would remove something, or has left a file: others need not wait for their checkpoints.
fn has_due(log: &Arc<Log>) -> bool {
    let goes = |look: Look| RetentionPlan::new(log, &look, Scope::All(log)).removable().is_ok_and(|n| n > 0);
    !log.unremoved.lock().is_empty() || Look::at(log).is_some_and(goes)
}

/// The logs and bases of the oldest segments that have `bytes` together.
fn oldest_of(logs: &[Arc<Log>], bytes: u64) -> Option<Vec<(&Arc<Log>, Offset)>> {
    let (mut found, mut sum) = (Vec::new(), 0u64);
    oldest_first(logs, &mut |i, oldest| {
        sum = sum.saturating_add(oldest.taken());
        found.extend(logs.get(i).map(|log| (log, oldest.base())));
        sum < bytes
    });
    let mut is_enough = sum >= bytes;
    planted!(drop_for_what_never_fits => is_enough = true);
    is_enough.then_some(found)
}

/// The turns of the first segments of each log, as many as the budget may drop.
pub fn outlook(logs: &[Arc<Log>], budget: &Budget) -> Vec<Vec<Turn>> {
    let mut turns = vec![Vec::new(); logs.len()];
    let (left, excess) = (budget.left(), budget.excess());
    let (mut before, mut older) = (0u64, 0);
    oldest_first(logs, &mut |i, segment| {
        let missing =
            if before < excess { 0 } else { (before - excess).saturating_add(left).saturating_add(1) };
        if let Some(of_log) = turns.get_mut(i) {
            of_log.push(Turn { base: segment.base(), missing, older });
        }
        before = before.saturating_add(segment.taken());
        older += 1;
        true
    });
    turns
}

fn or_trouble(log: &Log, done: Result<usize>) -> Option<usize> {
    done.map_err(|error| log.note_trouble(Chore::Retention, error)).ok()
}

/// Removes the first segment of the log, if that is still the one at `base` and may still go.
fn drop_first(log: &Arc<Log>, base: Offset) -> Result<usize> {
    let _no_checkpoint = log.checkpointing.lock();
    let Some(look) = Look::at(log) else { return Ok(0) };
    let [first, second, ..] = look.segments.as_slice() else { return Ok(0) };
    if first.base() != base || RetentionPlan::new(log, &look, Scope::Budget(log)).removable()? == 0 {
        return Ok(0);
    }
    log.flush_to(second.base())?;
    look.remove(log, 1)
}

/// The segments of a log that would go, one after the other.
struct Queue<'a> {
    number: usize,
    plan: RetentionPlan<'a>,
    next: Option<(Timestamp, &'a Arc<Segment>)>,
}

impl<'a> Queue<'a> {
    /// `None` where nothing would go.
    fn of(number: usize, log: &'a Arc<Log>, look: &'a Look) -> Option<Self> {
        let mut plan = RetentionPlan::new(log, look, Scope::Budget(log));
        let next = Some(plan.next_to_go()?);
        Some(Queue { number, plan, next })
    }
}

/// Shows `visit` the number of a log and the segment of it that would go next, oldest first over all logs, as long as it
/// wants to see more.
fn oldest_first(logs: &[Arc<Log>], visit: &mut dyn FnMut(usize, &Arc<Segment>) -> bool) {
    let looks: Vec<Option<Look>> = logs.iter().map(|log| Look::at(log)).collect();
    let seen = logs.iter().zip(&looks).enumerate();
    let mut queues: Vec<Queue<'_>> =
        seen.filter_map(|(i, (log, look))| Queue::of(i, log, look.as_ref()?)).collect();
    planted!(one_topic_pays_for_all => queues.truncate(1));
    loop {
        let waiting = queues.iter_mut().filter_map(|queue| Some((queue.next?, queue)));
        let Some(((_, segment), oldest)) = waiting.min_by_key(|((time, _), _)| *time) else { return };
        if !visit(oldest.number, segment) {
            return;
        }
        oldest.next = oldest.plan.next_to_go();
    }
}
