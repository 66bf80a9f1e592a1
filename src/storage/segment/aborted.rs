//! The aborted transactions of one segment: known since they were appended or replayed, or out of their file.

use super::{Segment, sidecars};
use crate::{
    codec::index::AbortedTransaction,
    error::Result,
    storage::{
        layout::SegmentFile,
        sidecar::{remove_if_there, write_file},
    },
};
use std::sync::Arc;

impl Segment {
    /// The aborted transactions whose markers lie in this segment, in the order of the markers. `None` where the file is
    /// not what was written: the data has to be gone through.
    pub fn aborted(&self) -> Result<Option<Arc<Vec<AbortedTransaction>>>> {
        let mut guard = self.aborted.lock();
        if let Some(known) = &*guard {
            return Ok(Some(Arc::clone(known)));
        }
        let expected = self.index_checksum();
        let files = self.read_sidecars()?;
        if expected != sidecars::UNKNOWN && files.checksum() != Some(expected) {
            return Ok(None);
        }
        Ok(files.aborted.map(|list| Arc::clone(guard.insert(Arc::new(list)))))
    }

    /// Replaces what is known of aborted transactions, as a replay of the data found them.
    pub fn set_aborted(&self, list: Vec<AbortedTransaction>) {
        *self.aborted.lock() = Some(Arc::new(list));
    }

    /// Adds an aborted transaction whose marker was appended here.
    pub fn add_aborted(&self, transaction: AbortedTransaction) {
        let mut guard = self.aborted.lock();
        Arc::make_mut(guard.get_or_insert_default()).push(transaction);
    }

    /// The aborted transactions as they are known now, without reading a file.
    pub fn known_aborted(&self) -> Option<Arc<Vec<AbortedTransaction>>> {
        self.aborted.lock().clone()
    }

    /// Writes the transaction index into its file and flushes it; there is no file for none.
    pub fn write_aborted(&self, list: &[AbortedTransaction]) -> Result<()> {
        let path = SegmentFile::TransactionIndex.path(&self.dir, self.base);
        let env = &**self.pool.env();
        if list.is_empty() {
            remove_if_there(env, &path)
        } else {
            write_file(env, &path, &sidecars::encode(list))
        }
    }
}
