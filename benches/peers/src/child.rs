//! Work that needs a process of its own: to be killed, or to be measured from nothing.
//!
//! The child is this program with other arguments; its answer is the last line it prints.

use crate::{
    machine::{held, peak_anonymous},
    records::Records,
    subject::{Place, Result, Seen, Subject},
    subjects::SUBJECTS,
};
use std::{path::Path, process::Command, time::Instant};

/// What a child does.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// Appends so many bytes to segments of this size, flushes all but the last `unflushed` of them, and is killed.
    FillAndDie { bytes: usize, segment: usize, unflushed: usize },
    /// Appends, and tells the peak of its anonymous memory.
    PeakOfAppend { bytes: usize },
    /// Scans what the former appended, and tells the same.
    PeakOfScan { bytes: usize },
    /// Opens idle partitions: milliseconds, threads, mappings, KiB.
    OpenIdle,
}

/// The argument that makes this program a child.
pub const ARGUMENT: &str = "--child";

/// Bytes of a record in the logs that are opened, and killed.
pub const FILL_LEN: usize = 1024;
/// Records of a batch in them.
pub const FILL_BATCH: usize = 64;

/// Does a task in a child, and gives its answer.
pub fn run(subject: &Subject, dir: &Path, task: Task) -> Result<Vec<f64>> {
    let (name, numbers) = match task {
        Task::FillAndDie { bytes, segment, unflushed } => ("fill", vec![bytes, segment, unflushed]),
        Task::PeakOfAppend { bytes } => ("append", vec![bytes]),
        Task::PeakOfScan { bytes } => ("scan", vec![bytes]),
        Task::OpenIdle => ("idle", vec![]),
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).arg(name).arg(subject.name).arg(dir);
    command.args(numbers.iter().map(usize::to_string));
    let output = command.output()?;
    let killed = matches!(task, Task::FillAndDie { .. });
    if !killed && !output.status.success() || killed && output.status.code().is_some() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("the child ended with {}: {}", output.status, said.trim()).into());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.lines().last().unwrap_or_default();
    Ok(last.split(' ').filter_map(|word| word.parse().ok()).collect())
}

/// The child's side.
pub fn be(arguments: &[String]) -> Result<()> {
    let [task, name, dir, numbers @ ..] = arguments else { return Err("a child needs a task".into()) };
    let subject = SUBJECTS.iter().find(|subject| subject.name == name).ok_or("an unknown subject")?;
    let number = |at: usize| -> Result<usize> { Ok(numbers.get(at).ok_or("a number is missing")?.parse()?) };
    let dir = Path::new(dir);
    let place = |bytes: usize| Place { dir, room: bytes as u64, segment: 256 << 20 };
    match task.as_str() {
        "fill" => {
            let place = Place { segment: number(1)? as u64, ..place(number(0)?) };
            fill(subject, &place, number(0)?, number(2)?)
        }
        "append" => {
            let make = subject.append.ok_or("it does not append")?;
            let (count, place) = (number(0)? / 100, place(number(0)?));
            let records = Records::of(100);
            let (done, peak) = peak_anonymous(|| -> Result<()> {
                let mut log = make(&place)?;
                log.batched(&records, 0..count, 1000)?;
                log.flush()
            });
            done?;
            println!("{peak}");
            Ok(())
        }
        "scan" => {
            let read = subject.scan.ok_or("it does not scan")?;
            let (seen, peak) = peak_anonymous(|| -> Result<Seen> {
                let mut log = read(&place(number(0)?))?;
                // Who is slow reads a part: seconds are enough to see memory grow.
                let start = Instant::now();
                log.scan(1000)?;
                let each = start.elapsed().as_secs_f64() / 1000.0;
                log.scan((2.0 / each) as u64)
            });
            std::hint::black_box(seen?);
            println!("{peak}");
            Ok(())
        }
        "idle" => {
            let open = subject.open_idle.ok_or("it has no partitions")?;
            let before = held();
            let start = Instant::now();
            let log = open(&place(0))?;
            let time = start.elapsed();
            let after = held();
            let (threads, mappings) = (after.threads - before.threads, after.mappings - before.mappings);
            let kib = after.anonymous_bytes.saturating_sub(before.anonymous_bytes) >> 10;
            println!("{} {threads} {mappings} {kib}", time.as_secs_f64() * 1e3);
            drop(log);
            Ok(())
        }
        other => Err(format!("an unknown task: {other}").into()),
    }
}

fn fill(subject: &Subject, place: &Place, bytes: usize, unflushed: usize) -> Result<()> {
    let make = subject.append.ok_or("it does not append")?;
    let records = Records::of(FILL_LEN);
    let (flushed, all) = ((bytes - unflushed) / FILL_LEN, bytes / FILL_LEN);
    let mut log = make(place)?;
    log.batched(&records, 0..flushed, FILL_BATCH)?;
    log.flush()?;
    log.batched(&records, flushed..all, FILL_BATCH)?;
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Err("still alive".into())
}
