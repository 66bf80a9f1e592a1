//! What a producer shares with its batches: settings, buffer memory, undelivered records and the sender.

use crate::{
    env::{Env, process::Process, sync::Mutex},
    error::Result,
    producer::{buffer_pool::Memory, identity::ProducerIdentity, sender::Sender, undelivered::Undelivered},
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
    pub transaction_timeout: Duration,
    pub transaction_buffer: u64,
}

/// See the head of the file.
pub(super) struct Context {
    pub(super) sender: Arc<Sender>,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    pub(super) undelivered: Undelivered,
    pub(super) identity: ProducerIdentity,
    /// Held by a producer with a name from the look at a record's number until the record has its place.
    pub(super) order: Mutex<()>,
    /// The process that opened the log.
    pub(super) process: Process,
}

impl Context {
    pub(super) fn new(sender: Arc<Sender>, settings: Settings, identity: ProducerIdentity) -> Arc<Self> {
        let memory = Memory::new(settings.buffer_memory);
        let process = sender.catalog().data_dir().process;
        let undelivered = Undelivered::new(settings.buffer_memory);
        Arc::new(Context { sender, settings, memory, undelivered, identity, order: Mutex::new(()), process })
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

    /// As [`check_process`](Self::check_process), for a caller that asks per record: see [`Process::seems_this`].
    #[inline]
    pub(super) fn glance_at_process(&self) -> Result<()> {
        if self.process.seems_this() { Ok(()) } else { Err(self.sender.catalog().data_dir().forked()) }
    }
}
