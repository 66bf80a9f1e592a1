//! Exactly once: lines become words, in transactions that carry the consumer's offsets. Killed at any moment and started again,
//! the program continues after the last committed transaction, and the topic `words` holds what one uninterrupted run writes.
//!
//! How often each word has come is stored nowhere else: it is read back from `words`, whose committed records are those of
//! exactly the lines that the group has committed.

mod support;

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    iter,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use streamlog::{
    Partition, ProducerRecord, Streamlog, Topic, TopicConfig,
    clients::{AutoOffsetReset, IsolationLevel},
};
use support::{Scratch, say};

const ABOUT: &str = "Lines become words in transactions. The topic `lines` gets the lines of the files; the topic `words` gets one record for
each word, whose key is the word and whose value says how often it has come so far. Killed and started again, it continues.

  --dir DIR    where the log is, or will be; it is continued (default: a temporary directory, removed at the end)
  --count N    how many lines there are in all: the files are repeated, or cut short (default: each file once)
  FILE...      the files (default: the source of this program)";

const OWN_SOURCE: &[u8] = include_bytes!("exactly_once.rs");

/// How many lines a transaction takes at most.
const LINES: usize = 1000;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Lines<'a> = Box<dyn Iterator<Item = Result<Vec<u8>, Failure>> + 'a>;
type Counts = HashMap<Vec<u8>, u64>;

struct Arguments {
    dir: Option<PathBuf>,
    count: Option<u64>,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match run(&arguments()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("exactly_once: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let total = arguments.total()?;
    let scratch = Scratch::new("exactly_once");
    let dir = arguments.dir.as_deref().unwrap_or(scratch.path());
    // One that was killed a moment ago may still hold the lock.
    let log = Streamlog::builder(dir).wait_for_lock(Duration::from_secs(10)).open()?;
    let lines = log.topic_or_create("lines", TopicConfig::default())?.partition(0)?;
    let words = log.topic_or_create("words", TopicConfig::default().partitions(4))?;
    // Each line is one record, so that the end of the log is the number of lines.
    let begun = lines.log_end_offset().value();
    if begun > total {
        log.close()?;
        fail(&format!("{} has {begun} lines already, and there must not be less than that", dir.display()));
    }
    say!("{begun} of {total} lines are in {}", dir.display());

    let is_over = AtomicBool::new(false);
    let (written, committed) = thread::scope(|scope| {
        let writer = scope.spawn(|| write_lines(&log, arguments, begun..total, &is_over));
        let committed = count_words(&log, &words, || writer.is_finished());
        is_over.store(true, Ordering::SeqCst);
        (writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), committed)
    });
    written?;
    let committed = committed?;

    let read = lines.log_end_offset();
    let wrote: u64 = counts(&words)?.values().sum();
    log.close()?;
    say!("read {read} lines, wrote {wrote} words, committed {committed} transactions");
    Ok(())
}

/// Writes the lines of these numbers, unless it is over before. A death leaves a prefix of them.
fn write_lines(
    log: &Streamlog,
    arguments: &Arguments,
    lines: Range<u64>,
    is_over: &AtomicBool,
) -> Result<(), Failure> {
    let producer = log.producer()?;
    let mut number = 0;
    while number < lines.end {
        let before = number;
        for line in arguments.once().take((lines.end - number) as usize) {
            let line = line?;
            if number >= lines.start {
                producer.enqueue(ProducerRecord::new("lines", &line))?;
            }
            if is_over.load(Ordering::SeqCst) {
                return Ok(());
            }
            number += 1;
        }
        if number == before {
            return Err(
                "the files had lines a moment ago, and have none now: they are read more than once".into()
            );
        }
    }
    Ok(producer.flush()?)
}

/// Reads lines and writes their words, until all lines that will be written are done. Returns how many transactions that took.
fn count_words(log: &Streamlog, words: &Topic, is_written: impl Fn() -> bool) -> Result<u64, Failure> {
    let producer = log.producer()?;
    let consumer = log.consumer_builder("counter").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = consumer.max_poll_records(LINES).build()?;
    consumer.subscribe(["lines"])?;
    let mut counts = counts(words)?;
    let mut committed = 0;
    loop {
        // Asked before the poll, which finds everything that was written before it.
        let is_last = is_written();
        let records = consumer.poll(Duration::from_millis(100))?;
        if records.is_empty() {
            match is_last {
                true => return Ok(committed),
                false => continue,
            }
        }
        let mut transaction = producer.begin_transaction()?;
        for line in &records {
            for word in words_of(line.value.unwrap_or_default()) {
                let count = counts.entry(word.to_vec()).or_default();
                *count += 1;
                transaction.send(ProducerRecord::new("words", count.to_string()).key(word))?;
            }
        }
        transaction.send_offsets(&consumer)?;
        transaction.commit()?;
        committed += 1;
    }
}

/// How often each word came in what was committed.
fn counts(words: &Topic) -> Result<Counts, Failure> {
    let mut counts = Counts::new();
    for partition in words.partitions() {
        count_in(&partition, &mut counts)?;
    }
    Ok(counts)
}

/// All records of a word are in one partition, in order, and their values count from 1.
fn count_in(partition: &Partition, counts: &mut Counts) -> Result<(), Failure> {
    for record in partition.records_with(partition.log_start_offset(), IsolationLevel::ReadCommitted) {
        let record = record?;
        let count = counts.entry(record.key.as_deref().unwrap_or_default().to_vec()).or_default();
        *count += 1;
        if record.value_text() != count.to_string() {
            let (name, offset) = (partition.topic_partition(), record.offset);
            let found = record.value_text();
            return Err(format!("{name}, offset {offset}: '{found}' where {count} was expected").into());
        }
    }
    Ok(())
}

/// What stands between white space. Bytes that are not UTF-8 are parts of words.
fn words_of(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut words, mut begin, mut at) = (Vec::new(), 0, 0);
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            let next = at + character.len_utf8();
            if character.is_whitespace() {
                words.push(&line[begin..at]);
                begin = next;
            }
            at = next;
        }
        at += chunk.invalid().len();
    }
    words.push(&line[begin..]);
    words.into_iter().filter(|word| !word.is_empty())
}

impl Arguments {
    /// How many lines there are in all.
    fn total(&self) -> Result<u64, Failure> {
        let mut once = 0;
        for line in self.once() {
            line?;
            once += 1;
        }
        match self.count {
            Some(_) if once == 0 => Err("the files have no lines".into()),
            count => Ok(count.unwrap_or(once)),
        }
    }

    /// The lines of all files, one after the other.
    fn once(&self) -> Lines<'_> {
        match self.files.is_empty() {
            true => Box::new(OWN_SOURCE.lines().map(|line| Ok(line?.into_bytes()))),
            false => Box::new(self.files.iter().flat_map(|path| lines_of(path))),
        }
    }
}

/// The lines of a file. The last one need not have an end.
fn lines_of(path: &Path) -> Lines<'_> {
    let named = |error| format!("{}: {error}", path.display()).into();
    match File::open(path) {
        Ok(file) => Box::new(BufReader::new(file).split(b'\n').map(move |line| line.map_err(named))),
        Err(error) => Box::new(iter::once(Err(named(error)))),
    }
}

fn arguments() -> Arguments {
    let mut found = Arguments { dir: None, count: None, files: Vec::new() };
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || match given.next() {
            Some(value) => value,
            None => fail(&format!("{} needs a value", argument.display())),
        };
        match argument.to_str() {
            Some("--help" | "-h") => {
                say!("{ABOUT}");
                std::process::exit(0);
            }
            Some("--dir") => found.dir = Some(value().into()),
            Some("--count") => {
                let value = value();
                found.count = match value.to_string_lossy().parse() {
                    Ok(count) if count > 0 => Some(count),
                    _ => fail(&format!("--count is a number from 1 on, not {}", value.display())),
                };
            }
            Some(option) if option.starts_with('-') => fail(&format!("{option} is unknown")),
            _ => found.files.push(argument.into()),
        }
    }
    found
}

fn fail(reason: &str) -> ! {
    eprintln!("{reason} (--help says how it is called)");
    std::process::exit(2);
}
