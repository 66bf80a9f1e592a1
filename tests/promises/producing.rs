//! Producers: order, batches, deliveries, what is tried again and what comes back; and which partition a record goes to.

use crate::{Promise, promises, world::*};
use streamlog::{
    Delivery, Durability, ErrorKind, Producer, ProducerRecord, RecordData, Timestamp, TopicConfig,
    clients::{PartitionContext, Partitioner, ProducerBuilder, RoundRobin, partition_for_key},
    config::{Compression, TimestampType},
    records::OwnedRecord,
    sim::{Fault, FaultKind, Operation},
};

promises! {
    what_was_enqueued_before_lies_before: "src/producer/mod.rs",
        "Records enqueued before for its partition are written before it" => [a_send_overtakes_what_was_enqueued];
    a_flush_that_succeeds_has_acknowledged_all: "src/producer/mod.rs",
        "Ok says that every record accepted since the last flush is acknowledged" => [a_flush_leaves_the_open_batch];
    a_flush_says_what_others_said_before: "src/producer/mod.rs", "also where another call reported that already"
        => [a_reported_failure_is_forgotten];
    the_order_stays_when_it_is_tried_again: "src/producer/mod.rs",
        "its batch stays where it is and is tried again until max_block is over, and later records of that partition wait"
        => [what_is_tried_again_comes_last];
    what_is_tried_again_is_there_once: "src/manual/how_to.rs",
        "records wait in order and are tried again for max_block"
        => [a_batch_that_is_not_flushed_is_written_again];
    a_delivery_says_where_its_record_went: "src/producer/delivery.rs",
        "Waits until the record is acknowledged, and says where it went" => [a_delivery_is_its_batch];
    metadata_has_the_timestamp_that_readers_see: "src/producer/record.rs", "Its timestamp as readers see it"
        => [the_append_time_is_not_returned];
    what_is_enqueued_leaves_by_itself: "src/producer/mod.rs",
        "visible within the linger time plus one flush, without another call" => [what_is_enqueued_wakes_nobody];
    a_thread_that_waits_for_a_delivery_is_woken: "src/producer/mod.rs", "immediately, with a Delivery" => [what_is_settled_wakes_nobody];
    what_failed_comes_back_in_its_order: "src/producer/mod.rs",
        "The records that were accepted and failed for good, each partition's in its order"
        => [the_last_failure_comes_back_first];
    an_undelivered_record_goes_to_its_own_partition_again: "src/producer/undelivered.rs",
        "to the same partition, with the same timestamp" => [what_came_back_goes_anywhere];
    a_copy_is_the_record: "src/producer/record.rs",
        "A record with the key, value, headers and timestamp of another one" => [a_copy_is_made_now];
    a_part_is_one_batch: "src/producer/send_batch.rs", "The part of each partition is one record batch"
        => [a_part_is_several_batches];
    a_part_that_is_refused_leaves_all_untouched: "src/producer/send_batch.rs",
        "A record or part that is refused leaves every partition untouched" => [a_part_is_refused_while_it_is_written];
    a_refused_record_is_not_counted: "src/producer/send_batch.rs", "How many records were acknowledged, counted from the first"
        => [a_refused_record_is_acknowledged];
    a_buffer_has_an_end: "src/producer/builder.rs", "How many bytes of enqueued records may wait to be acknowledged"
        => [a_buffer_is_never_full];
    a_call_that_finds_the_buffer_full_waits: "src/producer/mod.rs", "With the buffer full, the call waits for room"
        => [a_full_buffer_does_not_wait by QueueFull];
    a_batch_has_its_size: "src/producer/builder.rs", "How large a batch of enqueued records becomes"
        => [a_batch_takes_what_comes];
    a_producer_has_its_codec: "src/producer/builder.rs",
        "How batches are compressed in topics that leave it to the producer" => [a_producers_codec_is_forgotten];
    a_closed_producer_is_closed: "src/producer/mod.rs", "Their later calls get Closed" => [a_closed_producer_takes_more];
    all_that_failed_comes_back_once: "src/producer/mod.rs", "take_undelivered hands the records back"
        => [the_last_one_is_not_given_back];
    a_partition_that_is_not_there_is_an_error: "src/topic/partitioner/mod.rs",
        "An answer that is not below context.partitions fails the record with an error" => [a_wrong_choice_is_bent];
    a_name_means_the_topic_of_today: "src/streamlog/admin.rs", "A topic created again under its name is another one"
        => [a_deleted_topic_is_still_at_hand by Closed];
    a_handle_means_its_own_topic: "src/producer/record.rs",
        "once that topic is deleted the record is refused, even when another topic has its name" => [a_handle_is_a_name];
    a_partition_that_is_named_is_taken: "src/producer/record.rs",
        "Sets the partition; the partitioner is not asked then" => [a_key_beats_the_partition_that_is_named];
    dropping_a_producer_waits: "src/producer/mod.rs", "Dropping the last clone waits up to five seconds"
        => [a_dropped_producer_drops_its_records];
    keys_go_where_kafka_sends_them: "src/manual/coming_from_kafka.rs", "is murmur2 as in the Java client"
        => [a_negative_hash_is_turned, an_empty_key_is_none];
    records_without_a_key_stay_together: "src/manual/coming_from_kafka.rs",
        "Records without a key go to one partition until it has received a batch's worth of bytes"
        => [a_key_moves_those_without, a_sticky_partition_is_kept_forever];
    a_round_begins_at_the_first_partition: "src/topic/partitioner/mod.rs", "per topic, from partition 0"
        => [a_round_begins_at_one];
    headers_are_kept_as_they_are: "src/producer/record.rs", "Names may repeat; their order is kept"
        => [a_header_replaces_its_namesake, a_null_header_is_empty];
    null_is_not_empty: "src/consumer/records.rs", "The value; None in a tombstone" => [a_null_value_is_empty];
}

pub const ELSEWHERE: &[Promise] = &[
    Promise {
        test: "records_of_a_compacted_topic_have_keys@src/producer/tests/sending.rs",
        file: "src/producer/mod.rs",
        says: "InvalidRecord for a null key where the topic's policy compacts",
        mistakes: &["append_what_has_no_key", "enqueue_what_has_no_key"],
    },
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/producer/record.rs",
        says: "It exists only for records that were acknowledged",
        mistakes: &["enqueued_is_acknowledged_unflushed"],
    },
    Promise {
        test: "nothing_acknowledged_is_lost_and_nothing_is_invented@tests/crash_campaign/main.rs",
        file: "src/producer/mod.rs",
        says: "An accepted record is not dropped over a failure that can pass",
        mistakes: &["a_full_disk_is_final"],
    },
    Promise {
        test: "what_a_thread_enqueued_lies_before_what_it_sends_whichever_thread_writes_it@src/streamlog/tests/interleavings.rs",
        file: "src/producer/mod.rs",
        says: "the records that one thread gives to one partition are in the log in that order",
        mistakes: &["a_batch_on_its_way_is_forgotten"],
    },
    Promise {
        test: "a_thread_that_waits_for_room_in_the_buffer_is_woken@src/streamlog/tests/interleavings.rs",
        file: "src/manual/configuration.rs",
        says: "how long enqueue waits for room",
        mistakes: &["what_is_freed_wakes_nobody"],
    },
];

fn slow(builder: ProducerBuilder) -> ProducerBuilder {
    builder.linger(secs(1000))
}

impl World {
    /// A producer whose records wait for somebody to hurry them.
    fn slow(&self) -> Producer {
        slow(self.log.producer_builder()).build().unwrap()
    }

    fn records(&self, partition: u32) -> Vec<OwnedRecord> {
        let partition = self.log.topic("t").unwrap().partition(partition).unwrap();
        partition.records(0).map(|record| record.unwrap()).collect()
    }

    fn values(&self, partition: u32) -> Vec<String> {
        self.records(partition).iter().map(|record| record.value_text().into_owned()).collect()
    }
}

fn enqueue(producer: &Producer, value: &str) -> Delivery {
    producer.enqueue(ProducerRecord::new("t", value).partition(0)).unwrap()
}

fn what_was_enqueued_before_lies_before() {
    let world = World::new(1);
    let producer = world.slow();
    enqueue(&producer, "a");
    producer.send(ProducerRecord::new("t", "b")).unwrap();
    producer.flush().unwrap();
    assert_eq!(world.values(0), ["a", "b"]);
}

fn a_flush_that_succeeds_has_acknowledged_all() {
    let world = World::new(1);
    let producer = world.slow();
    let deliveries = ["a", "b"].map(|value| enqueue(&producer, value));
    producer.flush().unwrap();
    assert_eq!(world.values(0), ["a", "b"]);
    assert!(deliveries.iter().all(Delivery::is_done));
}

/// Records of which the first fails for good.
fn failed(world: &World, values: &[&str]) -> Producer {
    let producer = slow(world.log.producer_builder().max_block(NOW)).build().unwrap();
    world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log"));
    for value in values {
        let failed = enqueue(&producer, value).wait();
        assert_eq!(failed.is_err(), *value == values[0]);
        if failed.is_err() {
            assert_eq!(
                producer.enqueue(ProducerRecord::new("t", "told")).unwrap_err().kind(),
                ErrorKind::Undelivered
            );
        }
    }
    producer
}

fn a_flush_says_what_others_said_before() {
    let world = World::new(1);
    let producer = failed(&world, &["a", "b"]);
    assert_eq!(producer.flush().unwrap_err().kind(), ErrorKind::Undelivered);
    producer.flush().unwrap();
}

fn the_order_stays_when_it_is_tried_again() {
    let world = World::new(1);
    let producer = slow(world.log.producer_builder().batch_size(512)).build().unwrap();
    // Found by the first batch, and again once others wait behind it.
    (0..2).for_each(|_| world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log")));
    let large = "x".repeat(300);
    let values: Vec<String> = (0..4).map(|i| format!("{i}{large}")).collect();
    // Each fills a batch.
    let deliveries: Vec<_> = values.iter().map(|value| enqueue(&producer, value)).collect();
    producer.flush().unwrap();
    assert_eq!(world.values(0), values);
    assert!(deliveries.iter().all(|delivery| delivery.wait().is_ok()));
}

fn what_is_tried_again_is_there_once() {
    // Here the flush is announced after the batch was written.
    let world = World::with(TopicConfig::default().durability(Durability::Written).flush_messages(1));
    world.send("first");
    let producer = world.slow();
    enqueue(&producer, "a");
    (0..2)
        .for_each(|_| world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path("/marks")));
    producer.flush().unwrap();
    assert_eq!(world.env.struck(), 2);
    assert_eq!(world.values(0), ["first", "a"]);
}

fn a_delivery_says_where_its_record_went() {
    let world = World::new(1);
    let producer = world.slow();
    let deliveries = ["a", "b", "c"].map(|value| enqueue(&producer, value));
    producer.flush().unwrap();
    let offsets = deliveries.map(|delivery| delivery.wait().unwrap().offset.value());
    assert_eq!(offsets, [0, 1, 2]);
    let many = ["d", "e"].map(|value| ProducerRecord::new("t", value));
    let placed = producer.send_batch(&many).unwrap();
    assert_eq!(placed.iter().map(|placed| placed.offset.value()).collect::<Vec<_>>(), [3, 4]);
}

fn metadata_has_the_timestamp_that_readers_see() {
    let world = World::with(TopicConfig::default().message_timestamp_type(TimestampType::LogAppendTime));
    let record = ProducerRecord::new("t", "a").timestamp(Timestamp::from_millis(1));
    let told = world.log.producer().unwrap().send(record).unwrap().timestamp;
    assert_eq!(told, world.records(0)[0].timestamp);
}

fn what_is_enqueued_leaves_by_itself() {
    let world = World::with_tasks();
    // The task sleeps before there is anything.
    world.env.pump(100);
    let producer = world.log.producer_builder().linger(secs(1)).build().unwrap();
    enqueue(&producer, "a");
    let begun = world.env.operations();
    world.env.advance(secs(2));
    world.env.pump(100);
    assert!(world.env.operations() > begun);
    assert_eq!(world.values(0), ["a"]);
}

fn a_thread_that_waits_for_a_delivery_is_woken() {
    let world = World::with_tasks();
    let producer = world.log.producer_builder().linger(secs(1)).build().unwrap();
    assert_eq!(enqueue(&producer, "a").wait().unwrap().offset, 0);
}

fn what_failed_comes_back_in_its_order() {
    let world = World::new(1);
    let producer = slow(world.log.producer_builder().max_block(NOW).batch_size(512)).build().unwrap();
    world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log").forever());
    let mut values: Vec<String> = Vec::new();
    for i in 0..3 {
        let value = format!("{i}{}", "x".repeat(300));
        while producer.enqueue(ProducerRecord::new("t", &value)).is_err() {}
        values.push(value);
    }
    producer.flush().unwrap_err();
    let back = producer.take_undelivered();
    let back: Vec<_> = back.iter().map(|record| record.to_record()).collect();
    world.env.clear_faults();
    producer.send_all(back).unwrap();
    assert_eq!(world.values(0), values);
}

fn an_undelivered_record_goes_to_its_own_partition_again() {
    let world = World::new(20);
    let producer = slow(world.log.producer_builder().max_block(NOW)).build().unwrap();
    world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log").forever());
    for partition in 0..20 {
        producer.enqueue(ProducerRecord::new("t", "a").key("k").partition(partition)).unwrap();
    }
    producer.flush().unwrap_err();
    world.env.clear_faults();
    for record in producer.take_undelivered() {
        let placed = producer.send(record.to_record()).unwrap();
        assert_eq!((placed.topic_partition(), placed.timestamp), (&record.topic_partition, record.timestamp));
    }
    assert!((0..20).all(|partition| world.values(partition) == ["a"]));
}

fn a_copy_is_the_record() {
    let world = World::new(2);
    world.log.create_topic("dead", TopicConfig::default()).unwrap();
    let then = Timestamp::from_millis(7);
    let strange = [
        RecordData::tombstone("k").header("h", "1").null_header("h").timestamp(then),
        RecordData::null().timestamp(then),
        RecordData::new("").key("").timestamp(Timestamp::NONE),
    ];
    world.log.topic("t").unwrap().partition(1).unwrap().append(&strange).unwrap();
    let producer = world.log.producer().unwrap();
    let records = world.consumer().poll(NOW).unwrap();
    let content = |records: Vec<OwnedRecord>| -> Vec<_> {
        records.into_iter().map(|r| (r.key, r.value, r.headers, r.timestamp)).collect()
    };
    for record in &records {
        producer.send(ProducerRecord::copy_of("dead", record)).unwrap();
    }
    let dead = world.log.topic("dead").unwrap().partition(0).unwrap();
    let source = content(world.log.topic("t").unwrap().partition(1).unwrap().last(9).unwrap());
    assert_eq!(content(dead.last(9).unwrap()), source);
    for record in records {
        producer.send(ProducerRecord::copy_of("dead", &record)).unwrap();
    }
    assert_eq!(content(dead.last(3).unwrap()), source);
}

fn a_part_is_one_batch() {
    let world = World::new(2);
    let records: Vec<_> = (0..6).map(|i| ProducerRecord::new("t", "x").partition(i % 2)).collect();
    world.log.producer().unwrap().send_batch(&records).unwrap();
    for partition in world.log.topic("t").unwrap().partitions() {
        assert_eq!(partition.read(0).count(), 1);
    }
}

fn a_part_that_is_refused_leaves_all_untouched() {
    let world = World::with(TopicConfig::default().partitions(2).max_message_bytes(600));
    let large = "x".repeat(400);
    let records = [(0, "a"), (1, &large), (1, &large)];
    let records = records.map(|(partition, value)| ProducerRecord::new("t", value).partition(partition));
    let refused = world.log.producer().unwrap().send_batch(&records).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RecordTooLarge);
    assert!(
        world.log.topic("t").unwrap().partitions().iter().all(|partition| partition.log_end_offset() == 0)
    );
}

fn a_refused_record_is_not_counted() {
    let world = World::with(TopicConfig::default().max_message_bytes(600));
    let large = "x".repeat(700);
    let records = ["a", "b", &large, "c"].map(|value| ProducerRecord::new("t", value));
    let stopped = world.log.producer().unwrap().send_all(records).unwrap_err();
    assert_eq!(stopped.acknowledged, 2);
    assert_eq!(world.values(0), ["a", "b"]);
}

fn a_buffer_has_an_end() {
    let world = World::new(1);
    let builder = slow(world.log.producer_builder());
    let producer = builder.batch_size(512).buffer_memory(2048).build().unwrap();
    // With a full disk nothing leaves.
    world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log").forever());
    let value = "x".repeat(300);
    let full = (0..100).find_map(|_| producer.try_enqueue(ProducerRecord::new("t", &value)).err());
    assert_eq!(full.unwrap().error().kind(), ErrorKind::QueueFull);
    world.env.clear_faults();
}

fn a_name_means_the_topic_of_today() {
    let world = World::new(1);
    let producer = world.log.producer().unwrap();
    producer.send(ProducerRecord::new("t", "old")).unwrap();
    world.log.delete_topic("t").unwrap();
    world.log.create_topic("t", TopicConfig::default()).unwrap();
    producer.send(ProducerRecord::new("t", "new")).unwrap();
    assert_eq!(world.values(0), ["new"]);
}

fn a_handle_means_its_own_topic() {
    let world = World::new(1);
    let producer = world.log.producer().unwrap();
    let old = world.log.topic("t").unwrap();
    world.log.delete_topic("t").unwrap();
    world.log.create_topic("t", TopicConfig::default()).unwrap();
    producer.send(ProducerRecord::new("t", "new")).unwrap();
    assert_eq!(producer.send(ProducerRecord::new(&old, "lost")).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(world.values(0), ["new"]);
}

fn a_partition_that_is_named_is_taken() {
    let world = World::new(10);
    let producer = world.log.producer().unwrap();
    for partition in 0..10 {
        let record = ProducerRecord::new("t", "x").key("always the same").partition(partition);
        assert_eq!(producer.send(record).unwrap().partition(), partition);
    }
}

fn dropping_a_producer_waits() {
    let world = World::with_tasks();
    let producer = world.slow();
    enqueue(&producer, "a");
    drop(producer);
    assert_eq!(world.values(0), ["a"]);
}

fn keys_go_where_kafka_sends_them() {
    let world = World::new(10);
    let producer = world.log.producer().unwrap();
    // Of these, Kafka's tests know the hashes: negative ones among them.
    for (key, partition) in [("21", 0), ("foobar", 6), ("", 1), ("a", 4), ("abc", 7), ("key", 1)] {
        let placed = producer.send(ProducerRecord::new("t", "x").key(key)).unwrap();
        assert_eq!(placed.partition(), partition, "key {key:?}");
    }
}

fn records_without_a_key_stay_together() {
    let world = World::new(100);
    let producer = world.log.producer_builder().batch_size(10_000).build().unwrap();
    let place = |producer: &Producer, size: usize| {
        let value = "x".repeat(size);
        producer.send(ProducerRecord::new("t", &value)).unwrap().partition()
    };
    let first = place(&producer, 1);
    let here =
        (0..).map(|i| i.to_string()).find(|key| partition_for_key(key.as_bytes(), 100) == first).unwrap();
    for _ in 0..20 {
        let value = "x".repeat(1000);
        producer.send(ProducerRecord::new("t", &value).key(&here)).unwrap();
        assert_eq!(place(&producer, 1), first, "records with a key have no part in it");
    }
    // With a batch's worth each time, one of many draws goes elsewhere.
    assert!((0..20).any(|_| place(&producer, 10_000) != first));
}

fn a_round_begins_at_the_first_partition() {
    let world = World::new(3);
    let producer = world.log.producer_builder().partitioner(RoundRobin::new()).build().unwrap();
    let partitions =
        (0..5).map(|_| producer.send(ProducerRecord::new("t", "x").key("k")).unwrap().partition());
    assert_eq!(partitions.collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
}

fn headers_are_kept_as_they_are() {
    let world = World::new(1);
    let record =
        ProducerRecord::new("t", "x").header("h", "1").header("g", "").header("h", "2").null_header("g");
    world.log.producer().unwrap().send(record).unwrap();
    let record = &world.records(0)[0];
    let headers: Vec<_> = record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
    let expected: [(&str, Option<&[u8]>); 4] =
        [("h", Some(b"1")), ("g", Some(b"")), ("h", Some(b"2")), ("g", None)];
    assert_eq!(headers, expected);
}

fn null_is_not_empty() {
    let world = World::new(1);
    let producer = world.log.producer().unwrap();
    producer.send(ProducerRecord::tombstone("t", "k")).unwrap();
    producer.send(ProducerRecord::new("t", "").key("")).unwrap();
    producer.enqueue(ProducerRecord::null("t")).unwrap();
    producer.flush().unwrap();
    world.partition().append(&[RecordData::null()]).unwrap();
    let records = world.records(0);
    let parts = records.iter().map(|record| [record.key.as_deref(), record.value.as_deref()]);
    let expected = [[Some(&b"k"[..]), None], [Some(b""), Some(b"")], [None, None], [None, None]];
    assert_eq!(parts.collect::<Vec<_>>(), expected);
}

fn a_call_that_finds_the_buffer_full_waits() {
    let world = World::new(1);
    let producer = slow(world.log.producer_builder()).batch_size(512).buffer_memory(1024).build().unwrap();
    // There is space again after a while.
    (0..6).for_each(|_| world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log")));
    let values: Vec<String> = (0..6).map(|i| format!("{i}{}", "x".repeat(300))).collect();
    values.iter().for_each(|value| drop(enqueue(&producer, value)));
    producer.flush().unwrap();
    assert_eq!(world.env.struck(), 6);
    assert_eq!(world.values(0), values);
}

fn a_batch_has_its_size() {
    let world = World::new(1);
    let producer = slow(world.log.producer_builder()).batch_size(1000).build().unwrap();
    let (small, large) = ("x".repeat(280), "y".repeat(5000));
    for value in [&small, &small, &small, &small, &large, &small] {
        enqueue(&producer, value);
    }
    producer.flush().unwrap();
    let counts: Vec<_> = world.partition().read(0).map(|batch| batch.unwrap().iter().count()).collect();
    assert_eq!(counts, [3, 1, 1, 1]);
}

fn a_producer_has_its_codec() {
    let world = World::new(1);
    let producer = slow(world.log.producer_builder()).compression(Compression::Gzip).build().unwrap();
    enqueue(&producer, &"x".repeat(1000));
    producer.flush().unwrap();
    producer.send(ProducerRecord::new("t", "x".repeat(1000))).unwrap();
    for batch in world.partition().read(0) {
        assert_eq!(batch.unwrap().compression(), Compression::Gzip);
    }
}

fn a_closed_producer_is_closed() {
    let world = World::new(1);
    let producer = world.slow();
    let clone = producer.clone();
    enqueue(&producer, "a");
    producer.close().unwrap();
    assert_eq!(world.values(0), ["a"]);
    let record = || ProducerRecord::new("t", "b");
    for refused in [clone.send(record()).map(drop), clone.enqueue(record()).map(drop), clone.flush()] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    }
    producer.close().unwrap();
    assert_eq!(world.values(0), ["a"]);
}

fn all_that_failed_comes_back_once() {
    let world = World::new(3);
    let producer = slow(world.log.producer_builder().max_block(NOW)).build().unwrap();
    world.env.inject(Fault::new(FaultKind::DiskFull).on(Operation::Write).path(".log").forever());
    for i in 0..6 {
        producer.enqueue(ProducerRecord::new("t", "x").partition(i % 3)).unwrap();
    }
    producer.flush().unwrap_err();
    assert_eq!(producer.take_undelivered().len(), 6);
    assert!(producer.take_undelivered().is_empty());
}

fn a_partition_that_is_not_there_is_an_error() {
    struct Wrong;
    impl Partitioner for Wrong {
        fn partition(&self, context: &PartitionContext<'_>) -> u32 {
            context.partitions
        }
    }
    let world = World::new(2);
    let producer = world.log.producer_builder().partitioner(Wrong).build().unwrap();
    let refused = producer.send(ProducerRecord::new("t", "x")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
}
