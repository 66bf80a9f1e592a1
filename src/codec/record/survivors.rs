//! What compaction leaves of a batch: the same batch with fewer records.
//!
//! Offsets, sequences, epochs and flags stay as they were, so that the batch covers what it covered; count, times, length
//! and checksum are new. Time is counted from the delete horizon where the batch has one, and else from the first survivor,
//! as Kafka's cleaner writes it. Where that is what it was counted from before, records are copied as they are, neighbours
//! together; else the bytes of each from its key on, after a time that is counted anew.

use super::{Record, Records, Walk};
use crate::{
    codec::{
        DecodeError,
        batch::header::{BatchHeader, CRC_START, DELETE_HORIZON, HEADER_LEN, LENGTH_OVERHEAD},
        compress::compress,
        crc::crc32c,
        varint::{size_unsigned, write_varint, write_varlong, zigzag, zigzag_long},
    },
    error::{Error, Result},
    types::{Compression, Timestamp, TimestampType},
};

/// The records of a batch that stay, encoded.
#[derive(Debug)]
pub struct Survivors {
    header: BatchHeader,
    horizon: Option<Timestamp>,
    /// Room for the header, and the records.
    batch: Vec<u8>,
    count: u32,
    base_timestamp: i64,
    largest: Timestamp,
}

impl Records {
    /// Those of which `lives` says so. All records are checked on the way. The batch gets this delete horizon.
    pub(crate) fn survivors(
        &self,
        header: &BatchHeader,
        horizon: Option<Timestamp>,
        mut lives: impl FnMut(&Record<'_>) -> bool,
    ) -> Result<Survivors, DecodeError> {
        // A horizon may make numbers longer.
        let mut batch = Vec::with_capacity(HEADER_LEN + self.section.len() + self.section.len() / 8);
        batch.resize(HEADER_LEN, 0);
        let mut survivors = Survivors {
            header: *header,
            horizon,
            batch,
            count: 0,
            base_timestamp: horizon.map_or(-1, Timestamp::as_millis),
            largest: Timestamp::NONE,
        };
        let mut walk = Walk::new(&self.section, self.facts);
        // Records in a row that are copied as they are.
        let mut run = 0..0;
        loop {
            let from = self.section.len() - walk.rest.len();
            let Some(record) =
                walk.step::<true>().map_err(|fault| fault.error(&self.section, self.facts.stored))?
            else {
                break;
            };
            if !lives(&record) {
                continue;
            }
            let to = self.section.len() - walk.rest.len();
            survivors.count_in(&record);
            if !survivors.keeps_times() {
                let written = self.section.get(from..to).unwrap_or_default();
                survivors.push(&record, from_key(written));
            } else if run.end == from {
                run.end = to;
            } else {
                survivors.copy(self.section.get(std::mem::replace(&mut run, from..to)));
            }
        }
        survivors.copy(self.section.get(run));
        walk.finish().map_err(|fault| fault.error(&self.section, self.facts.stored))?;
        Ok(survivors)
    }
}

/// The bytes of a record that was walked over, from the length of its key on, and its offset in the batch.
fn from_key(record: &[u8]) -> (i32, &[u8]) {
    let split = || {
        let (body, _) = super::split_record(record).ok()?;
        let body = &mut { body };
        super::read_varlong(body)?;
        Some((super::read_varint(body)?, *body))
    };
    // There is no fault after the walk; were there one, nothing would be copied.
    split().unwrap_or_default()
}

impl Survivors {
    /// One more lives; the first says what time is counted from.
    #[inline]
    fn count_in(&mut self, record: &Record<'_>) {
        if self.count == 0 && self.horizon.is_none() {
            self.base_timestamp = record.timestamp.as_millis();
        }
        self.largest = self.largest.max(record.timestamp);
        self.count += 1;
    }

    /// Whether time is counted from where it was: then no byte of a record changes.
    #[inline]
    fn keeps_times(&self) -> bool {
        self.base_timestamp == self.header.base_timestamp
    }

    fn copy(&mut self, records: Option<&[u8]>) {
        self.batch.extend_from_slice(records.unwrap_or_default());
    }

    fn push(&mut self, record: &Record<'_>, (offset_delta, tail): (i32, &[u8])) {
        let timestamp = record.timestamp.as_millis();
        // It may wrap, and is read so.
        let delta = timestamp.wrapping_sub(self.base_timestamp);
        let numbers = size_unsigned(zigzag_long(delta)) + size_unsigned(u64::from(zigzag(offset_delta)));
        // No record grows beyond what a length can say: its batch is at most 1 GiB, and this adds nine bytes.
        write_varint(i32::try_from(1 + numbers + tail.len()).unwrap_or(i32::MAX), &mut self.batch);
        self.batch.push(0);
        write_varlong(delta, &mut self.batch);
        write_varint(offset_delta, &mut self.batch);
        self.batch.extend_from_slice(tail);
    }

    /// The whole batch, compressed as it was.
    pub fn encode(self) -> Result<Vec<u8>> {
        let mut batch = match self.header.compression() {
            Compression::None => self.batch,
            codec => {
                let mut batch = vec![0; HEADER_LEN];
                compress(codec, None, self.batch.get(HEADER_LEN..).unwrap_or_default(), &mut batch)?;
                batch
            }
        };
        let length = i32::try_from(batch.len() - LENGTH_OVERHEAD).map_err(|_| Error::InvalidArgument {
            reason: format!("the batch at offset {} has {} bytes", self.header.base_offset, batch.len()),
        })?;
        let mut header = BatchHeader {
            batch_length: length,
            attributes: self.header.attributes & !DELETE_HORIZON | self.horizon.map_or(0, |_| DELETE_HORIZON),
            base_timestamp: self.base_timestamp,
            max_timestamp: match self.header.timestamp_type() {
                TimestampType::CreateTime => self.largest,
                TimestampType::LogAppendTime => self.header.max_timestamp,
            },
            record_count: self.count,
            ..self.header
        };
        if let Some(bytes) = batch.first_chunk_mut::<HEADER_LEN>() {
            header.write(bytes);
        }
        header.crc = crc32c(batch.get(CRC_START..).unwrap_or_default());
        if let Some(bytes) = batch.first_chunk_mut::<HEADER_LEN>() {
            header.write(bytes);
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::{
            batch::RecordBatch,
            builder::{BatchBuilder, Stamp},
            compress::is_available,
            vectors::*,
        },
        types::Offset,
    };
    use bytes::Bytes;
    use proptest::prelude::*;

    type Seen = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// A batch of these records, of which those that are `None` are left out.
    fn batch(
        records: &[Option<&Seen>],
        horizon: Option<i64>,
        codec: Compression,
        stamp: Stamp,
    ) -> RecordBatch {
        let mut builder = BatchBuilder::new();
        if let Some(horizon) = horizon {
            builder.set_delete_horizon(at(horizon));
        }
        for (i, record) in records.iter().enumerate() {
            if let Some((millis, key, value)) = record {
                let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"1"))];
                builder.append_at(i as i32, at(*millis), key.as_deref(), value.as_deref(), headers).unwrap();
            }
        }
        let mut sealed = builder.seal(codec, None).unwrap();
        sealed.set_last_offset_delta(records.len() as i32 - 1);
        sealed.set_producer(9, 1, 40);
        RecordBatch::parse(Bytes::copy_from_slice(sealed.finish(Offset::new(1000), 7, stamp))).unwrap()
    }

    fn survivors(
        batch: &RecordBatch,
        horizon: Option<i64>,
        lives: impl Fn(&Record<'_>) -> bool,
    ) -> Result<Survivors, DecodeError> {
        batch.records(1 << 20)?.survivors(batch.header(), horizon.map(at), |record| lives(record))
    }

    #[test]
    fn a_tombstone_that_gets_a_horizon_is_kafkas_byte_for_byte() {
        let mut builder = BatchBuilder::new();
        builder.append(at(1000), Some(b"k"), None, &[]).unwrap();
        let mut sealed = builder.seal(Compression::None, None).unwrap();
        let bytes = Bytes::copy_from_slice(sealed.finish(Offset::new(20), 0, Stamp::CreateTime));
        let batch = RecordBatch::parse(bytes).unwrap();
        let left = survivors(&batch, Some(90_000_000), |_| true).unwrap();
        assert_eq!(left.encode().unwrap(), unhex(TOMBSTONE));
    }

    #[test]
    fn a_batch_with_the_time_of_its_append_keeps_it() {
        let records: [Seen; 2] = [(5, Some(vec![1]), None), (6, Some(vec![2]), None)];
        let stamp = Stamp::LogAppendTime(at(777));
        let whole = batch(&[Some(&records[0]), Some(&records[1])], None, Compression::None, stamp);
        let left = survivors(&whole, None, |record| record.offset == Offset::new(1001)).unwrap();
        let left = RecordBatch::parse(left.encode().unwrap().into()).unwrap();
        left.verify_crc().unwrap();
        assert_eq!((left.header().max_timestamp, left.header().base_timestamp), (at(777), 777));
        let read = left.records(1 << 20).unwrap().validate().unwrap();
        assert_eq!(read.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [at(777)]);
    }

    #[test]
    fn a_record_that_cannot_be_read_lets_none_survive() {
        let record: Seen = (5, Some(vec![1]), Some(vec![2]));
        let whole = batch(&[Some(&record), Some(&record)], None, Compression::None, Stamp::CreateTime);
        let mut bytes = whole.bytes().to_vec();
        let last = bytes.len() - 1;
        bytes[last - 12] = 0x7f;
        let broken = RecordBatch::parse(bytes.into()).unwrap();
        assert!(survivors(&broken, None, |_| true).is_err());
    }

    proptest! {
        #[test]
        fn what_survives_is_the_batch_that_was_built_without_the_others(
            records in prop::collection::vec(
                ((0i64..1 << 40, prop::option::of(prop::collection::vec(any::<u8>(), 0..90)),
                  prop::option::of(prop::collection::vec(any::<u8>(), 0..200))), any::<bool>()), 1..20),
            horizon in prop::option::of(0i64..1 << 41),
            codec in 0..5usize,
        ) {
            let mut codecs = vec![Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4,
                Compression::Zstd];
            codecs.retain(|codec| is_available(*codec));
            let codec = codecs[codec % codecs.len()];
            let all: Vec<Option<&Seen>> = records.iter().map(|(record, _)| Some(record)).collect();
            let kept: Vec<Option<&Seen>> =
                records.iter().map(|(record, lives)| lives.then_some(record)).collect();
            prop_assume!(kept.iter().any(Option::is_some));
            let lives = |record: &Record<'_>| records[record.offset.distance_from(Offset::new(1000)) as usize].1;
            let whole = batch(&all, None, codec, Stamp::CreateTime);
            let left = survivors(&whole, horizon, lives).unwrap();
            prop_assert_eq!(left.count as usize, kept.iter().flatten().count());
            let built = batch(&kept, horizon, codec, Stamp::CreateTime);
            prop_assert_eq!(left.encode().unwrap(), built.bytes().to_vec());
        }
    }
}
