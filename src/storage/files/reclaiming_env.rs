//! The machine for an owner of many files: where descriptors have run out, idle ones are given back first.
//!
//! Whatever needs a descriptor is tried again for as long as the pool finds one to give back. What is left is an error
//! that says which limits there are.

use super::caps::Caps;
use crate::{
    env::{DirEntry, Env, File, Flushed, Job, Lock, Metadata, Open, Running, Task, sync::Signal},
    error::is_out_of_descriptors,
    types::Timestamp,
};
use std::{io, path::Path, sync::Arc, time::Duration};

/// An environment that makes room under the caps of a pool.
#[derive(Debug)]
pub(super) struct ReclaimingEnv {
    env: Arc<dyn Env>,
    caps: Arc<Caps>,
}

impl ReclaimingEnv {
    pub(super) fn new(env: Arc<dyn Env>, caps: Arc<Caps>) -> Self {
        ReclaimingEnv { env, caps }
    }

    fn with_room<T>(&self, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match act() {
                Err(e) if is_out_of_descriptors(&e) && self.caps.make_room(1) => {}
                done => return done,
            }
        }
    }
}

impl Env for ReclaimingEnv {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        self.with_room(|| self.env.open(path, how))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.env.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.with_room(|| self.env.list(dir))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.env.metadata(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.env.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.env.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.env.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Where no descriptor was to be had nothing was flushed, and nothing failed.
        self.with_room(|| self.env.sync_dir(dir))
    }

    fn whole_file_system(&self, dir: &Path) -> io::Result<Option<Arc<dyn Flushed>>> {
        self.with_room(|| self.env.whole_file_system(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.with_room(|| self.env.lock(path))
    }

    fn now(&self) -> Timestamp {
        self.env.now()
    }

    fn monotonic(&self) -> Duration {
        self.env.monotonic()
    }

    fn random(&self) -> u64 {
        self.env.random()
    }

    fn identity(&self) -> (u32, String) {
        self.env.identity()
    }

    fn wait(&self, signal: &Signal, seen: u64, deadline: Option<Duration>) {
        self.env.wait(signal, seen, deadline);
    }

    fn spawn(&self, name: &str, signal: Arc<Signal>, task: Box<dyn Task>) -> io::Result<Box<dyn Running>> {
        self.env.spawn(name, signal, task)
    }

    fn run_all(&self, jobs: Vec<Job>) {
        self.env.run_all(jobs);
    }

    fn job_threads(&self) -> usize {
        self.env.job_threads()
    }

    fn end_job_threads(&self) {
        self.env.end_job_threads();
    }
}
