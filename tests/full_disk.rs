//! A file system without room, on a real kernel: an append that has no space says `DiskFull` and keeps nothing, all that
//! was acknowledged can be read, also by an opening that finds no space, and appending resumes when there is some.
//! (I1, I2, I5, I14, I15)
//!
//! A small tmpfs is mounted, which takes Linux and root; elsewhere the test says so and is skipped. Beside it a process
//! writes, rolls, removes and is killed again and again while this one reads, which takes neither.

#![cfg(target_os = "linux")]

mod support;
#[path = "support/writer.rs"]
mod writer_process;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use streamlog::{Durability, ErrorKind, Partition, RecordData, Streamlog, TopicConfig};
use support::*;
use writer_process::{Seen, Writer};

/// Not a test of its own: this is the writer, when the program was started as one.
#[test]
fn writer() {
    writer_process::write_if_asked();
}

/// A file system in memory of 2 MiB. It is unmounted when this goes.
struct Small {
    root: tempfile::TempDir,
    mounted: bool,
}

impl Small {
    fn mount() -> Result<Small, String> {
        may_mount()?;
        let mut small = Small { root: tempfile::tempdir().unwrap(), mounted: false };
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(small.root.path());
        let output = command.output().map_err(|error| format!("mount: {error}"))?;
        small.mounted = output.status.success();
        if small.mounted { Ok(small) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// Something else takes all the space that is left but this.
    fn fill_but(&self, left: usize) {
        let path = self.root.path().join("else");
        let mut size = 4 << 20;
        let mut file = fs::File::create(&path).unwrap();
        while size > 0 {
            if std::io::Write::write_all(&mut file, &vec![1; size]).is_err() {
                size /= 2;
            }
        }
        let full = file.metadata().unwrap().len();
        file.set_len(full.saturating_sub(left as u64)).unwrap();
    }

    fn make_space(&self) {
        give_back(&self.root.path().join("else"));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if self.mounted {
            let unmounted = Command::new("umount").arg("--lazy").arg(self.root.path()).status();
            if !unmounted.as_ref().is_ok_and(|status| status.success()) {
                eprintln!("{} stays mounted: {unmounted:?}", self.root.path().display());
            }
        }
    }
}

/// Appends batches until one is refused; where the log ended then.
fn append_until_full(partition: &Partition) -> u64 {
    let padding = "x".repeat(300);
    loop {
        let end = partition.log_end_offset().value();
        let values: Vec<_> = (end..end + 3).map(|i| format!("{} {padding}", value(i))).collect();
        let records: Vec<_> = values.iter().map(RecordData::new).collect();
        if let Err(error) = partition.append(&records) {
            assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
            assert_eq!(partition.log_end_offset(), end, "{error}");
            return end;
        }
    }
}

fn check(partition: &Partition, end: u64) {
    let mut next = 0;
    for batch in partition.read(0) {
        for record in &batch.unwrap() {
            assert_eq!(record.offset, next);
            assert!(record.value.unwrap().starts_with(value(next).as_bytes()));
            next += 1;
        }
    }
    assert_eq!((next, partition.log_end_offset().value()), (end, end));
}

#[test]
fn a_full_file_system_loses_nothing_and_appending_resumes_when_there_is_space() {
    for durability in [Durability::Flushed, Durability::Written] {
        for left in [0, 5_000, 30_000, 100_000, 300_000] {
            let small = match Small::mount() {
                Ok(small) => small,
                Err(why) => return println!("SKIPPED: {why}"),
            };
            fill_and_resume(&small, durability, left);
        }
    }
}

#[test]
fn a_floor_stays_free_and_appending_resumes_when_there_is_more() {
    const FLOOR: u64 = 1 << 20;
    let small = match Small::mount() {
        Ok(small) => small,
        Err(why) => return println!("SKIPPED: {why}"),
    };
    let log = Streamlog::builder(small.dir()).min_free_space(FLOOR).open().unwrap();
    let config = TopicConfig::default().segment_bytes(40_000).durability(Durability::Written);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    let end = append_until_full(&partition);
    let used: u64 = sizes(&small.dir());
    // The small files beside segments do not ask, and the file system counts in pages.
    assert!((500_000..(2 << 20) - FLOOR + 200_000).contains(&used), "{used}");
    assert!(log.health().to_string().contains("min_free_space keeps 1048576 bytes free"), "{}", log.health());
    check(&partition, end);
    log.delete_records("t", 0, end).unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while let Err(error) = partition.append(&[RecordData::new("resumed")]) {
        assert!(error.kind() == ErrorKind::DiskFull && Instant::now() < patience, "{error}");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(log.health().is_good(), "{}", log.health());
    log.close().unwrap();
}

/// Bytes of all files below a directory.
fn sizes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let size = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => sizes(&entry.path()),
        false => entry.metadata().unwrap().len(),
    };
    entries.map(size).sum()
}

fn fill_and_resume(small: &Small, durability: Durability, left: usize) {
    let dir = small.dir();
    let log = Streamlog::open(&dir).unwrap();
    let config = TopicConfig::default().segment_bytes(40_000).durability(durability);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    append_batch_of_values(&partition);
    small.fill_but(left);
    for _ in 0..3 {
        let end = append_until_full(&partition);
        check(&partition, end);
    }
    let end = partition.log_end_offset().value();
    check_opening(&dir, end);
    small.make_space();
    append_batch_of_values(&partition);
    check(&partition, end + 10);
    // As the next process finds it when this one dies now.
    let copies = quick_dir();
    let killed = copies.path().join("killed");
    image(&dir, &killed);
    let log_of_killed = Streamlog::open(&killed).unwrap();
    check(&log_of_killed.topic("t").unwrap().partition(0).unwrap(), end + 10);
    drop(log_of_killed);
    // What the background work met when there was no space is told, and mended.
    if let Err(error) = log.close() {
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    }
    let log = Streamlog::open(&dir).unwrap();
    assert!(log.recovery_report().was_clean);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    check(&partition, end + 10);
    // A close that finds no space leaves what the next opening recovers, without any.
    append_batch_of_values(&partition);
    small.fill_but(0);
    if let Err(error) = log.close() {
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    }
    let log = Streamlog::open(&dir).unwrap();
    check(&log.topic("t").unwrap().partition(0).unwrap(), end + 20);
    drop(log);
    small.make_space();
}

fn append_batch_of_values(partition: &Partition) {
    let end = partition.log_end_offset().value();
    for i in end..end + 10 {
        partition.append(&[RecordData::new(value(i))]).unwrap();
    }
}

/// Who only reads needs no space.
fn check_opening(dir: &Path, end: u64) {
    let log = Streamlog::open_read_only(dir).unwrap();
    check(&log.topic("t").unwrap().partition(0).unwrap(), end);
}

#[test]
fn a_reader_beside_writers_that_roll_and_remove_and_die_sees_every_record_once_and_in_order() {
    let dir = quick_dir();
    let mut random = Random(seed());
    let mut seen = Seen::default();
    let writer = Writer::start(dir.path(), 0);
    writer.wait_until_it_wrote();
    let reader = Streamlog::open_read_only(dir.path()).unwrap();
    let mut next = ["flushed", "written"].map(|name| {
        let partition = reader.topic(name).unwrap().partition(0).unwrap();
        (name, partition.log_start_offset().value())
    });
    let (mut read, mut life) = (0, 0);
    let mut writer = Some(writer);
    // Each life begins when the writer has written, so that in the end there is enough on the slowest machine.
    while life < 6 || read <= 100 {
        writer.as_ref().unwrap().wait_until_it_wrote();
        let ends = Instant::now() + Duration::from_micros(200_000 + random.below(100_000));
        while Instant::now() < ends {
            reader.refresh().unwrap();
            read += read_on(&reader, &mut next);
        }
        let ended = writer.take().unwrap().kill();
        reader.refresh().unwrap();
        read += read_on(&reader, &mut next);
        seen.check(dir.path(), life, &ended.said, &ended.said.acknowledged);
        life += 1;
        writer = Some(Writer::start(dir.path(), life));
    }
    println!("{read} records read of {}", seen.count());
    assert!(read > 100);
}

/// Reads what is new in each topic: how many records.
fn read_on(reader: &Streamlog, next: &mut [(&str, u64); 2]) -> u64 {
    let mut count = 0;
    for (name, next) in next {
        let partition = reader.topic(name).unwrap().partition(0).unwrap();
        for batch in partition.read(*next) {
            let batch = match batch {
                Ok(batch) => batch,
                // The writer removed what was about to be read.
                Err(error) if error.kind() == ErrorKind::OffsetOutOfRange => {
                    let start = partition.log_start_offset().value();
                    assert!(start > *next, "{name}: {error}");
                    *next = start;
                    break;
                }
                Err(error) => panic!("{name} at {next}: {error}"),
            };
            for record in &batch {
                assert_eq!(record.offset, *next, "{name}");
                let said = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                assert_eq!(said.split(' ').nth(1), Some(next.to_string().as_str()), "{name}");
                *next += 1;
                count += 1;
            }
        }
    }
    count
}
