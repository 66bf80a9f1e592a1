//! Record batches and the five codecs under any bytes.

use super::{edited, input, mend};
use crate::{
    codec::{
        batch::{BatchHeader, CRC_START, HEADER_LEN, LENGTH_OVERHEAD, RecordBatch},
        builder::{BatchBuilder, Stamp},
        compress::{compress, decompress, is_available},
        control::ControlRecord,
        crc::crc32c,
        record::{Record, ValidRecords},
    },
    types::{Compression, Offset, Timestamp, TimestampType},
};
use bytes::Bytes;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
const CODEC_BITS: u8 = 7;
const CAP: usize = 1 << 16;

/// A header, its batch and its records. The length and the CRC are mended; by the first byte the magic number is too,
/// and the records are compressed after they were edited, so that edits reach records behind every codec.
pub fn batch(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let mut bytes = input(data, some_batch);
    if bytes.len() < HEADER_LEN {
        assert!(BatchHeader::parse(&bytes).is_err());
        return;
    }
    if choice & 16 == 0 {
        bytes[16] = 2;
    }
    let codec = CODECS[usize::from(choice % 5)];
    if choice & 32 == 0 && is_available(codec) {
        let section = bytes.split_off(HEADER_LEN);
        if compress(codec, None, &section, &mut bytes).is_err() {
            return;
        }
        bytes[CRC_START + 1] = (bytes[CRC_START + 1] & !CODEC_BITS) | (choice % 5);
    }
    let length = (bytes.len() - LENGTH_OVERHEAD) as u32;
    bytes[8..LENGTH_OVERHEAD].copy_from_slice(&length.to_be_bytes());
    let end = bytes.len();
    mend(&mut bytes, CRC_START - 4, CRC_START..end, crc32c);
    check_batch(bytes);
}

fn some_batch() -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for i in 0..5u8 {
        let (key, value) = ([i; 3], [b'v'; 20]);
        let value = (i != 2).then_some(&value[..usize::from(i) * 4]);
        let headers = [("trace", Some(&key[..])), ("", None)];
        let time = Timestamp::from_millis(1_700_000_000_000 + i64::from(i) * 100);
        let _ = batch.append(time, (i != 1).then_some(&key), value, &headers[..usize::from(i % 3)]);
    }
    let sealed = batch.seal(Compression::None, None);
    let stored = sealed.map(|mut batch| batch.finish(Offset::new(7), 0, Stamp::CreateTime).to_vec());
    stored.unwrap_or_default()
}

fn check_batch(bytes: Vec<u8>) {
    // Whatever this says, it says it without looking beyond the bytes.
    let _ = ControlRecord::of_batch(&bytes);
    let Ok(header) = BatchHeader::parse(&bytes) else {
        assert!(RecordBatch::parse(bytes.into()).is_err());
        return;
    };
    assert_eq!(header.to_bytes(), bytes[..HEADER_LEN]);
    assert!(header.base_offset <= header.last_offset() && header.last_offset() < header.next_offset());
    let emptied = header.emptied().to_bytes();
    let emptied = RecordBatch::parse(Bytes::copy_from_slice(&emptied));
    assert!(emptied.is_ok_and(|batch| batch.verify_crc().is_ok()));

    let batch = RecordBatch::parse(bytes.into());
    let Ok(batch) = batch else { unreachable_bytes("a sound header of the right length") };
    assert_eq!(batch.verify_crc(), Ok(()));
    let Ok(records) = batch.records(CAP) else { return };
    let steps: Vec<bool> = records.iter().map(|record| record.is_ok()).collect();
    assert!(steps.iter().filter(|ok| **ok).count() <= records.len());
    let valid = records.clone().validate();
    assert_eq!(valid.is_ok(), steps.iter().all(|ok| *ok));
    if let Ok(valid) = valid {
        check_records(&header, &valid);
    }
}

fn check_records(header: &BatchHeader, records: &ValidRecords) {
    assert_eq!(records.iter().count(), records.len());
    let mut least = header.base_offset;
    let mut walk = records.iter();
    for i in 0..records.len() {
        // Each time to the end: for the first ones only, or this grows with the square.
        if i < 50 {
            assert_eq!(records.iter_from(walk.cursor()).count(), records.len() - i);
        }
        let Some(record) = walk.next() else { return };
        if records.in_order() {
            assert!(least <= record.offset && record.offset <= header.last_offset());
            least = record.offset + 1;
        }
        assert_eq!(record.headers.len(), record.headers.count());
        if let Some(key) = record.key {
            assert_eq!(records.slice_of(key), key);
        }
    }
    rebuild(header, records);
}

/// Records that we would have written ourselves read back as they are.
fn rebuild(header: &BatchHeader, records: &ValidRecords) {
    let strange = |record: Record<'_>| record.timestamp < Timestamp::NONE;
    if records.is_empty()
        || !records.in_order()
        || records.iter().any(strange)
        || header.timestamp_type() == TimestampType::LogAppendTime
    {
        return;
    }
    let mut builder = BatchBuilder::new();
    for record in records {
        let headers: Vec<_> = record.headers.collect();
        let delta = record.offset.distance_from(header.base_offset) as i32;
        if delta == i32::MAX {
            return;
        }
        let added = builder.append_at(delta, record.timestamp, record.key, record.value, &headers);
        assert!(added.is_ok(), "{added:?}");
    }
    let Ok(mut sealed) = builder.seal(Compression::None, None) else { return };
    let bytes = sealed.finish(header.base_offset, header.leader_epoch, Stamp::CreateTime);
    let again = RecordBatch::parse(Bytes::copy_from_slice(bytes))
        .and_then(|batch| batch.verify_crc().and_then(|()| batch.records(CAP)))
        .and_then(|records| records.validate());
    let Ok(again) = again else { unreachable_bytes("a batch of ours") };
    assert!(records.iter().map(parts).eq(again.iter().map(parts)));
}

type Parts<'a> = (Offset, Timestamp, Option<&'a [u8]>, Option<&'a [u8]>, Vec<(&'a str, Option<&'a [u8]>)>);

fn parts<'a>(record: Record<'a>) -> Parts<'a> {
    (record.offset, record.timestamp, record.key, record.value, record.headers.collect())
}

/// Fails for bytes that cannot have been refused.
#[cold]
#[expect(clippy::panic, reason = "that is what a fuzz target is for")]
fn unreachable_bytes(what: &str) -> ! {
    panic!("{what} was refused")
}

/// Decompresses the input as it is, compresses it and decompresses that, whole and edited. Nothing that comes out is
/// larger than allowed, and exactly the size that is needed is enough.
pub fn decompression(data: &[u8]) {
    let [choice, allowed, data @ ..] = data else { return };
    let codec = CODECS[usize::from(choice % 5)];
    let allowed = usize::from(*allowed) * 64;
    check_capped(codec, data, allowed);
    // Repeated, so that there is something to compress.
    let plain = data.repeat(usize::from(choice / 5) + 1);
    let mut packed = Vec::new();
    if compress(codec, None, &plain, &mut packed).is_err() {
        assert!(!is_available(codec));
        return;
    }
    assert_eq!(decompress(codec, &packed, plain.len()).as_deref(), Ok(&plain[..]));
    check_capped(codec, &packed, allowed);
    check_capped(codec, &edited(packed, data), allowed);
}

fn check_capped(codec: Compression, bytes: &[u8], max: usize) {
    let Ok(plain) = decompress(codec, bytes, max) else { return };
    assert!(plain.len() <= max);
    assert_eq!(decompress(codec, bytes, plain.len()).as_ref(), Ok(&plain));
    if let Some(less) = plain.len().checked_sub(1) {
        assert!(decompress(codec, bytes, less).is_err());
    }
}
