//! Commits that cannot be read, and the answers that they put in doubt.
//!
//! A commit that cannot be read may be newer than everything that is known about its group. Always true: an older
//! commit is never returned as the last one. A record with a readable key puts one partition of one group in doubt; a
//! batch that cannot be decoded may hold anything, and puts every commit before it in doubt, including those of unknown
//! groups. The next commit, or a tombstone, ends a doubt: the later record holds.

use crate::{
    error::Error,
    types::{Offset, TopicPartition},
};
use std::{collections::BTreeMap, iter};

/// What a commit that cannot be read may have been about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    Anything,
    Group(String),
    Partition(String, TopicPartition),
}

/// Why a scope is in doubt, and the offset from which on a commit is newer than the unreadable one.
#[derive(Debug)]
struct Doubt {
    until: Offset,
    error: Error,
}

/// All doubts about what groups committed. A log without damage raises none, and nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    open: BTreeMap<Scope, Doubt>,
    /// The offset of the last readable record about each scope, among those after the first doubt.
    settled: BTreeMap<Scope, Offset>,
}

impl Doubts {
    /// The log cannot be read up to `until`, for this reason, and may say something about `scope` there.
    pub(super) fn raise(&mut self, scope: Scope, until: Offset, error: Error) {
        self.open.insert(scope, Doubt { until, error });
    }

    /// The record at `at` counts, and is about `scope`. One of a transaction counts from the marker on, as of its own offset.
    pub(super) fn settle(&mut self, scope: impl FnOnce() -> Scope, at: Offset) {
        if self.open.is_empty() {
            return;
        }
        let scope = scope();
        let is_over = |other: &Scope| {
            *other == scope
                || matches!((&scope, other), (Scope::Group(group), Scope::Partition(of, _)) if group == of)
        };
        self.open.retain(|other, doubt| {
            let mut is_newer = at >= doubt.until;
            planted!(a_commit_is_as_new_as_its_marker => is_newer = true);
            !(is_newer && is_over(other))
        });
        let settled = self.settled.entry(scope).or_insert(at);
        *settled = at.max(*settled);
    }

    /// Whether every answer can be given.
    pub(super) fn are_none(&self) -> bool {
        self.open.is_empty()
    }

    /// Why the last commit of `group` for `partition` is unknown, if it is; without a partition, for those without a
    /// known commit.
    pub(super) fn about(&self, group: &str, partition: Option<&TopicPartition>) -> Option<Error> {
        if self.open.is_empty() {
            return None;
        }
        let of_partition = partition.map(|partition| Scope::Partition(group.to_string(), partition.clone()));
        let of_group = Scope::Group(group.to_string());
        let settled = [Some(&of_group), of_partition.as_ref()].into_iter().flatten();
        let settled = settled.filter_map(|scope| self.settled.get(scope)).max();
        let scopes = [of_partition.as_ref(), Some(&of_group), Some(&Scope::Anything)].into_iter().flatten();
        let mut doubts = scopes.filter_map(|scope| self.open.get(scope));
        let doubt = doubts.find(|doubt| settled.is_none_or(|at| *at < doubt.until))?;
        let what = partition.map_or_else(|| "any partition".to_string(), ToString::to_string);
        Some(explain(&doubt.error, group, &what))
    }

    /// The partitions for which some commit of `group` cannot be read.
    pub(super) fn partitions<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a TopicPartition> {
        self.groups_and_partitions().filter(move |(of, _)| *of == group).map(|(_, partition)| partition)
    }

    /// The partitions for which some commit cannot be read, with the group that made it.
    pub(super) fn groups_and_partitions(&self) -> impl Iterator<Item = (&str, &TopicPartition)> {
        let mut scopes = self.open.keys();
        iter::from_fn(move || {
            scopes.find_map(|scope| match scope {
                Scope::Partition(group, partition) => Some((group.as_str(), partition)),
                Scope::Anything | Scope::Group(_) => None,
            })
        })
    }
}

/// The error of the unreadable commit, for a question about `what` of `group`.
fn explain(error: &Error, group: &str, what: &str) -> Error {
    match error.clone() {
        Error::Corrupt { path, position, reason, next_offset } => {
            let reason = format!(
                "{reason}; what group '{group}' last committed for {what} may be there: commit an offset, or reset the group's offsets"
            );
            Error::Corrupt { path, position, reason, next_offset }
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

    fn partition(number: u32) -> TopicPartition {
        TopicPartition::new("t", number)
    }

    fn scope(group: &str, number: u32) -> Scope {
        Scope::Partition(group.into(), partition(number))
    }

    #[test]
    fn a_doubt_about_one_partition_is_about_no_other() {
        let mut doubts = Doubts::default();
        doubts.raise(scope("g", 0), Offset::new(10), damage());
        assert!(doubts.about("g", Some(&partition(0))).is_some());
        assert!(doubts.about("g", Some(&partition(1))).is_none() && doubts.about("g", None).is_none());
        assert!(doubts.about("h", Some(&partition(0))).is_none());
        doubts.settle(|| scope("g", 0), Offset::new(10));
        assert!(doubts.are_none());
    }

    #[test]
    fn a_doubt_about_anything_ends_for_each_partition_with_its_next_commit() {
        let mut doubts = Doubts::default();
        doubts.raise(Scope::Anything, Offset::new(10), damage());
        doubts.settle(|| scope("g", 0), Offset::new(10));
        doubts.settle(|| Scope::Group("h".into()), Offset::new(11));
        assert!(doubts.about("g", Some(&partition(0))).is_none());
        assert!(doubts.about("g", Some(&partition(1))).is_some() && doubts.about("g", None).is_some());
        assert!(doubts.about("h", Some(&partition(1))).is_none() && doubts.about("h", None).is_none());
        // The next one that cannot be read may be newer than those.
        doubts.raise(Scope::Anything, Offset::new(20), damage());
        assert!(doubts.about("g", Some(&partition(0))).is_some() && doubts.about("h", None).is_some());
    }
}
