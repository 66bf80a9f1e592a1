//! How an accumulator's batches leave: sealed, into the log, acknowledged.
//!
//! The thread that holds `out` writes the queue from its front; it seals and writes without `state`. After it has
//! released `out` it looks at the queue again, so a thread that finds `out` taken may leave: what it queued is seen.
//!
//! A failure that can pass leaves the batch at the front of the queue, or of the written batches that are not durable
//! yet, and the sender looks here again after a pause; later batches wait, so that the order stays. Any other failure,
//! and one that did not pass in time, gives up the batch and all that were queued after it.

use crate::{
    codec::builder::SealedBatch,
    env::sync::MutexGuard,
    error::{Error, Outcome, Result},
    partition::{log::Log, state::append_as::AppendAs, write::append::Appended},
    producer::{
        accumulator::{Accumulator, LastNumber, Locked, QueuedBatch, State, WrittenBatch},
        body::Body,
        delivery::BatchResult,
        sender::{Drain, Sender},
        stuck::Stuck,
    },
    topic::{
        caretaker::{Attended, Caretaker},
        duty::Duty,
    },
    types::{Compression, Offset},
};
use std::{io, sync::Arc, time::Duration};

/// How many batches an enqueueing call writes at most: it must not end up writing for all threads forever.
const BATCHES_PER_CALL: usize = 8;

/// Whether a failed batch is tried again before its pause is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Now,
    WhenDue,
}

/// What became of the batch at the front of the queue.
enum Step {
    /// It left, written or given up.
    Done,
    /// The queue is empty.
    Empty,
    /// It stays there.
    Stuck,
}

impl State {
    /// When the sender must look here: immediately if anything waits, or after the pause if that has just failed.
    fn next_look(&self) -> Option<Duration> {
        let waits = !self.queue.is_empty() || !self.written.is_empty();
        waits.then(|| self.stuck.as_ref().map_or(Duration::ZERO, |stuck| stuck.next))
    }
}

impl Accumulator {
    /// Writes what is queued, unless another thread is writing it.
    pub(super) fn write_some(&self) {
        let mut left = BATCHES_PER_CALL;
        while left > 0 {
            let Some(out) = self.out.try_lock() else {
                return;
            };
            let mut stuck = false;
            while left > 0 {
                match self.write_next(&out, Attempt::WhenDue) {
                    Step::Done => left -= 1,
                    Step::Empty => break,
                    Step::Stuck => {
                        stuck = true;
                        break;
                    }
                }
            }
            drop(out);
            if stuck || self.lock().queue.is_empty() {
                break;
            }
        }
        self.hand_over();
    }

    /// Writes everything that was enqueued before the call, as far as that is possible now.
    pub(super) fn write_all(&self, attempt: Attempt) {
        let out = self.out.lock();
        self.write_queued(&out, attempt);
        drop(out);
        if !self.lock().queue.is_empty() {
            self.write_some();
        }
    }

    /// Writes all that is queued and then `batch`, in the order of the log.
    ///
    /// # Errors
    ///
    /// Nothing of `batch` was kept. If the queue cannot be written, `batch` is refused for the same reason.
    pub(super) fn send(&self, batch: &mut SealedBatch) -> Result<Appended> {
        planted!(a_send_overtakes_what_was_enqueued => return self.put(batch));
        // Records that this thread enqueued, or another thread that it waited for, have made it busy.
        if !self.is_busy() {
            return self.put(batch);
        }
        let out = self.out.lock();
        self.write_queued(&out, Attempt::Now);
        let mut state = self.lock();
        state.check()?;
        let ahead = state.stuck.as_ref().filter(|_| !state.queue.is_empty()).map(|stuck| stuck.cause.clone());
        drop(state);
        let appended = ahead.map_or_else(|| self.put(batch), Err);
        drop(out);
        if !self.lock().queue.is_empty() {
            self.write_some();
        }
        appended
    }

    /// Appends a batch to the log, as this producer.
    #[inline]
    fn put(&self, batch: &mut SealedBatch) -> Result<Appended> {
        match batch.sequences() {
            None => self.log().append(batch),
            Some(_) => self.put_named(batch),
        }
    }

    #[inline(never)]
    fn put_named(&self, batch: &mut SealedBatch) -> Result<Appended> {
        let Some(producer) = self.context().identity.checked_claim()? else {
            return self.log().append(batch);
        };
        self.log().append_as(batch, AppendAs { producer, transactional: false, named: true })
    }

    /// Writes all that was enqueued before the call.
    ///
    /// # Errors
    ///
    /// Some of it cannot be written now, or has failed for good.
    pub(super) fn write_before(&self) -> Result<()> {
        if self.is_busy() {
            self.write_all(Attempt::Now);
        }
        let mut state = self.lock();
        state.check()?;
        let ahead = state.stuck.as_ref().filter(|_| !state.queue.is_empty()).map(|stuck| stuck.cause.clone());
        ahead.map_or(Ok(()), Err)
    }

    fn write_queued(&self, out: &MutexGuard<'_, ()>, attempt: Attempt) {
        let mut state = self.lock();
        unless_planted!(a_flush_leaves_the_open_batch => state.close_open());
        let count = state.queue.len();
        drop(state);
        for _ in 0..count {
            if !matches!(self.write_next(out, attempt), Step::Done) {
                break;
            }
        }
    }

    /// Writes the first batch of the queue.
    fn write_next(&self, _out: &MutexGuard<'_, ()>, attempt: Attempt) -> Step {
        let now = self.context().env().monotonic();
        let mut state = self.lock();
        let waits = state.stuck.as_ref().is_some_and(|stuck| stuck.next > now);
        if waits && attempt == Attempt::WhenDue {
            return if state.queue.is_empty() { Step::Empty } else { Step::Stuck };
        }
        let Some(QueuedBatch { body, promise, reserved }) = state.queue.pop_front() else {
            return Step::Empty;
        };
        unless_planted!(a_batch_on_its_way_is_forgotten => state.writing = true);
        drop(state);
        let mut in_hand = InHand { accumulator: self, batch: Some((promise, reserved, body.count())) };
        let written = self.append(body);
        let mut state = self.lock();
        let Some((promise, reserved, _)) = in_hand.batch.take() else {
            return Step::Empty;
        };
        state.writing = false;
        match written {
            Ok((appended, sealed)) => {
                state.stuck = None;
                let batch = WrittenBatch { appended, sealed, promise, reserved };
                let mut must_flush = appended.must_flush;
                planted!(enqueued_is_acknowledged_unflushed => must_flush = false);
                if must_flush {
                    state.written.push_back(batch);
                } else {
                    self.acknowledge(batch);
                }
                Step::Done
            }
            Err(refused) => {
                let (body, error) = *refused;
                state.queue.push_front(QueuedBatch { body, promise, reserved });
                planted!(what_is_tried_again_comes_last => state.queue.rotate_left(1));
                if self.stays(&mut state, &error) {
                    Step::Stuck
                } else {
                    self.give_up_queued(&mut state, error);
                    Step::Done
                }
            }
        }
    }

    /// Appends a batch to the log, or hands it back.
    fn append(&self, body: Body) -> Result<(Appended, SealedBatch), Box<(Body, Error)>> {
        let mut sealed = match body {
            Body::Sealed(sealed) => sealed,
            Body::Filled(builder, config) => {
                let mut ours = self.context().settings.compression;
                planted!(a_producers_codec_is_forgotten => ours = Compression::None);
                let (codec, level) = config.codec(ours);
                builder.seal_or_keep(codec, level).map_err(|refused| {
                    let (builder, error) = *refused;
                    Box::new((Body::Filled(builder, config), error))
                })?
            }
        };
        match self.put(&mut sealed) {
            Ok(appended) => Ok((appended, sealed)),
            Err(error) => Err(Box::new((Body::Sealed(sealed), error))),
        }
    }

    fn acknowledge(&self, batch: WrittenBatch) {
        let WrittenBatch { appended, sealed, promise, reserved } = batch;
        promise.settle(Ok(appended));
        let (memory, buffer) = (&self.context().memory, sealed.into_buffer());
        if buffer.capacity() <= self.context().settings.batch_size.saturating_mul(2) {
            memory.recycle(buffer);
        }
        memory.release(reserved);
    }

    /// Leaves to the sender what an enqueueing call does not do: writing the rest of the queue, and flushing.
    fn hand_over(&self) {
        let mut state = self.lock();
        if let Some(at) = state.next_look() {
            state.schedule(at);
        }
    }

    /// Asks the sender to write and flush everything here now.
    pub(super) fn expedite(&self) {
        let mut state = self.lock();
        let at = if state.open.is_some() { Some(Duration::ZERO) } else { None };
        if let Some(at) = state.next_look().or(at) {
            state.expedited = true;
            state.schedule(at);
        }
    }

    /// Whether a failed batch stays to be tried again, for which the sender looks here.
    fn stays(&self, state: &mut Locked<'_>, error: &Error) -> bool {
        planted!(a_full_disk_is_final => return false);
        if !error.can_pass() {
            return false;
        }
        let (now, patience) = (self.context().env().monotonic(), self.context().settings.max_block);
        state.stuck = Stuck::again(state.stuck.take(), error.clone(), now, patience);
        let Some(next) = state.stuck.as_ref().map(|stuck| stuck.next) else {
            return false;
        };
        state.schedule(next);
        true
    }

    /// Gives up the batches that wait to be written; the next call reports it.
    fn give_up_queued(&self, state: &mut Locked<'_>, cause: Error) {
        state.close_open();
        let lost = std::mem::take(&mut state.queue).into_iter();
        self.give_up(state, cause, lost.map(|batch| (batch, Outcome::NotAppended)).collect());
    }

    /// Gives up the batches that are written and not durable, and those queued after them.
    fn give_up_written(&self, state: &mut Locked<'_>, cause: Error) {
        state.close_open();
        let written = std::mem::take(&mut state.written).into_iter();
        let written = written.map(|batch| {
            let outcome = self.log().unacknowledged(batch.appended.offsets(), cause.clone()).outcome();
            (batch.unwritten(), outcome)
        });
        let mut lost: Vec<_> = written.collect();
        let queue = std::mem::take(&mut state.queue).into_iter();
        lost.extend(queue.map(|batch| (batch, Outcome::NotAppended)));
        self.give_up(state, cause, lost);
    }

    fn give_up(&self, state: &mut Locked<'_>, cause: Error, lost: Vec<(QueuedBatch, Outcome)>) {
        let records = lost.iter().map(|(batch, _)| u64::from(batch.body.count())).sum();
        unless_planted!(failed_numbers_are_not_given_back => state.last_number = LastNumber::Unknown);
        let mut taking = self.context().undelivered.open();
        let mut failed = Vec::with_capacity(lost.len());
        let mut of_all = Outcome::NotAppended;
        for (QueuedBatch { body, promise, reserved }, outcome) in lost {
            taking.keep(&self.log().identity.name, body, outcome != Outcome::NotAppended);
            of_all = of_all.and(outcome.clone());
            failed.push((promise, reserved, outcome));
        }
        let error = self.undelivered(records, taking.forgotten(0), cause);
        for (promise, reserved, outcome) in failed {
            self.fail(&promise, reserved, error.clone().with_outcome(outcome));
        }
        let error = error.with_outcome(of_all);
        taking.note(&error);
        state.stuck = None;
        state.note(error);
    }

    fn undelivered(&self, records: u64, forgotten: u64, cause: Error) -> Error {
        let partition = self.log().identity.name.clone();
        let outcome = Outcome::NotAppended;
        Error::Undelivered { partition, records, forgotten, cause: Arc::new(cause), outcome }
    }

    fn fail(&self, promise: &BatchResult, reserved: usize, error: Error) {
        promise.settle(Err(error));
        self.context().memory.release(reserved);
    }

    /// From now on every call gets `Closed`.
    pub(super) fn close(&self, what: &'static str) {
        self.lock().closed.get_or_insert(what);
    }

    /// The failure that no call has returned yet.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.lock().error.take()
    }

    /// The last batch that is not acknowledged.
    pub(super) fn last_promise(&self) -> Option<Arc<BatchResult>> {
        let state = self.lock();
        let queued = state.queue.back().map(|batch| &batch.promise);
        queued.or(state.written.back().map(|batch| &batch.promise)).cloned()
    }
}

impl Caretaker for Accumulator {
    /// Writes everything if the open batch's time is over or something waits in the queue.
    fn attend(self: Arc<Self>, _duty: Duty, now: Duration) -> Attended {
        let mut state = self.lock();
        if let Some(next) = state.stuck.as_ref().map(|stuck| stuck.next).filter(|next| *next > now) {
            return Attended { next: Some(next), wrote: false };
        }
        let is_due = std::mem::take(&mut state.expedited)
            || !state.queue.is_empty()
            || state.open.as_ref().is_some_and(|open| open.deadline <= now);
        if is_due {
            drop(state);
            self.write_all(Attempt::Now);
            return Attended { next: None, wrote: true };
        }
        let next = state.open.as_ref().map(|open| open.deadline);
        Attended { next, wrote: true }
    }

    fn written(&self) -> Option<(Arc<Log>, Offset)> {
        let end = self.lock().written.iter().map(|batch| batch.appended.next_offset).max();
        end.map(|end| (Arc::clone(self.log()), end))
    }

    /// Acknowledges the batches below `end`. After a failure that can pass the sender tries again; after any other,
    /// everything that is not acknowledged is given up.
    fn settle(&self, end: Offset, result: &Result<()>) {
        let mut state = self.lock();
        match result {
            Ok(()) => {
                while state.written.front().is_some_and(|batch| batch.appended.next_offset <= end) {
                    let Some(batch) = state.written.pop_front() else {
                        return;
                    };
                    state.stuck = None;
                    self.acknowledge(batch);
                }
            }
            Err(_) if state.written.is_empty() => {}
            Err(error) if self.stays(&mut state, error) => {
                planted!(a_batch_that_is_not_flushed_is_written_again => let written = state.take_written(); state.queue.extend(written));
            }
            Err(error) => self.give_up_written(&mut state, error.clone()),
        }
    }

    fn list_again(&self, _duty: Duty, at: Duration) {
        let mut state = self.lock();
        if state.open.is_some() || state.next_look().is_some() {
            state.expedited = true;
            state.schedule(at);
        }
    }
}

impl Drain for Accumulator {
    fn sender(&self) -> &Sender {
        &self.context().sender
    }

    fn log(&self) -> &Arc<Log> {
        self.log()
    }

    fn write_now(&self) {
        self.write_all(Attempt::Now);
    }

    fn next_attempt(&self) -> Option<Duration> {
        self.lock().stuck.as_ref().map(|stuck| stuck.next)
    }

    fn finish(&self, deadline: Duration) {
        let Some(last) = self.last_promise() else {
            return;
        };
        let (sender, env) = (self.sender(), self.context().env());
        while !last.is_settled() && env.monotonic() < deadline {
            // The thread that is writing it settles it, or sets the time of the next attempt.
            last.sleep(self.next_attempt().unwrap_or(Duration::ZERO).min(deadline));
            sender.serve(&[last.drain()]);
        }
    }

    fn abandon(&self) {
        let _out = self.out.lock();
        let mut state = self.lock();
        if state.open.is_some() || state.next_look().is_some() {
            let cause = state.stuck.as_ref().map_or(Error::closed("the log"), |stuck| stuck.cause.clone());
            self.give_up_written(&mut state, cause);
        }
    }
}

impl State {
    /// Has the next call return this error, which then counts the records of an earlier failure that no call has
    /// returned.
    fn note(&mut self, mut error: Error) {
        if let Some(before) = &self.error {
            error.counts_also(before);
        }
        self.error = Some(error);
    }

    /// Takes out all batches that are written and not acknowledged, as they were before they were written.
    fn take_written(&mut self) -> impl Iterator<Item = QueuedBatch> + use<> {
        std::mem::take(&mut self.written).into_iter().map(WrittenBatch::unwritten)
    }
}

impl WrittenBatch {
    /// The batch as it was before it was written.
    fn unwritten(self) -> QueuedBatch {
        let WrittenBatch { sealed, promise, reserved, .. } = self;
        QueuedBatch { body: Body::Sealed(sealed), promise, reserved }
    }
}

/// A batch between queue and log. If writing it ends in a panic, its records are lost, and the batches after it are
/// given up.
struct InHand<'a> {
    accumulator: &'a Accumulator,
    batch: Option<(Arc<BatchResult>, usize, u32)>,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let Some((promise, reserved, count)) = self.batch.take() else {
            return;
        };
        let accumulator = self.accumulator;
        let reason = io::Error::other("a write did not come to its end");
        let cause = Error::io("write", &accumulator.log().identity.dir, reason);
        let mut state = accumulator.lock();
        state.writing = false;
        let mut taking = accumulator.context().undelivered.open();
        let error =
            accumulator.undelivered(u64::from(count), taking.forgotten(u64::from(count)), cause.clone());
        let error = error.with_outcome(Outcome::Unknown);
        accumulator.fail(&promise, reserved, error.clone());
        taking.note(&error);
        state.note(error);
        accumulator.give_up_queued(&mut state, cause);
    }
}
