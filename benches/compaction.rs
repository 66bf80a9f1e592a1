//! What compaction costs, as ratios in one run: deciding and rewriting beside a plain copy of the same bytes, the files of
//! keys beside the pass after a roll without them, memory, and what a clean log has written.
//!
//! No criterion: a figure is one long piece of work. Times are the processor's, of the thread that works, for those of
//! the wall say little on a machine with other work. Records are of 16-byte keys and 80-byte values, in batches of 100.
//!
//! `RECORDS=10000000 cargo bench --bench compaction` does so many records instead of a million; `CLEAN_MIB=10240` makes
//! the clean log larger than 1 GiB; `-- cost keys memory clean` measures some of it alone; `-- kafka FILE` is for
//! `benches/peers/kafka/measure.py`.

mod common;

use common::{Log, TOPIC, bytes, numbers};
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};
use streamlog::{
    Durability, Partition, RecordData, Streamlog, Timestamp, TopicConfig,
    admin::{Compact, Compacted},
    config::CleanupPolicy,
};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const BATCH: u64 = 100;
const ROUNDS: usize = 3;
/// The child that compacts a directory, and tells the peak of its memory.
const CHILD: &str = "--child";

/// Records in a topic that is compacted.
#[derive(Clone, Copy, Debug)]
struct Mix {
    records: u64,
    /// Keys are drawn from so many; `None`: each record has its own.
    keys: Option<u64>,
}

impl Mix {
    /// Fills a partition. The last record is so late that it has a segment of its own: all others are sealed.
    fn fill(self, partition: &Partition, value: &[u8]) {
        let mut random = numbers(88_172_645_463_325_252);
        let mut next = 0;
        while next < self.records {
            let these = next..self.records.min(next + BATCH);
            let names: Vec<String> = these
                .clone()
                .map(|i| {
                    let key = self.keys.map_or(i, |keys| random().wrapping_mul(0x2545_f491_4f6c_dd1d) % keys);
                    format!("user-{key:011x}")
                })
                .collect();
            append(partition, &names, value, these.start / BATCH);
            next = these.end;
        }
        append(partition, &["user-of-the-end!".to_string()], value, 1 << 35);
    }
}

fn append(partition: &Partition, keys: &[String], value: &[u8], millis: u64) {
    let at = Timestamp::from_millis(1_700_000_000_000 + millis as i64);
    let records: Vec<_> = keys.iter().map(|key| RecordData::new(value).key(key).timestamp(at)).collect();
    partition.append(&records).expect("an append");
}

/// A topic that is compacted when it is asked for.
fn table() -> TopicConfig {
    common::topic(Durability::Written).cleanup_policy(CleanupPolicy::Compact).min_cleanable_dirty_ratio(1.0)
}

fn config(compacts: bool) -> TopicConfig {
    if compacts { table() } else { common::topic(Durability::Written) }
}

/// A log of this mix in which nothing is done that is not asked for.
fn filled(mix: Mix, compacts: bool, value: &[u8]) -> Log {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let log = open(dir.path());
    let topic = log.create_topic(TOPIC, config(compacts)).expect("a topic");
    let log = Log { log, topic, dir };
    mix.fill(&log.partition(), value);
    // The passes that are measured flush nothing.
    common::flush(log.dir.path());
    log
}

fn open(dir: &Path) -> Streamlog {
    Streamlog::builder(dir).background_thread(false).open().expect("a log")
}

/// What this thread has used of the processor while it did that.
fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let begun = now();
    let done = work();
    (now() - begun, done)
}

/// The sealed `.log` files of the topic's partition.
fn sealed(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join(format!("{TOPIC}-0"))).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "log")).collect();
    paths.sort();
    paths.pop();
    paths
}

fn len(paths: &[PathBuf]) -> u64 {
    paths.iter().map(|path| fs::metadata(path).expect("a file").len()).sum()
}

/// Copies files, a mebibyte at a time, with a checksum of each page that is read and of each that is written.
fn copy(paths: &[PathBuf], to: &Path, sums: bool) -> u32 {
    let (mut buffer, mut sum) = (vec![0; MIB as usize], 0);
    for path in paths {
        let from = File::open(path).expect("a file");
        let to = File::create(to.join(path.file_name().expect("a name"))).expect("a file");
        let mut at = 0;
        loop {
            let read = from.read_at(&mut buffer, at).expect("bytes");
            if read == 0 {
                break;
            }
            // Once for what was read, and once for what is written.
            for _ in 0..if sums { 2 } else { 0 } {
                sum ^=
                    buffer[..read].chunks(64 << 10).fold(0, |sum, page| sum ^ crc_fast::crc32_iso_hdlc(page));
            }
            to.write_all_at(&buffer[..read], at).expect("space");
            at += read as u64;
        }
    }
    sum
}

/// All files of the topic's partition.
fn hold(dir: &Path) -> Vec<File> {
    let entries = fs::read_dir(dir.join(format!("{TOPIC}-0"))).expect("a directory");
    entries.map(|entry| File::open(entry.expect("an entry").path()).expect("a file")).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compact(log: &Streamlog) -> Compacted {
    log.compact_now(TOPIC, Compact::new()).expect("a compaction")
}

/// Deciding and rewriting, beside a copy.
fn cost(records: u64) {
    println!("Deciding and rewriting, in seconds of the processor, beside a plain copy of the same bytes:");
    println!("{:<44} {:>8} {:>8} {:>8} {:>7}", "", "MB", "copy", "compact", "times");
    let value = bytes(80);
    for (name, mix) in [
        ("a tenth of it lives", Mix { records, keys: Some(records / 10) }),
        ("63 % live, every batch is filtered", Mix { records: records / 2, keys: Some(records / 2) }),
    ] {
        let (mut copies, mut compactions, mut size) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let log = filled(mix, true, &value);
            log.partition().flush().expect("a checkpoint");
            let paths = sealed(log.dir.path());
            size = len(&paths);
            let to = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            copies.push(time(|| std::hint::black_box(copy(&paths, to.path(), true))).0.as_secs_f64());
            drop(to);
            // A copy removes nothing: the files that give way are gone only when these are closed.
            let held = hold(log.dir.path());
            let (took, done) = time(|| compact(&log.log));
            drop(held);
            assert!(done.records_after < done.records_before, "{done:?}");
            compactions.push(took.as_secs_f64());
        }
        let times = median(copies.iter().zip(&compactions).map(|(copy, compact)| compact / copy).collect());
        let (copy, compact) = (median(copies), median(compactions));
        let name = format!("{name}, {} records", mix.records);
        println!("{name:<44} {:>8} {copy:>8.3} {compact:>8.3} {times:>7.2}", size / 1_000_000);
    }
    println!();
}

/// The pass after a roll, with files of keys and without.
fn keys(records: u64) {
    println!("The pass after a roll, in nanoseconds of the processor for a record:");
    println!("{:<44} {:>8} {:>8} {:>8}", "", "without", "with", "more");
    let (value, mix) = (bytes(80), Mix { records, keys: Some(records) });
    let pass = |compacts| {
        let log = filled(mix, compacts, &value);
        time(|| log.partition().flush().expect("a checkpoint")).0.as_nanos() as f64 / records as f64
    };
    let passes: Vec<_> = (0..ROUNDS).map(|_| (pass(false), pass(true))).collect();
    let more = median(passes.iter().map(|(without, with)| with - without).collect());
    let (without, with): (Vec<f64>, Vec<f64>) = passes.into_iter().unzip();
    let (without, with) = (median(without), median(with));
    println!("{:<44} {without:>8.1} {with:>8.1} {more:>8.1}\n", format!("{records} records"));
}

/// The peak of memory above that of the idle log: files of keys are built, records decided, segments rewritten.
fn memory(records: u64) {
    if !Path::new("/proc/self/clear_refs").exists() {
        return println!("SKIPPED: only Linux says the peak of memory.\n");
    }
    println!(
        "The peak of memory while files of keys are built and a log is compacted, in MiB above the idle log:"
    );
    println!("{:<44} {:>8} {:>8}", "", "all", "its own");
    let value = bytes(8);
    for (name, keys) in [
        ("one key", Some(1)),
        ("drawn from a tenth as many keys", Some(records / 10)),
        ("drawn from as many keys", Some(records)),
        ("a key each", None),
    ] {
        let dir = filled(Mix { records, keys }, true, &value).close();
        for entry in fs::read_dir(dir.path().join(format!("{TOPIC}-0"))).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ext| ext == "keys") {
                fs::remove_file(path).expect("a file");
            }
        }
        let mut child = Command::new(std::env::current_exe().expect("a program"));
        let output = child.arg(CHILD).arg(dir.path()).output().expect("a child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let kib: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let name = format!("{records} records, {name}");
        println!("{name:<44} {:>8.1} {:>8.1}", kib[0] / 1024.0, kib[1] / 1024.0);
    }
    println!();
}

/// The child: KiB of memory above the idle log, with the mapped pages of files and without.
fn be_a_child(dir: &Path) {
    let number = |field: &str| {
        let status = fs::read_to_string("/proc/self/status").expect("a status");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a line");
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    let log = open(dir);
    let before = (number("VmRSS:"), number("RssAnon:"));
    fs::write("/proc/self/clear_refs", "5").expect("a new peak");
    // The peak of what is not a file's is known at the times of the looks alone.
    let mut own = 0;
    let options = Compact::new().on_progress(|_| {
        own = own.max(number("RssAnon:"));
        true
    });
    log.compact_now(TOPIC, options).expect("a compaction");
    println!("{} {}", number("VmHWM:").saturating_sub(before.0), own.saturating_sub(before.1));
}

/// What a compaction of a clean log writes.
fn clean(mib: u64) {
    let value = bytes(80);
    let records = mib * MIB / 106;
    let log = filled(Mix { records, keys: None }, true, &value);
    // One record of each segment goes, so that it was compacted once.
    for i in (0..records).step_by(100_000) {
        append(&log.partition(), &[format!("user-{i:011x}")], &value, 1 << 35);
    }
    let first = compact(&log.log);
    let dir = log.dir.path().join(format!("{TOPIC}-0"));
    let before = identities(&dir);
    let written = bytes_written();
    let (took, done) = time(|| {
        let done = compact(&log.log);
        log.log.maintain().expect("maintenance");
        done
    });
    let written = bytes_written().zip(written).map(|(after, before)| after - before);
    assert!(first.segments_rewritten > 0 && done.segments_rewritten == 0, "{first:?} {done:?}");
    assert!(before == identities(&dir), "a file was written");
    let bytes: u64 = before.values().map(|(_, len, _)| len).sum();
    println!("Compacting a clean log of {} MiB, and maintenance: no .log was touched;", bytes / MIB);
    println!(
        "{} bytes were written in all, in {:.3} s of the processor\n",
        written.map_or("?".into(), |w| w.to_string()),
        took.as_secs_f64()
    );
}

/// Inode, length and time of each `.log`.
fn identities(dir: &Path) -> BTreeMap<PathBuf, (u64, u64, SystemTime)> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let logs = entries.filter(|path| path.extension().is_some_and(|ext| ext == "log"));
    let of = |path: PathBuf| {
        let found = fs::metadata(&path).expect("a file");
        (path, (found.ino(), found.len(), found.modified().expect("a time")))
    };
    logs.map(of).collect()
}

/// How many bytes this process has given to the system to be written.
fn bytes_written() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar: "))?.trim().parse().ok()
}

/// A turn beside Kafka's cleaner: seconds of the processor without and with the files of keys, and bytes.
fn beside_kafka(file: &Path, records: u64) {
    let log = filled(Mix { records, keys: Some(records / 10) }, true, &bytes(80));
    let size = len(&sealed(log.dir.path()));
    let (keys, ()) = time(|| log.partition().flush().expect("a checkpoint"));
    // Kafka removes files later, and so does this.
    let held = hold(log.dir.path());
    let (compaction, done) = time(|| compact(&log.log));
    drop(held);
    assert!(done.records_after < done.records_before, "{done:?}");
    let mut file = File::create(file).expect("a file");
    let (compaction, keys) = (compaction.as_secs_f64(), keys.as_secs_f64());
    writeln!(file, "{compaction} {} {size}", compaction + keys).expect("space");
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let is_test = arguments.iter().any(|word| word == "--test");
    let records = number("RECORDS", if is_test { 20_000 } else { 1_000_000 });
    let mib = number("CLEAN_MIB", if is_test { 4 } else { 1024 });
    match &arguments[..] {
        [child, dir] if child == CHILD => return be_a_child(Path::new(dir)),
        [kafka, file] if kafka == "kafka" => return beside_kafka(Path::new(file), records),
        _ => {}
    }
    let is_asked = |name: &str| is_test || arguments.is_empty() || arguments.iter().any(|word| word == name);
    if is_asked("cost") {
        cost(records);
    }
    if is_asked("keys") {
        keys(records);
    }
    if is_asked("memory") {
        memory(records);
    }
    if is_asked("clean") {
        clean(mib);
    }
}
