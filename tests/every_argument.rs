//! Every public function that takes an argument is handed the least, the most and the strangest of it: it does what it says
//! or refuses with a typed error, and nothing panics. (I18)
//!
//! The list of functions is held against the sources, so that a new one is noticed. Settings and times are tried in
//! `absurd_arguments.rs`, with what they lead to.

mod support;

use How::{Here, Plain, There};
use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};
use streamlog::{
    admin::{Compact, GroupReset, OffsetSpec, ResetTo},
    clients::{DefaultPartitioner, IsolationLevel, OffsetAndMetadata, PartitionContext, Positions},
    config::ConfigChange,
    dir::{AbortedTransaction, PartitionDir},
    *,
};
use support::quick_dir;

const NUMBERS: [u64; 8] = [
    0,
    1,
    i32::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64 - 1,
    i64::MAX as u64,
    i64::MAX as u64 + 1,
    u64::MAX,
];
const MILLIS: [i64; 6] = [i64::MIN, -1, 0, 1, i64::MAX - 1, i64::MAX];
const TIMES: [Duration; 4] =
    [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(i64::MAX as u64), Duration::MAX];
const PARTITIONS: [u32; 5] = [0, 1, i32::MAX as u32, i32::MIN as u32, u32::MAX];

/// Where a function is tried.
enum How {
    Here(fn()),
    /// In `absurd_arguments.rs`.
    There,
    /// Its argument has no extremes: a choice among few, a callback, a value that another function made.
    Plain,
}

fn maintenance() {
    let log = Streamlog::in_memory().unwrap();
    log.create_topic("t", TopicConfig::default().partitions(3)).unwrap();
    TIMES.into_iter().for_each(|time| tried(log.maintain_for(time)));
}

fn texts() -> Vec<String> {
    let some =
        ["", " ", "t", ".", "..", "../t", "/t", "a\0b", "\u{10ffff}", "t\n", "__consumer_offsets", "*"];
    let long = [249, 250, 255, 256, 40_000, 1 << 20].map(|len| "x".repeat(len));
    some.map(str::to_string).into_iter().chain(long).collect()
}

fn places() -> Vec<TopicPartition> {
    let with = |name: String| PARTITIONS.map(|number| TopicPartition::new(name.as_str(), number));
    texts().into_iter().flat_map(with).collect()
}

fn log() -> Streamlog {
    let log = Streamlog::in_memory().unwrap();
    log.create_topic("t", TopicConfig::default()).unwrap();
    log.producer().unwrap().send(ProducerRecord::new("t", "x")).unwrap();
    log
}

fn partition() -> Partition {
    log().topic("t").unwrap().partition(0).unwrap()
}

fn consumer() -> Consumer {
    let mut consumer = log().consumer("g").unwrap();
    consumer.subscribe(["t"]).unwrap();
    consumer
}

/// A refusal is as good as a result, and has a text.
fn tried<T>(result: Result<T>) {
    if let Err(error) = result {
        assert!(!error.to_string().is_empty());
    }
}

/// Hands these partitions to a function, one by one and all at once.
fn on_places(act: impl Fn(&mut Consumer, &[TopicPartition])) {
    let places = places();
    let mut consumer = consumer();
    places.iter().for_each(|place| act(&mut consumer, std::slice::from_ref(place)));
    act(&mut consumer, &places);
    act(&mut consumer, &[]);
    tried(consumer.poll(Duration::ZERO));
}

fn on_texts(act: impl Fn(&Streamlog, &str)) {
    let log = log();
    texts().iter().for_each(|text| act(&log, text));
    log.close().unwrap();
}

/// Sends records of any kind, which are there afterwards or were refused.
fn on_records(send: impl Fn(&Producer, ProducerRecord<'_>) -> Result<()>) {
    let log = log();
    let producer = log.producer_builder().max_block(Duration::from_millis(100)).build().unwrap();
    for text in &texts() {
        let timestamp = Timestamp::from_millis(i64::MAX);
        for record in [
            ProducerRecord::new(text.as_str(), "x"),
            ProducerRecord::new("t", text).key(text).header(text.as_str(), text).timestamp(timestamp),
            ProducerRecord::null(text.as_str()).null_header(text.as_str()).null_header(text.as_str()),
            ProducerRecord::tombstone("t", text).partition(u32::MAX),
            ProducerRecord::copy_of(text.as_str(), RecordData::null().timestamp(timestamp)),
            ProducerRecord::tombstone("t", text).partition(0).timestamp(Timestamp::from_millis(i64::MIN)),
        ] {
            tried(send(&producer, record));
        }
    }
    tried(producer.flush());
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    let read = partition.records(0).map(|record| record.map(|_| 1)).sum::<Result<u64>>().unwrap();
    assert_eq!(partition.high_watermark(), read);
}

/// All kinds of records to append.
fn append(make: impl Fn(&str) -> RecordData<'_>) {
    let partition = partition();
    for text in &texts() {
        tried(partition.append(&[make(text), RecordData::new("x"), make(text)]));
    }
    let read = partition.records(0).map(|record| record.map(|_| 1)).sum::<Result<u64>>().unwrap();
    assert_eq!(partition.high_watermark(), read);
}

fn altered(config: impl Fn(i64) -> TopicConfig) {
    for value in [i64::MIN, -1, 0, 1, 22, i64::MAX] {
        let log = log();
        if log.create_topic("u", config(value)).map(drop).map_err(|error| tried::<()>(Err(error))).is_ok() {
            log.producer().unwrap().send(ProducerRecord::new("u", "x")).unwrap();
        }
    }
}

fn changes() -> Vec<ConfigChange> {
    let entries = TopicConfig::default().entries();
    let keys = texts().into_iter().chain(entries.iter().map(|entry| entry.key.to_string()));
    keys.flat_map(|key| {
        texts()
            .into_iter()
            .take(13)
            .map(move |value| ConfigChange::set(key.as_str(), value))
            .collect::<Vec<_>>()
    })
    .collect()
}

const FUNCTIONS: &[(&str, How)] = &[
    ("AbortedTransaction::decode", Here(bytes_of_transactions)),
    ("AbortedTransaction::decode_all", Here(bytes_of_transactions)),
    ("AbortedTransaction::encode", Plain),
    ("Batch::slice_of", Here(parts_of_batches)),
    ("Builder::background_thread", Plain),
    ("Builder::compaction_rate", There),
    ("Builder::create", Plain),
    ("Builder::disk_budget", There),
    ("Builder::env", Plain),
    ("Builder::max_open_files", There),
    ("Builder::min_free_space", There),
    ("Builder::offsets_upkeep", Plain),
    ("Builder::on_recovery_progress", Plain),
    ("Builder::read_mode", Plain),
    ("Builder::read_only", Plain),
    ("Builder::retention_check_interval", There),
    ("Builder::wait_for_lock", There),
    ("Compact::dry_run", Plain),
    ("Compact::on_progress", Plain),
    ("ConfigChange::set", Here(topic_configs)),
    ("ConfigChange::unset", Here(topic_configs)),
    ("Consumer::assign", Here(|| on_places(|c, p| drop((c.unsubscribe(), c.assign(p.to_vec())))))),
    ("Consumer::beginning_offsets", Here(|| on_places(|c, p| tried(c.beginning_offsets(p))))),
    ("Consumer::commit_offsets", Here(commits)),
    ("Consumer::commit_record", Plain),
    ("Consumer::committed", Here(|| on_places(|c, p| tried(c.committed(p))))),
    ("Consumer::current_lag", Here(|| on_places(|c, p| p.iter().for_each(|p| tried(c.current_lag(p)))))),
    (
        "Consumer::current_lag_time",
        Here(|| on_places(|c, p| p.iter().for_each(|p| tried(c.current_lag_time(p))))),
    ),
    ("Consumer::end_offsets", Here(|| on_places(|c, p| tried(c.end_offsets(p))))),
    ("Consumer::offsets_for_times", Here(times_of_places)),
    ("Consumer::pause", Here(|| on_places(|c, p| tried(c.pause(p))))),
    ("Consumer::poll", There),
    ("Consumer::position", Here(|| on_places(|c, p| p.iter().for_each(|p| tried(c.position(p)))))),
    ("Consumer::resume", Here(|| on_places(|c, p| tried(c.resume(p))))),
    ("Consumer::seek", Here(seeks)),
    ("Consumer::seek_to_beginning", Here(|| on_places(|c, p| tried(c.seek_to_beginning(p))))),
    ("Consumer::seek_to_end", Here(|| on_places(|c, p| tried(c.seek_to_end(p))))),
    ("Consumer::seek_to_timestamp", Here(times_of_places)),
    ("Consumer::seek_to_positions", Here(stored_positions)),
    ("Consumer::skip_damage", Plain),
    (
        "Consumer::subscribe",
        Here(|| on_texts(|log, text| tried(log.consumer("g").unwrap().subscribe([text])))),
    ),
    ("ConsumerBuilder::auto_commit", There),
    ("ConsumerBuilder::auto_offset_reset", There),
    ("ConsumerBuilder::isolation_level", Plain),
    ("ConsumerBuilder::max_poll_bytes", There),
    ("ConsumerBuilder::max_poll_records", There),
    ("ConsumerRecords::records", Here(records_of_places)),
    ("DefaultPartitioner::new", Here(partitioners)),
    ("Delivery::wait_timeout", There),
    ("GroupReset::partition", Here(resets)),
    ("GroupReset::to", Here(resets)),
    ("GroupReset::topic", Here(resets)),
    ("Headers::get", Here(headers)),
    ("Offset::checked_add", Here(arithmetic)),
    ("Offset::checked_sub", Here(arithmetic)),
    ("Offset::distance_from", Here(arithmetic)),
    ("Offset::new", Here(arithmetic)),
    ("Offset::saturating_add", Here(arithmetic)),
    ("Offset::saturating_sub", Here(arithmetic)),
    ("OffsetAndMetadata::new", Here(commits)),
    ("Partition::append", Here(|| append(|text| RecordData::new(text)))),
    ("Partition::incarnation_of", There),
    ("Partition::last", There),
    ("Partition::last_with", Here(reads)),
    ("Partition::offset_for_timestamp", There),
    ("Partition::read", Here(reads)),
    ("Partition::read_backwards", There),
    ("Partition::read_backwards_with", Here(reads)),
    ("Partition::read_with", There),
    ("Partition::records", Here(reads)),
    ("Partition::records_with", Here(reads)),
    ("PartitionContext::new", Here(partitioners)),
    ("PartitionDir::open_read_only", Here(paths)),
    ("Producer::enqueue", Here(|| on_records(|p, r| p.enqueue(r)?.wait().map(drop)))),
    ("Producer::last_sequence", Here(producers_with_names)),
    ("Producer::send", Here(|| on_records(|p, r| p.send(r).map(drop)))),
    (
        "Producer::send_all",
        Here(|| on_records(|p, r| p.send_all([r.clone(), r]).map(drop).map_err(Error::from))),
    ),
    ("Producer::send_batch", Here(|| on_records(|p, r| p.send_batch(&[r.clone(), r]).map(drop)))),
    (
        "Producer::send_with",
        Here(|| on_records(|p, r| p.send_with(r, Durability::Interval(Duration::MAX)).map(drop))),
    ),
    ("Producer::try_enqueue", Here(|| on_records(|p, r| p.try_enqueue(r).map(drop).map_err(Error::from)))),
    ("ProducerBuilder::batch_size", There),
    ("ProducerBuilder::buffer_memory", There),
    ("ProducerBuilder::compression", Plain),
    ("ProducerBuilder::linger", There),
    ("ProducerBuilder::max_block", There),
    ("ProducerBuilder::named", Here(producers_with_names)),
    ("ProducerBuilder::partitioner", Plain),
    ("ProducerBuilder::transaction_buffer", Here(transactions)),
    ("ProducerBuilder::transaction_timeout", Here(transactions)),
    ("ProducerRecord::copy_of", Here(|| on_records(|p, r| p.send(r).map(drop)))),
    ("ProducerRecord::header", Here(|| on_records(|p, r| p.send(r).map(drop)))),
    ("ProducerRecord::key", Here(|| on_records(|p, r| p.send(r).map(drop)))),
    ("ProducerRecord::new", Here(|| on_records(|p, r| p.send(r).map(drop)))),
    ("ProducerRecord::null", Here(|| on_records(|p, r| p.send(r).map(drop)))),
    ("ProducerRecord::null_header", Here(|| on_records(|p, r| p.send(r).map(drop)))),
    ("ProducerRecord::partition", There),
    ("ProducerRecord::sequence", Here(producers_with_names)),
    ("ProducerRecord::timestamp", There),
    ("ProducerRecord::tombstone", Here(|| on_records(|p, r| p.send(r).map(drop)))),
    ("RecordData::header", Here(|| append(|text| RecordData::new("x").header(text, text)))),
    ("RecordData::key", Here(|| append(|text| RecordData::new("x").key(text)))),
    ("RecordData::new", Here(|| append(|text| RecordData::new(text)))),
    (
        "RecordData::null_header",
        Here(|| append(|text| RecordData::null().null_header(text).null_header(text))),
    ),
    ("RecordData::timestamp", Here(timestamps_of_records)),
    ("RecordData::tombstone", Here(|| append(|text| RecordData::tombstone(text)))),
    // Of batches below the API, which share the name.
    ("Records::each_checked", Plain),
    ("Records::slice_of", Plain),
    ("Streamlog::abort_transaction", Here(producers_of_places)),
    ("Streamlog::add_partitions", Here(|| on_texts(|log, text| tried(log.add_partitions(text, u32::MAX))))),
    ("Streamlog::alter_topic", Here(|| on_texts(|log, text| tried(log.alter_topic(text, &changes()[..50]))))),
    ("Streamlog::builder", Here(paths)),
    ("Streamlog::compact_now", Here(topics)),
    ("Streamlog::consumer", Here(groups)),
    ("Streamlog::consumer_builder", Here(groups)),
    ("Streamlog::create_topic", Here(topics)),
    ("Streamlog::delete_group", Here(groups)),
    ("Streamlog::delete_records", Here(deletes)),
    ("Streamlog::delete_topic", Here(topics)),
    ("Streamlog::describe_group", Here(groups)),
    ("Streamlog::describe_group_on", Here(groups)),
    ("Streamlog::describe_producers", Here(producers_of_places)),
    ("Streamlog::describe_transaction", Here(producers_with_names)),
    ("Streamlog::explain_retention", Here(topics)),
    ("Streamlog::fence", Here(producers_with_names)),
    ("Streamlog::forget_producer", Here(producers_with_names)),
    ("Streamlog::list_offsets", Here(lists)),
    ("Streamlog::maintain_for", Here(maintenance)),
    ("Streamlog::open", Here(paths)),
    ("Streamlog::open_read_only", Here(paths)),
    ("Streamlog::purge_key", Here(topics)),
    ("Streamlog::reset_group_offsets", Here(resets)),
    ("Streamlog::topic", Here(topics)),
    ("Streamlog::topic_or_create", Here(topics)),
    ("Timestamp::duration_since", Here(arithmetic)),
    ("Timestamp::from_millis", Here(arithmetic)),
    ("Timestamp::minus", Here(arithmetic)),
    ("Timestamp::plus", Here(arithmetic)),
    ("Streamlog::transaction", Plain),
    ("Topic::partition", There),
    ("TopicConfig::altered", Here(topic_configs)),
    ("TopicConfig::cleanup_policy", Plain),
    ("TopicConfig::compaction_versions", There),
    ("TopicConfig::compression", Plain),
    (
        "TopicConfig::compression_gzip_level",
        Here(|| altered(|n| TopicConfig::default().compression_gzip_level(n as i32))),
    ),
    (
        "TopicConfig::compression_lz4_level",
        Here(|| altered(|n| TopicConfig::default().compression_lz4_level(n as i32))),
    ),
    (
        "TopicConfig::compression_zstd_level",
        Here(|| altered(|n| TopicConfig::default().compression_zstd_level(n as i32))),
    ),
    ("TopicConfig::delete_retention", There),
    ("TopicConfig::durability", There),
    ("TopicConfig::flush_messages", There),
    ("TopicConfig::flush_time", There),
    ("TopicConfig::from_kafka_properties", There),
    ("TopicConfig::index_interval_bytes", There),
    ("TopicConfig::max_compaction_lag", There),
    ("TopicConfig::max_message_bytes", There),
    ("TopicConfig::message_timestamp_after_max", There),
    ("TopicConfig::message_timestamp_before_max", There),
    ("TopicConfig::message_timestamp_type", Plain),
    ("TopicConfig::min_cleanable_dirty_ratio", Here(ratios)),
    ("TopicConfig::min_compaction_lag", There),
    ("TopicConfig::partitions", There),
    ("TopicConfig::preallocate", Plain),
    ("TopicConfig::retention_bytes", There),
    ("TopicConfig::retention_hold_groups", Here(holds)),
    ("TopicConfig::retention_time", There),
    ("TopicConfig::segment_bytes", There),
    ("TopicConfig::segment_index_bytes", There),
    ("TopicConfig::segment_jitter", There),
    ("TopicConfig::segment_time", There),
    // The old name of `partitions`.
    ("TopicConfig::with_partitions", Plain),
    ("TopicId::from_bytes", Plain),
    ("TopicPartition::new", Here(|| drop(places()))),
    ("Transaction::expect_end", Here(transactions)),
    ("Transaction::send", Here(transactions)),
    ("Transaction::send_offsets", Plain),
    ("partition_for_key", Here(partitioners)),
];

fn stored_positions() {
    for place in places() {
        for number in NUMBERS {
            let text = format!("{place} AAECAwQFBgcICQoLDA0ODw 4294967295 {number}");
            let mut consumer = consumer();
            if let Ok(positions) = text.parse::<Positions>() {
                tried(consumer.seek_to_positions(&positions));
            }
        }
        if place.topic.len() > 1000 {
            break;
        }
    }
}

fn producers_with_names() {
    on_texts(|log, name| {
        log.topic_or_create("t", TopicConfig::default()).unwrap();
        tried(log.describe_transaction(name));
        if let Ok(producer) = log.producer_builder().named(name).build() {
            for number in NUMBERS {
                tried(producer.send(ProducerRecord::new("t", "x").sequence(number)));
            }
            for place in places() {
                tried(producer.last_sequence(&place));
            }
        }
        tried(log.fence(name));
        tried(log.forget_producer(name));
    });
}

fn producers_of_places() {
    let log = log();
    for place in places() {
        tried(log.describe_producers(&place));
        for number in NUMBERS {
            tried(log.abort_transaction(&place, number as i64));
        }
    }
}

fn transactions() {
    let log = log();
    for time in TIMES {
        tried(log.producer_builder().transaction_timeout(time).build());
    }
    for bytes in NUMBERS {
        let producer = log.producer_builder().transaction_buffer(bytes).build().unwrap();
        for place in places() {
            let mut transaction = producer.begin_transaction().unwrap();
            tried(transaction.expect_end(&place, bytes));
            tried(transaction.send(ProducerRecord::new(&*place.topic, "x").partition(place.partition)));
            tried(transaction.send(ProducerRecord::new("t", "x").key(&*place.topic)));
            tried(transaction.commit());
        }
    }
}

fn bytes_of_transactions() {
    for byte in [0, 0x7f, 0x80, 0xff] {
        for len in [0, 1, 33, 34, 35, 68, 1 << 20] {
            let bytes = vec![byte; len];
            let _ = (AbortedTransaction::decode(&bytes), AbortedTransaction::decode_all(&bytes));
        }
    }
}

fn parts_of_batches() {
    let batch = partition().read(0).next().unwrap().unwrap();
    let strange = vec![7; 1 << 20];
    assert_eq!(batch.slice_of(&strange), strange);
    assert!(batch.slice_of(&[]).is_empty());
}

fn commits() {
    for place in places().into_iter().chain([TopicPartition::new("t", 0)]) {
        for number in NUMBERS {
            for metadata in ["", "x", &"x".repeat(4097), &"x".repeat(1 << 20)] {
                let mut consumer = consumer();
                let offset = OffsetAndMetadata::new(number, metadata);
                tried(consumer.commit_offsets([(place.clone(), offset)]));
            }
            if place.topic.len() > 1000 {
                break;
            }
        }
    }
}

fn times_of_places() {
    on_places(|consumer, places| {
        for millis in MILLIS {
            let time = Timestamp::from_millis(millis);
            tried(consumer.offsets_for_times(places.iter().map(|place| (place.clone(), time))));
            tried(consumer.seek_to_timestamp(places, time));
        }
        consumer.seek_to_beginning(&[TopicPartition::new("t", 0)]).unwrap();
    });
}

fn seeks() {
    let mut consumer = consumer();
    for place in places() {
        tried(consumer.seek(&place, Offset::MAX));
    }
    for number in NUMBERS {
        tried(consumer.seek(&TopicPartition::new("t", 0), number));
        tried(consumer.poll(Duration::ZERO));
    }
}

fn records_of_places() {
    let records = consumer().poll(Duration::ZERO).unwrap();
    let all: usize = places().iter().map(|place| records.records(place).count()).sum();
    assert_eq!(all, 1, "those of the one place there is");
}

fn headers() {
    let partition = partition();
    for text in &texts() {
        tried(
            partition.append(&[RecordData::new("x").header(text.as_str(), text).null_header(text.as_str())]),
        );
        for batch in partition.read(0) {
            batch.unwrap().iter().for_each(|record| assert_eq!(record.headers.get(text), None));
        }
    }
}

fn partitioners() {
    for key in [&[][..], &[0], &vec![0xff; 1 << 20]] {
        for partitions in PARTITIONS {
            for (batch_size, seed) in NUMBERS.into_iter().zip(NUMBERS.into_iter().rev()) {
                let context = PartitionContext::new("t", Some(key), None, partitions);
                let chosen = DefaultPartitioner::new(batch_size, seed).partition(&context);
                assert!(chosen < partitions.max(1));
            }
            assert!(partition_for_key(key, partitions) < partitions.max(1));
        }
    }
}

fn resets() {
    let log = log();
    for place in places() {
        for to in [ResetTo::Offset(Offset::MAX), ResetTo::Timestamp(Timestamp::from_millis(i64::MIN))] {
            let reset = GroupReset::to(to).topic(place.topic.to_string()).partition(place.clone());
            tried(log.reset_group_offsets("g", &reset));
        }
        tried(
            log.reset_group_offsets(&place.topic, &GroupReset::to(ResetTo::Offset(Offset::ZERO)).topic("t")),
        );
    }
}

fn arithmetic() {
    for a in NUMBERS {
        let offset = Offset::new(a);
        for b in NUMBERS {
            let _ = (offset.checked_add(b), offset.saturating_add(b), offset.saturating_sub(b));
            let _ = (offset.checked_sub(Offset::new(b)), offset.distance_from(Offset::new(b)), offset + b);
            assert!(offset.saturating_add(b) <= Offset::MAX && offset.saturating_sub(b) <= offset);
        }
    }
    for a in MILLIS {
        let time = Timestamp::from_millis(a);
        assert!(!format!("{time} {time:?}").is_empty());
        for b in MILLIS {
            let _ = time.duration_since(Timestamp::from_millis(b));
        }
        for by in TIMES {
            let _ = (time.plus(by), time.minus(by));
        }
    }
}

fn reads() {
    for number in NUMBERS {
        for isolation in [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted] {
            let partition = partition();
            partition.read_with(number, isolation).for_each(tried);
            partition.records_with(number, isolation).for_each(tried);
            partition.read_backwards_with(number, isolation).for_each(tried);
            tried(partition.last_with(number as usize, isolation));
            partition.read(number).for_each(tried);
            partition.records(number).for_each(tried);
        }
    }
}

fn paths() {
    for text in texts().iter().filter(|text| !text.starts_with(['.', '/'])) {
        let root = quick_dir();
        let path = if text.is_empty() { Path::new("").to_path_buf() } else { root.path().join(text) };
        tried(PartitionDir::open_read_only(&path));
        tried(Streamlog::open_read_only(&path));
        tried(Streamlog::builder(&path).create(false).open());
        tried(Streamlog::open(&path).and_then(Streamlog::close));
    }
}

fn timestamps_of_records() {
    for millis in MILLIS {
        tried(partition().append(&[RecordData::new("x").timestamp(Timestamp::from_millis(millis))]));
    }
}

fn groups() {
    on_texts(|log, text| {
        tried(log.consumer(text).and_then(|mut consumer| {
            consumer.subscribe(["t"])?;
            consumer.poll(Duration::ZERO)?;
            consumer.commit_sync()
        }));
        tried(log.consumer_builder(text).build());
        tried(log.describe_group(text));
        tried(log.describe_group_on(text, texts()));
        tried(log.delete_group(text));
    });
}

fn topics() {
    on_texts(|log, text| {
        tried(log.topic(text));
        tried(log.explain_retention(text));
        tried(log.compact_now(text, Compact::new()));
        tried(log.purge_key(text, text));
        tried(log.purge_key("t", text));
        tried(log.topic_or_create(text, TopicConfig::default()));
        tried(log.create_topic(text, TopicConfig::default()));
        if text != "t" {
            tried(log.delete_topic(text));
        }
    });
}

fn deletes() {
    for place in places() {
        tried(log().delete_records(&place.topic, place.partition, Offset::MAX));
    }
    for number in NUMBERS {
        tried(log().delete_records("t", 0, number));
    }
}

fn lists() {
    let log = log();
    for place in places() {
        for millis in MILLIS {
            let spec = OffsetSpec::ForTimestamp(Timestamp::from_millis(millis));
            tried(log.list_offsets(&place.topic, place.partition, spec));
        }
    }
}

fn topic_configs() {
    for change in changes() {
        tried(TopicConfig::default().altered(&[change]));
    }
    for text in texts() {
        tried(TopicConfig::default().altered(&[ConfigChange::unset(text)]));
    }
    tried(TopicConfig::default().altered(&changes()));
}

fn holds() {
    for text in texts() {
        tried(
            log().create_topic(
                "u",
                TopicConfig::default().retention_hold_groups([text.clone(), text.clone()]),
            ),
        );
        tried(log().create_topic("u", TopicConfig::default().retention_hold_groups([text])));
    }
}

fn ratios() {
    for ratio in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE, f64::MAX, 1.0] {
        tried(log().create_topic("u", TopicConfig::default().min_cleanable_dirty_ratio(ratio)));
    }
}

#[test]
fn every_function_takes_the_strangest_of_arguments() {
    // Each function once, though it may stand for several.
    let mut seen = BTreeSet::new();
    let fresh = FUNCTIONS.iter().filter_map(|(name, how)| match how {
        Here(act) => seen.insert(*act as usize).then_some((*name, *act)),
        There | Plain => None,
    });
    let fresh: Vec<_> = fresh.collect();
    let failed_of = |part: &[(&'static str, fn())]| {
        let failed = part.iter().filter(|(_, act)| catch_unwind(AssertUnwindSafe(act)).is_err());
        failed.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let (one, other) = fresh.split_at(fresh.len() / 2);
    let failed = std::thread::scope(|scope| {
        let other = scope.spawn(|| failed_of(other));
        [failed_of(one), other.join().unwrap()].concat()
    });
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn every_function_that_takes_an_argument_is_among_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let of_the_api = names(&fs::read_to_string(src.join("lib.rs")).unwrap());
    let mut found = BTreeSet::new();
    sources(&src, &mut |text| functions(text, &of_the_api, &mut found));
    let listed: BTreeSet<String> = FUNCTIONS.iter().map(|(name, _)| name.to_string()).collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "public functions that no test hands extremes: {missing:#?}");
    let stale: Vec<_> = listed.difference(&found).collect();
    assert!(stale.is_empty(), "there are no such public functions: {stale:#?}");
    let there = include_str!("absurd_arguments.rs");
    for (name, how) in FUNCTIONS.iter().filter(|(_, how)| matches!(how, There)) {
        let method = name.rsplit("::").next().unwrap();
        let is_called =
            [format!(".{method}("), format!("::{method}(")].iter().any(|call| there.contains(call));
        assert!(is_called, "{name} is not called in absurd_arguments.rs, {}", matches!(how, There));
    }
}

/// The names that the library exports.
fn names(lib: &str) -> BTreeSet<String> {
    let exports = lib.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    exports
        .flat_map(|export| export.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|name| name.starts_with(char::is_uppercase) || *name == "partition_for_key")
        .map(str::to_string)
        .collect()
}

/// Hands on the text of every file with code of the library.
fn sources(dir: &Path, act: &mut dyn FnMut(&str)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        match path.is_dir() {
            // What lies below `env` is not exported, but for the simulated machine.
            true if !["tests", "fuzzing", "env"].contains(&name.as_str()) => sources(&path, act),
            false if name.ends_with(".rs") && !name.contains("tests") => {
                act(&fs::read_to_string(&path).unwrap());
            }
            _ => {}
        }
    }
}

/// The public functions of exported types that take an argument beside `self`.
fn functions(text: &str, of_the_api: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut of: Option<String> = None;
    let mut rest = code;
    while let Some((line, after)) = rest.split_once('\n') {
        if let Some(head) = line.strip_prefix("impl") {
            let head = match head.strip_prefix('<') {
                Some(generics) => generics.split_once('>').map_or("", |(_, head)| head),
                None => head,
            };
            let name = head.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next();
            of = name.filter(|_| !line.contains(" for ")).map(str::to_string);
        } else if line.starts_with('}') {
            of = None;
        }
        let declared = line.trim_start().strip_prefix("pub fn ");
        let declared = declared.or_else(|| line.trim_start().strip_prefix("pub const fn "));
        if let Some(declared) = declared {
            let name = declared.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let owner = of.as_deref().unwrap_or(name);
            let is_free = !line.starts_with(' ') && of.is_none();
            if of_the_api.contains(owner) && (of.is_some() || is_free) && takes_an_argument(rest) {
                found.insert(of.as_ref().map_or(name.to_string(), |of| format!("{of}::{name}")));
            }
        }
        rest = after;
    }
}

/// Whether the function whose declaration begins here has a parameter beside `self`.
fn takes_an_argument(declaration: &str) -> bool {
    let Some((_, parameters)) = declaration.split_once('(') else { return false };
    let mut depth = 1;
    let end = parameters.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    let parameters = parameters.get(..end.unwrap_or(0)).unwrap_or_default();
    parameters
        .split(',')
        .map(str::trim)
        .any(|parameter| !parameter.is_empty() && !parameter.ends_with("self"))
}
