//! Running workloads, and dying at every operation of them.

use crate::check::{Bounds, Level, check};
use crate::model::Model;
use crate::session::{Seen, Session, open};
use crate::workload::{How, NAMES, Op, Rng, Workload};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};
use streamlog::{
    Durability, Error, ErrorKind,
    sim::{Crash, Recording, SimEnv},
};

/// What was tried.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub workloads: u64,
    pub states: u64,
    pub error_points: u64,
    /// Of everything that was found, so that two runs can be compared.
    pub digest: u64,
}

impl Figures {
    pub fn fold(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    pub fn add(&mut self, other: &Figures) {
        self.workloads += other.workloads;
        self.states += other.states;
        self.error_points += other.error_points;
        self.fold(other.digest);
    }
}

/// A failure: the line that replays it, and what was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    pub replay: String,
    pub what: String,
}

/// One call, or a piece of background work, and the operations it took.
pub struct Call {
    start: u64,
    end: u64,
    before: Model,
    after: Model,
    /// What is certain once it has returned.
    settled: Model,
}

impl Call {
    fn new(start: u64, session: &Session, before: Model) -> Call {
        let after = session.model.clone();
        Call { start, end: session.env.operations(), before, settled: after.clone(), after }
    }
}

/// A run that can be died in.
pub struct History {
    calls: Vec<Call>,
    recording: Recording,
    seen: Vec<(u64, &'static str, u32, u64)>,
}

/// Which states of a workload are tried.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// One of so many operations.
    pub one_in: u64,
    /// How many crash policies at each.
    pub policies: usize,
    /// One of so many states is died in again.
    pub depth_two_one_in: u64,
    /// Makes another choice of all that, also of a workload that was tried before.
    pub seed: u64,
}

const DEPTH_TWO_POINTS: u64 = 8;

/// Runs a workload and keeps what is needed to die in it.
pub fn run(workload: &Workload, env: &SimEnv) -> Result<History, String> {
    env.record();
    let start = env.operations();
    let mut session = Session::start(env.clone(), Model::default(), workload.background)
        .map_err(|e| format!("opening: {e}"))?;
    let seen = session.watch();
    let mut rng = Rng(workload.seed ^ 0x5eed);
    let mut calls = vec![Call::new(start, &session, Model::default())];
    for (i, op) in workload.ops.iter().enumerate() {
        let full = workload.full.as_ref().filter(|full| full.calls.contains(&i));
        match full {
            Some(full) if i == full.calls.start => env.set_capacity(Some(env.used() + full.room)),
            None => env.set_capacity(None),
            _ => {}
        }
        make(&mut session, op, full.is_some(), &mut calls)?;
        if workload.background {
            let (start, before) = (env.operations(), session.model.clone());
            env.pump(rng.below(4) as usize);
            session.learn(&Op::Maintain { after_secs: 0 })?;
            calls.push(Call::new(start, &session, before));
        }
    }
    env.set_capacity(None);
    last_look(&mut session, &mut rng, &mut calls)?;
    let log = session.log.take().ok_or("no log")?;
    second_writer_is_refused(env)?;
    finish(env, Some(log), seen, calls)
}

/// Everything is there. The look itself may remove what is over age, which is a call like others.
fn last_look(session: &mut Session, rng: &mut Rng, calls: &mut Vec<Call>) -> Result<(), String> {
    let (start, before) = (session.env.operations(), session.model.clone());
    let log = session.log.as_ref().ok_or("no log")?;
    check(log, &Bounds::exactly(&session.model), rng)?;
    session.learn(&Op::Maintain { after_secs: 0 })?;
    calls.push(Call::new(start, session, before));
    Ok(())
}

fn finish(
    env: &SimEnv,
    log: Option<streamlog::Streamlog>,
    seen: Seen,
    calls: Vec<Call>,
) -> Result<History, String> {
    let recording = env.recording();
    env.die();
    drop(log);
    no_violations(env)?;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    Ok(History { calls, recording, seen })
}

/// Makes a call. On a full medium it may fail, and then nothing of it is there; of a call for several partitions, all or
/// nothing for each.
fn make(session: &mut Session, op: &Op, full: bool, calls: &mut Vec<Call>) -> Result<(), String> {
    let (start, before) = (session.env.operations(), session.model.clone());
    let checked = match session.run(op) {
        Err(e) if full && is_of_a_full_disk(&e) => {
            session.take_in_parts(op);
            session.learn(op)
        }
        other => other.map_err(|e| format!("{op:?}: {e}"))?,
    };
    checked.map_err(|e| format!("{op:?}: {e}"))?;
    calls.push(Call::new(start, session, before));
    Ok(())
}

/// Also where it stayed full for longer than a producer waits with what it had accepted.
pub fn is_of_a_full_disk(error: &Error) -> bool {
    match error {
        Error::Undelivered { cause, .. } => is_of_a_full_disk(cause),
        other => other.kind() == ErrorKind::DiskFull,
    }
}

/// (I16)
fn second_writer_is_refused(env: &SimEnv) -> Result<(), String> {
    match open(env, false) {
        Err(e) if e.kind() == ErrorKind::AlreadyOpen && e.to_string().contains("4711") => Ok(()),
        other => Err(format!("a second writer: {other:?} (I16)")),
    }
}

pub fn no_violations(env: &SimEnv) -> Result<(), String> {
    env.violations().first().map_or(Ok(()), |v| Err(v.clone()))
}

impl History {
    /// The states that may be found after a crash behind operation `at`, when the next change is operation `next`.
    fn bounds(&self, at: u64, next: u64, crash: Crash) -> Bounds<'_> {
        let until = next - 1;
        let i = self.calls.partition_point(|c| c.end < at).min(self.calls.len() - 1);
        let done = self.calls.partition_point(|c| c.end <= until);
        let (before, after) = match done.checked_sub(1).filter(|j| *j >= i) {
            Some(j) => (&self.calls[j].settled, &self.calls[j].settled),
            None => (&self.calls[i].before, &self.calls[i].after),
        };
        let begun = self.calls[i].start;
        let mut seen = BTreeMap::new();
        if done <= i {
            let from = self.seen.partition_point(|s| s.0 <= begun);
            for (_, topic, number, end) in self.seen[from..].iter().take_while(|s| s.0 <= next) {
                let most = seen.entry((*topic, *number)).or_insert(0);
                *most = (*end).max(*most);
            }
        }
        let level = if crash == Crash::Kill { Level::Kill } else { Level::Power };
        Bounds { before, after, level, seen, rotten: None }
    }

    /// The machine after a crash behind operation `at`, and what may be found there.
    pub fn died(&self, at: u64, crash: Crash, seed: u64) -> Option<(SimEnv, Bounds<'_>)> {
        let (at, next) = self.points().into_iter().find(|(n, _)| *n == at)?;
        let mut cursor = self.recording.cursor();
        while cursor.advance().is_some_and(|n| n < at) {}
        Some((cursor.crash(crash, seed), self.bounds(at, next, crash)))
    }

    /// The operations that changed the disk, each with the next.
    pub fn points(&self) -> Vec<(u64, u64)> {
        let mut cursor = self.recording.cursor();
        let changes: Vec<u64> = std::iter::from_fn(|| cursor.advance()).collect();
        let next = changes.iter().skip(1).copied().chain([u64::MAX]);
        changes.iter().copied().zip(next).filter(|(at, next)| at != next).collect()
    }
}

/// Every operation of a workload with several crashes each.
pub fn crash_everywhere(workload: &Workload, share: Share, figures: &mut Figures) -> Result<(), Failure> {
    let name = &workload.name;
    let fail = |what: String, rest: String| Failure { replay: format!("{name}{rest}"), what };
    let guarded = catch_unwind(|| run(workload, &SimEnv::new(workload.seed))).unwrap_or_else(panicked);
    let history = guarded.map_err(|e| fail(e, String::new()))?;
    figures.workloads += 1;
    let mut rng = Rng(workload.seed ^ 0xc4a5 ^ share.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut cursor = history.recording.cursor();
    for (at, next) in history.points() {
        while cursor.advance().is_some_and(|n| n < at) {}
        if !rng.one_in(share.one_in) {
            continue;
        }
        let first = rng.below(Crash::ALL.len() as u64) as usize;
        for i in 0..share.policies.min(Crash::ALL.len()) {
            let crash = Crash::ALL[(first + i) % Crash::ALL.len()];
            let seed = rng.next() >> 32;
            let result = one_state(&history, &cursor, (at, next), crash, seed, share, figures);
            result.map_err(|e| fail(e, format!(":{at}:{crash:?}:{seed}")))?;
        }
    }
    Ok(())
}

fn one_state(
    history: &History,
    cursor: &streamlog::sim::Cursor<'_>,
    (at, next): (u64, u64),
    crash: Crash,
    seed: u64,
    share: Share,
    figures: &mut Figures,
) -> Result<(), String> {
    let bounds = history.bounds(at, next, crash);
    // Where something is lost and something behind it kept, there is most to go wrong the second time.
    let riddled = matches!(crash, Crash::Subset | Crash::Sectors);
    let one_in = if riddled { share.depth_two_one_in.div_ceil(16) } else { share.depth_two_one_in };
    let depth = u64::from(Rng(seed).one_in(one_in));
    figures.states += 1;
    let env = cursor.crash(crash, seed);
    guard(|| verify(&env, &bounds, seed, depth, figures))?;
    if Rng(seed ^ 1).one_in(6) {
        figures.states += 1;
        let env = cursor.crash(crash, seed);
        guard(|| verify_rotten(&env, bounds, seed))?;
    }
    Ok(())
}

pub fn guard<T>(act: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(panicked)
}

fn panicked<T>(payload: Box<dyn std::any::Any + Send>) -> Result<T, String> {
    let text =
        payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    Err(format!("panic: {} (I18)", text.unwrap_or("?")))
}

/// To open what is there needs no room.
fn opens_on_a_full_medium(env: &SimEnv, bounds: &Bounds<'_>, rng: &mut Rng) -> Result<(), String> {
    env.set_capacity(Some(env.used()));
    let log = open(env, false).map_err(|e| format!("opening: {e}"))?;
    check(&log, bounds, rng)?;
    env.die();
    drop(log);
    no_violations(env)
}

/// Opens what a crash left, checks it, goes on, checks again; with `depth`, dies in that, too.
fn verify(
    env: &SimEnv,
    bounds: &Bounds<'_>,
    seed: u64,
    depth: u64,
    figures: &mut Figures,
) -> Result<(), String> {
    let mut rng = Rng(seed);
    if depth > 0 {
        env.record();
    }
    let start = env.operations();
    if !bounds.before.topics.is_empty() && rng.one_in(8) {
        opens_on_a_full_medium(&env.crash(Crash::Kill, seed), bounds, &mut rng)
            .map_err(|e| format!("on a full medium: {e}"))?;
    }
    let log = open(env, false).map_err(|e| format!("opening: {e}"))?;
    let found = check(&log, bounds, &mut rng)?;
    for topic in found.topics.values() {
        topic.parts.iter().for_each(|p| figures.fold(p.end()));
    }
    let mut session = Session::start_with(env.clone(), log, found, bounds.after.serial + 1000);
    let (before, mut after) = (bounds.before.clone(), bounds.after.clone());
    after.retain_as_before(&before);
    after.may_retain_less();
    let mut calls =
        vec![Call { start, end: env.operations(), before, after, settled: session.model.clone() }];
    let seen = if depth > 0 { session.watch() } else { Seen::default() };
    go_on(&mut session, bounds.before, &mut rng, &mut calls).map_err(|e| format!("going on: {e}"))?;
    last_look(&mut session, &mut rng, &mut calls).map_err(|e| format!("after going on: {e}"))?;
    let log = session.log.take().ok_or("no log")?;
    if depth == 0 {
        env.die();
        drop(log);
        return no_violations(env);
    }
    let history = finish(env, Some(log), seen, calls)?;
    let points = history.points();
    let mut cursor = history.recording.cursor();
    for (at, next) in points.iter().copied() {
        while cursor.advance().is_some_and(|n| n < at) {}
        if rng.below(points.len() as u64) >= DEPTH_TWO_POINTS {
            continue;
        }
        let crash = match rng.below(4) {
            0 => Crash::Subset,
            _ => Crash::ALL[rng.below(Crash::ALL.len() as u64) as usize],
        };
        let mut again = history.bounds(at, next, crash);
        if next <= history.calls[0].end {
            // What the opening found is not promised before the opening returned.
            again.level = Level::Power.min_with(bounds.level, crash);
        }
        let seed = rng.next() >> 32;
        figures.states += 1;
        verify(&cursor.crash(crash, seed), &again, seed, depth - 1, figures)
            .map_err(|e| format!("died again at {at} ({crash:?}, {seed}): {e}"))?;
    }
    Ok(())
}

impl Level {
    /// Two deaths of the process only are one; power in between is power.
    fn min_with(self, first: Level, second: Crash) -> Level {
        if first == Level::Kill && second == Crash::Kill { Level::Kill } else { self }
    }
}

/// A short continuation: appends, a roll, sometimes more.
pub fn go_on(
    session: &mut Session,
    lost: &Model,
    rng: &mut Rng,
    calls: &mut Vec<Call>,
) -> Result<(), String> {
    let topics: Vec<&'static str> = session.model.topics.keys().copied().collect();
    if topics.is_empty() {
        let create = Op::Create {
            topic: NAMES[0],
            durability: Durability::Flushed,
            partitions: 1,
            segment_bytes: 512,
            retention: false,
            codec: None,
        };
        make(session, &create, false, calls)?;
    }
    // A life that only looked, or not even that: its close is a clean one.
    if rng.one_in(5) {
        make(session, &Op::Reopen, false, calls)?;
    }
    for topic in topics {
        for size in [20, 250] {
            if size > 20 && rng.one_in(2) {
                continue;
            }
            let how = if rng.one_in(4) { How::Enqueue } else { How::Partition };
            make(session, &Op::Append { topic, partition: 0, count: 1, size, how }, false, calls)?;
            new_life_for_a_lost_offset(session, lost, topic)?;
        }
        let more = match rng.below(15) {
            0 => Op::Flush { topic, partition: 0 },
            1 => Op::AdvanceStart { topic, partition: 0, quarters: 2 },
            2 => Op::Maintain { after_secs: 20 },
            3 => Op::Reopen,
            4 => Op::Delete { topic },
            5 | 6 => Op::Poll,
            7 => Op::CommitAt { topic, partition: 0, quarters: 4 },
            8 => Op::Forget,
            9 => Op::SendAcross { parts: NAMES.map(|name| (name, 0, 2, 20)).to_vec() },
            _ => continue,
        };
        if !more.fits(&session.model) {
            continue;
        }
        make(session, &more, false, calls)?;
        if more == Op::Poll {
            make(session, &Op::Commit, false, calls)?;
        }
    }
    Ok(())
}

/// (I4)
fn new_life_for_a_lost_offset(session: &Session, lost: &Model, topic: &str) -> Result<(), String> {
    let Some(batch) = session.model.part(topic, 0).and_then(|p| p.batches.last()) else { return Ok(()) };
    let same = |m: &Model| m.topics.get(topic).map(|t| t.id) == session.model.topics.get(topic).map(|t| t.id);
    let Some(old) = lost.part(topic, 0).and_then(|p| p.batch_at(batch.base)).filter(|_| same(lost)) else {
        return Ok(());
    };
    if old.life == batch.life {
        return Err(format!("offset {} has two values in life {} (I4)", batch.base, batch.life));
    }
    Ok(())
}

/// Bits flipped on the medium: the truth, or an error that says where.
fn verify_rotten(env: &SimEnv, mut bounds: Bounds<'_>, seed: u64) -> Result<(), String> {
    let flipped = env.rot(seed, 1 + (seed & 1) as usize);
    // What a swap has decided is on its way to its name.
    let name_of = |path: String| {
        let rewritten = path.strip_suffix(".cleaned").or(path.strip_suffix(".swap"));
        rewritten.map(str::to_string).unwrap_or(path)
    };
    let rotten: Vec<String> = flipped.into_iter().map(|(path, _)| name_of(path)).collect();
    // Everything else can be told anew from these, so there it must make no difference at all.
    let is_truth = |path: &String| [".log", "/manifest", "/marks"].iter().any(|end| path.ends_with(end));
    bounds.rotten = rotten.iter().any(is_truth).then(|| rotten.clone());
    let opened = open(env, false);
    if let (Err(error), None) = (&opened, &bounds.rotten) {
        return Err(format!("rot in {rotten:?}: opening: {error}"));
    }
    if let Ok(log) = opened {
        let found = check(&log, &bounds, &mut Rng(seed)).map_err(|e| format!("rot in {rotten:?}: {e}"))?;
        drop(found);
        env.die();
        drop(log);
    }
    Ok(())
}

/// The paths that the operations of a workload concern.
pub fn operations(workload: &Workload) -> Vec<String> {
    let env = SimEnv::new(workload.seed);
    let quiet = Workload { background: false, ..workload.clone() };
    let paths = |h: History| h.recording.operations().map(|(_, _, path)| path.to_string()).collect();
    guard(|| run(&quiet, &env).map(paths)).unwrap_or_default()
}

/// Same calls, clock and seed give the same bytes (I17).
pub fn same_bytes(workload: &Workload) -> Result<(), Failure> {
    let files = || {
        let env = SimEnv::new(workload.seed);
        guard(|| run(workload, &env).map(drop)).map(|()| env.files())
    };
    if files() == files() {
        return Ok(());
    }
    Err(Failure { replay: workload.name.clone(), what: "two runs left different files (I17)".into() })
}

/// One state of a workload, again.
pub fn replay_state(workload: &Workload, at: u64, crash: &str, seed: u64) -> Result<(), String> {
    let history = run(workload, &SimEnv::new(workload.seed))?;
    let mut cursor = history.recording.cursor();
    let points = history.points();
    let (at, next) = *points.iter().find(|(n, _)| *n == at).ok_or("no such operation")?;
    while cursor.advance().is_some_and(|n| n < at) {}
    let crash = *Crash::ALL.iter().find(|c| format!("{c:?}") == crash).ok_or("no such crash")?;
    for (number, operation, path) in history.recording.operations() {
        if number <= at + 1 {
            println!("{number:5} {operation:?} {path}");
        }
    }
    for (path, bytes) in cursor.crash(crash, seed).files() {
        println!("      {path} {}", bytes.len());
    }
    let share = Share { one_in: 1, policies: 1, depth_two_one_in: 1, seed: 0 };
    one_state(&history, &cursor, (at, next), crash, seed, share, &mut Figures::default())
}
