//! What all groups have committed: a map that is the sum of the records of `__consumer_offsets`.
//!
//! Offsets of a transaction [wait](Pending) for its end. Records of other kinds are kept as they are. A record or batch
//! that cannot be read puts in [doubt](Doubts) only the commits that it may replace.

use super::{
    OFFSETS_TOPIC,
    doubts::{Doubts, Scope},
    entry::{Entry, Groups, partition_of, read, written},
    pending::{Pending, Waiting},
    record::OffsetRecord,
};
use crate::{
    codec::{
        DecodeError,
        coordinator::{
            OffsetKey,
            committed::{About, CommitRecord, CommittedEntry, OtherRecord, decode_commit_record},
            committed_snapshot::{
                CommittedSnapshot, PendingEntry, decode_committed_snapshot, encode_committed_snapshot,
            },
            encode_group_metadata_key,
        },
        record::Record,
    },
    error::{self, Error},
    table::{SidecarPoint, State, TableRecord},
    types::{Offset, ProducerEpoch, TopicPartition},
};
use std::collections::{BTreeMap, BTreeSet};

/// What all groups committed.
#[derive(Debug, Default)]
pub(crate) struct GroupOffsets {
    pub(super) groups: Groups<Entry>,
    /// What is committed with a transaction.
    pub(super) pending: Pending,
    /// Which of these may be out of date.
    pub(super) doubts: Doubts,
    /// What else stands in the log, by its key.
    others: BTreeMap<Vec<u8>, OtherRecord>,
}

impl State for GroupOffsets {
    const TOPIC: &'static str = OFFSETS_TOPIC;
    const SIDECAR: &'static str = "consumer-offsets.snapshot";

    fn apply(
        &mut self,
        record: &Record<'_>,
        by: Option<ProducerEpoch>,
        unreadable: &dyn Fn(DecodeError) -> Error,
    ) {
        if let Err((scope, error)) = self.apply_record(record, by) {
            let error = unreadable(error);
            if let Some(scope) = scope {
                self.doubts.raise(scope, record.offset + 1, error);
            }
        }
    }

    fn end(&mut self, by: ProducerEpoch, commit: bool) {
        let mut counts = commit;
        planted!(offsets_of_an_abort_are_committed => counts = true);
        for (group, partition, Waiting { at, entry }) in self.pending.end(by).into_iter().filter(|_| counts) {
            self.commit(group, partition, entry, at);
        }
    }

    fn pass_over(&mut self, until: Offset, error: Error) {
        // A marker may have been there: whatever waits is in doubt, as everything is.
        self.pending.give_up();
        self.doubts.raise(Scope::Anything, until, error);
    }

    fn is_whole(&self) -> bool {
        self.doubts.are_none()
    }

    fn awaits_an_end(&self) -> bool {
        self.pending.any_will_end()
    }

    fn snapshot(&self) -> Vec<TableRecord> {
        let values = self.entries().map(|entry| OffsetRecord::Value(entry).encode());
        let mut others: Vec<_> =
            self.others.values().map(|other| OffsetRecord::Other(other.clone()).encode()).collect();
        planted!(only_offsets_are_carried_over => others.clear());
        values.chain(others).collect()
    }

    fn encode_sidecar(&self, at: SidecarPoint) -> Vec<u8> {
        let SidecarPoint { topic_id, incarnation, next_offset } = at;
        let pending = self.pending.all().map(|(by, group, partition, waiting)| PendingEntry {
            by,
            at: waiting.at,
            entry: written(group, partition, &waiting.entry),
        });
        encode_committed_snapshot(&CommittedSnapshot {
            topic_id,
            incarnation,
            next_offset,
            entries: self.entries().collect(),
            pending: pending.collect(),
            others: self.others.values().cloned().collect(),
        })
    }

    fn decode_sidecar(bytes: &[u8]) -> Result<(SidecarPoint, Self), DecodeError> {
        let CommittedSnapshot { topic_id, incarnation, next_offset, entries, pending, others } =
            decode_committed_snapshot(bytes)?;
        let mut state = GroupOffsets::default();
        for entry in entries {
            let (group, partition, entry) = read(entry)?;
            state.groups.entry(group).or_default().insert(partition, entry);
        }
        for PendingEntry { by, at, entry } in pending {
            let (group, partition, entry) = read(entry)?;
            state.pending.wait(by, group, partition, Waiting { at, entry });
        }
        state.others = others.into_iter().map(|other| (other.key.clone(), other)).collect();
        Ok((SidecarPoint { topic_id, incarnation, next_offset }, state))
    }
}

impl GroupOffsets {
    /// Applies the record. If it cannot, it returns what the record may have been about; `None` where no group could
    /// ask for that.
    fn apply_record(
        &mut self,
        record: &Record<'_>,
        by: Option<ProducerEpoch>,
    ) -> Result<(), (Option<Scope>, DecodeError)> {
        let names = |key: &OffsetKey| partition_of(key).map_err(|error| (None, error));
        match decode_commit_record(record) {
            Ok(CommitRecord::Committed(entry)) => {
                let scope = Scope::Partition(entry.key.group.clone(), names(&entry.key)?);
                let (group, partition, entry) = read(entry).map_err(|error| (Some(scope), error))?;
                let mut by = by;
                planted!(offsets_are_applied_at_append => by = None);
                match by {
                    Some(by) => {
                        self.pending.wait(by, group, partition, Waiting { at: record.offset, entry });
                    }
                    None => self.commit(group, partition, entry, record.offset),
                }
            }
            // As in Kafka, what is deleted is deleted in a transaction as well as outside.
            Ok(CommitRecord::Forgotten(key)) => {
                let partition = names(&key)?;
                self.forget(&key.group, &partition);
                self.pending.give_up_older(&key.group, &partition, record.offset);
                self.doubts.settle(|| Scope::Partition(key.group, partition), record.offset);
            }
            Ok(CommitRecord::GroupForgotten(group)) => {
                self.others.remove(&encode_group_metadata_key(&group));
                self.doubts.settle(|| Scope::Group(group), record.offset);
            }
            Ok(CommitRecord::Other(other)) if other.value.is_none() => drop(self.others.remove(&other.key)),
            Ok(CommitRecord::Other(other)) => drop(self.others.insert(other.key.clone(), other)),
            Ok(CommitRecord::Keyless) => {}
            Err(unreadable) => {
                let scope = match unreadable.about {
                    About::Anything => Scope::Anything,
                    About::Group(group) => Scope::Group(group),
                    About::Offset(key) => Scope::Partition(key.group.clone(), names(&key)?),
                };
                return Err((Some(scope), unreadable.error));
            }
        }
        Ok(())
    }

    /// The record at `at`, which says this, counts.
    fn commit(&mut self, group: String, partition: TopicPartition, entry: Entry, at: Offset) {
        self.pending.give_up_older(&group, &partition, at);
        self.doubts.settle(|| Scope::Partition(group.clone(), partition.clone()), at);
        self.groups.entry(group).or_default().insert(partition, entry);
    }

    fn forget(&mut self, group: &str, partition: &TopicPartition) {
        if let Some(offsets) = self.groups.get_mut(group) {
            offsets.remove(partition);
            let mut is_empty = offsets.is_empty();
            planted!(a_tombstone_forgets_the_group => is_empty = true);
            if is_empty {
                self.groups.remove(group);
            }
        }
    }

    /// What `group` has committed for `partition`.
    ///
    /// # Errors
    ///
    /// The error of a commit that cannot be read and may be a later one.
    pub(super) fn committed(&self, group: &str, partition: &TopicPartition) -> error::Result<Option<&Entry>> {
        if let Some(error) = self.doubts.about(group, Some(partition)) {
            unless_planted!(believe_older_commits => return Err(error));
        }
        Ok(self.groups.get(group).and_then(|offsets| offsets.get(partition)))
    }

    /// All partitions for which `group` is known to have committed, whether that can be read or not.
    pub(super) fn partitions(&self, group: &str) -> BTreeSet<TopicPartition> {
        let known = self.groups.get(group).into_iter().flat_map(|offsets| offsets.keys());
        known.chain(self.doubts.partitions(group)).cloned().collect()
    }

    /// The partitions for which something of `group` is known, committed or waiting, readable or not.
    pub(super) fn all_partitions(&self, group: &str) -> BTreeSet<TopicPartition> {
        let waiting = self.pending.all().filter(|(_, of, ..)| *of == group);
        let waiting = waiting.map(|(_, _, partition, _)| partition.clone());
        self.partitions(group).into_iter().chain(waiting).collect()
    }

    /// All entries, as they are written.
    fn entries(&self) -> impl Iterator<Item = CommittedEntry> {
        self.groups.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(|(partition, entry)| written(group, partition, entry))
        })
    }
}
