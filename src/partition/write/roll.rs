//! Rolling: the active segment is sealed, and an empty one takes its place.
//!
//! The file exists before the manifest names it: after a crash between the two it is a stray, and put aside. The slow
//! parts of a roll (flushing the sealed segment, its sidecars) are left to the next flush and checkpoint as a
//! [`PendingSeal`](crate::partition::state::append_state::PendingSeal); a `Written` topic's callers never wait for it.

use crate::{
    codec::{batch::BatchHeader, manifest::Seal},
    env::{sync::Ordering, trace::event},
    error::{Error, Result},
    partition::{log::Log, state::append_state::Active, write::quarantine::put_stray_aside},
    storage::{layout::SegmentFile, manifest::Flush, segment::ActiveSegment, sidecar::remove_segment_files},
    types::{Offset, Timestamp},
};
use std::{io, sync::Arc};

/// Why a segment is rolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::partition) enum RollFor {
    /// For a batch that does not fit into it.
    Append,
    /// For its removal, which must not need space.
    Removal,
}

/// Kafka's conditions for a new segment (`LogSegment.shouldRoll`).
#[inline]
pub(in crate::partition) fn is_due(log: &Log, active: &Active, header: &BatchHeader) -> bool {
    let config = &*active.config;
    if active.position == 0 {
        return false;
    }
    let age = || match active.first_timestamp {
        Some(first) if first.as_millis() >= 0 => {
            header.max_timestamp.as_millis().saturating_sub(first.as_millis())
        }
        _ => log.data_dir.env.now().as_millis().saturating_sub(active.created.as_millis()),
    };
    let is_old = || {
        let limit = config.roll_time().saturating_sub(active.jitter).as_millis();
        limit < u128::from(u64::MAX) && i128::from(age()) > limit as i128
    };
    // Records that retention may remove by then must not stay because a newer one joins their segment.
    let is_over_age = || {
        let Some(limit) = config.age_limit() else { return false };
        let newest = active.segment.largest_timestamp().unwrap_or(Timestamp::NONE);
        newest > Timestamp::NONE && newest < header.max_timestamp.minus(limit)
    };
    active.position + header.size() > config.roll_bytes
        || header.last_offset().distance_from(active.segment.base()) > i32::MAX as u64
        || active.index_is_full
        || is_old()
        || is_over_age()
}

/// Seals the active segment and begins a new one at `base`.
pub(in crate::partition) fn roll(log: &Log, active: &mut Active, base: Offset, why: RollFor) -> Result<()> {
    event!(DEBUG, partition = %log.identity.name, base = base.value(), "rolling a segment");
    if active.allocated != active.position {
        unless_planted!(roll_leaves_preallocated_space => active.cut_to_data()?);
    }
    let now = log.data_dir.env.now();
    let sealed = facts_of(active, base, now)?;
    let create = || create_segment(log, base, active.config.index_interval_bytes);
    let segment = match why {
        RollFor::Append => create()?,
        RollFor::Removal => log.data_dir.making_room(create)?,
    };
    if let Err(error) = record(log, active.segment.base(), sealed, base, why) {
        // Where that fails too, the next attempt finds it empty.
        let _ = segment.remove_files();
        return Err(error);
    }
    let new = Arc::clone(&segment);
    let old = active.roll_to(segment, &sealed, now, log.data_dir.env.random());
    if let Some(index) = old.closed_index() {
        // Only for Kafka's tools, and without a flush: the next checkpoint writes it again, whatever came of this.
        let _ = old.write_index_unflushed(&index);
    }
    planted!(roll_in_two_steps => log.segments.change(|list| drop(list.pop())));
    planted!(roll_in_two_steps => log.segments.change(|list| list.push(Arc::clone(&old))));
    log.segments.change(|list| list.push(new));
    log.due.checkpoint_now();
    Ok(())
}

/// The manifest's facts about the active segment, which ends before `next_offset`.
fn facts_of(active: &Active, next_offset: Offset, now: Timestamp) -> Result<Seal> {
    let segment = &active.segment;
    let mut bytes = active.position;
    planted!(seal_with_the_wrong_size => bytes -= 1);
    let mut sealed_at = Seal::time(now);
    planted!(seal_at_no_time => sealed_at = None);
    Ok(Seal {
        next_offset,
        bytes,
        largest_timestamp: segment.largest_timestamp()?,
        generation: 0,
        index_checksum: segment.checksum_to_write(),
        sealed_at,
    })
}

/// Records in the manifest that the segment at `before` is sealed, and that one begins at `base`.
fn record(log: &Log, before: Offset, sealed: Seal, base: Offset, why: RollFor) -> Result<()> {
    let entries = log.identity.id().rolled(before, sealed, base);
    let manifest = &log.data_dir.manifest;
    match why {
        RollFor::Append => manifest.append(&entries, Flush::Later),
        RollFor::Removal => manifest.append_to_make_room(&entries, Flush::Later),
    }
}

/// Creates the file of a segment. An empty file of its name was left by an attempt that failed; any other file of its
/// name is put aside, for the manifest does not name it.
fn create_segment(log: &Log, base: Offset, index_interval: u64) -> Result<ActiveSegment> {
    let (env, dir) = (&*log.data_dir.env, &log.identity.dir);
    let epoch = log.leader_epoch.load(Ordering::Relaxed);
    let create = || {
        let created = ActiveSegment::create(&log.data_dir.pool, dir, base, index_interval)?;
        created.expect_no_gaps(Some(epoch));
        created.expect_no_other_version();
        Ok(created)
    };
    match create() {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            let path = SegmentFile::Log.path(dir, base);
            if env.metadata(&path).is_ok_and(|found| !found.is_dir && found.len == 0) {
                remove_segment_files(env, dir, base)?;
            } else {
                put_stray_aside(log, base)?;
            }
            create()
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        RecordData, Streamlog, TopicConfig,
        partition::{state::log_config::LogConfig, tests::batch, write::roll::*},
    };
    use std::time::Duration;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Whether the batch after one of this time begins a segment, where settings, state and header are what `change`
    /// makes of them.
    fn begins_a_segment(
        first: Timestamp,
        change: impl Fn(&mut LogConfig, &mut Active, &mut BatchHeader),
    ) -> bool {
        let streamlog = Streamlog::in_memory().unwrap();
        let partition = streamlog.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("first").timestamp(first)]).unwrap();
        let mut writer = partition.log().writer.lock();
        let active = writer.opened().unwrap();
        let mut config = LogConfig::clone(&active.config);
        let mut header = BatchHeader {
            base_offset: Offset::new(1),
            max_timestamp: first,
            ..*batch(9, 0, "second").header()
        };
        change(&mut config, active, &mut header);
        active.config = Arc::new(config);
        is_due(partition.log(), active, &header)
    }

    #[test]
    fn a_segment_ends_before_it_would_become_too_large() {
        let lacks = |bytes: u64, is_empty: bool| {
            begins_a_segment(at(5000), |config, active, header| {
                config.roll_bytes = active.position + header.size() - bytes;
                active.position = if is_empty { 0 } else { active.position };
            })
        };
        assert!(!lacks(0, false) && lacks(1, false));
        assert!(!lacks(100, true), "an empty one takes any batch");
    }

    #[test]
    fn offsets_in_a_segment_are_no_further_apart_than_its_index_can_say() {
        let ends_at =
            |last: u64| begins_a_segment(at(5000), |_, _, header| header.base_offset = Offset::new(last));
        assert!(!ends_at(i32::MAX as u64) && ends_at(i32::MAX as u64 + 1));
        assert!(begins_a_segment(at(5000), |_, active, _| active.index_is_full = true));
    }

    #[test]
    fn a_segment_is_too_old_for_a_batch_that_is_later_than_its_first_by_more_than_its_time() {
        let later_by = |millis: i64, jitter| {
            begins_a_segment(at(5000), |config, active, header| {
                config.values.segment_time = Duration::from_millis(1000);
                active.jitter = Duration::from_millis(jitter);
                header.max_timestamp = at(5000 + millis);
            })
        };
        assert!(!later_by(1000, 0) && later_by(1001, 0));
        assert!(!later_by(700, 300) && later_by(701, 300));
        assert!(!later_by(-5000, 0), "an earlier one");
        let never = |millis| {
            begins_a_segment(at(0), |config, _, header| {
                config.values.segment_time = Duration::MAX;
                header.max_timestamp = at(millis);
            })
        };
        assert!(!never(i64::MAX));
    }

    #[test]
    fn a_segment_whose_records_have_no_time_is_as_old_as_its_file() {
        let created_before = |seconds: u64| {
            begins_a_segment(Timestamp::NONE, |config, active, _| {
                config.values.segment_time = Duration::from_secs(1000);
                active.created = active.created.minus(Duration::from_secs(seconds));
            })
        };
        assert!(!created_before(0) && !created_before(900) && created_before(1001));
    }

    #[test]
    fn what_retention_may_remove_by_then_is_not_kept_by_what_comes_after_it() {
        let later_by = |millis: i64, limit| {
            begins_a_segment(at(5000), |config, _, header| {
                config.values.retention_time = limit;
                header.max_timestamp = at(5000 + millis);
            })
        };
        let second = Some(Duration::from_secs(1));
        assert!(!later_by(1000, second) && later_by(1001, second) && !later_by(1001, None));
    }
}
