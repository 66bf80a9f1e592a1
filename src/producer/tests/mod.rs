//! Claims about producers, on an environment in memory. The sender's task is run by hand, or by a thread as the handle does.

mod failures;
#[cfg(feature = "sim")]
mod flush_messages;
#[cfg(feature = "sim")]
mod named;
mod pipelined;
#[cfg(feature = "sim")]
mod retries;
mod sending;
mod threads;

use super::*;
use crate::{
    env::{Env, Next, Running, Task, memory::MemoryEnv, sync::Signal},
    error::ErrorKind,
    producer::drain::Attempt,
    storage::{
        data_dir::{DataDir, SharedOptions},
        files::ReadMode,
    },
    topic::{Topic, catalog::Catalog, config::TopicConfig, duty::Duty},
    types::{Compression, Offset, Timestamp},
};
use std::path::Path;

/// A log in memory with the room of the producers.
struct World {
    env: Arc<dyn Env>,
    catalog: Arc<Catalog>,
    sender: Arc<Sender>,
}

/// The handle's background task.
struct Background {
    sender: Arc<Sender>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Task for Background {
    fn run(&mut self) -> Next {
        match self.stop.load(Ordering::SeqCst) {
            true => Next::Done,
            false => Next::Wait(run_due(&self.sender)),
        }
    }
}

/// Does what is due, and says when there is more.
fn run_due(sender: &Sender) -> Option<Duration> {
    sender.run_due();
    sender.schedule().next(Duty::Batches)
}

struct Stopper {
    signal: Arc<Signal>,
    stop: Arc<std::sync::atomic::AtomicBool>,
    running: Option<Box<dyn Running>>,
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.signal.notify();
        self.running.take().unwrap().join();
    }
}

impl World {
    fn new() -> Self {
        Self::on(MemoryEnv::new())
    }

    fn on(env: Arc<dyn Env>) -> Self {
        let dir = Path::new("/log");
        match env.create_dir(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => panic!("{e}"),
            _ => {}
        }
        Self::open(env, false)
    }

    fn open(env: Arc<dyn Env>, read_only: bool) -> Self {
        let options = SharedOptions { read_only, read_mode: ReadMode::Mapped, max_open_files: 64 };
        let data_dir = DataDir::open(Arc::clone(&env), Path::new("/log"), options).unwrap();
        let (catalog, _) = Catalog::open(data_dir, &mut |_| true).unwrap();
        let catalog = Arc::new(catalog);
        World { env, sender: Sender::new(Arc::clone(&catalog)), catalog }
    }

    fn topic(&self, name: &str, partitions: u32) -> Topic {
        self.catalog.create(name, TopicConfig::default().partitions(partitions)).unwrap()
    }

    fn written_topic(&self, name: &str, partitions: u32) -> Topic {
        let config = TopicConfig::default().partitions(partitions).durability(Durability::Written);
        self.catalog.create(name, config).unwrap()
    }

    fn builder(&self) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(&self.sender))
    }

    fn producer(&self) -> Producer {
        self.builder().build().unwrap()
    }

    /// A producer whose batches wait until they are full or asked for.
    fn patient(&self) -> Producer {
        self.builder().linger(Duration::from_secs(3600)).build().unwrap()
    }

    /// Runs the sender's task on a thread, as the handle does.
    fn background(&self) -> Stopper {
        let signal = Arc::new(Signal::new());
        let stop = Arc::default();
        let woken = Arc::clone(&signal);
        self.catalog.schedule().on_wake(Box::new(move |_| woken.notify()));
        let task = Background { sender: Arc::clone(&self.sender), stop: Arc::clone(&stop) };
        let running = self.env.spawn("test", Arc::clone(&signal), Box::new(task)).unwrap();
        Stopper { signal, stop, running: Some(running) }
    }
}

/// What a partition shows to readers, in order.
fn values(topic: &Topic, partition: u32) -> Vec<String> {
    let batches = topic.partition(partition).unwrap().read(0);
    batches.flat_map(|batch| texts(&batch.unwrap())).collect()
}

fn texts(batch: &crate::partition::read::batch::Batch) -> Vec<String> {
    batch.iter().map(|r| String::from_utf8_lossy(r.value.unwrap_or(b"null")).into_owned()).collect()
}

/// How many records each batch of a partition has.
fn batch_sizes(topic: &Topic, partition: u32) -> Vec<usize> {
    topic.partition(partition).unwrap().read(0).map(|batch| batch.unwrap().iter().count()).collect()
}

/// How many records an error says were not delivered, and the kind of its cause.
fn undelivered<T: fmt::Debug>(result: Result<T>) -> (u64, ErrorKind) {
    match result.unwrap_err() {
        Error::Undelivered { records, cause, .. } => (records, cause.kind()),
        other => panic!("{other}"),
    }
}

fn kind<T: fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn handles_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Producer>();
    shared::<Delivery>();
    shared::<Sender>();
    shared::<ProducerRecord<'_>>();
    shared::<RecordMetadata>();
    shared::<TryEnqueueError<'_>>();
    shared::<ProducerBuilder>();
}

#[test]
fn invalid_settings_are_refused_by_name() {
    let world = World::new();
    for (builder, name) in [
        (world.builder().batch_size(1), "batch_size"),
        (world.builder().batch_size(usize::MAX).buffer_memory(usize::MAX), "batch_size"),
        (world.builder().buffer_memory(1000), "buffer_memory"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(matches!(&error, Error::InvalidConfig { key, .. } if key == name), "{error}");
    }
}

#[test]
fn a_read_only_log_has_no_producer() {
    let env: Arc<dyn Env> = MemoryEnv::new();
    World::on(Arc::clone(&env)).topic("t", 1);
    let world = World::open(env, true);
    assert_eq!(kind(world.builder().build()), ErrorKind::ReadOnly);
}

/// Not a claim: `cargo test --release -- --ignored --nocapture how_fast`.
#[test]
#[ignore = "a measurement"]
fn how_fast() {
    let dir = tempfile::tempdir().unwrap();
    let env: Arc<dyn Env> = crate::env::real::RealEnv::new();
    let options = SharedOptions { read_only: false, read_mode: ReadMode::Mapped, max_open_files: 64 };
    let data_dir = DataDir::open(Arc::clone(&env), dir.path(), options).unwrap();
    let catalog = Arc::new(Catalog::open(data_dir, &mut |_| true).unwrap().0);
    let world = World { env, sender: Sender::new(Arc::clone(&catalog)), catalog };
    let _background = world.background();
    let value = [7u8; 100];
    let count = 3_000_000u32;
    for (name, topic) in
        [("written", world.written_topic("written", 1)), ("flushed", world.topic("flushed", 1))]
    {
        let producer = world.producer();
        for by_name in [true, false] {
            let begun = std::time::Instant::now();
            for _ in 0..count {
                let record = match by_name {
                    true => ProducerRecord::new(name, &value),
                    false => ProducerRecord::new(&topic, &value),
                };
                producer.enqueue(record).unwrap();
            }
            producer.flush().unwrap();
            let rate = f64::from(count) / begun.elapsed().as_secs_f64() / 1e6;
            println!("enqueue, {name}, by name {by_name}: {rate:.1} M records/s");
        }
        let begun = std::time::Instant::now();
        let sends = if name == "written" { 500_000 } else { 2_000 };
        for _ in 0..sends {
            producer.send(ProducerRecord::new(name, &value)).unwrap();
        }
        println!("send, {name}: {:.2} us", begun.elapsed().as_secs_f64() * 1e6 / f64::from(sends));
    }
}
