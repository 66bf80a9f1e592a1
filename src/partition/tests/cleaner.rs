//! A cleaner for tests: it leaves batches out of sealed segments, or empties them, and puts the result in their place.

use crate::{
    codec::{batch::BatchHeader, manifest::Seal, pages::PageSummer},
    partition::{
        log::Log,
        state::segment_list::floor,
        write::{checkpoint::checkpoint, replace::Replacement},
    },
    storage::{
        index::SegmentIndex,
        layout::SegmentFile,
        scan::{ScanItem, Scanner},
        segment::{indexed, sidecars::checksum},
        sidecar::write_file,
    },
    types::{Offset, Timestamp},
};
use std::ops::Range;

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole,
    /// Its header alone stays.
    Emptied,
    Nothing,
}

/// Writes what is left of the segments of `log` that begin at `bases`, as one.
pub(crate) fn rewrite(log: &Log, bases: Range<u64>, keeps: &dyn Fn(&BatchHeader) -> Kept) -> Replacement {
    checkpoint(log).unwrap();
    let (from, to) = (Offset::new(bases.start), Offset::new(bases.end));
    let segments = log.segments.snapshot();
    let sources = segments[floor(&segments, from).unwrap()..floor(&segments, to).unwrap()].to_vec();
    let (mut bytes, mut largest_timestamp) = (Vec::new(), Timestamp::NONE);
    let (mut index, mut pages) = (SegmentIndex::new(from, 0), PageSummer::new());
    for segment in &sources {
        let mut scanner = Scanner::new(segment.source(), segment.readable(), 0, segment.base(), true);
        while let ScanItem::Batch(batch, _) = scanner.next().unwrap() {
            let (header, batch) = match keeps(batch.header()) {
                Kept::Whole => (*batch.header(), batch.bytes().to_vec()),
                Kept::Emptied => (batch.header().emptied(), batch.header().emptied().to_bytes().to_vec()),
                Kept::Nothing => continue,
            };
            index.add(indexed(&header, bytes.len() as u64));
            pages.update(&batch);
            bytes.extend(batch);
            largest_timestamp = largest_timestamp.max(header.max_timestamp);
        }
    }
    index.close();
    let generation = sources.iter().map(|segment| segment.id().generation).max().unwrap() + 1;
    let files = [
        (SegmentFile::Log, bytes.clone()),
        (SegmentFile::OffsetIndex, index.offsets().to_vec()),
        (SegmentFile::TimeIndex, index.times().to_vec()),
        (SegmentFile::Pages, pages.finish(generation).encode()),
    ];
    for (kind, content) in files {
        write_file(&*log.data_dir.env, &kind.cleaned_path(&log.identity.dir, from), &content).unwrap();
    }
    let seal = Seal {
        next_offset: to,
        bytes: bytes.len() as u64,
        largest_timestamp,
        generation,
        index_checksum: checksum(index.offsets(), index.times(), &[]),
        sealed_at: None,
    };
    Replacement { sources, outputs: vec![(from, seal)], counted: Vec::new(), also: Vec::new() }
}

/// Cleans the segments of `log` that begin at `bases`, which are sealed and have another behind them, into one.
pub(crate) fn clean(log: &Log, bases: Range<u64>, keeps: impl Fn(&BatchHeader) -> Kept) {
    assert!(rewrite(log, bases, &keeps).commit(log).unwrap());
}
