//! Floor: group commit by hand. One of the waiting threads flushes for all who wrote before it did.

use super::file::Grown;
use crate::subject::{Flushing, Mark, Result, Subject};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::{Condvar, Mutex},
};

pub const SUBJECT: Subject = Subject {
    name: "group commit by hand",
    marks: &[Mark::Floor],
    flush: Some(|place| {
        let grown = Grown::open(place)?.with_blocks_written(32 << 20)?;
        Ok(Box::new(Group { file: grown.file, state: Mutex::default(), flushed: Condvar::new() }))
    }),
    ..Subject::NONE
};

struct Group {
    file: File,
    state: Mutex<State>,
    flushed: Condvar,
}

#[derive(Default)]
struct State {
    written: u64,
    flushed: u64,
    flushing: bool,
    record: Vec<u8>,
}

impl Flushing for Group {
    fn send_flushed(&self, record: &[u8]) -> Result<()> {
        let mut state = self.state.lock().map_err(|e| e.to_string())?;
        let State { record: buffer, written, .. } = &mut *state;
        buffer.clear();
        buffer.extend_from_slice(&crc_fast::crc32_iscsi(record).to_le_bytes());
        buffer.extend_from_slice(record);
        self.file.write_all_at(buffer, *written)?;
        *written += buffer.len() as u64;
        let end = *written;
        while state.flushed < end {
            if state.flushing {
                state = self.flushed.wait(state).map_err(|e| e.to_string())?;
                continue;
            }
            state.flushing = true;
            let upto = state.written;
            drop(state);
            self.file.sync_data()?;
            state = self.state.lock().map_err(|e| e.to_string())?;
            state.flushing = false;
            state.flushed = upto;
            self.flushed.notify_all();
        }
        Ok(())
    }
}
