//! What is known of a partition's directory from the one above it: where the log begins, how much of it was durable, and
//! which of its segments a cleaner rewrote.
//!
//! For [`PartitionDir`](crate::dir::PartitionDir) alone: an opening of the whole data directory asks the manifest and the marks.
//!
//! Kafka's checkpoints say it, and the manifest and the marks of a log of ours. What they lack, or what cannot be read, says
//! nothing.

use crate::{
    codec::mark::Mark,
    env::Env,
    error::Result,
    partition::{
        open::changed::checkpointed,
        state::{owner::check_place, segment_list::floor},
    },
    storage::{
        handle_role::HandleRole,
        layout::{LOG_STARTS, RECOVERY_POINTS},
        manifest::{Manifest, PartitionState},
        marks::Marks,
        segment::{Segment, SegmentId},
    },
    types::{Offset, TopicId, TopicPartition, name::parse_dir_name},
};
use std::{path::Path, sync::Arc};

/// The partition that a directory is named after; `None` for another kind of name.
pub(in crate::partition) fn name_of(dir: &Path) -> Option<TopicPartition> {
    let (topic, number) = parse_dir_name(dir.file_name()?.to_str()?)?;
    Some(TopicPartition::new(topic, number))
}

/// What the directory above says of a partition.
#[derive(Clone, Debug, Default)]
pub(in crate::partition) struct ParentDir {
    /// The id of its topic in the manifest.
    topic: Option<TopicId>,
    /// Where the log begins: by Kafka's checkpoint, or the manifest of a log of ours, which learns of it sooner.
    pub log_start: Offset,
    /// Everything below was durable: by Kafka's checkpoint of recovery points.
    pub flushed: Offset,
    /// Everything below was durable, without gaps: by the manifest and the mark of a log of ours.
    pub durable: Offset,
    /// What the manifest says.
    pub state: Option<PartitionState>,
    /// What the mark says.
    mark: Option<Mark>,
}

impl ParentDir {
    /// Read before the directory itself: what was durable then is there.
    pub fn of(env: &Arc<dyn Env>, dir: &Path) -> Result<ParentDir> {
        let (Some(name), Some(above)) = (name_of(dir), dir.parent()) else { return Ok(ParentDir::default()) };
        let log_start = checkpointed(&**env, above.join(LOG_STARTS), &name)?.unwrap_or(Offset::ZERO);
        // Where it cannot be read, nothing is known to be missing.
        let flushed = checkpointed(&**env, above.join(RECOVERY_POINTS), &name).ok().flatten();
        let mut known =
            ParentDir { log_start, flushed: flushed.unwrap_or(Offset::ZERO), ..ParentDir::default() };
        // What is wrong with a manifest is for openings of the log to report.
        let manifest = Manifest::open(Arc::clone(env), above, HandleRole::ReadOnly);
        if let Ok(said) = manifest.map(|manifest| manifest.state())
            && let Some(topic) = said.topic_named(&name.topic)
            && let Some(state) = said.partition(&topic.id, name.partition)
        {
            known.log_start = known.log_start.max(state.log_start);
            let id = check_place(&**env, &said, &topic.id, &name, dir)?;
            if id.is_none_or(|id| id == topic.id) {
                let closed = state.closed.map(|closed| closed.next_offset);
                let marks = Marks::open(Arc::clone(env), above, HandleRole::ReadOnly);
                let mark = marks.and_then(|marks| marks.read(state.slot, &topic.id, name.partition)).ok();
                known.mark = mark.flatten();
                let flushed = known.mark.map(|mark| mark.flushed_offset);
                known.durable = closed.or(flushed).unwrap_or_default().max(state.log_start);
                known.topic = Some(topic.id);
                known.state = Some(state.clone());
            }
        }
        Ok(known)
    }

    /// The same, where nothing is known to have been durable.
    pub fn without_promises(self) -> ParentDir {
        ParentDir { flushed: Offset::ZERO, durable: Offset::ZERO, mark: None, ..self }
    }

    /// Whether something has happened since `before` that takes away what was durable then: retention, a deletion, an
    /// incarnation that began lower, a broker that cut the log, a cleaner. A writer that only appends does not.
    pub fn excuses(&self, before: &ParentDir) -> bool {
        let fell = self.flushed < before.flushed || self.durable < before.durable;
        let (now, then) = ((self.begins(), self.rewritten()), (before.begins(), before.rewritten()));
        fell || self.topic != before.topic || now != then
    }

    /// Tells `segments` what is known of the order of their batches. Of those that the manifest lists, only one that a
    /// cleaner rewrote, and that is as long as the cleaner left it, lacks offsets that were durable.
    pub fn vouch_for(&self, segments: &[Arc<Segment>]) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        for segment in segments.iter().filter(|segment| segment.base() < self.durable) {
            let Some(entry) = state.segments.at(segment.base()) else { continue };
            if let Some(sealed) = entry.sealed {
                segment.know_place(sealed.bytes, sealed.next_offset);
                if sealed.generation > 0 && segment.source().len()? >= sealed.bytes {
                    continue;
                }
            }
            // Another writer may have appended to the last one, in any epoch.
            let epoch = entry.sealed.and_then(|_| state.leader_epoch_in(segment.base()));
            segment.expect_no_gaps(epoch);
        }
        if let Some(mark) = self.mark.filter(|mark| mark.flushed_position < u32::MAX)
            && let Some(segment) = floor(segments, mark.flushed_offset.saturating_sub(1))
                .and_then(|at| segments.get(at))
                .filter(|segment| !segment.may_have_gaps())
        {
            segment.know_place(mark.flushed_position.into(), mark.flushed_offset);
        }
        Ok(())
    }

    /// The segments that a cleaner rewrote.
    fn rewritten(&self) -> Vec<SegmentId> {
        let ids = self.state.iter().flat_map(|state| state.segments.iter().map(|entry| entry.id()));
        ids.filter(|id| id.generation > 0).collect()
    }

    /// Where the log begins, and its last incarnation.
    fn begins(&self) -> (Offset, Option<Offset>, Option<(u32, Offset)>) {
        let first = self.state.as_ref().and_then(|state| state.segments.first()).map(|first| first.base);
        let life = self.state.as_ref().and_then(|state| state.incarnations.back().copied());
        (self.log_start, first, life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_beginning_a_life_or_an_end_that_moved_excuses_what_is_missing() {
        let before = || {
            let mut state = PartitionState::default();
            state.create_segment(Offset::new(2)).unwrap();
            ParentDir {
                topic: Some(TopicId::from_bytes([1; 16])),
                log_start: Offset::new(3),
                flushed: Offset::new(5),
                durable: Offset::new(6),
                state: Some(state),
                mark: None,
            }
        };
        let state = |now: &mut ParentDir| now.state.take().unwrap_or_default();
        type Change<'a> = &'a dyn Fn(&mut ParentDir);
        let changes: [(bool, &str, Change<'_>); 10] = [
            (false, "nothing", &|_| {}),
            (false, "a higher recovery point", &|now| now.flushed = Offset::new(6)),
            (false, "a higher mark", &|now| now.durable = Offset::new(7)),
            (false, "a roll", &|now| {
                let mut state = state(now);
                state.create_segment(Offset::new(6)).unwrap();
                now.state = Some(state);
            }),
            (true, "a lower recovery point", &|now| now.flushed = Offset::new(4)),
            (true, "a lower mark", &|now| now.durable = Offset::new(5)),
            (true, "another topic", &|now| now.topic = Some(TopicId::from_bytes([2; 16]))),
            (true, "a deletion", &|now| (now.topic, now.state) = (None, None)),
            (true, "a log start that moved", &|now| now.log_start = Offset::new(4)),
            (true, "another incarnation", &|now| {
                let mut state = state(now);
                state.incarnations.push_back((1, Offset::new(6)));
                now.state = Some(state);
            }),
        ];
        for (excuses, what, change) in changes {
            let mut now = before();
            change(&mut now);
            assert_eq!(now.excuses(&before()), excuses, "{what}");
        }
        let mut removed = before();
        removed.state = Some(PartitionState::default());
        removed.state.as_mut().unwrap().create_segment(Offset::new(3)).unwrap();
        assert!(removed.excuses(&before()), "the first segment was removed");
    }
}
