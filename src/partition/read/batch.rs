//! A batch as users see it: those of its records that its reader asked for.

use crate::{
    codec::{
        batch::BatchHeader,
        record::{Cursor, Record, ValidIter, ValidRecords},
    },
    partition::read::owned::OwnedRecord,
    types::{Compression, Offset},
};
use bytes::Bytes;
use std::fmt;

/// The records of one batch that a reader may see. Over `&batch` nothing is allocated per record; over `batch` itself
/// the records own their bytes.
#[derive(Clone)]
pub struct Batch {
    header: BatchHeader,
    records: ValidRecords,
    from: Offset,
    to: Offset,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("offsets", &format_args!("{}..{}", self.base_offset(), self.next_offset()))
            .field("records", &self.iter().count())
            .field("compression", &self.compression())
            .finish_non_exhaustive()
    }
}

impl Batch {
    /// A batch of which the records in `from..to` are shown.
    pub(super) fn new(header: BatchHeader, records: ValidRecords, from: Offset, to: Offset) -> Self {
        let mut batch = Batch { header, records, from, to };
        planted!(a_read_begins_with_its_batch => batch.from = Offset::ZERO);
        batch
    }

    /// The offset of the batch's first record when it was appended.
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// The offset after its last record.
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// The leader epoch it carries, as Kafka wrote it; 0 in logs of our own.
    pub fn leader_epoch(&self) -> i32 {
        self.header.leader_epoch
    }

    /// The bytes that it takes in its file.
    #[cfg(test)]
    pub(super) fn size(&self) -> u64 {
        self.header.size()
    }

    /// How its records are compressed.
    pub fn compression(&self) -> Compression {
        self.header.compression()
    }

    /// Its records.
    pub fn iter(&self) -> RecordsOf<'_> {
        RecordsOf { records: self.records.iter(), from: self.from, to: self.to }
    }

    /// A part of one of its records as bytes that outlive the batch; nothing is copied.
    pub fn slice_of(&self, part: &[u8]) -> Bytes {
        self.records.slice_of(part)
    }

    /// Its records with bytes of their own, newest first.
    pub fn into_reversed(self) -> Vec<OwnedRecord> {
        let mut records: Vec<OwnedRecord> =
            self.iter().map(|record| OwnedRecord::of(&self.records, record)).collect();
        records.reverse();
        records
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = Record<'a>;
    type IntoIter = RecordsOf<'a>;
    fn into_iter(self) -> RecordsOf<'a> {
        self.iter()
    }
}

/// An iterator over the records of a [`Batch`].
#[derive(Clone)]
pub struct RecordsOf<'a> {
    records: ValidIter<'a>,
    from: Offset,
    to: Offset,
}

impl fmt::Debug for RecordsOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordsOf").field("left", &self.clone().count()).finish()
    }
}

impl<'a> Iterator for RecordsOf<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        // Offsets may not ascend in a batch of another writer: a record beyond the end says nothing about those after
        // it.
        loop {
            let record = self.records.next()?;
            if record.offset >= self.from && record.offset < self.to {
                return Some(record);
            }
        }
    }
}

/// An iterator over the records of a [`Batch`] that owns them.
#[derive(Clone, Debug)]
pub struct OwnedRecordsOf {
    batch: Batch,
    cursor: Cursor,
}

impl Iterator for OwnedRecordsOf {
    type Item = OwnedRecord;

    fn next(&mut self) -> Option<OwnedRecord> {
        let mut records = self.batch.records.iter_from(self.cursor);
        let (from, to) = (self.batch.from, self.batch.to);
        // As in `RecordsOf`: offsets may not ascend in a batch of another writer.
        let found = records.by_ref().find(|record| record.offset >= from && record.offset < to);
        self.cursor = records.cursor();
        found.map(|record| OwnedRecord::of(&self.batch.records, record))
    }
}

impl IntoIterator for Batch {
    type Item = OwnedRecord;
    type IntoIter = OwnedRecordsOf;

    fn into_iter(self) -> OwnedRecordsOf {
        OwnedRecordsOf { batch: self, cursor: Cursor::default() }
    }
}
