//! A directory without a manifest is new, unless it has segments: then it is not ours, or its manifest was lost, and
//! creating a log in it would only make that worse.

use crate::{
    error::{Error, Result},
    storage::{data_dir::DataDir, layout::SegmentFile},
    topic::name,
};
use std::path::Path;

/// `Corrupt` for a directory that has segments and no manifest.
pub(super) fn check(data_dir: &DataDir) -> Result<()> {
    if !data_dir.manifest.state().is_new() {
        return Ok(());
    }
    let list = |dir: &Path| data_dir.env.list(dir).map_err(|e| Error::io("list", dir, e));
    for entry in list(&data_dir.dir)?.iter().filter(|e| e.is_dir() && name::parse_dir_name(&e.name).is_some())
    {
        if list(&data_dir.dir.join(&entry.name))?
            .iter()
            .any(|file| SegmentFile::Log.parse(&file.name).is_some())
        {
            // If another process is just creating the log, its manifest was there before its segments.
            if data_dir.manifest.observe()? {
                return Ok(());
            }
            let reason = format!(
                "it is missing, though {} holds segments: it was lost, or these are a broker's files; \
                 PartitionDir::open_read_only reads each directory",
                entry.name
            );
            return Err(Error::corrupt(data_dir.dir.join("manifest"), 0, reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{
        env::{Env, memory::MemoryEnv},
        storage::manifest::faults::FaultyEnv,
        streamlog::Builder,
        topic::TopicConfig,
    };
    use std::{path::Path, sync::Arc};

    #[test]
    fn a_log_that_a_writer_is_just_making_has_lost_nothing() {
        let memory = MemoryEnv::new();
        let dir = Path::new("/data");
        memory.create_dir(dir).unwrap();
        let env = FaultyEnv::new(Arc::clone(&memory));
        env.meanwhile(move |path| {
            let is_new = memory.metadata(&dir.join("manifest")).is_err();
            if path == dir && is_new {
                let log = Builder::with_env(memory.clone(), dir).background_thread(false).open().unwrap();
                log.create_topic("t", TopicConfig::default()).unwrap();
            }
        });
        let log = Builder::with_env(env, dir).background_thread(false).read_only(true).open().unwrap();
        assert_eq!(log.topics().unwrap().len(), 1);
    }
}
