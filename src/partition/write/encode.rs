//! Encoding records into a batch, by the rules of their topic.

use crate::{
    codec::{
        builder::{BatchBuilder, HeaderParts, SealedBatch},
        named::SEQUENCE,
        record::Record,
    },
    error::{Error, Result},
    partition::{state::log_config::LogConfig, write::payload::Payload},
    types::{Compression, Timestamp},
};
use std::{borrow::Cow, cell::Cell};

/// A record to be appended to a partition. Its key, value and headers are borrowed until they are in the batch, or
/// owned.
///
/// ```
/// use streamlog::RecordData;
/// let record = RecordData::new("21.5").key("sensor-7").header("unit", "celsius");
/// let gone = RecordData::tombstone("sensor-8");
/// let many: Vec<_> = (0..10).map(|i| RecordData::new(format!("reading {i}"))).collect();
/// # let _ = (record, gone, many);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordData<'a> {
    pub(crate) key: Option<Payload<'a>>,
    pub(crate) value: Option<Payload<'a>>,
    pub(crate) headers: Vec<Header<'a>>,
    pub(crate) timestamp: Option<Timestamp>,
}

/// A name and a value, which may be null.
pub(crate) type Header<'a> = (Cow<'a, str>, Option<Payload<'a>>);

impl<'a> RecordData<'a> {
    /// A record with this value and no key.
    #[inline]
    pub fn new(value: impl Into<Payload<'a>>) -> Self {
        RecordData { value: Some(value.into()), ..Self::default() }
    }

    /// A record whose key and value are null.
    pub fn null() -> Self {
        Self::default()
    }

    /// A record that says that `key` is deleted: its value is null.
    pub fn tombstone(key: impl Into<Payload<'a>>) -> Self {
        RecordData { key: Some(key.into()), ..Self::default() }
    }

    /// Sets the key.
    #[inline]
    #[must_use]
    pub fn key(mut self, key: impl Into<Payload<'a>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header. Names may repeat; their order is kept.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Payload<'a>>) -> Self {
        let name = name.into();
        planted!(a_header_replaces_its_namesake => self.headers.retain(|(other, _)| *other != name));
        self.headers.push((name, Some(value.into())));
        self
    }

    /// Adds a header whose value is null.
    #[must_use]
    pub fn null_header(mut self, name: impl Into<Cow<'a, str>>) -> Self {
        self.headers.push((name.into(), None));
        self
    }

    /// Sets the timestamp; without one the record gets the time of the call.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// A record of these parts, all borrowed.
    pub(crate) fn borrowed(
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
        timestamp: Timestamp,
    ) -> Self {
        RecordData {
            key: key.map(Payload::from),
            value: value.map(Payload::from),
            headers: headers.map(|(name, value)| (name.into(), value.map(Payload::from))).collect(),
            timestamp: Some(timestamp),
        }
    }

    /// The key's bytes.
    #[inline]
    pub(crate) fn key_bytes(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|key| &*key.0)
    }

    /// The value's bytes.
    #[inline]
    pub(crate) fn value_bytes(&self) -> Option<&[u8]> {
        self.value.as_ref().map(|value| &*value.0)
    }

    /// Adds it to a batch.
    #[inline]
    pub(crate) fn put(&self, builder: &mut BatchBuilder, timestamp: Timestamp) -> Result<()> {
        let mut value = self.value_bytes();
        planted!(a_null_value_is_empty => value = value.or(Some(&[])));
        builder.append_with(timestamp, self.key_bytes(), value, &self.headers)
    }
}

impl RecordData<'_> {
    /// As [`put`](Self::put); the record has this number, where its producer has a name.
    #[inline]
    pub(crate) fn put_numbered(
        &self,
        builder: &mut BatchBuilder,
        timestamp: Timestamp,
        number: Option<u64>,
    ) -> Result<()> {
        let Some(number) = number else { return self.put(builder, timestamp) };
        builder.before_number(number);
        match self.headers.iter().any(is_sequence) {
            false => self.put(builder, timestamp)?,
            true => self.without_sequence().put(builder, timestamp)?,
        }
        builder.numbered(number);
        Ok(())
    }
}

impl RecordData<'_> {
    /// The same without the number that another producer gave it, as a record has that was read.
    #[cold]
    fn without_sequence(&self) -> Self {
        let mut own = self.clone();
        own.headers.retain(|header| !is_sequence(header));
        own
    }
}

fn is_sequence(header: &Header<'_>) -> bool {
    header.0 == SEQUENCE
}

impl HeaderParts for Header<'_> {
    #[inline]
    fn parts(&self) -> (&str, Option<&[u8]>) {
        let mut value = self.1.as_ref().map(|value| &*value.0);
        planted!(a_null_header_is_empty => value = value.or(Some(&[])));
        (&self.0, value)
    }
}

impl<'a> From<Record<'a>> for RecordData<'a> {
    /// The same key, value, headers and timestamp, null where they are null.
    fn from(record: Record<'a>) -> Self {
        RecordData::borrowed(record.key, record.value, record.headers, record.timestamp)
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
    now: Timestamp,
) -> Result<SealedBatch> {
    let buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let mut builder = BatchBuilder::with_buffer(buffer);
    for (index, record) in records.iter().enumerate() {
        append(&mut builder, record, config, now).map_err(|e| in_batch(e, index, records.len()))?;
    }
    let sealed = seal(builder, config, preferred);
    match sealed {
        Err(error) if records.len() > 1 => {
            Err(which_is_too_large(error, records.iter().enumerate(), config, preferred))
        }
        sealed => sealed,
    }
}

/// Puts one record of a named producer into a batch.
pub fn encode_numbered(
    record: &RecordData<'_>,
    number: u64,
    config: &LogConfig,
    preferred: Compression,
    now: Timestamp,
) -> Result<SealedBatch> {
    let buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let mut builder = BatchBuilder::with_buffer(buffer);
    append_numbered(&mut builder, record, Some(number), config, now)?;
    seal(builder, config, preferred)
}

/// The error with which `records`, as one batch, are refused. Where they are too large, it is that of the first record
/// that would be too large on its own, if there is one.
#[cold]
pub fn which_is_too_large<'a, 'b: 'a>(
    error: Error,
    records: impl Iterator<Item = (usize, &'a RecordData<'b>)>,
    config: &LogConfig,
    preferred: Compression,
) -> Error {
    if !matches!(error, Error::RecordTooLarge { .. }) {
        return error;
    }
    let mut refused = records.filter_map(|(index, record)| {
        let alone = encode(std::slice::from_ref(record), config, preferred, Timestamp::NONE).err()?;
        Some(in_batch(alone, index, usize::MAX))
    });
    refused.find(|alone| matches!(alone, Error::RecordTooLarge { .. })).unwrap_or(error)
}

/// Adds a record to a batch, by the rules of its topic. A refused record leaves no trace.
pub fn append(
    builder: &mut BatchBuilder,
    record: &RecordData<'_>,
    config: &LogConfig,
    time_of_call: Timestamp,
) -> Result<()> {
    append_numbered(builder, record, None, config, time_of_call)
}

/// As [`append`]; the record has this number, where its producer has a name.
pub fn append_numbered(
    builder: &mut BatchBuilder,
    record: &RecordData<'_>,
    number: Option<u64>,
    config: &LogConfig,
    time_of_call: Timestamp,
) -> Result<()> {
    unless_planted!(append_what_has_no_key => config.check_key(record.key_bytes())?);
    let timestamp = match record.timestamp {
        Some(timestamp) => {
            config.check_timestamp(timestamp, || time_of_call)?;
            timestamp
        }
        None => time_of_call,
    };
    record.put_numbered(builder, timestamp, number)
}

/// Seals a batch with its topic's codec, and refuses one that is too large for the topic.
pub fn seal(builder: BatchBuilder, config: &LogConfig, preferred: Compression) -> Result<SealedBatch> {
    let (codec, level) = config.codec(preferred);
    let sealed = builder.seal(codec, level)?;
    let (max, limit) = config.max_batch();
    if sealed.size() > max {
        return Err(Error::too_large(sealed.size(), max, limit));
    }
    Ok(sealed)
}

/// Adds to the error which record of a batch was refused, where there are several.
pub fn in_batch(error: Error, index: usize, count: usize) -> Error {
    match error {
        _ if count == 1 => error,
        Error::RecordTooLarge { size, max, limit, .. } => {
            Error::RecordTooLarge { size, max, limit, index: Some(index) }
        }
        Error::InvalidRecord { reason, .. } => Error::InvalidRecord { index, reason },
        other => Error::InvalidRecord { index, reason: other.to_string() },
    }
}
