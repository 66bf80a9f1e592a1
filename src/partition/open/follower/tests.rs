//! What a handle that only reads shows of a log that was not closed, beside what the next writer makes of it.

use crate::{
    Durability, ErrorKind, Partition, RecordData, Streamlog, TopicConfig,
    admin::RecoveryVerdict,
    codec::{batch::BatchHeader, mark::Mark},
    config::Builder,
    dir::PartitionDir,
    env::Env,
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
};
use std::{path::Path, sync::Arc};

const LOG: &str = "/data/t-0/00000000000000000000.log";

fn open(env: &SimEnv, is_read_only: bool) -> Streamlog {
    Builder::env(env, "/data").read_only(is_read_only).background_thread(false).open().unwrap()
}

fn partition(log: &Streamlog) -> Partition {
    log.topic("t").unwrap().partition(0).unwrap()
}

/// A log that was killed after `all` records, one to a batch, of which so many had been flushed.
fn killed(config: TopicConfig, flushed: u64, all: u64) -> SimEnv {
    let env = SimEnv::new(1);
    let log = open(&env, false);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for offset in 0..all {
        partition.append(&[RecordData::new(&[offset as u8; 400])]).unwrap();
        if offset + 1 == flushed {
            partition.flush().unwrap();
        }
    }
    env.crash(Crash::Kill, 1)
}

/// Where each batch of the first segment begins, and where the last one ends.
fn places(env: &SimEnv) -> Vec<usize> {
    let bytes = env.files()[LOG].clone();
    let mut places = vec![0];
    while let Ok(header) = BatchHeader::parse(&bytes[places[places.len() - 1]..]) {
        places.push(places[places.len() - 1] + header.size() as usize);
    }
    places
}

fn change(env: &SimEnv, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = env.files()[path].clone();
    change(&mut bytes);
    env.overwrite(path, &bytes).unwrap();
}

/// The partition's mark is lost, and the manifest's own is not.
fn lose_the_mark(env: &SimEnv) {
    change(env, "/data/marks", |bytes| {
        for slot in bytes.as_chunks_mut().0 {
            if Mark::decode(slot).is_some() {
                slot.fill(0);
            }
        }
    });
}

/// The offsets that can be read, and those that cannot, each stretch with the offset where reading continues.
fn read(partition: &Partition) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut offsets, mut holes, mut from) = (Vec::new(), Vec::new(), partition.log_start_offset().value());
    loop {
        let mut error = None;
        for batch in partition.read(from) {
            match batch {
                Ok(batch) => offsets.extend(batch.iter().map(|record| record.offset.value())),
                Err(met) => error = Some(met),
            }
        }
        let Some(error) = error else { return (offsets, holes) };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let at = offsets.last().map_or(from, |last| last + 1).max(from);
        let next = error.next_offset().expect("where reading continues").value();
        assert!(next > at, "{error}");
        holes.push((at, next));
        from = next;
    }
}

#[test]
fn a_sound_log_that_was_killed_is_read_whole_and_needs_no_word() {
    for durability in [Durability::Flushed, Durability::Written] {
        let env = killed(TopicConfig::default().segment_bytes(1200).durability(durability), 3, 5);
        let reading = open(&env, true);
        assert_eq!(read(&partition(&reading)), ((0..5).collect(), vec![]));
        assert!(reading.recovery_report().partitions.is_empty() && reading.health().is_good());
    }
}

#[test]
fn without_its_mark_a_torn_end_that_nothing_follows_is_no_damage() {
    for tail in [&[0x55_u8; 200][..], &[0x55; 3]] {
        let env = killed(TopicConfig::default(), 3, 3);
        let end = *places(&env).last().unwrap();
        lose_the_mark(&env);
        change(&env, LOG, |bytes| bytes[end..end + tail.len()].copy_from_slice(tail));
        let reading = open(&env, true);
        assert_eq!(read(&partition(&reading)), (vec![0, 1, 2], vec![]));
        assert!(reading.health().is_good());
        let log = open(&env, false);
        let verdict = &log.recovery_report().partitions[0].verdict;
        assert!(matches!(verdict, RecoveryVerdict::TornTail { .. }), "{verdict:?}");
        assert_eq!(partition(&log).append(&[RecordData::new("x")]).unwrap().start, 3);
        assert_eq!(read(&partition(&log)), (vec![0, 1, 2, 3], vec![]));
    }
}

#[test]
fn without_its_mark_whole_batches_after_a_bad_one_are_read_and_nothing_is_cut() {
    for bad in 0..3 {
        let env = killed(TopicConfig::default(), 4, 4);
        let at = places(&env)[bad] + 80;
        lose_the_mark(&env);
        change(&env, LOG, |bytes| bytes[at] ^= 1);
        let before = env.files()[LOG].clone();
        let (whole, hole): (Vec<u64>, _) = ((0..4).filter(|n| *n != bad as u64).collect(), bad as u64);
        for is_read_only in [true, false] {
            let log = open(&env, is_read_only);
            assert_eq!(read(&partition(&log)), (whole.clone(), vec![(hole, hole + 1)]), "{is_read_only}");
            assert!(!log.health().is_good());
            assert!(is_read_only || partition(&log).append(&[RecordData::new("x")]).is_err());
        }
        assert!(env.files()[LOG] == before);
    }
}

#[test]
fn without_its_mark_damage_in_an_earlier_segment_hides_its_own_batch_alone() {
    for bad in 0..3 {
        let env = killed(TopicConfig::default().segment_bytes(1600), 7, 7);
        let places = places(&env);
        assert_eq!(places.len(), 4, "three batches in a segment");
        lose_the_mark(&env);
        change(&env, LOG, |bytes| bytes[places[bad] + 80] ^= 1);
        let (whole, hole): (Vec<u64>, _) = ((0..7).filter(|n| *n != bad as u64).collect(), bad as u64);
        for is_read_only in [true, false] {
            let log = open(&env, is_read_only);
            assert_eq!(read(&partition(&log)), (whole.clone(), vec![(hole, hole + 1)]), "{is_read_only}");
            assert_eq!(partition(&log).log_end_offset(), 7);
            assert_eq!(log.health().damaged.len(), 1);
        }
    }
}

#[test]
fn an_earlier_segment_that_lost_its_end_says_where_the_next_one_begins() {
    let env = killed(TopicConfig::default().segment_bytes(1600), 7, 7);
    let cut = places(&env)[1];
    lose_the_mark(&env);
    change(&env, LOG, |bytes| bytes.truncate(cut));
    for is_read_only in [true, false] {
        let log = open(&env, is_read_only);
        assert_eq!(read(&partition(&log)), (vec![0, 3, 4, 5, 6], vec![(1, 3)]), "{is_read_only}");
        assert!(!log.health().is_good());
    }
}

#[test]
fn without_its_mark_a_last_segment_that_is_missing_ends_the_log_before_it() {
    let env = killed(TopicConfig::default().segment_bytes(600), 4, 4);
    lose_the_mark(&env);
    env.remove_file(Path::new("/data/t-0/00000000000000000003.log")).unwrap();
    let log = open(&env, false);
    let verdict = &log.recovery_report().partitions[0].verdict;
    assert!(matches!(verdict, RecoveryVerdict::TornTail { .. }), "{verdict:?}");
    assert_eq!(read(&partition(&log)), (vec![0, 1, 2], vec![]));
    // With others after it, it was there.
    let env = killed(TopicConfig::default().segment_bytes(600), 4, 4);
    lose_the_mark(&env);
    env.remove_file(Path::new("/data/t-0/00000000000000000002.log")).unwrap();
    let log = open(&env, false);
    let verdict = &log.recovery_report().partitions[0].verdict;
    assert!(matches!(verdict, RecoveryVerdict::Damage { .. }), "{verdict:?}");
}

#[test]
fn what_was_written_after_damage_and_never_flushed_is_shown() {
    let env = killed(TopicConfig::default().durability(Durability::Written), 3, 5);
    let at = places(&env)[1] + 80;
    change(&env, LOG, |bytes| bytes[at] ^= 1);
    let reading = open(&env, true);
    assert_eq!(partition(&reading).log_end_offset(), 5);
    assert_eq!(read(&partition(&reading)), (vec![0, 2, 3, 4], vec![(1, 2)]));
}

#[test]
fn an_end_that_is_missing_is_an_error_that_says_up_to_where() {
    let env = killed(TopicConfig::default(), 5, 5);
    let end = places(&env)[3];
    change(&env, LOG, |bytes| bytes.truncate(end));
    let reading = open(&env, true);
    assert_eq!(read(&partition(&reading)), (vec![0, 1, 2], vec![(3, 5)]));
    for log in [reading, open(&env, false)] {
        let verdict = &log.recovery_report().partitions[0].verdict;
        assert!(matches!(verdict, RecoveryVerdict::Damage { .. }), "{verdict:?}");
        assert_eq!(read(&partition(&log)), (vec![0, 1, 2], vec![(3, 5)]));
    }
}

#[test]
fn a_batch_after_damage_is_believed_where_the_mark_knows_its_place() {
    let env = killed(TopicConfig::default(), 3, 3);
    let places = places(&env);
    // Not even a header is left that would lead to it.
    change(&env, LOG, |bytes| bytes[places[1]..places[2]].fill(0x55));
    for is_read_only in [true, false] {
        let log = open(&env, is_read_only);
        assert_eq!(read(&partition(&log)), (vec![0, 2], vec![(1, 2)]), "{is_read_only}");
    }
}

fn segment(base: u64) -> String {
    format!("/data/t-0/{base:020}.log")
}

#[test]
fn a_cut_counts_the_bytes_of_all_segments_that_go() {
    let config = TopicConfig::default().segment_bytes(600).durability(Durability::Written);
    let env = killed(config, 1, 4);
    change(&env, &segment(1), |bytes| bytes[80] ^= 1);
    let files = env.files();
    let lengths: usize = (1..4).map(|base| files[&segment(base)].len()).sum();
    let log = open(&env, false);
    let verdict = &log.recovery_report().partitions[0].verdict;
    let RecoveryVerdict::TornTail { dropped_bytes, position: 0, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(*dropped_bytes, lengths as u64);
    assert_eq!(read(&partition(&log)), (vec![0], vec![]));
}

#[test]
fn a_cut_in_the_last_segment_is_nothing_that_the_manifest_must_know() {
    let env = killed(TopicConfig::default().segment_bytes(1200).durability(Durability::Written), 3, 5);
    let at = env.files()[&segment(4)].len();
    change(&env, &segment(4), |bytes| bytes[80] ^= 1);
    let manifest = env.files()["/data/manifest"].clone();
    let log = open(&env, false);
    let verdict = &log.recovery_report().partitions[0].verdict;
    assert!(matches!(verdict, RecoveryVerdict::TornTail { .. }), "{verdict:?}");
    assert!(env.files()[&segment(4)].len() < at && env.files()["/data/manifest"] == manifest);
    assert_eq!(partition(&log).append(&[RecordData::new("x")]).unwrap().start, 4);
}

#[test]
fn after_damage_what_was_never_durable_may_be_missing_and_what_is_there_is_read() {
    let damaged = |flushed, loses_the_mark| {
        let config = TopicConfig::default().segment_bytes(600).durability(Durability::Written);
        let env = killed(config, flushed, 4);
        change(&env, &segment(1), |bytes| bytes[80] ^= 1);
        if loses_the_mark {
            lose_the_mark(&env);
        }
        env
    };
    let missing = |env: SimEnv| {
        env.remove_file(Path::new(&segment(3))).unwrap();
        env
    };
    let all = (vec![0, 2, 3], vec![(1, 2)]);
    let without_the_last = (vec![0, 2], vec![(1, 2)]);
    let with_a_hole = (vec![0, 2], vec![(1, 2), (3, 4)]);
    for (env, read_back, segments) in [
        (damaged(3, false), &all, 4),
        (damaged(3, true), &all, 4),
        (damaged(4, false), &all, 4),
        (missing(damaged(3, false)), &without_the_last, 3),
        (missing(damaged(3, true)), &without_the_last, 3),
        (missing(damaged(4, false)), &with_a_hole, 4),
    ] {
        let log = open(&env, false);
        assert_eq!(read(&partition(&log)), *read_back);
        assert_eq!(partition(&log).segment_count(), segments, "{read_back:?}");
    }
}

#[test]
fn what_another_writer_left_at_the_end_of_a_log_that_was_killed_goes_aside() {
    let env = killed(TopicConfig::default(), 3, 3);
    let places = places(&env);
    let mut foreign = env.files()[LOG][places[2]..places[3]].to_vec();
    // Its offset and its leader epoch, which no checksum covers.
    foreign[..8].copy_from_slice(&3_u64.to_be_bytes());
    foreign[12..16].copy_from_slice(&7_i32.to_be_bytes());
    change(&env, LOG, |bytes| bytes[places[3]..places[3] + foreign.len()].copy_from_slice(&foreign));
    let log = open(&env, false);
    let quarantined = &log.recovery_report().partitions[0].quarantined;
    assert_eq!(quarantined.len(), 1);
    assert!(env.files()[quarantined[0].to_str().unwrap()].starts_with(&foreign));
    assert_eq!(read(&partition(&log)), (vec![0, 1, 2], vec![]));
}

#[test]
fn a_directory_named_like_a_segment_that_was_removed_is_no_failure() {
    let env = SimEnv::new(1);
    let log = open(&env, false);
    let config = TopicConfig::default().segment_bytes(600);
    let writing = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for _ in 0..4 {
        writing.append(&[RecordData::new(&[7; 400])]).unwrap();
    }
    log.delete_records("t", 0, 2).unwrap();
    let env = env.crash(Crash::Kill, 1);
    env.create_dir(Path::new(LOG)).unwrap();
    let log = open(&env, false);
    assert_eq!(log.recovery_report().partitions[0].quarantined.len(), 1);
    assert_eq!(read(&partition(&log)), (vec![2, 3], vec![]));
}

#[test]
fn a_log_that_could_not_be_followed_for_a_while_is_followed_again() {
    let env = SimEnv::new(1);
    let log = open(&env, false);
    let writing = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    writing.append(&[RecordData::new("before")]).unwrap();
    let reading = open(&env, true);
    writing.append(&[RecordData::new("after")]).unwrap();
    env.inject(Fault::new(FaultKind::Io).on(Operation::Read).path("t-0/").forever());
    let _ = reading.refresh();
    assert!(partition(&reading).read(0).next().unwrap().is_err());
    env.clear_faults();
    reading.refresh().unwrap();
    assert_eq!(read(&partition(&reading)), (vec![0, 1], vec![]));
}

#[test]
fn a_bad_batch_of_any_segment_hides_itself_alone() {
    for bad in 0..5 {
        let env = killed(TopicConfig::default().segment_bytes(1200), 5, 5);
        let segments = env.files().into_iter().filter(|(path, _)| path.ends_with(".log"));
        let holds = |bytes: &Vec<u8>| bytes.windows(400).position(|value| value == [bad; 400]);
        let (path, at) = segments.filter_map(|(path, bytes)| Some((path, holds(&bytes)?))).next().unwrap();
        change(&env, &path, |bytes| bytes[at] ^= 1);
        let bad = u64::from(bad);
        for is_read_only in [true, false] {
            let log = open(&env, is_read_only);
            let whole: Vec<u64> = (0..5).filter(|offset| *offset != bad).collect();
            assert_eq!(read(&partition(&log)), (whole, vec![(bad, bad + 1)]), "{is_read_only}");
        }
    }
}

#[test]
fn a_batch_between_two_that_are_gone_is_believed_where_the_mark_knows_its_end() {
    let env = killed(TopicConfig::default().durability(Durability::Written), 3, 4);
    let places = places(&env);
    change(&env, LOG, |bytes| {
        bytes[places[1]..places[2]].fill(0x55);
        bytes[places[3]..places[4]].fill(0x55);
    });
    for is_read_only in [true, false] {
        let log = open(&env, is_read_only);
        assert_eq!(read(&partition(&log)), (vec![0, 2], vec![(1, 2)]), "{is_read_only}");
    }
    let dir = PartitionDir::open(Arc::new(env), Path::new("/data/t-0")).unwrap();
    assert_eq!(read(dir.partition()), (vec![0, 2], vec![(1, 2)]));
}

#[test]
fn an_incarnation_that_begins_lower_is_followed_from_its_beginning() {
    let config = TopicConfig::default().durability(Durability::Written);
    let env = killed(config, 3, 5);
    let reading = open(&env, true);
    assert_eq!(read(&partition(&reading)), ((0..5).collect(), vec![]));
    // A power cut leaves what was durable. The next writer goes on after that, with batches of other lengths.
    let end = places(&env)[3];
    let next = env.crash(Crash::Kill, 1);
    change(&next, LOG, |bytes| bytes[end..].fill(0));
    let log = open(&next, false);
    assert_eq!(partition(&log).log_end_offset(), 3);
    for _ in 0..6 {
        partition(&log).append(&[RecordData::new(&[9; 300])]).unwrap();
    }
    partition(&log).flush().unwrap();
    for path in ["/data/manifest", "/data/marks", LOG] {
        env.overwrite(path, &next.files()[path]).unwrap();
    }
    reading.refresh().unwrap();
    assert_eq!(read(&partition(&reading)), ((0..9).collect(), vec![]));
    assert!(reading.health().is_good(), "{:?}", reading.health());
}
