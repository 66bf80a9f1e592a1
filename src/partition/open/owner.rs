//! Whose directory it is that lies in a partition's place.
//!
//! Directories that changed places have files of the right names, and may have the right lengths. `partition.metadata`
//! says which topic each belongs to. It is asked once, before anything is read of a log or appended to it. A broker gives
//! a topic that it takes over an id of its own: another id counts only where it is that of another topic of this log.

use crate::{
    env::sync::{AtomicBool, Ordering},
    error::{Error, Result},
    partition::{log::Log, open::partition_dir::read_topic_id, state::identity::Identity},
    storage::{data_dir::DataDir, layout::PARTITION_METADATA},
};

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

impl Log {
    /// Asks once whose the directory is.
    pub(in crate::partition) fn check_owner(&self) -> Result<()> {
        if !self.owner.0.load(Ordering::Relaxed) {
            check_owner(&self.data_dir, &self.identity)?;
            self.owner.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
