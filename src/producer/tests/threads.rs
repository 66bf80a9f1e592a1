//! Many threads, one producer, and the sender's task beside them.

use super::*;

#[test]
fn the_records_of_each_thread_keep_their_order() {
    for flushed in [true, false] {
        let world = World::new();
        let topic = if flushed { world.topic("t", 3) } else { world.written_topic("t", 3) };
        let _background = world.background();
        let builder = world.builder().batch_size(2000).buffer_memory(20_000);
        let producer = builder.linger(Duration::from_micros(200)).build().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let producer = producer.clone();
                scope.spawn(move || one_thread(&producer, thread));
            }
        });
        producer.flush().unwrap();
        assert_eq!(producer.inner.context.memory.used(), 0);
        for partition in 0..3 {
            let seen = values(&topic, partition);
            for thread in 0..4 {
                let prefix = format!("{thread}:");
                let own =
                    seen.iter().filter_map(|v| v.strip_prefix(&prefix)).map(|n| n.parse::<u32>().unwrap());
                assert!(own.clone().is_sorted() && own.clone().count() >= 500);
            }
        }
        let total: usize = (0..3).map(|p| values(&topic, p).len()).sum();
        assert_eq!(total, 4 * 2000);
    }
}

/// Mostly enqueues, sometimes sends, and holds each delivery against the order of calls.
fn one_thread(producer: &Producer, thread: u32) {
    let mut last = [None; 3];
    let mut deliveries = Vec::new();
    for i in 0..2000u32 {
        let partition = i % 3;
        let value = format!("{thread}:{i}");
        let record = ProducerRecord::new("t", &value).partition(partition);
        if i % 97 == 0 {
            let sent = producer.send(record).unwrap();
            deliveries.push((partition, Ok(sent)));
        } else {
            deliveries.push((partition, Err(producer.enqueue(record).unwrap())));
        }
    }
    for (partition, delivery) in deliveries {
        let metadata = delivery.unwrap_or_else(|d| d.wait().unwrap());
        assert_eq!(metadata.partition(), partition);
        assert!(last[partition as usize].replace(metadata.offset) < Some(metadata.offset));
    }
}

#[test]
fn waiting_for_room_ends_when_the_task_makes_some() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let _background = world.background();
    let producer = world.builder().batch_size(1000).buffer_memory(1000).build().unwrap();
    for _ in 0..500 {
        producer.enqueue(ProducerRecord::new("t", &[0; 300])).unwrap();
    }
    producer.close().unwrap();
    assert_eq!(topic.partition(0).unwrap().high_watermark(), 500);
}

#[test]
fn an_enqueued_record_arrives_without_another_call() {
    let world = World::new();
    world.topic("t", 1);
    let _background = world.background();
    let producer = world.producer();
    for i in 0..20u64 {
        let delivery = producer.enqueue(ProducerRecord::new("t", "x")).unwrap();
        let metadata = delivery.wait_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(metadata.offset, i);
    }
}

#[test]
fn closing_while_others_enqueue_loses_nothing_that_was_taken() {
    let world = World::new();
    let topic = world.topic("t", 2);
    let _background = world.background();
    let producer = world.builder().batch_size(1000).build().unwrap();
    let taken: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3u32)
            .map(|thread| {
                let producer = producer.clone();
                scope.spawn(move || {
                    let record = || ProducerRecord::new("t", &[0; 50]).partition(thread % 2);
                    let taken: Vec<_> = std::iter::from_fn(|| producer.enqueue(record()).ok()).collect();
                    assert!(taken.iter().all(|delivery| delivery.wait().is_ok()));
                    taken.len() as u64
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(20));
        producer.close().unwrap();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let stored = (0..2).map(|p| topic.partition(p).unwrap().high_watermark().value()).sum::<u64>();
    assert_eq!(stored, taken);
}
