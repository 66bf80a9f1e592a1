//! Directories of every release open forever (I17).
//!
//! `tests/releases/VERSION/` holds two directories as that release left them: `closed`, after a clean close, and
//! `killed`, after the process died; beside each a text with everything that its topics, partitions, records, groups and
//! lookups by time answered then. A release that changes the format adds a store of its own and keeps reading these.
//! They are never written anew: a store that this version made cannot show whether it reads an old one. What was added to
//! the format since a release has a store as well, `VERSION-NUMBER`.
//!
//! `cargo test --test releases write -- --ignored` adds the store of this version, where there is none;
//! `STREAMLOG_STORE` gives it another name.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use streamlog::{
    Durability, Partition, ProducerRecord, RecordData, Streamlog, Timestamp, TopicConfig, TopicPartition,
    clients::{IsolationLevel, OffsetAndMetadata},
    config::{Builder, Compression, ConfigChange},
    sim::{Crash, SimEnv},
};
use support::{all_files, image, quick_dir, time, value};

const DIR: &str = "/data";
const GROUPS: [&str; 2] = ["readers", "others"];

/// Every kind of file that a store can have, by how its name ends.
const KINDS: [&str; 18] = [
    "LOCK",
    "manifest",
    "marks",
    "meta.properties",
    ".kafka_cleanshutdown",
    "log-start-offset-checkpoint",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "leader-epoch-checkpoint",
    "partition.metadata",
    ".log",
    ".index",
    ".timeindex",
    ".txnindex",
    ".snapshot",
    ".producers",
    ".pages",
    "consumer-offsets.snapshot",
];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|dir| dir.join("src/lib.rs").exists()).unwrap().to_path_buf()
}

fn releases() -> PathBuf {
    root().join("tests/releases")
}

/// The stores that there are: of which release, and which of its two.
fn stores() -> Vec<(String, &'static str)> {
    let names = fs::read_dir(releases()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.collect();
    names.into_iter().flat_map(|name| ["closed", "killed"].map(|kind| (name.clone(), kind))).collect()
}

#[test]
fn the_directories_of_every_release_open_and_answer_as_they_did() {
    let stores = stores();
    assert!(stores.iter().any(|(name, _)| *name == "0.1"), "{stores:?}");
    for (release, kind) in stores {
        let told = format!("the store {release}/{kind}");
        let kept = releases().join(&release);
        let expected = fs::read_to_string(kept.join(format!("{kind}.txt"))).unwrap();
        let dir = quick_dir();
        let store = dir.path().join("store");
        image(&kept.join(kind), &store);

        let reader = Streamlog::open_read_only(&store).unwrap();
        assert_same(&answers(&reader), &expected, &format!("{told}, read only"));
        assert!(reader.health().is_good(), "{told}: {:?}", reader.health());
        drop(reader);

        let log = Streamlog::builder(&store).background_thread(false).open().unwrap();
        assert_eq!(log.recovery_report().was_clean, kind == "closed", "{told}");
        assert_same(&answers(&log), &expected, &told);
        assert!(log.health().is_good(), "{told}: {:?}", log.health());
        let more = append_to_each(&log);
        log.close().unwrap();

        let log = Streamlog::open(&store).unwrap();
        assert!(log.recovery_report().was_clean, "{told}");
        for (name, (partition, offset)) in more {
            let found = log.topic(&name).unwrap().partition(partition).unwrap().last(1).unwrap();
            assert_eq!(
                (found[0].offset.value(), found[0].value.as_deref()),
                (offset, Some(&b"later"[..])),
                "{told}: {name}"
            );
        }
        let before: Vec<&str> = expected.lines().filter(|line| line.starts_with("  record ")).collect();
        let now = answers(&log);
        let now: BTreeSet<&str> = now.lines().collect();
        assert!(before.iter().all(|line| now.contains(line)), "{told}: a record went when others came");
    }
}

#[test]
fn each_store_has_every_kind_of_file() {
    for release in stores().into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>() {
        let files = ["closed", "killed"].map(|kind| all_files(&releases().join(&release).join(kind)));
        let names: Vec<String> =
            files.concat().iter().map(|path| path.to_str().unwrap().to_string()).collect();
        let missing: Vec<_> =
            KINDS.iter().filter(|kind| !names.iter().any(|name| name.ends_with(**kind))).collect();
        assert!(missing.is_empty(), "release {release} has no {missing:?}");
    }
}

/// The types of the records in a manifest.
fn types_in(manifest: &[u8]) -> BTreeSet<u16> {
    let (mut at, mut types) = (28, BTreeSet::new());
    while let Some(head) = manifest.get(at..at + 8).filter(|head| head[..2] != [0, 0]) {
        types.insert(u16::from_be_bytes([head[0], head[1]]));
        at += 12 + u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
    }
    types
}

#[test]
fn the_store_after_the_first_release_has_what_came_to_the_format_since() {
    for kind in ["closed", "killed"] {
        let [first, later] = ["0.1", "0.1-1"].map(|release| releases().join(release).join(kind));
        let read = |dir: &Path, name: &str| fs::read(dir.join(name)).unwrap();
        let [before, now] = [&first, &later].map(|dir| types_in(&read(dir, "manifest")));
        // What another writer appended; the manifest's number, and how much of it the marks knew.
        assert!(now.contains(&24), "{kind}: {now:?}");
        assert!(now.difference(&before).copied().eq([32_793, 32_794]), "{kind}: {before:?} {now:?}");
        let has_own_mark =
            |dir: &Path| read(dir, "marks").chunks(64).any(|slot| slot.get(16..20) == Some(b"MANI"));
        assert!(has_own_mark(&later) && !has_own_mark(&first), "{kind}");
        let names_its_partition = |dir: &Path| {
            fs::read_to_string(dir.join("plain-1/partition.identity"))
                .is_ok_and(|text| text.contains("\npartition: 1 "))
        };
        assert!(names_its_partition(&later) && !names_its_partition(&first), "{kind}");
    }
}

#[test]
fn the_stores_have_both_forms_of_sealed_segments() {
    for kind in ["closed", "killed"] {
        let [before, now] = ["0.1-1", "0.1-2"].map(|release| {
            types_in(&fs::read(releases().join(release).join(kind).join("manifest")).unwrap())
        });
        let sealed = |types: &BTreeSet<u16>| -> Vec<u16> {
            [7, 9, 16, 17].into_iter().filter(|kind| types.contains(kind)).collect()
        };
        assert_eq!((sealed(&before), sealed(&now)), (vec![7, 9], vec![16, 17]), "{kind}");
    }
}

fn assert_same(found: &str, expected: &str, told: &str) {
    for (i, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{told}: answer {}", i + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{told}: answers more or fewer");
}

fn append_to_each(log: &Streamlog) -> BTreeMap<String, (u32, u64)> {
    let mut appended = BTreeMap::new();
    for topic in log.topics().unwrap() {
        for partition in topic.partitions() {
            let given = partition.append(&[RecordData::new("later").timestamp(time(5000))]).unwrap();
            appended.insert(topic.name().to_string(), (partition.index(), given.start.value()));
        }
    }
    appended
}

/// Everything that can be asked of a log, a line each.
fn answers(log: &Streamlog) -> String {
    let mut told = String::new();
    for topic in log.topics().unwrap() {
        writeln!(told, "topic {} {}", topic.name(), topic.id()).unwrap();
        for (key, value) in topic.config().to_properties() {
            writeln!(told, "  {key}={value}").unwrap();
        }
        topic.partitions().iter().for_each(|partition| tell_partition(&mut told, partition));
    }
    assert_eq!(log.groups().unwrap(), {
        let mut names = GROUPS;
        names.sort_unstable();
        names
    });
    for group in log.groups().unwrap() {
        writeln!(told, "group {group}").unwrap();
        for (partition, committed) in log.describe_group(&group).unwrap().committed {
            writeln!(told, "  {partition} {} {:?}", committed.offset, committed.metadata).unwrap();
        }
    }
    told
}

fn tell_partition(told: &mut String, partition: &Partition) {
    let (start, stable, end) =
        (partition.log_start_offset(), partition.last_stable_offset(), partition.log_end_offset());
    writeln!(told, "partition {} from {start} to {end}, stable below {stable}", partition.index()).unwrap();
    for batch in partition.read(start) {
        let batch = batch.unwrap();
        for record in &batch {
            let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
            write!(
                told,
                "  record {} at {} {:?}",
                record.offset,
                record.timestamp.as_millis(),
                record.timestamp_type
            )
            .unwrap();
            write!(told, " {} epoch {}", batch.compression(), batch.leader_epoch()).unwrap();
            write!(told, " key {:?} value {:?}", text(record.key), text(record.value)).unwrap();
            for (name, value) in record.headers {
                write!(told, " header {name:?} {:?}", text(value)).unwrap();
            }
            writeln!(told).unwrap();
        }
    }
    let committed = partition.read_with(start, IsolationLevel::ReadCommitted);
    let offsets: Vec<u64> =
        committed.flat_map(|b| b.unwrap().iter().map(|r| r.offset.value()).collect::<Vec<_>>()).collect();
    writeln!(told, "  committed {offsets:?}").unwrap();
    for i in [-5, 0, 3, 17, 40, 77, 200] {
        let found = partition.offset_for_timestamp(time(0).plus_millis(i)).unwrap();
        let found = found.map(|f| (f.offset.value(), f.timestamp.as_millis()));
        writeln!(told, "  time {i}: {found:?}").unwrap();
    }
}

trait PlusMillis {
    fn plus_millis(self, millis: i64) -> Timestamp;
}

impl PlusMillis for Timestamp {
    fn plus_millis(self, millis: i64) -> Timestamp {
        Timestamp::from_millis(self.as_millis() + millis)
    }
}

/// Adds the store of this version. It is made on a simulated machine, so that the same version makes the same bytes.
#[test]
#[ignore = "writes into tests/releases: for a version that has no store yet"]
fn write_the_store_of_this_release() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")).unwrap();
    let version = version.trim_end_matches('"').rsplit_once('.').unwrap().0;
    let name = std::env::var("STREAMLOG_STORE").unwrap_or(version.to_string());
    let place = releases().join(name);
    assert!(!place.exists(), "{} is there, and a release's store is never written anew", place.display());
    let env = made();
    let log = open(&env);
    let killed = env.crash(Crash::Kill, 1);
    let told = answers(&log);
    log.close().unwrap();
    for (kind, env) in [("closed", env), ("killed", killed)] {
        for (path, content) in env.files() {
            let path = place.join(kind).join(Path::new(&path).strip_prefix(DIR).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::write(place.join(format!("{kind}.txt")), &told).unwrap();
    }
}

fn open(env: &SimEnv) -> Streamlog {
    // So few commits get their sidecar, too.
    let builder = Builder::env(env, DIR).background_thread(false).offsets_upkeep(4000, 300, 100_000);
    let log = builder.open().unwrap();
    for topic in ["plain", "packed", "written"] {
        append(&log.topic(topic).unwrap().partition(0).unwrap(), 3);
    }
    // Several segments behind the transactions, so that their index is written.
    append(&log.topic("transactions").unwrap().partition(0).unwrap(), 60);
    log
}

/// A machine whose log is in use in its second life: with sealed and active segments, each codec that needs no C, a start
/// that moved, settings that changed, a topic that was deleted, and what a broker appended between the two lives.
fn made() -> SimEnv {
    let env = SimEnv::new(1);
    let log =
        Builder::env(&env, DIR).background_thread(false).offsets_upkeep(4000, 300, 100_000).open().unwrap();
    let config = || TopicConfig::default().index_interval_bytes(200).segment_bytes(3000);
    log.create_topic("plain", config().partitions(2)).unwrap();
    log.create_topic("packed", config()).unwrap();
    log.create_topic("written", config().durability(Durability::Written)).unwrap();
    log.create_topic("trimmed", config().durability(Durability::Interval(Duration::from_secs(1)))).unwrap();
    log.create_topic("transactions", config()).unwrap();
    log.create_topic("deleted", config()).unwrap();
    let partition = |topic: &str| log.topic(topic).unwrap().partition(0).unwrap();
    for name in ["plain", "written", "trimmed", "deleted"] {
        append(&partition(name), 60);
    }
    for (i, codec) in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4].into_iter().enumerate()
    {
        let producer = log.producer_builder().compression(codec).build().unwrap();
        for batch in 0..4 {
            let at = partition("packed").log_end_offset().value();
            let values: Vec<_> = (at..at + 1 + batch).map(|i| value(i).repeat(5)).collect();
            let records = (at..).zip(&values).map(|(i, value)| {
                let record =
                    ProducerRecord::new("packed", value).timestamp(time(i)).header("of", "a release");
                if i % 2 == 0 { record.header("empty", "") } else { record.key("k") }
            });
            producer.send_batch(&records.collect::<Vec<_>>()).unwrap();
        }
        let place = TopicPartition::new("packed", 0);
        let mut consumer = log.consumer(GROUPS[i % 2]).unwrap();
        consumer.commit_offsets([(place.clone(), streamlog::Offset::new(i as u64 * 5))]).unwrap();
        let noted = OffsetAndMetadata::new(i as u64, format!("note {i}"));
        consumer.commit_offsets([(TopicPartition::new("plain", 0), noted)]).unwrap();
    }
    let odd =
        [RecordData::tombstone("gone").timestamp(time(70)), RecordData::new("no key").timestamp(time(71))];
    log.topic("plain").unwrap().partition(1).unwrap().append(&odd).unwrap();
    log.delete_records("trimmed", 0, 41).unwrap();
    log.delete_topic("deleted").unwrap();
    log.alter_topic("plain", &[ConfigChange::set("retention.bytes", "100000000")]).unwrap();
    let _ = log.add_partitions("plain", 3).unwrap();
    append(&partition("transactions"), 4);
    log.close().unwrap();
    broker::append_transactions(&env, "/data/transactions-0/00000000000000000000.log", 4);
    env
}

/// What a broker would append to a log that was closed: our own producers have no transactions yet.
mod broker {
    use super::support::{crc32c, varint};
    use streamlog::sim::SimEnv;

    /// Two producers' transactions, one committed and one aborted, each with its marker.
    pub fn append_transactions(env: &SimEnv, path: &str, base: i64) {
        let mut file = env.files()[path].clone();
        file.extend(batch(base, 7, 0, TRANSACTIONAL, &[(b"a".to_vec(), b"committed".to_vec())]));
        file.extend(batch(base + 1, 8, 0, TRANSACTIONAL, &[(b"a".to_vec(), b"aborted".to_vec())]));
        file.extend(marker(base + 2, 7, 1));
        file.extend(marker(base + 3, 8, 0));
        env.overwrite(path, &file).unwrap();
    }

    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;

    fn marker(base: i64, producer: i64, commits: i16) -> Vec<u8> {
        let key = [0_i16.to_be_bytes(), commits.to_be_bytes()].concat();
        batch(base, producer, -1, TRANSACTIONAL | CONTROL, &[(key, vec![0; 6])])
    }

    fn batch(
        base: i64,
        producer: i64,
        sequence: i32,
        attributes: i16,
        records: &[(Vec<u8>, Vec<u8>)],
    ) -> Vec<u8> {
        let time = 1_000_100_i64;
        let mut tail = attributes.to_be_bytes().to_vec();
        tail.extend((records.len() as i32 - 1).to_be_bytes());
        tail.extend([time.to_be_bytes(), time.to_be_bytes(), producer.to_be_bytes()].concat());
        tail.extend(0_i16.to_be_bytes());
        tail.extend(sequence.to_be_bytes());
        tail.extend((records.len() as i32).to_be_bytes());
        for (i, (key, value)) in records.iter().enumerate() {
            let body = [vec![0, 0], varint(i as i64), sized(key), sized(value), vec![0]].concat();
            tail.extend(sized(&body));
        }
        let mut batch = base.to_be_bytes().to_vec();
        batch.extend((tail.len() as i32 + 9).to_be_bytes());
        batch.extend([0, 0, 0, 0, 2]);
        batch.extend(crc32c(&tail).to_be_bytes());
        batch.extend(tail);
        batch
    }

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [varint(bytes.len() as i64), bytes.to_vec()].concat()
    }
}

fn append(partition: &Partition, count: u64) {
    let mut at = partition.log_end_offset().value();
    let end = at + count;
    while at < end {
        let next = (at + 1 + at % 3).min(end);
        support::append_batch(partition, at..next).unwrap();
        at = next;
    }
}
