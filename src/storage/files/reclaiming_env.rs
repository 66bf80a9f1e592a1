//! The machine for an owner of many files: where descriptors have run out, idle ones are given back first.
//!
//! Whatever needs a descriptor is tried again for as long as the pool finds one to give back. What is left is an error
//! that says which limits there are.

use super::caps::Caps;
use crate::{
    env::{DirEntry, Env, File, Flushed, Lock, Open, forward_to_env},
    error::is_out_of_descriptors,
};
use std::{io, path::Path, sync::Arc};

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
    forward_to_env!(env: create_dir, metadata, rename, remove_file, remove_dir);
    forward_to_env!(env: now, monotonic, random, identity, wait, spawn, run_all, job_threads, end_job_threads);

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        self.with_room(|| self.env.open(path, how))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.with_room(|| self.env.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Where no descriptor was to be had nothing was flushed, and nothing failed.
        self.with_room(|| self.env.sync_dir(dir))
    }

    fn whole_file_system(&self, dir: &Path) -> io::Result<Option<Arc<dyn Flushed>>> {
        self.with_room(|| self.env.whole_file_system(dir))
    }

    fn space(&self, dir: &Path) -> io::Result<Option<u64>> {
        self.with_room(|| self.env.space(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.with_room(|| self.env.lock(path))
    }
}
