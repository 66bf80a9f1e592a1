//! Threads that are kept for short jobs: a job does not wait for a thread to begin.
//!
//! Who hands in jobs works too, and takes every one that nobody has begun: where no thread is to be had, or all are
//! busy, it does the work alone. A thread that nobody needed for a while ends.
//!
//! The threads are those of the process that first had work for them. A forked child has none of them, but a copy of the
//! list with its parent's jobs, which are none of its business: it does its own work alone.

use super::{
    Job, machine,
    process::Process,
    sync::{Condvar, Mutex, thread},
};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
    vec,
};

/// How many threads work for one caller, itself among them.
const AT_ONCE: usize = 8;

/// How many threads are kept for all callers.
const THREADS_MAX: usize = 15;

/// How long a thread waits for work.
const IDLE: Duration = Duration::from_secs(5);

static CREW: Crew =
    Crew { state: Mutex::new(State { calls: VecDeque::new(), threads: 0, idle: 0 }), called: Condvar::new() };

struct Crew {
    state: Mutex<State>,
    called: Condvar,
}

/// Whose threads they are; nobody's before the first job.
static OWNER: AtomicU64 = AtomicU64::new(0);

fn is_ours() -> bool {
    let this = Process::this().number();
    let owner =
        OWNER.compare_exchange(0, this, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|owner| owner);
    Process::numbered(if owner == 0 { this } else { owner }).is_this()
}

struct State {
    /// Whose jobs wait for a hand, once for each hand that is wanted.
    calls: VecDeque<Arc<Jobs>>,
    threads: usize,
    idle: usize,
}

/// The jobs of one caller.
struct Jobs {
    state: Mutex<Progress>,
    ended: Condvar,
}

struct Progress {
    waiting: vec::IntoIter<Job>,
    running: usize,
}

/// Runs every job to its end. A panic ends its own job alone.
pub(super) fn run_all(jobs: Vec<Job>) {
    if !is_ours() {
        return machine::run_in_turn(jobs);
    }
    let hands = jobs.len().min(AT_ONCE).saturating_sub(1);
    let jobs = Arc::new(Jobs {
        state: Mutex::new(Progress { waiting: jobs.into_iter(), running: 0 }),
        ended: Condvar::new(),
    });
    CREW.call(&jobs, hands);
    jobs.work();
    CREW.state.lock().calls.retain(|call| !Arc::ptr_eq(call, &jobs));
    jobs.wait();
}

impl Jobs {
    /// Runs what nobody has begun.
    fn work(&self) {
        let mut state = self.state.lock();
        while let Some(job) = state.waiting.next() {
            state.running += 1;
            drop(state);
            let _ = catch_unwind(AssertUnwindSafe(job));
            state = self.state.lock();
            state.running -= 1;
        }
        if state.running == 0 {
            self.ended.notify_all();
        }
    }

    fn wait(&self) {
        let mut state = self.state.lock();
        while state.running > 0 {
            self.ended.wait(&mut state);
        }
    }
}

impl Crew {
    /// Asks for this many hands.
    fn call(&'static self, jobs: &Arc<Jobs>, hands: usize) {
        let mut state = self.state.lock();
        let free = state.idle.saturating_sub(state.calls.len());
        let new = hands.saturating_sub(free).min(THREADS_MAX - state.threads);
        state.threads += new;
        for _ in 0..hands {
            state.calls.push_back(Arc::clone(jobs));
        }
        drop(state);
        for _ in 0..hands.min(free) {
            self.called.notify_one();
        }
        for _ in 0..new {
            let begun = thread::Builder::new().name("streamlog-jobs".into()).spawn(|| self.serve());
            if begun.is_err() {
                self.state.lock().threads -= 1;
            }
        }
    }

    fn serve(&self) {
        let mut state = self.state.lock();
        loop {
            while let Some(jobs) = state.calls.pop_front() {
                drop(state);
                jobs.work();
                drop(jobs);
                state = self.state.lock();
            }
            state.idle += 1;
            let timed_out = self.called.wait_until(&mut state, Instant::now() + IDLE).timed_out();
            state.idle -= 1;
            if timed_out && state.calls.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{process::in_a_child, sync::AtomicUsize};
    use std::sync::Barrier;

    #[test]
    fn jobs_run_side_by_side_in_threads_that_are_kept() {
        for _ in 0..50 {
            // Each waits for the other: one thread alone would never come to the end.
            let both = Arc::new(Barrier::new(2));
            let job = |both: &Arc<Barrier>| -> Job {
                let both = Arc::clone(both);
                Box::new(move || {
                    both.wait();
                })
            };
            run_all(vec![job(&both), job(&both)]);
        }
        let state = CREW.state.lock();
        assert!((1..=THREADS_MAX).contains(&state.threads), "{} threads", state.threads);
    }

    #[test]
    fn many_callers_share_the_threads_and_all_their_jobs_run() {
        let ran = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let jobs = (0..20).map(|_| -> Job {
                        let ran = Arc::clone(&ran);
                        Box::new(move || {
                            ran.fetch_add(1, Ordering::SeqCst);
                        })
                    });
                    run_all(jobs.collect());
                });
            }
        });
        assert_eq!(ran.load(Ordering::SeqCst), 800);
        let state = CREW.state.lock();
        assert!(state.threads <= THREADS_MAX);
    }

    #[test]
    fn a_forked_child_does_its_work_alone_and_none_of_its_parents() {
        let job = |ran: &Arc<Mutex<Vec<_>>>| -> Job {
            let ran = Arc::clone(ran);
            Box::new(move || ran.lock().push(std::thread::current().id()))
        };
        let ran = Arc::new(Mutex::new(Vec::new()));
        run_all(vec![job(&ran)]);
        ran.lock().clear();
        in_a_child(|| run_all((0..20).map(|_| job(&ran)).collect()));
        assert_eq!(*ran.lock(), [std::thread::current().id(); 20]);
    }

    #[test]
    fn a_job_may_hand_in_jobs() {
        let ran = Arc::new(AtomicUsize::new(0));
        let outer = (0..30).map(|_| -> Job {
            let ran = Arc::clone(&ran);
            Box::new(move || {
                let inner = (0..3).map(|_| -> Job {
                    let ran = Arc::clone(&ran);
                    Box::new(move || {
                        ran.fetch_add(1, Ordering::SeqCst);
                    })
                });
                run_all(inner.collect());
            })
        });
        run_all(outer.collect());
        assert_eq!(ran.load(Ordering::SeqCst), 90);
    }
}
