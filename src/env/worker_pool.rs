//! Threads that an open log keeps for short jobs: a job does not wait for a thread to begin.
//!
//! The caller works too, and takes every job that nobody has begun: where no thread is to be had, or all are busy, it does
//! the work alone. A thread that nobody needed for a while ends. Those that are left end, and are waited for, when the pool
//! is dismissed, at the latest when it is dropped. A forked child has none of them, and does its own work alone.

use crate::env::{
    Job, machine,
    process::Process,
    sync::{Condvar, Mutex, thread},
};
use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
    vec,
};

/// How many threads work for one caller, itself among them.
const AT_ONCE: usize = 8;

/// How many threads are kept for all callers.
const THREADS_MAX: usize = AT_ONCE - 1;

/// How long a thread waits for work.
const IDLE: Duration = Duration::from_secs(5);

/// The threads of one log.
pub(super) struct WorkerPool {
    shared: Arc<Shared>,
    process: Process,
}

struct Shared {
    state: Mutex<State>,
    called: Condvar,
}

struct State {
    /// Whose jobs wait for a hand, once for each hand that is wanted.
    calls: VecDeque<Arc<Jobs>>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Threads that have come to their end, or are about to.
    ended: Vec<thread::JoinHandle<()>>,
    idle: usize,
    /// Whether there may be threads.
    open: bool,
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

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool").finish_non_exhaustive()
    }
}

impl WorkerPool {
    /// A pool without a thread.
    pub(super) fn new() -> WorkerPool {
        let state =
            State { calls: VecDeque::new(), threads: Vec::new(), ended: Vec::new(), idle: 0, open: true };
        let shared = Arc::new(Shared { state: Mutex::new(state), called: Condvar::new() });
        WorkerPool { shared, process: Process::this() }
    }

    /// Runs every job to its end. A panic ends its own job alone.
    pub(super) fn run_all(&self, jobs: Vec<Job>) {
        if !self.process.is_this() {
            return machine::run_in_turn(jobs);
        }
        let hands = jobs.len().min(AT_ONCE).saturating_sub(1);
        let jobs = Arc::new(Jobs {
            state: Mutex::new(Progress { waiting: jobs.into_iter(), running: 0 }),
            ended: Condvar::new(),
        });
        self.call(&jobs, hands);
        jobs.work();
        self.shared.state.lock().calls.retain(|call| !Arc::ptr_eq(call, &jobs));
        jobs.wait();
    }

    /// Asks for this many hands.
    fn call(&self, jobs: &Arc<Jobs>, hands: usize) {
        let mut state = self.shared.state.lock();
        if !state.open {
            return;
        }
        let free = state.idle.saturating_sub(state.calls.len());
        let new = hands.saturating_sub(free).min(THREADS_MAX - state.threads.len().min(THREADS_MAX));
        for _ in 0..hands {
            state.calls.push_back(Arc::clone(jobs));
        }
        for _ in 0..new {
            let shared = Arc::clone(&self.shared);
            let begun = thread::Builder::new().name("streamlog-flush".into()).spawn(move || shared.serve());
            state.threads.extend(begun);
        }
        let ended = std::mem::take(&mut state.ended);
        drop(state);
        for _ in 0..hands.min(free) {
            self.shared.called.notify_one();
        }
        join(ended);
    }

    /// How many threads there are.
    pub(super) fn len(&self) -> usize {
        self.shared.state.lock().threads.len()
    }

    /// From now on there are no threads, and callers run their own jobs. Returns when the existing threads have ended.
    pub(super) fn dismiss(&self) {
        let mut state = self.shared.state.lock();
        state.open = false;
        let mut threads = std::mem::take(&mut state.threads);
        threads.append(&mut state.ended);
        drop(state);
        self.shared.called.notify_all();
        join(threads);
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        if self.process.is_this() {
            return self.dismiss();
        }
        // A forked child has no such threads, and nothing to say to the system about them.
        if let Some(mut state) = self.shared.state.try_lock() {
            let State { threads, ended, .. } = &mut *state;
            threads.drain(..).chain(ended.drain(..)).for_each(std::mem::forget);
        }
    }
}

/// Waits for the end of dismissed threads. A thread that drops the last handle does not wait for itself.
fn join(threads: Vec<thread::JoinHandle<()>>) {
    let this = thread::current().id();
    for thread in threads {
        if thread.thread().id() != this {
            let _ = thread.join();
        }
    }
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

impl Shared {
    fn serve(&self) {
        let mut state = self.state.lock();
        loop {
            while let Some(jobs) = state.calls.pop_front() {
                drop(state);
                jobs.work();
                drop(jobs);
                state = self.state.lock();
            }
            if !state.open {
                return;
            }
            state.idle += 1;
            let timed_out = self.called.wait_until(&mut state, Instant::now() + IDLE).timed_out();
            state.idle -= 1;
            if timed_out && state.calls.is_empty() {
                // If it is gone, the caller that dismissed it waits for it.
                let this = thread::current().id();
                let own = state.threads.iter().position(|thread| thread.thread().id() == this);
                if let Some(own) = own {
                    let handle = state.threads.swap_remove(own);
                    state.ended.push(handle);
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::env::{
        process::in_a_child,
        sync::{AtomicUsize, Ordering},
        worker_pool::*,
    };
    use std::sync::Barrier;

    #[test]
    fn jobs_run_side_by_side_in_threads_that_are_kept() {
        let workers = WorkerPool::new();
        for _ in 0..50 {
            // Each waits for the other: one thread alone would never come to the end.
            let both = Arc::new(Barrier::new(2));
            let job = |both: &Arc<Barrier>| -> Job {
                let both = Arc::clone(both);
                Box::new(move || {
                    both.wait();
                })
            };
            workers.run_all(vec![job(&both), job(&both)]);
        }
        assert!((1..=THREADS_MAX).contains(&workers.len()), "{} threads", workers.len());
    }

    #[test]
    fn many_callers_share_the_threads_and_all_their_jobs_run() {
        let (workers, ran) = (WorkerPool::new(), Arc::new(AtomicUsize::new(0)));
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let jobs = (0..20).map(|_| -> Job {
                        let ran = Arc::clone(&ran);
                        Box::new(move || {
                            ran.fetch_add(1, Ordering::SeqCst);
                        })
                    });
                    workers.run_all(jobs.collect());
                });
            }
        });
        assert_eq!(ran.load(Ordering::SeqCst), 800);
        assert!(workers.len() <= THREADS_MAX);
    }

    #[test]
    fn a_job_may_hand_in_jobs() {
        let (workers, ran) = (Arc::new(WorkerPool::new()), Arc::new(AtomicUsize::new(0)));
        let outer = (0..30).map(|_| -> Job {
            let (workers, ran) = (Arc::clone(&workers), Arc::clone(&ran));
            Box::new(move || {
                let inner = (0..3).map(|_| -> Job {
                    let ran = Arc::clone(&ran);
                    Box::new(move || {
                        ran.fetch_add(1, Ordering::SeqCst);
                    })
                });
                workers.run_all(inner.collect());
            })
        });
        workers.run_all(outer.collect());
        assert_eq!(ran.load(Ordering::SeqCst), 90);
    }

    #[test]
    fn a_forked_child_does_its_work_alone_and_none_of_its_parents() {
        let job = |ran: &Arc<Mutex<Vec<_>>>| -> Job {
            let ran = Arc::clone(ran);
            Box::new(move || ran.lock().push(std::thread::current().id()))
        };
        let (workers, ran) = (WorkerPool::new(), Arc::new(Mutex::new(Vec::new())));
        workers.run_all(vec![job(&ran)]);
        ran.lock().clear();
        in_a_child(|| workers.run_all((0..20).map(|_| job(&ran)).collect()));
        assert_eq!(*ran.lock(), [std::thread::current().id(); 20]);
    }

    #[test]
    fn a_pool_that_was_dismissed_has_no_thread_and_its_callers_work_alone() {
        let (workers, ran) = (WorkerPool::new(), Arc::new(AtomicUsize::new(0)));
        let this = std::thread::current().id();
        let run = |alone: bool| {
            let jobs = (0..20).map(|_| -> Job {
                let ran = Arc::clone(&ran);
                Box::new(move || {
                    assert!(!alone || std::thread::current().id() == this);
                    ran.fetch_add(1, Ordering::SeqCst);
                })
            });
            workers.run_all(jobs.collect());
        };
        run(false);
        let living = Arc::downgrade(&workers.shared);
        workers.dismiss();
        // What a thread held is gone with it.
        assert_eq!((workers.len(), living.strong_count()), (0, 1));
        run(true);
        assert_eq!((workers.len(), ran.load(Ordering::SeqCst)), (0, 40));
    }

    #[test]
    fn a_pool_that_is_dropped_by_one_of_its_own_threads_does_not_wait_for_it() {
        let workers = Arc::new(WorkerPool::new());
        let (both, ran) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..2).map(|_| -> Job {
            let (own, both, ran) = (Arc::clone(&workers), Arc::clone(&both), Arc::clone(&ran));
            Box::new(move || {
                both.wait();
                drop(own);
                ran.fetch_add(1, Ordering::SeqCst);
            })
        });
        let jobs: Vec<Job> = jobs.collect();
        workers.run_all(jobs);
        drop(workers);
        assert_eq!(ran.load(Ordering::SeqCst), 2);
    }
}
