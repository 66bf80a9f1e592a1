//! What must hold before a batch is written: its incarnation is recorded, its file has the space, the mark announces
//! it.

use crate::{
    codec::{batch::BatchHeader, manifest::Entry},
    error::{Error, Result},
    partition::{
        log::Log,
        state::append_state::Active,
        write::roll::{RollFor, roll},
    },
    storage::manifest::Flush,
    types::{Durability, Offset},
};

/// The first step in which a file grows, and the largest.
const GROWTH_MIN: u64 = 64 << 10;
const GROWTH_MAX: u64 = 64 << 20;

/// For batches of a `Flushed` topic up to this size, the file grows by zeros that are written, in steps of at most the
/// second: each flush of a block that was only preallocated would cost the device another one.
const SMALL_BATCH: u64 = 32 << 10;
const ZEROS_MAX: u64 = 1 << 20;

/// What may be grown ahead of a batch, at most, is this part of what is left of the disk budget.
const SHARE_AHEAD: u64 = 8;

/// Prepares the active segment for the batch with `header`. A new segment begins where the file may not grow large
/// enough.
#[inline]
pub(in crate::partition) fn reserve(log: &Log, active: &mut Active, header: &BatchHeader) -> Result<()> {
    if active.new_incarnation {
        begin_incarnation(log, active, header.base_offset)?;
    }
    if active.position + header.size() > active.allocated {
        find_space(log, active, header)?;
    }
    if active.config.durability == Durability::Flushed {
        log.announce(header.next_offset())?;
    }
    Ok(())
}

/// Grows the file, or begins the next one: also where this one has its part of a disk budget, for only what is sealed can
/// be dropped.
#[cold]
fn find_space(log: &Log, active: &mut Active, header: &BatchHeader) -> Result<()> {
    let segment_max = segment_max(log);
    if active.position > 0 && active.position + header.size() > segment_max {
        roll(log, active, header.base_offset, RollFor::Append)?;
        return grow(log, active, header.size());
    }
    match grow(log, active, header.size()) {
        Err(Error::FileTooLarge { .. }) if active.position > 0 => {
            roll(log, active, header.base_offset, RollFor::Append)?;
            grow(log, active, header.size())
        }
        other => other,
    }
}

/// After an unclean opening a new incarnation begins with the first append, and is durable before it.
#[cold]
fn begin_incarnation(log: &Log, active: &mut Active, first_offset: Offset) -> Result<()> {
    let Some(entry) = new_incarnation(log, active, first_offset) else { return Ok(()) };
    log.data_dir.manifest.append(&[entry], Flush::Now)?;
    active.new_incarnation = false;
    Ok(())
}

/// The manifest's entry about an incarnation that is not recorded yet.
pub(in crate::partition) fn new_incarnation(
    log: &Log,
    active: &Active,
    first_offset: Offset,
) -> Option<Entry> {
    planted!(no_incarnation => return None);
    if !active.new_incarnation {
        return None;
    }
    let number = log.incarnation_of(Offset::MAX).saturating_add(1);
    Some(log.identity.id().incarnation(number, first_offset))
}

/// Reserves space for `size` more bytes, so that a full disk is an error before anything is written.
fn grow(log: &Log, active: &mut Active, size: u64) -> Result<()> {
    let roll_bytes = active.config.roll_bytes.min(segment_max(log));
    let left = log.data_dir.space.budget.left();
    // A whole segment is not worth another one that would be dropped for it.
    let preallocate = active.config.preallocate && roll_bytes.saturating_sub(active.allocated) <= left;
    let needed = active.position + size;
    let by_zeros = active.config.durability == Durability::Flushed && size <= SMALL_BATCH && !preallocate;
    let step_max = if by_zeros { ZEROS_MAX } else { GROWTH_MAX };
    let step = active.allocated.min(left / SHARE_AHEAD).clamp(GROWTH_MIN, step_max);
    let grown = if preallocate { roll_bytes } else { active.allocated + step };
    let target = grown.min(roll_bytes).max(needed);
    match allocate(log, active, target) {
        // The space that is left, or that a file may have, may still hold the batch itself.
        Err(Error::DiskFull { .. } | Error::FileTooLarge { .. }) if target > needed => {
            allocate(log, active, needed)?;
            active.allocated = needed;
        }
        other => {
            other?;
            active.allocated = target;
            if by_zeros && target > needed {
                // The space reads as zeros already: a failure here loses nothing but the gain.
                let _ = active.segment.write_zeros(needed..target);
            }
        }
    }
    log.data_dir.space.found_again();
    Ok(())
}

/// Where the disk budget ends a segment. Nothing of internal topics is ever dropped.
fn segment_max(log: &Log) -> u64 {
    if log.identity.internal { u64::MAX } else { log.data_dir.space.budget.segment_max() }
}

/// Makes the file `len` bytes long, where the settings let it.
fn allocate(log: &Log, active: &Active, len: u64) -> Result<()> {
    let (space, data, commits) = (&log.data_dir.space, &active.segment, log.identity.internal);
    let more = len.saturating_sub(active.allocated);
    space.charge(data.path(), data.charge(), data.footprint(len), commits)?;
    let grown = space.admit(data.path(), more, commits).and_then(|()| data.allocate(len));
    if grown.is_err() {
        data.takes(active.allocated);
    }
    grown
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use crate::{
        ErrorKind, RecordData, Streamlog, TopicConfig,
        config::Builder,
        sim::{Fault, FaultKind, Operation, SimEnv},
    };

    fn log(env: &SimEnv) -> Streamlog {
        let log = Builder::env(env, "/data").background_thread(false).open().unwrap();
        log.create_topic("t", TopicConfig::default()).unwrap();
        log
    }

    #[test]
    fn a_file_grows_by_as_much_as_it_has_within_bounds_and_never_beyond_a_segment() {
        use crate::{
            Durability,
            partition::{state::log_config::LogConfig, write::reserve::*},
        };
        use std::sync::Arc;
        const MIB: u64 = 1 << 20;
        let grown = |durability, preallocate, roll_bytes, allocated: u64, size| {
            let env = SimEnv::new(1);
            let log = log(&env);
            let partition = log.topic("t").unwrap().partition(0).unwrap();
            partition.append(&[RecordData::new("x")]).unwrap();
            let mut writer = partition.log().writer.lock();
            let active = writer.opened().unwrap();
            let mut config = LogConfig { roll_bytes, ..LogConfig::clone(&active.config) };
            (config.values.durability, config.values.preallocate) = (durability, preallocate);
            active.config = Arc::new(config);
            (active.position, active.allocated) = (allocated, allocated);
            grow(partition.log(), active, size).unwrap();
            assert_eq!(active.segment.source().len().unwrap(), active.allocated);
            active.allocated
        };
        let (written, flushed) = (Durability::Written, Durability::Flushed);
        for (allocated, target) in [
            (0, GROWTH_MIN),
            (1, GROWTH_MIN + 1),
            (GROWTH_MIN + 1, 2 * GROWTH_MIN + 2),
            (3 * MIB, 6 * MIB),
            (64 * MIB, 128 * MIB),
            (65 * MIB, 129 * MIB),
        ] {
            assert_eq!(grown(written, false, 1024 * MIB, allocated, 100), target, "{allocated}");
        }
        // Zeros that are written cost something.
        assert_eq!(grown(flushed, false, 1024 * MIB, 3 * MIB, SMALL_BATCH), 4 * MIB);
        assert_eq!(grown(flushed, false, 1024 * MIB, 3 * MIB, SMALL_BATCH + 1), 6 * MIB);
        // What a segment may have is all that it gets, but for a batch that is larger.
        assert_eq!(grown(written, false, 5 * MIB, 3 * MIB, 100), 5 * MIB);
        assert_eq!(grown(written, false, 5 * MIB, 3 * MIB, 3 * MIB), 6 * MIB);
        assert_eq!(grown(written, true, 5 * MIB, 0, 100), 5 * MIB);
        assert_eq!(grown(flushed, true, 5 * MIB, MIB, 100), 5 * MIB);
    }

    /// The next `times` attempts to let a file grow fail.
    fn limit_files(env: &SimEnv, times: usize) {
        for _ in 0..times {
            env.inject(Fault::new(FaultKind::FileTooLarge).on(Operation::Allocate).path(".log"));
        }
    }

    #[test]
    fn a_file_that_may_not_grow_ahead_grows_by_what_it_needs() {
        let env = SimEnv::new(1);
        let log = log(&env);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        limit_files(&env, 1);
        partition.append(&[RecordData::new("fits")]).unwrap();
        assert_eq!(partition.segment_count(), 1);
    }

    #[cfg(not(miri))]
    #[test]
    fn a_topic_of_small_flushes_grows_by_zeros_that_are_written() {
        use crate::env::{Env, Open, real::RealEnv};
        let dir = tempfile::tempdir().unwrap();
        let log = Streamlog::open(dir.path()).unwrap();
        let partition = log.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
        partition.append(&[RecordData::new("small")]).unwrap();
        let path = dir.path().join("t-0/00000000000000000000.log");
        let file = RealEnv::new().open(&path, Open::Read).unwrap();
        let len = file.len().unwrap();
        assert!(len >= 64 << 10, "{len}");
        // A file system reports preallocated space as it reports holes, if at all.
        assert!(file.zeros_from(0).is_none_or(|from| from >= len), "{:?} of {len}", file.zeros_from(0));
    }

    #[test]
    fn where_a_file_may_not_grow_at_all_the_next_segment_begins() {
        let env = SimEnv::new(1);
        let log = log(&env);
        let partition = log.topic("t").unwrap().partition(0).unwrap();
        let large = [7; 60_000];
        partition.append(&[RecordData::new(&large)]).unwrap();
        limit_files(&env, 2);
        partition.append(&[RecordData::new(&large)]).unwrap();
        assert_eq!((partition.segment_count(), partition.log_end_offset().value()), (2, 2));
        // A batch that no file may hold is refused, and nothing else with it.
        limit_files(&env, 4);
        let refused = partition.append(&[RecordData::new(&[7; 80_000])]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
        assert!(refused.to_string().contains("ulimit -f") && !refused.is_retriable(), "{refused}");
        env.clear_faults();
        partition.append(&[RecordData::new("small")]).unwrap();
        assert_eq!(partition.read(0).map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 3);
    }
}
