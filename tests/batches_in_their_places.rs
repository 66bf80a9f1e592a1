//! The fields of a batch that its checksum does not cover, and whole batches that lie where others belong: in a log of ours
//! no record ever comes at another's offset, and none that was durable is left out without an error. (I1, I13)
//!
//! A small log of several segments, once as a closed process leaves it and once as a killed one does, for both
//! durabilities. Every bit of the first 17 bytes of every batch is flipped, alone and together with damage to another
//! batch; lengths lead to the starts of other batches; batches change places, and lie over their neighbours. Each time
//! a reader and a writer open it and read from everywhere, in both directions, and by time. What the crash campaign once
//! found is built here by hand, under the name of the replay that found it: a workload that changes replays other states.
//!
//! A debug build tries a share of all that, and pairs only of batches that are near; `STREAMLOG_DAMAGE=all` tries all.

mod support;

use std::{fmt::Debug, ops::Range};
use streamlog::{
    Durability, Error, Partition, Streamlog, TopicConfig,
    admin::RecoveryVerdict,
    config::Builder,
    planted,
    records::Batch,
    sim::{Crash, SimEnv},
};
use support::*;

const DIR: &str = "/data";

fn open(env: &SimEnv, read_only: bool) -> Result<Streamlog, Error> {
    Builder::env(env, DIR).background_thread(false).read_only(read_only).open()
}

/// A small log, and where its batches lie.
struct Golden {
    name: &'static str,
    env: SimEnv,
    /// How far it was durable, and how far it went.
    durable: u64,
    end: u64,
    /// Whether the power went: the mark may then be behind, and a reader shows less than was durable.
    power_went: bool,
    files: Vec<(String, Vec<u8>, Vec<Place>)>,
}

impl Golden {
    fn new(name: &'static str, durability: Durability, closed: bool) -> Golden {
        let env = SimEnv::new(1);
        let log = open(&env, false).unwrap();
        let config =
            TopicConfig::default().durability(durability).segment_bytes(800).index_interval_bytes(200);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        let (mut end, mut durable) = (0, 0);
        for count in [1, 1, 2, 1, 2, 2, 1, 3, 1, 1, 2, 1, 1] {
            append_batch(&partition, end..end + count).unwrap();
            end += count;
            if count == 3 {
                partition.flush().unwrap();
                durable = end;
            }
        }
        let killed = env.crash(Crash::Kill, 1);
        if durability == Durability::Flushed || closed {
            durable = end;
        }
        log.close().unwrap();
        Golden::of(name, if closed { env } else { killed }, false, durable..end)
    }

    /// What `crash` leaves of a log of one segment, of which all was durable but the last batches.
    fn of_one_segment(durability: Durability, crash: Crash, seed: u64) -> Golden {
        let env = SimEnv::new(1);
        let log = open(&env, false).unwrap();
        let config = TopicConfig::default().durability(durability).index_interval_bytes(700);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        let (mut end, mut durable) = (0, 0);
        for i in 0..20 {
            append_batch(&partition, end..end + 1 + i % 3).unwrap();
            end += 1 + i % 3;
            if i == 12 {
                partition.flush().unwrap();
                durable = end;
            }
        }
        if durability == Durability::Flushed {
            durable = end;
        }
        assert_eq!(partition.segment_count(), 1);
        Golden::of("of one segment", env.crash(crash, seed), true, durable..end)
    }

    fn of(name: &'static str, env: SimEnv, power_went: bool, ends: Range<u64>) -> Golden {
        let logs = env.files().into_iter().filter(|(path, _)| path.ends_with(".log"));
        let files = logs.map(|(path, bytes)| {
            let places = places_in(&bytes);
            (path, bytes, places)
        });
        Golden { name, files: files.collect(), env, durable: ends.start, end: ends.end, power_went }
    }

    fn all() -> [Golden; 3] {
        [
            Golden::new("closed", Durability::Flushed, true),
            Golden::new("killed", Durability::Flushed, false),
            Golden::new("killed, flushed to the middle", Durability::Written, false),
        ]
    }

    /// All batches: the number of the file, and the place in it.
    fn batches(&self) -> Vec<(usize, Place)> {
        let of = |(i, (_, _, places)): (usize, &(String, Vec<u8>, Vec<Place>))| {
            places.iter().map(|place| (i, *place)).collect::<Vec<_>>()
        };
        self.files.iter().enumerate().flat_map(of).collect()
    }

    /// Has `damage` change the files, and asks everything of what they are then.
    fn ask(&self, what: impl Debug, damage: impl FnOnce(&mut [Vec<u8>])) -> Result<(), String> {
        let mut contents: Vec<Vec<u8>> = self.files.iter().map(|(_, bytes, _)| bytes.clone()).collect();
        damage(&mut contents);
        let env = self.env.crash(Crash::Kill, 0);
        let mut damaged = Vec::new();
        for ((path, bytes, _), content) in self.files.iter().zip(&contents) {
            if bytes != content {
                env.overwrite(path, content).unwrap();
                damaged.push(path.as_str());
            }
        }
        for read_only in [true, false] {
            let asked = self.ask_one(&env.crash(Crash::Kill, 0), read_only, &damaged);
            asked.map_err(|e| format!("{}, read-only {read_only}, {what:?}: {e}", self.name))?;
        }
        Ok(())
    }

    fn ask_one(&self, env: &SimEnv, read_only: bool, damaged: &[&str]) -> Result<(), String> {
        let log = open(env, read_only).map_err(|e| format!("opening: {e}"))?;
        let partition = log.topic("t").and_then(|t| t.partition(0)).map_err(|e| e.to_string())?;
        let end = partition.high_watermark().value();
        let report = log.recovery_report();
        let said = report.partitions.iter().any(|p| !matches!(p.verdict, RecoveryVerdict::Whole));
        if end > self.end {
            return Err(format!("ends at {end} of {}", self.end));
        }
        if end < self.durable && !(read_only && self.power_went) {
            return Err(format!("ends at {end}, and {} were durable; said {said}", self.durable));
        }
        let asked = Asked { partition: &partition, end, damaged };
        for from in 0..end {
            asked.forwards(from)?;
        }
        asked.backwards()?;
        asked.newest()?;
        asked.by_time()
    }
}

/// Reading, and what is wrong with it.
struct Asked<'a> {
    partition: &'a Partition,
    end: u64,
    damaged: &'a [&'a str],
}

impl Asked<'_> {
    /// The offsets of a batch's records, which have to be the right ones.
    fn offsets_of(&self, batch: &Batch) -> Result<Vec<u64>, String> {
        let right = |record: &streamlog::Record<'_>| {
            let offset = record.offset.value();
            record.value == Some(value(offset).as_bytes()) && record.timestamp == time(offset)
        };
        match batch.iter().find(|record| !right(record)) {
            Some(wrong) => Err(format!("another's record at offset {}", wrong.offset)),
            None => Ok(batch.iter().map(|record| record.offset.value()).collect()),
        }
    }

    /// An error is an answer when it is about a damaged file, and says where in it, and where to go on.
    fn excuse(&self, error: &Error) -> Result<(), String> {
        match error {
            Error::Corrupt { path, .. } if self.damaged.iter().any(|d| path.to_str() == Some(*d)) => Ok(()),
            other => Err(format!("not about {:?}: {other}", self.damaged)),
        }
    }

    /// Reads from `from` to the end, past all damage: nothing is left out that no error speaks of.
    fn forwards(&self, from: u64) -> Result<(), String> {
        let mut next = from;
        while next < self.end {
            let before = next;
            for batch in self.partition.read(next) {
                match batch {
                    Ok(batch) => {
                        for offset in self.offsets_of(&batch)? {
                            if offset != next {
                                return Err(format!("from {from}: offset {offset} where {next} was due"));
                            }
                            next += 1;
                        }
                    }
                    Err(error) => {
                        self.excuse(&error).map_err(|e| format!("from {from} at {next}: {e}"))?;
                        let on = error.next_offset().ok_or("nothing to go on at")?.value();
                        if on <= next || on > self.end {
                            return Err(format!(
                                "from {from} at {next} of {}: goes on at {on}: {error}",
                                self.end
                            ));
                        }
                        next = on;
                        break;
                    }
                }
            }
            if next == before {
                return Err(format!("from {from}: nothing at {next} of {}", self.end));
            }
        }
        Ok(())
    }

    /// The same towards the beginning.
    fn backwards(&self) -> Result<(), String> {
        let mut next = self.end;
        while next > 0 {
            let before = next;
            let mut batches = self.partition.read_backwards(next);
            while let Some(batch) = batches.next() {
                match batch {
                    Ok(batch) => {
                        for offset in self.offsets_of(&batch)?.into_iter().rev() {
                            if offset + 1 != next {
                                return Err(format!("backwards: offset {offset} where {next} came before"));
                            }
                            next = offset;
                        }
                    }
                    Err(error) => {
                        self.excuse(&error).map_err(|e| format!("backwards before {next}: {e}"))?;
                        if batches.before() >= next {
                            return Err(format!("backwards before {next}: {} {error}", batches.before()));
                        }
                        next = batches.before().value();
                        break;
                    }
                }
            }
            if next == before {
                return Err(format!("backwards: nothing before {next}"));
            }
        }
        Ok(())
    }

    fn newest(&self) -> Result<(), String> {
        for count in [1, 3, 8] {
            match self.partition.last(count) {
                Ok(last) => {
                    let first = self.end.saturating_sub(count as u64);
                    let offsets: Vec<u64> = last.iter().map(|record| record.offset.value()).collect();
                    if !offsets.iter().copied().eq(first..self.end) {
                        return Err(format!("the newest {count} are {offsets:?} of {}", self.end));
                    }
                }
                Err(error) => self.excuse(&error)?,
            }
        }
        Ok(())
    }

    fn by_time(&self) -> Result<(), String> {
        let can_be_read = |offset: &u64| matches!(self.partition.read(*offset).next(), Some(Ok(_)));
        for offset in (0..self.end).filter(can_be_read) {
            match self.partition.offset_for_timestamp(time(offset)) {
                Ok(Some(found)) if found.offset == offset => {}
                Ok(found) => return Err(format!("time of {offset}: {found:?}")),
                Err(error) => self.excuse(&error)?,
            }
        }
        Ok(())
    }
}

fn all() -> bool {
    std::env::var("STREAMLOG_DAMAGE").is_ok_and(|which| which == "all")
}

/// What failed: all of it is told.
struct Failures {
    /// One of so many is tried.
    one_in: u64,
    seen: u64,
    tried: u64,
    failed: Vec<String>,
}

impl Failures {
    fn new() -> Failures {
        let one_in = if cfg!(debug_assertions) && !all() { 17 } else { 1 };
        Failures { one_in, seen: 0, tried: 0, failed: Vec::new() }
    }

    fn add(&mut self, ask: impl FnOnce() -> Result<(), String>) {
        self.seen += 1;
        if self.seen.is_multiple_of(self.one_in) {
            self.tried += 1;
            self.failed.extend(ask().err());
        }
    }

    fn end(self) {
        println!("{} damages tried", self.tried);
        let shown: Vec<&String> = self.failed.iter().take(40).collect();
        assert!(self.failed.is_empty(), "{} of {} failed: {shown:#?}", self.failed.len(), self.tried);
    }
}

fn flip(content: &mut [u8], place: Place, bit: u64) {
    content[place.start as usize + bit as usize / 8] ^= 1 << (bit % 8);
}

fn range(place: Place) -> Range<usize> {
    place.start as usize..place.end as usize
}

#[test]
fn every_bit_outside_the_checksum() {
    let mut failures = Failures::new();
    for golden in Golden::all() {
        for (file, place) in golden.batches() {
            for bit in 0..17 * 8 {
                failures
                    .add(|| golden.ask((file, place.base, bit), |files| flip(&mut files[file], place, bit)));
            }
        }
    }
    failures.end();
}

/// Ways to damage a batch so that it is none, or another.
const WAYS: [(&str, Range<u64>); 5] = [
    ("base", 7 * 8..7 * 8 + 1),
    ("length", 11 * 8 + 3..11 * 8 + 4),
    ("magic", 16 * 8..16 * 8 + 1),
    ("delta", 26 * 8..26 * 8 + 1),
    ("content", 64 * 8..64 * 8 + 1),
];

#[test]
fn a_base_offset_that_changed_near_other_damage() {
    let all = all();
    let mut failures = Failures::new();
    for golden in Golden::all() {
        let batches = golden.batches();
        for (i, (file, damaged)) in batches.iter().copied().enumerate() {
            for (j, (other, moved)) in batches.iter().copied().enumerate() {
                if i == j || !(all || i.abs_diff(j) < 3) {
                    continue;
                }
                for (how, bits) in WAYS {
                    // The offset by a few, and by many.
                    for bit in [56, 57, 58, 59, 48, 1] {
                        failures.add(|| {
                            golden.ask((file, damaged.base, how, other, moved.base, bit), |files| {
                                flip(&mut files[file], damaged, bits.start);
                                flip(&mut files[other], moved, bit);
                            })
                        });
                    }
                }
            }
        }
    }
    failures.end();
}

#[test]
fn lengths_that_lead_to_the_start_of_another_batch() {
    let mut failures = Failures::new();
    for golden in Golden::all() {
        for (file, place) in golden.batches() {
            let starts = golden.files[file].2.iter().flat_map(|p| [p.start, p.end]);
            for to in starts.filter(|to| *to > place.end) {
                let length = (to - place.start - 12) as u32;
                failures.add(|| {
                    golden.ask((file, place.base, "length", length), |files| {
                        let at = place.start as usize + 8;
                        files[file][at..at + 4].copy_from_slice(&length.to_be_bytes());
                    })
                });
            }
        }
    }
    failures.end();
}

#[test]
fn batches_that_changed_places_and_copies_over_others() {
    let mut failures = Failures::new();
    for golden in Golden::all() {
        let batches = golden.batches();
        for (file, one) in batches.iter().copied() {
            for (other, two) in batches.iter().copied() {
                if (file, one.start) == (other, two.start) || one.end - one.start != two.end - two.start {
                    continue;
                }
                failures.add(|| {
                    golden.ask((file, one.base, "changed with", other, two.base), |files| {
                        let (a, b) = (files[file][range(one)].to_vec(), files[other][range(two)].to_vec());
                        files[file][range(one)].copy_from_slice(&b);
                        files[other][range(two)].copy_from_slice(&a);
                    })
                });
                failures.add(|| {
                    golden.ask((file, one.base, "lies over", other, two.base), |files| {
                        let a = files[file][range(one)].to_vec();
                        files[other][range(two)].copy_from_slice(&a);
                    })
                });
                // The same, near other damage.
                for near in batches.iter().copied() {
                    failures.add(|| {
                        golden.ask((file, one.base, "over", other, two.base, "and", near), |files| {
                            let a = files[file][range(one)].to_vec();
                            files[other][range(two)].copy_from_slice(&a);
                            flip(&mut files[near.0], near.1, 64 * 8);
                        })
                    });
                }
            }
        }
    }
    failures.end();
}

/// Two flips in sectors of their own: one takes a batch away, and the other gives a batch after it another base offset.
fn two_flipped_sectors_move_no_record(crash: Crash) {
    let sector = |byte: u64| byte / 512;
    let all = all();
    let mut failures = Failures { one_in: if all { 1 } else { 29 }, ..Failures::new() };
    let lefts = [Durability::Flushed, Durability::Written]
        .into_iter()
        .flat_map(|durability| (1..4).map(move |seed| Golden::of_one_segment(durability, crash, seed)));
    for golden in lefts {
        let batches = golden.batches();
        for (i, (_, damaged)) in batches.iter().copied().enumerate() {
            for (_, moved) in batches.iter().copied().skip(i + 1).take(if all { 20 } else { 2 }) {
                for (how, bits) in WAYS {
                    let differ = sector(damaged.start + bits.start / 8) != sector(moved.start + 7);
                    for bit in (56..61).filter(|_| differ) {
                        failures.add(|| {
                            golden.ask((crash, damaged.base, how, moved.base, bit), |files| {
                                flip(&mut files[0], damaged, bits.start);
                                flip(&mut files[0], moved, bit);
                            })
                        });
                    }
                }
            }
        }
    }
    failures.end();
}

/// Found by the crash campaign as `x150:69:Subset:3628111187`.
#[test]
fn x150_two_flipped_sectors_of_an_active_segment_move_no_record_after_writes_were_lost() {
    let claim = || two_flipped_sectors_move_no_record(Crash::Subset);
    planted::hold(claim, &["believe_any_base_offset_after_damage"]);
}

/// Found by the crash campaign as `x1879:98:DataWithoutSizes:1411246553`.
#[test]
fn x1879_two_flipped_sectors_of_an_active_segment_move_no_record_after_a_size_was_lost() {
    let claim = || two_flipped_sectors_move_no_record(Crash::DataWithoutSizes);
    planted::hold(claim, &["believe_any_base_offset_after_damage"]);
}

/// Found by the crash campaign as `x2074:187:NamesSubset:827535218`, and again as w24855: the power took names of segments
/// that were never flushed, and the one before them rotted.
#[test]
fn x2074_rot_is_named_in_its_own_file_and_not_in_one_that_was_never_durable() {
    planted::hold(rot_is_named_in_its_own_file, &["never_durable_is_missing"]);
}

fn rot_is_named_in_its_own_file() {
    let env = SimEnv::new(1);
    let log = open(&env, false).unwrap();
    let config = TopicConfig::default().durability(Durability::Written).segment_bytes(512);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    let large = [7; 300];
    partition.append(&[streamlog::RecordData::new(&large)]).unwrap();
    // A commit makes the data below it durable, and takes no checkpoint.
    let mut consumer = log.consumer("g").unwrap();
    consumer.commit_offsets([(partition.topic_partition().clone(), partition.log_end_offset())]).unwrap();
    for _ in 0..3 {
        partition.append(&[streamlog::RecordData::new(&large)]).unwrap();
    }
    assert_eq!(partition.segment_count(), 4);
    let crashes = (0..24).map(|seed| (Crash::NamesSubset, seed)).chain([(Crash::ContentsOnly, 1)]);
    let mut ends = [0; 5];
    for (crash, seed) in crashes {
        let left = env.crash(crash, seed);
        for bit in [7 * 8, 11 * 8, 70 * 8] {
            for read_only in [true, false] {
                let end = rot_is_named(&left.crash(Crash::Kill, 0), bit, read_only);
                assert!(end == 1 || crash == Crash::NamesSubset, "bit {bit}, read-only {read_only}: {end}");
                ends[end as usize] += 1;
            }
        }
    }
    // Nothing that was durable was lost, and some of the rest, each time, or all of it.
    assert!(ends[0] == 0 && ends[1] > 0 && ends[4] > 0, "{ends:?}");
}

/// Flips a bit of the first segment, of one record, and reads everything. The end of the log.
fn rot_is_named(env: &SimEnv, bit: usize, read_only: bool) -> u64 {
    let rotten = "/data/t-0/00000000000000000000.log";
    let mut content = env.files()[rotten].clone();
    content[bit / 8] ^= 1;
    env.overwrite(rotten, &content).unwrap();
    let log = open(env, read_only).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let error = partition.read(0).next().unwrap().unwrap_err();
    assert!(error.to_string().contains(rotten), "{error}");
    assert_eq!(error.next_offset(), Some(1.into()), "{error}");
    let end = partition.high_watermark().value();
    let rest = partition.read(1).map(|batch| batch.map(|batch| batch.base_offset().value()));
    assert_eq!(rest.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string()), Ok((1..end).collect()));
    end
}
