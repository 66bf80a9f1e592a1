//! Committing: making several logs durable as one act.
//!
//! Partitions never flush by themselves: a caller that needs durability hands in the logs, and how far each must be
//! durable. Today each log's file is flushed, several at a time; a shared journal for small commits can take this place
//! without any caller noticing.

use crate::{
    env::{Job, sync::Mutex},
    error::{Error, Result},
    partition::log::Log,
    storage::data_dir::DataDir,
    types::Offset,
};
use std::{io, sync::Arc};

/// The outcome of jobs that run at the same time.
#[derive(Default)]
struct Outcome {
    ended: usize,
    failure: Option<Error>,
}

/// Returns when every log is durable below the offset given with it, or with the first error. Only the logs whose flush
/// failed are poisoned; `flush_to` reports what became of the others.
pub fn commit(targets: &[(Arc<Log>, Offset)]) -> Result<()> {
    let Some(((first, end), rest)) = targets.split_first() else { return Ok(()) };
    if rest.is_empty() {
        return first.flush_to(*end);
    }
    run_all(
        &first.data_dir,
        targets.iter().map(|(log, end)| {
            let (log, end) = (Arc::clone(log), *end);
            move || log.flush_to(end)
        }),
    )
}

/// Runs every job to its end, several at a time, and returns the first error.
pub fn run_all<W>(data_dir: &DataDir, jobs: impl Iterator<Item = W>) -> Result<()>
where
    W: FnOnce() -> Result<()> + Send + 'static,
{
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let jobs = jobs.map(|job| -> Job {
        let outcome = Arc::clone(&outcome);
        Box::new(move || {
            let result = job();
            let mut outcome = outcome.lock();
            outcome.ended += 1;
            if let Err(error) = result {
                outcome.failure.get_or_insert(error);
            }
        })
    });
    let jobs: Vec<Job> = jobs.collect();
    let count = jobs.len();
    data_dir.env.run_all(jobs);
    let mut outcome = outcome.lock();
    match outcome.failure.take() {
        Some(error) => Err(error),
        None if outcome.ended == count => Ok(()),
        // A job that ended in a panic has reported nothing, and promised nothing.
        None => Err(Error::io("flush", &data_dir.dir, io::Error::other("a flush did not finish"))),
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Durability, RecordData, TopicConfig,
        config::Builder,
        partition::write::commit::*,
        sim::{Fault, FaultKind, Operation, SimEnv},
    };

    #[test]
    fn of_logs_committed_together_the_failed_one_is_poisoned_and_every_caller_hears_of_it() {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
        let config = TopicConfig::default().partitions(3).durability(Durability::Written);
        let topic = log.create_topic("t", config).unwrap();
        let partitions = topic.partitions();
        let targets = partitions.iter().map(|p| {
            p.append(&[RecordData::new("x")]).unwrap();
            (Arc::clone(p.log()), Offset::new(1))
        });
        let targets: Vec<_> = targets.collect();
        env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path("t-1/"));
        for _ in 0..2 {
            assert!(matches!(commit(&targets), Err(Error::Poisoned { .. })));
        }
        let refusals: Vec<bool> = targets.iter().map(|(log, _)| log.refusal().is_some()).collect();
        assert_eq!(refusals, [false, true, false]);
        assert!(matches!(targets[1].0.flush_to(Offset::new(1)), Err(Error::Poisoned { .. })));
        assert!(
            targets[0].0.flush_to(Offset::new(1)).is_ok() && targets[2].0.flush_to(Offset::new(1)).is_ok()
        );
        assert!(commit(&targets[..1]).is_ok(), "the others continue");
    }
}
