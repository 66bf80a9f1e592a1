//! What every environment on a real machine shares: clocks, randomness, identity, threads and waits.
//!
//! Nothing here panics, and a panic of a task ends that one alone.

use super::sync::Signal;
use super::sync::thread::{self, JoinHandle};
use super::{Job, Next, Running, Task, process::Process};
use crate::types::Timestamp;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};
use std::{io, process};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

pub(super) fn monotonic() -> Duration {
    START.elapsed()
}

/// A number out of a keyed hash whose keys came from the operating system.
///
/// The count keeps two calls apart; the process id keeps a forked process, which inherits keys and count, apart.
pub(super) fn random() -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static CALLS: AtomicU64 = AtomicU64::new(0);
    KEYS.hash_one((CALLS.fetch_add(1, Ordering::Relaxed), process::id(), monotonic()))
}

pub(super) fn identity() -> (u32, String) {
    static HOST: LazyLock<String> = LazyLock::new(|| {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let known =
            kernel.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
        known.unwrap_or_default().trim().to_owned()
    });
    (process::id(), HOST.clone())
}

pub(super) fn wait(signal: &Signal, seen: u64, deadline: Option<Duration>) {
    // A deadline beyond what the clock can show never comes.
    signal.sleep(seen, deadline.and_then(|at| START.checked_add(at)));
}

pub(super) fn spawn(
    name: &str,
    signal: Arc<Signal>,
    mut task: Box<dyn Task>,
) -> io::Result<Box<dyn Running>> {
    let body = move || {
        loop {
            // Taken before the step, so that what happens during it cuts the wait short.
            let seen = signal.epoch();
            match catch_unwind(AssertUnwindSafe(|| task.run())) {
                Ok(Next::Again) => {}
                Ok(Next::Wait(deadline)) => wait(&signal, seen, deadline),
                Ok(Next::Done) | Err(_) => return,
            }
        }
    };
    let handle = thread::Builder::new().name(thread_name(name)).spawn(body)?;
    Ok(Box::new(Thread { handle: Some(handle), process: Process::this() }))
}

/// Linux shows fifteen bytes of a thread's name.
fn thread_name(name: &str) -> String {
    let mut full = format!("streamlog-{}", name.replace('\0', ""));
    while full.len() > 15 {
        full.pop();
    }
    full
}

struct Thread {
    handle: Option<JoinHandle<()>>,
    process: Process,
}

impl Running for Thread {
    fn join(mut self: Box<Self>) {
        let Some(handle) = self.handle.take_if(|_| self.process.is_this()) else { return };
        // A task that drops the last handle would wait for itself forever.
        if handle.thread().id() != thread::current().id() {
            let _ = handle.join();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // A forked child has no such thread, and nothing to say to the system about it.
        if !self.process.is_this() {
            std::mem::forget(self.handle.take());
        }
    }
}

/// Runs jobs one after the other. A panic ends its own job alone.
pub(super) fn run_in_turn(jobs: Vec<Job>) {
    for job in jobs {
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_name_is_cut_at_a_whole_character() {
        assert_eq!(thread_name("flush"), "streamlog-flush");
        assert_eq!(thread_name("retention"), "streamlog-reten");
        assert_eq!(thread_name("abcdä"), "streamlog-abcd");
        assert_eq!(thread_name("a\0b"), "streamlog-ab");
    }

    #[test]
    fn random_numbers_do_not_repeat() {
        let drawn: std::collections::HashSet<u64> = (0..1000).map(|_| random()).collect();
        assert_eq!(drawn.len(), 1000);
    }
}
