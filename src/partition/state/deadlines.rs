//! When a log wants something done in the background: a flush, a checkpoint.
//!
//! An append sets the time once; whoever does background work looks at it. Looking costs one load per log.

use crate::{
    env::sync::{AtomicU64, Ordering},
    error::{Error, Result},
    partition::{
        log::Log,
        state::{settings::LogConfig, troubles::Chore},
    },
    storage::data_dir::DataDir,
    types::Durability,
};
use std::{sync::Arc, time::Duration};

/// How much may be appended before a checkpoint is due.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// How long appended data may wait for a checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// How long a flush that could not begin waits at least: its own interval may be none.
const RETRY_AFTER: Duration = Duration::from_millis(100);

const NEVER: u64 = u64::MAX;

/// Times on the monotonic clock, in microseconds.
#[derive(Debug)]
pub(in crate::partition) struct Deadlines {
    flush: AtomicU64,
    checkpoint: AtomicU64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines { flush: AtomicU64::new(NEVER), checkpoint: AtomicU64::new(NEVER) }
    }
}

impl Deadlines {
    /// Called after each append, under the log's lock.
    pub(in crate::partition) fn after_append(
        &self,
        data_dir: &DataDir,
        config: &LogConfig,
        since_checkpoint: u64,
    ) {
        if since_checkpoint >= CHECKPOINT_BYTES {
            self.checkpoint_now(data_dir);
        }
        // A `Flushed` topic has nothing that waits; what recovery would read of it is bounded by its size.
        if config.durability == Durability::Flushed {
            return;
        }
        let flush_within = flush_within(config);
        let unset = |time: &AtomicU64| time.load(Ordering::Relaxed) == NEVER;
        let needs_flush =
            flush_within.is_some() && (unset(&self.flush) || planted!(each_append_puts_the_flush_off));
        if !needs_flush && !unset(&self.checkpoint) {
            return;
        }
        let now = data_dir.env.monotonic();
        if let Some(within) = flush_within.filter(|_| needs_flush) {
            self.flush.store(micros(now.saturating_add(within)), Ordering::SeqCst);
        }
        if unset(&self.checkpoint) {
            self.checkpoint.store(micros(now.saturating_add(CHECKPOINT_EVERY)), Ordering::SeqCst);
        }
        data_dir.wake_background();
    }

    /// A flush is due when `config` lets nothing wait longer that is there at `now`. Says whether there is such a time.
    pub(in crate::partition) fn flush_soon(&self, config: &LogConfig, now: Duration) -> bool {
        let within = flush_within(config);
        if let Some(within) = within {
            self.flush.fetch_min(micros(now.saturating_add(within)), Ordering::SeqCst);
        }
        within.is_some()
    }

    /// A checkpoint is due at once.
    pub(in crate::partition) fn checkpoint_now(&self, data_dir: &DataDir) {
        if self.checkpoint.swap(0, Ordering::SeqCst) != 0 {
            data_dir.wake_background();
        }
    }

    fn next(&self) -> Option<Duration> {
        let earliest = self.flush.load(Ordering::SeqCst).min(self.checkpoint.load(Ordering::SeqCst));
        (earliest != NEVER).then(|| Duration::from_micros(earliest))
    }
}

impl Log {
    /// Does the background work that is due at `now` on the monotonic clock, and says when to come back.
    ///
    /// # Errors
    ///
    /// What kept a checkpoint from being taken, or a flush from beginning; it is tried again later. A failed flush has
    /// poisoned the log.
    pub fn run_due(self: &Arc<Self>, now: Duration) -> Result<Option<Duration>> {
        self.do_due(now).map_err(|(_, error)| error)
    }

    /// As [`Log::run_due`], where errors become troubles of the log.
    pub fn run_due_alone(self: &Arc<Self>, now: Duration) -> Option<Duration> {
        match self.do_due(now) {
            Ok(next) => next,
            Err((chore, error)) => {
                self.note_trouble(chore, error);
                self.due.next()
            }
        }
    }

    fn do_due(self: &Arc<Self>, now: Duration) -> Result<Option<Duration>, (Chore, Error)> {
        let due = &self.due;
        let is_due = |time: &AtomicU64| time.load(Ordering::SeqCst) <= micros(now);
        if is_due(&due.checkpoint) {
            due.flush.store(NEVER, Ordering::SeqCst);
            due.checkpoint.store(NEVER, Ordering::SeqCst);
            let checkpoint = self.checkpoint().map_err(|error| (Chore::Checkpoint, error));
            let retain = || self.apply_retention().map_err(|error| (Chore::Retention, error));
            if let Err(error) = checkpoint.and_then(|()| retain()) {
                if self.refusal().is_none() {
                    due.checkpoint.store(micros(now.saturating_add(CHECKPOINT_EVERY)), Ordering::SeqCst);
                    self.flush_again(now);
                }
                return Err(error);
            }
        } else if is_due(&due.flush) {
            if planted!(forget_what_came_during_a_flush) {
                let flushed = self.flush();
                due.flush.store(NEVER, Ordering::SeqCst);
                return flushed.map(|()| due.next()).map_err(|error| (Chore::Flush, error));
            }
            due.flush.store(NEVER, Ordering::SeqCst);
            if let Err(error) = self.flush() {
                self.flush_again(now);
                return Err((Chore::Flush, error));
            }
        }
        Ok(due.next())
    }

    /// After work that ended in its middle: a checkpoint, and with it a flush, is due at `at`.
    pub fn due_again(&self, at: Duration) {
        self.due.checkpoint.fetch_min(micros(at), Ordering::SeqCst);
    }

    /// What was not flushed when it was due at `now` is due again after a pause, where that can succeed.
    fn flush_again(&self, now: Duration) {
        if planted!(a_failed_interval_flush_is_not_tried_again) {
            return;
        }
        let waits = self.refusal().is_none() && self.flusher.flushed() < self.offsets.log_end();
        if let Some(within) = flush_within(&self.config()).filter(|_| waits) {
            let at = now.saturating_add(within.max(RETRY_AFTER));
            self.due.flush.fetch_min(micros(at), Ordering::SeqCst);
        }
    }
}

/// How long appended data may wait for a flush that nobody asks for.
fn flush_within(config: &LogConfig) -> Option<Duration> {
    match config.durability {
        Durability::Flushed => None,
        Durability::Interval(every) if planted!(flush_ms_takes_nothing_off_the_interval) => Some(every),
        Durability::Interval(every) => Some(config.flush_time.unwrap_or(every).min(every)),
        Durability::Written => config.flush_time,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        Durability, RecordData, TopicConfig,
        config::{Builder, ConfigChange},
        sim::{Crash, SimEnv},
    };
    use std::time::Duration;

    #[test]
    fn what_is_appended_after_the_interval_became_shorter_is_flushed_within_the_shorter_one() {
        for before in [Durability::Interval(Duration::from_secs(3600)), Durability::Written] {
            let env = SimEnv::new(1);
            let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
            let config = TopicConfig::default().durability(before);
            let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
            partition.append(&[RecordData::new("before")]).unwrap();
            log.alter_topic("t", &[ConfigChange::set("streamlog.durability", "interval:100")]).unwrap();
            partition.append(&[RecordData::new("after")]).unwrap();
            env.advance(Duration::from_millis(101));
            log.maintain().unwrap();
            let log = Builder::env(&env.crash(Crash::Nothing, 1), "/data").open().unwrap();
            assert_eq!(log.topic("t").unwrap().partition(0).unwrap().log_end_offset(), 2, "{before:?}");
        }
    }
}
