//! Committing: recording how far the group has read.
//!
//! A commit covers what the program says is done and nothing beyond; the data below it is made durable first.
//! [`crate::group`] stores it.

use super::{
    CommittedOffset, Consumer, ConsumerRecord, OffsetAndMetadata, OwnedConsumerRecord,
    coordinator::OffsetCommit,
};
use crate::{
    error::{Error, Result},
    topic::catalog::Catalog,
    types::TopicPartition,
};
use std::{collections::BTreeMap, sync::Arc};

/// A record that a poll returned, borrowed or owned: what [`Consumer::commit_record`] takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record that a poll returned",
    note = "any other offset is committed with `commit_offsets([(partition, next_offset)])`"
)]
pub trait PolledRecord: sealed::Polled {}

mod sealed {
    use crate::types::{Offset, TopicId, TopicPartition};

    /// The offset after a record, and which of the topics that had this name it belongs to.
    #[derive(Debug)]
    pub struct RecordPlace<'a> {
        pub partition: &'a TopicPartition,
        pub topic_id: TopicId,
        pub next_offset: Offset,
    }

    pub trait Polled {
        fn place(&self) -> RecordPlace<'_>;
    }
}

use sealed::RecordPlace;

impl PolledRecord for ConsumerRecord<'_> {}
impl PolledRecord for OwnedConsumerRecord {}

impl sealed::Polled for ConsumerRecord<'_> {
    fn place(&self) -> RecordPlace<'_> {
        let (partition, topic_id) = (self.topic_partition(), self.topic_id());
        RecordPlace { partition, topic_id, next_offset: self.next_offset }
    }
}

impl sealed::Polled for OwnedConsumerRecord {
    fn place(&self) -> RecordPlace<'_> {
        let (partition, topic_id) = (&self.topic_partition, self.topic_id);
        RecordPlace { partition, topic_id, next_offset: self.next_offset }
    }
}

impl Consumer {
    /// Commits the positions of all partitions: every record that polls have returned so far counts as done. When this
    /// returns, these are the group's offsets, whatever another consumer or an administrator committed before, and they
    /// survive a power cut. If the group has them already, nothing is written.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a consumer without a group, `ReadOnly`; `OffsetOutOfRange`, with nothing committed, after
    /// a [`seek`](Self::seek) beyond the end of a partition, until the next poll resets that position. After an error
    /// of the operating system it is unknown which of these offsets a later opening finds, but none of them is half
    /// there.
    pub fn commit_sync(&mut self) -> Result<()> {
        self.check_open()?;
        self.group()?;
        self.follow_catalog();
        match self.places.iter().find_map(|place| place.beyond_end()) {
            Some(error) => Err(error),
            None => self.commit_positions(),
        }
    }

    /// The group, and the positions that a transaction commits for it: every record that polls have returned so far.
    pub(crate) fn positions_to_commit(&self) -> Result<(Arc<str>, Vec<OffsetCommit>)> {
        self.check_open()?;
        let group = self.group()?;
        if let Some(error) = self.places.iter().find_map(|place| place.beyond_end()) {
            return Err(error);
        }
        let committable = self.places.iter().filter(|place| place.is_committable());
        let commits = committable.filter_map(|place| {
            let (log, offset) = (Arc::clone(place.log()), place.position()?);
            Some(OffsetCommit { log, offset, metadata: String::new() })
        });
        Ok((group, commits.collect()))
    }

    /// The catalog of the log that it reads.
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Commits every position that can be committed.
    fn commit_positions(&mut self) -> Result<()> {
        let group = self.group()?;
        self.follow_catalog();
        let committable = self.places.iter().filter(|place| {
            planted!(commit_what_changed_here_alone => return place.is_uncommitted());
            place.is_committable()
        });
        let commits: Vec<OffsetCommit> = committable
            .filter_map(|place| {
                let log = Arc::clone(place.log());
                let mut offset = place.position()?;
                planted!(a_commit_never_goes_back => offset = offset.max(place.committed.unwrap_or(offset)));
                Some(OffsetCommit { log, offset, metadata: String::new() })
            })
            .collect();
        self.commit(&group, &commits)
    }

    /// Commits these offsets, each the next one to read in its partition, assigned or not. They are as durable as after
    /// [`commit_sync`](Self::commit_sync).
    ///
    /// # Errors
    ///
    /// As for [`commit_sync`](Self::commit_sync); and, with nothing committed, `OffsetOutOfRange` for an offset beyond
    /// the end of its partition (Kafka accepts it, and notices when a consumer resumes there); `InvalidArgument` for
    /// more than 4096 bytes of metadata, `UnknownTopic`, `UnknownPartition`.
    pub fn commit_offsets<M: Into<OffsetAndMetadata>>(
        &mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, M)>,
    ) -> Result<()> {
        self.check_open()?;
        let group = self.group()?;
        self.follow_catalog();
        let mut commits = Vec::new();
        for (partition, offset) in offsets {
            let log = match self.place(&partition) {
                Ok(place) => Arc::clone(place.log()),
                Err(_) => self.catalog.log(&partition)?,
            };
            let OffsetAndMetadata { offset, metadata } = offset.into();
            commits.push(OffsetCommit { log, offset, metadata });
        }
        self.commit(&group, &commits)
    }

    /// Commits that this record, and all before it in its partition, are done. That is as durable as after
    /// [`commit_sync`](Self::commit_sync).
    ///
    /// # Errors
    ///
    /// As for [`commit_sync`](Self::commit_sync); `Closed` when the record's topic was deleted.
    pub fn commit_record<R: PolledRecord + ?Sized>(&mut self, record: &R) -> Result<()> {
        self.check_open()?;
        let group = self.group()?;
        let RecordPlace { partition, topic_id, mut next_offset } = record.place();
        planted!(commit_the_record_itself => next_offset = next_offset.saturating_sub(1));
        let topic = self.catalog.find(&partition.topic).filter(|topic| topic.id() == topic_id);
        let log = topic.ok_or_else(|| Error::deleted(&partition.topic))?.log(partition.partition)?;
        self.commit(&group, &[OffsetCommit { log, offset: next_offset, metadata: String::new() }])
    }

    /// What the group has committed for each of these partitions; `None` where it has committed nothing, or where the
    /// commit was for a topic that has been deleted since.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a consumer without a group; `Corrupt` or `CodecUnavailable` where a commit that cannot be
    /// read may be the group's latest.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>> {
        self.check_open()?;
        let group = self.group()?;
        let committed = self.coordinator.committed(&group, partitions)?;
        let of_today = |partition: &TopicPartition, id| {
            planted!(commit_of_a_deleted_topic => return true);
            self.catalog.find(&partition.topic).is_some_and(|topic| topic.id() == id)
        };
        let found = partitions.iter().zip(committed).map(|(partition, committed)| {
            let committed = committed.filter(|c| c.topic_id.is_none_or(|id| of_today(partition, id)));
            (partition.clone(), committed.map(|c| c.value))
        });
        Ok(found.collect())
    }

    /// The automatic commit of a consumer that closes, or changes what it reads. A position beyond an end is not
    /// committed, and is an error: no later poll may come to report it. The other positions are committed in any case.
    pub(super) fn commit_automatically(&mut self) -> Result<()> {
        if self.auto_commit.is_none() {
            return Ok(());
        }
        self.commit_positions()?;
        self.places.iter().find_map(|place| place.beyond_end()).map_or(Ok(()), Err)
    }

    /// The automatic commit of a poll, if it is due. A position beyond an end is left out: the same poll resets and
    /// reports it.
    pub(super) fn commit_when_due(&mut self) -> Result<()> {
        let Some(auto) = &mut self.auto_commit else { return Ok(()) };
        let now = self.policy.env.monotonic();
        if now < auto.next {
            return Ok(());
        }
        unless_planted!(commit_with_every_poll => auto.next = now.saturating_add(auto.every));
        self.commit_positions()
    }

    /// Whether a position has changed since this consumer last committed it. Commits of other consumers since then are
    /// not considered.
    pub(super) fn has_uncommitted(&self) -> bool {
        self.places.iter().any(|place| place.is_uncommitted())
    }

    fn commit(&mut self, group: &str, commits: &[OffsetCommit]) -> Result<()> {
        self.catalog.data_dir().check_writable()?;
        if commits.is_empty() {
            return Ok(());
        }
        self.coordinator.commit(group, commits)?;
        for commit in commits {
            if let Ok(place) = self.place_mut(&commit.log.identity.name)
                && Arc::ptr_eq(place.log(), &commit.log)
            {
                place.committed = Some(commit.offset);
            }
        }
        Ok(())
    }

    fn group(&self) -> Result<Arc<str>> {
        self.policy.group.clone().ok_or_else(|| {
            let reason = "this consumer has no group whose offsets it could commit or read".to_string();
            Error::InvalidArgument { reason }
        })
    }
}
