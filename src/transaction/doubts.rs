//! Records that cannot be read, and the answers that they put in doubt.
//!
//! A record with a readable key may be the last one of its name, or any decision of it; a batch that cannot be decoded may
//! be so for every name. The next readable record of a name ends the doubt about its entry. A decision stays in doubt:
//! what is read later does not say what was decided before.

use crate::{error::Error, types::Offset};
use std::collections::BTreeMap;

/// Why something is in doubt, and the offset from which on a record is newer.
#[derive(Debug)]
struct Doubt {
    until: Offset,
    error: Error,
}

/// All doubts. A log without damage raises none, and nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    about_all: Option<Doubt>,
    by_name: BTreeMap<String, Doubt>,
    /// Where names were forgotten after the first doubt: they have no entry that would say it.
    forgotten: BTreeMap<String, Offset>,
}

impl Doubts {
    /// The log cannot be read up to `until`, and may say something about `name` there, or about anything.
    pub(super) fn raise(&mut self, name: Option<String>, until: Offset, error: Error) {
        let doubt = Doubt { until, error };
        match name {
            Some(name) => _ = self.by_name.insert(name, doubt),
            None => self.about_all = Some(doubt),
        }
    }

    /// `name` was forgotten at this offset.
    pub(super) fn forgotten(&mut self, name: &str, at: Offset) {
        if !self.are_none() {
            self.forgotten.insert(name.to_string(), at);
        }
    }

    /// Whether every answer can be given.
    pub(super) fn are_none(&self) -> bool {
        self.about_all.is_none() && self.by_name.is_empty()
    }

    /// Why the entry of `name`, of which the record at `last` is the last that was read, may be another one.
    pub(super) fn about_entry(&self, name: &str, last: Option<Offset>) -> Option<Error> {
        if self.are_none() {
            return None;
        }
        let last = last.max(self.forgotten.get(name).copied());
        let mut doubts = self.by_name.get(name).into_iter().chain(&self.about_all);
        let doubt = doubts.find(|doubt| last.is_none_or(|at| at < doubt.until))?;
        Some(explain(
            &doubt.error,
            &format!("what producer '{name}' did last may be there: forget that producer"),
        ))
    }

    /// Why a decision may have been made, or changed, after `since`. Without `name` it may be of any.
    pub(super) fn about_decision(&self, name: Option<&str>, since: Option<Offset>) -> Option<Error> {
        let of_name = |other: &str| name.is_none_or(|name| name == other);
        let by_name = self.by_name.iter().filter(|(other, _)| of_name(other)).map(|(_, doubt)| doubt);
        let mut doubts = by_name.chain(&self.about_all);
        let doubt = doubts.find(|doubt| since.is_none_or(|at| at < doubt.until))?;
        Some(explain(
            &doubt.error,
            "what was decided about a transaction that is open may be there: abort it",
        ))
    }
}

/// The error of the unreadable record, with what it hides.
fn explain(error: &Error, what: &str) -> Error {
    match error.clone() {
        Error::Corrupt { path, position, reason, next_offset } => {
            Error::Corrupt { path, position, reason: format!("{reason}; {what}"), next_offset }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage() -> Error {
        Error::corrupt("a.log", 7, "bad").going_on_at(Offset::new(10))
    }

    #[test]
    fn a_doubt_about_one_name_is_about_no_other() {
        let mut doubts = Doubts::default();
        doubts.raise(Some("a".into()), Offset::new(10), damage());
        assert!(doubts.about_entry("a", Some(Offset::new(9))).is_some());
        assert!(doubts.about_entry("a", Some(Offset::new(10))).is_none());
        assert!(doubts.about_entry("b", None).is_none() && doubts.about_decision(Some("b"), None).is_none());
        // A later entry does not say what was decided before.
        assert!(
            doubts.about_decision(Some("a"), None).is_some() && doubts.about_decision(None, None).is_some()
        );
        assert!(doubts.about_decision(Some("a"), Some(Offset::new(10))).is_none() && !doubts.are_none());
    }

    #[test]
    fn a_doubt_about_anything_ends_for_a_name_that_is_forgotten() {
        let mut doubts = Doubts::default();
        doubts.raise(None, Offset::new(10), damage());
        assert!(doubts.about_entry("a", None).is_some() && doubts.about_decision(Some("a"), None).is_some());
        doubts.forgotten("a", Offset::new(12));
        assert!(doubts.about_entry("a", None).is_none() && doubts.about_entry("b", None).is_some());
        doubts.raise(None, Offset::new(20), damage());
        assert!(doubts.about_entry("a", None).is_some());
    }
}
