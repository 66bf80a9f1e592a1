//! Time, and background work on the calling thread.

use super::{SimEnv, World};
use crate::env::{Job, Next, Running, Task, sync::Signal};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

/// How often a task may run within one wait before it counts as one that never ends.
const PATIENCE: usize = 100_000;

pub(super) struct Slot {
    id: u64,
    name: String,
    signal: Arc<Signal>,
    seen: u64,
    next: Next,
    /// Taken out while it runs.
    task: Option<Box<dyn Task>>,
}

impl Slot {
    fn runnable(&self, now: Duration) -> bool {
        self.task.is_some()
            && match self.next {
                Next::Again => true,
                Next::Wait(deadline) => {
                    self.signal.epoch() != self.seen || deadline.is_some_and(|at| at <= now)
                }
                Next::Done => false,
            }
    }

    fn deadline(&self) -> Option<Duration> {
        match self.next {
            Next::Wait(deadline) if self.task.is_some() => deadline,
            _ => None,
        }
    }
}

impl SimEnv {
    /// Runs background tasks that have something to do, up to `steps` times, in an order that the seed chooses. Returns how
    /// many ran.
    pub fn pump(&self, steps: usize) -> usize {
        (0..steps).take_while(|_| self.run_one(None)).count()
    }

    /// Runs one task that can run, or `only` the given one; `false` if none can.
    fn run_one(&self, only: Option<u64>) -> bool {
        let (id, mut task, signal) = {
            let mut world = self.world.lock();
            let World { rng, tasks, monotonic, .. } = &mut *world;
            let ready: Vec<usize> = (0..tasks.len())
                .filter(|i| tasks[*i].runnable(*monotonic) && only.is_none_or(|id| tasks[*i].id == id))
                .collect();
            let Some(slot) = rng.pick(&ready).and_then(|i| tasks.get_mut(*i)) else { return false };
            // Taken before the step: whatever happens during the step makes the task run again.
            slot.seen = slot.signal.epoch();
            let Some(task) = slot.task.take() else { return false };
            (slot.id, task, Arc::clone(&slot.signal))
        };
        let next = catch_unwind(AssertUnwindSafe(|| task.run())).unwrap_or(Next::Done);
        let mut world = self.world.lock();
        if next == Next::Done {
            world.tasks.retain(|slot| slot.id != id);
        } else if let Some(slot) = world.tasks.iter_mut().find(|slot| slot.id == id) {
            slot.next = next;
            slot.task = Some(task);
            return true;
        }
        drop(world);
        drop((task, signal));
        true
    }

    pub(super) fn wait_for(&self, signal: &Signal, seen: u64, deadline: Option<Duration>) {
        for _ in 0..PATIENCE {
            if signal.epoch() != seen || deadline.is_some_and(|at| at <= self.world.lock().monotonic) {
                return;
            }
            if self.run_one(None) {
                continue;
            }
            let mut world = self.world.lock();
            let next = world.tasks.iter().filter_map(Slot::deadline).chain(deadline).min();
            match next {
                Some(at) => world.monotonic = world.monotonic.max(at),
                None => {
                    let tasks: Vec<&str> = world.tasks.iter().map(|t| t.name.as_str()).collect();
                    panic!(
                        "deadlock: a wait without a deadline, and nothing that could end it; tasks: {tasks:?}"
                    )
                }
            }
        }
        panic!("a wait that {PATIENCE} steps of background work did not end");
    }

    pub(super) fn spawn_task(
        &self,
        name: &str,
        signal: Arc<Signal>,
        task: Box<dyn Task>,
    ) -> Box<dyn Running> {
        let mut world = self.world.lock();
        let id = world.rng.next();
        let seen = signal.epoch();
        let name = name.to_string();
        world.tasks.push(Slot { id, name, signal, seen, next: Next::Again, task: Some(task) });
        Box::new(SimTask { env: self.clone(), id })
    }

    pub(super) fn run_jobs(&self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            let i = self.world.lock().rng.below(jobs.len() as u64) as usize;
            let _ = catch_unwind(AssertUnwindSafe(jobs.swap_remove(i)));
        }
    }

    fn is_running(&self, id: u64) -> bool {
        // A task that is taken out joins itself.
        self.world.lock().tasks.iter().any(|slot| slot.id == id && slot.task.is_some())
    }
}

struct SimTask {
    env: SimEnv,
    id: u64,
}

impl Running for SimTask {
    fn join(self: Box<Self>) {
        for _ in 0..PATIENCE {
            if !self.env.is_running(self.id) {
                return;
            }
            if self.env.run_one(Some(self.id)) || self.env.run_one(None) {
                continue;
            }
            let mut world = self.env.world.lock();
            match world.tasks.iter().filter_map(Slot::deadline).min() {
                Some(at) => world.monotonic = world.monotonic.max(at),
                None => panic!("deadlock: a task is joined that nothing will end"),
            }
        }
        panic!("a task that is joined did not end");
    }
}
