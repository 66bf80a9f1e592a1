//! Committing: making several logs durable as one act.
//!
//! Partitions never flush by themselves; whoever needs durability hands in the logs and how far. Today each log's file
//! is flushed, several at a time; a shared journal for small commits can take this place without anybody noticing.

use super::log::Log;
use crate::{
    env::sync::Mutex,
    error::{Error, Result},
    types::Offset,
};
use std::sync::Arc;

/// Returns when every log is durable below the offset given with it, or with the first error.
pub fn commit(targets: &[(Arc<Log>, Offset)]) -> Result<()> {
    let Some(((first, end), rest)) = targets.split_first() else { return Ok(()) };
    if rest.is_empty() {
        return first.flush_to(*end);
    }
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let jobs = targets.iter().map(|(log, end)| {
        let failure = &failure;
        Box::new(move || {
            if let Err(error) = log.flush_to(*end) {
                failure.lock().get_or_insert(error);
            }
        }) as Box<dyn FnOnce() + Send + '_>
    });
    first.shared.env.run_all(jobs.collect());
    failure.into_inner().map_or(Ok(()), Err)
}
