//! Whose directory it is that lies in a partition's place.
//!
//! Directories that changed places have files of the right names, and may have the right lengths. `partition.metadata`
//! says which topic each belongs to. It is asked once, before anything is read of a log or appended to it. A broker gives
//! a topic that it takes over an id of its own: another id counts only where it is that of another topic of this log.

use crate::{
    codec::checkpoint::decode_partition_metadata,
    env::{
        Env,
        sync::{AtomicBool, Ordering},
    },
    error::{Error, Result},
    partition::state::identity::Identity,
    storage::{
        data_dir::DataDir,
        layout::PARTITION_METADATA,
        sidecar::{TEXT_MAX, read_file},
    },
    types::TopicId,
};
use std::path::Path;

/// Whether a log's directory is known to be its own.
#[derive(Debug, Default)]
pub(in crate::partition) struct Owner(AtomicBool);

/// An error where the directory is that of another topic of this log.
pub(in crate::partition) fn check_owner(data_dir: &DataDir, identity: &Identity) -> Result<()> {
    // What cannot be read says nothing.
    let found = read_topic_id(&*data_dir.env, &identity.dir).ok().flatten();
    let state = data_dir.manifest.state();
    // A topic that is deleted, or made again, while a follower comes to it is no directory that changed places.
    if state.topic(&identity.topic_id).is_none() {
        return Ok(());
    }
    let other = found.filter(|id| *id != identity.topic_id && !planted!(take_any_directory));
    let whatever = || state.topic(&identity.topic_id).filter(|_| planted!(another_id_is_always_wrong));
    let Some(other) = other.and_then(|id| state.topic(&id).or_else(whatever)) else { return Ok(()) };
    let reason = format!(
        "this is a directory of topic '{}' in the place of {}: give each directory its own name again",
        other.name, identity.name
    );
    Err(Error::corrupt(identity.dir.join(PARTITION_METADATA), 0, reason))
}

impl Owner {
    /// Asks once whose the directory is.
    pub fn check(&self, data_dir: &DataDir, identity: &Identity) -> Result<()> {
        if !self.0.load(Ordering::Relaxed) {
            check_owner(data_dir, identity)?;
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The topic that a partition's directory says it belongs to, out of `partition.metadata`.
pub(in crate::partition) fn read_topic_id(env: &dyn Env, dir: &Path) -> Result<Option<TopicId>> {
    let path = dir.join(PARTITION_METADATA);
    let Some(bytes) = read_file(env, &path, TEXT_MAX)? else { return Ok(None) };
    decode_partition_metadata(text_of(&path, &bytes)?).map(Some).map_err(|e| e.in_file(&path, 0))
}

/// The bytes of a text file as text.
pub(in crate::partition) fn text_of<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    str::from_utf8(bytes).map_err(|e| Error::corrupt(path, e.valid_up_to() as u64, "text was expected"))
}
