//! `send`, `send_batch` and `send_all`.

use super::*;
use crate::topic::partitioner::partition_for_key;

#[test]
fn a_sent_record_is_visible_where_its_metadata_says() {
    let world = World::new();
    let topic = world.topic("t", 4);
    let producer = world.producer();
    for i in 0..20u64 {
        let (key, value) = (format!("k{i}"), format!("v{i}"));
        let time = Timestamp::from_millis(1000 + i as i64);
        let record =
            ProducerRecord::new("t", &value).key(&key).timestamp(time).header("h", "x").null_header("n");
        let sent = producer.send(record).unwrap();
        assert_eq!(sent.partition(), partition_for_key(key.as_bytes(), 4));
        assert_eq!((sent.topic(), sent.timestamp, sent.duplicate), ("t", time, false));
        let last = topic.partition(sent.partition()).unwrap().last(1).unwrap().remove(0);
        assert_eq!((last.offset, last.timestamp), (sent.offset, time));
        assert_eq!(last.key.as_deref(), Some(key.as_bytes()));
        assert_eq!(last.value.as_deref(), Some(value.as_bytes()));
        assert_eq!(last.headers, [("h".to_string(), Some("x".into())), ("n".to_string(), None)]);
    }
}

#[test]
fn a_tombstone_has_a_null_value() {
    let world = World::new();
    let topic = world.topic("t", 1);
    world.producer().send(ProducerRecord::tombstone(&topic, "k")).unwrap();
    let last = topic.partition(0).unwrap().last(1).unwrap().remove(0);
    assert_eq!((last.key.as_deref(), last.value), (Some(&b"k"[..]), None));
}

#[test]
fn what_was_enqueued_before_is_written_before() {
    for world in [World::new(), World::new()].into_iter().enumerate() {
        let (i, world) = world;
        let topic = if i == 0 { world.topic("t", 1) } else { world.written_topic("t", 1) };
        let producer = world.patient();
        let deliveries = ["a", "b"].map(|v| producer.enqueue(ProducerRecord::new("t", v)).unwrap());
        assert!(!deliveries[0].is_done());
        let sent = producer.send(ProducerRecord::new("t", "c")).unwrap();
        assert_eq!(sent.offset, 2);
        assert_eq!(values(&topic, 0), ["a", "b", "c"]);
        let offsets = deliveries.map(|d| d.try_result().unwrap().unwrap().offset.value());
        assert_eq!(offsets, [0, 1]);
    }
}

#[test]
fn a_batch_is_one_record_batch_per_partition() {
    let world = World::new();
    let topic = world.topic("t", 3);
    let producer = world.patient();
    let first = producer.enqueue(ProducerRecord::new("t", "first").partition(1)).unwrap();
    let values_in: Vec<String> = (0..9).map(|i| format!("v{i}")).collect();
    let records: Vec<_> =
        (0..9).map(|i| ProducerRecord::new(&topic, &values_in[i]).partition(i as u32 % 3)).collect();
    let sent = producer.send_batch(&records).unwrap();
    for (i, metadata) in sent.iter().enumerate() {
        let base = if i % 3 == 1 { 1 } else { 0 };
        assert_eq!((metadata.partition(), metadata.offset.value()), (i as u32 % 3, base + i as u64 / 3));
    }
    assert_eq!([0, 1, 2].map(|p| batch_sizes(&topic, p)), [vec![3], vec![1, 3], vec![3]]);
    assert_eq!(values(&topic, 1), ["first", "v1", "v4", "v7"]);
    assert_eq!(first.try_result().unwrap().unwrap().offset, 0);
    assert!(producer.send_batch(&[]).unwrap().is_empty());
}

#[test]
fn a_batch_that_is_refused_touches_no_partition() {
    let world = World::new();
    let config = TopicConfig::default().partitions(2).max_message_bytes(4000);
    let topic = world.catalog.create("t", config).unwrap();
    let producer = world.producer();
    let half = vec![b'x'; 2000];
    let ok = || ProducerRecord::new("t", "fine").partition(0);
    let big = || ProducerRecord::new("t", &half).partition(1);
    let cases = [
        (vec![ok(), big(), big()], ErrorKind::RecordTooLarge),
        (vec![ok(), ProducerRecord::new("u", "x")], ErrorKind::UnknownTopic),
        (vec![ok(), ProducerRecord::new("t", "x").partition(2)], ErrorKind::UnknownPartition),
        (vec![ok(), ok().timestamp(Timestamp::from_millis(-5))], ErrorKind::InvalidRecord),
    ];
    for (records, expected) in cases {
        assert_eq!(kind(producer.send_batch(&records)), expected);
    }
    assert_eq!([0, 1].map(|p| topic.partition(p).unwrap().log_end_offset()), [Offset::ZERO; 2]);
}

fn a_record_without_a_key_is_refused_where_keys_are_compacted() {
    let world = World::new();
    let topic = world.catalog.create("t", TopicConfig::default()).unwrap();
    let partition = topic.partition(0).unwrap();
    let mut config = crate::partition::state::log_config::LogConfig::clone(&partition.log().config());
    config.values.cleanup_policy = crate::config::CleanupPolicy::CompactDelete;
    partition.log().set_config(config);
    let producer = world.producer();
    let (keyed, keyless) = (|| ProducerRecord::new("t", "v").key("k"), || ProducerRecord::new("t", "v"));
    let named = (ErrorKind::InvalidRecord, Some(2));
    let many = [keyed(), keyed(), keyless(), keyed()];
    let data: Vec<_> = many.iter().map(|record| record.data.clone()).collect();
    assert_eq!(refused(partition.append(&data).unwrap_err()), named);
    assert_eq!(refused(producer.send_batch(&many).unwrap_err()), named);
    let first = (ErrorKind::InvalidRecord, Some(0));
    assert_eq!(refused(partition.append(&data[2..3]).unwrap_err()), first);
    assert_eq!(refused(producer.send(keyless()).unwrap_err()), first);
    assert_eq!(refused(producer.enqueue(keyless()).unwrap_err()), first, "the first of its batch");
    let waits = producer.enqueue(keyed()).unwrap();
    assert_eq!(refused(producer.enqueue(keyless()).unwrap_err()), first, "beside one that is accepted");
    producer.enqueue(ProducerRecord::tombstone("t", "k")).unwrap();
    producer.flush().unwrap();
    assert_eq!(waits.try_result().unwrap().unwrap().offset, 0);
    assert_eq!(partition.log_end_offset(), 2, "and nothing of what was refused");
    let stopped = producer.send_all(many).unwrap_err();
    assert_eq!((refused(stopped.error), stopped.acknowledged), (named, 2));
}

#[test]
fn records_of_a_compacted_topic_have_keys() {
    let claim = a_record_without_a_key_is_refused_where_keys_are_compacted;
    crate::planted::hold(claim, &["append_what_has_no_key", "enqueue_what_has_no_key"]);
}

/// What kind of error it is, and which record it names.
fn refused(error: Error) -> (ErrorKind, Option<usize>) {
    let index = match &error {
        Error::RecordTooLarge { index, .. } => *index,
        Error::InvalidRecord { index, .. } => Some(*index),
        _ => None,
    };
    let is_named = index.is_none_or(|index| error.to_string().contains(&format!(" {index}")));
    assert!(is_named, "{error}");
    (error.kind(), index)
}

#[test]
fn a_record_that_is_refused_among_others_is_named() {
    let world = World::new();
    let config = TopicConfig::default().partitions(2).max_message_bytes(4000);
    let topic = world.catalog.create("t", config).unwrap();
    let producer = world.producer();
    let (half, large) = (vec![b'x'; 2500], vec![b'x'; 5000]);
    let of = |value: &[u8], time: i64| {
        let value = value.to_vec();
        ProducerRecord::new("t", value).partition(1).timestamp(Timestamp::from_millis(time))
    };
    let ok = || ProducerRecord::new("t", "fine").partition(0);
    let cases = [
        (vec![ok(), of(b"x", 0), of(&large, 0), of(&large, 0)], (ErrorKind::RecordTooLarge, Some(2))),
        (vec![ok(), of(&large, 0)], (ErrorKind::RecordTooLarge, Some(1))),
        (vec![of(&large, 0)], (ErrorKind::RecordTooLarge, None)),
        (vec![ok(), ok(), of(b"x", -5)], (ErrorKind::InvalidRecord, Some(2))),
        (vec![of(b"x", -5)], (ErrorKind::InvalidTimestamp, None)),
    ];
    for (records, expected) in cases {
        assert_eq!(refused(producer.send_batch(&records).unwrap_err()), expected);
        let partition = topic.partition(1).unwrap();
        let data: Vec<_> = records.iter().map(|record| record.data.clone()).collect();
        assert_eq!(refused(partition.append(&data).unwrap_err()), expected);
        let stopped = producer.send_all(records.clone()).unwrap_err();
        let (kind, index) = refused(stopped.error);
        assert!([expected.0, ErrorKind::InvalidRecord].contains(&kind));
        assert_eq!(index, Some(stopped.acknowledged as usize));
        assert_eq!(index, expected.1.or(Some(0)));
    }
    // None of them alone.
    let both = [of(&half, 0), of(&half, 0)];
    assert_eq!(refused(producer.send_batch(&both).unwrap_err()), (ErrorKind::RecordTooLarge, None));
    assert_eq!(producer.send_all(both).unwrap(), 2);
}

#[test]
fn a_partition_that_refuses_keeps_the_batch_from_the_others() {
    let world = World::new();
    let topic = world.topic("t", 2);
    let producer = world.producer();
    let both = [0, 1].map(|p| ProducerRecord::new("t", "x").partition(p));
    producer.send_batch(&both).unwrap();
    topic.log(1).unwrap().mark_deleted();
    assert_eq!(kind(producer.send_batch(&both)), ErrorKind::Closed);
    assert_eq!(topic.partition(0).unwrap().log_end_offset(), 1);
}

#[test]
fn any_number_is_sent_in_batches_that_fit() {
    let world = World::new();
    let config = TopicConfig::default().partitions(2).max_message_bytes(10_000);
    let topic = world.catalog.create("t", config).unwrap();
    let producer = world.producer();
    let value = vec![b'v'; 1000];
    let large = vec![b'l'; 9_900];
    let records = (0..3000u32).map(|i| {
        let value = if i == 1500 { &large } else { &value };
        ProducerRecord::new("t", value).partition(i % 2)
    });
    assert_eq!(producer.send_all(records).unwrap(), 3000);
    assert_eq!([0, 1].map(|p| topic.partition(p).unwrap().high_watermark().value()), [1500, 1500]);
    assert_eq!(values(&topic, 0)[750].len(), 9_900);
    assert_eq!(producer.send_all([]).unwrap(), 0);
}

#[test]
fn sending_many_reports_where_it_stopped() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let large = vec![0u8; 2 << 20];
    let value = [0u8; 1000];
    let records = (0..5000).map(|i| match i {
        4000 => ProducerRecord::new("t", &large),
        _ => ProducerRecord::new("t", &value),
    });
    let stopped = world.producer().send_all(records).unwrap_err();
    assert_eq!((stopped.acknowledged, stopped.error.kind()), (4000, ErrorKind::RecordTooLarge));
    assert_eq!(topic.partition(0).unwrap().high_watermark(), 4000);
}

#[test]
fn metadata_has_the_append_time_of_a_topic_that_sets_it() {
    let world = World::new();
    let config = TopicConfig::default().message_timestamp_type(crate::types::TimestampType::LogAppendTime);
    world.catalog.create("t", config.partitions(1)).unwrap();
    let before = world.env.now();
    let record = ProducerRecord::new("t", "x").timestamp(Timestamp::from_millis(5));
    assert!(world.producer().send(record).unwrap().timestamp >= before);
}

#[test]
fn records_that_no_topic_takes_are_refused_immediately() {
    let world = World::new();
    let topic = world.topic("t", 2);
    world.catalog.internal("__consumer_offsets", TopicConfig::default()).unwrap();
    let other = World::new();
    let foreign = other.topic("t", 2);
    let producer = world.producer();
    let large = vec![0u8; 2 << 20];
    let cases = [
        (ProducerRecord::new("missing", "x"), ErrorKind::UnknownTopic),
        (ProducerRecord::new("__consumer_offsets", "x"), ErrorKind::InvalidTopic),
        (ProducerRecord::new(&foreign, "x"), ErrorKind::InvalidArgument),
        (ProducerRecord::new("t", "x").partition(2), ErrorKind::UnknownPartition),
        (ProducerRecord::new("t", &large).partition(0), ErrorKind::RecordTooLarge),
        (
            ProducerRecord::new("t", "x").partition(0).timestamp(Timestamp::from_millis(-2)),
            ErrorKind::InvalidTimestamp,
        ),
    ];
    for (record, expected) in cases {
        assert_eq!(kind(producer.send(record.clone())), expected);
        assert_eq!(kind(producer.enqueue(record)), expected);
    }
    producer.flush().unwrap();
    assert_eq!([0, 1].map(|p| topic.partition(p).unwrap().log_end_offset()), [Offset::ZERO; 2]);
    assert_eq!(producer.inner.context.memory.used(), 0);
}

#[test]
fn new_partitions_are_used_from_the_next_record_on() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let producer = world.producer();
    assert_eq!(producer.send(ProducerRecord::new("t", "x").key("foobar")).unwrap().partition(), 0);
    let _ = world.catalog.add_partitions("t", 50).unwrap();
    let expected = partition_for_key(b"foobar", 50);
    assert_eq!(producer.send(ProducerRecord::new(&topic, "x").key("foobar")).unwrap().partition(), expected);
    assert_eq!(producer.send(ProducerRecord::new("t", "x").partition(49)).unwrap().partition(), 49);
}

#[test]
fn a_name_that_returns_means_the_new_topic_and_a_handle_the_old() {
    let world = World::new();
    let old = world.topic("t", 1);
    let producer = world.producer();
    producer.send(ProducerRecord::new("t", "old")).unwrap();
    world.catalog.delete("t").unwrap();
    assert_eq!(kind(producer.send(ProducerRecord::new("t", "x"))), ErrorKind::UnknownTopic);
    let new = world.topic("t", 1);
    assert_eq!(producer.send(ProducerRecord::new("t", "new")).unwrap().offset, 0);
    assert_eq!(kind(producer.send(ProducerRecord::new(&old, "x"))), ErrorKind::Closed);
    assert_eq!(values(&new, 0), ["new"]);
}

#[test]
fn a_producer_may_ask_for_more_than_its_topic() {
    let world = World::new();
    let topic = world.written_topic("t", 1);
    let producer = world.producer();
    producer.send(ProducerRecord::new("t", "x")).unwrap();
    assert!(topic.log(0).unwrap().is_dirty());
    producer.send_with(ProducerRecord::new("t", "x"), Durability::Flushed).unwrap();
    assert!(!topic.log(0).unwrap().is_dirty());
}

#[test]
fn a_record_may_have_neither_a_key_nor_a_value() {
    let log = crate::Streamlog::in_memory().unwrap();
    let topic = log.create_topic("t", crate::TopicConfig::default().partitions(2)).unwrap();
    let producer = log.producer().unwrap();
    let sent = producer.send(crate::ProducerRecord::null("t").header("beat", "17").partition(1)).unwrap();
    producer.enqueue(crate::ProducerRecord::null("t").partition(1)).unwrap().wait().unwrap();
    producer.send_batch(&[crate::ProducerRecord::null("t").partition(1)]).unwrap();
    assert_eq!((sent.partition(), sent.offset.value()), (1, 0));
    let found: Vec<_> = topic.partition(1).unwrap().records(0).map(Result::unwrap).collect();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|record| record.key.is_none() && record.value.is_none()));
    assert_eq!(found[0].headers, [("beat".to_string(), Some("17".into()))]);
}

#[test]
fn a_closure_can_make_records_of_its_own() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let producer = world.producer();
    let made = || (0..3).map(|i| ProducerRecord::new("t", format!("{i}")).key(vec![i]));
    producer.send(ProducerRecord::new("t", format!("n {}", 1)).header(format!("h{}", 1), vec![7])).unwrap();
    assert_eq!(producer.send_all(made()).unwrap(), 3);
    producer.send_batch(&made().collect::<Vec<_>>()).unwrap();
    made().for_each(|record| drop(producer.enqueue(record).unwrap()));
    producer.flush().unwrap();
    assert_eq!(values(&topic, 0), ["n 1", "0", "1", "2", "0", "1", "2", "0", "1", "2"]);
    let first = topic.partition(0).unwrap().read(0).next().unwrap().unwrap();
    let header = first.iter().next().unwrap().headers.next();
    assert_eq!(header, Some(("h1", Some(&[7][..]))));
}
