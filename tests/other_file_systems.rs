//! What a killed process leaves is found again on every file system, wherever it keeps holes. (I1, I2, I3, I13)
//!
//! Recovery asks a file system where the zeros at the end of a file begin, and reads past its cache. So file systems of
//! several kinds are mounted, a writer with long files dies on each, and what it left is opened as it is and as copies:
//! one with every zero written out, one with a hole wherever a block has nothing but zeros, and both of these again after
//! bytes in the middle were lost. All that should be equal is, and every record is the right one.
//!
//! It takes Linux, root, loop devices, each file system's mkfs, and `STREAMLOG_TEST_FILE_SYSTEMS=1`; where something lacks,
//! the test says so and goes on.

#![cfg(target_os = "linux")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};
use streamlog::{Durability, RecordData, Streamlog, TopicConfig, admin::RecoveryVerdict};
use support::*;

const WRITER: &str = "STREAMLOG_TEST_WRITER";
const TOPICS: [(&str, Durability); 2] = [("flushed", Durability::Flushed), ("written", Durability::Written)];
/// The file has holes.
const IMAGE_BYTES: u64 = 400 << 20;
const LIVES: u64 = 3;
/// A life may end after this many acknowledged appends. It is counted in appends and not in time, so that three copies of
/// what all lives wrote have room in an image however fast the machine is.
const APPENDS: u64 = 400;

/// What lies at an offset, which may have zeros in it, and at its end, of more than a block.
fn content(offset: u64) -> Vec<u8> {
    let mut random = Random(offset);
    let mut content = format!("{offset} ").into_bytes();
    for _ in 0..random.below(3) {
        content.resize(content.len() + random.below(9000) as usize, random.below(256) as u8);
        content.resize(content.len() + random.below(2) as usize * random.below(9000) as usize, 0);
    }
    content
}

/// Not a test of its own: this is the writer, when the program was started as one.
#[test]
fn writer() {
    let Ok(dir) = std::env::var(WRITER) else { return };
    let log = Streamlog::open(dir).unwrap();
    let partitions = TOPICS.map(|(name, durability)| {
        let config = TopicConfig::default().durability(durability);
        log.topic_or_create(name, config).unwrap().partition(0).unwrap()
    });
    println!();
    // A little more than any life needs: the process that kills this one may be slow to read.
    for round in 0..APPENDS + 400 {
        let which = usize::from(round % 4 > 0);
        let partition = &partitions[which];
        let end = partition.log_end_offset().value();
        let values: Vec<_> = (end..end + 1 + round % 5).map(content).collect();
        let records: Vec<_> = values.iter().map(RecordData::new).collect();
        let given = partition.append(&records).unwrap();
        writeln!(std::io::stdout(), "acknowledged {which} {}", given.end).unwrap();
        // Most of it is left to recovery.
        if round == 99 {
            partition.flush().unwrap();
        }
    }
    loop {
        std::thread::park();
    }
}

/// Lets a writer live for so many acknowledged appends, and says up to where each partition was acknowledged.
fn live_and_die(dir: &Path, appends: u64) -> [u64; 2] {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture", "--test-threads", "1"])
        .env(WRITER, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(writer.stdout.take().unwrap());
    let (wrote, enough) = mpsc::channel();
    let ends = std::thread::spawn(move || {
        let (mut ends, mut acknowledged) = ([0; 2], 0);
        for line in output.lines().map(Result::unwrap) {
            let mut words = line.strip_prefix("acknowledged ").unwrap_or_default().split(' ');
            // A line that the kill cut short says nothing, or a smaller number.
            let (Some(which), Some(end)) = (words.next(), words.next()) else { continue };
            let (Ok(which), Ok(end)) = (which.parse::<usize>(), end.parse::<u64>()) else { continue };
            ends[which] = end.max(ends[which]);
            acknowledged += 1;
            if acknowledged == appends {
                let _ = wrote.send(());
            }
        }
        ends
    });
    enough.recv().expect("the writer appends until it is killed");
    writer.kill().unwrap();
    assert_eq!(writer.wait().unwrap().code(), None, "the writer ends by being killed only");
    ends.join().unwrap()
}

/// What an opening finds: of each partition its verdict, without paths, where it ends, and which records can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State(Vec<(String, u64, Vec<u64>)>);

fn state(dir: &Path) -> State {
    let log = Streamlog::open(dir).unwrap();
    let mut found = Vec::new();
    for (name, _) in TOPICS {
        let Ok(topic) = log.topic(name) else { continue };
        let partition = topic.partition(0).unwrap();
        let report = log.recovery_report();
        let of_it = report.partitions.iter().find(|found| found.partition == *partition.topic_partition());
        let verdict = match &of_it.expect("it was recovered").verdict {
            RecoveryVerdict::Whole => "whole".into(),
            RecoveryVerdict::TornTail { position, dropped_bytes, reason, whole_batches_beyond, .. } => {
                format!("torn at {position}, {dropped_bytes} bytes, {whole_batches_beyond} batches: {reason}")
            }
            RecoveryVerdict::Damage { position, reason, .. } => format!("damage at {position}: {reason}"),
            other => panic!("{other:?}"),
        };
        let (mut offsets, mut from, end) = (Vec::new(), 0, partition.log_end_offset().value());
        while from < end {
            for batch in partition.read(from) {
                let Ok(batch) = batch else { break };
                for record in &batch {
                    let offset = record.offset.value();
                    assert!(record.value == Some(&content(offset)), "{name}: offset {offset}");
                    offsets.push(offset);
                    from = offset;
                }
            }
            from += 1;
        }
        found.push((verdict, end, offsets));
    }
    State(found)
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// A copy, with zeros as holes wherever they are, or with none.
fn copy(from: &Path, to: &Path, sparse: bool) {
    drop(fs::remove_dir_all(to));
    let how = if sparse { "--sparse=always" } else { "--sparse=never" };
    run(Command::new("cp").args(["-r", how]).arg(from).arg(to)).unwrap();
}

/// Makes zeros of some blocks in the middle of each topic's data: the same ones each time.
fn lose_the_middle(dir: &Path, seed: u64) {
    for (name, _) in TOPICS {
        for log in files(&dir.join(format!("{name}-0")), "log") {
            let end = places(&log).last().map_or(0, |last| last.end);
            let at = Random(seed).below(end.max(1));
            let lost = (end - at.min(end)).min(40_000);
            let file = fs::File::options().write(true).open(&log).unwrap();
            file.write_all_at(&vec![0; lost as usize], at).unwrap();
        }
    }
}

struct Mounted {
    root: tempfile::TempDir,
    /// Under the root, in the order in which they were mounted.
    at: Vec<PathBuf>,
}

impl Mounted {
    fn mount(mkfs: &[&str], options: &str) -> Result<Mounted, String> {
        may_mount()?;
        let mut mounted = Mounted { root: quick_dir(), at: Vec::new() };
        let image = mounted.root.path().join("image");
        fs::File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image))?;
        mounted.mount_as("mounted", &["-o", &format!("loop,{options}"), image.to_str().unwrap()])?;
        Ok(mounted)
    }

    fn tmpfs() -> Result<Mounted, String> {
        may_mount()?;
        let mut mounted = Mounted { root: quick_dir(), at: Vec::new() };
        mounted.mount_as("mounted", &["-t", "tmpfs", "-o", "size=400m", "tmpfs"])?;
        Ok(mounted)
    }

    fn overlay() -> Result<Mounted, String> {
        let mut mounted = Mounted::tmpfs()?;
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| mounted.dir().join(name));
        for dir in [&lower, &upper, &work] {
            fs::create_dir(dir).unwrap();
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        mounted.mount_as("over", &["-t", "overlay", "-o", &options, "overlay"])?;
        Ok(mounted)
    }

    fn mount_as(&mut self, name: &str, arguments: &[&str]) -> Result<(), String> {
        let dir = self.root.path().join(name);
        fs::create_dir(&dir).unwrap();
        run(Command::new("mount").args(arguments).arg(&dir))?;
        self.at.push(dir);
        Ok(())
    }

    fn dir(&self) -> &Path {
        self.at.last().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for dir in self.at.iter().rev() {
            let ends = Instant::now() + Duration::from_secs(1);
            // A program that another thread starts meanwhile has our open files until it begins.
            while run(Command::new("umount").arg(dir)).is_err() && Instant::now() < ends {
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(run(Command::new("umount").arg("--lazy").arg(dir)));
        }
    }
}

fn live_and_die_on(name: &str, mounted: Result<Mounted, String>) {
    let mounted = match mounted {
        Ok(mounted) => mounted,
        Err(why) => return println!("SKIPPED: {name}: {why}"),
    };
    let dir = mounted.dir().join("log");
    let (other, again) = (mounted.dir().join("copy"), mounted.dir().join("again"));
    let mut random = Random(seed());
    let (mut told, mut records) = (Vec::new(), 0);
    for life in 0..LIVES {
        let ends = live_and_die(&dir, 1 + random.below(APPENDS));
        let seed = random.next();
        let [mut seen, mut damaged] = [None, None];
        for sparse in [false, true] {
            copy(&dir, &other, sparse);
            same(&mut seen, state(&other), name, life);
            // The same damage, which is a hole then or is none.
            copy(&dir, &other, false);
            lose_the_middle(&other, seed);
            copy(&other, &again, sparse);
            same(&mut damaged, state(&again), name, life);
        }
        told.extend(damaged.into_iter().flat_map(|State(found)| found).map(|(verdict, ..)| verdict));
        let found = state(&dir);
        same(&mut seen, found.clone(), name, life);
        for ((verdict, end, offsets), least) in found.0.iter().zip(ends) {
            assert!(*end >= least, "{name}, life {life}: {end} of {least}, {verdict}");
            assert!(offsets.iter().copied().eq(0..*end), "{name}, life {life}: {verdict}");
        }
        records += found.0.iter().map(|(_, end, _)| end).sum::<u64>();
    }
    let of = |kind| told.iter().filter(|verdict| verdict.starts_with(kind)).count();
    println!(
        "{name}: {LIVES} lives, {records} records; of those with bytes lost {} whole, {} torn, {} damaged",
        of("whole"),
        of("torn"),
        of("damage")
    );
}

/// Whatever is found, it is what was found before.
fn same(before: &mut Option<State>, found: State, name: &str, life: u64) {
    assert_eq!(before.get_or_insert_with(|| found.clone()), &found, "{name}, life {life}");
}

#[test]
fn ext4() {
    live_and_die_on("ext4", Mounted::mount(&["mkfs.ext4", "-q", "-F"], "rw"));
    live_and_die_on("ext4, 1 KiB", Mounted::mount(&["mkfs.ext4", "-q", "-F", "-b", "1024"], "rw"));
    live_and_die_on("ext4, data=journal", Mounted::mount(&["mkfs.ext4", "-q", "-F"], "data=journal"));
    live_and_die_on("ext2", Mounted::mount(&["mkfs.ext2", "-q", "-F"], "rw"));
}

#[test]
fn xfs() {
    live_and_die_on("xfs", Mounted::mount(&["mkfs.xfs", "-q", "-f"], "rw"));
    live_and_die_on("xfs, 1 KiB", Mounted::mount(&["mkfs.xfs", "-q", "-f", "-b", "size=1024"], "rw"));
}

#[test]
fn btrfs() {
    live_and_die_on("btrfs", Mounted::mount(&["mkfs.btrfs", "-q", "-f"], "rw"));
    live_and_die_on("btrfs, zstd", Mounted::mount(&["mkfs.btrfs", "-q", "-f"], "compress-force=zstd"));
}

#[test]
fn vfat() {
    live_and_die_on("vfat", Mounted::mount(&["mkfs.vfat"], "rw"));
}

#[test]
fn memory() {
    live_and_die_on("tmpfs", Mounted::tmpfs());
    live_and_die_on("overlay", Mounted::overlay());
}
