//! What failures and deaths leave behind, intervals, the manifest's history and reserve, marks, page sums and large batches,
//! retention, rolls, closes, the lock, deletions.

use crate::{Promise, promises, world::*};
use streamlog::{
    Durability, ErrorKind, RecordData, TopicConfig,
    admin::RecoveryVerdict,
    config::{Builder, ConfigChange},
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
};

promises! {
    a_full_disk_leaves_no_file_of_its_own: "src/manual/on_disk.rs",
        "a failed attempt itself" => [a_failed_file_stays];
    what_a_removal_left_goes_with_the_first_append: "src/manual/on_disk.rs",
        "files of segments below the log start; a .snapshot of no segment, and not of the last checkpoint"
            => [leftovers_stay, the_checkpoints_snapshot_is_a_leftover];
    a_trouble_ends_when_its_work_succeeds: "src/streamlog/stats.rs",
        "forgotten as soon as the same work succeeds" => [trouble_that_never_ends];
    a_full_disk_is_forgotten_once_anything_finds_space: "src/streamlog/stats.rs",
        "a full disk as soon as anything finds space" => [space_is_never_found];
    what_would_leave_less_than_the_floor_is_refused: "src/streamlog/builder.rs",
        "An append that would leave less is refused with DiskFull, which names this setting" => [the_medium_is_filled_to_the_brim];
    a_consumer_commits_below_the_floor: "src/streamlog/builder.rs",
        "Committed offsets may use half of it" => [commits_stop_at_the_whole_floor by DiskFull];
    a_file_that_could_not_be_removed_is_tried_again: "src/streamlog/admin.rs",
        "Files that could not be removed are tried again with the next call, and with retention" => [a_file_is_removed_once];
    an_interval_counts_from_the_oldest_record: "src/manual/durability.rs",
        "everything older than t plus the time of a flush survives" => [each_append_puts_the_flush_off];
    flush_ms_shortens_an_interval: "src/manual/durability.rs",
        "flush.messages and flush.ms add flushes to the weaker levels" => [flush_ms_takes_nothing_off_the_interval];
    an_interval_flush_that_failed_is_tried_again: "src/manual/durability.rs",
        "A mark that cannot be written before a flush fails that flush and poisons nothing" => [a_failed_interval_flush_is_not_tried_again];
    a_checkpoint_makes_its_mark_durable: "src/manual/durability.rs",
        "The mark says that recovery begins at P, and the marks are flushed" => [checkpoint_leaves_its_mark_in_the_cache];
    a_mark_speaks_of_a_flush_before_it: "src/codec/layout/mark.md",
        "flushing: a flush up to this offset may be under way" => [flush_unannounced];
    a_manifest_of_history_gives_way_to_a_new_one: "src/manual/on_disk.rs",
        "The same happens when the file is beyond 64 KiB and three quarters of it are history" => [history_is_kept_for_ever];
    a_full_medium_can_always_be_freed: "src/manual/on_disk.rs",
        "freeing space must not need space" => [making_room_needs_room by DiskFull];
    a_mark_of_another_partition_says_nothing: "src/manual/on_disk.rs",
        "one that names another partition, counts as empty" => [believe_a_mark_of_another];
    a_mark_that_is_not_whole_says_nothing: "src/manual/on_disk.rs",
        "A damaged slot" => [believe_a_torn_mark];
    where_the_mark_is_lost_nothing_is_cut_on_a_guess: "src/manual/on_disk.rs",
        "one with whole batches after it counts as damage, so nothing is cut on a guess" => [a_lost_mark_is_a_blank_one];
    the_report_of_a_torn_tail_counts_what_came_after: "src/manual/durability.rs",
        "how many whole batches lay after the first bad one" => [count_nothing_behind_a_cut];
    nothing_is_vouched_for_that_was_not_checked: "src/manual/on_disk.rs",
        "checks each of its batches on the way" => [vouch_for_what_was_not_checked];
    an_index_that_was_built_again_is_written: "src/manual/on_disk.rs",
        "the next checkpoint writes them. Where no checksum" => [what_was_rebuilt_is_not_written];
    all_pages_of_a_large_batch_are_checked: "src/manual/on_disk.rs",
        "A page is checked when it is first touched" => [trust_pages_that_were_not_looked_at];
    retention_goes_by_the_newest_record_of_a_segment: "src/topic/config/builder.rs",
        "How old the newest record of a segment may become before the segment is removed" => [age_by_the_first_record, retention_removes_nothing];
    a_record_from_the_future_expires_with_those_of_its_day: "src/topic/config/builder.rs",
        "So a record from the future, which in Kafka holds its segment until then, expires with those of its day" => [the_future_holds_a_segment, seal_at_no_time];
    a_group_that_never_committed_holds_everything: "src/manual/operating.rs",
        "A group that never committed holds everything" => [nobody_holds_a_segment];
    a_policy_that_keeps_everything_removes_nothing: "src/topic/config/builder.rs",
        "CleanupPolicy::Keep removes nothing, whatever the retention is" => [every_policy_deletes];
    retention_by_size_keeps_at_least_as_much: "src/topic/config/builder.rs",
        "So at least that much is kept, and at most bytes and one segment" => [retention_keeps_too_little, retention_removes_nothing];
    a_new_start_has_its_records_under_it: "src/streamlog/admin.rs",
        "before becomes the first offset that can be read, which survives a power cut" => [start_without_what_it_stands_on];
    what_nobody_sees_yet_is_not_deleted: "src/streamlog/admin.rs",
        "OffsetOutOfRange beyond the high watermark" => [delete_what_nobody_sees_yet];
    a_roll_cuts_a_segment_to_its_batches: "src/manual/on_disk.rs",
        "A roll and a clean close cut it to its exact length" => [roll_leaves_preallocated_space];
    a_close_cuts_the_active_segment_to_its_batches: "src/manual/durability.rs",
        "its active file cut to its data and flushed" => [close_leaves_preallocated_space];
    kafkas_clean_mark_is_the_last_word_of_a_close: "src/manual/durability.rs",
        ".kafka_cleanshutdown is written" => [kafkas_clean_mark_comes_first];
    kafkas_clean_mark_goes_with_the_first_write: "src/manual/on_disk.rs",
        "The first write of the next opening removes .kafka_cleanshutdown" => [kafkas_clean_mark_stays];
    a_close_releases_the_lock_even_if_handles_are_held: "src/streamlog/close.rs",
        "The lock is released all the same" => [close_keeps_the_lock by AlreadyOpen];
    what_is_left_of_a_deletion_goes_before_the_first_write: "src/manual/durability.rs",
        "The next opening removes leftovers before its first write" => [what_was_deleted_stays];
}

pub const ELSEWHERE: &[Promise] = &[
    Promise {
        test: "what_producers_did_is_durable_before_the_removal_of_everything_moves_the_start@src/partition/write/remove.rs",
        file: "src/manual/on_disk.rs",
        says: "it is durable before the segments go whose batches it covers",
        mistakes: &["forget_producers_of_what_goes"],
    },
    Promise {
        test: "producer_state_that_was_lost_refuses_what_depends_on_it_and_nothing_else@src/partition/tests/producers.rs",
        file: "src/manual/on_disk.rs",
        says: "and no later snapshot, an append with a producer id is refused with Corrupt",
        mistakes: &["lost_producers_are_nobody", "a_start_says_nothing_of_producers"],
    },
    Promise {
        test: "producer_state_that_was_lost_refuses_what_depends_on_it_and_nothing_else@src/partition/tests/producers.rs",
        file: "src/streamlog/stats.rs",
        says: "A partition whose state of producers was lost is among them",
        mistakes: &["lost_producers_are_not_reported"],
    },
    Promise {
        test: "a_producer_is_known_through_openings_until_it_was_silent_for_a_day@src/partition/tests/producers.rs",
        file: "src/manual/limits.rs",
        says: "A producer with an id is forgotten once it was silent for a day",
        mistakes: &["a_producer_is_known_forever"],
    },
    Promise {
        test: "a_log_gives_sequences_that_follow_to_what_it_takes@src/partition/tests/sequences.rs",
        file: "src/manual/durability.rs",
        says: "the one after the producer's last batch in the log, or 0 in a new epoch",
        mistakes: &["a_batch_keeps_its_first_sequence"],
    },
    Promise {
        test: "a_late_batch_of_an_ended_transaction_is_refused_and_opens_none@src/partition/tests/sequences.rs",
        file: "src/manual/durability.rs",
        says: "A producer that nobody knows begins its transaction at sequence 0",
        mistakes: &["a_transaction_of_a_stranger_begins_anywhere"],
    },
    Promise {
        test: "the_outcome_of_an_error_is_what_a_reopening_shows@tests/outcomes.rs",
        file: "src/error/outcome.rs",
        says: "Those at these offsets are in the log, and no others",
        mistakes: &["what_was_written_counts_as_refused", "nothing_is_ever_unknown"],
    },
    Promise {
        test: "the_last_named_sequence_outlasts_epochs_markers_removals_openings_and_silence@src/partition/tests/named.rs",
        file: "src/manual/on_disk.rs",
        says: "it keeps the last sequence that its source gave, which no epoch resets",
        mistakes: &[
            "an_epoch_resets_named_sequences",
            "a_name_is_forgotten_in_time",
            "named_sequences_are_not_read",
        ],
    },
    Promise {
        test: "a_lost_snapshot_refuses_named_producers_until_their_name_is_forgotten@src/partition/tests/named.rs",
        file: "src/manual/on_disk.rs",
        says: "A producer with a name is refused however long ago the loss was noticed",
        mistakes: &["lost_sequences_are_none"],
    },
    Promise {
        test: "what_a_named_producer_sent_before_is_answered_and_not_written_again@src/producer/tests/named.rs",
        file: "src/producer/builder.rs",
        says: "one that is not above the last number of its partition is answered as a duplicate",
        mistakes: &["no_number_is_too_low"],
    },
    Promise {
        test: "a_later_producer_of_a_name_fences_the_one_before@src/producer/tests/named.rs",
        file: "src/producer/builder.rs",
        says: "The name has one holder",
        mistakes: &["a_name_has_two_holders"],
    },
    Promise {
        test: "a_batch_that_fails_gives_its_numbers_back@src/producer/tests/named.rs",
        file: "src/producer/builder.rs",
        says: "the failed numbers are given back",
        mistakes: &["failed_numbers_are_not_given_back"],
    },
    Promise {
        test: "a_transaction_from_before_a_file_that_was_cut_short_still_holds_readers_back@src/partition/tests/producers.rs",
        file: "src/manual/on_disk.rs",
        says: "Where a file is shorter than its checkpoint, the snapshot at the segment's base is used",
        mistakes: &["a_short_file_forgets_producers"],
    },
    Promise {
        test: "after_an_alteration_to_flushed_nothing_is_visible_that_is_not_flushed@src/streamlog/tests/interleavings.rs",
        file: "src/streamlog/admin.rs",
        says: "all records appended before or during the call are flushed when this returns",
        mistakes: &["alter_flushes_only_before"],
    },
    Promise {
        test: "what_is_appended_beside_an_interval_flush_is_flushed_within_the_next_one@src/streamlog/tests/interleavings.rs",
        file: "src/types.rs",
        says: "on the medium within this interval",
        mistakes: &["forget_what_came_during_a_flush", "look_at_the_clock_before_the_end_is_known"],
    },
    Promise {
        test: "a_torn_end_that_is_written_over_does_not_come_back@src/storage/manifest/tests.rs",
        file: "src/manual/on_disk.rs",
        says: "an append with a wrong byte is a torn tail, and ignored",
        mistakes: &["torn_end_cut_without_flush"],
    },
];

/// A topic of segments for one record each, whose appends need no flush.
fn one_a_segment() -> World {
    let config = TopicConfig::default().segment_bytes(600).durability(Durability::Written);
    let world = World::with(config);
    (0..4).for_each(|_| world.send(&"x".repeat(400)));
    world
}

/// The names in the directory of partition 0 that end like this.
fn names(env: &SimEnv, end: &str) -> Vec<String> {
    let files = env.files().into_keys().filter_map(|path| Some(path.strip_prefix("/log/t-0/")?.to_string()));
    files.filter(|name| name.ends_with(end)).collect()
}

fn a_full_disk_leaves_no_file_of_its_own() {
    let world = one_a_segment();
    for kind in ["snapshot", "timeindex", "pages"] {
        world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(kind));
        assert_eq!(world.partition().flush().unwrap_err().kind(), ErrorKind::DiskFull);
        assert_eq!(names(&world.env, "tmp"), Vec::<String>::new(), "{kind}");
        let empty = |name: &&String| world.env.files()[&format!("/log/t-0/{name}")].is_empty();
        assert_eq!(names(&world.env, kind).iter().find(empty), None);
    }
}

fn what_a_removal_left_goes_with_the_first_append() {
    let world = one_a_segment();
    world.log.delete_records("t", 0, 2).unwrap();
    world.log.close().unwrap();
    let first = world.env.files()["/log/t-0/00000000000000000002.log"].clone();
    for (name, content) in [
        ("00000000000000000001.log", &first[..0]),
        ("00000000000000000001.index", &[]),
        ("00000000000000000001.snapshot", &[]),
        ("00000000000000000003.snapshot.tmp", &first),
    ] {
        world.env.overwrite(format!("/log/t-0/{name}"), content).unwrap();
    }
    let log = open(&world.env);
    log.topic("t").unwrap().partition(0).unwrap().append(&[RecordData::new("x")]).unwrap();
    assert_eq!(names(&world.env, ".log").len(), 2);
    assert!(names(&world.env, "").iter().all(|name| !name.contains("001.") && !name.ends_with("tmp")));
    // That of the last checkpoint is none.
    assert!(names(&world.env, ".snapshot").iter().any(|name| name.contains("004.")));
}

fn a_trouble_ends_when_its_work_succeeds() {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/log").open().unwrap();
    let config = TopicConfig::default().durability(Durability::Written);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("x")]).unwrap();
    for kind in [FaultKind::Io, FaultKind::DiskFull] {
        partition.append(&[RecordData::new("x")]).unwrap();
        let before = env.struck();
        env.inject(Fault::new(kind).path("snapshot"));
        env.advance(secs(11));
        env.pump(100);
        assert!(env.struck() > before, "{kind:?}");
        partition.flush().unwrap();
        assert!(log.health().is_good());
    }
}

fn a_full_disk_is_forgotten_once_anything_finds_space() {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/log").open().unwrap();
    let config = TopicConfig::default().durability(Durability::Written);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("x")]).unwrap();
    env.inject(Fault::new(FaultKind::DiskFull).path("snapshot").forever());
    env.advance(secs(11));
    env.pump(100);
    assert!(env.struck() > 0);
    env.clear_faults();
    let other = log.create_topic("other", TopicConfig::default()).unwrap().partition(0).unwrap();
    other.append(&[RecordData::new("x")]).unwrap();
    assert!(log.health().is_good());
}

/// A log on a medium of 4 MiB, of which this much stays free.
fn on_a_medium_with_a_floor(floor: u64) -> World {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/log").background_thread(false).min_free_space(floor).open().unwrap();
    log.create_topic("t", TopicConfig::default()).unwrap();
    env.set_capacity(Some(4 << 20));
    World { env, log }
}

fn what_would_leave_less_than_the_floor_is_refused() {
    let floor = 1 << 20;
    let world = on_a_medium_with_a_floor(floor);
    let large = [7; 60_000];
    let refused = (0..100).find_map(|_| world.partition().append(&[RecordData::new(&large)]).err());
    let refused = refused.expect("the medium is not larger");
    let text = refused.to_string();
    assert!(refused.kind() == ErrorKind::DiskFull && text.contains("min_free_space keeps 1048576"), "{text}");
    let used: usize = world.env.files().values().map(Vec::len).sum();
    assert!((3 << 20) - 200_000 < used && used <= 3 << 20, "{used}");
    assert_eq!(world.partition().read(0).count() as u64, world.partition().log_end_offset().value());
    assert!(world.log.health().to_string().contains("min_free_space") && !world.log.health().is_good());
    assert_eq!(world.log.stats().min_free_space, floor);
    // Space comes back, which is seen a second later.
    world.env.set_capacity(Some(8 << 20));
    world.env.advance(secs(1));
    assert!(world.log.health().is_good());
    world.append(&["resumed"]);
}

fn a_consumer_commits_below_the_floor() {
    let world = on_a_medium_with_a_floor(3 << 20);
    world.append(&["x"]);
    let mut consumer = world.consumer();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
    // Less is free now than may be, and more than half of it.
    world.env.set_capacity(Some((2 << 20) + 200_000));
    world.env.advance(secs(1));
    consumer.commit_sync().unwrap();
    assert_eq!(world.committed(), Some(1));
}

fn a_file_that_could_not_be_removed_is_tried_again() {
    let world = one_a_segment();
    world.env.inject(Fault::new(FaultKind::Io).on(Operation::Remove).path(".log").forever());
    world.log.delete_records("t", 0, 3).unwrap_err();
    assert_eq!(names(&world.env, ".log").len(), 4);
    world.env.clear_faults();
    world.log.delete_records("t", 0, 3).unwrap();
    assert_eq!(names(&world.env, ".log").len(), 1);
}

// -- durability ------------------------------------------------------------------------------------------------------

/// A topic that is flushed every second.
fn every_second() -> World {
    World::with(TopicConfig::default().durability(Durability::Interval(secs(1))))
}

/// What a power cut leaves of partition 0 of topic `t`.
fn left(world: &World) -> u64 {
    let log = open(&world.env.crash(Crash::Nothing, 1));
    log.topic("t").unwrap().partition(0).unwrap().log_end_offset().value()
}

fn an_interval_counts_from_the_oldest_record() {
    let world = every_second();
    for _ in 0..4 {
        world.send("x");
        world.env.advance(secs(1) / 2);
        world.log.maintain().unwrap();
    }
    // Two records are at most a second old; appends that go on put nothing off.
    assert!(left(&world) >= 2, "{} survive", left(&world));
}

fn flush_ms_shortens_an_interval() {
    let config = TopicConfig::default().durability(Durability::Interval(secs(60))).flush_time(secs(1));
    let world = World::with(config);
    world.send("x");
    world.env.advance(secs(1));
    world.log.maintain().unwrap();
    assert_eq!(left(&world), 1);
}

fn an_interval_flush_that_failed_is_tried_again() {
    let world = every_second();
    world.send("x");
    world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path("marks"));
    world.env.advance(secs(1));
    world.log.maintain().unwrap_err();
    world.env.advance(secs(1));
    world.log.maintain().unwrap();
    assert_eq!(left(&world), 1);
}

fn a_checkpoint_makes_its_mark_durable() {
    let world = World::new(1);
    for i in 0..20 {
        world.send(&format!("record {i}"));
    }
    world.partition().flush().unwrap();
    let after = world.env.crash(Crash::Nothing, 1);
    let path = "/log/t-0/00000000000000000000.log";
    let mut bytes = after.files()[path].clone();
    bytes[100] ^= 1;
    after.overwrite(path, &bytes).unwrap();
    // What the mark covers is damage where it changed, and never a torn tail to be cut.
    let log = open(&after);
    let kept = after.files()[path].len();
    assert!(kept >= 20 * 60, "{kept} bytes are left of what was durable: {:?}", log.recovery_report());
}

fn a_mark_speaks_of_a_flush_before_it() {
    let world = World::new(1);
    world.send("durable");
    let path = "/log/t-0/00000000000000000000.log";
    let before = world.env.files()[path].clone();
    world.env.record();
    world.send("under way");
    let recording = world.env.recording();
    let mut cursor = recording.cursor();
    let mut under_way = 0;
    while cursor.advance().is_some() {
        let files = cursor.crash(Crash::Kill, 1).files();
        let slot = slot_of(&files["/log/marks"], 0);
        let offset =
            |at: usize| u64::from_be_bytes(files["/log/marks"][slot + at..slot + at + 8].try_into().unwrap());
        let (flushing, flushed) = (offset(20), offset(28));
        if files[path] != before && flushed == 1 {
            under_way += 1;
            assert_eq!(flushing, 2, "bytes are on their way to the medium, and the mark knows of none");
        }
    }
    assert!(under_way > 0);
}

// -- manifest and marks ----------------------------------------------------------------------------------------------

fn a_manifest_of_history_gives_way_to_a_new_one() {
    let world = World::new(1);
    for i in 0..1500 {
        let value = (1_000_000 + i).to_string();
        world.log.alter_topic("t", &[ConfigChange::set("retention.ms", value)]).unwrap();
    }
    let said = world.env.files()["/log/manifest"].len();
    assert!(said < 128 << 10, "{said} bytes");
}

fn a_full_medium_can_always_be_freed() {
    let config = TopicConfig::default().segment_bytes(600).durability(Durability::Written);
    let world = World::with(config);
    (0..200).for_each(|_| world.send(&"x".repeat(400)));
    world.partition().flush().unwrap();
    world.env.set_capacity(Some(world.env.used()));
    // What is freed is taken by another.
    for before in 1..100 {
        world.env.set_capacity(Some(world.env.used()));
        world.log.delete_records("t", 0, before).unwrap();
    }
}

/// Where the slot of a partition of the one topic lies.
fn slot_of(marks: &[u8], partition: u32) -> usize {
    let is_its = |slot: &[u8]| slot[..16] != [0; 16] && slot[16..20] == partition.to_be_bytes();
    marks.chunks_exact(64).position(is_its).unwrap() * 64
}

/// A log that was killed with a record in each of two partitions, and its marks.
fn killed_with_marks() -> (SimEnv, Vec<u8>) {
    let world = World::new(2);
    for _ in 0..3 {
        world.send_to(0, "x");
    }
    world.send_to(1, "x");
    let killed = world.env.crash(Crash::Kill, 1);
    let marks = killed.files()["/log/marks"].clone();
    (killed, marks)
}

/// What the opening says of partition 1, and how much of it there is.
fn opened_with_marks(env: &SimEnv, marks: &[u8]) -> (RecoveryVerdict, u64) {
    env.overwrite("/log/marks", marks).unwrap();
    let log = open(env);
    let found = log.recovery_report().partitions.iter().find(|found| found.partition == t(1)).cloned();
    let end = log.topic("t").unwrap().partition(1).unwrap().log_end_offset().value();
    (found.map_or(RecoveryVerdict::Whole, |found| found.verdict), end)
}

fn a_mark_of_another_partition_says_nothing() {
    let (env, mut marks) = killed_with_marks();
    let (of_other, own) = (slot_of(&marks, 0), slot_of(&marks, 1));
    marks.copy_within(of_other..of_other + 64, own);
    assert_eq!(opened_with_marks(&env, &marks), (RecoveryVerdict::Whole, 1));
}

fn a_mark_that_is_not_whole_says_nothing() {
    let (env, mut marks) = killed_with_marks();
    // "Flushed", far beyond what there is.
    let slot = slot_of(&marks, 1);
    marks[slot + 28 + 6] ^= 1;
    assert_eq!(opened_with_marks(&env, &marks), (RecoveryVerdict::Whole, 1));
}

/// A killed log of ten records, of which the middle is not what was written.
fn broken_in_the_middle(durability: Durability) -> SimEnv {
    let world = World::with(TopicConfig::default().durability(durability));
    (0..10).for_each(|i| world.send(&format!("record {i}")));
    let killed = world.env.crash(Crash::Kill, 1);
    let path = "/log/t-0/00000000000000000000.log";
    let mut bytes = killed.files()[path].clone();
    let batch = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
    bytes[5 * batch + 30] ^= 1;
    killed.overwrite(path, &bytes).unwrap();
    killed
}

fn verdict(env: &SimEnv) -> RecoveryVerdict {
    open(env)
        .recovery_report()
        .partitions
        .first()
        .map_or(RecoveryVerdict::Whole, |found| found.verdict.clone())
}

fn where_the_mark_is_lost_nothing_is_cut_on_a_guess() {
    let killed = broken_in_the_middle(Durability::Flushed);
    let mut marks = killed.files()["/log/marks"].clone();
    let slot = slot_of(&marks, 0);
    marks[slot..slot + 64].fill(0);
    killed.overwrite("/log/marks", &marks).unwrap();
    let found = verdict(&killed);
    assert!(matches!(found, RecoveryVerdict::Damage { .. }), "{found}");
}

fn the_report_of_a_torn_tail_counts_what_came_after() {
    let found = verdict(&broken_in_the_middle(Durability::Written));
    let RecoveryVerdict::TornTail { whole_batches_beyond, .. } = found else { panic!("{found}") };
    assert_eq!(whole_batches_beyond, 4);
}

// -- sidecars and large batches --------------------------------------------------------------------------------------

fn values_of(log: &streamlog::Streamlog) -> Result<Vec<Vec<u8>>, streamlog::Error> {
    let mut values = Vec::new();
    for batch in log.topic("t")?.partition(0)?.read(0) {
        values.extend(batch?.iter().map(|record| record.value.unwrap_or_default().to_vec()));
    }
    Ok(values)
}

fn nothing_is_vouched_for_that_was_not_checked() {
    let world = one_a_segment();
    let path = "/log/t-0/00000000000000000000.log";
    let mut bytes = world.env.files()[path].clone();
    bytes[200] ^= 1;
    world.env.overwrite(path, &bytes).unwrap();
    let _ = world.partition().flush();
    assert!(values_of(&world.log).is_err(), "a byte that changed before the pages were summed up is read");
}

fn an_index_that_was_built_again_is_written() {
    let world = one_a_segment();
    world.log.close().unwrap();
    let path = "/log/t-0/00000000000000000000.timeindex";
    let before = world.env.files()[path].clone();
    world.env.overwrite(path, &[0; 12]).unwrap();
    let log = open(&world.env);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    partition.offset_for_timestamp(streamlog::Timestamp::from_millis(0)).unwrap();
    partition.append(&[RecordData::new("x")]).unwrap();
    partition.flush().unwrap();
    assert_eq!(world.env.files()[path], before);
}

fn all_pages_of_a_large_batch_are_checked() {
    let large = vec![7; 1 << 20];
    let config = TopicConfig::default().max_message_bytes(3 << 20).segment_bytes(2 << 20);
    let world = World::with(config.max_message_bytes(2 << 20).durability(Durability::Written));
    let two = [RecordData::new(&large[..900_000]), RecordData::new(&large[..900_000])];
    world.partition().append(&two).unwrap();
    world.partition().append(&two).unwrap();
    world.log.close().unwrap();
    let path = "/log/t-0/00000000000000000000.log";
    let mut bytes = world.env.files()[path].clone();
    let end = bytes.len() - 1000;
    bytes[end] ^= 1;
    world.env.overwrite(path, &bytes).unwrap();
    assert!(values_of(&open(&world.env)).is_err());
}

// -- retention -------------------------------------------------------------------------------------------------------

fn retention_goes_by_the_newest_record_of_a_segment() {
    let config = TopicConfig::default().retention_time(secs(100)).segment_bytes(1200);
    let world = World::with(config.durability(Durability::Flushed));
    let now = streamlog::Timestamp::from_millis(2_000_000_000_000);
    world.env.set_wall_clock(now);
    for age in [150, 150, 150, 60, 60, 60, 60] {
        let record = RecordData::new(&[7; 400]).timestamp(now.minus(secs(age)));
        world.partition().append(&[record]).unwrap();
    }
    world.log.maintain().unwrap();
    assert_eq!(world.partition().log_start_offset(), 2);
}

fn a_record_from_the_future_expires_with_those_of_its_day() {
    const DAY: u64 = 86_400;
    let config = TopicConfig::default().retention_time(secs(7 * DAY)).segment_bytes(1200);
    let world = World::with(config.durability(Durability::Flushed));
    let start = streamlog::Timestamp::from_millis(2_000_000_000_000);
    world.env.set_wall_clock(start);
    let partition = world.partition();
    for years in [0, 0, 1000, 0, 0] {
        let record = RecordData::new(&[7; 400]).timestamp(start.plus(secs(years * 365 * DAY)));
        partition.append(&[record]).unwrap();
    }
    world.log.close().unwrap();
    // The time of sealing is known in every life.
    for (days, log_start) in [(6, 0), (8, 5)] {
        world.env.set_wall_clock(start.plus(secs(days * DAY)));
        let log = open(&world.env);
        log.maintain().unwrap();
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        assert_eq!(partition.log_start_offset(), log_start, "after {days} days");
        assert!(log.close().is_ok());
    }
}

/// Of 1970, a segment each.
fn append_three_old_records(world: &World) {
    let old = RecordData::new(&[7; 400]).timestamp(streamlog::Timestamp::from_millis(1));
    for _ in 0..3 {
        world.partition().append(std::slice::from_ref(&old)).unwrap();
    }
}

fn a_group_that_never_committed_holds_everything() {
    let config = TopicConfig::default().retention_hold_groups(["g"]);
    let world = World::with(config.retention_time(secs(1)).segment_bytes(600));
    append_three_old_records(&world);
    world.log.maintain().unwrap();
    assert_eq!(world.partition().log_start_offset(), 0);
}

fn a_policy_that_keeps_everything_removes_nothing() {
    let config = TopicConfig::default().cleanup_policy(streamlog::config::CleanupPolicy::Keep);
    let world = World::with(config.retention_time(secs(1)).segment_bytes(600));
    append_three_old_records(&world);
    world.log.maintain().unwrap();
    assert_eq!(world.partition().log_start_offset(), 0);
}

fn retention_by_size_keeps_at_least_as_much() {
    let world = World::with(TopicConfig::default().retention_bytes(1500).segment_bytes(600));
    (0..8).for_each(|_| world.send(&"x".repeat(400)));
    world.log.maintain().unwrap();
    let size = world.partition().size();
    assert!((1500..=1500 + 600).contains(&size), "{size}");
}

fn a_new_start_has_its_records_under_it() {
    let world = World::with(TopicConfig::default().durability(Durability::Written));
    (0..4).for_each(|_| world.send("x"));
    world.log.delete_records("t", 0, 2).unwrap();
    let after = world.env.crash(Crash::Nothing, 1);
    assert_eq!(verdict(&after), RecoveryVerdict::Whole);
    let log = open(&after);
    assert!(log.topic("t").unwrap().partition(0).unwrap().log_end_offset() >= 2);
}

fn what_nobody_sees_yet_is_not_deleted() {
    let world = World::new(1);
    world.send("x");
    let refused = world.log.delete_records("t", 0, 2).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OffsetOutOfRange);
}

// -- rolls, closes, locks, deletions ---------------------------------------------------------------------------------

/// The files of segments that hold more than their batches.
fn longer_than_their_batches(world: &World) -> Vec<String> {
    let zeros = |name: &String| world.env.files()[&format!("/log/t-0/{name}")].ends_with(&[0; 100]);
    names(&world.env, ".log").into_iter().filter(zeros).collect()
}

fn a_roll_cuts_a_segment_to_its_batches() {
    let world = one_a_segment();
    assert_eq!(longer_than_their_batches(&world), ["00000000000000000003.log"]);
}

fn a_close_cuts_the_active_segment_to_its_batches() {
    let world = one_a_segment();
    world.log.clone().close().unwrap();
    assert_eq!(longer_than_their_batches(&world), Vec::<String>::new());
}

fn kafkas_clean_mark_is_the_last_word_of_a_close() {
    let world = World::new(1);
    world.send("x");
    world.env.record();
    world.log.clone().close().unwrap();
    let recording = world.env.recording();
    let mut cursor = recording.cursor();
    while cursor.advance().is_some() {
        let env = cursor.crash(Crash::Kill, 1);
        let marked = env.files().contains_key("/log/.kafka_cleanshutdown");
        assert!(!marked || open(&env).recovery_report().was_clean);
    }
    assert!(world.env.files().contains_key("/log/.kafka_cleanshutdown"));
}

fn kafkas_clean_mark_goes_with_the_first_write() {
    let world = World::new(1);
    world.log.clone().close().unwrap();
    let log = open(&world.env);
    assert!(world.env.files().contains_key("/log/.kafka_cleanshutdown"));
    log.topic("t").unwrap().partition(0).unwrap().append(&[RecordData::new("x")]).unwrap();
    assert!(!world.env.files().contains_key("/log/.kafka_cleanshutdown"));
}

fn a_close_releases_the_lock_even_if_handles_are_held() {
    let world = World::new(1);
    let held = (world.log.producer().unwrap(), world.partition());
    world.log.clone().close().unwrap();
    drop(Builder::env(&world.env, "/log").background_thread(false).open().unwrap());
    drop(held);
}

fn what_is_left_of_a_deletion_goes_before_the_first_write() {
    let world = World::new(1);
    world.send("x");
    world.env.record();
    world.log.delete_topic("t").unwrap();
    let recording = world.env.recording();
    let mut cursor = recording.cursor();
    let mut left = 0;
    while cursor.advance().is_some() {
        let env = cursor.crash(Crash::Kill, 1);
        let going = |env: &SimEnv| env.files().keys().filter(|path| path.contains("-delete/")).count();
        left += going(&env);
        open(&env).create_topic("another", TopicConfig::default()).unwrap();
        assert_eq!(going(&env), 0);
    }
    assert!(left > 0);
}
