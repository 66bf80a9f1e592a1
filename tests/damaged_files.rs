//! What is damaged is named, what is torn is cut, and everything else is there. (I1, I2, I3, I5, I13, I14)

mod support;

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use streamlog::{Durability, Error, Partition, Streamlog, TopicConfig, admin::RecoveryVerdict};
use support::*;

const LOG: &str = "t-0/00000000000000000000.log";

/// One segment of batches of one, two and three records; left closed, or as a killed process leaves it.
struct Left {
    dir: PathBuf,
    durability: Durability,
    clean: bool,
    places: Vec<Place>,
    end: u64,
}

impl Left {
    fn all(root: &Path) -> Vec<Left> {
        let kinds = [Durability::Flushed, Durability::Written].map(|d| [(d, true), (d, false)]);
        kinds.concat().into_iter().map(|(durability, clean)| Left::new(root, durability, clean)).collect()
    }

    fn new(root: &Path, durability: Durability, clean: bool) -> Left {
        let (living, dir) = (root.join("living"), root.join(format!("{durability}-{clean}")));
        let log = Streamlog::open(&living).unwrap();
        let config = TopicConfig::default().durability(durability);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        let mut end = 0;
        for i in 0..30 {
            append_batch(&partition, end..end + 1 + i % 3).unwrap();
            end += 1 + i % 3;
        }
        drop(partition);
        leave(log, &living, &dir, clean);
        fs::remove_dir_all(&living).unwrap();
        let places = places(&dir.join(LOG));
        assert_eq!(places.len(), 30);
        Left { dir, durability, clean, places, end }
    }

    /// Whether recovery looks at the last batches, and knows that they were durable.
    fn is_judged(&self) -> bool {
        !self.clean
    }

    /// The last three batches.
    fn last_three(&self) -> &[Place] {
        &self.places[27..]
    }
}

fn open(dir: &Path) -> (Streamlog, Partition) {
    let log = Streamlog::open(dir).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    (log, partition)
}

/// The verdict on the one partition; `None` after a clean close.
fn verdict(log: &Streamlog) -> Option<RecoveryVerdict> {
    log.recovery_report().partitions.first().map(|p| p.verdict.clone())
}

fn assert_corrupt_at(error: Option<Error>, dir: &Path, position: u64, context: &str) {
    match error {
        Some(Error::Corrupt { path, position: found, .. }) => {
            assert_eq!(path, dir.join(LOG), "{context}");
            assert_eq!(found, position, "{context}");
        }
        other => panic!("{context}: {other:?}"),
    }
}

/// The image at `dir` is damaged from `bad.start` on, in batch `bad` at least; what follows it, from `resumes` on, is
/// whole when there is any.
fn check_damaged(left: &Left, dir: &Path, bad: Place, resumes: Option<u64>, context: &str) {
    let before = fs::read(dir.join(LOG)).unwrap();
    // The second opening is to find what the first did.
    for round in 0..2 {
        let context = format!("{context}, opening {round}");
        let (log, partition) = open(dir);
        match (left.is_judged(), left.durability, verdict(&log)) {
            (false, _, None) => {}
            // Of a closed log the length is looked at.
            (_, Durability::Flushed, Some(RecoveryVerdict::Damage { path, position, .. }))
            | (false, _, Some(RecoveryVerdict::Damage { path, position, .. })) => {
                assert_eq!((path, position), (dir.join(LOG), bad.start), "{context}");
            }
            (true, Durability::Written, Some(RecoveryVerdict::TornTail { path, position, .. }))
                if round == 0 =>
            {
                assert_eq!((path, position), (dir.join(LOG), bad.start), "{context}");
                return check_cut(dir, log, partition, bad, &context);
            }
            (_, _, other) => panic!("{context}: {other:?}"),
        }
        let (next, error) = read_from(&partition, 0);
        assert_eq!(next, bad.base, "{context}");
        assert_corrupt_at(error, dir, bad.start, &context);
        for from in [bad.base, bad.next - 1] {
            let (next, error) = read_from(&partition, from);
            assert_eq!(next, from, "{context}");
            assert_corrupt_at(error, dir, bad.start, &context);
        }
        if let Some(resumes) = resumes {
            let (next, error) = read_from(&partition, resumes);
            assert!(error.is_none(), "{context}: {error:?}");
            assert_eq!(next, left.end, "{context}");
        }
        if !left.clean {
            let refused = append_batch(&partition, left.end..left.end + 1).unwrap_err();
            assert_corrupt_at(Some(refused), dir, bad.start, &context);
        }
        assert_eq!(fs::read(dir.join(LOG)).unwrap(), before, "{context}: nothing is changed");
        drop(partition);
        log.close().unwrap();
    }
}

/// The torn tail was cut at `bad`: what lies before is there, and nothing of the rest comes back.
fn check_cut(dir: &Path, log: Streamlog, partition: Partition, bad: Place, context: &str) {
    let everything = |partition: &Partition, end| {
        let (next, error) = read_from(partition, 0);
        assert!(error.is_none(), "{context}: {error:?}");
        assert_eq!((next, partition.log_end_offset().value()), (end, end), "{context}");
    };
    everything(&partition, bad.base);
    let again = dir.with_extension("again");
    image(dir, &again);
    append_batch(&partition, bad.base..bad.base + 1).unwrap();
    everything(&partition, bad.base + 1);
    drop((log, partition));
    let (_log, partition) = open(dir);
    everything(&partition, bad.base + 1);
    let (log, partition) = open(&again);
    assert_eq!(verdict(&log), Some(RecoveryVerdict::Whole), "{context}: the cut was made once");
    everything(&partition, bad.base);
}

/// One byte of an image's log is changed.
fn change(dir: &Path, position: u64, change: impl Fn(u8) -> u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(dir.join(LOG)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[change(byte[0])], position).unwrap();
}

fn change_every_byte(clean: bool) {
    let root = quick_dir();
    for left in Left::all(root.path()).iter().filter(|left| left.clean == clean) {
        for (i, bad) in left.last_three().iter().enumerate() {
            for position in bad.start..bad.end {
                let mask = if position % 2 == 0 { 0xff } else { 1 << (position / 2 % 8) };
                let dir = root.path().join("damaged");
                image(&left.dir, &dir);
                change(&dir, position, |byte| byte ^ mask);
                let field = position - bad.start;
                let context =
                    format!("{}, clean {clean}, batch {i}, byte {field}, mask {mask:#x}", left.durability);
                let resumes = (bad.next < left.end).then_some(bad.next);
                check_damaged(left, &dir, *bad, resumes, &context);
            }
        }
    }
}

#[test]
fn a_changed_byte_in_a_closed_log_is_an_error_when_it_is_read_and_never_wrong_data() {
    change_every_byte(true);
}

#[test]
fn a_changed_byte_in_a_log_left_open_is_damage_where_it_was_durable_and_a_torn_tail_where_not() {
    change_every_byte(false);
}

#[test]
fn a_length_of_zero_does_not_hide_the_batches_behind_it() {
    let root = quick_dir();
    for left in Left::all(root.path()) {
        for bad in left.last_three() {
            let dir = root.path().join("damaged");
            image(&left.dir, &dir);
            for position in bad.start + 8..bad.start + 12 {
                change(&dir, position, |_| 0);
            }
            let resumes = (bad.next < left.end).then_some(bad.next);
            check_damaged(&left, &dir, *bad, resumes, &format!("{}, clean {}", left.durability, left.clean));
        }
    }
}

#[test]
fn zeros_that_reach_into_the_offset_of_the_next_batch_do_not_move_its_records() {
    let root = quick_dir();
    for left in Left::all(root.path()) {
        // No checksum covers a base offset, and 0 is where the log begins.
        let dir = root.path().join("image");
        image(&left.dir, &dir);
        let [first, second, third] = left.places[..3] else { panic!() };
        let log_file = fs::OpenOptions::new().write(true).open(dir.join(LOG)).unwrap();
        let zeros = vec![0; (second.start + 8 - first.start) as usize];
        log_file.write_all_at(&zeros, first.start).unwrap();
        let (_log, partition) = open(&dir);
        let context = format!("{}, clean: {}", left.durability, left.clean);
        let (next, error) = read_from(&partition, 0);
        assert_eq!(next, 0, "{context}");
        if left.clean || left.durability == Durability::Flushed {
            assert!(matches!(error, Some(Error::Corrupt { .. })), "{context}: {error:?}");
            let (next, error) = read_from(&partition, third.base);
            assert!(error.is_none(), "{context}: {error:?}");
            assert_eq!(next, left.end, "{context}");
        }
    }
}

#[test]
fn a_log_cut_short_says_what_is_missing() {
    let root = quick_dir();
    for left in Left::all(root.path()) {
        let [first, _, last] = left.last_three() else { unreachable!() };
        for length in first.start..last.end {
            let dir = root.path().join("damaged");
            image(&left.dir, &dir);
            fs::OpenOptions::new().write(true).open(dir.join(LOG)).unwrap().set_len(length).unwrap();
            let bad = *left.places.iter().find(|place| length < place.end).unwrap();
            let context = format!("{}, clean {}, {length} bytes", left.durability, left.clean);
            if left.durability == Durability::Written && !left.clean && length < bad.start + 8 {
                // What a `Written` topic had beyond its last flush is known from the file alone, and the first bytes
                // of an offset are the zeros of space set aside.
                let (log, partition) = open(&dir);
                assert_eq!(verdict(&log), Some(RecoveryVerdict::Whole), "{context}");
                check_cut(&dir, log, partition, bad, &context);
                continue;
            }
            check_damaged(&left, &dir, bad, None, &context);
            if left.clean {
                let (_log, partition) = open(&dir);
                let refused = append_batch(&partition, left.end..left.end + 1).unwrap_err();
                assert_corrupt_at(Some(refused), &dir, bad.start, &context);
            }
        }
    }
}

/// A message of Kafka's format before record batches, magic 1, at this offset.
fn old_message(offset: u64) -> Vec<u8> {
    let mut body = vec![1, 0];
    body.extend(1_000_000i64.to_be_bytes());
    body.extend((-1i32).to_be_bytes());
    body.extend(3u32.to_be_bytes());
    body.extend(b"old");
    let mut bytes = offset.to_be_bytes().to_vec();
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(crc32fast::hash(&body).to_be_bytes());
    bytes.extend(body);
    // As long as a header, so that nothing behind it is needed to see what it is.
    bytes.extend([0; 61]);
    bytes
}

/// A batch that says it is of magic 3, and whose bytes are not those of a batch of magic 2.
fn new_batch(offset: u64) -> Vec<u8> {
    let mut bytes = offset.to_be_bytes().to_vec();
    bytes.extend(100u32.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 3]);
    bytes.extend([0x5a; 95]);
    bytes
}

#[test]
fn nonsense_that_looks_like_a_batch_of_another_version_is_a_torn_tail() {
    let root = quick_dir();
    for left in Left::all(root.path()).iter().filter(|left| !left.clean) {
        for batch in [old_message(left.end), new_batch(left.end)] {
            let dir = root.path().join("damaged");
            image(&left.dir, &dir);
            let end = left.places[29].end;
            let file = fs::OpenOptions::new().write(true).open(dir.join(LOG)).unwrap();
            file.write_all_at(&batch, end).unwrap();
            // The manifest would say so if a later release had written here.
            let (log, partition) = open(&dir);
            match verdict(&log) {
                Some(RecoveryVerdict::TornTail { path, position, .. }) => {
                    assert_eq!((path, position), (dir.join(LOG), end));
                }
                other => panic!("{other:?}"),
            }
            append_batch(&partition, left.end..left.end + 1).unwrap();
            assert_eq!(partition.log_end_offset(), left.end + 1);
        }
    }
}

#[test]
fn without_its_mark_nothing_is_cut_that_whole_batches_follow() {
    let root = quick_dir();
    for left in Left::all(root.path()).iter().filter(|left| !left.clean) {
        let [.., before, bad, _, last] = left.places[..] else { unreachable!() };
        for (which, damaged) in [("in the middle", bad), ("the last", last)] {
            let dir = root.path().join("damaged");
            image(&left.dir, &dir);
            fs::remove_file(dir.join("marks")).unwrap();
            change(&dir, damaged.end - 1, |byte| !byte);
            let (log, partition) = open(&dir);
            let context = format!("{}, {which}", left.durability);
            match verdict(&log) {
                Some(RecoveryVerdict::Damage { position, .. }) if damaged.start == bad.start => {
                    assert_eq!(position, bad.start, "{context}");
                    assert_eq!(read_from(&partition, 0).0, before.next, "{context}");
                    assert_eq!(read_from(&partition, bad.next).0, left.end, "{context}");
                    assert!(append_batch(&partition, left.end..left.end + 1).is_err(), "{context}");
                }
                Some(RecoveryVerdict::TornTail { position, .. }) if damaged.start == last.start => {
                    assert_eq!(position, last.start, "{context}");
                }
                other => panic!("{context}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_directory_whose_manifest_is_gone_is_not_taken_for_a_new_one() {
    let root = quick_dir();
    for left in Left::all(root.path()) {
        fs::remove_file(left.dir.join("manifest")).unwrap();
        let before = fs::read(left.dir.join(LOG)).unwrap();
        for open in [Streamlog::open, Streamlog::open_read_only] {
            match open(&left.dir).unwrap_err() {
                Error::Corrupt { path, position, reason, .. } => {
                    assert_eq!((path, position), (left.dir.join("manifest"), 0));
                    assert!(reason.contains("t-0"), "{reason}");
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(fs::read(left.dir.join(LOG)).unwrap(), before);
        let dir = streamlog::dir::PartitionDir::open_read_only(left.dir.join("t-0")).unwrap();
        assert_eq!(read_from(dir.partition(), 0).0, left.end);
    }
}

#[test]
fn a_damaged_manifest_is_refused_or_hides_nothing() {
    let root = quick_dir();
    for left in Left::all(root.path()) {
        let manifest = fs::read(left.dir.join("manifest")).unwrap();
        let (mut refused, mut opened) = (0, 0);
        // Behind what it says are zeros, which are one as good as the other.
        let said = manifest.iter().rposition(|byte| *byte != 0).unwrap();
        for i in 0..manifest.len().min(said + 100) {
            let dir = root.path().join("damaged");
            image(&left.dir, &dir);
            let mut bytes = manifest.clone();
            bytes[i] ^= 0xff;
            fs::write(dir.join("manifest"), &bytes).unwrap();
            match Streamlog::open(&dir) {
                Err(Error::Corrupt { path, .. } | Error::UnsupportedFormat { path, .. }) => {
                    assert_eq!(path, dir.join("manifest"), "byte {i}");
                    refused += 1;
                }
                Err(other) => panic!("byte {i}: {other}"),
                Ok(log) => {
                    let partition = log.topic("t").unwrap().partition(0).unwrap();
                    assert_eq!(read_from(&partition, 0).0, left.end, "byte {i}");
                    append_batch(&partition, left.end..left.end + 1).unwrap();
                    opened += 1;
                }
            }
        }
        assert!(refused > 0);
        println!("{}, clean {}: {refused} refused, {opened} opened", left.durability, left.clean);
    }
}

#[test]
fn a_file_of_a_segment_that_is_gone_is_named() {
    let root = quick_dir();
    let living = root.path().join("living");
    let log = Streamlog::open(&living).unwrap();
    let config = TopicConfig::default().segment_bytes(2000);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    (0..100).for_each(|i| append_batch(&partition, i..i + 1).unwrap());
    let killed = root.path().join("killed");
    image(&living, &killed);
    drop(partition);
    log.close().unwrap();
    for (name, from) in [("closed", &living), ("killed", &killed)] {
        let logs = files(&from.join("t-0"), "log");
        assert!(logs.len() > 3);
        for gone in &logs {
            let dir = root.path().join("damaged");
            image(from, &dir);
            let file = gone.file_name().unwrap();
            let (first, next) = match &places(gone)[..] {
                [first, .., last] => (first.base, last.next),
                other => panic!("{other:?}"),
            };
            fs::remove_file(dir.join("t-0").join(file)).unwrap();
            let (log, partition) = open(&dir);
            let context = format!("{name}, without {file:?}");
            let (end, error) = read_from(&partition, 0);
            assert_eq!(end, first, "{context}");
            match error {
                Some(Error::Corrupt { path, .. }) => assert_eq!(path.file_name(), Some(file), "{context}"),
                other => panic!("{context}: {other:?}"),
            }
            if next < 100 {
                assert_eq!(read_from(&partition, next).0, 100, "{context}");
            } else {
                assert!(append_batch(&partition, 100..101).is_err(), "{context}");
            }
            assert!(log.recovery_report().partitions.iter().all(|p| p.quarantined.is_empty()));
        }
    }
}

#[test]
fn who_only_reads_a_closed_log_misses_its_lost_end() {
    let dir = quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    let config = TopicConfig::default().segment_bytes(512);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for i in 0..20 {
        append_batch(&partition, i..i + 1).unwrap();
    }
    log.close().unwrap();
    // Nothing of the last segment is left, nor what is known of the log's end beside it.
    let files = fs::read_dir(dir.path().join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some()).collect();
    files.sort();
    let is_log = |path: &&PathBuf| path.extension().is_some_and(|e| e == "log");
    let last = files.iter().rfind(is_log).unwrap().file_stem().unwrap();
    for path in files.iter().filter(|path| path.file_stem().unwrap() >= last) {
        fs::remove_file(path).unwrap();
    }
    let reader = Streamlog::open_read_only(dir.path()).unwrap();
    let partition = reader.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.log_end_offset(), 20);
    let found: Vec<_> = partition.read(0).collect();
    let (end, whole) = found.split_last().unwrap();
    assert!(!whole.is_empty() && whole.iter().all(|batch| batch.is_ok()));
    assert!(matches!(end, Err(Error::Corrupt { .. })), "{end:?}");
}

#[test]
fn damage_that_only_a_reader_or_the_first_append_met_is_part_of_the_health() {
    let root = tempfile::tempdir().unwrap();
    let left = Left::new(root.path(), Durability::Flushed, true);
    let dir = root.path().join("image");
    image(&left.dir, &dir);
    let bad = left.places[10];
    let file = fs::OpenOptions::new().write(true).open(dir.join(LOG)).unwrap();
    file.write_all_at(b"\xff\xff", bad.start + 17).unwrap();
    let (log, partition) = open(&dir);
    assert!(log.health().is_good(), "nobody has looked");
    assert!(read_from(&partition, 0).1.is_some());
    for _ in 0..2 {
        let health = log.health();
        assert!(!health.is_good() && health.refusing.is_empty(), "{health:?}");
        assert_eq!(&health.damaged[0].0, partition.topic_partition());
        assert_corrupt_at(Some(health.damaged[0].1.clone()), &dir, bad.start, "health");
    }
    append_batch(&partition, left.end..left.end + 1).unwrap();
    drop((log, partition));

    let dir = root.path().join("shorter");
    image(&left.dir, &dir);
    let cut = left.places[29].start;
    fs::OpenOptions::new().write(true).open(dir.join(LOG)).unwrap().set_len(cut).unwrap();
    let (log, partition) = open(&dir);
    for _ in 0..2 {
        let refused = append_batch(&partition, left.end..left.end + 1).unwrap_err();
        assert_corrupt_at(Some(refused), &dir, cut, "the first append");
        let health = log.health();
        assert_eq!((health.refusing.len(), health.damaged.len()), (1, 1), "{health:?}");
    }
    log.close().unwrap();
    let (log, _) = open(&dir);
    assert!(
        matches!(verdict(&log), Some(RecoveryVerdict::Damage { .. })),
        "an opening that looks finds it too"
    );
    assert_eq!(log.health().damaged.len(), 1);
}

#[test]
fn who_only_reads_goes_on_behind_damage_in_the_last_segment_as_a_writer_does() {
    let root = quick_dir();
    for left in Left::all(root.path()) {
        let (bad, more) = (left.places[9], left.places[20]);
        let resumes = left.places[10].base;
        for missing in ["", "index", "timeindex", "snapshot", "pages", "marks"] {
            let context = format!("{} {} without {missing:?}", left.durability, left.clean);
            let dir = root.path().join("damaged");
            image(&left.dir, &dir);
            change(&dir, bad.start + 70, |byte| byte ^ 1);
            change(&dir, more.start + 70, |byte| byte ^ 1);
            files(&dir.join("t-0"), missing).iter().for_each(|file| fs::remove_file(file).unwrap());
            if missing == "marks" && left.clean {
                fs::remove_file(dir.join("marks")).unwrap();
                files(&dir.join("t-0"), "index").iter().for_each(|file| fs::remove_file(file).unwrap());
            }
            let reading = Streamlog::open_read_only(&dir).unwrap();
            let partition = reading.topic("t").unwrap().partition(0).unwrap();
            if partition.high_watermark() != left.end {
                // What a killed process of a topic that is only written has left: nobody said that it was durable.
                assert!(!left.clean && left.durability == Durability::Written, "{context}");
                continue;
            }
            let (next, error) = read_from(&partition, 0);
            assert_eq!(next, bad.base, "{context}");
            assert_eq!(error.unwrap().next_offset().unwrap(), resumes, "{context}");
            let (next, error) = read_from(&partition, resumes);
            assert_eq!(next, more.base, "{context}");
            let resumes = error.unwrap().next_offset().unwrap();
            assert_eq!(resumes, left.places[21].base, "{context}");
            let (next, error) = read_from(&partition, resumes.value());
            assert!(error.is_none() && next == left.end, "{context}: {error:?}");
        }
    }
}
