//! The files beside a `.log`, and the values of `__consumer_offsets`, under any bytes.

use super::{input, mend};
use crate::{
    codec::{
        checkpoint::*,
        coordinator::{
            groups::*,
            transactions::{ends::*, outcome::*, sidecar::*, *},
            *,
        },
        crc::crc32c,
        index::{AbortedTransaction, OffsetEntry, OffsetIndexView, TimeEntry, TimeIndexView},
        keys::{HEADER_LEN, HashSeed, KeyEntry, KeySummer, KeySums, KeysFlags, KeysHeader, siphash128},
        named::NamedSequences,
        pages::{PAGE_SIZE, PageSummer, PageSums},
        snapshot::*,
        varint::{read_varint, read_varlong, write_varint, write_varlong},
    },
    types::{Offset, Timestamp, TopicId, TopicPartition},
};

/// The three indexes: what decodes encodes to the same bytes, the longest sound beginning is sound, and a look-up finds
/// what going through all entries finds.
pub fn index(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => offset_index(&input(data, some_offset_index)),
        1 => time_index(&input(data, some_time_index)),
        _ => transaction_index(&input(data, some_transaction_index)),
    }
}

fn some_offset_index() -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 1..7 {
        OffsetEntry { relative_offset: i * 10, position: i * 4096 }.encode(&mut bytes);
    }
    bytes
}

fn offset_index(bytes: &[u8]) {
    if let Ok(entries) = OffsetEntry::decode_all(bytes) {
        let mut again = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut again));
        assert_eq!(again, bytes);
    }
    let (view, sound) = OffsetIndexView::new_checked(bytes);
    let entries: Vec<_> = view.iter().collect();
    assert_eq!(OffsetEntry::decode_all(&bytes[..sound]).as_ref(), Ok(&entries));
    let around = entries.iter().flat_map(|entry| [entry.relative_offset, entry.relative_offset + 1]);
    for wanted in around.chain([0, u32::MAX]) {
        let last = entries.iter().rfind(|entry| entry.relative_offset <= wanted);
        assert_eq!(view.floor(wanted).as_ref(), last);
    }
    // Out of order a look-up may find anything, but it ends.
    let _ = OffsetIndexView::new(bytes).floor(77);
}

fn some_time_index() -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 0..6 {
        let timestamp = Timestamp::from_millis(i64::from(i) * 1000);
        TimeEntry { timestamp, relative_offset: i * 10 }.encode(&mut bytes);
    }
    bytes
}

fn time_index(bytes: &[u8]) {
    if let Ok(entries) = TimeEntry::decode_all(bytes) {
        let mut again = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut again));
        assert_eq!(again, bytes);
    }
    let (view, sound) = TimeIndexView::new_checked(bytes);
    let entries: Vec<_> = view.iter().collect();
    assert_eq!(TimeEntry::decode_all(&bytes[..sound]).as_ref(), Ok(&entries));
    for wanted in entries.iter().map(|entry| entry.timestamp).chain([Timestamp::NONE]) {
        let last = entries.iter().rfind(|entry| entry.timestamp <= wanted);
        assert_eq!(view.floor(wanted).as_ref(), last);
    }
    let _ = TimeIndexView::new(bytes).floor(Timestamp::from_millis(77));
}

fn some_transaction_index() -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 0..4 {
        let (first_offset, last_offset) = (Offset::new(i * 10), Offset::new(i * 10 + 5));
        AbortedTransaction { producer_id: 9, first_offset, last_offset, last_stable_offset: last_offset }
            .encode(&mut bytes);
    }
    bytes
}

fn transaction_index(bytes: &[u8]) {
    if let Ok(entries) = AbortedTransaction::decode_all(bytes) {
        let mut again = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut again));
        assert_eq!(again, bytes);
    }
}

/// The producers' state, Kafka's file and ours: what decodes, decodes from its own encoding.
pub fn snapshot(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    if kind.is_multiple_of(2) {
        kafkas_snapshot(input(data, || encode_snapshot(&[4, 9, 11].map(some_producer))));
    } else {
        our_producers(input(data, || encode_producers(&[4, 9, 11].map(some_batches))));
    }
}

fn some_producer(id: i64) -> ProducerEntry {
    ProducerEntry {
        producer_id: id,
        producer_epoch: 1,
        last_sequence: 5,
        last_offset: 100 + id,
        offset_delta: 2,
        timestamp: Timestamp::from_millis(1000),
        coordinator_epoch: -1,
        current_txn_first_offset: (id == 9).then_some(Offset::new(99)),
    }
}

fn kafkas_snapshot(mut bytes: Vec<u8>) {
    let end = bytes.len();
    mend(&mut bytes, 2, 6..end, crc32c);
    let Ok(mut producers) = decode_snapshot(&bytes) else { return };
    let again = encode_snapshot(&producers);
    assert_eq!(again.len(), bytes.len());
    producers.sort_by_key(|producer| producer.producer_id);
    assert_eq!(decode_snapshot(&again), Ok(producers));
}

fn some_batches(id: i64) -> ProducerBatches {
    let batch = |i: u32| BatchMeta {
        last_sequence: i as i32 * 3 + 2,
        last_offset: Offset::new(u64::from(i) * 10 + 2),
        offset_delta: 2,
        timestamp: Timestamp::from_millis(1000),
        named: (id % 2 == 0).then_some(NamedSequences { first: u64::from(i), last: u64::from(i) }),
    };
    let last_named = if id % 2 == 0 { LastNamed::Is(9) } else { LastNamed::NoName };
    let batches = (0..id as u32 % 6).map(batch).collect();
    ProducerBatches { producer_id: id, producer_epoch: 1, batches, last_named }
}

fn our_producers(mut bytes: Vec<u8>) {
    let end = bytes.len();
    mend(&mut bytes, 6, 10..end, crate::codec::crc::crc32);
    let Ok(producers) = decode_producers(&bytes) else { return };
    assert_eq!(encode_producers(&producers), bytes);
    for batch in producers.iter().flat_map(|producer| &producer.batches) {
        assert!(batch.base_offset() <= batch.last_offset);
        let _ = batch.first_sequence();
    }
}

/// The text files: what decodes, decodes from its own encoding, and leader epochs stay in order.
pub fn checkpoint(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let id = TopicId::from_bytes([7; 16]);
    let valid = || match kind % 4 {
        0 => encode_offsets(&[
            (TopicPartition::new("a-b", 3), 7.into()),
            (TopicPartition::new("a", 0), 0.into()),
        ]),
        1 => encode_epochs(&[(0, 0.into()), (2, 40.into()), (5, 41.into())]),
        2 => encode_partition_identity(&id, 3),
        _ => encode_meta_properties(&id, 1, &id),
    };
    let bytes = input(data, || valid().into_bytes());
    let text = String::from_utf8_lossy(&bytes);
    match kind % 4 {
        0 => {
            if let Ok(offsets) = decode_offsets(&text) {
                assert_eq!(decode_offsets(&encode_offsets(&offsets)), Ok(offsets));
            }
        }
        1 => leader_epochs(&text),
        2 => {
            if let Ok(id) = decode_partition_metadata(&text) {
                assert_eq!(decode_partition_metadata(&encode_partition_metadata(&id)), Ok(id));
            }
            if let Some((id, partition)) = decode_partition_identity(&text) {
                let again = encode_partition_identity(&id, partition);
                assert_eq!(decode_partition_identity(&again), Some((id, partition)));
            }
        }
        _ => drop(decode_meta_properties(&text)),
    }
}

fn leader_epochs(text: &str) {
    let Ok(entries) = decode_epochs(text) else { return };
    assert_eq!(decode_epochs(&encode_epochs(&entries)).as_ref(), Ok(&entries));
    let epochs = LeaderEpochs::from_entries(&entries);
    assert!(epochs.entries().is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    for (epoch, start) in epochs.entries() {
        assert_eq!(epochs.epoch_for(*start), Some(*epoch));
        assert!(epochs.end_offset_for(*epoch, Offset::MAX).is_some_and(|(found, _)| found == *epoch));
    }
}

/// Checksums of pages: a file that decodes encodes to the same bytes, and summing in pieces or going on from sums gives
/// what summing at once gives.
pub fn pages(data: &[u8]) {
    let mut bytes =
        input(data, || PageSums { generation: 3, size: 2 * PAGE_SIZE + 1, sums: vec![1, 2, 3] }.encode());
    if let Some(end) = bytes.len().checked_sub(4) {
        mend(&mut bytes, end, 0..end, crate::codec::crc::crc32);
    }
    if let Ok(sums) = PageSums::decode(&bytes) {
        assert_eq!(sums.encode(), bytes);
        assert_eq!(sums.page_count() as u64, sums.size.div_ceil(PAGE_SIZE));
        assert!(sums.page_range(usize::MAX).is_empty());
        assert!(!sums.verify_page(sums.page_count(), data));
    }
    let mut whole = PageSummer::new();
    whole.update(data);
    let mut parts = PageSummer::new();
    for part in data.chunks(usize::from(data.first().copied().unwrap_or(0)) + 1) {
        parts.update(part);
        parts = PageSummer::resume(&parts.finish(0));
    }
    assert_eq!(whole.finish(1), parts.finish(1));
}

/// A file of keys: a header that decodes encodes to the same bytes, and so do entries; what it says lies where lies within
/// the file that it speaks of.
pub fn keys(data: &[u8]) {
    let mut bytes = input(data, some_keys);
    mend(&mut bytes, HEADER_LEN - 4, 0..HEADER_LEN - 4, crate::codec::crc::crc32);
    let Ok(header) = KeysHeader::decode(&bytes) else { return };
    assert_eq!(Some(header.encode().as_slice()), bytes.get(..HEADER_LEN));
    let (pages, at) = header.pages_of(0..u64::MAX);
    assert!(pages.start <= pages.end && at.end == header.sums_at().start);
    assert!(header.file_len() == header.sums_at().end);
    let part = |range: std::ops::Range<u64>| {
        let index = |position| usize::try_from(position).unwrap_or(usize::MAX);
        bytes.get(index(range.start)..index(range.end))
    };
    if let Some(sums) = part(header.sums_at()).and_then(|sums| KeySums::decode(&header, sums).ok()) {
        let _ = sums.check(pages.start, part(at).unwrap_or_default());
    }
    for entry in part(header.entries_at(0..header.count)).unwrap_or_default().as_chunks().0 {
        let decoded = KeyEntry::decode(entry);
        assert_eq!(decoded.encode(), *entry);
        assert!(header.bucket_of(entry) < header.buckets());
    }
}

fn some_keys() -> Vec<u8> {
    let seed = HashSeed { first: 1, last: 2 };
    let (base, next) = (Offset::new(7), Offset::new(50));
    let (flags, generation, size) = (KeysFlags::TOMBSTONES, 3, 4711);
    let header = KeysHeader { flags, seed, generation, size, base, next, count: 5, bucket_bits: 0 };
    let mut bytes = header.encode().to_vec();
    for relative in 0..header.count {
        let (hash, is_tombstone) = (siphash128(seed, &[relative as u8]), relative == 3);
        bytes.extend(KeyEntry { hash, relative, is_tombstone }.encode());
    }
    bytes.extend([0; 4]);
    let mut summer = KeySummer::default();
    summer.update(bytes.get(HEADER_LEN..).unwrap_or_default());
    bytes.extend(summer.finish());
    bytes
}

/// Keys and values of `__consumer_offsets` and of `__transaction_state`.
pub fn coordinator(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    if (0x80..0xc0).contains(kind) {
        return transaction_state(input(data, || some_transaction_bytes(*kind)));
    }
    let bytes = input(data, || some_coordinator_bytes(*kind));
    match decode_key(&bytes) {
        Ok(CoordinatorKey::OffsetCommit(key)) => {
            let again = decode_key(&encode_offset_key(&key));
            assert_eq!(again, Ok(CoordinatorKey::OffsetCommit(key)));
        }
        Ok(CoordinatorKey::GroupMetadata(group)) => {
            let again = decode_key(&encode_group_metadata_key(&group));
            assert_eq!(again, Ok(CoordinatorKey::GroupMetadata(group)));
        }
        Ok(CoordinatorKey::Unknown(_)) | Err(_) => {}
    }
    // Newer versions allow longer texts than the one we write.
    if let Ok(value) = decode_offset_value(&bytes)
        && value.metadata.len() <= i16::MAX as usize
    {
        assert_eq!(decode_offset_value(&encode_offset_value(&value)), Ok(value));
    }
    if let Ok(value) = decode_group_metadata_value(&bytes)
        && bytes.len() <= i16::MAX as usize
    {
        assert_eq!(decode_group_metadata_value(&encode_group_metadata_value(&value)), Ok(value));
    }
    if let Ok(incarnation) = decode_incarnation(&bytes) {
        assert_eq!(encode_incarnation(incarnation).as_slice(), bytes);
    }
    let group = String::from_utf8_lossy(&bytes);
    assert_eq!(partition_for_group(&group, 0), 0);
    assert!(partition_for_group(&group, 50) < 50);
}

fn some_coordinator_bytes(kind: u8) -> Vec<u8> {
    let text = || "some text".to_string();
    match kind % 4 {
        0 => encode_offset_key(&OffsetKey { group: text(), topic: text(), partition: 1 }),
        1 => encode_group_metadata_key("group"),
        2 => encode_offset_value(&OffsetValue {
            offset: 5,
            leader_epoch: 0,
            metadata: text(),
            commit_timestamp: Timestamp::from_millis(1000),
        }),
        _ => encode_group_metadata_value(&GroupMetadataValue {
            protocol_type: text(),
            generation: 1,
            protocol: Some(text()),
            leader: None,
            current_state_timestamp: Timestamp::from_millis(1000),
            members: vec![MemberMetadata {
                member_id: text(),
                group_instance_id: None,
                client_id: text(),
                client_host: text(),
                rebalance_timeout_ms: 1,
                session_timeout_ms: 2,
                subscription: vec![1, 2, 3],
                assignment: vec![],
            }],
        }),
    }
}

/// Keys, values and headers of `__transaction_state`, and its sidecar.
fn transaction_state(mut bytes: Vec<u8>) {
    if let Ok(TransactionKey::TransactionalId(id)) = decode_transaction_key(&bytes) {
        assert_eq!(encode_transaction_key(&id), bytes);
    }
    // A flexible version allows longer names of topics than there are.
    if let Ok(value) = decode_transaction_value(&bytes)
        && bytes.len() <= i16::MAX as usize
    {
        assert_eq!(decode_transaction_value(&encode_transaction_value(&value)), Ok(value));
    }
    if let Ok(ends) = decode_ends(&bytes) {
        assert_eq!(decode_ends(&encode_ends(&ends)), Ok(ends));
    }
    if let Ok(outcome) = decode_outcome(&bytes) {
        assert_eq!(encode_outcome(&outcome), bytes);
    }
    let end = bytes.len();
    mend(&mut bytes, 6, 10..end, crate::codec::crc::crc32);
    if let Ok(snapshot) = decode_transaction_snapshot(&bytes)
        && bytes.len() <= i16::MAX as usize
    {
        assert_eq!(decode_transaction_snapshot(&encode_transaction_snapshot(&snapshot)), Ok(snapshot));
    }
}

fn some_transaction_bytes(kind: u8) -> Vec<u8> {
    match kind % 8 {
        0 => encode_transaction_key("some id"),
        1..=3 => encode_transaction_value(&some_transaction()),
        4 => encode_ends(&some_ends()),
        5 => encode_outcome(&EarlierOutcome { producer_id: 9, epoch: 2, committed: true, complete: false }),
        _ => {
            let decision = |epoch, ends, open| DecisionEntry {
                transactional_id: "some id".into(),
                producer_id: 9,
                epoch,
                marker_epoch: epoch + 1,
                committed: true,
                ends,
                open,
            };
            encode_transaction_snapshot(&TransactionSnapshot {
                topic_id: TopicId::from_bytes([7; 16]),
                incarnation: 1,
                next_offset: Offset::new(50),
                entries: vec![("some id".into(), some_transaction())],
                decisions: vec![
                    decision(1, Some(some_ends()), None),
                    decision(2, None, Some(some_transaction())),
                ],
            })
        }
    }
}

fn some_transaction() -> TransactionValue {
    TransactionValue {
        producer_id: 9,
        previous_producer_id: 8,
        next_producer_id: -1,
        producer_epoch: 3,
        next_producer_epoch: -1,
        timeout_ms: 60_000,
        status: TransactionStatus::PrepareCommit,
        partitions: Some(vec![TopicPartitions { topic: "t".into(), partitions: vec![0, 3] }]),
        last_update: Timestamp::from_millis(2000),
        started: Timestamp::from_millis(1000),
        client_version: 2,
    }
}

fn some_ends() -> Vec<End> {
    let end = |partition, first: u64| End {
        topic_id: TopicId::from_bytes([7; 16]),
        partition,
        incarnation: 1,
        offsets: Offset::new(first)..Offset::new(first + 9),
    };
    vec![end(0, 40), end(3, 700)]
}

/// Numbers of records: what is read takes no more than its limit, and its shortest form reads as the same.
pub fn varint(data: &[u8]) {
    let mut rest = data;
    while let Some(value) = read_varint(&mut rest) {
        let mut bytes = Vec::new();
        write_varint(value, &mut bytes);
        assert_eq!(read_varint(&mut &bytes[..]), Some(value));
    }
    let mut rest = data;
    while let Some(value) = read_varlong(&mut rest) {
        let mut bytes = Vec::new();
        write_varlong(value, &mut bytes);
        assert!(bytes.len() <= 10);
        assert_eq!(read_varlong(&mut &bytes[..]), Some(value));
    }
}
