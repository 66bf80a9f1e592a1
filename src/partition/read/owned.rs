//! A record that owns its bytes, which are shared with its batch and not copied: for loops that keep what they read.

use crate::{
    codec::record::{
        Record, ValidRecords,
        text::{str_of, text_of},
    },
    types::{Offset, Timestamp},
};
use bytes::Bytes;
use std::borrow::Cow;

/// A record that owns its bytes (they are shared with its batch, not copied).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key; `None` for null.
    pub key: Option<Bytes>,
    /// Its value; `None` for null.
    pub value: Option<Bytes>,
    /// Its headers in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl OwnedRecord {
    /// One of `records`, with bytes of its own.
    pub(super) fn of(records: &ValidRecords, record: Record<'_>) -> Self {
        let share = |part: &[u8]| records.slice_of(part);
        OwnedRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(share),
            value: record.value.map(share),
            headers: record.headers.into_iter().map(|(n, v)| (n.to_string(), v.map(share))).collect(),
        }
    }

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
