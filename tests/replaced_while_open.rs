//! Files and directories that are replaced while a log is open: what was read and is held stays as it was, what is read is
//! right or an error, and what was put in their place is not written to. (I11, I13)
#![cfg(unix)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use streamlog::{
    Durability, Error, Partition, RecordData, Streamlog, TopicConfig, config::ReadMode, records::Batch,
};
use support::*;

const RECORDS: u64 = 60;

fn config() -> TopicConfig {
    TopicConfig::default().partitions(2).segment_bytes(2048).index_interval_bytes(256)
}

/// A record of one log and partition, and of no other; all are of one length.
fn text(log: char, partition: u32, offset: u64) -> String {
    format!("{log}{partition}-{offset:04}-{}", "x".repeat(60))
}

/// A log with two partitions of several segments. All lengths and times are those of every log that this makes.
fn make(dir: &Path, name: char, durability: Durability) -> Streamlog {
    let log = Streamlog::builder(dir).background_thread(false).open().unwrap();
    let topic = log.create_topic("t", config().durability(durability)).unwrap();
    for partition in topic.partitions() {
        for i in 0..RECORDS {
            let text = text(name, partition.index(), i);
            partition.append(&[RecordData::new(&text).timestamp(time(i))]).unwrap();
        }
        partition.flush().unwrap();
        assert!(partition.segment_count() > 2);
    }
    log
}

/// Every file below a directory, and what it holds.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    all_files(dir).into_iter().map(|path| (path.clone(), fs::read(dir.join(path)).unwrap())).collect()
}

/// Puts `from` in the place of `to`, which goes to `away`.
fn replace(from: &Path, to: &Path, away: &Path) {
    fs::rename(to, away).unwrap();
    fs::rename(from, to).unwrap();
}

/// One thing that somebody does to the log in `dir`: `other` is another one, `away` a name for what has to go.
type Swap = (&'static str, fn(dir: &Path, other: &Path, away: &Path));

const FIRST: &str = "t-0/00000000000000000000.log";

const SWAPS: [Swap; 7] = [
    ("the directories of two partitions", |dir, _, away| {
        fs::rename(dir.join("t-0"), away).unwrap();
        fs::rename(dir.join("t-1"), dir.join("t-0")).unwrap();
        fs::rename(away, dir.join("t-1")).unwrap();
    }),
    ("a partition's directory", |dir, other, away| replace(&other.join("t-0"), &dir.join("t-0"), away)),
    ("a segment", |dir, other, away| replace(&other.join(FIRST), &dir.join(FIRST), away)),
    ("a segment, by an empty one", |dir, _, away| {
        fs::rename(dir.join(FIRST), away).unwrap();
        fs::write(dir.join(FIRST), []).unwrap();
    }),
    ("the manifest", |dir, other, away| replace(&other.join("manifest"), &dir.join("manifest"), away)),
    ("the marks", |dir, other, away| replace(&other.join("marks"), &dir.join("marks"), away)),
    ("the log's directory", |dir, other, away| replace(other, dir, away)),
];

/// Reads all, each way: what comes is the partition's own. Says how many records came, and which errors.
fn read_all(partition: &Partition, context: &str) -> (usize, Vec<Error>) {
    let (mut found, mut errors) = (0, Vec::new());
    let mut is_right = |batch: Result<Batch, Error>| match batch {
        Ok(batch) => {
            for record in &batch {
                let expected = text('m', partition.index(), record.offset.value());
                assert_eq!(record.value_text(), expected, "{context}");
                found += 1;
            }
            None
        }
        Err(error) => {
            let next = error.next_offset();
            errors.push(error);
            next
        }
    };
    let mut from = Some(partition.log_start_offset());
    while let Some(at) = from.take() {
        for batch in partition.read(at) {
            from = is_right(batch);
        }
    }
    for batch in partition.read_backwards(u64::MAX) {
        is_right(batch);
    }
    for offset in [0, 7, RECORDS - 1] {
        match partition.offset_for_timestamp(time(offset)) {
            Ok(at) => assert_eq!(at.map(|at| at.offset.value()), Some(offset), "{context}"),
            Err(error) => errors.push(error),
        }
    }
    (found, errors)
}

fn is_typed(error: &Error, context: &str) {
    let is = matches!(
        error,
        Error::Corrupt { .. }
            | Error::Io { .. }
            | Error::Poisoned { .. }
            | Error::OffsetOutOfRange { .. }
            | Error::UnknownTopic { .. }
            | Error::Closed { .. }
    );
    assert!(is, "{context}: {error:?}");
}

/// A handle on the log, and what it has read and holds.
struct Holder {
    name: &'static str,
    log: Streamlog,
    partitions: Vec<Partition>,
    held: Vec<(u32, Batch)>,
}

impl Holder {
    fn new(name: &'static str, log: Streamlog) -> Holder {
        let partitions = log.topic("t").unwrap().partitions().to_vec();
        let held = partitions
            .iter()
            .flat_map(|p| p.read(0).step_by(9).map(|batch| (p.index(), batch.unwrap())).collect::<Vec<_>>())
            .collect();
        Holder { name, log, partitions, held }
    }

    /// What is held is as it was; what is read is right, or an error.
    fn check(&self, what: &str) {
        let context = format!("{what} replaced, {}", self.name);
        for (index, batch) in &self.held {
            let record = batch.iter().next().unwrap();
            assert_eq!(record.value_text(), text('m', *index, record.offset.value()), "{context}, held");
        }
        for _ in 0..2 {
            for partition in &self.partitions {
                let (found, errors) = read_all(partition, &context);
                errors.iter().for_each(|error| is_typed(error, &context));
                assert!(found == 2 * RECORDS as usize || !errors.is_empty(), "{context}: {found} of all");
            }
            if self.log.is_read_only()
                && let Err(error) = self.log.refresh()
            {
                is_typed(&error, &context);
            }
        }
    }
}

#[test]
fn what_is_replaced_while_a_log_is_open_gives_old_bytes_or_errors_and_is_not_written_to() {
    // With one descriptor files are opened again and again, by their names.
    for (durability, files) in [(Durability::Flushed, 1), (Durability::Written, 1), (Durability::Flushed, 64)]
    {
        for (what, swap) in SWAPS {
            let root = quick_dir();
            let [dir, other, away, beside] =
                ["log", "other", "away", "beside"].map(|name| root.path().join(name));
            make(&other, 'o', durability).close().unwrap();
            image(&other, &beside);
            make(&dir, 'm', durability).close().unwrap();
            let writer = Holder::new(
                "writing",
                Streamlog::builder(&dir).background_thread(false).max_open_files(files).open().unwrap(),
            );
            let reader = |name, mode| {
                let builder = Streamlog::builder(&dir).background_thread(false).max_open_files(files);
                Holder::new(name, builder.read_only(true).read_mode(mode).open().unwrap())
            };
            let readers = [reader("mapped", ReadMode::Mapped), reader("positional", ReadMode::Pread)];
            swap(&dir, &other, &away);
            let foreign = contents(&dir);
            readers.iter().chain([&writer]).for_each(|holder| holder.check(what));
            assert!(contents(&dir) == foreign, "{what}: reading changed something");
            for partition in &writer.partitions {
                for i in RECORDS..RECORDS + 40 {
                    let text = text('m', partition.index(), i);
                    match partition.append(&[RecordData::new(&text).timestamp(time(i))]) {
                        Ok(given) => assert_eq!(given.start, i),
                        Err(error) => {
                            is_typed(&error, &format!("{what}, appending"));
                            break;
                        }
                    }
                }
            }
            let _ = writer.log.close();
            readers.into_iter().for_each(|holder| drop(holder.log.close()));
            if other.exists() {
                let (now, before) = (contents(&other), contents(&beside));
                let changed = now.iter().find(|(path, bytes)| before.get(*path) != Some(bytes));
                assert!(changed.is_none(), "{what}: {:?} outside was written", changed.map(|(path, _)| path));
            }
        }
    }
}

#[test]
fn a_reader_follows_a_writer_that_gives_a_linked_file_a_copy_of_its_own() {
    let root = quick_dir();
    let [dir, backup] = ["log", "backup"].map(|name| root.path().join(name));
    make(&dir, 'm', Durability::Flushed).close().unwrap();
    fs::create_dir_all(backup.join("t-0")).unwrap();
    for file in files(&dir.join("t-0"), "log") {
        fs::hard_link(&file, backup.join("t-0").join(file.file_name().unwrap())).unwrap();
    }
    for mode in [ReadMode::Mapped, ReadMode::Pread] {
        for files in [1, 64] {
            let reader = Streamlog::builder(&dir).background_thread(false).max_open_files(files);
            let reader = Holder::new("reading", reader.read_only(true).read_mode(mode).open().unwrap());
            let writer = Streamlog::builder(&dir).background_thread(false).open().unwrap();
            let end = writer.topic("t").unwrap().partition(0).unwrap().log_end_offset().value();
            let text = text('m', 0, end);
            let partition = writer.topic("t").unwrap().partition(0).unwrap();
            partition.append(&[RecordData::new(&text).timestamp(time(end))]).unwrap();
            reader.log.refresh().unwrap();
            let (found, errors) = read_all(&reader.partitions[0], "a file of its own");
            assert!(errors.is_empty(), "{mode:?}, {files} files: {errors:?}");
            assert_eq!(found as u64, 2 * (end + 1), "{mode:?}, {files} files");
            assert!(reader.log.health().is_good(), "{}", reader.log.health());
            writer.close().unwrap();
        }
    }
}
