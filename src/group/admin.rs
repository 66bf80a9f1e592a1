//! Administration of groups: their names, their lag, and moving or deleting their committed offsets.

use super::{
    CommittedOffset, OffsetStore,
    entry::Entry,
    record::{OffsetRecord, key},
};
use crate::{
    consumer::coordinator::{Coordinator, OffsetCommit},
    error::{Error, Result},
    partition::{
        log::Log,
        read::by_time::{check_time, offset_for_timestamp},
    },
    table::Update,
    types::{IsolationLevel, Offset, Timestamp, TopicPartition},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A group, as [`Streamlog::describe_group`](crate::Streamlog::describe_group) finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// What it has committed, in the order of the partitions.
    pub committed: Vec<(TopicPartition, CommittedOffset)>,
    /// The partitions of the requested topics in which it has committed nothing, and how many offsets each has.
    pub uncommitted: Vec<(TopicPartition, u64)>,
}

impl GroupDescription {
    /// How many offsets lie between what it committed and the ends, over all partitions; where it has committed nothing,
    /// between the log start and the end.
    pub fn lag(&self) -> u64 {
        let committed = self.committed.iter().filter_map(|(_, committed)| committed.lag);
        committed.chain(self.uncommitted.iter().map(|(_, lag)| *lag)).fold(0, u64::saturating_add)
    }
}

/// Where the offsets of a group are moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetTo {
    /// To the log start.
    Earliest,
    /// To the end.
    Latest,
    /// To the first record whose timestamp is this or later; to the end where there is none.
    Timestamp(Timestamp),
    /// To this offset, or to the log start or the end if it lies outside the log.
    Offset(Offset),
    /// By this many offsets, forwards or (negative) backwards, but not beyond the log start or the end. A partition
    /// without a committed offset stays without one.
    ShiftBy(i64),
}

/// Which offsets of a group are reset, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupReset {
    to: ResetTo,
    topics: Vec<String>,
    partitions: Vec<TopicPartition>,
}

impl GroupReset {
    /// Resets all partitions for which the group has committed, unless [`topic`](Self::topic) or
    /// [`partition`](Self::partition) names some.
    pub fn to(to: ResetTo) -> Self {
        GroupReset { to, topics: Vec::new(), partitions: Vec::new() }
    }

    /// Resets all partitions of this topic, whether the group has committed there or not. May be called several times.
    #[must_use]
    pub fn topic(mut self, name: impl Into<String>) -> Self {
        self.topics.push(name.into());
        self
    }

    /// Resets this partition, whether the group has committed there or not. May be called several times.
    #[must_use]
    pub fn partition(mut self, partition: TopicPartition) -> Self {
        self.partitions.push(partition);
        self
    }
}

impl OffsetStore {
    /// The names of all groups that have committed anything, sorted. Groups of which no commit can be read are missing;
    /// [`health`](crate::Streamlog::health) then reports the damage.
    ///
    /// # Errors
    ///
    /// `Io`, `Closed`.
    pub fn groups(&self) -> Result<Vec<String>> {
        self.table.read(|state| state.groups.keys().cloned().collect())
    }

    /// What a group has committed, and its lag; nothing for an unknown group.
    ///
    /// # Errors
    ///
    /// As for [`groups`](Self::groups); `Corrupt` or `CodecUnavailable` where a commit that cannot be read may be the
    /// latest of this group.
    pub fn describe_group(&self, name: &str) -> Result<GroupDescription> {
        let entries = self.table.read(|state| -> Result<Vec<(TopicPartition, Entry)>> {
            let partitions = state.partitions(name);
            if partitions.is_empty() {
                return state.doubts.about(name, None).map_or(Ok(Vec::new()), Err);
            }
            let mut entries = Vec::new();
            for partition in partitions {
                if let Some(entry) = state.committed(name, &partition)?.cloned() {
                    entries.push((partition, entry));
                }
            }
            Ok(entries)
        })??;
        let committed = entries.into_iter().map(|(partition, entry)| {
            let described = self.describe(&partition, entry);
            (partition, described)
        });
        Ok(GroupDescription {
            name: name.to_string(),
            committed: committed.collect(),
            uncommitted: Vec::new(),
        })
    }

    /// The same, with every partition of `topics`.
    ///
    /// # Errors
    ///
    /// As for [`groups`](Self::groups); `UnknownTopic`.
    pub fn describe_group_on(&self, name: &str, topics: &[&str]) -> Result<GroupDescription> {
        let mut described = self.describe_group(name)?;
        let mut uncommitted = BTreeMap::new();
        for topic in topics {
            for log in self.catalog.topic(topic)?.logs().iter() {
                let lag = log.offsets().high_watermark().distance_from(log.offsets().log_start());
                uncommitted.insert(log.identity.name.clone(), lag);
            }
        }
        // An offset committed for a deleted topic of the same name does not belong to this one.
        for (partition, _) in described.committed.iter().filter(|(_, committed)| committed.lag.is_some()) {
            uncommitted.remove(partition);
        }
        described.uncommitted = uncommitted.into_iter().collect();
        Ok(described)
    }

    /// Moves what a group has committed, as one commit, and returns where to. A running consumer of the group keeps its
    /// positions, and its next commit undoes this: it should be stopped first.
    ///
    /// A group that has not committed anything yet can be given its first offsets this way, by topic or partition.
    ///
    /// # Errors
    ///
    /// `UnknownGroup` when it has committed nothing and nothing is named; `UnknownTopic`, `UnknownPartition`; `ReadOnly`;
    /// `InvalidArgument` for a negative time; those of a commit; for [`ResetTo::ShiftBy`] those of
    /// [`describe_group`](Self::describe_group). Nothing is moved then.
    pub fn reset_group_offsets(
        &self,
        name: &str,
        what: &GroupReset,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.catalog.data_dir().check_writable()?;
        let partitions = self.partitions_of(name)?;
        let names_any = !(what.topics.is_empty() && what.partitions.is_empty());
        if partitions.is_empty() && !names_any {
            return Err(self.unknown_group(name)?);
        }
        let mut logs = BTreeMap::new();
        let mut add = |log: Arc<Log>| drop(logs.insert(log.identity.name.clone(), log));
        for topic in &what.topics {
            self.catalog.topic(topic)?.logs().iter().cloned().for_each(&mut add);
        }
        for partition in &what.partitions {
            add(self.catalog.log(partition)?);
        }
        if !names_any {
            // Offsets committed for a deleted topic stay as they are: there is nowhere to move them to.
            partitions.iter().filter_map(|p| self.catalog.log(p).ok()).for_each(&mut add);
        }
        let mut commits = Vec::new();
        for (partition, log) in logs {
            let committed = match what.to {
                ResetTo::ShiftBy(_) => self.committed_in(name, &partition, &log)?,
                _ => None,
            };
            if let Some(offset) = target(&log, what.to, committed)? {
                commits.push(OffsetCommit { log, offset, metadata: String::new() });
            }
        }
        self.commit(name, &commits)?;
        Ok(commits.into_iter().map(|commit| (commit.log.identity.name.clone(), commit.offset)).collect())
    }

    /// Forgets a group and all it has committed. That is durable when this returns. What open transactions are about to
    /// commit for it is forgotten as well.
    ///
    /// # Errors
    ///
    /// `UnknownGroup`, `ReadOnly`, and what the operating system says.
    pub fn delete_group(&self, name: &str) -> Result<()> {
        self.catalog.data_dir().check_writable()?;
        self.table.update(|view| {
            // What waits for a transaction goes as well, as in Kafka: its end is to bring nothing back.
            let mut partitions = view.state.all_partitions(name);
            planted!(a_deletion_spares_what_waits => partitions = view.state.partitions(name));
            // An unknown group may have commits among those that cannot be read.
            if partitions.is_empty() && view.state.doubts.about(name, None).is_none() {
                return Err(Error::UnknownGroup { name: name.to_string() });
            }
            let tombstones = partitions.iter().map(|p| OffsetRecord::Tombstone(key(name, p)));
            // Kafka writes this one as well, whether the group had such a record or not.
            let tombstones = tombstones.chain([OffsetRecord::GroupTombstone(name.to_string())]);
            Ok(Update::in_pieces(tombstones.map(|record| record.encode()).collect(), ()))
        })
    }

    /// Forgets what all groups have committed for a topic: it is being deleted. That is durable when this returns.
    ///
    /// # Errors
    ///
    /// `ReadOnly`, and what the operating system says.
    pub fn forget_topic(&self, topic: &str) -> Result<()> {
        self.catalog.data_dir().check_writable()?;
        self.table.update(|view| {
            let groups = view.state.groups.iter();
            let known = groups.flat_map(|(group, offsets)| offsets.keys().map(|p| (group.as_str(), p)));
            let waiting = view.state.pending.all().map(|(_, group, partition, _)| (group, partition));
            let known = known.chain(waiting);
            let all: BTreeSet<_> = known.chain(view.state.doubts.groups_and_partitions()).collect();
            let of_topic = all.into_iter().filter(|(_, partition)| &*partition.topic == topic);
            let tombstones = of_topic.map(|(group, p)| OffsetRecord::Tombstone(key(group, p)).encode());
            Ok(Update::in_pieces(tombstones.collect(), ()))
        })
    }

    /// The partitions for which a group is known to have committed.
    fn partitions_of(&self, group: &str) -> Result<BTreeSet<TopicPartition>> {
        self.table.read(|state| state.partitions(group))
    }

    /// What a group has committed for `partition` of the topic as it is now.
    fn committed_in(&self, group: &str, partition: &TopicPartition, log: &Log) -> Result<Option<Offset>> {
        self.table.read(|state| {
            let entry = state.committed(group, partition)?;
            Ok(entry.filter(|entry| entry.is_of(log)).map(|entry| entry.offset))
        })?
    }

    /// The error about a group without a known commit: commits that cannot be read may be its own.
    fn unknown_group(&self, name: &str) -> Result<Error> {
        let doubt = self.table.read(|state| state.doubts.about(name, None))?;
        Ok(doubt.unwrap_or_else(|| Error::UnknownGroup { name: name.to_string() }))
    }
}

/// Where `to` is in `log`; `None` where there is nothing to shift.
fn target(log: &Arc<Log>, to: ResetTo, committed: Option<Offset>) -> Result<Option<Offset>> {
    let isolation = IsolationLevel::ReadUncommitted;
    let (start, end) = (log.offsets().log_start(), log.offsets().bound(isolation));
    let wanted = match to {
        ResetTo::Earliest => start,
        ResetTo::Latest => end,
        ResetTo::Timestamp(time) => {
            check_time(time)?;
            offset_for_timestamp(log, time, isolation)?.map_or(end, |found| found.offset)
        }
        ResetTo::Offset(offset) => offset,
        ResetTo::ShiftBy(by) => {
            let Some(offset) = committed else {
                planted!(a_shift_begins_at_the_start => return Ok(Some(start)));
                return Ok(None);
            };
            let mut is_backwards = by < 0;
            planted!(a_shift_forgets_its_sign => is_backwards = false);
            match is_backwards {
                true => offset.saturating_sub(by.unsigned_abs()),
                false => offset.saturating_add(by.unsigned_abs()),
            }
        }
    };
    planted!(a_reset_leaves_the_log => return Ok(Some(wanted)));
    Ok(Some(wanted.max(start).min(end.max(start))))
}
