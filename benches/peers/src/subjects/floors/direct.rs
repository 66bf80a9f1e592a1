//! Reading a file past the system's cache, through one aligned window.

use crate::subject::Result;
use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

const ALIGNMENT: usize = 4096;
const WINDOW: usize = 1 << 20;

pub struct Direct {
    file: File,
    space: Vec<u8>,
}

impl Direct {
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
        Ok(Direct { file, space: vec![0; WINDOW + ALIGNMENT] })
    }

    pub fn read_at(&mut self, buffer: &mut [u8], position: u64) -> std::io::Result<usize> {
        let ahead = (position % ALIGNMENT as u64) as usize;
        let shift = self.space.as_ptr().align_offset(ALIGNMENT);
        let window = &mut self.space[shift..shift + WINDOW];
        let read = self.file.read_at(window, position - ahead as u64)?;
        let found = window.get(ahead..read).unwrap_or_default();
        let count = found.len().min(buffer.len());
        buffer[..count].copy_from_slice(&found[..count]);
        Ok(count)
    }
}
