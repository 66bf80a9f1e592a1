//! The same work, in one run, in turns: for streamlog, for what people would pick instead, and for bounds written by hand.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- --help` tells how.

mod charts;
mod child;
mod machine;
mod records;
mod report;
mod scale;
mod scratch;
mod subject;
mod subjects;
mod turns;
mod workload;
mod workloads;

use std::{path::PathBuf, process::ExitCode};
use subject::{Result, Subject};

const HELP: &str = "\
The same work in turns, for streamlog and what people would pick instead.

  --quick           a short round: to see that everything works, not for figures
  --rounds N        how many rounds count (default: 5)
  --work TEXT       only the work of this name, or else those whose name contains it; may be repeated
  --subject NAME    only this subject (and streamlog); may be repeated
  --json FILE       write a list of {work, subject, median, unit, runs}
  --charts DIR      draw SVG charts
  --with FILE       put the figures of such a list beside what is measured (see kafka/measure.py); may be repeated
  --replay FILE     measure nothing: tables and charts of such a list, which this machine wrote; may be repeated
  --dir DIR         where to work (default: below this package's target directory)
  --times           tell how long each subject took for each work, on stderr
  --list            name works and subjects
";

#[derive(Default)]
struct Options {
    quick: bool,
    rounds: Option<usize>,
    works: Vec<String>,
    subjects: Vec<String>,
    json: Option<PathBuf>,
    charts: Option<PathBuf>,
    with: Vec<PathBuf>,
    replay: Vec<PathBuf>,
    dir: Option<PathBuf>,
    times: bool,
    list: bool,
    help: bool,
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().cloned().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--rounds" => options.rounds = Some(value()?.parse()?),
            "--work" => options.works.push(value()?),
            "--subject" => options.subjects.push(value()?),
            "--json" => options.json = Some(value()?.into()),
            "--charts" => options.charts = Some(value()?.into()),
            "--with" => options.with.push(value()?.into()),
            "--replay" => options.replay.push(value()?.into()),
            "--dir" => options.dir = Some(value()?.into()),
            "--times" => options.times = true,
            "--list" => options.list = true,
            "--help" | "-h" => options.help = true,
            other => return Err(format!("{other}: unknown; see --help").into()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, rest)) if first == child::ARGUMENT => child::be(rest),
        _ => options(&arguments).and_then(run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a work is meant: by its whole name, or by a part that is no work's whole name.
fn named(work: &workload::Workload, asked: &str) -> bool {
    let whole = workloads::WORKS.iter().any(|work| work.name == asked);
    if whole { work.name == asked } else { work.name.contains(asked) }
}

fn run(options: Options) -> Result<()> {
    if options.help {
        print!("{HELP}");
        return Ok(());
    }
    if options.list {
        workloads::WORKS.iter().for_each(|work| println!("work: {}", work.name));
        subjects::SUBJECTS.iter().for_each(|subject| println!("subject: {}", subject.name));
        return Ok(());
    }
    let mut scale = if options.quick { scale::Scale::quick() } else { scale::Scale::full() };
    scale.rounds = options.rounds.unwrap_or(scale.rounds).max(1);
    let wanted = |s: &&Subject| {
        options.subjects.is_empty()
            || s.name == subjects::OURS
            || options.subjects.iter().any(|n| n == s.name)
    };
    let subjects: Vec<&Subject> = subjects::SUBJECTS.iter().filter(wanted).collect();
    let parent = options.dir.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into());
    let scratch = scratch::Scratch::new(&parent, &format!("peers-{}", std::process::id()))?;
    let machine = machine::describe(&scratch.0);
    println!("{machine}\n\n{}", report::legend(&subjects));
    let mut others = Vec::new();
    for file in &options.with {
        // Ours is measured here, not read.
        others
            .extend(report::read_json(file, &subjects)?.into_iter().filter(|o| o.subject != subjects::OURS));
    }
    for file in &options.replay {
        others.extend(report::read_json(file, &subjects)?);
    }
    let mut outcomes = Vec::new();
    for work in workloads::WORKS {
        if !options.works.is_empty() && !options.works.iter().any(|asked| named(work, asked)) {
            continue;
        }
        let mut taken = Vec::new();
        if options.replay.is_empty() {
            taken = turns::take(work, &subjects, &scale, &scratch.0, options.times)?;
        }
        let here = |outcome: &&turns::Outcome| work.figures.iter().any(|(figure, _)| *figure == outcome.work);
        taken.extend(others.iter().filter(here).cloned());
        print!("{}", report::tables(work, &taken, &subjects));
        outcomes.extend(taken);
    }
    if let Some(path) = options.json {
        report::write_json(&path, &outcomes)?;
    }
    if let Some(dir) = options.charts {
        charts::draw(&dir, &outcomes, &subjects, &machine)?;
    }
    Ok(())
}
