//! When a log wants something done in the background: a flush, a checkpoint.
//!
//! An append sets a time once, and rings the log's [`Alarm`]; the rooms above see to it that the work is done then.
//! Checking the time costs two loads.

use crate::{
    env::sync::{AtomicU64, OnceLock, Ordering},
    partition::state::log_config::LogConfig,
    storage::data_dir::DataDir,
    types::Durability,
};
use std::{fmt, time::Duration};

/// How much may be appended before a checkpoint is due.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// How long appended data may wait for a checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

const NEVER: u64 = u64::MAX;

/// Called, perhaps under the log's locks, with what a log wants done and the time for it on the monotonic clock. It must
/// neither call the log nor wait.
pub type Alarm = Box<dyn Fn(Due, Duration) + Send + Sync>;

/// What is due. Each has a time of its own, and neither waits for the other: a checkpoint may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A flush.
    Flush,
    /// A checkpoint, which flushes first.
    Checkpoint,
}

impl Due {
    /// Both, the quick one first.
    pub const ALL: [Due; 2] = [Due::Flush, Due::Checkpoint];
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
        let next = Due::ALL.map(|due| self.next(due));
        f.debug_struct("Deadlines").field("next", &next).finish_non_exhaustive()
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
            self.ring(Due::Flush);
        }
        if unset(&self.checkpoint) {
            self.checkpoint.store(micros(now.saturating_add(CHECKPOINT_EVERY)), Ordering::SeqCst);
            self.ring(Due::Checkpoint);
        }
    }

    /// A flush is due when `config` lets data that is there at `now` wait no longer.
    pub(in crate::partition) fn flush_soon(&self, config: &LogConfig, now: Duration) {
        if let Some(within) = flush_within(config) {
            self.flush_by(now.saturating_add(within));
        }
    }

    /// A flush is due at `at`, or earlier.
    pub(in crate::partition) fn flush_by(&self, at: Duration) {
        self.due_at(Due::Flush, at);
        self.ring(Due::Flush);
    }

    /// A checkpoint is due now.
    pub(in crate::partition) fn checkpoint_now(&self) {
        if self.checkpoint.swap(0, Ordering::SeqCst) != 0 {
            self.ring(Due::Checkpoint);
        }
    }

    /// This is due at `at`, or earlier.
    pub(in crate::partition) fn due_at(&self, due: Due, at: Duration) {
        self.time(due).fetch_min(micros(at), Ordering::SeqCst);
    }

    /// The next checkpoint is tried a while after `now`.
    pub(in crate::partition) fn put_checkpoint_off(&self, now: Duration) {
        self.checkpoint.store(micros(now.saturating_add(CHECKPOINT_EVERY)), Ordering::SeqCst);
    }

    /// Takes this work if it is due at `now`, before it is done: work that comes up from here on is due again. A checkpoint
    /// takes no flush with it, for it may be long before its own.
    pub(in crate::partition) fn take(&self, due: Due, now: Duration) -> bool {
        let time = self.time(due);
        let is_due = time.load(Ordering::SeqCst) <= micros(now);
        if is_due {
            time.store(NEVER, Ordering::SeqCst);
        }
        is_due
    }

    fn time(&self, due: Due) -> &AtomicU64 {
        match due {
            Due::Flush => &self.flush,
            Due::Checkpoint => &self.checkpoint,
        }
    }

    /// From now on `alarm` is rung for every time that is set, and for those that are set already.
    pub(in crate::partition) fn connect(&self, alarm: Alarm) {
        let _ = self.alarm.set(alarm);
        Due::ALL.into_iter().for_each(|due| self.ring(due));
    }

    /// Rings the alarm for the next time of this, if there is one.
    pub(in crate::partition) fn ring(&self, due: Due) {
        if let (Some(alarm), Some(next)) = (self.alarm.get(), self.next(due)) {
            alarm(due, next);
        }
    }

    /// The next time at which this is due.
    pub(in crate::partition) fn next(&self, due: Due) -> Option<Duration> {
        let time = self.time(due).load(Ordering::SeqCst);
        (time != NEVER).then(|| Duration::from_micros(time))
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
        use Due::{Checkpoint, Flush};
        let due = Deadlines::default();
        for each in Due::ALL {
            assert_eq!((due.take(each, Duration::MAX), due.next(each)), (false, None));
        }
        due.due_at(Flush, secs(3));
        due.due_at(Flush, secs(5));
        due.due_at(Checkpoint, secs(9));
        due.due_at(Checkpoint, secs(10));
        assert_eq!(
            Due::ALL.map(|each| due.next(each)),
            [Some(secs(3)), Some(secs(9))],
            "the earlier one counts"
        );
        assert!(!due.take(Flush, Duration::from_micros(2_999_999)));
        assert_eq!(
            (due.take(Flush, secs(3)), due.take(Flush, secs(3)), due.next(Flush)),
            (true, false, None)
        );
        // A checkpoint flushes first, but who knows when: the flush keeps its time.
        due.due_at(Flush, secs(4));
        assert!(due.take(Checkpoint, secs(9)));
        assert_eq!(Due::ALL.map(|each| due.next(each)), [Some(secs(4)), None]);
        due.put_checkpoint_off(secs(20));
        assert_eq!((due.take(Checkpoint, secs(29)), due.take(Checkpoint, secs(30))), (false, true));
    }

    #[test]
    fn the_alarm_rings_for_what_comes_up_and_for_what_is_set_already() {
        let due = Deadlines::default();
        due.due_at(Due::Checkpoint, secs(7));
        let rung = Arc::new(Mutex::new(Vec::new()));
        let bell = Arc::clone(&rung);
        due.connect(Box::new(move |due, at| bell.lock().unwrap().push((due, at))));
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
        let expected = [(Due::Checkpoint, secs(7)), (Due::Flush, secs(3)), (Due::Checkpoint, secs(0))];
        assert_eq!(*rung.lock().unwrap(), expected);
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
            let next = Due::ALL.into_iter().filter_map(|each| due.next(each)).min();
            next.map(|next| next.saturating_sub(data_dir.env.monotonic()))
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
        assert!(due.take(Due::Checkpoint, secs(0)), "a flushed log too");
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
