//! What is done in the background, and which of the two tasks does it.
//!
//! | word | what it is | where |
//! |---|---|---|
//! | task | one of the two background threads' loops: [`TaskName`] | here; `streamlog/background.rs` runs them |
//! | duty | a kind of background work, and what an entry of the schedule is about: [`Duty`] | here |
//! | caretaker | a log, a producer's buffer or the handle: it lists itself for a duty, and does that | `topic/caretaker.rs`, `topic/schedule.rs` |
//! | due | a log's word for the duties that it has a time for: its flush, its checkpoint | `partition/state/deadlines.rs` |
//! | chore | a log's word for background work that failed, until the same work succeeds | `partition/state/troubles.rs` |
//! | step | what one turn of [`maintain`](crate::Streamlog::maintain) does | `streamlog/maintain.rs` |
//!
//! A new duty touches: this file, for its name and its task; its caretaker's `attend` and `list_again`, which is the `Log`
//! in `topic/caretaker.rs` for the work of one log (with a time in `deadlines.rs`, done in `partition/write/upkeep.rs`),
//! or `Background` in `streamlog/background.rs` for the work of the handle, or the transactions' `Coordinator`; a step in `maintain.rs`, so that a handle
//! without threads does it too; a chore in `troubles.rs`, so that its failure shows in the health. Each `match` over the
//! duties is exhaustive, and so the compiler names the rest.

/// A background task. There are two, so that long work never delays a record that waits for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskName {
    /// What is promised within milliseconds.
    Work,
    /// What may take long, and may be late.
    Care,
}

impl TaskName {
    /// Both.
    pub const ALL: [TaskName; 2] = [TaskName::Work, TaskName::Care];

    /// Its duties, in the order in which it serves them: records that wait for an acknowledgement first.
    pub fn duties(self) -> &'static [Duty] {
        match self {
            TaskName::Work => &[Duty::Batches, Duty::Flushes, Duty::Transactions],
            TaskName::Care => &[Duty::Checkpoints, Duty::Retention, Duty::Compaction],
        }
    }

    /// After which its thread is named.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskName::Work => "work",
            TaskName::Care => "care",
        }
    }
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Duty {
    /// Batches that linger. Without a task, producers' calls serve it.
    Batches,
    /// Flushes that a log's settings ask for. Without a task, `maintain` does the work.
    Flushes,
    /// The abort of transactions whose time is over. Without a task, `maintain` does the work, and polls of `read_committed` that
    /// wait for one.
    Transactions,
    /// Checkpoints, and the work that a roll left to them. Without a task, `maintain` does the work.
    Checkpoints,
    /// The removal of segments by age or size. Without a task, calls do the work now and then.
    Retention,
    /// Cleaning logs of which the newest record of each key stays. Without a task, `maintain` does the work.
    Compaction,
}

impl Duty {
    /// The task that serves it.
    pub fn task(self) -> TaskName {
        match self {
            Duty::Batches | Duty::Flushes | Duty::Transactions => TaskName::Work,
            Duty::Checkpoints | Duty::Retention | Duty::Compaction => TaskName::Care,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duty_is_one_tasks() {
        for task in TaskName::ALL {
            assert!(task.duties().iter().all(|duty| duty.task() == task));
        }
    }
}
