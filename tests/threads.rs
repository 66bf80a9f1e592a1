//! Threads: which there are, when they begin, and that none outlives its log.

#![cfg(target_os = "linux")]

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};
use streamlog::{Producer, ProducerRecord, Streamlog, TopicConfig};

/// Each claim counts the threads of its process, and is alone there: run again as a program of its own.
fn alone(name: &str, claim: impl FnOnce()) {
    if std::env::var_os("STREAMLOG_ALONE").is_some() {
        return claim();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--test-threads=1", "--nocapture"]).env("STREAMLOG_ALONE", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The names of our threads.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut ours: Vec<String> =
        names.map(|name| name.trim().to_string()).filter(|name| name.starts_with("streamlog-")).collect();
    ours.sort();
    ours
}

/// A joined thread is gone for its joiner, and for the system a moment later.
fn assert_no_threads() {
    let begun = Instant::now();
    while !threads().is_empty() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(threads(), Vec::<String>::new());
}

/// Over as many partitions as there are.
fn send_batch(producer: &Producer) {
    let values: Vec<String> = (0..32).map(|i| i.to_string()).collect();
    let records: Vec<_> =
        (0..).zip(&values).map(|(i, value)| ProducerRecord::new("t", value).partition(i % 16)).collect();
    assert_eq!(producer.send_batch(&records).unwrap().len(), 32);
}

fn open(dir: &tempfile::TempDir, threads: bool) -> (Streamlog, Producer) {
    let log = Streamlog::builder(dir.path().join("log")).background_thread(threads).open().unwrap();
    if log.topic("t").is_err() {
        log.create_topic("t", TopicConfig::default().partitions(16)).unwrap();
    }
    let producer = log.producer().unwrap();
    (log, producer)
}

#[test]
fn where_threads_are_forbidden_there_is_none() {
    alone("where_threads_are_forbidden_there_is_none", || {
        let dir = tempfile::tempdir().unwrap();
        let (log, producer) = open(&dir, false);
        send_batch(&producer);
        for partition in 0..16 {
            producer.enqueue(ProducerRecord::new("t", "x").partition(partition)).unwrap();
        }
        producer.flush().unwrap();
        log.maintain().unwrap();
        assert_eq!(threads(), Vec::<String>::new());
        let stats = log.stats();
        assert!(!stats.background_thread && stats.flush_threads == 0);
        log.close().unwrap();
        assert_eq!(threads(), Vec::<String>::new());
    });
}

#[test]
fn the_threads_of_a_log_are_counted_and_end_with_it() {
    alone("the_threads_of_a_log_are_counted_and_end_with_it", || {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let logs = dirs.each_ref().map(|dir| open(dir, true));
        for _ in 0..50 {
            logs.iter().for_each(|(_, producer)| send_batch(producer));
        }
        logs[0].1.enqueue(ProducerRecord::new("t", "x")).unwrap().wait().unwrap();
        let count = |name: &str| threads().iter().filter(|thread| *thread == name).count();
        assert_eq!(count("streamlog-work"), 1);
        let [first, second] = logs.each_ref().map(|(log, _)| log.stats());
        assert!(first.background_thread && !second.background_thread);
        assert!(first.flush_threads <= 7 && second.flush_threads <= 7, "{first:?} {second:?}");
        assert!(count("streamlog-flush") > 0 || first.flush_threads == 0);
        let [(log, producer), other] = logs;
        log.close().unwrap();
        // The second log's are its own.
        assert_eq!(count("streamlog-work"), 0);
        send_batch(&other.1);
        drop(other);
        assert_no_threads();
        drop(producer);
    });
}

#[test]
fn dropping_the_last_handle_ends_the_threads_too() {
    alone("dropping_the_last_handle_ends_the_threads_too", || {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let (log, producer) = open(&dir, true);
            send_batch(&producer);
            producer.enqueue(ProducerRecord::new("t", "x")).unwrap();
            drop(log);
            drop(producer);
            assert_no_threads();
        }
    });
}
