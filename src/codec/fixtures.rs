//! Tests of the sidecars over files that a real Apache Kafka wrote, and what the tests of this room share.
//!
//! The files lie in `shared/fixtures/kafka` beside the repository; where they are missing these tests say so and pass.
//! What is decoded must encode to the same bytes, and agree with the `.log` it is about and with Kafka's own dumps.

use super::{
    checkpoint::*,
    coordinator::{groups::*, transactions::*, *},
    index::*,
    snapshot::*,
};
use crate::types::Offset;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Bytes out of hexadecimal; spaces do not count.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The directory of fixtures, if it is there.
fn fixtures() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = above.map(|dir| dir.join("shared/fixtures/kafka")).find(|dir| dir.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: no shared/fixtures/kafka beside the repository");
    }
    found
}

/// Files under `dir` whose name ends in `suffix`.
fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn base_offset(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> i64 {
    bytes[at..at + N].iter().fold(0, |value, byte| value << 8 | i64::from(*byte))
}

/// A batch of a `.log`: where it begins, its largest timestamp, and its bytes from the first record on.
struct Batch {
    position: u32,
    max_timestamp: i64,
    records: Vec<u8>,
}

/// The batches of the segment that `sidecar` belongs to, by their last offset.
fn batches(sidecar: &Path) -> BTreeMap<u64, Batch> {
    let log = fs::read(sidecar.with_extension("log")).unwrap();
    let (mut batches, mut at) = (BTreeMap::new(), 0);
    while at < log.len() {
        let end = at + 12 + be::<4>(&log, at + 8) as usize;
        let last_offset = (be::<8>(&log, at) + be::<4>(&log, at + 23)) as u64;
        let control = be::<2>(&log, at + 21) & 0x20 != 0;
        let records = if control { Vec::new() } else { log[at + 61..end].to_vec() };
        let max_timestamp = be::<8>(&log, at + 35);
        batches.insert(last_offset, Batch { position: at as u32, max_timestamp, records });
        at = end;
    }
    batches
}

#[test]
fn offset_indexes_of_kafka_point_at_their_batches() {
    let Some(dir) = fixtures() else { return };
    let mut seen = 0;
    for path in files(&dir, ".index") {
        let (bytes, batches) = (fs::read(&path).unwrap(), batches(&path));
        let (view, valid) = OffsetIndexView::new_checked(&bytes);
        let mut encoded = Vec::new();
        for entry in view.iter() {
            let batch = &batches[&(base_offset(&path) + u64::from(entry.relative_offset))];
            assert_eq!(batch.position, entry.position, "{}", path.display());
            entry.encode(&mut encoded);
            seen += 1;
        }
        assert_eq!(encoded, bytes[..valid]);
        let decoded = OffsetEntry::decode_all(&bytes);
        // Only a killed broker's active segment has a preallocated index.
        assert_eq!(bytes.len() == 65_536, valid < bytes.len(), "{}", path.display());
        assert_eq!(decoded.ok(), (valid == bytes.len()).then(|| view.iter().collect()));
    }
    assert!(seen > 500, "{seen} entries");
}

#[test]
fn time_indexes_of_kafka_point_at_their_batches() {
    let Some(dir) = fixtures() else { return };
    let mut seen = 0;
    for path in files(&dir, ".timeindex") {
        let (bytes, batches) = (fs::read(&path).unwrap(), batches(&path));
        let (view, valid) = TimeIndexView::new_checked(&bytes);
        let mut encoded = Vec::new();
        for entry in view.iter() {
            let batch = &batches[&(base_offset(&path) + u64::from(entry.relative_offset))];
            assert_eq!(batch.max_timestamp, entry.timestamp.as_millis(), "{}", path.display());
            entry.encode(&mut encoded);
            seen += 1;
        }
        assert_eq!(encoded, bytes[..valid]);
        let decoded = TimeEntry::decode_all(&bytes);
        assert_eq!(bytes.len() == 65_532, valid < bytes.len(), "{}", path.display());
        assert_eq!(decoded.ok(), (valid == bytes.len()).then(|| view.iter().collect()));
    }
    assert!(seen > 500, "{seen} entries");
}

/// Kafka's dumps: what is said of each file, by its name under the data directory.
fn dumped(dir: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(dir.join("producer-snapshots-and-aborted-transactions.txt")).unwrap();
    let mut dumped: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut file = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("Dumping ") {
            Some(name) => file = name.to_owned(),
            None => _ = dumped.entry(file.clone()).or_default().insert(line.to_owned()),
        }
        dumped.entry(file.clone()).or_default();
    }
    dumped
}

fn snapshot_line(entry: &ProducerEntry) -> String {
    let open = match entry.current_txn_first_offset {
        None => "OptionalLong.empty".to_owned(),
        Some(offset) => format!("OptionalLong[{offset}]"),
    };
    let head = format!(
        "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {open} lastTimestamp: {}",
        entry.producer_id,
        entry.producer_epoch,
        entry.coordinator_epoch,
        entry.timestamp.as_millis()
    );
    let Some(last_offset) = Offset::from_i64(entry.last_offset) else { return head };
    let batch = BatchMeta {
        last_sequence: entry.last_sequence,
        last_offset,
        offset_delta: entry.offset_delta as u32,
        timestamp: entry.timestamp,
        named: None,
    };
    format!(
        "{head} firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
        batch.first_sequence(),
        batch.last_sequence,
        last_offset,
        batch.offset_delta,
        batch.timestamp.as_millis()
    )
}

fn aborted_line(entry: &AbortedTransaction) -> String {
    format!(
        "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
        entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset
    )
}

#[test]
fn producer_snapshots_and_transaction_indexes_say_what_kafka_dumped() {
    let Some(dir) = fixtures() else { return };
    for (data, dump) in [("clean", "dump"), ("killed", "dump-killed")] {
        let (data, mut dumped) = (dir.join(data), dumped(&dir.join(dump)));
        for path in [files(&data, ".snapshot"), files(&data, ".txnindex")].concat() {
            let bytes = fs::read(&path).unwrap();
            let lines: BTreeSet<String> = if path.extension().unwrap() == "snapshot" {
                let mut entries = decode_snapshot(&bytes).unwrap();
                let sorted = encode_snapshot(&entries);
                assert_eq!(sorted.len(), bytes.len());
                entries.sort_by_key(|entry| entry.producer_id);
                assert_eq!(decode_snapshot(&sorted).unwrap(), entries);
                entries.iter().map(snapshot_line).collect()
            } else {
                let entries = AbortedTransaction::decode_all(&bytes).unwrap();
                let mut encoded = Vec::new();
                entries.iter().for_each(|entry| entry.encode(&mut encoded));
                assert_eq!(encoded, bytes);
                entries.iter().map(aborted_line).collect()
            };
            let name = path.strip_prefix(&data).unwrap().to_str().unwrap().replace('\\', "/");
            assert_eq!(Some(lines), dumped.remove(&name), "{name}");
        }
        assert!(dumped.is_empty(), "dumped, but not there: {:?}", dumped.keys());
    }
}

#[test]
fn checkpoints_of_kafka_are_written_back_as_they_were() {
    let Some(dir) = fixtures() else { return };
    let mut seen = 0;
    for path in files(&dir, "checkpoint") {
        let text = fs::read_to_string(&path).unwrap();
        let encoded = if path.ends_with("leader-epoch-checkpoint") {
            let entries = decode_epochs(&text).unwrap();
            assert_eq!(LeaderEpochs::from_entries(&entries).entries(), entries, "{}", path.display());
            encode_epochs(&entries)
        } else {
            encode_offsets(&decode_offsets(&text).unwrap())
        };
        assert!(text == encoded || text.is_empty() && encoded == "0\n0\n", "{}", path.display());
        seen += 1;
    }
    for path in files(&dir, "partition.metadata") {
        let text = fs::read_to_string(&path).unwrap();
        let ours = encode_partition_metadata(&decode_partition_metadata(&text).unwrap());
        assert_eq!(ours.lines().collect::<Vec<_>>(), text.lines().collect::<Vec<_>>());
        seen += 1;
    }
    for path in files(&dir, "meta.properties") {
        let meta = decode_meta_properties(&fs::read_to_string(&path).unwrap()).unwrap();
        let cluster = meta.cluster_id.unwrap().parse().unwrap();
        let ours = encode_meta_properties(&cluster, meta.node_id.unwrap(), &meta.directory_id.unwrap());
        let lines = |text: &str| {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        assert_eq!(lines(&ours), lines(&fs::read_to_string(&path).unwrap()));
        seen += 1;
    }
    assert!(seen > 50, "{seen} files");
}

/// A signed varint of a record, and what follows it.
fn varint(bytes: &[u8]) -> (i64, &[u8]) {
    let len = 1 + bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let raw = bytes[..len].iter().rev().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    ((raw >> 1) as i64 ^ -((raw & 1) as i64), &bytes[len..])
}

fn field(bytes: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let (len, rest) = varint(bytes);
    usize::try_from(len).map_or((None, rest), |len| (Some(&rest[..len]), &rest[len..]))
}

/// Keys and values of uncompressed records.
fn records(mut bytes: &[u8]) -> Vec<(&[u8], Option<&[u8]>)> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = varint(bytes);
        let (record, after) = rest.split_at(len as usize);
        let (_, record) = varint(&record[1..]);
        let (_, record) = varint(record);
        let (key, record) = field(record);
        let (value, _) = field(record);
        records.push((key.unwrap(), value));
        bytes = after;
    }
    records
}

#[test]
fn committed_offsets_of_kafka_are_read_as_its_admin_client_reads_them() {
    let Some(dir) = fixtures() else { return };
    let (mut offsets, mut groups, mut others) = (BTreeMap::new(), 0, 0);
    let logs = files(&dir.join("clean"), ".log");
    for path in logs.iter().filter(|path| path.to_string_lossy().contains("__consumer_offsets")) {
        for batch in batches(path).into_values() {
            for (key, value) in records(&batch.records) {
                match decode_key(key).unwrap() {
                    CoordinatorKey::OffsetCommit(at) => {
                        assert_eq!(encode_offset_key(&at), key);
                        let value = value.map(|value| decode_offset_value(value).unwrap());
                        offsets.insert(at, value);
                    }
                    CoordinatorKey::GroupMetadata(group) => {
                        assert_eq!(encode_group_metadata_key(&group), key);
                        if let Some(value) = value {
                            let decoded = decode_group_metadata_value(value).unwrap();
                            assert_eq!(encode_group_metadata_value(&decoded), value, "{decoded:?}");
                            groups += 1;
                        }
                    }
                    CoordinatorKey::Unknown(_) => others += 1,
                }
            }
        }
    }
    assert!(groups > 2 && others > 2, "{groups} groups, {others} others");
    let manifest = fs::read_to_string(dir.join("manifest/committed-offsets.ndjson")).unwrap();
    for line in manifest.lines().filter(|line| !line.contains("\"offset\":null")) {
        let found = offsets.iter().filter_map(|(at, value)| Some((at, value.as_ref()?))).any(|(at, value)| {
            let epoch = if value.leader_epoch < 0 { "null".to_owned() } else { value.leader_epoch.to_string() };
            let text = format!(
                r#"{{"group":"{}","topic":"{}","partition":{},"offset":{},"leader_epoch":{epoch},"metadata":"{}"}}"#,
                at.group, at.topic, at.partition, value.offset, value.metadata
            );
            text == line
        });
        assert!(found, "Kafka says {line}, found {offsets:?}");
    }
}

/// Keys and values of the `__transaction_state` that a broker left in this directory, in the order of its logs.
pub(crate) fn transaction_records(left: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some(dir) = fixtures() else { return Vec::new() };
    let mut found = Vec::new();
    for path in files(&dir.join(left), ".log") {
        if path.to_string_lossy().contains("__transaction_state") {
            for batch in batches(&path).into_values() {
                let records = records(&batch.records).into_iter();
                found.extend(records.map(|(key, value)| (key.to_vec(), value.unwrap().to_vec())));
            }
        }
    }
    found
}

#[test]
fn states_of_transactional_ids_of_kafka_are_written_back_as_they_were() {
    let (mut seen, mut ids) = (0, BTreeSet::new());
    for (key, value) in ["clean", "killed"].into_iter().flat_map(transaction_records) {
        let TransactionKey::TransactionalId(id) = decode_transaction_key(&key).unwrap() else {
            panic!("a key of another kind: {key:?}");
        };
        assert_eq!(encode_transaction_key(&id), key);
        let decoded = decode_transaction_value(&value).unwrap();
        assert_eq!(encode_transaction_value(&decoded), value, "{decoded:?}");
        // What the rules of decisions rely on.
        let decided = !matches!(decoded.status, TransactionStatus::Empty | TransactionStatus::Ongoing);
        assert!(!decided || decoded.client_version == 2 && decoded.producer_epoch > 0, "{decoded:?}");
        assert_eq!(decoded.partitions.is_none(), decoded.status == TransactionStatus::Empty);
        seen += 1;
        ids.insert(id);
    }
    assert!(fixtures().is_none() || seen >= 532 && ids.len() > 3, "{seen} records of {ids:?}");
}
