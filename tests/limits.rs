//! What stays bounded: the work of an opening, descriptors, memory; and what happens when the disk is full. (I14, I15)
//!
//! `STREAMLOG_LONG` makes the sizes those that the documentation speaks of.

#![cfg(target_os = "linux")]

mod support;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use streamlog::{
    Durability, Error, Partition, RecordData, Streamlog, TopicConfig,
    admin::RecoveryVerdict,
    config::Builder,
    sim::{Crash, SimEnv},
};
use support::*;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// These tests measure the process, so there is one of them at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn long() -> bool {
    std::env::var_os("STREAMLOG_LONG").is_some()
}

/// A number out of a file of `/proc/self`.
fn proc_number(file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The paths that this process has open, and those that it has mapped.
fn open_and_mapped(dir: &Path) -> (usize, usize) {
    let dir = dir.to_str().unwrap();
    let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let open = links.filter(|target| target.to_string_lossy().starts_with(dir)).count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    (open, maps.lines().filter(|line| line.contains(dir)).count())
}

/// Appends batches of `size` bytes until there are `bytes` more.
fn fill(partition: &Partition, bytes: u64, size: usize) {
    let value = vec![0x61; size - 80];
    let end = partition.size() + bytes;
    while partition.size() < end {
        partition.append(&[RecordData::new(&value)]).unwrap();
    }
}

#[test]
fn opening_a_closed_log_reads_and_maps_no_data() {
    let _alone = alone();
    let dir = quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    let config = TopicConfig::default().durability(Durability::Written).segment_bytes(64 * KIB);
    let topic = log.create_topic("t", config.partitions(4)).unwrap();
    for partition in topic.partitions() {
        fill(&partition, 4 * MIB, 8192);
    }
    let (segments, bytes) = (log.stats().segments, log.stats().bytes);
    assert!(segments > 250, "{segments}");
    drop(topic);
    log.close().unwrap();
    let before = proc_number("io", "rchar:");
    let log = Streamlog::open(dir.path()).unwrap();
    let read = proc_number("io", "rchar:") - before;
    assert!(log.recovery_report().was_clean);
    assert_eq!(log.recovery_report().partitions, []);
    assert_eq!((log.stats().segments, log.stats().bytes), (segments, bytes));
    assert!(read < 256 * KIB, "{read} bytes were read");
    let (open, mapped) = open_and_mapped(dir.path());
    assert!(open <= 4, "the directory, LOCK, manifest and marks, not {open} files");
    assert_eq!(mapped, 0);
    println!("{segments} segments: {read} bytes read in {:?}", log.recovery_report().elapsed);
}

#[test]
fn the_work_of_an_opening_grows_with_the_topics_and_no_faster() {
    let opened_with = |topics: u64, is_closed: bool, read_only: bool| {
        let env = SimEnv::new(1);
        let open = |env: &SimEnv, read_only| {
            Builder::env(env, "/log").background_thread(false).read_only(read_only).open().unwrap()
        };
        let log = open(&env, false);
        for i in 0..topics {
            log.create_topic(&format!("topic-{i}"), TopicConfig::default()).unwrap();
        }
        let killed = env.crash(Crash::Kill, 1);
        log.close().unwrap();
        let left = if is_closed { env } else { killed };
        let before = left.operations();
        let log = open(&left, read_only);
        let operations = left.operations() - before;
        assert_eq!(log.topics().unwrap().len() as u64, topics);
        operations
    };
    for (is_closed, read_only, of_each) in
        [(true, false, 3), (true, true, 12), (false, false, 18), (false, true, 15)]
    {
        let [few, many] = [50, 250].map(|topics| opened_with(topics, is_closed, read_only));
        let context = format!("closed {is_closed}, read-only {read_only}: {few} and {many} operations");
        println!("{context}");
        // What each topic adds, and nothing that grows faster.
        assert!(many - few <= 200 * of_each, "{context}");
        assert!(few <= 50 * of_each + 100, "{context}");
    }
}

#[test]
fn opening_after_a_kill_reads_what_was_not_checkpointed_and_little_more() {
    let _alone = alone();
    let (whole, tail) = if long() { (1024 * MIB, 64 * MIB) } else { (64 * MIB, 8 * MIB) };
    let dir = quick_dir();
    // On a slow machine this takes longer than the background waits before it takes a checkpoint.
    let log = Streamlog::builder(dir.path().join("living")).background_thread(false).open().unwrap();
    let config = TopicConfig::default().durability(Durability::Written).segment_bytes(whole + 64 * MIB);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    fill(&partition, whole - tail, 16_000);
    partition.flush().unwrap();
    fill(&partition, tail, 16_000);
    let (end, size) = (partition.log_end_offset(), partition.size());
    image(&dir.path().join("living"), &dir.path().join("image"));
    drop((log, partition));
    let log = Streamlog::open(dir.path().join("image")).unwrap();
    let [found] = &log.recovery_report().partitions[..] else { panic!() };
    assert_eq!((&found.verdict, found.log_end), (&RecoveryVerdict::Whole, end));
    assert_eq!(log.stats().bytes, size);
    println!("{} bytes read of {size} in {:?}", found.bytes_read, log.recovery_report().elapsed);
    assert!(found.bytes_read >= tail);
    assert!(found.bytes_read <= tail + 2 * MIB, "{} bytes were read", found.bytes_read);
}

#[test]
fn a_thousand_partitions_are_written_with_few_descriptors() {
    let _alone = alone();
    for (durability, count) in [(Durability::Written, 1000), (Durability::Flushed, 300)] {
        let dir = quick_dir();
        let log = Streamlog::open(dir.path()).unwrap();
        let config = TopicConfig::default().durability(durability).segment_bytes(2048);
        let topic = log.create_topic("t", config.partitions(count)).unwrap();
        let partitions: Vec<_> = topic.partitions();
        let (mut most, mut most_mapped) = (0, 0);
        for round in 0..4u64 {
            for (i, partition) in partitions.iter().enumerate() {
                partition.append(&[RecordData::new(&[0x61; 800])]).unwrap();
                assert_eq!(partition.read(round).count(), 1);
                if i % 10 == 0 {
                    let (open, mapped) = open_and_mapped(dir.path());
                    (most, most_mapped) = (most.max(open), most_mapped.max(mapped));
                }
            }
        }
        assert_eq!(log.stats().segments, 2 * count as usize);
        println!("{durability}: at most {most} open and {most_mapped} mapped");
        assert!(most <= 512, "{durability}: {most} files were open");
        assert!(most_mapped <= 512, "{durability}: {most_mapped} files were mapped");
        log.close().unwrap();
        let log = Streamlog::open(dir.path()).unwrap();
        assert!(log.recovery_report().was_clean);
        for partition in log.topic("t").unwrap().partitions() {
            assert_eq!(partition.read(0).map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 4);
        }
        let (open, _) = open_and_mapped(dir.path());
        assert!(open <= 512, "{durability}: {open} files are open after reading all");
    }
}

#[test]
fn seeking_in_many_segments_holds_few_of_their_indexes() {
    let _alone = alone();
    let dir = quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    let config = TopicConfig::default().durability(Durability::Written).segment_bytes(2 * KIB);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    (0..3000).for_each(|i| append_batch(&partition, i..i + 1).unwrap());
    assert!(partition.segment_count() > 90);
    drop(partition);
    log.close().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let mut most = 0;
    for round in 0..2 {
        for i in (round..3000).step_by(7) {
            let found = partition.offset_for_timestamp(time(i)).unwrap().unwrap();
            assert_eq!((found.offset.value(), found.timestamp), (i, time(i)));
            let batch = partition.read(i).next().unwrap().unwrap();
            assert_eq!(batch.base_offset(), i);
            most = most.max(log.stats().loaded_indexes);
        }
    }
    assert!((20..=60).contains(&most), "{most} indexes were held");
}

#[test]
fn scanning_takes_no_memory_that_grows_with_the_log() {
    let _alone = alone();
    let size = if long() { 2048 * MIB } else { 128 * MIB };
    let dir = quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    let config = TopicConfig::default().durability(Durability::Written).segment_bytes(size / 8);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    fill(&partition, size, 64_000);
    let before = proc_number("status", "RssAnon:") * KIB;
    let (mut bytes, mut most) = (0, 0);
    for batch in partition.read(0) {
        for record in &batch.unwrap() {
            bytes += record.value.map_or(0, |v| v.len() as u64);
        }
        most = most.max(proc_number("status", "RssAnon:") * KIB);
    }
    assert!(bytes > size / 10 * 9);
    println!("{bytes} bytes scanned with {} more in memory", most.saturating_sub(before));
    assert!(most < before + 64 * MIB, "from {before} to {most} bytes");
}

/// A small file system in memory, for as long as it lives.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, said loudly, where this process may not mount.
    fn new(size: &str) -> Option<SmallDisk> {
        if let Err(why) = may_mount() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output() {
            Ok(output) if output.status.success() => Some(SmallDisk { dir }),
            failed => {
                eprintln!("SKIPPED: a small file system cannot be mounted here: {failed:?}");
                None
            }
        }
    }

    /// Takes all the space that is left, and gives it back with the file.
    fn fill_up(&self) -> std::path::PathBuf {
        use std::io::Write;
        let path = self.dir.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            if file.write_all(&vec![1; size]).is_err() {
                size /= 2;
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_appends_keeps_what_was_acknowledged_and_goes_on_when_there_is_space() {
    let _alone = alone();
    for durability in [Durability::Flushed, Durability::Written] {
        let Some(disk) = SmallDisk::new("8m") else { return };
        let dir = disk.dir.path().join("log");
        let log = Streamlog::open(&dir).unwrap();
        let config = TopicConfig::default().durability(durability).segment_bytes(256 * KIB);
        let topic = log.create_topic("t", config.partitions(2)).unwrap();
        let partition = topic.partition(0).unwrap();
        let mut end = 0;
        let append_until_full = |partition: &Partition, end: &mut u64| loop {
            match append_batch(partition, *end..*end + 100) {
                Ok(()) => *end += 100,
                Err(Error::DiskFull { .. }) => break,
                Err(other) => panic!("{other}"),
            }
            assert!(*end < 1_000_000, "the disk is never full");
        };
        append_until_full(&partition, &mut end);
        assert!(end > 10_000, "{end}");
        let ballast = disk.fill_up();
        for _ in 0..3 {
            append_until_full(&partition, &mut end);
            let (next, error) = read_from(&partition, 0);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(next, end, "{durability}");
        }
        assert!(log.health().refusing.is_empty(), "{:?}", log.health());
        give_back(&ballast);
        log.delete_records("t", 0, end / 2).unwrap();
        append_batch(&partition, end..end + 100).unwrap();
        end += 100;
        let living = disk.dir.path().join("log");
        let ballast = disk.fill_up();
        drop((partition, topic));
        // The close may fail for want of space; what it leaves opens all the same.
        let closed = log.close();
        println!("{durability}: closing on a full disk: {closed:?}");
        for round in 0..2 {
            let log = Streamlog::open(&living).unwrap();
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            assert_eq!(read_from(&partition, end / 2).0, end, "{durability}, opening {round}");
            assert_eq!(partition.log_end_offset(), end);
        }
        give_back(&ballast);
        let log = Streamlog::open(&living).unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        append_batch(&partition, end..end + 100).unwrap();
        assert_eq!(read_from(&partition, end / 2).0, end + 100, "{durability}");
        log.close().unwrap();
    }
}

#[test]
fn callers_of_a_flushed_topic_share_flushes() {
    let _alone = alone();
    // On a real medium: what is measured is how flushes are shared.
    let dir = tempfile::tempdir().unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    let topic = log.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
    let rate = |number: u32, threads: usize| {
        let partition = topic.partition(number).unwrap();
        let stop = AtomicBool::new(false);
        let (begun, before) = (Instant::now(), partition.high_watermark());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        partition.append(&[RecordData::new("a record of its own")]).unwrap();
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(if long() { 1000 } else { 150 }));
            stop.store(true, Ordering::Relaxed);
        });
        (partition.high_watermark().value() - before.value()) as f64 / begun.elapsed().as_secs_f64()
    };
    // In turn, and the best of each, until it can be seen: the medium has its slow moments, and others use it.
    let (mut one, mut sixteen, mut rounds) = (0.0_f64, 0.0_f64, 0);
    while rounds < 5 || (sixteen < 1.5 * one && rounds < 40) {
        one = one.max(rate(0, 1));
        sixteen = sixteen.max(rate(1, 16));
        rounds += 1;
    }
    println!("one thread {one:.0} records/s, sixteen {sixteen:.0}: {:.1} times", sixteen / one);
    if one > 5000.0 {
        return println!("SKIPPED: flushes cost too little here to gain by sharing them");
    }
    assert!(sixteen > one);
}

#[cfg(unix)]
#[test]
fn where_descriptors_run_out_idle_files_are_closed_and_an_error_says_what_to_do() {
    const NAME: &str = "where_descriptors_run_out_idle_files_are_closed_and_an_error_says_what_to_do";
    // What a child has read counts as read by its parent, once that has waited for it.
    let _alone = alone();
    if std::env::var_os("STREAMLOG_FEW_DESCRIPTORS").is_none() {
        let status = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 48 && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env("STREAMLOG_FEW_DESCRIPTORS", "1")
            .status();
        return assert!(status.unwrap().success());
    }
    let root = quick_dir();
    let few = |log: &Streamlog| {
        for (durability, name) in [(Durability::Flushed, "flushed"), (Durability::Written, "written")] {
            let config = TopicConfig::default().partitions(40).durability(durability);
            let topic = log.topic(name).or_else(|_| log.create_topic(name, config)).unwrap();
            for partition in topic.partitions() {
                partition.append(&[RecordData::new("x")]).unwrap();
                assert!(partition.read(0).count() > 0);
            }
        }
    };
    let log = Streamlog::open(root.path()).unwrap();
    few(&log);
    log.close().unwrap();
    // Copying a directory takes descriptors, too: these are kept for it.
    let kept: Vec<_> = (0..6).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    let dead = Streamlog::open(root.path()).unwrap();
    few(&dead);
    let copy = quick_dir();
    drop(kept);
    image(root.path(), &copy.path().join("image"));
    drop(dead);
    let log = Streamlog::open(copy.path().join("image")).unwrap();
    assert!(!log.recovery_report().was_clean);
    few(&log);
    // The rest of the process leaves nothing.
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let refused = log
        .topic("flushed")
        .unwrap()
        .partitions()
        .iter()
        .find_map(|partition| partition.append(&[RecordData::new("x")]).err());
    let stopped = refused.map(|error| error.to_string());
    drop(taken);
    if let Some(text) = stopped {
        assert!(text.contains("max_open_files") && text.contains("ulimit -n"), "{text}");
    }
    few(&log);
    log.close().unwrap();
}

/// Runs the test `name` in a process of its own under `limit`, an option of ulimit; `false` in that process.
#[cfg(unix)]
fn is_run_under(limit: &str, name: &str) -> bool {
    if std::env::var_os("STREAMLOG_UNDER_A_LIMIT").is_some() {
        return false;
    }
    // Its output goes through pipes: a limit on file sizes is also one on the file that this test's output may go to.
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("STREAMLOG_UNDER_A_LIMIT", "1")
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{}: {said}", output.status);
    true
}

#[cfg(unix)]
#[test]
fn half_of_the_descriptors_are_left_for_the_program() {
    let _alone = alone();
    if is_run_under("-n 160", "half_of_the_descriptors_are_left_for_the_program") {
        return;
    }
    let root = quick_dir();
    let log = Streamlog::open(root.path()).unwrap();
    let config = TopicConfig::default().partitions(120).durability(Durability::Written);
    let topic = log.create_topic("t", config).unwrap();
    for partition in topic.partitions() {
        partition.append(&[RecordData::new("x")]).unwrap();
        assert_eq!(partition.read(0).count(), 1);
    }
    let left: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    assert!(left.len() >= 64, "{} of 160 are left; {:?}", left.len(), log.stats());
    drop(left);
    log.close().unwrap();
}

#[cfg(unix)]
#[test]
fn a_limit_on_file_sizes_ends_segments_early_and_never_the_process() {
    let _alone = alone();
    // SIGXFSZ would end it. The unit is 512 or 1024 bytes.
    if is_run_under("-f 300", "a_limit_on_file_sizes_ends_segments_early_and_never_the_process") {
        return;
    }
    let root = quick_dir();
    let log = Streamlog::open(root.path()).unwrap();
    let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    let value = [7; 20_000];
    for _ in 0..50 {
        partition.append(&[RecordData::new(&value)]).unwrap();
    }
    assert!(partition.segment_count() > 2);
    assert_eq!(partition.read(0).map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 50);
    let large = vec![7; 400_000];
    let refused = partition.append(&[RecordData::new(&large)]).unwrap_err();
    assert_eq!(refused.kind(), streamlog::ErrorKind::FileTooLarge, "{refused}");
    partition.append(&[RecordData::new(&value)]).unwrap();
    log.close().unwrap();
    let log = Streamlog::open(root.path()).unwrap();
    assert_eq!(log.topic("t").unwrap().partition(0).unwrap().log_end_offset(), 51);
}
