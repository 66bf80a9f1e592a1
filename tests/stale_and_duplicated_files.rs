//! A file of an earlier day, put back in a later directory, or a copy of a file under another's name: what is read is what
//! was written, or an error that names a file. (I1, I13, I14)

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};
use streamlog::{
    Durability, Error, Offset, Partition, RecordData, Streamlog, TopicConfig, admin::RecoveryVerdict,
};
use support::*;

/// Of each segment; none of them has to be believed, the data least.
const KINDS: [&str; 7] = ["log", "index", "timeindex", "txnindex", "snapshot", "producers", "pages"];

/// A log at three points of its life: closed, closed later, and later still as a killed process leaves it.
struct Life {
    root: tempfile::TempDir,
    ends: [u64; 3],
}

impl Life {
    fn new() -> Life {
        let root = quick_dir();
        let living = root.path().join("living");
        let mut ends = [0; 3];
        let mut end = 0;
        for (age, until) in [400, 900, 1300].into_iter().enumerate() {
            let log = Streamlog::open(&living).unwrap();
            let config = TopicConfig::default().durability(Durability::Written);
            let config = config.segment_bytes(12_000).index_interval_bytes(300);
            let partition = log.topic_or_create("t", config).unwrap().partition(0).unwrap();
            while end < until {
                append_batch(&partition, end..end + 1 + end % 3).unwrap();
                end += 1 + end % 3;
                if end.is_multiple_of(250) {
                    partition.flush().unwrap();
                }
            }
            ends[age] = end;
            let image_dir = root.path().join(age.to_string());
            leave(log, &living, &image_dir, age < 2);
        }
        Life { root, ends }
    }

    fn at(&self, age: usize) -> PathBuf {
        self.root.path().join(age.to_string())
    }

    /// A copy of the directory of this age, to be changed.
    fn copy(&self, age: usize) -> PathBuf {
        let dir = self.root.path().join("changed");
        image(&self.at(age), &dir);
        dir
    }
}

/// What two openings show of a directory; between them something is appended where that is possible.
#[derive(Debug)]
struct Shown {
    /// The offset behind the last record that was read.
    next: u64,
    error: Option<Error>,
    /// The file that the opening took for torn.
    torn: Option<PathBuf>,
}

fn partition_of(log: &Streamlog) -> Result<Partition, Error> {
    log.topic("t")?.partition(0)
}

/// Opens, reads, and appends. Whatever is read is the right record ([`read_from`] sees to that), twice the same.
fn shown(dir: &Path, context: &str) -> Shown {
    let log = match Streamlog::open(dir) {
        Ok(log) => log,
        Err(error) => return Shown { next: 0, error: Some(error), torn: None },
    };
    let torn = log.recovery_report().partitions.iter().find_map(|partition| match &partition.verdict {
        RecoveryVerdict::TornTail { path, .. } => Some(path.clone()),
        _ => None,
    });
    let partition = match partition_of(&log) {
        Ok(partition) => partition,
        Err(error) => return Shown { next: 0, error: Some(error), torn },
    };
    let (next, error) = read_from(&partition, partition.log_start_offset().value());
    for offset in (0..if error.is_none() { next } else { 0 }).step_by(61) {
        let batch = partition.read(offset).next().unwrap().unwrap();
        assert_eq!(
            batch.iter().next().map(|r| r.value.map(<[u8]>::to_vec)),
            Some(Some(value(offset).into()))
        );
        let found = partition.offset_for_timestamp(time(offset)).unwrap();
        assert_eq!(found.map(|f| f.offset.value()), Some(offset), "{context}");
    }
    let appended = partition.append(&[RecordData::new(value(next)).key(key(next)).timestamp(time(next))]);
    if error.is_none() {
        let given = appended.unwrap_or_else(|error| panic!("{context}: all was read, but: {error}"));
        assert_eq!(given.start, next, "{context}");
    }
    let can_be_read = can_be_read(&partition, next);
    let _ = log.close();
    let log = Streamlog::open(dir).unwrap_or_else(|error| panic!("{context}: opened once only: {error}"));
    let partition = partition_of(&log).unwrap();
    let (again, error_again) = read_from(&partition, partition.log_start_offset().value());
    assert_eq!(again, next + u64::from(can_be_read), "{context}: {error_again:?}");
    assert_eq!(error_again.is_some(), error.is_some(), "{context}: {error:?}, then {error_again:?}");
    Shown { next, error, torn }
}

/// Whether the record that was appended at `next` can be read.
fn can_be_read(partition: &Partition, next: u64) -> bool {
    partition.log_end_offset() == next + 1 && matches!(partition.read(Offset::new(next)).next(), Some(Ok(_)))
}

/// The error says which file, as a file of `dir`.
fn assert_names_a_file(error: &Error, dir: &Path, context: &str) {
    match error {
        Error::Corrupt { path, .. } | Error::Io { path, .. } => {
            assert!(path.starts_with(dir), "{context}: {error}");
        }
        other => panic!("{context}: {other:?}"),
    }
}

#[test]
fn a_file_of_an_earlier_day_is_noticed_or_changes_nothing() {
    let life = Life::new();
    let mut tried = 0;
    for (early, late) in [(0, 1), (0, 2), (1, 2)] {
        for file in all_files(&life.at(early)) {
            let (old, new) = (life.at(early).join(&file), life.at(late).join(&file));
            if !new.exists() || fs::read(&old).unwrap() == fs::read(&new).unwrap() {
                continue;
            }
            let context = format!("{} of {early} in {late}", file.display());
            let dir = life.copy(late);
            fs::copy(&old, dir.join(&file)).unwrap();
            let shown = shown(&dir, &context);
            tried += 1;
            if let Some(error) = &shown.error {
                assert_names_a_file(error, &dir, &context);
            }
            let name = file.file_name().unwrap().to_str().unwrap();
            let is_data = name.ends_with(".log");
            // Manifest and marks say how much there was, and know each other.
            if name == "manifest" || name == "marks" {
                let names_it =
                    |error: &Error| matches!(error, Error::Corrupt { path, .. } if *path == dir.join(name));
                assert!(shown.error.as_ref().is_some_and(names_it), "{context}: {shown:?}");
            } else if !is_data {
                assert!(shown.error.is_none(), "{context}: {shown:?}");
                assert_eq!(shown.next, life.ends[late], "{context}");
            }
            if is_data && late == 1 {
                assert!(shown.error.is_some(), "{context}: the end of a closed log is missing unnoticed");
            }
        }
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn a_copy_of_a_segments_file_under_anothers_name_is_noticed_or_changes_nothing() {
    let life = Life::new();
    for age in [1, 2] {
        for kind in KINDS {
            let files = files(&life.at(age).join("t-0"), kind);
            for from in &files {
                for to in &files {
                    if fs::read(from).unwrap() == fs::read(to).unwrap() {
                        continue;
                    }
                    let names = [from, to].map(|path| path.file_name().unwrap().to_str().unwrap());
                    let context = format!("{} as {}, {age}", names[0], names[1]);
                    let dir = life.copy(age);
                    fs::copy(from, dir.join("t-0").join(names[1])).unwrap();
                    let shown = shown(&dir, &context);
                    if kind != "log" {
                        assert!(shown.error.is_none(), "{context}: {shown:?}");
                        assert_eq!(shown.next, life.ends[age], "{context}");
                    } else if let Some(error) = &shown.error {
                        assert_names_a_file(error, &dir, &context);
                    } else {
                        // What a killed process had not flushed may be taken for torn, and the report says so.
                        assert_eq!(age, 2, "{context}: {shown:?}");
                        assert_eq!(shown.torn, Some(dir.join("t-0").join(names[1])), "{context}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_copy_of_a_segment_under_a_name_that_no_manifest_has_is_no_part_of_the_log() {
    let life = Life::new();
    for age in [1, 2] {
        let segments = files(&life.at(age).join("t-0"), "log");
        assert!(segments.len() > 3);
        for from in &segments {
            for base in [1, 7, life.ends[age], life.ends[age] + 1000] {
                let dir = life.copy(age);
                let copy = dir.join("t-0").join(format!("{base:020}.log"));
                assert!(!copy.exists());
                fs::copy(from, &copy).unwrap();
                let shown = shown(&dir, &format!("{} as {base}, {age}", from.display()));
                assert!(shown.error.is_none(), "{shown:?}");
                assert_eq!(shown.next, life.ends[age]);
            }
        }
    }
}
