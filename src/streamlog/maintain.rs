//! Background work that a call does: all of it, or as much as fits into a time.
//!
//! A round is a list of steps, each of one log, which takes its turn whether it has something to do or not. The steps
//! that a call leaves are kept in the handle, and the next call continues there, so that short calls complete a round
//! too. Lingering records are not a step of a round: every call begins with those that are due.

use super::Inner;
use crate::{
    env::sync::Mutex,
    error::{Error, Result},
    partition::{log::Log, write::retention},
    topic::duty::Duty,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// The steps of a round that are still to do.
#[derive(Default)]
pub(super) struct Round {
    steps: Mutex<VecDeque<Step>>,
}

/// A piece of a round.
enum Step {
    /// What deletions left.
    Leftovers,
    /// The flush and the checkpoint of a log that are due.
    Due(Arc<Log>),
    /// The retention of a log.
    Retention(Arc<Log>),
    /// A piece of the compaction that is due.
    Compaction,
    /// What more is used than the disk budget allows.
    Budget,
}

impl Inner {
    /// A whole round.
    pub(super) fn maintain(&self) -> Result<()> {
        self.begin_maintenance()?;
        self.round.steps.lock().clear();
        let mut result = Ok(());
        for step in self.steps_of_a_round() {
            let mut left = Some(step);
            while let Some(step) = left {
                let (more, done) = self.take_step(step);
                (left, result) = (more, result.and(done));
            }
        }
        result
    }

    /// The next steps of a round, until `time` is over; returns whether some are left.
    pub(super) fn maintain_for(&self, time: Duration) -> Result<bool> {
        let env = &self.catalog.data_dir().env;
        let deadline = env.monotonic().saturating_add(time);
        self.begin_maintenance()?;
        let mut steps = self.round.steps.lock();
        if steps.is_empty() {
            *steps = self.steps_of_a_round();
        }
        drop(steps);
        let mut result = Ok(());
        loop {
            let Some(step) = self.round.steps.lock().pop_front() else { return result.map(|()| false) };
            let (more, done) = self.take_step(step);
            if let Some(more) = more {
                self.round.steps.lock().push_front(more);
            }
            result = result.and(done);
            if env.monotonic() >= deadline {
                return result.map(|()| !self.round.steps.lock().is_empty());
            }
        }
    }

    /// What every call begins with.
    fn begin_maintenance(&self) -> Result<()> {
        self.check_open()?;
        self.catalog.data_dir().check_writable()?;
        self.catalog.schedule().run_due(Duty::Batches);
        self.catalog.schedule().run_due(Duty::Transactions);
        Ok(())
    }

    fn steps_of_a_round(&self) -> VecDeque<Step> {
        let logs = self.catalog.logs();
        let of_logs = logs.into_iter().flat_map(|log| [Step::Due(Arc::clone(&log)), Step::Retention(log)]);
        let budget = self.catalog.data_dir().space.is_to_shrink().then_some(Step::Budget);
        // What compaction frees need not be dropped.
        [Step::Leftovers].into_iter().chain(of_logs).chain([Step::Compaction]).chain(budget).collect()
    }

    /// Takes a step; returns what is left of it, and what became of it.
    fn take_step(&self, step: Step) -> (Option<Step>, Result<()>) {
        let done = match step {
            Step::Leftovers => self.catalog.remove_leftovers(),
            Step::Due(log) => match log.run_due(self.catalog.data_dir().env.monotonic()) {
                // Its topic was deleted since the round began.
                Err(Error::Closed { .. }) => Ok(()),
                done => done,
            },
            Step::Retention(log) => retention::apply(&log).map(drop),
            Step::Compaction => {
                return match self.cleaner.step() {
                    Ok(step) => (step.is_more.then_some(Step::Compaction), Ok(())),
                    // That log is parked, and others may be due.
                    Err(error) => (Some(Step::Compaction), Err(error)),
                };
            }
            Step::Budget => {
                self.catalog.data_dir().space.shrink_to_budget();
                Ok(())
            }
        };
        (None, done)
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{RecordData, Streamlog, TopicConfig, config::Builder, sim::SimEnv, types::Timestamp};
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn log_of_old_records(env: &SimEnv) -> Streamlog {
        let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
        let topic = log.create_topic("t", TopicConfig::default().partitions(3)).unwrap();
        for partition in topic.partitions() {
            partition.append(&[RecordData::new("old").timestamp(Timestamp::from_millis(1))]).unwrap();
        }
        log.topic_or_create("t", TopicConfig::default().retention_time(DAY)).unwrap();
        log
    }

    /// How many of the partitions have removed their record.
    fn removed(log: &Streamlog) -> u64 {
        log.topic("t").unwrap().partitions().iter().map(|p| p.log_start_offset().value()).sum()
    }

    #[test]
    fn calls_without_time_take_a_step_each_and_come_around() {
        let log = log_of_old_records(&SimEnv::new(1));
        let mut seen = vec![];
        while log.maintain_for(Duration::ZERO).unwrap() {
            seen.push(removed(&log));
        }
        // The leftovers, two steps for each partition, and a look at what is to be compacted, which leaves nothing.
        assert_eq!((seen, removed(&log)), (vec![0, 0, 1, 1, 2, 2, 3], 3));
        assert!(log.maintain_for(Duration::ZERO).unwrap(), "another round");
        assert!(!log.maintain_for(Duration::MAX).unwrap());
    }

    #[test]
    fn a_call_with_time_enough_does_all_that_is_due_and_so_does_maintain_after_half_a_round() {
        let log = log_of_old_records(&SimEnv::new(1));
        assert!(!log.maintain_for(Duration::MAX).unwrap());
        assert_eq!(removed(&log), 3);
        let log = log_of_old_records(&SimEnv::new(1));
        assert!(log.maintain_for(Duration::ZERO).unwrap());
        log.maintain().unwrap();
        assert_eq!(removed(&log), 3);
        log.clone().close().unwrap();
        assert!(log.maintain_for(Duration::MAX).is_err());
    }
}
