//! Whether a log that was opened again is one of those that may be.

use crate::consume::{committed, read_on};
use crate::model::{Batch, Model, Part, Rec, TopicModel};
use crate::workload::{Rng, TABLE};
use std::{collections::BTreeMap, sync::Arc};
use streamlog::{Durability, Error, Partition, Record, Streamlog, Timestamp, admin::RecoveryVerdict};

/// What survives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// What was promised to survive a power cut.
    Power,
    /// What was promised to survive the process.
    Kill,
}

/// The states that may be found: between `before` and `after`.
pub struct Bounds<'a> {
    pub before: &'a Model,
    pub after: &'a Model,
    pub level: Level,
    /// How far readers had been let: it must still be there.
    pub seen: BTreeMap<(&'static str, u32), u64>,
    /// Files in which bits were flipped: then an error, a verdict, or the whole truth is asked for (I13).
    pub rotten: Option<Vec<String>>,
}

impl<'a> Bounds<'a> {
    pub fn exactly(model: &'a Model) -> Bounds<'a> {
        Bounds { before: model, after: model, level: Level::Kill, seen: BTreeMap::new(), rotten: None }
    }
}

type Checked<T> = Result<T, String>;

/// Checks everything that can be seen of `log` and says what it holds.
pub fn check(log: &Streamlog, bounds: &Bounds<'_>, rng: &mut Rng) -> Checked<Model> {
    let mut found = Model { topics: BTreeMap::new(), serial: bounds.after.serial };
    if bounds.rotten.as_ref().is_some_and(|paths| paths.iter().any(|p| p.ends_with("/manifest"))) {
        // The end of the manifest looks torn then, and what it said last is not said: an older state, read to its end.
        for topic in log.topics().into_iter().flatten() {
            let mut models =
                [bounds.after, bounds.before].into_iter().filter_map(|m| m.topics.get(topic.name()));
            let model = models.find(|m| m.id == Some(topic.id()));
            for (i, partition) in topic.partitions().iter().enumerate() {
                let known = model.and_then(|m| m.parts.get(i));
                let all = partition.read(partition.log_start_offset());
                for batch in all.chain(partition.read_backwards(u64::MAX)).map_while(Result::ok) {
                    let is_known = |r: &Record<'_>| {
                        known.is_none_or(|part| part.record(r.offset.value()).is_some_and(|e| is_it(r, e)))
                    };
                    let mut others = batch.iter().filter(|r| !is_known(r));
                    if let Some(record) = others.next() {
                        return Err(format!(
                            "{}-{i}: offset {} has wrong bytes (I13)",
                            topic.name(),
                            record.offset
                        ));
                    }
                }
            }
        }
        return Ok(found);
    }
    for topic in log.topics().map_err(|e| e.to_string())? {
        let models = [bounds.before, bounds.after].map(|m| m.topics.get_key_value(topic.name()));
        let is_it = |m: &TopicModel| m.id.is_none_or(|id| id == topic.id());
        let before = models[0].filter(|(_, m)| is_it(m));
        // One that is being deleted may be there as it was; retention goes on in it until it is gone.
        let going = before.map(|(name, m)| (name, m.retaining_less()));
        let after = models[1].filter(|(_, m)| is_it(m)).or(going.as_ref().map(|(name, m)| (*name, m)));
        let Some((name, after)) = after else {
            return Err(format!("topic {} {} was never made, or was deleted (I3)", topic.name(), topic.id()));
        };
        let before = before.map(|(_, m)| m);
        let count = topic.partition_count() as usize;
        if count < before.map_or(1, |b| b.parts.len()) || count > after.parts.len() {
            return Err(format!("topic {name} has {count} partitions"));
        }
        let settings: BTreeMap<_, _> = topic.config().to_properties().into_iter().collect();
        let Some(found_as) = [Some(after), before].into_iter().flatten().find(|m| m.settings == settings)
        else {
            return Err(format!("topic {name} has {settings:?}, which were never its settings together"));
        };
        let (durability, retention) = (found_as.durability, found_as.retention);
        let mut parts = Vec::new();
        for (i, partition) in topic.partitions().iter().enumerate() {
            let (b, a) = (before.and_then(|t| t.parts.get(i)), &after.parts[i]);
            let seen = bounds.seen.get(&(*name, i as u32)).copied().filter(|_| before.is_some()).unwrap_or(0);
            let part = check_partition(log, partition, b, a, bounds, seen, rng)
                .map_err(|e| format!("{name}-{i}: {e}"))?;
            parts.push(settled(part, b, durability));
        }
        let id = Some(topic.id());
        found.topics.insert(name, TopicModel { id, durability, settings, retention, parts });
    }
    for (name, topic) in &bounds.before.topics {
        let kept = bounds.after.topics.get(name).is_some_and(|t| t.id == topic.id);
        if kept && !found.topics.contains_key(name) {
            return Err(format!("topic {name} is gone (I1)"));
        }
    }
    check_commits(log, bounds, &mut found)?;
    if bounds.rotten.is_none() && rng.one_in(3) {
        read_on(log, &found)?;
    }
    Ok(found)
}

/// What the group has committed is what it had before the call under way, or after it, in all partitions (I9).
fn check_commits(log: &Streamlog, bounds: &Bounds<'_>, found: &mut Model) -> Checked<()> {
    let offsets = "__consumer_offsets";
    let is_of_commits = |path: &String| path.contains(offsets) || path.ends_with("/marks");
    let excused = bounds.rotten.as_ref().is_some_and(|paths| paths.iter().any(is_of_commits));
    let report = log.recovery_report();
    let said = report
        .partitions
        .iter()
        .any(|p| &*p.partition.topic == offsets && !matches!(p.verdict, RecoveryVerdict::Whole));
    let committed = match committed(log, found) {
        Ok(committed) => committed,
        Err(_) if excused => return Ok(()),
        Err(error) => return Err(format!("what was committed: {error} (I9)")),
    };
    let (mut old, mut new) = (false, false);
    for (name, topic) in &mut found.topics {
        let of = |model: &Model, i| {
            let there = model.topics.get(name).filter(|t| t.id.is_none() || t.id == topic.id);
            there.and_then(|t| t.parts.get(i)).and_then(|p: &Part| p.committed)
        };
        let known: Vec<_> =
            (0..topic.parts.len()).map(|i| (of(bounds.before, i), of(bounds.after, i))).collect();
        for ((i, part), (before, after)) in topic.parts.iter_mut().enumerate().zip(known) {
            part.committed = committed.get(&(*name, i as u32)).copied();
            if part.committed != before && part.committed != after && !(excused && said) {
                return Err(format!(
                    "{name}-{i}: {:?} is committed, not {before:?} or {after:?} (I9)",
                    part.committed
                ));
            }
            old |= before != after && part.committed == before;
            new |= before != after && part.committed == after;
            if part.committed.is_some_and(|c| c > part.end()) && bounds.rotten.is_none() {
                return Err(format!("{name}-{i}: {:?} is committed of {} (I9)", part.committed, part.end()));
            }
        }
    }
    if old && new && !excused {
        return Err("a commit is there by halves (I9)".into());
    }
    Ok(())
}

/// After an opening everything that is there has survived; only a `Flushed` topic promises that it will once more.
fn settled(mut part: Part, before: Option<&Part>, durability: Durability) -> Part {
    let end = part.end();
    part.kill = end;
    part.power = match durability {
        Durability::Flushed => end,
        _ => before.map_or(0, |b| b.power).min(end).max(part.start),
    };
    part
}

fn check_partition(
    log: &Streamlog,
    partition: &Partition,
    before: Option<&Part>,
    after: &Part,
    bounds: &Bounds<'_>,
    seen: u64,
    rng: &mut Rng,
) -> Checked<Part> {
    let (start, end) = (partition.log_start_offset().value(), partition.high_watermark().value());
    let lowest_start = before.map_or(0, |b| b.start);
    // What is under way may be a removal whose end is not in the model: it goes to a boundary, and the next model has it.
    if (start < lowest_start || start > after.start.max(lowest_start)) && bounds.rotten.is_none() {
        return Err(format!("starts at {start}, not in {lowest_start}..={} (I11)", after.start));
    }
    let promised = match bounds.level {
        Level::Power => before.map_or(0, |b| b.power),
        Level::Kill => before.map_or(0, |b| b.kill.max(b.power)),
    };
    let least = promised.max(seen);
    // The place of a batch has no checksum: one may claim to lie behind a hole, which readers come to as an error.
    if end > after.end() && bounds.rotten.is_none() {
        return Err(format!("ends at {end}, and only {} were appended (I3)", after.end()));
    }
    if let Some(rotten) = &bounds.rotten {
        return check_rotten(log, partition, after, end, least, rotten);
    }
    if end < least {
        return Err(format!(
            "ends at {end}, and {promised} were acknowledged, {seen} seen (I1, I4); {:?}",
            verdict(log, partition)
        ));
    }
    if partition.log_end_offset().value() != end && bounds.level == Level::Power {
        return Err(format!("high watermark {end} below end {}", partition.log_end_offset()));
    }
    if let Some(RecoveryVerdict::Damage { path, position, reason, .. }) = verdict(log, partition) {
        return Err(format!("damage where nothing was damaged: {} at {position}: {reason}", path.display()));
    }
    if !after.is_boundary(end) {
        return Err(format!("ends at {end}, within a batch (I5)"));
    }
    let part = read_all(partition, before, after, start, end)?;
    if &*partition.topic_partition().topic != TABLE {
        look_up(partition, &part, rng)?;
    }
    Ok(part)
}

fn verdict<'a>(log: &'a Streamlog, partition: &Partition) -> Option<&'a RecoveryVerdict> {
    let report = log.recovery_report();
    report.partitions.iter().find(|p| p.partition == *partition.topic_partition()).map(|p| &p.verdict)
}

/// Whether a record is as it was appended.
fn is_it(record: &Record<'_>, expected: &Rec) -> bool {
    record.key == expected.key.as_deref()
        && record.value == expected.value.as_deref()
        && record.timestamp == Timestamp::from_millis(expected.timestamp)
}

/// Every record from the start to the end, as it was appended; of a table those that must be there. (I10)
fn read_all(
    partition: &Partition,
    before: Option<&Part>,
    model: &Part,
    start: u64,
    end: u64,
) -> Checked<Part> {
    let is_table = &*partition.topic_partition().topic == TABLE;
    let gone = |from: u64, to: u64| (from..to).find(|offset| !is_table || !model.may_be_gone(*offset, end));
    let mut seen = BTreeMap::new();
    let mut part = Part { start, purges: model.purges_after(before), ..Part::default() };
    let is_back = |offset| before.is_some_and(|before| before.was_purged(offset));
    let mut next = start;
    for batch in partition.read(start) {
        let batch = batch.map_err(|e| format!("reading at {next}: {e} (I1)"))?;
        for record in &batch {
            if record.offset < next {
                return Err(format!("offset {} where {next} was due (I1)", record.offset));
            }
            if let Some(missing) = gone(next, record.offset.value()) {
                return Err(format!("offset {} where {missing} was due (I1, I10)", record.offset));
            }
            next = record.offset.value();
            if is_back(next) {
                return Err(format!("offset {next} was purged, and is there again (I10)"));
            }
            seen.insert(record.key.map(<[u8]>::to_vec), next);
            let expected =
                model.record(next).ok_or_else(|| format!("offset {next} was never appended (I3)"))?;
            if !is_it(&record, expected) {
                return Err(format!("offset {next} has other bytes (I1, I3, I5)"));
            }
            next += 1;
        }
    }
    if next > end || gone(next, end).is_some() {
        return Err(format!("reading ended at {next} of {end} (I1, I10)"));
    }
    if let Some(offset) = seen.values().find(|offset| is_table && model.is_a_deleted_key(**offset, end)) {
        return Err(format!("the key of offset {offset} was deleted, and has its value again (I10)"));
    }
    for batch in model.batches.iter().filter(|b| b.end() <= end) {
        let life = partition.incarnation_of(batch.base);
        part.batches.push(Batch { base: batch.base, records: Arc::clone(&batch.records), life });
    }
    Ok(part)
}

/// Finds by offset, by time, and from behind.
fn look_up(partition: &Partition, part: &Part, rng: &mut Rng) -> Checked<()> {
    let (start, end) = (part.start, part.end());
    if start > 0 {
        match partition.read(start - 1).next() {
            Some(Err(Error::OffsetOutOfRange { earliest, .. })) if earliest == start => {}
            other => return Err(format!("reading below the start: {other:?} (I11)")),
        }
    }
    if start >= end {
        return Ok(());
    }
    let offset = start + rng.below(end - start);
    let first =
        partition.read(offset).next().and_then(|b| b.ok()).and_then(|b| b.iter().next().map(|r| r.offset));
    if first.map(|o| o.value()) != Some(offset) {
        return Err(format!("reading from {offset} began at {first:?}"));
    }
    let Some(record) = part.record(offset) else { return Err(format!("no record {offset}")) };
    let found = partition
        .offset_for_timestamp(Timestamp::from_millis(record.timestamp))
        .map_err(|e| e.to_string())?;
    if found.map(|f| f.offset.value()) != Some(offset) {
        return Err(format!("time {} found {found:?}, not {offset}", record.timestamp));
    }
    // Timestamps grow with offsets.
    let latest = partition.offset_of_max_timestamp().map_err(|e| e.to_string())?;
    if latest.map(|f| f.offset.value() + 1) != Some(end) {
        return Err(format!("the latest record is at {latest:?} of {end}"));
    }
    let last = partition.last(2).map_err(|e| e.to_string())?;
    let expected = end.saturating_sub(2).max(start)..end;
    if !last.iter().map(|r| r.offset.value()).eq(expected) {
        return Err("the newest records are others".into());
    }
    Ok(())
}

/// After bits were flipped: what is returned as data is what was appended; what is missing is said.
fn check_rotten(
    log: &Streamlog,
    partition: &Partition,
    after: &Part,
    end: u64,
    least: u64,
    rotten: &[String],
) -> Checked<Part> {
    let is_table = &*partition.topic_partition().topic == TABLE;
    // What took the place of a record may be what is damaged.
    let is_gone = |offset: u64| is_table && after.may_be_gone(offset, after.end());
    let mut errors = 0;
    let mut next = partition.log_start_offset().value();
    let mut part = Part { start: next, ..Part::default() };
    while next < end {
        let from = next;
        for batch in partition.read(next) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    let text = error.to_string();
                    if rotten.iter().all(|path| path.ends_with(".log") && !text.contains(path.as_str())) {
                        return Err(format!("rot that an error does not name: {error} (I13)"));
                    }
                    errors += 1;
                    break;
                }
            };
            for record in &batch {
                let expected = after.record(record.offset.value());
                if expected.is_none_or(|e| !is_it(&record, e)) {
                    return Err(format!("offset {} has wrong bytes (I13)", record.offset));
                }
                let is_lost = |offset: u64| !is_gone(offset);
                if record.offset < next || (next..record.offset.value()).any(is_lost) {
                    return Err(format!(
                        "offset {} where {next} was due, without an error (I13)",
                        record.offset
                    ));
                }
                next = record.offset.value() + 1;
            }
        }
        if next >= after.end() {
            break;
        }
        next = next.max(from + 1);
        if errors == 0 && next < end && from + 1 == next && !is_gone(from) {
            return Err(format!("reading stopped at {from} of {end} without an error (I13)"));
        }
    }
    let said = errors > 0 || !matches!(verdict(log, partition), None | Some(RecoveryVerdict::Whole));
    if end < least && !said && rotten.iter().all(|path| path.ends_with(".log")) {
        return Err(format!("ends at {end}, {least} were acknowledged, and nothing was said (I1, I13)"));
    }
    part.batches.extend(after.batches.iter().filter(|b| b.end() <= end).cloned());
    part.purges = after.purges_after(None);
    Ok(part)
}
