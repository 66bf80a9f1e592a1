//! What retention would do now with each segment: the one decision, which removal follows and `explain_retention` prints.
//!
//! In Kafka's order and by its rules (`UnifiedLog.deleteOldSegments`): the log start, the size, the age; and then the disk
//! budget, which compares all logs (`drop_oldest.rs`). Each rule removes a
//! prefix, and what one does not remove no later segment is removed by either: the log start lies before it, and the log
//! without it is smaller still. So one walk over the segments decides, and ends for a removal at the first that stays.

use crate::{
    error::{Error, Result},
    partition::{
        log::Log,
        read::by_time::largest_timestamp_of,
        state::{
            hold::Held,
            log_config::LogConfig,
            retention_verdict::{RetentionRule, RetentionVerdict, StaysBecause},
            segment_list::end_of,
        },
        write::remove::Look,
    },
    storage::segment::Segment,
    types::{Offset, Timestamp},
};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// What retention would do now with each segment, oldest first; nothing is changed. `outlook` says of the first ones when
/// the disk budget removes them.
///
/// # Errors
///
/// What the operating system says of a file whose time is asked for.
pub fn plan_retention(log: &Arc<Log>, outlook: Vec<Turn>) -> Result<Vec<(Arc<Segment>, RetentionVerdict)>> {
    let stopped = log.refusal().filter(|_| !log.data_dir.read_only);
    let stopped = stopped.map(|error| StaysBecause::Unknown { reason: error.to_string() });
    let look = Look::only(log);
    let mut plan = RetentionPlan { outlook, ..RetentionPlan::new(log, &look, Scope::All(log)) };
    let mut planned = Vec::with_capacity(look.segments.len());
    while let Some((segment, verdict)) = plan.next_verdict()? {
        let stopped = stopped.clone().map(|because| RetentionVerdict::Stays { why: vec![because] });
        planned.push((Arc::clone(segment), stopped.unwrap_or(verdict)));
    }
    Ok(planned)
}

/// What is decided.
#[derive(Clone, Copy)]
pub(in crate::partition) enum Scope<'a> {
    /// Everything, of this log.
    All(&'a Arc<Log>),
    /// The size alone, of which so many bytes are about to be appended; what goes is flushed first. Part of an append.
    SizeWith(u64),
    /// The disk budget, which has no room left, of this log: sealed segments that readers could see, flushed first.
    Budget(&'a Arc<Log>),
}

/// When the disk budget drops a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The base offset of the segment.
    pub base: Offset,
    /// How many more bytes must be used before; 0 where it is to be removed now.
    pub missing: u64,
    /// How many segments of all logs go before it.
    pub older: u64,
}

/// The segments of a look, oldest first, with what would become of each.
pub(in crate::partition) struct RetentionPlan<'a> {
    log: &'a Log,
    look: &'a Look,
    scope: Scope<'a>,
    config: Arc<LogConfig>,
    now: Timestamp,
    /// The next segment, and the bytes from it on.
    at: usize,
    left: u64,
    /// The oldest that stays.
    kept: Option<Offset>,
    /// Which group holds what, once that was asked.
    held: Option<Result<Option<Held>>>,
    /// Of the first segments, when the disk budget removes them: the other logs decide, too.
    outlook: Vec<Turn>,
}

/// What a rule says of a segment.
enum Ruling {
    Goes,
    Stays(StaysBecause),
}

impl<'a> RetentionPlan<'a> {
    pub fn new(log: &'a Log, look: &'a Look, scope: Scope<'a>) -> Self {
        let (config, now) = (log.config(), log.data_dir.env.now());
        let left = log.size();
        let outlook = Vec::new();
        RetentionPlan { log, look, scope, config, now, at: 0, left, kept: None, held: None, outlook }
    }

    /// How many segments from the front go.
    pub fn removable(mut self) -> Result<usize> {
        while let Some((_, verdict)) = self.next_verdict()? {
            if !verdict.goes() {
                return Ok(self.at - 1);
            }
        }
        Ok(self.at)
    }

    /// The next segment, and what would become of it.
    pub fn next_verdict(&mut self) -> Result<Option<(&'a Arc<Segment>, RetentionVerdict)>> {
        let look = self.look;
        let Some(segment) = look.segments.get(self.at) else { return Ok(None) };
        let verdict = self.decide(segment)?;
        if !verdict.goes() {
            self.kept.get_or_insert(segment.base());
        }
        self.left = self.left.saturating_sub(segment.readable());
        self.at += 1;
        Ok(Some((segment, verdict)))
    }

    /// The next segment if it goes, and the time that puts it in order with those of other logs.
    pub fn next_to_go(&mut self) -> Option<(Timestamp, &'a Arc<Segment>)> {
        let (segment, verdict) = self.next_verdict().ok()??;
        let end = end_of(&self.look.segments, self.at - 1, self.look.end);
        let time = time_of(self.log_to_read()?, segment, end).ok()?;
        verdict.goes().then_some((time, segment))
    }

    fn decide(&mut self, segment: &Arc<Segment>) -> Result<RetentionVerdict> {
        if self.look.is_empty_active(self.at) {
            return Ok(RetentionVerdict::Stays { why: vec![StaysBecause::Active] });
        }
        let rule = match self.rule(segment)? {
            Ok(rule) => rule,
            Err(why) => return Ok(RetentionVerdict::Stays { why }),
        };
        let flushes_first = !matches!(self.scope, Scope::All(_));
        let mut because = self.holds(rule);
        planted!(nobody_holds_a_segment => because = None);
        let because = because.or_else(|| self.look.keeps(self.log, self.at, flushes_first));
        let because = because.or_else(|| self.invisible_to_all());
        let because = because.or(self.kept.map(|kept| StaysBecause::Follows { kept }));
        Ok(match because {
            Some(because) => RetentionVerdict::Stays { why: vec![because] },
            None => RetentionVerdict::Goes { rule },
        })
    }

    /// The first rule that removes the segment, or why none does.
    fn rule(&self, segment: &Arc<Segment>) -> Result<Result<RetentionRule, Vec<StaysBecause>>> {
        let end = end_of(&self.look.segments, self.at, self.look.end);
        if !matches!(self.scope, Scope::SizeWith(_)) && end <= self.log.offsets.log_start() {
            return Ok(Ok(RetentionRule::LogStart));
        }
        let mut deletes = self.config.cleanup_policy.deletes();
        planted!(every_policy_deletes => deletes = true);
        if !deletes {
            return Ok(Err(vec![StaysBecause::Policy]));
        }
        if matches!(self.scope, Scope::Budget(_)) {
            return Ok(self.by_budget());
        }
        self.by_limits(segment, end)
    }

    /// What the limits that are set say, in the order of the rules.
    fn by_limits(
        &self,
        segment: &Arc<Segment>,
        end: Offset,
    ) -> Result<Result<RetentionRule, Vec<StaysBecause>>> {
        let mut why = Vec::new();
        let mut goes = |ruling: Option<Ruling>| match ruling? {
            Ruling::Goes => Some(()),
            Ruling::Stays(because) => {
                why.push(because);
                None
            }
        };
        if goes(self.config.retention_bytes.map(|limit| self.by_size(segment, limit))).is_some() {
            return Ok(Ok(RetentionRule::Size));
        }
        let age = self.config.retention_time.zip(self.log_to_read());
        if goes(age.map(|(limit, log)| self.by_age(log, segment, end, limit)).transpose()?).is_some() {
            return Ok(Ok(RetentionRule::Age));
        }
        if goes(self.by_outlook()).is_some() {
            return Ok(Ok(RetentionRule::DiskBudget));
        }
        if why.is_empty() {
            why.push(StaysBecause::NoLimit);
        }
        Ok(Err(why))
    }

    /// What the disk budget says, which compares all logs.
    fn by_outlook(&self) -> Option<Ruling> {
        Some(match *self.outlook.get(self.at)? {
            Turn { missing: 0, .. } => Ruling::Goes,
            Turn { missing, older, .. } => Ruling::Stays(StaysBecause::WithinDiskBudget { missing, older }),
        })
    }

    /// The active segment stays, and so do internal topics, which have an upkeep of their own.
    fn by_budget(&self) -> Result<RetentionRule, Vec<StaysBecause>> {
        let mut is_sealed = self.at + 1 < self.look.segments.len();
        is_sealed &= !self.log.identity.internal;
        if is_sealed { Ok(RetentionRule::DiskBudget) } else { Err(vec![StaysBecause::Active]) }
    }

    /// What is removed for the disk budget is flushed first, and not because of that.
    fn invisible_to_all(&self) -> Option<StaysBecause> {
        let end = end_of(&self.look.segments, self.at, self.look.end);
        let is_above = matches!(self.scope, Scope::Budget(_)) && end > self.log.offsets.high_watermark();
        is_above.then_some(StaysBecause::AboveHighWatermark)
    }

    /// What a group does that has not read the segment, which `rule` would remove. The log start asks nobody.
    fn holds(&mut self, rule: RetentionRule) -> Option<StaysBecause> {
        let groups = &self.config.retention_hold_groups;
        if rule == RetentionRule::LogStart || groups.is_empty() {
            return None;
        }
        let log = self.log;
        let ask = || match log.hold.get().and_then(Weak::upgrade) {
            Some(hold) => hold.held_from(&log.identity, groups),
            None => Err(Error::closed("the log")),
        };
        match self.held.get_or_insert_with(ask) {
            Ok(Some(held)) => {
                let end = end_of(&self.look.segments, self.at, self.look.end);
                let is_read = held.from.is_some_and(|from| end <= from);
                (!is_read).then(|| StaysBecause::Held { group: held.group.clone(), committed: held.from })
            }
            Ok(None) => None,
            Err(error) => Some(StaysBecause::Unknown { reason: error.to_string() }),
        }
    }

    fn log_to_read(&self) -> Option<&'a Arc<Log>> {
        match self.scope {
            Scope::All(log) | Scope::Budget(log) => Some(log),
            Scope::SizeWith(_) => None,
        }
    }

    /// Kafka's rule: it goes as soon as the others hold `limit`. Where the limit is the most that is kept, a sealed one also
    /// goes when there would be no room for an active one that is full.
    fn by_size(&self, segment: &Segment, limit: u64) -> Ruling {
        let next = match self.scope {
            Scope::All(_) | Scope::Budget(_) => 0,
            Scope::SizeWith(next) => next,
        };
        let is_sealed = self.at + 1 < self.look.segments.len();
        let active = self.look.segments.last().map_or(0, |s| s.readable());
        let full = active.max(self.config.roll_bytes).max(next);
        let without = self.left.saturating_sub(segment.readable());
        let mut missing = limit.saturating_sub(without);
        planted!(retention_keeps_too_little => missing = missing.min(limit.saturating_sub(self.left)));
        if let Some(most) = self.config.bytes_max.filter(|_| is_sealed) {
            let would_hold = self.left.saturating_sub(active).saturating_add(full);
            missing = missing.min(most.saturating_add(1).saturating_sub(would_hold));
        }
        if missing == 0 && self.left >= segment.readable() {
            return Ruling::Goes;
        }
        Ruling::Stays(StaysBecause::WithinSize { missing: missing.max(1) })
    }

    /// One whose age damage hides stays, and the damage is part of the log's health.
    fn by_age(&self, log: &Arc<Log>, segment: &Segment, end: Offset, limit: Duration) -> Result<Ruling> {
        let time = match time_of(log, segment, end) {
            Ok(time) => time,
            Err(error @ Error::Corrupt { .. }) => {
                return Ok(Ruling::Stays(StaysBecause::Unknown { reason: error.to_string() }));
            }
            Err(error) => return Err(error),
        };
        if time < self.now.minus(limit) {
            return Ok(Ruling::Goes);
        }
        Ok(Ruling::Stays(StaysBecause::Young { until: time.plus(limit) }))
    }
}

/// The time that retention goes by: the largest timestamp of the records below `end`, or the time of sealing where that
/// is smaller or no record has a timestamp; so a record from the future holds its segment no longer than one of its
/// day. Where no time of sealing is known either, it is the file's.
///
/// Why not the time of sealing alone: replayed history would outlive its retention. Why not the larger of both: the future
/// would hold the log.
fn time_of(log: &Arc<Log>, segment: &Segment, end: Offset) -> Result<Timestamp> {
    let mut largest = largest_timestamp_of(log, segment, end)?;
    planted!(age_by_the_first_record => largest = segment.header_at(0)?.map_or(largest, |first| first.max_timestamp));
    let mut sealed_at = segment.sealed_at();
    planted!(the_future_holds_a_segment => sealed_at = None);
    let known = [Some(largest).filter(|time| *time > Timestamp::NONE), sealed_at];
    if let Some(time) = known.into_iter().flatten().min() {
        return Ok(time);
    }
    let path = segment.path();
    let metadata = log.data_dir.env.metadata(path).map_err(|e| Error::io("measure", path, e))?;
    Ok(metadata.modified)
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use crate::{
        Offset, RecordData, Timestamp, TopicConfig,
        config::{Builder, CleanupPolicy},
        partition::state::{
            retention_verdict::{RetentionRule, RetentionVerdict, StaysBecause},
            topic_values::TopicValues,
        },
        sim::SimEnv,
    };
    use std::time::Duration;

    /// What is left of five segments, of which all but one are too old and too many, under this policy and after the
    /// records below `deleted` were deleted; and what would become of the oldest.
    fn left_under(cleanup_policy: CleanupPolicy, deleted: u64) -> (u64, RetentionVerdict) {
        let env = SimEnv::new(1);
        let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
        let topic = log.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap();
        let partition = topic.partition(0).unwrap();
        for _ in 0..5 {
            partition.append(&[RecordData::new(&[7; 400]).timestamp(Timestamp::from_millis(1))]).unwrap();
        }
        partition.append(&[RecordData::new(&[7; 400])]).unwrap();
        let values = TopicValues {
            cleanup_policy,
            retention_time: Some(Duration::from_secs(1)),
            retention_bytes: Some(600),
            segment_bytes: 600,
            ..TopicValues::default()
        };
        partition.log().set_config(LogConfig { roll_bytes: 600, bytes_max: None, values });
        let planned = plan_retention(partition.log(), Vec::new()).unwrap();
        if deleted > 0 {
            log.delete_records("t", 0, deleted).unwrap();
        }
        log.maintain().unwrap();
        (partition.log_start_offset().value(), planned[0].1.clone())
    }

    #[test]
    fn only_a_policy_that_deletes_removes_by_age_and_size_and_each_honours_the_log_start() {
        let stays = RetentionVerdict::Stays { why: vec![StaysBecause::Policy] };
        for policy in [CleanupPolicy::Compact, CleanupPolicy::Keep] {
            assert_eq!(left_under(policy, 0), (0, stays.clone()), "{policy:?}");
            assert_eq!(left_under(policy, 2), (2, stays.clone()), "{policy:?}");
        }
        for policy in [CleanupPolicy::Delete, CleanupPolicy::CompactDelete] {
            let goes = RetentionVerdict::Goes { rule: RetentionRule::Size };
            assert_eq!(left_under(policy, 0), (5, goes), "{policy:?}");
        }
    }

    #[test]
    fn a_policy_that_does_not_delete_neither_rolls_nor_removes_while_it_appends() {
        for (policy, segments) in [(CleanupPolicy::Keep, 6), (CleanupPolicy::Delete, 2)] {
            let env = SimEnv::new(1);
            let log = Builder::env(&env, "/data").background_thread(false).open().unwrap();
            let config =
                TopicConfig::default().cleanup_policy(policy).segment_bytes(600).retention_bytes(600);
            let partition = log.create_topic("t", config).unwrap().partition(0).unwrap();
            for _ in 0..6 {
                partition.append(&[RecordData::new(&[7; 400])]).unwrap();
            }
            assert_eq!(partition.segment_count(), segments, "{policy:?}");
            assert_eq!(partition.log().first_base(), Some(Offset::new(6 - segments as u64)), "{policy:?}");
        }
    }
}
