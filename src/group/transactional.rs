//! Offsets that are committed with a transaction: they are appended as a batch of it, and its marker does the rest.

use super::{OffsetStore, record::OffsetRecord, store::entry_of};
use crate::{
    consumer::coordinator::OffsetCommit,
    error::Result,
    partition::state::append_as::AppendAs,
    table::{Place, Update},
    types::TopicPartition,
};
use std::collections::BTreeMap;

impl OffsetStore {
    /// Appends `commits` of `group` as one batch of the transaction of `by`, and returns where the batch lies in the log
    /// of the offsets; `None` where there are none. They are checked like those of a commit. Of several for one
    /// partition the last holds.
    ///
    /// Nothing is flushed, neither the batch nor the data below the offsets. Both are to be durable before the
    /// transaction is committed. When it has ended in the log of the offsets, they are the group's.
    pub(crate) fn append_in_transaction(
        &self,
        group: &str,
        commits: &[OffsetCommit],
        by: AppendAs,
    ) -> Result<Option<Place>> {
        self.catalog.data_dir().check_writable()?;
        commits.iter().try_for_each(|commit| self.check(group, commit))?;
        let by_partition: BTreeMap<&TopicPartition, &OffsetCommit> =
            commits.iter().map(|commit| (&commit.log.identity.name, commit)).collect();
        self.table.append_of(by, |view| {
            let entries = by_partition.values().map(|commit| entry_of(group, commit, view.now));
            Ok(Update::atomic(entries.map(|entry| OffsetRecord::Value(entry).encode()).collect(), ()))
        })
    }

    /// What follows the flush of offsets that were written in a transaction.
    pub(crate) fn settle(&self) -> Result<()> {
        self.table.settle()
    }
}
