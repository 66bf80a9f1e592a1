//! The two background tasks: long work of one does not delay what the other has promised.

use crate::{
    Durability, ProducerRecord, RecordData, Streamlog, TopicConfig,
    config::Builder,
    env::{
        Env, File, Open, Running, Task, forward_to_env,
        memory::MemoryEnv,
        sync::{Condvar, Mutex, Signal},
    },
    types::Timestamp,
};
use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// For what comes in any case; a claim that fails waits as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine in memory on which one call waits: the one that puts a file of this ending into place, or removes one.
#[derive(Debug)]
struct Halting {
    memory: Arc<MemoryEnv>,
    ending: &'static str,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    waiting: usize,
    /// Of which name no thread is started.
    no_thread: Option<&'static str>,
}

impl Halting {
    fn at(ending: &'static str) -> Arc<Halting> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Halting { memory: MemoryEnv::new(), ending, state, changed })
    }

    fn halt_at(&self, path: &Path) {
        if !path.to_string_lossy().ends_with(self.ending) {
            return;
        }
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while !state.is_open {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
    }

    /// Returns when a step has begun to wait.
    fn wait_for_halt(&self) {
        let mut state = self.state.lock();
        while state.waiting == 0 {
            let late = self.changed.wait_until(&mut state, Instant::now() + PATIENCE).timed_out();
            assert!(!late, "no step has come to {}", self.ending);
        }
    }

    /// Lets all steps continue.
    fn open_up(&self) {
        self.state.lock().is_open = true;
        self.changed.notify_all();
    }
}

/// A claim that fails also lets all steps continue: a log that closes waits for its tasks.
struct Ends(Arc<Halting>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.open_up();
    }
}

impl Env for Halting {
    forward_to_env!(memory: create_dir, list, metadata, remove_dir, sync_dir, lock, now, monotonic, random);
    forward_to_env!(memory: identity, wait, run_all);

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        self.memory.open(path, how)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.halt_at(to);
        self.memory.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.halt_at(path);
        self.memory.remove_file(path)
    }
    fn spawn(&self, name: &str, signal: Arc<Signal>, task: Box<dyn Task>) -> io::Result<Box<dyn Running>> {
        if self.state.lock().no_thread == Some(name) {
            return Err(io::Error::other("no thread is left"));
        }
        self.memory.spawn(name, signal, task)
    }
}

fn open(env: &Arc<Halting>) -> Streamlog {
    Builder::with_env(Arc::clone(env) as Arc<dyn Env>, Path::new("/data")).open().unwrap()
}

/// Rolls a segment whose only record is of 1970: there is a checkpoint to take, a segment to finish and one to remove.
fn make_work_for_care(log: &Streamlog) {
    let config = TopicConfig::default().segment_bytes(600).retention_time(Duration::from_secs(3600));
    let partition = log.create_topic("cared", config).unwrap().partition(0).unwrap();
    for time in [Timestamp::from_millis(1), Timestamp::now()] {
        partition.append(&[RecordData::new(&[7; 400]).timestamp(time)]).unwrap();
    }
}

fn until(what: &str, fact: impl Fn() -> bool) {
    let begun = Instant::now();
    while !fact() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_record_that_lingers_leaves_while_a_checkpoint_a_seal_or_retention_takes_its_time() {
    for step in ["leader-epoch-checkpoint", ".pages", "00000000000000000000.log"] {
        let env = Halting::at(step);
        let log = open(&env);
        let _ends = Ends(Arc::clone(&env));
        let often = TopicConfig::default().durability(Durability::Interval(Duration::from_millis(1)));
        let often = log.create_topic("often", often).unwrap().partition(0).unwrap();
        log.create_topic("t", TopicConfig::default()).unwrap();
        make_work_for_care(&log);
        env.wait_for_halt();
        let producer = log.producer().unwrap();
        for topic in ["t", "cared"] {
            let delivery = producer.enqueue(ProducerRecord::new(topic, "lingers")).unwrap();
            let delivered = delivery.wait_timeout(PATIENCE);
            assert!(delivered.is_ok(), "beside {step}, in {topic}: {delivered:?}");
        }
        often.append(&[RecordData::new("flushed soon")]).unwrap();
        until("the interval is over, and nothing is flushed", || !often.log().is_dirty());
        env.wait_for_halt();
        assert_eq!(log.stats().background_threads, 2);
        env.open_up();
        until("the rest is done", || {
            log.topic("cared").unwrap().partition(0).unwrap().log_start_offset() == 1
        });
        log.close().unwrap();
    }
}

#[test]
fn a_task_without_a_thread_shows_in_health_keeps_the_other_from_nothing_and_is_started_later() {
    let env = Halting::at("nothing ends so");
    let log = open(&env);
    log.create_topic("t", TopicConfig::default()).unwrap();
    env.state.lock().no_thread = Some("care");
    make_work_for_care(&log);
    let error = log.health().background.unwrap().to_string();
    assert!(error.contains("streamlog-care") && error.contains("no thread is left"), "{error}");
    let producer = log.producer().unwrap();
    producer.enqueue(ProducerRecord::new("t", "lingers")).unwrap().wait_timeout(PATIENCE).unwrap();
    assert_eq!(log.stats().background_threads, 1);
    let cared = log.topic("cared").unwrap().partition(0).unwrap();
    assert_eq!(cared.log_start_offset(), 0);
    env.state.lock().no_thread = None;
    until("a later call starts it", || {
        producer.send(ProducerRecord::new("t", "later")).unwrap();
        cared.log_start_offset() == 1
    });
    assert!(log.health().is_good() && log.stats().background_threads == 2, "{:?}", log.health());
    log.close().unwrap();
}
