//! Compacted partitions as others read them: a strict reader of Kafka's files, and Kafka's own loader and cleaner.
//!
//! The reader is `shared/tools/kafkafiles.py` beside the repository. Kafka's classes are asked where `STREAMLOG_KAFKA` names
//! a directory of its jars (of version 4.2, as `benches/peers/kafka/measure.py` fetches them). Where one is missing, the
//! tests that need it say so and pass.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use streamlog::{
    Partition, RecordData, Streamlog, Timestamp, TopicConfig,
    admin::{Compact, Compacted},
    config::{Builder, CleanupPolicy, Compression, ConfigChange, TimestampType},
    dir::PartitionDir,
    planted,
    records::OwnedRecord,
    sim::{Crash, Recording, SimEnv},
};
use support::{Random, quick_dir, seed};

const RETENTION: Duration = Duration::from_secs(100);
const START: i64 = 1_767_225_600_000;

/// Where the strict reader lies.
fn strict_reader() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = above.map(|dir| dir.join("shared/tools/kafkafiles.py")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no shared/tools/kafkafiles.py beside the repository");
        return None;
    }
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no python3, which kafkafiles.py needs");
        return None;
    }
    found
}

fn check_strictly(reader: &Path, data: &Path) {
    let done = Command::new("python3").arg(reader).arg("check").arg(data).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
}

/// Where Kafka's jars lie.
fn kafka() -> Option<PathBuf> {
    let found = std::env::var_os("STREAMLOG_KAFKA").map(PathBuf::from);
    if found.is_none() {
        eprintln!("SKIPPED: STREAMLOG_KAFKA names no directory of Kafka's jars");
    }
    found
}

/// What Kafka's classes say of each of these orders, by directory.
fn ask_kafka(jars: &Path, orders: &[String]) -> BTreeMap<PathBuf, Vec<String>> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/Compacted.java");
    let mut java = Command::new("java")
        .args(["-Xmx512m", "-cp", &format!("{}/*", jars.display())])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = java.stdin.take().unwrap();
    let input = orders.join("\n");
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let done = java.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (mut found, mut dir) = (BTreeMap::new(), PathBuf::new());
    for line in String::from_utf8(done.stdout).unwrap().lines() {
        match line.strip_prefix("dir ") {
            Some(path) => dir = path.into(),
            None => found.entry(dir.clone()).or_insert_with(Vec::new).push(line.to_string()),
        }
    }
    assert_eq!(found.len(), orders.len());
    found
}

fn load(dir: &Path) -> String {
    format!("load {}", dir.display())
}

/// Writes the files of a simulated machine below `from` into `to`.
fn put_files(env: &SimEnv, from: &str, to: &Path) {
    for (path, content) in env.files() {
        let Some(path) = path.strip_prefix(from) else { continue };
        let path = to.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn open(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/data").background_thread(false).open().unwrap()
}

fn partition(log: &Streamlog, topic: &str) -> Partition {
    log.topic(topic).unwrap().partition(0).unwrap()
}

/// Has all of a topic sealed, and nothing compacted.
fn seal(log: &Streamlog, topic: &str) {
    // Where there is nothing to be read, nobody is asked.
    let _ = log.compact_now(topic, Compact::new().on_progress(|_| false));
}

/// Topics of every kind, filled and compacted round after round.
struct World {
    env: SimEnv,
    log: Streamlog,
    random: Random,
    topics: Vec<String>,
}

/// Those of which Kafka's cleaner keeps the same: it knows neither versions nor what retention took.
const AS_KAFKA: u64 = 24;
const TOPICS: u64 = 27;

fn segment_bytes(topic: u64) -> u64 {
    [700, 3000, 20_000][topic as usize % 3]
}

fn config(topic: u64) -> TopicConfig {
    let codecs = [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Snappy];
    let kinds = [TimestampType::CreateTime, TimestampType::LogAppendTime];
    let config = TopicConfig::default()
        .segment_bytes(segment_bytes(topic))
        .index_interval_bytes(0)
        .delete_retention(RETENTION)
        .compression(codecs[topic as usize % 4])
        .message_timestamp_type(kinds[topic as usize / 4 % 2])
        // Records without a key come before it compacts.
        .cleanup_policy(CleanupPolicy::Delete);
    match topic.checked_sub(AS_KAFKA) {
        None => config,
        Some(0) => config.compaction_versions(2),
        Some(more) => config.retention_time(Duration::from_secs(more * 40)),
    }
}

fn policy(topic: u64) -> &'static str {
    if topic > AS_KAFKA { "compact,delete" } else { "compact" }
}

impl World {
    fn new(seed: u64) -> World {
        let env = SimEnv::new(seed);
        env.set_wall_clock(Timestamp::from_millis(START));
        let log = open(&env);
        let topics: Vec<String> = (0..TOPICS).map(|i| format!("t{i:02}")).collect();
        for (i, topic) in (0..).zip(&topics) {
            log.create_topic(topic, config(i)).unwrap();
        }
        let mut world = World { env, log, random: Random(seed), topics };
        world.append(true);
        for (i, topic) in (0..).zip(&world.topics) {
            let change = ConfigChange::set("cleanup.policy", policy(i));
            world.log.alter_topic(topic, &[change]).unwrap();
        }
        world
    }

    fn append(&mut self, with_null_keys: bool) {
        let World { log, random, topics, .. } = self;
        for topic in topics {
            for _ in 0..random.below(20) {
                let records = (0..=random.below(5)).map(|_| record(random, with_null_keys));
                partition(log, topic).append(&records.collect::<Vec<_>>()).unwrap();
            }
        }
    }

    fn compact(&self, sum: &mut Compacted) {
        for topic in &self.topics {
            let done = self.log.compact_now(topic, Compact::new()).unwrap();
            sum.records_before += done.records_before;
            sum.records_after += done.records_after;
            sum.null_keys += done.null_keys;
            sum.tombstones += done.tombstones;
        }
        self.log.maintain().unwrap();
    }

    /// Closes the log, takes its files, and opens it.
    fn files(&mut self, to: &Path) {
        self.log.clone().close().unwrap();
        put_files(&self.env, "/data/", to);
        self.log = open(&self.env);
    }
}

fn record(random: &mut Random, with_null_keys: bool) -> RecordData<'static> {
    let key = format!("key {}", random.below(12));
    let value = format!("value {}", random.below(1000)).repeat(random.below(4) as usize);
    let mut record = match random.below(5) {
        0 => RecordData::tombstone(key),
        1 if with_null_keys => RecordData::new(value),
        _ => RecordData::new(value).key(key),
    };
    if random.below(3) == 0 {
        record = record.header("h", format!("{}", random.below(10))).null_header("none");
    }
    record.timestamp(Timestamp::from_millis(START - random.below(1000) as i64))
}

/// The files before and after a round, and when it was.
struct Round {
    before: PathBuf,
    after: PathBuf,
    now: i64,
}

/// Four rounds, of which the later ones come after the horizons of the first ones.
fn rounds(to: &Path) -> Vec<Round> {
    let mut world = World::new(seed());
    let (mut rounds, mut now, mut sum) = (Vec::new(), START, Compacted::default());
    for (round, pause) in [1, 50, 60, 101].into_iter().enumerate() {
        world.env.advance(Duration::from_secs(pause));
        now += pause as i64 * 1000;
        world.append(false);
        world.topics.iter().for_each(|topic| seal(&world.log, topic));
        let [before, after] = ["before", "after"].map(|when| to.join(format!("{when}-{round}")));
        world.files(&before);
        world.compact(&mut sum);
        world.files(&after);
        rounds.push(Round { before, after, now });
    }
    assert!(sum.records_before > sum.records_after + 1000, "{sum:?}");
    assert!(sum.null_keys > 30 && sum.tombstones > 10, "{sum:?}");
    rounds
}

#[test]
fn a_strict_reader_of_kafkas_files_accepts_them_after_every_kind_of_round() {
    let Some(reader) = strict_reader() else { return };
    let dir = quick_dir();
    for round in rounds(dir.path()) {
        check_strictly(&reader, &round.after);
    }
}

#[test]
fn kafkas_cleaner_keeps_what_ours_kept_and_changes_nothing_of_it() {
    let Some(jars) = kafka() else { return };
    let dir = quick_dir();
    let (mut orders, mut partitions) = (Vec::new(), Vec::new());
    for Round { before, after, now } in rounds(dir.path()) {
        for topic in 0..AS_KAFKA {
            let clean = |dir: &Path| {
                let (retention, bytes) = (RETENTION.as_millis(), segment_bytes(topic));
                format!("clean {now} {retention} {bytes} {}", dir.display())
            };
            let name = format!("t{topic:02}-0");
            let [ours, theirs, again] =
                [after.join(&name), before.join(&name), before.join("again").join(&name)];
            support::image(&ours, &again);
            orders.extend([load(&ours), clean(&theirs), clean(&again)]);
            partitions.push([ours, theirs, again]);
        }
    }
    let said = ask_kafka(&jars, &orders);
    for dirs in partitions {
        let [ours, theirs, again] = dirs.each_ref().map(|dir| said[dir].join("\n"));
        let dir = dirs[0].display();
        assert_eq!(ours, theirs, "{dir}: what ours left, and what Kafka's cleaner made of the same");
        assert_eq!(ours, again, "{dir}: what ours left, and what Kafka's cleaner left of it");
    }
}

/// Two rounds in which segments are joined, and some become two: tombstones take more room once they have a horizon. What
/// the batches at the end of a segment held is dead.
fn of_swaps(env: &SimEnv) -> (Streamlog, Recording) {
    env.set_wall_clock(Timestamp::from_millis(START));
    let (log, year) = (open(env), Duration::from_secs(365 * 24 * 60 * 60));
    let config = TopicConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .segment_bytes(1000)
        .delete_retention(year);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    let put = |keys: Range<u64>, tombstones: u64| {
        for first in keys.step_by(8) {
            let record = |key: u64| match key % 8 < tombstones {
                true => RecordData::tombstone(key.to_string()),
                false => RecordData::new("value").key(key.to_string()),
            };
            partition.append(&(first..first + 8).map(record).collect::<Vec<_>>()).unwrap();
        }
    };
    for keys in [300..308, 200..208, 200..208] {
        put(keys, 0);
        seal(&log, "t");
    }
    put(200..208, 0);
    put(0..80, 0);
    put(40..120, 8);
    log.compact_now("t", Compact::new()).unwrap();
    env.advance(year);
    put(0..40, 0);
    put(1000..1160, 1);
    seal(&log, "t");
    env.record();
    log.compact_now("t", Compact::new()).unwrap();
    (log, env.recording())
}

/// The machines that such a death leaves, each once.
fn left_by_deaths(recording: &Recording, crashes: &[Crash]) -> Vec<SimEnv> {
    let (mut cursor, mut left) = (recording.cursor(), BTreeMap::new());
    while cursor.advance().is_some() {
        for (seed, crash) in (0..).zip(crashes) {
            let env = cursor.crash(*crash, seed);
            left.entry(env.files()).or_insert(env);
        }
    }
    left.into_values().collect()
}

/// What a table has that is made of these records, as Kafka's side prints them.
fn table<'a>(records: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, &'a str> {
    let mut table = BTreeMap::new();
    for record in records {
        let mut words = record.split(' ').skip(3);
        match (words.next().unwrap(), words.next().unwrap()) {
            (key, "null") => table.remove(key),
            (key, value) => table.insert(key, value),
        };
    }
    table
}

fn shown(partition: &Partition) -> Vec<String> {
    let part = |part: &Option<bytes::Bytes>| match part {
        Some(part) => part.iter().fold("x".to_string(), |text, byte| format!("{text}{byte:02x}")),
        None => "null".to_string(),
    };
    let shown = |r: OwnedRecord| {
        format!("record {} {} {} {}", r.offset, r.timestamp.as_millis(), part(&r.key), part(&r.value))
    };
    partition.records(0).map(|record| shown(record.unwrap())).collect()
}

#[test]
fn a_death_in_a_swap_leaves_what_a_broker_loads_as_the_same_table() {
    let deaths = || {
        let env = SimEnv::new(seed());
        let (log, recording) = of_swaps(&env);
        let last = shown(&partition(&log, "t"));
        let expected = table(last.iter().map(String::as_str));
        let dir = quick_dir();
        let left = left_by_deaths(&recording, &[Crash::Kill]);
        assert!(left.len() > 50, "{}", left.len());
        for (i, env) in left.iter().enumerate() {
            let to = dir.path().join(i.to_string());
            put_files(env, "/data/t-0/", &to);
            // Without a manifest beside it, it loads as a broker does.
            let loaded = shown(&PartitionDir::open_read_only(&to).unwrap());
            assert_eq!(table(loaded.iter().map(String::as_str)), expected, "{:?}", env.files().keys());
        }
    };
    planted::hold(deaths, &["the_first_of_a_swap_goes_first"]);
}

#[test]
fn kafkas_loader_completes_or_abandons_a_swap_wherever_a_death_cut_it_short() {
    let Some(jars) = kafka() else { return };
    let dir = quick_dir();
    let env = SimEnv::new(seed());
    let (log, recording) = of_swaps(&env);
    let (mut orders, mut found) = (Vec::new(), Vec::new());
    for (i, env) in left_by_deaths(&recording, &Crash::ALL).iter().enumerate() {
        let to = dir.path().join(i.to_string()).join("t-0");
        put_files(env, "/data/t-0/", &to);
        orders.push(load(&to));
        found.push((shown(&PartitionDir::open_read_only(&to).unwrap()), to));
    }
    let last = shown(&partition(&log, "t"));
    let expected = table(last.iter().map(String::as_str));
    let end = format!("end 0 {}", partition(&log, "t").log_end_offset());
    let said = ask_kafka(&jars, &orders);
    for (ours, dir) in found {
        let (records, rest): (Vec<&String>, Vec<&String>) = said[&dir]
            .iter()
            .filter(|line| !line.starts_with("batch "))
            .partition(|line| line.starts_with("record "));
        assert_eq!(rest, [&end], "{}: no failure, and nothing left over", dir.display());
        assert_eq!(records, ours.iter().collect::<Vec<_>>(), "{}: as `PartitionDir` reads it", dir.display());
        assert_eq!(table(records.into_iter().map(String::as_str)), expected, "{}", dir.display());
    }
}

#[test]
fn a_power_cut_leaves_nothing_after_the_batches_of_what_was_sealed_to_be_compacted() {
    let env = SimEnv::new(seed());
    let (log, _) = of_swaps(&env);
    partition(&log, "t").append(&[RecordData::new("value").key("k")]).unwrap();
    seal(&log, "t");
    let logs = |env: &SimEnv| {
        let files = env.files().into_iter().filter(|(path, _)| path.starts_with("/data/t-0/"));
        files.filter(|(path, _)| path.ends_with(".log")).collect::<BTreeMap<_, _>>()
    };
    for crash in Crash::ALL {
        // A broker takes zeros after them for the end of the log.
        assert!(logs(&env.crash(crash, 1)) == logs(&env), "{crash:?}");
    }
}
