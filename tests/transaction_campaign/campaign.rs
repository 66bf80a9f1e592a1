//! One workload: the states that its deaths leave, and what its errors do.

use crate::{
    check::{Bounds, check},
    session::{Model, Session, State, observe, prepare, run, view},
    workload::{Op, Rng, Settings, Workload, draw},
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use streamlog::sim::{Crash, Fault, FaultKind, Recording, SimEnv};

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub states: u64,
    pub faults: u64,
}

impl Figures {
    pub fn add(&mut self, more: Figures) {
        self.states += more.states;
        self.faults += more.faults;
    }
}

/// Which share of the states is tried.
#[derive(Clone, Copy)]
pub struct Share {
    pub workloads: u64,
    /// One of so many operations, and how many ways to die there.
    pub one_in: u64,
    pub ways: usize,
    /// One of so many states is died in again.
    pub twice_one_in: u64,
    /// One of so many operations fails.
    pub faults_one_in: u64,
}

/// What does not hold, and the line that replays it.
pub struct Failure {
    pub replay: String,
    pub what: String,
}

/// What is known of the log between one operation and another.
struct Call {
    start: u64,
    end: u64,
    bounds: Bounds,
}

/// A run that can be died in.
pub struct History {
    calls: Vec<Call>,
    last: Bounds,
    recording: Recording,
}

impl History {
    /// Keeps what is known until now, of calls that began where the last ended.
    fn note(calls: &mut Vec<Call>, env: &SimEnv, bounds: Bounds) {
        let start = calls.last().map_or(0, |call| call.end);
        calls.push(Call { start, end: env.operations(), bounds });
    }

    /// What may be seen by who opens the log after operation `at`, which may be the last one of its call.
    fn bounds(&self, at: u64) -> &Bounds {
        let under_way = self.calls.iter().find(|call| call.start <= at && at < call.end);
        under_way.map_or(&self.last, |call| &call.bounds)
    }
}

pub fn history(workload: &Workload) -> Result<History, String> {
    let env = SimEnv::new(workload.seed);
    prepare(&env, workload.settings).map_err(|e| format!("preparing: {e}"))?;
    env.record();
    let mut session = Session::open(env.clone(), workload.settings).map_err(|e| format!("opening: {e}"))?;
    session.begin(Model::default()).map_err(|e| format!("beginning: {e}"))?;
    let mut calls = Vec::new();
    History::note(&mut calls, &env, Bounds::exactly(&Model::default()));
    run(workload, &mut session, |session, before| {
        History::note(&mut calls, &session.env, Bounds::between(&before, &session.model));
    })
    .map_err(|e| format!("without a fault: {e}"))?;
    let last = Bounds::exactly(&session.model);
    let recording = env.recording();
    let log = session.log.clone().ok_or("no log")?;
    check(&log, &last, true)?;
    drop(log);
    session.close().map_err(|e| format!("closing: {e}"))?;
    // Whoever knows only markers sees the same.
    let observer = observe(&env, workload.settings).map_err(|e| format!("observing: {e}"))?;
    check(&observer, &last, true).map_err(|what| format!("observing: {what}"))?;
    Ok(History { calls, last, recording })
}

/// Opens what a crash has left, and looks. With `twice` it writes, dies again, and the next opening must show the same.
pub fn state(
    env: &SimEnv,
    settings: Settings,
    bounds: &Bounds,
    twice: bool,
    rng: &mut Rng,
) -> Result<u64, String> {
    if twice {
        env.record();
    }
    let mut session = Session::open(env.clone(), settings).map_err(|e| format!("opening: {e}"))?;
    let log = session.log.clone().ok_or("no log")?;
    let seen = check(&log, bounds, true)?;
    drop(log);
    if !twice {
        return Ok(1);
    }
    let mut calls = Vec::new();
    History::note(&mut calls, env, bounds.clone());
    session.begin(bounds.settled(&seen)).map_err(|e| format!("beginning again: {e}"))?;
    History::note(&mut calls, env, Bounds::exactly(&session.model));
    let ops = draw(rng.next()).ops;
    for op in ops.iter().take(8) {
        let before = session.model.clone();
        session.call(op).map_err(|e| format!("in the second life: {op:?}: {e}"))?;
        History::note(&mut calls, env, Bounds::between(&before, &session.model));
    }
    let last = Bounds::exactly(&session.model);
    let history = History { calls, last, recording: env.recording() };
    let mut cursor = history.recording.cursor();
    let mut states = 1;
    while let Some(at) = cursor.advance() {
        if !rng.one_in(6) {
            continue;
        }
        let crash = Crash::ALL[rng.below(Crash::ALL.len() as u64) as usize];
        let env = cursor.crash(crash, rng.next());
        state(&env, settings, history.bounds(at), false, rng).map_err(|what| {
            let ops = &ops[..ops.len().min(8)];
            format!("{what} (in the second life, {ops:?}, which ended after operation {at} by {crash:?})")
        })?;
        states += 1;
    }
    Ok(states)
}

pub fn crash_everywhere(workload: &Workload, share: Share, figures: &mut Figures) -> Result<(), Failure> {
    let Workload { seed, settings, .. } = *workload;
    let history = guard(|| history(workload)).map_err(|what| Failure { replay: format!("{seed}"), what })?;
    let mut cursor = history.recording.cursor();
    let mut rng = Rng(seed ^ 0xdead);
    while let Some(at) = cursor.advance() {
        if !rng.one_in(share.one_in) {
            continue;
        }
        let first = rng.below(Crash::ALL.len() as u64) as usize;
        for way in 0..share.ways {
            let crash = Crash::ALL[(first + way) % Crash::ALL.len()];
            let chance = rng.next() >> 32;
            let twice = rng.one_in(share.twice_one_in);
            let env = cursor.crash(crash, chance);
            let found = guard(|| state(&env, settings, history.bounds(at), twice, &mut Rng(chance)));
            let replay = || format!("{seed}:{at}:{crash:?}:{chance}");
            figures.states += found.map_err(|what| Failure { replay: replay(), what })?;
        }
    }
    Ok(())
}

/// Tries one state again, twice in any case.
pub fn replay_state(workload: &Workload, at: u64, crash: Crash, chance: u64) -> Result<(), String> {
    let history = history(workload)?;
    let mut cursor = history.recording.cursor();
    while cursor.advance().is_some_and(|number| number != at) {}
    let env = cursor.crash(crash, chance);
    state(&env, workload.settings, history.bounds(at), true, &mut Rng(chance)).map(drop)
}

/// Runs a workload in which an operation fails, and looks at what a crash leaves, at once and later. Says whether any failed.
pub fn fault_at(workload: &Workload, point: u64, kind: FaultKind, forever: bool) -> Result<bool, String> {
    let env = SimEnv::new(workload.seed);
    prepare(&env, workload.settings).map_err(|e| format!("preparing: {e}"))?;
    let fault = Fault::new(kind).skip(point);
    env.inject(if forever { fault.forever() } else { fault });
    // It dies, and does not close.
    let mut session = Session::open(env.clone(), workload.settings).ok();
    if let Some(session) = &mut session
        && session.begin(Model::default()).is_ok()
    {
        for op in &workload.ops {
            // After an opening that failed there is no session any more.
            if session.call(op).is_err() && *op == Op::Reopen {
                break;
            }
        }
    }
    let struck = env.struck() > 0;
    env.clear_faults();
    let model = session.as_ref().map_or_else(Model::default, |session| session.model.clone());
    if let Some(log) = session.as_ref().and_then(|session| session.log.as_ref())
        && view(log).is_ok()
    {
        check(log, &Bounds::exactly(&model), false).map_err(|what| format!("before it dies: {what}"))?;
    }
    after_faults(&env, workload.settings, model, &mut Rng(workload.seed ^ point)).map(|()| struck)
}

fn after_faults(env: &SimEnv, settings: Settings, mut model: Model, rng: &mut Rng) -> Result<(), String> {
    for known in model.transactions.iter_mut().filter(|known| known.state == State::Open) {
        known.state = State::Aborted;
    }
    let bounds = Bounds::exactly(&model);
    for crash in [Crash::Kill, Crash::Nothing, Crash::ALL[rng.below(Crash::ALL.len() as u64) as usize]] {
        let (env, twice) = (env.crash(crash, rng.next()), rng.one_in(8));
        state(&env, settings, &bounds, twice, rng).map_err(|what| format!("{crash:?}: {what}"))?;
    }
    Ok(())
}

pub fn faults(workload: &Workload, share: Share, figures: &mut Figures) -> Result<(), Failure> {
    let mut rng = Rng(workload.seed ^ 0xfa17);
    for point in 0.. {
        let kind = FaultKind::HONEST[rng.below(FaultKind::HONEST.len() as u64) as usize];
        let forever = rng.one_in(4) && !matches!(kind, FaultKind::Interrupted | FaultKind::Short);
        if !rng.one_in(share.faults_one_in) {
            continue;
        }
        let struck = guard(|| fault_at(workload, point, kind, forever));
        let replay = || format!("{}:fault:{point}:{kind:?}:{forever}", workload.seed);
        figures.faults += 1;
        if !struck.map_err(|what| Failure { replay: replay(), what })? || point > 3000 {
            return Ok(());
        }
    }
    Ok(())
}

pub fn guard<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}
