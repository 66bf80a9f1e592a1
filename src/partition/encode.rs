//! Records into a batch, by the rules of their topic.

use super::{config::LogConfig, log::Log};
use crate::{
    codec::{
        builder::{BatchBuilder, SealedBatch},
        record::Record,
    },
    error::{Error, Result},
    types::{Compression, Timestamp},
};
use std::cell::Cell;

/// A record to be appended to a partition: key, value and headers are borrowed until they are in the batch.
///
/// ```
/// use streamlog::RecordData;
/// let record = RecordData::new("21.5").key("sensor-7").header("unit", "celsius");
/// let gone = RecordData::tombstone("sensor-8");
/// # let _ = (record, gone);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordData<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<(&'a str, Option<&'a [u8]>)>,
    pub(crate) timestamp: Option<Timestamp>,
}

impl<'a> RecordData<'a> {
    /// A record with this value and no key.
    pub fn new<V: AsRef<[u8]> + ?Sized>(value: &'a V) -> Self {
        RecordData { value: Some(value.as_ref()), ..Self::default() }
    }

    /// A record whose key and value are null.
    pub fn null() -> Self {
        Self::default()
    }

    /// A record that says that `key` is gone: its value is null.
    pub fn tombstone<K: AsRef<[u8]> + ?Sized>(key: &'a K) -> Self {
        RecordData { key: Some(key.as_ref()), ..Self::default() }
    }

    /// Gives it a key.
    #[must_use]
    pub fn key<K: AsRef<[u8]> + ?Sized>(mut self, key: &'a K) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// Adds a header. Names may repeat; their order is kept.
    #[must_use]
    pub fn header<V: AsRef<[u8]> + ?Sized>(mut self, name: &'a str, value: &'a V) -> Self {
        self.headers.push((name, Some(value.as_ref())));
        self
    }

    /// Adds a header whose value is null.
    #[must_use]
    pub fn null_header(mut self, name: &'a str) -> Self {
        self.headers.push((name, None));
        self
    }

    /// Gives it a timestamp; without one it gets the time of the call.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }
}

impl<'a> From<Record<'a>> for RecordData<'a> {
    /// The same key, value, headers and timestamp, null where they are null.
    fn from(record: Record<'a>) -> Self {
        RecordData {
            key: record.key,
            value: record.value,
            headers: record.headers.collect(),
            timestamp: Some(record.timestamp),
        }
    }
}

/// The largest buffer that a thread keeps for its next batch.
const MAX_SCRATCH: usize = 256 << 10;

thread_local! {
    /// The buffer of the last batch that this thread encoded and appended: the next one costs no allocation, and its
    /// memory is in the cache.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps the buffer of a batch that was appended for the next one of this thread.
pub fn recycle(batch: SealedBatch) {
    let buffer = batch.into_buffer();
    if buffer.capacity() <= MAX_SCRATCH {
        let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
    }
}

/// Puts records into one batch, in the buffer that [`recycle`] kept.
pub fn encode(
    records: &[RecordData<'_>],
    config: &LogConfig,
    preferred: Compression,
    now: impl Fn() -> Timestamp,
) -> Result<SealedBatch> {
    let buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let mut builder = BatchBuilder::with_buffer(buffer);
    let time_of_call = now();
    for (index, record) in records.iter().enumerate() {
        append(&mut builder, record, config, time_of_call).map_err(|e| in_batch(e, index, records.len()))?;
    }
    seal(builder, config, preferred)
}

impl Log {
    /// Puts records into one batch by the settings in force, which do not change before it is done.
    pub fn encode(
        &self,
        records: &[RecordData<'_>],
        preferred: Compression,
        now: impl Fn() -> Timestamp,
    ) -> Result<SealedBatch> {
        encode(records, &self.config.read(), preferred, now)
    }
}

/// Adds a record to a batch, by the rules of its topic. A record that was refused left nothing behind.
pub fn append(
    builder: &mut BatchBuilder,
    record: &RecordData<'_>,
    config: &LogConfig,
    time_of_call: Timestamp,
) -> Result<()> {
    let timestamp = match record.timestamp {
        Some(timestamp) => {
            config.check_timestamp(timestamp, || time_of_call)?;
            timestamp
        }
        None => time_of_call,
    };
    builder.append(timestamp, record.key, record.value, &record.headers)
}

/// Seals a batch with its topic's codec, and refuses one that the topic would not take.
pub fn seal(builder: BatchBuilder, config: &LogConfig, preferred: Compression) -> Result<SealedBatch> {
    let (codec, level) = config.codec(preferred);
    let sealed = builder.seal(codec, level)?;
    let (max, limit) = config.max_batch();
    if sealed.size() > max {
        return Err(Error::RecordTooLarge { size: sealed.size(), max, limit });
    }
    Ok(sealed)
}

/// Says which record of a batch was refused, where there are several.
pub fn in_batch(error: Error, index: usize, count: usize) -> Error {
    match error {
        Error::RecordTooLarge { .. } => error,
        _ if count == 1 => error,
        other => Error::InvalidRecord { index, reason: other.to_string() },
    }
}
