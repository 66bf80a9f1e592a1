//! What a failure that can pass does to records that were accepted: nothing, unless it stays.

use super::*;
use crate::{
    Streamlog,
    config::Builder,
    sim::{Crash, Fault, FaultKind, Operation, SimEnv},
    topic::config::ConfigChange,
};

/// A log on a simulated machine, and what one of its topics holds.
struct Disk {
    env: SimEnv,
    log: Streamlog,
}

impl Disk {
    fn new(threads: bool) -> Disk {
        Self::with(threads, TopicConfig::default())
    }

    fn with(threads: bool, config: TopicConfig) -> Disk {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/data").background_thread(threads).open().unwrap();
        log.create_topic("t", config).unwrap();
        // What an opening writes once is written.
        log.producer().unwrap().send(record("first")).unwrap();
        Disk { env, log }
    }

    fn producer(&self) -> ProducerBuilder {
        self.log.producer_builder().linger(Duration::from_secs(1))
    }

    fn values(&self, partition: u32) -> Vec<String> {
        values(&self.log.topic("t").unwrap(), partition)
    }

    /// From now on there is no space for anything.
    fn fill(&self) {
        for operation in [Operation::Write, Operation::Allocate, Operation::Create] {
            self.env.inject(Fault::new(FaultKind::DiskFull).on(operation).forever());
        }
    }

    fn free(&self) {
        self.env.clear_faults();
    }
}

fn record(value: &str) -> ProducerRecord<'_> {
    ProducerRecord::new("t", value).partition(0)
}

const SOON: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn records_that_were_accepted_outlast_a_full_disk_in_their_order() {
    for (threads, kind) in
        [(true, FaultKind::DiskFull), (false, FaultKind::DiskFull), (false, FaultKind::Quota)]
    {
        let disk = Disk::new(threads);
        let producer = disk.producer().build().unwrap();
        let deliveries = ["a", "b"].map(|value| producer.enqueue(record(value)).unwrap());
        disk.env.inject(Fault::new(kind).on(Operation::Write));
        disk.env.advance(SOON);
        let _ = disk.env.pump(10);
        disk.log.maintain().unwrap();
        assert!(disk.env.struck() > 0 && !deliveries[0].is_done());
        // Others queue up after it, and none gets an error.
        producer.enqueue(record("c")).unwrap();
        producer.flush().unwrap();
        assert_eq!(disk.values(0), ["first", "a", "b", "c"]);
        assert_eq!(deliveries.map(|delivery| delivery.wait().unwrap().offset.value()), [1, 2]);
        disk.log.close().unwrap();
    }
}

#[test]
fn without_another_call_the_background_task_tries_again() {
    let disk = Disk::new(true);
    let producer = disk.producer().build().unwrap();
    let delivery = producer.enqueue(record("a")).unwrap();
    disk.fill();
    assert_eq!(kind(delivery.wait_timeout(MINUTE / 2)), ErrorKind::Timeout);
    disk.free();
    assert_eq!(delivery.wait_timeout(SOON).unwrap().offset, 1);
}

#[test]
fn a_disk_that_stays_full_fails_records_after_max_block_and_hands_them_back() {
    for threads in [true, false] {
        let disk = Disk::new(threads);
        let producer = disk.producer().max_block(MINUTE).build().unwrap();
        let time = Timestamp::from_millis(77);
        let first = producer.enqueue(record("a").key("k").header("h", "x").null_header("n").timestamp(time));
        let deliveries = [first.unwrap(), producer.enqueue(record("b")).unwrap()];
        disk.fill();
        let begun = disk.env.monotonic();
        assert_eq!(undelivered(producer.flush()), (2, ErrorKind::DiskFull), "threads: {threads}");
        let took = disk.env.monotonic() - begun;
        assert!(took >= MINUTE && took < MINUTE + SOON, "{took:?}");
        for delivery in deliveries {
            let error = delivery.wait().unwrap_err();
            assert!(!error.is_retriable() && error.to_string().contains("2 records of t-0"), "{error}");
        }
        disk.free();
        // The flush has reported it.
        producer.send(record("later")).unwrap();
        let handed_back = producer.take_undelivered();
        assert_eq!(handed_back[0].timestamp, time);
        assert_eq!(handed_back[0].headers, [("h".to_string(), Some("x".into())), ("n".to_string(), None)]);
        for record in &handed_back {
            assert_eq!(record.topic_partition.to_string(), "t-0");
            assert!(!record.may_be_in_log);
            producer.enqueue(record.to_record()).unwrap();
        }
        producer.close().unwrap();
        assert_eq!(disk.values(0), ["first", "later", "a", "b"]);
        let last = disk.log.topic("t").unwrap().partition(0).unwrap().last(2).unwrap();
        assert_eq!((last[0].key.as_deref(), last[0].timestamp), (Some(&b"k"[..]), time));
        assert_eq!(last[0].headers, handed_back[0].headers);
        assert_eq!(last[1].key, None);
    }
}

#[test]
fn the_next_call_reports_what_failed_once_and_a_flush_says_it_again() {
    let disk = Disk::new(false);
    let producer = disk.producer().max_block(Duration::ZERO).build().unwrap();
    producer.enqueue(record("a")).unwrap();
    disk.fill();
    disk.env.advance(SOON);
    disk.log.maintain().unwrap();
    disk.free();
    assert_eq!(undelivered(producer.enqueue(record("b"))), (1, ErrorKind::DiskFull));
    producer.enqueue(record("c")).unwrap();
    assert_eq!(undelivered(producer.flush()), (1, ErrorKind::DiskFull));
    producer.flush().unwrap();
    assert_eq!(disk.values(0), ["first", "c"]);
    assert_eq!(producer.take_undelivered().len(), 1);
}

#[test]
fn what_is_sent_while_others_wait_for_space_is_refused_and_not_written_before_them() {
    let disk = Disk::with(false, TopicConfig::default().partitions(2));
    let producer = disk.producer().build().unwrap();
    producer.enqueue(record("a")).unwrap();
    disk.fill();
    assert_eq!(kind(producer.send(record("b"))), ErrorKind::DiskFull);
    assert_eq!(kind(producer.send_batch(&[record("b"), record("c")])), ErrorKind::DiskFull);
    assert_eq!(producer.send_all([record("b")]).unwrap_err().error.kind(), ErrorKind::DiskFull);
    disk.free();
    // Another partition never waited.
    producer.send(ProducerRecord::new("t", "x").partition(1)).unwrap();
    producer.send(record("b")).unwrap();
    assert_eq!(disk.values(0), ["first", "a", "b"]);
    producer.flush().unwrap();
}

#[test]
fn a_full_buffer_on_a_full_disk_refuses_and_forgets_nothing() {
    for threads in [true, false] {
        let disk = Disk::new(threads);
        let builder = disk.producer().batch_size(1000).buffer_memory(4000).max_block(MINUTE);
        let producer = builder.build().unwrap();
        disk.fill();
        let value = "x".repeat(90);
        let mut accepted = 0;
        let refused = loop {
            match producer.try_enqueue(record(&value)) {
                Ok(_) => accepted += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.error().kind(), ErrorKind::QueueFull);
        assert!(accepted > 20);
        disk.free();
        producer.enqueue(refused.into_record()).unwrap();
        producer.flush().unwrap();
        assert_eq!(disk.values(0).len(), 1 + accepted + 1, "threads: {threads}");
        assert_eq!(producer.inner.context.memory.used(), 0);
    }
}

#[test]
fn a_call_that_waits_for_room_on_a_full_disk_reports_what_was_lost() {
    for threads in [true, false] {
        let disk = Disk::new(threads);
        let builder = disk.producer().batch_size(1000).buffer_memory(4000).max_block(MINUTE);
        let producer = builder.build().unwrap();
        disk.fill();
        let (value, mut accepted) = ("x".repeat(90), 0);
        let refused = loop {
            match producer.enqueue(record(&value)) {
                Ok(_) => accepted += 1,
                // The disk was full a moment less than the call has waited.
                Err(Error::Timeout { .. }) => {}
                refused => break refused,
            }
        };
        assert_eq!(undelivered(refused), (accepted, ErrorKind::DiskFull), "threads: {threads}");
        assert_eq!(producer.take_undelivered().len() as u64, accepted);
        disk.free();
        producer.send(record("after")).unwrap();
        assert_eq!(disk.values(0), ["first", "after"]);
    }
}

#[test]
fn a_roll_that_finds_no_space_is_tried_again() {
    let disk = Disk::with(false, TopicConfig::default().segment_bytes(1000));
    let producer = disk.producer().batch_size(700).build().unwrap();
    let values: Vec<String> = (0..30).map(|i| format!("{i:0100}")).collect();
    for kind in [FaultKind::DiskFull, FaultKind::Quota] {
        disk.env.inject(Fault::new(kind).on(Operation::Create).skip(1));
    }
    for value in &values {
        producer.enqueue(record(value)).unwrap();
    }
    producer.flush().unwrap();
    assert!(disk.env.struck() > 0);
    assert_eq!(disk.values(0)[1..], values);
}

#[test]
fn a_mark_that_finds_no_space_before_a_flush_keeps_written_batches_pending() {
    let disk = Disk::new(false);
    let producer = disk.producer().build().unwrap();
    let delivery = producer.enqueue(record("a")).unwrap();
    let accumulator = producer.inner.accumulators.all().remove(0);
    accumulator.write_all(Attempt::Now);
    let end = accumulator.written().unwrap().1;
    let path = "/data/marks".into();
    accumulator.settle(end, &Err(Error::DiskFull { operation: "write", path, limit: None }));
    assert!(!delivery.is_done());
    assert_eq!(delivery.wait().unwrap().offset, 1);
    producer.flush().unwrap();
}

#[test]
fn closing_tries_for_max_block_and_reports() {
    for threads in [true, false] {
        let disk = Disk::new(threads);
        let producer = disk.producer().max_block(MINUTE).build().unwrap();
        producer.enqueue(record("a")).unwrap();
        disk.fill();
        let begun = disk.env.monotonic();
        let error = disk.log.close().unwrap_err();
        assert!(matches!(error, Error::Undelivered { records: 1, .. }), "{error}");
        assert!((MINUTE..MINUTE + SOON).contains(&(disk.env.monotonic() - begun)));
        // The handle is gone, the records are not.
        assert_eq!(producer.take_undelivered().len(), 1);
    }
}

#[test]
fn dropping_a_producer_waits_five_seconds_and_its_records_are_written_later() {
    for threads in [true, false] {
        let disk = Disk::new(threads);
        let producer = disk.producer().build().unwrap();
        producer.enqueue(record("a")).unwrap();
        disk.fill();
        let begun = disk.env.monotonic();
        drop(producer);
        let took = disk.env.monotonic() - begun;
        assert!((DROP_TIME..DROP_TIME + SOON).contains(&took), "{took:?}");
        disk.free();
        disk.env.advance(SOON);
        let _ = disk.env.pump(10);
        disk.log.maintain().unwrap();
        assert_eq!(disk.values(0), ["first", "a"], "threads: {threads}");
        disk.log.close().unwrap();
    }
}

#[test]
fn dropping_the_log_waits_five_seconds_and_settles_deliveries() {
    for threads in [true, false] {
        let Disk { env, log } = Disk::new(threads);
        let producer = log.producer_builder().build().unwrap();
        let delivery = producer.enqueue(record("a")).unwrap();
        Disk { env: env.clone(), log }.fill();
        let begun = env.monotonic();
        drop(producer);
        let took = env.monotonic() - begun;
        // The producer, and then the log.
        assert!((DROP_TIME..DROP_TIME * 2 + SOON).contains(&took), "{took:?}");
        assert_eq!(undelivered(delivery.wait()), (1, ErrorKind::DiskFull), "threads: {threads}");
    }
}

#[test]
fn a_topic_deleted_or_altered_while_its_records_wait_fails_them_for_good() {
    let disk = Disk::new(false);
    let producer = disk.producer().build().unwrap();
    let fail = |value: &str| {
        producer.enqueue(record(value)).unwrap();
        disk.fill();
        disk.env.advance(SOON);
        disk.log.maintain().unwrap();
        disk.free();
    };
    fail(&"x".repeat(500));
    disk.log.alter_topic("t", &[ConfigChange::set("max.message.bytes", "200")]).unwrap();
    assert_eq!(undelivered(producer.flush()), (1, ErrorKind::RecordTooLarge));
    fail("y");
    disk.log.delete_topic("t").unwrap();
    assert_eq!(undelivered(producer.flush()), (1, ErrorKind::Closed));
    assert_eq!(producer.take_undelivered().len(), 2);
}

#[test]
fn a_poisoned_partition_fails_records_immediately_and_says_which_may_be_in_the_log() {
    let disk = Disk::new(false);
    let producer = disk.producer().build().unwrap();
    producer.enqueue(record("a")).unwrap();
    disk.env.inject(Fault::new(FaultKind::Io).on(Operation::Sync).path("t-0/"));
    assert_eq!(undelivered(producer.flush()), (1, ErrorKind::Poisoned));
    producer.enqueue(record("b")).unwrap();
    assert_eq!(undelivered(producer.flush()), (1, ErrorKind::Poisoned));
    let may_be: Vec<bool> = producer.take_undelivered().iter().map(|record| record.may_be_in_log).collect();
    assert_eq!(may_be, [true, false]);
}

#[test]
fn records_that_are_not_taken_back_stay_within_the_size_of_the_buffer() {
    let disk = Disk::new(false);
    let builder = disk.producer().batch_size(1000).buffer_memory(4000).max_block(Duration::ZERO);
    let producer = builder.build().unwrap();
    let values: Vec<String> = (0..20).map(|i| format!("{i:0400}")).collect();
    let mut told = 0;
    for value in &values {
        producer.enqueue(record(value)).unwrap();
        disk.fill();
        let error = producer.flush().unwrap_err();
        let Error::Undelivered { records: 1, forgotten, .. } = error else { panic!("{error}") };
        assert_eq!(forgotten, producer.forgotten_undelivered());
        assert_eq!(forgotten > 0, error.to_string().contains(&format!("{forgotten} of all")), "{error}");
        told = forgotten;
        disk.free();
    }
    let kept = producer.take_undelivered();
    let newest =
        kept.iter().map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap()).into_owned());
    assert_eq!(newest.collect::<Vec<_>>(), values[values.len() - kept.len()..]);
    assert!((5..10).contains(&kept.len()), "{}", kept.len());
    assert_eq!(told + kept.len() as u64, 20, "each is handed back or counted");
}

#[test]
fn compressed_batches_are_handed_back_as_they_were() {
    if !crate::codec::compress::is_available(Compression::Gzip) {
        return;
    }
    let disk = Disk::new(false);
    let builder = disk.producer().compression(Compression::Gzip).max_block(Duration::ZERO);
    let producer = builder.build().unwrap();
    let value = "again and ".repeat(500);
    producer.enqueue(record(&value)).unwrap();
    disk.fill();
    producer.flush().unwrap_err();
    assert_eq!(producer.take_undelivered()[0].value.as_deref(), Some(value.as_bytes()));
}

#[test]
fn a_flush_by_flush_messages_comes_before_an_enqueued_record_is_acknowledged() {
    let config = TopicConfig::default().durability(Durability::Written).flush_messages(1);
    let disk = Disk::with(false, config);
    let producer = disk.producer().build().unwrap();
    producer.enqueue(record("a")).unwrap().wait().unwrap();
    producer.send_batch(&[record("b")]).unwrap();
    producer.send_all([record("c")]).unwrap();
    let log = Builder::env(&disk.env.crash(Crash::Nothing, 1), "/data").open().unwrap();
    assert_eq!(log.topic("t").unwrap().partition(0).unwrap().log_end_offset(), 4);
}
