//! Mutation testing: which mistakes that a program can think of does no test notice?
//!
//! All mistakes are compiled into one copy of the library, each behind a switch ([`rewrite`]); what the compiler refuses
//! is left out ([`compile`]); each of the others is switched on for the tests that reach it ([`judge`]). One compilation and
//! some milliseconds per mistake, instead of a compilation for each.
//!
//! ```text
//! streamlog-mutants REPOSITORY DIRECTORY WHICH RESULTS
//! ```
//!
//! The copy is made in DIRECTORY. WHICH is `all`, `1/40` (the first fortieth), `open` (what RESULTS of an earlier run call
//! survived), or the beginning of file names below `src` (`codec/batch`), more than one separated by commas; `storage:1/4`
//! is every fourth of those. RESULTS gets a line for each mistake. `accepted.txt` beside this package lists the mistakes that
//! may stay unnoticed, with reasons: they are not tried, so that each run shows only what is new.
//!
//! MUTANTS_JOBS says how many at a time (2), MUTANTS_BUDGET what a survivor's tests may take together, in seconds of a
//! processor (10). With MUTANTS_SLOW, which is such a budget too, what has survived or was not reached is tried once more by
//! slower tests: the crash campaign, the tests of threads that meet, and more programs.

mod compile;
mod judge;
mod rewrite;

use compile::Result;
use judge::{Tests, Verdict};
use rewrite::Mutant;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Names of mistakes, each with the reason why no test can notice it: paragraphs that begin with the reason, after `#`.
fn reasons(text: &str) -> BTreeSet<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Runs `work` for each item in so many threads, and gives what came of it in the items' order.
pub fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(usize, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let begun = Instant::now();
    thread::scope(|scope| {
        for worker in 0..workers {
            let (next, done, work) = (&next, &done, &work);
            scope.spawn(move || {
                while let Some((index, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
                {
                    let result = work(worker, item).map_err(|error| error.to_string());
                    done.lock().unwrap().insert(index, result);
                    if index % 100 == 99 {
                        println!("{} of {} after {} s", index + 1, items.len(), begun.elapsed().as_secs());
                    }
                }
            });
        }
    });
    let done = done.into_inner().map_err(|_| "a worker panicked")?;
    done.into_values().map(|result| result.map_err(Into::into)).collect()
}

/// Whether a mistake is among those that are asked for.
fn is_chosen(which: &str, survivors: &BTreeSet<String>, file: &str, number: u32, name: &str) -> bool {
    if let Some((share, of)) =
        which.split_once('/').and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)))
    {
        return number % of.max(1) == share % of.max(1);
    }
    match which.rsplit_once(':') {
        Some((which, share)) => {
            is_chosen(which, survivors, file, number, name) && is_chosen(share, survivors, file, number, name)
        }
        None if which == "all" => true,
        None if which == "open" => survivors.contains(name),
        None => which.split(',').any(|prefix| file.starts_with(prefix)),
    }
}

fn number_of(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

/// What these tests make of a mistake, and why.
fn judged(
    tests: &Tests,
    mutant: &Mutant,
    budget: Duration,
    scratch: &Path,
    worker: usize,
) -> Result<(&'static str, String)> {
    let reaching = tests.reach.get(&mutant.number).map_or(0, Vec::len);
    Ok(match tests.judge(mutant.number, &mutant.file, budget, scratch, worker)? {
        _ if reaching == 0 => ("unreached", String::new()),
        (Verdict::Failed(test), _) => ("caught", test),
        (Verdict::TookTooLong(test), _) => ("timeout", test),
        (Verdict::Passed, left) => ("survived", format!("{left} of {reaching} tests were not run")),
    })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [repository, directory, which, results] = &args[..] else {
        return Err("streamlog-mutants REPOSITORY DIRECTORY WHICH RESULTS".into());
    };
    let (repository, directory) = (fs::canonicalize(repository)?, PathBuf::from(directory));
    let (workers, budget) =
        (number_of("MUTANTS_JOBS", 2) as usize, Duration::from_secs(number_of("MUTANTS_BUDGET", 10)));
    fs::create_dir_all(&directory)?;
    let directory = fs::canonicalize(directory)?;
    // Some tests look for files beside the repository.
    let beside = repository.join("../shared");
    if beside.is_dir() && !directory.join("shared").exists() {
        std::os::unix::fs::symlink(fs::canonicalize(beside)?, directory.join("shared"))?;
    }
    let copy = directory.join("streamlog");
    let before = fs::read_to_string(results).unwrap_or_default();
    let survivors: BTreeSet<String> = before
        .lines()
        .filter_map(|line| line.strip_prefix("survived ")?.split('\t').nth(1))
        .map(Into::into)
        .collect();
    let reasons_text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("accepted.txt")).unwrap_or_default();
    let reasons = reasons(&reasons_text);

    let slow_budget = Duration::from_secs(number_of("MUTANTS_SLOW", 0));
    let is_chosen = |mutant: &Mutant| is_chosen(which, &survivors, &mutant.file, mutant.number, &mutant.name);
    let compiled = compile::compile(&repository, &copy, is_chosen, !slow_budget.is_zero())?;
    let scratch = directory.join("scratch");
    fs::create_dir_all(&scratch)?;
    let tests = Tests::record(compiled.programs, copy.join("tests"), budget, &scratch, workers)?;
    println!("{} tests reach {} mutants", judge::count(&tests), tests.reach.len());
    let slow_tests = Tests::record(compiled.slow, copy.join("tests"), slow_budget, &scratch, workers)?;

    let chosen: Vec<_> = compiled.mutants.iter().filter(|mutant| is_chosen(mutant)).collect();
    // A line at a time, so that what is known can be read before all is.
    let file = Mutex::new(fs::File::create(results)?);
    let verdicts = in_parallel(&chosen, workers, |worker, mutant| {
        let (verdict, by) = if compiled.left_out.contains(&mutant.number) {
            ("refused", String::new())
        } else if reasons.contains(&*mutant.name) {
            ("reason", String::new())
        } else {
            let first = judged(&tests, mutant, budget, &scratch, worker)?;
            match first.0 {
                "survived" | "unreached" => {
                    match judged(&slow_tests, mutant, slow_budget, &scratch, worker)? {
                        slow if ["caught", "timeout"].contains(&slow.0) => slow,
                        _ => first,
                    }
                }
                _ => first,
            }
        };
        let line = format!("{verdict} {}:{}\t{}\t{by}\n", mutant.file, mutant.line, mutant.name);
        file.lock().map_err(|_| "a worker panicked")?.write_all(line.as_bytes())?;
        Ok((verdict, line))
    })?;

    let (mut lines, mut counts) = (String::new(), BTreeMap::<&str, BTreeMap<&str, u32>>::new());
    for (mutant, (verdict, line)) in chosen.iter().zip(&verdicts) {
        lines.push_str(line);
        let room = mutant.file.split('/').next().unwrap_or_default();
        *counts.entry(room).or_default().entry(verdict).or_default() += 1;
    }
    fs::write(results, lines)?;
    for (room, counts) in counts {
        let counts: Vec<String> =
            counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        println!("{room}: {}", counts.join(", "));
    }
    Ok(())
}
