//! The manifest's bytes: what they are, and what is left of them after a cut or a flipped bit.

use super::*;
use crate::types::{Offset, Timestamp, TopicId, name::TopicName};

pub(crate) fn samples() -> Vec<Entry> {
    let id = TopicId::from_bytes([7; 16]);
    let sealed = Seal {
        next_offset: Offset::new(9),
        bytes: u64::from(u32::MAX),
        largest_timestamp: Timestamp::NONE,
        generation: 3,
        index_checksum: 0xfedc_ba98,
        sealed_at: Some(Timestamp::from_millis(7)),
    };
    let closed = PartitionClosed {
        log_start: Offset::ZERO,
        next_offset: Offset::new(9),
        last_stable_offset: Offset::new(8),
        size: 77,
        largest_timestamp: Timestamp::from_millis(5),
        index_checksum: 6,
    };
    let config = vec![("retention.ms".to_string(), "-1".to_string()), (String::new(), "ü".to_string())];
    vec![
        Entry::Opened { epoch: u64::MAX },
        Entry::TopicCreated {
            id,
            name: TopicName::new("__consumer_offsets").unwrap(),
            internal: true,
            partitions: 2,
            first_slot: 0,
            config: config.clone(),
        },
        Entry::TopicConfigured { id, config },
        Entry::PartitionsAdded { id, count: 3, first_slot: 2 },
        Entry::SegmentCreated { id, partition: 0, base: Offset::ZERO },
        Entry::SegmentSealed { id, partition: 0, base: Offset::ZERO, sealed },
        Entry::SegmentsReplaced {
            id,
            partition: 0,
            from: Offset::ZERO,
            to: Offset::new(9),
            with: vec![(Offset::ZERO, sealed), (Offset::new(4), Seal { generation: 4, ..sealed })],
        },
        Entry::SegmentsRemoved { id, partition: 0, below: Offset::new(4) },
        Entry::LogStart { id, partition: 0, offset: Offset::MAX },
        Entry::Cleaned { id, partition: 0, offset: Offset::new(4) },
        Entry::ProducersAtStart { id, partition: 0, base: Offset::new(4), checksum: 9 },
        Entry::Truncated { id, partition: 0, next_offset: Offset::new(5) },
        Entry::Incarnation { id, partition: 1, number: 1, first_offset: Offset::new(6) },
        Entry::Closed { partitions: vec![(id, 0, closed), (id, 1, closed)] },
        Entry::SlotsUsed { next: 3 },
        Entry::Adopted {
            id,
            partition: 1,
            adopted: Adopted { from: Offset::new(6), next: Offset::new(8), leader_epoch: -1 },
        },
        Entry::TopicDeleted { id },
        Entry::Numbered { number: u64::MAX, slot: 3 },
        Entry::MarksDurable { said: 99 },
    ]
}

/// Everything that can be read, and whether a tail is torn.
fn read(bytes: &[u8]) -> Result<(Vec<Vec<Entry>>, bool), DecodeError> {
    let epoch = decode_header(bytes)?;
    let body = &bytes[HEADER_BYTES..];
    let mut reader = Reader::new(epoch, HEADER_BYTES as u64, body);
    let mut appends = Vec::new();
    while let Some(append) = reader.next()? {
        appends.push(append.entries.into_iter().map(|(_, entry)| entry).collect());
    }
    Ok((appends, reader.is_torn()))
}

/// A file of one append per entry, each flushed before the next when `flushed`; and where the appends end.
fn file(flushed: bool) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    encode_header(42, &mut bytes);
    let mut ends = vec![bytes.len()];
    for entry in samples() {
        let durable = if flushed { bytes.len() } else { HEADER_BYTES };
        encode_append(42, durable as u64, &[entry], &mut bytes);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

#[test]
fn every_entry_reads_back() {
    let mut bytes = Vec::new();
    encode_header(42, &mut bytes);
    encode_append(42, 28, &samples(), &mut bytes);
    encode_append(42, 28, &[], &mut bytes);
    assert_eq!(read(&bytes), Ok((vec![samples(), vec![]], false)));
}

#[test]
fn a_file_has_these_bytes() {
    let mut bytes = Vec::new();
    encode_header(0x0102_0304_0506_0708, &mut bytes);
    encode_append(
        0x0102_0304_0506_0708,
        28,
        &[Entry::PartitionsAdded { id: TopicId::from_bytes([0xaa; 16]), count: 3, first_slot: 9 }],
        &mut bytes,
    );
    // The checksums were computed with Python's zlib.crc32.
    let expected = [
        "534c4d414e494631 00000000 00000000 0102030405060708 1bfe4064",
        "0001 0000 00000014 c1c253fe 0102030405060708 000000000000001c 00000024",
        "0004 0000 00000018 4559175e aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 00000003 00000009",
    ];
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, expected.concat().replace(' ', ""));
}

#[test]
fn an_append_of_another_epoch_is_not_this_files() {
    let entry = samples().swap_remove(3);
    for epoch in [41, 43] {
        let mut bytes = Vec::new();
        encode_header(42, &mut bytes);
        encode_append(42, 28, std::slice::from_ref(&entry), &mut bytes);
        encode_append(epoch, bytes.len() as u64, std::slice::from_ref(&entry), &mut bytes);
        assert_eq!(read(&bytes), Ok((vec![vec![entry.clone()]], true)), "epoch {epoch}");
    }
}

#[test]
fn behind_a_torn_append_only_a_later_mark_of_the_same_file_is_damage() {
    let mark = |epoch, durable| {
        let mut bytes = Vec::new();
        encode_append(epoch, durable, &[], &mut bytes);
        bytes
    };
    let look = |position, piece: &[u8]| {
        let mut tail = Tail::new(42, 1000, 1005);
        tail.look_at(position, piece).map(|()| tail.is_torn())
    };
    assert_eq!(look(1000, &[]), Ok(false));
    assert_eq!(look(1000, &[0; 100]), Ok(false));
    assert_eq!(look(1000, &[0, 0, 1, 0]), Ok(true));
    assert_eq!(look(1000, &[9; 100]), Ok(true));
    assert_eq!(look(1000, &mark(42, 1001)), Ok(true), "the torn append's own mark");
    assert_eq!(look(1040, &mark(42, 1000)), Ok(true), "of this append nothing was flushed");
    assert_eq!(look(1040, &mark(41, 5000)), Ok(true), "a file that was here before");
    for (position, before) in [(1000, 1), (1001, 0), (1040, 0), (1040, 7)] {
        let piece = [vec![0; before], mark(42, 1001)].concat();
        match look(position, &piece) {
            Err(DecodeError::Malformed { position: 1005, .. }) => {}
            other => panic!("{position} {before}: {other:?}"),
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_a_prefix_of_its_appends() {
    for flushed in [false, true] {
        let (bytes, ends) = file(flushed);
        for cut in HEADER_BYTES..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let expected: Vec<_> = samples().into_iter().take(whole).map(|e| vec![e]).collect();
            // What is left may be zeros, as space for appends to come is.
            let torn = bytes[ends[whole]..cut].iter().any(|byte| *byte != 0);
            assert_eq!(read(&bytes[..cut]), Ok((expected.clone(), torn)), "cut at {cut}");
            // A length that became durable before its data, some of which may have been zeros anyway.
            let mut zeros = bytes[..cut].to_vec();
            zeros.resize(cut + 100, 0);
            let whole = ends.iter().filter(|end| zeros.get(..**end) == bytes.get(..**end)).count() - 1;
            assert_eq!(read(&zeros).unwrap().0.len(), whole, "zeros from {cut}");
        }
    }
    for cut in 0..HEADER_BYTES {
        assert!(matches!(read(&file(true).0[..cut]), Err(DecodeError::Malformed { .. })));
    }
}

#[test]
fn a_flipped_bit_is_damage_below_what_was_flushed_and_a_torn_tail_above() {
    let (bytes, ends) = file(true);
    let all = samples().len();
    for position in 0..bytes.len() {
        for bit in [0, 4, 7] {
            let mut bytes = bytes.clone();
            bytes[position] ^= 1 << bit;
            let append = ends.iter().filter(|end| **end <= position).count();
            match read(&bytes) {
                Ok((appends, torn)) => {
                    assert_eq!((append, torn), (all, true), "byte {position}");
                    assert_eq!(appends.len(), all - 1);
                }
                Err(DecodeError::Malformed { position: at, .. }) if append > 0 => {
                    assert!(append < all);
                    let at = at as usize + HEADER_BYTES;
                    assert!((ends[append - 1]..ends[append]).contains(&at), "byte {position}: found at {at}");
                }
                Err(_) => assert_eq!(append, 0, "byte {position}"),
            }
        }
    }
}

#[test]
fn what_no_flush_covered_is_cut_though_whole_appends_lie_behind_it() {
    let (mut bytes, ends) = file(false);
    bytes[ends[3] + 5] ^= 1;
    let (appends, torn) = read(&bytes).unwrap();
    assert_eq!((appends.len(), torn), (3, true));
}

#[test]
fn unknown_records_are_skipped_or_refused_as_their_type_says() {
    for (code, at_top) in [(0x8123, true), (0x8123, false), (0x0123, true), (0x0123, false)] {
        let mut bytes = Vec::new();
        encode_header(42, &mut bytes);
        let mut records = Vec::new();
        encode_record(code, &mut records, |out| out.extend(b"later"));
        if at_top {
            bytes.append(&mut records);
        }
        encode(&Entry::Opened { epoch: 1 }, &mut records);
        encode_record(MARK, &mut bytes, |out| {
            out.extend(42u64.to_be_bytes());
            out.extend(28u64.to_be_bytes());
            out.extend((records.len() as u32).to_be_bytes());
        });
        bytes.append(&mut records);
        match read(&bytes) {
            Ok(found) => {
                assert_eq!(code, 0x8123);
                assert_eq!(found, (vec![vec![Entry::Opened { epoch: 1 }]], false));
            }
            Err(error) => assert!(code == 0x0123 && matches!(error, DecodeError::Unsupported { .. })),
        }
    }
    let mut bytes = Vec::new();
    encode_header(42, &mut bytes);
    bytes[11] = 1;
    let crc = crate::codec::crc::crc32(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_be_bytes());
    assert!(matches!(read(&bytes), Err(DecodeError::Unsupported { .. })));
}

#[test]
fn no_segment_is_larger_than_a_position_can_say() {
    let at_most = u64::from(u32::MAX).to_be_bytes();
    for entry in samples() {
        let mut payload = Vec::new();
        entry.encode_payload(&mut payload);
        for at in 0..payload.len().saturating_sub(8) {
            if payload[at..at + 8] == at_most && matches!(entry, Entry::SegmentSealed { .. }) {
                payload[at..at + 8].copy_from_slice(&u64::MAX.to_be_bytes());
                assert!(Entry::decode(entry.code(), &payload).is_err());
                return;
            }
        }
    }
    unreachable!("one of them has such a size");
}

#[test]
fn a_payload_that_lies_about_its_counts_is_refused() {
    for entry in samples() {
        let mut payload = Vec::new();
        entry.encode_payload(&mut payload);
        for cut in 0..payload.len() {
            assert!(Entry::decode(entry.code(), &payload[..cut]).is_err(), "{entry:?} cut at {cut}");
        }
        for position in 0..payload.len() {
            let mut payload = payload.clone();
            payload[position] = 0xff;
            // Another value, or refused; never a panic or a large allocation.
            let _ = Entry::decode(entry.code(), &payload);
        }
        payload.push(0);
        assert!(Entry::decode(entry.code(), &payload).is_err());
    }
}

#[test]
fn an_entry_that_cannot_be_says_at_which_byte() {
    let id = TopicId::from_bytes([7; 16]);
    let payload = |entry: &Entry| {
        let mut payload = Vec::new();
        entry.encode_payload(&mut payload);
        (entry.code(), payload)
    };
    let refused_at = |(code, payload): &(u16, Vec<u8>), change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = payload.clone();
        assert!(Entry::decode(*code, &payload).is_ok());
        change(&mut payload);
        match Entry::decode(*code, &payload) {
            Err(DecodeError::Malformed { position, .. }) => position,
            other => panic!("{other:?}"),
        }
    };
    // Topic, partition, base offset.
    let begun = payload(&Entry::SegmentCreated { id, partition: 0, base: Offset::ZERO });
    assert_eq!(refused_at(&begun, &|bytes| bytes[20] = 0x80), 20, "a negative offset");
    assert_eq!(refused_at(&begun, &|bytes| bytes.truncate(27)), 20, "seven bytes of eight");
    assert_eq!(refused_at(&begun, &|bytes| bytes.extend([0; 3])), 28, "three bytes more");
    // Behind these the next offset, size, time, generation, tier.
    let sealed = samples().into_iter().find(|entry| matches!(entry, Entry::SegmentSealed { .. })).unwrap();
    let sealed = payload(&sealed);
    assert_eq!(refused_at(&sealed, &|bytes| bytes[28] = 0x80), 28);
    assert_eq!(refused_at(&sealed, &|bytes| bytes[39] = 1), 36, "a size of more than 32 bits");
    // Topic, name, whether it is internal, partitions, slot, settings.
    let topic = (2, created("t", 0, 1));
    assert_eq!(refused_at(&topic, &|bytes| bytes[20] = 0xff), 20, "no text");
    assert_eq!(refused_at(&topic, &|bytes| bytes[20] = b'/'), 16, "no name");
    assert_eq!(refused_at(&topic, &|bytes| bytes[21] = 1), 21, "not one of Kafka's own");
    assert_eq!(refused_at(&topic, &|bytes| bytes[25] = 0), 22, "no partition");
    assert_eq!(refused_at(&topic, &|bytes| bytes[33] = 1), 30, "a setting that is not there");
    assert!(Entry::decode(2, &created("t", 0, 100_000)).is_ok());
    // A setting has two texts, which are at least two lengths.
    let empty = [&created("t", 0, 1)[..30], &[0, 0, 0, 1], &[0; 8]].concat();
    assert!(Entry::decode(2, &empty).is_ok());
}

#[test]
fn a_length_is_believed_up_to_the_most_that_an_append_may_have() {
    let with_len = |len: usize| {
        let mut record = [0; RECORD_HEADER_BYTES];
        record[1] = 6;
        record[4..8].copy_from_slice(&(len as u32).to_be_bytes());
        Reader::new(9, 0, &record).step()
    };
    let needed = (RECORD_HEADER_BYTES + PAYLOAD_MAX) as u64;
    assert_eq!(with_len(PAYLOAD_MAX), Ok(Step::Short(needed)));
    assert_eq!(with_len(PAYLOAD_MAX + 1), Ok(Step::End(0)));
    let mark_of = |len: usize| {
        let mut bytes = Vec::new();
        encode_record(MARK, &mut bytes, |out| {
            out.extend(9u64.to_be_bytes());
            out.extend(0u64.to_be_bytes());
            out.extend((len as u32).to_be_bytes());
        });
        (Reader::new(9, 0, &bytes).step(), bytes.len())
    };
    let (step, mark) = mark_of(PAYLOAD_MAX);
    assert_eq!(step, Ok(Step::Short((mark + PAYLOAD_MAX) as u64)));
    assert_eq!(mark_of(PAYLOAD_MAX + 1).0, Ok(Step::End(0)));
}

/// The payload of a topic's creation, with any name.
fn created(name: &str, internal: u8, partitions: u32) -> Vec<u8> {
    let mut payload = [7; 16].to_vec();
    payload.extend((name.len() as u32).to_be_bytes());
    payload.extend(name.as_bytes());
    payload.push(internal);
    payload.extend(partitions.to_be_bytes());
    payload.extend([0; 8]);
    payload
}

#[test]
fn what_could_not_have_been_created_is_refused() {
    let long = "x".repeat(250);
    for name in ["", ".", "..", "../outside/t", "/tmp/t", "a/b", "a\\b", "a\0", "a b", "\u{e4}", &long] {
        match Entry::decode(2, &created(name, 0, 1)) {
            Err(DecodeError::Malformed { position: 16, reason }) => {
                assert!(reason.contains("no topic's name"), "{reason}")
            }
            other => panic!("{name:?}: {other:?}"),
        }
    }
    assert!(Entry::decode(2, &created("orders", 0, 1)).is_ok());
    assert!(Entry::decode(2, &created("__consumer_offsets", 1, 1)).is_ok());
    for (name, internal, partitions) in [
        ("orders", 1, 1),
        ("__consumer_offsets", 0, 1),
        ("orders", 0, 0),
        ("orders", 0, 100_001),
        ("orders", 2, 1),
    ] {
        assert!(
            Entry::decode(2, &created(name, internal, partitions)).is_err(),
            "{name} {internal} {partitions}"
        );
    }
    for count in [0u32, 100_001, u32::MAX] {
        let payload = [&[7; 16][..], &count.to_be_bytes(), &[0; 4]].concat();
        assert!(Entry::decode(4, &payload).is_err(), "{count}");
    }
}
