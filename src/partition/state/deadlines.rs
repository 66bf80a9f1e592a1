//! When a log wants something done in the background: a flush, a checkpoint.
//!
//! An append sets a time once, and rings the log's [`Alarm`]; the rooms above see to it that somebody comes then. Looking
//! costs two loads.

use crate::{
    env::sync::{AtomicU64, OnceLock, Ordering},
    partition::state::settings::LogConfig,
    storage::data_dir::DataDir,
    types::Durability,
};
use std::{fmt, time::Duration};

/// How much may be appended before a checkpoint is due.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// How long appended data may wait for a checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

const NEVER: u64 = u64::MAX;

/// Called with a time on the monotonic clock at which a log has something to do, maybe under the log's locks. It must not
/// call the log, nor wait.
pub type Alarm = Box<dyn Fn(Duration) + Send + Sync>;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) enum Due {
    Flush,
    /// Which flushes first.
    Checkpoint,
}

/// Times on the monotonic clock, in microseconds.
pub(in crate::partition) struct Deadlines {
    flush: AtomicU64,
    checkpoint: AtomicU64,
    alarm: OnceLock<Alarm>,
    /// How often somebody looked.
    #[cfg(all(test, feature = "sim"))]
    pub(in crate::partition) looks: crate::env::sync::AtomicUsize,
}

impl Default for Deadlines {
    fn default() -> Self {
        let (flush, checkpoint) = (AtomicU64::new(NEVER), AtomicU64::new(NEVER));
        Deadlines {
            flush,
            checkpoint,
            alarm: OnceLock::new(),
            #[cfg(all(test, feature = "sim"))]
            looks: Default::default(),
        }
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").field("next", &self.next()).finish_non_exhaustive()
    }
}

impl Deadlines {
    /// Called after each append, under the log's lock.
    #[inline]
    pub(in crate::partition) fn after_append(
        &self,
        data_dir: &DataDir,
        config: &LogConfig,
        since_checkpoint: u64,
    ) {
        if since_checkpoint >= CHECKPOINT_BYTES {
            self.checkpoint_now();
        }
        // A `Flushed` topic has nothing that waits; what recovery would read of it is bounded by its size.
        if config.durability == Durability::Flushed {
            return;
        }
        let flush_within = flush_within(config);
        let unset = |time: &AtomicU64| time.load(Ordering::Relaxed) == NEVER;
        let mut needs_flush = flush_within.is_some() && unset(&self.flush);
        planted!(each_append_puts_the_flush_off => needs_flush = flush_within.is_some());
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
        self.ring();
    }

    /// A flush is due when `config` lets nothing wait longer that is there at `now`.
    pub(in crate::partition) fn flush_soon(&self, config: &LogConfig, now: Duration) {
        if let Some(within) = flush_within(config) {
            self.flush_at(now.saturating_add(within));
            self.ring();
        }
    }

    /// A checkpoint is due at once.
    pub(in crate::partition) fn checkpoint_now(&self) {
        if self.checkpoint.swap(0, Ordering::SeqCst) != 0 {
            self.ring();
        }
    }

    /// A flush is due at `at`, or earlier.
    pub(in crate::partition) fn flush_at(&self, at: Duration) {
        self.flush.fetch_min(micros(at), Ordering::SeqCst);
    }

    /// A checkpoint is due at `at`, or earlier.
    pub(in crate::partition) fn checkpoint_at(&self, at: Duration) {
        self.checkpoint.fetch_min(micros(at), Ordering::SeqCst);
    }

    /// The next checkpoint is tried a while after `now`.
    pub(in crate::partition) fn put_checkpoint_off(&self, now: Duration) {
        self.checkpoint.store(micros(now.saturating_add(CHECKPOINT_EVERY)), Ordering::SeqCst);
    }

    /// Takes what is due at `now`, before it is done: what comes up from here on is due again.
    pub(in crate::partition) fn take(&self, now: Duration) -> Option<Due> {
        let is_due = |time: &AtomicU64| time.load(Ordering::SeqCst) <= micros(now);
        let due = match (is_due(&self.checkpoint), is_due(&self.flush)) {
            (true, _) => Due::Checkpoint,
            (false, true) => Due::Flush,
            (false, false) => return None,
        };
        self.flush.store(NEVER, Ordering::SeqCst);
        if due == Due::Checkpoint {
            self.checkpoint.store(NEVER, Ordering::SeqCst);
        }
        Some(due)
    }

    /// From now on `alarm` is rung for every time that comes up, and for the one that is set.
    pub(in crate::partition) fn connect(&self, alarm: Alarm) {
        let _ = self.alarm.set(alarm);
        self.ring();
    }

    /// Rings the alarm for the next time, if there is one.
    pub(in crate::partition) fn ring(&self) {
        if let (Some(alarm), Some(next)) = (self.alarm.get(), self.next()) {
            alarm(next);
        }
    }

    /// The next time at which anything is due.
    pub(in crate::partition) fn next(&self) -> Option<Duration> {
        let earliest = self.flush.load(Ordering::SeqCst).min(self.checkpoint.load(Ordering::SeqCst));
        (earliest != NEVER).then(|| Duration::from_micros(earliest))
    }
}

/// How long appended data may wait for a flush that nobody asks for.
pub(in crate::partition) fn flush_within(config: &LogConfig) -> Option<Duration> {
    match config.durability {
        Durability::Flushed => None,
        Durability::Interval(every) => {
            planted!(flush_ms_takes_nothing_off_the_interval => return Some(every));
            Some(config.flush_time.unwrap_or(every).min(every))
        }
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
