//! A program that makes words of lines exactly once, killed again and again: after every death there are the words of the lines
//! that it has committed, no more and no less, and in the end those that one uninterrupted run writes. (I6, I7, I8)
//!
//! The test starts its own program once more as the counter, which says on its standard output what it has committed, and
//! kills it at a random moment. `STREAMLOG_KILLS` sets how often; the default is 15.

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use streamlog::{
    Durability, ProducerRecord, RecordData, Streamlog, Topic, TopicConfig,
    clients::{AutoOffsetReset, IsolationLevel},
};
use support::*;

/// Says to a copy of this program that it is the counter, and where.
const COUNTER: &str = "STREAMLOG_TEST_COUNTER";
/// Which life of the counter it is.
const LIFE: &str = "STREAMLOG_TEST_LIFE";
const GROUP: &str = "counter";

/// The text of a line, the same each time. Some have no words.
fn line(number: u64) -> String {
    let mut random = Random(number);
    let words = random.below(5);
    (0..words).map(|_| format!("word-{}", random.below(20))).collect::<Vec<_>>().join(" ")
}

fn lines_topic(log: &Streamlog) -> Topic {
    log.topic_or_create("lines", TopicConfig::default().durability(Durability::Written)).unwrap()
}

fn words_topic(log: &Streamlog) -> Topic {
    log.topic_or_create("words", TopicConfig::default().partitions(3).segment_bytes(16 << 10)).unwrap()
}

type Records = Vec<(String, String)>;

/// The keys and values of each partition.
fn words(log: &Streamlog, isolation: IsolationLevel) -> Vec<Records> {
    let of = |partition: streamlog::Partition| {
        let records = partition.records_with(0, isolation).map(Result::unwrap);
        records.map(|r| (r.key_text().into_owned(), r.value_text().into_owned())).collect()
    };
    words_topic(log).partitions().into_iter().map(of).collect()
}

/// How often each word came.
fn counts(partitions: &[Records]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (word, _) in partitions.iter().flatten() {
        *counts.entry(word.clone()).or_default() += 1;
    }
    counts
}

/// How many lines the group has committed.
fn committed(log: &Streamlog) -> u64 {
    let lines = lines_topic(log).partition(0).unwrap().topic_partition().clone();
    let found = log.consumer(GROUP).unwrap().committed(std::slice::from_ref(&lines)).unwrap();
    found[&lines].as_ref().map_or(0, |committed| committed.offset.value())
}

/// Writes lines and counts their words: until there are `total` lines, or for ever. Each life cuts its transactions in its own
/// way; some of them it aborts, and counts their lines again.
fn count_words(log: &Streamlog, life: u64, total: Option<u64>, mut said: impl FnMut(u64)) {
    let mut random = Random(life);
    let lines = lines_topic(log).partition(0).unwrap();
    // In every other life it is written as it comes.
    let buffer = [100, 1 << 20][life as usize % 2];
    let producer = log.producer_builder().transaction_buffer(buffer).build().unwrap();
    let consumer = log.consumer_builder(GROUP).auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = consumer.max_poll_records(1 + random.below(60) as usize).build().unwrap();
    consumer.subscribe(["lines"]).unwrap();
    let mut counted = counts(&words(log, IsolationLevel::ReadCommitted));
    loop {
        let end = lines.log_end_offset().value();
        let until = (end + random.below(40)).min(total.unwrap_or(u64::MAX));
        let records: Vec<_> = (end..until).map(|number| RecordData::new(line(number))).collect();
        if !records.is_empty() {
            lines.append(&records).unwrap();
        }
        let records = consumer.poll(Duration::ZERO).unwrap();
        let Some(first) = records.iter().next() else {
            if total == Some(until) {
                return;
            }
            continue;
        };
        let before = counted.clone();
        let mut transaction = producer.begin_transaction().unwrap();
        for record in &records {
            for word in record.value_text().split(' ').filter(|word| !word.is_empty()) {
                let count = counted.entry(word.to_string()).or_default();
                *count += 1;
                transaction.send(ProducerRecord::new("words", count.to_string()).key(word)).unwrap();
            }
        }
        if random.below(5) == 0 {
            transaction.abort().unwrap();
            counted = before;
            consumer.seek(lines.topic_partition(), first.offset).unwrap();
            continue;
        }
        transaction.send_offsets(&consumer).unwrap();
        transaction.commit().unwrap();
        said(first.offset.value() + records.len() as u64);
    }
}

/// Not a test of its own: this is the counter, when the program was started as one.
#[test]
fn counter() {
    let Ok(dir) = std::env::var(COUNTER) else { return };
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let log = Streamlog::open(dir).unwrap();
    let mut out = std::io::stdout();
    count_words(&log, life, None, |lines| writeln!(out, "committed {lines}").unwrap());
}

fn start_counter(dir: &Path, life: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "counter", "--nocapture", "--test-threads", "1"])
        .env(COUNTER, dir)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a counter live for a while, from its start or from its first commit on, and says up to where it has said that lines
/// are committed.
fn live_and_die(dir: &Path, life: u64, lifetime: Duration, from_first: bool) -> u64 {
    let mut counter = start_counter(dir, life);
    let output = BufReader::new(counter.stdout.take().unwrap());
    let (wrote, first) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut committed = 0;
        for line in output.lines() {
            let line = line.unwrap();
            let mut words = line.split(' ').skip_while(|word| *word != "committed").skip(1);
            // A number that the kill cut short is a smaller one.
            let Some(Ok(lines)) = words.next().map(str::parse::<u64>) else { continue };
            committed = lines.max(committed);
            // Nobody waits any more after the first.
            let _ = wrote.send(());
        }
        committed
    });
    if from_first {
        first.recv().expect("the counter committed before it ended");
    }
    std::thread::sleep(lifetime);
    counter.kill().unwrap();
    let status = counter.wait().unwrap();
    assert_eq!(status.code(), None, "the counter ends by being killed only: {status}");
    reader.join().unwrap()
}

/// The words of so many lines, each with its values in order.
fn expected(lines: u64) -> BTreeMap<String, Vec<String>> {
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in (0..lines).map(line) {
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let values = expected.entry(word.to_string()).or_default();
            values.push((values.len() + 1).to_string());
        }
    }
    expected
}

/// The same of what is in the topic.
fn by_word(partitions: &[Records]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (word, value) in partitions.iter().flatten() {
        found.entry(word.clone()).or_default().push(value.clone());
    }
    found
}

#[test]
fn what_is_committed_is_whole_after_every_kill_and_the_end_is_that_of_an_uninterrupted_run() {
    let kills: u64 = std::env::var("STREAMLOG_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(15);
    let root = quick_dir();
    let (dir, copy) = (root.path().join("log"), root.path().join("copy"));
    let mut random = Random(seed());
    let (mut life, mut seen) = (0, 0);
    // Every other counter is killed after it committed, so that in the end there is enough on the slowest machine.
    while life < kills {
        let lifetime = Duration::from_micros(random.below(100_000));
        let acknowledged = live_and_die(&dir, life, lifetime, life % 2 == 0);
        // Mostly the next counter has to find out for itself what was decided.
        let look_at = if life % 4 == 0 || !dir.exists() {
            &dir
        } else {
            image(&dir, &copy);
            &copy
        };
        let log = Streamlog::open(look_at).unwrap();
        let committed = committed(&log);
        assert!(committed >= acknowledged, "life {life}: {committed} lines of {acknowledged} are committed");
        assert!(committed >= seen, "life {life}: {committed} lines are committed, and were {seen} before");
        let found = by_word(&words(&log, IsolationLevel::ReadCommitted));
        assert!(found == expected(committed), "life {life}: other words than those of {committed} lines");
        log.close().unwrap();
        seen = committed;
        life += 1;
    }

    let log = Streamlog::open(&dir).unwrap();
    let total = lines_topic(&log).partition(0).unwrap().log_end_offset().value() + 100;
    count_words(&log, life, Some(total), |_| {});
    let uninterrupted = Streamlog::in_memory().unwrap();
    count_words(&uninterrupted, 1, Some(total), |_| {});
    assert_eq!(committed(&log), total);
    let killed = words(&log, IsolationLevel::ReadCommitted);
    assert!(killed == words(&uninterrupted, IsolationLevel::ReadCommitted), "{total} lines");
    let sum = |partitions: &[Records]| partitions.iter().map(Vec::len).sum::<usize>();
    let (counted, written) = (sum(&killed), sum(&words(&log, IsolationLevel::ReadUncommitted)));
    assert!(counted > 100 && written > counted, "{counted} words count of {written} that were written");
    println!("{total} lines in {life} lives, {counted} words, and {} that do not count", written - counted);
}
