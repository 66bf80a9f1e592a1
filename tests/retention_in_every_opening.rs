//! Retention is applied by whoever has the log open, whatever else it does there; and by size, a partition holds at most
//! what its topic says. (I11)

mod support;

use std::time::{Duration, Instant};
use streamlog::{
    Durability, ErrorKind, ProducerRecord, RecordData, Streamlog, Timestamp, TopicConfig,
    config::{Builder, ConfigChange},
    sim::SimEnv,
};
use support::*;

const AGE: Duration = Duration::from_millis(300);

type Act = fn(&Streamlog);

/// A log that was closed with a record that is too old by now.
fn with_an_old_record(env: &SimEnv) {
    let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
    let config = TopicConfig::default().retention_time(AGE);
    log.create_topic("t", config).unwrap().partition(0).unwrap().append(&[RecordData::new("old")]).unwrap();
    log.create_topic("other", TopicConfig::default()).unwrap();
    log.close().unwrap();
    env.advance(2 * AGE);
}

fn start(log: &Streamlog) -> u64 {
    log.topic("t").unwrap().partition(0).unwrap().log_start_offset().value()
}

#[test]
fn without_a_thread_every_call_that_works_with_records_removes_what_is_too_old() {
    let acts: [(&str, Act); 4] = [
        ("send", |log| drop(log.producer().unwrap().send(ProducerRecord::new("other", "x")).unwrap())),
        ("enqueue", |log| drop(log.producer().unwrap().enqueue(ProducerRecord::new("other", "x")).unwrap())),
        ("append", |log| {
            log.topic("other").unwrap().partition(0).unwrap().append(&[RecordData::new("x")]).unwrap();
        }),
        ("poll", |log| {
            let mut consumer = log.consumer("g").unwrap();
            consumer.subscribe(["other"]).unwrap();
            consumer.poll(Duration::ZERO).unwrap();
        }),
    ];
    for (what, act) in acts {
        let env = SimEnv::new(1);
        with_an_old_record(&env);
        let before = env.files();
        let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
        let lock = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
            files
                .iter()
                .filter(|(path, _)| !path.ends_with("LOCK"))
                .map(|(p, b)| (p.clone(), b.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(lock(&env.files()), lock(&before), "opening alone changes nothing");
        act(&log);
        assert_eq!(start(&log), 1, "{what}");
        assert!(!log.stats().background_thread, "{what}");
        // Later, too, and no sooner than after the interval.
        log.topic("t").unwrap().partition(0).unwrap().append(&[RecordData::new("more")]).unwrap();
        env.advance(2 * AGE);
        act(&log);
        assert_eq!(start(&log), 1, "{what}");
        env.advance(Duration::from_secs(300));
        act(&log);
        assert_eq!(start(&log), 2, "{what}");
    }
}

#[test]
fn an_opening_that_does_nothing_removes_what_is_too_old_and_a_reader_removes_nothing() {
    let env = SimEnv::new(1);
    with_an_old_record(&env);
    let reader = Builder::env(&env, "/data").read_only(true).open().unwrap();
    reader.close().unwrap();
    for threads in [false, true] {
        let log = Builder::env(&env, "/data").background_thread(threads).open().unwrap();
        assert_eq!(start(&log), u64::from(threads));
        log.close().unwrap();
    }
}

#[test]
fn with_a_thread_what_is_too_old_goes_soon_after_the_opening() {
    let dir = quick_dir();
    let log = Streamlog::open(dir.path().join("log")).unwrap();
    let config = TopicConfig::default().retention_time(Duration::from_secs(60));
    let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("old").timestamp(Timestamp::from_millis(1_000_000))]).unwrap();
    image(&dir.path().join("log"), &dir.path().join("killed"));
    let log = Streamlog::open(dir.path().join("killed")).unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while start(&log) == 0 {
        assert!(Instant::now() < patience);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The bytes of the partition's segments on disk.
fn on_disk(env: &SimEnv) -> u64 {
    let files = env.files().into_iter().filter(|(path, _)| path.contains("/t-0/") && path.ends_with(".log"));
    files.map(|(_, bytes)| bytes.len() as u64).sum()
}

/// The bytes of the log's records.
fn held(log: &Streamlog) -> u64 {
    log.stats().bytes
}

#[test]
fn by_size_a_partition_never_holds_more_than_its_topic_says() {
    for durability in [Durability::Flushed, Durability::Written] {
        for (most, batch) in [(1_000_000, 10_000), (400_000, 49_000), (131_072, 100), (300_000, 36_000)] {
            let env = SimEnv::new(1);
            let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
            let config = TopicConfig::default().retention_bytes(most).durability(durability);
            let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
            let value = vec![7; batch];
            let (mut appended, mut least) = (0, u64::MAX);
            while appended < 3 * most {
                partition.append(&[RecordData::new(&value)]).unwrap();
                appended += batch as u64 + 70;
                let held = held(&log);
                assert!(held <= most, "{held} of {most}, in batches of {batch}");
                assert!(on_disk(&env) <= most, "{} of {most}, in batches of {batch}", on_disk(&env));
                if appended > most {
                    least = least.min(held);
                }
            }
            assert!(least > most / 2, "{least} of {most}, in batches of {batch}");
        }
    }
}

#[test]
fn a_batch_that_is_larger_than_what_is_kept_still_fits() {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let partition =
        log.create_topic("t", TopicConfig::default().retention_bytes(100_000)).unwrap().partition(0).unwrap();
    for _ in 0..5 {
        partition.append(&[RecordData::new(&[1; 500_000])]).unwrap();
        assert_eq!(partition.log_end_offset() - partition.log_start_offset(), 1);
    }
}

#[test]
fn beside_a_segment_size_kafkas_rule_holds_at_every_moment() {
    for durability in [Durability::Flushed, Durability::Written] {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
        let config =
            TopicConfig::default().retention_bytes(50_000).segment_bytes(10_000).durability(durability);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        for i in 0..300 {
            partition.append(&[RecordData::new(&[7; 930])]).unwrap();
            let held = held(&log);
            assert!(held <= 60_000, "{held}");
            assert!(i < 60 || held >= 50_000, "{held}");
        }
    }
}

#[test]
fn a_size_that_is_changed_holds_from_then_on_and_segments_follow_it() {
    let env = SimEnv::new(1);
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    let value = vec![7; 20_000];
    (0..50).for_each(|_| assert!(partition.append(&[RecordData::new(&value)]).is_ok()));
    log.alter_topic("t", &[ConfigChange::set("retention.bytes", "400000")]).unwrap();
    (0..50).for_each(|_| assert!(partition.append(&[RecordData::new(&value)]).is_ok()));
    assert!(held(&log) <= 400_000);
    let segment_bytes = |config: &TopicConfig| config.values().segment_bytes;
    assert_eq!(segment_bytes(&TopicConfig::default().retention_bytes(80_000_000)), 10_000_000);
    assert_eq!(segment_bytes(&TopicConfig::default().retention_bytes(800)), (1 << 20) + 12);
    assert_eq!(segment_bytes(&TopicConfig::default().retention_bytes(8_000).max_message_bytes(2_000)), 2_000);
    assert_eq!(
        segment_bytes(&TopicConfig::default().retention_bytes(80_000_000).segment_bytes(7_000_000)),
        7_000_000
    );
    assert_eq!(segment_bytes(&TopicConfig::default().retention_bytes(u64::MAX)), 256 << 20);
    let shown = TopicConfig::from_kafka_properties([("retention.bytes", "80000000")]).unwrap();
    assert!(shown.entries().iter().any(|entry| entry.key == "segment.bytes" && entry.value == "10000000"));
    assert_eq!(shown.to_properties().len(), 1);
    let error = partition.append(&[RecordData::new(vec![0; 2 << 20])]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
}

#[test]
fn new_records_do_not_keep_old_ones_in_their_segment() {
    let env = SimEnv::new(1);
    with_an_old_record(&env);
    let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("new")]).unwrap();
    env.advance(2 * AGE);
    partition.append(&[RecordData::new("newer")]).unwrap();
    log.maintain().unwrap();
    assert_eq!((start(&log), partition.log_end_offset().value()), (2, 3));
}
