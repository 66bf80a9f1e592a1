//! The background work of one log: the flush or the checkpoint that is due, and when to come back.
//!
//! Work that fails is a trouble of the log and due again after a pause. A failed flush has poisoned the log: nothing is due
//! there any more.

use crate::{
    error::{Error, Result},
    partition::{
        log::Log,
        state::{
            deadlines::{Alarm, Due, flush_within},
            troubles::{Chore, Since},
        },
        write::{checkpoint::checkpoint, retention},
    },
};
use std::{sync::Arc, time::Duration};

/// How long a flush that could not begin waits at least: its own interval may be zero.
const RETRY_AFTER: Duration = Duration::from_millis(100);

impl Log {
    /// From now on `alarm` is rung when background work has come up.
    pub fn on_due(&self, alarm: Alarm) {
        self.due.connect(alarm);
    }

    /// Does the background work that is due at `now` on the monotonic clock; rings the alarm for what is left.
    ///
    /// # Errors
    ///
    /// What kept a checkpoint from being taken, or a flush from beginning; it is tried again later. A failed flush has
    /// poisoned the log.
    pub fn run_due(self: &Arc<Self>, now: Duration) -> Result<()> {
        let mut result = Ok(());
        for due in Due::ALL {
            let done = self.do_due(due, now);
            self.due.ring(due);
            result = result.and(done.map_err(|(_, error)| error));
        }
        result
    }

    /// As [`Log::run_due`] for one of the two, but errors become troubles of the log. Returns when to come back.
    pub fn run_due_alone(self: &Arc<Self>, due: Due, now: Duration) -> Option<Duration> {
        if let Err((chore, error)) = self.do_due(due, now) {
            self.note_trouble(chore, error);
        }
        self.due.next(due)
    }

    fn do_due(self: &Arc<Self>, due: Due, now: Duration) -> Result<(), (Chore, Error)> {
        #[cfg(all(test, feature = "sim"))]
        self.due.looks.fetch_add(1, crate::env::sync::Ordering::Relaxed);
        match due {
            _ if !self.due.take(due, now) => Ok(()),
            Due::Checkpoint => self.do_checkpoint(now),
            Due::Flush => self.do_flush(now).map_err(|error| (Chore::Flush, error)),
        }
    }

    fn do_checkpoint(self: &Arc<Self>, now: Duration) -> Result<(), (Chore, Error)> {
        let checkpoint = checkpoint(self).map_err(|error| (Chore::Checkpoint, error));
        let retain = || retention::apply(self).map_err(|error| (Chore::Retention, error));
        let done = checkpoint.and_then(|()| retain()).map(drop);
        if done.is_err() && self.refusal().is_none() {
            self.due.put_checkpoint_off(now);
        }
        done
    }

    fn do_flush(&self, now: Duration) -> Result<()> {
        let flushed = self.flush();
        planted!(forget_what_came_during_a_flush => self.due.take(Due::Flush, Duration::MAX));
        if flushed.is_err() {
            self.flush_again(now);
        }
        flushed
    }

    /// After work that was interrupted: it is due again at `at`.
    pub fn due_again(&self, due: Due, at: Duration) {
        self.due.due_at(due, at);
        self.due.ring(due);
    }

    /// A flush that was due at `now` and failed is due again after a pause, where it can succeed.
    fn flush_again(&self, now: Duration) {
        planted!(a_failed_interval_flush_is_not_tried_again => return);
        let waits = self.refusal().is_none() && self.flusher.flushed() < self.offsets.log_end();
        if let Some(within) = flush_within(&self.config()).filter(|_| waits) {
            self.due.due_at(Due::Flush, now.saturating_add(within.max(RETRY_AFTER)));
        }
    }

    /// Records a failure of background work. A log that was closed or deleted in between is no trouble.
    pub fn note_trouble(&self, chore: Chore, error: Error) {
        let is_end = |error: &Error| matches!(error, Error::Closed { .. });
        if !is_end(&error) && !self.refusal().is_some_and(|refusal| is_end(&refusal)) {
            self.troubles.note(chore, error, self.since());
        }
    }

    /// The first trouble that has not ended. The present ones are not reported again.
    pub fn take_trouble(&self) -> Option<Error> {
        self.troubles.take(self.since())
    }

    fn since(&self) -> Since {
        Since { flushed: self.flusher.flushed(), spaces: self.data_dir.space.times_found() }
    }

    /// How often background work has looked at it.
    #[cfg(all(test, feature = "sim"))]
    pub(crate) fn looks(&self) -> usize {
        self.due.looks.load(crate::env::sync::Ordering::Relaxed)
    }
}
