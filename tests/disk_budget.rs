//! A disk budget over all topics: what it counts, what it refuses, what it drops and what it never drops, also after deaths,
//! beside readers and with sizes that make no sense. (I14, I18)

mod support;

use std::{thread, time::Duration};
use streamlog::{
    Durability, Error, ErrorKind, Partition, ProducerRecord, RecordData, Result, SpaceLimit, Streamlog,
    Timestamp, TopicConfig,
    admin::{RetentionRule, RetentionVerdict, StaysBecause},
    config::{Builder, CleanupPolicy, WhenFull},
    sim::{Crash, SimEnv},
};

const KIB: u64 = 1 << 10;

fn open(env: &SimEnv, budget: u64, when_full: WhenFull) -> Streamlog {
    Builder::env(env, "/log").background_thread(false).disk_budget(budget, when_full).open().unwrap()
}

fn small_segments() -> TopicConfig {
    TopicConfig::default().segment_bytes(600)
}

fn partition(log: &Streamlog, topic: &str) -> Partition {
    log.topic(topic).unwrap().partition(0).unwrap()
}

/// Appends a record of this time that fills a segment of its own.
fn fill(partition: &Partition, millis: i64) -> Result<()> {
    let record = RecordData::new(&[7; 400]).timestamp(Timestamp::from_millis(millis));
    partition.append(&[record]).map(drop)
}

fn fill_many(partition: &Partition, millis: std::ops::Range<i64>) {
    millis.for_each(|millis| fill(partition, millis).unwrap());
}

/// The first offset of these topics.
fn starts<const N: usize>(log: &Streamlog, topics: [&str; N]) -> [u64; N] {
    topics.map(|topic| partition(log, topic).log_start_offset().value())
}

fn is_of_the_budget(result: Result<()>) -> bool {
    matches!(result, Err(Error::DiskFull { limit: Some(SpaceLimit::DiskBudget { .. }), .. }))
}

/// All records that are there can be read, without a gap.
fn check_readable(partition: &Partition) {
    let (start, end) = (partition.log_start_offset(), partition.high_watermark());
    let offsets: Vec<u64> = partition.records(start).map(|record| record.unwrap().offset.value()).collect();
    assert_eq!(offsets, (start.value()..end.value()).collect::<Vec<_>>());
}

#[test]
fn what_is_counted_is_about_what_is_on_the_disk_and_the_same_after_a_close_and_after_a_death() {
    let env = SimEnv::new(1);
    let config = TopicConfig::default().segment_bytes(300 << 10).partitions(2);
    let log = open(&env, 1 << 30, WhenFull::Refuse);
    let topic = log.create_topic("t", config).unwrap();
    for i in 0..100 {
        topic.partition(i % 2).unwrap().append(&[RecordData::new(&[7; 20_000])]).unwrap();
    }
    log.maintain().unwrap();
    let check = |log: &Streamlog| {
        let (used, total) = (log.stats().disk_used, log.disk_usage().unwrap().total);
        // The manifest, marks and small files on one side, indexes at their largest on the other.
        assert!(used <= total + total / 100 && total <= used + 32 * KIB, "{used} of {total}");
        used
    };
    check(&log);
    let survived = open(&env.crash(Crash::Everything, 1), 1 << 30, WhenFull::Refuse);
    check(&survived);
    log.close().unwrap();
    let log = open(&env, 1 << 30, WhenFull::Refuse);
    let used = check(&log);
    log.topic("t").unwrap().partition(0).unwrap().append(&[RecordData::new("x")]).unwrap();
    assert!(check(&log) >= used);
    log.delete_topic("t").unwrap();
    assert_eq!(log.stats().disk_used, 0);
}

#[test]
fn a_log_with_a_budget_that_became_smaller_than_what_is_there_opens_and_refuses() {
    let env = SimEnv::new(1);
    let log = open(&env, u64::MAX, WhenFull::Refuse);
    fill_many(&log.create_topic("t", small_segments()).unwrap().partition(0).unwrap(), 0..20);
    log.close().unwrap();
    let log = open(&env, 4 * KIB, WhenFull::Refuse);
    let t = partition(&log, "t");
    check_readable(&t);
    assert!(log.health().is_good(), "nothing was refused");
    assert!(log.stats().disk_used > 4 * KIB);
    assert!(is_of_the_budget((0..3).try_for_each(|millis| fill(&t, millis))));
    log.maintain().unwrap();
    assert_eq!(t.log_start_offset(), 0);
    log.delete_records("t", 0, 18).unwrap();
    fill(&t, 30).unwrap();
    check_readable(&t);
}

#[test]
fn where_the_oldest_is_dropped_maintenance_or_the_next_append_shrinks_the_log_to_a_smaller_budget() {
    for by_append in [true, false] {
        let env = SimEnv::new(1);
        let log = open(&env, 1 << 30, WhenFull::Refuse);
        fill_many(&log.create_topic("t", small_segments()).unwrap().partition(0).unwrap(), 0..20);
        log.close().unwrap();
        let log = open(&env, 4 * KIB, WhenFull::DropOldest);
        let t = partition(&log, "t");
        let plan = log.explain_retention("t").unwrap();
        let goes = RetentionVerdict::Goes { rule: RetentionRule::DiskBudget };
        let going = plan.partitions[0].segments.iter().take_while(|segment| segment.verdict == goes).count();
        if by_append {
            fill(&t, 20).unwrap();
            assert!(t.log_start_offset() >= going as u64);
        } else {
            log.maintain().unwrap();
            assert_eq!(t.log_start_offset(), going as u64, "{plan}");
        }
        assert!(going > 5 && log.stats().disk_used <= 4 * KIB);
        check_readable(&t);
    }
}

#[test]
fn the_explanation_says_how_many_bytes_away_the_turn_of_each_segment_is() {
    let env = SimEnv::new(1);
    let log = open(&env, 16 * KIB, WhenFull::DropOldest);
    let [a, b] =
        ["a", "b"].map(|name| log.create_topic(name, small_segments()).unwrap().partition(0).unwrap());
    for millis in 0..8 {
        fill([&a, &b][millis as usize % 2], millis).unwrap();
    }
    let missing = |topic: &str| {
        let plan = log.explain_retention(topic).unwrap();
        let of = |verdict: &RetentionVerdict| match verdict {
            RetentionVerdict::Stays { why } => match why.as_slice() {
                [StaysBecause::WithinDiskBudget { missing, older }] => Some((*missing, *older)),
                _ => None,
            },
            _ => Some((0, 0)),
        };
        let verdicts = plan.partitions[0].segments.iter().map(|segment| of(&segment.verdict));
        (verdicts.collect::<Vec<_>>(), plan)
    };
    let (of_a, plan) = missing("a");
    let (of_b, of_the_other) = missing("b");
    let (used, text) = (log.stats().disk_used, plan.to_string());
    let first = 16 * KIB - used + 1;
    for line in [
        format!(
            "disk_budget: {used} of 16384 bytes are used by all topics; the oldest segment that may go is that at offset 0 \
             of a-0, and it goes once {first} more are used"
        ),
        format!("stays: within disk_budget until {first} more bytes are used, and then the next to go"),
        "more bytes are used, and 2 older segments go before it".to_string(),
    ] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert!(of_the_other.to_string().contains("more bytes are used, and one older segment goes before it"));
    let budget = plan.disk_budget.unwrap();
    assert_eq!(Some(&budget), of_the_other.disk_budget.as_ref());
    assert_eq!((budget.bytes, budget.used, budget.next.unwrap().missing), (16 * KIB, used, first));
    let turns =
        |of: &[Option<(u64, u64)>]| of.iter().map(|turn| turn.map(|(_, older)| older)).collect::<Vec<_>>();
    assert_eq!(turns(&of_a), [Some(0), Some(2), Some(4), None]);
    assert_eq!(turns(&of_b), [Some(1), Some(3), Some(5), None]);
    let [of_a, of_b] =
        [of_a, of_b].map(|of| of.iter().map(|turn| turn.map(|(missing, _)| missing)).collect::<Vec<_>>());
    assert_eq!(of_a[0], Some(first));
    // The active one is never dropped.
    assert_eq!((of_a.len(), of_a[3], of_b[3]), (4, None, None));
    let in_turn: Vec<u64> = (0..3).flat_map(|i| [of_a[i].unwrap(), of_b[i].unwrap()]).collect();
    assert!(in_turn.is_sorted() && in_turn[5] > in_turn[0] + 2000, "{in_turn:?}");
}

#[test]
fn the_explanation_says_what_a_budget_does_that_drops_nothing() {
    for (when_full, says) in [
        (WhenFull::Refuse, "an append beyond them is refused, and nothing is dropped"),
        (WhenFull::DropOldest, "nothing may be dropped, and an append beyond them is refused"),
    ] {
        let log = open(&SimEnv::new(1), 16 * KIB, when_full);
        log.create_topic("t", small_segments()).unwrap().partition(0).unwrap();
        let plan = log.explain_retention("t").unwrap();
        assert!(plan.to_string().contains(says), "{plan}");
        assert_eq!(plan.disk_budget.map(|budget| budget.next), Some(None));
    }
    let none = Builder::env(&SimEnv::new(1), "/log").background_thread(false).open().unwrap();
    none.create_topic("t", small_segments()).unwrap();
    assert_eq!(none.explain_retention("t").unwrap().disk_budget, None);
}

#[test]
fn a_budget_of_next_to_nothing_refuses_every_record_and_that_of_the_most_refuses_none() {
    for when_full in [WhenFull::Refuse, WhenFull::DropOldest] {
        let env = SimEnv::new(1);
        let log = open(&env, 1, when_full);
        let t = log.create_topic("t", small_segments()).unwrap().partition(0).unwrap();
        assert!(is_of_the_budget(fill(&t, 1)));
        assert_eq!(log.health().out_of_space.map(|error| error.kind()), Some(ErrorKind::DiskFull));
        assert_eq!((t.log_end_offset().value(), t.log_start_offset().value()), (0, 0));
        log.close().unwrap();
        let log = open(&env, u64::MAX, when_full);
        fill_many(&partition(&log, "t"), 0..10);
        assert_eq!((log.stats().disk_budget, starts(&log, ["t"])), (None, [0]));
        log.close().unwrap();
        let none = Builder::env(&env, "/log").disk_budget(0, when_full).open();
        assert!(matches!(none, Err(Error::InvalidConfig { key, .. }) if key == "disk_budget"));
    }
}

#[test]
fn what_a_policy_a_group_or_the_library_keeps_is_never_dropped() {
    let env = SimEnv::new(1);
    let log = open(&env, 100 * KIB, WhenFull::DropOldest);
    let kept = [
        ("keep", small_segments().cleanup_policy(CleanupPolicy::Keep)),
        ("held", small_segments().retention_hold_groups(["billing"])),
    ];
    for (name, config) in kept {
        fill_many(&log.create_topic(name, config).unwrap().partition(0).unwrap(), 0..5);
    }
    let mut consumer = log.consumer("billing").unwrap();
    consumer.subscribe(["keep"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    consumer.commit_sync().unwrap();
    let last = log.create_topic("z", small_segments()).unwrap().partition(0).unwrap();
    fill_many(&last, 100..400);
    assert_eq!(starts(&log, ["keep", "held"]), [0, 0]);
    assert!(last.log_start_offset() > 200 && log.stats().disk_used <= 100 * KIB);
    // Once there is nothing else, the append is refused: nothing of what is kept goes for it.
    log.alter_topic(
        "z",
        &[streamlog::config::ConfigChange::set("streamlog.retention.hold.groups", "billing")],
    )
    .unwrap();
    let before = last.log_start_offset();
    assert!(is_of_the_budget((0..99).try_for_each(|millis| fill(&last, millis))));
    assert_eq!((last.log_start_offset(), starts(&log, ["keep", "held"])), (before, [0, 0]));
    // What the group has read may go.
    consumer.subscribe(["held"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    consumer.commit_sync().unwrap();
    fill(&last, 300).unwrap();
    assert!(starts(&log, ["held"]) > [0]);
    assert_eq!(log.describe_group("billing").unwrap().committed.len(), 2);
}

#[test]
fn what_retention_removes_anyway_goes_before_anything_that_the_budget_alone_would_drop() {
    let env = SimEnv::new(1);
    env.set_wall_clock(Timestamp::from_millis(1_000_000));
    let log = open(&env, 8 * KIB, WhenFull::DropOldest);
    let short = small_segments().retention_time(Duration::from_secs(100));
    let [old, short] = [("old", small_segments()), ("short", short)]
        .map(|(name, config)| log.create_topic(name, config).unwrap().partition(0).unwrap());
    fill_many(&old, 1..5);
    fill_many(&short, 950_000..950_005);
    env.set_wall_clock(Timestamp::from_millis(1_100_000));
    for i in 0..8 {
        fill(&old, 1_100_000 + i).unwrap();
    }
    assert_eq!(starts(&log, ["old"]), [0], "they are older, and nobody said that they may go");
    assert!(starts(&log, ["short"]) > [3]);
}

#[test]
fn a_death_at_any_moment_of_a_drop_leaves_a_log_that_appends_and_drops_on() {
    for durability in [Durability::Flushed, Durability::Written] {
        let env = SimEnv::new(1);
        let log = open(&env, 6 * KIB, WhenFull::DropOldest);
        for name in ["a", "b"] {
            let config = small_segments().durability(durability);
            fill_many(&log.create_topic(name, config).unwrap().partition(0).unwrap(), 0..4);
        }
        log.maintain().unwrap();
        // So many that the next ones need a drop in each topic.
        let mut millis = 4..;
        while log.stats().disk_used + 1200 < 6 * KIB {
            fill(&partition(&log, "a"), millis.next().unwrap()).unwrap();
        }
        env.record();
        while starts(&log, ["b"]) == [0] {
            fill(&partition(&log, "a"), millis.next().unwrap()).unwrap();
        }
        let recording = env.recording();
        let mut cursor = recording.cursor();
        let mut dropped = 0;
        while cursor.advance().is_some() {
            for (seed, crash) in (0..).zip(Crash::ALL) {
                let log = open(&cursor.crash(crash, seed), 6 * KIB, WhenFull::DropOldest);
                dropped += usize::from(starts(&log, ["b"]) > [0]);
                ["a", "b"].iter().for_each(|topic| check_readable(&partition(&log, topic)));
                fill_many(&partition(&log, "b"), 10..14);
                ["a", "b"].iter().for_each(|topic| check_readable(&partition(&log, topic)));
                let (used, usage) = (log.stats().disk_used, log.disk_usage().unwrap());
                let total: u64 = usage.topics.values().map(|topic| topic.records + topic.overhead).sum();
                assert!(used <= 6 * KIB && total < used + 3 * KIB, "{used} of {total}");
            }
        }
        assert!(dropped > 10, "{dropped}");
    }
}

#[test]
fn a_handle_that_only_reads_is_bound_by_no_budget_and_follows_what_is_dropped() {
    let env = SimEnv::new(1);
    let log = open(&env, 8 * KIB, WhenFull::DropOldest);
    let t = log.create_topic("t", small_segments()).unwrap().partition(0).unwrap();
    fill_many(&t, 0..5);
    let reader = Builder::env(&env, "/log").read_only(true).background_thread(false);
    let reader = reader.disk_budget(1, WhenFull::DropOldest).open().unwrap();
    let seen = partition(&reader, "t");
    check_readable(&seen);
    let mut standing = seen.records(0);
    assert_eq!(standing.next().unwrap().unwrap().offset, 0);
    fill_many(&t, 5..40);
    assert!(t.log_start_offset() > 20);
    reader.refresh().unwrap();
    assert_eq!(seen.log_start_offset(), t.log_start_offset());
    check_readable(&seen);
    reader.maintain().unwrap_err();
    assert_eq!((reader.stats().disk_budget, starts(&log, ["t"])), (None, starts(&reader, ["t"])));
}

#[test]
fn space_that_is_preallocated_counts_and_costs_no_record() {
    let env = SimEnv::new(1);
    let budget = 1000 * KIB;
    let log = open(&env, budget, WhenFull::Refuse);
    let config = TopicConfig::default().segment_bytes(600 * KIB).preallocate(true);
    let topic = log.create_topic("t", config.partitions(2)).unwrap();
    let [first, second] = [0, 1].map(|i| topic.partition(i).unwrap());
    first.append(&[RecordData::new("x")]).unwrap();
    assert!(log.stats().disk_used >= 600 * KIB);
    // There is no room for another whole segment, and it grows by less.
    for _ in 0..6 {
        second.append(&[RecordData::new(&[7; 60_000])]).unwrap();
    }
    let used = log.stats().disk_used;
    assert!(used <= budget && used == log.stats().disk_used);
    assert!(is_of_the_budget(
        (0..9).try_for_each(|_| { second.append(&[RecordData::new(&[7; 60_000])]).map(drop) })
    ));
    // What is preallocated can be filled.
    for _ in 0..9 {
        first.append(&[RecordData::new(&[7; 60_000])]).unwrap();
    }
    log.close().unwrap();
    // A close gives back what was not.
    let log = open(&env, budget, WhenFull::Refuse);
    assert!(log.stats().disk_used < budget - 40 * KIB, "{:?}", log.stats());
}

#[test]
fn preallocation_drops_no_segment_that_the_records_do_not_need() {
    let env = SimEnv::new(1);
    let log = open(&env, 4 << 20, WhenFull::DropOldest);
    let t = log.create_topic("t", TopicConfig::default().preallocate(true)).unwrap().partition(0).unwrap();
    for _ in 0..200 {
        t.append(&[RecordData::new(&[7; 50_000])]).unwrap();
        assert!(log.stats().disk_used <= 4 << 20);
    }
    let kept = t.log_end_offset().distance_from(t.log_start_offset());
    assert!(kept * 50_000 > 3 << 20, "{kept} records are left");
}

#[test]
fn enqueued_records_wait_for_room_as_on_a_full_disk() {
    let env = SimEnv::new(1);
    let log = open(&env, 4 * KIB, WhenFull::Refuse);
    let t = log.create_topic("t", small_segments()).unwrap().partition(0).unwrap();
    assert!(is_of_the_budget((0..9).try_for_each(|millis| fill(&t, millis))));
    let end = t.log_end_offset().value();
    let producer = log.producer().unwrap();
    let delivery = producer.enqueue(ProducerRecord::new("t", &[7; 400])).unwrap();
    log.maintain().unwrap();
    assert!(!delivery.is_done() && t.log_end_offset() == end);
    log.delete_records("t", 0, end - 1).unwrap();
    producer.flush().unwrap();
    assert_eq!(delivery.wait().unwrap().offset, end);
    // What waits longer than max_block is handed back.
    let hasty = log.producer_builder().max_block(Duration::from_millis(5)).build().unwrap();
    assert!(is_of_the_budget((0..9).try_for_each(|millis| fill(&t, millis))));
    let late = hasty.enqueue(ProducerRecord::new("t", &[7; 400])).unwrap();
    assert!(hasty.flush().is_err());
    assert_eq!(late.wait().unwrap_err().kind(), ErrorKind::Undelivered);
    assert_eq!(hasty.take_undelivered().len(), 1);
}

#[test]
fn many_writers_share_a_budget_and_none_is_refused_as_long_as_something_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let budget = 4 << 20;
    let log = Streamlog::builder(dir.path()).disk_budget(budget, WhenFull::DropOldest).open().unwrap();
    let config = TopicConfig::default().durability(Durability::Written).partitions(4);
    let topic = log.create_topic("t", config).unwrap();
    thread::scope(|scope| {
        for partition in topic.partitions() {
            scope.spawn(move || {
                for _ in 0..200 {
                    partition.append(&[RecordData::new(&[7; 20_000])]).unwrap();
                }
            });
        }
    });
    assert!(log.stats().disk_used <= budget, "{:?}", log.stats());
    for partition in topic.partitions() {
        assert_eq!(partition.log_end_offset(), 200);
        check_readable(&partition);
    }
    let kept: usize = topic.partitions().iter().map(|p| p.records(p.log_start_offset()).count()).sum();
    assert!(kept * 20_000 > budget as usize / 2, "{kept} are left");
    log.close().unwrap();
}

#[test]
fn a_floor_and_a_budget_go_together() {
    let env = SimEnv::new(1);
    let builder = Builder::env(&env, "/log").background_thread(false).min_free_space(1 << 20);
    let log = builder.disk_budget(1 << 30, WhenFull::DropOldest).open().unwrap();
    let t = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    env.set_capacity(Some(3 << 20));
    let refused = (0..99).find_map(|_| t.append(&[RecordData::new(&[7; 60_000])]).err()).unwrap();
    assert!(
        matches!(refused, Error::DiskFull { limit: Some(SpaceLimit::MinFreeSpace { .. }), .. }),
        "{refused}"
    );
    // What the floor has refused is not counted.
    let (used, total) = (log.stats().disk_used, log.disk_usage().unwrap().total);
    assert!(used <= total + total / 100 && t.log_start_offset() == 0, "{used} of {total}");
}
