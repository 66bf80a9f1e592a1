//! What the clones of a producer share with its batches: settings, buffer memory, and the list of its accumulators.
//!
//! A core and its accumulators refer to each other until the last clone is dropped, which empties the list.

use crate::{
    env::{Env, process::Process, sync::Mutex},
    error::{Error, Result},
    producer::{
        accumulator::Accumulator, buffer_pool::Memory, drain::Attempt, sender::Sender,
        undelivered::Undelivered,
    },
    types::Compression,
};
use std::{sync::Arc, time::Duration};

/// What a producer was built with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub batch_size: usize,
    pub linger: Duration,
    pub buffer_memory: usize,
    pub max_block: Duration,
    pub compression: Compression,
}

/// See the head of the file.
pub(super) struct Context {
    pub(super) sender: Arc<Sender>,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    pub(super) undelivered: Undelivered,
    /// Who opened the log.
    pub(super) process: Process,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    accumulators: Vec<Arc<Accumulator>>,
    /// With so many accumulators those of deleted topics are looked for.
    purge_at: usize,
    closed: Option<&'static str>,
}

impl Context {
    pub(super) fn new(sender: Arc<Sender>, settings: Settings) -> Arc<Self> {
        let memory = Memory::new(settings.buffer_memory);
        let registry = Registry { purge_at: 64, ..Registry::default() };
        let process = sender.catalog().data_dir().process;
        let undelivered = Undelivered::new(settings.buffer_memory);
        Arc::new(Context { sender, settings, memory, undelivered, process, registry: Mutex::new(registry) })
    }

    #[inline]
    pub(super) fn env(&self) -> &dyn Env {
        self.sender.env()
    }

    /// `Forked` in a child of the process that opened the log.
    #[inline]
    pub(super) fn check_process(&self) -> Result<()> {
        if self.process.is_this() { Ok(()) } else { Err(self.sender.catalog().data_dir().forked()) }
    }

    /// As [`check_process`](Self::check_process), for one who asks per record: see [`Process::seems_this`].
    #[inline]
    pub(super) fn glance_at_process(&self) -> Result<()> {
        if self.process.seems_this() { Ok(()) } else { Err(self.sender.catalog().data_dir().forked()) }
    }

    /// `Closed` once the producer or its log was closed, `Forked` in a child of the process that opened that.
    pub(super) fn check_usable(&self) -> Result<()> {
        self.check_process()?;
        self.check_open()
    }

    /// `Closed` once the producer or its log was closed.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.registry.lock().closed {
            Some(what) => Err(Error::closed(what)),
            None => Ok(()),
        }
    }

    /// Runs `make`, which adds at most one accumulator with `add`, unless the producer is closed.
    pub(super) fn register(
        &self,
        make: impl FnOnce(&mut dyn FnMut(&Arc<Accumulator>)) -> Arc<Accumulator>,
    ) -> Result<Arc<Accumulator>> {
        let mut registry = self.registry.lock();
        if let Some(what) = registry.closed {
            return Err(Error::closed(what));
        }
        if registry.accumulators.len() >= registry.purge_at {
            registry.accumulators.retain(|accumulator| !accumulator.is_over());
            registry.purge_at = registry.accumulators.len().saturating_mul(2).max(64);
        }
        Ok(make(&mut |accumulator| registry.accumulators.push(Arc::clone(accumulator))))
    }

    pub(super) fn accumulators(&self) -> Vec<Arc<Accumulator>> {
        self.registry.lock().accumulators.clone()
    }

    /// From now on every call gets `Closed`; `None` when that was so before.
    pub(super) fn close(&self, what: &'static str) -> Option<Vec<Arc<Accumulator>>> {
        let mut registry = self.registry.lock();
        if registry.closed.is_some() {
            return None;
        }
        registry.closed = Some(what);
        let accumulators = registry.accumulators.clone();
        drop(registry);
        if !planted!(who_is_closed_takes_more) {
            accumulators.iter().for_each(|accumulator| accumulator.close(what));
        }
        Some(accumulators)
    }

    /// Lets go of the accumulators; they live on while something of theirs is on its way.
    pub(super) fn forget(&self) {
        let gone = std::mem::take(&mut self.registry.lock().accumulators);
        drop(gone);
    }

    /// Hurries everything on its way, so that memory comes back; writes it where that is wanted.
    pub(super) fn reclaim(&self, write: bool) {
        let accumulators = self.accumulators();
        if self.sender.is_inline() {
            self.sender.serve(&accumulators);
            self.sender.run_due();
            return;
        }
        for accumulator in &accumulators {
            if write {
                accumulator.write_all(Attempt::WhenDue);
            }
            accumulator.expedite();
        }
    }

    /// When to look for memory again where nobody gives notice of it: without a task nobody does.
    pub(super) fn next_look(&self) -> Duration {
        let next = if self.sender.is_inline() { self.sender.next_due() } else { None };
        next.unwrap_or(Duration::MAX)
    }
}
