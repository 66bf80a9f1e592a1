//! What is known of a partition's directory from the one above it: where the log begins, and how much of it was durable.
//!
//! For [`PartitionDir`](crate::dir::PartitionDir) alone: an opening of the whole data directory asks the manifest and the marks.
//!
//! Kafka's checkpoints say it, and the manifest and the marks of a log of ours. What they lack, or what cannot be read, says
//! nothing.

use crate::{
    env::Env,
    error::Result,
    partition::{open::changed::checkpointed, state::owner::check_place},
    storage::{
        handle_role::HandleRole,
        layout::{LOG_STARTS, RECOVERY_POINTS},
        manifest::{Manifest, PartitionState},
        marks::Marks,
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
                let flushed = mark.flatten().map(|mark| mark.flushed_offset);
                known.durable = closed.or(flushed).unwrap_or_default().max(state.log_start);
                known.topic = Some(topic.id);
                known.state = Some(state.clone());
            }
        }
        Ok(known)
    }

    /// The same, where nothing is known to have been durable.
    pub fn without_promises(self) -> ParentDir {
        ParentDir { flushed: Offset::ZERO, durable: Offset::ZERO, ..self }
    }

    /// Whether something has happened since `before` that takes away what was durable then: retention, a deletion, an
    /// incarnation that began lower, a broker that cut the log. A writer that only appends does not.
    pub fn excuses(&self, before: &ParentDir) -> bool {
        let fell = self.flushed < before.flushed || self.durable < before.durable;
        fell || self.topic != before.topic || self.begins() != before.begins()
    }

    /// Where the log begins, and its last incarnation.
    fn begins(&self) -> (Offset, Option<Offset>, Option<(u32, Offset)>) {
        let first = self.state.as_ref().and_then(|state| state.segments.first()).map(|first| first.base);
        let life = self.state.as_ref().and_then(|state| state.incarnations.back().copied());
        (self.log_start, first, life)
    }
}
