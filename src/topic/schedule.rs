//! What is due when: one heap of deadlines for everything that a log does in the background.
//!
//! An entry is a time on the monotonic clock, the duty that it belongs to, and a [`Caretaker`]. A duty names the task that
//! serves it: a task sleeps until the first time of its duties, and a caretaker that puts in an earlier one wakes that task
//! and no other. Where no task runs, calls serve some duties: see [`Duty`]. The cost of a look depends on what is due, not
//! on how much is listed.
//!
//! Always true: a caretaker has at most one entry for a duty, under the earliest of its times. No caretaker is called
//! under the schedule's lock. An entry that was taken is attended, or listed again by its caretaker. A caretaker that
//! was dropped leaves an entry that does nothing.

use super::{
    caretaker::{Attended, Caretaker, commit_all},
    duty::{Duty, TaskName},
};
use crate::env::{
    Env,
    sync::{AtomicBool, Mutex, OnceLock, Ordering},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

/// How long work that ended in a panic waits for its next attempt.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);

/// Called with a task that has something to do earlier than it knows, maybe under a lock of the caller's.
pub type WakeTask = Box<dyn Fn(TaskName) + Send + Sync>;

/// A duty, a time, and the order of coming.
type Key = (Duty, Duration, u64);

/// See the head of the file.
pub struct Schedule {
    env: Arc<dyn Env>,
    entries: Mutex<Entries>,
    by_calls: AtomicBool,
    wake: OnceLock<WakeTask>,
}

/// At most one entry for each caretaker and duty, under the earliest of its times.
#[derive(Default)]
struct Entries {
    by_time: BTreeMap<Key, Weak<dyn Caretaker>>,
    /// By the caretaker's address, which is its own as long as an entry refers to it.
    of: HashMap<(Duty, usize), Key>,
    count: u64,
}

impl Entries {
    /// Lists a caretaker; returns whether its time is now the first one of the duty.
    fn put(&mut self, duty: Duty, at: Duration, caretaker: Weak<dyn Caretaker>) -> bool {
        let id = (duty, address(&caretaker));
        if let Some(listed) = self.of.get(&id) {
            if listed.1 <= at {
                return false;
            }
            self.remove(&id);
        }
        self.count += 1;
        let key = (duty, at, self.count);
        self.of.insert(id, key);
        self.by_time.insert(key, caretaker);
        self.first(duty) == Some(key)
    }

    fn remove(&mut self, id: &(Duty, usize)) {
        if let Some(listed) = self.of.remove(id) {
            self.by_time.remove(&listed);
        }
    }

    fn first(&self, duty: Duty) -> Option<Key> {
        let (key, _) = self.by_time.range((duty, Duration::ZERO, 0)..).next()?;
        (key.0 == duty).then_some(*key)
    }

    fn take(&mut self, key: &Key) -> Option<Arc<dyn Caretaker>> {
        let caretaker = self.by_time.remove(key)?;
        self.of.remove(&(key.0, address(&caretaker)));
        caretaker.upgrade()
    }
}

fn address(caretaker: &Weak<dyn Caretaker>) -> usize {
    caretaker.as_ptr().cast::<()>() as usize
}

/// Wakes the task when it is dropped: after the caller has released the lock under which it put something in.
#[must_use = "dropping it wakes the task, which soon asks for the caller's locks"]
pub struct Wake<'a>(&'a Schedule, TaskName);

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        planted!(what_is_enqueued_wakes_nobody => return);
        self.0.wake(self.1);
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("entries", &self.entries.lock().of.len()).finish_non_exhaustive()
    }
}

impl Schedule {
    /// An empty schedule.
    pub fn new(env: Arc<dyn Env>) -> Arc<Schedule> {
        let (entries, by_calls) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Schedule { env, entries, by_calls, wake: OnceLock::new() })
    }

    /// From now on `wake` is called with a task that has something to do.
    pub fn on_wake(&self, wake: WakeTask) {
        let _ = self.wake.set(wake);
    }

    fn wake(&self, task: TaskName) {
        if let Some(wake) = self.wake.get() {
            wake(task);
        }
    }

    /// Whether no task serves lingering batches, so that calls do the work.
    pub fn set_by_calls(&self, by_calls: bool) {
        self.by_calls.store(by_calls, Ordering::SeqCst);
    }

    /// Whether calls write lingering batches.
    #[inline]
    pub fn is_by_calls(&self) -> bool {
        self.by_calls.load(Ordering::Relaxed)
    }

    /// Lists a caretaker, unless it is listed for an earlier time. If this is now the first time of the duty, it
    /// returns what wakes the task.
    pub fn put(&self, duty: Duty, at: Duration, caretaker: Weak<dyn Caretaker>) -> Option<Wake<'_>> {
        let is_first = self.entries.lock().put(duty, at, caretaker);
        // Made only if the task must wake, and after the lock is released: dropping it wakes the task.
        is_first.then(|| Wake(self, duty.task()))
    }

    /// Drops all entries of a duty: the work has ended for good.
    pub fn end(&self, duty: Duty) {
        let mut entries = self.entries.lock();
        entries.by_time.retain(|(other, ..), _| *other != duty);
        entries.of.retain(|(other, _), _| *other != duty);
    }

    /// The first time of a duty.
    pub fn next(&self, duty: Duty) -> Option<Duration> {
        self.entries.lock().first(duty).map(|(_, at, _)| at)
    }

    /// For the task: takes the entries of a duty that are due now.
    pub fn take_due(&self, duty: Duty) -> Round<'_> {
        self.take(duty, true)
    }

    /// For a call: does everything of a duty that is due now. The rest is left to the task, which may have looked in
    /// between and is woken.
    pub fn run_due(&self, duty: Duty) {
        let mut round = self.take(duty, false);
        while round.attend_next() {}
        round.commit();
    }

    fn take(&self, duty: Duty, by_task: bool) -> Round<'_> {
        let now = self.now();
        let mut waiting = VecDeque::new();
        let mut entries = self.entries.lock();
        while let Some(key) = entries.first(duty).filter(|(_, at, _)| *at <= now) {
            waiting.extend(entries.take(&key));
        }
        drop(entries);
        Round { schedule: self, duty, by_task, waiting, wrote: Vec::new() }
    }

    /// Puts a caretaker back that was attended.
    fn put_back(&self, duty: Duty, at: Duration, caretaker: Weak<dyn Caretaker>) -> Option<Wake<'_>> {
        planted!(a_look_takes_back_an_earlier_time => self.entries.lock().remove(&(duty, address(&caretaker))));
        self.put(duty, at, caretaker)
    }

    fn now(&self) -> Duration {
        self.env.monotonic()
    }
}

/// Entries that were taken. Those that are left when it is dropped, because of a panic, are listed again.
pub struct Round<'a> {
    schedule: &'a Schedule,
    duty: Duty,
    /// The task looks for the next time when it is done, and need not be woken.
    by_task: bool,
    waiting: VecDeque<Arc<dyn Caretaker>>,
    wrote: Vec<Arc<dyn Caretaker>>,
}

impl Round<'_> {
    /// Attends the next caretaker; `false` when none is left.
    pub fn attend_next(&mut self) -> bool {
        let Some(caretaker) = self.waiting.pop_front() else {
            return false;
        };
        let attending = Attending { schedule: self.schedule, duty: self.duty, caretaker: &*caretaker };
        let Attended { next, wrote } = Arc::clone(&caretaker).attend(self.duty, self.schedule.now());
        std::mem::forget(attending);
        let wake = next.and_then(|next| self.schedule.put_back(self.duty, next, Arc::downgrade(&caretaker)));
        planted!(a_helper_wakes_nobody => self.by_task = true);
        if self.by_task {
            std::mem::forget(wake);
        }
        if wrote {
            self.wrote.push(caretaker);
        }
        true
    }

    /// Makes durable, together, what was written.
    pub fn commit(mut self) {
        commit_all(self.wrote.iter().map(|caretaker| &**caretaker));
        self.wrote.clear();
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        let again = self.waiting.drain(..).chain(self.wrote.drain(..));
        let at = self.schedule.now().saturating_add(AFTER_A_PANIC);
        again.for_each(|caretaker| caretaker.list_again(self.duty, at));
    }
}

/// The caretaker that is being attended. Only a panic drops it.
struct Attending<'a> {
    schedule: &'a Schedule,
    duty: Duty,
    caretaker: &'a dyn Caretaker,
}

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.caretaker.list_again(self.duty, self.schedule.now().saturating_add(AFTER_A_PANIC));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::memory::MemoryEnv;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Notes when it was attended.
    #[derive(Default)]
    struct Noting {
        attended: Mutex<Vec<Duration>>,
        next: Option<Duration>,
        panics: bool,
        again: Mutex<Option<Duration>>,
    }

    impl Caretaker for Noting {
        fn attend(self: Arc<Self>, _duty: Duty, now: Duration) -> Attended {
            self.attended.lock().push(now);
            assert!(!self.panics);
            Attended { next: self.next, wrote: false }
        }

        fn list_again(&self, _duty: Duty, at: Duration) {
            *self.again.lock() = Some(at);
        }
    }

    const LATER: Duration = Duration::from_secs(1 << 40);

    fn schedule() -> Arc<Schedule> {
        Schedule::new(MemoryEnv::new())
    }

    fn put(schedule: &Schedule, at: Duration, caretaker: &Arc<Noting>) -> bool {
        let caretaker: Arc<dyn Caretaker> = Arc::clone(caretaker) as Arc<dyn Caretaker>;
        schedule.put(Duty::Checkpoints, at, Arc::downgrade(&caretaker)).is_some()
    }

    #[test]
    fn a_caretaker_has_one_entry_under_the_earliest_of_its_times() {
        let (schedule, caretaker) = (schedule(), Arc::new(Noting { next: Some(LATER), ..Noting::default() }));
        assert!(put(&schedule, LATER, &caretaker));
        assert!(!put(&schedule, LATER + LATER, &caretaker), "it comes earlier in any case");
        assert!(put(&schedule, Duration::ZERO, &caretaker));
        for _ in 0..2 {
            schedule.run_due(Duty::Checkpoints);
            assert_eq!(caretaker.attended.lock().len(), 1);
            assert_eq!(
                (schedule.next(Duty::Checkpoints), schedule.entries.lock().by_time.len()),
                (Some(LATER), 1)
            );
        }
        assert_eq!(schedule.next(Duty::Batches), None, "that is another duty");
        drop(caretaker);
        put(&schedule, Duration::ZERO, &Arc::new(Noting::default()));
        schedule.run_due(Duty::Checkpoints);
        assert_eq!(schedule.entries.lock().of.len(), 1, "a dropped caretaker is not attended, and leaves");
    }

    #[test]
    fn a_time_that_is_not_the_first_wakes_no_task_and_a_wake_up_may_use_the_schedule() {
        let schedule = schedule();
        let wakes = Arc::new(Mutex::new(0));
        let (count, looked_at) = (Arc::clone(&wakes), Arc::downgrade(&schedule));
        schedule.on_wake(Box::new(move |task| {
            assert_eq!(task, TaskName::Care, "the other one has nothing to do");
            *count.lock() += 1;
            let schedule = looked_at.upgrade().unwrap();
            assert!(schedule.next(Duty::Checkpoints).is_some());
        }));
        let [early, late] = [0; 2].map(|_| Arc::new(Noting::default()));
        assert!(put(&schedule, Duration::ZERO, &early));
        assert!(!put(&schedule, LATER, &late) && !put(&schedule, LATER, &early));
        assert_eq!(*wakes.lock(), 1);
    }

    #[test]
    fn a_look_that_panics_is_listed_again_and_the_others_are_attended() {
        let schedule = schedule();
        let [good, bad, last] =
            [false, true, false].map(|panics| Arc::new(Noting { panics, ..Noting::default() }));
        for caretaker in [&good, &bad, &last] {
            put(&schedule, Duration::ZERO, caretaker);
        }
        let mut round = schedule.take_due(Duty::Checkpoints);
        while catch_unwind(AssertUnwindSafe(|| round.attend_next())).unwrap_or(true) {}
        round.commit();
        for caretaker in [&good, &bad, &last] {
            assert_eq!(caretaker.attended.lock().len(), 1);
            assert_eq!(caretaker.again.lock().is_some(), caretaker.panics);
        }
        // A round that is not ended lists what it did not come to.
        put(&schedule, Duration::ZERO, &good);
        drop(schedule.take_due(Duty::Checkpoints));
        assert!(good.again.lock().is_some());
    }
}
