//! Runs tests with one mistake switched on, and sees whether one of them fails.
//!
//! A run without a mistake finds which switches each test reaches and how long it takes; only tests that reach a mistake
//! judge it, the fastest first, in runs of several tests. Time is the processor's, so that a busy machine makes nobody slow;
//! a process in which no thread can run for seconds counts as hanging.

use crate::compile::{Program, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A test, and what it costs.
pub struct Test {
    pub program: usize,
    pub name: String,
    pub cost: Duration,
    idle: Duration,
}

/// Programs of tests and what is known of their tests.
pub struct Tests {
    programs: Vec<Program>,
    /// The package's, where tests expect to run.
    dir: PathBuf,
    pub all: Vec<Test>,
    /// By a mistake's number: the tests that reach it.
    pub reach: BTreeMap<u32, Vec<usize>>,
}

/// What became of a run.
pub enum Verdict {
    Passed,
    Failed(String),
    TookTooLong(String),
}

struct Run {
    verdict: Verdict,
    cost: Duration,
    idle: Duration,
}

/// What a run may take: of the processor, and without a thread that can run.
type Limits = (Duration, Duration);

const MIB_MAX: u64 = 6144;

impl Tests {
    /// Runs each test alone, without a mistake. Those that fail, which they should not, or take more than `budget` judge
    /// nothing.
    pub fn record(
        programs: Vec<Program>,
        dir: PathBuf,
        budget: Duration,
        scratch: &Path,
        workers: usize,
    ) -> Result<Tests> {
        let mut tests = Tests { programs, dir, all: Vec::new(), reach: BTreeMap::new() };
        let mut listed = Vec::new();
        for (program, Program { path, only }) in tests.programs.iter().enumerate() {
            let list =
                Command::new(path).args(["--list", "--format", "terse"]).current_dir(&tests.dir).output()?;
            let list = String::from_utf8(list.stdout)?;
            listed.extend(
                list.lines()
                    .filter_map(|line| line.strip_suffix(": test"))
                    .filter(|name| name.starts_with(only))
                    .map(|name| (program, name.to_owned())),
            );
        }
        if !listed.is_empty() {
            println!("{} tests in {} programs: what each reaches", listed.len(), tests.programs.len());
        }
        let results = crate::in_parallel(&listed, workers, |worker, (program, name)| {
            let reached = scratch.join(format!("reached-{worker}"));
            fs::write(&reached, [])?;
            let run = tests.run(
                *program,
                &[name],
                ("MUTANTS_REACHED", &reached.to_string_lossy()),
                (budget, budget * 5),
                scratch,
                worker,
            )?;
            Ok((run, fs::read(&reached)?))
        })?;
        for ((program, name), (run, reached)) in listed.into_iter().zip(results) {
            if !matches!(run.verdict, Verdict::Passed) {
                println!("without a mistake {name} fails or takes too long: it judges nothing");
                continue;
            }
            for (number, _) in reached.iter().enumerate().filter(|(_, byte)| **byte == 1) {
                tests.reach.entry(number as u32).or_default().push(tests.all.len());
            }
            tests.all.push(Test { program, name, cost: run.cost, idle: run.idle });
        }
        Ok(tests)
    }

    /// Runs the tests that reach a mistake, those of the same file first and then the fastest, until one fails or those
    /// that are left take more than `budget` together. The number of tests that were not run is the second value.
    pub fn judge(
        &self,
        number: u32,
        file: &str,
        budget: Duration,
        scratch: &Path,
        worker: usize,
    ) -> Result<(Verdict, usize)> {
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let mut tests: Vec<&Test> =
            self.reach.get(&number).into_iter().flatten().map(|test| &self.all[*test]).collect();
        // Of tests that take about as long, those of one program run together.
        let magnitude = |time: Duration| time.as_millis().checked_ilog(4);
        tests.sort_by_key(|test| match test.name.starts_with(&module) {
            true => (None, test.program, test.cost),
            false => (Some(magnitude(test.cost)), test.program, test.cost),
        });
        let (mut left, mut share, mut spent) = (&tests[..], Duration::from_millis(60), Duration::ZERO);
        while let Some(first) = left.first() {
            if spent + first.cost > budget {
                return Ok((Verdict::Passed, left.len()));
            }
            let mut cost = Duration::ZERO;
            let chunk = left.iter().take_while(|test| {
                cost += test.cost;
                test.program == first.program && cost <= share.max(first.cost)
            });
            let (chunk, rest) = left.split_at(chunk.count());
            let (cost, idle) = (
                chunk.iter().map(|test| test.cost).sum::<Duration>(),
                chunk.iter().map(|test| test.idle).sum::<Duration>(),
            );
            let names: Vec<&str> = chunk.iter().map(|test| &*test.name).collect();
            let limits = (cost * 5 + Duration::from_secs(1), idle * 3 + Duration::from_secs(3));
            let run =
                self.run(first.program, &names, ("MUTANT", &number.to_string()), limits, scratch, worker)?;
            if !matches!(run.verdict, Verdict::Passed) {
                return Ok((run.verdict, 0));
            }
            (left, share, spent) = (rest, (share * 2).min(budget), spent + cost);
        }
        Ok((Verdict::Passed, 0))
    }

    fn run(
        &self,
        program: usize,
        names: &[&str],
        env: (&str, &str),
        limits: Limits,
        scratch: &Path,
        worker: usize,
    ) -> Result<Run> {
        let temporary = scratch.join(format!("tmp-{worker}"));
        fs::create_dir_all(&temporary)?;
        let output = scratch.join(format!("output-{worker}"));
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -c 0; ulimit -v {}; exec \"$0\" \"$@\"", MIB_MAX << 10)]);
        command.arg(&self.programs[program].path).args(["--exact", "--test-threads=1"]).args(names);
        command.current_dir(&self.dir).env("TMPDIR", &temporary).env("RUST_BACKTRACE", "0").env(env.0, env.1);
        command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&output)?)
            .stderr(Stdio::null())
            .process_group(0);
        let (is_ended, cost, idle) = watch(command.spawn()?, limits)?;
        let text = String::from_utf8_lossy(&fs::read(&output)?).into_owned();
        let verdict = match is_ended {
            Some(0) => Verdict::Passed,
            Some(_) => Verdict::Failed(culprit(&text)),
            None => Verdict::TookTooLong(culprit(&text)),
        };
        if !matches!(verdict, Verdict::Passed) {
            fs::remove_dir_all(&temporary)?;
        }
        Ok(Run { verdict, cost, idle })
    }
}

/// The test that failed, or the one that had begun when the process ended.
fn culprit(output: &str) -> String {
    let mut begun = output
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "))
        .filter(|(_, end)| !end.ends_with("ok"));
    begun.next().map(|(name, _)| name.trim_end_matches(" - should panic").to_owned()).unwrap_or_default()
}

/// Waits for the end of a process: its status, or `None` when it took more than it may and was killed.
fn watch(child: Child, limits: Limits) -> Result<(Option<i32>, Duration, Duration)> {
    let pid = child.id() as libc::pid_t;
    let (mut idle, mut last, mut nap) = (Duration::ZERO, Instant::now(), Duration::from_millis(1));
    let mut is_killed = false;
    loop {
        let (mut status, mut usage) = (0, unsafe { std::mem::zeroed::<libc::rusage>() });
        // SAFETY: both point to values of their types, and the process is a child that nobody else waits for.
        match unsafe { libc::wait4(pid, &mut status, if is_killed { 0 } else { libc::WNOHANG }, &mut usage) }
        {
            0 => {}
            -1 => return Err(std::io::Error::last_os_error().into()),
            _ => {
                let of = |time: libc::timeval| {
                    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
                };
                return Ok(((!is_killed).then_some(status), of(usage.ru_utime) + of(usage.ru_stime), idle));
            }
        }
        sleep(nap);
        nap = (nap * 3 / 2).min(Duration::from_millis(50));
        let (cost, can_run) = look(pid);
        if !can_run {
            idle += last.elapsed();
        }
        last = Instant::now();
        if cost > limits.0 || idle > limits.1 {
            // SAFETY: a signal to the group that the child leads.
            unsafe { libc::kill(-pid, libc::SIGKILL) };
            is_killed = true;
        }
    }
}

/// What a process took of the processor so far, and whether one of its threads can run.
fn look(pid: libc::pid_t) -> (Duration, bool) {
    let after_name = |path: PathBuf| {
        fs::read_to_string(path).ok().and_then(|stat| Some(stat.rsplit_once(") ")?.1.to_owned()))
    };
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let stat = after_name(proc.join("stat")).unwrap_or_default();
    let ticks: u64 = stat.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let threads = fs::read_dir(proc.join("task")).into_iter().flatten().flatten();
    let can_run = threads
        .filter_map(|thread| after_name(thread.path().join("stat")))
        .any(|stat| stat.starts_with(['R', 'D']));
    (Duration::from_millis(ticks * 10), can_run)
}

/// How many tests judge something.
pub fn count(tests: &Tests) -> usize {
    tests.reach.values().flatten().collect::<BTreeSet<_>>().len()
}
