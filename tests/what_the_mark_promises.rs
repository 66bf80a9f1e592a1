//! What the mark or the closing facts say is durable, and the files lack, is damage to every kind of opening: none of them
//! shows a shorter log and calls it whole. (I1, I13)

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};
use streamlog::{
    Durability, Error, Offset, Partition, Streamlog, TopicConfig, admin::RecoveryVerdict, config::ReadMode,
    dir::PartitionDir,
};
use support::*;

const RECORDS: u64 = 60;

/// A log of several segments, all of it durable.
struct Left {
    dir: PathBuf,
    /// The manifest as it was when there were two segments.
    early_manifest: PathBuf,
    segments: Vec<PathBuf>,
}

fn left(root: &Path, durability: Durability, is_closed: bool) -> Left {
    let (living, dir) = (root.join("living"), root.join("left"));
    let early_manifest = root.join("early");
    let log = Streamlog::builder(&living).background_thread(false).open().unwrap();
    let config = TopicConfig::default().durability(durability).segment_bytes(1 << 10);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    let mut end = 0;
    while end < RECORDS {
        append_batch(&partition, end..end + 1 + end % 3).unwrap();
        end += 1 + end % 3;
        if partition.segment_count() == 2 && !early_manifest.exists() {
            partition.flush().unwrap();
            fs::copy(living.join("manifest"), &early_manifest).unwrap();
        }
        if end == RECORDS / 2 {
            partition.flush().unwrap();
        }
    }
    assert!(partition.segment_count() > 4);
    // Without a checkpoint in a `Flushed` topic: what follows the last one is what a recovery looks at.
    if durability != Durability::Flushed {
        partition.flush().unwrap();
    }
    drop(partition);
    leave(log, &living, &dir, is_closed);
    fs::remove_dir_all(&living).unwrap();
    let mut segments: Vec<_> = fs::read_dir(dir.join("t-0")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    Left { dir, early_manifest, segments }
}

/// Reads on behind each error, and says of which offsets there is a record, and for which there was an error.
fn seen(partition: &Partition) -> (Vec<u64>, usize) {
    let (mut found, mut errors, mut from) = (Vec::new(), 0, partition.log_start_offset());
    'again: loop {
        for batch in partition.read(from) {
            match batch {
                Ok(batch) => {
                    for record in &batch {
                        assert_eq!(record.value, Some(value(record.offset.value()).as_bytes()));
                        found.push(record.offset.value());
                    }
                }
                Err(error) => {
                    errors += 1;
                    let next = error.next_offset().unwrap_or_else(|| panic!("{error}"));
                    assert!(next > from, "{error}");
                    from = next;
                    continue 'again;
                }
            }
        }
        return (found, errors);
    }
}

/// What an opening says of damage, if anything.
struct Told {
    at_the_opening: bool,
    later: bool,
    found: Vec<u64>,
    errors: usize,
    end: Offset,
}

fn opened(dir: &Path, how: &str) -> Told {
    if how == "alone" {
        let partition = PartitionDir::open_read_only(dir.join("t-0")).unwrap();
        let report = partition.report().clone();
        let (found, errors) = seen(&partition);
        let told = report.torn_end.is_some() || !report.damage.is_empty();
        return Told { at_the_opening: told, later: told, found, errors, end: partition.log_end_offset() };
    }
    let builder = Streamlog::builder(dir).background_thread(false);
    let log = match how {
        "mapped" => builder.read_only(true),
        "pread" => builder.read_only(true).read_mode(ReadMode::Pread),
        _ => builder,
    };
    let log = log.open().unwrap();
    if log.is_read_only() {
        log.refresh().unwrap();
    }
    let is_damage = |verdict: &RecoveryVerdict| matches!(verdict, RecoveryVerdict::Damage { .. });
    let in_report = log.recovery_report().partitions.iter().any(|p| is_damage(&p.verdict));
    let at_the_opening = in_report && !log.health().is_good();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let (found, errors) = seen(&partition);
    let later = !log.health().is_good();
    Told { at_the_opening, later, found, errors, end: partition.log_end_offset() }
}

/// One thing that is done to a directory.
type Loss = (&'static str, fn(&Left, usize));

const LOSSES: [Loss; 3] = [
    ("is missing", |left, i| fs::remove_file(&left.segments[i]).unwrap()),
    ("is empty", |left, i| fs::write(&left.segments[i], "").unwrap()),
    ("ends early", |left, i| {
        let places = places(&left.segments[i]);
        let file = fs::File::options().write(true).open(&left.segments[i]).unwrap();
        file.set_len(places[places.len() / 2].start).unwrap();
    }),
];

#[test]
fn a_durable_segment_that_is_missing_empty_or_short_is_damage_to_every_opening() {
    for (durability, is_closed) in
        [(Durability::Flushed, false), (Durability::Written, false), (Durability::Flushed, true)]
    {
        let count = left(quick_dir().path(), durability, is_closed).segments.len();
        for (name, lose) in LOSSES {
            for i in 0..count {
                for how in ["mapped", "pread", "alone", "writer"] {
                    let root = quick_dir();
                    let left = left(root.path(), durability, is_closed);
                    let context =
                        format!("segment {i} of {count} {name}, {durability}, closed {is_closed}, {how}");
                    lose(&left, i);
                    let told = opened(&left.dir, how);
                    assert!(told.found.len() < RECORDS as usize, "{context}");
                    assert!(told.later, "nobody tells: {context}");
                    let alone_without_its_beginning = how == "alone" && i == 0;
                    assert!(told.errors > 0 || how == "alone", "{context}");
                    assert!(how == "alone" || told.end == RECORDS, "the log ends at {}: {context}", told.end);
                    // Of the segments that nobody looks at after a crash, only the names are.
                    if i + 1 == count || name == "is missing" && !alone_without_its_beginning {
                        assert!(told.at_the_opening, "the opening does not tell: {context}");
                    }
                }
            }
        }
    }
}

#[test]
fn beside_an_older_manifest_no_opening_shows_less_as_if_it_were_all() {
    for durability in [Durability::Flushed, Durability::Written] {
        let root = quick_dir();
        let left = left(root.path(), durability, false);
        fs::copy(&left.early_manifest, left.dir.join("manifest")).unwrap();
        for read_only in [true, false] {
            let opened = Streamlog::builder(&left.dir).read_only(read_only).open();
            let error = opened.map(drop).unwrap_err();
            let Error::Corrupt { path, .. } = &error else { panic!("{durability}: {error}") };
            assert_eq!(*path, left.dir.join("manifest"), "{durability}");
        }
        let alone = opened(&left.dir, "alone");
        assert_eq!(alone.found.len(), RECORDS as usize, "the batches speak for themselves");
    }
}

#[test]
fn without_a_mark_whole_batches_behind_what_is_missing_tell_that_it_was_there() {
    for (name, lose) in LOSSES {
        for how in ["mapped", "pread", "writer"] {
            let root = quick_dir();
            let left = left(root.path(), Durability::Flushed, false);
            fs::remove_file(left.dir.join("marks")).unwrap();
            lose(&left, 1);
            let told = opened(&left.dir, how);
            assert!(told.at_the_opening && told.errors > 0, "segment 1 {name}, {how}");
            assert_eq!(told.found.last(), Some(&(RECORDS - 1)), "segment 1 {name}, {how}");
        }
    }
}
