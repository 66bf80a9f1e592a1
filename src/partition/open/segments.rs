//! The segments of a log as an opening comes to know them, before it looks at their files.

use crate::{
    codec::{manifest::Seal, mark::Mark},
    partition::state::{identity::Identity, log_config::LogConfig, segment_list::floor},
    storage::{
        data_dir::DataDir,
        manifest::{PartitionState, SegmentEntry},
        segment::Segment,
    },
    types::{Offset, Timestamp},
};
use std::sync::Arc;

/// A segment as the manifest lists it; `unsealed_bytes` of it are readable where it was not sealed. Only a rewritten
/// segment may have gaps.
pub(in crate::partition) fn listed(
    data_dir: &DataDir,
    identity: &Identity,
    config: &LogConfig,
    state: &PartitionState,
    entry: &SegmentEntry,
    unsealed_bytes: u64,
) -> Arc<Segment> {
    let bytes = entry.sealed.as_ref().map_or(unsealed_bytes, |sealed| sealed.bytes);
    let segment = existing(data_dir, identity, config, entry.base, bytes);
    if let Some(sealed) = &entry.sealed {
        let mut latest = sealed.largest_timestamp;
        planted!(forget_the_latest_time => latest = Timestamp::NONE);
        segment.set_sealed(&Seal { largest_timestamp: latest, ..*sealed });
    } else if let Some(closed) = state.closed.as_ref().filter(|closed| entry.base < closed.next_offset) {
        // Segments that another writer began lie after that.
        segment.know_place(closed.size, closed.next_offset);
    }
    if entry.sealed.as_ref().is_none_or(|sealed| sealed.generation == 0) {
        segment.expect_no_gaps(state.leader_epoch_in(entry.base));
    }
    segment
}

/// A segment that has a file, of which `readable` bytes can be read.
pub(in crate::partition) fn existing(
    data_dir: &DataDir,
    identity: &Identity,
    config: &LogConfig,
    base: Offset,
    readable: u64,
) -> Arc<Segment> {
    let writable = !data_dir.read_only;
    let interval = config.index_interval_bytes;
    let segment = Segment::existing(&data_dir.pool, &identity.dir, base, readable, interval, writable);
    segment.expect_no_other_version();
    segment
}

/// All segments that the manifest lists; `unsealed_bytes` of one that was not sealed can be read.
pub(in crate::partition) fn all_listed(
    data_dir: &DataDir,
    identity: &Identity,
    config: &LogConfig,
    state: &PartitionState,
    unsealed_bytes: u64,
) -> Vec<Arc<Segment>> {
    let segment = |entry| listed(data_dir, identity, config, state, &entry, unsealed_bytes);
    state.segments.iter().map(segment).collect()
}

/// Tells the segments in which a mark's positions lie which offsets are there, where the mark's fields can hold the
/// positions.
pub(in crate::partition) fn know_what_a_mark_says(segments: &[Arc<Segment>], mark: &Mark) {
    let flushed = (mark.flushed_offset, mark.flushed_position);
    let recovered = (mark.recovery_offset, mark.recovery_position);
    for (offset, position) in [flushed, recovered] {
        if let Some(segment) = floor(segments, offset.saturating_sub(1)).and_then(|i| segments.get(i))
            && position < u32::MAX
            // The positions of a rewritten segment are its own.
            && segment.id().generation == 0
        {
            segment.know_place(position.into(), offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::builder::{BatchBuilder, Stamp},
        env::{Env, Open, memory::MemoryEnv, write_all_at},
        storage::{
            files::{FilePool, ReadMode},
            layout::SegmentFile,
        },
        types::{Compression, TopicId},
    };
    use std::path::Path;

    #[test]
    fn a_mark_of_before_a_segment_was_rewritten_says_nothing_of_its_positions() {
        let env = MemoryEnv::new();
        let mut bytes = Vec::new();
        for offset in 0..2 {
            let mut builder = BatchBuilder::new();
            builder.append(Timestamp::from_millis(1), None, Some(b"x"), &[]).unwrap();
            let mut sealed = builder.seal(Compression::None, None).unwrap();
            bytes.extend(sealed.finish(Offset::new(offset), 0, Stamp::CreateTime));
        }
        let path = SegmentFile::Log.path(Path::new("/"), Offset::ZERO);
        write_all_at(&*env.open(&path, Open::Create).unwrap(), &bytes, 0).unwrap();
        let pool = FilePool::new(env, ReadMode::Mapped, 4);
        let size = bytes.len() as u64;
        // Before that, one of two records was durable, and the file had as many bytes as it has now.
        let mark = Mark::at(&TopicId::from_bytes([1; 16]), 0, Offset::new(1), size, 0);
        for (generation, is_found) in [(1, true), (0, false)] {
            let segment = Segment::existing(&pool, Path::new("/"), Offset::ZERO, size, 0, false);
            segment.set_sealed(&Seal {
                next_offset: Offset::new(2),
                bytes: size,
                largest_timestamp: Timestamp::from_millis(1),
                generation,
                index_checksum: 0,
                sealed_at: None,
            });
            know_what_a_mark_says(&[Arc::clone(&segment)], &mark);
            let found = segment.locate(Offset::new(1));
            assert_eq!(found.is_ok_and(|found| found.is_some()), is_found, "generation {generation}");
        }
    }
}
