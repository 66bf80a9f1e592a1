//! Swaps that a crash cuts short, or a file system that refuses a name.

use super::{
    cleaned::{append, builder, log_of_three_segments, only, partition_of},
    cleaner::{clean, rewrite},
};
use crate::{
    Error, Partition,
    dir::PartitionDir,
    env::Env,
    partition::{read::reader::tests::before_the_next_read, write::checkpoint::checkpoint},
    planted,
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    storage::layout::SegmentFile,
    types::Offset,
};
use std::{path::Path, sync::Arc};

/// The offsets before the swap and after it, as bits.
const BEFORE: u64 = 0xffff;
const AFTER: u64 = 0xfa2f;

/// Four segments, of which the middle ones become one.
fn swapped(env: &SimEnv) -> impl Fn() {
    let (log, partition) = log_of_three_segments(env);
    (12..16).for_each(|offset| append(&partition, offset));
    // Readers without a writer see what the mark says, which a power cut may set back to the last checkpoint.
    checkpoint(partition.log()).unwrap();
    move || {
        let _open = &log;
        clean(partition.log(), 4..12, only(AFTER));
    }
}

/// The offsets of all records, as bits.
fn offsets(partition: &Partition, what: &str) -> u64 {
    let batches = partition
        .read(partition.log_start_offset())
        .map(|batch| batch.unwrap_or_else(|e| panic!("{what}: {e}")));
    batches.flatten().map(|record| 1 << record.offset.value()).sum()
}

fn is_one_of_both(found: u64, what: &str) -> u64 {
    assert!([BEFORE, AFTER].contains(&found), "{what}: {found:#x}");
    found
}

/// Every file has a name of its own, and none is left over.
fn every_file_has_its_name(env: &SimEnv, found: u64) {
    let files = env.files();
    let names: Vec<&str> = files.keys().filter_map(|path| path.strip_prefix("/data/t-0/")).collect();
    let is_left =
        |name: &&str| name.ends_with(".swap") || name.ends_with(".cleaned") || name.contains("aside");
    assert!(!names.iter().any(is_left), "{names:?}");
    let is_there = names.contains(&"00000000000000000008.log");
    assert_eq!(is_there, found == BEFORE, "{names:?}");
}

fn readers_find_one_of_both(env: &SimEnv, what: &str) -> u64 {
    let readers = builder(env).read_only(true).open().unwrap();
    let found = is_one_of_both(offsets(&partition_of(&readers), what), what);
    assert!(readers.health().is_good(), "{what}: {}", readers.health());
    let dir = PartitionDir::open(Arc::new(env.clone()), Path::new("/data/t-0")).unwrap();
    assert_eq!(offsets(dir.partition(), what), found, "its directory alone, {what}");
    found
}

/// What is found after a crash stays, also where the opening that found it dies.
fn an_opening_holds(env: &SimEnv, dies: bool, what: &str) {
    let read = readers_find_one_of_both(env, what);
    env.record();
    let log = builder(env).open().unwrap();
    let recording = env.recording();
    let found = is_one_of_both(offsets(&partition_of(&log), what), what);
    assert_eq!(found, read, "{what}");
    every_file_has_its_name(env, found);
    if !dies {
        return;
    }
    let mut cursor = recording.cursor();
    while cursor.advance().is_some() {
        let again = cursor.crash(Crash::Subset, 7);
        let log = builder(&again).open().unwrap();
        // The cache of the machine may have lost what nobody has seen yet.
        let now = is_one_of_both(offsets(&partition_of(&log), what), what);
        every_file_has_its_name(&again, now);
    }
    let again = env.crash(Crash::Subset, 7);
    assert_eq!(
        offsets(&partition_of(&builder(&again).open().unwrap()), what),
        found,
        "{what}, and once more"
    );
    append(&partition_of(&log), 16);
    log.close().unwrap();
    assert_eq!(offsets(&partition_of(&builder(env).open().unwrap()), what), found | 1 << 16, "{what}");
}

#[test]
fn a_crash_in_a_swap_leaves_what_was_there_before_or_after() {
    let crash = || {
        let env = SimEnv::new(1);
        let swap = swapped(&env);
        env.record();
        swap();
        let recording = env.recording();
        let mut cursor = recording.cursor();
        let mut step = 0;
        while cursor.advance().is_some() {
            for (seed, crash) in (0..).zip(Crash::ALL) {
                an_opening_holds(
                    &cursor.crash(crash, seed),
                    crash == Crash::Kill,
                    &format!("step {step}, {crash:?}"),
                );
            }
            step += 1;
        }
        assert!(step > 20, "{step}");
        let found =
            offsets(&partition_of(&builder(&env.crash(Crash::Nothing, 1)).open().unwrap()), "at its end");
        assert_eq!(found, AFTER);
    };
    planted::hold(
        crash,
        &["a_decided_swap_is_forgotten", "swap_before_it_is_decided", "swap_names_that_are_not_durable"],
    );
}

#[test]
fn a_name_that_is_refused_is_given_later() {
    for suffix in [".cleaned", ".swap"] {
        for closes in [false, true] {
            let env = SimEnv::new(1);
            let (log, partition) = log_of_three_segments(&env);
            (12..16).for_each(|offset| append(&partition, offset));
            let replacement = rewrite(partition.log(), 4..12, &only(AFTER));
            env.inject(Fault::new(FaultKind::Io).on(Operation::Rename).path(suffix).forever());
            replacement.commit(partition.log()).unwrap_err();
            partition.log().data_dir.pool.release();
            assert_eq!(offsets(&partition, "in use under another name"), AFTER);
            let readers = builder(&env).read_only(true).open().unwrap();
            assert_eq!(offsets(&partition_of(&readers), "beside it"), AFTER);
            drop(readers);
            if closes {
                log.close().unwrap();
                env.clear_faults();
            } else {
                env.clear_faults();
                clean(partition.log(), 0..4, only(AFTER));
                every_file_has_its_name(&env, AFTER);
                log.close().unwrap();
            }
            let log = builder(&env).open().unwrap();
            assert_eq!(offsets(&partition_of(&log), "opened again"), AFTER);
            assert_eq!(log.recovery_report().partitions.is_empty(), !closes, "the close was clean");
            every_file_has_its_name(&env, AFTER);
        }
    }
}

#[test]
fn what_is_not_part_of_the_log_any_more_is_not_replaced() {
    let env = SimEnv::new(1);
    let (log, partition) = log_of_three_segments(&env);
    let [first, second] = [(); 2].map(|()| rewrite(partition.log(), 4..8, &only(0x0a20)));
    assert!(first.commit(partition.log()).unwrap());
    assert!(!second.commit(partition.log()).unwrap(), "its sources were replaced");
    let removed = rewrite(partition.log(), 0..4, &only(0x0002));
    log.delete_records("t", 0, 4).unwrap();
    assert!(!removed.commit(partition.log()).unwrap(), "its sources were removed");
    let damaged = rewrite(partition.log(), 4..8, &only(0x0020));
    env.overwrite("/data/t-0/00000000000000000004.pages.cleaned", b"not its pages").unwrap();
    damaged.commit(partition.log()).unwrap_err();
    assert_eq!(offsets(&partition, "as it was"), 0xf20);
}

#[test]
fn a_reader_that_stands_anywhere_continues_through_a_swap() {
    let within = |set: u64, from: u64| (from..16).filter(move |offset| set & (1 << offset) != 0);
    for from in 0..16 {
        for is_beside in [false, true] {
            let env = SimEnv::new(1);
            let (_log, partition) = log_of_three_segments(&env);
            (12..16).for_each(|offset| append(&partition, offset));
            let log = Arc::clone(partition.log());
            let swap = move || {
                clean(&log, 4..12, only(AFTER));
                log.data_dir.pool.release();
            };
            let mut reader = partition.read(from);
            let mut found = Vec::new();
            if is_beside {
                before_the_next_read(swap);
            } else {
                found.extend(reader.next().map(|batch| batch.unwrap().base_offset().value()));
                swap();
            }
            found.extend(reader.map(|batch| batch.unwrap().base_offset().value()));
            assert!(found.is_sorted_by(|a, b| a < b), "{from}: {found:?}");
            assert!(within(AFTER, from).all(|offset| found.contains(&offset)), "{from}: {found:?}");
            assert!(found.iter().all(|offset| *offset >= from), "{from}: {found:?}");
        }
    }
}

#[test]
fn a_strangers_file_with_a_name_of_a_cleaners_is_no_part_of_the_log() {
    let env = SimEnv::new(1);
    swapped(&env)();
    // The one at 0 was never rewritten, that at 4 was: what takes its place has as many bytes as the manifest says.
    for (base, suffix) in [(0, "swap"), (0, "cleaned"), (4, "swap"), (4, "cleaned")] {
        let name = format!("/data/t-0/{base:020}.log");
        let first = env.files().remove(&name).unwrap();
        let first = first[..first.len() / 2].to_vec();
        for content in [Vec::new(), first, vec![0xff; 100]] {
            let env = env.crash(Crash::Kill, 1);
            env.overwrite(format!("{name}.{suffix}"), &content).unwrap();
            let what = format!("{} bytes as {name}.{suffix}", content.len());
            assert_eq!(readers_find_one_of_both(&env, &what), AFTER, "{what}");
            for _ in 0..2 {
                let log = builder(&env).open().unwrap();
                assert_eq!(offsets(&partition_of(&log), &what), AFTER, "{what}");
                assert!(log.health().is_good(), "{what}");
                log.close().unwrap();
            }
        }
    }
}

#[test]
fn a_batch_that_is_gone_is_damage_in_its_directory_too_wherever_no_cleaner_left_it_out() {
    let lose_each = || {
        for is_closed in [false, true] {
            let env = SimEnv::new(1);
            let (log, partition) = log_of_three_segments(&env);
            (12..16).for_each(|offset| append(&partition, offset));
            clean(partition.log(), 4..12, only(AFTER));
            if is_closed {
                log.close().unwrap();
            }
            // One that was never rewritten, a cleaner's, and the last one.
            for base in [0, 4, 12] {
                lose_each_batch(&env, &SegmentFile::Log.path(Path::new("/data/t-0"), Offset::new(base)));
            }
        }
    };
    planted::hold(lose_each, &["a_directory_alone_may_lack_anything"]);
}

fn lose_each_batch(original: &SimEnv, path: &Path) {
    let whole = original.files().remove(path.to_str().unwrap()).unwrap();
    let mut start = 0;
    for end in ends_of_batches(&whole) {
        let env = original.crash(Crash::Nothing, 1);
        env.overwrite(path, &[&whole[..start], &whole[end..]].concat()).unwrap();
        let dir = PartitionDir::open(Arc::new(env), Path::new("/data/t-0")).unwrap();
        let what = format!("bytes {start}..{end} of {}: {:?}", path.display(), dir.report());
        let is_torn = dir.report().torn_end.is_some();
        assert!(is_torn || !dir.report().damage.is_empty(), "{what}");
        let error = dir.read(0).find_map(Result::err);
        let is_told = |error: Error| matches!(error, Error::Corrupt { path: at, .. } if at == path);
        assert!(is_torn || error.is_some_and(is_told), "{what}");
        start = end;
    }
}

fn ends_of_batches(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(length) = bytes.get(at + 8..at + 12).map(|b| u32::from_be_bytes(b.try_into().unwrap()))
        && length > 0
    {
        at += 12 + length as usize;
        ends.push(at);
    }
    ends
}

#[test]
fn a_directory_that_has_the_name_of_a_cleaners_file_makes_way() {
    for kind in ["log", "index", "pages"] {
        for suffix in [".swap", ".cleaned"] {
            let env = SimEnv::new(1);
            let swap = swapped(&env);
            let base = if suffix == ".swap" { 4 } else { 0 };
            env.create_dir(Path::new(&format!("/data/t-0/{base:020}.{kind}{suffix}"))).unwrap();
            swap();
            let what = format!("a directory as {kind}{suffix}");
            let log = builder(&env.crash(Crash::Kill, 1)).open().unwrap();
            assert_eq!(offsets(&partition_of(&log), &what), AFTER, "{what}");
            assert!(log.health().is_good(), "{what}: {}", log.health());
        }
    }
}
