//! A log is open as long as anything made with it is held, and closed by the end of the last, wherever that is; `close` ends
//! it for all. (I15, I16)

mod support;

use std::{path::Path, thread, time::Duration};
use streamlog::{
    Consumer, Durability, ErrorKind, Partition, Producer, ProducerRecord, RecordData, Streamlog, Topic,
    TopicConfig,
    clients::{ConsumerBuilder, PartitionContext, Partitioner, ProducerBuilder},
    records::{BackwardBatches, Batch, Batches},
};
use support::*;

fn record(value: &str) -> ProducerRecord<'_> {
    ProducerRecord::new("t", value)
}

/// A log with two records in two batches, and a background thread with something to do.
fn begin(dir: &Path) -> Streamlog {
    let log = Streamlog::open(dir).unwrap();
    let topic = match log.topic("t") {
        Ok(topic) => topic,
        Err(_) => log.create_topic("t", TopicConfig::default().durability(Durability::Written)).unwrap(),
    };
    let partition = topic.partition(0).unwrap();
    partition.append(&[RecordData::new("x")]).unwrap();
    partition.append(&[RecordData::new("y")]).unwrap();
    log
}

/// Something that was made with a log, and what it does while it is all that is held.
trait Handle: Send {
    fn works(&mut self);
}

impl Handle for Producer {
    fn works(&mut self) {
        self.send(record("sent")).unwrap();
        self.enqueue(record("enqueued")).unwrap().wait().unwrap();
        // It leaves with the producer.
        self.enqueue(record("left behind")).unwrap();
    }
}

impl Handle for Option<ProducerBuilder> {
    fn works(&mut self) {
        self.take().unwrap().build().unwrap().works();
    }
}

impl Handle for Consumer {
    fn works(&mut self) {
        self.subscribe(["t"]).unwrap();
        assert!(!self.poll(Duration::from_secs(60)).unwrap().is_empty());
        self.commit_sync().unwrap();
    }
}

impl Handle for ConsumerBuilder {
    fn works(&mut self) {
        self.clone().build().unwrap().works();
    }
}

impl Handle for Topic {
    fn works(&mut self) {
        self.partition(0).unwrap().works();
        self.partitions()[0].works();
    }
}

impl Handle for Partition {
    fn works(&mut self) {
        self.append(&[RecordData::new("appended")]).unwrap();
        assert_eq!(self.last(1).unwrap().len(), 1);
    }
}

impl Handle for Batches {
    fn works(&mut self) {
        assert!(self.map(Result::unwrap).map(|batch: Batch| batch.iter().count()).sum::<usize>() >= 2);
    }
}

impl Handle for BackwardBatches {
    fn works(&mut self) {
        assert!(self.map(Result::unwrap).count() >= 2);
    }
}

type Make = fn(&Streamlog) -> Box<dyn Handle>;

/// What can be held of a log.
const HANDLES: [(&str, Make); 10] = [
    ("a producer", |log| Box::new(log.producer().unwrap())),
    ("a producer's builder", |log| Box::new(Some(log.producer_builder()))),
    ("a consumer", |log| Box::new(log.consumer("g").unwrap())),
    ("a consumer's builder", |log| Box::new(log.consumer_builder("h"))),
    ("a topic", |log| Box::new(log.topic("t").unwrap())),
    ("one of all topics", |log| Box::new(log.topics().unwrap().remove(0))),
    ("a new topic", |log| Box::new(log.create_topic("new", TopicConfig::default()).unwrap())),
    ("a partition", |log| Box::new(log.topic("t").unwrap().partition(0).unwrap())),
    ("batches", |log| Box::new(log.topic("t").unwrap().partition(0).unwrap().read(0))),
    ("batches backwards", |log| Box::new(log.topic("t").unwrap().partition(0).unwrap().read_backwards(2))),
];

#[test]
fn whatever_is_held_keeps_the_log_open_and_the_end_of_the_last_closes_it() {
    for (name, make) in HANDLES {
        let dir = quick_dir();
        let mut handle = {
            let log = begin(dir.path());
            make(&log)
        };
        let refused = Streamlog::open(dir.path()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyOpen, "{name}");
        assert!(refused.to_string().contains("every producer, consumer, topic and partition"), "{refused}");
        handle.works();
        // On whatever thread that is.
        thread::spawn(move || drop(handle)).join().unwrap();
        let log = Streamlog::open(dir.path()).unwrap();
        assert!(log.recovery_report().was_clean, "{name}");
        let last = log.topic("t").unwrap().partition(0).unwrap().last(1).unwrap().remove(0);
        let left = name.starts_with("a producer");
        assert_eq!(last.value.as_deref() == Some(b"left behind"), left, "{name}");
    }
}

#[test]
fn close_ends_the_log_for_whatever_is_held() {
    let dir = quick_dir();
    let log = begin(dir.path());
    let (producer, topic) = (log.producer().unwrap(), log.topic("t").unwrap());
    let partition = topic.partition(0).unwrap();
    let mut consumer = log.consumer("g").unwrap();
    let mut batches = partition.read(0);
    log.close().unwrap();
    let closed = [
        producer.send(record("z")).unwrap_err(),
        partition.append(&[RecordData::new("z")]).unwrap_err(),
        consumer.subscribe(["t"]).unwrap_err(),
        batches.next().unwrap().unwrap_err(),
    ];
    assert!(closed.iter().all(|error| error.kind() == ErrorKind::Closed), "{closed:?}");
    // The directory is free although all of them are held.
    Streamlog::open(dir.path()).unwrap().close().unwrap();
}

/// Chooses partitions by what is in them: it holds a handle of the log that its producer writes to.
struct Shortest(Topic);

impl Partitioner for Shortest {
    fn partition(&self, _: &PartitionContext<'_>) -> u32 {
        let partitions = self.0.partitions();
        partitions.iter().min_by_key(|p| p.log_end_offset()).map_or(0, Partition::index)
    }
}

#[test]
fn a_partitioner_that_holds_a_handle_does_not_keep_its_own_log_open_for_ever() {
    let dir = quick_dir();
    let producer = {
        let log = begin(dir.path());
        log.producer_builder().partitioner(Shortest(log.topic("t").unwrap())).build().unwrap()
    };
    producer.send(record("z")).unwrap();
    drop(producer);
    Streamlog::open(dir.path()).unwrap();
}

#[test]
fn handles_that_end_at_the_same_time_in_many_threads_close_the_log_once() {
    let dir = quick_dir();
    for _ in 0..20 {
        let log = begin(dir.path());
        let handles: Vec<_> =
            HANDLES.iter().filter(|(name, _)| *name != "a new topic").map(|(_, make)| make(&log)).collect();
        drop(log);
        thread::scope(|scope| {
            for mut handle in handles {
                scope.spawn(move || {
                    handle.works();
                    drop(handle);
                });
            }
        });
        assert!(Streamlog::open(dir.path()).unwrap().recovery_report().was_clean);
    }
}

#[test]
fn a_temporary_log_goes_with_its_close_or_its_last_handle() {
    let log = Streamlog::temporary().unwrap();
    let dir = log.dir().to_path_buf();
    let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    assert_ne!(Streamlog::temporary().unwrap().dir(), dir, "each has its own");
    drop(log);
    partition.append(&[RecordData::new("x")]).unwrap();
    assert!(dir.join("t-0").is_dir());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
    drop(partition);
    assert!(!dir.exists());

    let log = Streamlog::temporary().unwrap();
    let (dir, producer) = (log.dir().to_path_buf(), log.producer().unwrap());
    log.close().unwrap();
    assert!(!dir.exists(), "a handle that is still held is closed");
    drop(producer);
}

#[test]
fn an_opening_waits_for_the_writer_before_it_as_long_as_it_was_told_to() {
    let dir = quick_dir();
    let log = begin(dir.path());
    let begun = std::time::Instant::now();
    let patience = Duration::from_millis(50);
    let refused = Streamlog::builder(dir.path()).wait_for_lock(patience).open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyOpen);
    assert!(begun.elapsed() >= patience);

    // The settings go to another thread, which opens.
    let settings = Streamlog::builder(dir.path()).on_recovery_progress(|_| true).wait_for_lock(Duration::MAX);
    let next = thread::spawn(move || settings.open().unwrap());
    let last = log.topic("t").unwrap().partition(0).unwrap().append(&[RecordData::new("last")]).unwrap();
    log.close().unwrap();
    let next = next.join().unwrap();
    assert_eq!(next.topic("t").unwrap().partition(0).unwrap().log_end_offset(), last.end);
}
