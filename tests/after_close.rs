//! After `close` every call of every handle is `Error::Closed`, or harmless as its documentation says: a table of all of
//! them, which is held against the sources.

mod support;

use std::{collections::BTreeSet, fs, path::Path, sync::Mutex, time::Duration};
use streamlog::{
    admin::{Compact, GroupReset, OffsetSpec, ResetTo},
    clients::{IsolationLevel, OwnedConsumerRecord},
    *,
};
use support::quick_dir;

/// The types whose calls are in the table, with the files that have their methods.
const HANDLES: &[(&str, &[&str])] = &[
    (
        "Streamlog",
        &[
            "streamlog/mod.rs",
            "streamlog/admin.rs",
            "streamlog/clients.rs",
            "streamlog/close.rs",
            "streamlog/stats.rs",
        ],
    ),
    ("Topic", &["topic/mod.rs"]),
    ("Partition", &["partition/handle.rs"]),
    ("BackwardBatches", &["partition/read/batches.rs"]),
    (
        "Producer",
        &["producer/mod.rs", "producer/send_batch.rs", "producer/named.rs", "transaction/producer.rs"],
    ),
    ("Delivery", &["producer/delivery.rs"]),
    ("Consumer", &["consumer/mod.rs", "consumer/poll.rs", "consumer/commits.rs", "consumer/positions.rs"]),
    ("WakeupHandle", &["consumer/poll.rs"]),
];

static TRIED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn tried(call: &str) {
    TRIED.lock().unwrap().insert(call.to_string());
}

/// The call answers `Closed`.
macro_rules! closed {
    ($($call:literal => $result:expr;)+) => {
        $(
            tried($call);
            match $result.map(drop) {
                Err(error) => {
                    let error = Error::from(error);
                    assert_eq!(error.kind(), ErrorKind::Closed, "{}: {error}", $call);
                }
                Ok(()) => panic!("{} says yes", $call),
            }
        )+
    };
}

/// The call says what it knows, and does nothing.
macro_rules! harmless {
    ($($call:literal => $answer:expr;)+) => {
        $(
            tried($call);
            let _ = $answer;
        )+
    };
}

fn t() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn streamlog(log: &Streamlog) {
    closed! {
        "Streamlog::create_topic" => log.create_topic("u", TopicConfig::default());
        "Streamlog::topic" => log.topic("t");
        "Streamlog::topic" => log.topic("missing");
        "Streamlog::topic_or_create" => log.topic_or_create("t", TopicConfig::default());
        "Streamlog::topics" => log.topics();
        "Streamlog::delete_topic" => log.delete_topic("t");
        "Streamlog::alter_topic" => log.alter_topic("t", &[]);
        "Streamlog::add_partitions" => log.add_partitions("t", 5);
        "Streamlog::compact_now" => log.compact_now("t", Compact::new());
        "Streamlog::purge_key" => log.purge_key("t", "k");
        "Streamlog::explain_retention" => log.explain_retention("t");
        "Streamlog::delete_records" => log.delete_records("t", 0, 0);
        "Streamlog::list_offsets" => log.list_offsets("t", 0, OffsetSpec::Earliest);
        "Streamlog::refresh" => log.refresh();
        "Streamlog::maintain" => log.maintain();
        "Streamlog::maintain_for" => log.maintain_for(Duration::from_secs(1));
        "Streamlog::producer" => log.producer();
        "Streamlog::producer_builder" => log.producer_builder().build();
        "Streamlog::consumer" => log.consumer("g");
        "Streamlog::consumer_builder" => log.consumer_builder("g").build();
        "Streamlog::consumer_builder_without_group" => log.consumer_builder_without_group().build();
        "Streamlog::consumer_without_group" => {
            #[allow(deprecated, reason = "as long as it is there")]
            log.consumer_without_group().build()
        };
        "Streamlog::groups" => log.groups();
        "Streamlog::describe_group" => log.describe_group("g");
        "Streamlog::describe_group_on" => log.describe_group_on("g", ["t"]);
        "Streamlog::reset_group_offsets" => log.reset_group_offsets("g", &GroupReset::to(ResetTo::Earliest));
        "Streamlog::delete_group" => log.delete_group("g");
        "Streamlog::disk_usage" => log.disk_usage();
        "Streamlog::transaction" => log.transaction(|_| Ok(()));
        "Streamlog::transactions" => log.transactions();
        "Streamlog::describe_transaction" => log.describe_transaction("n");
        "Streamlog::describe_producers" => log.describe_producers(&t());
        "Streamlog::abort_transaction" => log.abort_transaction(&t(), 7);
        "Streamlog::fence" => log.fence("n");
        "Streamlog::forget_producer" => log.forget_producer("n");
    }
    harmless! {
        "Streamlog::dir" => log.dir();
        "Streamlog::recovery_report" => log.recovery_report();
        "Streamlog::is_read_only" => log.is_read_only();
        "Streamlog::stats" => log.stats();
        "Streamlog::health" => log.health();
        "Streamlog::close" => log.clone().close().unwrap();
    }
}

fn topic(topic: &Topic) {
    closed! {
        "Topic::partition" => topic.partition(0);
        "Topic::partition" => topic.partition(99);
    }
    harmless! {
        "Topic::name" => topic.name();
        "Topic::id" => topic.id();
        "Topic::is_internal" => topic.is_internal();
        "Topic::config" => topic.config();
        "Topic::partition_count" => topic.partition_count();
        "Topic::partitions" => topic.partitions();
    }
}

fn partition(partition: &Partition) {
    let end = partition.high_watermark();
    closed! {
        "Partition::append" => partition.append(&[RecordData::new("x")]);
        "Partition::append" => partition.append(&[]);
        "Partition::flush" => partition.flush();
        "Partition::read" => partition.read(0).next().unwrap();
        "Partition::read" => partition.read(end).next().unwrap();
        "Partition::read_with" => partition.read_with(0, IsolationLevel::ReadCommitted).next().unwrap();
        "Partition::read_backwards" => partition.read_backwards(Offset::MAX).next().unwrap();
        "Partition::read_backwards" => partition.read_backwards(0).next().unwrap();
        "Partition::read_backwards_with" => partition.read_backwards_with(0, IsolationLevel::ReadCommitted).next().unwrap();
        "Partition::records" => partition.records(0).next().unwrap();
        "Partition::records_with" => partition.records_with(0, IsolationLevel::ReadCommitted).next().unwrap();
        "Partition::last" => partition.last(1);
        "Partition::last" => partition.last(0);
        "Partition::last_with" => partition.last_with(1, IsolationLevel::ReadCommitted);
        "Partition::offset_for_timestamp" => partition.offset_for_timestamp(Timestamp::from_millis(0));
        "Partition::offset_of_max_timestamp" => partition.offset_of_max_timestamp();
    }
    harmless! {
        "Partition::topic_partition" => partition.topic_partition();
        "Partition::index" => partition.index();
        "Partition::log_start_offset" => partition.log_start_offset();
        "Partition::high_watermark" => partition.high_watermark();
        "Partition::last_stable_offset" => partition.last_stable_offset();
        "Partition::log_end_offset" => partition.log_end_offset();
        "Partition::incarnation_of" => partition.incarnation_of(0);
        "Partition::size" => partition.size();
        "Partition::segment_count" => partition.segment_count();
        "BackwardBatches::before" => partition.read_backwards(1).before();
    }
}

fn producer(producer: &Producer, topic: Option<&Topic>) {
    let record = || ProducerRecord::new("t", "x");
    closed! {
        "Producer::send" => producer.send(record());
        "Producer::send" => producer.send(ProducerRecord::new("missing", "x"));
        "Producer::send_with" => producer.send_with(record(), Durability::Flushed);
        "Producer::enqueue" => producer.enqueue(record());
        "Producer::try_enqueue" => producer.try_enqueue(record());
        "Producer::send_batch" => producer.send_batch(&[record()]);
        "Producer::send_batch" => producer.send_batch(&[]);
        "Producer::send_all" => producer.send_all([record()]);
        "Producer::send_all" => producer.send_all([]);
        "Producer::flush" => producer.flush();
        "Producer::begin_transaction" => producer.begin_transaction();
        "Producer::last_sequence" => producer.last_sequence(&t());
    }
    if let Some(topic) = topic {
        closed! {
            "Producer::send" => producer.send(ProducerRecord::new(topic, "x"));
            "Producer::enqueue" => producer.enqueue(ProducerRecord::new(topic, "x"));
        }
    }
    harmless! {
        "Producer::close" => producer.close().unwrap();
        "Producer::forgotten_undelivered" => assert_eq!(producer.forgotten_undelivered(), 0);
        "Producer::take_undelivered" => assert!(producer.take_undelivered().is_empty());
    }
}

fn delivery(delivery: &Delivery) {
    harmless! {
        "Delivery::wait" => delivery.wait().unwrap();
        "Delivery::wait_timeout" => delivery.wait_timeout(Duration::ZERO).unwrap();
        "Delivery::is_done" => assert!(delivery.is_done());
        "Delivery::try_result" => delivery.try_result().unwrap().unwrap();
    }
}

fn consumer(consumer: &mut Consumer, record: Option<&OwnedConsumerRecord>, damage: &Error) {
    closed! {
        "Consumer::subscribe" => consumer.subscribe(["t"]);
        "Consumer::subscribe" => consumer.subscribe::<&str>([]);
        "Consumer::assign" => consumer.assign([t()]);
        "Consumer::assign" => consumer.assign([]);
        "Consumer::unsubscribe" => consumer.unsubscribe();
        "Consumer::poll" => consumer.poll(Duration::ZERO);
        "Consumer::poll" => consumer.poll(Duration::MAX);
        "Consumer::commit_sync" => consumer.commit_sync();
        "Consumer::commit_offsets" => consumer.commit_offsets([(t(), Offset::ZERO)]);
        "Consumer::commit_offsets" => consumer.commit_offsets::<Offset>([]);
        "Consumer::committed" => consumer.committed(&[t()]);
        "Consumer::committed" => consumer.committed(&[]);
        "Consumer::seek" => consumer.seek(&t(), 0);
        "Consumer::seek_to_beginning" => consumer.seek_to_beginning(&[]);
        "Consumer::seek_to_end" => consumer.seek_to_end(&[t()]);
        "Consumer::seek_to_timestamp" => consumer.seek_to_timestamp(&[], Timestamp::from_millis(0));
        "Consumer::skip_damage" => consumer.skip_damage(damage);
        "Consumer::pause" => consumer.pause(&[t()]);
        "Consumer::resume" => consumer.resume(&[]);
        "Consumer::position" => consumer.position(&t());
        "Consumer::current_lag" => consumer.current_lag(&t());
        "Consumer::current_lag_time" => consumer.current_lag_time(&t());
        "Consumer::offsets_for_times" => consumer.offsets_for_times([(t(), Timestamp::from_millis(0))]);
        "Consumer::offsets_for_times" => consumer.offsets_for_times([]);
        "Consumer::beginning_offsets" => consumer.beginning_offsets(&[t()]);
        "Consumer::beginning_offsets" => consumer.beginning_offsets(&[]);
        "Consumer::end_offsets" => consumer.end_offsets(&[t()]);
        "Consumer::end_offsets" => consumer.end_offsets(&[]);
        "Consumer::seek_to_positions" => consumer.seek_to_positions(&consumer.positions());
    }
    if let Some(record) = record {
        closed! { "Consumer::commit_record" => consumer.commit_record(record); }
    }
    harmless! {
        "Consumer::assignment" => consumer.assignment();
        "Consumer::positions" => consumer.positions();
        "Consumer::subscription" => consumer.subscription();
        "Consumer::paused" => consumer.paused();
        "WakeupHandle::wakeup" => { consumer.wakeup_handle().wakeup() };
        "Consumer::wakeup_handle" => consumer.wakeup_handle();
    }
}

/// A log with a topic of two records.
fn filled(log: &Streamlog) {
    log.create_topic("t", TopicConfig::default()).unwrap();
    let producer = log.producer().unwrap();
    producer.send_batch(&[ProducerRecord::new("t", "a"), ProducerRecord::new("t", "b")]).unwrap();
}

/// An error as a poll reports it that has come to damage: of another log, for it only has to be one.
fn damage() -> Error {
    let dir = quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    filled(&log);
    log.close().unwrap();
    let segment = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[70] ^= 1;
    fs::write(segment, bytes).unwrap();
    let log = Streamlog::open(dir.path()).unwrap();
    log.topic("t").unwrap().partition(0).unwrap().last(1).unwrap_err()
}

/// Closes the log through one handle, and tries all others.
fn try_everything(log: Streamlog) {
    let damage = damage();
    let t = log.topic("t").unwrap();
    let p = t.partition(0).unwrap();
    let writing = (!log.is_read_only()).then(|| {
        let producer = log.producer().unwrap();
        let delivery = producer.enqueue(ProducerRecord::new(&t, "c")).unwrap();
        (producer, delivery)
    });
    let mut one = log.consumer("g").unwrap();
    one.subscribe(["t"]).unwrap();
    let record = one.poll(Duration::from_secs(60)).unwrap().into_iter().next().unwrap();
    let mut other = log.consumer_builder("h").auto_commit(None).build().unwrap();
    other.assign([TopicPartition::new("t", 0)]).unwrap();
    let (mut idle, mut held) = (log.consumer("i").unwrap(), p.read(0));
    let builders = (log.producer_builder(), log.consumer_builder("j"));
    let clone = log.clone();
    log.close().unwrap();

    streamlog(&clone);
    topic(&t);
    partition(&p);
    if let Some((p, d)) = &writing {
        producer(p, Some(&t));
        delivery(d);
    }
    for c in [&mut one, &mut other, &mut idle] {
        consumer(c, Some(&record), &damage);
    }
    closed! {
        "ProducerBuilder::build" => builders.0.build();
        "ConsumerBuilder::build" => builders.1.build();
        "Batches::next" => held.next().unwrap();
    }
    assert!(held.next().is_none());
    harmless! { "Consumer::close" => { one.close().unwrap() }; }
}

#[test]
fn every_call_after_close_is_closed_or_harmless() {
    let dir = quick_dir();
    let log = Streamlog::open(dir.path()).unwrap();
    filled(&log);
    try_everything(log);
    let log = Streamlog::builder(dir.path()).background_thread(false).open().unwrap();
    try_everything(log);
    try_everything(Streamlog::open_read_only(dir.path()).unwrap());
    let log = Streamlog::in_memory().unwrap();
    filled(&log);
    try_everything(log);
    every_method_was_tried();
}

#[test]
fn every_call_after_a_producer_was_closed_is_closed_or_harmless() {
    let log = Streamlog::in_memory().unwrap();
    filled(&log);
    let one = log.producer().unwrap();
    one.send(ProducerRecord::new("t", "x")).unwrap();
    let other = one.clone();
    other.close().unwrap();
    producer(&one, Some(&log.topic("t").unwrap()));
    producer(&other, None);
    log.producer().unwrap().send(ProducerRecord::new("t", "y")).unwrap();
}

#[test]
fn every_call_after_a_topic_was_deleted_is_closed_or_harmless() {
    let log = Streamlog::in_memory().unwrap();
    filled(&log);
    let t = log.topic("t").unwrap();
    let p = t.partition(0).unwrap();
    log.delete_topic("t").unwrap();
    topic(&t);
    partition(&p);
}

/// Every method with a receiver of every handle is in the table.
fn every_method_was_tried() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("src");
    let mut missing = Vec::new();
    for (handle, files) in HANDLES {
        let mut found = 0;
        for file in *files {
            let text = fs::read_to_string(src.join(file)).unwrap();
            for block in text.split(&format!("\nimpl {handle} {{\n")).skip(1) {
                let block = block.split("\n}\n").next().unwrap();
                for method in block.split("\n    pub fn ").skip(1) {
                    let (name, rest) = method.split_at(method.find(['(', '<']).unwrap());
                    let receiver = rest[..rest.find("->").or(rest.find('{')).unwrap()].contains("self");
                    if !receiver {
                        continue;
                    }
                    found += 1;
                    let call = format!("{handle}::{name}");
                    if !TRIED.lock().unwrap().contains(&call) {
                        missing.push(call);
                    }
                }
            }
        }
        assert!(found > 0, "{handle} has no methods in {files:?}");
    }
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}
