//! Retention: the segments that the plan lets go are removed from the front, and nothing else.
//!
//! `retention_plan` decides what goes, `remove` describes how. A pass looks at the log once, under the writer's lock. One
//! pass runs at a time, and none beside a checkpoint.

use crate::{
    error::Result,
    partition::{
        log::Log,
        state::{append_state::Active, log_config::LogConfig, troubles::Chore},
        write::{
            remove::{Look, remove_files},
            retention_plan::{RetentionPlan, Scope},
        },
    },
};
use std::sync::Arc;

/// Removes the segments that retention allows to go, and returns how many.
pub fn apply(log: &Arc<Log>) -> Result<usize> {
    let removed = pass(log)?;
    log.troubles.end(Chore::Retention);
    Ok(removed)
}

fn pass(log: &Arc<Log>) -> Result<usize> {
    let _no_checkpoint = log.checkpointing.lock();
    let Some(look) = Look::at(log) else { return Ok(0) };
    let before = std::mem::take(&mut *log.unremoved.lock());
    let remains = remove_files(log, &before);
    let count = RetentionPlan::new(log, &look, Scope::All(log)).removable()?;
    let removed = look.remove(log, count)?;
    remains.map(|()| removed)
}

/// Whether the log, whose active segment was just rolled for `next` bytes, would hold too much with the next segment.
pub(in crate::partition) fn exceeds_with(log: &Log, config: &LogConfig, next: u64) -> bool {
    let sealed = || log.segment_count() > 1;
    config.bytes_max.is_some_and(|most| log.size().saturating_add(config.roll_bytes.max(next)) > most)
        && sealed()
}

/// Whether an append of `size` bytes, which is written, looks at the log's size. Where groups may hold segments, only the
/// first of each segment does: what is too large may stay so for long.
#[inline]
pub(in crate::partition) fn asks_for_size(active: &Active, size: u64) -> bool {
    active.config.retention_hold_groups.is_empty() || active.position == size
}

/// Whether the log without its oldest segment still holds as much as it must keep.
pub(in crate::partition) fn exceeds(log: &Log, config: &LogConfig) -> bool {
    let Some(limit) = config.size_limit().filter(|limit| config.bytes_max.is_none() && log.size() >= *limit)
    else {
        return false;
    };
    let segments = log.segments.snapshot();
    let oldest = segments.first().filter(|_| segments.len() > 1);
    oldest.is_some_and(|oldest| log.size().saturating_sub(oldest.readable()) >= limit)
}

/// Removes the sealed segments that make the log too large, and flushes them first where needed. It is part of an
/// append, which does not fail because of it: what could not be removed is tried again with the next checkpoint.
pub(in crate::partition) fn shrink(log: &Log, next: u64) {
    if try_to_shrink(log, next).is_err() {
        log.due.checkpoint_now();
    }
}

fn try_to_shrink(log: &Log, next: u64) -> Result<()> {
    let _no_checkpoint = log.checkpointing.lock();
    let Some(look) = Look::at(log) else { return Ok(()) };
    let segments = &look.segments;
    let count = RetentionPlan::new(log, &look, Scope::SizeWith(next)).removable()?;
    let count = count.min(segments.len().saturating_sub(1));
    if let Some(kept) = segments.get(count).filter(|_| count > 0) {
        log.flush_to(kept.base())?;
    }
    look.remove(log, count).map(drop)
}

#[cfg(test)]
mod tests {
    use crate::{Offset, RecordData, Streamlog, Timestamp, TopicConfig, partition::write::retention::*};

    /// A log of four segments that are equally large, and that size.
    fn of_four() -> (Streamlog, Arc<Log>, u64) {
        let streamlog = Streamlog::in_memory().unwrap();
        let topic = streamlog.create_topic("t", TopicConfig::default().segment_bytes(600)).unwrap();
        let partition = topic.partition(0).unwrap();
        for _ in 0..4 {
            partition.append(&[RecordData::new(&[7; 400])]).unwrap();
        }
        let log = Arc::clone(partition.log());
        assert_eq!(log.segment_count(), 4);
        let size = log.size() / 4;
        (streamlog, log, size)
    }

    /// How many segments from the front go under these settings, where the log begins at `start`.
    fn going(log: &Arc<Log>, config: LogConfig, start: u64) -> usize {
        log.set_config(config);
        log.offsets.change(|set| set.log_start = Offset::new(start));
        let look = Look::at(log).unwrap();
        RetentionPlan::new(log, &look, Scope::All(log)).removable().unwrap()
    }

    fn keeping(log: &Log, retention_bytes: Option<u64>, bytes_max: Option<u64>) -> LogConfig {
        let mut config = LogConfig { bytes_max, ..LogConfig::clone(&log.config()) };
        config.values.retention_bytes = retention_bytes;
        config
    }

    #[test]
    fn a_segment_goes_by_size_where_as_much_as_is_to_be_kept_is_left_without_it() {
        let (_streamlog, log, size) = of_four();
        let count = |limit, start| {
            let config = keeping(&log, Some(limit), None);
            assert_eq!(exceeds(&log, &config), limit <= 3 * size, "{limit}");
            going(&log, config, start)
        };
        for (limit, expected) in [
            (4 * size, 0),
            (3 * size + 1, 0),
            (3 * size, 1),
            (2 * size + 1, 1),
            (2 * size, 2),
            (size, 3),
            (1, 3),
            (0, 4),
        ] {
            assert_eq!(count(limit, 0), expected, "{limit} bytes are kept of four times {size}");
        }
        assert_eq!((count(2 * size, 1), count(2 * size + 1, 1), count(4 * size, 2)), (2, 1, 2));
        assert_eq!(going(&log, keeping(&log, None, None), 1), 1);
    }

    #[test]
    fn a_log_with_a_most_has_room_for_a_full_active_segment_and_never_loses_that() {
        let (_streamlog, log, size) = of_four();
        let look = Look::at(&log).unwrap();
        let roll = log.config().roll_bytes;
        assert!(size < roll);
        let config = |most| keeping(&log, Some(most), Some(most));
        let count = |most, next| {
            log.set_config(config(most));
            RetentionPlan::new(&log, &look, Scope::SizeWith(next)).removable().unwrap()
        };
        // Three sealed segments, and the active one when it is full.
        for (most, expected) in [
            (3 * size + roll, 0),
            (3 * size + roll - 1, 1),
            (2 * size + roll, 1),
            (2 * size + roll - 1, 2),
            (roll, 3),
        ] {
            assert_eq!(count(most, 0), expected, "{most}");
        }
        assert_eq!((count(3 * size + 5000, 5000), count(3 * size + 4999, 5000)), (0, 1));
        assert!(!exceeds(&log, &config(size)), "what has a most is looked at when it rolls");
        let exceeds_with = |most, next| exceeds_with(&log, &config(most), next);
        assert!(!exceeds_with(4 * size + roll, 0) && exceeds_with(4 * size + roll - 1, 0));
        assert!(!exceeds_with(4 * size + 5000, 5000) && exceeds_with(4 * size + 4999, 5000));
    }

    #[test]
    fn a_log_of_one_segment_is_never_too_large_for_an_append() {
        let streamlog = Streamlog::in_memory().unwrap();
        let partition = streamlog.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("x")]).unwrap();
        let log = partition.log();
        assert!(!exceeds(log, &keeping(log, Some(0), None)));
        assert!(!exceeds_with(log, &keeping(log, Some(1), Some(1)), 0));
    }

    #[cfg(feature = "sim")]
    #[test]
    fn a_segment_goes_by_age_once_its_newest_record_is_older_than_is_to_be_kept() {
        use crate::{config::Builder, sim::SimEnv};
        use std::time::Duration;
        let env = SimEnv::new(1);
        env.set_wall_clock(Timestamp::from_millis(1_000_000));
        let streamlog = Builder::env(&env, "/data").background_thread(false).open().unwrap();
        let config = TopicConfig::default().segment_bytes(600).retention_time(Duration::from_secs(100));
        let partition = streamlog.create_topic("t", config).unwrap().partition(0).unwrap();
        for millis in [900_000, 899_999, 900_001, 950_000] {
            let record = RecordData::new(&[7; 400]).timestamp(Timestamp::from_millis(millis));
            partition.append(&[record]).unwrap();
        }
        let start_at = |now| {
            env.set_wall_clock(Timestamp::from_millis(now));
            apply(partition.log()).unwrap();
            partition.log_start_offset().value()
        };
        assert_eq!(start_at(1_000_000), 0, "exactly as old as is kept, and it is the first");
        assert_eq!(start_at(1_000_001), 2, "the second was older all along");
        assert_eq!((start_at(1_000_002), start_at(1_050_000)), (3, 3));
        assert_eq!(start_at(1_050_001), 4, "the active one too");
        assert_eq!((partition.log_end_offset().value(), partition.segment_count()), (4, 1));
    }

    #[cfg(feature = "sim")]
    #[test]
    fn a_removal_that_is_the_first_change_of_a_life_says_that_the_log_is_in_use() {
        use crate::{
            config::Builder,
            sim::{Crash, SimEnv},
        };
        use std::time::Duration;
        let env = SimEnv::new(1);
        let open = |env: &SimEnv| Builder::env(env, "/data").background_thread(false).open().unwrap();
        let streamlog = open(&env);
        let config = TopicConfig::default().segment_bytes(600).retention_time(Duration::from_secs(100));
        let partition = streamlog.create_topic("t", config).unwrap().partition(0).unwrap();
        for _ in 0..4 {
            partition.append(&[RecordData::new(&[7; 400])]).unwrap();
        }
        streamlog.close().unwrap();
        let is_marked_clean = || env.files().keys().any(|path| path.ends_with("/.kafka_cleanshutdown"));
        assert!(is_marked_clean());
        let streamlog = open(&env);
        assert!(streamlog.recovery_report().was_clean);
        env.advance(Duration::from_secs(101));
        let partition = streamlog.topic("t").unwrap().partition(0).unwrap();
        assert!(apply(partition.log()).unwrap() > 0);
        assert!(!is_marked_clean() && partition.log().data_dir.has_written());
        assert!(!open(&env.crash(Crash::Nothing, 1)).recovery_report().was_clean);
    }
}
