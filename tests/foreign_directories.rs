//! Directories that a real Apache Kafka wrote, through the public API, held against what Kafka itself said of them.
//!
//! The files lie in `shared/fixtures/kafka` beside the repository; where they are missing these tests say so and pass.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use streamlog::{
    Record, Timestamp,
    clients::{IsolationLevel, partition_for_key},
    dir::{AbortedTransaction, PartitionDir, ProducerEntry},
    records::OffsetAndTimestamp,
};

fn fixtures() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = above.map(|dir| dir.join("shared/fixtures/kafka")).find(|dir| dir.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: no shared/fixtures/kafka beside the repository");
    }
    found
}

/// The directories of partitions in `data`, by name.
fn partitions(data: &Path) -> BTreeMap<String, PartitionDir> {
    let dirs = fs::read_dir(data).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_dir());
    let open = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        (name, PartitionDir::open_read_only(path).unwrap())
    };
    dirs.map(open).collect()
}

/// Those whose records can be read with the codecs that were compiled.
fn readable(data: &Path) -> BTreeMap<String, PartitionDir> {
    let mut found = partitions(data);
    found.retain(|name, _| {
        let readable = cfg!(feature = "zstd") || !name.contains("zstd");
        if !readable {
            eprintln!("SKIPPED: {name}: zstd is not compiled");
        }
        readable
    });
    found
}

fn lines(path: PathBuf) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let digit = |c: &u8| DIGITS.iter().position(|d| d == c).unwrap();
        let word = chunk.iter().enumerate().fold(0, |word, (i, c)| word | digit(c) << (18 - 6 * i));
        bytes.extend((0..chunk.len() - 1).map(|i| (word >> (16 - 8 * i)) as u8));
    }
    bytes
}

/// Bytes as the manifests have them; of very large ones only the length is compared.
fn same(said: &Value, bytes: Option<&[u8]>) -> bool {
    match said {
        Value::Null => bytes.is_none(),
        Value::String(text) => bytes.is_some_and(|bytes| from_base64(text) == bytes),
        large => bytes.is_some_and(|bytes| large["length"] == bytes.len()),
    }
}

fn assert_same(said: &Value, record: &Record<'_>, leader_epoch: i32, at: &str) {
    let facts = json!({
        "offset": record.offset.value(),
        "timestamp": record.timestamp.as_millis(),
        "timestamp_type": record.timestamp_type.to_string(),
        "leader_epoch": leader_epoch,
    });
    for (field, value) in facts.as_object().unwrap() {
        assert_eq!(&said[field], value, "{at}: {field} of {said}");
    }
    assert!(same(&said["key"], record.key) && same(&said["value"], record.value), "{at}: {said}");
    let headers = said["headers"].as_array().unwrap();
    assert_eq!(headers.len(), record.headers.len(), "{at}: {said}");
    for (said, (name, value)) in headers.iter().zip(record.headers) {
        assert!(said[0] == name && same(&said[1], value), "{at}: {said}");
    }
}

#[test]
fn every_record_reads_as_kafkas_own_consumer_read_it() {
    let Some(base) = fixtures() else { return };
    let mut readings = 0;
    for (name, dir) in readable(&base.join("clean")) {
        assert_eq!((&dir.report().torn_end, dir.report().damage.len()), (&None, 0), "{name}");
        for isolation in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
            let committed = isolation == IsolationLevel::ReadCommitted;
            let level = if committed { "read_committed" } else { "read_uncommitted" };
            let path = base.join(format!("manifest/{name}.{level}.ndjson"));
            if !path.exists() {
                continue;
            }
            readings += 1;
            let said = lines(path);
            let mut said = said.iter();
            for batch in dir.read_with(dir.log_start_offset(), isolation) {
                let batch = batch.unwrap();
                for record in &batch {
                    assert_same(said.next().unwrap(), &record, batch.leader_epoch(), &name);
                }
            }
            assert_eq!(said.next(), None, "{name} {level}");
        }
    }
    assert!(readings > 20, "{readings}");
}

#[test]
fn offsets_and_times_are_found_as_kafka_finds_them() {
    let Some(base) = fixtures() else { return };
    let (mut asked, mut largest) = (0, 0);
    let found = |found: Option<OffsetAndTimestamp>| match found {
        Some(f) => (json!(f.offset.value()), json!(f.timestamp.as_millis())),
        None => (Value::Null, Value::Null),
    };
    for (name, dir) in partitions(&base.join("clean")) {
        let path = base.join(format!("manifest/{name}.json"));
        let Ok(text) = fs::read_to_string(path) else { continue };
        let said: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(said["log_start_offset"], dir.log_start_offset().value(), "{name}");
        assert_eq!(said["last_stable_offset"], dir.last_stable_offset().value(), "{name}");
        assert_eq!(said["log_end_offset"], dir.log_end_offset().value(), "{name}");
        for question in said["offsets_for_times"].as_array().into_iter().flatten() {
            let time = Timestamp::from_millis(question[0].as_i64().unwrap());
            let answer = found(dir.offset_for_timestamp(time).unwrap());
            assert_eq!(answer, (question[1].clone(), question[2].clone()), "{name} at {time}");
            asked += 1;
        }
        if let Some(max) = said.get("max_timestamp") {
            let (offset, timestamp) = found(dir.offset_of_max_timestamp().unwrap());
            assert_eq!(json!([timestamp, offset]), *max, "{name}");
            largest += 1;
        }
    }
    assert!(asked > 500 && largest > 5, "{asked} {largest}");
}

/// The fields of a line of Kafka's dump, `name: value` one after the other; what is optional and empty is -1.
fn fields(line: &str) -> BTreeMap<&str, i64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |text: &str| match text {
        "OptionalLong.empty" => -1,
        text => text.trim_start_matches("OptionalLong[").trim_end_matches(']').parse().unwrap(),
    };
    words.chunks(2).map(|pair| (pair[0].trim_end_matches(':'), number(pair[1]))).collect()
}

fn entry_fields(p: &ProducerEntry) -> BTreeMap<&'static str, i64> {
    let mut fields = BTreeMap::from([
        ("producerId", p.producer_id),
        ("producerEpoch", p.producer_epoch.into()),
        ("coordinatorEpoch", p.coordinator_epoch.into()),
        ("currentTxnFirstOffset", p.current_txn_first_offset.map_or(-1, |o| o.value() as i64)),
        ("lastTimestamp", p.timestamp.as_millis()),
    ]);
    if p.last_offset >= 0 {
        fields.extend([
            ("firstSequence", i64::from(p.last_sequence - p.offset_delta)),
            ("lastSequence", p.last_sequence.into()),
            ("lastOffset", p.last_offset),
            ("offsetDelta", p.offset_delta.into()),
            ("timestamp", p.timestamp.as_millis()),
        ]);
    }
    fields
}

fn aborted_fields(t: &AbortedTransaction) -> BTreeMap<&'static str, i64> {
    BTreeMap::from([
        ("version", 0),
        ("producerId", t.producer_id),
        ("firstOffset", t.first_offset.value() as i64),
        ("lastOffset", t.last_offset.value() as i64),
        ("lastStableOffset", t.last_stable_offset.value() as i64),
    ])
}

/// By file (`partition/name`), its lines.
fn dumped(path: PathBuf) -> BTreeMap<String, Vec<String>> {
    let mut files = BTreeMap::new();
    let mut current = String::new();
    for line in fs::read_to_string(path).unwrap().lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(file) = line.strip_prefix("Dumping ") {
            current = file.to_string();
            files.insert(current.clone(), Vec::new());
        } else {
            files.get_mut(&current).unwrap().push(line.to_string());
        }
    }
    files
}

#[test]
fn producer_snapshots_and_aborted_transactions_are_what_kafka_dumps_of_them() {
    let Some(base) = fixtures() else { return };
    for (data, dump) in [("clean", "dump"), ("killed", "dump-killed")] {
        let said = dumped(base.join(dump).join("producer-snapshots-and-aborted-transactions.txt"));
        let mut said: BTreeMap<_, Vec<_>> = said
            .iter()
            .map(|(file, lines)| (file.clone(), lines.iter().map(|l| fields(l)).collect()))
            .collect();
        for (name, dir) in partitions(&base.join(data)) {
            for snapshot in dir.producer_snapshots().unwrap() {
                let file = format!("{name}/{:020}.snapshot", snapshot.offset.value());
                let found: Vec<_> = snapshot.producers.iter().map(entry_fields).collect();
                assert_eq!(said.remove(&file), Some(found), "{file}");
            }
            let mut of_files = Vec::new();
            for index in dir.transaction_indexes().unwrap() {
                let file = format!("{name}/{:020}.txnindex", index.base_offset.value());
                let found: Vec<_> = index.aborted.iter().map(aborted_fields).collect();
                assert_eq!(said.remove(&file), Some(found), "{file}");
                of_files.extend(index.aborted);
            }
            // The batches alone tell the same as Kafka's indexes.
            assert_eq!(dir.aborted_transactions().unwrap(), of_files, "{name}");
        }
        assert_eq!(said, BTreeMap::new(), "files that were not read");
    }
}

#[test]
fn identity_and_leader_epochs_are_those_of_kafkas_files() {
    let Some(base) = fixtures() else { return };
    for (name, dir) in partitions(&base.join("clean")) {
        let path = base.join("clean").join(&name);
        let metadata = fs::read_to_string(path.join("partition.metadata")).unwrap();
        let id = dir.topic_id().unwrap().unwrap().to_string();
        assert!(metadata.trim_end().ends_with(&format!("topic_id: {id}")), "{name}: {id}");
        let checkpoint = fs::read_to_string(path.join("leader-epoch-checkpoint")).unwrap();
        let epochs: Vec<String> = dir.leader_epochs().iter().map(|(e, o)| format!("{e} {o}")).collect();
        assert_eq!(checkpoint.lines().skip(2).collect::<Vec<_>>(), epochs, "{name}");
        assert_eq!(format!("{}", dir.topic_partition()), name);
    }
}

#[test]
fn a_killed_broker_lost_nothing_that_it_had_acknowledged() {
    let Some(base) = fixtures() else { return };
    let dirs = partitions(&base.join("killed"));
    let dir = &dirs["killed-0"];
    let mut there = BTreeMap::new();
    for batch in dir.read(dir.log_start_offset()) {
        for record in &batch.unwrap() {
            there.insert(record.offset.value(), record.value.map(<[u8]>::to_vec));
        }
    }
    for said in lines(base.join("manifest/killed-acknowledged.ndjson")) {
        let value = from_base64(said["value"].as_str().unwrap());
        assert_eq!(there.get(&said["offset"].as_u64().unwrap()), Some(&Some(value)), "{said}");
    }
}

#[test]
fn backwards_is_the_same_as_forwards() {
    let Some(base) = fixtures() else { return };
    for (name, dir) in readable(&base.join("clean")) {
        let mut forwards = Vec::new();
        for batch in dir.read(dir.log_start_offset()) {
            forwards.extend(batch.unwrap().iter().map(|r| r.offset));
        }
        let backwards: Vec<_> = dir.last(usize::MAX).unwrap().iter().map(|r| r.offset).collect();
        assert_eq!(forwards, backwards, "{name}");
        let three: Vec<_> = dir.last(3).unwrap().iter().map(|r| r.offset).collect();
        assert_eq!(three, forwards[forwards.len().saturating_sub(3)..], "{name}");
    }
}

#[test]
fn keys_go_where_kafkas_default_partitioner_puts_them() {
    let Some(base) = fixtures() else { return };
    let said = lines(base.join("manifest/default-partitioner.ndjson"));
    assert!(said.len() > 900);
    for line in said {
        let key = from_base64(line["key"].as_str().unwrap());
        let partitions = line["partitions"].as_u64().unwrap() as u32;
        assert_eq!(line["partition"], partition_for_key(&key, partitions), "{line}");
    }
}
