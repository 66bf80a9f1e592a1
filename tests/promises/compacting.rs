//! Compaction: what stays, what goes, and when.

use crate::{promises, world::*};
use streamlog::{
    ErrorKind, Partition, RecordData, Streamlog, TopicConfig,
    admin::Compact,
    config::{Builder, CleanupPolicy},
    sim::{Crash, Fault, FaultKind, Operation},
};

promises! {
    of_each_key_the_newest_record_stays_at_its_offset: "src/manual/compaction.rs",
        "The newest record of each key stays, at its offset"
        => [older_records_of_a_key_stay, the_newest_record_of_a_key_goes];
    a_tombstone_stays_for_as_long_as_it_is_to_be_seen: "src/manual/compaction.rs",
        "A reader that begins at the start of the log and reaches its end within delete.retention.ms learns of every deletion"
        => [a_tombstone_goes_when_it_is_met];
    a_deleted_key_does_not_return_where_compactions_end_early: "src/manual/compaction.rs",
        "A deleted key does not return: not after a crash at any moment, and not where a compaction ended early"
        => [a_tombstone_goes_before_its_elders];
    a_segment_in_which_nothing_is_dead_is_left_alone: "src/manual/compaction.rs",
        "a segment in which nothing is dead keeps its file" => [every_segment_is_rewritten];
    what_is_young_is_left_alone: "src/manual/compaction.rs",
        "What is younger than min.compaction.lag.ms is left alone" => [the_lag_is_forgotten];
    what_could_not_be_compacted_is_reported_until_it_is: "src/manual/compaction.rs",
        "reports it until a later attempt succeeds" => [what_is_not_compacted_is_not_reported, a_success_is_not_noted];
    page_checksums_lost_in_a_swap_lose_nothing_else: "src/storage/swap.rs",
        "then the file that still has the name shows by its size, or by its own, that it is not what the manifest has"
        => [page_checksums_alone_decide];
    a_purged_key_is_gone_with_its_newest_record_and_its_tombstone: "src/manual/compaction.rs",
        "The newest record and tombstones of the key go too" => [a_purge_spares_the_newest_segment];
    what_was_put_aside_is_purged_as_well: "src/manual/compaction.rs",
        "Files with batches that belong to no log are purged as well" => [a_purge_forgets_what_was_put_aside];
    no_older_value_returns_where_a_purge_ends_early: "src/manual/compaction.rs",
        "no older value of the key returns in between, and neither does a deleted one"
        => [a_purge_begins_with_the_newest];
    what_was_written_and_not_swapped_is_removed: "src/compaction/cleaning.rs",
        "One that is dropped before its end removes what it has written and not swapped" => [what_was_not_swapped_stays];
}

fn compacted() -> TopicConfig {
    TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(512)
}

/// Appends a record of 150 bytes: three make a segment.
fn put(partition: &Partition, key: &str) {
    partition.append(&[RecordData::new(&[7; 150]).key(key)]).unwrap();
}

/// The offsets that are left.
fn offsets(partition: &Partition) -> Vec<u64> {
    partition.records(0).map(|record| record.unwrap().offset.value()).collect()
}

fn compact(log: &Streamlog) -> (u64, u64) {
    let done = log.compact_now("t", Compact::new()).unwrap();
    (done.segments_rewritten, done.segments_untouched)
}

fn of_each_key_the_newest_record_stays_at_its_offset() {
    let world = World::with(compacted());
    let partition = world.partition();
    ["a", "b", "a", "c", "b", "a"].iter().for_each(|key| put(&partition, key));
    compact(&world.log);
    assert_eq!(offsets(&partition), [3, 4, 5]);
}

fn a_tombstone_stays_for_as_long_as_it_is_to_be_seen() {
    let world = World::with(compacted().delete_retention(secs(100)));
    let partition = world.partition();
    put(&partition, "a");
    partition.append(&[RecordData::tombstone("a")]).unwrap();
    put(&partition, "b");
    for last in 2..5 {
        compact(&world.log);
        assert_eq!(offsets(&partition), [1, last], "the tombstone, and the newest of the other key");
        world.env.advance(secs(10));
        put(&partition, "b");
    }
    world.env.advance(secs(100));
    compact(&world.log);
    assert_eq!(offsets(&partition), [5]);
}

/// Whether a table that is built from the topic has the key.
fn has(partition: &Partition, key: &str) -> bool {
    let newest =
        partition.records(0).map(|record| record.unwrap()).filter(|r| r.key_str() == Some(key)).last();
    newest.is_some_and(|record| record.value.is_some())
}

fn a_deleted_key_does_not_return_where_compactions_end_early() {
    // Each of two compactions ends after so many looks, and one in full follows.
    for (first, second) in (0..4).flat_map(|first| (0..4).map(move |second| (first, second))) {
        let world = World::with(compacted().delete_retention(secs(0)));
        let partition = world.partition();
        ["gone", "a", "a"].iter().for_each(|key| put(&partition, key));
        ["b", "b"].iter().for_each(|key| put(&partition, key));
        partition.append(&[RecordData::tombstone("gone")]).unwrap();
        put(&partition, "a");
        for looks in [first, second] {
            let mut left = looks;
            let options = Compact::new().on_progress(|_| {
                left -= 1;
                left >= 0
            });
            drop(world.log.compact_now("t", options));
            assert!(!has(&partition, "gone"), "after {first} and {second} looks");
            put(&partition, "b");
        }
        compact(&world.log);
        assert!(!has(&partition, "gone"), "after {first} and {second} looks, and a whole compaction");
    }
}

fn a_segment_in_which_nothing_is_dead_is_left_alone() {
    let world = World::with(compacted());
    let partition = world.partition();
    ["a", "b", "c", "d"].iter().for_each(|key| put(&partition, key));
    assert_eq!(compact(&world.log).0, 0);
    put(&partition, "d");
    let (rewritten, untouched) = compact(&world.log);
    assert!(rewritten == 1 && untouched > 0, "{rewritten} and {untouched}");
}

fn what_is_young_is_left_alone() {
    let world = World::with(compacted().min_compaction_lag(secs(100)));
    let partition = world.partition();
    (0..8).for_each(|_| put(&partition, "a"));
    world.log.maintain().unwrap();
    assert_eq!(offsets(&partition).len(), 8);
    world.env.advance(secs(101));
    world.log.maintain().unwrap();
    assert!(offsets(&partition).len() < 8);
}

fn what_could_not_be_compacted_is_reported_until_it_is() {
    let world = World::with(compacted());
    let partition = world.partition();
    (0..8).for_each(|_| put(&partition, "a"));
    let fault = Fault::new(FaultKind::DiskFull).on(Operation::Create).path(".log.cleaned");
    world.env.inject(fault.forever());
    assert_eq!(world.log.maintain().map_err(|error| error.kind()), Err(ErrorKind::DiskFull));
    let health = world.log.health();
    assert_eq!(health.not_compacted.len(), 1, "{health}");
    assert!(!health.is_good());
    world.env.clear_faults();
    world.env.advance(secs(3600));
    world.log.maintain().unwrap();
    assert!(offsets(&partition).len() < 8);
    assert!(world.log.health().is_good());
}

fn what_was_written_and_not_swapped_is_removed() {
    let world = World::with(compacted());
    let partition = world.partition();
    (0..8).for_each(|_| put(&partition, "a"));
    let written = || world.env.files().keys().filter(|path| path.ends_with(".cleaned")).count();
    while written() == 0 && world.log.maintain_for(NOW).unwrap() {}
    assert!(written() > 0);
    world.log.clone().close().unwrap();
    assert_eq!(written(), 0);
}

fn page_checksums_lost_in_a_swap_lose_nothing_else() {
    for only_tombstones in [false, true] {
        let world = World::with(compacted().delete_retention(secs(100)));
        let partition = world.partition();
        // Of a batch whose tombstone is met the size stays the same.
        ["a", "b"].iter().for_each(|key| put(&partition, key));
        partition.append(&[RecordData::tombstone("c")]).unwrap();
        if !only_tombstones {
            ["a", "b", "a"].iter().for_each(|key| put(&partition, key));
        }
        world.env.record();
        compact(&world.log);
        let (expected, recording) = (offsets(&partition), world.env.recording());
        let (mut cursor, mut lost) = (recording.cursor(), 0);
        while cursor.advance().is_some() {
            let env = cursor.crash(Crash::Kill, 1);
            let written = env.files().into_keys().filter(|path| path.ends_with(".pages.cleaned"));
            for path in written.collect::<Vec<_>>() {
                env.overwrite(&path, &[7; 40]).unwrap();
                lost += 1;
            }
            let log = Builder::env(&env, "/log").background_thread(false).open().unwrap();
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            let found: Vec<u64> =
                partition.records(0).flatten().map(|record| record.offset.value()).collect();
            assert!(expected.iter().all(|offset| found.contains(offset)), "{found:?}, and not {expected:?}");
            assert!(log.health().is_good(), "{}", log.health());
            compact(&log);
            assert_eq!(offsets(&partition), expected);
        }
        assert!(lost > 2, "{lost}");
    }
}

fn a_purged_key_is_gone_with_its_newest_record_and_its_tombstone() {
    let world = World::with(compacted());
    let partition = world.partition();
    ["a", "b", "a", "c", "a"].iter().for_each(|key| put(&partition, key));
    partition.append(&[RecordData::tombstone("b")]).unwrap();
    for (key, left) in [("a", vec![1, 3, 5]), ("b", vec![3])] {
        drop(world.log.purge_key("t", key));
        assert_eq!(offsets(&partition), left);
    }
}

fn what_was_put_aside_is_purged_as_well() {
    let world = World::with(compacted());
    let partition = world.partition();
    (0..8).for_each(|_| put(&partition, "person"));
    let segment = world.env.files()["/log/t-0/00000000000000000000.log"].clone();
    world.env.overwrite("/log/t-0/00000000000000000001.log.aside", &segment).unwrap();
    drop(world.log.purge_key("t", "person"));
    let has_it = |bytes: &[u8]| bytes.windows(6).any(|part| part == b"person");
    let left = world.env.files().into_iter().filter(|(_, bytes)| has_it(bytes));
    assert_eq!(left.map(|(path, _)| path).collect::<Vec<_>>(), [""; 0]);
}

fn no_older_value_returns_where_a_purge_ends_early() {
    for room in 0..4 {
        let world = World::with(compacted());
        let partition = world.partition();
        (0..8).for_each(|_| put(&partition, "gone"));
        partition.append(&[RecordData::tombstone("gone")]).unwrap();
        let full = Fault::new(FaultKind::DiskFull).on(Operation::Create).path(".log.cleaned");
        world.env.inject(full.skip(room).forever());
        let purged = world.log.purge_key("t", "gone").map_err(|error| error.kind());
        assert!(purged.is_ok() || purged == Err(ErrorKind::DiskFull));
        assert!(!has(&partition, "gone"), "a purge of {room} segments");
    }
}
