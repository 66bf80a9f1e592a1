//! A process that writes until something ends it, and what its directory has to show afterwards.
//!
//! A test file starts its own program once more as the writer, which says on its standard output what was acknowledged:
//! appends to a `Flushed` and to a `Written` topic, flushes, commits of a consumer group, and new log starts. What it
//! appends follows from its life's number and the offset, so that whoever looks knows what belongs where.

#![allow(dead_code, unreachable_pub, reason = "every test file takes its own part")]

use super::Random;
use std::{
    fmt::Display,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use streamlog::{Durability, Error, Partition, RecordData, Streamlog, TopicConfig, admin::RecoveryVerdict};

/// Says to a copy of this program that it is the writer, and where.
const DIRECTORY: &str = "STREAMLOG_TEST_WRITER";
/// Which life of the writer it is.
const LIFE: &str = "STREAMLOG_TEST_LIFE";
/// How many appends it makes before it ends by itself.
const APPENDS: &str = "STREAMLOG_TEST_APPENDS";
/// Which of the planted mistakes it makes: to see whether the test notices.
pub const PLANT: &str = "STREAMLOG_PLANT";
/// The writer's own mistake: it says that an append is acknowledged before it is made.
pub const TOO_EARLY: &str = "acknowledge_before_the_append";
/// How the writer ends when an operation was refused.
const REFUSED: i32 = 3;
const TOPICS: [(&str, Durability); 2] = [("flushed", Durability::Flushed), ("written", Durability::Written)];
const GROUP: &str = "readers";

fn config(durability: Durability) -> TopicConfig {
    TopicConfig::default().segment_bytes(16 << 10).index_interval_bytes(512).durability(durability)
}

/// What the writer's life `life` puts at `offset`.
fn content(life: u64, offset: u64) -> String {
    format!("{life} {offset} {}", "x".repeat((offset % 50) as usize))
}

/// The writer, when the program was started as one: it does not return then.
pub fn write_if_asked() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse().ok());
    if let Ok(plant) = std::env::var(PLANT) {
        let mut known = streamlog::planted::NAMES.iter().chain(streamlog::planted::OUTSIDE);
        let known = known.find(|name| **name == plant);
        assert!(known.is_some() || plant == TOO_EARLY, "no mistake is called {plant}");
        streamlog::planted::plant(known.copied());
    }
    std::panic::set_hook(Box::new(|info| {
        say(format_args!("panicked {}", info.to_string().replace('\n', " ")))
    }));
    println!();
    let ended = write(Path::new(&dir), number(LIFE).unwrap(), number(APPENDS).unwrap_or(u64::MAX));
    if let Err(error) = ended {
        say(format_args!("refused {:?} {error}", error.kind()));
        std::process::exit(REFUSED);
    }
    say("ended");
    std::process::exit(0);
}

fn say(what: impl Display) {
    // Nobody listens any more where the test was ended.
    if writeln!(std::io::stdout(), "{what}").is_err() {
        std::process::exit(REFUSED);
    }
}

fn write(dir: &Path, life: u64, appends: u64) -> Result<(), Error> {
    let log = Streamlog::open(dir)?;
    let mut partitions = Vec::new();
    for (name, durability) in TOPICS {
        partitions.push(log.topic_or_create(name, config(durability))?.partition(0)?);
    }
    let found: Vec<u64> = partitions.iter().map(|p| p.log_end_offset().value()).collect();
    let mut consumer = log.consumer(GROUP)?;
    consumer.subscribe(TOPICS.map(|(name, _)| name))?;
    let mut random = Random(life);
    let too_early = std::env::var(PLANT).is_ok_and(|plant| plant == TOO_EARLY);
    say("ready");
    for _ in 0..appends {
        // The cheaper one more often.
        let which = usize::from(random.below(4) > 0);
        let partition = &partitions[which];
        let end = partition.log_end_offset().value();
        let values: Vec<String> = (end..end + 1 + random.below(8)).map(|i| content(life, i)).collect();
        let records: Vec<_> = values.iter().map(RecordData::new).collect();
        if too_early {
            say(format_args!("acknowledged {which} {}", end + records.len() as u64));
        }
        let given = partition.append(&records)?;
        assert_eq!(given.start, end);
        say(format_args!("acknowledged {which} {}", given.end));
        match random.below(100) {
            0..4 => {
                let end = partition.log_end_offset();
                partition.flush()?;
                say(format_args!("flushed {which} {end}"));
            }
            4..7 => {
                let polled = consumer.poll(Duration::ZERO)?;
                // It moves on when what it committed was removed.
                let moved = polled.resets().iter().all(|reset| reset.from < reset.to);
                assert!(moved, "{:?}", polled.resets());
                consumer.commit_sync()?;
                for (which, partition) in partitions.iter().enumerate() {
                    let position = consumer.position(partition.topic_partition())?;
                    say(format_args!("committed {which} {position}"));
                }
            }
            // Never what nobody has seen yet.
            7 => {
                let before = found[which].min(end.saturating_sub(500));
                if before > partition.log_start_offset().value() {
                    let start = log.delete_records(TOPICS[which].0, 0, before)?;
                    say(format_args!("start {which} {start}"));
                }
            }
            _ => {}
        }
    }
    log.close()
}

/// What a writer said, for each of its partitions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// What survives the process.
    pub acknowledged: [u64; 2],
    /// What survives a power cut.
    pub durable: [u64; 2],
    /// What the group had committed.
    pub committed: [u64; 2],
    /// Before which offset nothing is any more.
    pub start: [u64; 2],
}

/// How a writer ended, as it says itself.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    pub said: Said,
    /// The error that it met.
    pub refused: Option<String>,
    /// Its panic, which may never be.
    panicked: Option<String>,
    /// Whether it did all that it was to do.
    pub whole: bool,
}

/// A writer that lives; it dies with this.
pub struct Writer {
    child: Child,
    /// What it said so far.
    said: Arc<Mutex<Said>>,
    output: Option<JoinHandle<Ended>>,
}

impl Writer {
    /// How the program is started as a writer.
    pub fn arguments() -> [&'static str; 5] {
        ["--exact", "writer", "--nocapture", "--test-threads", "1"]
    }

    /// Starts one.
    pub fn start(dir: &Path, life: u64) -> Writer {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(Writer::arguments());
        Writer::start_as(&mut command, dir, life, None)
    }

    /// Starts one by a command that runs this program with [`Self::arguments`].
    pub fn start_as(command: &mut Command, dir: &Path, life: u64, appends: Option<u64>) -> Writer {
        command.env(DIRECTORY, dir).env(LIFE, life.to_string()).stdout(Stdio::piped());
        if let Some(appends) = appends {
            command.env(APPENDS, appends.to_string());
        }
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::default();
        let heard = Arc::clone(&said);
        Writer { child, said, output: Some(std::thread::spawn(move || listen(output, &heard))) }
    }

    /// What it has said by now.
    pub fn said(&self) -> Said {
        *self.said.lock().unwrap()
    }

    /// Sleeps until it has told of an append, however slow the machine is. A writer that ends before that fails the test.
    pub fn wait_until_it_wrote(&self) {
        while self.said().acknowledged == [0; 2] {
            let ended = self.output.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended || self.said().acknowledged != [0; 2], "the writer ended before it wrote");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills it, unless it ended before.
    pub fn kill(self) -> Ended {
        self.end(true)
    }

    /// Waits until it ends by itself, or is killed by what the test has set up.
    pub fn wait(self) -> Ended {
        self.end(false)
    }

    fn end(mut self, kill: bool) -> Ended {
        if kill {
            self.child.kill().unwrap();
        }
        let status = self.child.wait().unwrap();
        let ended = self.output.take().unwrap().join().unwrap();
        assert_no_panic(status, &ended);
        ended
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A writer ends by being killed, by an error that it told, or because it was done.
fn assert_no_panic(status: ExitStatus, ended: &Ended) {
    assert!(ended.panicked.is_none(), "{status}: {ended:?}");
    match status.code() {
        None => {}
        // A shell's way to tell of a signal.
        Some(137) => {}
        Some(REFUSED) => assert!(ended.refused.is_some(), "{status}"),
        Some(0) => assert!(ended.whole, "{status}"),
        Some(_) => panic!("the writer ended with {status}: {ended:?}"),
    }
}

fn listen(output: impl BufRead, heard: &Mutex<Said>) -> Ended {
    let mut ended = Ended::default();
    for line in output.lines() {
        let line = line.unwrap();
        if let Some(error) = line.strip_prefix("refused ") {
            ended.refused = Some(error.to_owned());
        }
        if let Some(panic) = line.strip_prefix("panicked ") {
            ended.panicked = Some(panic.to_owned());
        }
        ended.whole |= line == "ended";
        let mut words = line.split(' ');
        // A line that a kill cut short says nothing, or a smaller number.
        let (Some(what), Some(which), Some(offset)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let (Ok(which), Ok(offset)) = (which.parse::<usize>(), offset.parse::<u64>()) else { continue };
        let Said { acknowledged, durable, committed, start } = &mut ended.said;
        let raise = |known: &mut [u64; 2]| known[which] = known[which].max(offset);
        match what {
            "acknowledged" => {
                raise(acknowledged);
                if TOPICS[which].1 == Durability::Flushed {
                    raise(durable);
                }
            }
            "flushed" => raise(durable),
            // A commit makes the data that it covers durable before itself.
            "committed" => {
                raise(durable);
                raise(committed);
            }
            "start" => raise(start),
            _ => {}
        }
        *heard.lock().unwrap() = ended.said;
    }
    ended
}

/// What lasts of a directory, over all lives of its writers.
#[derive(Default)]
pub struct Seen {
    values: [Vec<String>; 2],
    start: [u64; 2],
    committed: [u64; 2],
    /// How many torn tails were cut.
    pub cuts: u64,
}

impl Seen {
    /// How many records there are, over all partitions.
    pub fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    /// Opens the directory that the writer's life `life` left, and looks whether everything is there up to `least`,
    /// what was seen before is unchanged, and the rest is what this life appended, without a gap and nothing twice.
    pub fn check(&mut self, dir: &Path, life: u64, said: &Said, least: &[u64; 2]) {
        let log = Streamlog::open(dir).unwrap_or_else(|e| panic!("life {life}: {e}"));
        for partition in &log.recovery_report().partitions {
            match &partition.verdict {
                RecoveryVerdict::Whole => {}
                RecoveryVerdict::TornTail { .. } => self.cuts += 1,
                other => panic!("life {life}: {other:?}"),
            }
        }
        for (which, (name, _)) in TOPICS.iter().enumerate() {
            let Ok(topic) = log.topic(name) else {
                assert_eq!((least[which], said.start[which]), (0, 0), "life {life}: {name} is gone");
                assert!(self.values[which].is_empty(), "life {life}: {name} is gone");
                continue;
            };
            self.check_partition(which, &topic.partition(0).unwrap(), life, said, least[which]);
        }
        self.check_group(&log, life, said);
        log.close().unwrap_or_else(|e| panic!("life {life}: {e}"));
    }

    fn check_partition(&mut self, which: usize, partition: &Partition, life: u64, said: &Said, least: u64) {
        let context = format!("{}, life {life}, {said:?}", TOPICS[which].0);
        let start = partition.log_start_offset().value();
        assert!(start >= self.start[which].max(said.start[which]), "{context}: what was removed came back");
        self.start[which] = start;
        let before = &mut self.values[which];
        // All of it is read now and then, the rest of the time what is new and a little before.
        let back = if life % 10 == 9 { before.len() } else { 100 };
        let from = before.len().saturating_sub(back).max(start as usize);
        let now = values(partition, from, &context);
        let end = from + now.len();
        assert_eq!(end as u64, partition.log_end_offset().value(), "{context}");
        assert!(end as u64 >= least, "{context}: {end} is less than was acknowledged");
        assert!(end >= before.len(), "{context}: {end} is less than was seen");
        let (old, new) = now.split_at(before.len() - from);
        assert!(old == &before[from..], "{context}: what was seen has changed");
        for (offset, value) in (before.len() as u64..).zip(new) {
            assert_eq!(*value, content(life, offset), "{context}");
        }
        before.extend_from_slice(new);
    }

    fn check_group(&mut self, log: &Streamlog, life: u64, said: &Said) {
        let committed = log.describe_group(GROUP).map(|group| group.committed).unwrap_or_default();
        for (which, (name, _)) in TOPICS.iter().enumerate() {
            let known = self.committed[which].max(said.committed[which]);
            let found = committed.iter().find(|(partition, _)| partition.topic.as_ref() == *name);
            let found = found.map_or(0, |(_, committed)| committed.offset.value());
            let context = format!("the group in {name}, life {life}");
            assert!(found >= known, "{context}: {found} is less than {known}, which was acknowledged");
            assert!(found <= self.values[which].len() as u64, "{context}: {found} is beyond the end");
            self.committed[which] = found;
        }
    }
}

/// Everything in a partition from an offset on, which has no gap and nothing twice.
fn values(partition: &Partition, from: usize, context: &str) -> Vec<String> {
    let mut values = Vec::new();
    for batch in partition.read(from as u64) {
        for record in &batch.unwrap_or_else(|e| panic!("{context}: {e}")) {
            assert_eq!(record.offset, (from + values.len()) as u64, "{context}");
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    values
}
