//! Nothing lost: the engine on a simulated disk that dies at every operation, loses what was not flushed, and fails on
//! demand. (I1, I2, I3, I4, I5, I9, I11, I13, I14, I15, I16, I17, I18)
//!
//! A failure prints one line. Setting it in the environment replays it:
//!
//! ```text
//! STREAMLOG_REPLAY=w17:203:Sectors:99 cargo test --test crash_campaign -- --nocapture
//! ```
//!
//! A debug build tries a small share of the states. `STREAMLOG_CAMPAIGN=long` goes on until it is told to stop, with
//! `STREAMLOG_SEED`, a number or `random`, to begin elsewhere; `STREAMLOG_CAMPAIGN=survey` tells one failure of each
//! workload and goes on. `STREAMLOG_PLANT` makes one of the planted mistakes throughout.

mod campaign;
mod check;
mod consume;
mod faults;
mod known;
mod model;
mod session;
mod workload;

use campaign::{Failure, Figures, Share, crash_everywhere, guard, operations, replay_state, run, same_bytes};
use faults::{Died, fault_after, fault_at};
use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use streamlog::{
    planted,
    sim::{Crash, FaultKind, SimEnv},
};
use workload::{Rng, Workload, draw, exhaustive};

const FIRST_SEED: u64 = 1;

/// How much is tried.
struct Plan {
    workloads: u64,
    share: Share,
    /// One of so many of the exhaustive workloads.
    exhaustive_one_in: u64,
    exhaustive_share: Share,
    fault_workloads: u64,
    /// One of so many pairs of operation and error.
    faults_one_in: u64,
    /// The same of those behind a crash.
    faults_after_one_in: u64,
    /// One of so many planted mistakes.
    planted_one_in: usize,
}

fn plan() -> Plan {
    let share = |one_in, policies, depth_two_one_in| Share { one_in, policies, depth_two_one_in, seed: 0 };
    if cfg!(debug_assertions) {
        Plan {
            workloads: 16,
            share: share(12, 4, 20),
            exhaustive_one_in: 22,
            exhaustive_share: share(12, 3, 100),
            fault_workloads: 12,
            faults_one_in: 60,
            faults_after_one_in: 200,
            planted_one_in: 60,
        }
    } else {
        Plan {
            workloads: 180,
            share: share(1, 12, 20),
            exhaustive_one_in: 1,
            exhaustive_share: share(1, 3, 50),
            fault_workloads: 64,
            faults_one_in: 1,
            faults_after_one_in: 12,
            planted_one_in: 5,
        }
    }
}

/// Runs `job` for every number below `count` on two threads; the figures come together in order.
fn on_two_threads(
    count: u64,
    job: impl Fn(u64) -> Result<Figures, Failure> + Sync,
) -> Result<Figures, Failure> {
    let next = AtomicU64::new(0);
    let done: Mutex<BTreeMap<u64, Result<Figures, Failure>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                plant_what_is_asked_for();
                loop {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    if i >= count {
                        return;
                    }
                    let result = job(i);
                    if let (Err(failure), true) = (&result, survey()) {
                        println!("{}  STREAMLOG_REPLAY={}", failure.what, failure.replay);
                        continue;
                    }
                    if result.is_err() {
                        next.store(count, Ordering::SeqCst);
                    }
                    done.lock().unwrap().insert(i, result);
                }
            });
        }
    });
    let mut all = Figures::default();
    for (_, figures) in done.into_inner().unwrap() {
        all.add(&figures?);
    }
    Ok(all)
}

fn plant_what_is_asked_for() {
    if let Ok(name) = env::var("STREAMLOG_PLANT") {
        planted::plant(planted::NAMES.iter().copied().find(|n| *n == name));
    }
}

/// Whether all failures are told, not only the first.
fn survey() -> bool {
    env::var("STREAMLOG_CAMPAIGN").is_ok_and(|v| v == "survey")
}

fn faults_of(workload: &Workload, one_in: u64) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    let mut rng = Rng(workload.seed ^ 0xfa17);
    for (point, path) in (0..).zip(operations(workload)) {
        for kind in FaultKind::HONEST {
            // A mark of 64 bytes is one write: in two halves, of which one is lost, it says nothing, and then what
            // looks torn is held for damage, which removes nothing.
            if kind == FaultKind::Short && path.ends_with("/marks") {
                continue;
            }
            if rng.one_in(one_in) {
                // A system call that is interrupted for ever is repeated for ever. One that is short for ever comes to the
                // marks, too.
                let forever = rng.one_in(4) && !matches!(kind, FaultKind::Interrupted | FaultKind::Short);
                let struck = fault_at(workload, point, kind, forever, &mut figures)?;
                figures.fold(u64::from(struck));
            }
        }
    }
    Ok(figures)
}

/// Crashes of a workload, and errors at any operation of the opening after each, and of the calls that follow. Without a
/// number of crashes they are made behind every operation.
fn faults_after_crashes(workload: &Workload, crashes: Option<u64>, one_in: u64) -> Result<Figures, Failure> {
    let history = guard(|| run(workload, &SimEnv::new(workload.seed)))
        .map_err(|what| Failure { replay: workload.name.clone(), what })?;
    let points = history.points();
    let mut figures = Figures::default();
    let mut rng = Rng(workload.seed ^ 0xfa17_0002);
    for i in 0..crashes.unwrap_or(2 * points.len() as u64) {
        // Every other time only the process dies: then there is most to flush.
        let crash = match i % 2 {
            0 => Crash::Kill,
            _ => Crash::ALL[rng.below(Crash::ALL.len() as u64) as usize],
        };
        let which = if crashes.is_some() { rng.below(points.len() as u64) } else { i / 2 };
        let Some((at, _)) = points.get(which as usize).copied() else { break };
        let died = Died { at, crash, seed: rng.next() >> 32 };
        let mut there_are_more = true;
        for point in 0..2000 {
            for kind in FaultKind::HONEST {
                if rng.one_in(one_in) {
                    let struck = fault_after(workload, &history, died, point, kind, &mut figures)?;
                    there_are_more = struck.is_some();
                    figures.fold(u64::from(struck == Some(true)));
                }
            }
            if !there_are_more {
                break;
            }
        }
    }
    Ok(figures)
}

/// Tries what failed once with every crash and error; and sees that it fails again without what mended it.
fn failure_of_the_past(past: &known::Past) -> Result<Figures, Failure> {
    let (share, faults_one_in) = if cfg!(debug_assertions) {
        (Share { one_in: 4, policies: 4, depth_two_one_in: 50, seed: 0 }, 40)
    } else {
        (Share { one_in: 1, policies: 12, depth_two_one_in: 2, seed: 0 }, 1)
    };
    let again = |figures: &mut Figures| -> Result<(), Failure> {
        crash_everywhere(&past.workload, share, figures)?;
        figures.add(&faults_of(&past.workload, faults_one_in)?);
        if past.behind_a_crash {
            figures.add(&faults_after_crashes(&past.workload, None, faults_one_in * 4)?);
        }
        Ok(())
    };
    let mut figures = Figures::default();
    again(&mut figures).map_err(|f| Failure { what: format!("again: {}: {}", past.why, f.what), ..f })?;
    // A debug build tries too little to be sure of it.
    if cfg!(debug_assertions) || env::var_os("STREAMLOG_PLANT").is_some() {
        return Ok(figures);
    }
    planted::plant(Some(past.without));
    let failed = again(&mut Figures::default());
    planted::plant(None);
    if failed.is_err() {
        return Ok(figures);
    }
    let what = format!("with {} planted it holds, and should not: {}", past.without, past.why);
    Err(Failure { replay: past.workload.name.clone(), what })
}

fn run_all(seed: u64, plan: &Plan) -> Result<Figures, Failure> {
    let told = |part: &str, figures: &Figures| {
        println!("  {part}: {} states, {} error points", figures.states, figures.error_points);
    };
    let past = known::past();
    let unknown = past.iter().find(|past| !planted::NAMES.contains(&past.without));
    assert!(unknown.is_none(), "no such planted mistake: {:?}", unknown.map(|past| past.without));
    let mut all = on_two_threads(past.len() as u64, |i| failure_of_the_past(&past[i as usize]))?;
    told("failures of the past", &all);
    let small = exhaustive();
    // The same workloads with every seed; so that it tries other states of them, it chooses these.
    let share = Share { seed, ..plan.exhaustive_share };
    all.add(&on_two_threads(small.len() as u64 / plan.exhaustive_one_in, |i| {
        let mut figures = Figures::default();
        let first = Rng(seed).below(plan.exhaustive_one_in);
        let workload = &small[(i * plan.exhaustive_one_in + first) as usize];
        crash_everywhere(workload, share, &mut figures)?;
        Ok(figures)
    })?);
    told("and workloads of two calls", &all);
    all.add(&on_two_threads(plan.workloads, |i| {
        let mut figures = Figures::default();
        let workload = draw(seed + i);
        same_bytes(&workload)?;
        crash_everywhere(&workload, plan.share, &mut figures)?;
        Ok(figures)
    })?);
    told("and drawn workloads", &all);
    all.add(&on_two_threads(plan.fault_workloads, |i| faults_of(&draw(seed + i), plan.faults_one_in))?);
    told("and errors", &all);
    all.add(&on_two_threads(plan.fault_workloads, |i| {
        faults_after_crashes(&draw(seed + i), Some(4), plan.faults_after_one_in)
    })?);
    Ok(all)
}

/// How many states a planted mistake may take to be caught.
const HUNT_STATES: u64 = 300_000;

/// Makes a mistake until it is noticed, and says after how many states, and how it was; `None` when it was not.
fn hunt(name: &'static str, seed: u64) -> Option<(u64, Failure)> {
    let share = Share { one_in: 3, policies: 6, depth_two_one_in: 10, seed: 0 };
    let small = exhaustive();
    let mut figures = Figures::default();
    planted::plant(Some(name));
    let mut caught = None;
    for i in 0.. {
        let workload = draw(seed + i);
        let others = (0..6).map(|j| &small[((i * 6 + j) * 101) as usize % small.len()]);
        let result = crash_everywhere(&workload, share, &mut figures)
            .and_then(|()| faults_of(&workload, 12).map(|more| figures.states += more.states))
            .and_then(|()| {
                faults_after_crashes(&workload, Some(4), 40).map(|more| figures.states += more.states)
            })
            .and_then(|()| others.into_iter().try_for_each(|w| crash_everywhere(w, share, &mut figures)));
        if let Err(failure) = result {
            caught = Some((figures.states, failure));
            break;
        }
        if figures.states > HUNT_STATES * 2 / 3 {
            break;
        }
    }
    // What is so narrow that only what failed once shows it.
    let share = Share { one_in: 1, policies: 12, depth_two_one_in: 2, seed: 0 };
    let past = if caught.is_none() { known::past() } else { Vec::new() };
    for known::Past { workload, behind_a_crash, .. } in &past {
        let behind =
            || if *behind_a_crash { faults_after_crashes(workload, None, 4) } else { Ok(Figures::default()) };
        let result = crash_everywhere(workload, share, &mut figures)
            .and_then(|()| faults_of(workload, 1).map(|more| figures.states += more.states))
            .and_then(|()| behind().map(|more| figures.states += more.states));
        if let Err(failure) = result {
            caught = Some((figures.states, failure));
            break;
        }
    }
    planted::plant(None);
    caught
}

/// Hunts for planted mistakes and prints the table. Says how many were caught, and of how many.
fn hunt_all(seed: u64, one_in: usize) -> (usize, usize) {
    let names: Vec<&'static str> =
        planted::NAMES.iter().copied().skip(seed as usize % one_in).step_by(one_in).collect();
    let table: Mutex<BTreeMap<usize, Option<(u64, Failure)>>> = Mutex::default();
    // Many a mistake ends in a panic, which is caught and need not be told.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let _ = on_two_threads(names.len() as u64, |i| {
        let found = hunt(names[i as usize], seed);
        table.lock().unwrap().insert(i as usize, found);
        Ok(Figures::default())
    });
    std::panic::set_hook(hook);
    let table = table.into_inner().unwrap();
    for (i, found) in &table {
        match found {
            Some((states, failure)) => {
                let what: String = failure.what.chars().take(90).collect();
                println!(
                    "  planted {:42} caught after {states:6} states: {} {what}",
                    names[*i], failure.replay
                );
            }
            None => println!("  planted {:42} NOT CAUGHT in {HUNT_STATES} states", names[*i]),
        }
    }
    (table.values().flatten().count(), names.len())
}

fn find(name: &str) -> Workload {
    if name.starts_with('k') {
        let known = known::past().into_iter().map(|past| past.workload);
        return known.into_iter().find(|workload| workload.name == name).unwrap();
    }
    match name.strip_prefix('x') {
        Some(i) => exhaustive().swap_remove(i.parse().unwrap()),
        None => draw(name[1..].parse().unwrap()),
    }
}

fn replay(line: &str) {
    let parts: Vec<&str> = line.split(':').collect();
    let workload = find(parts[0]);
    println!("{workload:#?}");
    plant_what_is_asked_for();
    let result = match parts[1..] {
        [] => {
            let share = Share { one_in: 1, policies: 12, depth_two_one_in: 10, seed: 0 };
            same_bytes(&workload)
                .and_then(|()| crash_everywhere(&workload, share, &mut Figures::default()))
                .and_then(|()| faults_of(&workload, 1).map(drop))
                .map_err(|f| format!("{}: {}", f.replay, f.what))
        }
        ["fault", point, kind, always] => {
            let kind = FaultKind::HONEST.into_iter().find(|k| format!("{k:?}") == kind).unwrap();
            let point = point.parse().unwrap();
            fault_at(&workload, point, kind, always == "always", &mut Figures::default())
                .map(drop)
                .map_err(|f| f.what)
        }
        [at, crash, seed, point, kind] => {
            let kind = FaultKind::HONEST.into_iter().find(|k| format!("{k:?}") == kind).unwrap();
            let crash = Crash::ALL.into_iter().find(|c| format!("{c:?}") == crash).unwrap();
            let died = Died { at: at.parse().unwrap(), crash, seed: seed.parse().unwrap() };
            let point = point.parse().unwrap();
            run(&workload, &SimEnv::new(workload.seed)).and_then(|history| {
                fault_after(&workload, &history, died, point, kind, &mut Figures::default())
                    .map(drop)
                    .map_err(|f| f.what)
            })
        }
        [at, crash, seed] => replay_state(&workload, at.parse().unwrap(), crash, seed.parse().unwrap()),
        _ => panic!("not a line of this campaign: {line}"),
    };
    match result {
        Ok(()) => println!("{line}: holds"),
        Err(what) => panic!("{line}: {what}"),
    }
}

fn report(failure: &Failure) -> ! {
    panic!("{}\nSTREAMLOG_REPLAY={}", failure.what, failure.replay)
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_invented() {
    if let Ok(line) = env::var("STREAMLOG_REPLAY") {
        return replay(&line);
    }
    let begun = Instant::now();
    let first = match env::var("STREAMLOG_SEED").as_deref() {
        Ok("random") => std::process::id().into(),
        Ok(seed) => seed.parse().expect("STREAMLOG_SEED is a number or `random`"),
        Err(_) => FIRST_SEED,
    };
    let long = env::var("STREAMLOG_CAMPAIGN").is_ok_and(|v| v == "long");
    let plan = plan();
    let (mut all, mut caught, mut tried) = (Figures::default(), 0, 0);
    for round in 0.. {
        let seed = first + round * plan.workloads;
        let figures = run_all(seed, &plan).unwrap_or_else(|failure| report(&failure));
        all.add(&figures);
        let (more, of) = hunt_all(first.wrapping_add(round), plan.planted_one_in);
        (caught, tried) = (caught + more, tried + of);
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "crash campaign: {} states, {} error points, {caught} of {tried} planted bugs caught, {seconds:.1} seconds, seed {seed}, digest {:016x}",
            all.states, all.error_points, all.digest
        );
        assert_eq!(caught, tried, "a planted mistake was not noticed");
        if !long {
            return;
        }
    }
}

#[test]
fn two_runs_of_one_seed_find_the_same() {
    let digest = |seed| {
        let mut figures = Figures::default();
        let workload = draw(seed);
        let share = Share { one_in: 5, policies: 3, depth_two_one_in: 20, seed: 0 };
        crash_everywhere(&workload, share, &mut figures).unwrap_or_else(|failure| report(&failure));
        let faults = faults_of(&workload, 50).unwrap_or_else(|failure| report(&failure));
        figures.add(&faults);
        (figures.states, figures.error_points, figures.digest)
    };
    let seeds = FIRST_SEED..FIRST_SEED + 3;
    let first: Vec<_> = seeds.clone().map(digest).collect();
    assert_eq!(first, seeds.map(digest).collect::<Vec<_>>());
    assert!(first.windows(2).all(|two| two[0].2 != two[1].2), "a digest of nothing: {first:?}");
}
