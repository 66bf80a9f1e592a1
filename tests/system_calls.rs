//! A process that is killed, or meets an error, at a system call of the test's choice: nothing acknowledged is missing,
//! and what it met is a typed error. (I1, I2, I3, I5, I14, I18)
//!
//! strace counts the writer's calls and tampers with one of them. Which ones there are, and how often, a first writer
//! that is left alone tells. Where strace is missing or may not trace, the test says so and is skipped.
//!
//! What can be noticed this way, each with a planted mistake ([`CLAIMS`]) that is:
//!
//! * What was acknowledged is with the kernel when it is: a kill before a write loses nothing that was.
//! * An error of a write is none that may be passed over.
//! * A failed flush of data is final: it is not tried again with better luck. (An opening copies the file instead.)
//! * A call that a signal interrupted is made again, and the program sees nothing of it.
//! * Space that cannot be set aside is `DiskFull` before anything is written.
//!
//! What cannot: a kill leaves the kernel and its cache as they are. So whether a flush was made at all, and before what,
//! never shows here, nor does any order of writes that only a power cut tells apart: that is for the simulated disk
//! (`tests/crash_campaign`) and for real power cuts (`tests/power_cuts.rs`). strace makes a call fail or vanish, but not
//! half done: short writes are the simulated disk's, too. And a call that strace counts is tampered with at its beginning;
//! what a kill finds in its middle is `tests/killed_processes.rs`.
//!
//! `STREAMLOG_SYSTEM_CALLS` sets how many calls are tampered with; the default is 10, and `all` is every call that was
//! counted in every way. `STREAMLOG_PLANT` makes one of the planted mistakes.

#![cfg(target_os = "linux")]

mod support;
#[path = "support/writer.rs"]
mod writer_process;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::Command,
};
use support::*;
use writer_process::{Ended, PLANT, Seen, TOO_EARLY, Writer};

/// How many appends a writer makes.
const APPENDS: u64 = 60;
/// The calls that change files, or reach for them. An architecture need not have them all.
const CALLS: [&str; 18] = [
    "openat",
    "flock",
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
    "newfstatat",
    "getdents64",
];

/// Those that a signal may interrupt on a local file system: the others are not repeated, and need not be.
const INTERRUPTED: [&str; 8] =
    ["openat", "flock", "pwrite64", "write", "fdatasync", "ftruncate", "fallocate", "pread64"];

/// Not a test of its own: this is the writer, when the program was started as one.
#[test]
fn writer() {
    writer_process::write_if_asked();
}

/// What is done to a call. With a plus for good, not once.
const TAMPERINGS: [&str; 7] = [
    "signal=SIGKILL",
    "error=EIO",
    "error=ENOSPC",
    "error=EINTR",
    "error=EMFILE",
    "error=EDQUOT",
    "error=EIO+",
];

/// What must hold when calls of this kind on such files are tampered with in this way, and the mistake that breaks it.
struct Claim {
    call: &'static str,
    on: &'static str,
    tampering: &'static str,
    mistake: &'static str,
}

const CLAIMS: [Claim; 5] = [
    Claim { call: "pwrite64", on: ".log", tampering: "signal=SIGKILL", mistake: TOO_EARLY },
    Claim { call: "pwrite64", on: ".log", tampering: "error=EIO", mistake: "ignore_a_failed_write" },
    Claim { call: "fdatasync", on: ".log", tampering: "error=EIO", mistake: "retry_a_failed_flush" },
    Claim { call: "pwrite64", on: "", tampering: "error=EINTR", mistake: "give_up_when_interrupted" },
    Claim { call: "fallocate", on: ".log", tampering: "error=ENOSPC+", mistake: "take_space_for_granted" },
];

/// A call that a writer made on its directory: its number, as strace counts for each thread, and the file.
#[derive(Clone, Debug)]
struct Call {
    name: &'static str,
    number: u64,
    path: String,
}

/// Runs a writer under strace, which is told what to do, and returns what strace wrote.
fn run(dir: &Path, life: u64, mistake: Option<&str>, options: &[String]) -> (Ended, String) {
    let trace = dir.with_extension("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-o"]).arg(&trace).args(options);
    if let Some(mistake) = mistake {
        command.env(PLANT, mistake);
    }
    command.arg(std::env::current_exe().unwrap()).args(Writer::arguments());
    let ended = Writer::start_as(&mut command, dir, life, Some(APPENDS)).wait();
    (ended, fs::read_to_string(trace).unwrap())
}

/// Why strace cannot be used, where it cannot.
fn missing() -> Option<String> {
    match Command::new("strace").args(["-f", "-qq", "-e", "trace=none", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("strace: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Some(format!("strace: {error}")),
    }
}

/// The thread and the call of each line, and the first path in `dir`, where there is one.
fn lines<'a>(trace: &'a str, dir: &Path) -> impl Iterator<Item = (&'a str, &'static str, Option<String>)> {
    let dir = dir.to_str().unwrap().to_owned();
    trace.lines().filter_map(move |line| {
        let (thread, rest) = line.split_once(' ')?;
        let called =
            |call: &&&str| rest.trim_start().strip_prefix(**call).is_some_and(|r| r.starts_with('('));
        let call = CALLS.iter().find(called)?;
        let path = rest.find(&dir).map(|at| {
            let (path, after) = rest[at..].split_once(['>', '"']).unwrap();
            // A name below a directory that is held.
            match after.strip_prefix(", \"").and_then(|name| name.split('"').next()) {
                Some(name) => format!("{path}/{name}"),
                None => path.to_owned(),
            }
        });
        Some((thread, *call, path))
    })
}

/// The calls that a writer makes on its directory. Not those that the thread that starts the others makes as well, which
/// are the loader's.
fn count(dir: &Path) -> Vec<Call> {
    let traced = CALLS.map(|call| format!("?{call}")).join(",");
    let (ended, trace) = run(dir, 1, None, &["-e".into(), format!("trace={traced}")]);
    assert!(ended.whole, "{ended:?}");
    let mut numbers: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut ours = Vec::new();
    let first = trace.split_whitespace().next().unwrap();
    for (thread, name, path) in lines(&trace, dir) {
        let number = numbers.entry((thread, name)).or_default();
        *number += 1;
        if let Some(path) = path.filter(|_| thread != first) {
            ours.push(Call { name, number: *number, path });
        }
    }
    ours.retain(|call| call.number > numbers.get(&(first, call.name)).copied().unwrap_or(0));
    ours
}

/// Runs a writer whose call is tampered with. What must not be is a panic.
fn tamper(
    dir: &Path,
    life: u64,
    call: &Call,
    tampering: &str,
    mistake: Option<&str>,
    seen: &mut Seen,
) -> Ended {
    let Call { name, number, .. } = call;
    let (how, for_good) = match tampering.strip_suffix('+') {
        Some(how) => (how, "+"),
        None => (tampering, ""),
    };
    let inject = format!("inject={name}:{how}:when={number}{for_good}");
    let options = ["-e".into(), format!("trace={name},?rename,?renameat"), "-e".into(), inject.clone()];
    let (ended, trace) = run(dir, life, mistake, &options);
    let told = Told(life, &inject, &ended);
    let injected: String =
        trace.lines().filter(|l| l.contains("(INJECTED)")).flat_map(|l| [l, "\n"]).collect();
    // An opening whose flush fails copies the file, flushes that, and gives it the name.
    let renamed: Vec<String> = lines(&trace, dir)
        .filter(|(_, name, _)| name.starts_with("rename"))
        .filter_map(|(.., path)| path)
        .collect();
    let is_copied = |path: &String| renamed.contains(&format!("{path}.tmp"));
    let struck = lines(&injected, dir).filter_map(|(.., path)| path).filter(|path| !is_copied(path));
    let struck: Vec<String> = struck.collect();
    let on = |kinds: &[&str]| struck.iter().any(|path| kinds.iter().any(|kind| path.ends_with(kind)));
    let (flush, write) = (name.contains("sync"), name.contains("write"));
    match &ended.refused {
        Some(error) => {
            assert!(error.contains(dir.to_str().unwrap()), "{error}");
            assert!(
                !(how.contains("EINTR") && INTERRUPTED.contains(name)),
                "interrupted, and did not try again: {error}"
            );
            let full = *name == "fallocate" && (how.contains("ENOSPC") || how.contains("EDQUOT"));
            assert!(!full || error.starts_with("DiskFull"), "{error}");
        }
        None if ended.whole => {
            let fails = how.contains("error") && !how.contains("EINTR");
            assert!(!(fails && flush && on(&[".log", "manifest"])), "a failed flush was passed over");
            assert!(!(fails && write && on(&[".log"])), "a failed write was passed over");
            assert!(
                !(fails && *name == "fallocate" && for_good == "+" && on(&[".log"])),
                "no space, and went on"
            );
        }
        None => assert!(how.contains("KILL")),
    }
    // What a failed flush leaves in the cache need not be on the medium.
    let flush_failed = flush && how.contains("error");
    let least = if flush_failed { ended.said.durable } else { ended.said.acknowledged };
    seen.check(dir, life, &ended.said, &least);
    drop(told);
    ended
}

#[test]
fn what_was_acknowledged_survives_a_kill_or_an_error_at_any_system_call() {
    if let Some(why) = missing() {
        return println!("SKIPPED: {why}");
    }
    let root = tempfile::tempdir().unwrap();
    let calls = count(&root.path().join("counted"));
    let kinds: BTreeSet<&str> = calls.iter().map(|call| call.name).collect();
    assert!(kinds.len() > 5, "{kinds:?}");
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let mut random = Random(seed());
    let tries = std::env::var("STREAMLOG_SYSTEM_CALLS").unwrap_or("10".into());
    let mut plan: Vec<(&Call, &str)> = Vec::new();
    let drawn = if tries == "all" { 0 } else { tries.parse().unwrap() };
    if tries == "all" {
        plan.extend(calls.iter().flat_map(|call| TAMPERINGS.map(|how| (call, how))));
    }
    for _ in 0..drawn {
        let kind = kinds[random.below(kinds.len() as u64) as usize];
        let of_kind: Vec<&Call> = calls.iter().filter(|call| call.name == kind).collect();
        let call = of_kind[random.below(of_kind.len() as u64) as usize];
        plan.push((call, TAMPERINGS[random.below(TAMPERINGS.len() as u64) as usize]));
    }
    let mistake = std::env::var(PLANT).ok();
    let mut seen = Seen::default();
    let (mut whole, mut refused, mut killed) = (0, 0, 0);
    let (mut dir, mut life) = (root.path().join("log"), 1);
    for (i, (call, tampering)) in plan.iter().enumerate() {
        life += 1;
        if i % 200 == 199 {
            (dir, life, seen) = (root.path().join(format!("log{i}")), 2, Seen::default());
        }
        let ended = tamper(&dir, life, call, tampering, mistake.as_deref(), &mut seen);
        match (&ended.refused, ended.whole) {
            (Some(_), _) => refused += 1,
            (None, true) => whole += 1,
            (None, false) => killed += 1,
        }
    }
    let tries = plan.len();
    println!("{tries} calls tampered with: {killed} writers killed, {refused} refused, {whole} undisturbed");
    println!("{} records, {} torn tails", seen.count(), seen.cuts);
}

#[test]
fn every_claim_is_broken_by_a_planted_mistake() {
    if let Some(why) = missing() {
        return println!("SKIPPED: {why}");
    }
    let root = tempfile::tempdir().unwrap();
    let calls = count(&root.path().join("counted"));
    for claim in CLAIMS {
        let fits = |call: &&Call| call.name == claim.call && call.path.ends_with(claim.on);
        let fitting: Vec<&Call> = calls.iter().filter(fits).collect();
        if fitting.is_empty() {
            println!("SKIPPED: no {} of {}", claim.call, claim.on);
            continue;
        }
        let attempt = |i: usize, mistake: Option<&str>| {
            let dir = root.path().join(format!("{}-{i}-{}", claim.mistake, mistake.is_some()));
            let call = fitting[fitting.len() * i / 4];
            catch_unwind(AssertUnwindSafe(|| {
                tamper(&dir, 1, call, claim.tampering, mistake, &mut Seen::default());
            }))
        };
        let honest = attempt(2, None);
        assert!(honest.is_ok(), "{} is found where it is not", claim.mistake);
        let noticed = (0..4).rev().any(|i| attempt(i, Some(claim.mistake)).is_err());
        assert!(noticed, "{} is not noticed", claim.mistake);
    }
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
