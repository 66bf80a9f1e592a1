//! A process that is killed, or meets an error, at a system call of the test's choice: nothing acknowledged is missing,
//! and what it met is a typed error. (I1, I2, I3, I5, I14, I18)
//!
//! strace counts the writer's calls and tampers with one of them. Which ones there are, and how often, a first writer
//! that is left alone tells. Where strace is missing or may not trace, the test says so and is skipped.
//!
//! `STREAMLOG_SYSTEM_CALLS` sets how many calls are tampered with; the default is 10.

#![cfg(target_os = "linux")]

mod support;
#[path = "support/writer.rs"]
mod writer_process;

use std::{collections::BTreeMap, fs, path::Path, process::Command};
use support::*;
use writer_process::{Ended, Seen, Writer};

/// How many appends a writer makes.
const APPENDS: u64 = 60;
/// The calls that change files, or reach for them. An architecture need not have them all.
const CALLS: [&str; 16] = [
    "openat",
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "ftruncate",
    "fallocate",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "pread64",
    "statx",
    "getdents64",
];

/// Not a test of its own: this is the writer, when the program was started as one.
#[test]
fn writer() {
    writer_process::write_if_asked();
}

/// What is done to a call.
const TAMPERINGS: [&str; 7] = [
    "signal=SIGKILL",
    "error=EIO",
    "error=ENOSPC",
    "error=EINTR",
    "error=EMFILE",
    "error=EDQUOT",
    // For good, not once.
    "error=EIO:when=+",
];

/// Runs a writer under strace, which is told what to do.
fn run(dir: &Path, life: u64, options: &[String], trace: &Path) -> Ended {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(trace).args(options);
    command.arg(std::env::current_exe().unwrap()).args(Writer::arguments());
    Writer::start_as(&mut command, dir, life, Some(APPENDS)).wait()
}

/// Why strace cannot be used, where it cannot.
fn missing() -> Option<String> {
    match Command::new("strace").args(["-f", "-qq", "-e", "trace=none", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("strace: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Some(format!("strace: {error}")),
    }
}

/// Which of each kind of call a writer makes on its directory: their numbers, as strace counts them for each thread. Not
/// those that the thread that starts the others makes as well, which are the loader's.
fn count(root: &Path) -> BTreeMap<&'static str, Vec<u64>> {
    let (dir, trace) = (root.join("counted"), root.join("trace"));
    let traced = CALLS.map(|call| format!("?{call}")).join(",");
    let ended = run(&dir, 1, &["-y".into(), "-e".into(), format!("trace={traced}")], &trace);
    assert!(ended.whole, "{ended:?}");
    let mut numbers: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut ours: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    let lines = fs::read_to_string(&trace).unwrap();
    let first = lines.split_whitespace().next().unwrap();
    for line in lines.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some(call) = CALLS.iter().find(|call| rest.trim_start().starts_with(&format!("{call}("))) else {
            continue;
        };
        let number = numbers.entry((thread, call)).or_default();
        *number += 1;
        if thread != first && rest.contains(dir.to_str().unwrap()) {
            ours.entry(call).or_default().push(*number);
        }
    }
    for (call, found) in &mut ours {
        let loaders = numbers.get(&(first, *call)).copied().unwrap_or(0);
        found.retain(|number| *number > loaders);
    }
    ours
}

#[test]
fn what_was_acknowledged_survives_a_kill_or_an_error_at_any_system_call() {
    if let Some(why) = missing() {
        return println!("SKIPPED: {why}");
    }
    let tries = std::env::var("STREAMLOG_SYSTEM_CALLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10u64);
    let root = tempfile::tempdir().unwrap();
    let calls: Vec<(&str, Vec<u64>)> =
        count(root.path()).into_iter().filter(|(_, n)| !n.is_empty()).collect();
    assert!(calls.len() > 5, "{calls:?}");
    let dir = root.path().join("log");
    let mut random = Random(std::process::id().into());
    println!("seed {}", random.0);
    let mut seen = Seen::default();
    let (mut whole, mut refused, mut killed) = (0, 0, 0);
    for life in 2..2 + tries {
        let (call, numbers) = &calls[random.below(calls.len() as u64) as usize];
        let number = numbers[random.below(numbers.len() as u64) as usize];
        let tampering = TAMPERINGS[random.below(TAMPERINGS.len() as u64) as usize];
        let inject = match tampering.split_once(":when=+") {
            Some((error, _)) => format!("inject={call}:{error}:when={number}+"),
            None => format!("inject={call}:{tampering}:when={number}"),
        };
        let trace = root.path().join("trace");
        let ended =
            run(&dir, life, &["-e".into(), format!("trace={call}"), "-e".into(), inject.clone()], &trace);
        let told = Told(life, &inject, &ended);
        match &ended.refused {
            Some(error) => {
                refused += 1;
                assert!(error.contains(dir.to_str().unwrap()), "{error}");
            }
            None if ended.whole => whole += 1,
            None => {
                killed += 1;
                assert!(tampering.contains("KILL"));
            }
        }
        // What a failed flush leaves in the cache need not be on the medium.
        let flush_failed = call.contains("sync") && tampering.contains("error");
        let least = if flush_failed { ended.said.durable } else { ended.said.acknowledged };
        seen.check(&dir, life, &ended.said, &least);
        drop(told);
    }
    println!("{tries} calls tampered with: {killed} writers killed, {refused} refused, {whole} undisturbed");
    println!("{} records, {} torn tails", seen.count(), seen.cuts);
}

/// Tells what was done, when the test fails there.
struct Told<'a>(u64, &'a str, &'a Ended);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("life {}, {}: {:?}", self.0, self.1, self.2);
        }
    }
}
