//! What is done in the background, and which of the two tasks does it.

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
    pub fn duties(self) -> [Duty; 2] {
        match self {
            TaskName::Work => [Duty::Batches, Duty::Flushes],
            TaskName::Care => [Duty::Checkpoints, Duty::Retention],
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
    /// Checkpoints, and the work that a roll left to them. Without a task, `maintain` does the work.
    Checkpoints,
    /// The removal of segments by age or size. Without a task, calls do the work now and then.
    Retention,
}

impl Duty {
    /// The task that serves it.
    pub fn task(self) -> TaskName {
        match self {
            Duty::Batches | Duty::Flushes => TaskName::Work,
            Duty::Checkpoints | Duty::Retention => TaskName::Care,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duty_is_one_tasks() {
        for task in TaskName::ALL {
            assert_eq!(task.duties().map(Duty::task), [task; 2]);
        }
    }
}
