//! How an accumulator's batches leave: sealed, into the log, acknowledged.
//!
//! Whoever holds `out` writes the queue from its front; sealing and writing happen without `state`. Whoever lets go of
//! `out` looks at the queue again, so one who found it taken may leave: what it queued is seen. A batch that fails fails
//! all that queued behind it.

use super::accumulator::{Accumulator, Body, Locked, QueuedBatch, State, WrittenBatch};
use crate::{
    codec::builder::SealedBatch,
    env::sync::MutexGuard,
    error::{Error, Result},
    partition::append::Appended,
    types::{Durability, Offset},
};
use std::{sync::Arc, time::Duration};

/// How many batches an enqueueing call writes at most: it must not end up writing for everybody for ever.
const BATCHES_PER_CALL: usize = 8;

impl Accumulator {
    /// Writes what is queued, unless somebody is at it.
    pub(super) fn write_some(self: &Arc<Self>) {
        let mut left = BATCHES_PER_CALL;
        while left > 0 {
            let Some(out) = self.out.try_lock() else { return };
            while left > 0 && self.write_next(&out) {
                left -= 1;
            }
            drop(out);
            if self.lock().queue.is_empty() {
                break;
            }
        }
        self.hand_over();
    }

    /// Writes everything that was enqueued before the call.
    pub(super) fn write_all(self: &Arc<Self>) {
        let out = self.out.lock();
        self.write_queued(&out);
        drop(out);
        if !self.lock().queue.is_empty() {
            self.write_some();
        }
    }

    /// As [`Accumulator::write_all`], where the open batch's time is over.
    pub(super) fn write_due(self: &Arc<Self>, now: Duration) {
        let mut state = self.lock();
        state.listed = None;
        let is_due = std::mem::take(&mut state.hurry)
            || !state.queue.is_empty()
            || state.open.as_ref().is_some_and(|open| open.deadline <= now);
        if is_due {
            drop(state);
            self.write_all();
        } else if let Some(deadline) = state.open.as_ref().map(|open| open.deadline) {
            self.list(&mut state, deadline);
            // The hub's task is the caller.
            state.wake = false;
        }
    }

    /// Writes all that is queued and then `batch`, in the order of the log.
    pub(super) fn send(self: &Arc<Self>, batch: &mut SealedBatch) -> Result<Appended> {
        // What this thread enqueued before, or another thread that it heard of, has made it busy.
        if !self.is_busy() {
            return self.log().append(batch);
        }
        let out = self.out.lock();
        let mut state = self.lock();
        let waits = state.open.is_some() || !state.queue.is_empty();
        if !waits {
            state.check()?;
        }
        drop(state);
        if waits {
            self.write_queued(&out);
            self.lock().check()?;
        }
        let appended = self.log().append(batch);
        drop(out);
        if !self.lock().queue.is_empty() {
            self.write_some();
        }
        appended
    }

    fn write_queued(&self, out: &MutexGuard<'_, ()>) {
        let mut state = self.lock();
        state.close_open();
        let count = state.queue.len();
        drop(state);
        for _ in 0..count {
            self.write_next(out);
        }
    }

    /// Writes the first batch of the queue; `false` when there is none.
    fn write_next(&self, _out: &MutexGuard<'_, ()>) -> bool {
        let mut state = self.lock();
        let Some(QueuedBatch { body, promise, reserved }) = state.queue.pop_front() else { return false };
        state.writing = !planted!(a_batch_on_its_way_is_forgotten);
        drop(state);
        let written = self.seal(body).and_then(|mut sealed| {
            let appended = self.log().append(&mut sealed)?;
            Ok((appended, sealed.into_buffer()))
        });
        let mut state = self.lock();
        state.writing = false;
        match written {
            Ok((appended, buffer)) => {
                if buffer.capacity() <= self.core().settings.batch_size.saturating_mul(2) {
                    state.spare = Some(buffer);
                }
                if self.log().config().durability == Durability::Flushed
                    && !planted!(enqueued_is_acknowledged_unflushed)
                {
                    state.written.push_back(WrittenBatch { appended, promise, reserved });
                } else {
                    promise.settle(Ok(appended));
                    self.core().memory.release(reserved);
                }
            }
            Err(error) => {
                promise.settle(Err(error.clone()));
                self.core().memory.release(reserved);
                self.fail_queued(&mut state, error);
            }
        }
        true
    }

    fn seal(&self, body: Body) -> Result<SealedBatch> {
        match body {
            Body::Sealed(sealed) => Ok(sealed),
            Body::Filled(builder, config) => {
                let (codec, level) = config.codec(self.core().settings.compression);
                builder.seal(codec, level)
            }
        }
    }

    /// Leaves to the hub what an enqueueing call does not do: the rest of the queue, and making durable.
    fn hand_over(self: &Arc<Self>) {
        let mut state = self.lock();
        if !state.queue.is_empty() || !state.written.is_empty() {
            self.list(&mut state, Duration::ZERO);
        }
        self.tell(state);
    }

    /// Asks the hub to write and make durable now what is here.
    pub(super) fn urge(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.open.is_some() || !state.queue.is_empty() || !state.written.is_empty() {
            state.hurry = true;
            self.list(&mut state, Duration::ZERO);
        }
        self.tell(state);
    }

    fn tell(&self, mut state: Locked<'_>) {
        let wake = std::mem::take(&mut state.wake);
        drop(state);
        if wake {
            self.core().hub.wake();
        }
    }

    /// How far the log must be durable for all that is written to be acknowledged.
    pub(super) fn written_end(&self) -> Option<Offset> {
        self.lock().written.iter().map(|batch| batch.appended.next_offset).max()
    }

    /// Acknowledges what lies below `end`, or fails all that is not acknowledged.
    pub(super) fn settle(&self, end: Offset, result: &Result<()>) {
        let mut state = self.lock();
        while let Some(batch) = state.written.front() {
            if result.is_ok() && batch.appended.next_offset > end {
                return;
            }
            let Some(batch) = state.written.pop_front() else { return };
            batch.promise.settle(result.clone().map(|()| batch.appended));
            self.core().memory.release(batch.reserved);
            if state.written.is_empty()
                && let Err(error) = result
            {
                self.fail_queued(&mut state, error.clone());
            }
        }
    }

    /// Fails what waits to be written; the next call tells it.
    fn fail_queued(&self, state: &mut State, error: Error) {
        state.close_open();
        for batch in state.queue.drain(..) {
            batch.promise.settle(Err(error.clone()));
            self.core().memory.release(batch.reserved);
        }
        state.error = Some(error);
    }

    /// From now on every call gets `Closed`.
    pub(super) fn close(&self, what: &'static str) {
        self.lock().closed.get_or_insert(what);
    }

    /// The failure that was not told yet.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.lock().error.take()
    }

    /// The last batch that is not acknowledged.
    pub(super) fn last_promise(&self) -> Option<Arc<super::delivery::Promise>> {
        let state = self.lock();
        let queued = state.queue.back().map(|batch| &batch.promise);
        queued.or(state.written.back().map(|batch| &batch.promise)).cloned()
    }
}
