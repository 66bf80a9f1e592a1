//! A cleaner for tests: it leaves batches out of a sealed segment, or empties them, and puts the result in its place.

use crate::{
    codec::{
        batch::BatchHeader,
        manifest::{Entry, Seal, Tier},
    },
    partition::{log::Log, state::segment_list::floor, write::checkpoint::checkpoint},
    storage::{
        layout::SegmentFile,
        manifest::Flush,
        scan::{ScanItem, Scanner},
        segment::Segment,
        sidecar::{remove_if_there, write_file},
    },
    types::{Offset, Timestamp},
};
use std::{ops::Range, sync::Arc};

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole,
    /// Its header alone stays.
    Emptied,
    Nothing,
}

/// The batches of `segments` after a cleaning, and their largest timestamp.
fn cleaned(segments: &[Arc<Segment>], keeps: &dyn Fn(&BatchHeader) -> Kept) -> (Vec<u8>, Timestamp) {
    let (mut bytes, mut largest) = (Vec::new(), Timestamp::NONE);
    for segment in segments {
        let mut scanner = Scanner::new(segment.source(), segment.readable(), 0, segment.base(), true);
        while let ScanItem::Batch(batch, _) = scanner.next().unwrap() {
            match keeps(batch.header()) {
                Kept::Whole => bytes.extend(batch.bytes()),
                Kept::Emptied => bytes.extend(batch.header().emptied().to_bytes()),
                Kept::Nothing => continue,
            }
            largest = largest.max(batch.header().max_timestamp);
        }
    }
    (bytes, largest)
}

/// Cleans the segments of `log` that begin at `bases`, which are sealed and have another behind them, into one.
pub(crate) fn clean(log: &Log, bases: Range<u64>, keeps: impl Fn(&BatchHeader) -> Kept) {
    checkpoint(log).unwrap();
    let (from, to) = (Offset::new(bases.start), Offset::new(bases.end));
    let (dir, env, id) = (&log.identity.dir, &*log.data_dir.env, log.identity.id());
    let segments = log.segments.snapshot();
    let sources = floor(&segments, from).unwrap()..floor(&segments, to).unwrap();
    let old = &segments[sources.clone()];
    let (bytes, largest_timestamp) = cleaned(old, &keeps);
    let generation = old.iter().map(|segment| segment.id().generation).max().unwrap() + 1;
    let seal = Seal {
        next_offset: to,
        bytes: bytes.len() as u64,
        largest_timestamp,
        generation,
        place: Tier::Local,
        index_checksum: 0,
        sealed_at: None,
    };
    let path = SegmentFile::Log.path(dir, from);
    let cleaned = path.with_extension("log.cleaned");
    write_file(env, &cleaned, &bytes).unwrap();
    let with = vec![(from, seal)];
    let entry = Entry::SegmentsReplaced { id: id.topic, partition: id.number, from, to, with };
    log.data_dir.manifest.append(&[entry], Flush::Now).unwrap();
    let interval = log.config().index_interval_bytes;
    let new = Segment::existing(&log.data_dir.pool, dir, from, seal.bytes, interval, true);
    new.expect_no_other_version();
    new.set_sealed(&seal);
    log.segments.change(|list| drop(list.splice(sources, [new])));
    for segment in old {
        segment.retire();
        for kind in SegmentFile::ALL {
            let is_snapshot = matches!(kind, SegmentFile::Snapshot | SegmentFile::Producers);
            if !(is_snapshot && segment.base() == from) {
                remove_if_there(env, &kind.path(dir, segment.base())).unwrap();
            }
        }
    }
    env.rename(&cleaned, &path).unwrap();
}
