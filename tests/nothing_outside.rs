//! A directory of a stranger's, in which a name of ours stands for something else: a link, a FIFO, a socket, a device, a
//! directory where a file belongs, a file that has another name as well. Whatever is done with it, nothing outside is read
//! into it, changed or removed, nothing is waited for, and what is answered is right or names what is there. (I1, I13, I14)
//!
//! The names are all those of a store and those that it may come to use: of files that replace others, of segments and
//! topics to come, of what is on its way to be deleted. Each is tried with everything that a machine lets a test make.
//!
//! `STREAMLOG_HOSTILE=name:thing` tries one, `all` each name with everything. Where strace is missing or may not trace,
//! its test says so and is skipped.

#![cfg(unix)]

mod support;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, symlink},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};
use streamlog::{Error, Offset, RecordData, Streamlog, TopicConfig, dir::PartitionDir};
use support::*;

/// More than any of it takes. What is not done by then waits for somebody.
const PATIENCE: Duration = Duration::from_secs(120);
const RECORDS: u64 = 12;
const TOPICS: [&str; 2] = ["t", "u"];
const GROUP: &str = "readers";
/// Names that no store has while it is closed, or ever.
const TO_COME: [&str; 22] = [
    "manifest.tmp",
    "meta.properties.tmp",
    "log-start-offset-checkpoint.tmp",
    ".kafka_cleanshutdown.tmp",
    "t-0/00000000000000000000.txnindex",
    "t-0/00000000000000000000.log.tmp",
    "t-0/00000000000000000012.index",
    "t-0/00000000000000000013.log",
    "t-0/00000000000000000013.snapshot",
    "t-0/00000000000000000099.log.aside",
    "t-0/leader-epoch-checkpoint.tmp",
    "t-0/00000000000000000000.keys",
    "t-0/00000000000000000000.keys.tmp",
    "t-0/00000000000000000000.log.cleaned",
    "t-0/00000000000000000000.log.swap",
    "t-0/00000000000000000000.pages.cleaned",
    "cleaner-offset-checkpoint.tmp",
    "__consumer_offsets-0/consumer-offsets.snapshot.tmp",
    "t-7",
    "new-0",
    "t-0.0123456789abcdef0123456789abcdef-delete",
    "u-0.0123456789abcdef0123456789abcdef-stray",
];
const THINGS: [&str; 9] =
    ["link-to-file", "link-to-dir", "fifo", "dir", "other-name", "dangling-link", "loop", "socket", "device"];
/// Of those that come last each name gets one, unless all are asked for: they are refused in the same place.
const LAST: usize = 4;

fn open(dir: &Path, read_only: bool) -> Result<Streamlog, Error> {
    // A few commits get their sidecar.
    let builder = Streamlog::builder(dir).background_thread(false).offsets_upkeep(4000, 1, 100_000);
    builder.read_only(read_only).open()
}

/// A store with sealed segments, commits and every kind of file; closed, or as a process leaves it that is killed.
fn build(dir: &Path, closed: bool) {
    let home = tempfile::tempdir().unwrap();
    let made = if closed { dir.to_path_buf() } else { home.path().join("log") };
    let log = open(&made, false).unwrap();
    for topic in TOPICS {
        let config = TopicConfig::default().segment_bytes(700).index_interval_bytes(100);
        let partition = log.create_topic(topic, config).unwrap().partition(0).unwrap();
        (0..RECORDS).for_each(|i| append_batch(&partition, i..i + 1).unwrap());
        let mut consumer = log.consumer(GROUP).unwrap();
        consumer.commit_offsets([(partition.topic_partition().clone(), Offset::new(3))]).unwrap();
    }
    log.maintain().unwrap();
    if !closed {
        image(&made, dir);
    }
    log.close().unwrap();
}

/// The paths of files and directories below `dir`, from there.
fn names(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(names(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
        }
        found.push(name);
    }
    found
}

/// What is to stay as it is: of every name its kind, when it was changed, how many names it has, and its bytes.
fn state_of(dir: &Path) -> BTreeMap<String, (u32, i64, i64, u64, Vec<u8>)> {
    let of = |name: String| {
        let path = dir.join(&name);
        let found = fs::symlink_metadata(&path).unwrap();
        let bytes = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        (name, (found.mode(), found.mtime(), found.mtime_nsec(), found.size(), bytes))
    };
    names(dir).into_iter().map(of).collect()
}

/// Puts `thing` in the place of `at`. `outside` has a directory `dir`, which looks like a partition's, and, for each of
/// its files and others, something to lead to. `false` where it cannot be made.
fn put(thing: &str, at: &Path, outside: &Path) -> bool {
    let file = outside.join("file");
    let moved = at.with_file_name("moved");
    let was_file = at.is_file();
    let found = fs::rename(at, &moved).is_ok();
    match thing {
        // What it leads to is what was there: whoever follows finds nothing wrong.
        "link-to-file" if was_file => {
            fs::copy(&moved, &file).unwrap();
            symlink(&file, at).unwrap();
        }
        "link-to-file" => symlink(&file, at).unwrap(),
        "link-to-dir" => symlink(outside.join("dir"), at).unwrap(),
        "dangling-link" => symlink(outside.join("nothing"), at).unwrap(),
        "loop" => symlink(at, at).unwrap(),
        "fifo" => mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
        "socket" => drop(UnixListener::bind(at).unwrap()),
        "dir" => {
            fs::create_dir(at).unwrap();
            fs::write(at.join("precious"), "not ours").unwrap();
        }
        "device" => {
            let zero = rustix::fs::makedev(1, 5);
            let mode = Mode::from_raw_mode(0o600);
            if mknodat(CWD, at, FileType::CharacterDevice, mode, zero).is_err() {
                return false;
            }
        }
        "other-name" if was_file || !found => {
            if found {
                fs::copy(&moved, &file).unwrap();
            }
            fs::hard_link(&file, at).unwrap();
        }
        _ => return false,
    }
    if found && moved.is_dir() {
        fs::remove_dir_all(moved).unwrap();
    } else if found {
        fs::remove_file(moved).unwrap();
    }
    true
}

/// A name of a store, and what stands for it.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    thing: &'static str,
    dir: PathBuf,
}

impl Case {
    /// An error that says what is in the way, or what it makes impossible.
    fn excuse(&self, error: &Error) {
        let text = error.to_string();
        let (above, last) = self.name.rsplit_once('/').unwrap_or(("", &self.name));
        let stem = last.trim_end_matches(".tmp");
        if self.thing == "other-name" && TO_COME.contains(&&*self.name) {
            // A file, whose content is looked at where somebody asks for it.
            return;
        }
        match error {
            // Of a partition that could not be opened nothing is there.
            Error::OffsetOutOfRange { partition, .. } => {
                return assert!(self.concerns(&partition.topic), "{text}");
            }
            // Another directory in a partition's place has none of its files.
            Error::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                let path = path.to_str().unwrap();
                return assert!(
                    self.thing == "dir" && path.contains(&format!("/{last}/")),
                    "{self:?}: {text}"
                );
            }
            // A directory in one that is to be deleted is left where it is, and said to be.
            Error::Io { path, .. } if self.thing == "dir" => {
                let path = path.to_str().unwrap();
                return assert!(path.contains("-delete") && path.contains(above), "{self:?}: {text}");
            }
            _ => {}
        }
        let named = text.contains(stem) || (last.starts_with("00") && text.contains(&last[..20]));
        assert!(named, "{self:?}: {error:?}");
        let told = match self.thing {
            "link-to-file" | "link-to-dir" | "dangling-link" | "loop" => "a symbolic link",
            "fifo" => "a FIFO",
            "socket" => "a socket",
            "dir" if last.ends_with("-0") => "missing",
            "dir" => "a directory",
            "device" => "a device",
            _ => panic!("{self:?}: a file that has another name is a file: {error}"),
        };
        assert!(text.contains(told), "{self:?}: {error}");
    }

    /// Whether a partition may be hurt by it.
    fn concerns(&self, topic: &str) -> bool {
        self.name.starts_with(&format!("{topic}-"))
    }

    /// Whatever is read is right, and all of it where the partition is not the one that is hurt.
    fn read(&self, partition: &streamlog::Partition, topic: &str, at_least: u64) {
        match read_from(partition, 0) {
            (end, None) => assert!(end >= at_least, "{self:?}: {topic} ends at {end}"),
            (_, Some(error)) => {
                assert!(self.concerns(topic), "{self:?}: {topic}: {error}");
                self.excuse(&error);
            }
        }
    }

    fn write_and_read(&self) {
        let log = match open(&self.dir, false) {
            Ok(log) => log,
            Err(error) => return self.excuse(&error),
        };
        let excused = |result: Result<(), Error>| {
            if let Err(error) = result {
                self.excuse(&error);
            }
        };
        excused(log.disk_usage().map(drop));
        for name in TOPICS {
            let partition = log.topic(name).unwrap().partition(0).unwrap();
            self.read(&partition, name, RECORDS);
            let end = partition.log_end_offset().value();
            match append_batch(&partition, end..end + 1) {
                Ok(()) => assert_eq!(read_from(&partition, end).0, end + 1, "{self:?}"),
                Err(error) => {
                    assert!(self.concerns(name), "{self:?}: {name}: {error}");
                    excused(Err(error));
                }
            }
        }
        for group in [GROUP, "others"] {
            let committed = log.consumer(group).and_then(|mut consumer| {
                let u = log.topic("u")?.partition(0)?.topic_partition().clone();
                consumer.commit_offsets([(u, Offset::new(5))])
            });
            excused(committed);
        }
        let made = log
            .create_topic("new", TopicConfig::default())
            .and_then(|topic| topic.partition(0)?.append(&[RecordData::new("x")]).map(drop));
        excused(made);
        excused(log.delete_records("t", 0, 5).map(drop));
        excused(log.maintain());
        excused(log.delete_topic("u"));
        excused(log.maintain());
        for (_, error) in log.health().refusing {
            excused(Err(error));
        }
        excused(log.close());
    }

    fn only_read(&self) {
        let log = match open(&self.dir, true) {
            Ok(log) => log,
            Err(error) => return self.excuse(&error),
        };
        for name in TOPICS {
            let Ok(topic) = log.topic(name) else { continue };
            self.read(&topic.partition(0).unwrap(), name, 0);
        }
        let consumer = log.consumer(GROUP).unwrap();
        let t = log.topic("t").unwrap().partition(0).unwrap().topic_partition().clone();
        for result in [consumer.committed(&[t]).map(drop), log.disk_usage().map(drop), log.refresh()] {
            result.unwrap_or_else(|error| self.excuse(&error));
        }
        drop(consumer.close());
    }

    fn read_partitions(&self) {
        for name in ["t-0", "u-0", "__consumer_offsets-0", "t-7", "new-0"] {
            let dir = self.dir.join(name);
            // Where the directory itself is reached through a link, that was asked for.
            let Ok(found) = fs::symlink_metadata(&dir) else { continue };
            if !found.is_dir() {
                continue;
            }
            match PartitionDir::open_read_only(&dir) {
                Ok(partition) => {
                    if name.starts_with("__") || name == "new-0" {
                        partition.read(0).for_each(|batch| drop(batch.map_err(|e| self.excuse(&e))));
                    } else {
                        let start = partition.log_start_offset().value();
                        if let (_, Some(error)) = read_from(&partition, start) {
                            self.excuse(&error);
                        }
                    }
                    let sidecars = [
                        partition.topic_id().map(drop),
                        partition.producer_snapshots().map(drop),
                        partition.transaction_indexes().map(drop),
                    ];
                    sidecars.into_iter().for_each(|r| r.unwrap_or_else(|error| self.excuse(&error)));
                }
                // A directory of a name that begins like a partition's and has nothing in it is none.
                Err(Error::InvalidArgument { .. }) if self.thing == "dir" => {}
                Err(error) => self.excuse(&error),
            }
        }
    }
}

/// Runs `job`, which ends: nothing in it waits for anybody.
fn in_time<T: Send + 'static>(what: &str, job: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = channel();
    let running = thread::spawn(move || done.send(job()).unwrap());
    match is_done.recv_timeout(PATIENCE) {
        Ok(found) => found,
        Err(RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(running.join().unwrap_err()),
    }
}

/// A store and what is outside it, with `name` standing for `thing`.
fn prepare(golden: &Path, home: &Path, name: &str, thing: &'static str) -> Option<Case> {
    let (dir, outside) = (home.join("log"), home.join("outside"));
    image(golden, &dir);
    image(&golden.join("t-0"), &outside.join("dir"));
    fs::write(outside.join("file"), "precious").unwrap();
    put(thing, &dir.join(name), &outside).then(|| Case { name: name.to_string(), thing, dir })
}

fn try_all(closed: bool) {
    let home = quick_dir();
    let golden = home.path().join("golden");
    build(&golden, closed);
    let one = std::env::var("STREAMLOG_HOSTILE").ok();
    let mut cases = 0;
    for (i, name) in names(&golden).iter().map(String::as_str).chain(TO_COME).enumerate() {
        for (j, thing) in THINGS.into_iter().enumerate() {
            let is_tried = match one.as_deref() {
                Some("all") => true,
                Some(one) => *one == format!("{name}:{thing}"),
                None => j < THINGS.len() - LAST || (i + j) % LAST == usize::from(closed),
            };
            if !is_tried {
                continue;
            }
            for ways in 0..2 {
                let Some(case) = prepare(&golden, home.path(), name, thing) else { continue };
                let outside = home.path().join("outside");
                let before = state_of(&outside);
                let running = case.clone();
                in_time(&format!("{case:?}"), move || {
                    // Who reads first finds it as it was; who writes first may put it right.
                    if ways == 0 {
                        running.read_partitions();
                        running.only_read();
                    } else {
                        running.write_and_read();
                        running.read_partitions();
                    }
                });
                assert_eq!(state_of(&outside), before, "{case:?}");
                cases += 1;
            }
        }
    }
    assert!(cases > 0);
    println!("{cases} cases");
}

#[test]
fn what_stands_for_a_file_of_a_closed_store_is_not_opened_and_harms_nothing() {
    try_all(true);
}

#[test]
fn what_stands_for_a_file_of_a_killed_store_is_not_opened_and_harms_nothing() {
    try_all(false);
}

/// Copies a directory as `cp -al` does: its files get a second name.
fn link_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        if old.is_dir() { link_all(&old, &new) } else { fs::hard_link(old, new).unwrap() }
    }
}

#[test]
fn a_backup_by_hard_links_stays_as_it_was_whichever_is_opened() {
    for closed in [true, false] {
        for opens_backup in [true, false] {
            let home = quick_dir();
            let (dir, backup) = (home.path().join("log"), home.path().join("backup"));
            build(&dir, closed);
            link_all(&dir, &backup);
            let (opened, kept) = if opens_backup { (backup, dir) } else { (dir, backup) };
            let before = state_of(&kept);
            let case = Case { name: "none".into(), thing: "other-name", dir: opened };
            case.only_read();
            case.write_and_read();
            assert_eq!(state_of(&kept), before, "closed: {closed}");
            // And it can be used as it is.
            Case { dir: kept, ..case }.write_and_read();
        }
    }
}

/// Where a topic's name stands in a manifest that was patched, another name of the same length stands from then on.
fn rename_in_manifest(manifest: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(manifest).unwrap();
    // Before the name its length and the topic's id, before them the header of the record: its type, two zeros, the length
    // of the payload, and the checksum of these and of the payload.
    let text = [&(from.len() as u32).to_be_bytes(), from.as_bytes()].concat();
    let is_name = |at: &usize| bytes[*at..].starts_with(&text) && bytes[at - 28..].starts_with(&[0, 2, 0, 0]);
    let places: Vec<usize> = (28..bytes.len() - text.len()).filter(is_name).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 4..at + text.len()].copy_from_slice(to.as_bytes());
        let payload = at - 16;
        let header = payload - 12;
        let len = u32::from_be_bytes(bytes[header + 4..header + 8].try_into().unwrap()) as usize;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[header..header + 8]);
        hasher.update(&bytes[payload..payload + len]);
        bytes[header + 8..payload].copy_from_slice(&hasher.finalize().to_be_bytes());
    }
    fs::write(manifest, bytes).unwrap();
}

#[test]
fn a_manifest_cannot_name_a_topic_outside_its_directory() {
    for (from, to) in [
        ("outside-topic", "../outside/tp"),
        ("outside-topic", "tt/../../here"),
        ("outside-topic", "........./x/y"),
        ("dots", "../t"),
        ("it", ".."),
        ("i", "."),
        ("nul", "a\0b"),
    ] {
        for closed in [true, false] {
            let home = quick_dir();
            let (dir, outside) = (home.path().join("log"), home.path().join("outside"));
            let log = open(&dir, false).unwrap();
            let config = TopicConfig::default().segment_bytes(700);
            let partition = log.create_topic(from, config).unwrap().partition(0).unwrap();
            (0..RECORDS).for_each(|i| append_batch(&partition, i..i + 1).unwrap());
            if closed {
                log.close().unwrap();
            } else {
                // As a process leaves it that is killed, and with a torn tail to cut.
                image(&dir, &home.path().join("killed"));
                log.close().unwrap();
                image(&home.path().join("killed"), &dir);
            }
            image(&dir.join(format!("{from}-0")), &outside.join("tp-0"));
            image(&dir.join(format!("{from}-0")), &home.path().join("t-0"));
            rename_in_manifest(&dir.join("manifest"), from, to);
            let (mut before, ours) = (state_of(home.path()), state_of(&dir));
            before.retain(|name, _| !name.starts_with("log"));
            for read_only in [true, false] {
                match open(&dir, read_only) {
                    Err(Error::Corrupt { path, position, reason, .. }) => {
                        assert_eq!(path, dir.join("manifest"));
                        assert!(position > 28 && reason.contains("no topic's name"), "{position}: {reason}");
                    }
                    other => panic!("{to}: {other:?}"),
                }
            }
            let mut after = state_of(home.path());
            after.retain(|name, _| !name.starts_with("log"));
            assert_eq!(after, before, "{to}");
            let now = state_of(&dir);
            ours.iter()
                .filter(|(name, _)| *name != "LOCK")
                .for_each(|(name, was)| assert_eq!(now.get(name), Some(was)));
        }
    }
}

const TRACED: &str = "STREAMLOG_TEST_TRACED";

/// Not a test of its own: what strace looks at, when the program was started for that.
#[test]
fn traced() {
    let Ok(case) = std::env::var(TRACED) else { return };
    let (dir, name, thing) = {
        let mut parts = case.split('|');
        (parts.next().unwrap(), parts.next().unwrap().to_string(), parts.next().unwrap())
    };
    let thing = THINGS.into_iter().find(|known| *known == thing).unwrap();
    let case = Case { name, thing, dir: PathBuf::from(dir) };
    case.only_read();
    case.read_partitions();
    case.write_and_read();
}

/// What a process that does everything with a case's directory asks of the system, as lines.
fn trace(case: &Case) -> Vec<String> {
    let out = case.dir.with_file_name("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-s", "4096", "-e", "trace=%file,%desc", "-o"]).arg(&out);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "traced", "--test-threads=1"]);
    let of = format!("{}|{}|{}", case.dir.display(), case.name, case.thing);
    let output = command.env(TRACED, of).output().unwrap();
    assert!(output.status.success(), "{case:?}: {}", String::from_utf8_lossy(&output.stdout));
    fs::read_to_string(out).unwrap().lines().map(str::to_string).collect()
}

/// Why strace cannot be used, where it cannot.
fn no_strace() -> Option<String> {
    match Command::new("strace").args(["-f", "-qq", "-y", "-e", "trace=none", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("strace: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Some(format!("strace: {error}")),
    }
}

#[test]
fn no_path_outside_is_touched_and_no_name_inside_is_looked_up_through_a_link() {
    if let Some(why) = no_strace() {
        return println!("SKIPPED: {why}");
    }
    let home = quick_dir();
    let golden = home.path().join("golden");
    build(&golden, false);
    for (name, thing) in [
        // A second name of a file is nothing to be seen in a trace: this is the life of a sound store.
        ("t-0/00000000000000000000.log", "other-name"),
        ("t-0", "link-to-dir"),
        ("t-0/00000000000000000000.log", "link-to-file"),
        ("t-0.0123456789abcdef0123456789abcdef-delete", "link-to-dir"),
        ("u-0/leader-epoch-checkpoint.tmp", "link-to-file"),
        ("u-0/00000000000000000000.index", "link-to-file"),
    ] {
        let case = prepare(&golden, home.path(), name, thing).unwrap();
        let outside = home.path().join("outside");
        let before = state_of(&outside);
        let (dir, outside_text) = (case.dir.to_str().unwrap(), outside.to_str().unwrap());
        let mut looked_up = 0;
        for line in trace(&case) {
            assert!(!line.contains(outside_text), "{case:?}: {line}");
            // Below a directory that is held, by the path of its descriptor, or by a whole path.
            let below = line.contains(&format!("<{dir}")) || line.contains(&format!("\"{dir}/"));
            let (opens, looks) =
                (line.contains(" openat("), line.contains("fstatat(") || line.contains(" statx("));
            let itself = line.contains("\"\"") || line.contains("\".\"");
            if below && (opens || looks) && !itself && !line.contains(&format!(", \"{dir}\"")) {
                // A partition's directory that was asked for by its path may be reached through links.
                let asked = line.contains("O_PATH") && line.contains("AT_FDCWD");
                let without = if opens { "O_NOFOLLOW" } else { "AT_SYMLINK_NOFOLLOW" };
                assert!(asked || line.contains(without), "{case:?}: {line}");
                looked_up += 1;
            }
        }
        assert!(looked_up > 50, "{looked_up}");
        assert_eq!(state_of(&outside), before, "{case:?}");
    }
}
