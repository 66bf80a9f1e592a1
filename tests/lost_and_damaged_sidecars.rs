//! Whatever becomes of the files beside the data, every question gets the same answer. (I1, I13)

mod support;

use std::{fs, path::Path};
use streamlog::{
    Durability, Offset, Partition, RecordData, Streamlog, Timestamp, TopicConfig, admin::RecoveryVerdict,
};
use support::*;

const KINDS: [&str; 7] =
    ["index", "timeindex", "txnindex", "snapshot", "producers", "pages", "leader-epoch-checkpoint"];
const RECORDS: u64 = 3000;

/// Times that mostly grow, with leaps back, and the same again and again.
fn time_of(i: u64) -> Timestamp {
    Timestamp::from_millis((i / 3 * 20) as i64 + if i.is_multiple_of(17) { 300 } else { 2000 })
}

/// A log of several segments, as a closed and as a killed process leave it.
fn build(root: &Path) -> [std::path::PathBuf; 2] {
    let [living, clean, killed] = ["living", "clean", "killed"].map(|name| root.join(name));
    let log = Streamlog::open(&living).unwrap();
    let config = TopicConfig::default().durability(Durability::Written);
    let config = config.segment_bytes(40_000).index_interval_bytes(300);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    let mut i = 0;
    while i < RECORDS {
        let count = 1 + i % 4;
        let values: Vec<_> = (i..i + count).map(value).collect();
        let records: Vec<_> =
            (i..).zip(&values).map(|(i, v)| RecordData::new(v).timestamp(time_of(i))).collect();
        partition.append(&records).unwrap();
        i += count;
        if i.is_multiple_of(1000) {
            partition.flush().unwrap();
        }
    }
    assert!(partition.segment_count() > 4);
    partition.flush().unwrap();
    // A tail that no checkpoint covers.
    for i in RECORDS..RECORDS + 30 {
        partition.append(&[RecordData::new(value(i)).timestamp(time_of(i))]).unwrap();
    }
    image(&living, &killed);
    log.close().unwrap();
    image(&living, &clean);
    [clean, killed]
}

/// The records of the batch that a seek by offset finds, and the record that one by time finds.
type Answer = (Vec<(Offset, Vec<u8>)>, Option<(Offset, Timestamp)>);

/// What a seek to this offset, and one to this time, comes to.
fn ask(partition: &Partition, offset: u64, time: i64) -> Answer {
    let batch = partition.read(offset).next().unwrap().unwrap();
    let records = batch.iter().map(|r| (r.offset, r.value.unwrap().to_vec())).collect();
    let found = partition.offset_for_timestamp(Timestamp::from_millis(time)).unwrap();
    (records, found.map(|f| (f.offset, f.timestamp)))
}

struct Asker {
    root: tempfile::TempDir,
    images: [std::path::PathBuf; 2],
    random: Random,
    sound: Streamlog,
}

impl Asker {
    fn new() -> Asker {
        let root = quick_dir();
        let images = build(root.path());
        let sound = root.path().join("sound");
        image(&images[0], &sound);
        Asker { sound: Streamlog::open(sound).unwrap(), root, images, random: Random(7) }
    }

    /// Opens an image after `damage`, and compares its answers to `count` questions with those of the sound log; then
    /// again after it was appended to and closed.
    fn compare(
        &mut self,
        image_number: usize,
        count: u64,
        context: &str,
        damage: impl Fn(&Path, &mut Random),
    ) {
        let dir = self.root.path().join("damaged");
        image(&self.images[image_number], &dir);
        damage(&dir, &mut self.random);
        let sound = self.sound.topic("t").unwrap().partition(0).unwrap();
        for round in 0..2 {
            let log = Streamlog::open(&dir).unwrap();
            for found in &log.recovery_report().partitions {
                assert_eq!(found.verdict, RecoveryVerdict::Whole, "{context}, opening {round}");
            }
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            assert_eq!(partition.log_end_offset(), sound.log_end_offset() + round, "{context}");
            for _ in 0..count {
                let offset = self.random.below(sound.log_end_offset().value());
                let time = self.random.below(RECORDS / 3 * 20 + 3000) as i64;
                let (expected, found) = (ask(&sound, offset, time), ask(&partition, offset, time));
                assert_eq!(found, expected, "{context}, opening {round}: offset {offset}, time {time}");
            }
            // Too early to be the answer to a question about time.
            partition.append(&[RecordData::new("more").timestamp(Timestamp::from_millis(-1))]).unwrap();
            log.close().unwrap();
        }
    }
}

/// The files of this kind in the partition's directory.
fn of_kind(dir: &Path, kind: &str) -> Vec<std::path::PathBuf> {
    let dir = dir.join("t-0");
    if kind.contains('-') { vec![dir.join(kind)] } else { files(&dir, kind) }
}

#[test]
fn any_of_the_files_beside_the_data_may_be_missing() {
    let mut asker = Asker::new();
    let everything = (1 << (KINDS.len() + 1)) - 1;
    let subsets: Vec<u64> = (0..=KINDS.len()).map(|bit| 1 << bit).chain([everything]).collect();
    let random: Vec<u64> = (0..12).map(|_| asker.random.below(everything)).collect();
    for subset in subsets.into_iter().chain(random) {
        for image_number in 0..2 {
            let context = format!("image {image_number}, without {subset:#b}");
            asker.compare(image_number, 120, &context, |dir, _| {
                for (bit, kind) in KINDS.iter().enumerate() {
                    if subset & 1 << bit != 0 {
                        of_kind(dir, kind).iter().for_each(|path| drop(fs::remove_file(path)));
                    }
                }
                if subset & 1 << KINDS.len() != 0 {
                    fs::remove_file(dir.join("marks")).unwrap();
                }
            });
        }
    }
}

/// A way to damage a file, given another of its kind.
type Damage = fn(&mut Vec<u8>, &[u8], &mut Random);

const DAMAGES: [(&str, Damage); 7] = [
    ("zeros", |bytes, _, _| bytes.fill(0)),
    ("cut", |bytes, _, random| bytes.truncate(random.below(bytes.len() as u64 + 1) as usize)),
    ("cut between entries", |bytes, _, random| {
        bytes.truncate(random.below(bytes.len() as u64 / 24 + 1) as usize * 24);
    }),
    ("noise", |bytes, _, random| bytes.iter_mut().for_each(|b| *b = random.next() as u8)),
    ("another's", |bytes, other, _| *bytes = other.to_vec()),
    ("longer", |bytes, _, random| bytes.extend((0..random.below(100)).map(|_| 0xff))),
    // The lowest bit of every entry of a time index, of every other entry of an offset index: the order stays.
    ("a little off", |bytes, _, _| bytes.iter_mut().skip(7).step_by(12).for_each(|b| *b ^= 8)),
];

#[test]
fn any_of_the_files_beside_the_data_may_be_damaged() {
    let mut asker = Asker::new();
    for image_number in 0..2 {
        for (name, damage) in DAMAGES {
            for kind in KINDS.into_iter().filter(|kind| *kind != "txnindex") {
                let context = format!("image {image_number}, {kind}: {name}");
                asker.compare(image_number, 120, &context, |dir, random| {
                    let paths = of_kind(dir, kind);
                    let contents: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
                    for (i, path) in paths.iter().enumerate() {
                        let mut bytes = contents[i].clone();
                        damage(&mut bytes, &contents[(i + 1) % contents.len()], random);
                        fs::write(path, bytes).unwrap();
                    }
                });
            }
        }
        for (name, damage) in DAMAGES {
            let context = format!("image {image_number}, marks: {name}");
            asker.compare(image_number, 120, &context, |dir, random| {
                let path = dir.join("marks");
                let mut bytes = fs::read(&path).unwrap();
                damage(&mut bytes, &[], random);
                fs::write(&path, bytes).unwrap();
            });
        }
    }
}
