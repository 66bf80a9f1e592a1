//! The index files of one segment together, and the checksum that says whether they are what was written.
//!
//! Kafka's index files have no checksum of their own, and a slightly wrong entry cannot be told from a right one: a time
//! index that points too far makes records disappear from searches. So the manifest and the marks keep one checksum over all
//! three. Files that do not match are built again from the data.

use super::Segment;
use crate::{
    codec::{
        batch::HEADER_LEN,
        index::{AbortedTransaction, OffsetEntry, OffsetIndexView, TimeEntry, TimeIndexView},
    },
    env::sync::Ordering,
    error::Result,
    storage::{
        index::IndexBytes,
        layout::SegmentFile,
        sidecar::{Entries, read_entries, remove_if_there, write_file},
    },
};

use std::{path::PathBuf, sync::Arc};

/// Stands for a checksum that nobody knows.
pub const UNKNOWN: u32 = 0;

/// The index files as they were read: the entries at their beginning that are in order.
pub(super) struct Sidecars {
    /// The offset index, unless there is no file.
    pub offsets: Option<Entries>,
    /// The time index, unless there is no file.
    pub times: Option<Entries>,
    /// The aborted transactions, none where there is no file; `None` where that is not their list.
    pub aborted: Option<Vec<AbortedTransaction>>,
}

impl Sidecars {
    /// `None` where a file is missing, or has more than entries in order.
    pub(super) fn checksum(&self) -> Option<u32> {
        let (offsets, times) = (self.offsets.as_ref()?, self.times.as_ref()?);
        (offsets.are_all && times.are_all).then_some(checksum(
            &offsets.bytes,
            &times.bytes,
            self.aborted.as_ref()?,
        ))
    }
}

/// The checksum of index files with this content, never [`UNKNOWN`].
pub fn checksum(offsets: &[u8], times: &[u8], aborted: &[AbortedTransaction]) -> u32 {
    let mut hasher = crate::codec::crc::Crc32::new();
    for part in [offsets, times, &encode(aborted)] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().max(UNKNOWN + 1)
}

/// The bytes of a transaction index.
pub(super) fn encode(list: &[AbortedTransaction]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(list.len() * AbortedTransaction::ENCODED_LEN);
    list.iter().for_each(|t| t.encode(&mut bytes));
    bytes
}

impl Segment {
    /// Says what the checksum of the index files should be.
    pub fn expect_index(&self, checksum: u32) {
        self.index_checksum.store(checksum, Ordering::Relaxed);
    }

    /// What the checksum of the index files should be.
    pub fn index_checksum(&self) -> u32 {
        self.index_checksum.load(Ordering::Relaxed)
    }

    /// The indexes as they are known in memory, the time index closed, and their checksum. `None` where only the files
    /// have them.
    pub fn indexes_to_write(&self) -> Option<(IndexBytes, Arc<Vec<AbortedTransaction>>, u32)> {
        let (index, aborted) = (self.closed_index()?, self.known_aborted()?);
        let checksum = checksum(&index.offsets, &index.times, &aborted);
        Some((index, aborted, checksum))
    }

    /// The checksum of the indexes as they are known in memory; [`UNKNOWN`] where only the files have them.
    pub fn checksum_to_write(&self) -> u32 {
        self.indexes_to_write().map_or(UNKNOWN, |(_, _, checksum)| checksum)
    }

    /// Whether the indexes were built again because their files were wrong; asked once.
    pub fn take_rebuilt(&self) -> bool {
        self.rebuilt.swap(false, Ordering::Relaxed)
    }

    /// What the index files hold. A stranger's may be of any length: no more of one is read than is in order, and than
    /// there can be batches in the segment.
    pub(super) fn read_sidecars(&self) -> Result<Sidecars> {
        self.read_sidecars_at(|kind| kind.path(&self.dir, self.base))
    }

    /// The same, of files that have other names.
    pub(super) fn read_sidecars_at(&self, path: impl Fn(SegmentFile) -> PathBuf) -> Result<Sidecars> {
        let read = |kind: SegmentFile, entry: usize, in_order: fn(&[u8]) -> usize| {
            let most = match self.readable() {
                // It is not known yet.
                0 => u64::MAX,
                readable => (readable / HEADER_LEN as u64 + 1).saturating_mul(entry as u64),
            };
            read_entries(&**self.pool.env(), &path(kind), entry, most, in_order)
        };
        let offsets = |bytes: &[u8]| OffsetIndexView::new_checked(bytes).1;
        let times = |bytes: &[u8]| TimeIndexView::new_checked(bytes).1;
        let aborted = |bytes: &[u8]| AbortedTransaction::decode_all(bytes).map_or(0, |_| bytes.len());
        let aborted = read(SegmentFile::TransactionIndex, AbortedTransaction::ENCODED_LEN, aborted)?;
        let decoded = |aborted: Entries| {
            AbortedTransaction::decode_all(&aborted.bytes).ok().filter(|_| aborted.are_all)
        };
        Ok(Sidecars {
            offsets: read(SegmentFile::OffsetIndex, OffsetEntry::ENCODED_LEN, offsets)?,
            times: read(SegmentFile::TimeIndex, TimeEntry::ENCODED_LEN, times)?,
            aborted: aborted.map_or(Some(Vec::new()), decoded),
        })
    }

    /// The aborted transactions whose markers lie in this segment, in the order of the markers. `None` where the file is
    /// not what was written: the data has to be gone through.
    pub fn aborted(&self) -> Result<Option<Arc<Vec<AbortedTransaction>>>> {
        let mut guard = self.aborted.lock();
        if let Some(known) = &*guard {
            return Ok(Some(Arc::clone(known)));
        }
        self.check_names()?;
        let expected = self.index_checksum();
        let files = self.read_sidecars()?;
        if expected != UNKNOWN && files.checksum() != Some(expected) {
            return Ok(None);
        }
        Ok(files.aborted.map(|list| Arc::clone(guard.insert(Arc::new(list)))))
    }

    /// Replaces what is known of aborted transactions, as a replay of the data found them.
    pub fn set_aborted(&self, list: Vec<AbortedTransaction>) {
        *self.aborted.lock() = Some(Arc::new(list));
    }

    /// Adds an aborted transaction whose marker was appended here.
    pub(super) fn add_aborted(&self, transaction: AbortedTransaction) {
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
        if list.is_empty() { remove_if_there(env, &path) } else { write_file(env, &path, &encode(list)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_tells_which_file_has_which_bytes() {
        let all = [checksum(b"ab", b"c", &[]), checksum(b"a", b"bc", &[]), checksum(b"", b"abc", &[])];
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        // Computed with Python's zlib.crc32 over the lengths, in eight bytes each, and the bytes.
        assert_eq!(all[0], CHECKSUM);
        assert_ne!(checksum(b"", b"", &[]), UNKNOWN);
    }

    const CHECKSUM: u32 = 0x04e94bd7;
}
