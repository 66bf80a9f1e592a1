//! Logs with segments that a cleaner rewrote: offsets are missing at the beginning, in the middle and at the end of them.

use super::cleaner::{Kept, clean};
use crate::{
    Error, Partition, RecordData, Streamlog, Timestamp, TopicConfig,
    admin::RecoveryVerdict,
    codec::batch::BatchHeader,
    config::Builder,
    dir::PartitionDir,
    env::Env,
    partition::{
        read::reader::tests::before_the_next_read,
        write::{
            load::ready,
            roll::{RollFor, roll},
        },
    },
    planted,
    sim::{Crash, SimEnv},
};
use std::{path::Path, sync::Arc};

const DIR: &str = "/data/t-0";

/// Twelve records of one batch each, four to a segment; the time of each is its offset.
pub(super) fn log_of_three_segments(env: &SimEnv) -> (Streamlog, Partition) {
    let log = builder(env).open().unwrap();
    let topic = log.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap();
    let partition = topic.partition(0).unwrap();
    (0..12).for_each(|offset| append(&partition, offset));
    let segments = partition.log().segments.snapshot();
    let bases: Vec<u64> = segments.iter().map(|segment| segment.base().value()).collect();
    assert_eq!(bases, [0, 4, 8]);
    (log, partition)
}

pub(super) fn append(partition: &Partition, time: i64) {
    partition.append(&[RecordData::new(&[7; 60]).timestamp(Timestamp::from_millis(time))]).unwrap();
}

pub(super) fn builder(env: &SimEnv) -> Builder {
    Builder::env(env, "/data").background_thread(false)
}

pub(super) fn partition_of(log: &Streamlog) -> Partition {
    log.topic("t").unwrap().partition(0).unwrap()
}

/// Keeps the batches of `offsets`, which are bits.
pub(super) fn only(offsets: u64) -> impl Fn(&BatchHeader) -> Kept {
    move |header| if offsets & (1 << header.base_offset.value()) != 0 { Kept::Whole } else { Kept::Nothing }
}

/// Keeps the batches of `offsets`, which are bits, and the headers of the others.
fn empty_but(offsets: u64) -> impl Fn(&BatchHeader) -> Kept {
    move |header| if offsets & (1 << header.base_offset.value()) != 0 { Kept::Whole } else { Kept::Emptied }
}

/// Every reader, from every offset, comes to these offsets, which are bits, and to no others.
fn holds(partition: &Partition, offsets: u64, what: &str) {
    let end = partition.log_end_offset().value();
    let within = |from: u64, to: u64| (from..to).filter(|o| offsets & (1 << o) != 0).collect::<Vec<_>>();
    for from in 0..=end {
        let read = partition.read(from).flat_map(|batch| batch.unwrap_or_else(|e| panic!("{what}: {e}")));
        let read: Vec<u64> = read.map(|record| record.offset.value()).collect();
        assert_eq!(read, within(from, end), "{what}, from {from}");
        let records =
            partition.read_backwards(from).flat_map(|b| b.unwrap_or_else(|e| panic!("{what}: {e}")));
        let mut before: Vec<u64> = records.map(|record| record.offset.value()).collect();
        before.sort_unstable();
        assert_eq!(before, within(0, from), "{what}, before {from}");
    }
    for time in 0..end {
        let found = partition.offset_for_timestamp(Timestamp::from_millis(time as i64)).unwrap();
        assert_eq!(found.map(|f| f.offset.value()), within(time, end).first().copied(), "{what}, at {time}");
    }
    let found = partition.offset_of_max_timestamp().unwrap();
    assert_eq!(found.map(|f| f.offset.value()), within(0, end).last().copied(), "{what}");
}

/// A log is what it was in every way to open it, and takes appends.
fn holds_when_opened_anew(env: &SimEnv, log: Streamlog, offsets: u64) {
    let killed = env.crash(Crash::ALL[0], 1);
    holds_after_a_kill(&killed, offsets, "killed");
    let without_snapshots = env.crash(Crash::ALL[0], 1);
    remove_snapshots(&without_snapshots);
    holds_after_a_kill(&without_snapshots, offsets, "killed, without snapshots");
    log.close().unwrap();
    let without_snapshots = env.crash(Crash::ALL[0], 1);
    remove_snapshots(&without_snapshots);
    let log = builder(&without_snapshots).open().unwrap();
    append(&partition_of(&log), 12);
    holds(&partition_of(&log), offsets | 1 << 12, "closed, without snapshots");
    log.close().unwrap();
    let dir = PartitionDir::open(Arc::new(env.clone()), Path::new(DIR)).unwrap();
    holds(dir.partition(), offsets, "the directory alone");
    assert!(dir.report().damage.is_empty() && dir.report().torn_end.is_none(), "{:?}", dir.report());
    let log = builder(env).open().unwrap();
    assert!(log.recovery_report().partitions.is_empty(), "{:?}", log.recovery_report());
    let partition = partition_of(&log);
    holds(&partition, offsets, "opened again");
    append(&partition, 12);
    holds(&partition, offsets | 1 << 12, "appended to");
    assert!(log.health().is_good(), "{}", log.health());
}

fn remove_snapshots(env: &SimEnv) {
    for path in env.files().keys().filter(|path| path.ends_with(".snapshot")) {
        let env: &dyn Env = env;
        env.remove_file(Path::new(path)).unwrap();
    }
}

fn holds_after_a_kill(env: &SimEnv, offsets: u64, what: &str) {
    let readers = builder(env).read_only(true).open().unwrap();
    holds(&partition_of(&readers), offsets, what);
    assert!(readers.health().is_good(), "{what}: {}", readers.health());
    let dir = PartitionDir::open(Arc::new(env.clone()), Path::new(DIR)).unwrap();
    holds(dir.partition(), offsets, what);
    assert!(dir.report().damage.is_empty() && dir.report().torn_end.is_none(), "{:?}", dir.report());
    let log = builder(env).open().unwrap();
    let verdicts = log.recovery_report().partitions.iter().map(|found| &found.verdict);
    assert!(verdicts.eq(std::iter::repeat_n(&RecoveryVerdict::Whole, 1)), "{what}");
    holds(&partition_of(&log), offsets, what);
    append(&partition_of(&log), 12);
    assert!(log.health().is_good(), "{what}: {}", log.health());
}

#[test]
fn offsets_may_be_missing_anywhere_in_a_cleaned_segment() {
    for kept in 0..16 {
        let env = SimEnv::new(kept);
        let (log, partition) = log_of_three_segments(&env);
        let offsets = 0xf0f | kept << 4;
        clean(partition.log(), 4..8, only(offsets));
        holds(&partition, offsets, "cleaned");
        holds_when_opened_anew(&env, log, offsets);
    }
}

#[test]
fn batches_may_be_empty_in_a_cleaned_segment() {
    for kept in 0..16 {
        let env = SimEnv::new(kept);
        let (log, partition) = log_of_three_segments(&env);
        let offsets = 0xf0f | kept << 4;
        clean(partition.log(), 4..8, empty_but(offsets));
        holds(&partition, offsets, "cleaned");
        holds_when_opened_anew(&env, log, offsets);
    }
}

#[test]
fn the_time_of_a_batch_that_was_emptied_is_no_records() {
    let env = SimEnv::new(1);
    let log = builder(&env).open().unwrap();
    let topic = log.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap();
    let partition = topic.partition(0).unwrap();
    [1, 2, 3, 4, 10, 11, 12, 13, 5, 6, 7, 7, 6].into_iter().for_each(|time| append(&partition, time));
    clean(partition.log(), 4..8, empty_but(0x20));
    let latest = || partition.offset_of_max_timestamp().unwrap().map(|f| f.offset.value());
    let first_at = |time| {
        let found = partition.offset_for_timestamp(Timestamp::from_millis(time)).unwrap();
        found.map(|f| f.offset.value())
    };
    assert_eq!((latest(), first_at(10), first_at(12), first_at(5)), (Some(5), Some(5), None, Some(5)));
    clean(partition.log(), 4..8, empty_but(0));
    assert_eq!((latest(), first_at(10), first_at(5)), (Some(10), None, Some(8)));
}

#[test]
fn what_is_cleaned_again_or_into_one_segment_is_read_like_the_rest() {
    let env = SimEnv::new(1);
    let (log, partition) = log_of_three_segments(&env);
    clean(partition.log(), 0..4, only(0x005));
    clean(partition.log(), 0..8, only(0x025));
    holds(&partition, 0xf25, "cleaned twice");
    let checkpoint = || env.files().remove("/data/cleaner-offset-checkpoint");
    assert_eq!(checkpoint(), None);
    holds_when_opened_anew(&env, log, 0xf25);
    assert_eq!(checkpoint().as_deref(), Some(&b"0\n1\nt 0 8\n"[..]), "Kafka's tools expect it");
}

#[test]
fn a_log_may_end_with_a_cleaned_segment_and_an_empty_one() {
    let env = SimEnv::new(1);
    let (log, partition) = log_of_three_segments(&env);
    {
        let log = partition.log();
        let mut writer = log.writer.lock();
        let active = ready(log, &mut writer).unwrap();
        roll(log, active, log.offsets.log_end(), RollFor::Append).unwrap();
    }
    clean(partition.log(), 8..12, only(0x300));
    holds(&partition, 0x3ff, "cleaned");
    assert_eq!(partition.log_end_offset(), 12);
    holds_when_opened_anew(&env, log, 0x3ff);
}

#[test]
fn a_read_that_meets_a_swap_looks_again_and_finds_no_damage() {
    let meet = || {
        let env = SimEnv::new(1);
        let (log, partition) = log_of_three_segments(&env);
        let swapped = Arc::clone(partition.log());
        let swap = move |kept| {
            clean(&swapped, 4..8, only(kept));
            swapped.data_dir.pool.release();
        };
        // A fetch looks twice at the list in any case.
        before_the_next_read(move || {
            swap(0xe0);
            before_the_next_read(move || swap(0xa0));
        });
        let read: Vec<_> = partition.read(4).map(|b| b.map(|b| b.base_offset().value())).collect();
        let read: Vec<_> = read.into_iter().map(|offset| offset.unwrap_or(u64::MAX)).collect();
        assert_eq!(read, [5, 7, 8, 9, 10, 11]);
        assert!(log.health().is_good(), "{}", log.health());
    };
    planted::hold(meet, &["a_swap_is_taken_for_damage"]);
}

#[test]
fn a_process_that_reads_follows_each_swap() {
    let env = SimEnv::new(1);
    let (_log, partition) = log_of_three_segments(&env);
    let readers = builder(&env).read_only(true).open().unwrap();
    let read = partition_of(&readers);
    let follow = || read.log().data_dir.follow_writer().unwrap();
    holds(&read, 0xfff, "before");
    clean(partition.log(), 4..8, only(0x0f));
    holds(&read, 0xfff, "what is open stays open");
    read.log().data_dir.pool.release();
    holds(&read, 0xf0f, "a segment whose file was given back");
    (12..16).for_each(|offset| append(&partition, offset));
    clean(partition.log(), 8..12, only(0x100));
    follow();
    holds(&read, 0xf10f, "the segment that was followed");
    clean(partition.log(), 0..12, only(0x102));
    append(&partition, 16);
    follow();
    holds(&read, 0x1f102, "several at the same time");
    assert!(readers.health().is_good(), "{}", readers.health());
}

#[test]
fn files_that_a_swap_superseded_are_removed_by_the_next_opening() {
    for closed in [false, true] {
        let env = SimEnv::new(1);
        let (log, partition) = log_of_three_segments(&env);
        (12..16).for_each(|offset| append(&partition, offset));
        let superseded = env.files().remove("/data/t-0/00000000000000000008.log").unwrap();
        clean(partition.log(), 4..12, only(0x121));
        let env = match closed {
            true => {
                log.close().unwrap();
                env
            }
            false => env.crash(Crash::Kill, 1),
        };
        env.overwrite("/data/t-0/00000000000000000008.log", &superseded).unwrap();
        let readers = builder(&env).read_only(true).open().unwrap();
        holds(&partition_of(&readers), 0xf12f, "to be read");
        drop(readers);
        let log = builder(&env).open().unwrap();
        holds(&partition_of(&log), 0xf12f, "opened again");
        append(&partition_of(&log), 16);
        let left: Vec<_> = env.files().into_keys().filter(|path| path.contains("0008.log")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_rewritten_segment_that_has_become_shorter_is_damaged_to_every_reader() {
    const REWRITTEN: &str = "/data/t-0/00000000000000000004.log";
    for is_closed in [true, false] {
        let living = SimEnv::new(1);
        let (log, partition) = log_of_three_segments(&living);
        clean(partition.log(), 4..8, only(0x00a0));
        let killed = living.crash(Crash::ALL[0], 1);
        log.close().unwrap();
        let original = if is_closed { &living } else { &killed };
        let whole = living.files().remove(REWRITTEN).unwrap();
        // All of it, the last batch, the first one, and a part of the last one.
        let half = whole.len() / 2;
        for (left, what) in [
            (&whole[..0], "nothing"),
            (&whole[..half], "the first batch"),
            (&whole[half..], "the last batch"),
            (&whole[..half + 20], "a part"),
        ] {
            for read_only in [true, false] {
                let what = format!("{what}, closed: {is_closed}, reading: {read_only}");
                let env = original.crash(Crash::ALL[0], 1);
                env.overwrite(REWRITTEN, left).unwrap();
                let log = builder(&env).read_only(read_only).open().unwrap();
                let partition = partition_of(&log);
                for _ in 0..2 {
                    is_told(partition.read(4).find_map(Result::err), &what);
                    is_told(partition.read_backwards(8).find_map(Result::err), &what);
                    is_told(partition.last(12).err(), &what);
                }
                assert!(!log.health().is_good(), "{what}");
                assert_eq!(partition.read(8).filter(Result::is_ok).count(), 4, "{what}");
            }
        }
    }

    fn is_told(error: Option<Error>, what: &str) {
        let error = error.unwrap_or_else(|| panic!("{what}: not a word"));
        assert!(
            matches!(&error, Error::Corrupt { path, .. } if path.ends_with(&REWRITTEN[1..])),
            "{what}: {error}"
        );
    }
}
