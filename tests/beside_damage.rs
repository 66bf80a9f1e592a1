//! Looking for a time, and reading from the end: beside damage the answer is the right one, or an error that names the
//! damage, and never that of a log in which what is missing never was.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use streamlog::{
    Error, Partition, RecordData, Streamlog, Timestamp, TopicConfig, TopicPartition,
    admin::{GroupReset, OffsetSpec, ResetTo},
    clients::AutoOffsetReset,
    config::ConfigChange,
    dir::PartitionDir,
};
use support::*;

/// A log of several segments, each of several batches, and what was appended to it.
struct Store {
    dir: PathBuf,
    times: Vec<i64>,
    clean: bool,
}

/// What is done to a copy of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    Nothing,
    /// One byte of a batch is another one.
    Flip {
        file: usize,
        at: u64,
    },
    /// The file ends here.
    Cut {
        file: usize,
        at: u64,
    },
    /// These bytes are zeros.
    Zeros {
        file: usize,
        from: u64,
        to: u64,
    },
    Gone {
        file: usize,
    },
}

/// What is done to the indexes of all segments.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Indexes {
    Kept,
    Gone,
    Empty,
    /// Each time is later than it was, each offset larger.
    Later,
    /// Of each time index only the first entry is left.
    Short,
    /// Those of another segment.
    Swapped,
}

impl Store {
    fn new(root: &Path, clean: bool) -> Store {
        let (living, dir) = (root.join(format!("living-{clean}")), root.join(format!("store-{clean}")));
        let log = Streamlog::open(&living).unwrap();
        let config = TopicConfig::default().segment_bytes(600).index_interval_bytes(100);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        let mut times = Vec::new();
        let mut random = Random(5);
        for i in 0..21_i64 {
            let batch: Vec<_> = (0..1 + i % 3).map(|_| 1000 + i * 10 + random.below(35) as i64).collect();
            let records: Vec<_> = batch
                .iter()
                .map(|t| RecordData::new("a value").timestamp(Timestamp::from_millis(*t)))
                .collect();
            partition.append(&records).unwrap();
            times.extend(batch);
        }
        assert!(partition.segment_count() >= 4, "{} segments", partition.segment_count());
        drop(partition);
        leave(log, &living, &dir, clean);
        Store { dir, times, clean }
    }

    fn logs(&self) -> Vec<PathBuf> {
        files(&self.dir.join("t-0"), "log")
    }

    fn harms(&self) -> Vec<Harm> {
        let mut harms = vec![Harm::Nothing];
        for (file, log) in self.logs().iter().enumerate() {
            harms.push(Harm::Gone { file });
            let places = places(log);
            for place in &places {
                let (file, from, to) = (file, place.start, place.end);
                // The base offset, the length, the magic, a time, the records.
                harms.extend([7, 11, 16, 42, 66].map(|at| Harm::Flip { file, at: from + at }));
                harms.extend([from, from + 40].map(|at| Harm::Cut { file, at }));
                harms.push(Harm::Zeros { file, from, to });
                harms.push(Harm::Zeros { file, from, to: fs::metadata(log).unwrap().len() });
            }
        }
        harms
    }

    fn harm(&self, to: &Path, harm: Harm, indexes: Indexes) {
        image(&self.dir, to);
        let change = |file: usize, change: &dyn Fn(&mut Vec<u8>)| {
            let path = to.join(self.logs()[file].strip_prefix(&self.dir).unwrap());
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        };
        match harm {
            Harm::Nothing => {}
            Harm::Flip { file, at } => change(file, &|bytes| bytes[at as usize] ^= 1),
            Harm::Cut { file, at } => change(file, &|bytes| bytes.truncate(at as usize)),
            Harm::Zeros { file, from, to } => {
                change(file, &|bytes| bytes[from as usize..to as usize].fill(0))
            }
            Harm::Gone { file } => {
                fs::remove_file(to.join(self.logs()[file].strip_prefix(&self.dir).unwrap())).unwrap();
            }
        }
        let times = files(&to.join("t-0"), "timeindex");
        for path in files(&to.join("t-0"), "index").iter().chain(&times) {
            let bytes = fs::read(path).unwrap();
            match indexes {
                Indexes::Kept => {}
                Indexes::Gone => fs::remove_file(path).unwrap(),
                Indexes::Empty => fs::write(path, []).unwrap(),
                Indexes::Short if path.extension().unwrap() == "timeindex" => {
                    fs::write(path, &bytes[..bytes.len().min(12)]).unwrap();
                }
                Indexes::Later if path.extension().unwrap() == "timeindex" => {
                    let later = bytes.chunks(12).flat_map(|entry| {
                        let mut entry = entry.to_vec();
                        entry[7] = entry[7].saturating_add(3);
                        entry[11] = entry[11].saturating_add(2);
                        entry
                    });
                    fs::write(path, later.collect::<Vec<_>>()).unwrap();
                }
                Indexes::Short | Indexes::Later => {}
                Indexes::Swapped => {
                    let other = path.with_file_name(format!(
                        "{:020}.{}",
                        0,
                        path.extension().unwrap().to_str().unwrap()
                    ));
                    fs::copy(other, path).unwrap();
                }
            }
        }
    }

    /// The first record at or later than `time`, of those below `end`.
    fn first_at(&self, time: i64, end: u64) -> Option<u64> {
        self.times.iter().take(end as usize).position(|t| *t >= time).map(|i| i as u64)
    }
}

/// What errors there may be.
fn is_named(error: &Error, dir: &Path) -> bool {
    match error {
        Error::Corrupt { path, .. } => path.starts_with(dir.join("t-0")) && path.extension().is_some(),
        _ => false,
    }
}

fn check_times(store: &Store, dir: &Path, partition: &Partition, context: &str, tried: &mut Tried) {
    let end = partition.high_watermark().value();
    let asked: BTreeSet<i64> = store.times.iter().flat_map(|t| [*t, t + 1]).chain([0, 9999]).collect();
    for time in asked {
        match partition.offset_for_timestamp(Timestamp::from_millis(time)) {
            Ok(found) => {
                tried.right += 1;
                assert_eq!(
                    found.map(|f| f.offset.value()),
                    store.first_at(time, end),
                    "{context}: time {time}"
                );
            }
            Err(error) => {
                tried.errors += 1;
                assert!(is_named(&error, dir), "{context}: time {time}: {error}");
                assert!(error.next_offset().is_some(), "{context}: time {time}: {error}");
            }
        }
    }
    let largest = store.times.iter().take(end as usize).max().copied();
    match partition.offset_of_max_timestamp() {
        Ok(found) => assert_eq!(
            found.map(|f| f.offset.value()),
            largest.and_then(|largest| store.first_at(largest, end)),
            "{context}: the largest"
        ),
        Err(error) => assert!(is_named(&error, dir), "{context}: the largest: {error}"),
    }
}

fn check_ends(store: &Store, dir: &Path, partition: &Partition, context: &str, tried: &mut Tried) {
    let end = partition.high_watermark().value();
    for count in [1, 2, 5, 1000] {
        match partition.last(count) {
            Ok(records) => {
                tried.right += 1;
                let offsets: Vec<u64> = records.iter().map(|r| r.offset.value()).collect();
                let expected: Vec<u64> = (end.saturating_sub(count as u64)..end).collect();
                assert_eq!(offsets, expected, "{context}: the last {count}");
                assert!(
                    records.iter().all(|r| r.timestamp.as_millis() == store.times[r.offset.value() as usize])
                );
            }
            Err(error) => {
                tried.errors += 1;
                assert!(is_named(&error, dir), "{context}: the last {count}: {error}");
                assert!(error.next_offset().is_some(), "{context}: the last {count}: {error}");
            }
        }
    }
    // All the way to the beginning, past every damage, and every record that reading forwards shows.
    let (mut before, mut seen) = (end, BTreeSet::new());
    let mut backwards = partition.read_backwards(before);
    for _ in 0..1000 {
        match backwards.next() {
            Some(Ok(batch)) => {
                let offsets: Vec<u64> = batch.iter().map(|r| r.offset.value()).collect();
                assert_eq!(offsets.last().copied(), Some(before - 1), "{context}: before {before}");
                before = offsets[0];
                seen.extend(offsets);
            }
            Some(Err(error)) => {
                assert!(is_named(&error, dir), "{context}: before {before}: {error}");
                assert!(error.next_offset().is_some(), "{context}: {error}");
                let goes_on = backwards.before().value();
                assert!(goes_on < before, "{context}: before {before}: {error}: goes on at {goes_on}");
                before = goes_on;
                backwards = partition.read_backwards(before);
            }
            None => break,
        }
    }
    assert_eq!(before, partition.log_start_offset().value(), "{context}: that was all");
    let mut from = partition.log_start_offset().value();
    let mut forwards = BTreeSet::new();
    while from < end {
        let mut failure = None;
        for batch in partition.read(from) {
            match batch {
                Ok(batch) => forwards.extend(batch.iter().map(|r| r.offset.value())),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => from = error.next_offset().unwrap_or_else(|| panic!("{context}: {error}")).value(),
            None => break,
        }
    }
    assert_eq!(seen, forwards, "{context}: what both directions show");
}

#[derive(Default)]
struct Tried {
    right: u64,
    errors: u64,
}

fn try_all(clean: bool, check: fn(&Store, &Path, &Partition, &str, &mut Tried)) {
    let root = quick_dir();
    let store = Store::new(root.path(), clean);
    let dir = root.path().join("harmed");
    let mut tried = Tried::default();
    let last = *places(store.logs().last().unwrap()).last().unwrap();
    let all =
        [Indexes::Kept, Indexes::Gone, Indexes::Empty, Indexes::Later, Indexes::Short, Indexes::Swapped];
    for (i, harm) in store.harms().into_iter().enumerate() {
        for (j, indexes) in all.into_iter().enumerate() {
            // Each harm with some of them, all of them without harm.
            if harm != Harm::Nothing && j != 0 && j != 1 + i % 5 {
                continue;
            }
            let context = format!("clean {}, {harm:?}, indexes {indexes:?}", store.clean);
            store.harm(&dir, harm, indexes);
            if let Ok(partition) = PartitionDir::open_read_only(dir.join("t-0")) {
                // Nothing says that there was more, where the first file is missing or the last one ends with a batch;
                // nor where the last batch begins.
                let is_known = match harm {
                    Harm::Nothing => true,
                    Harm::Flip { at, .. } => at != last.start + 7,
                    Harm::Cut { file, .. } | Harm::Zeros { file, .. } => file + 1 < store.logs().len(),
                    Harm::Gone { file } => file > 0 && file + 1 < store.logs().len(),
                };
                if is_known {
                    check(&store, &dir, &partition, &format!("{context}, on its own"), &mut tried);
                }
            }
            for read_only in [true, false] {
                let context = format!("{context}, read-only {read_only}");
                let log = Streamlog::builder(&dir).read_only(read_only).open().expect(&context);
                let partition = log.topic("t").unwrap().partition(0).unwrap();
                assert_eq!(partition.high_watermark(), store.times.len() as u64, "{context}");
                check(&store, &dir, &partition, &context, &mut tried);
            }
        }
    }
    println!("{} right answers, {} errors", tried.right, tried.errors);
    assert!(tried.right > 1000 && tried.errors > 100);
}

#[test]
fn a_time_is_found_where_it_is_or_the_damage_is_named_in_a_closed_log() {
    try_all(true, check_times);
}

#[test]
fn a_time_is_found_where_it_is_or_the_damage_is_named_in_a_log_left_open() {
    try_all(false, check_times);
}

#[test]
fn the_newest_records_are_the_newest_or_the_damage_is_named_in_a_closed_log() {
    try_all(true, check_ends);
}

#[test]
fn the_newest_records_are_the_newest_or_the_damage_is_named_in_a_log_left_open() {
    try_all(false, check_ends);
}

/// All of the last segment's batches but the first are damaged, and its indexes are gone: no time in it can be told.
#[test]
fn every_way_to_look_for_a_time_names_the_damage_and_moves_nothing() {
    let root = quick_dir();
    let store = Store::new(root.path(), true);
    let dir = root.path().join("harmed");
    let file = store.logs().len() - 1;
    let damaged = places(&store.logs()[file])[0];
    assert!(places(&store.logs()[file]).len() > 1);
    store.harm(&dir, Harm::Flip { file, at: damaged.start + 66 }, Indexes::Gone);
    let name = store.logs()[file].file_name().unwrap().to_owned();
    // Later than all that can be seen.
    let asked = Timestamp::from_millis(9000);
    let log = Streamlog::open(&dir).unwrap();
    let t = TopicPartition::new("t", 0);
    let mut consumer = log.consumer("g").unwrap();
    consumer.assign([t.clone()]).unwrap();
    consumer.seek(&t, 3).unwrap();
    let mut by_age = log
        .consumer_builder("h")
        .auto_offset_reset(AutoOffsetReset::ByDuration(log_age(asked)))
        .build()
        .unwrap();
    by_age.assign([t.clone()]).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let reset = GroupReset::to(ResetTo::Timestamp(asked)).partition(t.clone());
    let answers = [
        ("Partition", partition.offset_for_timestamp(asked).err()),
        ("list_offsets", log.list_offsets("t", 0, OffsetSpec::ForTimestamp(asked)).err()),
        ("the largest", log.list_offsets("t", 0, OffsetSpec::MaxTimestamp).err()),
        ("offsets_for_times", consumer.offsets_for_times([(t.clone(), asked)]).err()),
        ("seek_to_timestamp", consumer.seek_to_timestamp(&[], asked).err()),
        ("reset by duration", by_age.poll(Duration::ZERO).err()),
        ("reset of a group", log.reset_group_offsets("i", &reset).err()),
        (
            "on its own",
            PartitionDir::open_read_only(dir.join("t-0")).unwrap().offset_for_timestamp(asked).err(),
        ),
    ];
    for (way, error) in answers {
        match error {
            Some(Error::Corrupt { path, position, next_offset, .. }) => {
                assert_eq!(path.file_name(), Some(&*name), "{way}");
                assert_eq!(position, damaged.start, "{way}");
                assert_eq!(next_offset.map(|next| next.value()), Some(damaged.next), "{way}");
            }
            other => panic!("{way}: {other:?}"),
        }
    }
    assert_eq!(consumer.position(&t).unwrap(), 3);
    // What lies before the damage is found all the same, and so is what was asked for once the reader has gone past.
    assert_eq!(
        consumer.offsets_for_times([(t.clone(), Timestamp::from_millis(0))]).unwrap()[&t].unwrap().offset,
        0
    );
}

/// How long ago `time` was.
fn log_age(time: Timestamp) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now - Duration::from_millis(time.as_millis() as u64)
}

#[test]
fn retention_by_age_keeps_a_segment_whose_age_damage_hides_and_removes_those_before_it() {
    let root = quick_dir();
    let store = Store::new(root.path(), true);
    let dir = root.path().join("harmed");
    let file = store.logs().len() - 1;
    let damaged = places(&store.logs()[file])[0];
    store.harm(&dir, Harm::Flip { file, at: damaged.start + 66 }, Indexes::Gone);
    let log = Streamlog::open(&dir).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    // Everything that can be read is decades old.
    log.alter_topic("t", &[ConfigChange::set("retention.ms", "3600000")]).unwrap();
    log.maintain().unwrap();
    assert_eq!((partition.log_start_offset().value(), partition.segment_count()), (damaged.base, 1));
    let health = log.health();
    assert!(matches!(&*health.damaged, [(_, Error::Corrupt { .. })]), "{health}");
}
