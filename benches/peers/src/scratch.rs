//! A directory to work in, which goes with its guard.

use crate::subject::Result;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A directory that is gone when it is dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes an empty one below `parent`.
    pub fn new(parent: &Path, name: &str) -> Result<Self> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let dir = parent.join(name.chars().map(plain).collect::<String>());
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
