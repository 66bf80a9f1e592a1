//! The segments of a directory that is opened on its own: as a broker would load them, or as the manifest beside it says.

use crate::{
    env::DirEntry,
    error::Result,
    partition::state::identity::Identity,
    storage::{
        files::FilePool,
        layout::SegmentFile,
        manifest::PartitionState,
        scan::{ScanItem, Scanner},
        segment::Segment,
        swap::SwapFiles,
    },
    types::Offset,
};
use std::{collections::BTreeMap, sync::Arc};

/// The base offsets of all files of this kind, ascending. Something else with such a name counts as well: it is in the
/// place of a file, and opening it reports that.
pub(in crate::partition) fn offsets_of(kind: SegmentFile, entries: &[DirEntry]) -> Vec<Offset> {
    let mut offsets: Vec<Offset> = entries.iter().filter_map(|e| kind.parse(&e.name)).collect();
    offsets.sort();
    // A directory that changes while it is listed may show a name twice.
    offsets.dedup();
    offsets
}

/// The segments of a directory, as a broker would load them.
///
/// A cleaner that was killed while it put its work in place leaves `.log.swap` files, which are whole and replace every
/// segment that begins within their offsets. They do not count where some of the same work was still `.cleaned`.
pub(in crate::partition) fn choose_segments(
    pool: &Arc<FilePool>,
    identity: &Identity,
    entries: &[DirEntry],
    index_interval: u64,
) -> Result<Vec<Arc<Segment>>> {
    let dir = &identity.dir;
    let named = |suffix: &'static str| {
        entries.iter().filter_map(move |e| SegmentFile::Log.parse(e.name.strip_suffix(suffix)?))
    };
    let unfinished = entries.iter().filter_map(|e| cleaned(&e.name)).min().unwrap_or(Offset::MAX);
    let mut swaps: Vec<Offset> = named(".swap").filter(|base| *base < unfinished).collect();
    swaps.sort();
    swaps.dedup();
    let mut replaced = swaps.first().copied().unwrap_or(Offset::ZERO)..Offset::ZERO;
    let mut chosen = Vec::new();
    for base in swaps {
        let mut path = SegmentFile::Log.path(dir, base).into_os_string();
        path.push(".swap");
        let segment = Segment::existing_at(pool, path.into(), dir, base, index_interval);
        replaced.end = replaced.end.max(base + 1).max(end_of(&segment)?);
        chosen.push(segment);
    }
    for base in offsets_of(SegmentFile::Log, entries) {
        if !replaced.contains(&base) {
            chosen.push(Segment::existing(pool, dir, base, 0, index_interval, false));
        }
    }
    chosen.sort_by_key(|segment| segment.base());
    Ok(chosen)
}

/// The segments of a directory of a log of ours. Its manifest has decided which files of a cleaner's are part of it, and
/// which segments they supersede.
pub(in crate::partition) fn segments_of_ours(
    pool: &Arc<FilePool>,
    identity: &Identity,
    entries: &[DirEntry],
    state: &PartitionState,
    index_interval: u64,
) -> Result<Vec<Arc<Segment>>> {
    let (env, dir) = (&**pool.env(), &identity.dir);
    let swaps = SwapFiles::among(env, dir, entries, state)?;
    let in_place = |base: &Offset| Some((*base, swaps.place_of(env, dir, *base)?));
    let mut places: BTreeMap<_, _> = offsets_of(SegmentFile::Log, entries)
        .into_iter()
        .filter(|base| state.superseding(*base).is_none())
        .map(|base| (base, SegmentFile::Log.path(dir, base)))
        .collect();
    places.extend(swaps.decided.iter().filter_map(in_place));
    let segment = |(base, path)| Segment::existing_at(pool, path, dir, base, index_interval);
    Ok(places.into_iter().map(segment).collect())
}

/// The base offset in the name of a file that a cleaner was writing: of any kind, as in Kafka's loader.
fn cleaned(name: &str) -> Option<Offset> {
    let (digits, _) = name.strip_suffix(".cleaned")?.split_once('.')?;
    digits.parse::<i64>().ok().and_then(Offset::from_i64)
}

/// The offset after the last whole batch.
fn end_of(segment: &Segment) -> Result<Offset> {
    let mut scanner = Scanner::new(segment.source(), segment.source().len()?, 0, segment.base(), true);
    while let ScanItem::Batch(..) = scanner.next()? {}
    Ok(scanner.expected())
}
