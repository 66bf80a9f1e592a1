//! A directory that goes with its owner.

use crate::env::process::Process;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// A new directory where the system keeps what is temporary. It is removed, with all that is in it, when this is dropped;
/// not by a child that was forked.
#[derive(Debug)]
pub struct TemporaryDir {
    path: PathBuf,
    process: Process,
}

impl TemporaryDir {
    /// Makes one that nobody else may enter.
    pub fn new(random: impl Fn() -> u64) -> io::Result<TemporaryDir> {
        let all = std::path::absolute(env::temp_dir())?;
        loop {
            let path = all.join(format!("streamlog-{:016x}{:016x}", random(), random()));
            let mut how = fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut how, 0o700);
            match how.create(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                done => return done.map(|()| TemporaryDir { path, process: Process::this() }),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if self.process.is_this() {
            // Already removed.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
