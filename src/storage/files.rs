//! Files whose descriptors come and go.
//!
//! A [`PooledFile`] opens its descriptor when it is needed and gives it back when the pool has too many. Two rules hold:
//! a descriptor with unflushed writes is not closed before its flush succeeded (its error would be lost with it), and a
//! flush that failed is final: the file takes no more writes and says why.
//!
//! Where the system has no descriptor left, for this process or at all, the pool gives back what is idle, then what a
//! flush makes idle, and tries again.

pub mod cap;
mod caps;
mod descriptor;
mod mapping;
mod pooled_file;
mod reclaiming_env;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unmapped;

pub use pooled_file::{PooledFile, ReadMode};

use crate::{
    env::{Env, File, Open},
    error::{Error, Result},
    storage::budget::Budget,
};
use cap::Evictable;
use caps::Caps;
use descriptor::Descriptor;
use reclaiming_env::ReclaimingEnv;
use std::{
    path::PathBuf,
    sync::{Arc, Weak},
};

/// Opens files and bounds how many descriptors and mappings are held at the same time.
#[derive(Debug)]
pub struct FilePool {
    bare: Arc<dyn Env>,
    /// The same, for callers that hold no lock of a file: it makes room.
    env: Arc<dyn Env>,
    mode: ReadMode,
    caps: Arc<Caps>,
    budget: Arc<Budget>,
}

impl FilePool {
    /// A pool of at most `descriptors` descriptors and as many mappings.
    pub fn new(env: Arc<dyn Env>, mode: ReadMode, descriptors: usize) -> Arc<Self> {
        let mode = if cfg!(unix) { mode } else { ReadMode::Pread };
        let caps = Caps::new(descriptors);
        let env_with_room = Arc::new(ReclaimingEnv::new(Arc::clone(&env), Arc::clone(&caps)));
        Arc::new(FilePool { bare: env, env: env_with_room, mode, caps, budget: Arc::default() })
    }

    /// The environment the files live in, which makes room here where descriptors have run out.
    pub fn env(&self) -> &Arc<dyn Env> {
        &self.env
    }

    /// What its files may take of the medium, and what they take.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// How many descriptors and mappings are held now.
    pub fn held(&self) -> (usize, usize) {
        (self.caps.descriptors.held(), self.caps.regions.held())
    }

    /// Counts an index in, and makes others go where there are too many.
    pub fn admit_index(&self, holder: Weak<dyn Evictable>) {
        self.caps.indexes.admit(holder);
    }

    /// Counts an index out.
    pub fn index_released(&self) {
        self.caps.indexes.released();
    }

    /// How many indexes are held now.
    pub fn indexes_held(&self) -> usize {
        self.caps.indexes.held()
    }

    /// Gives back every descriptor and mapping that is not in use this moment. What readers hold stays theirs.
    pub fn release(&self) {
        self.caps.descriptors.retire_all();
        self.caps.regions.retire_all();
        self.caps.indexes.retire_all();
    }

    /// A file that exists, or is found missing at its first use.
    pub fn existing(self: &Arc<Self>, path: PathBuf, writable: bool) -> Arc<PooledFile> {
        self.file(path, if writable { Open::Write } else { Open::Read }, None)
    }

    /// Creates a file that must not exist.
    pub fn create(self: &Arc<Self>, path: PathBuf) -> Result<Arc<PooledFile>> {
        let handle = self.env.open(&path, Open::CreateNew).map_err(|e| Error::io("create", &path, e))?;
        let file = self.file(path, Open::Write, Some(handle));
        file.descriptor.admit();
        Ok(file)
    }

    pub(super) fn file(&self, path: PathBuf, how: Open, handle: Option<Arc<dyn File>>) -> Arc<PooledFile> {
        let descriptor = Descriptor::new(Arc::clone(&self.caps), Arc::clone(&self.bare), path, how, handle);
        Arc::new(PooledFile::new(&self.caps, &self.env, self.mode, descriptor))
    }
}
