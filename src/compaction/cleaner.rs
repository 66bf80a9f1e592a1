//! The cleaner of a handle: which log is cleaned when, a step at a time.
//!
//! It looks for a log that is to be cleaned, and cleans it step by step; between two steps the thread that lends itself does
//! what else is due. A log that could not be cleaned is parked: health says why, the others are cleaned, and after a while,
//! which grows with each failure, it is tried again.
//!
//! One cleaning is under way at a time. It keeps its log's turn between steps, and gives way to a call that wants to clean
//! the same log.

use super::{cleaning::Cleaning, dirt::Dirt};
use crate::{
    env::sync::Mutex,
    error::{Error, Result},
    partition::{log::Log, write::cleanable::CleaningTurn},
    topic::{
        caretaker::{Attended, Caretaker},
        catalog::Catalog,
        duty::Duty,
    },
    types::TopicPartition,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

/// How long it sleeps where nothing is to be cleaned: Kafka's `log.cleaner.backoff.ms`.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// A log is parked for `LOOK_EVERY`, then for twice as long each time, and for this long at most.
const PARKED_MOST: Duration = Duration::from_secs(60 * 60);
/// Above this dirty ratio it does not rest.
const NO_REST: f64 = 0.9;

/// See the head of the file.
pub struct Cleaner {
    me: Weak<Cleaner>,
    catalog: Weak<Catalog>,
    /// How many bytes it may read in a second.
    rate: Option<u64>,
    /// Held for a step.
    state: Mutex<State>,
    /// Held for a look, so that health never waits for a step.
    parking: Mutex<Parking>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// Nothing is cleaned any more.
    is_over: bool,
}

/// The logs that are left alone for a while.
#[derive(Default)]
struct Parking {
    parked: BTreeMap<TopicPartition, Parked>,
}

struct Current {
    cleaning: Cleaning,
    dirt: Dirt,
}

/// Why a log is left alone, and until when.
struct Parked {
    log: Weak<Log>,
    error: Error,
    until: Duration,
    times: u32,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// Whether something is left that is due.
    pub is_more: bool,
    /// How many bytes were read.
    pub bytes: u64,
    /// Whether the log is so dirty that there is no time to rest.
    pub is_urgent: bool,
}

impl Cleaner {
    /// A cleaner of all that is in a catalog, which reads no more than `rate` bytes in a second.
    pub fn new(catalog: &Arc<Catalog>, rate: Option<u64>) -> Arc<Cleaner> {
        Arc::new_cyclic(|me| Cleaner {
            me: Weak::clone(me),
            catalog: Arc::downgrade(catalog),
            rate,
            state: Mutex::default(),
            parking: Mutex::default(),
        })
    }

    /// Looks soon, and from then on regularly, where any topic is compacted.
    pub fn watch(&self) {
        if let Some(catalog) = self.catalog.upgrade().filter(|catalog| !catalog.data_dir().read_only)
            && !catalog.compacted_logs().is_empty()
        {
            self.list_again(Duty::Compaction, catalog.data_dir().env.monotonic());
        }
    }

    /// Does a step of what is due.
    ///
    /// # Errors
    ///
    /// Why a log could not be cleaned, which is parked now. That of a log whose records this release never cleans is in the
    /// parked ones alone.
    pub fn step(&self) -> Result<Step> {
        let Some(catalog) = self.catalog.upgrade() else { return Ok(Step::default()) };
        let now = catalog.data_dir().env.monotonic();
        let mut state = self.state.lock();
        if state.is_over {
            return Ok(Step::default());
        }
        // Taken, so that one that panics is over.
        let Some(mut current) = state.current.take().or_else(|| self.choose(&catalog, now)) else {
            return Ok(Step::default());
        };
        let (mut bytes, is_urgent) = (0, current.dirt.ratio > NO_REST);
        let stepped = current.cleaning.step(&mut |more| {
            bytes += more;
            Ok(())
        });
        let step = Step { is_more: true, bytes, is_urgent };
        match stepped {
            Ok(true) => state.current = Some(current),
            Ok(false) => self.was_cleaned(current.cleaning.turn().log()),
            Err(error) => {
                let log = Arc::clone(current.cleaning.turn().log());
                drop(current);
                self.parking.lock().park(&log, error.clone(), now);
                // Records that are never cleaned are no failure of the call that looks for something to do: health has them.
                let is_none = was_taken_away(&error) || matches!(error, Error::UnsupportedFormat { .. });
                return if is_none { Ok(step) } else { Err(error) };
            }
        }
        Ok(step)
    }

    /// The log that is to be cleaned first, and its turn.
    fn choose(&self, catalog: &Catalog, now: Duration) -> Option<Current> {
        self.parking.lock().parked.retain(|_, parked| parked.log.strong_count() > 0);
        let mut first: Option<(Arc<Log>, Dirt)> = None;
        for log in catalog.compacted_logs() {
            if self.parking.lock().is_parked(&log, now) {
                continue;
            }
            match Dirt::of(&log) {
                Ok(Some(dirt)) if first.as_ref().is_none_or(|(_, of)| dirt.compare(of).is_gt()) => {
                    first = Some((log, dirt));
                }
                Ok(_) => {}
                Err(error) => self.parking.lock().park(&log, error, now),
            }
        }
        let (log, dirt) = first?;
        // A call that has the turn cleans all of it.
        let turn = CleaningTurn::take(&log)?;
        Some(Current { cleaning: Cleaning::new(turn, false, false), dirt })
    }

    /// The turn to clean a log by a call, which waits for no cleaning of ours, but for that of another call.
    pub fn give_way(&self, log: &Arc<Log>) -> CleaningTurn {
        loop {
            let mut state = self.state.lock();
            if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current.cleaning.turn().log(), log)) {
                state.current = None;
            }
            // None of ours can begin before the lock is released.
            if let Some(turn) = CleaningTurn::take(log) {
                return turn;
            }
            drop(state);
            CleaningTurn::wait_for(log);
        }
    }

    /// This log was cleaned.
    pub fn was_cleaned(&self, log: &Arc<Log>) {
        self.parking.lock().unpark(log);
    }

    /// Which logs could not be cleaned, and why.
    pub fn parked(&self) -> Vec<(TopicPartition, Error)> {
        planted!(what_is_not_compacted_is_not_reported => return Vec::new());
        let logs = self.catalog.upgrade().map(|catalog| catalog.compacted_logs()).unwrap_or_default();
        let parking = self.parking.lock();
        let shown = parking
            .parked
            .iter()
            .filter(|(_, parked)| logs.iter().any(|log| parked.is_of(log)) && !was_taken_away(&parked.error));
        shown.map(|(name, parked)| (name.clone(), parked.error.clone())).collect()
    }

    /// Ends what is under way, and all cleaning.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        state.current = None;
    }

    /// How long to rest after a step that took so long.
    fn rest(&self, step: Step, took: Duration) -> Duration {
        let pace = self.rate.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(step.bytes as f64 / rate.max(1) as f64).unwrap_or(LOOK_EVERY)
        });
        let rest = if step.is_urgent { Duration::ZERO } else { took };
        rest.max(pace.saturating_sub(took))
    }
}

impl Parking {
    fn is_parked(&self, log: &Arc<Log>, now: Duration) -> bool {
        self.parked.get(&log.identity.name).is_some_and(|parked| parked.is_about(log, now))
    }

    fn park(&mut self, log: &Arc<Log>, error: Error, now: Duration) {
        let name = &log.identity.name;
        let before =
            self.parked.get(name).filter(|parked| parked.is_of(log)).map_or(0, |parked| parked.times);
        // What was taken away is soon looked at anew, however often that happens.
        let (wait, times) = match was_taken_away(&error) {
            true => (LOOK_EVERY, before),
            false => (LOOK_EVERY.saturating_mul(1 << before.min(16)).min(PARKED_MOST), before + 1),
        };
        let until = now.saturating_add(wait);
        self.parked.insert(name.clone(), Parked { log: Arc::downgrade(log), error, until, times });
    }

    fn unpark(&mut self, log: &Arc<Log>) {
        unless_planted!(a_success_is_not_noted => drop(self.parked.remove(&log.identity.name)));
    }
}

impl Parked {
    fn is_of(&self, log: &Arc<Log>) -> bool {
        std::ptr::eq(self.log.as_ptr(), Arc::as_ptr(log))
    }

    fn is_about(&self, log: &Arc<Log>, now: Duration) -> bool {
        self.is_of(log) && now < self.until
    }
}

/// Whether retention, a deletion or a change of the policy took away what was cleaned: no failure.
fn was_taken_away(error: &Error) -> bool {
    matches!(error, Error::Cancelled { .. } | Error::Closed { .. })
}

impl Caretaker for Cleaner {
    fn attend(self: Arc<Self>, _duty: Duty, now: Duration) -> Attended {
        let Some(catalog) = self.catalog.upgrade() else { return Attended::default() };
        // A failure is in the parked ones.
        let step = self.step().unwrap_or(Step { is_more: true, ..Step::default() });
        let after = catalog.data_dir().env.monotonic();
        let next = match step.is_more {
            true => Some(after.saturating_add(self.rest(step, after.saturating_sub(now)))),
            false if catalog.compacted_logs().is_empty() => None,
            false => Some(after.saturating_add(LOOK_EVERY)),
        };
        Attended { next, wrote: false }
    }

    fn list_again(&self, duty: Duty, at: Duration) {
        if let Some(catalog) = self.catalog.upgrade() {
            drop(catalog.schedule().put(duty, at, Weak::clone(&self.me) as Weak<dyn Caretaker>));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Streamlog;

    #[test]
    fn a_log_that_fails_waits_longer_each_time_and_one_whose_segments_were_taken_away_does_not() {
        let streamlog = Streamlog::in_memory().unwrap();
        let topic = streamlog.create_topic("t", crate::TopicConfig::default()).unwrap();
        let log = Arc::clone(topic.partition(0).unwrap().log());
        let taken_away = Error::Cancelled { during: "compacting" };
        let failed = Error::corrupt("/log", 0, "damage");
        for (error, waits) in [(taken_away, [1, 1, 1, 1]), (failed, [1, 2, 4, 8])] {
            let mut parking = Parking::default();
            for wait in waits.map(|times| LOOK_EVERY * times) {
                parking.park(&log, error.clone(), Duration::ZERO);
                assert!(parking.is_parked(&log, wait - Duration::from_millis(1)), "{error}");
                assert!(!parking.is_parked(&log, wait), "{error}");
            }
        }
    }
}
