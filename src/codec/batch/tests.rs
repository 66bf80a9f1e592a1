//! What the headers of batches, and batches as a whole, must hold.

use super::{
    header::{DELETE_HORIZON, MIN_BATCH_LENGTH},
    *,
};
use crate::{
    codec::{record::Record, vectors::*},
    types::{Offset, Timestamp},
};
use proptest::prelude::*;

const UNCOMPRESSED: [&str; 7] =
    [TWO_RECORDS, NULLS, EMPTIED, TOMBSTONE, COMMIT_MARKER, ABORT_MARKER, CLEANED_MARKER];

fn batch(text: &str) -> RecordBatch {
    RecordBatch::parse(unhex(text).into()).unwrap()
}

/// The verdict on `TWO_RECORDS` with other bytes from `at` on.
fn with(at: usize, bytes: &[u8]) -> Result<BatchHeader, DecodeError> {
    let mut header = unhex(TWO_RECORDS);
    header[at..at + bytes.len()].copy_from_slice(bytes);
    BatchHeader::parse(&header)
}

fn fault_at(result: Result<BatchHeader, DecodeError>) -> u64 {
    match result {
        Err(DecodeError::Malformed { position, .. }) => position,
        other => panic!("{other:?}"),
    }
}

#[test]
fn kafkas_batches_parse_and_their_headers_write_back() {
    for text in UNCOMPRESSED.into_iter().chain([TWO_RECORDS_LZ4, TWO_RECORDS_SNAPPY]) {
        let batch = batch(text);
        batch.verify_crc().unwrap();
        assert_eq!(batch.header().to_bytes(), batch.bytes()[..HEADER_LEN]);
        assert_eq!(batch.header().size(), batch.bytes().len() as u64);
        assert_eq!(BatchHeader::size_of_prefix(batch.bytes()), Some(batch.bytes().len() as i64));
    }
    let header = *batch(TWO_RECORDS).header();
    assert_eq!(header.crc, 3_851_219_455);
    assert_eq!((header.last_offset(), header.next_offset()), (Offset::new(1), Offset::new(2)));
    assert_eq!((header.leader_epoch, header.producer_id, header.last_sequence()), (-1, -1, -1));
    assert!(!header.is_control() && !header.is_transactional() && !header.has_producer_id());
    assert_eq!(header.delete_horizon(), None);
    assert_eq!(batch(TWO_RECORDS_LZ4).header().crc, 2_745_969_314);
    assert_eq!(batch(TWO_RECORDS_LZ4).header().compression(), Compression::Lz4);
    assert_eq!(batch(TWO_RECORDS_SNAPPY).header().compression(), Compression::Snappy);
    assert!(batch(COMMIT_MARKER).header().is_control());
}

#[test]
fn an_emptied_batch_keeps_its_offsets_and_sequence() {
    let emptied = batch(EMPTIED);
    let header = *emptied.header();
    assert_eq!((header.base_offset, header.last_offset()), (Offset::new(10), Offset::new(14)));
    assert_eq!((header.last_sequence(), header.max_timestamp.as_millis()), (44, 2000));
    assert!(emptied.records(0).unwrap().validate().unwrap().is_empty());
    // From anything that was in it, compressed or met by a cleaner before, and from itself.
    let full = BatchHeader {
        attributes: header.attributes | DELETE_HORIZON | 4,
        base_timestamp: 1,
        batch_length: 500,
        record_count: 5,
        crc: 1,
        ..header
    };
    assert_eq!(full.emptied(), header);
    assert_eq!(full.emptied().to_bytes(), unhex(EMPTIED)[..]);
    let compressed =
        RecordBatch::with_header(BatchHeader { attributes: 4, ..header }, Bytes::from(unhex(EMPTIED)));
    assert!(compressed.records(0).unwrap().is_empty(), "no codec is asked about nothing");
}

#[test]
fn a_delete_horizon_is_told_and_the_records_keep_their_time() {
    let tombstone = batch(TOMBSTONE);
    assert_eq!(tombstone.header().delete_horizon(), Some(Timestamp::from_millis(90_000_000)));
    let records = tombstone.records(0).unwrap().validate().unwrap();
    let record = records.iter().next().unwrap();
    assert_eq!((record.offset, record.timestamp.as_millis()), (Offset::new(20), 1000));
    assert_eq!((record.key, record.value), (Some(&b"k"[..]), None));
}

#[test]
fn the_first_producer_there_is_has_the_id_0() {
    let header = *batch(EMPTIED).header();
    assert!(BatchHeader { producer_id: 0, ..header }.has_producer_id());
    assert!(!BatchHeader { producer_id: -1, ..header }.has_producer_id());
}

#[cfg(feature = "lz4")]
#[test]
fn only_a_batch_without_records_and_without_bytes_needs_no_codec() {
    let header = BatchHeader { attributes: 3, ..*batch(TWO_RECORDS).header() };
    let records = |record_count, section: &[u8]| {
        let bytes = [&[0; HEADER_LEN], section].concat().into();
        RecordBatch { header: BatchHeader { record_count, ..header }, bytes }.records(1 << 16)
    };
    let reason = |result: Result<Records, DecodeError>| result.err().map(|error| error.to_string());
    assert!(reason(records(0, b"")).is_none());
    let of_records = reason(records(2, b"")).unwrap();
    assert!(!of_records.contains("do not fit"), "the codec says what is missing: {of_records}");
    assert!(reason(records(0, b"no frame")).is_some(), "bytes that no codec can read");
}

#[test]
fn sequences_wrap_behind_the_largest() {
    let header = *batch(EMPTIED).header();
    let last = |base_sequence, last_offset_delta| {
        BatchHeader { base_sequence, last_offset_delta, ..header }.last_sequence()
    };
    assert_eq!(last(i32::MAX, 0), i32::MAX);
    assert_eq!(last(i32::MAX, 1), 0);
    assert_eq!(last(i32::MAX - 2, 10), 7);
    assert_eq!(last(i32::MAX, i32::MAX), i32::MAX - 1);
    assert_eq!(last(-1, 10), -1);
    assert_eq!(last(0, 10), 10);
}

#[test]
fn each_broken_rule_of_a_header_is_told_by_its_place() {
    assert_eq!(fault_at(with(0, &[0xff; 8])), 0, "negative base offset");
    assert_eq!(fault_at(with(0, &i64::MAX.to_be_bytes())), 0, "no next offset");
    assert_eq!(fault_at(with(0, &(i64::MAX - 1).to_be_bytes())), 0, "last offset is the largest");
    assert!(with(0, &(i64::MAX - 2).to_be_bytes()).is_ok());
    assert_eq!(fault_at(with(8, &48i32.to_be_bytes())), 8);
    assert_eq!(fault_at(with(8, &(-1i32).to_be_bytes())), 8);
    assert_eq!(fault_at(with(8, &i32::MIN.to_be_bytes())), 8);
    for codec in 5..8 {
        assert_eq!(fault_at(with(22, &[codec])), 21);
    }
    assert_eq!(fault_at(with(23, &(-1i32).to_be_bytes())), 23);
    assert_eq!(fault_at(with(57, &(-1i32).to_be_bytes())), 57);
    assert_eq!(fault_at(with(57, &3i32.to_be_bytes())), 57, "three records in two offsets");
    assert!(with(57, &0i32.to_be_bytes()).is_ok());
    assert_eq!(fault_at(BatchHeader::parse(&unhex(TWO_RECORDS)[..60])), 60);
    assert_eq!(fault_at(BatchHeader::parse(&[0; 61])), 8, "zeros are no version");
}

#[test]
fn a_value_at_the_edge_of_one_rule_is_not_blamed_for_another() {
    let blamed = |changes: &[(usize, &[u8])]| {
        let mut header = unhex(TWO_RECORDS);
        for (at, bytes) in changes {
            header[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        fault_at(BatchHeader::parse(&header))
    };
    let (negative, largest) = ((-1i32).to_be_bytes(), i64::MAX.to_be_bytes());
    assert_eq!(blamed(&[(22, &[4]), (23, &negative)]), 23, "Zstandard is the last codec");
    assert_eq!(blamed(&[(23, &[0; 4]), (57, &negative)]), 57, "one offset is enough");
    assert_eq!(blamed(&[(57, &[0; 4]), (0, &largest)]), 0, "no record need be left");
    assert_eq!(blamed(&[(8, &MIN_BATCH_LENGTH.to_be_bytes()), (23, &negative)]), 23, "nor any byte of one");
    assert_eq!(blamed(&[(16, &[1]), (8, &13i32.to_be_bytes())]), 8, "no older message is as short");
    let mut message = unhex(TWO_RECORDS);
    message[8..12].copy_from_slice(&14i32.to_be_bytes());
    message[16] = 1;
    assert!(
        matches!(BatchHeader::parse(&message), Err(DecodeError::Unsupported { .. })),
        "but this one may be"
    );
}

#[test]
fn other_versions_are_named() {
    for magic in [0, 1, 3, 127, -1i8] {
        match with(16, &magic.to_be_bytes()) {
            Err(DecodeError::Unsupported { found, .. }) => assert!(found.ends_with(&format!(" {magic}"))),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_batch_is_exactly_as_long_as_it_says() {
    let bytes = unhex(TWO_RECORDS);
    for end in 0..bytes.len() {
        let short = RecordBatch::parse(Bytes::copy_from_slice(&bytes[..end]));
        assert!(matches!(short, Err(DecodeError::Malformed { position, .. }) if position == end as u64));
    }
    let longer = [&bytes[..], b"more"].concat();
    assert_eq!(RecordBatch::parse(longer.into()).unwrap().bytes(), &bytes[..]);
    assert_eq!(BatchHeader::size_of_prefix(&bytes[..11]), None);
    assert_eq!(BatchHeader::size_of_prefix(&[0xff; 12]), Some(11));
}

#[test]
fn every_flipped_bit_that_the_crc_covers_is_noticed() {
    for text in UNCOMPRESSED {
        let mut bytes = unhex(text);
        for bit in 17 * 8..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(batch) = RecordBatch::parse(Bytes::copy_from_slice(&bytes)) {
                assert!(batch.verify_crc().is_err(), "bit {bit}");
                // Nor does it matter what the records have become.
                if let Ok(records) = batch.records(1000).and_then(Records::validate) {
                    let within = |record: Record<'_>| record.offset <= batch.header().last_offset();
                    assert!(!records.in_order() || records.iter().all(within));
                }
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #[test]
    fn strangers_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), like in 0u8..4) {
        if like > 0 && bytes.len() >= HEADER_LEN {
            // Close enough to be looked at further.
            let length = (bytes.len() - LENGTH_OVERHEAD) as i32;
            bytes[0] &= 0x7f;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[22] = bytes[22] & !7 | if like == 1 { 0 } else { bytes[22] & 7 };
            bytes[23] &= 0x7f;
            bytes[57..60].fill(0);
        }
        let _ = crate::codec::control::ControlRecord::of_batch(&bytes);
        if let Ok(batch) = RecordBatch::parse(bytes.into()) {
            let _ = batch.verify_crc();
            if let Ok(records) = batch.records(1 << 16) {
                let good = records.iter().filter(Result::is_ok).count();
                let ends_well = records.iter().all(|r| r.is_ok());
                match records.validate() {
                    Ok(valid) => prop_assert!(ends_well && valid.iter().count() == good && valid.len() == good),
                    Err(_) => prop_assert!(!ends_well),
                }
            }
        }
    }
}
