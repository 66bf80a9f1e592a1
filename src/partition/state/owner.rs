//! Whether the directory in a partition's place is its own.
//!
//! Directories that changed places have files of the right names, and may have the right lengths. `partition.metadata`
//! says which topic each belongs to, and `partition.identity` which of its partitions it is. Both are read once, before
//! anything of a log is read or appended. A broker gives a topic that it takes over an id of its own. So another id
//! counts only where it is that of another topic of this log, and a partition only beside the id that it was written
//! with.

use crate::{
    codec::checkpoint::{decode_partition_identity, decode_partition_metadata},
    env::{
        Env,
        sync::{AtomicBool, Mutex, Ordering},
    },
    error::{Error, Result},
    partition::state::identity::Identity,
    storage::{
        data_dir::DataDir,
        layout::{PARTITION_IDENTITY, PARTITION_METADATA},
        manifest::ManifestState,
        sidecar::{TEXT_MAX, read_file},
    },
    types::{TopicId, TopicPartition},
};
use std::path::Path;

/// Whether a log's directory is known to be its own.
#[derive(Debug, Default)]
pub(in crate::partition) struct Owner {
    is_known: AtomicBool,
    /// The id that the directory had at an earlier check.
    seen: Mutex<Option<TopicId>>,
}

/// Fails where the directory is that of another partition of this log; otherwise returns the id of the topic that it
/// says it belongs to, if that can be read.
pub(in crate::partition) fn check_owner(data_dir: &DataDir, identity: &Identity) -> Result<Option<TopicId>> {
    let state = data_dir.manifest.state();
    check_place(&*data_dir.env, &state, &identity.topic_id, &identity.name, &identity.dir)
}

/// The same for a directory in the place of `name`, a partition of the topic with this id.
pub(in crate::partition) fn check_place(
    env: &dyn Env,
    state: &ManifestState,
    topic_id: &TopicId,
    name: &TopicPartition,
    dir: &Path,
) -> Result<Option<TopicId>> {
    // What cannot be read says nothing.
    let Some(id) = read_topic_id(env, dir).ok().flatten() else { return Ok(None) };
    // A topic that is deleted, or created again, while a follower looks at it is not a directory that changed places.
    let Some(own) = state.topic(topic_id) else { return Ok(Some(id)) };
    let (file, whose) = if id == *topic_id {
        planted!(take_any_partition => return Ok(Some(id)));
        let number = read_partition(env, dir, &id).ok().flatten();
        let Some(other) = number.filter(|number| *number != name.partition) else { return Ok(Some(id)) };
        (PARTITION_IDENTITY, format!("the directory of {}-{other}", own.name))
    } else {
        planted!(take_any_directory => return Ok(Some(id)));
        let mut other = state.topic(&id);
        planted!(another_id_is_always_wrong => other = other.or(Some(own)));
        let Some(other) = other else { return Ok(Some(id)) };
        (PARTITION_METADATA, format!("a directory of topic '{}'", other.name))
    };
    let reason = format!("this is {whose} in the place of {name}: give each directory its own name again");
    Err(Error::corrupt(dir.join(file), 0, reason))
}

impl Owner {
    /// Forgets the answer: another directory may have taken its place.
    pub fn forget(&self) {
        self.is_known.store(false, Ordering::Relaxed);
    }

    /// Remembers what an opening found that checked the directory before it read the log.
    pub fn was_checked(&self, seen: Option<TopicId>) {
        *self.seen.lock() = seen;
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Checks once that the directory is the log's own.
    pub fn check(&self, data_dir: &DataDir, identity: &Identity) -> Result<()> {
        if self.is_known.load(Ordering::Relaxed) {
            return Ok(());
        }
        let now = check_owner(data_dir, identity)?;
        let mut seen = self.seen.lock();
        if seen.is_some() && now.is_some() && *seen != now {
            let reason = "another directory has taken the place of the one that was opened";
            return Err(Error::corrupt(identity.dir.join(PARTITION_METADATA), 0, reason));
        }
        *seen = seen.or(now);
        self.is_known.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The id of the topic that a partition's directory says it belongs to, from `partition.metadata`.
pub(in crate::partition) fn read_topic_id(env: &dyn Env, dir: &Path) -> Result<Option<TopicId>> {
    let path = dir.join(PARTITION_METADATA);
    let Some(bytes) = read_file(env, &path, TEXT_MAX)? else { return Ok(None) };
    decode_partition_metadata(text_of(&path, &bytes)?).map(Some).map_err(|e| e.in_file(&path, 0))
}

/// The number of the partition that a directory says it is, from `partition.identity`, if that was written for this
/// topic id.
fn read_partition(env: &dyn Env, dir: &Path, id: &TopicId) -> Result<Option<u32>> {
    let path = dir.join(PARTITION_IDENTITY);
    let Some(bytes) = read_file(env, &path, TEXT_MAX)? else { return Ok(None) };
    let said = decode_partition_identity(text_of(&path, &bytes)?);
    Ok(said.filter(|(topic, _)| topic == id).map(|(_, partition)| partition))
}

/// The bytes of a text file as text.
pub(in crate::partition) fn text_of<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    str::from_utf8(bytes).map_err(|e| Error::corrupt(path, e.valid_up_to() as u64, "text was expected"))
}
