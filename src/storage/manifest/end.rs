//! Where the manifest ends, as the marks know it.
//!
//! A file cannot say of itself that its end was cut off. So the marks have a slot that says how much of which file is
//! durable. It is written after each flush of the manifest, and is itself flushed like every mark: it may be behind, never
//! ahead. The manifest in turn records how much the marks are known to have said durably.
//!
//! What an opening finds, then:
//!
//! * less manifest than the marks describe: it was **cut short**, or it is **out of date**. Beside a writer, only a reader
//!   that read the marks first and the manifest after may say so;
//! * marks that say less than the manifest records: the **marks are out of date**. That takes the other order;
//! * a file from before there was such a slot: marks of partitions that it does not name, and that had records, reveal the
//!   loss.
//!
//! All three are damage, and nothing is written. An append that no flush covered is still a torn tail, as always.

use super::{Inner, Manifest};
use crate::{
    codec::mark::ManifestMark,
    error::{Error, Result},
    storage::{
        handle_role::HandleRole,
        marks::{InUse, Marks},
    },
};
use std::{
    cmp::Ordering::{Equal, Greater, Less},
    sync::Arc,
};

/// What to do about a manifest that is not the last one.
const HELP: &str = "nothing was changed; put back the newest copies of manifest and marks, of the same moment. \
    Without them, PartitionDir::open_read_only reads each partition's directory";

impl Manifest {
    /// Has the marks say from now on how much of the manifest is durable.
    pub fn marked_in(mut self, marks: Arc<Marks>) -> Manifest {
        self.marks = Some(marks);
        self
    }

    /// Whether what was read is all that there was, as far as the marks know.
    ///
    /// # Errors
    /// `Corrupt`, which names the manifest or the marks, whichever is not of the last day.
    pub fn check_end(&self) -> Result<()> {
        let Some(marks) = &self.marks else { return Ok(()) };
        let mut inner = self.inner.lock();
        let seen = self.seen_in(marks, &inner)?;
        self.judge_marks(marks, seen, &inner)?;
        let judged = self.judge_end(marks, seen, &inner);
        if judged.is_err() && self.role == HandleRole::ReadOnly {
            // Somebody may be writing: against these marks only a manifest that is read after them counts.
            self.refresh(&mut inner)?;
            return self.judge_end(marks, seen, &inner);
        }
        judged
    }

    /// What the marks have to say of the manifest, and in which slot.
    fn seen_in(&self, marks: &Marks, inner: &Inner) -> Result<Option<(u32, InUse)>> {
        let state = self.state();
        if let Some(own) = state.own()
            && let Some(mark) = marks.read_manifest(own.slot)?
        {
            return Ok(Some((own.slot, InUse::Manifest(mark))));
        }
        debug_assert!(inner.len > 0 || state.is_new());
        marks.find_in_use(state.next_slot())
    }

    /// Whether the marks, which were read after the manifest, say as much as it knows of.
    fn judge_marks(&self, marks: &Marks, seen: Option<(u32, InUse)>, inner: &Inner) -> Result<()> {
        let (Some((slot, InUse::Manifest(mark))), Some(own)) = (seen, self.state().own()) else {
            return Ok(());
        };
        let is_earlier = match mark.number.cmp(&own.number) {
            _ if slot != own.slot => false,
            Less => own.said > 0,
            Equal => mark.epoch == inner.epoch && mark.durable < own.said,
            Greater => false,
        };
        if is_earlier { Err(marks_are_earlier(marks, slot)) } else { Ok(()) }
    }

    /// Whether the manifest, read after the marks if there is a writer, has everything that they describe.
    fn judge_end(&self, marks: &Marks, seen: Option<(u32, InUse)>, inner: &Inner) -> Result<()> {
        let state = self.state();
        let end = inner.len;
        match (seen, state.own()) {
            (None, _) => Ok(()),
            (Some((slot, InUse::Manifest(mark))), Some(own)) if slot == own.slot => {
                let is_earlier = mark.number > own.number;
                if is_earlier || (mark.number == own.number && mark.epoch != inner.epoch) {
                    return Err(self.not_the_last(marks, slot));
                }
                let known = if mark.number == own.number { mark.durable } else { 0 };
                if known > end {
                    let reason = format!(
                        "the manifest ends here, though {} bytes of it were durable, as {} says: it was cut short; {HELP}",
                        known,
                        marks.place_of(slot).0.display()
                    );
                    return Err(Error::corrupt(&self.path, end, reason));
                }
                Ok(())
            }
            (Some((slot, InUse::Manifest(_))), _) => Err(self.not_the_last(marks, slot)),
            (Some((slot, InUse::Partition(mark))), _) if slot >= state.next_slot() => {
                let (path, position) = marks.place_of(slot);
                let reason = format!(
                    "the manifest does not name partition {} of topic {}, which has durable records as {} says at \
                     byte {position}: it was cut short, or is out of date; {HELP}",
                    mark.partition,
                    mark.topic,
                    path.display()
                );
                Err(Error::corrupt(&self.path, end, reason))
            }
            (Some((_, InUse::Partition(_))), _) => Ok(()),
        }
    }

    fn not_the_last(&self, marks: &Marks, slot: u32) -> Error {
        let (path, position) = marks.place_of(slot);
        let reason = format!(
            "this is not the manifest that {} describes at byte {position}: it is out of date, or missing; {HELP}",
            path.display()
        );
        Error::corrupt(&self.path, 0, reason)
    }

    /// Notes how much of the file is durable. The note errs on one side, so one that cannot be written is done without.
    pub(super) fn note_end(&self, inner: &Inner) -> bool {
        let (Some(marks), Some(own)) = (&self.marks, inner.ahead.own()) else { return false };
        planted!(forget_where_the_manifest_ends => return false);
        let mark = ManifestMark { epoch: inner.epoch, number: own.number, durable: inner.durable };
        marks.write_manifest(own.slot, &mark).is_ok()
    }

    /// As [`Manifest::note_end`], of a new file: the note is flushed, and the file says so.
    pub(super) fn note_end_durably(&self, inner: &mut Inner) {
        if self.note_end(inner) && self.marks.as_ref().is_some_and(|marks| marks.flush().is_ok()) {
            self.write_mark_alone(inner);
        }
    }

    /// How much of the file the marks durably describe, if the file does not record it yet.
    pub(super) fn newly_said(&self, inner: &Inner) -> Option<u64> {
        let own = inner.ahead.own()?;
        let said = self.marks.as_ref()?.said_durably()?;
        let is_new = said.epoch == inner.epoch && said.number == own.number && said.durable > own.said;
        is_new.then_some(said.durable)
    }

    /// What is known of the file is part of the state that everybody sees.
    pub(super) fn publish_own(&self, inner: &Inner) {
        let own = inner.ahead.own();
        let mut state = self.state.lock();
        if state.own() != own {
            Arc::make_mut(&mut state).set_own(own);
        }
    }
}

fn marks_are_earlier(marks: &Marks, slot: u32) -> Error {
    let (path, position) = marks.place_of(slot);
    let reason = "the marks are older than the manifest, which records that they said more; nothing was \
        changed; put back the newest copy, or remove the file: partitions that were not closed are then read from \
        their start";
    Error::corrupt(path, position, reason)
}

#[cfg(test)]
#[path = "end_tests.rs"]
mod tests;
