//! Opening a log that was not closed: finding its end without guessing.
//!
//! Everything below the recovery point was checkpointed and is not read. From there on each batch is checked. Where the
//! chain of whole batches ends, the mark decides what that means:
//!
//! * nothing lies behind it: the log is **whole**;
//! * it ends above what the mark says was durable: a **torn tail**, never acknowledged as durable. It is cut at the last
//!   whole batch, and the cut is durable before anybody reads;
//! * it ends below: **damage**. Nothing is removed; what is intact can be read, the rest answers with the error, and
//!   the log accepts no appends.
//!
//! A version that this release does not know is neither: the opening is refused.

use super::{
    config::LogConfig,
    log::{Identity, Log, Writer},
    offsets::OffsetSet,
    replay::{Replay, Stop, Why, whole_batches_beyond},
    shared::Shared,
};
use crate::{
    codec::{manifest::Entry, mark::Mark},
    error::{Error, Result},
    storage::{
        layout::{ASIDE, SegmentFile},
        manifest::{Flush, PartitionState},
        scan::Source,
        segment::Segment,
        sidecar::remove_if_there,
    },
    types::{Offset, TopicPartition},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What recovery found of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionRecovery {
    /// The partition.
    pub partition: TopicPartition,
    /// How many bytes were read.
    pub bytes_read: u64,
    /// Where the log ends now.
    pub log_end: Offset,
    /// What was found.
    pub verdict: RecoveryVerdict,
    /// Segment files that the manifest does not name, or that lay behind a cut: renamed with `.aside`, not removed.
    pub put_aside: Vec<PathBuf>,
}

/// The three verdicts on the end of a log that was not closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryVerdict {
    /// Every batch up to the end is there.
    Whole,
    /// What followed the last whole batch was never acknowledged as durable, and was cut off.
    TornTail {
        /// The file.
        path: PathBuf,
        /// Where it was cut, in bytes.
        position: u64,
        /// How many bytes were dropped, in this segment and later ones.
        dropped_bytes: u64,
        /// What was found there.
        reason: String,
        /// Whole batches behind the cut: appended, but their predecessor did not reach the medium.
        whole_batches_beyond: u64,
    },
    /// Bytes that were durable are not what was written. Nothing was removed; the partition accepts no appends.
    Damage {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        position: u64,
        /// What was expected and found.
        reason: String,
    },
}

/// Told how many bytes were taken in; says whether to go on.
pub type GoOn<'a> = dyn FnMut(u64) -> bool + 'a;

struct Recovery<'a> {
    shared: &'a Arc<Shared>,
    identity: &'a Identity,
    mark: Mark,
    segments: Vec<Arc<Segment>>,
    source: Source,
    verdict: RecoveryVerdict,
    put_aside: Vec<PathBuf>,
}

impl Log {
    /// Opens a log that was not closed.
    pub fn recover(
        shared: &Arc<Shared>,
        identity: Identity,
        config: LogConfig,
        state: &PartitionState,
        go_on: &mut GoOn<'_>,
    ) -> Result<(Arc<Log>, PartitionRecovery)> {
        let partition = identity.name.partition;
        let blank = || Mark::blank(&identity.topic_id, partition);
        let mark = shared.marks.read(identity.slot, &identity.topic_id, partition)?.unwrap_or_else(blank);
        let segments = state.segments.iter().map(|entry| Log::listed(shared, &identity, &config, entry, 0));
        let mut recovery = Recovery {
            shared,
            identity: &identity,
            mark,
            segments: segments.collect(),
            source: Source::Cache,
            verdict: RecoveryVerdict::Whole,
            put_aside: Vec::new(),
        };
        recovery.put_strays_aside()?;
        recovery.distrust_the_cache_where_needed()?;
        let replay = recovery.run(state.log_start, go_on)?;
        let Recovery { segments, verdict, put_aside, mut mark, .. } = recovery;
        let report = PartitionRecovery {
            partition: identity.name.clone(),
            bytes_read: replay.bytes_read,
            log_end: replay.next_offset,
            verdict,
            put_aside,
        };
        mark.flushing_offset = replay.next_offset;
        mark.flushed_offset = replay.next_offset;
        mark.flushed_position = u32::try_from(replay.position).unwrap_or(u32::MAX);
        mark.failed = false;
        let log = Self::recovered(shared, identity, config, state, segments, replay, mark, &report.verdict)?;
        Ok((log, report))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a recovery, put together once")]
    fn recovered(
        shared: &Arc<Shared>,
        identity: Identity,
        config: LogConfig,
        state: &PartitionState,
        segments: Vec<Arc<Segment>>,
        mut replay: Replay,
        mark: Mark,
        verdict: &RecoveryVerdict,
    ) -> Result<Arc<Log>> {
        let end = replay.next_offset;
        replay.producers.on_high_watermark(end);
        let set = OffsetSet {
            log_start: state.log_start.max(segments.first().map_or(Offset::ZERO, |s| s.base())),
            last_stable: replay.producers.first_unstable_offset().unwrap_or(end),
            high_watermark: end,
            log_end: end,
        };
        let last = segments.last().cloned();
        let writer = Writer::Refusing(Error::Closed { what: "the partition" });
        let log = Self::assemble(shared, identity, config, set, segments, writer, mark);
        let writer = match (verdict, last) {
            (RecoveryVerdict::Damage { path, position, reason }, last) => {
                if let Some(last) = last {
                    last.set_index(replay.index);
                }
                Writer::Refusing(Error::corrupt(path, *position, reason.clone()))
            }
            (_, None) => {
                Writer::Refusing(Error::corrupt(&log.identity.dir, 0, "the manifest names no segment"))
            }
            (_, Some(_)) if shared.read_only => {
                Writer::Refusing(Error::ReadOnly { reason: "the log was opened for reading".into() })
            }
            (_, Some(last)) => {
                let len = last.data().len()?;
                Writer::Loaded(Box::new(log.activate(replay, &last, len, true)?))
            }
        };
        *log.writer.lock() = writer;
        Ok(log)
    }
}

impl Recovery<'_> {
    /// Segment files that the manifest does not name go aside, so that nothing dropped ever comes back.
    fn put_strays_aside(&mut self) -> Result<()> {
        let dir = &self.identity.dir;
        let entries = match self.shared.env.list(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::corrupt(
                    dir,
                    0,
                    "the directory of a partition that the manifest names is missing",
                ));
            }
            other => other.map_err(|e| Error::io("list", dir, e))?,
        };
        for entry in entries {
            let Some(base) = SegmentFile::Log.parse(&entry.name) else { continue };
            if self.segments.iter().all(|s| s.base() != base) {
                self.put_segment_aside(base)?;
            }
        }
        Ok(())
    }

    fn put_segment_aside(&mut self, base: Offset) -> Result<()> {
        if self.shared.read_only {
            return Ok(());
        }
        let env = &*self.shared.env;
        let path = SegmentFile::Log.path(&self.identity.dir, base);
        let aside = free_aside_name(env, &path);
        match env.rename(&path, &aside) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| Error::io("put aside", &path, e))?,
        }
        for kind in SegmentFile::ALL {
            remove_if_there(env, &kind.path(&self.identity.dir, base))?;
        }
        // Durable at once: a later segment may begin at the same offset, and must not find these bytes under its name.
        let dir = &self.identity.dir;
        env.sync_dir(dir).map_err(|e| Error::io("flush", dir, e))?;
        self.put_aside.push(aside);
        Ok(())
    }

    /// The cache may show what a failed flush lost: when one was in flight or had failed, or when flushing fails now.
    fn distrust_the_cache_where_needed(&mut self) -> Result<()> {
        if self.shared.read_only {
            return Ok(());
        }
        let mut suspect = self.mark.failed || self.mark.flushing_offset != self.mark.flushed_offset;
        let from = super::log::floor(&self.segments, self.mark.flushed_offset).unwrap_or(0);
        for segment in self.segments.iter().skip(from) {
            match segment.data().sync_foreign() {
                Ok(()) => {}
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(Error::Io { .. } | Error::DiskFull { .. }) => suspect = true,
                Err(error) => return Err(error),
            }
        }
        if suspect {
            self.source = Source::MediumFrom(u64::from(self.mark.flushed_position));
        }
        Ok(())
    }

    fn run(&mut self, log_start: Offset, go_on: &mut GoOn<'_>) -> Result<Replay> {
        let env = &*self.shared.env;
        let (offset, position) = (self.mark.recovery_offset, u64::from(self.mark.recovery_position));
        let begun = Replay::begin(env, self.identity, &self.segments, log_start, offset, position)?;
        let Some(mut replay) = begun else {
            return Err(Error::corrupt(
                &self.identity.dir,
                0,
                "the manifest names no segment of this partition",
            ));
        };
        loop {
            let i = replay.segment;
            let Some(segment) = self.segments.get(i).cloned() else { break };
            let len = match segment.data().len() {
                Ok(len) => len,
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    self.missing(&mut replay, i)?;
                    break;
                }
                Err(error) => return Err(error),
            };
            if len < replay.position {
                // The file is shorter than what was checkpointed of it: start over, to find what is left.
                replay = Replay::at_base(i, &segment, Default::default(), replay.epochs);
            }
            let stop = self.scan(&mut replay, &segment, len, go_on)?;
            segment.publish(stop.position);
            if !self.ends_well(&stop, i, &segment, len)? {
                self.judge(&mut replay, stop, i, &segment, len)?;
                break;
            }
            let Some(next) = self.segments.get(i + 1).cloned() else { break };
            replay.leave(&segment);
            replay.enter(i + 1, &next);
        }
        Ok(replay)
    }

    fn scan(
        &mut self,
        replay: &mut Replay,
        segment: &Arc<Segment>,
        len: u64,
        go_on: &mut GoOn<'_>,
    ) -> Result<Stop> {
        let from_medium = match self.source {
            // The flushed position lies in one segment; later ones are suspect as a whole.
            Source::MediumFrom(_) if segment.base() > self.mark.flushed_offset => Source::MediumFrom(0),
            other => other,
        };
        let gaps = segment.may_have_gaps();
        match replay.scan(segment, len, gaps, from_medium, go_on) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::Unsupported => {
                rewrite(self.shared, segment.data().path())?;
                segment.data().replaced();
                replay.scan(segment, len, gaps, Source::Cache, go_on)
            }
            other => other,
        }
    }

    /// Whether the data of segment `i` ends where it should: at the end of the log, or where the next one begins.
    fn ends_well(&self, stop: &Stop, i: usize, segment: &Segment, len: u64) -> Result<bool> {
        match &stop.why {
            Why::Cancelled => return Err(Error::Cancelled { during: "recovering" }),
            Why::Unsupported(error) => {
                return Err(error.clone().in_file(segment.data().path(), stop.position));
            }
            Why::Bad(_) => return Ok(false),
            Why::End => {}
        }
        match self.segments.get(i + 1) {
            Some(next) => Ok(stop.next_offset == next.base()),
            None => Ok(stop.next_offset >= self.mark.flushed_offset
                && whole_batches_beyond(segment, len, stop.position, stop.next_offset)? == 0),
        }
    }

    /// The chain of whole batches is broken in segment `i`.
    fn judge(
        &mut self,
        replay: &mut Replay,
        stop: Stop,
        i: usize,
        segment: &Arc<Segment>,
        len: u64,
    ) -> Result<()> {
        let path = segment.data().path().to_path_buf();
        let reason = match stop.why {
            Why::Bad(reason) => reason,
            _ => format!("the data ends at offset {}", stop.next_offset),
        };
        if stop.next_offset < self.mark.flushed_offset {
            let reason =
                format!("{reason}; everything below offset {} was durable", self.mark.flushed_offset);
            self.verdict = RecoveryVerdict::Damage { path, position: stop.position, reason };
            return self.keep_what_follows(replay, i);
        }
        let beyond = whole_batches_beyond(segment, len, stop.position, stop.next_offset)?;
        let mut dropped_bytes = len - stop.position;
        let later: Vec<Offset> = self.segments.iter().skip(i + 1).map(|s| s.base()).collect();
        for base in &later {
            let path = SegmentFile::Log.path(&self.identity.dir, *base);
            dropped_bytes += self.shared.env.metadata(&path).map_or(0, |m| m.len);
        }
        self.verdict = RecoveryVerdict::TornTail {
            path,
            position: stop.position,
            dropped_bytes,
            reason,
            whole_batches_beyond: beyond,
        };
        self.segments.truncate(i + 1);
        if self.shared.read_only {
            return Ok(());
        }
        segment.data().set_len(stop.position)?;
        segment.data().sync()?;
        if later.is_empty() {
            return Ok(());
        }
        // The manifest first: a file it does not name is a stray, a name without a file would be damage.
        let (id, partition) = (self.identity.topic_id, self.identity.name.partition);
        let cut = Entry::Truncated { id, partition, next_offset: stop.next_offset };
        self.shared.manifest.append(&[cut], Flush::Now)?;
        later.into_iter().try_for_each(|base| self.put_segment_aside(base))
    }

    /// Behind damage, before which the replay stands in segment `from`: whatever whole batches follow stay readable.
    fn keep_what_follows(&mut self, replay: &mut Replay, from: usize) -> Result<()> {
        for i in from..self.segments.len() {
            let Some(segment) = self.segments.get(i).cloned() else { break };
            if i > from {
                if let Some(before) = self.segments.get(i - 1) {
                    replay.leave(before);
                }
                replay.enter(i, &segment);
                replay.next_offset = segment.base();
            }
            let Ok(len) = segment.data().len() else { continue };
            let next = self.segments.get(i + 1).map(|next| next.base());
            let ceiling = next.unwrap_or(Offset::MAX);
            let stop = replay.scan_past_damage(&segment, len, ceiling, self.source, &mut |_, _| {})?;
            segment.publish(replay.position);
            let end = next.unwrap_or(self.mark.flushed_offset);
            if stop.next_offset < end {
                let reason = match stop.why {
                    Why::Bad(reason) => reason,
                    _ => format!("the data ends at offset {}, and offset {end} follows", stop.next_offset),
                };
                replay.note_missing_end(&segment, len, end, reason);
            }
        }
        replay.next_offset = replay.next_offset.max(self.mark.flushed_offset);
        Ok(())
    }

    /// The file of segment `i` is not there.
    fn missing(&mut self, replay: &mut Replay, i: usize) -> Result<()> {
        let path = SegmentFile::Log.path(&self.identity.dir, replay.next_offset);
        let durable = self.mark.flushed_offset > replay.next_offset;
        if durable || i == 0 {
            let reason = "the file of a segment is missing".to_string();
            self.verdict = RecoveryVerdict::Damage { path, position: 0, reason };
            self.segments.truncate(i.max(1));
            return Ok(());
        }
        self.verdict = RecoveryVerdict::TornTail {
            path,
            position: 0,
            dropped_bytes: 0,
            reason: "the file of a segment that was never flushed is missing".into(),
            whole_batches_beyond: 0,
        };
        self.segments.truncate(i);
        replay.segment = i - 1;
        if self.shared.read_only {
            return Ok(());
        }
        let (id, partition) = (self.identity.topic_id, self.identity.name.partition);
        let cut = Entry::Truncated { id, partition, next_offset: replay.next_offset };
        self.shared.manifest.append(&[cut], Flush::Now)
    }
}

/// A name beside `path` that is free.
fn free_aside_name(env: &dyn crate::env::Env, path: &Path) -> PathBuf {
    let mut n = 0;
    loop {
        let mut name = path.as_os_str().to_os_string();
        name.push(if n == 0 { format!(".{ASIDE}") } else { format!(".{ASIDE}{n}") });
        let candidate = PathBuf::from(name);
        if env.metadata(&candidate).is_err() {
            return candidate;
        }
        n += 1;
    }
}

/// Writes a file anew under its own name, so that what its reader sees is what the medium has.
fn rewrite(shared: &Shared, path: &Path) -> Result<()> {
    let content = crate::storage::sidecar::read_file(&*shared.env, path)?.unwrap_or_default();
    crate::storage::sidecar::replace_file(&*shared.env, path, &content)
}
