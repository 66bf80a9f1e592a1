//! `enqueue`, lingering, the buffer's limit, and the end of a producer.

use super::*;

/// On a clock that stands still between two calls, however busy the machine is.
#[cfg(feature = "sim")]
#[test]
fn a_batch_lingers_and_is_then_written_and_visible() {
    let env = crate::sim::SimEnv::new(1);
    let world = World::on(Arc::new(env.clone()));
    let topic = world.topic("t", 1);
    let producer = world.builder().linger(Duration::from_millis(20)).build().unwrap();
    assert_eq!(run_due(&world.sender), None);
    let before = world.env.monotonic();
    let delivery = producer.enqueue(ProducerRecord::new("t", "a")).unwrap();
    producer.enqueue(ProducerRecord::new("t", "b")).unwrap();
    let due = run_due(&world.sender).unwrap();
    assert!(due >= before + Duration::from_millis(20));
    assert!(!delivery.is_done() && delivery.try_result().is_none());
    assert_eq!(kind(delivery.wait_timeout(Duration::ZERO)), ErrorKind::Timeout);
    env.advance(due - world.env.monotonic());
    assert_eq!(run_due(&world.sender), None);
    let metadata = delivery.wait().unwrap();
    assert_eq!((metadata.offset.value(), metadata.topic_partition().to_string()), (0, "t-0".to_string()));
    assert_eq!(batch_sizes(&topic, 0), [2]);
    assert_eq!(producer.inner.context.memory.used(), 0);
}

#[test]
fn a_full_batch_does_not_linger() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let producer = world.builder().batch_size(1000).linger(Duration::from_secs(3600)).build().unwrap();
    let deliveries: Vec<_> =
        (0..100).map(|_| producer.enqueue(ProducerRecord::new("t", &[0; 90])).unwrap()).collect();
    run_due(&world.sender);
    assert!(deliveries[80].is_done() && !deliveries[99].is_done());
    for (i, delivery) in deliveries.iter().enumerate().take(80) {
        assert_eq!(delivery.wait().unwrap().offset, i as u64);
    }
    assert!(topic.partition(0).unwrap().read(0).all(|b| b.unwrap().iter().count() > 5));
    // A record that fits into no usual batch gets its own.
    let large = producer.enqueue(ProducerRecord::new("t", &[1; 5000])).unwrap();
    run_due(&world.sender);
    assert_eq!(large.wait().unwrap().offset, 100);
    assert_eq!(batch_sizes(&topic, 0).last(), Some(&1));
}

#[test]
fn one_commit_serves_several_partitions() {
    let world = World::new();
    let topic = world.topic("t", 5);
    let producer = world.builder().linger(Duration::ZERO).build().unwrap();
    let deliveries: Vec<_> =
        (0..5).map(|p| producer.enqueue(ProducerRecord::new(&topic, "x").partition(p)).unwrap()).collect();
    run_due(&world.sender);
    assert!(deliveries.iter().all(|d| d.wait().unwrap().offset == 0));
}

#[test]
fn a_full_buffer_gives_the_record_back() {
    let world = World::new();
    world.topic("t", 1);
    let builder = world.builder().batch_size(1000).buffer_memory(4000).linger(Duration::from_secs(3600));
    let producer = builder.max_block(Duration::from_millis(20)).build().unwrap();
    let mut taken = 0u64;
    let refused = loop {
        match producer.try_enqueue(ProducerRecord::new("t", &[0; 90]).key("k")) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.error().kind(), ErrorKind::QueueFull);
    assert!((25..45).contains(&taken), "{taken}");
    let record = refused.into_record();
    let begun = world.env.monotonic();
    assert_eq!(kind(producer.enqueue(record.clone())), ErrorKind::Timeout);
    assert!(world.env.monotonic() - begun >= Duration::from_millis(20));
    // Queued records were expedited: they leave without lingering.
    run_due(&world.sender);
    let delivery = producer.try_enqueue(record).unwrap();
    producer.flush().unwrap();
    assert_eq!(delivery.wait().unwrap().offset, taken);
    let impossible = producer.enqueue(ProducerRecord::new("t", &[0; 4000]));
    assert_eq!(kind(impossible), ErrorKind::RecordTooLarge);
    assert_eq!(producer.inner.context.memory.used(), 0);
}

#[test]
fn a_buffer_full_of_other_partitions_records_is_emptied_for_one() {
    let world = World::new();
    let topic = world.written_topic("t", 50);
    let builder = world.builder().batch_size(1000).buffer_memory(4000).linger(Duration::from_secs(3600));
    let producer = builder.max_block(Duration::ZERO).build().unwrap();
    for i in 0..200 {
        producer.enqueue(ProducerRecord::new("t", &[0; 90]).partition(i % 50)).unwrap();
    }
    producer.flush().unwrap();
    assert!((0..50).all(|p| topic.partition(p).unwrap().high_watermark() == 4));
}

#[test]
fn without_threads_calls_do_the_work() {
    let world = World::new();
    let topic = world.topic("t", 2);
    world.catalog.schedule().set_by_calls(true);
    let producer = world.builder().linger(Duration::from_millis(5)).build().unwrap();
    let first = producer.enqueue(ProducerRecord::new("t", "a").partition(0)).unwrap();
    assert_eq!(first.wait().unwrap().offset, 0);
    let second = producer.enqueue(ProducerRecord::new("t", "b").partition(0)).unwrap();
    std::thread::sleep(Duration::from_millis(6));
    producer.enqueue(ProducerRecord::new("t", "c").partition(1)).unwrap();
    assert!(second.is_done());
    // A full buffer is emptied by the call that needs room.
    let small = world.builder().batch_size(1000).buffer_memory(1000).build().unwrap();
    for _ in 0..100 {
        small.try_enqueue(ProducerRecord::new("t", &[0; 200]).partition(0)).unwrap();
    }
    drop(small);
    assert_eq!(topic.partition(0).unwrap().high_watermark(), 102);
}

#[test]
fn compressed_batches_read_back() {
    if !crate::codec::compress::is_available(Compression::Gzip) {
        return;
    }
    let world = World::new();
    let topic = world.topic("t", 1);
    let producer = world.builder().compression(Compression::Gzip).batch_size(2000).build().unwrap();
    let texts: Vec<String> = (0..500).map(|i| format!("value number {i}")).collect();
    for text in &texts {
        producer.enqueue(ProducerRecord::new("t", text)).unwrap();
    }
    producer.flush().unwrap();
    assert_eq!(values(&topic, 0), texts);
    // More than max.message.bytes, until it is compressed.
    producer.enqueue(ProducerRecord::new("t", vec![b'a'; 3 << 20])).unwrap();
    producer.flush().unwrap();
    assert_eq!(values(&topic, 0)[500].len(), 3 << 20);
}

#[test]
fn closing_writes_what_waits_and_ends_all_clones() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let producer = world.patient();
    let clone = producer.clone();
    let delivery = producer.enqueue(ProducerRecord::new("t", "a")).unwrap();
    producer.close().unwrap();
    assert_eq!(delivery.try_result().unwrap().unwrap().offset, 0);
    assert_eq!(values(&topic, 0), ["a"]);
    assert_eq!(kind(clone.enqueue(ProducerRecord::new("t", "b"))), ErrorKind::Closed);
    assert_eq!(kind(clone.send(ProducerRecord::new("t", "b"))), ErrorKind::Closed);
    assert_eq!(kind(clone.send_batch(&[ProducerRecord::new("t", "b")])), ErrorKind::Closed);
    assert_eq!(kind(clone.send(ProducerRecord::new("unmet", "b"))), ErrorKind::Closed);
    assert_eq!(kind(clone.flush()), ErrorKind::Closed);
    clone.close().unwrap();
    assert_eq!(world.producer().send(ProducerRecord::new("t", "c")).unwrap().offset, 1);
}

#[test]
fn closing_the_sender_writes_what_waits_and_ends_all_producers() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let producers = [world.patient(), world.patient()];
    let deliveries = producers.each_ref().map(|p| p.enqueue(ProducerRecord::new(&topic, "a")).unwrap());
    world.sender.close(Duration::MAX).unwrap();
    assert!(deliveries.iter().all(|d| d.try_result().unwrap().is_ok()));
    assert_eq!(kind(producers[0].enqueue(ProducerRecord::new("t", "b"))), ErrorKind::Closed);
    assert_eq!(kind(world.builder().build()), ErrorKind::Closed);
    assert_eq!(run_due(&world.sender), None);
}

#[test]
fn dropping_the_last_clone_writes_what_waits() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let background = world.background();
    let producer = world.patient();
    producer.enqueue(ProducerRecord::new("t", "a")).unwrap();
    let weak = Arc::downgrade(&producer.inner.context);
    drop(producer.clone());
    assert_eq!(values(&topic, 0), [""; 0]);
    drop(producer);
    assert_eq!(values(&topic, 0), ["a"]);
    drop(background);
    assert_eq!(weak.strong_count(), 0);
}
