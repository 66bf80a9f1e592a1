//! How far a log is durable, who is making it more so, and what its mark says of that.
//!
//! The protocol is told in `write/flush.rs`; this is the state it goes through. Its lock is held while the mark's slot is
//! written, so that the slot never says less than it did.

use crate::{
    codec::mark::Mark,
    env::sync::{Mutex, Signal},
    error::{Error, Result},
    types::Offset,
};

/// Who flushes, and how far it got.
#[derive(Debug)]
pub(in crate::partition) struct Flusher {
    state: Mutex<FlushState>,
    /// Notified after each flush.
    pub done: Signal,
}

#[derive(Debug)]
struct FlushState {
    /// Everything below is durable.
    flushed: Offset,
    running: bool,
    failed: Option<Error>,
    mark: Mark,
    /// Whether what the slot says is older than `mark`, or nothing.
    behind: bool,
}

/// What becomes of the wish for a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) enum Request {
    /// There is nothing to do.
    Durable,
    /// A flush is under way, which may not reach far enough: look again after it.
    Running,
    /// The caller flushes, for all.
    Lead,
}

impl FlushState {
    /// Writes the slot; the mark is what it says, or would say.
    fn write(&mut self, mark: Mark, write: impl FnOnce(&Mark) -> Result<()>) -> Result<()> {
        let written = write(&mark);
        self.behind = written.is_err();
        written
    }
}

impl Flusher {
    /// A log that is durable as far as its mark says.
    pub fn new(mark: Mark) -> Self {
        let state =
            FlushState { flushed: mark.flushed_offset, running: false, failed: None, mark, behind: false };
        Flusher { state: Mutex::new(state), done: Signal::new() }
    }

    /// Everything below is durable.
    pub fn flushed(&self) -> Offset {
        self.state.lock().flushed
    }

    /// The mark as it was last written.
    pub fn mark(&self) -> Mark {
        self.state.lock().mark
    }

    /// Whether a mark could not be written, and none since.
    pub fn is_behind(&self) -> bool {
        self.state.lock().behind
    }

    /// Whether a flush is under way.
    pub fn is_running(&self) -> bool {
        self.state.lock().running
    }

    /// Somebody wants everything below `end` durable. The one who is to lead must end its turn.
    ///
    /// # Errors
    ///
    /// That of the flush that failed, for what was not durable before it.
    pub fn request(&self, end: Offset) -> Result<Request> {
        let mut state = self.state.lock();
        // What was durable before a flush failed is so still.
        if state.flushed >= end {
            return Ok(Request::Durable);
        }
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if state.running {
            return Ok(Request::Running);
        }
        state.running = true;
        Ok(Request::Lead)
    }

    /// A flush has ended, and everything below the offset is durable; or it failed, for good where the log is poisoned.
    pub fn ended(&self, result: &Result<Offset>) {
        let mut state = self.state.lock();
        state.running = false;
        match result {
            Ok(end) => state.flushed = state.flushed.max(*end),
            Err(error @ Error::Poisoned { .. }) => state.failed = Some(error.clone()),
            Err(_) => {}
        }
    }

    /// What was announced at or beyond `end`, the end of the log, was not written: it is not under way any more.
    pub fn nothing_beyond(&self, end: Offset) {
        let mut state = self.state.lock();
        state.mark.flushing_offset = state.mark.flushing_offset.min(end);
    }

    /// Has the mark say that what lies below `end` may be under way to the medium: the slot is written where it does not
    /// say so of anything yet.
    pub fn announce(&self, end: Offset, write: impl FnOnce(&Mark) -> Result<()>) -> Result<()> {
        let mut state = self.state.lock();
        let announced = state.mark.flushing_offset > state.mark.flushed_offset && !state.behind;
        let mark = Mark { flushing_offset: state.mark.flushing_offset.max(end), ..state.mark };
        if !announced {
            state.write(mark, write)?;
        }
        state.mark = mark;
        Ok(())
    }

    /// Has the mark say that everything below `end` is durable, which lies at `position` of its segment. It is so also
    /// where the slot cannot be written.
    pub fn made_durable(
        &self,
        end: Offset,
        position: u64,
        write: impl FnOnce(&Mark) -> Result<()>,
    ) -> Result<()> {
        let mut state = self.state.lock();
        state.mark = state.mark.durable_to(end, position);
        let mark = state.mark;
        state.write(mark, write)
    }

    /// Changes the mark and writes its slot.
    pub fn change_mark(
        &self,
        change: impl FnOnce(&mut Mark),
        write: impl FnOnce(&Mark) -> Result<()>,
    ) -> Result<()> {
        let mut state = self.state.lock();
        let mut mark = state.mark;
        change(&mut mark);
        state.write(mark, write)?;
        state.mark = mark;
        Ok(())
    }
}
