//! How far a log is durable, whether a flush is running, and what the mark says of both.
//!
//! The protocol is described in `write/flush.rs`; this is its state. The lock is held while the mark's slot is written,
//! so that the slot never says less than it did.

use crate::{
    codec::mark::Mark,
    env::sync::{Mutex, Signal},
    error::{Error, Result},
    types::Offset,
};

/// Whether a flush is running, and how far the last ones got.
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
    /// Whether the slot says less than `mark`, or nothing.
    behind: bool,
}

/// The answer to a request for a flush.
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

    /// Whether the last mark could not be written.
    pub fn is_behind(&self) -> bool {
        self.state.lock().behind
    }

    /// Whether a flush is under way.
    pub fn is_running(&self) -> bool {
        self.state.lock().running
    }

    /// Asks for everything below `end` to be durable. A caller that is to lead must end its turn.
    ///
    /// # Errors
    ///
    /// That of the flush that failed, unless `end` was durable before it.
    pub fn request(&self, end: Offset) -> Result<Request> {
        let mut state = self.state.lock();
        // What was durable before a flush failed still is.
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

    /// The failure that keeps what lies below `end` from becoming durable.
    pub fn failure_below(&self, end: Offset) -> Option<Error> {
        let state = self.state.lock();
        state.failed.clone().filter(|_| state.flushed < end)
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

    /// Nothing at or beyond `end`, the end of the log, was written: a write that was announced there is no longer in
    /// flight.
    pub fn nothing_beyond(&self, end: Offset) {
        let mut state = self.state.lock();
        state.mark.flushing_offset = state.mark.flushing_offset.min(end);
    }

    /// Records in the mark that data below `end` may be on its way to the medium. The slot is written where it
    /// announces nothing yet.
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

    /// Records in the mark that everything below `end`, which lies at `position` of its segment, is durable. It is so
    /// also where the slot cannot be written.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TopicId;

    fn flusher() -> Flusher {
        Flusher::new(Mark::blank(&TopicId::from_bytes([7; 16]), 0))
    }

    fn failed() -> Error {
        Error::io("write", std::path::Path::new("marks"), std::io::Error::other("no"))
    }

    /// What the slot is told.
    fn told(act: impl FnOnce(&dyn Fn(&Mark) -> Result<()>) -> Result<()>) -> Option<(u64, u64)> {
        let told = std::cell::Cell::new(None);
        act(&|mark| {
            told.set(Some((mark.flushing_offset.value(), mark.flushed_offset.value())));
            Ok(())
        })
        .unwrap();
        told.get()
    }

    #[test]
    fn one_leads_and_the_others_wait_and_ask_again() {
        let flusher = flusher();
        let request = |end| flusher.request(Offset::new(end)).unwrap();
        assert_eq!(request(0), Request::Durable);
        assert_eq!((request(5), request(5), flusher.is_running()), (Request::Lead, Request::Running, true));
        flusher.ended(&Ok(Offset::new(5)));
        assert_eq!(
            (request(5), request(4), flusher.is_running()),
            (Request::Durable, Request::Durable, false)
        );
        assert_eq!(request(6), Request::Lead);
        // One that has not even begun takes nothing back, and the next leads.
        flusher.ended(&Err(failed()));
        assert_eq!((request(5), request(6)), (Request::Durable, Request::Lead));
        flusher.ended(&Ok(Offset::new(4)));
        assert_eq!(flusher.flushed(), 5);
    }

    #[test]
    fn after_a_failed_flush_only_what_was_durable_before_is() {
        let flusher = flusher();
        flusher.request(Offset::new(5)).unwrap();
        flusher.ended(&Ok(Offset::new(5)));
        flusher.request(Offset::new(6)).unwrap();
        let cause = std::sync::Arc::new(failed());
        flusher.ended(&Err(Error::poisoned("t-0", cause)));
        assert_eq!(flusher.request(Offset::new(5)).unwrap(), Request::Durable);
        assert!(matches!(flusher.request(Offset::new(6)), Err(Error::Poisoned { .. })));
    }

    #[test]
    fn the_slot_is_written_before_anything_is_under_way_and_not_for_what_comes_to_it() {
        let flusher = flusher();
        let announce = |end| told(|write| flusher.announce(Offset::new(end), write));
        assert_eq!((announce(5), announce(7), announce(6)), (Some((5, 0)), None, None));
        assert_eq!(flusher.mark().flushing_offset, 7);
        assert_eq!(told(|write| flusher.made_durable(Offset::new(7), 70, write)), Some((7, 7)));
        assert_eq!(flusher.mark().flushed_position, 70);
        assert_eq!((announce(8), announce(9)), (Some((8, 7)), None));
        // A write that failed: what was announced is not under way.
        flusher.nothing_beyond(Offset::new(7));
        assert_eq!((flusher.mark().flushing_offset, announce(8)), (Offset::new(7), Some((8, 7))));
        flusher.nothing_beyond(Offset::new(9));
        assert_eq!(flusher.mark().flushing_offset, 8);
    }

    #[test]
    fn what_could_not_be_said_is_said_with_the_next_word() {
        let flusher = flusher();
        let refuse = |_: &Mark| Err(failed());
        assert!(flusher.announce(Offset::new(5), refuse).is_err());
        assert_eq!((flusher.mark().flushing_offset, flusher.is_behind()), (Offset::ZERO, true));
        assert_eq!(told(|write| flusher.announce(Offset::new(5), write)), Some((5, 0)));
        assert!(!flusher.is_behind());
        // What is durable is so whatever the slot says.
        assert!(flusher.made_durable(Offset::new(5), 50, refuse).is_err());
        assert_eq!((flusher.mark().flushed_offset, flusher.is_behind()), (Offset::new(5), true));
        assert_eq!(told(|write| flusher.announce(Offset::new(6), write)), Some((6, 5)));
        assert!(flusher.made_durable(Offset::new(6), 60, refuse).is_err());
        flusher.announce(Offset::new(9), |_| Ok(())).unwrap();
        assert!(flusher.change_mark(|mark| mark.failed = true, refuse).is_err());
        assert!(!flusher.mark().failed && flusher.is_behind());
        flusher.change_mark(|mark| mark.failed = true, |_| Ok(())).unwrap();
        assert!(flusher.mark().failed && !flusher.is_behind());
    }
}
