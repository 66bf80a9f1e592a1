//! The door for work that has a time: a batch that lingers, a log with something to flush, a session that runs out.
//!
//! A caretaker puts itself into the [`Schedule`](super::schedule::Schedule) under the time at which it wants to be
//! attended, and is attended once for each entry, at that time or later, by the background task that serves the entry's
//! [`Duty`] or by a call that does the task's work. It knows neither threads nor the other caretakers. The schedule knows
//! nothing of the work.
//!
//! The contract:
//!
//! * **An entry is a look, not an order.** A caretaker looks at its own state for what is due. If another call has done
//!   the work in between, the look finds nothing to do; the schedule removes no entry early.
//! * **A time is never lost.** The schedule keeps the earliest time of each caretaker. An entry is gone before
//!   [`attend`](Caretaker::attend) is called, so a time that comes up during the look gets an entry of its own, which
//!   stays when the look returns a later time.
//! * **What is left is returned.** `attend` returns the time of its next look, and the round puts it back. The
//!   caretaker puts in every other time itself, such as one that comes up in a call or in
//!   [`settle`](Caretaker::settle).
//! * **What was written is committed together.** After all caretakers of a round have been attended, one commit makes
//!   durable what they name in [`written`](Caretaker::written), and each gets the result.
//! * **Several threads may attend at the same time**, even the same caretaker: the two tasks, `maintain`, a producer's call.
//! * **A panic ends one look.** The caretaker is asked to list itself again, and the rest of the round continues.
//!
//! Locks: a caretaker may hold its own locks, a log's included, while it puts itself in, for the schedule's lock is the last
//! one taken and is held over no call. `attend` and `settle` are called without any lock and may take all of theirs. They
//! must not wait for another caretaker, nor run code of the user's.

use super::duty::Duty;
use crate::{
    error::Result,
    partition::{log::Log, state::deadlines::Due, write::commit::commit},
    types::Offset,
};
use std::{sync::Arc, time::Duration};

/// The result of attending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attended {
    /// When the next look is due, on the monotonic clock.
    pub next: Option<Duration>,
    /// Whether [`Caretaker::written`] has something to be made durable now.
    pub wrote: bool,
}

/// See the head of the file.
pub trait Caretaker: Send + Sync {
    /// Does the work of `duty` that is due at `now` on the monotonic clock.
    fn attend(self: Arc<Self>, duty: Duty, now: Duration) -> Attended;

    /// The log that was written, and how far it must be durable for the work to count.
    fn written(&self) -> Option<(Arc<Log>, Offset)> {
        None
    }

    /// Its log is durable below `end`, or could not be made so for this reason.
    fn settle(&self, _end: Offset, _result: &Result<()>) {}

    /// A look at it for `duty` ended in a panic, or never began: it lists itself again for `at`, if it has anything to do.
    fn list_again(&self, duty: Duty, at: Duration);
}

/// A log is attended for its flush by one task and for its checkpoint by the other.
impl Caretaker for Log {
    fn attend(self: Arc<Self>, duty: Duty, now: Duration) -> Attended {
        let next = due_of(duty).and_then(|due| self.run_due_alone(due, now));
        Attended { next, wrote: false }
    }

    fn list_again(&self, duty: Duty, at: Duration) {
        if let Some(due) = due_of(duty) {
            self.due_again(due, at);
        }
    }
}

/// What a log calls this duty.
fn due_of(duty: Duty) -> Option<Due> {
    match duty {
        Duty::Flushes => Some(Due::Flush),
        Duty::Checkpoints => Some(Due::Checkpoint),
        Duty::Batches | Duty::Transactions | Duty::Retention | Duty::Compaction => None,
    }
}

/// The duty under which a log is listed for this.
pub fn duty_of(due: Due) -> Duty {
    match due {
        Due::Flush => Duty::Flushes,
        Due::Checkpoint => Duty::Checkpoints,
    }
}

/// Makes durable what these have written, with one commit, and settles each.
pub fn commit_all<'a>(caretakers: impl IntoIterator<Item = &'a dyn Caretaker>) {
    let written = caretakers.into_iter().filter_map(|caretaker| Some((caretaker, caretaker.written()?)));
    let (caretakers, targets): (Vec<_>, Vec<(Arc<Log>, Offset)>) = written.unzip();
    let all = commit(&targets);
    for (caretaker, (log, end)) in caretakers.into_iter().zip(&targets) {
        // The first failure is that of one partition; each log knows its own result without another attempt.
        let result = all.clone().or_else(|_| log.flush_to(*end));
        caretaker.settle(*end, &result);
    }
}
