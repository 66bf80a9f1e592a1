//! The disk budget: what is refused, what makes room, and what it costs nobody.

use crate::{promises, world::*};
use streamlog::{
    ErrorKind, RecordData, Timestamp, TopicConfig,
    admin::Compact,
    config::{Builder, CleanupPolicy, WhenFull},
    sim::{Fault, FaultKind, Operation, SimEnv},
};

promises! {
    what_would_exceed_the_budget_is_refused: "src/streamlog/builder.rs",
        "the append fails with DiskFull, which names this setting" => [the_budget_is_overdrawn];
    the_oldest_segments_of_all_topics_make_room: "src/streamlog/builder.rs",
        "the append removes sealed segments, the oldest over all topics first, until it fits"
            => [one_topic_pays_for_all, what_was_dropped_stays_counted];
    an_append_that_never_fits_costs_nothing: "src/streamlog/builder.rs",
        "and none where that would not be enough" => [drop_for_what_never_fits];
    a_consumer_commits_beyond_the_budget: "src/streamlog/builder.rs",
        "Committed offsets are counted and never refused" => [commits_stop_at_the_budget by DiskFull];
    a_budget_smaller_than_a_segment_drops_as_well: "src/streamlog/builder.rs",
        "a segment then ends at a quarter of the budget, divided by the number of partitions"
            => [active_segments_fill_the_budget by DiskFull];
    what_compaction_writes_counts: "src/streamlog/builder.rs",
        "So is what compaction writes, which counts while it is written and frees more"
            => [what_compaction_writes_is_not_counted];
    files_of_keys_count: "src/streamlog/builder.rs",
        "the files of keys that compaction needs, once this handle has written or read them" => [files_of_keys_are_not_counted];
    a_file_that_cannot_be_removed_costs_one_segment: "src/manual/operating.rs",
        "As long as a file cannot be removed, nothing more is dropped" => [drop_what_frees_nothing];
}

const KIB: u64 = 1 << 10;

fn with_budget(bytes: u64, when_full: WhenFull) -> World {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/log").background_thread(false).disk_budget(bytes, when_full);
    World { log: log.open().unwrap(), env }
}

/// Appends a record that fills a segment of its own.
fn fill_segment(world: &World, topic: &str, millis: i64) -> streamlog::Result<()> {
    let config = TopicConfig::default().segment_bytes(600);
    let partition = world.log.topic_or_create(topic, config).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new(&[7; 400]).timestamp(Timestamp::from_millis(millis))]).map(drop)
}

fn start(world: &World, topic: &str) -> u64 {
    world.log.topic(topic).unwrap().partition(0).unwrap().log_start_offset().value()
}

fn what_would_exceed_the_budget_is_refused() {
    let budget = 1000 * KIB;
    let world = with_budget(budget, WhenFull::Refuse);
    world.log.create_topic("t", TopicConfig::default().segment_bytes(200 * KIB)).unwrap();
    let large = [7; 60_000];
    let refused = (0..100).find_map(|_| world.partition().append(&[RecordData::new(&large)]).err());
    let refused = refused.expect("the budget is not larger");
    let text = refused.to_string();
    assert!(refused.kind() == ErrorKind::DiskFull && text.contains("disk_budget allows 1024000"), "{text}");
    let stats = world.log.stats();
    assert!(stats.disk_budget == Some(budget) && stats.disk_used <= budget, "{stats:?}");
    assert!(stats.disk_used > budget - 70_000, "{stats:?}");
    // What is on the disk is what was counted, and a few small files.
    let on_disk = world.log.disk_usage().unwrap().total;
    assert!(on_disk <= budget + 20 * KIB && on_disk + 20 * KIB >= stats.disk_used, "{on_disk} {stats:?}");
    assert_eq!(world.partition().read(0).count() as u64, world.partition().log_end_offset().value());
    assert!(world.log.health().to_string().contains("disk_budget"));
    // What is deleted makes room.
    world.log.delete_records("t", 0, 8).unwrap();
    assert!(world.log.health().is_good());
    world.partition().append(&[RecordData::new(&large)]).unwrap();
}

fn the_oldest_segments_of_all_topics_make_room() {
    let world = with_budget(8 * KIB, WhenFull::DropOldest);
    // By the names of the topics the newer one comes first; by the time of their records it is this one's turn.
    for (topic, millis) in [("z", 1), ("z", 2), ("a", 3), ("z", 4), ("a", 5), ("a", 6), ("z", 7)] {
        fill_segment(&world, topic, millis).unwrap();
    }
    assert_eq!((start(&world, "a"), start(&world, "z")), (0, 0));
    let mut seen = vec![(0, 0)];
    for millis in 8..30 {
        let appended = fill_segment(&world, "a", millis);
        assert!(appended.is_ok(), "{appended:?}");
        assert!(world.log.stats().disk_used <= 8 * KIB, "{:?}", world.log.stats());
        let starts = (start(&world, "a"), start(&world, "z"));
        if *seen.last().unwrap() != starts {
            seen.push(starts);
        }
    }
    assert_eq!(seen[..6], [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]);
    // The one that takes appends stays, however old.
    assert_eq!(start(&world, "z"), 3);
    let kept = world.log.topic("a").unwrap().partition(0).unwrap();
    assert_eq!(kept.log_end_offset().value(), 25);
    let used = world.log.stats().disk_used;
    assert!(used > 7 * KIB, "no more goes than is needed: {used} are used");
}

fn an_append_that_never_fits_costs_nothing() {
    let world = with_budget(100 * KIB, WhenFull::DropOldest);
    for millis in 1..50 {
        fill_segment(&world, "t", millis).unwrap();
    }
    let huge = vec![7; 200 << 10];
    let other = world.log.create_topic("other", TopicConfig::default()).unwrap().partition(0).unwrap();
    let refused = other.append(&[RecordData::new(&huge)]).unwrap_err();
    assert!(refused.to_string().contains("disk_budget"), "{refused}");
    assert_eq!(start(&world, "t"), 0);
    fill_segment(&world, "t", 50).unwrap();
}

fn a_consumer_commits_beyond_the_budget() {
    let world = with_budget(KIB, WhenFull::Refuse);
    let refused = (0..9).find_map(|millis| fill_segment(&world, "t", millis).err()).unwrap();
    assert_eq!(refused.kind(), ErrorKind::DiskFull);
    let mut consumer = world.consumer();
    let read = consumer.poll(NOW).unwrap().len() as u64;
    consumer.commit_sync().unwrap();
    assert_eq!(world.committed(), Some(read));
    assert!(world.log.stats().disk_used > KIB);
}

fn a_budget_smaller_than_a_segment_drops_as_well() {
    let budget = 1000 * KIB;
    let world = with_budget(budget, WhenFull::DropOldest);
    let topic = world.log.create_topic("t", TopicConfig::default().partitions(4)).unwrap();
    let large = [7; 30_000];
    for i in 0..100 {
        topic.partition(i % 4).unwrap().append(&[RecordData::new(&large)]).unwrap();
    }
    assert!(world.log.stats().disk_used <= budget);
    let records: usize = topic.partitions().iter().map(|p| p.records(p.log_start_offset()).count()).sum();
    assert!(records * 30_000 > 600_000, "{records} are left");
}

fn a_file_that_cannot_be_removed_costs_one_segment() {
    let world = with_budget(8 * KIB, WhenFull::DropOldest);
    let filled = (1..100).find(|millis| {
        fill_segment(&world, "t", *millis).unwrap();
        start(&world, "t") > 0
    });
    let before = start(&world, "t");
    world.env.inject(Fault::new(FaultKind::Io).on(Operation::Remove).path(".log").forever());
    for i in 1..9 {
        // It may fit without a removal once.
        let appended = fill_segment(&world, "t", filled.unwrap() + i);
        assert!(i == 1 || appended.is_err_and(|error| error.kind() == ErrorKind::DiskFull), "{i}");
    }
    assert_eq!(start(&world, "t"), before + 1);
    world.env.clear_faults();
    fill_segment(&world, "t", 1000).unwrap();
}

fn compacted() -> TopicConfig {
    TopicConfig::default().cleanup_policy(CleanupPolicy::Compact)
}

fn what_compaction_writes_counts() {
    let world = with_budget(8 << 20, WhenFull::Refuse);
    world.log.create_topic("t", compacted().segment_bytes(4 << 20)).unwrap();
    // It is full, and half of it is dead, everywhere.
    let large = [7; 100_000];
    let put = |i: u64| world.partition().append(&[RecordData::new(&large).key((i * (i % 2)).to_string())]);
    assert!((0..200).any(|i| put(i).is_err()));
    let before = world.log.stats().disk_used;
    let mut most = 0;
    let watch = |_| {
        most = most.max(world.log.stats().disk_used);
        true
    };
    world.log.compact_now("t", Compact::new().on_progress(watch)).unwrap();
    assert!(most > before + (1 << 20), "{most} after {before}");
    let after = world.log.stats().disk_used;
    assert!(after < before - (1 << 20), "{after} after {before}");
    put(0).unwrap();
}

fn files_of_keys_count() {
    let world = with_budget(1 << 30, WhenFull::Refuse);
    world.log.create_topic("t", compacted().segment_bytes(64 << 10)).unwrap();
    for i in 0..2000u32 {
        world.partition().append(&[RecordData::new("x").key((i % 1000).to_string())]).unwrap();
    }
    let check = || {
        let usage = &world.log.disk_usage().unwrap().topics["t"];
        let (used, on_disk) = (world.log.stats().disk_used, usage.records + usage.overhead);
        // Indexes at their largest on one side, small files on the other.
        assert!(on_disk <= used + 2 * KIB && used <= on_disk + 4 * KIB, "{used} of {on_disk}");
    };
    world.log.maintain().unwrap();
    check();
    world.log.compact_now("t", Compact::new()).unwrap();
    check();
}
