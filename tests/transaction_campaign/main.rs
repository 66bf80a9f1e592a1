//! All or nothing, and so it stays: transactions on a simulated disk that dies at every operation, twice, and fails on demand.
//! (I6, I7, I8)
//!
//! A failure prints the line that replays it:
//!
//! ```text
//! STREAMLOG_REPLAY=17:203:Sectors:99 cargo test --test transaction_campaign -- --nocapture
//! ```
//!
//! A debug build tries a small share of the states. `STREAMLOG_SEED`, a number or `random`, begins elsewhere;
//! `STREAMLOG_CAMPAIGN=long` goes on until it is told to stop, and `survey` tells one failure of each workload and goes on;
//! `STREAMLOG_PLANT` makes one of the planted mistakes throughout.

mod campaign;
mod check;
mod session;
mod workload;

use campaign::{Failure, Figures, Share, crash_everywhere, fault_at, faults, guard, history, replay_state};
use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use streamlog::{
    planted,
    sim::{Crash, FaultKind},
};
use workload::draw;

fn share() -> Share {
    match cfg!(debug_assertions) {
        true => Share { workloads: 8, one_in: 8, ways: 3, twice_one_in: 8, faults_one_in: 16 },
        false => Share { workloads: 150, one_in: 1, ways: 12, twice_one_in: 10, faults_one_in: 1 },
    }
}

fn workload(seed: u64, share: Share, figures: &mut Figures) -> Result<(), Failure> {
    let workload = draw(seed);
    crash_everywhere(&workload, share, figures)?;
    faults(&workload, share, figures)
}

/// Tries the workloads of these seeds on two threads. Of several failures, that of the first seed counts.
fn round(first: u64, share: Share, survey: bool) -> Result<Figures, Failure> {
    let next = AtomicU64::new(0);
    let all = Mutex::new((Figures::default(), None::<(u64, Failure)>));
    let plant = planted_by_the_environment();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                planted::plant(plant);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = all.lock().unwrap().1.is_some();
                    if number >= share.workloads || is_over {
                        return;
                    }
                    let mut figures = Figures::default();
                    let result = workload(first + number, share, &mut figures);
                    let (total, failed) = &mut *all.lock().unwrap();
                    total.add(figures);
                    match result {
                        Ok(()) => {}
                        Err(failure) if survey => {
                            println!("STREAMLOG_REPLAY={} {}", failure.replay, failure.what)
                        }
                        Err(failure) if failed.as_ref().is_none_or(|(other, _)| number < *other) => {
                            *failed = Some((number, failure));
                        }
                        Err(_) => {}
                    }
                }
            });
        }
    });
    let (figures, failed) = all.into_inner().unwrap();
    failed.map_or(Ok(figures), |(_, failure)| Err(failure))
}

fn planted_by_the_environment() -> Option<&'static str> {
    env::var("STREAMLOG_PLANT").ok().map(|name| &*Box::leak(name.into_boxed_str()))
}

fn replay(line: &str) {
    let parts: Vec<&str> = line.split(':').collect();
    let workload = draw(parts[0].parse().unwrap());
    println!("{workload:#?}");
    let result = match parts[1..] {
        [] => guard(|| history(&workload).map(drop)),
        ["fault", point, kind, forever] => {
            let kind = FaultKind::HONEST.into_iter().find(|k| format!("{k:?}") == kind).unwrap();
            let point = point.parse().unwrap();
            guard(|| fault_at(&workload, point, kind, forever == "true").map(drop))
        }
        [at, crash, chance] => {
            let (at, chance): (u64, u64) = (at.parse().unwrap(), chance.parse().unwrap());
            let crash = Crash::ALL.into_iter().find(|c| format!("{c:?}") == crash).unwrap();
            guard(|| replay_state(&workload, at, crash, chance))
        }
        _ => panic!("not a line of this campaign: {line}"),
    };
    match result {
        Ok(()) => println!("{line}: holds"),
        Err(what) => panic!("{line}: {what}"),
    }
}

#[test]
fn all_of_a_transaction_counts_or_none_and_so_it_stays() {
    planted::plant(planted_by_the_environment());
    if let Ok(line) = env::var("STREAMLOG_REPLAY") {
        return replay(&line);
    }
    let begun = Instant::now();
    let first = match env::var("STREAMLOG_SEED").as_deref() {
        Ok("random") => u64::from(std::process::id()),
        Ok(seed) => seed.parse().expect("STREAMLOG_SEED is a number or `random`"),
        Err(_) => 1,
    };
    let campaign = env::var("STREAMLOG_CAMPAIGN").unwrap_or_default();
    let mut all = Figures::default();
    for number in 0.. {
        let seed = first + number * share().workloads;
        let figures = round(seed, share(), campaign == "survey")
            .unwrap_or_else(|failure| panic!("{}\nSTREAMLOG_REPLAY={}", failure.what, failure.replay));
        all.add(figures);
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "transaction campaign: {} states, {} faults, {seconds:.1} seconds, seed {seed}",
            all.states, all.faults
        );
        if campaign != "long" {
            return;
        }
    }
}

/// The mistakes that it must notice.
const PLANTED: &[&str] = &[
    "a_marker_before_the_decision",
    "a_decision_is_believed_without_its_ends",
    "ends_of_no_incarnation",
    "what_a_crash_left_open_stays_open",
    "no_abort_after_a_failed_flush",
    "an_abort_is_not_indexed",
    "a_pending_marker_waits_for_ever",
    "written_after_its_end",
    "decisions_go_before_their_markers_are_durable",
    "offsets_outside_the_transaction",
    "offsets_are_applied_at_append",
    "epoch_not_raised",
    "epoch_raised_twice",
    "last_decision_per_name",
];

/// Makes a mistake until it is noticed: what was noticed, after how many states.
fn hunt(name: &'static str) -> Option<(Figures, Failure)> {
    let share = Share { workloads: 1, one_in: 3, ways: 4, twice_one_in: 3, faults_one_in: 4 };
    planted::plant(Some(name));
    let mut figures = Figures::default();
    let caught = (1..60).find_map(|seed| workload(seed, share, &mut figures).err());
    planted::plant(None);
    caught.map(|failure| (figures, failure))
}

#[test]
fn mistakes_are_noticed() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    let names = if cfg!(debug_assertions) { &PLANTED[..3] } else { PLANTED };
    for name in names {
        match hunt(name) {
            Some((figures, Failure { replay, what })) => {
                let what: String = what.chars().take(90).collect();
                println!("  planted {name:45} after {} states: {replay}: {what}", figures.states);
            }
            None => missed.push(*name),
        }
    }
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
