//! One operation of a workload fails: the log is unchanged or poisoned, and what was acknowledged is there.

use crate::campaign::{Failure, Figures, History, go_on, guard, is_of_a_full_disk, no_violations};
use crate::check::{Bounds, Level, check};
use crate::model::Model;
use crate::session::{Session, data_of, open};
use crate::workload::{How, Op, Rng, TABLE, Workload};
use std::collections::BTreeMap;
use streamlog::{
    Durability, ErrorKind,
    sim::{Crash, Fault, FaultKind, SimEnv},
};

/// One fault in a run of a workload, at the operation `point`; what must hold then.
pub fn fault_at(
    workload: &Workload,
    point: u64,
    kind: FaultKind,
    forever: bool,
    figures: &mut Figures,
) -> Result<bool, Failure> {
    figures.error_points += 1;
    let name = &workload.name;
    let always = if forever { "always" } else { "once" };
    let result = guard(|| faulted(workload, point, kind, forever, figures));
    result.map_err(|what| Failure { replay: format!("{name}:fault:{point}:{kind:?}:{always}"), what })
}

fn faulted(
    workload: &Workload,
    point: u64,
    kind: FaultKind,
    forever: bool,
    figures: &mut Figures,
) -> Result<bool, String> {
    let env = SimEnv::new(workload.seed);
    let fault = Fault::new(kind).skip(point);
    env.inject(if forever { fault.forever() } else { fault });
    env.record();
    let mut rng = Rng(workload.seed ^ point);
    let mut bounds = (Model::default(), Model::default());
    let mut session = match Session::start(env.clone(), Model::default(), false) {
        Ok(session) => Some(session),
        Err(error) => {
            says_what_and_where(&error)?;
            None
        }
    };
    if let Some(session) = &mut session {
        bounds = endure(session, &workload.ops, !forever)?;
    }
    lives_on(&env, session, &bounds, point, &mut rng, figures)
}

/// Makes calls until one fails. Returns the bounds of what may be found from then on. A full disk that passes fails nothing
/// that a producer had accepted.
fn endure(session: &mut Session, ops: &[Op], passes: bool) -> Result<(Model, Model), String> {
    for op in ops.iter() {
        if !op.fits(&session.model) {
            continue;
        }
        match session.run(op) {
            Ok(checked) => checked.map_err(|e| format!("{op:?}: {e}"))?,
            Err(error) => {
                if std::env::var_os("STREAMLOG_REPLAY").is_some() {
                    println!("{op:?}: {error}");
                }
                says_what_and_where(&error).map_err(|e| format!("{op:?}: {e}"))?;
                if passes && error.kind() == ErrorKind::Undelivered && is_of_a_full_disk(&error) {
                    return Err(format!("{op:?}: given up over a disk that was full once: {error} (I14)"));
                }
                let mut after = session.model.clone();
                after.apply(op);
                after.retain_as_before(&session.model);
                if matches!(op, Op::Maintain { .. } | Op::AdvanceStart { .. } | Op::Reopen) {
                    after.may_retain_less();
                }
                session.env.clear_faults();
                return aftermath(session, op, after);
            }
        }
    }
    Ok((session.model.clone(), session.model.clone()))
}

/// What comes after a fault: the process dies, or the power goes, and the next life finds what was promised. Says
/// whether the fault struck.
fn lives_on(
    env: &SimEnv,
    session: Option<Session>,
    (before, after): &(Model, Model),
    point: u64,
    rng: &mut Rng,
    figures: &mut Figures,
) -> Result<bool, String> {
    let struck = env.struck() > 0;
    env.clear_faults();
    // Every call of a log without threads may remove what is over age, also the one that failed.
    let mut after = after.clone();
    after.may_retain_less();
    if std::env::var_os("STREAMLOG_REPLAY").is_some() {
        for (number, operation, path) in env.recording().operations().filter(|(n, ..)| *n > point) {
            println!("{number:5} {operation:?} {path}");
        }
    }
    for crash in [Crash::Kill, Crash::ALL[1 + rng.below(11) as usize]] {
        let seed = rng.next() >> 32;
        figures.states += 2;
        let image = env.crash(crash, seed);
        let (level, seen) = (Level::Power, BTreeMap::new());
        let bounds = Bounds { before, after: &after, level, seen, rotten: None };
        twice(&image, &bounds, seed).map_err(|e| format!("after {crash:?}, {seed}: {e}"))?;
    }
    env.die();
    drop(session);
    no_violations(env)?;
    Ok(struck)
}

/// A crash of a workload: behind which operation, how, and with which seed.
#[derive(Clone, Copy, Debug)]
pub struct Died {
    pub at: u64,
    pub crash: Crash,
    pub seed: u64,
}

/// One fault in the opening after a crash, or in what comes after it, at its operation `point`. `None` when there are
/// fewer operations.
pub fn fault_after(
    workload: &Workload,
    history: &History,
    died: Died,
    point: u64,
    kind: FaultKind,
    figures: &mut Figures,
) -> Result<Option<bool>, Failure> {
    let Died { at, crash, seed } = died;
    let name = &workload.name;
    let result = guard(|| faulted_after(history, died, point, kind, figures));
    result.map_err(|what| Failure { replay: format!("{name}:{at}:{crash:?}:{seed}:{point}:{kind:?}"), what })
}

fn faulted_after(
    history: &History,
    Died { at, crash, seed }: Died,
    point: u64,
    kind: FaultKind,
    figures: &mut Figures,
) -> Result<Option<bool>, String> {
    let (env, bounds) = history.died(at, crash, seed).ok_or("no such operation")?;
    let bounds = Bounds { level: Level::Power, ..bounds };
    let mut rng = Rng(seed ^ point);
    env.record();
    env.inject(Fault::new(kind).skip(point));
    let start = env.operations();
    let mut session = None;
    let mut found = (bounds.before.clone(), bounds.after.clone());
    match open(&env, false) {
        Err(error) => says_what_and_where(&error).map_err(|e| format!("opening: {e}"))?,
        Ok(log) => {
            // What looks at it is not struck.
            let left = point.checked_sub(env.operations() - start).filter(|_| env.struck() == 0);
            env.clear_faults();
            let model = check(&log, &bounds, &mut rng)?;
            let mut next = Session::start_with(env.clone(), log, model, bounds.after.serial + 1000);
            if let Some(left) = left {
                env.inject(Fault::new(kind).skip(left));
                found = endure(&mut next, &first_calls(), true)?;
                if env.struck() == 0 {
                    env.die();
                    return Ok(None);
                }
            } else {
                found = (next.model.clone(), next.model.clone());
            }
            session = Some(next);
        }
    }
    figures.error_points += 1;
    lives_on(&env, session, &found, start, &mut rng, figures).map(Some)
}

/// The first calls of a life.
fn first_calls() -> Vec<Op> {
    let append = |topic, size| Op::Append { topic, partition: 0, count: 1, size, how: How::Partition };
    vec![
        // Where nothing is left: a life that changes nothing leaves the log as unclean as it was.
        Op::Create {
            topic: "a",
            durability: Durability::Flushed,
            partitions: 1,
            segment_bytes: 512,
            retention: false,
            codec: None,
        },
        append("a", 20),
        append("b", 20),
        append("a", 250),
        Op::CommitAt { topic: "a", partition: 0, quarters: 4 },
        Op::SendAcross { parts: vec![("a", 0, 1, 20), ("b", 0, 1, 20)] },
        Op::Reopen,
    ]
}

/// Opens, goes on, loses power, opens: what the second life was told is durable, although a cache may have lied.
fn twice(env: &SimEnv, bounds: &Bounds<'_>, seed: u64) -> Result<(), String> {
    let mut rng = Rng(seed);
    let log = open(env, false).map_err(|e| format!("opening: {e}"))?;
    let found = check(&log, bounds, &mut rng)?;
    let mut session = Session::start_with(env.clone(), log, found, bounds.after.serial + 1000);
    go_on(&mut session, &Model::default(), &mut rng, &mut Vec::new())
        .map_err(|e| format!("going on: {e}"))?;
    let after = env.crash(Crash::Nothing, seed);
    env.die();
    let log = open(&after, false).map_err(|e| format!("opening after power: {e}"))?;
    let bounds = Bounds { level: Level::Power, ..Bounds::exactly(&session.model) };
    check(&log, &bounds, &mut rng).map_err(|e| format!("after power: {e}"))?;
    after.die();
    drop((session, log));
    no_violations(env)
}

/// (I14)
fn says_what_and_where(error: &streamlog::Error) -> Result<(), String> {
    let text = error.to_string();
    let says = text.contains('/') || matches!(error.kind(), ErrorKind::Closed | ErrorKind::Wakeup);
    if says { Ok(()) } else { Err(format!("an error without a path: {text} (I14)")) }
}

/// Whether the call appends to this partition.
fn is_for(op: &Op, topic: &str, partition: u32) -> bool {
    op.appends().iter().any(|part| (part.0, part.1) == (topic, partition))
}

/// After a call has failed: the log is unchanged or poisoned. Returns the bounds of what may be found from now on.
fn aftermath(session: &Session, op: &Op, mut after: Model) -> Result<(Model, Model), String> {
    let mut before = session.model.clone();
    before.serial = after.serial;
    let Some(log) = &session.log else { return Ok((before, after)) };
    if matches!(op, Op::Delete { .. }) {
        // Whether there still is something to append to is just what is not known.
        return Ok((before, after));
    }
    for (name, topic) in session.model.topics.iter() {
        for number in 0..topic.parts.len() as u32 {
            let Ok(partition) = log.topic(name).and_then(|t| t.partition(number)) else { continue };
            let mut records = before.records(name, 1, 7);
            if *name != TABLE {
                records[0].key = None;
            }
            let one = records[0].clone();
            let data = data_of(&one);
            if partition.log_end_offset().value() == before.part(name, number).map_or(0, |p| p.end())
                && is_for(op, name, number)
                && let Some(part) = after.part_mut(name, number)
            {
                // The failed append was taken back, and another takes its place.
                part.batches.pop();
            }
            let appended = partition.append(&[data]);
            if std::env::var_os("STREAMLOG_REPLAY").is_some() {
                println!("an append to {name}-{number}: {appended:?}");
            }
            let Ok(offsets) = appended else {
                // Not acknowledged, and yet maybe there: what failed may have been its flush.
                after.serial += 1;
                before.serial = after.serial;
                if let Some(part) = after.part_mut(name, number) {
                    let base = part.end();
                    part.batches.push(crate::model::Batch { base, records: records.into(), life: 0 });
                }
                continue;
            };
            let part = before.part_mut(name, number).ok_or("no part")?;
            if is_for(op, name, number)
                && offsets.start.value() > part.end()
                && let Some(batch) = after.part(name, number).and_then(|p| p.batches.last())
            {
                // A call for several partitions may have failed behind this one.
                if topic.durability == Durability::Flushed && matches!(op, Op::Append { .. }) {
                    return Err(format!("{name}-{number}: a failed {op:?} left its batch in the log (I14)"));
                }
                // It was asked to be durable and was not acknowledged, but it is there.
                part.batches.push(batch.clone());
            }
            if offsets.start.value() != part.end() {
                return Err(format!(
                    "{name}-{number}: a failed {op:?} moved the end to {} (I14)",
                    offsets.start
                ));
            }
            let batch = crate::model::Batch { base: part.end(), records: records.into(), life: 0 };
            let flushed = topic.durability == Durability::Flushed;
            for (model, failed) in [(&mut before, false), (&mut after, true)] {
                model.serial += 1;
                let Some(part) = model.part_mut(name, number) else { continue };
                if failed {
                    part.batches.retain(|b| b.base < batch.base);
                }
                part.batches.push(batch.clone());
                part.kill = part.end();
                if flushed {
                    part.power = part.end();
                }
            }
        }
    }
    Ok((before, after))
}
