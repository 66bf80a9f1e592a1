//! A manifest that names thousands of partitions without a directory is that of another directory, or of a stranger.
//!
//! A partition's directory is durable before the manifest names it, so one that is missing was lost, and is reported by the
//! partition. What an opening keeps for each is bounded by what is there, and not by what a short entry says.

use super::name::dir_name;
use crate::{
    error::{Error, Result},
    storage::{data_dir::DataDir, manifest::TopicState},
};
use std::collections::HashSet;

/// How many partitions may have lost their directories.
const MISSING_MAX: usize = 16_384;

/// `Corrupt` for a manifest of which too much is not there.
pub(super) fn check(data_dir: &DataDir) -> Result<()> {
    check_for(data_dir, MISSING_MAX)
}

fn check_for(data_dir: &DataDir, most: usize) -> Result<()> {
    loop {
        let missing = missing(data_dir, most)?;
        if missing <= most {
            return Ok(());
        }
        // A writer may have deleted them since the manifest was read.
        if !data_dir.manifest.observe()? {
            let reason = format!(
                "{missing} of the partitions that it names have no directory, more than {most}: it is not the \
                 manifest of this directory"
            );
            return Err(Error::corrupt(data_dir.dir.join("manifest"), 0, reason));
        }
    }
}

/// How many directories are missing, where that can be more than `most`.
fn missing(data_dir: &DataDir, most: usize) -> Result<usize> {
    let (state, dir) = (data_dir.manifest.state(), &data_dir.dir);
    let named: usize = state.topics().map(|topic| topic.partitions.len()).sum();
    // The directory of a smaller log is not listed for this.
    if named <= most {
        return Ok(0);
    }
    let entries = data_dir.env.list(dir).map_err(|e| Error::io("list", dir, e))?;
    let there: HashSet<&str> =
        entries.iter().filter(|entry| entry.is_dir()).map(|entry| entry.name.as_str()).collect();
    let is_missing = |name: String| !there.contains(name.as_str());
    let missing_of = |topic: &TopicState| {
        let numbers = (0u32..).zip(&topic.partitions).map(|(number, _)| number);
        numbers.filter(|number| is_missing(dir_name(&topic.name, *number))).count()
    };
    Ok(state.topics().map(missing_of).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        TopicConfig,
        config::Builder,
        env::{Env, memory::MemoryEnv},
        storage::{data_dir::SharedOptions, files::ReadMode, manifest::faults::FaultyEnv},
    };
    use std::{path::Path, sync::Arc};

    const DIR: &str = "/data";

    fn log_of(env: Arc<dyn Env>, partitions: u32) -> crate::Streamlog {
        let log = Builder::with_env(env, Path::new(DIR)).background_thread(false).open().unwrap();
        log.create_topic("t", TopicConfig::default().partitions(partitions)).unwrap();
        log
    }

    fn observed(env: Arc<dyn Env>) -> Arc<DataDir> {
        let options = SharedOptions { read_only: true, read_mode: ReadMode::Pread, max_open_files: 4 };
        DataDir::open(env, Path::new(DIR), options).unwrap()
    }

    #[test]
    fn so_many_directories_may_be_missing_and_not_one_more() {
        let env = MemoryEnv::new();
        drop(log_of(env.clone(), 20));
        for lost in 0..=5 {
            for most in 0..25 {
                let checked = check_for(&observed(env.clone()), most);
                match checked {
                    Err(Error::Corrupt { path, .. }) => {
                        assert!(lost > most && path == Path::new("/data/manifest"), "{lost} of {most}")
                    }
                    other => assert!(other.is_ok() && lost <= most, "{lost} of {most}: {other:?}"),
                }
            }
            let dir = Path::new(DIR).join(format!("t-{}", 3 * lost));
            for entry in env.list(&dir).unwrap() {
                env.remove_file(&dir.join(entry.name)).unwrap();
            }
            env.remove_dir(&dir).unwrap();
        }
    }

    #[test]
    fn what_a_writer_deletes_after_the_manifest_was_read_is_not_missing() {
        let memory = MemoryEnv::new();
        let log = log_of(memory.clone(), 20);
        let env = FaultyEnv::new(Arc::clone(&memory));
        let data_dir = observed(env.clone());
        env.meanwhile(move |path| {
            if path == Path::new(DIR) && log.topic("t").is_ok() {
                log.delete_topic("t").unwrap();
            }
        });
        check_for(&data_dir, 10).unwrap();
        assert_eq!(data_dir.manifest.state().topics().count(), 0);
    }
}
