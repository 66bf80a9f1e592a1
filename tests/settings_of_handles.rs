//! Every setting of an opening, a producer and a consumer does something that can be seen.
//!
//! Each test shows one setting at two values: what is seen differs. The last one holds the table against the builders:
//! a setting that comes later needs a line here.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use streamlog::sim::{Crash, Fault, FaultKind, Operation, SimEnv};
use streamlog::{
    clients::{AutoOffsetReset, IsolationLevel, RoundRobin},
    config::{Builder, CleanupPolicy, Compression, ReadMode, WhenFull},
    *,
};
use support::seal_batch;

/// A setting and the test that shows what it does.
const SHOWN: &[(&str, &str, fn())] = &[
    ("Builder", "read_only", read_only_changes_nothing),
    ("Builder", "create", create_makes_the_directory),
    ("Builder", "background_thread", a_background_thread_starts_only_where_it_may),
    ("Builder", "read_mode", pread_maps_nothing),
    ("Builder", "max_open_files", max_open_files_bounds_descriptors),
    ("Builder", "min_free_space", a_floor_stays_free),
    ("Builder", "disk_budget", a_budget_is_not_exceeded),
    ("Builder", "compaction_rate", compaction_reads_no_faster_than_it_may),
    ("Builder", "retention_check_interval", retention_looks_as_often_as_it_is_told),
    ("Builder", "wait_for_lock", a_lock_is_waited_for),
    ("Builder", "on_recovery_progress", recovery_tells_its_progress),
    ("ProducerBuilder", "batch_size", batches_are_as_large_as_they_may),
    ("ProducerBuilder", "linger", a_batch_lingers),
    ("ProducerBuilder", "buffer_memory", buffer_memory_bounds_what_is_under_way),
    ("ProducerBuilder", "max_block", a_full_buffer_is_waited_for),
    ("ProducerBuilder", "compression", compression_makes_batches_smaller),
    ("ProducerBuilder", "partitioner", the_partitioner_chooses),
    ("ProducerBuilder", "named", a_name_has_one_holder),
    ("ProducerBuilder", "transaction_timeout", a_transaction_has_its_time),
    ("ProducerBuilder", "transaction_buffer", a_transaction_is_buffered),
    ("ConsumerBuilder", "auto_offset_reset", a_reset_decides_where_to_begin),
    ("ConsumerBuilder", "isolation_level", read_committed_is_asked_of_the_partition),
    ("ConsumerBuilder", "max_poll_records", a_poll_returns_at_most_so_many_records),
    ("ConsumerBuilder", "max_poll_bytes", a_poll_returns_at_most_so_many_bytes),
    ("ConsumerBuilder", "auto_commit", offsets_are_committed_by_themselves_where_asked),
];

fn log_on(env: &SimEnv) -> Streamlog {
    Builder::env(env, "/log").background_thread(false).open().unwrap()
}

/// A log with a topic "t" of `partitions`.
fn log_with(env: &SimEnv, partitions: u32) -> Streamlog {
    let log = log_on(env);
    log.create_topic("t", TopicConfig::default().partitions(partitions)).unwrap();
    log
}

/// A log in memory whose topic "t" has these values.
fn log_of(values: &[&str]) -> (Streamlog, Partition) {
    let log = Streamlog::in_memory().unwrap();
    let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    for value in values {
        partition.append(&[RecordData::new(*value)]).unwrap();
    }
    (log, partition)
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The values that the first poll of a consumer of everything returns.
fn polled(mut consumer: Consumer) -> Vec<String> {
    consumer.subscribe(["t"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap().iter().map(|record| record.value_text().into_owned()).collect()
}

#[test]
fn read_only_changes_nothing() {
    let env = SimEnv::new(1);
    log_with(&env, 1).close().unwrap();
    let open =
        |read_only| Builder::env(&env, "/log").read_only(read_only).background_thread(false).open().unwrap();
    let before = env.files();
    let reader = open(true);
    assert_eq!(kind(reader.create_topic("u", TopicConfig::default())), Some(ErrorKind::ReadOnly));
    reader.close().unwrap();
    assert_eq!(env.files(), before);
    open(false).create_topic("u", TopicConfig::default()).unwrap();
}

#[test]
fn create_makes_the_directory() {
    let env = SimEnv::new(1);
    let open = |create| Builder::env(&env, "/new").create(create).background_thread(false).open();
    assert_eq!(kind(open(false)), Some(ErrorKind::NotFound));
    open(true).unwrap().close().unwrap();
    open(false).unwrap();
}

#[test]
fn a_background_thread_starts_only_where_it_may() {
    let threads = |allowed| {
        let dir = tempfile::tempdir().unwrap();
        let log = Streamlog::builder(dir.path()).background_thread(allowed).open().unwrap();
        log.create_topic("t", TopicConfig::default()).unwrap();
        let producer = log.producer_builder().linger(Duration::from_secs(1)).build().unwrap();
        producer.enqueue(ProducerRecord::new("t", "lingers")).unwrap();
        log.stats().background_thread
    };
    assert_eq!([threads(true), threads(false)], [true, false]);
}

#[test]
fn a_budget_is_not_exceeded() {
    let outcome = |bytes, when_full| {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/log").disk_budget(bytes, when_full).background_thread(false).open();
        let partition = log.unwrap().create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        let refused = (0..40).any(|_| partition.append(&[RecordData::new(&[7; 50_000])]).is_err());
        (refused, partition.log_start_offset() > 0)
    };
    assert_eq!(outcome(1 << 20, WhenFull::Refuse), (true, false));
    assert_eq!(outcome(1 << 20, WhenFull::DropOldest), (false, true));
    assert_eq!(outcome(1 << 30, WhenFull::DropOldest), (false, false));
}

#[test]
fn a_floor_stays_free() {
    let refused = |floor| {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/log").min_free_space(floor).background_thread(false).open().unwrap();
        let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        env.set_capacity(Some(4 << 20));
        kind(partition.append(&[RecordData::new("x")]))
    };
    assert_eq!([refused(0), refused(1 << 20), refused(4 << 20)], [None, None, Some(ErrorKind::DiskFull)]);
}

#[test]
fn compaction_reads_no_faster_than_it_may() {
    // How much is left of 40 records of one key a minute after they were appended.
    let left = |rate: Option<u64>| {
        let env = SimEnv::new(1);
        let builder = Builder::env(&env, "/log");
        let log =
            rate.map_or(builder, |rate| Builder::env(&env, "/log").compaction_rate(rate)).open().unwrap();
        let config = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(1000);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        for _ in 0..40 {
            partition.append(&[RecordData::new([b'x'; 400].as_slice()).key("k")]).unwrap();
        }
        for _ in 0..60 {
            env.advance(Duration::from_secs(1));
            env.pump(1000);
        }
        partition.records(0).count()
    };
    let [freely, slowly, hardly] = [left(None), left(Some(1 << 30)), left(Some(10))];
    assert!(freely <= 3 && slowly <= 3 && hardly > 20, "{freely}, {slowly} and {hardly} are left");
}

#[test]
fn pread_maps_nothing() {
    let mapped = |mode| {
        let dir = tempfile::tempdir().unwrap();
        let log = Streamlog::builder(dir.path()).read_mode(mode).open().unwrap();
        let config = TopicConfig::default().segment_bytes(1000).durability(Durability::Written);
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        for _ in 0..10 {
            partition.append(&[RecordData::new([b'x'; 400].as_slice())]).unwrap();
        }
        assert_eq!(partition.records(0).count(), 10);
        log.stats().mapped_files
    };
    assert_eq!(mapped(ReadMode::Pread), 0);
    assert!(mapped(ReadMode::Mapped) > 0);
}

#[test]
fn max_open_files_bounds_descriptors() {
    let open_files = |most| {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/log").background_thread(false).max_open_files(most).open().unwrap();
        let topic = log.create_topic("t", TopicConfig::default().partitions(20)).unwrap();
        for partition in topic.partitions() {
            partition.append(&[RecordData::new("x")]).unwrap();
        }
        log.stats().open_files
    };
    assert!(open_files(4) <= 4);
    assert!(open_files(100) >= 20);
}

#[test]
fn retention_looks_as_often_as_it_is_told() {
    let left = |every| {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/log")
            .background_thread(false)
            .retention_check_interval(every)
            .open()
            .unwrap();
        let config = TopicConfig::default().retention_time(Duration::from_secs(60));
        let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("old")]).unwrap();
        env.advance(Duration::from_secs(120));
        partition.append(&[RecordData::new("new")]).unwrap();
        env.advance(Duration::from_secs(120));
        partition.append(&[RecordData::new("newer")]).unwrap();
        partition.log_start_offset()
    };
    assert_eq!(left(Duration::MAX), 0);
    assert!(left(Duration::from_secs(1)) > 0);
}

#[test]
fn a_lock_is_waited_for() {
    let env = SimEnv::new(1);
    let _first = log_on(&env);
    let operations = |time| {
        let before = env.operations();
        let refused = Builder::env(&env, "/log").wait_for_lock(time).background_thread(false).open();
        assert_eq!(kind(refused), Some(ErrorKind::AlreadyOpen));
        env.operations() - before
    };
    let (one_try, waiting) = (operations(Duration::ZERO), operations(Duration::from_secs(10)));
    assert!(waiting > 3 * one_try, "{waiting} operations, {one_try} for one try");
}

#[test]
fn recovery_tells_its_progress() {
    let env = SimEnv::new(1);
    let log = log_with(&env, 1);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    for _ in 0..40 {
        partition.append(&[RecordData::new([b'x'; 100_000].as_slice())]).unwrap();
    }
    let died = env.crash(Crash::Nothing, 1);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let cancelled = Builder::env(&died, "/log").background_thread(false).on_recovery_progress(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        false
    });
    assert_eq!(kind(cancelled.open()), Some(ErrorKind::Cancelled));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    log_on(&died);
}

#[test]
fn batches_are_as_large_as_they_may() {
    let batches = |size| {
        let log = log_with(&SimEnv::new(1), 1);
        let producer =
            log.producer_builder().linger(Duration::from_secs(9)).batch_size(size).build().unwrap();
        for _ in 0..20 {
            producer.enqueue(ProducerRecord::new("t", [b'x'; 100].as_slice())).unwrap();
        }
        producer.flush().unwrap();
        log.topic("t").unwrap().partition(0).unwrap().read(0).count()
    };
    assert_eq!(batches(64 << 10), 1);
    assert!(batches(512) > 4);
}

#[test]
fn a_batch_lingers() {
    let written = |linger| {
        let env = SimEnv::new(1);
        let log = log_with(&env, 1);
        let producer = log.producer_builder().linger(linger).build().unwrap();
        producer.enqueue(ProducerRecord::new("t", "x")).unwrap();
        env.advance(Duration::from_millis(100));
        log.maintain().unwrap();
        log.topic("t").unwrap().partition(0).unwrap().high_watermark()
    };
    assert_eq!(written(Duration::from_millis(50)), 1);
    // `maintain` does what is due.
    assert_eq!(written(Duration::from_secs(50)), 0);
}

#[test]
fn buffer_memory_bounds_what_is_under_way() {
    let taken = |bytes| {
        let log = log_with(&SimEnv::new(1), 1);
        let builder = log.producer_builder().linger(Duration::from_secs(9)).max_block(Duration::ZERO);
        let producer = builder.batch_size(512).buffer_memory(bytes).build().unwrap();
        kind(producer.enqueue(ProducerRecord::new("t", [b'x'; 5000].as_slice())))
    };
    assert_eq!(taken(4000), Some(ErrorKind::RecordTooLarge));
    assert_eq!(taken(8000), None);
}

#[test]
fn a_full_buffer_is_waited_for() {
    let given_up = |max_block| {
        let env = SimEnv::new(1);
        let log = log_with(&env, 1);
        env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).forever());
        let producer = log.producer_builder().linger(Duration::ZERO).max_block(max_block).build().unwrap();
        let delivery = producer.enqueue(ProducerRecord::new("t", "x"));
        // The disk has space again after a second.
        env.advance(Duration::from_secs(1));
        let _ = log.maintain();
        env.clear_faults();
        drop(delivery);
        kind(producer.flush())
    };
    assert_eq!(given_up(Duration::ZERO), Some(ErrorKind::Undelivered));
    assert_eq!(given_up(Duration::from_secs(60)), None);
}

#[test]
fn compression_makes_batches_smaller() {
    let size = |compression| {
        let log = log_with(&SimEnv::new(1), 1);
        let producer = log.producer_builder().compression(compression).build().unwrap();
        producer.send(ProducerRecord::new("t", [b'x'; 5000].as_slice())).unwrap();
        log.stats().bytes
    };
    assert!(size(Compression::Lz4) < size(Compression::None) / 2);
}

#[test]
fn the_partitioner_chooses() {
    let used = |round_robin: bool| {
        let log = log_with(&SimEnv::new(1), 4);
        let builder = log.producer_builder();
        let builder = if round_robin { builder.partitioner(RoundRobin::default()) } else { builder };
        let producer = builder.build().unwrap();
        for _ in 0..8 {
            producer.send(ProducerRecord::new("t", "x").key("the same")).unwrap();
        }
        log.topic("t").unwrap().partitions().iter().filter(|partition| partition.high_watermark() > 0).count()
    };
    assert_eq!((used(false), used(true)), (1, 4));
}

#[test]
fn a_name_has_one_holder() {
    let log = log_with(&SimEnv::new(1), 1);
    let sends = |second: &str| {
        let first = log.producer_builder().named("first").build().unwrap();
        let _second = log.producer_builder().named(second).build().unwrap();
        first.send(ProducerRecord::new("t", "x")).is_ok()
    };
    assert_eq!((sends("first"), sends("second")), (false, true));
}

#[test]
fn a_transaction_has_its_time() {
    let env = SimEnv::new(1);
    let log = log_with(&env, 1);
    let commits = |time: u64| {
        let producer = log.producer_builder().transaction_timeout(Duration::from_secs(time)).build().unwrap();
        let mut transaction = producer.begin_transaction().unwrap();
        transaction.send(ProducerRecord::new("t", "x")).unwrap();
        env.advance(Duration::from_secs(10));
        transaction.commit().is_ok()
    };
    assert_eq!((commits(9), commits(11)), (false, true));
}

#[test]
fn a_transaction_is_buffered() {
    let log = log_with(&SimEnv::new(1), 1);
    let written = |bytes: u64| {
        let producer = log.producer_builder().transaction_buffer(bytes).build().unwrap();
        let mut transaction = producer.begin_transaction().unwrap();
        let before = log.topic("t").unwrap().partition(0).unwrap().log_end_offset();
        transaction.send(ProducerRecord::new("t", "x".repeat(100))).unwrap();
        log.topic("t").unwrap().partition(0).unwrap().log_end_offset() > before
    };
    assert_eq!((written(50), written(500)), (true, false));
}

#[test]
fn a_reset_decides_where_to_begin() {
    let seen = |reset| {
        let (log, _) = log_of(&["a", "b"]);
        polled(log.consumer_builder("g").auto_offset_reset(reset).build().unwrap())
    };
    assert_eq!(seen(AutoOffsetReset::Earliest), ["a", "b"]);
    assert_eq!(seen(AutoOffsetReset::Latest), [""; 0]);
}

#[test]
fn read_committed_is_asked_of_the_partition() {
    const SEGMENT: &str = "t-0/00000000000000000000.log";
    let env = SimEnv::new(1);
    for (dir, records) in [("/log", 1), ("/other", 2)] {
        let log = Builder::env(&env, dir).background_thread(false).open().unwrap();
        let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        for _ in 0..records {
            partition.append(&[RecordData::new("x")]).unwrap();
        }
        log.close().unwrap();
    }
    // A broker appended the second batch, and its transaction is open.
    let mut bytes = env.files()[&format!("/other/{SEGMENT}")].clone();
    let second = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let batch = &mut bytes[second..];
    batch[22] |= 0x10;
    batch[43..57].fill(0);
    seal_batch(batch);
    env.overwrite(format!("/log/{SEGMENT}"), &bytes).unwrap();

    let log = log_on(&env);
    let seen =
        |level| polled(log.consumer_builder_without_group().isolation_level(level).build().unwrap()).len();
    assert_eq!(seen(IsolationLevel::ReadUncommitted), 2);
    assert_eq!(seen(IsolationLevel::ReadCommitted), 1);
}

#[test]
fn a_poll_returns_at_most_so_many_records() {
    let seen = |most| {
        let (log, _) = log_of(&["a", "b", "c"]);
        polled(log.consumer_builder("g").max_poll_records(most).build().unwrap()).len()
    };
    assert_eq!((seen(2), seen(9)), (2, 3));
}

#[test]
fn a_poll_returns_at_most_so_many_bytes() {
    let seen = |most| {
        let (log, _) = log_of(&["aaaa", "bbbb", "cccc"]);
        polled(log.consumer_builder("g").max_poll_bytes(most).build().unwrap()).len()
    };
    assert_eq!((seen(1), seen(1000)), (1, 3));
}

#[test]
fn offsets_are_committed_by_themselves_where_asked() {
    let committed = |interval: Option<Duration>| {
        let (log, _) = log_of(&["a", "b"]);
        let mut consumer = log.consumer_builder("g").auto_commit(interval).build().unwrap();
        consumer.subscribe(["t"]).unwrap();
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
        consumer.poll(Duration::ZERO).unwrap();
        polled(log.consumer("g").unwrap()).len()
    };
    assert_eq!(committed(None), 2);
    assert_eq!(committed(Some(Duration::ZERO)), 0);
}

/// The setters of a builder: its methods that take and return it.
fn setters(source: &str) -> Vec<&str> {
    let public = source.split("    pub fn ").skip(1).filter(|rest| {
        let signature = rest.split('{').next().unwrap_or_default();
        signature.contains("(mut self") || signature.contains("mut self,")
    });
    public.map(|rest| rest.split(['(', '<']).next().unwrap_or_default()).collect()
}

#[test]
fn every_setting_of_a_builder_is_shown() {
    let sources = [
        ("Builder", include_str!("../src/streamlog/builder.rs")),
        ("ProducerBuilder", include_str!("../src/producer/builder.rs")),
        ("ConsumerBuilder", include_str!("../src/consumer/builder.rs")),
    ];
    for (builder, source) in sources {
        // What ends the chain, and what is for tests of the library alone.
        let wanted: Vec<&str> = setters(source)
            .into_iter()
            .filter(|name| !["open", "build", "offsets_upkeep"].contains(name))
            .collect();
        let mut shown: Vec<&str> =
            SHOWN.iter().filter(|(of, ..)| *of == builder).map(|(_, setting, _)| *setting).collect();
        assert!(!wanted.is_empty());
        for setting in wanted {
            let at = shown.iter().position(|name| *name == setting);
            assert!(at.is_some(), "nothing shows what {builder}::{setting} does");
            shown.remove(at.unwrap_or_default());
        }
        assert!(shown.is_empty(), "{builder} has no {shown:?}");
    }
}
