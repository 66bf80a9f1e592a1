//! Batches whose checksum is right and whose content cannot be read: every reader names the file, the position and the
//! offset where reading goes on, and goes on there.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use streamlog::{
    Consumer, Error, ErrorKind, Offset, Partition, RecordData, Streamlog, Timestamp, TopicConfig,
    TopicPartition, admin::RecoveryVerdict, dir::PartitionDir,
};
use support::seal_batch;

const LOG: &str = "00000000000000000000.log";

type Spoil = fn(&mut [u8]);

/// Writes five batches of two records.
fn five_batches(log: &Streamlog) -> Partition {
    let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    for i in 0..5 {
        let records = [0, 1].map(|j| RecordData::new("value").timestamp(Timestamp::from_millis(2 * i + j)));
        partition.append(&records).unwrap();
    }
    partition
}

/// Has the third of five batches changed by `spoil` before its checksum is made. Says where that one lies.
fn spoil_third(dir: &Path, size: usize, spoil: impl Fn(&mut [u8])) -> (PathBuf, u64) {
    let path = dir.join("t-0").join(LOG);
    let mut bytes = fs::read(&path).unwrap();
    let batch = &mut bytes[2 * size..3 * size];
    spoil(batch);
    seal_batch(batch);
    fs::write(&path, bytes).unwrap();
    (path, 2 * size as u64)
}

/// A log of five batches of two records, closed, of which the third was changed by `spoil` before its checksum was
/// made. Says where that one lies.
fn spoiled(dir: &Path, spoil: impl Fn(&mut [u8])) -> (PathBuf, u64) {
    let log = Streamlog::open(dir).unwrap();
    let size = five_batches(&log).size() as usize / 5;
    log.close().unwrap();
    spoil_third(dir, size, spoil)
}

/// The same, of a log that was not closed.
fn spoiled_after_a_crash(dir: &Path, spoil: impl Fn(&mut [u8])) -> (PathBuf, u64) {
    let living = support::quick_dir();
    let log = Streamlog::open(living.path()).unwrap();
    let size = five_batches(&log).size() as usize / 5;
    support::leave(log, living.path(), dir, false);
    spoil_third(dir, size, spoil)
}

/// What a broken encoder may leave: a record longer than its batch, records behind the last, a codec that does not
/// fit.
fn ways_to_spoil() -> [(&'static str, Spoil); 3] {
    [
        ("a record that does not fit", |batch| batch[61] = 0x7e),
        ("fewer records than there are", |batch| batch[57..61].copy_from_slice(&1u32.to_be_bytes())),
        ("no gzip", |batch| batch[22] = 1),
    ]
}

fn assert_named(error: &Error, path: &Path, position: u64, how: &str) {
    let Error::Corrupt { path: named, position: at, next_offset, .. } = error else {
        panic!("{how}: {error:?}");
    };
    assert_eq!((named.as_path(), *next_offset), (path, Some(6.into())), "{how}: {error}");
    assert!((position..position + 200).contains(at), "{how}: {error}");
    assert!(error.to_string().contains("reading can continue at offset 6"), "{error}");
}

fn read(partition: &Partition, from: u64) -> (Vec<u64>, Option<Error>) {
    let mut offsets = Vec::new();
    for batch in partition.read(from) {
        match batch {
            Ok(batch) => offsets.extend(batch.iter().map(|record| record.offset.value())),
            Err(error) => return (offsets, Some(error)),
        }
    }
    (offsets, None)
}

/// Backwards everything behind the damage comes first, then the error, and everything before it is a call away.
fn assert_backwards(partition: &Partition, path: &Path, position: u64, how: &str) {
    let mut batches = partition.read_backwards(10);
    let base = |batch: streamlog::records::Batch| batch.base_offset().value();
    assert_eq!(batches.next().unwrap().map(base).unwrap(), 8, "{how}");
    assert_eq!(batches.next().unwrap().map(base).unwrap(), 6, "{how}");
    assert_named(&batches.next().unwrap().unwrap_err(), path, position, how);
    assert!(batches.next().is_none(), "{how}");
    assert_eq!(batches.before(), 4, "{how}");
    let rest: Vec<u64> =
        partition.read_backwards(batches.before()).map(|batch| base(batch.unwrap())).collect();
    assert_eq!(rest, [2, 0], "{how}");
}

fn assert_every_reader_names_it(partition: &Partition, path: &Path, position: u64, how: &str) {
    let (before, error) = read(partition, 0);
    let error = error.unwrap();
    assert_eq!(before, [0, 1, 2, 3], "{how}");
    assert_named(&error, path, position, how);
    assert_eq!(read(partition, error.next_offset().unwrap().value()).0, [6, 7, 8, 9], "{how}");
    // From within it as well.
    assert_named(&read(partition, 5).1.unwrap(), path, position, how);
    assert_backwards(partition, path, position, how);
    assert_named(&partition.last(5).unwrap_err(), path, position, how);
    assert_eq!(partition.last(4).unwrap().len(), 4, "{how}");
    let time = Timestamp::from_millis(4);
    assert_named(&partition.offset_for_timestamp(time).unwrap_err(), path, position, how);
}

fn poll(consumer: &mut Consumer) -> Result<Vec<u64>, Error> {
    Ok(consumer.poll(Duration::ZERO)?.iter().map(|record| record.offset.value()).collect())
}

#[test]
fn every_reader_names_file_position_and_the_offset_to_go_on_at() {
    for (how, spoil) in ways_to_spoil() {
        let root = tempfile::tempdir().unwrap();
        let (path, position) = spoiled(root.path(), spoil);
        let dir = PartitionDir::open_read_only(root.path().join("t-0")).unwrap();
        assert_every_reader_names_it(dir.partition(), &path, position, how);
        let [damage] = &dir.report().damage[..] else { panic!("{how}: {:?}", dir.report()) };
        assert_eq!((&damage.path, damage.bytes.start), (&path, position), "{how}");
        assert_eq!(damage.offsets, Offset::new(4)..Offset::new(6), "{how}");
        assert_eq!(dir.report().torn_end, None, "{how}");
        drop(dir);
        for open in [Streamlog::open_read_only, Streamlog::open] {
            let log = open(root.path()).unwrap();
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            assert_every_reader_names_it(&partition, &path, position, how);
            let tp = TopicPartition::new("t", 0);
            let mut consumer = log.consumer("g").unwrap();
            consumer.assign([tp.clone()]).unwrap();
            let times = consumer.offsets_for_times([(tp.clone(), Timestamp::from_millis(4))]);
            assert_named(&times.unwrap_err(), &path, position, how);
            assert_eq!(poll(&mut consumer).unwrap(), [0, 1, 2, 3], "{how}");
            assert_named(&poll(&mut consumer).unwrap_err(), &path, position, how);
        }
    }
}

#[test]
fn an_opening_reports_the_batches_that_it_read_and_that_nobody_can_read() {
    let open: [fn(&Path) -> Streamlog; 2] =
        [|dir| Streamlog::open_read_only(dir).unwrap(), |dir| Streamlog::open(dir).unwrap()];
    for (how, spoil) in ways_to_spoil() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("log");
        let (path, position) = spoiled_after_a_crash(&dir, spoil);
        for open in open {
            let log = open(&dir);
            let [found] = &log.recovery_report().partitions[..] else { panic!("{how}") };
            assert_eq!(found.verdict, RecoveryVerdict::Whole, "{how}");
            let [range] = &found.unreadable[..] else { panic!("{how}: {found:?}") };
            assert_eq!((&range.path, range.bytes.start), (&path, position), "{how}");
            assert_eq!(range.offsets, Offset::new(4)..Offset::new(6), "{how}");
            let health = log.health();
            let [(_, error)] = &health.damaged[..] else { panic!("{how}: {health}") };
            assert_named(error, &path, position, how);
        }
        // The opening before this one has closed it: nothing is read, and nothing is known.
        let log = open[1](&dir);
        assert!(log.recovery_report().partitions.is_empty() && log.health().is_good(), "{how}");
    }
}

#[test]
#[cfg(not(feature = "zstd"))]
fn an_opening_reports_batches_of_a_codec_that_is_missing_though_nothing_is_damaged() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let (path, position) = spoiled_after_a_crash(&dir, |batch| batch[22] = 4);
    let log = Streamlog::open(&dir).unwrap();
    let [found] = &log.recovery_report().partitions[..] else { panic!() };
    let [range] = &found.unreadable[..] else { panic!("{found:?}") };
    assert_eq!((&range.path, range.bytes.start), (&path, position));
    assert!(range.reason.contains("the cargo feature `zstd`"), "{}", range.reason);
    assert!(log.health().is_good());
}

#[test]
fn a_consumer_goes_past_the_damage_that_it_was_told_of_and_not_past_anything_else() {
    let root = tempfile::tempdir().unwrap();
    spoiled(root.path(), ways_to_spoil()[0].1);
    let log = Streamlog::open(root.path()).unwrap();
    let tp = TopicPartition::new("t", 0);
    let mut consumer = log.consumer("g").unwrap();
    consumer.subscribe(["t"]).unwrap();
    poll(&mut consumer).unwrap();
    let error = poll(&mut consumer).unwrap_err();
    // It stays there until it is told.
    poll(&mut consumer).unwrap_err();
    let mut elsewhere = log.consumer("h").unwrap();
    elsewhere.subscribe(["t"]).unwrap();
    assert_eq!(elsewhere.skip_damage(&error).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(consumer.skip_damage(&Error::QueueFull).unwrap_err().kind(), ErrorKind::QueueFull);
    consumer.seek(&tp, 2).unwrap();
    assert_eq!(consumer.skip_damage(&error).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(poll(&mut consumer).unwrap(), [2, 3]);
    let error = poll(&mut consumer).unwrap_err();
    assert_eq!(consumer.skip_damage(&error).unwrap(), (tp.clone(), Offset::new(4)..Offset::new(6)));
    assert_eq!(poll(&mut consumer).unwrap(), [6, 7, 8, 9]);
    consumer.commit_sync().unwrap();
    let committed = log.consumer("g").unwrap().committed(std::slice::from_ref(&tp)).unwrap();
    assert_eq!(committed[&tp].as_ref().unwrap().offset, 10);
    assert_eq!(consumer.skip_damage(&error).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn bytes_that_changed_have_an_offset_to_go_on_at_too() {
    let root = tempfile::tempdir().unwrap();
    let (path, position) = spoiled(root.path(), |_| {});
    let mut bytes = fs::read(&path).unwrap();
    bytes[position as usize + 70] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let log = Streamlog::open(root.path()).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let (before, error) = read(&partition, 0);
    assert_eq!(before, [0, 1, 2, 3]);
    assert_named(&error.unwrap(), &path, position, "a flipped bit");
    assert_eq!(read(&partition, 6).0, [6, 7, 8, 9]);
    assert_backwards(&partition, &path, position, "a flipped bit");
    // The last batch has nothing behind it but the end of the log.
    drop((partition, log));
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let log = Streamlog::open_read_only(root.path()).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let (offsets, error) = read(&partition, 6);
    assert_eq!((offsets, error.unwrap().next_offset()), (vec![6, 7], Some(10.into())));
    assert_eq!(read(&partition, 10).0, [0; 0]);
}

/// Has the two records of a batch say that they lie at each other's offsets.
fn swap_offsets(batch: &mut [u8]) {
    // Length, attributes, timestamp delta, offset delta, each of one byte.
    let second = 62 + usize::from(batch[61]) / 2;
    batch.swap(64, second + 3);
}

fn poll_one(log: &Streamlog) -> (Consumer, Vec<u64>) {
    let mut consumer = log.consumer_builder("g").max_poll_records(1).build().unwrap();
    consumer.subscribe(["t"]).unwrap();
    let found = poll(&mut consumer).unwrap();
    (consumer, found)
}

#[test]
fn offsets_that_do_not_rise_are_read_as_they_are_and_no_record_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    spoiled(root.path(), swap_offsets);
    let dir = PartitionDir::open_read_only(root.path().join("t-0")).unwrap();
    assert!(dir.report().damage.is_empty());
    let as_written = [0, 1, 2, 3, 5, 4, 6, 7, 8, 9];
    assert_eq!(read(dir.partition(), 0).0, as_written);
    assert_eq!(read(dir.partition(), 5).0, [5, 6, 7, 8, 9]);
    let last: Vec<u64> = dir.last(10).unwrap().iter().map(|record| record.offset.value()).collect();
    assert_eq!(last, as_written);
    let mut before = dir.read_backwards(5);
    let next = before.next().unwrap().unwrap();
    assert_eq!(next.iter().map(|record| record.offset.value()).collect::<Vec<_>>(), [4]);
    assert_eq!(next.into_iter().map(|record| record.offset.value()).collect::<Vec<_>>(), [4]);
    drop((before, dir));
    let log = Streamlog::open(root.path()).unwrap();
    for expected in [0, 1, 2, 3] {
        let (mut consumer, found) = poll_one(&log);
        assert_eq!(found, [expected]);
        consumer.commit_sync().unwrap();
    }
    for _ in 0..2 {
        // Of the two, only the first was given, and the second has the smaller offset.
        let (mut consumer, found) = poll_one(&log);
        assert_eq!(found, [5]);
        consumer.commit_sync().unwrap();
    }
    let (mut consumer, _) = poll_one(&log);
    let records = consumer.poll(Duration::ZERO).unwrap();
    let record = records.iter().next().unwrap();
    assert_eq!((record.offset.value(), record.next_offset.value()), (4, 6));
    consumer.commit_record(&record).unwrap();
    assert_eq!(poll_one(&log).1, [6]);
}

/// A batch with the right checksum that claims more offsets than it has records.
#[test]
fn a_batch_that_claims_the_offsets_of_those_behind_it_is_damage_and_hides_none_of_them() {
    for more in [3u32, 1000] {
        let root = tempfile::tempdir().unwrap();
        let (path, position) =
            spoiled(root.path(), |batch| batch[23..27].copy_from_slice(&more.to_be_bytes()));
        let how = format!("{more} offsets more");
        let dir = PartitionDir::open_read_only(root.path().join("t-0")).unwrap();
        assert_every_reader_names_it(dir.partition(), &path, position, &how);
        let [damage] = &dir.report().damage[..] else { panic!("{how}: {:?}", dir.report()) };
        assert_eq!((&damage.path, damage.bytes.start), (&path, position), "{how}");
        assert_eq!(damage.offsets, Offset::new(4)..Offset::new(6), "{how}");
        drop(dir);
        for open in [Streamlog::open_read_only, Streamlog::open] {
            let log = open(root.path()).unwrap();
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            assert_every_reader_names_it(&partition, &path, position, &how);
        }
    }
}

#[test]
#[cfg(not(feature = "zstd"))]
fn a_codec_that_is_not_in_this_build_is_named_with_the_batch_that_needs_it() {
    let root = tempfile::tempdir().unwrap();
    let (path, position) = spoiled(root.path(), |batch| batch[22] = 4);
    let log = Streamlog::open(root.path()).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let (before, error) = read(&partition, 0);
    let error = error.unwrap();
    assert_eq!(before, [0, 1, 2, 3]);
    let Error::CodecUnavailable { place, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*place, Some((path.clone(), position)));
    let text = error.to_string();
    assert!(text.contains("the cargo feature `zstd`") && text.contains(&*path.to_string_lossy()), "{text}");
    assert_eq!(read(&partition, error.next_offset().unwrap().value()).0, [6, 7, 8, 9]);
    assert!(log.health().is_good(), "nothing is damaged");
}
