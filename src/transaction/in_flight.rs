//! Entries that were appended and cannot be read back yet.
//!
//! The table shows what is durable, and records are appended before they are. Whether a producer is fenced must not wait
//! for a flush: a claim, and a decision, look here first. Always true: operations run one at a time, so the last change of
//! a name here is the last one in the log, unless its append failed, which its maker says.

use crate::{codec::coordinator::transactions::TransactionValue, types::Offset};
use std::collections::BTreeMap;

/// A change, to be named again by its maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
struct Change {
    ticket: Ticket,
    /// The entry from then on; `None` if the name was forgotten.
    value: Option<TransactionValue>,
    /// The end of its record, once that is known.
    end: Option<Offset>,
}

/// The changes by name, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    changes: BTreeMap<String, Vec<Change>>,
    tickets: u64,
    cleaned: Offset,
}

impl InFlight {
    /// Forgets the changes that are below `applied`: the table's state has them.
    pub(super) fn applied(&mut self, applied: Offset) {
        if applied == self.cleaned {
            return;
        }
        self.cleaned = applied;
        self.changes.retain(|_, changes| {
            changes.retain(|change| change.end.is_none_or(|end| end > applied));
            !changes.is_empty()
        });
    }

    /// The last change of `name`, if there is one here.
    pub(super) fn last(&self, name: &str) -> Option<&Option<TransactionValue>> {
        self.changes.get(name)?.last().map(|change| &change.value)
    }

    /// The last change of each name that is here.
    pub(super) fn latest(&self) -> impl Iterator<Item = (&str, Option<&TransactionValue>)> {
        self.changes.iter().filter_map(|(name, changes)| {
            let last = changes.last()?;
            Some((name.as_str(), last.value.as_ref()))
        })
    }

    /// `name` is going to be changed.
    pub(super) fn add(&mut self, name: &str, value: Option<TransactionValue>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let changes = self.changes.entry(name.to_string()).or_default();
        changes.push(Change { ticket, value, end: None });
        ticket
    }

    /// The change was appended, and ends there; or it is not in flight any more.
    pub(super) fn appended(&mut self, name: &str, ticket: Ticket, end: Option<Offset>) {
        let Some(changes) = self.changes.get_mut(name) else { return };
        match end {
            Some(end) => changes.iter_mut().filter(|c| c.ticket == ticket).for_each(|c| c.end = Some(end)),
            None => changes.retain(|change| change.ticket != ticket),
        }
        if changes.is_empty() {
            self.changes.remove(name);
        }
    }
}
