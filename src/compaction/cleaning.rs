//! The cleaning of one log, round after round, until nothing that may be cleaned is dirty.
//!
//! It is a value: whoever has it asks for a step, does something else, and asks for the next. One that is dropped before its
//! end removes what it has written and not swapped.

use super::{
    rewrite::Cleaned,
    round::{Round, RoundOrder},
};
use crate::{
    error::{Error, Result},
    partition::write::cleanable::CleaningTurn,
    storage::foreign_files::remove_if_there,
};

/// See the head of the file.
pub struct Cleaning {
    turn: CleaningTurn,
    /// Whether nothing is to be written.
    is_rehearsal: bool,
    /// Whether the lag does not count.
    any_age: bool,
    /// Whether the topic's policy was to compact.
    asked_for: bool,
    round: Option<Round>,
    sum: Cleaned,
    /// Whether damaged keys were built again, which is done once.
    has_mended: bool,
    /// Whether a round was begun: there is one at least where age does not count.
    has_begun: bool,
}

impl Cleaning {
    /// A cleaning that has not begun.
    pub fn new(turn: CleaningTurn, is_rehearsal: bool, any_age: bool) -> Self {
        let sum = Cleaned { below: turn.log().clean_below(), ..Cleaned::default() };
        let asked_for = turn.log().config().cleanup_policy.compacts();
        Cleaning {
            turn,
            is_rehearsal,
            any_age,
            asked_for,
            round: None,
            sum,
            has_mended: false,
            has_begun: false,
        }
    }

    /// Does the next step; `false` where the log is clean. `goes_on` is asked after about each mebibyte that was read, and
    /// ends the cleaning with an error.
    pub fn step(&mut self, goes_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<bool> {
        self.turn.check()?;
        if self.asked_for && !self.turn.log().config().cleanup_policy.compacts() {
            return Err(Error::Cancelled {
                during: "compacting a topic that is not to be compacted any more",
            });
        }
        match self.go_on(goes_on) {
            Err(Error::Corrupt { path, .. })
                if !self.has_mended && path.extension().is_some_and(|ext| ext == "keys") =>
            {
                self.discard();
                self.has_mended = true;
                self.has_begun = false;
                remove_if_there(&**self.turn.env(), &path).map(|()| true)
            }
            other => other,
        }
    }

    fn go_on(&mut self, goes_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<bool> {
        if let Some(round) = &mut self.round {
            if !round.step(&self.turn, &mut self.sum, goes_on)? {
                self.round = None;
            }
            return Ok(true);
        }
        let Cleaning { any_age, is_rehearsal, .. } = *self;
        let must = any_age && !std::mem::replace(&mut self.has_begun, true);
        let order = RoundOrder { any_age, is_rehearsal, must };
        self.round = Round::begin(&self.turn, self.sum.below, order)?;
        Ok(self.round.is_some())
    }

    /// What was done so far.
    pub fn done(&self) -> Cleaned {
        self.sum
    }

    /// Its turn.
    pub fn turn(&self) -> &CleaningTurn {
        &self.turn
    }

    fn discard(&mut self) {
        if let Some(mut round) = self.round.take().filter(|_| self.turn.is_of_the_log()) {
            round.discard();
        }
    }
}

impl Drop for Cleaning {
    fn drop(&mut self) {
        unless_planted!(what_was_not_swapped_stays => self.discard());
    }
}
