//! A producing process is killed three times. Each time the next one finds every acknowledged record, none twice, and
//! continues.
//!
//! The example starts itself as the process that is killed.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};
use streamlog::{ProducerRecord, Result, Streamlog, TopicConfig};
use support::{Scratch, no_arguments, say};

const ABOUT: &str = "A producing process is killed three times. Each time the next one finds every acknowledged record, none twice, and continues.";

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    if let (Some(role), Some(dir)) = (args.next(), args.next())
        && role == "produce"
    {
        return produce(Path::new(&dir));
    }
    no_arguments(ABOUT);
    let dir = Scratch::new("crash");
    let mut acknowledged = 0;
    for life in 1..=3 {
        acknowledged = kill_in_the_middle(dir.path(), acknowledged + 300);
        say!("process {life}: killed after {acknowledged} acknowledged records");
        let log = Streamlog::open(dir.path())?;
        for found in &log.recovery_report().partitions {
            say!("  recovery read {} bytes of {}: {:?}", found.bytes_read, found.partition, found.verdict);
        }
        let partition = log.topic("events")?.partition(0)?;
        let mut next = 0u64;
        for batch in partition.read(0) {
            for record in &batch? {
                assert_eq!(record.value, Some(next.to_be_bytes().as_slice()), "in order, none twice, no gap");
                next += 1;
            }
        }
        assert!(next >= acknowledged, "nothing acknowledged is missing");
        say!("  {next} records are there: every acknowledged one, and those in flight");
        acknowledged = next;
        log.close()?;
    }
    say!("three kills, nothing lost, nothing twice");
    Ok(())
}

/// Appends numbers, continuing where the log ends, and prints each one that was acknowledged. Never ends by itself.
fn produce(dir: &Path) -> Result<()> {
    let log = Streamlog::open(dir)?;
    let topic = log.topic_or_create("events", TopicConfig::default())?;
    let mut next = topic.partition(0)?.log_end_offset().value();
    let producer = log.producer()?;
    loop {
        producer.send(ProducerRecord::new("events", &next.to_be_bytes()))?;
        next += 1;
        // The parent process has ended.
        if writeln!(std::io::stdout(), "{next}").is_err() {
            return Ok(());
        }
    }
}

/// Runs `produce` in a process of its own, kills it once it has printed `at_least`, and returns the last number it printed.
fn kill_in_the_middle(dir: &Path, at_least: u64) -> u64 {
    let this = std::env::current_exe().expect("the example knows its own file");
    let mut child = Command::new(this)
        .arg("produce")
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example starts itself");
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut last = 0;
    for line in output.lines().map_while(std::result::Result::ok) {
        last = line.parse().unwrap_or(last);
        if last == at_least {
            child.kill().expect("the process can be killed");
        }
    }
    child.wait().expect("the process ends");
    last
}
