//! The manifest and the slots of the marks under any bytes.

use super::{edited, input, mend};
use crate::{
    codec::{
        manifest::{
            Adopted, Entry, HEADER_BYTES, PartitionClosed, Reader, Seal, decode_header, encode_append,
            encode_header,
        },
        mark::{MARK_BYTES, Mark},
    },
    types::{Offset, Timestamp, TopicId, name::TopicName},
};

const EPOCH: u64 = 5;
/// Type, zero and length of a record.
const HEAD: usize = 8;
/// Where the payload begins, behind the checksum.
const PAYLOAD: usize = 12;

/// A whole file. Reading ends, comes to appends in the order of their positions, and what it gives encodes to appends
/// that read back as the same; the checksums of records are mended as far as their lengths lead.
pub fn manifest(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let mut file = input(data, some_manifest);
    mend(&mut file, 24, 0..24, crate::codec::crc::crc32);
    let epoch = decode_header(&file).unwrap_or(EPOCH);
    let body = file.get_mut(HEADER_BYTES..).unwrap_or_default();
    if choice.is_multiple_of(2) {
        mend_records(body);
    }
    let mut reader = Reader::new(epoch, HEADER_BYTES as u64, body);
    let mut position = reader.position();
    while let Ok(Some(append)) = reader.next() {
        assert!(reader.position() > position && reader.position() <= body.len());
        assert!(append.entries.iter().all(|(at, _)| (position..reader.position()).contains(at)));
        position = reader.position();
        let entries: Vec<Entry> = append.entries.into_iter().map(|(_, entry)| entry).collect();
        read_back(&entries);
    }
    // An end is an end, however often it is asked for.
    let ended = (reader.position(), reader.is_torn());
    let _ = reader.next();
    assert_eq!((reader.position(), reader.is_torn()), ended);
}

fn read_back(entries: &[Entry]) {
    let mut bytes = Vec::new();
    encode_append(EPOCH, 0, entries, &mut bytes);
    let mut reader = Reader::new(EPOCH, 0, &bytes);
    let append = reader.next();
    assert!(append.is_ok_and(|append| {
        append.is_some_and(|append| append.entries.iter().map(|(_, entry)| entry).eq(entries))
    }));
    assert_eq!(reader.position(), bytes.len());
}

fn mend_records(mut body: &mut [u8]) {
    while let Some(length) = body.get(4..HEAD).and_then(|length| length.first_chunk::<4>()) {
        let end = PAYLOAD.saturating_add(u32::from_be_bytes(*length) as usize);
        if end > body.len() {
            return;
        }
        let (record, rest) = body.split_at_mut(end);
        let mut covered = record[..HEAD].to_vec();
        covered.extend_from_slice(&record[PAYLOAD..]);
        record[HEAD..PAYLOAD].copy_from_slice(&crate::codec::crc::crc32(&covered).to_be_bytes());
        body = rest;
    }
}

fn some_manifest() -> Vec<u8> {
    let mut file = Vec::new();
    encode_header(EPOCH, &mut file);
    for entries in some_entries().chunks(4) {
        let durable = file.len() as u64;
        encode_append(EPOCH, durable, entries, &mut file);
    }
    file
}

/// One of each.
fn some_entries() -> Vec<Entry> {
    let (id, partition, base) = (TopicId::from_bytes([1; 16]), 0, Offset::ZERO);
    let offset = Offset::new(50);
    let sealed = Seal {
        next_offset: offset,
        bytes: 4096,
        largest_timestamp: Timestamp::from_millis(1000),
        generation: 1,
        index_checksum: 7,
        sealed_at: Some(Timestamp::from_millis(2000)),
    };
    let closed = PartitionClosed {
        log_start: base,
        next_offset: offset,
        last_stable_offset: offset,
        size: 10,
        largest_timestamp: Timestamp::NONE,
        index_checksum: 8,
    };
    let Ok(name) = TopicName::new("topic") else { return Vec::new() };
    let config = vec![("retention.ms".to_string(), "1".to_string())];
    vec![
        Entry::TopicCreated {
            id,
            name,
            internal: false,
            partitions: 1,
            first_slot: 0,
            config: config.clone(),
        },
        Entry::TopicConfigured { id, config },
        Entry::PartitionsAdded { id, count: 2, first_slot: 1 },
        Entry::SegmentCreated { id, partition, base },
        Entry::SegmentSealed { id, partition, base, sealed },
        Entry::SegmentsReplaced { id, partition, from: base, to: offset, with: vec![(base, sealed)] },
        Entry::SegmentsRemoved { id, partition, below: offset },
        Entry::LogStart { id, partition, offset },
        Entry::Cleaned { id, partition, offset },
        Entry::ProducersAtStart { id, partition, base, checksum: 9 },
        Entry::Truncated { id, partition, next_offset: offset },
        Entry::Incarnation { id, partition, number: 2, first_offset: offset },
        Entry::Adopted { id, partition, adopted: Adopted { from: base, next: offset, leader_epoch: 3 } },
        Entry::Opened { epoch: 6 },
        Entry::Closed { partitions: vec![(id, 0, closed)] },
        Entry::TopicDeleted { id },
        Entry::SlotsUsed { next: 2 },
        Entry::Numbered { number: 4, slot: 3 },
        Entry::MarksDurable { said: 100 },
    ]
}

/// A slot of the marks: it says nothing, or what encodes to the same bytes.
pub fn mark(data: &[u8]) {
    let slot = Mark::blank(&TopicId::from_bytes([1; 16]), 0).encode();
    let mut slot = edited(slot.to_vec(), data);
    slot.resize(MARK_BYTES, 0);
    mend(&mut slot, MARK_BYTES - 4, 0..MARK_BYTES - 4, crate::codec::crc::crc32);
    let Some(slot) = slot.first_chunk::<MARK_BYTES>() else { return };
    if let Some(mark) = Mark::decode(slot) {
        assert_eq!(&mark.encode(), slot);
    }
}
