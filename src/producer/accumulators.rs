//! The accumulators of one producer: how they are created and closed, and how their memory is freed for a record that
//! waits for it.

use crate::{
    env::sync::Mutex,
    error::{Error, Result},
    partition::write::encode::RecordData,
    producer::{
        accumulator::{Accumulator, Enqueued, Pushed},
        context::Context,
        drain::Attempt,
        sender::{Client, Drain},
    },
};
use std::{sync::Arc, time::Duration};

/// See the head of the file.
pub(super) struct Accumulators {
    context: Arc<Context>,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    accumulators: Vec<Arc<Accumulator>>,
    /// At this many accumulators, those of deleted topics are removed.
    purge_at: usize,
    closed: Option<&'static str>,
}

impl Accumulators {
    pub(super) fn new(context: Arc<Context>) -> Arc<Self> {
        let list = List { purge_at: 64, ..List::default() };
        Arc::new(Accumulators { context, list: Mutex::new(list) })
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// `Closed` once the producer or its log was closed, `Forked` in a child of the process that opened the log.
    pub(super) fn check_usable(&self) -> Result<()> {
        self.context.check_process()?;
        self.check_open()
    }

    /// `Closed` once the producer or its log was closed.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.list.lock().closed {
            Some(what) => Err(Error::closed(what)),
            None => Ok(()),
        }
    }

    /// Runs `make`, which adds at most one accumulator with `add`, unless the producer is closed.
    pub(super) fn register(
        &self,
        make: impl FnOnce(&mut dyn FnMut(&Arc<Accumulator>)) -> Arc<Accumulator>,
    ) -> Result<Arc<Accumulator>> {
        let mut list = self.list.lock();
        if let Some(what) = list.closed {
            return Err(Error::closed(what));
        }
        if list.accumulators.len() >= list.purge_at {
            list.accumulators.retain(|accumulator| !accumulator.is_over());
            list.purge_at = list.accumulators.len().saturating_mul(2).max(64);
        }
        Ok(make(&mut |accumulator| list.accumulators.push(Arc::clone(accumulator))))
    }

    pub(super) fn all(&self) -> Vec<Arc<Accumulator>> {
        self.list.lock().accumulators.clone()
    }

    fn drains(&self) -> Vec<Arc<dyn Drain>> {
        self.all().into_iter().map(|accumulator| accumulator as Arc<dyn Drain>).collect()
    }

    /// Returns when everything that was enqueued before the call is acknowledged, or has failed.
    pub(super) fn flush(&self) -> Result<()> {
        self.context.sender.finish(&self.drains(), Duration::MAX);
        self.outcome()
    }

    /// From now on every call gets `Closed`; returns whether this was the first call of it.
    pub(super) fn end(&self, what: &'static str) -> bool {
        let mut list = self.list.lock();
        if list.closed.is_some() {
            return false;
        }
        list.closed = Some(what);
        let accumulators = list.accumulators.clone();
        drop(list);
        planted!(a_closed_producer_takes_more => return true);
        accumulators.iter().for_each(|accumulator| accumulator.close(what));
        true
    }

    /// Waits for the queued records until the deadline. The sender keeps what is left.
    pub(super) fn leave(self: &Arc<Self>, deadline: Duration) {
        let sender = &self.context.sender;
        if sender.is_inline() {
            sender.finish(&self.drains(), deadline);
        } else {
            self.reclaim(true);
            let last = self.all().into_iter().filter_map(|accumulator| accumulator.last_promise());
            last.for_each(|promise| promise.sleep(deadline));
        }
        sender.leave(Arc::clone(self) as Arc<dyn Client>);
    }

    /// Expedites everything that is queued, so that memory is freed; with `write`, this thread writes it.
    pub(super) fn reclaim(&self, write: bool) {
        let sender = &self.context.sender;
        if sender.is_inline() {
            sender.serve(&self.drains());
            sender.run_due();
            return;
        }
        for accumulator in &self.all() {
            if write {
                accumulator.write_all(Attempt::WhenDue);
            }
            accumulator.expedite();
        }
    }

    /// Puts a record into a batch. With the buffer full, it waits for room if it may.
    #[inline(never)]
    pub(super) fn enqueue(
        &self,
        accumulator: &Arc<Accumulator>,
        data: &RecordData<'_>,
        may_wait: bool,
    ) -> Result<Enqueued> {
        self.wait_for_room(accumulator, may_wait, &mut || accumulator.push(data, None))
    }

    /// Pushes until the record is in a batch.
    pub(super) fn wait_for_room(
        &self,
        accumulator: &Arc<Accumulator>,
        may_wait: bool,
        push: &mut dyn FnMut() -> Result<Pushed>,
    ) -> Result<Enqueued> {
        self.context.check_process()?;
        let mut since = None;
        loop {
            let seen = self.context.memory.freed().epoch();
            match push()? {
                Pushed::Queued(enqueued) => return Ok(enqueued),
                Pushed::Full(enqueued) => {
                    accumulator.write_some();
                    return Ok(enqueued);
                }
                Pushed::Blocked => accumulator.write_some(),
                Pushed::NoMemory => self.wait_for_memory(seen, &mut since, may_wait)?,
            }
        }
    }

    /// Has everything of this producer written, so that memory is freed; then waits until some is.
    #[cold]
    fn wait_for_memory(&self, seen: u64, since: &mut Option<Duration>, may_wait: bool) -> Result<()> {
        let context = &self.context;
        let now = context.env().monotonic();
        let first_try = since.is_none();
        let begun = *since.get_or_insert(now);
        if first_try {
            self.reclaim(may_wait);
            if may_wait || context.sender.is_inline() {
                return Ok(());
            }
        }
        let after = context.settings.max_block;
        let deadline = begun.saturating_add(after);
        planted!(a_full_buffer_does_not_wait => return Err(Error::QueueFull));
        if !may_wait || after.is_zero() {
            return Err(Error::QueueFull);
        }
        if now >= deadline {
            return Err(Error::Timeout { what: "room in the producer's buffer", after });
        }
        self.reclaim(true);
        context.env().wait(context.memory.freed(), seen, Some(deadline.min(context.sender.next_look())));
        Ok(())
    }
}

impl Client for Accumulators {
    fn close(&self, what: &'static str) -> Vec<Arc<dyn Drain>> {
        self.end(what);
        self.drains()
    }

    fn outcome(&self) -> Result<()> {
        // Every error is taken, so that none turns up in a later call.
        let errors: Vec<Error> =
            self.all().iter().filter_map(|accumulator| accumulator.take_error()).collect();
        let mut failure = self.context.undelivered.take_failure();
        planted!(a_reported_failure_is_forgotten => failure = None);
        failure.into_iter().chain(errors).next().map_or(Ok(()), Err)
    }

    fn is_done(&self) -> bool {
        self.all().iter().all(|accumulator| accumulator.is_done())
    }
}
