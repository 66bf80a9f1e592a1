//! What a failed batch means for those after it, and what a user's code may do.

use super::*;
use crate::topic::{config::ConfigChange, partitioner::RoundRobin};

fn shrink(world: &World, bytes: u32) {
    world.catalog.alter("t", &[ConfigChange::set("max.message.bytes", bytes.to_string())]).unwrap();
}

#[test]
fn a_failed_batch_is_reported_once_and_then_work_resumes() {
    let world = World::new();
    let topic = world.topic("t", 2);
    let producer = world.patient();
    let lost = producer.enqueue(ProducerRecord::new("t", &[0; 500]).partition(0)).unwrap();
    shrink(&world, 200);
    producer.inner.accumulators.reclaim(true);
    assert_eq!(undelivered(lost.wait()), (1, ErrorKind::RecordTooLarge));
    // Another partition knows nothing of it.
    producer.enqueue(ProducerRecord::new("t", "y").partition(1)).unwrap();
    let refused = producer.enqueue(ProducerRecord::new("t", "x").partition(0));
    assert_eq!(undelivered(refused), (1, ErrorKind::RecordTooLarge));
    assert_eq!(producer.send(ProducerRecord::new("t", "x").partition(0)).unwrap().offset, 0);
    assert_eq!(values(&topic, 0), ["x"]);
    // A flush reports it, once, even if another call has.
    assert_eq!(undelivered(producer.flush()), (1, ErrorKind::RecordTooLarge));
    producer.flush().unwrap();
    assert_eq!(producer.inner.context.memory.used(), 0);
}

#[test]
fn a_failed_batch_fails_those_after_it() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let producer = world.builder().batch_size(1000).linger(Duration::from_secs(3600)).build().unwrap();
    // Held, so that no thread writes and batches queue up.
    let accumulator = {
        producer.enqueue(ProducerRecord::new("t", &[0; 700])).unwrap();
        producer.inner.accumulators.all().remove(0)
    };
    let out = accumulator.out.lock();
    let behind: Vec<_> =
        (0..40).map(|_| producer.enqueue(ProducerRecord::new("t", &[1; 90])).unwrap()).collect();
    shrink(&world, 300);
    drop(out);
    assert_eq!(undelivered(producer.flush()), (41, ErrorKind::RecordTooLarge));
    assert!(behind.iter().all(|d| undelivered(d.wait()) == (41, ErrorKind::RecordTooLarge)));
    let handed_back = producer.take_undelivered();
    let lengths: Vec<usize> = handed_back.iter().map(|r| r.value.as_ref().unwrap().len()).collect();
    assert!(lengths.len() == 41 && lengths[0] == 700 && lengths[1..].iter().all(|len| *len == 90));
    assert!(producer.take_undelivered().is_empty());
    assert_eq!(topic.partition(0).unwrap().log_end_offset(), 0);
    assert_eq!(producer.inner.context.memory.used(), 0);
    assert_eq!(producer.send(ProducerRecord::new("t", "x")).unwrap().offset, 0);
}

#[test]
fn a_send_reports_records_that_were_enqueued_before_it_and_failed() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let producer = world.patient();
    producer.enqueue(ProducerRecord::new("t", &[0; 500])).unwrap();
    shrink(&world, 200);
    let refused = producer.send(ProducerRecord::new("t", "x"));
    assert_eq!(undelivered(refused), (1, ErrorKind::RecordTooLarge));
    assert_eq!(topic.partition(0).unwrap().log_end_offset(), 0);
    producer.send(ProducerRecord::new("t", "x")).unwrap();
}

#[test]
fn a_topic_that_is_deleted_fails_what_waits_for_it() {
    let world = World::new();
    let topic = world.topic("t", 1);
    let producer = world.patient();
    let delivery = producer.enqueue(ProducerRecord::new(&topic, "x")).unwrap();
    world.catalog.delete("t").unwrap();
    assert_eq!(undelivered(producer.flush()), (1, ErrorKind::Closed));
    assert_eq!(undelivered(delivery.wait()), (1, ErrorKind::Closed));
    assert_eq!(kind(producer.enqueue(ProducerRecord::new(&topic, "x"))), ErrorKind::Closed);
    assert_eq!(kind(producer.enqueue(ProducerRecord::new("t", "x"))), ErrorKind::UnknownTopic);
    assert_eq!(producer.inner.context.memory.used(), 0);
}

struct Wrong;

impl Partitioner for Wrong {
    fn partition(&self, context: &PartitionContext<'_>) -> u32 {
        match context.key {
            Some(b"panic") => panic!("a user's bug"),
            Some(_) => 0,
            None => context.partitions,
        }
    }
}

#[test]
fn a_partitioner_that_is_wrong_fails_the_record_alone() {
    let world = World::new();
    let topic = world.topic("t", 2);
    let producer = world.builder().partitioner(Wrong).build().unwrap();
    assert_eq!(kind(producer.send(ProducerRecord::new("t", "x"))), ErrorKind::InvalidArgument);
    for _ in 0..2 {
        let send = || producer.enqueue(ProducerRecord::new("t", "x").key("panic"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(send)).is_err());
    }
    producer.send(ProducerRecord::new("t", "x").key("k")).unwrap();
    assert_eq!(values(&topic, 0), ["x"]);
}

#[test]
fn a_custom_partitioner_is_asked_for_every_record() {
    let world = World::new();
    let topic = world.topic("t", 3);
    let producer = world.builder().partitioner(RoundRobin::new()).build().unwrap();
    for _ in 0..3 {
        producer.enqueue(ProducerRecord::new("t", "x").key("same")).unwrap();
    }
    producer.flush().unwrap();
    assert!((0..3).all(|p| values(&topic, p) == ["x"]));
}

#[test]
fn records_without_a_key_fill_a_batch_before_they_move_on() {
    let world = World::new();
    let topic = world.topic("t", 10);
    let producer = world.builder().batch_size(10_000).build().unwrap();
    for _ in 0..3000 {
        producer.enqueue(ProducerRecord::new("t", &[0; 90])).unwrap();
    }
    producer.flush().unwrap();
    let counts: Vec<u64> =
        topic.partitions().iter().map(|partition| partition.high_watermark().value()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 3000);
    assert!(counts.iter().filter(|count| **count > 0).count() > 3, "{counts:?}");
    assert!(counts.iter().all(|count| *count == 0 || *count >= 60), "{counts:?}");
}

#[test]
fn a_commit_acknowledges_what_lies_below_its_end_and_no_more() {
    let world = World::new();
    world.topic("t", 1);
    let producer = world.patient();
    let enqueue = |value: &str| producer.enqueue(ProducerRecord::new("t", value)).unwrap();
    let first = enqueue("a");
    let accumulator = producer.inner.accumulators.all().remove(0);
    accumulator.write_all(Attempt::Now);
    let end = accumulator.written().unwrap().1;
    let second = enqueue("b");
    accumulator.write_all(Attempt::Now);
    assert!(!first.is_done());
    accumulator.settle(end, &Ok(()));
    assert!(first.is_done() && !second.is_done());
}

#[test]
fn a_commit_that_fails_fails_what_is_written_and_what_waits() {
    let world = World::new();
    world.topic("t", 1);
    let producer = world.patient();
    let written = producer.enqueue(ProducerRecord::new("t", "a")).unwrap();
    let accumulator = producer.inner.accumulators.all().remove(0);
    accumulator.write_all(Attempt::Now);
    let waits = producer.enqueue(ProducerRecord::new("t", "b")).unwrap();
    let end = accumulator.written().unwrap().1;
    accumulator.settle(end, &Err(Error::closed("a test's medium")));
    for delivery in [&written, &waits] {
        assert_eq!(undelivered(delivery.wait()), (2, ErrorKind::Closed));
    }
    assert_eq!(undelivered(producer.enqueue(ProducerRecord::new("t", "c"))), (2, ErrorKind::Closed));
    let handed_back = producer.take_undelivered();
    assert_eq!(handed_back.iter().map(|record| record.may_be_in_log).collect::<Vec<_>>(), [true, false]);
    assert!(producer.enqueue(ProducerRecord::new("t", "c")).is_ok());
}
