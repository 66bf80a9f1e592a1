//! Records that own their bytes, which are shared with their batch and not copied: for loops that keep what they read.

use crate::{
    codec::record::{
        Cursor, Record,
        text::{str_of, text_of},
    },
    error::Result,
    partition::{
        handle::{Batch, Batches, OwnedRecord, Partition},
        write::encode::RecordData,
    },
    types::{IsolationLevel, Offset},
};
use std::{borrow::Cow, fmt};

impl Partition {
    /// The records from `from` on, one after the other, up to where readers stop at the time of each step. The iteration
    /// ends there; a later one can go on.
    ///
    /// ```
    /// # use streamlog::{RecordData, Streamlog, TopicConfig};
    /// let log = Streamlog::in_memory()?;
    /// let orders = log.create_topic("orders", TopicConfig::default())?.partition(0)?;
    /// orders.append(&[RecordData::new("a loom"), RecordData::new("a compiler")])?;
    /// for record in orders.records(0) {
    ///     let record = record?;
    ///     println!("{} {}", record.offset, record.value_text());
    /// }
    /// # Ok::<(), streamlog::Error>(())
    /// ```
    ///
    /// Each record owns its bytes: they are not copied, and keep their batch in memory, or their segment's file on disk,
    /// until they are dropped. Where every nanosecond counts, iterate over the batches of [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), as the last item.
    pub fn records(&self, from: impl Into<Offset>) -> Records {
        self.records_with(from, IsolationLevel::ReadUncommitted)
    }

    /// As [`Partition::records`], with records of aborted and undecided transactions left out for
    /// [`IsolationLevel::ReadCommitted`].
    pub fn records_with(&self, from: impl Into<Offset>, isolation: IsolationLevel) -> Records {
        Records { batches: self.read_with(from, isolation), current: None }
    }
}

/// An iterator over the records of a partition, from [`Partition::records`]. After an error it ends.
#[derive(Clone)]
pub struct Records {
    batches: Batches,
    current: Option<OwnedRecordsOf>,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("batches", &self.batches).finish_non_exhaustive()
    }
}

impl Iterator for Records {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.current.as_mut().and_then(Iterator::next) {
                return Some(Ok(record));
            }
            match self.batches.next()? {
                Ok(batch) => self.current = Some(batch.into_iter()),
                Err(error) => return Some(Err(error)),
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
        // As `RecordsOf`: offsets may not rise in what others wrote.
        let found = records.by_ref().find(|record| record.offset >= from && record.offset < to);
        self.cursor = records.cursor();
        found.map(|record| self.batch.own(record))
    }
}

impl IntoIterator for Batch {
    type Item = OwnedRecord;
    type IntoIter = OwnedRecordsOf;

    fn into_iter(self) -> OwnedRecordsOf {
        OwnedRecordsOf { batch: self, cursor: Cursor::default() }
    }
}

impl Batch {
    /// One of its records with bytes of its own.
    pub(in crate::partition) fn own(&self, record: Record<'_>) -> OwnedRecord {
        let share = |part: &[u8]| self.slice_of(part);
        OwnedRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(share),
            value: record.value.map(share),
            headers: record.headers.into_iter().map(|(n, v)| (n.to_string(), v.map(share))).collect(),
        }
    }
}

impl<'a> From<&'a OwnedRecord> for RecordData<'a> {
    /// The same key, value, headers and timestamp, null where they are null.
    fn from(record: &'a OwnedRecord) -> Self {
        let headers = record.headers.iter().map(|(name, value)| (&**name, value.as_deref()));
        RecordData::borrowed(record.key.as_deref(), record.value.as_deref(), headers, record.timestamp)
    }
}

impl OwnedRecord {
    /// The key as text; `None` when it is null or not UTF-8.
    pub fn key_str(&self) -> Option<&str> {
        str_of(self.key.as_deref())
    }

    /// The value as text; `None` when it is null or not UTF-8.
    pub fn value_str(&self) -> Option<&str> {
        str_of(self.value.as_deref())
    }

    /// The key as text for people: what is not UTF-8 is replaced, and null is empty.
    pub fn key_text(&self) -> Cow<'_, str> {
        text_of(self.key.as_deref())
    }

    /// The value as text for people: what is not UTF-8 is replaced, and null is empty.
    pub fn value_text(&self) -> Cow<'_, str> {
        text_of(self.value.as_deref())
    }
}
