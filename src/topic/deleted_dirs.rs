//! Files of deleted topics that are left because a crash or an error came between the manifest's entry and their
//! removal.
//!
//! A removal begins by renaming the directory to Kafka's name for a partition that is being deleted,
//! `<topic>-<partition>.<32 digits>-delete`; a directory of such a name may be removed. A directory that still has its
//! own name is removed only if its `partition.metadata` names a topic whose deletion the manifest records: any other
//! may belong to another program. Subdirectories are never entered.

use crate::{
    codec::checkpoint::decode_partition_metadata,
    error::{Error, Result},
    partition::open::create::aside_name,
    storage::{
        data_dir::DataDir,
        layout::PARTITION_METADATA,
        sidecar::{TEXT_MAX, read_file},
    },
    topic::name,
    types::TopicId,
};
use std::path::Path;

/// As [`remove_all`], before the first change of an opening, which does not fail because of this.
pub(super) fn clean_up(data_dir: &DataDir) {
    planted!(what_was_deleted_stays => return);
    if let Err(_error) = remove_all(data_dir) {
        crate::env::trace::event!(WARN, error = %_error, "files of deleted topics could not be removed");
    }
}

/// Removes all files that are left of deleted topics.
pub(super) fn remove_all(data_dir: &DataDir) -> Result<()> {
    let dir = &data_dir.dir;
    let deleted = data_dir.manifest.deleted_before();
    let mut result = Ok(());
    for entry in data_dir.env.list(dir).map_err(|e| Error::io("list", dir, e))? {
        let path = dir.join(&entry.name);
        if !entry.is_dir() {
            continue;
        }
        if is_going(&entry.name) {
            result = result.and(remove_files(data_dir, &path));
        } else if !deleted.is_empty()
            && name::parse_dir_name(&entry.name).is_some()
            && topic_of(data_dir, &path).is_some_and(|id| deleted.contains(&id))
        {
            result = result.and(remove_dir(data_dir, &path));
        }
    }
    result
}

/// Removes the directory of a partition that the manifest no longer names. It is renamed first, so that a crash does
/// not leave half a partition.
pub(super) fn remove_dir(data_dir: &DataDir, dir: &Path) -> Result<()> {
    let going = aside_name(data_dir, dir, "delete");
    let rename = || data_dir.env.rename(dir, &going).map_err(|e| Error::io("rename", dir, e));
    match data_dir.making_room(rename) {
        // A longer name may need space, which removing the files frees. The file that says whose they were is removed
        // last.
        Err(Error::DiskFull { .. }) => remove_files(data_dir, dir),
        renamed => renamed.and_then(|()| remove_files(data_dir, &going)),
    }
}

fn remove_files(data_dir: &DataDir, dir: &Path) -> Result<()> {
    let env = &*data_dir.env;
    let mut entries = env.list(dir).map_err(|e| Error::io("list", dir, e))?;
    entries.sort_by_key(|entry| entry.name == PARTITION_METADATA);
    for entry in entries.iter().filter(|e| !e.is_dir()) {
        let path = dir.join(&entry.name);
        env.remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
    }
    env.remove_dir(dir).map_err(|e| Error::io("remove", dir, e))
}

fn is_going(name: &str) -> bool {
    let digits =
        name.strip_suffix("-delete").and_then(|name| name.rsplit_once('.')).map(|(_, digits)| digits);
    digits.is_some_and(|d| d.len() == 32 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn topic_of(data_dir: &DataDir, dir: &Path) -> Option<TopicId> {
    let bytes = read_file(&*data_dir.env, &dir.join(PARTITION_METADATA), TEXT_MAX).ok()??;
    decode_partition_metadata(str::from_utf8(&bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use crate::topic::deleted_dirs::*;

    #[test]
    fn only_kafkas_name_for_a_deleted_partition_marks_one() {
        assert!(is_going("t-0.0123456789abcdef0123456789abcdef-delete"));
        for other in
            ["t-0", "t-0.0123-delete", "a-long-name-of-more-than-thirty-three-letters-delete", "-delete"]
        {
            assert!(!is_going(other), "{other}");
        }
    }
}
