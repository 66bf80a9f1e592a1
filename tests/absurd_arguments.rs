//! Nothing, next to nothing and the most there is, for every public setting and argument that is a time, a size, a count, an
//! offset or a timestamp: it works or is refused with a typed error; nothing panics, overflows or is cut in silence. (I18)

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};
use streamlog::{
    Consumer, Durability, Error, Offset, Producer, ProducerRecord, RecordData, Result, Streamlog, Timestamp,
    TopicConfig, TopicPartition,
    admin::{GroupReset, OffsetSpec, ResetTo},
    clients::{AutoOffsetReset, ConsumerBuilder, IsolationLevel, ProducerBuilder},
    config::{Builder, ConfigChange, WhenFull},
    sim::SimEnv,
};
use support::*;

const TIMES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_millis(i64::MAX as u64),
    Duration::from_millis(u64::MAX),
    Duration::MAX,
];
const SIZES: [u64; 9] =
    [0, 1, 2, 512, i32::MAX as u64, u32::MAX as u64, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX];

/// A time that is waited for with nothing to come must be short.
fn passes_soon(time: &Duration) -> bool {
    *time <= Duration::from_millis(1)
}

/// Runs one case. A refusal is right as well, when it is one of the argument.
fn case(what: &str, given: impl std::fmt::Debug, run: impl FnOnce() -> Result<()>) {
    let result = catch_unwind(AssertUnwindSafe(run));
    let fits = |error: &Error| {
        matches!(
            error,
            Error::InvalidConfig { .. }
                | Error::InvalidArgument { .. }
                | Error::InvalidTimestamp { .. }
                | Error::OffsetOutOfRange { .. }
                | Error::RecordTooLarge { .. }
                | Error::UnknownPartition { .. }
                | Error::QueueFull
                | Error::Timeout { .. }
                | Error::DiskFull { limit: Some(_), .. }
        )
    };
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => assert!(fits(&error), "{what}({given:?}): {error:?}"),
        Err(_) => panic!("{what}({given:?}) panicked"),
    }
}

fn memory() -> Streamlog {
    let log = Streamlog::in_memory().unwrap();
    log.create_topic("t", TopicConfig::default()).unwrap();
    log
}

/// All kinds of work on a topic.
fn work(log: &Streamlog, topic: &str) -> Result<()> {
    let partition = log.topic(topic)?.partition(0)?;
    let from = partition.log_end_offset();
    for i in 0..3 {
        partition.append(&[RecordData::new(&[i; 100])])?;
        log.producer()?.send(ProducerRecord::new(topic, "x").partition(0))?;
    }
    log.producer()?.enqueue(ProducerRecord::new(topic, "y").partition(0))?.wait()?;
    partition.flush()?;
    log.maintain()?;
    let start = partition.log_start_offset();
    let read: usize = partition.read(start).map(|batch| Ok(batch?.iter().count())).sum::<Result<_>>()?;
    assert_eq!(read as u64, partition.high_watermark().distance_from(start));
    assert_eq!(partition.log_end_offset().distance_from(from), 7);
    Ok(())
}

#[test]
fn settings_of_an_opening() {
    type Set = fn(Builder, u64, Duration) -> Builder;
    let settings: [(&str, Set); 7] = [
        ("compaction_rate", |builder, size, _| builder.compaction_rate(size)),
        ("wait_for_lock", |builder, _, time| builder.wait_for_lock(time)),
        ("min_free_space", |builder, size, _| builder.min_free_space(size)),
        ("disk_budget that refuses", |builder, size, _| builder.disk_budget(size, WhenFull::Refuse)),
        ("disk_budget that drops", |builder, size, _| builder.disk_budget(size, WhenFull::DropOldest)),
        ("max_open_files", |builder, size, _| builder.max_open_files(size as usize)),
        ("retention_check_interval", |builder, _, time| builder.retention_check_interval(time)),
    ];
    for (name, set) in settings {
        for (size, time) in SIZES.iter().zip(TIMES.iter().cycle()) {
            case(name, (size, time), || {
                let dir = quick_dir();
                let log = set(Streamlog::builder(dir.path()), *size, *time).open()?;
                let config = TopicConfig::default().retention_time(Duration::from_secs(1));
                log.create_topic("t", config)?;
                log.create_topic("written", TopicConfig::default().durability(Durability::Written))?;
                work(&log, "t")?;
                work(&log, "written")?;
                log.close()
            });
        }
    }
    assert!(matches!(
        Streamlog::builder("x").disk_budget(0, WhenFull::Refuse).open(),
        Err(Error::InvalidConfig { key, .. }) if key == "disk_budget"
    ));
    assert!(matches!(
        Streamlog::builder("x").max_open_files(0).open(),
        Err(Error::InvalidConfig { key, .. }) if key == "max_open_files"
    ));
}

#[test]
fn settings_of_a_topic() {
    type Set = fn(TopicConfig, u64, Duration) -> TopicConfig;
    let settings: [(&str, Set); 21] = [
        ("partitions", |c, n, _| c.partitions(u32::try_from(n).unwrap_or(u32::MAX))),
        ("durability", |c, _, t| c.durability(Durability::Interval(t))),
        ("segment_bytes", |c, n, _| c.segment_bytes(n)),
        ("segment_time", |c, _, t| c.segment_time(t)),
        ("segment_jitter", |c, _, t| c.segment_jitter(t)),
        ("segment_time and jitter", |c, _, t| c.segment_time(t).segment_jitter(t)),
        ("segment_index_bytes", |c, n, _| c.segment_index_bytes(n)),
        ("index_interval_bytes", |c, n, _| c.index_interval_bytes(n)),
        ("max_message_bytes", |c, n, _| c.max_message_bytes(n)),
        ("retention_time", |c, _, t| c.retention_time(t)),
        ("retention_bytes", |c, n, _| c.retention_bytes(n)),
        ("both retentions", |c, n, t| c.retention_bytes(n).retention_time(t).segment_bytes(512)),
        ("message_timestamp_before_max", |c, _, t| c.message_timestamp_before_max(t)),
        ("message_timestamp_after_max", |c, _, t| c.message_timestamp_after_max(t)),
        ("flush_messages", |c, n, _| c.durability(Durability::Written).flush_messages(n)),
        ("flush_time", |c, _, t| c.durability(Durability::Written).flush_time(t)),
        ("interval and flush_time", |c, _, t| c.durability(Durability::Interval(t)).flush_time(t)),
        ("min_compaction_lag", |c, _, t| c.min_compaction_lag(t)),
        ("max_compaction_lag", |c, _, t| c.max_compaction_lag(t)),
        ("delete_retention", |c, _, t| c.delete_retention(t)),
        ("compaction_versions", |c, n, _| c.compaction_versions(u32::try_from(n).unwrap_or(u32::MAX))),
    ];
    for (name, set) in settings {
        for (size, time) in SIZES.iter().zip(TIMES.iter().cycle()) {
            // A hundred thousand partitions are many, not absurd.
            if name == "partitions" && (1000..=100_000).contains(size) {
                continue;
            }
            case(name, (size, time), || {
                let log = Streamlog::in_memory()?;
                let config = set(TopicConfig::default(), *size, *time);
                let topic = log.create_topic("t", config.clone())?;
                // What was taken is what was asked for, or says no to nothing that can be said in Kafka's words.
                assert_eq!(topic.config().to_properties(), config.to_properties(), "{name}");
                work(&log, "t")?;
                log.close()
            });
        }
    }
}

#[test]
fn kafkas_keys() {
    let numbers =
        ["-9223372036854775809", "-9223372036854775808", "-1", "0", "1", "2147483647", "4294967296"];
    let numbers = numbers.iter().chain(&["9223372036854775807", "18446744073709551615", "1e400", "NaN", ""]);
    for entry in TopicConfig::default().entries() {
        for value in numbers.clone().chain(&["interval:0", "interval:18446744073709551615"]) {
            case(entry.key, value, || {
                let config = TopicConfig::from_kafka_properties([(entry.key, value)])?;
                let log = Streamlog::in_memory()?;
                log.create_topic("t", config)?;
                work(&log, "t")?;
                log.alter_topic("t", &[ConfigChange::unset(entry.key)])?;
                log.alter_topic("t", &[ConfigChange::set(entry.key, *value)])?;
                work(&log, "t")
            });
        }
    }
}

#[test]
fn settings_of_a_producer() {
    type Set = fn(ProducerBuilder, u64, Duration) -> ProducerBuilder;
    let settings: [(&str, Set); 5] = [
        ("batch_size", |b, n, _| b.batch_size(n as usize).buffer_memory(usize::MAX)),
        ("buffer_memory", |b, n, _| b.batch_size(512).buffer_memory(n as usize)),
        ("linger", |b, _, t| b.linger(t)),
        ("max_block", |b, _, t| b.max_block(t)),
        ("linger and max_block", |b, n, t| b.linger(t).max_block(t).buffer_memory(n as usize)),
    ];
    for (name, set) in settings {
        for (size, time) in SIZES.iter().zip(TIMES.iter().cycle()) {
            case(name, (size, time), || {
                let log = memory();
                let producer: Producer = set(log.producer_builder(), *size, *time).build()?;
                let value = [7; 300];
                let record = || ProducerRecord::new("t", &value);
                let deliveries = (0..10).map(|_| producer.enqueue(record())).collect::<Result<Vec<_>>>()?;
                producer.send(record())?;
                producer.flush()?;
                assert!(deliveries.iter().all(|d| d.try_result().is_some_and(|r| r.is_ok())), "{name}");
                assert_eq!(log.topic("t")?.partition(0)?.high_watermark(), 11);
                producer.close()
            });
        }
    }
}

#[test]
fn settings_of_a_consumer() {
    type Set = fn(ConsumerBuilder, u64, Duration) -> ConsumerBuilder;
    let settings: [(&str, Set); 4] = [
        ("max_poll_records", |b, n, _| b.max_poll_records(n as usize)),
        ("max_poll_bytes", |b, n, _| b.max_poll_bytes(n as usize)),
        ("auto_commit", |b, _, t| b.auto_commit(t)),
        ("ByDuration", |b, _, t| b.auto_offset_reset(AutoOffsetReset::ByDuration(t))),
    ];
    for (name, set) in settings {
        for (size, time) in SIZES.iter().zip(TIMES.iter().cycle()) {
            case(name, (size, time), || {
                let log = memory();
                let mut consumer = set(log.consumer_builder("g"), *size, *time).build()?;
                consumer.subscribe(["t"])?;
                consumer.poll(Duration::from_millis(2))?;
                (0..3).try_for_each(|_| log.producer()?.send(ProducerRecord::new("t", "x")).map(drop))?;
                let mut read = 0;
                while read < 3 {
                    let records = consumer.poll(Duration::from_secs(60))?;
                    assert!(!records.is_empty(), "{name}");
                    read += records.len();
                }
                consumer.poll(Duration::from_millis(2))?;
                consumer.close()
            });
        }
    }
}

#[test]
fn times_to_wait() {
    for time in TIMES {
        let log = memory();
        let producer = log.producer_builder().linger(Duration::from_millis(5)).build().unwrap();
        let mut consumer: Consumer = log.consumer("g").unwrap();
        consumer.subscribe(["t"]).unwrap();
        if passes_soon(&time) {
            case("poll", time, || consumer.poll(time).map(|records| assert!(records.is_empty())));
        }
        case("wait_timeout", time, || {
            producer.enqueue(ProducerRecord::new("t", "x"))?.wait_timeout(time).map(drop)
        });
        producer.flush().unwrap();
        case("poll", time, || consumer.poll(time).map(|records| assert_eq!(records.len(), 1)));
        if !passes_soon(&time) {
            // It sleeps until there is something.
            thread::scope(|scope| {
                scope.spawn(|| producer.send(ProducerRecord::new("t", "y")).unwrap());
                case("poll", time, || consumer.poll(time).map(|records| assert_eq!(records.len(), 1)));
            });
        }
    }
}

#[test]
fn offsets_counts_and_timestamps() {
    let log = memory();
    log.producer().unwrap().send(ProducerRecord::new("t", "x")).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let place = TopicPartition::new("t", 0);
    let all = [place.clone()];
    let committed = |log: &Streamlog| {
        let found = log.consumer("g")?.committed(&all)?;
        Ok::<_, Error>(found.values().flatten().map(|c| c.offset).next())
    };
    for size in SIZES {
        let offset = Offset::new(size);
        let small = u32::try_from(size).unwrap_or(u32::MAX);
        let mut consumer = log.consumer("g").unwrap();
        consumer.subscribe(["t"]).unwrap();
        case("read", size, || {
            for isolation in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
                partition.read_with(offset, isolation).try_for_each(|batch| batch.map(drop))?;
            }
            Ok(())
        });
        case("read_backwards", size, || {
            for isolation in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
                partition.read_backwards_with(offset, isolation).try_for_each(|batch| batch.map(drop))?;
            }
            partition.read_backwards(offset).try_for_each(|batch| batch.map(drop))
        });
        case("last", size, || partition.last(size as usize).map(|r| assert_eq!(r.len() as u64, size.min(1))));
        case("incarnation_of", size, || {
            assert_eq!(partition.incarnation_of(offset), 0);
            Ok(())
        });
        case("seek", size, || {
            consumer.seek(&place, offset)?;
            consumer.current_lag(&place)?;
            consumer.current_lag_time(&place)?;
            consumer.commit_sync().ok();
            consumer.poll(Duration::ZERO).map(drop)
        });
        case("commit_offsets", size, || {
            let before = committed(&log)?;
            let result = consumer.commit_offsets([(place.clone(), offset)]);
            assert_eq!(committed(&log)?, if result.is_ok() { Some(offset) } else { before });
            result
        });
        case("reset_group_offsets", size, || {
            log.reset_group_offsets("g", &GroupReset::to(ResetTo::Offset(offset)).topic("t")).map(drop)
        });
        case("add_partitions", size, || match small {
            1000..=100_000 => Ok(()),
            count => log.add_partitions("t", count).map(|_| ()),
        });
        case("partition", size, || log.topic("t")?.partition(small).map(drop));
        case("a record's partition", size, || {
            log.producer()?.send(ProducerRecord::new("t", "x").partition(small.max(600))).map(drop)
        });
    }
    for millis in [i64::MIN, i64::MIN + 1, -2, -1, 0, 1, i64::MAX - 1, i64::MAX] {
        let time = Timestamp::from_millis(millis);
        let mut consumer = log.consumer("g").unwrap();
        consumer.subscribe(["t"]).unwrap();
        case("offset_for_timestamp", millis, || partition.offset_for_timestamp(time).map(drop));
        case("list_offsets", millis, || log.list_offsets("t", 0, OffsetSpec::ForTimestamp(time)).map(drop));
        case("seek_to_timestamp", millis, || {
            consumer.seek_to_timestamp(&all, time)?;
            consumer.current_lag_time(&place).map(drop)
        });
        case("offsets_for_times", millis, || consumer.offsets_for_times([(place.clone(), time)]).map(drop));
        case("reset to a time", millis, || {
            log.reset_group_offsets("g", &GroupReset::to(ResetTo::Timestamp(time)).topic("t")).map(drop)
        });
        // Both with a limit on how far they may lie from the clock, and with a segment's and a retention's age.
        let config = TopicConfig::default()
            .message_timestamp_before_max(Duration::MAX)
            .segment_bytes(512)
            .segment_time(Duration::from_secs(1))
            .retention_time(Duration::from_secs(1));
        let name = format!("t{}", millis.unsigned_abs() % 1000);
        log.topic_or_create(&name, config).unwrap();
        case("a record's timestamp", millis, || {
            for _ in 0..5 {
                log.producer()?.send(ProducerRecord::new(name.as_str(), &[7; 200]).timestamp(time))?;
            }
            log.maintain()?;
            let mut consumer = log.consumer("h")?;
            consumer.subscribe([&name])?;
            consumer.poll(Duration::ZERO)?;
            consumer.current_lag_time(&TopicPartition::new(name.as_str(), 0)).map(drop)
        });
    }
    for size in SIZES.into_iter().rev() {
        case("delete_records", size, || log.delete_records("t", 0, Offset::new(size)).map(drop));
    }
}

#[test]
fn a_simulated_machine_of_any_age_and_size() {
    for time in TIMES {
        for capacity in SIZES {
            let env = SimEnv::new(1);
            let log = Builder::env(&env, "/log").open().unwrap();
            let config = TopicConfig::default()
                .durability(Durability::Interval(time.max(Duration::from_millis(1))))
                .retention_time(time);
            log.create_topic("t", config).unwrap();
            env.advance(time);
            env.set_wall_clock(Timestamp::from_millis(time.as_millis().try_into().unwrap_or(i64::MAX)));
            work(&log, "t").unwrap();
            env.set_capacity(Some(capacity));
            case("sim", (time, capacity), || match work(&log, "t") {
                Err(Error::DiskFull { .. }) => Ok(()),
                other => other,
            });
        }
    }
}

#[test]
fn an_idle_log_does_not_look_at_its_retention_all_the_time() {
    for time in TIMES {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/log").retention_check_interval(time).open().unwrap();
        log.create_topic("t", TopicConfig::default().retention_time(Duration::from_secs(1))).unwrap();
        let steps = env.pump(1000);
        assert!((1..10).contains(&steps), "{time:?}: {steps} steps although no time passes");
    }
}
