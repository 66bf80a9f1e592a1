//! When a log wants something done in the background: a flush, a checkpoint.
//!
//! An append sets a time once, and rings the log's [`Alarm`]; the rooms above see to it that the work is done then.
//! Checking the time costs two loads.

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

/// Called, perhaps under the log's locks, with the time on the monotonic clock at which a log has something to do. It
/// must neither call the log nor wait.
pub type Alarm = Box<dyn Fn(Duration) + Send + Sync>;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) enum Due {
    Flush,
    /// It flushes first.
    Checkpoint,
}

/// Times on the monotonic clock, in microseconds.
pub(in crate::partition) struct Deadlines {
    flush: AtomicU64,
    checkpoint: AtomicU64,
    alarm: OnceLock<Alarm>,
    /// How often a caller looked.
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
        // In a `Flushed` topic nothing waits, and what a recovery would read of it is bounded by `CHECKPOINT_BYTES`.
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

    /// A flush is due when `config` lets data that is there at `now` wait no longer.
    pub(in crate::partition) fn flush_soon(&self, config: &LogConfig, now: Duration) {
        if let Some(within) = flush_within(config) {
            self.flush_at(now.saturating_add(within));
            self.ring();
        }
    }

    /// A checkpoint is due now.
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

    /// Takes the work that is due at `now`, before it is done: work that comes up from here on is due again.
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

    /// From now on `alarm` is rung for every time that is set, and for the one that is set already.
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
        partition::state::deadlines::*,
        sim::{Crash, SimEnv},
    };
    use std::sync::{Arc, Mutex};

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_due_is_taken_once_and_at_its_time() {
        let due = Deadlines::default();
        assert_eq!((due.take(Duration::MAX), due.next()), (None, None));
        due.flush_at(secs(3));
        due.flush_at(secs(5));
        due.checkpoint_at(secs(9));
        due.checkpoint_at(secs(10));
        assert_eq!(due.next(), Some(secs(3)), "the earlier one counts");
        assert_eq!(due.take(Duration::from_micros(2_999_999)), None);
        assert_eq!(
            (due.take(secs(3)), due.take(secs(3)), due.next()),
            (Some(Due::Flush), None, Some(secs(9)))
        );
        // A checkpoint flushes first.
        due.flush_at(secs(4));
        assert_eq!((due.take(secs(9)), due.next()), (Some(Due::Checkpoint), None));
        due.put_checkpoint_off(secs(20));
        assert_eq!((due.take(secs(29)), due.take(secs(30))), (None, Some(Due::Checkpoint)));
    }

    #[test]
    fn the_alarm_rings_for_what_comes_up_and_for_what_is_set_already() {
        let due = Deadlines::default();
        due.checkpoint_at(secs(7));
        let rung = Arc::new(Mutex::new(Vec::new()));
        let bell = Arc::clone(&rung);
        due.connect(Box::new(move |at| bell.lock().unwrap().push(at)));
        let log = crate::Streamlog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicConfig::default()).unwrap();
        let config = topic.partition(0).unwrap().log().config();
        let interval = |every| {
            let mut config = LogConfig::clone(&config);
            config.values.durability = Durability::Interval(every);
            config
        };
        due.flush_soon(&config, secs(1));
        due.flush_soon(&interval(secs(2)), secs(1));
        due.checkpoint_now();
        due.checkpoint_now();
        assert_eq!(*rung.lock().unwrap(), [secs(7), secs(3), secs(0)]);
    }

    #[test]
    fn an_append_asks_for_a_flush_within_the_interval_and_for_a_checkpoint() {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
        let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        let (data_dir, config) = (&partition.log().data_dir, partition.log().config());
        let after = |due: &Deadlines, durability, flush_time: Option<Duration>, bytes| {
            let mut config = LogConfig::clone(&config);
            (config.values.durability, config.values.flush_time) = (durability, flush_time);
            due.after_append(data_dir, &config, bytes);
            due.next().map(|next| next.saturating_sub(data_dir.env.monotonic()))
        };
        let first = |durability, flush_time| after(&Deadlines::default(), durability, flush_time, 1);
        let interval = Durability::Interval;
        assert_eq!(first(Durability::Flushed, Some(secs(1))), None, "nothing waits");
        assert_eq!(first(Durability::Written, None), Some(CHECKPOINT_EVERY));
        assert_eq!(first(Durability::Written, Some(secs(2))), Some(secs(2)));
        assert_eq!(first(interval(secs(3)), None), Some(secs(3)));
        assert_eq!(first(interval(secs(3)), Some(secs(2))), Some(secs(2)));
        assert_eq!(first(interval(secs(3)), Some(secs(4))), Some(secs(3)));
        assert_eq!(first(interval(secs(30)), None), Some(CHECKPOINT_EVERY));
        // What was appended first decides.
        let due = Deadlines::default();
        assert_eq!(after(&due, interval(secs(3)), None, 1), Some(secs(3)));
        env.advance(secs(2));
        assert_eq!(after(&due, interval(secs(3)), None, 1), Some(secs(1)));
        // And so much of it is worth a checkpoint at any time.
        for (bytes, expected) in [(CHECKPOINT_BYTES - 1, CHECKPOINT_EVERY), (CHECKPOINT_BYTES, secs(0))] {
            assert_eq!(after(&Deadlines::default(), Durability::Written, None, bytes), Some(expected));
        }
        let due = Deadlines::default();
        after(&due, Durability::Flushed, None, CHECKPOINT_BYTES);
        assert_eq!(due.take(secs(0)), Some(Due::Checkpoint), "a flushed log too");
    }

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
