//! Committing: making several logs durable as one act.
//!
//! Partitions never flush by themselves; whoever needs durability hands in the logs and how far. Today each log's file
//! is flushed, several at a time; a shared journal for small commits can take this place without anybody noticing.

use super::log::Log;
use crate::{
    env::sync::{AtomicUsize, Mutex, Ordering},
    error::{Error, Result},
    types::Offset,
};
use std::sync::Arc;

/// Returns when every log is durable below the offset given with it, or with the first error. Each log whose flush
/// failed is poisoned by itself; of the others `flush_to` says what became of them.
pub fn commit(targets: &[(Arc<Log>, Offset)]) -> Result<()> {
    let Some(((first, end), rest)) = targets.split_first() else { return Ok(()) };
    if rest.is_empty() {
        return first.flush_to(*end);
    }
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let done = AtomicUsize::new(0);
    let jobs = targets.iter().map(|(log, end)| {
        let (failure, done) = (&failure, &done);
        Box::new(move || {
            if let Err(error) = log.flush_to(*end) {
                failure.lock().get_or_insert(error);
            }
            done.fetch_add(1, Ordering::SeqCst);
        }) as Box<dyn FnOnce() + Send + '_>
    });
    first.shared.env.run_all(jobs.collect());
    match failure.into_inner() {
        Some(error) => Err(error),
        None if done.into_inner() == targets.len() => Ok(()),
        // A job that ended in a panic has said nothing, and promised nothing.
        None => Err(Error::io(
            "flush",
            &first.shared.dir,
            std::io::Error::other("a flush did not come to its end"),
        )),
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::{
        Builder, Durability, RecordData, TopicConfig,
        sim::{Fault, FaultKind, Operation, SimEnv},
    };

    #[test]
    fn of_logs_committed_together_the_failed_one_is_poisoned_and_every_caller_hears_of_it() {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
        let config = TopicConfig::default().with_partitions(3).durability(Durability::Written);
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
        assert!(commit(&targets[..1]).is_ok(), "those who had nothing to do with it go on");
    }
}
