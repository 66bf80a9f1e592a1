//! The store of committed offsets: what a commit must fulfil, which part of it is written, and what was committed.

use super::{
    entry::Entry,
    record::{OffsetRecord, key},
    state::GroupOffsets,
};
use crate::{
    codec::coordinator::{
        OffsetValue,
        committed::{CommittedEntry, Life},
    },
    consumer::{
        CommittedOffset,
        coordinator::{Committed, Coordinator, OffsetCommit},
    },
    error::{Error, Result},
    partition::{
        log::Log,
        state::{
            hold::{Held, Hold},
            identity::Identity,
        },
        write::commit,
    },
    table::{CompactionThresholds, Table, Update},
    topic::catalog::Catalog,
    types::{Offset, Timestamp, TopicPartition, name::check_group},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The most metadata beside an offset, in bytes (Kafka's `offset.metadata.max.bytes`).
const METADATA_MAX: usize = 4096;

/// Keeps the offsets that groups commit. There is one per open log.
pub struct OffsetStore {
    pub(super) catalog: Arc<Catalog>,
    pub(super) table: Table<GroupOffsets>,
}

impl fmt::Debug for OffsetStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffsetStore").finish_non_exhaustive()
    }
}

impl OffsetStore {
    #[cfg(test)]
    pub(crate) fn new(catalog: Arc<Catalog>) -> Arc<Self> {
        Self::with_upkeep(catalog, CompactionThresholds::default())
    }

    /// The store of what groups commit, in the topics of `catalog`. Nothing is read until it is asked for.
    pub(crate) fn with_upkeep(catalog: Arc<Catalog>, upkeep: CompactionThresholds) -> Arc<Self> {
        let table = Table::new(Arc::clone(&catalog), upkeep);
        Arc::new(OffsetStore { catalog, table })
    }

    /// Commits those of `commits` that `group` does not have yet.
    fn write(&self, group: &str, commits: &[&OffsetCommit]) -> Result<()> {
        self.table.update(|view| {
            let news = match view.is_current {
                true => news(view.state, group, commits),
                // A commit in flight may say anything: all the values are written after it.
                false => commits.to_vec(),
            };
            let records = news.iter().map(|commit| entry_of(group, commit, view.now));
            Ok(Update::atomic(records.map(|entry| OffsetRecord::Value(entry).encode()).collect(), ()))
        })
    }

    /// Writes `records`, however many they are.
    #[cfg(test)]
    pub(super) fn write_many(&self, records: Vec<OffsetRecord>) -> Result<()> {
        let records = records.iter().map(OffsetRecord::encode).collect();
        self.table.update(|_| Ok(Update::in_pieces(records, ())))
    }

    pub(super) fn check(&self, group: &str, commit: &OffsetCommit) -> Result<()> {
        let name = &commit.log.identity.name;
        let refuse = |reason: String| Err(Error::InvalidArgument { reason });
        if let Err(rule) = check_group(group) {
            return refuse(rule);
        }
        if !Arc::ptr_eq(&self.catalog.log(name)?, &commit.log) {
            return Err(Error::deleted(&name.topic));
        }
        let (earliest, latest) = (commit.log.offsets().log_start(), commit.log.offsets().log_end());
        let mut is_beyond = commit.offset > latest;
        planted!(commit_beyond_the_end => is_beyond = false);
        if is_beyond {
            let (partition, requested) = (name.clone(), commit.offset);
            return Err(Error::OffsetOutOfRange { partition, requested, earliest, latest });
        }
        if commit.metadata.len() > METADATA_MAX {
            return refuse(format!(
                "{} bytes of metadata for {name}: at most {METADATA_MAX} are allowed",
                commit.metadata.len()
            ));
        }
        Ok(())
    }

    /// What was committed for `partition`, with the lag as it is now.
    pub(super) fn describe(&self, partition: &TopicPartition, entry: Entry) -> CommittedOffset {
        let log = self.catalog.log(partition).ok();
        let same = log.filter(|log| entry.is_of(log));
        let mut next = entry.offset;
        planted!(a_lag_leaves_out_a_record => next += 1);
        let lag = same.map(|log| log.offsets().high_watermark().distance_from(next));
        CommittedOffset { offset: entry.offset, metadata: entry.metadata, timestamp: entry.timestamp, lag }
    }
}

impl Coordinator for OffsetStore {
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>> {
        let found: Result<Vec<Option<Entry>>> = self.table.read(|state| {
            let committed = |partition| Ok(state.committed(group, partition)?.cloned());
            partitions.iter().map(committed).collect()
        })?;
        let committed = found?.into_iter().zip(partitions).map(|(entry, partition)| {
            let entry = entry?;
            Some(Committed {
                topic_id: entry.life.topic_id,
                incarnation: entry.life.incarnation,
                value: self.describe(partition, entry),
            })
        });
        Ok(committed.collect())
    }

    fn unstable(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<bool>> {
        self.table.read(|state| {
            let will_change = |partition| state.pending.will_end(group, partition);
            partitions.iter().map(will_change).collect()
        })
    }

    fn commit(&self, group: &str, offsets: &[OffsetCommit]) -> Result<()> {
        self.catalog.data_dir().check_writable()?;
        offsets.iter().try_for_each(|commit| self.check(group, commit))?;
        if offsets.is_empty() {
            return Ok(());
        }
        let by_partition: BTreeMap<&TopicPartition, &OffsetCommit> =
            offsets.iter().map(|commit| (&commit.log.identity.name, commit)).collect();
        let commits: Vec<&OffsetCommit> = by_partition.into_values().collect();
        let commits = self.table.read(|state| news(state, group, &commits))?;
        if commits.is_empty() {
            return Ok(());
        }
        let covered: Vec<_> = commits.iter().map(|c| (Arc::clone(&c.log), c.offset)).collect();
        unless_planted!(commit_without_its_data => commit::commit(&covered)?);
        planted!(commit_in_pieces => return commits.chunks(1).try_for_each(|piece| self.write(group, piece)));
        self.write(group, &commits)
    }
}

impl Hold for OffsetStore {
    fn held_from(&self, of: &Identity, groups: &[String]) -> Result<Option<Held>> {
        let log = &*self.catalog.log(&of.name)?;
        let committed = self.table.read(|state| -> Result<Vec<Option<(Offset, Life)>>> {
            let committed = |group: &String| {
                let entry = state.committed(group, &log.identity.name)?.filter(|entry| entry.is_of(log));
                Ok(entry.map(|entry| (entry.offset, entry.life)))
            };
            groups.iter().map(committed).collect()
        })??;
        let held = groups.iter().zip(committed).map(|(group, committed)| {
            let from = committed.map(|(offset, life)| {
                // What a crash took before the commit returned under other records, which the group has not read.
                let end = life.incarnation.and_then(|number| log.incarnation_end(number));
                end.map_or(offset, |end| offset.min(end))
            });
            Held { group: group.clone(), from }
        });
        // A group without a commit is before all others.
        Ok(held.min_by_key(|held| held.from))
    }
}

/// Those of `commits` that differ from what `group` has.
fn news<'a>(state: &GroupOffsets, group: &str, commits: &[&'a OffsetCommit]) -> Vec<&'a OffsetCommit> {
    planted!(everything_is_news => return commits.to_vec());
    let offsets = state.groups.get(group);
    let is_news = |commit: &&&OffsetCommit| {
        let partition = &commit.log.identity.name;
        let had = offsets.and_then(|offsets| offsets.get(partition));
        let had = had.filter(|_| state.doubts.about(group, Some(partition)).is_none());
        // What waits for a transaction would replace it: only a newer record keeps it.
        let mut may_change = state.pending.is_any(group, partition);
        planted!(what_is_committed_stays_whatever_waits => may_change = false);
        let had = had.filter(|_| !may_change);
        had.is_none_or(|had| {
            let mut is_noted_anew = had.metadata != commit.metadata;
            planted!(metadata_is_no_news => is_noted_anew = false);
            had.offset != commit.offset || is_noted_anew || had.life != life_of(&commit.log)
        })
    };
    commits.iter().filter(is_news).copied().collect()
}

pub(super) fn entry_of(group: &str, commit: &OffsetCommit, now: Timestamp) -> CommittedEntry {
    let log = &commit.log;
    CommittedEntry {
        key: key(group, &log.identity.name),
        value: OffsetValue {
            offset: commit.offset.to_i64(),
            leader_epoch: -1,
            metadata: commit.metadata.clone(),
            commit_timestamp: now,
        },
        life: life_of(log),
    }
}

fn life_of(log: &Log) -> Life {
    Life {
        topic_id: Some(log.identity.topic_id),
        // The current incarnation, not that of the offset: everything below the end belongs to the log as it is in this
        // incarnation.
        incarnation: Some(log.incarnation_of(Offset::MAX)),
    }
}
