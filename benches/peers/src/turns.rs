//! Rounds in turns: every subject once, then every subject again, and the median of what each took.
//!
//! The first round after the preparation is thrown away: memory that lay idle is slow to touch the first time. Turns
//! spread what the machine does besides over all subjects alike, and each round has an order of its own, so that nobody
//! always works in the pages that the same one has just given back.

use crate::{
    scale::Scale,
    scratch::Scratch,
    subject::{Result, Subject},
    workload::Workload,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// What one subject did at one work.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub work: &'static str,
    pub subject: &'static str,
    pub unit: &'static str,
    pub runs: Vec<f64>,
}

impl Outcome {
    /// The middle of its runs.
    pub fn median(&self) -> f64 {
        let mut runs = self.runs.clone();
        runs.sort_by(f64::total_cmp);
        match runs.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => runs[n / 2],
            n => (runs[n / 2 - 1] + runs[n / 2]) / 2.0,
        }
    }
}

/// A peer that takes longer than this for a round of the quick kind has only one.
const PATIENCE: Duration = Duration::from_millis(100);

/// Does a work with all subjects that can. Failures of peers are told and leave a gap; one of ours ends it all.
pub fn take(
    work: &Workload,
    subjects: &[&Subject],
    scale: &Scale,
    scratch: &Path,
    tell: bool,
) -> Result<Vec<Outcome>> {
    let dir = |subject: &&Subject| Scratch::new(scratch, &format!("{}-{}", work.name, subject.name));
    let dirs = subjects.iter().map(dir).collect::<Result<Vec<_>>>()?;
    let mut players = Vec::new();
    for (subject, dir) in subjects.iter().zip(&dirs) {
        let start = Instant::now();
        match (work.prepare)(subject, scale, &dir.0) {
            Ok(Some(round)) => {
                let spent = start.elapsed();
                players.push(Player { subject, round, outcomes: None, failed: false, slow: false, spent });
            }
            Ok(None) => {}
            Err(error) => told(work, subject, error)?,
        }
    }
    let rounds = if work.steady { 1..=1 } else { 0..=scale.rounds };
    for round in rounds {
        for at in order(round, players.len()) {
            let Some(player) = players.get_mut(at).filter(|p| !p.failed && (!p.slow || round <= 1)) else {
                continue;
            };
            let start = Instant::now();
            match (player.round)() {
                Ok(values) => player.note(work, values, round > 0),
                Err(error) => {
                    player.failed = true;
                    told(work, player.subject, error)?;
                }
            }
            player.slow |=
                scale.quick && player.subject.name != crate::subjects::OURS && start.elapsed() > PATIENCE;
            player.spent += start.elapsed();
        }
    }
    if tell {
        players
            .iter()
            .for_each(|p| eprintln!("{:>8.3} s  {}, {}", p.spent.as_secs_f64(), work.name, p.subject.name));
    }
    let done = players.into_iter().filter(|p| !p.failed);
    Ok(done.flat_map(|player| player.outcomes.unwrap_or_default()).collect())
}

/// In which order a round goes: mixed, and the same in every run.
fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mixed = |at: usize| {
        let mut state = ((round << 16) + at + 1) as u64;
        for _ in 0..3 {
            state = (state ^ (state >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        state >> 32
    };
    order.sort_by_key(|at| mixed(*at));
    order
}

/// A subject in a work: its round, and what the rounds gave.
struct Player<'a> {
    subject: &'a Subject,
    round: Box<dyn FnMut() -> Result<Vec<f64>> + 'a>,
    outcomes: Option<Vec<Outcome>>,
    failed: bool,
    slow: bool,
    spent: Duration,
}

impl Player<'_> {
    fn note(&mut self, work: &Workload, values: Vec<f64>, counts: bool) {
        let outcomes = self.outcomes.get_or_insert_with(|| {
            let name = self.subject.name;
            let new = |(work, unit): &(&'static str, &'static str)| Outcome {
                work,
                subject: name,
                unit,
                runs: vec![],
            };
            work.figures.iter().map(new).collect()
        });
        if counts {
            outcomes.iter_mut().zip(values).for_each(|(outcome, value)| outcome.runs.push(value));
        }
    }
}

fn told(work: &Workload, subject: &Subject, error: crate::subject::Error) -> Result<()> {
    if subject.name == crate::subjects::OURS {
        return Err(format!("{}: {error}", work.name).into());
    }
    eprintln!("{}: {} leaves a gap: {error}", work.name, subject.name);
    Ok(())
}
