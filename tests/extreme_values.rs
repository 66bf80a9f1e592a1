//! Extreme values in every field of every file, of ours and of Kafka's, with checksums made right again: whoever opens such a
//! directory gets records that were written, or a typed error; nothing panics, overflows, hangs or takes all memory.
//! (I13, I14)
//!
//! A field is any run of 1, 2, 4 or 8 bytes; of texts, any number. `STREAMLOG_SEED` draws others, `STREAMLOG_CASES` more.
#![cfg(unix)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use streamlog::{
    Error, ErrorKind, Partition, RecordData, Streamlog, TopicConfig, config::ReadMode, dir::PartitionDir,
};
use support::{Random, all_files, crc32c, image, quick_dir, seed};

/// What a field becomes, as a number of its width: 0, 1, -1, -2, the least, the greatest, and what overflows a position.
fn extremes(width: usize) -> Vec<Vec<u8>> {
    let least = 1u64 << (width * 8 - 1);
    let mut values = vec![0, 1, u64::MAX, u64::MAX - 1, least, least - 1, least + 1];
    values.extend([1 << 31, (1 << 31) - 1, 1 << 32, 1 << 40].into_iter().filter(|_| width == 8));
    values.iter().map(|value| value.to_be_bytes()[8 - width..].to_vec()).collect()
}

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967296",
    "9223372036854775806",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
];

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(there) = bytes.get_mut(at..at + 4) {
        there.copy_from_slice(&value.to_be_bytes());
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

/// The records of a manifest: where each begins and ends.
fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut all, mut at) = (Vec::new(), 28);
    while let Some(len) = be32(bytes, at + 4) {
        let end = at + 12 + len;
        if bytes[at..at + 2] == [0, 0] || end > bytes.len() {
            break;
        }
        all.push((at, end));
        at = end;
    }
    all
}

/// The batches of a log: where each begins and ends.
fn batches(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(len) = be32(bytes, at + 8).filter(|len| *len > 0 && at + 12 + len <= bytes.len()) {
        all.push((at, at + 12 + len));
        at += 12 + len;
    }
    all
}

fn mend_manifest(bytes: &mut [u8], records: &[(usize, usize)]) {
    if bytes.len() >= 28 {
        let crc = crc32fast::hash(&bytes[..24]);
        put(bytes, 24, crc);
    }
    for (at, end) in records {
        let said = be32(bytes, at + 4).map(|len| at + 12 + len).filter(|end| *end <= bytes.len());
        let covered = [&bytes[*at..at + 8], &bytes[at + 12..said.unwrap_or(*end)]].concat();
        put(bytes, at + 8, crc32fast::hash(&covered));
    }
}

/// Makes the checksums of a file right that was changed; `before` is how it was.
fn mend(name: &str, bytes: &mut [u8], before: &[u8]) {
    let len = bytes.len();
    match name {
        "manifest" => mend_manifest(bytes, &records(before)),
        "marks" => bytes.chunks_exact_mut(64).filter(|slot| slot.iter().any(|b| *b != 0)).for_each(|slot| {
            let crc = crc32fast::hash(&slot[..60]);
            put(slot, 60, crc);
        }),
        _ if name.ends_with(".pages") => {
            let crc = crc32fast::hash(&bytes[..len - 4]);
            put(bytes, len - 4, crc);
        }
        _ if name.ends_with(".producers") || name == "consumer-offsets.snapshot" => {
            let crc = crc32fast::hash(&bytes[10..]);
            put(bytes, 6, crc);
        }
        _ if name.ends_with(".snapshot") => {
            let crc = crc32c(&bytes[6..]);
            put(bytes, 2, crc);
        }
        _ if name.ends_with(".log") => {
            for (at, end) in batches(before) {
                let crc = crc32c(&bytes[at + 21..end]);
                put(bytes, at + 17, crc);
            }
        }
        _ => {}
    }
}

/// The checksum of a segment's three indexes.
fn index_checksum(files: &BTreeMap<PathBuf, Vec<u8>>, path: &Path) -> u32 {
    let mut all = Vec::new();
    for extension in ["index", "timeindex", "txnindex"] {
        let bytes = files.get(&path.with_extension(extension)).cloned().unwrap_or_default();
        all.extend((bytes.len() as u64).to_be_bytes());
        all.extend(bytes);
    }
    crc32fast::hash(&all).max(1)
}

/// A directory as it is kept, and what its records are.
struct Store {
    told: &'static str,
    files: BTreeMap<PathBuf, Vec<u8>>,
    dir: PathBuf,
    partitions: Vec<String>,
    records: BTreeMap<(String, u64), Option<Vec<u8>>>,
}

/// Takes each record, with its offset; an error ends it.
fn each(partition: &Partition, mut take: impl FnMut(u64, Option<&[u8]>)) -> Result<(), Error> {
    for batch in partition.read(partition.log_start_offset()) {
        for record in batch?.iter() {
            take(record.offset.value(), record.value);
        }
    }
    Ok(())
}

impl Store {
    fn new(told: &'static str, dir: PathBuf) -> Store {
        let files = all_files(&dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap()));
        let files = files.filter(|(name, _)| name != Path::new("LOCK")).collect();
        let mut store = Store { told, files, dir, partitions: Vec::new(), records: BTreeMap::new() };
        let log = Streamlog::open_read_only(&store.dir).unwrap();
        for topic in log.topics().unwrap() {
            for partition in topic.partitions() {
                let name = format!("{}-{}", topic.name(), partition.index());
                each(&partition, |offset, value| {
                    store.records.insert((name.clone(), offset), value.map(<[u8]>::to_vec));
                })
                .unwrap();
                store.partitions.push(name);
            }
        }
        assert!(store.records.len() > 100);
        store
    }

    /// One of the many that are made of it: which file, and what is in it then; other files that are to agree with it.
    fn draw(&self, rng: &mut Random, files: &[&PathBuf]) -> (String, BTreeMap<PathBuf, Vec<u8>>) {
        let path = files[rng.below(files.len() as u64) as usize];
        let name = path.file_name().unwrap().to_str().unwrap();
        let before = &self.files[path];
        let mut bytes = before.clone();
        let is_text =
            name.contains("checkpoint") || name.ends_with("metadata") || name.ends_with("properties");
        let what = if is_text {
            let mut words: Vec<String> =
                String::from_utf8(bytes).unwrap().split(' ').map(String::from).collect();
            let at = rng.below(words.len() as u64) as usize;
            let lines: Vec<&str> = words[at].split('\n').collect();
            let line = rng.below(lines.len() as u64) as usize;
            let value = NUMBERS[rng.below(NUMBERS.len() as u64) as usize];
            let mut lines: Vec<String> = lines.into_iter().map(String::from).collect();
            lines[line] = value.to_string();
            words[at] = lines.join("\n");
            bytes = words.join(" ").into_bytes();
            format!("word {at}, line {line}: {value}")
        } else {
            let width = [1, 2, 4, 4, 8, 8, 8][rng.below(7) as usize].min(bytes.len());
            let width = if width.is_power_of_two() { width } else { 1 };
            let at = self.draw_position(rng, name, before, width);
            let values = extremes(width);
            let value = &values[rng.below(values.len() as u64) as usize];
            bytes[at..at + width].copy_from_slice(value);
            mend(name, &mut bytes, before);
            format!("{value:02x?} at byte {at}")
        };
        let mut changed = BTreeMap::from([(path.clone(), bytes)]);
        if name.ends_with("index") {
            self.agree(path, &mut changed);
        }
        (format!("{}: {}, {what}", self.told, path.display()), changed)
    }

    fn draw_position(&self, rng: &mut Random, name: &str, before: &[u8], width: usize) -> usize {
        let mut anywhere = |end: usize| rng.below((end.max(width) - width + 1) as u64) as usize;
        if name.ends_with(".log") {
            // Their headers, mostly.
            let batches = batches(before);
            let (at, end) = batches[anywhere(batches.len() - 1 + width)];
            return at + anywhere((end - at).min(70));
        }
        // Behind what a manifest says are zeros.
        anywhere(before.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).max(width))
    }

    /// The checksum of indexes that were changed is the one that manifest and marks know.
    fn agree(&self, path: &Path, changed: &mut BTreeMap<PathBuf, Vec<u8>>) {
        let mut after = self.files.clone();
        after.extend(changed.clone());
        let (old, new) = (index_checksum(&self.files, path), index_checksum(&after, path));
        for name in ["manifest", "marks"].map(PathBuf::from) {
            let before = &self.files[&name];
            let mut bytes = before.clone();
            for at in 0..bytes.len().saturating_sub(4) {
                if bytes[at..at + 4] == old.to_be_bytes() {
                    put(&mut bytes, at, new);
                }
            }
            mend(name.to_str().unwrap(), &mut bytes, before);
            changed.insert(name, bytes);
        }
    }

    /// What is read is what was written, as far as no batch was changed; errors are of a kind that says so.
    fn check(&self, name: &str, partition: &Partition, is_data: bool, context: &str) {
        let mut count = 0;
        let read = each(partition, |offset, value| {
            count += 1;
            let known = self.records.get(&(name.to_string(), offset));
            let same = known.is_none_or(|known| known.as_deref() == value);
            assert!(is_data || same, "{context}: another record at offset {offset} of {name}");
        });
        if let Err(error) = read {
            is_typed(&error, context);
        }
        let _ = partition.offset_for_timestamp(streamlog::Timestamp::from_millis(i64::MAX));
        let _ = partition.offset_for_timestamp(streamlog::Timestamp::from_millis(0));
        let _ = partition.last(3);
        assert!(count <= 2 * self.records.len() + 10, "{context}");
    }

    fn check_log(&self, opened: Result<Streamlog, Error>, is_data: bool, context: &str) -> Option<Streamlog> {
        let log = opened.map_err(|error| is_typed(&error, context)).ok()?;
        for topic in log.topics().unwrap() {
            for partition in topic.partitions().iter().take(20) {
                let name = format!("{}-{}", topic.name(), partition.index());
                self.check(&name, partition, is_data, context);
            }
        }
        for group in log.groups().unwrap_or_default() {
            let _ = log.describe_group(&group);
        }
        let _ = (log.stats(), log.health(), log.disk_usage());
        Some(log)
    }

    fn open(&self, mode: ReadMode, read_only: bool) -> Result<Streamlog, Error> {
        Streamlog::builder(&self.dir).background_thread(false).read_mode(mode).read_only(read_only).open()
    }

    /// Opens the changed directory four ways.
    fn try_all(&self, changed: &BTreeMap<PathBuf, Vec<u8>>, context: &str) {
        for (path, bytes) in changed {
            fs::write(self.dir.join(path), bytes).unwrap();
        }
        let is_data = changed.keys().any(|path| path.extension().is_some_and(|e| e == "log"));
        for mode in [ReadMode::Mapped, ReadMode::Pread] {
            self.check_log(self.open(mode, true), is_data, context);
        }
        for name in &self.partitions {
            if changed.keys().any(|path| !path.starts_with(name) && path.components().count() > 1) {
                continue;
            }
            match PartitionDir::open_read_only(self.dir.join(name)) {
                Ok(dir) => self.check(name, dir.partition(), is_data, context),
                Err(error) => is_typed(&error, context),
            }
        }
        // Twice, with records appended and a clean close in between.
        for _ in 0..2 {
            let Some(log) = self.check_log(self.open(ReadMode::Mapped, false), is_data, context) else {
                break;
            };
            for topic in log.topics().unwrap() {
                let partition = topic.partition(0).unwrap();
                for _ in 0..2 {
                    if let Err(error) = partition.append(&[RecordData::new("more")]) {
                        is_typed(&error, context);
                    }
                }
                let _ = log.delete_records(topic.name(), 0, partition.log_start_offset().value() + 1);
            }
            let _ = log.maintain();
            if let Err(error) = log.close() {
                is_typed(&error, context);
            }
        }
        self.restore();
    }

    /// As it was, however it was left.
    fn restore(&self) {
        for name in all_files(&self.dir) {
            if !self.files.contains_key(&name) {
                fs::remove_file(self.dir.join(name)).unwrap();
            }
        }
        for (name, bytes) in &self.files {
            let path = self.dir.join(name);
            if fs::read(&path).ok().as_ref() != Some(bytes) {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

fn is_typed(error: &Error, context: &str) {
    let kinds = [
        ErrorKind::Corrupt,
        ErrorKind::UnsupportedFormat,
        ErrorKind::ReadOnly,
        ErrorKind::OffsetOutOfRange,
        ErrorKind::InvalidTimestamp,
        ErrorKind::CodecUnavailable,
    ];
    assert!(kinds.contains(&error.kind()), "{context}: {:?}: {error}", error.kind());
}

/// Golden stores, and what this release makes of them.
fn stores(root: &Path) -> Vec<Store> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = here.ancestors().map(|dir| dir.join("tests/releases/0.1")).find(|dir| dir.exists()).unwrap();
    let [closed, killed, now, left] = ["closed", "killed", "now", "left"].map(|name| root.join(name));
    image(&kept.join("closed"), &closed);
    image(&kept.join("killed"), &killed);
    image(&kept.join("closed"), &now);
    let append = |log: &Streamlog, topic: &str| {
        let partition = log.topic_or_create(topic, TopicConfig::default().segment_bytes(600)).unwrap();
        for n in 0..9 {
            let value = format!("{n} {}", "x".repeat(100));
            partition.partition(0).unwrap().append(&[RecordData::new(value.as_bytes())]).unwrap();
        }
    };
    let open = || Streamlog::builder(&now).background_thread(false).open().unwrap();
    let log = open();
    append(&log, "new");
    log.close().unwrap();
    let log = open();
    append(&log, "newer");
    image(&now, &left);
    log.close().unwrap();
    vec![
        Store::new("closed by 0.1", closed),
        Store::new("killed in 0.1", killed),
        Store::new("closed", now),
        Store::new("killed", left),
    ]
}

#[test]
fn no_value_of_any_field_breaks_an_opening() {
    let root = quick_dir();
    let stores = stores(root.path());
    let cases = std::env::var("STREAMLOG_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    let now = Arc::new((Mutex::new(String::new()), AtomicU64::new(0)));
    let watched = Arc::clone(&now);
    thread::spawn(move || {
        let mut last = u64::MAX;
        loop {
            thread::sleep(Duration::from_secs(100));
            let count = watched.1.load(Ordering::Relaxed);
            if count == last {
                eprintln!("it hangs: {}", watched.0.lock().unwrap());
                std::process::abort();
            }
            last = count;
        }
    });
    let seed = seed();
    let mut rng = Random(seed);
    for case in 0..cases {
        let store = &stores[case % stores.len()];
        // Half of them in the two files that lead to all others.
        let all: Vec<&PathBuf> = store.files.keys().filter(|path| !store.files[*path].is_empty()).collect();
        let two: Vec<&PathBuf> = all
            .iter()
            .copied()
            .filter(|path| path.ends_with("manifest") || path.ends_with("marks"))
            .collect();
        let some = if rng.below(2) == 0 { &two } else { &all };
        let (context, changed) = store.draw(&mut rng, some);
        *now.0.lock().unwrap() = context.clone();
        now.1.fetch_add(1, Ordering::Relaxed);
        let tried =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.try_all(&changed, &context)));
        assert!(tried.is_ok(), "case {case} of seed {seed}: {context}");
    }
}
