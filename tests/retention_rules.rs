//! Kafka's rules of retention, one by one: what the plan says goes, goes, and what it says stays, stays for that reason. (I11)

mod support;

use std::time::Duration;
use streamlog::{
    Durability, Offset, Partition, RecordData, Streamlog, Timestamp, TopicConfig, TopicPartition,
    admin::{RetentionRule, RetentionVerdict, StaysBecause},
    config::{Builder, CleanupPolicy},
    sim::{Fault, FaultKind, Operation, SimEnv},
};
use support::*;

const DAY: Duration = Duration::from_secs(86_400);
const NOW: Timestamp = Timestamp::from_millis(2_000_000_000_000);
/// The bytes of a batch of one of these records.
const BATCH: u64 = 470;

/// A log with topic `t` of segments with one record each, the last of them in the active one, so many days old.
fn with_ages(config: TopicConfig, days: &[u64]) -> (SimEnv, Streamlog, Partition) {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let partition = log.create_topic("t", config.segment_bytes(600)).unwrap().partition(0).unwrap();
    let mut youngest = u64::MAX;
    for days in days {
        // The clock goes forwards: a record that is older than the one before comes late.
        youngest = youngest.min(*days);
        env.set_wall_clock(NOW.minus(DAY * youngest as u32));
        let record = RecordData::new(&[7; 400]).timestamp(NOW.minus(DAY * *days as u32));
        partition.append(&[record]).unwrap();
    }
    env.set_wall_clock(NOW);
    (env, log, partition)
}

fn explained(log: &Streamlog) -> Vec<RetentionVerdict> {
    let retention = log.explain_retention("t").unwrap();
    retention.partitions[0].segments.iter().map(|segment| segment.verdict.clone()).collect()
}

fn goes(rule: RetentionRule) -> RetentionVerdict {
    RetentionVerdict::Goes { rule }
}

fn stays(why: StaysBecause) -> RetentionVerdict {
    RetentionVerdict::Stays { why: vec![why] }
}

/// What is explained, and the first offset that is left.
fn explained_and_left(log: &Streamlog, partition: &Partition) -> (Vec<RetentionVerdict>, u64) {
    let explained = explained(log);
    log.maintain().unwrap();
    (explained, partition.log_start_offset().value())
}

fn explained_of(config: TopicConfig, days: &[u64]) -> (Vec<RetentionVerdict>, u64) {
    let (_env, log, partition) = with_ages(config, days);
    explained_and_left(&log, &partition)
}

fn keep_days(days: u32) -> TopicConfig {
    TopicConfig::default().retention_time(DAY * days)
}

#[test]
fn without_a_limit_everything_stays() {
    assert_eq!(explained_of(TopicConfig::default(), &[900, 1]), (vec![stays(StaysBecause::NoLimit); 2], 0));
}

#[test]
fn only_a_prefix_goes_and_what_follows_one_that_stays_is_named() {
    let young = |days| stays(StaysBecause::Young { until: NOW.plus(DAY * days) });
    let follows = stays(StaysBecause::Follows { kept: 1.into() });
    let expected = vec![goes(RetentionRule::Age), young(5), follows, young(6)];
    assert_eq!(explained_of(keep_days(7), &[9, 2, 8, 1]), (expected, 1));
}

#[test]
fn a_record_that_is_exactly_as_old_as_the_limit_stays() {
    assert_eq!(explained_of(keep_days(7), &[7]), (vec![stays(StaysBecause::Young { until: NOW })], 0));
}

#[test]
fn where_all_are_too_old_the_active_one_goes_too_and_an_empty_one_never() {
    let (_env, log, partition) = with_ages(keep_days(7), &[9, 8]);
    assert_eq!(explained_and_left(&log, &partition), (vec![goes(RetentionRule::Age); 2], 2));
    assert_eq!(explained_and_left(&log, &partition), (vec![stays(StaysBecause::Active)], 2));
    assert_eq!((partition.segment_count(), partition.log_end_offset().value()), (1, 2));
}

#[test]
fn a_record_from_1970_expires_immediately() {
    let (_env, log, partition) = with_ages(keep_days(7), &[]);
    partition.append(&[RecordData::new("x").timestamp(Timestamp::from_millis(0))]).unwrap();
    assert_eq!(explained_and_left(&log, &partition), (vec![goes(RetentionRule::Age)], 1));
}

#[test]
fn without_timestamps_a_segment_is_as_old_as_its_sealing_and_the_active_one_as_its_file() {
    let env = SimEnv::new(1);
    env.set_wall_clock(NOW);
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let config = keep_days(7).segment_bytes(600);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for _ in 0..2 {
        partition.append(&[RecordData::new(&[7; 400]).timestamp(Timestamp::NONE)]).unwrap();
        env.set_wall_clock(NOW.plus(DAY));
    }
    // The first was sealed when the second came, a day later.
    let [first, second] = &explained(&log)[..] else { panic!("two segments") };
    assert_eq!(*first, stays(StaysBecause::Young { until: NOW.plus(DAY * 8) }));
    assert!(matches!(second, RetentionVerdict::Stays { .. }), "{second:?}");
    env.set_wall_clock(NOW.plus(DAY * 9));
    assert_eq!(explained(&log)[0], goes(RetentionRule::Age));
}

#[test]
fn the_size_never_falls_below_the_limit_and_what_is_missing_is_exact() {
    for limit in [1, BATCH, BATCH + 1, 3 * BATCH - 1, 3 * BATCH, 100 * BATCH] {
        // By appends it is removed at the moment that it becomes too much, so the limit comes later.
        let (_env, log, partition) = with_ages(TopicConfig::default(), &[0; 5]);
        assert_eq!(partition.size(), 5 * BATCH);
        let limited = streamlog::config::ConfigChange::set("retention.bytes", limit.to_string());
        log.alter_topic("t", &[limited]).unwrap();
        let (explained, left) = explained_and_left(&log, &partition);
        for (i, verdict) in (1..).zip(explained) {
            let without = 5 * BATCH - i * BATCH;
            let expected = match limit.checked_sub(without).filter(|missing| *missing > 0) {
                None => goes(RetentionRule::Size),
                Some(missing) => stays(StaysBecause::WithinSize { missing }),
            };
            assert_eq!(verdict, expected, "limit {limit}, segment {i}");
        }
        assert!(partition.size() >= limit.min(5 * BATCH) && partition.size() < limit + BATCH, "{limit}");
        assert_eq!(partition.size(), (5 - left) * BATCH);
    }
}

#[test]
fn with_two_limits_both_are_named_and_the_first_that_removes_decides() {
    let (_env, log, partition) = with_ages(keep_days(7), &[1, 1]);
    log.alter_topic("t", &[streamlog::config::ConfigChange::set("retention.bytes", "10000")]).unwrap();
    let young = StaysBecause::Young { until: NOW.plus(DAY * 6) };
    let within = StaysBecause::WithinSize { missing: 10_000 - BATCH };
    assert_eq!(explained(&log)[0], RetentionVerdict::Stays { why: vec![within, young] });
    log.alter_topic("t", &[streamlog::config::ConfigChange::set("retention.bytes", "1")]).unwrap();
    assert_eq!(explained(&log)[0], goes(RetentionRule::Size));
    log.delete_records("t", 0, 1).unwrap();
    assert_eq!(partition.log_start_offset(), 1);
}

#[test]
fn a_policy_that_keeps_everything_keeps_it() {
    let config = keep_days(7).retention_bytes(1).cleanup_policy(CleanupPolicy::Keep);
    let (_env, log, partition) = with_ages(config, &[9, 8]);
    assert_eq!(explained_and_left(&log, &partition), (vec![stays(StaysBecause::Policy); 2], 0));
    assert_eq!(log.delete_records("t", 0, 1).unwrap(), 1);
    assert_eq!(partition.segment_count(), 1);
}

#[test]
fn what_is_not_durable_stays_until_it_is() {
    let config = keep_days(7).durability(Durability::Written);
    let (_env, log, partition) = with_ages(config, &[9, 8]);
    assert_eq!(explained(&log), vec![stays(StaysBecause::NotDurable); 2]);
    partition.flush().unwrap();
    assert_eq!(explained_and_left(&log, &partition), (vec![goes(RetentionRule::Age); 2], 2));
}

#[test]
fn a_reader_beside_the_writer_is_told_the_same() {
    let (env, log, _partition) = with_ages(keep_days(7), &[9, 2, 8, 1]);
    let reader = Builder::env(&env, "/data").read_only(true).open().unwrap();
    assert_eq!(explained(&reader), explained(&log));
}

#[test]
fn a_partition_that_is_not_written_to_any_more_says_why_nothing_goes() {
    let (env, log, partition) = with_ages(keep_days(7), &[9, 8]);
    env.inject(Fault::new(FaultKind::Io).on(Operation::Sync));
    partition.append(&[RecordData::new("x")]).unwrap_err();
    for verdict in explained(&log) {
        let RetentionVerdict::Stays { why } = &verdict else { panic!("{verdict}") };
        assert!(matches!(&why[..], [StaysBecause::Unknown { .. }]), "{verdict}");
    }
}

/// Ages, sizes, limits, policies and starts in any combination: a pass removes what was explained, and nothing else.
#[test]
fn what_is_explained_is_what_is_removed() {
    let mut random = Random(7);
    for round in 0..300 {
        let mut config = TopicConfig::default();
        if random.below(3) > 0 {
            config = config.retention_time(DAY * random.below(8) as u32);
        }
        if random.below(8) == 0 {
            config = config.cleanup_policy(CleanupPolicy::Keep);
        }
        let days: Vec<u64> = (0..1 + random.below(7)).map(|_| random.below(9)).collect();
        let (_env, log, partition) = with_ages(config, &days);
        if random.below(2) == 0 {
            let bytes = random.below(8 * BATCH).to_string();
            log.alter_topic("t", &[streamlog::config::ConfigChange::set("retention.bytes", bytes)]).unwrap();
        }
        let segments = log.explain_retention("t").unwrap().partitions.swap_remove(0).segments;
        let going = segments.iter().take_while(|segment| segment.verdict.goes()).count();
        assert!(segments[going..].iter().all(|segment| !segment.verdict.goes()), "round {round}");
        log.maintain().unwrap();
        let left = segments.get(going).map_or(partition.log_end_offset(), |segment| segment.base_offset);
        assert_eq!(partition.log_start_offset(), left, "round {round}: {segments:?}");
    }
}

#[test]
fn the_explanation_is_a_text_for_people() {
    let (_env, log, _partition) = with_ages(keep_days(7), &[9, 2, 8, 1]);
    let expected = "\
t at 2033-05-18T03:33:20.000Z: cleanup.policy=delete, retention.ms=604800000
t-0: offsets 0..4, 1880 bytes
  0..1, 470 bytes, goes: it is older than retention.ms
  1..2, 470 bytes, stays: younger than retention.ms until 2033-05-23T03:33:20.000Z
  2..3, 470 bytes, stays: the segment at offset 1 stays before it
  3..4, 470 bytes, stays: younger than retention.ms until 2033-05-24T03:33:20.000Z";
    assert_eq!(log.explain_retention("t").unwrap().to_string(), expected);
}

/// Has a group commit this offset of the partition.
fn commit(log: &Streamlog, group: &str, offset: u64) {
    let place = TopicPartition::new("t", 0);
    log.consumer(group).unwrap().commit_offsets([(place, Offset::new(offset))]).unwrap();
}

fn held(group: &str, committed: Option<u64>) -> RetentionVerdict {
    stays(StaysBecause::Held { group: group.to_string(), committed: committed.map(Offset::new) })
}

#[test]
fn what_a_named_group_has_not_read_stays_and_the_group_is_named() {
    let config = keep_days(7).retention_hold_groups(["billing", "search"]);
    let (env, log, partition) = with_ages(config, &[9, 9, 8, 1]);
    commit(&log, "billing", 4);
    commit(&log, "other", 0);
    assert_eq!(explained_and_left(&log, &partition), {
        let never = held("search", None);
        (
            vec![
                never.clone(),
                never.clone(),
                never,
                stays(StaysBecause::Young { until: NOW.plus(DAY * 6) }),
            ],
            0,
        )
    });
    assert!(log.explain_retention("t").unwrap().to_string().contains("held by group search"));
    commit(&log, "search", 1);
    let (found, left) = explained_and_left(&log, &partition);
    assert_eq!((&found[..2], left), (&[goes(RetentionRule::Age), held("search", Some(1))][..], 1));
    // Committed offsets outlive the handle, and so does what they hold.
    log.close().unwrap();
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let reader = Builder::env(&env, "/data").read_only(true).open().unwrap();
    for log in [&log, &reader] {
        assert_eq!(explained(log)[0], held("search", Some(1)));
    }
    commit(&log, "search", 3);
    log.maintain().unwrap();
    assert_eq!(log.topic("t").unwrap().partition(0).unwrap().log_start_offset(), 3);
}

#[test]
fn a_group_in_the_middle_of_a_segment_holds_it() {
    let config = keep_days(7).segment_bytes(1100).retention_hold_groups(["g"]);
    let env = SimEnv::new(1);
    env.set_wall_clock(NOW);
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    for _ in 0..5 {
        partition.append(&[RecordData::new(&[7; 400]).timestamp(NOW.minus(DAY * 9))]).unwrap();
    }
    for (committed, left) in [(1, 0), (2, 2), (3, 2), (4, 4), (5, 5)] {
        commit(&log, "g", committed);
        log.maintain().unwrap();
        assert_eq!(partition.log_start_offset(), left, "committed {committed}");
    }
}

#[test]
fn a_group_holds_against_the_size_too_and_appends_go_on() {
    for segments in [true, false] {
        let config = TopicConfig::default().retention_bytes(64 << 10).retention_hold_groups(["g"]);
        let config = if segments { config.segment_bytes(20_000) } else { config };
        let log = Streamlog::in_memory().unwrap();
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        for _ in 0..600 {
            partition.append(&[RecordData::new(&[7; 400])]).unwrap();
        }
        assert_eq!((partition.log_start_offset(), partition.size()), (Offset::ZERO, 600 * BATCH));
        commit(&log, "g", 600);
        for _ in 0..50 {
            partition.append(&[RecordData::new(&[7; 400])]).unwrap();
        }
        assert!(partition.size() <= (64 << 10) + 20_000 * 2 * u64::from(segments), "{}", partition.size());
    }
}

#[test]
fn deleting_records_asks_no_group() {
    let (_env, log, partition) = with_ages(keep_days(7).retention_hold_groups(["g"]), &[1, 1, 1]);
    assert_eq!(log.delete_records("t", 0, 2).unwrap(), 2);
    assert_eq!(partition.segment_count(), 1);
}

#[test]
fn a_commit_of_a_topic_that_was_deleted_holds_nothing_of_its_successor() {
    let (_env, log, _partition) = with_ages(keep_days(7).retention_hold_groups(["g"]), &[9, 9]);
    commit(&log, "g", 2);
    log.delete_topic("t").unwrap();
    let config = keep_days(7).retention_hold_groups(["g"]);
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("x").timestamp(NOW.minus(DAY * 9))]).unwrap();
    assert_eq!(explained_and_left(&log, &partition), (vec![held("g", None)], 0));
}

#[test]
fn groups_that_no_list_can_hold_are_refused() {
    for names in [&["a,b"][..], &[""], &[" a"], &["a", "a"]] {
        let error =
            TopicConfig::default().retention_hold_groups(names.iter().copied()).validate().unwrap_err();
        assert!(error.to_string().contains("streamlog.retention.hold.groups"), "{error}");
    }
    let config = TopicConfig::default().retention_hold_groups(["billing", "search"]);
    assert_eq!(
        config.to_properties(),
        [("streamlog.retention.hold.groups".to_string(), "billing,search".to_string())]
    );
}
