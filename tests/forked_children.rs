//! A child that was forked from a program with an open log: every call of what it inherited says so, ending a handle there
//! touches nothing, and the log can be opened anew. (I1, I15, I16, I18)
#![cfg(unix)]
#![allow(unsafe_code, reason = "a fork is")]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use streamlog::{
    Consumer, Delivery, Durability, Error, ErrorKind, Producer, ProducerRecord, RecordData, Result,
    Streamlog, Timestamp, Topic, TopicConfig, TopicPartition,
    admin::{Compact, GroupReset, OffsetSpec, ResetTo},
    clients::IsolationLevel,
    config::ConfigChange,
};
use support::*;

/// How long a child may take, in seconds: one that waits for something that never comes is ended then.
const PATIENCE: u32 = 600;

/// Runs `work` in a forked child and says what it returned; `None` for a panic, or when it had to be ended.
fn in_child(work: impl FnOnce() -> i32) -> Option<i32> {
    // SAFETY: the child runs `work` and ends, whatever comes of it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: these calls take numbers and touch no memory.
        unsafe { libc::alarm(PATIENCE) };
        let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(101);
        // SAFETY: it ends this process and touches no memory of it.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` is there for as long as the call.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
    let ended = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    ended.filter(|code| *code != 101)
}

fn is_forked<T>(result: Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::Forked && !error.is_retriable())
}

/// Everything that a program can hold of a log.
struct Handles {
    log: Streamlog,
    topic: Topic,
    producer: Producer,
    delivery: Delivery,
    consumer: Consumer,
}

fn record(value: &str) -> ProducerRecord<'_> {
    ProducerRecord::new("t", value)
}

fn handles(log: Streamlog) -> Handles {
    let topic = log.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
    let producer = log.producer_builder().linger(Duration::from_secs(3600)).build().unwrap();
    for i in 0..20 {
        producer.send(record(&format!("acknowledged {i}")).partition(0)).unwrap();
    }
    let mut consumer = log.consumer("g").unwrap();
    consumer.subscribe(["t"]).unwrap();
    assert_eq!(consumer.poll(Duration::from_secs(60)).unwrap().len(), 20);
    consumer.commit_sync().unwrap();
    let delivery = producer.enqueue(record("waits").partition(1)).unwrap();
    Handles { log, topic, producer, delivery, consumer }
}

/// The calls of the child that did not say `Forked`.
fn calls_that_answer(handles: &mut Handles) -> Vec<&'static str> {
    let Handles { log, topic, producer, delivery, consumer } = handles;
    let partition = &topic.partitions()[0];
    let place = TopicPartition::new("t", 0);
    let all = [place.clone()];
    let reset = GroupReset::to(ResetTo::Earliest);
    let wait = delivery.wait_timeout(Duration::MAX);
    let calls = [
        ("create_topic", is_forked(log.create_topic("new", TopicConfig::default()))),
        ("topic", is_forked(log.topic("t"))),
        ("topic_or_create", is_forked(log.topic_or_create("t", TopicConfig::default()))),
        ("topics", is_forked(log.topics())),
        ("delete_topic", is_forked(log.delete_topic("t"))),
        ("alter_topic", is_forked(log.alter_topic("t", &[ConfigChange::set("retention.ms", "1")]))),
        ("add_partitions", is_forked(log.add_partitions("t", 3))),
        ("compact_now", is_forked(log.compact_now("t", Compact::new()))),
        ("purge_key", is_forked(log.purge_key("t", "k"))),
        ("explain_retention", is_forked(log.explain_retention("t"))),
        ("delete_records", is_forked(log.delete_records("t", 0, 1))),
        ("list_offsets", is_forked(log.list_offsets("t", 0, OffsetSpec::Earliest))),
        ("refresh", is_forked(log.refresh())),
        ("maintain", is_forked(log.maintain())),
        ("maintain_for", is_forked(log.maintain_for(Duration::ZERO))),
        ("disk_usage", is_forked(log.disk_usage())),
        ("health", log.health().background.is_some_and(|error| is_forked::<()>(Err(error)))),
        ("stats", log.stats() == Default::default()),
        ("producer", is_forked(log.producer())),
        ("consumer", is_forked(log.consumer("g"))),
        ("consumer_builder_without_group", is_forked(log.consumer_builder_without_group().build())),
        ("groups", is_forked(log.groups())),
        ("describe_group", is_forked(log.describe_group("g"))),
        ("reset_group_offsets", is_forked(log.reset_group_offsets("g", &reset))),
        ("delete_group", is_forked(log.delete_group("g"))),
        ("partition", is_forked(topic.partition(0))),
        ("append", is_forked(partition.append(&[RecordData::new("child")]))),
        ("append of nothing", is_forked(partition.append(&[]))),
        ("partition.flush", is_forked(partition.flush())),
        ("read", partition.read(0).next().is_some_and(is_forked)),
        ("read_with", partition.read_with(0, IsolationLevel::ReadCommitted).next().is_some_and(is_forked)),
        ("read_backwards", partition.read_backwards(5).next().is_some_and(is_forked)),
        (
            "read_backwards_with",
            partition.read_backwards_with(5, IsolationLevel::ReadCommitted).next().is_some_and(is_forked),
        ),
        ("last", is_forked(partition.last(1))),
        ("last_with", is_forked(partition.last_with(1, IsolationLevel::ReadCommitted))),
        ("offset_for_timestamp", is_forked(partition.offset_for_timestamp(Timestamp::from_millis(0)))),
        ("offset_of_max_timestamp", is_forked(partition.offset_of_max_timestamp())),
        ("send", is_forked(producer.send(record("child")))),
        ("send_with", is_forked(producer.send_with(record("child"), Durability::Flushed))),
        ("send_batch", is_forked(producer.send_batch(&[record("child")]))),
        ("send_all", is_forked(producer.send_all([record("child")]).map_err(|e| e.error))),
        ("enqueue", is_forked(producer.enqueue(record("child").partition(1)))),
        ("try_enqueue", is_forked(producer.try_enqueue(record("child").partition(1)).map_err(Error::from))),
        ("producer.flush", is_forked(producer.flush())),
        ("delivery.wait", is_forked(delivery.wait())),
        ("delivery.wait_timeout", is_forked(wait)),
        ("delivery.try_result", delivery.try_result().is_some_and(is_forked)),
        ("delivery.is_done", delivery.is_done()),
        ("subscribe", is_forked(consumer.subscribe(["t"]))),
        ("unsubscribe", is_forked(consumer.unsubscribe())),
        ("assign", is_forked(consumer.assign(all.clone()))),
        ("poll", is_forked(consumer.poll(Duration::MAX))),
        ("commit_sync", is_forked(consumer.commit_sync())),
        ("commit_offsets", is_forked(consumer.commit_offsets([(place.clone(), streamlog::Offset::new(1))]))),
        ("committed", is_forked(consumer.committed(&all))),
        ("seek", is_forked(consumer.seek(&place, 0))),
        ("seek_to_beginning", is_forked(consumer.seek_to_beginning(&all))),
        ("seek_to_end", is_forked(consumer.seek_to_end(&all))),
        ("seek_to_timestamp", is_forked(consumer.seek_to_timestamp(&all, Timestamp::from_millis(0)))),
        ("pause", is_forked(consumer.pause(&all))),
        ("resume", is_forked(consumer.resume(&all))),
        ("position", is_forked(consumer.position(&place))),
        ("current_lag", is_forked(consumer.current_lag(&place))),
        ("current_lag_time", is_forked(consumer.current_lag_time(&place))),
        (
            "offsets_for_times",
            is_forked(consumer.offsets_for_times([(place.clone(), Timestamp::from_millis(0))])),
        ),
        ("beginning_offsets", is_forked(consumer.beginning_offsets(&all))),
        ("end_offsets", is_forked(consumer.end_offsets(&all))),
    ];
    // What cannot say so does nothing, and shows itself.
    consumer.wakeup_handle().wakeup();
    let shown = format!("{log:?} {topic:?} {partition:?} {producer:?} {delivery:?} {consumer:?}");
    assert!(shown.contains("forked"), "{shown}");
    calls.into_iter().filter(|(_, forked)| !forked).map(|(name, _)| name).collect()
}

/// Every call, then the end of every handle; the child's exit code is how many calls did not say `Forked`.
fn use_and_end(mut handles: Handles) -> i32 {
    let answered = calls_that_answer(&mut handles);
    if !answered.is_empty() {
        eprintln!("these calls do not say that the child is none of theirs: {answered:?}");
    }
    let Handles { log, topic, producer, delivery, consumer } = handles;
    let closed = [producer.close(), consumer.close(), log.clone().close()];
    assert!(closed.iter().all(Result::is_ok), "{closed:?}");
    drop((topic, producer, delivery, log));
    answered.len() as i32
}

#[test]
fn every_call_in_a_forked_child_says_so_and_ending_there_touches_nothing() {
    for background in [true, false] {
        let dir = quick_dir();
        let path = dir.path().join("log");
        let open = || Streamlog::builder(&path).background_thread(background).open().unwrap();
        let mut parents = Some(handles(open()));
        assert_eq!(in_child(|| use_and_end(parents.take().unwrap())), Some(0));

        let Handles { log, producer, delivery, .. } = parents.unwrap();
        // A parent that dies now leaves what it had: nobody has said that the log was closed.
        let copy = dir.path().join("copy");
        image(&path, &copy);
        let died = Streamlog::open(&copy).unwrap();
        assert!(!died.recovery_report().was_clean);
        assert_eq!(died.topic("t").unwrap().partition(0).unwrap().high_watermark(), 20);
        // And one that lives goes on.
        assert_eq!(producer.send(record("after").partition(0)).unwrap().offset, 20);
        producer.flush().unwrap();
        assert_eq!(delivery.wait().unwrap().offset, 0);
        assert_eq!(log.consumer("g").unwrap().committed(&[TopicPartition::new("t", 0)]).unwrap().len(), 1);
        log.close().unwrap();
        assert!(open().recovery_report().was_clean);
    }
}

#[test]
fn a_log_in_memory_and_one_that_is_only_read_say_the_same() {
    let mut parents = Some(handles(Streamlog::in_memory().unwrap()));
    assert_eq!(in_child(|| use_and_end(parents.take().unwrap())), Some(0));

    let dir = quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    partition.append(&[RecordData::new("x")]).unwrap();
    let follower = Streamlog::open_read_only(dir.path()).unwrap();
    let alone = streamlog::dir::PartitionDir::open_read_only(dir.path().join("t-0")).unwrap();
    let code = in_child(|| {
        assert!(is_forked(follower.topic("t")) && alone.read(0).next().is_some_and(is_forked));
        drop((follower.clone(), alone));
        // It reads what it opens itself.
        let mine = Streamlog::open_read_only(dir.path()).unwrap();
        mine.topic("t").unwrap().partition(0).unwrap().last(5).unwrap().len() as i32
    });
    assert_eq!(code, Some(1));
}

#[test]
fn a_temporary_directory_outlives_the_child() {
    let mut log = Some(Streamlog::temporary().unwrap());
    let dir = log.as_ref().unwrap().dir().to_path_buf();
    assert_eq!(in_child(|| log.take().unwrap().close().is_err().into()), Some(0));
    assert!(dir.exists());
    log.unwrap().close().unwrap();
    assert!(!dir.exists());
}

#[test]
fn a_child_of_a_busy_program_never_waits_for_a_lock() {
    let dir = quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    log.create_topic("busy", TopicConfig::default().durability(Durability::Written)).unwrap();
    let parents = Mutex::new(Some(handles(log.clone())));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for i in 0..4 {
            let (log, stop) = (log.clone(), &stop);
            scope.spawn(move || {
                let producer = log.producer().unwrap();
                let mut consumer = log.consumer(format!("g{i}")).unwrap();
                consumer.subscribe(["busy"]).unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let delivery = producer.enqueue(ProducerRecord::new("busy", "x")).unwrap();
                    producer.send(ProducerRecord::new("busy", "y")).unwrap();
                    consumer.poll(Duration::ZERO).unwrap();
                    consumer.commit_sync().unwrap();
                    let _ = (log.stats(), log.health(), delivery.is_done());
                }
            });
        }
        let codes: Vec<_> =
            (0..20).map(|_| in_child(|| use_and_end(parents.try_lock().unwrap().take().unwrap()))).collect();
        stop.store(true, Ordering::SeqCst);
        assert_eq!(codes, [Some(0); 20]);
    });
    drop(parents);
    log.close().unwrap();
}

#[test]
fn a_child_opens_the_log_anew_once_nobody_holds_what_it_inherited() {
    let dir = quick_dir();
    let path = dir.path();
    // A program that becomes a daemon: the parent ends, without a word to its log, as soon as there is a child.
    let code = in_child(|| {
        let mut log = Some(Streamlog::open(path).unwrap());
        let topic = log.as_ref().unwrap().create_topic("t", TopicConfig::default()).unwrap();
        topic.partition(0).unwrap().append(&[RecordData::new("parent")]).unwrap();
        let parent = std::process::id();
        // SAFETY: the parent ends at once, the child goes on.
        if unsafe { libc::fork() } != 0 {
            return 0;
        }
        assert!(
            matches!(log.as_ref().unwrap().topics(), Err(Error::Forked { opened_by, .. }) if opened_by == parent)
        );
        // `close` gives up the lock that the child inherited, also beside clones and handles that it still has.
        log.clone().unwrap().close().unwrap();
        until(
            || Streamlog::open(path).ok(),
            |opened| {
                let partition = opened.topic("t").unwrap().partition(0).unwrap();
                assert_eq!(partition.append(&[RecordData::new("child")]).unwrap().start, 1);
                opened.close().unwrap();
            },
        );
        drop(log.take());
        std::fs::write(path.join("done"), "").unwrap();
        0
    });
    assert_eq!(code, Some(0));
    until(|| path.join("done").exists().then_some(()), |()| {});
    assert_eq!(values(path), ["parent", "child"]);
}

/// Tries until there is something, and does `then` with it.
fn until<T>(mut attempt: impl FnMut() -> Option<T>, then: impl FnOnce(T)) {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = attempt() {
            return then(found);
        }
        assert!(begun.elapsed() < Duration::from_secs(u64::from(PATIENCE)), "it never came");
        thread::sleep(Duration::from_millis(5));
    }
}

fn values(dir: &Path) -> Vec<String> {
    let log = Streamlog::open(dir).unwrap();
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let text = |value: Option<bytes::Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    partition.last(100).unwrap().into_iter().map(|record| text(record.value)).collect()
}
