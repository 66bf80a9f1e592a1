//! Every bit of every file of a partition's directory, flipped one at a time, and the directory opened on its own: the
//! same answers as before, or a report or a typed error that names the file and a place that covers the bit; never
//! wrong bytes, a panic, a hang or memory without a bound. (I1, I13, I18)
//!
//! Little vouches for such a directory: a manifest and a mark beside it at most. So there are exceptions, and these only:
//!
//! * the leader epoch of the *last* batch, which the format leaves out of its checksum and no later batch contradicts, and
//!   where there is no manifest its base offset; and a leader epoch that fits between those around it, which takes a log
//!   of several. Then that field of that batch is the flipped one, and everything else is as before;
//! * what `partition.metadata` and `leader-epoch-checkpoint` say, texts without a checksum, where it was they that were
//!   flipped: the topic's id, the list of epochs. No record is read by their word.
//!
//! `STREAMLOG_SEED`, `STREAMLOG_EVERY_BIT` and `STREAMLOG_FLIP=directory/file:bit` choose the bits, as in `golden_store.rs`.

#[path = "support/flips.rs"]
mod flips;
mod support;

use flips::{PATIENCE, Sample, shown};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};
use streamlog::{
    Error, Offset, ProducerRecord, Streamlog, Timestamp, TopicConfig,
    admin::TopicId,
    config::Compression,
    dir::{DamagedRange, PartitionDir, PartitionDirReport, ProducerSnapshot},
    records::OffsetAndTimestamp,
};
use support::*;

/// A record and its batch, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    offset: u64,
    epoch: i32,
    rest: String,
    /// The offset behind the batch.
    next: u64,
}

/// The right answers.
struct Known {
    records: Vec<Read>,
    times: Vec<(Timestamp, Option<OffsetAndTimestamp>)>,
    topic_id: Option<TopicId>,
    epochs: Vec<(i32, Offset)>,
    snapshots: Vec<ProducerSnapshot>,
    batches: Vec<(PathBuf, Place)>,
}

/// Writes a log with a partition of several segments, keys, headers and codecs, and leaves its directory as a
/// closed process does, or a killed one.
fn build(base: &Path, closed: bool) -> PathBuf {
    let living = base.join("living");
    let log = Streamlog::open(&living).unwrap();
    let config = TopicConfig::default().segment_bytes(4000).index_interval_bytes(200).max_message_bytes(1500);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    let producers = [Compression::None, Compression::Lz4, ZSTD]
        .map(|codec| log.producer_builder().compression(codec).build().unwrap());
    for i in 0..60u64 {
        let end = partition.log_end_offset().value();
        let offsets = end..end + 1 + i % 4;
        if i % 5 == 0 {
            append_batch(&partition, offsets).unwrap();
            continue;
        }
        let texts: Vec<_> = offsets.clone().map(|i| (key(i), value(i).repeat(3))).collect();
        let records = texts.iter().zip(offsets).map(|((key, value), i)| {
            ProducerRecord::new("t", value).key(key).timestamp(time(i)).header("of", "the golden partition")
        });
        let sent = producers[(i % 3) as usize].send_batch(&records.collect::<Vec<_>>());
        sent.unwrap();
        if i == 40 {
            partition.flush().unwrap();
        }
    }
    assert!(partition.segment_count() > 3);
    let dir = base.join(if closed { "closed" } else { "killed" });
    if closed {
        log.close().unwrap();
        image(&living, &dir);
    } else {
        image(&living, &dir);
        drop((producers, partition, log));
    }
    fs::remove_dir_all(living).unwrap();
    dir.join("t-0")
}

/// Reads everything, and goes on behind each error, which is about damage that was reported.
fn read_all(dir: &PartitionDir) -> Vec<Read> {
    let mut records = Vec::new();
    let mut next = dir.log_start_offset().value();
    'again: loop {
        for batch in dir.read(next) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    next = behind(dir.report(), &error);
                    continue 'again;
                }
            };
            for record in &batch {
                assert!(record.offset >= next);
                next = record.offset.value() + 1;
                let (offset, epoch) = (record.offset.value(), batch.leader_epoch());
                let rest = shown(&batch, &record);
                records.push(Read { offset, epoch, rest, next: batch.next_offset().value() });
            }
        }
        assert_eq!(next, dir.log_end_offset().value());
        return records;
    }
}

/// The offset behind the damage that an error is about.
fn behind(report: &PartitionDirReport, error: &Error) -> u64 {
    let Error::Corrupt { path, position, .. } = error else { panic!("{error:?}") };
    let of_it = |damage: &&DamagedRange| damage.path == *path && damage.bytes.contains(position);
    let damage = report.damage.iter().find(of_it);
    damage.unwrap_or_else(|| panic!("{error}: {report:?}")).offsets.end.value()
}

impl Known {
    fn of(path: &Path) -> Known {
        let dir = PartitionDir::open_read_only(path).unwrap();
        let records = read_all(&dir);
        let last = records.last().unwrap();
        assert_eq!((records.len() as u64, last.offset + 1), (last.next, last.next), "no gaps");
        let of_last = dir.offset_of_max_timestamp().unwrap().unwrap().timestamp.as_millis();
        let asked = (0..10).map(|i| Timestamp::from_millis(of_last + 2 - i * (records.len() as i64 / 8)));
        let times = asked.map(|at| (at, dir.offset_for_timestamp(at).unwrap())).collect();
        let logs = files(path, "log");
        let batches = logs.iter().flat_map(|log| places(log).into_iter().map(|place| (log.clone(), place)));
        assert_eq!((&dir.report().torn_end, dir.report().damage.len()), (&None, 0));
        Known {
            records,
            times,
            topic_id: dir.topic_id().unwrap(),
            epochs: dir.leader_epochs().to_vec(),
            snapshots: dir.producer_snapshots().unwrap(),
            batches: batches.collect(),
        }
    }
}

/// One flipped bit.
struct Trial<'a> {
    known: &'a Known,
    dir: &'a Path,
    path: &'a Path,
    bit: u64,
}

impl Trial<'_> {
    /// Whether what is said of this place covers the flipped bit.
    fn covers(&self, path: &Path, position: u64) -> bool {
        path == self.path && position <= self.bit / 8
    }

    /// An error is an answer when it is about the flipped file.
    fn excuse(&self, error: &Error) {
        match error {
            Error::Corrupt { path, position, .. } => assert!(self.covers(path, *position), "{error}"),
            Error::UnsupportedFormat { path, .. } => assert_eq!(path, self.path),
            other => panic!("{other:?}"),
        }
    }

    fn is_of(&self, name: &str) -> bool {
        self.path.file_name().is_some_and(|of| of == name)
    }

    /// The batch with the flipped bit in its field of so many bytes, and the mask of the bit there.
    fn in_field(&self, field: u64, len: u64) -> Option<(usize, u64)> {
        let at = self.bit / 8;
        let hit =
            |(path, place): &(PathBuf, Place)| *path == *self.path && (place.start..place.end).contains(&at);
        let i = self.known.batches.iter().position(hit)?;
        let byte = at.checked_sub(self.known.batches[i].1.start + field).filter(|byte| *byte < len)?;
        Some((i, 1 << ((len - 1 - byte) * 8 + self.bit % 8)))
    }

    /// How far the last batch is moved by its base offset, which a manifest beside it contradicts.
    fn moved(&self) -> u64 {
        if self.dir.with_file_name("manifest").exists() {
            return 0;
        }
        let (last, place) = (self.known.batches.len() - 1, self.known.batches.last().unwrap().1);
        let mask = self.in_field(0, 8).filter(|(i, _)| *i == last).map_or(0, |(_, mask)| mask);
        (place.base ^ mask).wrapping_sub(place.base)
    }

    /// The batch whose leader epoch is changed to one that may be right, and that: by the offset behind it.
    fn other_epoch(&self) -> Option<(u64, i32)> {
        let (i, mask) = self.in_field(12, 4)?;
        let next_of = |i: usize| self.known.batches.get(i).map(|(_, place)| place.next);
        let epoch_of = |i: usize| {
            let next = next_of(i)?;
            self.known.records.iter().find(|read| read.next == next).map(|read| read.epoch)
        };
        let epoch = epoch_of(i)? ^ (mask as u32).cast_signed();
        let before = i.checked_sub(1).and_then(epoch_of);
        let is_last = i + 1 == self.known.batches.len();
        let fits = before.is_none_or(|b| b <= epoch) && epoch_of(i + 1).is_none_or(|b| epoch <= b);
        (epoch >= -1 && (fits || is_last)).then_some((next_of(i)?, epoch))
    }

    /// Opens the directory and asks everything.
    fn ask(&self) {
        let dir = match PartitionDir::open_read_only(self.dir) {
            Ok(dir) => dir,
            Err(error) => return self.excuse(&error),
        };
        for damage in &dir.report().damage {
            assert!(self.covers(&damage.path, damage.bytes.start), "{damage:?}");
            assert!(damage.bytes.end > self.bit / 8, "{damage:?}");
        }
        if let Some(torn) = &dir.report().torn_end {
            assert!(self.covers(&torn.path, torn.position), "{torn:?}");
        }
        let expected = self.expected(dir.report());
        let records = read_all(&dir);
        let what = || format!("{:?}", dir.report());
        for (read, expected) in records.iter().zip(&expected) {
            assert_eq!(read, expected, "{}", what());
        }
        assert_eq!(records.len(), expected.len(), "{}", what());
        self.ask_times(&dir, &records);
        match dir.last(2) {
            Ok(last) => {
                let offsets = last.iter().map(|record| record.offset.value()).collect::<Vec<_>>();
                let two: Vec<_> = expected[expected.len() - 2..].iter().map(|read| read.offset).collect();
                assert_eq!(offsets, two);
            }
            Err(error) => self.excuse(&error),
        }
        self.ask_sidecars(&dir);
    }

    /// All records but those in reported damage, and those of a last batch whose end is reported to be torn; with the
    /// flipped field where that is excepted.
    fn expected(&self, report: &PartitionDirReport) -> Vec<Read> {
        let mut expected = self.known.records.clone();
        expected.retain(|read| !report.damage.iter().any(|d| d.offsets.contains(&Offset::new(read.offset))));
        let (path, last) = self.known.batches.last().unwrap();
        if let Some(torn) = &report.torn_end {
            assert!(torn.path == *path && torn.position >= last.start, "{torn:?}");
            // Otherwise it lies behind the data, in space that was set aside.
            if torn.position == last.start {
                expected.retain(|read| read.next != last.next);
            }
            return expected;
        }
        let other = self.other_epoch();
        for read in &mut expected {
            if let Some((_, epoch)) = other.filter(|(next, _)| *next == read.next) {
                read.epoch = epoch;
            }
            if read.next == last.next {
                read.offset = read.offset.wrapping_add(self.moved());
                read.next = read.next.wrapping_add(self.moved());
            }
        }
        expected
    }

    fn ask_times(&self, dir: &PartitionDir, records: &[Read]) {
        let whole = records == self.known.records;
        for (at, expected) in &self.known.times {
            match dir.offset_for_timestamp(*at) {
                Ok(found) if whole => assert_eq!(found, *expected, "at {at}"),
                // What would be the answer may be lost; what is given is a record that was read.
                Ok(Some(found)) => {
                    let first = expected.as_ref().unwrap().offset;
                    assert!(found.offset >= first && found.timestamp >= *at, "at {at}: {found:?}");
                    assert!(records.iter().any(|read| found.offset == read.offset));
                }
                Ok(None) => assert!(dir.report().damage.is_empty() || expected.is_none()),
                Err(error) => self.excuse(&error),
            }
        }
    }

    fn ask_sidecars(&self, dir: &PartitionDir) {
        match dir.topic_id() {
            Ok(id) => assert!(id == self.known.topic_id || self.is_of("partition.metadata"), "{id:?}"),
            Err(error) => self.excuse(&error),
        }
        let epochs = dir.leader_epochs();
        let moved = self.other_epoch().is_some() || self.moved() != 0;
        let excepted = moved || self.is_of("leader-epoch-checkpoint");
        let mut expected = self.known.epochs.clone();
        if dir.report().torn_end.is_some() {
            expected.retain(|(_, start)| *start <= dir.log_end_offset());
        }
        assert!(epochs == expected || excepted, "{epochs:?}");
        match dir.producer_snapshots() {
            Ok(snapshots) => assert_eq!(snapshots, self.known.snapshots),
            Err(error) => self.excuse(&error),
        }
        assert!(dir.aborted_transactions().unwrap().is_empty());
    }
}

/// Tells which bit it was, when the test fails there.
struct Told<'a>(&'a Trial<'a>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = self.0.path.strip_prefix(self.0.dir.parent().unwrap()).unwrap().display();
            println!("STREAMLOG_FLIP={path}:{}", self.0.bit);
        }
    }
}

fn flip(known: &Known, dir: &Path, path: &Path, bit: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << (bit % 8)], bit / 8).unwrap();
    let began = Instant::now();
    let trial = Trial { known, dir, path, bit };
    let told = Told(&trial);
    trial.ask();
    drop(told);
    assert!(began.elapsed() < PATIENCE, "{:?}: {}:{bit}", began.elapsed(), path.display());
    file.write_all_at(&byte, bit / 8).unwrap();
}

fn flip_bits_of(dir: &Path, default: u64) {
    let known = Known::of(dir);
    let sizes = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.path(), entry.metadata().unwrap().len())
    });
    let sizes: BTreeMap<PathBuf, u64> = sizes.collect();
    if let Ok(one) = std::env::var("STREAMLOG_FLIP") {
        let (path, bit) = one.rsplit_once(':').unwrap();
        let path = dir.parent().unwrap().join(path);
        if path.starts_with(dir) {
            flip(&known, dir, &path, bit.parse().unwrap());
        }
        return;
    }
    let mut sample = Sample::one_of(default);
    for (path, size) in &sizes {
        for bit in 0..size * 8 {
            if sample.takes_next() {
                flip(&known, dir, path, bit);
            }
        }
    }
    sample.end(sizes.len(), sizes.values().sum());
}

/// One bit of so many.
const SOME: u64 = if cfg!(debug_assertions) { 397 } else { 7 };

#[test]
fn a_flipped_bit_of_a_closed_partition_changes_no_answer_or_is_told() {
    let base = quick_dir();
    flip_bits_of(&build(base.path(), true), SOME);
}

#[test]
fn a_flipped_bit_of_a_killed_partition_changes_no_answer_or_is_told() {
    let base = quick_dir();
    flip_bits_of(&build(base.path(), false), SOME);
}

/// Three leader epochs, and producers with a snapshot; in `shared/fixtures` beside the repository.
#[test]
fn a_flipped_bit_of_a_brokers_partition_changes_no_answer_or_is_told() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = above.map(|dir| dir.join("shared/fixtures/kafka/clean")).find(|dir| dir.is_dir());
    let Some(fixtures) = found else {
        return eprintln!("SKIPPED: no shared/fixtures/kafka beside the repository");
    };
    for name in ["epochs-0", "idempotent-0"] {
        let base = quick_dir();
        let dir = base.path().join(name);
        fs::create_dir(&dir).unwrap();
        for entry in fs::read_dir(fixtures.join(name)).unwrap() {
            let entry = entry.unwrap();
            // Not copied as a file, for it may be one that nobody may write.
            fs::write(dir.join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
        }
        flip_bits_of(&dir, SOME / 6);
    }
}
