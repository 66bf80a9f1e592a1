//! What an append must know, loaded by the first one after an opening: the tail of the index, the producers, the
//! epochs.
//!
//! A clean opening loads none of it, so that opening stays flat. A recovery has read all of it, and hands it over here.

use crate::{
    codec::checkpoint::LeaderEpochs,
    env::{Env, sync::Ordering},
    error::{Error, Result},
    partition::{
        log::Log,
        read::damage,
        state::{
            append_state::{Active, AppendState, draw_jitter},
            log_config::LogConfig,
            replay::{KnownEnd, Replay},
        },
        write::leftovers::tidy,
    },
    storage::{
        index,
        scan::{ReadPath, ScanItem},
        segment::{ActiveSegment, Segment, sidecars::UNKNOWN},
    },
    types::Offset,
};
use std::sync::Arc;

/// The append state, loaded where nothing was appended yet.
#[inline]
pub(in crate::partition) fn ready<'a>(log: &Log, writer: &'a mut AppendState) -> Result<&'a mut Active> {
    if writer.opened().is_none() {
        open(log, writer)?;
    }
    writer.opened().ok_or_else(|| Error::closed("the partition"))
}

/// The first append after an opening.
#[cold]
fn open(log: &Log, writer: &mut AppendState) -> Result<()> {
    if let AppendState::Unloaded { size, new_incarnation } = *writer {
        open_unloaded(log, writer, size, new_incarnation)?;
    }
    if writer.is_recovered() {
        log.data_dir.begin_writing()?;
        tidy(log, &log.segments.snapshot())?;
        writer.open();
    }
    writer.check()
}

/// The first append to a log that was closed cleanly.
fn open_unloaded(log: &Log, writer: &mut AppendState, size: u64, new_incarnation: bool) -> Result<()> {
    log.data_dir.begin_writing()?;
    let loaded = load(log, size, new_incarnation);
    match damage::record(log, loaded, Offset::ZERO) {
        Ok(active) => writer.open_with(active),
        Err(error) => {
            if matches!(error, Error::Corrupt { .. }) {
                // As if the opening had looked, and found it.
                writer.refuse(error.clone());
            }
            return Err(error);
        }
    }
    cut_to_data(log, writer)
}

/// Bytes after the data of a file from an earlier process are not known to be zeros: they are cut off before the file
/// grows again. An opening that appends nothing leaves them.
fn cut_to_data(log: &Log, writer: &mut AppendState) -> Result<()> {
    match writer.opened() {
        Some(active) if active.allocated != active.position => {
            active.cut_to_data().map_err(|error| writer.poison(&log.identity.dir, &error))
        }
        _ => Ok(()),
    }
}

/// What appending needs to know of a log that was closed with `size` bytes in its active segment.
fn load(log: &Log, size: u64, new_incarnation: bool) -> Result<Active> {
    log.check_owner()?;
    let segments = log.segments.snapshot();
    let end = log.offsets.log_end();
    let (log_start, at_start) = (log.offsets.log_start(), log.producers_at_start());
    let index_checksum = segments.last().map_or(UNKNOWN, |last| last.index_checksum());
    let known = KnownEnd { offset: end, position: size, index_checksum };
    let begun = Replay::begin(&*log.data_dir.env, &log.identity, &segments, at_start, known)?;
    let (Some(mut replay), Some(last)) = (begun, segments.last()) else {
        return Err(Error::corrupt(&log.identity.dir, 0, "the manifest names no segment"));
    };
    replay.is_cleaned_below(log.clean_below());
    let len = last.source().len()?;
    if len != size {
        let reason = format!("the file has {len} bytes, and had {size} when it was closed");
        return Err(Error::corrupt(last.path(), len.min(size), reason));
    }
    tidy(log, &segments)?;
    for (i, segment) in segments.iter().enumerate().skip(replay.segment) {
        if i > replay.segment {
            if let Some(before) = segments.get(replay.segment) {
                replay.leave(before, segment.base());
            }
            replay.enter(i, segment);
        }
        replay.scan(segment, segment.readable(), ReadPath::Cache, &mut |_, _| {}, &mut |_| true)?;
    }
    check_tail(last, &replay, size, end)?;
    let beginning = Beginning {
        env: &*log.data_dir.env,
        config: log.config(),
        log_start,
        log_end: end,
        epoch: log.leader_epoch.load(Ordering::Relaxed),
        new_incarnation,
    };
    beginning.after(replay, last, len)
}

/// What is known of a log before its first append, besides what a replay learns.
pub(in crate::partition) struct Beginning<'a> {
    pub env: &'a dyn Env,
    pub config: Arc<LogConfig>,
    pub log_start: Offset,
    pub log_end: Offset,
    /// The leader epoch that batches were checked against.
    pub epoch: i32,
    /// Whether a new incarnation begins with the first append.
    pub new_incarnation: bool,
}

impl Beginning<'_> {
    /// The append state after a replay that ended in `segment`, whose file is `allocated` bytes long.
    pub fn after(self, mut replay: Replay, segment: &Arc<Segment>, allocated: u64) -> Result<Active> {
        let position = segment.readable();
        segment.know_place(position, self.log_end);
        let first_timestamp = match segment.header_at(0) {
            Ok(header) => header.map(|h| h.max_timestamp),
            Err(Error::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        replay.producers.expire(self.env.now());
        replay.producers.durable_below(self.log_end);
        let mut epochs = replay.epochs;
        // A checkpoint does not count where it contradicts the epoch that the batches were checked against.
        let wrong = epochs.latest() != Some(self.epoch);
        if wrong {
            epochs = LeaderEpochs::default();
            epochs.assign(self.epoch, self.log_start);
        }
        let trimmed = epochs.truncate_from_start(self.log_start);
        let segment = ActiveSegment::resume(segment, replay.index, allocated)?;
        segment.set_aborted(replay.aborted);
        Ok(Active {
            index_is_full: segment.index_is_full(self.config.segment_index_bytes),
            segment,
            position,
            allocated,
            producers: replay.producers,
            epoch: self.epoch,
            epochs,
            first_timestamp,
            created: self.env.now(),
            jitter: draw_jitter(&self.config, self.env.random()),
            config: self.config,
            pending: replay.sealed,
            sidecars_dirty: wrong || trimmed || replay.went_back,
            names_dirty: false,
            new_incarnation: self.new_incarnation,
            since_checkpoint: 0,
            since_flush: 0,
            records_end: self.log_end,
        })
    }
}

/// Checks that the last batches of a closed log, from the last index entry on, are whole, in their places, and end
/// where the log ended: a file of the same length may hold other bytes.
fn check_tail(last: &Segment, replay: &Replay, size: u64, end: Offset) -> Result<()> {
    let from = index::floor_offset(replay.index.offsets(), last.base(), end.saturating_sub(1));
    let position = from.map_or(0, |entry| u64::from(entry.position));
    let at = |position| {
        Error::corrupt(
            last.path(),
            position,
            "the last batches are not those that were there when the log was closed",
        )
    };
    let expected = match position {
        0 => last.base(),
        _ => last.header_at(position)?.ok_or_else(|| at(position))?.base_offset,
    };
    let mut scanner = last.scanner(size, position, expected);
    while let ScanItem::Batch(..) = scanner.next()? {}
    let ends = scanner.expected() == end || (last.may_have_gaps() && scanner.expected() <= end);
    if scanner.position() == size && ends { Ok(()) } else { Err(at(scanner.position())) }
}
