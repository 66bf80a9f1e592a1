//! Rewriting the log: the snapshot is appended and flushed, and everything before it is removed.

use super::{State, batches::append, loaded::Loaded, runtime::Table};
use crate::{
    env::sync::{Ordering, Signal},
    error::Result,
    partition::{log::Log, write::log_start::advance_log_start},
};
use std::time::Duration;

/// For how long rewriting waits for the end of transactions, and how often it looks. Appending waits as long.
const PATIENCE: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl<S: State> Table<S> {
    /// Rewrites the log if it has grown enough.
    pub(super) fn rewrite_when_due(&self) -> Result<()> {
        let Some(topic) = self.catalog.find(S::TOPIC) else { return Ok(()) };
        let log = topic.log(0)?;
        if log.size() <= self.rewrite_above.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _one_at_a_time = self.appending.lock();
        if log.size() <= self.rewrite_above.load(Ordering::Relaxed) {
            return Ok(());
        }
        // A log with an unreadable record is not replaced: no trace of it would remain.
        if !self.read(State::is_whole)? {
            self.put_off(&log);
            return Ok(());
        }
        // All appended records count, acknowledged or not.
        log.flush()?;
        if !self.transactions_end()? {
            self.put_off(&log);
            return Ok(());
        }
        self.before_rewriting.as_ref().map_or(Ok(()), |hook| hook())?;
        let records = self.read(|state| state.is_whole().then(|| state.snapshot()))?;
        let Some(records) = records else {
            self.put_off(&log);
            return Ok(());
        };
        let size_before = log.size();
        planted!(forget_before_the_values_are_there_again => advance_log_start(&log, log.offsets().log_end())?);
        let now = self.catalog.data_dir().env.now();
        let range = append(&log, &records, self.thresholds.chunk_bytes, now, None)?;
        unless_planted!(forget_before_the_values_are_durable_again => log.acknowledge(range.end, true)?);
        let live = log.size().saturating_sub(size_before);
        let above = self.thresholds.rewrite_above.max(live.saturating_mul(3));
        self.rewrite_above.store(above, Ordering::Relaxed);
        advance_log_start(&log, range.start)?;
        let env = &*self.catalog.data_dir().env;
        let again = |loaded: &mut Loaded<S>| {
            // What the snapshot left out is not in this state either.
            loaded.load_again()?;
            // The sidecar only saves time.
            loaded.write_sidecar(env).or(Ok(()))
        };
        self.with_loaded(|loaded| loaded.map_or(Ok(()), again))?
    }

    /// Whether no record waits for the end of a transaction. Those that do get a moment for it, the flush of a commit: none
    /// begins, for appending is locked, so that rewriting is not put off again and again where transactions are busy.
    fn transactions_end(&self) -> Result<bool> {
        let env = &*self.catalog.data_dir().env;
        let (signal, until) = (Signal::new(), env.monotonic().saturating_add(PATIENCE));
        while self.read(State::awaits_an_end)? {
            let now = env.monotonic();
            if now >= until {
                return Ok(false);
            }
            env.wait(&signal, signal.epoch(), Some(now.saturating_add(LOOK_AGAIN)));
        }
        Ok(true)
    }

    /// Postpones the rewriting until the log has grown by as much again.
    pub(super) fn put_off(&self, log: &Log) {
        self.rewrite_above.store(log.size() + self.thresholds.rewrite_above, Ordering::Relaxed);
    }
}
