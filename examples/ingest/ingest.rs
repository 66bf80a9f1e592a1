//! Text files into a log, line by line, and back out in parallel.
//!
//! ```sh
//! cargo run --release --example ingest -- [OPTIONS] FILE...     (`-` is standard input)
//!
//!   --dir DIR                       where the log lives; kept, and continued by the next run (default: a temporary one)
//!   --topic NAME                    default: lines
//!   --partitions N                  default: 4
//!   --durability flushed|written    default: flushed
//!   --key PATTERN                   a regular expression; its match (the first group, if it has one) is the key
//! ```
//!
//! To continue a killed run, run it again over the same files. Each record carries its source and line number, and each
//! partition is a prefix of what was sent to it, so the missing lines are, per partition, exactly those after the last one
//! that is there. Nothing is lost, nothing comes twice.

#[path = "../support/mod.rs"]
mod support;

use regex::Regex;
use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};
use streamlog::{
    Consumer, Durability, Producer, ProducerRecord, Streamlog, Topic, TopicConfig, TopicPartition,
    clients::partition_for_key,
};
use support::{Scratch, say};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A likely subject of a line in most logs: a block, an address without its port, a user, a session.
const DEFAULT_KEY: &str = r"blk_-?\d+|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|user \w+|sessionid:0x[0-9a-f]+";

struct Options {
    dir: Option<PathBuf>,
    topic: String,
    partitions: Option<u32>,
    durability: Durability,
    key: Regex,
    files: Vec<String>,
}

const USAGE: &str = "\
usage: ingest [OPTIONS] FILE...   (`-` is standard input)

  --dir DIR                      where the log lives; kept, and continued by the next run (default: a temporary one)
  --topic NAME                   default: lines
  --partitions N                 of a new topic; an existing one must have as many (default: 4)
  --durability flushed|written   what an acknowledged line survives: a power cut, or the process (default: flushed)
  --key PATTERN                  a regular expression; its match (the first group, if it has one) is the key";

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        say!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("ingest: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ingest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        dir: None,
        topic: "lines".into(),
        partitions: None,
        durability: Durability::Flushed,
        key: Regex::new(DEFAULT_KEY)?,
        files: Vec::new(),
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--dir" => options.dir = Some(value()?.into()),
            "--topic" => options.topic = value()?,
            "--partitions" => {
                let count = value()?;
                let error = |e| format!("--partitions is a number, not '{count}': {e}");
                options.partitions = Some(count.parse().map_err(error)?);
            }
            "--durability" => {
                options.durability = match value()?.as_str() {
                    "flushed" => Durability::Flushed,
                    "written" => Durability::Written,
                    other => return Err(format!("--durability is flushed or written, not '{other}'").into()),
                }
            }
            "--key" => {
                let pattern = value()?;
                let error = |e| format!("--key is a regular expression, and '{pattern}' is not one: {e}");
                options.key = Regex::new(&pattern).map_err(error)?;
            }
            option if option.starts_with('-') && option != "-" => {
                return Err(format!("there is no option {option}").into());
            }
            _ => options.files.push(arg),
        }
    }
    if options.files.is_empty() {
        return Err("no file was named".into());
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Failure> {
    // Removed at the end, after an error too.
    let temporary = Scratch::new("ingest");
    let dir = options.dir.as_deref().unwrap_or(temporary.path());
    let log = Streamlog::open(dir)?;
    report_recovery(&log);
    let there = log.topic(&options.topic).map(|topic| topic.partition_count());
    let partitions = options.partitions.or(there.ok()).unwrap_or(4);
    let config = TopicConfig::default()
        .partitions(partitions)
        .durability(options.durability)
        .max_message_bytes(16 << 20);
    let topic = log.topic_or_create(&options.topic, config)?;
    let there = Arrived::count(&topic)?;
    if there.records > 0 {
        say!("continuing: {} records are there already", there.records);
    }
    ingest_and_consume(&log, &topic, options, there)?;
    log.close()?;
    Ok(())
}

fn report_recovery(log: &Streamlog) {
    let report = log.recovery_report();
    if !report.was_clean {
        let bytes: u64 = report.partitions.iter().map(|p| p.bytes_read).sum();
        say!("the last run did not close its log; recovery read {bytes} bytes in {:?}", report.elapsed);
    }
}

/// The lines already in the log: per source and partition, the number of the last one.
#[derive(Default)]
struct Arrived {
    last: HashMap<(String, u32), u64>,
    records: u64,
}

impl Arrived {
    fn count(topic: &Topic) -> Result<Arrived, Failure> {
        let mut arrived = Arrived::default();
        for partition in topic.partitions() {
            for batch in partition.read(0) {
                for record in &batch? {
                    let (source, line) =
                        origin(record.headers.into_iter()).ok_or("a record without its origin")?;
                    arrived.records += 1;
                    match arrived.last.get_mut(&(source.to_string(), partition.index())) {
                        Some(last) => *last = line,
                        None => drop(arrived.last.insert((source.to_string(), partition.index()), line)),
                    }
                }
            }
        }
        Ok(arrived)
    }
}

/// Where a record came from, by its headers.
fn origin<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Option<(&'a str, u64)> {
    let (mut source, mut line) = (None, None);
    for (name, value) in headers {
        match name {
            "source" => source = std::str::from_utf8(value?).ok(),
            "line" => line = std::str::from_utf8(value?).ok()?.parse().ok(),
            _ => {}
        }
    }
    Some((source?, line?))
}

fn ingest_and_consume(
    log: &Streamlog,
    topic: &Topic,
    options: &Options,
    there: Arrived,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let sent = AtomicU64::new(0);
    let taken = AtomicU64::new(0);
    let all_sent = AtomicBool::new(false);
    let mut keys: HashMap<Vec<u8>, u64> = HashMap::new();
    std::thread::scope(|scope| -> Result<(), Failure> {
        let consumers: Vec<_> = (0..topic.partition_count())
            .map(|partition| {
                let (taken, all_sent) = (&taken, &all_sent);
                scope.spawn(move || consume(log, topic.name(), partition, taken, all_sent))
            })
            .collect();
        let progress = scope.spawn(|| show_progress(&sent, &taken, &all_sent, begun));
        let result = ingest(log, topic, options, &there, &sent);
        all_sent.store(true, Ordering::SeqCst);
        for consumer in consumers {
            let counted = consumer.join().map_err(|_| "a consumer panicked")??;
            counted.into_iter().for_each(|(key, n)| *keys.entry(key).or_default() += n);
        }
        progress.join().map_err(|_| "the progress display panicked")?;
        result
    })?;
    let elapsed = begun.elapsed();
    let (sent, taken) = (sent.into_inner(), taken.into_inner());
    let rate = |n: u64| n as f64 / elapsed.as_secs_f64();
    say!(
        "sent {sent} and read {taken} records in {elapsed:.2?}: {:.0} and {:.0} per second",
        rate(sent),
        rate(taken)
    );
    let mut busiest: Vec<_> = keys.into_iter().collect();
    busiest.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    say!("{} different keys; the busiest:", busiest.len());
    for (key, count) in busiest.iter().take(5) {
        say!("  {count:8}  {}", String::from_utf8_lossy(key));
    }
    say!("ingested {} records, consumed {taken}", there.records + sent);
    Ok(())
}

fn ingest(
    log: &Streamlog,
    topic: &Topic,
    options: &Options,
    there: &Arrived,
    sent: &AtomicU64,
) -> Result<(), Failure> {
    let producer = log.producer()?;
    for (place, file) in options.files.iter().enumerate() {
        let input: Box<dyn BufRead> = match file.as_str() {
            "-" => Box::new(std::io::stdin().lock()),
            path => Box::new(BufReader::new(File::open(path).map_err(|e| format!("{path}: {e}"))?)),
        };
        // A file may be given twice, so its place among the arguments is part of its name.
        ingest_lines(&producer, topic, options, there, sent, &format!("{place}:{file}"), input)?;
    }
    producer.flush()?;
    producer.close()?;
    Ok(())
}

fn ingest_lines(
    producer: &Producer,
    topic: &Topic,
    options: &Options,
    there: &Arrived,
    sent: &AtomicU64,
    source: &str,
    mut input: Box<dyn BufRead>,
) -> Result<(), Failure> {
    let partitions = topic.partition_count();
    let last: Vec<u64> =
        (0..partitions).map(|p| there.last.get(&(source.to_string(), p)).copied().unwrap_or(0)).collect();
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let value = line.strip_suffix(b"\n").unwrap_or(&line);
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        let text = String::from_utf8_lossy(value);
        let key = options.key.captures(&text).and_then(|c| c.get(1).or(c.get(0))).map(|m| m.as_str());
        // The number of a line without a key chooses its partition, so that it is the same after a crash.
        let partition = match key {
            Some(key) => partition_for_key(key.as_bytes(), partitions),
            None => u32::try_from(number % u64::from(partitions))?,
        };
        if last.get(partition as usize).is_some_and(|last| number <= *last) {
            continue;
        }
        let line_number = number.to_string();
        let mut record = ProducerRecord::new(topic, value)
            .partition(partition)
            .header("source", source)
            .header("line", &line_number);
        if let Some(key) = key {
            record = record.key(key);
        }
        producer.enqueue(record)?;
        sent.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads a partition from its beginning until everything was sent and read, and counts keys.
fn consume(
    log: &Streamlog,
    topic: &str,
    partition: u32,
    taken: &AtomicU64,
    all_sent: &AtomicBool,
) -> Result<HashMap<Vec<u8>, u64>, Failure> {
    let place = TopicPartition::new(topic, partition);
    let mut consumer: Consumer = log.consumer("ingest")?;
    consumer.assign([place.clone()])?;
    consumer.seek_to_beginning(std::slice::from_ref(&place))?;
    let mut keys: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    loop {
        let was_all = all_sent.load(Ordering::SeqCst);
        let records = consumer.poll(Duration::from_millis(50))?;
        for record in &records {
            let (source, line) = origin(record.headers.into_iter()).ok_or("a record without its origin")?;
            let before = match lines.get_mut(source) {
                Some(last) => std::mem::replace(last, line),
                None => lines.insert(source.to_string(), line).unwrap_or(0),
            };
            if before >= line {
                return Err(format!("line {line} of {source} came after line {before}").into());
            }
            if let Some(key) = record.key {
                match keys.get_mut(key) {
                    Some(count) => *count += 1,
                    None => drop(keys.insert(key.to_vec(), 1)),
                }
            }
        }
        taken.fetch_add(records.len() as u64, Ordering::Relaxed);
        if was_all && records.is_empty() {
            return Ok(keys);
        }
    }
}

fn show_progress(sent: &AtomicU64, taken: &AtomicU64, all_sent: &AtomicBool, begun: Instant) {
    let terminal = std::io::stderr().is_terminal();
    let mut shown = Instant::now();
    while !all_sent.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(50));
        if shown.elapsed() < Duration::from_millis(if terminal { 200 } else { 2000 }) {
            continue;
        }
        shown = Instant::now();
        let (sent, taken) = (sent.load(Ordering::Relaxed), taken.load(Ordering::Relaxed));
        let rate = sent as f64 / begun.elapsed().as_secs_f64();
        let end = if terminal { '\r' } else { '\n' };
        eprint!("{sent} records in, {taken} out, {rate:.0} per second{end}");
        std::io::stderr().flush().ok();
    }
    if terminal {
        eprintln!();
    }
}
