//! A table in a compacted topic: each update of a key is a record, and compaction keeps the newest of each key. The topic is
//! compacted while it is written and followed. Killed at any moment and started again, the program continues where the topic
//! ends, and comes to the same table.

mod support;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use streamlog::{
    ProducerRecord, Result, Streamlog, TopicConfig, admin::Compact, clients::AutoOffsetReset,
    config::CleanupPolicy,
};
use support::{Scratch, say};

const ABOUT: &str = "A table in a compacted topic, compacted while it is written and followed, and rebuilt from the topic at the end.

  --dir DIR      where the log is, or will be; it is continued (default: a temporary directory, removed at the end)
  --keys K       how many keys the table has (default: 5000)
  --updates N    how many updates there are in all (default: 400000)";

type Table = BTreeMap<String, String>;

struct Arguments {
    dir: Option<PathBuf>,
    keys: u64,
    updates: u64,
}

impl Arguments {
    /// Of another number of keys another table is made, in a topic of its own.
    fn topic(&self) -> String {
        format!("table-of-{}-keys", self.keys)
    }
}

fn main() -> Result<()> {
    let arguments = arguments();
    let scratch = Scratch::new("table");
    let dir = arguments.dir.clone().unwrap_or_else(|| scratch.path().to_path_buf());
    // One that was killed a moment ago may still hold the lock.
    let log = Streamlog::builder(&dir).wait_for_lock(Duration::from_secs(10)).open()?;
    let topic = arguments.topic();
    let config = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(1 << 20);
    let partition = log.topic_or_create(&topic, config)?.partition(0)?;
    // Compaction leaves records at their offsets, so that the end of the log is the number of updates.
    let begun = partition.log_end_offset().value();
    if begun > arguments.updates {
        fail(&format!("{} has {begun} updates already; --updates must not be less", dir.display()));
    }
    say!("{begun} of {} updates are in {}", arguments.updates, dir.display());

    let is_written = AtomicBool::new(false);
    let followed = thread::scope(|scope| -> Result<Table> {
        let follower = scope.spawn(|| follow(&log, &topic, &is_written));
        let cleaner = scope.spawn(|| compact_until(&log, &topic, &is_written));
        let written = write(&log, &arguments, begun);
        is_written.store(true, Ordering::SeqCst);
        joined(cleaner)?;
        written?;
        joined(follower)
    })?;

    let done = log.compact_now(&topic, Compact::new())?;
    say!(
        "the last compaction rewrote {} segments and left {}",
        done.segments_rewritten,
        done.segments_untouched
    );
    let (mut rebuilt, mut kept) = (Table::new(), 0);
    for record in partition.records(partition.log_start_offset()) {
        let record = record?;
        apply(&mut rebuilt, record.key_str(), record.value_str());
        kept += 1;
    }
    let expected = expected(&arguments);
    assert_eq!(rebuilt, expected, "the table that was rebuilt from what compaction kept");
    assert_eq!(followed, expected, "the table that was followed meanwhile");
    let bytes = log.disk_usage()?.topics.get(&topic).map_or(0, |usage| usage.records);
    log.close()?;
    let Arguments { keys, updates, .. } = arguments;
    say!("{keys} keys, {updates} updates, kept {kept} records in {bytes} bytes, table rebuilt equal");
    Ok(())
}

/// The key of an update, and its value: none where it deletes.
fn update(number: u64, keys: u64) -> (String, Option<String>) {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20;
    let key = format!("key-{}", mixed % keys);
    let deletes = (mixed / keys).is_multiple_of(20);
    (key, (!deletes).then(|| format!("update {number} of what the table holds")))
}

fn expected(arguments: &Arguments) -> Table {
    let mut table = Table::new();
    for number in 0..arguments.updates {
        let (key, value) = update(number, arguments.keys);
        apply(&mut table, Some(&key), value.as_deref());
    }
    table
}

fn apply(table: &mut Table, key: Option<&str>, value: Option<&str>) {
    let key = key.expect("a topic that is compacted has keys");
    match value {
        Some(value) => table.insert(key.to_string(), value.to_string()),
        None => table.remove(key),
    };
}

fn write(log: &Streamlog, arguments: &Arguments, begun: u64) -> Result<()> {
    let topic = arguments.topic();
    let producer = log.producer()?;
    for number in begun..arguments.updates {
        let (key, value) = update(number, arguments.keys);
        match &value {
            Some(value) => producer.enqueue(ProducerRecord::new(&topic, value).key(&key))?,
            None => producer.enqueue(ProducerRecord::tombstone(&topic, &key))?,
        };
    }
    producer.flush()
}

/// Reads from the beginning until nothing more is written, while records are compacted before and after it.
fn follow(log: &Streamlog, topic: &str, is_written: &AtomicBool) -> Result<Table> {
    let mut table = Table::new();
    let earliest = AutoOffsetReset::Earliest;
    let mut consumer = log.consumer_builder_without_group().auto_offset_reset(earliest).build()?;
    consumer.subscribe([topic])?;
    loop {
        let is_last = is_written.load(Ordering::SeqCst);
        let records = consumer.poll(Duration::from_millis(100))?;
        for record in &records {
            apply(&mut table, record.key_str(), record.value_str());
        }
        if is_last && records.is_empty() {
            return Ok(table);
        }
    }
}

/// Compacts again and again: more than the background does, which waits until half of the topic is dirty.
fn compact_until(log: &Streamlog, topic: &str, is_written: &AtomicBool) -> Result<()> {
    while !is_written.load(Ordering::SeqCst) {
        log.compact_now(topic, Compact::new())?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn arguments() -> Arguments {
    let mut found = Arguments { dir: None, keys: 5_000, updates: 400_000 };
    let mut given = std::env::args_os().skip(1);
    while let Some(name) = given.next() {
        let name = name.to_string_lossy().into_owned();
        if name == "--help" || name == "-h" {
            say!("{ABOUT}");
            std::process::exit(0);
        }
        let Some(value) = given.next() else { fail(&format!("{name} needs a value, or is unknown")) };
        let number = || match value.to_string_lossy().parse::<u64>() {
            Ok(number) if number > 0 => number,
            _ => fail(&format!("{name} is a number from 1 on, not {}", value.display())),
        };
        match name.as_str() {
            "--dir" => found.dir = Some(PathBuf::from(value)),
            "--keys" => found.keys = number(),
            "--updates" => found.updates = number(),
            _ => fail(&format!("{name} is unknown")),
        }
    }
    found
}

fn fail(reason: &str) -> ! {
    eprintln!("{reason} (--help says how it is called)");
    std::process::exit(2);
}
