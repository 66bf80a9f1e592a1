//! Directories of a stranger: whatever their files say of sizes, a process of 512 MiB opens them, reads what can be read
//! and is done within five seconds of processor time. What it reads is right, and an error names a file. (I13)
//!
//! Each case is a log, closed or left by a death, in which something was changed. A child under `ulimit -v` and
//! `ulimit -t` opens it in every way and reads it in every direction.

#![cfg(target_os = "linux")]

mod support;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use streamlog::{
    Error, Offset, Partition, ProducerRecord, Streamlog, Timestamp, TopicConfig, TopicPartition,
    dir::PartitionDir,
};
use support::*;

/// Where a child finds its directory.
const DIR: &str = "STREAMLOG_HOSTILE_DIR";
/// The records of the sound log. What a stranger adds lies behind.
const RECORDS: u64 = 600;
const MIB: usize = 1 << 20;

/// A log of several segments, and offsets committed for it: as it is when it was closed, and as a death leaves it.
fn sound(dir: &Path, killed: &Path) {
    let log = Streamlog::open(dir).unwrap();
    let partition = log.create_topic("t", TopicConfig::default().segment_bytes(16 << 10)).unwrap();
    let partition = partition.partition(0).unwrap();
    (0..RECORDS).step_by(4).for_each(|i| append_batch(&partition, i..i + 4).unwrap());
    log.create_topic("other", TopicConfig::default()).unwrap();
    log.producer().unwrap().send(ProducerRecord::new("other", "x")).unwrap();
    let mut consumer = log.consumer("g").unwrap();
    consumer.commit_offsets([(TopicPartition::new("t", 0), Offset::new(5))]).unwrap();
    drop(consumer);
    image(dir, killed);
    log.close().unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let mut logs = files(&dir.join("t-0"));
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs
}

fn last_log(dir: &Path) -> PathBuf {
    logs(dir).pop().unwrap()
}

/// Makes a file this long, with nothing where it has nothing.
fn stretch(path: &Path, len: u64) {
    File::options().create(true).write(true).truncate(false).open(path).unwrap().set_len(len).unwrap();
}

fn write_at(path: &Path, bytes: &[u8], position: u64) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, position).unwrap();
}

/// Appends bytes to the last segment.
fn append(dir: &Path, bytes: &[u8]) {
    let path = last_log(dir);
    write_at(&path, bytes, fs::metadata(&path).unwrap().len());
}

/// A batch whose checksum is right.
fn batch(base: u64, codec: u16, records: u32, section: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_be_bytes().to_vec();
    bytes.extend((section.len() as u32 + 49).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 2, 0, 0, 0, 0]);
    bytes.extend(codec.to_be_bytes());
    bytes.extend((records.max(1) - 1).to_be_bytes());
    bytes.extend([0; 16]);
    bytes.extend([0xff; 14]);
    bytes.extend(records.to_be_bytes());
    bytes.extend(section);
    seal_batch(&mut bytes);
    bytes
}

/// The beginning of a record with a value of `value` bytes; what is left of it is that many zeros and one more.
fn record(value: i32) -> Vec<u8> {
    let body = [&[0, 0, 0, 1][..], &varint(value.into())].concat();
    [varint(body.len() as i64 + i64::from(value) + 1), body].concat()
}

/// An lz4 frame of `front` and zeros, `blocks` times 4 MiB in all.
fn lz4(front: &[u8], blocks: usize) -> Vec<u8> {
    let block = |front: &[u8]| {
        // `front` and a zero as they are, then that zero again and again, and five more at the end.
        let again = 4 * MIB - front.len() - 6;
        let mut bytes = vec![(front.len() as u8 + 1).min(14) << 4 | 15];
        bytes.extend(front);
        bytes.extend([0, 1, 0]);
        let more = again - 4 - 15;
        bytes.extend(vec![255; more / 255]);
        bytes.extend([(more % 255) as u8, 5 << 4, 0, 0, 0, 0, 0]);
        bytes
    };
    // Version 1, independent blocks of 4 MiB.
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    for i in 0..blocks {
        let bytes = block(if i == 0 { front } else { &[] });
        frame.extend((bytes.len() as u32).to_le_bytes());
        frame.extend(bytes);
    }
    frame.extend([0; 4]);
    frame
}

/// One raw block of snappy that becomes `len` zeros.
fn snappy(len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = len;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.extend([rest as u8, 0, 0]);
    // Copies of 64 bytes from one byte before.
    bytes.extend([63 << 2 | 2, 1, 0].repeat(len / 64));
    bytes
}

/// Appends to the manifest that these topics were created, of one partition each and with the shortest of names.
fn add_topics(dir: &Path, count: u32) {
    let path = dir.join("manifest");
    let mut manifest = fs::read(&path).unwrap();
    let mut end = 28;
    // Zeros follow the last record.
    while let Some([code @ .., 0, 0, a, b, c, d]) = manifest.get(end..end + 8)
        && code != [0, 0]
    {
        end += 12 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    }
    manifest.truncate(end);
    let record = |code: u8, payload: &[u8]| {
        let head = [&[0, code, 0, 0][..], &(payload.len() as u32).to_be_bytes()].concat();
        let crc = crc32fast::hash(&[&head, payload].concat());
        [&head, &crc.to_be_bytes()[..], payload].concat()
    };
    let topic = |i: u32| {
        let id = [&[7; 12][..], &i.to_be_bytes()].concat();
        let name = format!("{i:x}");
        let name = [&(name.len() as u32).to_be_bytes(), name.as_bytes()].concat();
        let slot = (1000 + i).to_be_bytes();
        record(2, &[&id[..], &name, &[0, 0, 0, 0, 1], &slot, &[0; 4]].concat())
    };
    let topics: Vec<u8> = (0..count).flat_map(topic).collect();
    let mark =
        [&manifest[16..24], &(end as u64).to_be_bytes(), &(topics.len() as u32).to_be_bytes()].concat();
    manifest.extend([record(1, &mark), topics].concat());
    fs::write(path, manifest).unwrap();
}

type Case = (&'static str, Whole, fn(&Path));

/// Whether everything that the log had can be read.
#[derive(Clone, Copy, PartialEq)]
enum Whole {
    Yes,
    No,
}

const CASES: [Case; 31] = [
    ("nothing", Whole::Yes, |_| {}),
    ("all but data of a gibibyte", Whole::Yes, |dir| {
        let is_sidecar =
            |path: &PathBuf| path.parent() != Some(dir) && path.extension().is_none_or(|e| e != "log");
        files(dir).iter().filter(|path| is_sidecar(path)).for_each(|path| stretch(path, 1 << 30));
    }),
    ("sidecars that were not there, of a gibibyte", Whole::Yes, |dir| {
        for log in logs(dir) {
            for extension in ["txnindex", "snapshot", "producers", "pages"] {
                stretch(&log.with_extension(extension), 1 << 30);
            }
        }
        for name in ["leader-epoch-checkpoint", "partition.metadata"] {
            stretch(&dir.join("t-0").join(name), 1 << 30);
        }
        for name in [".kafka_cleanshutdown", "recovery-point-offset-checkpoint", "LOCK"] {
            stretch(&dir.join(name), 1 << 30);
        }
    }),
    // It is read where nothing else speaks for a directory, and then says where the log begins.
    ("a checkpoint of log starts of a gibibyte", Whole::No, |dir| {
        stretch(&dir.join("log-start-offset-checkpoint"), 1 << 30);
    }),
    ("a manifest of 900 MiB of zeros", Whole::No, |dir| {
        stretch(&dir.join("manifest"), 0);
        stretch(&dir.join("manifest"), 900 << 20);
    }),
    ("a manifest of 100,000 topics that have no directories", Whole::No, |dir| add_topics(dir, 100_000)),
    ("marks of a gibibyte", Whole::Yes, |dir| stretch(&dir.join("marks"), 1 << 30)),
    ("snapshots whose counts fit", Whole::Yes, |dir| {
        for log in logs(dir) {
            let path = log.with_extension("snapshot");
            for (len, count) in [(10 + 46 * (1u64 << 24), 1i32 << 24), (10 + 46 * 700_000, 700_000)] {
                stretch(&path, len);
                write_at(&path, &[0, 1, 0, 0, 0, 0], 0);
                write_at(&path, &count.to_be_bytes(), 6);
            }
        }
    }),
    ("snapshots of many producers", Whole::Yes, |dir| {
        let mut bytes = 100_000u32.to_be_bytes().to_vec();
        for i in 0..100_000u64 {
            bytes.extend(i.to_be_bytes());
            bytes.extend([0, 0]);
            bytes.extend([0xff; 12]);
            bytes.extend([0; 12]);
            bytes.extend([0xff; 12]);
        }
        let crc = crc32c(&bytes);
        let bytes = [&[0, 1][..], &crc.to_be_bytes(), &bytes].concat();
        let snapshots = files(&dir.join("t-0")).into_iter();
        for path in snapshots.filter(|path| path.extension().is_some_and(|e| e == "snapshot")) {
            fs::write(path, &bytes).unwrap();
        }
    }),
    ("a checkpoint of 60,000 leader epochs", Whole::Yes, |dir| {
        let lines: String = (0..60_000).map(|i| format!("{i} {i}\n")).collect();
        fs::write(dir.join("t-0/leader-epoch-checkpoint"), format!("0\n60000\n{lines}")).unwrap();
    }),
    ("a checkpoint of 60,000 leader epochs that begin at one offset", Whole::Yes, |dir| {
        let lines: String = (0..60_000).rev().map(|i| format!("{i} 7\n")).collect();
        fs::write(dir.join("t-0/leader-epoch-checkpoint"), format!("0\n60000\n{lines}")).unwrap();
    }),
    ("a bomb among the committed offsets", Whole::Yes, |dir| {
        let path = dir.join("__consumer_offsets-0/00000000000000000000.log");
        let len = fs::metadata(&path).unwrap().len();
        let base = batch(1, 3, 1, &lz4(&record((1 << 30) - 4 * MIB as i32 - 15), 255));
        write_at(&path, &base, len);
    }),
    ("lists of producers that end early", Whole::Yes, |dir| {
        for log in logs(dir) {
            let crc = crc32fast::hash(&u32::MAX.to_be_bytes());
            let bytes = [b"SLPB\0\x01", &crc.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
            fs::write(log.with_extension("producers"), bytes).unwrap();
        }
    }),
    ("indexes in order that are longer than the data", Whole::Yes, |dir| {
        for log in logs(dir) {
            let entry = |i: u32| [i.to_be_bytes(), (i * 7).to_be_bytes()].concat();
            fs::write(log.with_extension("index"), (1..500_000).flat_map(entry).collect::<Vec<u8>>())
                .unwrap();
            let entry = |i: u32| [&u64::from(i).to_be_bytes()[..], &i.to_be_bytes()].concat();
            fs::write(log.with_extension("timeindex"), (1..500_000).flat_map(entry).collect::<Vec<u8>>())
                .unwrap();
        }
    }),
    ("checkpoints of one long line, and of many", Whole::Yes, |dir| {
        let long = ["0\n1\n", &"x".repeat(12 * MIB), "\n"].concat();
        fs::write(dir.join("t-0/leader-epoch-checkpoint"), long).unwrap();
        let many: String = (0..100_000).map(|i| format!("t {i} 0\n")).collect();
        fs::write(dir.join("recovery-point-offset-checkpoint"), format!("0\n100000\n{many}")).unwrap();
    }),
    ("a last segment of a tebibyte", Whole::Yes, |dir| stretch(&last_log(dir), 1 << 40)),
    ("a last segment of a tebibyte, with something at its end", Whole::Yes, |dir| {
        stretch(&last_log(dir), 1 << 40);
        write_at(&last_log(dir), b"something", (1 << 40) - 9);
    }),
    ("a last segment of a tebibyte, with something every few gibibytes", Whole::Yes, |dir| {
        let head = batch(RECORDS, 0, 1, &[0; 200]);
        for i in 1..60 {
            // A batch that says it goes on to the end of what a length can say.
            let mut head = head.clone();
            head[8..12].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
            write_at(&last_log(dir), &head, i << 32);
        }
        stretch(&last_log(dir), 1 << 40);
    }),
    ("sealed segments of a tebibyte", Whole::No, |dir| {
        logs(dir).iter().for_each(|log| stretch(log, 1 << 40));
    }),
    ("empty segments of a tebibyte", Whole::No, |dir| {
        for log in logs(dir) {
            stretch(&log, 0);
            stretch(&log, 1 << 40);
        }
    }),
    ("a batch of two gibibytes", Whole::Yes, |dir| {
        let mut head = batch(RECORDS, 0, 1, &record(100));
        head[8..12].copy_from_slice(&(i32::MAX - 12).to_be_bytes());
        append(dir, &head);
        stretch(&last_log(dir), 1 << 32);
    }),
    ("a batch of a gibibyte whose checksum is right", Whole::No, |dir| {
        let start = fs::metadata(last_log(dir)).unwrap().len();
        let mut head = batch(RECORDS, 0, 1, &record((1 << 30) - 200));
        head[8..12].copy_from_slice(&((1u32 << 30) - 12).to_be_bytes());
        let zeros = (1 << 30) - head.len();
        let mut sum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        sum.update(&head[21..]);
        let piece = vec![0; MIB];
        (0..zeros / MIB).for_each(|_| sum.update(&piece));
        sum.update(&piece[..zeros % MIB]);
        head[17..21].copy_from_slice(&(sum.finalize() as u32).to_be_bytes());
        write_at(&last_log(dir), &head, start);
        stretch(&last_log(dir), start + (1 << 30));
    }),
    ("a segment of claims to be batches", Whole::Yes, |dir| {
        let mut claims = Vec::new();
        for i in 0..60_000u64 {
            let mut head = batch(RECORDS + 1 + i, 0, 1, &[]);
            head[8..12].copy_from_slice(&(5 * MIB as u32 - 70 * i as u32).to_be_bytes());
            claims.extend(head);
        }
        append(dir, &[&[0xaa; 100], &claims[..]].concat());
    }),
    ("whole batches and claims by turns", Whole::Yes, |dir| {
        let mut turns = Vec::new();
        for i in 0..2000u64 {
            turns.extend(batch(RECORDS + 1 + i, 0, 1, &[&record(10)[..], &[0; 11]].concat()));
            let mut head = batch(RECORDS + 2 + i, 0, 1, &[]);
            head[8..12].copy_from_slice(&(400_000 - 150 * i as u32).to_be_bytes());
            turns.extend(head);
        }
        append(dir, &turns);
    }),
    ("records, keys, values and headers that lie", Whole::Yes, |dir| {
        let lies: [&[u8]; 6] = [
            &[&varint(i32::MAX.into())[..], &[0; 20]].concat(),
            &[&varint(20)[..], &[0, 0, 0], &varint(i32::MAX.into()), &[0; 20]].concat(),
            &[&varint(20)[..], &[0, 0, 0, 1], &varint(i32::MAX.into()), &[0; 20]].concat(),
            &[&varint(20)[..], &[0, 0, 0, 1, 1], &varint(i32::MAX.into()), &[0; 20]].concat(),
            &[&varint(20)[..], &[0, 0, 0, 1, 1, 2], &varint(i32::MAX.into()), &[0; 20]].concat(),
            &varint(i32::MIN.into()),
        ];
        let batches = (RECORDS..).zip(lies).map(|(offset, lie)| batch(offset, 0, 1, lie));
        append(dir, &batches.collect::<Vec<_>>().concat());
        append(dir, &batch(RECORDS + 6, 0, i32::MAX as u32, &record(3)));
    }),
    ("an lz4 batch of a gibibyte that holds no records", Whole::Yes, |dir| {
        append(dir, &batch(RECORDS, 3, 1, &lz4(&[], 255)));
    }),
    ("an lz4 batch of one record of a gibibyte", Whole::Yes, |dir| {
        let front = record((1 << 30) - 4 * MIB as i32 - 15);
        append(dir, &batch(RECORDS, 3, 1, &lz4(&front, 255)));
    }),
    ("lz4 batches that say they hold millions of records", Whole::Yes, |dir| {
        let bomb = lz4(&record(2 * MIB as i32), 20);
        append(dir, &batch(RECORDS, 3, 500_000_000, &bomb));
    }),
    ("many small lz4 batches that become 4 MiB each", Whole::Yes, |dir| {
        let bomb = lz4(&[], 1);
        let batches = (0..10).map(|i| batch(RECORDS + i, 3, 1, &bomb));
        append(dir, &batches.collect::<Vec<_>>().concat());
    }),
    ("a snappy batch of a gibibyte", Whole::Yes, |dir| {
        append(dir, &batch(RECORDS, 2, 1, &snappy((1 << 30) - 64)));
    }),
    ("a gzip batch of zeros", Whole::Yes, |dir| {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        (0..16).for_each(|_| gzip.write_all(&vec![0; MIB]).unwrap());
        append(dir, &batch(RECORDS, 1, 1, &gzip.finish().unwrap()));
    }),
];

/// An error must name a file of the directory, or be none of a file.
fn check(error: &Error, dir: &Path) -> Option<Offset> {
    let text = error.to_string();
    let is_of_no_file = matches!(error, Error::OffsetOutOfRange { .. } | Error::ReadOnly { .. });
    assert!(is_of_no_file || text.contains(dir.to_str().unwrap()), "{error:?}");
    // Nor is what there is no memory for a place where a reader has to stay.
    assert!(
        !text.contains("decompressed, it has at least") || text.contains("reading can continue at"),
        "{text}"
    );
    error.next_offset()
}

/// Reads on behind everything that cannot be read, and says how many records of the sound log were there.
fn read_forwards(partition: &Partition, dir: &Path) -> u64 {
    let (mut from, mut found) = (partition.log_start_offset(), 0);
    for _ in 0..100 {
        let mut error = None;
        for batch in partition.read(from) {
            match batch {
                Ok(batch) => {
                    for record in batch.iter().filter(|record| record.offset < RECORDS) {
                        let i = record.offset.value();
                        assert_eq!(record.value, Some(value(i).as_bytes()), "offset {i}");
                        found += 1;
                    }
                }
                Err(met) => error = Some(met),
            }
        }
        match error.and_then(|error| check(&error, dir)) {
            Some(next) => from = next,
            None => break,
        }
    }
    found
}

fn read_otherwise(partition: &Partition, dir: &Path) {
    let mut before = Offset::MAX;
    for _ in 0..20 {
        let mut batches = partition.read_backwards(before);
        let error = batches.find_map(|batch| batch.err());
        match error {
            Some(error) => drop(check(&error, dir)),
            None => break,
        }
        before = batches.before();
    }
    for millis in [0, time(0).as_millis(), time(300).as_millis(), time(RECORDS - 1).as_millis(), i64::MAX] {
        match partition.offset_for_timestamp(Timestamp::from_millis(millis)) {
            Ok(_) => {}
            Err(error) => drop(check(&error, dir)),
        }
    }
    let _ = partition.offset_of_max_timestamp().map_err(|error| check(&error, dir));
    let _ = partition.last(3).map_err(|error| check(&error, dir));
}

fn poll(log: &Streamlog, dir: &Path) {
    let mut consumer = log.consumer("g").unwrap();
    if let Err(error) = consumer.subscribe(["t"]) {
        check(&error, dir);
        return;
    }
    for _ in 0..12 {
        match consumer.poll(Duration::ZERO) {
            Ok(records) if records.is_empty() => break,
            Ok(_) => {}
            Err(error) => {
                check(&error, dir);
                // Once more, and then past it.
                let _ = consumer.poll(Duration::ZERO);
                if consumer.skip_damage(&error).is_err() {
                    break;
                }
            }
        }
    }
}

fn read_log(log: streamlog::Result<Streamlog>, dir: &Path) -> u64 {
    let log = match log {
        Ok(log) => log,
        Err(error) => {
            check(&error, dir);
            return 0;
        }
    };
    let topic = log.topic("t").and_then(|topic| topic.partition(0));
    let found = match topic {
        Ok(partition) => {
            let found = read_forwards(&partition, dir);
            read_otherwise(&partition, dir);
            found
        }
        Err(error) => check(&error, dir).map_or(0, |_| 0),
    };
    poll(&log, dir);
    let _ = log.disk_usage().map(drop).map_err(|error| check(&error, dir));
    let _ = log.maintain().map_err(|error| check(&error, dir));
    let _ = log.close().map_err(|error| check(&error, dir));
    found
}

/// In the child: opens the directory in every way and says how many records were read in each.
fn open_in_every_way(dir: &Path) {
    let alone = match PartitionDir::open_read_only(dir.join("t-0")) {
        Ok(partition) => {
            let found = read_forwards(&partition, dir);
            read_otherwise(&partition, dir);
            let _ = partition.producer_snapshots().map_err(|error| check(&error, dir));
            let _ = partition.transaction_indexes().map_err(|error| check(&error, dir));
            let _ = partition.topic_id().map_err(|error| check(&error, dir));
            found
        }
        Err(error) => check(&error, dir).map_or(0, |_| 0),
    };
    let observed = read_log(Streamlog::open_read_only(dir), dir);
    let written = read_log(Streamlog::open(dir), dir);
    println!("READ {alone} {observed} {written}");
}

#[test]
fn a_strangers_directory_is_opened_in_little_memory_and_time() {
    if let Some(dir) = std::env::var_os(DIR) {
        return open_in_every_way(Path::new(&dir));
    }
    if !Command::new("sh").args(["-c", "ulimit -v 524288 && ulimit -t 5"]).status().is_ok_and(|s| s.success())
    {
        return println!("SKIPPED: this shell sets no limits");
    }
    let root = quick_dir();
    let (closed, killed) = (root.path().join("closed"), root.path().join("killed"));
    sound(&closed, &killed);
    let chosen = std::env::var("STREAMLOG_HOSTILE_CASE").unwrap_or_default();
    let mut failures = Vec::new();
    let all = CASES.iter().filter(|(name, ..)| name.contains(&chosen));
    // What takes long is tried on one of the two.
    let takes_long =
        |name: &str| ["snappy", "every few gibibytes", "topics"].iter().any(|part| name.contains(part));
    let lives = all.flat_map(|case| [(&closed, case), (&killed, case)]);
    for (original, (name, whole, spoil)) in lives.filter(|(o, case)| *o == &closed || !takes_long(case.0)) {
        let dir = root.path().join("spoiled");
        image(original, &dir);
        spoil(&dir);
        let begun = std::time::Instant::now();
        let output = Command::new("sh")
            .args(["-c", "ulimit -v 524288 && ulimit -t 5 && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "a_strangers_directory_is_opened_in_little_memory_and_time", "--nocapture"])
            .env(DIR, &dir)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let read = said.lines().find_map(|line| line.split_once("READ ")).map_or("", |(_, counts)| counts);
        println!(
            "{name}, {}: {read:?} in {:?}",
            original.file_name().unwrap().to_str().unwrap(),
            begun.elapsed()
        );
        let all = format!("{RECORDS} {RECORDS} {RECORDS}");
        if !output.status.success() || (*whole == Whole::Yes && read != all) {
            let errors = String::from_utf8_lossy(&output.stderr);
            failures.push(format!("{name}: {}, read {read:?}: {said}{errors}", output.status));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
