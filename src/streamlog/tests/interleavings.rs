//! Threads that meet, in every order that shuttle comes upon: a random walk, and walks that prefer few changes of thread.
//!
//! `STREAMLOG_SHUTTLE_ITERATIONS` says how many orders of each kind each claim is tried in. A claim that fails prints the
//! order it failed in. Each claim is also tried with a mistake planted that it must notice.

use super::disk::Disk;
use crate::{
    Error, Partition, ProducerRecord, RecordData, Streamlog, TopicConfig,
    config::{Builder, ConfigChange},
    env::{
        Env,
        sync::{AtomicBool, Ordering, Signal, thread},
    },
    planted,
    topic::{
        caretaker::{Attended, Caretaker},
        duty::Duty,
        schedule::Schedule,
    },
    types::{Durability, TopicPartition},
};
use shuttle::{
    FailurePersistence,
    scheduler::{PctScheduler, RandomScheduler},
};
use std::{collections::BTreeMap, panic::catch_unwind, path::Path, sync::Arc, time::Duration};

fn iterations() -> usize {
    std::env::var("STREAMLOG_SHUTTLE_ITERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(150)
}

fn explore(claim: fn(), iterations: usize, print: FailurePersistence) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 19;
    config.silence_warnings = true;
    config.failure_persistence = print;
    for changes in [2, 3] {
        shuttle::Runner::new(PctScheduler::new(changes, iterations), config.clone()).run(claim);
    }
    shuttle::Runner::new(RandomScheduler::new(iterations), config).run(claim);
}

/// Tries the claim, and whether it notices each of these mistakes.
fn explore_with_mistakes(claim: fn(), mistakes: &[&'static str]) {
    explore(claim, iterations(), FailurePersistence::Print);
    for mistake in mistakes {
        assert!(planted::RACES.contains(mistake));
        planted::plant(Some(mistake));
        let found =
            catch_unwind(|| explore(claim, iterations().max(3000), FailurePersistence::None)).is_err();
        planted::plant(None);
        assert!(found, "{mistake} was not noticed");
        println!("noticed: {mistake}");
    }
}

fn open(disk: &Arc<Disk>) -> Streamlog {
    let builder = Builder::with_env(disk.clone(), Path::new("/data"));
    builder.background_thread(false).max_open_files(1).open().unwrap()
}

fn topic(log: &Streamlog, durability: Durability) -> Partition {
    let config = TopicConfig::default().durability(durability).segment_bytes(512).index_interval_bytes(1);
    log.create_topic("t", config).unwrap().partition(0).unwrap()
}

/// A batch of one record that is alone in its segment when it is `large`.
fn append(partition: &Partition, value: &str, large: bool) -> Result<u64, Error> {
    let padding = vec![b'.'; if large { 350 } else { 0 }];
    let record = RecordData::new(value).key(&padding[..]);
    partition.append(&[record]).map(|offsets| offsets.start.value())
}

/// At these offsets; the value says at which.
fn append_all(partition: &Partition, offsets: std::ops::Range<u64>, large: bool) {
    for offset in offsets {
        assert_eq!(append(partition, &offset.to_string(), large).unwrap(), offset);
    }
}

/// What is in the partition from `from` on.
fn values(partition: &Partition, from: u64) -> Result<BTreeMap<u64, String>, Error> {
    let mut found = BTreeMap::new();
    for batch in partition.read(from) {
        for record in &batch? {
            let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
            found.insert(record.offset.value(), value);
        }
    }
    Ok(found)
}

/// The offsets follow each other, and each value is that of its offset.
fn assert_in_order(found: &BTreeMap<u64, String>) {
    let first = found.keys().next().copied().unwrap_or(0);
    for (expected, (offset, value)) in (first..).zip(found) {
        assert_eq!((*offset, value.as_str()), (expected, expected.to_string().as_str()));
    }
}

fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().spawn(body).unwrap()
}

#[test]
fn a_notification_between_look_and_sleep_is_not_missed() {
    let claim = || {
        let signal = Arc::new(Signal::new());
        let seen = signal.epoch();
        let threads = [0; 2].map(|_| {
            let signal = Arc::clone(&signal);
            spawn(move || signal.sleep(seen, None))
        });
        signal.notify();
        threads.into_iter().for_each(|t| t.join().unwrap());
    };
    // Every order there is.
    shuttle::check_dfs(claim, None);
}

fn group_commit() {
    let disk = Disk::new();
    let log = open(&disk);
    let partition = topic(&log, Durability::Flushed);
    append(&partition, "first", false).unwrap();
    let size = partition.size();
    let threads = ["a", "b", "c"].map(|name| {
        let (partition, disk) = (partition.clone(), disk.clone());
        spawn(move || {
            let offset = append(&partition, name, false).unwrap();
            let flushed = disk.flushed_len("/data/t-0/00000000000000000000.log");
            assert!(flushed > size * offset, "{offset} is acknowledged, and {flushed} bytes are flushed");
            assert!(partition.high_watermark() > offset, "not visible to whom it was acknowledged");
            offset
        })
    });
    let mut offsets = threads.map(|thread| thread.join().unwrap());
    offsets.sort();
    assert_eq!(offsets, [1, 2, 3]);
}

#[test]
fn what_is_acknowledged_is_flushed_whichever_thread_flushes() {
    let mistakes = ["believe_a_flush_that_runs", "a_flush_wakes_nobody", "take_the_epoch_too_late"];
    explore_with_mistakes(group_commit, &mistakes);
}

fn enqueue_and_send() {
    let log = open(&Disk::new());
    let partition = topic(&log, Durability::Written);
    let producer = log.producer_builder().linger(Duration::from_secs(3600)).build().unwrap();
    producer.enqueue(ProducerRecord::new("t", "0")).unwrap();
    let other = producer.clone();
    let flush = spawn(move || other.flush().unwrap());
    assert_eq!(producer.send(ProducerRecord::new("t", "1")).unwrap().offset, 1);
    flush.join().unwrap();
    assert_in_order(&values(&partition, 0).unwrap());
}

#[test]
fn what_a_thread_enqueued_lies_before_what_it_sends_whichever_thread_writes_it() {
    explore_with_mistakes(enqueue_and_send, &["a_batch_on_its_way_is_forgotten"]);
}

fn publish_against_read() {
    let log = open(&Disk::new());
    let partition = topic(&log, Durability::Written);
    append(&partition, "0", false).unwrap();
    let writer = partition.clone();
    let writer = spawn(move || append_all(&writer, 1..3, false));
    for _ in 0..2 {
        let visible = partition.high_watermark().value();
        let found = values(&partition, 0).unwrap();
        assert_in_order(&found);
        assert!(found.len() as u64 >= visible);
        let last = partition.last(1).unwrap();
        assert!(last[0].offset >= visible - 1);
        assert_eq!(last[0].value.as_deref(), Some(last[0].offset.value().to_string().as_bytes()));
    }
    writer.join().unwrap();
    assert_eq!(values(&partition, 0).unwrap().len(), 3);
}

#[test]
fn what_is_visible_can_be_read() {
    explore_with_mistakes(publish_against_read, &["show_the_end_before_the_bytes"]);
}

fn roll_against_read() {
    let log = open(&Disk::new());
    let partition = topic(&log, Durability::Written);
    append(&partition, "0", true).unwrap();
    let writer = partition.clone();
    let writer = spawn(move || append_all(&writer, 1..4, true));
    let visible = partition.high_watermark().value();
    let found = values(&partition, 0).unwrap();
    assert_in_order(&found);
    assert!(found.len() as u64 >= visible && found.contains_key(&0), "{found:?}");
    let backwards: Vec<u64> = partition
        .read_backwards(visible)
        .flat_map(|batch| batch.unwrap().into_reversed())
        .map(|record| record.offset.value())
        .collect();
    assert!(backwards.iter().copied().eq((0..visible).rev()), "{backwards:?} before {visible}");
    writer.join().unwrap();
    assert!(partition.segment_count() >= 4);
    assert_eq!(values(&partition, 0).unwrap().len(), 4);
}

#[test]
fn a_reader_does_not_notice_that_a_segment_is_rolled() {
    explore_with_mistakes(roll_against_read, &["roll_in_two_steps"]);
}

fn removal_against_reader() {
    let log = open(&Disk::new());
    let partition = topic(&log, Durability::Written);
    append_all(&partition, 0..3, true);
    let held: Vec<_> = partition.read(0).map(Result::unwrap).collect();
    let remover = log.clone();
    let remover = spawn(move || {
        assert_eq!(remover.delete_records("t", 0, 2).unwrap(), 2);
    });
    let writer = partition.clone();
    let writer = spawn(move || append(&writer, "3", true).unwrap());
    match values(&partition, 0) {
        Ok(found) => assert_in_order(&found),
        Err(Error::OffsetOutOfRange { earliest, .. }) => assert_eq!(earliest, 2),
        Err(error) => panic!("{error}"),
    }
    let found = values(&partition, 2).unwrap();
    assert_in_order(&found);
    assert!(found.contains_key(&2));
    let last: Vec<u64> = partition.last(3).unwrap().iter().map(|record| record.offset.value()).collect();
    assert!(last.is_sorted() && last.contains(&2), "{last:?}");
    assert!(partition.offset_of_max_timestamp().unwrap().is_some());
    remover.join().unwrap();
    assert_eq!(writer.join().unwrap(), 3);
    assert_eq!(held.iter().flat_map(|batch| batch.iter().map(|r| r.offset.value())).sum::<u64>(), 3);
    assert!(matches!(values(&partition, 1), Err(Error::OffsetOutOfRange { .. })));
    assert_eq!(values(&partition, 2).unwrap().len(), 2);
}

#[test]
fn a_reader_of_what_is_removed_keeps_its_bytes_or_gets_the_log_start() {
    explore_with_mistakes(removal_against_reader, &["removed_files_are_missed"]);
}

fn start_against_start() {
    let disk = Disk::new();
    let log = open(&disk);
    let partition = topic(&log, Durability::Written);
    // In one segment, so that the first one's name does not say it as well.
    append_all(&partition, 0..3, false);
    let threads = [1, 2].map(|before| {
        let log = log.clone();
        spawn(move || assert!(log.delete_records("t", 0, before).unwrap() >= before))
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(partition.log_start_offset(), 2);
    // What the manifest says of it, as a later process would find it.
    let reader = Builder::with_env(disk.clone(), Path::new("/data")).read_only(true).open().unwrap();
    assert_eq!(reader.topic("t").unwrap().partition(0).unwrap().log_start_offset(), 2);
}

#[test]
fn of_several_new_starts_the_last_one_is_written_down() {
    explore(start_against_start, iterations(), FailurePersistence::Print);
}

fn deletion_against_reader() {
    let log = open(&Disk::new());
    let partition = topic(&log, Durability::Written);
    append_all(&partition, 0..3, true);
    let remover = log.clone();
    let remover = spawn(move || remover.delete_topic("t").unwrap());
    let looks = [
        values(&partition, 0).map(|found| found.len()),
        partition.last(3).map(|found| found.len()),
        partition.offset_of_max_timestamp().map(|_| 3),
    ];
    for look in looks {
        assert!(matches!(look, Ok(3) | Err(Error::Closed { .. })), "{look:?}");
    }
    remover.join().unwrap();
    assert!(matches!(partition.last(3), Err(Error::Closed { .. })));
}

#[test]
fn a_reader_of_a_topic_that_is_deleted_gets_closed() {
    explore(deletion_against_reader, iterations(), FailurePersistence::Print);
}

fn close_against_append() {
    let disk = Disk::new();
    let log = open(&disk);
    let partition = topic(&log, Durability::Written);
    append(&partition, "0", false).unwrap();
    let closing = log.clone();
    let closer = spawn(move || closing.close().unwrap());
    let writers = [1, 2].map(|_| {
        let partition = partition.clone();
        spawn(move || match append(&partition, "x", false) {
            Ok(_) => 1,
            Err(Error::Closed { .. }) => 0,
            Err(error) => panic!("{error}"),
        })
    });
    let acknowledged = writers.map(|thread| thread.join().unwrap()).iter().sum::<usize>();
    closer.join().unwrap();
    drop((log, partition));
    let log = open(&disk);
    assert!(log.recovery_report().was_clean);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(partition.log_end_offset().value(), 1 + acknowledged as u64);
    assert_eq!(values(&partition, 0).unwrap().len(), 1 + acknowledged);
}

#[test]
fn what_was_acknowledged_beside_a_close_is_in_the_closed_log_and_nothing_else() {
    explore_with_mistakes(close_against_append, &["append_to_a_log_that_closes"]);
}

fn close_against_removal() {
    let disk = Disk::new();
    let log = open(&disk);
    let partition = topic(&log, Durability::Written);
    append_all(&partition, 0..2, false);
    let closing = log.clone();
    let closer = spawn(move || closing.close().unwrap());
    let start = match log.delete_records("t", 0, 2) {
        Ok(start) => start.value(),
        Err(Error::Closed { .. }) => 0,
        Err(error) => panic!("{error}"),
    };
    closer.join().unwrap();
    let left = disk.list(Path::new("/data/t-0")).unwrap();
    drop((log, partition));
    let log = open(&disk);
    assert!(log.recovery_report().was_clean);
    let partition = log.topic("t").unwrap().partition(0).unwrap();
    assert!(partition.log_start_offset() >= start, "what was removed is back");
    append_all(&partition, 2..3, false);
    assert_in_order(&values(&partition, partition.log_start_offset().value()).unwrap());
    assert!(log.health().is_good(), "{:?} {left:?}", log.health());
}

#[test]
fn what_was_removed_beside_a_close_is_as_the_closed_log_says() {
    explore(close_against_removal, iterations(), FailurePersistence::Print);
}

fn waking_on_error() {
    let disk = Disk::new();
    let log = open(&disk);
    let partition = topic(&log, Durability::Flushed);
    append(&partition, "0", false).unwrap();
    disk.fail_flushes();
    let threads = [1, 2, 3].map(|_| {
        let partition = partition.clone();
        spawn(move || append(&partition, "x", false))
    });
    for thread in threads {
        let result = thread.join().unwrap();
        assert!(matches!(result, Err(Error::Poisoned { .. })), "{result:?}");
    }
    assert_eq!(partition.high_watermark(), 1);
}

#[test]
fn a_thread_that_waits_for_a_flush_that_fails_gets_the_error() {
    explore_with_mistakes(waking_on_error, &["a_failed_flush_wakes_nobody", "believe_a_flush_that_runs"]);
}

/// With the background thread of the handle: two threads enqueue to two partitions, a consumer waits, a close follows.
fn pipeline() {
    let disk = Disk::new();
    let log = Builder::with_env(disk, Path::new("/data")).open().unwrap();
    log.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
    let producer = log.producer_builder().linger(Duration::ZERO).build().unwrap();
    let threads = [0, 1].map(|partition| {
        let producer = producer.clone();
        spawn(move || {
            let record = ProducerRecord::new("t", "x").partition(partition);
            producer.enqueue(record).unwrap().wait().unwrap().offset.value()
        })
    });
    let mut consumer = log.consumer("g").unwrap();
    consumer.subscribe(["t"]).unwrap();
    let mut seen = 0;
    while seen < 2 {
        // Without a timeout: if nothing wakes it, it sleeps forever.
        seen += consumer.poll(Duration::MAX).unwrap().len();
    }
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 0));
    let waiting = spawn(move || consumer.poll(Duration::MAX).unwrap_err());
    log.close().unwrap();
    assert!(matches!(waiting.join().unwrap(), Error::Closed { .. }));
}

#[test]
fn producers_consumers_and_the_background_thread_wake_each_other() {
    let mistakes = ["append_wakes_no_consumer", "a_close_wakes_no_consumer", "a_poll_looks_before_the_epoch"];
    explore_with_mistakes(pipeline, &mistakes);
}

/// Consumers that wait without a timeout: one is woken, the topic of the other is deleted.
fn waits_that_end() {
    let disk = Disk::new();
    let log = open(&disk);
    topic(&log, Durability::Written);
    let [mut woken, mut bereft] = [0; 2].map(|_| log.consumer_builder_without_group().build().unwrap());
    woken.subscribe(["t"]).unwrap();
    bereft.assign([TopicPartition::new("t", 0)]).unwrap();
    let wakeup = woken.wakeup_handle();
    let woken = spawn(move || woken.poll(Duration::MAX).unwrap_err());
    let bereft = spawn(move || bereft.poll(Duration::MAX).unwrap_err());
    wakeup.wakeup();
    assert!(matches!(woken.join().unwrap(), Error::Wakeup));
    log.delete_topic("t").unwrap();
    assert!(matches!(bereft.join().unwrap(), Error::Closed { .. }));
}

#[test]
fn a_poll_without_an_end_ends_with_a_wakeup_and_with_its_topic() {
    explore_with_mistakes(
        waits_that_end,
        &["a_wakeup_notifies_before_it_is_noted", "a_topic_that_goes_wakes_nobody"],
    );
}

/// A call helps the background thread, which looks while the helper holds an accumulator that is not due yet.
fn help_beside_the_thread() {
    let disk = Disk::new();
    let log = Builder::with_env(disk.clone(), Path::new("/data")).open().unwrap();
    log.create_topic("t", TopicConfig::default().durability(Durability::Written)).unwrap();
    let linger = Duration::from_millis(10);
    let producer = log.producer_builder().linger(linger).build().unwrap();
    // Its time stays in the list when it has left.
    producer.enqueue(ProducerRecord::new("t", "early")).unwrap();
    producer.send(ProducerRecord::new("t", "sent")).unwrap();
    disk.advance(linger / 2);
    let delivery = producer.enqueue(ProducerRecord::new("t", "late")).unwrap();
    let helper = log.clone();
    let helper = spawn(move || helper.maintain().unwrap());
    disk.advance(linger / 2);
    helper.join().unwrap();
    disk.advance(linger / 2);
    // Without an end, and without a call that does the thread's work.
    assert_eq!(delivery.wait().unwrap().offset, 2);
    log.close().unwrap();
}

#[test]
fn what_a_helper_puts_back_the_background_thread_comes_to_in_time() {
    explore_with_mistakes(help_beside_the_thread, &["a_helper_wakes_nobody"]);
}

/// Both tasks: two threads enqueue beside one that rolls segments, which leaves seals and checkpoints, and a close.
fn two_tasks() {
    let disk = Disk::new();
    let log = Builder::with_env(disk.clone(), Path::new("/data")).open().unwrap();
    let partition = topic(&log, Durability::Written);
    log.create_topic("quick", TopicConfig::default().durability(Durability::Written)).unwrap();
    let producer = log.producer_builder().linger(Duration::ZERO).build().unwrap();
    let threads = [0, 1].map(|_| {
        let producer = producer.clone();
        spawn(move || producer.enqueue(ProducerRecord::new("quick", "x")).unwrap().wait().unwrap())
    });
    append_all(&partition, 0..2, true);
    // Without an end, and without a call that does the thread's work.
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    log.close().unwrap();
    drop((producer, partition));
    let log = open(&disk);
    assert!(log.recovery_report().was_clean);
    assert_eq!(values(&log.topic("t").unwrap().partition(0).unwrap(), 0).unwrap().len(), 2);
    assert_eq!(log.topic("quick").unwrap().partition(0).unwrap().log_end_offset(), 2);
}

#[test]
fn each_task_is_woken_for_its_own_and_a_close_ends_both() {
    explore_with_mistakes(two_tasks, &["a_wake_up_reaches_the_other_task", "a_close_wakes_one_task"]);
}

/// Has something to do only once it is told so.
#[derive(Default)]
struct Idle {
    is_urgent: AtomicBool,
    is_done: AtomicBool,
    done: Signal,
}

impl Caretaker for Idle {
    fn attend(self: Arc<Self>, _duty: Duty, _now: Duration) -> Attended {
        if !self.is_urgent.load(Ordering::SeqCst) {
            return Attended { next: Some(Duration::MAX), wrote: false };
        }
        self.is_done.store(true, Ordering::SeqCst);
        self.done.notify();
        Attended::default()
    }

    fn list_again(&self, _duty: Duty, _at: Duration) {}
}

/// The schedule with a task as the handle has it: a caretaker's time comes up while the task looks at it for an older reason.
fn time_beside_a_look() {
    let schedule = Schedule::new(Disk::new());
    let (signal, ends) = (Arc::new(Signal::new()), Arc::new(AtomicBool::new(false)));
    let woken = Arc::clone(&signal);
    schedule.on_wake(Box::new(move |_| woken.notify()));
    let idle = Arc::new(Idle::default());
    let list = || {
        let listed: Arc<dyn Caretaker> = Arc::clone(&idle) as Arc<dyn Caretaker>;
        drop(schedule.put(Duty::Checkpoints, Duration::ZERO, Arc::downgrade(&listed)));
    };
    list();
    let (tasks, stop, wakes) = (Arc::clone(&schedule), Arc::clone(&ends), Arc::clone(&signal));
    let task = spawn(move || {
        loop {
            let seen = wakes.epoch();
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let mut round = tasks.take_due(Duty::Checkpoints);
            while round.attend_next() {}
            round.commit();
            if tasks.next(Duty::Checkpoints) != Some(Duration::ZERO) {
                wakes.sleep(seen, None);
            }
        }
    });
    idle.is_urgent.store(true, Ordering::SeqCst);
    list();
    loop {
        let seen = idle.done.epoch();
        if idle.is_done.load(Ordering::SeqCst) {
            break;
        }
        // Without a timeout: if the time is lost, no look comes.
        idle.done.sleep(seen, None);
    }
    ends.store(true, Ordering::SeqCst);
    signal.notify();
    task.join().unwrap();
}

#[test]
fn a_time_that_comes_up_during_a_look_is_not_lost() {
    explore_with_mistakes(time_beside_a_look, &["a_look_takes_back_an_earlier_time"]);
}

/// Closing beside producers: each delivery reports what became of its record, and every acknowledged record is there.
fn close_against_deliveries() {
    let disk = Disk::new();
    let log = Builder::with_env(disk.clone(), Path::new("/data")).open().unwrap();
    log.create_topic("t", TopicConfig::default()).unwrap();
    let producer = log.producer_builder().linger(Duration::ZERO).build().unwrap();
    let threads = [0, 1].map(|_| {
        let producer = producer.clone();
        spawn(move || {
            let enqueued = producer.enqueue(ProducerRecord::new("t", "x"));
            match enqueued.and_then(|delivery| delivery.wait()) {
                Ok(_) => 1,
                Err(Error::Closed { .. }) => 0,
                Err(error) => panic!("{error}"),
            }
        })
    });
    log.close().unwrap();
    let delivered = threads.map(|thread| thread.join().unwrap()).iter().sum::<u64>();
    drop(producer);
    let log = open(&disk);
    assert_eq!(log.topic("t").unwrap().partition(0).unwrap().log_end_offset(), delivered);
}

#[test]
fn a_delivery_beside_a_close_reports_what_became_of_its_record() {
    explore(close_against_deliveries, iterations(), FailurePersistence::Print);
}

/// Two threads share a buffer in which one record has room.
fn room_for_one() {
    let log = Builder::with_env(Disk::new(), Path::new("/data")).open().unwrap();
    log.create_topic("t", TopicConfig::default()).unwrap();
    let builder = log.producer_builder().linger(Duration::ZERO).max_block(Duration::MAX);
    let producer = builder.batch_size(512).buffer_memory(512).build().unwrap();
    let threads = [0; 2].map(|_| {
        let producer = producer.clone();
        spawn(move || {
            let value = [7; 300];
            producer.enqueue(ProducerRecord::new("t", &value)).unwrap();
            producer.enqueue(ProducerRecord::new("t", &value)).unwrap()
        })
    });
    for thread in threads {
        assert!(thread.join().unwrap().wait().unwrap().offset > 0);
    }
    log.close().unwrap();
}

#[test]
fn a_thread_that_waits_for_room_in_the_buffer_is_woken() {
    explore_with_mistakes(room_for_one, &["what_is_freed_wakes_nobody"]);
}

/// An append beside the alteration of its topic from `Written` to `Flushed`.
fn alteration_against_append() {
    let disk = Disk::new();
    let log = open(&disk);
    let partition = topic(&log, Durability::Written);
    let writer = partition.clone();
    let thread = spawn(move || append(&writer, "beside", false).unwrap());
    log.alter_topic("t", &[ConfigChange::set("streamlog.durability", "flushed")]).unwrap();
    // What can be seen from here on is in a topic that shows nothing that is not flushed.
    let (seen, size) = (partition.high_watermark().value(), partition.size());
    let flushed = disk.flushed_len("/data/t-0/00000000000000000000.log");
    assert!(
        seen == 0 || flushed >= size,
        "{seen} records are visible, {flushed} of {size} bytes are flushed"
    );
    thread.join().unwrap();
}

#[test]
fn after_an_alteration_to_flushed_nothing_is_visible_that_is_not_flushed() {
    explore_with_mistakes(alteration_against_append, &["alter_flushes_only_before"]);
}

/// An append beside the flush that its topic's interval asks for; `asked` before, so that nothing is left for that one.
fn interval_against_append(asked: bool) {
    let disk = Disk::new();
    let log = open(&disk);
    let every = Duration::from_millis(10);
    let partition = topic(&log, Durability::Interval(every));
    append(&partition, "early", false).unwrap();
    if asked {
        partition.flush().unwrap();
    }
    disk.advance(every);
    let writer = partition.clone();
    let thread = spawn(move || append(&writer, "late", false).unwrap());
    log.maintain().unwrap();
    thread.join().unwrap();
    disk.advance(every);
    log.maintain().unwrap();
    let flushed = disk.flushed_len("/data/t-0/00000000000000000000.log");
    assert_eq!(flushed, partition.size(), "appended longer ago than the interval");
}

#[test]
fn what_is_appended_beside_an_interval_flush_is_flushed_within_the_next_one() {
    explore_with_mistakes(|| interval_against_append(false), &["forget_what_came_during_a_flush"]);
    explore_with_mistakes(|| interval_against_append(true), &["look_at_the_clock_before_the_end_is_known"]);
}
