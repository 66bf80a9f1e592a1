//! Tables with ratios for people, JSON for programs.

use crate::{
    subject::{Mark, Result, Subject},
    subjects::OURS,
    turns::Outcome,
    workload::{Better, Workload},
    workloads::WORKS,
};
use serde::{Deserialize, Serialize};
use std::{fmt::Write as _, path::Path};

/// The tables of one work.
pub fn tables(work: &Workload, outcomes: &[Outcome], subjects: &[&Subject]) -> String {
    let mut text = String::new();
    for (figure, unit) in work.figures {
        let mut rows: Vec<_> = outcomes.iter().filter(|o| o.work == *figure).collect();
        rows.sort_by(|a, b| match work.better {
            Better::More => b.median().total_cmp(&a.median()),
            Better::Less => a.median().total_cmp(&b.median()),
        });
        let ours = rows.iter().find(|o| o.subject == OURS).map(|o| o.median());
        let kind = if work.durability.is_empty() { String::new() } else { format!(", {}", work.durability) };
        let _ = writeln!(text, "\n{figure} ({unit}{kind})\n");
        let _ = writeln!(
            text,
            "| {:<26} | {:>10} | {:>21} | {:>11} |",
            "subject", "median", "lowest - highest", "streamlog is"
        );
        let _ = writeln!(text, "|{:-<28}|{:->12}|{:->23}|{:->14}|", "", ":", ":", ":");
        for row in rows {
            let median = row.median();
            let ratio = ours.filter(|_| row.subject != OURS).map_or(String::new(), |ours| {
                let better = if work.better == Better::More { ours / median } else { median / ours };
                if better.is_finite() { format!("{} x", short(better)) } else { String::new() }
            });
            let low = row.runs.iter().copied().fold(f64::INFINITY, f64::min);
            let high = row.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let range = format!("{} - {}", readable(low, unit), readable(high, unit));
            let name = format!("{} {}", row.subject, letters(row.subject, subjects));
            let _ =
                writeln!(text, "| {name:<26} | {:>10} | {range:>21} | {ratio:>12} |", readable(median, unit));
        }
    }
    text
}

/// What the letters behind the names say.
pub fn legend(subjects: &[&Subject]) -> String {
    let used = |mark: &Mark| subjects.iter().any(|subject| subject.marks.contains(mark));
    let lines = Mark::ALL.into_iter().filter(|mark| used(mark));
    lines.map(|mark| format!("  {}: {}\n", mark.letter(), mark.meaning())).collect()
}

/// The letters of a subject, as in `(bc)`.
pub fn letters(name: &str, subjects: &[&Subject]) -> String {
    let marks = subjects.iter().find(|subject| subject.name == name).map_or(&[][..], |subject| subject.marks);
    if marks.is_empty() {
        return String::new();
    }
    format!("({})", marks.iter().map(|mark| mark.letter()).collect::<String>())
}

/// A number with three or four digits that mean something.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.3}"),
        size => format!("{value:.*}", (1.0 - size.log10().floor()).min(12.0) as usize),
    }
}

/// The same, in a unit of its own where the common one would leave nothing but zeros.
pub fn readable(value: f64, unit: &str) -> String {
    let small =
        [("M records/s", 1e6, [(1e3, "k/s"), (1.0, "/s")]), ("GB/s", 1e9, [(1e6, "MB/s"), (1e3, "kB/s")])];
    let found = small.into_iter().find(|(name, ..)| *name == unit && value > 0.0 && value < 0.01);
    let Some((_, times, units)) = found else { return short(value) };
    let value = value * times;
    let (of, name) = units.into_iter().find(|(of, _)| value >= *of).unwrap_or((1.0, "a second"));
    format!("{} {name}", short(value / of))
}

#[derive(Serialize)]
struct Row<'a> {
    work: &'a str,
    subject: &'a str,
    median: f64,
    unit: &'a str,
    runs: &'a [f64],
}

/// Writes all outcomes: a list of `{work, subject, median, unit, runs}`, one a line.
pub fn write_json(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    let rows: Vec<_> = outcomes
        .iter()
        .map(|o| Row { work: o.work, subject: o.subject, median: o.median(), unit: o.unit, runs: &o.runs })
        .collect();
    let lines = rows.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n")))?)
}

#[derive(Deserialize)]
struct Foreign {
    work: String,
    subject: String,
    runs: Vec<f64>,
}

fn read(path: &Path) -> Result<Vec<Foreign>> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// Reads outcomes that another run wrote, of figures and subjects that are known here.
pub fn read_json(path: &Path, subjects: &[&Subject]) -> Result<Vec<Outcome>> {
    let rows: Vec<Foreign> = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let figures = || WORKS.iter().flat_map(|work| work.figures);
    let known = rows.into_iter().filter_map(|row| {
        let (work, unit) = *figures().find(|(figure, _)| *figure == row.work)?;
        let subject = subjects.iter().find(|subject| subject.name == row.subject)?.name;
        Some(Outcome { work, subject, unit, runs: row.runs })
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_figure_gets_a_unit_that_can_be_read() {
        assert_eq!(readable(0.0000097, "M records/s"), "9.70 /s");
        assert_eq!(readable(0.0097, "M records/s"), "9.70 k/s");
        assert_eq!(readable(0.000012, "GB/s"), "12.0 kB/s");
        assert_eq!(readable(0.5, "GB/s"), "0.500");
        assert_eq!(readable(0.002, "ms"), short(0.002));
    }
}
